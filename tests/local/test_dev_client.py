"""The client of ``/dev/*`` against the real chain."""

from __future__ import annotations

import urllib.request
import uuid
from collections.abc import Iterator

import pytest

from amp0.devchain.app import build
from amp0.errors import BackendUnavailable, ChainError
from amp0.local.dev_client import DevClient
from amp0.local.hosting import Host, bind, port_of
from amp0.local.stack import Stack


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    bound = bind(0)
    port = port_of(bound)
    with Host() as host:
        host.serve(build(dev=True).app, [bound])
        yield f"http://127.0.0.1:{port}"


def test_blocks_are_made_and_unmade(url: str) -> None:
    with DevClient(url) as dev:
        height = dev.mine()
        assert dev.mine(3) == height + 3
        assert dev.reorg(2) == height + 4


def test_an_asset_is_issued(url: str) -> None:
    with DevClient(url) as dev:
        asset_id = dev.issue(1000)
    assert len(bytes.fromhex(asset_id)) == 32


def test_what_the_chain_refuses_is_said_in_its_words(url: str) -> None:
    with DevClient(url) as dev:
        with pytest.raises(ChainError, match="faucet"):
            dev.faucet("nonsense", 1000)
        with pytest.raises(ChainError, match="mine"):
            dev.mine(-1)


def test_a_chain_that_is_away_is_worth_retrying() -> None:
    bound = bind(0)
    port = port_of(bound)
    bound.close()
    with (
        DevClient(f"http://127.0.0.1:{port}") as dev,
        pytest.raises(BackendUnavailable, match=r"not answer.*stack run"),
    ):
        dev.mine()


def test_a_server_is_no_chain(stack: Stack) -> None:
    """The stack prints several URLs, and any of them can be taken for the chain's."""
    with DevClient(stack.cosign_url) as dev, pytest.raises(ChainError, match="is it the chain of a stack"):
        dev.create_issuer("bonds", "correct horse")


def test_only_a_chain_on_this_machine_is_asked_for_coins() -> None:
    with pytest.raises(ChainError, match="not on this machine"):
        DevClient("https://blockstream.info/liquid/api")


def test_the_chain_has_its_tip_over_http(url: str) -> None:
    with urllib.request.urlopen(f"{url}/blocks/tip/height", timeout=10) as answer:
        assert int(answer.read()) >= 0


def test_an_issuer_is_made_once(stack: Stack) -> None:
    name = f"issuer {uuid.uuid4()}"
    assert stack.dev.create_issuer(name, "correct horse") > 0
    with pytest.raises(ChainError, match="already exists"):
        stack.dev.create_issuer(name, "correct horse")
    with pytest.raises(ChainError, match="8 characters"):
        stack.dev.create_issuer(f"{name} again", "short")
    for body in ({}, {"username": 5, "password": "correct horse"}, {"username": "x", "password": "y", "z": 1}):
        with pytest.raises(ChainError, match="of the new issuer"):
            stack.dev._post("issuer", body)
