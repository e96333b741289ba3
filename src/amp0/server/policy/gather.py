"""From a transaction to what the rules need to know: few look-ups, and none more than the rules ask for.

The one thing that is not simply looked up is whose a unit was. Outputs are all open, and the balance proof says that
inputs hold what outputs do. So what the ledger, or the spent output itself, says of the inputs is added up; what is
left over must be in those that nobody can look into. It is attributed where all of them are one holder's, and
unattributed otherwise, which no transfer survives.

Reads, and writes nothing. An earlier decision that holds one of the same outpoints does not count: this one takes its
place or is refused, and never will both confirm.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import reduce
from operator import or_
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from amp0.elements.hashes import Txid
from amp0.elements.script import is_unspendable
from amp0.elements.transaction import OutPoint
from amp0.server.cosign_checks import Spend
from amp0.server.ledger.units import Unit
from amp0.server.policy import book, headcount, limits, lookups, outlook
from amp0.server.policy.facts import Asset, Coin, Holder, Kind, Movement, Party, Payment, Source, Target, Transfer
from amp0.server.policy.rules import Needs, Rule

_TREASURY, _BURN, _FOREIGN = Party(Kind.TREASURY), Party(Kind.BURN), Party(Kind.FOREIGN)


@dataclass(frozen=True, slots=True)
class Matter:
    """One managed asset that a transaction moves, and the rules that its issuer set."""

    transfer: Transfer
    rules: tuple[Rule, ...]


def movement_of(spend: Spend) -> Movement:
    """What a proven spend does."""
    sources = {vin: Source(vin, txin.prevout, is_signed=vin in spend.signed) for vin, txin in enumerate(spend.tx.vin)}
    for item in spend.own:
        out = item.txout
        sources[item.index] = replace(
            sources[item.index],
            account_id=item.account_id,
            script=out.script,
            asset=out.explicit_asset,
            satoshi=out.explicit_value,
        )
    targets = [
        Target(vout, out.script, None, 0)
        if opening is None
        else Target(vout, out.script, opening.asset, opening.satoshi)
        for vout, (out, opening) in enumerate(zip(spend.tx.vout, spend.openings, strict=True))
    ]
    return Movement(tuple(sources.values()), tuple(targets))


def matters(db: Connection, movement: Movement, now: int) -> list[Matter]:
    """The managed assets that are moved, in the order of their rows; none where none is."""
    ids = {source.asset for source in movement.sources} | {target.asset for target in movement.targets}
    moved = lookups.assets_with(db, {one for one in ids if one is not None})
    is_closed = any(target.asset is None for target in movement.targets)
    if not moved and not is_closed:
        return []
    scene = _Scene(db, movement, now, is_closed)
    if is_closed:
        # What an account that is not AMP spends unseen: refused where it is known to hold something managed, or where
        # the issuer of what it may hold has said no.
        known = {
            Unit.of(row)
            for row in scene.rows
            if row.satoshi is not None or (OutPoint(Txid(row.txid), row.vout), row.asset) in scene.blacklisted
        }
        moved += lookups.assets_of(db, known - {Unit(asset.id, asset.is_token) for asset in moved})
    return [_matter(scene, asset) for asset in sorted(moved, key=lambda asset: (asset.id, asset.is_token))]


class _Scene:
    """What is known of a transaction whichever of its assets is looked at."""

    def __init__(self, db: Connection, movement: Movement, now: int, is_closed: bool) -> None:
        self.db, self.now, self.is_closed = db, now, is_closed
        self.sources, self.targets = movement.sources, movement.targets
        self.prevouts = [source.prevout for source in movement.sources if source.prevout is not None]
        self.rows = lookups.held_at(db, self.prevouts)
        self.blacklisted, self.rivals = lookups.noted_at(db, self.prevouts)
        self.rows_at: dict[OutPoint | None, list[sa.Row[Any]]] = {}
        for row in self.rows:
            self.rows_at.setdefault(OutPoint(Txid(row.txid), row.vout), []).append(row)


def _matter(scene: _Scene, asset: Asset) -> Matter:
    db = scene.db
    rules = () if asset.is_token else book.rules(db, asset.id)
    needs = reduce(or_, (rule.needs() for rule in rules), Needs())
    # Nothing is moved by an amount of zero (data outputs name an asset too).
    targets = [target for target in scene.targets if target.asset == asset.asset_id and target.satoshi]
    people = _People(scene, asset, targets)
    coins, unattributed = _attribute(scene, asset, people, sum(target.satoshi for target in targets))
    payments = tuple(Payment(target.index, target.satoshi, people.receiver(target)) for target in targets)
    ends = [coin.party for coin in coins] + [payment.party for payment in payments]
    parties = {party.holder: party for party in ends if party.kind is Kind.HOLDER}
    holders, excluded = _holders(
        scene, asset, people, parties, needs if _BURN in ends else replace(needs, burned=frozenset())
    )
    if asset.transfer_restricted and not asset.is_token:
        asset, holders = _with_categories(db, asset, holders)
    transfer = Transfer(
        asset=asset,
        inputs=coins,
        outputs=payments,
        holders=holders,
        now=scene.now,
        blacklisted=tuple(s.index for s in scene.sources if (s.prevout, asset.id) in scene.blacklisted),
        unattributed=unattributed,
        is_unopened=scene.is_closed,
    )
    # Whoever they are: what is looked up must not tell whether somebody holds the asset.
    if needs.holders and transfer.receivers:
        transfer = replace(transfer, holder_count=headcount.count(db, asset, excluded))
    return Matter(transfer, rules)


# --- whose it is ---------------------------------------------------------------------------------------------------


class _People:
    """Who the scripts and accounts of a transaction are to the issuer of one asset."""

    def __init__(self, scene: _Scene, asset: Asset, targets: Sequence[Target]) -> None:
        db = scene.db
        self._script_of = {prevout: bytes(rows[0].script_pubkey) for prevout, rows in scene.rows_at.items()}
        scripts = {target.script for target in targets}
        scripts |= {source.script or self._script_of.get(source.prevout, b"") for source in scene.sources}
        scripts.discard(b"")
        self._treasury = lookups.treasury(db, asset.id, scripts)
        self._at = lookups.accounts_at(db, asset.issuer_id, scripts)
        self._of: dict[int | None, lookups.Account] = {one.party.account_id: one for one in self._at.values()}
        others = {s.account_id for s in scene.sources if s.account_id is not None and s.account_id not in self._of}
        for account in lookups.accounts_of(db, asset.issuer_id, others):
            self._of[account.party.account_id] = account

    @property
    def accounts(self) -> Collection[lookups.Account]:
        """Every account that takes part."""
        return self._of.values()

    def sender(self, source: Source) -> Party:
        """Whose input it is: what once was a treasury address stays the treasury's, who sends when they have signed."""
        is_meant = source.account_id is not None or source.is_signed
        if is_meant and (source.script or self._script_of.get(source.prevout, b"")) in self._treasury:
            return _TREASURY
        account = self._of.get(source.account_id)
        return _FOREIGN if account is None else account.party

    def receiver(self, target: Target) -> Party:
        """Whose output it is."""
        if is_unspendable(target.script):
            return _BURN
        if self._treasury.get(target.script):
            return _TREASURY
        account = self._at.get(target.script)
        return account.party if account is not None and account.is_amp else _FOREIGN

    def is_frozen(self, party: Party) -> bool:
        """Whether the issuer has frozen the user."""
        account = self._of.get(party.account_id)
        return account is not None and account.is_frozen


def _attribute(scene: _Scene, asset: Asset, people: _People, total: int) -> tuple[tuple[Coin, ...], int]:
    """The inputs that hold the asset, and how much of it is in inputs of which nobody can say whose it is."""
    unit = Unit(asset.id, asset.is_token)
    coins: list[Coin] = []
    dark: list[Source] = []
    unattributed = 0
    for source in scene.sources:
        rows = scene.rows_at.get(source.prevout, [])
        known = next((row for row in rows if row.satoshi is not None), None)
        # One that names this asset and hides how much is as dark as one that hides both.
        is_hidden = source.asset == asset.asset_id and source.satoshi is None
        if (source.asset is not None and not is_hidden) or known is not None:
            held = source.asset == asset.asset_id if known is None else Unit.of(known) == unit
            satoshi = (source.satoshi if known is None else known.satoshi) or 0
            party = people.sender(source)
            if held and party.kind is Kind.FOREIGN:
                unattributed += satoshi
            elif held and satoshi:
                coins.append(Coin(source.index, satoshi, party, None if known is None else known.acquired_at))
        else:
            dark.append(source)
    rest = total - unattributed - sum(coin.satoshi for coin in coins)
    if rest > 0:
        whose = {(party.kind, party.holder) for party in map(people.sender, dark)}
        if len(whose) == 1 and Kind.FOREIGN not in {kind for kind, _ in whose}:
            coins.append(_all_together(scene, unit, people, dark, rest))
        else:
            unattributed += rest
    return tuple(sorted(coins, key=lambda coin: coin.vin)), unattributed


def _all_together(scene: _Scene, unit: Unit, people: _People, dark: Sequence[Source], satoshi: int) -> Coin:
    """What some inputs of one holder hold together: as young as the youngest, and of unknown age if any is."""
    ages = {
        source.index: row.acquired_at
        for source in dark
        for row in scene.rows_at.get(source.prevout, [])
        if Unit.of(row) == unit
    }
    first = min(ages, default=dark[0].index)
    party = next(people.sender(source) for source in dark if source.index == first)
    return Coin(first, satoshi, party, max(ages.values()) if len(ages) == len(dark) else None)


# --- what is known of them -----------------------------------------------------------------------------------------


def _holders(
    scene: _Scene, asset: Asset, people: _People, parties: Mapping[str, Party], needs: Needs
) -> tuple[dict[str, Holder], frozenset[bytes]]:
    """The holders, and the transactions, signed earlier, that this one excludes."""
    holders = {key: Holder(key, party.user_id, is_frozen=people.is_frozen(party)) for key, party in parties.items()}
    everybody = _everybody(people, parties)
    return known_of(scene.db, asset, holders, everybody, needs, scene.now, scene.prevouts, scene.rivals)


def known_of(
    db: Connection,
    asset: Asset,
    holders: Mapping[str, Holder],
    parties: Collection[Party],
    needs: Needs,
    now: int,
    prevouts: Sequence[OutPoint] = (),
    without: frozenset[bytes] = frozenset(),
) -> tuple[dict[str, Holder], frozenset[bytes]]:
    """Holders (of these ``parties``) with what the rules need to know of them, for a spend of ``prevouts`` beside which
    the transactions ``without`` cannot confirm; and all that cannot."""
    if not holders or needs == Needs():
        return dict(holders), without
    accounts = lookups.holders_accounts(db, asset.issuer_id, parties)
    ghosts, excluded = outlook.replaced(db, asset.id, accounts, prevouts, without)
    would = outlook.of_replaced(db, asset.id, accounts, ghosts)
    balances = lookups.balances(db, asset.id, accounts, without) if needs.balances else {}
    unsettled = outlook.unsettled(db, asset.id, accounts, without) if needs.balances else {}
    sent = {
        seconds: limits.sent_within(db, asset.id, accounts, seconds, now, without) for seconds in sorted(needs.sent)
    }
    burned = {since: limits.burned_since(db, asset.id, accounts, since, without) for since in sorted(needs.burned)}
    nothing, quiet = lookups.Holding(), outlook.Outlook()
    return {
        key: replace(
            holder,
            balance=balances.get(key, nothing).satoshi,
            is_sealed=balances.get(key, nothing).is_sealed,
            uncertain=unsettled.get(key, (0, 0))[0] + would.get(key, quiet).loss,
            possible=unsettled.get(key, (0, 0))[1] + would.get(key, quiet).gain,
            sent_within={seconds: of.get(key, 0) + would.get(key, quiet).sent for seconds, of in sent.items()},
            burned_since={since: of.get(key, 0) + would.get(key, quiet).burned for since, of in burned.items()},
        )
        for key, holder in holders.items()
    }, without | excluded


def _everybody(people: _People, parties: Mapping[str, Party]) -> Collection[Party]:
    """The parties with each of the accounts that take part."""
    return {account.party for account in people.accounts if account.party.holder in parties}


def _with_categories(db: Connection, asset: Asset, holders: Mapping[str, Holder]) -> tuple[Asset, dict[str, Holder]]:
    """What the asset asks of its holders, and what they have of it."""
    users = {holder.user_id for holder in holders.values() if holder.user_id is not None}
    required, of_user = lookups.categories(db, asset.id, users)
    return replace(asset, requirements=required), {
        key: replace(holder, categories=of_user.get(holder.user_id or 0, frozenset()))
        for key, holder in holders.items()
    }
