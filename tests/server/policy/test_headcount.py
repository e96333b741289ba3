"""How many holders an asset has: the number that the database keeps is what counting gives, whatever happens."""

from __future__ import annotations

import random
from collections.abc import Collection
from pathlib import Path

import pytest
import sqlalchemy as sa
from sqlalchemy.engine import Connection

from amp0.server import chainindex
from amp0.server.ledger.units import CONFIRMED, GONE, MEMPOOL, PROMISED, Unit
from amp0.server.policy import headcount, lookups
from amp0.server.store import asset_schema as tables
from amp0.server.store import migrations
from amp0.server.store.engine import Store
from tests.server.cosigning import Account
from tests.server.policy.market import Managed, Market
from tests.server.policy.test_limits import pay, spendable
from tests.server.store.test_migrations import at_revision

OUT, GAIDS, USERS = tables.asset_outputs, tables.user_gaids, tables.registered_users
TXIDS = [bytes((number,)) * 32 for number in range(1, 13)]


def counted(db: Connection, asset: Managed, without: Collection[bytes] = ()) -> int:
    """The full count, one output after the other."""
    held = sa.and_(
        OUT.c.asset == asset.row, OUT.c.is_token == 0, OUT.c.account_id.is_not(None), OUT.c.state != GONE,
        sa.or_(OUT.c.satoshi.is_(None), OUT.c.satoshi > 0),
        sa.or_(OUT.c.spent_state.is_(None), OUT.c.spent_state != CONFIRMED), OUT.c.txid.not_in(without),
    )  # fmt: skip
    alive = {row.id for row in db.execute(sa.select(USERS).where(USERS.c.deleted_at.is_(None)))}
    owners = {
        row.account_id: row.user_id
        for row in db.execute(sa.select(GAIDS).where(GAIDS.c.issuer_id == asset.issuer))
        if row.user_id in alive
    }
    accounts = db.execute(sa.select(OUT.c.account_id).where(held)).scalars()
    return len({("user", owners[one]) if one in owners else ("account", one) for one in accounts})


class Chaos:
    """Whatever may be written into the tables that the count comes from, in any order."""

    def __init__(self, market: Market, seed: int) -> None:
        self.random = random.Random(seed)
        self.assets = [market.asset("one"), market.asset("two"), market.asset("other's", issuer=market.issuer("bank"))]
        self.accounts = [market.holder(f"account {number}", user=False).id for number in range(5)]
        self.users = [market.user(f"user {number}") for number in range(2)] + [market.user("bank's", issuer=2)]
        self.moves = (self.pay, self.pay, self.pay, self.change, self.change, self.open, self.take_away, self.register,
                      self.give_back, self.move, self.delete_user, self.bring_back_user)  # fmt: skip

    def step(self, db: Connection) -> None:
        self.random.choice(self.moves)(db)

    def pay(self, db: Connection) -> None:
        pick, txid = self.random.choice, self.random.choice(TXIDS)
        rows = [
            {
                "txid": txid, "vout": vout, "asset": asset.row, "is_token": pick((0, 0, 0, 1)),
                "satoshi": (amount := pick((None, 0, 5, 7))), "account_id": pick((*self.accounts, None)), "pointer": 1,
                "is_burnt": 0, "state": (state := pick((MEMPOOL, CONFIRMED, GONE, PROMISED))),
                "height": 5 if state == CONFIRMED else None, "acquired_at": 0, "script_pubkey": b"",
                "abf": None if amount is None else bytes(32), "vbf": None if amount is None else bytes(32),
                "spent_state": (spent := pick((None, None, MEMPOOL, CONFIRMED, PROMISED))),
                "spent_by": None if spent is None else bytes(32),
            }
            for vout in range(pick((1, 3))) for asset in self.assets
        ]  # fmt: skip
        db.execute(OUT.delete().where(OUT.c.txid == txid))
        db.execute(OUT.insert(), rows)

    def change(self, db: Connection) -> None:
        """A transaction, or what it spends, goes from one state to another: all its rows in one statement."""
        state, here = self.random.choice((MEMPOOL, CONFIRMED, GONE, PROMISED)), OUT.c.txid == self.random.choice(TXIDS)
        spent = self.random.choice((None, MEMPOOL, CONFIRMED, PROMISED))
        if self.random.random() < 0.5:
            db.execute(OUT.update().where(here).values(state=state, height=5 if state == CONFIRMED else None))
        else:
            by = None if spent is None else bytes(32)
            db.execute(OUT.update().where(here).values(spent_state=spent, spent_by=by))

    def open(self, db: Connection) -> None:
        here = (OUT.c.txid == self.random.choice(TXIDS)) & OUT.c.satoshi.is_(None)
        db.execute(OUT.update().where(here).values(satoshi=self.random.choice((0, 9)), abf=bytes(32), vbf=bytes(32)))

    def take_away(self, db: Connection) -> None:
        db.execute(OUT.delete().where(OUT.c.txid == self.random.choice(TXIDS), OUT.c.vout < 2))

    def register(self, db: Connection) -> None:
        """Somebody, or several of them at once, as whoever loads a register would do it."""
        issuer = self.random.choice((1, 2))
        taken = set(db.execute(sa.select(GAIDS.c.account_id).where(GAIDS.c.issuer_id == issuer)).scalars())
        new = [account for account in self.accounts if account not in taken]
        users = self.users[:2] if issuer == 1 else self.users[2:]
        rows = [
            {"issuer_id": issuer, "account_id": account, "user_id": self.random.choice(users), "is_default": 0,
             "added_at": 0}
            for account in self.random.sample(new, min(len(new), self.random.choice((1, 3))))
        ]  # fmt: skip
        if rows:
            db.execute(sa.insert(GAIDS).values(rows))

    def give_back(self, db: Connection) -> None:
        db.execute(GAIDS.delete().where(GAIDS.c.account_id <= self.random.choice(self.accounts)))

    def move(self, db: Connection) -> None:
        here = (GAIDS.c.issuer_id == 1) & (GAIDS.c.account_id <= self.random.choice(self.accounts))
        db.execute(GAIDS.update().where(here).values(user_id=self.random.choice(self.users[:2])))

    def delete_user(self, db: Connection) -> None:
        db.execute(USERS.update().where(USERS.c.id >= self.random.choice(self.users)).values(deleted_at=5))

    def bring_back_user(self, db: Connection) -> None:
        db.execute(USERS.update().where(USERS.c.id == self.random.choice(self.users)).values(deleted_at=None))


@pytest.mark.parametrize("seed", range(3))
def test_the_number_that_is_kept_is_the_one_that_is_counted(database_url: str, seed: int) -> None:
    market = Market(database_url)
    chaos = Chaos(market, seed)
    seen = set()
    for _ in range(120):
        with market.store.transaction() as db:
            if chaos.random.random() < 0.2:
                # What is rolled back was never counted.
                undone = db.begin_nested()
                chaos.step(db)
                undone.rollback()
            chaos.step(db)
            for asset in chaos.assets:
                found = lookups.assets_of(db, [Unit(asset.row, False)])[0]
                without = frozenset(chaos.random.sample(TXIDS, chaos.random.choice((0, 1, 4))))
                assert headcount.count(db, found) == counted(db, asset)
                assert headcount.count(db, found, without) == counted(db, asset, without)
                seen.add(counted(db, asset))
    assert len(seen) > 3
    market.store.close()


def test_a_database_of_the_release_before_is_counted_once(tmp_path: Path) -> None:
    """With what that release wrote; and what it goes on writing, should it have to be started again, is counted too."""
    url = f"sqlite:///{tmp_path / 'amp0.sqlite'}"
    at_revision(url, "0002").dispose()
    engine = sa.create_engine(url)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(migrations, "upgrade", lambda _engine: None)
        market = Market(url)
    chaos = Chaos(market, 5)
    with market.store.transaction() as db:
        for _ in range(80):
            chaos.step(db)
    market.store.close()
    engine.dispose()
    store = Store.open(url)
    with store.transaction() as db:
        for asset in chaos.assets:
            found = lookups.assets_of(db, [Unit(asset.row, False)])[0]
            assert headcount.count(db, found) == counted(db, asset) > 0
        chaos.pay(db)
        for asset in chaos.assets:
            found = lookups.assets_of(db, [Unit(asset.row, False)])[0]
            assert headcount.count(db, found) == counted(db, asset)
    store.close()


def test_f05_who_is_paid_on_top_of_a_replaced_payment_may_be_a_holder(
    market: Market, share: Managed, alice: Account, bob: Account
) -> None:
    """Alice pays herself, and Bob with what comes of it. The first falls out of the mempool and is replaced; both can
    be sent all the same, so Bob is counted until one of its coins is spent for good."""
    market.fund(alice, share, 1)
    share.rule("max_holders", holders=2)
    coin = market.fund(alice, share)
    first = market.send([coin], (alice, share, 100))
    market.cosign(first)
    market.cosign(market.send([spendable(market, first, alice)], (bob, share, 100)))
    with market.store.transaction() as db:
        chainindex.mark_gone(db, [first.tx.txid()], market.now)
    del market.world.chain.transactions[first.tx.txid()]
    market.later(601)
    market.cosign(market.send([coin], (alice, share, 100)))
    payment = pay(market, share, alice, market.holder("carol"), 1)
    assert market.codes(payment) == ["recipient_not_allowed"]
    assert market.whole() == ["max_holders"]
    market.gone(first.tx)
    market.cosign(payment)
