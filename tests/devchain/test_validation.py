"""Verdicts on whole transactions: a node's on its own list, and ours rule by rule."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from amp0.devchain.blocks import OP_TRUE, POLICY_ASSET
from amp0.devchain.validation import (
    Coin,
    check_form,
    check_locks,
    check_standard,
    is_dust,
    minimum_fee,
    policy_fee,
    script_kind,
    verify,
)
from amp0.elements.script import p2pkh, p2sh, p2wpkh, p2wsh
from amp0.elements.transaction import COINBASE_INDEX, MAX_SATOSHI, OutPoint, Transaction, TxIn, TxOut
from amp0.errors import BroadcastRejected
from tests.devchain.kit import NODE

OTHER = b"\x77" * 32


def _spent(row: dict[str, Any]) -> list[TxOut]:
    return [
        TxOut(bytes.fromhex(coin["script"]), bytes.fromhex(coin["asset"]), bytes.fromhex(coin["value"]))
        for coin in row["spends"]
    ]


@pytest.mark.parametrize("row", NODE, ids=lambda row: row["name"].strip())
def test_the_verdict_is_the_nodes(row: dict[str, Any]) -> None:
    """69 transactions judged by Elements 23.3.4: allowed or not, and the start of the reason."""
    tx, spent = Transaction(row["tx"]), _spent(row)
    check_form(tx)
    check_standard(tx)
    assert policy_fee(tx) >= minimum_fee(tx)
    if row["allowed"]:
        verify(tx, spent)
        return
    with pytest.raises(BroadcastRejected) as caught:
        verify(tx, spent)
    assert caught.value.reason.startswith(row["reject_reason"])


ALLOWED = [row for row in NODE if row["allowed"]]


@pytest.mark.parametrize("row", ALLOWED, ids=lambda row: row["name"].strip())
def test_a_spent_output_of_another_value_is_refused(row: dict[str, Any]) -> None:
    tx, spent = Transaction(row["tx"]), _spent(row)
    field = TxOut.explicit(b"", POLICY_ASSET, 4242).value_field
    spent[0] = replace(spent[0], value_field=field)
    with pytest.raises(BroadcastRejected):
        verify(tx, spent)


# -- form --------------------------------------------------------------------------------------

IN = TxIn(OutPoint(b"\x01" * 32, 0))
OUT = TxOut.explicit(p2wpkh(bytes(20)), POLICY_ASSET, 10_000)
FEE = TxOut.fee(POLICY_ASSET, 100)


def _of(vin: list[TxIn] | None = None, vout: list[TxOut] | None = None, version: int = 2) -> Transaction:
    return Transaction.of(version, 0, [IN] if vin is None else vin, [OUT, FEE] if vout is None else vout)


@pytest.mark.parametrize(
    ("tx", "reason"),
    [
        (_of(vin=[]), "bad-txns-vin-empty"),
        (_of(vout=[]), "bad-txns-vout-empty"),
        (_of(vin=[IN, IN]), "bad-txns-inputs-duplicate"),
        (_of(vout=[replace(OUT, script=bytes(1_100_000))]), "bad-txns-oversize"),
        (_of(vout=[replace(OUT, value_field=b"")]), "bad-txns-vout-amount-invalid"),
        (_of(vout=[TxOut.explicit(OP_TRUE, OTHER, MAX_SATOSHI + 1)]), "bad-txns-vout-toolarge"),
        (_of(vout=[TxOut.explicit(OP_TRUE, OTHER, MAX_SATOSHI), FEE]), "bad-txns-txouttotal-toolarge"),
        (_of(vin=[IN, TxIn(OutPoint(bytes(32), COINBASE_INDEX))]), "bad-txns-prevout-null"),
        (_of(vin=[replace(IN, is_pegin=True)]), "pegins are not possible on this chain"),
        (_of(vin=[replace(IN, pegin_witness=(b"",))]), "pegins are not possible on this chain"),
        (_of(vout=[OUT, TxOut.fee(POLICY_ASSET, 0)]), "bad-txns-fee-outofrange"),
    ],
)
def test_form(tx: Transaction, reason: str) -> None:
    check_form(_of())
    with pytest.raises(BroadcastRejected) as caught:
        check_form(tx)
    assert caught.value.reason == reason


def _data(size: int) -> TxOut:
    return TxOut.explicit(b"\x6a" + (b"\x4c" if size > 75 else b"") + bytes((size,)) + bytes(size), OTHER, 5)


@pytest.mark.parametrize(
    ("tx", "reason"),
    [
        (_of(version=3), "version"),
        (_of(version=0), "version"),
        (_of(vout=[OUT] * 1600), "tx-size"),
        (_of(vin=[replace(IN, script_sig=b"\x00" * 1651)]), "scriptsig-size"),
        (_of(vin=[replace(IN, script_sig=b"\x75")]), "scriptsig-not-pushonly"),
        (_of(vout=[replace(OUT, script=b"\x75"), FEE]), "scriptpubkey"),
        (_of(vout=[_data(81), FEE]), "scriptpubkey"),
        (_of(vout=[replace(OUT, script=b"", value_field=b"\x08" + bytes(32)), FEE]), "scriptpubkey"),
        (_of(vout=[_data(4), _data(4), FEE]), "multi-op-return"),
        (_of(vout=[TxOut.explicit(p2wpkh(bytes(20)), POLICY_ASSET, 1), FEE]), "dust"),
    ],
)
def test_relay(tx: Transaction, reason: str) -> None:
    check_standard(_of())
    with pytest.raises(BroadcastRejected) as caught:
        check_standard(tx)
    assert caught.value.reason == reason


def test_data_of_eighty_bytes_and_a_tiny_asset_pass() -> None:
    check_standard(_of(vout=[_data(80), TxOut.explicit(p2wpkh(bytes(20)), OTHER, 1), FEE]))


def test_dust_counts_the_cost_of_spending() -> None:
    """0.1 satoshi (3 before Elements 23.3) for each byte of the output and of the input that spends it."""
    witness = TxOut.explicit(p2wpkh(bytes(20)), POLICY_ASSET, 0)
    edge = -(-(len(witness.serialize()) + 67) // 10)
    assert is_dust(TxOut.explicit(witness.script, POLICY_ASSET, edge - 1))
    assert not is_dust(TxOut.explicit(witness.script, POLICY_ASSET, edge))
    plain = TxOut.explicit(p2pkh(bytes(20)), POLICY_ASSET, (33 + 9 + 1 + 26 + 148) // 10)
    assert is_dust(plain)
    assert not is_dust(TxOut.explicit(b"\x6a", POLICY_ASSET, 1))


@pytest.mark.parametrize(
    ("script", "kind"),
    [
        (OP_TRUE, "op_true"),
        (p2pkh(bytes(20)), "p2pkh"),
        (p2sh(b""), "p2sh"),
        (p2wpkh(bytes(20)), "v0_p2wpkh"),
        (p2wsh(b""), "v0_p2wsh"),
        (b"\x51\x20" + bytes(32), "v1_p2tr"),
        (b"\x52\x02" + bytes(2), "unknown"),
        (b"\x6a", "op_return"),
        (b"\x21\x02" + bytes(32) + b"\xac", "p2pk"),
        (b"\x51\x21\x02" + bytes(32) + b"\x51\xae", "multisig"),
        (b"\x00\x15" + bytes(21), None),
        (b"\x6a\x75", None),
        (b"", None),
    ],
)
def test_kinds_of_scripts(script: bytes, kind: str | None) -> None:
    assert script_kind(script) == kind


def test_fees_are_rounded_up() -> None:
    """24 satoshi pass for 231 virtual bytes, 23 do not."""
    row = next(row for row in NODE if row["name"].strip().startswith("2of2 p2sh-p2wsh + p2wpkh"))
    tx = Transaction(row["tx"])
    size = tx.discount_vsize()
    assert minimum_fee(tx) == -(-size // 10)
    assert size < tx.vsize() / 4


def test_a_fee_in_another_asset_counts_for_nothing() -> None:
    assert policy_fee(_of(vout=[OUT, FEE, FEE, TxOut.fee(OTHER, 10**6)])) == 200


# -- time --------------------------------------------------------------------------------------


def _locks(tx: Transaction, coin: Coin, *, height: int = 200, median: int = 1_700_000_000) -> str | None:
    try:
        check_locks(tx, [coin], height, median, lambda h: 1_600_000_000 + 60 * h)
    except BroadcastRejected as refused:
        return refused.reason
    return None


def _locked(sequence: int, locktime: int = 0, version: int = 2) -> Transaction:
    return Transaction.of(version, locktime, [replace(IN, sequence_number=sequence)], [OUT, FEE])


OLD = Coin(OUT, 100)


def test_lock_times() -> None:
    assert _locks(_locked(0xFFFFFFFE, 200), OLD) == "non-final"
    assert _locks(_locked(0xFFFFFFFE, 199), OLD) is None
    assert _locks(_locked(0xFFFFFFFF, 200), OLD) is None
    assert _locks(_locked(0xFFFFFFFE, 1_700_000_000), OLD) == "non-final"
    assert _locks(_locked(0xFFFFFFFE, 1_699_999_999), OLD) is None


def test_relative_lock_times() -> None:
    assert _locks(_locked(100), OLD) is None
    assert _locks(_locked(101), OLD) == "non-BIP68-final"
    assert _locks(_locked(101, version=1), OLD) is None
    assert _locks(_locked(101 | 1 << 31), OLD) is None
    assert _locks(_locked(1), Coin(OUT, None)) == "non-BIP68-final"
    start = 1_600_000_000 + 60 * 99
    for units, median, reason in ((2, start + 1024, None), (2, start + 1023, "non-BIP68-final")):
        assert _locks(_locked(1 << 22 | units), OLD, median=median) == reason


def test_a_coinbase_ripens_for_a_hundred_blocks() -> None:
    coin = Coin(OUT, 100, coinbase=True)
    premature = "bad-txns-premature-spend-of-coinbase"
    assert _locks(_locked(0xFFFFFFFF), coin, height=199) == premature
    assert _locks(_locked(0xFFFFFFFF), coin, height=200) is None
