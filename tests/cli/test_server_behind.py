"""``amp0 server acknowledge``, beside a server."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from amp0.cli import root
from amp0.elements.hashes import Txid
from amp0.server import behind
from amp0.server.app import Server, build
from amp0.server.settings import Settings


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    passphrase = tmp_path / "passphrase"
    passphrase.write_text("correct horse\n")
    passphrase.chmod(0o600)
    made = build(Settings(data_dir=tmp_path / "data", passphrase_file=passphrase))
    yield made
    asyncio.run(made.stop())


def run(server: Server, *arguments: str) -> Result:
    folder = server.settings.data_dir
    assert folder is not None
    return CliRunner().invoke(root.root, ["server", "acknowledge", *arguments, "--data-dir", str(folder)])


def test_g05_an_operator_sees_what_was_found_and_says_so(server: Server) -> None:
    nothing: dict[str, object] = {"found": None, "acknowledged": False, "lost_assets": []}
    assert json.loads(run(server, "--json", "--yes").stdout) == nothing
    assert "nothing was found" in run(server).stdout
    with server.services.store.transaction() as db:
        behind.note_issuance(db, Txid(b"\x01" * 32), [b"\x02" * 32])
    looked = run(server)
    assert "issuance 0101" in looked.stdout
    assert f"its rules are lost: {'02' * 32}" in looked.stdout
    assert "--yes" in looked.stderr
    facts = json.loads(run(server, "--json").stdout)
    assert (facts["acknowledged"], facts["lost_assets"]) == (False, ["02" * 32])
    assert "signs again" in run(server, "--yes").stderr
    with server.services.store.snapshot() as db:
        assert behind.found(db) is None
    assert json.loads(run(server, "--json").stdout) == nothing | {"lost_assets": ["02" * 32]}
