"""The server stops and starts again, and GDK comes back."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from amp0.local.stack import Stack
from tests.interop.conftest import require_gdk
from tests.interop.gdk_peer import GdkFailed, GdkPeer, registered_network
from tests.interop.gdk_wallets import GdkWallet, open_amp, soon, watch
from tests.interop.lwk_peer import four_digit_ports
from tests.patience import PATIENCE, until

pytestmark = pytest.mark.interop


class Restarted:
    """A stack that keeps its folder and its ports."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._ports = four_digit_ports(3)
        self.stack = self._start()

    def _start(self) -> Stack:
        wamp, cosign, chain = self._ports
        return Stack(wamp_port=wamp, cosign_port=cosign, chain_port=chain, data_dir=self._folder)

    def stop(self) -> None:
        self.stack.close()

    def start(self) -> None:
        self.stack = self._start()


@pytest.fixture
def restarted(tmp_path: Path) -> Iterator[Restarted]:
    require_gdk()
    restarted = Restarted(tmp_path / "stack")
    yield restarted
    restarted.stop()


@pytest.fixture
def gdk(restarted: Restarted, tmp_path: Path) -> Iterator[GdkPeer]:
    with GdkPeer.start(tmp_path / "gdk", registered_network(restarted.stack.cosign_url)) as peer:
        yield peer


def come_back(wallet: GdkWallet, stack: Stack) -> None:
    """What an application does: wait until GDK is connected, and log in with what GDK still knows."""
    wallet.stack = stack
    end = time.monotonic() + PATIENCE
    while True:
        state = wallet.session.event("network")
        assert state is not None
        assert time.monotonic() < end
        if state["current_state"] == "connected":
            break
    wallet.call("login_user", {}, {})


def test_everything_is_there_after_a_restart(restarted: Restarted, gdk: GdkPeer) -> None:
    alice = open_amp(gdk, restarted.stack, "alice")
    credentials = {"username": "restarted watcher", "password": "correct horse"}
    alice.call("register_user", {}, credentials)
    watcher = watch(gdk, restarted.stack, "watcher", **credentials)
    alice.funded(10_000)
    plain = alice.call("get_credentials", {})
    kept = alice.call("encrypt_with_pin", {"pin": "123456", "device_id": "phone", "plaintext": plain})["pin_data"]
    before = alice.receive()
    txid = alice.transactions()[0]["txhash"]
    alice.call("set_transaction_memo", txid, "before the restart")
    alice.session.forget_events()
    watcher.session.forget_events()

    restarted.stop()
    assert alice.session.event("network")["current_state"] == "disconnected"
    restarted.start()
    for wallet in (alice, watcher):
        come_back(wallet, restarted.stack)

    assert alice.receive()["pointer"] == before["pointer"] + 1
    assert alice.balance() == watcher.balance() == {alice.lbtc: 10_000}
    assert [(row["txhash"], row["memo"]) for row in alice.transactions()] == [(txid, "before the restart")]
    other = GdkWallet(gdk.open("by PIN"), restarted.stack)
    other.call("login_user", {}, {"pin": "123456", "pin_data": kept})
    # Subscriptions are the new session's.
    alice.session.forget_events()
    paid = restarted.stack.dev.faucet(before["address"], 500)
    assert alice.session.event("transaction") == {"txhash": str(paid), "subaccounts": [1]}
    soon(lambda: watcher.balance() == {alice.lbtc: 10_500})
    alice.send((alice.address(), alice.lbtc, 1_000))


def test_the_same_request_after_a_restart_gets_the_same_answer(restarted: Restarted, gdk: GdkPeer) -> None:
    alice = open_amp(gdk, restarted.stack, "alice")
    alice.funded(10_000)
    draft = {**alice.draft((alice.address(), alice.lbtc, 1_000)), "sign_with": ["user"]}
    signed = alice.call("sign_transaction", draft)
    rival = alice.signed((alice.address(), alice.lbtc, 2_000))
    first = alice.call("sign_transaction", {**draft, "sign_with": ["user", "green-backend"]})
    assert first["txhash"]
    alice.session.forget_events()
    restarted.stop()
    restarted.start()
    come_back(alice, restarted.stack)
    with pytest.raises(GdkFailed, match="Another transaction for the same coins was signed before"):
        alice.call("send_transaction", rival)
    assert alice.call("send_transaction", signed)["txhash"] == first["txhash"]


@pytest.mark.parametrize("attempt", range(3))
def test_no_call_hangs_when_the_server_stops(restarted: Restarted, gdk: GdkPeer, attempt: int) -> None:
    """GDK never returns from a call whose connection closed unanswered, if it connects again at once."""
    alice = open_amp(gdk, restarted.stack, "alice")
    alice.session.forget_events()
    answers: list[str] = []

    def keep_calling() -> None:
        while not answers or answers[-1] == "answered":
            try:
                alice.receive()
                answers.append("answered")
            except GdkFailed as error:
                answers.append(error.text)

    caller = threading.Thread(target=keep_calling, daemon=True)
    caller.start()
    until(lambda: answers, "nothing is answered")
    time.sleep(attempt * 0.07)
    restarted.stop()
    restarted.start()
    caller.join(PATIENCE)
    assert not caller.is_alive(), "a call hangs"
    assert answers[0] == "answered"
    come_back(alice, restarted.stack)
    assert alice.receive()["pointer"] >= 21 + len(answers) - 1


def test_an_application_disconnects_and_connects_again(restarted: Restarted, gdk: GdkPeer) -> None:
    alice = open_amp(gdk, restarted.stack, "alice")
    alice.session.forget_events()
    alice.call("reconnect_hint", {"hint": "disconnect"})
    with pytest.raises(GdkFailed, match="reconnect required"):
        alice.receive()
    alice.call("reconnect_hint", {"hint": "connect"})
    come_back(alice, restarted.stack)
    assert alice.receive()["pointer"] == 21


def test_why_the_server_never_says_goodbye_first(restarted: Restarted, gdk: GdkPeer) -> None:
    """GDK 0.78.0 ends its whole process ("session not joined") over a GOODBYE that it did not ask for.

    Not our server's behaviour, but the reason for it: when this fails, GDK has been mended.
    """
    open_amp(gdk, restarted.stack, "alice")
    server = restarted.stack._server
    assert server is not None

    async def say_goodbye() -> None:
        (connection,) = server.hub.connections
        connection._peer.goodbye("wamp.close.system_shutdown")
        await connection._flush()

    restarted.stack._host.call(say_goodbye())
    assert gdk.process.wait(PATIENCE) == -signal.SIGABRT
