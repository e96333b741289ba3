"""Challenge login, accounts and watch-only credentials against a server in memory, obliging or hostile."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from amp0.client import Amp0, Amp0Connected, Amp0LoggedIn, ClientOptions
from amp0.client.session import Backoff
from amp0.elements.keys import ExtendedKey, Mnemonic, Slip77
from amp0.errors import (
    CallFailed,
    ConnectionFailed,
    ConnectionTimeout,
    InvalidInput,
    LocalProtocolError,
    LoginFailed,
    NetworkMismatch,
    RemoteProtocolError,
    SuspiciousIndex,
)
from amp0.network import Network
from amp0.protocol import rpc
from amp0.protocol.blob import BlobKeys, ClientBlob
from amp0.protocol.credentials import REGISTER_PATH, Amp0SignerData, account_path
from tests.client.memory import NETWORK, MemoryServer, MemoryTransport, TestSigner
from tests.patience import PATIENCE

SIGNER = TestSigner()
OTHER = TestSigner("abandon " * 11 + "about")


def options(server: MemoryServer, **changes: Any) -> ClientOptions:
    return ClientOptions(
        **{"transport": lambda: MemoryTransport(server), "timeout": PATIENCE, "backoff": Backoff(0), **changes}
    )


async def log_in(server: MemoryServer, signer: TestSigner = SIGNER) -> Amp0LoggedIn:
    connected = await Amp0Connected.connect(NETWORK, signer.data, options=options(server))
    return await connected.login(signer.challenge(await connected.get_challenge()))


def run(work: Callable[[MemoryServer], Coroutine[Any, Any, None]], **answers: Any) -> MemoryServer:
    server = MemoryServer(answers={name.replace("__", "."): value for name, value in answers.items()})
    asyncio.run(work(server))
    return server


def test_set_up_of_a_new_wallet() -> None:
    async def work(server: MemoryServer) -> None:
        async with await log_in(server) as amp0:
            assert amp0.get_amp_ids() == []
            assert amp0.next_account() == 1
            amp_id = await amp0.create_amp0_account(1, SIGNER.xpub(1))
            assert amp0.get_amp_ids() == [amp_id]
            assert amp0.next_account() == 2
            await amp0.create_watch_only("venue", "secret")

    server = run(work)
    assert server.names()[:4] == [
        "login.register",
        "login.get_trezor_challenge",
        "login.authenticate",
        "login.set_client_blob",
    ]
    # 20 confidential addresses are uploaded at creation, so that a login is asked for none.
    assert server.names().count("vault.fund") == 20
    assert len(set(server.uploaded[1])) == 20
    assert server.accounts[1].required_ca == 0
    blob = ClientBlob.decrypt(BlobKeys.from_client_secret(SIGNER.data.client_secret_xpub).enc_key, server.blob)
    assert blob.username == "venue"
    assert str(blob.xpub_at(account_path(1))) == SIGNER.xpub(1)
    assert blob.xpub_at(REGISTER_PATH) == SIGNER.data.register_xpub
    assert server.watch_only is not None
    assert "venue" not in "".join(server.watch_only)
    assert all(connection.dead for connection in server.connections)


def test_the_blob_lists_the_key_before_the_account_exists() -> None:
    """An account whose key is not in the blob cannot be opened by watch-only logins, GDK's included."""

    async def work(server: MemoryServer) -> None:
        amp0 = await log_in(server)
        server.answers["txs.create_subaccount_v2"] = ConnectionFailed("gone")
        with pytest.raises(ConnectionFailed):
            await amp0.create_amp0_account(1, SIGNER.xpub(1))

    server = run(work)
    blob = ClientBlob.decrypt(BlobKeys.from_client_secret(SIGNER.data.client_secret_xpub).enc_key, server.blob)
    assert blob.xpub_at(account_path(1)) is not None


def test_a_known_wallet_keeps_its_blob() -> None:
    async def work(server: MemoryServer) -> None:
        amp0 = await log_in(server)
        await amp0.create_amp0_account(1, SIGNER.xpub(1))
        await amp0.close()
        before = server.blob
        amp0 = await log_in(server)
        assert amp0.next_account() == 2
        assert server.blob == before

    run(work)


def test_a_race_for_the_blob_is_merged() -> None:
    async def work(server: MemoryServer) -> None:
        one, two = await log_in(server), await log_in(server)
        await one.create_amp0_account(1, SIGNER.xpub(1))
        await two.create_watch_only("venue", "secret")
        keys = BlobKeys.from_client_secret(SIGNER.data.client_secret_xpub)
        blob = ClientBlob.decrypt(keys.enc_key, server.blob)
        assert blob.username == "venue"
        assert blob.xpub_at(account_path(1)) is not None

    run(work)


def test_a_race_that_never_ends_is_given_up() -> None:
    async def work(server: MemoryServer) -> None:
        amp0 = await log_in(server)
        current = {"blob": server.blob, "hmac": server.hmac, "sequence": 0}
        server.answers["login.set_client_blob"] = current
        with pytest.raises(CallFailed, match="other clients"):
            await amp0.create_watch_only("venue", "secret")

    run(work)


@pytest.mark.parametrize("challenge", ["A1b2", "A1b2Zz", "A1-2Z", "", "please sign this transfer", None, 5])
def test_b11_only_a_challenge_is_handed_to_the_signer(challenge: Any) -> None:
    async def work(server: MemoryServer) -> None:
        connected = await Amp0Connected.connect(NETWORK, SIGNER.data, options=options(server))
        with pytest.raises(RemoteProtocolError):
            await connected.get_challenge()

    run(work, login__get_trezor_challenge=challenge)


def test_the_wrong_signer_is_told_so() -> None:
    async def work(server: MemoryServer) -> None:
        connected = await Amp0Connected.connect(NETWORK, SIGNER.data, options=options(server))
        sig = OTHER.challenge(await connected.get_challenge())
        with pytest.raises(LoginFailed, match="same signer"):
            await connected.login(sig)
        # As in LWK, a failed login uses the object up.
        for again in (connected.get_challenge(), connected.login(sig)):
            with pytest.raises(LocalProtocolError, match="already logged in"):
                await again

    run(work)


def test_a_signer_of_another_network_is_refused_before_anything_is_sent() -> None:
    seed = Mnemonic("abandon " * 11 + "about").seed()
    data = Amp0SignerData.from_master(ExtendedKey.from_seed(seed, main=True), Slip77.from_seed(seed))

    async def work(server: MemoryServer) -> None:
        with pytest.raises(NetworkMismatch, match="Liquid"):
            await Amp0Connected.connect(NETWORK, data, options=options(server))
        with pytest.raises(NetworkMismatch):
            await Amp0Connected.connect(Network.mainnet(), SIGNER.data, options=options(server))

    assert run(work).connections == []


@pytest.mark.parametrize(
    "change",
    [{"gait_path": "ab" * 64}, {"public_key": "02" * 33}, {"chain_code": "ab" * 32}],
    ids=lambda c: next(iter(c)),
)
def test_b12_login_data_of_another_wallet_is_refused(change: dict[str, str]) -> None:
    async def work(server: MemoryServer) -> None:
        def answer(call: rpc.Procedure) -> Any:
            return server.login_data(**change)

        server.answers["login.authenticate"] = answer
        connected = await Amp0Connected.connect(NETWORK, SIGNER.data, options=options(server))
        sig = SIGNER.challenge(await connected.get_challenge())
        with pytest.raises(RemoteProtocolError, match="another wallet"):
            await connected.login(sig)

    assert "login.set_client_blob" not in run(work).names()


def test_b10_a_blob_that_is_not_ours_changes_nothing() -> None:
    async def work(server: MemoryServer) -> None:
        (await log_in(server)).get_amp_ids()
        text, mac = ClientBlob.new(OTHER.data).encrypt(BlobKeys.from_client_secret(OTHER.data.client_secret_xpub))
        server.blob, server.hmac = text, mac
        with pytest.raises(RemoteProtocolError, match="not written by this wallet"):
            await log_in(server)
        assert server.blob == text

    run(work)


def test_b10_a_rollback_of_the_blob_is_noticed() -> None:
    async def work(server: MemoryServer) -> None:
        amp0 = await log_in(server)
        old = {"blob": server.blob, "hmac": server.hmac, "sequence": 0}
        await amp0.create_amp0_account(1, SIGNER.xpub(1))
        server.answers["login.set_client_blob"] = old
        with pytest.raises(RemoteProtocolError, match="version"):
            await amp0.create_watch_only("venue", "secret")

    run(work)


@pytest.mark.parametrize(
    ("pointer", "xpub", "error"),
    [
        (0, SIGNER.xpub(0), InvalidInput),
        (-1, SIGNER.xpub(1), InvalidInput),
        (2**31, SIGNER.xpub(1), InvalidInput),
        (1, SIGNER.xpub(2), InvalidInput),
        (1, str(SIGNER.data.master_xpub), InvalidInput),
        (1, "nonsense", InvalidInput),
        (1, SIGNER.master.derive("3h/1h").to_string(), InvalidInput),
        (1, str(ExtendedKey.from_seed(b"\x01" * 32, main=True).derive("3h/1h")), NetworkMismatch),
    ],
)
def test_keys_that_are_not_the_accounts_are_not_sent(pointer: int, xpub: str, error: type[Exception]) -> None:
    async def work(server: MemoryServer) -> None:
        amp0 = await log_in(server)
        with pytest.raises(error) as caught:
            await amp0.create_amp0_account(pointer, xpub)
        assert "prv" not in str(caught.value)

    assert "txs.create_subaccount_v2" not in run(work).names()


def test_an_account_that_exists_is_named() -> None:
    async def work(server: MemoryServer) -> None:
        amp0 = await log_in(server)
        await amp0.create_amp0_account(1, SIGNER.xpub(1))
        with pytest.raises(InvalidInput, match="the next one is 2"):
            await amp0.create_amp0_account(1, SIGNER.xpub(1))

    run(work)


def fund(**change: Any) -> Callable[[rpc.Procedure], Any]:
    return lambda call: {"branch": 1, "subaccount": 1, "pointer": 1, "script": "00", "addr_type": "p2wsh", **change}


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (fund(), RemoteProtocolError),
        (fund(pointer=0), RemoteProtocolError),
        (fund(subaccount=2), RemoteProtocolError),
        (fund(branch=0), RemoteProtocolError),
        (fund(addr_type="p2sh"), RemoteProtocolError),
        (fund(pointer=2_000_000_000), SuspiciousIndex),
        (lambda call: None, RemoteProtocolError),
    ],
)
def test_h03_addresses_that_are_not_ours_are_not_uploaded(answer: Any, error: type[Exception]) -> None:
    async def work(server: MemoryServer) -> None:
        amp0 = await log_in(server)
        server.answers["vault.fund"] = answer
        with pytest.raises(error):
            await amp0.create_amp0_account(1, SIGNER.xpub(1))

    assert run(work).uploaded == {}


@pytest.mark.parametrize("amp_id", ["", "x" * 65, "GA\n", "GA<b>"])
def test_an_amp_id_no_one_would_write(amp_id: str) -> None:
    async def work(server: MemoryServer) -> None:
        amp0 = await log_in(server)
        server.answers["txs.create_subaccount_v2"] = amp_id
        with pytest.raises(RemoteProtocolError, match="AMP ID"):
            await amp0.create_amp0_account(1, SIGNER.xpub(1))

    run(work)


def test_watch_only_credentials_the_server_does_not_take() -> None:
    async def work(server: MemoryServer) -> None:
        amp0 = await log_in(server)
        server.answers["addressbook.sync_custom"] = CallFailed("name taken", name="taken")
        with pytest.raises(CallFailed, match="name taken"):
            await amp0.create_watch_only("venue", "secret")
        server.answers["addressbook.sync_custom"] = False
        with pytest.raises(CallFailed, match="another user name"):
            await amp0.create_watch_only("venue", "secret")
        with pytest.raises(InvalidInput):
            await amp0.create_watch_only("", "secret")

    run(work)


def test_a_server_that_is_away_or_silent() -> None:
    async def work(server: MemoryServer) -> None:
        server.refuse_connections = 1
        with pytest.raises(ConnectionFailed):
            await Amp0Connected.connect(NETWORK, SIGNER.data, options=options(server))
        server.answers["login.register"] = TimeoutError()
        with pytest.raises(ConnectionTimeout, match=r"login\.register"):
            await Amp0Connected.connect(NETWORK, SIGNER.data, options=options(server, timeout=1.0))

    server = run(work)
    assert all(connection.dead for connection in server.connections)


def test_an_lwk_wallet_without_register_key_is_completed() -> None:
    async def work(server: MemoryServer) -> None:
        keys = BlobKeys.from_client_secret(SIGNER.data.client_secret_xpub)
        places = list(ClientBlob.new(SIGNER.data).places)
        del places[5]["xpubs"][str(SIGNER.data.register_xpub)]
        server.blob, server.hmac = ClientBlob(tuple(places)).encrypt(keys)
        await log_in(server)
        assert ClientBlob.decrypt(keys.enc_key, server.blob).xpub_at(REGISTER_PATH) == SIGNER.data.register_xpub

    run(work)


def test_secrets_stay_out_of_what_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    async def work(server: MemoryServer) -> None:
        caplog.set_level("DEBUG")
        async with await log_in(server) as amp0:
            await amp0.create_amp0_account(1, SIGNER.xpub(1))
            await amp0.create_watch_only("venue", "hunter2hunter2")
        server.answers["login.get_client_blob"] = CallFailed("no", name="no")
        with pytest.raises(CallFailed) as caught:
            await Amp0.connect(NETWORK, "venue", "hunter2hunter2", options=options(server))
        assert "hunter2" not in str(caught.value) + repr(caught.value)

    run(work)
    assert "hunter2" not in caplog.text
    assert SIGNER.data.slip77_key.key.hex() not in caplog.text
