from __future__ import annotations

import inspect

import pytest

from amp0.protocol import rpc
from amp0.server import refusal
from amp0.server.refusal import REFUSALS, Refusal, SessionExpired, WrongCredentials, wamp_error_arguments

KINDS = [
    kind
    for _, kind in inspect.getmembers(refusal, inspect.isclass)
    if issubclass(kind, Refusal) and kind is not Refusal
]


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_every_refusal_has_its_own_row(kind: type[Refusal]) -> None:
    assert kind in REFUSALS
    assert kind.__doc__


def test_names_are_short_unique_and_lower_case() -> None:
    # A wrong code has the name of a missing one: clients tell them apart by the text.
    names = [answer.name for kind, answer in REFUSALS.items() if kind is not refusal.WrongTwoFactorCode]
    assert len(set(names)) == len(names)
    assert all(name.isascii() and name.isalpha() and name.islower() for name in names)


def test_a_new_kind_is_answered_like_its_base() -> None:
    class Special(refusal.NotFound):
        """A refusal that nobody entered in the table."""

    class Unknown(Refusal):
        """One without any relative there."""

    assert (Special("x").name, Special("x").status) == ("notfound", 404)
    assert (Unknown("x").name, Unknown("x").status) == ("internal", 500)


def test_texts_that_clients_compare() -> None:
    assert wamp_error_arguments(SessionExpired()) == [
        "http://greenaddressit.com/error#sessionexpired",
        "Session expired",
        {},
    ]
    assert (SessionExpired().name, str(SessionExpired())) == rpc.SESSION_EXPIRED
    assert (WrongCredentials().name, str(WrongCredentials())) == rpc.USER_NOT_FOUND
