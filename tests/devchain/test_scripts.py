"""Every spend template: a node's verdicts, and each way a spend can be wrong."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from amp0.devchain.blocks import OP_TRUE, POLICY_ASSET
from amp0.devchain.scripts import parse_csv, parse_multisig, verify_scripts
from amp0.elements import wally
from amp0.elements.script import (
    csv_2of2_then_1,
    hash160,
    multisig_2of2,
    p2pkh,
    p2sh,
    p2wpkh,
    p2wsh,
    push,
    push_number,
)
from amp0.elements.sighash import SighashCache, sign
from amp0.elements.transaction import OutPoint, Transaction, TxIn, TxOut
from amp0.errors import BroadcastRejected

A, B = b"\x0a" * 32, b"\x0b" * 32
PA, PB = wally.public_key(A), wally.public_key(B)
MULTI = multisig_2of2(PA, PB)
DELAY = 144
CSV = csv_2of2_then_1(PA, PB, DELAY)
"""Service A, user B: B alone after the delay."""
CSV_OPTIMISED = b"\x21" + PB + b"\xad\x21" + PA + b"\xac\x73\x64" + push_number(DELAY) + b"\xb2\x68"
HASH_TYPES = [base | flag for base in (1, 2, 3) for flag in (0, 0x40, 0x80, 0xC0)]
ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141


def _tx(script_sig: bytes = b"", sequence: int = 0xFFFFFFFF, version: int = 2) -> Transaction:
    vin = [
        TxIn(OutPoint(b"\x01" * 32, 0), sequence_number=0),
        TxIn(OutPoint(b"\x02" * 32, 1), script_sig, sequence),
    ]
    vout = [TxOut.explicit(OP_TRUE, POLICY_ASSET, 1000), TxOut.explicit(OP_TRUE, POLICY_ASSET, 2000)]
    return Transaction.of(version, 0, vin, vout)


def _check(tx: Transaction, script: bytes) -> None:
    """Input 1 spends ``script``; input 0 is free."""
    verify_scripts(tx, [TxOut.explicit(OP_TRUE, POLICY_ASSET, 1500), TxOut.explicit(script, POLICY_ASSET, 1600)])


def _refused(tx: Transaction, script: bytes) -> str:
    with pytest.raises(BroadcastRejected) as caught:
        _check(tx, script)
    return caught.value.reason


VALUE = TxOut.explicit(b"", POLICY_ASSET, 1600).value_field


def _segwit(tx: Transaction, code: bytes, key: bytes, kind: int = 1) -> bytes:
    return sign(key, SighashCache(tx).segwit_v0(1, code, VALUE, kind), kind)


def _legacy(tx: Transaction, code: bytes, key: bytes, kind: int = 1) -> bytes:
    return sign(key, SighashCache(tx).legacy(1, code, kind), kind)


Spend = Callable[[int], tuple[Transaction, bytes]]


def _p2pkh(kind: int) -> tuple[Transaction, bytes]:
    script = p2pkh(hash160(PA))
    signature = _legacy(_tx(), script, A, kind)
    return _tx(push(signature) + push(PA)), script


def _p2wpkh(kind: int) -> tuple[Transaction, bytes]:
    tx = _tx()
    signature = _segwit(tx, p2pkh(hash160(PA)), A, kind)
    return tx.replace_input(1, witness=(signature, PA)), p2wpkh(hash160(PA))


def _p2sh_p2wpkh(kind: int) -> tuple[Transaction, bytes]:
    redeem = p2wpkh(hash160(PA))
    tx = _tx(push(redeem))
    signature = _segwit(tx, p2pkh(hash160(PA)), A, kind)
    return tx.replace_input(1, witness=(signature, PA)), p2sh(redeem)


def _p2wsh_multi(kind: int) -> tuple[Transaction, bytes]:
    tx = _tx()
    witness = (b"", _segwit(tx, MULTI, A, kind), _segwit(tx, MULTI, B, kind), MULTI)
    return tx.replace_input(1, witness=witness), p2wsh(MULTI)


def _p2sh_p2wsh_multi(kind: int) -> tuple[Transaction, bytes]:
    tx = _tx(push(p2wsh(MULTI)))
    witness = (b"", _segwit(tx, MULTI, A, kind), _segwit(tx, MULTI, B, kind), MULTI)
    return tx.replace_input(1, witness=witness), p2sh(p2wsh(MULTI))


def _p2sh_multi(kind: int) -> tuple[Transaction, bytes]:
    tx = _tx()
    signatures = push(_legacy(tx, MULTI, A, kind)) + push(_legacy(tx, MULTI, B, kind))
    return _tx(b"\x00" + signatures + push(MULTI)), p2sh(MULTI)


def _csv_both(kind: int) -> tuple[Transaction, bytes]:
    tx = _tx(push(p2wsh(CSV)))
    witness = (_segwit(tx, CSV, B, kind), _segwit(tx, CSV, A, kind), CSV)
    return tx.replace_input(1, witness=witness), p2sh(p2wsh(CSV))


def _csv_later(kind: int) -> tuple[Transaction, bytes]:
    tx = _tx(push(p2wsh(CSV)), DELAY)
    return tx.replace_input(1, witness=(_segwit(tx, CSV, B, kind), CSV)), p2sh(p2wsh(CSV))


def _csv_optimised_both(kind: int) -> tuple[Transaction, bytes]:
    tx = _tx()
    signatures = _segwit(tx, CSV_OPTIMISED, A, kind), _segwit(tx, CSV_OPTIMISED, B, kind)
    return tx.replace_input(1, witness=(*signatures, CSV_OPTIMISED)), p2wsh(CSV_OPTIMISED)


def _csv_optimised_later(kind: int) -> tuple[Transaction, bytes]:
    tx = _tx(sequence=DELAY + 5)
    witness = (b"", _segwit(tx, CSV_OPTIMISED, B, kind), CSV_OPTIMISED)
    return tx.replace_input(1, witness=witness), p2wsh(CSV_OPTIMISED)


SPENDS: dict[str, Spend] = {
    "p2pkh": _p2pkh,
    "p2wpkh": _p2wpkh,
    "p2sh-p2wpkh": _p2sh_p2wpkh,
    "p2wsh 2of2": _p2wsh_multi,
    "p2sh-p2wsh 2of2": _p2sh_p2wsh_multi,
    "p2sh 2of2": _p2sh_multi,
    "csv, both": _csv_both,
    "csv, later": _csv_later,
    "csv optimised, both": _csv_optimised_both,
    "csv optimised, later": _csv_optimised_later,
}
signed = pytest.mark.parametrize("spend", SPENDS.values(), ids=SPENDS)


@signed
@pytest.mark.parametrize("kind", HASH_TYPES, ids=hex)
def test_every_template_and_hash_type(spend: Spend, kind: int) -> None:
    _check(*spend(kind))


@signed
@pytest.mark.parametrize("kind", [0, 4, 0x20, 0x7F])
def test_an_undefined_hash_type_is_refused(spend: Spend, kind: int) -> None:
    assert "hash type" in _refused(*spend(kind))


@signed
def test_what_is_signed_cannot_change(spend: Spend) -> None:
    tx, script = spend(1)
    more = replace(tx.vout[0], value_field=TxOut.explicit(b"", POLICY_ASSET, 1001).value_field)
    altered = Transaction.of(tx.version, tx.locktime, tx.vin, (more, tx.vout[1]))
    assert "Signature must be zero" in _refused(altered, script)


@signed
def test_single_and_anyone_leave_the_rest_open(spend: Spend) -> None:
    tx, script = spend(0x83)
    other = replace(tx.vin[0], prevout=OutPoint(b"\x03" * 32, 7), sequence_number=5)
    more = TxOut.explicit(OP_TRUE, POLICY_ASSET, 5)
    _check(Transaction.of(tx.version, tx.locktime, (other, tx.vin[1]), (more, tx.vout[1], more)), script)
    with pytest.raises(BroadcastRejected):
        _check(Transaction.of(tx.version, tx.locktime, (other, tx.vin[1]), (tx.vout[0], more)), script)


def _replace_signature(tx: Transaction, change: Callable[[bytes], bytes]) -> Transaction:
    """Change every signature in the scriptSig or witness of input 1."""
    txin = tx.vin[1]
    if txin.witness:
        items = [change(item) if item[:1] == b"\x30" else item for item in txin.witness]
        return tx.replace_input(1, witness=tuple(items))
    script_sig, pos = b"", 0
    while pos < len(txin.script_sig):
        size = txin.script_sig[pos]
        item = txin.script_sig[pos + 1 : pos + 1 + size]
        script_sig += push(change(item)) if item[:1] == b"\x30" else txin.script_sig[pos : pos + 1 + size]
        pos += 1 + size
    return tx.replace_input(1, script_sig=script_sig)


def _high_s(signature: bytes) -> bytes:
    size = signature[3]
    r = signature[4 : 4 + size]
    s = int.from_bytes(signature[6 + size : -1], "big")
    high = (ORDER - s).to_bytes(33, "big").lstrip(b"\x00")
    high = b"\x00" + high if high[0] & 0x80 else high
    body = b"\x02" + bytes((len(r),)) + r + b"\x02" + bytes((len(high),)) + high
    return b"\x30" + bytes((len(body),)) + body + signature[-1:]


@signed
def test_a_high_s_is_refused(spend: Spend) -> None:
    tx, script = spend(1)
    assert "S value" in _refused(_replace_signature(tx, _high_s), script)


@signed
def test_a_padded_encoding_is_refused(spend: Spend) -> None:
    def padded(signature: bytes) -> bytes:
        r = signature[4 : 4 + signature[3]]
        rest = signature[4 + signature[3] : -1]
        body = b"\x02" + bytes((len(r) + 1,)) + b"\x00" + r + rest
        return b"\x30" + bytes((len(body),)) + body + signature[-1:]

    tx, script = spend(1)
    assert "DER" in _refused(_replace_signature(tx, padded), script)


@signed
def test_an_empty_signature_is_refused(spend: Spend) -> None:
    tx, script = spend(1)
    with pytest.raises(BroadcastRejected):
        _check(_replace_signature(tx, lambda _: b""), script)


@signed
def test_nothing_may_be_left_over(spend: Spend) -> None:
    tx, script = spend(1)
    txin = tx.vin[1]
    if txin.witness:
        altered = tx.replace_input(1, witness=(b"\x01", *txin.witness))
    else:
        altered = tx.replace_input(1, script_sig=b"\x51" + txin.script_sig)
    assert "mempool-script-verify-flag-failed" in _refused(altered, script)


@signed
def test_another_script_is_refused(spend: Spend) -> None:
    tx, script = spend(1)
    flipped = bytearray(script)
    flipped[5] ^= 1
    with pytest.raises(BroadcastRejected):
        _check(tx, bytes(flipped))


def test_the_keys_order_counts() -> None:
    tx, script = _p2wsh_multi(1)
    empty, first, second, witness_script = tx.vin[1].witness
    swapped = tx.replace_input(1, witness=(empty, second, first, witness_script))
    assert "Signature must be zero" in _refused(swapped, script)
    twice = tx.replace_input(1, witness=(empty, first, first, witness_script))
    assert "Signature must be zero" in _refused(twice, script)


def test_the_dummy_is_empty() -> None:
    tx, script = _p2wsh_multi(1)
    altered = tx.replace_input(1, witness=(b"\x00", *tx.vin[1].witness[1:]))
    assert "Dummy" in _refused(altered, script)


def test_two_of_three_signs_in_any_pair() -> None:
    third = b"\x0c" * 32
    script = b"\x52" + b"".join(push(key) for key in (PA, PB, wally.public_key(third))) + b"\x53\xae"
    for pair, fits in (((A, B), True), ((A, third), True), ((B, third), True), ((third, A), False)):
        tx = _tx()
        witness = (b"", *(_segwit(tx, script, key) for key in pair), script)
        spent = tx.replace_input(1, witness=witness)
        if fits:
            _check(spent, p2wsh(script))
        else:
            assert "Signature must be zero" in _refused(spent, p2wsh(script))


@pytest.mark.parametrize("later", [_csv_later, _csv_optimised_later])
@pytest.mark.parametrize(
    ("sequence", "version"),
    [(DELAY - 1, 2), (DELAY, 1), (DELAY | 1 << 31, 2), (DELAY | 1 << 22, 2), (0xFFFFFFFF, 2)],
)
def test_the_user_alone_has_to_wait(later: Spend, sequence: int, version: int) -> None:
    """Too early, a version without relative locks, no lock, a lock in seconds."""
    before, script = later(1)
    code = before.vin[1].witness[-1]
    tx = _tx(before.vin[1].script_sig, sequence, version)
    witness = (*before.vin[1].witness[:-2], _segwit(tx, code, B), code)
    assert "Locktime requirement" in _refused(tx.replace_input(1, witness=witness), script)


def test_the_service_cannot_spend_alone_later() -> None:
    tx = _tx(push(p2wsh(CSV)), DELAY)
    spent = tx.replace_input(1, witness=(_segwit(tx, CSV, A), CSV))
    assert "Signature must be zero" in _refused(spent, p2sh(p2wsh(CSV)))


# -- OP_TRUE, and what has no template ---------------------------------------------------------


def test_op_true_is_free_in_four_dresses() -> None:
    _check(_tx(), OP_TRUE)
    _check(_tx().replace_input(1, witness=(OP_TRUE,)), p2wsh(OP_TRUE))
    _check(_tx(push(p2wsh(OP_TRUE))).replace_input(1, witness=(OP_TRUE,)), p2sh(p2wsh(OP_TRUE)))
    _check(_tx(push(OP_TRUE)), p2sh(OP_TRUE))


@pytest.mark.parametrize(
    ("tx", "script", "reason"),
    [
        (_tx(b"\x51"), OP_TRUE, "Extra items"),
        (_tx().replace_input(1, witness=(b"",)), OP_TRUE, "Witness provided"),
        (_tx(), p2wsh(OP_TRUE), "empty witness"),
        (_tx(b"\x51").replace_input(1, witness=(OP_TRUE,)), p2wsh(OP_TRUE), "empty scriptSig"),
        (_tx().replace_input(1, witness=(b"\x52",)), p2wsh(OP_TRUE), "hash mismatch"),
        (_tx().replace_input(1, witness=(b"\x01", OP_TRUE)), p2wsh(OP_TRUE), "Extra items"),
        (_tx().replace_input(1, witness=(b"", PA, b"")), p2wpkh(hash160(PA)), "hash mismatch"),
        (_tx(), p2sh(OP_TRUE), "stack size"),
        (_tx(push(b"\x52")), p2sh(OP_TRUE), "false/empty"),
        (_tx(b"\x4c\x01\x51"), p2sh(OP_TRUE), "larger than necessary"),
        (_tx(b"\x51\x75"), p2pkh(hash160(PA)), "push operators"),
        (_tx(b"\x51"), p2pkh(hash160(PA)), "stack size"),
        (_tx(push(p2wsh(OP_TRUE)) * 2).replace_input(1, witness=(OP_TRUE,)), p2sh(p2wsh(OP_TRUE)), "only-redeem"),
        (_tx(push(OP_TRUE)).replace_input(1, witness=(OP_TRUE,)), p2sh(OP_TRUE), "Witness provided"),
        (_tx(), b"\x51\x20" + bytes(32), "nonstandard-inputs"),
        (_tx(), b"\x21" + PA + b"\xac", "nonstandard-inputs"),
        (_tx(), b"\x52", "nonstandard-inputs"),
        (_tx().replace_input(1, witness=(b"\x52",)), p2wsh(b"\x52"), "nonstandard-inputs"),
        (_tx(push(CSV)), p2sh(CSV), "nonstandard-inputs"),
        (_tx().replace_input(1, witness=(bytes(81), OP_TRUE)), p2wsh(OP_TRUE), "witness-nonstandard"),
    ],
)  # fmt: skip
def test_reasons(tx: Transaction, script: bytes, reason: str) -> None:
    assert reason in _refused(tx, script)


def test_an_uncompressed_key_is_not_known_here() -> None:
    """It is valid on a network; no wallet of ours makes one, so this chain says so."""
    key = b"\x04" + bytes(64)
    tx = _tx(push(b"\x30\x01") + push(key))
    assert "Public key" in _refused(tx, p2pkh(hash160(key)))


# -- shapes ------------------------------------------------------------------------------------


def test_the_lock_scripts_are_told_apart() -> None:
    older, optimised = parse_csv(CSV), parse_csv(CSV_OPTIMISED)
    assert older is not None
    assert optimised is not None
    assert (older.main, older.other, older.blocks, older.optimised) == (PB, PA, DELAY, False)
    assert (optimised.main, optimised.other, optimised.blocks, optimised.optimised) == (PB, PA, DELAY, True)
    assert parse_csv(csv_2of2_then_1(PA, PB, 16)) is not None
    assert parse_multisig(MULTI) == (2, [PA, PB])


@given(st.sampled_from([CSV, CSV_OPTIMISED, MULTI]), st.data())
@settings(deadline=None)
def test_a_cut_or_lengthened_script_has_no_template(script: bytes, data: st.DataObject) -> None:
    cut = data.draw(st.integers(0, len(script) - 1))
    tail = data.draw(st.binary(min_size=1, max_size=3))
    for other in (script[:cut], script + tail):
        assert parse_csv(other) is None
        assert parse_multisig(other) is None


@given(st.binary(max_size=200), st.lists(st.binary(max_size=90), max_size=5), st.binary(max_size=60))
@settings(deadline=None)
def test_noise_is_refused_or_free(script: bytes, witness: list[bytes], script_sig: bytes) -> None:
    tx = _tx(script_sig).replace_input(1, witness=tuple(witness))
    if script == OP_TRUE and not witness and not script_sig:
        return
    with pytest.raises(BroadcastRejected):
        _check(tx, script)
