"""Commands that run until they are told to stop: Ctrl-C and SIGTERM end them in order, with exit code 0."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType


class Stopped(BaseException):
    """A signal came before everything was ready: unwind, and stop what has been started."""


@contextmanager
def until_stopped() -> Iterator[Callable[[], None]]:
    """Yields a function that waits for SIGINT or SIGTERM; a signal before that leaves the block at once.

    What is started inside the block is stopped by its own context managers, once: more signals during that are
    ignored, so that nothing is left half stopped.
    """
    stopped = threading.Event()
    waiting = False

    def stop(number: int, frame: FrameType | None) -> None:
        if stopped.is_set():
            return
        stopped.set()
        if not waiting:
            raise Stopped

    def wait() -> None:
        nonlocal waiting
        waiting = True
        # A wait with an end lets the interpreter run signal handlers on every platform.
        while not stopped.wait(0.5):
            pass

    kinds = (signal.SIGINT, signal.SIGTERM)
    earlier = [signal.signal(kind, stop) for kind in kinds]
    try:
        yield wait
    except Stopped:
        return
    finally:
        for kind, handler in zip(kinds, earlier, strict=True):
            signal.signal(kind, handler)
