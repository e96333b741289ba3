"""Addresses of Liquid: plain and confidential, base58 and (bl)ech32, of every network."""

from __future__ import annotations

import builtins
from dataclasses import dataclass
from typing import Self

from amp0.elements import wally
from amp0.elements.script import Script, witness_program
from amp0.errors import InvalidAddress, NetworkMismatch
from amp0.network import Network

_P2PKH = (b"\x76\xa9\x14", b"\x88\xac")
_P2SH = (b"\xa9\x14", b"\x87")


class Address:
    """An address, parsed from text or made from a script. Equal by value; ``str()`` gives the text.

    ``Address(text)`` accepts any Liquid network; give ``network`` to insist on one. Raises
    :class:`InvalidAddress`, and :class:`NetworkMismatch` for an address of another network.
    """

    __slots__ = ("_network", "_pubkey", "_script", "_text")

    _text: str
    _script: bytes
    _pubkey: bytes | None
    _network: Network

    def __init__(self, text: str, network: Network | None = None) -> None:
        text = text.strip()
        found = None
        candidates = (Network.mainnet(), Network.testnet(), Network.regtest_default())
        for candidate in candidates if network is None else (network, *candidates):
            found = _parse(text, candidate)
            if found:
                break
        if not found:
            raise InvalidAddress(
                f"{text[:120]!r} is not an address of Liquid: check for typing errors and for the network"
            )
        if network is not None and not _same_addresses(candidate, network):
            raise NetworkMismatch(
                f"InvalidNetwork: {text[:120]} is an address of {candidate.name}, and this is {network.name}"
            )
        script, pubkey = found
        self._set(text, script, pubkey, candidate)

    def _set(self, text: str, script: bytes, pubkey: bytes | None, network: Network) -> None:
        self._text = text
        self._script = script
        self._pubkey = pubkey
        self._network = network

    @classmethod
    def from_string(cls, text: str, network: Network | None = None) -> Self:
        """From text."""
        return cls(text, network)

    @classmethod
    def from_script(cls, network: Network, script: bytes, blinding_pubkey: bytes | None = None) -> Self:
        """The address of an output script, confidential when a blinding public key (33 bytes) is given.

        Raises :class:`InvalidAddress` for scripts that have no address.
        """
        text = _encode(network, script, blinding_pubkey)
        address = cls.__new__(cls)
        address._set(text, script, blinding_pubkey, network)
        return address

    @property
    def script(self) -> bytes:
        """The output script, raw bytes."""
        return self._script

    @property
    def blinding_pubkey(self) -> bytes | None:
        """The blinding public key (33 bytes), ``None`` in a plain address."""
        return self._pubkey

    def is_blinded(self) -> bool:
        """Whether it is confidential."""
        return self._pubkey is not None

    def to_unconfidential(self) -> Address:
        """The plain form."""
        if self._pubkey is None:
            return self
        return Address.from_script(self._network, self._script)

    def script_pubkey(self) -> Script:
        """The output script."""
        return Script(self._script)

    def network(self) -> Network:
        """The network; for regtest prefixes the default regtest, unless one was given."""
        return self._network

    def qr_code_text(self) -> str:
        """What a QR code of this address says (upper case for segwit, which makes it smaller)."""
        return self._text.upper() if witness_program(self._script) else self._text

    def __str__(self) -> str:
        return self._text

    def __repr__(self) -> str:
        return f"Address({self._text!r})"

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, Address)
            and self._script == other._script
            and self._pubkey == other._pubkey
            and _same_addresses(self._network, other._network)
        )

    def __hash__(self) -> int:
        return hash((self._script, self._pubkey))


@dataclass(frozen=True, slots=True)
class AddressResult:
    """An address and the pointer (index) it has in its account."""

    _address: Address
    _index: int

    def address(self) -> Address:
        """The address."""
        return self._address

    def index(self) -> int:
        """Its pointer."""
        return self._index

    def __str__(self) -> str:
        return str(self._address)


def _same_addresses(one: Network, other: Network) -> bool:
    """Whether two networks write their addresses alike."""
    return (one.p2pkh_version, one.p2sh_version, one.blinded_prefix, one.bech32_prefix) == (
        other.p2pkh_version,
        other.p2sh_version,
        other.blinded_prefix,
        other.bech32_prefix,
    )


def p2pkh_address(network: Network, pubkey_hash: builtins.bytes) -> str:
    """The plain P2PKH address of a key hash (20 bytes): the login address of a wallet."""
    return wally.base58check_encode(bytes((network.p2pkh_version,)) + pubkey_hash)


def _encode(network: Network, script: bytes, pubkey: bytes | None) -> str:
    if len(script) == 23 and script[:2] == _P2SH[0] and script[22:] == _P2SH[1]:
        version, payload = network.p2sh_version, script[2:22]
    elif len(script) == 25 and script[:3] == _P2PKH[0] and script[23:] == _P2PKH[1]:
        version, payload = network.p2pkh_version, script[3:23]
    else:
        plain = wally.segwit_address(script, network.bech32_prefix) if witness_program(script) else None
        if plain is None:
            raise InvalidAddress("this script has no address")
        if pubkey is None:
            return plain
        return wally.blech32_address(plain, network.bech32_prefix, network.blech32_prefix, pubkey)
    if pubkey is None:
        return wally.base58check_encode(bytes((version,)) + payload)
    if len(pubkey) != 33:
        raise InvalidAddress("a blinding public key has 33 bytes")
    return wally.base58check_encode(bytes((network.blinded_prefix, version)) + pubkey + payload)


def _parse(text: str, network: Network) -> tuple[bytes, bytes | None] | None:
    """Script and blinding key of a text that is an address of ``network``; ``None`` otherwise."""
    prefix = text[: text.rfind("1")].lower()
    if prefix == network.bech32_prefix:
        script = wally.segwit_address_script(text, network.bech32_prefix)
        return (script, None) if script and _is_known_program(script) else None
    if prefix == network.blech32_prefix:
        parts = wally.blech32_parts(text, network.blech32_prefix, network.bech32_prefix)
        if parts is None:
            return None
        script = wally.segwit_address_script(parts[0], network.bech32_prefix)
        return (script, parts[1]) if script and _is_known_program(script) and _is_key(parts[1]) else None
    raw = wally.base58check_decode(text)
    if raw is None:
        return None
    pubkey = None
    if len(raw) == 55 and raw[0] == network.blinded_prefix:
        pubkey, raw = raw[2:35], raw[1:2] + raw[35:]
        if not _is_key(pubkey):
            return None
    if len(raw) != 21:
        return None
    if raw[0] == network.p2sh_version:
        return _P2SH[0] + raw[1:] + _P2SH[1], pubkey
    if raw[0] == network.p2pkh_version:
        return _P2PKH[0] + raw[1:] + _P2PKH[1], pubkey
    return None


def _is_key(pubkey: bytes) -> bool:
    # Coins sent to a blinding key off the curve could be blinded by nobody.
    return wally.is_public_key(pubkey)


def _is_known_program(script: bytes) -> bool:
    program = witness_program(script)
    return program is not None and (program[0] != 0 or len(program[1]) in (20, 32))
