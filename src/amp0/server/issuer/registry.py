"""The public registry of assets: tells it what an asset is called, so that wallets can show that.

The registry looks for itself whether the domain vouches for the asset: the issuer serves a file there, under
``/.well-known/liquid-asset-proof-<asset id>``. Which registry it is the operator says (``asset_registry_url``).
"""

from __future__ import annotations

import json
import logging
from dataclasses import replace

import httpx

from amp0.elements.hashes import asset_id_to_str
from amp0.protocol.issuer import Asset
from amp0.server.issuer import assets, events, principals
from amp0.server.issuer.assets import AssetRow
from amp0.server.issuer.desk import Call
from amp0.server.issuer.endpoint import Endpoint, Runs, Who
from amp0.server.issuer.refusals import OperationRefused
from amp0.server.store import asset_schema

log = logging.getLogger("amp0.server.issuer")

SECONDS = 20.0
"""Longest wait for the registry, which asks the domain in the meantime."""
_MOST_ANSWER = 64 * 1024

_assets = asset_schema.assets


def register(call: Call, _body: None) -> Asset:
    """Enter an asset in the public registry. Its domain has to serve the proof that it is its own before."""
    store = call.desk.store
    with store.snapshot() as db:
        row = assets.find(replace(call, connection=db))
    if row.is_registered:
        raise OperationRefused("This asset is already registered")
    url = call.desk.settings.asset_registry_url
    if url is None:
        raise OperationRefused("This server registers no assets: its operator has named no registry")
    if row.state != assets.SENT:
        raise OperationRefused("The chain does not have this asset's issuance yet; try again later")
    _submit(url, row)
    with store.transaction() as db:
        principals.still(db, call)
        db.execute(_assets.update().where(_assets.c.id == row.id, _assets.c.is_registered == 0).values(is_registered=1))
        events.note(call, "register_asset", row.id, db=db)
        return assets.to_wire(db, assets.load(db, row.id))


def _submit(url: str, row: AssetRow) -> None:
    body = {"asset_id": asset_id_to_str(row.asset_id), "contract": json.loads(row.contract)}
    try:
        with (
            httpx.Client(timeout=SECONDS, trust_env=False, follow_redirects=False) as client,
            client.stream("POST", url, json=body) as answer,
        ):
            text = bytearray()
            for chunk in answer.iter_bytes():
                text += chunk
                if len(text) > _MOST_ANSWER:
                    break
            status = answer.status_code
    except httpx.HTTPError as error:
        log.warning("the asset registry cannot be reached error=%s", type(error).__name__)
        raise OperationRefused(f"The registry cannot be reached ({type(error).__name__}); try again later") from None
    said = bytes(text[:300]).decode("utf-8", "replace").strip()
    if status == 409 or "already registered" in said.lower():
        # Entered by a request whose answer was lost, or by hand: it is what was asked for.
        return
    if not 200 <= status < 300:
        log.info("the asset registry refuses asset=%d status=%d", row.id, status)
        raise OperationRefused(f"The registry refuses the asset ({status}): {said}")


ENDPOINTS = (
    Endpoint(("GET",), "/assets/{asset_uuid}/register", register, answer=Asset, who=Who.ISSUER, runs=Runs.OUTSIDE),
)
