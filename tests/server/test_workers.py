"""Shared commits: what comes while others are written is written next, together; and places for slow work."""

from __future__ import annotations

import asyncio
import hashlib
import itertools
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from amp0.protocol import rpc
from amp0.server import calls
from amp0.server.settings import Settings
from amp0.server.workers import Shared, Workers
from tests.patience import PATIENCE, soon

from .talking import CallError, Wallet, World, in_world

MOST = 8


class Writer:
    """Doubles numbers, one batch at a time, when it is let."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.go = threading.Event()

    def __call__(self, items: Sequence[int]) -> list[int]:
        assert self.go.wait(PATIENCE)
        self.batches.append(list(items))
        if -1 in items:
            raise RuntimeError("broken")
        return [2 * item for item in items]


def play(numbers: Sequence[int]) -> tuple[list[list[int]], list[int | BaseException]]:
    async def scene() -> list[int | BaseException]:
        workers = Workers(Settings())
        shared = Shared(workers, writer, most=MOST)
        try:
            first = asyncio.create_task(shared.run(numbers[0]))
            await asyncio.sleep(0.01)
            rest = [asyncio.create_task(shared.run(number)) for number in numbers[1:]]
            await asyncio.sleep(0)
            writer.go.set()
            return await asyncio.gather(first, *rest, return_exceptions=True)
        finally:
            workers.close()

    writer = Writer()
    return writer.batches, asyncio.run(scene())


def test_a_lone_item_waits_for_nobody_and_the_others_go_together() -> None:
    batches, results = play([1, 2, 3, 4])
    assert batches == [[1], [2, 3, 4]]
    assert results == [2, 4, 6, 8]


def test_a_batch_has_a_bound_and_the_order_is_kept() -> None:
    numbers = list(range(2 * MOST + 2))
    batches, results = play(numbers)
    assert [len(batch) for batch in batches] == [1, MOST, MOST, 1]
    assert list(itertools.chain(*batches)) == numbers
    assert results == [2 * number for number in numbers]


def test_a_batch_that_fails_as_a_whole_fails_for_each_and_the_next_one_is_written() -> None:
    async def scene() -> None:
        workers = Workers(Settings())
        shared = Shared(workers, writer, most=MOST)
        writer.go.set()
        try:
            broken = asyncio.create_task(shared.run(-1))
            await asyncio.sleep(0)
            behind = asyncio.create_task(shared.run(4))
            with pytest.raises(RuntimeError, match="broken"):
                await broken
            assert await behind == 8
        finally:
            workers.close()

    writer = Writer()
    asyncio.run(scene())


def test_somebody_who_left_keeps_nobody_waiting() -> None:
    async def scene() -> None:
        workers = Workers(Settings())
        shared = Shared(workers, writer, most=MOST)
        first, second, third = (asyncio.create_task(shared.run(number)) for number in (1, 2, 3))
        await asyncio.sleep(0.01)
        second.cancel()
        writer.go.set()
        assert (await first, await third) == (2, 6)
        with pytest.raises(asyncio.CancelledError):
            await second
        workers.close()
        assert sorted(itertools.chain(*writer.batches)) == [1, 2, 3], "what was asked for is written, heard or not"

    writer = Writer()
    asyncio.run(scene())


def test_what_holds_up_quick_calls_is_not_quick() -> None:
    stretched = rpc.WatchOnlyCredentials("ab" * 32, "cd" * 32)
    typed = rpc.WatchOnlyCredentials("shop", "secret")
    for call, quick in (
        (rpc.GetChallenge("x"), True),
        (rpc.WatchOnlyLogin("custom", stretched), True),
        (rpc.WatchOnlyLogin("custom", typed), False),
        (rpc.WatchOnlyLogin("custom", rpc.WatchOnlyCredentials("ab" * 32, "secret")), False),
        (rpc.GetUnspentOutputs(0, 1), False),
        (rpc.Fund(1), False),
    ):
        assert calls.is_quick(call.URI, call.args()) is quick
    # Arguments without a shape are refused at once.
    assert calls.is_quick(rpc.WatchOnlyLogin.URI, [])
    assert calls.is_quick(rpc.WatchOnlyLogin.URI, ["custom", 7])


def test_a_login_that_has_to_be_stretched_keeps_nobody_waiting(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    entered, release = threading.Event(), threading.Event()
    original = hashlib.scrypt

    def slow(*arguments: Any, **more: Any) -> bytes:
        entered.set()
        assert release.wait(PATIENCE)
        return original(*arguments, **more)

    async def scene(world: World) -> None:
        monkeypatch.setattr(hashlib, "scrypt", slow)
        typing = await world.joined()
        login = rpc.WatchOnlyLogin("custom", rpc.WatchOnlyCredentials("shop", "secret"))
        waiting = asyncio.create_task(typing.call(login))
        await soon(entered.is_set)
        alice = Wallet("alice")
        await world.logged_in(alice)
        assert not waiting.done()
        release.set()
        with pytest.raises(CallError, match="usernotfound"):
            await waiting

    in_world(scene, url=f"sqlite:///{tmp_path / 'x.sqlite'}")


# -- slow work -------------------------------------------------------------------------------


@pytest.mark.parametrize("leaves", [True, False])
def test_slow_work_that_waits_for_somebody_leaves_its_place_to_another(leaves: bool) -> None:
    """An issuer's endpoint that does not answer must not keep everybody else's signatures waiting."""

    async def play() -> list[str]:
        workers = Workers(Settings(cosign_workers=1))
        waiting, answered, order = threading.Event(), threading.Event(), []

        def asks() -> None:
            if leaves:
                with workers.away():
                    waiting.set()
                    assert answered.wait(PATIENCE)
            else:
                waiting.set()
                assert not answered.wait(0.2)
            order.append("asks")

        def works() -> None:
            order.append("works")
            answered.set()

        first = asyncio.create_task(workers.slow(asks))
        await asyncio.to_thread(waiting.wait, PATIENCE)
        second = asyncio.create_task(workers.slow(works))
        await asyncio.gather(first, second)
        workers.close()
        return order

    assert asyncio.run(play()) == (["works", "asks"] if leaves else ["asks", "works"])


def test_only_as_many_work_at_once_as_there_are_places() -> None:
    async def play() -> int:
        workers = Workers(Settings(cosign_workers=2))
        lock, now, most = threading.Lock(), 0, 0
        # However slow their threads are, they do meet.
        both = threading.Barrier(2, timeout=PATIENCE)

        def work() -> None:
            nonlocal now, most
            with lock:
                now += 1
                most = max(most, now)
            both.wait()
            threading.Event().wait(0.01)
            with lock:
                now -= 1

        await asyncio.gather(*(workers.slow(work) for _ in range(8)))
        workers.close()
        return most

    assert asyncio.run(play()) == 2


def test_elsewhere_nobody_has_a_place_to_leave() -> None:
    workers = Workers(Settings())
    with workers.away():
        pass
    workers.close()
