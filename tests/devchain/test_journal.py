"""The chain's folder: what was acknowledged is there again, whatever moment the process died at."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from amp0.devchain.chain import Chain
from amp0.devchain.faucet import Faucet, Payment
from amp0.devchain.journal import BLOCK, DISCONNECT, MAGIC, TRANSACTION, Journal, encode_record, read_records
from amp0.elements.script import p2wpkh
from amp0.elements.transaction import OutPoint
from amp0.errors import ConfigError
from tests.devchain.kit import BLINDING_PUBKEY, Clock, Random, free_coin, spend

RECORDS = [(BLOCK, b"one"), (TRANSACTION, b""), (DISCONNECT, b"\x01\x00\x00\x00"), (BLOCK, bytes(300))]
FILE = MAGIC + b"".join(encode_record(kind, payload) for kind, payload in RECORDS)


def _write(folder: Path, data: bytes) -> None:
    (folder / "chain.journal").write_bytes(data)


def test_records_come_back_in_order(tmp_path: Path) -> None:
    first = Journal(tmp_path)
    assert first.records == []
    for kind, payload in RECORDS:
        first.append(kind, payload, sync=True)
    first.close()
    assert (tmp_path / "chain.journal").read_bytes() == FILE
    again = Journal(tmp_path)
    assert again.records == RECORDS
    again.close()


def test_any_torn_tail_is_cut_back_to_the_last_whole_record(tmp_path: Path) -> None:
    for cut in range(len(FILE)):
        _write(tmp_path, FILE[:cut])
        journal = Journal(tmp_path)
        whole = [(kind, payload) for kind, payload, end in read_records(FILE, len(MAGIC)) if end <= cut]
        assert journal.records == whole
        journal.append(BLOCK, b"next", sync=False)
        journal.close()
        assert list(_payloads(tmp_path)) == [*(payload for _, payload in whole), b"next"]


def _payloads(folder: Path) -> list[bytes]:
    data = (folder / "chain.journal").read_bytes()
    return [payload for _, payload, _ in read_records(data, len(MAGIC))]


@given(st.integers(len(MAGIC), len(FILE) - 1), st.integers(0, 7))
@settings(deadline=None)
def test_a_flipped_bit_ends_the_journal_there(position: int, bit: int) -> None:
    data = bytearray(FILE)
    data[position] ^= 1 << bit
    found = [(kind, payload) for kind, payload, _ in read_records(bytes(data), len(MAGIC))]
    assert found == RECORDS[: len(found)]
    assert len(found) < len(RECORDS)


@given(st.binary(max_size=200))
def test_noise_is_no_record(noise: bytes) -> None:
    assert list(read_records(noise, 0)) == []


def test_another_file_is_left_alone(tmp_path: Path) -> None:
    _write(tmp_path, b"somebody's diary")
    with pytest.raises(ConfigError, match="not a chain's journal"):
        Journal(tmp_path)
    assert (tmp_path / "chain.journal").read_bytes() == b"somebody's diary"


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="another one"):
        Journal(tmp_path / "file" / "below")


def test_one_process_at_a_time(tmp_path: Path) -> None:
    chain = Chain(clock=Clock(), folder=tmp_path)
    with pytest.raises(ConfigError, match="in use"):
        Chain(clock=Clock(), folder=tmp_path)
    chain.close()
    Chain(clock=Clock(), folder=tmp_path).close()


def test_a_full_disk_takes_nothing_back_and_forgets_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A block that cannot be written is not connected; the next one is written where it began."""
    chain = Chain(clock=Clock(), folder=tmp_path)
    chain.mine(2)

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(ConfigError, match="make room"):
        chain.mine()
    assert chain.height == 2
    monkeypatch.undo()
    chain.mine()
    tip = chain.tip.hash
    chain.close()
    again = Chain(clock=Clock(), folder=tmp_path)
    assert (again.height, again.tip.hash) == (3, tip)
    again.close()


def test_everything_comes_back(tmp_path: Path) -> None:
    """Blocks, reorganisations, the mempool with its replacements, and the faucet's coins."""
    chain = Chain(clock=Clock(), folder=tmp_path)
    faucet = Faucet(chain, random=Random())
    faucet.prepare()
    script = p2wpkh(b"\x21" * 20)
    paid = faucet.pay(Payment(script, BLINDING_PUBKEY, 4000))
    asset, _ = faucet.issue(100_000)
    chain.mine(2)
    chain.reorg(1, blocks=2)
    coin = free_coin(chain, 100)
    replaced = spend([coin], sequence=1, outputs=[])
    faucet_txid = faucet.pay(Payment(script, BLINDING_PUBKEY, 5000, asset))
    with pytest.raises(Exception, match="BIP68"):
        chain.submit(spend([coin], sequence=1000))
    chain.submit(replaced.replace_input(0, sequence_number=0xFFFFFFFD))
    chain.submit(spend([coin], fee=777))
    before = (
        chain.tip.hash,
        set(chain._coins),
        list(chain.mempool.entries),
        {script: entry.txids() for script, entry in chain.index.scripts.items()},
    )
    chain.close()
    again = Chain(clock=Clock(), folder=tmp_path)
    after = (
        again.tip.hash,
        set(again._coins),
        list(again.mempool.entries),
        {script: entry.txids() for script, entry in again.index.scripts.items()},
    )
    assert after == before
    assert paid in again._entries
    assert faucet_txid in again.mempool
    second = Faucet(again, random=Random(b"second"))
    second.prepare()
    assert again.height == chain.height, "the genesis coin is split only once"
    second.pay(Payment(script, BLINDING_PUBKEY, 700, asset))
    again.mine()
    again.close()


# -- kill -9 -----------------------------------------------------------------------------------

CHILD = """
import sys
from amp0.devchain.app import build
from amp0.devchain.blocks import OP_TRUE
from amp0.devchain.faucet import Payment
built = build(folder=sys.argv[1])
print("ready", built.chain.height, built.chain.tip.hash, flush=True)
for i in range(100_000):
    txid = built.faucet.pay(Payment(b"\\x00\\x14" + i.to_bytes(20, "big"), None, 5000))
    print("tx", txid, "-", flush=True)
    if i % 7 == 3:
        built.chain.reorg(1, blocks=2)
        print("block", built.chain.height, built.chain.tip.hash, flush=True)
    if i % 2:
        built.chain.mine()
        print("block", built.chain.height, built.chain.tip.hash, flush=True)
"""


@pytest.mark.parametrize("run", range(3))
def test_a_killed_process_loses_nothing_it_said(tmp_path: Path, run: int) -> None:
    """A child mines, reorganises and pays until it is killed with SIGKILL at a random line."""
    chooser = random.Random(run)
    for _ in range(2):
        child = subprocess.Popen(
            [sys.executable, "-c", CHILD, str(tmp_path)], stdout=subprocess.PIPE, text=True, env=os.environ
        )
        assert child.stdout is not None
        lines = [child.stdout.readline().split() for _ in range(chooser.randrange(2, 60))]
        child.send_signal(signal.SIGKILL)
        lines += [line.split() for line in child.stdout.read().splitlines(keepends=True) if line.endswith("\n")]
        child.wait()
        child.stdout.close()
        blocks = [(int(height), block) for kind, height, block in lines if kind in ("block", "ready")]
        chain = Chain(folder=tmp_path)
        height, tip = blocks[-1]
        # The block after the last one it spoke of may have been written, a reorganisation too.
        seen = {str(block) for block in [*chain._by_hash, *chain._stale]}
        assert tip in seen
        assert chain.height >= height - 1
        for kind, txid, _ in lines:
            if kind == "tx":
                assert any(str(known) == txid for known in chain._entries), txid
        for coin in list(chain._coins)[:50]:
            assert chain.entry(OutPoint(*coin).hash) is not None
        chain.mine()
        chain.close()
