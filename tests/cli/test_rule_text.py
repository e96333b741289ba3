"""Parameters of rules as they are typed and shown."""

from __future__ import annotations

import json
import shlex

import pytest

from amp0.cli.rule_text import EXAMPLES, read_parameters, write_parameters
from amp0.server.policy import rules


def test_the_help_has_an_example_of_every_rule_and_the_server_takes_it() -> None:
    assert set(EXAMPLES) == set(rules.SETTABLE)
    for tag, text in EXAMPLES.items():
        parameters = read_parameters(tuple(shlex.split(text)))
        assert json.loads(json.dumps(rules.parameters(rules.parse(tag, parameters)))) == parameters


@pytest.mark.parametrize("tag", EXAMPLES)
def test_what_is_shown_can_be_handed_in_as_it_stands(tag: str) -> None:
    """Lists in lists were shown as one list, which nobody could have typed, and times as numbers."""
    parameters = read_parameters(tuple(shlex.split(EXAMPLES[tag])))
    shown = write_parameters(parameters)
    assert read_parameters(tuple(shlex.split(shown))) == parameters
    assert shown == EXAMPLES[tag]


def test_times_are_dates_in_utc_or_seconds() -> None:
    assert read_parameters(("until=1830297600",)) == {"until": 1830297600}
    assert read_parameters(("until=2028-01-01",)) == {"until": 1830297600}
    assert read_parameters(("until=2028-01-01T00:00:01Z",)) == {"until": 1830297601}
    assert write_parameters({"until": 1830297601}) == "until=2028-01-01T00:00:01Z"
    assert read_parameters(('schedule=[["2028-01-01", 5], [7, 5]]',)) == {"schedule": [[1830297600, 5], [7, 5]]}


@pytest.mark.parametrize("value", ["2028-13-01", "soon", "2028-01-01T00:00:00", "[]", "null", "1.5"])
def test_what_is_no_time_is_left_for_the_server_to_refuse(value: str) -> None:
    (parameters,) = [read_parameters((f"until={value}",))]
    with pytest.raises(rules.WrongParameters):
        rules.parse("lock_up", parameters)


def test_shapes_that_nobody_expects_are_shown_too() -> None:
    """What a newer server sends is shown as JSON, and stops nothing."""
    shown = write_parameters({"until": None, "since": 10**20, "schedule": [[], 5, "x"], "name": "it's"})
    assert shown == """until=null since=100000000000000000000 'schedule=[[],5,"x"]' 'name=it'"'"'s'"""
