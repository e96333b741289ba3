"""The client blob: every write of the vectors read back, and everything a server could do to it."""

from __future__ import annotations

import base64
import contextlib
import zlib
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from amp0.elements.keys import ExtendedKey, Mnemonic, Slip77
from amp0.errors import RemoteProtocolError
from amp0.protocol.blob import MAX_BLOB_BYTES, BlobKeys, ClientBlob, blob_hmac, check_blob_hmac
from amp0.protocol.credentials import REGISTER_PATH, Amp0SignerData, account_path, account_xpub
from amp0.protocol.rpc import ZERO_HMAC
from tests.vectors import load

VECTORS = load("lwk-0.19.json")
KEYS = BlobKeys(b"\x01" * 32, b"\x02" * 32)


def wallet(name: str, i: int) -> tuple[dict[str, Any], ExtendedKey, Amp0SignerData]:
    vector = VECTORS["networks"][name]["signers"][i]
    seed = Mnemonic(vector["mnemonic"]).seed()
    master = ExtendedKey.from_seed(seed, main=name == "mainnet")
    return vector, master, Amp0SignerData.from_master(master, Slip77.from_seed(seed))


@pytest.mark.parametrize("name", ["regtest", "testnet", "mainnet"])
@pytest.mark.parametrize("i", range(5))
def test_every_write_of_the_vectors(name: str, i: int) -> None:
    vector, master, data = wallet(name, i)
    keys = BlobKeys.from_client_secret(data.client_secret_xpub)
    assert keys.enc_key.hex() == vector["blob"]["enc_key"]
    assert keys.hmac_key.hex() == vector["blob"]["hmac_key"]
    for write in vector["blob"]["writes"]:
        assert check_blob_hmac(keys, write["blob_b64"], write["hmac"])
        assert not check_blob_hmac(keys, write["blob_b64"], write["previous_hmac"])
        blob = ClientBlob.decrypt(keys.enc_key, write["blob_b64"])
        assert list(blob.places) == write["decoded"]
        assert msgspec.msgpack.encode(list(blob.places)).hex() == write["msgpack_hex"]
        assert blob.pack()[8:10].hex() == write["zlib_header"]
        assert blob.slip77 == data.slip77_key
        listed = blob.xpub_at(())
        assert listed is not None
        assert listed.same_key(data.master_xpub)
    final = ClientBlob.decrypt(keys.enc_key, vector["blob"]["writes"][-1]["blob_b64"])
    pointer = vector["amp0"]["pointer"]
    assert final.username == vector["watch_only"]["username"]
    assert final.xpub_at(account_path(pointer)) == account_xpub(master, pointer)


def test_a_blob_of_ours() -> None:
    _, master, data = wallet("testnet", 1)
    blob = ClientBlob.new(data)
    assert blob.version == 1
    assert blob.username == ""
    assert blob.slip77 == data.slip77_key
    assert blob.xpub_at(REGISTER_PATH) == data.register_xpub
    assert blob.xpub_at(account_path(1)) is None
    xpub = account_xpub(master, 1)
    later = blob.with_account(1, xpub).with_username("venue")
    assert later.version == 3
    assert later.xpub_at(account_path(1)) == xpub
    assert later.username == "venue"
    # The same key in another spelling (GDK leaves the parent fingerprint out) is not listed twice.
    respelled = ExtendedKey(xpub.public_key, xpub.chain_code, xpub.main, 2, bytes(4), xpub.child_number)
    assert later.with_account(1, respelled) == later
    text, mac = later.encrypt(KEYS)
    assert check_blob_hmac(KEYS, text, mac)
    assert ClientBlob.decrypt(KEYS.enc_key, text) == later
    assert later.encrypt(KEYS)[0] != text
    assert len(msgspec.msgpack.decode(zlib.decompress(later.pack()[8:]))) == 32


def test_what_others_keep_there_survives_our_changes() -> None:
    _, master, data = wallet("regtest", 0)
    # As GDK writes it (decoded live), with a place we do not know.
    gdk: list[Any] = [7, {"0": "main", "1": "my amp"}, {"ab" * 32: "a memo"}, {"1": True}, {"key": "89" * 64}]
    gdk += [{"username": "userlwk001", "xpubs": {str(data.master_xpub): []}}, {"items": {"x": "y"}}, *[None] * 25]
    blob = ClientBlob(tuple(gdk))
    changed = blob.with_account(2, account_xpub(master, 2)).with_keys_of(data)
    assert changed.version == 9
    assert changed.places[1:5] == blob.places[1:5]
    assert changed.places[6] == {"items": {"x": "y"}}
    assert changed.username == "userlwk001"
    assert changed.slip77.key == bytes.fromhex("89" * 32)  # the last 32 of GDK's 64 bytes
    assert changed.xpub_at(REGISTER_PATH) == data.register_xpub
    assert changed.with_keys_of(data) == changed


def test_a_wallet_that_keeps_its_blinding_key_back() -> None:
    _, _, data = wallet("regtest", 0)
    places = list(ClientBlob.new(data).places)
    places[4] = {"denied": True}
    blob = ClientBlob(tuple(places))
    with pytest.raises(RemoteProtocolError, match="no blinding key"):
        blob.slip77  # noqa: B018
    assert blob.with_keys_of(data) == blob


@pytest.mark.parametrize("watch_only", [None, 5, {"xpubs": 5}, {"xpubs": {}}, {}])
def test_missing_lists_read_as_empty(watch_only: Any) -> None:
    blob = ClientBlob((1, None, None, None, None, watch_only, *[None] * 26))
    assert blob.xpubs == {}
    assert blob.username == ""


@pytest.mark.parametrize("xpubs", [{"x": 5}, {"x": ["a"]}, {"x": [-1]}, {"x": [2**32]}, {5: []}, {"x": [True]}])
def test_lists_of_keys_out_of_shape(xpubs: Any) -> None:
    blob = ClientBlob((1, None, None, None, None, {"xpubs": xpubs}, *[None] * 26))
    with pytest.raises(RemoteProtocolError):
        blob.xpubs  # noqa: B018


def test_a_key_that_is_none() -> None:
    blob = ClientBlob((1, None, None, None, None, {"xpubs": {"not a key": []}}, *[None] * 26))
    with pytest.raises(RemoteProtocolError):
        blob.xpub_at(())


def test_b10_tampering_is_noticed() -> None:
    _, _, data = wallet("regtest", 0)
    text, mac = ClientBlob.new(data).encrypt(KEYS)
    raw = base64.b64decode(text)
    for place in (0, 12, len(raw) - 1):
        altered = base64.b64encode(raw[:place] + bytes((raw[place] ^ 1,)) + raw[place + 1 :]).decode()
        assert not check_blob_hmac(KEYS, altered, mac)
        with pytest.raises(RemoteProtocolError):
            ClientBlob.decrypt(KEYS.enc_key, altered)
    assert not check_blob_hmac(KEYS, text, ZERO_HMAC)
    assert not check_blob_hmac(KEYS, "not base64", mac)
    with pytest.raises(RemoteProtocolError):
        ClientBlob.decrypt(b"\x09" * 32, text)


def test_b10_a_blob_that_inflates_beyond_bounds() -> None:
    bomb = b"\x01\x00\x00\x00" + bytes(4) + zlib.compress(b"\x00" * (MAX_BLOB_BYTES + 1), 9)
    with pytest.raises(RemoteProtocolError, match="unpack"):
        ClientBlob.unpack(bomb)
    nested = b"\x91" * 100_000 + b"\x00"
    with pytest.raises(RemoteProtocolError, match="unpack"):
        ClientBlob.unpack(bytes(8) + zlib.compress(nested))


@given(st.binary(max_size=300))
def test_unpacking_never_fails_otherwise(data: bytes) -> None:
    for plaintext in (data, bytes(8) + zlib.compress(data)):
        with contextlib.suppress(RemoteProtocolError):
            blob = ClientBlob.unpack(plaintext)
            with contextlib.suppress(RemoteProtocolError):
                assert isinstance(blob.xpubs, dict)
            assert isinstance(blob.version, int)


@given(st.text(max_size=200))
def test_decrypting_never_fails_otherwise(text: str) -> None:
    with pytest.raises(RemoteProtocolError):
        ClientBlob.decrypt(KEYS.enc_key, text)


def test_secrets_stay_out_of_repr() -> None:
    _, _, data = wallet("regtest", 0)
    assert data.slip77_key.key.hex() not in repr(ClientBlob.new(data))
    assert KEYS.enc_key.hex() not in repr(KEYS)
    assert blob_hmac(KEYS.hmac_key, b"") != ZERO_HMAC
