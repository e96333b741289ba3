"""How every operation of a treasury walks: made once, waited for, confirmed, and told to whoever listens."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass
from typing import TypeVar

from amp0.errors import ConnectionFailed, ConnectionTimeout, InvalidInput, IssuerRefused, UnconfirmedMove
from amp0.issuer.journal import Journal
from amp0.issuer.treasury import FINAL, Move, Treasury

T = TypeVar("T")

CONFIRMATIONS = FINAL
"""What the server wants to see."""
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
    """How far an operation is, and a sentence: ``found`` (made earlier), ``sent``, ``waiting``, ``confirmed`` or
    ``left`` (for later)."""

    step: str
    text: str
    txid: str = ""


Report = Callable[[Progress], None]


@dataclass(frozen=True, slots=True)
class Walk:
    """What every operation is told: whom to report to, how long to wait."""

    treasury: Treasury
    report: Report
    poll_seconds: float
    wait_seconds: float


@dataclass(frozen=True, slots=True)
class Once:
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

    async def made(self, walk: Walk, note: Journal, existing: tuple[str, int | None] | None) -> tuple[Move, bool]:
        """The move, and whether it had been made before; ``existing`` says that it was, and which it is."""
        if existing is not None:
            for move in await self.listed():
                if move.txid == existing[0] and existing[1] in (None, move.vin):
                    return move, True
            raise InvalidInput(f"the wallet has made no {self.what} of this asset in {existing[0]}")
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
        made = await once(self.act, lambda: self._besides(before))
        walk.report(Progress("sent", f"{self.what} of {self.satoshi:,} satoshi", made.txid))
        return made, False

    async def _besides(self, finished: Collection[str]) -> list[Move]:
        return [move for move in await self.listed() if move.txid not in finished and move.txid not in self.besides]


def unheard(_progress: Progress) -> None:
    """Where nobody listens."""


def parse_move(text: str | None) -> tuple[str, int | None] | None:
    """``TXID`` or ``TXID:VIN``."""
    if text is None:
        return None
    txid, _, vin = text.lower().partition(":")
    if len(txid) != 64 or not (vin or "0").isdigit():
        raise InvalidInput(f"{text[:80]!r} is not TXID or TXID:VIN")
    return txid, int(vin) if vin else None


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


async def once(move: Callable[[], Awaitable[T]], made: Callable[[], Awaitable[Sequence[T]]]) -> T:
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


async def wait_for(walk: Walk, txid: str) -> None:
    """Until a transaction is final."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + walk.wait_seconds
    shown, pause = -1, _FIRST_PAUSE
    while True:
        confirmations = await walk.treasury.confirmations(txid)
        if confirmations < 0:
            raise UnconfirmedMove(
                f"the wallet has abandoned transaction {txid}, or another one spends its coins: look at the wallet. "
                "It may confirm all the same, so nothing is made in its place before that is finally excluded. Send it "
                "again; or leave a reissue or burn alone (besides, --besides), or cancel its distribution",
                [txid],
            )
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


async def confirmed(walk: Walk, confirm: Callable[[], Awaitable[T]]) -> T:
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
