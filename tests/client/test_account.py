"""The daily client against a server in memory: addresses, indexes, cosigning, lost connections, hostility."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Coroutine
from dataclasses import replace
from typing import Any

import pytest

from amp0.client import Amp0, ClientOptions
from amp0.client.session import Backoff
from amp0.elements.keys import ExtendedKey
from amp0.elements.pset import Amp0Pset, Pset
from amp0.elements.transaction import Transaction
from amp0.errors import (
    AddressNotIssued,
    AlteredTransaction,
    CallFailed,
    ConnectionFailed,
    ConnectionTimeout,
    CosignRefused,
    InvalidInput,
    LoginFailed,
    NetworkMismatch,
    RemoteProtocolError,
    SuspiciousIndex,
)
from amp0.protocol import credentials, rpc
from amp0.protocol.blob import BlobKeys, ClientBlob
from amp0.protocol.credentials import WatchOnlyKeys
from tests.client.memory import NETWORK, MemoryServer, MemoryTransport, TestSigner
from tests.patience import PATIENCE
from tests.vectors import load

SPENDS = load("lwk-0.19.json")["spends"]
CASE = SPENDS["cases"][0]
SIGNER = TestSigner()
KEYS = WatchOnlyKeys("aa" * 32, "bb" * 32, b"\x07" * 32)
"""Derived credentials, made up: the quarter second of scrypt has its own tests."""


def ready_server(accounts: int = 1, issued: int = 20, **answers: Any) -> MemoryServer:
    """A server with a wallet, its accounts and watch-only credentials, as our set-up leaves it."""
    server = MemoryServer(answers={name.replace("__", "."): value for name, value in answers.items()})
    data = SIGNER.data
    server.gait = data.gait_path().hex()
    server.master = data.master_xpub
    keys = BlobKeys.from_client_secret(data.client_secret_xpub)
    blob = ClientBlob.new(data)
    for account in range(1, accounts + 1):
        xpub = credentials.account_xpub(SIGNER.master, account)
        blob = blob.with_account(account, xpub)
        server.xpubs[account] = xpub
        server.accounts[account] = rpc.SubaccountRow(account, rpc.ACCOUNT_TYPE, f"GA{account}", 0)
        server.pointers[account] = issued
    server.blob, server.hmac = blob.encrypt(keys)
    server.watch_only = (KEYS.username, KEYS.password, credentials.encrypt_blob_key(KEYS, keys.enc_key))
    for funding in SPENDS["funding"]:
        tx = Transaction(funding["raw"])
        for vout, txout in enumerate(tx.vout):
            server.spent[bytes(tx.txid()) + vout.to_bytes(4, "little")] = txout
    return server


async def connect(server: MemoryServer, amp_id: str = "", **changes: Any) -> Amp0:
    pinned = changes.pop("descriptor", None)
    options = ClientOptions(
        **{"transport": lambda: MemoryTransport(server), "timeout": PATIENCE, "backoff": Backoff(0), **changes}
    )
    return await Amp0.connect(NETWORK, "venue", "secret", amp_id, keys=KEYS, descriptor=pinned, options=options)


def run(server: MemoryServer, work: Callable[[MemoryServer], Coroutine[Any, Any, None]]) -> MemoryServer:
    asyncio.run(work(server))
    return server


def test_connecting_burns_no_address() -> None:
    async def work(server: MemoryServer) -> None:
        async with await connect(server) as amp0:
            assert amp0.amp_id() == "GA1"
            assert str(amp0.wollet_descriptor()) == SPENDS["descriptor"]
            assert amp0.network() is NETWORK

    server = run(ready_server(), work)
    assert server.names() == ["login.watch_only_v2", "login.get_client_blob"]


def test_last_index_and_addresses() -> None:
    async def work(server: MemoryServer) -> None:
        amp0 = await connect(server)
        assert await amp0.last_index() == 20
        new = await amp0.address(None)
        assert new.index() == 21
        assert await amp0.last_index() == 21
        descriptor = amp0.wollet_descriptor()
        assert new.address() == descriptor.confidential_address(NETWORK, 21)
        server.calls.clear()
        assert (await amp0.address(7)).address() == descriptor.confidential_address(NETWORK, 7)
        assert server.calls == []
        # Another session took addresses meanwhile: asking for one of them asks the server once.
        server.pointers[1] = 30
        assert (await amp0.address(30)).index() == 30
        with pytest.raises(AddressNotIssued, match="too high"):
            await amp0.address(31)
        for index in (0, -1, 2**31):
            with pytest.raises(InvalidInput, match="index"):
                await amp0.address(index)

    run(ready_server(), work)


def test_an_account_without_addresses() -> None:
    async def work(server: MemoryServer) -> None:
        amp0 = await connect(server)
        assert await amp0.last_index() == 0
        assert (await amp0.address()).index() == 1

    run(ready_server(issued=0), work)


def test_a_server_without_address_book_is_asked_lwks_way() -> None:
    missing = CallFailed("no such procedure", name="wamp.error.no_such_procedure")

    async def work(server: MemoryServer) -> None:
        amp0 = await connect(server)
        assert await amp0.last_index() == 21
        assert (await amp0.address()).index() == 22

    server = run(ready_server(addressbook__get_my_addresses=missing), work)
    assert server.names().count("vault.fund") == 2


def test_required_ca_is_answered_and_then_gone() -> None:
    async def work(server: MemoryServer) -> None:
        server.accounts[1] = rpc.SubaccountRow(1, rpc.ACCOUNT_TYPE, "GA1", 3)
        amp0 = await connect(server)
        descriptor = amp0.wollet_descriptor()
        assert server.uploaded[1] == [str(descriptor.confidential_address(NETWORK, i)) for i in (1, 2, 3)]
        assert await amp0.last_index() == 3

    run(ready_server(issued=0), work)


def test_a_server_that_asks_for_a_million_uploads_gets_a_hundred() -> None:
    async def work(server: MemoryServer) -> None:
        server.answers["login.watch_only_v2"] = server.login_data(
            wo_blob_key=server.watch_only[2] if server.watch_only else "",
            subaccounts=[{"pointer": 1, "type": rpc.ACCOUNT_TYPE, "receiving_id": "GA1", "required_ca": 9999}],
        )
        server.answers["login.get_client_blob"] = {"blob": server.blob, "hmac": server.hmac, "sequence": 0}
        for name in ("vault.fund", "addressbook.get_my_addresses", "txs.upload_authorized_assets_confidential_address"):
            server.answers[name] = lambda call: getattr(server, "do_" + type(call).__name__)(call, {})
        await connect(server)
        assert server.names().count("vault.fund") == 100

    run(ready_server(issued=0), work)


# -- which account ----------------------------------------------------------------------------


def test_accounts_are_chosen_by_amp_id() -> None:
    async def work(server: MemoryServer) -> None:
        assert (await connect(server)).amp_id() == "GA1"
        second = await connect(server, "GA2")
        assert second.amp_id() == "GA2"
        assert second.wollet_descriptor().account == 2
        with pytest.raises(InvalidInput, match=r"Missing AMP subaccount.*GA1, GA2"):
            await connect(server, "GA3")
        server.accounts.clear()
        with pytest.raises(InvalidInput, match="create one"):
            await connect(server)

    run(ready_server(accounts=2), work)


def test_wrong_credentials() -> None:
    async def work(server: MemoryServer) -> None:
        server.watch_only = ("cc" * 32, "dd" * 32, "")
        with pytest.raises(LoginFailed, match="check user name and password"):
            await connect(server)

    run(ready_server(), work)


# -- a hostile server -------------------------------------------------------------------------


def hostile_login(**change: Any) -> Callable[[MemoryServer], None]:
    def apply(server: MemoryServer) -> None:
        assert server.watch_only is not None
        data = server.login_data(wo_blob_key=server.watch_only[2])
        server.answers["login.watch_only_v2"] = {**data, **change}
        server.answers["login.get_client_blob"] = {"blob": server.blob, "hmac": server.hmac, "sequence": 0}

    return apply


@pytest.mark.parametrize(
    "change",
    [
        {"gait_path": "ab" * 64},
        {"public_key": "02" * 33},
        {"chain_code": "ab" * 32},
        {"wo_blob_key": "ab" * 64},
        {"wo_blob_key": None},
        {"gait_path": "ab"},
        {"subaccounts": [{"pointer": 7, "type": rpc.ACCOUNT_TYPE, "receiving_id": "GA1", "required_ca": 0}]},
    ],
    ids=str,
)
def test_b12_another_wallets_data_is_refused(change: dict[str, Any]) -> None:
    async def work(server: MemoryServer) -> None:
        hostile_login(**change)(server)
        with pytest.raises(RemoteProtocolError):
            await connect(server, "GA1")

    run(ready_server(), work)


def test_b12_another_wallets_blob_is_refused() -> None:
    async def work(server: MemoryServer) -> None:
        other = TestSigner("abandon " * 11 + "about")
        keys = BlobKeys.from_client_secret(other.data.client_secret_xpub)
        server.blob, server.hmac = ClientBlob.new(other.data).encrypt(keys)
        with pytest.raises(RemoteProtocolError, match="decrypt"):
            await connect(server)

    run(ready_server(), work)


def test_b13_a_rotated_service_key_is_refused() -> None:
    async def work(server: MemoryServer) -> None:
        amp0 = await connect(server)
        server.service = ExtendedKey.from_seed(b"\x01" * 32, main=False)
        for ask in (amp0.address, amp0.last_index):
            with pytest.raises(RemoteProtocolError, match=r"Unexpected address.*2de67592|closed"):
                await ask()

    run(ready_server(), work)


def test_b13_a_pinned_descriptor_must_match() -> None:
    async def work(server: MemoryServer) -> None:
        await connect(server, descriptor=SPENDS["descriptor"])
        other = str((await connect(server, "GA2")).wollet_descriptor())
        with pytest.raises(NetworkMismatch, match="pinned"):
            await connect(server, "GA1", descriptor=other)

    run(ready_server(accounts=2), work)


@pytest.mark.parametrize("pointer", [20, 1, 0])
def test_h03_an_address_handed_out_before_is_refused(pointer: int) -> None:
    async def work(server: MemoryServer) -> None:
        amp0 = await connect(server)
        reply = rpc.FundReply(pointer, server.script(1, pointer), 1)
        server.answers["vault.fund"] = rpc.to_wire(reply)
        with pytest.raises(RemoteProtocolError, match="again"):
            await amp0.address()

    run(ready_server(), work)


def test_h03_an_address_of_another_account_is_refused() -> None:
    async def work(server: MemoryServer) -> None:
        amp0 = await connect(server)
        server.answers["vault.fund"] = rpc.to_wire(rpc.FundReply(21, server.script(2, 21), 1))
        with pytest.raises(RemoteProtocolError, match="Unexpected address"):
            await amp0.address()
        server.answers["vault.fund"] = rpc.to_wire(rpc.FundReply(21, server.script(2, 21), 2))
        with pytest.raises(RemoteProtocolError, match="another account"):
            await amp0.address()

    run(ready_server(accounts=2), work)


def test_h04_the_last_index_never_shrinks_and_never_leaps() -> None:
    async def work(server: MemoryServer) -> None:
        amp0 = await connect(server, max_index_jump=1000)
        assert await amp0.last_index() == 20
        server.pointers[1] = 5
        assert await amp0.last_index() == 20
        server.answers["addressbook.get_my_addresses"] = []
        assert await amp0.last_index() == 20
        server.answers["addressbook.get_my_addresses"] = [{"pointer": 2_000_000_000, "script": ""}]
        with pytest.raises(SuspiciousIndex, match="max_index_jump") as caught:
            await amp0.last_index()
        assert (caught.value.known, caught.value.claimed, caught.value.limit) == (20, 2_000_000_000, 1000)
        assert amp0.known_address(21) is None
        server.answers["vault.fund"] = rpc.to_wire(rpc.FundReply(2_000_000_000, "00", 1))
        with pytest.raises(SuspiciousIndex):
            await amp0.address()

    run(ready_server(), work)


# -- lost connections -------------------------------------------------------------------------


def test_calls_survive_a_lost_connection() -> None:
    async def work(server: MemoryServer) -> None:
        waits: list[float] = []

        async def sleep(seconds: float) -> None:
            waits.append(seconds)

        amp0 = await connect(server, backoff=Backoff(5, 1.0, 2.0, 5.0), sleep=sleep, jitter=lambda: 1.0)
        server.connections[-1].drop()
        await asyncio.sleep(0.01)
        assert (await amp0.address()).index() == 21
        assert waits == []  # noticed before the call: nothing to wait for
        server.connections[-1].drop()
        await asyncio.sleep(0.01)
        server.refuse_connections = 4
        assert await amp0.last_index() == 21
        assert waits == [1.0, 2.0, 4.0, 5.0]
        assert server.names().count("login.watch_only_v2") == 3
        server.refuse_connections = 100
        server.connections[-1].drop()
        await asyncio.sleep(0.01)
        with pytest.raises(ConnectionFailed):
            await amp0.address()
        assert server.refuse_connections == 94

    run(ready_server(), work)


def test_jitter_spreads_the_waits() -> None:
    policy = Backoff(6, 0.25, 2.0, 15.0)
    assert [policy.wait(n, 1.0) for n in range(1, 9)] == [0.25, 0.5, 1, 2, 4, 8, 15, 15]
    assert policy.wait(1, 0.0) == 0.125


def test_a_session_that_expired_is_renewed() -> None:
    async def work(server: MemoryServer) -> None:
        amp0 = await connect(server, backoff=Backoff(2, 0.0))
        server.connections[-1]._session.clear()
        assert await amp0.last_index() == 20

    run(ready_server(), work)


def test_b08_credentials_changed_meanwhile() -> None:
    async def work(server: MemoryServer) -> None:
        amp0 = await connect(server, backoff=Backoff(2, 0.0))
        server.watch_only = ("other", "pair", "")
        server.connections[-1].drop()
        with pytest.raises(LoginFailed):
            await amp0.last_index()

    run(ready_server(), work)


def test_another_account_after_reconnecting_is_refused() -> None:
    async def work(server: MemoryServer) -> None:
        amp0 = await connect(server, backoff=Backoff(2, 0.0))
        first, second = server.accounts[1], server.accounts[2]
        server.accounts[1] = rpc.SubaccountRow(1, first.type, second.receiving_id, 0)
        server.accounts[2] = rpc.SubaccountRow(2, second.type, first.receiving_id, 0)
        server.connections[-1].drop()
        with pytest.raises(NetworkMismatch):
            await amp0.address()

    run(ready_server(accounts=2), work)


def test_a15_a_silent_server() -> None:
    async def work(server: MemoryServer) -> None:
        amp0 = await connect(server)
        server.answers["addressbook.get_my_addresses"] = TimeoutError()
        assert amp0._session is not None
        # Of this connection only: to connect again took a busy machine longer than a second.
        amp0._session._options = replace(amp0._session._options, timeout=0.2)
        with pytest.raises(ConnectionTimeout, match="get_my_addresses"):
            await amp0.last_index()
        del server.answers["addressbook.get_my_addresses"]
        # The next call starts on a fresh connection.
        assert await amp0.last_index() == 20

    run(ready_server(), work)


def test_a14_noise_between_call_and_answer() -> None:
    async def work(server: MemoryServer) -> None:
        amp0 = await connect(server)
        server.garbage = ["[36,5,1,{},[{}]]", "[50,999,{},[1]]", "garbage"]
        assert await amp0.last_index() == 20
        assert (await amp0.address()).index() == 21

    run(ready_server(), work)


def test_a_closed_client_says_so() -> None:
    async def work(server: MemoryServer) -> None:
        amp0 = await connect(server)
        await amp0.close()
        await amp0.close()
        with pytest.raises(ConnectionFailed, match="make a new one"):
            await amp0.last_index()

    run(ready_server(), work)


def test_calls_may_overlap() -> None:
    async def work(server: MemoryServer) -> None:
        amp0 = await connect(server)
        found = await asyncio.gather(*(amp0.last_index() for _ in range(20)))
        assert set(found) == {20}

    run(ready_server(), work)


# -- cosigning --------------------------------------------------------------------------------


def amp0pset() -> Amp0Pset:
    return Amp0Pset(Pset(CASE["signed_pset"]), CASE["blinding_nonces"])


def test_sign() -> None:
    async def work(server: MemoryServer) -> None:
        amp0 = await connect(server)
        tx = await amp0.sign(amp0pset())
        assert str(tx) == CASE["cosigned_tx"]
        [(method, url, body)] = server.requests
        assert (method, url) == ("POST", "http://127.0.0.1:9908/delayed_signature")
        assert json.loads(body or b"") == CASE["delayed_signature"]

    run(ready_server(), work)


def test_h01_an_altered_answer_is_refused() -> None:
    async def work(server: MemoryServer) -> None:
        amp0 = await connect(server)
        other = SPENDS["cases"][1]["cosigned_tx"]
        server.http = lambda body: json.dumps({"result": True, "error": "", "tx": other}).encode()
        with pytest.raises(AlteredTransaction) as caught:
            await amp0.sign(amp0pset())
        assert caught.value.received == other
        server.http = lambda body: b'{"result":false,"error":"Not whitelisted","code":"whitelist"}'
        with pytest.raises(CosignRefused, match="Not whitelisted"):
            await amp0.sign(amp0pset())

    run(ready_server(), work)


def test_h02_another_service_key_cannot_sign() -> None:
    async def work(server: MemoryServer) -> None:
        amp0 = await connect(server)
        signed = Transaction(CASE["cosigned_tx"])
        user = signed.vin[0].witness[2]
        witness = (b"", user, *signed.vin[0].witness[2:])
        forged = str(signed.replace_input(0, witness=witness))
        server.http = lambda body: json.dumps({"result": True, "error": "", "tx": forged}).encode()
        with pytest.raises(AlteredTransaction, match="service signature"):
            await amp0.sign(amp0pset())

    run(ready_server(), work)


def test_a15_a_silent_cosigner() -> None:
    async def work(server: MemoryServer) -> None:
        amp0 = await connect(server, cosign_timeout=0.05)

        async def never(*args: Any, **more: Any) -> bytes:
            await asyncio.sleep(PATIENCE)
            return b""

        amp0._transport.request = never  # type: ignore[method-assign]
        with pytest.raises(ConnectionTimeout, match="same transaction gets the same answer"):
            await amp0.sign(amp0pset())

    run(ready_server(), work)


def test_a_transaction_cosigned_before() -> None:
    async def work(server: MemoryServer) -> None:
        amp0 = await connect(server)
        reply = json.dumps({"result": True, "error": "", "tx": CASE["cosigned_tx"], "txid": CASE["txid"]}).encode()
        server.http = lambda body: reply
        assert str(await amp0.cosigned(CASE["txid"])) == CASE["cosigned_tx"]
        [(method, url, body)] = server.requests
        assert (method, url, body) == ("GET", f"http://127.0.0.1:9908/v1/cosigned/{CASE['txid']}", None)
        with pytest.raises(RemoteProtocolError, match="asked for"):
            await amp0.cosigned("ab" * 32)
        server.http = lambda body: b'{"result":true,"error":"","tx":"00"}'
        with pytest.raises(RemoteProtocolError):
            await amp0.cosigned(CASE["txid"])
        with pytest.raises(InvalidInput):
            await amp0.cosigned("not a txid")

    run(ready_server(), work)
