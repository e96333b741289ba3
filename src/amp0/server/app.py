"""The composition root: settings → store, keys, watcher, cosigner, routes; every part is built and introduced here.

:func:`build` makes a :class:`Server`. Its ``app`` is one ASGI application with everything on it, which tests call in
process; :meth:`Server.start` begins to follow the chain and :meth:`Server.listen` serves the application on the
listeners of the settings, with the limits that belong to them. :meth:`Server.stop` ends it in the one right order:
calls are answered, only then the sockets close.
"""

from __future__ import annotations

import asyncio
import logging
import os
import secrets
import socket
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import sqlalchemy as sa
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import WebSocketRoute

from amp0.errors import ConfigError, NetworkMismatch
from amp0.network import REGTEST_GENESIS, Network
from amp0.protocol import rpc
from amp0.server import garbage
from amp0.server.attempts import Alarm, Attempts
from amp0.server.chainindex import Follower
from amp0.server.chainsource import chain_source
from amp0.server.context import Publication, Services
from amp0.server.cosign_checks import Limits
from amp0.server.cosigner import Cosigner
from amp0.server.http import HttpApi
from amp0.server.issuer import fee_keys
from amp0.server.issuer.fee_coins import FeeCoins
from amp0.server.issuer.fee_wallet import FeeWallet
from amp0.server.issuer.side import IssuerSide
from amp0.server.issuer.undone import Undone
from amp0.server.keys import KEY_FILE, ServiceKeys, create_key_file, load_key_file
from amp0.server.origins import Origins
from amp0.server.policy import changes, preflight
from amp0.server.policy.preflight import Preflights, by_policy
from amp0.server.settings import Listener, Settings
from amp0.server.store import schema
from amp0.server.store.engine import Faults, Store
from amp0.server.twofactor.clock import TrustedClock, load_mark
from amp0.server.twofactor.delivery import Delivery, channels_from
from amp0.server.twofactor.factors import DAY, Factors
from amp0.server.twofactor.gate import SpendGate
from amp0.server.twofactor.upkeep import Upkeep
from amp0.server.watcher import Watcher
from amp0.server.websocket import Hub, WebSocketEndpoint
from amp0.server.workers import Workers

if TYPE_CHECKING:
    import uvicorn

log = logging.getLogger("amp0.server")


class Server:
    """A server that is put together. Make one with :func:`build`."""

    def __init__(
        self,
        settings: Settings,
        services: Services,
        side: IssuerSide,
        watcher: Watcher,
        hub: Hub,
        client: httpx.AsyncClient,
    ) -> None:
        self.settings = settings
        self.services = services
        self.side = side
        self.upkeep = Upkeep(services.factors, services.store, [changes])
        self.watcher = watcher
        self.hub = hub
        self.app = _application(settings, services, side, hub)
        self._client = client
        self._sweeper: asyncio.Task[None] | None = None
        self._keeper: asyncio.Task[None] | None = None
        self._listening: tuple[uvicorn.Server, asyncio.Task[None]] | None = None
        self._lock: int | None = None

    @property
    def network(self) -> Network:
        """What ``/v1/network`` tells: the chain, this service's key and its public URLs."""
        return self.services.network

    async def start(self) -> None:
        """Follow the chain. A chain that is away does not keep the server from starting."""
        await asyncio.to_thread(self.upkeep.begin)
        await self.watcher.start()
        self._sweeper = asyncio.create_task(self._sweep())
        log.info(
            "started network=%s service_key=%s height=%d",
            self.settings.network,
            self.services.keys.fingerprint.hex(),
            self.watcher.height(),
        )

    async def listen(self, *, own_process: bool = False) -> list[Listener]:
        """Serve on the listeners of the settings; answers with the real ports once connections are taken.

        Where the whole process is this server's, its garbage collector is looked after too (:mod:`garbage`).
        """
        from amp0.server.uvicorn_limits import Config, QuietServer

        sockets = [_bind(listener) for listener in self.settings.listen]
        bound = [
            Listener(listener.host, opened.getsockname()[1])
            for listener, opened in zip(self.settings.listen, sockets, strict=True)
        ]
        self.services.network = _public_network(self.settings, self.services.keys, bound[0])
        server = QuietServer(Config(self.app, self.settings))
        task = asyncio.create_task(server.serve(sockets=sockets))
        while not server.started:
            if task.done():
                await task
                raise ConfigError("the server did not start to listen")
            await asyncio.sleep(0.005)
        self._listening = server, task
        if own_process:
            self._keeper = asyncio.create_task(garbage.keep(lambda: len(self.hub.connections)))
        log.info("listening at=%s", ",".join(map(str, bound)))
        return bound

    async def stop(self) -> None:
        """Answer what is running, close sockets, then files. May be called twice."""
        await self.hub.close()
        if self._listening is not None:
            server, serving = self._listening
            self._listening = None
            server.should_exit = True
            await asyncio.gather(serving, return_exceptions=True)
        for task in (self._sweeper, self._keeper):
            if task is not None:
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)
        self._sweeper = self._keeper = None
        await self.watcher.stop()
        await asyncio.to_thread(self.hub.workers.close)
        self.side.close()
        await self._client.aclose()
        self.services.store.close()
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None
        log.info("stopped")

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(self.settings.upkeep_seconds)
            await self.hub.sweep()
            for upkeep in (self.upkeep.run, self.side.upkeep.run):
                try:
                    await self.hub.workers.sending(upkeep)
                except Exception:
                    # The store says what is wrong with it; what was due is due again in a moment.
                    log.exception("upkeep failed")


def build(
    settings: Settings,
    *,
    keys: ServiceKeys | None = None,
    passphrase: bytes | None = None,
    clock: Callable[[], float] = time.time,
    monotonic: Callable[[], float] | None = None,
    random: Callable[[int], bytes] = secrets.token_bytes,
    chain_client: httpx.AsyncClient | None = None,
    channels: Mapping[str, Delivery] | None = None,
    faults: Faults | None = None,
) -> Server:
    """Put a server together; nothing runs yet.

    ``keys`` replaces the key file of the data folder (a local stack passes the test key). Otherwise the key is opened,
    or made at first start, with ``passphrase`` or the one that the settings name. ``chain_client`` talks to the chain
    (a test passes one that stays in the process), ``faults`` breaks the store. ``channels`` (method → delivery) are
    used in place of those of the settings. ``monotonic`` watches over ``clock``; it is the system's, unless the clock
    is another than the system's, and then that clock is believed.

    Raises :class:`ConfigError` for settings, folders and files that cannot be used, and
    :class:`NetworkMismatch` for the test key anywhere but on liquidregtest over loopback.
    """
    lock = None if settings.data_dir is None else _take_folder(settings.data_dir)
    store = None
    try:
        store = Store.open(settings.store_url(), faults=faults)
        if keys is None:
            # Read once: a file descriptor gives it only once.
            passphrase = passphrase or settings.read_passphrase()
            keys = _service_keys(settings, store, passphrase, random)
            wallet = fee_keys.open_or_make(settings, store, passphrase, random)
        else:
            wallet = FeeWallet(keys.derive_secret(b"fee wallet"), settings.chain_network())
        _refuse_test_key_in_the_open(settings, keys)
        network = _public_network(settings, keys, settings.listen[0])
        _bind_store(store, keys, network, wallet)
        if monotonic is None:
            monotonic = time.monotonic if clock is time.time else clock
        factors = _factors(settings, store, keys, network, clock, monotonic, random, channels)
    except BaseException:
        if store is not None:
            store.close()
        if lock is not None:
            os.close(lock)
        raise
    client = chain_client or httpx.AsyncClient(
        timeout=settings.chain_timeout_seconds, headers={"accept": "*/*"}, trust_env=False
    )
    server = _assemble(settings, store, keys, wallet, network, clock, random, client, factors)
    server._lock = lock
    return server


def _assemble(
    settings: Settings,
    store: Store,
    keys: ServiceKeys,
    wallet: FeeWallet,
    network: Network,
    clock: Callable[[], float],
    random: Callable[[int], bytes],
    client: httpx.AsyncClient,
    factors: Factors,
) -> Server:
    workers = Workers(settings)
    hub = Hub(settings, workers)

    async def publish(publications: Sequence[Publication]) -> None:
        await hub.publish(publications)

    source = chain_source(settings, client)
    followers: list[Follower] = [FeeCoins(wallet), Undone(factors.clock.now)]
    watcher = Watcher(settings, network, store, source, clock, workers.ordinary, publish, followers)
    side = IssuerSide(settings, store, keys, wallet, network, factors.clock, random, watcher, workers)
    cosigner = Cosigner(
        store,
        keys,
        watcher,
        policy_asset=bytes.fromhex(network.policy_asset_hex)[::-1],
        clock=clock,
        limits=Limits(
            replace_after=settings.replace_after_seconds,
            max_fee_rate=settings.max_fee_rate,
            max_fee=settings.max_fee,
            max_waiting=settings.max_waiting_cosigns,
            workers=settings.cosign_workers,
        ),
        gates=[SpendGate(factors), side.gate],
        recorders=[side.recorder],
    )
    services = Services(
        settings=settings,
        network=network,
        store=store,
        keys=keys,
        attempts=Attempts(settings.login_refill_seconds, clock),
        login_alarm=Alarm(settings.login_alarm, clock),
        clock=clock,
        random=random,
        tip=watcher.tip,
        is_current=watcher.is_current,
        broadcast=watcher.broadcast,
        cosigner=cosigner,
        factors=factors,
        is_fee_wallet_low=lambda: side.upkeep.is_low,
        preflights=Preflights(
            store=store,
            network=network,
            judge=by_policy,
            attempts=Attempts(settings.preflight_refill_seconds, clock),
            allowance=settings.preflight_requests,
            clock=clock,
            now=lambda: int(factors.clock.now()),
            secret=keys.derive_secret(preflight.PURPOSE),
        ),
    )
    hub.services = services
    return Server(settings, services, side, watcher, hub, client)


def _factors(
    settings: Settings,
    store: Store,
    keys: ServiceKeys,
    network: Network,
    clock: Callable[[], float],
    monotonic: Callable[[], float],
    random: Callable[[int], bytes],
    channels: Mapping[str, Delivery] | None,
) -> Factors:
    with store.snapshot() as db:
        mark = load_mark(db)
    trusted = TrustedClock(clock, monotonic, tolerance=settings.clock_tolerance_seconds, max_gap=DAY, mark=mark)
    return Factors(
        derive_secret=keys.derive_secret,
        random=random,
        clock=trusted,
        channels=channels_from(settings, clock) if channels is None else channels,
        requests=Attempts(settings.code_refill_seconds, trusted.now),
        settings=settings,
        policy_asset=bytes.fromhex(network.policy_asset_hex)[::-1],
    )


def _application(settings: Settings, services: Services, side: IssuerSide, hub: Hub) -> Starlette:
    endpoint = WebSocketEndpoint(hub)
    middleware = []
    if settings.allowed_origins:
        middleware.append(Middleware(Origins, settings.allowed_origins))
    return Starlette(
        routes=[
            *(WebSocketRoute(path, endpoint) for path in rpc.WAMP_PATHS),
            *HttpApi(services, hub).routes(),
            *side.routes(hub),
        ],
        middleware=middleware,
        exception_handlers={404: _not_found, 405: _not_found},
    )


async def _not_found(_request: Request, error: Exception) -> Response:
    status = getattr(error, "status_code", 404)
    return JSONResponse({"error": "there is nothing at this path"}, status_code=status)


# --- keys, folder and store ----------------------------------------------------------------------------------------


def _take_folder(folder: Path) -> int | None:
    """Make the data folder if need be, and lock it: two servers on one database would sign against each other."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(folder / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise ConfigError(f"the data folder {folder} cannot be used: {error}") from None
    try:
        import fcntl
    except ImportError:
        # Windows has no flock; one server per folder is the operator's care there.
        return descriptor
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        raise ConfigError(f"another server is running on the data folder {folder}; stop it first") from None
    return descriptor


def _service_keys(
    settings: Settings, store: Store, passphrase: bytes | None, random: Callable[[int], bytes]
) -> ServiceKeys:
    if settings.data_dir is None:
        raise ConfigError("the server needs a data folder for its service key (--data-dir, AMP0_DATA_DIR)")
    if passphrase is None:
        raise ConfigError(
            "the service key is kept encrypted: name a file or file descriptor that holds its passphrase "
            "(--passphrase-file, --passphrase-fd, or the AMP0_… variables of these names)"
        )
    path = settings.data_dir / KEY_FILE
    main = settings.chain_network().main
    if path.exists():
        return load_key_file(path, passphrase, main=main)
    if "service_pubkey" in _facts(store):
        raise ConfigError(
            f"the database belongs to a service key, and {path} is missing; restore it from its copy "
            "(a new key could not move the coins of existing accounts)"
        )
    return create_key_file(path, passphrase, random, main=main)


def _facts(store: Store) -> dict[str, bytes]:
    with store.snapshot() as connection:
        rows = connection.execute(sa.select(schema.service.c.name, schema.service.c.value))
        return {row.name: bytes(row.value) for row in rows}


def _bind_store(store: Store, keys: ServiceKeys, network: Network, wallet: FeeWallet) -> None:
    """A database belongs to one service key, one fee wallet and one chain, for ever."""
    expected = {
        "service_pubkey": keys.pubkey,
        "service_chain_code": keys.chain_code,
        "genesis_hash": bytes.fromhex(network.genesis_hash_hex),
        fee_keys.WALLET_FACT: wallet.pubkey,
    }
    facts = _facts(store)
    for name, value in expected.items():
        if facts.get(name, value) != value:
            raise ConfigError(
                f"the database belongs to another {name.replace('_', ' ')}; choose another data folder, "
                "or the key and network it was made with"
            )
    missing = [{"name": name, "value": value} for name, value in expected.items() if name not in facts]
    if missing:
        with store.transaction() as connection:
            connection.execute(schema.service.insert(), missing)


def _refuse_test_key_in_the_open(settings: Settings, keys: ServiceKeys) -> None:
    if not keys.is_test_key:
        return
    if settings.chain_network().genesis_hash_hex != REGTEST_GENESIS:
        raise NetworkMismatch(
            "this is the public test service key, whose private half everybody knows: it is only usable on "
            "liquidregtest. Let the server make a key of its own"
        )
    for listener in settings.listen:
        if not listener.is_loopback():
            raise NetworkMismatch(
                f"the listener {listener} can be reached from other machines, and the public test service key is "
                "only usable over loopback. Let the server make a key of its own"
            )


def _public_network(settings: Settings, keys: ServiceKeys, first: Listener) -> Network:
    # Who listens everywhere has to be told a public URL; until then clients on this machine can connect.
    host = "localhost" if first.host in ("0.0.0.0", "::") else first.host  # noqa: S104
    base = str(Listener(host, first.port))
    return settings.chain_network().replace(
        service_pubkey=keys.pubkey,
        service_chain_code=keys.chain_code,
        wamp_url=settings.public_wamp_url or f"ws://{base}{rpc.WAMP_PATHS[0]}",
        cosign_url=settings.public_cosign_url or f"http://{base}",
        # A node is no Esplora: clients have to be told of one, or use what they know.
        esplora_url=settings.public_esplora_url or (settings.chain_url if settings.node_url() is None else ""),
    )


def _bind(listener: Listener) -> socket.socket:
    family = socket.AF_INET6 if ":" in listener.host else socket.AF_INET
    # asyncio turns off Nagle's algorithm only for sockets that say they are TCP, and without that an answer in two
    # segments waits 40 ms for the peer's acknowledgement. Accepted sockets take after this one.
    opened = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        opened.bind((listener.host, listener.port))
        opened.setblocking(False)
    except OSError as error:
        opened.close()
        raise ConfigError(f"cannot listen at {listener}: {error.strerror or error}; choose another port") from None
    return opened


@contextmanager
def running(server: Server) -> Iterator[asyncio.Runner]:
    """A runner in which the server is started without listeners, for tests and tools; stopped at the end."""
    with asyncio.Runner() as runner:
        runner.run(server.start())
        try:
            yield runner
        finally:
            runner.run(server.stop())
