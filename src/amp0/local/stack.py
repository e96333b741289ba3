"""The local stack: an embedded chain and an AMP0 server together on loopback, in one process.

The composition root of everything that runs on one machine: ``amp0 stack run``, the demo, and the tests that walk
whole journeys. The two parts meet over HTTP, as a server and a real chain would. The server uses the public test
service key, which is what :meth:`Network.regtest_default` names.
"""

from __future__ import annotations

import time
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from amp0.errors import ChainError, ConfigError, InvalidInput
from amp0.local.dev_client import DevClient
from amp0.local.hosting import LOOPBACK, Host, bind, port_of

if TYPE_CHECKING:
    from amp0.devchain.app import DevChain
    from amp0.devchain.node.face import NodeFace
    from amp0.network import Network
    from amp0.server.app import Server
    from amp0.server.twofactor.delivery import Outbox

WAMP_PORT = 8080
COSIGN_PORT = 9908
CHAIN_PORT = 3000
"""Where LWK's regtest network expects them."""

POLL_SECONDS = 0.2
"""How often the server asks the chain for news, and looks after what is due: both are here, and somebody is waiting."""


MOST_OFFSET = 100 * 365 * 86_400
"""Furthest that the clock can be moved, in seconds."""


class MovableClock:
    """The time of chain and server: the system's, and an offset that ``POST /dev/clock {offset_seconds}`` sets.

    ``path`` keeps the offset over restarts: a server that finds the time before that of its last run trusts it no more.
    """

    def __init__(self, path: Path | None = None) -> None:
        self._path = path
        self.offset = 0.0
        if path is not None and path.exists():
            try:
                self.offset = float(path.read_text())
            except ValueError:
                raise ConfigError(f"{path} is no number of seconds; delete it to have the system's time") from None

    def __call__(self) -> float:
        """Seconds since 1970."""
        return time.time() + self.offset

    def move(self, body: dict[str, Any]) -> dict[str, Any]:
        """Set the offset; answers it, and the time that it is now."""
        offset = body.get("offset_seconds")
        right = isinstance(offset, int | float) and not isinstance(offset, bool) and abs(offset) <= MOST_OFFSET
        if body.keys() != {"offset_seconds"} or not right:
            raise InvalidInput("send {offset_seconds}: how far ahead of the system's clock the stack's shall be")
        assert isinstance(offset, int | float)
        self.offset = float(offset)
        if self._path is not None:
            self._path.write_text(str(self.offset))
        return {"offset_seconds": offset, "now": int(self())}


class Stack:
    """Chain and server, ready when the constructor returns, until :meth:`close`. A context manager.

    Port 0 takes a free one; cosigning is then served where WAMP is. ``data_dir`` keeps chain and accounts over
    restarts; without one everything lives in memory. ``block_seconds`` makes a block that often; otherwise blocks
    are made when asked for (:attr:`dev`, ``POST /dev/mine``). ``node_port`` serves an Elements node's JSON-RPC
    there too, over the same chain, with a wallet of its own. ``settings`` are further settings of the server.

    Codes of second factors are sent nowhere: :attr:`outbox` keeps them, and ``GET /dev/outbox`` at the chain's URL
    shows them. :attr:`clock` is the time of both. ``POST /dev/issuer {username, password}`` makes an issuer, and
    fills the wallet that pays for issuances from the faucet.

    Raises :class:`ConfigError` when a port or the folder cannot be used; nothing is left running then.
    """

    def __init__(
        self,
        *,
        wamp_port: int = WAMP_PORT,
        cosign_port: int = COSIGN_PORT,
        chain_port: int = CHAIN_PORT,
        data_dir: Path | None = None,
        block_seconds: float | None = None,
        node_port: int | None = None,
        **settings: Any,
    ) -> None:
        self.data_dir = data_dir
        self._server: Server | None = None
        self._node: NodeFace | None = None
        self.node_url: str | None = None
        self.clock = MovableClock(None if data_dir is None else _folder(data_dir) / "clock")
        self._host = Host("amp0-stack")
        try:
            self.outbox = _outbox(self.clock)
            self.chain_url = self._start_chain(chain_port, block_seconds, node_port)
            self.dev = DevClient(self.chain_url)
            self.network = self._start_server(wamp_port, cosign_port, settings)
        except BaseException:
            self.close()
            raise

    @classmethod
    def on_free_ports(cls, **arguments: Any) -> Self:
        """A stack on free ports, beside any other; arguments as for the class."""
        return cls(wamp_port=0, cosign_port=0, chain_port=0, **arguments)

    @property
    def wamp_url(self) -> str:
        """Where clients connect."""
        return self.network.wamp_url

    @property
    def cosign_url(self) -> str:
        """Base URL of the cosigner, and of the description of the network."""
        return self.network.cosign_url

    @property
    def api_url(self) -> str:
        """Base URL of the issuer API."""
        return f"{self.cosign_url}/api"

    @property
    def node_cookie(self) -> Path | None:
        """The file with the node's user and password; None without a node."""
        return None if self._node is None else self._node.cookie_path

    def to_json(self) -> dict[str, str | None]:
        """What ``amp0 stack run --json`` says once all are ready."""
        shown = {
            "chain": self.chain_url,
            "wamp": self.wamp_url,
            "cosign": self.cosign_url,
            "api": self.api_url,
            "network": self.network.name,
            "data_dir": None if self.data_dir is None else str(self.data_dir),
        }
        if self._node is not None:
            shown |= {"node": self.node_url, "node_cookie": str(self.node_cookie)}
        return shown

    def close(self) -> None:
        """Stop the server, then the chain. Harmless when repeated."""
        server, self._server = self._server, None
        if server is not None:
            self._host.call(server.stop())
        if hasattr(self, "dev"):
            self.dev.close()
        self._host.close()
        if self._node is not None:
            self._node.close()

    def _start_chain(self, port: int, block_seconds: float | None, node_port: int | None) -> str:
        from amp0.devchain.app import build

        listening = bind(port)
        url = f"http://{LOOPBACK}:{port_of(listening)}"
        folder = None if self.data_dir is None else _folder(self.data_dir) / "chain"
        try:
            chain = build(dev=True, folder=folder, mine_every=block_seconds, clock=self.clock)
        except BaseException:
            listening.close()
            raise
        self._add_dev_routes(chain)
        self._host.serve(chain.app, [listening])
        if node_port is not None:
            self._start_node(chain, node_port)
        return url

    def _start_node(self, chain: DevChain, port: int) -> None:
        from amp0.devchain.node.face import build_node

        listening = bind(port)
        try:
            self._node = build_node(chain, folder=None if self.data_dir is None else self.data_dir / "node")
        except BaseException:
            listening.close()
            raise
        self._host.serve(self._node.app, [listening])
        self.node_url = f"http://{LOOPBACK}:{port_of(listening)}"

    def _add_dev_routes(self, chain: DevChain) -> None:
        """What a developer asks a server of his own: here on the chain's URL, beside faucet and blocks."""
        chain.add_dev_read("outbox", self.outbox.to_json)
        chain.add_dev_route("clock", self.clock.move)
        chain.add_dev_route("issuer", self._create_issuer)

    def _create_issuer(self, body: dict[str, Any]) -> dict[str, Any]:
        from amp0.local.issuing import create_issuer

        if self._server is None:
            raise ChainError("the server is not ready yet; try again")
        return create_issuer(self._server, self.dev, self.clock(), body)

    def _start_server(self, wamp_port: int, cosign_port: int, settings: dict[str, Any]) -> Network:
        from amp0.protocol.twofactor import SENT_METHODS
        from amp0.server.app import build
        from amp0.server.keys import ServiceKeys
        from amp0.server.settings import Listener, Settings

        listen = [Listener(LOOPBACK, wamp_port)]
        cosign_url = None
        if cosign_port:
            listen.append(Listener(LOOPBACK, cosign_port))
            cosign_url = f"http://{LOOPBACK}:{cosign_port}"
        chosen = Settings(
            **{
                "network": "liquidregtest",
                "chain_url": self.chain_url,
                "data_dir": None if self.data_dir is None else self.data_dir / "server",
                "listen": tuple(listen),
                "public_cosign_url": cosign_url,
                "poll_seconds": POLL_SECONDS,
                "upkeep_seconds": POLL_SECONDS,
                # Whoever tries one here has it on this machine.
                "authorization_private": True,
                **settings,
            }
        )
        channels = dict.fromkeys(SENT_METHODS, self.outbox)
        self._server = server = build(chosen, keys=ServiceKeys.test_key(), clock=self.clock, channels=channels)
        self._host.call(server.start())
        self._host.call(server.listen())
        return server.network

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _outbox(clock: MovableClock) -> Outbox:
    from amp0.server.twofactor.delivery import Outbox

    return Outbox(clock)


def _folder(data_dir: Path) -> Path:
    try:
        data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"the data folder {data_dir} cannot be used: {error.strerror}") from None
    return data_dir
