"""Script templates of Liquid: the few shapes that this package pays to and spends from."""

from __future__ import annotations

import builtins
from dataclasses import dataclass
from typing import Self

from amp0.elements.hashes import bytes_from_hex, sha256
from amp0.errors import InvalidInput

OP_0 = 0x00
OP_1 = 0x51
OP_2 = 0x52
OP_IF = 0x63
OP_ELSE = 0x67
OP_ENDIF = 0x68
OP_RETURN = 0x6A
OP_DEPTH = 0x74
OP_1SUB = 0x8C
OP_DROP = 0x75
OP_CHECKSIG = 0xAC
OP_CHECKSIGVERIFY = 0xAD
OP_CHECKMULTISIG = 0xAE
OP_CHECKSEQUENCEVERIFY = 0xB2
MAX_SCRIPT_BYTES = 10_000
"""A longer script can never be spent."""


def hash160(data: bytes) -> bytes:
    """RIPEMD-160 of SHA-256, 20 bytes."""
    from amp0.elements import wally

    return wally.hash160(data)


def push(data: bytes) -> bytes:
    """The shortest push of ``data`` (not of the small numbers, which have opcodes of their own)."""
    n = len(data)
    if n < 0x4C:
        return bytes((n,)) + data
    if n <= 0xFF:
        return bytes((0x4C, n)) + data
    if n <= 0xFFFF:
        return b"\x4d" + n.to_bytes(2, "little") + data
    raise InvalidInput(f"{n} bytes do not fit one push")


def push_number(n: int) -> bytes:
    """The minimal push of a script number from 0 up."""
    if n == 0:
        return b"\x00"
    if 1 <= n <= 16:
        return bytes((0x50 + n,))
    return push(n.to_bytes(n.bit_length() // 8 + 1, "little"))


def multisig_2of2(first: bytes, second: bytes) -> bytes:
    """``2 <first> <second> 2 CHECKMULTISIG``, keys (33 bytes each) in the order given.

    For an AMP0 account the service's key is first and the user's second.
    """
    if len(first) != 33 or len(second) != 33:
        raise InvalidInput("a public key has 33 bytes")
    return b"\x52\x21" + first + b"\x21" + second + b"\x52\xae"


def parse_multisig_2of2(script: bytes) -> tuple[bytes, bytes] | None:
    """The two keys of :func:`multisig_2of2`, ``None`` for any other script."""
    if (
        len(script) == 71
        and script[:2] == b"\x52\x21"
        and script[35] == 0x21
        and script[69:] == b"\x52\xae"
        and script[2] in (2, 3)
        and script[36] in (2, 3)
    ):
        return script[2:35], script[36:69]
    return None


def csv_2of2_then_1(service: bytes, user: bytes, blocks: int) -> bytes:
    """Green's older time-lock script: both keys, or the user alone after ``blocks``.

    ``DEPTH 1SUB IF <service> CHECKSIGVERIFY ELSE <blocks> CSV DROP ENDIF <user> CHECKSIG``, the
    form of account 0 on Liquid.
    """
    if len(service) != 33 or len(user) != 33:
        raise InvalidInput("a public key has 33 bytes")
    if not 1 <= blocks <= 0xFFFF:
        raise InvalidInput(f"a relative lock of {blocks} blocks is not possible")
    return b"".join(
        (
            b"\x74\x8c\x63\x21",
            service,
            b"\xad\x67",
            push_number(blocks),
            b"\xb2\x75\x68\x21",
            user,
            b"\xac",
        )
    )


def p2pkh(pubkey_hash: bytes) -> bytes:
    """Pay to a public key hash (20 bytes)."""
    return b"\x76\xa9\x14" + pubkey_hash + b"\x88\xac"


def p2wpkh(pubkey_hash: bytes) -> bytes:
    """Pay to a witness public key hash (20 bytes)."""
    return b"\x00\x14" + pubkey_hash


def p2sh(redeem_script: bytes) -> bytes:
    """Pay to the hash of a redeem script."""
    return b"\xa9\x14" + hash160(redeem_script) + b"\x87"


def p2wsh(witness_script: bytes) -> bytes:
    """Pay to the hash of a witness script."""
    return b"\x00\x20" + sha256(witness_script)


def p2sh_p2wsh(witness_script: bytes) -> bytes:
    """The output script of an AMP0 address: P2WSH inside P2SH (23 bytes)."""
    return p2sh(p2wsh(witness_script))


def p2sh_p2wsh_script_sig(witness_script: bytes) -> bytes:
    """The scriptSig that spends :func:`p2sh_p2wsh`: one push of the redeem script."""
    return push(p2wsh(witness_script))


def is_unspendable(script: bytes) -> bool:
    """Whether consensus knows that nobody can ever spend ``script``."""
    return script[:1] == b"\x6a" or len(script) > MAX_SCRIPT_BYTES


def witness_program(script: bytes) -> tuple[int, bytes] | None:
    """Version and program of a segregated witness script, ``None`` for others."""
    if 4 <= len(script) <= 42 and script[1] == len(script) - 2 and 2 <= script[1] <= 40:
        if script[0] == 0:
            return 0, script[2:]
        if 0x51 <= script[0] <= 0x60:
            return script[0] - 0x50, script[2:]
    return None


_NAMES = {
    0x00: "OP_0",
    0x51: "OP_PUSHNUM_1",
    0x52: "OP_PUSHNUM_2",
    0x63: "OP_IF",
    0x67: "OP_ELSE",
    0x68: "OP_ENDIF",
    0x6A: "OP_RETURN",
    0x74: "OP_DEPTH",
    0x75: "OP_DROP",
    0x76: "OP_DUP",
    0x87: "OP_EQUAL",
    0x88: "OP_EQUALVERIFY",
    0x8C: "OP_1SUB",
    0xA9: "OP_HASH160",
    0xAC: "OP_CHECKSIG",
    0xAD: "OP_CHECKSIGVERIFY",
    0xAE: "OP_CHECKMULTISIG",
    0xB2: "OP_CSV",
}


def pushes(script: bytes) -> list[bytes] | None:
    """The pushed items of a push-only script; ``None`` when it holds anything else."""
    items: list[bytes] = []
    pos = 0
    while pos < len(script):
        op = script[pos]
        pos += 1
        if op == 0:
            items.append(b"")
            continue
        if op == 0x4F:
            items.append(b"\x81")
            continue
        if 0x51 <= op <= 0x60:
            items.append(bytes((op - 0x50,)))
            continue
        if op < 0x4C:
            size = op
        elif op <= 0x4E:
            width = 1 << (op - 0x4C)
            if pos + width > len(script):
                return None
            size = int.from_bytes(script[pos : pos + width], "little")
            pos += width
        else:
            return None
        if pos + size > len(script):
            return None
        items.append(script[pos : pos + size])
        pos += size
    return items


@dataclass(frozen=True, slots=True)
class Script:
    """A script for people: ``Script(hex)``, ``str()`` is hex."""

    _bytes: builtins.bytes

    def __init__(self, script: str | builtins.bytes) -> None:
        """From hex text or bytes. Raises :class:`~amp0.errors.InvalidInput`."""
        data = bytes_from_hex(script, what="script") if isinstance(script, str) else bytes(script)
        object.__setattr__(self, "_bytes", data)

    @classmethod
    def from_bytes(cls, data: builtins.bytes) -> Self:
        """From raw bytes."""
        return cls(data)

    @classmethod
    def empty(cls) -> Self:
        """The empty script, which marks a fee output."""
        return cls(b"")

    @classmethod
    def new_op_return(cls, data: builtins.bytes) -> Self:
        """``OP_RETURN`` with one push."""
        return cls(b"\x6a" + push(data))

    def to_bytes(self) -> builtins.bytes:
        """Raw bytes."""
        return self._bytes

    def bytes(self) -> builtins.bytes:
        """Raw bytes."""
        return self._bytes

    def is_provably_unspendable(self) -> bool:
        """Whether nobody can ever spend it."""
        return is_unspendable(self._bytes)

    def to_asm(self) -> str:
        """Opcodes and pushes as words, the way rust-elements prints them."""
        words: list[str] = []
        script, pos = self._bytes, 0
        while pos < len(script):
            op = script[pos]
            pos += 1
            if 0 < op <= 0x4E:
                size, label = op, f"OP_PUSHBYTES_{op}"
                if op >= 0x4C:
                    width = 1 << (op - 0x4C)
                    size = int.from_bytes(script[pos : pos + width], "little")
                    label = f"OP_PUSHDATA{width}"
                    pos += width
                if pos + size > len(script):
                    words.append("<push past end>")
                    break
                words.append(f"{label} {script[pos : pos + size].hex()}")
                pos += size
            elif op in _NAMES:
                words.append(_NAMES[op])
            elif 0x51 <= op <= 0x60:
                words.append(f"OP_PUSHNUM_{op - 0x50}")
            else:
                words.append(f"OP_{op:#04x}")
        return " ".join(words)

    def __str__(self) -> str:
        return self._bytes.hex()
