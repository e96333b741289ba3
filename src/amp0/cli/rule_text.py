"""How the parameters of rules are typed and shown: ``NAME=VALUE`` in a shell, times as dates.

What is shown can be handed in again as it stands.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import click

EXAMPLES = {
    "transfer_limit": "satoshi=500000",
    "period_limit": "satoshi=1000000 seconds=86400",
    "max_holders": "holders=99",
    "max_balance": "satoshi=25000000",
    "lock_up": "until=2028-01-01",
    "holding_period": "seconds=31536000",
    "vesting": """user_id=7 'schedule=[["2027-01-01",250000],["2028-01-01",250000]]'""",
    "frozen_holder": "'users=[7,12]'",
    "time_window": "'weekdays=[1,2,3,4,5]' from=540 to=1020",
    "issuer_burn": "user_id=7 satoshi=100000 until=2028-01-01",
}
"""Every rule as it is typed in a shell; docs/policy.md says what each does."""

_TIMES = ("until", "since")
_SCHEDULE = "schedule"
_LAST_DATE = 253_402_300_799
"""The last second that has a date of four digits."""


def read_parameters(parameters: tuple[str, ...]) -> dict[str, Any]:
    """NAME=VALUE: a JSON value where it is one, else text; a date is the seconds that rules count in."""
    values = {}
    for parameter in parameters:
        name, equals, text = parameter.partition("=")
        if not equals or not name:
            raise click.UsageError(f"{parameter[:80]!r} is not NAME=VALUE")
        try:
            values[name] = json.loads(text)
        except ValueError:
            values[name] = text
        if name in _TIMES:
            values[name] = _seconds(values[name])
        elif name == _SCHEDULE and isinstance(values[name], list):
            values[name] = [[_seconds(part[0]), *part[1:]] if _is_part(part) else part for part in values[name]]
    return values


def _is_part(value: object) -> bool:
    return isinstance(value, list) and len(value) > 0


def _seconds(value: object) -> object:
    """Seconds since 1970 of a date in UTC; anything else as it is."""
    for layout in ("%Y-%m-%d", "%Y-%m-%dT%H:%M:%SZ"):
        try:
            return int(datetime.strptime(str(value), layout).replace(tzinfo=UTC).timestamp())
        except ValueError:
            continue
    return value


def _date(value: object) -> object:
    """The date of seconds since 1970, as :func:`_seconds` reads it; anything else as it is."""
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= _LAST_DATE:
        return value
    return datetime.fromtimestamp(value, UTC).strftime("%Y-%m-%dT%H:%M:%SZ").removesuffix("T00:00:00Z")


def _text(name: str, value: object) -> str:
    if name in _TIMES:
        value = _date(value)
    elif name == _SCHEDULE and isinstance(value, list):
        value = [[_date(part[0]), *part[1:]] if _is_part(part) else part for part in value]
    return value if isinstance(value, str) else json.dumps(value, separators=(",", ":"))


def write_parameters(parameters: Mapping[str, Any]) -> str:
    """Parameters as they can be handed in again, in a shell: times as dates, the rest as JSON."""
    return " ".join(shlex.quote(f"{name}={_text(name, value)}") for name, value in parameters.items())
