"""WolletDescriptor: what a wallet watches, written as an output descriptor.

Three shapes are understood, all of them confidential (``ct(<blinding key>,…)``, ELIP150/151/152 names):

* ``elsh(wsh(multi(2,[…]SERVICE/*,[…]USER/1/*)))``: an AMP0 account. One chain only; the service's key is
  first and the keys are not sorted. It is recognised by this shape, never by the key in it: whose service
  it is, is a question for :class:`~amp0.network.Network`.
* ``elwpkh([…]KEY/<0;1>/*)`` and ``elsh(wpkh([…]KEY/<0;1>/*))``: ordinary wallets, to fund and be paid.

Parsing takes ``h`` or ``'`` for hardened and a checksum or none; printing gives ``'`` and the checksum.
"""

from __future__ import annotations

import enum
import functools
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Self
from urllib.parse import quote

from amp0.elements import script as s
from amp0.elements import wally
from amp0.elements.address import Address
from amp0.elements.hashes import sha256
from amp0.elements.keys import (
    HARDENED,
    ExtendedKey,
    KeyOrigin,
    SecretKey,
    Slip77,
    parse_path,
    path_to_string,
)
from amp0.elements.script import Script
from amp0.errors import Amp0AddressError, InvalidDescriptor, InvalidKey, NetworkMismatch
from amp0.network import Network

MAX_DESCRIPTOR_CHARS = 8192


class Chain(enum.Enum):
    """Which branch of an ordinary wallet. An AMP0 account has one branch, whatever is asked for."""

    EXTERNAL = 0
    INTERNAL = 1


# ---------------------------------------------------------------------------- checksum

_INPUT_CHARS = "0123456789()[],'/*abcdefgh@:$%{}IJKLMNOPQRSTUVWXYZ&+-.;<=>?!^_|~ijklmnopqrstuvwxyzABCDEFGH`#\"\\ "
_INPUT_INDEX = {char: index for index, char in enumerate(_INPUT_CHARS)}
_CHECKSUM_CHARS = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"
_GENERATOR = (0xF5DEE51989, 0xA9FDCA3312, 0x1BAB10E32D, 0x3706B1677A, 0x644D626FFD)


def descriptor_checksum(body: str) -> str:
    """The eight characters after ``#`` (BIP380). Raises :class:`InvalidDescriptor`."""
    state = 1

    def feed(value: int) -> None:
        nonlocal state
        top = state >> 35
        state = (state & 0x7FFFFFFFF) << 5 ^ value
        for bit, generator in enumerate(_GENERATOR):
            if top >> bit & 1:
                state ^= generator

    group, count = 0, 0
    for char in body:
        index = _INPUT_INDEX.get(char)
        if index is None:
            raise InvalidDescriptor(f"{char!r} cannot be part of a descriptor")
        feed(index & 31)
        group = group * 3 + (index >> 5)
        count += 1
        if count == 3:
            feed(group)
            group, count = 0, 0
    if count:
        feed(group)
    for _ in range(8):
        feed(0)
    state ^= 1
    return "".join(_CHECKSUM_CHARS[state >> 5 * (7 - i) & 31] for i in range(8))


# ---------------------------------------------------------------------------- parts


@dataclass(frozen=True, slots=True)
class DescriptorKey:
    """An extended public key with its origin and the unhardened steps below it.

    ``branches`` are the last step's alternatives (``<0;1>``), empty when there is one branch only;
    ``steps`` are those before. The wildcard follows.
    """

    origin: KeyOrigin | None
    xpub: ExtendedKey
    steps: tuple[int, ...] = ()
    branches: tuple[int, ...] = ()

    def text(self, branch: int | None = None, *, origin: bool = True) -> str:
        """As in a descriptor; ``branch`` picks one of the branches."""
        parts = [f"[{self.origin}]{self.xpub}" if origin and self.origin else str(self.xpub)]
        if self.steps:
            parts.append(path_to_string(self.steps))
        if self.branches:
            some = f"<{';'.join(map(str, self.branches))}>" if branch is None else str(self.branches[branch])
            parts.append(some)
        return "/".join([*parts, "*"])

    def parent(self, branch: int = 0) -> ExtendedKey:
        """The key whose children are the addresses' keys."""
        key = self.xpub.derive(self.steps)
        return key.child(self.branches[branch]) if self.branches else key

    def path(self, index: int, branch: int = 0) -> tuple[int, ...]:
        """The whole path from the master key to the key at ``index``."""
        start = self.origin.path if self.origin else ()
        return (*start, *self.steps, *((self.branches[branch],) if self.branches else ()), index)

    def fingerprint(self) -> bytes:
        """The master's fingerprint (4 bytes), as PSETs name it."""
        return self.origin.fingerprint if self.origin else self.xpub.fingerprint()


_KEY = re.compile(
    r"(?:\[([^\]]*)\])?"  # origin
    r"([1-9A-HJ-NP-Za-km-z]{100,120})"
    r"((?:/[0-9]+)*)"
    r"(?:/<([0-9]+);([0-9]+)>)?"
    r"/\*"
)
_BODY = re.compile(r"ct\((slip77\([0-9a-fA-F]{64}\)|[0-9a-fA-F]{64}),el(.*)\)", re.DOTALL)
_AMP0 = re.compile(r"sh\(wsh\(multi\(2,([^,]*),([^,]*)\)\)\)")
_WPKH = re.compile(r"wpkh\(([^(),]*)\)")
_SHWPKH = re.compile(r"sh\(wpkh\(([^(),]*)\)\)")


class _Shape(enum.Enum):
    AMP0 = "amp0"
    WPKH = "wpkh"
    SHWPKH = "shwpkh"


_MAX_WEIGHT = {_Shape.AMP0: 359, _Shape.WPKH: 107, _Shape.SHWPKH: 199}


def _parse_key(text: str) -> DescriptorKey:
    match = _KEY.fullmatch(text)
    if match is None:
        raise InvalidDescriptor(f"{text[:60]}… is not an extended public key followed by a path and /*")
    origin, xpub, steps, first, second = match.groups()
    try:
        key = ExtendedKey.from_string(xpub)
        if key.private_key is not None:
            raise InvalidDescriptor("a wollet descriptor holds public keys only, and this holds a private one")
        return DescriptorKey(
            origin=KeyOrigin.from_string(origin) if origin is not None else None,
            xpub=key,
            steps=parse_path(steps[1:]),
            branches=() if first is None else parse_path(f"{first}/{second}"),
        )
    except InvalidKey as error:
        raise InvalidDescriptor(f"a key of the descriptor is not valid: {error}") from None


class WolletDescriptor:
    """A confidential descriptor: parse, print, derive. Equal by value, usable as a dict key.

    Raises :class:`InvalidDescriptor` for what is not understood, a wrong checksum included.
    """

    __slots__ = ("__dict__", "_blinding", "_keys", "_shape")

    _blinding: Slip77 | SecretKey
    _keys: tuple[DescriptorKey, ...]
    _shape: _Shape

    def __init__(self, text: str) -> None:
        if len(text) > MAX_DESCRIPTOR_CHARS:
            raise InvalidDescriptor("a descriptor is a text of a few hundred characters")
        body, hash_sign, checksum = text.strip().partition("#")
        expected = descriptor_checksum(body)
        if hash_sign and checksum != expected:
            raise InvalidDescriptor(f"Invalid checksum '{checksum[:16]}', expected '{expected}'")
        match = _BODY.fullmatch(body)
        if match is None:
            raise InvalidDescriptor("a wollet descriptor reads ct(<blinding key>,el…); this does not")
        try:
            blinding: Slip77 | SecretKey
            if match[1].startswith("slip77"):
                blinding = Slip77.from_string(match[1])
            else:
                blinding = SecretKey.from_bytes(bytes.fromhex(match[1]))
        except InvalidKey as error:
            raise InvalidDescriptor(f"the blinding key of the descriptor is not valid: {error}") from None
        for shape, pattern in ((_Shape.AMP0, _AMP0), (_Shape.WPKH, _WPKH), (_Shape.SHWPKH, _SHWPKH)):
            inner = pattern.fullmatch(match[2])
            if inner:
                self._set(shape, blinding, tuple(_parse_key(key) for key in inner.groups()))
                return
        raise InvalidDescriptor(
            "this shape of descriptor is not supported; AMP0 accounts (elsh(wsh(multi(2,…)))), "
            "elwpkh and elsh(wpkh) are"
        )

    def _set(self, shape: _Shape, blinding: Slip77 | SecretKey, keys: tuple[DescriptorKey, ...]) -> None:
        if len({key.xpub.main for key in keys}) > 1:
            raise InvalidDescriptor("one key of the descriptor is of mainnet and the other is not")
        if shape is _Shape.AMP0:
            _check_amp0_shape(blinding, keys)
        elif keys[0].branches not in ((), (0, 1)):
            raise InvalidDescriptor("the branches of a wollet descriptor are <0;1>")
        self._shape, self._blinding, self._keys = shape, blinding, keys

    # -- makers ------------------------------------------------------------------------------

    @classmethod
    def from_string(cls, text: str) -> Self:
        """From text."""
        return cls(text)

    @classmethod
    def of_amp0(cls, *, slip77: Slip77, service: DescriptorKey, user: DescriptorKey) -> Self:
        """An AMP0 account from its parts."""
        return cls._of(_Shape.AMP0, slip77, (service, user))

    @classmethod
    def of_wpkh(cls, blinding: Slip77 | SecretKey, key: DescriptorKey, *, nested: bool = False) -> Self:
        """An ordinary wallet; ``nested`` puts the witness program inside P2SH."""
        return cls._of(_Shape.SHWPKH if nested else _Shape.WPKH, blinding, (key,))

    @classmethod
    def _of(cls, shape: _Shape, blinding: Slip77 | SecretKey, keys: tuple[DescriptorKey, ...]) -> Self:
        self = cls.__new__(cls)
        self._set(shape, blinding, keys)
        return self

    @classmethod
    def from_xpub(
        cls,
        network: Network,
        script_variant: str,
        account_num: int,
        master_blinding_key: str,
        fingerprint: str,
        xpub: str,
    ) -> Self:
        """An ordinary wallet from an account xpub: variant ``wpkh`` or ``shwpkh``, as LWK builds it.

        ``master_blinding_key`` is ``slip77(<hex>)`` or 64 hex digits of a plain view key.
        """
        purposes = {"wpkh": 84, "shwpkh": 49}
        if script_variant not in purposes:
            raise InvalidDescriptor(f"variant {script_variant!r} is not supported; choose wpkh or shwpkh")
        if not 0 <= account_num < HARDENED:
            raise InvalidDescriptor(f"an account number is between 0 and {HARDENED - 1}, not {account_num}")
        try:
            blinding: Slip77 | SecretKey
            if master_blinding_key.startswith("slip77("):
                blinding = Slip77.from_string(master_blinding_key)
            else:
                blinding = SecretKey.from_bytes(bytes.fromhex(master_blinding_key))
            coin = 1776 if network.is_mainnet() else 1
            path = [n + HARDENED for n in (purposes[script_variant], coin, account_num)]
            origin = KeyOrigin.from_string(f"{fingerprint}/{path_to_string(path)}")
            key = ExtendedKey.from_string(xpub)
        except ValueError as error:
            raise InvalidDescriptor(f"a part of the descriptor is not valid: {error}") from None
        if key.private_key is not None or key.main != network.is_mainnet():
            raise InvalidDescriptor(f"the key is not an extended public key of {network.name}")
        return cls.of_wpkh(blinding, DescriptorKey(origin, key, branches=(0, 1)), nested=script_variant == "shwpkh")

    # -- questions ---------------------------------------------------------------------------

    def is_mainnet(self) -> bool:
        """Whether it can belong to Liquid itself: mainnet keys.

        (LWK's own answer tells something else for descriptors with testnet keys; nothing should
        depend on it.)
        """
        return self._keys[0].xpub.main

    def is_amp0(self) -> bool:
        """Whether it has the shape of an AMP0 account. Says nothing about whose service it is."""
        return self._shape is _Shape.AMP0

    def is_nested(self) -> bool:
        """Whether scripts are P2SH around a witness program."""
        return self._shape is not _Shape.WPKH

    def keys(self) -> tuple[DescriptorKey, ...]:
        """Its keys, in order: service then user for an AMP0 account."""
        return self._keys

    def blinding(self) -> Slip77 | SecretKey:
        """The blinding key it was written with: SLIP77 master, or one view key (ELIP151 makes those)."""
        return self._blinding

    @property
    def service_key(self) -> DescriptorKey:
        """The AMP0 service's key of the account. Raises :class:`InvalidDescriptor` for ordinary wallets."""
        return self._amp0_keys()[0]

    @property
    def user_key(self) -> DescriptorKey:
        """The user's key of the AMP0 account. Raises :class:`InvalidDescriptor` for ordinary wallets."""
        return self._amp0_keys()[1]

    @property
    def account(self) -> int:
        """The account's pointer. Raises :class:`InvalidDescriptor` for ordinary wallets."""
        origin = self.service_key.origin
        return origin.path[-1] if origin else 0

    def _amp0_keys(self) -> tuple[DescriptorKey, ...]:
        if self._shape is not _Shape.AMP0:
            raise InvalidDescriptor("this is not the descriptor of an AMP0 account")
        return self._keys

    def max_weight_to_satisfy(self) -> int:
        """Weight that scriptSig and witness add to an unsigned input, at most; LWK's figures."""
        return _MAX_WEIGHT[self._shape]

    def require_network(self, network: Network) -> None:
        """Check that the wallet can be one of ``network``: its kind of keys, and for an AMP0 account the
        network's own service key. Raises :class:`NetworkMismatch`."""
        if self.is_mainnet() != network.is_mainnet():
            kind = "mainnet" if self.is_mainnet() else "test networks"
            raise NetworkMismatch(f"the descriptor has keys for {kind}, and the network is {network.name}")
        if self.is_amp0():
            self.require_service(network)

    def require_service(self, network: Network) -> None:
        """Check that the account is under this network's service key, by deriving it.

        Raises :class:`NetworkMismatch` otherwise: addresses under another key could not be spent.
        """
        from_service = self.service_key
        master = ExtendedKey(network.service_pubkey, network.service_chain_code, network.is_mainnet())
        path = from_service.origin.path if from_service.origin else ()
        if self.is_mainnet() != network.is_mainnet() or not master.derive(path).same_key(from_service.xpub):
            raise NetworkMismatch(
                f"this account is not under the AMP0 service key {network.service_fingerprint()} of "
                f"{network.name}; use the network (and server) it was created with"
            )

    # -- derivation --------------------------------------------------------------------------

    @functools.cached_property
    def _parents(self) -> tuple[tuple[ExtendedKey, ...], ...]:
        """For each branch, the parents of the address keys: derived once, the rest is one step."""
        branches = range(max(1, len(self._keys[0].branches)))
        return tuple(tuple(key.parent(branch) for key in self._keys) for branch in branches)

    def _branch(self, chain: Chain) -> int:
        return chain.value if self._keys[0].branches else 0

    def public_keys(self, index: int, chain: Chain = Chain.EXTERNAL) -> tuple[bytes, ...]:
        """The public keys (33 bytes each) at ``index``, in the order of the script."""
        return tuple(parent.child_public_key(index) for parent in self._parents[self._branch(chain)])

    def witness_script(self, index: int, chain: Chain = Chain.EXTERNAL) -> bytes:
        """The script that is hashed and signed: the 2-of-2 of an AMP0 account, else the script code."""
        keys = self.public_keys(index, chain)
        if self._shape is _Shape.AMP0:
            return s.multisig_2of2(keys[0], keys[1])
        return s.p2pkh(wally.hash160(keys[0]))

    def redeem_script(self, index: int, chain: Chain = Chain.EXTERNAL) -> bytes | None:
        """The P2SH redeem script at ``index``, ``None`` where the output is the witness program itself."""
        if self._shape is _Shape.AMP0:
            return s.p2wsh(self.witness_script(index, chain))
        if self._shape is _Shape.SHWPKH:
            return s.p2wpkh(wally.hash160(self.public_keys(index, chain)[0]))
        return None

    def script_bytes(self, index: int, chain: Chain = Chain.EXTERNAL) -> bytes:
        """The output script at ``index``, raw bytes. Raises :class:`InvalidInput` for bad indexes."""
        redeem = self.redeem_script(index, chain)
        if redeem is not None:
            return s.p2sh(redeem)
        return s.p2wpkh(wally.hash160(self.public_keys(index, chain)[0]))

    def script_pubkey(self, chain: Chain, index: int) -> Script:
        """The output script at ``index`` of a branch."""
        return Script(self.script_bytes(index, chain))

    def blinding_key(self, script: bytes) -> bytes:
        """The private blinding key (32 bytes) of an output script."""
        if isinstance(self._blinding, Slip77):
            return self._blinding.blinding_key(script)
        return wally.elip150_blinding_key(self._blinding.bytes(), script)

    def blinding_pubkey(self, script: bytes) -> bytes:
        """The public blinding key (33 bytes) of an output script."""
        return wally.public_key(self.blinding_key(script))

    def derive_blinding_key(self, script: Script) -> SecretKey:
        """The private blinding key of an output script, as LWK hands it out."""
        return SecretKey.from_bytes(self.blinding_key(script.to_bytes()))

    def confidential_address(self, network: Network, index: int, chain: Chain = Chain.EXTERNAL) -> Address:
        """The confidential address at ``index``.

        For an AMP0 account this is the *calculation* only: whether the server has issued the address is
        for :class:`~amp0.client.Amp0` to know. Applications call ``Amp0.address``.
        """
        script = self.script_bytes(index, chain)
        return Address.from_script(network, script, self.blinding_pubkey(script))

    # -- text --------------------------------------------------------------------------------

    def _body(self, keys: Iterable[str]) -> str:
        joined = ",".join(keys)
        if self._shape is _Shape.AMP0:
            return f"elsh(wsh(multi(2,{joined})))"
        return f"elwpkh({joined})" if self._shape is _Shape.WPKH else f"elsh(wpkh({joined}))"

    def scan_descriptor(self, chain: Chain | None = None) -> str:
        """The unblinded descriptor that a scanning server is given: no blinding key, no key origins.

        ``chain`` picks one branch; otherwise both are written as ``<0;1>``. No checksum.
        """
        branch = None if chain is None else chain.value
        return self._body(key.text(branch, origin=False) for key in self._keys)

    @functools.cached_property
    def _text(self) -> str:
        blinding = self._blinding
        view = str(blinding) if isinstance(blinding, Slip77) else blinding.bytes().hex()
        body = f"ct({view},{self._body(key.text() for key in self._keys)})"
        return f"{body}#{descriptor_checksum(body)}"

    def url_encoded_descriptor(self) -> str:
        """The text, percent-encoded."""
        return quote(self._text, safe="")

    def dwid(self, network: Network) -> str:
        """ELIP152's short name of an ordinary wallet, made from its address at index 2³¹ − 1.

        An AMP0 account has none: raises :class:`Amp0AddressError`, as LWK does.
        """
        if self.is_amp0():
            raise Amp0AddressError()
        address = str(self.confidential_address(network, HARDENED - 1))
        digest = sha256(address.encode()).hex()[:32]
        return "-".join(digest[i : i + 4] for i in range(0, 32, 4))

    def __str__(self) -> str:
        return self._text

    def __repr__(self) -> str:
        # The blinding key shows every amount: it is kept out of logs.
        return f"WolletDescriptor({self._body(key.text() for key in self._keys)})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, WolletDescriptor) and self._text == other._text

    def __hash__(self) -> int:
        return hash(self._text)


def _check_amp0_shape(blinding: Slip77 | SecretKey, keys: tuple[DescriptorKey, ...]) -> None:
    service, user = keys
    good = (
        isinstance(blinding, Slip77)
        and service.origin is not None
        and len(service.origin.path) == 34
        and service.origin.path[0] == 3
        and all(n < HARDENED for n in service.origin.path)
        and not service.steps
        and not service.branches
        and user.origin is not None
        and user.steps == (1,)
        and not user.branches
    )
    if not good:
        raise InvalidDescriptor(
            "a 2-of-2 descriptor is only supported for AMP0 accounts: slip77 blinding, "
            "[…/3/g1/…/g32/account]SERVICE/* and […]USER/1/*"
        )
