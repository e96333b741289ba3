"""Random days of a chain: whatever happened, it looks as if only its present had ever happened."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from amp0.devchain.blocks import OP_TRUE, POLICY_ASSET
from amp0.devchain.chain import Chain
from amp0.devchain.faucet import Faucet
from amp0.elements.script import p2wpkh
from amp0.elements.transaction import OutPoint, TxOut
from amp0.errors import BroadcastRejected
from tests.devchain.kit import Clock, Random, new_chain, spend, state


def _fresh(chain: Chain, clock: Clock) -> Chain:
    """A new chain that is told the present one's blocks, then its mempool."""
    other = Chain(clock=clock)
    for height in range(1, chain.height + 1):
        block = chain.block_at(height)
        assert block is not None
        other.submit_block(block.block.serialize(), block.hash)
    for entry in chain.mempool:
        other.submit(entry.tx)
    return other


def _coins(chain: Chain) -> list[tuple[OutPoint, TxOut]]:
    """Everything under OP_TRUE, spent in the mempool or not, so that some choices conflict."""
    record = chain.script(OP_TRUE)
    assert record is not None
    found = []
    for outpoint in record.funded:
        entry = chain.entry(outpoint.hash)
        assert entry is not None
        if (entry.tx.vout[outpoint.vout()].explicit_value or 0) > 10_000 and not entry.tx.is_coinbase:
            found.append((outpoint, entry.tx.vout[outpoint.vout()]))
    return found


def _act(chain: Chain, clock: Clock, chooser: random.Random) -> str:
    what = chooser.choices(["spend", "mine", "reorg", "wait", "foreign"], [12, 3, 2, 1, 1])[0]
    if what == "mine":
        chain.mine(chooser.randrange(1, 4), empty=chooser.random() < 0.3)
    elif what == "reorg":
        depth = min(chooser.randrange(1, 5), chain.height - 1)
        chain.reorg(depth, blocks=chooser.randrange(0, depth + 2))
    elif what == "wait":
        clock.now += chooser.randrange(1, 1_000)
    elif what == "foreign" and len(chain.mempool):
        # The same transactions in a block that somebody else made.
        other = _fresh(chain, clock)
        other.mine(script=p2wpkh(b"\x01" * 20))
        chain.submit_block(other.tip.block.serialize())
    elif what == "spend":
        coins = _coins(chain)
        chosen = chooser.sample(coins[-40:], k=min(len(coins), chooser.randrange(1, 3)))
        outputs = [
            TxOut.explicit(chooser.choice([OP_TRUE, p2wpkh(b"\x02" * 20)]), POLICY_ASSET, 600)
            for _ in range(chooser.randrange(3))
        ]
        tx = spend(
            chosen,
            fee=chooser.randrange(40, 3_000),
            sequence=chooser.choice([0, 1, 0xFFFFFFFD, 0xFFFFFFFF]),
            outputs=outputs,
        )
        try:
            chain.submit(tx)
        except BroadcastRejected as refused:
            return f"{what}: {refused.reason.split(',')[0].split(' ')[0]}"
    return what


@pytest.mark.parametrize("seed", range(6))
def test_the_present_does_not_depend_on_the_past(seed: int) -> None:
    chooser, clock = random.Random(seed), Clock()
    chain, _ = new_chain(clock)
    happened: set[str] = set()
    for step in range(120):
        happened.add(_act(chain, clock, chooser))
        if step % 20 == 19:
            assert state(_fresh(chain, clock)) == state(chain)
    assert {"spend", "mine", "reorg"} <= happened
    assert any(each.startswith("spend: ") for each in happened)


@pytest.mark.parametrize("seed", range(3))
def test_a_chain_from_its_folder_is_the_chain_it_was(seed: int, tmp_path: Path) -> None:
    chooser, clock = random.Random(seed), Clock()
    chain = Chain(clock=clock, folder=tmp_path)
    Faucet(chain, random=Random()).prepare()
    for step in range(80):
        _act(chain, clock, chooser)
        if step % 20 == 19:
            before, order = state(chain), list(chain.mempool.entries)
            chain.close()
            chain = Chain(clock=clock, folder=tmp_path)
            assert state(chain) == before
            assert list(chain.mempool.entries) == order
    chain.close()
