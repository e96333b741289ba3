"""An AMP0 account through its watch-only credentials: addresses, descriptor, cosigning.

The connection may drop at any time. Then the next call connects again, with growing jittered waits, and logs
in with the derived credentials, which live in memory only.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import Any, Self, TypeVar

from amp0.client import preflight
from amp0.client.cosign import CosignCheck, signed_transaction, spend_refused
from amp0.client.events import MOST_WAITING, Event, Events, blob_of, block_of, transaction_of
from amp0.client.issuing import issue_address, require_bounded_jump, require_script, upload_addresses
from amp0.client.preflight import Plan, Preflight
from amp0.client.session import ClientOptions, Closable, Session
from amp0.client.two_factor import (
    CodeLike,
    ResetStatus,
    TwoFactorAction,
    TwoFactorConfig,
    code_request,
    config_of,
    limit_of,
    list_frozen,
    reset_of,
    two_factor_data,
)
from amp0.elements.address import AddressResult
from amp0.elements.descriptor import WolletDescriptor
from amp0.elements.hashes import Txid
from amp0.elements.pset import Amp0Pset
from amp0.elements.transaction import OutPoint, Transaction
from amp0.errors import (
    AddressNotIssued,
    Amp0Error,
    BroadcastRejected,
    CallFailed,
    ConnectionFailed,
    ConnectionTimeout,
    CosignRefused,
    InvalidInput,
    InvalidTransaction,
    LoginFailed,
    NetworkMismatch,
    RemoteProtocolError,
    TwoFactorRequired,
)
from amp0.network import Network, require_secure_url
from amp0.protocol import credentials, rpc
from amp0.protocol import twofactor as wire
from amp0.protocol.blob import ClientBlob
from amp0.protocol.credentials import REGISTER_PATH, WatchOnlyKeys
from amp0.protocol.preflight import GetPreflightToken, PreflightToken

log = logging.getLogger("amp0.client")

MAX_UPLOADS = 100
"""Most confidential addresses that are uploaded because the server asks for them."""
_F = TypeVar("_F", bound=Callable[..., Awaitable[Any]])


def answered_locally_by(method: str) -> Callable[[_F], _F]:
    """Mark a coroutine whose result may be known without waiting: ``method``, called with the same arguments,
    gives it or ``None``. Blocking callers ask that first and save the way to the event loop."""

    def mark(function: _F) -> _F:
        function.answered_locally_by = method  # type: ignore[attr-defined]
        return function

    return mark


@dataclass(frozen=True, slots=True)
class _Login:
    """What one watch-only login told us, checked."""

    row: rpc.SubaccountRow
    descriptor: WolletDescriptor
    wallet_id: str
    """``receiving_id`` of the wallet: names its topics; empty where a server does not say it."""
    limit: int
    reset: ResetStatus


class Amp0(Closable):
    """An AMP0 account with watch-only credentials: everything but signing with the user's key.

    ``await Amp0.connect(network, username, password, amp_id)``. Connecting uses up no address.
    """

    def __init__(
        self, network: Network, keys: WatchOnlyKeys, amp_id: str, options: ClientOptions, descriptor: str | None
    ) -> None:
        self._network = network
        self._keys = keys
        self._wanted = amp_id
        self._options = options
        self._transport = options.transport()
        self._session: Session | None = None
        self._login: _Login | None = None
        self._pinned = descriptor
        self._last_index = 0
        self._has_two_factor = False
        self._lock = asyncio.Lock()
        self._closed = False

    @classmethod
    async def connect(
        cls,
        network: Network,
        username: str,
        password: str,
        amp_id: str = "",
        *,
        keys: WatchOnlyKeys | None = None,
        descriptor: str | None = None,
        options: ClientOptions | None = None,
    ) -> Self:
        """Log in and open the account ``amp_id``, or the first AMP0 account if that is empty.

        Stretching the password takes a quarter of a second; ``keys`` from an earlier
        :func:`~amp0.protocol.credentials.watch_only_keys` save it. ``descriptor`` pins the account: any other
        one, after the server changed its key for example, is refused.

        Raises :class:`LoginFailed`, :class:`InvalidInput` for an AMP ID this login does not have,
        :class:`NetworkMismatch`, :class:`ConnectionFailed`, :class:`RemoteProtocolError`.
        """
        options = options or ClientOptions()
        self = cls(network, keys or WatchOnlyKeys("", "", b""), amp_id, options, descriptor)
        try:
            opening = asyncio.create_task(self._open())
            try:
                if keys is None:
                    # The slow key and the way to the server have nothing to do with each other.
                    self._keys = await asyncio.to_thread(credentials.watch_only_keys, username, password)
                self._session = session = await opening
            except BaseException:
                opening.cancel()
                for opened in await asyncio.gather(opening, return_exceptions=True):
                    if isinstance(opened, Session):
                        await opened.close()
                raise
            self._login = await self._log_in(session)
            # "The first account" is a question asked once: connecting again asks for the one that was found.
            self._wanted = self._login.row.receiving_id
        except BaseException:
            await self.close()
            raise
        await self._answer_required_ca()
        return self

    # -- what is known locally ---------------------------------------------------------------

    def amp_id(self) -> str:
        """The AMP ID of the account: what an issuer puts on a whitelist."""
        return self._logged_in().row.receiving_id

    def wollet_descriptor(self) -> WolletDescriptor:
        """The descriptor of the account. It holds the blinding key: whoever has it sees all amounts."""
        return self._logged_in().descriptor

    def network(self) -> Network:
        """The network the account is on."""
        return self._network

    def known_address(self, index: int | None = None) -> AddressResult | None:
        """The address at an index known to be issued, without asking the server; ``None`` if unknown."""
        if index is None or not 1 <= index <= self._last_index:
            return None
        descriptor = self._logged_in().descriptor
        return AddressResult(descriptor.confidential_address(self._network, index), index)

    # -- what the server is asked ------------------------------------------------------------

    async def last_index(self) -> int:
        """The highest address index handed out for the account, 0 if none; asked of the server anew.

        Give it to ``full_scan_to_index``. It never shrinks: a server that names a lower one is not followed.
        Raises :class:`SuspiciousIndex` when it jumps beyond ``max_index_jump``.
        """
        account = self._logged_in().row.pointer
        try:
            rows: list[rpc.IssuedAddress] = await self._call(rpc.GetMyAddresses(account))
        except LoginFailed:
            raise
        except CallFailed as error:
            # A server without the address book: LWK's way, which takes an address.
            log.info("no address book, taking an address error=%s", error.name)
            return await self._issue()
        newest = max(rows, key=lambda row: row.pointer, default=None)
        if newest is not None:
            if newest.pointer < self._last_index:
                log.warning("the last index shrinks from=%d to=%d", self._last_index, newest.pointer)
            elif newest.pointer > self._last_index:
                require_bounded_jump(self._last_index, newest.pointer, self._options.max_index_jump)
                if newest.script:
                    require_script(self._logged_in().descriptor, newest.pointer, newest.script)
                self._last_index = newest.pointer
        return self._last_index

    @answered_locally_by("known_address")
    async def address(self, index: int | None = None) -> AddressResult:
        """A new address from the server, or the one issued before at ``index`` (from 1).

        Raises :class:`AddressNotIssued` for an index the server has not handed out,
        :class:`RemoteProtocolError` for an address that is not ours, used before or under another service key.
        """
        if index is None:
            index = await self._issue()
        elif not 1 <= index < 2**31:
            raise InvalidInput(f"Invalid address index for AMP0: {index}; they count from 1")
        elif index > self._last_index and index > await self.last_index():
            raise AddressNotIssued(
                f"Address index too high: {index} is not issued, the last one is {self._last_index}; "
                "call address(None) for a new one"
            )
        found = self.known_address(index)
        assert found is not None
        return found

    async def sign(self, amp0pset: Amp0Pset, two_factor: CodeLike | None = None) -> Transaction:
        """Have the AMP0 server add its signatures to a PSET the user has signed; returns the final transaction.

        What comes back must be, bit for bit, what was sent, but for the server's signatures; all signatures are
        verified. Nothing is broadcast. Asking twice is harmless: the server gives the same answer.

        A wallet with a second factor needs ``two_factor``, a pair of method and code (see :meth:`request_code`),
        unless the spend is within its limit.

        Raises :class:`TwoFactorRequired`, :class:`WrongTwoFactorCode`, :class:`CosignRefused` with the server's reason,
        :class:`AlteredTransaction`, :class:`WrongSigner` for a PSET the user has not signed,
        :class:`ConnectionFailed`.
        """
        check = CosignCheck(amp0pset, self._logged_in().descriptor)
        data = None if two_factor is None else two_factor_data(two_factor)
        if data is None and not self._has_two_factor:
            try:
                return check.accept(await self._request("POST", self._cosign_url() + rpc.COSIGN_PATH, check.request()))
            except TwoFactorRequired:
                # This door takes no codes, so it is shut. The session's is open, to spends within the limit at least.
                self._has_two_factor = True
        procedure = rpc.SignTransaction(check.hex, data or {}, {"blinding_nonces": check.nonces})
        try:
            reply: rpc.SpendReply = await self._call(procedure, self._options.cosign_timeout)
        except TwoFactorRequired as error:
            error.methods = await self._enabled_methods()
            raise
        except CallFailed as error:
            raise spend_refused(error) from None
        return check.check(reply.tx)

    async def preflight(self, plan: Plan) -> Preflight:
        """Would the server sign this? Asked before anybody signs; see :class:`~amp0.client.preflight.Preflight`.

        ``plan`` is an unsigned PSET of this account, or a list of ``(address, satoshi, asset_id)``. Nothing is reserved
        by it. Raises :class:`CallFailed` at a server that has no such procedure, for a PSET that spends coins of
        others, and when too much was asked lately.
        """
        return await preflight.ask(self._call, self._network, self._logged_in().row.pointer, plan)

    async def preflight_token(self) -> PreflightToken:
        """A token to ask for a few minutes without a session: ``POST /v1/preflight`` with it as bearer."""
        token: PreflightToken = await self._call(GetPreflightToken(self._logged_in().row.pointer))
        return token

    async def require_allowed(self, plan: Plan) -> None:
        """:meth:`preflight`, and :class:`CosignRefused` with its reasons if the answer is no.

        Does nothing where the server has no pre-flight, or gives none now: the cosigner decides in any case.
        """
        await preflight.require_allowed(self.preflight, plan, self._network)

    async def send(self, amp0pset: Amp0Pset, two_factor: CodeLike | None = None) -> Txid:
        """:meth:`require_allowed`, :meth:`sign`, and have the server broadcast the transaction once it has passed
        every check here.

        Raises what these raise, and :class:`BroadcastRejected` with the node's reason. After a
        :class:`ConnectionFailed` do the same again with the same PSET; the code is not needed twice.
        """
        try:
            await self.require_allowed(amp0pset)
        except CosignRefused as refused:
            # What was signed before stays signed, whatever the rules have become.
            if not await self._is_cosigned(amp0pset):
                raise refused from None
        transaction = await self.sign(amp0pset, two_factor)
        try:
            await self._call(rpc.BroadcastTransaction(str(transaction)), self._options.cosign_timeout)
        except CallFailed as error:
            if error.name == rpc.BROADCAST_REFUSED:
                raise BroadcastRejected(error.text) from None
            raise
        return transaction.txid()

    async def cosigned(self, txid: Txid | str) -> Transaction:
        """A transaction that the AMP0 server has cosigned before, once more.

        It is known by its txid, which covers inputs, outputs and amounts; its signatures are not verified here,
        for that needs the outputs it spends. Raises :class:`CosignRefused` for a txid the server never signed.
        """
        txid = Txid(txid)
        body = await self._request("GET", f"{self._cosign_url()}{rpc.COSIGNED_PATH}/{txid}", None)
        received = signed_transaction(body)
        try:
            tx = Transaction(received)
        except InvalidTransaction:
            raise RemoteProtocolError("the AMP0 server answers with bytes that are not a transaction") from None
        if tx.txid() != txid:
            raise RemoteProtocolError(f"the AMP0 server answers with {tx.txid()}, and {txid} was asked for")
        return tx

    async def _is_cosigned(self, amp0pset: Amp0Pset) -> bool:
        try:
            await self.cosigned(CosignCheck(amp0pset, self._logged_in().descriptor).txid)
        except Amp0Error:
            return False
        return True

    # -- second factors: what watch-only credentials may see and ask for -----------------------

    async def two_factor_config(self) -> TwoFactorConfig:
        """The wallet's second factors, addresses masked. To change them, log in with the signer."""
        return config_of(await self._call(wire.GetTwoFactorConfig()))

    async def request_code(self, method: str, amp0pset: Amp0Pset | Txid | str) -> None:
        """Have a code sent that agrees to one transaction, given as PSET or txid; then :meth:`sign` with it.

        Raises :class:`InvalidInput` for ``gauth``, whose codes the authenticator shows, :class:`TwoFactorRequired` for
        a method that is not enabled, :class:`CallFailed` when too many codes were asked for.
        """
        txid = CosignCheck(amp0pset, self._logged_in().descriptor).txid if isinstance(amp0pset, Amp0Pset) else amp0pset
        await self._call(code_request(method, TwoFactorAction.sign(txid)))

    async def frozen_outputs(self) -> list[OutPoint]:
        """Outputs of the wallet that the server signs nothing for; leave them out with ``TxBuilder.leave_utxos``.

        Empty at a server that cannot list them.
        """
        return await list_frozen(self._call)

    def two_factor_reset(self) -> ResetStatus:
        """Whether the wallet's two-factor is being reset, as of the last login: meanwhile nothing can be spent."""
        return self._logged_in().reset

    def limit(self) -> int:
        """How much L-BTC (satoshi) could leave without a code at the last login."""
        return self._logged_in().limit

    # -- events ------------------------------------------------------------------------------

    def events(self, most_waiting: int = MOST_WAITING) -> Events:
        """What the server tells about this account: new transactions and blocks, changes of the wallet.

        ``async for event in amp0.events()`` goes on until it is closed, over lost connections too. At most
        ``most_waiting`` events wait to be read; see :class:`~amp0.client.events.Events`.
        """
        return Events(_EventSource(self), self._options, most_waiting)

    async def close(self) -> None:
        """Log out and close all connections."""
        self._closed = True
        session, self._session = self._session, None
        if session is not None:
            await session.close()
        await self._transport.close()

    # -- inside ------------------------------------------------------------------------------

    def _logged_in(self) -> _Login:
        assert self._login is not None, "connect() returns logged-in objects only"
        return self._login

    def _cosign_url(self) -> str:
        url = self._network.cosign_url.rstrip("/")
        if not url:
            raise InvalidInput(f"the network {self._network.name} names no cosigner; set its cosign_url")
        require_secure_url(url, allow_insecure=self._options.allow_insecure)
        return url

    async def _request(self, method: str, url: str, body: bytes | None) -> bytes:
        timeout = self._options.cosign_timeout
        try:
            async with asyncio.timeout(timeout):
                return await self._transport.request(method, url, body, self._network)
        except TimeoutError:
            raise ConnectionTimeout(
                f"the AMP0 server does not answer {url} within {timeout:g} s; ask again, "
                "the same transaction gets the same answer"
            ) from None

    async def _issue(self) -> int:
        login = self._logged_in()
        if not self._last_index:
            # How far the account has got decides whether the next pointer is a fresh one.
            await self._learn_last_index()
        self._last_index = await issue_address(
            self._call, login.descriptor, self._last_index, self._options.max_index_jump
        )
        return self._last_index

    async def _learn_last_index(self) -> None:
        try:
            rows: list[rpc.IssuedAddress] = await self._call(rpc.GetMyAddresses(self._logged_in().row.pointer))
        except CallFailed:
            return
        newest = max((row.pointer for row in rows), default=0)
        require_bounded_jump(self._last_index, newest, self._options.max_index_jump)
        self._last_index = max(self._last_index, newest)

    async def _answer_required_ca(self) -> None:
        """Upload the confidential addresses the server asks for; accounts of ours ask for none."""
        login = self._logged_in()
        wanted = min(login.row.required_ca, MAX_UPLOADS)
        addresses = []
        for _ in range(wanted):
            index = await self._issue()
            addresses.append(str(login.descriptor.confidential_address(self._network, index)))
        await upload_addresses(self._call, login.row.pointer, addresses)

    # -- connection --------------------------------------------------------------------------

    async def _open(self) -> Session:
        return await Session.open(self._network, self._transport, self._options)

    async def _call(self, procedure: rpc.Procedure, timeout: float | None = None) -> Any:
        """Make a call, connecting again as often as the back-off allows when the connection is gone."""
        policy = self._options.backoff
        for attempt in range(policy.attempts + 1):
            if attempt:
                await self._options.sleep(policy.wait(attempt, self._options.jitter()))
            session: Session | None = None
            try:
                session = await self._ready()
                return await session.call(procedure, timeout)
            except ConnectionTimeout:
                # The call was under way and the server hangs: its caller has waited long enough.
                await self._drop(session)
                raise
            except ConnectionFailed as error:
                await self._drop(session)
                log.info("connection lost attempt=%d error=%s", attempt, type(error).__name__)
                if attempt == policy.attempts or self._closed:
                    raise
            except RemoteProtocolError:
                await self._drop(session)
                raise
            except CallFailed as error:
                if error.name != rpc.SESSION_EXPIRED[0] or attempt == policy.attempts:
                    raise
                await self._drop(session)
        raise AssertionError("unreachable")

    async def _enabled_methods(self) -> tuple[str, ...]:
        """Names of the enabled methods, if the server tells; for an error that is on its way."""
        with contextlib.suppress(Amp0Error):
            return tuple((await self.two_factor_config()).enabled())
        return ()

    async def _ready(self) -> Session:
        async with self._lock:
            if self._closed:
                raise ConnectionFailed("this Amp0 was closed; make a new one")
            if self._session is None or not self._session.alive:
                await self._drop(self._session)
                session = await self._open()
                try:
                    login = await self._log_in(session)
                    if login.descriptor != self._logged_in().descriptor:
                        raise NetworkMismatch(
                            "after connecting again the AMP0 server describes another account; it was not used"
                        )
                except BaseException:
                    await session.close()
                    raise
                self._session, self._login = session, login
            return self._session

    async def _drop(self, session: Session | None) -> None:
        """Give up one connection; another call may have replaced it already."""
        if self._session is session:
            self._session = None
        if session is not None:
            await session.close()

    async def _log_in(self, session: Session) -> _Login:
        """Log in on a fresh connection and check everything the server says about the account."""
        keys = self._keys
        data: rpc.LoginReply = await session.call(
            rpc.WatchOnlyLogin(
                "custom", rpc.WatchOnlyCredentials(keys.username, keys.password), self._options.user_agent, True
            )
        )
        row = _choose(data.subaccounts, self._wanted)
        if not isinstance(data.wo_blob_key, str):
            raise RemoteProtocolError(
                "the AMP0 server keeps no blob key for these credentials; create the watch-only login again"
            )
        enc_key = credentials.decrypt_blob_key(keys, data.wo_blob_key)
        reply: rpc.BlobReply = await session.call(rpc.GetClientBlob())
        blob = ClientBlob.decrypt(enc_key, reply.blob)
        descriptor = _descriptor(self._network, data, row, blob)
        if self._pinned is not None and WolletDescriptor(self._pinned) != descriptor:
            raise NetworkMismatch(
                "the account is not the pinned one: its keys, or the AMP0 server's key for it, have changed. "
                "Do not use it; ask the server's operator"
            )
        return _Login(row, descriptor, data.receiving_id, limit_of(data.limits), reset_of(data))


class _EventSource:
    """An account as its events see it."""

    def __init__(self, amp0: Amp0) -> None:
        self._amp0 = amp0

    @property
    def closed(self) -> bool:
        return self._amp0._closed

    async def session(self) -> Session:
        return await self._amp0._ready()

    async def drop(self, session: Session) -> None:
        await self._amp0._drop(session)

    def topics(self) -> Iterable[tuple[str, Callable[[Any], Event | None]]]:
        login = self._amp0._logged_in()
        if login.wallet_id:
            yield rpc.topic_txs(login.wallet_id), functools.partial(transaction_of, login.row.pointer)
            yield rpc.topic_blob(login.wallet_id), blob_of
        yield rpc.TOPIC_BLOCKS, block_of


def _choose(rows: list[rpc.SubaccountRow], amp_id: str) -> rpc.SubaccountRow:
    accounts = [row for row in rows if row.type == rpc.ACCOUNT_TYPE and row.pointer > 0]
    for row in accounts:
        if amp_id in ("", row.receiving_id):
            return row
    have = ", ".join(row.receiving_id for row in accounts) or "none"
    raise InvalidInput(
        f"Missing AMP subaccount: this login has no AMP0 account {amp_id}; it has {have}"
        if amp_id
        else "Missing AMP subaccount: this login has no AMP0 account yet; create one with the signer"
    )


def _descriptor(network: Network, data: rpc.LoginReply, row: rpc.SubaccountRow, blob: ClientBlob) -> WolletDescriptor:
    """The account's descriptor: user keys from the wallet's own blob, service keys from the pinned network."""
    master = blob.xpub_at(())
    user = blob.xpub_at(credentials.account_path(row.pointer))
    if master is None or user is None:
        raise RemoteProtocolError(
            f"the client blob does not list the key of account {row.pointer}; log in once with the signer"
        )
    if master.main != network.is_mainnet() or user.main != network.is_mainnet():
        raise NetworkMismatch(f"the wallet's keys are not of {network.name}")
    gait = bytes.fromhex(data.gait_path)
    register = blob.xpub_at(REGISTER_PATH)
    stated = (data.public_key.lower(), data.chain_code.lower())
    own = (master.public_key.hex(), master.chain_code.hex())
    if (register is not None and credentials.gait_path(register) != gait) or any(
        said not in ("", mine) for said, mine in zip(stated, own, strict=True)
    ):
        raise RemoteProtocolError(
            "the AMP0 server answers the login with another wallet's keys or gait path; it was not used. "
            "Ask the server's operator"
        )
    return credentials.account_descriptor(
        network,
        gait=gait,
        account=row.pointer,
        master_fingerprint=master.fingerprint(),
        user_xpub=user,
        slip77=blob.slip77,
    )
