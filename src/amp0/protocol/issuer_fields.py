"""What the shapes of the issuer API are made of: kinds of fields, and the two notations that need more than a type.

Almost every amount is an int of satoshi. A few are decimal numbers, because Elements nodes want them that way:
:func:`decimal_number` and :func:`satoshi_of` go between the two without losing a satoshi.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

from msgspec import Meta

MAX_SATOSHI = 2_100_000_000_000_000
COIN = 100_000_000
UNKNOWN_BLINDER = "00" * 32
"""Stands where a blinder is not known, and where an output is explicit."""

# A pattern's ``$`` lets a line break at the end pass: lengths are bounded, or the pattern looks behind it.
Satoshi = Annotated[int, Meta(ge=0, le=MAX_SATOSHI, description="in satoshi: 1e-8 of one, whatever the precision")]
Amount = Annotated[int, Meta(ge=1, le=MAX_SATOSHI, description="in satoshi: 1e-8 of one, whatever the precision")]
Decimal = Annotated[float, Meta(ge=0, le=21_000_000, description="a number of ones, with at most 8 decimals")]
Id = Annotated[int, Meta(ge=1, le=2**63 - 1)]
Index = Annotated[int, Meta(ge=0, le=2**32 - 1)]
Height = Annotated[int, Meta(ge=0, le=2**31 - 1)]
UnixTime = Annotated[int, Meta(ge=0, le=253_402_300_799, description="seconds since 1970")]
Seconds = Annotated[int, Meta(ge=0, le=10 * 366 * 24 * 3600)]
Hex32 = Annotated[
    str, Meta(pattern=r"^[0-9a-fA-F]{64}$", max_length=64, description="32 bytes in display order, as RPC prints")
]
Hex33 = Annotated[str, Meta(pattern=r"^0[23][0-9a-fA-F]{64}$", max_length=66, description="a compressed public key")]
Uuid = Annotated[str, Meta(pattern=r"^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$", max_length=36)]
Gaid = Annotated[
    str, Meta(pattern=r"^GA[1-9A-HJ-NP-Za-km-z]{20,40}$(?!\n)", description="an AMP ID: names one AMP account")
]
AddressText = Annotated[str, Meta(min_length=1, max_length=200)]
Name = Annotated[str, Meta(min_length=1, max_length=255)]
Username = Annotated[str, Meta(min_length=1, max_length=150)]
Password = Annotated[str, Meta(min_length=1, max_length=1024)]
NewPassword = Annotated[str, Meta(min_length=8, max_length=1024)]
LongText = Annotated[str, Meta(max_length=64 * 1024)]
Url = Annotated[str, Meta(max_length=2048)]
DateTime = Annotated[str, Meta(description="ISO 8601, UTC, with microseconds: 2025-10-22T20:45:13.879485Z")]


def date_text(seconds: int) -> str:
    """A time as the API writes it: ISO 8601 in UTC with microseconds and ``Z``."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def decimal_number(satoshi: int) -> float:
    """Satoshi as the number of ones that Elements nodes take. Exact up to :data:`MAX_SATOSHI`: the nearest double of
    a number with eight decimals is written with no more than those."""
    return satoshi / COIN


def satoshi_of(number: object) -> int:
    """The satoshi of a decimal number. Raises :class:`ValueError` when it has more than eight decimals, is no finite
    number or lies outside what there can be (a negative one is fine: nodes write what was sent that way)."""
    if isinstance(number, bool) or not isinstance(number, int | float) or number != number:
        raise ValueError("this is not a number")
    # Its size first: what a double or a multiplication cannot hold is no fault of ours, and no amount either.
    if abs(number) <= MAX_SATOSHI // COIN:
        satoshi = round(number * COIN)
        if satoshi / COIN == number:
            return satoshi
    raise ValueError("this is no amount with at most eight decimals")
