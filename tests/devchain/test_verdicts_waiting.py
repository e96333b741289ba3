"""Our mempool takes, replaces and refuses what an Elements node's does."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from amp0.devchain.blocks import OP_TRUE, POLICY_ASSET
from amp0.elements.confidential import PlainOutput
from amp0.elements.transaction import Transaction, TxOut
from tests.devchain.judges import KINDS, VALUE, Coin, Judges, coins_of, judges_of, to_all
from tests.devchain.kit import spend

REPLACEABLE, FINAL = 0xFFFFFFFD, 0xFFFFFFFE


@pytest.fixture(params=KINDS)
def judges(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Judges]:
    with judges_of(request.param, tmp_path) as found:
        yield found


def _spend(coins: Sequence[Coin], fee: int, sequence: int = FINAL, split: int = 1) -> Transaction:
    total = sum(txout.explicit_value or 0 for _, txout in coins)
    outputs = [TxOut.explicit(OP_TRUE, POLICY_ASSET, total // split - fee)] * (split - 1)
    return spend(list(coins), fee=fee, sequence=sequence, outputs=outputs)


def _hidden(judges: Judges, coin: Coin, fee: int, sequence: int = REPLACEABLE) -> Transaction:
    outputs = [to_all(5_000), to_all(VALUE - 5_000 - fee), PlainOutput(b"", POLICY_ASSET, fee)]
    return judges.build([coin], outputs, sequence=sequence)


def _relay(tx: Transaction) -> int:
    return -(-tx.vsize() // 10)


def test_what_signals_is_replaced(judges: Judges) -> None:
    coin, other = judges.plain(), judges.plain()
    old = judges.enter("old", _spend([coin], 100, REPLACEABLE), True)
    judges.enter("the same", old, True)
    judges.enter("the same fee", _spend([coin], 100, FINAL), False)
    judges.enter("one less than relay", _spend([coin], 100 + _relay(old) - 1, FINAL), False)
    new = judges.enter("enough", _spend([coin], 100 + _relay(old), FINAL), True)
    judges.enter("the new one does not signal", _spend([coin], 50_000, REPLACEABLE), False)
    judges.enter("with its own child", _spend([coin, coins_of(new)[0]], 50_000), False)
    # The rate is that of the whole: more satoshi in a larger transaction are less.
    judges.enter("small", _spend([other], 100, REPLACEABLE), True)
    large = _spend([other, judges.plain(), judges.plain(), judges.plain(), judges.plain()], 150)
    judges.enter("large", large, False)


def test_what_an_ancestor_signals_does_not_count(judges: Judges) -> None:
    """Our mempool let a replaceable parent's child be replaced, as BIP125 says; nodes never did."""
    parent = judges.enter("parent", _spend([judges.plain()], 100, REPLACEABLE), True)
    judges.enter("child", _spend([coins_of(parent)[0]], 100), True)
    judges.enter("another child", _spend([coins_of(parent)[0]], 5_000), False)


def test_replacing_hidden_amounts_costs_their_whole_size(judges: Judges) -> None:
    """The discount is for the least fee only; our mempool gave it to replacements too, and took fees that a node
    finds too small."""
    coin = judges.plain()
    old = judges.enter("old", _hidden(judges, coin, 100), True)
    assert old.vsize() > 8 * old.discount_vsize()
    judges.enter("the discounted size", _hidden(judges, coin, 100 + -(-old.discount_vsize() // 10)), False)
    judges.enter("one less", _hidden(judges, coin, 99 + _relay(old)), False)
    judges.enter("enough", _hidden(judges, coin, 100 + _relay(old)), True)


def test_what_a_replacement_may_spend(judges: Judges) -> None:
    coin, waiting = judges.plain(), judges.enter("waiting", _spend([judges.plain()], 100, split=2), True)
    judges.enter("old", _spend([coin], 100, REPLACEABLE), True)
    judges.enter("unconfirmed", _spend([coin, coins_of(waiting)[0]], 50_000), False)
    judges.enter("confirmed", _spend([coin, judges.plain()], 50_000), True)
    parent = judges.enter("parent", _spend([judges.plain()], 100, REPLACEABLE, split=2), True)
    one = judges.enter("child", _spend([coins_of(parent)[0]], 100, REPLACEABLE, split=2), True)
    judges.enter("grandchild", _spend([coins_of(one)[0], judges.plain()], 100), True)
    judges.enter("the fees of all", _spend([coins_of(parent)[0]], 200), False)
    judges.enter("and more", _spend([coins_of(parent)[0], coins_of(parent)[1]], 5_000), True)


def test_a_hundred_are_replaced_at_once(judges: Judges) -> None:
    coins = []
    for _ in range(5):
        tx = judges.enter("parent", _spend([judges.plain()], 400, REPLACEABLE, split=20), True)
        coins.append(tx.vin[0].prevout)
        for coin in coins_of(tx)[:20]:
            judges.enter("child", _spend([coin], 100), True)
    entries = [judges.chain.coin(one) for one in coins]
    assert entries == [None] * 5
    given = [(one, TxOut.explicit(OP_TRUE, POLICY_ASSET, VALUE)) for one in coins]
    judges.enter("105", _spend(given, 500_000), False)
    judges.enter("84", _spend(given[:4], 500_000), True)


def test_chains_of_25(judges: Judges) -> None:
    coin = judges.plain()
    parent = judges.enter("first", _spend([coin], 100, split=2), True)
    coin, side = coins_of(parent)[:2]
    for number in range(2, 26):
        coin = coins_of(judges.enter(f"{number}", _spend([coin], 100), True))[0]
    judges.enter("one too many", _spend([coin], 100), False)
    # A single parent may have one small child more than its chain allows.
    extra = judges.enter("the carve-out", _spend([side], 100, REPLACEABLE), True)
    judges.enter("after it", _spend([coins_of(extra)[0]], 100), False)
    judges.enter("instead of it", _spend([side], 1_000), True)
    judges.mine()
    judges.enter("confirmed", _spend([coin], 100), True)


def test_chains_of_101_000_bytes(judges: Judges) -> None:
    """Hidden amounts count in full: our mempool counted them at a tenth, and let chains grow that no node takes."""
    coin = judges.plain()
    left, size = VALUE, 0
    for number in range(25):
        left -= 200
        outputs = [to_all(left), *[to_all(1)] * 8, PlainOutput(b"", POLICY_ASSET, 192)]
        tx = judges.build([coin], outputs)
        size += tx.vsize()
        judges.enter(f"{number}: {size}", tx, size <= 101_000)
        if size > 101_000:
            break
        coin = coins_of(tx)[0]
    assert size > 101_000


def test_a_large_child_of_many_siblings(judges: Judges) -> None:
    """What hangs on one parent is bounded too; a child of up to 10,000 bytes may exceed it."""
    outputs = [to_all(30_000)] * 12 + [to_all(VALUE - 360_000 - 2_000), PlainOutput(b"", POLICY_ASSET, 2_000)]
    parent = judges.enter("parent", judges.build([judges.plain()], outputs), True)
    size = parent.vsize()
    for number, coin in enumerate(coins_of(parent)[:12]):
        each = [to_all(27_000 // 9)] * 9 + [PlainOutput(b"", POLICY_ASSET, 3_000)]
        tx = judges.build([coin], each)
        fits = size + tx.vsize() <= 101_000
        judges.enter(f"{number}: {size}", tx, fits)
        if not fits:
            break
        size += tx.vsize()
    else:
        pytest.fail("all of it fits")
    last = [to_all(29_000), PlainOutput(b"", POLICY_ASSET, 1_000)]
    judges.enter("small", judges.build([coins_of(parent)[11]], last), True)
    judges.enter("large", judges.build([coins_of(parent)[10]], each), False)
