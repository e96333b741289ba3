"""An append-only file that a chain can be rebuilt from, whatever moment its process died at.

One record is ``kind(1) length(4) payload checksum(4)``; the checksum is the start of the double
SHA-256 of what precedes it. A file that ends in the middle of a record, or in a record that does
not check, is cut back to its last whole record when it is opened: what was acknowledged is always
before that point. Blocks are written through to the disk (``fsync``); transactions of the mempool
are handed to the operating system only, which survives the death of the process but not a power
cut, after which their senders send them again.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from amp0.elements.hashes import sha256d
from amp0.errors import ConfigError

try:
    import fcntl
except ImportError:  # Windows has no advisory locks of this kind
    fcntl = None  # type: ignore[assignment]

MAGIC = b"amp0 devchain journal 1\n"
BLOCK, DISCONNECT, TRANSACTION = b"B", b"D", b"T"
_KINDS = (BLOCK, DISCONNECT, TRANSACTION)
_MAX_PAYLOAD = 8_000_000


def encode_record(kind: bytes, payload: bytes) -> bytes:
    """One record as it stands in the file."""
    body = kind + len(payload).to_bytes(4, "little") + payload
    return body + sha256d(body)[:4]


def read_records(data: bytes, start: int) -> Iterator[tuple[bytes, bytes, int]]:
    """``(kind, payload, end)`` of every whole record from ``start``; stops at the first bad one."""
    pos = start
    while pos + 9 <= len(data):
        length = int.from_bytes(data[pos + 1 : pos + 5], "little")
        end = pos + 9 + length
        if data[pos : pos + 1] not in _KINDS or length > _MAX_PAYLOAD or end > len(data):
            return
        if sha256d(data[pos : end - 4])[:4] != data[end - 4 : end]:
            return
        yield data[pos : pos + 1], data[pos + 5 : end - 4], end
        pos = end


class Journal:
    """The journal in a folder, held by one process at a time."""

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        """Open or create ``folder/chain.journal``. Raises :class:`ConfigError`."""
        self.path = Path(folder) / "chain.journal"
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            fd = os.open(self.path, os.O_RDWR | os.O_CREAT | getattr(os, "O_CLOEXEC", 0), 0o600)
            self._file: BinaryIO = os.fdopen(fd, "r+b", buffering=0)
        except OSError as error:
            raise ConfigError(f"the chain's folder cannot be used: {error}; give another one") from None
        if fcntl is not None:
            try:
                fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                self._file.close()
                raise ConfigError(
                    f"{self.path.parent} is in use by another chain; stop it or give another folder"
                ) from None
        self.records = self._load()

    def _load(self) -> list[tuple[bytes, bytes]]:
        data = self._file.read()
        if not data.startswith(MAGIC):
            if not MAGIC.startswith(data):
                self._file.close()
                raise ConfigError(f"{self.path} is not a chain's journal; give another folder")
            self._restart()
            return []
        records, end = [], len(MAGIC)
        for kind, payload, after in read_records(data, end):
            records.append((kind, payload))
            end = after
        self._file.truncate(end)
        self._file.seek(end)
        return records

    def _restart(self) -> None:
        self._file.truncate(0)
        self._file.seek(0)
        self._write(MAGIC)
        os.fsync(self._file.fileno())
        if hasattr(os, "O_DIRECTORY"):
            folder = os.open(self.path.parent, os.O_RDONLY | os.O_DIRECTORY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)

    def _write(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            view = view[self._file.write(view) :]

    def append(self, kind: bytes, payload: bytes, *, sync: bool) -> None:
        """Add one record; with ``sync``, return only when it is on the disk.

        A record that cannot be written whole is taken back. Raises :class:`ConfigError`.
        """
        start = self._file.tell()
        try:
            self._write(encode_record(kind, payload))
            if sync:
                os.fsync(self._file.fileno())
        except OSError as error:
            self._file.truncate(start)
            self._file.seek(start)
            raise ConfigError(f"the chain's journal cannot be written: {error}; make room on the disk") from None

    def close(self) -> None:
        """Let another process have the folder."""
        self._file.close()
