"""The transactions of a wollet and what follows from them: outputs, balance, kinds.

:class:`History` is told of transactions, their openings and their statuses, and keeps the set of
unspent outputs up to date as it goes. Everything else is computed when asked.

Three kinds of output on our scripts are kept apart. *Coins* are confidential and opened: they make
up the balance, as in LWK. *Explicit* outputs hide nothing; LWK ignores them, and so do balance and
utxos here, but they can be listed. *Sealed* outputs did not open with our keys (half blinded, or
made for another key): they are listed too, because somebody will ask where that payment went.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from amp0.chain.backend import TxStatus
from amp0.elements.confidential import Opening, TxOutSecrets
from amp0.elements.descriptor import Chain
from amp0.elements.hashes import Txid, asset_id_to_str
from amp0.elements.script import Script
from amp0.elements.transaction import OutPoint, Transaction, TxOut

if TYPE_CHECKING:
    from amp0.elements.address import Address
    from amp0.elements.descriptor import WolletDescriptor
    from amp0.network import Network

BURN_SCRIPT = b"\x6a"
"""The output script LWK takes for a burn."""


@dataclass(frozen=True, slots=True)
class Coin:
    """An output on one of our scripts, opened. ``chain`` and ``index`` say which script."""

    outpoint: OutPoint
    txout: TxOut
    opening: Opening
    chain: int
    index: int


@dataclass(frozen=True, slots=True)
class SealedOutput:
    """An output on one of our scripts that does not open with our keys, and why."""

    outpoint: OutPoint
    txout: TxOut
    chain: int
    index: int
    reason: str


@dataclass(frozen=True, slots=True)
class WalletTxOut:
    """An output of the wallet, with what it hides. LWK's methods, and the same facts as attributes.

    ``script`` bytes of the output script, ``index`` its derivation index (the *pointer* of an AMP0
    account), ``opening`` asset, amount and blinding factors, ``txout`` the output with its proofs.
    """

    network: Network
    coin: Coin
    status: TxStatus
    spent: bool = False
    descriptor: WolletDescriptor | None = field(default=None, compare=False)

    @property
    def txout(self) -> TxOut:
        """The output itself."""
        return self.coin.txout

    @property
    def opening(self) -> Opening:
        """Asset, amount and blinding factors."""
        return self.coin.opening

    @property
    def script(self) -> bytes:
        """The output script."""
        return self.coin.txout.script

    @property
    def index(self) -> int:
        """Derivation index of the script."""
        return self.coin.index

    @property
    def asset_id(self) -> str:
        """Asset id, display hex."""
        return asset_id_to_str(self.coin.opening.asset)

    @property
    def satoshi(self) -> int:
        """The amount."""
        return self.coin.opening.satoshi

    def outpoint(self) -> OutPoint:
        """Which output this is."""
        return self.coin.outpoint

    def unblinded(self) -> TxOutSecrets:
        """Asset, amount and blinding factors in LWK's form."""
        return TxOutSecrets(self.coin.opening)

    def address(self) -> Address:
        """The confidential address that was paid, as LWK gives it; the plain one where no descriptor is known."""
        from amp0.elements.address import Address

        script = self.coin.txout.script
        if self.descriptor is None:
            return Address.from_script(self.network, script)
        return Address.from_script(self.network, script, self.descriptor.blinding_pubkey(script))

    def script_pubkey(self) -> Script:
        """The output script."""
        return Script.from_bytes(self.coin.txout.script)

    def height(self) -> int | None:
        """Height of the block that holds the output, ``None`` while unconfirmed."""
        return self.status.height

    def wildcard_index(self) -> int:
        """Derivation index of the script."""
        return self.coin.index

    def ext_int(self) -> Chain:
        """Which chain of the descriptor the script is of; AMP0 accounts have only the external one."""
        return Chain.INTERNAL if self.coin.chain else Chain.EXTERNAL

    def __repr__(self) -> str:
        return f"<WalletTxOut {self.coin.outpoint} index={self.coin.index}>"


@dataclass(frozen=True, slots=True, eq=False)
class WalletTx:
    """A transaction seen from the wallet: what it moved, when, and of what kind."""

    network: Network
    transaction: Transaction
    status: TxStatus
    own_inputs: tuple[WalletTxOut | None, ...]
    own_outputs: tuple[WalletTxOut | None, ...]

    def txid(self) -> Txid:
        """The transaction id."""
        return self.transaction.txid()

    def tx(self) -> Transaction:
        """The transaction.

        In a wollet that was opened from disk, the proofs of other people's outputs are left out
        (they are most of the bytes, and of no use to the wallet); the id does not depend on them.
        """
        return self.transaction

    def height(self) -> int | None:
        """Height of its block, ``None`` while unconfirmed."""
        return self.status.height

    def timestamp(self) -> int | None:
        """Time of its block in seconds since 1970, ``None`` while unconfirmed."""
        return self.status.timestamp

    def inputs(self) -> list[WalletTxOut | None]:
        """Per input the output of ours that it spends, or ``None``."""
        return list(self.own_inputs)

    def outputs(self) -> list[WalletTxOut | None]:
        """Per output, ours or ``None``."""
        return list(self.own_outputs)

    def balance(self) -> dict[str, int]:
        """What the wallet gained or lost, per asset id, in satoshi; a fee it paid is included."""
        net: dict[bytes, int] = {}
        for out in self.own_outputs:
            if out is not None:
                net[out.opening.asset] = net.get(out.opening.asset, 0) + out.opening.satoshi
        for out in self.own_inputs:
            if out is not None:
                net[out.opening.asset] = net.get(out.opening.asset, 0) - out.opening.satoshi
        return {asset_id_to_str(asset): value for asset, value in net.items()}

    def fee(self) -> int:
        """Fee in satoshi of the policy asset, whoever paid it."""
        return self.transaction.fee(self.network.policy_asset())

    def type(self) -> str:
        """``issuance``, ``reissuance``, ``burn``, ``redeposit``, ``incoming``, ``outgoing`` or ``unknown``.

        The first that fits, as LWK decides. Mixed movements (a swap) are ``unknown``.
        """
        tx = self.transaction
        issuances = [txin.issuance for txin in tx.vin if txin.issuance is not None]
        if any(not issuance.is_reissuance for issuance in issuances):
            return "issuance"
        if issuances:
            return "reissuance"
        if any(out.script == BURN_SCRIPT for out in tx.vout):
            return "burn"
        balance = self.balance()
        fees: dict[str, int] = {}
        for out in tx.vout:
            if out.is_fee():
                asset = out.asset() or ""
                fees[asset] = fees.get(asset, 0) + (out.explicit_value or 0)
        if balance and all(balance.get(asset, 0) == -fees.get(asset, 0) for asset in balance.keys() | fees.keys()):
            return "redeposit"
        if not balance:
            return "unknown"
        if all(value > 0 for value in balance.values()):
            return "incoming"
        if all(value < 0 for value in balance.values()):
            return "outgoing"
        return "unknown"

    def unblinded_url(self, explorer_url: str) -> str:
        """Link to an explorer that shows our amounts. **Whoever has it sees them too.**"""
        parts = [
            f"{out.satoshi},{out.asset_id},{out.opening.vbf[::-1].hex()},{out.opening.abf[::-1].hex()}"
            for out in (*self.own_inputs, *self.own_outputs)
            if out is not None
        ]
        return f"{explorer_url}tx/{self.txid()}#blinded={','.join(parts)}"

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, WalletTx)
            and self.transaction == other.transaction
            and self.status == other.status
            and self.own_inputs == other.own_inputs
            and self.own_outputs == other.own_outputs
        )

    def __hash__(self) -> int:
        return hash(self.transaction)

    def __repr__(self) -> str:
        return f"<WalletTx {self.txid()} height={self.status.height}>"


class History:
    """Transactions with their statuses, and the outputs of ours that they make and spend."""

    def __init__(self, network: Network, descriptor: WolletDescriptor | None = None) -> None:
        self.network = network
        self.descriptor = descriptor
        self.transactions: dict[Txid, Transaction] = {}
        self.statuses: dict[Txid, TxStatus] = {}
        self.coins: dict[OutPoint, Coin] = {}
        self.explicit: dict[OutPoint, Coin] = {}
        self.sealed: dict[OutPoint, SealedOutput] = {}
        self.unspent: dict[OutPoint, Coin] = {}
        self._spender: dict[OutPoint, Txid] = {}
        self._listed: list[WalletTx] | None = None

    # -- changing ----------------------------------------------------------------------------

    def add(self, tx: Transaction, status: TxStatus, found: Iterable[Coin | SealedOutput]) -> None:
        """Take a transaction with the outputs of ours found in it."""
        txid = tx.txid()
        self._listed = None
        self.transactions[txid] = tx
        self.statuses[txid] = status
        for txin in tx.vin:
            self._spender[txin.prevout] = txid
            self.unspent.pop(txin.prevout, None)
        for own in found:
            if isinstance(own, SealedOutput):
                self.sealed[own.outpoint] = own
            elif not own.txout.is_partially_blinded():
                self.explicit[own.outpoint] = own
            else:
                self.coins[own.outpoint] = own
                if own.outpoint not in self._spender:
                    self.unspent[own.outpoint] = own

    def set_status(self, txid: Txid, status: TxStatus) -> None:
        """Note where a known transaction is now."""
        self._listed = None
        self.statuses[txid] = status

    def remove(self, gone: Iterable[Txid]) -> None:
        """Forget transactions; what only they spent is unspent again."""
        gone = set(gone)
        if not gone:
            return
        self._listed = None
        freed: set[OutPoint] = set()
        for txid in gone:
            tx = self.transactions.pop(txid)
            del self.statuses[txid]
            for vout in range(len(tx.vout)):
                outpoint = OutPoint(txid, vout)
                for outputs in (self.coins, self.explicit, self.sealed, self.unspent):
                    outputs.pop(outpoint, None)
            freed.update(txin.prevout for txin in tx.vin if self._spender.get(txin.prevout) == txid)
        for outpoint in freed:
            del self._spender[outpoint]
        # Another transaction that we know may spend the same output: the one just gone was its rival.
        for txid, tx in self.transactions.items():
            for txin in tx.vin:
                if txin.prevout in freed:
                    self._spender[txin.prevout] = txid
        for outpoint in freed:
            coin = self.coins.get(outpoint)
            if coin is not None and outpoint not in self._spender:
                self.unspent[outpoint] = coin

    # -- asking ------------------------------------------------------------------------------

    def owns(self, outpoint: OutPoint) -> bool:
        """Whether an output is on one of our scripts, opened or not."""
        return outpoint in self.coins or outpoint in self.explicit or outpoint in self.sealed

    def spender(self, outpoint: OutPoint) -> Txid | None:
        """The known transaction that spends an output."""
        return self._spender.get(outpoint)

    def descendants(self, txids: Iterable[Txid]) -> set[Txid]:
        """These transactions and every known one that spends from them, directly or not."""
        todo, found = list(txids), set[Txid]()
        while todo:
            txid = todo.pop()
            if txid in found:
                continue
            found.add(txid)
            for vout in range(len(self.transactions[txid].vout)):
                spender = self._spender.get(OutPoint(txid, vout))
                if spender is not None:
                    todo.append(spender)
        return found

    def is_ours(self, tx: Transaction) -> bool:
        """Whether a known transaction makes or spends a coin of ours."""
        txid = tx.txid()
        return any(txin.prevout in self.coins for txin in tx.vin) or any(
            OutPoint(txid, vout) in self.coins for vout in range(len(tx.vout))
        )

    def wallet_output(self, coin: Coin) -> WalletTxOut:
        """A coin as its public form."""
        outpoint = coin.outpoint
        status, spent = self.statuses[outpoint.hash], outpoint in self._spender
        return WalletTxOut(self.network, coin, status, spent, self.descriptor)

    def utxos(self) -> list[WalletTxOut]:
        """Unspent coins, largest amount first, ties in the order of outpoints."""
        coins = sorted(self.unspent.values(), key=lambda coin: (-coin.opening.satoshi, coin.outpoint))
        return [self.wallet_output(coin) for coin in coins]

    def txos(self) -> list[WalletTxOut]:
        """All coins, spent ones too, largest amount first."""
        coins = sorted(self.coins.values(), key=lambda coin: (-coin.opening.satoshi, coin.outpoint))
        return [self.wallet_output(coin) for coin in coins]

    def explicit_utxos(self) -> list[WalletTxOut]:
        """Unspent outputs on our scripts that hide nothing."""
        return [self.wallet_output(coin) for at, coin in self.explicit.items() if at not in self._spender]

    def balance(self) -> dict[bytes, int]:
        """Satoshi of the unspent coins per asset (32 bytes, internal order)."""
        total: dict[bytes, int] = {}
        for coin in self.unspent.values():
            opening = coin.opening
            total[opening.asset] = total.get(opening.asset, 0) + opening.satoshi
        return total

    def wallet_tx(self, txid: Txid) -> WalletTx | None:
        """A known transaction seen from the wallet; ``None`` when it moves nothing of ours."""
        tx = self.transactions.get(txid)
        if tx is None or not self.is_ours(tx):
            return None
        inputs = tuple([self._own(self.coins, txin.prevout) for txin in tx.vin])
        outputs = tuple([self._own(self.coins, OutPoint(txid, vout)) for vout in range(len(tx.vout))])
        return WalletTx(self.network, tx, self.statuses[txid], inputs, outputs)

    def _own(self, coins: Mapping[OutPoint, Coin], outpoint: OutPoint) -> WalletTxOut | None:
        coin = coins.get(outpoint)
        return None if coin is None else self.wallet_output(coin)

    def wallet_txs(self) -> list[WalletTx]:
        """Unconfirmed first, then newest block first; ties by transaction id, descending."""
        if self._listed is None:

            def order(txid: Txid) -> tuple[int, bytes]:
                height = self.statuses[txid].height
                return (1 << 32 if height is None else height, bytes(txid))

            listed = (self.wallet_tx(txid) for txid in sorted(self.transactions, key=order, reverse=True))
            self._listed = [tx for tx in listed if tx is not None]
        return list(self._listed)
