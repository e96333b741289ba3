from __future__ import annotations

import asyncio
import sqlite3
from typing import Any

import httpx
import pytest

from amp0.elements.hashes import Txid
from amp0.elements.transaction import Transaction
from amp0.network import Network
from amp0.protocol import rpc
from amp0.protocol.issuer_policy import Reason
from amp0.server import behind
from amp0.server.cosigner import Cosigned, Request
from amp0.server.refusal import AlreadySigned, PolicyRefused, Refusal, UnknownInput
from tests.patience import PATIENCE, soon

from .chain import payment
from .talking import Wallet, World, in_world

TX = payment((b"\x51", 1))
BODY = {"tx": str(TX), "blinding_nonces": ["", ""], "scripts": [""]}


def web(world: World) -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=httpx.ASGITransport(world.server.app), base_url="http://localhost")


class FakeCosigner:
    """Answers what it is told to."""

    def __init__(self, answer: Refusal | Exception | Transaction) -> None:
        self.answer = answer
        self.requests: list[Request] = []

    def cosign(self, request: Request) -> Cosigned:
        self.requests.append(request)
        if isinstance(self.answer, Exception):
            raise self.answer
        return Cosigned(self.answer, False, frozenset({1}))

    def again(self, txid: Txid) -> Cosigned:
        assert txid == TX.txid()
        if isinstance(self.answer, Exception):
            raise self.answer
        return Cosigned(self.answer, True, frozenset({1}))


def test_a_cosigned_transaction_comes_back_as_json() -> None:
    async def scene(world: World) -> None:
        cosigner = world.server.services.cosigner = FakeCosigner(TX)  # type: ignore[assignment]
        async with web(world) as client:
            body = {**BODY, "blinding_nonces": ["ab" * 32, ""], "scripts": ["5221"]}
            answer = await client.post("/delayed_signature", json=body)
            assert answer.status_code == 200
            assert answer.headers["content-type"] == "application/json"
            reply = answer.json()
            assert (reply["result"], reply["error"], reply["tx"]) == (True, "", str(TX))
            (request,) = cosigner.requests
            assert request.tx == TX.to_bytes()
            assert request.nonces == [b"\xab" * 32, b""]
            assert request.scripts == [b"\x52\x21"]
            assert request.user_id is None
            again = await client.get(f"/v1/cosigned/{TX.txid()}")
            assert again.json()["tx"] == str(TX)
            assert (await client.get("/v1/cosigned/nonsense")).json()["code"] == "invalid"

    in_world(scene)


@pytest.mark.parametrize(
    ("refusal", "status", "code", "retryable", "txid"),
    [
        (UnknownInput("not seen yet"), 422, "unknowninput", True, None),
        (AlreadySigned("another one", "ab" * 32), 409, "alreadysigned", True, "ab" * 32),
        (RuntimeError("the secret cause"), 500, "internal", True, None),
    ],
)
def test_every_refusal_is_json_with_result_error_and_tx(
    refusal: Exception, status: int, code: str, retryable: bool, txid: str | None
) -> None:
    async def scene(world: World) -> None:
        world.server.services.cosigner = FakeCosigner(refusal)  # type: ignore[assignment]
        async with web(world) as client:
            answer = await client.post("/delayed_signature", json=BODY)
            reply = answer.json()
            assert answer.status_code == status
            assert (reply["result"], reply["tx"], reply["code"]) == (False, None, code)
            assert (reply["retryable"], reply["txid"]) == (retryable, txid)
            assert reply["error"]
            assert "secret" not in reply["error"]

    in_world(scene)


def test_a_refusal_by_policy_carries_its_reasons() -> None:
    reason = Reason(code="asset_locked", side="asset", index=None, asset_id="ab" * 32, text="it is locked")

    async def scene(world: World) -> None:
        world.server.services.cosigner = FakeCosigner(PolicyRefused("asset_locked: it is locked", [reason]))  # type: ignore[assignment]
        async with web(world) as client:
            reply = (await client.post("/delayed_signature", json=BODY)).json()
            assert (reply["code"], reply["error"]) == ("policy", "asset_locked: it is locked")
            assert reply["reasons"] == [
                {
                    "code": "asset_locked", "side": "asset", "index": None, "asset_id": "ab" * 32,
                    "text": "it is locked", "about": "asset",
                }
            ]  # fmt: skip

    in_world(scene)


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"[]", b"null", b'{"tx":"00"}', b'{"tx":1,"blinding_nonces":[],"scripts":[]}',
     b'{"tx":"0","blinding_nonces":[],"scripts":[]}', b'{"tx":"zz","blinding_nonces":[],"scripts":[]}',
     b'{"tx":"00","blinding_nonces":["00"],"scripts":[]}', b"[" * 100_000, b"\xff\xfe", b'{"tx":"' + b"0" * 9 + b'"}'],
)  # fmt: skip
def test_bodies_out_of_shape_are_refused_in_the_same_form(body: bytes) -> None:
    async def scene(world: World) -> None:
        async with web(world) as client:
            answer = await client.post("/delayed_signature", content=body)
            reply = answer.json()
            assert answer.status_code == 400
            assert (reply["result"], reply["tx"], reply["code"]) == (False, None, "invalid")

    in_world(scene)


def test_a01_a_body_over_the_limit_is_not_read() -> None:
    async def scene(world: World) -> None:
        sent = 0

        async def endless() -> Any:
            nonlocal sent
            while True:
                sent += 65536
                yield b" " * 65536

        async with web(world) as client:
            answer = await client.post("/delayed_signature", content=endless())
            assert (answer.status_code, answer.json()["code"]) == (413, "toolarge")
        assert sent <= world.server.settings.max_message + 2 * 65536

    in_world(scene)


def test_more_requests_than_places_are_turned_away_at_once() -> None:
    async def scene(world: World) -> None:
        hub = world.server.hub
        hub.workers._slow_taken = hub.workers._slow_places
        async with web(world) as client:
            answer = await client.post("/delayed_signature", json=BODY)
            assert (answer.status_code, answer.json()["code"]) == (503, "busy")
            assert answer.json()["retryable"] is True

    in_world(scene)


def test_the_network_is_what_gdk_registers() -> None:
    async def scene(world: World) -> None:
        async with web(world) as client:
            fields = (await client.get("/v1/network")).json()
        assert fields["service_pubkey"] == Network.regtest_default().service_pubkey.hex()
        assert fields["csv_buckets"] == [20, 1440, 65535]
        assert fields["wamp_url"].startswith("ws://127.0.0.1:")
        assert fields["cosign_url"].startswith("http://127.0.0.1:")
        assert fields["esplora_url"] == "http://127.0.0.1:3000"
        assert Network.from_json(fields) == world.server.network

    in_world(scene)


def test_there_are_no_prices_and_gdk_is_told() -> None:
    """An error, or nothing where ``price_url`` points to, makes GDK ask again before every transaction."""

    async def scene(world: World) -> None:
        async with web(world) as client:
            assert (await client.get("/v1/network")).json()["price_url"] == world.server.network.cosign_url
            assert (await client.get("/v0/venues/BITSTAMP/pairs/XBT/USD")).json() == {"rate": None}
            assert (await client.get("/v1/liquid/USD")).json() == {"data": {}}

    in_world(scene)


def test_health_and_readiness() -> None:
    async def scene(world: World) -> None:
        async with web(world) as client:
            assert (await client.get("/v1/health")).json() == {"status": "ok"}
            ready = await client.get("/v1/ready")
            assert (ready.status_code, ready.json()["ready"]) == (200, True)
            world.chain.is_down = True
            world.clock.now += 1_000_000
            ready = await client.get("/v1/ready")
            assert ready.status_code == 503
            assert ready.json() == {"ready": False, "store": True, "chain": False, "height": 0, "fee_wallet": "ok"}

    in_world(scene)


def test_g05_a_database_that_is_older_than_the_chain_is_not_ready() -> None:
    async def scene(world: World) -> None:
        store = world.server.services.store
        async with web(world) as client:
            with store.transaction() as db:
                behind.note_issuance(db, Txid(b"\x01" * 32), [b"\x02" * 32])
            ready = await client.get("/v1/ready")
            assert (ready.status_code, ready.json()["database"]) == (503, "older than the chain")
            with store.transaction() as db:
                behind.acknowledge(db)
            ready = await client.get("/v1/ready")
            assert (ready.status_code, "database" in ready.json()) == (200, False)

    in_world(scene)


def test_g04_a_failed_store_is_not_ready_and_signs_nothing() -> None:
    broken = False

    def disk(step: str) -> None:
        if broken and step == "commit":
            raise sqlite3.OperationalError("disk I/O error")

    async def scene(world: World) -> None:
        nonlocal broken
        client = await world.logged_in(Wallet("alice"))
        await Wallet("alice").create_account(client)
        async with web(world) as browser:
            broken = True
            from .talking import CallError

            with pytest.raises(CallError) as refused:
                await client.call(rpc.Fund(1))
            assert refused.value.name == "storeunavailable"
            broken = False
            # The disk is well again, and nobody knows what is on it: only a new start opens it.
            with pytest.raises(CallError, match="storeunavailable"):
                await client.call(rpc.Fund(1))
            ready = await browser.get("/v1/ready")
            assert (ready.status_code, ready.json()["store"]) == (503, False)
            assert (await browser.get("/v1/health")).status_code == 200

    in_world(scene, faults=disk)


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "DELETE"])
@pytest.mark.parametrize("path", ["/dev/faucet", "/dev/asset", "/dev/mine", "/dev/reorg", "/dev/", "/dev"])
def test_the_server_alone_has_no_development_routes(method: str, path: str) -> None:
    async def scene(world: World) -> None:
        async with web(world) as client:
            body = {"address": "x", "satoshi": 1, "blocks": 1, "depth": 1}
            assert (await client.request(method, path, json=body)).status_code == 404

    in_world(scene)


def test_unknown_paths_and_methods_are_answered_with_json() -> None:
    async def scene(world: World) -> None:
        async with web(world) as client:
            assert (await client.get("/")).status_code == 404
            assert (await client.get("/delayed_signature")).status_code == 405
            assert (await client.get("/nothing")).json()["error"]
            # No header for strange origins; a browser keeps the answer from their pages.
            answer = await client.get("/v1/network", headers={"origin": "https://evil.example"})
            assert "access-control-allow-origin" not in answer.headers

    in_world(scene)


def test_an_allowed_origin_may_read_the_answers() -> None:
    async def scene(world: World) -> None:
        async with web(world) as client:
            for origin, allowed in (("https://shop.example", True), ("https://evil.example", False)):
                answer = await client.get("/v1/network", headers={"origin": origin})
                assert ("access-control-allow-origin" in answer.headers) is allowed
                # What a browser asks before LWK's POST of JSON.
                asked = {"access-control-request-method": "POST", "access-control-request-headers": "content-type"}
                answer = await client.options("/delayed_signature", headers={"origin": origin, **asked})
                assert answer.is_success is allowed
                assert ("access-control-allow-origin" in answer.headers) is allowed

    in_world(scene, allowed_origins=("https://shop.example",))


def test_pages_of_allowed_origins_send_the_token_of_the_pre_flight_and_no_other() -> None:
    """A browser asks first whether a page may send its token along. Without that a wallet in a browser could not ask
    before its user signs; and an issuer's token has no business in such pages."""

    async def scene(world: World) -> None:
        async with web(world) as client:

            async def may_send(path: str, headers: str, origin: str = "https://shop.example") -> bool:
                asked = {"access-control-request-method": "POST", "access-control-request-headers": headers}
                answer = await client.options(path, headers={"origin": origin, **asked})
                told = answer.headers.get("access-control-allow-headers", "").lower()
                return answer.is_success and all(one in told for one in headers.split(", "))

            assert await may_send("/v1/preflight", "authorization, content-type")
            assert await may_send("/v1/preflight", "authorization")
            assert not await may_send("/v1/preflight", "authorization", origin="https://evil.example")
            assert not await may_send("/v1/preflight", "idempotency-key")
            for path in (
                "/delayed_signature",
                "/api/assets",
                "/api/user/refresh-token",
                "/v1/network",
                "/v1/preflight/",
            ):
                assert not await may_send(path, "authorization"), path
                assert await may_send(path, "content-type"), path
            answer = await client.post("/v1/preflight", json={}, headers={"origin": "https://shop.example"})
            assert (answer.status_code, answer.json()["code"]) == (401, "sessionexpired")
            assert answer.headers["access-control-allow-origin"] == "https://shop.example"

    in_world(scene, allowed_origins=("https://shop.example",))


def test_a_stopping_server_says_so() -> None:
    async def scene(world: World) -> None:
        await world.server.hub.close()
        async with web(world) as client:
            answer = await client.post("/delayed_signature", json=BODY)
            assert (answer.status_code, answer.json()["code"]) == (503, "shuttingdown")
            assert (await client.get("/v1/ready")).status_code == 503

    in_world(scene)


def test_the_event_loop_runs_while_a_transaction_is_checked() -> None:
    """Checking is a worker thread's business: health is answered meanwhile."""
    import threading

    async def scene(world: World) -> None:
        entered, release = threading.Event(), threading.Event()

        class Slow(FakeCosigner):
            def cosign(self, request: Request) -> Cosigned:
                entered.set()
                assert release.wait(PATIENCE)
                return super().cosign(request)

        world.server.services.cosigner = Slow(TX)  # type: ignore[assignment]
        async with web(world) as client:
            waiting = asyncio.create_task(client.post("/delayed_signature", json=BODY))
            await soon(entered.is_set)
            assert (await client.get("/v1/health")).status_code == 200
            assert not waiting.done()
            release.set()
            assert (await waiting).json()["result"] is True

    in_world(scene)
