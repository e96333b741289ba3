"""The table of procedures, and the one way a call takes through it.

A call is executed in a worker thread: level, shape of the arguments, transaction, function. Return commits, a refusal
or a fault rolls back, and the caller learns the outcome only after either has happened.
"""

from __future__ import annotations

import enum
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from amp0.errors import InvalidInput, RemoteProtocolError
from amp0.protocol import rpc
from amp0.server import accounts, history, logins, pins, removal, spending, wallets
from amp0.server.context import Context, Level, Publication, Services, Session
from amp0.server.refusal import (
    InternalError,
    InvalidRequest,
    NotAllowed,
    Refusal,
    SessionExpired,
    UnknownProcedure,
)

log = logging.getLogger("amp0.server.calls")


class Runs(enum.Enum):
    """In what a function runs."""

    WRITE = "inside the one writing transaction"
    READ = "inside a snapshot"
    OUTSIDE = "without a transaction, because it waits for the chain or the cosigner"


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
    rpc.SetCsvTime: Row(wallets.set_csv_time, _FULL, Runs.WRITE),
    rpc.SetNLockTime: Row(wallets.set_nlocktime, _FULL, Runs.WRITE),
    rpc.SendNLockTimes: Row(wallets.send_nlocktimes, _FULL, Runs.READ),
    rpc.GetUpcomingNLockTimes: Row(wallets.get_upcoming_nlocktimes, _WATCH_ONLY, Runs.READ),
    rpc.GetSystemMessage: Row(wallets.get_system_message, _FULL, Runs.READ),
    rpc.AckSystemMessage: Row(wallets.ack_system_message, _FULL, Runs.READ),
    rpc.RemoveAccount: Row(removal.remove_account, _FULL, Runs.WRITE),
    rpc.SetPinLogin: Row(pins.set_pin_login, _FULL, Runs.OUTSIDE),
    rpc.GetPinPassword: Row(pins.get_password, _ANYBODY, Runs.OUTSIDE),
    rpc.RemovePinLogins: Row(pins.remove_all, _FULL, Runs.WRITE),
    rpc.GetTwoFactorConfig: Row(wallets.get_two_factor_config, _FULL, Runs.READ),
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
}
"""Procedure → row. A procedure that is not here does not exist."""

SLOW: frozenset[str] = frozenset(kind.URI for kind, row in CALLS.items() if row.runs is Runs.OUTSIDE)
"""Procedures that check proofs or wait for the chain: they have threads of their own."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a call: a value or a refusal, the session after it, and what to publish."""

    value: Any
    refusal: Refusal | None
    session: Session
    publications: Sequence[Publication] = ()
    ends_sessions: Level | None = None
    """Live sessions of this wallet that have to end: those of this level and below."""


def execute(services: Services, session: Session, uri: str, args: Sequence[Any]) -> Outcome:
    """Run one call from its arguments to its outcome. Blocking; never raises."""
    try:
        return _run(services, session, uri, args)
    except Refusal as refusal:
        log.info("refused procedure=%s name=%s", uri.removeprefix(rpc.PREFIX), refusal.name)
        return Outcome(None, refusal, _after_failure(session, uri))
    except RemoteProtocolError as error:
        return Outcome(None, InvalidRequest(str(error)), _after_failure(session, uri))
    except InvalidInput as error:
        return Outcome(None, InvalidRequest(str(error)), _after_failure(session, uri))
    except Exception:
        log.exception("failed procedure=%s", uri.removeprefix(rpc.PREFIX))
        return Outcome(None, InternalError(), _after_failure(session, uri))


def _run(services: Services, session: Session, uri: str, args: Sequence[Any]) -> Outcome:
    kind = rpc.PROCEDURES.get(uri)
    row = CALLS.get(kind) if kind is not None else None
    if row is None:
        if session.level is Level.ANONYMOUS:
            raise SessionExpired
        raise UnknownProcedure(f"This server has no procedure {uri.removeprefix(rpc.PREFIX)!r}")
    if session.level < row.level:
        if session.level is Level.ANONYMOUS:
            raise SessionExpired
        raise NotAllowed("A watch-only session cannot do this; log in with the wallet's signer")
    call = rpc.parse_call(uri, args)
    assert call is not None
    context = Context(services, session, None)
    if row.runs is Runs.OUTSIDE:
        with services.store.snapshot() as connection:
            logins.require_live(connection, session)
        value = row.function(context, call)
    else:
        begin = services.store.transaction if row.runs is Runs.WRITE else services.store.snapshot
        with begin() as connection:
            logins.require_live(connection, session)
            context.connection = connection
            value = row.function(context, call)
    return Outcome(rpc.to_wire(value), None, context.session, tuple(context.publications), context.ends_sessions)


def _after_failure(session: Session, uri: str) -> Session:
    # A challenge is good for one attempt, whatever became of it.
    return replace(session, challenge=None) if uri == rpc.Authenticate.URI else session
