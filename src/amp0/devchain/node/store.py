"""What the node's wallet keeps: its seed, how many addresses it gave out, and the openings of what it paid to others.

One JSON file, mode 0600, rewritten in one piece at every change; in memory where there is no folder.
"""

from __future__ import annotations

import os
from pathlib import Path

import msgspec

from amp0.errors import ConfigError


class Kept(msgspec.Struct):
    """The file. ``seed`` in hex; ``given`` addresses by kind; ``labels`` by script in hex; ``openings`` by
    ``txid:vout``: asset (internal order), satoshi, asset and value blinding factor, all hex but the amount;
    ``load_on_startup`` whether a wallet with a name is loaded when the node starts."""

    seed: str
    given: dict[str, int] = {}
    labels: dict[str, str] = {}
    openings: dict[str, tuple[str, int, str, str]] = {}
    load_on_startup: bool = False

    def __repr__(self) -> str:
        return "Kept(…)"


class Store:
    """The file and what is in it; ``path`` ``None`` keeps it in memory. ``is_new`` tells whether it was made now."""

    def __init__(self, path: Path | None, new_seed: bytes) -> None:
        self._path = path
        self.is_new = path is None or not path.exists()
        self.kept = Kept(new_seed.hex())
        if path is not None and not self.is_new:
            try:
                self.kept = msgspec.json.decode(path.read_bytes(), type=Kept)
            except (OSError, msgspec.MsgspecError):
                raise ConfigError(f"{path} is no wallet of the node; move it away to start with an empty one") from None
        self.save()

    @property
    def seed(self) -> bytes:
        """The wallet's seed."""
        return bytes.fromhex(self.kept.seed)

    def save(self) -> None:
        """Write it. Raises :class:`ConfigError` when the folder cannot be used."""
        if self._path is not None:
            write_private(self._path, msgspec.json.encode(self.kept))


def write_private(path: Path, data: bytes) -> None:
    """Replace a file in one piece, readable by its owner alone. Raises :class:`ConfigError`."""
    temporary = path.with_name(path.name + ".new")
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        temporary.unlink(missing_ok=True)
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        raise ConfigError(f"{path} cannot be written: {error.strerror}") from None
