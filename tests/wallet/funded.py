"""A wollet with coins for the tests of builder and signer: real keys and commitments, no chain.

The recorded wallet of the vectors is loaded into the real :class:`Wollet`. Where many coins are
needed, :class:`FakeWollet` holds coins whose commitments are real and whose range proofs are left
out: nothing that builds a transaction looks at them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from amp0.chain.backend import UNCONFIRMED
from amp0.elements import wally
from amp0.elements.confidential import Opening
from amp0.elements.descriptor import Chain, WolletDescriptor
from amp0.elements.hashes import asset_id_to_bytes
from amp0.elements.transaction import OutPoint, Transaction, TxOut
from amp0.network import Network
from amp0.wallet.history import Coin, WalletTxOut
from amp0.wallet.signer import Signer
from amp0.wallet.wollet import Wollet
from tests.vectors import load

NETWORK = Network.regtest_default()
LBTC = NETWORK.policy_asset()
SPENDS: dict[str, Any] = load("lwk-0.19.json")["spends"]
CASES: dict[str, dict[str, Any]] = {case["name"]: case for case in SPENDS["cases"]}
ASSET: str = SPENDS["asset"]
DESTINATION: str = SPENDS["destination"]
PLAIN = "ert1q6rz28mcfaxtmd6v789l9rrlrusdprr9p69dllk"


@cache
def signer() -> Signer:
    return Signer(SPENDS["mnemonic"], NETWORK)


@cache
def amp0_descriptor() -> WolletDescriptor:
    return WolletDescriptor(SPENDS["descriptor"])


def recorded_wollet() -> Wollet:
    """The AMP0 account of the vectors: 100,000 and 50,000 sat of L-BTC, 7,000 of an asset."""
    wollet = Wollet(NETWORK, amp0_descriptor())
    for funding in SPENDS["funding"]:
        wollet.apply_transaction(Transaction(funding["raw"]))
    return wollet


def factor(*parts: object) -> bytes:
    """A scalar that is always the same for the same words."""
    return hashlib.sha256(repr(parts).encode()).digest()


def coin(descriptor: WolletDescriptor, index: int, asset: str, satoshi: int, n: int) -> Coin:
    """A blinded coin on one of the descriptor's external scripts, range proof left out."""
    asset_bytes = asset_id_to_bytes(asset)
    opening = Opening(asset_bytes, satoshi, factor("abf", n), factor("vbf", n))
    generator = opening.generator()
    commitment = wally.value_commitment(satoshi, opening.vbf, generator)
    script = descriptor.script_bytes(index)
    nonce = wally.public_key(factor("ephemeral", n))
    txout = TxOut(script, generator, commitment, nonce)
    return Coin(OutPoint(factor("txid", n), n % 7), txout, opening, 0, index)


@dataclass
class FakeWollet:
    """What the builder asks of a wollet, over coins given by hand."""

    coins: Sequence[Coin]
    _descriptor: WolletDescriptor
    network: Network = NETWORK

    def descriptor(self) -> WolletDescriptor:
        return self._descriptor

    def is_amp0(self) -> bool:
        return self._descriptor.is_amp0()

    def max_weight_to_satisfy(self) -> int:
        return self._descriptor.max_weight_to_satisfy()

    def utxos(self) -> list[WalletTxOut]:
        return [WalletTxOut(self.network, c, UNCONFIRMED) for c in self.coins]

    def change_index(self, skip: int = 0) -> int:
        return 20 - skip


def fake_wollet(*amounts: int | tuple[str, int], descriptor: WolletDescriptor | None = None) -> Any:
    """A wollet with these coins: satoshi of L-BTC, or (asset id, satoshi)."""
    descriptor = descriptor or amp0_descriptor()
    coins = []
    for n, amount in enumerate(amounts):
        asset, satoshi = (LBTC, amount) if isinstance(amount, int) else amount
        coins.append(coin(descriptor, n % 20 + 1, asset, satoshi, n))
    return FakeWollet(coins, descriptor)


def change_chain(descriptor: WolletDescriptor) -> Chain:
    return Chain.EXTERNAL if descriptor.is_amp0() else Chain.INTERNAL
