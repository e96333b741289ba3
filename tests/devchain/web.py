"""Requests to the chain's application without a socket."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx

from amp0.devchain.app import DevChain, build
from amp0.elements.address import Address
from amp0.network import Network
from tests.devchain.kit import BLINDING_PUBKEY, Clock, Random

NETWORK = Network.regtest_default()


def new_app(*, dev: bool = True, **options: Any) -> DevChain:
    """A chain with its application; nothing about it varies between runs."""
    options.setdefault("clock", Clock())
    return build(dev=dev, random=Random(), **options)


def request(
    built: DevChain,
    method: str,
    path: str,
    *,
    client: tuple[str, int] = ("127.0.0.1", 50_000),
    **options: Any,
) -> httpx.Response:
    """One request and its answer."""

    async def ask() -> httpx.Response:
        transport = httpx.ASGITransport(app=built.app, client=client)
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as http:
            return await http.request(method, path, **options)

    return asyncio.run(ask())


def get(built: DevChain, path: str, **options: Any) -> httpx.Response:
    """A GET that must succeed."""
    answer = request(built, "GET", path, **options)
    assert answer.status_code == 200, answer.text
    return answer


def dev(built: DevChain, route: str, **body: Any) -> Any:
    """A POST to a /dev route that must succeed; its JSON."""
    answer = request(built, "POST", f"/dev/{route}", json=body)
    assert answer.status_code == 200, answer.text
    return answer.json()


def address(script: bytes, *, confidential: bool = False) -> str:
    """The address of a script, confidential under the tests' blinding key."""
    return str(Address.from_script(NETWORK, script, BLINDING_PUBKEY if confidential else None))
