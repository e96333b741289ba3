"""The cosigner: from a user-signed transaction to the service's signatures, and the only way there.

:meth:`Cosigner.cosign` reads from top to bottom, cheapest check first::

    size → shape → nonces' shape → known inputs → scripts → the user's signatures
         → balance and surjection → openings → one transaction: decide and record → sign

Nothing that the caller says about an input is believed: value, asset and script come from the service's own view of
the chain, and the script is derived again from account and pointer. Nothing expensive happens before the user's
signatures have verified, because opening outputs is what costs (5 ms each; all else together is under 1 ms).

**Double signatures.** A request is known by its txid with the scriptSigs in place, so a retry that differs only in
witnesses is the same request and gets the same signatures: they are deterministic (RFC 6979), which is also why a
crash between record and answer loses nothing. For an outpoint that was signed before, another transaction is
refused with the earlier txid. That does not hold for ever: when the earlier one can no longer confirm, because one
of its inputs was spent otherwise and that spend is final, or when it has been in neither block nor mempool for
``replace_after`` seconds, the owner's new signature replaces it. Both stay on record, and the table
``outpoint_claims``, whose key is the outpoint, says which one holds.

SIGHASH_ALL commits to the commitments of outputs and not to their proofs. What is recorded follows from commitments
alone, and two requests that differ only in proofs are one.
"""

from __future__ import annotations

import enum
import logging
import math
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any, Protocol

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Row

from amp0.elements.hashes import Txid
from amp0.elements.keys import ExtendedKey
from amp0.elements.script import csv_2of2_then_1, multisig_2of2
from amp0.elements.sighash import SIGHASH_ALL
from amp0.elements.transaction import OutPoint, Transaction, TxOut
from amp0.protocol.rpc import ACCOUNT_TYPE
from amp0.server import behind
from amp0.server import cosign_checks as checks
from amp0.server.attempts import Attempts
from amp0.server.cosign_checks import PLACEHOLDER, Limits, OwnInput, Spend
from amp0.server.refusal import (
    AddressNeverIssued,
    AlreadySigned,
    ChainUnavailable,
    CosignRefusal,
    ImmatureInput,
    NoOwnInput,
    NotFound,
    Refusal,
    ServerBusy,
    SpentInput,
    UnknownInput,
)
from amp0.server.store import outpoints, schema
from amp0.server.store.engine import Store

log = logging.getLogger("amp0.server.cosigner")

COINBASE_MATURITY = 100
FINAL_DEPTH = 2
"""Blocks after which Liquid is final."""
_SECONDS_PER_OUTPUT = 0.1
"""How soon an account gets back one output of its budget of failures; opening one costs 0.005."""
MAX_QUESTIONS = 16
"""How many unknown transactions the chain is asked for on behalf of one request."""


class Keys(Protocol):
    """What the cosigner needs of whoever holds the service's private key."""

    def public_key(self, gait_path: bytes, account: int, pointer: int) -> bytes:
        """The service's public key (33 bytes) of one address."""
        ...

    def sign(self, gait_path: bytes, account: int, pointer: int, digest: bytes) -> bytes:
        """Its deterministic, low-R DER signature of a 32-byte digest."""
        ...


class Chain(Protocol):
    """What the cosigner asks of the chain; never while it holds a database transaction."""

    def fetch(self, txid: Txid) -> Transaction | None:
        """A transaction of block or mempool, ``None`` when the chain has no such. One bounded question.

        Raises :class:`~amp0.server.refusal.ChainUnavailable`.
        """
        ...

    def height(self) -> int:
        """Height of the newest block the service has read."""
        ...

    def has_read(self) -> bool:
        """Whether the service has read the chain up to its tip since it was started."""
        ...

    def is_current(self) -> bool:
        """Whether blocks and mempool were read completely a moment ago."""
        ...


class Door(enum.Enum):
    """Where a request came in. All of them lead to :meth:`Cosigner.cosign`."""

    DELAYED_SIGNATURE = "delayed_signature"
    """Over HTTP, without a session: it can carry no code."""
    SIGN = "sign_raw_tx"
    SEND = "send_raw_tx"


class Gate(Protocol):
    """A rule that every new transaction must pass, whichever door it came through."""

    def prepare(self, spend: Spend, request: Request) -> object | None:
        """Ask whoever has to be asked, before the deciding transaction: here a gate may wait, and decides nothing.

        What it returns is handed to :meth:`decide`, which must not believe that anything is still as it was.
        """
        ...

    def decide(self, db: Connection, spend: Spend, request: Request, prepared: object | None) -> None:
        """Look at a proven spend inside the deciding transaction, and raise a refusal or let it pass.

        What it writes becomes durable together with the decision, or not at all. A refusal whose ``aftermath`` is
        set has that called after the rollback, still inside the transaction: a wrong guess is counted although
        nothing else happened, and before anybody else can guess.
        """
        ...


class Recorder(Protocol):
    """Whoever keeps books of what is signed, written in the transaction of the decision."""

    def record(self, db: Connection, spend: Spend) -> None:
        """Take a spend that is being decided on into the books."""
        ...

    def replaced(self, db: Connection, txids: Sequence[Txid]) -> None:
        """Earlier decisions that the one being taken replaces; called before :meth:`record`."""
        ...


@dataclass(frozen=True, slots=True)
class Request:
    """One request, whichever door it came through.

    ``nonces`` has one entry per output (32 bytes, ``b""`` for explicit ones), or is ``None`` where the client sent
    none, as GDK does for accounts that are not AMP accounts. ``scripts`` has one witness script per input, or is
    ``None`` where the door has no such field. ``user_id`` is the wallet of the session, ``None`` without one.
    ``authorisation`` is what the client says to prove that its user agrees (two-factor data), for the gates.
    """

    tx: bytes
    nonces: Sequence[bytes] | None
    scripts: Sequence[bytes] | None = None
    user_id: int | None = None
    door: Door = Door.DELAYED_SIGNATURE
    authorisation: Mapping[str, Any] = field(default_factory=dict, repr=False)


@dataclass(frozen=True, slots=True)
class Cosigned:
    """The fully signed transaction. ``again`` when it was on record before this request."""

    tx: Transaction
    again: bool
    account_ids: frozenset[int]


class Cosigner:
    """Decides, records and signs. Thread-safe; its methods block, so call them from worker threads."""

    def __init__(
        self,
        store: Store,
        keys: Keys,
        chain: Chain,
        *,
        policy_asset: bytes,
        clock: Callable[[], float],
        limits: Limits | None = None,
        gates: Sequence[Gate] = (),
        recorders: Sequence[Recorder] = (),
    ) -> None:
        self._store = store
        self._keys = keys
        self._chain = chain
        self._policy_asset = policy_asset
        self._clock = clock
        self._limits = limits or Limits()
        self._gates = tuple(gates)
        self._recorders = tuple(recorders)
        self._working = threading.BoundedSemaphore(self._limits.workers)
        self._waiting = threading.BoundedSemaphore(self._limits.workers + self._limits.max_waiting)
        self._failures = Attempts(_SECONDS_PER_OUTPUT, clock)

    def cosign(self, request: Request) -> Cosigned:
        """Check everything, record the decision durably, and sign.

        Raises a :class:`~amp0.server.refusal.Refusal`; then nothing was signed and nothing recorded.
        """
        tx = checks.parse(request.tx)
        checks.check_shape(tx, self._policy_asset, self._limits, self._chain.height())
        checks.check_nonce_shape(tx, request.nonces)
        spent, own = self._known_inputs(tx, request.user_id)
        checks.check_scripts(tx, own, request.scripts)
        digests = checks.check_signatures(tx, own)
        again = self._is_recorded(tx.txid())
        if not again:
            if not self._chain.has_read():
                # Only the chain can show that the database is an old one.
                raise ChainUnavailable(
                    "This server has not read the chain since it was started, so it signs nothing new yet; "
                    "try again in a moment"
                )
            self._ask_about_earlier(tx, own)
            with self._budgeted(tx, own):
                with self._turn():
                    spend = checks.open_outputs(tx, spent, own, request.nonces)
                prepared = [gate.prepare(spend, request) for gate in self._gates]
                again = self._decide_and_record(spend, request, prepared)
        return self._sign(tx, own, digests, again=again)

    def again(self, txid: Txid) -> Cosigned:
        """Sign once more the transaction that was cosigned under ``txid``; it gets the same signatures.

        Raises :class:`~amp0.server.refusal.NotFound`.
        """
        ins = schema.cosigned_inputs
        with self._store.snapshot() as db:
            raw = db.execute(
                sa.select(schema.cosigned.c.tx).where(schema.cosigned.c.txid == bytes(txid))
            ).scalar_one_or_none()
            if raw is None:
                raise NotFound(f"No transaction {txid} was cosigned here")
            tx = Transaction.from_bytes(raw)
            own = [
                self._own_input(row.position, row, TxOut(row.script_pubkey, b"", row.value_field))
                for row in db.execute(
                    _address_columns(ins.c.position, ins.c.value_field)
                    .join(ins, _same_address(ins))
                    .where(ins.c.txid == bytes(txid))
                    .order_by(ins.c.position)
                )
            ]
        return self._sign(tx, own, checks.check_signatures(tx, own), again=True)

    # -- gather -----------------------------------------------------------------------------

    def _known_inputs(self, tx: Transaction, user_id: int | None) -> tuple[list[TxOut], list[OwnInput]]:
        """The spent outputs by the service's own view of the chain, and which of the inputs are own."""
        position = {txin.prevout: i for i, txin in enumerate(tx.vin)}
        own: dict[OutPoint, OwnInput] = {}
        with self._store.snapshot() as db:
            for prevout, row in _watched(db, position):
                _check_unspent(position[prevout], row.spent_by, tx.txid())
                self._check_mature(db, position[prevout], prevout, row.height)
                txout = TxOut(row.script_pubkey, row.asset_field, row.value_field, row.nonce_field)
                own[prevout] = self._own_input(position[prevout], row, txout)
        others = self._other_outputs([prevout for prevout in position if prevout not in own])
        if others:
            # An own output that the watcher has not read yet is own all the same.
            own |= self._own_among(others, position)
        for prevout, i in position.items():
            if prevout not in own and PLACEHOLDER in tx.vin[i].witness:
                raise AddressNeverIssued(
                    f"Input {i} waits for this server's signature, but its address was never issued here; "
                    "coins sent to it cannot be moved by this server"
                )
        if not own:
            raise NoOwnInput("No input belongs to an account of this server, so there is nothing to sign")
        if user_id is not None and all(item.user_id != user_id for item in own.values()):
            raise NoOwnInput("No input belongs to the wallet that is logged in")
        spent = [own[prevout].txout if prevout in own else others[prevout][0] for prevout in position]
        return spent, sorted(own.values(), key=lambda item: item.index)

    def _own_among(
        self, others: dict[OutPoint, tuple[TxOut, bool]], position: dict[OutPoint, int]
    ) -> dict[OutPoint, OwnInput]:
        own: dict[OutPoint, OwnInput] = {}
        with self._store.snapshot() as db:
            for prevout, (txout, is_coinbase) in others.items():
                row = db.execute(
                    _address_columns().where(schema.addresses.c.script_pubkey == txout.script)
                ).one_or_none()
                if row is None:
                    continue
                if is_coinbase:
                    raise ImmatureInput(f"Input {position[prevout]} spends a coinbase output; try again later")
                own[prevout] = self._own_input(position[prevout], row, txout)
        return own

    def _own_input(self, index: int, row: Row[Any], txout: TxOut) -> OwnInput:
        service = self._keys.public_key(row.gait_path, row.account, row.pointer)
        if row.user_pubkey is None:
            branch = _branch(row.master_pubkey, row.master_chain_code)
        else:
            branch = _branch(row.user_pubkey, row.user_chain_code)
        user = branch.child_public_key(row.pointer)
        script = csv_2of2_then_1(service, user, row.csv_blocks) if row.csv_blocks else multisig_2of2(service, user)
        return OwnInput(
            index=index,
            account_id=row.account_id,
            user_id=row.user_id,
            account=row.account,
            pointer=row.pointer,
            is_amp=row.type == ACCOUNT_TYPE,
            gait_path=row.gait_path,
            service_key=service,
            user_key=user,
            csv_blocks=row.csv_blocks,
            witness_script=script,
            txout=txout,
        )

    def _check_mature(self, db: Connection, index: int, prevout: OutPoint, height: int | None) -> None:
        if height is None or self._chain.height() - height + 1 >= COINBASE_MATURITY:
            return
        head = db.execute(
            sa.select(sa.func.substr(schema.transactions.c.raw, 1, 48)).where(
                schema.transactions.c.txid == bytes(prevout.txid())
            )
        ).scalar_one()
        # version(4) flag(1) count(1), then the first input's txid: all zero only in a coinbase.
        if bytes(head[6:38]) == bytes(32):
            raise ImmatureInput(
                f"Input {index} spends a coinbase output before its {COINBASE_MATURITY} blocks have passed"
            )

    def _other_outputs(self, prevouts: Sequence[OutPoint]) -> dict[OutPoint, tuple[TxOut, bool]]:
        """Outputs that are not watched, each with whether a coinbase made it.

        They are somebody else's, or own ones not read yet. The chain is asked once for each transaction that the
        store does not have, outside any database transaction.
        """
        if not prevouts:
            return {}
        needed = {prevout.txid() for prevout in prevouts}
        sources: dict[Txid, Transaction] = {}
        with self._store.snapshot() as db:
            rows = db.execute(
                sa.select(schema.transactions.c.raw).where(
                    schema.transactions.c.txid.in_([bytes(txid) for txid in needed]),
                    schema.transactions.c.state.in_([0, 1]),
                )
            )
            for row in rows:
                known = Transaction.from_bytes(row.raw)
                sources[known.txid()] = known
        unknown = sorted(needed - sources.keys())
        if len(unknown) > MAX_QUESTIONS:
            raise UnknownInput(
                f"{len(unknown)} of the inputs are unknown to this server; wait until it has read the chain"
            )
        for txid in unknown:
            sources[txid] = self._ask(txid)
        result: dict[OutPoint, tuple[TxOut, bool]] = {}
        for prevout in prevouts:
            source = sources[prevout.txid()]
            if prevout.vout() >= len(source.vout):
                raise UnknownInput(f"Missing prevout: transaction {prevout.txid()} has no output {prevout.vout()}")
            result[prevout] = (source.vout[prevout.vout()], source.is_coinbase)
        return result

    def _ask(self, txid: Txid) -> Transaction:
        source = self._chain.fetch(txid)
        if source is None:
            raise UnknownInput(
                f"Missing prevout: transaction {txid} is in neither block nor mempool as far as this server knows; "
                "broadcast it first, or wait a moment and try again"
            )
        if source.txid() != txid:
            raise ChainUnavailable("The chain source answered with another transaction; try again")
        return source

    # -- within bounds ----------------------------------------------------------------------

    @contextmanager
    def _budgeted(self, tx: Transaction, own: Sequence[OwnInput]) -> Iterator[None]:
        """The expensive part, within each account's budget: what a refused transaction cost is taken from it, whoever
        refuses it. A policy that says no again and again would otherwise have outputs opened for nothing."""
        budgets = {f"account {item.account_id}" for item in own}
        for key in budgets:
            self._failures.check(key, self._limits.failed_outputs, "refused transactions")
        try:
            yield
        except CosignRefusal:
            for key in budgets:
                self._failures.failed(key, len(tx.vout))
            raise

    @contextmanager
    def _turn(self) -> Iterator[None]:
        """A place among the few requests that may use the processors; the queue before it is bounded."""
        if not self._waiting.acquire(blocking=False):
            raise ServerBusy("The cosigner has more requests than it can take; try again in a moment")
        try:
            with self._working:
                yield
        finally:
            self._waiting.release()

    # -- decide and record ------------------------------------------------------------------

    def _is_recorded(self, txid: Txid) -> bool:
        with self._store.snapshot() as db:
            return _is_recorded(db, txid)

    def _ask_about_earlier(self, tx: Transaction, own: Sequence[OwnInput]) -> None:
        """Before anything costs: may the own outpoints be signed for, as far as store and chain know?

        The store knows what the watcher read. Where it lets an earlier transaction be replaced because nobody has
        seen it, the chain itself is asked, and a chain that does not answer means no.
        """
        with self._store.snapshot() as db:
            earlier = _holders(db, tx, own)
            self._check_replaceable(db, earlier)
            unseen = [txid for txid in earlier if not self._cannot_confirm(db, txid)]
        if unseen and not self._chain.is_current():
            raise ChainUnavailable(
                "This server has not read the chain lately, so it cannot tell whether an earlier transaction for "
                "these coins is under way; try again in a moment"
            )
        for txid in unseen:
            if self._chain.fetch(txid) is not None:
                raise _already_signed(txid)

    def _decide_and_record(self, spend: Spend, request: Request, prepared: Sequence[object | None]) -> bool:
        """Decide on facts read inside one transaction, and record. True when it was on record already."""
        tx = spend.tx
        refused: Refusal | None = None
        with self._store.transaction() as db:
            if _is_recorded(db, tx.txid()):
                return True
            behind.check(db, {opening.asset for opening in spend.openings if opening is not None})
            position = {tx.vin[item.index].prevout: item.index for item in spend.own}
            for prevout, row in _watched(db, position):
                _check_unspent(position[prevout], row.spent_by, tx.txid())
            earlier = _holders(db, tx, spend.own)
            self._check_replaceable(db, earlier)
            try:
                with db.begin_nested():
                    for gate, answer in zip(self._gates, prepared, strict=True):
                        gate.decide(db, spend, request, answer)
                    self._record(db, spend, earlier)
                    for recorder in self._recorders:
                        if earlier:
                            recorder.replaced(db, earlier)
                        recorder.record(db, spend)
            except Refusal as refusal:
                if refusal.aftermath is None:
                    raise
                # In the same transaction: nobody guesses between the look at a code and the count of it.
                refusal.aftermath(db)
                refused = refusal
        if refused is not None:
            raise refused
        return False

    def _record(self, db: Connection, spend: Spend, earlier: Sequence[Txid]) -> None:
        """Write the decision: the transaction, all its inputs, and the claims on its own outpoints."""
        tx, txid = spend.tx, bytes(spend.tx.txid())
        owners = {item.index: item for item in spend.own}
        db.execute(
            sa.insert(schema.cosigned).values(
                txid=txid, tx=tx.to_bytes(), created_at=int(self._clock()), replaced_by=None
            )
        )
        db.execute(
            sa.insert(schema.cosigned_inputs),
            [
                {
                    "txid": txid,
                    "position": i,
                    "prev_txid": bytes(txin.prevout.txid()),
                    "prev_vout": txin.prevout.vout(),
                    "account_id": owners[i].account_id if i in owners else None,
                    "pointer": owners[i].pointer if i in owners else None,
                    "value_field": owners[i].txout.value_field if i in owners else None,
                }
                for i, txin in enumerate(tx.vin)
            ],
        )
        if earlier:
            db.execute(
                sa.update(schema.cosigned)
                .where(schema.cosigned.c.txid.in_([bytes(one) for one in earlier]))
                .values(replaced_by=txid)
            )
            claims = schema.outpoint_claims
            held = outpoints.is_one_of(claims.c.prev_txid, claims.c.prev_vout)
            db.execute(sa.delete(claims).where(held), outpoints.these(_own_outpoints(tx, spend.own)))
        # Two rivals for one outpoint meet at the key of this table, whatever went before.
        db.execute(
            sa.insert(schema.outpoint_claims),
            [
                {
                    "prev_txid": bytes(tx.vin[item.index].prevout.txid()),
                    "prev_vout": tx.vin[item.index].prevout.vout(),
                    "txid": txid,
                }
                for item in spend.own
            ],
        )

    def _check_replaceable(self, db: Connection, earlier: Iterable[Txid]) -> None:
        """Refuse while an earlier transaction for one of the outpoints may still confirm."""
        seen = schema.transactions
        for txid in earlier:
            row = db.execute(sa.select(seen.c.state, seen.c.changed_at).where(seen.c.txid == bytes(txid))).one_or_none()
            if row is not None and row.state in (0, 1):
                raise _already_signed(txid)
            if self._cannot_confirm(db, txid):
                continue
            since = db.execute(
                sa.select(schema.cosigned.c.created_at).where(schema.cosigned.c.txid == bytes(txid))
            ).scalar_one()
            if row is not None:
                since = max(since, row.changed_at)
            wait = since + self._limits.replace_after - self._clock()
            if wait > 0:
                raise _already_signed(txid, wait=math.ceil(wait))

    def _cannot_confirm(self, db: Connection, txid: Txid) -> bool:
        """Whether an own input of ``txid`` was spent by another transaction, finally."""
        ins, out = schema.cosigned_inputs, schema.outputs
        found = db.execute(
            sa.select(ins.c.position)
            .join(out, (out.c.txid == ins.c.prev_txid) & (out.c.vout == ins.c.prev_vout))
            .where(
                ins.c.txid == bytes(txid),
                out.c.spent_by != bytes(txid),
                out.c.spent_height <= self._chain.height() - FINAL_DEPTH + 1,
            )
            .limit(1)
        ).first()
        return found is not None

    # -- sign -------------------------------------------------------------------------------

    def _sign(self, tx: Transaction, own: Sequence[OwnInput], digests: dict[int, bytes], *, again: bool) -> Cosigned:
        """Put the service's signatures in their places. Only reached once the decision is on record."""
        vin = list(tx.vin)
        for item in own:
            witness = list(vin[item.index].witness)
            der = self._keys.sign(item.gait_path, item.account, item.pointer, digests[item.index])
            witness[item.service_place] = der + bytes((SIGHASH_ALL,))
            vin[item.index] = replace(vin[item.index], witness=tuple(witness))
        signed = Transaction.of(tx.version, tx.locktime, vin, tx.vout)
        log.info("cosigned txid=%s own_inputs=%d again=%s", signed.txid(), len(own), again)
        return Cosigned(signed, again, frozenset(item.account_id for item in own))


# -- SQL ------------------------------------------------------------------------------------


def _branch(pubkey: bytes, chain_code: bytes) -> ExtendedKey:
    """The key whose children are the user's address keys: child 1 of the account's key."""
    return ExtendedKey(pubkey, chain_code, main=False).child(1)


def _address_columns(*more: sa.ColumnElement[Any]) -> sa.Select[Any]:
    """Everything that identifies and derives an address, with its account and wallet."""
    adr, acc, usr = schema.addresses, schema.accounts, schema.users
    return (
        sa.select(
            adr.c.account_id, adr.c.pointer, adr.c.csv_blocks, adr.c.script_pubkey,
            acc.c.user_id, acc.c.pointer.label("account"), acc.c.type, acc.c.user_pubkey, acc.c.user_chain_code,
            usr.c.gait_path, usr.c.master_pubkey, usr.c.master_chain_code, *more,
        )
        .select_from(adr)
        .join(acc, acc.c.id == adr.c.account_id)
        .join(usr, usr.c.id == acc.c.user_id)
    )  # fmt: skip


def _same_address(table: sa.Table) -> sa.ColumnElement[bool]:
    adr = schema.addresses
    return (adr.c.account_id == table.c.account_id) & (adr.c.pointer == table.c.pointer)


@cache
def _watched_query() -> sa.Select[Any]:
    # Statements are made once: composing them costs more than running them.
    out = schema.outputs
    query = _address_columns(
        out.c.txid, out.c.vout, out.c.asset_field, out.c.value_field, out.c.nonce_field,
        out.c.height, out.c.spent_by,
    ).join(out, _same_address(out))  # fmt: skip
    return query.where(outpoints.is_one_of(out.c.txid, out.c.vout))


@cache
def _recorded_query() -> sa.Select[Any]:
    return sa.select(schema.cosigned.c.txid).where(schema.cosigned.c.txid == sa.bindparam("wanted"))


@cache
def _holders_query() -> sa.Select[Any]:
    claims = schema.outpoint_claims
    return sa.select(claims.c.txid).where(outpoints.is_one_of(claims.c.prev_txid, claims.c.prev_vout)).distinct()


def _watched(db: Connection, prevouts: Iterable[OutPoint]) -> Iterator[tuple[OutPoint, Row[Any]]]:
    """The rows of those outpoints that are own outputs of the present chain and mempool."""
    for row in db.execute(_watched_query(), outpoints.these(prevouts)).all():
        yield OutPoint(Txid(row.txid), row.vout), row


def _is_recorded(db: Connection, txid: Txid) -> bool:
    return db.execute(_recorded_query(), {"wanted": bytes(txid)}).first() is not None


def _own_outpoints(tx: Transaction, own: Sequence[OwnInput]) -> list[OutPoint]:
    return [tx.vin[item.index].prevout for item in own]


def _holders(db: Connection, tx: Transaction, own: Sequence[OwnInput]) -> list[Txid]:
    """Other cosigned transactions that hold one of the own outpoints."""
    rows = db.execute(_holders_query(), outpoints.these(_own_outpoints(tx, own)))
    return sorted(Txid(row.txid) for row in rows if row.txid != bytes(tx.txid()))


def _check_unspent(index: int, spent_by: bytes | None, txid: Txid) -> None:
    if spent_by is not None and spent_by != bytes(txid):
        raise SpentInput(f"Input {index} was spent already, by transaction {Txid(spent_by)}; sync and build again")


def _already_signed(txid: Txid, wait: int | None = None) -> AlreadySigned:
    how_long = (
        "it is in a block or on its way"
        if wait is None
        else f"broadcast that one, or wait {wait} seconds and sign a replacement"
    )
    return AlreadySigned(f"Another transaction for the same coins was signed before: {txid}; {how_long}", str(txid))
