"""The bytes of a PSET: maps of keys and values, and what each known field may hold.

A PSET (partially signed Elements transaction) is a PSBT version 2 (BIP174, BIP370) whose magic
reads ``pset`` and whose Elements fields sit under proprietary keys with the identifier ``pset``
(Elements' ``doc/pset.mediawiki``). On the wire it is one map for the whole transaction, then one
per input, then one per output; a map is a run of (key, value) pairs closed by a zero byte.

This module reads and writes those maps without understanding a transaction. A key is kept whole:
its type byte followed by its data, for instance ``02‖pubkey`` for a signature, or
``fc 04 'pset' 0e`` for an Elements field. Order is kept as it came, so an untouched PSET is written
back byte for byte, unknown fields included; fields added here go where LWK writes them.

Reading is strict, because a PSET comes from other people: every length must be minimal and fit,
no key may come twice in a map, known fields must have their exact size, the counts must match and
nothing may follow the last map. Anything else raises :class:`~amp0.errors.InvalidPset`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import MappingProxyType

from amp0.elements.transaction import Reader, compact_size, var_bytes
from amp0.errors import InvalidPset, InvalidTransaction

MAGIC = b"pset\xff"

MAX_BYTES = 16 * 2**20
"""Largest PSET read. 256 inputs and 84 outputs, a full standard transaction, take under 3 MiB."""

MAX_MAPS = 10_000
"""Most inputs, and most outputs, of a PSET read."""

_PREFIX = b"\xfc\x04pset"


def elements_key(subtype: int) -> bytes:
    """The whole key of an Elements field without key data: ``fc 04 'pset' subtype``."""
    return _PREFIX + bytes([subtype])


# Global fields.
G_UNSIGNED_TX = b"\x00"
G_XPUB = b"\x01"
G_TX_VERSION = b"\x02"
G_FALLBACK_LOCKTIME = b"\x03"
G_INPUT_COUNT = b"\x04"
G_OUTPUT_COUNT = b"\x05"
G_TX_MODIFIABLE = b"\x06"
G_VERSION = b"\xfb"
G_SCALAR = elements_key(0x00)
G_ELEMENTS_MODIFIABLE = elements_key(0x01)
G_GENESIS_HASH = elements_key(0x02)

# Input fields.
I_NON_WITNESS_UTXO = b"\x00"
I_WITNESS_UTXO = b"\x01"
I_PARTIAL_SIG = b"\x02"
I_SIGHASH = b"\x03"
I_REDEEM_SCRIPT = b"\x04"
I_WITNESS_SCRIPT = b"\x05"
I_BIP32 = b"\x06"
I_FINAL_SCRIPTSIG = b"\x07"
I_FINAL_WITNESS = b"\x08"
I_PREVIOUS_TXID = b"\x0e"
I_OUTPUT_INDEX = b"\x0f"
I_SEQUENCE = b"\x10"
I_REQUIRED_TIME = b"\x11"
I_REQUIRED_HEIGHT = b"\x12"
I_ISSUANCE_VALUE = elements_key(0x00)
I_ISSUANCE_VALUE_COMMITMENT = elements_key(0x01)
I_ISSUANCE_VALUE_RANGEPROOF = elements_key(0x02)
I_ISSUANCE_KEYS_RANGEPROOF = elements_key(0x03)
I_PEGIN_WITNESS = elements_key(0x09)
I_ISSUANCE_KEYS = elements_key(0x0A)
I_ISSUANCE_KEYS_COMMITMENT = elements_key(0x0B)
I_ISSUANCE_NONCE = elements_key(0x0C)
I_ISSUANCE_ENTROPY = elements_key(0x0D)
I_UTXO_RANGEPROOF = elements_key(0x0E)
I_EXPLICIT_VALUE = elements_key(0x11)
I_VALUE_PROOF = elements_key(0x12)
I_EXPLICIT_ASSET = elements_key(0x13)
I_ASSET_PROOF = elements_key(0x14)
I_BLINDED_ISSUANCE = elements_key(0x15)

# Output fields.
O_REDEEM_SCRIPT = b"\x00"
O_WITNESS_SCRIPT = b"\x01"
O_BIP32 = b"\x02"
O_AMOUNT = b"\x03"
O_SCRIPT = b"\x04"
O_VALUE_COMMITMENT = elements_key(0x01)
O_ASSET = elements_key(0x02)
O_ASSET_COMMITMENT = elements_key(0x03)
O_RANGEPROOF = elements_key(0x04)
O_SURJECTION_PROOF = elements_key(0x05)
O_BLINDING_KEY = elements_key(0x06)
O_ECDH_KEY = elements_key(0x07)
O_BLINDER_INDEX = elements_key(0x08)
O_VALUE_PROOF = elements_key(0x09)
O_ASSET_PROOF = elements_key(0x0A)

Map = Mapping[bytes, bytes]
"""One map of a PSET: whole key → value, in wire order."""

# What a value must look like: an exact length, or a name checked in _check_value.
_Shape = int | str
_Known = dict[bytes, tuple[int, _Shape]]

# Field → (length of the data in its key, shape of its value).
_GLOBAL: _Known = {
    G_XPUB: (78, "origin"),
    G_SCALAR: (32, 0),
    G_TX_VERSION: (0, 4),
    G_FALLBACK_LOCKTIME: (0, 4),
    G_INPUT_COUNT: (0, "count"),
    G_OUTPUT_COUNT: (0, "count"),
    G_TX_MODIFIABLE: (0, 1),
    G_VERSION: (0, 4),
    G_ELEMENTS_MODIFIABLE: (0, 1),
    G_GENESIS_HASH: (0, 32),
}
_INPUT: _Known = {
    I_NON_WITNESS_UTXO: (0, "bytes"),
    I_WITNESS_UTXO: (0, "bytes"),
    I_PARTIAL_SIG: (33, "signature"),
    I_BIP32: (33, "origin"),
    I_SIGHASH: (0, 4),
    I_REDEEM_SCRIPT: (0, "bytes"),
    I_WITNESS_SCRIPT: (0, "bytes"),
    I_FINAL_SCRIPTSIG: (0, "bytes"),
    I_FINAL_WITNESS: (0, "witness"),
    I_PREVIOUS_TXID: (0, 32),
    I_OUTPUT_INDEX: (0, 4),
    I_SEQUENCE: (0, 4),
    I_REQUIRED_TIME: (0, 4),
    I_REQUIRED_HEIGHT: (0, 4),
    I_ISSUANCE_VALUE: (0, 8),
    I_ISSUANCE_VALUE_COMMITMENT: (0, "commitment"),
    I_ISSUANCE_VALUE_RANGEPROOF: (0, "bytes"),
    I_ISSUANCE_KEYS_RANGEPROOF: (0, "bytes"),
    I_PEGIN_WITNESS: (0, "witness"),
    I_ISSUANCE_KEYS: (0, 8),
    I_ISSUANCE_KEYS_COMMITMENT: (0, "commitment"),
    I_ISSUANCE_NONCE: (0, 32),
    I_ISSUANCE_ENTROPY: (0, 32),
    I_UTXO_RANGEPROOF: (0, "bytes"),
    I_EXPLICIT_VALUE: (0, 8),
    I_VALUE_PROOF: (0, "bytes"),
    I_EXPLICIT_ASSET: (0, 32),
    I_ASSET_PROOF: (0, "bytes"),
    I_BLINDED_ISSUANCE: (0, 1),
}
_OUTPUT: _Known = {
    O_REDEEM_SCRIPT: (0, "bytes"),
    O_WITNESS_SCRIPT: (0, "bytes"),
    O_BIP32: (33, "origin"),
    O_AMOUNT: (0, 8),
    O_SCRIPT: (0, "bytes"),
    O_VALUE_COMMITMENT: (0, "commitment"),
    O_ASSET: (0, 32),
    O_ASSET_COMMITMENT: (0, "generator"),
    O_RANGEPROOF: (0, "bytes"),
    O_SURJECTION_PROOF: (0, "bytes"),
    O_BLINDING_KEY: (0, "pubkey"),
    O_ECDH_KEY: (0, "pubkey"),
    O_BLINDER_INDEX: (0, 4),
    O_VALUE_PROOF: (0, "bytes"),
    O_ASSET_PROOF: (0, "bytes"),
}
_FIRST_BYTES = {"commitment": b"\x08\x09", "generator": b"\x0a\x0b", "pubkey": b"\x02\x03"}

# Where LWK writes each output field: the commitments beside what they commit to.
_OUTPUT_FIELDS = [
    O_REDEEM_SCRIPT, O_WITNESS_SCRIPT, O_BIP32, O_AMOUNT, O_VALUE_COMMITMENT, O_ASSET,
    O_ASSET_COMMITMENT, O_SCRIPT, O_RANGEPROOF, O_SURJECTION_PROOF, O_BLINDING_KEY, O_ECDH_KEY,
    O_BLINDER_INDEX, O_VALUE_PROOF, O_ASSET_PROOF,
]  # fmt: skip
_OUTPUT_ORDER = {field: place for place, field in enumerate(_OUTPUT_FIELDS)}


def read_witness(value: bytes) -> tuple[bytes, ...]:
    """The items of a serialised witness stack; nothing may follow them."""
    reader = Reader(value)
    try:
        items = reader.stack()
    except InvalidTransaction as error:
        raise InvalidPset(f"a witness of the PSET cannot be read: {error}") from None
    if reader.remaining:
        raise InvalidPset("bytes follow the last item of a witness of the PSET")
    return items


def write_witness(items: tuple[bytes, ...]) -> bytes:
    """A witness stack, serialised."""
    return compact_size(len(items)) + b"".join(map(var_bytes, items))


def read_origin(value: bytes) -> tuple[bytes, tuple[int, ...]]:
    """A BIP32 key origin: fingerprint (4 bytes) and path (numbers, hardened ones ≥ 2³¹)."""
    steps = range(4, len(value), 4)
    return value[:4], tuple(int.from_bytes(value[i : i + 4], "little") for i in steps)


def write_origin(fingerprint: bytes, path: tuple[int, ...]) -> bytes:
    """A BIP32 key origin as the value of a derivation field."""
    return fingerprint + b"".join(step.to_bytes(4, "little") for step in path)


def _field(key: bytes) -> bytes:
    """The part of a key that names the field: the type, and for Elements fields the subtype."""
    return key[:7] if key.startswith(_PREFIX) else key[:1]


def _count(value: bytes) -> int:
    reader = Reader(value)
    try:
        count = reader.compact_size()
    except InvalidTransaction:
        raise InvalidPset("a count of the PSET cannot be read") from None
    if reader.remaining:
        raise InvalidPset("bytes follow a count of the PSET")
    if count > MAX_MAPS:
        raise InvalidPset(f"a PSET may have at most {MAX_MAPS} inputs and as many outputs")
    return count


def _check_value(shape: _Shape, value: bytes, where: str) -> None:
    if isinstance(shape, int):
        if len(value) != shape:
            raise InvalidPset(f"{where} must be {shape} bytes, not {len(value)}")
    elif shape in _FIRST_BYTES:
        if len(value) != 33 or value[0] not in _FIRST_BYTES[shape]:
            raise InvalidPset(f"{where} is not a {shape}")
    elif shape == "witness":
        read_witness(value)
    elif shape == "origin":
        if not value or len(value) % 4:
            raise InvalidPset(f"{where} is not a key origin")
    elif shape == "signature":
        if not 9 <= len(value) <= 73:
            raise InvalidPset(f"{where} is not an ECDSA signature")
    elif shape == "count":
        _count(value)


def _read_map(reader: Reader, known: _Known, where: str) -> dict[bytes, bytes]:
    pairs: dict[bytes, bytes] = {}
    while True:
        key = reader.var_bytes()
        if not key:
            return pairs
        value = reader.var_bytes()
        field = _field(key)
        if key in pairs:
            raise InvalidPset(f"field {field.hex()} comes twice in {where}")
        if field in known:
            key_data, shape = known[field]
            if len(key) != len(field) + key_data:
                raise InvalidPset(f"field {field.hex()} of {where} has a key of the wrong length")
            _check_value(shape, value, f"field {field.hex()} of {where}")
        pairs[key] = value


def _require(pairs: Map, keys: tuple[bytes, ...], where: str) -> None:
    for key in keys:
        if key not in pairs:
            raise InvalidPset(f"field {key.hex()} is missing in {where}")


def _read_maps(reader: Reader) -> tuple[Map, tuple[Map, ...], tuple[Map, ...]]:
    top = _read_map(reader, _GLOBAL, "the global map")
    if G_UNSIGNED_TX in top:
        raise InvalidPset("this is a PSBT of version 0; Elements uses version 2")
    _require(top, (G_TX_VERSION, G_INPUT_COUNT, G_OUTPUT_COUNT, G_VERSION), "the global map")
    if top[G_VERSION] != b"\x02\x00\x00\x00":
        raise InvalidPset("the PSET is not of version 2")
    inputs: list[Map] = []
    for i in range(_count(top[G_INPUT_COUNT])):
        pairs = _read_map(reader, _INPUT, f"input {i}")
        _require(pairs, (I_PREVIOUS_TXID, I_OUTPUT_INDEX), f"input {i}")
        inputs.append(MappingProxyType(pairs))
    outputs: list[Map] = []
    for i in range(_count(top[G_OUTPUT_COUNT])):
        pairs = _read_map(reader, _OUTPUT, f"output {i}")
        _require(pairs, (O_SCRIPT,), f"output {i}")
        if O_AMOUNT not in pairs and O_VALUE_COMMITMENT not in pairs:
            raise InvalidPset(f"output {i} has no amount")
        if O_ASSET not in pairs and O_ASSET_COMMITMENT not in pairs:
            raise InvalidPset(f"output {i} has no asset")
        outputs.append(MappingProxyType(pairs))
    return MappingProxyType(top), tuple(inputs), tuple(outputs)


def read_maps(data: bytes) -> tuple[Map, tuple[Map, ...], tuple[Map, ...]]:
    """Global map, input maps and output maps of a serialised PSET; :class:`InvalidPset` otherwise."""
    if len(data) > MAX_BYTES:
        raise InvalidPset(f"a PSET of {len(data)} bytes is larger than the {MAX_BYTES} accepted")
    if data[:5] != MAGIC:
        raise InvalidPset("this is not a PSET: it does not begin with its magic bytes")
    reader = Reader(data, 5)
    try:
        maps = _read_maps(reader)
    except InvalidTransaction as error:
        raise InvalidPset(f"the PSET cannot be read: {error}") from None
    if reader.remaining:
        raise InvalidPset("bytes follow the last map of the PSET")
    return maps


def _write_map(pairs: Map) -> Iterator[bytes]:
    for key, value in pairs.items():
        yield compact_size(len(key))
        yield key
        yield compact_size(len(value))
        yield value
    yield b"\x00"


def write_maps(top: Map, inputs: tuple[Map, ...], outputs: tuple[Map, ...]) -> bytes:
    """The bytes of a PSET; the inverse of :func:`read_maps`."""
    parts = [MAGIC]
    for pairs in (top, *inputs, *outputs):
        parts.extend(_write_map(pairs))
    return b"".join(parts)


def in_output_order(pairs: Map) -> Map:
    """The same map, its fields in the order LWK writes those of an output."""
    last = len(_OUTPUT_ORDER)

    def rank(key: bytes) -> tuple[int, bytes]:
        return _OUTPUT_ORDER.get(_field(key), last), key

    return MappingProxyType({key: pairs[key] for key in sorted(pairs, key=rank)})


def in_input_order(pairs: Map) -> Map:
    """The same map, its fields in the order LWK writes those of an input: by their keys."""
    return MappingProxyType(dict(sorted(pairs.items())))


def with_input_field(pairs: Map, key: bytes, value: bytes) -> Map:
    """A copy of an input's map with one field set; the others keep their places.

    A new field goes before the first one that LWK would write after it.
    """
    items = list(pairs.items())
    if key in pairs:
        return MappingProxyType({**pairs, key: value})
    place = next((i for i, (other, _) in enumerate(items) if other > key), len(items))
    items.insert(place, (key, value))
    return MappingProxyType(dict(items))
