"""From a mnemonic, or a user name and password, to everything the Green backend asks for.

Pure functions, in the order of a wallet's life: the keys a signer shows (:class:`Amp0SignerData`), the gait
path that fixes where the service derives its keys, the login challenge, the accounts, and the watch-only
credentials. Sources: GDK and LWK behaviour; every value is checked against vectors.
"""

from __future__ import annotations

import functools
import hashlib
import hmac
import json
import re
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from typing import Self

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.padding import PKCS7

from amp0.elements import wally
from amp0.elements.address import p2pkh_address
from amp0.elements.descriptor import DescriptorKey, WolletDescriptor
from amp0.elements.hashes import bytes_from_hex
from amp0.elements.keys import HARDENED, ExtendedKey, KeyOrigin, Slip77, hash160, signed_message_hash
from amp0.errors import InvalidInput, InvalidKey, RemoteProtocolError
from amp0.network import Network

REGISTER_PATH = (HARDENED + 0x4741,)
"""The key that only fixes the gait path."""
LOGIN_PATH = (0x4741B11E,)
"""The key that signs challenges; not hardened, so the service derives its public half."""
CLIENT_SECRET_PATH = (HARDENED + 0x70617373,)
"""The key behind the client blob's encryption."""
MAX_ACCOUNT = 2**31 - 1

_GAIT_KEY = b"GreenAddress.it HD wallet path"
_XPUB_NAMES = ("master_xpub", "register_xpub", "login_xpub", "client_secret_xpub")
_CHALLENGE_PREFIX = "greenaddress.it      login "
_CHALLENGE = re.compile(r"[A-Za-z0-9]{5}")


# ---------------------------------------------------------------------------- keys of a signer


def account_path(account: int) -> tuple[int, int]:
    """Path of an account's key from the master: ``3h/<account>h``. Raises :class:`InvalidInput`."""
    if not 0 <= account <= MAX_ACCOUNT:
        raise InvalidInput(f"an account number is between 0 and {MAX_ACCOUNT}, not {account}")
    return (HARDENED + 3, HARDENED + account)


@dataclass(frozen=True, slots=True)
class Amp0SignerData:
    """What a signer shows so that its AMP0 accounts can be set up: four extended public keys and the
    SLIP77 key. Holds no key that spends, but everything that sees; ``str()`` is LWK's JSON, ``repr`` hides.
    """

    master_xpub: ExtendedKey
    register_xpub: ExtendedKey
    login_xpub: ExtendedKey
    client_secret_xpub: ExtendedKey
    slip77_key: Slip77

    @classmethod
    def from_master(cls, master: ExtendedKey, slip77: Slip77) -> Self:
        """From a signer's private master key and blinding key."""
        return cls(
            master.public(),
            master.derive(REGISTER_PATH).public(),
            master.derive(LOGIN_PATH).public(),
            master.derive(CLIENT_SECRET_PATH).public(),
            slip77,
        )

    @classmethod
    def from_string(cls, text: str) -> Self:
        """From the JSON that ``str()`` gives. Raises :class:`InvalidInput`."""
        try:
            fields = json.loads(text)
            keys = [ExtendedKey.from_string(fields[name]).public() for name in _XPUB_NAMES]
            return cls(keys[0], keys[1], keys[2], keys[3], Slip77.from_string(fields["slip77_key"]))
        except (TypeError, KeyError, ValueError, AttributeError, RecursionError):
            raise InvalidInput("this is not the JSON of a signer's AMP0 data") from None

    def is_mainnet(self) -> bool:
        """Whether the keys are written for Liquid itself."""
        return self.master_xpub.main

    def gait_path(self) -> bytes:
        """The gait path (64 bytes) these keys lead to."""
        return gait_path(self.register_xpub)

    def __str__(self) -> str:
        keys = {name: str(getattr(self, name)) for name in _XPUB_NAMES}
        return json.dumps({**keys, "slip77_key": self.slip77_key.key.hex()}, separators=(",", ":"))

    def __repr__(self) -> str:
        return f"Amp0SignerData(<{self.master_xpub.fingerprint().hex()}>)"


def account_xpub(master: ExtendedKey, account: int) -> ExtendedKey:
    """The extended public key of an account, from the private master key."""
    return master.derive(account_path(account)).public()


# ---------------------------------------------------------------------------- the service's keys


def gait_path(register_xpub: ExtendedKey) -> bytes:
    """The gait path (64 bytes) of a wallet: HMAC-SHA512 over chain code and public key."""
    return hmac.digest(_GAIT_KEY, register_xpub.chain_code + register_xpub.public_key, "sha512")


def gait_steps(path: bytes) -> tuple[int, ...]:
    """A gait path as 32 child numbers of 16 bits."""
    if len(path) != 64:
        raise InvalidInput("a gait path has 64 bytes")
    return tuple(int.from_bytes(path[i : i + 2], "big") for i in range(0, 64, 2))


def service_path(gait: bytes, account: int) -> tuple[int, ...]:
    """Path of the service's key of an account, all unhardened: ``3/g1…g32/n``, or ``1/g1…g32`` for 0."""
    if not 0 <= account <= MAX_ACCOUNT:
        raise InvalidInput(f"an account number is between 0 and {MAX_ACCOUNT}, not {account}")
    if account == 0:
        return (1, *gait_steps(gait))
    return (3, *gait_steps(gait), account)


@functools.lru_cache(maxsize=256)
def service_account_xpub(
    service_pubkey: bytes, service_chain_code: bytes, gait: bytes, account: int, *, main: bool
) -> ExtendedKey:
    """The service's extended public key of an account; address keys are its children ``/pointer``.

    34 derivation steps, about a millisecond: remembered for the accounts used last.
    """
    return ExtendedKey(service_pubkey, service_chain_code, main).derive(service_path(gait, account))


def account_descriptor(
    network: Network,
    *,
    gait: bytes,
    account: int,
    master_fingerprint: bytes,
    user_xpub: ExtendedKey,
    slip77: Slip77,
) -> WolletDescriptor:
    """The AMP0 descriptor of an account under the network's service key.

    ``user_xpub`` is printed as it is, parent fingerprint included, as LWK does.
    """
    service = service_account_xpub(
        network.service_pubkey, network.service_chain_code, gait, account, main=network.is_mainnet()
    )
    return WolletDescriptor.of_amp0(
        slip77=slip77,
        service=DescriptorKey(KeyOrigin(hash160(network.service_pubkey)[:4], service_path(gait, account)), service),
        user=DescriptorKey(KeyOrigin(master_fingerprint, account_path(account)), user_xpub, steps=(1,)),
    )


# ---------------------------------------------------------------------------- challenge login


def login_address(network: Network, master_pubkey: bytes) -> str:
    """The name under which a wallet asks for a challenge: plain P2PKH of the master public key."""
    return p2pkh_address(network, hash160(master_pubkey))


def check_challenge(challenge: object) -> str:
    """A challenge of the only shape that may be signed: five ASCII letters or digits.

    Anything longer or structured could be a message worth something elsewhere. Raises
    :class:`RemoteProtocolError`.
    """
    if not isinstance(challenge, str) or not _CHALLENGE.fullmatch(challenge):
        raise RemoteProtocolError(
            "Amp0InvalidChallenge: a login challenge has five letters or digits, and this one has not; "
            "it was not signed. Check that the URL is that of your AMP0 server"
        )
    return challenge


def challenge_hash(challenge: str) -> bytes:
    """The 32-byte digest that the login key signs."""
    return signed_message_hash(_CHALLENGE_PREFIX + challenge)


def sign_challenge(master: ExtendedKey, challenge: str) -> str:
    """The login signature from the private master key: DER in hex, plain RFC 6979 as LWK makes it."""
    return master.derive(LOGIN_PATH).sign(challenge_hash(challenge), low_r=False).hex()


def verify_challenge(master_xpub: ExtendedKey, challenge: str, signature: bytes) -> bool:
    """Whether ``signature`` (strict DER, low S) answers ``challenge`` for this master public key."""
    try:
        login_key = master_xpub.public().derive(LOGIN_PATH).public_key
    except InvalidKey:
        return False
    return wally.ecdsa_verify(login_key, challenge_hash(challenge), signature)


# ---------------------------------------------------------------------------- watch-only


@dataclass(frozen=True, slots=True)
class WatchOnlyKeys:
    """What a watch-only user name and password stretch to. ``username`` and ``password`` (hex) are sent;
    ``blob_key`` (32 bytes) never leaves. Keep it like a password: ``repr`` hides it.
    """

    username: str
    password: str
    blob_key: bytes

    def __repr__(self) -> str:
        return "WatchOnlyKeys(…)"


def watch_only_entropy(username: str, password: str) -> bytes:
    """scrypt of both (64 bytes): a quarter of a second of work, lock released. Not for an event loop."""
    name = username.encode()
    return wally.scrypt(
        len(name).to_bytes(4, "little") + name + password.encode(), b"_wo_salt", n=2**14, r=8, p=8, length=64
    )


def watch_only_keys(username: str, password: str) -> WatchOnlyKeys:
    """The derived credentials; the slow step of :func:`watch_only_entropy` is done once.

    Raises :class:`InvalidInput` for an empty name or password.
    """
    if not username or not password:
        raise InvalidInput("watch-only credentials need a user name and a password")
    entropy = watch_only_entropy(username, password)

    def stretch(salt: bytes) -> bytes:
        return hashlib.pbkdf2_hmac("sha512", entropy, salt, 2048, 32)

    return WatchOnlyKeys(stretch(b"\x01wo_user").hex(), stretch(b"\x02wo_pass").hex(), stretch(b"\x03wo_blob"))


def encrypt_blob_key(
    keys: WatchOnlyKeys, enc_key: bytes, *, random: Callable[[int], bytes] = secrets.token_bytes
) -> str:
    """The blob's encryption key (32 bytes) wrapped for the watch-only login: IV and AES-256-CBC, hex."""
    if len(enc_key) != 32:
        raise InvalidInput("a blob encryption key has 32 bytes")
    iv = random(16)
    padder = PKCS7(128).padder()
    encryptor = Cipher(algorithms.AES(keys.blob_key), modes.CBC(iv)).encryptor()
    padded = padder.update(enc_key) + padder.finalize()
    return (iv + encryptor.update(padded) + encryptor.finalize()).hex()


def decrypt_blob_key(keys: WatchOnlyKeys, wo_blob_key: str) -> bytes:
    """The blob's encryption key from the ``wo_blob_key`` of a watch-only login.

    Raises :class:`RemoteProtocolError`: the credentials were accepted, so the server stored something else.
    """
    try:
        raw = bytes_from_hex(wo_blob_key, length=64, what="wo_blob_key")
        decryptor = Cipher(algorithms.AES(keys.blob_key), modes.CBC(raw[:16])).decryptor()
        padded = decryptor.update(raw[16:]) + decryptor.finalize()
        unpadder = PKCS7(128).unpadder()
        key = unpadder.update(padded) + unpadder.finalize()
        if len(key) != 32:
            raise ValueError
    except ValueError:
        raise RemoteProtocolError(
            "the server's wo_blob_key does not open with these credentials; create the watch-only login again"
        ) from None
    return key
