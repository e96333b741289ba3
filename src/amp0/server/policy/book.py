"""The rules that issuers set, as they are kept. Owns the table ``asset_rules``.

A row is never changed: setting other parameters ends it and adds another, so that what held at any time can be read.
What cannot be understood (a tag of a later version, parameters that somebody wrote into the database) stands as
:class:`~amp0.server.policy.rules.UnknownRule`, and nothing of the asset moves until it is ended.
"""

from __future__ import annotations

import json
import logging
from functools import lru_cache

import msgspec
import sqlalchemy as sa
from sqlalchemy.engine import Connection

from amp0.server.policy.rules import MAX_PARAMETERS, IssuerBurn, Rule, UnknownRule, WrongParameters, parse
from amp0.server.store.asset_schema import asset_rules
from amp0.server.store.composed import Query

log = logging.getLogger("amp0.server.policy")

_IN_FORCE = Query(
    sa.select(asset_rules.c.id, asset_rules.c.tag, asset_rules.c.parameters, asset_rules.c.created_at)
    .where(asset_rules.c.asset == sa.bindparam("asset"), asset_rules.c.ended_at.is_(None))
    .order_by(asset_rules.c.id)
)


def rules(db: Connection, asset: int) -> tuple[Rule, ...]:
    """The rules in force of the asset with this row number, in the order in which they were set."""
    return tuple(_read(row.tag, row.parameters, row.created_at) for row in _IN_FORCE(db, asset=asset))


@lru_cache(maxsize=1024)
def _read(tag: str, text: str, created_at: int) -> Rule:
    """By what the row says, so that nothing that is read again has to be believed to be unchanged."""
    try:
        if len(text) > MAX_PARAMETERS:
            raise WrongParameters("the parameters are too long")
        values = json.loads(text)
        if not isinstance(values, dict):
            raise WrongParameters("the parameters are no object")
        rule = parse(tag, values)
    except (ValueError, RecursionError) as error:
        log.error("a rule cannot be understood tag=%s error=%s", tag, error)
        return UnknownRule()
    if isinstance(rule, IssuerBurn) and rule.since is None:
        rule = msgspec.structs.replace(rule, since=created_at)
    return rule
