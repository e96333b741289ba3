"""A venue's day with a server that follows, and broadcasts through, a real Elements node.

Our chain makes the blocks and serves the client's scans; the node gets them by ``submitblock``, and the server knows
nothing but the node.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import sqlalchemy as sa

from amp0 import Transaction, Txid, Wollet
from amp0.local.stack import Stack
from amp0.server.store import schema
from tests.devchain.node import Node, copy_blocks, free_port, needs_node, running_node
from tests.journeys.conftest import Login, Venue

pytestmark = needs_node

_PATIENCE = 20.0


@pytest.fixture(params=["-txindex=1", "-txindex=0"])
def node(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Node]:
    with running_node(tmp_path, request.param) as found:
        yield found


@pytest.fixture
def stack(node: Node) -> Iterator[Stack]:
    with on_node(node) as running:
        yield running


def on_node(node: Node, **settings: Any) -> Stack:
    return Stack.on_free_ports(chain_url=f"elements+{node.url}", chain_auth_file=node.cookie, **settings)


@pytest.fixture
def logins() -> list[Login]:
    """None yet: this stack is not the one that all journeys share."""
    return []


def carry(stack: Stack, node: Node) -> None:
    """Give the node every block of our chain, and wait until the server has read them."""
    tip = copy_blocks(stack.chain_url, node)
    server = stack._server
    assert server is not None
    wait_until(lambda: server.watcher.tip().block_hash == tip and server.watcher.is_current())


def wait_until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + _PATIENCE
    while not condition():
        assert time.monotonic() < end, "the server did not follow"
        time.sleep(0.05)


def seen(stack: Stack, txid: Txid) -> tuple[int, int | None] | None:
    """State (0 in the mempool, 1 in a block) and height of a transaction in the server's eyes; None: never seen."""
    table = schema.transactions
    assert stack._server is not None
    with stack._server.services.store.snapshot() as db:
        row = db.execute(sa.select(table.c.state, table.c.height).where(table.c.txid == bytes(txid))).one_or_none()
    return None if row is None else (row.state, row.height)


def height(stack: Stack) -> int:
    return int(httpx.get(f"{stack.chain_url}/blocks/tip/height", trust_env=False).text)


def test_receive_send_confirm_and_reorganise(node: Node, stack: Stack, venue: Venue, payee: Wollet) -> None:
    gold = stack.dev.issue(1000)
    deposits = [venue.deposit(50_000), venue.deposit(100, gold)]
    # The client has scanned them; the server cannot have: its node has no block yet.
    assert [seen(stack, txid) for txid in deposits] == [None, None]
    carry(stack, node)
    assert [seen(stack, txid) for txid in deposits] == [(1, height(stack) - 1), (1, height(stack))]

    waiting = stack.dev.faucet(str(venue.amp0.address(None).address()), 7_000)
    raw = httpx.get(f"{stack.chain_url}/tx/{waiting}/hex", trust_env=False).text
    assert node.call("sendrawtransaction", raw) == str(waiting)
    wait_until(lambda: seen(stack, waiting) == (0, None))

    address = payee.address(0).address()
    signed = venue.signed(venue.build((address, 40, gold), (address, 1_000, venue.policy_asset)))
    txid = venue.amp0.send(signed)
    assert str(txid) in node.call("getrawmempool")
    assert seen(stack, txid) == (0, None)
    assert venue.amp0.send(signed) == txid

    transaction = Transaction(node.call("getrawtransaction", str(txid)))
    assert venue.chain.broadcast(transaction) == txid
    stack.dev.mine()
    carry(stack, node)
    assert node.call("getrawmempool") == []
    confirmed = height(stack)
    assert seen(stack, txid) == seen(stack, waiting) == (1, confirmed)
    # The node says that it has it in a block already, and that is what was asked for.
    assert venue.amp0.send(signed) == txid

    stack.dev.reorg(1)
    carry(stack, node)
    wait_until(lambda: seen(stack, txid) == (0, None))
    assert str(txid) in node.call("getrawmempool")
    stack.dev.mine()
    carry(stack, node)
    assert seen(stack, txid) == seen(stack, waiting) == (1, confirmed + 2)

    # And on: the change of a transaction that moved is spent.
    venue.sync()
    again = venue.amp0.send(venue.signed(venue.build((address, 2_000, venue.policy_asset))))
    assert str(again) in node.call("getrawmempool")


def test_a_node_started_again_is_followed_again(tmp_path: Path) -> None:
    port = free_port()
    with running_node(tmp_path, port=port) as node:
        stack = on_node(node, chain_timeout_seconds=2.0)
    with stack:
        server = stack._server
        assert server is not None
        cookie = node.cookie
        assert not cookie.exists()
        wait_until(lambda: not server.watcher.is_current())
        with running_node(tmp_path, port=port) as node:
            stack.dev.mine(2)
            carry(stack, node)
            assert server.watcher.height() == height(stack)
