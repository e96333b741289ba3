"""One input and one output of a PSET: typed, immutable views on the maps of ``pset_fields``.

Method names and return types are LWK's (``previous_txid()``, ``script_pubkey()`` …), for people;
the attributes beside them give the same facts as bytes, for this package.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from amp0.elements import pset_fields as f
from amp0.elements import wally
from amp0.elements.hashes import Txid, asset_id_to_str
from amp0.elements.script import Script
from amp0.elements.transaction import (
    COINBASE_INDEX,
    INDEX_MASK,
    PEGIN_FLAG,
    Issuance,
    OutPoint,
    Reader,
    Transaction,
    TxIn,
    TxOut,
    explicit_asset_field,
    explicit_value_field,
    value_of_field,
)
from amp0.errors import InvalidPset, InvalidTransaction

# First byte → length of the fields of an output that can be spent: none but the nonce is absent.
_ASSET_SIZES = {0x01: 33, 0x0A: 33, 0x0B: 33}
_VALUE_SIZES = {0x01: 9, 0x08: 33, 0x09: 33}
_NONCE_SIZES = {0x00: 1, 0x01: 33, 0x02: 33, 0x03: 33}


def parse_txout(data: bytes) -> TxOut:
    """A serialised output without its proofs, as ``witness_utxo`` fields hold it."""
    reader = Reader(data)
    try:
        asset = reader.prefixed(_ASSET_SIZES, "asset")
        value = reader.prefixed(_VALUE_SIZES, "value")
        nonce = reader.prefixed(_NONCE_SIZES, "nonce")
        txout = TxOut(reader.var_bytes(), asset, value, nonce)
    except InvalidTransaction as error:
        raise InvalidPset(f"a spent output of the PSET cannot be read: {error}") from None
    if reader.remaining:
        raise InvalidPset("bytes follow a spent output of the PSET")
    return txout


@dataclass(frozen=True, slots=True)
class PsetIssuance:
    """What an input issues; ``PsetIssuance()`` is that of an input that issues nothing.

    LWK calls this class ``Issuance``.
    """

    outpoint: OutPoint | None = None
    issuance: Issuance | None = None
    blinded: bool = False

    def _entropy(self) -> bytes | None:
        if self.issuance is None or self.outpoint is None:
            return None
        if self.issuance.is_reissuance:
            return self.issuance.entropy
        return wally.issuance_entropy(bytes(self.outpoint.hash), self.outpoint.vout(), self.issuance.entropy)

    def asset(self) -> str | None:
        """The issued asset id in display hex."""
        entropy = self._entropy()
        return None if entropy is None else asset_id_to_str(wally.issuance_asset(entropy))

    def token(self) -> str | None:
        """The id of the asset's reissuance token in display hex."""
        entropy = self._entropy()
        return None if entropy is None else asset_id_to_str(wally.issuance_token(entropy, self.blinded))

    def asset_satoshi(self) -> int | None:
        """Issued satoshi, ``None`` when blinded or when none is issued."""
        return None if self.issuance is None else value_of_field(self.issuance.amount_field)

    def token_satoshi(self) -> int | None:
        """Issued tokens, ``None`` when blinded or when none is issued."""
        return None if self.issuance is None else value_of_field(self.issuance.tokens_field)

    def is_confidential(self) -> bool:
        """Whether the issued amount is a commitment."""
        return self.issuance is not None and len(self.issuance.amount_field) == 33

    def is_null(self) -> bool:
        """Whether nothing is issued."""
        return self.issuance is None

    def is_issuance(self) -> bool:
        """Whether a new asset is made."""
        return self.issuance is not None and not self.issuance.is_reissuance

    def is_reissuance(self) -> bool:
        """Whether more of an existing asset is made."""
        return self.issuance is not None and self.issuance.is_reissuance

    def prev_txid(self) -> Txid | None:
        """Transaction of the output spent by the issuing input."""
        return None if self.outpoint is None else self.outpoint.hash

    def prev_vout(self) -> int | None:
        """Number of the output spent by the issuing input."""
        return None if self.outpoint is None else self.outpoint.vout()


class _Fields:
    """A map and what both kinds of map share."""

    def __init__(self, fields: f.Map) -> None:
        """Wrap a map that :func:`~amp0.elements.pset_fields.read_maps` accepted."""
        self.fields = fields

    def _u32(self, key: bytes) -> int | None:
        value = self.fields.get(key)
        return None if value is None else int.from_bytes(value, "little")

    def _keyed(self, field: bytes) -> dict[bytes, bytes]:
        """Fields whose key carries data, by that data."""
        skip = len(field)
        return {k[skip:]: v for k, v in self.fields.items() if k[:skip] == field and len(k) > skip}

    def _origins(self, field: bytes) -> dict[bytes, tuple[bytes, tuple[int, ...]]]:
        return {pubkey: f.read_origin(value) for pubkey, value in self._keyed(field).items()}

    def __eq__(self, other: object) -> bool:
        return isinstance(other, type(self)) and dict(self.fields) == dict(other.fields)

    def __hash__(self) -> int:
        return hash(frozenset(self.fields.items()))


class PsetInput(_Fields):
    """One input."""

    # -- LWK's methods --------------------------------------------------------------------------

    def previous_txid(self) -> Txid:
        """Transaction of the output spent."""
        return self.prevout.hash

    def previous_vout(self) -> int:
        """Number of the output spent."""
        return self.prevout.vout()

    def previous_script_pubkey(self) -> Script | None:
        """Script of the output spent, ``None`` when the PSET does not tell."""
        return None if self.spent_output is None else self.spent_output.script_pubkey()

    def redeem_script(self) -> Script | None:
        """The P2SH redeem script."""
        return None if self.redeem is None else Script.from_bytes(self.redeem)

    def sighash(self) -> int:
        """The hash type asked for; 1 (ALL) when the PSET does not tell."""
        return self.sighash_type

    def issuance(self) -> PsetIssuance | None:
        """What this input issues, ``None`` when nothing."""
        issuance = self.tx_issuance
        if issuance is None:
            return None
        flag = self.fields.get(f.I_BLINDED_ISSUANCE)
        # The flag tells the flavour of the token; without it the amount field does.
        blinded = len(issuance.amount_field) == 33 if flag is None else flag != b"\x00"
        return PsetIssuance(self.prevout, issuance, blinded)

    def issuance_asset(self) -> str | None:
        """The issued asset id in display hex, ``None`` when nothing is issued."""
        issuance = self.issuance()
        return None if issuance is None else issuance.asset()

    def issuance_token(self) -> str | None:
        """The reissuance token id in display hex, ``None`` when nothing is issued."""
        issuance = self.issuance()
        return None if issuance is None else issuance.token()

    def issuance_ids(self) -> list[str] | None:
        """Asset id and token id, ``None`` when nothing is issued."""
        issuance = self.issuance()
        return None if issuance is None else [issuance.asset() or "", issuance.token() or ""]

    # -- as bytes -------------------------------------------------------------------------------

    @cached_property
    def prevout(self) -> OutPoint:
        """The output spent, flag bits of its number removed."""
        index = int.from_bytes(self.fields[f.I_OUTPUT_INDEX], "little")
        if index != COINBASE_INDEX:
            index &= INDEX_MASK
        return OutPoint(self.fields[f.I_PREVIOUS_TXID], index)

    @cached_property
    def spent_output(self) -> TxOut | None:
        """The output spent with its range proof if known; ``None`` when the PSET does not tell.

        Raises :class:`InvalidPset` when the transaction given is another one, or disagrees with
        the output given.
        """
        witness_utxo = self.fields.get(f.I_WITNESS_UTXO)
        txout = None if witness_utxo is None else parse_txout(witness_utxo)
        raw = self.fields.get(f.I_NON_WITNESS_UTXO)
        if raw is not None:
            try:
                tx = Transaction.from_bytes(raw)
            except InvalidTransaction as error:
                raise InvalidPset(f"a spent transaction of the PSET cannot be read: {error}") from None
            if tx.txid() != self.prevout.hash or self.prevout.vout() >= len(tx.vout):
                raise InvalidPset(f"the PSET gives another transaction for the output {self.prevout}")
            spent = tx.vout[self.prevout.vout()]
            if txout is not None and txout.serialize() != spent.serialize():
                raise InvalidPset(f"the PSET tells two stories about the output {self.prevout}")
            return spent
        proof = self.fields.get(f.I_UTXO_RANGEPROOF, b"")
        if txout is None or not proof:
            return txout
        return TxOut(txout.script, txout.asset_field, txout.value_field, txout.nonce_field, b"", proof)

    @property
    def redeem(self) -> bytes | None:
        """The P2SH redeem script."""
        return self.fields.get(f.I_REDEEM_SCRIPT)

    @property
    def witness_script(self) -> bytes | None:
        """The P2WSH witness script."""
        return self.fields.get(f.I_WITNESS_SCRIPT)

    @property
    def sighash_type(self) -> int:
        """The hash type asked for; 1 (ALL) when the PSET does not tell."""
        value = self._u32(f.I_SIGHASH)
        return 1 if value is None else value

    @cached_property
    def derivations(self) -> Mapping[bytes, tuple[bytes, tuple[int, ...]]]:
        """Public key (33 bytes) → master fingerprint (4 bytes) and path of each key."""
        return self._origins(f.I_BIP32)

    @cached_property
    def signatures(self) -> Mapping[bytes, bytes]:
        """Public key (33 bytes) → signature: DER followed by its hash type byte."""
        return self._keyed(f.I_PARTIAL_SIG)

    @property
    def final_script_sig(self) -> bytes | None:
        """The finished scriptSig."""
        return self.fields.get(f.I_FINAL_SCRIPTSIG)

    @property
    def final_witness(self) -> tuple[bytes, ...] | None:
        """The finished witness."""
        value = self.fields.get(f.I_FINAL_WITNESS)
        return None if value is None else f.read_witness(value)

    @property
    def is_finalized(self) -> bool:
        """Whether the input is finished."""
        return f.I_FINAL_SCRIPTSIG in self.fields or f.I_FINAL_WITNESS in self.fields

    @property
    def explicit_value(self) -> int | None:
        """Satoshi of the output spent, as claimed and proven by the PSET."""
        value = self.fields.get(f.I_EXPLICIT_VALUE)
        return None if value is None else int.from_bytes(value, "little")

    @property
    def explicit_asset(self) -> bytes | None:
        """Asset of the output spent (32 bytes), as claimed and proven by the PSET."""
        return self.fields.get(f.I_EXPLICIT_ASSET)

    @property
    def sequence(self) -> int:
        """The sequence number."""
        value = self._u32(f.I_SEQUENCE)
        return 0xFFFFFFFF if value is None else value

    @property
    def required_time(self) -> int | None:
        """Earliest lock time in seconds this input asks for."""
        return self._u32(f.I_REQUIRED_TIME)

    @property
    def required_height(self) -> int | None:
        """Earliest lock height this input asks for."""
        return self._u32(f.I_REQUIRED_HEIGHT)

    @cached_property
    def tx_issuance(self) -> Issuance | None:
        """The issuance fields as in a transaction; ``None`` when nothing is issued.

        An explicit amount of zero means "none", as in LWK: on the wire it would be invalid.
        """
        get = self.fields.get

        def amount(explicit: bytes, commitment: bytes) -> bytes:
            satoshi = int.from_bytes(get(explicit, b""), "little")
            return get(commitment) or (explicit_value_field(satoshi) if satoshi else b"")

        issuance = Issuance(
            get(f.I_ISSUANCE_NONCE, bytes(32)),
            get(f.I_ISSUANCE_ENTROPY, bytes(32)),
            amount(f.I_ISSUANCE_VALUE, f.I_ISSUANCE_VALUE_COMMITMENT),
            amount(f.I_ISSUANCE_KEYS, f.I_ISSUANCE_KEYS_COMMITMENT),
            get(f.I_ISSUANCE_VALUE_RANGEPROOF, b""),
            get(f.I_ISSUANCE_KEYS_RANGEPROOF, b""),
        )
        return None if issuance.is_null else issuance

    def tx_input(self, *, finals: bool = True) -> TxIn:
        """This input in a transaction, finished parts included if ``finals``."""
        index = int.from_bytes(self.fields[f.I_OUTPUT_INDEX], "little")
        pegin = index != COINBASE_INDEX and bool(index & PEGIN_FLAG)
        pegin_witness = self.fields.get(f.I_PEGIN_WITNESS)
        return TxIn(
            self.prevout,
            (self.final_script_sig or b"") if finals else b"",
            self.sequence,
            self.tx_issuance,
            pegin,
            (self.final_witness or ()) if finals else (),
            f.read_witness(pegin_witness) if pegin and pegin_witness is not None else (),
        )

    def with_field(self, key: bytes, value: bytes) -> PsetInput:
        """A copy with one field set; ``key`` as in :mod:`amp0.elements.pset_fields`."""
        return PsetInput(f.with_input_field(self.fields, key, value))


class PsetOutput(_Fields):
    """One output."""

    # -- LWK's methods --------------------------------------------------------------------------

    def amount(self) -> int | None:
        """Satoshi, ``None`` when the PSET holds only the commitment."""
        value = self.fields.get(f.O_AMOUNT)
        return None if value is None else int.from_bytes(value, "little")

    def asset(self) -> str | None:
        """Asset id in display hex, ``None`` when the PSET holds only the commitment."""
        asset = self.fields.get(f.O_ASSET)
        return None if asset is None else asset_id_to_str(asset)

    def script_pubkey(self) -> Script:
        """The output script."""
        return Script.from_bytes(self.script)

    def blinder_index(self) -> int | None:
        """The input whose owner blinds this output."""
        return self._u32(f.O_BLINDER_INDEX)

    # -- as bytes -------------------------------------------------------------------------------

    @property
    def script(self) -> bytes:
        """The output script."""
        return self.fields[f.O_SCRIPT]

    @property
    def asset_bytes(self) -> bytes | None:
        """Asset id (32 bytes, internal order), ``None`` when only committed to."""
        return self.fields.get(f.O_ASSET)

    @property
    def blinding_pubkey(self) -> bytes | None:
        """The receiver's blinding key (33 bytes); ``None`` for an output that stays explicit."""
        return self.fields.get(f.O_BLINDING_KEY)

    @cached_property
    def derivations(self) -> Mapping[bytes, tuple[bytes, tuple[int, ...]]]:
        """Public key (33 bytes) → master fingerprint (4 bytes) and path of each key."""
        return self._origins(f.O_BIP32)

    @cached_property
    def txout(self) -> TxOut:
        """The output as in a transaction: commitments where there are some."""
        get = self.fields.get
        amount = self.amount() or 0
        asset = self.asset_bytes
        return TxOut(
            self.script,
            get(f.O_ASSET_COMMITMENT) or explicit_asset_field(asset or b""),
            get(f.O_VALUE_COMMITMENT) or explicit_value_field(amount),
            get(f.O_ECDH_KEY, b""),
            get(f.O_SURJECTION_PROOF, b""),
            get(f.O_RANGEPROOF, b""),
        )
