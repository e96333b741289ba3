"""The client over real sockets on loopback: WebSocket, TLS, HTTP, and what goes wrong there."""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import ipaddress
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from websockets.asyncio.server import ServerConnection, serve
from websockets.typing import Subprotocol

from amp0.client.session import ClientOptions, Session
from amp0.client.transport import MAX_MESSAGE_BYTES, NetworkTransport
from amp0.elements.keys import ExtendedKey
from amp0.errors import CallFailed, ConnectionFailed, ConnectionTimeout, InvalidInput, RemoteProtocolError
from amp0.network import Network
from amp0.protocol import rpc, wamp
from tests.patience import PATIENCE

OWN = ExtendedKey.from_seed(b"\x01" * 32, main=False)
BASE = Network.regtest_default().replace(service_pubkey=OWN.public_key, service_chain_code=OWN.chain_code)
OPTIONS = ClientOptions(timeout=PATIENCE)


async def echo(connection: ServerConnection) -> None:
    """A server that answers every call with its own arguments."""
    peer = wamp.Peer(wamp.Role.SERVER, wamp.Serializer.JSON)
    async for frame in connection:
        for message in peer.receive(frame):
            if isinstance(message, wamp.Hello):
                peer.welcome(1)
            elif isinstance(message, wamp.Call):
                peer.result(message.request, "hello")
        for out in peer.data_to_send():
            await connection.send(out)
        if peer.closed:
            return


@contextlib.asynccontextmanager
async def websocket_server(
    handler: Callable[[ServerConnection], Awaitable[None]],
    *,
    subprotocol: str = "wamp.2.json",
    tls: ssl.SSLContext | None = None,
) -> AsyncIterator[Network]:
    async with serve(
        handler, "127.0.0.1", 0, subprotocols=[Subprotocol(subprotocol)], ssl=tls, compression="deflate"
    ) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        yield BASE.replace(wamp_url=f"{'wss' if tls else 'ws'}://127.0.0.1:{port}/v2/ws")


def test_a_call_over_a_websocket() -> None:
    async def work() -> None:
        async with websocket_server(echo) as network:
            session = await Session.open(network, NetworkTransport(), OPTIONS)
            assert await session.call(rpc.GetChallenge("x")) == "hello"
            await session.close()
            assert not session.alive
            with pytest.raises(ConnectionFailed):
                await session.call(rpc.GetChallenge("x"))

    asyncio.run(work())


def test_a04_a_server_without_our_subprotocol() -> None:
    async def work() -> None:
        async with websocket_server(echo, subprotocol="wamp.2.cbor") as network:
            with pytest.raises((ConnectionFailed, RemoteProtocolError)):
                await Session.open(network, NetworkTransport(), OPTIONS)

    asyncio.run(work())


def test_a01_a_frame_that_is_too_large() -> None:
    async def flood(connection: ServerConnection) -> None:
        await connection.recv()
        with contextlib.suppress(Exception):
            await connection.send("x" * (MAX_MESSAGE_BYTES + 1))

    async def work() -> None:
        async with websocket_server(flood) as network:
            with pytest.raises(ConnectionFailed):
                await Session.open(network, NetworkTransport(), OPTIONS)

    asyncio.run(work())


def test_a15_a_server_that_accepts_and_says_nothing() -> None:
    async def silent(connection: ServerConnection) -> None:
        await connection.wait_closed()

    async def hold(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # From Python 3.12 on a writer that nobody holds closes its connection.
        await asyncio.sleep(PATIENCE)
        writer.close()

    async def work() -> None:
        async with websocket_server(silent) as network:
            with pytest.raises(ConnectionTimeout, match="let us in"):
                await Session.open(network, NetworkTransport(), ClientOptions(timeout=1.0))
        hole = await asyncio.start_server(hold, "127.0.0.1", 0)
        port = hole.sockets[0].getsockname()[1]
        deaf = BASE.replace(wamp_url=f"ws://127.0.0.1:{port}/v2/ws")
        with pytest.raises(ConnectionTimeout):
            await Session.open(deaf, NetworkTransport(), ClientOptions(timeout=0.2))
        hole.close()

    asyncio.run(work())


def test_nobody_there() -> None:
    async def work() -> None:
        server = await asyncio.start_server(lambda reader, writer: None, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        server.close()
        await server.wait_closed()
        gone = BASE.replace(wamp_url=f"ws://127.0.0.1:{port}/v2/ws", cosign_url=f"http://127.0.0.1:{port}")
        with pytest.raises(ConnectionFailed, match="cannot be reached"):
            await Session.open(gone, NetworkTransport(), OPTIONS)
        transport = NetworkTransport()
        with pytest.raises(ConnectionFailed, match="cannot be reached"):
            await transport.request("POST", gone.cosign_url, b"{}", gone)
        await transport.close()

    asyncio.run(work())


def test_a16_plain_text_to_another_machine_needs_a_word() -> None:
    network = BASE.replace(wamp_url="ws://amp.invalid/v2/ws")

    async def work() -> None:
        with pytest.raises(InvalidInput, match="not encrypted"):
            await Session.open(network, NetworkTransport(), OPTIONS)
        with pytest.raises(InvalidInput, match="wamp_url"):
            await Session.open(BASE.replace(wamp_url=""), NetworkTransport(), OPTIONS)

    asyncio.run(work())


# -- TLS --------------------------------------------------------------------------------------


def certificate(
    folder: Path, *, host: str = "127.0.0.1", days: int = 10, start: int = -5
) -> tuple[ssl.SSLContext, str]:
    """A self-signed certificate for ``host``: the server's context, and the PEM that trusts it."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "test authority")])
    now = datetime.datetime.now(datetime.UTC)
    cert = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now + datetime.timedelta(days=start))
        .not_valid_after(now + datetime.timedelta(days=start + days))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(host))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = cert.public_bytes(serialization.Encoding.PEM)
    secret = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path = folder / "server.pem"
    path.write_bytes(pem + secret)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(path)
    return context, pem.decode()


def test_a16_a_private_authority_is_trusted_when_named(tmp_path: Path) -> None:
    context, pem = certificate(tmp_path)

    async def work() -> None:
        async with websocket_server(echo, tls=context) as network:
            with pytest.raises(ConnectionFailed, match="certificate"):
                await Session.open(network, NetworkTransport(), OPTIONS)
            session = await Session.open(network.replace(cert_roots=(pem,)), NetworkTransport(), OPTIONS)
            assert await session.call(rpc.GetChallenge("x")) == "hello"
            await session.close()

    asyncio.run(work())


@pytest.mark.parametrize(
    "change", [{"host": "127.0.0.2"}, {"days": 3}, {"start": 2}], ids=["host", "expired", "future"]
)
def test_a16_wrong_certificates_are_refused(tmp_path: Path, change: dict[str, int]) -> None:
    context, pem = certificate(tmp_path, **change)  # type: ignore[arg-type]

    async def work() -> None:
        async with websocket_server(echo, tls=context) as network:
            trusting = network.replace(cert_roots=(pem,))
            with pytest.raises(ConnectionFailed, match="certificate"):
                await Session.open(trusting, NetworkTransport(), ClientOptions(allow_insecure=True, timeout=PATIENCE))

    asyncio.run(work())


# -- HTTP -------------------------------------------------------------------------------------


@contextlib.asynccontextmanager
async def http_server(answer: bytes) -> AsyncIterator[tuple[str, list[bytes]]]:
    seen: list[bytes] = []

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        size = next((int(line[15:]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")), 0)
        seen.append(head + await reader.readexactly(size))
        with contextlib.suppress(OSError):
            writer.write(answer)
            await writer.drain()
        writer.close()

    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", seen
    finally:
        server.close()
        await server.wait_closed()


def response(body: bytes, status: str = "200 OK", headers: str = "") -> bytes:
    return f"HTTP/1.1 {status}\r\ncontent-length: {len(body)}\r\n{headers}connection: close\r\n\r\n".encode() + body


def test_requests_over_http() -> None:
    async def work() -> None:
        transport = NetworkTransport()
        # The status is not looked at: the body says what happened.
        async with http_server(response(b'{"result":false}', "403 Forbidden")) as (url, seen):
            assert (
                await transport.request("POST", url + "/delayed_signature", b'{"tx":""}', BASE) == b'{"result":false}'
            )
            assert b"POST /delayed_signature HTTP/1.1" in seen[0]
            assert b"content-type: application/json" in seen[0].lower()
            assert seen[0].endswith(b'{"tx":""}')
        async with http_server(response(b"", "302 Found", "location: http://127.0.0.1:1/\r\n")) as (url, seen):
            assert await transport.request("POST", url, b"{}", BASE) == b""
            assert len(seen) == 1
        async with http_server(response(b"x" * (MAX_MESSAGE_BYTES + 1))) as (url, _):
            with pytest.raises(RemoteProtocolError):
                await transport.request("GET", url, None, BASE)
        async with http_server(b"not http at all\r\n\r\n") as (url, _):
            with pytest.raises(ConnectionFailed):
                await transport.request("GET", url, None, BASE)
        await transport.close()

    asyncio.run(work())


def test_errors_of_the_server_keep_its_words() -> None:
    async def refusing(connection: ServerConnection) -> None:
        peer = wamp.Peer(wamp.Role.SERVER, wamp.Serializer.JSON)
        async for frame in connection:
            for message in peer.receive(frame):
                if isinstance(message, wamp.Hello):
                    peer.welcome(1)
                elif isinstance(message, wamp.Call):
                    peer.error(message.request, rpc.ERROR_URI, rpc.error_args("toomany", "Too many of them"))
            for out in peer.data_to_send():
                await connection.send(out)

    async def work() -> None:
        async with websocket_server(refusing) as network:
            session = await Session.open(network, NetworkTransport(), OPTIONS)
            with pytest.raises(CallFailed, match="Too many of them") as caught:
                await session.call(rpc.Fund(1))
            assert (caught.value.name, caught.value.procedure) == ("toomany", "vault.fund")
            await session.close()

    asyncio.run(work())
