"""A wallet, a service and a chain in memory, for tests of the cosigner: real keys, proofs and signatures."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import sqlalchemy as sa

from amp0.elements import wally
from amp0.elements.confidential import BlindedOutput, DomainEntry, Opening, PlainOutput, blind
from amp0.elements.hashes import Txid, asset_id_to_bytes
from amp0.elements.keys import HARDENED, ExtendedKey
from amp0.elements.script import csv_2of2_then_1, multisig_2of2, p2sh_p2wsh, p2sh_p2wsh_script_sig
from amp0.elements.sighash import SIGHASH_ALL, SighashCache
from amp0.elements.transaction import OutPoint, Transaction, TxIn, TxOut
from amp0.network import Network
from amp0.server.cosign_checks import PLACEHOLDER, Limits
from amp0.server.cosigner import Cosigner, Gate, Recorder, Request
from amp0.server.keys import ServiceKeys
from amp0.server.store import schema
from amp0.server.store.engine import Store

LBTC = asset_id_to_bytes(Network.regtest_default().policy_asset())
OTHER = b"\xaa" * 32
STRANGER_KEY = b"\x33" * 32
STRANGER = bytes.fromhex("0014" + "22" * 20)
STRANGER_PUB = wally.public_key(STRANGER_KEY)
MATURE = 500


@dataclass
class FakeChain:
    """What the cosigner asks of the chain, answered from a dictionary."""

    transactions: dict[Txid, Transaction] = field(default_factory=dict)
    tip: int = 1_000
    current: bool = True
    is_read: bool = True
    questions: list[Txid] = field(default_factory=list)
    failure: Exception | None = None

    def fetch(self, txid: Txid) -> Transaction | None:
        self.questions.append(txid)
        if self.failure is not None:
            raise self.failure
        return self.transactions.get(txid)

    def height(self) -> int:
        return self.tip

    def has_read(self) -> bool:
        return self.is_read

    def is_current(self) -> bool:
        return self.current


@dataclass(frozen=True)
class Coin:
    """An output of a wallet here, with everything its owner knows of it."""

    prevout: OutPoint
    txout: TxOut
    opening: Opening
    account: Account
    pointer: int


@dataclass
class Account:
    """One account: the user's private keys beside the rows of the service's store."""

    id: int
    user_id: int
    number: int
    gait_path: bytes
    key: ExtendedKey
    keys: ServiceKeys
    csv_blocks: int = 0
    blinding_key: bytes = b"\x44" * 32

    def service_key(self, pointer: int) -> bytes:
        return self.keys.public_key(self.gait_path, self.number, pointer)

    def user_key(self, pointer: int) -> ExtendedKey:
        return self.key.child(1).child(pointer)

    def witness_script(self, pointer: int) -> bytes:
        pair = self.service_key(pointer), self.user_key(pointer).public_key
        return csv_2of2_then_1(*pair, self.csv_blocks) if self.csv_blocks else multisig_2of2(*pair)

    def script(self, pointer: int) -> bytes:
        return p2sh_p2wsh(self.witness_script(pointer))


class World:
    """A store with wallets and coins, and the cosigner under test."""

    def __init__(
        self,
        url: str = "sqlite://",
        *,
        limits: Limits | None = None,
        faults: Callable[[str], None] | None = None,
        gates: Sequence[Gate] = (),
        recorders: Sequence[Recorder] = (),
    ) -> None:
        self.store = Store.open(url, faults=faults)
        self.keys = ServiceKeys.test_key()
        self.chain = FakeChain()
        self.now = 1_700_000_000.0
        self.cosigner = Cosigner(
            self.store,
            self.keys,
            self.chain,
            policy_asset=LBTC,
            clock=lambda: self.now,
            limits=limits,
            gates=gates,
            recorders=recorders,
        )
        self._counter = 0

    # -- wallets and coins -------------------------------------------------------------------

    def wallet(
        self, name: str, *, account: int = 1, csv_blocks: int = 0, addresses: int = 20,
        master: ExtendedKey | None = None, gait: bytes | None = None,
    ) -> Account:  # fmt: skip
        """Register a wallet with one account and its first addresses; keys follow from the name unless given."""
        master = master or ExtendedKey.from_seed(hashlib.sha512(name.encode()).digest(), main=False)
        gait = gait or hashlib.sha512(b"gait" + name.encode()).digest()
        key = master.derive((3 + HARDENED, account + HARDENED)) if account else master
        with self.store.transaction() as db:
            user_id = db.execute(
                sa.insert(schema.users).returning(schema.users.c.id).values(
                    master_pubkey=master.public_key, master_chain_code=master.chain_code,
                    login_hash=wally.hash160(master.public_key), gait_path=gait, user_agent="test", appearance="{}",
                    cache_password="x", csv_blocks=65535, nlocktime_blocks=12960, client_blob="", client_blob_hmac="",
                    created_at=1,
                )
            ).scalar_one()  # fmt: skip
            account_id = db.execute(
                sa.insert(schema.accounts).returning(schema.accounts.c.id).values(
                    user_id=user_id, pointer=account, type="2of2_no_recovery" if account else "2of2", name="",
                    receiving_id="GA" + name, user_pubkey=key.public_key if account else None,
                    user_chain_code=key.chain_code if account else None, last_pointer=0, created_at=1,
                )
            ).scalar_one()  # fmt: skip
            made = Account(account_id, user_id, account, gait, key, self.keys, csv_blocks)
            db.execute(
                sa.insert(schema.addresses),
                [
                    {
                        "account_id": account_id, "pointer": pointer, "script_pubkey": made.script(pointer),
                        "csv_blocks": csv_blocks, "issued_at": None, "blinding_pubkey": None,
                    }
                    for pointer in range(1, addresses + 1)
                ],
            )  # fmt: skip
        return made

    def fund(
        self, account: Account, satoshi: int = 100_000, *, asset: bytes = LBTC, pointer: int = 1,
        height: int | None = MATURE, watched: bool = True, blinded: bool = True,
    ) -> Coin:  # fmt: skip
        """A coin of the account. Unwatched, only the chain knows it."""
        self._counter += 1
        source = TxOut.explicit(b"\x51", asset, satoshi + 1_000)
        script = account.script(pointer)
        blinding_pubkey = wally.public_key(account.blinding_key) if blinded else None
        made = blind(
            [DomainEntry.of_output(source, Opening(asset, satoshi + 1_000))],
            [PlainOutput(script, asset, satoshi, blinding_pubkey), PlainOutput(STRANGER, asset, 1_000, STRANGER_PUB)],
        )
        txin = TxIn(OutPoint(self._counter.to_bytes(32, "big"), 0))
        tx = Transaction.of(2, 0, [txin], [output.txout for output in made])
        coin = Coin(OutPoint(tx.txid(), 0), made[0].txout, made[0].opening, account, pointer)
        self.chain.transactions[tx.txid()] = tx
        if watched:
            self.watch(tx, height, {0: (account, pointer)})
        return coin

    def watch(self, tx: Transaction, height: int | None, own: dict[int, tuple[Account, int]]) -> None:
        """What the watcher records of a transaction: itself, its own outputs, what it spends."""
        with self.store.transaction() as db:
            db.execute(sa.delete(schema.transactions).where(schema.transactions.c.txid == bytes(tx.txid())))
            db.execute(
                sa.insert(schema.transactions).values(
                    txid=bytes(tx.txid()), state=0 if height is None else 1, height=height, fee=0, weight=1, vsize=1,
                    first_seen_at=int(self.now), changed_at=int(self.now), raw=tx.to_bytes(),
                )
            )  # fmt: skip
            for vout, (account, pointer) in own.items():
                txout = tx.vout[vout]
                db.execute(
                    sa.insert(schema.outputs).values(
                        txid=bytes(tx.txid()), vout=vout, account_id=account.id, pointer=pointer, height=height,
                        script_pubkey=txout.script, asset_field=txout.asset_field, value_field=txout.value_field,
                        nonce_field=txout.nonce_field, range_proof=txout.range_proof,
                        surjection_proof=txout.surjection_proof,
                    )
                )  # fmt: skip
            out = schema.outputs
            for txin in tx.vin:
                db.execute(
                    sa.update(out)
                    .where(out.c.txid == bytes(txin.prevout.txid()), out.c.vout == txin.prevout.vout())
                    .values(spent_by=bytes(tx.txid()), spent_height=height)
                )

    def gone(self, tx: Transaction) -> None:
        """The transaction left the mempool without a block."""
        with self.store.transaction() as db:
            db.execute(
                sa.update(schema.transactions)
                .where(schema.transactions.c.txid == bytes(tx.txid()))
                .values(state=2, height=None, changed_at=int(self.now))
            )
            db.execute(
                sa.update(schema.outputs)
                .where(schema.outputs.c.spent_by == bytes(tx.txid()))
                .values(spent_by=None, spent_height=None)
            )
        self.chain.transactions.pop(tx.txid(), None)

    # -- spending ----------------------------------------------------------------------------

    def pay(
        self, coins: Sequence[Coin], satoshi: int = 60_000, *, fee: int = 100, asset: bytes = LBTC,
        extra: Sequence[PlainOutput] = (), change: bool = True, sign: bool = True,
    ) -> Payment:  # fmt: skip
        """A user-signed payment of one asset to a stranger, change to the first coin's account."""
        owner = coins[0].account
        outputs = [PlainOutput(STRANGER, asset, satoshi, STRANGER_PUB), *extra]
        totals: dict[bytes, int] = {}
        for coin in coins:
            totals[coin.opening.asset] = totals.get(coin.opening.asset, 0) + coin.opening.satoshi
        for output in outputs:
            totals[output.asset] = totals.get(output.asset, 0) - output.satoshi
        totals[LBTC] = totals.get(LBTC, 0) - fee
        if change:
            pubkey = wally.public_key(owner.blinding_key)
            outputs += [PlainOutput(owner.script(2), a, rest, pubkey) for a, rest in totals.items() if rest]
        outputs.append(PlainOutput(b"", LBTC, fee))
        made = blind([DomainEntry.of_output(coin.txout, coin.opening) for coin in coins], outputs)
        tx = Transaction.of(
            2, 0, [TxIn(coin.prevout, sequence_number=0xFFFFFFFE) for coin in coins], [o.txout for o in made]
        )
        payment = Payment(tuple(coins), tx, tuple(made))
        return payment.signed() if sign else payment


@dataclass(frozen=True)
class Payment:
    """A transaction, the coins it spends and what its maker knows of the outputs."""

    coins: tuple[Coin, ...]
    tx: Transaction
    outputs: tuple[BlindedOutput, ...]

    def signed(self, sighash: int = SIGHASH_ALL, only: Sequence[int] | None = None) -> Payment:
        """Sign with the users' keys, as stock clients do: placeholder in the service's place."""
        cache = SighashCache(self.tx)
        vin = list(self.tx.vin)
        for i, coin in enumerate(self.coins):
            if only is not None and i not in only:
                continue
            script = coin.account.witness_script(coin.pointer)
            digest = cache.segwit_v0(i, script, coin.txout.value_field, sighash)
            der = coin.account.user_key(coin.pointer).sign(digest) + bytes((sighash,))
            witness = (der, PLACEHOLDER, script) if coin.account.csv_blocks else (b"", PLACEHOLDER, der, script)
            vin[i] = replace(vin[i], script_sig=p2sh_p2wsh_script_sig(script), witness=witness)
        return replace(self, tx=Transaction.of(self.tx.version, self.tx.locktime, vin, self.tx.vout))

    def with_tx(self, **changes: object) -> Payment:
        """Other version, locktime, vin or vout; signatures stay as they are."""
        parts = {"version": self.tx.version, "locktime": self.tx.locktime, "vin": self.tx.vin, "vout": self.tx.vout}
        return replace(self, tx=Transaction.of(**(parts | changes)))  # type: ignore[arg-type]

    def with_input(self, index: int, **changes: object) -> Payment:
        """Fields of one input changed; signatures stay as they are."""
        return replace(self, tx=self.tx.replace_input(index, **changes))

    def with_output(self, index: int, **changes: object) -> Payment:
        """Fields of one output changed and everything signed again by the users."""
        vout = list(self.tx.vout)
        vout[index] = replace(vout[index], **changes)  # type: ignore[arg-type]
        return self.with_tx(vout=vout).signed()

    @property
    def nonces(self) -> list[bytes]:
        return [output.nonce for output in self.outputs]

    def request(self, **changes: object) -> Request:
        """As ``POST /delayed_signature`` brings it."""
        scripts = [coin.account.witness_script(coin.pointer) for coin in self.coins]
        return replace(Request(self.tx.to_bytes(), self.nonces, scripts), **changes)  # type: ignore[arg-type]
