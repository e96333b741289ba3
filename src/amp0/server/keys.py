"""The service key: made at first start, kept encrypted, and the only thing here that can sign.

Every account's key is a plain BIP32 child of one master key, along a path that the wallet chose when it registered
(its gait path, 32 numbers of 16 bits). An HSM would plug in here: :class:`ServiceKeys` is all the rest of the server
knows of private keys, and it hands out none.

The file is JSON: scrypt parameters, and AES-256-GCM of the 32-byte seed under the key that scrypt makes of the
passphrase. Who can read the file and knows the passphrase can sign for every account, so the file belongs to one user
(mode 0600) and the passphrase to another place. The wallet that pays for issuances has a seed of its own beside it, in
a file of the same kind, under the same passphrase.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
from collections.abc import Callable, Mapping
from functools import lru_cache
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from amp0.elements.keys import ExtendedKey
from amp0.errors import Amp0Error, ConfigError, InvalidKey
from amp0.network import TEST_SERVICE_PUBKEY, TEST_SERVICE_SEED
from amp0.protocol.credentials import service_path

KEY_FILE = "service.key"
FEE_WALLET_FILE = "fee-wallet.key"

SERVICE_KEY, FEE_WALLET_KEY = "service key", "fee wallet key"
"""Kinds of key files."""

_SCRYPT_N, _SCRYPT_R, _SCRYPT_P = 1 << 15, 8, 1
_SCRYPT_MEMORY = 256 * 1024 * 1024
_PUBLIC_ACCOUNTS = 4096
_PRIVATE_ACCOUNTS = 256


class ServiceKeys:
    """The service's master key and its children. Thread-safe."""

    def __init__(self, master: ExtendedKey) -> None:
        if master.private_key is None:
            raise InvalidKey("the service key must be private")
        self._master = master
        self._public_master = master.public()
        self._public_account = lru_cache(_PUBLIC_ACCOUNTS)(self._derive_public)
        self._private_account = lru_cache(_PRIVATE_ACCOUNTS)(self._derive_private)

    @classmethod
    def from_seed(cls, seed: bytes, *, main: bool = False) -> ServiceKeys:
        """From a BIP32 seed; ``main`` only chooses between xpub and tpub."""
        return cls(ExtendedKey.from_seed(seed, main=main))

    @classmethod
    def test_key(cls) -> ServiceKeys:
        """The well-known test key: everybody can sign with it."""
        return cls.from_seed(TEST_SERVICE_SEED)

    @property
    def pubkey(self) -> bytes:
        """Public master key, 33 bytes."""
        return self._public_master.public_key

    @property
    def chain_code(self) -> bytes:
        """Chain code of the master key, 32 bytes."""
        return self._public_master.chain_code

    @property
    def fingerprint(self) -> bytes:
        """First four bytes of HASH160 of the master key: what operators publish and clients compare."""
        return self._public_master.fingerprint()

    @property
    def is_test_key(self) -> bool:
        """Whether this is the well-known test key, recognised by its public key."""
        return self.pubkey == TEST_SERVICE_PUBKEY

    def account_pubkey(self, gait_path: bytes, account: int) -> ExtendedKey:
        """The service's extended public key of an account; its children are the address keys."""
        return self._public_account(bytes(gait_path), account)

    def public_key(self, gait_path: bytes, account: int, pointer: int) -> bytes:
        """The service's key (33 bytes) of one address."""
        return self.account_pubkey(gait_path, account).child_public_key(pointer)

    def sign(self, gait_path: bytes, account: int, pointer: int, digest: bytes) -> bytes:
        """Sign a 32-byte digest with the key of one address: RFC 6979, low R, DER without hash type."""
        return self._private_account(bytes(gait_path), account).child(pointer).sign(digest)

    def derive_secret(self, purpose: bytes) -> bytes:
        """A secret (32 bytes) for one purpose, known only while the key file is open."""
        assert self._master.private_key is not None
        return hmac.digest(self._master.private_key, b"amp0 secret for " + purpose, "sha256")

    def _derive_public(self, gait_path: bytes, account: int) -> ExtendedKey:
        return self._public_master.derive(service_path(gait_path, account))

    def _derive_private(self, gait_path: bytes, account: int) -> ExtendedKey:
        return self._master.derive(service_path(gait_path, account))

    def __repr__(self) -> str:
        return f"ServiceKeys({self.fingerprint.hex()})"


def create_key_file(path: Path, passphrase: bytes, random: Callable[[int], bytes], *, main: bool) -> ServiceKeys:
    """Make a new service key and keep it in ``path``, durably, before it is used.

    Raises :class:`ConfigError` when the file exists or cannot be written.
    """
    return ServiceKeys.from_seed(create_seed_file(path, passphrase, random), main=main)


def load_key_file(path: Path, passphrase: bytes, *, main: bool) -> ServiceKeys:
    """Open the service key. Raises :class:`ConfigError` for a wrong passphrase, a damaged file, and for a file that
    other users may read."""
    return ServiceKeys.from_seed(load_seed_file(path, passphrase), main=main)


def create_seed_file(
    path: Path, passphrase: bytes, random: Callable[[int], bytes], *, what: str = SERVICE_KEY
) -> bytes:
    """Make a new seed (32 bytes) and keep it in ``path``, durably, before it is used. ``what`` it is stands in the
    file, and one kind does not open as another.

    Raises :class:`ConfigError` when the file exists or cannot be written.
    """
    if not passphrase:
        raise ConfigError(f"the {what} needs a passphrase; name a file or descriptor that holds it")
    seed, salt, nonce = random(32), random(16), random(12)
    head = {"format": _format(what), "scrypt": [_SCRYPT_N, _SCRYPT_R, _SCRYPT_P], "salt": salt.hex()}
    box = AESGCM(_stretch(passphrase, salt, _SCRYPT_N, _SCRYPT_R, _SCRYPT_P)).encrypt(nonce, seed, _bound(head))
    fingerprint = ExtendedKey.from_seed(seed, main=False).fingerprint()
    content = {**head, "nonce": nonce.hex(), "box": box.hex(), "fingerprint": fingerprint.hex()}
    # Written beside and linked into place, so that a crash leaves the whole file or none, and never two.
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as file:
            json.dump(content, file, indent=1)
            file.write("\n")
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(temporary, path)
        finally:
            temporary.unlink()
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except OSError as error:
        raise ConfigError(f"the {what} cannot be kept in {path}: {error}") from None
    return seed


def load_seed_file(path: Path, passphrase: bytes, *, what: str = SERVICE_KEY) -> bytes:
    """The seed (32 bytes) in a file. Raises :class:`ConfigError` for a wrong passphrase, a damaged file, another kind
    of key, and for a file that other users may read."""
    try:
        with path.open("rb") as file:
            if os.name == "posix" and os.fstat(file.fileno()).st_mode & 0o077:
                raise ConfigError(f"other users can read the {what} {path}; run: chmod 600 on it")
            content = json.loads(file.read(16 * 1024))
        n, r, p = content["scrypt"]
        salt, nonce, box = (bytes.fromhex(content[name]) for name in ("salt", "nonce", "box"))
        head = {name: content[name] for name in ("format", "scrypt", "salt")}
        if content["format"] != _format(what) or (n, r, p) != (_SCRYPT_N, _SCRYPT_R, _SCRYPT_P):
            raise ConfigError(f"{path} is a {what} of another release, or no {what}")
        return AESGCM(_stretch(passphrase, salt, n, r, p)).decrypt(nonce, box, _bound(head))
    except Amp0Error:
        raise
    except OSError as error:
        raise ConfigError(f"the {what} cannot be read: {error}") from None
    except InvalidTag:
        raise ConfigError(f"the passphrase does not open {path}, or the file is damaged") from None
    except (ValueError, KeyError, TypeError, AttributeError):
        raise ConfigError(f"{path} is damaged; restore it from its copy") from None


def _format(what: str) -> str:
    return f"amp0 {what} 1"


def _stretch(passphrase: bytes, salt: bytes, n: int, r: int, p: int) -> bytes:
    return hashlib.scrypt(passphrase, salt=salt, n=n, r=r, p=p, maxmem=_SCRYPT_MEMORY, dklen=32)


def _bound(head: Mapping[str, object]) -> bytes:
    return json.dumps(head, sort_keys=True).encode()
