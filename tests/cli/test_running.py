"""The commands that run until they are told to stop, as processes of their own."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from amp0 import Amp0Connected, IssuerClient, LoginFailed, Network, NetworkMismatch, Signer, Wollet
from amp0.issuer import Issue
from amp0.local.dev_client import DevClient
from tests.cli.conftest import PASSWORD
from tests.interop.lwk_peer import four_digit_ports
from tests.patience import PATIENCE

AMP0 = [sys.executable, "-c", "from amp0.cli import main; main()"]
KEYS = {"chain", "wamp", "cosign", "api", "network", "data_dir"}


@contextmanager
def running(*arguments: str, **options: Any) -> Iterator[tuple[subprocess.Popen[str], dict[str, Any]]]:
    """A command that has said that it is ready, and what it said."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("AMP0_")}
    process = subprocess.Popen(
        [*AMP0, *arguments, "--json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment | options.pop("env", {}),
        **options,
    )
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        if not line:
            pytest.fail(f"amp0 {arguments} did not start: {process.communicate(timeout=PATIENCE)[1]}")
        yield process, json.loads(line)
    finally:
        process.kill()
        process.communicate(timeout=PATIENCE)


def free(*names: str) -> list[str]:
    return [part for name in names for part in (name, "0")]


@pytest.mark.parametrize("kind", [signal.SIGTERM, signal.SIGINT], ids=["SIGTERM", "Ctrl-C"])
def test_stack_run_is_ready_when_it_says_so_and_stops_in_order(kind: signal.Signals, tmp_path: Path) -> None:
    folder = str(tmp_path / "stack")
    ports = free("--wamp-port", "--cosign-port", "--chain-port")
    with running("stack", "run", "--data-dir", folder, *ports) as (process, ready):
        assert ready.keys() == KEYS
        assert (ready["network"], ready["data_dir"]) == ("liquidregtest", folder)
        network = Network.from_server(ready["cosign"])
        assert network.wamp_url == ready["wamp"]
        assert network.uses_test_key()
        mined = httpx.post(f"{ready['chain']}/dev/mine", json={"blocks": 2}, trust_env=False).json()
        assert mined["height"] >= 2
        signer = Signer.random(network)
        with Amp0Connected(network, signer.amp0_signer_data()) as connected:
            assert len(connected.get_challenge()) == 5
        process.send_signal(kind)
        assert process.wait(timeout=PATIENCE) == 0
    with running("stack", "run", "--data-dir", folder, *ports) as (process, ready):
        tip = httpx.get(f"{ready['chain']}/blocks/tip/height", trust_env=False).text
        assert int(tip) == mined["height"]


def test_the_log_of_the_stack_has_time_level_and_part() -> None:
    """Its warnings were bare sentences: nobody could tell when, or which part said it."""
    with running("stack", "run", *free("--wamp-port", "--cosign-port", "--chain-port")) as (process, ready):
        with DevClient(ready["chain"]) as dev:
            dev.create_issuer("bonds", PASSWORD)
        (coin, token) = treasury_addresses(ready["cosign"])
        with IssuerClient(ready["api"], "bonds", PASSWORD) as client:
            request = Issue(
                name="Test Bond", amount=5, destination_address=coin, domain="example.com", ticker="LOG",
                pubkey="02" + "79be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798", precision=0,
                is_confidential=False, is_reissuable=True, reissuance_amount=1, reissuance_address=token,
                transfer_restricted=True,
            )  # fmt: skip
            client.lock_asset(client.issue(request).asset_uuid)
        process.send_signal(signal.SIGTERM)
        said = process.communicate(timeout=PATIENCE)[1]
    line = r"^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} WARNING amp0\.server\.policy policy change asset=1 .*action=lock"
    assert re.search(line, said, re.MULTILINE), said
    assert PASSWORD not in said


def treasury_addresses(server: str) -> list[str]:
    network = Network.from_server(server)
    wallet = Wollet(network, Signer.random(network).wpkh_slip77_descriptor(), None)
    return [str(wallet.address(index).address()) for index in range(2)]


def test_watch_goes_on_over_a_restart_of_the_server_and_stops_in_order(tmp_path: Path) -> None:
    folder, password = str(tmp_path / "stack"), tmp_path / "password"
    password.touch(mode=0o600)
    password.write_text("correct horse\n", encoding="utf-8")
    # Not such as connections are given: one of them may have it when the stack comes back.
    wamp, chain = map(str, four_digit_ports(2))
    ports = ["--wamp-port", wamp, "--chain-port", chain, "--cosign-port", "0"]
    with running("stack", "run", "--data-dir", folder, *ports) as (process, ready):
        network = Network.from_server(ready["cosign"])
        signer = Signer.random(network)
        connected = Amp0Connected(network, signer.amp0_signer_data())
        with connected.login(signer.amp0_sign_challenge(connected.get_challenge())) as session:
            session.create_amp0_account(1, signer.amp0_account_xpub(1))
            session.create_watch_only("watcher", "correct horse")
        description = tmp_path / "network.json"
        description.write_text(json.dumps(network.to_json()), encoding="utf-8")
        watching = ["watch", "--network", str(description), "--username", "watcher", "--password-file", str(password)]
        with running(*watching) as (watcher, first):
            assert first == {"event": "resync", "reason": "begun"}
            process.kill()
            process.wait(timeout=PATIENCE)
            with running("stack", "run", "--data-dir", folder, *ports) as (_, again):
                assert again["wamp"] == ready["wamp"]
                assert watcher.stdout is not None
                assert json.loads(watcher.stdout.readline()) == {"event": "resync", "reason": "reconnected"}
                httpx.post(f"{again['chain']}/dev/mine", json={}, trust_env=False)
                assert json.loads(watcher.stdout.readline())["event"] == "block"
                watcher.terminate()
                assert watcher.wait(timeout=PATIENCE) == 0


def test_stack_run_lets_the_pages_of_an_origin_in() -> None:
    page = "http://localhost:5173"
    ports = free("--wamp-port", "--cosign-port", "--chain-port")
    with running("stack", "run", "--allow-origin", page, *ports) as (_, ready):
        for origin in (page, "http://localhost:5174"):
            answer = httpx.get(f"{ready['cosign']}/v1/network", headers={"Origin": origin}, trust_env=False)
            assert answer.headers.get("access-control-allow-origin") == (page if origin == page else None)


def test_devchain_run_gives_coins_to_this_machine(tmp_path: Path) -> None:
    with running("devchain", "run", "--port", "0") as (process, ready):
        assert ready.keys() == {"chain", "network", "data_dir"}
        answer = httpx.post(f"{ready['chain']}/dev/asset", json={"satoshi": 10}, trust_env=False)
        assert len(answer.json()["asset_id"]) == 64
        process.terminate()
        assert process.wait(timeout=PATIENCE) == 0


@pytest.fixture
def passphrase(tmp_path: Path) -> Path:
    path = tmp_path / "passphrase"
    path.touch(mode=0o600)
    path.write_text("open sesame\n", encoding="utf-8")
    return path


def test_server_run_has_a_key_of_its_own_and_no_dev_routes(tmp_path: Path, passphrase: Path) -> None:
    arguments = ["server", "run", "--network", "liquidregtest", "--data-dir", str(tmp_path / "server")]
    arguments += ["--chain", "http://127.0.0.1:9", "--listen", "127.0.0.1:0", "--passphrase-file", str(passphrase)]
    with running(*arguments) as (process, ready):
        assert ready.keys() == {"wamp", "cosign", "network", "service_fingerprint", "listening"}
        for path in ("faucet", "asset", "mine", "reorg"):
            answer = httpx.post(f"{ready['cosign']}/dev/{path}", json={}, trust_env=False)
            assert answer.status_code == 404
        network = Network.from_server(ready["cosign"], service_fingerprint=ready["service_fingerprint"])
        assert not network.uses_test_key()
        with pytest.raises(NetworkMismatch):
            Network.from_server(ready["cosign"], service_fingerprint="00000000")
        signer, other = Signer.random(network), Signer.random(network)
        connected = Amp0Connected(network, signer.amp0_signer_data())
        with pytest.raises(LoginFailed):
            connected.login(other.amp0_sign_challenge(connected.get_challenge()))
        process.terminate()
        assert process.wait(timeout=PATIENCE) == 0
    with running(*arguments) as (_, again):
        assert again["service_fingerprint"] == ready["service_fingerprint"]


def test_server_run_reads_the_passphrase_from_a_descriptor(tmp_path: Path) -> None:
    reader, writer = os.pipe()
    os.write(writer, b"open sesame\n")
    os.close(writer)
    arguments = ["server", "run", "--data-dir", str(tmp_path / "server"), "--listen", "127.0.0.1:0"]
    with running(*arguments, "--passphrase-fd", str(reader), pass_fds=(reader,)) as (_, ready):
        os.close(reader)
        assert len(ready["service_fingerprint"]) == 8


@pytest.mark.parametrize(
    ("arguments", "environment", "says"),
    [
        (["server", "run"], {}, "data folder"),
        (["server", "run", "--data-dir", "{folder}"], {}, "passphrase"),
        (["server", "run"], {"AMP0_LISTENN": "x"}, "AMP0_LISTENN"),
        (["server", "run", "--data-dir", "{folder}"], {"AMP0_DATABASE_URL": "nonsense"}, "SQLite or PostgreSQL"),
        (["server", "run", "--listen", "nowhere"], {}, "host:port"),
        (["stack", "run", "--data-dir", "{file}/x"], {}, "data folder"),
        (["stack", "run", "--chain-port", "70000"], {}, "70000"),
    ],
)
def test_what_cannot_start_says_why_with_its_code(
    tmp_path: Path, arguments: list[str], environment: dict[str, str], says: str
) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    filled = [part.format(folder=tmp_path / "new", file=tmp_path / "file") for part in arguments]
    done = subprocess.run(
        [*AMP0, *filled], capture_output=True, text=True, check=False, env=os.environ | environment, timeout=PATIENCE
    )
    assert done.returncode == 11, done.stderr
    assert says in done.stderr
    assert "Traceback" not in done.stderr


def worked(command: list[str]) -> float:
    """Seconds that a command works, the best of five: how long others keep it from working is not counted."""
    taken = []
    for _ in range(5):
        before = os.times()
        subprocess.run(command, capture_output=True, check=True)
        after = os.times()
        taken.append(after.children_user + after.children_system - before.children_user - before.children_system)
    return min(taken)


def test_help_is_instant() -> None:
    """The promise is 250 ms, where Python itself starts in 20."""
    assert worked([*AMP0, "--help"]) < max(0.25, 12 * worked([sys.executable, "-c", ""]))
