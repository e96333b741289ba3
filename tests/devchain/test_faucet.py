"""The faucet: free coins, blinded as they should be, many at a time."""

from __future__ import annotations

import threading

import pytest

from amp0.devchain.blocks import OP_TRUE
from amp0.devchain.chain import Chain
from amp0.devchain.faucet import BLINDING_KEY as FAUCET_KEY
from amp0.devchain.faucet import COIN, MAX_DEPTH, SPLIT, Faucet, Payment
from amp0.elements.confidential import unblind
from amp0.elements.hashes import Txid
from amp0.elements.script import p2wpkh
from amp0.elements.transaction import MAX_SATOSHI, Transaction
from amp0.errors import Amp0Error, BroadcastRejected, ChainError, InsufficientFunds, InvalidInput
from tests.devchain.kit import BLINDING_KEY, BLINDING_PUBKEY, Clock, Random, free_coin, new_chain, spend

SCRIPT = p2wpkh(b"\x55" * 20)


def _tx(chain: Chain, txid: Txid) -> Transaction:
    entry = chain.entry(txid)
    assert entry is not None
    return entry.tx


def test_the_genesis_coin_is_split_once() -> None:
    chain, faucet = new_chain()
    faucet.prepare()
    assert chain.height == 1
    split = chain.tip.block.transactions[1]
    assert [txout.explicit_value for txout in split.vout[:SPLIT]] == [COIN] * SPLIT
    assert str(split.vin[0].prevout.hash).startswith("12a51d3e")


def test_a_confidential_payment_hides_itself_behind_an_own_output() -> None:
    chain, faucet = new_chain()
    tx = _tx(chain, faucet.pay(Payment(SCRIPT, BLINDING_PUBKEY, 12_345)))
    paid, own, fee = tx.vout
    assert paid.is_blinded
    assert own.is_blinded
    assert fee.is_fee()
    assert unblind(paid, BLINDING_KEY).satoshi == 12_345
    assert unblind(own, FAUCET_KEY).satoshi == COIN - 12_345 - tx.fee()
    assert own.script == OP_TRUE
    chain.mine()


def test_a_plain_address_is_paid_in_the_open() -> None:
    chain, faucet = new_chain()
    tx = _tx(chain, faucet.pay(Payment(SCRIPT, None, 12_345)))
    assert [txout.is_blinded for txout in tx.vout] == [False, False, False]
    assert tx.vout[0].explicit_value == 12_345


def test_blinded_change_is_spent_again() -> None:
    chain, faucet = new_chain()
    amount = MAX_SATOSHI // 2
    first = _tx(chain, faucet.pay(Payment(SCRIPT, BLINDING_PUBKEY, amount)))
    second = _tx(chain, faucet.pay(Payment(SCRIPT, None, amount // 2)))
    assert first.txid() in {txin.prevout.hash for txin in second.vin}
    assert second.vout[0].explicit_value == amount // 2
    chain.mine()


def test_assets() -> None:
    chain, faucet = new_chain()
    asset, issued = faucet.issue(1_000)
    issuance = _tx(chain, issued).vin[0].issuance
    assert issuance is not None
    assert not issuance.tokens_field
    tx = _tx(chain, faucet.pay(Payment(SCRIPT, BLINDING_PUBKEY, 990, asset)))
    opening = unblind(tx.vout[0], BLINDING_KEY)
    assert (opening.asset, opening.satoshi) == (asset, 990)
    assert sum(txout.is_blinded for txout in tx.vout) == 2
    with pytest.raises(InsufficientFunds) as caught:
        faucet.pay(Payment(SCRIPT, BLINDING_PUBKEY, 11, asset))
    assert (caught.value.needed, caught.value.available) == (11, 10)
    faucet.pay(Payment(SCRIPT, BLINDING_PUBKEY, 10, asset))
    chain.mine()
    other, _ = faucet.issue(1)
    assert other != asset
    faucet.pay(Payment(SCRIPT, None, 1, other))


def test_many_outputs_in_one_transaction() -> None:
    chain, faucet = new_chain()
    asset, _ = faucet.issue(500)
    payments = [Payment(SCRIPT, BLINDING_PUBKEY, 100 + i) for i in range(5)]
    payments.append(Payment(SCRIPT, BLINDING_PUBKEY, 7, asset))
    tx = _tx(chain, faucet.pay_together(payments))
    amounts = [unblind(txout, BLINDING_KEY).satoshi for txout in tx.vout[:6]]
    assert amounts == [100, 101, 102, 103, 104, 7]


def test_each_in_a_transaction_of_its_own() -> None:
    chain, faucet = new_chain()
    payments = [Payment(p2wpkh(i.to_bytes(20, "big")), None, 1000 + i) for i in range(2 * SPLIT + 10)]
    txids = faucet.pay_each(payments)
    assert len(set(txids)) == len(payments)
    for payment, txid in zip(payments, txids, strict=True):
        assert _tx(chain, txid).vout[0].explicit_value == payment.satoshi
    assert chain.height >= 3


def test_payments_at_once_do_not_meet() -> None:
    chain, faucet = new_chain()
    errors: list[Amp0Error] = []

    def pay(number: int) -> None:
        try:
            faucet.pay(Payment(SCRIPT, None, 1000 + number))
        except Amp0Error as error:
            errors.append(error)

    threads = [threading.Thread(target=pay, args=(number,)) for number in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors
    assert len(chain.mempool) == 20


def test_coins_taken_by_somebody_else_are_passed_over() -> None:
    chain, faucet = new_chain()
    for number in range(3):
        chain.submit(spend([free_coin(chain, number)]))
    faucet.pay(Payment(SCRIPT, None, 5_000))
    chain.mine()


def test_after_a_reorganisation_the_faucet_still_pays() -> None:
    chain, faucet = new_chain()
    faucet.pay(Payment(SCRIPT, BLINDING_PUBKEY, 5_000))
    chain.mine()
    chain.reorg(2)
    assert chain.height == 0
    faucet.pay(Payment(SCRIPT, BLINDING_PUBKEY, 5_000))
    chain.mine()
    assert not len(chain.mempool)


def test_another_faucet_finds_the_coins_again() -> None:
    chain, faucet = new_chain()
    asset, _ = faucet.issue(300)
    faucet.pay(Payment(SCRIPT, BLINDING_PUBKEY, 100, asset))
    chain.mine()
    other = Faucet(chain, random=Random(b"other"))
    other.prepare()
    other.pay(Payment(SCRIPT, BLINDING_PUBKEY, 200, asset))
    with pytest.raises(InsufficientFunds):
        other.pay(Payment(SCRIPT, BLINDING_PUBKEY, 1, asset))


def test_a_line_of_payments_ends_before_relay_does() -> None:
    """One large coin, paid from again and again without a block: the faucet says what helps."""
    chain = Chain(clock=Clock())
    faucet = Faucet(chain, random=Random())
    for _ in range(MAX_DEPTH):
        faucet.pay(Payment(SCRIPT, None, 1_000))
    with pytest.raises(ChainError, match="mine one"):
        faucet.pay(Payment(SCRIPT, None, 1_000))
    chain.mine()
    faucet.pay(Payment(SCRIPT, None, 1_000))


@pytest.mark.parametrize("satoshi", [0, -1, MAX_SATOSHI + 1])
def test_amounts_out_of_range(satoshi: int) -> None:
    _, faucet = new_chain()
    with pytest.raises(InvalidInput):
        faucet.pay(Payment(SCRIPT, None, satoshi))
    with pytest.raises(InvalidInput):
        faucet.issue(satoshi)


def test_a_refused_payment_gives_its_coins_back() -> None:
    chain, faucet = new_chain()
    with pytest.raises(InvalidInput):
        faucet.pay_together([])
    with pytest.raises(BroadcastRejected, match="dust"):
        faucet.pay(Payment(SCRIPT, None, 1))
    with pytest.raises(InsufficientFunds):
        faucet.pay(Payment(SCRIPT, None, 1, b"\x09" * 32))
    with pytest.raises(InsufficientFunds):
        faucet.pay(Payment(SCRIPT, None, MAX_SATOSHI))
    everything = MAX_SATOSHI - 100_000
    faucet.pay(Payment(SCRIPT, BLINDING_PUBKEY, everything))
    chain.mine()
