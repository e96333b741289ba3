from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from amp0.devchain.faucet import Payment
from amp0.elements.confidential import Opening, unblind, verify_amounts
from amp0.elements.hashes import sha256
from amp0.elements.keys import ExtendedKey, Slip77
from amp0.elements.script import hash160, p2wpkh
from amp0.elements.transaction import OutPoint, TxOut
from amp0.network import Network
from amp0.server.issuer import fee_coins
from amp0.server.issuer.fee_coins import Funds
from amp0.server.issuer.fee_wallet import FeeCoin, FeeWallet, NotEnoughCoins, Place, Wanted
from tests.server.issuer.house import NETWORK, SEED, House, address, make_wallet

WALLET = make_wallet()
CONTRACT = sha256(b"contract")


@pytest.fixture
def house() -> Iterator[House]:
    made = House()
    yield made
    made.close()


def _coin(satoshi: int, number: int = 0) -> FeeCoin:
    txout = TxOut.explicit(WALLET.script(Place(number)), WALLET.policy_asset, satoshi)
    opening = Opening(WALLET.policy_asset, satoshi)
    return FeeCoin(OutPoint(bytes((number + 1,)) * 32, 0), Place(number), opening, txout.asset_field, txout.value_field)


# --- keys ------------------------------------------------------------------------------------------------------------


def test_a_usual_wallet_finds_the_coins_of_the_seed() -> None:
    """BIP84 and SLIP77 of the seed, receiving branch and change: an operator needs no program of ours to get out."""
    account = ExtendedKey.from_seed(SEED, main=False).derive("84h/1h/0h")
    for place, branch in ((Place(3), 0), (Place(4, is_change=True), 1)):
        script = p2wpkh(hash160(account.child(branch).child(place.number).public_key))
        assert WALLET.script(place) == script
        assert WALLET.address(place).script == script
        assert WALLET.address(place).blinding_pubkey == Slip77.from_seed(SEED).blinding_pubkey(script)


def test_main_and_test_networks_have_other_keys() -> None:
    assert FeeWallet(SEED, Network.mainnet()).pubkey != WALLET.pubkey


def test_nothing_secret_shows() -> None:
    assert SEED.hex() not in repr(WALLET)
    assert "Opening" in repr(_coin(5))


# --- the transaction -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("is_hidden", [False, True])
@pytest.mark.parametrize("tokens", [0, 3])
def test_an_issuance_pays_exactly_what_its_size_asks_for(is_hidden: bool, tokens: int) -> None:
    for coins in ([_coin(50_000)], [_coin(30_000), _coin(20_000, 1)]):
        wanted = Wanted(CONTRACT, 77, address(1), tokens, address(2) if tokens else None, is_hidden)
        built = WALLET.build(wanted, coins, Place(9, is_change=True), fee_rate=100, random=os.urandom)
        verify_amounts(built.tx, [TxOut(WALLET.script(c.place), c.asset_field, c.value_field) for c in coins])
        needed = -(-built.tx.discount_vsize() * 100 // 1000)
        assert needed <= built.fee <= needed + 2
        assert built.tx.fee(NETWORK.policy_asset_hex) == built.fee
        assert built.openings[built.asset_vout] == Opening(
            built.asset_id, 77, built.openings[0].abf, built.openings[0].vbf
        )
        assert all(out.is_blinded for out in built.tx.vout[:-1])
        assert (built.token_vout is None) == (tokens == 0)


def test_the_issued_amount_hides_and_only_the_wallet_reads_it() -> None:
    wanted = Wanted(CONTRACT, 123_456, address(1), is_hidden=True)
    built = WALLET.build(wanted, [_coin(50_000)], Place(9, is_change=True), fee_rate=100, random=os.urandom)
    assert len(built.issued.issuance.amount_field) == 33
    assert WALLET.read_issuance(built.tx.vin[0]) == built.issued


def test_coins_that_do_not_reach_build_nothing() -> None:
    wanted = Wanted(CONTRACT, 77, address(1))
    fee = WALLET.fee(wanted, 1, 100)
    with pytest.raises(NotEnoughCoins) as refusal:
        WALLET.build(wanted, [_coin(fee - 1)], Place(9), fee_rate=100, random=os.urandom)
    assert refusal.value.needed == fee
    exact = WALLET.build(wanted, [_coin(fee)], Place(9), fee_rate=100, random=os.urandom)
    assert exact.change_vout is None


# --- coins -----------------------------------------------------------------------------------------------------------


def test_a_deposit_address_stays_until_something_came_in(house: House) -> None:
    def current() -> str:
        with house.store.transaction() as db:
            return str(fee_coins.deposit_address(db, house.wallet, house.now))

    first = current()
    assert current() == first
    house.fund(5_000, confirm=False)
    assert current() not in (first, "")


def test_a_deposit_counts_when_it_is_seen_and_serves_when_it_is_confirmed(house: House) -> None:
    house.fund(5_000, 7_000, confirm=False)
    assert house.funds() == Funds(0, 12_000, 0)
    with house.store.snapshot() as db:
        assert fee_coins.spendable(db, house.wallet) == []
    house.mine()
    assert house.funds() == Funds(12_000, 0, 0)
    with house.store.snapshot() as db:
        coins = fee_coins.spendable(db, house.wallet)
    assert [coin.opening.satoshi for coin in coins] == [7_000, 5_000]
    for coin in coins:
        entry = house.chain.entry(coin.outpoint.txid())
        assert entry is not None
        key = Slip77.from_seed(SEED).blinding_key(house.wallet.script(coin.place))
        assert unblind(entry.tx.vout[coin.outpoint.vout()], key) == coin.opening


def test_other_assets_and_other_wallets_are_not_counted(house: House) -> None:
    asset, _ = house.devchain.faucet.issue(1_000)
    with house.store.transaction() as db:
        here = fee_coins.deposit_address(db, house.wallet, house.now)
    house.devchain.faucet.pay(Payment(here.script, here.blinding_pubkey, 500, asset))
    house.devchain.faucet.pay(Payment(address(7).script, address(7).blinding_pubkey, 500))
    # L-BTC that nobody can open: blinded for somebody else.
    house.devchain.faucet.pay(Payment(here.script, address(7).blinding_pubkey, 500))
    house.mine()
    assert house.funds() == Funds(0, 0, 0)


def test_a_reorganisation_takes_a_deposit_back_and_another_block_brings_it_again(house: House) -> None:
    house.fund(5_000)
    house.chain.reorg(1, blocks=2)
    house.sync()
    assert house.funds() == Funds(0, 5_000, 0)
    house.mine()
    assert house.funds() == Funds(5_000, 0, 0)


def test_a_deposit_that_vanishes_is_gone(house: House) -> None:
    (txid,) = house.fund(5_000, confirm=False)
    with house.chain.lock:
        house.chain._forget(house.chain.mempool.remove(txid))
    house.sync()
    assert house.funds() == Funds(0, 0, 0)
