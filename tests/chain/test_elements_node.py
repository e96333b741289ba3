"""Our client of a node before a real one: every call, its refusals, burns, and a node that was started again."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeVar

import httpx
import pytest

from amp0.chain.elements_rpc import ElementsRpc
from amp0.devchain.blocks import POLICY_ASSET
from amp0.devchain.chain import Chain
from amp0.elements.hashes import BlockHash, Txid
from amp0.elements.transaction import OutPoint, TxOut
from amp0.errors import BackendUnavailable, BroadcastRejected
from tests.devchain.kit import free_coin, new_chain, spend
from tests.devchain.node import Node, free_port, needs_node, running_node

pytestmark = needs_node

T = TypeVar("T")


def ask(node: Node, question: Callable[[ElementsRpc], Awaitable[T]]) -> T:
    async def play() -> T:
        async with httpx.AsyncClient(trust_env=False) as client:
            return await question(ElementsRpc(node.url, node.cookie, client))

    return asyncio.run(play())


def submit(node: Node, chain: Chain, start: int = 1) -> None:
    for height in range(start, chain.height + 1):
        block = chain.block_at(height)
        assert block is not None
        assert node.call("submitblock", block.block.serialize().hex()) is None


@pytest.mark.parametrize("txindex", [True, False], ids=["txindex", "no index"])
def test_every_call(tmp_path: Path, txindex: bool) -> None:
    chain, _ = new_chain(clock=time.time)
    genesis = chain.block_at(0)
    assert genesis is not None

    async def play(rpc: ElementsRpc) -> None:
        assert await rpc.has_transaction_index() is txindex
        assert await rpc.best_block_hash() == chain.tip.hash
        assert await rpc.block_hash(0) == genesis.hash
        assert await rpc.block_hash(chain.height + 1) is None
        assert await rpc.block(chain.tip.hash) == chain.tip.block.serialize()
        assert await rpc.block(BlockHash(bytes(32))) is None
        assert await rpc.mempool_txids() == set()

        tx = spend([free_coin(chain)])
        assert await rpc.transaction(tx.txid()) is None
        await rpc.broadcast(tx)
        await rpc.broadcast(tx)
        assert await rpc.mempool_txids() == {tx.txid()}
        assert await rpc.transaction(tx.txid()) == tx

        rival = spend([free_coin(chain)], fee=101)
        with pytest.raises(BroadcastRejected, match=r"txn-mempool-conflict|insufficient fee"):
            await rpc.broadcast(rival)
        orphan = spend([(OutPoint(Txid(b"\x05" * 32), 0), TxOut.explicit(b"\x51", POLICY_ASSET, 5000))])
        with pytest.raises(BroadcastRejected, match="missingorspent"):
            await rpc.broadcast(orphan)
        with pytest.raises(BroadcastRejected, match="fee"):
            await rpc.broadcast(spend([free_coin(chain, 1)], fee=1))

        chain.submit(tx)
        chain.mine()
        submit(node, chain, chain.height)
        assert await rpc.best_block_hash() == chain.tip.hash
        assert await rpc.mempool_txids() == set()
        assert await rpc.transaction(tx.txid()) == (tx if txindex else None)
        await rpc.broadcast(tx)

    with running_node(tmp_path, f"-txindex={int(txindex)}") as node:
        submit(node, chain)
        ask(node, play)


def test_an_open_burn_passes_the_node_s_limit(tmp_path: Path) -> None:
    chain, _ = new_chain(clock=time.time)
    burn = spend([free_coin(chain)], outputs=[TxOut.explicit(b"\x6a", POLICY_ASSET, 700)])
    with running_node(tmp_path) as node:
        submit(node, chain)
        ask(node, lambda rpc: rpc.broadcast(burn))
        assert node.call("getrawmempool") == [str(burn.txid())]


def test_a_node_started_again_is_known_by_its_new_cookie(tmp_path: Path) -> None:
    port = free_port()

    async def play() -> None:
        async with httpx.AsyncClient(trust_env=False) as client:
            with running_node(tmp_path, port=port) as node:
                rpc = ElementsRpc(node.url, node.cookie, client)
                cookie = node.cookie.read_text()
                genesis = await rpc.best_block_hash()
            with pytest.raises(BackendUnavailable):
                await rpc.best_block_hash()
            with running_node(tmp_path, port=port) as node:
                assert node.cookie.read_text() != cookie
                assert await rpc.best_block_hash() == genesis
                wrong = tmp_path / "auth"
                wrong.touch(0o600)
                wrong.write_text("user:wrong")
                with pytest.raises(BackendUnavailable, match="credentials"):
                    await ElementsRpc(node.url, wrong, client).best_block_hash()

    asyncio.run(play())
