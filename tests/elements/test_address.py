"""Addresses of the vectors on three networks, and texts that are none."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from amp0.elements import wally
from amp0.elements.address import Address, AddressResult, p2pkh_address
from amp0.errors import InvalidAddress, NetworkMismatch
from amp0.network import Network
from tests.vectors import load

VECTORS = load("lwk-0.19.json")
NETWORKS = {"mainnet": Network.mainnet(), "testnet": Network.testnet(), "regtest": Network.regtest_default()}
PUBKEY = wally.public_key(b"\x07" * 32)
CONFIDENTIAL = "AzpuKmnzz3jPGL9GvG7hDvctd41x2PwVRxGynxxQZNLiNLvLGC55GqdmP7og6DGYCL5qZiA9bLBduMBR"


def texts(name: str) -> list[str]:
    found = []
    for vector in VECTORS["networks"][name]["signers"]:
        found += [*vector["amp0"]["addresses"].values(), *vector["wpkh_addresses"]]
    return found


@pytest.mark.parametrize("name", NETWORKS)
def test_addresses_of_the_vectors(name: str) -> None:
    network = NETWORKS[name]
    for text in texts(name):
        address = Address(text)
        assert str(address) == text
        assert address.network() == network
        assert address.is_blinded()
        assert Address.from_script(network, address.script, address.blinding_pubkey) == address
        plain = address.to_unconfidential()
        assert not plain.is_blinded()
        assert plain.to_unconfidential() is plain
        assert plain != address
        again = Address(str(plain), network)
        assert again == plain
        assert hash(again) == hash(plain)
        assert again.script == address.script == address.script_pubkey().to_bytes()


@pytest.mark.parametrize("name", NETWORKS)
def test_an_address_of_another_network_is_named(name: str) -> None:
    other = Network.testnet() if name == "mainnet" else Network.mainnet()
    for text in texts(name)[:1] + texts(name)[-1:]:
        with pytest.raises(NetworkMismatch, match=NETWORKS[name].name):
            Address(text, other)


def test_a_network_of_ones_own_keeps_its_identity() -> None:
    mine = Network.regtest_default().replace(name="mine", wamp_url="ws://127.0.0.1:7/v2/ws")
    assert Address(CONFIDENTIAL, mine).network() == mine
    assert Address(CONFIDENTIAL, mine) == Address(CONFIDENTIAL)


def test_login_address() -> None:
    vector = VECTORS["networks"]["testnet"]["signers"][0]
    digest = wally.hash160(bytes.fromhex(vector["register"]["master_pubkey"]))
    assert p2pkh_address(Network.testnet(), digest) == vector["login_address"]
    assert Address(vector["login_address"]).network() == Network.testnet()


@pytest.mark.parametrize(
    "script",
    ["", "6a", "51", "0013" + "00" * 19, "0021" + "00" * 33, "a914" + "00" * 19 + "87", "76a914" + "00" * 20 + "88ad"],
)
def test_scripts_without_address(script: str) -> None:
    for key in (None, PUBKEY):
        with pytest.raises(InvalidAddress):
            Address.from_script(Network.testnet(), bytes.fromhex(script), key)


@pytest.mark.parametrize(
    "script",
    [
        "0014" + "11" * 20,
        "0020" + "22" * 32,
        "5120" + "33" * 32,
        "a914" + "44" * 20 + "87",
        "76a914" + "55" * 20 + "88ac",
    ],
)
def test_every_kind_both_ways(script: str) -> None:
    raw = bytes.fromhex(script)
    for network in NETWORKS.values():
        for key in (None, PUBKEY):
            text = str(Address.from_script(network, raw, key))
            found = Address(text)
            assert (found.script, found.blinding_pubkey, found.network()) == (raw, key, network)


@pytest.mark.parametrize(
    "text",
    ["", "foo", "bc1qar0srrr7xfkvy5l643lydnw9re59gtzzwf5mdq", "1A1zP1eP5QGefi2DMPTfTL5SLmv7DivfNa", "ert1", "el1", "1",
     CONFIDENTIAL[:-1], CONFIDENTIAL + "1", CONFIDENTIAL.replace("z", "l", 1), "€" * 40, "a" * 1000],
)  # fmt: skip
def test_texts_that_are_no_address(text: str) -> None:
    with pytest.raises(InvalidAddress):
        Address(text)


def test_a_blinding_key_off_the_curve_is_refused() -> None:
    """Coins sent to such an address could be blinded for nobody."""
    off_curve = b"\x02" + b"\xff" * 32
    network = Network.regtest_default()
    text = wally.base58check_encode(bytes((network.blinded_prefix, network.p2sh_version)) + off_curve + bytes(20))
    with pytest.raises(InvalidAddress):
        Address(text)


@given(
    st.integers(0, len(CONFIDENTIAL) - 1), st.sampled_from("123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz")
)
def test_one_wrong_letter_is_noticed(place: int, letter: str) -> None:
    text = CONFIDENTIAL[:place] + letter + CONFIDENTIAL[place + 1 :]
    if text != CONFIDENTIAL:
        with pytest.raises(InvalidAddress):
            Address(text)


@given(st.text(max_size=150))
def test_parser_never_fails_otherwise(text: str) -> None:
    with contextlib.suppress(InvalidAddress):
        Address(text)
    with contextlib.suppress(InvalidAddress):
        Address("lq1" + text)


@given(st.binary(max_size=60), st.none() | st.binary(max_size=34))
def test_from_script_never_fails_otherwise(script: bytes, key: bytes | None) -> None:
    from amp0.errors import InvalidInput

    with contextlib.suppress(InvalidInput):
        Address.from_script(Network.regtest_default(), script, key)


def test_address_result() -> None:
    result = AddressResult(Address(CONFIDENTIAL), 7)
    assert (str(result.address()), result.index(), str(result)) == (CONFIDENTIAL, 7, CONFIDENTIAL)
    assert result == AddressResult(Address(CONFIDENTIAL), 7)
    assert Address(CONFIDENTIAL).qr_code_text() == CONFIDENTIAL
