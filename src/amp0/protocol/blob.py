"""The client blob: what a wallet keeps on the server, readable only by itself and its watch-only users.

Base64 of ``nonce(12) ‖ AES-256-GCM(plaintext) ‖ tag(16)``; the plaintext is an eight-byte head and a zlib
stream of MessagePack, an array of 32 places. An HMAC over the encrypted bytes chains the versions: each
write names the HMAC it replaces. GDK and LWK read and write the same format; what they keep here and we do
not understand survives a rewrite untouched.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import secrets
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Self

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from amp0.elements.keys import ExtendedKey, Slip77
from amp0.errors import InvalidInput, RemoteProtocolError
from amp0.protocol.credentials import (
    CLIENT_SECRET_PATH,
    LOGIN_PATH,
    REGISTER_PATH,
    Amp0SignerData,
    account_path,
)

MAX_BLOB_BYTES = 1_000_000
"""Largest blob, packed or unpacked, that is read."""

_PLACES = 32
_VERSION, _NAMES, _MEMOS, _HIDDEN, _SLIP77, _WATCH_ONLY = range(6)


@dataclass(frozen=True, slots=True)
class BlobKeys:
    """Encryption and authentication keys (32 bytes each) of a wallet's blob. ``repr`` hides them."""

    enc_key: bytes
    hmac_key: bytes

    @classmethod
    def from_client_secret(cls, client_secret_xpub: ExtendedKey) -> Self:
        """From the client secret's public key."""
        stretched = hashlib.pbkdf2_hmac("sha512", client_secret_xpub.public_key, b"blobsalt", 2048, 64)
        return cls(hashlib.sha256(stretched[32:]).digest(), stretched[32:])

    def __repr__(self) -> str:
        return "BlobKeys(…)"


@dataclass(frozen=True, slots=True)
class ClientBlob:
    """The decoded blob. A value: changes make a new one with a higher version.

    ``places`` are the 32 MessagePack values; ``xpubs`` maps extended public keys (as written) to paths.
    """

    places: tuple[Any, ...] = field(repr=False)

    @classmethod
    def new(cls, data: Amp0SignerData) -> Self:
        """The first blob of a wallet: its blinding key and the keys that watch-only users need."""
        xpubs = {
            str(data.master_xpub): [],
            # Not in LWK's blobs: with it, a watch-only login can check the gait path it is told.
            str(data.register_xpub): list(REGISTER_PATH),
            str(data.login_xpub): list(LOGIN_PATH),
            str(data.client_secret_xpub): list(CLIENT_SECRET_PATH),
        }
        places: list[Any] = [None] * _PLACES
        places[_VERSION] = 1
        places[_SLIP77] = {"key": data.slip77_key.key.hex()}
        places[_WATCH_ONLY] = {"username": "", "xpubs": xpubs}
        return cls(tuple(places))

    # -- reading -----------------------------------------------------------------------------

    @property
    def version(self) -> int:
        """Counts up with every change; GDK refuses a lower one than it has seen."""
        value = self.places[_VERSION]
        return value if isinstance(value, int) else 0

    @property
    def slip77(self) -> Slip77:
        """The master blinding key. Raises :class:`RemoteProtocolError` when the wallet keeps it back."""
        entry = self.places[_SLIP77]
        key = entry.get("key") if isinstance(entry, Mapping) else None
        try:
            # GDK writes 64 bytes, LWK 32; the last 32 are the key.
            if isinstance(key, str) and len(key) >= 64:
                return Slip77.from_string(key[-64:])
        except InvalidInput:
            pass
        raise RemoteProtocolError(
            "the client blob holds no blinding key; log in once with the signer so that it is stored"
        )

    @property
    def username(self) -> str:
        """The watch-only user name in plain text, ``""`` if none."""
        name = self._watch_only().get("username")
        return name if isinstance(name, str) else ""

    @property
    def xpubs(self) -> dict[str, tuple[int, ...]]:
        """Extended public keys as written, and their paths from the master."""
        raw = self._watch_only().get("xpubs")
        result = {}
        for text, path in raw.items() if isinstance(raw, Mapping) else ():
            if not isinstance(text, str) or not isinstance(path, list) or len(path) > 255:
                raise RemoteProtocolError("the client blob's list of keys is out of shape")
            if not all(type(n) is int and 0 <= n < 2**32 for n in path):
                raise RemoteProtocolError("the client blob's list of keys is out of shape")
            result[text] = tuple(path)
        return result

    def xpub_at(self, path: tuple[int, ...]) -> ExtendedKey | None:
        """The key the blob lists under ``path``, ``None`` if there is none."""
        for text, listed in self.xpubs.items():
            if listed == path:
                try:
                    return ExtendedKey.from_string(text)
                except InvalidInput:
                    raise RemoteProtocolError("the client blob lists something that is no key") from None
        return None

    def _watch_only(self) -> Mapping[str, Any]:
        entry = self.places[_WATCH_ONLY]
        return entry if isinstance(entry, Mapping) else {}

    # -- changing ----------------------------------------------------------------------------

    def with_account(self, account: int, xpub: ExtendedKey) -> Self:
        """With an account's key listed; unchanged if that key is already there in some spelling."""
        for text in self.xpubs:
            try:
                if ExtendedKey.from_string(text).same_key(xpub):
                    return self
            except InvalidInput:
                continue
        watch_only = dict(self._watch_only())
        listed = watch_only.get("xpubs")
        watch_only["xpubs"] = {
            **(listed if isinstance(listed, Mapping) else {}),
            str(xpub): [*account_path(account)],
        }
        return self._next({_WATCH_ONLY: watch_only})

    def with_keys_of(self, data: Amp0SignerData) -> Self:
        """With everything :meth:`new` writes, where GDK's first write left some of it out."""
        places: dict[int, Any] = {}
        entry = self.places[_SLIP77]
        if not (isinstance(entry, Mapping) and ("key" in entry or "denied" in entry)):
            places[_SLIP77] = {"key": data.slip77_key.key.hex()}
        watch_only = dict(self._watch_only())
        listed = watch_only.get("xpubs")
        xpubs = dict(listed) if isinstance(listed, Mapping) else {}
        for text, path in type(self).new(data).xpubs.items():
            if list(path) not in xpubs.values():
                xpubs[text] = list(path)
        if xpubs != (listed or {}):
            places[_WATCH_ONLY] = {"username": "", **watch_only, "xpubs": xpubs}
        return self._next(places) if places else self

    def with_username(self, username: str) -> Self:
        """With another watch-only user name."""
        return self._next({_WATCH_ONLY: {"xpubs": {}, **self._watch_only(), "username": username}})

    def _next(self, changes: Mapping[int, Any]) -> Self:
        places = list(self.places)
        for place, value in changes.items():
            places[place] = value
        places[_VERSION] = self.version + 1
        return type(self)(tuple(places))

    # -- bytes -------------------------------------------------------------------------------

    def pack(self) -> bytes:
        """The plaintext: head and compressed MessagePack."""
        packed = msgspec.msgpack.encode(list(self.places))
        return b"\x01\x00\x00\x00" + len(packed).to_bytes(4, "little") + zlib.compress(packed, 9)

    @classmethod
    def unpack(cls, plaintext: bytes) -> Self:
        """From the plaintext, with bounded decompression. Raises :class:`RemoteProtocolError`."""
        inflater = zlib.decompressobj()
        try:
            packed = inflater.decompress(plaintext[8:], MAX_BLOB_BYTES)
            if not inflater.eof:
                raise ValueError
            places = msgspec.msgpack.decode(packed)
        except (zlib.error, msgspec.MsgspecError, ValueError, RecursionError):
            raise RemoteProtocolError("the client blob does not unpack") from None
        if not isinstance(places, list) or not _WATCH_ONLY < len(places) <= _PLACES:
            raise RemoteProtocolError("the client blob is not an array of 32 places")
        return cls(tuple(places) + (None,) * (_PLACES - len(places)))

    def encrypt(self, keys: BlobKeys, *, random: Callable[[int], bytes] = secrets.token_bytes) -> tuple[str, str]:
        """The blob as stored and its HMAC, both base64."""
        nonce = random(12)
        raw = nonce + AESGCM(keys.enc_key).encrypt(nonce, self.pack(), None)
        return base64.b64encode(raw).decode(), blob_hmac(keys.hmac_key, raw)

    @classmethod
    def decrypt(cls, enc_key: bytes, blob: str) -> Self:
        """From the stored text. Raises :class:`RemoteProtocolError`."""
        if len(blob) > 2 * MAX_BLOB_BYTES:
            raise RemoteProtocolError("the client blob is too large")
        try:
            raw = base64.b64decode(blob, validate=True)
            if len(raw) < 12 + 16 + 8:
                raise ValueError
            plaintext = AESGCM(enc_key).decrypt(raw[:12], raw[12:], None)
        except (binascii.Error, ValueError, InvalidTag):
            raise RemoteProtocolError("the client blob does not decrypt with this wallet's key") from None
        return cls.unpack(plaintext)


def blob_hmac(hmac_key: bytes, raw: bytes) -> str:
    """HMAC-SHA256 of the encrypted bytes, base64."""
    return base64.b64encode(hmac.digest(hmac_key, raw, "sha256")).decode()


def check_blob_hmac(keys: BlobKeys, blob: str, mac: str) -> bool:
    """Whether ``mac`` belongs to the stored text ``blob``."""
    try:
        raw = base64.b64decode(blob, validate=True)
    except (binascii.Error, ValueError):
        return False
    return hmac.compare_digest(blob_hmac(keys.hmac_key, raw).encode(), mac.encode())
