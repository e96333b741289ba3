"""Waterfalls: the server derives the scripts, and one request tells the history of a whole account.

The server is given the descriptor without blinding key and key origins: it learns which addresses
belong together (as any explorer does that is asked for them all), and never an amount. On the way
the descriptor is encrypted with age to a key of the server, so that proxies and access logs do not
learn it too. See https://github.com/RCasatta/waterfalls.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Callable
from urllib.parse import quote

import msgspec

from amp0.chain.backend import UNCONFIRMED, ScanRequest, TxStatus
from amp0.chain.explorer import Explorer
from amp0.chain.findings import LOCAL_POINTERS, Findings, scan_end
from amp0.elements.address import Address
from amp0.elements.hashes import BlockHash, Txid
from amp0.errors import ChainError, ConfigError, ExplorerRefused, InvalidInput

PAGE = 1000
"""Indexes of one chain in one answer."""
_MAX_PAGES = 10_000
_MAX_ANSWER = 512 << 20
_SLOW = 4
"""An answer about a whole account may take this many times the usual deadline."""


class _Seen(msgspec.Struct):
    txid: str
    height: int = 0
    block_hash: str | None = None
    block_timestamp: int | None = None


class _Answer(msgspec.Struct):
    txs_seen: dict[str, list[list[_Seen]]]
    tip: str | None = None
    has_more: list[str] = []


_decoder = msgspec.json.Decoder(_Answer)


class DescriptorReader:
    """Reads the history of a descriptor from a Waterfalls server into :class:`Findings`."""

    def __init__(self, explorer: Explorer) -> None:
        self._explorer = explorer
        self._recipient: str | None = None
        self._sealed: tuple[str, str] | None = None

    async def read(self, findings: Findings, wanted: Callable[[Txid], None]) -> BlockHash | None:
        """Fill ``findings``; call ``wanted`` for each transaction to fetch; the server's tip.

        ``None`` when a block came between two pages, so that what was read is of two chains.

        Raises :class:`ChainError` for answers that contradict themselves.
        """
        request = findings.request
        tips: set[str] = set()
        truncated: list[str] = []
        longest, page = PAGE, 0
        while longest >= PAGE:
            answer = await self._ask_descriptor(request, page)
            tips.add(answer.tip or "")
            truncated += answer.has_more
            longest = max((len(chain) for chain in answer.txs_seen.values()), default=0)
            for key, histories in answer.txs_seen.items():
                chain = _chain_of(key, request.chains)
                if chain is None:
                    raise self._nonsense(f"it is about another descriptor ({key[:60]})")
                for offset, history in enumerate(histories):
                    for seen in history:
                        self._add(findings, chain, page * PAGE + offset, seen, wanted)
            page += 1
            if page >= _MAX_PAGES:
                raise self._nonsense("it never ends")
        for address in dict.fromkeys(truncated):
            await self._read_rest(findings, address, wanted)
        if len(tips) > 1:
            return None
        tip = tips.pop()
        return self._hash(tip) if tip else await self._explorer.tip_hash()  # old servers do not tell

    async def _read_rest(self, findings: Findings, address: str, wanted: Callable[[Txid], None]) -> None:
        """The pages of one long history that the first answer left out."""
        request = findings.request
        script = Address(address, request.network).script
        place = next(
            (
                (chain, index)
                for chain in range(request.chains)
                for index in range(scan_end(request, findings.last_used[chain]))
                if request.script(chain, index) == script
            ),
            None,
        )
        if place is None:
            raise self._nonsense(f"it mentions the address {address[:60]}, which is none of ours")
        for page in range(1, _MAX_PAGES):
            answer = await self._get(f"addresses={quote(address)}&page={page}")
            for histories in answer.txs_seen.values():
                for seen in (seen for history in histories for seen in history):
                    self._add(findings, *place, seen, wanted)
            if address not in answer.has_more:
                return

    def _add(self, findings: Findings, chain: int, index: int, seen: _Seen, wanted: Callable[[Txid], None]) -> None:
        try:
            txid = Txid(seen.txid)
        except InvalidInput as error:
            raise self._nonsense(error) from None
        status = UNCONFIRMED
        if seen.height > 0:
            block = self._hash(seen.block_hash) if seen.block_hash is not None else None
            status = TxStatus(seen.height, block, seen.block_timestamp)
        if findings.add(chain, index, txid, status):
            wanted(txid)

    # -- requests ----------------------------------------------------------------------------

    async def _ask_descriptor(self, request: ScanRequest, page: int) -> _Answer:
        # Some servers take to_index for a count, others for the last index: one more suits both.
        highest = max(request.to_index, LOCAL_POINTERS) if request.is_amp0 else request.to_index
        to_index = highest + 1 if highest else 0
        for attempt in (1, 2):
            sealed = await self._seal(request.descriptor)
            try:
                return await self._get(
                    f"descriptor={quote(sealed, safe='')}&page={page}&to_index={to_index}&utxo_only=false"
                )
            except ExplorerRefused as error:
                # The server has a new key: ask for it and try once more.
                if error.status != 422 or attempt == 2:
                    raise
                self._recipient = self._sealed = None
        raise AssertionError("unreachable")

    async def _get(self, query: str) -> _Answer:
        path = f"/v2/waterfalls?{query}"
        explorer = self._explorer
        response = await explorer.ask(path, limit=_MAX_ANSWER, timeout=explorer.timeout * _SLOW)
        return explorer.decode(_decoder, path, response.body)

    async def _seal(self, descriptor: str) -> str:
        """The descriptor encrypted to the server: base64 of an age file, without padding."""
        if self._sealed is None or self._sealed[0] != descriptor:
            try:
                import pyrage
            except ImportError:
                raise ConfigError(
                    "encrypting the descriptor for a Waterfalls server needs the package pyrage; install it, "
                    "or use EsploraClient(url, network) without Waterfalls"
                ) from None
            if self._recipient is None:
                self._recipient = (await self._explorer.ask("/v1/server_recipient")).text.strip()
            try:
                recipient = pyrage.x25519.Recipient.from_str(self._recipient)
            except pyrage.RecipientError as error:
                self._recipient = None
                raise self._explorer.nonsense("/v1/server_recipient", error) from None
            sealed = pyrage.encrypt(descriptor.encode(), [recipient])
            # Kept, so that the same question has the same URL and caches on the way can answer it.
            self._sealed = (descriptor, base64.b64encode(sealed).decode().rstrip("="))
        return self._sealed[1]

    def _hash(self, text: str) -> BlockHash:
        try:
            return BlockHash(text)
        except InvalidInput as error:
            raise self._nonsense(error) from None

    def _nonsense(self, error: object) -> ChainError:
        return self._explorer.nonsense("/v2/waterfalls", error)


def _chain_of(descriptor: str, chains: int) -> int | None:
    """Which chain an answer's descriptor is of: the path step before its last ``*``."""
    if chains == 1:
        return 0
    steps = re.findall(r"/(\d{1,10})/\*", descriptor)
    chain = int(steps[-1]) if steps else None
    return chain if chain is not None and chain < chains else None
