"""/dev/*: only where asked for, only for this machine, only JSON."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from amp0.errors import InvalidInput
from tests.devchain.kit import Clock
from tests.devchain.web import address, dev, get, new_app, request
from tests.patience import PATIENCE

PLAIN = address(b"\x00\x14" + b"\x71" * 20)
TESTNET = "tex1qkj3a3jtmh7kgu24uvuaw77ptkj4j48hyw55cuk"


def test_without_them_there_is_nothing_there() -> None:
    built = new_app(dev=False)
    for route in ("faucet", "asset", "mine", "reorg"):
        for method in ("GET", "POST"):
            assert request(built, method, f"/dev/{route}", json={}).status_code == 404
    assert built.dev is None
    built.add_dev_route("more", lambda _: {})
    assert request(built, "POST", "/dev/more", json={}).status_code == 404


def test_mining() -> None:
    built = new_app()
    answer = dev(built, "mine", blocks=3)
    assert answer["height"] == 4
    assert answer["blocks"][-1] == get(built, "/blocks/tip/hash").text
    assert dev(built, "mine")["height"] == 5


def test_reorganising() -> None:
    built = new_app()
    dev(built, "mine", blocks=3)
    answer = dev(built, "reorg", depth=2)
    assert (len(answer["disconnected"]), answer["height"]) == (2, 5)
    assert dev(built, "reorg", depth=1, blocks=0)["height"] == 4


def test_an_asset_is_issued_and_paid_out() -> None:
    built = new_app()
    asset = dev(built, "asset", satoshi=1_000)
    txid = dev(built, "faucet", address=PLAIN, satoshi=10, asset_id=asset["asset_id"])["txid"]
    paid = get(built, f"/tx/{txid}").json()["vout"][0]
    assert (paid["value"], paid["asset"]) == (10, asset["asset_id"])


@pytest.mark.parametrize(
    ("route", "body", "text"),
    [
        ("faucet", {}, "address"),
        ("faucet", {"address": 5, "satoshi": 5}, "address"),
        ("faucet", {"address": "nonsense", "satoshi": 5000}, "not an address"),
        ("faucet", {"address": TESTNET, "satoshi": 5000}, "address"),
        ("faucet", {"address": PLAIN}, "satoshi"),
        ("faucet", {"address": PLAIN, "satoshi": "5"}, "satoshi"),
        ("faucet", {"address": PLAIN, "satoshi": True}, "satoshi"),
        ("faucet", {"address": PLAIN, "satoshi": 1.5}, "satoshi"),
        ("faucet", {"address": PLAIN, "satoshi": 0}, "satoshi"),
        ("faucet", {"address": PLAIN, "satoshi": -5}, "satoshi"),
        ("faucet", {"address": PLAIN, "satoshi": 10**19}, "satoshi"),
        ("faucet", {"address": PLAIN, "satoshi": 5}, "dust"),
        ("faucet", {"address": PLAIN, "satoshi": 5, "asset_id": "xy"}, "asset id"),
        ("faucet", {"address": PLAIN, "satoshi": 5, "asset_id": 7}, "asset_id"),
        ("faucet", {"address": PLAIN, "satoshi": 5, "asset_id": "00" * 32}, "InsufficientFunds"),
        ("faucet", {"address": PLAIN, "satoshi": 5000, "colour": 1}, "colour"),
        ("asset", {"satoshi": 0}, "satoshi"),
        ("asset", {}, "satoshi"),
        ("mine", {"blocks": -1}, "blocks"),
        ("mine", {"blocks": 10**6}, "blocks"),
        ("mine", {"blocks": None}, "blocks"),
        ("reorg", {"depth": 99}, "blocks above genesis"),
        ("reorg", {"depth": "1"}, "depth"),
    ],
)
def test_mistakes_are_named(route: str, body: dict[str, Any], text: str) -> None:
    built = new_app()
    answer = request(built, "POST", f"/dev/{route}", json=body)
    assert answer.status_code == 400
    assert text in answer.json()["error"]
    assert built.chain.height == 1
    assert not len(built.chain.mempool)


def test_only_this_machine() -> None:
    built = new_app()
    for client in (("192.0.2.7", 1), ("::ffff:192.0.2.7", 1), ("10.0.0.1", 1)):
        answer = request(built, "POST", "/dev/mine", json={}, client=client)
        assert answer.status_code == 403
    assert request(built, "POST", "/dev/mine", json={}, client=("::1", 1)).status_code == 200
    assert request(built, "GET", "/blocks/tip/height", client=("192.0.2.7", 1)).status_code == 200


def test_no_page_of_another_site() -> None:
    built = new_app()
    for origin in ("https://example.com", "null", "http://localhost.example.com"):
        answer = request(built, "POST", "/dev/mine", json={}, headers={"origin": origin})
        assert answer.status_code == 403
    local = request(built, "POST", "/dev/mine", json={}, headers={"origin": "http://localhost:3000"})
    assert local.status_code == 200
    assert "access-control-allow-origin" not in local.headers
    preflight = request(built, "OPTIONS", "/dev/mine", headers={"origin": "http://localhost:3000"})
    assert preflight.status_code == 405
    assert "access-control-allow-origin" not in preflight.headers


def test_only_json() -> None:
    built = new_app()
    for content_type in ("text/plain", "application/x-www-form-urlencoded", ""):
        answer = request(built, "POST", "/dev/mine", content="{}", headers={"content-type": content_type})
        assert answer.status_code == 415
    headers = {"content-type": "application/json; charset=utf-8"}
    assert request(built, "POST", "/dev/mine", content="{}", headers=headers).status_code == 200
    for content in ("{", "[]", "5", '"x"', b"\xff"):
        assert request(built, "POST", "/dev/mine", content=content, headers=headers).status_code == 400
    assert request(built, "POST", "/dev/mine", content=b" " * 70_000, headers=headers).status_code == 413
    assert request(built, "GET", "/dev/mine").status_code == 405
    assert request(built, "POST", "/dev/nothing", json={}).status_code == 404


def test_others_add_routes() -> None:
    """The local stack brings more of them: a clock, an outbox."""
    clock = Clock()

    def advance(body: dict[str, Any]) -> dict[str, Any]:
        if "seconds" not in body:
            raise InvalidInput("seconds: how many?")
        clock.now += body["seconds"]
        return {"now": clock.now}

    built = new_app(clock=clock, dev_routes={"clock": advance})
    built.add_dev_route("echo", lambda body: body)
    assert dev(built, "clock", seconds=60)["now"] == clock.now
    dev(built, "mine", blocks=1)
    assert built.chain.tip.time == clock.now
    assert dev(built, "echo", a=1) == {"a": 1}
    built.add_dev_read("outbox", lambda: [{"n": 1}])
    assert request(built, "GET", "/dev/outbox").json() == [{"n": 1}]
    assert request(built, "POST", "/dev/outbox", json={}).status_code == 404
    assert request(built, "GET", "/dev/outbox", headers={"origin": "https://evil.example"}).status_code == 403
    assert request(built, "POST", "/dev/clock", json={}).json() == {"error": "seconds: how many?"}


def test_the_timer_mines_while_the_application_lives() -> None:
    built = new_app(mine_every=0.001)

    async def live() -> None:
        inbox: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        outbox: asyncio.Queue[Any] = asyncio.Queue()
        running = asyncio.create_task(built.app({"type": "lifespan"}, inbox.get, outbox.put))
        await inbox.put({"type": "lifespan.startup"})
        assert (await outbox.get())["type"] == "lifespan.startup.complete"
        mined = asyncio.Event()
        loop = asyncio.get_running_loop()

        def heard(_: str) -> None:
            loop.call_soon_threadsafe(mined.set)

        built.chain.on_change(heard)
        await asyncio.wait_for(mined.wait(), PATIENCE)
        await inbox.put({"type": "lifespan.shutdown"})
        assert (await outbox.get())["type"] == "lifespan.shutdown.complete"
        await running

    asyncio.run(live())
    assert built.chain.height > 1


def test_a_websocket_is_turned_away() -> None:
    sent: list[Any] = []

    async def receive() -> dict[str, Any]:
        return {"type": "websocket.connect"}

    async def send(message: Any) -> None:
        sent.append(message)

    asyncio.run(new_app().app({"type": "websocket", "path": "/"}, receive, send))
    assert sent == [{"type": "websocket.close", "code": 1000}]
