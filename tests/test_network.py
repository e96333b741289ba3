"""Network: the real constants, and where the test service key may not go."""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from amp0.elements.keys import ExtendedKey
from amp0.errors import CallFailed, ConnectionFailed, InvalidInput, NetworkMismatch, RemoteProtocolError
from amp0.network import (
    MAX_NETWORK_JSON,
    TEST_SERVICE_CHAIN_CODE,
    TEST_SERVICE_PUBKEY,
    TEST_SERVICE_SEED,
    Network,
    is_loopback_url,
    require_secure_url,
)
from tests.vectors import load

VECTORS = load("lwk-0.19.json")
KNOWN = {"mainnet": Network.mainnet(), "testnet": Network.testnet(), "regtest": Network.regtest_default()}
OWN_KEY = ExtendedKey.from_seed(b"\x01" * 32, main=False)
"""A service key that is not the test key."""


@pytest.mark.parametrize("name", KNOWN)
def test_constants_are_those_of_lwk(name: str) -> None:
    network, vector = KNOWN[name], VECTORS["networks"][name]
    assert network.policy_asset() == vector["policy_asset"]
    assert network.genesis_hash() == network.genesis_block_hash() == vector["genesis_hash"]
    assert str(network) == vector["name"]
    assert network.is_mainnet() is (name == "mainnet")
    key = VECTORS["server_keys"]["test" if name == "regtest" else name]
    assert network.service_pubkey.hex() == key["pubkey"]
    assert network.service_chain_code.hex() == key["chaincode"]
    assert network.service_fingerprint() == key["fingerprint"]


def test_the_test_key_is_the_master_of_its_published_seed() -> None:
    master = ExtendedKey.from_seed(TEST_SERVICE_SEED, main=False)
    assert (master.public_key, master.chain_code) == (TEST_SERVICE_PUBKEY, TEST_SERVICE_CHAIN_CODE)


@pytest.mark.parametrize("network", KNOWN.values(), ids=KNOWN)
def test_json_round_trip(network: Network) -> None:
    assert Network.from_json(network.to_json()) == network
    assert Network.from_json(json.dumps(network.to_json())) == network
    assert hash(Network.from_json(network.to_json())) == hash(network)


def test_json_that_gdk_worked_with_is_read() -> None:
    fields = {
        "name": "Fake AMP", "network": "fake-amp", "server_type": "green", "liquid": True, "mainnet": False,
        "development": True, "wamp_url": "ws://127.0.0.1:18765/v2/ws", "wamp_cert_pins": [], "wamp_cert_roots": [],
        "service_pubkey": "020ccdeed4fbb85e2331163c0b98fc8d2abc0e54ce3bba9784aecbc6ad3771fbb5",
        "service_chain_code": "f2fed03e7744564010f37d6f3e7bf1b00cf69346b444625e49e875a4b52a575f",
        "policy_asset": Network.regtest_default().policy_asset(),
        "genesis_hash": Network.regtest_default().genesis_hash(),
        "p2pkh_version": 235, "p2sh_version": 75, "blinded_prefix": 4, "bech32_prefix": "ert", "blech32_prefix": "el",
        "bip21_prefix": "liquidnetwork", "csv_buckets": [20, 1440, 65535], "max_reorg_blocks": 2, "min_fee_rate": None,
    }  # fmt: skip
    network = Network.from_json(fields)
    assert network.name == "fake-amp"
    assert network.min_fee_rate == 100
    assert network.cosign_url == ""
    assert set(fields) <= set(network.to_json())


@pytest.mark.parametrize("url", ["wss://amp.example/v2/ws", "ws://10.0.0.7:8080/v2/ws", "ws://localhost.example/v2/ws"])
def test_j10_the_test_key_stays_on_loopback(url: str) -> None:
    with pytest.raises(NetworkMismatch, match="loopback"):
        Network.regtest_default().replace(wamp_url=url)
    for field in ("cosign_url", "esplora_url"):
        with pytest.raises(NetworkMismatch, match="loopback"):
            Network.regtest_default().replace(**{field: url.replace("ws", "http", 1)})


@pytest.mark.parametrize("network", [Network.mainnet(), Network.testnet()])
def test_j10_the_test_key_is_refused_on_other_chains(network: Network) -> None:
    local = {"wamp_url": "ws://127.0.0.1:1/v2/ws", "cosign_url": "http://[::1]:2", "esplora_url": ""}
    with pytest.raises(NetworkMismatch, match="liquidregtest"):
        network.replace(service_pubkey=TEST_SERVICE_PUBKEY, **local)
    # By its public key: another chain code or name does not help, and no flag exists to say otherwise.
    with pytest.raises(NetworkMismatch):
        network.replace(service_pubkey=TEST_SERVICE_PUBKEY, service_chain_code=bytes(32), name="mine", **local)
    text = json.dumps({**network.to_json(), "service_pubkey": TEST_SERVICE_PUBKEY.hex(), **local})
    with pytest.raises(NetworkMismatch):
        Network.from_json(text)


@pytest.mark.parametrize(
    ("url", "local"),
    [
        ("ws://localhost:8080/v2/ws", True), ("http://127.0.0.1", True), ("http://127.8.9.1:1", True),
        ("http://[::1]:80/", True), ("http://[::ffff:127.0.0.1]", True), ("http://LOCALHOST/", True),
        ("http://128.0.0.1", False), ("http://localhost.evil.example", False), ("http://0.0.0.0", False),
        ("http://[::ffff:10.0.0.1]", False), ("http://127.0.0.1.nip.io", False),
    ],
)  # fmt: skip
def test_loopback(url: str, local: bool) -> None:
    assert is_loopback_url(url) is local


@pytest.mark.parametrize(
    "url",
    ["http://127.0.0.1@evil.example", "http://evil.example\\@127.0.0.1", "127.0.0.1:80", "", "http://", "http://a b",
     "http://127.0.0.1:port", "http://127.0.0.1\n", "http://[::1"],
)  # fmt: skip
def test_urls_that_parsers_disagree_about_are_refused(url: str) -> None:
    with pytest.raises(InvalidInput):
        is_loopback_url(url)


def test_a16_plain_text_only_to_this_machine() -> None:
    require_secure_url("wss://amp.example")
    require_secure_url("ws://127.0.0.1:8080")
    require_secure_url("http://amp.example", allow_insecure=True)
    for url in ("ws://amp.example", "http://10.0.0.1:9908", "ftp://amp.example"):
        with pytest.raises(InvalidInput, match="not encrypted"):
            require_secure_url(url)


@pytest.mark.parametrize(
    "change",
    [
        {"name": "a/b"}, {"policy_asset_hex": "zz"}, {"genesis_hash_hex": "AB" * 32}, {"p2sh_version": 256},
        {"bech32_prefix": "EX"}, {"service_pubkey": b"\x04" + bytes(32)}, {"service_chain_code": b""},
        {"csv_buckets": ()}, {"csv_buckets": (5, 5)}, {"csv_buckets": (0,)}, {"csv_buckets": (65536,)},
        {"min_fee_rate": -1}, {"wamp_url": "http://127.0.0.1"}, {"cosign_url": "ws://127.0.0.1"},
        {"esplora_url": "nonsense"}, {"no_such_field": 1},
    ],
)  # fmt: skip
def test_fields_out_of_shape_are_refused(change: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput):
        Network.regtest_default().replace(**change)


def test_names_and_regtest_with_another_asset() -> None:
    assert Network.by_name("testnet") is Network.testnet()
    assert Network.by_name("liquid") is Network.mainnet()
    with pytest.raises(InvalidInput, match="liquidregtest"):
        Network.by_name("bitcoin")
    assert Network.regtest("aa" * 32).policy_asset() == "aa" * 32


@settings(max_examples=40)
@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(), lambda c: st.lists(c) | st.dictionaries(st.text(), c)
    )
)
def test_json_parser_never_fails_otherwise(value: Any) -> None:
    fields = Network.regtest_default().to_json()
    for key in ("network", "mainnet", "csv_buckets", "wamp_url", "service_pubkey", "min_fee_rate"):
        with contextlib.suppress(InvalidInput):
            Network.from_json({**fields, key: value})
    with contextlib.suppress(InvalidInput):
        Network.from_json(json.dumps(value))


# -- from_server ------------------------------------------------------------------------------


@contextlib.contextmanager
def serving(body: bytes, status: int = 200) -> Iterator[str]:
    """A server on loopback that answers every GET with ``body``."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


def described(**changes: Any) -> bytes:
    network = Network.regtest_default().replace(
        service_pubkey=OWN_KEY.public_key, service_chain_code=OWN_KEY.chain_code, **changes
    )
    return json.dumps(network.to_json()).encode()


def test_from_server_on_loopback() -> None:
    fingerprint = OWN_KEY.fingerprint().hex()
    with serving(described()) as url:
        network = Network.from_server(url)
        assert network.service_pubkey == OWN_KEY.public_key
        assert Network.from_server(url.replace("http", "ws") + "/v2/ws/", fingerprint) == network
        assert Network.from_server(url, OWN_KEY.public_key.hex() + OWN_KEY.chain_code.hex()) == network
        for wrong in ("2de67592", "00" * 20, "02" + "00" * 32, OWN_KEY.public_key.hex() + "00" * 32):
            with pytest.raises(NetworkMismatch, match="not the"):
                Network.from_server(url, wrong)
        for nonsense in ("", "2de6759", "2de67592ff", "not hex!"):
            with pytest.raises(InvalidInput):
                Network.from_server(url, nonsense)


def test_from_server_off_loopback_needs_the_fingerprint_and_encryption() -> None:
    with pytest.raises(NetworkMismatch, match="fingerprint"):
        Network.from_server("https://amp.invalid")
    with pytest.raises(InvalidInput, match="not encrypted"):
        Network.from_server("http://amp.invalid", "2de67592")


def test_from_server_without_fingerprint_believes_only_loopback_urls() -> None:
    with serving(described(wamp_url="wss://amp.example/v2/ws")) as url:
        with pytest.raises(NetworkMismatch, match=r"amp\.example"):
            Network.from_server(url)
        assert Network.from_server(url, OWN_KEY.fingerprint().hex()).wamp_url == "wss://amp.example/v2/ws"


def test_from_server_says_what_went_wrong() -> None:
    with serving(b"x" * (MAX_NETWORK_JSON + 1)) as url, pytest.raises(RemoteProtocolError):
        Network.from_server(url)
    with serving(b"[]") as url, pytest.raises(InvalidInput):
        Network.from_server(url)
    with serving(b"nothing here", 404) as url, pytest.raises(CallFailed, match="404"):
        Network.from_server(url)
    with serving(b"") as url:
        gone = url
    with pytest.raises(ConnectionFailed):
        Network.from_server(gone)
