"""An issuer tightens at once, and loosens after a while and with somebody else, on a server that does it by itself."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from typing import Any

import pytest

from amp0 import IssuerClient, Network, Signer, Wollet
from amp0.errors import IssuerRefused
from amp0.local.stack import Stack
from amp0.protocol.issuer import Issue
from tests.patience import until

PASSWORD = "correct horse battery"


def confidential_address(network: Network) -> str:
    """Of some wallet, whose coins nobody needs here."""
    wollet = Wollet(network, Signer.random(network).wpkh_slip77_descriptor(), None)
    return str(wollet.address(None).address())


@pytest.fixture(scope="module")
def stack() -> Iterator[Stack]:
    """Of its own, since its clock is moved."""
    with Stack.on_free_ports() as running:
        yield running


@pytest.fixture
def issuer(stack: Stack) -> Iterator[Any]:
    name = f"issuer {uuid.uuid4().hex[:8]}"
    stack.dev.create_issuer(name, PASSWORD)
    with IssuerClient(stack.api_url, name, PASSWORD) as client:
        yield client


@pytest.fixture
def asset(stack: Stack, issuer: Any) -> str:
    """The uuid of an asset that was just issued."""
    wanted = Issue(
        name="Restricted shares",
        amount=1_000,
        destination_address=confidential_address(stack.network),
        domain="example.com",
        ticker="RSTR",
        pubkey="02" + "79be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798",
    )
    issued: str = issuer.issue(wanted).asset_uuid
    return issued


def test_c11_a_loosening_takes_effect_by_itself_when_its_time_has_come(stack: Stack, issuer: Any, asset: str) -> None:
    assert issuer.lock_asset(asset).is_locked
    assert issuer.edit_policy(asset, loosening_delay=3600).state == "effective"
    assert issuer.unlock_asset(asset).is_locked
    [change] = issuer.changes(asset, state="pending")
    assert (change.action, change.approvals, change.settled_at) == ("unlock", [], None)
    stack.dev.move_clock(stack.clock.offset + 3600)
    until(lambda: not issuer.asset(asset).is_locked, "it did not take effect")
    [done, *_] = issuer.changes(asset)
    assert (done.id, done.state, done.settled_by) == (change.id, "effective", None)
    assert done.settled_at >= done.not_before > done.requested_at
    # A tightening waits for nothing.
    assert issuer.lock_asset(asset).is_locked


def test_c09_a_loosening_needs_another_person(stack: Stack, issuer: Any, asset: str) -> None:
    name = f"manager {uuid.uuid4().hex[:8]}"
    manager_id = issuer.create_manager(name, PASSWORD).id
    issuer.unlock_manager(manager_id)
    issuer.add_manager_asset(manager_id, asset)
    assert issuer.edit_policy(asset, required_approvals=1).state == "effective"
    issuer.lock_asset(asset)
    assert issuer.unlock_asset(asset).is_locked
    [change] = issuer.changes(asset, state="pending")
    with pytest.raises(IssuerRefused, match="Nobody approves"):
        issuer.approve_change(asset, change.id, change.content_hash)
    with IssuerClient(stack.api_url, name, PASSWORD) as manager:
        done = manager.approve_change(asset, change.id, change.content_hash)
    assert (done.state, [approval.person for approval in done.approvals]) == ("effective", [name])
    assert not issuer.asset(asset).is_locked
    # With the issuer's password alone there is no way around it.
    issuer.lock_asset(asset)
    issuer.unlock_asset(asset)
    [change] = issuer.changes(asset, state="pending")
    issuer.change_manager_password(manager_id, "another password")
    with (
        IssuerClient(stack.api_url, name, "another password") as taken_over,
        pytest.raises(IssuerRefused, match="too lately"),
    ):
        taken_over.approve_change(asset, change.id, change.content_hash)
    assert issuer.asset(asset).is_locked
