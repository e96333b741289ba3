"""The request files that an issuer's tool works on: what its node shall do, in the units and words of that node.

The official script reads them, so keys and units are exactly its own. Nothing in a file is needed again: a confirm is
judged by the chain and by what this server has on record.
"""

from __future__ import annotations

from collections.abc import Iterable

from amp0.elements.hashes import asset_id_to_str
from amp0.elements.transaction import OutPoint
from amp0.protocol import issuer as wire
from amp0.server.issuer.assets import AssetRow
from amp0.server.issuer.desk import Call
from amp0.server.issuer.proofs import Payee


def base_url(call: Call) -> str:
    """Where the tool finds the API: it puts paths in the place of ``{}``."""
    return call.api_url.rstrip("/") + "/{}"


def distribute(call: Call, asset: AssetRow, uuid: str, payees: Iterable[Payee]) -> wire.DistributeFile:
    """What one ``sendmany`` pays, each payee at an address of their own."""
    amounts = {payee.address: wire.decimal_number(payee.satoshi) for payee in payees}
    asset_id = asset_id_to_str(asset.asset_id)
    return wire.DistributeFile(
        base_url=base_url(call),
        asset_uuid=asset.uuid,
        asset_id=asset_id,
        distribution_uuid=uuid,
        map_address_amount=amounts,
        map_address_asset=dict.fromkeys(amounts, asset_id),
    )


def reissue(call: Call, asset: AssetRow, satoshi: int, tokens: Iterable[OutPoint]) -> wire.ReissueFile:
    """How much ``reissueasset`` makes, and the treasury's outputs of the reissuance token."""
    return wire.ReissueFile(
        base_url=base_url(call),
        asset_uuid=asset.uuid,
        asset_id=asset_id_to_str(asset.asset_id),
        amount=wire.decimal_number(satoshi),
        reissuance_utxos=_outpoints(tokens),
    )


def burn(call: Call, asset: AssetRow, satoshi: int, outputs: Iterable[OutPoint]) -> wire.BurnFile:
    """How much ``destroyamount`` destroys, and the treasury's outputs of the asset: the tool wants all of them in its
    node's wallet."""
    return wire.BurnFile(
        base_url=base_url(call),
        asset_uuid=asset.uuid,
        asset_id=asset_id_to_str(asset.asset_id),
        amount=wire.decimal_number(satoshi),
        utxos=_outpoints(outputs),
    )


def _outpoints(outpoints: Iterable[OutPoint]) -> list[wire.Outpoint]:
    return [wire.Outpoint(txid=str(outpoint.txid()), vout=outpoint.vout()) for outpoint in outpoints]
