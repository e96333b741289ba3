"""G03: the cosigner is killed, and nothing that left is lost, nothing half stored, nothing signed twice."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from amp0.server.cosigner import Request
from tests.server import killing
from tests.server.killing import needs_sigkill

pytestmark = needs_sigkill


def test_g03_killed_at_each_write_point(tmp_path: Path) -> None:
    """Begin, every statement, commit, after the commit, after the signature: each once, until none is left."""
    requests = killing.prepare(tmp_path / "start.sqlite", 1)
    start = (tmp_path / "start.sqlite").read_bytes()
    point = 0
    while True:
        point += 1
        path, log = tmp_path / f"{point}.sqlite", tmp_path / f"{point}.log"
        path.write_bytes(start)
        killed = killing.run_and_kill(path, requests, log, die_at=point)
        answers = killing.check_after(path, requests, log)
        if not killed:
            assert answers == 1
            break
        assert answers == 0
        # The service starts again and the client retries: one answer, and it stays the same.
        assert not killing.run_and_kill(path, requests, log)
        assert killing.check_after(path, requests, log) == 1
    assert point > 8, "fewer write points than the decision has"


def kill_at_random(folder: Path, kills: int, requests: list[Request], seed: int) -> None:
    rng = random.Random(seed)
    path, log = folder / "store.sqlite", folder / "answers.log"
    for _ in range(kills):
        log.unlink(missing_ok=True)
        killing.run_and_kill(path, requests, log, after=rng.uniform(0.0, 0.06))
        killing.check_after(path, requests, log)


def test_g03_twenty_real_kills(tmp_path: Path) -> None:
    requests = killing.prepare(tmp_path / "store.sqlite", 60)
    kill_at_random(tmp_path, 20, requests, seed=3)


@pytest.mark.soak
def test_g03_a_thousand_real_kills(tmp_path: Path) -> None:
    requests = killing.prepare(tmp_path / "store.sqlite", 2_000)
    kill_at_random(tmp_path, 1_000, requests, seed=4)
