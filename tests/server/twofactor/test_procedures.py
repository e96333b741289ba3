"""What clients call: enabling, disabling, codes, limits, frozen outputs; who may, and what is told to whom."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
import sqlalchemy as sa

from amp0.protocol import rpc, wamp
from amp0.protocol import twofactor as wire
from amp0.server.refusal import DeliveryFailed
from amp0.server.store import schema
from amp0.server.twofactor.delivery import Message, Outbox
from tests.server.chain import payment
from tests.server.talking import Client, Wallet, World, in_world
from tests.server.test_watcher import own

from .acting import EMAIL, INVALID, PHONE_NUMBER, code_for, config, enable, enable_gauth, newest_code, refused

ADDRESSES = {wire.EMAIL: EMAIL, wire.SMS: PHONE_NUMBER, wire.PHONE: PHONE_NUMBER, wire.TELEGRAM: "@alice_x"}
KEYS = {
    wire.EMAIL: "email_addr", wire.SMS: "sms_number", wire.PHONE: "phone_number", wire.TELEGRAM: "telegram_username"
}  # fmt: skip


async def watching(world: World, owner: Client, wallet: Wallet) -> Client:
    """A watch-only session of the wallet."""
    client = await world.joined()
    await client.call(await wallet.create_watch_only(owner, "shop", "secret"))
    return client


async def run_upkeep(world: World) -> None:
    await asyncio.to_thread(world.server.upkeep.run)


async def told(world: World) -> list[tuple[str, str]]:
    """(subject, address) of the notices so far, the codes left out."""
    await run_upkeep(world)
    return [(m.subject, m.address) for m in world.outbox.messages() if m.code is None]


# --- enabling and disabling ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", wire.SENT_METHODS)
@pytest.mark.parametrize("serializer", list(wamp.Serializer))
def test_a_method_is_enabled_with_the_code_that_came(method: str, serializer: wamp.Serializer) -> None:
    async def scene(world: World) -> None:
        client = await world.logged_in(Wallet("alice"), serializer)
        before = await config(client)
        assert (before[method], before[KEYS[method]]) == (False, "")
        await client.call(wire.INIT_ENABLE[method](ADDRESSES[method], {}))
        assert await config(client) == before
        (message,) = world.outbox.messages()
        assert (message.method, message.address) == (method, ADDRESSES[method])
        assert message.code is not None
        said = " ".join(message.code) if method == wire.PHONE else message.code
        assert said in message.text
        after = await client.call(wire.ENABLE_WITH[method](message.code))
        assert after == await config(client)
        assert (after[method], after[KEYS[method]]) == (True, ADDRESSES[method])
        assert after["email_confirmed"] is (method == wire.EMAIL)
        # Disabling it takes a code of it, the only one there is.
        assert (await refused(client, wire.DISABLE_WITH[method](None))).name == "auth"
        tfd = await code_for(client, world.outbox, wire.DISABLE, {"method": method}, method)
        await client.call(wire.DISABLE_WITH[method](tfd))
        assert (await config(client))[method] is False

    in_world(scene)


def test_an_authenticator_is_enabled_by_proxy_and_has_another_secret_afterwards() -> None:
    async def scene(world: World) -> None:
        client = await world.logged_in(Wallet("alice"))
        url = (await config(client))["gauth_url"]
        assert url == (await config(client))["gauth_url"]
        assert url.startswith("otpauth://totp/AMP0:GA")
        other = await config(await world.logged_in(Wallet("bob")))
        assert other["gauth_url"] != url
        totp = await enable_gauth(client, world.clock)
        enabled = await config(client)
        assert (enabled["gauth"], enabled["gauth_url"]) == (True, wire.MASKED)
        # The code that enabled it is used.
        same = {"method": "gauth", "code": totp.at(int(world.clock()))}
        assert (await refused(client, wire.DisableGauth(same))).text == INVALID
        world.clock.now += 30
        await client.call(wire.DisableGauth({"method": "gauth", "code": totp.at(int(world.clock()))}))
        again = await config(client)
        assert again["gauth"] is False
        assert again["gauth_url"] != url

    in_world(scene)


def test_a_second_method_takes_a_code_of_the_first() -> None:
    async def scene(world: World) -> None:
        client = await world.logged_in(Wallet("alice"))
        await enable(client, world.outbox)
        assert (await refused(client, wire.InitEnableSms(PHONE_NUMBER, {}))).name == "auth"
        assert (await refused(client, wire.RequestProxy("gauth", {}))).name == "auth"
        assert (await refused(client, wire.EnableGauth("123456", {}))).name == "auth"
        tfd = await code_for(client, world.outbox, wire.ENABLE, {"method": "sms"})
        assert (await refused(client, wire.InitEnablePhone(PHONE_NUMBER, tfd))).text == INVALID
        assert (await enable(client, world.outbox, wire.SMS, PHONE_NUMBER, tfd))["sms"] is True
        tfd = await code_for(client, world.outbox, wire.ENABLE, {"method": "gauth"}, wire.SMS)
        await enable_gauth(client, world.clock, tfd)
        assert wire.TwoFactorConfig(**await config(client)).enabled() == ["email", "sms", "gauth"]

    in_world(scene, code_requests=20)


def test_an_address_that_is_named_when_asking_is_bound() -> None:
    async def scene(world: World) -> None:
        client = await world.logged_in(Wallet("alice"))
        await enable(client, world.outbox)
        tfd = await code_for(client, world.outbox, wire.ENABLE, {"method": "sms", "address": PHONE_NUMBER})
        assert (await refused(client, wire.InitEnableSms("+41790000000", tfd))).text == INVALID
        await enable(client, world.outbox, wire.SMS, PHONE_NUMBER, tfd)

    in_world(scene)


def test_a_telephone_of_the_same_number_as_the_sms_takes_no_code() -> None:
    async def scene(world: World) -> None:
        client = await world.logged_in(Wallet("alice"))
        await enable(client, world.outbox, wire.SMS, PHONE_NUMBER)
        backup = {"is_sms_backup": True}
        assert (await refused(client, wire.InitEnablePhone("+41790000000", backup))).name == "auth"
        assert (await refused(client, wire.InitEnableEmail(EMAIL, backup))).name == "auth"
        assert (await enable(client, world.outbox, wire.PHONE, PHONE_NUMBER, backup))["phone"] is True

    in_world(scene)


def test_wrong_codes_enable_nothing() -> None:
    async def scene(world: World) -> None:
        client = await world.logged_in(Wallet("alice"))
        assert (await refused(client, wire.EnableEmail("000000"))).text == INVALID
        await client.call(wire.InitEnableEmail(EMAIL, {}))
        code = newest_code(world.outbox)
        assert (await refused(client, wire.EnableSms(code))).text == INVALID
        token = await client.call(wire.RequestProxy("gauth", {}))
        proxy = {"method": "proxy", "code": token}
        assert (await refused(client, wire.EnableGauth("000000", proxy))).text == INVALID
        assert (await refused(client, wire.EnableGauth("000000", {**proxy, "code": "x"}))).text == INVALID
        bob = await world.logged_in(Wallet("bob"))
        assert (await refused(bob, wire.EnableEmail(code))).text == INVALID
        assert (await client.call(wire.EnableEmail(code)))["email"] is True
        assert (await refused(client, wire.EnableEmail(code))).text == INVALID
        assert (await refused(client, wire.InitEnableEmail("b@example.com", {}))).name == "invalid"

    in_world(scene)


@pytest.mark.parametrize(
    ("method", "address"),
    [
        (wire.EMAIL, "alice"),
        (wire.EMAIL, "alice@example.com\r\nBcc: thief@example.com"),
        (wire.EMAIL, "a@b@c"),
        (wire.EMAIL, "@example.com"),
        (wire.SMS, "0791234567"),
        (wire.SMS, "+41"),
        (wire.PHONE, "+41 79 abc"),
        (wire.TELEGRAM, "a b"),
    ],
)
def test_addresses_that_are_none_are_refused(method: str, address: str) -> None:
    async def scene(world: World) -> None:
        client = await world.logged_in(Wallet("alice"))
        assert (await refused(client, wire.INIT_ENABLE[method](address, {}))).name == "invalid"
        assert world.outbox.messages() == []

    in_world(scene)


def test_what_is_not_configured_is_not_offered() -> None:
    async def scene(world: World) -> None:
        client = await world.logged_in(Wallet("alice"))
        found = await config(client)
        assert set(found) == {"gauth", "gauth_url", "sms", "sms_number"}
        assert (await refused(client, wire.InitEnableEmail(EMAIL, {}))).name == "invalid"
        assert (await refused(client, wire.RequestReset(EMAIL))).name == "invalid"

    in_world(scene, channels={wire.SMS: Outbox()})


def test_the_first_factor_sets_the_limit_to_zero() -> None:
    """Whoever had the mnemonic before there was a factor may have left a limit behind."""

    async def scene(world: World) -> None:
        wallet = Wallet("alice")
        client = await world.logged_in(wallet)
        await client.call(wire.ChangeSettings("tx_limits", {"is_fiat": False, "per_tx": 0, "total": 5}, None))
        await enable(client, world.outbox)
        assert (await client.call(await answer(wallet, client)))["limits"]["total"] == 0

    in_world(scene)


async def answer(wallet: Wallet, client: Client) -> rpc.Authenticate:
    """A login."""
    from amp0.protocol import credentials

    return rpc.Authenticate(credentials.sign_challenge(wallet.master, await wallet.challenge(client)))


# --- codes ---------------------------------------------------------------------------------------------------------


def test_a_relay_that_is_down_is_told_at_once_and_another_method_works() -> None:
    """Outages of the relay left users before a spinner."""

    class Broken:
        def send(self, message: Message) -> None:
            raise DeliveryFailed("The code could not be sent by e-mail just now; try another method, or later")

    outbox = Outbox()
    channels: dict[str, Any] = {wire.EMAIL: outbox, wire.SMS: outbox}

    async def scene(world: World) -> None:
        client = await world.logged_in(Wallet("alice"))
        await enable(client, outbox)
        tfd = await code_for(client, outbox, wire.ENABLE, {"method": "sms"})
        await enable(client, outbox, wire.SMS, PHONE_NUMBER, tfd)
        world.server.services.factors.channels[wire.EMAIL] = Broken()  # type: ignore[index]
        failed = await refused(client, wire.RequestEmail(wire.SEND_RAW_TX, {}))
        assert (failed.name, "another method" in failed.text) == ("delivery", True)
        await code_for(client, outbox, wire.SEND_RAW_TX, {}, wire.SMS)

    in_world(scene, channels=channels)


@pytest.mark.parametrize(
    ("action", "data"),
    [
        ("steal", {}),
        (wire.SEND_RAW_TX, {"amount": 5}),
        (wire.DISABLE, {}),
        (wire.CHANGE_LIMITS, {"total": 1}),
        (wire.SET_UTXO_STATUS, {"list": [{"txhash": "x" * 20_000}]}),
    ],
)
def test_codes_for_what_does_not_exist_are_refused(action: str, data: dict[str, Any]) -> None:
    async def scene(world: World) -> None:
        client = await world.logged_in(Wallet("alice"))
        await enable(client, world.outbox)
        sent = len(world.outbox.messages())
        assert (await refused(client, wire.RequestEmail(action, data))).name == "invalid"
        assert (await refused(client, wire.RequestSms(wire.SEND_RAW_TX, {}))).name == "auth"
        assert len(world.outbox.messages()) == sent

    in_world(scene)


def test_codes_are_sent_only_so_often() -> None:
    async def scene(world: World) -> None:
        wallet = Wallet("alice")
        client = await world.logged_in(wallet)
        await enable(client, world.outbox)
        viewer = await watching(world, client, wallet)
        for _ in range(2):
            await code_for(client, world.outbox, wire.SEND_RAW_TX)
        assert (await refused(client, wire.RequestEmail(wire.SEND_RAW_TX, {}))).name == "toomanyattempts"
        # Another session of the wallet has the same count, a watch-only session another.
        second = await world.logged_in(wallet)
        assert (await refused(second, wire.RequestEmail(wire.SEND_RAW_TX, {}))).name == "toomanyattempts"
        for _ in range(3):
            await code_for(viewer, world.outbox, wire.SEND_RAW_TX)
        assert (await refused(viewer, wire.RequestEmail(wire.SEND_RAW_TX, {}))).name == "toomanyattempts"
        world.clock.now += 60
        await code_for(client, world.outbox, wire.SEND_RAW_TX)

    in_world(scene, code_requests=3)


def test_the_store_holds_no_code_no_secret_and_no_address() -> None:
    async def scene(world: World) -> None:
        client = await world.logged_in(Wallet("alice"))
        await enable(client, world.outbox)
        tfd = await code_for(client, world.outbox, wire.ENABLE, {"method": "gauth"})
        totp = await enable_gauth(client, world.clock, tfd)
        await client.call(wire.RequestReset("lost@example.com"))
        with world.server.services.store.snapshot() as db:
            rows = [
                repr(tuple(row))
                for table in schema.metadata.tables.values()
                if table.name.startswith("two_factor")
                for row in db.execute(sa.select(table))
            ]
        assert rows
        secrets = [EMAIL, "lost@example.com", totp.secret, *(m.code or "" for m in world.outbox.messages())]
        assert not [secret for secret in secrets if any(secret in row for row in rows)]

    in_world(scene)


# --- sessions ------------------------------------------------------------------------------------------------------


def test_c05_a_watch_only_session_sees_masks_and_asks_for_spends_only() -> None:
    async def scene(world: World) -> None:
        wallet = Wallet("alice")
        client = await world.logged_in(wallet)
        await enable(client, world.outbox)
        tfd = await code_for(client, world.outbox, wire.ENABLE, {"method": "sms"})
        await enable(client, world.outbox, wire.SMS, PHONE_NUMBER, tfd)
        viewer = await watching(world, client, wallet)
        found = await config(viewer)
        assert (found["email_addr"], found["sms_number"], found["gauth_url"]) == ("a***@e***", "+4***67", wire.MASKED)
        for action in wire.SPEND_ACTIONS:
            await code_for(viewer, world.outbox, action, {"txid": "ab" * 32})
        for action in set(wire.ACTIONS) - set(wire.SPEND_ACTIONS):
            assert (await refused(viewer, wire.RequestEmail(action, {}))).name == "notallowed"

    in_world(scene)


def test_c02_a_login_changes_nothing_about_the_count() -> None:
    async def scene(world: World) -> None:
        wallet = Wallet("alice")
        client = await world.logged_in(wallet)
        await enable(client, world.outbox)
        for i in range(6):
            session = await world.logged_in(wallet, list(wamp.Serializer)[i % 2])
            assert (await refused(session, wire.DisableEmail({"method": "email", "code": "000000"}))).text == INVALID
        again = await world.logged_in(wallet)
        locked = await refused(again, wire.DisableEmail({"method": "email", "code": "000000"}))
        assert (locked.name, "61 minutes" in locked.text) == ("twofactorlocked", True)
        assert (await refused(again, wire.RequestEmail(wire.SEND_RAW_TX, {}))).name == "twofactorlocked"
        assert (await told(world))[-1] == ("Somebody guesses codes for your wallet", EMAIL)

    in_world(scene)


def test_c02_a_code_to_an_address_of_the_guesser_s_own_does_not_set_the_count_back() -> None:
    async def scene(world: World) -> None:
        client = await world.logged_in(Wallet("alice"))
        await enable(client, world.outbox)
        wrong = wire.DisableEmail({"method": "email", "code": "000000"})
        for _ in range(3):
            await refused(client, wrong)
        await client.call(wire.RequestReset("thief@example.com"))
        code = {"method": "email", "code": newest_code(world.outbox)}
        await client.call(wire.ConfirmReset("thief@example.com", False, code))
        await client.call(wire.RequestUndoReset("thief@example.com"))
        code = {"method": "email", "code": newest_code(world.outbox)}
        await client.call(wire.ConfirmUndoReset("thief@example.com", code))
        for _ in range(3):
            assert (await refused(client, wrong)).text == INVALID
        assert (await refused(client, wrong)).name == "twofactorlocked"

    in_world(scene)


def test_c03_a_hundred_guesses_at_once_with_one_left() -> None:
    async def scene(world: World) -> None:
        wallet = Wallet("alice")
        client = await world.logged_in(wallet)
        await enable(client, world.outbox)
        wrong = wire.DisableEmail({"method": "email", "code": "000000"})
        for _ in range(5):
            await refused(client, wrong)
        sessions = [await world.logged_in(wallet) for _ in range(20)]
        errors = await asyncio.gather(*(refused(session, wrong) for session in sessions for _ in range(5)))
        assert [error.text for error in errors].count(INVALID) == 1
        assert [error.name for error in errors].count("twofactorlocked") == 99

    in_world(scene)


def test_c05_raising_a_limit_takes_a_code_lowering_none() -> None:
    async def scene(world: World) -> None:
        wallet = Wallet("alice")
        client = await world.logged_in(wallet)
        await enable(client, world.outbox)
        viewer = await watching(world, client, wallet)

        def limit(total: Any, tfd: dict[str, Any] | None = None, **more: Any) -> wire.ChangeSettings:
            return wire.ChangeSettings("tx_limits", {"is_fiat": False, "per_tx": 0, "total": total, **more}, tfd)

        assert (await refused(viewer, limit(50_000))).name == "notallowed"
        assert (await refused(client, limit(50_000))).name == "auth"
        data = {"is_fiat": False, "per_tx": 0, "total": 50_000}
        tfd = await code_for(client, world.outbox, wire.CHANGE_LIMITS, data)
        # As GDK sends it: the data and the code in one map. Another amount is another limit.
        assert (await refused(client, limit(50_001, {**data, **tfd}))).text == INVALID
        assert await client.call(limit(50_000, {**data, **tfd})) is True
        assert await client.call(limit(20_000)) is True
        assert (await refused(client, limit(20_001))).name == "auth"
        assert (await client.call(await answer(wallet, client)))["limits"] == {
            "total": 20_000, "per_tx": 0, "is_fiat": False,
        }  # fmt: skip
        for bad in (limit(5, is_fiat=True), limit(5, per_tx=1), limit("5"), limit(-1), limit(True)):
            assert (await refused(client, bad)).name == "invalid"
        assert (await refused(client, wire.ChangeSettings("pricing", {}, None))).name == "invalid"

    in_world(scene)


def test_settings_and_removal_take_a_code() -> None:
    async def scene(world: World) -> None:
        wallet = Wallet("alice")
        client = await world.logged_in(wallet)
        assert await client.call(rpc.SetNLockTime(200, {})) is True
        await enable(client, world.outbox)
        assert (await refused(client, rpc.SetNLockTime(300, {"value": 300}))).name == "auth"
        tfd = await code_for(client, world.outbox, wire.SET_NLOCKTIME, {"value": 300})
        assert (await refused(client, rpc.SetNLockTime(400, tfd))).text == INVALID
        assert await client.call(rpc.SetNLockTime(300, {"value": 300, **tfd})) is True
        tfd = await code_for(client, world.outbox, wire.SET_CSVTIME, {"value": 65535})
        assert await client.call(rpc.SetCsvTime(65535, {"value": 65535, **tfd})) is True
        assert (await refused(client, rpc.RemoveAccount({}))).name == "auth"
        tfd = await code_for(client, world.outbox, wire.REMOVE_ACCOUNT, {})
        assert await client.call(rpc.RemoveAccount(tfd)) is True
        # Registered again, it has no factor.
        again = await world.logged_in(wallet)
        assert wire.TwoFactorConfig(**await config(again)).enabled() == []
        assert ("Wallet removed", EMAIL) in await told(world)

    in_world(scene)


def test_an_e_mail_address_for_notices_is_no_factor() -> None:
    async def scene(world: World) -> None:
        client = await world.logged_in(Wallet("alice"))
        await client.call(wire.SetEmail("Bob@EXAMPLE.com", {}))
        assert (await refused(client, wire.ActivateEmail("000000"))).text == INVALID
        await client.call(wire.ActivateEmail(newest_code(world.outbox, "Bob@example.com")))
        found = await config(client)
        assert (found["email"], found["email_confirmed"], found["email_addr"]) == (False, True, "Bob@example.com")
        await enable_gauth(client, world.clock)
        assert await told(world) == [("Second factor enabled", "Bob@example.com")]
        assert (await refused(client, wire.SetEmail(EMAIL, {"address": EMAIL}))).name == "auth"

    in_world(scene)


def test_disabling_tells_every_channel_and_keeps_the_address() -> None:
    async def scene(world: World) -> None:
        client = await world.logged_in(Wallet("alice"))
        await enable(client, world.outbox)
        tfd = await code_for(client, world.outbox, wire.ENABLE, {"method": "sms"})
        await enable(client, world.outbox, wire.SMS, PHONE_NUMBER, tfd)
        tfd = await code_for(client, world.outbox, wire.DISABLE, {"method": "email"}, wire.SMS)
        await client.call(wire.DisableEmail(tfd))
        found = await config(client)
        assert (found["email"], found["email_confirmed"]) == (False, True)
        notices = await told(world)
        assert ("Second factor disabled", EMAIL) in notices
        assert ("Second factor disabled", PHONE_NUMBER) in notices
        assert (await refused(client, wire.DisableEmail(tfd))).name == "invalid"

    in_world(scene)


def test_notices_wait_for_a_channel_that_is_away_and_are_given_up_in_the_end() -> None:
    class Broken:
        tries = 0

        def send(self, message: Message) -> None:
            self.tries += 1
            raise DeliveryFailed("down")

    async def scene(world: World) -> None:
        client = await world.logged_in(Wallet("alice"))
        await enable(client, world.outbox)
        await enable_gauth(client, world.clock, await code_for(client, world.outbox, wire.ENABLE, {"method": "gauth"}))
        channels, broken = world.server.services.factors.channels, Broken()
        channels[wire.EMAIL] = broken  # type: ignore[index]
        await run_upkeep(world)
        await run_upkeep(world)
        assert broken.tries == 1
        channels[wire.EMAIL] = world.outbox  # type: ignore[index]
        world.clock.now += 120
        assert await told(world) == [("Second factor enabled", EMAIL)]
        world.clock.now += 30
        tfd = await code_for(client, world.outbox, wire.DISABLE, {"method": "gauth"})
        await client.call(wire.DisableGauth(tfd))
        channels[wire.EMAIL] = broken  # type: ignore[index]
        for _ in range(40):
            world.clock.now += 20_000
            await run_upkeep(world)
        assert broken.tries == 11

    in_world(scene)


# --- frozen outputs ------------------------------------------------------------------------------------------------


def test_outputs_are_frozen_with_a_code_and_unfrozen_without() -> None:
    async def scene(world: World) -> None:
        wallet = Wallet("alice")
        client = await world.logged_in(wallet)
        await wallet.create_account(client)
        await enable(client, world.outbox)
        tx = payment((own(wallet, 1), 5), (own(wallet, 2), 6))
        world.chain.send(tx)
        await world.server.watcher.poll()
        row = {"txhash": str(tx.txid()), "pt_idx": 1, "user_status": 1}
        data = {"list": [row]}
        assert (await refused(client, wire.SetUtxoStatus(data, None))).name == "auth"
        tfd = await code_for(client, world.outbox, wire.SET_UTXO_STATUS, data)
        other = {"list": [{**row, "pt_idx": 0}]}
        assert (await refused(client, wire.SetUtxoStatus(other, {**other, **tfd}))).text == INVALID
        assert await client.call(wire.SetUtxoStatus(data, {**data, **tfd})) is True
        everything = await client.call(rpc.GetUnspentOutputs(0, 1, "any", True))
        assert {row["pt_idx"]: row["user_status"] for row in everything} == {0: 0, 1: 1}
        spendable = await client.call(rpc.GetUnspentOutputs(0, 1, "any", False))
        assert [row["pt_idx"] for row in spendable] == [0]
        assert await client.call(wire.SetUtxoStatus({"list": [{**row, "user_status": 0}]}, None)) is True
        assert len(await client.call(rpc.GetUnspentOutputs(0, 1, "any", False))) == 2

    in_world(scene)


@pytest.mark.parametrize(
    "data",
    [
        {},
        {"list": []},
        {"list": [5]},
        {"list": [{"txhash": "ab" * 32, "pt_idx": 0}]},
        {"list": [{"txhash": "ab" * 32, "pt_idx": 0, "user_status": 2}]},
        {"list": [{"txhash": "ab" * 32, "pt_idx": 0, "user_status": True}]},
        {"list": [{"txhash": "zz" * 32, "pt_idx": 0, "user_status": 1}]},
        {"list": [{"txhash": "ab" * 32, "pt_idx": -1, "user_status": 1}]},
        {"list": [{"txhash": "ab" * 32, "pt_idx": 2**40, "user_status": 1}]},
        {"list": [{"txhash": "ab" * 32, "pt_idx": 0, "user_status": 1}] * 2},
        {"list": [{"txhash": "ab" * 32, "pt_idx": 0, "user_status": 1}]},
    ],
)
def test_outputs_that_are_none_are_not_frozen(data: dict[str, Any]) -> None:
    async def scene(world: World) -> None:
        client = await world.logged_in(Wallet("alice"))
        assert (await refused(client, wire.SetUtxoStatus(data, None))).name == "invalid"

    in_world(scene)


def test_nobody_freezes_another_wallet_s_outputs() -> None:
    async def scene(world: World) -> None:
        alice, bob = Wallet("alice"), Wallet("bob")
        owner, thief = await world.logged_in(alice), await world.logged_in(bob)
        await alice.create_account(owner)
        tx = payment((own(alice, 1), 5))
        world.chain.send(tx)
        await world.server.watcher.poll()
        row = {"txhash": str(tx.txid()), "pt_idx": 0}
        assert (await refused(thief, wire.SetUtxoStatus({"list": [{**row, "user_status": 1}]}, None))).name == "invalid"
        await owner.call(wire.SetUtxoStatus({"list": [{**row, "user_status": 1}]}, None))
        await thief.call(wire.SetUtxoStatus({"list": [{**row, "user_status": 0}]}, None))
        (found,) = await owner.call(rpc.GetUnspentOutputs(0, 1, "any", True))
        assert found["user_status"] == 1

    in_world(scene)


# --- logins --------------------------------------------------------------------------------------------------------


def test_a_login_warns_of_a_single_factor() -> None:
    async def scene(world: World) -> None:
        wallet = Wallet("alice")
        client = await world.logged_in(wallet)
        await enable(client, world.outbox)
        (warning,) = (await client.call(await answer(wallet, client)))["warnings"]
        assert "Enable another" in warning
        await enable_gauth(client, world.clock, await code_for(client, world.outbox, wire.ENABLE, {"method": "gauth"}))
        assert (await client.call(await answer(wallet, client)))["warnings"] == []

    in_world(scene)


def test_every_error_is_one_of_ours() -> None:
    """Junk in two-factor data is no fault of the server."""

    async def scene(world: World) -> None:
        client = await world.logged_in(Wallet("alice"))
        await enable(client, world.outbox)
        await enable_gauth(client, world.clock, await code_for(client, world.outbox, wire.ENABLE, {"method": "gauth"}))
        for junk in (
            {"method": ["email"], "code": "1"},
            {"method": {"a": 1}, "code": "1"},
            {"method": "gauth", "code": 123456},
            {"method": "gauth", "code": "\u0661" * 6},
            {"method": "gauth", "code": ["x"]},
            {"method": "sms", "code": "123456"},
            {"method": "proxy", "code": "x"},
        ):
            error = await refused(client, wire.DisableEmail(junk))
            assert error.name in ("auth", "twofactorlocked"), error

    in_world(scene, code_guesses=3)
