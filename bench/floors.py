"""What the primitives cost, and what whole tasks therefore must cost.

The published figures were measured with wallycore 1.5.6, lwk 0.19.0 and CPython 3.11 on 2 virtual cores (AMD EPYC),
otherwise idle: *floor* is the fastest sample of three runs, *median* the median of three runs' medians. The same
primitives are measured here in the same run, so that a slower machine, or one that is busy, is compared with itself.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from amp0.elements import wally
from amp0.elements.confidential import BlindedOutput, DomainEntry, Opening, PlainOutput, blind
from amp0.elements.keys import ExtendedKey, Slip77
from amp0.elements.script import multisig_2of2, p2sh_p2wsh, p2sh_p2wsh_script_sig
from amp0.elements.sighash import SIGHASH_ALL, SighashCache
from amp0.elements.transaction import OutPoint, Transaction, TxIn, TxOut
from bench.samples import Samples, timed

ORIGIN = "limits of the primitives: wallycore 1.5.6, CPython 3.11, 2 virtual cores (AMD EPYC), otherwise idle"


@dataclass(frozen=True)
class Published:
    """One line of the published figures, in milliseconds."""

    median: float
    floor: float


PUBLISHED = {
    "BIP32 public child": Published(0.0515, 0.0407),
    "blinding public key of a script (SLIP77)": Published(0.0310, 0.0229),
    "scrypt 2^14,8,8": Published(291.2482, 281.4187),
    "scrypt 2^14,8,8 (hashlib)": Published(472.0961, 382.6638),
    "asset generator": Published(0.0597, 0.0586),
    "value commitment": Published(0.0773, 0.0696),
    "unblind with known nonce, 52 bit": Published(7.4050, 5.4392),
    "range proof create, 52 bit": Published(7.0155, 6.0917),
    "range proof verify, 52 bit": Published(5.3922, 4.6402),
    "explicit value proof create": Published(0.1628, 0.1061),
    "explicit asset proof create": Published(0.0754, 0.0739),
    "surjection proof create, 1 input": Published(0.0409, 0.0404),
    "surjection proof verify, 1 input": Published(0.0487, 0.0479),
    "ECDSA sign, low R": Published(0.0991, 0.0642),
    "ECDSA verify": Published(0.0471, 0.0468),
    "tx parse, 1-in 2-out CT": Published(0.0164, 0.0160),
    "signature hash, 1-in 2-out CT": Published(0.0088, 0.0056),
}
"""The primitives that the rows are made of. Parse and signature hash were published for 2-in 3-out."""

TASKS: dict[str, tuple[float, dict[str, float]]] = {
    "derive 1,000 AMP0 addresses": (
        110.8,
        {"BIP32 public child": 2_000, "blinding public key of a script (SLIP77)": 1_000},
    ),
    "scan, 1,000 transactions, one own output each": (5498.1, {"unblind with known nonce, 52 bit": 1_000}),
    "build PSET, 1-in 2-out, with value and asset proofs": (
        12.9,
        {
            "range proof create, 52 bit": 2,
            "surjection proof create, 1 input": 2,
            "asset generator": 2,
            "value commitment": 2,
            "explicit value proof create": 2,
            "explicit asset proof create": 2,
        },
    ),
    "cosign 1-in 2-out: unblind both by nonce, hash, sign": (
        11.0,
        {
            "unblind with known nonce, 52 bit": 2,
            "tx parse, 1-in 2-out CT": 1,
            "signature hash, 1-in 2-out CT": 1,
            "ECDSA sign, low R": 1,
        },
    ),
    "validate 1-in 2-out CT": (
        9.5,
        {
            "range proof verify, 52 bit": 2,
            "surjection proof verify, 1 input": 2,
            "signature hash, 1-in 2-out CT": 2,
            "ECDSA verify": 2,
        },
    ),
    "distribution to 1,000 holders: proofs made, and verified by the node that takes them": (
        11278.9,
        {
            "range proof create, 52 bit": 1_030,
            "surjection proof create, 1 input": 1_030,
            "asset generator": 1_030,
            "value commitment": 1_030,
            "range proof verify, 52 bit": 1_030,
            "surjection proof verify, 1 input": 1_030,
        },
    ),
    "scrypt of a watch-only login": (281.4, {"scrypt 2^14,8,8": 1}),
}
"""Task → (published limit in ms, one thread; the primitives it consists of, with their counts)."""


@dataclass(frozen=True)
class Floors:
    """The primitives as measured in this run."""

    measured: dict[str, Samples]

    def sample(self, rounds: int) -> None:
        """Take more samples: before, between and after the rows, so that a busy moment spoils no floor."""
        first = not self.measured
        for name, work in _primitives().items():
            work()
            once = timed(work)
            slow = once > 50
            if slow and not first:
                continue
            batch = 1 if once > 1 else min(200, max(1, int(10 / max(once, 0.001))))
            samples = self.measured.setdefault(name, Samples())
            for _ in range(5 if slow else rounds):
                samples.add(timed(_repeat(work, batch)) / batch)

    def task(self, name: str) -> float:
        """Milliseconds of a task on one thread of this machine, now: the sum of its primitives' fastest samples."""
        return sum(self.measured[part].fastest * count for part, count in TASKS[name][1].items())

    def published(self, name: str) -> float:
        """The published limit of a task, in milliseconds."""
        return TASKS[name][0]

    def pace(self) -> float:
        """How many times as long a range proof takes here as where the figures come from (fastest samples)."""
        name = "unblind with known nonce, 52 bit"
        return self.measured[name].fastest / PUBLISHED[name].floor

    def to_json(self) -> dict[str, Any]:
        return {
            "origin": ORIGIN,
            "primitives": {
                name: {"published": {"median": PUBLISHED[name].median, "floor": PUBLISHED[name].floor}}
                | samples.to_json()
                for name, samples in self.measured.items()
            },
            "tasks": {
                name: {"published": TASKS[name][0], "here": self.task(name), "parts": TASKS[name][1]} for name in TASKS
            },
        }


def measure(rounds: int) -> Floors:
    """Time every primitive; a sample of the short ones is the mean of a batch."""
    floors = Floors({})
    floors.sample(rounds)
    return floors


def _repeat(work: Callable[[], object], times: int) -> Callable[[], None]:
    def run() -> None:
        for _ in range(times):
            work()

    return run


@dataclass(frozen=True)
class _Spend:
    """A real 1-in 2-out confidential transaction, and what its making needed."""

    tx: Transaction
    source: TxOut
    spent: Opening
    made: list[BlindedOutput]
    script: bytes
    key: bytes


def _spend() -> _Spend:
    asset, key = b"\xaa" * 32, b"\x11" * 32
    pubkey = wally.public_key(key)
    witness_script = multisig_2of2(pubkey, wally.public_key(b"\x12" * 32))
    script = p2sh_p2wsh(witness_script)
    origin = DomainEntry.of_output(TxOut.explicit(script, asset, 100_000), Opening(asset, 100_000))
    (coin,) = blind([origin], [PlainOutput(script, asset, 100_000, pubkey)])
    outputs = [PlainOutput(script, asset, 60_000, pubkey), PlainOutput(script, asset, 39_900, pubkey)]
    made = blind(
        [DomainEntry.of_output(coin.txout, coin.opening)], [*outputs, PlainOutput(b"", asset, 100)], secrets.token_bytes
    )
    signature = wally.ecdsa_sign(key, b"\x01" * 32) + bytes((SIGHASH_ALL,))
    txin = TxIn(
        OutPoint(bytes(32), 0),
        script_sig=p2sh_p2wsh_script_sig(witness_script),
        witness=(b"", signature, signature, witness_script),
    )
    tx = Transaction.of(2, 0, [txin], [output.txout for output in made])
    return _Spend(tx, coin.txout, coin.opening, made, witness_script, key)


def _primitives() -> dict[str, Callable[[], object]]:
    spend = _spend()
    coin, output = spend.source, spend.made[0]
    txout, opening = output.txout, output.opening
    raw, digest = spend.tx.to_bytes(), hashlib.sha256(b"digest").digest()
    pubkey, signature = wally.public_key(spend.key), wally.ecdsa_sign(spend.key, digest)
    parent = ExtendedKey.from_seed(b"\x01" * 64, main=False).public()
    slip77 = Slip77.from_seed(b"\x01" * 64)
    tag = (opening.asset, spend.spent.abf, coin.asset_field)

    secret, cost = b"username and password", {"n": 2**14, "r": 8, "p": 8}
    generator = wally.generator_from_field(txout.asset_field)
    commitment = wally.commitment_from_field(txout.value_field, generator)
    domain = [wally.generator_from_field(coin.asset_field)]

    return {
        "BIP32 public child": lambda: parent.child_public_key(7),
        "blinding public key of a script (SLIP77)": lambda: wally.public_key(slip77.blinding_key(txout.script)),
        "scrypt 2^14,8,8": lambda: wally.scrypt(secret, b"_wo_salt", length=64, **cost),
        "scrypt 2^14,8,8 (hashlib)": lambda: hashlib.scrypt(
            secret, salt=b"_wo_salt", dklen=64, maxmem=2**26, **cost
        ),
        "asset generator": lambda: wally.asset_generator(opening.asset, opening.abf),
        "value commitment": lambda: wally.value_commitment(opening.satoshi, opening.vbf, txout.asset_field),
        "unblind with known nonce, 52 bit": lambda: wally.unblind_with_nonce(
            output.nonce, txout.range_proof, txout.value_field, txout.script, txout.asset_field
        ),
        "range proof create, 52 bit": lambda: wally.rangeproof(
            opening.satoshi, output.nonce, opening.asset, opening.abf, opening.vbf, txout.value_field, txout.script,
            txout.asset_field, minimum=1, bits=52,
        ),
        "range proof verify, 52 bit": lambda: wally.rangeproof_verify(
            txout.range_proof, commitment, txout.script, generator
        ),
        "explicit value proof create": lambda: wally.explicit_value_proof(
            opening.satoshi, digest, opening.vbf, txout.value_field, txout.asset_field
        ),
        "explicit asset proof create": lambda: wally.explicit_asset_proof(
            opening.asset, opening.abf, txout.asset_field
        ),
        "surjection proof create, 1 input": lambda: wally.surjectionproof(
            opening.asset, opening.abf, txout.asset_field, digest, *tag
        ),
        "surjection proof verify, 1 input": lambda: wally.surjectionproof_verify(
            txout.surjection_proof, domain, generator
        ),
        "ECDSA sign, low R": lambda: wally.ecdsa_sign(spend.key, secrets.token_bytes(32)),
        "ECDSA verify": lambda: wally.ecdsa_verify(pubkey, digest, signature),
        "tx parse, 1-in 2-out CT": lambda: Transaction.from_bytes(raw),
        "signature hash, 1-in 2-out CT": lambda: SighashCache(spend.tx).segwit_v0(
            0, spend.script, coin.value_field, SIGHASH_ALL
        ),
    }  # fmt: skip
