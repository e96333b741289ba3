"""Signers: whoever holds the seed. Everything else in this package works without one.

:class:`Amp0Signer` says what AMP0 asks of a signer, so that a device can take the place of
:class:`Signer`, which keeps the seed in this process.

A PSET comes from a less trusted place than the seed, so it is not believed: before anything is
signed, the script of each output spent is recomputed from the keys it claims, and so is every
output that claims to be this wallet's change. A signature is made for the hash type ALL only; any
other would let somebody change the outputs afterwards.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum
from typing import Protocol, Self, runtime_checkable

from amp0.elements import pset_fields as f
from amp0.elements.descriptor import WolletDescriptor
from amp0.elements.keys import (
    HARDENED,
    DerivationPath,
    ExtendedKey,
    KeyOrigin,
    Mnemonic,
    Slip77,
    bip85_mnemonic,
    path_to_string,
    signed_message_hash,
)
from amp0.elements.pset import Pset
from amp0.elements.pset_finalize import Spend, spend_of
from amp0.elements.pset_io import PsetInput, PsetOutput
from amp0.elements.script import hash160, p2sh, p2wpkh, p2wsh, parse_multisig_2of2
from amp0.elements.sighash import SIGHASH_ALL
from amp0.errors import InvalidInput, InvalidKey, InvalidPset, SignerError, WrongSigner
from amp0.network import Network
from amp0.protocol import twofactor
from amp0.protocol.credentials import LOGIN_PATH, Amp0SignerData

__all__ = ["Amp0Signer", "Amp0SignerData", "Bip", "DescriptorBlindingKey", "Signer", "Singlesig"]

LOGIN_MESSAGE = "greenaddress.it      login "
"""What a login challenge is appended to before it is signed (six spaces)."""

_CHALLENGE = re.compile(r"[A-Za-z0-9]{5}", re.ASCII)


@runtime_checkable
class Amp0Signer(Protocol):
    """What AMP0 asks of a signer, be it software or a device."""

    def fingerprint(self) -> str:
        """Fingerprint of the master key, 8 hex digits."""

    def amp0_signer_data(self) -> Amp0SignerData:
        """The public keys a login starts from."""

    def amp0_sign_challenge(self, challenge: str) -> str:
        """Signature of a login challenge, DER in hex."""

    def amp0_account_xpub(self, account: int) -> str:
        """Extended public key of an AMP0 account."""

    def sign(self, pset: Pset) -> Pset:
        """A copy of the PSET with this signer's signatures; :class:`WrongSigner` if it owns no input."""


class Singlesig(Enum):
    """Script of an ordinary single-key wallet."""

    WPKH = "wpkh"
    SH_WPKH = "sh_wpkh"


class DescriptorBlindingKey(Enum):
    """Where the blinding keys of an ordinary wallet come from: SLIP77 of the seed."""

    SLIP77 = "slip77"


@dataclass(frozen=True, slots=True)
class Bip:
    """A standard for account paths; ``purpose`` is its number."""

    purpose: int

    @classmethod
    def new_bip49(cls) -> Bip:
        """P2WPKH in P2SH."""
        return cls(49)

    @classmethod
    def new_bip84(cls) -> Bip:
        """P2WPKH."""
        return cls(84)

    @classmethod
    def new_bip86(cls) -> Bip:
        """Taproot key paths."""
        return cls(86)

    @classmethod
    def new_bip87(cls) -> Bip:
        """Multisig."""
        return cls(87)

    def account_path(self, *, main: bool) -> tuple[int, ...]:
        """Path of account 0: Liquid's coin type is 1776 and that of all test networks 1."""
        return (self.purpose + HARDENED, (1776 if main else 1) + HARDENED, HARDENED)


class Signer:
    """A signer in software: ``Signer(mnemonic, network)``. The seed stays in this object.

    Of the network only matters whether its keys are ``xpub`` or ``tpub``.
    """

    def __init__(self, mnemonic: Mnemonic | str, network: Network) -> None:
        if isinstance(mnemonic, str):
            mnemonic = Mnemonic(mnemonic)
        self._mnemonic = mnemonic
        self._main = network.is_mainnet()
        seed = mnemonic.seed()
        self._master = ExtendedKey.from_seed(seed, main=self._main)
        self._slip77 = Slip77.from_seed(seed)
        self._fingerprint = self._master.fingerprint()

    @classmethod
    def random(cls, network: Network) -> Signer:
        """A new signer of 12 words. Write down :meth:`mnemonic`: it is the only copy."""
        return cls(Mnemonic.from_random(12), network)

    # -- keys -----------------------------------------------------------------------------------

    def mnemonic(self) -> Mnemonic:
        """The secret words."""
        return self._mnemonic

    def fingerprint(self) -> str:
        """Fingerprint of the master key, 8 hex digits."""
        return self._fingerprint.hex()

    def slip77_master_blinding_key(self) -> str:
        """The master blinding key, ``slip77(hex)``. Whoever has it sees all amounts."""
        return str(self._slip77)

    def _xpub(self, path: tuple[int, ...]) -> ExtendedKey:
        return self._master.derive(path).public()

    def keyorigin_xpub(self, bip: Bip) -> str:
        """``[fingerprint/84h/1h/0h]xpub`` of account 0 under a standard."""
        path = bip.account_path(main=self._main)
        return f"[{self.fingerprint()}/{path_to_string(path, mark='h')}]{self._xpub(path)}"

    def keyorigin_xpub_from_path(self, path: DerivationPath | str) -> str:
        """``[fingerprint/84'/1'/0']xpub`` of any path."""
        numbers = DerivationPath(path)
        return f"[{KeyOrigin(self._fingerprint, tuple(numbers))}]{self._xpub(tuple(numbers))}"

    def wpkh_slip77_descriptor(self) -> WolletDescriptor:
        """Descriptor of the ordinary P2WPKH wallet of this seed (BIP84, account 0)."""
        return self.singlesig_desc(Singlesig.WPKH, DescriptorBlindingKey.SLIP77)

    def singlesig_desc(self, script_variant: Singlesig, blinding_variant: DescriptorBlindingKey) -> WolletDescriptor:
        """Descriptor of an ordinary wallet of this seed, account 0."""
        if blinding_variant is not DescriptorBlindingKey.SLIP77:
            raise InvalidInput("blinding keys of a signer's descriptor are made by SLIP77")
        wrapped = script_variant is Singlesig.SH_WPKH
        key = self.keyorigin_xpub(Bip.new_bip49() if wrapped else Bip.new_bip84())
        script = f"elsh(wpkh({key}/<0;1>/*))" if wrapped else f"elwpkh({key}/<0;1>/*)"
        return WolletDescriptor(f"ct({self._slip77},{script})")

    def derive_bip85_mnemonic(self, index: int, word_count: int) -> Mnemonic:
        """A child mnemonic (BIP85, English); it cannot be traced back to this one."""
        return bip85_mnemonic(self._master, index, word_count)

    # -- AMP0 -----------------------------------------------------------------------------------

    def amp0_signer_data(self) -> Amp0SignerData:
        """The public keys an AMP0 login starts from."""
        return Amp0SignerData.from_master(self._master, self._slip77)

    def amp0_sign_challenge(self, challenge: str) -> str:
        """Signature of a login challenge: DER in hex, no hash type, plain RFC 6979.

        Only what a challenge can be, five ASCII letters or digits, is signed: a server must not get
        a signature of a text of its choice. Raises :class:`InvalidInput`.
        """
        if not _CHALLENGE.fullmatch(challenge):
            raise InvalidInput("Amp0InvalidChallenge: a challenge is five letters or digits; this one was not signed")
        digest = signed_message_hash(LOGIN_MESSAGE + challenge)
        return self._master.derive(LOGIN_PATH).sign(digest, low_r=False).hex()

    def amp0_sign_dispute(self, outcome: str, nonce: str, expires: int) -> str:
        """Signature that ends the dispute of a two-factor reset: ``reset`` removes the factors, ``keep`` keeps them.

        DER in hex, by the login key. The text is put together here from its parts, each of a fixed form, and from
        this signer's own wallet; ``nonce`` (64 hex digits) and ``expires`` (seconds since 1970) are the server's. It
        can be taken neither for a login challenge nor for anything of another wallet. Raises :class:`InvalidInput`.
        """
        text = twofactor.dispute_text(outcome, self._master.public_key, nonce, expires)
        return twofactor.sign_dispute(self._master, text)

    def amp0_account_xpub(self, account: int) -> str:
        """Extended public key of AMP0 account ``account`` (its pointer), at ``m/3'/account'``."""
        if not 0 <= account < HARDENED:
            raise InvalidInput(f"an account pointer is between 0 and {HARDENED - 1}, not {account!r}")
        return str(self._xpub((3 + HARDENED, account + HARDENED)))

    # -- signing --------------------------------------------------------------------------------

    def sign(self, pset: Pset) -> Pset:
        """A copy of the PSET with a signature for every input this signer owns.

        Signatures are RFC 6979 with low R, so the same PSET always gets the same ones. Raises
        :class:`WrongSigner` when no input names a key of this seed, :class:`SignerError` when
        another hash type than ALL is asked for, and :class:`InvalidPset` when an input or a change
        output is not what it claims to be. Nothing is signed then.
        """
        keys = _KeyCache(self._master)
        owned: list[tuple[int, PsetInput, ExtendedKey]] = []
        for i, txin in enumerate(pset.inputs()):
            key = self._own_key(keys, txin)
            if key is not None:
                owned.append((i, txin, key))
        if not owned:
            raise WrongSigner(
                f"none of the {len(pset.inputs())} inputs belongs to the signer {self.fingerprint()}; "
                "sign with the signer whose account this PSET spends from"
            )
        spends = {i: self._checked_spend(i, txin, key) for i, txin, key in owned}
        partners = self._partners(pset, [txin for _, txin, _ in owned])
        for i, output in enumerate(pset.outputs()):
            self._check_claim(keys, partners, i, output)
        changed: dict[int, PsetInput] = {}
        for i, txin, key in owned:
            if txin.is_finalized:
                continue
            spend = spends[i]
            digest = pset.sighash_cache.segwit_v0(i, spend.script_code, spend.value_field, SIGHASH_ALL)
            signature = key.sign(digest) + bytes([SIGHASH_ALL])
            changed[i] = txin.with_field(f.I_PARTIAL_SIG + key.public_key, signature)
        return pset.with_inputs(changed)

    def _own_key(self, keys: _KeyCache, part: PsetInput | PsetOutput) -> ExtendedKey | None:
        """The private key of this seed that an input or output names, if it really is ours."""
        for pubkey, (fingerprint, path) in part.derivations.items():
            if fingerprint == self._fingerprint:
                key = keys.at(path)
                if key.public_key == pubkey:
                    return key
        return None

    def _checked_spend(self, index: int, txin: PsetInput, key: ExtendedKey) -> Spend:
        if txin.sighash_type != SIGHASH_ALL:
            raise SignerError(
                f"input {index} asks for hash type {txin.sighash_type:#04x}; only ALL (0x01) is signed, "
                "because with any other somebody could change the outputs afterwards"
            )
        spend = spend_of(txin, index)
        if key.public_key not in spend.keys:
            raise InvalidPset(f"input {index} names a key of this signer that its script does not have")
        return spend

    def _partners(self, pset: Pset, owned: list[PsetInput]) -> list[_Account]:
        """The account keys of other signers that the inputs of ours are really locked with.

        The scripts of the inputs are proven by then, so the keys in them are facts; account keys
        that a PSET merely lists are not.
        """
        others = [
            (pubkey, fingerprint, path)
            for txin in owned
            for pubkey, (fingerprint, path) in txin.derivations.items()
            if fingerprint != self._fingerprint
        ]
        partners = []
        for field, value in pset.fields.items():
            if field[:1] == f.G_XPUB:
                account = _Account.read(field[1:], value)
                if account is not None and any(account.derives(*other) for other in others):
                    partners.append(account)
        return partners

    def _check_claim(self, keys: _KeyCache, partners: list[_Account], index: int, output: PsetOutput) -> None:
        """Refuse an output that claims a key of this seed and is not change of the same account."""
        if all(fingerprint != self._fingerprint for fingerprint, _ in output.derivations.values()):
            return
        key = self._own_key(keys, output)
        if key is None or not _pays_to(output, key.public_key):
            raise InvalidPset(
                f"output {index} claims to be change of this wallet and is not; do not sign this PSET, "
                "find out who made it"
            )
        for pubkey in _other_keys(output, key.public_key):
            origin = output.derivations.get(pubkey)
            if origin is None or not any(account.derives(pubkey, *origin) for account in partners):
                raise InvalidPset(
                    f"output {index} claims to be change of this wallet, but its other key is not that of "
                    "the account's other signer; do not sign this PSET"
                )

    def __repr__(self) -> str:
        return f"<Signer {self.fingerprint()}>"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Signer) and (self._mnemonic, self._main) == (other._mnemonic, other._main)

    def __hash__(self) -> int:
        return hash((self._fingerprint, self._main))


class _KeyCache:
    """Private keys by path; the inputs of one transaction share all but the last step."""

    def __init__(self, master: ExtendedKey) -> None:
        self._keys: dict[tuple[int, ...], ExtendedKey] = {(): master}

    def at(self, path: tuple[int, ...]) -> ExtendedKey:
        key = self._keys.get(path)
        if key is None:
            key = self._keys[path] = self.at(path[:-1]).child(path[-1])
        return key


def _pays_to(output: PsetOutput, pubkey: bytes) -> bool:
    """Whether the scripts an output shows hash to its script, and hold the key."""
    witness_script = output.fields.get(f.O_WITNESS_SCRIPT)
    redeem = output.fields.get(f.O_REDEEM_SCRIPT)
    if witness_script is None:
        program = p2wpkh(hash160(pubkey))
    elif pubkey in witness_script:
        program = p2wsh(witness_script)
    else:
        return False
    if redeem is None:
        return output.script == program
    return redeem == program and output.script == p2sh(redeem)


def _other_keys(output: PsetOutput, pubkey: bytes) -> list[bytes]:
    """The keys beside ours in the witness script of an output."""
    witness_script = output.fields.get(f.O_WITNESS_SCRIPT)
    if witness_script is None:
        return []
    pair = parse_multisig_2of2(witness_script)
    # A script of another shape gives no key a place we know: treat it as holding a stranger's.
    return [key for key in pair if key != pubkey] if pair is not None else [b""]


@dataclass(frozen=True, slots=True)
class _Account:
    """An account key listed in a PSET, with its origin."""

    xpub: ExtendedKey
    fingerprint: bytes
    path: tuple[int, ...]

    @classmethod
    def read(cls, raw: bytes, origin: bytes) -> Self | None:
        try:
            return cls(ExtendedKey.from_bytes(raw), *f.read_origin(origin))
        except InvalidKey:
            return None

    def derives(self, pubkey: bytes, fingerprint: bytes, path: tuple[int, ...]) -> bool:
        """Whether ``pubkey`` is this account's key at ``path``."""
        depth = len(self.path)
        if fingerprint != self.fingerprint or path[:depth] != self.path:
            return False
        try:
            return self.xpub.derive(path[depth:]).public_key == pubkey
        except InvalidKey:
            return False
