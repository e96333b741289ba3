"""The ledger on each kind of database, and what its statements cost there."""

from __future__ import annotations

import random
from typing import Any

import sqlalchemy as sa

from amp0.server.ledger import blacklist, past, views
from amp0.server.ledger.past import Page
from amp0.server.store.engine import Store
from tests.server.test_plans import gathered, scans

from .scene import ASSET, POLICY, STRANGER, TREASURY, AssetOf, Ledger, Out, make
from .test_properties import Model


def test_a_story_and_every_view_on_each_database(database_url: str) -> None:
    model = Model(random.Random(7), Ledger(Store.open(database_url)))
    for _ in range(40):
        model.step()
    model.check()
    asset = AssetOf()
    with model.ledger.store.transaction() as db:
        coins = views.utxos(db, asset)
        assert coins
        assert views.utxos(db, asset, [coins[0].outpoint])[0].outpoint == coins[0].outpoint
        assert blacklist.add(db, 1, coins[0].outpoint, 5)
        assert isinstance(blacklist.satoshi(db, asset), int)
        for row in views.ownerships(db, asset):
            assert type(row.satoshi) is int
        for column in ("blockheight", "datetime", "txid", "type", "amount", "vout"):
            assert len(past.activities(db, asset, Page(start=1, count=2, column=column, descending=True))) == 2
        moved = past.transactions(db, asset, Page(start=1))
        assert past.transaction(db, asset, moved[0].txid) == moved[0]
        assert views.treasury(db, asset, minimum_confirmations=0) >= views.treasury(db, asset, minimum_confirmations=2)
        assert views.gaid_balance(db, 1, [1])[1] >= 0
        for is_token in (False, True):
            views.lost_outputs(db, asset, is_token, tip_height=model.ledger.height, now=model.ledger.now, grace=0)
    model.ledger.store.close()


def test_no_statement_of_the_ledger_reads_a_table_from_end_to_end() -> None:
    with gathered() as statements:
        model = Model(random.Random(11))
        for _ in range(60):
            model.step()
        ledger, asset = model.ledger, AssetOf()
        with ledger.store.transaction() as db:
            coins = views.utxos(db, asset)
            blacklist.add(db, 1, coins[0].outpoint, 5)
            blacklist.satoshi(db, asset)
            views.ownerships(db, asset)
            views.ownerships(db, asset, 3)
            views.treasury(db, asset)
            views.gaid_balance(db, 1, [1])
            past.activities(db, asset, Page())
            past.transactions(db, asset, Page())
            for is_token in (False, True):
                views.lost_outputs(db, asset, is_token, tip_height=ledger.height, now=ledger.now, grace=0)
        assert len(statements) > 20
        # The model's own questions are no server's.
        own = {text: values for text, values in statements.items() if "ORDER BY asset_outputs.txid" not in text}
    assert scans(own) == []


def test_a_block_of_strangers_costs_two_questions() -> None:
    """However many transactions it has, as long as they fit into one list of values."""
    ledger = Ledger()
    ledger.mine(ledger.issuance)
    strangers = [make([], [Out(STRANGER, 5, POLICY), Out(STRANGER, 6, POLICY)]) for _ in range(100)]
    asked: list[str] = []

    def note(_connection: Any, _cursor: Any, statement: str, *_rest: Any) -> None:
        if statement.startswith("SELECT"):
            asked.append(statement)

    sa.event.listen(ledger.store.engine, "before_cursor_execute", note)
    try:
        ledger.mine(*strangers)
        assert len(asked) == 2, asked
        asked.clear()
        ledger.mine(make([], [Out(STRANGER, 5, b"\x55" * 32, explicit=True)]))
        assert len(asked) == 3, "an asset that is named in the open may be managed"
    finally:
        sa.event.remove(ledger.store.engine, "before_cursor_execute", note)
    made = make([ledger.issuance.at(0)], [Out(TREASURY, 1_000, ASSET)])
    ledger.mine(made)
    assert ledger.state(made) == 1
