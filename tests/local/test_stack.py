"""The local stack: its ports, its folder, its loopback, and that a failed start leaves nothing behind."""

from __future__ import annotations

import contextlib
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import httpx
import pytest

from amp0 import Amp0, Amp0Connected, Mnemonic, Network, Signer
from amp0.errors import ConfigError, NetworkMismatch
from amp0.local.hosting import bind, port_of
from amp0.local.stack import CHAIN_PORT, COSIGN_PORT, WAMP_PORT, Stack
from tests.interop.lwk_peer import four_digit_ports
from tests.patience import PATIENCE, until
from tests.server.killing import CONTEXT


def test_the_default_ports_are_those_of_the_default_network() -> None:
    network = Network.regtest_default()
    assert network.wamp_url == f"ws://localhost:{WAMP_PORT}/v2/ws"
    assert network.cosign_url == f"http://127.0.0.1:{COSIGN_PORT}"
    assert network.esplora_url == f"http://127.0.0.1:{CHAIN_PORT}"


def test_given_ports_are_taken_and_told() -> None:
    wamp, cosign, chain = four_digit_ports(3)
    with Stack(wamp_port=wamp, cosign_port=cosign, chain_port=chain) as stack:
        assert stack.to_json() == {
            "chain": f"http://127.0.0.1:{chain}",
            "wamp": f"ws://127.0.0.1:{wamp}/v2/ws",
            "cosign": f"http://127.0.0.1:{cosign}",
            "api": f"http://127.0.0.1:{cosign}/api",
            "network": "liquidregtest",
            "data_dir": None,
        }
        assert stack.network.uses_test_key()
        assert Network.from_server(stack.cosign_url) == stack.network
        for port in (wamp, cosign):
            assert httpx.get(f"http://127.0.0.1:{port}/v1/health", trust_env=False).status_code == 200


def test_a_port_in_use_is_said_and_leaves_nothing_running() -> None:
    """In a process of its own: the stack of another test may get a thread more meanwhile."""
    process = CONTEXT.Process(target=leave_nothing_running)
    process.start()
    process.join(PATIENCE)
    assert process.exitcode == 0


def leave_nothing_running() -> None:
    before = threading.active_count()
    with contextlib.closing(bind(0)) as taken:
        for name in ("chain_port", "wamp_port", "cosign_port"):
            ports: dict[str, Any] = {"chain_port": 0, "wamp_port": 0, "cosign_port": 0, name: port_of(taken)}
            with pytest.raises(ConfigError):
                Stack(**ports)
    assert threading.active_count() <= before + 1


def test_accounts_and_chain_survive_in_the_folder(tmp_path: Path) -> None:
    mnemonic = Mnemonic.from_random(12)
    with Stack.on_free_ports(data_dir=tmp_path / "stack") as stack:
        signer = Signer(mnemonic, stack.network)
        connected = Amp0Connected(stack.network, signer.amp0_signer_data())
        with connected.login(signer.amp0_sign_challenge(connected.get_challenge())) as session:
            amp_id = session.create_amp0_account(1, signer.amp0_account_xpub(1))
            session.create_watch_only("kept", "correct horse")
        with Amp0(stack.network, "kept", "correct horse", amp_id) as amp0:
            before = amp0.address(None).index()
        height = stack.dev.mine(5)
    with Stack.on_free_ports(data_dir=tmp_path / "stack") as stack:
        assert stack.dev.mine() == height + 1
        with Amp0(stack.network, "kept", "correct horse", amp_id) as amp0:
            assert amp0.last_index() == before
            assert amp0.address(None).index() == before + 1


def test_the_clock_moves_for_chain_and_server_and_stays_moved(tmp_path: Path) -> None:
    """Forgotten at a restart, the server would find itself in the past and loosen no second factor for so long."""
    ahead = 90 * 86_400
    with Stack.on_free_ports(data_dir=tmp_path) as stack:
        now = stack.dev.move_clock(ahead)
        assert abs(now - time.time() - ahead) < 60
        assert stack._server is not None
        factors = stack._server.services.factors
        factors.clock.require_steady()
        assert abs(factors.now() - now) < 60
        stack.dev.mine()
        with httpx.Client(base_url=stack.chain_url, trust_env=False) as client:
            tip = client.get(f"/block/{client.get('/blocks/tip/hash').text}").json()
        assert abs(tip["timestamp"] - now) < 60
        stack._server.upkeep.run()
    with Stack.on_free_ports(data_dir=tmp_path) as stack:
        assert stack._server is not None
        stack._server.services.factors.clock.require_steady()
        assert stack.clock.offset == ahead
    (tmp_path / "clock").write_text("soon", encoding="utf-8")
    with pytest.raises(ConfigError, match="delete it"):
        Stack.on_free_ports(data_dir=tmp_path)


def test_a_folder_that_is_a_file_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    with pytest.raises(ConfigError):
        Stack.on_free_ports(data_dir=tmp_path / "file")


def test_two_stacks_do_not_share_a_folder(tmp_path: Path) -> None:
    with Stack.on_free_ports(data_dir=tmp_path), pytest.raises(ConfigError):
        Stack.on_free_ports(data_dir=tmp_path)


def test_blocks_come_on_a_timer_when_asked_to() -> None:
    with Stack.on_free_ports(block_seconds=0.05) as stack, httpx.Client(trust_env=False) as client:
        until(lambda: int(client.get(f"{stack.chain_url}/blocks/tip/height").text) >= 5)


def test_the_network_of_a_stack_cannot_leave_this_machine(stack: Stack) -> None:
    with pytest.raises(NetworkMismatch, match="not on this machine"):
        stack.network.replace(cosign_url="https://example.org")


@pytest.mark.parametrize("path", ["/dev/faucet", "/dev/mine", "/dev/asset", "/dev/reorg", "/dev/outbox", "/dev/clock"])
def test_the_server_has_no_dev_routes_even_here(stack: Stack, path: str) -> None:
    request = urllib.request.Request(stack.cosign_url + path, data=b"{}", headers={"content-type": "application/json"})
    with pytest.raises(urllib.error.HTTPError) as answer:
        urllib.request.urlopen(request, timeout=PATIENCE)
    assert answer.value.code == 404


def test_the_outbox_is_empty_and_the_clock_moves() -> None:
    with Stack.on_free_ports() as stack:
        assert stack.dev.outbox() == []
        now = stack.dev.move_clock(3600)
        assert abs(now - time.time() - 3600) < PATIENCE
        assert abs(stack.clock() - now) < PATIENCE
        for wrong in ({}, {"offset_seconds": "1"}, {"offset_seconds": True}, {"offset_seconds": 1e300}, {"seconds": 1}):
            answer = httpx.post(f"{stack.chain_url}/dev/clock", json=wrong, trust_env=False)
            assert answer.status_code == 400, wrong
            assert "offset_seconds" in answer.json()["error"]
        assert stack.clock.offset == 3600
        # Only where the chain is: the server itself has no such doors.
        assert httpx.get(f"{stack.cosign_url}/dev/outbox", trust_env=False).status_code == 404


def test_a_node_is_served_where_asked_for(tmp_path: Path) -> None:
    """Its JSON-RPC is over the stack's chain; its cookie goes when the stack does."""
    with Stack.on_free_ports(data_dir=tmp_path, node_port=0) as stack:
        shown = stack.to_json()
        assert shown["node"] == stack.node_url is not None
        cookie = tmp_path / "node" / ".cookie"
        assert shown["node_cookie"] == str(cookie)
        user, _, password = cookie.read_text(encoding="ascii").partition(":")
        body = {"id": 1, "method": "getbestblockhash", "params": []}
        answer = httpx.post(stack.node_url, json=body, auth=(user, password), trust_env=False).json()
        assert answer["result"] == httpx.get(f"{stack.chain_url}/blocks/tip/hash", trust_env=False).text
    assert not cookie.exists()
