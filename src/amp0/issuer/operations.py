"""Distributions, reissues and burns from start to end, and after a crash from wherever they stopped.

Each goes the same way: the server says what a wallet has to do, the wallet does it, its transaction gets two
confirmations, the server is told and checks it in the chain. Between any two of these the power may fail, or a
connection. So before units are moved, the two records that survive are compared: what the wallet did
(:class:`~amp0.issuer.treasury.Treasury`), and what the server was told. What the wallet did and the server does not
know is finished, not repeated; and when the answer to a call that moves units is lost, the wallet is looked at again,
never asked again. A note on the disk (:mod:`amp0.issuer.journal`) closes the last gap, in which all was done and nobody
heard.

That holds for one wallet with one operation of a kind at a time for an asset.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from amp0.errors import (
    ConnectionFailed,
    ConnectionTimeout,
    InvalidInput,
    IssuerRefused,
    RemoteProtocolError,
    UnconfirmedMove,
)
from amp0.issuer.assets import AssetCalls
from amp0.issuer.journal import Journal, journal
from amp0.issuer.money import MoneyCalls
from amp0.issuer.treasury import Move, Treasury
from amp0.protocol.issuer import (
    Assignment,
    BurnConfirm,
    BurnTxData,
    DistributeConfirm,
    DistributionTxData,
    Outpoint,
    ReissuanceInput,
    ReissueConfirm,
    UpdateBlinders,
    satoshi_of,
)

T = TypeVar("T")

CONFIRMATIONS = 2
"""What makes a transaction final on Liquid, and what the server wants to see."""
POLL_SECONDS = 5.0
"""Longest pause between two looks at a transaction; the first are closer together."""
_FIRST_PAUSE = 0.1
WAIT_SECONDS = 3600.0
"""How long a transaction is waited for before the caller is told; calling again goes on with it."""
SERVER_SECONDS = 120.0
"""How long the server may be behind the wallet's node."""
LOOKS = 3
"""How often a wallet is looked at after an answer of it was lost."""


@dataclass(frozen=True, slots=True)
class Progress:
    """How far an operation is: ``found`` (made earlier), ``sent``, ``waiting`` or ``confirmed``, and a sentence."""

    step: str
    text: str
    txid: str = ""


Report = Callable[[Progress], None]


@dataclass(frozen=True, slots=True)
class Done:
    """What an operation did. ``resumed``: the wallet had made the transaction before; this call finished it.

    ``distribution_uuid`` is empty unless it was a distribution; ``satoshi`` is the sum of its amounts then.
    """

    txid: str
    satoshi: int
    resumed: bool
    vin: int = 0
    distribution_uuid: str = ""


@dataclass(frozen=True, slots=True)
class _Walk:
    """What every operation is told: whom to report to, how long to wait."""

    treasury: Treasury
    report: Report
    poll_seconds: float
    wait_seconds: float


class Operations(AssetCalls, MoneyCalls):
    """The walks over the calls."""

    async def treasury_address(self, treasury: Treasury) -> str:
        """A new address of the treasury's wallet, to issue to; the server is not told of it."""
        return await treasury.new_address()

    async def distribute(
        self,
        asset_uuid: str,
        treasury: Treasury,
        *,
        use_existing: str | None = None,
        report: Report | None = None,
        poll_seconds: float = POLL_SECONDS,
        wait_seconds: float = WAIT_SECONDS,
    ) -> list[Done]:
        """Pay every assignment that is ready and vested; those of distributions that were begun before come first.

        ``use_existing`` is the id of a transaction that already pays one of them: it is confirmed, and nothing is sent.
        Blocks until the server has confirmed; calling again after any failure goes on where it stopped. Raises
        :class:`IssuerRefused` when there is nothing to distribute or the server does not confirm.
        """
        walk = _Walk(treasury, report or _unheard, poll_seconds, wait_seconds)
        await treasury.check()
        asset = await self.asset(asset_uuid)
        waiting = await self.assignments(asset_uuid, distributed=False)
        begun = await self._begun(asset_uuid, waiting)
        if use_existing is not None:
            paid = await self._paid_by(use_existing, begun, treasury)
            return [await self._finish_distribution(walk, asset_uuid, asset.asset_id, paid, use_existing, resumed=True)]
        done = [await self._pay(walk, asset_uuid, asset.asset_id, order) for order in begun]
        if not done or any(_is_ready(assignment) for assignment in waiting):
            file = await self.create_distribution(asset_uuid)
            listed = await self.assignments(asset_uuid, distributed=False)
            order = _Order.of(file.distribution_uuid, listed)
            if order.amounts != {to: satoshi_of(number) for to, number in file.map_address_amount.items()}:
                raise RemoteProtocolError("the request file of the distribution does not pay what was assigned")
            done.append(await self._pay(walk, asset_uuid, asset.asset_id, order))
        return done

    async def reissue(
        self,
        asset_uuid: str,
        satoshi: int,
        treasury: Treasury,
        *,
        state_dir: Path | None = None,
        use_existing: str | None = None,
        besides: Sequence[str] = (),
        report: Report | None = None,
        poll_seconds: float = POLL_SECONDS,
        wait_seconds: float = WAIT_SECONDS,
    ) -> Done:
        """Issue ``satoshi`` more, to the treasury. Blocks until the server has confirmed.

        ``state_dir`` is a folder for a note that it is under way: asked again after any failure, the same operation
        goes on. A reissue of that amount that the wallet has made and the server was not told of is finished in any
        case; one of another amount raises :class:`UnconfirmedMove`. ``use_existing`` (``TXID:VIN``) finishes that one;
        ``besides`` names transactions that are to be left alone.
        """
        walk = _Walk(treasury, report or _unheard, poll_seconds, wait_seconds)
        await treasury.check()
        asset = await self.asset(asset_uuid)

        async def known() -> set[str]:
            return {row.txid for row in await self.reissuances(asset_uuid)}

        async def prepare() -> None:
            file = await self.request_reissue(asset_uuid, satoshi)
            await self._require_in_sight(asset_uuid, file.reissuance_utxos, treasury)

        existing = _move(use_existing, satoshi)
        with journal(state_dir, "reissue", asset.asset_uuid, None if existing else satoshi) as note:
            once = _Once(
                "reissue",
                satoshi,
                frozenset(besides),
                listed=lambda: treasury.reissues(asset.asset_id),
                known=known,
                prepare=prepare,
                act=lambda: treasury.reissue(asset.asset_id, satoshi),
            )
            made, resumed = (existing, True) if existing else await once.made(walk, note)
            await _wait(walk, made.txid)
            body = ReissueConfirm(
                details=await treasury.details(made.txid),
                reissuance_output=ReissuanceInput(txid=made.txid, vin=made.vin),
                listissuances=await treasury.issuances(asset.asset_id),
            )
            answer = await _confirmed(walk, lambda: self.confirm_reissue(asset_uuid, body))
            note.end()
        walk.report(Progress("confirmed", f"the server knows of {answer.reissuance_amount:,} satoshi more", made.txid))
        return Done(txid=answer.txid, satoshi=answer.reissuance_amount, resumed=resumed, vin=answer.vin)

    async def burn(
        self,
        asset_uuid: str,
        satoshi: int,
        treasury: Treasury,
        *,
        state_dir: Path | None = None,
        use_existing: str | None = None,
        besides: Sequence[str] = (),
        report: Report | None = None,
        poll_seconds: float = POLL_SECONDS,
        wait_seconds: float = WAIT_SECONDS,
    ) -> Done:
        """Destroy ``satoshi`` of the treasury, for ever. Blocks until the server has confirmed.

        ``state_dir``, ``use_existing`` (a transaction's id) and ``besides`` are those of :meth:`reissue`.
        """
        walk = _Walk(treasury, report or _unheard, poll_seconds, wait_seconds)
        await treasury.check()
        asset = await self.asset(asset_uuid)

        async def prepare() -> None:
            file = await self.request_burn(asset_uuid, satoshi)
            await self._require_in_sight(asset_uuid, file.utxos, treasury)

        existing = _move(use_existing, satoshi)
        with journal(state_dir, "burn", asset.asset_uuid, None if existing else satoshi) as note:
            once = _Once(
                "burn",
                satoshi,
                frozenset(besides),
                listed=lambda: treasury.burns(asset.asset_id),
                known=lambda: self._known_burns(asset_uuid),
                prepare=prepare,
                act=lambda: treasury.burn(asset.asset_id, satoshi),
            )
            made, resumed = (existing, True) if existing else await once.made(walk, note)
            await _wait(walk, made.txid)
            change = await treasury.change(made.txid, asset.asset_id)
            body = BurnConfirm(tx_data=BurnTxData(txid=made.txid), change_data=change)
            await _confirmed(walk, lambda: self.confirm_burn(asset_uuid, body))
            note.end()
        walk.report(Progress("confirmed", "the server knows of the burn", made.txid))
        return Done(txid=made.txid, satoshi=made.satoshi, resumed=resumed)

    async def find_lost_outputs(self, asset_uuid: str, treasury: Treasury) -> list[Outpoint]:
        """Hand in the blinders of lost outputs that the treasury's wallet knows; answers those that were found."""
        asset = await self.asset(asset_uuid)
        lost = await self.lost_outputs(asset_uuid)
        found = []
        for outpoint in [*lost.lost_outputs, *lost.reissuance_lost_outputs]:
            rows = await treasury.details(outpoint.txid)
            for asset_id in filter(None, (asset.asset_id, asset.reissuance_token_id)):
                rows = [*rows, *await treasury.change(outpoint.txid, asset_id)]  # type: ignore[list-item]
            for row in rows:
                if row.vout == outpoint.vout and row.amountblinder and row.assetblinder:
                    blinders = UpdateBlinders(
                        txid=outpoint.txid,
                        vout=outpoint.vout,
                        asset_blinder=row.assetblinder,
                        amount_blinder=row.amountblinder,
                    )
                    await self.update_blinders(asset_uuid, blinders)
                    found.append(outpoint)
                    break
        return found

    # -- the parts ---------------------------------------------------------------------------

    async def _begun(self, asset_uuid: str, waiting: Sequence[Assignment]) -> list[_Order]:
        """Distributions that the server made and nobody has confirmed."""
        known = await self.distributions(asset_uuid)
        open_ones = [row.distribution_uuid for row in known if row.distribution_status == "UNCONFIRMED"]
        orders = [_Order.of(uuid, waiting) for uuid in open_ones]
        return [order for order in orders if order.amounts]

    async def _paid_by(self, txid: str, begun: Sequence[_Order], treasury: Treasury) -> _Order:
        for order in begun:
            if txid in await treasury.payments(list(order.amounts)):
                return order
        raise InvalidInput(f"the wallet has no transaction {txid} that pays a distribution of this asset")

    async def _pay(self, walk: _Walk, asset_uuid: str, asset_id: str, order: _Order) -> Done:
        addresses = list(order.amounts)

        async def made() -> list[str]:
            return await walk.treasury.payments(addresses)

        paid = await made()
        if paid:
            walk.report(Progress("found", "the wallet has paid this distribution already; nothing is sent", paid[0]))
        else:
            await self._require_in_sight(asset_uuid, (), walk.treasury)
            txid = await _once(lambda: walk.treasury.pay(asset_id, order.amounts), made)
            walk.report(Progress("sent", f"paid {len(addresses)} assignments", txid))
        return await self._finish_distribution(
            walk, asset_uuid, asset_id, order, paid[0] if paid else txid, resumed=bool(paid)
        )

    async def _finish_distribution(
        self, walk: _Walk, asset_uuid: str, asset_id: str, order: _Order, txid: str, *, resumed: bool
    ) -> Done:
        await _wait(walk, txid)
        body = DistributeConfirm(
            tx_data=DistributionTxData(txid=txid, details=await walk.treasury.details(txid)),
            change_data=await walk.treasury.change(txid, asset_id),
        )
        await _confirmed(walk, lambda: self.confirm_distribution(asset_uuid, order.uuid, body))
        walk.report(Progress("confirmed", "the server has confirmed the distribution", txid))
        return Done(txid=txid, satoshi=sum(order.amounts.values()), resumed=resumed, distribution_uuid=order.uuid)

    async def _require_in_sight(self, asset_uuid: str, needed: Sequence[Outpoint], treasury: Treasury) -> None:
        """Nothing is moved while the ledger has lost sight of something, or counts with coins the wallet lacks."""
        balance = await self.balance(asset_uuid)
        lost = [*balance.lost_outputs, *balance.reissuance_lost_outputs]
        if lost:
            shown = ", ".join(f"{outpoint.txid}:{outpoint.vout}" for outpoint in lost[:3])
            raise UnconfirmedMove(
                f"the server has lost sight of {len(lost)} outputs of this asset ({shown}); confirm what moved them, "
                "or hand in their blinders (find_lost_outputs, amp0 issuer lost-outputs --node), and try again",
                [outpoint.txid for outpoint in lost],
            )
        absent = await treasury.missing(needed) if needed else []
        if absent:
            raise InvalidInput(
                f"the wallet does not have {absent[0].txid}:{absent[0].vout}, which the server counts as treasury: is "
                "it the right node and wallet, and has it caught up?"
            )

    async def _known_burns(self, asset_uuid: str) -> set[str]:
        """Burns that were confirmed at the server. Where it has no list of them, what it shows as burnt."""
        try:
            return {row.txid for row in await self.burns(asset_uuid)}
        except IssuerRefused as refused:
            if refused.status != 404:
                raise
        return {row.txid for row in await self.txs(asset_uuid) if any(output.is_burnt for output in row.outputs)}


@dataclass(frozen=True, slots=True)
class _Order:
    """One distribution: what each address gets."""

    uuid: str
    amounts: dict[str, int]

    @classmethod
    def of(cls, uuid: str, assignments: Sequence[Assignment]) -> _Order:
        own = [row for row in assignments if row.distribution_uuid == uuid and not row.is_distributed]
        return cls(uuid, {row.receiving_address: row.amount for row in own if row.receiving_address})


@dataclass(frozen=True, slots=True)
class _Once:
    """A move that is made once, however often it is asked for."""

    what: str
    satoshi: int
    besides: frozenset[str]
    listed: Callable[[], Awaitable[list[Move]]]
    """What the wallet has made."""
    known: Callable[[], Awaitable[set[str]]]
    """What the server was told of."""
    prepare: Callable[[], Awaitable[None]]
    """Everything that may still refuse."""
    act: Callable[[], Awaitable[Move]]

    async def made(self, walk: _Walk, note: Journal) -> tuple[Move, bool]:
        """The move, and whether it had been made before."""
        finished = note.before if note.before is not None else await self.known()
        found = _same(self.what, await self._besides(finished), self.satoshi)
        if found is not None:
            walk.report(Progress("found", f"the wallet has made this {self.what} already; nothing is sent", found.txid))
            return found, True
        await self.prepare()
        if note.before is None:
            note.begin([move.txid for move in await self.listed()])
        before = note.before
        assert before is not None
        made = await _once(self.act, lambda: self._besides(before))
        walk.report(Progress("sent", f"{self.what} of {self.satoshi:,} satoshi", made.txid))
        return made, False

    async def _besides(self, finished: Collection[str]) -> list[Move]:
        return [move for move in await self.listed() if move.txid not in finished and move.txid not in self.besides]


def _is_ready(assignment: Assignment) -> bool:
    return assignment.ready_for_distribution and assignment.has_vested and assignment.distribution_uuid is None


def _unheard(_progress: Progress) -> None:
    """Where nobody listens."""


def _move(text: str | None, satoshi: int) -> Move | None:
    """``TXID`` or ``TXID:VIN``."""
    if text is None:
        return None
    txid, _, vin = text.partition(":")
    if len(txid) != 64 or not (vin or "0").isdigit():
        raise InvalidInput(f"{text[:80]!r} is not TXID or TXID:VIN")
    return Move(txid.lower(), satoshi, int(vin or 0))


def _same(what: str, unknown: Sequence[Move], satoshi: int) -> Move | None:
    """The one move that was made for this already, if any was made."""
    if not unknown:
        return None
    if len(unknown) == 1 and unknown[0].satoshi == satoshi:
        return unknown[0]
    listed = ", ".join(f"{move.txid}:{move.vin} ({move.satoshi:,} satoshi)" for move in unknown[:3])
    raise UnconfirmedMove(
        f"the wallet has made a {what} that the server was not told of: {listed}. Finish it first, giving it as "
        f"use_existing (--use-existing); or leave it alone, naming it as one of besides (--besides)",
        [move.txid for move in unknown],
    )


async def _once(move: Callable[[], Awaitable[T]], made: Callable[[], Awaitable[Sequence[T]]]) -> T:
    """Move units; when the answer is lost, look what the wallet made instead of asking it again."""
    try:
        return await move()
    except ConnectionFailed as lost:
        for look in range(LOOKS):
            await asyncio.sleep(look)
            try:
                found = await made()
            except ConnectionFailed:
                continue
            if len(found) == 1:
                return found[0]
        raise ConnectionFailed(
            f"the wallet's answer was lost ({lost}), and whether it moved anything is not known; call again when it "
            "answers: it is looked at before anything is sent"
        ) from None


async def _wait(walk: _Walk, txid: str) -> None:
    """Until a transaction is final."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + walk.wait_seconds
    shown, pause = -1, _FIRST_PAUSE
    while True:
        confirmations = await walk.treasury.confirmations(txid)
        if confirmations < 0:
            raise UnconfirmedMove(f"transaction {txid} can no longer confirm; look at the wallet", [txid])
        if confirmations >= CONFIRMATIONS:
            return
        if confirmations != shown:
            walk.report(Progress("waiting", f"{confirmations} of {CONFIRMATIONS} confirmations", txid))
            shown = confirmations
            continue
        if loop.time() > deadline:
            raise ConnectionTimeout(
                f"transaction {txid} has {confirmations} confirmations after {walk.wait_seconds:.0f} s; call again "
                "later: it is not sent twice"
            )
        await asyncio.sleep(min(pause, walk.poll_seconds))
        pause *= 1.5


async def _confirmed(walk: _Walk, confirm: Callable[[], Awaitable[T]]) -> T:
    """The server's answer, once it has seen the blocks that the wallet's node has."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + min(SERVER_SECONDS, walk.wait_seconds)
    while True:
        try:
            return await confirm()
        except IssuerRefused as refused:
            behind = refused.status == 400 and "try again" in refused.text
            if not behind or loop.time() > deadline:
                raise
        await asyncio.sleep(min(walk.poll_seconds, 1.0))
