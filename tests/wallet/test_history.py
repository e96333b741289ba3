"""The set of unspent coins, kept up to date step by step, against one computed afresh."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from amp0.chain.backend import UNCONFIRMED
from amp0.elements.confidential import Opening
from amp0.elements.hashes import Txid
from amp0.elements.transaction import OutPoint, Transaction, TxIn, TxOut
from amp0.wallet.history import Coin, History
from tests.chain.fake_explorer import LBTC, NETWORK, stranger_coin

BLINDED = TxOut(b"\x51", b"\x0a" + bytes(32), b"\x08" + bytes(32), b"\x02" + bytes(32))


@st.composite
def families(draw: st.DrawFn) -> list[Transaction]:
    """Transactions that spend from one another, some of them rivals for the same output."""
    txs: list[Transaction] = []
    outputs: list[OutPoint] = []
    for _ in range(draw(st.integers(1, 7))):
        spent = draw(st.lists(st.sampled_from(outputs), max_size=2, unique=True)) if outputs else []
        tx = Transaction.of(2, 0, [TxIn(stranger_coin()), *map(TxIn, spent)], [BLINDED] * draw(st.integers(1, 2)))
        txs.append(tx)
        outputs += [OutPoint(tx.txid(), vout) for vout in range(len(tx.vout))]
    return txs


def coins_of(tx: Transaction) -> list[Coin]:
    opening = Opening(LBTC, 7, b"\x01" * 32, b"\x01" * 32)
    return [Coin(OutPoint(tx.txid(), vout), txout, opening, 0, 1) for vout, txout in enumerate(tx.vout)]


@given(families(), st.data())
def test_unspent_follows_every_change(txs: list[Transaction], data: st.DataObject) -> None:
    history = History(NETWORK)
    present: dict[Txid, Transaction] = {}
    for _ in range(data.draw(st.integers(1, 20))):
        tx = data.draw(st.sampled_from(txs))
        if tx.txid() in present:
            gone = history.descendants([tx.txid()]) if data.draw(st.booleans()) else {tx.txid()}
            history.remove(gone)
            for txid in gone:
                del present[txid]
        else:
            history.add(tx, UNCONFIRMED, coins_of(tx))
            present[tx.txid()] = tx
        coins = {coin.outpoint for tx in present.values() for coin in coins_of(tx)}
        spends: dict[OutPoint, set[Txid]] = {}
        for txid, other in present.items():
            for txin in other.vin:
                spends.setdefault(txin.prevout, set()).add(txid)
        assert history.transactions == present
        assert history.statuses.keys() == present.keys()
        assert history.coins.keys() == coins
        assert history.unspent.keys() == coins - spends.keys()
        assert history.balance() == ({LBTC: 7 * len(coins - spends.keys())} if coins - spends.keys() else {})
        for outpoint in coins | spends.keys():
            spender = history.spender(outpoint)
            assert spender in spends[outpoint] if outpoint in spends else spender is None
        assert {utxo.outpoint() for utxo in history.utxos()} == coins - spends.keys()
        assert len(history.wallet_txs()) == len(present)
