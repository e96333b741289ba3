"""Composition of the development chain: chain, faucet and explorer as one ASGI application.

::

    built = build(dev=True, folder="…", mine_every=2.0)
    uvicorn.run(built.app)

Explorer and Waterfalls are at the root of the URL, for anybody; ``/dev/*`` is there only with
``dev=True``, for this machine. Nothing here opens a socket.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from amp0.devchain.chain import Chain
from amp0.devchain.dev import Dev, DevRead, DevRoute
from amp0.devchain.esplora import Esplora
from amp0.devchain.faucet import Faucet
from amp0.devchain.http import Receive, Scope, Send
from amp0.errors import ChainError
from amp0.network import Network

_LOG = logging.getLogger("amp0.devchain")


class App:
    """The ASGI application: routes, and the mining timer while the server runs."""

    def __init__(self, chain: Chain, esplora: Esplora, dev: Dev | None, mine_every: float | None = None) -> None:
        self._chain = chain
        self._esplora = esplora
        self._dev = dev
        self._mine_every = mine_every

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one connection of the server."""
        if scope["type"] == "http":
            if self._dev is not None and scope["path"].startswith("/dev/"):
                await self._dev(scope, receive, send)
            else:
                await self._esplora(scope, receive, send)
        elif scope["type"] == "lifespan":
            await self._live(receive, send)
        elif scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.close", "code": 1000})

    async def _live(self, receive: Receive, send: Send) -> None:
        miner: asyncio.Task[None] | None = None
        while True:
            message = await receive()
            if message["type"] == "lifespan.startup":
                if self._mine_every is not None:
                    miner = asyncio.create_task(self._mine(self._mine_every))
                await send({"type": "lifespan.startup.complete"})
            elif message["type"] == "lifespan.shutdown":
                if miner is not None:
                    miner.cancel()
                    with contextlib.suppress(asyncio.CancelledError):
                        await miner
                self._chain.close()
                await send({"type": "lifespan.shutdown.complete"})
                return

    async def _mine(self, every: float) -> None:
        while True:
            await asyncio.sleep(every)
            try:
                await asyncio.to_thread(self._chain.mine)
            except ChainError as error:
                _LOG.warning("no block was made reason=%s", error)


@dataclass(frozen=True, slots=True)
class DevChain:
    """What :func:`build` made. ``dev`` is ``None`` where there are no ``/dev`` routes."""

    app: App
    chain: Chain
    faucet: Faucet
    esplora: Esplora
    dev: Dev | None

    def add_dev_route(self, name: str, handler: DevRoute) -> None:
        """Serve ``POST /dev/<name>`` too; does nothing where there are no ``/dev`` routes."""
        if self.dev is not None:
            self.dev.routes[name] = handler

    def add_dev_read(self, name: str, handler: DevRead) -> None:
        """Serve ``GET /dev/<name>`` too; does nothing where there are no ``/dev`` routes."""
        if self.dev is not None:
            self.dev.reads[name] = handler

    def close(self) -> None:
        """Release the folder; for callers that run the chain without a server."""
        self.chain.close()


def build(
    *,
    dev: bool = False,
    folder: str | os.PathLike[str] | None = None,
    mine_every: float | None = None,
    clock: Callable[[], float] = time.time,
    random: Callable[[int], bytes] = secrets.token_bytes,
    network: Network | None = None,
    dev_routes: Mapping[str, DevRoute] | None = None,
) -> DevChain:
    """A liquidregtest chain with its first block, and the application that serves it.

    ``folder`` keeps the chain over restarts (in memory otherwise); ``mine_every`` seconds a block
    is made while the application is served (only on demand otherwise); ``clock`` gives seconds
    since 1970, ``random`` that many random bytes; ``network`` tells the address prefixes, those
    of liquidregtest by default. Raises :class:`~amp0.errors.ConfigError` for a folder that
    cannot be used.
    """
    chosen = Network.regtest_default() if network is None else network
    chain = Chain(clock=clock, folder=folder)
    faucet = Faucet(chain, random=random)
    faucet.prepare()
    esplora = Esplora(chain, chosen)
    routes = Dev(chain, faucet, chosen, dev_routes) if dev else None
    return DevChain(App(chain, esplora, routes, mine_every), chain, faucet, esplora, routes)


__all__ = ["App", "DevChain", "DevRead", "DevRoute", "build"]
