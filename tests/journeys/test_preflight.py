"""A venue learns before it signs what a transfer of a restricted asset would meet, on a whole stack."""

from __future__ import annotations

import asyncio
import base64
import http.server
import json
import threading
import uuid
from collections.abc import Callable, Iterator
from typing import Any, ClassVar

import httpx
import msgspec
import pytest

from amp0 import IssuerClient, NodeTreasury
from amp0.elements import wally
from amp0.elements.address import p2pkh_address
from amp0.elements.keys import signed_message_hash
from amp0.errors import CallFailed, CosignRefused
from amp0.local.stack import Stack
from amp0.protocol.issuer import Issue
from tests.devchain.node_stack import STACKS, stack_of
from tests.journeys.conftest import Venue
from tests.patience import until

PASSWORD = "correct horse battery"
ISSUED, EACH = 10_000, 1_000


@pytest.fixture(scope="module", params=STACKS)
def stack(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """One with a node, whose wallet is the treasury; and with logins of its own."""
    with stack_of(request.param, tmp_path_factory.mktemp("node")) as running:
        yield running


@pytest.fixture
def logins() -> list[Any]:
    return []


@pytest.fixture
def issuer(stack: Stack) -> Iterator[Any]:
    name = f"issuer {uuid.uuid4().hex[:8]}"
    stack.dev.create_issuer(name, PASSWORD)
    with IssuerClient(stack.api_url, name, PASSWORD) as client:
        yield client


def restricted_asset(stack: Stack, issuer: Any, *venues: Venue) -> Any:
    """An asset of which each of these has some, and L-BTC for fees; all are registered."""
    assert stack.node_url is not None
    assert stack.node_cookie is not None
    treasury = NodeTreasury(stack.node_url, stack.node_cookie)
    destination, fees = (asyncio.run(treasury.new_address()) for _ in range(2))
    stack.dev.faucet(fees, 1_000_000)
    issued = issuer.issue(
        Issue(
            name="Restricted shares", amount=ISSUED, destination_address=destination, domain="example.com",
            ticker="RSTR", pubkey="02" + "79be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798",
            transfer_restricted=True,
        )
    )  # fmt: skip
    stack.dev.mine(2)
    until(lambda: sum(row.amount for row in issuer.ownerships(issued.asset_uuid)) == ISSUED)
    for venue in venues:
        stack.dev.faucet(str(venue.amp0.address(None).address()), 50_000)
        user = issuer.add_user(venue.amp_id, gaid=venue.amp_id)
        issuer.assign(issued.asset_uuid, user.id, EACH, ready=True)
    issuer.distribute(
        issued.asset_uuid,
        treasury,
        report=lambda progress: stack.dev.mine(2) if progress.step == "sent" else None,
        poll_seconds=0.05,
    )
    stack.dev.mine()
    for venue in venues:
        until(lambda venue=venue: venue.sync().get(issued.asset_id) == EACH)  # type: ignore[misc]
    return issued


def test_a_venue_learns_before_it_signs(stack: Stack, issuer: Any, open_venue: Callable[..., Venue]) -> None:
    alice, bob, stranger = open_venue(fresh=True), open_venue(fresh=True), open_venue(fresh=True)
    asset = restricted_asset(stack, issuer, alice, bob)
    to_bob, to_stranger = (str(venue.amp0.address(None).address()) for venue in (bob, stranger))

    # What is allowed is allowed, thought of or built; and it is signed.
    assert alice.amp0.preflight([(to_bob, 100, asset.asset_id)]).allowed
    good = alice.build((to_bob, 100, asset.asset_id))
    assert alice.amp0.preflight(good).allowed

    # A stranger is not, and asking says what the cosigner says.
    bad = alice.build((to_stranger, 100, asset.asset_id))
    thought = alice.amp0.preflight([(to_stranger, 100, asset.asset_id)])
    verdict = alice.amp0.preflight(bad)
    assert [(one.code, one.about) for one in thought.reasons] == [("recipient_not_allowed", "recipient")]
    with pytest.raises(CosignRefused) as signing:
        alice.amp0.sign(alice.signed(bad))
    with pytest.raises(CosignRefused) as asking:
        alice.amp0.require_allowed(bad)
    assert signing.value.reasons == asking.value.reasons
    assert [one.code for one in verdict.reasons] == [one.code for one in signing.value.reasons]
    with pytest.raises(CosignRefused, match="would not sign"):
        alice.amp0.send(alice.signed(bad))
    assert len(issuer.refusals(asset.asset_uuid)) == 1, "asking leaves nothing on record"

    # The same over HTTP, for a token of the session.
    token = alice.amp0.preflight_token()
    answer = httpx.post(
        f"{stack.cosign_url}/v1/preflight",
        json={"transfers": [{"address": to_stranger, "asset_id": asset.asset_id, "satoshi": 100}]},
        headers={"authorization": f"Bearer {token.token}"},
        trust_env=False,
    )
    assert answer.status_code == 200
    assert answer.json() == {"allowed": False, "reasons": msgspec.to_builtins(list(thought.reasons))}

    # Who has nothing to send learns nothing of who could be paid.
    for address in (to_bob, to_stranger):
        poor = stranger.amp0.preflight([(address, 1, asset.asset_id)])
        assert [one.code for one in poor.reasons] == ["not_enough"]
    with pytest.raises(CallFailed, match="for the wallet's own coins"):
        bob.amp0.preflight(good)

    # A lock concerns the asset, and is told; after it the payment goes through.
    issuer.lock_asset(asset.asset_uuid)
    assert [one.code for one in alice.amp0.preflight(good).reasons] == ["asset_locked"]
    issuer.unlock_asset(asset.asset_uuid)
    alice.amp0.send(alice.signed(good))
    stack.dev.mine()
    until(lambda: bob.sync().get(asset.asset_id) == EACH + 100)


class Endpoint(http.server.BaseHTTPRequestHandler):
    """An issuer's authorization endpoint, which says what ``says`` is and keeps what it was asked."""

    says: ClassVar[dict[str, object]] = {"result": True, "error": ""}
    asked: ClassVar[list[dict[str, Any]]] = []

    def do_POST(self) -> None:
        self.asked.append(json.loads(self.rfile.read(int(self.headers["content-length"]))))
        body = json.dumps(self.says).encode()
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_arguments: object) -> None:
        """Quiet."""


@pytest.fixture
def endpoint() -> Iterator[str]:
    Endpoint.asked.clear()
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Endpoint) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/authorize"
        server.shutdown()
        thread.join(5)


def test_an_issuer_who_decides_each_transfer(
    stack: Stack, issuer: Any, open_venue: Callable[..., Venue], endpoint: str
) -> None:
    """Their yes lets somebody hold whom they have not registered; their no has their words; both are signed for."""
    alice, newcomer = open_venue(fresh=True), open_venue(fresh=True)
    asset = restricted_asset(stack, issuer, alice)
    issuer.edit_asset(asset.asset_uuid, issuer_authorization_endpoint=endpoint)
    payment = alice.build((str(newcomer.amp0.address(None).address()), 100, asset.asset_id))
    verdict = alice.amp0.preflight(payment)
    assert verdict.allowed
    assert verdict.issuer_decides
    assert Endpoint.asked == [], "the issuer is not asked before it is signed"

    Endpoint.says = {"result": False, "error": "not this week"}
    with pytest.raises(CosignRefused, match="the asset's issuer refuses: not this week") as refused:
        alice.amp0.sign(alice.signed(payment))
    assert "authorization_refused" in [one.code for one in refused.value.reasons]
    Endpoint.says = {"result": True, "error": ""}
    alice.amp0.send(alice.signed(payment))
    stack.dev.mine()
    until(lambda: newcomer.sync().get(asset.asset_id) == 100)

    messages = [post["message"] for post in Endpoint.asked]
    assert [message["server_result"] for message in messages] == [False, False]
    assert messages[0]["request"]["uuid"] != messages[1]["request"]["uuid"]
    assert sum(one["amount"] for one in messages[0]["request"]["outputs"]) == EACH
    text = json.dumps(messages[0], sort_keys=True, separators=(",", ":"))
    key = wally.ecdsa_recover(base64.b64decode(Endpoint.asked[0]["signature"]), signed_message_hash(text))
    assert key is not None
    assert p2pkh_address(stack.network, wally.hash160(key)) in (issuer.info().notes or "")


def test_a_payment_that_was_signed_can_be_sent_again_after_the_rules_changed(
    stack: Stack, issuer: Any, open_venue: Callable[..., Venue]
) -> None:
    """The answer was lost on its way: the transaction is signed, and asking again must not end in a refusal."""
    alice, bob = open_venue(fresh=True), open_venue(fresh=True)
    asset = restricted_asset(stack, issuer, alice, bob)
    payment = alice.signed(alice.build((str(bob.amp0.address(None).address()), 5, asset.asset_id)))
    signed = alice.amp0.sign(payment)
    issuer.lock_asset(asset.asset_uuid)
    assert not alice.amp0.preflight(payment).allowed
    assert alice.amp0.send(payment) == signed.txid()
