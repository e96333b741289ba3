"""Monitor: every deposit is seen, whatever the chain does."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from amp0 import BackendUnavailable, EsploraClient, StaleUpdate, Wollet
from amp0.local.hosting import bind, port_of
from tests.journeys.conftest import Venue


@pytest.mark.parametrize("waterfalls", [False, True], ids=["esplora", "waterfalls"])
def test_several_assets_are_kept_apart(open_venue: Callable[..., Venue], waterfalls: bool) -> None:
    venue = open_venue(waterfalls=waterfalls)
    assert venue.sync() == {venue.policy_asset: 0}
    gold, tin = venue.stack.dev.issue(1000), venue.stack.dev.issue(1000)
    venue.deposit(10_000)
    venue.deposit(7, gold)
    venue.deposit(8, tin)
    venue.deposit(9, tin)
    assert venue.sync() == {venue.policy_asset: 10_000, gold: 7, tin: 17}
    rows = venue.wollet.transactions()
    assert [row.type() for row in rows] == ["incoming"] * 4
    assert sorted(sum(row.balance().values()) for row in rows) == [7, 8, 9, 10_000]
    assert {utxo.unblinded().asset() for utxo in venue.wollet.utxos()} == {venue.policy_asset, gold, tin}


def test_a_deposit_is_seen_at_once_and_confirms_later(venue: Venue) -> None:
    txid = venue.deposit(5_000, mine=False)
    assert venue.wollet.transaction(txid).height() is None
    assert venue.sync()[venue.policy_asset] == 5_000
    height = venue.stack.dev.mine()
    venue.sync()
    row = venue.wollet.transaction(txid)
    assert row.height() == height
    assert row.timestamp() is not None
    assert venue.chain.full_scan_to_index(venue.wollet, venue.amp0.last_index()) is None


@pytest.mark.parametrize("waterfalls", [False, True], ids=["esplora", "waterfalls"])
def test_many_unused_addresses_hide_nothing(open_venue: Callable[..., Venue], waterfalls: bool) -> None:
    """AMP0 has no gap limit: the 60th address receives, and nothing before it did."""
    venue = open_venue(waterfalls=waterfalls)
    for _ in range(39):
        venue.amp0.address(None)
    txid = venue.deposit(1_234)
    assert venue.amp0.last_index() >= 40
    assert venue.wollet.balance()[venue.policy_asset] == 1_234
    assert [str(row.txid()) for row in venue.wollet.transactions()] == [str(txid)]


def test_a_reorganisation_takes_the_confirmation_back_and_not_the_money(open_venue: Callable[..., Venue]) -> None:
    venue = open_venue()
    txid = venue.deposit(4_321)
    assert venue.wollet.transaction(txid).height() is not None
    venue.stack.dev.reorg(1)
    assert venue.sync()[venue.policy_asset] == 4_321
    assert venue.wollet.transaction(txid).height() is None
    height = venue.stack.dev.mine()
    venue.sync()
    assert venue.wollet.transaction(txid).height() == height


def test_a_chain_that_is_away_changes_nothing(venue: Venue) -> None:
    venue.deposit(1_000)
    bound = bind(0)
    port = port_of(bound)
    bound.close()
    with EsploraClient(f"http://127.0.0.1:{port}", venue.stack.network) as away:
        with pytest.raises(BackendUnavailable):
            away.full_scan_to_index(venue.wollet, venue.amp0.last_index())
        with pytest.raises(BackendUnavailable):
            away.broadcast(venue.cosigned(venue.build(drain=True)))
    assert venue.wollet.balance()[venue.policy_asset] == 1_000


def test_an_update_fits_the_state_it_was_made_for(venue: Venue) -> None:
    venue.deposit(1_000)
    venue.stack.dev.faucet(str(venue.amp0.address(None).address()), 2_000)
    update = venue.chain.full_scan_to_index(venue.wollet, venue.amp0.last_index())
    venue.wollet.apply_update(update)
    with pytest.raises(StaleUpdate):
        venue.wollet.apply_update(update)
    assert venue.wollet.balance()[venue.policy_asset] == 3_000


def test_what_was_synced_is_kept_in_a_folder(venue: Venue, tmp_path: Path) -> None:
    venue.wollet = Wollet(venue.stack.network, venue.amp0.wollet_descriptor(), str(tmp_path))
    venue.deposit(1_500)
    again = Wollet(venue.stack.network, venue.amp0.wollet_descriptor(), str(tmp_path))
    assert again.balance() == venue.wollet.balance()
    assert venue.chain.full_scan_to_index(again, venue.amp0.last_index()) is None
    assert str(venue.amp0.address(1).address()).encode() not in b"".join(
        path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()
    )


def test_both_clients_see_the_same(open_venue: Callable[..., Venue]) -> None:
    venue = open_venue()
    venue.deposit(2_222)
    other = Wollet(venue.stack.network, venue.amp0.wollet_descriptor(), None)
    with EsploraClient.new_waterfalls(venue.stack.chain_url, venue.stack.network) as chain:
        other.apply_update(chain.full_scan_to_index(other, venue.amp0.last_index()))
    assert other.balance() == venue.wollet.balance()
    assert [str(row.txid()) for row in other.transactions()] == [str(row.txid()) for row in venue.wollet.transactions()]
