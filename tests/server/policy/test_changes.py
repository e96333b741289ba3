"""Changes of an asset's policy: at once or after a delay and others' approvals, each on record."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
import sqlalchemy as sa

from amp0.elements.hashes import Txid
from amp0.server.issuer import events
from amp0.server.issuer.refusals import Detail, NothingHere, OperationRefused
from amp0.server.policy import changes, loosening, rules, trial
from amp0.server.policy.apply import Action, Content
from amp0.server.policy.changes import CANCELLED, EFFECTIVE, PENDING, Approval, Change
from amp0.server.policy.facts import Asset
from amp0.server.store import asset_schema as tables
from amp0.server.store.engine import Store
from amp0.server.twofactor.clock import TrustedClock
from amp0.server.twofactor.delivery import Outbox
from amp0.server.twofactor.upkeep import Upkeep
from tests.server.policy.office import START, Office, an_asset, opened
from tests.server.twofactor.acting import make_factors

DAY = 86_400
TXID = "ab" * 31 + "01"
ADD_LIMIT = {"tag": "transfer_limit", "parameters": {"satoshi": 5}}
TREASURY = {"address": "an address", "script_pubkey": "0014" + "11" * 20}


@pytest.fixture
def office(store: Store) -> Iterator[Office]:
    with store.transaction() as db:
        yield opened(db)


# --- at once -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("does", "undoes", "content", "table"),
    [
        ("lock", "unlock", {}, None),
        ("whitelist", "blacklist", {"outpoints": [{"txid": TXID, "vout": 3}]}, tables.blacklisted_outputs),
        ("add_treasury_address", "remove_treasury_address", TREASURY, tables.treasury_addresses),
        ("add_requirement", "remove_requirement", {"category_id": 7}, tables.category_assets),
    ],
)
def test_a_change_takes_effect_at_once_where_nothing_else_is_asked(
    office: Office, does: str, undoes: str, content: Content, table: sa.Table | None
) -> None:
    def there() -> tuple[object, ...]:
        if table is None:
            return (office.row.is_locked,)
        return tuple(tuple(row) for row in office.db.execute(sa.select(table)))

    before = there()
    for action in (does, undoes, does, does, undoes, undoes):
        version = office.row.policy_version
        change = office.asks(action, content)
        assert (change.state, change.settled_by) == (EFFECTIVE, office.principals["issuer"].id)
        assert office.row.policy_version == version + 1
        if action == does and does != "whitelist":
            assert there() != before
    if table is tables.treasury_addresses:
        assert office.db.execute(sa.select(table.c.removed_at)).scalar_one() == START
    elif does != "whitelist":
        assert there() == before
    else:
        row = office.db.execute(sa.select(tables.blacklisted_outputs)).one()
        assert (row.prev_txid, row.prev_vout, row.since) == (bytes(Txid(TXID)), 3, START)


def test_rules_are_added_replaced_and_ended_and_the_old_ones_stay_on_record(office: Office) -> None:
    office.asks("add_rule", ADD_LIMIT)
    assert office.rules() == ['{"satoshi":5}']
    number = office.db.execute(sa.select(tables.asset_rules.c.id)).scalar_one()
    office.asks("replace_rule", {"rule_id": number, "tag": "transfer_limit", "parameters": {"satoshi": 9}})
    assert office.rules() == ['{"satoshi":9}']
    with pytest.raises(OperationRefused, match="not in force"):
        office.asks("end_rule", {"rule_id": number})
    office.asks("end_rule", {"rule_id": number + 1})
    assert office.rules() == []
    assert len(office.db.execute(sa.select(tables.asset_rules)).all()) == 2


def test_the_endpoint_and_the_policy_of_the_policy(office: Office) -> None:
    office.asks("set_endpoint", {"url": "https://issuer.example/check"})
    assert office.row.authorization_endpoint == "https://issuer.example/check"
    office.asks("set_endpoint", {"url": ""})
    assert office.row.authorization_endpoint is None
    office.asks("set_policy", {"loosening_delay": DAY, "required_approvals": 1, "checks_sender_categories": True})
    assert (office.row.loosening_delay, office.row.required_approvals, office.row.checks_sender_categories) == (
        DAY,
        1,
        1,
    )


def test_every_change_is_kept_with_who_and_when(office: Office) -> None:
    office.asks("lock", {}, "mara")
    office.now += 5
    office.asks("unlock", {})
    unlocked, locked = changes.listed(office.db, office.asset)
    assert (locked.action, locked.requested_by, locked.requested_at) == (
        Action.LOCK,
        office.principals["mara"].id,
        START,
    )
    assert (locked.loosens, unlocked.loosens) == (False, True)
    assert unlocked.settled_at == START + 5
    assert changes.listed(office.db, office.asset, before=unlocked.id) == [locked]
    assert changes.listed(office.db, office.asset, state=PENDING) == []


# --- waiting -------------------------------------------------------------------------------------------------------


def test_c11_a_loosening_is_not_usable_before_its_time_and_a_tightening_is_at_once(office: Office) -> None:
    office.wants(loosening_delay=2 * DAY)
    assert office.asks("lock", {}).state == EFFECTIVE
    change = office.asks("unlock", {})
    assert (change.state, change.not_before) == (PENDING, START + 2 * DAY)
    version = office.row.policy_version
    assert office.later(2 * DAY - 1) == []
    assert (office.row.is_locked, office.row.policy_version) == (1, version)
    [settled] = office.later(1)
    assert (settled.state, settled.settled_by, settled.settled_at) == (EFFECTIVE, None, START + 2 * DAY)
    assert (office.row.is_locked, office.row.policy_version) == (0, version + 1)
    assert office.later(DAY) == []


def test_c11_lowering_the_delay_waits_for_the_delay(office: Office) -> None:
    office.wants(loosening_delay=2 * DAY, required_approvals=1)
    assert office.asks("set_policy", {"loosening_delay": 3 * DAY, "required_approvals": 2}).state == EFFECTIVE
    office.wants(required_approvals=0)
    change = office.asks("set_policy", {"loosening_delay": 0})
    assert (change.state, office.row.loosening_delay) == (PENDING, 3 * DAY)
    # Nor does what is asked for meanwhile wait shorter.
    office.asks("lock", {})
    unlock = office.asks("unlock", {})
    office.later(3 * DAY)
    assert (office.row.loosening_delay, office.reads(unlock).state) == (0, EFFECTIVE)


def test_c11_the_caller_does_not_judge_what_loosens(office: Office) -> None:
    office.wants(loosening_delay=DAY, is_locked=1)
    assert changes.request(office.call(), office.row, "unlock", {}, loosens=False).state == PENDING
    assert changes.request(office.call(), office.row, "blacklist", {"outpoints": []}, loosens=True).state == PENDING


def test_what_changes_nothing_does_not_wait(office: Office) -> None:
    office.wants(loosening_delay=DAY)
    assert office.asks("unlock", {}).state == EFFECTIVE
    assert office.asks("whitelist", {"outpoints": [{"txid": TXID, "vout": 0}]}).state == EFFECTIVE
    assert office.asks("remove_requirement", {"category_id": 7}).state == EFFECTIVE
    assert office.asks("set_endpoint", {"url": None}).state == EFFECTIVE


def test_asking_again_for_what_waits_gives_back_what_waits(office: Office) -> None:
    office.wants(loosening_delay=DAY, is_locked=1)
    change = office.asks("unlock", {})
    office.now += DAY // 2
    assert office.asks("unlock", {}, "mara") == change


def test_a_tightening_cancels_what_waits_about_the_same(office: Office) -> None:
    office.wants(loosening_delay=DAY, is_locked=1)
    change, other = office.asks("unlock", {}), office.asks("add_treasury_address", TREASURY)
    office.asks("lock", {}, "mara")
    cancelled = office.reads(change)
    assert (cancelled.state, cancelled.settled_by) == (CANCELLED, office.principals["mara"].id)
    assert office.reads(other).state == PENDING
    office.later(DAY)
    assert office.row.is_locked == 1


def test_an_output_is_the_same_however_its_id_is_written(office: Office) -> None:
    office.wants(loosening_delay=DAY)
    office.asks("blacklist", {"outpoints": [{"txid": TXID, "vout": 3}, {"txid": TXID, "vout": 4}]})
    change = office.asks("whitelist", {"outpoints": [{"txid": TXID, "vout": 3}]})
    assert change.state == PENDING
    office.asks("blacklist", {"outpoints": [{"txid": TXID.upper(), "vout": 3}]})
    assert office.reads(change).state == CANCELLED


def test_whoever_works_on_the_asset_cancels_and_only_what_waits(office: Office) -> None:
    office.wants(loosening_delay=DAY, is_locked=1)
    change = office.asks("unlock", {})
    assert changes.cancel(office.call("mara"), office.row, change.id).state == CANCELLED
    assert changes.cancel(office.call("noel"), office.row, change.id).settled_by == office.principals["mara"].id
    office.later(DAY)
    assert office.row.is_locked == 1
    done = office.asks("lock", {})
    with pytest.raises(OperationRefused, match="effective"):
        changes.cancel(office.call(), office.row, done.id)


def test_no_more_than_so_many_wait(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(changes, "MAX_PENDING", 2)
    office.wants(loosening_delay=DAY)
    for number in range(2):
        office.asks("add_treasury_address", {"address": "", "script_pubkey": f"{number:02}"})
    with pytest.raises(OperationRefused, match="wait already"):
        office.asks("add_treasury_address", {"address": "", "script_pubkey": "02"})
    assert office.asks("lock", {}).state == EFFECTIVE


def test_what_became_impossible_meanwhile_is_cancelled_and_the_rest_goes_on(office: Office) -> None:
    office.asks("add_rule", ADD_LIMIT)
    number = office.db.execute(sa.select(tables.asset_rules.c.id)).scalar_one()
    office.wants(loosening_delay=DAY, is_locked=1)
    ending, unlocking = office.asks("end_rule", {"rule_id": number}), office.asks("unlock", {})
    office.db.execute(sa.update(tables.asset_rules).values(ended_at=START))
    assert [change.state for change in office.later(DAY)] == [CANCELLED, EFFECTIVE]
    assert (office.reads(ending).state, office.reads(unlocking).state) == (CANCELLED, EFFECTIVE)


def test_nothing_of_a_deleted_asset_is_loosened(office: Office) -> None:
    office.wants(loosening_delay=DAY, is_locked=1)
    change = office.asks("unlock", {})
    office.wants(deleted_at=START)
    office.later(DAY)
    assert (office.reads(change).state, office.row.is_locked) == (CANCELLED, 1)


def test_c08_time_in_which_the_server_did_not_run_is_added(office: Office) -> None:
    office.wants(loosening_delay=DAY, is_locked=1)
    change = office.asks("unlock", {})
    changes.prolong(office.db, 3 * DAY)
    assert office.later(3 * DAY) == []
    assert office.reads(change).not_before == START + 4 * DAY
    assert [change.state for change in office.later(DAY)] == [EFFECTIVE]


class Times:
    """A wall clock that can be set, and a monotonic one that cannot."""

    def __init__(self) -> None:
        self.wall, self.passed = float(START), 0.0

    def go(self, seconds: float) -> None:
        self.wall += seconds
        self.passed += seconds


@pytest.mark.parametrize("jump", [2 * DAY, 400 * DAY, -2 * DAY])
def test_c08_a_clock_that_was_set_does_not_open_a_lock_early(store: Store, jump: int) -> None:
    times = Times()
    factors = make_factors(lambda: times.wall, Outbox(lambda: times.wall), monotonic=lambda: times.passed)
    upkeep = Upkeep(factors, store, [changes])
    with store.transaction() as db:
        office = opened(db)
        office.wants(loosening_delay=DAY, is_locked=1)
        office.now = factors.now()
        change = office.asks("unlock", {})

    def state() -> str:
        upkeep.run()
        with store.snapshot() as db:
            return changes.find(db, office.asset, change.id).state

    times.wall += jump
    assert state() == PENDING
    times.go(DAY)
    # Its time has passed; but who sets clocks has not been looked at yet.
    assert state() == PENDING
    times.wall -= jump
    assert state() == EFFECTIVE


def test_c08_days_without_the_server_count_as_one(store: Store) -> None:
    with store.transaction() as db:
        office = opened(db)
        office.wants(loosening_delay=3 * DAY, is_locked=1)
        change = office.asks("unlock", {})
    clock = TrustedClock(lambda: START + 5 * DAY, lambda: 0.0, tolerance=300, max_gap=DAY, mark=START)
    factors = replace(make_factors(lambda: START, Outbox(lambda: START)), clock=clock)
    upkeep = Upkeep(factors, store, [changes])
    upkeep.begin()
    upkeep.run()
    with store.snapshot() as db:
        waits = changes.find(db, office.asset, change.id)
    assert (waits.state, waits.not_before) == (PENDING, START + 7 * DAY)


# --- approvals -----------------------------------------------------------------------------------------------------


def test_approvals_of_others_let_a_loosening_through(office: Office) -> None:
    office.wants(required_approvals=2, is_locked=1)
    change = office.asks("unlock", {})
    assert (change.state, change.approvals) == (PENDING, ())
    assert office.approves(change, "mara").state == PENDING
    assert office.approves(change, "mara").approvals == (Approval(office.principals["mara"].id, "mara", START),)
    assert office.later(100 * DAY) == []
    done = office.approves(change, "noel")
    assert (done.state, done.settled_by, office.row.is_locked) == (EFFECTIVE, office.principals["noel"].id, 0)


def test_approved_it_still_waits_for_its_time(office: Office) -> None:
    office.wants(required_approvals=1, loosening_delay=DAY, is_locked=1)
    change = office.asks("unlock", {})
    assert office.approves(change, "mara").state == PENDING
    assert office.row.is_locked == 1
    assert [settled.id for settled in office.later(DAY)] == [change.id]


@pytest.mark.parametrize("person", ["Ines", "ines", " INES ", "Ｉｎｅｓ", "Ines "])
def test_c09_nobody_approves_their_own_request_with_another_login(office: Office, person: str) -> None:
    office.hire("second", person)
    office.wants(required_approvals=1, is_locked=1)
    change = office.asks("unlock", {})
    for who in ("issuer", "second"):
        with pytest.raises(Detail, match="Nobody approves") as refused:
            office.approves(change, who)
        assert refused.value.status == 403
    # Nor the other way round.
    other = office.asks("add_treasury_address", TREASURY, "second")
    with pytest.raises(Detail, match="Nobody approves"):
        office.approves(other, "issuer")


def test_c09_two_logins_of_one_person_are_one_approval(office: Office) -> None:
    office.hire("mara2", "Mara ")
    office.wants(required_approvals=2, is_locked=1)
    change = office.asks("unlock", {})
    office.approves(change, "mara")
    assert office.approves(change, "mara2").state == PENDING
    assert office.approves(change, "noel").state == EFFECTIVE


def test_c09_a_login_that_became_the_requesters_does_not_count(office: Office) -> None:
    office.wants(required_approvals=1, loosening_delay=DAY, is_locked=1)
    change = office.asks("unlock", {})
    office.approves(change, "mara")
    mara = tables.principals.c.id == office.principals["mara"].id
    office.db.execute(sa.update(tables.principals).where(mara).values(person="Ines"))
    assert office.later(DAY) == []


@pytest.mark.parametrize("action", ["create_manager", "unlock_manager", "change_manager_password", "add_manager_asset"])
def test_c09_an_approver_made_by_who_asks_does_not_approve(office: Office, action: str) -> None:
    """Whoever has the issuer's password can make a manager of any name, or take one over."""
    office.wants(required_approvals=1, loosening_delay=DAY, is_locked=1)
    mara, noel = (office.principals[name].id for name in ("mara", "noel"))
    events.note(office.call(), action, manager=mara)
    office.now += DAY
    change = office.asks("unlock", {})
    office.approves(change, "mara")
    office.now += DAY // 2
    # Of the one who had agreed, the login is taken over; the other one's has been just now.
    for manager in (mara, noel):
        events.note(office.call(), action, manager=manager)
    assert office.reads(change).approvals == ()
    assert office.later(DAY) == []
    for who in ("mara", "noel"):
        with pytest.raises(Detail, match="too lately"):
            office.approves(change, who)
    office.asks("lock", {}, "mara")
    office.now += DAY
    assert len(office.approves(office.asks("unlock", {}), "noel").approvals) == 1


def test_c09_without_a_delay_an_approver_is_there_before_the_request(office: Office) -> None:
    office.wants(required_approvals=1, is_locked=1)
    mara, noel = (office.principals[name].id for name in ("mara", "noel"))
    events.note(office.call(), "create_manager", manager=mara)
    change = office.asks("unlock", {})
    events.note(office.call(), "create_manager", manager=noel)
    with pytest.raises(Detail, match="too lately"):
        office.approves(change, "noel")
    assert office.approves(change, "mara").state == EFFECTIVE


def test_a_login_handed_out_by_somebody_else_may_approve(office: Office) -> None:
    office.wants(required_approvals=1, loosening_delay=DAY, is_locked=1)
    change = office.asks("unlock", {}, "noel")
    events.note(office.call(), "unlock_manager", manager=office.principals["mara"].id)
    assert len(office.approves(change, "mara").approvals) == 1


def test_approvals_of_logins_that_were_locked_or_left_do_not_count(office: Office) -> None:
    office.hire("mara2", "mara")
    office.wants(required_approvals=2, loosening_delay=DAY, is_locked=1)
    change = office.asks("unlock", {})
    for who in ("mara", "noel"):
        office.approves(change, who)
    mara = tables.principals.c.id == office.principals["mara"].id
    office.db.execute(sa.update(tables.principals).where(mara).values(is_locked=1))
    assert office.later(DAY) == []
    # The same person agrees again with a login that is not locked.
    assert office.approves(change, "mara2").state == EFFECTIVE

    # Who agreed to what is done stays on record, whatever becomes of their logins.
    mara2 = tables.principals.c.id == office.principals["mara2"].id
    office.db.execute(sa.update(tables.principals).where(mara2).values(is_locked=1))
    assert [approval.person for approval in office.reads(change).approvals] == ["noel", "mara"]
    office.db.execute(sa.update(tables.principals).where(mara2).values(is_locked=0))

    office.wants(is_locked=1)
    change = office.asks("unlock", {})
    for who in ("mara2", "noel"):
        office.approves(change, who)
    noel = tables.manager_assets.c.manager_id == office.principals["noel"].id
    office.db.execute(sa.delete(tables.manager_assets).where(noel))
    assert office.later(DAY) == []


def test_c10_an_edit_is_a_new_change_without_approvals(office: Office) -> None:
    office.asks("add_rule", ADD_LIMIT)
    number = office.db.execute(sa.select(tables.asset_rules.c.id)).scalar_one()
    office.wants(required_approvals=2)

    def widened(satoshi: int) -> Change:
        content = {"rule_id": number, "tag": "transfer_limit", "parameters": {"satoshi": satoshi}}
        return office.asks("replace_rule", content)

    modest = widened(6)
    office.approves(modest, "mara")
    greedy = widened(1_000_000)
    assert office.reads(modest).state == CANCELLED
    assert (greedy.id != modest.id, greedy.approvals) == (True, ())
    # What was agreed to is the hash, so the approval of one is none of the other.
    with pytest.raises(OperationRefused, match="not what was agreed"):
        changes.approve(office.call("noel"), office.row, greedy.id, modest.content_hash)
    with pytest.raises(OperationRefused, match="cancelled"):
        office.approves(modest, "noel")
    assert office.approves(greedy, "noel").state == PENDING
    assert office.rules() == ['{"satoshi":5}']


def test_c10_an_approval_of_other_content_counts_for_nothing(office: Office) -> None:
    office.wants(required_approvals=1, loosening_delay=DAY, is_locked=1)
    change = office.asks("unlock", {})
    office.approves(change, "mara")
    office.db.execute(
        sa.update(tables.rule_changes).where(tables.rule_changes.c.id == change.id).values(content_hash=bytes(32))
    )
    assert office.later(DAY) == []


def test_changes_of_another_asset_are_not_there(office: Office) -> None:
    office.wants(required_approvals=1, is_locked=1)
    change = office.asks("unlock", {})
    other = sa.insert(tables.assets).values(an_asset(office.principals["issuer"].id, 2)).returning(tables.assets.c.id)
    row = office.db.execute(
        sa.select(tables.assets).where(tables.assets.c.id == office.db.execute(other).scalar_one())
    ).one()
    with pytest.raises(NothingHere):
        changes.find(office.db, row.id, change.id)
    with pytest.raises(NothingHere):
        changes.approve(office.call("mara"), row, change.id, change.content_hash)
    with pytest.raises(NothingHere):
        changes.cancel(office.call("mara"), row, change.id)


def test_what_needs_no_approval_takes_none(office: Office) -> None:
    office.wants(loosening_delay=DAY, is_locked=1)
    with pytest.raises(OperationRefused, match="no approval"):
        office.approves(office.asks("unlock", {}), "mara")


def test_on_every_database(any_store: Store) -> None:
    with any_store.transaction() as db:
        office = opened(db)
        for action, content in (
            ("lock", {}),
            ("blacklist", {"outpoints": [{"txid": TXID, "vout": 3}]}),
            ("add_requirement", {"category_id": 7}),
            ("add_treasury_address", TREASURY),
            ("add_rule", ADD_LIMIT),
            ("set_policy", {"loosening_delay": DAY, "required_approvals": 1, "checks_sender_categories": True}),
        ):
            assert office.asks(action, content).state == EFFECTIVE
        change = office.asks("unlock", {})
        office.approves(change, "mara")
        assert office.later(DAY - 1) == []
        assert [settled.state for settled in office.later(1)] == [EFFECTIVE]
        assert office.row.is_locked == 0
        asset = Asset(office.asset, office.row.uuid, bytes(32), office.principals["issuer"].id, 1)
        assert trial.try_rule(db, asset, rules.TransferLimit(5), office.now, 100).transfers == 0


# --- what loosens --------------------------------------------------------------------------------------------------


LATER, SOONER = START + DAY, START - DAY
USER = {"user_id": 3}
VESTING = USER | {"schedule": [[START, 10], [LATER, 10]]}
BURN = {"satoshi": 10, "until": START, "since": 5}

STRICTER: list[tuple[str, dict[str, Any], dict[str, Any]]] = [
    ("transfer_limit", {"satoshi": 10}, {"satoshi": 9}),
    ("max_balance", {"satoshi": 10}, {"satoshi": 9}),
    ("max_holders", {"holders": 10}, {"holders": 9}),
    ("period_limit", {"satoshi": 10, "seconds": 60}, {"satoshi": 9, "seconds": 60}),
    ("period_limit", {"satoshi": 10, "seconds": 60}, {"satoshi": 10, "seconds": 61}),
    ("lock_up", {"until": START}, {"until": LATER}),
    ("holding_period", {"seconds": 60}, {"seconds": 61}),
    ("frozen_holder", {"users": [3]}, {"users": [3, 4]}),
    ("time_window", {"weekdays": [1, 2], "from": 60, "to": 120}, {"weekdays": [2], "from": 60, "to": 120}),
    ("time_window", {"weekdays": [1], "from": 60, "to": 120}, {"weekdays": [1], "from": 61, "to": 119}),
    ("vesting", VESTING, USER | {"schedule": [[LATER, 20]]}),
    ("vesting", VESTING, USER | {"schedule": [[START, 10], [LATER, 11]]}),
    ("issuer_burn", BURN, BURN | {"satoshi": 9}),
    ("issuer_burn", BURN, BURN | {"until": SOONER}),
    ("issuer_burn", BURN, BURN | USER),
]


@pytest.mark.parametrize(("tag", "old", "new"), STRICTER)
def test_a_stricter_rule_tightens_and_the_way_back_loosens(tag: str, old: dict[str, Any], new: dict[str, Any]) -> None:
    assert not loosening.rule_loosens((tag, old), (tag, new))
    assert loosening.rule_loosens((tag, new), (tag, old))


@pytest.mark.parametrize(
    ("tag", "old", "new"),
    [
        ("period_limit", {"satoshi": 10, "seconds": 60}, {"satoshi": 9, "seconds": 59}),
        ("time_window", {"weekdays": [1], "from": 60, "to": 120}, {"weekdays": [2], "from": 60, "to": 120}),
        ("time_window", {"weekdays": [1], "from": 60, "to": 120}, {"weekdays": [1], "from": 100, "to": 130}),
        ("vesting", VESTING, VESTING | {"user_id": 4}),
        ("vesting", VESTING, USER | {"schedule": [[SOONER, 20], [LATER, 10]]}),
        ("issuer_burn", BURN, BURN | {"since": 6}),
        ("issuer_burn", BURN | USER, BURN | {"user_id": 4}),
        ("frozen_holder", {"users": [3]}, {"users": [4]}),
    ],
)
def test_stricter_in_one_way_and_looser_in_another_loosens(tag: str, old: dict[str, Any], new: dict[str, Any]) -> None:
    assert loosening.rule_loosens((tag, old), (tag, new))


def test_every_kind_of_rule_is_compared() -> None:
    assert {tag for tag, _, _ in STRICTER} == set(rules.SETTABLE)


@pytest.mark.parametrize("tag", sorted(rules.SETTABLE))
def test_adding_and_ending_a_rule(tag: str) -> None:
    parameters = next(old for kind, old, _ in STRICTER if kind == tag)
    allows = tag == "issuer_burn"
    assert loosening.rule_loosens(None, (tag, parameters)) is allows
    assert loosening.rule_loosens((tag, parameters), None) is not allows


def test_a_burn_approved_anew_counts_anew() -> None:
    approval = ("issuer_burn", {"satoshi": 10, "until": START})
    assert loosening.rule_loosens(approval, approval)


def test_a_rule_that_nobody_knows_loosens() -> None:
    assert loosening.rule_loosens(None, ("unheard_of", {}))
    assert loosening.rule_loosens(("unheard_of", {"a": 1}), ("unheard_of", {"a": 2}))
    assert loosening.rule_loosens(("unheard_of", {}), None)
    assert not loosening.rule_loosens(("unheard_of", {"a": 1}), ("unheard_of", {"a": 1}))
    assert loosening.rule_loosens(("transfer_limit", {"satoshi": "many"}), ("transfer_limit", {"satoshi": 1}))
    assert loosening.rule_loosens(("transfer_limit", {"satoshi": 1}), ("max_balance", {"satoshi": 1}))
