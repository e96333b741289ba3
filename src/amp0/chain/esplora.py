"""Chain clients over HTTP: Esplora address by address, or Waterfalls in one request.

Both fetch the transactions they find and leave opening them to the wollet, which starts as soon as
the first one arrives. A scan that meets a new block half-way looks again, so that an update never
mixes two states of the chain.
"""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeVar

from amp0.chain.backend import UNCONFIRMED, Scannable, ScanRequest, TxStatus, Update
from amp0.chain.explorer import AddressEntry, Explorer, TokenProvider
from amp0.chain.findings import GAP, Findings, scan_end
from amp0.chain.http import SocketTransport, Transport, base_url
from amp0.chain.refresh import Refresher
from amp0.chain.waterfalls import DescriptorReader
from amp0.elements.address import Address
from amp0.elements.block import BlockHeader
from amp0.elements.descriptor import Chain, WolletDescriptor
from amp0.elements.hashes import BlockHash, Txid
from amp0.elements.transaction import Transaction
from amp0.errors import Amp0ScanError, ChainError, InvalidInput, NetworkMismatch

if TYPE_CHECKING:
    from amp0.network import Network

MEMPOOL_PAGE = 50
"""Most mempool transactions that Esplora lists for an address."""
SHORT_PAGE = 10
"""A first page with fewer confirmed transactions is whole: Esplora pages by 25, nobody by less than 10."""
_PASSES = 4
T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class EsploraClientBuilder:
    """The options of a client, as LWK names them.

    ``timeout`` is in seconds per request, ``concurrency`` the number of requests under way at a
    time, ``headers`` go on every request. ``allow_insecure`` permits ``http://`` to another machine.
    """

    base_url: str
    network: Network
    waterfalls: bool = False
    concurrency: int | None = None
    timeout: float | None = None
    utxo_only: bool = False
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    token_provider: TokenProvider | None = None
    allow_insecure: bool = False


class EsploraClient:
    """A chain backend over Esplora's API, or over Waterfalls: ``EsploraClient(url, network)``.

    ``http://`` is accepted for this machine only, unless ``allow_insecure`` is set. ``transport``,
    ``sleep`` and ``clock`` are for tests and for applications in the same process.
    """

    def __init__(
        self,
        url: str,
        network: Network,
        *,
        waterfalls: bool = False,
        concurrency: int | None = None,
        timeout: float | None = None,
        headers: Mapping[str, str] | None = None,
        token_provider: TokenProvider | None = None,
        allow_insecure: bool = False,
        transport: Transport | None = None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.network = network
        self.url = base_url(url, allow_insecure=allow_insecure)
        tls = _tls_context(network)

        def socket_to(address: str) -> Transport:
            return SocketTransport(base_url(address, allow_insecure=allow_insecure), tls=tls)

        self._explorer = Explorer(
            self.url,
            transport or socket_to(self.url),
            timeout=timeout,
            concurrency=concurrency,
            headers=headers,
            tokens=token_provider,
            token_transport=socket_to,
            sleep=sleep,
            clock=clock,
        )
        self._descriptors = DescriptorReader(self._explorer) if waterfalls else None
        self._refresher = Refresher(self._explorer)

    @classmethod
    def new_waterfalls(cls, url: str, network: Network) -> Self:
        """A client that scans through Waterfalls: far fewer requests."""
        return cls(url, network, waterfalls=True)

    @classmethod
    def from_builder(cls, builder: EsploraClientBuilder) -> Self:
        """A client with the options of a builder."""
        if builder.utxo_only:
            raise InvalidInput("utxo_only is not offered: a wollet needs its whole history")
        return cls(
            builder.base_url,
            builder.network,
            waterfalls=builder.waterfalls,
            concurrency=builder.concurrency,
            timeout=builder.timeout,
            headers=builder.headers,
            token_provider=builder.token_provider,
            allow_insecure=builder.allow_insecure,
        )

    async def aclose(self) -> None:
        """Close the connections; idle ones close by themselves after half a minute."""
        await self._explorer.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    # -- questions ---------------------------------------------------------------------------

    async def tip(self) -> BlockHeader:
        """Header of the newest block."""
        return await self._explorer.header(await self._explorer.tip_hash())

    async def broadcast(self, tx: Transaction) -> Txid:
        """Send a transaction; its id.

        Raises :class:`~amp0.errors.BroadcastRejected` with the node's reason. After a
        :class:`~amp0.errors.ConnectionFailed` the transaction may have been sent or not:
        broadcast the same one again, which is safe.
        """
        return await self._explorer.broadcast(tx)

    async def transaction(self, txid: Txid | str) -> Transaction | None:
        """Any transaction of the chain or the mempool, ``None`` when the explorer has none of that id."""
        txid = Txid(txid)
        raw = await self._explorer.raw_transaction(txid)
        return None if raw is None else Findings.check(txid, raw)

    async def has_txs(self, descriptor: WolletDescriptor, gap_limit: int | None = None) -> bool:
        """Whether any of the first ``gap_limit`` (20) addresses of a descriptor was ever used."""
        for chain in (Chain.EXTERNAL, Chain.INTERNAL)[: max(1, len(descriptor.keys()[0].branches))]:
            for index in range(GAP if gap_limit is None else gap_limit):
                address = Address.from_script(self.network, descriptor.script_bytes(index, chain))
                if await self._explorer.address_page(str(address)):
                    return True
        return False

    # -- scanning ----------------------------------------------------------------------------

    async def full_scan(self, wollet: Scannable) -> Update | None:
        """Scan an ordinary wollet by gap limit.

        An AMP0 wollet raises :class:`~amp0.errors.Amp0ScanError`: its deposits lie anywhere up to
        the last issued index, which only ``full_scan_to_index`` is told.
        """
        if wollet.is_amp0():
            raise Amp0ScanError
        return await self._scan(wollet.scan_request(0))

    async def full_scan_to_index(self, wollet: Scannable, index: int) -> Update | None:
        """Scan every address up to ``index`` (``Amp0.last_index()``) and a gap beyond.

        Returns what to give to ``wollet.apply_update``; ``None`` when nothing has changed.
        """
        return await self._scan(wollet.scan_request(index))

    async def _scan(self, request: ScanRequest) -> Update | None:
        if request.network.genesis_hash() != self.network.genesis_hash():
            raise NetworkMismatch(f"the wollet is on {request.network.name} and this client on {self.network.name}")
        findings = Findings(request)
        await self._derive(findings)
        tip = await self._read_histories(findings)
        header = await self._header(request, tip)
        blocks = findings.missing_timestamps()
        if blocks:
            headers: dict[BlockHash, BlockHeader] = {tip: header}

            async def fetch(block: BlockHash) -> None:
                headers[block] = await self._explorer.header(block)

            await _together([fetch(block) for block in blocks if block != tip])
            findings.add_headers(headers)
        if findings.raw:
            await asyncio.to_thread(request.observer.finish)
        update = findings.update(header)
        self._refresher.remember(findings, header)
        return update

    async def _header(self, request: ScanRequest, tip: BlockHash) -> BlockHeader:
        if request.tip is not None and request.tip.block_hash() == tip:
            return request.tip
        return await self._explorer.header(tip)

    async def _read_histories(self, findings: Findings) -> BlockHash:
        """Fill the findings until the chain stood still while they were read; the tip they fit."""
        for _ in range(_PASSES):
            findings.restart()
            if self._descriptors is not None:
                agreed = await self._pass(findings, self._read_descriptor)
                if agreed is not None and not findings.vanished:
                    return agreed
                continue
            # The mempool first: what is in it now is in the histories read later, or new next time.
            await self._refresher.look()
            tip = await self._explorer.tip_hash()
            starts = await self._refresher.resume(findings, tip)
            if starts == tuple(scan_end(findings.request, last) for last in findings.last_used):
                return tip

            async def read(found: Findings, wanted: _Fetch, starts: tuple[int, ...] = starts) -> None:
                await self._read_addresses(found, wanted, starts)

            await self._pass(findings, read)
            if not findings.vanished and await self._explorer.tip_hash() == tip:
                return tip
        raise ChainError(
            f"the explorer at {self.url} kept changing its answers during the scan; try again, or another one"
        )

    async def _pass(self, findings: Findings, read: Callable[[Findings, _Fetch], Awaitable[T]]) -> T:
        """One reading of all histories, with transactions fetched as they become known."""
        asked: set[Txid] = set()
        try:
            async with asyncio.TaskGroup() as group:

                def wanted(txid: Txid) -> None:
                    if txid not in asked:
                        asked.add(txid)
                        group.create_task(self._fetch(findings, txid))

                result = await read(findings, wanted)
        except BaseExceptionGroup as errors:
            raise _first(errors) from None
        return result

    async def _fetch(self, findings: Findings, txid: Txid) -> None:
        raw = await self._explorer.raw_transaction(txid)
        if raw is None:
            # It left the mempool after the history was read.
            findings.vanished.add(txid)
        else:
            findings.request.observer.on_transaction(findings.take(txid, raw))

    # -- Waterfalls --------------------------------------------------------------------------

    async def _read_descriptor(self, findings: Findings, wanted: _Fetch) -> BlockHash | None:
        assert self._descriptors is not None
        return await self._descriptors.read(findings, wanted)

    async def _derive(self, findings: Findings) -> None:
        """Have the wollet derive what it will need, off the event loop: outputs are matched by script."""
        request = findings.request
        for chain in range(request.chains):
            end = scan_end(request, findings.last_used[chain])
            await asyncio.to_thread(request.script, chain, end - 1)

    # -- Esplora -----------------------------------------------------------------------------

    async def _read_addresses(self, findings: Findings, wanted: _Fetch, starts: tuple[int, ...]) -> None:
        request = findings.request
        # Half of the requests under way may be histories: transactions, once known, go first, so that
        # opening them overlaps with reading on.
        lane = asyncio.Semaphore(max(1, self._explorer.concurrency // 2))

        async def read(chain: int, index: int) -> None:
            async with lane:
                await self._read_address(findings, chain, index, wanted)

        for chain, start in enumerate(starts):
            while start < (end := scan_end(request, findings.last_used[chain])):
                await _together([read(chain, index) for index in range(start, end)])
                start = end

    async def _read_address(self, findings: Findings, chain: int, index: int, wanted: _Fetch) -> None:
        request = findings.request
        address = str(Address.from_script(request.network, request.script(chain, index)))

        def take(entries: list[AddressEntry]) -> int:
            confirmed = 0
            for entry in entries:
                txid, status = self._parsed(entry, address)
                confirmed += status.confirmed
                if findings.add(chain, index, txid, status):
                    wanted(txid)
            return confirmed

        entries = await self._explorer.address_page(address)
        count = take(entries)
        if len(entries) - count >= MEMPOOL_PAGE:
            # The list was cut: absence proves nothing about what the mempool holds.
            findings.keep.update(txid for txid, status in request.known.items() if not status.confirmed)
        if count < SHORT_PAGE:
            return
        # Whatever the size of a page is, one that is shorter than the page before it is the last.
        followed: set[str] = set()
        before = count
        while count >= before:
            last = entries[-1].txid
            if last in followed:
                raise self._explorer.nonsense(f"/address/{address}/txs/chain", "the pages do not advance")
            followed.add(last)
            before = count
            entries = await self._explorer.address_page(address, last)
            count = take(entries)

    def _parsed(self, entry: AddressEntry, address: str) -> tuple[Txid, TxStatus]:
        try:
            txid = Txid(entry.txid)
            status = entry.status
            if status.block_height is None:
                return txid, UNCONFIRMED
            if status.block_hash is None or not 0 <= status.block_height < 1 << 32:
                raise InvalidInput("a confirmed transaction has no block")
            return txid, TxStatus(status.block_height, BlockHash(status.block_hash), status.block_time)
        except InvalidInput as error:
            raise self._explorer.nonsense(f"/address/{address}/txs", error) from None


_Fetch = Callable[[Txid], None]


class WaterfallsClient(EsploraClient):
    """A chain backend over Waterfalls: ``WaterfallsClient(url, network)``; LWK's newer spelling."""

    def __init__(self, url: str, network: Network, **options: Any) -> None:
        super().__init__(url, network, **{**options, "waterfalls": True})


@dataclass(frozen=True, slots=True, kw_only=True)
class WaterfallsClientBuilder(EsploraClientBuilder):
    """:class:`EsploraClientBuilder` for :class:`WaterfallsClient`."""

    waterfalls: bool = True


def _tls_context(network: Network) -> ssl.SSLContext | None:
    """Certificates of the network's own authorities, or ``None`` for the machine's."""
    if not network.cert_roots:
        return None
    return ssl.create_default_context(cadata="\n".join(network.cert_roots))


async def _together(jobs: list[Coroutine[Any, Any, None]]) -> None:
    """Run coroutines at once; the first failure cancels the others and is raised as it is."""
    try:
        async with asyncio.TaskGroup() as group:
            for job in jobs:
                group.create_task(job)
    except BaseExceptionGroup as errors:
        raise _first(errors) from None


def _first(errors: BaseExceptionGroup[BaseException]) -> BaseException:
    error: BaseException = errors
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
