"""Elements transactions: immutable values and their wire format.

The codec is our own, in plain Python: it is strict where a node is strict (minimal sizes, no
trailing bytes, no superfluous witness), it never loses a byte, and its values can be shared
between threads. The layout is that of Elements' ``primitives/transaction.h``:

    version(4) flag(1) inputs outputs locktime(4) [input witnesses, output witnesses]

Field bytes keep their one-byte prefix, as everywhere in Elements: an asset field is ``01‖asset``
or a 33-byte generator, a value field ``01‖8 bytes big endian`` or a 33-byte commitment, a nonce
field a 33-byte public key. An absent field is ``b""`` here and the byte ``00`` on the wire.
"""

from __future__ import annotations

import builtins
import struct
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Self

from amp0.elements.hashes import Txid, asset_id_to_str, bytes_from_hex, sha256d
from amp0.elements.script import Script
from amp0.errors import InvalidInput, InvalidTransaction

if TYPE_CHECKING:
    from amp0.elements.address import Address
    from amp0.elements.confidential import TxOutSecrets
    from amp0.network import Network

ISSUANCE_FLAG = 0x80000000
"""Bit of the serialised input index that announces issuance fields."""
PEGIN_FLAG = 0x40000000
"""Bit of the serialised input index that announces a peg-in."""
INDEX_MASK = 0x3FFFFFFF
COINBASE_INDEX = 0xFFFFFFFF
MAX_SATOSHI = 2_100_000_000_000_000
"""Largest explicit amount, and largest sum of explicit amounts, of any asset (satoshi)."""
MAX_TRANSACTION_BYTES = 4_000_000
"""No transaction larger than a block can be valid, so none is parsed."""

_ASSET_SIZES = {0: 1, 1: 33, 0x0A: 33, 0x0B: 33}
_VALUE_SIZES = {0: 1, 1: 9, 8: 33, 9: 33}
_NONCE_SIZES = {0: 1, 1: 33, 2: 33, 3: 33}
_U32 = struct.Struct("<I")
_I32 = struct.Struct("<i")
_U64BE = struct.Struct(">Q")


# -- bytes ------------------------------------------------------------------------------------


def compact_size(n: int) -> bytes:
    """Bitcoin's variable-length size."""
    if n < 0xFD:
        return bytes((n,))
    if n <= 0xFFFF:
        return b"\xfd" + n.to_bytes(2, "little")
    if n <= 0xFFFFFFFF:
        return b"\xfe" + n.to_bytes(4, "little")
    return b"\xff" + n.to_bytes(8, "little")


def var_bytes(data: bytes) -> bytes:
    """``data`` behind its compact size."""
    return compact_size(len(data)) + data


class Reader:
    """A cursor over bytes; every read past the end is :class:`InvalidTransaction`."""

    __slots__ = ("data", "pos")

    def __init__(self, data: bytes, pos: int = 0) -> None:
        self.data = data
        self.pos = pos

    @property
    def remaining(self) -> int:
        """Bytes not read yet."""
        return len(self.data) - self.pos

    def take(self, n: int) -> bytes:
        """The next ``n`` bytes."""
        start = self.pos
        end = start + n
        if end > len(self.data):
            raise InvalidTransaction(f"truncated: {n} bytes wanted at offset {start}")
        self.pos = end
        return self.data[start:end]

    def u8(self) -> int:
        """One byte."""
        if self.pos >= len(self.data):
            raise InvalidTransaction(f"truncated at offset {self.pos}")
        value = self.data[self.pos]
        self.pos += 1
        return value

    def u32(self) -> int:
        """Four bytes, little endian."""
        return int.from_bytes(self.take(4), "little")

    def i32(self) -> int:
        """Four bytes, little endian, signed."""
        return int.from_bytes(self.take(4), "little", signed=True)

    def compact_size(self) -> int:
        """A compact size in its shortest form."""
        first = self.u8()
        if first < 0xFD:
            return first
        width = 1 << (first - 0xFC)
        value = int.from_bytes(self.take(width), "little")
        if value < 0xFD or (width > 2 and value >> (4 * width) == 0):
            raise InvalidTransaction(f"size at offset {self.pos - width - 1} is not in its shortest form")
        return value

    def var_bytes(self) -> bytes:
        """Bytes behind their compact size."""
        return self.take(self.compact_size())

    def count(self, smallest: int) -> int:
        """A number of items of at least ``smallest`` bytes each, bounded by what is left."""
        n = self.compact_size()
        if n * smallest > self.remaining:
            raise InvalidTransaction(f"truncated: {n} items announced, {self.remaining} bytes left")
        return n

    def prefixed(self, sizes: dict[int, int], what: str) -> bytes:
        """A field whose first byte tells its length; ``b""`` for the absent one."""
        if self.pos >= len(self.data):
            raise InvalidTransaction(f"truncated at offset {self.pos}")
        size = sizes.get(self.data[self.pos])
        if size is None:
            raise InvalidTransaction(f"unknown {what} prefix {self.data[self.pos]:#04x}")
        field = self.take(size)
        return b"" if size == 1 else field

    def stack(self) -> tuple[bytes, ...]:
        """A witness stack."""
        return tuple([self.var_bytes() for _ in range(self.count(1))])


def _field(data: bytes) -> bytes:
    return data or b"\x00"


def _stack(items: tuple[bytes, ...]) -> bytes:
    return compact_size(len(items)) + b"".join([var_bytes(item) for item in items])


def explicit_value_field(satoshi: int) -> bytes:
    """The 9-byte value field of an unblinded amount in satoshi."""
    return b"\x01" + _U64BE.pack(satoshi)


def explicit_asset_field(asset: bytes) -> bytes:
    """The 33-byte asset field of an unblinded asset id (32 bytes, internal order)."""
    return b"\x01" + asset


def value_of_field(field: bytes) -> int | None:
    """Satoshi of an explicit value field, ``None`` for a commitment or an absent field."""
    return int.from_bytes(field[1:], "big") if len(field) == 9 else None


# -- values -----------------------------------------------------------------------------------


class OutPoint(tuple[Txid, int]):
    """An output of a transaction: ``OutPoint("txid:vout")`` or ``OutPoint(txid, vout)``.

    ``str()`` carries the prefix ``[elements]`` as LWK prints it; parsing takes both forms.
    """

    __slots__ = ()

    def __new__(cls, txid: str | bytes, vout: int | None = None) -> Self:
        """Parse one text, or join the parts. Raises :class:`InvalidInput`."""
        if vout is None:
            if not isinstance(txid, str):
                raise InvalidInput("an outpoint reads txid:vout")
            head, colon, tail = txid.removeprefix("[elements]").partition(":")
            if not colon or not tail.isascii() or not tail.isdigit() or (len(tail) > 1 and tail[0] == "0"):
                raise InvalidInput("an outpoint reads txid:vout")
            txid, vout = head, int(tail)
        if not 0 <= vout <= 0xFFFFFFFF:
            raise InvalidInput(f"output number {vout} does not fit 32 bits")
        return super().__new__(cls, (txid if isinstance(txid, Txid) else Txid(txid), vout))

    @classmethod
    def from_parts(cls, txid: Txid, vout: int) -> Self:
        """From a transaction id and an output number."""
        return cls(txid, vout)

    @property
    def hash(self) -> Txid:
        """The transaction id (internal order as bytes)."""
        return self[0]

    def txid(self) -> Txid:
        """The transaction id."""
        return self[0]

    def vout(self) -> int:
        """The output number."""
        return self[1]

    def serialize(self) -> bytes:
        """36 bytes: txid in internal order, output number little endian, no flag bits."""
        return bytes(self[0]) + _U32.pack(self[1])

    def __str__(self) -> str:
        return f"[elements]{self[0]}:{self[1]}"

    def __repr__(self) -> str:
        return f"OutPoint('{self[0]}:{self[1]}')"

    def __getnewargs__(self) -> tuple[bytes, int]:
        return (bytes(self[0]), self[1])


@dataclass(frozen=True, slots=True)
class Issuance:
    """Issuance fields of an input.

    ``nonce`` is 32 zero bytes for a first issuance, the asset blinding factor of the spent token
    for a reissuance; ``entropy`` the contract hash or the asset's entropy. Amount fields are
    value fields, ``b""`` when absent; the proofs are ``b""`` when the amounts are explicit.
    """

    nonce: bytes
    entropy: bytes
    amount_field: bytes = b""
    tokens_field: bytes = b""
    amount_proof: bytes = b""
    tokens_proof: bytes = b""

    @property
    def is_reissuance(self) -> bool:
        """Whether more of an existing asset is issued."""
        return self.nonce != bytes(32)

    @property
    def is_null(self) -> bool:
        """Whether the fields issue nothing, which consensus treats as no issuance."""
        return not self.amount_field and not self.tokens_field

    def serialize(self) -> bytes:
        """As in the input and in signature hashes: nonce, entropy, amount, tokens."""
        return self.nonce + self.entropy + _field(self.amount_field) + _field(self.tokens_field)


@dataclass(frozen=True, slots=True)
class TxIn:
    """One input with its witness."""

    prevout: OutPoint
    script_sig: bytes = b""
    sequence_number: int = 0xFFFFFFFF
    issuance: Issuance | None = None
    is_pegin: bool = False
    witness: tuple[bytes, ...] = ()
    pegin_witness: tuple[bytes, ...] = ()

    def outpoint(self) -> OutPoint:
        """The output this input spends."""
        return self.prevout

    def sequence(self) -> int:
        """The sequence number."""
        return self.sequence_number

    @property
    def is_coinbase(self) -> bool:
        """Whether this is the input of a block's first transaction."""
        return self.prevout.vout() == COINBASE_INDEX and self.prevout.txid() == bytes(32)

    def _head(self) -> bytes:
        index = self.prevout[1]
        if index != COINBASE_INDEX:
            if self.issuance is not None:
                index |= ISSUANCE_FLAG
            if self.is_pegin:
                index |= PEGIN_FLAG
        tail = self.issuance.serialize() if self.issuance is not None else b""
        return b"".join(
            (
                bytes(self.prevout[0]),
                _U32.pack(index),
                var_bytes(self.script_sig),
                _U32.pack(self.sequence_number),
                tail,
            )
        )

    def _has_witness(self) -> bool:
        issuance = self.issuance
        return bool(
            self.witness or self.pegin_witness or (issuance and (issuance.amount_proof or issuance.tokens_proof))
        )

    def _witness_bytes(self) -> bytes:
        issuance = self.issuance
        proofs = (
            b"\x00\x00" if issuance is None else var_bytes(issuance.amount_proof) + var_bytes(issuance.tokens_proof)
        )
        return proofs + _stack(self.witness) + _stack(self.pegin_witness)


@dataclass(frozen=True, slots=True)
class TxOut:
    """One output with its proofs. Fields as the module's docstring says."""

    script: bytes
    asset_field: bytes
    value_field: bytes
    nonce_field: bytes = b""
    surjection_proof: bytes = b""
    range_proof: bytes = b""

    @classmethod
    def explicit(cls, script: bytes, asset: bytes, satoshi: int) -> Self:
        """An unblinded output; ``asset`` 32 bytes in internal order."""
        return cls(script, b"\x01" + asset, explicit_value_field(satoshi))

    @classmethod
    def fee(cls, asset: bytes, satoshi: int) -> Self:
        """A fee output: an unblinded amount with an empty script."""
        return cls.explicit(b"", asset, satoshi)

    @property
    def explicit_asset(self) -> bytes | None:
        """The asset id (32 bytes, internal order), ``None`` when blinded or absent."""
        return self.asset_field[1:] if self.asset_field[:1] == b"\x01" else None

    @property
    def explicit_value(self) -> int | None:
        """The amount in satoshi, ``None`` when blinded or absent."""
        return value_of_field(self.value_field)

    @property
    def is_blinded(self) -> bool:
        """Whether both asset and amount are commitments."""
        return len(self.value_field) == 33 and self.asset_field[:1] in (b"\x0a", b"\x0b")

    def is_partially_blinded(self) -> bool:
        """Whether asset or amount is a commitment."""
        return len(self.value_field) == 33 or self.asset_field[:1] in (b"\x0a", b"\x0b")

    def is_fee(self) -> bool:
        """Whether this output pays the miner."""
        return not self.script and self.explicit_value is not None and self.explicit_asset is not None

    def script_pubkey(self) -> Script:
        """The output script."""
        return Script.from_bytes(self.script)

    def asset(self) -> str | None:
        """The asset id in display hex, ``None`` when blinded."""
        asset = self.explicit_asset
        return None if asset is None else asset_id_to_str(asset)

    def value(self) -> int | None:
        """The amount in satoshi, ``None`` when blinded."""
        return self.explicit_value

    def unconfidential_address(self, network: Network) -> Address | None:
        """The plain address of the script, ``None`` when it has none."""
        from amp0.elements.address import Address
        from amp0.errors import InvalidAddress

        try:
            return Address.from_script(network, self.script)
        except InvalidAddress:
            return None

    def unblind(self, secret_key: object) -> TxOutSecrets:
        """Open the output with a private blinding key (LWK's ``SecretKey`` or 32 bytes).

        Raises :class:`~amp0.errors.UnblindError`.
        """
        from amp0.elements.confidential import TxOutSecrets, unblind

        key = secret_key if isinstance(secret_key, bytes) else secret_key.bytes()  # type: ignore[attr-defined]
        return TxOutSecrets(unblind(self, bytes(key)))

    def serialize(self) -> bytes:
        """Without proofs: asset, value, nonce, script."""
        return b"".join(
            (
                _field(self.asset_field),
                _field(self.value_field),
                _field(self.nonce_field),
                var_bytes(self.script),
            )
        )

    def _witness_bytes(self) -> bytes:
        return var_bytes(self.surjection_proof) + var_bytes(self.range_proof)


class Transaction:
    """An immutable transaction: ``Transaction(hex)``, ``from_bytes``, or ``of(…)`` from parts."""

    # A __dict__ holds the cached properties: ids and weights are asked for again and again.
    version: int
    locktime: int
    vin: tuple[TxIn, ...]
    vout: tuple[TxOut, ...]

    def __init__(self, text: str) -> None:
        """Parse hex. Raises :class:`InvalidTransaction`."""
        try:
            raw = bytes_from_hex(text, what="transaction")
        except InvalidTransaction:
            raise
        except InvalidInput as error:
            raise InvalidTransaction(str(error)) from None
        self._set_from_bytes(raw)

    # -- making ------------------------------------------------------------------------------

    @classmethod
    def of(cls, version: int, locktime: int, vin: Iterable[TxIn], vout: Iterable[TxOut]) -> Self:
        """From its parts."""
        self = cls.__new__(cls)
        self._set(version, locktime, tuple(vin), tuple(vout))
        return self

    @classmethod
    def from_string(cls, text: str) -> Self:
        """Parse hex. Raises :class:`InvalidTransaction`."""
        return cls(text)

    @classmethod
    def from_bytes(cls, raw: builtins.bytes) -> Self:
        """Parse exactly one transaction. Raises :class:`InvalidTransaction`."""
        self = cls.__new__(cls)
        self._set_from_bytes(bytes(raw))
        return self

    @classmethod
    def read(cls, reader: Reader) -> Self:
        """Parse one transaction from a cursor and leave the cursor behind it."""
        self = cls.__new__(cls)
        start = reader.pos
        self._set(*_parse(reader))
        self.__dict__["_raw"] = reader.data[start : reader.pos]
        return self

    def _set_from_bytes(self, raw: builtins.bytes) -> None:
        if len(raw) > MAX_TRANSACTION_BYTES:
            raise InvalidTransaction(f"{len(raw)} bytes are more than a block may hold")
        reader = Reader(raw)
        self._set(*_parse(reader))
        if reader.remaining:
            raise InvalidTransaction(f"{reader.remaining} bytes follow the transaction")
        self.__dict__["_raw"] = raw

    def _set(self, version: int, locktime: int, vin: tuple[TxIn, ...], vout: tuple[TxOut, ...]) -> None:
        self.__dict__.update(version=version, locktime=locktime, vin=vin, vout=vout)

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError("a Transaction does not change; use replace_input() or of()")

    def replace_input(self, index: int, **changes: object) -> Transaction:
        """A copy with fields of one input changed (names of :class:`TxIn`)."""
        vin = list(self.vin)
        vin[index] = replace(vin[index], **changes)  # type: ignore[arg-type]
        return Transaction.of(self.version, self.locktime, vin, self.vout)

    # -- bytes and ids -----------------------------------------------------------------------

    @cached_property
    def has_witness(self) -> bool:
        """Whether any input or output carries witness data."""
        return any(i._has_witness() for i in self.vin) or any(o.surjection_proof or o.range_proof for o in self.vout)

    @cached_property
    def _base(self) -> builtins.bytes:
        parts = [_I32.pack(self.version), b"\x00", compact_size(len(self.vin))]
        parts += [txin._head() for txin in self.vin]
        parts.append(compact_size(len(self.vout)))
        parts += [txout.serialize() for txout in self.vout]
        parts.append(_U32.pack(self.locktime))
        return b"".join(parts)

    @cached_property
    def _raw(self) -> builtins.bytes:
        base = self._base
        if not self.has_witness:
            return base
        parts = [base[:4], b"\x01", base[5:]]
        parts += [txin._witness_bytes() for txin in self.vin]
        parts += [txout._witness_bytes() for txout in self.vout]
        return b"".join(parts)

    @cached_property
    def _txid(self) -> Txid:
        return Txid(sha256d(self._base))

    def serialize(self, witness: bool = True) -> builtins.bytes:
        """Wire bytes; without witness, the bytes the txid hashes."""
        return self._raw if witness else self._base

    def to_bytes(self) -> builtins.bytes:
        """Wire bytes, with witness."""
        return self._raw

    def bytes(self) -> builtins.bytes:
        """Wire bytes, with witness."""
        return self._raw

    def txid(self) -> Txid:
        """The transaction id."""
        return self._txid

    def wtxid(self) -> Txid:
        """The hash of the whole transaction, witness included."""
        return Txid(sha256d(self._raw))

    # -- sizes -------------------------------------------------------------------------------

    def weight(self) -> int:
        """BIP141 weight: three times the bytes without witness plus all bytes."""
        return 3 * len(self._base) + len(self._raw)

    def discount_weight(self) -> int:
        """Weight under ELIP-200: blinded outputs count as if they were explicit."""
        weight = self.weight()
        for txout in self.vout:
            if self.has_witness:
                weight -= len(txout._witness_bytes()) - 2
            if len(txout.value_field) == 33:
                weight -= 4 * 24
            if len(txout.nonce_field) == 33:
                weight -= 4 * 32
        return weight

    def vsize(self) -> int:
        """Virtual bytes, rounded up."""
        return (self.weight() + 3) // 4

    def discount_vsize(self) -> int:
        """Virtual bytes under ELIP-200, rounded up: what fees are paid for."""
        return (self.discount_weight() + 3) // 4

    # -- reading -----------------------------------------------------------------------------

    def inputs(self) -> list[TxIn]:
        """The inputs."""
        return list(self.vin)

    def outputs(self) -> list[TxOut]:
        """The outputs, fee included."""
        return list(self.vout)

    def fee(self, policy_asset: str | None = None) -> int:
        """Satoshi paid to the miner: in ``policy_asset`` (display hex), or in any asset."""
        return sum(
            txout.explicit_value or 0
            for txout in self.vout
            if txout.is_fee() and (policy_asset is None or txout.asset() == policy_asset)
        )

    def verify_tx_amt_proofs(self, spent: list[TxOut]) -> None:
        """Check all proofs and the balance against the spent outputs, in input order.

        Raises :class:`~amp0.errors.InvalidAmounts`.
        """
        from amp0.elements.confidential import verify_amounts

        verify_amounts(self, spent)

    @property
    def is_coinbase(self) -> bool:
        """Whether this is a block's first transaction."""
        return len(self.vin) == 1 and self.vin[0].is_coinbase

    def __str__(self) -> str:
        return self._raw.hex()

    def __repr__(self) -> str:
        return f"<Transaction {self._txid}>"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Transaction) and self._raw == other._raw

    def __hash__(self) -> int:
        return hash(self._txid)

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return (Transaction.from_bytes, (self._raw,))


# -- parsing ----------------------------------------------------------------------------------


def _parse_input(reader: Reader) -> TxIn:
    txid = Txid(reader.take(32))
    index = reader.u32()
    script_sig = reader.var_bytes()
    sequence = reader.u32()
    issuance, is_pegin = None, False
    if index != COINBASE_INDEX:
        if index & ISSUANCE_FLAG:
            issuance = Issuance(
                reader.take(32),
                reader.take(32),
                reader.prefixed(_VALUE_SIZES, "issuance amount"),
                reader.prefixed(_VALUE_SIZES, "issuance token amount"),
            )
            if issuance.is_null:
                raise InvalidTransaction("an input announces an issuance of nothing")
        is_pegin = bool(index & PEGIN_FLAG)
        index &= INDEX_MASK
    return TxIn(OutPoint(txid, index), script_sig, sequence, issuance, is_pegin)


def _parse_output(reader: Reader) -> TxOut:
    asset = reader.prefixed(_ASSET_SIZES, "asset")
    value = reader.prefixed(_VALUE_SIZES, "value")
    nonce = reader.prefixed(_NONCE_SIZES, "nonce")
    return TxOut(reader.var_bytes(), asset, value, nonce)


def _parse(reader: Reader) -> tuple[int, int, tuple[TxIn, ...], tuple[TxOut, ...]]:
    version = reader.i32()
    flag = reader.u8()
    if flag > 1:
        raise InvalidTransaction(f"unknown transaction flag {flag:#04x}")
    vin = [_parse_input(reader) for _ in range(reader.count(41))]
    vout = [_parse_output(reader) for _ in range(reader.count(4))]
    locktime = reader.u32()
    if flag:
        any_witness = False
        for i, txin in enumerate(vin):
            amount_proof, tokens_proof = reader.var_bytes(), reader.var_bytes()
            witness, pegin = reader.stack(), reader.stack()
            issuance = txin.issuance
            if amount_proof or tokens_proof:
                if issuance is None:
                    raise InvalidTransaction(f"input {i} has issuance proofs but issues nothing")
                issuance = replace(issuance, amount_proof=amount_proof, tokens_proof=tokens_proof)
            elif not witness and not pegin:
                continue
            any_witness = True
            vin[i] = TxIn(
                txin.prevout,
                txin.script_sig,
                txin.sequence_number,
                issuance,
                txin.is_pegin,
                witness,
                pegin,
            )
        for i, txout in enumerate(vout):
            surjection, rangeproof = reader.var_bytes(), reader.var_bytes()
            if surjection or rangeproof:
                any_witness = True
                vout[i] = TxOut(
                    txout.script,
                    txout.asset_field,
                    txout.value_field,
                    txout.nonce_field,
                    surjection,
                    rangeproof,
                )
        if not any_witness:
            raise InvalidTransaction("the witness flag is set, but there is no witness")
    return version, locktime, tuple(vin), tuple(vout)
