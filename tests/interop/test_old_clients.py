"""Clients of SideSwap's kind: MessagePack, arguments left out, plain watch-only names, ``vault.sign_raw_tx``.

Such a client registers when ``authenticate`` says ``false``, names its account, never uploads a blob key, and
broadcasts by itself what the service has signed. The messages here are written out by hand.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Self

import msgspec
import pytest
from websockets import Subprotocol
from websockets.sync.client import ClientConnection, connect

from amp0 import Amp0Pset, EsploraClient, Mnemonic, Signer, Wollet
from amp0.elements.address import Address
from amp0.elements.keys import HARDENED, ExtendedKey, Slip77
from amp0.elements.pset import finalize_for_cosign
from amp0.local.stack import Stack
from amp0.protocol import credentials
from tests.interop.gdk_wallets import soon

AGENT = "[v2,sw,csv,csv_opt] sideswap"


class Refused(Exception):
    """An error of the server: its name, and its text."""


@dataclass
class OldClient:
    """One connection."""

    socket: ClientConnection
    events: list[tuple[int, Any]] = field(default_factory=list)
    requests: itertools.count[int] = field(default_factory=lambda: itertools.count(1))

    @classmethod
    @contextmanager
    def to(cls, url: str) -> Iterator[Self]:
        with connect(url, subprotocols=[Subprotocol("wamp.2.msgpack")], compression=None) as socket:
            client = cls(socket)
            client._send([1, "realm1", {"roles": {"caller": {}, "subscriber": {}}}])
            assert client._receive()[0] == 2
            yield client

    def call(self, name: str, *args: Any) -> Any:
        request = next(self.requests)
        self._send([48, request, {"timeout": 10000}, "com.greenaddress." + name, list(args)])
        while True:
            message = self._receive()
            if message[0] == 36:
                self.events.append((message[1], message[4][0]))
            elif message[0] == 8:
                assert message[1:3] == [48, request]
                raise Refused(message[5][0].partition("#")[2], message[5][1])
            else:
                assert message[:3] == [50, request, {}]
                (value,) = message[3]
                return value

    def subscribe(self, topic: str) -> int:
        request = next(self.requests)
        self._send([32, request, {"match": "exact"}, "com.greenaddress." + topic])
        message = self._receive()
        assert message[:2] == [33, request]
        return int(message[2])

    def _send(self, message: Any) -> None:
        self.socket.send(msgspec.msgpack.encode(message))

    def _receive(self) -> Any:
        frame = self.socket.recv(10)
        assert isinstance(frame, bytes)
        return msgspec.msgpack.decode(frame)


def test_a_day_of_an_old_client(stack: Stack) -> None:
    with OldClient.to(stack.network.wamp_url) as client, OldClient.to(stack.network.wamp_url) as watcher:
        live_a_day(stack, client, watcher)


def live_a_day(stack: Stack, client: OldClient, watcher: OldClient) -> None:
    network = stack.network
    mnemonic = Mnemonic.from_random(12)
    master = ExtendedKey.from_seed(mnemonic.seed(), main=False)

    # 1. Log in; "false" is how it learns that it has to register.
    address = credentials.login_address(network, master.public_key)
    gait_path = credentials.gait_path(master.child(0x4741 + HARDENED).public()).hex()

    def authenticate() -> Any:
        challenge = client.call("login.get_trezor_challenge", address, True)
        signature = credentials.sign_challenge(master, challenge)
        return client.call("login.authenticate", signature, True, "GA", "", AGENT)

    assert authenticate() is False
    registration = [master.public_key.hex(), master.chain_code.hex(), AGENT, gait_path]
    assert client.call("login.register", *registration) is True
    data = authenticate()
    assert data["subaccounts"] == []
    for topic in ("blocks", f"txs.wallet_{data['receiving_id']}"):
        client.subscribe(topic)

    # 2. An account with a name, found again in the next login's data.
    xpub = str(credentials.account_xpub(master, 1))
    gaid = client.call("txs.create_subaccount_v2", 1, "AMP", "2of2_no_recovery", [xpub], [""])
    (row,) = authenticate()["subaccounts"]
    assert (row["name"], row["receiving_id"], row["pointer"]) == ("AMP", gaid, 1)

    # 3. A plain watch-only pair of two arguments, and a login without the fourth.
    assert client.call("addressbook.sync_custom", f"plain name {gaid}", "plain password") is True
    pair = {"username": f"plain name {gaid}", "password": "plain password", "minimal": "true"}
    with pytest.raises(Refused, match="User not found or invalid password"):
        watcher.call("login.watch_only_v2", "custom", {**pair, "password": "wrong"}, AGENT)
    assert watcher.call("login.watch_only_v2", "custom", pair, AGENT)["receiving_id"] == data["receiving_id"]

    # 4. Receive, and look.
    # What it knows of its account by itself.
    descriptor = credentials.account_descriptor(
        network,
        gait=bytes.fromhex(gait_path),
        account=1,
        master_fingerprint=master.fingerprint(),
        user_xpub=credentials.account_xpub(master, 1),
        slip77=Slip77.from_seed(mnemonic.seed()),
    )
    wollet = Wollet(network, descriptor, None)
    pointer = client.call("vault.fund", 1, True, "p2wsh")["pointer"]
    assert pointer == 1
    blinded = str(descriptor.confidential_address(network, pointer))
    assert client.call("txs.upload_authorized_assets_confidential_address", 1, [blinded]) is True
    stack.dev.faucet(blinded, 50_000)
    stack.dev.mine()
    soon(lambda: client.call("txs.get_all_unspent_outputs", 1, 1) != [])
    (coin,) = client.call("txs.get_all_unspent_outputs", 0, 1)
    assert (coin["script"], coin["pointer"], coin["value"]) == (descriptor.script_bytes(pointer).hex(), pointer, None)
    assert client.call("addressbook.get_my_addresses", 1)[0]["ad"] == str(Address(blinded, network).to_unconfidential())
    (listed,) = client.call("txs.get_list_v3", 1, 0)["list"]
    assert listed["transaction_vsize"] > 0
    assert client.call("txs.get_raw_output", coin["txhash"])
    assert {"txhash", "subaccounts"} in [set(payload) for _, payload in client.events]

    spend(stack, client, mnemonic, wollet)


def spend(stack: Stack, client: OldClient, mnemonic: Mnemonic, wollet: Wollet) -> None:
    """The service signs, the client broadcasts."""
    network = stack.network
    chain = EsploraClient(stack.chain_url, network)
    update = chain.full_scan_to_index(wollet, 21)
    assert update is not None
    wollet.apply_update(update)
    b = network.tx_builder()
    b.drain_lbtc_wallet()
    built = b.finish_for_amp0(wollet)
    signed = Signer(mnemonic, network).sign(built.pset())
    parts = finalize_for_cosign(Amp0Pset(signed, built.blinding_nonces()).pset())
    private = {"blinding_nonces": built.blinding_nonces()}
    reply = client.call("vault.sign_raw_tx", str(parts.transaction), {}, private)
    assert (reply["txhash"], reply["limit_decrease"]) == (str(parts.transaction.txid()), 0)
    assert client.call("vault.broadcast_raw_tx", reply["tx"]) == reply["txhash"]
    stack.dev.mine()
    soon(lambda: [row["block_height"] > 0 for row in client.call("txs.get_list_v3", 1, 0)["list"]] == [True, True])
    since = client.call("txs.get_list_v3", 1, 0)["list"][0]["created_at_ts"]
    assert [row["txhash"] for row in client.call("txs.get_list_v3", 1, since)["list"]] == [reply["txhash"]]

    # Keep the session alive with any call, and leave.
    assert client.call("login.get_fee_estimates", True)["min"] == 0.000001
    client._send([6, {}, "wamp.error.close_realm"])
    while (message := client._receive())[0] == 36:
        continue
    assert message == [6, {}, "wamp.close.goodbye_and_out"]
