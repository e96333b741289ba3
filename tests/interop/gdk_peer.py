"""GDK as a peer: the unmodified wheel, which knows our service from ``register_network`` alone.

The wheel runs in a process of its own (:mod:`tests.interop.gdk_worker`) with a HOME of its own. What
``GET /v1/network`` answers is handed to it as it comes.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import json
import os
import platform
import select
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx

from tests.patience import PATIENCE

VERSION = "0.78.0"
CLI_VERSION = "0.8.1"
HANGS = 90
"""Seconds after which GDK is taken for locked up: longer than any of its own timeouts."""
WORKER = Path(__file__).with_name("gdk_worker.py")
LAUNCHER = Path(__file__).with_name("green_cli_launcher.py")


class NoGdk(Exception):
    """The wheel is not installed."""


class GdkFailed(Exception):
    """GDK raised. ``text`` is what an application would show."""

    def __init__(self, kind: str, text: str) -> None:
        super().__init__(f"{kind}: {text}")
        self.kind = kind
        self.text = text


Answer = Callable[[dict[str, Any]], str | None]
"""Answers a question of GDK, given its status: the method, the code or the data; None gives up."""


def installed(package: str = "green_gdk", wanted: str = VERSION) -> None:
    """Raises :class:`NoGdk`, saying what is missing."""
    try:
        version = importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        where = f"{platform.system()} {platform.machine()}, Python {platform.python_version()}"
        raise NoGdk(f"{package} is not installed: there is no wheel of it for every platform ({where})") from None
    if version != wanted:
        raise NoGdk(f"{package} {version} is installed, these tests know {wanted}")


def registered_network(cosign_url: str) -> dict[str, Any]:
    """What the server tells about itself, unchanged."""
    answer = httpx.get(f"{cosign_url}/v1/network", trust_env=False)
    answer.raise_for_status()
    fields: dict[str, Any] = answer.json()
    return fields


def _nobody(status: dict[str, Any]) -> str | None:
    return None


@dataclass
class GdkPeer:
    """A process with GDK in it. A context manager."""

    process: subprocess.Popen[str]
    network: dict[str, Any]

    @classmethod
    def start(cls, folder: Path, network: dict[str, Any], *, log_level: str = "none") -> Self:
        """Start one whose HOME and data are in ``folder``."""
        installed()
        folder.mkdir(parents=True, exist_ok=True)
        setting = {"datadir": str(folder / "gdk"), "network": network, "log_level": log_level}
        (folder / "gdk").mkdir(exist_ok=True)
        process = subprocess.Popen(
            [sys.executable, str(WORKER), json.dumps(setting)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=own_home(folder),
        )
        return cls(process, network)

    def open(self, name: str, **parameters: Any) -> GdkSession:
        """A connected session; ``parameters`` go to GDK's ``connect``."""
        self.ask("open", session=name, parameters={"name": self.network["network"], **parameters})
        return GdkSession(self, name)

    def function(self, name: str, *args: Any) -> Any:
        """A function of GDK that belongs to no session."""
        return self.ask("function", name=name, args=list(args))

    def ask(self, what: str, answer: Answer = _nobody, **arguments: Any) -> Any:
        """One request. Raises :class:`GdkFailed` when GDK raises."""
        self._write({"do": what, **arguments})
        while True:
            reply = self._read()
            if "question" in reply:
                self._write(answer(reply["question"]))
            elif "kind" in reply:
                raise GdkFailed(reply["kind"], reply["text"])
            else:
                return reply["result"]

    def _write(self, message: Any) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(message) + "\n")
        self.process.stdin.flush()

    def _read(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        # One line for each request, so nothing waits in Python's own buffer.
        if not select.select([self.process.stdout], [], [], HANGS)[0]:
            self.process.kill()
            raise GdkFailed("Hung", f"GDK has not answered for {HANGS} seconds")
        line = self.process.stdout.readline()
        reply: dict[str, Any] = json.loads(line or '{"kind": "Ended", "text": "the process has ended"}')
        return reply

    def close(self) -> None:
        """End the process; its sessions say goodbye first."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        try:
            self.process.wait(60)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        assert self.process.stdout is not None
        self.process.stdout.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


@dataclass(frozen=True)
class GdkSession:
    """One session of GDK: its methods are those of ``green_gdk.Session``, with calls resolved."""

    peer: GdkPeer
    name: str

    def call(self, method: str, *args: Any, answer: Answer = _nobody) -> Any:
        """Call a method of the session; ``answer`` is asked when GDK needs something of its user."""
        return self.peer.ask("call", answer, session=self.name, method=method, args=list(args))

    def event(self, name: str, seconds: float = PATIENCE) -> Any:
        """The next event of a name, or None."""
        return self.peer.ask("event", session=self.name, name=name, seconds=seconds)

    def forget_events(self) -> None:
        """Drop what was heard so far."""
        self.peer.ask("forget_events", session=self.name)

    def close(self) -> float:
        """End the session; the seconds it took."""
        seconds: float = self.peer.ask("close", session=self.name)
        return seconds


@dataclass(frozen=True)
class GreenCli:
    """The command ``green-cli`` with a wallet of its own in ``folder``."""

    folder: Path
    network: dict[str, Any]

    def __call__(self, *arguments: str, stdin: str = "") -> str:
        """Run one command; its standard output. Raises :class:`GdkFailed` with what it said when it fails."""
        installed("green-cli", CLI_VERSION)
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / "network.json").write_text(json.dumps(self.network))
        options = ["--network", self.network["network"], "--config-dir", str(self.folder / "config"), "--compact"]
        ran = subprocess.run(
            [sys.executable, str(LAUNCHER), str(self.folder / "network.json"), *options, *arguments],
            input=stdin,
            capture_output=True,
            text=True,
            timeout=120,
            env=own_home(self.folder),
        )
        if ran.returncode:
            raise GdkFailed(f"exit {ran.returncode}", ran.stderr + ran.stdout)
        return ran.stdout.strip()

    def keep(self, **secrets: str) -> None:
        """Put what green-cli would ask for into the files where it keeps the answers: username, password, mnemonic."""
        folder = self.folder / "config"
        folder.mkdir(parents=True, exist_ok=True)
        for name, value in secrets.items():
            (folder / name).write_text(value)

    def json(self, *arguments: str, stdin: str = "") -> Any:
        """Run one command whose output is JSON."""
        return json.loads(self(*arguments, stdin=stdin))


def own_home(folder: Path) -> dict[str, str]:
    """The environment with another HOME."""
    return {**os.environ, "HOME": str(folder)}
