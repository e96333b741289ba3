"""Python's garbage collector, kept from stopping the event loop.

A full collection looks at every object there is: with 10,000 sessions it takes 0.7 s, in which nobody is served.
Sessions, calls and HTTP requests leave no cycles behind, so reference counting frees them without any collection. What
has lived for a while is therefore set aside (``gc.freeze``), and a full collection sees only what is new.

What was set aside while it was in use, and became a cycle later, stays. That is a few objects that happened to be
under way; a test holds that connections are not among them.
"""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Callable

_LOOK_SECONDS = 0.2
_REST_SECONDS = 5.0
_MANY_CONNECTIONS = 100
"""New connections after which it is time: they are some 10,000 objects, which take 5 ms."""


def set_aside() -> None:
    """Collect what is new, and look at the rest no more."""
    gc.collect()
    gc.freeze()


async def keep(connections: Callable[[], int]) -> None:
    """Set aside what lives, for ever: soon after many new connections, and now and then."""
    loop = asyncio.get_running_loop()
    seen, done_at = connections(), loop.time()
    set_aside()
    try:
        while True:
            await asyncio.sleep(_LOOK_SECONDS)
            now = connections()
            if abs(now - seen) >= _MANY_CONNECTIONS or loop.time() - done_at >= _REST_SECONDS:
                set_aside()
                seen, done_at = now, loop.time()
    finally:
        gc.unfreeze()
