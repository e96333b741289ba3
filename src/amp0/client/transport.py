"""How the client reaches a server: one WebSocket for the calls, one HTTP POST to cosign.

:class:`Transport` is what the client needs from the world; :class:`NetworkTransport` does it with sockets,
and tests put a server in its place that lives in the same process.
"""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING, Protocol

from amp0.errors import ConnectionFailed, ConnectionTimeout, RemoteProtocolError
from amp0.network import Network
from amp0.protocol.wamp import Serializer

if TYPE_CHECKING:
    import httpx
    from websockets.asyncio.client import ClientConnection

MAX_MESSAGE_BYTES = 4 * 1024 * 1024
"""Largest WAMP frame or HTTP answer that is read."""
_USER_AGENT = "amp0"


class Connection(Protocol):
    """One open WebSocket. Every method may raise :class:`~amp0.errors.ConnectionFailed`."""

    serializer: Serializer

    async def send(self, frame: str | bytes) -> None:
        """Put one frame on the wire."""

    async def receive(self) -> str | bytes:
        """The next frame."""

    async def close(self) -> None:
        """Close it; never raises."""


class Transport(Protocol):
    """What the client needs from the world. Deadlines are the caller's."""

    async def connect(self, network: Network) -> Connection:
        """Open a WebSocket to ``network.wamp_url``."""

    async def request(self, method: str, url: str, body: bytes | None, network: Network) -> bytes:
        """Send JSON (or nothing) and return the body of the answer, whatever its HTTP status."""

    async def close(self) -> None:
        """Let go of pooled connections."""


def ssl_context(network: Network) -> ssl.SSLContext:
    """Certificates are checked against the machine's authorities, or the network's own if it has any."""
    context = ssl.create_default_context()
    if network.cert_roots:
        context = ssl.create_default_context(cadata="\n".join(network.cert_roots))
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


class NetworkTransport:
    """Sockets: ``websockets`` and ``httpx``. Follows no redirects, uses no proxy, compresses nothing."""

    def __init__(self) -> None:
        self._http: httpx.AsyncClient | None = None

    async def connect(self, network: Network) -> Connection:
        """Open a WebSocket to ``network.wamp_url``."""
        import websockets
        from websockets.asyncio.client import connect
        from websockets.typing import Subprotocol

        class Connect(connect):
            def process_redirect(self, exc: Exception) -> Exception:
                return exc

        url = network.wamp_url
        try:
            # The caller's deadline covers opening too.
            connection = await Connect(
                url,
                subprotocols=[Subprotocol(Serializer.JSON.value)],
                compression=None,
                max_size=MAX_MESSAGE_BYTES,
                open_timeout=None,
                close_timeout=2,
                proxy=None,
                user_agent_header=_USER_AGENT,
                ssl=ssl_context(network) if url.startswith("wss:") else None,
            )
        except ssl.SSLCertVerificationError as error:
            raise ConnectionFailed(
                f"{url} shows a certificate that is not valid for it ({error.verify_message}); it was not used. "
                "Check the URL, or name the authority in the network's cert_roots"
            ) from None
        except (OSError, websockets.WebSocketException, TimeoutError) as error:
            raise ConnectionFailed(
                f"the AMP0 server at {url} cannot be reached: {_reason(error)}; is it running, and is this the network?"
            ) from None
        if connection.subprotocol != Serializer.JSON.value:
            await connection.close()
            raise RemoteProtocolError(f"{url} does not speak {Serializer.JSON.value}; is it an AMP0 server?")
        return _WebSocket(connection, url)

    async def request(self, method: str, url: str, body: bytes | None, network: Network) -> bytes:
        """Send JSON (or nothing) and return the body of the answer, whatever its HTTP status."""
        import httpx

        if self._http is None:
            # Without TLS no authorities are read; the empty context would trust nobody if it came to that.
            plain = url.startswith("http:")
            verify = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT) if plain else ssl_context(network)
            # Deadlines are the caller's: one for the whole exchange, not one per read.
            self._http = httpx.AsyncClient(
                verify=verify,
                follow_redirects=False,
                trust_env=False,
                timeout=httpx.Timeout(None),
                headers={"user-agent": _USER_AGENT},
            )
        headers = {"accept": "*/*"} | ({"content-type": "application/json"} if body is not None else {})
        try:
            async with self._http.stream(method, url, content=body, headers=headers) as answer:
                data = b""
                async for chunk in answer.aiter_bytes():
                    data += chunk
                    if len(data) > MAX_MESSAGE_BYTES:
                        raise RemoteProtocolError(f"{url} answers more than {MAX_MESSAGE_BYTES} bytes")
                return data
        except httpx.TimeoutException:
            raise ConnectionTimeout(f"{url} does not answer; try again") from None
        except httpx.HTTPError as error:
            raise ConnectionFailed(f"{url} cannot be reached: {_reason(error)}") from None

    async def close(self) -> None:
        """Let go of pooled connections."""
        if self._http is not None:
            client, self._http = self._http, None
            await client.aclose()


def _reason(error: Exception) -> str:
    return str(error) or type(error).__name__


class _WebSocket:
    """A ``websockets`` connection whose failures are ours."""

    serializer = Serializer.JSON

    def __init__(self, connection: ClientConnection, url: str) -> None:
        self._connection = connection
        self._url = url

    def _lost(self, error: Exception) -> ConnectionFailed:
        return ConnectionFailed(f"the connection to {self._url} was closed ({error}); connect again")

    async def send(self, frame: str | bytes) -> None:
        import websockets

        try:
            await self._connection.send(frame)
        except (OSError, websockets.WebSocketException) as error:
            raise self._lost(error) from None

    async def receive(self) -> str | bytes:
        import websockets

        try:
            return await self._connection.recv()
        except (OSError, websockets.WebSocketException) as error:
            raise self._lost(error) from None

    async def close(self) -> None:
        await self._connection.close()
