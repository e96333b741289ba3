"""What the rules that an issuer set have against payments of the treasury, before there is a transaction.

A distribution is paid by the issuer's own wallet, so nothing of it is ever asked for a signature here. Whoever makes
one hears what the rules would say: who would hold too much, who would be one holder too many, who is frozen. Rules
about what leaves holders have nothing against a payment of the treasury.

Payments are looked at one by one. What was promised before counts with each, by identity, although nobody has seen
anything of it yet. Reads, and writes nothing.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import replace
from functools import reduce
from operator import or_

from sqlalchemy.engine import Connection

from amp0.protocol.issuer_policy import Reason
from amp0.server.ledger.units import Unit
from amp0.server.policy import book, engine, gather, headcount, lookups
from amp0.server.policy.facts import Coin, Holder, Kind, Party, Payment, Transfer
from amp0.server.policy.rules import Needs

_TREASURY = Party(Kind.TREASURY)


class Payouts:
    """Payments of one asset (row number) that are being put together. Amounts are satoshi, accounts row numbers."""

    def __init__(self, db: Connection, asset: int, now: int) -> None:
        self._db, self._now = db, now
        self._rules = book.rules(db, asset)
        (found,) = lookups.assets_of(db, [Unit(asset, False)])
        self._asset = found
        needs = reduce(or_, (rule.needs() for rule in self._rules), Needs())
        # Only receivers take part: what they have sent is no matter.
        self._needs = replace(needs, sent=frozenset(), burned=frozenset())
        self._parties: dict[int, Party] = {}
        self._holders: dict[str, Holder] = {}
        self._due: dict[str, int] = {}
        self._count: int | None = None

    @property
    def have_rules(self) -> bool:
        """Whether the issuer has set any; without them nothing needs to be asked."""
        return bool(self._rules)

    def look_up(self, accounts: Collection[int]) -> None:
        """Learn who has these accounts, many at once: :meth:`against` and :meth:`expect` take no others."""
        new = set(accounts) - self._parties.keys()
        parties = [one.party for one in lookups.accounts_of(self._db, self._asset.issuer_id, new)]
        self._parties |= {party.account_id: party for party in parties if party.account_id is not None}
        bare = {p.holder: Holder(p.holder, p.user_id) for p in parties if p.holder not in self._holders}
        known, _ = gather.known_of(self._db, self._asset, bare, parties, self._needs, self._now)
        self._holders |= known

    def expect(self, payments: Iterable[tuple[int, int]]) -> None:
        """Count payments, account and satoshi, that are promised and that the ledger does not know."""
        for account, satoshi in payments:
            key = self._parties[account].holder
            self._due[key] = self._due.get(key, 0) + satoshi

    def against(self, account: int, satoshi: int) -> list[Reason]:
        """The reasons against this payment beside all that are promised already."""
        party = self._parties[account]
        due = self._due.get(party.holder, 0) + satoshi
        transfer = Transfer(
            asset=self._asset,
            inputs=(Coin(0, due, _TREASURY),),
            outputs=(Payment(0, due, party),),
            holders={party.holder: self._holders[party.holder]},
            now=self._now,
            holder_count=self._holders_beside(party.holder),
        )
        return engine.objections(transfer, self._rules)

    def _holders_beside(self, key: str) -> int | None:
        """How many identities hold the asset or were promised some, without this one where it holds none."""
        if not self._needs.holders:
            return None
        if self._count is None:
            self._count = headcount.count(self._db, self._asset)
        promised = (self._holders[other] for other in self._due if other != key)
        # The others are counted already: they have some, or may.
        return self._count + sum(not (one.balance or one.is_sealed or one.possible) for one in promised)
