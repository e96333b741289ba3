"""Receive: addresses come from the server, in order, and connecting uses up none."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from amp0 import AddressNotIssued, Amp0, InvalidInput
from tests.journeys.conftest import PASSWORD, Venue


def test_connecting_uses_up_no_address(venue: Venue) -> None:
    before = venue.amp0.last_index()
    for _ in range(3):
        with Amp0(venue.stack.network, venue.username, PASSWORD, venue.amp_id) as amp0:
            assert amp0.last_index() == before


def test_new_addresses_are_counted_and_the_same_again_by_index(venue: Venue) -> None:
    first, second = venue.amp0.address(None), venue.amp0.address()
    assert second.index() == first.index() + 1 == venue.amp0.last_index()
    assert str(venue.amp0.address(first.index()).address()) == str(first.address())
    assert first.address().is_blinded()
    assert first.address().network() == venue.stack.network or str(first.address().network()) == str(
        venue.stack.network
    )
    assert venue.amp0.last_index() == second.index()


@pytest.mark.parametrize("ahead", [1, 100])
def test_an_index_that_was_not_issued_is_refused(venue: Venue, ahead: int) -> None:
    last = venue.amp0.last_index()
    with pytest.raises(AddressNotIssued):
        venue.amp0.address(last + ahead)
    assert venue.amp0.last_index() == last


@pytest.mark.parametrize("index", [0, -1, 2**31])
def test_an_index_that_cannot_be_is_refused(venue: Venue, index: int) -> None:
    with pytest.raises((AddressNotIssued, InvalidInput)):
        venue.amp0.address(index)


def test_two_workers_share_one_counter(venue: Venue) -> None:
    """A second session sees the first one's addresses, and neither gets one twice."""
    with Amp0(venue.stack.network, venue.username, PASSWORD, venue.amp_id) as other:
        start = venue.amp0.last_index()
        with ThreadPoolExecutor(4) as pool:
            jobs = [
                pool.submit(lambda amp0: amp0.address(None).index(), amp0)
                for _ in range(10)
                for amp0 in (venue.amp0, other)
            ]
            indexes = sorted(job.result() for job in jobs)
        assert indexes == list(range(start + 1, start + 21))
        assert venue.amp0.last_index() == other.last_index() == start + 20
        assert str(other.address(indexes[0]).address()) == str(venue.amp0.address(indexes[0]).address())
