"""A market in managed assets: the cosigner with its policy, the ledger as its books, issuers, holders and coins.

Transactions and signatures are real. Amounts are in the open unless a test hides them: proofs are what costs, and the
policy sees opened amounts either way.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from amp0.elements import wally
from amp0.elements.confidential import DomainEntry, PlainOutput, blind
from amp0.elements.hashes import Txid, sha256
from amp0.elements.transaction import OutPoint, Transaction, TxIn
from amp0.protocol.issuer_policy import Reason
from amp0.server.cosign_checks import Spend
from amp0.server.cosigner import Cosigned
from amp0.server.ledger import book as ledger
from amp0.server.policy.facts import Answer, Question
from amp0.server.policy.gate import PolicyGate
from amp0.server.refusal import PolicyRefused
from amp0.server.store import asset_schema as tables
from amp0.server.store import schema
from tests.server.cosigning import LBTC, STRANGER, Account, Coin, Payment, World

TREASURY = b"\x00\x14" + b"\x71" * 20
BURN = b"\x6a"
DAY = 86_400


class Books:
    """The ledger as the cosigner's recorder."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now

    def record(self, db: Connection, spend: Spend) -> None:
        ledger.record_cosigned(db, spend.tx, spend.openings, self._now())

    def replaced(self, db: Connection, txids: Sequence[Txid]) -> None:
        for txid in txids:
            ledger.forget_promise(db, txid)


@dataclass
class Oracle:
    """An issuer's endpoint: says what the test says, and remembers what it was asked."""

    answer: Answer | Exception = field(default_factory=lambda: Answer(True))
    questions: list[Question] = field(default_factory=list)
    meanwhile: Callable[[], object] = lambda: None

    def ask_all(self, questions: Sequence[Question]) -> Sequence[Answer]:
        self.questions += questions
        self.meanwhile()
        if isinstance(self.answer, Exception):
            raise self.answer
        return [self.answer] * len(questions)


class Market:
    """A world with one issuer (row 1), to begin with."""

    def __init__(self, url: str = "sqlite://", *, authorizer: Any = None) -> None:
        self.world = World(url)
        self.gate = PolicyGate(self.world.store, lambda: int(self.world.now), authorizer)
        self.world.cosigner._gates = (self.gate,)
        self.world.cosigner._recorders = (Books(lambda: self.world.now),)
        self._numbers = itertools.count(1)
        self.issuer("issuer")

    @property
    def store(self) -> Any:
        return self.world.store

    @property
    def now(self) -> int:
        return int(self.world.now)

    def later(self, seconds: float) -> None:
        self.world.now += seconds

    def insert(self, table: sa.Table, **values: Any) -> int:
        with self.store.transaction() as db:
            key = db.execute(table.insert().values(**values)).inserted_primary_key
            assert key is not None
            return int(key[0]) if isinstance(key[0], int) else 0

    def update(self, table: sa.Table, where: sa.ColumnElement[bool], **values: Any) -> None:
        with self.store.transaction() as db:
            db.execute(table.update().where(where).values(**values))

    def rows(self, table: sa.Table) -> Sequence[sa.Row[Any]]:
        with self.store.snapshot() as db:
            found: Sequence[sa.Row[Any]] = db.execute(sa.select(table)).all()
            return found

    # -- issuers, assets, users --------------------------------------------------------------

    def issuer(self, name: str) -> int:
        return self.insert(
            tables.principals, username=name, person=name, salt=bytes(16), password_hash=bytes(32), token_generation=0,
            is_locked=0, created_at=0,
        )  # fmt: skip

    def asset(self, name: str = "share", *, issuer: int = 1, tokens: int = 0, **more: Any) -> Managed:
        entropy = sha256(name.encode())
        asset_id, token_id = wally.issuance_asset(entropy), wally.issuance_token(entropy, False)
        values = {
            "uuid": name, "issuer_id": issuer, "creator_id": issuer, "asset_id": asset_id,
            "token_id": token_id if tokens else None, "entropy": entropy, "name": name, "precision": 0,
            "contract": "{}",
            "is_confidential": 0, "transfer_restricted": 1, "is_locked": 0, "is_authorized": 0, "is_registered": 0,
            "memo": "", "checks_sender_categories": 0, "loosening_delay": 0, "required_approvals": 0,
            "policy_version": 1, "state": "sent", "issue_txid": sha256(entropy), "issue_tx": b"", "issue_vin": 0,
            "asset_vout": 0, "issued": 10**9, "tokens": tokens, "destination_address": "", "token_address": "",
            "created_at": 0,
        }  # fmt: skip
        row = self.insert(tables.assets, **(values | more))
        self.insert(tables.treasury_addresses, asset=row, script_pubkey=TREASURY, address="t", added_at=0)
        return Managed(self, row, asset_id, token_id, issuer)

    def holder(self, name: str, *, user: bool = True, issuer: int = 1, **more: Any) -> Account:
        """An AMP account, and a registered user of the issuer with it."""
        account = self.world.wallet(name)
        if user:
            self.register(account, self.user(name, issuer=issuer, **more), issuer=issuer)
        return account

    def user(self, name: str, *, issuer: int = 1, is_frozen: int = 0) -> int:
        return self.insert(
            tables.registered_users, issuer_id=issuer, creator_id=issuer, name=name, is_company=0, is_frozen=is_frozen,
            created_at=0,
        )  # fmt: skip

    def register(self, account: Account, user: int, *, issuer: int = 1) -> None:
        self.insert(tables.user_gaids, issuer_id=issuer, account_id=account.id, user_id=user, is_default=0, added_at=0)

    def category(self, name: str, *users: int, required_by: Managed | None = None) -> int:
        category = self.insert(tables.categories, issuer_id=1, name=name, created_at=0)
        for user in users:
            self.insert(tables.category_users, category_id=category, user_id=user)
        if required_by is not None:
            self.insert(tables.category_assets, category_id=category, asset=required_by.row)
        return category

    # -- coins and payments --------------------------------------------------------------------

    def fund(
        self, account: Account, asset: Managed | None, satoshi: int = 100, *, blinded: bool = False,
        token: bool = False, in_ledger: bool = True, sealed: bool = False, acquired_at: int = 0, **more: Any,
    ) -> Coin:  # fmt: skip
        """A coin of the account: of a managed asset, known to the ledger, or of L-BTC."""
        if asset is None:
            return self.world.fund(account, satoshi, blinded=blinded, **more)
        coin = self.world.fund(account, satoshi, asset=asset.token if token else asset.id, blinded=blinded, **more)
        if in_ledger:
            self.enter(coin.prevout, asset, None if sealed else satoshi, account, acquired_at, token=token)
        return coin

    def enter(
        self, prevout: OutPoint, asset: Managed, satoshi: int | None, account: Account | None, acquired_at: int = 0,
        *, token: bool = False, script: bytes = b"\x51",
    ) -> None:  # fmt: skip
        """A row of the ledger, confirmed."""
        txid, factors = bytes(prevout.txid()), None if satoshi is None else bytes(32)
        with self.store.transaction() as db:
            known = sa.select(tables.asset_txs).where(tables.asset_txs.c.txid == txid)
            if db.execute(known.where(tables.asset_txs.c.asset == asset.row)).first() is None:
                db.execute(
                    tables.asset_txs.insert().values(
                        txid=txid, asset=asset.row, state=1, height=500, block_time=acquired_at, seen_at=acquired_at,
                        kind="transfer", issued=0, burned=0,
                    )
                )  # fmt: skip
            db.execute(
                tables.asset_outputs.insert().values(
                    txid=txid, vout=prevout.vout(), asset=asset.row, is_token=int(token), satoshi=satoshi,
                    account_id=None if account is None else account.id, pointer=None if account is None else 1,
                    is_burnt=0, state=1, height=500, acquired_at=acquired_at, abf=factors, vbf=factors,
                    script_pubkey=script if account is None else account.script(1),
                )
            )  # fmt: skip

    def send(
        self, coins: Sequence[Coin], *outputs: tuple[Account | bytes, Managed | bytes, int], fee: int = 500,
        blinded: bool = False, fee_from: Account | None = None,
    ) -> Payment:  # fmt: skip
        """A user-signed transaction with these outputs; L-BTC for the fee comes along, with its change."""
        payer = fee_from or coins[0].account
        coins = [*coins, self.world.fund(payer, 10_000, blinded=False)]
        wanted = [(who, asset.id if isinstance(asset, Managed) else asset, n) for who, asset, n in outputs]
        wanted.append((payer, LBTC, 10_000 - fee))
        plain = [
            PlainOutput(
                who.script(3) if isinstance(who, Account) else who, asset, satoshi,
                wally.public_key(who.blinding_key) if isinstance(who, Account) and blinded else None,
            )
            for who, asset, satoshi in wanted
        ]  # fmt: skip
        made = blind(
            [DomainEntry.of_output(coin.txout, coin.opening) for coin in coins], [*plain, PlainOutput(b"", LBTC, fee)]
        )
        vin = [TxIn(coin.prevout, sequence_number=0xFFFFFFFE) for coin in coins]
        return Payment(tuple(coins), Transaction.of(2, 0, vin, [o.txout for o in made]), tuple(made)).signed()

    def cosign(self, payment: Payment) -> Cosigned:
        return self.world.cosigner.cosign(payment.request())

    def refused(self, payment: Payment) -> list[Reason]:
        """The reasons as the venue sees them."""
        try:
            self.cosign(payment)
        except PolicyRefused as refusal:
            return list(refusal.reasons)
        raise AssertionError("it was signed")

    def codes(self, payment: Payment) -> list[str]:
        return [reason.code for reason in self.refused(payment)]

    def whole(self) -> list[str]:
        """The codes of the newest refusal on record, as the issuer sees them."""
        return [reason["code"] for reason in json.loads(self.rows(tables.policy_refusals)[-1].reasons)]

    # -- the chain -----------------------------------------------------------------------------

    def confirm(self, tx: Transaction, at: int | None = None) -> None:
        """A block has it."""
        place = ledger.Place(501, 0, self.now if at is None else at)
        self._move(tx, place)

    def seen(self, tx: Transaction) -> None:
        """The mempool has it."""
        self._move(tx, None)

    def _move(self, tx: Transaction, place: ledger.Place | None) -> None:
        with self.store.transaction() as db:
            here = ledger.concern(db, tx)
            assert here is not None
            for rival in here.rivals:
                ledger.mark_gone(db, rival, for_good=True)
            here = ledger.concern(db, tx)
            assert here is not None
            ledger.add(db, tx, here, place, self.now)
            spent, height = schema.outputs, None if place is None else place.height
            for txin in tx.vin:
                at = (spent.c.txid == bytes(txin.prevout.txid())) & (spent.c.vout == txin.prevout.vout())
                db.execute(spent.update().where(at).values(spent_by=bytes(tx.txid()), spent_height=height))

    def gone(self, tx: Transaction) -> None:
        """Its coins were spent otherwise, for good."""
        spent, blocks = schema.outputs, schema.blocks
        with self.store.transaction() as db:
            for txin in tx.vin:
                here = (spent.c.txid == bytes(txin.prevout.txid())) & (spent.c.vout == txin.prevout.vout())
                db.execute(spent.update().where(here).values(spent_by=b"\xee" * 32, spent_height=600))
            if db.execute(sa.select(blocks.c.height).where(blocks.c.height == 601)).first() is None:
                db.execute(blocks.insert().values(height=601, hash=b"\x01" * 32, previous_hash=bytes(32), time=0))
            ledger.mark_gone(db, tx.txid(), for_good=True)


@dataclass(frozen=True)
class Managed:
    """An asset of the market."""

    market: Market = field(repr=False)
    row: int
    id: bytes
    token: bytes
    issuer: int

    def rule(self, tag: str, created_at: int = 0, **parameters: Any) -> int:
        text = json.dumps({"from" if name == "start" else name: value for name, value in parameters.items()})
        return self.raw_rule(tag, text, created_at)

    def raw_rule(self, tag: str, text: str, created_at: int = 0) -> int:
        return self.market.insert(
            tables.asset_rules, asset=self.row, tag=tag, parameters=text, created_at=created_at, created_by=1
        )

    def set(self, **values: Any) -> None:
        self.market.update(tables.assets, tables.assets.c.id == self.row, **values)

    def blacklist(self, prevout: OutPoint) -> None:
        self.market.insert(
            tables.blacklisted_outputs,
            prev_txid=bytes(prevout.txid()),
            prev_vout=prevout.vout(),
            asset=self.row,
            since=0,
        )


__all__ = ["BURN", "DAY", "STRANGER", "TREASURY", "Books", "Managed", "Market", "Oracle"]
