"""The processes that are measured: a local stack, LWK pointed at it, and wallets on both sides."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import amp0
from amp0.local.dev_client import DevClient
from amp0.network import Network
from tests.interop.lwk_peer import LwkPeer, NoLwk, four_digit_ports, make_copy

PASSWORD = "correct horse battery"
BLOCK = 20
"""Faucet payments for each block: they chain, and a mempool keeps only so many in a row."""

LWK_SETUP = """
import time
def timed(work):
    start = time.perf_counter()
    kept = work()
    return (time.perf_counter() - start) * 1e3
"""


def command() -> str:
    """The ``amp0`` command of this environment."""
    return str(Path(sys.executable).with_name("amp0"))


@dataclass
class World:
    """A stack in its own process, and LWK in another, or ``None`` with the reason in ``no_lwk``."""

    stack: subprocess.Popen[str]
    urls: dict[str, str]
    network: Network
    dev: DevClient
    lwk: LwkPeer | None
    no_lwk: str
    folder: Path

    def processes(self) -> list[int]:
        """The processes that run for us."""
        return [self.stack.pid] + ([self.lwk.process.pid] if self.lwk is not None else [])

    def account(self, name: str, *, addresses: int = 1) -> Account:
        """A new wallet with one account, watch-only credentials and some issued addresses."""
        signer = amp0.Signer(amp0.Mnemonic.from_random(12), self.network)
        with amp0.Amp0Connected(self.network, signer.amp0_signer_data()) as connected:
            logged_in = connected.login(signer.amp0_sign_challenge(connected.get_challenge()))
            amp_id = logged_in.create_amp0_account(1, signer.amp0_account_xpub(1))
            logged_in.create_watch_only(name, PASSWORD)
            logged_in.close()
        client = amp0.Amp0(self.network, name, PASSWORD, amp_id)
        issued = [str(client.address(None).address()) for _ in range(addresses)]
        return Account(self, name, amp_id, signer, client, issued)

    def pay(self, addresses: list[str], satoshi: int) -> None:
        """One payment to each address, each in a transaction of its own, and confirm them."""
        for start in range(0, len(addresses), BLOCK):
            with ThreadPoolExecutor(2) as pool:
                list(pool.map(lambda address: self.dev.faucet(address, satoshi), addresses[start : start + BLOCK]))
            self.dev.mine(1)


@dataclass
class Account:
    """A wallet of ours with one account, and how LWK opens it."""

    world: World
    name: str
    amp_id: str
    signer: amp0.Signer
    client: amp0.Amp0
    addresses: list[str]

    def wollet(self) -> amp0.Wollet:
        """A wollet that knows everything of the account."""
        wollet = amp0.Wollet(self.world.network, self.client.wollet_descriptor(), None)
        with amp0.EsploraClient.new_waterfalls(self.world.urls["chain"], self.world.network) as chain:
            wollet.apply_update(chain.full_scan_to_index(wollet, self.client.last_index()))
        return wollet

    def in_lwk(self) -> LwkPeer | None:
        """LWK connected to the account with the same credentials: ``amp0`` and ``network`` are names there."""
        if self.world.lwk is None:
            return None
        space = self.world.lwk.space(self.name)
        space.run(LWK_SETUP)
        space.run(
            "amp0 = Amp0(network, username, password, amp_id)",
            username=self.name, password=PASSWORD, amp_id=self.amp_id,
        )  # fmt: skip
        space.run("chain_url = url", url=self.world.urls["chain"])
        return space


@contextmanager
def world() -> Iterator[World]:
    """Everything started, and stopped at the end. Chain and server keep their records on disk, as in earnest."""
    with ExitStack() as cleanup:
        folder = Path(cleanup.enter_context(tempfile.TemporaryDirectory(prefix="amp0-bench-")))
        wamp, cosign = four_digit_ports(2)
        stack = start([command(), "stack", "run", "--json", "--wamp-port", str(wamp), "--cosign-port", str(cosign),
                       "--chain-port", "0", "--data-dir", str(folder / "stack")])  # fmt: skip
        cleanup.callback(stop, stack)
        urls = first_line(stack)
        network = Network.regtest_default().replace(
            wamp_url=urls["wamp"], cosign_url=urls["cosign"], esplora_url=urls["chain"]
        )
        dev = cleanup.enter_context(DevClient(urls["chain"]))
        lwk, no_lwk = None, ""
        try:
            lwk = cleanup.enter_context(LwkPeer.start(make_copy(folder / "lwk-copy", network)))
        except NoLwk as reason:
            no_lwk = str(reason)
        yield World(stack, urls, network, dev, lwk, no_lwk, folder)


def start(arguments: list[str], **environment: str) -> subprocess.Popen[str]:
    """A process whose first line of stdout says that it is ready."""
    return subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True, env=os.environ | environment)


def first_line(process: subprocess.Popen[str]) -> dict[str, Any]:
    """The JSON object a process prints when it is ready."""
    assert process.stdout is not None
    line = process.stdout.readline()
    if not line:
        raise SystemExit(f"bench: {' '.join(map(str, process.args))} did not start; see its messages above")  # type: ignore[arg-type]
    found: dict[str, Any] = json.loads(line)
    return found


def stop(process: subprocess.Popen[str]) -> None:
    """End a process that we started."""
    process.terminate()
    try:
        process.wait(20)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def resident_megabytes(pid: int) -> float | None:
    """Memory a process holds (resident set); ``None`` where /proc does not tell."""
    try:
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) / 1024
    except OSError:
        return None
    return None


def settle(seconds: float) -> None:
    """Let a process that has just started finish what it began."""
    time.sleep(seconds)
