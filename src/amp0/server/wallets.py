"""Wallets: who registered, with which keys, and what a wallet keeps here that is nobody else's business.

A wallet is its master public key. Whoever registers one first fixes its chain code and its gait path for ever; the
same registration again changes nothing, another one is refused. Owns the table ``users``.
"""

from __future__ import annotations

import base64
import binascii
import json
from dataclasses import dataclass
from typing import Any

import msgspec
import sqlalchemy as sa
from sqlalchemy.engine import Connection, Row

from amp0.elements import wally
from amp0.elements.keys import ExtendedKey
from amp0.protocol import rpc
from amp0.server import accounts
from amp0.server.context import Context
from amp0.server.refusal import InvalidRequest, NotFound, RegistrationConflict, SessionExpired, TooLarge
from amp0.server.store import schema

MAX_APPEARANCE = 1024
"""Bytes of a wallet's appearance as JSON. It is part of the login data, which has to stay small."""

_users = schema.users


@dataclass(frozen=True, slots=True)
class Wallet:
    """One registered wallet."""

    id: int
    master_pubkey: bytes
    master_chain_code: bytes
    gait_path: bytes
    appearance: str
    cache_password: str
    csv_blocks: int
    nlocktime_blocks: int
    client_blob_hmac: str
    created_at: int

    def master_key(self, *, main: bool) -> ExtendedKey:
        """The wallet's extended master public key."""
        return ExtendedKey(self.master_pubkey, self.master_chain_code, main)


_WALLET_COLUMNS = (
    _users.c.id,
    _users.c.master_pubkey,
    _users.c.master_chain_code,
    _users.c.gait_path,
    _users.c.appearance,
    _users.c.cache_password,
    _users.c.csv_blocks,
    _users.c.nlocktime_blocks,
    _users.c.client_blob_hmac,
    _users.c.created_at,
)
_BY_ID = sa.select(*_WALLET_COLUMNS).where(_users.c.id == sa.bindparam("id"))
_BY_LOGIN_HASH = sa.select(*_WALLET_COLUMNS).where(
    _users.c.login_hash == sa.bindparam("login_hash"), _users.c.removed_at.is_(None)
)
DEFAULT_NLOCKTIME = 12_960


def load(connection: Connection, user_id: int) -> Wallet:
    """The wallet of a logged-in session."""
    row = connection.execute(_BY_ID, {"id": user_id}).one_or_none()
    if row is None:
        raise SessionExpired
    return _wallet(row)


def find_by_login_hash(connection: Connection, login_hash: bytes) -> Wallet | None:
    """The wallet whose master public key has this HASH160 (20 bytes), unless it was removed."""
    row = connection.execute(_BY_LOGIN_HASH, {"login_hash": login_hash}).one_or_none()
    return None if row is None else _wallet(row)


def _wallet(row: Row[*tuple[Any, ...]]) -> Wallet:
    return Wallet(*row)


# --- registration --------------------------------------------------------------------------------------------------


def register(context: Context, call: rpc.Register) -> bool:
    """Make a wallet known, with its account 0. Raises :class:`RegistrationConflict` for a second truth."""
    pubkey = bytes.fromhex(call.master_pubkey)
    chain_code = bytes.fromhex(call.master_chain_code)
    gait_path = bytes.fromhex(call.gait_path)
    if not wally.is_public_key(pubkey):
        raise InvalidRequest("The master public key is not a point on the curve")
    known = context.db.execute(
        sa.select(_users.c.id, _users.c.master_chain_code, _users.c.gait_path, _users.c.removed_at).where(
            _users.c.master_pubkey == pubkey
        )
    ).one_or_none()
    if known is not None:
        if (known.master_chain_code, known.gait_path) != (chain_code, gait_path):
            raise RegistrationConflict(
                "This master key is registered with another chain code or gait path; "
                "log in with the software that registered it"
            )
        if known.removed_at is not None:
            context.db.execute(_users.update().where(_users.c.id == known.id).values(removed_at=None))
        return True
    services = context.services
    now = int(services.clock())
    inserted = context.db.execute(
        _users.insert().values(
            master_pubkey=pubkey,
            master_chain_code=chain_code,
            login_hash=wally.hash160(pubkey),
            gait_path=gait_path,
            user_agent=call.user_agent[:64],
            appearance=json.dumps(rpc.default_appearance()),
            cache_password=services.random(16).hex(),
            csv_blocks=services.network.csv_buckets[-1],
            nlocktime_blocks=DEFAULT_NLOCKTIME,
            client_blob="",
            client_blob_hmac=rpc.ZERO_HMAC,
            created_at=now,
        )
    )
    assert inserted.inserted_primary_key is not None
    accounts.create_account_zero(context, int(inserted.inserted_primary_key[0]), now)
    return True


# --- client blob ---------------------------------------------------------------------------------------------------


def get_client_blob(context: Context, _call: rpc.GetClientBlob) -> rpc.BlobReply:
    """The stored blob; empty, with the zero HMAC, while there is none."""
    row = context.db.execute(
        sa.select(_users.c.client_blob, _users.c.client_blob_hmac).where(_users.c.id == context.session.user_id)
    ).one()
    return rpc.BlobReply(blob=row.client_blob, hmac=row.client_blob_hmac)


def set_client_blob(context: Context, call: rpc.SetClientBlob) -> bool | rpc.BlobReply:
    """Compare and swap: ``True``, or the blob somebody else wrote in the meantime, with nothing changed."""
    if len(call.blob) > context.services.settings.max_client_blob:
        raise TooLarge(
            f"A client blob may have {context.services.settings.max_client_blob} characters; shorten names and memos"
        )
    _require_base64(call.blob, "client blob")
    _require_base64(call.hmac, "HMAC", length=32)
    if not call.blob or call.hmac == rpc.ZERO_HMAC:
        raise InvalidRequest("A client blob cannot be emptied")
    user_id = context.session.user_id
    changed = context.db.execute(
        _users.update()
        .where(_users.c.id == user_id, _users.c.client_blob_hmac == call.previous_hmac)
        .values(client_blob=call.blob, client_blob_hmac=call.hmac)
    )
    if changed.rowcount != 1:
        current = get_client_blob(context, rpc.GetClientBlob())
        # The same write again, after its answer was lost, is not a race.
        return True if (current.blob, current.hmac) == (call.blob, call.hmac) else current
    context.publish(rpc.topic_blob(context.session.receiving_id), msgspec.to_builtins(rpc.BlobEvent(hmac=call.hmac)))
    return True


def _require_base64(text: str, what: str, *, length: int | None = None) -> None:
    try:
        data = base64.b64decode(text, validate=True)
    except binascii.Error:
        raise InvalidRequest(f"The {what} is not base64") from None
    if length is not None and len(data) != length:
        raise InvalidRequest(f"The {what} must have {length} bytes")


# --- settings and plain answers ------------------------------------------------------------------------------------


def set_appearance(context: Context, call: rpc.SetAppearance) -> bool:
    """Keep the appearance as it is; it is for clients."""
    text = json.dumps(call.appearance, separators=(",", ":"))
    if len(text) > MAX_APPEARANCE:
        raise TooLarge(f"An appearance may have {MAX_APPEARANCE} bytes")
    context.db.execute(_users.update().where(_users.c.id == context.session.user_id).values(appearance=text))
    return True


def set_csv_time(context: Context, call: rpc.SetCsvTime) -> bool:
    """The delay of addresses of account 0 that are handed out from now on; earlier ones keep theirs."""
    buckets = context.services.network.csv_buckets
    if call.blocks not in buckets:
        raise InvalidRequest(f"The delay is one of {', '.join(map(str, buckets))} blocks")
    context.db.execute(_users.update().where(_users.c.id == context.session.user_id).values(csv_blocks=call.blocks))
    return True


def set_nlocktime(context: Context, call: rpc.SetNLockTime) -> bool:
    """Kept and told again at the next login; nothing here is made of it."""
    context.db.execute(
        _users.update().where(_users.c.id == context.session.user_id).values(nlocktime_blocks=call.blocks)
    )
    return True


def send_nlocktimes(_context: Context, _call: rpc.SendNLockTimes) -> bool:
    """On Liquid there are no recovery transactions with a lock time, so there is none to send."""
    return True


def get_upcoming_nlocktimes(_context: Context, _call: rpc.GetUpcomingNLockTimes) -> dict[str, Any]:
    """On Liquid there are no recovery transactions with a lock time."""
    return {"list": []}


def get_system_message(_context: Context, _call: rpc.GetSystemMessage) -> rpc.SystemMessage:
    """This server has nothing to say to all of its users."""
    return rpc.SystemMessage()


def ack_system_message(_context: Context, call: rpc.AckSystemMessage) -> bool:
    """There is no message that could be acknowledged."""
    raise NotFound(f"There is no system message {call.message_id}")


def mark_removed(context: Context) -> None:
    """Forget what the wallet kept here, and let nobody log in until it is registered again."""
    context.db.execute(
        _users.update()
        .where(_users.c.id == context.session.user_id)
        .values(
            client_blob="",
            client_blob_hmac=rpc.ZERO_HMAC,
            appearance=json.dumps(rpc.default_appearance()),
            cache_password=context.services.random(16).hex(),
            removed_at=int(context.services.clock()),
        )
    )


def get_memos(_context: Context, _call: rpc.GetMemos) -> rpc.Memos:
    """Memos live in the client blob; there are none from before it."""
    return rpc.Memos()


def get_sync_status(_context: Context, _call: rpc.GetSyncStatus) -> dict[str, str]:
    """The name of an old-style watch-only login, which nobody has here: names are kept in the client blob."""
    return {"username": ""}


def get_available_currencies(_context: Context, _call: rpc.GetAvailableCurrencies) -> dict[str, object]:
    """What clients can choose for display; no price is served here."""
    return {"all": ["USD"], "per_exchange": {"BITSTAMP": ["USD"]}}
