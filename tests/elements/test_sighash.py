"""Signature hashes against wallycore, over every node vector and every hash type."""

from __future__ import annotations

import pytest
import wallycore

from amp0.elements import sighash, wally
from amp0.elements.sighash import SighashCache
from amp0.elements.transaction import Transaction
from amp0.errors import InvalidInput, InvalidKey
from tests.vectors import load

NODE = load("liquidregtest-transactions.json")["transactions"]
KINDS = [base | flags for base in (1, 2, 3) for flags in (0, 0x40, 0x80, 0xC0)]


@pytest.mark.parametrize("row", NODE[::4], ids=lambda row: row["name"].strip())
def test_segwit_hashes_agree_with_wallycore(row: dict[str, list[dict[str, str]]]) -> None:
    tx, theirs = Transaction(row["tx"]), wallycore.tx_from_hex(row["tx"], 3)  # type: ignore[arg-type]
    cache = SighashCache(tx)
    for i, spent in enumerate(row["spends"]):
        value = bytes.fromhex(spent["value"])
        for kind in KINDS:
            expected = wallycore.tx_get_elements_signature_hash(theirs, i, b"\x51\x52", value, kind, 1)
            assert cache.segwit_v0(i, b"\x51\x52", value, kind) == bytes(expected), hex(kind)


@pytest.mark.parametrize("row", NODE[::4], ids=lambda row: row["name"].strip())
def test_legacy_hashes_agree_with_wallycore(row: dict[str, list[dict[str, str]]]) -> None:
    """Wallycore refuses 0x40 here, and blanks the outputs before a SINGLE one as Bitcoin does;
    Elements writes them as four zero bytes, so SINGLE is compared on the first input only."""
    tx, theirs = Transaction(row["tx"]), wallycore.tx_from_hex(row["tx"], 3)  # type: ignore[arg-type]
    cache = SighashCache(tx)
    for i, spent in enumerate(row["spends"]):
        for kind in KINDS:
            if kind & 0x40 or (kind & 3 == 3 and i):
                continue
            value = bytes.fromhex(spent["value"])
            expected = wallycore.tx_get_elements_signature_hash(theirs, i, b"\x51", value, kind, 0)
            assert cache.legacy(i, b"\x51", kind) == bytes(expected), hex(kind)


def test_an_input_that_is_not_there_is_refused() -> None:
    cache = SighashCache(Transaction(NODE[0]["tx"]))
    with pytest.raises(InvalidInput):
        cache.segwit_v0(99, b"", bytes(9))
    with pytest.raises(InvalidInput):
        cache.legacy(99, b"")


def test_defined_hash_types() -> None:
    assert all(sighash.is_defined_sighash(kind) for kind in KINDS)
    assert not any(sighash.is_defined_sighash(kind) for kind in (0, 4, 0x20, 0x41 | 0x20, 0xFF))


def test_g11_signatures_are_deterministic_and_never_share_a_nonce() -> None:
    """Equal messages give equal signatures; different ones never the same r (RFC 6979)."""
    key = b"\x11" * 32
    seen: dict[bytes, bytes] = {}
    for n in range(200):
        digest = n.to_bytes(32, "big")
        der = wally.ecdsa_sign(key, digest)
        assert der == wally.ecdsa_sign(key, digest)
        r = der[4 : 4 + der[3]]
        assert r not in seen, "two messages shared a nonce"
        seen[r] = digest


def test_only_strict_low_s_signatures_verify() -> None:
    key, digest = b"\x11" * 32, b"\x22" * 32
    pubkey = wally.public_key(key)
    der = wally.ecdsa_sign(key, digest)
    assert sighash.verify(pubkey, digest, der)
    assert not sighash.verify(pubkey, b"\x23" * 32, der)
    assert not sighash.verify(wally.public_key(b"\x12" * 32), digest, der)
    order = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
    compact = bytes(wallycore.ec_sig_from_der(der))
    high_s = compact[:32] + (order - int.from_bytes(compact[32:], "big")).to_bytes(32, "big")
    assert not sighash.verify(pubkey, digest, bytes(wallycore.ec_sig_to_der(high_s)))
    padded = b"\x30" + bytes((der[1] + 1, 2, der[3] + 1, 0)) + der[4:]
    for bad in (b"", der[:-1], der + b"\x00", padded, bytes(72)):
        assert not sighash.verify(pubkey, digest, bad)
    with pytest.raises(InvalidKey):
        wally.ecdsa_sign(bytes(32), digest)
