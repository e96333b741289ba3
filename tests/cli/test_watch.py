"""What the server pushes, line by line."""

from __future__ import annotations

import json
import threading
from typing import Any

import pytest

from amp0.cli.watch import as_object
from amp0.client.events import Event, NewBlock, NewTransaction, Resync, WalletChanged
from amp0.elements.hashes import BlockHash, Txid
from amp0.local.stack import Stack
from tests.cli.conftest import Said, Terminal


def watch(terminal: Terminal, stack: Stack, count: int, *options: str) -> tuple[Said, str]:
    """Run it until so many lines. A deposit comes once the first is out, and a block after the second.

    Not after so many seconds: on a busy machine all was over before the command listened, which then waited for ever.
    """
    (issued,) = terminal.venue("address", "new", "--json").json()
    paid: list[str] = []
    lines = threading.Semaphore(0)

    def counted(event: Event) -> dict[str, Any]:
        lines.release()
        return as_object(event)

    def later() -> None:
        if lines.acquire(timeout=120):
            paid.append(str(stack.dev.faucet(issued["address"], 1_000)))
        if lines.acquire(timeout=120):
            stack.dev.mine()

    thread = threading.Thread(target=later)
    thread.start()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("amp0.cli.watch.as_object", counted)
        said = terminal.venue("watch", "--count", str(count), *options)
    thread.join()
    assert said.code == 0, said.err
    return said, paid[0]


def test_lines_for_people(opened: Terminal, stack: Stack) -> None:
    said, txid = watch(opened, stack, 3)
    lines = said.out.splitlines()
    assert lines[0] == "resync  begun"
    assert f"transaction  {txid}" in lines


def test_lines_for_programs(opened: Terminal, stack: Stack) -> None:
    said, txid = watch(opened, stack, 3, "--json")
    events = [json.loads(line) for line in said.out.splitlines()]
    assert events[0] == {"event": "resync", "reason": "begun"}
    assert {"event": "transaction", "txid": txid} in events


def test_every_event_has_a_line() -> None:
    made = [
        as_object(event)
        for event in (
            NewTransaction(Txid("ab" * 32)),
            NewBlock(5, BlockHash("cd" * 32), BlockHash("ef" * 32)),
            Resync("overflow"),
            WalletChanged(),
        )
    ]
    assert [row["event"] for row in made] == ["transaction", "block", "resync", "wallet"]
    assert made[0]["txid"] == "ab" * 32
    assert (made[1]["hash"], made[1]["previous_hash"]) == ("cd" * 32, "ef" * 32)
