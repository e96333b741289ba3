"""Chain views for clients that do not scan: unspent outputs, past transactions, single transactions.

All of it comes from the server's own index; amounts stay blinded, because the server holds no blinding keys. The
shapes, and which fields clients insist on, are those of Green's backend.
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from amp0.elements.address import Address
from amp0.elements.hashes import Txid
from amp0.elements.transaction import Transaction, TxIn, TxOut, value_of_field
from amp0.errors import InvalidAddress
from amp0.network import Network
from amp0.protocol import rpc
from amp0.server import accounts
from amp0.server.accounts import SCRIPT_TYPE_CSV, SCRIPT_TYPE_P2WSH, Account
from amp0.server.chainindex import GONE
from amp0.server.context import Context
from amp0.server.store import schema
from amp0.server.twofactor import frozen

PAGE = 30
"""Transactions of one answer of ``txs.get_list_v3``."""
SPENT_SCRIPT_TYPE_P2WSH, SPENT_SCRIPT_TYPE_CSV = 159, 162
NOT_OURS = 0

_outputs, _transactions = schema.outputs, schema.transactions
_addresses, _history = schema.addresses, schema.account_transactions
_NO_NONCE = bytes(33)


def fee_estimates(min_fee_rate: int) -> dict[str, Any]:
    """Estimates for all targets: Liquid blocks are never full, so the minimum is enough. BTC per 1000 vB."""
    rate = min_fee_rate / 100_000_000
    return {str(blocks): {"feerate": rate, "blocks": blocks} for blocks in (1, 2, 3, 6, 12, 24)}


def get_fee_estimates(context: Context, _call: rpc.GetFeeEstimates) -> dict[str, Any]:
    """The estimates, and the minimum as a bare number."""
    rate = context.services.network.min_fee_rate
    return {"min": rate / 100_000_000, **fee_estimates(rate)}


_RAW = (
    sa.select(_transactions.c.raw)
    .join(_history, _history.c.txid == _transactions.c.txid)
    .join(schema.accounts, schema.accounts.c.id == _history.c.account_id)
    .where(
        schema.accounts.c.user_id == sa.bindparam("user"),
        _transactions.c.txid == sa.bindparam("wanted"),
        _transactions.c.state != GONE,
    )
    .limit(1)
)


def get_raw_transaction(context: Context, call: rpc.GetRawTransaction) -> str:
    """A transaction of the wallet's history in hex, or empty text.

    Any transaction is public, but not that it concerns a wallet of this server: so nobody learns it of others'.
    """
    wanted = {"user": context.session.user_id, "wanted": bytes(Txid(call.txid))}
    raw = context.db.execute(_RAW, wanted).scalar_one_or_none()
    return "" if raw is None else bytes(raw).hex()


# --- unspent outputs -----------------------------------------------------------------------------------------------


_UNSPENT = (
    sa.select(
        _outputs.c.txid,
        _outputs.c.vout,
        _outputs.c.pointer,
        _outputs.c.height,
        _outputs.c.script_pubkey,
        _outputs.c.asset_field,
        _outputs.c.value_field,
        _outputs.c.nonce_field,
        _outputs.c.range_proof,
        _outputs.c.surjection_proof,
        _addresses.c.csv_blocks,
    )
    .join(_addresses, (_addresses.c.account_id == _outputs.c.account_id) & (_addresses.c.pointer == _outputs.c.pointer))
    .where(_outputs.c.spent_by.is_(None))
)


def get_unspent_outputs(context: Context, call: rpc.GetUnspentOutputs) -> list[rpc.UtxoRow]:
    """Every unspent output of an account, unconfirmed ones included unless a confirmation is asked for.

    In no order: clients make their own, and sorting rows with their proofs would cost the database more than all else.
    """
    network = context.services.network
    account = accounts.find(context.db, context.session.user_id, call.subaccount, main=network.main)
    query = _UNSPENT.where(_outputs.c.account_id == account.id)
    if call.num_confs > 0:
        query = query.where(_outputs.c.height <= context.services.tip().height - call.num_confs + 1)
    held = frozen.of_wallet(context.db, context.session.user_id)
    rows = context.db.execute(query)
    return [
        rpc.UtxoRow(
            txhash=str(Txid(txid)),
            pt_idx=vout,
            subaccount=account.pointer,
            pointer=pointer,
            asset_tag=asset.hex(),
            commitment=value.hex(),
            nonce_commitment=(nonce or _NO_NONCE).hex(),
            script=script.hex(),
            range_proof=range_proof.hex(),
            surj_proof=surjection_proof.hex(),
            block_height=height or 0,
            value=_explicit(value),
            script_type=SCRIPT_TYPE_CSV if csv_blocks else SCRIPT_TYPE_P2WSH,
            subtype=csv_blocks,
            user_status=int((txid, vout) in held),
        )
        # By position, which for thousands of rows is quicker than by name.
        for txid, vout, pointer, height, script, asset, value, nonce, range_proof, surjection_proof, csv_blocks in rows
        if call.all_coins or (txid, vout) not in held
    ]


def _explicit(value_field: bytes) -> str | None:
    value = value_of_field(bytes(value_field))
    return None if value is None else str(value)


# --- transactions --------------------------------------------------------------------------------------------------


def get_transactions(context: Context, call: rpc.GetTransactions) -> rpc.TxList:
    """A page of an account's transactions, in the order in which the server met them."""
    network = context.services.network
    account = accounts.find(context.db, context.session.user_id, call.subaccount, main=network.main)
    rows = context.db.execute(
        sa.select(_history.c.created_at_us, _transactions)
        .join(_transactions, _transactions.c.txid == _history.c.txid)
        .where(
            _history.c.account_id == account.id,
            _history.c.created_at_us > call.since,
            _transactions.c.state != GONE,
        )
        .order_by(_history.c.created_at_us)
        .limit(PAGE + 1)
    ).all()
    transactions = [Transaction.from_bytes(row.raw) for row in rows[:PAGE]]
    own = _own_outputs(context.db, account, transactions)
    listed = [
        rpc.TxRow(
            txhash=str(tx.txid()),
            block_height=row.height or 0,
            created_at_ts=row.created_at_us,
            fee=row.fee,
            weight=row.weight,
            transaction_vsize=row.vsize,
            eps=[
                *(_input(account, txin, i, own) for i, txin in enumerate(tx.vin)),
                *(_output(network, account, tx, i, own) for i in range(len(tx.vout))),
            ],
        )
        for row, tx in zip(rows[:PAGE], transactions, strict=True)
    ]
    return rpc.TxList(list=listed, more=len(rows) > PAGE)


_Own = dict[tuple[bytes, int], sa.Row[Any]]


def _own_outputs(connection: Connection, account: Account, transactions: list[Transaction]) -> _Own:
    """The account's outputs that these transactions make or spend, by outpoint."""
    txids = {bytes(tx.txid()) for tx in transactions}
    txids |= {bytes(txin.prevout.txid()) for tx in transactions for txin in tx.vin}
    found: _Own = {}
    ordered = sorted(txids)
    for i in range(0, len(ordered), 400):
        rows = connection.execute(
            sa.select(_outputs, _addresses.c.csv_blocks)
            .join(
                _addresses,
                (_addresses.c.account_id == _outputs.c.account_id) & (_addresses.c.pointer == _outputs.c.pointer),
            )
            # Were the account named here too, the database would take its index, and walk the whole account.
            .where(_outputs.c.txid.in_(ordered[i : i + 400]))
        )
        found.update({(bytes(row.txid), row.vout): row for row in rows if row.account_id == account.id})
    return found


def _output(network: Network, account: Account, tx: Transaction, vout: int, own: _Own) -> rpc.Endpoint:
    out = tx.vout[vout]
    row = own.get((bytes(tx.txid()), vout))
    if row is None:
        return rpc.Endpoint(
            is_output=True,
            is_relevant=False,
            pt_idx=vout,
            script_type=NOT_OURS,
            value=_explicit(out.value_field) or "None",
            is_spent=False,
            subtype=0,
            subaccount=0,
            pointer=0,
            address=_address(network, out),
            asset_tag=out.asset_field.hex(),
            commitment=out.value_field.hex(),
            nonce_commitment=(out.nonce_field or _NO_NONCE).hex(),
            script=out.script.hex(),
            range_proof="",
            surj_proof="",
        )
    return rpc.Endpoint(
        is_output=True,
        is_relevant=True,
        pt_idx=vout,
        script_type=SCRIPT_TYPE_CSV if row.csv_blocks else SCRIPT_TYPE_P2WSH,
        value=_explicit(out.value_field) or "None",
        is_spent=row.spent_by is not None,
        subtype=row.csv_blocks,
        subaccount=account.pointer,
        pointer=row.pointer,
        address=_address(network, out),
        asset_tag=out.asset_field.hex(),
        commitment=out.value_field.hex(),
        nonce_commitment=(out.nonce_field or _NO_NONCE).hex(),
        script=out.script.hex(),
        range_proof=out.range_proof.hex(),
        surj_proof=out.surjection_proof.hex(),
    )


def _input(account: Account, txin: TxIn, index: int, own: _Own) -> rpc.Endpoint:
    prevout = txin.prevout
    row = own.get((bytes(prevout.txid()), prevout.vout()))
    if row is None:
        return rpc.Endpoint(
            is_output=False,
            is_relevant=False,
            pt_idx=index,
            script_type=NOT_OURS,
            value="None",
            is_spent=True,
            subtype=0,
            subaccount=0,
            pointer=0,
            prevtxhash=str(prevout.txid()),
            previdx=prevout.vout(),
            prevsubaccount=None,
            prevpointer=None,
        )
    return rpc.Endpoint(
        is_output=False,
        is_relevant=True,
        pt_idx=index,
        script_type=SPENT_SCRIPT_TYPE_CSV if row.csv_blocks else SPENT_SCRIPT_TYPE_P2WSH,
        value=_explicit(row.value_field) or "None",
        is_spent=True,
        subtype=row.csv_blocks,
        subaccount=account.pointer,
        pointer=row.pointer,
        asset_tag=row.asset_field.hex(),
        commitment=row.value_field.hex(),
        nonce_commitment=(row.nonce_field or _NO_NONCE).hex(),
        script=row.script_pubkey.hex(),
        range_proof=row.range_proof.hex(),
        surj_proof=row.surjection_proof.hex(),
        prevtxhash=str(prevout.txid()),
        previdx=prevout.vout(),
        prevsubaccount=None,
        prevpointer=None,
    )


def _address(network: Network, out: TxOut) -> str:
    if not out.script:
        return ""
    try:
        return str(Address.from_script(network, out.script))
    except InvalidAddress:
        return ""
