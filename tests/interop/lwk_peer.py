"""LWK as a peer: the unmodified logic of its wheel, pointed at a service of ours.

LWK's regtest service key and ports are compiled in. In a *copy* of the installed package, and nowhere else, the
following is replaced, each at equal length, and nothing else:

* the public key, the chain code and the fingerprint of the regtest service key, by those of the test key;
* the four digits of the ports in ``ws://localhost:8080/v2/ws`` and ``http://127.0.0.1:9908``.

The number of replacements is checked, so another build of the wheel is refused rather than half patched. LWK runs in
a process of its own (:mod:`tests.interop.lwk_worker`), because it keeps a runtime for the whole process and because
importing two wallets into one process would prove less.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import json
import os
import platform
import random
import shutil
import socket
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from amp0.network import Network

VERSION = "0.19.0"
LIBRARY = "liblwk.so"
WORKER = Path(__file__).with_name("lwk_worker.py")

STOCK_WAMP_URL = b"ws://localhost:8080/v2/ws"
STOCK_COSIGN_URL = b"http://127.0.0.1:9908"
STOCK_PUBKEY = b"036307e560072ed6ce0aa5465534fb5c258a2ccfbc257f369e8e7a181b16d897b3"
STOCK_CHAIN_CODE = b"b60befcc619bb1c212732770fe181f2f1aa824ab89f8aab49f2e13e3a56f0f04"
STOCK_FINGERPRINT = b"b5281696"


class NoLwk(Exception):
    """The wheel is not installed, or this platform's build cannot be pointed at another service."""


class LwkFailed(Exception):
    """A script in the LWK process raised. ``kind`` is the exception's class, ``text`` what LWK says."""

    def __init__(self, kind: str, text: str) -> None:
        super().__init__(f"{kind}: {text}")
        self.kind = kind
        self.text = text


def installed() -> Path:
    """The folder of the installed package. Raises :class:`NoLwk`, saying what is missing."""
    try:
        version = importlib.metadata.version("lwk")
    except importlib.metadata.PackageNotFoundError:
        raise NoLwk("LWK is not installed: there is no wheel of it for every platform") from None
    if version != VERSION:
        raise NoLwk(f"LWK {version} is installed, these tests know {VERSION}")
    spec = importlib.util.find_spec("lwk")
    if spec is None or spec.origin is None:
        raise NoLwk("the package lwk cannot be found")
    package = Path(spec.origin).parent
    if not (package / "lwk" / LIBRARY).is_file():
        raise NoLwk(f"LWK's build for {platform.system()} {platform.machine()} has no {LIBRARY} to patch")
    return package


def replacements(network: Network) -> list[tuple[bytes, bytes, int]]:
    """What is looked for, what takes its place, and how often it must be there."""
    wamp = f"ws://localhost:{_four_digits(network.wamp_url)}/v2/ws".encode()
    cosign = f"http://127.0.0.1:{_four_digits(network.cosign_url)}".encode()
    return [
        # The compiler keeps a copy for each unit that uses them.
        (STOCK_WAMP_URL, wamp, 3),
        (STOCK_COSIGN_URL, cosign, 3),
        (STOCK_PUBKEY, network.service_pubkey.hex().encode(), 1),
        (STOCK_CHAIN_CODE, network.service_chain_code.hex().encode(), 1),
        # Once among the constants, once as the operand of a comparison.
        (STOCK_FINGERPRINT, network.service_fingerprint().encode(), 2),
    ]


def patched(library: bytes, network: Network) -> bytes:
    """The library with another service in it. Raises :class:`NoLwk` when it is not the build that is known."""
    for old, new, times in replacements(network):
        if len(old) != len(new):
            raise ValueError(f"{new!r} is not as long as {old!r}")
        if (found := library.count(old)) != times:
            raise NoLwk(f"LWK's build for {platform.machine()} holds {old!r} {found} times instead of {times}")
        library = library.replace(old, new)
    return library


def make_copy(folder: Path, network: Network) -> Path:
    """A copy of the package in ``folder``, for ``PYTHONPATH``, whose regtest is ``network``."""
    package = installed()
    new = patched((package / "lwk" / LIBRARY).read_bytes(), network)
    unwanted = shutil.ignore_patterns("__pycache__", LIBRARY)
    shutil.copytree(package, folder / "lwk", ignore=unwanted)
    (folder / "lwk" / "lwk" / LIBRARY).write_bytes(new)
    return folder


def four_digit_ports(count: int, *, host: str = "127.0.0.1") -> list[int]:
    """Free ports with four digits, as LWK's compiled-in URLs need them."""
    held: list[socket.socket] = []
    try:
        for port in random.SystemRandom().sample(range(2000, 10_000), 2000):
            if len(held) == count:
                break
            made = socket.socket()
            try:
                made.bind((host, port))
            except OSError:
                made.close()
                continue
            held.append(made)
        return [made.getsockname()[1] for made in held]
    finally:
        for made in held:
            made.close()


def _four_digits(url: str) -> str:
    port = url.rpartition(":")[2].partition("/")[0]
    if len(port) != 4 or not port.isdecimal():
        raise ValueError(f"LWK's URLs have room for a port of four digits, not for {url}")
    return port


@dataclass
class LwkPeer:
    """A process with LWK in it. Scripts share a namespace that begins with LWK's names. A context manager."""

    process: subprocess.Popen[str]
    name: str = ""

    @classmethod
    def start(cls, copy: Path | None = None) -> Self:
        """Start one on a patched ``copy``, or on the stock wheel where there is no service to talk to."""
        installed()
        environment = dict(os.environ)
        if copy is not None:
            environment["PYTHONPATH"] = str(copy)
        process = subprocess.Popen(
            [sys.executable, str(WORKER)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
        )
        return cls(process)

    def space(self, name: str) -> Self:
        """The same process with another namespace."""
        return replace(self, name=name)

    def run(self, script: str, **values: Any) -> Any:
        """Run a script with ``values`` among its names; what it leaves in ``result``, which is JSON.

        Raises :class:`LwkFailed` when it raises.
        """
        stdin, stdout = self.process.stdin, self.process.stdout
        assert stdin is not None
        assert stdout is not None
        stdin.write(json.dumps({"space": self.name, "script": script, "values": values}) + "\n")
        stdin.flush()
        answer = json.loads(stdout.readline() or '{"kind": "Ended", "text": "the process has ended"}')
        if "kind" in answer:
            raise LwkFailed(answer["kind"], answer["text"])
        return answer["result"]

    def close(self) -> None:
        """End the process."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        try:
            self.process.wait(10)
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
