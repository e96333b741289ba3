"""May this leave? The gate in the cosigner: codes, limits, frozen outputs and resets, at every door."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import sqlalchemy as sa

from amp0.elements.confidential import PlainOutput
from amp0.elements.transaction import TxOut
from amp0.protocol import twofactor as wire
from amp0.server.cosigner import Door, Request
from amp0.server.refusal import (
    AlreadySigned,
    FrozenInput,
    Refusal,
    ResetInProgress,
    TwoFactorLocked,
    TwoFactorRequired,
    WrongTwoFactorCode,
)
from amp0.server.store import schema
from amp0.server.twofactor import codes, frozen, limits, reset
from amp0.server.twofactor.reset import Event
from tests.server.cosigning import LBTC, OTHER, STRANGER_PUB, Account, Payment

from .acting import Guarded, spend


def outcome(world: Guarded, request: Request) -> str:
    try:
        world.cosigner.cosign(request)
    except Refusal as refusal:
        return type(refusal).__name__
    return "signed"


def outcomes(world: Guarded, requests: list[Request]) -> list[str]:
    """All at once, in a thread each."""
    barrier = threading.Barrier(len(requests))

    def run(request: Request) -> str:
        barrier.wait()
        return outcome(world, request)

    with ThreadPoolExecutor(len(requests)) as pool:
        return list(pool.map(run, requests))


@pytest.fixture
def world() -> Guarded:
    return Guarded()


@pytest.fixture
def alice(world: Guarded) -> Account:
    account = world.wallet("alice")
    world.enable(account, wire.EMAIL, wire.GAUTH)
    return account


def payment(world: Guarded, account: Account, satoshi: int = 60_000, **more: Any) -> Payment:
    return world.pay([world.fund(account)], satoshi, **more)


# --- doors ---------------------------------------------------------------------------------------------------------


def test_without_a_second_factor_every_door_is_open(world: Guarded) -> None:
    bob = world.wallet("bob")
    for door in Door:
        assert not world.cosigner.cosign(spend(payment(world, bob), door=door)).again


def test_a_delayed_signature_cannot_carry_a_code_and_says_so(world: Guarded, alice: Account) -> None:
    with pytest.raises(TwoFactorRequired, match="delayed signature") as refused:
        world.cosigner.cosign(payment(world, alice).request())
    assert (refused.value.name, refused.value.status) == ("auth", 401)
    # Not even below the limit.
    with world.store.transaction() as db:
        limits.store(db, alice.user_id, 1_000_000)
    with pytest.raises(TwoFactorRequired):
        world.cosigner.cosign(payment(world, alice).request())


@pytest.mark.parametrize("door", [Door.SIGN, Door.SEND])
def test_a_session_needs_a_code_and_uses_it_up(world: Guarded, alice: Account, door: Door) -> None:
    first, second = payment(world, alice), payment(world, alice)
    for tfd in (None, {}, {"method": "email"}, {"code": "123456"}, {"method": "email", "code": ""}):
        with pytest.raises(TwoFactorRequired, match="Two factor authentication required"):
            world.cosigner.cosign(spend(first, tfd, door=door))
    code = world.code(alice, door.value)
    assert not world.cosigner.cosign(spend(first, code, door=door)).again
    assert world.used() == [("email", str(first.tx.txid()))]
    with pytest.raises(WrongTwoFactorCode):
        world.cosigner.cosign(spend(second, code, door=door))
    assert world.wrong_guesses(alice) == 1


def test_what_is_on_record_needs_no_code_again(world: Guarded, alice: Account) -> None:
    made = payment(world, alice)
    first = world.cosigner.cosign(spend(made, world.code(alice)))
    again = world.cosigner.cosign(spend(made))
    assert again.again
    assert again.tx == first.tx
    assert world.cosigner.cosign(made.request()).tx == first.tx


def test_a_code_is_not_used_up_by_a_spend_that_is_refused(world: Guarded, alice: Account) -> None:
    made = payment(world, alice)
    code = world.code(alice)
    coin = made.coins[0]
    other = world.pay([coin], 10_000)
    world.cosigner.cosign(spend(made, code))
    late = world.code(alice)
    with pytest.raises(AlreadySigned):
        world.cosigner.cosign(spend(other, late))
    assert world.used() == [("email", str(made.tx.txid()))]
    world.cosigner.cosign(spend(payment(world, alice), late))


def test_a_code_expires(world: Guarded, alice: Account) -> None:
    early, late = world.code(alice), world.code(alice)
    world.clock.now += world.factors.settings.code_seconds - 1
    world.cosigner.cosign(spend(payment(world, alice), early))
    world.clock.now += 1
    with pytest.raises(WrongTwoFactorCode):
        world.cosigner.cosign(spend(payment(world, alice), late))


def test_two_wallets_in_one_transaction_cannot_be_answered_for_by_one(world: Guarded, alice: Account) -> None:
    bob, carol = world.wallet("bob"), world.wallet("carol")
    world.enable(bob, wire.EMAIL)
    both = world.pay([world.fund(alice), world.fund(bob)])
    for user_id, code in ((alice.user_id, world.code(alice)), (bob.user_id, world.code(bob))):
        with pytest.raises(TwoFactorRequired, match="another wallet"):
            world.cosigner.cosign(spend(both, code, user_id=user_id))
    # Carol has no second factor: hers needs no code, and she cannot speak for Alice.
    mixed = world.pay([world.fund(alice), world.fund(carol)])
    with pytest.raises(TwoFactorRequired):
        world.cosigner.cosign(spend(mixed, user_id=carol.user_id))
    world.cosigner.cosign(spend(mixed, world.code(alice)))


# --- C01 to C04 ----------------------------------------------------------------------------------------------------


def test_c01_a_time_step_is_accepted_once(world: Guarded, alice: Account) -> None:
    code = world.totp(alice)
    world.cosigner.cosign(spend(payment(world, alice), code))
    with pytest.raises(WrongTwoFactorCode):
        world.cosigner.cosign(spend(payment(world, alice), code))
    # Nor an earlier step, though its code was never shown to the server.
    with pytest.raises(WrongTwoFactorCode):
        world.cosigner.cosign(spend(payment(world, alice), world.totp(alice, later=-1)))
    world.clock.now += codes.STEP_SECONDS
    world.cosigner.cosign(spend(payment(world, alice), world.totp(alice)))
    assert [method for method, _ in world.used()] == ["gauth", "gauth"]


def test_c01_a_time_step_is_accepted_once_in_parallel(world: Guarded, alice: Account) -> None:
    code = world.totp(alice)
    requests = [spend(payment(world, alice), code, door=Door.SIGN if i % 2 else Door.SEND) for i in range(8)]
    found = outcomes(world, requests)
    assert found.count("signed") == 1
    assert set(found) <= {"signed", "WrongTwoFactorCode", "TwoFactorLocked"}


@pytest.mark.parametrize(("later", "accepted"), [(-2, False), (-1, True), (0, True), (1, True), (2, False)])
def test_c01_the_window_is_one_step_either_way(world: Guarded, alice: Account, later: int, accepted: bool) -> None:
    request = spend(payment(world, alice), world.totp(alice, later=later))
    assert outcome(world, request) == ("signed" if accepted else "WrongTwoFactorCode")


def test_c02_one_counter_for_all_methods_and_doors(world: Guarded, alice: Account) -> None:
    made = payment(world, alice)
    for i in range(world.factors.settings.code_guesses):
        wrong = {"method": (wire.EMAIL, wire.GAUTH)[i % 2], "code": "x"}
        assert outcome(world, spend(made, wrong, door=(Door.SIGN, Door.SEND)[i % 2])) == "WrongTwoFactorCode"
    # Now a right one is not even looked at, of whichever method, at whichever door.
    for right in (world.code(alice), world.totp(alice)):
        assert outcome(world, spend(made, right)) == "TwoFactorLocked"
    assert outcome(world, spend(made, world.code(alice, wire.SIGN_RAW_TX), door=Door.SIGN)) == "TwoFactorLocked"
    with world.store.snapshot() as db:
        notices = db.execute(sa.select(schema.two_factor_notices.c.subject)).scalars().all()
    assert notices == ["Somebody guesses codes for your wallet"]
    world.clock.now += world.factors.settings.code_lock_seconds
    assert outcome(world, spend(made, world.code(alice))) == "signed"


def test_c02_a_year_of_guessing_is_a_handful_of_guesses(world: Guarded, alice: Account) -> None:
    """Every lock lasts twice as long as the one before, up to a week."""
    guess = {"method": "email", "code": "000000"}
    looked_at, end = 0, world.clock() + 365 * 86_400
    while world.clock() < end:
        with world.store.transaction() as db:
            try:
                codes.require(world.factors, db, alice.user_id, guess, wire.REMOVE_ACCOUNT, {})
            except WrongTwoFactorCode as refusal:
                count = refusal.aftermath or pytest.fail("a wrong code costs nothing")
                count(db)
                looked_at += 1
            except TwoFactorLocked:
                world.clock.now += 3_600
    assert 300 < looked_at < 400


def test_c03_when_one_try_is_left_one_is_looked_at(world: Guarded, alice: Account) -> None:
    made = payment(world, alice)
    for _ in range(world.factors.settings.code_guesses - 1):
        assert outcome(world, spend(made, {"method": "email", "code": "x"})) == "WrongTwoFactorCode"
    right = world.code(alice)
    guesses = [{"method": "email", "code": f"y{i}"} for i in range(30)]
    found = outcomes(world, [spend(made, guess) for guess in guesses])
    assert sorted(found) == ["TwoFactorLocked"] * 29 + ["WrongTwoFactorCode"]
    assert outcome(world, spend(made, right)) == "TwoFactorLocked"


def test_c04_a_code_for_one_action_opens_no_other(world: Guarded, alice: Account) -> None:
    made = payment(world, alice)
    for action, data in (
        (wire.SIGN_RAW_TX, {}),
        (wire.REMOVE_ACCOUNT, {}),
        (wire.DISABLE, {"method": "email"}),
        (wire.CHANGE_LIMITS, {"is_fiat": False, "per_tx": 0, "total": 1}),
    ):
        assert outcome(world, spend(made, world.code(alice, action, **data))) == "WrongTwoFactorCode"
    code = world.code(alice, wire.SEND_RAW_TX)
    assert outcome(world, spend(made, code, door=Door.SIGN)) == "WrongTwoFactorCode"
    assert outcome(world, spend(made, {**code, "method": "gauth"})) == "WrongTwoFactorCode"


def test_c04_a_code_that_names_a_transaction_opens_no_other(world: Guarded, alice: Account) -> None:
    made, other = payment(world, alice), payment(world, alice)
    code = world.code(alice, txid=str(made.tx.txid()))
    assert outcome(world, spend(other, code)) == "WrongTwoFactorCode"
    assert outcome(world, spend(made, code)) == "signed"
    assert world.used() == [("email", str(made.tx.txid()))]


def test_c04_a_code_opens_nothing_of_another_wallet(world: Guarded, alice: Account) -> None:
    bob = world.wallet("bob")
    world.enable(bob, wire.EMAIL)
    assert outcome(world, spend(payment(world, alice), world.code(bob))) == "WrongTwoFactorCode"


def test_c04_one_code_for_two_transactions_at_once_signs_one(world: Guarded, alice: Account) -> None:
    code = world.code(alice)
    found = outcomes(world, [spend(payment(world, alice), code) for _ in range(4)])
    assert sorted(found) == ["WrongTwoFactorCode"] * 3 + ["signed"]
    assert len(world.used()) == 1


# --- C06: limits ---------------------------------------------------------------------------------------------------


def set_limit(world: Guarded, account: Account, total: int) -> None:
    with world.store.transaction() as db:
        limits.store(db, account.user_id, total)


def left(world: Guarded, account: Account) -> int:
    with world.store.snapshot() as db:
        return limits.load(db, account.user_id).left


def test_c06_a_limit_counts_what_leaves_and_no_more(world: Guarded, alice: Account) -> None:
    set_limit(world, alice, 100_000)
    made = payment(world, alice, 60_000)
    world.cosigner.cosign(spend(made))
    # The payment and the fee of 100; the change came back.
    assert left(world, alice) == 39_900
    with world.store.snapshot() as db:
        assert limits.debited(db, alice.user_id, made.tx.txid()) == 60_100
    # The same again is the same.
    assert world.cosigner.cosign(spend(made)).again
    assert left(world, alice) == 39_900
    with pytest.raises(TwoFactorRequired):
        world.cosigner.cosign(spend(payment(world, alice, 39_801)))
    world.cosigner.cosign(spend(payment(world, alice, 39_800)))
    assert left(world, alice) == 0
    # With a code the limit is not touched.
    world.cosigner.cosign(spend(payment(world, alice), world.code(alice)))


def test_c06_a_payment_split_in_many_passes_no_further(world: Guarded, alice: Account) -> None:
    set_limit(world, alice, 5_000)
    found = [outcome(world, spend(payment(world, alice, 900))) for _ in range(8)]
    assert found == ["signed"] * 5 + ["TwoFactorRequired"] * 3


def test_c06_two_at_once_take_no_more_than_there_is(world: Guarded, alice: Account) -> None:
    set_limit(world, alice, 3_000)
    found = outcomes(world, [spend(payment(world, alice, 900)) for _ in range(8)])
    assert found.count("signed") == 3
    assert left(world, alice) == 0


def test_c06_the_database_refuses_a_limit_that_is_overspent(world: Guarded, alice: Account) -> None:
    set_limit(world, alice, 10)
    with pytest.raises(sa.exc.IntegrityError), world.store.transaction() as db:
        db.execute(schema.spending_limits.update().values(spent=11))


def test_c06_another_asset_leaves_under_no_limit(world: Guarded, alice: Account) -> None:
    set_limit(world, alice, 1_000_000)
    coins = [world.fund(alice, 5_000, asset=OTHER), world.fund(alice)]
    assert outcome(world, spend(world.pay(coins, 1_000, asset=OTHER))) == "TwoFactorRequired"
    # Moved within the wallet, only the fee leaves.
    inside = world.pay(
        [world.fund(alice, 5_000, asset=OTHER), world.fund(alice)],
        1_000,
        asset=LBTC,
    )
    assert outcome(world, spend(inside)) == "signed"
    assert left(world, alice) == 1_000_000 - 1_100


def test_c06_change_to_another_wallet_is_no_change(world: Guarded, alice: Account) -> None:
    bob = world.wallet("bob")
    set_limit(world, alice, 60_000)
    extra = [PlainOutput(bob.script(1), LBTC, 39_900, STRANGER_PUB)]
    everything = world.pay([world.fund(alice)], 60_000, extra=extra)
    assert outcome(world, spend(everything)) == "TwoFactorRequired"


def test_c06_what_others_add_is_counted_in_full(world: Guarded, alice: Account) -> None:
    """A stranger's input beside ours: nobody can say whose coins went where, so all that leaves counts."""
    bob = world.wallet("bob")
    set_limit(world, alice, 100_000)
    mixed = world.pay([world.fund(alice), world.fund(bob)], 120_000)
    assert outcome(world, spend(mixed)) == "TwoFactorRequired"


def test_c06_amounts_that_nobody_opened_are_within_no_limit(world: Guarded) -> None:
    """GDK sends no nonces for account 0."""
    zero = world.wallet("zoe", account=0, csv_blocks=65535)
    world.enable(zero, wire.EMAIL)
    set_limit(world, zero, 1_000_000)
    made = payment(world, zero)
    request = spend(made)
    unopened = Request(request.tx, None, user_id=zero.user_id, door=Door.SEND)
    assert outcome(world, unopened) == "TwoFactorRequired"
    assert outcome(world, request) == "signed"


def test_an_op_return_takes_nothing_away(world: Guarded, alice: Account) -> None:
    set_limit(world, alice, 60_100)
    made = payment(world, alice)
    vout = list(made.tx.vout)
    vout.insert(0, TxOut.explicit(b"\x6a\x01x", OTHER, 0))
    tagged = made.with_tx(vout=vout).signed()
    nonces = [b"", *made.nonces]
    request = Request(tagged.tx.to_bytes(), nonces, user_id=alice.user_id, door=Door.SEND)
    assert outcome(world, request) == "signed"


# --- frozen outputs and resets -------------------------------------------------------------------------------------


@pytest.mark.parametrize("door", list(Door))
def test_a_frozen_output_leaves_through_no_door(world: Guarded, door: Door) -> None:
    bob = world.wallet("bob")
    coins = [world.fund(bob), world.fund(bob)]
    with world.store.transaction() as db:
        frozen.set_status(db, bob.user_id, {coins[1].prevout: True}, 1)
    made = world.pay(coins)
    with pytest.raises(FrozenInput, match=str(coins[1].prevout.txid())):
        world.cosigner.cosign(spend(made, door=door))
    with world.store.transaction() as db:
        frozen.set_status(db, bob.user_id, {coins[1].prevout: False}, 1)
    world.cosigner.cosign(spend(made, door=door))


def test_f08_a_frozen_output_is_frozen_before_it_is_read_and_after_a_reorganisation(
    world: Guarded, alice: Account
) -> None:
    coin = world.fund(alice)
    with world.store.transaction() as db:
        frozen.set_status(db, alice.user_id, {coin.prevout: True}, 1)
        # As the watcher leaves it when a block is taken back.
        db.execute(schema.outputs.delete().where(schema.outputs.c.txid == bytes(coin.prevout.txid())))
    request = spend(world.pay([coin]), world.code(alice))
    assert outcome(world, request) == "FrozenInput"
    assert world.used() == []


def test_during_a_reset_nothing_leaves_even_with_a_code(world: Guarded, alice: Account) -> None:
    set_limit(world, alice, 1_000_000)
    made = payment(world, alice)
    with world.store.transaction() as db:
        reset.apply(world.factors, db, alice.user_id, Event.CONFIRM, "thief@example.com")
    for door in Door:
        with pytest.raises(ResetInProgress, match="can be cancelled"):
            world.cosigner.cosign(spend(made, world.code(alice, door.value), door=door))
    with world.store.transaction() as db:
        reset.apply(world.factors, db, alice.user_id, Event.CANCEL)
    assert outcome(world, spend(made, world.code(alice))) == "signed"
