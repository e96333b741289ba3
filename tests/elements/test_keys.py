"""Mnemonics, BIP32, SLIP77, paths and signed messages: published vectors, then everything that is wrong."""

# ruff: noqa: E501 - published keys stay on one line

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from amp0.elements.keys import (
    HARDENED,
    DerivationPath,
    ExtendedKey,
    KeyOrigin,
    Mnemonic,
    SecretKey,
    Slip77,
    bip85_mnemonic,
    parse_path,
    path_to_string,
    signed_message_hash,
)
from amp0.errors import InvalidKey, InvalidMnemonic
from tests.vectors import load

VECTORS = load("lwk-0.19.json")
ABOUT = "abandon " * 11 + "about"
MASTER = ExtendedKey.from_seed(Mnemonic(ABOUT).seed(), main=False)

# BIP32, test vectors 1 and 2: seed, then (path, xpub, xprv).
BIP32 = [
    (
        "000102030405060708090a0b0c0d0e0f",
        [
            ("m", "xpub661MyMwAqRbcFtXgS5sYJABqqG9YLmC4Q1Rdap9gSE8NqtwybGhePY2gZ29ESFjqJoCu1Rupje8YtGqsefD265TMg7usUDFdp6W1EGMcet8",
             "xprv9s21ZrQH143K3QTDL4LXw2F7HEK3wJUD2nW2nRk4stbPy6cq3jPPqjiChkVvvNKmPGJxWUtg6LnF5kejMRNNU3TGtRBeJgk33yuGBxrMPHi"),
            ("m/0h", "xpub68Gmy5EdvgibQVfPdqkBBCHxA5htiqg55crXYuXoQRKfDBFA1WEjWgP6LHhwBZeNK1VTsfTFUHCdrfp1bgwQ9xv5ski8PX9rL2dZXvgGDnw",
             "xprv9uHRZZhk6KAJC1avXpDAp4MDc3sQKNxDiPvvkX8Br5ngLNv1TxvUxt4cV1rGL5hj6KCesnDYUhd7oWgT11eZG7XnxHrnYeSvkzY7d2bhkJ7"),
            ("m/0h/1/2h/2/1000000000", "xpub6H1LXWLaKsWFhvm6RVpEL9P4KfRZSW7abD2ttkWP3SSQvnyA8FSVqNTEcYFgJS2UaFcxupHiYkro49S8yGasTvXEYBVPamhGW6cFJodrTHy",
             "xprvA41z7zogVVwxVSgdKUHDy1SKmdb533PjDz7J6N6mV6uS3ze1ai8FHa8kmHScGpWmj4WggLyQjgPie1rFSruoUihUZREPSL39UNdE3BBDu76"),
        ],
    ),
    (
        "fffcf9f6f3f0edeae7e4e1dedbd8d5d2cfccc9c6c3c0bdbab7b4b1aeaba8a5a29f9c999693908d8a8784817e7b7875726f6c696663605d5a5754514e4b484542",
        [
            ("m/0/2147483647h/1/2147483646h/2", "xpub6FnCn6nSzZAw5Tw7cgR9bi15UV96gLZhjDstkXXxvCLsUXBGXPdSnLFbdpq8p9HmGsApME5hQTZ3emM2rnY5agb9rXpVGyy3bdW6EEgAtqt",
             "xprvA2nrNbFZABcdryreWet9Ea4LvTJcGsqrMzxHx98MMrotbir7yrKCEXw7nadnHM8Dq38EGfSh6dqA9QWTyefMLEcBYJUuekgW4BYPJcr9E7j"),
        ],
    ),
]  # fmt: skip


@pytest.mark.parametrize(("seed", "steps"), BIP32)
def test_bip32_vectors(seed: str, steps: list[tuple[str, str, str]]) -> None:
    master = ExtendedKey.from_seed(bytes.fromhex(seed), main=True)
    for path, xpub, xprv in steps:
        key = master.derive(path)
        assert key.to_string() == xprv
        assert str(key) == key.public().to_string() == xpub
        assert ExtendedKey.from_string(xprv) == key
        assert ExtendedKey.from_string(xpub) == key.public()


# BIP32, test vector 5: every one of these is invalid.
@pytest.mark.parametrize(
    "text",
    [
        "xpub661MyMwAqRbcEYS8w7XLSVeEsBXy79zSzH1J8vCdxAZningWLdN3zgtU6LBpB85b3D2yc8sfvZU521AAwdZafEz7mnzBBsz4wKY5fTtTQBm",
        "xprv9s21ZrQH143K24Mfq5zL5MhWK9hUhhGbd45hLXo2Pq2oqzMMo63oStZzFGTQQD3dC4H2D5GBj7vWvSQaaBv5cxi9gafk7NF3pnBju6dwKvH",
        "xpub661MyMwAqRbcEYS8w7XLSVeEsBXy79zSzH1J8vCdxAZningWLdN3zgtU6Txnt3siSujt9RCVYsx4qHZGc62TG4McvMGcAUjeuwZdduYEvFn",
        "xprv9s21ZrQH143K24Mfq5zL5MhWK9hUhhGbd45hLXo2Pq2oqzMMo63oStZzFGpWnsj83BHtEy5Zt8CcDr1UiRXuWCmTQLxEK9vbz5gPstX92JQ",
        "xprv9s2SPatNQ9Vc6GTbVMFPFo7jsaZySyzk7L8n2uqKXJen3KUmvQNTuLh3fhZMBoG3G4ZW1N2kZuHEPY53qmbZzCHshoQnNf4GvELZfqTUrcv",
        "xpub661no6RGEX3uJkY4bNnPcw4URcQTrSibUZ4NqJEw5eBkv7ovTwgiT91XX27VbEXGENhYRCf7hyEbWrR3FewATdCEebj6znwMfQkhRYHRLpJ",
        "xprv9s21ZrQH4r4TsiLvyLXqM9P7k1K3EYhA1kkD6xuquB5i39AU8KF42acDyL3qsDbU9NmZn6MsGSUYZEsuoePmjzsB3eFKSUEh3Gu1N3cqVUN",
        "xprv9s21ZrQH143K24Mfq5zL5MhWK9hUhhGbd45hLXo2Pq2oqzMMo63oStZzF93Y5wvzdUayhgkkFoicQZcP3y52uPPxFnfoLZB21Teqt1VvEHx",
        "xprv9s21ZrQH143K24Mfq5zL5MhWK9hUhhGbd45hLXo2Pq2oqzMMo63oStZzFAzHGBP2UuGCqWLTAPLcMtD5SDKr24z3aiUvKr9bJpdrcLg1y3G",
        "xpub661MyMwAqRbcEYS8w7XLSVeEsBXy79zSzH1J8vCdxAZningWLdN3zgtU6Q5JXayek4PRsn35jii4veMimro1xefsM58PgBMrvdYre8QyULY",
        "xprv9s21ZrQH143K3QTDL4LXw2F7HEK3wJUD2nW2nRk4stbPy6cq3jPPqjiChkVvvNKmPGJxWUtg6LnF5kejMRNNU3TGtRBeJgk33yuGBxrMPHL",
        "", "xpub", "x" * 111, "1" * 200,
    ],
)  # fmt: skip
def test_invalid_extended_keys(text: str) -> None:
    with pytest.raises(InvalidKey):
        ExtendedKey.from_string(text)


def test_public_derivation_agrees_with_private() -> None:
    key = MASTER.derive("44h/1")
    for number in (0, 1, 7, HARDENED - 1):
        assert key.public().child(number) == key.child(number).public()
        assert key.child_public_key(number) == key.child(number).public_key
    assert key.same_key(ExtendedKey(key.public_key, key.chain_code, main=True))
    assert not key.same_key(key.child(0))


def test_what_cannot_be_derived() -> None:
    with pytest.raises(InvalidKey, match="private"):
        MASTER.public().child(HARDENED)
    for number in (-1, 2**32):
        with pytest.raises(InvalidKey):
            MASTER.child(number)
    with pytest.raises(InvalidKey):
        MASTER.child_public_key(HARDENED)
    with pytest.raises(InvalidKey, match="255"):
        ExtendedKey(MASTER.public_key, MASTER.chain_code, main=False, depth=255).child(0)
    with pytest.raises(InvalidKey, match="sign"):
        MASTER.public().sign(bytes(32))
    for seed in (b"\x01" * 15, b"\x01" * 65):
        with pytest.raises(InvalidKey):
            ExtendedKey.from_seed(seed, main=True)


@given(st.binary(max_size=90))
def test_extended_key_bytes(raw: bytes) -> None:
    try:
        key = ExtendedKey.from_bytes(raw)
    except InvalidKey:
        return
    assert key.to_bytes() == raw


@given(st.integers(0, 77), st.integers(1, 255))
def test_altered_extended_keys_never_read_as_the_same(place: int, change: int) -> None:
    raw = MASTER.derive("3h/1h").to_bytes()
    altered = raw[:place] + bytes((raw[place] ^ change,)) + raw[place + 1 :]
    with contextlib.suppress(InvalidKey):
        assert ExtendedKey.from_bytes(altered).to_bytes() == altered
    for cut in (raw[:-1], raw + b"\x00"):
        with pytest.raises(InvalidKey):
            ExtendedKey.from_bytes(cut)


# -- mnemonics --------------------------------------------------------------------------------


def test_mnemonic_of_bip39() -> None:
    # BIP39's own vectors use the passphrase TREZOR; this seed with none is what wallets of this network use.
    mnemonic = Mnemonic(f"  {ABOUT.replace(' ', '  ')}\n")
    assert str(mnemonic) == ABOUT
    assert mnemonic.word_count() == 12
    assert mnemonic.entropy() == bytes(16)
    assert mnemonic.seed().hex().startswith("5eb00bbddcf069084889a8ab9155568165f5c453ccb85e70811aaed6f6da5fc1")
    assert Mnemonic.from_entropy(b"\xff" * 32).word_count() == 24
    assert str(Mnemonic.from_entropy(b"\x7f" * 16)) == (
        "legal winner thank year wave sausage worth useful legal winner thank yellow"
    )


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("abandon " * 11 + "foo", r"UnknownWord\(11\)"),
        ("foo " + "abandon " * 11, r"UnknownWord\(0\)"),
        ("abandon " * 12, "InvalidChecksum"),
        ("abandon " * 10, r"BadWordCount\(10\)"),
        ("", r"BadWordCount\(0\)"),
        ("Abandon " * 11 + "about", r"UnknownWord\(0\)"),
    ],
)
def test_wrong_mnemonics_say_why(text: str, reason: str) -> None:
    with pytest.raises(InvalidMnemonic, match=reason):
        Mnemonic(text)


def test_errors_and_repr_do_not_repeat_words() -> None:
    with pytest.raises(InvalidMnemonic) as caught:
        Mnemonic("legal winner thank year wave sausage worth useful legal winner thank secretly")
    assert "secretly" not in str(caught.value)
    assert "legal" not in str(caught.value)
    assert "abandon" not in repr(Mnemonic(ABOUT))


@pytest.mark.parametrize("count", [12, 15, 18, 21, 24])
def test_random_mnemonics(count: int) -> None:
    assert Mnemonic.from_random(count).word_count() == count
    assert Mnemonic.from_random(count) != Mnemonic.from_random(count)
    fixed = Mnemonic.from_random(count, random=lambda n: bytes(range(n)))
    assert fixed == Mnemonic.from_entropy(bytes(range(count * 4 // 3)))


@pytest.mark.parametrize("count", [0, 11, 13, 25])
def test_other_word_counts_are_refused(count: int) -> None:
    with pytest.raises(InvalidMnemonic):
        Mnemonic.from_random(count)
    with pytest.raises(InvalidMnemonic):
        Mnemonic.from_entropy(bytes(count))


@given(st.sampled_from([16, 20, 24, 28, 32]).flatmap(lambda n: st.binary(min_size=n, max_size=n)))
def test_entropy_round_trip(entropy: bytes) -> None:
    mnemonic = Mnemonic.from_entropy(entropy)
    assert mnemonic.entropy() == entropy
    assert Mnemonic(str(mnemonic)) == mnemonic
    assert hash(Mnemonic(str(mnemonic))) == hash(mnemonic)


@given(st.text())
def test_mnemonic_parser_never_fails_otherwise(text: str) -> None:
    with pytest.raises(InvalidMnemonic):
        Mnemonic(text)


def test_bip85() -> None:
    # What lwk derives for this master.
    assert str(bip85_mnemonic(MASTER, 0, 12)) == (
        "prosper short ramp prepare exchange stove life snack client enough purpose fold"
    )
    with pytest.raises(InvalidMnemonic):
        bip85_mnemonic(MASTER, 0, 13)
    with pytest.raises(InvalidKey):
        bip85_mnemonic(MASTER.public(), 0, 12)


# -- paths, origins, blinding keys ------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("", ()),
        ("m", ()),
        ("m/", ()),
        ("0", (0,)),
        ("m/84h/1'/0H", (HARDENED + 84, HARDENED + 1, HARDENED)),
        ("3/7", (3, 7)),
    ],
)
def test_paths(text: str, path: tuple[int, ...]) -> None:
    assert parse_path(text) == path
    assert parse_path(path_to_string(path)) == path
    assert DerivationPath(text).to_vec() == list(path)


@pytest.mark.parametrize(
    "text", ["/", "0/", "m//0", "mm", "m0", "-1", "2147483648", "0x1", "1 /2", "0''", "٣", "01", "a"]
)
def test_wrong_paths(text: str) -> None:
    with pytest.raises(InvalidKey):
        parse_path(text)


@given(st.lists(st.integers(0, 2**32 - 1), max_size=40))
def test_path_round_trip(numbers: list[int]) -> None:
    for mark in "'h":
        assert list(parse_path(path_to_string(numbers, mark=mark))) == numbers
    origin = KeyOrigin(b"\x01\x02\x03\x04", tuple(numbers))
    assert KeyOrigin.from_string(str(origin)) == origin


def test_wrong_origins() -> None:
    for text in ("", "73c5da0", "73c5da0a0", "73c5da0g/1", "73c5da0a/x", "[73c5da0a]"):
        with pytest.raises(InvalidKey):
            KeyOrigin.from_string(text)
    with pytest.raises(InvalidKey):
        DerivationPath([2**32])


def test_slip77_of_the_vectors() -> None:
    for vector in VECTORS["networks"]["regtest"]["signers"]:
        slip77 = Slip77.from_seed(Mnemonic(vector["mnemonic"]).seed())
        assert str(slip77) == vector["slip77"]
        assert Slip77.from_string(vector["slip77"]) == Slip77.from_string(slip77.key.hex()) == slip77
        assert slip77.key.hex() not in repr(slip77)
        for index, key in vector["amp0"]["blinding_keys"].items():
            script = bytes.fromhex(vector["amp0"]["scripts"][index])
            assert slip77.blinding_key(script).hex() == key
            assert slip77.blinding_pubkey(script) == SecretKey.from_bytes(bytes.fromhex(key)).public_key()


def test_wrong_blinding_and_secret_keys() -> None:
    for text in ("", "slip77()", "slip77(00)", "zz" * 32, "slip77(" + "00" * 32):
        with pytest.raises(InvalidKey):
            Slip77.from_string(text)
    for key in (bytes(32), b"\xff" * 32, b"\x01" * 31):
        with pytest.raises(InvalidKey):
            SecretKey.from_bytes(key)
    assert "0101" not in repr(SecretKey.from_bytes(b"\x01" * 32))


def test_private_keys_stay_out_of_text() -> None:
    assert MASTER.private_key is not None
    assert MASTER.private_key.hex() not in repr(MASTER)
    assert "prv" not in repr(MASTER)
    assert str(MASTER).startswith("tpub")


def test_signed_message() -> None:
    digest = "e085d79be2636860a571e96346f4257f2fbbd79cbe69076155c26cba9c7c9ca4"
    assert signed_message_hash("greenaddress.it      login BZVE6").hex() == digest
    assert signed_message_hash(b"x" * 300) != signed_message_hash(b"x" * 301)
