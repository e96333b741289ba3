"""Distributions, reissues and burns from start to end, and after a crash from wherever they stopped.

Each goes the same way: the server says what a wallet has to do, the wallet does it, its transaction gets two
confirmations, the server is told and checks it in the chain. Between any two of these the power may fail, or a
connection. So before units are moved, the two records that survive are compared: what the wallet did
(:class:`~amp0.issuer.treasury.Treasury`), and what the server was told. What the wallet did and the server does not
know is finished, not repeated; and when the answer to a call that moves units is lost, the wallet is looked at again,
never asked again. A note on the disk (:mod:`amp0.issuer.journal`) closes the last gap, in which all was done and nobody
heard.

That holds for one wallet with one operation of a kind at a time for an asset, which a lock in the folder of that note
sees to.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from amp0.errors import (
    InvalidInput,
    IssuerRefused,
    NodeRefused,
    RemoteProtocolError,
    UnconfirmedMove,
)
from amp0.issuer.assets import AssetCalls
from amp0.issuer.journal import journal
from amp0.issuer.money import MoneyCalls
from amp0.issuer.treasury import Treasury
from amp0.issuer.walk import (
    POLL_SECONDS,
    WAIT_SECONDS,
    Once,
    Progress,
    Report,
    Walk,
    confirmed,
    once,
    parse_move,
    unheard,
    wait_for,
)
from amp0.protocol.issuer import (
    Asset,
    Assignment,
    BurnConfirm,
    BurnTxData,
    ChangeOutput,
    DistributeConfirm,
    DistributionTxData,
    Outpoint,
    ReissuanceInput,
    ReissueConfirm,
    UpdateBlinders,
    WalletDetail,
    satoshi_of,
)


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
        state_dir: Path | None = None,
        use_existing: str | None = None,
        report: Report | None = None,
        poll_seconds: float = POLL_SECONDS,
        wait_seconds: float = WAIT_SECONDS,
    ) -> list[Done]:
        """Pay every assignment that is ready and vested; those of distributions that were begun before come first.

        A server puts as many payments into one distribution as fit into a transaction; this goes on until all are paid.
        ``use_existing`` is the id of a transaction that already pays one of them: it is confirmed, and nothing is sent.
        ``state_dir`` is a folder for a lock: two who distribute an asset at the same time would both pay what has
        begun, and the second one raises :class:`ConfigError` where both name the same folder. Blocks until the server
        has confirmed; calling again after any failure goes on where it stopped. Raises :class:`IssuerRefused` when
        there is nothing to distribute or the server does not confirm.
        """
        walk = Walk(treasury, report or unheard, poll_seconds, wait_seconds)
        await treasury.check()
        asset = await self.asset(asset_uuid)
        with journal(state_dir, "distribution", asset.asset_uuid, None):
            return await self._distribute(walk, asset, use_existing)

    async def _distribute(self, walk: Walk, asset: Asset, use_existing: str | None) -> list[Done]:
        asset_uuid = asset.asset_uuid
        waiting = await self.assignments(asset_uuid, distributed=False)
        begun = await self._begun(asset_uuid, waiting)
        if use_existing is not None:
            return [await self._existing(walk, asset, begun, use_existing)]
        done = [await self._pay(walk, asset_uuid, asset.asset_id, order) for order in begun]
        while not done or any(_is_ready(assignment) for assignment in waiting):
            try:
                file = await self.create_distribution(asset_uuid)
            except IssuerRefused as refused:
                if done and refused.status == 400 and "nothing to distribute" in refused.text:
                    # What is left cannot be paid for now, which is no reason to hide what was.
                    walk.report(Progress("left", refused.text))
                    break
                raise
            waiting = await self.assignments(asset_uuid, distributed=False)
            order = _Order.of(file.distribution_uuid, waiting)
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
        walk = Walk(treasury, report or unheard, poll_seconds, wait_seconds)
        await treasury.check()
        asset = await self.asset(asset_uuid)

        async def known() -> set[str]:
            return {row.txid for row in await self.reissuances(asset_uuid)}

        async def prepare() -> None:
            await self._require_nothing_lost(asset_uuid)
            file = await self.request_reissue(asset_uuid, satoshi)
            await _require_coins(file.reissuance_utxos, treasury)

        existing = parse_move(use_existing)
        with journal(state_dir, "reissue", asset.asset_uuid, None if existing else satoshi) as note:
            once = Once(
                "reissue",
                satoshi,
                frozenset(besides),
                listed=lambda: treasury.reissues(asset.asset_id),
                known=known,
                prepare=prepare,
                act=lambda: treasury.reissue(asset.asset_id, satoshi),
            )
            made, resumed = await once.made(walk, note, existing)
            await wait_for(walk, made.txid)
            body = ReissueConfirm(
                details=await treasury.details(made.txid),
                reissuance_output=ReissuanceInput(txid=made.txid, vin=made.vin),
                listissuances=await treasury.issuances(asset.asset_id),
            )
            answer = await confirmed(walk, lambda: self.confirm_reissue(asset_uuid, body))
            note.end(made.txid)
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
        walk = Walk(treasury, report or unheard, poll_seconds, wait_seconds)
        await treasury.check()
        asset = await self.asset(asset_uuid)

        async def prepare() -> None:
            await self._require_nothing_lost(asset_uuid)
            file = await self.request_burn(asset_uuid, satoshi)
            await _require_coins(file.utxos, treasury)

        existing = parse_move(use_existing)
        with journal(state_dir, "burn", asset.asset_uuid, None if existing else satoshi) as note:
            once = Once(
                "burn",
                satoshi,
                frozenset(besides),
                listed=lambda: treasury.burns(asset.asset_id),
                known=lambda: self._known_burns(asset_uuid),
                prepare=prepare,
                act=lambda: treasury.burn(asset.asset_id, satoshi),
            )
            made, resumed = await once.made(walk, note, existing)
            await wait_for(walk, made.txid)
            change = await treasury.change(made.txid, asset.asset_id)
            body = BurnConfirm(tx_data=BurnTxData(txid=made.txid), change_data=change)
            await confirmed(walk, lambda: self.confirm_burn(asset_uuid, body))
            note.end(made.txid)
        walk.report(Progress("confirmed", "the server knows of the burn", made.txid))
        return Done(txid=made.txid, satoshi=made.satoshi, resumed=resumed)

    async def find_lost_outputs(self, asset_uuid: str, treasury: Treasury) -> list[Outpoint]:
        """Hand in the blinders of lost outputs that the treasury's wallet knows; answers those that were found."""
        asset = await self.asset(asset_uuid)
        lost = await self.lost_outputs(asset_uuid)
        found = []
        for outpoint in [*lost.lost_outputs, *lost.reissuance_lost_outputs]:
            for row in await _known_outputs(treasury, outpoint.txid, asset):
                if row.vout == outpoint.vout and row.amountblinder and row.assetblinder:
                    await self.update_blinders(
                        asset_uuid,
                        UpdateBlinders(
                            txid=outpoint.txid,
                            vout=outpoint.vout,
                            asset_blinder=row.assetblinder,
                            amount_blinder=row.amountblinder,
                            amount=satoshi_of(abs(row.amount)),
                        ),
                    )
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

    async def _existing(self, walk: Walk, asset: Asset, begun: Sequence[_Order], text: str) -> Done:
        """The distribution that a transaction pays: confirmed now, or earlier."""
        parsed = parse_move(text)
        assert parsed is not None
        txid = parsed[0]
        for order in begun:
            if txid in await walk.treasury.payments(list(order.amounts)):
                return await self._finish_distribution(
                    walk, asset.asset_uuid, asset.asset_id, order, txid, resumed=True
                )
        for row in await self.distributions(asset.asset_uuid):
            paid = [one.amount for tx in row.transactions if tx.txid == txid for one in tx.assignments]
            if paid:
                return Done(txid, sum(paid), resumed=True, distribution_uuid=row.distribution_uuid)
        raise InvalidInput(f"the wallet has no transaction {txid} that pays a distribution of this asset")

    async def _pay(self, walk: Walk, asset_uuid: str, asset_id: str, order: _Order) -> Done:
        addresses = list(order.amounts)

        async def made() -> list[str]:
            return await walk.treasury.payments(addresses)

        paid = await made()
        if len(paid) > 1:
            # One was abandoned, and another made in its place: that is the one to go on with.
            depths = {txid: await walk.treasury.confirmations(txid) for txid in paid}
            paid.sort(key=lambda txid: -depths[txid])
        if paid:
            walk.report(Progress("found", "the wallet has paid this distribution already; nothing is sent", paid[0]))
        else:
            await self._require_nothing_lost(asset_uuid)
            txid = await once(lambda: walk.treasury.pay(asset_id, order.amounts), made)
            walk.report(Progress("sent", f"paid {len(addresses)} assignments", txid))
        return await self._finish_distribution(
            walk, asset_uuid, asset_id, order, paid[0] if paid else txid, resumed=bool(paid)
        )

    async def _finish_distribution(
        self, walk: Walk, asset_uuid: str, asset_id: str, order: _Order, txid: str, *, resumed: bool
    ) -> Done:
        await wait_for(walk, txid)
        body = DistributeConfirm(
            tx_data=DistributionTxData(txid=txid, details=await walk.treasury.details(txid)),
            change_data=await walk.treasury.change(txid, asset_id),
        )
        await confirmed(walk, lambda: self.confirm_distribution(asset_uuid, order.uuid, body))
        walk.report(Progress("confirmed", "the server has confirmed the distribution", txid))
        return Done(txid=txid, satoshi=sum(order.amounts.values()), resumed=resumed, distribution_uuid=order.uuid)

    async def _require_nothing_lost(self, asset_uuid: str) -> None:
        """Nothing is moved while the ledger has lost sight of something."""
        balance = await self.balance(asset_uuid)
        lost = [*balance.lost_outputs, *balance.reissuance_lost_outputs]
        if lost:
            shown = ", ".join(f"{outpoint.txid}:{outpoint.vout}" for outpoint in lost[:3])
            raise UnconfirmedMove(
                f"the server has lost sight of {len(lost)} outputs of this asset ({shown}); confirm what moved them, "
                "or hand in their blinders (find_lost_outputs, amp0 issuer lost-outputs), and try again",
                [outpoint.txid for outpoint in lost],
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


def _is_ready(assignment: Assignment) -> bool:
    return assignment.ready_for_distribution and assignment.has_vested and assignment.distribution_uuid is None


async def _require_coins(needed: Sequence[Outpoint], treasury: Treasury) -> None:
    """The server counts with coins of the treasury; this wallet has to be the one that has them."""
    absent = await treasury.missing(needed) if needed else []
    if absent:
        raise InvalidInput(
            f"the wallet does not have {absent[0].txid}:{absent[0].vout}, which the server counts as treasury: is it "
            "the right node and wallet, and has it caught up?"
        )


async def _known_outputs(treasury: Treasury, txid: str, asset: Asset) -> list[WalletDetail | ChangeOutput]:
    """What a wallet knows of its own outputs of a transaction, in an asset and its token.

    Nothing of a transaction that is not the wallet's, and nothing of what went to others: that stays lost, as it is.
    """
    ids = [one for one in (asset.asset_id, asset.reissuance_token_id) if one is not None]
    try:
        details = await treasury.details(txid)
    except NodeRefused:
        return []
    rows: list[WalletDetail | ChangeOutput] = [row for row in details if row.category != "send"]
    for asset_id in ids:
        rows += await treasury.change(txid, asset_id)
    return [row for row in rows if row.asset in ids]
