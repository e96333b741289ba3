"""A whole server that issues: over HTTP, through the watcher, with a chain that comes and goes."""

from __future__ import annotations

import asyncio
import os
from typing import Any

import httpx
import msgspec

from amp0.elements.confidential import DomainEntry, Opening, PlainOutput, blind
from amp0.elements.hashes import Txid
from amp0.elements.transaction import OutPoint, Transaction, TxIn
from amp0.server.issuer import fee_coins
from amp0.server.issuer.principals import create_issuer
from tests.server.chain import ASSET
from tests.server.issuer.house import reissuable, request
from tests.server.talking import World, in_world

BODY = {key: value for key, value in msgspec.to_builtins(request(**reissuable())).items() if value is not None}


async def _issuer(world: World) -> httpx.AsyncClient:
    """An issuer of a server whose fee wallet is filled, with a key for the one issuance."""
    desk = world.server.side.desk
    with desk.store.transaction() as db:
        create_issuer(db, os.urandom, "issuer", "correct horse", desk.now())
        address = fee_coins.deposit_address(db, desk.wallet, desk.now())
    outputs = [PlainOutput(address.script, ASSET, 50_000, address.blinding_pubkey), PlainOutput(b"", ASSET, 100)]
    domain = DomainEntry(b"\x01" + ASSET, Opening(ASSET, 50_100))
    made = blind([domain], outputs)
    world.chain.mine(Transaction.of(2, 0, [TxIn(OutPoint(b"\x01" * 32, 0))], [output.txout for output in made]))
    await world.server.watcher.poll()
    client = httpx.AsyncClient(transport=httpx.ASGITransport(world.server.app), base_url="http://localhost/api")
    login = {"username": "issuer", "password": "correct horse"}
    token = (await client.post("/user/obtain_token", json=login)).json()["token"]
    client.headers.update({"authorization": f"token {token}", "idempotency-key": "the-one"})
    return client


async def _upkeep(world: World) -> None:
    world.clock.now += 60
    await asyncio.to_thread(world.server.side.upkeep.run)


def test_an_issuance_goes_out_and_confirms() -> None:
    async def scene(world: World) -> None:
        client = await _issuer(world)
        answer = await client.post("/assets/issue", json=BODY)
        assert answer.status_code == 201
        issued: dict[str, Any] = answer.json()
        assert Txid(issued["txid"]) in world.chain.mempool
        world.chain.mine()
        await world.server.watcher.poll()
        again = await client.post("/assets/issue/", json=BODY)
        assert (again.status_code, again.json()) == (201, issued)
        other = await client.post("/assets/issue", json={**BODY, "amount": 5})
        assert other.status_code == 400
        assert "non_field_errors" in other.json()
        balance = (await client.get(f"/assets/{issued['asset_uuid']}/balance")).json()
        assert [row["amount"] for row in balance["confirmed_balance"]] == [issued["amount"]]

    in_world(scene)


def test_a_chain_that_is_away_is_503_and_the_issuance_goes_out_by_itself() -> None:
    async def scene(world: World) -> None:
        client = await _issuer(world)
        world.chain.is_down = True
        answer = await client.post("/assets/issue", json=BODY)
        assert answer.status_code == 503
        assert "same Idempotency-Key" in answer.json()["detail"]
        (shown,) = (await client.get("/assets")).json()
        await _upkeep(world)
        assert not world.chain.mempool
        world.chain.is_down = False
        await _upkeep(world)
        (sent,) = world.chain.mempool
        answer = await client.post("/assets/issue", json=BODY)
        assert answer.status_code == 201
        assert (answer.json()["txid"], answer.json()["asset_uuid"]) == (str(sent), shown["asset_uuid"])

    in_world(scene)


def test_what_the_chain_refuses_is_400_and_is_not_there() -> None:
    async def scene(world: World) -> None:
        client = await _issuer(world)
        world.chain.refuses = "bad-txns-in-ne-out"
        for _ in range(2):
            answer = await client.post("/assets/issue", json=BODY)
            assert answer.status_code == 400
            assert "another Idempotency-Key" in answer.json()["Error"]
        assert (await client.get("/assets")).json() == []

    in_world(scene)


def test_an_empty_wallet_is_503_and_readiness_says_why() -> None:
    async def scene(world: World) -> None:
        client = await _issuer(world)
        body = {key: value for key, value in BODY.items() if not key.startswith(("reissuance", "is_re"))}
        for number in range(2):
            answer = await client.post(
                "/assets/issue", json={**body, "ticker": f"T{number:03}"}, headers={"idempotency-key": str(number)}
            )
            assert answer.status_code == 201
            # What it pays back is in no block of this chain, and is spent all the same.
        await _upkeep(world)
        ready = await client.get("http://localhost/v1/ready")
        assert ready.json()["fee_wallet"] == "low"
        with world.server.side.desk.store.transaction() as db:
            db.exec_driver_sql("UPDATE fee_wallet_coins SET state = 2, height = NULL")
        answer = await client.post("/assets/issue", json=body, headers={"idempotency-key": "empty"})
        assert answer.status_code == 503
        assert "operator" in answer.json()["detail"]

    in_world(scene)
