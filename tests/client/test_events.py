"""Events: what is told, what is overheard, lost connections, and readers that are too slow."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from amp0.client import NewBlock, NewTransaction, Resync, WalletChanged
from amp0.client import events as module
from amp0.client.session import Backoff
from amp0.elements.hashes import BlockHash, Txid
from amp0.errors import CallFailed, ConnectionFailed, LoginFailed, RemoteProtocolError
from amp0.protocol import rpc
from tests.client.memory import MemoryServer
from tests.client.test_account import connect, ready_server, run
from tests.patience import PATIENCE

TXS, BLOB = rpc.topic_txs("GAwallet"), rpc.topic_blob("GAwallet")
BLOCK = {"count": 7, "diverged_count": 0, "block_hash": "ab" * 32, "previous_hash": "cd" * 32}


async def quick(seconds: float) -> None:
    await asyncio.sleep(0)


def test_the_wallet_s_topics_become_events() -> None:
    async def work(server: MemoryServer) -> None:
        async with await connect(server) as amp0, amp0.events() as events:
            assert await events.next(PATIENCE) == Resync("begun")
            assert server.topics == [TXS, BLOB, rpc.TOPIC_BLOCKS]
            here = server.connections[-1]
            here.publish(TXS, {"txhash": "ef" * 32, "subaccounts": [0, 1]})
            here.publish(rpc.TOPIC_BLOCKS, BLOCK)
            here.publish(BLOB, {"hmac": rpc.ZERO_HMAC, "sequence": 0})
            assert await events.next(PATIENCE) == NewTransaction(Txid("ef" * 32))
            assert await events.next(PATIENCE) == NewBlock(7, BlockHash("ab" * 32), BlockHash("cd" * 32))
            assert await events.next(PATIENCE) == WalletChanged()
            assert await events.next(0.01) is None
            # Calls go on beside them.
            assert await amp0.last_index() == 20

    run(ready_server(), work)


@pytest.mark.parametrize("accounts", [1, [1], [2, 1], [None, 1]])
def test_transactions_of_the_account_in_every_form(accounts: Any) -> None:
    assert module.transaction_of(1, {"txhash": "ef" * 32, "subaccounts": accounts}) is not None
    assert module.transaction_of(3, {"txhash": "ef" * 32, "subaccounts": accounts}) is None


@pytest.mark.parametrize("payload", [None, 5, "x", [], {}, {"txhash": "zz"}, {"txhash": "ef" * 32, "subaccounts": "1"}])
def test_payloads_out_of_shape_are_refused(payload: Any) -> None:
    parsers: list[Callable[[Any], object]] = [module.block_of, lambda value: module.transaction_of(1, value)]
    for parse in parsers:
        with pytest.raises(RemoteProtocolError):
            parse(payload)


def test_a_strange_event_is_ignored_and_the_next_one_is_not() -> None:
    async def work(server: MemoryServer) -> None:
        async with await connect(server) as amp0, amp0.events() as events:
            await events.next(PATIENCE)
            server.connections[-1].publish(rpc.TOPIC_BLOCKS, {"count": "seven"})
            server.connections[-1].publish(TXS, {"txhash": "ef" * 32, "subaccounts": [9]})
            server.connections[-1].publish(rpc.TOPIC_BLOCKS, BLOCK)
            assert isinstance(await events.next(PATIENCE), NewBlock)

    run(ready_server(), work)


def test_after_a_lost_connection_it_listens_again_and_says_so() -> None:
    async def work(server: MemoryServer) -> None:
        amp0 = await connect(server, backoff=Backoff(0, 1.0), sleep=quick)
        async with amp0, amp0.events() as events:
            assert await events.next(PATIENCE) == Resync("begun")
            server.refuse_connections = 5
            server.connections[-1].drop()
            assert await events.next(PATIENCE) == Resync("reconnected")
            assert server.topics == [TXS, BLOB, rpc.TOPIC_BLOCKS] * 2
            server.connections[-1].publish(rpc.TOPIC_BLOCKS, BLOCK)
            assert isinstance(await events.next(PATIENCE), NewBlock)

    run(ready_server(), work)


def test_a_silent_session_that_has_expired_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The server logs a session out without a word when its credentials change or nobody called for an hour."""
    monkeypatch.setattr(module, "KEEP_ALIVE_SECONDS", 0.01)

    async def work(server: MemoryServer) -> None:
        server.answers["addressbook.get_sync_status"] = lambda call: {"username": ""}
        amp0 = await connect(server, sleep=quick)
        async with amp0, amp0.events() as events:
            await events.next(PATIENCE)
            await asyncio.sleep(0.05)
            assert len(server.connections) == 1
            expired = CallFailed("Session expired", name="sessionexpired")
            answers = iter([expired])
            server.answers["addressbook.get_sync_status"] = lambda call: next(answers, {"username": ""})
            assert await events.next(PATIENCE) == Resync("reconnected")
            assert len(server.connections) == 2

    run(ready_server(), work)


def test_what_waiting_does_not_cure_is_raised() -> None:
    async def work(server: MemoryServer) -> None:
        amp0 = await connect(server, sleep=quick)
        async with amp0, amp0.events() as events:
            await events.next(PATIENCE)
            server.watch_only = ("other", "pair", "")
            server.connections[-1].drop()
            with pytest.raises(LoginFailed):
                await events.next(PATIENCE)
            with pytest.raises(LoginFailed):
                async for _ in events:
                    pass

    run(ready_server(), work)


def test_a_reader_that_is_too_slow_gets_one_resync_in_place_of_all() -> None:
    async def work(server: MemoryServer) -> None:
        amp0 = await connect(server)
        async with amp0, amp0.events(3) as events:
            await events.next(PATIENCE)
            for _ in range(10):
                server.connections[-1].publish(rpc.TOPIC_BLOCKS, BLOCK)
            await asyncio.sleep(0.05)
            assert len(events._queue) <= 3
            assert await events.next(PATIENCE) == Resync("overflow")

    run(ready_server(), work)


def test_closing_ends_the_iteration() -> None:
    async def work(server: MemoryServer) -> None:
        amp0 = await connect(server)
        for close in ("events", "account"):
            events = amp0.events()
            await events.next(PATIENCE)
            waiting = asyncio.create_task(anext(events, None))
            await asyncio.sleep(0.01)
            await (events.close() if close == "events" else amp0.close())
            assert await asyncio.wait_for(waiting, PATIENCE) is None
            with pytest.raises(ConnectionFailed):
                await events.next(PATIENCE)
            await events.close()

    run(ready_server(), work)


def test_two_readers_hear_the_same() -> None:
    async def work(server: MemoryServer) -> None:
        async with await connect(server) as amp0, amp0.events() as first:
            await first.next(PATIENCE)
            server.connections[-1]._topics.clear()  # the same numbers once more, as a server gives them
            async with amp0.events() as second:
                await second.next(PATIENCE)
                server.connections[-1].publish(rpc.TOPIC_BLOCKS, BLOCK)
                assert isinstance(await first.next(PATIENCE), NewBlock)
                assert isinstance(await second.next(PATIENCE), NewBlock)
            server.connections[-1].publish(rpc.TOPIC_BLOCKS, BLOCK)
            assert isinstance(await first.next(PATIENCE), NewBlock)

    run(ready_server(), work)


def test_a_fault_of_ours_is_not_swallowed(monkeypatch: pytest.MonkeyPatch) -> None:
    async def work(server: MemoryServer) -> None:
        async with await connect(server) as amp0, amp0.events() as events:
            monkeypatch.setattr(events, "_put", lambda event: 1 / 0)
            with pytest.raises(ZeroDivisionError):
                await events.next(PATIENCE)

    run(ready_server(), work)
