"""A ledger on a small chain: one issuer, one asset, holders, and transactions without proofs.

Outputs are hidden as they are on the chain, by real commitments, so openings are checked for what they are. Range
proofs are left out: the ledger never looks at them, and they are what costs.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from amp0.elements import wally
from amp0.elements.confidential import Opening
from amp0.elements.hashes import BlockHash, Txid, sha256
from amp0.elements.transaction import Issuance, OutPoint, Transaction, TxIn, TxOut, explicit_value_field
from amp0.network import Network
from amp0.server import chainindex
from amp0.server.chainindex import Block
from amp0.server.ledger import book, views
from amp0.server.ledger.book import Opened
from amp0.server.store import asset_schema as tables
from amp0.server.store import schema
from amp0.server.store.engine import Store
from tests.server.issuer.office import open_store

POLICY_HEX = Network.regtest_default().policy_asset_hex
POLICY = bytes.fromhex(POLICY_HEX)[::-1]
TREASURY, TOKEN_TREASURY = b"\x00\x14" + b"\x71" * 20, b"\x00\x14" + b"\x72" * 20
STRANGER, NODE_CHANGE = b"\x00\x14" + b"\x99" * 20, b"\x00\x14" + b"\x55" * 20
BURN = b"\x6a"
ISSUED, TOKENS = 1_000, 10
ENTROPY = sha256(b"entropy of the asset")
ASSET, TOKEN = wally.issuance_asset(ENTROPY), wally.issuance_token(ENTROPY, False)
OTHER_ENTROPY = sha256(b"entropy of another asset")
OTHER_ASSET = wally.issuance_asset(OTHER_ENTROPY)
_NONCE = b"\x02" + bytes(31) + b"\x01"
_salts = itertools.count(1)


@dataclass(frozen=True)
class Out:
    """An output to be made; hidden unless ``explicit``, or of which ``shows`` names the one field that is not."""

    script: bytes
    satoshi: int
    asset: bytes = ASSET
    explicit: bool = False
    shows: str = ""


@dataclass(frozen=True)
class Made:
    """A transaction and the openings of all its outputs but the fee."""

    tx: Transaction
    openings: tuple[Opening, ...]

    @property
    def txid(self) -> Txid:
        return self.tx.txid()

    def at(self, vout: int) -> OutPoint:
        return OutPoint(self.txid, vout)

    def opened(self, *vouts: int) -> list[Opened]:
        return [Opened(vout, self.openings[vout]) for vout in (vouts or range(len(self.openings)))]

    @property
    def all(self) -> list[Opening | None]:
        """As the cosigner has them: the fee's as well."""
        fee = self.tx.vout[-1].explicit_value
        assert fee is not None
        return [*self.openings, Opening(POLICY, fee)]


def make(
    spends: Sequence[OutPoint], outs: Sequence[Out], *, issuance: Issuance | None = None, stranger: bool = True
) -> Made:
    """A transaction; by default a coin of somebody's pays its fee. An issuance is put on the first input."""
    salt = next(_salts)
    vin = [TxIn(prevout) for prevout in spends]
    if stranger or not vin:
        vin.append(TxIn(OutPoint(Txid(sha256(b"coin%d" % salt)), 0)))
    if issuance is not None:
        vin[0] = TxIn(vin[0].prevout, issuance=issuance)
    made = [_output(out, salt, i) for i, out in enumerate(outs)]
    tx = Transaction.of(2, 0, vin, [*(txout for txout, _ in made), TxOut.fee(POLICY, 100)])
    return Made(tx, tuple(opening for _, opening in made))


def _output(out: Out, salt: int, i: int) -> tuple[TxOut, Opening]:
    if out.explicit:
        return TxOut.explicit(out.script, out.asset, out.satoshi), Opening(out.asset, out.satoshi)
    abf, vbf = sha256(b"abf%d/%d" % (salt, i)), sha256(b"vbf%d/%d" % (salt, i))
    if out.shows == "asset":
        commitment = wally.value_commitment(out.satoshi, vbf, wally.asset_generator(out.asset, None))
        return TxOut(out.script, b"\x01" + out.asset, commitment, _NONCE), Opening(out.asset, out.satoshi, vbf=vbf)
    if out.shows == "amount":
        field = explicit_value_field(out.satoshi)
        opening = Opening(out.asset, out.satoshi, abf)
        return TxOut(out.script, opening.generator(), field, _NONCE), opening
    generator = wally.asset_generator(out.asset, abf)
    commitment = wally.value_commitment(out.satoshi, vbf, generator)
    return TxOut(out.script, generator, commitment, _NONCE), Opening(out.asset, out.satoshi, abf, vbf)


def reissuance(satoshi: int) -> Issuance:
    """What an input says that reissues so much in the open."""
    return Issuance(sha256(b"token abf"), ENTROPY, explicit_value_field(satoshi))


@dataclass
class Ledger:
    """The store, the chain it reads, and shortcuts to both."""

    store: Store = field(default_factory=open_store)
    now: int = 1_700_000_000
    blocks: list[Block] = field(default_factory=list)

    def __post_init__(self) -> None:
        with self.store.transaction() as db:
            for number, name in ((1, "issuer"), (2, "other")):
                db.execute(
                    tables.principals.insert().values(
                        id=number, username=name, person=name, salt=bytes(16), password_hash=bytes(32),
                        token_generation=0, is_locked=0, created_at=0,
                    )
                )  # fmt: skip
            db.execute(
                schema.users.insert().values(
                    id=1, master_pubkey=b"\x02" * 33, master_chain_code=bytes(32), login_hash=bytes(20),
                    gait_path=bytes(64), user_agent="", appearance="{}", cache_password="", csv_blocks=65535,
                    nlocktime_blocks=0, client_blob="", client_blob_hmac="", created_at=0,
                )
            )  # fmt: skip
        self.issuance = make(
            [], [Out(TREASURY, ISSUED), Out(TOKEN_TREASURY, TOKENS, TOKEN), Out(NODE_CHANGE, 7, POLICY)]
        )
        with self.store.transaction() as db:
            enter_asset(db, self.issuance)
            book.begin_asset(db, 1, self.issuance.tx, self.issuance.opened(0, 1), self.now)
        self.mine()

    @property
    def height(self) -> int:
        return len(self.blocks) - 1

    def account(self, number: int, *, user: int | None = None, kind: str = "2of2_no_recovery") -> bytes:
        """A new account with one address; its script. ``user`` registers it with the issuer."""
        script = b"\xa9\x14" + number.to_bytes(20, "big") + b"\x87"
        with self.store.transaction() as db:
            db.execute(
                schema.accounts.insert().values(
                    id=number, user_id=1, pointer=number, type=kind, name="", receiving_id=gaid(number),
                    user_pubkey=b"\x03" * 33, user_chain_code=bytes(32), last_pointer=1, created_at=0,
                )
            )  # fmt: skip
            db.execute(
                schema.addresses.insert().values(
                    account_id=number, pointer=1, script_pubkey=script, csv_blocks=0, issued_at=0
                )
            )
            if user is not None:
                register(db, user, number)
        return script

    def issue_other(self) -> Made:
        """The issuance of a second asset of the issuer, row 2; it cannot be reissued."""
        issuance = make([], [Out(TREASURY, ISSUED, OTHER_ASSET), Out(NODE_CHANGE, 7, POLICY)])
        with self.store.transaction() as db:
            enter_asset(db, issuance, 2, OTHER_ENTROPY, tokens=0)
            book.begin_asset(db, 2, issuance.tx, issuance.opened(0), self.now)
        return issuance

    # -- the chain ------------------------------------------------------------------------------

    def mine(self, *made: Made | Transaction) -> None:
        """A block with these transactions."""
        self.now += 60
        previous = self.blocks[-1].hash if self.blocks else BlockHash(bytes(32))
        txs = [one.tx if isinstance(one, Made) else one for one in made]
        block = Block(len(self.blocks), BlockHash(sha256(b"%d" % next(_salts))), previous, self.now, txs)
        with self.store.transaction() as db:
            chainindex.add_block(db, block, POLICY_HEX, self.now)
        self.blocks.append(block)

    def send(self, *made: Made) -> None:
        """Into the mempool."""
        self.now += 1
        with self.store.transaction() as db:
            chainindex.add_unconfirmed(db, [one.tx for one in made], POLICY_HEX, self.now)

    def undo(self, depth: int = 1) -> list[Transaction]:
        """Take blocks away; what they held is in the mempool again."""
        txs: list[Transaction] = []
        for _ in range(depth):
            block = self.blocks.pop()
            txs = [*block.transactions, *txs]
            with self.store.transaction() as db:
                chainindex.remove_block(db, block.height, self.now)
        return txs

    def drop(self, *txids: Txid) -> None:
        """Out of the mempool."""
        with self.store.transaction() as db:
            chainindex.mark_gone(db, txids, self.now)

    def cosign(self, made: Made, owner: int = 1) -> None:
        """What the cosigner writes, as far as the ledger is concerned."""
        with self.store.transaction() as db:
            replaced = _record(db, made, owner)
            for txid in replaced:
                book.forget_promise(db, txid)
            book.record_cosigned(db, made.tx, made.all, self.now)

    def tell(self, made: Made, *vouts: int) -> list[int]:
        """Openings that an issuer's wallet reports."""
        with self.store.transaction() as db:
            return book.add_openings(db, made.tx, made.opened(*vouts), self.now)

    # -- looking --------------------------------------------------------------------------------

    def holders(self, height: int | None = None, *, asset: int = 1) -> dict[str | None, int]:
        """GAID → satoshi in blocks; the treasury under None; without zeros."""
        with self.store.snapshot() as db:
            rows = views.ownerships(db, AssetOf(asset), height)
        return {row.gaid: row.satoshi for row in rows if row.satoshi}

    def hidden(self, *, is_token: bool = False, height: int | None = None, asset: int = 1) -> int:
        with self.store.snapshot() as db:
            return views.unaccounted(db, AssetOf(asset), is_token=is_token, height=height)

    def lost(self, *, is_token: bool = False, grace: int = 120) -> list[OutPoint]:
        with self.store.snapshot() as db:
            return views.lost_outputs(
                db, AssetOf(), is_token, tip_height=self.height, now=self.now, grace=grace, confirmations=2
            )

    def rows(self, made: Made | None = None) -> list[sa.Row[tuple[object, ...]]]:
        outs = tables.asset_outputs
        query = sa.select(outs).order_by(outs.c.txid, outs.c.vout, outs.c.is_token)
        if made is not None:
            query = query.where(outs.c.txid == bytes(made.txid))
        with self.store.snapshot() as db:
            return list(db.execute(query).all())

    def state(self, made: Made) -> int | None:
        txs = tables.asset_txs
        with self.store.snapshot() as db:
            return db.execute(sa.select(txs.c.state).where(txs.c.txid == bytes(made.txid))).scalar_one_or_none()


def started() -> Ledger:
    """A ledger whose asset is issued, in a block."""
    ledger = Ledger()
    ledger.mine(ledger.issuance)
    return ledger


def distributed(ledger: Ledger, script: bytes, satoshi: int = 600, *, told: bool = True) -> Made:
    """The issuer's node pays a holder: everything hidden, L-BTC change as well."""
    made = make(
        [ledger.issuance.at(0)],
        [Out(script, satoshi), Out(TREASURY, ISSUED - satoshi), Out(NODE_CHANGE, 5, POLICY)],
    )
    ledger.mine(made)
    if told:
        ledger.tell(made, 0, 1)
    return made


@dataclass(frozen=True)
class AssetOf:
    """The asset, as far as views want to know it."""

    id: int = 1
    issuer_id: int = 1


def gaid(number: int) -> str:
    """The GAID of an account of the scene."""
    return f"GA{number:027d}"


def enter_asset(
    db: Connection, issuance: Made, number: int = 1, entropy: bytes = ENTROPY, tokens: int = TOKENS
) -> None:
    """The row of the asset and its treasury."""
    token_id = wally.issuance_token(entropy, False) if tokens else None
    db.execute(
        tables.assets.insert().values(
            id=number, uuid=f"00000000-0000-4000-8000-{number:012d}", issuer_id=1, creator_id=1,
            asset_id=wally.issuance_asset(entropy), token_id=token_id, entropy=entropy,
            name="Shares", ticker="SHR", precision=0, domain="example.com",
            contract="{}", is_confidential=0, transfer_restricted=1, is_locked=0, is_authorized=0, is_registered=0,
            memo="", checks_sender_categories=0, loosening_delay=0, required_approvals=0, policy_version=0,
            state="signed", issue_txid=bytes(issuance.txid), issue_tx=issuance.tx.to_bytes(), issue_vin=0, asset_vout=0,
            token_vout=1 if tokens else None, issued=ISSUED, tokens=tokens,
            destination_address="t", token_address="r", created_at=0,
        )
    )  # fmt: skip
    for script in (TREASURY, TOKEN_TREASURY):
        add_treasury(db, script, number)


def add_treasury(db: Connection, script: bytes, asset: int = 1, removed_at: int | None = None) -> None:
    """Say that a script is the treasury's."""
    db.execute(
        tables.treasury_addresses.insert().values(
            asset=asset, script_pubkey=script, address=script.hex(), added_at=0, removed_at=removed_at
        )
    )


def register(db: Connection, user: int, account: int, issuer: int = 1) -> None:
    """Make an account a registered user's; the user comes into being with the first."""
    users = tables.registered_users
    is_new = db.execute(sa.select(users.c.id).where(users.c.id == user)).first() is None
    if is_new:
        db.execute(
            users.insert().values(
                id=user,
                issuer_id=issuer,
                creator_id=issuer,
                name=f"User {user}",
                is_company=0,
                is_frozen=0,
                created_at=0,
            )
        )
    db.execute(
        tables.user_gaids.insert().values(
            issuer_id=issuer, account_id=account, user_id=user, is_default=int(is_new), added_at=0
        )
    )


def _record(db: Connection, made: Made, owner: int) -> list[Txid]:
    """The cosigner's own record; the transactions that this one replaces."""
    claims = schema.outpoint_claims
    own = [
        (i, txin.prevout)
        for i, txin in enumerate(made.tx.vin)
        if db.execute(
            sa.select(schema.outputs.c.vout).where(
                schema.outputs.c.txid == bytes(txin.prevout.txid()), schema.outputs.c.vout == txin.prevout.vout()
            )
        ).first()
    ]
    replaced = []
    db.execute(schema.cosigned.insert().values(txid=bytes(made.txid), tx=made.tx.to_bytes(), created_at=0))
    for i, prevout in enumerate(txin.prevout for txin in made.tx.vin):
        is_own = (i, prevout) in own
        db.execute(
            schema.cosigned_inputs.insert().values(
                txid=bytes(made.txid), position=i, prev_txid=bytes(prevout.txid()), prev_vout=prevout.vout(),
                account_id=owner if is_own else None, pointer=1 if is_own else None,
                value_field=bytes(33) if is_own else None,
            )
        )  # fmt: skip
    for _, prevout in own:
        here = (claims.c.prev_txid == bytes(prevout.txid())) & (claims.c.prev_vout == prevout.vout())
        holder = db.execute(sa.select(claims.c.txid).where(here)).scalar_one_or_none()
        if holder is not None:
            db.execute(
                schema.cosigned.update().where(schema.cosigned.c.txid == holder).values(replaced_by=bytes(made.txid))
            )
            db.execute(claims.delete().where(here))
            replaced.append(Txid(holder))
        db.execute(
            claims.insert().values(prev_txid=bytes(prevout.txid()), prev_vout=prevout.vout(), txid=bytes(made.txid))
        )
    return replaced
