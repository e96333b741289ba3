"""From chosen coins and planned outputs to a blinded PSET, and what it will weigh.

The fields written are those LWK writes, in its order, so that either side's signer can work on
the other's PSET: spent outputs with their range proofs, amounts and assets of inputs with the small
proofs that show them to a signer without opening anything, scripts and key origins of everything
that is ours.
"""

from __future__ import annotations

import math
import struct
import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from amp0.elements import pset_fields as f
from amp0.elements import wally
from amp0.elements.confidential import BlindedOutput, DomainEntry, Opening, PlainOutput, blind
from amp0.elements.descriptor import Chain, WolletDescriptor
from amp0.elements.hashes import BlockHash
from amp0.elements.pset import Pset, PsetInput, PsetOutput
from amp0.elements.transaction import Issuance, OutPoint, TxOut, compact_size, value_of_field
from amp0.errors import InvalidAmounts
from amp0.network import Network
from amp0.wallet.issuance import issued_by

# Bytes of an unsigned input (outpoint, empty scriptSig, sequence) and of its empty witness.
_INPUT_BYTES, _INPUT_WITNESS = 41, 4
# Bytes of an output without its script: asset, explicit amount, no nonce. Under ELIP-200 a blinded
# output weighs the same, its two proofs count as empty.
_OUTPUT_BYTES, _OUTPUT_WITNESS = 33 + 9 + 1, 2


@dataclass(frozen=True, slots=True)
class SpentCoin:
    """A coin to be spent.

    ``place`` is its chain and index in the wallet, ``None`` for somebody else's; ``weight`` what
    its signatures and scripts will add; ``issuance`` what the input that spends it issues.
    """

    outpoint: OutPoint
    txout: TxOut
    opening: Opening
    weight: int
    place: tuple[Chain, int] | None = None
    issuance: Issuance | None = None

    @property
    def satoshi(self) -> int:
        """Its amount."""
        return self.opening.satoshi

    @property
    def order(self) -> bytes:
        """Bytes that tell it from every other coin."""
        return self.outpoint.serialize()


@dataclass(frozen=True, slots=True)
class PlannedOutput:
    """An output to be made; ``place`` is its chain and index if it is our own."""

    plain: PlainOutput
    place: tuple[Chain, int] | None = None


@dataclass(frozen=True, slots=True)
class Built:
    """A PSET with what only its maker knows: the outputs' openings and nonces, in output order."""

    pset: Pset
    outputs: tuple[BlindedOutput, ...]


def own_output(descriptor: WolletDescriptor, chain: Chain, index: int, asset: bytes, satoshi: int) -> PlannedOutput:
    """A confidential output to the wallet itself."""
    script = descriptor.script_bytes(index, chain)
    plain = PlainOutput(script, asset, satoshi, descriptor.blinding_pubkey(script))
    return PlannedOutput(plain, (chain, index))


# -- weight and fee ---------------------------------------------------------------------------


def discount_weight(n_inputs: int, scripts: Sequence[bytes], issuances: Sequence[Issuance] = ()) -> int:
    """ELIP-200 weight of a blinded transaction without signatures.

    ``scripts`` are those of all outputs, the fee's empty one included.
    """
    outputs = sum(_OUTPUT_BYTES + len(compact_size(len(s))) + len(s) for s in scripts)
    counts = len(compact_size(n_inputs)) + len(compact_size(len(scripts)))
    issued = sum(len(issuance.serialize()) for issuance in issuances)
    base = 4 + 1 + counts + n_inputs * _INPUT_BYTES + issued + outputs + 4
    return 4 * base + n_inputs * _INPUT_WITNESS + len(scripts) * _OUTPUT_WITNESS


def _f32(value: float) -> float:
    return float(struct.unpack("<f", struct.pack("<f", value))[0])


def fee_of_weight(weight: int, rate: float) -> int:
    """Satoshi for a weight at ``rate`` sat/kvB: LWK's rule, its 32-bit floats included."""
    vsize = _f32(float((weight + 3) // 4))
    return math.ceil(_f32(_f32(vsize * _f32(rate)) / 1000))


# -- building ---------------------------------------------------------------------------------


def build(
    network: Network,
    descriptor: WolletDescriptor,
    coins: Sequence[SpentCoin],
    outputs: Sequence[PlannedOutput],
    *,
    rangeproofs: bool = True,
    random: Callable[[int], bytes],
) -> Built:
    """Blind the outputs and write the PSET. ``outputs`` includes the fee and balances the coins.

    ``rangeproofs`` tells whether the spent outputs' range proofs (about 4 KB each) go in; signers
    that check amounts by themselves want them. Raises :class:`InvalidAmounts`; never leaves an
    output unblinded that should be blinded.
    """
    for coin in coins:
        if not _opens(coin):
            raise InvalidAmounts(f"the opening of coin {coin.outpoint} does not fit its commitments")
    domain = [entry for coin in coins for entry in _domain(coin)]
    blinded = blind(domain, [output.plain for output in outputs], random)
    _drawn.add(blinded)
    inputs = [_input(descriptor, coin, rangeproofs, random) for coin in coins]
    made = [_output(descriptor, planned, done) for planned, done in zip(outputs, blinded, strict=True)]
    return Built(Pset.of(_global(network, descriptor), inputs, made), tuple(blinded))


def _domain(coin: SpentCoin) -> list[DomainEntry]:
    """What outputs can be made of: the coin, then the asset and the tokens that its input issues."""
    entries = [DomainEntry.of_output(coin.txout, coin.opening)]
    if coin.issuance is not None:
        asset, token = issued_by(coin.outpoint, coin.issuance)
        for what, field in ((asset, coin.issuance.amount_field), (token, coin.issuance.tokens_field)):
            satoshi = value_of_field(field)
            if satoshi:
                entries.append(DomainEntry(wally.asset_generator(what, None), Opening(what, satoshi)))
    return entries


def _opens(coin: SpentCoin) -> bool:
    generator = coin.opening.generator()
    if generator != coin.txout.asset_field:
        return False
    if coin.txout.explicit_value is not None:
        return coin.txout.explicit_value == coin.opening.satoshi
    tag = wally.asset_generator(coin.opening.asset, coin.opening.abf)
    return wally.value_commitment(coin.opening.satoshi, coin.opening.vbf, tag) == coin.txout.value_field


class _Drawn:
    """The last blinding factors and ephemeral keys used in this process (their public keys)."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._seen: OrderedDict[bytes, None] = OrderedDict()
        self._lock = threading.Lock()

    def add(self, outputs: Sequence[BlindedOutput]) -> None:
        """Stop when the random source repeats itself, within a transaction or between two.

        Two outputs that share a factor or a key tell each other's amounts.
        """
        drawn = [
            point
            for output in outputs
            if output.nonce
            for point in (
                output.txout.nonce_field,
                wally.public_key(output.opening.abf),
                wally.public_key(output.opening.vbf),
            )
        ]
        with self._lock:
            if len(set(drawn)) != len(drawn) or any(point in self._seen for point in drawn):
                raise InvalidAmounts(
                    "the random source of this machine repeats itself, so nothing was built; "
                    "blind nothing here before that is repaired"
                )
            self._seen.update(dict.fromkeys(drawn))
            while len(self._seen) > self._size:
                self._seen.popitem(last=False)


_drawn = _Drawn(8192)


def account_keys(descriptor: WolletDescriptor) -> dict[bytes, bytes]:
    """The global fields that name the wallet's account keys and their origins."""
    keys = {
        f.G_XPUB + key.xpub.to_bytes(): f.write_origin(key.fingerprint(), key.origin.path if key.origin else ())
        for key in descriptor.keys()  # noqa: SIM118 (not a dict)
    }
    return dict(sorted(keys.items()))


def _global(network: Network, descriptor: WolletDescriptor) -> f.Map:
    return {
        f.G_TX_VERSION: b"\x02\x00\x00\x00",
        f.G_INPUT_COUNT: b"\x00",
        f.G_OUTPUT_COUNT: b"\x00",
        **account_keys(descriptor),
        f.G_VERSION: b"\x02\x00\x00\x00",
        f.G_GENESIS_HASH: bytes(BlockHash(network.genesis_hash())),
    }


def _scripts(
    descriptor: WolletDescriptor, place: tuple[Chain, int], redeem_field: bytes, script_field: bytes
) -> dict[bytes, bytes]:
    chain, index = place
    fields = {}
    redeem = descriptor.redeem_script(index, chain)
    if redeem is not None:
        fields[redeem_field] = redeem
    if descriptor.is_amp0():
        fields[script_field] = descriptor.witness_script(index, chain)
    return fields


def own_input_fields(descriptor: WolletDescriptor, place: tuple[Chain, int]) -> dict[bytes, bytes]:
    """Scripts and key origins of an input of ours."""
    scripts = _scripts(descriptor, place, f.I_REDEEM_SCRIPT, f.I_WITNESS_SCRIPT)
    return scripts | _origins(descriptor, f.I_BIP32, place)


def own_output_fields(descriptor: WolletDescriptor, place: tuple[Chain, int]) -> dict[bytes, bytes]:
    """Scripts and key origins of an output of ours."""
    scripts = _scripts(descriptor, place, f.O_REDEEM_SCRIPT, f.O_WITNESS_SCRIPT)
    return scripts | _origins(descriptor, f.O_BIP32, place)


def _origins(descriptor: WolletDescriptor, field: bytes, place: tuple[Chain, int]) -> dict[bytes, bytes]:
    chain, index = place
    origins = {}
    for key, pubkey in zip(descriptor.keys(), descriptor.public_keys(index, chain), strict=True):
        branch = chain.value if key.branches else 0
        origins[field + pubkey] = f.write_origin(key.fingerprint(), key.path(index, branch))
    return origins


def _input(
    descriptor: WolletDescriptor, coin: SpentCoin, rangeproofs: bool, random: Callable[[int], bytes]
) -> PsetInput:
    txout, opening = coin.txout, coin.opening
    fields = {
        f.I_PREVIOUS_TXID: bytes(coin.outpoint.hash),
        f.I_OUTPUT_INDEX: coin.outpoint.vout().to_bytes(4, "little"),
        f.I_WITNESS_UTXO: txout.serialize(),
    }
    if rangeproofs and txout.range_proof:
        fields[f.I_UTXO_RANGEPROOF] = txout.range_proof
    if not opening.is_explicit:
        fields |= {
            f.I_EXPLICIT_VALUE: opening.satoshi.to_bytes(8, "little"),
            f.I_VALUE_PROOF: wally.explicit_value_proof(
                opening.satoshi, random(32), opening.vbf, txout.value_field, txout.asset_field
            ),
            f.I_EXPLICIT_ASSET: opening.asset,
            f.I_ASSET_PROOF: wally.explicit_asset_proof(opening.asset, opening.abf, txout.asset_field),
        }
    if coin.issuance is not None:
        fields |= _issuance_fields(coin.issuance)
    if coin.place is not None:
        fields |= own_input_fields(descriptor, coin.place)
    return PsetInput(f.in_input_order(fields))


def _issuance_fields(issuance: Issuance) -> dict[bytes, bytes]:
    fields = {f.I_ISSUANCE_ENTROPY: issuance.entropy, f.I_BLINDED_ISSUANCE: b"\x00"}
    if issuance.is_reissuance:
        fields[f.I_ISSUANCE_NONCE] = issuance.nonce
    for key, field in (
        (f.I_ISSUANCE_VALUE, issuance.amount_field),
        (f.I_ISSUANCE_KEYS, issuance.tokens_field),
    ):
        satoshi = value_of_field(field)
        if satoshi:
            fields[key] = satoshi.to_bytes(8, "little")
    return fields


def _output(descriptor: WolletDescriptor, planned: PlannedOutput, done: BlindedOutput) -> PsetOutput:
    txout, opening, plain = done.txout, done.opening, planned.plain
    fields = {
        f.O_AMOUNT: opening.satoshi.to_bytes(8, "little"),
        f.O_ASSET: opening.asset,
        f.O_SCRIPT: txout.script,
    }
    if txout.script:
        # LWK numbers the blinder of every output but the fee.
        fields[f.O_BLINDER_INDEX] = bytes(4)
    if done.nonce:
        assert plain.blinding_pubkey is not None
        fields |= {
            f.O_VALUE_COMMITMENT: txout.value_field,
            f.O_ASSET_COMMITMENT: txout.asset_field,
            f.O_RANGEPROOF: txout.range_proof,
            f.O_SURJECTION_PROOF: txout.surjection_proof,
            f.O_BLINDING_KEY: plain.blinding_pubkey,
            f.O_ECDH_KEY: txout.nonce_field,
            f.O_VALUE_PROOF: done.value_proof,
            f.O_ASSET_PROOF: done.asset_proof,
        }
    if planned.place is not None:
        fields |= own_output_fields(descriptor, planned.place)
    return PsetOutput(f.in_output_order(MappingProxyType(fields)))
