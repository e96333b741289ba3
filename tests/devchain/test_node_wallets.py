"""Wallets of the node with names: each has keys and coins of its own."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import pytest

from amp0.devchain.app import build
from tests.devchain.node import Node, needs_node, node
from tests.devchain.test_node_face import PLAIN, Peer

__all__ = ["node"]
Ask = Callable[..., Any]


def _ask(peer: Peer) -> Ask:
    """What a wallet answers: the result, or the error."""

    def ask(path: str, method: str, *arguments: Any) -> Any:
        body = {"id": 1, "method": method, "params": arguments}
        shown = json.loads(peer.post(body, path).text, parse_float=Decimal)
        return shown["result"] if shown["error"] is None else shown["error"]

    return ask


def test_each_wallet_has_coins_of_its_own(tmp_path: Path) -> None:
    folder = tmp_path / "node"
    peer = Peer(folder, build(dev=True, folder=tmp_path / "chain", clock=time.time))
    ask = _ask(peer)
    assert ask("/", "createwallet", "treasury") == {"name": "treasury"}
    address = ask("/wallet/treasury", "getnewaddress")
    assert ask("/wallet/treasury", "getbalance") == {"bitcoin": 0}
    ask("/wallet/", "sendtoaddress", address, 5)
    peer.mine()
    assert ask("/wallet/treasury", "getbalance") == {"bitcoin": 5}
    assert ask("/wallet/treasury", "getwalletinfo")["walletname"] == "treasury"
    assert ask("/wallet/", "getbalance")["bitcoin"] < 996
    made = ask("/wallet/treasury", "issueasset", 7, 1)
    peer.mine()
    assert ask("/wallet/treasury", "getbalance")[made["asset"]] == 7
    assert made["asset"] not in ask("/wallet/", "getbalance")
    assert ask("/wallet/", "getaddressinfo", address)["ismine"] is False
    ask("/wallet/treasury", "unloadwallet", None, True)
    peer.built.close()

    again = Peer(folder, build(dev=True, folder=tmp_path / "chain", clock=time.time))
    ask = _ask(again)
    assert ask("/", "listwallets") == ["", "treasury"]
    assert ask("/wallet/treasury", "getbalance")[made["asset"]] == 7
    assert (folder / "wallets" / "treasury.json").stat().st_mode & 0o777 == 0o600
    again.built.close()


@pytest.mark.parametrize(
    "options",
    [
        ["../x"], ["a/b"], [".x"], ["x" * 65], ["x", True], ["x", False, True], ["x", False, False, "secret"],
        ["x", False, False, "", True], ["x", False, False, "", False, False],
        ["x", False, False, "", False, True, None, True],
    ],
)  # fmt: skip
def test_strange_wallets_are_not_made(options: list[Any]) -> None:
    ask = _ask(Peer())
    assert ask("/", "createwallet", *options)["code"] == -4
    assert ask("/", "listwalletdir") == {"wallets": [{"name": ""}]}


def _life(ask: Ask) -> list[Any]:
    """Of wallets a and b, after which no other is loaded."""
    return [
        ask("/", "createwallet", "a"),
        ask("/", "createwallet", "a"),
        ask("/", "createwallet", "b"),
        ask("/", "listwallets"),
        ask("/", "getbalance"),
        ask("/wallet/nope", "getbalance"),
        ask("/wallet/nope", "getblockcount") >= 0,
        ask("/wallet/nope", "nosuch"),
        ask("/wallet/b", "getbalance"),
        ask("/", "unloadwallet"),
        ask("/wallet/b", "unloadwallet", "a"),
        ask("/", "unloadwallet", "b"),
        ask("/", "unloadwallet", "b"),
        ask("/", "getwalletinfo")["walletname"],
        ask("/", "loadwallet", "nope"),
        ask("/", "loadwallet", "a"),
        ask("/", "loadwallet", "b"),
        ask("/wallet/a", "unloadwallet"),
        ask("/wallet/b", "unloadwallet", "b"),
        ask("/", "getnewaddress"),
        ask("/", "listwallets"),
        ask("/", "loadwallet", "b", False),
        ask("/wallet/b", "dumpblindingkey", PLAIN) != "",
        sorted(row["name"] for row in ask("/", "listwalletdir")["wallets"] if row["name"]),
    ]


def _coded(told: list[Any]) -> list[Any]:
    """Paths of files are those of each."""
    return [
        one | {"message": one["message"].split("path")[0]} if isinstance(one, dict) and "message" in one else one
        for one in told
    ]


def test_wallets_are_made_loaded_and_unloaded() -> None:
    ask = _ask(Peer())
    assert ask("/", "unloadwallet", "") == {}
    told = _coded(_life(ask))
    assert [one["code"] for one in told if isinstance(one, dict) and "code" in one] == [
        -4, -19, -18, -32601, -3, -8, -18, -18, -35, -18,
    ]  # fmt: skip


@needs_node
def test_a_node_has_wallets_like_ours(node: Node) -> None:
    def theirs(path: str, method: str, *arguments: Any) -> Any:
        user, _, password = node.cookie.read_text().partition(":")
        body = {"id": 1, "method": method, "params": arguments}
        answer = httpx.post(node.url + path, json=body, auth=(user, password), timeout=60)
        shown = json.loads(answer.text, parse_float=Decimal)
        return shown["result"] if shown["error"] is None else shown["error"]

    ours = _ask(Peer())
    ours("/", "unloadwallet", "")
    assert _coded(_life(ours)) == _coded(_life(theirs))
