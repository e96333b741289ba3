from __future__ import annotations

from collections.abc import Iterator

import pytest

from .office import Api, Office


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
