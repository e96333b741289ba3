"""An asset that really was issued, in an office: its issuance in a block, the treasury's coins, blocks on demand."""

from __future__ import annotations

import hashlib
from types import SimpleNamespace
from typing import Any

import msgspec

from amp0.elements import wally
from amp0.elements.address import Address
from amp0.elements.confidential import DomainEntry, Opening, PlainOutput, blind
from amp0.elements.hashes import BlockHash
from amp0.elements.issuance import issue
from amp0.elements.script import p2wpkh
from amp0.elements.transaction import OutPoint, Transaction, TxIn
from amp0.server import chainindex
from amp0.server.issuer import treasury
from amp0.server.issuer.undone import Undone
from amp0.server.ledger import book
from tests.server.issuer.office import AmpAccount, Api, Office, confidential
from tests.server.issuer.treasury_txs import FEE, LBTC, RANDOM, Coin, Sent, coin, send, to

POLICY = LBTC[::-1].hex()
CONTRACT_HASH = b"\x0c" * 32


def script(number: int) -> bytes:
    """A script of the treasury's wallet."""
    return p2wpkh(hashlib.sha256(number.to_bytes(4, "big")).digest()[:20])


ASSET_SCRIPT, TOKEN_SCRIPT, CHANGE, STRANGER = (script(n) for n in range(4))


class TreasuryDesk:
    """One issuer with one asset, 1,000,000 satoshi of it and 5 of its token in the treasury, two blocks deep."""

    def __init__(self, office: Office, api: Api, *, hidden: bool = False, issued: int = 1_000_000, **columns: Any):
        self.office = office
        self.api = api
        self.followers = [Undone(lambda: office.clock.now)]
        if not self.height:
            self.mine()
        outpoint = coin(LBTC, FEE).outpoint
        nonces = (b"\x43" * 32, b"\x44" * 32) if hidden else None
        made = issue(outpoint, issued, 5, CONTRACT_HASH, nonces=nonces, random=RANDOM)
        assert made.asset is not None
        assert made.token is not None
        self.asset_id, self.token_id = made.asset.asset, made.token.asset
        spent = coin(LBTC, FEE, outpoint=outpoint)
        outputs = blind(
            [DomainEntry.of_output(spent.txout, spent.opening), *made.domain()],
            [
                to(ASSET_SCRIPT, self.asset_id, issued),
                to(TOKEN_SCRIPT, self.token_id, 5),
                PlainOutput(b"", LBTC, FEE),
            ],
            RANDOM,
        )
        tx = Transaction.of(2, 0, [TxIn(outpoint, issuance=made.issuance)], [one.txout for one in outputs])
        self.issuance = Sent(tx, [one.opening for one in outputs], made.asset)
        self.entropy = wally.issuance_entropy(bytes(outpoint.hash), outpoint.vout(), CONTRACT_HASH)
        row = {"asset_id": self.asset_id, "token_id": self.token_id, "entropy": self.entropy, "tokens": 5}
        row |= {"issue_txid": bytes(tx.txid()), "issue_tx": tx.to_bytes(), "is_confidential": int(hidden)}
        self.asset: SimpleNamespace = office.asset(api, **row, issued=issued, **columns)
        with office.transaction() as db:
            places = [confidential(one) for one in (ASSET_SCRIPT, TOKEN_SCRIPT)]
            treasury.enter(db, self.asset.id, places, office.desk.now())
            opened = [book.Opened(vout, self.issuance.openings[vout]) for vout in (0, 1)]
            book.begin_asset(db, self.asset.id, tx, opened, office.desk.now())
        self.mine(tx)
        self.mine()

    @property
    def height(self) -> int:
        """Of the newest block that the server has read."""
        with self.office.store.snapshot() as db:
            tip = chainindex.tip(db)
        return 0 if tip is None else tip.height

    def mine(self, *transactions: Transaction) -> None:
        """A block with these transactions, read by the server."""
        self.office.clock.now += 60
        height = self.height + 1
        previous = hashlib.sha256(b"block%d" % (height - 1)).digest()
        block = chainindex.Block(
            height,
            BlockHash(hashlib.sha256(b"block%d" % height).digest()),
            BlockHash(previous),
            int(self.office.clock.now),
            transactions,
        )
        with self.office.transaction() as db:
            chainindex.add_block(db, block, POLICY, self.office.clock.now, self.followers)
        for tx in transactions:
            self.office.chain[tx.txid()] = tx

    def unmine(self) -> None:
        """The newest block is gone; its transactions are in the mempool."""
        height = self.height
        with self.office.transaction() as db:
            chainindex.remove_block(db, height, self.office.clock.now, self.followers)

    def unconfirmed(self, tx: Transaction) -> None:
        """A transaction in the mempool."""
        with self.office.transaction() as db:
            chainindex.add_unconfirmed(db, [tx], POLICY, self.office.clock.now, self.followers)
        self.office.chain[tx.txid()] = tx

    def gone(self, tx: Transaction) -> None:
        """A transaction is in neither block nor mempool any more."""
        with self.office.transaction() as db:
            chainindex.mark_gone(db, [tx.txid()], self.office.clock.now, self.followers)

    def held(self, sent: Sent, vout: int) -> Coin:
        """An output to be spent again."""
        return Coin(OutPoint(sent.tx.txid(), vout), sent.tx.vout[vout], sent.openings[vout])

    @property
    def treasury(self) -> Coin:
        """What the issuance paid to the treasury."""
        return self.held(self.issuance, 0)

    @property
    def token(self) -> Coin:
        """The reissuance token as the issuance left it."""
        return self.held(self.issuance, 1)

    @property
    def path(self) -> str:
        """Of the asset."""
        return f"/assets/{self.asset.uuid}"

    # --- holders ---------------------------------------------------------------------------------------------------

    def holder(self, name: str, *, uploaded: int = 20) -> tuple[int, AmpAccount]:
        """A registered user with an account."""
        account = self.office.account(name, uploaded=uploaded)
        body = {"name": name, "is_company": False, "GAID": account.gaid}
        return self.api.ok("post", "/registered_users/add", body, status=201)["id"], account

    def assign(self, user: int, satoshi: int, **more: Any) -> dict[str, Any]:
        """An assignment that is ready."""
        body = {"registered_user": user, "amount": satoshi, "ready_for_distribution": True, **more}
        (made,) = self.api.ok("post", f"{self.path}/assignments/create", {"assignments": [body]})
        assert isinstance(made, dict)
        return made

    def distribution(self) -> dict[str, Any]:
        """The request file of a new distribution."""
        file = self.api.ok("get", f"{self.path}/distributions/create/")
        assert isinstance(file, dict)
        return file

    def pay(self, file: dict[str, Any], source: Coin | None = None, *, extra: list[PlainOutput] | None = None) -> Sent:
        """What a wallet makes of a request file: the payments, then the change, if any."""
        outputs = [
            to(Address(address).script, self.asset_id, round(number * 10**8))
            for address, number in file["map_address_amount"].items()
        ]
        return self.spend(outputs + (extra or []), source)

    def spend(self, outputs: list[PlainOutput], source: Coin | None = None) -> Sent:
        """Outputs of the asset out of the treasury, with the change last."""
        source = source or self.treasury
        left = source.opening.satoshi - sum(one.satoshi for one in outputs if one.asset == self.asset_id)
        return send([source], [*outputs, *([to(CHANGE, self.asset_id, left)] if left else [])])

    @staticmethod
    def confirm(sent: Sent, *, payments: int, change: bool = True) -> dict[str, Any]:
        """The payload of a distribution's confirm: the first ``payments`` outputs, and the one after them."""
        body = {
            "tx_data": {"txid": sent.txid, "details": sent.details(range(payments))},
            "change_data": sent.change(payments) if change else [],
        }
        made = msgspec.to_builtins(body)
        assert isinstance(made, dict)
        return made

    def confirm_path(self, file: dict[str, Any]) -> str:
        """Where a distribution is confirmed."""
        return f"{self.path}/distributions/{file['distribution_uuid']}/confirm"


__all__ = ["ASSET_SCRIPT", "CHANGE", "STRANGER", "TOKEN_SCRIPT", "Opening", "TreasuryDesk", "script"]
