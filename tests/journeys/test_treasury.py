"""A treasury's operations on a whole stack, killed after every call, and resumed: nothing twice, nothing lost."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from amp0 import IssuerClient as BlockingClient
from amp0 import Signer
from amp0.errors import IssuerRefused
from amp0.issuer import Done, Issue, IssuerClient, NodeTreasury, Progress
from amp0.local.stack import Stack
from tests.journeys.conftest import PASSWORD, log_in

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


@pytest.fixture(scope="module")
def issuer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Issuer]:
    with Stack.on_free_ports(node_port=0) as stack:
        name = f"issuer {uuid.uuid4()}"
        stack.dev.create_issuer(name, PASSWORD)
        assert stack.node_url is not None
        assert stack.node_cookie is not None
        treasury = NodeTreasury(stack.node_url, stack.node_cookie)
        with BlockingClient(stack.api_url, name, PASSWORD) as client:
            made = Issuer(stack, tmp_path_factory.mktemp("state"), name, client)
            issued = client.issue(
                Issue(
                    name="Test Bond",
                    amount=1_000_000,
                    destination_address=client.treasury_address(treasury),
                    domain="example.com",
                    ticker="TEST",
                    pubkey=PUBKEY,
                    is_reissuable=True,
                    reissuance_amount=1,
                    reissuance_address=client.treasury_address(treasury),
                    transfer_restricted=True,
                )
            )
            made.asset_uuid = issued.asset_uuid
            stack.dev.mine(2)
            signer = Signer.random(stack.network)
            with log_in(stack, signer) as session:
                pointer = session.next_account()
                gaid = session.create_amp0_account(pointer, signer.amp0_account_xpub(pointer))
            while not any(row.amount for row in client.balance(made.asset_uuid).confirmed_balance):
                time.sleep(0.05)
            made.user = client.add_user("Alice", gaid=gaid).id
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
