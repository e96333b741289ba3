"""Distributions: one transaction of the treasury that pays many assignments at once. Owns ``distributions``.

Made here, paid by whoever holds the treasury's keys, confirmed here once the chain has it. Making one gives every
assignment an address that nobody else was ever given, so that later the transaction itself tells which distribution
it pays. Confirming is one transaction of the store: it happened, with the openings of all that moved, or it did not.
"""

from __future__ import annotations

import uuid as uuids
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from amp0.elements.hashes import Txid
from amp0.elements.transaction import Transaction
from amp0.protocol import issuer as wire
from amp0.server.issuer import assets, confirming, events, files, gaids, holders, proofs
from amp0.server.issuer.assets import AssetRow
from amp0.server.issuer.desk import Call
from amp0.server.issuer.endpoint import Endpoint, Runs
from amp0.server.issuer.proofs import Paid, Payee
from amp0.server.issuer.refusals import NothingHere, OperationRefused
from amp0.server.ledger import book
from amp0.server.ledger.units import GONE
from amp0.server.policy.outlook import FINAL_DEPTH
from amp0.server.policy.payouts import Payouts
from amp0.server.refusal import ChainUnavailable, Refusal
from amp0.server.store import schema
from amp0.server.store.asset_schema import asset_outputs, asset_txs, assignments, distributions

MOST_PAYMENTS = 70
"""Assignments in one distribution. Each payment weighs 4,780 units, nearly all of it the range proof, and nodes relay
400,000: that is 83 outputs, and the change and a treasury of many small coins want some of it."""

UNCONFIRMED, CONFIRMED, CANCELLED = "unconfirmed", "confirmed", "cancelled"


@dataclass(frozen=True, slots=True)
class Asked:
    """A distribution as it stands. ``payees`` are its assignments, none once it is cancelled."""

    id: int
    uuid: str
    state: str
    txid: Txid | None
    payees: tuple[Payee, ...]


# --- reading -------------------------------------------------------------------------------------------------------


def shown(db: Connection, asset: int, *, ids: Iterable[int] | None = None) -> list[wire.Distribution]:
    """The distributions of an asset (by row number) that were not cancelled, oldest first; only ``ids`` if given."""
    seen, blocks = schema.transactions, schema.blocks
    query = (
        sa.select(distributions, seen.c.height, blocks.c.time)
        .select_from(distributions)
        .join(seen, seen.c.txid == distributions.c.txid, isouter=True)
        .join(blocks, blocks.c.height == seen.c.height, isouter=True)
        .where(distributions.c.asset == asset, distributions.c.state != CANCELLED)
        .order_by(distributions.c.id)
    )
    if ids is not None:
        query = query.where(distributions.c.id.in_(sorted(ids)))
    rows = db.execute(query).all()
    paid: dict[int, list[wire.PaidAssignment]] = {}
    table = assignments
    chosen = table.c.distribution_id.in_(sa.select(query.subquery().c.id))
    for row in db.execute(sa.select(table).where(chosen, table.c.vout.is_not(None)).order_by(table.c.id)):
        entry = wire.PaidAssignment(registered_user=row.user_id, amount=row.satoshi, vout=row.vout)
        paid.setdefault(row.distribution_id, []).append(entry)
    return [_to_wire(row, paid.get(row.id, [])) for row in rows]


def _to_wire(row: sa.Row[Any], paid: list[wire.PaidAssignment]) -> wire.Distribution:
    transactions = []
    if row.txid is not None:
        transactions.append(
            wire.DistributionTx(
                txid=str(Txid(row.txid)),
                # A reorganisation may have taken it out of its block again; it was deep when it was confirmed.
                transaction_status="UNCONFIRMED" if row.height is None else "CONFIRMED",
                included_blockheight=row.height or 0,
                confirmed_datetime=wire.date_text(row.confirmed_at if row.time is None else row.time),
                assignments=paid,
            )
        )
    status: Literal["CONFIRMED", "UNCONFIRMED"] = "CONFIRMED" if row.state == CONFIRMED else "UNCONFIRMED"
    return wire.Distribution(distribution_uuid=row.uuid, distribution_status=status, transactions=transactions)


def _find(call: Call, asset: AssetRow) -> Asked:
    """The distribution that the path names, if it is of this asset."""
    named = distributions.c.uuid == call.path["distribution_uuid"]
    row = call.db.execute(sa.select(distributions).where(named, distributions.c.asset == asset.id)).one_or_none()
    if row is None:
        raise NothingHere("there is no such distribution")
    columns = assignments.c
    members = sa.select(columns.id, columns.receiving_script, columns.receiving_address, columns.satoshi)
    payees = call.db.execute(members.where(columns.distribution_id == row.id).order_by(columns.id))
    txid = None if row.txid is None else Txid(row.txid)
    return Asked(row.id, row.uuid, row.state, txid, tuple(Payee(*payee) for payee in payees))


def list_all(call: Call, body: None) -> list[wire.Distribution]:
    """Distributions of an asset, oldest first, confirmed or not; cancelled ones are gone."""
    return shown(call.db, assets.find(call).id)


def get(call: Call, body: None) -> wire.Distribution:
    """One distribution."""
    return _one(call, assets.find(call))


def _one(call: Call, asset: AssetRow) -> wire.Distribution:
    found = shown(call.db, asset.id, ids=[_find(call, asset).id])
    if not found:
        raise NothingHere("this distribution was cancelled")
    return found[0]


def file(call: Call, body: None) -> wire.DistributeFile:
    """The request file of an unconfirmed distribution once more, for who lost it."""
    asset = assets.find(call)
    asked = _find(call, asset)
    if asked.state != UNCONFIRMED:
        raise OperationRefused(f"Distribution {asked.uuid} is {asked.state}: there is nothing to send")
    return files.distribute(call, asset, asked.uuid, asked.payees)


# --- making one ----------------------------------------------------------------------------------------------------


def create(call: Call, body: None) -> wire.DistributeFile:
    """Collect what is ready, vested and in no distribution, give each a fresh address, and answer the request file.

    A GET, and yet it changes things: that is how issuers' tools call it. It takes as many assignments as one
    transaction can pay, the oldest first; call it again for the rest. Assignments whose user cannot be paid at the
    moment are left for later.
    """
    asset = assets.find(call)
    rows = _ready(call, asset)
    if not rows:
        raise OperationRefused("There is nothing to distribute: no assignment is ready, vested and in no distribution")
    check = _Check(call, asset)
    left_out: list[str] = []
    payees: list[tuple[Payee, int]] = []
    for number, row in enumerate(rows):
        if len(payees) == MOST_PAYMENTS:
            break
        if number % MOST_PAYMENTS == 0:
            check.prepare(rows[number : number + MOST_PAYMENTS])
        try:
            payees.append(_payee(call, row, check))
        except Refusal as refused:
            left_out.append(f"user {row.user_id} cannot be paid: {refused}")
    if not payees:
        raise OperationRefused(f"There is nothing to distribute: {_few(left_out)}")
    name = str(uuids.UUID(bytes=call.desk.random(16), version=4))
    made = call.db.execute(
        distributions.insert().values(
            uuid=name, asset=asset.id, creator_id=call.who.id, state=UNCONFIRMED, created_at=call.desk.now()
        )
    )
    (number,) = made.inserted_primary_key or (0,)
    call.db.execute(
        assignments.update()
        .where(assignments.c.id == sa.bindparam("number"))
        .values(
            distribution_id=number,
            account_id=sa.bindparam("account"),
            receiving_script=sa.bindparam("script"),
            receiving_address=sa.bindparam("address"),
        ),
        [
            {"number": payee.id, "account": account, "script": payee.script, "address": payee.address}
            for payee, account in payees
        ],
    )
    total = sum(payee.satoshi for payee, _ in payees)
    events.note(call, "distribution_created", asset.id, distribution=name, assignments=len(payees), amount=total)
    return files.distribute(call, asset, name, (payee for payee, _ in payees))


def _ready(call: Call, asset: AssetRow) -> Sequence[sa.Row[int, int, int]]:
    columns = assignments.c
    query = (
        sa.select(columns.id, columns.user_id, columns.satoshi)
        .where(
            columns.asset == asset.id,
            columns.is_ready == 1,
            columns.distribution_id.is_(None),
            sa.or_(columns.vesting_at.is_(None), columns.vesting_at <= call.desk.now()),
        )
        .order_by(columns.id)
    )
    return call.db.execute(query).all()


def _payee(call: Call, row: sa.Row[int, int, int], check: _Check) -> tuple[Payee, int]:
    """Whom an assignment pays and at which account. Raises a refusal that says why that cannot be."""
    account = check.account(row)
    address = gaids.fresh_address(call, account)
    check.count(account, row.satoshi)
    return Payee(row.id, address.script, str(address), row.satoshi), account


class _Check:
    """Who may be paid now: the register, the asset's categories, and the rules that its issuer set."""

    def __init__(self, call: Call, asset: AssetRow) -> None:
        self._call, self._asset = call, asset
        self._is_restricted = asset.transfer_restricted and bool(assets.requirements(call.db, asset.id))
        self._rules = Payouts(call.db, asset.id, call.desk.now())
        if self._rules.have_rules:
            promised = _promised(call.db, asset.id)
            self._rules.look_up({account for account, _ in promised})
            self._rules.expect(promised)

    def prepare(self, rows: Sequence[sa.Row[int, int, int]]) -> None:
        """Look up what the rules ask of these assignments, together."""
        if self._rules.have_rules:
            self._rules.look_up(holders.default_accounts(self._call.db, {row.user_id for row in rows}))

    def account(self, row: sa.Row[int, int, int]) -> int:
        """The account that an assignment pays. Raises :class:`OperationRefused`."""
        user = holders.find(self._call, row.user_id)
        if user.is_frozen:
            raise OperationRefused("they are frozen")
        if self._is_restricted and not holders.meets(self._call.db, user.id, self._asset.id):
            raise OperationRefused("they are not in every category that a holder of this asset has to be in")
        if user.default_account is None:
            raise OperationRefused("they have no GAID yet")
        if self._rules.have_rules and (reasons := self._rules.against(user.default_account, row.satoshi)):
            raise OperationRefused("; ".join(dict.fromkeys(reason.text for reason in reasons)))
        return user.default_account

    def count(self, account: int, satoshi: int) -> None:
        """What is paid now counts for those that follow."""
        self._rules.expect([(account, satoshi)] if self._rules.have_rules else ())


def _promised(db: Connection, asset: int) -> list[tuple[int, int]]:
    """Account and satoshi of what unconfirmed distributions pay, as far as the ledger does not know that it was paid.

    What is on the chain and sealed still counts as well: nothing is paid to whom nobody knows the holding of, where a
    rule asks for it.
    """
    columns, outs = assignments.c, asset_outputs.c
    is_known = sa.exists().where(
        outs.asset == columns.asset,
        outs.is_token == 0,
        outs.account_id == columns.account_id,
        outs.script_pubkey == columns.receiving_script,
        outs.satoshi > 0,
        outs.state != GONE,
    )
    query = (
        sa.select(columns.account_id, columns.satoshi)
        .join(distributions, distributions.c.id == columns.distribution_id)
        .where(distributions.c.asset == asset, distributions.c.state == UNCONFIRMED, ~is_known)
    )
    return [(row.account_id, row.satoshi) for row in db.execute(query)]


def _few(texts: Sequence[str]) -> str:
    more = len(texts) - 3
    return "; ".join(texts[:3]) + (f"; and {more} more" if more > 0 else "")


# --- confirming one ------------------------------------------------------------------------------------------------


def confirm(call: Call, body: wire.DistributeConfirm) -> wire.Distribution:
    """Tell which transaction paid a distribution. It is checked output by output; doing it twice is fine."""
    txid = Txid.from_string(body.tx_data.txid)
    details = proofs.from_details(body.tx_data.details)
    change = proofs.from_change(body.change_data, body.tx_data.txid)
    with call.desk.store.snapshot() as db:
        asset = assets.find(confirming.inside(call, db))
        asked = _require_open(_find(confirming.inside(call, db), asset), txid)
        seen = confirming.sighting(db, txid) if asked.txid == txid else None

    def look(tx: Transaction) -> Paid:
        return proofs.distribution(tx, confirming.pair_of(asset), asked.payees, details, change)

    tx = confirming.wait_for(call.desk, txid, look) if seen is None else seen.tx
    paid = look(tx)
    with call.desk.store.transaction() as db:
        return _record(confirming.inside(call, db), asked, tx, paid)


def _require_open(asked: Asked, txid: Txid) -> Asked:
    if asked.state == CANCELLED:
        raise OperationRefused(f"Distribution {asked.uuid} was cancelled")
    if asked.txid not in (None, txid):
        raise OperationRefused(f"Distribution {asked.uuid} was already confirmed with {asked.txid}")
    return asked


def _record(call: Call, asked: Asked, tx: Transaction, paid: Paid) -> wire.Distribution:
    """Write it down, with everything that decides read again."""
    db, txid, now = call.db, tx.txid(), call.desk.now()
    asset = assets.find(call)
    current = _require_open(_find(call, asset), txid)
    if current.payees != asked.payees:
        raise OperationRefused(f"Distribution {asked.uuid} has changed meanwhile; try again")
    confirming.require_strangers(db, tx, paid.returned)
    if current.state == UNCONFIRMED:
        confirming.require_deep(db, call.desk, txid)
        confirming.require_unused(db, txid, but=distributions)
        confirming.require_treasury(db, asset, tx)
        db.execute(
            distributions.update()
            .where(distributions.c.id == current.id, distributions.c.state == UNCONFIRMED)
            .values(state=CONFIRMED, txid=bytes(txid), confirmed_at=now)
        )
        db.execute(
            assignments.update()
            .where(assignments.c.id == sa.bindparam("number"))
            .values(vout=sa.bindparam("output"), distributed_at=now),
            [{"number": number, "output": vout} for number, vout in paid.vouts.items()],
        )
        events.note(call, "distribution_confirmed", asset.id, distribution=current.uuid, txid=str(txid))
    confirming.record(call, asset, tx, paid.returned, paid.openings)
    book.note_distribution(db, asset.id, txid)
    return _one(call, asset)


# --- cancelling one ------------------------------------------------------------------------------------------------


def cancel(call: Call, body: None) -> wire.Nothing:
    """Free the assignments of a distribution that was not sent."""
    asset = assets.find(call)
    asked = _find(call, asset)
    if asked.state == CONFIRMED:
        raise OperationRefused(f"Distribution {asked.uuid} is confirmed: what was paid cannot be taken back")
    if asked.state == CANCELLED:
        return wire.Nothing()
    _require_unsent(call, asset, asked)
    call.db.execute(
        assignments.update()
        .where(assignments.c.distribution_id == asked.id)
        .values(distribution_id=None, account_id=None, receiving_script=None, receiving_address=None)
    )
    call.db.execute(distributions.update().where(distributions.c.id == asked.id).values(state=CANCELLED))
    events.note(call, "distribution_cancelled", asset.id, distribution=asked.uuid)
    return wire.Nothing()


def _require_unsent(call: Call, asset: AssetRow, asked: Asked) -> None:
    """Refuse a distribution whose payment is on its way, or may come back: who is paid again is paid twice."""
    if not call.desk.is_current():
        raise ChainUnavailable(
            "The server has not read the chain for a while, and so does not know whether this distribution was sent; "
            "try again when it has"
        )
    db = call.db
    for txid, is_here in _payments(db, asset, asked).items():
        inputs = confirming.treasury_inputs(db, asset, txid)
        if inputs is None:
            # A holder knows the address too. What they move there themselves is no payment of the treasury.
            continue
        if is_here:
            raise OperationRefused(
                f"Distribution {asked.uuid} was sent with {txid}: confirm it; paying it again would pay twice"
            )
        if confirming.can_return(db, asset, txid):
            such_as = "".join(f" ({one.txid()}:{one.vout()})" for one in inputs[:1])
            raise OperationRefused(
                f"Distribution {asked.uuid} was sent with {txid}, which is in no block and no mempool now and may come "
                f"back: send it again and confirm it; or spend an input of it{such_as} otherwise, and cancel when that "
                f"is {FINAL_DEPTH} blocks deep"
            )


def _payments(db: Connection, asset: AssetRow, asked: Asked) -> dict[Txid, bool]:
    """Transactions that may pay the asset to one of the addresses, or might have; and whether the chain has them."""
    outs, outputs, addresses = asset_outputs, schema.outputs, schema.addresses
    here = assignments.c.distribution_id == asked.id
    rows = db.execute(
        sa.select(outs.c.txid, outs.c.state != GONE)
        .join(assignments, (assignments.c.account_id == outs.c.account_id) & (assignments.c.asset == outs.c.asset))
        .where(here, outs.c.asset == asset.id, outs.c.is_token == 0)
        .where(outs.c.script_pubkey == assignments.c.receiving_script)
        # Where the ledger follows no outputs any more, it still knows what may have moved the asset.
        .union(
            sa.select(outputs.c.txid, sa.true())
            .join(
                addresses, (addresses.c.account_id == outputs.c.account_id) & (addresses.c.pointer == outputs.c.pointer)
            )
            .join(asset_txs, (asset_txs.c.txid == outputs.c.txid) & (asset_txs.c.asset == asset.id))
            .where(addresses.c.script_pubkey.in_([payee.script for payee in asked.payees]))
        )
    )
    found: dict[Txid, bool] = {}
    for txid, is_here in rows:
        found[Txid(txid)] = bool(is_here) or found.get(Txid(txid), False)
    return found


_ALL = "/assets/{asset_uuid}/distributions"
_ONE = _ALL + "/{distribution_uuid}"
ENDPOINTS = [
    Endpoint(("GET",), _ALL, list_all, list[wire.Distribution]),
    Endpoint(("GET",), _ALL + "/create", create, wire.DistributeFile, runs=Runs.WRITE),
    Endpoint(("GET",), _ONE, get, wire.Distribution),
    Endpoint(("GET",), _ONE + "/file", file, wire.DistributeFile),
    Endpoint(("POST",), _ONE + "/confirm", confirm, wire.Distribution, body=wire.DistributeConfirm, runs=Runs.OUTSIDE),
    Endpoint(("DELETE",), _ONE + "/cancel", cancel, wire.Nothing, runs=Runs.WRITE),
]
