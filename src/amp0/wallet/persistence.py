"""What a wollet keeps on disk: an encrypted log of its updates.

One file per descriptor and network. Each record is an update in compact form, with the openings of
the outputs of ours in it, so that nothing is ever opened twice, and without the proofs of other
people's outputs, which are most of the bytes. Nothing here is precious: the file can be deleted at
any time, and the next scan rebuilds it.

    file    = magic version salt(32) record*
    record  = length(4, little endian) nonce(12) AES-256-GCM ciphertext
    additional data = magic version salt ‖ number of the record (8, little endian)

The key comes from the descriptor and the salt (HKDF-SHA256): whoever may see the wallet may read
its file, nobody else. The record number in the additional data keeps records in their place.
A torn or foreign tail, left by a crash or a full disk, is cut off: what it held will be scanned
again.
"""

from __future__ import annotations

import logging
import os
import secrets
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from amp0.chain.backend import Update
from amp0.elements.confidential import Opening
from amp0.elements.hashes import Txid, sha256
from amp0.elements.transaction import OutPoint, Reader, Transaction, TxOut, compact_size, var_bytes
from amp0.errors import ConfigError, InvalidInput, StaleUpdate

log = logging.getLogger("amp0.wallet")

MAGIC = b"amp0wollet"
VERSION = 1
_HEAD = len(MAGIC) + 1 + 32
_KIND_UPDATE, _KIND_APPLIED = 0, 1
MAX_RECORD = 1 << 30


@dataclass(frozen=True, slots=True)
class Record:
    """One step of a wollet: an applied update, or a transaction applied by hand.

    ``state`` is the wollet's state after it (32 bytes). ``openings`` are those of our own outputs.
    """

    state: bytes
    content: Update | Transaction
    openings: Mapping[OutPoint, Opening]

    def serialize(self) -> bytes:
        """Versioned by the file that holds it."""
        update = isinstance(self.content, Update)
        body = self.content.serialize() if isinstance(self.content, Update) else self.content.to_bytes()
        parts = [
            bytes((_KIND_UPDATE if update else _KIND_APPLIED,)),
            self.state,
            var_bytes(body),
            compact_size(len(self.openings)),
        ]
        for outpoint, opening in self.openings.items():
            parts += [
                outpoint.serialize(),
                opening.asset,
                opening.satoshi.to_bytes(8, "little"),
                opening.abf,
                opening.vbf,
            ]
        return b"".join(parts)

    @classmethod
    def parse(cls, raw: bytes) -> Record:
        """Read back what :meth:`serialize` wrote. Raises :class:`InvalidInput`."""
        reader = Reader(raw)
        kind, state, body = reader.u8(), reader.take(32), reader.var_bytes()
        if kind not in (_KIND_UPDATE, _KIND_APPLIED):
            raise InvalidInput(f"unknown kind of record {kind}")
        content = Update(body) if kind == _KIND_UPDATE else Transaction.from_bytes(body)
        openings = {}
        for _ in range(reader.count(140)):
            outpoint = OutPoint(Txid(reader.take(32)), reader.u32())
            asset = reader.take(32)
            satoshi = int.from_bytes(reader.take(8), "little")
            openings[outpoint] = Opening(asset, satoshi, reader.take(32), reader.take(32))
        if reader.remaining:
            raise InvalidInput("bytes follow the record")
        return cls(state, content, openings)


def without_proofs(tx: Transaction, ours: Sequence[int]) -> Transaction:
    """A transaction without the proofs of outputs, but for the range proofs of ``ours``.

    Range proofs of our own outputs stay, because spending them by PSET shows them. The txid is
    the same.
    """
    keep = set(ours)
    vout = [
        TxOut(
            txout.script,
            txout.asset_field,
            txout.value_field,
            txout.nonce_field,
            b"",
            txout.range_proof if number in keep else b"",
        )
        for number, txout in enumerate(tx.vout)
    ]
    return Transaction.of(tx.version, tx.locktime, tx.vin, vout)


class WolletFile:
    """The log of one wollet. Opened by :meth:`open_in`; records are read once and then appended."""

    def __init__(self, path: Path, secret: bytes) -> None:
        self.path = path
        self._secret = secret
        self._head = b""
        self._cipher: AESGCM | None = None
        self._end = 0
        self.records = 0

    @classmethod
    def open_in(cls, folder: str | os.PathLike[str], network: str, descriptor: str) -> WolletFile:
        """The file of a descriptor in a folder, which is made when missing.

        Raises :class:`ConfigError` when the folder cannot be used.
        """
        name = sha256(b"amp0 wollet file" + network.encode() + b"\x00" + descriptor.encode()).hex()[:40]
        path = Path(folder) / f"wollet-{network}-{name}.log"
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise ConfigError(f"the wallet folder {folder} cannot be made: {error.strerror}") from None
        return cls(path, sha256(b"amp0 wollet key" + descriptor.encode()))

    # -- reading -----------------------------------------------------------------------------

    def read(self) -> Iterator[Record]:
        """Every whole record, oldest first; a damaged tail is cut off and logged."""
        try:
            data = self.path.read_bytes()
        except FileNotFoundError:
            return
        except OSError as error:
            raise ConfigError(f"{self.path} cannot be read: {error.strerror}") from None
        if data[: len(MAGIC)] != MAGIC or len(data) < _HEAD or data[len(MAGIC)] != VERSION:
            log.warning("wallet file of another version or damaged, starting anew file=%s", self.path.name)
            return
        self._use_head(data[:_HEAD])
        self._end = _HEAD
        while self._end < len(data):
            record = self._record_at(data, self._end)
            if record is None:
                log.warning("cut a damaged tail off file=%s bytes=%d", self.path.name, len(data) - self._end)
                return
            size = int.from_bytes(data[self._end : self._end + 4], "little")
            self._end += 4 + size
            self.records += 1
            yield record

    def _record_at(self, data: bytes, start: int) -> Record | None:
        size = int.from_bytes(data[start : start + 4], "little")
        sealed = data[start + 4 : start + 4 + size]
        if len(sealed) < size or size < 28 or self._cipher is None:
            return None
        try:
            return Record.parse(self._cipher.decrypt(sealed[:12], sealed[12:], self._place(self.records)))
        except (InvalidTag, InvalidInput):
            return None

    def _use_head(self, head: bytes) -> None:
        self._head = head
        key = HKDF(SHA256(), 32, salt=head[-32:], info=b"amp0 wollet file").derive(self._secret)
        self._cipher = AESGCM(key)

    def _place(self, number: int) -> bytes:
        return self._head + number.to_bytes(8, "little")

    # -- writing -----------------------------------------------------------------------------

    def append(self, record: Record) -> None:
        """Add one record.

        Raises :class:`StaleUpdate` when another wollet wrote the file meanwhile, and
        :class:`ConfigError` when the disk refuses.
        """
        try:
            if self._cipher is None:
                self._start([])
            with self.path.open("r+b") as file:
                size = file.seek(0, os.SEEK_END)
                if size > self._end and self._grown_by_another(file):
                    raise StaleUpdate(
                        f"another wallet process has written {self.path.name}; open the wollet again, "
                        "or give each process a folder of its own"
                    )
                file.seek(self._end)
                file.truncate()
                file.write(self._sealed(record, self.records))
                self._end = file.tell()
            self.records += 1
        except OSError as error:
            raise ConfigError(f"{self.path} cannot be written: {error.strerror}") from None

    def replace(self, records: Sequence[Record]) -> None:
        """Write a new file with just these records, and put it in the old one's place at once."""
        try:
            self._start(records)
        except OSError as error:
            raise ConfigError(f"{self.path} cannot be written: {error.strerror}") from None

    @property
    def size(self) -> int:
        """Bytes of the file."""
        return self._end

    def _grown_by_another(self, file: BinaryIO) -> bool:
        file.seek(0)
        if file.read(_HEAD) != self._head:
            return True
        file.seek(self._end)
        return self._record_at(bytes(self._end) + file.read(), self._end) is not None

    def _sealed(self, record: Record, number: int) -> bytes:
        assert self._cipher is not None
        nonce = secrets.token_bytes(12)
        sealed = nonce + self._cipher.encrypt(nonce, record.serialize(), self._place(number))
        return len(sealed).to_bytes(4, "little") + sealed

    def _start(self, records: Sequence[Record]) -> None:
        self._use_head(MAGIC + bytes((VERSION,)) + secrets.token_bytes(32))
        data = self._head + b"".join([self._sealed(record, number) for number, record in enumerate(records)])
        temporary = self.path.with_suffix(".new")
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(self.path)
        self._end, self.records = len(data), len(records)
