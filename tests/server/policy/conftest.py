"""A market with one managed asset and two holders, for tests of what may move."""

from __future__ import annotations

import pytest

from tests.server.cosigning import Account
from tests.server.policy.market import Managed, Market


@pytest.fixture
def market() -> Market:
    return Market()


@pytest.fixture
def share(market: Market) -> Managed:
    return market.asset()


@pytest.fixture
def alice(market: Market) -> Account:
    return market.holder("alice")


@pytest.fixture
def bob(market: Market) -> Account:
    return market.holder("bob")
