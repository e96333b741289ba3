"""ASGI applications on loopback, in a background thread: bound first, ready on return, stopped in order.

A :class:`Host` owns one event loop in one thread. Sockets are bound before anything is built, so that every
application knows every URL (a free port too) when it starts, and a port in use is an error before anything
happens.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import socket
import threading
from collections.abc import Coroutine, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeVar

from amp0.errors import ConfigError
from amp0.network import is_loopback_host

if TYPE_CHECKING:
    import uvicorn

_LOG = logging.getLogger("amp0.local")

T = TypeVar("T")

LOOPBACK = "127.0.0.1"
START_SECONDS = 60.0
STOP_SECONDS = 5


def bind(port: int, host: str = LOOPBACK) -> socket.socket:
    """A listening socket on loopback; ``port`` 0 takes a free one. Raises :class:`ConfigError`."""
    if not is_loopback_host(host):
        raise ConfigError(f"{host} is not on this machine's loopback; the local stack listens nowhere else")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # asyncio turns off Nagle's algorithm only for sockets that say they are TCP, and without that an answer in two
    # segments waits 40 ms for the peer's acknowledgement. Accepted sockets take after this one.
    listening = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        if os.name == "posix":
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((host, port))
        listening.listen(1024)
    except (OSError, OverflowError) as error:
        listening.close()
        taken = isinstance(error, OSError) and error.errno == errno.EADDRINUSE
        reason = "it is in use: stop what uses it, or choose another" if taken else str(error)
        raise ConfigError(f"cannot listen on port {port}: {reason}") from None
    return listening


def port_of(bound: socket.socket) -> int:
    """The port a socket is bound to."""
    port: int = bound.getsockname()[1]
    return port


def uvicorn_server(application: Any, *, max_message: int = 1024 * 1024) -> uvicorn.Server:
    """A quiet uvicorn server for one application; it gets its sockets later, and no signal handlers.

    ``max_message`` bounds a WebSocket frame, in bytes.
    """
    import uvicorn

    return uvicorn.Server(
        uvicorn.Config(
            application,
            lifespan="on",
            log_config=None,
            log_level="critical",
            access_log=False,
            server_header=False,
            date_header=False,
            ws_max_size=max_message,
            # The applications know their peers' needs: LWK answers no ping while it is idle.
            ws_ping_interval=None,
            timeout_graceful_shutdown=STOP_SECONDS,
        )
    )


class _Watched:
    """An application whose errors are kept: uvicorn says only that it did not start, or "500"."""

    def __init__(self, application: Any) -> None:
        self._application = application
        self.error: BaseException | None = None

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        try:
            await self._application(scope, receive, send)
        except Exception as error:
            if scope["type"] == "lifespan":
                self.error = error
            else:
                _LOG.exception("a request failed: path=%s", scope.get("path"))
            raise


class Host:
    """One background event loop that serves applications until :meth:`close`. A context manager."""

    def __init__(self, name: str = "amp0-local") -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._running: list[tuple[uvicorn.Server, asyncio.Task[None]]] = []
        self._closed = False
        self._thread.start()

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_forever()

    def call(self, coroutine: Coroutine[Any, Any, T], timeout: float | None = None) -> T:
        """Run a coroutine on the host's loop and wait for it."""
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(timeout)

    def serve(self, application: Any, sockets: Sequence[socket.socket], *, max_message: int = 1024 * 1024) -> None:
        """Start an application on bound sockets; returns when it is ready.

        The host owns the sockets from here on. When the application does not start, its own error is
        raised and the sockets are closed.
        """
        self.call(self._start(application, sockets, max_message), START_SECONDS)

    async def _start(self, application: Any, sockets: Sequence[socket.socket], max_message: int) -> None:
        watched = _Watched(application)
        server = uvicorn_server(watched, max_message=max_message)
        task = asyncio.create_task(self._serve(server, sockets))
        while not server.started and not task.done():  # noqa: ASYNC110 - uvicorn has a flag, no event
            await asyncio.sleep(0.002)
        if not server.started:
            await task
            for bound in sockets:
                bound.close()
            raise watched.error or ConfigError("an application of the local stack did not start")
        self._running.append((server, task))

    async def _serve(self, server: uvicorn.Server, sockets: Sequence[socket.socket]) -> None:
        try:
            await server.serve(sockets=list(sockets))
        except SystemExit:
            # uvicorn's way to say that the application did not start; here it must not end the loop.
            _LOG.debug("an application did not start")

    def close(self) -> None:
        """Stop every application, the last started first, and the loop. Harmless when repeated."""
        if self._closed:
            return
        self._closed = True
        self.call(self._stop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _stop(self) -> None:
        for server, task in reversed(self._running):
            server.should_exit = True
            await asyncio.gather(task, return_exceptions=True)
        await self._loop.shutdown_asyncgens()
        await self._loop.shutdown_default_executor()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
