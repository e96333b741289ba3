"""An AMP0 server in memory, as obliging or as hostile as a test wants it.

It speaks through the real server half of :class:`~amp0.protocol.wamp.Peer` over queues, and holds the test
service key. ``answers`` replaces the answer to a procedure: a value, an exception, or a function of the call.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from amp0.elements.keys import ExtendedKey, Mnemonic, Slip77
from amp0.elements.pset import DUMMY_SIGNATURE
from amp0.elements.script import multisig_2of2, parse_multisig_2of2
from amp0.elements.sighash import SighashCache, sign
from amp0.elements.transaction import Transaction, TxOut
from amp0.errors import CallFailed, ConnectionFailed, RemoteProtocolError
from amp0.network import TEST_SERVICE_SEED, Network
from amp0.protocol import credentials, rpc, wamp
from amp0.protocol.credentials import Amp0SignerData

MNEMONIC = "student lady today genius gentle zero satoshi book just link gauge tooth"
SERVICE = ExtendedKey.from_seed(TEST_SERVICE_SEED, main=False)
NETWORK = Network.regtest_default()


class TestSigner:
    """The keys of one mnemonic."""

    __test__ = False

    def __init__(self, mnemonic: str = MNEMONIC) -> None:
        seed = Mnemonic(mnemonic).seed()
        self.master = ExtendedKey.from_seed(seed, main=False)
        self.data = Amp0SignerData.from_master(self.master, Slip77.from_seed(seed))

    def challenge(self, challenge: str) -> str:
        return credentials.sign_challenge(self.master, challenge)

    def xpub(self, account: int) -> str:
        return str(credentials.account_xpub(self.master, account))


@dataclass
class MemoryServer:
    """One wallet's worth of server."""

    answers: dict[str, Any] = field(default_factory=dict)
    calls: list[rpc.Procedure] = field(default_factory=list)
    gait: str = ""
    master: ExtendedKey | None = None
    accounts: dict[int, rpc.SubaccountRow] = field(default_factory=dict)
    xpubs: dict[int, ExtendedKey] = field(default_factory=dict)
    pointers: dict[int, int] = field(default_factory=dict)
    uploaded: dict[int, list[str]] = field(default_factory=dict)
    blob: str = ""
    hmac: str = rpc.ZERO_HMAC
    watch_only: tuple[str, str, str] | None = None
    spent: dict[bytes, TxOut] = field(default_factory=dict)
    service: ExtendedKey = SERVICE
    connections: list[MemoryConnection] = field(default_factory=list)
    refuse_connections: int = 0
    garbage: list[str] = field(default_factory=list)
    requests: list[tuple[str, str, bytes | None]] = field(default_factory=list)
    http: Callable[[bytes | None], bytes] | None = None
    topics: list[str] = field(default_factory=list)
    """Topics that somebody subscribed to, in order, each time anew."""

    def names(self) -> list[str]:
        return [call.URI.removeprefix(rpc.PREFIX) for call in self.calls]

    # -- the procedures ----------------------------------------------------------------------

    def answer(self, uri: str, args: list[Any], session: dict[str, Any]) -> Any:
        call = rpc.parse_call(uri, args)
        assert call is not None, uri
        self.calls.append(call)
        override = self.answers.get(uri.removeprefix(rpc.PREFIX), self)
        if override is not self:
            value = override(call) if callable(override) else override
            if isinstance(value, Exception):
                raise value
            return value
        open_to_all = (rpc.Register, rpc.GetChallenge, rpc.Authenticate, rpc.WatchOnlyLogin)
        if not session.get("user") and not isinstance(call, open_to_all):
            raise CallFailed("Session expired", name="sessionexpired")
        return getattr(self, "do_" + type(call).__name__)(call, session)

    def do_Register(self, call: rpc.Register, session: dict[str, Any]) -> Any:
        self.gait = call.gait_path
        self.master = ExtendedKey(bytes.fromhex(call.master_pubkey), bytes.fromhex(call.master_chain_code), main=False)
        return True

    def do_GetChallenge(self, call: rpc.GetChallenge, session: dict[str, Any]) -> Any:
        session["challenge"] = "A1b2Z"
        return "A1b2Z"

    def do_Authenticate(self, call: rpc.Authenticate, session: dict[str, Any]) -> Any:
        assert self.master is not None
        challenge = session.pop("challenge", "")
        if not credentials.verify_challenge(self.master, challenge, bytes.fromhex(call.signature)):
            return False
        session["user"] = True
        return self.login_data()

    def login_data(self, **more: Any) -> dict[str, Any]:
        assert self.master is not None
        data = rpc.LoginData(
            gait_path=self.gait,
            subaccounts=list(self.accounts.values()),
            client_blob_hmac=self.hmac,
            receiving_id="GAwallet",
            public_key=self.master.public_key.hex(),
            chain_code=self.master.chain_code.hex(),
            csv_times=[20, 1440, 65535],
        )
        return {**rpc.to_wire(data), **more}

    def do_WatchOnlyLogin(self, call: rpc.WatchOnlyLogin, session: dict[str, Any]) -> Any:
        pair = (call.credentials.username, call.credentials.password)
        if self.watch_only is None or self.watch_only[:2] != pair:
            raise CallFailed(rpc.USER_NOT_FOUND[1], name=rpc.USER_NOT_FOUND[0])
        session["user"] = True
        return self.login_data(wo_blob_key=self.watch_only[2])

    def do_GetClientBlob(self, call: rpc.GetClientBlob, session: dict[str, Any]) -> Any:
        return {"blob": self.blob, "hmac": self.hmac, "sequence": 0}

    def do_SetClientBlob(self, call: rpc.SetClientBlob, session: dict[str, Any]) -> Any:
        if call.previous_hmac != self.hmac:
            return {"blob": self.blob, "hmac": self.hmac, "sequence": 0}
        self.blob, self.hmac = call.blob, call.hmac
        return True

    def do_CreateSubaccount(self, call: rpc.CreateSubaccount, session: dict[str, Any]) -> Any:
        if call.pointer in self.accounts:
            raise CallFailed("Account exists", name="exists")
        gaid = f"GA{'x' * 26}{call.pointer}"
        self.accounts[call.pointer] = rpc.SubaccountRow(call.pointer, call.type, gaid, rpc.ADDRESS_BATCH)
        self.xpubs[call.pointer] = ExtendedKey.from_string(call.xpubs[0])
        return gaid

    def do_SyncCustom(self, call: rpc.SyncCustom, session: dict[str, Any]) -> Any:
        self.watch_only = (call.username, call.password, call.wo_blob_key)
        return True

    def script(self, account: int, pointer: int) -> str:
        service = self.service.derive(credentials.service_path(bytes.fromhex(self.gait), account))
        user = self.xpubs[account].child(1)
        return multisig_2of2(service.child_public_key(pointer), user.child_public_key(pointer)).hex()

    def do_Fund(self, call: rpc.Fund, session: dict[str, Any]) -> Any:
        pointer = self.pointers[call.subaccount] = self.pointers.get(call.subaccount, 0) + 1
        reply = rpc.FundReply(pointer, self.script(call.subaccount, pointer), call.subaccount)
        return rpc.to_wire(reply)

    def do_UploadAddresses(self, call: rpc.UploadAddresses, session: dict[str, Any]) -> Any:
        held = self.uploaded.setdefault(call.subaccount, [])
        held.extend(call.addresses)
        row = self.accounts[call.subaccount]
        wanted = max(0, rpc.ADDRESS_BATCH - len(held))
        self.accounts[call.subaccount] = rpc.SubaccountRow(row.pointer, row.type, row.receiving_id, wanted)
        return True

    def do_GetMyAddresses(self, call: rpc.GetMyAddresses, session: dict[str, Any]) -> Any:
        newest = self.pointers.get(call.subaccount, 0)
        rows = [rpc.AddressRow(p, self.script(call.subaccount, p)) for p in range(newest, max(0, newest - 10), -1)]
        return rpc.to_wire(rows)

    # -- the cosigner ------------------------------------------------------------------------

    def cosign(self, body: bytes | None) -> bytes:
        request = rpc.parse_cosign_request(body or b"")
        return json.dumps({"result": True, "error": "", "tx": str(self.signed(request.tx))}).encode()

    def signed(self, raw: str) -> Transaction:
        """The transaction with the service's signatures, found by trying the pointers in use."""
        tx = Transaction(raw)
        hashes = SighashCache(tx)
        service = self.service.derive(credentials.service_path(bytes.fromhex(self.gait), 1))
        for i, txin in enumerate(tx.vin):
            keys = parse_multisig_2of2(txin.witness[3])
            assert keys is not None
            key = next(k for k in (service.child(p) for p in range(1, 50)) if k.public_key == keys[0])
            value = self.spent[txin.prevout.serialize()].value_field
            assert key.private_key is not None
            signature = sign(key.private_key, hashes.segwit_v0(i, txin.witness[3], value))
            witness = [signature if item == DUMMY_SIGNATURE else item for item in txin.witness]
            tx = tx.replace_input(i, witness=tuple(witness))
        return tx


class MemoryConnection:
    """The client's end of a queue, with the server's peer behind it."""

    serializer = wamp.Serializer.JSON

    def __init__(self, server: MemoryServer) -> None:
        self._server = server
        self._peer = wamp.Peer(wamp.Role.SERVER, self.serializer)
        self._frames: asyncio.Queue[str | bytes | None] = asyncio.Queue()
        self._session: dict[str, Any] = {}
        self._topics: dict[str, int] = {}
        self.dead = False

    async def send(self, frame: str | bytes) -> None:
        if self.dead:
            raise ConnectionFailed("the connection was closed")
        for message in self._peer.receive(frame):
            self._handle(message)
        for text in self._server.garbage:
            self._frames.put_nowait(text)
        for out in self._peer.data_to_send():
            self._frames.put_nowait(out)
        if self._peer.closed:
            self._frames.put_nowait(None)

    def _handle(self, message: wamp.Message | wamp.Ignored) -> None:
        if isinstance(message, wamp.Hello):
            self._peer.welcome(7)
        elif isinstance(message, wamp.Subscribe):
            number = len(self._topics) + 1
            self._topics[message.topic] = number
            self._server.topics.append(message.topic)
            self._peer.subscribed(message.request, number)
        elif isinstance(message, wamp.Call):
            try:
                value = self._server.answer(message.procedure, message.args, self._session)
            except CallFailed as error:
                self._peer.error(message.request, rpc.ERROR_URI, rpc.error_args(error.name, error.text))
            except ConnectionFailed:
                self.drop()
            except TimeoutError:
                pass  # a server that never answers
            else:
                self._peer.result(message.request, value)

    def publish(self, topic: str, payload: Any) -> None:
        """Tell the subscriber of a topic."""
        self._peer.event(self._topics[topic], 1, payload)
        for frame in self._peer.data_to_send():
            self._frames.put_nowait(frame)

    def drop(self) -> None:
        """The network goes away."""
        self.dead = True
        self._frames.put_nowait(None)

    async def receive(self) -> str | bytes:
        frame = await self._frames.get()
        if frame is None:
            self.dead = True
            self._frames.put_nowait(None)
            raise ConnectionFailed("the connection was closed")
        return frame

    async def close(self) -> None:
        self.drop()


class MemoryTransport:
    """What the client uses in place of sockets."""

    def __init__(self, server: MemoryServer) -> None:
        self.server = server
        self.closed = False

    async def connect(self, network: Network) -> MemoryConnection:
        if self.server.refuse_connections:
            self.server.refuse_connections -= 1
            raise ConnectionFailed("refused")
        connection = MemoryConnection(self.server)
        self.server.connections.append(connection)
        return connection

    async def request(self, method: str, url: str, body: bytes | None, network: Network) -> bytes:
        self.server.requests.append((method, url, body))
        return (self.server.http or self.server.cosign)(body)

    async def close(self) -> None:
        self.closed = True


__all__ = ["MNEMONIC", "NETWORK", "MemoryServer", "MemoryTransport", "RemoteProtocolError", "TestSigner"]
