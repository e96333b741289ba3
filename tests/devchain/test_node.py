"""Our blocks before a real Elements node.

Set ``ELEMENTSD`` to the path of an ``elementsd`` (23 or later) and these tests start one on an
empty folder and submit what our chain made. Without it they are skipped: no ready-made node can
be had from a package index, and the recorded verdicts of one (``tests/vectors``) stand in for it.
"""

from __future__ import annotations

import itertools
import time

from amp0.devchain.blocks import OP_TRUE
from amp0.devchain.chain import Chain
from amp0.devchain.faucet import Faucet, Payment
from amp0.elements.script import p2wpkh
from tests.devchain.kit import BLINDING_PUBKEY, free_coin, spend
from tests.devchain.node import Node, needs_node, node

__all__ = ["node"]
pytestmark = needs_node


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
