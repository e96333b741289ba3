from __future__ import annotations

from collections.abc import Iterator

import pytest

from amp0.server.issuer import confirming

from .house import House
from .office import Api, Office
from .treasury_desk import TreasuryDesk


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    """A confirm that comes too early is refused at once; tests of the waiting put a pause of their own there."""
    monkeypatch.setattr(confirming, "pause", lambda _seconds: None)


@pytest.fixture
def office() -> Iterator[Office]:
    """The issuer's side in one process, with a store in memory."""
    opened = Office()
    yield opened
    opened.close()


@pytest.fixture
def acme(office: Office) -> Api:
    """An issuer."""
    return office.issuer("acme")


@pytest.fixture
def desk(office: Office, acme: Api) -> TreasuryDesk:
    """An asset of that issuer, with a treasury."""
    return TreasuryDesk(office, acme)


@pytest.fixture
def house() -> Iterator[House]:
    """The server's side of issuances, with a wallet that can pay for some."""
    made = House()
    made.fund(50_000)
    yield made
    made.close()
