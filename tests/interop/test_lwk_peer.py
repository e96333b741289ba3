"""What is changed in the copy of LWK, and that nothing else is; without LWK."""

from __future__ import annotations

import pytest

from amp0.network import Network
from tests.interop.lwk_peer import NoLwk, four_digit_ports, patched, replacements

NETWORK = Network.regtest_default().replace(wamp_url="ws://127.0.0.1:4321/v2/ws", cosign_url="http://127.0.0.1:5678")


def library(*, without: bytes = b"") -> bytes:
    """Bytes that hold what a build holds, as often, between other bytes."""
    parts = [b"\x7fELF"]
    for old, _, times in replacements(NETWORK):
        parts += [b"before " + old + b" after"] * (times - (old == without))
    return b"\x00".join(parts)


def test_every_replacement_is_as_long_as_what_it_replaces() -> None:
    stock = library()
    new = patched(stock, NETWORK)
    assert len(new) == len(stock)
    changed = sum(one != other for one, other in zip(stock, new, strict=True))
    assert changed <= sum(len(old) * times for old, _, times in replacements(NETWORK))


def test_the_copy_names_our_service_and_no_longer_its_own() -> None:
    new = patched(library(), NETWORK)
    for old, mine, times in replacements(NETWORK):
        assert new.count(old) == 0
        assert new.count(mine) == times
    assert new.count(b"ws://localhost:4321/v2/ws") == 3
    assert new.count(b"http://127.0.0.1:5678") == 3


@pytest.mark.parametrize("place", range(5))
def test_a_build_that_holds_something_another_number_of_times_is_refused(place: int) -> None:
    old = replacements(NETWORK)[place][0]
    with pytest.raises(NoLwk, match="times instead of"):
        patched(library(without=old), NETWORK)
    with pytest.raises(NoLwk, match="times instead of"):
        patched(library() + old, NETWORK)


@pytest.mark.parametrize("port", [80, 43210])
def test_a_port_that_does_not_fit_is_refused(port: int) -> None:
    with pytest.raises(ValueError, match="four digits"):
        replacements(NETWORK.replace(wamp_url=f"ws://127.0.0.1:{port}/v2/ws"))


def test_ports_have_four_digits_and_differ() -> None:
    ports = four_digit_ports(4)
    assert len(set(ports)) == 4
    assert all(1000 <= port <= 9999 for port in ports)
