from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.server.issuer import killing
from tests.server.killing import needs_sigkill

pytestmark = needs_sigkill


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a database that an issuance can begin with."""
    folder = tmp_path_factory.mktemp("prepared")
    killing.prepare(folder / "db")
    return folder


def test_g03_a_kill_at_every_point_neither_loses_nor_doubles_an_issuance(prepared: Path, tmp_path: Path) -> None:
    """Statement by statement, through the one transaction, the broadcast and what follows, until nothing kills it."""
    found = []
    for die_at in range(1, 1_000):
        folder = tmp_path / str(die_at)
        shutil.copytree(prepared, folder)
        files = folder / "db", folder / "chain", folder / "answers"
        killed = killing.run_and_kill(*files, die_at)
        found.append(killing.check_after(*files, upkeep_first=die_at % 2 == 0))
        shutil.rmtree(folder)
        if not killed:
            break
    else:
        pytest.fail("the issuance never ended")
    assert len(found) > 40, "fewer points than an issuance has"
    # Nothing, then signed, then sent, and never anything else in between.
    order = [state for i, state in enumerate(found) if i == 0 or found[i - 1] != state]
    assert order == ["", "signed", "sent"]
