"""Partially signed Elements transactions, and the pair AMP0 works on.

:class:`Pset` is an immutable value over the maps of :mod:`amp0.elements.pset_fields`: whoever signs
or finishes one gets a new object, so a PSET in one hand never changes under another. The codec is
our own because wallycore's drops what AMP0 wallets need in some corners (issuances, foreign field
order); that it agrees with LWK and with wallycore is what its tests show.

:class:`Amp0Pset` is a PSET together with its blinding nonces: for each blinded output the 32 bytes
that open it and nothing else, for every other output an empty string. The AMP0 server looks at a
transfer through them, so they are checked here, before anything is signed.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import threading
from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from types import MappingProxyType

from amp0.elements import pset_fields as f
from amp0.elements.confidential import Opening, run_parallel, unblind_with_nonce
from amp0.elements.hashes import Txid
from amp0.elements.pset_finalize import DUMMY_SIGNATURE, Digest, final_parts
from amp0.elements.pset_io import PsetInput, PsetIssuance, PsetOutput
from amp0.elements.sighash import SighashCache
from amp0.elements.transaction import Transaction, TxOut, compact_size
from amp0.errors import InvalidPset, UnblindError

# Fields in which two honest copies of one PSET may differ: their proofs and signatures draw
# randomness. Where two copies are combined, ours stays.
_INPUT_PROOFS = frozenset({f.I_VALUE_PROOF, f.I_ASSET_PROOF})
_OUTPUT_PROOFS = frozenset({f.O_VALUE_PROOF, f.O_ASSET_PROOF})


class Pset:
    """A partially signed Elements transaction: ``Pset(base64)``; ``str()`` is base64 again.

    Equality compares fields, not their order, which differs between writers.
    """

    def __init__(self, text: str) -> None:
        """Parse base64. Raises :class:`InvalidPset`."""
        if not isinstance(text, str):
            raise InvalidPset(f"a PSET is base64 text, not {type(text).__name__}")
        if len(text) > f.MAX_BYTES * 4 // 3 + 4:
            raise InvalidPset("the PSET is too large")
        try:
            raw = base64.b64decode(text.strip(), validate=True)
        except (binascii.Error, ValueError):
            raise InvalidPset("the PSET is not base64 text") from None
        self._set(*f.read_maps(raw))

    @classmethod
    def from_bytes(cls, data: bytes) -> Pset:
        """Parse the bytes of exactly one PSET. Raises :class:`InvalidPset`."""
        self = cls.__new__(cls)
        self._set(*f.read_maps(bytes(data)))
        return self

    @classmethod
    def of(cls, top: Mapping[bytes, bytes], inputs: Iterable[PsetInput], outputs: Iterable[PsetOutput]) -> Pset:
        """From a global map and finished inputs and outputs; the counts are put in here."""
        self = cls.__new__(cls)
        self._inputs = tuple(inputs)
        self._outputs = tuple(outputs)
        counts = {
            f.G_INPUT_COUNT: compact_size(len(self._inputs)),
            f.G_OUTPUT_COUNT: compact_size(len(self._outputs)),
        }
        # A present key keeps its place, so the order of the caller's map is the order written.
        self._top = MappingProxyType({**top, **counts})
        return self

    def _set(self, top: f.Map, inputs: Sequence[f.Map], outputs: Sequence[f.Map]) -> None:
        self._top = top
        self._inputs = tuple(map(PsetInput, inputs))
        self._outputs = tuple(map(PsetOutput, outputs))
        for i, output in enumerate(self._outputs):
            if (f.O_ASSET_COMMITMENT in output.fields) != (f.O_VALUE_COMMITMENT in output.fields):
                raise InvalidPset(f"output {i} is blinded by half")

    # -- text and bytes -------------------------------------------------------------------------

    def to_bytes(self) -> bytes:
        """The bytes of the PSET, fields in the order they came."""
        return f.write_maps(self._top, tuple(i.fields for i in self._inputs), tuple(o.fields for o in self._outputs))

    def __str__(self) -> str:
        return base64.b64encode(self.to_bytes()).decode("ascii")

    def __repr__(self) -> str:
        return f"<Pset {len(self._inputs)} inputs, {len(self._outputs)} outputs>"

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, Pset)
            and dict(self._top) == dict(other._top)
            and self._inputs == other._inputs
            and self._outputs == other._outputs
        )

    def __hash__(self) -> int:
        return hash((frozenset(self._top.items()), self._inputs, self._outputs))

    # -- reading --------------------------------------------------------------------------------

    @property
    def fields(self) -> f.Map:
        """The global map; keys as in :mod:`amp0.elements.pset_fields`."""
        return self._top

    def inputs(self) -> list[PsetInput]:
        """The inputs."""
        return list(self._inputs)

    def outputs(self) -> list[PsetOutput]:
        """The outputs, fee included."""
        return list(self._outputs)

    @property
    def genesis_hash(self) -> bytes | None:
        """Hash of the chain's first block (32 bytes, internal order), if the PSET names it."""
        return self._top.get(f.G_GENESIS_HASH)

    def spent_outputs(self) -> list[TxOut]:
        """The outputs spent, in input order. Raises :class:`InvalidPset` if one is not given."""
        spent = []
        for i, txin in enumerate(self._inputs):
            if txin.spent_output is None:
                raise InvalidPset(f"input {i} does not tell which output it spends")
            spent.append(txin.spent_output)
        return spent

    def locktime(self) -> int:
        """The lock time (BIP370): what the inputs require, or the fallback. Raises :class:`InvalidPset`."""
        asking = [i for i in self._inputs if i.required_time is not None or i.required_height is not None]
        if not asking:
            return int.from_bytes(self._top.get(f.G_FALLBACK_LOCKTIME, b"\x00"), "little")
        heights = [i.required_height for i in asking if i.required_height is not None]
        if len(heights) == len(asking):
            return max(heights)
        times = [i.required_time for i in asking if i.required_time is not None]
        if len(times) == len(asking):
            return max(times)
        raise InvalidPset("the inputs ask for lock times that cannot be met together")

    def _transaction(self, *, finals: bool) -> Transaction:
        version = int.from_bytes(self._top[f.G_TX_VERSION], "little", signed=True)
        vin = [i.tx_input(finals=finals) for i in self._inputs]
        return Transaction.of(version, self.locktime(), vin, [o.txout for o in self._outputs])

    def extract_tx(self) -> Transaction:
        """The transaction with whatever inputs are finished; the others stay empty."""
        return self._transaction(finals=True)

    @cached_property
    def unsigned_tx(self) -> Transaction:
        """The transaction without any scriptSig or witness of its inputs: what signers hash."""
        return self._transaction(finals=False)

    @cached_property
    def sighash_cache(self) -> SighashCache:
        """Signature hashes of the transaction, shared parts computed once."""
        return SighashCache(self.unsigned_tx)

    def unique_id(self) -> Txid:
        """What copies of one PSET share (BIP370): the unsigned txid, sequences taken as zero."""
        tx = self.unsigned_tx
        vin = [i.tx_input(finals=False) for i in self._inputs]
        zeroed = (type(i)(i.prevout, b"", 0, i.issuance, i.is_pegin) for i in vin)
        return Transaction.of(tx.version, tx.locktime, zeroed, tx.vout).txid()

    # -- signing --------------------------------------------------------------------------------

    def with_inputs(self, changed: Mapping[int, PsetInput]) -> Pset:
        """A copy in which some inputs (by number) are replaced."""
        inputs = [changed.get(i, txin) for i, txin in enumerate(self._inputs)]
        return Pset.of(self._top, inputs, self._outputs)

    def combine(self, other: Pset) -> Pset:
        """Both PSETs' fields in one, as when two signers worked on copies (BIP174's combiner).

        Raises :class:`InvalidPset` when they are of different transactions or contradict each
        other.
        """
        if self.unique_id() != other.unique_id():
            raise InvalidPset("these PSETs are of different transactions and cannot be combined")
        inputs = []
        for mine, theirs in zip(self._inputs, other._inputs, strict=True):
            fields = mine.fields
            for key, value in _additions(fields, theirs.fields, _INPUT_PROOFS).items():
                fields = f.with_input_field(fields, key, value)
            inputs.append(PsetInput(fields))
        outputs = []
        for mine_out, theirs_out in zip(self._outputs, other._outputs, strict=True):
            extra = _additions(mine_out.fields, theirs_out.fields, _OUTPUT_PROOFS)
            merged = f.in_output_order({**mine_out.fields, **extra}) if extra else mine_out.fields
            outputs.append(PsetOutput(merged))
        top = {**self._top, **_additions(self._top, other._top, frozenset())}
        return Pset.of(top, inputs, outputs)

    def _digest(self, index: int) -> Digest:
        return partial(self.sighash_cache.segwit_v0, index)

    def finalized(self) -> Pset:
        """A copy with every input finished. Raises :class:`InvalidPset` when a signature is missing."""
        changed = {}
        for i, txin in enumerate(self._inputs):
            if txin.is_finalized:
                continue
            script_sig, witness = final_parts(txin, i, self._digest(i))
            if script_sig:
                txin = txin.with_field(f.I_FINAL_SCRIPTSIG, script_sig)
            changed[i] = txin.with_field(f.I_FINAL_WITNESS, f.write_witness(witness))
        return self.with_inputs(changed)

    def finalize(self) -> Transaction:
        """The finished transaction. Raises :class:`InvalidPset` when a signature is missing or wrong."""
        return self.finalized().extract_tx()


def _additions(mine: f.Map, theirs: f.Map, may_differ: frozenset[bytes]) -> dict[bytes, bytes]:
    """What another copy of a map has and this one has not."""
    extra = {}
    for key, value in theirs.items():
        if key not in mine:
            extra[key] = value
        elif mine[key] != value and key not in may_differ and not _is_signature(key, may_differ):
            raise InvalidPset(f"the PSETs contradict each other in field {key[:7].hex()}")
    return extra


def _is_signature(key: bytes, proofs: frozenset[bytes]) -> bool:
    return proofs is _INPUT_PROOFS and key[:1] == f.I_PARTIAL_SIG


# -- AMP0 -------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class CosignParts:
    """What the AMP0 server is asked to sign: the transaction, and each input's witness script.

    ``scripts`` holds ``b""`` for an input without one.
    """

    transaction: Transaction
    scripts: tuple[bytes, ...]


def finalize_for_cosign(pset: Pset) -> CosignParts:
    """The transaction for the AMP0 server, with a placeholder where its signature will be.

    As LWK sends it: scriptSigs in place, witness ``[empty, server, user, script]``, and
    :data:`~amp0.elements.pset_finalize.DUMMY_SIGNATURE` for every signature still missing. An input
    whose shape is not known here is sent as it is. Raises :class:`InvalidPset` for a signature
    that does not verify or scripts that do not fit the output spent.
    """
    vin = []
    scripts = []
    for i, txin in enumerate(pset.inputs()):
        part = txin.tx_input()
        if txin.witness_script is not None or txin.signatures:
            script_sig, witness = final_parts(txin, i, pset._digest(i), dummy=DUMMY_SIGNATURE)
            part = replace(part, script_sig=script_sig, witness=witness)
        vin.append(part)
        scripts.append(txin.witness_script or b"")
    tx = pset.unsigned_tx
    return CosignParts(Transaction.of(tx.version, tx.locktime, vin, tx.vout), tuple(scripts))


class _Memo:
    """Outputs opened lately in this process: one that was just built or checked is not rewound again.

    The key is a hash of everything that enters a rewind, so an answer is the rewind's own.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._openings: OrderedDict[bytes, Opening] = OrderedDict()
        self._lock = threading.Lock()

    @staticmethod
    def key(txout: TxOut, nonce: bytes) -> bytes:
        digest = hashlib.sha256(nonce)
        for part in (txout.asset_field, txout.value_field, txout.script, txout.range_proof):
            digest.update(len(part).to_bytes(4, "little"))
            digest.update(part)
        return digest.digest()

    def get(self, key: bytes) -> Opening | None:
        with self._lock:
            return self._openings.get(key)

    def put(self, key: bytes, opening: Opening) -> None:
        with self._lock:
            self._openings[key] = opening
            self._openings.move_to_end(key)
            while len(self._openings) > self._size:
                self._openings.popitem(last=False)


_memo = _Memo(1024)


class Amp0Pset:
    """A PSET with its blinding nonces, checked to belong together.

    ``Amp0Pset(pset, nonces)`` takes one string per output: 64 hex characters that open a blinded
    output, or an empty string for any other. Every nonce is proven: it has to rewind the output's
    range proof, and what it opens has to reproduce both commitments and equal the amount and asset
    the PSET states. Raises :class:`InvalidPset`, naming the output. Signatures are not looked at.
    """

    def __init__(self, pset: Pset, blinding_nonces: Sequence[str]) -> None:
        outputs = pset.outputs()
        if isinstance(blinding_nonces, str) or len(blinding_nonces) != len(outputs):
            raise InvalidPset(
                f"Invalid blinding nonces: one per output is needed, {len(outputs)} in all, "
                f"and {len(blinding_nonces)} were given"
            )
        self._pset = pset
        self._nonces = tuple(_nonce(i, outputs[i], text) for i, text in enumerate(blinding_nonces))
        jobs = [partial(_open, i, outputs[i], nonce) for i, nonce in enumerate(self._nonces)]
        # Only rewinds are worth a thread.
        slow = [i for i, nonce in enumerate(self._nonces) if not _is_known(outputs[i], nonce)]
        opened = dict(zip(slow, run_parallel([jobs[i] for i in slow]), strict=True))
        self._openings = tuple(opened[i] if i in opened else job() for i, job in enumerate(jobs))

    @classmethod
    def from_builder(cls, pset: Pset, nonces: Sequence[bytes], openings: Sequence[Opening]) -> Amp0Pset:
        """From outputs made in this process, whose openings need no proof.

        ``nonces`` are 32 bytes or empty, ``openings`` one per output. The same checks against the
        PSET's statements are made; only the rewinding of range proofs just made is left out.
        """
        for output, nonce, opening in zip(pset.outputs(), nonces, openings, strict=True):
            if nonce:
                _memo.put(_Memo.key(output.txout, nonce), opening)
        return cls(pset, [nonce.hex() for nonce in nonces])

    def pset(self) -> Pset:
        """The PSET."""
        return self._pset

    def blinding_nonces(self) -> list[str]:
        """One string per output: hex, or empty for an output that is not blinded."""
        return [nonce.hex() for nonce in self._nonces]

    def openings(self) -> list[Opening]:
        """What each output holds, in output order."""
        return list(self._openings)

    def with_pset(self, signed: Pset) -> Amp0Pset:
        """The same nonces with a signed copy of the PSET.

        Short for the seed's "take the PSET out, sign, rebuild". Raises :class:`InvalidPset`.
        """
        return Amp0Pset(signed, self.blinding_nonces())

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Amp0Pset) and self._pset == other._pset and self._nonces == other._nonces

    def __hash__(self) -> int:
        return hash((self._pset, self._nonces))

    def __repr__(self) -> str:
        return f"<Amp0Pset {self._pset!r}>"


def _nonce(index: int, output: PsetOutput, text: str) -> bytes:
    blinded = output.txout.is_partially_blinded()
    if not isinstance(text, str):
        raise InvalidPset(f"Invalid blinding nonce of output {index}: it must be text")
    if not blinded:
        if text:
            raise InvalidPset(f"Invalid blinding nonce of output {index}: it is not blinded, so it has none")
        return b""
    try:
        nonce = bytes.fromhex(text)
    except ValueError:
        nonce = b""
    if len(nonce) != 32 or len(text) != 64:
        raise InvalidPset(f"Invalid blinding nonce of output {index}: it is blinded and needs 64 hex characters")
    return nonce


def _is_known(output: PsetOutput, nonce: bytes) -> bool:
    return not nonce or _memo.get(_Memo.key(output.txout, nonce)) is not None


def _open(index: int, output: PsetOutput, nonce: bytes) -> Opening:
    txout = output.txout
    if not nonce:
        return Opening(txout.explicit_asset or b"", txout.explicit_value or 0)
    key = _Memo.key(txout, nonce)
    opening = _memo.get(key)
    if opening is None:
        try:
            opening = unblind_with_nonce(txout, nonce)
        except UnblindError as error:
            raise InvalidPset(f"Invalid blinding nonce of output {index}: {error}") from None
        _memo.put(key, opening)
    # A PSET that holds only the commitments states nothing that could differ.
    if output.amount() not in (None, opening.satoshi):
        raise InvalidPset(f"Invalid blinding nonce of output {index}: it opens another amount than stated")
    if output.asset_bytes not in (None, opening.asset):
        raise InvalidPset(f"Invalid blinding nonce of output {index}: it opens another asset than stated")
    return opening


__all__ = [
    "DUMMY_SIGNATURE",
    "Amp0Pset",
    "CosignParts",
    "Pset",
    "PsetInput",
    "PsetIssuance",
    "PsetOutput",
    "finalize_for_cosign",
]
