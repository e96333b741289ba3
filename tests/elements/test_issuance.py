from __future__ import annotations

import random

import pytest

from amp0.elements import wally
from amp0.elements.confidential import DomainEntry, Opening, PlainOutput, blind, issued_asset, verify_amounts
from amp0.elements.hashes import sha256
from amp0.elements.issuance import Issued, issue, open_issuance
from amp0.elements.transaction import MAX_SATOSHI, OutPoint, Transaction, TxIn, TxOut
from amp0.errors import InvalidAmounts, UnblindError

LBTC = bytes(range(32))
OUTPOINT = OutPoint(b"\x07" * 32, 3)
CONTRACT = sha256(b"contract")
NONCES = (sha256(b"asset nonce"), sha256(b"token nonce"))
KEY = wally.public_key(sha256(b"blinding key"))
SPENT = TxOut.explicit(b"\x51", LBTC, 10_000)


def _transaction(issued: Issued) -> Transaction:
    domain = [DomainEntry.of_output(SPENT, Opening(LBTC, 10_000)), *issued.domain()]
    outputs = [PlainOutput(b"\x52", o.asset, o.satoshi, KEY) for o in (issued.asset, issued.token) if o is not None]
    outputs += [PlainOutput(b"\x53", LBTC, 9_000, KEY), PlainOutput(b"", LBTC, 1_000)]
    made = blind(domain, outputs)
    return Transaction.of(2, 0, [TxIn(OUTPOINT, issuance=issued.issuance)], [output.txout for output in made])


@pytest.mark.parametrize("nonces", [None, NONCES])
@pytest.mark.parametrize(("satoshi", "tokens"), [(1, 0), (5_000, 1), (MAX_SATOSHI, 7), (0, 2)])
def test_whatever_is_issued_balances(nonces: tuple[bytes, bytes] | None, satoshi: int, tokens: int) -> None:
    issued = issue(OUTPOINT, satoshi, tokens, CONTRACT, nonces=nonces)
    tx = Transaction.from_bytes(_transaction(issued).to_bytes())
    verify_amounts(tx, [SPENT])
    asset, token = issued_asset(tx.vin[0])
    assert issued.asset == (Opening(asset, satoshi, vbf=issued.asset.vbf) if issued.asset else None)
    assert issued.token == (Opening(token, tokens, vbf=issued.token.vbf) if issued.token else None)
    assert (issued.asset is None, issued.token is None) == (satoshi == 0, tokens == 0)


def test_a_hidden_amount_is_hidden_and_its_nonces_read_it() -> None:
    issued = issue(OUTPOINT, 123_456, 9, CONTRACT, nonces=NONCES)
    txin = TxIn(OUTPOINT, issuance=issued.issuance)
    assert len(issued.issuance.amount_field) == len(issued.issuance.tokens_field) == 33
    assert open_issuance(txin, NONCES) == issued
    for wrong in ((NONCES[1], NONCES[1]), (NONCES[0], NONCES[0])):
        with pytest.raises(UnblindError):
            open_issuance(txin, wrong)


def test_what_is_in_the_open_needs_no_nonce() -> None:
    issued = issue(OUTPOINT, 123_456, 9, CONTRACT)
    assert open_issuance(TxIn(OUTPOINT, issuance=issued.issuance), (b"", b"")) == issued
    assert issued.asset is not None
    assert issued.asset.is_explicit


def test_hiding_makes_another_token_of_the_same_asset() -> None:
    hidden, plain = issue(OUTPOINT, 5, 1, CONTRACT, nonces=NONCES), issue(OUTPOINT, 5, 1, CONTRACT)
    assets = [issued_asset(TxIn(OUTPOINT, issuance=issued.issuance)) for issued in (hidden, plain)]
    assert assets[0][0] == assets[1][0]
    assert assets[0][1] != assets[1][1]


def test_a_reissuance_has_no_tokens_and_names_the_blinding_factor_of_the_spent_one() -> None:
    first = issue(OutPoint(b"\x01" * 32, 0), 5, 1, CONTRACT, nonces=NONCES)
    assert first.token is not None
    entropy = wally.issuance_entropy(b"\x01" * 32, 0, CONTRACT)
    token_abf = sha256(b"abf")
    vbf = sha256(b"vbf")
    generator = wally.asset_generator(first.token.asset, token_abf)
    spent = TxOut(b"\x51", generator, wally.value_commitment(1, vbf, generator), wally.public_key(sha256(b"e")))
    more = issue(OUTPOINT, 77, 0, entropy, token_abf=token_abf, nonces=NONCES)
    assert more.issuance.is_reissuance
    assert more.token is None
    domain = [DomainEntry.of_output(spent, Opening(first.token.asset, 1, token_abf, vbf)), *more.domain()]
    domain.append(DomainEntry.of_output(SPENT, Opening(LBTC, 10_000)))
    outputs = [PlainOutput(b"\x52", e.opening.asset, e.opening.satoshi, KEY) for e in domain[:2]]
    outputs += [PlainOutput(b"\x53", LBTC, 9_000, KEY), PlainOutput(b"", LBTC, 1_000)]
    vin = [TxIn(OUTPOINT, issuance=more.issuance), TxIn(OutPoint(b"\x02" * 32, 0))]
    tx = Transaction.of(2, 0, vin, [output.txout for output in blind(domain, outputs)])
    verify_amounts(tx, [spent, SPENT])


@pytest.mark.parametrize(("satoshi", "tokens"), [(0, 0), (-1, 1), (MAX_SATOSHI + 1, 0), (1, MAX_SATOSHI + 1), (1, -1)])
def test_nothing_and_too_much_cannot_be_issued(satoshi: int, tokens: int) -> None:
    with pytest.raises(InvalidAmounts):
        issue(OUTPOINT, satoshi, tokens, CONTRACT)


def test_a_source_of_zeros_hides_nothing() -> None:
    with pytest.raises(InvalidAmounts, match="random"):
        issue(OUTPOINT, 5, 1, CONTRACT, nonces=NONCES, random=bytes)


def test_the_same_numbers_make_the_same_fields() -> None:
    one, two = (issue(OUTPOINT, 5, 1, CONTRACT, nonces=NONCES, random=random.Random(4).randbytes) for _ in range(2))
    assert one == two


def test_an_input_that_issues_nothing_cannot_be_read() -> None:
    with pytest.raises(UnblindError):
        open_issuance(TxIn(OUTPOINT), NONCES)
