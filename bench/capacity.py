"""The rows of the server's capacity: logins, new addresses, idle sessions, block events, long lists, the event loop.

The server runs in a process of its own, with its records on disk (:mod:`bench.served`); the sessions are in this one
(:mod:`bench.swarm`).
"""

from __future__ import annotations

import asyncio
import itertools
import json
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from amp0.protocol import rpc
from bench.others import cpu_seconds
from bench.rows import Bench, Row, Target
from bench.samples import Samples
from bench.swarm import Session, Swarm, Wallet
from bench.world import first_line, resident_megabytes, stop

WALLETS = 8
SESSIONS = 64
"""Sessions that work at the same time."""
IDLE_SESSIONS = 10_000
OUTPUTS = 5_000
_ROUND_SECONDS = 1.5


class Served:
    """The server's process and what it tells of itself."""

    def __init__(self, bench: Bench, name: str) -> None:
        folder = bench.world.folder / f"served-{name}"
        run = [sys.executable, "-m", "bench.served", str(folder)]
        self.process = subprocess.Popen(run, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.swarm = Swarm(first_line(self.process)["wamp"])
        self.wallets = [Wallet(number, bench.world.network) for number in range(1, WALLETS + 1)]
        self._worst = 0.0

    async def do(self, command: str, **more: Any) -> dict[str, Any]:
        """What the process answers to a command."""

        def ask() -> str:
            assert self.process.stdin is not None
            assert self.process.stdout is not None
            self.process.stdin.write(json.dumps({"do": command, **more}) + "\n")
            self.process.stdin.flush()
            return self.process.stdout.readline()

        line = await asyncio.to_thread(ask)
        if not line:
            raise SystemExit("bench: the server ended; see its messages above")
        found: dict[str, Any] = json.loads(line)
        return found

    async def register(self) -> None:
        """All wallets, one after the other."""
        session = await self.swarm.join()
        for wallet in self.wallets:
            await wallet.register(session)
        session.close()

    async def busy(self, works: Sequence[Callable[[], Awaitable[object]]], seconds: float) -> tuple[float, float]:
        """Every work again and again, side by side: how many a second, and how many a second of processor time."""
        done = 0
        end = time.perf_counter() + seconds

        async def one(work: Callable[[], Awaitable[object]]) -> None:
            nonlocal done
            while time.perf_counter() < end:
                await work()
                done += 1

        before, began = cpu_seconds(self.process.pid), time.perf_counter()
        await asyncio.gather(*(one(work) for work in works))
        taken, after = time.perf_counter() - began, cpu_seconds(self.process.pid)
        spent = after - before if before is not None and after is not None else taken
        return done / taken, done / spent


Works = Sequence[Callable[[], Awaitable[object]]]


@dataclass
class Rates:
    """Of each round: how many a second, a second of processor time, and the worst delay of the loop."""

    rates: Samples = field(default_factory=Samples)
    per_core: Samples = field(default_factory=Samples)
    worst: Samples = field(default_factory=Samples)


async def measured(served: Served, rounds: int, works: Works) -> Rates:
    """Some rounds of the same works, side by side."""
    found = Rates()
    await served.do("look")
    for _ in range(rounds):
        rate, per_core = await served.busy(works, _ROUND_SECONDS)
        found.rates.add(rate)
        found.per_core.add(per_core)
        found.worst.add((await served.do("look"))["worst"])
    return found


async def _logins_and_addresses(bench: Bench, served: Served) -> list[Row]:
    await served.register()
    sessions = await served.swarm.join_many(SESSIONS)
    pairs = list(zip(sessions, itertools.cycle(served.wallets), strict=False))
    signing: Works = [lambda s=s, w=w: w.log_in(s) for s, w in pairs]  # type: ignore[misc]
    watching: Works = [lambda s=s, w=w: s.call(w.watch_only) for s, w in pairs]  # type: ignore[misc]
    funding: Works = [lambda s=s: s.call(rpc.Fund(1)) for s in sessions]  # type: ignore[misc]
    signed = await measured(served, bench.rounds, signing)
    watched = await measured(served, bench.rounds, watching)
    alone = await measured(served, bench.rounds, funding[:1])
    shared = await measured(served, bench.rounds, funding)
    for session in sessions:
        session.close()
    worst = Samples([value for rates in (signed, watched, alone, shared) for value in rates.worst.values])
    return [
        Row("signature logins, per core", signed.per_core, Target(at_least=500), unit="/s",
            note="challenge and login, of the server's processor time"),
        Row("watch-only logins, per core", watched.per_core, Target(at_least=800), unit="/s",
            note="of the server's processor time"),
        Row("new addresses, a commit each", alone.rates, Target(at_least=500), unit="/s",
            note="one session, one call after the other"),
        Row("new addresses, shared commits", shared.rates, Target(at_least=1200), unit="/s",
            note=f"{SESSIONS} sessions of {WALLETS} wallets"),
        Row("… event loop, worst delay of these", worst, Target(worst=20), note="one sample a round"),
    ]  # fmt: skip


async def _long_list(bench: Bench, served: Served) -> list[Row]:
    wallet = served.wallets[0]
    await served.do("fill", receiving_id=wallet.receiving_id, count=OUTPUTS)
    session = await served.swarm.join(packed=True)
    await session.call(wallet.watch_only)
    samples, late = Samples(), Samples()
    await served.do("look")
    for _ in range(3 * bench.rounds):
        began = time.perf_counter()
        await session.call(rpc.GetUnspentOutputs(0, 1))
        samples.add((time.perf_counter() - began) * 1e3)
        late.add((await served.do("look"))["worst"])
    session.close()
    return [
        Row(
            f"get_all_unspent_outputs of {OUTPUTS:,}",
            samples,
            Target(at_most=150),
            note="45 MB of MessagePack",
        ),
        Row("… event loop, worst delay of it", late, Target(worst=20)),
    ]


async def _idle(bench: Bench, served: Served, count: int) -> list[Row]:
    before = resident_megabytes(served.process.pid)
    if before is None:
        return []
    heard = 0
    everybody = asyncio.Event()

    def on_event() -> None:
        nonlocal heard
        heard += 1
        if heard == count:
            everybody.set()

    sessions: list[Session] = []
    wallets = itertools.cycle(served.wallets)
    while len(sessions) < count:
        some = await served.swarm.join_many(min(256, count - len(sessions)))
        await asyncio.gather(*(session.call(next(wallets).watch_only) for session in some))
        await asyncio.gather(*(session.subscribe(rpc.TOPIC_BLOCKS) for session in some))
        for session in some:
            session.on_event = on_event
        sessions += some
    await asyncio.sleep(1)
    held = resident_megabytes(served.process.pid)
    assert held is not None
    events, late = Samples(), Samples()
    await served.do("look")
    for _ in range(2 * bench.rounds):
        heard = 0
        everybody.clear()
        began = time.perf_counter()
        block = asyncio.create_task(served.do("block"))
        await asyncio.wait_for(everybody.wait(), 60)
        events.add((time.perf_counter() - began) * 1e3)
        late.add((await block)["worst"])
    for session in sessions:
        session.close()
    scale = IDLE_SESSIONS / count
    note = "logged in, hearing blocks; the server's own memory included"
    if count != IDLE_SESSIONS:
        note += f"; extrapolated from {count:,}"
    return [
        Row(f"{IDLE_SESSIONS:,} idle sessions, resident memory", Samples([before + (held - before) * scale]),
            Target(at_most=700), unit="MB", note=note),
        Row(f"block event to {IDLE_SESSIONS:,} sessions", Samples([value * scale for value in events.values]),
            Target(at_most=1000), note="from the block to the last session that hears it"),
        Row("… event loop, worst delay of it", late, Target(worst=20)),
    ]  # fmt: skip


def affordable() -> int:
    """How many sessions the limit of open files allows, up to :data:`IDLE_SESSIONS`."""
    try:
        import resource
    except ImportError:
        return 400
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = IDLE_SESSIONS + 200
    if soft < wanted:
        soft = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    return min(IDLE_SESSIONS, soft - 200)


def capacity(bench: Bench) -> Iterator[Row]:
    """All rows, each group at a server of its own."""
    count = affordable()

    async def play() -> list[Row]:
        rows: list[Row] = []
        served = Served(bench, "busy")
        try:
            rows += await _logins_and_addresses(bench, served)
            rows += await _long_list(bench, served)
        finally:
            stop(served.process)
        served = Served(bench, "idle")
        try:
            await served.register()
            rows += await _idle(bench, served, count)
        finally:
            stop(served.process)
        return rows

    yield from asyncio.run(play())
