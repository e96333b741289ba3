"""The chain: mempool, mining, reorganisations, and what a block from elsewhere must satisfy."""

from __future__ import annotations

import itertools
import threading
from dataclasses import replace

import pytest

from amp0.devchain import chain as chain_module
from amp0.devchain.blocks import OP_TRUE, POLICY_ASSET, Block, build_block
from amp0.devchain.chain import MAX_FUTURE, Chain
from amp0.devchain.faucet import Payment
from amp0.elements.confidential import PlainOutput
from amp0.elements.hashes import BlockHash, Txid
from amp0.elements.script import hash160, p2pkh, p2wpkh
from amp0.elements.sighash import SighashCache, sign
from amp0.elements.transaction import COINBASE_INDEX, OutPoint, Transaction, TxIn, TxOut
from amp0.errors import BroadcastRejected, ChainError, InvalidBlock, InvalidInput
from tests.devchain.kit import (
    BLINDING_PUBKEY,
    BLOCKS,
    KEY,
    PUBKEY,
    Clock,
    blinded_spend,
    free_coin,
    new_chain,
    output,
    spend,
    state,
)

SCRIPT = p2wpkh(b"\x33" * 20)


def _reason(chain: Chain, tx: Transaction) -> str:
    with pytest.raises(BroadcastRejected) as caught:
        chain.submit(tx)
    return caught.value.reason


# -- mempool -----------------------------------------------------------------------------------


def test_a_transaction_waits_and_is_mined() -> None:
    chain, _ = new_chain()
    tx = spend([free_coin(chain)])
    assert chain.submit(tx) == tx.txid()
    assert chain.submit(tx) == tx.txid(), "a second time is fine, as with a node"
    assert tx.txid() in chain.mempool
    (block_hash,) = chain.mine()
    block = chain.block(block_hash)
    assert block is not None
    assert block.txids[1:] == (tx.txid(),)
    assert not len(chain.mempool)
    entry = chain.entry(tx.txid())
    assert entry is not None
    assert (entry.height, entry.position, entry.fee) == (2, 1, 100)
    assert _reason(chain, tx) == "Transaction already in block chain"


def test_fees_go_to_the_miner_and_the_block_holds_for_a_node() -> None:
    chain, _ = new_chain()
    chain.submit(spend([free_coin(chain)], fee=123))
    chain.mine(script=SCRIPT)
    other = Chain(clock=Clock())
    for height in (1, 2):
        block = chain.block_at(height)
        assert block is not None
        other.submit_block(block.block.serialize(), block.hash)
    assert other.tip.hash == chain.tip.hash
    reward = chain.tip.block.transactions[0].vout[0]
    assert (reward.explicit_value, reward.script) == (123, SCRIPT)


def test_children_of_unconfirmed_parents_are_mined_behind_them() -> None:
    chain, _ = new_chain()
    first = spend([free_coin(chain)])
    chain.submit(first)
    second = spend([(OutPoint(first.txid(), 0), first.vout[0])])
    chain.submit(second)
    chain.mine()
    assert chain.tip.txids[1:] == (first.txid(), second.txid())


def test_reasons_are_the_nodes() -> None:
    chain, _ = new_chain()
    coin = free_coin(chain)
    unknown = (OutPoint(b"\x05" * 32, 0), coin[1])
    assert _reason(chain, spend([unknown])) == "bad-txns-inputs-missingorspent"
    assert _reason(chain, spend([coin], fee=1)).startswith("min relay fee not met, 1 < ")
    assert _reason(chain, spend([coin], fee=0)).startswith("min relay fee not met, 0 < ")
    assert _reason(chain, spend([coin], locktime=2, sequence=5)) == "non-final"
    assert _reason(chain, spend([coin], sequence=500)) == "non-BIP68-final"
    tiny = TxOut.explicit(SCRIPT, POLICY_ASSET, 5)
    assert _reason(chain, spend([coin], outputs=[tiny])) == "dust"
    wrong = replace(coin[1], value_field=TxOut.explicit(b"", POLICY_ASSET, 7000).value_field)
    assert _reason(chain, spend([(coin[0], wrong)])).startswith("bad-txns-in-ne-out")
    assert _reason(chain, chain.tip.block.transactions[0].replace_input(0, sequence_number=3)) == "coinbase"
    pegin = spend([coin]).replace_input(0, is_pegin=True)
    assert "pegin" in _reason(chain, pegin)
    assert not len(chain.mempool)


def test_a_fee_output_cannot_be_spent() -> None:
    chain, _ = new_chain()
    first = spend([free_coin(chain)])
    chain.submit(first)
    fee = (OutPoint(first.txid(), 1), replace(first.vout[1], script=OP_TRUE))
    assert _reason(chain, spend([fee], fee=50)) == "bad-txns-inputs-missingorspent"
    chain.mine()
    assert _reason(chain, spend([fee], fee=50)) == "bad-txns-inputs-missingorspent"


def test_a_bad_proof_never_enters() -> None:
    chain, _ = new_chain()
    outputs = [
        PlainOutput(SCRIPT, POLICY_ASSET, 5000, BLINDING_PUBKEY),
        PlainOutput(OP_TRUE, POLICY_ASSET, 10**12 - 5100, BLINDING_PUBKEY),
        PlainOutput(b"", POLICY_ASSET, 100),
    ]
    tx = blinded_spend([free_coin(chain)], outputs)
    proof = tx.vout[0].range_proof
    bad = replace(tx.vout[0], range_proof=proof[:99] + bytes((proof[99] ^ 4,)) + proof[100:])
    tampered = Transaction.of(2, 0, tx.vin, (bad, *tx.vout[1:]))
    assert _reason(chain, tampered).startswith("bad-txns-in-ne-out")
    assert tampered.txid() == tx.txid()
    chain.submit(tx)
    chain.mine()


def test_a_double_spend_is_refused() -> None:
    chain, _ = new_chain()
    coin = free_coin(chain)
    chain.submit(spend([coin]))
    assert _reason(chain, spend([coin], fee=5000)) == "txn-mempool-conflict"
    chain.mine()
    assert _reason(chain, spend([coin], fee=5000)) == "bad-txns-inputs-missingorspent"


def test_a_replaceable_transaction_gives_way_to_a_higher_fee() -> None:
    chain, _ = new_chain()
    coin = free_coin(chain)
    first = spend([coin], sequence=0xFFFFFFFD, fee=100)
    chain.submit(first)
    child = spend([(OutPoint(first.txid(), 0), first.vout[0])], fee=40)
    chain.submit(child)
    assert _reason(chain, spend([coin], fee=100, version=1)).startswith("insufficient fee")
    assert _reason(chain, spend([coin], fee=141)).startswith("insufficient fee")
    better = spend([coin], fee=200)
    chain.submit(better)
    assert list(chain.mempool.entries) == [better.txid()]
    assert chain.entry(first.txid()) is None
    assert chain.entry(child.txid()) is None
    assert chain.spender(coin[0]) == (better.txid(), 0)
    assert _reason(chain, first) == "txn-mempool-conflict"


def test_a_replacement_may_not_lean_on_what_it_replaces_or_on_news() -> None:
    chain, _ = new_chain()
    coin, second = free_coin(chain), free_coin(chain, 1)
    first = spend([coin], sequence=0)
    chain.submit(first)
    own_child = (OutPoint(first.txid(), 0), first.vout[0])
    assert _reason(chain, spend([coin, own_child], fee=900)) == "bad-txns-spends-conflicting-tx"
    news = spend([second])
    chain.submit(news)
    unconfirmed = (OutPoint(news.txid(), 0), news.vout[0])
    assert _reason(chain, spend([coin, unconfirmed], fee=900)) == "replacement-adds-unconfirmed"


def test_a_chain_of_unconfirmed_transactions_ends_at_25() -> None:
    chain, _ = new_chain()
    coin = free_coin(chain)
    for _ in range(25):
        tx = spend([coin])
        chain.submit(tx)
        coin = (OutPoint(tx.txid(), 0), tx.vout[0])
    assert _reason(chain, spend([coin])).startswith("too-long-mempool-chain")
    chain.mine()
    chain.submit(spend([coin]))


def test_a_family_of_25_is_full() -> None:
    chain, _ = new_chain()
    outputs = [TxOut.explicit(OP_TRUE, POLICY_ASSET, 10_000) for _ in range(30)]
    parent = spend([free_coin(chain)], outputs=outputs, fee=500)
    chain.submit(parent)
    for vout in range(24):
        chain.submit(spend([(OutPoint(parent.txid(), vout), outputs[vout])]))
    # One more is let in, as by a node, if it hangs on nothing else that waits.
    chain.submit(spend([(OutPoint(parent.txid(), 24), outputs[24])]))
    assert "too many descendants" in _reason(chain, spend([(OutPoint(parent.txid(), 25), outputs[25])]))


def test_the_same_transaction_from_many_threads_enters_once() -> None:
    chain, _ = new_chain()
    tx, rival = spend([free_coin(chain)]), spend([free_coin(chain)], fee=101)
    heard: list[str] = []
    stop = chain.on_change(heard.append)
    outcomes: list[object] = []

    def send(mine: Transaction) -> None:
        try:
            outcomes.append(chain.submit(mine))
        except BroadcastRejected as refused:
            outcomes.append(refused.reason)

    threads = [threading.Thread(target=send, args=(each,)) for each in [tx, rival] * 4]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    stop()
    assert len(chain.mempool) == 1
    assert heard == ["mempool"]
    (winner,) = chain.mempool.entries
    assert outcomes.count(winner) == 4
    assert outcomes.count("txn-mempool-conflict") == 4


# -- blocks ------------------------------------------------------------------------------------


def test_time_follows_the_clock_and_never_runs_away() -> None:
    clock = Clock()
    chain, _ = new_chain(clock)
    assert chain.tip.time == clock.now
    chain.mine(30)
    times = [chain.block_at(height).time for height in range(1, 32)]  # type: ignore[union-attr]
    assert all(later >= earlier for earlier, later in itertools.pairwise(times))
    assert times[-1] - clock.now < 10
    for height in range(2, 32):
        block, before = chain.block_at(height), chain.block_at(height - 1)
        assert block is not None
        assert before is not None
        assert block.time > before.median_time
    clock.now += 1000
    chain.mine()
    assert chain.tip.time == clock.now
    clock.now -= MAX_FUTURE + 2000
    with pytest.raises(ChainError, match="clock"):
        chain.mine()


def test_a_block_takes_what_fits_and_leaves_no_orphans(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chain_module, "MAX_BLOCK_WEIGHT", 105_000)
    chain, _ = new_chain()
    chain.mine()
    big = [TxOut.explicit(p2wpkh(bytes(20)), POLICY_ASSET, 10_000) for _ in range(120)]
    for number in range(4):
        last = spend([free_coin(chain, number)], outputs=big, fee=1_000)
        chain.submit(last)
    child = spend([(OutPoint(last.txid(), 120), last.vout[120])])
    chain.submit(child)
    (tip,) = chain.mine()
    block = chain.block(tip)
    assert block is not None
    assert 90_000 < block.block.weight() <= 105_000
    assert len(block.txids) == 4
    assert list(chain.mempool.entries) == [last.txid(), child.txid()], "no child without its parent"
    chain.mine()
    assert chain.tip.txids[1:] == (last.txid(), child.txid())


@pytest.mark.parametrize("blocks", [-1, 10_001])
def test_strange_numbers_of_blocks(blocks: int) -> None:
    chain, _ = new_chain()
    with pytest.raises(InvalidInput):
        chain.mine(blocks)
    with pytest.raises(InvalidInput):
        chain.reorg(1, blocks=blocks)


def _on_top(chain: Chain, transactions: list[Transaction], *, fees: int = 0) -> bytes:
    return build_block(chain.tip.hash, chain.height + 1, chain.tip.median_time + 1, transactions, fees=fees).serialize()


def test_a_foreign_block_is_validated_completely() -> None:
    chain, _ = new_chain()
    coin = free_coin(chain)
    good = spend([coin])
    unsigned = spend([(coin[0], coin[1])])
    cases = {
        "bad-cb-amount": _on_top(chain, [good], fees=101),
        "bad-txns-inputs-missingorspent": _on_top(chain, [good, spend([coin], fee=77)], fees=177),
        "non-final": _on_top(chain, [spend([coin], sequence=1, locktime=50)], fees=100),
        "non-BIP68-final": _on_top(chain, [spend([coin], sequence=50)], fees=100),
        "bad-txns-in-ne-out": _on_top(
            chain, [Transaction.of(2, 0, unsigned.vin, [*unsigned.vout, unsigned.vout[1]])], fees=200
        ),
        "prev-blk-not-found": build_block(BlockHash(b"\x09" * 32), 2, chain.tip.time + 1, [], fees=0).serialize(),
        "bad-header-height": build_block(chain.tip.hash, 3, chain.tip.time + 1, [], fees=0).serialize(),
        "duplicate": chain.tip.block.serialize(),
    }
    for reason, raw in cases.items():
        with pytest.raises(InvalidBlock, match=reason):
            chain.submit_block(raw)
        assert chain.height == 1
    chain.submit_block(_on_top(chain, [good], fees=100))
    with pytest.raises(InvalidBlock, match="missingorspent"):
        chain.submit_block(_on_top(chain, [spend([coin], fee=55)], fees=55))
    with pytest.raises(InvalidBlock, match="BIP30"):
        chain.submit_block(_on_top(chain, [good], fees=100))


def test_a_coinbase_may_take_less_than_the_fees() -> None:
    chain, _ = new_chain()
    chain.submit_block(_on_top(chain, [spend([free_coin(chain)])], fees=60))


def test_an_immature_coinbase_cannot_be_spent() -> None:
    chain, _ = new_chain()
    coinbase = chain.tip.block.transactions[0]
    coin = (OutPoint(coinbase.txid(), 0), coinbase.vout[0])
    tx = spend([coin], fee=50)
    assert _reason(chain, tx) == "bad-txns-premature-spend-of-coinbase"
    chain.mine(98)
    assert _reason(chain, tx) == "bad-txns-premature-spend-of-coinbase"
    chain.mine(1)
    chain.submit(tx)


def test_a_foreign_block_wins_over_the_mempool() -> None:
    chain, _ = new_chain()
    coin = free_coin(chain)
    ours = spend([coin], fee=50)
    chain.submit(ours)
    child = spend([(OutPoint(ours.txid(), 0), ours.vout[0])], fee=50)
    chain.submit(child)
    theirs = spend([coin], fee=51)
    chain.submit_block(_on_top(chain, [theirs], fees=51))
    assert not len(chain.mempool)
    assert chain.entry(ours.txid()) is None
    assert chain.entry(theirs.txid()) is not None


def test_the_blocks_witness_counts() -> None:
    """One transaction signed twice: in the mempool with one hash type, in the block with another."""
    chain, faucet = new_chain()
    script = p2wpkh(hash160(PUBKEY))
    outpoint, txout = output(chain, faucet.pay(Payment(script, None, 9_000)))

    def signed(kind: int) -> Transaction:
        tx = spend([(outpoint, txout)])
        digest = SighashCache(tx).segwit_v0(0, p2pkh(hash160(PUBKEY)), txout.value_field, kind)
        return tx.replace_input(0, witness=(sign(KEY, digest, kind), PUBKEY))

    ours, theirs = signed(1), signed(0x81)
    assert ours.txid() == theirs.txid()
    chain.submit(ours)
    parent = chain.mempool.entries[outpoint.hash].tx
    chain.submit_block(_on_top(chain, [parent, theirs], fees=parent.fee() + 100))
    entry = chain.entry(ours.txid())
    assert entry is not None
    assert entry.tx.to_bytes() == theirs.to_bytes()
    chain.reorg(1)
    chain.mine()
    assert chain.tip.block.transactions[2].to_bytes() == theirs.to_bytes()


def test_a_null_input_below_the_coinbase_is_refused() -> None:
    chain, _ = new_chain()
    null = Transaction.of(
        2, 0, [TxIn(OutPoint(bytes(32), COINBASE_INDEX), b"\x52\x51")], [TxOut.explicit(b"\x6a", POLICY_ASSET, 0)]
    )
    with pytest.raises(InvalidBlock, match="bad-cb-multiple"):
        chain.submit_block(_on_top(chain, [null]))


# -- reorganisation ----------------------------------------------------------------------------


def test_transactions_return_to_the_mempool_in_order() -> None:
    chain, _ = new_chain()
    first = spend([free_coin(chain)])
    chain.submit(first)
    chain.mine()
    second = spend([(OutPoint(first.txid(), 0), first.vout[0])])
    chain.submit(second)
    chain.mine()
    third = spend([(OutPoint(second.txid(), 0), second.vout[0])])
    chain.submit(third)
    left = chain.reorg(2)
    assert len(left) == 2
    assert list(chain.mempool.entries) == [first.txid(), second.txid(), third.txid()]
    assert chain.height == 1
    assert chain.block(left[0]) is not None
    assert not chain.is_connected(left[0])
    chain.mine(2)
    assert chain.block_at(2).hash != left[1]  # type: ignore[union-attr]
    assert not len(chain.mempool)


def test_a_reorganisation_and_back_leaves_no_trace() -> None:
    """The node's 32 blocks, taken off and put on again, give the same coins, index and entries."""
    chain = Chain(clock=Clock())
    raws = [bytes.fromhex(block["raw"]) for block in BLOCKS[1:]]
    for raw in raws:
        chain.submit_block(raw)
    before = state(chain)
    chain.reorg(32)
    assert chain.height == 0
    assert len(chain.mempool) > 10
    for raw in raws:
        chain.submit_block(raw)
    assert state(chain) == before


def test_the_tip_never_gets_lower_for_those_who_look() -> None:
    chain, _ = new_chain()
    chain.mine(5)
    tx = spend([free_coin(chain)])
    chain.submit(tx)
    chain.mine()
    heights: list[int] = []
    chain.on_change(lambda _: heights.append(chain.height))
    left = chain.reorg(3, blocks=4)
    assert heights == [8]
    assert len(left) == 3
    assert list(chain.mempool.entries) == [tx.txid()]
    assert all(len(chain.block_at(h).txids) == 1 for h in (5, 6, 7, 8))  # type: ignore[union-attr]


def test_a_spend_of_a_vanished_coinbase_is_dropped() -> None:
    chain, _ = new_chain()
    coinbase = chain.tip.block.transactions[0]
    chain.mine(99)
    tx = spend([(OutPoint(coinbase.txid(), 0), coinbase.vout[0])], fee=50)
    chain.submit(tx)
    chain.reorg(1)
    assert chain.entry(tx.txid()) is None, "it is immature again"
    assert not len(chain.mempool)


@pytest.mark.parametrize("depth", [-1, 2, 10**9])
def test_strange_depths(depth: int) -> None:
    chain, _ = new_chain()
    with pytest.raises(InvalidInput):
        chain.reorg(depth)
    assert chain.reorg(0) == []


def test_replacement_blocks_differ_at_the_same_second() -> None:
    chain, _ = new_chain()
    chain.mine(1)
    first = chain.tip.hash
    chain.reorg(1)
    chain.mine(1)
    assert chain.tip.hash != first
    Block.parse(chain.tip.block.serialize())


# -- index -------------------------------------------------------------------------------------


def test_the_index_follows_funding_and_spending() -> None:
    chain, faucet = new_chain()
    txid = faucet.pay(Payment(OP_TRUE + b"", None, 50_000))
    faucet_output = output(chain, txid)
    own = p2wpkh(b"\x44" * 20)
    paid = faucet.pay(Payment(own, None, 7_000))
    record = chain.script(own)
    assert record is not None
    assert list(record.mempool) == [paid]
    assert not record.confirmed
    chain.mine()
    assert chain.script(own) is record
    assert [(height, txid) for height, _, txid in record.confirmed] == [(2, paid)]
    assert not record.mempool
    assert list(record.funded) == [OutPoint(paid, 0)]
    assert chain.spender(OutPoint(paid, 0)) is None
    assert chain.coin(OutPoint(paid, 0)) is not None
    assert faucet_output[1].explicit_value == 50_000
    chain.reorg(1)
    assert list(record.mempool) == [paid] or list(chain.script(own).mempool) == [paid]  # type: ignore[union-attr]


def test_unknown_things_are_none() -> None:
    chain = Chain(clock=Clock())
    nothing = Txid(b"\x01" * 32)
    assert chain.entry(nothing) is None
    assert chain.block(BlockHash(b"\x01" * 32)) is None
    assert chain.block_at(1) is None
    assert chain.block_at(-1) is None
    assert chain.script(b"\x01") is None
    assert chain.coin(OutPoint(nothing, 0)) is None
