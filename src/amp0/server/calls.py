"""The table of procedures, and the one way a call takes through it.

A call is executed in a worker thread: level, shape of the arguments, transaction, function. Return commits, a refusal
or a fault rolls back, and the caller learns the outcome only after either has happened. Calls that write may share a
transaction, and with it the wait for the disk: each is undone by itself, and none is answered before the commit.
"""

from __future__ import annotations

import enum
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy.engine import Connection

from amp0.errors import InvalidInput, RemoteProtocolError
from amp0.protocol import preflight, rpc
from amp0.protocol import twofactor as wire
from amp0.server import accounts, history, logins, pins, spending, wallets
from amp0.server.context import Context, Level, Publication, Services, Session
from amp0.server.refusal import (
    InternalError,
    InvalidRequest,
    NotAllowed,
    Refusal,
    SessionExpired,
    UnknownProcedure,
)
from amp0.server.twofactor import procedures as factors
from amp0.server.twofactor import reset

log = logging.getLogger("amp0.server.calls")


class Runs(enum.Enum):
    """In what a function runs."""

    WRITE = "inside the one writing transaction, perhaps together with other calls, so it waits for nobody"
    READ = "inside a snapshot"
    OUTSIDE = "without a transaction, because it waits for the chain or the cosigner"
    GUARDED = "inside the one writing transaction, which keeps the aftermath of a refusal; then messages are sent"


@dataclass(frozen=True, slots=True)
class Row:
    """One procedure: what does it, who may call it, and in what it runs."""

    function: Callable[[Context, Any], Any]
    level: Level
    runs: Runs


_ANYBODY, _WATCH_ONLY, _FULL = Level.ANONYMOUS, Level.WATCH_ONLY, Level.FULL

CALLS: Mapping[type[rpc.Procedure], Row] = {
    rpc.Register: Row(wallets.register, _ANYBODY, Runs.WRITE),
    rpc.GetChallenge: Row(logins.get_challenge, _ANYBODY, Runs.READ),
    rpc.Authenticate: Row(logins.authenticate, _ANYBODY, Runs.READ),
    rpc.WatchOnlyLogin: Row(logins.watch_only_login, _ANYBODY, Runs.READ),
    rpc.GetClientBlob: Row(wallets.get_client_blob, _WATCH_ONLY, Runs.READ),
    rpc.SetClientBlob: Row(wallets.set_client_blob, _FULL, Runs.WRITE),
    rpc.GetMemos: Row(wallets.get_memos, _FULL, Runs.READ),
    rpc.CreateSubaccount: Row(accounts.create_subaccount, _FULL, Runs.WRITE),
    rpc.SyncCustom: Row(logins.sync_custom, _FULL, Runs.WRITE),
    rpc.GetSyncStatus: Row(wallets.get_sync_status, _WATCH_ONLY, Runs.READ),
    rpc.SetAppearance: Row(wallets.set_appearance, _FULL, Runs.WRITE),
    rpc.GetAvailableCurrencies: Row(wallets.get_available_currencies, _WATCH_ONLY, Runs.READ),
    rpc.SetCsvTime: Row(factors.set_csv_time, _FULL, Runs.GUARDED),
    rpc.SetNLockTime: Row(factors.set_nlocktime, _FULL, Runs.GUARDED),
    rpc.SendNLockTimes: Row(wallets.send_nlocktimes, _FULL, Runs.READ),
    rpc.GetUpcomingNLockTimes: Row(wallets.get_upcoming_nlocktimes, _WATCH_ONLY, Runs.READ),
    rpc.GetSystemMessage: Row(wallets.get_system_message, _FULL, Runs.READ),
    rpc.AckSystemMessage: Row(wallets.ack_system_message, _FULL, Runs.READ),
    rpc.RemoveAccount: Row(factors.remove_account, _FULL, Runs.GUARDED),
    rpc.SetPinLogin: Row(pins.set_pin_login, _FULL, Runs.OUTSIDE),
    rpc.GetPinPassword: Row(pins.get_password, _ANYBODY, Runs.OUTSIDE),
    rpc.RemovePinLogins: Row(pins.remove_all, _FULL, Runs.WRITE),
    rpc.Fund: Row(accounts.fund, _WATCH_ONLY, Runs.WRITE),
    rpc.UploadAddresses: Row(accounts.upload_addresses, _WATCH_ONLY, Runs.WRITE),
    rpc.GetMyAddresses: Row(accounts.get_my_addresses, _WATCH_ONLY, Runs.READ),
    rpc.GetFeeEstimates: Row(history.get_fee_estimates, _WATCH_ONLY, Runs.READ),
    rpc.GetUnspentOutputs: Row(history.get_unspent_outputs, _WATCH_ONLY, Runs.READ),
    rpc.GetTransactions: Row(history.get_transactions, _WATCH_ONLY, Runs.READ),
    rpc.GetRawTransaction: Row(history.get_raw_transaction, _WATCH_ONLY, Runs.READ),
    rpc.SendTransaction: Row(spending.send_transaction, _WATCH_ONLY, Runs.OUTSIDE),
    rpc.SignTransaction: Row(spending.sign_transaction, _WATCH_ONLY, Runs.OUTSIDE),
    rpc.BroadcastTransaction: Row(spending.broadcast_transaction, _WATCH_ONLY, Runs.OUTSIDE),
    preflight.AskPreflight: Row(spending.ask_preflight, _WATCH_ONLY, Runs.OUTSIDE),
    preflight.GetPreflightToken: Row(spending.get_preflight_token, _WATCH_ONLY, Runs.READ),
    wire.GetTwoFactorConfig: Row(factors.get_config, _WATCH_ONLY, Runs.READ),
    **{kind: Row(factors.request_code, _WATCH_ONLY, Runs.GUARDED) for kind in wire.REQUEST.values()},
    **{kind: Row(factors.init_enable, _FULL, Runs.GUARDED) for kind in wire.INIT_ENABLE.values()},
    **{kind: Row(factors.enable, _FULL, Runs.GUARDED) for kind in wire.ENABLE_WITH.values()},
    **{kind: Row(factors.disable, _FULL, Runs.GUARDED) for kind in wire.DISABLE_WITH.values()},
    wire.RequestProxy: Row(factors.request_proxy, _FULL, Runs.GUARDED),
    wire.EnableGauth: Row(factors.enable_gauth, _FULL, Runs.GUARDED),
    wire.SetEmail: Row(factors.set_email, _FULL, Runs.GUARDED),
    wire.ActivateEmail: Row(factors.activate_email, _FULL, Runs.GUARDED),
    wire.ChangeSettings: Row(factors.change_settings, _FULL, Runs.GUARDED),
    wire.SetUtxoStatus: Row(factors.set_utxo_status, _FULL, Runs.GUARDED),
    wire.GetFrozenOutputs: Row(factors.get_frozen_outputs, _WATCH_ONLY, Runs.READ),
    wire.RequestReset: Row(factors.request_reset, _FULL, Runs.GUARDED),
    wire.ConfirmReset: Row(factors.confirm_reset, _FULL, Runs.GUARDED),
    wire.RequestUndoReset: Row(factors.request_undo_reset, _FULL, Runs.GUARDED),
    wire.ConfirmUndoReset: Row(factors.confirm_undo_reset, _FULL, Runs.GUARDED),
    wire.CancelReset: Row(factors.cancel_reset, _FULL, Runs.GUARDED),
    wire.RequestDisputeNonce: Row(factors.dispute_nonce, _FULL, Runs.GUARDED),
    wire.ResolveDispute: Row(factors.resolve_dispute, _FULL, Runs.GUARDED),
}
"""Procedure → row. A procedure that is not here does not exist."""

SLOW: frozenset[str] = frozenset(kind.URI for kind, row in CALLS.items() if row.runs is Runs.OUTSIDE)
"""Procedures that check proofs or wait for the chain: they have threads of their own."""
SHARED: frozenset[str] = frozenset(kind.URI for kind, row in CALLS.items() if row.runs is Runs.WRITE)
"""Procedures that may share a transaction: see :func:`execute_together`."""
SENDING: frozenset[str] = frozenset(kind.URI for kind, row in CALLS.items() if row.runs is Runs.GUARDED)
"""Procedures that may wait for a mail relay: they have others."""
_LONG: frozenset[type[rpc.Procedure]] = frozenset(
    (rpc.GetUnspentOutputs, rpc.GetTransactions, rpc.GetMyAddresses, rpc.GetRawTransaction, rpc.GetClientBlob)
)
"""Reading calls whose work grows with what the wallet has."""
QUICK: frozenset[str] = frozenset(
    kind.URI for kind, row in CALLS.items() if row.runs is Runs.READ and kind not in _LONG
)
"""Procedures that take a millisecond at most; but see :func:`is_quick`."""
_QUIET_IN_RESET: frozenset[type[rpc.Procedure]] = frozenset((rpc.SetClientBlob, rpc.SyncCustom))
"""What clients do not do during a two-factor reset; the others of that kind look for themselves."""


@dataclass(frozen=True, slots=True)
class Asked:
    """A call as it came in."""

    session: Session
    uri: str
    args: Sequence[Any]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a call: a value or a refusal, the session after it, and what to publish."""

    value: Any
    refusal: Refusal | None
    session: Session
    publications: Sequence[Publication] = ()
    ends_sessions: Level | None = None
    """Live sessions of this wallet that have to end: those of this level and below."""


def is_quick(uri: str, args: Sequence[Any]) -> bool:
    """Whether a call takes a millisecond at most. A watch-only login that has to be stretched here takes 300."""
    return uri in QUICK and (uri != rpc.WatchOnlyLogin.URI or logins.is_derived(args))


def execute(services: Services, session: Session, uri: str, args: Sequence[Any]) -> Outcome:
    """Run one call from its arguments to its outcome. Blocking; never raises."""
    asked = Asked(session, uri, args)
    if uri in SHARED:
        return execute_together(services, [asked])[0]
    try:
        return _run(services, asked)
    except Exception as error:  # noqa: BLE001 (every kind becomes an answer)
        return _failed(asked, error)


def execute_together(services: Services, several: Sequence[Asked]) -> list[Outcome]:
    """Run calls of :data:`SHARED` one after the other in one transaction. Blocking; never raises.

    The outcomes are in the order of the calls, and durable when this returns. A call that is refused leaves nothing
    behind and takes nothing from the others; only when the store itself fails do all of them.
    """
    outcomes: dict[int, Outcome] = {}
    works: dict[int, Callable[[Connection], Outcome]] = {}
    for i, asked in enumerate(several):
        try:
            works[i] = _writing(services, asked)
        except Exception as error:  # noqa: BLE001
            outcomes[i] = _failed(asked, error)
    results: Sequence[Outcome | Exception]
    try:
        results = services.store.together(list(works.values()))
    except Exception as error:  # noqa: BLE001
        results = [error] * len(works)
    for i, result in zip(works, results, strict=True):
        outcomes[i] = result if isinstance(result, Outcome) else _failed(several[i], result)
    return [outcomes[i] for i in range(len(several))]


def _failed(asked: Asked, error: Exception) -> Outcome:
    """What the caller learns of an error."""
    name = asked.uri.removeprefix(rpc.PREFIX)
    refusal: Refusal
    if isinstance(error, Refusal):
        log.info("refused procedure=%s name=%s", name, error.name)
        refusal = error
    elif isinstance(error, RemoteProtocolError | InvalidInput):
        refusal = InvalidRequest(str(error))
    else:
        log.error("failed procedure=%s", name, exc_info=error)
        refusal = InternalError()
    return Outcome(None, refusal, _after_failure(asked.session, asked.uri))


def _row_and_call(asked: Asked) -> tuple[Row, rpc.Procedure]:
    """Level and shape, before anything else is done."""
    kind, session = rpc.PROCEDURES.get(asked.uri), asked.session
    row = CALLS.get(kind) if kind is not None else None
    if row is None:
        if session.level is Level.ANONYMOUS:
            raise SessionExpired
        raise UnknownProcedure(f"This server has no procedure {asked.uri.removeprefix(rpc.PREFIX)!r}")
    if session.level < row.level:
        if session.level is Level.ANONYMOUS:
            raise SessionExpired
        raise NotAllowed("A watch-only session cannot do this; log in with the wallet's signer")
    call = rpc.parse_call(asked.uri, asked.args)
    assert call is not None
    return row, call


def _run(services: Services, asked: Asked) -> Outcome:
    row, call = _row_and_call(asked)
    context = Context(services, asked.session, None)
    if row.runs is Runs.GUARDED:
        value = _run_guarded(context, row, call)
    elif row.runs is Runs.OUTSIDE:
        with services.store.snapshot() as connection:
            logins.require_live(connection, asked.session)
        value = row.function(context, call)
    else:
        with services.store.snapshot() as connection:
            logins.require_live(connection, asked.session)
            context.connection = connection
            value = row.function(context, call)
    return _outcome(context, value)


def _writing(services: Services, asked: Asked) -> Callable[[Connection], Outcome]:
    row, call = _row_and_call(asked)

    def work(connection: Connection) -> Outcome:
        logins.require_live(connection, asked.session)
        if type(call) in _QUIET_IN_RESET:
            reset.refuse_while_active(connection, asked.session.user_id)
        context = Context(services, asked.session, connection)
        return _outcome(context, row.function(context, call))

    return work


def _outcome(context: Context, value: Any) -> Outcome:
    return Outcome(rpc.to_wire(value), None, context.session, tuple(context.publications), context.ends_sessions)


def _run_guarded(context: Context, row: Row, call: rpc.Procedure) -> Any:
    refused: Refusal | None = None
    value = None
    with context.services.store.transaction() as connection:
        logins.require_live(connection, context.session)
        context.connection = connection
        try:
            with connection.begin_nested():
                value = row.function(context, call)
        except Refusal as refusal:
            if refusal.aftermath is None:
                raise
            # Counted before anybody else can look: the transaction goes on.
            refusal.aftermath(connection)
            refused = refusal
    if refused is not None:
        raise refused
    for message in context.messages:
        context.services.factors.send(message)
    return value


def _after_failure(session: Session, uri: str) -> Session:
    # A challenge is good for one attempt, whatever became of it.
    return replace(session, challenge=None) if uri == rpc.Authenticate.URI else session
