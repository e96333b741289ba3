"""Logins: the challenge that the wallet's key signs, the watch-only pair, and the data both end in.

A challenge is five letters or digits, remembered by its connection only, good for one attempt and for a minute. A
watch-only client derives name and password from what its user typed (with scrypt), so they are keys rather than
passwords: the server keeps a keyed hash of the name and a salted, keyed hash of the pair. The key is derived from the
service key, so a stolen database alone allows no guessing. Clients of an older kind send what was typed; their
pair is stretched here, in a worker thread. Owns the table ``watch_only_logins``.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import msgspec
import sqlalchemy as sa
from sqlalchemy.engine import Connection

from amp0.elements.address import Address
from amp0.errors import InvalidAddress, NetworkMismatch
from amp0.protocol import credentials, rpc
from amp0.server import accounts, history, wallets
from amp0.server.attempts import place_of
from amp0.server.context import Challenge, Context, Level, Session
from amp0.server.refusal import InvalidRequest, NameTaken, SessionExpired, WrongCredentials
from amp0.server.store import schema
from amp0.server.twofactor import limits, methods, reset

_ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
_CHALLENGE_LENGTH = 5
_DERIVED = re.compile(r"[0-9a-f]{64}")
_BLOB_KEY = re.compile(r"(?:[0-9a-f]{128})?")
_SCRYPT_N = 1 << 14
_NO_SALT = bytes(16)

_logins = schema.watch_only_logins
# Statements are made once: composing them costs more than running them.
_SALT = sa.select(_logins.c.salt).where(_logins.c.user_id == sa.bindparam("user"))
# Always one row, empty for a name that nobody has: a row more or less would take a different time.
_NOBODY = sa.select(sa.literal(0).label("nobody")).subquery()
_BY_NAME = sa.select(_logins.c.user_id, _logins.c.salt, _logins.c.password_hash, _logins.c.blob_key).select_from(
    _NOBODY.outerjoin(_logins, _logins.c.name_hash == sa.bindparam("name"))
)


def require_live(connection: Connection, session: Session) -> None:
    """Refuse a watch-only session whose credentials were changed or deleted since it logged in."""
    if session.level is not Level.WATCH_ONLY:
        return
    salt = connection.execute(_SALT, {"user": session.user_id}).scalar_one_or_none()
    if salt != session.watch_only_salt:
        raise SessionExpired


# --- the wallet's own login ----------------------------------------------------------------------------------------


def get_challenge(context: Context, call: rpc.GetChallenge) -> str:
    """A new challenge for this connection; unknown wallets get one as well."""
    try:
        address = Address(call.address, context.services.network)
    except (InvalidAddress, NetworkMismatch) as error:
        raise InvalidRequest(str(error)) from None
    if len(address.script) != 25 or address.is_blinded():
        raise InvalidRequest("The login address of a wallet is a plain P2PKH address")
    text = _random_text(context)
    expires_at = context.services.clock() + context.services.settings.challenge_seconds
    context.session = replace(context.session, challenge=Challenge(address.script[3:23], text, expires_at))
    return text


def _random_text(context: Context) -> str:
    text = ""
    while len(text) < _CHALLENGE_LENGTH:
        # 248 is the largest multiple of 62 in a byte: beyond it the first letters would come too often.
        text += "".join(_ALPHABET[byte % 62] for byte in context.services.random(8) if byte < 248)
    return text[:_CHALLENGE_LENGTH]


def authenticate(context: Context, call: rpc.Authenticate) -> rpc.LoginData | bool:
    """The login data, or ``False``: unknown wallet, wrong signature, and challenge gone look alike."""
    challenge = context.session.challenge
    context.session = replace(context.session, challenge=None)
    if challenge is None or challenge.expires_at <= context.services.clock():
        return False
    wallet = wallets.find_by_login_hash(context.db, challenge.login_hash)
    if wallet is None:
        return False
    try:
        signature = bytes.fromhex(call.signature)
    except ValueError:
        return False
    master_key = wallet.master_key(main=context.services.network.main)
    if not credentials.verify_challenge(master_key, challenge.text, signature):
        return False
    return _log_in(context, wallet, Level.FULL)


# --- watch-only ----------------------------------------------------------------------------------------------------


def watch_only_login(context: Context, call: rpc.WatchOnlyLogin) -> rpc.LoginData:
    """The login data with the encrypted blob key. Wrong name and wrong password get one answer, for the same work."""
    if call.kind != "custom":
        raise InvalidRequest(f"Watch-only logins are of kind 'custom', not {call.kind!r}")
    services = context.services
    name, password = call.credentials.username, call.credentials.password
    name_hash = _name_hash(context, name)
    buckets = {
        f"name:{name_hash.hex()}": services.settings.login_attempts,
        f"peer:{place_of(context.session.peer)}": 10 * services.settings.login_attempts,
    }
    for key, capacity in buckets.items():
        services.attempts.check(key, capacity)
    row = context.db.execute(_BY_NAME, {"name": name_hash}).one()
    known = row.user_id is not None
    salt = row.salt if known else _NO_SALT
    expected = row.password_hash if known else bytes(32)
    matches = hmac.compare_digest(_password_hash(context, salt, name, password), expected)
    if not known or not matches:
        for key, capacity in buckets.items():
            services.attempts.failed(key, capacity=capacity)
        services.login_alarm.count()
        raise WrongCredentials
    wallet = wallets.load(context.db, row.user_id)
    return _log_in(context, wallet, Level.WATCH_ONLY, salt=row.salt, blob_key=row.blob_key)


def is_derived(args: Sequence[Any]) -> bool:
    """Whether the arguments of a watch-only login carry a pair that its client has stretched already."""
    pair = args[1] if len(args) > 1 else None
    if not isinstance(pair, dict):
        return True
    return all(isinstance(pair.get(key), str) and _DERIVED.fullmatch(pair[key]) for key in ("username", "password"))


def sync_custom(context: Context, call: rpc.SyncCustom) -> bool:
    """Set, replace or (three empty texts) delete the wallet's watch-only login. Sessions of the old one end."""
    user_id = context.session.user_id
    if not (call.username or call.password or call.wo_blob_key):
        forget_watch_only(context)
        return True
    if not call.username or not call.password:
        raise InvalidRequest("A watch-only login needs a name and a password")
    if not _BLOB_KEY.fullmatch(call.wo_blob_key):
        raise InvalidRequest("The encrypted blob key is 64 bytes of lower-case hex")
    name_hash = _name_hash(context, call.username)
    row = context.db.execute(sa.select(_logins).where(_logins.c.name_hash == name_hash)).one_or_none()
    if row is not None and row.user_id != user_id:
        raise NameTaken("These watch-only credentials cannot be used; choose others")
    if row is not None and row.blob_key == call.wo_blob_key:
        same = _password_hash(context, row.salt, call.username, call.password)
        if hmac.compare_digest(same, row.password_hash):
            return True
    salt = context.services.random(16)
    context.db.execute(_logins.delete().where(_logins.c.user_id == user_id))
    context.db.execute(
        _logins.insert().values(
            user_id=user_id,
            name_hash=name_hash,
            salt=salt,
            password_hash=_password_hash(context, salt, call.username, call.password),
            blob_key=call.wo_blob_key,
            created_at=int(context.services.clock()),
        )
    )
    context.ends_sessions = Level.WATCH_ONLY
    return True


def forget_watch_only(context: Context) -> None:
    """Delete the wallet's watch-only login; sessions made with it end."""
    context.db.execute(_logins.delete().where(_logins.c.user_id == context.session.user_id))
    context.ends_sessions = Level.WATCH_ONLY


def _name_hash(context: Context, name: str) -> bytes:
    return hmac.digest(context.services.keys.derive_secret(b"watch-only names"), name.encode(), "sha256")


def _password_hash(context: Context, salt: bytes, name: str, password: str) -> bytes:
    secret = password.encode()
    if not (_DERIVED.fullmatch(name) and _DERIVED.fullmatch(password)):
        secret = hashlib.scrypt(secret, salt=salt, n=_SCRYPT_N, r=8, p=1, dklen=32)
    data = salt + len(name.encode()).to_bytes(4, "little") + name.encode() + secret
    return hmac.digest(context.services.keys.derive_secret(b"watch-only passwords"), data, "sha256")


# --- what a login answers ------------------------------------------------------------------------------------------


def _log_in(
    context: Context, wallet: wallets.Wallet, level: Level, *, salt: bytes = b"", blob_key: str = ""
) -> rpc.LoginData:
    rows = accounts.list_for_login(context.db, wallet.id)
    receiving_id = rows[0].receiving_id
    context.session = Session(
        peer=context.session.peer,
        level=level,
        user_id=wallet.id,
        receiving_id=receiving_id,
        watch_only_salt=salt,
    )
    services = context.services
    tip = services.tip()
    state = reset.load(services.factors, context.db, wallet.id).to_wire(services.factors.now())
    has_blob = wallet.client_blob_hmac != rpc.ZERO_HMAC
    target = services.settings.required_addresses
    return rpc.LoginData(
        gait_path=wallet.gait_path.hex(),
        subaccounts=[
            rpc.SubaccountRow(
                pointer=row.pointer,
                type=row.type,
                receiving_id=row.receiving_id,
                required_ca=accounts.required_addresses(context.db, row.id, target),
                # Names live in the blob; only a client that has none yet needs them from here.
                name=msgspec.UNSET if has_blob else row.name,
            )
            for row in rows
            if row.pointer > 0
        ],
        client_blob_hmac=wallet.client_blob_hmac,
        receiving_id=receiving_id,
        public_key=wallet.master_pubkey.hex(),
        chain_code=wallet.master_chain_code.hex(),
        cache_password=wallet.cache_password,
        appearance=msgspec.json.decode(wallet.appearance),
        block_height=tip.height,
        block_hash=tip.block_hash,
        prev_block_hash=tip.previous_hash,
        csv_blocks=wallet.csv_blocks,
        nlocktime_blocks=wallet.nlocktime_blocks,
        csv_times=list(services.network.csv_buckets),
        min_fee=services.network.min_fee_rate,
        fee_estimates=history.fee_estimates(services.network.min_fee_rate),
        earliest_key_creation_time=wallet.created_at,
        limits=limits.load(context.db, wallet.id).to_wire(),
        reset_2fa_active=state.reset_2fa_active,
        reset_2fa_days_remaining=state.reset_2fa_days_remaining,
        reset_2fa_disputed=state.reset_2fa_disputed,
        warnings=_warnings(methods.enabled(context.db, wallet.id)) if level is Level.FULL else [],
        wo_blob_key=blob_key or msgspec.UNSET,
    )


def _warnings(factors: list[str]) -> list[str]:
    """What a user should hear at login: whoever loses his only factor waits for months."""
    if len(factors) != 1:
        return []
    return [
        f"Two-factor has one method only ({methods.NAMES[factors[0]]}). Enable another: who loses it has a way back"
    ]
