"""Issuing and reissuing assets from an ordinary wallet (not from an AMP0 account).

Amounts are issued in the open: hiding them costs 4 KB per amount and is fixed for the asset's
life. Tokens, which give the right to reissue, always go to confidential outputs, because consensus
asks a reissuer for the blinding factor of the token spent.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass

from amp0.elements import wally
from amp0.elements.confidential import issued_asset
from amp0.elements.hashes import bytes_from_hex, sha256
from amp0.elements.transaction import Issuance, OutPoint, Transaction, TxIn, explicit_value_field
from amp0.errors import InvalidInput

__all__ = ["Contract", "IssuedAsset", "find_issuance", "first_issuance", "reissuance"]

_DOMAIN = re.compile(r"(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")
_TICKER = re.compile(r"[A-Za-z0-9.-]{3,24}")
_NAME = re.compile(r"[ -~]{1,255}")


@dataclass(frozen=True, slots=True)
class Contract:
    """What an issuer promises about an asset; its hash goes into the asset id.

    ``str()`` is the canonical JSON that is hashed. Raises :class:`InvalidInput` with LWK's words.
    """

    domain: str
    issuer_pubkey: str
    name: str
    precision: int
    ticker: str
    version: int = 0

    def __post_init__(self) -> None:
        if not _DOMAIN.fullmatch(self.domain) or len(self.domain) > 255:
            raise InvalidInput("InvalidDomain: the domain of a contract is a host name in lower case")
        key = bytes_from_hex(self.issuer_pubkey, what="issuer's public key")
        if not wally.is_public_key(key):
            raise InvalidInput("InvalidIssuerPubkey: the issuer's key is a compressed public key in hex")
        if not _NAME.fullmatch(self.name):
            raise InvalidInput("InvalidName: the name of an asset has 1 to 255 plain characters")
        if not 0 <= self.precision <= 8:
            raise InvalidInput("InvalidPrecision: an asset has 0 to 8 decimal places")
        if not _TICKER.fullmatch(self.ticker):
            raise InvalidInput("InvalidTicker: a ticker has 3 to 24 letters, digits, dots or dashes")
        if self.version != 0:
            raise InvalidInput("InvalidVersion: contracts have version 0")

    def __str__(self) -> str:
        content = {
            "entity": {"domain": self.domain},
            "issuer_pubkey": self.issuer_pubkey,
            "name": self.name,
            "precision": self.precision,
            "ticker": self.ticker,
            "version": self.version,
        }
        return json.dumps(content, separators=(",", ":"), sort_keys=True)

    def hash(self) -> bytes:
        """SHA-256 of the JSON (32 bytes): the entropy field of the issuance."""
        return sha256(str(self).encode())


@dataclass(frozen=True, slots=True)
class IssuedAsset:
    """An asset known from its first issuance: entropy, and whether its amount was hidden."""

    entropy: bytes
    blinded: bool

    @property
    def token(self) -> bytes:
        """The reissuance token (32 bytes, internal order)."""
        return wally.issuance_token(self.entropy, self.blinded)


def first_issuance(satoshi: int, tokens: int, contract_hash: bytes) -> Issuance:
    """Issuance fields of a new asset; absent, not zero, where nothing is issued."""
    return Issuance(
        bytes(32),
        contract_hash,
        explicit_value_field(satoshi) if satoshi else b"",
        explicit_value_field(tokens) if tokens else b"",
    )


def reissuance(asset: IssuedAsset, satoshi: int, token_abf: bytes) -> Issuance:
    """Issuance fields of a reissuance; ``token_abf`` is the blinding factor of the token spent."""
    return Issuance(token_abf, asset.entropy, explicit_value_field(satoshi))


def issued_by(outpoint: OutPoint, issuance: Issuance) -> tuple[bytes, bytes]:
    """(asset, token) that an input spending ``outpoint`` issues, internal order."""
    return issued_asset(TxIn(outpoint, issuance=issuance))


def find_issuance(asset: bytes, transactions: Iterable[Transaction]) -> IssuedAsset | None:
    """The first issuance of an asset (32 bytes, internal order) among these transactions."""
    for tx in transactions:
        for txin in tx.vin:
            issuance = txin.issuance
            if issuance is None or issuance.is_reissuance or issued_asset(txin)[0] != asset:
                continue
            entropy = wally.issuance_entropy(bytes(txin.prevout.hash), txin.prevout.vout(), issuance.entropy)
            return IssuedAsset(entropy, len(issuance.amount_field) == 33)
    return None
