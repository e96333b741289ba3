"""What each change of an asset's policy does to the database, and what it is about.

A change is an *action* with its *content*, a JSON object:

=========================== ==================================================================================
action                      content
=========================== ==================================================================================
``lock``, ``unlock``        ``{}``
``blacklist``,              ``{"outpoints": [{"txid": <display hex>, "vout": 0}, …]}``
``whitelist``
``add_treasury_address``,   ``{"address": …, "script_pubkey": <hex>}``
``remove_treasury_address``
``set_endpoint``            ``{"url": … or null}``
``add_requirement``,        ``{"category_id": 7}``
``remove_requirement``
``add_rule``                ``{"tag": …, "parameters": {…}}``
``end_rule``                ``{"rule_id": 5}``
``replace_rule``            ``{"rule_id": 5, "tag": …, "parameters": {…}}``; the old rule ends, the new one has a new id
``set_policy``              any of ``{"loosening_delay": seconds, "required_approvals": 1, "checks_sender_categories":
                            true}``
=========================== ==================================================================================

Whoever asks for a change has checked its content (addresses of this network, categories of this issuer, parameters
that the rule takes). What the time between asking and taking effect may have changed is checked here:
:class:`NoLongerPossible`.
"""

from __future__ import annotations

import enum
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from amp0.elements.hashes import Txid
from amp0.elements.transaction import OutPoint
from amp0.server.issuer.refusals import OperationRefused
from amp0.server.ledger import blacklist
from amp0.server.store import asset_schema

_assets = asset_schema.assets
_rules = asset_schema.asset_rules
_treasury = asset_schema.treasury_addresses
_requirements = asset_schema.category_assets
_categories = asset_schema.categories

Content = Mapping[str, Any]


class Action(enum.StrEnum):
    """What can be changed. The values are permanent: they are in the database and on the API."""

    LOCK = "lock"
    UNLOCK = "unlock"
    BLACKLIST = "blacklist"
    WHITELIST = "whitelist"
    ADD_TREASURY_ADDRESS = "add_treasury_address"
    REMOVE_TREASURY_ADDRESS = "remove_treasury_address"
    SET_ENDPOINT = "set_endpoint"
    ADD_REQUIREMENT = "add_requirement"
    REMOVE_REQUIREMENT = "remove_requirement"
    ADD_RULE = "add_rule"
    END_RULE = "end_rule"
    REPLACE_RULE = "replace_rule"
    SET_POLICY = "set_policy"


POLICY_FIELDS = ("loosening_delay", "required_approvals", "checks_sender_categories")
"""What ``set_policy`` may name, each a column of the asset."""


class NoLongerPossible(OperationRefused):
    """What a change is about is not there any more."""


@dataclass(frozen=True, slots=True)
class Order:
    """A change that takes effect now: of which asset (row number), asked for by whom (principal), and the time."""

    asset: int
    content: Content
    principal: int
    now: int


def apply(db: Connection, action: Action, order: Order) -> None:
    """Do it, and count the asset's policy up. What is so already stays so. Raises :class:`NoLongerPossible`."""
    _APPLY[action](db, order)
    db.execute(_bump().where(_assets.c.id == order.asset))


def subjects(action: Action, content: Content) -> frozenset[str]:
    """What a change is about; two that share one of these cannot both wait. A rule that is added is nothing's rival."""
    match action:
        case Action.LOCK | Action.UNLOCK:
            return frozenset({"lock"})
        case Action.BLACKLIST | Action.WHITELIST:
            return frozenset(f"outpoint {outpoint}" for outpoint in outpoints(content))
        case Action.ADD_TREASURY_ADDRESS | Action.REMOVE_TREASURY_ADDRESS:
            return frozenset({f"treasury {content['script_pubkey']}"})
        case Action.SET_ENDPOINT:
            return frozenset({"endpoint"})
        case Action.ADD_REQUIREMENT | Action.REMOVE_REQUIREMENT:
            return frozenset({f"category {content['category_id']}"})
        case Action.END_RULE | Action.REPLACE_RULE:
            return frozenset({f"rule {content['rule_id']}"})
        case Action.SET_POLICY:
            return frozenset(f"policy {field}" for field in content)
        case Action.ADD_RULE:
            return frozenset()


def outpoints(content: Content) -> list[OutPoint]:
    """The outpoints of a ``blacklist`` or ``whitelist``."""
    return [OutPoint(Txid(item["txid"]), int(item["vout"])) for item in content["outpoints"]]


def live_rule(db: Connection, asset: int, rule_id: int) -> tuple[str, Content] | None:
    """Tag and parameters of a rule that is in force, or None."""
    row = db.execute(
        sa.select(_rules.c.tag, _rules.c.parameters).where(
            _rules.c.id == rule_id, _rules.c.asset == asset, _rules.c.ended_at.is_(None)
        )
    ).one_or_none()
    return None if row is None else (row.tag, json.loads(row.parameters))


def _bump() -> sa.Update:
    return sa.update(_assets).values(policy_version=_assets.c.policy_version + 1)


# --- the asset's own columns ---------------------------------------------------------------------------------------


def _set(db: Connection, order: Order, **values: object) -> None:
    db.execute(sa.update(_assets).where(_assets.c.id == order.asset).values(**values))


def _lock(db: Connection, order: Order) -> None:
    _set(db, order, is_locked=1)


def _unlock(db: Connection, order: Order) -> None:
    _set(db, order, is_locked=0)


def _set_endpoint(db: Connection, order: Order) -> None:
    _set(db, order, authorization_endpoint=order.content["url"] or None)


def _set_policy(db: Connection, order: Order) -> None:
    _set(db, order, **{field: int(order.content[field]) for field in POLICY_FIELDS if field in order.content})


# --- outputs, treasury, requirements -------------------------------------------------------------------------------


def _blacklisted(db: Connection, order: Order) -> None:
    for outpoint in outpoints(order.content):
        blacklist.add(db, order.asset, outpoint, order.now)


def _whitelisted(db: Connection, order: Order) -> None:
    for outpoint in outpoints(order.content):
        blacklist.remove(db, order.asset, outpoint)


def _add_treasury_address(db: Connection, order: Order) -> None:
    script = bytes.fromhex(order.content["script_pubkey"])
    here = (_treasury.c.asset == order.asset) & (_treasury.c.script_pubkey == script)
    if db.execute(sa.select(_treasury.c.added_at).where(here)).one_or_none():
        db.execute(sa.update(_treasury).where(here).values(removed_at=None))
        return
    db.execute(
        _treasury.insert().values(
            asset=order.asset, script_pubkey=script, address=order.content["address"], added_at=order.now
        )
    )


def _remove_treasury_address(db: Connection, order: Order) -> None:
    db.execute(
        sa.update(_treasury)
        .where(
            _treasury.c.asset == order.asset,
            _treasury.c.script_pubkey == bytes.fromhex(order.content["script_pubkey"]),
            _treasury.c.removed_at.is_(None),
        )
        .values(removed_at=order.now)
    )


def _add_requirement(db: Connection, order: Order) -> None:
    category = order.content["category_id"]
    if db.execute(sa.select(_categories.c.id).where(_categories.c.id == category)).one_or_none() is None:
        raise NoLongerPossible(f"Category {category} was deleted")
    if db.execute(sa.select(_requirements.c.asset).where(_one_requirement(order))).one_or_none() is None:
        db.execute(_requirements.insert().values(category_id=category, asset=order.asset))


def _remove_requirement(db: Connection, order: Order) -> None:
    db.execute(sa.delete(_requirements).where(_one_requirement(order)))


def _one_requirement(order: Order) -> sa.ColumnElement[bool]:
    return sa.and_(_requirements.c.category_id == order.content["category_id"], _requirements.c.asset == order.asset)


# --- rules ---------------------------------------------------------------------------------------------------------


def _add_rule(db: Connection, order: Order) -> None:
    db.execute(
        _rules.insert().values(
            asset=order.asset,
            tag=order.content["tag"],
            parameters=json.dumps(order.content["parameters"], sort_keys=True, separators=(",", ":")),
            created_at=order.now,
            created_by=order.principal,
        )
    )


def _end_rule(db: Connection, order: Order) -> None:
    rule_id = order.content["rule_id"]
    if live_rule(db, order.asset, rule_id) is None:
        raise NoLongerPossible(f"Rule {rule_id} is not in force any more")
    db.execute(sa.update(_rules).where(_rules.c.id == rule_id).values(ended_at=order.now))


def _replace_rule(db: Connection, order: Order) -> None:
    _end_rule(db, order)
    _add_rule(db, order)


_APPLY: Mapping[Action, Callable[[Connection, Order], None]] = {
    Action.LOCK: _lock,
    Action.UNLOCK: _unlock,
    Action.BLACKLIST: _blacklisted,
    Action.WHITELIST: _whitelisted,
    Action.ADD_TREASURY_ADDRESS: _add_treasury_address,
    Action.REMOVE_TREASURY_ADDRESS: _remove_treasury_address,
    Action.SET_ENDPOINT: _set_endpoint,
    Action.ADD_REQUIREMENT: _add_requirement,
    Action.REMOVE_REQUIREMENT: _remove_requirement,
    Action.ADD_RULE: _add_rule,
    Action.END_RULE: _end_rule,
    Action.REPLACE_RULE: _replace_rule,
    Action.SET_POLICY: _set_policy,
}
