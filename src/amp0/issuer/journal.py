"""A note on the disk that an operation is under way, so that the next run knows itself to be the same one.

Wallet and server remember what was done; neither knows whether somebody who asks again for the same amount wants it
again, or has not heard that it was done. The note is written before units are moved and removed when all is over: who
finds one continues that operation. It holds no secret.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from amp0.errors import ConfigError, UnconfirmedMove


class Journal:
    """The note of one operation, or of none where no folder is given.

    ``before`` are the moves (transaction ids) that the wallet had made when the operation began; None: it begins now.
    """

    def __init__(self, path: Path | None, what: str, satoshi: int, before: frozenset[str] | None) -> None:
        self._path = path
        self._what = what
        self._satoshi = satoshi
        self.before = before

    def begin(self, before: Iterable[str]) -> None:
        """Note that units are about to be moved; on the disk when this returns."""
        self.before = frozenset(before)
        if self._path is None:
            return
        note = {"operation": self._what, "satoshi": self._satoshi, "before": sorted(self.before)}
        fresh = self._path.with_suffix(".new")
        try:
            with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
                json.dump(note, file)
                file.flush()
                os.fsync(file.fileno())
            fresh.replace(self._path)
            _sync_folder(self._path.parent)
        except OSError as error:
            raise ConfigError(f"cannot write {self._path}: {error.strerror}; nothing was sent") from None

    def end(self, made: str) -> None:
        """All is over with this move. One that was made before the operation began is not the operation's, and leaves
        its note where it is."""
        if self._path is not None and made not in (self.before or ()):
            self._path.unlink(missing_ok=True)


@contextmanager
def journal(folder: Path | None, what: str, asset_uuid: str, satoshi: int | None) -> Iterator[Journal]:
    """The note of an operation of an asset, for one process at a time; ``satoshi`` None takes one of any amount.

    Raises :class:`UnconfirmedMove` when another amount is under way, :class:`ConfigError` for a folder that cannot be
    used, and while another process is at it.
    """
    if folder is None:
        yield Journal(None, what, satoshi or 0, None)
        return
    path = folder / f"{asset_uuid}.{what}.json"
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = os.open(path.with_suffix(".lock"), os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise ConfigError(f"the folder {folder} cannot be used: {error.strerror}") from None
    try:
        _take(lock, what)
        yield _read(path, what, satoshi)
    finally:
        os.close(lock)


def _read(path: Path, what: str, satoshi: int | None) -> Journal:
    try:
        note = json.loads(path.read_text(encoding="utf-8"))
        begun, before = int(note["satoshi"]), frozenset(map(str, note["before"]))
    except FileNotFoundError:
        return Journal(path, what, satoshi or 0, None)
    except (OSError, ValueError, LookupError, TypeError):
        raise ConfigError(
            f"{path} cannot be read; look whether the {what} it is about was made, and delete it"
        ) from None
    if satoshi not in (None, begun):
        raise UnconfirmedMove(
            f"a {what} of {begun:,} satoshi was begun and not finished: ask for that amount to finish it, or delete "
            f"{path} if it is not to be",
            [],
        )
    return Journal(path, what, begun, before)


def _take(lock: int, what: str) -> None:
    try:
        import fcntl
    except ImportError:
        # Windows has no flock; one at a time is the operator's care there.
        return
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        raise ConfigError(f"another process is at a {what} of this asset; wait for it to end") from None


def _sync_folder(folder: Path) -> None:
    """A new name is durable once its folder is."""
    if os.name == "posix":
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
