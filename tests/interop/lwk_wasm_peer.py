"""LWK's JavaScript as a peer: ``lwk_wasm`` from npm in Node, its regtest pointed at a service of ours.

What is installed is what ``javascript/package-lock.json`` says, in a folder named after that file's hash, which is
kept. The compiled-in key, fingerprint and ports are replaced by ``javascript/lwk_at.mjs``, which users have too.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from amp0.network import Network
from tests.interop.lwk_peer import LwkPeer

HERE = Path(__file__).with_name("javascript")
CACHE = Path(__file__).resolve().parent.parent.parent / ".cache"
OLDEST_NODE = 18
INSTALL_SECONDS = 300


class NoNode(Exception):
    """Node or npm is missing or too old."""


def node() -> str:
    """The Node to run. Raises :class:`NoNode`, saying what is missing."""
    found = shutil.which("node")
    if found is None or shutil.which("npm") is None:
        raise NoNode("Node and npm are not installed (nodejs 18 or newer is needed)")
    version = subprocess.run([found, "--version"], capture_output=True, text=True, check=True).stdout
    number = re.match(r"v(\d+)\.", version)
    if number is None or int(number[1]) < OLDEST_NODE:
        raise NoNode(f"Node {OLDEST_NODE} or newer is needed, this is {version.strip()}")
    return found


def own_websocket() -> list[str]:
    """The options with which this Node has a global WebSocket of its own; from version 22 on it always does.

    Raises :class:`NoNode` when it has none.
    """
    for options in ([], ["--experimental-websocket"]):
        command = [node(), *options, "--print", "typeof WebSocket"]
        if subprocess.run(command, capture_output=True, text=True).stdout.strip() == "function":
            return options
    raise NoNode("this Node has no WebSocket of its own (version 20.10 or newer is needed)")


def install() -> Path:
    """A folder with the locked packages in ``node_modules``; made once. Raises what npm says when it cannot."""
    lock = (HERE / "package-lock.json").read_bytes()
    wanted = CACHE / f"javascript-{hashlib.sha256(lock).hexdigest()[:16]}"
    if wanted.is_dir():
        return wanted
    CACHE.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=CACHE) as made:
        folder = Path(made) / "javascript"
        folder.mkdir()
        for name in ("package.json", "package-lock.json"):
            shutil.copy(HERE / name, folder)
        npm = shutil.which("npm")
        assert npm is not None
        command = [npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--prefer-offline"]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=INSTALL_SECONDS)
        assert done.returncode == 0, f"npm ci failed:\n{done.stderr}"
        try:
            folder.rename(wanted)
        except OSError:
            # Another test process was quicker.
            assert wanted.is_dir()
    return wanted


def service(network: Network) -> dict[str, Any]:
    """What ``lwk_at.mjs`` wants to know: the server's answer to ``GET /v1/network``, and the fingerprint."""
    return network.to_json() | {"service_fingerprint": network.service_fingerprint()}


def start(folder: Path, network: Network, *flags: str) -> LwkPeer:
    """Node with LWK in it. Raises ``AssertionError`` when it does not start."""
    process = subprocess.Popen(
        [node(), *flags, str(HERE / "worker.mjs"), str(folder), json.dumps(service(network))],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "NODE_NO_WARNINGS": "1"},
    )
    return LwkPeer(process)
