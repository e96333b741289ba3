"""What every test shares: Hypothesis without deadlines, for two busy cores, one local stack per process, an order."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, settings

if TYPE_CHECKING:
    from amp0.local.stack import Stack

settings.register_profile("amp0", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("amp0")

LONG = ("interop", "journeys", "docs", "cli", "local", "server/issuer", "server")
"""Folders whose files take longest; first in the order, so that at the end no process waits for another's last file."""


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Long files first; otherwise as they were."""
    here = Path(__file__).parent

    def turn(item: pytest.Item) -> int:
        folder = item.path.relative_to(here).parent.as_posix() if item.path.is_relative_to(here) else ""
        return next((i for i, long in enumerate(LONG) if f"{folder}/".startswith(f"{long}/")), len(LONG))

    items.sort(key=turn)


@pytest.fixture(scope="session")
def stretchers() -> tuple[Callable[..., Any], Callable[..., Any]]:
    """What stretches a venue's and an issuer's password, with a memory."""
    from amp0.protocol import credentials
    from amp0.server.issuer import principals

    return functools.cache(credentials.watch_only_keys), functools.cache(principals._stretch)


@pytest.fixture
def stretched_once(stretchers: tuple[Callable[..., Any], Callable[..., Any]], monkeypatch: pytest.MonkeyPatch) -> None:
    """Each password is stretched once in a process, not for each command and connection: the outcome is the same."""
    from amp0.protocol import credentials
    from amp0.server.issuer import principals

    monkeypatch.setattr(credentials, "watch_only_keys", stretchers[0])
    monkeypatch.setattr(principals, "_stretch", stretchers[1])


@pytest.fixture(scope="session")
def stack() -> Iterator[Stack]:
    """Chain and server on free ports, for tests that leave nothing behind but accounts and blocks."""
    from amp0.local.stack import Stack

    with Stack.on_free_ports() as running:
        yield running
