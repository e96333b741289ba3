"""The demo's whole day before a real Elements node: every block of it, cosigned transaction included."""

from __future__ import annotations

import httpx

from amp0.local import demo
from amp0.local.stack import Stack
from tests.devchain.node import Node, needs_node, node

__all__ = ["node"]
pytestmark = needs_node


def test_a_node_accepts_every_block_of_the_day(node: Node) -> None:
    with Stack.on_free_ports(node_port=0) as stack:
        outcome = demo.walk(stack, lambda _: None)
        with httpx.Client(base_url=stack.chain_url) as chain:
            for height in range(1, int(chain.get("/blocks/tip/height").text) + 1):
                raw = chain.get(f"/block/{chain.get(f'/block-height/{height}').text}/raw").content
                assert node.call("submitblock", raw.hex()) is None, f"block {height}"
    assert node.call("getrawtransaction", outcome.txid, True)["confirmations"] > 2
