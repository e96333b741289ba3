"""The node's face: JSON-RPC, chain calls, and a wallet whose every step the chain accepts."""

from __future__ import annotations

import asyncio
import json
import stat
import weakref
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from amp0.devchain.app import DevChain
from amp0.devchain.blocks import FEDERATION, POLICY_ASSET
from amp0.devchain.node.face import NodeFace, build_node
from amp0.devchain.node.values import RpcError, amount, satoshi
from amp0.devchain.node.views import params_root
from amp0.elements.confidential import Opening, opens
from amp0.elements.hashes import asset_id_to_bytes, asset_id_to_str
from amp0.elements.transaction import Transaction
from amp0.errors import ConfigError
from tests.devchain.kit import Random
from tests.devchain.web import address, new_app

PLAIN = address(b"\x00\x14" + b"\x71" * 20)
HIDDEN = address(b"\x00\x14" + b"\x72" * 20, confidential=True)
ZERO = "00" * 32
OF_ISSUERS = """
getnetworkinfo getblockchaininfo getblockcount getblockhash getblock getrawtransaction sendrawtransaction
testmempoolaccept getnewaddress getbalance listunspent gettransaction sendtoaddress sendmany issueasset reissueasset
destroyamount listissuances generatetoaddress signmessage
"""
"""What the tools of issuers call."""
DOCS = (Path(__file__).parents[2] / "docs" / "devchain.md").read_text(encoding="utf-8")


class Peer:
    """A caller of a node, without a socket."""

    def __init__(self, folder: Path | None = None, built: DevChain | None = None, seed: bytes = b"node") -> None:
        self.built = built or new_app()
        self.node: NodeFace = build_node(self.built, folder=folder, random=Random(seed))
        if folder is None:
            # Its cookie is in everybody's folder, and would stay there.
            weakref.finalize(self, self.node.close)
        self.user, _, self.password = self.node.cookie.partition(":")

    def post(self, body: Any, path: str = "/", **options: Any) -> httpx.Response:
        client = options.pop("client", ("127.0.0.1", 50_000))
        method = options.pop("method", "POST")
        options.setdefault("auth", (self.user, self.password))
        content = body if isinstance(body, str | bytes) else json.dumps(body)

        async def ask() -> httpx.Response:
            transport = httpx.ASGITransport(app=self.node.app, client=client)
            async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as http:
                return await http.request(method, path, content=content, **options)

        return asyncio.run(ask())

    def __call__(self, method: str, *arguments: Any) -> Any:
        answer = self.post({"id": 1, "method": method, "params": arguments})
        shown = json.loads(answer.text, parse_float=Decimal)
        assert shown["error"] is None, shown["error"]
        assert answer.status_code == 200
        return shown["result"]

    def refused(self, method: str, *arguments: Any) -> tuple[int, str]:
        answer = self.post({"id": 1, "method": method, "params": arguments})
        error = answer.json()["error"]
        assert answer.status_code == {-32601: 404, -32600: 400}.get(error["code"], 500)
        return error["code"], error["message"]

    def mine(self, blocks: int = 1) -> None:
        self.built.chain.mine(blocks)


@pytest.fixture
def node() -> Peer:
    return Peer()


# -- the protocol ------------------------------------------------------------------------------


def test_one_call_and_its_errors(node: Peer) -> None:
    height = node("getblockcount")
    body = '{"jsonrpc": "2.0", "method": "getblockcount", "params": []}'
    answer = node.post(body)
    assert (answer.status_code, answer.json()) == (200, {"result": height, "error": None, "id": None})
    assert node.post('{"id": "x", "method": "getblockhash", "params": {"height": 0}}').json()["id"] == "x"
    for body, status, code in (
        ("{", 500, -32700),
        ("5", 500, -32700),
        ("[" * 100_000, 500, -32700),
        ("\x00", 500, -32700),
        ('{"id": 1}', 400, -32600),
        ('{"id": 1, "method": 5}', 400, -32600),
        ('{"id": 1, "method": "getblockcount", "params": 5}', 400, -32600),
        ('{"id": 1, "method": "nosuch"}', 404, -32601),
        ('{"id": 1, "method": "getblockcount", "params": [5]}', 500, -1),
        ('{"id": 1, "method": "getblockhash"}', 500, -1),
        ('{"id": 1, "method": "getblockhash", "params": {"hei": 0}}', 500, -8),
        ('{"id": 1, "method": "getblockhash", "params": ["x"]}', 500, -3),
        ('{"id": 1, "method": "getblockhash", "params": [999]}', 500, -8),
        ('{"id": 1, "method": "getblockhash", "params": [1e999999]}', 500, -3),
    ):
        answer = node.post(body)
        assert (answer.status_code, answer.json()["error"]["code"]) == (status, code), body[:60]


def test_a_batch_is_answered_in_order(node: Peer) -> None:
    answer = node.post([{"id": 1, "method": "getblockcount"}, {"id": 2, "method": "x"}, 7])
    assert answer.status_code == 200
    assert [one["id"] for one in answer.json()] == [1, 2, None]
    assert [one["error"] and one["error"]["code"] for one in answer.json()] == [None, -32601, -32600]
    assert node.post("[]").json() == []
    assert node.post([{}] * 1001).json()["error"]["code"] == -32600


def test_only_who_has_the_cookie(node: Peer) -> None:
    body = {"id": 1, "method": "getblockcount"}
    for auth in (None, ("__cookie__", "x"), ("", ""), ("x", node.password)):
        answer = node.post(body, auth=auth)
        assert answer.status_code == 401
        assert answer.headers["www-authenticate"].startswith("Basic")
    for value in ("Basic", "Basic !!!", "Bearer x", "Basic \xe9"):
        headers = {"authorization": value.encode("latin-1")}
        assert node.post(body, auth=None, headers=headers).status_code == 401


def test_only_programs_on_this_machine(node: Peer) -> None:
    body = {"id": 1, "method": "getblockcount"}
    assert node.post(body, client=("192.0.2.7", 1)).status_code == 403
    for origin in ("https://example.com", "null", "http://localhost:3000"):
        answer = node.post(body, headers={"origin": origin})
        assert answer.status_code == 403
        assert not [name for name in answer.headers if name.startswith("access-control")]
    assert node.post(body, method="GET").status_code == 405
    assert node.post(body, method="OPTIONS").status_code == 405
    assert node.post(" " * 9_000_000).status_code == 413


def test_a_path_names_a_wallet(node: Peer) -> None:
    """For calls that need one; the others do not look at it."""
    for method, codes in (("getblockcount", (None, None)), ("getbalance", (None, -18)), ("nosuch", (-32601, -32601))):
        body = {"id": 1, "method": method}
        errors = [node.post(body, path).json()["error"] for path in ("/wallet/", "/wallet/other")]
        assert tuple(error and error["code"] for error in errors) == codes
        assert node.post(body, "/other").status_code == 404


def test_cookie_and_wallet_files(tmp_path: Path) -> None:
    folder = tmp_path / "node"
    first = Peer(folder)
    assert (folder / ".cookie").read_text() == first.node.cookie
    for name in (".cookie", "wallet.json"):
        assert stat.S_IMODE((folder / name).stat().st_mode) == 0o600
    given, paid = first("getnewaddress", "till"), first("sendtoaddress", HIDDEN, 1)
    assert first.node.cookie not in repr(first.node)
    again = Peer(folder, first.built)
    assert again.node.cookie != first.node.cookie
    assert again("getaddressinfo", given)["labels"] == ["till"]
    assert again("getbalance") == first("getbalance")
    assert again("gettransaction", paid)["details"] == first("gettransaction", paid)["details"]
    assert again("getnewaddress") != given
    again.node.close()
    assert not (folder / ".cookie").exists()
    (folder / "wallet.json").write_text("{}")
    with pytest.raises(ConfigError, match=r"wallet\.json"):
        Peer(folder, first.built)


def test_a_cookie_without_a_folder(node: Peer) -> None:
    path = node.node.cookie_path
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert path.read_text() == node.node.cookie
    node.node.close()
    assert not path.exists()


def test_every_call_is_documented_and_none_of_issuers_is_missing(node: Peer) -> None:
    for name in node.node.app.names:
        assert f"`{name}`" in DOCS, name
    assert set(OF_ISSUERS.split()) <= node.node.app.names


# -- amounts -----------------------------------------------------------------------------------


@given(st.integers(0, 21 * 10**14))
def test_amounts_go_both_ways(value: int) -> None:
    text = bytes(amount(value)).decode()
    assert satoshi(Decimal(text)) == satoshi(text) == value
    assert len(text.partition(".")[2]) == 8
    assert bytes(amount(-value)).decode().lstrip("-") == text


@pytest.mark.parametrize(
    "value", [-1, "1.123456789", "x", "", "NaN", "Infinity", "1e400", True, None, [], 10**8, "9" * 50]
)
def test_strange_amounts(value: object) -> None:
    with pytest.raises(RpcError) as refused:
        satoshi(value)
    assert refused.value.code == -3


# -- the chain ---------------------------------------------------------------------------------


def test_what_the_node_says_about_itself(node: Peer) -> None:
    """What the issuer's script asks before it does anything."""
    network = node("getnetworkinfo")
    assert "Elements Core" in network["subversion"]
    assert network["version"] >= 170001
    chain = node("getblockchaininfo")
    assert chain["verificationprogress"] >= Decimal("0.999")
    assert (chain["chain"], chain["blocks"]) == ("liquidregtest", node("getblockcount"))
    # As Elements 28 prints it for the same chain.
    assert chain["current_params_root"] == "3700bdb2975ff8e0dadaaba2b33857b0ca2610c950a92b1db725025e3647a8e1"
    assert params_root(FEDERATION)[::-1].hex() == chain["current_params_root"]
    assert node.refused("signmessage", "invalidaddress", "message") == (-5, "Invalid address")


def test_blocks(node: Peer) -> None:
    node("sendtoaddress", HIDDEN, 1)
    (made,) = node("generatetoaddress", 1, PLAIN)
    assert node("getbestblockhash") == made == node("getblockhash", node("getblockcount"))
    raw = node("getblock", made, 0)
    block = node.built.chain.tip
    assert raw == block.block.serialize().hex()
    ids, full = node("getblock", made), node("getblock", made, 2)
    assert ids["tx"] == [tx["txid"] for tx in full["tx"]] == [str(txid) for txid in block.txids]
    assert full["tx"][0]["vout"][0]["scriptPubKey"]["address"] == PLAIN
    assert (ids["size"], ids["weight"], ids["nTx"]) == (len(raw) // 2, block.block.weight(), 2)
    header = node("getblockheader", made)
    assert header.items() <= ids.items()
    assert node("getblockheader", made, False) == block.header.serialize().hex()
    assert header["dynamic_parameters"]["current"]["root"] == params_root(FEDERATION)[::-1].hex()
    genesis = node("getblock", node("getblockhash", 0))
    assert (genesis["height"], genesis["nextblockhash"]) == (0, node("getblockhash", 1))
    node.built.chain.reorg(1, blocks=2)
    assert node("getblockheader", made)["confirmations"] == -1
    assert node.refused("getblock", ZERO) == (-5, "Block not found")
    assert node.refused("getblock", "xx")[0] == -8
    assert node.refused("getblock", "z" * 64)[0] == -8


def test_raw_transactions(node: Peer) -> None:
    txid = node("sendtoaddress", HIDDEN, "1.5")
    raw = node("getrawtransaction", txid)
    assert str(Transaction(raw).txid()) == txid
    shown = node("getrawtransaction", txid, True)
    assert (shown["hex"], shown["txid"], "blockhash" in shown) == (raw, txid, False)
    assert shown["vout"][-1]["scriptPubKey"]["type"] == "fee"
    assert shown["fee"] == {asset_id_to_str(POLICY_ASSET): shown["vout"][-1]["value"]}
    assert (shown["vout"][0]["ct-bits"], shown["vout"][0]["value-minimum"]) == (52, Decimal("0.00000001"))
    assert node("getrawmempool") == [txid]
    assert node("getrawmempool", True)[txid]["fees"]["base"] == shown["vout"][-1]["value"]
    assert node("sendrawtransaction", raw) == txid
    (verdict,) = node("testmempoolaccept", [raw])
    assert (verdict["allowed"], verdict["reject-reason"]) == (False, "txn-already-in-mempool")
    node.mine()
    assert node("getrawtransaction", txid, 1)["confirmations"] == 1
    assert node("getrawtransaction", txid, False, node("getbestblockhash")) == raw
    assert node.refused("getrawtransaction", txid, False, node("getblockhash", 1))[0] == -5
    assert node.refused("sendrawtransaction", raw)[0] == -27
    assert node("testmempoolaccept", [raw])[0]["reject-reason"] == "txn-already-known"
    assert node.refused("sendrawtransaction", "00")[0] == -22
    assert node.refused("testmempoolaccept", ["00"])[0] == -22
    assert node.refused("testmempoolaccept", [raw, raw])[0] == -8
    assert node.refused("getrawtransaction", ZERO)[0] == -5


def test_a_verdict_does_not_broadcast(node: Peer) -> None:
    """The same transaction: judged on one chain where it is not known, then sent there."""
    node("sendtoaddress", HIDDEN, 1)
    entry = next(iter(node.built.chain.mempool))
    node.built.chain._forget(node.built.chain.mempool.remove(entry.txid))
    (verdict,) = node("testmempoolaccept", [str(entry.tx)])
    assert (verdict["allowed"], verdict["vsize"]) == (True, entry.vsize)
    assert node("getrawmempool") == []
    broken = entry.tx.replace_input(
        0, witness=(entry.tx.vin[0].witness[0][:-2] + b"\x00\x01", entry.tx.vin[0].witness[1])
    )
    assert node("testmempoolaccept", [str(broken)])[0]["allowed"] is False
    assert node.refused("sendrawtransaction", str(broken))[0] == -26
    assert node("sendrawtransaction", str(entry.tx)) == str(entry.txid)
    node.mine()
    rival = entry.tx.replace_input(0, sequence_number=0)
    assert node.refused("sendrawtransaction", str(rival))[0] == -25
    assert node("testmempoolaccept", [str(rival)])[0]["reject-reason"] == "missing-inputs"


# -- the wallet --------------------------------------------------------------------------------


def test_a_new_wallet_has_coins(node: Peer) -> None:
    assert node("getbalance") == {"bitcoin": Decimal(1000)}
    assert len(node("listunspent")) == 10
    assert node("getrawmempool") == []


def test_addresses(node: Peer) -> None:
    given = node("getnewaddress", "shop")
    info = node("getaddressinfo", given)
    assert (info["ismine"], info["labels"], info["confidential"]) == (True, ["shop"], given)
    assert info["desc"].startswith(f"wpkh([{info['hdmasterfingerprint']}/84h/1h/0h/0/")
    valid = node("validateaddress", info["unconfidential"])
    assert (valid["isvalid"], valid["confidential_key"]) == (True, "")
    assert node("getaddressinfo", PLAIN)["ismine"] is False
    assert node("validateaddress", "nonsense")["isvalid"] is False
    assert node.refused("getaddressinfo", "nonsense")[0] == -5
    kinds = {"blech32": "el1q", "bech32": "ert1q", "legacy": "CT"}
    assert all(node("getnewaddress", "", kind).startswith(start) for kind, start in kinds.items())
    assert node.refused("getnewaddress", "", "bech32m")[0] == -5
    assert node.refused("getnewaddress", 5)[0] == -3


def test_nothing_is_burnt_unasked(node: Peer) -> None:
    raw = node("getrawtransaction", node("destroyamount", "bitcoin", 2))
    node.built.chain._forget(node.built.chain.mempool.remove(next(iter(node.built.chain.mempool)).txid))
    refusal = (-25, "Unspendable output exceeds maximum configured by user (maxburnamount)")
    assert node.refused("sendrawtransaction", raw) == refusal
    assert node.refused("sendrawtransaction", raw, None, "1.99999999") == refusal
    assert node("getrawmempool") == []
    assert node("sendrawtransaction", raw, 0, 2) in node("getrawmempool")


def test_paying_one(node: Peer) -> None:
    before = node("getbalance")["bitcoin"]
    txid = node("sendtoaddress", HIDDEN, "2.5")
    shown = node("gettransaction", txid)
    fee = -shown["fee"]["bitcoin"]
    assert shown["amount"] == {"bitcoin": Decimal("-2.5")}
    (detail,) = shown["details"]
    assert (detail["category"], detail["amount"], detail["fee"]) == ("send", Decimal("-2.5"), fee)
    tx = Transaction(shown["hex"])
    opening = Opening(
        POLICY_ASSET,
        250_000_000,
        bytes.fromhex(detail["assetblinder"])[::-1],
        bytes.fromhex(detail["amountblinder"])[::-1],
    )
    assert opens(tx.vout[detail["vout"]], opening)
    assert node("getbalance")["bitcoin"] == before - Decimal("2.5") - fee
    assert (shown["confirmations"], shown["trusted"]) == (0, True)
    node.mine(2)
    shown = node("gettransaction", txid)
    assert (shown["confirmations"], shown["blockheight"]) == (2, node("getblockcount") - 1)
    assert fee * 10**9 <= 2 * tx.discount_vsize() * 100


def test_paying_oneself_is_told_twice(node: Peer) -> None:
    shown = node("gettransaction", node("sendtoaddress", node("getnewaddress", "me"), 3))
    assert [(one["category"], one["vout"], one["label"]) for one in shown["details"]] == [
        ("send", 0, "me"),
        ("receive", 0, "me"),
    ]
    assert shown["amount"] == {"bitcoin": 0}


def test_what_the_wallet_did_is_listed_output_by_output_newest_last(node: Peer) -> None:
    first = node("sendtoaddress", HIDDEN, 1)
    node.mine()
    oneself = node("sendtoaddress", node("getnewaddress"), 2)
    burnt = node("destroyamount", "bitcoin", 3)
    listed = node("listtransactions", "*", 4)
    assert [(row["txid"], row["category"], row["amount"], row["confirmations"]) for row in listed] == [
        (first, "send", -1, 1),
        (oneself, "send", -2, 0),
        (oneself, "receive", 2, 0),
        (burnt, "send", -3, 0),
    ]
    assert "address" not in listed[-1]
    assert "hex" not in listed[-1]
    assert node("listtransactions", "*", 1, 3) == listed[:1]
    everything = node("listtransactions", "*", 1000)
    assert everything[-4:] == listed
    assert node("listtransactions", "*", 10, len(everything)) == []


def test_what_strangers_pay_counts_when_it_is_confirmed(node: Peer) -> None:
    given = node("getaddressinfo", node("getnewaddress"))["unconfidential"]
    other = Peer(built=node.built, seed=b"other")
    before = node("getbalance")["bitcoin"]
    txid = other("sendtoaddress", given, 7)
    assert node("getbalance")["bitcoin"] == before
    (coin,) = node("listunspent", 0, 0)
    assert (coin["txid"], coin["safe"], coin["amountblinder"]) == (txid, False, ZERO)
    assert node("listunspent", 0, 0, [], False) == []
    node.mine()
    assert node("getbalance")["bitcoin"] == before + 7
    assert "fee" not in node("gettransaction", txid)
    assert [one["amount"] for one in node("listunspent", 1, 99, [given])] == [7]


def test_an_older_address_spends_and_signs(node: Peer) -> None:
    legacy = node("getnewaddress", "", "legacy")
    node("sendtoaddress", legacy, 995)
    node.mine()
    node("sendtoaddress", HIDDEN, 996)
    node.mine()
    signature = node("signmessage", legacy, "hello")
    assert node("verifymessage", legacy, signature, "hello") is True
    assert node("verifymessage", legacy, signature, "hallo") is False
    assert node("verifymessage", node("getnewaddress", "", "legacy"), signature, "hello") is False
    assert node("verifymessage", legacy, "", "hello") is False
    assert node.refused("verifymessage", legacy, "!!", "hello")[0] == -3
    assert node.refused("verifymessage", "bad", signature, "hello")[0] == -5
    assert node.refused("signmessage", node("getnewaddress"), "m") == (-3, "Address does not refer to key")
    stranger = Peer(built=node.built, seed=b"stranger")
    assert stranger.refused("signmessage", legacy, "m")[0] == -4


@pytest.mark.parametrize("hidden", [True, False])
def test_the_life_of_an_asset(node: Peer, hidden: bool) -> None:
    """Issue, distribute as the issuer's script does, reissue, burn; the chain verifies every amount."""
    made = node("issueasset", 50, 1, hidden)
    asset, token = made["asset"], made["token"]
    node.mine()
    (first,) = node("listissuances", asset)
    assert (first["assetamount"], first["tokenamount"], first["token"]) == (50, 1, token)
    assert (first["assetblinds"] == ZERO) is not hidden
    assert first["entropy"] == made["entropy"]
    vin = node("getrawtransaction", made["txid"], True)["vin"][made["vin"]]["issuance"]
    assert (vin["asset"], vin["token"], vin["assetEntropy"]) == (asset, token, made["entropy"])
    assert ("assetamountcommitment" in vin) is hidden

    to = [node("getnewaddress"), HIDDEN]
    txid = node("sendmany", "", {to[0]: 5, to[1]: "2.00000001"}, 0, "", [], False, 1, "UNSET", dict.fromkeys(to, asset))
    sent = [(one["category"], one["amount"], one["asset"]) for one in node("gettransaction", txid)["details"]]
    assert sent == [
        ("send", -5, asset),
        ("send", Decimal("-2.00000001"), asset),
        ("receive", 5, asset),
    ]
    change = [coin for coin in node("listunspent", 0) if coin["txid"] == txid and coin["asset"] == asset]
    assert sum(coin["amount"] for coin in change) == Decimal("47.99999999")
    node.mine()

    again = node("reissueasset", asset, 10)
    details = node("gettransaction", again["txid"])["details"]
    assert {(one["asset"], one["category"]) for one in details} == {
        (asset, "send"),
        (asset, "receive"),
        (token, "send"),
        (token, "receive"),
    }
    newest, _ = node("listissuances", asset)
    assert (newest["isreissuance"], newest["assetamount"], newest["vin"]) == (True, 10, again["vin"])
    assert newest["txid"] == again["txid"]
    assert "token" not in newest
    node.mine()
    node("reissueasset", asset, 1)

    burnt = node("destroyamount", asset, 3)
    (detail,) = node("gettransaction", burnt)["details"]
    assert (detail["amount"], detail["asset"], "address" in detail) == (-3, asset, False)
    node.mine()
    assert node("getbalance", "*", 0, False)[asset] == Decimal("55.99999999")
    assert node("getbalance", "*", 0, False, False, asset) == Decimal("55.99999999")
    assert node("getbalance")[token] == 1
    assert node("gettransaction", burnt)["amount"][asset] == -3


def test_a_contract_hash_and_no_tokens(node: Peer) -> None:
    made = node("issueasset", 1, 0, False, "ab" * 32)
    entry = node.built.chain.entry(Transaction(node("getrawtransaction", made["txid"])).txid())
    assert entry is not None
    issuance = entry.tx.vin[0].issuance
    assert issuance is not None
    assert (issuance.entropy.hex(), issuance.tokens_field) == ("ab" * 32, b"")
    assert made["asset"] in [asset_id_to_str(what) for what in node.built.chain.index.assets]
    assert node.refused("reissueasset", made["asset"], 1)[0] == -4


@pytest.mark.parametrize(
    ("method", "arguments", "code"),
    [
        ("sendtoaddress", ["nonsense", 1], -5),
        ("sendtoaddress", [HIDDEN, 0], -6),
        ("sendtoaddress", [HIDDEN, -1], -3),
        ("sendtoaddress", [HIDDEN, 1001], -6),
        ("sendtoaddress", [HIDDEN, 1.5e-9], -3),
        ("sendtoaddress", [HIDDEN, 1, "", "", True], -8),
        ("sendtoaddress", [HIDDEN, 1, "", "", False, True, 1, "", False, "xy"], -4),
        ("sendtoaddress", [HIDDEN, 1, "", "", False, True, 1, "", False, "11" * 32], -6),
        ("sendtoaddress", [PLAIN, "0.00000001"], -6),
        ("sendmany", ["x", {HIDDEN: 1}], -8),
        ("sendmany", ["", {}], -6),
        ("sendmany", ["", []], -3),
        ("sendmany", ["", {HIDDEN: 1}, 0, "", [], False, 1, "UNSET", {HIDDEN: "xy"}], -4),
        ("issueasset", [0, 0], -3),
        ("issueasset", [-1, 0], -3),
        ("issueasset", [1, 0, "x"], -3),
        ("issueasset", [1, 0, True, "xx"], -8),
        ("reissueasset", [ZERO, 1], -4),
        ("reissueasset", ["xy", 1], -4),
        ("dumpblindingkey", ["xy"], -5),
        ("dumpblindingkey", [HIDDEN], -5),
        ("reissueasset", [asset_id_to_str(POLICY_ASSET), 0], -3),
        ("destroyamount", ["11" * 32, 1], -6),
        ("destroyamount", ["bitcoin", 0], -3),
        ("destroyamount", ["bitcoin", 21_000_000], -6),
        ("gettransaction", [ZERO], -5),
        ("listtransactions", ["*", -1], -8),
        ("listtransactions", ["mine"], -8),
        ("getbalance", ["x"], -32),
        ("getbalance", ["*", 0, False, True], -4),
        ("generatetoaddress", [1, "nonsense"], -5),
        ("generatetoaddress", [10**6, HIDDEN], -8),
        ("listunspent", [1, 2, "x"], -3),
        ("listunspent", [1, 2, [], True, {"colour": 1}], -8),
    ],
)
def test_mistakes_move_nothing(node: Peer, method: str, arguments: list[Any], code: int) -> None:
    assert node.refused(method, *arguments)[0] == code
    assert node("getrawmempool") == []
    assert node("getbalance") == {"bitcoin": 1000}


def test_an_explicit_asset_id_is_as_good_as_the_label(node: Peer) -> None:
    name = asset_id_to_str(POLICY_ASSET)
    assert asset_id_to_bytes(name) == POLICY_ASSET
    assert node("getbalance", "*", 0, False, False, name) == node("getbalance", "*", 0, False, False, "bitcoin") == 1000


def test_a_reorganisation_brings_coins_back(node: Peer) -> None:
    txid = node("sendtoaddress", HIDDEN, 1)
    node.mine()
    after = node("getbalance")
    node.built.chain.reorg(1, blocks=2)
    assert node("gettransaction", txid)["confirmations"] == 0
    assert node("getbalance") == after
    node.mine()
    assert node("gettransaction", txid)["confirmations"] == 1
