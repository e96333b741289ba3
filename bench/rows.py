"""The rows: what is measured, beside what, and what has to be reached."""

from __future__ import annotations

import http.client
import json
import subprocess
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import amp0
from amp0.elements.pset import finalize_for_cosign
from bench.floors import Floors
from bench.others import cpu_seconds
from bench.samples import Samples, alternate, timed
from bench.world import Account, World, command, first_line, resident_megabytes, settle, start, stop
from tests.interop.lwk_peer import LwkPeer

ADDRESSES = 1_000
SCANNED = 1_000
SCAN_ADDRESSES = 200
"""The transactions of the scan go to this many addresses: one deposit each would only flatter a client that asks
for addresses in parallel, as ours does."""


@dataclass(frozen=True)
class Target:
    """What a row has to reach: ``faster`` times as fast as LWK, ``over_floor`` times its floor, its median ``at_most``
    or ``at_least`` so much, or not even its ``worst`` sample more."""

    faster: float | None = None
    over_floor: float | None = None
    at_most: float | None = None
    at_least: float | None = None
    worst: float | None = None

    def __str__(self) -> str:
        if self.faster is not None:
            return f"≥ {self.faster:g}× LWK"
        if self.over_floor is not None:
            return f"≤ {self.over_floor:g}× floor"
        if self.at_least is not None:
            return f"≥ {self.at_least:g}"
        if self.worst is not None:
            return f"worst ≤ {self.worst:g}"
        return f"≤ {self.at_most:g}" if self.at_most is not None else ""


@dataclass
class Row:
    """One measurement. Milliseconds unless ``unit`` says otherwise; floors are for one thread, or for ``threads``."""

    name: str
    ours: Samples
    target: Target
    lwk: Samples | None = None
    task: str = ""
    floors: Floors | None = None
    unit: str = "ms"
    note: str = ""
    threads: int = 1
    others: float | None = None
    """The share of all cores that somebody else used while this was measured."""

    @property
    def best(self) -> float:
        """Our best sample: the fastest, or the largest of a rate."""
        return self.ours.fastest if self.target.at_least is None else self.ours.largest

    @property
    def floor_here(self) -> float | None:
        """The task's floor on this machine, in this run."""
        return self.floors.task(self.task) / self.threads if self.task and self.floors else None

    @property
    def faster_floor(self) -> float | None:
        """LWK's fastest sample over ours."""
        return self.lwk.fastest / self.ours.fastest if self.lwk and self.lwk.values else None

    @property
    def faster_median(self) -> float | None:
        """LWK's median over ours."""
        return self.lwk.median / self.ours.median if self.lwk and self.lwk.values else None

    @property
    def over_floor(self) -> float | None:
        """Our fastest sample over the floor measured in this run."""
        return self.ours.fastest / self.floor_here if self.floor_here else None

    @property
    def reached(self) -> bool | None:
        """Whether the target is reached; ``None`` where nothing was asked or LWK is missing.

        Against LWK both comparisons have to hold, floors and medians.
        """
        if self.target.faster is not None:
            if self.faster_floor is None or self.faster_median is None:
                return None
            return min(self.faster_floor, self.faster_median) >= self.target.faster
        if self.target.over_floor is not None:
            return self.over_floor is not None and self.over_floor <= self.target.over_floor
        if self.target.at_least is not None:
            return self.ours.median >= self.target.at_least
        if self.target.worst is not None:
            return self.ours.largest <= self.target.worst
        return self.ours.median <= self.target.at_most if self.target.at_most is not None else None

    def to_json(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "unit": self.unit,
            "ours": self.ours.to_json(),
            "lwk": self.lwk.to_json() if self.lwk and self.lwk.values else None,
            "times_as_fast_as_lwk": {"floors": self.faster_floor, "medians": self.faster_median},
            "floor": {
                "task": self.task or None,
                "published": self.floors.published(self.task) if self.task and self.floors else None,
                "here": self.floor_here,
                "ours_over_floor_here": self.over_floor,
            },
            "target": str(self.target) or None,
            "reached": self.reached,
            "share_of_all_cores_used_by_others": self.others,
            "note": self.note,
        }


@dataclass
class Bench:
    """What every row needs. ``rounds`` scales the number of samples, ``scanned`` the scan."""

    world: World
    floors: Floors
    rounds: int
    scanned: int = SCANNED


def lwk_time(space: LwkPeer | None, script: str, **values: Any) -> Callable[[], float] | None:
    """A function that runs a script with LWK and gives the milliseconds it took there."""
    if space is None:
        return None
    body = "".join(f"    {line}\n" for line in script.strip().splitlines())
    space.run(f"def work():\n{body}    return locals()\n", **values)
    return lambda: float(space.run("result = timed(work)"))


# -- client -----------------------------------------------------------------------------------


def addresses(bench: Bench) -> Iterator[Row]:
    """Amp0.address(i) and str, for addresses issued before."""
    account = bench.world.account("addresses", addresses=ADDRESSES)
    client = account.client
    first = client.last_index() - ADDRESSES + 1

    def ours() -> float:
        return timed(lambda: [str(client.address(i).address()) for i in range(first, first + ADDRESSES)])

    theirs = lwk_time(
        account.in_lwk(),
        "return [str(amp0.address(i).address()) for i in range(first, first + count)]",
        first=first, count=ADDRESSES,
    )  # fmt: skip
    mine, other = alternate(3 * bench.rounds, ours, theirs)
    yield Row(
        "1,000 addresses", mine, Target(faster=3), other, "derive 1,000 AMP0 addresses", bench.floors,
        note="Amp0.address(i) and str of each",
    )  # fmt: skip


LWK_BUILD = """
b = network.tx_builder()
b.add_lbtc_recipient(Address(to), 1_000)
return b.finish_for_amp0(wollet)
"""
LWK_SIGN = """
b = network.tx_builder()
b.add_lbtc_recipient(Address(to), 1_000)
built = b.finish_for_amp0(wollet)
return Amp0Pset(signer.sign(built.pset()), built.blinding_nonces())
"""
LWK_WOLLET = """
wollet = Wollet(network, amp0.wollet_descriptor(), None)
wollet.apply_update(EsploraClient.new_waterfalls(chain_url, network).full_scan_to_index(wollet, amp0.last_index() + 1))
signer = Signer(Mnemonic(mnemonic), network)
"""


def build(bench: Bench) -> Iterator[Row]:
    """finish_for_amp0 of a payment with change, 1-in 2-out; and the same signed and put together again."""
    account = bench.world.account("build")
    bench.world.pay(account.addresses, 100_000)
    wollet, network, signer = account.wollet(), bench.world.network, account.signer
    to = stranger(bench.world)

    def make() -> amp0.Amp0Pset:
        b = network.tx_builder()
        b.add_lbtc_recipient(amp0.Address(to), 1_000)
        return b.finish_for_amp0(wollet)

    def sign() -> amp0.Amp0Pset:
        built = make()
        return amp0.Amp0Pset(signer.sign(built.pset()), built.blinding_nonces())

    assert len(make().pset().inputs()) == 1
    assert len(make().pset().outputs()) == 3
    space = account.in_lwk()
    if space is not None:
        space.run(LWK_WOLLET, mnemonic=str(signer.mnemonic()), to=to)
    task = "build PSET, 1-in 2-out, with value and asset proofs"
    for name, target, work, script in (
        ("build 1-in 2-out", Target(faster=2), make, LWK_BUILD),
        ("build, sign, reassemble 1-in 2-out", Target(), sign, LWK_SIGN),
    ):
        mine, other = alternate(10 * bench.rounds, lambda work=work: timed(work), lwk_time(space, script))  # type: ignore[misc]
        yield Row(name, mine, target, other, task, bench.floors, note="finish_for_amp0, nonce checks included")


LWK_SCAN = """
wollet = Wollet(network, amp0.wollet_descriptor(), None)
client = {client}
wollet.apply_update(client.full_scan_to_index(wollet, last_index))
assert len(wollet.transactions()) == count
"""


def scan(bench: Bench) -> Iterator[Row]:
    """The first scan of an account, over Esplora and over Waterfalls, from the same server."""
    count = bench.scanned
    account = bench.world.account("scan", addresses=min(SCAN_ADDRESSES, count))
    bench.world.pay([account.addresses[i % len(account.addresses)] for i in range(count)], 1_000)
    url, network = bench.world.urls["chain"], bench.world.network
    last_index, descriptor = account.client.last_index(), account.client.wollet_descriptor()
    space = account.in_lwk()

    def first_scan(make: Callable[[], amp0.EsploraClient]) -> float:
        def work() -> None:
            wollet = amp0.Wollet(network, descriptor, None)
            with make() as client:
                wollet.apply_update(client.full_scan_to_index(wollet, last_index))
            assert len(wollet.transactions()) == count

        return timed(work)

    for name, faster, make, client in (
        ("Esplora", 1.8, lambda: amp0.EsploraClient(url, network), "EsploraClient(chain_url, network)"),
        ("Waterfalls", 1.5, lambda: amp0.EsploraClient.new_waterfalls(url, network),
         "EsploraClient.new_waterfalls(chain_url, network)"),
    ):  # fmt: skip
        # LWK passes the index on as a count (and we as the last index), so it gets one more.
        script = LWK_SCAN.format(client=client)
        theirs = lwk_time(space, script, last_index=last_index + 1, count=count)
        mine, other = alternate(bench.rounds, lambda make=make: first_scan(make), theirs)  # type: ignore[misc]
        full = count == SCANNED
        yield Row(
            f"first scan of {count:,} transactions, {name}", mine, Target(faster=faster) if full else Target(), other,
            "scan, 1,000 transactions, one own output each" if full else "", bench.floors,
            note=f"{len(account.addresses)} addresses; the floor is for one thread",
        )  # fmt: skip


def connect(bench: Bench) -> Iterator[Row]:
    """A watch-only login without derived credentials from before."""
    from bench.world import PASSWORD

    account = bench.world.account("connect")
    network, name, amp_id = bench.world.network, account.name, account.amp_id

    def ours() -> float:
        made: list[amp0.Amp0] = []
        taken = timed(lambda: made.append(amp0.Amp0(network, name, PASSWORD, amp_id)))
        made[0].close()
        return taken

    theirs = lwk_time(account.in_lwk(), "return Amp0(network, username, password, amp_id)")
    mine, other = alternate(4 * bench.rounds, ours, theirs)
    yield Row(
        "watch-only connect, nothing cached", mine, Target(faster=1.8), other, "scrypt of a watch-only login",
        bench.floors, note="the floor is the password's scrypt alone",
    )  # fmt: skip


# -- server and chain -------------------------------------------------------------------------


def cosign(bench: Bench) -> Iterator[Row]:
    """``POST /delayed_signature`` and then ``POST /tx`` of 1-in 2-out payments, each of a coin of its own."""
    count = 12 * bench.rounds
    account = bench.world.account("cosign", addresses=count)
    bench.world.pay(account.addresses, 50_000)
    bodies = list(requests(account))
    server = Post(bench.world.urls["cosign"])
    chain = Post(bench.world.urls["chain"])
    pid = bench.world.stack.pid
    warm_up, bodies = bodies[:2], bodies[2:]
    for body in warm_up:
        chain.text("/tx", server.json("/delayed_signature", body)["tx"])

    signed: list[str] = []
    walls, cpu = spent(pid, lambda body: signed.append(server.json("/delayed_signature", body)["tx"]), bodies)
    task = "cosign 1-in 2-out: unblind both by nonce, hash, sign"
    yield Row(
        "server cosign 1-in 2-out", walls, Target(over_floor=1.3), None, task, bench.floors,
        note="POST /delayed_signature, until the answer is read; both outputs are opened in parallel",
    )  # fmt: skip
    if cpu is not None:
        yield Row("… processor time of it", cpu, Target(), None, task, bench.floors, note="mean of all, both cores")

    walls, cpu = spent(pid, lambda tx: chain.text("/tx", tx), signed)
    task = "validate 1-in 2-out CT"
    yield Row(
        "chain validation 1-in 2-out", walls, Target(over_floor=1.2), None, task, bench.floors,
        note="POST /tx, until the answer is read; both range proofs are verified in parallel",
    )  # fmt: skip
    if cpu is not None:
        yield Row(
            "… processor time of it", cpu, Target(), None, task, bench.floors,
            note="mean of all, both cores; the server's reading of the mempool included",
        )  # fmt: skip
    bench.world.dev.mine(1)


def requests(account: Account) -> Iterator[dict[str, Any]]:
    """The bodies that LWK and this package send to the cosigner, one for each coin of the account."""
    wollet, to = account.wollet(), stranger(account.world)
    for coin in wollet.utxos():
        b = account.world.network.tx_builder()
        b.add_lbtc_recipient(amp0.Address(to), 1_000)
        b.set_wallet_utxos([coin.outpoint()])
        built = b.finish_for_amp0(wollet)
        parts = finalize_for_cosign(account.signer.sign(built.pset()))
        yield {
            "tx": str(parts.transaction),
            "blinding_nonces": built.blinding_nonces(),
            "scripts": [script.hex() for script in parts.scripts],
        }


def spent(pid: int, work: Callable[[Any], object], items: Sequence[Any]) -> tuple[Samples, Samples | None]:
    """Milliseconds of each call, and the mean processor time a call costs the process ``pid``."""
    walls = Samples()
    before = cpu_seconds(pid)
    for item in items:
        walls.add(timed(lambda item=item: work(item)))  # type: ignore[misc]
    after = cpu_seconds(pid)
    if before is None or after is None:
        return walls, None
    return walls, Samples([(after - before) * 1e3 / len(items)])


@dataclass
class Post:
    """One kept-alive connection that posts, with nothing of a client library in the way."""

    url: str

    def __post_init__(self) -> None:
        parts = urlsplit(self.url)
        self._connection = http.client.HTTPConnection(parts.hostname or "", parts.port)

    def text(self, path: str, body: str, kind: str = "text/plain") -> str:
        """The text of the answer, which has to be 200."""
        self._connection.request("POST", path, body.encode(), {"content-type": kind})
        answer = self._connection.getresponse()
        text = answer.read().decode()
        if answer.status != 200:
            raise SystemExit(f"bench: {path} answers {answer.status}: {text[:300]}")
        return text

    def json(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        """The JSON object of the answer."""
        found: dict[str, Any] = json.loads(self.text(path, json.dumps(body), "application/json"))
        return found


def memory(bench: Bench) -> Iterator[Row]:
    """What ``amp0 server run`` holds when nobody asks it anything."""
    folder = bench.world.folder / "idle-server"
    passphrase = bench.world.folder / "passphrase"
    passphrase.write_text("bench")
    passphrase.chmod(0o600)
    server = start([
        command(), "server", "run", "--json", "--network", "liquidregtest", "--data-dir", str(folder),
        "--chain", bench.world.urls["chain"], "--passphrase-file", str(passphrase), "--listen", "127.0.0.1:0",
    ])  # fmt: skip
    try:
        first_line(server)
        held = Samples()
        for _ in range(3):
            settle(1.0)
            found = resident_megabytes(server.pid)
            if found is None:
                return
            held.add(found)
    finally:
        stop(server)
    yield Row("idle server, resident memory", held, Target(at_most=120), unit="MB", note="amp0 server run")


def help_text(bench: Bench) -> Iterator[Row]:
    """``amp0 --help``, a process from start to end."""
    run = [command(), "--help"]
    samples = Samples()
    for _ in range(5 * bench.rounds):
        samples.add(timed(lambda: subprocess.run(run, check=True, stdout=subprocess.DEVNULL)))
    yield Row("amp0 --help", samples, Target(at_most=250))


def stranger(world: World) -> str:
    """A confidential address of somebody else."""
    signer = amp0.Signer(amp0.Mnemonic.from_random(12), world.network)
    return str(amp0.Wollet(world.network, signer.wpkh_slip77_descriptor(), None).address(None).address())


ROWS: dict[str, Callable[[Bench], Iterator[Row]]] = {
    "help": help_text,
    "memory": memory,
    "addresses": addresses,
    "build": build,
    "connect": connect,
    "cosign": cosign,
    "scan": scan,
}
"""Name for ``--only`` → the function that measures one or more rows."""
