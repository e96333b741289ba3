"""Wollet: a watch-only wallet from a descriptor. It never goes online.

A chain client asks :meth:`Wollet.scan_request` what to look for and comes back with an
:class:`~amp0.chain.backend.Update`; :meth:`Wollet.apply_update` takes it in. In between, outputs are
opened in worker threads as their transactions arrive.

An AMP0 account differs from an ordinary wallet in two ways, and the type makes both mistakes
impossible: it has no addresses of its own (they come from the server), and no gap limit (a scan
needs the last index the server has issued).
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING

from amp0.chain.backend import UNCONFIRMED, BlockHeader, ScanRequest, Update
from amp0.elements.address import AddressResult
from amp0.elements.confidential import Opening
from amp0.elements.descriptor import Chain, WolletDescriptor
from amp0.elements.hashes import Txid, asset_id_to_bytes, asset_id_to_str, sha256
from amp0.elements.transaction import OutPoint, Transaction
from amp0.errors import (
    Amp0AddressError,
    Amp0ScanError,
    InvalidInput,
    NetworkMismatch,
    StaleUpdate,
    WalletError,
)
from amp0.wallet.history import Coin, History, SealedOutput, WalletTx, WalletTxOut
from amp0.wallet.persistence import Record, WolletFile, without_proofs
from amp0.wallet.scripts import MAX_INDEX, Opener, ScriptBook

if TYPE_CHECKING:
    from amp0.elements.keys import SecretKey
    from amp0.elements.pset import Pset
    from amp0.network import Network
    from amp0.wallet.details import PsetDetails
    from amp0.wallet.external import ExternalUtxo

__all__ = ["WalletChanges", "WalletTx", "WalletTxOut", "Wollet", "WolletBuilder"]

MAX_INDEX_JUMP = 1_000_000
"""How far the server's last index may move between two scans before it is taken for a fault."""
LAST_LOCAL_POINTER = 20
"""Pointers 1…20 of an AMP0 account are watched and cosigned from its creation."""
_WEIGHT_2OF2, _WEIGHT_WPKH, _WEIGHT_SHWPKH = 359, 107, 199
"""What one input grows by when it is signed, in weight units; the numbers LWK uses for fees."""
_COMPACT_RECORDS, _COMPACT_BYTES = 500, 4 << 20
_NO_OPENINGS: Mapping[OutPoint, Opening] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class WalletChanges:
    """What an update did to the transactions of a wollet: events for whoever credits deposits.

    ``new`` were not known before; ``confirmed`` entered a block or moved to another one;
    ``unconfirmed`` were in a block and are not any more (a reorganisation: take credits back);
    ``dropped`` are in neither block nor mempool (replaced or expired: no credit).
    """

    new: tuple[Txid, ...] = ()
    confirmed: tuple[Txid, ...] = ()
    unconfirmed: tuple[Txid, ...] = ()
    dropped: tuple[Txid, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.new or self.confirmed or self.unconfirmed or self.dropped)


class Wollet:
    """A watch-only wallet of one descriptor: ``Wollet(network, descriptor, datadir)``.

    With a ``datadir`` (a folder), what was synced is kept there, encrypted with a key from the
    descriptor, and the next ``Wollet`` starts from it. Without, it lives in memory.

    Raises :class:`~amp0.errors.NetworkMismatch` when the descriptor belongs to another network or
    to an AMP0 service other than the network's.
    """

    def __init__(
        self,
        network: Network,
        descriptor: WolletDescriptor | str,
        datadir: str | os.PathLike[str] | None = None,
    ) -> None:
        if isinstance(descriptor, str):
            descriptor = WolletDescriptor(descriptor)
        if descriptor.is_amp0():
            descriptor.require_service(network)
        elif descriptor.is_mainnet() != network.is_mainnet():
            raise NetworkMismatch(
                f"the keys of this descriptor are not of {network.name}; use the network it was made for"
            )
        self.network = network
        self.max_index_jump = MAX_INDEX_JUMP
        self._descriptor = descriptor
        self._amp0 = descriptor.is_amp0()
        self._scripts = ScriptBook(descriptor)
        self._opener = Opener(self._scripts)
        self._history = History(network, descriptor)
        self._tip: BlockHeader | None = None
        self._last_used: tuple[int | None, ...] = (None,) * self._scripts.chains
        self._to_index = 0
        self._state = sha256(b"amp0 wollet state" + network.genesis_hash().encode() + str(descriptor).encode())
        self._file: WolletFile | None = None
        self._compact_at = _COMPACT_BYTES
        if datadir is not None:
            self._load(datadir)

    # -- what it is --------------------------------------------------------------------------

    def descriptor(self) -> WolletDescriptor:
        """The descriptor of the wallet. It holds the blinding key: whoever has it sees everything."""
        return self._descriptor

    def dwid(self) -> str:
        """The descriptor's ``dwid``; AMP0 wollets raise :class:`Amp0AddressError`, as in LWK."""
        return self._descriptor.dwid(self.network)

    def is_segwit(self) -> bool:
        """Whether its coins are spent with witnesses; every descriptor known here is."""
        return True

    def is_amp0(self) -> bool:
        """Whether this is an AMP0 account."""
        return self._amp0

    def max_weight_to_satisfy(self) -> int:
        """Weight units that spending one coin adds to an unsigned input."""
        if self._amp0:
            return _WEIGHT_2OF2
        return _WEIGHT_SHWPKH if self._descriptor.is_nested() else _WEIGHT_WPKH

    def tip(self) -> BlockHeader | None:
        """Header of the newest block seen, ``None`` before the first scan."""
        return self._tip

    def never_scanned(self) -> bool:
        """Whether no update has been applied yet."""
        return self._tip is None

    # -- addresses ---------------------------------------------------------------------------

    def address(self, index: int | None = None) -> AddressResult:
        """A receiving address: the first unused one, or the one at ``index``. Not for AMP0.

        An AMP0 wollet raises :class:`Amp0AddressError`: the server signs only for addresses it has
        issued itself.
        """
        if self._amp0:
            raise Amp0AddressError
        if index is None:
            index = self._next_unused(0)
        if not 0 <= index <= MAX_INDEX:
            raise InvalidInput(f"an address index is between 0 and {MAX_INDEX}, not {index}")
        return AddressResult(self._descriptor.confidential_address(self.network, index), index)

    def owns(self, script: bytes) -> int | None:
        """Derivation index of an output script, if it is one of the scripts watched so far."""
        place = self.place_of(script)
        return None if place is None else place[1]

    def place_of(self, script: bytes) -> tuple[Chain, int] | None:
        """Chain and derivation index of an output script watched so far."""
        self._derive_ahead()
        place = self._scripts.find(bytes(script))
        return None if place is None else (Chain.INTERNAL if place[0] else Chain.EXTERNAL, place[1])

    def change_index(self, skip: int = 0) -> int:
        """Index for a change output; ``skip`` outputs of the same transaction have theirs already.

        Ordinary wallets: the first unused index of the internal chain. AMP0 accounts: a pointer
        the server signs for, 1…20, and best one that nobody was ever given as a deposit address:
        the highest above the last issued one that is still unused. When all twenty have been
        issued, one that has received change before, so that change never lands on a customer's
        unused deposit address.
        """
        if not self._amp0:
            return self._next_unused(1) + skip
        used = {coin.index for coin in self._history.coins.values()}
        fresh = [i for i in range(LAST_LOCAL_POINTER, self._to_index, -1) if i not in used and i > 0]
        if skip < len(fresh):
            return fresh[skip]
        return self._change_pointers_used()[0]

    def _change_pointers_used(self) -> list[int]:
        history = self._history
        own_spends = {
            txid for txid, tx in history.transactions.items() if any(txin.prevout in history.coins for txin in tx.vin)
        }
        used = {coin.index for coin in history.coins.values() if coin.outpoint.hash in own_spends}
        return sorted((i for i in used if 1 <= i <= LAST_LOCAL_POINTER), reverse=True) or [1]

    def _next_unused(self, chain: int) -> int:
        last = self._last_used[chain]
        return 0 if last is None else last + 1

    # -- syncing -----------------------------------------------------------------------------

    def scan_request(self, last_index: int | None) -> ScanRequest:
        """What a chain client has to find out; ``last_index`` is ``Amp0.last_index()``.

        The range only ever grows: a smaller ``last_index`` than before changes nothing. One that
        jumps by more than :attr:`max_index_jump` raises :class:`WalletError`, since a faulty or
        hostile server could otherwise make the scan endless. AMP0 wollets raise
        :class:`Amp0ScanError` without a ``last_index``.
        """
        if last_index is None:
            if self._amp0:
                raise Amp0ScanError
            last_index = 0
        if not 0 <= last_index <= MAX_INDEX:
            raise InvalidInput(f"a last index is between 0 and {MAX_INDEX}, not {last_index!r}")
        if last_index > self._to_index + self.max_index_jump:
            raise WalletError(
                f"the last index jumped from {self._to_index} to {last_index}, which no real account "
                "does; ask the AMP0 server's operator, and if it is right raise wollet.max_index_jump"
            )
        self._to_index = max(self._to_index, last_index)
        return ScanRequest(
            network=self.network,
            is_amp0=self._amp0,
            chains=self._scripts.chains,
            script=self._scripts.script,
            to_index=self._to_index,
            descriptor=self._descriptor.scan_descriptor(),
            known=dict(self._history.statuses),
            last_used=self._last_used,
            tip=self._tip,
            state=self._state,
            find=self._scripts.find,
            owns=self._history.owns,
            observer=self._opener,
        )

    def apply_update(self, update: Update | None, *, allow_lower_tip: bool = False) -> WalletChanges:
        """Take in what a scan found; ``None`` (nothing changed) is fine.

        Returns what happened to which transactions. Raises :class:`StaleUpdate` when the wollet has
        changed since the scan began (scan again), or when the update's newest block is more than
        one below the newest seen: an explorer that lags would take confirmed deposits back. If the
        chain itself went back, say ``allow_lower_tip=True``.
        """
        if update is None:
            return WalletChanges()
        if not isinstance(update, Update):
            raise InvalidInput(f"apply_update takes an Update or None, not {type(update).__name__}")
        if update.base != self._state:
            raise StaleUpdate(
                "UpdateOnDifferentStatus: this update was made for another state of the wollet (it has "
                "been applied already, or something else was applied since the scan); scan again"
            )
        tip = self._tip
        if tip is not None and update.tip.height() < tip.height() - 1 and not allow_lower_tip:
            raise StaleUpdate(
                f"UpdateHeightTooOld: the explorer's newest block is {update.tip.height()}, but "
                f"{tip.height()} has been seen; wait for it to catch up, or if the chain was really "
                "reorganised use apply_update(update, allow_lower_tip=True)"
            )
        changes, openings = self._apply(update, _NO_OPENINGS)
        self._remember(update, openings)
        return changes

    def apply_transaction(self, tx: Transaction, openings: Mapping[int, Opening] | None = None) -> WalletChanges:
        """Add an unconfirmed transaction at once, e.g. one just broadcast; kept until a scan misses it.

        ``openings`` (by output number) are those of outputs we made ourselves; they are checked
        against the commitments, which is much faster than opening. An unconfirmed transaction that
        spends the same coins is dropped, with what depends on it; raises :class:`WalletError` when
        the coins are spent by a confirmed one. A transaction of others is ignored.
        """
        if not isinstance(tx, Transaction):
            raise InvalidInput(f"apply_transaction takes a Transaction, not {type(tx).__name__}")
        if tx.txid() in self._history.transactions:
            return WalletChanges()
        given = {OutPoint(tx.txid(), vout): opening for vout, opening in (openings or {}).items()}
        changes, found = self._apply_unconfirmed(tx, given)
        if changes:
            self._remember(tx, found)
        return changes

    def _apply(
        self, update: Update, openings: Mapping[OutPoint, Opening], trusted: bool = False
    ) -> tuple[WalletChanges, dict[OutPoint, Opening]]:
        history, scripts = self._history, self._scripts
        for chain, last in enumerate(update.last_used):
            if chain < scripts.chains:
                scripts.derive(chain, max(update.to_index, -1 if last is None else last) + 1)
        new = [tx for tx in update.transactions if tx.txid() not in history.transactions]
        collected = self._collect(new, openings, trusted)
        dropped = [txid for txid in update.removed if txid in history.transactions]
        history.remove(dropped)
        confirmed, unconfirmed = [], []
        for tx in new:
            history.add(tx, update.statuses[tx.txid()], collected[tx.txid()])
        fresh = {tx.txid() for tx in new}
        for txid, status in update.statuses.items():
            before = history.statuses.get(txid)
            if before is None:
                continue
            if status.confirmed and (txid in fresh or before.height != status.height or not before.agrees(status)):
                confirmed.append(txid)
            elif before.confirmed and not status.confirmed:
                unconfirmed.append(txid)
            history.set_status(txid, status)
        self._tip = update.tip
        self._to_index = max(self._to_index, update.to_index)
        self._last_used = tuple(
            last if seen is None or (last is not None and last > seen) else seen
            for last, seen in zip(self._last_used, update.last_used, strict=False)
        )
        self._state = sha256(self._state + update.digest())
        self._opener.forget()
        changes = WalletChanges(tuple(fresh), tuple(confirmed), tuple(unconfirmed), tuple(dropped))
        return changes, _openings(collected)

    def _apply_unconfirmed(
        self, tx: Transaction, openings: Mapping[OutPoint, Opening], trusted: bool = False
    ) -> tuple[WalletChanges, dict[OutPoint, Opening]]:
        history, txid = self._history, tx.txid()
        self._derive_ahead()
        rivals = {history.spender(txin.prevout) for txin in tx.vin} - {None}
        for rival in rivals:
            if rival is not None and history.statuses[rival].confirmed:
                raise WalletError(
                    f"transaction {txid} spends what the confirmed transaction {rival} has spent already; "
                    "it can never confirm. Sync and build a new one"
                )
        collected = self._collect([tx], openings, trusted)
        if not collected[txid] and not any(txin.prevout in history.coins for txin in tx.vin):
            return WalletChanges(), {}
        gone = history.descendants(rival for rival in rivals if rival is not None)
        history.remove(gone)
        history.add(tx, UNCONFIRMED, collected[txid])
        self._state = sha256(self._state + b"applied" + bytes(txid))
        return WalletChanges(new=(txid,), dropped=tuple(gone)), _openings(collected)

    def _collect(
        self, new: Sequence[Transaction], openings: Mapping[OutPoint, Opening], trusted: bool
    ) -> dict[Txid, list[Coin | SealedOutput]]:
        """Outputs of ours in new transactions, all of them opening at the same time."""
        if trusted:
            return {tx.txid(): self._opener.recall(tx, openings) for tx in new}
        for tx in new:
            self._opener.on_transaction(tx, openings)
        return {tx.txid(): self._opener.collect(tx, openings) for tx in new}

    def _derive_ahead(self) -> None:
        for chain, last in enumerate(self._last_used):
            ahead = max(self._to_index, LAST_LOCAL_POINTER, -1 if last is None else last) + 20
            self._scripts.derive(chain, ahead + 1)

    # -- reading -----------------------------------------------------------------------------

    def balance(self) -> dict[str, int]:
        """Satoshi per asset id: unspent coins, confirmed or not. The policy asset is always there."""
        total = {self.network.policy_asset(): 0}
        for asset, satoshi in self._history.balance().items():
            total[asset_id_to_str(asset)] = satoshi
        return total

    def balance_of(self, asset_id: str) -> int:
        """Satoshi of one asset (display hex)."""
        return self._history.balance().get(asset_id_to_bytes(asset_id), 0)

    def transactions(self) -> list[WalletTx]:
        """Transactions that moved something of ours: unconfirmed first, then newest first."""
        return self._history.wallet_txs()

    def transactions_paginated(self, offset: int, limit: int) -> list[WalletTx]:
        """A slice of :meth:`transactions`."""
        if offset < 0 or limit < 0:
            raise InvalidInput("offset and limit cannot be negative")
        return self._history.wallet_txs()[offset : offset + limit]

    def transaction(self, txid: Txid | str) -> WalletTx:
        """One transaction of ours. Raises :class:`WalletError` when it is not known."""
        tx = self._history.wallet_tx(Txid(txid) if isinstance(txid, str) else txid)
        if tx is None:
            raise WalletError(f"tx not found: {txid!s} moves nothing of this wallet, or it has to be synced")
        return tx

    def raw_transaction(self, txid: Txid) -> Transaction | None:
        """A known transaction, or ``None``; in a wollet opened from disk, without others' proofs."""
        return self._history.transactions.get(txid)

    def utxos(self) -> list[WalletTxOut]:
        """Unspent coins, largest amount first."""
        return self._history.utxos()

    def txos(self) -> list[WalletTxOut]:
        """All coins, spent ones too."""
        return self._history.txos()

    def explicit_utxos(self) -> list[WalletTxOut]:
        """Unspent outputs on our scripts that hide nothing; in neither balance nor utxos, as in LWK."""
        return self._history.explicit_utxos()

    def unattributed(self) -> list[SealedOutput]:
        """Outputs on our scripts that our keys do not open: half blinded, or blinded for another key."""
        return list(self._history.sealed.values())

    # -- PSETs -------------------------------------------------------------------------------

    def finalize(self, pset: Pset) -> Pset:
        """The PSET with every input finished. Raises :class:`~amp0.errors.InvalidPset`."""
        return pset.finalized()

    def pset_details(self, pset: Pset) -> PsetDetails:
        """What a PSET does to this wallet, and who has signed."""
        from amp0.wallet.details import PsetDetails

        return PsetDetails.of(self, pset)

    def add_details(self, pset: Pset) -> Pset:
        """A PSET made elsewhere with what our signers need: spent outputs, scripts, key origins."""
        from amp0.wallet.external import add_details

        return add_details(self, pset)

    def extract_wallet_utxos(self, pset: Pset) -> list[ExternalUtxo]:
        """The coins that a PSET will give this wallet, to be spent by a next transaction."""
        from amp0.wallet.external import created_utxos

        return created_utxos(self, pset)

    def unblind_utxos_with(self, blinding_key: SecretKey) -> list[ExternalUtxo]:
        """Unspent outputs on our scripts that were blinded for another key, opened with that key."""
        from amp0.wallet.external import utxos_opened_with

        return utxos_opened_with(self, blinding_key)

    def is_spent(self, outpoint: OutPoint) -> bool:
        """Whether a known transaction, confirmed or not, spends an output."""
        return self._history.spender(outpoint) is not None

    # -- on disk -----------------------------------------------------------------------------

    def _load(self, datadir: str | os.PathLike[str]) -> None:
        self._file = WolletFile.open_in(datadir, self.network.name, str(self._descriptor))
        for record in self._file.read():
            if isinstance(record.content, Update):
                self._apply(record.content, record.openings, trusted=True)
            else:
                self._apply_unconfirmed(record.content, record.openings, trusted=True)
            # A snapshot stands for many steps: the state after them cannot be computed from it.
            self._state = record.state
        self._compact_at = max(_COMPACT_BYTES, 2 * self._file.size)

    def _remember(self, content: Update | Transaction, openings: Mapping[OutPoint, Opening]) -> None:
        if self._file is None:
            return
        self._file.append(Record(self._state, self._slim(content, openings), openings))
        if self._file.records > _COMPACT_RECORDS or self._file.size > self._compact_at:
            self._compact()

    def _slim(self, content: Update | Transaction, openings: Mapping[OutPoint, Opening]) -> Update | Transaction:
        ours: dict[Txid, list[int]] = {}
        for outpoint in openings:
            if self._history.spender(outpoint) is None:
                ours.setdefault(outpoint.hash, []).append(outpoint.vout())
        if isinstance(content, Transaction):
            return without_proofs(content, ours.get(content.txid(), []))
        return Update.of(
            base=content.base,
            tip=content.tip,
            transactions=[without_proofs(tx, ours.get(tx.txid(), [])) for tx in content.transactions],
            statuses=content.statuses,
            removed=content.removed,
            last_used=content.last_used,
            to_index=content.to_index,
        )

    def _compact(self) -> None:
        """Write the whole state as one record."""
        assert self._file is not None
        if self._tip is None:
            return
        history = self._history
        openings = {at: coin.opening for at, coin in history.coins.items()}
        snapshot = Update.of(
            base=self._state,
            tip=self._tip,
            transactions=list(history.transactions.values()),
            statuses=history.statuses,
            last_used=self._last_used,
            to_index=self._to_index,
        )
        slim = self._slim(snapshot, openings)
        self._file.replace([Record(self._state, slim, openings)])
        self._compact_at = max(_COMPACT_BYTES, 2 * self._file.size)

    def __repr__(self) -> str:
        kind = "AMP0 account" if self._amp0 else "wallet"
        return f"<Wollet {kind} on {self.network.name}, {len(self._history.transactions)} transactions>"


class WolletBuilder:
    """Builds a :class:`Wollet` step by step, as LWK does."""

    def __init__(self, network: Network, descriptor: WolletDescriptor) -> None:
        self._network = network
        self._descriptor = descriptor
        self._folder: str | os.PathLike[str] | None = None

    def with_legacy_fs_store(self, folder: str | os.PathLike[str]) -> None:
        """Keep what is synced in this folder."""
        self._folder = folder

    def with_merge_threshold(self, threshold: int | None) -> None:
        """LWK's limit of update files. There is one file here, and it compacts itself."""

    def build(self) -> Wollet:
        """The wollet."""
        return Wollet(self._network, self._descriptor, self._folder)


def _openings(collected: Mapping[Txid, Sequence[Coin | SealedOutput]]) -> dict[OutPoint, Opening]:
    return {
        own.outpoint: own.opening
        for found in collected.values()
        for own in found
        if isinstance(own, Coin) and own.txout.is_partially_blinded()
    }
