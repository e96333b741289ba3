"""Elements block headers: the values, their bytes and their hash.

A header names version, parent, merkle root, time and height, and then proves that the block was
signed, in one of two ways. Before dynamic federations: ``challenge`` and ``solution`` scripts.
With them (the top bit of the version on the wire): the current and the proposed federation
parameters and the witness that satisfies the signing script.

The block hash covers everything but what the signers add: neither ``solution`` nor the
signing witness is hashed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Self

from amp0.elements.hashes import BlockHash, bytes_from_hex, sha256d
from amp0.elements.transaction import Reader, compact_size, var_bytes
from amp0.errors import InvalidBlock, InvalidInput, InvalidTransaction

DYNAFED_FLAG = 0x80000000
"""Bit of the serialised version that announces dynamic federation parameters."""
MAX_HEADER_BYTES = 1_000_000
"""More than any signing witness or federation script can need."""


def merkle_root(txids: Sequence[bytes]) -> bytes:
    """Bitcoin's merkle root of transaction ids, 32 bytes in internal order."""
    row = list(txids)
    while len(row) > 1:
        if len(row) % 2:
            row.append(row[-1])
        row = [sha256d(row[i] + row[i + 1]) for i in range(0, len(row), 2)]
    return row[0] if row else bytes(32)


@dataclass(frozen=True, slots=True)
class DynafedParams:
    """Federation parameters of a header: absent, compact (by root) or full.

    ``kind`` 0 is absent, 1 compact (``extra_root``, 32 bytes), 2 full (peg program, peg script
    and extension entries).
    """

    kind: int = 0
    signblock_script: bytes = b""
    signblock_witness_limit: int = 0
    extra_root: bytes = b""
    fedpeg_program: bytes = b""
    fedpeg_script: bytes = b""
    extension: tuple[bytes, ...] = ()

    def serialize(self) -> bytes:
        """As in the header."""
        if self.kind == 0:
            return b"\x00"
        head = (
            bytes((self.kind,)) + var_bytes(self.signblock_script) + self.signblock_witness_limit.to_bytes(4, "little")
        )
        if self.kind == 1:
            return head + self.extra_root
        return head + b"".join(
            (
                var_bytes(self.fedpeg_program),
                var_bytes(self.fedpeg_script),
                compact_size(len(self.extension)),
                *(var_bytes(entry) for entry in self.extension),
            )
        )

    @classmethod
    def read(cls, reader: Reader) -> Self:
        """Read one set of parameters from a cursor."""
        kind = reader.u8()
        if kind == 0:
            return cls()
        if kind > 2:
            raise InvalidBlock(f"unknown kind of federation parameters {kind}")
        script, limit = reader.var_bytes(), reader.u32()
        if kind == 1:
            return cls(kind, script, limit, reader.take(32))
        program, fedpeg = reader.var_bytes(), reader.var_bytes()
        return cls(kind, script, limit, b"", program, fedpeg, reader.stack())


@dataclass(frozen=True)
class BlockHeader:
    """A block header. Hashes are in internal order; methods follow LWK's names.

    ``header_version`` is the version without the dynamic federation bit.
    """

    header_version: int
    previous: BlockHash
    merkle: bytes
    timestamp: int
    block_height: int
    dynafed: bool
    challenge: bytes = b""
    solution: bytes = b""
    current: DynafedParams = DynafedParams()
    proposed: DynafedParams = DynafedParams()
    signblock_witness: tuple[bytes, ...] = ()

    # -- bytes -------------------------------------------------------------------------------

    @classmethod
    def parse(cls, raw: bytes) -> Self:
        """Parse exactly one header. Raises :class:`InvalidBlock`."""
        if len(raw) > MAX_HEADER_BYTES:
            raise InvalidBlock(f"{len(raw)} bytes are more than a header may hold")
        reader = Reader(bytes(raw))
        header = cls.read(reader)
        if reader.remaining:
            raise InvalidBlock(f"{reader.remaining} bytes follow the header")
        return header

    @classmethod
    def from_string(cls, text: str) -> Self:
        """Parse hex, as Esplora serves it. Raises :class:`InvalidBlock`."""
        try:
            return cls.parse(bytes_from_hex(text, what="block header"))
        except InvalidBlock:
            raise
        except InvalidInput as error:
            raise InvalidBlock(str(error)) from None

    @classmethod
    def read(cls, reader: Reader) -> Self:
        """Read one header from a cursor and leave the cursor behind it."""
        try:
            version = reader.u32()
            previous, merkle = BlockHash(reader.take(32)), reader.take(32)
            timestamp, height = reader.u32(), reader.u32()
            if not version & DYNAFED_FLAG:
                challenge, solution = reader.var_bytes(), reader.var_bytes()
                return cls(version, previous, merkle, timestamp, height, False, challenge, solution)
            current, proposed = DynafedParams.read(reader), DynafedParams.read(reader)
            return cls(
                version & ~DYNAFED_FLAG,
                previous,
                merkle,
                timestamp,
                height,
                True,
                current=current,
                proposed=proposed,
                signblock_witness=reader.stack(),
            )
        except InvalidTransaction as error:
            raise InvalidBlock(f"not a block header: {error}") from None

    def _hashed(self) -> bytes:
        version = self.header_version | (DYNAFED_FLAG if self.dynafed else 0)
        head = b"".join(
            (
                version.to_bytes(4, "little"),
                bytes(self.previous),
                self.merkle,
                self.timestamp.to_bytes(4, "little"),
                self.block_height.to_bytes(4, "little"),
            )
        )
        if self.dynafed:
            return head + self.current.serialize() + self.proposed.serialize()
        return head + var_bytes(self.challenge)

    def serialize(self) -> bytes:
        """Wire bytes."""
        if self.dynafed:
            stack = self.signblock_witness
            return self._hashed() + compact_size(len(stack)) + b"".join(var_bytes(item) for item in stack)
        return self._hashed() + var_bytes(self.solution)

    @cached_property
    def _hash(self) -> BlockHash:
        return BlockHash(sha256d(self._hashed()))

    # -- LWK's names -------------------------------------------------------------------------

    def block_hash(self) -> BlockHash:
        """The hash of the block, recomputed from the header."""
        return self._hash

    def height(self) -> int:
        """Height of the block."""
        return self.block_height

    def time(self) -> int:
        """Seconds since 1970, as the block's maker set them."""
        return self.timestamp

    def version(self) -> int:
        """Version, without the dynamic federation bit."""
        return self.header_version

    def prev_blockhash(self) -> BlockHash:
        """Hash of the block before."""
        return self.previous

    def merkle_root(self) -> str:
        """Merkle root of the transactions, display hex."""
        return self.merkle[::-1].hex()

    def __str__(self) -> str:
        return self.serialize().hex()
