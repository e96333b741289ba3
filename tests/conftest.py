"""What every test shares: Hypothesis without deadlines, for two busy cores, and one local stack per process."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, settings

if TYPE_CHECKING:
    from amp0.local.stack import Stack

settings.register_profile("amp0", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("amp0")


@pytest.fixture(scope="session")
def stack() -> Iterator[Stack]:
    """Chain and server on free ports, for tests that leave nothing behind but accounts and blocks."""
    from amp0.local.stack import Stack

    with Stack.on_free_ports() as running:
        yield running
