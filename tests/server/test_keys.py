from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from amp0.elements import script, wally
from amp0.elements.keys import ExtendedKey
from amp0.errors import ConfigError, InvalidInput
from amp0.network import TEST_SERVICE_CHAIN_CODE, TEST_SERVICE_PUBKEY
from amp0.server.keys import (
    FEE_WALLET_KEY,
    KEY_FILE,
    ServiceKeys,
    create_key_file,
    create_seed_file,
    load_key_file,
    load_seed_file,
)

GAIT_PATH = bytes.fromhex(
    "5856d4bbb94724768c337e1cc547b48df2b68068b9399f1c2d84f1a6c5824eb4"
    "788d3c17b2635cf8f90de4c2d3a2ba3284f6518d843f6801ac9894c033e4640f"
)
VECTOR = ServiceKeys.from_seed(hashlib.sha512(b"fake green backend").digest())


def test_the_vector_of_a_live_gdk_wallet() -> None:
    """A service key and a wallet that green_gdk derived the same addresses from."""
    assert VECTOR.pubkey.hex() == "020ccdeed4fbb85e2331163c0b98fc8d2abc0e54ce3bba9784aecbc6ad3771fbb5"
    assert VECTOR.chain_code.hex() == "f2fed03e7744564010f37d6f3e7bf1b00cf69346b444625e49e875a4b52a575f"
    green = VECTOR.public_key(GAIT_PATH, 1, 1)
    user = bytes.fromhex("0299ee24d53fdb876924a0688889db9981f5595b40ae3175078f57b6ca21e3b192")
    assert green.hex() == "02c2837c640bc710ecd35643102f6fd45c431ac94ff142f9ee2d69efcce5b438b7"
    output = script.p2sh_p2wsh(script.multisig_2of2(green, user))
    assert output.hex() == "a9142340c270c4a0d51de1cfdc2b1bc53a89fda2478387"
    assert (
        VECTOR.public_key(GAIT_PATH, 1, 2).hex() == "0378652f0e63225a98b29fa9978d9466d0909598388e6278fa54111c73ed870b96"
    )


def test_the_test_key_is_recognised_by_its_public_key() -> None:
    keys = ServiceKeys.test_key()
    assert (keys.pubkey, keys.chain_code) == (TEST_SERVICE_PUBKEY, TEST_SERVICE_CHAIN_CODE)
    assert keys.fingerprint.hex() == "2de67592"
    assert keys.is_test_key
    assert not VECTOR.is_test_key


def test_account_zero_has_a_path_of_its_own() -> None:
    assert VECTOR.public_key(GAIT_PATH, 0, 1) != VECTOR.public_key(GAIT_PATH, 1, 1)
    path = (1, *(int.from_bytes(GAIT_PATH[i : i + 2], "big") for i in range(0, 64, 2)), 7)
    master = ExtendedKey.from_seed(hashlib.sha512(b"fake green backend").digest(), main=False)
    assert VECTOR.public_key(GAIT_PATH, 0, 7) == master.derive(path).public_key


@given(account=st.integers(0, 16383), pointer=st.integers(1, 2**31 - 1), digest=st.binary(min_size=32, max_size=32))
def test_a_signature_verifies_with_the_public_key_of_its_address(account: int, pointer: int, digest: bytes) -> None:
    der = VECTOR.sign(GAIT_PATH, account, pointer, digest)
    assert wally.ecdsa_verify(VECTOR.public_key(GAIT_PATH, account, pointer), digest, der)
    assert len(der) <= 70


@given(st.binary(min_size=32, max_size=32), st.binary(min_size=32, max_size=32))
def test_g11_nonces_follow_from_the_message_alone(first: bytes, second: bytes) -> None:
    """RFC 6979: the same message gives the same r in any process, another message another one."""

    def r(digest: bytes) -> bytes:
        der = ServiceKeys.test_key().sign(GAIT_PATH, 1, 1, digest)
        return der[4 : 4 + der[3]]

    assert r(first) == r(first)
    assert (r(first) == r(second)) == (first == second)


def test_a_gait_path_has_64_bytes() -> None:
    with pytest.raises(InvalidInput):
        VECTOR.account_pubkey(GAIT_PATH[:-1], 1)


def test_the_key_is_not_in_its_repr() -> None:
    assert repr(ServiceKeys.test_key()) == "ServiceKeys(2de67592)"


# --- the file ------------------------------------------------------------------------------------------------------


def test_the_key_file_opens_again_with_its_passphrase(tmp_path: Path) -> None:
    path = tmp_path / KEY_FILE
    made = create_key_file(path, b"correct horse", os.urandom, main=True)
    opened = load_key_file(path, b"correct horse", main=True)
    assert (opened.pubkey, opened.chain_code) == (made.pubkey, made.chain_code)
    assert [entry.name for entry in tmp_path.iterdir()] == [KEY_FILE]


def test_two_keys_are_two_keys(tmp_path: Path) -> None:
    first = create_key_file(tmp_path / "a", b"x", os.urandom, main=False)
    assert first.pubkey != create_key_file(tmp_path / "b", b"x", os.urandom, main=False).pubkey


def test_j02_the_key_file_is_its_owner_s_alone(tmp_path: Path) -> None:
    path = tmp_path / KEY_FILE
    create_key_file(path, b"correct horse", os.urandom, main=False)
    assert path.stat().st_mode & 0o777 == 0o600
    path.chmod(0o640)
    with pytest.raises(ConfigError, match="chmod"):
        load_key_file(path, b"correct horse", main=False)


def test_j02_the_seed_is_not_in_the_file(tmp_path: Path) -> None:
    path = tmp_path / KEY_FILE
    create_key_file(path, b"correct horse", lambda n: b"\x07" * n, main=False)
    assert (b"\x07" * 32).hex() not in path.read_text()
    with pytest.raises(ConfigError, match="passphrase"):
        create_key_file(tmp_path / "other", b"", os.urandom, main=False)


def test_an_existing_key_is_never_overwritten(tmp_path: Path) -> None:
    path = tmp_path / KEY_FILE
    create_key_file(path, b"correct horse", os.urandom, main=False)
    before = path.read_bytes()
    with pytest.raises(ConfigError):
        create_key_file(path, b"correct horse", os.urandom, main=False)
    assert path.read_bytes() == before


def test_a_wrong_passphrase_and_a_damaged_file_are_refused(tmp_path: Path) -> None:
    path = tmp_path / KEY_FILE
    create_key_file(path, b"correct horse", os.urandom, main=False)
    with pytest.raises(ConfigError, match="passphrase"):
        load_key_file(path, b"wrong horse", main=False)
    content = json.loads(path.read_text())
    for name in content:
        damaged = dict(content)
        del damaged[name]
        if name == "fingerprint":
            continue
        path.write_text(json.dumps(damaged))
        with pytest.raises(ConfigError):
            load_key_file(path, b"correct horse", main=False)
    path.write_text(json.dumps({**content, "salt": "00" * 16}))
    with pytest.raises(ConfigError):
        load_key_file(path, b"correct horse", main=False)
    path.write_text("[]")
    with pytest.raises(ConfigError):
        load_key_file(path, b"correct horse", main=False)
    with pytest.raises(ConfigError):
        load_key_file(tmp_path / "missing", b"correct horse", main=False)


def test_one_kind_of_key_does_not_open_as_another(tmp_path: Path) -> None:
    """A fee wallet's file in the place of the service key's would make a server that nobody has an account with."""
    fees, service = tmp_path / "fees", tmp_path / "service"
    seed = create_seed_file(fees, b"correct horse", os.urandom, what=FEE_WALLET_KEY)
    assert load_seed_file(fees, b"correct horse", what=FEE_WALLET_KEY) == seed
    assert fees.stat().st_mode & 0o777 == 0o600
    with pytest.raises(ConfigError, match="no service key"):
        load_key_file(fees, b"correct horse", main=False)
    create_key_file(service, b"correct horse", os.urandom, main=False)
    with pytest.raises(ConfigError, match="no fee wallet key"):
        load_seed_file(service, b"correct horse", what=FEE_WALLET_KEY)
    # Nor when the name in the file is changed: the box is bound to it.
    renamed = json.loads(fees.read_text()) | {"format": "amp0 service key 1"}
    fees.write_text(json.dumps(renamed))
    with pytest.raises(ConfigError, match="passphrase"):
        load_key_file(fees, b"correct horse", main=False)
