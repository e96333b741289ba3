"""An issuer's house on the embedded chain: a real chain in memory, a store, the fee wallet, and calls as the API makes
them. Nothing runs by itself: :meth:`House.sync` reads the chain, as the watcher would."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import msgspec

from amp0.devchain.app import build
from amp0.devchain.faucet import Payment
from amp0.devchain.node.store import Store as NodeStore
from amp0.devchain.node.wallet import NodeWallet
from amp0.elements import wally
from amp0.elements.address import Address
from amp0.elements.hashes import Txid, sha256
from amp0.elements.transaction import Transaction
from amp0.errors import BroadcastRejected
from amp0.network import Network
from amp0.protocol import issuer as wire
from amp0.server import chainindex
from amp0.server.attempts import Attempts
from amp0.server.chainindex import Block
from amp0.server.context import Publication, Tip
from amp0.server.issuer import fee_coins, issuance
from amp0.server.issuer.desk import Call, Desk, Principal, Role
from amp0.server.issuer.endpoint import Runs
from amp0.server.issuer.fee_wallet import FeeWallet
from amp0.server.keys import ServiceKeys
from amp0.server.refusal import BroadcastRefused, ChainUnavailable
from amp0.server.settings import Settings
from amp0.server.store import asset_schema
from amp0.server.store.engine import Faults, Store
from tests.devchain.kit import Random

T = TypeVar("T")
NETWORK = Network.regtest_default()
SEED = b"\x5e" * 32
PUBKEY = "02" + "79be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798"
_serial = itertools.count()


def make_wallet() -> FeeWallet:
    """The fee wallet of every house."""
    return FeeWallet(SEED, NETWORK)


class House:
    """One issuer, who is ``who`` in calls unless told otherwise, and everything around them."""

    def __init__(self, url: str = "sqlite://", *, faults: Faults | None = None, **settings: Any) -> None:
        self.devchain = build(random=Random(b"house"))
        self.chain = self.devchain.chain
        self.store = Store.open(url, faults=faults)
        self.wallet = make_wallet()
        self.now = 1_750_000_000
        self.is_down = False
        self.refuses: str | None = None
        self.loses_answers = False
        self.sent: list[Txid] = []
        self.desk = Desk(
            settings=Settings(**settings),
            network=NETWORK,
            store=self.store,
            keys=ServiceKeys.test_key(),
            attempts=Attempts(30.0, lambda: float(self.now)),
            clock=lambda: float(self.now),
            random=Random(b"desk" + next(_serial).to_bytes(4, "big")),
            tip=lambda: Tip(self.chain.height),
            fetch=self.fetch,
            broadcast=self.broadcast,
            wallet=self.wallet,
        )
        self.followers = [fee_coins.FeeCoins(self.wallet)]
        self.who = self.hire("issuer")
        self.sync()

    # -- people and calls ------------------------------------------------------------------------

    def hire(self, name: str, boss: Principal | None = None, assets: Sequence[int] = ()) -> Principal:
        """An issuer, or with a boss a manager."""
        with self.store.transaction() as db:
            number = db.execute(
                asset_schema.principals.insert()
                .values(
                    issuer_id=None if boss is None else boss.id,
                    username=name,
                    person=name,
                    salt=bytes(16),
                    password_hash=bytes(32),
                    token_generation=0,
                    is_locked=0,
                    created_at=self.now,
                )
                .returning(asset_schema.principals.c.id)
            ).scalar_one()
            db.execute(
                asset_schema.api_tokens.insert().values(
                    token_hash=sha256(token_of(number).encode()), principal_id=number, generation=0, created_at=self.now
                )
            )
        role = Role.ISSUER if boss is None else Role.MANAGER
        return Principal(number, number if boss is None else boss.id, role, name, name, frozenset(assets))

    def call(
        self,
        function: Callable[[Call, Any], T],
        body: Any = None,
        *,
        runs: Runs = Runs.WRITE,
        who: Principal | None = None,
        key: str | None = None,
        **path: str,
    ) -> T:
        """Run an endpoint's function as its row of the table says."""
        who = who or self.who
        call = Call(self.desk, who, path, token=token_of(who.id), idempotency_key=key)
        if runs is Runs.OUTSIDE:
            return function(call, body)
        with self.store.snapshot() if runs is Runs.READ else self.store.transaction() as call.connection:
            return function(call, body)

    def issue(self, key: str | None = None, who: Principal | None = None, **changes: Any) -> wire.Issued:
        """Issue an asset."""
        return self.call(issuance.issue, request(**changes), runs=Runs.OUTSIDE, who=who, key=key)

    # -- the chain -------------------------------------------------------------------------------

    def fetch(self, txid: Txid) -> Transaction | None:
        if self.is_down:
            raise ChainUnavailable("The chain is away")
        entry = self.chain.entry(txid)
        return None if entry is None else entry.tx

    def broadcast(self, tx: Transaction) -> list[Publication]:
        if self.is_down:
            raise ChainUnavailable("The chain is away")
        if self.refuses is not None:
            raise BroadcastRefused(f"The network refuses the transaction: {self.refuses}")
        try:
            self.sent.append(self.chain.submit(tx))
        except BroadcastRejected as error:
            raise BroadcastRefused(f"The network refuses the transaction: {error.reason}") from None
        if self.loses_answers:
            raise ChainUnavailable("The answer was lost")
        self._take([tx])
        return []

    def _take(self, transactions: Sequence[Transaction]) -> None:
        with self.store.transaction() as db:
            chainindex.add_unconfirmed(db, transactions, NETWORK.policy_asset_hex, self.now, self.followers)

    def sync(self) -> None:
        """Read blocks and mempool, as the watcher would."""
        with self.store.snapshot() as db:
            tip = chainindex.tip(db)
        while tip is not None and self._block(tip.height) != tip.hash:
            with self.store.transaction() as db:
                chainindex.remove_block(db, tip.height, self.now, self.followers)
                tip = chainindex.tip(db)
        for height in range(0 if tip is None else tip.height + 1, self.chain.height + 1):
            entry = self.chain.block_at(height)
            assert entry is not None
            block = Block(height, entry.hash, entry.header.previous, entry.header.timestamp, entry.block.transactions)
            with self.store.transaction() as db:
                chainindex.add_block(db, block, NETWORK.policy_asset_hex, self.now, self.followers)
        waiting = [entry.tx for entry in self.chain.mempool.entries.values()]
        self._take(waiting)
        with self.store.transaction() as db:
            gone = chainindex.unconfirmed(db) - {tx.txid() for tx in waiting}
            chainindex.mark_gone(db, gone, self.now, self.followers)

    def _block(self, height: int) -> Any:
        entry = self.chain.block_at(height)
        return None if entry is None else entry.hash

    def mine(self, blocks: int = 1) -> None:
        """Make blocks and read them."""
        self.chain.mine(blocks)
        self.sync()

    def fund(self, *amounts: int, confirm: bool = True) -> list[Txid]:
        """Pay the fee wallet, each amount to an address of its own."""
        txids = []
        for satoshi in amounts or (100_000,):
            with self.store.transaction() as db:
                address = fee_coins.deposit_address(db, self.wallet, self.now)
            txids.append(self.devchain.faucet.pay(Payment(address.script, address.blinding_pubkey, satoshi)))
            self.sync()
        if confirm:
            self.mine()
        return txids

    def funds(self) -> fee_coins.Funds:
        """What the fee wallet holds."""
        with self.store.snapshot() as db:
            return fee_coins.funds(db)

    def node_wallet(self) -> NodeWallet:
        """A node's wallet on the same chain: where an issuer's treasury is."""
        return NodeWallet(self.chain, NodeStore(None, b"\x77" * 32), Random(b"node"))

    def close(self) -> None:
        """Let go of store and chain."""
        self.store.close()
        self.devchain.close()


def address(number: int = 0) -> Address:
    """A confidential address that is nobody's in particular."""
    script = b"\x00\x14" + number.to_bytes(20, "big")
    return Address.from_script(NETWORK, script, wally.public_key(b"\x11" * 31 + bytes((number % 200 + 1,))))


def request(**changes: Any) -> wire.Issue:
    """A valid request, with changes."""
    base = wire.Issue(
        name="Silver bars",
        amount=10_000,
        destination_address=str(address(1)),
        domain="silver.example",
        ticker="SLVR",
        pubkey=PUBKEY,
    )
    return msgspec.structs.replace(base, **changes)


def token_of(principal: int) -> str:
    """The live token of a login."""
    return f"{principal:040x}"


def reissuable(tokens: int = 2, **changes: Any) -> dict[str, Any]:
    """What makes a request one of a reissuable asset."""
    return {
        "is_reissuable": True,
        "reissuance_amount": tokens,
        "reissuance_address": str(address(2)),
        **changes,
    }
