"""Confidential transactions: blinding, opening, and the amount rule of consensus.

The whole cost of a Liquid transaction is its range proofs: about 6 ms to make one, 5 ms to open
or verify one, against microseconds for everything else. Hence three habits here: range proofs
run through the route that releases the interpreter lock and, when there are several, on all
cores; opening one (a *rewind*) verifies it as well, so nothing does both; and everything cheap is
checked first.
"""

from __future__ import annotations

import functools
import os
import secrets
import threading
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import starmap
from typing import TypeVar

from amp0.elements import wally
from amp0.elements.hashes import asset_id_to_str
from amp0.elements.script import is_unspendable
from amp0.elements.transaction import (
    MAX_SATOSHI,
    Issuance,
    Transaction,
    TxIn,
    TxOut,
    explicit_asset_field,
    explicit_value_field,
    value_of_field,
)
from amp0.errors import InvalidAmounts, InvalidInput, UnblindError

T = TypeVar("T")
ZERO32 = bytes(32)
RANGEPROOF_BITS = 52
"""Bits of every range proof a Liquid wallet makes; larger amounts get the bits they need."""
MAX_INPUTS = wally.MAX_SURJECTION_INPUTS
"""Inputs and issuances of one transaction: the reach of a surjection proof."""
_SURJECTION_TRIES = 200


# -- worker threads ---------------------------------------------------------------------------

_pool_lock = threading.Lock()
_pool: ThreadPoolExecutor | None = None


def proof_pool() -> ThreadPoolExecutor:
    """The process's threads for proof work: one per core, started at first use."""
    global _pool
    if _pool is None:
        with _pool_lock:
            if _pool is None:
                _pool = ThreadPoolExecutor(os.cpu_count() or 1, thread_name_prefix="amp0-proofs")
    return _pool


def _forget_pool() -> None:
    global _pool
    _pool = None


# Threads do not survive a fork; the child starts its own.
os.register_at_fork(after_in_child=_forget_pool) if hasattr(os, "register_at_fork") else None


def run_parallel(jobs: Sequence[Callable[[], T]]) -> list[T]:
    """Run independent proof jobs on all cores, results in order; the first failure is raised.

    The calling thread works too, so that a pool that is busy elsewhere cannot stall it.
    """
    if len(jobs) < 2:
        return [job() for job in jobs]
    pool = proof_pool()
    futures = [pool.submit(job) for job in jobs[1:]]
    try:
        first = jobs[0]()
        results = [first]
        for job, future in zip(jobs[1:], futures, strict=True):
            results.append(job() if future.cancel() else future.result())
        return results
    finally:
        for future in futures:
            future.cancel()


# -- openings ---------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Opening:
    """What a confidential output hides.

    ``asset`` 32 bytes in internal order, ``satoshi`` the amount, ``abf`` and ``vbf`` the asset
    and value blinding factors (32 bytes each; zeros for an explicit output).
    """

    asset: bytes
    satoshi: int
    abf: bytes = ZERO32
    vbf: bytes = ZERO32

    def generator(self) -> bytes:
        """The asset field of an output with this opening (33 bytes)."""
        if self.abf == ZERO32:
            return explicit_asset_field(self.asset)
        return wally.asset_generator(self.asset, self.abf)

    @property
    def is_explicit(self) -> bool:
        """Whether nothing is hidden."""
        return self.abf == ZERO32 and self.vbf == ZERO32

    def __repr__(self) -> str:
        return f"Opening(asset={asset_id_to_str(self.asset)}, satoshi=<hidden>)"


def blinding_nonce(pubkey: bytes, private_key: bytes) -> bytes:
    """The 32-byte nonce that opens one output: of its nonce field and a private blinding key.

    What AMP0 calls a blinding nonce. The sender computes the same value from the ephemeral key
    and the recipient's public blinding key; it reveals that output and nothing else.
    """
    return wally.ecdh_nonce_hash(pubkey, private_key)


def explicit_opening(txout: TxOut) -> Opening:
    """The opening of an output that hides nothing. Raises :class:`UnblindError`."""
    asset, satoshi = txout.explicit_asset, txout.explicit_value
    if asset is None or satoshi is None:
        raise UnblindError("the output is blinded")
    return Opening(asset, satoshi)


def unblind_with_nonce(txout: TxOut, nonce: bytes) -> Opening:
    """Open a blinded output with its blinding nonce, and prove the opening.

    The range proof is rewound (which verifies it) and both commitments are recomputed from the
    result. Raises :class:`UnblindError` when anything does not fit.
    """
    if not txout.is_blinded:
        raise UnblindError("the output is not fully blinded")
    if len(nonce) != 32:
        raise UnblindError("a blinding nonce has 32 bytes")
    satoshi, asset, abf, vbf = wally.unblind_with_nonce(
        nonce, txout.range_proof, txout.value_field, txout.script, txout.asset_field
    )
    opening = Opening(asset, satoshi, abf, vbf)
    if not opens(txout, opening):
        raise UnblindError("the opening does not reproduce the output's commitments")
    return opening


def unblind(txout: TxOut, blinding_key: bytes) -> Opening:
    """Open an output with its private blinding key; an explicit output opens by itself.

    Raises :class:`UnblindError`. A wrong key costs as much as a right one: match scripts first.
    """
    if not txout.is_partially_blinded():
        return explicit_opening(txout)
    if not wally.is_public_key(txout.nonce_field):
        raise UnblindError("the output has no nonce to open it with")
    return unblind_with_nonce(txout, blinding_nonce(txout.nonce_field, blinding_key))


def opens(txout: TxOut, opening: Opening) -> bool:
    """Whether ``opening`` reproduces the output's commitments, with real blinding factors.

    Zero factors are refused: an output that claims to be blinded must be (Elements PR 93).
    """
    if opening.abf == ZERO32 or opening.vbf == ZERO32:
        return False
    try:
        generator = wally.asset_generator(opening.asset, opening.abf)
        if generator != txout.asset_field:
            return False
        return wally.value_commitment(opening.satoshi, opening.vbf, generator) == txout.value_field
    except InvalidAmounts:
        return False


def fits(txout: TxOut, opening: Opening) -> bool:
    """Whether ``opening`` is an output's, also where the output hides only one of its two fields, or none.

    The factor of a field that is not hidden is zero, and no other one fits.
    """
    if opening.abf != ZERO32 and opening.vbf != ZERO32:
        return opens(txout, opening)
    try:
        if opening.generator() != txout.asset_field:
            return False
        if opening.vbf == ZERO32:
            return txout.explicit_value == opening.satoshi
        generator = wally.asset_generator(opening.asset, opening.abf)
        return wally.value_commitment(opening.satoshi, opening.vbf, generator) == txout.value_field
    except InvalidAmounts:
        return False


def unblind_many(work: Iterable[tuple[TxOut, bytes]]) -> list[Opening | UnblindError]:
    """Open many outputs (each with its private blinding key) on all cores, results in order."""

    def one(txout: TxOut, key: bytes) -> Opening | UnblindError:
        try:
            return unblind(txout, key)
        except UnblindError as error:
            return error

    items = list(work)
    if len(items) < 2:
        return list(starmap(one, items))
    return list(proof_pool().map(one, *zip(*items, strict=True)))


# -- blinding ---------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class DomainEntry:
    """What a new output's asset may come from: a spent output, or an issued asset or token.

    ``generator`` is the asset field (33 bytes) of a spent output; an issued asset or token has
    the unblinded one, a zero ``abf``, and a ``vbf`` only when its amount is blinded.
    """

    generator: bytes
    opening: Opening

    @classmethod
    def of_output(cls, txout: TxOut, opening: Opening) -> DomainEntry:
        """The entry of a spent output."""
        return cls(txout.asset_field, opening)


@dataclass(frozen=True, slots=True)
class PlainOutput:
    """An output to be made: script, asset (32 bytes, internal order), satoshi, and the recipient's
    public blinding key (33 bytes), or ``None`` for an explicit output."""

    script: bytes
    asset: bytes
    satoshi: int
    blinding_pubkey: bytes | None = None


@dataclass(frozen=True, slots=True)
class BlindedOutput:
    """A finished output and its maker's knowledge of it.

    ``nonce`` is the blinding nonce (``b""`` for an explicit output), ``value_proof`` and
    ``asset_proof`` the small explicit proofs that a PSET carries, if they were made.
    """

    txout: TxOut
    opening: Opening
    nonce: bytes = b""
    value_proof: bytes = b""
    asset_proof: bytes = b""

    def __repr__(self) -> str:
        return f"BlindedOutput(script={self.txout.script.hex()}, blinded={bool(self.nonce)})"


def _unblinded_tag(field: bytes) -> bytes:
    """A domain generator as wally wants it: explicit fields become the unblinded generator."""
    return wally.asset_generator(field[1:], None) if field[:1] == b"\x01" else field


def _random_scalar(random: Callable[[int], bytes]) -> bytes:
    for _ in range(64):
        candidate = random(32)
        if wally.is_private_key(candidate):
            return candidate
    raise InvalidInput("the random source gives no usable numbers; nothing was blinded")


def _range_bits(satoshi: int) -> int:
    return max(RANGEPROOF_BITS, satoshi.bit_length())


def blind(
    inputs: Sequence[DomainEntry],
    outputs: Sequence[PlainOutput],
    random: Callable[[int], bytes] = secrets.token_bytes,
    *,
    for_pset: bool = True,
) -> list[BlindedOutput]:
    """Make the outputs of a transaction, blinding those with a blinding key.

    ``inputs`` is the surjection domain in consensus order: for each input the spent output,
    then, if it issues, the issued asset, then the token. ``outputs`` includes the fee. Amounts
    must balance per asset; they are checked before anything is made. There is no fallback: any
    failure raises and no output comes back (:class:`InvalidAmounts`, :class:`InvalidInput`).
    Fresh blinding factors and ephemeral keys are drawn from ``random`` for every call. Without ``for_pset`` the small
    proofs that only a PSET carries are left out.
    """
    if len(inputs) > MAX_INPUTS:
        raise InvalidAmounts(f"{len(inputs)} inputs; at most {MAX_INPUTS} can be proven in one transaction")
    _check_balance(inputs, outputs)
    to_blind = [i for i, output in enumerate(outputs) if output.blinding_pubkey is not None]
    if not to_blind:
        if any(not entry.opening.is_explicit for entry in inputs):
            raise InvalidAmounts(
                "a transaction with a blinded input needs at least one blinded output; "
                "send the change, or a part of it, to a confidential address"
            )
        return [_explicit(output) for output in outputs]
    factors = _draw_factors(inputs, outputs, to_blind, random)
    tags = b"".join(entry.opening.asset for entry in inputs)
    abfs = b"".join(entry.opening.abf for entry in inputs)
    generators = b"".join(_unblinded_tag(entry.generator) for entry in inputs)
    jobs: list[Callable[[], BlindedOutput]] = []
    for i in to_blind:
        abf, vbf = factors[i]
        jobs.append(
            functools.partial(
                _blind_one, outputs[i], abf, vbf, _random_scalar(random), tags, abfs, generators, random, for_pset
            )
        )
    blinded = dict(zip(to_blind, run_parallel(jobs), strict=True))
    return [blinded[i] if i in blinded else _explicit(output) for i, output in enumerate(outputs)]


def _explicit(output: PlainOutput) -> BlindedOutput:
    txout = TxOut.explicit(output.script, output.asset, output.satoshi)
    return BlindedOutput(txout, Opening(output.asset, output.satoshi))


def _check_balance(inputs: Sequence[DomainEntry], outputs: Sequence[PlainOutput]) -> None:
    totals: dict[bytes, int] = {}
    for entry in inputs:
        totals[entry.opening.asset] = totals.get(entry.opening.asset, 0) + entry.opening.satoshi
    for i, output in enumerate(outputs):
        if not 0 <= output.satoshi <= MAX_SATOSHI:
            raise InvalidAmounts(f"output {i}: an amount lies between 1 and {MAX_SATOSHI} satoshi")
        if output.satoshi == 0 and not is_unspendable(output.script):
            raise InvalidAmounts(f"output {i}: only an unspendable output may hold nothing")
        if output.blinding_pubkey is not None and not wally.is_public_key(output.blinding_pubkey):
            raise InvalidInput(f"output {i}: the blinding key is not a public key")
        totals[output.asset] = totals.get(output.asset, 0) - output.satoshi
    for asset, difference in totals.items():
        if difference:
            raise InvalidAmounts(f"inputs and outputs of asset {asset_id_to_str(asset)} differ by {difference} satoshi")


def _draw_factors(
    inputs: Sequence[DomainEntry],
    outputs: Sequence[PlainOutput],
    to_blind: Sequence[int],
    random: Callable[[int], bytes],
) -> dict[int, tuple[bytes, bytes]]:
    """(abf, vbf) of each output to blind; the last vbf makes the whole balance."""
    values = [entry.opening.satoshi for entry in inputs]
    abfs = [entry.opening.abf for entry in inputs]
    vbfs = [entry.opening.vbf for entry in inputs]
    factors: dict[int, tuple[bytes, bytes]] = {}
    last = to_blind[-1]
    for i in to_blind:
        abf = _random_scalar(random)
        values.append(outputs[i].satoshi)
        abfs.append(abf)
        if i != last:
            vbf = _random_scalar(random)
            vbfs.append(vbf)
        else:
            vbf = wally.final_vbf(values, len(inputs), b"".join(abfs), b"".join(vbfs))
            if not wally.is_private_key(vbf):
                raise InvalidAmounts("the last blinding factor came out as zero; build again")
        factors[i] = (abf, vbf)
    return factors


def _blind_one(
    output: PlainOutput,
    abf: bytes,
    vbf: bytes,
    ephemeral: bytes,
    tags: bytes,
    abfs: bytes,
    generators: bytes,
    random: Callable[[int], bytes],
    for_pset: bool,
) -> BlindedOutput:
    assert output.blinding_pubkey is not None
    generator = wally.asset_generator(output.asset, abf)
    commitment = wally.value_commitment(output.satoshi, vbf, generator)
    nonce = wally.ecdh_nonce_hash(output.blinding_pubkey, ephemeral)
    surjection = None
    for _ in range(_SURJECTION_TRIES):
        # The proof picks three domain entries at random and may miss the only right one.
        surjection = wally.surjectionproof(output.asset, abf, generator, random(32), tags, abfs, generators)
        if surjection is not None:
            break
    if surjection is None:
        raise InvalidAmounts("no surjection proof: the output's asset is not among the inputs")
    rangeproof = wally.rangeproof(
        output.satoshi, nonce, output.asset, abf, vbf, commitment, output.script, generator,
        minimum=0 if is_unspendable(output.script) else 1, bits=_range_bits(output.satoshi),
    )  # fmt: skip
    txout = TxOut(output.script, generator, commitment, wally.public_key(ephemeral), surjection, rangeproof)
    opening = Opening(output.asset, output.satoshi, abf, vbf)
    if not for_pset:
        return BlindedOutput(txout, opening, nonce)
    return BlindedOutput(
        txout,
        opening,
        nonce,
        wally.explicit_value_proof(output.satoshi, random(32), vbf, commitment, generator),
        wally.explicit_asset_proof(output.asset, abf, generator),
    )


# -- the amount rule --------------------------------------------------------------------------


def issued_asset(txin: TxIn) -> tuple[bytes, bytes]:
    """(asset, token) ids in internal order that an issuing input issues or reissues."""
    issuance = txin.issuance
    assert issuance is not None
    if issuance.is_reissuance:
        entropy = issuance.entropy
    else:
        entropy = wally.issuance_entropy(bytes(txin.prevout[0]), txin.prevout[1], issuance.entropy)
    blinded = len(issuance.amount_field) == 33
    return wally.issuance_asset(entropy), wally.issuance_token(entropy, blinded)


def _least_amount(proof: bytes) -> int:
    """The least amount that a range proof allows, which its header says in the open.

    Nobody may spend nothing: a reissuance token of amount 0 could be made by whoever has one, and would reissue.
    """
    if not proof or not proof[0] & 0x20:
        return 0
    start = 2 if proof[0] & 0x40 else 1
    return int.from_bytes(proof[start : start + 8], "big")


def verify_amounts(tx: Transaction, spent: Sequence[TxOut], *, skip_ranges: frozenset[int] = frozenset()) -> None:
    """The complete amount rule of consensus: balance, range proofs, surjection proofs, issuances.

    ``spent`` are the outputs that the inputs spend, in order. ``skip_ranges`` names outputs
    whose range proof was already verified by rewinding it. Raises :class:`InvalidAmounts`.
    """
    if len(spent) != len(tx.vin):
        raise InvalidAmounts("one spent output per input is needed")
    domain: list[bytes] = []
    left: list[bytes] = []
    range_jobs: list[Callable[[], bool]] = []
    for i, (txin, txout) in enumerate(zip(tx.vin, spent, strict=True)):
        generator = wally.generator_from_field(txout.asset_field)
        domain.append(generator)
        if txout.explicit_value != 0:
            left.append(wally.commitment_from_field(txout.value_field, generator))
        if txin.issuance is not None:
            _issuance_side(i, txin, txin.issuance, txout, domain, left, range_jobs)
    right = _output_side(tx, domain, range_jobs, skip_ranges)
    if not wally.verify_tally(left, right):
        raise InvalidAmounts("inputs and outputs do not balance")
    if not all(run_parallel(range_jobs)):
        raise InvalidAmounts("a range proof does not verify")


def _issuance_side(
    index: int,
    txin: TxIn,
    issuance: Issuance,
    spent: TxOut,
    domain: list[bytes],
    left: list[bytes],
    range_jobs: list[Callable[[], bool]],
) -> None:
    asset, token = issued_asset(txin)
    if issuance.is_reissuance:
        if issuance.tokens_field:
            raise InvalidAmounts(f"input {index}: a reissuance makes no tokens")
        if wally.asset_generator(token, issuance.nonce) != spent.asset_field:
            raise InvalidAmounts(f"input {index}: the spent output is not the asset's reissuance token")
    for what, field, proof in (
        (asset, issuance.amount_field, issuance.amount_proof),
        (token, issuance.tokens_field, issuance.tokens_proof),
    ):
        if not field:
            if proof:
                raise InvalidAmounts(f"input {index}: a proof without an issued amount")
            continue
        generator = wally.generator_from_field(explicit_asset_field(what))
        domain.append(generator)
        satoshi = value_of_field(field)
        if satoshi is not None and satoshi == 0:
            raise InvalidAmounts(f"input {index}: an explicit issued amount must be positive")
        if satoshi is not None and satoshi > MAX_SATOSHI:
            raise InvalidAmounts(f"input {index}: the issued amount is out of range")
        commitment = wally.commitment_from_field(field, generator)
        left.append(commitment)
        if satoshi is None:
            range_jobs.append(functools.partial(wally.rangeproof_verify, proof, commitment, b"", generator))
        elif proof:
            raise InvalidAmounts(f"input {index}: a range proof for an explicit amount")


def _output_side(
    tx: Transaction,
    domain: list[bytes],
    range_jobs: list[Callable[[], bool]],
    skip_ranges: frozenset[int],
) -> list[bytes]:
    right: list[bytes] = []
    total = 0
    for i, txout in enumerate(tx.vout):
        generator = wally.generator_from_field(txout.asset_field)
        satoshi = txout.explicit_value
        if satoshi is not None:
            total += satoshi
            if satoshi > MAX_SATOSHI or total > MAX_SATOSHI:
                raise InvalidAmounts("bad-txns-txouttotal-toolarge: the explicit amounts are too large")
            if satoshi == 0 and not is_unspendable(txout.script):
                raise InvalidAmounts(f"output {i}: only an unspendable output may hold nothing")
            if txout.range_proof:
                raise InvalidAmounts(f"output {i}: a range proof for an explicit amount")
            if satoshi:
                right.append(wally.commitment_from_field(txout.value_field, generator))
        else:
            commitment = wally.commitment_from_field(txout.value_field, generator)
            right.append(commitment)
            if not txout.range_proof:
                raise InvalidAmounts(f"output {i}: a hidden amount without a range proof")
            if not _least_amount(txout.range_proof) and not is_unspendable(txout.script):
                raise InvalidAmounts(f"output {i}: the range proof allows nothing; only an unspendable output may")
            if i not in skip_ranges:
                range_jobs.append(
                    functools.partial(wally.rangeproof_verify, txout.range_proof, commitment, txout.script, generator)
                )
        if txout.explicit_asset is None:
            if not wally.surjectionproof_verify(txout.surjection_proof, domain, generator):
                raise InvalidAmounts(f"output {i}: the surjection proof does not verify")
        elif txout.surjection_proof:
            raise InvalidAmounts(f"output {i}: a surjection proof for an explicit asset")
    return right


# -- for people -------------------------------------------------------------------------------


class TxOutSecrets:
    """An opening as LWK shows it: asset id and factors in display hex."""

    __slots__ = ("opening",)

    def __init__(self, opening: Opening) -> None:
        self.opening = opening

    def asset(self) -> str:
        """Asset id in display hex."""
        return asset_id_to_str(self.opening.asset)

    def value(self) -> int:
        """Amount in satoshi."""
        return self.opening.satoshi

    def asset_bf(self) -> str:
        """Asset blinding factor in display hex."""
        return self.opening.abf[::-1].hex()

    def value_bf(self) -> str:
        """Value blinding factor in display hex."""
        return self.opening.vbf[::-1].hex()

    def is_explicit(self) -> bool:
        """Whether nothing is hidden."""
        return self.opening.is_explicit

    def asset_commitment(self) -> str:
        """The 33-byte asset generator in hex, empty when explicit."""
        return "" if self.is_explicit() else self.opening.generator().hex()

    def value_commitment(self) -> str:
        """The 33-byte value commitment in hex, empty when explicit."""
        if self.is_explicit():
            return ""
        generator = wally.asset_generator(self.opening.asset, self.opening.abf)
        return wally.value_commitment(self.opening.satoshi, self.opening.vbf, generator).hex()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, TxOutSecrets) and self.opening == other.opening

    def __hash__(self) -> int:
        return hash(self.opening)

    def __repr__(self) -> str:
        return f"TxOutSecrets(asset={self.asset()}, value=<hidden>)"


__all__ = [
    "BlindedOutput",
    "DomainEntry",
    "Opening",
    "PlainOutput",
    "TxOutSecrets",
    "blind",
    "blinding_nonce",
    "explicit_opening",
    "explicit_value_field",
    "issued_asset",
    "opens",
    "proof_pool",
    "run_parallel",
    "unblind",
    "unblind_many",
    "unblind_with_nonce",
    "verify_amounts",
]
