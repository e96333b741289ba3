from __future__ import annotations

import asyncio

import pytest
import sqlalchemy as sa

from amp0.protocol import rpc
from amp0.server import pins
from amp0.server.store import schema

from .talking import CallError, Client, Wallet, World, in_world


async def set_pin(client: Client, pin: str = "123456", device: str = "phone") -> tuple[str, str]:
    identifier, _, password = (await client.call(rpc.SetPinLogin(pin, device))).partition(";")
    return identifier, password


async def wrong(client: Client, identifier: str, pin: str = "000000") -> str:
    with pytest.raises(CallError) as refused:
        await client.call(rpc.GetPinPassword(pin, identifier))
    assert refused.value.name == "password"
    return refused.value.text


def test_the_right_pin_gives_the_same_password_before_any_login() -> None:
    async def scene(world: World) -> None:
        identifier, password = await set_pin(await world.logged_in(Wallet("alice")))
        assert (len(identifier), len(password)) == (32, 64)
        anonymous = await world.joined()
        for _ in range(2):
            assert await anonymous.call(rpc.GetPinPassword("123456", identifier)) == password

    in_world(scene)


def test_three_wrong_pins_destroy_the_password() -> None:
    async def scene(world: World) -> None:
        identifier, _ = await set_pin(await world.logged_in(Wallet("alice")))
        # Tries belong to the PIN login, not to a connection.
        assert "2 tries are left" in await wrong(await world.joined(), identifier)
        assert "1 try is left" in await wrong(await world.joined(), identifier)
        assert "mnemonic" in await wrong(await world.joined(), identifier)
        assert "mnemonic" in await wrong(await world.joined(), identifier, "123456")
        with world.server.services.store.snapshot() as db:
            assert db.execute(sa.select(sa.func.count()).select_from(schema.pin_logins)).scalar_one() == 0

    in_world(scene)


def test_the_right_pin_gives_the_tries_back() -> None:
    async def scene(world: World) -> None:
        identifier, password = await set_pin(await world.logged_in(Wallet("alice")))
        client = await world.joined()
        for _ in range(3):
            await wrong(client, identifier)
            await wrong(client, identifier)
            assert await client.call(rpc.GetPinPassword("123456", identifier)) == password

    in_world(scene)


def test_many_connections_at_once_win_no_try() -> None:
    async def scene(world: World) -> None:
        identifier, _ = await set_pin(await world.logged_in(Wallet("alice")))
        clients = [await world.joined() for _ in range(8)]
        texts = await asyncio.gather(*(wrong(client, identifier, f"00000{i}") for i, client in enumerate(clients)))
        assert sum("left" in text for text in texts) <= pins.TRIES - 1
        assert "mnemonic" in await wrong(clients[0], identifier, "123456")

    in_world(scene)


def test_the_try_is_taken_before_the_pin_is_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that dies while it compares must not have given a guess away."""

    def dies(*_: object) -> tuple[bytes, bytes]:
        raise RuntimeError("power cut")

    async def scene(world: World) -> None:
        identifier, _ = await set_pin(await world.logged_in(Wallet("alice")))
        client = await world.joined()
        with monkeypatch.context() as patched:
            patched.setattr(pins, "_derive", dies)
            for _ in range(3):
                with pytest.raises(CallError, match="internal"):
                    await client.call(rpc.GetPinPassword("123456", identifier))
        assert "mnemonic" in await wrong(client, identifier, "123456")

    in_world(scene)


def test_a_new_pin_of_a_device_replaces_its_old_one() -> None:
    async def scene(world: World) -> None:
        alice = await world.logged_in(Wallet("alice"))
        old, _ = await set_pin(alice, "111111", "phone")
        other, other_password = await set_pin(alice, "111111", "tablet")
        new, new_password = await set_pin(alice, "222222", "phone")
        assert "mnemonic" in await wrong(alice, old, "111111")
        assert await alice.call(rpc.GetPinPassword("222222", new)) == new_password
        assert await alice.call(rpc.GetPinPassword("111111", other)) == other_password != new_password

    in_world(scene)


def test_removing_all_leaves_those_of_other_wallets() -> None:
    async def scene(world: World) -> None:
        alice, bob = await world.logged_in(Wallet("alice")), await world.logged_in(Wallet("bob"))
        mine, _ = await set_pin(alice)
        theirs, password = await set_pin(bob)
        assert await alice.call(rpc.RemovePinLogins()) is True
        assert "mnemonic" in await wrong(alice, mine, "123456")
        assert await alice.call(rpc.GetPinPassword("123456", theirs)) == password

    in_world(scene)


def test_what_is_no_pin_login() -> None:
    async def scene(world: World) -> None:
        alice = await world.logged_in(Wallet("alice"))
        for pin, device in (("123", "phone"), ("1" * 65, "phone"), ("123456", "")):
            with pytest.raises(CallError, match="invalid"):
                await alice.call(rpc.SetPinLogin(pin, device))
        for identifier in ("", "zz" * 16, "ab" * 16, "ab" * 17):
            assert "mnemonic" in await wrong(alice, identifier)

    in_world(scene)


def test_a_wallet_has_a_bounded_number_of_devices(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pins, "MAX_DEVICES", 2)

    async def scene(world: World) -> None:
        alice = await world.logged_in(Wallet("alice"))
        await set_pin(alice, device="one")
        await set_pin(alice, device="two")
        with pytest.raises(CallError, match="at most 2"):
            await set_pin(alice, device="three")
        await set_pin(alice, device="two")

    in_world(scene)


def test_neither_pin_nor_password_is_in_the_database() -> None:
    async def scene(world: World) -> None:
        _, password = await set_pin(await world.logged_in(Wallet("alice")), "98765432")
        with world.server.services.store.snapshot() as db:
            row = db.execute(sa.select(schema.pin_logins)).one()
        held = b"".join(value for value in row if isinstance(value, bytes))
        assert bytes.fromhex(password) not in held
        assert b"98765432" not in held

    in_world(scene)
