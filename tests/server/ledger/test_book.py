"""The ledger's rows through everything that can happen to a transaction."""

from __future__ import annotations

import pytest
import sqlalchemy as sa

from amp0.elements import wally
from amp0.elements.confidential import Opening
from amp0.elements.transaction import OutPoint, Transaction, TxIn, TxOut
from amp0.server.ledger import blacklist, book, views
from amp0.server.ledger.book import CONFIRMED, GONE, MEMPOOL, PROMISED, NotFollowed, Opened, WrongOpening
from amp0.server.store import asset_schema as tables
from amp0.server.store import schema

from .scene import (
    ASSET,
    BURN,
    ISSUED,
    NODE_CHANGE,
    POLICY,
    STRANGER,
    TOKEN,
    TOKEN_TREASURY,
    TOKENS,
    TREASURY,
    AssetOf,
    Ledger,
    Made,
    Out,
    distributed,
    gaid,
    make,
    register,
    reissuance,
    started,
)

# --- issuance ------------------------------------------------------------------------------------------------------


def test_an_issuance_is_promised_then_seen_then_confirmed() -> None:
    ledger = Ledger()
    assert ledger.state(ledger.issuance) == PROMISED
    assert ledger.holders() == {}
    ledger.send(ledger.issuance)
    assert ledger.state(ledger.issuance) == MEMPOOL
    assert ledger.holders() == {}
    ledger.mine(ledger.issuance)
    assert ledger.holders() == {None: ISSUED}
    assert ledger.hidden() == ledger.hidden(is_token=True) == 0


def test_an_issuance_that_falls_out_of_the_mempool_can_still_be_sent() -> None:
    ledger = Ledger()
    ledger.send(ledger.issuance)
    ledger.drop(ledger.issuance.txid)
    assert ledger.state(ledger.issuance) == PROMISED
    ledger.mine(ledger.issuance)
    assert ledger.holders() == {None: ISSUED}


def test_the_change_of_an_issuance_is_no_suspect() -> None:
    ledger = Ledger()
    assert [(row.vout, row.is_token, row.satoshi) for row in ledger.rows()] == [(0, 0, ISSUED), (1, 1, TOKENS)]


def test_entering_an_issuance_twice_changes_nothing() -> None:
    ledger = Ledger()
    before = ledger.rows()
    with ledger.store.transaction() as db:
        book.begin_asset(db, 1, ledger.issuance.tx, ledger.issuance.opened(0, 1), ledger.now)
    assert ledger.rows() == before


# --- distributions -------------------------------------------------------------------------------------------------


def test_what_the_node_sends_is_sealed_until_its_openings_come() -> None:
    ledger = started()
    alice = ledger.account(1)
    made = distributed(ledger, alice, told=False)
    assert {(row.vout, row.satoshi, row.account_id) for row in ledger.rows(made)} == {
        (0, None, 1),
        (1, None, None),
        (2, None, None),
    }
    assert ledger.holders() == {}
    assert ledger.hidden() == ISSUED

    assert ledger.tell(made, 0) == [0]
    assert ledger.holders() == {gaid(1): 600}
    assert ledger.hidden() == 400
    assert ledger.tell(made, 0, 1) == [1]
    assert ledger.holders() == {None: 400, gaid(1): 600}
    assert ledger.hidden() == 0


def test_change_in_another_asset_is_taken_off_once_the_rest_balances() -> None:
    ledger = started()
    made = distributed(ledger, ledger.account(1))
    assert [row.vout for row in ledger.rows(made)] == [0, 1]


def test_what_was_spent_from_such_change_is_forgotten_too() -> None:
    ledger = started()
    made = distributed(ledger, ledger.account(1), told=False)
    onward = make([made.at(2)], [Out(STRANGER, 3, POLICY), Out(NODE_CHANGE, 1, POLICY)])
    further = make([onward.at(1)], [Out(STRANGER, 1, POLICY)])
    ledger.mine(onward, further)
    assert ledger.state(further) == CONFIRMED, "followed as long as it may hold the asset"
    ledger.tell(made, 0, 1)
    assert ledger.state(onward) is None
    assert ledger.state(further) is None
    assert ledger.rows(onward) == ledger.rows(further) == []


def test_that_an_output_holds_something_else_is_news_as_well() -> None:
    ledger = started()
    made = distributed(ledger, ledger.account(1), told=False)
    assert ledger.tell(made, 2) == [2]
    assert ledger.tell(made, 2) == []
    assert [row.vout for row in ledger.rows(made)] == [0, 1]


def test_what_was_spent_from_an_output_that_holds_something_else_is_forgotten() -> None:
    """The opening took the row away, and with it the only way to those that had spent it."""
    ledger = started()
    made = distributed(ledger, ledger.account(1), told=False)
    onward = make([made.at(2)], [Out(STRANGER, 3, POLICY), Out(NODE_CHANGE, 1, POLICY)])
    ledger.mine(onward)
    ledger.tell(made, 2)
    assert ledger.state(onward) is None
    assert ledger.rows(onward) == []


def test_openings_that_come_late_settle_what_was_spent_since() -> None:
    ledger = started()
    made = distributed(ledger, ledger.account(1), told=False)
    again = make([made.at(1)], [Out(TREASURY, 400), Out(NODE_CHANGE, 5, POLICY)])
    ledger.mine(again)
    ledger.tell(again, 0)
    assert [row.vout for row in ledger.rows(again)] == [0, 1], "its input is sealed: the change may hold some"
    ledger.tell(made, 0, 1)
    assert [row.vout for row in ledger.rows(again)] == [0]


def test_a_spend_that_is_all_open_proves_what_its_sealed_input_did_not_hold() -> None:
    ledger = started()
    alice = ledger.account(1)
    made = make([ledger.issuance.at(0)], [Out(TREASURY, ISSUED), Out(alice, 5, POLICY)])
    ledger.mine(made)
    ledger.cosign(spend := make([made.at(1)], [Out(STRANGER, 5, POLICY)], stranger=False))
    # The input held L-BTC and nothing else, so the other output of its maker holds all there is: no suspect but it.
    assert [(row.vout, row.satoshi) for row in ledger.rows(made)] == [(0, None)]
    assert ledger.state(spend) is None


@pytest.mark.parametrize("wrong", ["asset", "satoshi", "abf", "vbf", "explicit"])
def test_wrong_openings_are_refused_and_nothing_is_recorded(wrong: str) -> None:
    ledger = started()
    made = distributed(ledger, ledger.account(1), told=False)
    true = made.openings[0]
    openings = {
        "asset": Opening(POLICY, true.satoshi, true.abf, true.vbf),
        "satoshi": Opening(ASSET, true.satoshi + 1, true.abf, true.vbf),
        "abf": Opening(ASSET, true.satoshi, true.vbf, true.vbf),
        "vbf": Opening(ASSET, true.satoshi, true.abf, true.abf),
        "explicit": Opening(ASSET, true.satoshi),
    }
    before = ledger.rows()
    with pytest.raises(WrongOpening) as refused, ledger.store.transaction() as db:
        book.add_openings(db, made.tx, [*made.opened(1), Opened(0, openings[wrong])], ledger.now)
    assert refused.value.vout == 0
    assert ledger.rows() == before


def test_openings_of_an_output_that_is_not_there() -> None:
    ledger = started()
    made = distributed(ledger, ledger.account(1), told=False)
    with pytest.raises(WrongOpening), ledger.store.transaction() as db:
        book.add_openings(db, made.tx, [Opened(7, made.openings[0])], ledger.now)


def test_openings_of_a_transaction_that_nobody_has_read() -> None:
    ledger = started()
    made = make([], [Out(TREASURY, 5)])
    with pytest.raises(NotFollowed):
        ledger.tell(made, 0)


def test_what_openings_prove_is_believed_even_where_it_came_from_nowhere() -> None:
    """The chain index has a payment to a holder; the ledger did not follow it; its blinders say what it is."""
    ledger = started()
    made = make([], [Out(ledger.account(1), 5), Out(STRANGER, 5, POLICY)])
    ledger.mine(made)
    assert ledger.rows(made) == []
    assert ledger.tell(made, 0) == [0]
    assert ledger.holders() == {None: ISSUED, gaid(1): 5}


# --- transfers -----------------------------------------------------------------------------------------------------


def moved(ledger: Ledger) -> tuple[Made, Made]:
    """A distribution to one holder, and their payment of 100 to another, signed here."""
    alice, bob = ledger.account(1), ledger.account(2)
    first = distributed(ledger, alice)
    transfer = make([first.at(0)], [Out(bob, 100), Out(alice, 500), Out(alice, 2, POLICY)])
    ledger.cosign(transfer)
    return first, transfer


def test_a_transfer_is_promised_then_seen_then_in_a_block_then_reorganised() -> None:
    ledger = started()
    _, transfer = moved(ledger)
    before = {None: 400, gaid(1): 600}
    after = {None: 400, gaid(1): 500, gaid(2): 100}
    assert (ledger.state(transfer), ledger.holders()) == (PROMISED, before)
    ledger.send(transfer)
    assert (ledger.state(transfer), ledger.holders()) == (MEMPOOL, before)
    ledger.mine(transfer)
    assert (ledger.state(transfer), ledger.holders()) == (CONFIRMED, after)
    ledger.undo()
    assert (ledger.state(transfer), ledger.holders()) == (MEMPOOL, before)
    ledger.mine(transfer)
    assert (ledger.state(transfer), ledger.holders()) == (CONFIRMED, after)
    assert ledger.hidden() == 0


def test_f05_what_was_signed_and_left_the_mempool_is_still_promised() -> None:
    ledger = started()
    _, transfer = moved(ledger)
    ledger.send(transfer)
    ledger.drop(transfer.txid)
    assert ledger.state(transfer) == PROMISED
    (spent,) = [row for row in ledger.rows() if row.spent_by == bytes(transfer.txid)]
    assert spent.spent_state == PROMISED


def test_f06_a_replaced_transfer_frees_what_it_held() -> None:
    ledger = started()
    first, transfer = moved(ledger)
    other = make([first.at(0)], [Out(TREASURY, 600)])
    ledger.cosign(other)
    assert ledger.state(transfer) == GONE
    assert ledger.state(other) == PROMISED
    assert {row.spent_by for row in ledger.rows(first) if row.vout == 0} == {bytes(other.txid)}
    ledger.mine(other)
    assert ledger.holders() == {None: ISSUED}


def test_f06_one_that_was_replaced_and_confirms_after_all_counts_again() -> None:
    ledger = started()
    first, transfer = moved(ledger)
    ledger.cosign(other := make([first.at(0)], [Out(TREASURY, 600)]))
    ledger.mine(transfer)
    assert (ledger.state(transfer), ledger.state(other)) == (CONFIRMED, GONE)
    assert ledger.holders() == {None: 400, gaid(1): 500, gaid(2): 100}


def test_a_replaced_one_is_gone_even_where_the_new_one_leaves_the_asset_alone() -> None:
    """What ties the two together is a coin of L-BTC; the asset that the first one moved is free again."""
    ledger = started()
    alice = ledger.account(1)
    first = distributed(ledger, alice)
    coin = make([], [Out(alice, 9, POLICY)])
    ledger.mine(coin)
    ledger.cosign(transfer := make([first.at(0), coin.at(0)], [Out(STRANGER, 600)]))
    ledger.cosign(make([coin.at(0)], [Out(STRANGER, 9, POLICY)]))
    assert ledger.state(transfer) == GONE
    assert {row.spent_by for row in ledger.rows(first)} == {None}


def test_a_coin_that_its_owner_did_not_sign_for_is_not_spent_by_a_promise() -> None:
    """A holder names coins of the treasury among their inputs: they stay at the issuer's disposal, token included."""
    ledger = started()
    alice = ledger.account(1)
    first = distributed(ledger, alice)

    def spendable() -> list[int | None]:
        with ledger.store.snapshot() as db:
            return [coin.satoshi for t in (False, True) for coin in views.treasury_outputs(db, AssetOf(), t)]

    assert spendable() == [400, TOKENS]
    spends = [first.at(0), first.at(1), ledger.issuance.at(1)]
    trick = make(spends, [Out(alice, 600), Out(TREASURY, 400), Out(TOKEN_TREASURY, TOKENS, TOKEN)])
    ledger.cosign(trick)
    assert spendable() == [400, TOKENS]
    ledger.mine(trick)
    assert ledger.state(trick) == CONFIRMED
    assert spendable() == [400, TOKENS]
    assert ledger.holders() == {None: 400, gaid(1): 600}


def test_what_depends_on_a_double_spent_transaction_is_gone_with_it() -> None:
    ledger = started()
    alice, bob = ledger.account(1), ledger.account(2)
    paid = make([ledger.issuance.at(0)], [Out(alice, ISSUED)])
    ledger.send(paid)
    ledger.tell(paid, 0)
    ledger.cosign(onward := make([paid.at(0)], [Out(bob, ISSUED)]))
    rival = make([ledger.issuance.at(0)], [Out(TREASURY, ISSUED)])
    ledger.mine(rival)
    assert (ledger.state(paid), ledger.state(onward)) == (GONE, GONE)
    ledger.tell(rival, 0)
    assert ledger.holders() == {None: ISSUED}


def test_what_fell_with_its_parent_is_promised_again_when_the_parent_returns() -> None:
    ledger = started()
    alice, bob = ledger.account(1), ledger.account(2)
    paid = make([ledger.issuance.at(0)], [Out(alice, ISSUED)])
    ledger.send(paid)
    ledger.tell(paid, 0)
    ledger.cosign(onward := make([paid.at(0)], [Out(bob, ISSUED)]))
    ledger.cosign(further := make([onward.at(0)], [Out(alice, ISSUED)]))
    ledger.send(onward)
    ledger.drop(paid.txid)
    assert [ledger.state(made) for made in (paid, onward, further)] == [GONE, GONE, GONE]
    ledger.mine(paid)
    # ``further`` was not cosigned on an own output that the index knew, so it has no claim to come back by.
    assert [ledger.state(made) for made in (paid, onward)] == [CONFIRMED, PROMISED]
    ledger.mine(onward, further)
    assert ledger.holders() == {gaid(1): ISSUED}
    assert ledger.hidden() == 0


@pytest.mark.parametrize("depth", [1, 2, 3, 4])
def test_reorganisations_of_any_depth_give_the_same_register_again(depth: int) -> None:
    ledger = started()
    _, transfer = moved(ledger)
    ledger.mine(transfer)
    back = make([transfer.at(0)], [Out(TREASURY, 100)])
    ledger.cosign(back)
    ledger.mine(back)
    rows, holders = ledger.rows(), ledger.holders()
    per_height = [ledger.holders(height) for height in range(ledger.height + 1)]
    blocks = [list(block.transactions) for block in ledger.blocks[-depth:]]
    ledger.undo(depth)
    assert ledger.holders() == per_height[ledger.height]
    for txs in blocks:
        ledger.mine(*txs)
    assert ledger.rows() == rows
    assert ledger.holders() == holders


def test_a_reorganisation_onto_a_double_spend() -> None:
    ledger = started()
    first, transfer = moved(ledger)
    ledger.mine(transfer)
    ledger.undo(2)
    rival = make([ledger.issuance.at(0)], [Out(STRANGER, ISSUED, explicit=True)])
    ledger.mine(rival)
    assert [ledger.state(made) for made in (first, transfer)] == [GONE, GONE]
    ledger.mine()
    ledger.mine()
    ledger.mine()
    assert ledger.holders() == {}
    assert ledger.hidden() == 0
    assert ledger.lost() == [rival.at(0)]
    # And back: the other branch wins after all.
    ledger.undo(4)
    ledger.mine(first)
    ledger.mine(transfer)
    assert (ledger.state(rival), ledger.state(transfer)) == (GONE, CONFIRMED)
    assert ledger.holders() == {None: 400, gaid(1): 500, gaid(2): 100}


def test_a_late_listing_of_the_mempool_changes_nothing() -> None:
    ledger = started()
    first, transfer = moved(ledger)
    ledger.mine(transfer)
    before = ledger.rows()
    ledger.send(transfer)
    ledger.send(make([first.at(0)], [Out(STRANGER, 600)]))
    assert ledger.rows() == before


def test_a_chain_within_one_block_is_followed_to_its_end() -> None:
    ledger = started()
    alice = ledger.account(1)
    one = make([ledger.issuance.at(0)], [Out(STRANGER, ISSUED)])
    two = make([one.at(0)], [Out(STRANGER, ISSUED)])
    three = make([two.at(0)], [Out(alice, ISSUED)])
    ledger.mine(one, two, three)
    assert ledger.tell(three, 0) == [0]
    assert ledger.holders() == {gaid(1): ISSUED}
    assert ledger.hidden() == 0


def test_transactions_that_concern_nobody_leave_no_rows() -> None:
    ledger = started()
    before = ledger.rows()
    ledger.account(1)
    ledger.mine(make([], [Out(STRANGER, 5, POLICY)]), make([], [Out(STRANGER, 5, POLICY, explicit=True)]))
    ledger.cosign(make([], [Out(STRANGER, 5, POLICY)]))
    assert ledger.rows() == before


def test_followed_transactions_are_kept_whole() -> None:
    """A treasury that pays itself touches no account, and is on record all the same."""
    ledger = started()
    made = make([ledger.issuance.at(0)], [Out(TREASURY, ISSUED)])
    ledger.send(made)
    with ledger.store.snapshot() as db:
        raw = db.execute(
            sa.select(schema.transactions.c.raw).where(schema.transactions.c.txid == bytes(made.txid))
        ).scalar_one()
    assert Transaction.from_bytes(raw) == made.tx


# --- whose it is, and since when -----------------------------------------------------------------------------------


def test_only_amp_accounts_are_holders() -> None:
    ledger = started()
    other = ledger.account(1, kind="2of2")
    made = distributed(ledger, other)
    (row,) = [row for row in ledger.rows(made) if row.vout == 0]
    assert row.account_id is None
    assert ledger.holders() == {None: 400}


def test_f10_moving_to_oneself_keeps_the_newest_age() -> None:
    ledger = started()
    alice, savings, bob = ledger.account(1, user=7), ledger.account(2), ledger.account(3, user=8)
    with ledger.store.transaction() as db:
        register(db, 7, 2)
    first = make([ledger.issuance.at(0)], [Out(alice, 100), Out(TREASURY, 900)])
    ledger.mine(first)
    ledger.tell(first)
    second = make([first.at(1)], [Out(alice, 100), Out(TREASURY, 800)])
    ledger.mine(second)
    ledger.tell(second)
    ages = {made: ledger.rows(made)[0].acquired_at for made in (first, second)}
    assert ages[first] < ages[second]
    ledger.now += 1_000
    both = make([first.at(0), second.at(0)], [Out(savings, 150), Out(bob, 50)])
    ledger.cosign(both)
    acquired = {row.account_id: row.acquired_at for row in ledger.rows(both)}
    assert acquired == {2: ages[second], 3: ledger.now}


def test_f10_an_old_coin_beside_it_does_not_age_what_somebody_else_sends() -> None:
    """Two holders sign one transaction: an old satoshi of the receiver comes along with all that the sender pays."""
    ledger = started()
    alice, bob = ledger.account(1, user=7), ledger.account(2, user=8)
    first = make([ledger.issuance.at(0)], [Out(alice, 1), Out(bob, 500), Out(TREASURY, 499)])
    ledger.mine(first)
    ledger.tell(first)
    ledger.now += 1_000
    ledger.cosign(made := make([first.at(0), first.at(1)], [Out(alice, 401), Out(bob, 100)]))
    acquired = {row.account_id: row.acquired_at for row in ledger.rows(made)}
    assert acquired == {1: ledger.now, 2: ledger.rows(first)[1].acquired_at}


def test_f10_accounts_of_nobody_registered_are_different_holders() -> None:
    ledger = started()
    alice, savings = ledger.account(1), ledger.account(2)
    first = distributed(ledger, alice)
    ledger.now += 1_000
    ledger.cosign(made := make([first.at(0)], [Out(alice, 100), Out(savings, 500)]))
    acquired = {row.account_id: row.acquired_at for row in ledger.rows(made)}
    assert acquired == {1: ledger.rows(first)[0].acquired_at, 2: ledger.now}


def test_f08_a_blacklisted_outpoint_stays_so_through_reorganisations() -> None:
    ledger = started()
    _, transfer = moved(ledger)
    with ledger.store.transaction() as db:
        assert blacklist.add(db, 1, transfer.at(0), ledger.now), "before anybody has seen it"
        assert not blacklist.add(db, 1, transfer.at(0), ledger.now)
    for step in (
        lambda: ledger.mine(transfer),
        lambda: ledger.undo(),
        lambda: ledger.drop(transfer.txid),
        lambda: ledger.mine(transfer),
    ):
        step()
        with ledger.store.snapshot() as db:
            assert blacklist.listed(db, 1, [transfer.at(0), transfer.at(1)]) == {transfer.at(0)}
            assert blacklist.listed(db, 2, [transfer.at(0)]) == set(), "of this asset only"
    with ledger.store.transaction() as db:
        assert blacklist.remove(db, 1, transfer.at(0))
        assert not blacklist.remove(db, 1, transfer.at(0))


# --- reissuing and burning -----------------------------------------------------------------------------------------


def reissued(ledger: Ledger, satoshi: int = 50, *, hidden: bytes | None = None) -> Made:
    issuance = reissuance(satoshi)
    if hidden is not None:
        issuance = type(issuance)(issuance.nonce, issuance.entropy, hidden)
    made = make(
        [ledger.issuance.at(1)],
        [Out(TREASURY, satoshi), Out(TOKEN_TREASURY, TOKENS, TOKEN), Out(NODE_CHANGE, 3, POLICY)],
        issuance=issuance,
    )
    ledger.mine(made)
    return made


def test_an_explicit_reissuance_needs_no_opening_to_be_counted() -> None:
    ledger = started()
    made = reissued(ledger)
    assert ledger.hidden() == 50
    assert ledger.hidden(is_token=True) == TOKENS
    ledger.tell(made, 0, 1)
    assert ledger.holders() == {None: ISSUED + 50}
    assert ledger.hidden() == ledger.hidden(is_token=True) == 0
    assert [row.vout for row in ledger.rows(made)] == [0, 1]


def test_a_hidden_reissuance_is_counted_when_it_is_opened() -> None:
    ledger = started()
    vbf = b"\x07" * 32
    commitment = wally.value_commitment(50, vbf, wally.asset_generator(ASSET, None))
    made = reissued(ledger, 50, hidden=commitment)
    ledger.tell(made, 0, 1)
    assert ledger.hidden() == -50, "units of it are known before it is"
    with ledger.store.transaction() as db:
        for satoshi, factor in ((51, vbf), (50, b"\x08" * 32)):
            with pytest.raises(WrongOpening):
                book.add_issued(db, made.tx, 0, satoshi, factor)
        with pytest.raises(WrongOpening):
            book.add_issued(db, made.tx, 1, 50, vbf)
        assert book.add_issued(db, made.tx, 0, 50, vbf)
        assert not book.add_issued(db, made.tx, 0, 50, vbf)
    assert ledger.hidden() == 0


def test_a_burn_in_the_open_is_counted_when_a_block_has_it() -> None:
    ledger = started()
    made = make(
        [ledger.issuance.at(0)],
        [Out(BURN, 300, explicit=True), Out(TREASURY, 700), Out(NODE_CHANGE, 3, POLICY)],
    )
    ledger.mine(made)
    assert ledger.hidden() == 700
    ledger.tell(made, 1)
    assert ledger.holders() == {None: 700}
    assert ledger.hidden() == 0
    ledger.undo()
    assert ledger.holders() == {None: ISSUED}


def test_a_hidden_burn_is_counted_when_it_is_opened() -> None:
    ledger = started()
    made = make([ledger.issuance.at(0)], [Out(BURN, 300), Out(TREASURY, 700)])
    ledger.mine(made)
    ledger.tell(made, 0, 1)
    assert ledger.holders() == {None: 700}
    assert ledger.hidden() == 0


def test_units_that_show_up_from_nowhere_are_taken_where_they_are() -> None:
    """No transaction that was followed leads there; the output names the asset, and that is proof enough."""
    ledger = started()
    made = make([], [Out(STRANGER, 4, explicit=True)])
    ledger.mine(made)
    assert [row.satoshi for row in ledger.rows(made)] == [4]


def test_a_coinbase_that_collects_a_fee_in_the_asset_does_not_count_it_twice() -> None:
    ledger = started()
    fee = Transaction.of(2, 0, [TxIn(ledger.issuance.at(0))], [TxOut.fee(ASSET, ISSUED)])
    null = TxIn(OutPoint(bytes(32).hex(), 0xFFFFFFFF), script_sig=b"\x01\x02")
    coinbase = Transaction.of(2, 0, [null], [TxOut.explicit(STRANGER, ASSET, ISSUED)])
    ledger.mine(coinbase, fee)
    assert ledger.hidden() == 0
    assert sum(row.satoshi or 0 for row in ledger.rows() if row.spent_by is None and not row.is_token) == ISSUED


# --- kinds ---------------------------------------------------------------------------------------------------------


def kinds(ledger: Ledger) -> list[str]:
    txs = tables.asset_txs
    with ledger.store.snapshot() as db:
        return list(db.execute(sa.select(txs.c.kind).order_by(txs.c.height, txs.c.position)).scalars())


def test_kinds_of_transactions() -> None:
    ledger = started()
    first, transfer = moved(ledger)
    ledger.mine(transfer)
    with ledger.store.transaction() as db:
        book.note_distribution(db, 1, first.txid)
        book.note_distribution(db, 1, ledger.issuance.txid)
    ledger.mine(make([first.at(1)], [Out(BURN, 400, explicit=True)]))
    reissued(ledger)
    assert kinds(ledger) == ["issuance", "distribution", "transfer", "burn", "reissuance"]
