"""Monitoring: who holds what, what moved, what is lost, and which outputs are not to be spent.

Everything is read from the ledger (:mod:`amp0.server.ledger`), which knows blocks. An asset's numbers are shown to its
issuer and to those managers who were given it, and to nobody else.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from amp0.elements.hashes import Txid, asset_id_to_str
from amp0.elements.transaction import OutPoint
from amp0.errors import InvalidInput
from amp0.network import LIQUID_GENESIS, TESTNET_GENESIS
from amp0.protocol import issuer as wire
from amp0.server import chainindex
from amp0.server.issuer import assets, gaids
from amp0.server.issuer.assets import AssetRow
from amp0.server.issuer.desk import Call
from amp0.server.issuer.endpoint import Endpoint, Runs
from amp0.server.issuer.refusals import NothingHere, WrongFields
from amp0.server.ledger import blacklist, past, views
from amp0.server.ledger.past import Moved, Movement, Page, UnknownColumn
from amp0.server.policy import changes
from amp0.server.policy.apply import Action
from amp0.server.store.asset_schema import (
    assignments,
    category_assets,
    category_users,
    registered_users,
)

T = TypeVar("T")
EXPLORERS = {
    LIQUID_GENESIS: "https://blockstream.info/liquid/tx/",
    TESTNET_GENESIS: "https://blockstream.info/liquidtestnet/tx/",
}
"""Genesis hash → where an explorer shows a transaction; there is none for any other network."""
MOST_OUTPOINTS = 1_000
"""Outputs of one request to the blacklist."""

_DESCRIPTIONS = {
    "issuance": "Issued",
    "reissuance": "Reissued",
    "distribution": "Distributed",
    "transfer": "Transferred",
    "burn": "Burned",
}


# --- who holds what ------------------------------------------------------------------------------------------------


def ownerships(call: Call, _body: None) -> list[wire.Ownership]:
    """Who holds how much, in blocks; the treasury first."""
    return _ownerships(views.ownerships(call.db, assets.find(call)))


def ownerships_at(call: Call, _body: None) -> list[wire.Ownership]:
    """Who held how much once the block of a height was there; the treasury first."""
    asset, text = assets.find(call), call.path["height"]
    if not (text.isascii() and text.isdigit() and len(text) < 10):
        raise NothingHere("there is no such height")
    height = int(text)
    if height > _tip(call.db):
        raise WrongFields.of("height", f"The chain has not come to height {height} yet; it is at {_tip(call.db)}")
    return _ownerships(views.ownerships(call.db, asset, height))


def _ownerships(rows: Sequence[views.Ownership]) -> list[wire.Ownership]:
    shown = wire.Ownership
    return [
        shown(owner=None if user_id is None else str(user_id), amount=satoshi, gaid=gaid)
        for _, gaid, user_id, satoshi in rows
    ]


def balance(call: Call, _body: None) -> wire.Balance:
    """Who holds how much in blocks, and what the server lost track of."""
    asset = assets.find(call)
    return wire.Balance(
        confirmed_balance=_ownerships(views.ownerships(call.db, asset)),
        lost_outputs=_lost(call, asset, is_token=False),
        reissuance_lost_outputs=_lost(call, asset, is_token=True),
    )


def lost_outputs(call: Call, _body: None) -> wire.LostOutputs:
    """Outputs of the asset and of its reissuance token that the server lost track of."""
    asset = assets.find(call)
    return wire.LostOutputs(
        lost_outputs=_lost(call, asset, is_token=False), reissuance_lost_outputs=_lost(call, asset, is_token=True)
    )


def _lost(call: Call, asset: AssetRow, *, is_token: bool) -> list[wire.Outpoint]:
    settings = call.desk.settings
    found = views.lost_outputs(
        call.db,
        asset,
        is_token,
        tip_height=_tip(call.db),
        now=call.desk.now(),
        grace=settings.lost_after_seconds,
        confirmations=settings.confirmations,
    )
    return [wire.Outpoint(txid=str(outpoint.txid()), vout=outpoint.vout()) for outpoint in found]


def _tip(db: Connection) -> int:
    tip = chainindex.tip(db)
    return 0 if tip is None else tip.height


def gaid_balances(call: Call, _body: None) -> list[wire.GaidBalance]:
    """What an AMP account holds in blocks of each of the issuer's assets, zeros included."""
    account, mine = _account(call), assets.visible_to(call.db, call.who)
    held = views.gaid_balance(call.db, account, [asset.id for asset in mine])
    return [_gaid_balance(asset, held[asset.id]) for asset in mine]


def gaid_balance(call: Call, _body: None) -> wire.GaidBalance:
    """What an AMP account holds in blocks of one asset."""
    asset, account = assets.find(call), _account(call)
    return _gaid_balance(asset, views.gaid_balance(call.db, account, [asset.id])[asset.id])


def _account(call: Call) -> int:
    account = gaids.account_of(call.db, call.path["gaid"])
    if account is None:
        raise NothingHere("there is no such GAID")
    return account


def _gaid_balance(asset: AssetRow, satoshi: int) -> wire.GaidBalance:
    return wire.GaidBalance(asset_uuid=asset.uuid, asset_id=asset_id_to_str(asset.asset_id), balance=satoshi)


# --- what happened -------------------------------------------------------------------------------------------------


def activities(call: Call, _body: None) -> list[wire.Activity]:
    """Outputs that moved some of the asset, in blocks, oldest first."""
    asset = assets.find(call)
    return [_activity(one) for one in _sorted(past.activities, call, asset)]


def transactions(call: Call, _body: None) -> list[wire.Tx]:
    """Transactions of the asset or its reissuance token, in blocks, oldest first."""
    asset = assets.find(call)
    return [_tx(call, asset, one) for one in _sorted(past.transactions, call, asset)]


def transaction(call: Call, _body: None) -> wire.Tx:
    """One transaction of the asset or its reissuance token."""
    asset = assets.find(call)
    try:
        found = past.transaction(call.db, asset, Txid.from_string(call.path["txid"]))
    except InvalidInput:
        found = None
    if found is None:
        raise NothingHere("this asset has no such transaction in a block")
    return _tx(call, asset, found)


def _sorted(read: Callable[[Connection, AssetRow, Page], list[T]], call: Call, asset: AssetRow) -> list[T]:
    """The part of a list that the query asks for."""
    asked: wire.Paging = call.query or wire.Paging()
    page = Page(
        start=asked.start or 0,
        count=asked.count,
        column=asked.sortcolumn or "blockheight",
        descending=asked.sortorder == "desc",
        height_start=asked.height_start,
        height_stop=asked.height_stop,
    )
    try:
        return read(call.db, asset, page)
    except UnknownColumn as error:
        raise WrongFields.of("sortcolumn", f"This list {error}") from None


def _activity(one: Movement) -> wire.Activity:
    whose = "the treasury" if one.gaid is None and one.is_treasury else one.gaid or "nobody known here"
    return wire.Activity(
        type=one.kind,
        datetime=wire.date_text(one.time),
        description=_DESCRIPTIONS[one.kind] + ("" if one.kind == "burn" else f" to {whose}"),
        txid=str(one.txid),
        vout=one.vout,
        blockheight=one.height,
        asset_blinder=one.abf[::-1].hex(),
        amount_blinder=one.vbf[::-1].hex(),
        registered_user_spaced=one.user_id,
        gaid=one.gaid,
        amount=one.satoshi,
        registered_user=one.user_id,
        investor=one.user_id,
    )


def _tx(call: Call, asset: AssetRow, moved: Moved) -> wire.Tx:
    ids = {False: asset_id_to_str(asset.asset_id), True: asset_id_to_str(asset.token_id or asset.asset_id)}
    return wire.Tx(
        txid=str(moved.txid),
        datetime=wire.date_text(moved.time),
        blockheight=moved.height,
        is_issuance=moved.kind == "issuance",
        is_reissuance=moved.kind == "reissuance",
        is_distribution=moved.kind == "distribution",
        inputs=[
            wire.TxInput(
                asset_id=ids[end.is_token],
                vin=end.number,
                prev_txid=str(end.txid),
                prev_vout=end.vout,
                amount=end.satoshi or 0,
                asset_blinder=end.abf[::-1].hex(),
                amount_blinder=end.vbf[::-1].hex(),
                registered_user=end.user_id,
                gaid=end.gaid,
                is_treasury=end.is_treasury,
                investor=end.user_id,
            )
            for end in moved.inputs
        ],
        outputs=[
            wire.TxOutput(
                asset_id=ids[end.is_token],
                vout=end.number,
                amount=end.satoshi or 0,
                asset_blinder=end.abf[::-1].hex(),
                amount_blinder=end.vbf[::-1].hex(),
                registered_user=end.user_id,
                gaid=end.gaid,
                is_treasury=end.is_treasury,
                is_spent=end.is_spent,
                is_burnt=end.is_burnt,
                investor=end.user_id,
            )
            for end in moved.outputs
        ],
        unblinded_url=_unblinded_url(call, moved, ids),
    )


def _unblinded_url(call: Call, moved: Moved, ids: dict[bool, str]) -> str:
    """Where an explorer shows the transaction with what is known of it opened; empty where there is no explorer."""
    explorer = EXPLORERS.get(call.desk.network.genesis_hash_hex)
    if explorer is None:
        return ""
    opened = [end for end in (*moved.outputs, *moved.inputs) if end.satoshi is not None and any(end.abf)]
    parts = [f"{end.satoshi},{ids[end.is_token]},{end.vbf[::-1].hex()},{end.abf[::-1].hex()}" for end in opened]
    return f"{explorer}{moved.txid}" + (f"#blinded={','.join(parts)}" if parts else "")


# --- in numbers ----------------------------------------------------------------------------------------------------


def summary(call: Call, _body: None) -> wire.Summary:
    """The asset in numbers, as blocks have it."""
    asset = assets.find(call)
    holders = [row for row in views.ownerships(call.db, asset) if row.account_id is not None and row.satoshi > 0]
    entitled, supply = _entitled(call.db, asset), views.supply(call.db, asset)
    assigned, distributed = _assigned(call.db, asset)
    return wire.Summary(
        asset_id=asset_id_to_str(asset.asset_id),
        reissuance_token_id=None if asset.token_id is None else asset_id_to_str(asset.token_id),
        issued=supply.issued,
        reissued=supply.reissued,
        assigned=assigned,
        distributed=distributed,
        burned=supply.burned,
        blacklisted=blacklist.satoshi(call.db, asset),
        registered_users=len(entitled),
        active_registered_users=len(entitled & {row.user_id for row in holders if row.user_id is not None}),
        active_green_subaccounts=len(holders),
        reissuance_tokens=views.tokens(call.db, asset),
    )


def _entitled(db: Connection, asset: AssetRow) -> set[int]:
    """Registered users who are in every category that a holder of the asset has to be in."""
    users, needed, has = registered_users, category_assets, category_users
    lacks = (
        sa.select(needed.c.category_id)
        .select_from(needed)
        .join(has, (has.c.category_id == needed.c.category_id) & (has.c.user_id == users.c.id), isouter=True)
        .where(needed.c.asset == asset.id, has.c.user_id.is_(None))
        .correlate(users)
    )
    query = sa.select(users.c.id).where(users.c.issuer_id == asset.issuer_id, users.c.deleted_at.is_(None))
    return set(db.execute(query.where(~lacks.exists()) if asset.transfer_restricted else query).scalars())


def _assigned(db: Connection, asset: AssetRow) -> tuple[int, int]:
    """Satoshi of all assignments of an asset, and of those that were distributed."""
    row = db.execute(
        sa.select(
            sa.func.coalesce(sa.func.sum(assignments.c.satoshi), 0),
            sa.func.coalesce(
                sa.func.sum(sa.case((assignments.c.distributed_at.is_not(None), assignments.c.satoshi), else_=0)), 0
            ),
        ).where(assignments.c.asset == asset.id)
    ).one()
    return int(row[0]), int(row[1])


# --- outputs and the blacklist -------------------------------------------------------------------------------------


def utxos(call: Call, _body: None) -> list[wire.Utxo]:
    """Unspent outputs of the asset, in blocks and in the mempool."""
    asset = assets.find(call)
    return [_utxo(asset, coin) for coin in views.utxos(call.db, asset)]


def blacklist_outputs(call: Call, body: wire.OutpointList) -> list[wire.Utxo]:
    """Refuse to cosign spends of these outputs, from now on and whatever the chain makes of them."""
    return _list(call, body, Action.BLACKLIST)


def whitelist_outputs(call: Call, body: wire.OutpointList) -> list[wire.Utxo]:
    """Take outputs off the blacklist; where that waits for time or approval, they stay on it until then."""
    return _list(call, body, Action.WHITELIST)


def _list(call: Call, body: Sequence[wire.Outpoint], action: Action) -> list[wire.Utxo]:
    asset = assets.find(call)
    if not 0 < len(body) <= MOST_OUTPOINTS:
        raise WrongFields(f"Between 1 and {MOST_OUTPOINTS} outputs can be named at once")
    wanted = list(dict.fromkeys(OutPoint(Txid.from_string(one.txid), one.vout) for one in body))
    unknown = set(wanted) - {coin.outpoint for coin in views.utxos(call.db, asset, wanted)}
    if unknown:
        raise WrongFields(f"This asset has no such output: {min(unknown)}")
    content = {"outpoints": [{"txid": str(one.txid()), "vout": one.vout()} for one in wanted]}
    changes.request(call, asset, action, content)
    found = {coin.outpoint: coin for coin in views.utxos(call.db, asset, wanted)}
    return [_utxo(asset, found[outpoint]) for outpoint in wanted]


def _utxo(asset: AssetRow, coin: views.Coin) -> wire.Utxo:
    return wire.Utxo(
        txid=str(coin.outpoint.txid()),
        vout=coin.outpoint.vout(),
        asset=asset_id_to_str(asset.asset_id),
        amount=coin.satoshi or 0,
        registered_user=coin.user_id,
        gaid=coin.gaid,
        blacklisted=coin.is_blacklisted,
        investor=coin.user_id,
    )


_ASSET = "/assets/{asset_uuid}"
ENDPOINTS = (
    Endpoint(("GET",), f"{_ASSET}/activities", activities, list[wire.Activity], query=wire.Paging),
    Endpoint(("GET",), f"{_ASSET}/txs", transactions, list[wire.Tx], query=wire.Paging),
    Endpoint(("GET",), f"{_ASSET}/txs/{{txid}}", transaction, wire.Tx),
    Endpoint(("GET",), f"{_ASSET}/ownerships", ownerships, list[wire.Ownership]),
    Endpoint(("GET",), f"{_ASSET}/ownerships/{{height}}", ownerships_at, list[wire.Ownership]),
    Endpoint(("GET",), f"{_ASSET}/balance", balance, wire.Balance),
    Endpoint(("GET",), f"{_ASSET}/lost-outputs", lost_outputs, wire.LostOutputs),
    Endpoint(("GET",), f"{_ASSET}/summary", summary, wire.Summary),
    Endpoint(("GET",), f"{_ASSET}/utxos", utxos, list[wire.Utxo]),
    Endpoint(
        ("POST",),
        f"{_ASSET}/utxos/blacklist",
        blacklist_outputs,
        list[wire.Utxo],
        body=wire.OutpointList,
        runs=Runs.WRITE,
    ),
    Endpoint(
        ("POST",),
        f"{_ASSET}/utxos/whitelist",
        whitelist_outputs,
        list[wire.Utxo],
        body=wire.OutpointList,
        runs=Runs.WRITE,
    ),
    Endpoint(("GET",), "/gaids/{gaid}/balance", gaid_balances, list[wire.GaidBalance]),
    Endpoint(("GET",), "/gaids/{gaid}/balance/{asset_uuid}", gaid_balance, wire.GaidBalance),
)
