"""A cosigner in a process of its own that dies by SIGKILL, and the check of what it left behind."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from amp0.elements.transaction import Transaction
from amp0.server.cosigner import Cosigned, Cosigner, Request
from amp0.server.keys import ServiceKeys
from amp0.server.store import schema
from amp0.server.store.engine import Store
from tests.patience import PATIENCE, until
from tests.server.cosigning import LBTC, FakeChain, World

CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload([__name__])


def prepare(path: Path, count: int) -> list[Request]:
    """A database with coins, and one request for each two of them."""
    world = World(f"sqlite:///{path}")
    alice = world.wallet("alice")
    requests = []
    for _ in range(count):
        coins = [world.fund(alice, 2_000, blinded=False), world.fund(alice, 2_000, blinded=False, pointer=3)]
        requests.append(world.pay(coins, 1_500).request())
    world.store.close()
    return requests


needs_sigkill = pytest.mark.skipif(not hasattr(signal, "SIGKILL") or os.name != "posix", reason="needs SIGKILL")


class Death:
    """Counts the steps of this process while it is armed, and kills it with SIGKILL at the ``at``-th; None: at none."""

    def __init__(self, at: int | None) -> None:
        self.at = at
        self.armed = False
        self.steps = 0

    def __call__(self, _step: str) -> None:
        if self.armed:
            self.steps += 1
            if self.steps == self.at:
                os.kill(os.getpid(), signal.SIGKILL)


def serve(path: Path, requests: Sequence[Request], log: Path, die_at: int | None, passes: int) -> None:
    """Cosign every request and log each answer, as it would leave; die at the ``die_at``-th write point.

    Write points are every statement of the one deciding transaction, its begin and its commit, then after the
    commit before the signature, and after the signature before the answer.
    """
    point = Death(die_at)
    store = Store.open(f"sqlite:///{path}", faults=point)
    cosigner = Cosigner(store, ServiceKeys.test_key(), FakeChain(), policy_asset=LBTC, clock=time.time)
    decide, sign = cosigner._decide_and_record, cosigner._sign

    def watched_decide(*arguments: Any, **more: Any) -> bool:
        point.armed = True
        result = decide(*arguments, **more)
        point("recorded")
        return result

    def watched_sign(*arguments: Any, **more: Any) -> Cosigned:
        result = sign(*arguments, **more)
        point("signed")
        point.armed = False
        return result

    cosigner._decide_and_record = watched_decide  # type: ignore[method-assign]
    cosigner._sign = watched_sign  # type: ignore[method-assign]
    with log.open("ab") as file:
        for _ in range(passes):
            for i, request in enumerate(requests):
                answer = cosigner.cosign(request)
                file.write(f"{i} {answer.tx.to_bytes().hex()}\n".encode())
                file.flush()


def run_and_kill(
    path: Path, requests: Sequence[Request], log: Path, *, die_at: int | None = None, after: float | None = None
) -> bool:
    """Run the process; kill it ``after`` seconds. True when it was killed and did not finish."""
    process = CONTEXT.Process(target=serve, args=(path, requests, log, die_at, 50 if after is not None else 1))
    process.start()
    if after is not None:
        # Counted from its first answer, so that the kill falls into the work and not into the start.
        until(lambda: log.exists() and log.stat().st_size, "the process answers nothing", pause=0.002)
        time.sleep(after)
        process.kill()
    process.join(PATIENCE)
    assert process.exitcode in (0, -signal.SIGKILL), process.exitcode
    return process.exitcode != 0


def check_after(path: Path, requests: Sequence[Request], log: Path) -> int:
    """After a kill: nothing acknowledged is lost, nothing is half stored, a retry gives the same bytes.

    Returns how many answers had left before.
    """
    acknowledged: dict[int, str] = {}
    lines = log.read_bytes().split(b"\n")[:-1] if log.exists() else []
    for line in lines:
        place, text = line.decode().split()
        assert acknowledged.setdefault(int(place), text) == text
    store = Store.open(f"sqlite:///{path}")
    cosigner = Cosigner(store, ServiceKeys.test_key(), FakeChain(), policy_asset=LBTC, clock=time.time)
    with store.snapshot() as db:
        recorded = {bytes(row.txid): row.tx for row in db.execute(sa.select(schema.cosigned))}
        inputs = db.execute(sa.select(schema.cosigned_inputs.c.txid, sa.func.count()).group_by("txid")).all()
        claims = db.execute(sa.select(schema.outpoint_claims)).all()
    for txid, stored in inputs:
        assert stored == len(Transaction.from_bytes(recorded[bytes(txid)]).vin)
    assert len(inputs) == len(recorded)
    assert len(claims) == len({(row.prev_txid, row.prev_vout) for row in claims}) == 2 * len(recorded)
    for number, text in acknowledged.items():
        assert bytes(Transaction(text).txid()) in recorded, "an acknowledged signature is not on record"
        again = cosigner.cosign(requests[number])
        assert again.again
        assert again.tx.to_bytes().hex() == text
    store.close()
    return len(lines)
