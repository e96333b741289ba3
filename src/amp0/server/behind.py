"""Whether this database is older than its chain: a back-up that was put back.

What was decided after the back-up was made is not in it: transactions that were signed and may still be sent, accounts
and addresses, holders, rules, and the assets that were issued. To sign on as if nothing had happened would break
promises that nobody here remembers. The chain tells, in two ways that ordinary operation never shows:

* An output of an AMP account is spent, and this database has never signed for it. Nobody can spend it without the
  service's signature, and every decision is durable before a signature leaves (:mod:`~amp0.server.cosigner`).
* The fee wallet has paid for an issuance that is not here, and every issuance is durable before it is sent.

The other explanations are a second server with the same keys, and stolen keys: in each case nothing new is signed until
the operator has looked and said so (:func:`acknowledge`). What was signed before is answered as ever. Outputs of
account 0 prove nothing, because their owner can take them alone after some time. An asset that was found missing has
lost its rules for good, and is never signed for by this database.

Owns rows of the table ``service``: ``behind`` and ``unknown_asset:…``.
"""

from __future__ import annotations

import base64
import logging
from collections.abc import Collection, Iterable

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from amp0.elements.hashes import Txid, asset_id_to_str
from amp0.elements.transaction import OutPoint
from amp0.server.refusal import BadTransaction, StoreUnavailable
from amp0.server.store import outpoints, schema

log = logging.getLogger("amp0.server.behind")

_BEHIND, _ASSET = "behind", "unknown_asset:"
_facts, _outs, _addresses, _claims = schema.service, schema.outputs, schema.addresses, schema.outpoint_claims
_NEVER_SIGNED = (
    sa.select(_outs.c.txid, _outs.c.vout)
    .join(_addresses, (_addresses.c.account_id == _outs.c.account_id) & (_addresses.c.pointer == _outs.c.pointer))
    .where(
        outpoints.is_one_of(_outs.c.txid, _outs.c.vout),
        _addresses.c.csv_blocks == 0,
        # Whatever was signed for has its row there, whichever transaction holds it now.
        ~sa.exists().where(_claims.c.prev_txid == _outs.c.txid, _claims.c.prev_vout == _outs.c.vout),
    )
)
_NAMED = sa.select(_facts.c.name).where(_facts.c.name.in_(sa.bindparam("names", expanding=True)))


# --- what the chain shows: called inside the transactions that read it -----------------------------------------------


def note_spend(db: Connection, txid: Txid, spent: Collection[OutPoint]) -> None:
    """A transaction that was never seen before spends these own outputs, which are on record as such."""
    row = db.execute(_NEVER_SIGNED, outpoints.these(spent)).first()
    if row is not None:
        _note(db, f"transaction {txid} spends {Txid(row.txid)}:{row.vout}, which this database never signed for")


def note_issuance(db: Connection, txid: Txid, asset_ids: Iterable[bytes]) -> None:
    """The fee wallet paid for an issuance that is not here, of these assets and tokens (32 bytes, internal order)."""
    wanted = {_name(asset_id): bytes(txid) for asset_id in asset_ids}
    known = set(db.execute(_NAMED, {"names": list(wanted)}).scalars())
    new = [{"name": name, "value": value} for name, value in wanted.items() if name not in known]
    if new:
        db.execute(_facts.insert(), new)
        _note(db, f"the fee wallet paid for issuance {txid}, which this database does not know")


def _note(db: Connection, reason: str) -> None:
    log.critical("this database is older than its chain, or its keys are in other hands; signing stops: %s", reason)
    if found(db) is None:
        db.execute(_facts.insert().values(name=_BEHIND, value=reason.encode()))


def _name(asset_id: bytes) -> str:
    return _ASSET + base64.urlsafe_b64encode(asset_id).decode()


# --- what follows from it --------------------------------------------------------------------------------------------


def check(db: Connection, asset_ids: Collection[bytes]) -> None:
    """Refuse what must not be signed, inside the transaction that decides; ``asset_ids`` is what would be moved.

    Raises :class:`StoreUnavailable` until the operator has looked, and :class:`BadTransaction` for an asset whose rules
    are lost.
    """
    of_name = {_name(asset_id): asset_id for asset_id in asset_ids}
    names = set(db.execute(_NAMED, {"names": [_BEHIND, *of_name]}).scalars())
    if _BEHIND in names:
        raise StoreUnavailable(
            "This server's database is older than the chain, so nothing new is signed until its operator has looked "
            "at it"
        )
    if names:
        asset = asset_id_to_str(of_name[min(names)])
        raise BadTransaction(
            f"Asset {asset} was issued by this service, and the rules it moves by are not in the server's database, "
            "which was put back from a copy; its operator has to bring back a newer one"
        )


def found(db: Connection) -> str | None:
    """What showed that the database is behind, as a sentence for its operator; None when nothing did, or when it was
    acknowledged."""
    value = db.execute(sa.select(_facts.c.value).where(_facts.c.name == _BEHIND)).scalar_one_or_none()
    return None if value is None else bytes(value).decode()


def lost_assets(db: Connection) -> list[bytes]:
    """Assets and reissuance tokens (32 bytes, internal order) that were issued and are not here."""
    names = db.execute(sa.select(_facts.c.name).where(_facts.c.name.startswith(_ASSET)).order_by(_facts.c.name))
    return [base64.urlsafe_b64decode(name.removeprefix(_ASSET)) for name in names.scalars()]


def acknowledge(db: Connection) -> str | None:
    """The operator has looked: sign again, but for lost assets. What had been found, None where nothing had.

    What the chain shows only later stops it again.
    """
    reason = found(db)
    db.execute(_facts.delete().where(_facts.c.name == _BEHIND))
    return reason
