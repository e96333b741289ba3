"""The policy behind the cosigner: managed assets move as their rules allow, whatever door and whatever trick."""

from __future__ import annotations

from dataclasses import replace

import msgspec
import pytest

from amp0.elements.hashes import Txid, asset_id_to_str
from amp0.elements.keys import ExtendedKey
from amp0.elements.script import hash160, p2pkh, p2sh, p2wpkh, push
from amp0.elements.sighash import SighashCache
from amp0.elements.transaction import Issuance, OutPoint, Transaction, TxIn, TxOut
from amp0.server.attempts import Attempts
from amp0.server.cosigner import Door, Request
from amp0.server.policy import refusals
from amp0.server.refusal import (
    BadTransaction,
    BurnRefused,
    FeeOutOfBounds,
    IssuanceRefused,
    PolicyRefused,
    TooManyAttempts,
    answer_for,
)
from amp0.server.store import asset_schema as tables
from amp0.server.store import schema
from tests.server.cosigning import LBTC, OTHER, STRANGER, Account, Payment
from tests.server.policy.market import BURN, DAY, TREASURY, Managed, Market

# --- what moves ----------------------------------------------------------------------------------------------------


def test_a_payment_among_registered_users_is_signed(
    market: Market, share: Managed, alice: Account, bob: Account
) -> None:
    payment = market.send([market.fund(alice, share)], (bob, share, 60), (alice, share, 40))
    assert not market.cosign(payment).again
    assert market.cosign(payment).again
    (move,) = market.rows(tables.asset_moves)
    assert (move.txid, move.asset, move.account_id, move.satoshi) == (bytes(payment.tx.txid()), share.row, alice.id, 60)


def test_hidden_amounts_count_as_open_ones_do(market: Market, share: Managed, alice: Account, bob: Account) -> None:
    share.rule("transfer_limit", satoshi=60)
    coin = market.fund(alice, share, blinded=True)
    assert market.codes(market.send([coin], (bob, share, 61), (alice, share, 39), blinded=True)) == ["transfer_limit"]
    market.cosign(market.send([coin], (bob, share, 60), (alice, share, 40), blinded=True))


def test_f01_assets_that_are_not_managed_move_freely(market: Market, alice: Account) -> None:
    coin = market.world.fund(alice, 500, asset=OTHER, blinded=False)
    market.cosign(market.send([coin], (STRANGER, OTHER, 500)))
    assert market.rows(tables.asset_moves) == []


@pytest.mark.parametrize("door", list(Door))
def test_every_door_leads_through_the_policy(market: Market, share: Managed, alice: Account, door: Door) -> None:
    payment = market.send([market.fund(alice, share)], (STRANGER, share, 100))
    with pytest.raises(PolicyRefused):
        market.world.cosigner.cosign(payment.request(door=door, user_id=alice.user_id))
    assert market.rows(schema.cosigned) == []


def test_whoever_holds_may_redeem(market: Market, share: Managed) -> None:
    stranger = market.holder("nobody", user=False)
    market.cosign(market.send([market.fund(stranger, share)], (TREASURY, share, 60), (stranger, share, 40)))


def test_a_treasury_address_that_was_removed_takes_nothing(market: Market, share: Managed, alice: Account) -> None:
    market.update(tables.treasury_addresses, tables.treasury_addresses.c.asset == share.row, removed_at=5)
    assert market.codes(market.send([market.fund(alice, share)], (TREASURY, share, 100))) == ["recipient_not_allowed"]


def test_the_treasury_of_another_asset_is_a_stranger(market: Market, share: Managed, alice: Account) -> None:
    market.update(tables.treasury_addresses, tables.treasury_addresses.c.asset == share.row, script_pubkey=b"\x51")
    market.asset("other")
    assert market.codes(market.send([market.fund(alice, share)], (TREASURY, share, 100))) == ["recipient_not_allowed"]


def test_an_asset_that_was_deleted_keeps_its_rules(market: Market, share: Managed, alice: Account) -> None:
    share.set(deleted_at=1, is_locked=1)
    assert market.codes(market.send([market.fund(alice, share)], (alice, share, 100))) == ["asset_locked"]


def test_an_issuance_that_failed_manages_nothing(market: Market, share: Managed, alice: Account) -> None:
    share.set(state="failed")
    market.cosign(market.send([market.fund(alice, share)], (STRANGER, share, 100)))


def test_two_managed_assets_in_one_transaction_answer_each_for_itself(
    market: Market, share: Managed, alice: Account, bob: Account
) -> None:
    bond = market.asset("bond", issuer=market.issuer("bank"))
    coins = [market.fund(alice, share), market.fund(alice, bond)]
    own, one = market.refused(market.send(coins, (bob, share, 100), (bob, bond, 100)))
    assert (own.code, own.index, own.asset_id) == ("sender_not_registered", 1, asset_id_to_str(bond.id))
    assert (one.code, one.index, one.asset_id) == ("recipient_not_allowed", 1, asset_id_to_str(bond.id))
    # Each issuer learns of theirs only.
    (row,) = market.rows(tables.policy_refusals)
    assert row.asset == bond.row
    share.set(is_locked=1)
    assert "asset_locked" in market.codes(market.send(coins, (bob, share, 100), (bob, bond, 100)))
    assert {row.asset for row in market.rows(tables.policy_refusals)} == {share.row, bond.row}


# --- where it may not go -------------------------------------------------------------------------------------------


def test_d13_nothing_is_issued_in_a_transfer(market: Market, share: Managed, alice: Account, bob: Account) -> None:
    payment = market.send([market.fund(alice, share)], (bob, share, 100))
    issuance = Issuance(bytes(32), bytes(32), b"\x01" + (100).to_bytes(8, "big"), b"\x00")
    with pytest.raises(IssuanceRefused):
        market.cosign(payment.with_input(0, issuance=issuance).signed())


def test_d14_a_burn_needs_an_approval_however_it_is_written(market: Market, share: Managed, alice: Account) -> None:
    coin = market.fund(alice, share)
    assert market.codes(market.send([coin], (BURN, share, 60), (alice, share, 40))) == ["burn_not_approved"]
    for script in (b"\x6a\x01\x00", b"\x00" * 10_001):
        with pytest.raises((BurnRefused, PolicyRefused)):
            market.cosign(market.send([coin], (script, share, 60), (alice, share, 40)))


def test_d14_an_approved_burn_is_signed_as_often_as_it_was_approved(
    market: Market, share: Managed, alice: Account, bob: Account
) -> None:
    (row,) = [row for row in market.rows(tables.user_gaids) if row.account_id == alice.id]
    share.rule("issuer_burn", created_at=market.now - 5, satoshi=100, until=market.now + DAY, user_id=row.user_id)
    market.cosign(market.send([market.fund(alice, share)], (BURN, share, 60), (alice, share, 40)))
    again = market.fund(alice, share)
    assert market.codes(market.send([again], (BURN, share, 41), (alice, share, 59))) == ["burn_not_approved"]
    assert market.codes(market.send([market.fund(bob, share)], (BURN, share, 1), (bob, share, 99))) == [
        "burn_not_approved"
    ]
    market.cosign(market.send([again], (BURN, share, 40), (alice, share, 60)))


def test_d14_data_outputs_burn_nothing(market: Market, share: Managed, alice: Account, bob: Account) -> None:
    payment = market.send([market.fund(alice, share)], (bob, share, 100))
    data = TxOut.explicit(b"\x6a\x04data", share.id, 0)
    vout = [*payment.tx.vout[:-1], data, payment.tx.vout[-1]]
    grown = payment.with_tx(vout=vout).signed()
    market.world.cosigner.cosign(grown.request(nonces=[*payment.nonces[:-1], b"", b""]))


def test_d15_change_to_a_script_of_nobody_is_a_payment_to_a_stranger(
    market: Market, share: Managed, alice: Account, bob: Account
) -> None:
    not_issued = alice.script(21)
    (one,) = market.refused(market.send([market.fund(alice, share)], (bob, share, 60), (not_issued, share, 40)))
    assert (one.code, one.side, one.index) == ("recipient_not_allowed", "output", 1)
    market.cosign(market.send([market.fund(alice, share)], (bob, share, 60), (alice.script(20), share, 40)))


def test_d16_an_amp_asset_goes_to_no_ordinary_account(market: Market, share: Managed, alice: Account) -> None:
    """Not even to one of the same wallet, or of a registered user."""
    ordinary = market.world.wallet("alice's savings", account=0, csv_blocks=65535)
    (row,) = market.rows(tables.user_gaids)
    market.register(ordinary, row.user_id)
    assert market.codes(market.send([market.fund(alice, share)], (ordinary, share, 100))) == ["recipient_not_allowed"]
    assert market.whole() == ["foreign_destination"]


def test_d16_what_is_allowed_is_decided_when_it_is_signed(
    market: Market, share: Managed, alice: Account, bob: Account
) -> None:
    """An address that was handed out while its owner qualified, and is paid after they were frozen or removed."""
    payment = market.send([market.fund(alice, share)], (bob, share, 100))
    users = tables.registered_users
    for change, back in (({"is_frozen": 1}, {"is_frozen": 0}), ({"deleted_at": 5}, {"deleted_at": None})):
        market.update(users, users.c.name == "bob", **change)
        assert market.codes(payment) == ["recipient_not_allowed"]
        market.update(users, users.c.name == "bob", **back)
    market.cosign(payment)


def test_d16_categories_are_those_of_the_issuer(market: Market, share: Managed, alice: Account) -> None:
    (user,) = [row.id for row in market.rows(tables.registered_users)]
    carol = market.user("carol")
    account = market.holder("carols account", user=False)
    market.register(account, carol)
    accredited = market.category("accredited", user, required_by=share)
    payment = market.send([market.fund(alice, share)], (account, share, 100))
    assert market.codes(payment) == ["recipient_not_allowed"]
    assert market.whole() == ["recipient_lacks_category"]
    market.insert(tables.category_users, category_id=accredited, user_id=carol)
    market.cosign(payment)


def test_d17_a_managed_asset_pays_no_fee(market: Market, share: Managed, alice: Account) -> None:
    payment = market.send([market.fund(alice, share)], (alice, share, 100))
    vout = [*payment.tx.vout[:-1], TxOut.fee(share.id, 500)]
    with pytest.raises(FeeOutOfBounds):
        market.cosign(payment.with_tx(vout=vout).signed())


def test_d17_limits_are_summed_over_fifty_outputs(market: Market, share: Managed, alice: Account, bob: Account) -> None:
    share.rule("transfer_limit", satoshi=49)
    carol = market.holder("carol")
    coin = market.fund(alice, share)
    many = [(who, share, 1) for who in (bob, carol) for _ in range(25)]
    assert market.codes(market.send([coin], *many, (alice, share, 50))) == ["transfer_limit"]
    market.cosign(market.send([coin], *many[:-1], (alice, share, 51)))


def test_f08_a_blacklisted_coin_does_not_move_before_it_is_in_a_block_either(
    market: Market, share: Managed, alice: Account, bob: Account
) -> None:
    for height in (500, None):
        coin = market.fund(alice, share, height=height)
        share.blacklist(coin.prevout)
        (one,) = market.refused(market.send([coin], (bob, share, 100)))
        assert (one.code, one.side, one.index) == ("output_blacklisted", "input", 0)
        assert market.codes(market.send([coin], (TREASURY, share, 100))) == ["output_blacklisted"]


def test_a_token_goes_to_the_treasury_only(market: Market, alice: Account, bob: Account) -> None:
    share = market.asset("reissuable", tokens=10)
    coin = market.fund(alice, share, 10, token=True)
    assert market.codes(market.send([coin], (bob, share.token, 10))) == ["recipient_not_allowed"]
    share.set(is_locked=1)
    assert market.codes(market.send([coin], (TREASURY, share.token, 10))) == ["asset_locked"]
    share.set(is_locked=0)
    market.cosign(market.send([coin], (TREASURY, share.token, 10)))
    assert market.rows(tables.asset_moves) == []


TREASURY_KEY, OTHER_KEY = (ExtendedKey.from_seed(bytes((n,)) * 64, main=False) for n in (1, 2))


@pytest.mark.parametrize("nested", [False, True])
def test_f01_what_the_treasury_pays_along_has_to_be_signed(
    market: Market, share: Managed, alice: Account, bob: Account, nested: bool
) -> None:
    """Naming a coin of the treasury among the inputs would make promises of its money: holders who are none, recipients
    who are full. With its signature it is a payment like any other."""
    redeem = p2wpkh(hash160(TREASURY_KEY.public_key))
    script = p2sh(redeem) if nested else redeem
    market.insert(tables.treasury_addresses, asset=share.row, script_pubkey=script, address="own", added_at=0)
    made = Transaction.of(2, 0, [TxIn(OutPoint(Txid(b"\x05" * 32), 0))], [TxOut.explicit(script, share.id, 500)])
    market.world.chain.transactions[made.txid()] = made
    treasury = OutPoint(made.txid(), 0)
    market.enter(treasury, share, 500, None, script=script)
    payment = market.send([market.fund(alice, None, 5_000, blinded=False)], (alice, LBTC, 5_000))
    vout = [TxOut.explicit(bob.script(3), share.id, 500), *payment.tx.vout]
    vin = [*payment.tx.vin, TxIn(treasury, sequence_number=0xFFFFFFFE)]
    tx = replace(payment, tx=Transaction.of(2, 0, vin, vout)).signed().tx
    place = len(vin) - 1
    digest = SighashCache(tx).segwit_v0(place, p2pkh(redeem[2:]), made.vout[0].value_field)
    signature, key = TREASURY_KEY.sign(digest) + b"\x01", TREASURY_KEY.public_key
    script_sig = push(redeem) if nested else b""
    for witness in (
        (), (b"", key), (signature, OTHER_KEY.public_key), (OTHER_KEY.sign(digest) + b"\x01", key),
        (signature[:-1] + b"\x81", key), (TREASURY_KEY.sign(bytes(32)) + b"\x01", key), (signature, key, b""),
    ):  # fmt: skip
        with pytest.raises(PolicyRefused) as refused:
            ask(market, payment, tx.replace_input(place, witness=witness, script_sig=script_sig))
        assert [one.code for one in refused.value.reasons] == ["missing_fact"]
    ask(market, payment, tx.replace_input(place, witness=(signature, key), script_sig=script_sig))


@pytest.mark.parametrize("kind", ["nested", "native", "legacy"])
def test_f06_a_transfer_whose_txid_can_still_change_is_not_signed(
    market: Market, share: Managed, alice: Account, bob: Account, kind: str
) -> None:
    """No signature commits to a scriptSig. Somebody added a coin of their own to pay the fee, left its scriptSig empty,
    and put it in when all was signed: the chain got the same transfer under another txid. What had been counted against
    limits was gone for good then, and where the units went was unknown to the ledger."""
    program = p2wpkh(hash160(OTHER_KEY.public_key))
    script = {"nested": p2sh(program), "native": program, "legacy": p2pkh(program[2:])}[kind]
    made = Transaction.of(2, 0, [TxIn(OutPoint(Txid(b"\x05" * 32), 0))], [TxOut.explicit(script, LBTC, 700)])
    market.world.chain.transactions[made.txid()] = made
    payment = market.send([market.fund(alice, share)], (bob, share, 100))
    vin = [*payment.tx.vin, TxIn(OutPoint(made.txid(), 0), sequence_number=0xFFFFFFFE)]
    vout = [TxOut.explicit(alice.script(3), LBTC, 700), *payment.tx.vout]
    tx = replace(payment, tx=Transaction.of(2, 0, vin, vout)).signed().tx
    place = len(vin) - 1
    right = {"nested": push(program), "native": b"", "legacy": None}[kind]
    for script_sig in {b"", b"\x51", push(b"\x00\x14" + b"\x66" * 20), b"\x4c" + push(program)} - {right}:
        with pytest.raises(BadTransaction, match=f"Input {place} "):
            ask(market, payment, tx.replace_input(place, script_sig=script_sig))
    assert market.rows(schema.cosigned) == market.rows(tables.asset_moves) == []
    if right is not None:
        ask(market, payment, tx.replace_input(place, script_sig=right))


def ask(market: Market, payment: Payment, tx: Transaction) -> None:
    scripts = [*(coin.account.witness_script(coin.pointer) for coin in payment.coins), b""]
    market.world.cosigner.cosign(Request(tx.to_bytes(), [b""] * len(tx.vout), scripts))


def test_f08_a_blacklisted_coin_does_not_move_unseen_either(market: Market, share: Managed) -> None:
    """Out of an account that is not AMP, without nonces, and while nobody has told what it holds."""
    ordinary = market.world.wallet("ordinary", account=0, csv_blocks=65535)
    coin = market.fund(ordinary, share, blinded=True, sealed=True)
    hidden = market.world.pay([coin, market.world.fund(ordinary)], 100, asset=share.id)
    txid, vout = bytes(coin.prevout.txid()), coin.prevout.vout()
    market.insert(tables.blacklisted_outputs, prev_txid=txid, prev_vout=vout, asset=share.row, since=0)
    with pytest.raises(PolicyRefused) as caught:
        market.world.cosigner.cosign(hidden.request(nonces=None, scripts=None))
    assert [one.code for one in caught.value.reasons] == ["missing_fact", "output_blacklisted"]


# --- what refusals tell ----------------------------------------------------------------------------------------------


def test_whoever_is_refused_again_and_again_waits(market: Market, share: Managed, alice: Account, bob: Account) -> None:
    """A refusal costs nothing and says whether a recipient may be sent so much: asked often enough, it is their balance
    that is told. A payment to many asks about each of them, and a reason of the sender's own is an answer as well."""
    market.gate._guesses, market.gate._allowance = Attempts(10.0, lambda: market.world.now), 6
    share.rule("max_balance", satoshi=100)
    share.rule("transfer_limit", satoshi=500)
    carol = market.holder("carol")
    coin = market.fund(alice, share, 1_000)
    assert market.codes(market.send([coin], (bob, share, 101), (alice, share, 899))) == ["recipient_not_allowed"]
    assert market.codes(market.send([coin], (bob, share, 5), (carol, share, 500), (alice, share, 495)))[0] == (
        "transfer_limit"
    )
    many = [(who, share, 1) for who in (bob, carol, STRANGER)]
    assert market.codes(market.send([coin], *many, (alice, share, 997))) == ["recipient_not_allowed"]
    good = market.send([coin], (bob, share, 5), (alice, share, 995))
    for door in Door:
        with pytest.raises(TooManyAttempts, match="wait 11 seconds"):
            market.world.cosigner.cosign(good.request(door=door, user_id=alice.user_id))
    assert market.rows(schema.cosigned) == []
    # What asks about nobody is signed meanwhile, and so is what others send.
    other = market.fund(alice, share, 300)
    market.cosign(market.send([other], (TREASURY, share, 100), (alice, share, 200)))
    market.cosign(market.send([market.fund(alice, None, 5_000)], (STRANGER, LBTC, 5_000)))
    market.cosign(market.send([market.fund(carol, share)], (bob, share, 5), (carol, share, 95)))
    market.later(11)
    market.cosign(good)


# --- what is not known ---------------------------------------------------------------------------------------------


def test_one_sender_needs_no_amounts_of_inputs(market: Market, share: Managed, alice: Account, bob: Account) -> None:
    """A distribution that its issuer has not confirmed yet can be spent: what goes in is what comes out."""
    share.rule("transfer_limit", satoshi=100)
    coins = [market.fund(alice, share, blinded=True, sealed=True), market.fund(alice, None, 5_000, blinded=True)]
    market.cosign(market.send(coins, (bob, share, 100), (alice, LBTC, 5_000), blinded=True))
    coins = [market.fund(alice, share, 101, blinded=True, sealed=True)]
    assert market.codes(market.send(coins, (bob, share, 101), blinded=True)) == ["transfer_limit"]


def test_f01_two_senders_and_amounts_that_nobody_can_attribute(
    market: Market, share: Managed, alice: Account, bob: Account
) -> None:
    """Whose is what? Bob's hidden coin might hold it as well."""
    carol = market.holder("carol")
    sealed = market.fund(alice, share, blinded=True, sealed=True)
    fee = market.fund(bob, None, 5_000, blinded=True)
    payment = market.send([sealed, fee], (carol, share, 100), (bob, LBTC, 5_000), blinded=True)
    assert market.codes(payment) == ["missing_fact"]
    known = market.fund(alice, share, blinded=True)
    market.cosign(market.send([known, fee], (carol, share, 100), (bob, LBTC, 5_000), blinded=True))


def test_f01_an_account_that_is_not_amp_cannot_move_units_unseen(market: Market, share: Managed) -> None:
    """Without nonces the outputs are closed; what is known to be spent is enough to refuse."""
    ordinary = market.world.wallet("ordinary", account=0, csv_blocks=65535)
    coin = market.fund(ordinary, share, blinded=True)
    payment = market.send([coin], (STRANGER, share, 100), blinded=True)
    hidden = market.world.pay([coin, market.world.fund(ordinary)], 100, asset=share.id)
    with pytest.raises(PolicyRefused) as caught:
        market.world.cosigner.cosign(hidden.request(nonces=None, scripts=None))
    assert [one.code for one in caught.value.reasons] == ["missing_fact"]
    assert market.codes(payment)[0] in ("recipient_not_allowed", "sender_not_registered")
    free = market.world.pay([market.world.fund(ordinary)])
    market.world.cosigner.cosign(free.request(nonces=None, scripts=None))


@pytest.mark.parametrize(
    ("tag", "text"),
    [
        ("of_a_later_version", "{}"),
        ("transfer_limit", "{}"),
        ("transfer_limit", '{"satoshi": 5.5}'),
        ("transfer_limit", "[5]"),
        ("transfer_limit", "not JSON"),
        ("transfer_limit", "[" * 100_000),
        ("frozen_holder", '{"users": [' + "1," * 40_000 + "1]}"),
    ],
)
def test_f01_f09_a_rule_that_cannot_be_understood_refuses_all(
    market: Market, share: Managed, alice: Account, tag: str, text: str
) -> None:
    rule = share.raw_rule(tag, text)
    payment = market.send([market.fund(alice, share)], (TREASURY, share, 100))
    assert market.codes(payment) == ["unknown_rule"]
    market.update(tables.asset_rules, tables.asset_rules.c.id == rule, ended_at=1)
    market.cosign(payment)


def test_f01_an_error_while_gathering_signs_nothing(
    market: Market, share: Managed, alice: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object) -> None:
        raise KeyError("a fault")

    payment = market.send([market.fund(alice, share)], (alice, share, 100))
    monkeypatch.setattr("amp0.server.policy.gather.book.rules", fails)
    with pytest.raises(KeyError):
        market.cosign(payment)
    assert market.rows(schema.cosigned) == []


# --- what is told --------------------------------------------------------------------------------------------------


def test_the_text_reads_well_in_every_client(market: Market, share: Managed, alice: Account) -> None:
    share.rule("transfer_limit", satoshi=5)
    payment = market.send([market.fund(alice, share)], (STRANGER, share, 60), (alice, share, 40))
    with pytest.raises(PolicyRefused) as caught:
        market.cosign(payment)
    assert str(caught.value) == (
        "transfer_limit: input 0: at most 5 satoshi of this asset may leave a holder at once, not 60; "
        "recipient_not_allowed: output 0: this asset may not be sent to this recipient"
    )
    assert (caught.value.name, caught.value.status, caught.value.retryable) == ("policy", 422, False)


def test_recipients_look_alike_to_a_venue_and_not_to_the_issuer(market: Market, share: Managed, alice: Account) -> None:
    """A stranger, somebody unregistered, frozen, without a category, or full: one answer."""
    share.rule("max_balance", satoshi=150)
    market.category("accredited", *[row.id for row in market.rows(tables.registered_users)], required_by=share)
    frozen = market.holder("frozen", is_frozen=1)
    full = market.holder("full")
    market.insert(tables.category_users, category_id=1, user_id=market.rows(tables.registered_users)[-1].id)
    market.fund(full, share, 140)
    shown, whole = set(), set()
    for recipient in (STRANGER, market.holder("unknown", user=False), market.holder("lacking"), frozen, full):
        payment = market.send([market.fund(alice, share)], (recipient, share, 100))
        with pytest.raises(PolicyRefused) as caught:
            market.cosign(payment)
        shown.add((str(caught.value), msgspec.json.encode(caught.value.reasons)))
        whole.add(tuple(market.whole()))
    assert len(shown) == 1
    assert len(whole) == 5


def test_a_refusal_is_kept_whole_for_the_issuer(market: Market, share: Managed, alice: Account) -> None:
    payment = market.send([market.fund(alice, share)], (market.holder("nobody", user=False), share, 100))
    market.refused(payment)
    market.later(60)
    market.refused(payment)
    (row,) = market.rows(tables.policy_refusals)
    assert (row.txid, row.account_id, row.at) == (bytes(payment.tx.txid()), alice.id, market.now)
    assert market.whole() == ["recipient_not_registered"]
    assert market.rows(tables.asset_moves) == market.rows(schema.cosigned) == []


def test_refusals_on_record_are_bounded(
    market: Market, share: Managed, alice: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(refusals, "_OLDEST_KEPT", refusals._OLDEST_KEPT.offset(2))
    coin = market.fund(alice, share)
    for _ in range(5):
        market.refused(market.send([coin], (STRANGER, share, 100)))
    assert [row.id for row in market.rows(tables.policy_refusals)] == [3, 4, 5]


def test_who_pays_many_strangers_gets_one_short_answer(market: Market, share: Managed, alice: Account) -> None:
    coin = market.fund(alice, share)
    payment = market.send([coin], *[(STRANGER, share, 1)] * 100, fee=5_000)
    with pytest.raises(PolicyRefused) as caught:
        market.cosign(payment)
    assert str(caught.value).endswith("; and 92 more")
    assert len(caught.value.reasons) == 100
    assert len(market.whole()) == refusals.MOST_REASONS


def test_nothing_is_said_of_policy_before_the_signatures_have_verified(
    market: Market, share: Managed, alice: Account
) -> None:
    payment = market.send([market.fund(alice, share)], (STRANGER, share, 100))
    unsigned = replace(payment, tx=payment.tx.replace_input(0, witness=(b"", b"", b"", b"")))
    with pytest.raises(Exception) as caught:  # noqa: PT011 (any refusal but this one)
        market.cosign(unsigned)
    assert not isinstance(caught.value, PolicyRefused)
    assert market.rows(tables.policy_refusals) == []


def test_the_table_of_answers_knows_both() -> None:
    assert answer_for(PolicyRefused("", ())).name == "policy"
