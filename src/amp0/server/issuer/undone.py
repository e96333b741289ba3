"""What the chain does to operations after they were confirmed: nothing, as a rule.

A distribution, reissue or burn is confirmed when its transaction is as deep as the operator asks for
(``settings.confirmations``), which on Liquid is final. Should such a block go all the same, the confirmation stays: the
transaction may come back at any time, and whoever paid again meanwhile would have paid twice. The ledger follows the
chain, so holdings and sums are right in any case; `transaction_status` (`confirmed_in_block` of a reissue) says that no
block has it. And the issuer is told, for it is for them to look: an event in the same transaction that takes the block
away, and the loudest line of the log.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec
import sqlalchemy as sa
from sqlalchemy.engine import Connection

from amp0.elements.hashes import Txid
from amp0.elements.transaction import Transaction
from amp0.server.store import schema
from amp0.server.store.asset_schema import assets, burns, distributions, issuer_events, reissuances

log = logging.getLogger("amp0.server.issuer")

_CHUNK = 400
_seen = schema.transactions


@dataclass(frozen=True, slots=True)
class _Operation:
    """One that was confirmed. ``detail`` tells it from others of its transaction."""

    what: str
    asset: int
    issuer_id: int
    txid: Txid
    detail: Mapping[str, object]


def _confirmed(what: str, table: sa.Table, name: sa.ColumnElement[Any]) -> sa.Select[Any]:
    columns = (sa.literal(what).label("what"), table.c.asset, assets.c.issuer_id, table.c.txid, name.label("name"))
    return sa.select(*columns).join(assets, assets.c.id == table.c.asset)


_ALL = (
    (distributions, _confirmed("distribution", distributions, distributions.c.uuid)),
    (reissuances, _confirmed("reissue", reissuances, sa.cast(reissuances.c.vin, sa.String))),
    (burns, _confirmed("burn", burns, sa.literal(""))),
)
_IN_BLOCK = sa.union_all(
    *(
        query.join(_seen, _seen.c.txid == table.c.txid).where(_seen.c.height == sa.bindparam("height"))
        for table, query in _ALL
    )
)
_OF = sa.union_all(*(query.where(table.c.txid.in_(sa.bindparam("txids", expanding=True))) for table, query in _ALL))


class Undone:
    """Hears of the chain's verbs inside their transactions (a :class:`~amp0.server.chainindex.Follower`). ``clock``
    counts seconds since 1970."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock

    def concerned(self, db: Connection, transactions: Collection[Transaction]) -> set[Txid]:
        """Those that were confirmed as something: they come back."""
        return {one.txid for one in _operations(db, [tx.txid() for tx in transactions])}

    def add(self, db: Connection, tx: Transaction, height: int | None) -> None:
        """What was confirmed is in a block again."""
        if height is None:
            return
        for one in _operations(db, [tx.txid()]):
            log.warning("a confirmed %s is in a block again asset=%d txid=%s", one.what, one.asset, one.txid)
            self._note(db, one, "restored", height)

    def remove_block(self, db: Connection, height: int) -> None:
        """The tip goes: what was confirmed in it is in no block now."""
        for one in map(_operation, db.execute(_IN_BLOCK, {"height": height})):
            log.critical(
                "a confirmed %s is in no block any more: the chain was reorganised deeper than it should "
                "asset=%d txid=%s height=%d",
                *(one.what, one.asset, one.txid, height),
            )
            self._note(db, one, "reorganised", height)

    def mark_gone(self, db: Connection, txid: Txid) -> None:
        """Nor is it in the mempool: it was not sent again, or what it spends was spent otherwise."""
        for one in _operations(db, [txid]):
            log.critical(
                "a confirmed %s is in neither block nor mempool any more asset=%d txid=%s", one.what, one.asset, txid
            )
            self._note(db, one, "dropped", None)

    def _note(self, db: Connection, one: _Operation, how: str, height: int | None) -> None:
        """In the issuer's name, as everything that nobody asked for."""
        detail = {**one.detail, "txid": str(one.txid)} | ({} if height is None else {"height": height})
        db.execute(
            issuer_events.insert().values(
                issuer_id=one.issuer_id,
                principal_id=one.issuer_id,
                at=int(self._clock()),
                action=f"{one.what}_{how}",
                asset=one.asset,
                detail=msgspec.json.encode(detail, order="sorted").decode(),
            )
        )


def _operations(db: Connection, txids: Collection[Txid]) -> Iterator[_Operation]:
    ordered = [bytes(txid) for txid in txids]
    for i in range(0, len(ordered), _CHUNK):
        yield from map(_operation, db.execute(_OF, {"txids": ordered[i : i + _CHUNK]}).all())


def _operation(row: sa.Row[Any]) -> _Operation:
    detail: dict[str, object] = {}
    if row.what == "distribution":
        detail = {"distribution": row.name}
    elif row.what == "reissue":
        detail = {"vin": int(row.name)}
    return _Operation(row.what, row.asset, row.issuer_id, Txid(row.txid), detail)
