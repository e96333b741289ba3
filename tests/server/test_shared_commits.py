"""Calls that share a commit: each stands or falls by itself, and what was answered survives."""

from __future__ import annotations

import asyncio
import json
import random
import signal
import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from amp0.protocol import rpc
from amp0.server import calls
from amp0.server.app import Server, build
from amp0.server.calls import Asked
from amp0.server.context import Level, Session
from amp0.server.keys import ServiceKeys
from amp0.server.refusal import StoreUnavailable, UnknownAccount
from amp0.server.settings import Settings
from amp0.server.store import schema
from amp0.server.store.engine import Faults
from tests.patience import PATIENCE, until
from tests.server.chain import FakeChain
from tests.server.killing import CONTEXT, Death, needs_sigkill
from tests.server.talking import CallError, Wallet, World, in_world

SESSION = Session(level=Level.FULL, user_id=1, receiving_id="GA")


def ask(call: rpc.Procedure, session: Session = SESSION) -> Asked:
    return Asked(session, call.URI, call.args())


def served(path: Path, faults: Faults | None = None) -> Server:
    settings = Settings(database_url=f"sqlite:///{path}")
    return build(settings, keys=ServiceKeys.test_key(), chain_client=FakeChain().client(), faults=faults)


def prepare(path: Path) -> None:
    """A database with one wallet and one account."""
    server, wallet = served(path), Wallet("alice")
    account = rpc.CreateSubaccount(1, "", rpc.ACCOUNT_TYPE, [wallet.account_xpub(1)], [""])
    for call in (wallet.registration(), account):
        assert calls.execute(server.services, SESSION, call.URI, call.args()).refusal is None
    asyncio.run(server.stop())


def issued(server: Server) -> tuple[set[int], int]:
    """Pointers that were handed out, and the account's last one."""
    with server.services.store.snapshot() as db:
        adr, acc = schema.addresses, schema.accounts
        pointers = db.execute(sa.select(adr.c.pointer).where(adr.c.issued_at.is_not(None))).scalars()
        return set(pointers), db.execute(sa.select(acc.c.last_pointer).where(acc.c.pointer == 1)).scalar_one()


def test_a_refusal_takes_nothing_from_the_others_and_leaves_nothing(tmp_path: Path) -> None:
    prepare(tmp_path / "x.sqlite")
    server = served(tmp_path / "x.sqlite")
    nobody = Session()
    several = [
        ask(rpc.Fund(1)),
        ask(rpc.Fund(9)),
        ask(rpc.Fund(1)),
        ask(rpc.Fund(1), nobody),
        Asked(SESSION, rpc.Fund.URI, ["junk"]),
        ask(rpc.SetClientBlob("AAAA", 0, "A" * 42 + "I=", rpc.ZERO_HMAC)),
        ask(rpc.SetClientBlob("BBBB", 0, "A" * 42 + "M=", rpc.ZERO_HMAC)),
        ask(rpc.Fund(1)),
    ]
    outcomes = calls.execute_together(server.services, several)
    names = [None if outcome.refusal is None else outcome.refusal.name for outcome in outcomes]
    assert names == [None, "unknownaccount", None, "sessionexpired", "invalid", None, None, None]
    assert [outcomes[i].value["pointer"] for i in (0, 2, 7)] == [1, 2, 3]
    # Compare and swap holds between two that share a commit: the second is told what the first wrote.
    assert outcomes[5].value is True
    assert outcomes[6].value["blob"] == "AAAA"
    assert [len(outcome.publications) for outcome in outcomes[5:7]] == [1, 0]
    assert issued(server) == ({1, 2, 3}, 3)
    asyncio.run(server.stop())


def test_a_fault_in_one_call_is_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    prepare(tmp_path / "x.sqlite")
    server = served(tmp_path / "x.sqlite")
    row = calls.CALLS[rpc.SetAppearance]

    def broken(context: Any, _call: Any) -> bool:
        context.db.execute(schema.users.update().values(client_blob="half"))
        raise ZeroDivisionError

    changed = calls.Row(broken, row.level, row.runs)
    monkeypatch.setattr(calls, "CALLS", dict(calls.CALLS) | {rpc.SetAppearance: changed})
    several = [ask(rpc.Fund(1)), ask(rpc.SetAppearance({})), ask(rpc.Fund(1))]
    outcomes = calls.execute_together(server.services, several)
    assert [outcome.refusal.name if outcome.refusal else None for outcome in outcomes] == [None, "internal", None]
    with server.services.store.snapshot() as db:
        assert db.execute(sa.select(schema.users.c.client_blob)).scalar_one() == ""
    asyncio.run(server.stop())


@pytest.mark.parametrize("step", ["begin", "execute", "commit"])
def test_g04_without_a_commit_nobody_is_answered(tmp_path: Path, step: str) -> None:
    prepare(tmp_path / "x.sqlite")
    breaks_at: list[str] = []

    def disk(now: str) -> None:
        if now in breaks_at:
            raise sqlite3.OperationalError("database or disk is full")

    server = served(tmp_path / "x.sqlite", disk)
    assert calls.execute_together(server.services, [ask(rpc.Fund(1))])[0].value["pointer"] == 1
    breaks_at.append(step)
    outcomes = calls.execute_together(server.services, [ask(rpc.Fund(1)), ask(rpc.Fund(9)), ask(rpc.Fund(1))])
    assert all(isinstance(outcome.refusal, StoreUnavailable) for outcome in outcomes)
    assert all(outcome.value is None and not outcome.publications for outcome in outcomes)
    breaks_at.clear()
    assert not server.services.store.ready()
    asyncio.run(server.stop())
    again = served(tmp_path / "x.sqlite")
    assert issued(again) == ({1}, 1)
    asyncio.run(again.stop())


def test_sessions_that_write_at_the_same_time_share_commits() -> None:
    commits = []

    def count(step: str) -> None:
        if step == "commit":
            commits.append(step)

    async def scene(world: World) -> None:
        wallet = Wallet("alice")
        owner = await world.logged_in(wallet)
        await wallet.create_account(owner)
        login = await wallet.create_watch_only(owner, "shop", "secret")
        clients = [await world.joined() for _ in range(40)]
        for client in clients:
            await client.call(login)
        before = len(commits)

        async def fund(number: int) -> int | None:
            if number % 8 == 0:
                with pytest.raises(CallError, match="unknownaccount"):
                    await clients[number].call(rpc.Fund(7))
                return None
            return int((await clients[number].call(rpc.Fund(1)))["pointer"])

        pointers = await asyncio.gather(*(fund(number) for number in range(40)))
        assert sorted(pointer for pointer in pointers if pointer) == list(range(1, 36))
        assert pointers.count(None) == 5
        assert len(commits) - before <= 5, "forty calls, and hardly a commit"

    in_world(scene, faults=count)


def test_each_has_a_commit_of_its_own_where_that_is_wanted() -> None:
    commits: list[str] = []

    async def scene(world: World) -> None:
        wallet = Wallet("alice")
        owner = await world.logged_in(wallet)
        await wallet.create_account(owner)
        login = await wallet.create_watch_only(owner, "shop", "secret")
        clients = [await world.joined() for _ in range(10)]
        for client in clients:
            await client.call(login)
        before = len(commits)
        await asyncio.gather(*(client.call(rpc.Fund(1)) for client in clients))
        assert len(commits) - before == 10

    in_world(scene, faults=lambda step: commits.append(step) if step == "commit" else None, max_shared_commit=1)


# --- killed --------------------------------------------------------------------------------------------------------


def hand_out(path: Path, log: Path, die_at: int | None, batches: int) -> None:
    """Batches of four addresses and a refusal; each answer is logged as it would leave. Dies at a write point."""
    point = Death(die_at)
    server = served(path, point)
    point.armed = True
    with log.open("ab") as file:
        for _ in range(batches):
            several = [ask(rpc.Fund(n)) for n in (1, 1, 9, 1, 1)]
            for outcome in calls.execute_together(server.services, several):
                if outcome.refusal is None:
                    file.write(json.dumps([outcome.value["pointer"], outcome.value["script"]]).encode() + b"\n")
                    file.flush()
                else:
                    assert isinstance(outcome.refusal, UnknownAccount)
            point("answered")


def killed(path: Path, log: Path, *, die_at: int | None = None, batches: int = 1, answers: int = 0) -> bool:
    """True when it was killed: at a write point, or amid its work once it has given so many ``answers``."""
    process = CONTEXT.Process(target=hand_out, args=(path, log, die_at, batches))
    process.start()
    if answers:
        until(lambda: log.exists() and log.read_bytes().count(b"\n") >= answers, "it answers nothing", pause=0.002)
        process.kill()
    process.join(PATIENCE)
    assert process.exitcode in (0, -signal.SIGKILL), process.exitcode
    return process.exitcode != 0


def answered(logs: Sequence[Path]) -> list[tuple[int, str]]:
    lines = [line for log in logs if log.exists() for line in log.read_bytes().split(b"\n")[:-1]]
    return [(pointer, script) for pointer, script in map(json.loads, lines)]


@needs_sigkill
def test_g03_addresses_killed_at_each_write_point_of_a_shared_commit(tmp_path: Path) -> None:
    prepare(tmp_path / "start.sqlite")
    start = (tmp_path / "start.sqlite").read_bytes()
    point = 0
    while True:
        point += 1
        path, log = tmp_path / f"{point}.sqlite", tmp_path / f"{point}.log"
        path.write_bytes(start)
        was_killed = killed(path, log, die_at=point)
        server = served(path)
        pointers, last = issued(server)
        handed = answered([log])
        # All of a batch or nothing, and nothing is answered before it is there.
        assert (pointers, last) in (({1, 2, 3, 4}, 4), (set(), 0))
        assert {pointer for pointer, _ in handed} <= pointers
        asyncio.run(server.stop())
        if not was_killed:
            assert len(handed) == 4
            break
    assert point > 15, "fewer write points than the batch has"


@needs_sigkill
def test_g03_no_address_is_lost_or_handed_out_twice_over_real_kills(tmp_path: Path) -> None:
    path, rng = tmp_path / "x.sqlite", random.Random(5)
    prepare(path)
    logs = []
    for number in range(12):
        logs.append(tmp_path / f"{number}.log")
        killed(path, logs[-1], batches=10_000, answers=rng.randint(1, 50))
        server = served(path)
        pointers, last = issued(server)
        asyncio.run(server.stop())
        handed = [pointer for pointer, _ in answered(logs)]
        assert len(handed) == len(set(handed))
        assert set(handed) <= pointers
        assert last == max(pointers)
    assert len(handed) > 50
