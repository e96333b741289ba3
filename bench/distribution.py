"""The row of the treasury: a thousand holders paid, from the first request to the last broadcast."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import httpx

from amp0.server.issuer.distributions import MOST_PAYMENTS
from bench.floors import TASKS
from bench.issuing import HOLDERS
from bench.rows import Bench, Row, Target
from bench.samples import Samples, timed
from bench.world import first_line, stop

_CORES = 2
_TASK = "distribution to 1,000 holders: proofs made, and verified by the node that takes them"


def distribution(bench: Bench) -> Iterator[Row]:
    """Request files from the server, payments by the node, until nothing is left to pay."""
    folder = bench.world.folder / "issuing"
    run = [sys.executable, "-m", "bench.issuing", str(folder)]
    process = subprocess.Popen(run, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    samples = Samples()
    try:
        at = first_line(process)
        token = {"authorization": f"token {at['token']}"}
        # Kept connections: making a client costs as much as four range proofs.
        with httpx.Client(timeout=120, headers=token) as api, httpx.Client(timeout=120) as node:
            for _ in range(bench.rounds):
                _ask(process, "assign")
                samples.add(_distribute(process, api, node, at))
    finally:
        stop(process)
    yield Row(
        "distribution to 1,000 holders, built and broadcast", samples, Target(over_floor=1.3), task=_TASK,
        floors=bench.floors, threads=_CORES,
        note=f"{math.ceil(HOLDERS / MOST_PAYMENTS)} transactions; the floor is for two cores",
    )  # fmt: skip


def _ask(process: subprocess.Popen[str], what: str) -> None:
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(f"{what}\n")
    process.stdin.flush()
    if not process.stdout.readline():
        raise SystemExit("bench: the issuer's stack ended; see its messages above")


def _distribute(process: subprocess.Popen[str], api: httpx.Client, node: httpx.Client, at: dict[str, Any]) -> float:
    """Milliseconds of all requests and payments.

    A block after each payment, which is not counted: together they are a longer chain than a node's mempool takes.
    """
    paid: list[int] = []

    def pay() -> None:
        answer = api.get(f"{at['api']}/assets/{at['asset_uuid']}/distributions/create/")
        assert answer.status_code == 200, answer.text
        file = answer.json()
        amounts, assets = file["map_address_amount"], file["map_address_asset"]
        call = {"id": 1, "method": "sendmany", "params": ["", amounts, 0, "", [], False, 1, "UNSET", assets]}
        sent = node.post(at["node"], content=json.dumps(call)).json()
        assert sent["error"] is None, sent["error"]
        paid.append(len(amounts))

    taken = 0.0
    while sum(paid) < HOLDERS:
        taken += timed(pay)
        _ask(process, "mine")
    return taken


assert _TASK in TASKS
