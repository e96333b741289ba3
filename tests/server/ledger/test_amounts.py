"""Amounts beyond what any can be: whoever holds reissuance tokens can make them, and nobody else waits for it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from amp0.elements.transaction import MAX_SATOSHI, OutPoint, Transaction
from amp0.server.ledger import book
from amp0.server.ledger.book import CONFIRMED, WrongOpening

from .scene import BURN, ISSUED, TOKEN, TOKEN_TREASURY, TOKENS, TREASURY, Ledger, Made, Out, make, reissuance, started


def reissue(ledger: Ledger, token: OutPoint) -> Made:
    """As much as one reissuance can make."""
    outs = [Out(TREASURY, MAX_SATOSHI), Out(TOKEN_TREASURY, TOKENS, TOKEN)]
    made = make([token], outs, issuance=reissuance(MAX_SATOSHI))
    ledger.mine(made)
    ledger.tell(made, 0, 1)
    return made


def test_two_reissuances_in_one_transaction_that_make_too_much_together_stop_nobody() -> None:
    """Each is within what a node allows, and the sum was more than the database takes: reading that block failed, and
    so the server followed the chain no further, for anybody."""
    ledger = started()
    parts = make([ledger.issuance.at(1)], [Out(TOKEN_TREASURY, 4, TOKEN), Out(TOKEN_TREASURY, 6, TOKEN)])
    ledger.mine(parts)
    ledger.tell(parts, 0, 1)
    outs = [Out(TREASURY, MAX_SATOSHI), Out(TREASURY, MAX_SATOSHI), Out(TOKEN_TREASURY, TOKENS, TOKEN)]
    once = make([parts.at(0), parts.at(1)], outs, issuance=reissuance(MAX_SATOSHI))
    vin = [once.tx.vin[0], replace(once.tx.vin[1], issuance=reissuance(MAX_SATOSHI)), *once.tx.vin[2:]]
    made = Made(Transaction.of(2, 0, vin, once.tx.vout), once.openings)
    ledger.send(made)
    ledger.mine(made)
    assert ledger.state(made) == CONFIRMED
    ledger.tell(made, 0, 1, 2)
    assert ledger.holders() == {None: ISSUED + 2 * MAX_SATOSHI}, "what is there is known"
    assert ledger.hidden() == -2 * MAX_SATOSHI, "how much was made is not, and that shows"
    assert ledger.hidden(is_token=True) == 0
    ledger.undo()
    assert ledger.holders() == {None: ISSUED}


def test_an_output_that_holds_too_much_is_refused_like_any_wrong_opening() -> None:
    ledger = started()
    first = reissue(ledger, ledger.issuance.at(1))
    second = reissue(ledger, first.at(1))
    made = make([first.at(0), second.at(0)], [Out(TREASURY, 2 * MAX_SATOSHI)])
    ledger.mine(made)
    with pytest.raises(WrongOpening):
        ledger.tell(made, 0)
    assert ledger.hidden() == 2 * MAX_SATOSHI
    assert ledger.holders() == {None: ISSUED}


def test_a_reissued_amount_that_is_too_large_is_refused_like_any_wrong_one() -> None:
    ledger = started()
    issuance = reissuance(MAX_SATOSHI + 1)
    made = make([ledger.issuance.at(1)], [Out(TOKEN_TREASURY, TOKENS, TOKEN)], issuance=issuance)
    ledger.mine(made)
    with ledger.store.transaction() as db, pytest.raises(WrongOpening):
        book.add_issued(db, made.tx, 0, MAX_SATOSHI + 1, bytes(32))


def test_a_burn_of_too_much_stops_nobody_and_shows() -> None:
    ledger = started()
    first = reissue(ledger, ledger.issuance.at(1))
    second = reissue(ledger, first.at(1))
    made = make([first.at(0), second.at(0)], [Out(BURN, MAX_SATOSHI), Out(BURN, MAX_SATOSHI)])
    ledger.mine(made)
    ledger.tell(made, 0, 1)
    assert ledger.hidden() == MAX_SATOSHI
    assert ledger.holders() == {None: ISSUED}
