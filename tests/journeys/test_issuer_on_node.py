"""An issuer's work from the first block to the last, on our node's face and on a real Elements node alike.

The official script's double and our own client take turns over one treasury: what one of them did, the other goes on
with. In the end the server, the node's wallet and the holders' wallets say the same, to the satoshi.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from amp0 import CosignRefused, IssuerClient, NodeTreasury, Signer, Wollet
from amp0.issuer import Progress
from amp0.local.stack import Stack
from tests.devchain.node_stack import STACKS, stack_of
from tests.interop.issuing import PASSWORD, Issuing
from tests.journeys.conftest import Login, Venue

ISSUED, COIN = 1_000_000_000, 100_000_000


@pytest.fixture(scope="module", params=STACKS)
def stack(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    with stack_of(request.param, tmp_path_factory.mktemp("node")) as running:
        yield running


@pytest.fixture(scope="module")
def logins(stack: Stack) -> list[Login]:
    """None yet on this stack, which is not the one that all journeys share."""
    return []


@pytest.fixture
def issuer(stack: Stack, tmp_path: Path) -> Iterator[Issuing]:
    made = Issuing(stack, tmp_path)
    yield made
    made.close()


@dataclass
class Office:
    """One asset, both tools, two holders, and what each of them must have."""

    issuer: Issuing
    asset: dict[str, Any]
    client: Any
    holders: dict[str, Venue]
    users: dict[str, int]

    @property
    def treasury(self) -> NodeTreasury:
        assert self.issuer.stack.node_url is not None
        assert self.issuer.stack.node_cookie is not None
        return NodeTreasury(self.issuer.stack.node_url, self.issuer.stack.node_cookie)

    @property
    def path(self) -> str:
        return f"/assets/{self.asset['asset_uuid']}"

    def ask(self, name: str, path: str, body: Any = None) -> Path:
        """A request file."""
        method = "GET" if body is None else "POST"
        return self.issuer.file(name, self.issuer.api(method, self.path + path, body))

    def drive(self, operation: str, *arguments: Any) -> Any:
        """An operation of our own client, with the blocks it waits for."""

        def heard(progress: Progress) -> None:
            if progress.step == "sent":
                self.issuer.mine(2)

        call = getattr(self.client, operation)
        return call(self.asset["asset_uuid"], *arguments, self.treasury, report=heard, poll_seconds=0.05)

    def pay(self, sender: str, receiver: str, satoshi: int) -> None:
        """One holder pays the other, whose wallet sees it."""
        payer, payee = self.holders[sender], self.holders[receiver]
        payer.sync()
        address = str(payee.amp0.address(None).address())
        payer.amp0.send(payer.signed(payer.build((address, satoshi, self.asset["asset_id"]))))
        self.issuer.mine(2)

    def check(self, *, treasury: int, tokens: int = 2, **holders: int) -> None:
        """Server, node and wallets agree."""
        asset_id = self.asset["asset_id"]
        held: dict[str | None, int] = {self.holders[name].amp_id: satoshi for name, satoshi in holders.items()}
        assert self.issuer.holdings(self.asset) == held | {None: treasury}
        for name, satoshi in holders.items():
            assert self.holders[name].sync().get(asset_id, 0) == satoshi
        summary = self.issuer.api("GET", f"{self.path}/summary")
        total = treasury + sum(holders.values())
        assert summary["issued"] + summary["reissued"] - summary["burned"] == total
        assert summary["reissuance_tokens"] == tokens
        balance = self.issuer.node("getbalance", "*", 1, False)
        assert round(balance.get(asset_id, 0) * COIN) == treasury
        assert round(balance[self.asset["reissuance_token_id"]] * COIN) == tokens


@pytest.fixture(params=[False, True], ids=["open", "hidden"])
def office(request: pytest.FixtureRequest, issuer: Issuing, open_venue: Callable[..., Venue]) -> Iterator[Office]:
    asset = issuer.issue(is_confidential=request.param)
    holders = {"alice": open_venue(), "bob": open_venue()}
    users = {}
    for name, venue in holders.items():
        body = {"name": name, "is_company": False, "GAID": venue.amp_id}
        users[name] = issuer.api("POST", "/registered_users/add", body, 201)["id"]
        venue.deposit(10_000)
    with IssuerClient(issuer.stack.api_url, issuer.username, PASSWORD) as client:
        yield Office(issuer, asset, client, holders, users)


def test_an_issuers_work_with_both_tools(office: Office) -> None:
    issuer, asset = office.issuer, office.asset
    office.check(treasury=ISSUED)

    issuer.assign(asset, office.users["alice"], 300_000_000)
    issuer.assign(asset, office.users["bob"], 1)
    issuer.script().distribute(office.ask("distribute", "/distributions/create/"))
    office.check(treasury=699_999_999, alice=300_000_000, bob=1)

    office.pay("alice", "bob", 123_456_789)
    office.check(treasury=699_999_999, alice=176_543_211, bob=123_456_790)

    done = office.drive("reissue", 50_000_001)
    assert (done.satoshi, done.resumed) == (50_000_001, False)
    office.check(treasury=750_000_000, alice=176_543_211, bob=123_456_790)

    # The script burns what the client reissued, and the client distributes the change of the script's burn.
    issuer.script().burn(office.ask("burn", "/burn-request", {"amount": 720_000_000}))
    office.check(treasury=30_000_000, alice=176_543_211, bob=123_456_790)
    issuer.assign(asset, office.users["bob"], 29_999_999)
    (done,) = office.drive("distribute")
    assert (done.satoshi, done.resumed) == (29_999_999, False)
    office.check(treasury=1, alice=176_543_211, bob=153_456_789)

    issuer.script().reissue(office.ask("reissue", "/reissue-request", {"amount_to_reissue": 7}))
    office.drive("burn", 8)
    office.check(treasury=0, alice=176_543_211, bob=153_456_789)
    office.pay("bob", "alice", 153_456_789)
    office.check(treasury=0, alice=330_000_000)

    # And nothing of it can be had by somebody who is nobody's holder.
    alice = office.holders["alice"]
    stranger = Wollet(issuer.stack.network, Signer.random(issuer.stack.network).wpkh_slip77_descriptor(), None)
    with pytest.raises(CosignRefused, match="recipient_not_allowed"):
        alice.amp0.send(alice.signed(alice.build((stranger.address(0).address(), 1, asset["asset_id"]))))
    office.check(treasury=0, alice=330_000_000)


def test_a_holder_burns_what_the_issuer_lets_them(office: Office) -> None:
    """Nodes refuse to broadcast a burn unless they are told that it is meant; the server tells them."""
    issuer, asset, alice = office.issuer, office.asset, office.holders["alice"]
    issuer.assign(asset, office.users["alice"], 1_000)
    office.drive("distribute")
    alice.sync()

    def burn(satoshi: int) -> None:
        builder = issuer.stack.network.tx_builder().add_burn(satoshi, asset["asset_id"])
        alice.amp0.send(alice.signed(builder.finish_for_amp0(alice.wollet)))
        issuer.mine(2)

    with pytest.raises(CosignRefused):
        burn(400)
    parameters = {"user_id": office.users["alice"], "satoshi": 400, "until": int(issuer.stack.clock()) + 86_400}
    office.client.add_rule(asset["asset_uuid"], "issuer_burn", parameters)
    burn(400)
    office.check(treasury=ISSUED - 1_000, alice=600)
    assert issuer.api("GET", f"{office.path}/summary")["burned"] == 400
    with pytest.raises(CosignRefused):
        burn(1)


def test_what_was_confirmed_comes_back_after_a_reorganisation(office: Office) -> None:
    """The chain loses the blocks of a distribution, a payment and a burn: they wait again, and nothing is lost."""
    issuer, asset = office.issuer, office.asset
    issuer.assign(asset, office.users["alice"], 300_000_000)
    office.drive("distribute")
    office.pay("alice", "bob", 100)
    office.drive("burn", 5)
    office.check(treasury=699_999_995, alice=299_999_900, bob=100)
    height = issuer.stack.dev.reorg(6)
    issuer.until(lambda: issuer.server_height() >= height)
    issuer.mine(2)
    office.check(treasury=699_999_995, alice=299_999_900, bob=100)
    issuer.script().reissue(office.ask("reissue", "/reissue-request", {"amount_to_reissue": 5}))
    office.check(treasury=700_000_000, alice=299_999_900, bob=100)
