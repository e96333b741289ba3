"""The node's calls that make a transaction in pieces, and those that say what waits and what is unspent."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from amp0.elements.hashes import asset_id_to_str
from amp0.elements.transaction import Transaction, TxIn
from tests.devchain.kit import free_coin, spend
from tests.devchain.test_node_face import HIDDEN, PLAIN, Peer


@pytest.fixture(scope="module")
def node() -> Peer:
    return Peer(seed=b"raw")


def _coin(node: Peer, asset: str | None = None) -> dict[str, Any]:
    found: dict[str, Any] = next(one for one in node("listunspent") if asset in (None, one["asset"]))
    return found


def _pieces(node: Peer, *outputs: dict[str, Any]) -> str:
    """One coin of the wallet into these outputs, a fee, and change, not yet blinded."""
    coin = _coin(node)
    left = coin["amount"] - Decimal("0.0001") - sum(Decimal(str(next(iter(one.values())))) for one in outputs)
    rest = [{node("getnewaddress"): f"{left:.8f}"}, {"fee": 0.0001}]
    inputs = [{"txid": coin["txid"], "vout": coin["vout"]}]
    raw = node("createrawtransaction", inputs, [*outputs, *rest])
    assert isinstance(raw, str)
    return raw


def test_made_blinded_signed_and_sent(node: Peer) -> None:
    raw = _pieces(node, {HIDDEN: 1}, {PLAIN: 2})
    shown = node("decoderawtransaction", raw)
    assert [out.get("value") for out in shown["vout"][:2]] == [1, 2]
    blinded = node("blindrawtransaction", raw)
    assert [out.get("value") for out in node("decoderawtransaction", blinded)["vout"][:2]] == [None, 2]
    signed = node("signrawtransactionwithwallet", blinded)
    assert signed["complete"] is True
    txid = node("sendrawtransaction", signed["hex"])
    waiting = node("getmempoolentry", txid)
    assert waiting["fees"]["base"] == Decimal("0.0001")
    assert waiting["vsize"] == Transaction(signed["hex"]).vsize()
    assert node("getmempoolinfo")["size"] == 1
    spent = Transaction(raw).vin[0].prevout
    place = (str(spent.hash), spent.vout())
    assert node("gettxout", *place) is None
    assert node("gettxout", *place, False)["confirmations"] == 1
    assert node("gettxout", txid, 1)["value"] == 2
    node.mine()
    assert node("gettxout", *place, False) is None
    assert node("gettxout", txid, 1)["confirmations"] == 1
    assert node("getmempoolinfo")["size"] == 0
    assert node.refused("getmempoolentry", txid) == (-5, "Transaction not in mempool")


def test_an_asset_moves_and_burns_in_pieces(node: Peer) -> None:
    asset = node("issueasset", 5, 0, False)["asset"]
    node.mine()
    held, coin = _coin(node, asset), _coin(node)
    left = f"{coin['amount'] - Decimal('0.0001'):.8f}"
    outputs = [{HIDDEN: 2, "asset": asset}, {"burn": 1, "asset": asset}, {node("getnewaddress"): 2, "asset": asset}]
    outputs += [{node("getnewaddress"): left}, {"fee": 0.0001}]
    inputs = [{"txid": one["txid"], "vout": one["vout"]} for one in (held, coin)]
    raw = node("blindrawtransaction", node("createrawtransaction", inputs, outputs))
    signed = node("signrawtransactionwithwallet", raw)["hex"]
    assert node.refused("sendrawtransaction", signed)[0] == -25  # a burn has to be meant
    node("sendrawtransaction", signed, 0, 1)
    node.mine()
    assert node("getbalance", "*", 1, False, False, asset) == 2


def test_what_does_not_balance_is_not_blinded(node: Peer) -> None:
    coin = _coin(node)
    inputs = [{"txid": coin["txid"], "vout": coin["vout"]}]
    code, message = node.refused(
        "blindrawtransaction", node("createrawtransaction", inputs, [{HIDDEN: 1}, {"fee": 0.0001}])
    )
    assert code == -4
    assert message.startswith("Unable to blind transaction: inputs and outputs of asset")
    done = node("blindrawtransaction", _pieces(node, {HIDDEN: 1}))
    assert node.refused("blindrawtransaction", done)[0] == -4
    unknown = node("createrawtransaction", [{"txid": "11" * 32, "vout": 0}], [{HIDDEN: 1}])
    assert node.refused("blindrawtransaction", unknown)[0] == -8
    assert node.refused("blindrawtransaction", "00") == (-22, "TX decode failed")


def test_what_is_not_the_wallets_is_not_signed(node: Peer) -> None:
    """Nor is a transaction said to be complete that would not be taken."""
    raw = _pieces(node, {PLAIN: 1})
    other = Peer(built=node.built, seed=b"other")
    refused = other("signrawtransactionwithwallet", raw)
    assert refused["complete"] is False
    assert [one["error"] for one in refused["errors"]] == [
        "Unable to sign input, invalid stack size (possibly missing key)"
    ]
    assert refused["hex"] == raw
    signed = node("signrawtransactionwithwallet", raw)["hex"]
    assert other("signrawtransactionwithwallet", signed)["complete"] is True
    changed = Transaction(signed)
    broken = Transaction.of(2, 1, changed.vin, changed.vout)
    assert other("signrawtransactionwithwallet", str(broken))["complete"] is False
    assert node("signrawtransactionwithwallet", str(broken))["complete"] is True
    missing = node("createrawtransaction", [{"txid": "11" * 32, "vout": 0}], [])
    (error,) = node("signrawtransactionwithwallet", missing)["errors"]
    assert error["error"] == "Input not found or already spent"
    assert node.refused("signrawtransactionwithwallet", raw, [], "NONE")[0] == -8
    assert node.refused("signrawtransactionwithwallet", "00")[0] == -22


def test_together_with_somebody_elses_input(node: Peer) -> None:
    """A coin that anybody may spend, beside one of the wallet's: each is signed as it has to be."""
    coin = free_coin(node.built.chain, 7)
    raw = _pieces(node, {PLAIN: 1})
    open_part = spend([coin])
    base = Transaction(raw)
    both = Transaction.of(2, 0, [*base.vin, TxIn(coin[0])], [*base.vout, *open_part.vout])
    signed = node("signrawtransactionwithwallet", str(both))
    assert [len(txin.witness) for txin in Transaction(signed["hex"]).vin] == [2, 0]
    assert signed["complete"] is True


MISTAKES: list[tuple[list[Any], int]] = [
    ([[], {}], -3),
    ([[{"txid": "11" * 32, "vout": 2**30}], []], -8),
    ([[{"txid": "11" * 32, "vout": True}], []], -3),
    ([[{"txid": "11" * 32, "vout": 0, "pegin_bitcoin_tx": "00"}], []], -8),
    ([[], [{PLAIN: 1, HIDDEN: 1}]], -8),
    ([[], [{PLAIN: 1.123456789}]], -3),
    ([[], [{"x": 1}]], -5),
    ([[], [{PLAIN: 1, "asset": "zz"}]], -8),
    ([[], [{"asset": "11" * 32}]], -8),
    ([[], [], -1], -8),
]


@pytest.mark.parametrize(("arguments", "code"), MISTAKES)
def test_mistakes_in_pieces(node: Peer, arguments: list[Any], code: int) -> None:
    assert node.refused("createrawtransaction", *arguments)[0] == code


def test_small_things_that_tools_ask(node: Peer) -> None:
    policy = node("dumpassetlabels")["bitcoin"]
    assert policy == asset_id_to_str(node.built.chain.block_at(1).block.transactions[1].vout[0].asset_field[1:])  # type: ignore[union-attr]
    assert node("getsidechaininfo")["pegged_asset"] == policy
    assert node("getindexinfo", "txindex")["txindex"]["synced"] is True
    assert "feerate" not in node("estimatesmartfee", 2)
    assert node.refused("fundrawtransaction", "00")[0] == -32601
