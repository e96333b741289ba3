"""Our node's answers beside a real one's, about the same chain: set ``ELEMENTSD`` to run them."""

from __future__ import annotations

import time
from decimal import Decimal
from typing import Any

from amp0.devchain.app import build
from tests.devchain.node import Node, needs_node, node
from tests.devchain.test_node_face import HIDDEN, PLAIN, Peer

__all__ = ["node"]
pytestmark = needs_node


def _plain(value: Any) -> Any:
    """Numbers as both sides can have them."""
    if isinstance(value, dict):
        return {name: _plain(one) for name, one in value.items()}
    if isinstance(value, list):
        return [_plain(one) for one in value]
    return float(value) if isinstance(value, Decimal | int) and not isinstance(value, bool) else value


def _same(mine: Any, theirs: Any, path: str = "") -> None:
    """The same values, and where they are not."""
    one, two = _plain(mine), _plain(theirs)
    if isinstance(one, dict) and isinstance(two, dict):
        assert one.keys() == two.keys(), (path, one.keys() ^ two.keys())
        for name in one:
            _same(one[name], two[name], f"{path}.{name}")
    elif isinstance(one, list) and isinstance(two, list) and len(one) == len(two):
        for number, pair in enumerate(zip(one, two, strict=True)):
            _same(*pair, f"{path}[{number}]")
    else:
        assert one == two, path


def _follow(ours: Peer, theirs: Node, start: int) -> None:
    for height in range(start, ours("getblockcount") + 1):
        assert theirs.call("submitblock", ours("getblock", ours("getblockhash", height), 0)) is None, height


def test_a_node_tells_the_same_of_our_chain(node: Node) -> None:
    ours = Peer(built=build(dev=True, clock=time.time))
    node.call("createwallet", "w")
    theirs = node.call("getnewaddress")
    ours("sendtoaddress", theirs, 5)
    ours("sendtoaddress", ours("getnewaddress", "", "legacy"), 900)
    hidden = ours("issueasset", 5, 1)
    shown = ours("issueasset", 7, 1, False)
    ours.mine()
    ours(
        "sendmany",
        "",
        {HIDDEN: 1, theirs: 2},
        0,
        "",
        [],
        False,
        1,
        "UNSET",
        dict.fromkeys((HIDDEN, theirs), hidden["asset"]),
    )
    ours("reissueasset", hidden["asset"], 3)
    ours("reissueasset", shown["asset"], 3)
    ours("destroyamount", hidden["asset"], 1)
    ours("sendtoaddress", PLAIN, 950)
    ours("generatetoaddress", 9, PLAIN)
    _follow(ours, node, 1)

    for height in range(ours("getblockcount") + 1):
        block = ours("getblockhash", height)
        assert node.call("getblockhash", height) == block
        _same(ours("getblockheader", block), node.call("getblockheader", block))
        assert ours("getblockheader", block, False) == node.call("getblockheader", block, False)
        if not height:
            continue
        _same(ours("getblock", block), node.call("getblock", block))
        mine, other = ours("getblock", block, 2), node.call("getblock", block, 2)
        for one, two in zip(mine["tx"], other["tx"], strict=True):
            _same(one, two)
            _same(ours("getrawtransaction", one["txid"], True), node.call("getrawtransaction", one["txid"], True))
    mine, other = _plain(ours("getblockchaininfo")), _plain(node.call("getblockchaininfo"))
    volatile = {"warnings", "initialblockdownload", "verificationprogress"}
    assert mine.keys() <= other.keys()
    assert {name for name in mine if mine[name] != other[name]} <= volatile
    assert ours("getnetworkinfo").keys() == node.call("getnetworkinfo").keys()
    for address in (HIDDEN, PLAIN, theirs):
        assert ours("validateaddress", address) == node.call("validateaddress", address)
    (coin, asset) = sorted(node.call("listunspent", 1, 99, [theirs]), key=lambda one: -one["amount"])
    assert (coin["amount"], asset["amount"], asset["asset"]) == (5, 2, hidden["asset"])
    own = next(one for one in ours("listunspent") if one.get("label") == "")
    assert own.keys() == coin.keys()
    received, told = node.call("gettransaction", coin["txid"]), ours("gettransaction", coin["txid"])
    assert told.keys() - received.keys() == {"fee"}
    assert received.keys() <= told.keys()
    back = ours("gettransaction", ours("sendtoaddress", ours("getnewaddress"), 1))["details"][1]
    assert back.keys() == received["details"][0].keys()
    info = node.call("getaddressinfo", theirs)
    assert info.keys() - ours("getaddressinfo", ours("getnewaddress")).keys() == {"timestamp", "hdseedid"}

    raw = ours("getrawtransaction", ours("getrawmempool")[0])
    (verdict,) = node.call("testmempoolaccept", [raw])
    assert verdict["allowed"] is True
    txid = verdict["txid"]
    ours.built.chain._forget(ours.built.chain.mempool.remove(next(iter(ours.built.chain.mempool)).txid))
    (judged,) = ours("testmempoolaccept", [raw])
    assert (judged["txid"], judged.keys(), judged["fees"].keys()) == (txid, verdict.keys(), verdict["fees"].keys())
