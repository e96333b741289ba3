"""What anybody may ask: which version of the API this is, and what came with each."""

from __future__ import annotations

from amp0.protocol import issuer as wire
from amp0.server.issuer.desk import Call
from amp0.server.issuer.endpoint import Endpoint, Who
from amp0.server.policy.authorization import authorization_address

CHANGES = {
    "0.1.13": "Assignments name the GAID.",
    "0.1.12": "Transactions have an unblinded_url.",
    "0.1.11": "Transactions show the reissuance token, and each input and output its asset_id.",
    "0.1.9": "Activities have blinders.",
    "0.1.8": "Assets name their reissuance_token_id.",
    "0.1.7": "Investors are called registered users; assignments are created one at a time.",
    "0.1.4": "Assets can be locked.",
    "0.1.3": "The summary counts what is blacklisted.",
    "0.1.2": "Assets have a precision.",
    "0.1.1": "Assets have an issuer_authorization_endpoint.",
}


def info(call: Call, _body: None) -> wire.Info:
    """The version of the API, and the address that signs what authorization endpoints are asked."""
    address = authorization_address(call.desk.keys, call.desk.network)
    return wire.Info(
        version=wire.VERSION, notes=f"amp0, an open AMP0 server; signs authorization requests as {address}"
    )


def changelog(_call: Call, _body: None) -> dict[str, str]:
    """What came with each version of the API."""
    return CHANGES


ENDPOINTS = (
    Endpoint(("GET",), "/info", info, wire.Info, who=Who.ANYBODY),
    Endpoint(("GET",), "/changelog", changelog, dict[str, str], who=Who.ANYBODY),
)
