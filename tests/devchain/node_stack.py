"""A local stack whose chain is a real Elements node's: it makes the blocks, and its wallet gives the coins away.

What walks on a stack with a node's face walks on this one unchanged: ``STACKS`` and :func:`stack_of` give both. The
server knows nothing but the node. Our chain follows it block by block, judging each of them, since clients scan it.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from amp0.devchain.app import DevChain
from amp0.devchain.chain import Chain
from amp0.elements.hashes import Txid
from amp0.elements.transaction import Transaction
from amp0.local.dev_client import DevClient
from amp0.local.stack import MovableClock, Stack
from amp0.protocol.issuer import COIN
from tests.devchain.node import Node, copy_blocks, needs_node, running_node

STACKS = ("face", pytest.param("node", marks=needs_node))
FIRST_COINS, FIRST_COIN = 10, 100 * COIN
"""What a new wallet of the node has, as that of the face."""
ANY_BURN = 21_000_000


@contextmanager
def stack_of(kind: str, folder: Path, **settings: Any) -> Iterator[Stack]:
    """A stack with the node's face, or with a real node on ``folder``; ``settings`` are of its server."""
    if kind == "face":
        with Stack.on_free_ports(node_port=0, **settings) as stack:
            yield stack
    else:
        # By default a node's change goes to Taproot now and then, whose spends our chain does not judge.
        with running_node(folder, "-changetype=bech32") as node, NodeStack(node, **settings) as stack:
            yield stack


class NodeStack(Stack):
    """A stack over a node that has no block yet."""

    def __init__(self, node: Node, **settings: Any) -> None:
        self._real = node
        super().__init__(
            wamp_port=0,
            cosign_port=0,
            chain_port=0,
            chain_url=f"elements+{node.url}",
            chain_auth_file=node.cookie,
            **settings,
        )
        try:
            node.call("createwallet", "treasury")
            for _ in range(FIRST_COINS):
                self.dev.faucet(node.call("getnewaddress"), FIRST_COIN)
            self.dev.mine()
            copy_blocks(self.chain_url, node)
            self.dev.close()
            self.dev = NodeDev(self.chain_url, node, self._built.chain, self.clock)
            self.node_url = node.url
        except BaseException:
            self.close()
            raise

    @property
    def node_cookie(self) -> Path:
        return self._real.cookie

    def _add_dev_routes(self, chain: DevChain) -> None:
        self._built = chain
        super()._add_dev_routes(chain)


class NodeDev(DevClient):
    """What a developer asks a chain for, asked of the node. What waits at either is known to both when it is asked."""

    def __init__(self, url: str, node: Node, chain: Chain, clock: MovableClock) -> None:
        super().__init__(url)
        self._node = node
        self._chain = chain
        self._clock = clock
        self._lock = threading.Lock()
        self._miner = node.call("getnewaddress", "blocks")

    def faucet(self, address: str, satoshi: int, asset_id: str | None = None) -> Txid:
        coins = f"{satoshi // COIN}.{satoshi % COIN:08d}"
        more = () if asset_id is None else ("", "", False, True, 1, "UNSET", False, asset_id)
        with self._lock:
            self._set_time()
            txid = Txid(self._node.call("sendtoaddress", address, coins, *more))
            self._relay()
        return txid

    def issue(self, satoshi: int) -> str:
        coins = f"{satoshi // COIN}.{satoshi % COIN:08d}"
        asset_id: str = self._node.call("issueasset", coins, 0, False)["asset"]
        return asset_id

    def mine(self, blocks: int = 1) -> int:
        with self._lock:
            self._relay()
            self._set_time()
            made = self._node.call("generatetoaddress", blocks, self._miner)
            return self._follow(made)

    def reorg(self, depth: int) -> int:
        with self._lock:
            self._set_time()
            first = self._chain.height - depth + 1
            gone = [self._node.call("getblockhash", height) for height in range(first, self._chain.height + 1)]
            waiting = [tx["hex"] for block in gone for tx in self._node.call("getblock", block, 2)["tx"][1:]]
            self._node.call("invalidateblock", gone[0])
            self._chain.reorg(depth)
            made = [self._node.call("generateblock", self._miner, [])["hash"] for _ in range(depth + 1)]
            height = self._follow(made)
            # Both have dropped what is locked until a height that they had not yet; when a longer chain replaces
            # another, its height is there first.
            for raw in waiting:
                self._node.call("sendrawtransaction", raw, None, ANY_BURN)
            self._relay()
            return height

    def _set_time(self) -> None:
        self._node.call("setmocktime", int(self._clock()))

    def _follow(self, blocks: list[str]) -> int:
        for block in blocks:
            self._chain.submit_block(bytes.fromhex(self._node.call("getblock", block, 0)))
        assert str(self._chain.tip.hash) == self._node.call("getbestblockhash")
        return self._chain.height

    def _relay(self) -> None:
        theirs = self._node.call("getrawmempool", True)
        with self._chain.lock:
            ours = {str(entry.txid): str(entry.tx) for entry in self._chain.mempool}
        for txid, raw in ours.items():
            if txid not in theirs:
                self._node.call("sendrawtransaction", raw, None, ANY_BURN)
        for txid in sorted(theirs.keys() - ours.keys(), key=lambda one: int(theirs[one]["ancestorcount"])):
            self._chain.submit(Transaction(self._node.call("getrawtransaction", txid)))
