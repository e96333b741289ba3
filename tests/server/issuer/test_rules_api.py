"""Rules, changes, settings and refusals as an issuer and their managers see them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import msgspec
import pytest
import sqlalchemy as sa

from amp0.elements.hashes import Txid
from amp0.protocol import issuer as wire
from amp0.protocol.issuer_fields import date_text
from amp0.server.issuer import rules_api
from amp0.server.issuer.endpoint import Runs, Who
from amp0.server.issuer.refusals import Detail, NothingHere, OperationRefused, WrongFields
from amp0.server.policy import changes
from amp0.server.store import asset_schema as tables
from amp0.server.store import schema
from amp0.server.store.engine import Store
from tests.server.issuer.office import Office as Premises
from tests.server.policy.office import START, Office, an_asset, opened

DAY = 86_400
LIMIT = wire.RuleAdd(tag="transfer_limit", parameters={"satoshi": 5})


class Desk(Office):
    """An office whose calls are about its asset."""

    def do(self, function: Callable[[Any, Any], Any], body: Any = None, who: str = "issuer", **more: Any) -> Any:
        query = more.pop("query", None)
        return function(self.call(who, query, asset_uuid=self.row.uuid, **more), body)

    def add(self, tag: str, who: str = "issuer", **parameters: Any) -> wire.Change:
        change: wire.Change = self.do(rules_api.add_rule, wire.RuleAdd(tag=tag, parameters=parameters), who)
        return change

    def in_force(self) -> list[tuple[str, dict[str, Any]]]:
        return [(rule.tag, rule.parameters) for rule in self.do(rules_api.list_rules)]


@pytest.fixture
def desk(store: Store) -> Iterator[Desk]:
    with store.transaction() as db:
        made = opened(db)
        yield Desk(db, principals=made.principals, asset=made.asset)


def wrong(call: Callable[[], Any]) -> dict[str, Any]:
    with pytest.raises(WrongFields) as refused:
        call()
    return dict(refused.value.errors)


# --- rules ---------------------------------------------------------------------------------------------------------


def test_rules_are_added_edited_and_ended(desk: Desk) -> None:
    change = desk.add("transfer_limit", satoshi=5)
    assert (change.state, change.loosens, change.content) == (
        "effective",
        False,
        {"tag": "transfer_limit", "parameters": {"satoshi": 5}},
    )
    [rule] = desk.do(rules_api.list_rules)
    assert rule == wire.Rule(
        id=rule.id,
        tag="transfer_limit",
        parameters={"satoshi": 5},
        created_at=date_text(START),
        created_by=desk.principals["issuer"].id,
    )
    desk.do(rules_api.edit_rule, wire.RuleAdd(tag="transfer_limit", parameters={"satoshi": 4}), rule_id=rule.id)
    [newer] = desk.do(rules_api.list_rules)
    assert (newer.id > rule.id, newer.parameters) == (True, {"satoshi": 4})
    for function, body in ((rules_api.end_rule, None), (rules_api.edit_rule, LIMIT)):
        with pytest.raises(NothingHere):
            desk.do(function, body, rule_id=rule.id)
    assert desk.do(rules_api.end_rule, rule_id=newer.id).loosens
    assert desk.in_force() == []


def test_a_rule_is_written_in_its_one_form(desk: Desk) -> None:
    """So that one that is in force already is seen to be."""
    first: dict[str, Any] = {"weekdays": [5, 1, 3], "from": 60, "to": 120}
    desk.add("time_window", **first)
    assert desk.in_force() == [("time_window", {"weekdays": [1, 3, 5], "from": 60, "to": 120})]
    with pytest.raises(OperationRefused, match="in force already"):
        desk.add("time_window", **dict(reversed(first.items())) | {"weekdays": [3, 1, 5]})


@pytest.mark.parametrize(
    ("tag", "parameters", "field"),
    [
        ("no_such_rule", {}, "tag"),
        ("transfer_limit", {}, "parameters"),
        ("transfer_limit", {"satoshi": "5"}, "parameters"),
        ("transfer_limit", {"satoshi": 5.0}, "parameters"),
        ("transfer_limit", {"satoshi": True}, "parameters"),
        ("transfer_limit", {"satoshi": 0}, "parameters"),
        ("transfer_limit", {"satoshi": -1}, "parameters"),
        ("transfer_limit", {"satoshi": 2_100_000_000_000_001}, "parameters"),
        ("transfer_limit", {"satoshi": 5, "more": 1}, "parameters"),
        ("time_window", {"weekdays": [1], "from": 120, "to": 60}, "parameters"),
        ("frozen_holder", {"users": [77]}, "parameters"),
        ("issuer_burn", {"satoshi": 5, "until": 9, "user_id": 77}, "parameters"),
    ],
)
def test_i02_i06_wrong_rules_are_refused_by_field(desk: Desk, tag: str, parameters: dict[str, Any], field: str) -> None:
    assert wrong(lambda: desk.add(tag, **parameters)).keys() == {field}
    assert desk.in_force() == []
    assert desk.do(rules_api.list_changes, query=wire.ChangeFilter()) == []


def test_a_rule_names_users_of_its_issuer_only(desk: Desk) -> None:
    issuer = desk.principals["issuer"].id
    stranger = desk.hire("stranger", manager=False).id
    row = {"creator_id": issuer, "name": "A", "is_company": 0, "is_frozen": 0, "created_at": START}
    desk.db.execute(
        tables.registered_users.insert(),
        [
            row | {"id": 1, "issuer_id": issuer, "deleted_at": None},
            row | {"id": 2, "issuer_id": stranger, "deleted_at": None},
            row | {"id": 3, "issuer_id": issuer, "deleted_at": START},
        ],
    )
    for user in (2, 3):
        assert wrong(lambda user=user: desk.add("frozen_holder", users=[1, user]))  # type: ignore[misc]
    assert desk.add("frozen_holder", users=[1]).state == "effective"


def test_the_number_of_rules_is_bounded(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rules_api, "MAX_RULES", 2)
    for satoshi in (1, 2):
        desk.add("transfer_limit", satoshi=satoshi)
    with pytest.raises(OperationRefused, match="at most 2"):
        desk.add("transfer_limit", satoshi=3)


def test_a_rule_is_replaced_by_one_of_its_kind(desk: Desk) -> None:
    desk.add("transfer_limit", satoshi=5)
    [rule] = desk.do(rules_api.list_rules)
    body = wire.RuleAdd(tag="max_balance", parameters={"satoshi": 5})
    assert wrong(lambda: desk.do(rules_api.edit_rule, body, rule_id=rule.id)).keys() == {"tag"}


# --- who -----------------------------------------------------------------------------------------------------------


def test_managers_tighten_and_the_issuer_loosens(desk: Desk) -> None:
    assert desk.add("transfer_limit", "mara", satoshi=5).state == "effective"
    [rule] = desk.do(rules_api.list_rules, who="mara")
    stricter, looser = (wire.RuleAdd(tag="transfer_limit", parameters={"satoshi": n}) for n in (4, 6))
    for function, body in ((rules_api.edit_rule, looser), (rules_api.end_rule, None)):
        with pytest.raises(Detail, match="only the issuer") as refused:
            desk.do(function, body, "mara", rule_id=rule.id)
        assert refused.value.status == 403
    with pytest.raises(Detail, match="only the issuer"):
        desk.add("issuer_burn", "mara", satoshi=5, until=START + DAY)
    assert desk.do(rules_api.edit_rule, stricter, "mara", rule_id=rule.id).state == "effective"
    [rule] = desk.do(rules_api.list_rules)
    assert desk.do(rules_api.edit_rule, looser, rule_id=rule.id).state == "effective"


def test_c11_a_manager_who_approves_is_another_person(desk: Desk) -> None:
    desk.wants(required_approvals=1, loosening_delay=DAY)
    change = desk.add("issuer_burn", satoshi=5, until=START + DAY)
    assert (change.state, change.loosens, change.not_before) == ("pending", True, date_text(START + DAY))
    agree = wire.ChangeApprove(content_hash=change.content_hash)
    with pytest.raises(Detail):
        desk.do(rules_api.approve_change, agree, change_id=change.id)
    other = wire.ChangeApprove(content_hash="00" * 32)
    with pytest.raises(OperationRefused, match="not what was agreed"):
        desk.do(rules_api.approve_change, other, "mara", change_id=change.id)
    approved = desk.do(rules_api.approve_change, agree, "mara", change_id=change.id)
    assert approved.approvals == [
        wire.Approval(principal=desk.principals["mara"].id, person="mara", at=date_text(START))
    ]
    assert desk.in_force() == []
    desk.later(DAY)
    assert [tag for tag, _ in desk.in_force()] == ["issuer_burn"]
    [shown] = desk.do(rules_api.list_changes, query=wire.ChangeFilter(), who="noel")
    assert (shown.state, shown.settled_at, shown.settled_by) == ("effective", date_text(START + DAY), None)


def test_the_queue_is_seen_and_cancelled(desk: Desk) -> None:
    desk.wants(loosening_delay=DAY)
    first, second = (desk.add("issuer_burn", satoshi=n, until=START + DAY) for n in (5, 6))
    desk.add("transfer_limit", satoshi=5)

    def shown(**query: Any) -> list[int]:
        return [change.id for change in desk.do(rules_api.list_changes, query=wire.ChangeFilter(**query))]

    assert shown(state="pending") == [second.id, first.id]
    assert len(shown()) == 3
    assert shown(count=1) == [second.id + 1]
    assert shown(before=second.id) == [first.id]
    assert desk.do(rules_api.cancel_change, who="mara", change_id=first.id).state == "cancelled"
    assert shown(state="pending") == [second.id]
    with pytest.raises(NothingHere):
        desk.do(rules_api.cancel_change, change_id=999)


def test_changes_are_in_the_log(desk: Desk) -> None:
    desk.wants(required_approvals=1)
    change = desk.add("issuer_burn", satoshi=5, until=START + DAY)
    agree = wire.ChangeApprove(content_hash=change.content_hash)
    desk.do(rules_api.approve_change, agree, "mara", change_id=change.id)
    kept = desk.db.execute(sa.select(tables.issuer_events.c.action, tables.issuer_events.c.principal_id)).all()
    issuer, mara = (desk.principals[name].id for name in ("issuer", "mara"))
    assert [tuple(row) for row in kept] == [("add_rule", issuer), ("approve_change", mara)]


@pytest.mark.parametrize("endpoint", rules_api.ENDPOINTS, ids=lambda row: f"{row.methods[0]} {row.path}")
def test_i01_nothing_of_another_issuers_asset_is_there(desk: Desk, endpoint: Any) -> None:
    assert "{asset_uuid}" in endpoint.path, "an endpoint that is not of an asset needs a test of its own"
    stranger = desk.hire("stranger", manager=False)
    other = sa.insert(tables.assets).values(an_asset(stranger.id, 2)).returning(tables.assets.c.uuid)
    uuid = desk.db.execute(other).scalar_one()
    body = None if endpoint.body is None else msgspec.convert(_example(endpoint.body), endpoint.body)
    query = None if endpoint.query is None else endpoint.query()
    call = desk.call("issuer", query, asset_uuid=uuid, rule_id=1, change_id=1)
    with pytest.raises(NothingHere):
        endpoint.function(call, body)
    if endpoint.who is Who.TEAM:
        desk.principals["mara"] = replace(desk.principals["mara"], assets=frozenset())
        call = desk.call("mara", query, asset_uuid=desk.row.uuid, rule_id=1, change_id=1)
        with pytest.raises(Detail) as refused:
            endpoint.function(call, body)
        assert refused.value.status == 403


def _example(kind: Any) -> dict[str, Any]:
    examples: dict[Any, dict[str, Any]] = {
        wire.RuleAdd: {"tag": "transfer_limit", "parameters": {"satoshi": 5}},
        wire.ChangeApprove: {"content_hash": "00" * 32},
        wire.PolicyEdit: {"loosening_delay": 5},
    }
    return examples.get(kind, {})


def test_what_writes_runs_in_the_writing_transaction() -> None:
    for endpoint in rules_api.ENDPOINTS:
        reads = endpoint.methods == ("GET",) or endpoint.path.endswith("/try")
        assert (endpoint.runs is Runs.READ) is reads, endpoint.path
    assert {row.path.rsplit("/", 1)[1] for row in rules_api.ENDPOINTS if row.who is Who.ISSUER} >= {"policy"}


# --- settings ------------------------------------------------------------------------------------------------------


def test_the_settings_of_the_policy(desk: Desk) -> None:
    shown = desk.do(rules_api.show_policy)
    assert (shown.checks_sender_categories, shown.loosening_delay, shown.required_approvals) == (False, 0, 0)
    change = desk.do(rules_api.edit_policy, wire.PolicyEdit(loosening_delay=DAY, checks_sender_categories=True))
    assert (change.state, change.content) == (
        "effective",
        {"loosening_delay": DAY, "checks_sender_categories": True},
    )
    shown = desk.do(rules_api.show_policy)
    assert (shown.checks_sender_categories, shown.loosening_delay, shown.version) == (True, DAY, 2)
    assert desk.do(rules_api.edit_policy, wire.PolicyEdit(loosening_delay=DAY - 1)).state == "pending"
    assert desk.do(rules_api.edit_policy, wire.PolicyEdit(checks_sender_categories=False)).state == "pending"


def test_a_policy_is_not_locked_for_ever(desk: Desk) -> None:
    """By more delay than anybody waits, or more approvals than there are persons."""
    edits = [wire.PolicyEdit(loosening_delay=91 * DAY), wire.PolicyEdit(required_approvals=3), wire.PolicyEdit()]
    fields = [wrong(lambda edit=edit: desk.do(rules_api.edit_policy, edit)).keys() for edit in edits]  # type: ignore[misc]
    assert fields == [{"loosening_delay"}, {"required_approvals"}, {"non_field_errors"}]
    desk.hire("mara again", "Mara")
    assert wrong(lambda: desk.do(rules_api.edit_policy, wire.PolicyEdit(required_approvals=3)))
    assert desk.do(rules_api.edit_policy, wire.PolicyEdit(required_approvals=2)).state == "effective"


# --- refusals ------------------------------------------------------------------------------------------------------


def test_i07_refusals_are_listed_newest_first_page_by_page(desk: Desk) -> None:
    reason = wire.Reason(code="asset_locked", side="asset", index=None, asset_id="01" * 32, text="locked")
    for number in range(3):
        desk.db.execute(
            tables.policy_refusals.insert().values(
                asset=desk.asset,
                txid=bytes([number]) + bytes(31),
                account_id=5,
                reasons=msgspec.json.encode([reason]).decode(),
                at=START + number,
            )
        )
    newest, *rest = desk.do(rules_api.list_refusals, query=wire.EventPaging())
    assert (newest.txid, newest.at, newest.reasons) == ("00" * 31 + "02", date_text(START + 2), [reason])
    assert (newest.gaid, newest.registered_user, len(rest)) == (None, None, 2)
    [last] = desk.do(rules_api.list_refusals, query=wire.EventPaging(before=newest.id, count=1), who="mara")
    assert last == rest[0]


# --- a rule on trial -----------------------------------------------------------------------------------------------


@dataclass
class Register:
    """Accounts 1 and 2 are one user's, 3 is another's, 4 nobody's; and what moved between them."""

    desk: Desk
    number: int = 0
    held: dict[int, list[tuple[bytes, int, int]]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        db, issuer = self.desk.db, self.desk.principals["issuer"].id
        user = {"issuer_id": issuer, "creator_id": issuer, "name": "A", "is_company": 0, "is_frozen": 0}
        db.execute(tables.registered_users.insert(), [user | {"id": n, "created_at": START} for n in (1, 3)])
        wallet: dict[str, Any] = dict.fromkeys(("master_pubkey", "master_chain_code", "login_hash", "gait_path"), b"")
        wallet |= dict.fromkeys(("user_agent", "appearance", "cache_password", "client_blob", "client_blob_hmac"), "")
        wallet |= {"id": 1, "csv_blocks": 1, "nlocktime_blocks": 1, "created_at": START}
        db.execute(schema.users.insert().values(wallet))
        for account, user_id in ((1, 1), (2, 1), (3, 3), (4, None)):
            db.execute(
                schema.accounts.insert().values(
                    id=account, user_id=1, pointer=account, type="2of2_no_recovery", name="", created_at=START,
                    receiving_id=f"GA{account}", user_pubkey=b"", user_chain_code=b"", last_pointer=0,
                )
            )  # fmt: skip
            if user_id is not None:
                db.execute(
                    tables.user_gaids.insert().values(
                        issuer_id=issuer, account_id=account, user_id=user_id, is_default=account != 2, added_at=START
                    )
                )

    def moves(self, giver: int | None, *given: tuple[int | None, int], state: int = 1) -> str:
        """All that an account (None: the treasury) has goes to these; its txid."""
        self.number += 1
        self.desk.now += 60
        txid = self.number.to_bytes(32, "big")
        db, height = self.desk.db, self.number if state == 1 else None
        db.execute(
            tables.asset_txs.insert().values(
                txid=txid, asset=self.desk.asset, state=state, height=height, position=0, seen_at=self.desk.now,
                kind="transfer" if giver else "distribution", burned=0,
            )
        )  # fmt: skip
        for vin, (old, vout, _) in enumerate(self.held.pop(giver, []) if giver else []):
            spent = (tables.asset_outputs.c.txid == old) & (tables.asset_outputs.c.vout == vout)
            mark = {"spent_by": txid, "spent_vin": vin, "spent_state": state, "spent_height": height}
            db.execute(sa.update(tables.asset_outputs).where(spent).values(mark))
        for vout, (account, satoshi) in enumerate(given):
            db.execute(
                tables.asset_outputs.insert().values(
                    txid=txid, vout=vout, asset=self.desk.asset, is_token=0, satoshi=satoshi, account_id=account,
                    is_burnt=0, state=state, height=height, acquired_at=self.desk.now, script_pubkey=b"",
                    abf=bytes(32), vbf=bytes(32),
                )
            )  # fmt: skip
            if account is not None and state != 2:
                self.held.setdefault(account, []).append((txid, vout, satoshi))
        return str(Txid(txid))


@pytest.fixture
def register(desk: Desk) -> Register:
    return Register(desk)


def tried(desk: Desk, tag: str, **parameters: Any) -> wire.Trial:
    found: wire.Trial = desk.do(rules_api.try_rule, wire.RuleAdd(tag=tag, parameters=parameters), "mara")
    return found


def test_a_rule_is_tried_on_what_happened_and_on_who_holds(desk: Desk, register: Register) -> None:
    register.moves(None, (1, 100), (3, 50))
    small = register.moves(1, (3, 10), (2, 90))
    large = register.moves(2, (3, 40), (2, 50))
    register.moves(3, (4, 100), state=2)
    found = tried(desk, "transfer_limit", satoshi=20)
    assert (found.transfers, [one.txid for one in found.refused]) == (2, [large])
    assert found.refused[0].reasons[0].code == "transfer_limit"
    assert found.refused[0].at == date_text(desk.now - 60)
    # The first has 50 now, the second 100: nothing of what is gone counts, nor what one pays oneself.
    assert (found.holders, found.cannot_redeem, found.cannot_receive) == (2, 2, 0)
    assert tried(desk, "transfer_limit", satoshi=50).cannot_redeem == 1
    assert tried(desk, "max_balance", satoshi=100).cannot_receive == 1
    assert [one.txid for one in tried(desk, "period_limit", satoshi=49, seconds=600).refused] == [large]
    assert tried(desk, "period_limit", satoshi=49, seconds=60).refused == []
    assert [one.txid for one in tried(desk, "max_balance", satoshi=55).refused] == [small, large]
    assert tried(desk, "lock_up", until=desk.now + 1).cannot_redeem == 2
    # It was only tried.
    assert desk.in_force() == []
    assert desk.do(rules_api.list_changes, query=wire.ChangeFilter()) == []


def test_a_trial_counts_holders_as_they_were(desk: Desk, register: Register) -> None:
    register.moves(None, (1, 100))
    second = register.moves(1, (3, 50), (1, 50))
    third = register.moves(3, (4, 25), (3, 25))
    assert [one.txid for one in tried(desk, "max_holders", holders=1).refused] == [second, third]
    assert [one.txid for one in tried(desk, "max_holders", holders=2).refused] == [third]
    assert tried(desk, "max_holders", holders=3).refused == []


def test_i07_a_history_that_is_too_long_is_not_played(
    desk: Desk, register: Register, monkeypatch: pytest.MonkeyPatch
) -> None:
    register.moves(None, (1, 100), (3, 50))
    monkeypatch.setattr("amp0.server.policy.trial.MAX_OUTPUTS", 1)
    with pytest.raises(OperationRefused, match="history"):
        tried(desk, "transfer_limit", satoshi=20)


# --- over HTTP -----------------------------------------------------------------------------------------------------


def test_c09_c10_c11_a_loosening_over_http(office: Premises) -> None:
    acme = office.issuer("acme")
    asset = office.asset(acme, loosening_delay=DAY, required_approvals=1)
    mara = office.manager(acme, "mara", asset.id)
    second = office.manager(acme, "second", asset.id, person="ACME")
    path = f"/assets/{asset.uuid}"
    category = acme.ok("POST", "/categories/add", {"name": "Qualified"}, status=201)["id"]
    shown = acme.ok("PUT", f"/categories/{category}/assets/{asset.uuid}/add")
    assert shown["assets"] == [asset.uuid]
    # The answer shows what holds: the asset still requires the category.
    assert acme.ok("PUT", f"/categories/{category}/assets/{asset.uuid}/remove")["assets"] == [asset.uuid]
    [change] = mara.ok("GET", f"{path}/changes?state=pending")
    assert (change["action"], change["content"]) == ("remove_requirement", {"category_id": category})
    approve, agree = f"{path}/changes/{change['id']}/approve", {"content_hash": change["content_hash"]}
    for own in (acme, second):
        assert "Nobody approves" in own.refused("POST", approve, agree, status=403)["detail"]
    assert "content_hash" in mara.refused("POST", approve, {"content_hash": "zz"})
    assert "Error" in mara.refused("POST", approve, {"content_hash": "00" * 32})
    assert [one["person"] for one in mara.ok("POST", approve, agree)["approvals"]] == ["mara"]
    office.clock.now += DAY - 1
    with office.transaction() as db:
        assert changes.apply_due(db, office.desk.now()) == []
    office.clock.now += 1
    with office.transaction() as db:
        assert [one.id for one in changes.apply_due(db, office.desk.now())] == [change["id"]]
    assert acme.ok("GET", f"/categories/{category}")["assets"] == []
    assert acme.ok("GET", f"{path}/changes?state=pending") == []
    # The delay is a rule like the others.
    assert acme.ok("PUT", f"{path}/policy", {"loosening_delay": 0})["state"] == "pending"
    assert acme.ok("GET", f"{path}/policy")["loosening_delay"] == DAY
    mara.refused("PUT", f"{path}/policy", {"loosening_delay": 2 * DAY}, status=403)
    actions = [event["action"] for event in acme.ok("GET", "/events?count=4")]
    assert actions == ["set_policy", "approve_change", "remove_requirement", "add_requirement"]
