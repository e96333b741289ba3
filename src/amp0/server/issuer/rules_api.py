"""What an asset allows, over the API: its rules, changes that wait, the policy's own settings, and refusals.

Nothing here is of the original API. Who may do what:

* the issuer and the asset's managers read all of it, add rules that only refuse and make rules stricter, approve what
  somebody else asked for, and cancel what waits;
* only the issuer asks for what loosens, and edits the policy's own settings.

Every change answers with itself: ``effective``, or ``pending`` with what it waits for; see
:mod:`amp0.server.policy.changes`. What the register of holders says (categories, frozen users) is no rule: it changes
at once, by the endpoints of :mod:`~amp0.server.issuer.holders` and :mod:`~amp0.server.issuer.categories`.
"""

from __future__ import annotations

import json
from dataclasses import replace

import msgspec
import sqlalchemy as sa
from sqlalchemy.engine import Connection

from amp0.elements.hashes import Txid
from amp0.protocol import issuer as wire
from amp0.protocol.issuer_fields import date_text
from amp0.server.issuer import assets
from amp0.server.issuer.assets import AssetRow
from amp0.server.issuer.desk import Call, Role
from amp0.server.issuer.endpoint import Endpoint, Runs, Who
from amp0.server.issuer.parsing import row_id
from amp0.server.issuer.refusals import Detail, NothingHere, OperationRefused, WrongFields
from amp0.server.policy import changes, loosening, rules, trial
from amp0.server.policy.apply import POLICY_FIELDS, Action, Content, live_rule
from amp0.server.policy.facts import Asset
from amp0.server.store import asset_schema, schema

MAX_RULES = 50
"""Rules of one asset that may be in force: each costs every transfer a little."""
MAX_DELAY = 90 * 86_400
"""Longest delay of loosenings, seconds: a stolen login must not be able to freeze a policy for ever."""
_PAGE = 100
_TRIED = 1_000

_rules = asset_schema.asset_rules
_refusals = asset_schema.policy_refusals
_gaids = asset_schema.user_gaids
_users = asset_schema.registered_users


# --- rules ---------------------------------------------------------------------------------------------------------


def list_rules(call: Call, _body: None) -> list[wire.Rule]:
    """The rules that the issuer set and that are in force, beside those that always hold; oldest first."""
    asset = assets.find(call)
    here = sa.select(_rules).where(_rules.c.asset == asset.id, _rules.c.ended_at.is_(None)).order_by(_rules.c.id)
    return [
        wire.Rule(
            id=row.id,
            tag=row.tag,
            parameters=json.loads(row.parameters),
            created_at=date_text(row.created_at),
            created_by=row.created_by,
        )
        for row in call.db.execute(here)
    ]


def add_rule(call: Call, body: wire.RuleAdd) -> wire.Change:
    """Add a rule. One that allows something (an approved burn) is a loosening."""
    asset = assets.find(call)
    content = _checked(call, body)
    here = (_rules.c.asset == asset.id) & _rules.c.ended_at.is_(None)
    in_force = call.db.execute(sa.select(_rules.c.id, _rules.c.tag, _rules.c.parameters).where(here)).all()
    for row in in_force:
        if row.tag == content["tag"] and json.loads(row.parameters) == content["parameters"]:
            raise OperationRefused(f"This rule is in force already, as rule {row.id}")
    if len(in_force) >= MAX_RULES:
        raise OperationRefused(f"An asset has at most {MAX_RULES} rules; end one first")
    return _ask(call, asset, Action.ADD_RULE, content)


def edit_rule(call: Call, body: wire.RuleAdd) -> wire.Change:
    """Put a rule in the place of one of the same kind. The new one has an id of its own."""
    asset, rule_id = assets.find(call), _rule_id(call)
    old = live_rule(call.db, asset.id, rule_id)
    if old is None:
        raise NothingHere("no such rule is in force")
    if old[0] != body.tag:
        raise WrongFields.of("tag", f"This rule is a {old[0]}: end it, and add one of another kind")
    return _ask(call, asset, Action.REPLACE_RULE, {"rule_id": rule_id, **_checked(call, body)})


def end_rule(call: Call, _body: None) -> wire.Change:
    """End a rule. It stays on record."""
    asset, rule_id = assets.find(call), _rule_id(call)
    if live_rule(call.db, asset.id, rule_id) is None:
        raise NothingHere("no such rule is in force")
    return _ask(call, asset, Action.END_RULE, {"rule_id": rule_id})


def try_rule(call: Call, body: wire.RuleAdd) -> wire.Trial:
    """Find out what a rule would do, without setting it: to the newest 1,000 transfers, and to today's holders."""
    asset = assets.find(call)
    rule = rules.parse(body.tag, _checked(call, body)["parameters"])
    facts = Asset(asset.id, asset.uuid, asset.asset_id, asset.issuer_id, asset.policy_version)
    try:
        found = trial.try_rule(call.db, facts, rule, call.desk.now(), _TRIED)
    except trial.TooLong:
        raise OperationRefused(f"This asset has a history of more than {trial.MAX_OUTPUTS} outputs") from None
    return wire.Trial(
        transfers=found.transfers,
        refused=[
            wire.TrialRefusal(txid=str(Txid(one.txid)), at=date_text(one.at), reasons=list(one.reasons))
            for one in found.refused
        ],
        holders=found.holders,
        cannot_redeem=found.cannot_redeem,
        cannot_receive=found.cannot_receive,
    )


def _rule_id(call: Call) -> int:
    return row_id(call.path["rule_id"])


def _checked(call: Call, body: wire.RuleAdd) -> Content:
    """The rule as its kind writes it down: the same rule is always the same text."""
    try:
        rule = rules.parse(body.tag, body.parameters)
    except rules.WrongParameters as error:
        raise WrongFields.of("tag" if body.tag not in rules.SETTABLE else "parameters", str(error)) from None
    _check_users(call, rule)
    return {"tag": body.tag, "parameters": rules.parameters(rule)}


def _check_users(call: Call, rule: rules.Rule) -> None:
    """A rule about users names users of this issuer: one that is mistyped would hold nobody."""
    named = {getattr(rule, "user_id", None), *getattr(rule, "users", ())} - {None}
    here = sa.select(_users.c.id).where(
        _users.c.id.in_(named), _users.c.issuer_id == call.who.issuer_id, _users.c.deleted_at.is_(None)
    )
    unknown = named - set(call.db.execute(here).scalars()) if named else set()
    if unknown:
        raise WrongFields.of("parameters", f"There is no registered user {min(unknown)}")


def _ask(call: Call, asset: AssetRow, action: Action, content: Content) -> wire.Change:
    if call.who.role is Role.MANAGER and loosening.loosens(call.db, asset.id, action, content):
        raise Detail(403, "This allows more than before, so only the issuer may ask for it; managers may approve it")
    return _change(call.db, asset, changes.request(call, asset, action, content))


# --- changes -------------------------------------------------------------------------------------------------------


def list_changes(call: Call, _body: None) -> list[wire.Change]:
    """What was changed and what waits, newest first."""
    asset, query = assets.find(call), call.query
    found = changes.listed(call.db, asset.id, state=query.state, before=query.before, count=query.count or _PAGE)
    return [_change(call.db, asset, change) for change in found]


def approve_change(call: Call, body: wire.ChangeApprove) -> wire.Change:
    """Agree with what somebody else asked for, by the hash of what you read."""
    asset = assets.find(call)
    agreed = bytes.fromhex(body.content_hash)
    return _change(call.db, asset, changes.approve(call, asset, _change_id(call), agreed))


def cancel_change(call: Call, _body: None) -> wire.Change:
    """Take back what waits."""
    asset = assets.find(call)
    return _change(call.db, asset, changes.cancel(call, asset, _change_id(call)))


def _change_id(call: Call) -> int:
    return row_id(call.path["change_id"])


def _change(db: Connection, asset: AssetRow, change: changes.Change) -> wire.Change:
    return wire.Change(
        id=change.id,
        asset_uuid=asset.uuid,
        action=change.action.value,
        content=dict(change.content),
        content_hash=change.content_hash.hex(),
        loosens=change.loosens,
        state=change.state,
        requested_by=change.requested_by,
        requested_at=date_text(change.requested_at),
        not_before=date_text(change.not_before),
        required_approvals=change.required_approvals,
        approvals=[
            wire.Approval(principal=approval.principal, person=approval.person, at=date_text(approval.at))
            for approval in change.approvals
        ],
        settled_at=None if change.settled_at is None else date_text(change.settled_at),
        settled_by=change.settled_by,
    )


# --- how the policy itself is changed ------------------------------------------------------------------------------


def show_policy(call: Call, _body: None) -> wire.PolicySettings:
    """How loosenings wait, and what is checked of senders."""
    asset = assets.find(call)
    return wire.PolicySettings(
        checks_sender_categories=asset.checks_sender_categories,
        loosening_delay=asset.loosening_delay,
        required_approvals=asset.required_approvals,
        version=asset.policy_version,
    )


def edit_policy(call: Call, body: wire.PolicyEdit) -> wire.Change:
    """Change these. Less delay, fewer approvals and fewer checks are loosenings themselves, and wait as such."""
    asset = assets.find(call)
    content = {name: getattr(body, name) for name in POLICY_FIELDS if getattr(body, name) is not None}
    if not content:
        raise WrongFields("Name at least one setting to change")
    if content.get("loosening_delay", 0) > MAX_DELAY:
        raise WrongFields.of("loosening_delay", f"At most {MAX_DELAY} seconds")
    if content.get("required_approvals", 0) > changes.other_persons(call.db, asset.id):
        raise WrongFields.of(
            "required_approvals",
            "There are not so many other persons with a login for this asset: nothing could ever be loosened again",
        )
    return _ask(call, asset, Action.SET_POLICY, content)


# --- refusals and events -------------------------------------------------------------------------------------------


def list_refusals(call: Call, _body: None) -> list[wire.Refusal]:
    """Transfers that were refused, with all reasons, newest first. Not for holders' eyes."""
    asset, query = assets.find(call), call.query
    statement = (
        sa.select(_refusals, schema.accounts.c.receiving_id, _gaids.c.user_id)
        .join(schema.accounts, schema.accounts.c.id == _refusals.c.account_id, isouter=True)
        .join(
            _gaids,
            (_gaids.c.account_id == _refusals.c.account_id) & (_gaids.c.issuer_id == asset.issuer_id),
            isouter=True,
        )
        .where(_refusals.c.asset == asset.id)
        .order_by(_refusals.c.id.desc())
        .limit(query.count or _PAGE)
    )
    if query.before is not None:
        statement = statement.where(_refusals.c.id < query.before)
    return [
        wire.Refusal(
            id=row.id,
            asset_uuid=asset.uuid,
            txid=str(Txid(row.txid)),
            registered_user=row.user_id,
            gaid=row.receiving_id,
            reasons=msgspec.json.decode(row.reasons, type=list[wire.Reason]),
            at=date_text(row.at),
        )
        for row in call.db.execute(statement)
    ]


_RULES, _CHANGES = "/assets/{asset_uuid}/rules", "/assets/{asset_uuid}/changes"
_CHANGE, _WRITE = wire.Change, Runs.WRITE

_ROWS = (
    Endpoint(("GET",), _RULES, list_rules, list[wire.Rule]),
    Endpoint(("POST",), f"{_RULES}/add", add_rule, _CHANGE, body=wire.RuleAdd, runs=_WRITE),
    Endpoint(("POST",), f"{_RULES}/try", try_rule, wire.Trial, body=wire.RuleAdd),
    Endpoint(("PUT",), _RULES + "/{rule_id}/edit", edit_rule, _CHANGE, body=wire.RuleAdd, runs=_WRITE),
    Endpoint(("DELETE",), _RULES + "/{rule_id}/delete", end_rule, _CHANGE, runs=_WRITE),
    Endpoint(("GET",), _CHANGES, list_changes, list[wire.Change], query=wire.ChangeFilter),
    Endpoint(
        ("POST",), _CHANGES + "/{change_id}/approve", approve_change, _CHANGE, body=wire.ChangeApprove, runs=_WRITE
    ),
    Endpoint(("POST",), _CHANGES + "/{change_id}/cancel", cancel_change, _CHANGE, runs=_WRITE),
    Endpoint(("GET",), "/assets/{asset_uuid}/policy", show_policy, wire.PolicySettings),
    Endpoint(
        ("PUT",),
        "/assets/{asset_uuid}/policy",
        edit_policy,
        _CHANGE,
        body=wire.PolicyEdit,
        who=Who.ISSUER,
        runs=_WRITE,
    ),
    Endpoint(("GET",), "/assets/{asset_uuid}/refusals", list_refusals, list[wire.Refusal], query=wire.EventPaging),
)
ENDPOINTS = tuple(replace(row, tag="policy") for row in _ROWS)
