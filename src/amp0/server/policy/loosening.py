"""Whether a change allows something that was not allowed before. When in doubt, it does.

The server judges, not the caller: a change that is called tightening and is none would be a way around the delay.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from amp0.server.ledger import blacklist
from amp0.server.policy import rules
from amp0.server.policy.apply import Action, Content, live_rule, outpoints
from amp0.server.store import asset_schema

_assets = asset_schema.assets
_treasury = asset_schema.treasury_addresses
_requirements = asset_schema.category_assets


def loosens(db: Connection, asset: int, action: Action, content: Content) -> bool:
    """Whether the change would allow more than what holds now."""
    match action:
        case Action.LOCK | Action.BLACKLIST | Action.REMOVE_TREASURY_ADDRESS | Action.ADD_REQUIREMENT:
            return False
        case Action.UNLOCK:
            return bool(_column(db, asset, _assets.c.is_locked))
        case Action.WHITELIST:
            return bool(blacklist.listed(db, asset, outpoints(content)))
        case Action.ADD_TREASURY_ADDRESS:
            return not _is_treasury(db, asset, bytes.fromhex(content["script_pubkey"]))
        case Action.SET_ENDPOINT:
            # What an endpoint would have refused, and what another one will allow, nobody knows here.
            return (_column(db, asset, _assets.c.authorization_endpoint) or None) != (content["url"] or None)
        case Action.REMOVE_REQUIREMENT:
            return _is_required(db, asset, content["category_id"])
        case Action.ADD_RULE:
            return rule_loosens(None, (content["tag"], content["parameters"]))
        case Action.END_RULE:
            return rule_loosens(live_rule(db, asset, content["rule_id"]), None)
        case Action.REPLACE_RULE:
            return rule_loosens(live_rule(db, asset, content["rule_id"]), (content["tag"], content["parameters"]))
        case Action.SET_POLICY:
            return any(content[name] < _column(db, asset, _assets.c[name]) for name in content)


RuleText = tuple[str, Mapping[str, Any]]
"""Tag and parameters."""


def rule_loosens(old: RuleText | None, new: RuleText | None) -> bool:
    """Whether ``new`` in the place of ``old`` allows more; None is no rule."""
    if old is None:
        return new is not None and new[0] not in rules.ONLY_REFUSING
    if new is None:
        return old[0] not in _ONLY_ALLOWING
    if old[0] == new[0] and dict(old[1]) == dict(new[1]):
        return old[0] in _ONLY_ALLOWING
    try:
        return not _no_looser(rules.parse(*old), rules.parse(*new))
    except rules.WrongParameters:
        # Where the old one cannot be understood nothing moves at all, and any other allows more than that.
        return True


_ONLY_ALLOWING = frozenset({rules.IssuerBurn.TAG})


def _no_looser(old: rules.Rule, new: rules.Rule) -> bool:
    """Whether whatever the old rule refuses is refused by the new one as well."""
    match old, new:
        case rules.TransferLimit(), rules.TransferLimit():
            return new.satoshi <= old.satoshi
        case rules.MaxBalance(), rules.MaxBalance():
            return new.satoshi <= old.satoshi
        case rules.PeriodLimit(), rules.PeriodLimit():
            return new.satoshi <= old.satoshi and new.seconds >= old.seconds
        case rules.MaxHolders(), rules.MaxHolders():
            return new.holders <= old.holders
        case rules.LockUp(), rules.LockUp():
            return new.until >= old.until
        case rules.HoldingPeriod(), rules.HoldingPeriod():
            return new.seconds >= old.seconds
        case rules.FrozenHolder(), rules.FrozenHolder():
            return new.users >= old.users
        case rules.TimeWindow(), rules.TimeWindow():
            return new.weekdays <= old.weekdays and new.start >= old.start and new.end <= old.end
        case rules.Vesting(), rules.Vesting():
            # What is locked changes at these times only.
            times = {-1, *(time for time, _ in (*old.schedule, *new.schedule))}
            return new.user_id == old.user_id and all(_locked(new, time) >= _locked(old, time) for time in times)
        case rules.IssuerBurn(), rules.IssuerBurn():
            # Without a time of its own it begins to count anew when it is set.
            return (
                new.since is not None
                and new.since == old.since
                and new.until <= old.until
                and new.satoshi <= old.satoshi
                and (old.user_id is None or new.user_id == old.user_id)
            )
        case _:
            return False


def _locked(rule: rules.Vesting, time: int) -> int:
    return sum(satoshi for unlock_at, satoshi in rule.schedule if unlock_at > time)


def _column(db: Connection, asset: int, column: sa.Column[Any]) -> Any:
    return db.execute(sa.select(column).where(_assets.c.id == asset)).scalar_one()


def _is_treasury(db: Connection, asset: int, script: bytes) -> bool:
    here = (_treasury.c.asset == asset) & (_treasury.c.script_pubkey == script) & _treasury.c.removed_at.is_(None)
    return db.execute(sa.select(_treasury.c.added_at).where(here)).one_or_none() is not None


def _is_required(db: Connection, asset: int, category: int) -> bool:
    here = (_requirements.c.asset == asset) & (_requirements.c.category_id == category)
    return db.execute(sa.select(_requirements.c.asset).where(here)).one_or_none() is not None
