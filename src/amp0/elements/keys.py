"""Keys: mnemonics, extended keys, derivation paths, SLIP77 blinding keys, signed messages.

Extended keys are plain frozen values. The arithmetic of one derivation step is libwally's, the rest is
BIP32 written out, so that a public child costs one HMAC and one point addition and nothing is computed
that nobody asked for.
"""

from __future__ import annotations

import builtins
import functools
import hashlib
import hmac
import re
import secrets
import unicodedata
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Self

from amp0.elements import wally
from amp0.elements.hashes import bytes_from_hex, sha256d
from amp0.elements.transaction import compact_size
from amp0.elements.wally import hash160
from amp0.errors import InvalidKey, InvalidMnemonic

__all__ = [
    "HARDENED", "DerivationPath", "ExtendedKey", "KeyOrigin", "Mnemonic", "SecretKey", "Slip77",
    "bip85_mnemonic", "hash160", "parse_path", "path_to_string", "signed_message_hash",
]  # fmt: skip

HARDENED = 0x80000000
"""Added to a child number, it makes the child hardened."""

_WORD_COUNTS = (12, 15, 18, 21, 24)


class Mnemonic:
    """A BIP39 sentence of English words; the passphrase is always empty.

    White space is normalised, and the text is taken in NFKD form. Equal by value; ``repr`` hides it and
    ``str`` shows it. Raises :class:`InvalidMnemonic` with LWK's reasons: ``BadWordCount(n)``,
    ``UnknownWord(i)`` (position from 0), ``InvalidChecksum``.
    """

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        words = unicodedata.normalize("NFKD", text).split()
        _entropy_of(words)
        self._text = " ".join(words)

    @classmethod
    def from_string(cls, text: str) -> Self:
        """From the sentence."""
        return cls(text)

    @classmethod
    def from_entropy(cls, entropy: bytes) -> Self:
        """From 16, 20, 24, 28 or 32 bytes."""
        entropy = bytes(entropy)
        if len(entropy) * 3 // 4 not in _WORD_COUNTS or len(entropy) % 4:
            raise InvalidMnemonic(
                f"BadEntropyBitCount({8 * len(entropy)}): a mnemonic is made of 16, 20, 24, 28 or 32 bytes"
            )
        check = len(entropy) // 4
        number = int.from_bytes(entropy, "big") << check | hashlib.sha256(entropy).digest()[0] >> 8 - check
        count = len(entropy) * 3 // 4
        words = wally.bip39_words()
        return cls(" ".join(words[number >> 11 * (count - 1 - i) & 2047] for i in range(count)))

    @classmethod
    def from_random(cls, word_count: int = 12, *, random: Callable[[int], bytes] = secrets.token_bytes) -> Self:
        """A new sentence of 12, 15, 18, 21 or 24 words; ``random(n)`` gives ``n`` random bytes."""
        if word_count not in _WORD_COUNTS:
            raise InvalidMnemonic(f"BadWordCount({word_count}): choose 12, 15, 18, 21 or 24 words")
        return cls.from_entropy(random(word_count * 4 // 3))

    def word_count(self) -> int:
        """How many words it has."""
        return self._text.count(" ") + 1

    def entropy(self) -> bytes:
        """The bytes it stands for."""
        return _entropy_of(self._text.split())

    def seed(self) -> bytes:
        """The BIP39 seed (64 bytes), empty passphrase."""
        return hashlib.pbkdf2_hmac("sha512", self._text.encode(), b"mnemonic", 2048)

    def __str__(self) -> str:
        return self._text

    def __repr__(self) -> str:
        return f"Mnemonic(<{self.word_count()} words>)"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Mnemonic) and hmac.compare_digest(self._text.encode(), other._text.encode())

    def __hash__(self) -> int:
        return hash(self._text)


@functools.cache
def _word_index() -> dict[str, int]:
    return {word: index for index, word in enumerate(wally.bip39_words())}


def _entropy_of(words: list[str]) -> bytes:
    if len(words) not in _WORD_COUNTS:
        raise InvalidMnemonic(f"BadWordCount({len(words)}): a mnemonic has 12, 15, 18, 21 or 24 words")
    index = _word_index()
    number = 0
    for position, word in enumerate(words):
        if word not in index:
            # The word itself stays out of the text: it may be a typing error in a secret.
            raise InvalidMnemonic(
                f"UnknownWord({position}): word {position + 1} is not in BIP39's English list; check its spelling"
            )
        number = number << 11 | index[word]
    check = len(words) // 3
    entropy = (number >> check).to_bytes(check * 4, "big")
    if number & (1 << check) - 1 != hashlib.sha256(entropy).digest()[0] >> 8 - check:
        raise InvalidMnemonic("InvalidChecksum: the words do not fit together; check order and spelling")
    return entropy


# ---------------------------------------------------------------------------- paths

_STEP = re.compile(r"(0|[1-9][0-9]{0,9})(['hH]?)")


def parse_path(text: str) -> tuple[int, ...]:
    """Child numbers of a path like ``84h/1'/0`` or ``m/3'/1'``; ``m`` and ``""`` are the empty path."""
    body = text[1:].removeprefix("/") if text[:1] == "m" and text[1:2] in ("", "/") else text
    if not body:
        return ()
    numbers = []
    for step in body.split("/"):
        match = _STEP.fullmatch(step)
        number = int(match[1]) if match else HARDENED
        if match is None or number >= HARDENED:
            raise InvalidKey(f"{text[:80]!r} is not a derivation path; write one like 84h/1h/0h")
        numbers.append(number + (HARDENED if match[2] else 0))
    if len(numbers) > 255:
        raise InvalidKey("a derivation path has at most 255 steps")
    return tuple(numbers)


def path_to_string(path: Iterable[int], *, mark: str = "'") -> str:
    """The text of a path, hardened steps marked with ``'`` or ``h``."""
    return "/".join(f"{n - HARDENED}{mark}" if n >= HARDENED else str(n) for n in path)


class DerivationPath(tuple[int, ...]):
    """A derivation path: ``DerivationPath("84h/1h/0h")``; a tuple of child numbers."""

    __slots__ = ()

    def __new__(cls, path: str | Iterable[int] = ()) -> Self:
        """From text or child numbers. Raises :class:`InvalidKey`."""
        numbers = parse_path(path) if isinstance(path, str) else tuple(path)
        if any(not 0 <= n < 2**32 for n in numbers):
            raise InvalidKey("child numbers are unsigned and have 32 bits")
        return super().__new__(cls, numbers)

    @classmethod
    def from_vec(cls, numbers: Iterable[int]) -> Self:
        """From child numbers."""
        return cls(tuple(numbers))

    def to_vec(self) -> list[int]:
        """The child numbers."""
        return list(self)

    def __str__(self) -> str:
        return path_to_string(self)


@dataclass(frozen=True, slots=True)
class KeyOrigin:
    """Where an extended key comes from: the master's fingerprint (4 bytes) and the path from there."""

    fingerprint: bytes
    path: tuple[int, ...]

    @classmethod
    def from_string(cls, text: str) -> Self:
        """From ``73c5da0a/84'/1'/0'``, without brackets. Raises :class:`InvalidKey`."""
        fingerprint, _, path = text.partition("/")
        if not re.fullmatch(r"[0-9a-fA-F]{8}", fingerprint):
            raise InvalidKey("a key origin begins with a fingerprint of 8 hex digits")
        return cls(bytes.fromhex(fingerprint), parse_path(path))

    def __str__(self) -> str:
        return "/".join(filter(None, (self.fingerprint.hex(), path_to_string(self.path))))


# ---------------------------------------------------------------------------- extended keys

_VERSIONS = {
    # (main, private) → version bytes of BIP32
    (True, False): bytes.fromhex("0488b21e"),
    (True, True): bytes.fromhex("0488ade4"),
    (False, False): bytes.fromhex("043587cf"),
    (False, True): bytes.fromhex("04358394"),
}
_KINDS = {version: kind for kind, version in _VERSIONS.items()}


@dataclass(frozen=True, slots=True)
class ExtendedKey:
    """A BIP32 extended key. ``private_key`` (32 bytes) is ``None`` in a public one.

    ``public_key`` has 33 bytes, ``chain_code`` 32, ``parent_fingerprint`` 4; ``main`` chooses between
    ``xpub`` and ``tpub``. Whether two keys are *the same key* is a question for :meth:`same_key`: GDK and
    LWK write different parent fingerprints for one key.
    """

    public_key: bytes
    chain_code: bytes
    main: bool
    depth: int = 0
    parent_fingerprint: bytes = bytes(4)
    child_number: int = 0
    private_key: bytes | None = None

    @classmethod
    def from_seed(cls, seed: bytes, *, main: bool) -> Self:
        """The private master key of a seed of 16 to 64 bytes."""
        if not 16 <= len(seed) <= 64:
            raise InvalidKey("a BIP32 seed has 16 to 64 bytes")
        digest = hmac.digest(b"Bitcoin seed", seed, "sha512")
        return cls(wally.public_key(digest[:32]), digest[32:], main, private_key=digest[:32])

    @classmethod
    def from_string(cls, text: str) -> Self:
        """From ``xpub…``, ``tpub…``, ``xprv…`` or ``tprv…``. Raises :class:`InvalidKey`."""
        raw = wally.base58check_decode(text)
        if raw is None:
            raise InvalidKey("not an extended key: wrong letters or checksum; check for typing errors")
        return cls.from_bytes(raw)

    @classmethod
    def from_bytes(cls, raw: bytes) -> Self:
        """From the 78 bytes of BIP32's serialisation. Raises :class:`InvalidKey`."""
        kind = _KINDS.get(raw[:4])
        if len(raw) != 78 or kind is None:
            raise InvalidKey("not an extended key (xpub, tpub, xprv or tprv)")
        main, is_private = kind
        depth, parent, number = raw[4], raw[5:9], int.from_bytes(raw[9:13], "big")
        if depth == 0 and (parent != bytes(4) or number):
            raise InvalidKey("an extended master key cannot have a parent")
        key = raw[45:]
        private = None
        if is_private:
            private = key[1:]
            if key[0] != 0 or not wally.is_private_key(private):
                raise InvalidKey("the private key inside this extended key is out of range")
            key = wally.public_key(private)
        elif not wally.is_public_key(key):
            raise InvalidKey("the public key inside this extended key is not a point on the curve")
        return cls(key, raw[13:45], main, depth, parent, number, private)

    def to_bytes(self) -> bytes:
        """The 78 bytes of BIP32's serialisation."""
        return b"".join(
            (
                _VERSIONS[self.main, self.private_key is not None],
                bytes((self.depth,)),
                self.parent_fingerprint,
                self.child_number.to_bytes(4, "big"),
                self.chain_code,
                self.public_key if self.private_key is None else b"\x00" + self.private_key,
            )
        )

    def to_string(self) -> str:
        """``xpub…``, ``tpub…``, ``xprv…`` or ``tprv…``; mind that the last two are secrets."""
        return wally.base58check_encode(self.to_bytes())

    def fingerprint(self) -> bytes:
        """First four bytes of HASH160 of the public key."""
        return hash160(self.public_key)[:4]

    def public(self) -> ExtendedKey:
        """The key without its private half."""
        if self.private_key is None:
            return self
        return replace(self, private_key=None)

    def derive(self, path: Iterable[int] | str) -> ExtendedKey:
        """The descendant along ``path``. Raises :class:`InvalidKey`, for hardened steps of a public key."""
        key = self
        for number in parse_path(path) if isinstance(path, str) else path:
            key = key.child(number)
        return key

    def child(self, number: int) -> ExtendedKey:
        """One step of :meth:`derive`."""
        if not 0 <= number < 2**32:
            raise InvalidKey(f"{number} is not a child number")
        if self.depth == 255:
            raise InvalidKey("an extended key has at most 255 ancestors")
        if number < HARDENED:
            data = self.public_key
        elif self.private_key is not None:
            data = b"\x00" + self.private_key
        else:
            raise InvalidKey("a hardened child can only be derived from a private key")
        digest = hmac.digest(self.chain_code, data + number.to_bytes(4, "big"), "sha512")
        if self.private_key is None:
            private, public = None, wally.tweak_public_key(self.public_key, digest[:32])
        else:
            private = wally.add_private_keys(self.private_key, digest[:32])
            public = wally.public_key(private)
        return ExtendedKey(public, digest[32:], self.main, self.depth + 1, self.fingerprint(), number, private)

    def child_public_key(self, number: int) -> bytes:
        """The public key (33 bytes) of an unhardened child, and nothing else: the fast way."""
        if not 0 <= number < HARDENED:
            raise InvalidKey(f"{number} is not an unhardened child number")
        digest = hmac.digest(self.chain_code, self.public_key + number.to_bytes(4, "big"), "sha512")
        return wally.tweak_public_key(self.public_key, digest[:32])

    def same_key(self, other: ExtendedKey) -> bool:
        """Whether public key and chain code agree, whatever the rest says."""
        return self.public_key == other.public_key and self.chain_code == other.chain_code

    def sign(self, digest: bytes, *, low_r: bool = True) -> bytes:
        """RFC 6979 ECDSA signature (DER) of a 32-byte digest. Raises :class:`InvalidKey`."""
        if self.private_key is None:
            raise InvalidKey("a public key cannot sign")
        return wally.ecdsa_sign(self.private_key, digest, low_r=low_r)

    def __str__(self) -> str:
        return self.public().to_string()

    def __repr__(self) -> str:
        secret = ", private" if self.private_key is not None else ""
        return f"ExtendedKey({self}{secret})"


@dataclass(frozen=True, slots=True)
class SecretKey:
    """A private key (32 bytes), as LWK hands out blinding keys. ``repr`` hides it."""

    _key: bytes

    def __post_init__(self) -> None:
        if not wally.is_private_key(self._key):
            raise InvalidKey("not a private key: 32 bytes, not zero, below the curve order")

    @classmethod
    def from_bytes(cls, key: bytes) -> Self:
        """From 32 bytes. Raises :class:`InvalidKey`."""
        return cls(bytes(key))

    def bytes(self) -> bytes:
        """The 32 bytes."""
        return self._key

    def public_key(self) -> builtins.bytes:
        """The compressed public key, 33 bytes."""
        return wally.public_key(self._key)

    def __repr__(self) -> str:
        return "SecretKey(…)"


# ---------------------------------------------------------------------------- blinding keys


@dataclass(frozen=True, slots=True)
class Slip77:
    """A SLIP77 master blinding key (32 bytes). ``str()`` is ``slip77(<hex>)``; ``repr`` hides it."""

    key: bytes

    def __post_init__(self) -> None:
        if len(self.key) != 32:
            raise InvalidKey("a SLIP77 master blinding key has 32 bytes")

    @classmethod
    def from_seed(cls, seed: bytes) -> Self:
        """From a BIP39 seed (64 bytes), through SLIP21."""
        node = hmac.digest(b"Symmetric key seed", seed, "sha512")
        return cls(hmac.digest(node[:32], b"\x00SLIP-0077", "sha512")[32:])

    @classmethod
    def from_string(cls, text: str) -> Self:
        """From 64 hex digits, with or without ``slip77(…)`` around them."""
        inner = text[7:-1] if text.startswith("slip77(") and text.endswith(")") else text
        try:
            return cls(bytes_from_hex(inner, length=32, what="SLIP77 key"))
        except ValueError:
            raise InvalidKey("a SLIP77 master blinding key is 64 hex digits") from None

    def blinding_key(self, script: bytes) -> bytes:
        """The private blinding key (32 bytes) of an output script."""
        return hmac.digest(self.key, script, "sha256")

    def blinding_pubkey(self, script: bytes) -> bytes:
        """The public blinding key (33 bytes) of an output script."""
        return wally.public_key(hmac.digest(self.key, script, "sha256"))

    def __str__(self) -> str:
        return f"slip77({self.key.hex()})"

    def __repr__(self) -> str:
        return "Slip77(…)"


# ---------------------------------------------------------------------------- messages, BIP85


def signed_message_hash(message: str | bytes) -> bytes:
    """Digest (32 bytes) of a *Bitcoin Signed Message*."""
    data = message.encode() if isinstance(message, str) else message
    return sha256d(b"\x18Bitcoin Signed Message:\n" + compact_size(len(data)) + data)


def bip85_mnemonic(master: ExtendedKey, index: int, word_count: int = 12) -> Mnemonic:
    """The child mnemonic of BIP85 (application 39, English) of a private master key."""
    if word_count not in _WORD_COUNTS or not 0 <= index < HARDENED:
        raise InvalidMnemonic("BIP85 derives 12, 15, 18, 21 or 24 words at an index below 2³¹")
    path = (83696968 + HARDENED, 39 + HARDENED, HARDENED, word_count + HARDENED, index + HARDENED)
    private = master.derive(path).private_key
    if private is None:
        raise InvalidKey("BIP85 needs the private master key")
    entropy = hmac.digest(b"bip-entropy-from-k", private, "sha512")
    return Mnemonic.from_entropy(entropy[: word_count * 4 // 3])
