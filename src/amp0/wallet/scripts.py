"""The output scripts of a wollet: derived once, found by content, and opened with their keys."""

from __future__ import annotations

import threading
from collections.abc import Container, Iterable, Mapping
from concurrent.futures import Future, wait

from amp0.elements.confidential import Opening, explicit_opening, opens, proof_pool, unblind
from amp0.elements.descriptor import Chain, WolletDescriptor
from amp0.elements.transaction import OutPoint, Transaction, TxOut
from amp0.errors import UnblindError
from amp0.wallet.history import Coin, SealedOutput

MAX_INDEX = 0x7FFFFFFF
"""Highest unhardened derivation index."""
_ALTERNATE_KEY_POINTERS = range(1, 21)


class ScriptBook:
    """Scripts of a descriptor by chain and index, and chain and index by script.

    Scripts are derived in order and kept for ever: the set that is watched never shrinks. May be
    used from several threads.
    """

    def __init__(self, descriptor: WolletDescriptor) -> None:
        self.descriptor = descriptor
        self.chains = max(1, len(descriptor.keys()[0].branches))
        self._amp0 = descriptor.is_amp0()
        self._scripts: list[list[bytes]] = [[] for _ in range(self.chains)]
        self._places: dict[bytes, tuple[int, int]] = {}
        self._lock = threading.Lock()

    def script(self, chain: int, index: int) -> bytes:
        """The output script at ``index``, deriving everything up to it."""
        scripts = self._scripts[chain]
        if index >= len(scripts):
            self.derive(chain, index + 1)
        return scripts[index]

    def derive(self, chain: int, count: int) -> None:
        """Make sure that scripts ``0 … count - 1`` are known."""
        branch = Chain.INTERNAL if chain else Chain.EXTERNAL
        with self._lock:
            scripts = self._scripts[chain]
            for index in range(len(scripts), count):
                script = self.descriptor.script_bytes(index, branch)
                scripts.append(script)
                self._places[script] = (chain, index)

    def derived(self, chain: int) -> int:
        """How many scripts of a chain are known."""
        return len(self._scripts[chain])

    def find(self, script: bytes) -> tuple[int, int] | None:
        """Chain and index of a script derived so far."""
        return self._places.get(script)

    def blinding_keys(self, script: bytes, index: int) -> Iterable[bytes]:
        """Private blinding keys an output on ``script`` may be made for, likeliest first.

        GDK blinds some outputs at pointers 1…20 of AMP0 accounts for the key of pointer 1.
        """
        yield self.descriptor.blinding_key(script)
        if self._amp0 and index in _ALTERNATE_KEY_POINTERS:
            first = self.script(0, 1)
            if first != script:
                yield self.descriptor.blinding_key(first)


class Opener:
    """Opens outputs on our scripts, each one once, in the process's proof threads.

    A range proof takes 5 ms to open and everything else next to nothing; so opening starts as soon
    as a transaction arrives, and nothing is ever opened again.
    """

    def __init__(self, scripts: ScriptBook) -> None:
        self._scripts = scripts
        self._running: dict[OutPoint, Future[Opening | UnblindError]] = {}

    def on_transaction(self, tx: Transaction, known: Container[OutPoint] = ()) -> None:
        """Start opening the outputs of ours in a new transaction, but for ``known`` ones."""
        for vout, txout in enumerate(tx.vout):
            place = self._scripts.find(txout.script) if txout.script else None
            if place is not None and txout.is_partially_blinded():
                outpoint = OutPoint(tx.txid(), vout)
                if outpoint not in self._running and outpoint not in known:
                    self._running[outpoint] = proof_pool().submit(self._open, txout, place[1])

    def finish(self) -> None:
        """Wait for everything started."""
        wait(list(self._running.values()))

    def forget(self) -> None:
        """Drop what nobody asked for."""
        for future in self._running.values():
            future.cancel()
        self._running.clear()

    def collect(self, tx: Transaction, known: Mapping[OutPoint, Opening]) -> list[Coin | SealedOutput]:
        """The outputs of ours in a transaction, opened; ``known`` openings are checked, not redone."""
        found: list[Coin | SealedOutput] = []
        for vout, txout in enumerate(tx.vout):
            place = self._scripts.find(txout.script) if txout.script else None
            if place is None:
                continue
            outpoint = OutPoint(tx.txid(), vout)
            future = self._running.pop(outpoint, None)
            opening: Opening | UnblindError
            given = known.get(outpoint)
            if given is not None and opens(txout, given):
                opening = given
            else:
                opening = future.result() if future is not None else self._open(txout, place[1])
            if isinstance(opening, UnblindError):
                found.append(SealedOutput(outpoint, txout, *place, str(opening)))
            else:
                found.append(Coin(outpoint, txout, opening, *place))
        return found

    def recall(self, tx: Transaction, known: Mapping[OutPoint, Opening]) -> list[Coin | SealedOutput]:
        """The same from openings that were checked when they were stored; nothing is computed."""
        found: list[Coin | SealedOutput] = []
        for vout, txout in enumerate(tx.vout):
            place = self._scripts.find(txout.script) if txout.script else None
            if place is None:
                continue
            outpoint = OutPoint(tx.txid(), vout)
            opening = known.get(outpoint)
            if opening is None and not txout.is_partially_blinded():
                opening = explicit_opening(txout)
            if opening is None:
                found.append(SealedOutput(outpoint, txout, *place, "the output did not open"))
            else:
                found.append(Coin(outpoint, txout, opening, *place))
        return found

    def _open(self, txout: TxOut, index: int) -> Opening | UnblindError:
        if not txout.is_partially_blinded():
            return explicit_opening(txout)
        error = UnblindError("the output is half blinded")
        if txout.is_blinded:
            for key in self._scripts.blinding_keys(txout.script, index):
                try:
                    return unblind(txout, key)
                except UnblindError as failure:
                    error = failure
        return error
