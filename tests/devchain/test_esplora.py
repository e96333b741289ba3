"""Esplora over the chain, in process: what wallets and explorers read, and what they get wrong."""

from __future__ import annotations

import asyncio
import re
from typing import Any

import pytest

from amp0.devchain.app import DevChain
from amp0.devchain.blocks import OP_TRUE, POLICY_ASSET, Block
from amp0.devchain.http import Reply
from amp0.elements.block import BlockHeader
from amp0.elements.confidential import unblind
from amp0.elements.hashes import Txid, asset_id_to_bytes, asset_id_to_str, sha256
from amp0.elements.script import p2wpkh
from amp0.elements.transaction import OutPoint, Transaction, TxIn, TxOut
from tests.devchain.kit import BLINDING_KEY, START, free_coin, spend
from tests.devchain.web import address, dev, get, new_app, request

SCRIPT = p2wpkh(b"\x66" * 20)
PLAIN, HIDDEN = address(SCRIPT), address(SCRIPT, confidential=True)
HEX64 = re.compile(r"[0-9a-f]{64}")


@pytest.fixture(scope="module")
def paid() -> tuple[DevChain, str, str]:
    """A chain with one confirmed and one waiting payment to ``SCRIPT``."""
    built = new_app()
    first = dev(built, "faucet", address=HIDDEN, satoshi=1_000)["txid"]
    dev(built, "mine", blocks=1)
    second = dev(built, "faucet", address=PLAIN, satoshi=2_000)["txid"]
    return built, first, second


Paid = tuple[DevChain, str, str]


# -- what LWK asks -----------------------------------------------------------------------------


def test_the_tip_and_its_header(paid: Paid) -> None:
    built, *_ = paid
    tip = get(built, "/blocks/tip/hash").text
    assert HEX64.fullmatch(tip)
    assert get(built, "/blocks/tip/height").text == "2"
    assert get(built, "/block-height/2").text == tip
    header = BlockHeader.from_string(get(built, f"/block/{tip}/header").text)
    assert str(header.block_hash()) == tip
    assert (header.height(), header.time()) == (2, START + 1)


def test_a_raw_block_is_the_block(paid: Paid) -> None:
    built, first, _ = paid
    tip = get(built, "/blocks/tip/hash").text
    answer = get(built, f"/block/{tip}/raw")
    assert answer.headers["content-type"] == "application/octet-stream"
    block = Block.parse(answer.content)
    assert str(block.hash()) == tip
    assert get(built, f"/block/{tip}/txids").json() == [str(tx.txid()) for tx in block.transactions]
    assert str(block.transactions[1].txid()) == first


def test_a_raw_transaction_has_its_proofs(paid: Paid) -> None:
    built, first, _ = paid
    tx = Transaction.from_bytes(get(built, f"/tx/{first}/raw").content)
    assert str(tx.txid()) == first
    assert unblind(tx.vout[0], BLINDING_KEY).satoshi == 1_000
    assert get(built, f"/tx/{first}/hex").text == str(tx)


def test_a_history_in_two_parts(paid: Paid) -> None:
    built, first, second = paid
    tip = get(built, "/blocks/tip/hash").text
    (confirmed,) = get(built, f"/address/{PLAIN}/txs/chain").json()
    status = {"confirmed": True, "block_height": 2, "block_hash": tip, "block_time": START + 1}
    assert (confirmed["txid"], confirmed["status"]) == (first, status)
    (waiting,) = get(built, f"/address/{PLAIN}/txs/mempool").json()
    assert (waiting["txid"], waiting["status"]) == (second, {"confirmed": False})
    both = get(built, f"/address/{PLAIN}/txs").json()
    assert [tx["txid"] for tx in both] == [second, first]
    assert get(built, f"/address/{PLAIN}/txs/chain/{first}").json() == []
    assert get(built, f"/address/{HIDDEN}/txs/chain").json() == [confirmed]
    for digest in (sha256(SCRIPT), sha256(SCRIPT)[::-1]):
        assert get(built, f"/scripthash/{digest.hex()}/txs/chain").json() == [confirmed]


def test_an_unused_address_has_an_empty_history(paid: Paid) -> None:
    built, *_ = paid
    unused = address(p2wpkh(bytes(20)))
    for part in ("", "/chain", "/mempool"):
        assert get(built, f"/address/{unused}/txs{part}").json() == []
    assert get(built, f"/scripthash/{'00' * 32}/txs").json() == []
    assert get(built, f"/scripthash/{'00' * 32}").json()["chain_stats"]["tx_count"] == 0


def test_pages_of_25_newest_first() -> None:
    built = new_app()
    txids = [dev(built, "faucet", address=PLAIN, satoshi=1_000 + i)["txid"] for i in range(60)]
    waiting = [tx["txid"] for tx in get(built, f"/address/{PLAIN}/txs/mempool").json()]
    assert waiting == txids[:9:-1]
    dev(built, "mine", blocks=1)
    assert get(built, f"/address/{PLAIN}/txs/mempool").json() == []
    seen: list[str] = []
    path = f"/address/{PLAIN}/txs/chain"
    sizes = []
    while page := get(built, path).json():
        sizes.append(len(page))
        seen += [tx["txid"] for tx in page]
        path = f"/address/{PLAIN}/txs/chain/{seen[-1]}"
    assert sizes == [25, 25, 10]
    assert seen == txids[::-1]
    assert get(built, f"/address/{PLAIN}/txs/chain/{'00' * 32}").json() == []


def test_a_history_forgets_what_a_reorganisation_took() -> None:
    built = new_app()
    txid = dev(built, "faucet", address=PLAIN, satoshi=1_000)["txid"]
    dev(built, "mine", blocks=1)
    assert get(built, f"/address/{PLAIN}/txs/chain").json()[0]["status"]["block_height"] == 2
    left = dev(built, "reorg", depth=1)
    assert left["height"] == 3
    assert get(built, f"/address/{PLAIN}/txs/chain").json() == []
    assert get(built, f"/address/{PLAIN}/txs/mempool").json()[0]["txid"] == txid
    (stale,) = left["disconnected"]
    assert get(built, f"/block/{stale}/status").json() == {
        "in_best_chain": False,
        "height": None,
        "next_best": None,
    }
    dev(built, "mine", blocks=1)
    assert get(built, f"/tx/{txid}/status").json()["block_height"] == 4


def test_broadcasting() -> None:
    built = new_app()
    tx = spend([free_coin(built.chain)])
    for _ in range(2):
        answer = request(built, "POST", "/tx", content=str(tx))
        assert (answer.status_code, answer.text) == (200, str(tx.txid()))
    assert get(built, "/mempool/txids").json() == [str(tx.txid())]
    rival = spend([free_coin(built.chain)], fee=5_000)
    refused = request(built, "POST", "/tx", content=str(rival))
    assert refused.status_code == 400
    assert refused.text == 'sendrawtransaction RPC error: {"code":-26,"message":"txn-mempool-conflict"}'
    dev(built, "mine", blocks=1)
    gone = request(built, "POST", "/tx", content=str(rival))
    assert '"code":-25' in gone.text
    assert "bad-txns-inputs-missingorspent" in gone.text
    again = request(built, "POST", "/tx", content=str(tx))
    assert '"code":-27' in again.text


@pytest.mark.parametrize("body", [b"", b"xyz", b"00", "é".encode(), b"0200000000" + b"00" * 6, b"\xff\xfe"])
def test_what_is_no_transaction(paid: Paid, body: bytes) -> None:
    built, *_ = paid
    answer = request(built, "POST", "/tx", content=body)
    assert answer.status_code == 400
    assert "sendrawtransaction RPC error" in answer.text


def test_a_body_has_an_end(paid: Paid) -> None:
    built, *_ = paid
    answer = request(built, "POST", "/tx", content=b"0" * 8_000_100)
    assert answer.status_code == 413


# -- the rest of the public API ----------------------------------------------------------------


def test_a_transaction_in_full(paid: Paid) -> None:
    built, first, second = paid
    shown = get(built, f"/tx/{first}").json()
    raw = Transaction.from_bytes(get(built, f"/tx/{first}/raw").content)
    assert (shown["txid"], shown["version"], shown["locktime"]) == (first, 2, 0)
    assert (shown["size"], shown["weight"]) == (len(raw.to_bytes()), raw.weight())
    assert (shown["discount_vsize"], shown["fee"]) == (raw.discount_vsize(), raw.fee())
    hidden, own, fee = shown["vout"]
    assert hidden["valuecommitment"] == raw.vout[0].value_field.hex()
    assert hidden["assetcommitment"] == raw.vout[0].asset_field.hex()
    assert "value" not in hidden
    assert (hidden["scriptpubkey_address"], hidden["scriptpubkey_type"]) == (PLAIN, "v0_p2wpkh")
    assert own["scriptpubkey_type"] == "op_true"
    policy = asset_id_to_str(POLICY_ASSET)
    assert (fee["scriptpubkey_type"], fee["value"], fee["asset"]) == ("fee", raw.fee(), policy)
    (spent,) = shown["vin"]
    assert spent["prevout"]["value"] == 10**12
    assert not spent["is_coinbase"]
    open_output = get(built, f"/tx/{second}").json()["vout"][0]
    assert (open_output["value"], open_output["asset"]) == (2_000, policy)


def test_coinbase_and_genesis_can_be_shown(paid: Paid) -> None:
    built, *_ = paid
    tip = get(built, "/blocks/tip/hash").text
    coinbase = get(built, f"/block/{tip}/txs").json()[0]
    assert coinbase["vin"][0]["is_coinbase"]
    assert coinbase["vin"][0]["prevout"] is None
    genesis = get(built, "/block-height/0").text
    free = get(built, f"/block/{genesis}/txs").json()[1]
    assert free["vin"][0]["issuance"]["assetamount"] == 2_100_000_000_000_000
    assert get(built, f"/block/{genesis}").json()["previousblockhash"] is None


def test_blocks(paid: Paid) -> None:
    built, first, _ = paid
    tip = get(built, "/blocks/tip/hash").text
    block = get(built, f"/block/{tip}").json()
    raw = get(built, f"/block/{tip}/raw").content
    assert (block["id"], block["height"], block["tx_count"]) == (tip, 2, 2)
    assert (block["timestamp"], block["mediantime"], block["size"]) == (START + 1, START, len(raw))
    assert block["version"] == 0xA0000000
    assert [shown["height"] for shown in get(built, "/blocks").json()] == [2, 1, 0]
    assert [shown["height"] for shown in get(built, "/blocks/1").json()] == [1, 0]
    assert get(built, f"/block/{tip}/txid/1").text == first
    status = get(built, f"/block/{block['previousblockhash']}/status").json()
    assert status == {"in_best_chain": True, "height": 1, "next_best": tip}


def test_statistics_and_coins_of_a_script(paid: Paid) -> None:
    built, first, second = paid
    shown = get(built, f"/address/{PLAIN}").json()
    one = {"funded_txo_count": 1, "spent_txo_count": 0, "tx_count": 1}
    assert (shown["address"], shown["chain_stats"], shown["mempool_stats"]) == (PLAIN, one, one)
    coins = {coin["txid"]: coin for coin in get(built, f"/address/{PLAIN}/utxo").json()}
    assert set(coins) == {first, second}
    assert coins[second]["value"] == 2_000
    assert not coins[second]["status"]["confirmed"]
    assert len(coins[first]["noncecommitment"]) == 66
    assert coins[first]["range_proof"]


def test_spends_of_outputs(paid: Paid) -> None:
    built, first, _ = paid
    spent = get(built, f"/tx/{first}").json()["vin"][0]
    by = get(built, f"/tx/{spent['txid']}/outspend/{spent['vout']}").json()
    assert (by["spent"], by["txid"], by["vin"]) == (True, first, 0)
    assert by["status"]["block_height"] == 2
    assert get(built, f"/tx/{first}/outspends").json()[0] == {"spent": False}
    assert get(built, f"/tx/{spent['txid']}/outspends").json()[spent["vout"]] == by


def test_the_mempool(paid: Paid) -> None:
    built, _, second = paid
    entry = built.chain.mempool.entries[next(iter(built.chain.mempool.entries))]
    shown = get(built, "/mempool").json()
    assert (shown["count"], shown["vsize"], shown["total_fee"]) == (1, entry.vsize, entry.fee)
    assert shown["fee_histogram"][0][1] == entry.vsize
    assert get(built, "/mempool/txids").json() == [second]
    assert get(built, "/mempool/recent").json() == [{"txid": second, "fee": entry.fee, "vsize": entry.vsize}]
    assert get(built, "/fee-estimates").json()["1"] == 0.1


def test_assets() -> None:
    built = new_app()
    issued = dev(built, "asset", satoshi=500)
    shown = get(built, f"/asset/{issued['asset_id']}").json()
    assert shown["issuance_txin"] == {"txid": issued["txid"], "vin": 0}
    assert shown["status"] == {"confirmed": False}
    assert shown["mempool_stats"]["issued_amount"] == 500
    dev(built, "mine", blocks=1)
    shown = get(built, f"/asset/{issued['asset_id']}").json()
    stats = shown["chain_stats"]
    assert (stats["issuance_count"], stats["issued_amount"], stats["burned_amount"]) == (1, 500, 0)
    assert not stats["has_blinded_issuances"]
    policy = get(built, f"/asset/{asset_id_to_str(POLICY_ASSET)}").json()
    assert policy["chain_stats"]["issued_amount"] == 2_100_000_000_000_000


def test_burning_counts() -> None:
    built = new_app()
    issued = dev(built, "asset", satoshi=500)
    asset = asset_id_to_bytes(issued["asset_id"])
    entry = built.chain.entry(Txid(issued["txid"]))
    assert entry is not None
    vout = next(i for i, txout in enumerate(entry.tx.vout) if txout.explicit_asset == asset)
    amount = entry.tx.vout[vout].explicit_value or 0
    coin, money = free_coin(built.chain, 200)
    satoshi = money.explicit_value or 0
    burn = Transaction.of(
        2,
        0,
        [TxIn(OutPoint(entry.txid, vout)), TxIn(coin)],
        [
            TxOut.explicit(b"\x6a", asset, amount),
            TxOut.explicit(OP_TRUE, POLICY_ASSET, satoshi - 100),
            TxOut.fee(POLICY_ASSET, 100),
        ],
    )
    assert request(built, "POST", "/tx", content=str(burn)).status_code == 200
    shown = get(built, f"/asset/{issued['asset_id']}").json()
    assert (shown["mempool_stats"]["burned_amount"], shown["chain_stats"]["burned_amount"]) == (amount, 0)
    dev(built, "mine", blocks=1)
    shown = get(built, f"/asset/{issued['asset_id']}").json()
    assert (shown["mempool_stats"]["burned_amount"], shown["chain_stats"]["burned_amount"]) == (0, amount)
    assert shown["chain_stats"]["burned_reissuance_tokens"] == 0


# -- mistakes ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/", 404),
        ("/nothing", 404),
        ("/tx", 400),
        ("/tx/" + "0" * 64, 404),
        ("/tx/" + "0" * 63, 400),
        ("/tx/" + "g" * 64, 400),
        ("/tx/" + "0" * 64 + "/raw", 404),
        ("/block/" + "0" * 64, 404),
        ("/block/xyz/header", 400),
        ("/block-height/99", 404),
        ("/block-height/x", 400),
        ("/block-height/-1", 400),
        ("/block-height/" + "9" * 40, 400),
        ("/block-height/1/2", 404),
        ("/blocks/tip", 400),
        ("/blocks/x", 400),
        ("/address/nonsense", 400),
        ("/address/tex1qq2xvpcvfup5j8zscjq05u2wxxjcyewk7979f3m/txs", 400),
        (f"/address/{PLAIN}/nothing", 404),
        (f"/address/{PLAIN}/txs/nothing", 404),
        (f"/address/{PLAIN}/txs/mempool/{'0' * 64}", 404),
        (f"/address/{PLAIN}/txs/chain/zz", 400),
        ("/address", 404),
        ("/scripthash/00", 400),
        ("/asset/" + "0" * 64, 404),
        ("/asset/x", 400),
        ("/mempool/x", 404),
        ("/fee-estimates/1", 404),
        ("/v1/nothing", 404),
        ("/v1/unspent/x", 400),
        ("/v9/waterfalls?descriptor=x", 404),
        ("/dev", 404),
    ],
)
def test_bad_paths(paid: Paid, path: str, status: int) -> None:
    built, *_ = paid
    answer = request(built, "GET", path)
    assert answer.status_code == status
    assert answer.text


@pytest.mark.parametrize("rest", ["/outspend/9", "/outspend/x", "/nothing", "/outspend"])
def test_bad_paths_below_a_transaction(paid: Paid, rest: str) -> None:
    built, first, _ = paid
    assert request(built, "GET", f"/tx/{first}{rest}").status_code in (400, 404)


@pytest.mark.parametrize("rest", ["/txs/25", "/txid/9", "/nothing", "/txs/x", "/txs/1/2"])
def test_bad_paths_below_a_block(paid: Paid, rest: str) -> None:
    built, *_ = paid
    tip = get(built, "/blocks/tip/hash").text
    assert request(built, "GET", f"/block/{tip}{rest}").status_code in (400, 404)


def test_methods(paid: Paid) -> None:
    built, first, _ = paid
    assert request(built, "PUT", "/tx").status_code == 405
    assert request(built, "DELETE", f"/tx/{first}").status_code == 405
    assert request(built, "POST", "/nothing").status_code == 404
    head = request(built, "HEAD", f"/tx/{first}/raw")
    assert (head.status_code, head.content) == (200, b"")
    assert int(head.headers["content-length"]) > 1000


def test_browsers_may_read(paid: Paid) -> None:
    built, first, _ = paid
    for path in ("/blocks/tip/hash", f"/tx/{first}/raw", "/tx/zz", "/v1/server_recipient"):
        assert request(built, "GET", path).headers["access-control-allow-origin"] == "*"
    preflight = request(built, "OPTIONS", "/tx", headers={"origin": "https://example.com"})
    assert preflight.status_code == 204
    assert preflight.headers["access-control-allow-headers"] == "*"
    assert "POST" in preflight.headers["access-control-allow-methods"]


def test_an_answer_leaves_in_one_piece(paid: Paid) -> None:
    """One body message with its length announced, so that a server can write it at once."""
    sent: list[dict[str, Any]] = []

    async def send(message: Any) -> None:
        sent.append(message)

    asyncio.run(Reply(b"x" * 9000).send({"method": "GET"}, send))
    start, body = sent
    assert (b"content-length", b"9000") in start["headers"]
    assert body == {"type": "http.response.body", "body": b"x" * 9000}


def test_an_unexpected_failure_is_answered_and_logged(
    paid: Paid, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    built, *_ = paid

    def broken(*_: object) -> Reply:
        raise RuntimeError("a bug")

    monkeypatch.setitem(built.esplora._routes, "mempool", broken)
    answer = request(built, "GET", "/mempool")
    assert (answer.status_code, answer.text) == (500, "Internal Server Error")
    assert "request failed path=/mempool" in caplog.text
