"""Whether a change allows something that was not allowed before. When in doubt, it does.

The server judges, not the caller: a change that is called tightening and is none would be a way around the delay.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from amp0.server.policy.apply import Action, Content, live_rule, outpoints
from amp0.server.store import asset_schema

_assets = asset_schema.assets
_treasury = asset_schema.treasury_addresses
_requirements = asset_schema.category_assets
_blacklist = asset_schema.blacklisted_outputs

RESTRICTING: frozenset[str] = frozenset()
"""Tags of rules that only ever refuse."""


def loosens(db: Connection, asset: int, action: Action, content: Content) -> bool:
    """Whether the change would allow more than what holds now."""
    match action:
        case Action.LOCK | Action.BLACKLIST | Action.REMOVE_TREASURY_ADDRESS | Action.ADD_REQUIREMENT:
            return False
        case Action.UNLOCK:
            return bool(_column(db, asset, _assets.c.is_locked))
        case Action.WHITELIST:
            return any(_is_blacklisted(db, asset, txid, vout) for txid, vout in outpoints(content))
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


def rule_loosens(old: RuleText | None, new: RuleText | None) -> bool:
    """Whether ``new`` in the place of ``old`` allows more; None is no rule."""
    if old is None:
        return new is not None and new[0] not in RESTRICTING
    if new is None:
        return True
    return (old[0], dict(old[1])) != (new[0], dict(new[1]))


def _column(db: Connection, asset: int, column: sa.Column[Any]) -> Any:
    return db.execute(sa.select(column).where(_assets.c.id == asset)).scalar_one()


def _is_blacklisted(db: Connection, asset: int, txid: bytes, vout: int) -> bool:
    here = (_blacklist.c.prev_txid == txid) & (_blacklist.c.prev_vout == vout) & (_blacklist.c.asset == asset)
    return db.execute(sa.select(_blacklist.c.since).where(here)).one_or_none() is not None


def _is_treasury(db: Connection, asset: int, script: bytes) -> bool:
    here = (_treasury.c.asset == asset) & (_treasury.c.script_pubkey == script) & _treasury.c.removed_at.is_(None)
    return db.execute(sa.select(_treasury.c.added_at).where(here)).one_or_none() is not None


def _is_required(db: Connection, asset: int, category: int) -> bool:
    here = (_requirements.c.asset == asset) & (_requirements.c.category_id == category)
    return db.execute(sa.select(_requirements.c.asset).where(here)).one_or_none() is not None
