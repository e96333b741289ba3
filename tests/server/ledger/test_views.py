"""What issuers read: holdings at any height, coins, numbers, and outputs that are lost."""

from __future__ import annotations

import pytest
import sqlalchemy as sa

from amp0.server.ledger import blacklist, entry, past, views
from amp0.server.ledger.past import Page, UnknownColumn
from amp0.server.ledger.sums import held
from amp0.server.store import asset_schema as tables

from .scene import (
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
    add_treasury,
    distributed,
    gaid,
    make,
    reissuance,
    started,
)


def later(ledger: Ledger, blocks: int = 3) -> None:
    for _ in range(blocks):
        ledger.mine()


# --- holdings ------------------------------------------------------------------------------------------------------


def test_a_register_names_accounts_and_their_users() -> None:
    ledger = started()
    distributed(ledger, ledger.account(3, user=7))
    with ledger.store.snapshot() as db:
        assert views.ownerships(db, AssetOf()) == [(None, None, None, 400), (3, gaid(3), 7, 600)]


def test_another_issuers_user_is_nobody_and_so_is_a_deleted_one() -> None:
    ledger = started()
    distributed(ledger, ledger.account(3, user=7))
    with ledger.store.transaction() as db:
        assert views.ownerships(db, AssetOf(issuer_id=2))[1] == (3, gaid(3), None, 600)
        db.execute(tables.registered_users.update().values(deleted_at=5))
        assert views.ownerships(db, AssetOf())[1] == (3, gaid(3), None, 600)


def test_a_treasury_that_has_nothing_is_listed_with_nothing() -> None:
    with Ledger().store.snapshot() as db:
        assert views.ownerships(db, AssetOf()) == [(None, None, None, 0)]


def test_registers_of_past_heights() -> None:
    ledger = started()
    alice, bob = ledger.account(1), ledger.account(2)
    first = distributed(ledger, alice)
    ledger.cosign(second := make([first.at(0)], [Out(bob, 600)]))
    ledger.mine(second)
    ledger.mine(make([first.at(1)], [Out(BURN, 400, explicit=True)]))
    assert [ledger.holders(height) for height in range(ledger.height + 1)] == [
        {},
        {None: ISSUED},
        {None: 400, gaid(1): 600},
        {None: 400, gaid(2): 600},
        {gaid(2): 600},
    ]


def test_balances_of_one_account() -> None:
    ledger = started()
    distributed(ledger, ledger.account(1))
    with ledger.store.snapshot() as db:
        assert views.gaid_balance(db, 1, [1, 2]) == {1: 600, 2: 0}


def test_what_the_treasury_can_spend() -> None:
    ledger = started()
    with ledger.store.snapshot() as db:
        assert views.treasury(db, AssetOf()) == ISSUED
        assert views.treasury(db, AssetOf(), minimum_confirmations=2) == 0
        assert [coin.outpoint for coin in views.treasury_outputs(db, AssetOf(), True)] == [ledger.issuance.at(1)]
    made = make([ledger.issuance.at(0)], [Out(TREASURY, ISSUED)])
    ledger.send(made)
    with ledger.store.snapshot() as db:
        assert views.treasury(db, AssetOf()) == 0, "it is on its way"
    ledger.mine(made)
    ledger.tell(made)
    with ledger.store.snapshot() as db:
        assert views.treasury(db, AssetOf()) == ISSUED


def test_numbers_of_an_asset() -> None:
    ledger = started()
    made = make(
        [ledger.issuance.at(1)], [Out(TREASURY, 50), Out(TOKEN_TREASURY, TOKENS, TOKEN)], issuance=reissuance(50)
    )
    ledger.mine(made)
    ledger.tell(made)
    ledger.mine(make([ledger.issuance.at(0)], [Out(BURN, 30, explicit=True), Out(TREASURY, ISSUED - 30)]))
    with ledger.store.snapshot() as db:
        assert views.supply(db, AssetOf()) == (ISSUED, 50, 30, True)
        assert views.supply(db, AssetOf(), 1) == (ISSUED, 0, 0, True)
        assert (views.issued(db, AssetOf()), views.reissued(db, AssetOf()), views.burned(db, AssetOf())) == (
            ISSUED,
            50,
            30,
        )
        assert views.circulating(db, AssetOf()) == ISSUED + 20
        assert views.tokens(db, AssetOf()) == TOKENS
        assert views.tokens(db, AssetOf(), 0) == 0
    ledger.mine(make([made.at(1)], [Out(BURN, 4, TOKEN, explicit=True), Out(TOKEN_TREASURY, 6, TOKEN)]))
    with ledger.store.snapshot() as db:
        assert views.tokens(db, AssetOf()) == 6
        assert views.unaccounted(db, AssetOf(), is_token=True) == 6


# --- coins ---------------------------------------------------------------------------------------------------------


def test_unspent_outputs_with_those_of_the_mempool() -> None:
    ledger = started()
    alice, bob = ledger.account(1, user=7), ledger.account(2)
    first = distributed(ledger, alice)
    ledger.cosign(second := make([first.at(0)], [Out(bob, 600)]))

    def coins() -> dict[object, tuple[object, ...]]:
        with ledger.store.snapshot() as db:
            return {coin.outpoint: coin[1:] for coin in views.utxos(db, AssetOf())}

    treasury = {first.at(1): (400, None, None, False)}
    assert coins() == treasury | {first.at(0): (600, gaid(1), 7, False)}, "promised is not spent"
    ledger.send(second)
    assert coins() == treasury | {second.at(0): (600, gaid(2), None, False)}
    with ledger.store.transaction() as db:
        blacklist.add(db, 1, second.at(0), ledger.now)
    assert coins()[second.at(0)] == (600, gaid(2), None, True)
    with ledger.store.snapshot() as db:
        assert blacklist.satoshi(db, AssetOf()) == 0, "in blocks"
    ledger.mine(second)
    with ledger.store.snapshot() as db:
        assert blacklist.satoshi(db, AssetOf()) == 600
        assert [coin.satoshi for coin in views.utxos(db, AssetOf(), [first.at(0), first.at(1)])] == [600, 400]


# --- lost outputs --------------------------------------------------------------------------------------------------


def test_change_in_another_asset_is_never_lost() -> None:
    ledger = started()
    distributed(ledger, ledger.account(1))
    later(ledger)
    assert ledger.lost() == []


def test_sealed_outputs_are_lost_once_they_are_deep_and_old_enough() -> None:
    ledger = started()
    made = distributed(ledger, ledger.account(1), told=False)
    assert ledger.lost(grace=0) == [], "one confirmation"
    ledger.mine()
    assert ledger.lost(grace=0) == [made.at(0), made.at(1), made.at(2)]
    assert ledger.lost() == []
    ledger.now += 120
    assert ledger.lost() == [made.at(0), made.at(1), made.at(2)]


def test_update_blinders_repairs_what_arrived_another_way() -> None:
    ledger = started()
    made = distributed(ledger, ledger.account(1), told=False)
    later(ledger)
    ledger.tell(made, 1)
    assert ledger.lost() == [made.at(0), made.at(2)]
    ledger.tell(made, 0)
    assert ledger.lost() == []
    assert ledger.holders() == {None: 400, gaid(1): 600}


def test_a_known_output_of_nobody_is_lost_until_its_address_is_the_treasurys() -> None:
    ledger = started()
    made = make([ledger.issuance.at(0)], [Out(STRANGER, 300), Out(TREASURY, 700)])
    ledger.mine(made)
    ledger.tell(made)
    later(ledger)
    assert ledger.hidden() == 0
    assert ledger.lost() == [made.at(0)]
    with ledger.store.transaction() as db:
        add_treasury(db, STRANGER)
    assert ledger.lost() == []
    assert ledger.holders() == {None: ISSUED}


def test_what_came_to_a_removed_treasury_address_stays_the_treasurys() -> None:
    ledger = started()
    with ledger.store.transaction() as db:
        add_treasury(db, STRANGER, removed_at=5)
    made = make([ledger.issuance.at(0)], [Out(STRANGER, ISSUED, explicit=True)])
    ledger.mine(made)
    later(ledger)
    assert ledger.lost() == []
    assert ledger.holders() == {None: ISSUED}


def test_lost_outputs_of_the_token_are_told_apart() -> None:
    ledger = started()
    made = make([ledger.issuance.at(1)], [Out(NODE_CHANGE, TOKENS, TOKEN), Out(NODE_CHANGE, 3, POLICY)])
    ledger.mine(made)
    later(ledger)
    assert ledger.lost() == []
    assert ledger.lost(is_token=True) == [made.at(0), made.at(1)]


def test_a_spent_output_is_not_lost_and_its_spender_may_be() -> None:
    ledger = started()
    made = make([ledger.issuance.at(0)], [Out(NODE_CHANGE, ISSUED)])
    onward = make([made.at(0)], [Out(NODE_CHANGE, ISSUED)])
    ledger.mine(made, onward)
    later(ledger)
    assert ledger.lost() == [onward.at(0)]
    ledger.undo(ledger.height)
    assert ledger.lost() == []


def distribution(ledger: Ledger, script: bytes, state: str = "unconfirmed") -> None:
    """A distribution that is to pay a script."""
    with ledger.store.transaction() as db:
        db.execute(
            tables.distributions.insert().values(
                id=1, uuid="u", asset=1, creator_id=1, state=state, created_at=0,
                txid=bytes(32) if state == "confirmed" else None,
            )
        )  # fmt: skip
        db.execute(
            tables.assignments.insert().values(
                id=1, asset=1, user_id=7, creator_id=1, satoshi=600, is_ready=1, distribution_id=1, account_id=1,
                receiving_script=script, receiving_address="a", created_at=0,
            )
        )  # fmt: skip


def test_what_an_open_distribution_sent_is_awaited_with_all_that_was_spent_from_it() -> None:
    """The official tool refuses to work while anything is lost, so an interrupted distribution could not be resumed."""
    ledger = started()
    alice = ledger.account(1, user=7)
    distribution(ledger, alice)
    made = distributed(ledger, alice, told=False)
    onward = make([made.at(2)], [Out(STRANGER, 3, POLICY), Out(NODE_CHANGE, 1, POLICY)])
    ledger.mine(onward)
    later(ledger)
    assert ledger.lost() == []
    with ledger.store.transaction() as db:
        db.execute(tables.distributions.update().values(state="cancelled"))
    assert ledger.lost() == [made.at(0), made.at(1), *sorted([onward.at(0), onward.at(1)])]


@pytest.mark.parametrize("kind", ["reissue", "burn"])
def test_what_an_open_operation_sent_is_awaited(kind: str) -> None:
    ledger = started()
    if kind == "reissue":
        outs = [Out(NODE_CHANGE, 50), Out(NODE_CHANGE, TOKENS, TOKEN)]
        made = make([ledger.issuance.at(1)], outs, issuance=reissuance(50))
    else:
        made = make([ledger.issuance.at(0)], [Out(BURN, 50, explicit=True), Out(NODE_CHANGE, ISSUED - 50)])
    ledger.mine(made)
    later(ledger)
    assert ledger.hidden() > 0
    assert ledger.lost() == ledger.lost(is_token=True) == []
    with ledger.store.transaction() as db:
        common = {"txid": bytes(made.txid), "asset": 1, "satoshi": 50, "creator_id": 1, "created_at": 0}
        if kind == "reissue":
            db.execute(tables.reissuances.insert().values(vin=0, vout=0, address="", **common))
        else:
            db.execute(tables.burns.insert().values(**common))
    assert ledger.lost() != [], "confirmed, and still hidden"


def test_an_unaccounted_amount_does_not_come_from_an_open_operation_where_a_known_input_is_short() -> None:
    """A transaction that spends awaited change as well as known units, and hides the latter, is lost all the same."""
    ledger = started()
    alice = ledger.account(1, user=7)
    distribution(ledger, alice)
    rest = make([ledger.issuance.at(0)], [Out(TREASURY, 900), Out(TREASURY, 100)])
    ledger.mine(rest)
    ledger.tell(rest)
    made = make([rest.at(0)], [Out(alice, 900), Out(NODE_CHANGE, 5, POLICY)])
    both = make([made.at(1), rest.at(1)], [Out(NODE_CHANGE, 100)])
    ledger.mine(made, both)
    later(ledger)
    assert ledger.lost() == [both.at(0)]


def test_many_sealed_outputs_are_bounded_and_nothing_false_is_concluded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where outputs got no rows, their transaction looked as if it had none, and so its input as if it held nothing."""
    monkeypatch.setattr(entry, "MAX_SEALED", 4)
    ledger = started()
    made = make([ledger.issuance.at(0)], [Out(NODE_CHANGE, ISSUED), Out(NODE_CHANGE, 9, POLICY)])
    onward = make([made.at(0)], [Out(STRANGER, ISSUED), Out(STRANGER, 1, POLICY), Out(STRANGER, 1, POLICY)])
    further = make([onward.at(0)], [Out(STRANGER, ISSUED)])
    ledger.mine(made, onward, further)
    sealed = {(row.txid, row.vout) for row in ledger.rows() if row.satoshi is None}
    assert sealed == {(one.txid, vout) for one, vouts in ((made, (0, 1)), (onward, (0, 1, 2))) for vout in vouts}
    assert ledger.state(further) == 1, "its place is known, so that a reorganisation frees what it spent"
    assert ledger.hidden() == ISSUED
    ledger.undo()
    last = make([onward.at(0)], [Out(TREASURY, ISSUED)])
    ledger.mine(made, onward, last)
    assert ledger.state(further) == 2
    ledger.tell(made, 0)
    ledger.tell(onward, 0)
    ledger.mine()
    ledger.mine()
    assert [row for row in ledger.rows() if row.satoshi is None] == []
    assert ledger.hidden() == ISSUED, "the last step of the way was not followed"
    assert ledger.tell(last, 0) == [0]
    assert ledger.holders() == {None: ISSUED}
    assert ledger.hidden() == 0


# --- the past ------------------------------------------------------------------------------------------------------


def story(ledger: Ledger) -> tuple[Made, Made]:
    alice, bob = ledger.account(1, user=7), ledger.account(2)
    first = distributed(ledger, alice)
    ledger.cosign(second := make([first.at(0)], [Out(bob, 100), Out(alice, 500)]))
    ledger.mine(second)
    return first, second


def test_activities_are_one_for_each_output() -> None:
    ledger = started()
    first, second = story(ledger)
    with ledger.store.snapshot() as db:
        found = past.activities(db, AssetOf(), Page())
    assert [(one.kind, one.txid, one.vout, one.satoshi, one.gaid, one.user_id, one.is_treasury) for one in found] == [
        ("issuance", ledger.issuance.txid, 0, ISSUED, None, None, True),
        ("transfer", first.txid, 0, 600, gaid(1), 7, False),
        ("transfer", first.txid, 1, 400, None, None, True),
        ("transfer", second.txid, 0, 100, gaid(2), None, False),
        ("transfer", second.txid, 1, 500, gaid(1), 7, False),
    ]
    assert found[1].abf == first.openings[0].abf


def test_a_burn_and_its_change_are_two_activities() -> None:
    ledger = started()
    made = make([ledger.issuance.at(0)], [Out(TREASURY, 700), Out(BURN, 300, explicit=True)])
    ledger.mine(made)
    ledger.tell(made, 0)
    with ledger.store.snapshot() as db:
        kinds = [one.kind for one in past.activities(db, AssetOf(), Page(height_start=ledger.height))]
    assert kinds == ["transfer", "burn"]


@pytest.mark.parametrize(
    ("page", "expected"),
    [
        (Page(), [0, 1, 2]),
        (Page(descending=True), [2, 1, 0]),
        (Page(start=1), [1, 2]),
        (Page(count=2), [0, 1]),
        (Page(start=1, count=1), [1]),
        (Page(count=0), []),
        (Page(start=10**12, count=10**6), []),
        (Page(height_start=2), [1, 2]),
        (Page(height_start=2, height_stop=2), [1]),
        (Page(column="datetime", descending=True, count=1), [2]),
    ],
)
def test_pages_of_transactions(page: Page, expected: list[int]) -> None:
    ledger = started()
    txids = [ledger.issuance.txid, *(made.txid for made in story(ledger))]
    with ledger.store.snapshot() as db:
        assert [txids.index(one.txid) for one in past.transactions(db, AssetOf(), page)] == expected


@pytest.mark.parametrize("column", ["satoshi; DROP TABLE assets", "id", "", "height"])
def test_i07_columns_to_sort_by_are_a_closed_list(column: str) -> None:
    ledger = started()
    for read in (past.activities, past.transactions):
        with ledger.store.snapshot() as db, pytest.raises(UnknownColumn):
            read(db, AssetOf(), Page(column=column))


@pytest.mark.parametrize("column", ["blockheight", "datetime", "txid", "type", "amount", "vout"])
def test_activities_in_every_order(column: str) -> None:
    ledger = started()
    story(ledger)
    with ledger.store.snapshot() as db:
        up = past.activities(db, AssetOf(), Page(column=column))
        down = past.activities(db, AssetOf(), Page(column=column, descending=True))
    assert down == up[::-1]
    assert len(up) == 5


def test_a_transaction_shows_the_asset_and_its_token_and_nothing_else() -> None:
    ledger = started()
    made = make(
        [ledger.issuance.at(1)],
        [Out(TREASURY, 50), Out(TOKEN_TREASURY, TOKENS, TOKEN), Out(NODE_CHANGE, 3, POLICY)],
        issuance=reissuance(50),
    )
    ledger.mine(made)
    with ledger.store.snapshot() as db:
        sealed = past.transaction(db, AssetOf(), made.txid)
    assert sealed is not None
    assert [(end.number, end.satoshi, end.abf) for end in sealed.outputs] == [(n, None, bytes(32)) for n in (0, 1, 2)]
    ledger.tell(made, 0, 1)
    with ledger.store.snapshot() as db:
        known = past.transaction(db, AssetOf(), made.txid)
    assert known is not None
    assert known.kind == "reissuance"
    assert [(end.number, end.is_token, end.satoshi, end.is_treasury) for end in known.outputs] == [
        (0, False, 50, True),
        (1, True, TOKENS, True),
    ]
    (spent,) = known.inputs
    assert (spent.number, spent.txid, spent.vout, spent.is_token) == (0, ledger.issuance.txid, 1, True)
    assert (spent.abf, spent.vbf) == (ledger.issuance.openings[1].abf, ledger.issuance.openings[1].vbf)


def test_only_transactions_in_blocks_are_shown() -> None:
    ledger = started()
    made = make([ledger.issuance.at(0)], [Out(TREASURY, ISSUED)])
    ledger.send(made)
    with ledger.store.snapshot() as db:
        assert past.transaction(db, AssetOf(), made.txid) is None
        assert [one.txid for one in past.transactions(db, AssetOf(), Page())] == [ledger.issuance.txid]
        assert past.transaction(db, AssetOf(id=2), ledger.issuance.txid) is None


def test_suspects_alone_are_no_transaction_of_the_asset() -> None:
    """A node pays somebody from its L-BTC change while its distribution waits for the confirmation."""
    ledger = started()
    made = distributed(ledger, ledger.account(1), told=False)
    ledger.mine(make([made.at(2)], [Out(STRANGER, 3, POLICY), Out(NODE_CHANGE, 1, POLICY)]))
    with ledger.store.snapshot() as db:
        shown = [one.txid for one in past.transactions(db, AssetOf(), Page())]
    assert shown == [ledger.issuance.txid, made.txid]


# --- speed ---------------------------------------------------------------------------------------------------------


def test_registers_are_read_from_their_index_alone() -> None:
    ledger = started()
    outs = tables.asset_outputs
    query = (
        sa.select(outs.c.account_id, sa.func.sum(outs.c.satoshi))
        .where(held(1, height=5), outs.c.account_id.is_not(None))
        .group_by(outs.c.account_id)
    )
    with ledger.store.snapshot() as db:
        text = str(query.compile(db.engine, compile_kwargs={"literal_binds": True}))
        plan = [row[3] for row in db.exec_driver_sql("EXPLAIN QUERY PLAN " + text)]
    assert any("USING COVERING INDEX ix_asset_outputs_asset" in step for step in plan), plan
    assert not any("TEMP B-TREE" in step for step in plan), plan
