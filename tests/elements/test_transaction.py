"""The transaction codec: byte for byte, strict, and never anything but its own error."""

from __future__ import annotations

import contextlib
import pickle

import pytest
import wallycore
from hypothesis import given, settings
from hypothesis import strategies as st

from amp0.elements.hashes import Txid
from amp0.elements.transaction import (
    Issuance,
    OutPoint,
    Reader,
    Transaction,
    TxIn,
    TxOut,
    compact_size,
)
from amp0.errors import InvalidInput, InvalidTransaction
from tests.vectors import load

NODE = load("liquidregtest-transactions.json")["transactions"]
SPENDS = load("lwk-0.19.json")["spends"]["cases"]
ALL_HEX = sorted({row["tx"] for row in NODE} | {case["cosigned_tx"] for case in SPENDS}, key=len)


@pytest.mark.parametrize("row", NODE, ids=lambda row: row["name"].strip())
def test_a_nodes_transactions_round_trip_and_keep_their_ids(row: dict[str, str]) -> None:
    tx = Transaction(row["tx"])
    assert str(tx.txid()) == row["txid"]
    rebuilt = Transaction.of(tx.version, tx.locktime, tx.vin, tx.vout)
    assert rebuilt.to_bytes().hex() == row["tx"]
    assert rebuilt == tx
    assert hash(rebuilt) == hash(tx)


@pytest.mark.parametrize("text", ALL_HEX[::7])
def test_sizes_agree_with_wallycore(text: str) -> None:
    tx, theirs = Transaction(text), wallycore.tx_from_hex(text, 3)
    weight = wallycore.tx_get_weight(theirs)
    assert tx.weight() == weight
    assert tx.discount_weight() == weight - wallycore.tx_get_elements_weight_discount(theirs, 0)
    assert tx.vsize() == wallycore.tx_get_vsize(theirs)


def test_the_five_spends_of_lwk_have_its_sizes_fees_and_ids() -> None:
    for case in SPENDS:
        tx = Transaction(case["cosigned_tx"])
        assert str(tx.txid()) == case["txid"]
        assert tx.fee() == case["fee"]
        assert tx.discount_vsize() == case["discount_vsize"]


def test_every_truncation_is_refused() -> None:
    raw = bytes.fromhex(ALL_HEX[0])
    for cut in range(len(raw)):
        with pytest.raises(InvalidTransaction):
            Transaction.from_bytes(raw[:cut])


def test_bytes_behind_the_transaction_are_refused() -> None:
    with pytest.raises(InvalidTransaction, match="follow"):
        Transaction.from_bytes(bytes.fromhex(ALL_HEX[0]) + b"\x00")


def test_a_reader_leaves_what_follows_alone() -> None:
    raw = bytes.fromhex(ALL_HEX[0])
    reader = Reader(raw + b"tail")
    assert Transaction.read(reader).to_bytes() == raw
    assert reader.take(reader.remaining) == b"tail"


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(ALL_HEX[::9]), st.data())
def test_flipped_bytes_are_refused_or_round_trip(text: str, data: st.DataObject) -> None:
    raw = bytearray.fromhex(text)
    for _ in range(data.draw(st.integers(1, 3))):
        raw[data.draw(st.integers(0, min(len(raw) - 1, 400)))] ^= data.draw(st.integers(1, 255))
    try:
        tx = Transaction.from_bytes(bytes(raw))
    except InvalidTransaction:
        return
    assert Transaction.of(tx.version, tx.locktime, tx.vin, tx.vout).to_bytes() == bytes(raw)


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=200))
def test_arbitrary_bytes_never_crash_the_parser(raw: bytes) -> None:
    with contextlib.suppress(InvalidTransaction):
        Transaction.from_bytes(raw)


@given(st.integers(0, 2**64 - 1))
def test_compact_sizes_round_trip(n: int) -> None:
    assert Reader(compact_size(n)).compact_size() == n


@pytest.mark.parametrize("long_form", ["fd0000", "fdfc00", "fe00000000", "feffff0000", "ffffffffff00000000"])
def test_sizes_not_in_their_shortest_form_are_refused(long_form: str) -> None:
    with pytest.raises(InvalidTransaction, match="shortest"):
        Reader(bytes.fromhex(long_form)).compact_size()


def test_counts_are_bounded_by_what_is_left() -> None:
    """A header that announces 2^40 inputs must not make the parser allocate or loop."""
    raw = bytes.fromhex("0200000000") + compact_size(2**40)
    with pytest.raises(InvalidTransaction, match="announced"):
        Transaction.from_bytes(raw)


def test_a_witness_flag_without_a_witness_is_refused() -> None:
    tx = Transaction.of(2, 0, [TxIn(OutPoint(bytes(32), 0))], [TxOut.fee(bytes(32), 1)])
    raw = tx.to_bytes()
    with_flag = raw[:4] + b"\x01" + raw[5:] + b"\x00" * 4 + b"\x00" * 2
    with pytest.raises(InvalidTransaction, match="no witness"):
        Transaction.from_bytes(with_flag)


def test_issuances_and_pegins_survive() -> None:
    issuance = Issuance(bytes(32), b"\x05" * 32, b"\x01" + (7).to_bytes(8, "big"), b"")
    txin = TxIn(OutPoint(b"\x09" * 32, 3), b"\x51", 5, issuance, True, (b"", b"a"), (b"peg",))
    tx = Transaction.of(2, 9, [txin], [TxOut.explicit(b"\x51", b"\x02" * 32, 7)])
    again = Transaction.from_bytes(tx.to_bytes())
    assert again.vin == (txin,)
    assert again.vin[0].issuance == issuance
    assert again.locktime == 9


def test_outpoints_read_and_print_as_lwk_does() -> None:
    txid = "11" * 31 + "22"
    out = OutPoint(f"[elements]{txid}:7")
    assert out == OutPoint(f"{txid}:7") == OutPoint.from_parts(Txid(txid), 7)
    assert str(out) == f"[elements]{txid}:7"
    assert (str(out.txid()), out.vout()) == (txid, 7)
    assert out.serialize() == bytes.fromhex(txid)[::-1] + b"\x07\x00\x00\x00"
    assert pickle.loads(pickle.dumps(out)) == out


@pytest.mark.parametrize(
    "text",
    [
        "",
        "aa",
        "aa:1",
        "11" * 32,
        "11" * 32 + ":",
        "11" * 32 + ":-1",
        "11" * 32 + ":01",
        "11" * 32 + ":4294967296",
        "zz" * 32 + ":1",
    ],
)
def test_malformed_outpoints_are_refused(text: str) -> None:
    with pytest.raises(InvalidInput):
        OutPoint(text)


def test_a_transaction_does_not_change() -> None:
    tx = Transaction(ALL_HEX[0])
    with pytest.raises(AttributeError):
        tx.locktime = 5
    changed = tx.replace_input(0, script_sig=b"\x51")
    assert changed.vin[0].script_sig == b"\x51"
    assert changed.txid() != tx.txid()
    assert tx.to_bytes().hex() == ALL_HEX[0]


def test_hex_that_is_no_hex_is_a_transaction_error() -> None:
    with pytest.raises(InvalidTransaction):
        Transaction("xx")
