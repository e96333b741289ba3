"""A treasury's operations on a whole stack, killed after every call, and resumed: nothing twice, nothing lost."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from amp0 import Address, Signer
from amp0 import IssuerClient as BlockingClient
from amp0.errors import IssuerRefused, UnconfirmedMove
from amp0.issuer import Done, Issue, IssuerClient, NodeTreasury, Progress
from amp0.local.stack import Stack
from tests.devchain.node_stack import STACKS, stack_of
from tests.journeys.conftest import PASSWORD, log_in
from tests.patience import until

PUBKEY = "0279be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798"


class Killed(Exception):
    """The program ends here."""


@dataclass
class Reaper:
    """Lets so many calls through, and kills before or after the next one."""

    left: int
    after: bool
    struck: bool = False

    async def watch(self, call: Callable[[], Awaitable[Any]]) -> Any:
        self.left -= 1
        due = self.left < 0 and not self.struck
        self.struck = self.struck or due
        if due and not self.after:
            raise Killed
        value = await call()
        if due:
            raise Killed
        return value


def mortal(cls: type, names: tuple[str, ...]) -> type:
    """A class whose named coroutines pass by ``self.reaper``."""

    def guarded(name: str) -> Any:
        original = getattr(cls, name)

        async def method(self: Any, *args: Any, **kwargs: Any) -> Any:
            return await self.reaper.watch(lambda: original(self, *args, **kwargs))

        return method

    return type(f"Mortal{cls.__name__}", (cls,), {name: guarded(name) for name in names})


MortalClient = mortal(
    IssuerClient,
    (
        "create_distribution",
        "confirm_distribution",
        "request_reissue",
        "confirm_reissue",
        "request_burn",
        "confirm_burn",
    ),
)
MortalTreasury = mortal(NodeTreasury, ("pay", "reissue", "burn", "details", "change"))
DEATHS = [(0, False), *((calls, True) for calls in range(5))]
"""Before the first call, and after each: how many were let through, and whether the next one was."""


@dataclass
class Issuer:
    """An issuer with an asset and a holder, on a stack with a node."""

    stack: Stack
    folder: Path
    name: str
    client: BlockingClient
    asset_uuid: str = ""
    asset_id: str = ""
    user: int = 0
    expected: dict[str, int] = field(default_factory=lambda: {"distributed": 0, "reissued": 0, "burned": 0})

    def run(self, operation: str, arguments: tuple[Any, ...], reaper: Reaper) -> Any:
        """One life of a program that does one operation."""

        async def live() -> Any:
            treasury = MortalTreasury(str(self.stack.node_url), self.stack.node_cookie)
            async with MortalClient(self.stack.api_url, self.name, PASSWORD) as client:
                treasury.reaper = client.reaper = reaper
                more = {} if operation == "distribute" else {"state_dir": self.folder}
                return await getattr(client, operation)(
                    self.asset_uuid, *arguments, treasury, report=self.mine, poll_seconds=0.05, **more
                )

        return asyncio.run(live())

    def mine(self, progress: Progress) -> None:
        if progress.step in ("sent", "found"):
            self.stack.dev.mine(2)

    def check(self) -> None:
        """What the ledger says is what was asked for, each once."""
        summary = self.client.summary(self.asset_uuid)
        assert (summary.distributed, summary.reissued, summary.burned) == tuple(self.expected.values())
        balance = self.client.balance(self.asset_uuid)
        assert balance.lost_outputs == balance.reissuance_lost_outputs == []
        rows = self.client.ownerships(self.asset_uuid)
        assert sum(row.amount for row in rows) == summary.issued + summary.reissued - summary.burned


@contextmanager
def opened(kind: str, folder: Path, nodes: Path, **settings: Any) -> Iterator[Issuer]:
    """A stack of its own, with an asset in the treasury: the node's face, or a real node on the folder ``nodes``."""
    with stack_of(kind, nodes, **settings) as stack:
        name = f"issuer {uuid.uuid4()}"
        stack.dev.create_issuer(name, PASSWORD)
        assert stack.node_url is not None
        assert stack.node_cookie is not None
        treasury = NodeTreasury(stack.node_url, stack.node_cookie)
        with BlockingClient(stack.api_url, name, PASSWORD) as client:
            made = Issuer(stack, folder, name, client)
            addresses = [client.treasury_address(treasury) for _ in range(2)]
            issued = client.issue(
                Issue(
                    name="Test Bond",
                    amount=1_000_000,
                    destination_address=addresses[0],
                    domain="example.com",
                    ticker="TEST",
                    pubkey=PUBKEY,
                    is_reissuable=True,
                    reissuance_amount=1,
                    reissuance_address=addresses[1],
                    transfer_restricted=True,
                )
            )
            made.asset_uuid, made.asset_id = issued.asset_uuid, issued.asset_id
            stack.dev.mine(2)
            until(lambda: any(row.amount for row in client.balance(made.asset_uuid).confirmed_balance))
            yield made


@pytest.fixture(scope="module", params=STACKS)
def issuer(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Issuer]:
    with opened(request.param, tmp_path_factory.mktemp("state"), tmp_path_factory.mktemp("node")) as made:
        signer = Signer.random(made.stack.network)
        with log_in(made.stack, signer) as session:
            pointer = session.next_account()
            gaid = session.create_amp0_account(pointer, signer.amp0_account_xpub(pointer))
        made.user = made.client.add_user("Alice", gaid=gaid).id
        yield made


def until_done(issuer: Issuer, operation: str, arguments: tuple[Any, ...], calls: int, *, after: bool) -> Any:
    """Die once at a call, and do it again as the page says; None when the first life had done all of it."""
    try:
        return issuer.run(operation, arguments, Reaper(calls, after))
    except Killed:
        return issuer.run(operation, arguments, Reaper(10**6, after))


@pytest.mark.parametrize(("calls", "after"), DEATHS)
def test_a_distribution(issuer: Issuer, calls: int, after: bool) -> None:
    satoshi = 10 + calls
    assign(issuer, satoshi)
    issuer.expected["distributed"] += satoshi
    try:
        (done,) = until_done(issuer, "distribute", (), calls, after=after)
        assert done.satoshi == satoshi
    except IssuerRefused as refused:
        # The confirm was heard, and only its answer was not: nothing is left to do.
        if not (after and calls == 4 and refused.status == 400):
            raise
    issuer.check()


def assign(issuer: Issuer, satoshi: int) -> None:
    issuer.client.assign(issuer.asset_uuid, issuer.user, satoshi)


@pytest.mark.parametrize("operation", ["reissue", "burn"])
@pytest.mark.parametrize(("calls", "after"), DEATHS)
def test_a_reissue_and_a_burn(issuer: Issuer, operation: str, calls: int, after: bool) -> None:
    satoshi = 100 + calls
    issuer.expected["reissued" if operation == "reissue" else "burned"] += satoshi
    done: Done = until_done(issuer, operation, (satoshi,), calls, after=after)
    assert done.satoshi == satoshi
    issuer.check()
    assert not list(issuer.folder.glob("*.json"))


@pytest.mark.parametrize("kind", STACKS)
def test_what_was_lost_of_sight_stops_everything_and_is_found_again(
    kind: str, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """The node pays itself behind the server's back: which outputs hold the asset is hidden from everybody else."""
    with opened(kind, tmp_path, tmp_path_factory.mktemp("node"), lost_after_seconds=1) as issuer:
        client, uuid_of_asset = issuer.client, issuer.asset_uuid
        assert issuer.stack.node_cookie is not None
        treasury = NodeTreasury(str(issuer.stack.node_url), issuer.stack.node_cookie)
        asyncio.run(treasury.pay(issuer.asset_id, {client.treasury_address(treasury): 400_000}))
        issuer.stack.dev.mine(3)
        until(lambda: client.lost_outputs(uuid_of_asset).lost_outputs)
        with pytest.raises(UnconfirmedMove, match="lost sight"):
            client.burn(uuid_of_asset, 5, treasury)
        found = client.find_lost_outputs(uuid_of_asset, treasury)
        assert len(found) == 2
        assert client.lost_outputs(uuid_of_asset).lost_outputs == []
        assert client.find_lost_outputs(uuid_of_asset, treasury) == []
        client.burn(uuid_of_asset, 5, treasury, report=issuer.mine)
        issuer.expected["burned"] = 5
        issuer.check()
        # What went to somebody else is not found by anybody: only the change of it.
        stranger = Address.from_script(issuer.stack.network, b"\x00\x14" + b"\x5a" * 20, bytes.fromhex(PUBKEY))
        asyncio.run(treasury.pay(issuer.asset_id, {str(stranger): 7}))
        issuer.stack.dev.mine(3)
        until(lambda: client.lost_outputs(uuid_of_asset).lost_outputs)
        (change,) = client.find_lost_outputs(uuid_of_asset, treasury)
        lost = client.lost_outputs(uuid_of_asset).lost_outputs
        assert lost
        assert change not in lost
