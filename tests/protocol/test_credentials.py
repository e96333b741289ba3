"""Every credential of the vectors, for three networks and five wallets each."""

from __future__ import annotations

import contextlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from amp0.elements import wally
from amp0.elements.descriptor import Chain, DescriptorKey, WolletDescriptor
from amp0.elements.keys import ExtendedKey, KeyOrigin, Mnemonic, Slip77
from amp0.errors import Amp0Error, InvalidInput, RemoteProtocolError
from amp0.network import TEST_SERVICE_CHAIN_CODE, TEST_SERVICE_PUBKEY, Network
from amp0.protocol import credentials as c
from amp0.protocol.blob import BlobKeys
from tests.vectors import load

VECTORS = load("lwk-0.19.json")
STOCK = VECTORS["server_keys"]["regtest"]
NETWORKS = {
    "mainnet": Network.mainnet(),
    "testnet": Network.testnet(),
    "regtest": Network.regtest_default().replace(
        service_pubkey=bytes.fromhex(STOCK["pubkey"]), service_chain_code=bytes.fromhex(STOCK["chaincode"])
    ),
}
SIGNERS = [(name, i) for name in NETWORKS for i in range(5)]


def wallet(name: str, i: int) -> tuple[Network, dict[str, Any], ExtendedKey, c.Amp0SignerData]:
    network, vector = NETWORKS[name], VECTORS["networks"][name]["signers"][i]
    seed = Mnemonic(vector["mnemonic"]).seed()
    master = ExtendedKey.from_seed(seed, main=network.is_mainnet())
    return network, vector, master, c.Amp0SignerData.from_master(master, Slip77.from_seed(seed))


@pytest.mark.parametrize(("name", "i"), SIGNERS)
def test_keys_registration_and_login(name: str, i: int) -> None:
    network, vector, master, data = wallet(name, i)
    expected = vector["amp0_signer_data"]
    assert str(data.master_xpub) == expected["master_xpub"]
    assert str(data.register_xpub) == expected["register_xpub"]
    assert str(data.login_xpub) == expected["login_xpub"]
    assert str(data.client_secret_xpub) == expected["client_secret_xpub"]
    assert data.slip77_key.key.hex() == expected["slip77_key"]
    assert c.Amp0SignerData.from_string(str(data)) == data

    register = vector["register"]
    assert data.master_xpub.public_key.hex() == register["master_pubkey"]
    assert data.master_xpub.chain_code.hex() == register["chaincode"]
    assert data.gait_path().hex() == register["gait_path"]
    assert c.login_address(network, data.master_xpub.public_key) == vector["login_address"]
    for account, xpub in vector["account_xpub"].items():
        assert str(c.account_xpub(master, int(account))) == xpub

    wire = vector["wire_challenge"]
    for challenge, signature in [*vector["challenges"].items(), (wire["challenge"], wire["signature"])]:
        assert c.sign_challenge(master, challenge) == signature
        assert c.verify_challenge(data.master_xpub, challenge, bytes.fromhex(signature))
        assert not c.verify_challenge(data.master_xpub, "zzzzz", bytes.fromhex(signature))


@pytest.mark.parametrize(("name", "i"), SIGNERS)
def test_account_descriptor_under_the_service_key(name: str, i: int) -> None:
    network, vector, master, data = wallet(name, i)
    amp0 = vector["amp0"]
    descriptor = c.account_descriptor(
        network,
        gait=data.gait_path(),
        account=amp0["pointer"],
        master_fingerprint=data.master_xpub.fingerprint(),
        user_xpub=c.account_xpub(master, amp0["pointer"]),
        slip77=data.slip77_key,
    )
    check_account(network, descriptor, amp0)


@pytest.mark.parametrize("name", ["testnet", "mainnet"])
@pytest.mark.parametrize("i", range(5))
def test_account_descriptor_under_the_test_key(name: str, i: int) -> None:
    network, _, master, data = wallet(name, i)
    amp0 = VECTORS["test_server_key"][name][i]["amp0"]
    # Network refuses this key off liquidregtest, so the pieces are put together by hand.
    account, main = amp0["pointer"], network.is_mainnet()
    service = c.service_account_xpub(TEST_SERVICE_PUBKEY, TEST_SERVICE_CHAIN_CODE, data.gait_path(), account, main=main)
    origin = KeyOrigin(wally.hash160(TEST_SERVICE_PUBKEY)[:4], c.service_path(data.gait_path(), account))
    user = KeyOrigin(data.master_xpub.fingerprint(), c.account_path(account))
    descriptor = WolletDescriptor.of_amp0(
        slip77=data.slip77_key,
        service=DescriptorKey(origin, service),
        user=DescriptorKey(user, c.account_xpub(master, account), steps=(1,)),
    )
    check_account(network, descriptor, amp0)


def check_account(network: Network, descriptor: WolletDescriptor, amp0: dict[str, Any]) -> None:
    assert str(descriptor) == amp0["descriptor"]
    assert descriptor.is_amp0() is amp0["is_amp0"]
    assert descriptor.account == amp0["pointer"]
    for index, text in amp0["addresses"].items():
        assert str(descriptor.confidential_address(network, int(index))) == text
    for index, script in amp0["scripts"].items():
        assert str(descriptor.script_pubkey(Chain.EXTERNAL, int(index))) == script
    for index, key in amp0["blinding_keys"].items():
        assert descriptor.blinding_key(descriptor.script_bytes(int(index))).hex() == key


@pytest.mark.parametrize(("name", "i"), SIGNERS)
def test_watch_only_credentials(name: str, i: int) -> None:
    _, vector, _, data = wallet(name, i)
    expected = vector["watch_only"]
    username, password = expected["username"], expected["password"]
    if name == "regtest":  # the scrypt of the other networks is the same work for the same names
        if i == 0:
            assert c.watch_only_entropy(username, password).hex() == expected["scrypt_entropy"]
        keys = c.watch_only_keys(username, password)
        assert keys.username == expected["username_hash"]
        assert keys.password == expected["password_hash"]
        assert keys.blob_key.hex() == expected["wo_blob_aes_key"]
    keys = c.WatchOnlyKeys("", "", bytes.fromhex(expected["wo_blob_aes_key"]))
    enc_key = BlobKeys.from_client_secret(data.client_secret_xpub).enc_key
    assert enc_key.hex() == vector["blob"]["enc_key"]
    assert c.decrypt_blob_key(keys, expected["wo_blob_key_sent"]) == enc_key
    iv = bytes.fromhex(expected["wo_blob_key_sent"])[:16]
    assert c.encrypt_blob_key(keys, enc_key, random=lambda n: iv[:n]) == expected["wo_blob_key_sent"]


def test_gait_path_as_numbers_and_the_published_challenge() -> None:
    master = ExtendedKey.from_seed(
        Mnemonic("student lady today genius gentle zero satoshi book just link gauge tooth").seed(), main=False
    )
    register = master.derive(c.REGISTER_PATH)
    steps = c.gait_steps(c.gait_path(register))
    assert steps[:4] == (22614, 54459, 47431, 9334)
    assert len(steps) == 32
    assert c.service_path(c.gait_path(register), 0)[0] == 1
    digest = "e085d79be2636860a571e96346f4257f2fbbd79cbe69076155c26cba9c7c9ca4"
    assert c.challenge_hash("BZVE6").hex() == digest
    assert c.login_address(Network.regtest_default(), master.public_key) == "2dofAJ9jV6MjS2NLMp17nVYVZL4Z5s8Sm47"


@pytest.mark.parametrize(
    "challenge",
    ["A1b2", "A1b2Zz", "A1b 2", "A1-2Z", "A1b2é", "A1b2\n", "", None, 12345, ["A1b2Z"], "A1b2Z\n", "१२३४५"],
)
def test_b11_only_five_letters_or_digits_are_a_challenge(challenge: object) -> None:
    with pytest.raises(RemoteProtocolError, match="Amp0InvalidChallenge"):
        c.check_challenge(challenge)


def test_b02_only_the_strict_signature_of_the_login_key_counts() -> None:
    _, vector, master, data = wallet("regtest", 0)
    good = bytes.fromhex(vector["challenges"]["BZVE6"])
    compact = master.derive((5,))
    by_other_key = compact.sign(c.challenge_hash("BZVE6"), low_r=False)
    r, s_value = good[4 : 4 + good[3]], int.from_bytes(good[6 + good[3] :], "big")
    order = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
    high = (order - s_value).to_bytes(33, "big")
    high_s = b"\x30" + bytes((4 + len(r) + 33,)) + b"\x02" + bytes((len(r),)) + r + b"\x02\x21" + high
    for bad in (
        by_other_key,
        high_s,
        good + b"\x01",
        good[:-1],
        b"",
        b"\x30\x06\x02\x01\x00\x02\x01\x00",
        b"\x00" * 300,
    ):
        assert not c.verify_challenge(data.master_xpub, "BZVE6", bad)
    assert c.verify_challenge(data.master_xpub, "BZVE6", good)


def test_secrets_stay_out_of_repr() -> None:
    _, _, _, data = wallet("regtest", 0)
    keys = c.WatchOnlyKeys("name", "word", b"\x07" * 32)
    for value in (data, keys):
        assert data.slip77_key.key.hex() not in repr(value)
        assert "word" not in repr(value)
        assert "xpub" not in repr(value).lower().replace("tpub", "xpub")


def test_wrong_blob_keys_and_empty_credentials() -> None:
    keys = c.WatchOnlyKeys("", "", b"\x07" * 32)
    other = c.WatchOnlyKeys("", "", b"\x08" * 32)
    wrapped = c.encrypt_blob_key(keys, b"\x01" * 32)
    assert c.decrypt_blob_key(keys, wrapped) == b"\x01" * 32
    for bad in (wrapped[:-2], wrapped + "00", "zz" * 64, "", wrapped.replace(wrapped[:2], "  ", 1)):
        with pytest.raises(RemoteProtocolError):
            c.decrypt_blob_key(keys, bad)
    with pytest.raises(RemoteProtocolError):
        c.decrypt_blob_key(other, "00" * 64)
    for name, word in (("", "x"), ("x", "")):
        with pytest.raises(InvalidInput):
            c.watch_only_keys(name, word)


@given(st.text() | st.builds(lambda d: str(d), st.dictionaries(st.text(), st.text())))
def test_signer_data_parser_never_fails_otherwise(text: str) -> None:
    with pytest.raises(InvalidInput):
        c.Amp0SignerData.from_string(text)


@given(st.text(max_size=200))
def test_wrapped_key_parser_never_fails_otherwise(text: str) -> None:
    with contextlib.suppress(Amp0Error):
        c.decrypt_blob_key(c.WatchOnlyKeys("", "", b"\x07" * 32), text)
