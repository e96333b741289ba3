"""C07: lost factors. Every event in every state, who hears of it, and what a thief with the mnemonic cannot do."""

from __future__ import annotations

import asyncio
import itertools
from typing import Any

import pytest

from amp0.elements.hashes import Txid
from amp0.protocol import rpc
from amp0.protocol import twofactor as wire
from amp0.server.app import build
from amp0.server.keys import ServiceKeys
from amp0.server.settings import Settings
from amp0.server.store.engine import Store
from amp0.server.twofactor import reset
from amp0.server.twofactor.delivery import Outbox
from amp0.server.twofactor.reset import TABLE, Event, State, Who
from tests.server.chain import FakeChain
from tests.server.talking import CallError, Client, Clock, Wallet, World, in_world

from .acting import DAY, EMAIL, INVALID, code_for, config, enable, enable_gauth, newest_code, refused
from .test_procedures import answer, run_upkeep, told

ALICE, THIEF, OTHER = "lost@example.com", "thief@example.com", "other@example.com"
NONE = {"reset_2fa_active": False, "reset_2fa_days_remaining": -1, "reset_2fa_disputed": False}
WALLET = Wallet("alice")


def active(days: int, *, disputed: bool = False) -> dict[str, Any]:
    return {"reset_2fa_active": True, "reset_2fa_days_remaining": days, "reset_2fa_disputed": disputed}


async def by_email(world: World, client: Client, email: str, event: Event) -> Any:
    """An event that a code to an e-mail address confirms."""
    request = wire.RequestUndoReset(email) if event is Event.UNDO else wire.RequestReset(email)
    assert await client.call(request) is True
    tfd = {"method": "email", "code": newest_code(world.outbox, email)}
    if event is Event.UNDO:
        return await client.call(wire.ConfirmUndoReset(email, tfd))
    return await client.call(wire.ConfirmReset(email, event is Event.DISPUTE, tfd))


async def cancel(world: World, client: Client) -> Any:
    return await client.call(wire.CancelReset(await code_for(client, world.outbox, wire.CANCEL_RESET)))


async def resolve(world: World, client: Client, outcome: str, *, signer: Wallet = WALLET) -> Any:
    """As a client does it: the text is its own, of the server is only the nonce."""
    found = rpc.parse_result(wire.RequestDisputeNonce(outcome), [await client.call(wire.RequestDisputeNonce(outcome))])
    text = wire.dispute_text(outcome, WALLET.master.public_key, found.nonce, found.expires)
    return await client.call(wire.ResolveDispute(outcome, found.nonce, wire.sign_dispute(signer.master, text)))


async def with_factor(world: World) -> Client:
    client = await world.logged_in(WALLET)
    await enable(client, world.outbox)
    return client


async def methods(client: Client) -> list[str]:
    return wire.TwoFactorConfig(**await config(client)).enabled()


def play(scene: Any, **settings: Any) -> None:
    in_world(scene, code_requests=100, **settings)


# --- the table -----------------------------------------------------------------------------------------------------

BY_EMAIL = (Event.CONFIRM, Event.DISPUTE, Event.UNDO)


def test_c07_the_table_has_a_cell_for_everything_that_can_happen() -> None:
    known = {State.NONE: (Who.OTHER,), State.ACTIVE: (Who.SAME, Who.OTHER), State.DISPUTED: tuple(Who)[:3]}
    expected = {
        (state, event, who)
        for state, event in itertools.product(State, Event)
        for who in (known[state] if event in BY_EMAIL else (Who.NOBODY,))
    }
    assert set(TABLE) == expected


async def _bring_to(world: World, client: Client, state: State) -> None:
    if state is not State.NONE:
        await by_email(world, client, ALICE, Event.CONFIRM)
    if state is State.DISPUTED:
        await by_email(world, client, THIEF, Event.DISPUTE)


async def _state(world: World) -> State:
    services = world.server.services
    with services.store.snapshot() as db:
        return reset.load(services.factors, db, 1).state


async def _happens(world: World, client: Client, event: Event, who: Who) -> None:
    if event in BY_EMAIL:
        await by_email(world, client, {Who.SAME: ALICE, Who.DISPUTER: THIEF}.get(who, OTHER), event)
    elif event is Event.CANCEL:
        await cancel(world, client)
    elif event is Event.DELAY_OVER:
        world.clock.now += 91 * DAY
        await run_upkeep(world)
    else:
        if await _state(world) is State.DISPUTED:
            world.clock.now += 91 * DAY
        await resolve(world, client, wire.RESET if event is Event.RESOLVE_RESET else wire.KEEP)


@pytest.mark.parametrize(("state", "event", "who"), list(TABLE), ids=lambda item: item.value.replace(" ", "-"))
def test_c07_every_event_in_every_state(state: State, event: Event, who: Who) -> None:
    cell = TABLE[state, event, who]

    async def scene(world: World) -> None:
        client = await with_factor(world)
        await _bring_to(world, client, state)
        assert await _state(world) is state
        told_before = len(await told(world))
        if isinstance(cell, str):
            with pytest.raises(CallError, match="invalid"):
                await _happens(world, client, event, who)
            assert await _state(world) is state
            assert len(await told(world)) == told_before
            return
        await _happens(world, client, event, who)
        assert await _state(world) is cell.state
        # Whatever changes, the wallet's channel and whoever asked hear of it.
        news = (await told(world))[told_before:]
        assert bool(news) is cell.changes
        if cell.changes:
            assert {EMAIL, ALICE if state is not State.NONE else OTHER} <= {address for _, address in news}
        removed = event is Event.RESOLVE_RESET or (event is Event.DELAY_OVER and state is State.ACTIVE)
        assert (await methods(client) == []) is removed

    play(scene)


# --- a reset -------------------------------------------------------------------------------------------------------


def test_a_reset_takes_effect_after_its_delay_and_not_before() -> None:
    async def scene(world: World) -> None:
        client = await with_factor(world)
        await enable_gauth(client, world.clock, await code_for(client, world.outbox, wire.ENABLE, {"method": "gauth"}))
        url = (await config(client))["gauth_url"]
        assert await by_email(world, client, ALICE, Event.CONFIRM) == active(90)
        assert ("Two-factor reset requested", EMAIL) in await told(world)
        assert ("Two-factor reset requested", ALICE) in await told(world)
        world.clock.now += 89 * DAY + 1
        await run_upkeep(world)
        data = await client.call(await answer(WALLET, client))
        assert {key: data[key] for key in NONE} == active(1)
        assert await methods(client) == ["email", "gauth"]
        world.clock.now += DAY
        await run_upkeep(world)
        data = await client.call(await answer(WALLET, client))
        assert {key: data[key] for key in NONE} == NONE
        after = await config(client)
        assert (after["email"], after["email_confirmed"], after["email_addr"]) == (False, True, ALICE)
        assert (after["gauth"], after["gauth_url"]) != (False, url)
        assert await methods(client) == []
        assert ("Second factors removed", EMAIL) in await told(world)

    play(scene)


def test_during_a_reset_a_wallet_reads_and_receives_and_changes_nothing() -> None:
    async def scene(world: World) -> None:
        client = await with_factor(world)
        await WALLET.create_account(client)
        await by_email(world, client, ALICE, Event.CONFIRM)
        limit = {"is_fiat": False, "per_tx": 0, "total": 0}
        row = {"txhash": "ab" * 32, "pt_idx": 0, "user_status": 0}
        code = {"method": "email", "code": "123456"}
        for call in (
            wire.RequestEmail(wire.SEND_RAW_TX, {}),
            wire.InitEnableSms("+41791234567", code),
            wire.EnableSms("123456"),
            wire.RequestProxy("gauth", code),
            wire.EnableGauth("123456", code),
            wire.DisableEmail(code),
            wire.ChangeSettings("tx_limits", limit, None),
            wire.SetUtxoStatus({"list": [row]}, None),
            rpc.SetCsvTime(65535, code),
            rpc.SetNLockTime(200, code),
            rpc.RemoveAccount(code),
            rpc.SetClientBlob("QUJD", 0, "B" * 42 + "A=", rpc.ZERO_HMAC),
            rpc.SyncCustom("ab" * 32, "cd" * 32, "ef" * 64),
        ):
            assert (await refused(client, call)).name == "reset", call
        assert (await client.call(rpc.Fund(1)))["pointer"] == 1
        assert await client.call(rpc.GetUnspentOutputs(0, 1, "any", True)) == []
        await client.call(wire.GetTwoFactorConfig())

    play(scene)


def test_without_a_factor_there_is_nothing_to_reset() -> None:
    async def scene(world: World) -> None:
        client = await world.logged_in(WALLET)
        with pytest.raises(CallError, match="nothing to reset"):
            await by_email(world, client, ALICE, Event.CONFIRM)
        assert await client.call(wire.CancelReset({})) == NONE

    play(scene)


def test_c07_a_reset_wants_the_code_of_the_very_address_and_action() -> None:
    async def scene(world: World) -> None:
        client = await with_factor(world)
        await client.call(wire.RequestReset(ALICE))
        code = {"method": "email", "code": newest_code(world.outbox, ALICE)}
        assert (await refused(client, wire.ConfirmReset(THIEF, False, code))).text == INVALID
        assert (await refused(client, wire.ConfirmUndoReset(ALICE, code))).text == INVALID
        assert (await refused(client, wire.ConfirmReset(ALICE, False, None))).name == "auth"
        assert (await refused(client, wire.ConfirmReset(ALICE, False, {**code, "method": "sms"}))).name == "auth"
        assert await client.call(wire.ConfirmReset(ALICE, False, code)) == active(90)
        assert (await refused(client, wire.ConfirmReset(ALICE, False, code))).text == INVALID

    play(scene)


def test_c07_who_has_a_factor_ends_a_thief_s_reset_and_has_peace() -> None:
    async def scene(world: World) -> None:
        client = await with_factor(world)
        await by_email(world, client, THIEF, Event.CONFIRM)
        assert (await refused(client, wire.CancelReset({}))).name == "auth"
        assert (await refused(client, wire.CancelReset({"method": "email", "code": "000000"}))).text == INVALID
        assert await cancel(world, client) == NONE
        with pytest.raises(CallError, match="7 days"):
            await by_email(world, client, THIEF, Event.CONFIRM)
        world.clock.now += 7 * DAY
        assert await by_email(world, client, THIEF, Event.CONFIRM) == active(90)

    play(scene)


def test_c07_a_thief_cannot_cancel_with_a_code_to_his_own_address() -> None:
    async def scene(world: World) -> None:
        client = await with_factor(world)
        await by_email(world, client, ALICE, Event.CONFIRM)
        await client.call(wire.RequestReset(THIEF))
        own = {"method": "email", "code": newest_code(world.outbox, THIEF)}
        assert (await refused(client, wire.CancelReset(own))).text == INVALID

    play(scene)


@pytest.mark.parametrize("disputed", [False, True])
def test_c07_a_thief_who_locks_the_factors_does_not_get_them_removed(disputed: bool) -> None:
    """Guessing wrong keeps their owner from cancelling; so the reset waits until nobody did for a week."""

    async def scene(world: World) -> None:
        client = await with_factor(world)
        await by_email(world, client, THIEF, Event.CONFIRM)
        if disputed:
            await by_email(world, client, ALICE, Event.DISPUTE)
        world.clock.now += 90 * DAY - 3_600
        for _ in range(6):
            await refused(client, wire.CancelReset({"method": "email", "code": "000000"}))
        locked = await refused(client, wire.CancelReset({"method": "email", "code": "000000"}))
        assert locked.name == "twofactorlocked"
        world.clock.now += 3_600
        await run_upkeep(world)
        if disputed:
            with pytest.raises(CallError, match="locked lately"):
                await resolve(world, client, wire.RESET)
        assert await methods(client) == ["email"]
        world.clock.now += 7 * DAY - 1
        await run_upkeep(world)
        assert await methods(client) == ["email"]
        world.clock.now += 1
        await run_upkeep(world)
        if disputed:
            await resolve(world, client, wire.RESET)
        assert await methods(client) == []

    play(scene)


# --- a dispute -----------------------------------------------------------------------------------------------------


def test_c07_a_dispute_stops_the_delay_and_its_undoing_goes_on_with_it() -> None:
    async def scene(world: World) -> None:
        client = await with_factor(world)
        await by_email(world, client, THIEF, Event.CONFIRM)
        world.clock.now += 60 * DAY
        assert await by_email(world, client, ALICE, Event.DISPUTE) == active(90, disputed=True)
        world.clock.now += 60 * DAY
        await run_upkeep(world)
        assert await methods(client) == ["email"]
        assert await by_email(world, client, ALICE, Event.UNDO) == active(30)

    play(scene)


def test_c07_a_storm_of_disputes_prolongs_nothing() -> None:
    async def scene(world: World) -> None:
        client = await with_factor(world)
        await by_email(world, client, ALICE, Event.CONFIRM)
        await by_email(world, client, THIEF, Event.DISPUTE)
        world.clock.now += 80 * DAY
        for email in (OTHER, "x@example.com", ALICE):
            with pytest.raises(CallError, match="disputed already"):
                await by_email(world, client, email, Event.DISPUTE)
        assert await by_email(world, client, THIEF, Event.DISPUTE) == active(10, disputed=True)

    play(scene)


@pytest.mark.parametrize("outcome", wire.OUTCOMES)
def test_c07_a_dispute_ends_by_the_login_key_after_the_delay(outcome: str) -> None:
    async def scene(world: World) -> None:
        client = await with_factor(world)
        await by_email(world, client, ALICE, Event.CONFIRM)
        await by_email(world, client, THIEF, Event.DISPUTE)
        with pytest.raises(CallError, match="in 90 days"):
            await resolve(world, client, outcome)
        world.clock.now += 90 * DAY - 1
        with pytest.raises(CallError, match="in 1 day"):
            await resolve(world, client, outcome)
        world.clock.now += 1
        with pytest.raises(CallError, match="not one of this text"):
            await resolve(world, client, outcome, signer=Wallet("mallory"))
        assert await resolve(world, client, outcome) == NONE
        assert await methods(client) == ([] if outcome == wire.RESET else ["email"])
        subject = "Second factors removed" if outcome == wire.RESET else "Two-factor reset refused"
        assert {(subject, email) for email in (EMAIL, ALICE, THIEF)} <= set(await told(world))

    play(scene)


def test_c07_a_nonce_is_for_one_outcome_once_and_not_for_long() -> None:
    async def scene(world: World) -> None:
        client = await with_factor(world)
        await by_email(world, client, ALICE, Event.CONFIRM)
        await by_email(world, client, THIEF, Event.DISPUTE)
        world.clock.now += 90 * DAY

        async def nonce(outcome: str) -> wire.DisputeNonce:
            raw = await client.call(wire.RequestDisputeNonce(outcome))
            return wire.DisputeNonce(**raw)

        def signed(outcome: str, found: wire.DisputeNonce) -> wire.ResolveDispute:
            text = wire.dispute_text(outcome, WALLET.master.public_key, found.nonce, found.expires)
            return wire.ResolveDispute(outcome, found.nonce, wire.sign_dispute(WALLET.master, text))

        first = await nonce("reset")
        second = await nonce("reset")
        assert (await refused(client, signed("reset", first))).name == "invalid"
        assert (await refused(client, signed("keep", second))).name == "invalid"
        longer = wire.DisputeNonce(second.nonce, second.expires + 1)
        assert (await refused(client, signed("reset", longer))).name == "invalid"
        assert (await refused(client, wire.ResolveDispute("reset", second.nonce, "zz"))).name == "invalid"
        world.clock.now += 600
        assert (await refused(client, signed("reset", second))).name == "invalid"
        third = await nonce("keep")
        assert await client.call(signed("keep", third)) == NONE
        assert (await refused(client, signed("keep", third))).name == "invalid"
        assert (await refused(client, wire.RequestDisputeNonce("steal"))).name == "invalid"

    play(scene)


# --- C08: the clock, and time in which nobody looked ---------------------------------------------------------------


@pytest.mark.parametrize("jump", [-365 * DAY, -DAY, DAY, 365 * DAY])
def test_c08_a_moved_clock_completes_no_reset_and_loosens_nothing(jump: int) -> None:
    steady = Clock()

    async def scene(world: World) -> None:
        client = await with_factor(world)
        await by_email(world, client, THIEF, Event.CONFIRM)
        world.clock.now += jump
        await run_upkeep(world)
        assert await methods(client) == ["email"]
        assert await cancel(world, client) == NONE
        limit = {"is_fiat": False, "per_tx": 0, "total": 50_000}
        tfd = await code_for(client, world.outbox, wire.CHANGE_LIMITS, limit)
        assert (await refused(client, wire.ChangeSettings("tx_limits", limit, {**limit, **tfd}))).name == "clock"
        tfd = await code_for(client, world.outbox, wire.DISABLE, {"method": "email"})
        assert (await refused(client, wire.DisableEmail(tfd))).name == "clock"
        assert (await refused(client, wire.RequestProxy("gauth", tfd))).name == "clock"
        # Tightening goes on, and a code still lives by the time that passes.
        assert await client.call(wire.ChangeSettings("tx_limits", {**limit, "total": 0}, None)) is True
        world.clock.now -= jump
        assert await client.call(wire.DisableEmail(tfd)) is True

    play(scene, monotonic=steady)


@pytest.mark.parametrize("jump", [-DAY, DAY, 365 * DAY])
def test_c08_a_moved_clock_revives_no_code(jump: int) -> None:
    steady = Clock()

    async def scene(world: World) -> None:
        client = await with_factor(world)
        late = await code_for(client, world.outbox, wire.SET_NLOCKTIME, {"value": 300})
        world.clock.now += jump
        steady.now += 299
        assert await client.call(rpc.SetNLockTime(300, late)) is True
        expired = await code_for(client, world.outbox, wire.SET_NLOCKTIME, {"value": 300})
        steady.now += 300
        assert (await refused(client, rpc.SetNLockTime(300, expired))).text == INVALID

    play(scene, monotonic=steady)


def test_c08_time_in_which_the_server_was_away_counts_for_a_day(tmp_path: Any) -> None:
    url, clock, outbox = f"sqlite:///{tmp_path / 'amp0.sqlite'}", Clock(), Outbox()

    def start() -> World:
        chain = FakeChain()
        settings = Settings(database_url=url, poll_seconds=3600.0, code_requests=100)
        server = build(
            settings,
            keys=ServiceKeys.test_key(),
            clock=clock,
            chain_client=chain.client(),
            channels={"email": outbox},
        )
        return World(server, chain, clock, outbox)

    async def first() -> None:
        world = start()
        await world.server.start()
        client = await with_factor(world)
        await by_email(world, client, THIEF, Event.CONFIRM)
        await run_upkeep(world)
        await world.server.stop()

    async def second() -> None:
        clock.now += 365 * DAY
        world = start()
        await world.server.start()
        client = await world.logged_in(WALLET)
        await run_upkeep(world)
        assert await methods(client) == ["email"]
        data = await client.call(await answer(WALLET, client))
        assert data["reset_2fa_days_remaining"] == 89
        world.clock.now += 89 * DAY
        await run_upkeep(world)
        assert await methods(client) == []
        await world.server.stop()

    asyncio.run(first())
    asyncio.run(second())


def test_a_reset_works_on_every_store(any_store: Store) -> None:
    """The SQL of two-factor on PostgreSQL and on both SQLites: enable, dispute, prolong, resolve."""
    from amp0.server.twofactor import codes, limits, notices
    from amp0.server.twofactor import methods as factor_methods
    from tests.server.cosigning import World as Cosigning

    from .acting import make_factors

    cosigning = Cosigning.__new__(Cosigning)
    cosigning.store, cosigning.keys = any_store, ServiceKeys.test_key()
    account = cosigning.wallet("alice")
    clock, outbox = Clock(), Outbox()
    factors = make_factors(clock, outbox)
    user_id = account.user_id
    with any_store.transaction() as db:
        factor_methods.put(factors, db, user_id, wire.EMAIL, EMAIL)
        code = codes.issue(factors, db, user_id, wire.EMAIL, wire.SEND_RAW_TX, {})
        codes.count_wrong(factors, db, user_id)
        codes.require(factors, db, user_id, {"method": "email", "code": code}, wire.SEND_RAW_TX, {"txid": "ab" * 32})
        codes.renew_totp(factors, db, user_id)
        limits.store(db, user_id, 10)
        assert limits.debit(factors, db, user_id, Txid(b"\xcd" * 32), 7)
        assert not limits.debit(factors, db, user_id, Txid(b"\xcd" * 32), 7)
        for event, email in ((Event.CONFIRM, ALICE), (Event.DISPUTE, THIEF)):
            reset.apply(factors, db, user_id, event, email)
        reset.prolong(db, 5)
        assert reset.load(factors, db, user_id).due_at == factors.now() + 90 * DAY + 5
        clock.now += 91 * DAY
        nonce = reset.new_nonce(factors, db, user_id, wire.RESET)
        assert reset.check_nonce(factors, db, user_id, wire.RESET, nonce.nonce) == nonce.expires
        reset.apply(factors, db, user_id, Event.RESOLVE_RESET)
        assert factor_methods.enabled(db, user_id) == []
        codes.prune(factors, db)
    while notices.send_due(factors, any_store):
        pass
    assert {message.address for message in outbox.messages()} == {EMAIL, ALICE, THIEF}
