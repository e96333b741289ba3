"""Calling URLs of others: what is never called, and what counts as no answer.

Attack F03 of the catalogue: an endpoint inside our own network, by any of the ways to write it.
"""

from __future__ import annotations

import asyncio
import itertools
import socket
import ssl
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from amp0.errors import InvalidInput
from amp0.server.policy.ssrf import Caller, NoAnswer, check_url, is_public
from tests.chain.test_tls import Authority
from tests.patience import PATIENCE, until

PUBLIC = "93.184.216.34"


@pytest.mark.parametrize(
    ("url", "authority", "path"),
    [
        ("https://issuer.example", "issuer.example", "/"),
        ("https://Issuer.Example./authorize?a=b@c", "issuer.example", "/authorize?a=b@c"),
        ("https://issuer.example:443/x", "issuer.example", "/x"),
        ("https://issuer.example:8443/x", "issuer.example:8443", "/x"),
        ("https://xn--bcher-kva.example/x", "xn--bcher-kva.example", "/x"),
        (f"https://{PUBLIC}/x", PUBLIC, "/x"),
        ("https://[2606:4700::1111]:8443/x", "[2606:4700::1111]:8443", "/x"),
    ],
)
def test_a_public_https_url_is_taken(url: str, authority: str, path: str) -> None:
    target = check_url(url, private=False)
    assert (target.authority, target.path) == (authority, path)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "issuer.example",
        "//issuer.example/x",
        "http://issuer.example/x",
        "file:///etc/passwd",
        "file://issuer.example/etc/passwd",
        "ftp://issuer.example/x",
        "gopher://issuer.example:6379/_x",
        "https://",
        "https:///x",
        "https://issuer.example/x#fragment",
        "https://issuer.example#@127.0.0.1/",
        "https://user@issuer.example/",
        "https://user:pass@issuer.example/",
        "https://issuer.example\\@127.0.0.1/",
        "https://issuer.example/x y",
        "https://issuer.example/x\r\nhost: y",
        "https://bücher.example/",
        "https://issuer。example/",
        "https://issuer..example/",
        "https://-issuer.example/",
        "https://issuer.example:/",
        "https://issuer.example:0/",
        "https://issuer.example:65536/",
        "https://issuer.example:x/",
        "https://issuer.example:22/",
        "https://issuer.example:25/",
        "https://issuer.example:80/",
        "https://issuer.example/" + "x" * 2048,
        "https://127.0.0.1/",
        "https://127.1/",
        "https://2130706433/",
        "https://0x7f000001/",
        "https://0x7f.1/",
        "https://0177.0.0.1/",
        "https://0.0.0.0/",
        "https://10.1.2.3/",
        "https://172.16.0.1/",
        "https://192.168.1.1/",
        "https://100.64.0.1/",
        "https://169.254.169.254/latest/meta-data",
        "https://[::1]/",
        "https://[::]/",
        "https://[fe80::1]/",
        "https://[fe80::1%25eth0]/",
        "https://[fd00::1]/",
        "https://[::ffff:127.0.0.1]/",
        "https://[::ffff:8.8.8.8]/",
        "https://localhost/",
        "https://LOCALHOST./",
        "https://x.localhost/",
        "https://intranet/",
        "https://printer.local/",
        "https://metadata.google.internal/",
    ],
)
def test_f03_no_other_url_is_taken(url: str) -> None:
    with pytest.raises(InvalidInput):
        check_url(url, private=False)


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:8000/x", "http://localhost:1/x", "https://issuer:25/", "http://[::1]/"]
)
def test_a_network_of_ones_own_may_be_called_when_the_operator_says_so(url: str) -> None:
    check_url(url, private=True)


@pytest.mark.parametrize(
    "url", ["file:///etc/passwd", "http://user@127.0.0.1/", "http://127.0.0.1/ x", "http://0x7f.1/"]
)
def test_f03_what_is_no_plain_url_is_not_taken_there_either(url: str) -> None:
    with pytest.raises(InvalidInput):
        check_url(url, private=True)


@pytest.mark.parametrize("address", ["8.8.8.8", PUBLIC, "2606:4700::1111", "2a00:1450:4001:81a::200e"])
def test_public_addresses(address: str) -> None:
    assert is_public(address)


@pytest.mark.parametrize(
    "address",
    [
        "0.0.0.0", "0.1.2.3", "10.0.0.1", "100.64.0.1", "100.127.255.255", "127.0.0.1", "127.255.0.1",
        "169.254.169.254", "172.16.0.1", "172.31.255.255", "192.0.0.1", "192.0.0.9", "192.0.2.1", "192.88.99.1",
        "168.63.129.16", "192.0.0.192",
        "192.168.0.1", "198.18.0.1", "198.51.100.1", "203.0.113.1", "224.0.0.1", "239.255.255.255", "240.0.0.1",
        "255.255.255.255",
        "::", "::1", "::ffff:127.0.0.1", "::ffff:8.8.8.8", "::8.8.8.8", "64:ff9b::7f00:1", "64:ff9b::808:808", "100::1",
        "2001::1", "2001:db8::1", "2002:7f00:1::", "2002:808:808::1", "3fff::1", "fc00::1", "fd12::1", "fe80::1",
        "fe80::1%eth0", "2606:4700::1%eth0", "fec0::1", "ff02::1", "issuer.example", "",
    ],
)  # fmt: skip
def test_f03_addresses_that_are_not_public(address: str) -> None:
    assert not is_public(address)


# -- calling ----------------------------------------------------------------------------------------------------------

URL = "https://issuer.example/authorize?x=1"
Handler = Callable[[httpx.Request], httpx.Response]


class World:
    """Name servers and peers, in memory."""

    def __init__(self, handler: Handler, *answers: list[str]) -> None:
        self.answers = list(answers) or [[PUBLIC]]
        self.asked: list[str] = []
        self.requests: list[httpx.Request] = []
        self.handler = handler

    def resolve(self, host: str, port: int) -> list[str]:
        self.asked.append(f"{host}:{port}")
        return self.answers[min(len(self.asked), len(self.answers)) - 1]

    def answer(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        return self.handler(request)

    def caller(self, **options: object) -> Caller:
        return Caller(
            seconds=5,
            resolve=self.resolve,
            transport=lambda: httpx.MockTransport(self.answer),
            **options,  # type: ignore[arg-type]
        )


def post(world: World, url: str = URL, **options: object) -> bytes:
    with closing(world.caller(**options)) as caller:
        return caller.post(url, b"{}", {"content-type": "application/json"})


def ok(_request: httpx.Request) -> httpx.Response:
    async def body() -> AsyncIterator[bytes]:
        yield b"fi"
        yield b"ne"

    return httpx.Response(200, content=body())


def test_it_connects_to_the_address_that_was_looked_at_under_the_name_that_was_asked_for() -> None:
    world = World(ok)
    assert post(world) == b"fine"
    [request] = world.requests
    assert (request.url.scheme, request.url.host, request.url.port) == ("https", PUBLIC, None)
    assert request.url.raw_path == b"/authorize?x=1"
    assert request.headers["host"] == "issuer.example"
    assert request.extensions["sni_hostname"] == "issuer.example"
    assert request.content == b"{}"
    assert "cookie" not in request.headers
    assert "authorization" not in request.headers


def test_f03_the_name_is_resolved_once_so_rebinding_changes_nothing() -> None:
    world = World(ok, [PUBLIC], ["127.0.0.1"])
    assert post(world) == b"fine"
    assert world.asked == ["issuer.example:443"]
    assert world.requests[0].url.host == PUBLIC
    with pytest.raises(NoAnswer, match="not public"), closing(world.caller()) as caller:
        caller.post(URL, b"{}")
    assert len(world.requests) == 1


@pytest.mark.parametrize(
    "addresses",
    [["127.0.0.1"], [PUBLIC, "10.0.0.1"], ["169.254.169.254"], ["::1"], ["::ffff:127.0.0.1"], ["fe80::1%eth0"], []],
)
def test_f03_one_address_that_is_not_public_is_enough_to_call_none(addresses: list[str]) -> None:
    world = World(ok, addresses)
    with pytest.raises(NoAnswer):
        post(world)
    assert world.requests == []


def test_f03_a_url_that_is_in_the_database_all_the_same_is_not_called() -> None:
    world = World(ok)
    with pytest.raises(NoAnswer):
        post(world, "file:///etc/passwd")
    with pytest.raises(NoAnswer):
        post(world, "http://127.0.0.1:8000/")
    assert (world.asked, world.requests) == ([], [])


def test_another_address_is_tried_only_while_nothing_was_sent() -> None:
    def first_is_away(request: httpx.Request) -> httpx.Response:
        if request.url.host == PUBLIC:
            raise httpx.ConnectError("away")
        return ok(request)

    world = World(first_is_away, [PUBLIC, "2606:4700::1111"])
    assert post(world) == b"fine"
    assert [request.url.host for request in world.requests] == [PUBLIC, "2606:4700::1111"]

    def breaks(_request: httpx.Request) -> httpx.Response:
        raise httpx.ReadError("broke")

    world = World(breaks, [PUBLIC, "2606:4700::1111"])
    with pytest.raises(NoAnswer, match="broke"):
        post(world)
    assert len(world.requests) == 1


@pytest.mark.parametrize("status", [100, 201, 204, 301, 302, 303, 307, 308, 400, 401, 404, 500, 503])
def test_f02_f03_only_status_200_is_an_answer_and_redirects_lead_nowhere(status: int) -> None:
    headers = {"location": "http://169.254.169.254/latest/meta-data"}
    world = World(lambda _request: httpx.Response(status, headers=headers, content=b"fine"))
    with pytest.raises(NoAnswer, match=f"status {status}"):
        post(world)
    assert len(world.requests) == 1


def test_f02_a_body_that_never_ends_is_left_alone() -> None:
    sent = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal sent
        while True:
            sent += 1024
            yield b"x" * 1024

    world = World(lambda _request: httpx.Response(200, content=endless()))
    with pytest.raises(NoAnswer, match="more than 4096 bytes"):
        post(world, max_body=4096)
    assert sent == 5 * 1024


def test_a_name_server_that_fails_is_no_answer() -> None:
    def fails(_host: str, _port: int) -> list[str]:
        raise socket.gaierror("no such name")

    with closing(Caller(seconds=1, resolve=fails)) as caller, pytest.raises(NoAnswer, match="does not resolve"):
        caller.post(URL, b"{}")


# -- over real sockets ------------------------------------------------------------------------------------------------


@contextmanager
def peer(serve: Callable[[socket.socket], None]) -> Iterator[int]:
    """A listener on loopback that handles one connection in a thread; gives its port."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def run() -> None:
            try:
                connection, _ = server.accept()
                with connection:
                    serve(connection)
            except OSError:
                pass

        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        yield server.getsockname()[1]
    thread.join(PATIENCE)


def test_f02_a_name_server_that_says_nothing_costs_the_deadline_and_no_more() -> None:
    let_go = threading.Event()

    def silent(_host: str, _port: int) -> list[str]:
        let_go.wait(PATIENCE)
        return [PUBLIC]

    with closing(Caller(seconds=0.2, resolve=silent)) as caller:
        began = time.monotonic()
        with pytest.raises(NoAnswer, match="within"):
            caller.post(URL, b"{}")
        assert time.monotonic() - began < PATIENCE / 2
        let_go.set()


def test_f02_silent_name_servers_of_one_issuer_keep_no_other_from_looking_up() -> None:
    """A look-up cannot be broken off, so each that was given up goes on in its thread. With a few hosts of their own,
    and name servers that never answer, one issuer held all of these threads, and no other's endpoint was found."""
    let_go, hosts = threading.Event(), itertools.count()

    def resolve(host: str, _port: int) -> list[str]:
        if host.endswith("silent.example"):
            let_go.wait(PATIENCE)
        return [PUBLIC]

    options: dict[str, Any] = {"resolve": resolve, "transport": lambda: httpx.MockTransport(ok)}
    with closing(Caller(seconds=PATIENCE, **options)) as caller:

        def ask(host: str, owner: int, seconds: float = PATIENCE) -> bytes:
            return caller.post(f"https://{host}/", b"{}", None, seconds, owner)

        def gives_up_on_four() -> bool:
            # One that has not begun yet can be broken off, and counts for nothing.
            with pytest.raises(NoAnswer):
                ask(f"{next(hosts)}.silent.example", 1, 0.05)
            return caller._lookups[1] == 4

        until(gives_up_on_four, "look-ups that were given up go on", pause=0)
        for host in ("another.silent.example", "quick.example"):
            with pytest.raises(NoAnswer, match="name servers of this owner"):
                ask(host, 1)
        assert ask("quick.example", 2) == b"fine"
        let_go.set()
        until(lambda: not caller._lookups, "places of look-ups that came back are free again")
        assert ask("quick.example", 1) == b"fine"


@pytest.mark.parametrize("head", [b"", b"HTTP/1.1 200 OK\r\ncontent-length: 100000\r\n\r\n"], ids=["head", "body"])
def test_f02_a_peer_that_drips_is_as_late_as_one_that_is_silent(head: bytes) -> None:
    def drip(connection: socket.socket) -> None:
        connection.sendall(head or b"HTTP/1.1 200 OK\r\nx-drip: ")
        while True:
            connection.sendall(b"x")
            time.sleep(0.02)

    with peer(drip) as port, closing(Caller(seconds=1, private=True)) as caller:
        began = time.monotonic()
        with pytest.raises(NoAnswer, match="within"):
            caller.post(f"http://127.0.0.1:{port}/", b"{}")
        assert time.monotonic() - began < PATIENCE / 2


def test_f02_a_peer_that_never_shakes_hands_over_tls_is_late_too() -> None:
    def mute(connection: socket.socket) -> None:
        while connection.recv(1000):
            pass

    # Half of the time is for the connection: it is over before all of it is.
    with peer(mute) as port, closing(Caller(seconds=2, private=True)) as caller:
        began = time.monotonic()
        with pytest.raises(NoAnswer, match="no connection"):
            caller.post(f"https://127.0.0.1:{port}/", b"{}")
        assert time.monotonic() - began < PATIENCE / 2


def test_f03_the_certificate_must_be_of_the_name_and_not_of_the_address(tmp_path: Path) -> None:
    """The connection goes to an address; that must not make a certificate for that address good enough."""
    authority = Authority()
    context = authority.server(tmp_path)
    served: list[str | None] = []
    context.sni_callback = lambda _socket, name, _context: served.append(name)

    async def serve(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\nconnection: close\r\n\r\nfine")
        writer.close()

    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    server = asyncio.run_coroutine_threadsafe(asyncio.start_server(serve, "127.0.0.1", 0, ssl=context), loop).result(
        PATIENCE
    )
    port = server.sockets[0].getsockname()[1]
    trusts = ssl.create_default_context(cadata=authority.pem)
    try:
        with closing(
            Caller(seconds=PATIENCE, private=True, tls=trusts, resolve=lambda _host, _port: ["127.0.0.1"])
        ) as caller:
            assert caller.post(f"https://127.0.0.1:{port}/", b"{}") == b"fine"
            with pytest.raises(NoAnswer, match="no connection"):
                caller.post(f"https://issuer.example:{port}/", b"{}")
        assert served[-1] == "issuer.example"
        with closing(Caller(seconds=PATIENCE, private=True)) as caller, pytest.raises(NoAnswer, match="no connection"):
            caller.post(f"https://127.0.0.1:{port}/", b"{}")
    finally:
        loop.call_soon_threadsafe(server.close)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(PATIENCE)
        loop.close()
