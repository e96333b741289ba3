"""From signatures in a PSET to scriptSig and witness of a transaction.

Four shapes are finished here, the ones this package's wallets use: P2WPKH, P2SH-P2WPKH, and a
2-of-2 multisig in P2WSH or P2SH-P2WSH (AMP0). Whatever the PSET claims about scripts is checked
against the script of the output spent, and every signature is verified before it is used.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from amp0.elements.hashes import sha256
from amp0.elements.pset_io import PsetInput
from amp0.elements.script import (
    hash160,
    p2pkh,
    p2sh,
    parse_multisig_2of2,
    push,
    witness_program,
)
from amp0.elements.sighash import verify
from amp0.errors import InvalidPset

DUMMY_SIGNATURE = bytes.fromhex("30440220" + "7f" * 32 + "0220" + "7f" * 32 + "01")
"""What LWK puts where a signature is still missing (71 bytes); verifies for nothing."""

Digest = Callable[[bytes, bytes, int], bytes]
"""(script code, value field of the output spent, hash type) → 32 bytes to sign."""


@dataclass(frozen=True, slots=True)
class Spend:
    """How one input's output is spent.

    ``keys`` are those that sign, in the order of the script; ``script_code`` is what a signature
    hash commits to; ``script_sig`` is complete as it stands.
    """

    keys: tuple[bytes, ...]
    script_code: bytes
    value_field: bytes
    script_sig: bytes
    witness_script: bytes | None

    def witness(self, signatures: tuple[bytes, ...]) -> tuple[bytes, ...]:
        """The witness stack around one signature per key."""
        if self.witness_script is None:
            return (*signatures, *self.keys)
        return (b"", *signatures, self.witness_script)


def spend_of(psbt_input: PsetInput, index: int) -> Spend:
    """How input ``index`` is spent, every script checked against the output it spends.

    Raises :class:`InvalidPset` when the scripts do not hash to each other or the shape is none of
    the four.
    """
    spent = psbt_input.spent_output
    if spent is None:
        raise InvalidPset(f"input {index} does not tell which output it spends")
    program_script = spent.script
    script_sig = b""
    if len(spent.script) == 23 and spent.script[:2] == b"\xa9\x14":
        redeem = psbt_input.redeem
        if redeem is None:
            raise InvalidPset(f"input {index} spends P2SH and has no redeem script")
        if p2sh(redeem) != spent.script:
            raise InvalidPset(f"the redeem script of input {index} is not that of the output spent")
        program_script, script_sig = redeem, push(redeem)
    program = witness_program(program_script)
    if program is None or program[0] != 0:
        raise InvalidPset(f"input {index} spends a script this package cannot sign for")
    if len(program[1]) == 20:
        keys = tuple(key for key in (*psbt_input.signatures, *psbt_input.derivations) if hash160(key) == program[1])[:1]
        if not keys:
            raise InvalidPset(f"input {index} does not name the key of the output it spends")
        return Spend(keys, p2pkh(program[1]), spent.value_field, script_sig, None)
    witness_script = psbt_input.witness_script
    if witness_script is None:
        raise InvalidPset(f"input {index} has no witness script")
    if len(program[1]) != 32 or sha256(witness_script) != program[1]:
        raise InvalidPset(f"the witness script of input {index} is not that of the output spent")
    pair = parse_multisig_2of2(witness_script)
    if pair is None:
        raise InvalidPset(f"the witness script of input {index} is not a 2-of-2 multisig")
    return Spend(pair, witness_script, spent.value_field, script_sig, witness_script)


def final_parts(
    psbt_input: PsetInput, index: int, digest: Digest, *, dummy: bytes | None = None
) -> tuple[bytes, tuple[bytes, ...]]:
    """scriptSig and witness of one input.

    A missing signature raises :class:`InvalidPset`, unless ``dummy`` takes its place. A signature
    that does not verify always raises.
    """
    if psbt_input.is_finalized:
        return psbt_input.final_script_sig or b"", psbt_input.final_witness or ()
    spend = spend_of(psbt_input, index)
    signatures = []
    for key in spend.keys:
        signature = psbt_input.signatures.get(key)
        if signature is None:
            if dummy is None:
                raise InvalidPset(
                    f"input {index} still lacks the signature of {key.hex()}; "
                    "have the signer sign it, or the AMP0 server cosign it"
                )
            signatures.append(dummy)
            continue
        hash_type = signature[-1]
        if hash_type != psbt_input.sighash_type:
            raise InvalidPset(f"a signature of input {index} has another hash type than the PSET asks for")
        if not verify(key, digest(spend.script_code, spend.value_field, hash_type), signature[:-1]):
            raise InvalidPset(f"the signature of {key.hex()} for input {index} is not valid")
        signatures.append(signature)
    return spend.script_sig, spend.witness(tuple(signatures))
