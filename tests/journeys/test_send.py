"""Send: build, sign, cosign, broadcast; with several assets, in a row, from any account, and again."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from amp0 import BroadcastRejected, CosignRefused, InsufficientFunds, Transaction, Wollet
from tests.journeys.conftest import Venue


def receive(venue: Venue, payee: Wollet) -> dict[str, int]:
    payee.apply_update(venue.chain.full_scan(payee))
    return {asset_id: satoshi for asset_id, satoshi in payee.balance().items() if satoshi}


@pytest.mark.parametrize("waterfalls", [False, True], ids=["esplora", "waterfalls"])
def test_an_asset_and_lbtc_reach_somebody_else(
    open_venue: Callable[..., Venue], payee: Wollet, waterfalls: bool
) -> None:
    venue = open_venue(waterfalls=waterfalls)
    gold = venue.stack.dev.issue(1000)
    venue.deposit(50_000)
    venue.deposit(100, gold)
    address = payee.address(0).address()
    transaction = venue.pay((address, 40, gold), (address, 1_000, venue.policy_asset))
    venue.stack.dev.mine()
    fee = transaction.fee(venue.policy_asset)
    assert venue.sync() == {venue.policy_asset: 49_000 - fee, gold: 60}
    assert receive(venue, payee) == {venue.policy_asset: 1_000, gold: 40}
    row = venue.wollet.transaction(transaction.txid())
    assert row.type() == "outgoing"
    assert row.fee() == fee
    assert row.balance() == {venue.policy_asset: -1_000 - fee, gold: -40}


def test_details_tell_the_signer_what_is_paid(venue: Venue, payee: Wollet) -> None:
    venue.deposit(9_000)
    address = payee.address(0).address()
    unsigned = venue.build((address, 700, venue.policy_asset))
    details = venue.wollet.pset_details(unsigned.pset())
    (recipient,) = details.balance().recipients()
    assert (str(recipient.address()), recipient.value()) == (str(address), 700)
    assert details.balance().balances() == {venue.policy_asset: -700 - details.balance().fee()}
    assert [row.has_signature() for row in details.signatures()] == [{}]
    signed = venue.wollet.pset_details(venue.signed(unsigned).pset())
    assert len(signed.signatures()[0].has_signature()) == 1
    assert len(signed.signatures()[0].missing_signature()) == 1


def test_change_goes_to_an_issued_address(venue: Venue, payee: Wollet) -> None:
    venue.deposit(9_000)
    venue.pay((payee.address(0).address(), 700, venue.policy_asset))
    venue.stack.dev.mine()
    venue.sync()
    (change,) = venue.wollet.utxos()
    assert 1 <= change.wildcard_index() <= max(20, venue.amp0.last_index())


def test_own_unconfirmed_coins_are_spent_again(venue: Venue, payee: Wollet) -> None:
    """Three payments in a row without a block between them."""
    venue.deposit(30_000)
    address = payee.address(0).address()
    spent = 0
    for _ in range(3):
        transaction = venue.pay((address, 1_000, venue.policy_asset))
        spent += 1_000 + transaction.fee(venue.policy_asset)
        assert venue.sync() == {venue.policy_asset: 30_000 - spent}
    venue.stack.dev.mine()
    assert venue.sync() == {venue.policy_asset: 30_000 - spent}
    assert receive(venue, payee) == {venue.policy_asset: 3_000}


def test_an_unconfirmed_deposit_can_be_spent(venue: Venue) -> None:
    venue.deposit(8_000, mine=False)
    transaction = venue.pay(drain=True)
    venue.stack.dev.mine()
    assert venue.sync() == {venue.policy_asset: 8_000 - transaction.fee(venue.policy_asset)}


def test_many_coins_are_spent_at_once(venue: Venue, payee: Wollet) -> None:
    for _ in range(4):
        venue.stack.dev.faucet(str(venue.amp0.address(None).address()), 1_000)
    venue.stack.dev.mine()
    venue.sync()
    transaction = venue.pay((payee.address(0).address(), 3_500, venue.policy_asset))
    assert len(transaction.inputs()) == 4
    venue.stack.dev.mine()
    assert receive(venue, payee) == {venue.policy_asset: 3_500}


def test_a_second_account_of_the_signer_spends_too(open_venue: Callable[..., Venue], payee: Wollet) -> None:
    first = open_venue()
    second = open_venue(first)
    second.deposit(6_000)
    second.pay((payee.address(0).address(), 500, second.policy_asset))
    second.stack.dev.mine()
    assert receive(second, payee) == {second.policy_asset: 500}


def test_one_venue_pays_another(open_venue: Callable[..., Venue]) -> None:
    sender, receiver = open_venue(), open_venue()
    sender.deposit(20_000)
    transaction = sender.pay((receiver.amp0.address(None).address(), 4_000, sender.policy_asset))
    sender.stack.dev.mine()
    assert receiver.sync() == {sender.policy_asset: 4_000}
    assert sender.sync() == {sender.policy_asset: 16_000 - transaction.fee(sender.policy_asset)}


def test_asking_twice_gives_the_same_signatures(venue: Venue) -> None:
    venue.deposit(5_000)
    request = venue.signed(venue.build(drain=True))
    first = venue.amp0.sign(request)
    assert venue.amp0.sign(request).to_bytes() == first.to_bytes()
    assert venue.amp0.cosigned(first.txid()).to_bytes() == first.to_bytes()
    venue.chain.broadcast(first)
    assert venue.chain.broadcast(first) == first.txid()
    venue.stack.dev.mine()
    assert venue.amp0.sign(request).to_bytes() == first.to_bytes()


def test_another_transaction_for_the_same_coins_is_refused_with_the_earlier_one(venue: Venue, payee: Wollet) -> None:
    venue.deposit(5_000)
    first = venue.cosigned(venue.build((payee.address(0).address(), 100, venue.policy_asset)))
    rival = venue.build((payee.address(0).address(), 200, venue.policy_asset))
    with pytest.raises(CosignRefused) as caught:
        venue.cosigned(rival)
    assert caught.value.code == "alreadysigned"
    assert str(first.txid()) in str(caught.value)
    venue.chain.broadcast(first)
    venue.stack.dev.mine()
    assert receive(venue, payee) == {venue.policy_asset: 100}


def test_more_than_there_is_says_how_much_is_missing(venue: Venue, payee: Wollet) -> None:
    venue.deposit(1_000)
    address = payee.address(0).address()
    with pytest.raises(InsufficientFunds) as caught:
        venue.build((address, 2_000, venue.policy_asset))
    assert caught.value.asset_id == venue.policy_asset
    assert caught.value.available == 1_000
    assert caught.value.needed > 2_000
    with pytest.raises(InsufficientFunds) as caught:
        venue.build((address, 5, "ab" * 32))
    assert (caught.value.asset_id, caught.value.available) == ("ab" * 32, 0)


def test_the_chain_s_refusal_is_in_its_own_words(venue: Venue) -> None:
    venue.deposit(5_000)
    transaction = venue.cosigned(venue.build(drain=True))
    stripped = Transaction.from_bytes(transaction.serialize(witness=False))
    with pytest.raises(BroadcastRejected) as caught:
        venue.chain.broadcast(stripped)
    assert caught.value.reason
    assert venue.chain.broadcast(transaction) == transaction.txid()
