"""Blinding, opening and the amount rule."""

from __future__ import annotations

import secrets
from dataclasses import replace

import pytest

from amp0.elements import confidential, wally
from amp0.elements.confidential import DomainEntry, Opening, PlainOutput, blind, unblind, unblind_with_nonce
from amp0.elements.transaction import (
    MAX_SATOSHI,
    Issuance,
    OutPoint,
    Transaction,
    TxIn,
    TxOut,
    explicit_value_field,
)
from amp0.errors import InvalidAmounts, InvalidInput, UnblindError
from tests.vectors import load

NODE = load("liquidregtest-transactions.json")["transactions"]
ASSET, OTHER = b"\xaa" * 32, b"\xbb" * 32
KEY = b"\x07" * 32
PUB = wally.public_key(KEY)
SCRIPT = bytes.fromhex("0014" + "11" * 20)


def spent(satoshi: int = 100_000, asset: bytes = ASSET) -> tuple[TxOut, DomainEntry]:
    """An explicit output to spend and its place in the surjection domain."""
    txout = TxOut.explicit(b"\x51", asset, satoshi)
    return txout, DomainEntry.of_output(txout, Opening(asset, satoshi))


def transaction(outputs: list[TxOut], inputs: int = 1) -> Transaction:
    """A transaction that spends made-up outpoints."""
    return Transaction.of(2, 0, [TxIn(OutPoint(bytes(32), i)) for i in range(inputs)], outputs)


def blinded_pair() -> tuple[TxOut, list[confidential.BlindedOutput], Transaction]:
    """One explicit coin paid to two blinded outputs and a fee."""
    source, entry = spent()
    outputs = blind(
        [entry],
        [
            PlainOutput(SCRIPT, ASSET, 60_000, PUB),
            PlainOutput(b"\x52", ASSET, 39_950, PUB),
            PlainOutput(b"", ASSET, 50),
        ],
    )
    return source, outputs, transaction([output.txout for output in outputs])


@pytest.mark.parametrize("row", NODE, ids=lambda row: row["name"].strip())
def test_the_amount_rule_gives_the_nodes_verdict(row: dict[str, object]) -> None:
    tx = Transaction(str(row["tx"]))
    prevouts = [
        TxOut(bytes.fromhex(s["script"]), bytes.fromhex(s["asset"]), bytes.fromhex(s["value"]))
        for s in row["spends"]  # type: ignore[attr-defined]
    ]
    if row["reject_reason"] == "bad-txns-in-ne-out":
        with pytest.raises(InvalidAmounts):
            confidential.verify_amounts(tx, prevouts)
    else:
        confidential.verify_amounts(tx, prevouts)


def test_what_is_blinded_balances_opens_and_verifies() -> None:
    source, outputs, tx = blinded_pair()
    confidential.verify_amounts(tx, [source])
    for output in outputs[:2]:
        assert output.txout.is_blinded
        assert len(output.txout.range_proof) == 4174
        assert unblind(output.txout, KEY) == output.opening
        assert unblind_with_nonce(output.txout, output.nonce) == output.opening
        assert output.nonce == confidential.blinding_nonce(output.txout.nonce_field, KEY)
        assert wally.explicit_value_proof_verify(
            output.value_proof, output.opening.satoshi, output.txout.value_field, output.txout.asset_field
        )
        assert wally.explicit_asset_proof_verify(output.asset_proof, ASSET, output.txout.asset_field)
    assert outputs[2].txout.is_fee()
    assert outputs[2].nonce == b""


def test_a_blinded_coin_spends_to_one_blinded_output() -> None:
    _, outputs, first = blinded_pair()
    entry = DomainEntry.of_output(first.vout[0], outputs[0].opening)
    made = blind([entry], [PlainOutput(SCRIPT, ASSET, 59_900, PUB), PlainOutput(b"", ASSET, 100)])
    confidential.verify_amounts(transaction([m.txout for m in made]), [first.vout[0]])


def test_e13_every_build_draws_fresh_randomness() -> None:
    """Two builds of the same payment share no factor, ephemeral key or proof."""
    first, second = blinded_pair()[1], blinded_pair()[1]
    values = [
        {o.opening.abf for o in outs[:2]} | {o.opening.vbf for o in outs[:2]} | {o.txout.nonce_field for o in outs[:2]}
        for outs in (first, second)
    ]
    assert len(values[0]) == 6
    assert not values[0] & values[1]


def test_e13_a_broken_random_source_fails_loudly() -> None:
    _, entry = spent()
    with pytest.raises(InvalidInput, match="random"):
        blind([entry], [PlainOutput(SCRIPT, ASSET, 100_000, PUB)], random=lambda n: bytes(n))


def test_e10_nothing_falls_back_to_explicit_amounts() -> None:
    """A blinded input with only explicit outputs cannot balance: refused, not unblinded."""
    _, outputs, first = blinded_pair()
    entry = DomainEntry.of_output(first.vout[0], outputs[0].opening)
    with pytest.raises(InvalidAmounts, match="at least one blinded output"):
        blind([entry], [PlainOutput(SCRIPT, ASSET, 59_900), PlainOutput(b"", ASSET, 100)])


def test_amounts_must_balance_before_anything_is_made() -> None:
    _, entry = spent()
    with pytest.raises(InvalidAmounts, match="differ by 1 satoshi"):
        blind([entry], [PlainOutput(SCRIPT, ASSET, 99_999, PUB)])
    with pytest.raises(InvalidAmounts, match="differ"):
        blind([entry], [PlainOutput(SCRIPT, OTHER, 100_000, PUB)])
    for satoshi in (-1, MAX_SATOSHI + 1):
        with pytest.raises(InvalidAmounts):
            blind([entry], [PlainOutput(SCRIPT, ASSET, satoshi, PUB)])
    with pytest.raises(InvalidAmounts, match="hold nothing"):
        blind([entry], [PlainOutput(SCRIPT, ASSET, 0, PUB), PlainOutput(SCRIPT, ASSET, 100_000, PUB)])


def test_more_inputs_than_a_surjection_proof_reaches_are_refused() -> None:
    _, entry = spent(1)
    with pytest.raises(InvalidAmounts, match="256"):
        blind([entry] * 257, [PlainOutput(SCRIPT, ASSET, 257, PUB)])


def test_a_lone_matching_input_among_many_is_found() -> None:
    """A surjection proof tries three entries at random; with one match in 120 it needs retries."""
    needle, others = spent(1_000), [spent(1, OTHER)[1] for _ in range(119)]
    made = blind(
        [*others, needle[1]],
        [PlainOutput(SCRIPT, ASSET, 1_000, PUB), PlainOutput(SCRIPT, OTHER, 119, PUB)],
    )
    domain = [wally.generator_from_field(e.generator) for e in [*others, needle[1]]]
    generator = wally.generator_from_field(made[0].txout.asset_field)
    assert wally.surjectionproof_verify(made[0].txout.surjection_proof, domain, generator)


def test_a_blinding_key_that_is_no_point_is_refused() -> None:
    _, entry = spent()
    with pytest.raises(InvalidInput, match="public key"):
        blind([entry], [PlainOutput(SCRIPT, ASSET, 100_000, b"\x02" + b"\xff" * 32)])


def test_large_amounts_get_the_bits_they_need() -> None:
    source, entry = spent(2**50 + 5)
    made = blind([entry], [PlainOutput(SCRIPT, ASSET, 2**50, PUB), PlainOutput(SCRIPT, ASSET, 5, PUB)])
    assert unblind(made[0].txout, KEY).satoshi == 2**50
    confidential.verify_amounts(transaction([m.txout for m in made]), [source])


@pytest.mark.parametrize("field", ["script", "asset_field", "value_field", "range_proof", "nonce_field"])
def test_a_changed_output_does_not_open(field: str) -> None:
    _, outputs, _ = blinded_pair()
    good = outputs[0].txout
    value = bytearray(getattr(good, field))
    value[len(value) // 2] ^= 1
    bad = replace(good, **{field: bytes(value)})
    with pytest.raises(UnblindError):
        unblind(bad, KEY)


def test_wrong_keys_and_nonces_do_not_open() -> None:
    _, outputs, _ = blinded_pair()
    with pytest.raises(UnblindError):
        unblind(outputs[0].txout, b"\x08" * 32)
    with pytest.raises(UnblindError):
        unblind_with_nonce(outputs[0].txout, outputs[1].nonce)
    for nonce in (b"", bytes(31), bytes(33)):
        with pytest.raises(UnblindError):
            unblind_with_nonce(outputs[0].txout, nonce)
    with pytest.raises(UnblindError, match="not fully blinded"):
        unblind_with_nonce(outputs[2].txout, outputs[0].nonce)


def test_explicit_outputs_open_by_themselves() -> None:
    assert unblind(TxOut.explicit(SCRIPT, ASSET, 5), KEY) == Opening(ASSET, 5)
    half = TxOut(SCRIPT, b"\x01" + ASSET, b"\x08" + bytes(32))
    with pytest.raises(UnblindError):
        unblind(half, KEY)


def test_e08_zero_factors_count_as_no_blinding() -> None:
    _, outputs, _ = blinded_pair()
    opening = outputs[0].opening
    assert confidential.opens(outputs[0].txout, opening)
    assert not confidential.opens(outputs[0].txout, replace(opening, abf=bytes(32)))
    assert not confidential.opens(outputs[0].txout, replace(opening, vbf=bytes(32)))


def test_unblind_many_keeps_order_and_reports_failures_in_place() -> None:
    _, outputs, _ = blinded_pair()
    first, second = outputs[0], outputs[1]
    results = confidential.unblind_many([(first.txout, KEY), (second.txout, b"\x09" * 32), (second.txout, KEY)])
    assert results[0] == first.opening
    assert isinstance(results[1], UnblindError)
    assert results[2] == second.opening
    assert confidential.unblind_many([]) == []


@pytest.mark.parametrize("where", [0, 1])
@pytest.mark.parametrize("field", ["asset_field", "value_field", "range_proof", "surjection_proof", "script"])
def test_e05_e06_tampered_outputs_do_not_verify(where: int, field: str) -> None:
    source, _, tx = blinded_pair()
    value = bytearray(getattr(tx.vout[where], field) or b"\x01")
    value[-1] ^= 1
    outputs = list(tx.vout)
    outputs[where] = replace(outputs[where], **{field: bytes(value)})
    with pytest.raises(InvalidAmounts):
        confidential.verify_amounts(transaction(outputs), [source])


def test_e06_missing_or_foreign_surjection_proofs_do_not_verify() -> None:
    source, _, tx = blinded_pair()
    missing = [replace(tx.vout[0], surjection_proof=b""), *tx.vout[1:]]
    with pytest.raises(InvalidAmounts, match="surjection"):
        confidential.verify_amounts(transaction(missing), [source])
    with pytest.raises(InvalidAmounts):
        confidential.verify_amounts(tx, [TxOut.explicit(b"\x51", OTHER, 100_000)])


def test_a_proof_that_allows_nothing_is_none() -> None:
    """A node refuses a spendable output whose range proof allows 0 (of a reissuance token, it would be one more). We
    did not look: such a transaction was cosigned, and no node ever took it."""
    source, _ = spent()
    abf, nonce, satoshi = b"\x0a" * 32, b"\x0c" * 32, 99_900
    for script, least, holds in ((SCRIPT, 0, False), (SCRIPT, 1, True), (b"\x6a", 0, True)):
        vbf = wally.final_vbf([100_000, satoshi], 1, bytes(32) + abf, bytes(32))
        generator = wally.asset_generator(ASSET, abf)
        commitment = wally.value_commitment(satoshi, vbf, generator)
        proof = wally.rangeproof(satoshi, nonce, ASSET, abf, vbf, commitment, script, generator, minimum=least)
        tags = wally.asset_generator(ASSET, None)
        surjection = wally.surjectionproof(ASSET, abf, generator, bytes(32), ASSET, bytes(32), tags)
        assert surjection is not None
        hidden = TxOut(script, generator, commitment, PUB, surjection, proof)
        tx = transaction([hidden, TxOut.fee(ASSET, 100_000 - satoshi)])
        for skipped in (frozenset[int](), frozenset((0,))):
            if holds:
                confidential.verify_amounts(tx, [source], skip_ranges=skipped)
            else:
                with pytest.raises(InvalidAmounts, match="allows nothing"):
                    confidential.verify_amounts(tx, [source], skip_ranges=skipped)


def test_proofs_for_explicit_fields_are_refused() -> None:
    source, outputs, tx = blinded_pair()
    for change in (
        {"range_proof": outputs[0].txout.range_proof},
        {"surjection_proof": outputs[0].txout.surjection_proof},
    ):
        bad = [*tx.vout[:2], replace(tx.vout[2], **change)]
        with pytest.raises(InvalidAmounts):
            confidential.verify_amounts(transaction(bad), [source])


def test_explicit_totals_are_bounded_across_assets() -> None:
    first, second = TxOut.explicit(b"\x51", ASSET, MAX_SATOSHI), TxOut.explicit(b"\x51", OTHER, 1)
    tx = transaction([TxOut.explicit(SCRIPT, ASSET, MAX_SATOSHI), TxOut.explicit(SCRIPT, OTHER, 1)], 2)
    with pytest.raises(InvalidAmounts, match="toolarge"):
        confidential.verify_amounts(tx, [first, second])


def test_an_issuance_adds_to_the_left_side() -> None:
    source, _ = spent(1_000)
    issuance = Issuance(bytes(32), bytes(32), explicit_value_field(500), explicit_value_field(3))
    txin = TxIn(OutPoint(b"\x01" * 32, 0), issuance=issuance)
    asset, token = confidential.issued_asset(txin)
    outputs = [TxOut.explicit(SCRIPT, asset, 500), TxOut.explicit(SCRIPT, token, 3), TxOut.fee(ASSET, 1_000)]
    confidential.verify_amounts(Transaction.of(2, 0, [txin], outputs), [source])
    more = [TxOut.explicit(SCRIPT, asset, 501), *outputs[1:]]
    with pytest.raises(InvalidAmounts, match="balance"):
        confidential.verify_amounts(Transaction.of(2, 0, [txin], more), [source])


def test_openings_and_blinded_outputs_do_not_print_their_secrets() -> None:
    _, outputs, _ = blinded_pair()
    opening = outputs[0].opening
    text = repr(opening) + repr(outputs[0])
    for secret in (opening.abf, opening.vbf, outputs[0].nonce):
        assert secret.hex() not in text
    assert "60000" not in text


def test_parallel_jobs_raise_the_first_failure() -> None:
    def fail() -> int:
        raise UnblindError("no")

    assert confidential.run_parallel([lambda: 1, lambda: 2, lambda: 3]) == [1, 2, 3]
    with pytest.raises(UnblindError):
        confidential.run_parallel([lambda: 1, fail, lambda: 3])


def test_secrets_show_display_order() -> None:
    abf, vbf = secrets.token_bytes(32), b"\x00" * 31 + b"\x05"
    shown = confidential.TxOutSecrets(Opening(ASSET[:31] + b"\x01", 5, abf, vbf))
    assert shown.asset() == "01" + "aa" * 31
    assert shown.asset_bf() == abf[::-1].hex()
    assert shown.value_bf() == "05" + "00" * 31
    assert not shown.is_explicit()
    assert shown == confidential.TxOutSecrets(Opening(ASSET[:31] + b"\x01", 5, abf, vbf))
