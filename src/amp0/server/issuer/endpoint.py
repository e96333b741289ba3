"""The shape of one endpoint: what it is called, who may call it, what it takes, gives and runs in.

Each module of operations ends with its ``ENDPOINTS``; :mod:`amp0.server.issuer.table` joins them, and from that one
table come the routes, the description at ``/api/openapi.json`` and its page.
"""

from __future__ import annotations

import enum
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from amp0.server.issuer.desk import Call


class Who(enum.Enum):
    """Who may call."""

    ANYBODY = "no login"
    TEAM = "the issuer and their managers"
    ISSUER = "the issuer only"
    MANAGER = "a manager only"


class Runs(enum.Enum):
    """In what an operation runs."""

    READ = "inside a snapshot"
    WRITE = "inside the one writing transaction"
    OUTSIDE = "without a transaction, because it waits for the chain or somebody else"
    SLOW = "like OUTSIDE, and works for long: in the threads that check proofs"


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One row of the table. ``path`` is below ``/api`` with ``{names}``, without a trailing slash.

    ``function(call, body)`` is a plain function; its docstring describes the endpoint, and what it returns is encoded
    as ``answer`` says (a msgspec struct or a plain type; ``None``: an empty body). ``body`` and ``query`` are msgspec
    structs or types, parsed strictly before the function is called; ``body`` is None where none is read, and
    whatever came is ignored. Functions refuse with what :mod:`~amp0.server.issuer.refusals` has.
    """

    methods: tuple[str, ...]
    path: str
    function: Callable[[Call, Any], Any]
    answer: Any
    body: Any = None
    query: Any = None
    status: int = 200
    who: Who = Who.TEAM
    runs: Runs = Runs.READ
    tag: str = ""
    """Group in the description; the module's by default."""
