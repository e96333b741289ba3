"""Whether an input may spend its output: scripts by template instead of by interpreter.

Every output that a Liquid wallet, Green or AMP0 makes has one of a few shapes, so each shape has
a checker of its own here, and nothing else can be spent:

* a public key hash (P2PKH), plain, in a witness (P2WPKH) or inside P2SH;
* m-of-n ``CHECKMULTISIG`` in P2WSH, in P2SH-P2WSH (AMP0's accounts) and in plain P2SH;
* Green's two time-lock scripts, in P2WSH or P2SH-P2WSH: both keys, or the user's alone after a
  number of blocks;
* ``OP_TRUE``, plain, in P2WSH, in P2SH or in P2SH-P2WSH.

Signatures have a hash type of ALL, NONE or SINGLE, with or without ANYONECANPAY (0x80) and
RANGEPROOF (0x40). They are strict DER with low S; a dummy is empty; a failed check has an empty
signature; no item is left over. These are the node's relay rules. Blocks are held to them too,
although a node would let some of it pass there.

Not checked because it cannot be spent: uncompressed keys, bare multisig, bare public keys,
Taproot, other scripts. Sources: BIP16, BIP66, BIP68, BIP112, BIP141, BIP143, BIP146, BIP147, and
Elements ``src/script/interpreter.cpp`` for the sentences.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from amp0.elements import wally
from amp0.elements.hashes import sha256
from amp0.elements.script import hash160, p2pkh, push, pushes, witness_program
from amp0.elements.sighash import SighashCache, is_defined_sighash
from amp0.elements.transaction import Transaction, TxIn, TxOut
from amp0.errors import BroadcastRejected

OP_TRUE = b"\x51"
SEQUENCE_DISABLE = 1 << 31
SEQUENCE_TIME = 1 << 22
SEQUENCE_MASK = 0xFFFF
_MAX_WITNESS_SCRIPT = 3600
_MAX_WITNESS_ITEMS = 100
_MAX_WITNESS_ITEM = 80

_NULLFAIL = "Signature must be zero for failed CHECK(MULTI)SIG operation"
_FALSE_TOP = "Script evaluated without error but finished with a false/empty top stack element"
_STACK_SIZE = "Operation not valid with the current stack size"
_EXTRA = "Extra items left on stack after execution"
_LOCKTIME = "Locktime requirement not satisfied"
_WITNESS_MISMATCH = "Witness program hash mismatch"

Digest = Callable[[int], bytes]


class _Failed(Exception):
    """A script failed; the text is the node's name for how."""


class _Unsupported(Exception):
    """An output of a shape that this chain cannot check, so it cannot be spent."""


def verify_scripts(tx: Transaction, spent: Sequence[TxOut]) -> None:
    """Check every input of ``tx`` against the outputs it spends, in order.

    Raises :class:`~amp0.errors.BroadcastRejected` with the node's reason.
    """
    cache = SighashCache(tx)
    for index, txout in enumerate(spent):
        try:
            _verify_input(cache, index, tx.vin[index], txout)
        except _Failed as failure:
            raise BroadcastRejected(f"mempool-script-verify-flag-failed ({failure})") from None
        except _Unsupported:
            raise BroadcastRejected("bad-txns-nonstandard-inputs") from None


def _verify_input(cache: SighashCache, index: int, txin: TxIn, txout: TxOut) -> None:
    script = txout.script
    if len(script) == 23 and script[:2] == b"\xa9\x14" and script[22] == 0x87:
        items = _push_only(txin.script_sig)
        if not items:
            raise _Failed(_STACK_SIZE)
        redeem = items[-1]
        if hash160(redeem) != script[2:22]:
            raise _Failed(_FALSE_TOP)
        program = witness_program(redeem)
        if program is not None:
            if txin.script_sig != push(redeem):
                raise _Failed("Witness requires only-redeemscript scriptSig")
            _verify_witness(cache, index, txin, txout, program)
            return
        _no_witness(txin)
        _run(redeem, items[:-1], txin, cache.tx, _legacy_digest(cache, index, redeem))
        return
    program = witness_program(script)
    if program is not None:
        if txin.script_sig:
            raise _Failed("Witness requires empty scriptSig")
        _verify_witness(cache, index, txin, txout, program)
        return
    _no_witness(txin)
    items = _push_only(txin.script_sig)
    if script == OP_TRUE:
        if items:
            raise _Failed(_EXTRA)
    elif len(script) == 25 and script[:3] == b"\x76\xa9\x14" and script[23:] == b"\x88\xac":
        _exactly(items, 2)
        signature, pubkey = items
        if hash160(pubkey) != script[3:23]:
            raise _Failed("Script failed an OP_EQUALVERIFY operation")
        if not _signed(signature, pubkey, _legacy_digest(cache, index, script)):
            raise _Failed(_FALSE_TOP)
    else:
        raise _Unsupported


def _verify_witness(cache: SighashCache, index: int, txin: TxIn, txout: TxOut, program: tuple[int, bytes]) -> None:
    version, data = program
    if version:
        raise _Unsupported
    stack = txin.witness
    if len(data) == 20:
        if len(stack) != 2 or hash160(stack[1]) != data:
            raise _Failed(_WITNESS_MISMATCH)
        if not _signed(stack[0], stack[1], _segwit_digest(cache, index, p2pkh(data), txout)):
            raise _Failed(_FALSE_TOP)
        return
    if len(data) != 32:
        raise _Failed("Witness program has incorrect length")
    if not stack:
        raise _Failed("Witness program was passed an empty witness")
    script = stack[-1]
    if sha256(script) != data:
        raise _Failed(_WITNESS_MISMATCH)
    if len(script) > _MAX_WITNESS_SCRIPT or len(stack) > _MAX_WITNESS_ITEMS + 1:
        raise BroadcastRejected("bad-witness-nonstandard")
    if any(len(item) > _MAX_WITNESS_ITEM for item in stack[:-1]):
        raise BroadcastRejected("bad-witness-nonstandard")
    _run(script, stack[:-1], txin, cache.tx, _segwit_digest(cache, index, script, txout), witness=True)


def _run(
    script: bytes,
    stack: Sequence[bytes],
    txin: TxIn,
    tx: Transaction,
    digest: Digest,
    *,
    witness: bool = False,
) -> None:
    """One of the known redeem or witness scripts on a stack (bottom first)."""
    if script == OP_TRUE:
        _exactly(stack, 0)
        return
    multisig = parse_multisig(script)
    if multisig is not None:
        _run_multisig(multisig, stack, digest)
        return
    locked = parse_csv(script) if witness else None
    if locked is None:
        raise _Unsupported
    if locked.optimised:
        _exactly(stack, 2)
        if not _signed(stack[1], locked.main, digest):
            raise _Failed("Script failed an OP_CHECKSIGVERIFY operation")
        if not _signed(stack[0], locked.other, digest):
            _check_sequence(locked.blocks, txin, tx)
        return
    if len(stack) not in (1, 2):
        raise _Failed(_EXTRA if stack else _STACK_SIZE)
    if len(stack) == 2:
        if not _signed(stack[1], locked.other, digest):
            raise _Failed("Script failed an OP_CHECKSIGVERIFY operation")
    else:
        _check_sequence(locked.blocks, txin, tx)
    if not _signed(stack[0], locked.main, digest):
        raise _Failed(_FALSE_TOP)


# -- the shapes --------------------------------------------------------------------------------


def parse_multisig(script: bytes) -> tuple[int, list[bytes]] | None:
    """(m, keys) of ``m <key>… n CHECKMULTISIG`` with compressed keys, ``None`` for others."""
    if len(script) < 37 or script[-1] != 0xAE:
        return None
    m, n = script[0] - 0x50, script[-2] - 0x50
    if not 1 <= m <= n <= 15 or len(script) != 3 + 34 * n:
        return None
    keys = [script[1 + 34 * i : 35 + 34 * i] for i in range(n)]
    if any(key[0] != 33 or key[1] not in (2, 3) for key in keys):
        return None
    return m, [key[1:] for key in keys]


class LockedScript:
    """A time-lock script of Green: ``main`` can spend alone after ``blocks``."""

    __slots__ = ("blocks", "main", "optimised", "other")

    def __init__(self, other: bytes, main: bytes, blocks: int, *, optimised: bool) -> None:
        self.other = other
        self.main = main
        self.blocks = blocks
        self.optimised = optimised


def parse_csv(script: bytes) -> LockedScript | None:
    """Either time-lock layout, ``None`` for any other script."""
    if script[:4] == b"\x74\x8c\x63\x21" and script[37:39] == b"\xad\x67":
        tail = script[39:]
        number = _leading_number(tail)
        if number is not None:
            blocks, size = number
            rest = tail[size:]
            if len(rest) == 38 and rest[:4] == b"\xb2\x75\x68\x21" and rest[37:] == b"\xac":
                return _locked(script[4:37], rest[4:37], blocks, optimised=False)
    if script[:1] == b"\x21" and script[34:36] == b"\xad\x21" and script[69:72] == b"\xac\x73\x64":
        tail = script[72:]
        number = _leading_number(tail)
        if number is not None and tail[number[1] :] == b"\xb2\x68":
            return _locked(script[36:69], script[1:34], number[0], optimised=True)
    return None


def _locked(other: bytes, main: bytes, blocks: int, *, optimised: bool) -> LockedScript | None:
    if other[0] not in (2, 3) or main[0] not in (2, 3):
        return None
    return LockedScript(other, main, blocks, optimised=optimised)


def _leading_number(script: bytes) -> tuple[int, int] | None:
    """A minimally pushed positive number at the start of a script, and its length in bytes."""
    if not script:
        return None
    if 0x51 <= script[0] <= 0x60:
        return script[0] - 0x50, 1
    size = script[0]
    data = script[1 : 1 + size]
    if not 1 <= size <= 5 or len(data) != size or data[-1] & 0x80:
        return None
    number = int.from_bytes(data, "little")
    if number <= 16 or number.bit_length() // 8 + 1 != size:
        return None
    return number, 1 + size


# -- signatures --------------------------------------------------------------------------------


def _memo(compute: Digest) -> Digest:
    """Both signatures of an input mostly have the same hash type, so the same hash."""
    known: dict[int, bytes] = {}

    def digest(kind: int) -> bytes:
        if kind not in known:
            known[kind] = compute(kind)
        return known[kind]

    return digest


def _segwit_digest(cache: SighashCache, index: int, script_code: bytes, txout: TxOut) -> Digest:
    return _memo(lambda kind: cache.segwit_v0(index, script_code, txout.value_field, kind))


def _legacy_digest(cache: SighashCache, index: int, script_code: bytes) -> Digest:
    return _memo(lambda kind: cache.legacy(index, script_code, kind))


def _signed(signature: bytes, pubkey: bytes, digest: Digest) -> bool:
    """Whether the signature is good; an empty one is merely not there, a bad one is a failure."""
    _check_pubkey(pubkey)
    if not signature:
        return False
    kind = _hash_type(signature)
    if wally.ecdsa_verify(pubkey, digest(kind), signature[:-1]):
        return True
    _check_encoding(signature)
    raise _Failed(_NULLFAIL)


def _run_multisig(multisig: tuple[int, list[bytes]], stack: Sequence[bytes], digest: Digest) -> None:
    m, keys = multisig
    _exactly(stack, m + 1)
    dummy, signatures = stack[0], stack[1:]
    if dummy:
        raise _Failed("Dummy CHECKMULTISIG argument must be zero")
    if not any(signatures):
        raise _Failed(_FALSE_TOP)
    key = 0
    for done, signature in enumerate(signatures):
        matched = False
        # As many keys must be left as signatures are, or the rest cannot match.
        while signature and not matched and len(keys) - key >= m - done:
            matched = wally.ecdsa_verify(keys[key], digest(_hash_type(signature)), signature[:-1])
            key += 1
        if not matched:
            for each in signatures:
                if each:
                    _check_encoding(each)
            raise _Failed(_NULLFAIL)


def _hash_type(signature: bytes) -> int:
    if not is_defined_sighash(signature[-1]):
        raise _Failed("Signature hash type missing or not understood")
    return signature[-1]


def _check_encoding(signature: bytes) -> None:
    _hash_type(signature)
    if not wally.ecdsa_is_strict(signature[:-1]):
        raise _Failed("Non-canonical DER signature, or its S value is unnecessarily high")


def _check_pubkey(pubkey: bytes) -> None:
    if len(pubkey) != 33 or pubkey[0] not in (2, 3):
        raise _Failed("Public key is neither compressed or uncompressed")


# -- small rules -------------------------------------------------------------------------------


def _push_only(script_sig: bytes) -> list[bytes]:
    items = pushes(script_sig)
    if items is None:
        raise _Failed("Only push operators allowed in signatures")
    if b"".join([_minimal_push(item) for item in items]) != script_sig:
        raise _Failed("Data push larger than necessary")
    return items


def _minimal_push(item: bytes) -> bytes:
    if not item:
        return b"\x00"
    if len(item) == 1 and 1 <= item[0] <= 16:
        return bytes((0x50 + item[0],))
    if item == b"\x81":
        return b"\x4f"
    return push(item)


def _exactly(stack: Sequence[bytes], count: int) -> None:
    if len(stack) < count:
        raise _Failed(_STACK_SIZE)
    if len(stack) > count:
        raise _Failed(_EXTRA)


def _no_witness(txin: TxIn) -> None:
    if txin.witness:
        raise _Failed("Witness provided for non-witness script")


def _check_sequence(lock: int, txin: TxIn, tx: Transaction) -> None:
    """``CHECKSEQUENCEVERIFY`` (BIP112): the input's own relative lock is at least ``lock``."""
    if lock & SEQUENCE_DISABLE:
        return
    sequence = txin.sequence_number
    if tx.version & 0xFFFFFFFF < 2 or sequence & SEQUENCE_DISABLE:
        raise _Failed(_LOCKTIME)
    mask = SEQUENCE_TIME | SEQUENCE_MASK
    wanted, given = lock & mask, sequence & mask
    if (wanted < SEQUENCE_TIME) != (given < SEQUENCE_TIME) or wanted > given:
        raise _Failed(_LOCKTIME)
