"""Applications on loopback: ready on return, stopped in order, honest about what did not start."""

from __future__ import annotations

import contextlib
import urllib.request
from collections.abc import AsyncIterator

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from amp0.errors import ConfigError
from amp0.local.hosting import Host, bind, port_of


def application(name: str, events: list[str], *, broken: bool = False) -> Starlette:
    @contextlib.asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        if broken:
            raise ConfigError("no data folder")
        events.append(f"{name} starts")
        yield
        events.append(f"{name} stops")

    def answer(request: Request) -> PlainTextResponse:
        return PlainTextResponse(name)

    return Starlette(routes=[Route("/", answer)], lifespan=lifespan)


def get(port: int) -> str:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=10) as answer:
        return str(answer.read().decode())


def test_two_applications_on_three_sockets_are_ready_on_return_and_stop_in_order() -> None:
    events: list[str] = []
    first, second, third = bind(0), bind(0), bind(0)
    ports = [port_of(bound) for bound in (first, second, third)]
    with Host() as host:
        host.serve(application("chain", events), [first])
        host.serve(application("server", events), [second, third])
        assert [get(port) for port in ports] == ["chain", "server", "server"]
    assert events == ["chain starts", "server starts", "server stops", "chain stops"]
    for port in ports:
        bind(port).close()


def test_closing_twice_is_harmless() -> None:
    host = Host()
    host.close()
    host.close()


def test_a_port_in_use_is_said_before_anything_starts() -> None:
    with contextlib.closing(bind(0)) as taken, pytest.raises(ConfigError, match="in use"):
        bind(port_of(taken))


@pytest.mark.parametrize("port", [-1, 65536])
def test_a_port_that_cannot_be_is_refused(port: int) -> None:
    with pytest.raises(ConfigError, match=f"port {port}"):
        bind(port)


@pytest.mark.parametrize("host", ["0.0.0.0", "192.168.1.1", "::", "example.org"])
def test_nothing_listens_off_loopback(host: str) -> None:
    with pytest.raises(ConfigError, match="loopback"):
        bind(0, host)


def test_an_application_that_does_not_start_frees_its_port() -> None:
    bound = bind(0)
    port = port_of(bound)
    with Host() as host, pytest.raises(ConfigError, match="no data folder"):
        host.serve(application("chain", [], broken=True), [bound])
    bind(port).close()
