"""Our blocks before a real Elements node.

Set ``ELEMENTSD`` to the path of an ``elementsd`` (23 or later) and these tests start one on an
empty folder and submit what our chain made. Without it they are skipped: no ready-made node can
be had from a package index, and the recorded verdicts of one (``tests/vectors``) stand in for it.
"""

from __future__ import annotations

import itertools
import os
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from amp0.devchain.blocks import INITIAL_FREE_COINS, OP_TRUE
from amp0.devchain.chain import Chain
from amp0.devchain.faucet import Faucet, Payment
from amp0.elements.script import p2wpkh
from tests.devchain.kit import BLINDING_PUBKEY, free_coin, spend

ELEMENTSD = os.environ.get("ELEMENTSD", "")
pytestmark = pytest.mark.skipif(
    not ELEMENTSD, reason="set ELEMENTSD to the path of an elementsd to check our blocks with a real node"
)
FLAGS = (
    "-chain=liquidregtest",
    f"-initialfreecoins={INITIAL_FREE_COINS}",
    "-validatepegin=0",
    "-acceptdiscountct=1",
    "-txindex=1",
    "-listen=0",
    "-rpcbind=127.0.0.1",
    "-rpcallowip=127.0.0.1",
)
_DEADLINE = 60.0


class Node:
    """A node's RPC."""

    def __init__(self, url: str, cookie: Path) -> None:
        self._url = url
        self._cookie = cookie

    def call(self, method: str, *arguments: Any) -> Any:
        user, _, password = self._cookie.read_text().partition(":")
        body = {"id": 1, "method": method, "params": arguments}
        answer = httpx.post(self._url, json=body, auth=(user, password), timeout=60).json()
        assert answer.get("error") is None, answer["error"]
        return answer["result"]


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    process = subprocess.Popen([ELEMENTSD, *FLAGS, f"-datadir={tmp_path}", f"-rpcport={port}"])
    try:
        found = Node(f"http://127.0.0.1:{port}", tmp_path / "liquidregtest" / ".cookie")
        end = time.monotonic() + _DEADLINE
        while True:
            try:
                found.call("getblockcount")
                break
            except (OSError, httpx.HTTPError, ValueError, AssertionError):
                if process.poll() is not None or time.monotonic() > end:
                    pytest.fail("the node did not start")
                time.sleep(0.2)
        yield found
    finally:
        process.terminate()
        process.wait(30)


def _submit(node: Node, chain: Chain, start: int) -> None:
    for height in range(start, chain.height + 1):
        block = chain.block_at(height)
        assert block is not None
        assert node.call("submitblock", block.block.serialize().hex()) is None, f"block {height}"
    assert node.call("getbestblockhash") == str(chain.tip.hash)


def test_a_node_accepts_our_blocks_in_order(node: Node) -> None:
    chain = Chain(clock=time.time)
    faucet = Faucet(chain)
    genesis = chain.block_at(0)
    assert genesis is not None
    assert node.call("getblockhash", 0) == str(genesis.hash)
    faucet.prepare()
    script = p2wpkh(b"\x11" * 20)
    for round_number in range(12):
        faucet.pay(Payment(script, BLINDING_PUBKEY, 10_000 + round_number))
        asset, _ = faucet.issue(10_000)
        faucet.pay(Payment(script, BLINDING_PUBKEY, 77, asset))
        faucet.pay(Payment(script, None, 5_000))
        chain.mine(2)
    _submit(node, chain, 1)


def test_a_node_follows_our_reorganisation(node: Node) -> None:
    chain = Chain(clock=time.time)
    faucet = Faucet(chain)
    faucet.prepare()
    faucet.pay(Payment(p2wpkh(b"\x12" * 20), BLINDING_PUBKEY, 10_000))
    chain.mine(5)
    _submit(node, chain, 1)
    fork = chain.height - 4
    chain.reorg(4, blocks=5)
    chain.mine()
    for height in itertools.count(fork + 1):
        block = chain.block_at(height)
        if block is None:
            break
        assert node.call("submitblock", block.block.serialize().hex()) in (None, "inconclusive")
    assert node.call("getbestblockhash") == str(chain.tip.hash)


def test_a_node_gives_our_verdict_on_fees(node: Node) -> None:
    chain = Chain(clock=time.time)
    faucet = Faucet(chain)
    faucet.prepare()
    _submit(node, chain, 1)
    least = -(-spend([free_coin(chain)]).discount_vsize() // 10)
    for fee, allowed in ((least, True), (least - 1, False)):
        tx = spend([free_coin(chain)], fee=fee)
        (verdict,) = node.call("testmempoolaccept", [str(tx)])
        assert verdict["allowed"] is allowed
    assert chain.script(OP_TRUE) is not None
