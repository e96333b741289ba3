"""One explorer: requests with deadlines and patience, answers checked and typed.

Everything a chain client asks goes through :meth:`Explorer.ask`: it limits how many requests are
under way, gives each a deadline, waits when the server says 429 or 503, and turns every failure
into an error of ours. The methods below it know the paths of Esplora's API and believe nothing
that can be checked: a header must hash to the block asked for, a transaction to its id.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Final, TypeVar

import msgspec

from amp0.chain.http import BrokenAnswer, Response, Transport, unavailable
from amp0.elements.block import BlockHeader, merkle_root
from amp0.elements.hashes import BlockHash, Txid
from amp0.elements.transaction import MAX_TRANSACTION_BYTES, Reader, Transaction
from amp0.errors import (
    BackendUnavailable,
    BroadcastRejected,
    ChainError,
    ConfigError,
    ConnectionTimeout,
    ExplorerRefused,
    InvalidInput,
)

T = TypeVar("T")

DEFAULT_TIMEOUT = 30.0
"""Seconds one request may take, connection and answer together."""
PATIENCE = 60.0
"""Seconds one request may wait in all for a server that says it is busy."""
DEFAULT_CONCURRENCY = 8
_BUSY: Final = frozenset({429, 502, 503, 504})
_MAX_TRIES = 7
_MAX_SHORT_TEXT = 1 << 16
_MAX_HEADER_TEXT = 2 << 20
_MAX_BLOCK = 16 << 20
_MAX_PAGE = 128 << 20


@dataclass(frozen=True, slots=True)
class TokenProvider:
    """How requests are authorised: not at all, with a fixed bearer token, or by client credentials.

    Make one with :meth:`NONE`, :meth:`STATIC` or :meth:`BLOCKSTREAM`, LWK's names.
    """

    kind: str = "none"
    token: str = field(default="", repr=False)
    url: str = ""
    client_id: str = ""
    client_secret: str = field(default="", repr=False)

    @classmethod
    def NONE(cls) -> TokenProvider:
        """No authorisation."""
        return cls()

    @classmethod
    def STATIC(cls, token: str) -> TokenProvider:
        """A bearer token that does not change."""
        return cls("static", _header_value(token, "token"))

    @classmethod
    def BLOCKSTREAM(cls, url: str, client_id: str, client_secret: str) -> TokenProvider:
        """OAuth client credentials: ``url`` answers a POST with ``access_token``."""
        return cls("oauth", "", url, client_id, client_secret)


class AddressStatus(msgspec.Struct):
    """Where Esplora says a transaction is."""

    block_height: int | None = None
    block_hash: str | None = None
    block_time: int | None = None


class AddressEntry(msgspec.Struct):
    """One transaction of an address history; Esplora sends much more, which is not read."""

    txid: str
    status: AddressStatus


_page_decoder = msgspec.json.Decoder(list[AddressEntry])
_txids_decoder = msgspec.json.Decoder(list[str])


class _Token(msgspec.Struct):
    access_token: str


def _header_value(text: str, what: str) -> str:
    if any(c < " " or c > "~" for c in text):
        raise InvalidInput(f"the {what} holds characters that an HTTP header cannot carry")
    return text


class Explorer:
    """An HTTP server with Esplora's API, behind ``url``.

    ``sleep`` and ``clock`` (seconds since 1970) are passed in by tests.
    """

    def __init__(
        self,
        url: str,
        transport: Transport,
        *,
        timeout: float | None = None,
        concurrency: int | None = None,
        headers: Mapping[str, str] | None = None,
        tokens: TokenProvider | None = None,
        token_transport: Callable[[str], Transport] | None = None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        clock: Callable[[], float] = time.time,
    ) -> None:
        if timeout is not None and not 0 < timeout <= 3600:
            raise InvalidInput("a timeout is between 0 and 3600 seconds")
        if concurrency is not None and not 1 <= concurrency <= 64:
            raise InvalidInput("concurrency is between 1 and 64 requests")
        self.url = url
        self.timeout = DEFAULT_TIMEOUT if timeout is None else timeout
        self.concurrency = concurrency or DEFAULT_CONCURRENCY
        self._transport = transport
        self._headers = {
            _header_value(name, "header name"): _header_value(value, "header value")
            for name, value in (headers or {}).items()
        }
        self._tokens = tokens or TokenProvider()
        self._token_transport = token_transport
        self._token = self._tokens.token
        self._sleep, self._clock = sleep, clock
        self._loop: asyncio.AbstractEventLoop | None = None
        self._slots = asyncio.Semaphore(self.concurrency)

    async def aclose(self) -> None:
        """Close the connections."""
        await self._transport.aclose()

    # -- one request -------------------------------------------------------------------------

    async def ask(
        self,
        path: str,
        *,
        limit: int = _MAX_SHORT_TEXT,
        body: bytes | None = None,
        timeout: float | None = None,
    ) -> Response:
        """GET ``path``, or POST ``body`` to it; a 2xx answer of at most ``limit`` bytes.

        Raises :class:`ExplorerRefused` for other statuses, :class:`BackendUnavailable` and
        :class:`ConnectionTimeout` when no answer can be had.
        """
        loop = asyncio.get_running_loop()
        if loop is not self._loop:
            self._loop, self._slots = loop, asyncio.Semaphore(self.concurrency)
        async with self._slots:
            return await self._ask(path, limit, body, timeout or self.timeout)

    async def _ask(self, path: str, limit: int, body: bytes | None, timeout: float) -> Response:
        waited, renewed = 0.0, False
        for attempt in range(_MAX_TRIES):
            response = await self._once(path, limit, body, timeout)
            status = response.status
            if 200 <= status < 300:
                return response
            if status == 401 and self._tokens.kind == "oauth" and not renewed:
                self._token, renewed = "", True
                continue
            if status not in _BUSY:
                raise ExplorerRefused(self._shown(path), status, response.text)
            wait = response.retry_after(self._clock())
            wait = float(2**attempt) if wait is None else wait
            if waited + wait > PATIENCE or attempt == _MAX_TRIES - 1:
                raise BackendUnavailable(
                    f"the explorer at {self.url} is busy (status {status}) and asks for {wait:.0f} more "
                    "seconds; try again later, or use another explorer"
                )
            waited += wait
            await self._sleep(wait)
        raise BackendUnavailable(f"the explorer at {self.url} does not accept the credentials given")

    async def _once(self, path: str, limit: int, body: bytes | None, timeout: float) -> Response:
        headers = self._headers
        if self._tokens.kind != "none":
            headers = {**headers, "authorization": f"Bearer {self._token or await self._fresh_token()}"}
        try:
            async with asyncio.timeout(timeout):
                method = "GET" if body is None else "POST"
                return await self._transport.request(method, path, headers, body or b"", limit)
        except TimeoutError:
            raise ConnectionTimeout(
                f"the explorer at {self.url} did not answer within {timeout:g} seconds; try again, "
                "with a longer timeout, or use another explorer"
            ) from None
        except (OSError, BrokenAnswer) as error:
            raise unavailable(self.url, error) from None

    async def _fresh_token(self) -> str:
        provider = self._tokens
        if self._token_transport is None:
            raise ConfigError("this explorer client has no way to ask for a token")
        transport = self._token_transport(provider.url)
        form = (
            f"grant_type=client_credentials&client_id={_form(provider.client_id)}"
            f"&client_secret={_form(provider.client_secret)}&scope=openid"
        )
        try:
            async with asyncio.timeout(self.timeout):
                response = await transport.request(
                    "POST",
                    "",
                    {"content-type": "application/x-www-form-urlencoded"},
                    form.encode(),
                    1 << 16,
                )
            if response.status != 200:
                # The body may repeat what was sent; it stays out of the text.
                raise BackendUnavailable(f"{provider.url} gave no token (status {response.status})")
            self._token = _header_value(msgspec.json.decode(response.body, type=_Token).access_token, "token")
        except (TimeoutError, OSError, BrokenAnswer) as error:
            raise unavailable(provider.url, error) from None
        except (msgspec.MsgspecError, UnicodeDecodeError):
            raise BackendUnavailable(f"{provider.url} gave no token") from None
        finally:
            await transport.aclose()
        return self._token

    def _shown(self, path: str) -> str:
        return self.url + path.partition("?")[0]

    def nonsense(self, path: str, error: object) -> ChainError:
        """The error for an answer that is not what the path promises."""
        return ChainError(
            f"the explorer's answer to {self._shown(path)} makes no sense: {error}; "
            "check that the URL is the API of an explorer of this network"
        )

    def decode(self, decoder: msgspec.json.Decoder[T], path: str, body: bytes) -> T:
        """JSON of the expected shape, or :class:`ChainError`."""
        try:
            return decoder.decode(body)
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise self.nonsense(path, error) from None

    # -- Esplora's paths ---------------------------------------------------------------------

    async def tip_hash(self) -> BlockHash:
        """Hash of the newest block."""
        path = "/blocks/tip/hash"
        response = await self.ask(path)
        try:
            return BlockHash(response.text.strip())
        except InvalidInput as error:
            raise self.nonsense(path, error) from None

    async def header(self, block: BlockHash) -> BlockHeader:
        """Header of a block; checked against its hash."""
        path = f"/block/{block}/header"
        response = await self.ask(path, limit=_MAX_HEADER_TEXT)
        try:
            header = BlockHeader.from_string(response.text.strip())
        except InvalidInput as error:
            raise self.nonsense(path, error) from None
        if header.block_hash() != block:
            raise self.nonsense(path, f"it is the header of {header.block_hash()}")
        return header

    async def block(self, block: BlockHash) -> tuple[BlockHeader, tuple[Transaction, ...]]:
        """A whole block; checked against its hash and its merkle root."""
        path = f"/block/{block}/raw"
        response = await self.ask(path, limit=_MAX_BLOCK)
        try:
            header, transactions = await asyncio.to_thread(_parse_block, response.body)
        except InvalidInput as error:
            raise self.nonsense(path, error) from None
        if header.block_hash() != block:
            raise self.nonsense(path, f"it is block {header.block_hash()}")
        return header, transactions

    async def raw_transaction(self, txid: Txid) -> bytes | None:
        """Bytes of a transaction, ``None`` when the explorer has none of that id."""
        try:
            return (await self.ask(f"/tx/{txid}/raw", limit=MAX_TRANSACTION_BYTES)).body
        except ExplorerRefused as error:
            if error.status == 404:
                return None
            raise

    async def address_page(self, address: str, after: str | None = None) -> list[AddressEntry]:
        """History of a plain address: mempool (at most 50) and the first confirmed ones, newest first.

        With ``after`` (a txid): the confirmed ones that follow it.
        """
        path = f"/address/{address}/txs" if after is None else f"/address/{address}/txs/chain/{after}"
        return self.decode(_page_decoder, path, (await self.ask(path, limit=_MAX_PAGE)).body)

    async def mempool_txids(self) -> list[str]:
        """Ids (display hex) of everything in the mempool."""
        path = "/mempool/txids"
        return self.decode(_txids_decoder, path, (await self.ask(path, limit=_MAX_PAGE)).body)

    async def broadcast(self, tx: Transaction) -> Txid:
        """Send a transaction to the network; its id.

        Raises :class:`BroadcastRejected` with the node's reason. One that the explorer has already
        counts as sent. After a :class:`~amp0.errors.ConnectionFailed` it may or may not have been
        sent: broadcasting the same transaction again is safe.
        """
        try:
            response = await self.ask("/tx", body=str(tx).encode())
        except ExplorerRefused as error:
            if error.status in (401, 402, 403, 404, 405):
                raise
            if await self.raw_transaction(tx.txid()) is not None:
                return tx.txid()
            raise BroadcastRejected(error.body or f"status {error.status}") from None
        if response.text.strip() != str(tx.txid()):
            raise self.nonsense("/tx", f"{tx.txid()} was sent and {response.text.strip()[:80]!r} came back")
        return tx.txid()


def _parse_block(raw: bytes) -> tuple[BlockHeader, tuple[Transaction, ...]]:
    reader = Reader(raw)
    header = BlockHeader.read(reader)
    transactions = tuple([Transaction.read(reader) for _ in range(reader.count(10))])
    if reader.remaining:
        raise InvalidInput(f"{reader.remaining} bytes follow the block")
    if merkle_root([tx.txid() for tx in transactions]) != header.merkle:
        raise InvalidInput("its transactions are not those of its header")
    return header, transactions


def _form(text: str) -> str:
    from urllib.parse import quote_plus

    return quote_plus(text)
