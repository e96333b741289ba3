"""What the chain's tests share: a clock that stands still, numbers that repeat, a small wallet."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field

from amp0.devchain.blocks import OP_TRUE, POLICY_ASSET
from amp0.devchain.chain import Chain
from amp0.devchain.faucet import Faucet
from amp0.elements import wally
from amp0.elements.confidential import DomainEntry, Opening, PlainOutput, blind, unblind
from amp0.elements.hashes import Txid
from amp0.elements.transaction import OutPoint, Transaction, TxIn, TxOut
from tests.vectors import load

START = 1_800_000_000
BLOCKS = load("liquidregtest-blocks.json")["blocks"]
NODE = load("liquidregtest-transactions.json")["transactions"]


@dataclass
class Clock:
    """Seconds since 1970, moved by the test."""

    now: float = START

    def __call__(self) -> float:
        return self.now


@dataclass
class Random:
    """The same bytes in every run."""

    seed: bytes = b"amp0"
    count: int = field(default=0)

    def __call__(self, size: int) -> bytes:
        self.count += 1
        return hashlib.shake_256(self.seed + self.count.to_bytes(8, "little")).digest(size)


KEY = b"\x11" * 32
PUBKEY = wally.public_key(KEY)
BLINDING_KEY = b"\x22" * 32
BLINDING_PUBKEY = wally.public_key(BLINDING_KEY)


def new_chain(clock: Callable[[], float] | None = None) -> tuple[Chain, Faucet]:
    """A chain with the faucet's coins at height 1."""
    chain = Chain(clock=clock or Clock())
    faucet = Faucet(chain, random=Random())
    faucet.prepare()
    return chain, faucet


def free_coin(chain: Chain, number: int = 0) -> tuple[OutPoint, TxOut]:
    """One of the faucet's explicit coins, for spending behind its back."""
    block = chain.block_at(1)
    assert block is not None
    outpoint = OutPoint(block.txids[1], number)
    entry = chain.entry(outpoint.hash)
    assert entry is not None
    return outpoint, entry.tx.vout[number]


def spend(
    coins: list[tuple[OutPoint, TxOut]],
    *,
    fee: int = 100,
    sequence: int = 0xFFFFFFFF,
    outputs: list[TxOut] | None = None,
    version: int = 2,
    locktime: int = 0,
) -> Transaction:
    """Spend explicit OP_TRUE coins in the open: what is left goes to OP_TRUE again."""
    total = sum(txout.explicit_value or 0 for _, txout in coins)
    outputs = list(outputs or [])
    left = total - fee - sum(txout.explicit_value or 0 for txout in outputs)
    outputs.append(TxOut.explicit(OP_TRUE, POLICY_ASSET, left))
    if fee:
        outputs.append(TxOut.fee(POLICY_ASSET, fee))
    vin = [TxIn(outpoint, sequence_number=sequence) for outpoint, _ in coins]
    return Transaction.of(version, locktime, vin, outputs)


def output(chain: Chain, txid: Txid, vout: int = 0) -> tuple[OutPoint, TxOut]:
    """An output of a transaction the chain knows."""
    entry = chain.entry(txid)
    assert entry is not None
    return OutPoint(txid, vout), entry.tx.vout[vout]


def blinded_spend(
    coins: list[tuple[OutPoint, TxOut]],
    outputs: list[PlainOutput],
    *,
    sequence: int = 0xFFFFFFFF,
    random: Callable[[int], bytes] | None = None,
) -> Transaction:
    """An unsigned transaction with blinded outputs; blinded coins open with ``BLINDING_KEY``."""
    domain = [DomainEntry.of_output(txout, unblind(txout, BLINDING_KEY)) for _, txout in coins]
    made = blind(domain, outputs, random or Random(b"spend"))
    vin = [TxIn(outpoint, sequence_number=sequence) for outpoint, _ in coins]
    return Transaction.of(2, 0, vin, [output.txout for output in made])


def explicit(satoshi: int, asset: bytes = POLICY_ASSET) -> Opening:
    """The opening of an explicit amount."""
    return Opening(asset, satoshi)


def state(chain: Chain) -> tuple[object, ...]:
    """Everything that two chains with the same blocks and mempool must agree on."""
    return (
        chain.tip.hash,
        sorted((str(outpoint), coin.height) for outpoint, coin in chain._coins.items()),
        sorted(map(str, chain._entries)),
        sorted(map(str, chain.mempool.entries)),
        sorted((str(outpoint), str(by)) for outpoint, (by, _) in chain.index.spenders.items()),
        sorted(
            (script.hex(), tuple(entry.confirmed), tuple(entry.mempool), tuple(sorted(map(str, entry.funded))))
            for script, entry in chain.index.scripts.items()
        ),
    )
