"""An issuing server in a process of its own that dies by SIGKILL, and the check of what it left behind.

The chain is a file: every transaction that was handed to it is a line there, and stays.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path

import msgspec
import sqlalchemy as sa

from amp0.elements.hashes import Txid
from amp0.elements.transaction import Transaction
from amp0.protocol import issuer as wire
from amp0.server import chainindex
from amp0.server.attempts import Attempts
from amp0.server.context import Publication, Tip
from amp0.server.issuer import assets, fee_coins, issuance
from amp0.server.issuer.desk import Call, Desk, Principal, Role
from amp0.server.issuer.upkeep import Upkeep
from amp0.server.keys import ServiceKeys
from amp0.server.settings import Settings
from amp0.server.store import asset_schema
from amp0.server.store.engine import Store
from tests.patience import PATIENCE
from tests.server.issuer.house import NETWORK, House, make_wallet, reissuable, request, token_of
from tests.server.killing import CONTEXT, Death

KEY = "the one key"
CONTEXT.set_forkserver_preload(["tests.server.killing", __name__])
Point = Callable[[str], None]


def prepare(path: Path) -> None:
    """A database with an issuer and a filled fee wallet."""
    house = House(f"sqlite:///{path}")
    house.fund(30_000, 20_000)
    house.close()


def _nothing(_where: str) -> None:
    return


def _desk(store: Store, chain: Path, now: int, point: Point = _nothing) -> Desk:
    wallet = make_wallet()
    followers = [fee_coins.FeeCoins(wallet)]

    def broadcast(tx: Transaction) -> list[Publication]:
        point("before broadcast")
        with chain.open("ab") as file:
            file.write(f"{tx}\n".encode())
            file.flush()
            os.fsync(file.fileno())
        point("after broadcast")
        with store.transaction() as db:
            chainindex.add_unconfirmed(db, [tx], NETWORK.policy_asset_hex, now, followers)
        return []

    return Desk(
        settings=Settings(),
        network=NETWORK,
        store=store,
        keys=ServiceKeys.test_key(),
        attempts=Attempts(30.0, lambda: 0.0),
        clock=lambda: float(now),
        random=os.urandom,
        tip=Tip,
        fetch=lambda txid: None,
        broadcast=broadcast,
        wallet=wallet,
    )


def _issue(desk: Desk) -> wire.Issued:
    who = Principal(1, 1, Role.ISSUER, "issuer", "issuer")
    call = Call(desk, who, {}, token=token_of(who.id), idempotency_key=KEY)
    return issuance.issue(call, request(**reissuable()))


def serve(database: Path, chain: Path, answers: Path, die_at: int) -> None:
    """Answer the one request; die at the ``die_at``-th point.

    Points are every begin, statement and commit, the time before and after the broadcast, and the time before the
    answer leaves.
    """
    point = Death(die_at)
    store = Store.open(f"sqlite:///{database}", faults=point)
    point.armed = True
    answer = _issue(_desk(store, chain, 1_750_000_000, point))
    point("before the answer")
    point.armed = False
    answers.write_bytes(msgspec.json.encode(answer))
    store.close()


def run_and_kill(database: Path, chain: Path, answers: Path, die_at: int) -> bool:
    """Run the process. True when it was killed and did not finish."""
    process = CONTEXT.Process(target=serve, args=(database, chain, answers, die_at))
    process.start()
    process.join(PATIENCE)
    assert process.exitcode in (0, -signal.SIGKILL), process.exitcode
    return process.exitcode != 0


def check_after(database: Path, chain: Path, answers: Path, *, upkeep_first: bool) -> str:
    """Start again, and ask again: one asset, one transaction, the coins spent once.

    Returns the state in which the asset was found: empty when it was not there.
    """
    store = Store.open(f"sqlite:///{database}")
    desk = _desk(store, chain, 1_750_000_100)
    with store.snapshot() as db:
        found = db.execute(sa.select(asset_schema.assets.c.state)).scalar_one_or_none() or ""
    if upkeep_first:
        Upkeep(desk).run()
    answer = _issue(desk)
    assert _issue(desk) == answer
    if answers.exists():
        assert msgspec.json.decode(answers.read_bytes(), type=wire.Issued) == answer
    sent = {Transaction(line).txid() for line in chain.read_text().splitlines()}
    assert sent == {Txid(answer.txid)}
    with store.snapshot() as db:
        row = assets.load(db, 1)
        counts = {
            table.name: db.execute(sa.select(sa.func.count()).select_from(table)).scalar_one()
            for table in (
                asset_schema.assets,
                asset_schema.treasury_addresses,
                asset_schema.idempotency_keys,
                asset_schema.asset_txs,
                asset_schema.asset_outputs,
                asset_schema.issuer_events,
            )
        }
        coins = asset_schema.fee_wallet_coins
        spent_by = db.execute(sa.select(coins.c.spent_by).where(coins.c.spent_by.is_not(None))).scalars().all()
        funds = fee_coins.funds(db)
    assert (row.state, row.uuid) == (assets.SENT, answer.asset_uuid)
    assert counts == {
        "assets": 1,
        "treasury_addresses": 2,
        "idempotency_keys": 1,
        "asset_txs": 1,
        "asset_outputs": 2,
        "issuer_events": 1,
    }
    assert [bytes(txid) for txid in spent_by] == [bytes(Txid(answer.txid))]
    fee = Transaction(chain.read_text().splitlines()[0]).fee(NETWORK.policy_asset_hex)
    assert funds.spendable == 50_000 - fee
    store.close()
    return found
