"""The blocking classes do what their originals do, and the stub tells the truth about them."""

from __future__ import annotations

import asyncio
import gc
import importlib.util
import inspect
import threading
from pathlib import Path
from typing import Any

import pytest

from amp0 import blocking, client
from amp0.client import ClientOptions
from amp0.errors import AddressNotIssued, ConnectionFailed, LocalProtocolError, LoginFailed
from tests.client.memory import NETWORK, MemoryServer, MemoryTransport, TestSigner
from tests.client.test_account import KEYS, ready_server
from tests.patience import PATIENCE, until

ROOT = Path(__file__).parent.parent
SIGNER = TestSigner()
INSIDE: Any = blocking
"""The module with what its stub does not show."""


def options(server: MemoryServer) -> ClientOptions:
    return ClientOptions(transport=lambda: MemoryTransport(server), timeout=PATIENCE)


def open_account(server: MemoryServer) -> Any:
    return blocking.Amp0(NETWORK, "venue", "secret", "", keys=KEYS, options=options(server))


def test_the_stub_is_fresh() -> None:
    """Run ``python scripts/blocking_stub.py`` when this fails."""
    path = ROOT / "scripts" / "blocking_stub.py"
    spec = importlib.util.spec_from_file_location("blocking_stub", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert module.STUB.read_text(encoding="utf-8") == module.render()


@pytest.mark.parametrize("name", blocking.__all__)
def test_nothing_public_is_left_out(name: str) -> None:
    derived = getattr(blocking, name)
    original = derived._original
    assert derived.__doc__ == INSIDE._told(original)
    assert derived.__module__ == "amp0.blocking"
    for member, value in INSIDE._public(original):
        found = inspect.getattr_static(derived, member)
        assert not inspect.iscoroutinefunction(found), member
        if inspect.isfunction(value):
            assert inspect.signature(found) == inspect.signature(value), member
            assert found.__doc__ == INSIDE._told(value)


def test_the_seeds_set_up_and_daily_use() -> None:
    server = MemoryServer()
    connected = blocking.Amp0Connected(NETWORK, SIGNER.data, options=options(server))
    challenge = connected.get_challenge()
    logged_in = connected.login(SIGNER.challenge(challenge))
    assert isinstance(logged_in, blocking.Amp0LoggedIn)
    pointer = logged_in.next_account()
    amp_id = logged_in.create_amp0_account(pointer, SIGNER.xpub(pointer))
    logged_in.create_watch_only("venue", "secret")
    logged_in.close()
    logged_in.close()
    with blocking.Amp0(NETWORK, "venue", "secret", amp_id, options=options(server)) as amp0:
        assert amp0.amp_id() == amp_id
        assert amp0.last_index() == 20
        assert str(amp0.address(None).address()) == str(amp0.address(21).address())
        with pytest.raises(AddressNotIssued):
            amp0.address(22)
    assert all(connection.dead for connection in server.connections)


def test_known_addresses_do_not_wait_for_the_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    amp0 = open_account(ready_server())
    amp0.last_index()
    monkeypatch.setattr(INSIDE._background, "run", lambda coroutine: pytest.fail("went to the loop"))
    assert [amp0.address(i).index() for i in range(1, 21)] == list(range(1, 21))
    monkeypatch.undo()
    amp0.close()


def test_errors_come_through_as_they_are() -> None:
    server = ready_server()
    server.watch_only = ("x", "y", "")
    with pytest.raises(LoginFailed):
        open_account(server)
    for wrong in ((), (NETWORK,), (NETWORK, "a", "b", "c", "d")):
        with pytest.raises(TypeError):
            blocking.Amp0(*wrong)
    with pytest.raises(TypeError):
        open_account(ready_server()).address(1, 2)


def test_several_threads_share_one_object() -> None:
    amp0 = open_account(ready_server(issued=0))
    found: list[int] = []

    def take() -> None:
        found.extend(amp0.address(None).index() for _ in range(5))

    threads = [threading.Thread(target=take) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(found) == list(range(1, 21))
    amp0.close()


def test_a_forgotten_object_closes_its_connection() -> None:
    server = ready_server()
    amp0 = open_account(server)

    def is_closed() -> bool:
        return server.connections[-1].dead

    assert not is_closed()
    del amp0
    gc.collect()
    until(is_closed)


def test_a_blocking_call_inside_its_own_loop_says_so() -> None:
    amp0 = open_account(ready_server())

    async def inside() -> None:
        with pytest.raises(LocalProtocolError, match=r"amp0\.client"):
            amp0.last_index()

    asyncio.run_coroutine_threadsafe(inside(), INSIDE._background.loop()).result()
    amp0.close()
    with pytest.raises(ConnectionFailed):
        amp0.last_index()


def test_results_that_are_clients_are_wrapped() -> None:
    assert INSIDE._DERIVED[client.Amp0LoggedIn] is blocking.Amp0LoggedIn
    with blocking.EsploraClient.new_waterfalls("http://127.0.0.1:1", NETWORK) as chain:
        assert isinstance(chain, blocking.EsploraClient)
        assert repr(chain) == "<EsploraClient>"
    with blocking.WaterfallsClient("http://127.0.0.1:1", NETWORK) as chain:
        assert isinstance(chain, blocking.WaterfallsClient)


def test_events_are_a_plain_iterator() -> None:
    server = ready_server()
    with open_account(server) as amp0, amp0.events() as events:
        assert isinstance(events, blocking.Events)
        assert next(iter(events)) == client.Resync("begun")
        assert events.next(0.01) is None
        publish = server.connections[-1].publish
        payload = {"count": 7, "block_hash": "ab" * 32, "previous_hash": "cd" * 32}
        INSIDE._background.loop().call_soon_threadsafe(publish, "com.greenaddress.blocks", payload)
        block = next(events)
        assert isinstance(block, client.NewBlock)
        assert block.height == 7
    with pytest.raises(StopIteration):
        next(events)


@pytest.mark.parametrize("name", blocking.__all__)
def test_help_shows_how_it_is_called_here(name: str) -> None:
    """It showed ``*args`` and ``**kwargs``, and examples with ``await``, which are those of the async classes."""
    derived = getattr(blocking, name)
    parameters = inspect.signature(derived).parameters
    assert not {"args", "kwargs", "cls", "self"} & set(parameters)
    members = [member for member in vars(derived) if not member.startswith("_")]
    texts = [one.__doc__ or "" for one in (derived, *(getattr(derived, member) for member in members))]
    assert not [text for text in texts if "await " in text or "``async " in text]


def test_an_account_is_opened_with_these() -> None:
    assert list(inspect.signature(blocking.Amp0).parameters)[:4] == ["network", "username", "password", "amp_id"]
    assert blocking.Amp0.__doc__ is not None
    assert "``Amp0(network, username, password, amp_id)``" in blocking.Amp0.__doc__
