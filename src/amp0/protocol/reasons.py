"""Reasons in one line: how they are written into a text for people, and read back from it.

Over HTTP the reasons of a refusal travel as values beside the text. Over WAMP an error has a text and nothing else, and
stock clients show it as it is, so it is made to be read by both: ``code: output 0: sentence; code: sentence``.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from amp0.errors import RefusalReason
from amp0.protocol.issuer_policy import Reason

MOST = 8
"""Reasons that are told in one line: LWK takes no longer message, and nobody reads one."""

_MORE = re.compile(r"; and [0-9]+ more\Z")
_BETWEEN = re.compile(r"; (?=[a-z][a-z0-9_]{0,47}: )")
_ONE = re.compile(r"([a-z][a-z0-9_]{0,47}): (?:(input|output) ([0-9]{1,9}): )?(.+)", re.DOTALL)


def sentence(reason: Reason) -> str:
    """A reason in one line: code, where, text."""
    where = "" if reason.index is None else f"{reason.side} {reason.index}: "
    return f"{reason.code}: {where}{reason.text}"


def in_one_line(reasons: Iterable[Reason]) -> str:
    """Several, the code of the first in front; of many the first few, and how many more there are."""
    lines = [sentence(reason) for reason in reasons]
    more = len(lines) - MOST
    return "; ".join(lines if more <= 0 else [*lines[:MOST], f"and {more} more"])


def as_told(reason: Reason) -> RefusalReason:
    """A reason as our errors carry it."""
    return RefusalReason(
        sentence(reason),
        text=reason.text,
        code=reason.code,
        side=reason.side,
        index=reason.index,
        asset_id=reason.asset_id,
    )


def parse_line(line: str) -> tuple[RefusalReason, ...]:
    """The reasons in a text of :func:`in_one_line`, without asset ids; the whole text as one where it is none."""
    found = []
    for piece in _BETWEEN.split(_MORE.sub("", line)):
        parts = _ONE.fullmatch(piece)
        if parts is None:
            return (RefusalReason(line, line),)
        code, side, index, text = parts.groups()
        found.append(
            RefusalReason(
                piece, code=code, side=side or "asset", index=None if index is None else int(index), text=text
            )
        )
    return tuple(found)
