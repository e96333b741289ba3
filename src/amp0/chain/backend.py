"""What a wallet asks of the chain and what it gets back; pure values, no I/O.

A wollet never goes online. It hands out a :class:`ScanRequest`: which scripts it may own, how far
to look, what it knows already. A chain client turns that into an :class:`Update`, and the wollet
applies it. Networks, retries and concurrency stay out of the wollet; keys stay out of the client:
it sees scripts and transactions, never a blinding key.

An update says how the world differs from what the request knew. It only fits the wollet in the
very state the request came from (:attr:`ScanRequest.state`); applied to another it is refused,
because "removed" and "changed" would mean something else there.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, Self

from amp0.elements.block import BlockHeader
from amp0.elements.hashes import BlockHash, Txid, sha256
from amp0.elements.transaction import OutPoint, Reader, Transaction, compact_size, var_bytes
from amp0.errors import InvalidInput, InvalidUpdate

if TYPE_CHECKING:
    from amp0.network import Network

__all__ = [
    "BlockHeader",
    "ChainBackend",
    "ScanObserver",
    "ScanRequest",
    "Scannable",
    "TxStatus",
    "Update",
]

UPDATE_MAGIC = b"amp0update"
UPDATE_VERSION = 1
_NONE = 0xFFFFFFFF


@dataclass(frozen=True, slots=True)
class TxStatus:
    """Where a transaction is: in a block, or (all fields ``None``) only in the mempool.

    ``block_hash`` and ``timestamp`` (seconds since 1970) are those of the block at ``height``.
    """

    height: int | None = None
    block_hash: BlockHash | None = None
    timestamp: int | None = None

    @property
    def confirmed(self) -> bool:
        """Whether the transaction is in a block."""
        return self.height is not None

    def agrees(self, other: TxStatus) -> bool:
        """Whether both name the same place; a fact one of them lacks does not count."""
        return self.height == other.height and (
            self.block_hash is None or other.block_hash is None or self.block_hash == other.block_hash
        )


UNCONFIRMED = TxStatus()
"""In the mempool, in no block."""


class ScanObserver(Protocol):
    """Told of new transactions while the scan is still running, so that work can overlap with waiting."""

    def on_transaction(self, tx: Transaction) -> None:
        """Take a new transaction whose bytes have been checked against its id. Must not block."""

    def finish(self) -> None:
        """Wait for the work started by :meth:`on_transaction`. Called in a worker thread."""


class _SilentObserver:
    def on_transaction(self, tx: Transaction) -> None:
        """Nothing to do."""

    def finish(self) -> None:
        """Nothing to wait for."""


_SILENT = _SilentObserver()


def _nowhere(script: bytes) -> None:
    return None


def _nothing(outpoint: OutPoint) -> bool:
    return False


@dataclass(frozen=True, slots=True, eq=False)
class ScanRequest:
    """What a wollet wants to know.

    ``script(chain, index)`` is the output script of an address; ``chains`` how many chains there
    are (AMP0 accounts have one, ordinary wallets two). ``to_index`` is the highest index that has
    to be looked at on every chain. ``descriptor`` is the descriptor without blinding key, key
    origins and checksum, as a Waterfalls server takes it. ``known`` and ``tip`` are what the
    wollet believes; ``last_used`` the highest index of each chain that has a transaction
    (``None``: none). ``state`` (32 bytes) identifies the wollet's state. ``find(script)`` is the chain
    and index of a script derived so far, ``owns(outpoint)`` whether an output is known to be ours.
    """

    network: Network
    is_amp0: bool
    chains: int
    script: Callable[[int, int], bytes]
    to_index: int
    descriptor: str
    known: Mapping[Txid, TxStatus]
    last_used: tuple[int | None, ...]
    tip: BlockHeader | None = None
    state: bytes = bytes(32)
    find: Callable[[bytes], tuple[int, int] | None] = _nowhere
    owns: Callable[[OutPoint], bool] = _nothing
    observer: ScanObserver = _SILENT


def _optional(value: int | None) -> bytes:
    return (_NONE if value is None else value).to_bytes(4, "little")


class Update:
    """How the chain differs from what a wollet knew: apply it with ``wollet.apply_update``.

    Immutable and equal by value. ``serialize()`` and ``Update(bytes)`` convert; the form is
    versioned, and a version this package does not know raises :class:`InvalidUpdate`.

    * ``base``: the state of the wollet the scan started from, 32 bytes;
    * ``tip``: header of the newest block;
    * ``transactions``: new ones, whole, in no particular order;
    * ``statuses``: of every new or changed transaction;
    * ``removed``: transactions that are in neither block nor mempool any more;
    * ``last_used``: per chain, the highest index seen with a transaction;
    * ``to_index``: how far the scan looked.
    """

    __slots__ = ("_raw", "base", "last_used", "removed", "statuses", "tip", "to_index", "transactions")

    base: bytes
    tip: BlockHeader
    transactions: tuple[Transaction, ...]
    statuses: Mapping[Txid, TxStatus]
    removed: tuple[Txid, ...]
    last_used: tuple[int | None, ...]
    to_index: int
    _raw: bytes | None

    def __init__(self, raw: bytes) -> None:
        """Parse serialised bytes. Raises :class:`InvalidUpdate`."""
        try:
            self._read(Reader(bytes(raw)))
        except InvalidUpdate:
            raise
        except InvalidInput as error:
            raise InvalidUpdate(f"these bytes are not an update: {error}") from None

    @classmethod
    def of(
        cls,
        *,
        base: bytes,
        tip: BlockHeader,
        transactions: Sequence[Transaction] = (),
        statuses: Mapping[Txid, TxStatus] | None = None,
        removed: Sequence[Txid] = (),
        last_used: Sequence[int | None] = (),
        to_index: int = 0,
    ) -> Self:
        """From its parts; every transaction needs a status."""
        self = cls.__new__(cls)
        self._set(base, tip, tuple(transactions), dict(statuses or {}), tuple(removed), tuple(last_used), to_index)
        return self

    def _set(
        self,
        base: bytes,
        tip: BlockHeader,
        transactions: tuple[Transaction, ...],
        statuses: Mapping[Txid, TxStatus],
        removed: tuple[Txid, ...],
        last_used: tuple[int | None, ...],
        to_index: int,
    ) -> None:
        missing = [tx.txid() for tx in transactions if tx.txid() not in statuses]
        if missing:
            raise InvalidUpdate(f"transaction {missing[0]} comes without a status")
        for name, value in (
            ("base", base),
            ("tip", tip),
            ("transactions", transactions),
            ("statuses", statuses),
            ("removed", removed),
            ("last_used", last_used),
            ("to_index", to_index),
            ("_raw", None),
        ):
            object.__setattr__(self, name, value)

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError("an Update does not change")

    def only_tip(self) -> bool:
        """Whether nothing but the tip differs."""
        return not (self.transactions or self.statuses or self.removed)

    # -- bytes -------------------------------------------------------------------------------

    def serialize(self) -> bytes:
        """Versioned bytes for a store of one's own."""
        if self._raw is None:
            object.__setattr__(self, "_raw", self._write(True))
        assert self._raw is not None
        return self._raw

    def digest(self) -> bytes:
        """32 bytes that identify what this update does; the next state of a wollet derives from it."""
        return sha256(self._write(False))

    def _write(self, whole: bool) -> bytes:
        parts = [
            UPDATE_MAGIC,
            bytes((UPDATE_VERSION,)),
            self.base,
            var_bytes(self.tip.serialize()),
            compact_size(len(self.last_used)),
            *(_optional(index) for index in self.last_used),
            self.to_index.to_bytes(4, "little"),
            compact_size(len(self.transactions)),
        ]
        # A txid says all of a transaction that matters to a wollet, and hashes in no time.
        parts += [var_bytes(tx.to_bytes()) if whole else bytes(tx.txid()) for tx in self.transactions]
        parts.append(compact_size(len(self.statuses)))
        for txid, status in self.statuses.items():
            parts += [
                bytes(txid),
                _optional(status.height),
                _optional(status.timestamp),
                bytes(status.block_hash) if status.block_hash is not None else bytes(32),
            ]
        parts.append(compact_size(len(self.removed)))
        parts += [bytes(txid) for txid in self.removed]
        return b"".join(parts)

    def _read(self, reader: Reader) -> None:
        if reader.take(len(UPDATE_MAGIC)) != UPDATE_MAGIC:
            raise InvalidUpdate("these bytes are not an update of this package")
        version = reader.u8()
        if version != UPDATE_VERSION:
            raise InvalidUpdate(
                f"this update is of version {version}, and version {UPDATE_VERSION} is known here; "
                "scan again to make a new one"
            )
        base = reader.take(32)
        tip = BlockHeader.parse(reader.var_bytes())
        last_used = tuple([_read_optional(reader) for _ in range(reader.count(4))])
        to_index = reader.u32()
        transactions = tuple([Transaction.from_bytes(reader.var_bytes()) for _ in range(reader.count(11))])
        statuses: dict[Txid, TxStatus] = {}
        for _ in range(reader.count(72)):
            txid, height, timestamp = Txid(reader.take(32)), _read_optional(reader), _read_optional(reader)
            block = reader.take(32)
            statuses[txid] = TxStatus(height, BlockHash(block) if block != bytes(32) else None, timestamp)
        removed = tuple([Txid(reader.take(32)) for _ in range(reader.count(32))])
        if reader.remaining:
            raise InvalidUpdate(f"{reader.remaining} bytes follow the update")
        self._set(base, tip, transactions, statuses, removed, last_used, to_index)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Update) and self.serialize() == other.serialize()

    def __hash__(self) -> int:
        return hash(self.digest())

    def __repr__(self) -> str:
        return (
            f"<Update height={self.tip.height()} new={len(self.transactions)} "
            f"changed={len(self.statuses) - len(self.transactions)} removed={len(self.removed)}>"
        )


def _read_optional(reader: Reader) -> int | None:
    value = reader.u32()
    return None if value == _NONE else value


# -- who takes part ---------------------------------------------------------------------------


class Scannable(Protocol):
    """What a chain client needs of a wollet."""

    def is_amp0(self) -> bool:
        """Whether this is an AMP0 account, which has no gap limit."""

    def scan_request(self, last_index: int | None) -> ScanRequest:
        """What to look for; ``last_index`` is the highest pointer the AMP0 server has issued."""


class ChainBackend(Protocol):
    """Where chain facts come from. Implemented by the Esplora and Waterfalls clients."""

    async def full_scan_to_index(self, wollet: Scannable, index: int) -> Update | None:
        """Look at every address up to ``index`` and beyond; ``None`` when nothing changed."""

    async def full_scan(self, wollet: Scannable) -> Update | None:
        """Scan an ordinary wollet by gap limit; AMP0 wollets raise :class:`~amp0.errors.Amp0ScanError`."""

    async def broadcast(self, tx: Transaction) -> Txid:
        """Send a transaction; raises :class:`~amp0.errors.BroadcastRejected` with the node's reason."""

    async def tip(self) -> BlockHeader:
        """Header of the newest block."""
