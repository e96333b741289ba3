"""Signature hashes of Elements, and ECDSA over them.

:class:`SighashCache` keeps what the inputs of one transaction share, so that signing or checking
256 inputs stays linear. The layouts are those of Elements' ``script/interpreter.cpp``: BIP143
with the issuance hash after the sequences, the spent value *field* instead of the amount, and,
under ``SIGHASH_RANGEPROOF``, a hash of the output proofs.
"""

from __future__ import annotations

from functools import cached_property

from amp0.elements import wally
from amp0.elements.hashes import sha256d
from amp0.elements.transaction import Transaction, TxIn, TxOut, compact_size, var_bytes
from amp0.errors import InvalidInput

SIGHASH_ALL = 1
SIGHASH_NONE = 2
SIGHASH_SINGLE = 3
SIGHASH_RANGEPROOF = 0x40
SIGHASH_ANYONECANPAY = 0x80

_ZERO = bytes(32)


def is_defined_sighash(kind: int) -> bool:
    """Whether a node accepts this hash type: 1, 2 or 3 with any of the two flags."""
    return kind & ~(SIGHASH_ANYONECANPAY | SIGHASH_RANGEPROOF) in (SIGHASH_ALL, SIGHASH_NONE, SIGHASH_SINGLE)


def _proofs(txout: TxOut) -> bytes:
    return var_bytes(txout.range_proof) + var_bytes(txout.surjection_proof)


def _issuance(txin: TxIn) -> bytes:
    return b"\x00" if txin.issuance is None else txin.issuance.serialize()


class SighashCache:
    """Signature hashes of one transaction, shared parts computed once."""

    def __init__(self, tx: Transaction) -> None:
        self.tx = tx

    @cached_property
    def _prevouts(self) -> bytes:
        return sha256d(b"".join([txin.prevout.serialize() for txin in self.tx.vin]))

    @cached_property
    def _sequences(self) -> bytes:
        return sha256d(b"".join([txin.sequence_number.to_bytes(4, "little") for txin in self.tx.vin]))

    @cached_property
    def _issuances(self) -> bytes:
        return sha256d(b"".join([_issuance(txin) for txin in self.tx.vin]))

    @cached_property
    def _outputs(self) -> bytes:
        return sha256d(b"".join([txout.serialize() for txout in self.tx.vout]))

    @cached_property
    def _rangeproofs(self) -> bytes:
        return sha256d(b"".join([_proofs(txout) for txout in self.tx.vout]))

    def segwit_v0(self, index: int, script_code: bytes, value_field: bytes, sighash: int = SIGHASH_ALL) -> bytes:
        """The 32-byte hash that input ``index`` signs (witness version 0).

        ``value_field`` is the value field (9 or 33 bytes) of the output it spends.
        """
        tx = self.tx
        if not 0 <= index < len(tx.vin):
            raise InvalidInput(f"the transaction has no input {index}")
        txin = tx.vin[index]
        kind = sighash & 0x1F
        anyone = bool(sighash & SIGHASH_ANYONECANPAY)
        with_proofs = bool(sighash & SIGHASH_RANGEPROOF)
        outputs = rangeproofs = _ZERO
        if kind not in (SIGHASH_NONE, SIGHASH_SINGLE):
            outputs = self._outputs
            rangeproofs = self._rangeproofs if with_proofs else _ZERO
        elif kind == SIGHASH_SINGLE and index < len(tx.vout):
            outputs = sha256d(tx.vout[index].serialize())
            rangeproofs = sha256d(_proofs(tx.vout[index]))
        all_sequences = not anyone and kind not in (SIGHASH_NONE, SIGHASH_SINGLE)
        return sha256d(
            b"".join(
                (
                    tx.version.to_bytes(4, "little", signed=True),
                    _ZERO if anyone else self._prevouts,
                    self._sequences if all_sequences else _ZERO,
                    _ZERO if anyone else self._issuances,
                    txin.prevout.serialize(),
                    var_bytes(script_code),
                    value_field,
                    txin.sequence_number.to_bytes(4, "little"),
                    b"" if txin.issuance is None else txin.issuance.serialize(),
                    outputs,
                    rangeproofs if with_proofs else b"",
                    tx.locktime.to_bytes(4, "little"),
                    sighash.to_bytes(4, "little"),
                )
            )
        )

    def legacy(self, index: int, script_code: bytes, sighash: int = SIGHASH_ALL) -> bytes:
        """The 32-byte hash that input ``index`` signs outside segregated witness."""
        tx = self.tx
        if not 0 <= index < len(tx.vin):
            raise InvalidInput(f"the transaction has no input {index}")
        kind = sighash & 0x1F
        anyone = bool(sighash & SIGHASH_ANYONECANPAY)
        with_proofs = bool(sighash & SIGHASH_RANGEPROOF)
        if kind == SIGHASH_SINGLE and index >= len(tx.vout):
            return b"\x01" + bytes(31)
        parts = [tx.version.to_bytes(4, "little", signed=True)]
        signed = [index] if anyone else range(len(tx.vin))
        parts.append(compact_size(len(signed)))
        for i in signed:
            txin = tx.vin[i]
            keep = i == index
            sequence = txin.sequence_number
            if not keep and kind in (SIGHASH_NONE, SIGHASH_SINGLE):
                sequence = 0
            parts += [
                txin.prevout.serialize(),
                var_bytes(script_code) if keep else b"\x00",
                sequence.to_bytes(4, "little"),
                b"" if txin.issuance is None else txin.issuance.serialize(),
            ]
        count = {SIGHASH_NONE: 0, SIGHASH_SINGLE: index + 1}.get(kind, len(tx.vout))
        parts.append(compact_size(count))
        for i in range(count):
            if kind == SIGHASH_SINGLE and i != index:
                parts.append(b"\x00\x00\x00\x00")
                continue
            parts.append(tx.vout[i].serialize())
            if with_proofs:
                parts.append(_proofs(tx.vout[i]))
        parts += [tx.locktime.to_bytes(4, "little"), sighash.to_bytes(4, "little")]
        return sha256d(b"".join(parts))


def sign(private_key: bytes, digest: bytes, sighash: int = SIGHASH_ALL) -> bytes:
    """A low-R, low-S DER signature (RFC 6979) with its hash type byte behind it."""
    return wally.ecdsa_sign(private_key, digest) + bytes((sighash,))


def verify(pubkey: bytes, digest: bytes, der: bytes) -> bool:
    """Whether ``der`` (no hash type byte) is the strict-DER, low-S signature of ``digest``."""
    return wally.ecdsa_verify(pubkey, digest, der)
