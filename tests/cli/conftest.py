"""A terminal: commands run in this process against a whole stack, as a shell would run them."""

from __future__ import annotations

import io
import json
import sys
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from amp0 import cli
from amp0.local.stack import Stack
from tests.patience import until

PASSWORD = "correct horse battery"


@dataclass(frozen=True)
class Said:
    """How a command ended and what it said."""

    code: int
    out: str
    err: str

    def json(self) -> Any:
        assert self.code == 0, self.err
        return json.loads(self.out)


class Terminal:
    """Runs ``amp0`` in this process, as a shell would run it."""

    def __init__(self, folder: Path, network: str, capture: Callable[[], Any], patch: pytest.MonkeyPatch) -> None:
        self.folder = folder
        self.network = network
        self.username = f"till {uuid.uuid4()}"
        self._capture = capture
        self._patch = patch

    def amp0(self, *arguments: str, stdin: str = "") -> Said:
        self._patch.setattr(sys, "argv", ["amp0", *arguments])
        self._patch.setattr(sys, "stdin", io.StringIO(stdin))
        self._capture()
        with pytest.raises(SystemExit) as stopped:
            cli.main()
        said = self._capture()
        assert isinstance(stopped.value.code, int)
        return Said(stopped.value.code, said.out, said.err)

    def venue(self, *arguments: str, stdin: str = "") -> Said:
        """A command with the watch-only credentials."""
        credentials = ["--network", self.network, "--username", self.username, "--password-file", self.path("password")]
        return self.amp0(*arguments, *credentials, stdin=stdin)

    def path(self, name: str) -> str:
        return str(self.folder / name)


@pytest.fixture
def terminal(
    tmp_path: Path,
    stack: Stack,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    stretched_once: None,
) -> Terminal:
    """A folder with a password file, and the stack's network by the URL of its server."""
    password = tmp_path / "password"
    password.touch(mode=0o600)
    password.write_text(PASSWORD + "\n", encoding="utf-8")
    return Terminal(tmp_path, stack.cosign_url, capsys.readouterr, monkeypatch)


@pytest.fixture
def opened(terminal: Terminal) -> Terminal:
    """The same after set-up: an account and the watch-only credentials."""
    mnemonic = terminal.path("mnemonic")
    terminal.amp0("account", "create", "--network", terminal.network, "--new-mnemonic", mnemonic, "--json").json()
    terminal.amp0(
        "watch-only", "create", "--network", terminal.network, "--mnemonic-file", mnemonic,
        "--username", terminal.username, "--password-file", terminal.path("password"), "--json",
    ).json()  # fmt: skip
    return terminal


def deposit(terminal: Terminal, stack: Stack, satoshi: int, asset_id: str | None = None) -> str:
    (issued,) = terminal.venue("address", "new", "--json").json()
    stack.dev.faucet(issued["address"], satoshi, asset_id)
    height = stack.dev.mine()
    # Wallets read the chain themselves, and may know of a coin before the server does.
    server = stack._server
    assert server is not None
    until(lambda: server.watcher.height() >= height, "the server does not read the chain")
    address: str = issued["address"]
    return address
