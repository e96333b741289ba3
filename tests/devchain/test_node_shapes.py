"""Our node's answers beside a real one's, about the same chain: set ``ELEMENTSD`` to run them."""

from __future__ import annotations

import time
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import pytest

from amp0.devchain.app import build
from amp0.elements.keys import SecretKey
from amp0.elements.transaction import OutPoint, Transaction, TxIn, TxOut
from tests.devchain.node import Node, needs_node, node, running_node
from tests.devchain.test_node_face import HIDDEN, PLAIN, Peer

__all__ = ["node"]
pytestmark = needs_node


EMPTY = "0200000000000000000000"
"""A transaction of nothing."""
PUSHES = ("6a0200ff", "6a047fffffff", "6a0500ffffffff", "6a0100", "6a4c0181", "6a0351ffae")
SMALL_PUSHES = Transaction.of(
    2,
    0,
    [TxIn(OutPoint(bytes(32), 0))],
    [TxOut.explicit(bytes.fromhex(script), bytes(32), 0) for script in PUSHES],
)


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
            _same(ours("decoderawtransaction", one["hex"]), node.call("decoderawtransaction", one["hex"]))
            for vout in range(len(one["vout"])):
                _same(ours("gettxout", one["txid"], vout), node.call("gettxout", one["txid"], vout))
            _same(ours("getrawtransaction", one["txid"], True), node.call("getrawtransaction", one["txid"], True))
    mine, other = _plain(ours("getblockchaininfo")), _plain(node.call("getblockchaininfo"))
    volatile = {"warnings", "initialblockdownload", "verificationprogress"}
    assert mine.keys() <= other.keys()
    assert {name for name in mine if mine[name] != other[name]} <= volatile
    assert ours("getnetworkinfo").keys() == node.call("getnetworkinfo").keys()
    for method, *arguments in (
        ("getsidechaininfo",),
        ("dumpassetlabels",),
        ("getindexinfo",),
        ("getindexinfo", "txindex"),
        ("getindexinfo", "x"),
        ("estimatesmartfee", 6),
        ("getmempoolinfo",),
        ("gettxout", "11" * 32, 0),
        ("decoderawtransaction", EMPTY),
        ("decoderawtransaction", str(SMALL_PUSHES)),
    ):
        _same(ours(method, *arguments), node.call(method, *arguments), method)
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
    node.call("sendrawtransaction", raw)
    volatile = {"time", "unbroadcast"}
    one, two = (_plain(call("getmempoolentry", verdict["txid"])) for call in (ours, node.call))
    assert one.keys() == two.keys()
    _same({name: one[name] for name in one.keys() - volatile}, {name: two[name] for name in two.keys() - volatile})
    one, two = (_plain(call("getmempoolinfo")) for call in (ours, node.call))
    assert {name for name in one if one[name] != two[name]} <= {"usage", "unbroadcastcount"}
    for vin in ours("decoderawtransaction", raw)["vin"]:
        for waiting in (True, False):
            place = (vin["txid"], vin["vout"], waiting)
            _same(ours("gettxout", *place), node.call("gettxout", *place))
    _same(ours("gettxout", verdict["txid"], 0), node.call("gettxout", verdict["txid"], 0))
    shown = ours("testmempoolaccept", [raw])
    assert shown == node.call("testmempoolaccept", [raw])
    txid = verdict["txid"]
    ours.built.chain._forget(ours.built.chain.mempool.remove(next(iter(ours.built.chain.mempool)).txid))
    (judged,) = ours("testmempoolaccept", [raw])
    assert (judged["txid"], judged.keys(), judged["fees"].keys()) == (txid, verdict.keys(), verdict["fees"].keys())


MISTAKES: list[tuple[str, list[Any]]] = [
    ("sendmany", ["", {}]),
    ("sendmany", ["x", {HIDDEN: 1}]),
    ("sendmany", ["", {"x": 1}]),
    ("sendmany", ["", {HIDDEN: 0}]),
    ("sendmany", ["", {PLAIN: "0.00000001"}]),
    ("sendmany", ["", {HIDDEN: 1}, 0, "", [], False, 1, "UNSET", {HIDDEN: "xy"}]),
    ("sendmany", ["", {HIDDEN: 1}, 0, "", [], False, 1, "UNSET", {HIDDEN: "11" * 32}]),
    ("reissueasset", ["xy", 1]),
    ("reissueasset", ["11" * 32, 1]),
    ("destroyamount", ["11" * 32, 1]),
    ("destroyamount", ["bitcoin", 0]),
    ("gettransaction", ["11" * 32]),
    ("issueasset", [0, 0]),
    ("signmessage", ["invalidaddress", "message"]),
    ("dumpblindingkey", ["x"]),
    ("dumpblindingkey", [HIDDEN]),
    ("sendrawtransaction", ["zz"]),
    ("decoderawtransaction", ["zz"]),
    ("decoderawtransaction", ["00"]),
    ("getmempoolentry", ["11" * 32]),
    ("gettxout", ["11" * 32, -1]),
    ("estimatesmartfee", [0]),
    ("estimatesmartfee", [6, "x"]),
    ("nosuchmethod", []),
    ("getpeerinfos", []),
]
"""Calls that fail with the same words."""


def _shape(value: Any) -> Any:
    """What kinds of values there are, under which names; assets have none."""
    if isinstance(value, dict):
        return {"an asset" if len(name) == 64 else name: _shape(one) for name, one in value.items()}
    if isinstance(value, list):
        return [_shape(one) for one in value]
    return (
        "number" if isinstance(value, int | float | Decimal) and not isinstance(value, bool) else type(value).__name__
    )


def _sorted(rows: list[Any], *names: str) -> list[Any]:
    """Rows whose places are a matter of chance, by values that are not."""
    return sorted(rows, key=lambda row: [str(row.get(name)) for name in names])


def _life(call: Callable[..., Any], hidden: bool) -> dict[str, Any]:
    """What a wallet tells while it issues, distributes as the script does, reissues and burns."""
    told: dict[str, Any] = {}

    def transaction(name: str, txid: str) -> None:
        found = call("gettransaction", txid)
        found["details"] = [
            row | {"amount": float(row["amount"])} for row in _sorted(found["details"], "category", "amount")
        ]
        told[name] = found

    def mine(blocks: int) -> None:
        call("generatetoaddress", blocks, PLAIN)

    made = told["made"] = call("issueasset", 50, 2, hidden)
    transaction("issuing", made["txid"])
    mine(1)
    told["issuances"] = call("listissuances", made["asset"])
    to = [call("getnewaddress", "", kind) for kind in ("blech32", "bech32")] + [HIDDEN]
    amounts = dict(zip(to, (5, 6, "2.00000001"), strict=True))
    txid = call("sendmany", "", amounts, 0, "", [], False, 1, "UNSET", dict.fromkeys(to, made["asset"]))
    transaction("waiting", txid)
    told["waiting coins"] = _sorted(
        [coin for coin in call("listunspent", 0) if (coin["txid"], coin["asset"]) == (txid, made["asset"])], "amount"
    )
    mine(2)
    transaction("paid", txid)
    for name in ("asset", "token"):
        coins = [coin for coin in call("listunspent") if coin["asset"] == made[name]]
        told[f"coins of the {name}"] = _sorted(coins, "amount")
    again = told["again"] = call("reissueasset", made["asset"], 3)
    transaction("reissuing", again["txid"])
    transaction("burning", call("destroyamount", made["asset"], "1.5"))
    mine(1)
    told["all issuances"] = _sorted(call("listissuances", made["asset"]), "isreissuance")
    balance = call("getbalance", "*", 0, False)
    told["balance"] = [float(balance[made[name]]) for name in ("asset", "token")]
    told["wallet"] = call("getwalletinfo")
    told["wallet"].pop("birthtime", None)
    for name in ("balance", "unconfirmed_balance", "immature_balance"):
        # Which assets wait or are held besides is not the same for both.
        told["wallet"][name] = {"bitcoin": told["wallet"][name]["bitcoin"]}
    given = call("getnewaddress")
    key = call("dumpblindingkey", given)
    info = call("getaddressinfo", given)
    assert SecretKey.from_bytes(bytes.fromhex(key)).public_key().hex() == info["confidential_key"]
    assert call("dumpblindingkey", info["unconfidential"]) == key
    told["addresses"] = [call("getnewaddress", "", kind)[:4] for kind in ("blech32", "bech32")]
    return told


def test_a_wallet_tells_the_same_of_the_same_life(tmp_path: Path) -> None:
    """Each with a chain of its own, and the same words for the same mistakes."""
    ours = Peer(built=build(dev=True, clock=time.time))
    with running_node(tmp_path, "-changetype=bech32") as theirs:
        theirs.call("createwallet", "w")
        for _ in range(10):
            ours("sendtoaddress", theirs.call("getnewaddress"), 90)
        ours.mine()
        _follow(ours, theirs, 1)
        ours = Peer(built=build(dev=True, clock=time.time))
        for hidden in (True, False):
            mine, other = _life(ours, hidden), _life(theirs.call, hidden)
            _same(_shape(mine), _shape(other))
            for name in ("issuing", "waiting", "paid", "reissuing", "burning"):
                rows = [[(row["category"], row["amount"]) for row in told[name]["details"]] for told in (mine, other)]
                assert rows[0] == rows[1], name
            for name in ("balance", "addresses"):
                assert mine[name] == other[name]
        for method, arguments in MISTAKES:
            code, message = ours.refused(method, *arguments)
            with pytest.raises(AssertionError) as refusal:
                theirs.call(method, *arguments)
            assert refusal.value.args[0] == {"code": code, "message": message}, method


COIN = {"txid": "11" * 32, "vout": 1}
RAW: list[list[Any]] = [
    [[COIN], [{HIDDEN: 1}, {PLAIN: "0.5"}, {"fee": 0.001}]],
    [[COIN, COIN | {"vout": 2, "sequence": 5}], [{"data": "00ff"}, {"burn": 2, "asset": "22" * 32}], 500],
    [[COIN], [{PLAIN: 1}, {PLAIN: 2, "asset": "22" * 32}], 0, False],
    [[COIN], [{PLAIN: 1}], 7, False],
    [[], [], 7, False],
    [[COIN | {"sequence": 0xFFFFFFFD}], []],
]
WRONG: list[list[Any]] = [
    [[COIN], {}],
    [[COIN], [{"x": 1}]],
    [[COIN], [{PLAIN: 1}, {PLAIN: 2}]],
    [[COIN], [{PLAIN: -1}]],
    [[COIN], [{"data": "x"}]],
    [[COIN | {"vout": -1}], []],
    [[{"txid": "11" * 32}], []],
    [[COIN | {"sequence": 2**32}], []],
    [[COIN | {"sequence": 0xFFFFFFFE}], [], 0, True],
    [[COIN], [], 2**32],
    [[{"txid": "11", "vout": 0}], []],
]


def test_transactions_in_pieces(node: Node) -> None:
    """The same bytes from the same inputs and outputs; blinded and signed by our wallet, it is what the node takes."""
    ours = Peer(built=build(dev=True, clock=time.time))
    node.call("createwallet", "w")
    given = node.call("getnewaddress")
    ours("sendtoaddress", given, 5)
    asset = ours("issueasset", 5, 1)["asset"]
    ours.mine()
    _follow(ours, node, 1)
    for arguments in RAW:
        made = ours("createrawtransaction", *arguments)
        assert made == node.call("createrawtransaction", *arguments), arguments
        _same(ours("decoderawtransaction", made), node.call("decoderawtransaction", made))
    for arguments in WRONG:
        code, message = ours.refused("createrawtransaction", *arguments)
        with pytest.raises(AssertionError) as refusal:
            node.call("createrawtransaction", *arguments)
        assert refusal.value.args[0]["code"] == code, (arguments, message, refusal.value.args[0])

    for call, confirm in ((ours, node.call), (node.call, ours)):
        coins = call("listunspent")
        coin = next(one for one in coins if one["asset"] != asset and one["amount"] >= 5)
        inputs = [{"txid": coin["txid"], "vout": coin["vout"]}]
        left = Decimal(str(coin["amount"])) - Decimal("1.0001")
        outputs = [{HIDDEN: 1}, {call("getnewaddress"): f"{left:.8f}"}, {"fee": 0.0001}]
        if call is ours:
            held = next(one for one in coins if one["asset"] == asset)
            inputs.append({"txid": held["txid"], "vout": held["vout"]})
            outputs += [{HIDDEN: 2, "asset": asset}, {call("getnewaddress"): 2, "asset": asset}]
            outputs.append({"burn": 1, "asset": asset})
        raw = call("createrawtransaction", inputs, outputs)
        early = call("signrawtransactionwithwallet", raw)
        assert early["complete"] is True
        strange = confirm("signrawtransactionwithwallet", raw)
        assert (strange["complete"], strange.keys()) == (False, {"hex", "complete", "errors"})
        assert strange["errors"][0].keys() == {"txid", "vout", "witness", "scriptSig", "sequence", "error"}
        signed = call("signrawtransactionwithwallet", call("blindrawtransaction", raw))
        assert signed.keys() == {"hex", "complete"}
        (verdict,) = confirm("testmempoolaccept", [signed["hex"]])
        assert verdict["allowed"] is True, verdict
        shown = confirm("decoderawtransaction", signed["hex"])
        hidden = [out for out in shown["vout"] if "valuecommitment" in out]
        assert len(hidden) == len(outputs) - (2 if call is ours else 1)


def test_the_confirm_scripts_calls_are_notifications_to_a_new_node(node: Node) -> None:
    """JSON-RPC 2.0 without an id: Elements 28 answers nothing, our face does, and so do older nodes."""
    user, _, password = node.cookie.read_text().partition(":")
    body = {"jsonrpc": "2.0", "method": "getblockcount", "params": []}
    answer = httpx.post(node.url, json=body, auth=(user, password), timeout=60)
    new = node.call("getnetworkinfo")["version"] >= 280000
    assert (answer.status_code, bool(answer.content)) == ((204, False) if new else (200, True))
    assert Peer().post(body).status_code == 200
