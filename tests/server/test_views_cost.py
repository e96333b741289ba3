"""What clients that do not scan ask for, from an account of 100,000 addresses and 50,000 outputs."""

from __future__ import annotations

import random
import time
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from amp0.elements.hashes import Txid
from amp0.elements.transaction import OutPoint, Transaction, TxIn, TxOut
from amp0.protocol import rpc, wamp
from amp0.server import calls
from amp0.server.store import schema
from amp0.server.store.engine import Store

from .talking import World, in_world
from .test_accounts import owner_of_account

ADDRESSES, OUTPUTS, UNSPENT = 100_000, 50_000, 5_000
SECONDS = {
    rpc.GetUnspentOutputs(0, 1): 0.150,
    rpc.GetTransactions(1): 0.020,
    rpc.GetMyAddresses(1): 0.010,
    rpc.GetMyAddresses(1, ADDRESSES // 2): 0.010,
    rpc.Fund(1): 0.010,
}
"""On an idle machine of two cores; the test allows three times as much."""


def fill(store: Store, account_id: int) -> None:
    """An account that has lived long: scripts and proofs are noise, for nothing here looks into them."""
    noise = random.Random(1).randbytes
    addresses, outputs, history = schema.addresses, schema.outputs, schema.account_transactions
    with store.transaction() as db:
        db.execute(
            addresses.insert(),
            [
                {"account_id": account_id, "pointer": n, "script_pubkey": p2sh(noise), "csv_blocks": 0, "issued_at": 1}
                for n in range(21, ADDRESSES + 1)
            ],
        )
        db.execute(schema.accounts.update().where(schema.accounts.c.id == account_id).values(last_pointer=ADDRESSES))
        for n in range(0, OUTPUTS, 1_000):
            payments = [payment(noise) for _ in range(1_000)]
            txids = [bytes(tx.txid()) for tx in payments]
            state = {"state": 1, "height": 1, "fee": 50, "weight": 1, "vsize": 1, "first_seen_at": 1, "changed_at": 1}
            db.execute(
                schema.transactions.insert(),
                [state | {"txid": txid, "raw": tx.to_bytes()} for txid, tx in zip(txids, payments, strict=True)],
            )
            db.execute(outputs.insert(), [output(account_id, n + i, tx) for i, tx in enumerate(payments)])
            db.execute(
                history.insert(),
                [{"account_id": account_id, "created_at_us": n + i + 1, "txid": txid} for i, txid in enumerate(txids)],
            )


def p2sh(noise: Any) -> bytes:
    return b"\xa9\x14" + bytes(noise(20)) + b"\x87"


def payment(noise: Any) -> Transaction:
    own = TxOut(p2sh(noise), b"\x0a" + noise(32), b"\x08" + noise(32), b"\x02" + noise(32), noise(131), noise(4174))
    return Transaction.of(2, 0, [TxIn(OutPoint(Txid(noise(32)), 0))], [own, TxOut.fee(noise(32), 50)])


def output(account_id: int, n: int, tx: Transaction) -> dict[str, Any]:
    out, is_unspent = tx.vout[0], n % (OUTPUTS // UNSPENT) == 0
    return {
        "txid": bytes(tx.txid()),
        "vout": 0,
        "account_id": account_id,
        "pointer": 1 + n * (ADDRESSES // OUTPUTS),
        "height": 1,
        "spent_by": None if is_unspent else bytes(32),
        "spent_height": None if is_unspent else 1,
        "script_pubkey": out.script,
        "asset_field": out.asset_field,
        "value_field": out.value_field,
        "nonce_field": out.nonce_field,
        "range_proof": out.range_proof,
        "surjection_proof": out.surjection_proof,
    }


@pytest.mark.soak
def test_views_of_a_large_account_are_cheap(tmp_path: Path) -> None:
    async def scene(world: World) -> None:
        _, client = await owner_of_account(world)
        services, session = world.server.services, client.connection.session
        with services.store.snapshot() as db:
            account_id = db.execute(sa.select(schema.accounts.c.id).where(schema.accounts.c.pointer == 1)).scalar_one()
        fill(services.store, account_id)
        slow = {}
        for call, seconds in SECONDS.items():
            taken = []
            for _ in range(5):
                began = time.perf_counter()
                outcome = calls.execute(services, session, call.URI, call.args())
                frame = wamp.Serializer.MSGPACK.encode_result(1, outcome.value)
                taken.append(time.perf_counter() - began)
                assert outcome.refusal is None
            name = call.URI.removeprefix(rpc.PREFIX)
            print(f"{name:40} {min(taken) * 1e3:7.1f} ms, {len(frame):>9} bytes")
            if min(taken) > 3 * seconds:
                slow[name] = min(taken)
        assert slow == {}

    in_world(scene, url=f"sqlite:///{tmp_path / 'amp0.sqlite'}")
