"""A database that is older than its chain signs nothing, and one that is not never thinks so."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest
import sqlalchemy as sa

from amp0.elements.hashes import asset_id_to_bytes
from amp0.elements.transaction import OutPoint
from amp0.server import behind
from amp0.server.refusal import BadTransaction, ChainUnavailable, StoreUnavailable
from amp0.server.store import schema
from amp0.server.store.engine import Store
from tests.server import talking
from tests.server.chain import FakeChain
from tests.server.cosigning import LBTC, OTHER, World
from tests.server.issuer.house import House, reissuable
from tests.server.ledger.scene import POLICY, STRANGER, Ledger, Made, Out, make


def found(store: Store) -> str | None:
    with store.snapshot() as db:
        return behind.found(db)


def with_coin() -> tuple[Ledger, Made]:
    ledger = Ledger()
    coin = make([], [Out(ledger.account(1), 9, POLICY), Out(ledger.account(2), 8, POLICY)])
    ledger.mine(coin)
    return ledger, coin


# --- what the chain shows ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seen", ["mempool", "block"])
def test_g05_a_coin_is_spent_that_was_never_signed_for(seen: str) -> None:
    """Its spend was signed after the back-up, which does not know of it."""
    ledger, coin = with_coin()
    made = make([coin.at(0)], [Out(STRANGER, 9, POLICY)])
    (ledger.send if seen == "mempool" else ledger.mine)(made)
    assert str(made.txid) in (found(ledger.store) or "")
    with ledger.store.transaction() as db:
        assert behind.acknowledge(db) is not None
        assert behind.acknowledge(db) is None
    ledger.mine(made)
    ledger.undo()
    ledger.drop(made.txid)
    ledger.mine(made)
    assert found(ledger.store) is None, "what was acknowledged is not found again"
    ledger.mine(make([coin.at(1)], [Out(STRANGER, 8, POLICY)]))
    assert found(ledger.store) is not None, "another one is"


def test_g05_what_was_signed_for_proves_nothing() -> None:
    """Whether it was replaced, fell out, was reorganised away or came back in the place of another."""
    ledger, coin = with_coin()
    first = make([coin.at(0)], [Out(STRANGER, 9, POLICY)])
    second = make([coin.at(0), coin.at(1)], [Out(STRANGER, 17, POLICY)])
    ledger.cosign(first)
    ledger.cosign(second)
    ledger.send(first)
    ledger.drop(first.txid)
    ledger.mine(second)
    ledger.undo()
    ledger.drop(second.txid)
    ledger.mine(first)
    assert found(ledger.store) is None


def test_g05_what_an_owner_takes_alone_proves_nothing() -> None:
    """Account 0 has addresses whose coins need nobody else once a time has passed."""
    ledger, coin = with_coin()
    with ledger.store.transaction() as db:
        db.execute(schema.addresses.update().where(schema.addresses.c.account_id == 1).values(csv_blocks=65535))
    ledger.mine(make([coin.at(0)], [Out(STRANGER, 9, POLICY)]))
    assert found(ledger.store) is None


def test_g05_assets_that_were_issued_after_the_back_up_are_not_signed_for(tmp_path: Path) -> None:
    """The second one was paid with the change of the first, of which the back-up knows nothing either; and both are in
    one block. Nobody knows their rules any more, so nobody may move them as if they had none."""
    house = House(f"sqlite:///{tmp_path / 'now.sqlite'}")
    house.fund(20_000)
    before = asset_id_to_bytes(house.issue(ticker="AAAA", key="a").asset_id)
    house.mine()
    with sqlite3.connect(tmp_path / "now.sqlite") as source, sqlite3.connect(tmp_path / "then.sqlite") as copy:
        source.backup(copy)
    issued = [house.issue(ticker="BBBB", key="b"), house.issue(ticker="CCCC", key="c", **reissuable())]
    house.mine()
    assert found(house.store) is None
    newest, house.store = house.store, Store.open(f"sqlite:///{tmp_path / 'then.sqlite'}")
    house.sync()
    assert found(house.store) is not None
    lost = {asset_id_to_bytes(asset.asset_id) for asset in issued}
    lost.add(asset_id_to_bytes(issued[1].reissuance_token_id or ""))
    with house.store.transaction() as db:
        assert lost <= set(behind.lost_assets(db))
        with pytest.raises(StoreUnavailable, match="operator"):
            behind.check(db, {before})
        behind.acknowledge(db)
    house.mine()
    house.chain.reorg(2, blocks=3)
    house.sync()
    house.mine()
    with house.store.transaction() as db:
        assert behind.found(db) is None
        behind.check(db, {before, LBTC})
        for asset in lost:
            with pytest.raises(BadTransaction, match="rules"):
                behind.check(db, {LBTC, asset})
    newest.close()
    house.close()


# --- what follows from it ------------------------------------------------------------------------------------------


def test_g05_nothing_new_is_cosigned_until_the_operator_has_looked(database_url: str) -> None:
    world = World(database_url)
    alice = world.wallet("alice")
    earlier = world.pay([world.fund(alice)])
    world.cosigner.cosign(earlier.request())
    later = world.pay([coin := world.fund(alice)])
    with world.store.transaction() as db:
        behind.note_spend(db, coin.prevout.txid(), [coin.prevout])
        behind.note_spend(db, coin.prevout.txid(), [coin.prevout])
    with pytest.raises(StoreUnavailable, match="operator"):
        world.cosigner.cosign(later.request())
    assert world.cosigner.cosign(earlier.request()).again, "what was signed before is"
    with world.store.transaction() as db:
        behind.acknowledge(db)
        behind.note_issuance(db, coin.prevout.txid(), [OTHER])
        behind.acknowledge(db)
        assert behind.lost_assets(db) == [OTHER]
    lost = world.pay([world.fund(alice, 500, asset=OTHER), world.fund(alice)], 500, asset=OTHER)
    with pytest.raises(BadTransaction, match="rules"):
        world.cosigner.cosign(lost.request())
    world.cosigner.cosign(later.request())
    with world.store.snapshot() as db:
        assert db.execute(sa.select(sa.func.count()).select_from(schema.cosigned)).scalar() == 2
    world.store.close()


def test_g05_nothing_new_is_cosigned_before_the_chain_was_read() -> None:
    """A copy was put back while the chain was away: nothing could show how old it is, and it was signed with."""
    world = World()
    alice = world.wallet("alice")
    earlier, later = world.pay([world.fund(alice)]), world.pay([world.fund(alice)])
    world.cosigner.cosign(earlier.request())
    world.chain.is_read = False
    with pytest.raises(ChainUnavailable, match="since it was started"):
        world.cosigner.cosign(later.request())
    assert world.cosigner.cosign(earlier.request()).again
    world.chain.is_read = True
    world.cosigner.cosign(later.request())


def test_g05_a_chain_that_was_away_at_the_start_is_read_when_it_is_back() -> None:
    async def scene(world: talking.World) -> None:
        watcher = world.server.watcher
        assert not watcher.has_read()
        world.chain.is_down = False
        await watcher.poll()
        assert watcher.has_read()
        world.chain.is_down = True
        with pytest.raises(ChainUnavailable):
            await watcher.poll()
        assert watcher.has_read(), "what was read stays read"

    chain = FakeChain()
    chain.is_down = True
    talking.in_world(scene, chain=chain)


def test_a_coin_that_is_not_of_this_service_proves_nothing() -> None:
    ledger, coin = with_coin()
    with ledger.store.transaction() as db:
        behind.note_spend(db, coin.txid, [OutPoint(coin.txid, 7)])
    assert found(ledger.store) is None
