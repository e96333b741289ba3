from __future__ import annotations

import re

import pytest

from amp0.elements import script
from amp0.elements.address import Address
from amp0.elements.keys import ExtendedKey
from amp0.protocol import credentials, rpc, twofactor, wamp
from amp0.server import accounts, calls
from amp0.server.store import schema

from .chain import payment
from .talking import NETWORK, CallError, Client, Wallet, World, in_world


def witness_script(wallet: Wallet, pointer: int, account: int = 1) -> bytes:
    """From the client's side: the service's public key and the wallet's own."""
    service = credentials.service_account_xpub(
        NETWORK.service_pubkey, NETWORK.service_chain_code, wallet.gait_path, account, main=False
    )
    user = credentials.account_xpub(wallet.master, account).child(1)
    return script.multisig_2of2(service.child_public_key(pointer), user.child_public_key(pointer))


async def owner_of_account(world: World, name: str = "alice") -> tuple[Wallet, Client]:
    wallet = Wallet(name)
    client = await world.logged_in(wallet)
    await wallet.create_account(client)
    return wallet, client


# --- creation ------------------------------------------------------------------------------------------------------


def test_gaids_look_like_production_s() -> None:
    async def scene(world: World) -> None:
        wallet = Wallet("alice")
        client = await world.logged_in(wallet)
        gaids = {await wallet.create_account(client, account) for account in range(1, 30)}
        assert len(gaids) == 29
        assert all(re.fullmatch(r"GA[1-9A-HJ-NP-Za-km-z]{27,28}", gaid) for gaid in gaids)

    in_world(scene)


def test_an_account_number_is_taken_once(database_url: str) -> None:
    async def scene(world: World) -> None:
        wallet, client = await owner_of_account(world)
        with pytest.raises(CallError) as refused:
            await wallet.create_account(client)
        assert refused.value.name == "accountexists"
        await wallet.create_account(client, 2)

    in_world(scene, url=database_url)


def test_another_wallet_cannot_take_an_account_s_keys() -> None:
    """Same gait path, same account key: the scripts would be the same, and whose would the coins be?"""

    async def scene(world: World) -> None:
        alice, _ = await owner_of_account(world)
        mallory, client = Wallet("mallory"), await world.joined()
        await client.call(mallory.registration(gait_path=alice.gait_path.hex()))
        await mallory.log_in(client)
        call = rpc.CreateSubaccount(1, "", rpc.ACCOUNT_TYPE, [alice.account_xpub(1)], [""])
        with pytest.raises(CallError, match="accountexists"):
            await client.call(call)
        assert (await mallory.log_in(client)).subaccounts == []

    in_world(scene)


@pytest.mark.parametrize(
    "arguments",
    [
        [0, "", "2of2_no_recovery", ["xpub"], [""]],
        [16384, "", "2of2_no_recovery", ["xpub"], [""]],
        [-1, "", "2of2_no_recovery", ["xpub"], [""]],
        [1, "", "2of2", ["xpub"], [""]],
        [1, "", "2of3", ["xpub", "xpub"], ["", ""]],
        [1, "", "2of2_no_recovery", [], []],
        [1, "", "2of2_no_recovery", ["xprv"], [""]],
        [1, "", "2of2_no_recovery", ["nonsense"], [""]],
        [1, "n" * 200, "2of2_no_recovery", ["xpub"], [""]],
        ["1", "", "2of2_no_recovery", ["xpub"], [""]],
    ],
)
def test_accounts_out_of_shape_are_refused(arguments: list[object]) -> None:
    async def scene(world: World) -> None:
        wallet = Wallet("alice")
        client = await world.logged_in(wallet)
        texts = {"xpub": wallet.account_xpub(1), "xprv": wallet.master.to_string()}
        given = [[texts.get(text, text) for text in arg] if isinstance(arg, list) else arg for arg in arguments]
        with pytest.raises(CallError) as refused:
            await client.call_uri(rpc.CreateSubaccount.URI, given)
        assert refused.value.name == "invalid"
        assert wallet.master.to_string() not in refused.value.text
        assert (await wallet.log_in(client)).subaccounts == []

    in_world(scene)


def test_the_key_counts_and_not_its_text() -> None:
    """GDK writes a zero parent fingerprint where LWK writes the true one."""

    async def scene(world: World) -> None:
        wallet = Wallet("alice")
        client = await world.logged_in(wallet)
        key = credentials.account_xpub(wallet.master, 1)
        bare = ExtendedKey(key.public_key, key.chain_code, main=False, depth=2, child_number=key.child_number)
        assert str(bare) != str(key)
        await client.call(rpc.CreateSubaccount(1, "", rpc.ACCOUNT_TYPE, [str(bare)], [""]))
        reply = await client.call(rpc.Fund(1))
        assert reply["script"] == witness_script(wallet, 1).hex()

    in_world(scene)


# --- vault.fund ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("serializer", list(wamp.Serializer))
def test_addresses_count_from_one_and_are_the_client_s_own(serializer: wamp.Serializer) -> None:
    async def scene(world: World) -> None:
        wallet = Wallet("alice")
        client = await world.logged_in(wallet, serializer)
        await wallet.create_account(client)
        for pointer in range(1, 24):
            assert await client.call(rpc.Fund(1)) == {
                "branch": 1,
                "subaccount": 1,
                "pointer": pointer,
                "script": witness_script(wallet, pointer).hex(),
                "addr_type": "p2wsh",
                "subtype": None,
            }

    in_world(scene)


def test_a_pointer_is_durable_before_it_is_told(database_url: str) -> None:
    async def scene(world: World) -> None:
        wallet, client = await owner_of_account(world)
        store = world.server.services.store
        for _ in range(22):
            reply = await client.call(rpc.Fund(1))
            with store.snapshot() as connection:
                row = connection.execute(
                    schema.addresses.select().where(schema.addresses.c.pointer == reply["pointer"])
                ).one()
            assert row.issued_at == int(world.clock.now)
            assert row.script_pubkey == script.p2sh_p2wsh(bytes.fromhex(reply["script"]))
        assert wallet.name == "alice"

    in_world(scene, url=database_url)


def test_a_pointer_that_has_received_is_never_handed_out() -> None:
    """Stock LWK puts change at pointers 1 to 20 without asking for them."""

    async def scene(world: World) -> None:
        wallet, client = await owner_of_account(world)
        for pointer in (1, 3, 4):
            world.chain.send(payment((script.p2sh_p2wsh(witness_script(wallet, pointer)), 1000), salt=pointer))
        await world.server.watcher.poll()
        assert [(await client.call(rpc.Fund(1)))["pointer"] for _ in range(3)] == [2, 5, 6]
        # Even when the payment is gone again: somebody has seen the address.
        world.chain.send(payment((script.p2sh_p2wsh(witness_script(wallet, 7)), 1000), salt=7))
        await world.server.watcher.poll()
        world.chain.mempool.clear()
        await world.server.watcher.poll()
        world.clock.now += 60
        await world.server.watcher.poll()
        assert await client.call(rpc.GetUnspentOutputs(0, 1)) == []
        assert (await client.call(rpc.Fund(1)))["pointer"] == 8

    in_world(scene)


def test_account_zero_has_csv_addresses() -> None:
    async def scene(world: World) -> None:
        wallet = Wallet("alice")
        client = await world.logged_in(wallet)
        service = credentials.service_account_xpub(
            NETWORK.service_pubkey, NETWORK.service_chain_code, wallet.gait_path, 0, main=False
        )
        for pointer in (1, 2):
            reply = await client.call(rpc.Fund(0, True, "csv"))
            user = wallet.master.child(1).child(pointer).public_key
            expected = script.csv_2of2_then_1(service.child_public_key(pointer), user, 65535)
            assert reply == {
                "branch": 1,
                "subaccount": 0,
                "pointer": pointer,
                "script": expected.hex(),
                "addr_type": "csv",
                "subtype": 65535,
            }
        (row, _) = await client.call(rpc.GetMyAddresses(0))
        assert (row["pointer"], row["addr_type"], row["script_type"], row["subtype"]) == (2, "csv", 15, 65535)

    in_world(scene)


@pytest.mark.parametrize(
    ("account", "kind"), [(1, "csv"), (1, "p2sh"), (1, ""), (0, "p2wsh"), (0, "p2sh"), (2, "p2wsh"), (-1, "p2wsh")]
)
def test_addresses_of_another_type_or_account_are_refused(account: int, kind: str) -> None:
    async def scene(world: World) -> None:
        _, client = await owner_of_account(world)
        with pytest.raises(CallError) as refused:
            await client.call(rpc.Fund(account, True, kind))
        assert refused.value.name in ("invalid", "unknownaccount")

    in_world(scene)


def test_b07_a_wallet_sees_only_its_own_accounts() -> None:
    async def scene(world: World) -> None:
        await owner_of_account(world, "alice")
        bob = await world.logged_in(Wallet("bob"))
        for call in (
            rpc.Fund(1),
            rpc.UploadAddresses(1, []),
            rpc.GetMyAddresses(1),
            rpc.GetUnspentOutputs(0, 1),
            rpc.GetTransactions(1),
        ):
            with pytest.raises(CallError) as refused:
                await bob.call(call)
            assert refused.value.name == "unknownaccount"

    in_world(scene)


# --- uploads -------------------------------------------------------------------------------------------------------


def confidential(wallet: Wallet, pointer: int, key: int = 1) -> str:
    blinding = ExtendedKey.from_seed(bytes([key]) * 16, main=False).public_key
    output = script.p2sh_p2wsh(witness_script(wallet, pointer))
    return str(Address.from_script(NETWORK, output, blinding))


def test_uploads_lower_what_is_asked_for() -> None:
    async def scene(world: World) -> None:
        wallet, client = await owner_of_account(world)

        async def required() -> int:
            return (await wallet.log_in(client)).subaccounts[0].required_ca

        assert await required() == 20
        assert await client.call(rpc.UploadAddresses(1, [confidential(wallet, n) for n in range(1, 18)])) is True
        assert await required() == 3
        # The same again counts once; more than needed is not less than nothing.
        await client.call(rpc.UploadAddresses(1, [confidential(wallet, n) for n in range(10, 21)]))
        assert await required() == 0
        await client.call(rpc.Fund(1))
        assert await required() == 0

    in_world(scene)


def test_uploads_must_be_issued_confidential_and_of_this_network() -> None:
    async def scene(world: World) -> None:
        wallet, client = await owner_of_account(world)
        bob, _ = await owner_of_account(world, "bob")
        good = confidential(wallet, 1)
        for bad in (
            confidential(wallet, 21),
            confidential(bob, 1),
            str(Address(good).to_unconfidential()),
            "VJL" + good[3:],
            "nonsense",
        ):
            with pytest.raises(CallError) as refused:
                await client.call(rpc.UploadAddresses(1, [good, bad]))
            assert refused.value.name == "invalid"
        # Nothing of a refused upload is kept.
        assert (await wallet.log_in(client)).subaccounts[0].required_ca == 20

    in_world(scene)


def test_the_first_blinding_key_of_an_address_stays() -> None:
    async def scene(world: World) -> None:
        wallet, client = await owner_of_account(world)
        await client.call(rpc.UploadAddresses(1, [confidential(wallet, 1, key=1)]))
        with pytest.raises(CallError, match="another blinding key"):
            await client.call(rpc.UploadAddresses(1, [confidential(wallet, 1, key=2)]))
        assert await client.call(rpc.UploadAddresses(1, [confidential(wallet, 1, key=1)])) is True

    in_world(scene)


# --- address book --------------------------------------------------------------------------------------------------


def test_the_address_book_is_paged_newest_first() -> None:
    async def scene(world: World) -> None:
        wallet, client = await owner_of_account(world)
        assert await client.call(rpc.GetMyAddresses(1)) == []
        for _ in range(60):
            await client.call(rpc.Fund(1))
        seen: list[int] = []
        last = 0
        while page := await client.call(rpc.GetMyAddresses(1, last)):
            assert len(client.sent[-1]) < rpc.LWK_MESSAGE_LIMIT
            assert len(page) <= accounts.PAGE
            for row in page:
                expected = witness_script(wallet, row["pointer"])
                assert row["script"] == expected.hex()
                assert row["ad"] == str(Address.from_script(NETWORK, script.p2sh_p2wsh(expected)))
                assert (row["addr_type"], row["branch"], row["script_type"]) == ("p2wsh", 1, 14)
            seen += [row["pointer"] for row in page]
            last = page[-1]["pointer"]
        assert seen == list(range(60, 0, -1))
        # One argument only, as SideSwap calls it.
        assert (await client.call_uri(rpc.GetMyAddresses.URI, [1]))[0]["pointer"] == 60

    in_world(scene)


# --- authorisation -------------------------------------------------------------------------------------------------


def test_every_procedure_of_the_protocol_has_a_row() -> None:
    assert set(calls.CALLS) == set(rpc.PROCEDURES.values())


ANONYMOUS = {rpc.Register, rpc.GetChallenge, rpc.Authenticate, rpc.WatchOnlyLogin, rpc.GetPinPassword}
FULL_ONLY = {
    rpc.SetClientBlob,
    rpc.CreateSubaccount,
    rpc.SyncCustom,
    rpc.SetAppearance,
    rpc.GetMemos,
    rpc.SetCsvTime,
    rpc.SetNLockTime,
    rpc.SendNLockTimes,
    rpc.GetSystemMessage,
    rpc.AckSystemMessage,
    rpc.RemoveAccount,
    rpc.SetPinLogin,
    rpc.RemovePinLogins,
    # Of two-factor, everything but the masked configuration, codes for spends, and what is frozen.
    *(
        set(twofactor.PROCEDURES)
        - {twofactor.GetTwoFactorConfig, twofactor.GetFrozenOutputs, *twofactor.REQUEST.values()}
    ),
}


@pytest.mark.parametrize("kind", [kind for _, kind in sorted(rpc.PROCEDURES.items())])
def test_b07_levels(kind: type[rpc.Procedure]) -> None:
    """Who may call what; arguments are junk, for the level is looked at first."""

    async def scene(world: World) -> None:
        alice = Wallet("alice")
        owner = await world.logged_in(alice)
        watcher = await world.joined()
        await watcher.call(await alice.create_watch_only(owner, "shop", "secret"))
        anonymous = await world.joined()

        async def answer(client: Client) -> str:
            try:
                await client.call_uri(kind.URI, [{"junk": []}] * 9)
            except CallError as error:
                return error.name
            return "answered"

        junk = {"invalid", "answered"}
        assert await answer(anonymous) in (junk if kind in ANONYMOUS else {"sessionexpired"})
        assert await answer(watcher) in ({"notallowed"} if kind in FULL_ONLY else junk)
        assert await answer(owner) in junk

    in_world(scene)


def test_an_unknown_procedure_is_named() -> None:
    async def scene(world: World) -> None:
        client = await world.joined()
        with pytest.raises(CallError, match="sessionexpired"):
            await client.call_uri("com.greenaddress.vault.steal", [])
        await Wallet("alice").register(client)
        await Wallet("alice").log_in(client)
        with pytest.raises(CallError) as refused:
            await client.call_uri("com.greenaddress.vault.steal", [])
        assert refused.value.name == "unknownprocedure"
        assert "vault.steal" in refused.value.text

    in_world(scene)
