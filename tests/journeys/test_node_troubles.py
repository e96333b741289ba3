"""What can go wrong with a real node under an issuer's work: it is started again, forgets what waits, loses blocks.

Whatever happens, the server's books are the chain's: they say what the node's wallet and the holders' wallets say, and
what was issued is all there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from amp0 import IssuerClient
from amp0.issuer import Progress
from tests.devchain.node import Node, free_port, needs_node, running_node
from tests.devchain.node_stack import NodeStack
from tests.interop.issuing import PASSWORD, Issuing
from tests.journeys.conftest import Login, Venue
from tests.journeys.test_issuer_on_node import ISSUED, Office

pytestmark = needs_node
WALLET = "treasury"
LOST_AFTER = 300
FORGETFUL = ("-persistmempool=0", "-walletbroadcast=0")
"""A node that knows nothing of what waited when it stopped, and whose wallet does not send again."""


class Mortal:
    """A node that can be started again, and the stack over it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._port = free_port()
        self._running = ExitStack()
        self.node = self._start()
        self.stack: NodeStack | None = None
        self.issuer: Issuing | None = None

    def _start(self, *flags: str) -> Node:
        return self._running.enter_context(running_node(self._folder, "-changetype=bech32", *flags, port=self._port))

    def restart(self, *flags: str) -> None:
        """Stop and start it, with the treasury's wallet."""
        self._running.close()
        self._start(*flags)
        self.node.call("loadwallet", WALLET)
        if self.issuer is not None:
            self.issuer.node_url = self.node.url.replace("://", f"://{self.node.cookie.read_text()}@")

    def forget(self) -> None:
        """Nobody knows any more what waits, our chain (which the clients scan) included."""
        self.restart(*FORGETFUL)
        assert self.node.call("getrawmempool") == []
        assert self.stack is not None
        chain = self.stack._built.chain
        with chain.lock:
            for entry in reversed(list(chain.mempool)):
                chain._forget(chain.mempool.remove(entry.txid))

    def lose(self, depth: int) -> None:
        """The newest blocks are gone, and what they held waits nowhere."""
        assert self.stack is not None
        chain = self.stack._built.chain
        gone = self.node.call("getblockhash", chain.height - depth + 1)
        self.node.call("invalidateblock", gone)
        chain.reorg(depth)
        self.forget()
        assert self.node.call("getblockcount") == chain.height

    def close(self) -> None:
        self._running.close()


@pytest.fixture
def mortal(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mortal]:
    made = Mortal(tmp_path_factory.mktemp("node"))
    try:
        yield made
    finally:
        made.close()


@pytest.fixture
def stack(mortal: Mortal) -> Iterator[NodeStack]:
    with NodeStack(mortal.node, chain_timeout_seconds=5.0) as running:
        mortal.stack = running
        yield running


@pytest.fixture
def logins(stack: NodeStack) -> list[Login]:
    """None yet on this stack."""
    return []


@pytest.fixture(params=[False, True], ids=["open", "hidden"])
def office(
    request: pytest.FixtureRequest,
    mortal: Mortal,
    stack: NodeStack,
    tmp_path: Path,
    open_venue: Callable[..., Venue],
) -> Iterator[Office]:
    issuer = mortal.issuer = Issuing(stack, tmp_path)
    asset = issuer.issue(is_confidential=request.param)
    holders = {"alice": open_venue(), "bob": open_venue()}
    users = {}
    for name, venue in holders.items():
        body = {"name": name, "is_company": False, "GAID": venue.amp_id}
        users[name] = issuer.api("POST", "/registered_users/add", body, 201)["id"]
        venue.deposit(10_000)
    with IssuerClient(issuer.stack.api_url, issuer.username, PASSWORD) as client:
        yield Office(issuer, asset, client, holders, users)
    issuer.close()


def _drive(office: Office, trouble: Callable[[], None], operation: str, *arguments: Any) -> Any:
    """An operation that meets ``trouble`` when its transaction was sent and no block has it yet."""

    def heard(progress: Progress) -> None:
        if progress.step == "sent":
            trouble()
            office.issuer.mine(2)

    call = getattr(office.client, operation)
    return call(office.asset["asset_uuid"], *arguments, office.treasury, report=heard, poll_seconds=0.05)


def test_a_node_started_again_in_the_middle_of_everything(mortal: Mortal, office: Office) -> None:
    """With and without what waited: the wallet of a node sends again what is its own."""
    issuer = office.issuer
    issuer.assign(office.asset, office.users["alice"], 300_000_000)
    _drive(office, mortal.restart, "distribute")
    office.check(treasury=700_000_000, alice=300_000_000)
    _drive(office, lambda: mortal.restart("-persistmempool=0"), "reissue", 50)
    office.check(treasury=700_000_050, alice=300_000_000)
    _drive(office, mortal.restart, "burn", 49)
    office.check(treasury=700_000_001, alice=300_000_000)


def test_a_payment_that_the_node_forgot_is_sent_again(mortal: Mortal, office: Office) -> None:
    issuer, alice, bob = office.issuer, office.holders["alice"], office.holders["bob"]
    issuer.assign(office.asset, office.users["alice"], 1_000)
    office.drive("distribute")
    alice.sync()
    address = str(bob.amp0.address(None).address())
    signed = alice.signed(alice.build((address, 400, office.asset["asset_id"])))
    txid = alice.amp0.send(signed)
    assert str(txid) in mortal.node.call("getrawmempool")
    mortal.forget()
    issuer.mine(2)
    office.check(treasury=ISSUED - 1_000, alice=1_000)

    assert alice.amp0.send(signed) == txid
    issuer.mine(2)
    office.check(treasury=ISSUED - 1_000, alice=600, bob=400)


def test_an_issuance_that_the_chain_lost_is_sent_again(mortal: Mortal, office: Office) -> None:
    """Its blocks are gone and no node knows it: the server, whose transaction it is, does."""
    issuer = office.issuer
    # Whoever counts from where a server is that has not read it all leaves the issuance in its block.
    issuer.until(lambda: issuer.server_height() == mortal.node.call("getblockcount"))
    depth = issuer.server_height() - issuer.api("GET", f"{office.path}/txs")[-1]["blockheight"] + 1
    mortal.lose(depth)
    txid = office.asset["txid"]
    issuer.stack.clock.offset += 60
    issuer.until(lambda: txid in mortal.node.call("getrawmempool"))
    issuer.mine(depth + 1)
    office.check(treasury=ISSUED)
    mortal.restart()
    issuer.assign(office.asset, office.users["alice"], 7)
    office.drive("distribute")
    office.check(treasury=ISSUED - 7, alice=7)


def test_a_distribution_whose_coins_were_spent_otherwise(mortal: Mortal, office: Office) -> None:
    """Its block is gone, and the node's wallet spends its coins for something else: the holder has nothing, whatever
    was confirmed, and the issuer is told and pays once more."""
    issuer, asset_id = office.issuer, office.asset["asset_id"]
    issuer.assign(office.asset, office.users["alice"], 1_000)
    (done,) = office.drive("distribute")
    office.check(treasury=ISSUED - 1_000, alice=1_000)
    own = issuer.node("getnewaddress")
    issuer.api("POST", f"{office.path}/treasury-addresses/add", [own])
    mortal.lose(2)
    issuer.node("abandontransaction", done.txid)
    other = issuer.node("sendtoaddress", own, "10", "", "", False, True, 1, "UNSET", False, asset_id)
    issuer.node("sendrawtransaction", issuer.node("gettransaction", other)["hex"])
    issuer.mine(3)
    # The wallet did this on its own: what it made is lost until somebody hands in the openings.
    issuer.stack.clock.offset += LOST_AFTER
    issuer.mine()
    assert office.client.find_lost_outputs(office.asset["asset_uuid"], office.treasury)
    office.check(treasury=ISSUED)
    told = {event.action for event in office.client.events()}
    assert {"distribution_reorganised", "distribution_dropped"} <= told
    issuer.assign(office.asset, office.users["alice"], 1_000)
    mortal.restart()
    office.drive("distribute")
    office.check(treasury=ISSUED - 1_000, alice=1_000)
