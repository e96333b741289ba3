"""An issuer's server and a treasury's wallet in memory, which lose answers and fail wherever a test wants.

:class:`Trouble` counts every call of either. At one of them it raises, before the call had any effect or after it had
all of it: what a broken connection, or a killed program, looks like from here.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec

from amp0.errors import IssuerRefused
from amp0.issuer import IssuerClient, Move
from amp0.protocol.issuer import (
    COIN,
    Asset,
    Assignment,
    Balance,
    Burn,
    BurnConfirm,
    BurnFile,
    ChangeOutput,
    DistributeConfirm,
    DistributeFile,
    Distribution,
    DistributionTx,
    IssuanceEntry,
    Outpoint,
    PaidAssignment,
    Reissuance,
    ReissueConfirm,
    Reissued,
    ReissueFile,
    WalletDetail,
)

UUID = "0b1e1ad1-0000-4000-8000-000000000000"
ASSET_ID = "aa" * 32
TOKEN_COIN = Outpoint(txid="ee" * 32, vout=1)
WHEN = "2026-01-01T00:00:00.000000Z"


@dataclass
class Trouble:
    """What goes wrong at the call number ``at``: ``error`` is raised, before its effect or ``after`` it."""

    error: Exception | None = None
    at: int = -1
    after: bool = False
    calls: int = 0
    names: list[str] = field(default_factory=list)

    def begin(self, name: str) -> int:
        number, self.calls = self.calls, self.calls + 1
        self.names.append(name)
        if self.error is not None and number == self.at and not self.after:
            raise self.error
        return number

    def end(self, number: int) -> None:
        if self.error is not None and number == self.at and self.after:
            raise self.error


def troubled(cls: type) -> type:
    """Every public coroutine of a class, with trouble before and after."""
    for name, function in list(vars(cls).items()):
        if not name.startswith("_") and callable(function):
            setattr(cls, name, _troubled(name, function))
    return cls


def _troubled(name: str, function: Any) -> Any:
    async def method(self: Any, *args: Any, **kwargs: Any) -> Any:
        number = self.trouble.begin(name)
        value = await function(self, *args, **kwargs)
        self.trouble.end(number)
        return value

    return method


@troubled
class Wallet:
    """A treasury that remembers what it made, whoever has heard of it."""

    def __init__(self, trouble: Trouble) -> None:
        self.trouble = trouble
        self.paid: list[tuple[str, dict[str, int]]] = []
        self.reissued: list[Move] = []
        self.burnt: list[Move] = []
        self.depth: dict[str, int] = {}
        self.coins = {(TOKEN_COIN.txid, TOKEN_COIN.vout)}

    def _txid(self) -> str:
        txid = f"{len(self.depth) + 1:064x}"
        self.depth[txid] = 0
        return txid

    async def check(self) -> None: ...

    async def new_address(self) -> str:
        raise AssertionError("only issuances want one")

    async def missing(self, outpoints: Sequence[Outpoint]) -> list[Outpoint]:
        return [outpoint for outpoint in outpoints if (outpoint.txid, outpoint.vout) not in self.coins]

    async def payments(self, addresses: Sequence[str]) -> list[str]:
        return [txid for txid, amounts in self.paid if set(addresses) & set(amounts)]

    async def pay(self, asset_id: str, amounts: Mapping[str, int]) -> str:
        assert asset_id == ASSET_ID
        txid = self._txid()
        self.paid.append((txid, dict(amounts)))
        return txid

    async def reissues(self, asset_id: str) -> list[Move]:
        return list(self.reissued)

    async def reissue(self, asset_id: str, satoshi: int) -> Move:
        self.reissued.append(Move(self._txid(), satoshi, 0))
        return self.reissued[-1]

    async def burns(self, asset_id: str) -> list[Move]:
        return list(self.burnt)

    async def burn(self, asset_id: str, satoshi: int) -> Move:
        self.burnt.append(Move(self._txid(), satoshi))
        return self.burnt[-1]

    async def confirmations(self, txid: str) -> int:
        self.depth[txid] += self.depth[txid] >= 0
        return self.depth[txid]

    async def details(self, txid: str) -> list[WalletDetail]:
        return [WalletDetail(vout=0)]

    async def change(self, txid: str, asset_id: str) -> list[ChangeOutput]:
        return [ChangeOutput(txid=txid, vout=1)]

    async def issuances(self, asset_id: str) -> list[IssuanceEntry]:
        return []


@troubled
class Office(IssuerClient):
    """The server: what it was told, and what it makes of it."""

    def __init__(self, trouble: Trouble) -> None:
        super().__init__("https://issuer.example", "bonds", "correct horse")
        self.trouble = trouble
        self.rows: list[Assignment] = []
        self.open: list[str] = []
        self.confirmed: dict[str, str] = {}
        self.reissues_known: dict[str, int] = {}
        self.burns_known: dict[str, int] = {}
        self.asked_to_burn = 0
        self.most_payments: int | None = None
        self.unpayable: set[int] = set()
        self.lost: list[Outpoint] = []
        self.behind = 0

    def _behind(self) -> None:
        if self.behind:
            self.behind -= 1
            raise IssuerRefused("x has 1 of 2 confirmations here; try again once it has them", status=400)

    def _assigned(self, satoshi: int) -> None:
        number = len(self.rows) + 1
        self.rows.append(
            Assignment(
                id=number,
                registered_user=7,
                amount=satoshi,
                receiving_address=None,
                distribution_uuid=None,
                ready_for_distribution=True,
                vesting_datetime=None,
                vesting_timestamp=None,
                has_vested=True,
                is_distributed=False,
                creator=1,
                gaid=None,
            )
        )

    async def asset(self, asset_uuid: str) -> Asset:
        assert asset_uuid == UUID
        return Asset(
            name="Bonds", asset_uuid=UUID, issuer=1, asset_id=ASSET_ID, reissuance_token_id="bb" * 32, requirements=[],
            ticker="BND", precision=0, domain="a.example", pubkey=None, is_registered=False, is_authorized=False,
            is_locked=False, issuer_authorization_endpoint=None, transfer_restricted=True,
        )  # fmt: skip

    async def balance(self, asset_uuid: str) -> Balance:
        return Balance(confirmed_balance=[], lost_outputs=list(self.lost), reissuance_lost_outputs=[])

    async def assignments(self, asset_uuid: str, *, distributed: bool | None = None) -> list[Assignment]:
        return [row for row in self.rows if distributed in (None, row.is_distributed)]

    async def distributions(self, asset_uuid: str) -> list[Distribution]:
        return [
            Distribution(
                distribution_uuid=one,
                distribution_status="CONFIRMED" if one in self.confirmed else "UNCONFIRMED",
                transactions=[self._paid(one)] if one in self.confirmed else [],
            )
            for one in self.open
        ]

    def _paid(self, distribution_uuid: str) -> DistributionTx:
        rows = [row for row in self.rows if row.distribution_uuid == distribution_uuid]
        return DistributionTx(
            txid=self.confirmed[distribution_uuid],
            transaction_status="CONFIRMED",
            included_blockheight=1,
            confirmed_datetime=WHEN,
            assignments=[PaidAssignment(registered_user=7, amount=row.amount, vout=row.id) for row in rows],
        )

    async def create_distribution(self, asset_uuid: str) -> DistributeFile:
        made = str(uuid.UUID(int=len(self.open) + 1))
        fresh = [row for row in self.rows if row.distribution_uuid is None and row.id not in self.unpayable]
        fresh = fresh[: self.most_payments]
        if not fresh:
            raise IssuerRefused("There is nothing to distribute: user 7 cannot be paid", status=400)
        self.open.append(made)
        self.rows = [
            msgspec.structs.replace(row, distribution_uuid=made, receiving_address=f"address {row.id}")
            if row in fresh
            else row
            for row in self.rows
        ]
        amounts = {f"address {row.id}": row.amount / COIN for row in fresh}
        return DistributeFile(
            base_url="https://issuer.example/api/{}", asset_uuid=UUID, asset_id=ASSET_ID, distribution_uuid=made,
            map_address_amount=amounts, map_address_asset=dict.fromkeys(amounts, ASSET_ID),
        )  # fmt: skip

    async def confirm_distribution(self, asset_uuid: str, distribution_uuid: str, done: DistributeConfirm) -> None:
        self._behind()
        assert self.confirmed.setdefault(distribution_uuid, done.tx_data.txid) == done.tx_data.txid
        self.rows = [
            msgspec.structs.replace(row, is_distributed=True) if row.distribution_uuid == distribution_uuid else row
            for row in self.rows
        ]

    async def reissuances(self, asset_uuid: str) -> list[Reissuance]:
        return [
            Reissuance(
                txid=txid,
                vout=0,
                destination_address="",
                reissuance_amount=satoshi,
                confirmed_in_block="",
                created=WHEN,
            )
            for txid, satoshi in self.reissues_known.items()
        ]

    async def request_reissue(self, asset_uuid: str, satoshi: int) -> ReissueFile:
        self._wanted = satoshi
        return ReissueFile(
            base_url="https://issuer.example/api/{}", asset_uuid=UUID, asset_id=ASSET_ID, amount=satoshi / COIN,
            reissuance_utxos=[TOKEN_COIN],
        )  # fmt: skip

    async def confirm_reissue(self, asset_uuid: str, done: ReissueConfirm) -> Reissued:
        self._behind()
        made = done.reissuance_output
        self.reissues_known[made.txid] = self._wanted
        return Reissued(txid=made.txid, vin=made.vin, reissuance_amount=self._wanted)

    async def burns(self, asset_uuid: str) -> list[Burn]:
        return [Burn(txid=txid, amount=satoshi, created=WHEN) for txid, satoshi in self.burns_known.items()]

    async def request_burn(self, asset_uuid: str, satoshi: int) -> BurnFile:
        return BurnFile(
            base_url="https://issuer.example/api/{}",
            asset_uuid=UUID,
            asset_id=ASSET_ID,
            amount=satoshi / COIN,
            utxos=[],
        )

    async def confirm_burn(self, asset_uuid: str, done: BurnConfirm) -> None:
        self._behind()
        self.burns_known[done.tx_data.txid] = 1
