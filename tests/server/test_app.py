"""The composition root, and the server on real sockets where only they tell."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest
import websockets
from starlette.websockets import WebSocketDisconnect
from websockets.asyncio.client import ClientConnection, connect

from amp0.errors import ConfigError, NetworkMismatch
from amp0.protocol import rpc
from amp0.server import uvicorn_limits
from amp0.server.app import Server, build
from amp0.server.keys import KEY_FILE, ServiceKeys
from amp0.server.settings import Listener, Settings
from amp0.server.uvicorn_limits import MAX_FRAGMENTS
from tests.patience import PATIENCE, soon

from .chain import FakeChain

HELLO = '[1,"realm1",{"roles":{"caller":{"features":{}}}}]'
JSON = [websockets.Subprotocol("wamp.2.json")]


def listening(scene: Callable[[Server, str], Coroutine[Any, Any, None]], **settings: Any) -> None:
    """A server on a free port of loopback; the scene gets it and its WebSocket URL."""

    async def play() -> None:
        chain = FakeChain()
        chosen: dict[str, Any] = {
            "listen": (Listener("127.0.0.1", 0),),
            "poll_seconds": 3600.0,
            "upkeep_seconds": 3600.0,
        }
        server = build(Settings(**{**chosen, **settings}), keys=ServiceKeys.test_key(), chain_client=chain.client())
        await server.start()
        try:
            await server.listen()
            await scene(server, server.network.wamp_url)
        finally:
            await server.stop()

    asyncio.run(play())


async def closed_with(socket: ClientConnection) -> int | None:
    try:
        async with asyncio.timeout(PATIENCE):
            while True:
                await socket.recv()
    except websockets.ConnectionClosed:
        return socket.close_code


# --- sockets -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", rpc.WAMP_PATHS)
@pytest.mark.parametrize("subprotocol", ["wamp.2.json", "wamp.2.msgpack"])
def test_wamp_is_served_at_both_paths_in_both_encodings(path: str, subprotocol: str) -> None:
    async def scene(server: Server, url: str) -> None:
        base = url.removesuffix("/v2/ws")
        offered = [websockets.Subprotocol("other"), websockets.Subprotocol(subprotocol)]
        async with connect(base + path, subprotocols=offered) as socket:
            assert socket.subprotocol == subprotocol
            if subprotocol == "wamp.2.json":
                await socket.send(HELLO)
                assert json.loads(await socket.recv())[0] == 2
                await socket.send('[6,{},"wamp.error.close_realm"]')
                assert json.loads(await socket.recv())[2] == "wamp.close.goodbye_and_out"
                assert await closed_with(socket) == 1000

    listening(scene)


def test_a02_no_compression_is_agreed_on() -> None:
    async def scene(server: Server, url: str) -> None:
        async with connect(url, subprotocols=JSON, compression="deflate") as socket:
            assert socket.protocol.extensions == []

    listening(scene)


def test_a01_a_frame_of_a_gigabyte_is_refused_by_its_header() -> None:
    async def scene(server: Server, url: str) -> None:
        async with connect(url, subprotocols=JSON) as socket:
            # The length of a masked text frame, and none of its bytes.
            socket.transport.write(b"\x81\xff" + (1 << 30).to_bytes(8, "big") + b"mask")
            assert await closed_with(socket) == 1009

    listening(scene)


def test_a01_endless_fragments_are_refused() -> None:
    async def scene(server: Server, url: str) -> None:
        for piece in (b"", b"a"):
            async with connect(url, subprotocols=JSON) as socket:
                masked = bytes((0x80 | len(piece),)) + bytes(4) + piece
                socket.transport.write(b"\x01" + masked + (b"\x00" + masked) * (MAX_FRAGMENTS + 10))
                assert await closed_with(socket) == 1009
        # An ordinary number of pieces is one message.
        async with connect(url, subprotocols=JSON) as socket:
            await socket.send([HELLO[:9], HELLO[9:20], HELLO[20:]])
            assert json.loads(await socket.recv())[0] == 2

    listening(scene)


def test_a01_large_messages_in_pieces_are_refused_before_they_are_whole() -> None:
    async def scene(server: Server, url: str) -> None:
        async with connect(url, subprotocols=JSON, max_size=None) as socket:
            pieces = [" " * 65536] * 20
            with contextlib.suppress(websockets.ConnectionClosed):
                await socket.send(pieces)
            assert await closed_with(socket) == 1009

    listening(scene)


@pytest.mark.parametrize(
    ("headers", "subprotocols", "status"),
    [
        ({"Origin": "https://evil.example"}, JSON, 403),
        ({"Origin": "null"}, JSON, 403),
        ({}, [websockets.Subprotocol("wamp.2.cbor")], 400),
        ({}, None, 400),
    ],
)
def test_a13_and_a04_handshakes_that_are_refused(
    headers: dict[str, str], subprotocols: list[websockets.Subprotocol] | None, status: int
) -> None:
    async def scene(server: Server, url: str) -> None:
        with pytest.raises(websockets.InvalidStatus) as refused:
            await connect(url, subprotocols=subprotocols, additional_headers=headers)
        assert refused.value.response.status_code == status
        async with connect(url, subprotocols=JSON, additional_headers={"Origin": "https://shop.example"}):
            pass

    listening(scene, allowed_origins=("https://shop.example",))


@pytest.mark.parametrize("header", ["x" * 8192, "wamp.2.json\xe9", ",,,", "wamp.2.json, " * 500])
def test_a03_strange_subprotocol_headers_harm_nobody(header: str) -> None:
    async def scene(server: Server, url: str) -> None:
        host, port = url.removeprefix("ws://").removesuffix("/v2/ws").split(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(
            b"GET /v2/ws HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
            b"Sec-WebSocket-Protocol: " + header.encode("latin-1") + b"\r\n\r\n"
        )
        async with asyncio.timeout(PATIENCE):
            first = await reader.readline()
        if header.startswith("wamp.2.json, "):
            assert first.startswith(b"HTTP/1.1 101")
        else:
            assert first.startswith(b"HTTP/1.1 4")
        writer.close()
        async with connect(url, subprotocols=JSON):
            pass

    listening(scene)


def test_sessions_beyond_the_limit_are_turned_away() -> None:
    async def scene(server: Server, url: str) -> None:
        async with connect(url, subprotocols=JSON), connect(url, subprotocols=JSON):
            with pytest.raises(websockets.InvalidStatus) as refused:
                await connect(url, subprotocols=JSON)
            assert refused.value.response.status_code == 503

    listening(scene, max_sessions=2)


def test_several_listeners_serve_the_whole_application() -> None:
    async def scene(server: Server, url: str) -> None:
        assert server._listening is not None
        ports = [socket.getsockname()[1] for s in server._listening[0].servers for socket in s.sockets]
        assert len(set(ports)) == 2
        async with httpx.AsyncClient() as client:
            for port in ports:
                assert (await client.get(f"http://127.0.0.1:{port}/v1/health")).status_code == 200
                assert (await client.post(f"http://127.0.0.1:{port}/dev/mine", json={})).status_code == 404
                async with connect(f"ws://127.0.0.1:{port}/v2/ws", subprotocols=JSON) as socket:
                    await socket.send(HELLO)
                    assert json.loads(await socket.recv())[0] == 2

    listening(scene, listen=(Listener("127.0.0.1", 0), Listener("127.0.0.1", 0)))


@pytest.mark.parametrize("length", [99, 100, 101, 199, 200, 201, 5_000])
@pytest.mark.parametrize("text", [False, True])
def test_a_long_answer_goes_out_in_fragments_and_arrives_whole(
    monkeypatch: pytest.MonkeyPatch, length: int, text: bool
) -> None:
    """Tens of megabytes of outputs, written at once, would keep the event loop from everybody else."""
    monkeypatch.setattr(uvicorn_limits, "PIECE", 100)
    written: list[int] = []
    original = uvicorn_limits.BoundedWebSocket.send

    async def watched(self: Any, message: Any) -> None:
        if message["type"] == "websocket.send":
            written.append(len(message.get("bytes") or message.get("text")))
        await original(self, message)

    monkeypatch.setattr(uvicorn_limits.BoundedWebSocket, "send", watched)

    async def scene(server: Server, url: str) -> None:
        async with connect(url, subprotocols=[websockets.Subprotocol("wamp.2.msgpack")]) as socket:
            await socket.send(msgspec.msgpack.encode([1, "realm1", {}]))
            await socket.recv()
            (connection,) = server.hub.connections
            frame: str | bytes = "0123456789äöü€🙂" * 400 if text else bytes(range(256)) * 20
            await connection._transport.send(frame[:length])
            await connection._transport.send(b"next")
            assert await socket.recv() == frame[:length]
            assert await socket.recv() == b"next"

    listening(scene)
    assert written[-2:] == [length, 4]


def test_a_peer_that_leaves_amid_a_long_answer_is_forgotten() -> None:
    async def scene(server: Server, url: str) -> None:
        async with connect(url, subprotocols=[websockets.Subprotocol("wamp.2.msgpack")]) as socket:
            await socket.send(msgspec.msgpack.encode([1, "realm1", {}]))
            await socket.recv()
            (connection,) = server.hub.connections
            # More than sockets hold, to a peer that does not read.
            socket.transport.pause_reading()
            sending = asyncio.create_task(connection._transport.send(bytes(64 * 1024 * 1024)))
            await asyncio.sleep(0.05)
            assert not sending.done()
            socket.transport.abort()
            with pytest.raises(WebSocketDisconnect):
                await asyncio.wait_for(sending, PATIENCE)
        await soon(lambda: not server.hub.connections)

    listening(scene)


def test_shutdown_closes_open_sockets() -> None:
    async def play() -> None:
        settings = Settings(listen=(Listener("127.0.0.1", 0),), poll_seconds=3600.0)
        server = build(settings, keys=ServiceKeys.test_key(), chain_client=FakeChain().client())
        await server.start()
        await server.listen()
        async with connect(server.network.wamp_url, subprotocols=JSON) as socket:
            await socket.send(HELLO)
            await socket.recv()
            stopping = asyncio.create_task(server.stop())
            assert await closed_with(socket) == 1001
            await stopping
        await server.stop()

    asyncio.run(play())


def test_what_is_due_is_done_without_being_asked_for() -> None:
    async def scene(server: Server, url: str) -> None:
        swept, kept = server.hub.sweep, server.upkeep.run
        done: list[str] = []

        async def sweep() -> None:
            done.append("sweep")
            await swept()

        def run() -> None:
            done.append("upkeep")
            kept()

        server.hub.sweep, server.upkeep.run = sweep, run  # type: ignore[method-assign]
        await soon(lambda: done[:4] == ["sweep", "upkeep"] * 2)

    listening(scene, upkeep_seconds=0.01)


# --- keys, folder, store -------------------------------------------------------------------------------------------


def started(folder: Path, passphrase: bytes | None = b"correct horse", **settings: Any) -> Server:
    """Built and stopped again."""
    server = build(Settings(data_dir=folder, **settings), passphrase=passphrase, chain_client=FakeChain().client())
    asyncio.run(server.stop())
    return server


def test_the_service_key_is_made_once_and_opened_from_then_on(tmp_path: Path) -> None:
    first = started(tmp_path / "data").services.keys
    assert (tmp_path / "data" / KEY_FILE).stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "data").stat().st_mode & 0o077 == 0
    second = started(tmp_path / "data").services.keys
    assert first.pubkey == second.pubkey
    assert not first.is_test_key
    assert started(tmp_path / "other").services.keys.pubkey != first.pubkey


def test_a_lost_key_file_is_not_replaced_behind_the_operator_s_back(tmp_path: Path) -> None:
    started(tmp_path)
    (tmp_path / KEY_FILE).unlink()
    with pytest.raises(ConfigError, match="restore"):
        started(tmp_path)


def test_a_database_belongs_to_one_key_and_one_chain(tmp_path: Path) -> None:
    started(tmp_path)
    with pytest.raises(ConfigError, match="another"):
        build(Settings(data_dir=tmp_path), keys=ServiceKeys.test_key())
    with pytest.raises(ConfigError, match="genesis"):
        started(tmp_path, network="testnet-liquid")


def test_without_passphrase_or_folder_nothing_starts(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="passphrase"):
        started(tmp_path, passphrase=None)
    started(tmp_path / "x", passphrase=b"one")
    with pytest.raises(ConfigError, match="passphrase"):
        started(tmp_path / "x", passphrase=b"two")
    with pytest.raises(ConfigError, match="data folder"):
        build(Settings(), passphrase=b"x")


def test_g06_two_servers_cannot_share_a_folder(tmp_path: Path) -> None:
    server = build(Settings(data_dir=tmp_path), passphrase=b"x", chain_client=FakeChain().client())
    with pytest.raises(ConfigError, match="another server"):
        build(Settings(data_dir=tmp_path), passphrase=b"x")
    asyncio.run(server.stop())
    started(tmp_path, passphrase=b"x")


@pytest.mark.parametrize("network", ["liquid", "testnet-liquid"])
def test_j10_the_test_key_is_refused_on_any_other_chain(network: str) -> None:
    with pytest.raises(NetworkMismatch):
        build(Settings(network=network), keys=ServiceKeys.test_key())


@pytest.mark.parametrize("host", ["0.0.0.0", "192.0.2.1", "::", "example.com"])
def test_j10_the_test_key_is_refused_off_loopback(host: str) -> None:
    listeners = (Listener("127.0.0.1", 0), Listener(host, 8080))
    with pytest.raises(NetworkMismatch):
        build(Settings(listen=listeners), keys=ServiceKeys.test_key())


@pytest.mark.parametrize(
    "urls",
    [
        {"public_wamp_url": "wss://amp.example/v2/ws"},
        {"public_cosign_url": "https://amp.example"},
        {"public_esplora_url": "https://explorer.example"},
        {"chain_url": "https://explorer.example"},
    ],
)
def test_j10_the_test_key_is_refused_behind_a_public_url(urls: dict[str, Any]) -> None:
    with pytest.raises(NetworkMismatch):
        build(Settings(**urls), keys=ServiceKeys.test_key())


def test_j10_it_is_known_by_its_public_key_and_by_no_flag(tmp_path: Path) -> None:
    """The same seed under another name is the same key."""
    same = ServiceKeys.from_seed(b"\x42" * 32)
    with pytest.raises(NetworkMismatch):
        build(Settings(network="liquid", data_dir=tmp_path), keys=same)


def test_a_port_in_use_is_named() -> None:
    async def scene(server: Server, url: str) -> None:
        port = int(url.removesuffix("/v2/ws").rsplit(":", 1)[1])
        second = build(
            Settings(listen=(Listener("127.0.0.1", port),)),
            keys=ServiceKeys.test_key(),
            chain_client=FakeChain().client(),
        )
        with pytest.raises(ConfigError, match=str(port)):
            await second.listen()
        await second.stop()

    listening(scene)


def test_a_chain_that_is_away_does_not_keep_the_server_from_starting() -> None:
    async def play() -> None:
        chain = FakeChain()
        chain.is_down = True
        server = build(Settings(), keys=ServiceKeys.test_key(), chain_client=chain.client())
        await server.start()
        assert not server.watcher.is_current()
        chain.is_down = False
        await server.watcher.poll()
        assert server.watcher.is_current()
        await server.stop()

    asyncio.run(play())


def test_an_idle_server_is_small() -> None:
    """Resident memory of a fresh process with the server running in it."""
    program = (
        "import asyncio, psutil\n"
        "from amp0.server.app import build\n"
        "from amp0.server.keys import ServiceKeys\n"
        "from amp0.server.settings import Listener, Settings\n"
        "async def main():\n"
        "    server = build(Settings(listen=(Listener('127.0.0.1', 0),), chain_url='http://127.0.0.1:9'),\n"
        "                   keys=ServiceKeys.test_key())\n"
        "    await server.start(); await server.listen()\n"
        "    print(psutil.Process().memory_info().rss)\n"
        "    await server.stop()\n"
        "asyncio.run(main())\n"
    )
    pytest.importorskip("psutil")
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, env=os.environ)
    assert int(done.stdout) < 120_000_000
