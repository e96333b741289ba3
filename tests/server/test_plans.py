"""No statement of a busy server reads a table from end to end.

With 100,000 addresses and 50,000 outputs in one account, a list of pairs that SQLite had no index for made every
cosigned transaction read every output of every wallet, proofs included, and a page of transactions took 80 ms in place
of 3. Plans are the same for a small database, as long as nobody has gathered statistics, so they are looked at there.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.engine import Engine

from amp0.elements.transaction import OutPoint
from amp0.protocol import rpc
from amp0.server.store.engine import Store

from . import cosigning
from .chain import payment
from .talking import Client, Wallet, World
from .test_watcher import STRANGER, own, poll, scene_with_account

SMALL = {"service", "blocks", "alembic_version"}
"""Tables that stay small: headers are bounded, and facts of the store are few."""
Statements = dict[str, Any]


@contextmanager
def gathered() -> Iterator[Statements]:
    """Every statement that runs on a store made in here, with parameters it ran with.

    Not on any other: listening to every engine let in the upkeep of a server that another test's fixture keeps alive
    in the same process, once in some runs.
    """
    found: Statements = {}

    def note(_connection: Any, _cursor: Any, statement: str, parameters: Any, _context: Any, many: bool) -> None:
        found[statement] = parameters[0] if many else parameters

    make = Store.__init__

    def make_and_listen(store: Store, engine: Engine, **options: Any) -> None:
        make(store, engine, **options)
        sa.event.listen(engine, "before_cursor_execute", note)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Store, "__init__", make_and_listen)
        yield found


def scans(statements: Statements) -> list[str]:
    """Plans in which a large table is read from end to end, with their statements."""
    store = Store.open("sqlite://")
    found = []
    with store.snapshot() as connection:
        for statement, parameters in statements.items():
            if not re.match(r"SELECT|UPDATE|DELETE", statement) or "sqlite_" in statement:
                continue
            for row in connection.exec_driver_sql("EXPLAIN QUERY PLAN " + statement, parameters):
                scanned = re.match(r"SCAN (\w+)", row[3])
                if scanned and scanned[1] not in SMALL and not re.search(r"CONSTANT|SUBQUERY|anon_|^SCAN \d", row[3]):
                    found.append(f"{row[3]}: {statement}")
    store.close()
    return found


def test_following_the_chain_and_looking_at_it() -> None:
    async def play(world: World, wallet: Wallet, client: Client) -> None:
        first = payment((own(wallet, 1), 1_000), (own(wallet, 2), 1_000))
        second = payment((own(wallet, 3), 900), spends=(OutPoint(first.txid(), 0), OutPoint(first.txid(), 1)))
        rival = payment((STRANGER, 900), spends=(OutPoint(first.txid(), 0),))
        world.chain.mine(first)
        await poll(world)
        world.chain.send(second)
        await poll(world)
        await look(client)
        world.chain.mine(rival)
        await poll(world)
        world.chain.drop_blocks(2)
        world.chain.mine(first, second)
        world.chain.mine()
        await poll(world)
        await look(client)

    with gathered() as statements:
        scene_with_account(play)
    assert any("spent_by" in statement for statement in statements)
    assert scans(statements) == []


async def look(client: Client) -> None:
    for call in (
        rpc.GetUnspentOutputs(0, 1),
        rpc.GetUnspentOutputs(1, 1),
        rpc.GetTransactions(1),
        rpc.GetMyAddresses(1),
        rpc.GetMyAddresses(1, 10),
        rpc.GetRawTransaction("ab" * 32),
        rpc.Fund(1),
        rpc.Fund(0, True, "csv"),
    ):
        await client.call(call)


def test_logging_in_and_setting_up() -> None:
    async def play(world: World, wallet: Wallet, client: Client) -> None:
        await wallet.register(client)
        await wallet.log_in(client)
        watcher = await world.joined()
        await watcher.call(await wallet.create_watch_only(client, "shop", "secret"))
        await wallet.create_account(client, 2)
        pin = await client.call(rpc.SetPinLogin("123456", "phone"))
        await client.call(rpc.GetPinPassword("123456", pin.partition(";")[0]))
        await client.call(rpc.SetClientBlob("QUJD", 0, "A" * 42 + "Q=", rpc.ZERO_HMAC))
        await client.call(rpc.SetCsvTime(1440, {}))
        await client.call(rpc.RemoveAccount({}))

    with gathered() as statements:
        scene_with_account(play)
    assert scans(statements) == []


def test_cosigning() -> None:
    with gathered() as statements:
        world = cosigning.World()
        alice = world.wallet("alice")
        coins = [world.fund(alice), world.fund(alice)]
        first, second = world.pay(coins), world.pay(coins, 5_000)
        signed = world.cosigner.cosign(first.request()).tx
        world.cosigner.cosign(first.request())
        world.cosigner.again(signed.txid())
        world.now += 601
        world.cosigner.cosign(second.request())
    assert any(re.search(r"DELETE FROM outpoint_claims", statement) for statement in statements)
    assert scans(statements) == []


def test_a_scan_would_be_noticed() -> None:
    def plan(where: str) -> list[str]:
        return scans({f"SELECT txid FROM outputs WHERE {where}": ()})

    assert plan("(txid, vout) IN (VALUES (x'00', 1), (x'01', 2))")
    assert plan("height = 5")
    assert plan("txid = x'00'") == []


def test_statements_of_another_server_in_this_process_are_not_gathered() -> None:
    other = Store.open("sqlite://")
    with gathered() as statements:
        own = Store.open("sqlite://")
        for store in (other, own):
            with store.snapshot() as connection:
                connection.execute(sa.text(f"SELECT {1 if store is own else 2}"))
        own.close()
    other.close()
    assert "SELECT 1" in statements
    assert "SELECT 2" not in statements
