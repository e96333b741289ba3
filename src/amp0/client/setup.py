"""Setting up: challenge login with the signer, accounts, watch-only credentials.

The login needs the signer twice, for its public keys and for one signature, and never its private ones. What
the server says about the wallet is compared with what the keys say before anything is built on it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Self

from amp0.client.issuing import issue_address, upload_addresses
from amp0.client.session import ClientOptions, Closable, Session
from amp0.client.transport import Transport
from amp0.client.two_factor import TwoFactor, limit_of, reset_of
from amp0.elements.keys import HARDENED, ExtendedKey
from amp0.errors import (
    CallFailed,
    InvalidInput,
    LocalProtocolError,
    LoginFailed,
    NetworkMismatch,
    RemoteProtocolError,
)
from amp0.network import Network
from amp0.protocol import credentials, rpc
from amp0.protocol.blob import BlobKeys, ClientBlob, check_blob_hmac
from amp0.protocol.credentials import Amp0SignerData

_BLOB_ATTEMPTS = 5


class Amp0Connected(Closable):
    """A connection on which a wallet is registered and not yet logged in.

    ``await Amp0Connected.connect(network, signer_data)``; then :meth:`get_challenge`, have the signer sign
    it, :meth:`login`.
    """

    def __init__(
        self,
        network: Network,
        signer_data: Amp0SignerData,
        session: Session,
        transport: Transport,
        options: ClientOptions,
    ) -> None:
        self._network = network
        self._data = signer_data
        self._session: Session | None = session
        self._transport = transport
        self._options = options

    @classmethod
    async def connect(
        cls, network: Network, signer_data: Amp0SignerData, *, options: ClientOptions | None = None
    ) -> Self:
        """Connect and register the wallet, which may be known already.

        Raises :class:`NetworkMismatch` for a signer of another network, :class:`ConnectionFailed`,
        :class:`CallFailed`.
        """
        options = options or ClientOptions()
        if signer_data.is_mainnet() != network.is_mainnet():
            kind = "Liquid" if signer_data.is_mainnet() else "a test network"
            raise NetworkMismatch(f"the signer was made for {kind}, and the network is {network.name}")
        transport = options.transport()
        session: Session | None = None
        try:
            session = await Session.open(network, transport, options)
            master = signer_data.master_xpub
            await session.call(
                rpc.Register(
                    master_pubkey=master.public_key.hex(),
                    master_chain_code=master.chain_code.hex(),
                    user_agent=options.user_agent,
                    gait_path=signer_data.gait_path().hex(),
                )
            )
        except BaseException:
            if session is not None:
                await session.close()
            await transport.close()
            raise
        return cls(network, signer_data, session, transport, options)

    async def get_challenge(self) -> str:
        """A login challenge, of the only shape that a signer should sign.

        Raises :class:`RemoteProtocolError` for any other shape.
        """
        address = credentials.login_address(self._network, self._data.master_xpub.public_key)
        return credentials.check_challenge(await self._live().call(rpc.GetChallenge(address)))

    async def login(self, sig: str) -> Amp0LoggedIn:
        """Log in with the signature of the last challenge (DER in hex). This object is used up by it.

        Raises :class:`LoginFailed` when the server does not accept the signature.
        """
        session, self._session = self._live(), None
        try:
            answer = await session.call(rpc.Authenticate(sig, user_agent=self._options.user_agent))
            if not isinstance(answer, rpc.LoginReply):
                raise LoginFailed(
                    "the AMP0 server does not accept the signature; sign the last challenge with the same "
                    "signer, and check that signer and network belong to the account",
                    name="login",
                    procedure="login.authenticate",
                )
            logged_in = Amp0LoggedIn(self._network, self._data, session, self._transport, self._options, answer)
            await logged_in._open_blob()
        except BaseException:
            await session.close()
            await self._transport.close()
            raise
        return logged_in

    def _live(self) -> Session:
        if self._session is None:
            raise LocalProtocolError(
                "AMP0 session already logged in or it errored; make a new Amp0Connected to log in again"
            )
        return self._session

    async def close(self) -> None:
        """Close the connection. After :meth:`login` it belongs to the logged-in object."""
        if self._session is not None:
            session, self._session = self._session, None
            await session.close()
            await self._transport.close()


class Amp0LoggedIn(TwoFactor, Closable):
    """A wallet logged in with its signer: AMP0 accounts, watch-only credentials, second factors."""

    def __init__(
        self,
        network: Network,
        signer_data: Amp0SignerData,
        session: Session,
        transport: Transport,
        options: ClientOptions,
        login_data: rpc.LoginReply,
    ) -> None:
        require_own_wallet(login_data, signer_data)
        self._network = network
        self._data = signer_data
        self._session = session
        self._transport = transport
        self._options = options
        self._accounts = list(login_data.subaccounts)
        self._hmac = login_data.client_blob_hmac
        self._keys = BlobKeys.from_client_secret(signer_data.client_secret_xpub)
        self._blob = ClientBlob.new(signer_data)
        self._limit = limit_of(login_data.limits)
        self._reset = reset_of(login_data)
        said = login_data.warnings if isinstance(login_data.warnings, list) else []
        self._warnings = [text[:1000] for text in said if isinstance(text, str)]

    def warnings(self) -> list[str]:
        """What the server wants the wallet's user to know, in its own words; empty most of the time."""
        return list(self._warnings)

    def get_amp_ids(self) -> list[str]:
        """The AMP IDs of the wallet's AMP0 accounts, in the server's order."""
        return [row.receiving_id for row in self._accounts if row.type == rpc.ACCOUNT_TYPE]

    def next_account(self) -> int:
        """The pointer of the next account: one more than the highest of any type, 1 if there is none."""
        return max((row.pointer for row in self._accounts), default=0) + 1

    async def create_amp0_account(self, pointer: int, account_xpub: str) -> str:
        """Create the account ``pointer`` (see :meth:`next_account`) and return its AMP ID.

        ``account_xpub`` is the signer's key ``3h/<pointer>h``. The account is listed in the client blob, so
        that watch-only logins find it, and 20 confidential addresses are uploaded for issuers, as GDK does.
        Raises :class:`InvalidInput` for a key that is not the account's, :class:`CallFailed`.
        """
        xpub = self._checked_xpub(pointer, account_xpub)
        # The blob first: a key listed too early harms nobody, an account without its key cannot be opened.
        await self._change_blob(lambda blob: blob.with_account(pointer, xpub))
        create = rpc.CreateSubaccount(pointer, "", rpc.ACCOUNT_TYPE, [account_xpub], [""])
        amp_id = await self._session.call(create)
        if not amp_id or len(amp_id) > 64 or not amp_id.isascii() or not amp_id.isalnum():
            raise RemoteProtocolError("the AMP0 server names the new account in a way that no AMP ID is written")
        self._accounts.append(rpc.SubaccountRow(pointer, rpc.ACCOUNT_TYPE, amp_id, rpc.ADDRESS_BATCH))
        descriptor = credentials.account_descriptor(
            self._network,
            gait=self._data.gait_path(),
            account=pointer,
            master_fingerprint=self._data.master_xpub.fingerprint(),
            user_xpub=xpub,
            slip77=self._data.slip77_key,
        )
        addresses = []
        last = 0
        for _ in range(rpc.ADDRESS_BATCH):
            last = await issue_address(self._session.call, descriptor, last, self._options.max_index_jump)
            addresses.append(str(descriptor.confidential_address(self._network, last)))
        await upload_addresses(self._session.call, pointer, addresses)
        return str(amp_id)

    def _checked_xpub(self, pointer: int, account_xpub: str) -> ExtendedKey:
        if not 1 <= pointer <= credentials.MAX_ACCOUNT:
            raise InvalidInput(f"an AMP0 account's pointer is 1 or more, not {pointer}; ask next_account()")
        if any(row.pointer == pointer for row in self._accounts):
            raise InvalidInput(f"account {pointer} exists; the next one is {self.next_account()}")
        xpub = ExtendedKey.from_string(account_xpub)
        if xpub.private_key is not None:
            raise InvalidInput("this is a private key, and it was not sent: give the account's public one")
        if xpub.main != self._network.is_mainnet():
            raise NetworkMismatch(f"the account key is not of {self._network.name}")
        if (xpub.depth, xpub.child_number) != (2, HARDENED + pointer):
            raise InvalidInput(f"this is not the key of account {pointer}; use signer.amp0_account_xpub({pointer})")
        return xpub

    async def create_watch_only(self, username: str, password: str) -> None:
        """Create (or replace) the watch-only credentials of the wallet, for all its accounts.

        They show everything and spend nothing. The server learns neither: both are stretched first.
        Raises :class:`CallFailed`, for a name that is taken among others.
        """
        keys = await asyncio.to_thread(credentials.watch_only_keys, username, password)
        wrapped = credentials.encrypt_blob_key(keys, self._keys.enc_key)
        answer = await self._session.call(rpc.SyncCustom(keys.username, keys.password, wrapped))
        if answer is False:
            raise CallFailed(
                "the AMP0 server does not take these watch-only credentials; choose another user name",
                procedure="addressbook.sync_custom",
            )
        await self._change_blob(lambda blob: blob.with_username(username))

    async def close(self) -> None:
        """Log out and close the connection."""
        await self._session.close()
        await self._transport.close()

    async def _ask(self, procedure: rpc.Procedure) -> Any:
        return await self._session.call(procedure)

    # -- the client blob ---------------------------------------------------------------------

    async def _open_blob(self) -> None:
        """Read the wallet's blob, or write its first; complete one that lacks what watch-only needs."""
        if self._hmac == rpc.ZERO_HMAC:
            await self._write_blob(self._blob)
            return
        await self._read_blob(await self._session.call(rpc.GetClientBlob()))
        await self._change_blob(lambda blob: blob.with_keys_of(self._data))

    async def _read_blob(self, reply: rpc.BlobReply) -> None:
        if not check_blob_hmac(self._keys, reply.blob, reply.hmac):
            raise RemoteProtocolError(
                "the AMP0 server's client blob was not written by this wallet; nothing was changed. "
                "Ask the server's operator"
            )
        blob = ClientBlob.decrypt(self._keys.enc_key, reply.blob)
        if self._hmac != rpc.ZERO_HMAC and blob.version < self._blob.version:
            raise RemoteProtocolError(
                f"the AMP0 server returns version {blob.version} of the client blob, and {self._blob.version} "
                "was there before; nothing was changed. Ask the server's operator"
            )
        self._blob, self._hmac = blob, reply.hmac

    async def _change_blob(self, change: Callable[[ClientBlob], ClientBlob]) -> None:
        """Apply a change to the newest blob, again when another client wrote in between."""
        for _ in range(_BLOB_ATTEMPTS):
            changed = change(self._blob)
            if changed == self._blob or await self._write_blob(changed):
                return
        raise CallFailed(
            "other clients keep writing this wallet's blob; close them and try again",
            procedure="login.set_client_blob",
        )

    async def _write_blob(self, blob: ClientBlob) -> bool:
        text, mac = blob.encrypt(self._keys)
        answer = await self._session.call(rpc.SetClientBlob(text, 0, mac, self._hmac))
        current = answer.get("blob") if isinstance(answer, dict) else None
        if current:
            reply = rpc.parse_result(rpc.GetClientBlob(), [answer])
            await self._read_blob(reply)
            return False
        if answer is False:
            raise CallFailed("the AMP0 server does not store the client blob", procedure="login.set_client_blob")
        self._blob, self._hmac = blob, mac
        return True


def require_own_wallet(login_data: rpc.LoginReply, data: Amp0SignerData) -> None:
    """Refuse login data that speaks of other keys than the signer's.

    A wrong gait path would put the accounts under keys that this wallet's signer has nothing to do with.
    """
    master = data.master_xpub
    same = (
        login_data.gait_path.lower() == data.gait_path().hex()
        and login_data.public_key.lower() in ("", master.public_key.hex())
        and login_data.chain_code.lower() in ("", master.chain_code.hex())
    )
    if not same:
        raise RemoteProtocolError(
            "the AMP0 server answers the login with another wallet's keys or gait path; it was not used. "
            "Ask the server's operator"
        )
