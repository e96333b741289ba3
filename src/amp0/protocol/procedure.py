"""What a procedure is: its URI, its positional arguments, the type of its one result."""

from __future__ import annotations

from typing import Any, ClassVar

import msgspec
from msgspec import Struct

PREFIX = "com.greenaddress."
OWN_PREFIX = "com.amp0."
"""Prefix of the few procedures that the Green backend never had."""


class Procedure(Struct, frozen=True, array_like=True):
    """Base of all procedures: fields are the positional arguments, ``RESULT`` the type answered."""

    URI: ClassVar[str] = ""
    RESULT: ClassVar[Any] = Any

    def args(self) -> list[Any]:
        """The positional arguments as they travel."""
        values: list[Any] = msgspec.to_builtins(self)
        return values
