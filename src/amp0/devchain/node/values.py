"""What goes into and comes out of calls: the node's errors, arguments checked its way, amounts as it writes them."""

from __future__ import annotations

from decimal import Decimal, InvalidOperation
from typing import Any

import msgspec

from amp0.devchain.blocks import POLICY_ASSET
from amp0.elements.hashes import asset_id_to_bytes, asset_id_to_str, bytes_from_hex
from amp0.elements.transaction import MAX_SATOSHI
from amp0.errors import InvalidInput

Json = dict[str, Any]

MISC_ERROR = -1
TYPE_ERROR = -3
WALLET_ERROR = -4
INVALID_ADDRESS_OR_KEY = -5
INSUFFICIENT_FUNDS = -6
INVALID_PARAMETER = -8
WALLET_NOT_FOUND = -18
WALLET_NOT_SPECIFIED = -19
DESERIALIZATION_ERROR = -22
VERIFY_ERROR = -25
VERIFY_REJECTED = -26
ALREADY_IN_CHAIN = -27
WALLET_ALREADY_LOADED = -35
INVALID_REQUEST = -32600
METHOD_NOT_FOUND = -32601
INTERNAL_ERROR = -32603
PARSE_ERROR = -32700
"""Codes of Elements' ``src/rpc/protocol.h``."""

POLICY_LABEL = "bitcoin"
"""The name that Elements gives the policy asset in maps of assets."""


class RpcError(Exception):
    """What a call is refused with; ``code`` is one of those above."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


def wrong_type(name: str, value: object, expected: str) -> RpcError:
    """The refusal of an argument of the wrong JSON type."""
    kinds = {bool: "bool", str: "string", int: "number", Decimal: "number", float: "number", list: "array"}
    kind = "null" if value is None else kinds.get(type(value), "object")
    return RpcError(TYPE_ERROR, f"{name}: JSON value of type {kind} is not of expected type {expected}")


def whole(name: str, value: object) -> int:
    """A whole number."""
    if not isinstance(value, int) or isinstance(value, bool):
        raise wrong_type(name, value, "number")
    return value


def text(name: str, value: object) -> str:
    """A string."""
    if not isinstance(value, str):
        raise wrong_type(name, value, "string")
    return value


def flag(name: str, value: object) -> bool:
    """A truth value."""
    if not isinstance(value, bool):
        raise wrong_type(name, value, "bool")
    return value


def mapping(name: str, value: object) -> Json:
    """An object."""
    if not isinstance(value, dict):
        raise wrong_type(name, value, "object")
    return value


def sequence_of(name: str, value: object) -> list[Any]:
    """An array."""
    if not isinstance(value, list):
        raise wrong_type(name, value, "array")
    return value


def hash_bytes(name: str, value: object) -> bytes:
    """A hash in display hex, as 32 bytes in internal order."""
    digits = text(name, value)
    if len(digits) != 64:
        raise RpcError(INVALID_PARAMETER, f"{name} must be of length 64 (not {len(digits)}, for '{digits[:80]}')")
    try:
        return bytes_from_hex(digits, length=32, what=name)[::-1]
    except InvalidInput:
        raise RpcError(INVALID_PARAMETER, f"{name} must be hexadecimal string (not '{digits}')") from None


def asset(name: str, value: object) -> bytes:
    """An asset (32 bytes, internal order) from its id in hex or the policy asset's label."""
    given = text(name, value)
    if given in (POLICY_LABEL, ""):
        return POLICY_ASSET
    try:
        return asset_id_to_bytes(given)
    except InvalidInput:
        raise RpcError(INVALID_PARAMETER, f"Unknown label and invalid asset hex: {given[:80]}") from None


def satoshi(value: object) -> int:
    """Satoshi from a JSON number or string of coins with at most 8 decimals."""
    if isinstance(value, bool) or not isinstance(value, int | str | Decimal | float):
        raise RpcError(TYPE_ERROR, "Amount is not a number or string")
    try:
        coins = Decimal(str(value)) if isinstance(value, str) or len(str(value)) < 40 else Decimal("NaN")
    except InvalidOperation:
        raise RpcError(TYPE_ERROR, "Invalid amount") from None
    if not coins.is_finite() or abs(coins.adjusted()) > 40:
        raise RpcError(TYPE_ERROR, "Invalid amount")
    scaled = coins.scaleb(8)
    if scaled != scaled.to_integral_value():
        raise RpcError(TYPE_ERROR, "Invalid amount")
    if not 0 <= scaled <= MAX_SATOSHI:
        raise RpcError(TYPE_ERROR, "Amount out of range")
    return int(scaled)


def amount(value: int) -> msgspec.Raw:
    """Satoshi as the node prints them: a number of coins with eight decimals."""
    sign, value = ("-" if value < 0 else ""), abs(value)
    return msgspec.Raw(f"{sign}{value // 10**8}.{value % 10**8:08d}".encode())


def amounts(values: dict[bytes, int]) -> Json:
    """Satoshi by asset as a JSON object; the policy asset under its label."""
    return {
        POLICY_LABEL if what == POLICY_ASSET else asset_id_to_str(what): amount(value) for what, value in values.items()
    }
