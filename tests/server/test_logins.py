from __future__ import annotations

import hashlib
import logging
import statistics
import time
from typing import Any

import pytest

from amp0.elements import wally
from amp0.elements.address import p2pkh_address
from amp0.network import Network
from amp0.protocol import credentials, rpc, wamp
from amp0.server import calls
from amp0.server.context import Session
from amp0.server.refusal import WrongCredentials

from .talking import NETWORK, CallError, Client, Wallet, World, in_world, watch_only_login

CURVE_ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141


async def sign(wallet: Wallet, client: Client) -> str:
    return credentials.sign_challenge(wallet.master, await wallet.challenge(client))


async def is_logged_in(client: Client) -> bool:
    try:
        await client.call(rpc.GetClientBlob())
    except CallError as error:
        if (error.name, error.text) != ("sessionexpired", "Session expired"):
            raise
        return False
    return True


# --- the challenge -------------------------------------------------------------------------------------------------


def test_a_login_gives_everything_gdk_needs() -> None:
    """The keys that gdk 0.78.0 was measured to need, one by one."""

    async def scene(world: World) -> None:
        alice = Wallet("alice")
        client = await world.logged_in(alice)
        gaid = await alice.create_account(client, 1)
        data = await client.call(rpc.Authenticate(await sign(alice, client)))
        assert data["gait_path"] == alice.gait_path.hex()
        assert data["public_key"] == alice.master.public_key.hex()
        assert data["chain_code"] == alice.master.chain_code.hex()
        assert data["client_blob_hmac"] == rpc.ZERO_HMAC
        assert data["csv_times"] == [20, 1440, 65535]
        assert data["csv_blocks"] in data["csv_times"]
        assert (data["min_fee"], data["nlocktime_blocks"]) == (100, 12960)
        assert (data["reset_2fa_active"], data["reset_2fa_days_remaining"]) == (False, -1)
        assert data["limits"] == {"total": 0, "per_tx": 0, "is_fiat": False}
        assert data["fee_estimates"]["1"] == {"feerate": 0.000001, "blocks": 1}
        assert (data["exchange"], data["fiat_currency"]) == ("BITSTAMP", "USD")
        assert data["cache_password"]
        assert data["earliest_key_creation_time"] == int(world.clock.now)
        assert type(data["block_height"]) is int
        assert data["block_hash"] == str(world.chain.blocks[-1][0].block_hash())
        assert data["prev_block_hash"] == "00" * 32
        assert data["receiving_id"].startswith("GA")
        assert data["receiving_id"] != gaid
        assert "wo_blob_key" not in data
        (row,) = data["subaccounts"]
        assert row == {
            "pointer": 1,
            "type": "2of2_no_recovery",
            "receiving_id": gaid,
            "required_ca": 20,
            "name": "",
        }

    in_world(scene)


def test_b01_a_challenge_is_good_for_one_attempt_on_its_own_connection() -> None:
    async def scene(world: World) -> None:
        alice = Wallet("alice")
        client, other = await world.joined(), await world.joined()
        await alice.register(client)
        signature = await sign(alice, client)
        # On another connection, with and without a challenge of its own.
        assert await other.call(rpc.Authenticate(signature)) is False
        await alice.challenge(other)
        assert await other.call(rpc.Authenticate(signature)) is False
        # On its own, once.
        assert (await client.call(rpc.Authenticate(signature))) is not False
        fresh = await world.joined()
        signature = await sign(alice, fresh)
        assert await fresh.call(rpc.Authenticate("00" * 70)) is False
        assert await fresh.call(rpc.Authenticate(signature)) is False
        assert not await is_logged_in(fresh)

    in_world(scene)


@pytest.mark.parametrize(("waited", "accepted"), [(59, True), (60, False), (3600, False)])
def test_b01_a_challenge_expires(waited: int, accepted: bool) -> None:
    async def scene(world: World) -> None:
        alice, client = Wallet("alice"), await world.joined()
        await alice.register(client)
        signature = await sign(alice, client)
        world.clock.now += waited
        assert (await client.call(rpc.Authenticate(signature)) is not False) is accepted

    in_world(scene)


def test_b01_a_call_that_fails_uses_the_challenge_up() -> None:
    async def scene(world: World) -> None:
        alice, client = Wallet("alice"), await world.joined()
        await alice.register(client)
        signature = await sign(alice, client)
        with pytest.raises(CallError):
            await client.call_uri(rpc.Authenticate.URI, [7])
        assert await client.call(rpc.Authenticate(signature)) is False

    in_world(scene)


def test_challenges_have_five_letters_and_digits_and_differ() -> None:
    async def scene(world: World) -> None:
        client = await world.joined()
        # Unknown wallets get one as well.
        found = {await Wallet("nobody").challenge(client) for _ in range(50)}
        assert len(found) == 50
        assert all(len(text) == 5 and text.isascii() and text.isalnum() for text in found)

    in_world(scene)


def high_s(der: bytes) -> bytes:
    r_length = der[3]
    s = CURVE_ORDER - int.from_bytes(der[6 + r_length :], "big")
    raw = s.to_bytes(33, "big").lstrip(b"\x00")
    raw = b"\x00" + raw if raw[0] & 0x80 else raw
    body = der[2 : 4 + r_length] + bytes((2, len(raw))) + raw
    return bytes((0x30, len(body))) + body


def test_b02_only_the_login_key_and_only_strict_low_s_signatures_log_in() -> None:
    async def scene(world: World) -> None:
        alice, client = Wallet("alice"), await world.joined()
        await alice.register(client)
        login_key = alice.master.child(0x4741B11E)

        async def refused(forge: object) -> bool:
            challenge = await alice.challenge(client)
            digest = credentials.challenge_hash(challenge)
            good = login_key.sign(digest, low_r=False)
            assert callable(forge)
            return await client.call(rpc.Authenticate(forge(digest, good).hex())) is False

        assert await refused(lambda digest, good: alice.master.sign(digest))
        assert await refused(lambda digest, good: alice.master.child(0x4741).sign(digest))
        assert await refused(lambda digest, good: login_key.child(0).sign(digest))
        assert await refused(lambda digest, good: Wallet("bob").master.child(0x4741B11E).sign(digest))
        assert await refused(lambda digest, good: high_s(good))
        assert await refused(lambda digest, good: good + b"\x01")
        assert await refused(lambda digest, good: b"\x1f" + good)
        assert await refused(lambda digest, good: good[:-1])
        assert await refused(lambda digest, good: b"")
        assert await refused(lambda digest, good: bytes.fromhex("3006020100020100"))
        assert await refused(lambda digest, good: bytes.fromhex("3006020101020101"))
        assert await refused(lambda digest, good: login_key.sign(wally.hash160(digest) + bytes(12)))
        assert not await refused(lambda digest, good: good)
        assert not await refused(lambda digest, good: login_key.sign(digest, low_r=True))

    in_world(scene)


def test_b02_a_signature_of_another_challenge_is_refused() -> None:
    async def scene(world: World) -> None:
        alice, client = Wallet("alice"), await world.joined()
        await alice.register(client)
        await alice.challenge(client)
        assert await client.call(rpc.Authenticate(credentials.sign_challenge(alice.master, "AAAAA"))) is False

    in_world(scene)


def test_login_addresses_of_another_kind_or_network_are_refused() -> None:
    async def scene(world: World) -> None:
        client = await world.joined()
        pubkey_hash = wally.hash160(Wallet("alice").master.public_key)
        for address in (
            p2pkh_address(Network.testnet(), pubkey_hash),
            p2pkh_address(Network.mainnet(), pubkey_hash),
            "XEZe5RuQY1WPX8QV5C2ScaK2nuhGm6mNRy",
            "Azpnxudd7qGZrVNG9VgjPBfGUHXB5jseSZz5MP1Qn3AR6d7W1kp1E8y2bUPe5FvxY33i51nTPhJNjALd",
            "not an address",
            "",
        ):
            with pytest.raises(CallError) as refused:
                await client.call(rpc.GetChallenge(address))
            assert refused.value.name == "invalid"

    in_world(scene)


def test_an_unknown_wallet_is_answered_with_false() -> None:
    async def scene(world: World) -> None:
        client = await world.joined()
        assert await client.call(rpc.Authenticate(await sign(Wallet("nobody"), client))) is False

    in_world(scene)


# --- watch-only ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("serializer", list(wamp.Serializer))
def test_a_watch_only_login_carries_the_blob_key(serializer: wamp.Serializer) -> None:
    async def scene(world: World) -> None:
        alice = Wallet("alice")
        owner = await world.logged_in(alice)
        gaid = await alice.create_account(owner)
        login = await alice.create_watch_only(owner, "shop", "secret")
        client = await world.joined(serializer)
        data = await client.call(login)
        assert data["wo_blob_key"] == "ab" * 64
        assert data["gait_path"] == alice.gait_path.hex()
        assert [row["receiving_id"] for row in data["subaccounts"]] == [gaid]

    in_world(scene)


def test_b05_unknown_name_and_wrong_password_get_one_answer() -> None:
    async def scene(world: World) -> None:
        alice = Wallet("alice")
        await alice.create_watch_only(await world.logged_in(alice), "shop", "secret")
        answers = set()
        for login in (
            watch_only_login("shop", "wrong"),
            watch_only_login("nobody", "secret"),
            rpc.WatchOnlyLogin("custom", rpc.WatchOnlyCredentials("plain", "text")),
            rpc.WatchOnlyLogin("custom", rpc.WatchOnlyCredentials("", "")),
        ):
            client = await world.joined()
            with pytest.raises(CallError) as refused:
                await client.call(login)
            answers.add((refused.value.name, refused.value.text))
            assert not await is_logged_in(client)
        assert answers == {("usernotfound", "User not found or invalid password")}

    in_world(scene)


def test_b05_unknown_name_and_wrong_password_cost_the_same() -> None:
    """10,000 wrong logins, in turns: their medians differ by less than those of the halves of one kind may."""

    async def scene(world: World) -> None:
        alice = Wallet("alice")
        await alice.create_watch_only(await world.logged_in(alice), "shop", "secret")
        services, session = world.server.services, Session(peer="192.0.2.1")
        logins = {name: watch_only_login(name, "wrong").args() for name in ("shop", "nobody")}
        taken: dict[str, list[int]] = {name: [] for name in logins}

        def guess(name: str) -> None:
            began = time.perf_counter_ns()
            outcome = calls.execute(services, session, rpc.WatchOnlyLogin.URI, logins[name])
            taken[name].append(time.perf_counter_ns() - began)
            assert isinstance(outcome.refusal, WrongCredentials)

        def differ() -> tuple[float, float, float] | None:
            for samples in taken.values():
                samples.clear()
            for turn in range(5_000):
                for name in sorted(logins, reverse=bool(turn % 2)):
                    guess(name)
            known, unknown = (statistics.median(samples) for samples in taken.values())
            spread = max(
                abs(statistics.median(samples[i::8]) - statistics.median(samples))
                for samples in taken.values()
                for i in range(8)
            )
            # A row that is found costs a few microseconds to read, and hashing costs the same.
            return None if abs(known - unknown) < max(0.05 * unknown, 3 * spread) else (known, unknown, spread)

        # What tells them apart does so every time; what the machine did meanwhile does not.
        found = [differ()]
        while found[-1] is not None and len(found) < 4:
            found.append(differ())
        assert found[-1] is None, found

    in_world(scene, login_attempts=1_000_000)


def test_b05_a_plain_pair_is_stretched_for_unknown_names_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """The slow hash for clients that send what was typed would tell names apart if it were left out."""

    async def scene(world: World) -> None:
        alice = Wallet("alice")
        owner = await world.logged_in(alice)
        assert await owner.call_uri(rpc.SyncCustom.URI, ["shop", "secret"]) is True
        stretched = []
        original = hashlib.scrypt

        def counted(*arguments: Any, **more: Any) -> bytes:
            stretched.append(1)
            return original(*arguments, **more)

        monkeypatch.setattr(hashlib, "scrypt", counted)
        for name in ("shop", "nobody", ""):
            client = await world.joined()
            with pytest.raises(CallError, match="usernotfound"):
                await client.call(rpc.WatchOnlyLogin("custom", rpc.WatchOnlyCredentials(name, "wrong")))
        assert len(stretched) == 3

    in_world(scene)


def test_b04_one_password_over_many_names_raises_the_alarm(caplog: pytest.LogCaptureFixture) -> None:
    """From as many addresses as names, no bucket is ever empty; who was not attacked notices nothing."""

    async def scene(world: World) -> None:
        alice = Wallet("alice")
        login = await alice.create_watch_only(await world.logged_in(alice), "shop", "secret")
        services = world.server.services

        def guess(number: int) -> None:
            session = Session(peer=f"2001:db8:{number:x}::1")
            call = watch_only_login(f"name{number}", "123456")
            outcome = calls.execute(services, session, call.URI, call.args())
            assert isinstance(outcome.refusal, WrongCredentials)

        def correct() -> float:
            began = time.perf_counter()
            outcome = calls.execute(services, Session(peer="192.0.2.77"), login.URI, login.args())
            assert outcome.refusal is None
            return time.perf_counter() - began

        # The best of many: the machine may be busy, but not each time.
        before = min(correct() for _ in range(50))
        for number in range(199):
            guess(number)
        assert "alarm" not in caplog.text
        for number in range(199, 10_000):
            guess(number)
        after = min(correct() for _ in range(50))
        assert after < 0.02
        assert after < 3 * before
        assert caplog.text.count("alarm: 200 wrong logins") == 1
        assert "123456" not in caplog.text

    in_world(scene)


def test_b04_one_name_from_ten_thousand_addresses_gets_no_more_guesses(caplog: pytest.LogCaptureFixture) -> None:
    async def scene(world: World) -> None:
        alice, bob = Wallet("alice"), Wallet("bob")
        await alice.create_watch_only(await world.logged_in(alice), "shop", "secret")
        untouched = await bob.create_watch_only(await world.logged_in(bob), "store", "secret")
        services = world.server.services
        looked_at = 0
        for number in range(10_000):
            call = watch_only_login("shop", f"guess{number}")
            outcome = calls.execute(services, Session(peer=f"2001:db8:{number:x}::1"), call.URI, call.args())
            looked_at += isinstance(outcome.refusal, WrongCredentials)
            assert outcome.refusal is not None
            # An hour's work.
            world.clock.now += 0.36
        assert looked_at <= 20, "ten at once, then after 30 seconds, 60, 120, …"
        outcome = calls.execute(services, Session(peer="192.0.2.77"), untouched.URI, untouched.args())
        assert outcome.refusal is None

    in_world(scene)


@pytest.mark.parametrize(("wrong", "refused"), [(9, False), (10, True), (11, True)])
def test_b04_the_limit_of_a_name(wrong: int, refused: bool) -> None:
    async def scene(world: World) -> None:
        alice = Wallet("alice")
        login = await alice.create_watch_only(await world.logged_in(alice), "shop", "secret")
        client = await world.joined()
        for _ in range(wrong):
            with pytest.raises(CallError):
                await client.call(watch_only_login("shop", "wrong"))
        if refused:
            with pytest.raises(CallError, match=r"toomanyattempts.*wait"):
                await client.call(login)
        else:
            assert await client.call(login)

    in_world(scene)


def test_b04_guessing_is_slowed_down_and_others_are_not() -> None:
    async def scene(world: World) -> None:
        alice = Wallet("alice")
        login = await alice.create_watch_only(await world.logged_in(alice), "shop", "secret")
        attacker = await world.joined(peer="198.51.100.7")
        names = []
        for attempt in range(60):
            with pytest.raises(CallError) as refused:
                await attacker.call(watch_only_login(f"name{attempt}", "guess"))
            names.append(refused.value.name)
        assert names == ["usernotfound"] * 50 + ["toomanyattempts"] * 10
        # The right credentials from that address have to wait, from elsewhere they do not.
        with pytest.raises(CallError, match="toomanyattempts"):
            await attacker.call(login)
        assert await (await world.joined(peer="192.0.2.9")).call(login)
        world.clock.now += 31
        assert await attacker.call(login)
        # The next wrong one there costs twice the time.
        with pytest.raises(CallError, match="usernotfound"):
            await attacker.call(watch_only_login("one more", "guess"))
        world.clock.now += 31
        with pytest.raises(CallError, match="toomanyattempts"):
            await attacker.call(login)
        world.clock.now += 31
        assert await attacker.call(login)

    in_world(scene, login_attempts=5)


def test_b04_one_name_is_guarded_against_many_addresses() -> None:
    async def scene(world: World) -> None:
        alice = Wallet("alice")
        await alice.create_watch_only(await world.logged_in(alice), "shop", "secret")
        names = []
        for attempt in range(8):
            client = await world.joined(peer=f"198.51.100.{attempt}")
            with pytest.raises(CallError) as refused:
                await client.call(watch_only_login("shop", f"guess{attempt}"))
            names.append(refused.value.name)
        assert names == ["usernotfound"] * 5 + ["toomanyattempts"] * 3

    in_world(scene, login_attempts=5)


def test_b09_sessions_are_known_by_their_connection_and_by_no_token() -> None:
    """Nothing that a client says about a session makes it one: no id, no authid, no details of a HELLO."""

    async def scene(world: World) -> None:
        alice = Wallet("alice")
        owner = await world.logged_in(alice)
        await alice.create_account(owner)
        welcomes = set()
        for details in (
            {},
            {"session": 1, "authid": alice.master.public_key.hex(), "authmethods": ["ticket"], "resume": True},
            {"authid": owner.connection.session.receiving_id, "x_token": "0" * 64},
        ):
            thief = world.client()
            thief.peer.hello()
            ours = wamp.Hello("realm1", {"roles": {"caller": {}}, **details})
            list(thief.peer.data_to_send())
            await thief.connection.handle(thief.serializer.encode(ours))
            welcome = thief.messages.pop()
            assert isinstance(welcome, wamp.Welcome)
            welcomes.add(welcome.session)
            with pytest.raises(CallError, match="sessionexpired"):
                await thief.call(rpc.Fund(1))
        # Drawn anew for each connection, and from the system's generator.
        assert len(welcomes) == 3

    in_world(scene)


def test_b09_no_secret_of_a_login_reaches_a_log_an_error_or_a_repr(caplog: pytest.LogCaptureFixture) -> None:
    async def scene(world: World) -> None:
        alice = Wallet("alice")
        owner = await world.logged_in(alice)
        login = await alice.create_watch_only(owner, "shop", "secret")
        watcher = await world.joined()
        await watcher.call(login)
        await watcher.call(rpc.Fund(0, True, "csv"))
        wrong = watch_only_login("shop", "wrong")
        texts = []
        assert await watcher.call(rpc.Authenticate("30" * 70)) is False
        for call in (wrong, rpc.Fund(7)):
            with pytest.raises(CallError) as refused:
                await watcher.call(call)
            texts.append(refused.value.text)
        challenge = await alice.challenge(owner)
        texts += [repr(owner.connection.session), repr(watcher.connection.session), caplog.text, repr(login)]
        everything = "\n".join(texts)
        secrets = [
            login.credentials.username,
            login.credentials.password,
            wrong.credentials.password,
            "ab" * 64,
            challenge,
            watcher.connection.session.watch_only_salt.hex(),
            str(watcher.connection.session.watch_only_salt),
        ]
        for secret in secrets:
            assert secret not in everything

    with caplog.at_level(logging.DEBUG):
        in_world(scene)


def test_b09_the_identifier_of_a_pin_login_cannot_be_guessed() -> None:
    """It opens nothing without the PIN, and is random all the same."""

    async def scene(world: World) -> None:
        owner = await world.logged_in(Wallet("alice"))
        found = [await owner.call(rpc.SetPinLogin("1234", f"device{n}")) for n in range(3)]
        identifiers = {text.split(";")[0] for text in found}
        passwords = {text.split(";")[1] for text in found}
        assert len(identifiers) == len(passwords) == 3
        assert all(len(bytes.fromhex(text)) == 16 for text in identifiers)
        assert all(len(bytes.fromhex(text)) == 32 for text in passwords)

    in_world(scene)


def test_b06_only_hashes_of_the_pair_are_stored() -> None:
    async def scene(world: World) -> None:
        alice = Wallet("alice")
        await alice.create_watch_only(await world.logged_in(alice), "shop", "secret")
        with world.server.services.store.snapshot() as connection:
            dump = "\n".join(connection.connection.driver_connection.iterdump())  # type: ignore[union-attr]
        for secret in ("shop", "secret"):
            digest = hashlib.sha256(secret.encode()).hexdigest()
            assert digest not in dump.lower()
            assert digest[:16] not in dump.lower()

    in_world(scene)


def test_b08_sessions_of_old_credentials_end() -> None:
    async def scene(world: World) -> None:
        alice = Wallet("alice")
        owner = await world.logged_in(alice)
        await alice.create_account(owner)
        old_login = await alice.create_watch_only(owner, "shop", "secret")
        old = await world.joined()
        await old.call(old_login)
        await old.subscribe(rpc.TOPIC_BLOCKS)
        assert await is_logged_in(old)

        new_login = await alice.create_watch_only(owner, "shop", "another secret")
        assert not await is_logged_in(old)
        for call in (rpc.Fund(1), rpc.GetUnspentOutputs(0, 1), rpc.SignTransaction("00"), rpc.GetMyAddresses(1)):
            with pytest.raises(CallError, match="sessionexpired"):
                await old.call(call)
        world.chain.mine()
        await world.server.watcher.poll()
        assert old.events() == []
        with pytest.raises(CallError, match="usernotfound"):
            await (await world.joined()).call(old_login)

        new = await world.joined()
        await new.call(new_login)
        assert await is_logged_in(new)
        assert await owner.call(rpc.SyncCustom("", "", "")) is True
        assert not await is_logged_in(new)
        assert await is_logged_in(owner)
        with pytest.raises(CallError, match="usernotfound"):
            await (await world.joined()).call(new_login)

    in_world(scene)


def test_b08_the_store_is_asked_even_where_the_session_was_not_told() -> None:
    """Another process may have changed the credentials: every call looks."""

    async def scene(world: World) -> None:
        alice = Wallet("alice")
        owner = await world.logged_in(alice)
        client = await world.joined()
        await client.call(await alice.create_watch_only(owner, "shop", "secret"))
        services = world.server.services
        outcome = calls.execute(
            services, owner.connection.session, rpc.SyncCustom.URI, rpc.SyncCustom("", "", "").args()
        )
        assert outcome.refusal is None
        assert not await is_logged_in(client)

    in_world(scene)


def test_the_same_credentials_again_end_no_session() -> None:
    async def scene(world: World) -> None:
        alice = Wallet("alice")
        owner = await world.logged_in(alice)
        client = await world.joined()
        await client.call(await alice.create_watch_only(owner, "shop", "secret"))
        await alice.create_watch_only(owner, "shop", "secret")
        assert await is_logged_in(client)

    in_world(scene)


def test_two_wallets_cannot_share_a_watch_only_login(database_url: str) -> None:
    async def scene(world: World) -> None:
        alice, bob = Wallet("alice"), Wallet("bob")
        login = await alice.create_watch_only(await world.logged_in(alice), "shop", "secret")
        with pytest.raises(CallError) as refused:
            await bob.create_watch_only(await world.logged_in(bob), "shop", "secret")
        assert refused.value.name == "nametaken"
        data = await (await world.joined()).call(login)
        assert data["gait_path"] == alice.gait_path.hex()

    in_world(scene, url=database_url)


def test_clients_of_an_older_kind_send_what_was_typed() -> None:
    """SideSwap's library: two plain arguments, no key, no fourth argument at login."""

    async def scene(world: World) -> None:
        alice = Wallet("alice")
        owner = await world.logged_in(alice)
        assert await owner.call_uri(rpc.SyncCustom.URI, ["shop", "secret"]) is True
        client = await world.joined(wamp.Serializer.MSGPACK)
        data = await client.call_uri(
            rpc.WatchOnlyLogin.URI, ["custom", {"username": "shop", "password": "secret", "minimal": "true"}, "x"]
        )
        assert data["gait_path"] == alice.gait_path.hex()
        assert "wo_blob_key" not in data

    in_world(scene)


@pytest.mark.parametrize("arguments", [["a", "", ""], ["", "b", ""], ["a", "b", "abc"], ["", "", "ab" * 64]])
def test_half_watch_only_logins_are_refused(arguments: list[str]) -> None:
    async def scene(world: World) -> None:
        client = await world.logged_in(Wallet("alice"))
        with pytest.raises(CallError, match="invalid"):
            await client.call_uri(rpc.SyncCustom.URI, arguments)

    in_world(scene)


# --- size ----------------------------------------------------------------------------------------------------------


def test_the_largest_login_data_fits_lwk_s_reader() -> None:
    async def scene(world: World) -> None:
        alice = Wallet("alice")
        client = await world.logged_in(alice)
        most = world.server.settings.max_accounts
        for account in range(1, most + 1):
            await alice.create_account(client, 16_000 + account)
        with pytest.raises(CallError, match=f"at most {most}"):
            await alice.create_account(client, most + 1)
        await client.call(rpc.SetAppearance({"x": "y" * 1000}))
        await client.call(rpc.SetClientBlob("AAAA", 0, "A" * 42 + "I=", rpc.ZERO_HMAC))
        login = await alice.create_watch_only(client, "shop", "secret")
        world.clock.now += 10
        for _ in range(3):
            world.chain.mine()
        await world.server.watcher.poll()
        reader = await world.joined()
        await reader.call(login)
        assert len(reader.sent[-1]) < rpc.LWK_MESSAGE_LIMIT
        assert NETWORK.name == "liquidregtest"

    in_world(scene)
