"""A server in one process, and clients that talk WAMP to it without sockets."""

from __future__ import annotations

import asyncio
import hashlib
import itertools
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from dataclasses import dataclass, field
from typing import Any

from amp0.elements.keys import HARDENED, ExtendedKey
from amp0.network import Network
from amp0.protocol import credentials, rpc, wamp
from amp0.server.app import Server, build
from amp0.server.keys import ServiceKeys
from amp0.server.settings import Settings
from amp0.server.store.engine import Faults
from amp0.server.twofactor.delivery import Delivery, Outbox
from amp0.server.websocket import Connection

from .chain import FakeChain

NETWORK = Network.regtest_default()


class Clock:
    """A clock that stands until it is moved."""

    def __init__(self) -> None:
        self.now = 1_750_000_000.0

    def __call__(self) -> float:
        return self.now


@dataclass
class World:
    """One server, its chain and its clock."""

    server: Server
    chain: FakeChain
    clock: Clock
    outbox: Outbox

    def client(self, serializer: wamp.Serializer = wamp.Serializer.JSON, peer: str = "192.0.2.1") -> Client:
        """A new connection, which has not said HELLO."""
        return Client(self.server, serializer, peer)

    async def joined(self, serializer: wamp.Serializer = wamp.Serializer.JSON, peer: str = "192.0.2.1") -> Client:
        """A new connection that was welcomed."""
        client = self.client(serializer, peer)
        await client.join()
        return client

    async def logged_in(self, wallet: Wallet, serializer: wamp.Serializer = wamp.Serializer.JSON) -> Client:
        """A new full session of a wallet, registered if it was not."""
        client = await self.joined(serializer)
        await wallet.register(client)
        await wallet.log_in(client)
        return client


def in_world(
    scene: Callable[[World], Coroutine[Any, Any, None]],
    *,
    url: str | None = None,
    chain: FakeChain | None = None,
    faults: Faults | None = None,
    channels: Mapping[str, Delivery] | None = None,
    monotonic: Callable[[], float] | None = None,
    **settings: Any,
) -> None:
    """Play a scene against a server of its own. Without ``channels`` every message lands in ``World.outbox``.

    The server does nothing by itself: on a busy machine it would amid some scenes, and not in others.
    """

    async def play() -> None:
        source, clock = chain or FakeChain(), Clock()
        outbox = Outbox(clock)
        chosen: dict[str, Any] = {
            "poll_seconds": 3600.0,
            "upkeep_seconds": 3600.0,
            "mempool_grace_seconds": 5.0,
            "database_url": url,
        }
        server = build(
            Settings(**{**chosen, **settings}),
            keys=ServiceKeys.test_key(),
            clock=clock,
            chain_client=source.client(),
            faults=faults,
            channels=dict.fromkeys(("email", "sms", "phone", "telegram"), outbox) if channels is None else channels,
            monotonic=monotonic,
        )
        await server.start()
        try:
            await scene(World(server, source, clock, outbox))
        finally:
            await server.stop()

    asyncio.run(play())


class CallError(Exception):
    """The server answered with an error."""

    def __init__(self, name: str, text: str) -> None:
        super().__init__(f"{name}: {text}")
        self.name = name
        self.text = text


@dataclass
class Client:
    """One end of a connection: a silent peer, and lists in place of sockets."""

    server: Server
    serializer: wamp.Serializer
    peer_address: str
    close_code: int | None = None
    sent: list[str | bytes] = field(default_factory=list)
    messages: list[wamp.Message | wamp.Ignored] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.peer = wamp.Peer(wamp.Role.CLIENT, self.serializer)
        self.connection = Connection(self.server.hub, self.serializer, self, self.peer_address)
        self._ids = itertools.count(1)

    # What the server's connection needs of a socket.

    async def send(self, frame: str | bytes) -> None:
        self.sent.append(frame)
        self.messages += self.peer.receive(frame)

    async def close(self, code: int) -> None:
        self.close_code = code

    # What a test does.

    async def flush(self) -> None:
        for frame in self.peer.data_to_send():
            await self.connection.handle(frame)
        await settle()

    async def join(self) -> None:
        self.peer.hello()
        await self.flush()
        assert isinstance(self.messages.pop(), wamp.Welcome)

    async def call(self, procedure: rpc.Procedure) -> Any:
        return await self.call_uri(procedure.URI, procedure.args())

    async def call_uri(self, uri: str, args: list[Any]) -> Any:
        request = next(self._ids)
        self.peer.call(request, uri, args)
        await self.flush()
        for message in self.messages:
            if isinstance(message, wamp.Result) and message.request == request:
                self.messages.remove(message)
                return message.args[0]
            if isinstance(message, wamp.Error) and message.request == request:
                self.messages.remove(message)
                raise CallError(*rpc.parse_error(message.uri, message.args))
        raise AssertionError(f"no answer to {uri}: {self.messages}, closed {self.close_code}")

    async def subscribe(self, topic: str) -> int:
        request = next(self._ids)
        self.peer.subscribe(request, topic)
        await self.flush()
        message = self.messages.pop()
        if isinstance(message, wamp.Error):
            raise CallError(*rpc.parse_error(message.uri, message.args))
        assert isinstance(message, wamp.Subscribed)
        return message.subscription

    def events(self) -> list[dict[str, Any]]:
        """Payloads of the events that came, each once."""
        found = [message for message in self.messages if isinstance(message, wamp.Event)]
        self.messages = [message for message in self.messages if not isinstance(message, wamp.Event)]
        return [event.args[0] for event in found]


async def settle() -> None:
    """Let tasks that are ready run."""
    for _ in range(10):
        await asyncio.sleep(0)


@dataclass(frozen=True)
class Wallet:
    """A wallet's keys, and how it registers and logs in."""

    name: str

    @property
    def master(self) -> ExtendedKey:
        return ExtendedKey.from_seed(hashlib.sha512(self.name.encode()).digest(), main=False)

    @property
    def gait_path(self) -> bytes:
        return credentials.gait_path(self.master.child(0x4741 + HARDENED).public())

    def account_xpub(self, account: int) -> str:
        return str(credentials.account_xpub(self.master, account))

    def registration(self, **changes: str) -> rpc.Register:
        fields = {
            "master_pubkey": self.master.public_key.hex(),
            "master_chain_code": self.master.chain_code.hex(),
            "user_agent": rpc.USER_AGENT,
            "gait_path": self.gait_path.hex(),
        }
        return rpc.Register(**{**fields, **changes})

    async def register(self, client: Client) -> None:
        assert await client.call(self.registration()) is True

    async def challenge(self, client: Client) -> str:
        address = credentials.login_address(NETWORK, self.master.public_key)
        text = await client.call(rpc.GetChallenge(address))
        return credentials.check_challenge(text)

    async def log_in(self, client: Client) -> rpc.LoginData:
        signature = credentials.sign_challenge(self.master, await self.challenge(client))
        call = rpc.Authenticate(signature)
        data: rpc.LoginData = rpc.parse_result(call, [await client.call(call)])
        return data

    async def create_account(self, client: Client, account: int = 1) -> str:
        call = rpc.CreateSubaccount(account, "", rpc.ACCOUNT_TYPE, [self.account_xpub(account)], [""])
        return str(await client.call(call))

    async def create_watch_only(self, client: Client, name: str, password: str) -> rpc.WatchOnlyLogin:
        """Fast stand-ins for what a client stretches with scrypt."""
        pair = hashlib.sha256(name.encode()).hexdigest(), hashlib.sha256(password.encode()).hexdigest()
        assert await client.call(rpc.SyncCustom(*pair, "ab" * 64)) is True
        return watch_only_login(name, password)


def watch_only_login(name: str, password: str) -> rpc.WatchOnlyLogin:
    pair = hashlib.sha256(name.encode()).hexdigest(), hashlib.sha256(password.encode()).hexdigest()
    return rpc.WatchOnlyLogin("custom", rpc.WatchOnlyCredentials(*pair), rpc.USER_AGENT, True)


Scene = Callable[[World], Awaitable[None]]
