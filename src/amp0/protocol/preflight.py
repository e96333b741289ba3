"""The pre-flight on the wire: would this transfer be signed, asked before anybody signs.

Two procedures of our own on a session of the wallet, and the same question over HTTP: ``POST /v1/preflight`` with the
body of :class:`~amp0.protocol.issuer_policy.PreflightRequest` and the header ``Authorization: Bearer <token>``, where
the token comes from the session, stands for one account, and lives a few minutes. It never goes into a URL.

Only the sending account's own matters are explained. About a recipient the answer is that the asset may be sent there
or that it may not (``recipient_not_allowed``), and never why.
"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

import msgspec
from msgspec import Meta, Struct

from amp0.elements import pset_fields as f
from amp0.elements.pset import Pset, PsetInput, PsetOutput
from amp0.errors import RemoteProtocolError
from amp0.protocol.issuer_policy import PreflightReply, PreflightRequest, PreflightTransfer, Reason
from amp0.protocol.procedure import OWN_PREFIX, Procedure
from amp0.protocol.rows import Pointer

__all__ = [
    "ISSUER_DECIDES", "MAX_PSET", "NOT_ENOUGH", "PREFLIGHT_PATH", "PROCEDURES", "AskPreflight", "GetPreflightToken",
    "PreflightReply", "PreflightRequest", "PreflightToken", "PreflightTransfer", "Reason", "needs_nonces",
    "parse_request", "slim",
]  # fmt: skip

PREFLIGHT_PATH = "/v1/preflight"
ISSUER_DECIDES = "issuer_decides"
"""Code of a remark on what is allowed: the asset's issuer is asked when it is signed, and may still refuse."""
NOT_ENOUGH = "not_enough"
"""Code: the account has fewer units than the transfers, so nothing is said of their recipients."""
MAX_PSET = 1_000_000
"""Longest PSET of a pre-flight, in characters of base64; see :func:`slim`."""


class AskPreflight(Procedure, frozen=True, array_like=True):
    """Would the cosigner sign this transfer of the account? Nothing is reserved or recorded by asking."""

    URI: ClassVar[str] = OWN_PREFIX + "vault.preflight"
    RESULT: ClassVar[Any] = PreflightReply
    subaccount: Pointer
    request: PreflightRequest


class PreflightToken(Struct, frozen=True):
    """Stands for an account at ``POST /v1/preflight``, until ``expires_at`` (seconds since 1970)."""

    token: Annotated[str, Meta(max_length=512)]
    expires_at: int

    def __repr__(self) -> str:
        return f"PreflightToken(…, expires_at={self.expires_at})"


class GetPreflightToken(Procedure, frozen=True, array_like=True):
    """A token for one account, to ask without a session."""

    URI: ClassVar[str] = OWN_PREFIX + "vault.preflight_token"
    RESULT: ClassVar[Any] = PreflightToken
    subaccount: Pointer


PROCEDURES: tuple[type[Procedure], ...] = (AskPreflight, GetPreflightToken)


def parse_request(body: bytes) -> PreflightRequest:
    """The question in an HTTP body. Raises :class:`RemoteProtocolError`."""
    try:
        return msgspec.json.decode(body, type=PreflightRequest)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise RemoteProtocolError(f"the request is not the JSON expected: {str(error)[:200]}") from None


_INPUT = frozenset((f.I_PREVIOUS_TXID, f.I_OUTPUT_INDEX, f.I_SEQUENCE))
_OUTPUT = frozenset(
    (f.O_AMOUNT, f.O_ASSET, f.O_SCRIPT, f.O_VALUE_COMMITMENT, f.O_ASSET_COMMITMENT, f.O_VALUE_PROOF, f.O_ASSET_PROOF)
)
_GLOBAL = frozenset(
    (f.G_TX_VERSION, f.G_FALLBACK_LOCKTIME, f.G_INPUT_COUNT, f.G_OUTPUT_COUNT, f.G_VERSION, f.G_GENESIS_HASH)
)


def needs_nonces(pset: Pset) -> bool:
    """Whether the amounts of some blinded output are not stated with proofs, so that only its nonce tells them."""
    return any(one.txout.is_partially_blinded() and not _is_proven(one) for one in pset.outputs())


def _is_proven(output: PsetOutput) -> bool:
    return all(key in output.fields for key in (f.O_AMOUNT, f.O_ASSET, f.O_VALUE_PROOF, f.O_ASSET_PROOF))


def slim(pset: Pset) -> Pset:
    """What a pre-flight needs of a PSET: which coins, which scripts, and the stated amounts with their small proofs.

    Neither keys nor signatures nor range proofs (4 KB each) leave with it. An output whose amount is not stated with
    proofs keeps its range proof, for its blinding nonce to open.
    """
    inputs = [PsetInput({k: v for k, v in one.fields.items() if k in _INPUT}) for one in pset.inputs()]
    outputs = []
    for one in pset.outputs():
        keep = _OUTPUT if _is_proven(one) else _OUTPUT | {f.O_RANGEPROOF, f.O_ECDH_KEY}
        outputs.append(PsetOutput({k: v for k, v in one.fields.items() if k in keep}))
    return Pset.of({k: v for k, v in pset.fields.items() if k in _GLOBAL}, inputs, outputs)
