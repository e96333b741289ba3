"""The three procedures that spend. What the cosigner decides is its own tests' business."""

from __future__ import annotations

from typing import Any

import pytest

from amp0.protocol import rpc
from amp0.server.refusal import WrongUserSignature

from .chain import payment
from .talking import CallError, Wallet, World, in_world
from .test_http import FakeCosigner
from .test_watcher import own

TX = payment((b"\x51", 1))
SIGNED = payment((b"\x51", 1), salt=1)


def test_signing_answers_with_the_signed_transaction_and_does_not_send_it() -> None:
    async def scene(world: World) -> None:
        cosigner = world.server.services.cosigner = FakeCosigner(SIGNED)  # type: ignore[assignment]
        client = await world.logged_in(Wallet("alice"))
        private = {"blinding_nonces": ["ab" * 32, ""]}
        reply = await client.call(rpc.SignTransaction(str(TX), {}, private))
        assert reply == {"tx": str(SIGNED), "txhash": str(SIGNED.txid()), "limit_decrease": 0}
        (request,) = cosigner.requests
        assert (request.tx, request.nonces, request.scripts) == (TX.to_bytes(), [b"\xab" * 32, b""], None)
        assert request.user_id == client.connection.session.user_id
        assert not world.chain.mempool

    in_world(scene)


def test_sending_signs_broadcasts_and_then_tells() -> None:
    async def scene(world: World) -> None:
        wallet = Wallet("alice")
        client = await world.logged_in(wallet)
        await wallet.create_account(client)
        await client.subscribe(rpc.topic_txs(client.connection.session.receiving_id))
        signed = payment((own(wallet, 1), 5))
        world.server.services.cosigner = FakeCosigner(signed)  # type: ignore[assignment]
        before = len(client.sent)
        reply = await client.call(rpc.SendTransaction(str(TX), None, None))
        assert reply["txhash"] == str(signed.txid())
        assert list(world.chain.mempool) == [signed.txid()]
        assert [frame[:3] for frame in client.sent[before:]] == ["[50", "[36"]
        assert client.events() == [{"txhash": str(signed.txid()), "subaccounts": [1]}]

    in_world(scene)


def test_what_the_chain_refuses_is_an_error_with_its_reason() -> None:
    async def scene(world: World) -> None:
        world.server.services.cosigner = FakeCosigner(SIGNED)  # type: ignore[assignment]
        world.chain.refuses = "bad-txns-in-ne-out"
        client = await world.logged_in(Wallet("alice"))
        with pytest.raises(CallError) as refused:
            await client.call(rpc.SendTransaction(str(TX)))
        assert refused.value.name == "broadcast"
        assert "bad-txns-in-ne-out" in refused.value.text

    in_world(scene)


def test_a_refusal_of_the_cosigner_reaches_the_client_as_its_text() -> None:
    async def scene(world: World) -> None:
        world.server.services.cosigner = FakeCosigner(WrongUserSignature("sign input 0"))  # type: ignore[assignment]
        client = await world.logged_in(Wallet("alice"))
        for call in (rpc.SignTransaction(str(TX)), rpc.SendTransaction(str(TX))):
            with pytest.raises(CallError) as refused:
                await client.call(call)
            assert (refused.value.name, refused.value.text) == ("usersignature", "sign input 0")
        assert not world.chain.mempool

    in_world(scene)


@pytest.mark.parametrize("nonces", ["", {"a": 1}, [1], ["zz" * 32], ["ab" * 31], [""] * 5000])
def test_nonces_out_of_shape_are_refused(nonces: Any) -> None:
    async def scene(world: World) -> None:
        world.server.services.cosigner = FakeCosigner(SIGNED)  # type: ignore[assignment]
        client = await world.logged_in(Wallet("alice"))
        with pytest.raises(CallError, match="invalid"):
            await client.call(rpc.SignTransaction(str(TX), {}, {"blinding_nonces": nonces}))

    in_world(scene)


def test_a_watch_only_session_may_pass_on_what_the_user_signed() -> None:
    async def scene(world: World) -> None:
        cosigner = world.server.services.cosigner = FakeCosigner(SIGNED)  # type: ignore[assignment]
        wallet = Wallet("alice")
        owner = await world.logged_in(wallet)
        client = await world.joined()
        await client.call(await wallet.create_watch_only(owner, "shop", "secret"))
        assert (await client.call(rpc.SendTransaction(str(TX))))["txhash"] == str(SIGNED.txid())
        assert cosigner.requests[0].user_id == owner.connection.session.user_id

    in_world(scene)
