"""PIN logins: a device keeps its mnemonic encrypted, and the key to it comes from here, for the right PIN.

The password that a device gets is never stored. It follows from the PIN, stretched with a salt, and from the service
key; so neither the database alone nor a device alone opens anything, and deleting the salt destroys the password
for ever. A few wrong PINs do that. The try is taken, durably, before the PIN is looked at: a crash or a
second connection wins nobody another one. Owns the table ``pin_logins``.
"""

from __future__ import annotations

import hashlib
import hmac
import re

import sqlalchemy as sa

from amp0.protocol import rpc
from amp0.server.context import Context
from amp0.server.refusal import InvalidRequest, WrongPin
from amp0.server.store import schema

TRIES = 3
"""Wrong PINs in a row after which a PIN login is gone."""
MAX_DEVICES = 32
"""PIN logins of one wallet."""
_MIN_PIN, _MAX_PIN = 4, 64
_IDENTIFIER = re.compile(r"[0-9a-f]{32}")
_SCRYPT_N = 1 << 14

_pins = schema.pin_logins


def set_pin_login(context: Context, call: rpc.SetPinLogin) -> str:
    """A new PIN for a device, in place of the one it had; ``<identifier>;<password>``. Opens its own transaction."""
    if not _MIN_PIN <= len(call.pin) <= _MAX_PIN:
        raise InvalidRequest(f"A PIN has {_MIN_PIN} to {_MAX_PIN} characters")
    if not call.device_id:
        raise InvalidRequest("A PIN login needs a device id")
    services, user_id = context.services, context.session.user_id
    identifier, salt = services.random(16), services.random(16)
    pin_hash, password = _derive(context, call.pin, salt)
    device_hash = hashlib.sha256(call.device_id.encode()).digest()
    with services.store.transaction() as db:
        db.execute(_pins.delete().where(_pins.c.user_id == user_id, _pins.c.device_hash == device_hash))
        held = db.execute(sa.select(sa.func.count()).select_from(_pins).where(_pins.c.user_id == user_id)).scalar_one()
        if held >= MAX_DEVICES:
            raise InvalidRequest(f"A wallet has at most {MAX_DEVICES} PIN logins; remove them all and begin again")
        db.execute(
            _pins.insert().values(
                identifier=identifier,
                user_id=user_id,
                device_hash=device_hash,
                salt=salt,
                pin_hash=pin_hash,
                tries_left=TRIES,
                created_at=int(services.clock()),
            )
        )
    return f"{identifier.hex()};{password.hex()}"


def get_password(context: Context, call: rpc.GetPinPassword) -> str:
    """The password for the right PIN. Opens its own transactions.

    Raises :class:`WrongPin`; after too many of them the login is gone, and only the mnemonic helps.
    """
    if not _IDENTIFIER.fullmatch(call.identifier):
        raise WrongPin(_GONE)
    store, here = context.services.store, _pins.c.identifier == bytes.fromhex(call.identifier)
    with store.transaction() as db:
        row = db.execute(sa.select(_pins.c.salt, _pins.c.pin_hash, _pins.c.tries_left).where(here)).one_or_none()
        if row is None or row.tries_left == 0:
            raise WrongPin(_GONE)
        left = row.tries_left - 1
        db.execute(_pins.update().where(here).values(tries_left=left))
    pin_hash, password = _derive(context, call.pin, row.salt)
    if hmac.compare_digest(pin_hash, row.pin_hash):
        with store.transaction() as db:
            db.execute(_pins.update().where(here).values(tries_left=TRIES))
        return password.hex()
    if left == 0:
        with store.transaction() as db:
            db.execute(_pins.delete().where(here, _pins.c.tries_left == 0))
        raise WrongPin(_GONE)
    raise WrongPin(f"Wrong PIN; {left} {'try is' if left == 1 else 'tries are'} left")


def remove_all(context: Context, _call: rpc.RemovePinLogins) -> bool:
    """Delete the wallet's PIN logins: what devices have encrypted with them cannot be decrypted any more."""
    forget(context)
    return True


def forget(context: Context) -> None:
    """Delete the PIN logins of the wallet that is logged in."""
    context.db.execute(_pins.delete().where(_pins.c.user_id == context.session.user_id))


_GONE = "There is no such PIN login (any more); log in with the mnemonic"


def _derive(context: Context, pin: str, salt: bytes) -> tuple[bytes, bytes]:
    """(what is compared, the password), 32 bytes each."""
    stretched = hashlib.scrypt(pin.encode(), salt=salt, n=_SCRYPT_N, r=8, p=1, dklen=32)
    secret = context.services.keys.derive_secret(b"pin logins")
    return hmac.digest(secret, b"check" + stretched, "sha256"), hmac.digest(secret, b"password" + stretched, "sha256")
