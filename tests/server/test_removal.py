from __future__ import annotations

import pytest

from amp0.protocol import credentials, rpc

from .talking import CallError, Client, Wallet, World, in_world


async def ended(client: Client) -> bool:
    try:
        await client.call(rpc.GetClientBlob())
    except CallError as error:
        return error.name == "sessionexpired"
    return False


def test_a_removed_wallet_is_logged_out_everywhere_and_cannot_log_in() -> None:
    async def scene(world: World) -> None:
        alice = Wallet("alice")
        owner, second = await world.logged_in(alice), await world.logged_in(alice)
        bob = await world.logged_in(Wallet("bob"))
        watcher = await world.joined()
        login = await alice.create_watch_only(owner, "shop", "secret")
        await watcher.call(login)
        pin = (await owner.call(rpc.SetPinLogin("123456", "phone"))).partition(";")[0]
        assert await owner.call(rpc.RemoveAccount({})) is True
        assert [await ended(client) for client in (owner, second, watcher, bob)] == [True, True, True, False]
        new = await world.joined()
        signature = credentials.sign_challenge(alice.master, await alice.challenge(new))
        assert await new.call(rpc.Authenticate(signature)) is False
        with pytest.raises(CallError, match="User not found or invalid password"):
            await new.call(login)
        with pytest.raises(CallError, match="password"):
            await new.call(rpc.GetPinPassword("123456", pin))

    in_world(scene)


def test_registering_again_brings_the_accounts_back_and_nothing_else() -> None:
    async def scene(world: World) -> None:
        alice = Wallet("alice")
        client = await world.logged_in(alice)
        gaid = await alice.create_account(client)
        first = await client.call(rpc.Fund(1))
        hmac = "A" * 42 + "Q="
        assert await client.call(rpc.SetClientBlob("QUJD", 0, hmac, rpc.ZERO_HMAC)) is True
        await client.call(rpc.RemoveAccount({}))
        await alice.register(client)
        data = await alice.log_in(client)
        assert [row.receiving_id for row in data.subaccounts] == [gaid]
        assert data.client_blob_hmac == rpc.ZERO_HMAC
        assert (await client.call(rpc.GetClientBlob()))["blob"] == ""
        # No address is handed out twice.
        assert (await client.call(rpc.Fund(1)))["pointer"] == first["pointer"] + 1

    in_world(scene)


def test_settings_of_older_clients() -> None:
    async def scene(world: World) -> None:
        alice = Wallet("alice")
        client = await world.logged_in(alice)
        before = await client.call(rpc.Fund(0, True, "csv"))
        assert await client.call(rpc.SetCsvTime(1440, {})) is True
        assert await client.call(rpc.SetNLockTime(144, {})) is True
        signature = credentials.sign_challenge(alice.master, await alice.challenge(client))
        data = await client.call(rpc.Authenticate(signature))
        assert (data["csv_blocks"], data["nlocktime_blocks"]) == (1440, 144)
        after = await client.call(rpc.Fund(0, True, "csv"))
        # Addresses keep the delay they were made with.
        rows = await client.call(rpc.GetMyAddresses(0))
        assert [(row["pointer"], row["subtype"]) for row in rows] == [
            (after["pointer"], 1440),
            (before["pointer"], 65535),
        ]
        with pytest.raises(CallError, match="one of 20, 1440, 65535"):
            await client.call(rpc.SetCsvTime(144, {}))
        with pytest.raises(CallError, match="invalid"):
            await client.call(rpc.SetNLockTime(143, {}))
        assert await client.call(rpc.SendNLockTimes()) is True
        assert await client.call(rpc.GetUpcomingNLockTimes()) == {"list": []}
        empty = {"message": "", "message_id": 0, "next_message_id": 0}
        assert await client.call(rpc.GetSystemMessage(0)) == empty
        with pytest.raises(CallError, match="notfound"):
            await client.call(rpc.AckSystemMessage(1, "ab" * 32, "3044"))

    in_world(scene)
