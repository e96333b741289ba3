"""Waiting in tests: for something that must come, until it does, and never for a time that a machine needs.

A busy machine stops a process for seconds now and then. So what ends a wait here is far beyond that, and only a
failure waits for it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

PATIENCE = 60.0
"""Seconds after which what has not come will not come."""


def until(come: Callable[[], object], what: str = "it did not come about", pause: float = 0.01) -> None:
    """Wait, looking every ``pause`` seconds, until ``come`` is true; fail with ``what``."""
    end = time.monotonic() + PATIENCE
    while not come():
        assert time.monotonic() < end, what
        time.sleep(pause)


async def soon(come: Callable[[], object], what: str = "it did not come about") -> None:
    """The same on an event loop."""
    end = time.monotonic() + PATIENCE
    while not come():
        assert time.monotonic() < end, what
        await asyncio.sleep(0.001)
