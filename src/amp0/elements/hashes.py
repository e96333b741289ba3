"""Hashes, and the one place where their bytes are reversed for display.

Elements hashes transaction ids, block hashes and asset ids as 32 bytes and shows them to people
reversed. Inside this package they are bytes in internal order; text in display order exists only
where a person or a JSON document meets it.
"""

from __future__ import annotations

import hashlib
from typing import Self

from amp0.errors import InvalidInput


def sha256(data: bytes) -> bytes:
    """SHA-256, 32 bytes."""
    return hashlib.sha256(data).digest()


def sha256d(data: bytes) -> bytes:
    """Double SHA-256, 32 bytes: the hash of ids and of signature hashes."""
    return hashlib.sha256(hashlib.sha256(data).digest()).digest()


def bytes_from_hex(text: str, *, length: int | None = None, what: str = "value") -> bytes:
    """Bytes of a hex text of exactly ``length`` bytes; :class:`InvalidInput` otherwise."""
    if not isinstance(text, str):
        raise InvalidInput(f"the {what} must be hex text, not {type(text).__name__}")
    try:
        data = bytes.fromhex(text)
        # bytes.fromhex skips spaces, which no field of ours may hold.
        if 2 * len(data) != len(text):
            raise ValueError
    except ValueError:
        raise InvalidInput(f"the {what} is not hex text") from None
    if length is not None and len(data) != length:
        raise InvalidInput(f"the {what} must be {length} bytes of hex, not {len(data)}")
    return data


class _Hash(bytes):
    """32 bytes in internal order that show themselves reversed."""

    __slots__ = ()

    def __new__(cls, value: str | bytes) -> Self:
        """From display hex text, or from 32 bytes in internal order."""
        if isinstance(value, str):
            value = bytes_from_hex(value, length=32, what=cls.__name__)[::-1]
        if len(value) != 32:
            raise InvalidInput(f"a {cls.__name__} has 32 bytes, not {len(value)}")
        return super().__new__(cls, value)

    @classmethod
    def from_string(cls, text: str) -> Self:
        """From display hex text."""
        return cls(text)

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """From 32 bytes in internal order."""
        return cls(bytes(data))

    def __str__(self) -> str:
        return self[::-1].hex()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({str(self)!r})"


class Txid(_Hash):
    """A transaction id: ``Txid(display_hex)``, ``str(txid)``; as bytes, internal order."""

    __slots__ = ()


class BlockHash(_Hash):
    """A block hash: ``BlockHash(display_hex)``, ``str(hash)``; as bytes, internal order."""

    __slots__ = ()


def asset_id_to_bytes(asset_id: str) -> bytes:
    """Internal-order bytes (32) of an asset id in display hex. Raises :class:`InvalidInput`."""
    return bytes_from_hex(asset_id, length=32, what="asset id")[::-1]


def asset_id_to_str(asset: bytes) -> str:
    """Display hex of an asset id given as 32 bytes in internal order."""
    return asset[::-1].hex()
