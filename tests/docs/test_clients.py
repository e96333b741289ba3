"""docs/clients.md: its blocks run as they stand, but for the URL and the mnemonic, one wallet through all of them."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from amp0 import Amp0, Mnemonic
from amp0.local.stack import Stack
from tests.interop.conftest import require_gdk
from tests.interop.gdk_peer import LAUNCHER, own_home
from tests.interop.lwk_peer import NoLwk, four_digit_ports, installed

ROOT = Path(__file__).resolve().parent.parent.parent
TEXT = (ROOT / "docs" / "clients.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(\w+(?: \w+)?)\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)
URL = "http://127.0.0.1:9908"


def block(kind: str, nth: int = 0) -> str:
    found: list[str] = [text for name, text in BLOCKS if name == kind]
    return found[nth]


def test_the_page_has_the_blocks_that_are_run_here() -> None:
    assert [kind for kind, _ in BLOCKS] == ["python our", "python gdk", "sh", "python lwk", "sh"]


@pytest.fixture(scope="module")
def stack() -> Iterator[Stack]:
    wamp, cosign = four_digit_ports(2)
    with Stack(wamp_port=wamp, cosign_port=cosign, chain_port=0) as running:
        yield running


@pytest.fixture
def here(stack: Stack, tmp_path: Path) -> Path:
    """A folder after the page's first command."""
    (command,) = re.findall(r"^    (curl .*)$", TEXT, re.MULTILINE)
    run(["bash", "-c", command.replace(URL, stack.cosign_url)], tmp_path)
    return tmp_path


def run(command: list[str], folder: Path, **environment: str) -> str:
    ran = subprocess.run(
        command,
        cwd=folder,
        env={**own_home(folder), "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", **environment},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert ran.returncode == 0, ran.stderr
    return ran.stdout


def test_one_wallet_in_the_sdk_and_in_gdk(stack: Stack, here: Path) -> None:
    require_gdk()
    mnemonic = str(Mnemonic.from_random(12))
    told = 'print(account["receiving_id"], address["address"])\nsession.destroy()\n'
    script = block("python gdk").replace("<mnemonic>", mnemonic) + told
    amp_id, address = run([sys.executable, "-c", script], here).split()
    names: dict[str, Any] = {}
    exec(block("python our").replace(URL, stack.cosign_url).replace("<mnemonic>", mnemonic), names)
    assert names["amp0"].next_account() == 2
    with Amp0(names["network"], "the venue", "correct horse", amp_id) as amp0:
        assert str(amp0.address(amp0.last_index()).address()) == address


def test_green_cli(here: Path) -> None:
    require_gdk()
    shutil.copy(LAUNCHER, here)
    lines = run(["bash", "-ec", block("sh")], here).splitlines()
    assert '"type": "2of2_no_recovery"' in "\n".join(lines)
    policy_asset = "5ac9f65c0efcc4775e0baec4ec03abdde22473cd3cf33c0419ca290e0751b225"
    assert json.loads("".join(lines[-3:])) == {policy_asset: 0}


def test_lwk(stack: Stack, here: Path) -> None:
    try:
        installed()
    except NoLwk as reason:
        pytest.skip(f"LWK IS NOT TESTED AGAINST: {reason}")
    script = block("python lwk").replace(URL, stack.cosign_url)
    run([sys.executable, "-c", script], here, PYTHONPATH=str(ROOT))
    assert re.fullmatch(r"[0-9A-Za-z]{5}\n", run(["bash", "-ec", block("sh", 1)], here))
