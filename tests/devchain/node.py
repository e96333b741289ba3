"""A real Elements node for the tests that want one: set ``ELEMENTSD`` to the path of an ``elementsd`` (23 or later)."""

from __future__ import annotations

import os
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from amp0.devchain.blocks import INITIAL_FREE_COINS

ELEMENTSD = os.environ.get("ELEMENTSD", "")
needs_node = pytest.mark.skipif(
    not ELEMENTSD, reason="set ELEMENTSD to the path of an elementsd to run this with a real node"
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
_DEADLINE = 120.0


class Node:
    """A node's RPC."""

    def __init__(self, url: str, cookie: Path) -> None:
        self.url = url
        self.cookie = cookie

    def call(self, method: str, *arguments: Any) -> Any:
        user, _, password = self.cookie.read_text().partition(":")
        body = {"id": 1, "method": method, "params": arguments}
        answer = httpx.post(self.url, json=body, auth=(user, password), timeout=60).json()
        assert answer.get("error") is None, answer["error"]
        return answer["result"]


@contextmanager
def running_node(folder: Path, *flags: str, port: int | None = None) -> Iterator[Node]:
    """A node on ``folder``; ``flags`` win over the usual ones. Stopped at the end."""
    # A free port may be somebody else's by the time the node listens there.
    ports = [port] if port else [free_port() for _ in range(3)]
    for number in ports:
        process = subprocess.Popen([ELEMENTSD, *FLAGS, *flags, f"-datadir={folder}", f"-rpcport={number}"])
        try:
            found = Node(f"http://127.0.0.1:{number}", folder / "liquidregtest" / ".cookie")
            if _answers(found, process):
                yield found
                return
        finally:
            process.terminate()
            try:
                process.wait(_DEADLINE)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
                raise
    pytest.fail("the node did not start")


def _answers(node: Node, process: subprocess.Popen[bytes]) -> bool:
    """Whether it comes up: False once it has ended."""
    end = time.monotonic() + _DEADLINE
    while time.monotonic() < end:
        try:
            node.call("getblockcount")
            return True
        except (OSError, httpx.HTTPError, ValueError, AssertionError):
            if process.poll() is not None:
                return False
            time.sleep(0.2)
    return False


def copy_blocks(chain_url: str, node: Node) -> str:
    """Give the node every block of the chain of ours at ``chain_url``; the hash of the newest, which is the node's."""
    with httpx.Client(base_url=chain_url, trust_env=False) as chain:
        tip = chain.get("/blocks/tip/hash").text
        for height in range(1, int(chain.get("/blocks/tip/height").text) + 1):
            raw = chain.get(f"/block/{chain.get(f'/block-height/{height}').text}/raw").content
            assert node.call("submitblock", raw.hex()) in (None, "duplicate", "inconclusive"), f"block {height}"
    assert node.call("getbestblockhash") == tip
    return tip


def free_port() -> int:
    """A port nobody listens at."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    with running_node(tmp_path) as found:
        yield found
