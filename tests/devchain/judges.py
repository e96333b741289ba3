"""Who says whether a transaction is taken: our chain, and beside it a real node where there is one.

What a case expects is what Elements 28 answered, so the cases hold our chain to a node's verdicts where no node is,
too. ``ELEMENTSD`` asks the node again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from amp0.devchain.blocks import OP_TRUE, POLICY_ASSET
from amp0.elements import wally
from amp0.elements.confidential import DomainEntry, Opening, PlainOutput, blind, issued_asset, unblind
from amp0.elements.hashes import Txid
from amp0.elements.issuance import Issued, issue
from amp0.elements.script import hash160, p2wpkh
from amp0.elements.transaction import MAX_SATOSHI, OutPoint, Transaction, TxIn, TxOut
from amp0.errors import BroadcastRejected, InvalidTransaction
from tests.devchain.kit import BLINDING_KEY, BLINDING_PUBKEY, PUBKEY, START, Random, free_coin, new_chain
from tests.devchain.node import Node, needs_node, running_node

KINDS = ("chain", pytest.param("node", marks=needs_node))
Coin = tuple[OutPoint, TxOut]
KEYED = p2wpkh(hash160(PUBKEY))
VALUE, FEE = 1_000_000, 1_000
"""Satoshi of each coin, and the fee that is paid where fees do not matter."""
FEE_OUTPUT = PlainOutput(b"", POLICY_ASSET, FEE)
NONCES = (b"\x28" * 32, b"\x29" * 32)


class Judges:
    """A chain with coins that anybody may spend (and ten of ``KEY``), and perhaps a node that has its blocks."""

    def __init__(self, node: Node | None) -> None:
        self.chain, _ = new_chain()
        self.node = node
        self.random = Random(b"judges")
        self._known = 0
        self._plain: list[Coin] = []
        first = free_coin(self.chain)
        outputs = [TxOut.explicit(OP_TRUE, POLICY_ASSET, VALUE)] * 100
        outputs += [TxOut.explicit(KEYED, POLICY_ASSET, VALUE)] * 10
        left = (first[1].explicit_value or 0) - 110 * VALUE - 5_000
        outputs += [TxOut.explicit(OP_TRUE, POLICY_ASSET, left), TxOut.fee(POLICY_ASSET, 5_000)]
        coins = self._confirmed(Transaction.of(2, 0, [TxIn(first[0])], outputs))
        self._plain, self.keyed = coins[:100], coins[100:110]
        self.keyless = self.plain()
        """A coin for cases in which nothing enters."""
        self.hidden: list[Coin] = []
        self.hidden = self._confirmed(
            self.build([self.plain()], [to_all(100_000)] * 9 + [to_all(100_000 - FEE), FEE_OUTPUT])
        )[:10]

    def plain(self) -> Coin:
        """A coin in the open that nobody was given yet."""
        return self._plain.pop()

    def _confirmed(self, tx: Transaction) -> list[Coin]:
        self.chain.submit(tx)
        self.mine()
        return coins_of(tx)

    def mine(self, blocks: int = 1) -> None:
        """Make blocks, and show them to the node."""
        self.chain.mine(blocks)
        while self.node is not None and self._known < self.chain.height:
            self._known += 1
            block = self.chain.block_at(self._known)
            assert block is not None
            assert self.node.call("submitblock", block.block.serialize().hex()) is None

    # -- verdicts ----------------------------------------------------------------------------

    def ask(self, name: str, tx: Transaction, expected: bool, *, ours: bool | None = None) -> None:
        """Would it be taken? ``ours`` is our chain's answer where it is stricter than a node on purpose."""
        verdict = self._ours(tx, self.chain.check)
        assert (verdict is None) == (expected if ours is None else ours), (name, verdict)
        if self.node is None:
            return
        try:
            (theirs,) = self.node.call("testmempoolaccept", [str(tx)], 0)
        except AssertionError as error:
            # One that it cannot read at all.
            theirs = error.args[0] | {"allowed": False}
        assert theirs["allowed"] is expected, (name, theirs)
        assert expected or theirs.get("code", -22) == -22, (name, theirs)

    def enter(self, name: str, tx: Transaction, expected: bool) -> Transaction:
        """Send it, and it waits from then on if it is taken."""
        verdict = self._ours(tx, self.chain.submit)
        assert (verdict is None) == expected, (name, verdict)
        if self.node is not None:
            try:
                self.node.call("sendrawtransaction", str(tx), 0, MAX_SATOSHI // 10**8)
                theirs = None
            except AssertionError as error:
                theirs = error.args[0]
            assert (theirs is None) == expected, (name, theirs)
        return tx

    @staticmethod
    def _ours(tx: Transaction, decide: Callable[[Transaction], Any]) -> str | None:
        try:
            decide(Transaction(str(tx)))
        except BroadcastRejected as refused:
            return refused.reason
        except InvalidTransaction as error:
            return str(error)
        return None

    # -- transactions ------------------------------------------------------------------------

    def build(
        self,
        coins: Sequence[Coin],
        outputs: Sequence[PlainOutput],
        issues: Mapping[int, Issued] | None = None,
        sequence: int = 0xFFFFFFFF,
    ) -> Transaction:
        """Spend coins of ours, without signatures; ``issues`` by input."""
        domain: list[DomainEntry] = []
        vin: list[TxIn] = []
        for number, (outpoint, txout) in enumerate(coins):
            issued = (issues or {}).get(number)
            domain.append(DomainEntry.of_output(txout, unblind(txout, BLINDING_KEY)))
            domain += [] if issued is None else issued.domain()
            fields = None if issued is None else issued.issuance
            vin.append(TxIn(outpoint, sequence_number=sequence, issuance=fields))
        made = blind(domain, outputs, self.random, for_pset=False)
        return Transaction.of(2, 0, vin, [one.txout for one in made])

    def issuing(self, coin: Coin, satoshi: int, tokens: int, *, hidden: bool, shown: bool = False) -> Transaction:
        """Issue to whoever comes, one output for each token; ``shown`` leaves the outputs in the open."""
        fields = issue(coin[0], satoshi, tokens, b"\x05" * 32, nonces=NONCES if hidden else None, random=self.random)
        asset, token = issued_asset(TxIn(coin[0], issuance=fields.issuance))
        outputs = [to_all(satoshi, asset, shown=shown)] if satoshi else []
        outputs += [to_all(1, token, shown=shown)] * tokens
        return self.build([coin], [*outputs, to_all(VALUE - FEE), FEE_OUTPUT], {0: fields})

    def proven(self, asset: bytes, satoshi: int, domain: Sequence[DomainEntry], **how: Any) -> TxOut:
        """A hidden output by hand: ``abf``, ``vbf``, ``script``, and ``minimum`` of its range proof."""
        script, abf = how.get("script", OP_TRUE), how.get("abf") or self.random(32)
        generator = wally.asset_generator(asset, abf)
        commitment = wally.value_commitment(satoshi, how["vbf"], generator)
        least = how.get("minimum", 1)
        proof = wally.rangeproof(
            satoshi, self.random(32), asset, abf, how["vbf"], commitment, script, generator, minimum=least
        )
        tags = b"".join(entry.opening.asset for entry in domain)
        factors = b"".join(entry.opening.abf for entry in domain)
        generators = b"".join(
            wally.asset_generator(entry.generator[1:], None) if entry.generator[0] == 1 else entry.generator
            for entry in domain
        )
        surjection = None
        while surjection is None:
            surjection = wally.surjectionproof(asset, abf, generator, self.random(32), tags, factors, generators)
        return TxOut(script, generator, commitment, PUBKEY, surjection, proof)

    def balanced(
        self, domain: Sequence[DomainEntry], amounts: Sequence[tuple[bytes, int]], minimum: int = 1
    ) -> list[TxOut]:
        """Hidden outputs that balance ``domain`` and a fee; ``minimum`` is of the first one's range proof."""
        factors = [self.random(32) for _ in amounts]
        values = [self.random(32) for _ in amounts[1:]]
        spent = [entry.opening for entry in domain]
        last = wally.final_vbf(
            [one.satoshi for one in spent] + [satoshi for _, satoshi in amounts],
            len(spent),
            b"".join([one.abf for one in spent] + factors),
            b"".join([one.vbf for one in spent] + values),
        )
        return [
            self.proven(asset, satoshi, domain, abf=abf, vbf=vbf, minimum=1 if number else minimum)
            for number, ((asset, satoshi), abf, vbf) in enumerate(zip(amounts, factors, [*values, last], strict=True))
        ]


@contextmanager
def judges_of(kind: str, folder: Path) -> Iterator[Judges]:
    """Our chain alone, or with a node on ``folder`` whose clock stands where the chain's does."""
    if kind == "chain":
        yield Judges(None)
    else:
        with running_node(folder, f"-mocktime={START}") as node:
            yield Judges(node)


def to_all(satoshi: int, asset: bytes = POLICY_ASSET, *, shown: bool = False) -> PlainOutput:
    """An output that anybody may spend, hidden unless ``shown``."""
    return PlainOutput(OP_TRUE, asset, satoshi, None if shown else BLINDING_PUBKEY)


def coins_of(tx: Transaction) -> list[Coin]:
    """Its outputs as coins."""
    txid: Txid = tx.txid()
    return [(OutPoint(txid, vout), txout) for vout, txout in enumerate(tx.vout)]


def paying(coin: Coin, *outputs: TxOut, version: int = 2, locktime: int = 0, sequence: int = 0xFFFFFFFF) -> Transaction:
    """Spend a coin into these outputs, a fee, and what is left, all in the open."""
    left = (
        (coin[1].explicit_value or 0)
        - FEE
        - sum(txout.explicit_value or 0 for txout in outputs if txout.explicit_asset == POLICY_ASSET)
    )
    rest = [TxOut.explicit(OP_TRUE, POLICY_ASSET, left), TxOut.fee(POLICY_ASSET, FEE)]
    return Transaction.of(version, locktime, [TxIn(coin[0], sequence_number=sequence)], [*outputs, *rest])


def with_output(tx: Transaction, index: int, **changes: Any) -> Transaction:
    """A copy with fields of one output changed."""
    vout = list(tx.vout)
    vout[index] = replace(vout[index], **changes)
    return Transaction.of(tx.version, tx.locktime, tx.vin, vout)


def with_input(tx: Transaction, index: int, **changes: Any) -> Transaction:
    """A copy with fields of one input changed."""
    vin = list(tx.vin)
    vin[index] = replace(vin[index], **changes)
    return Transaction.of(tx.version, tx.locktime, vin, tx.vout)


def with_issuance(tx: Transaction, index: int = 0, **changes: Any) -> Transaction:
    """A copy with issuance fields of one input changed."""
    fields = tx.vin[index].issuance
    assert fields is not None
    return with_input(tx, index, issuance=replace(fields, **changes))


def opening(coin: Coin) -> Opening:
    """The opening of a coin of ours."""
    return unblind(coin[1], BLINDING_KEY)
