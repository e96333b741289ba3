"""What a rule would do: tried on the transfers on record and on today's holders, before anybody is held to it.

The history of the asset is played again from the ledger, transfer by transfer, so that each is judged by what its
holders had and had sent at that time; and only by this one rule. Of today's holders two questions are asked: could
they redeem all they hold now, and could they be sent one satoshi more.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from amp0.protocol.issuer_policy import Reason
from amp0.server.ledger.units import GONE
from amp0.server.policy.facts import Asset, Coin, Holder, Kind, Party, Payment, Transfer
from amp0.server.policy.rules import Rule
from amp0.server.store import asset_schema

MAX_OUTPUTS = 20_000
"""Outputs of an asset's history that are played again within one request."""

_outs, _txs = asset_schema.asset_outputs, asset_schema.asset_txs
_gaids, _users = asset_schema.user_gaids, asset_schema.registered_users


class TooLong(Exception):
    """The history has more outputs than :data:`MAX_OUTPUTS`."""


@dataclass(frozen=True, slots=True)
class Refused:
    """A transfer on record that the rule would have refused. ``txid`` in internal order."""

    txid: bytes
    at: int
    reasons: tuple[Reason, ...]


@dataclass(frozen=True, slots=True)
class Trial:
    """What came of it: how many transfers and holders were looked at, and who would be refused what."""

    transfers: int
    refused: tuple[Refused, ...]
    holders: int
    cannot_redeem: int
    cannot_receive: int


def try_rule(db: Connection, asset: Asset, rule: Rule, now: int, transfers: int) -> Trial:
    """Try a rule on the newest ``transfers`` transfers and on all holders. Raises :class:`TooLong`."""
    history = _History(asset, rule, _parties(db, asset.issuer_id))
    played = list(history.play(*_rows(db, asset.id), transfers))
    verdicts = [(txid, transfer.now, tuple(rule.verdict(transfer))) for txid, transfer in played]
    refused = [Refused(*verdict) for verdict in verdicts if verdict[2]]
    holders = sorted(key for key, satoshi in history.balances.items() if satoshi)
    return Trial(
        transfers=len(played),
        refused=tuple(refused),
        holders=len(holders),
        cannot_redeem=sum(any(rule.verdict(history.redemption(key, now))) for key in holders),
        cannot_receive=sum(any(rule.verdict(history.receipt(key, now))) for key in holders),
    )


def _rows(db: Connection, asset: int) -> tuple[Sequence[Any], Sequence[Any]]:
    txs = db.execute(
        sa.select(_txs.c.txid, _txs.c.seen_at)
        .where(_txs.c.asset == asset, _txs.c.state != GONE)
        # What no block has yet comes after what one has.
        .order_by(_txs.c.height.is_(None), _txs.c.height, _txs.c.position, _txs.c.seen_at)
        .limit(MAX_OUTPUTS + 1)
    ).all()
    outs = db.execute(
        sa.select(
            *(_outs.c.txid, _outs.c.vout, _outs.c.satoshi, _outs.c.account_id, _outs.c.is_burnt),
            *(_outs.c.spent_by, _outs.c.spent_vin, _outs.c.acquired_at),
        )
        .where(_outs.c.asset == asset, _outs.c.is_token == 0, _outs.c.satoshi > 0, _outs.c.state != GONE)
        .limit(MAX_OUTPUTS + 1)
    ).all()
    if len(txs) > MAX_OUTPUTS or len(outs) > MAX_OUTPUTS:
        raise TooLong
    return txs, outs


def _parties(db: Connection, issuer: int) -> dict[int, Party]:
    """Account → its holder, where the issuer knows them."""
    rows = db.execute(
        sa.select(_gaids.c.account_id, _gaids.c.user_id)
        .join(_users, _users.c.id == _gaids.c.user_id)
        .where(_gaids.c.issuer_id == issuer, _users.c.deleted_at.is_(None))
    )
    return {
        row.account_id: Party(Kind.HOLDER, f"user {row.user_id}", account_id=row.account_id, user_id=row.user_id)
        for row in rows
    }


@dataclass
class _History:
    """The state of things while they are played again."""

    asset: Asset
    rule: Rule
    parties: dict[int, Party]
    balances: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    sent: dict[str, list[tuple[int, int]]] = field(default_factory=lambda: defaultdict(list))
    burned: dict[str, list[tuple[int, int]]] = field(default_factory=lambda: defaultdict(list))
    coins: dict[str, dict[tuple[bytes, int], Coin]] = field(default_factory=lambda: defaultdict(dict))
    """What each holder has."""
    count: int = 0
    """How many holders have something."""

    def play(self, txs: Sequence[Any], outs: Sequence[Any], newest: int) -> Iterator[tuple[bytes, Transfer]]:
        """The newest transfers of holders, with their txids, in order; the state is then that before each."""
        made, spent = defaultdict(list), defaultdict(list)
        for row in outs:
            made[bytes(row.txid)].append(row)
            if row.spent_by is not None:
                spent[bytes(row.spent_by)].append(row)
        of_holders = [tx.txid for tx in txs if any(row.account_id is not None for row in spent[bytes(tx.txid)])]
        wanted = {bytes(txid) for txid in of_holders[-newest:]}
        for tx in txs:
            txid = bytes(tx.txid)
            coins = tuple(self._coin(row) for row in spent[txid])
            payments = tuple(Payment(row.vout, row.satoshi, self._party(row)) for row in made[txid])
            transfer = self._transfer(coins, payments, tx.seen_at, judged=txid in wanted)
            if txid in wanted:
                yield txid, transfer
            self._happen(transfer, spent[txid], made[txid])

    def redemption(self, key: str, now: int) -> Transfer:
        """All that a holder has goes back to the treasury."""
        coins = tuple(self.coins[key].values())
        total = sum(coin.satoshi for coin in coins)
        return self._transfer(coins, (Payment(0, total, Party(Kind.TREASURY)),), now)

    def receipt(self, key: str, now: int) -> Transfer:
        """A holder gets one satoshi from the treasury."""
        party = next(iter(self.coins[key].values())).party
        return self._transfer((Coin(0, 1, Party(Kind.TREASURY)),), (Payment(0, 1, party),), now)

    def _transfer(
        self, coins: tuple[Coin, ...], payments: tuple[Payment, ...], now: int, *, judged: bool = True
    ) -> Transfer:
        ends: tuple[Coin | Payment, ...] = (*coins, *payments)
        parties = {end.party.holder: end.party for end in ends if end.party.kind is Kind.HOLDER}
        holders = {key: self._holder(key, party, now) if judged else Holder(key) for key, party in parties.items()}
        return Transfer(self.asset, coins, payments, holders, now, holder_count=self.count)

    def _holder(self, key: str, party: Party, now: int) -> Holder:
        needs = self.rule.needs()
        return Holder(
            key,
            party.user_id,
            balance=self.balances.get(key, 0),
            sent_within={seconds: _since(self.sent[key], now - seconds + 1) for seconds in needs.sent},
            burned_since={since: _since(self.burned[key], since) for since in needs.burned},
        )

    def _happen(self, transfer: Transfer, spent: Sequence[Any], made: Sequence[Any]) -> None:
        for row, coin in zip(spent, transfer.inputs, strict=True):
            self.coins[coin.party.holder].pop((bytes(row.txid), row.vout), None)
        for row, payment in zip(made, transfer.outputs, strict=True):
            coin = Coin(payment.vout, payment.satoshi, payment.party, row.acquired_at)
            self.coins[payment.party.holder][bytes(row.txid), row.vout] = coin
        for key in transfer.holders:
            before = self.balances[key]
            self.balances[key] += transfer.given.get(key, 0) - transfer.taken.get(key, 0)
            self.count += bool(self.balances[key]) - bool(before)
            if sent := transfer.sent(key):
                self.sent[key].append((transfer.now, sent))
                if transfer.burned:
                    self.burned[key].append((transfer.now, transfer.burned))

    def _coin(self, row: Any) -> Coin:
        return Coin(row.spent_vin or 0, row.satoshi, self._party(row), row.acquired_at)

    def _party(self, row: Any) -> Party:
        if row.is_burnt:
            return Party(Kind.BURN)
        if row.account_id is None:
            return Party(Kind.TREASURY)
        account: int = row.account_id
        unknown = Party(Kind.HOLDER, f"account {account}", account_id=account)
        return self.parties.get(account, unknown)


def _since(moves: Sequence[tuple[int, int]], start: int) -> int:
    return sum(satoshi for at, satoshi in moves if at >= start)
