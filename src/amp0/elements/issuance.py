"""Issuance fields, in the open or hidden, with the openings of what they issue.

A hidden amount is a commitment with a range proof, as in an output; its asset stays in the open, and the proof commits
to no script. The *nonce* that rewinds the proof is what nodes call the issuance blinding key: whoever has it can read
the amount. An asset issued in the open and one that was hidden have different reissuance tokens, so the choice is made
once in an asset's life.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import dataclass

from amp0.elements import wally
from amp0.elements.confidential import DomainEntry, Opening, issued_asset, run_parallel
from amp0.elements.transaction import MAX_SATOSHI, Issuance, OutPoint, TxIn, explicit_value_field, value_of_field
from amp0.errors import InvalidAmounts, UnblindError

__all__ = ["Issued", "issue", "open_issuance"]

_ZERO = bytes(32)


@dataclass(frozen=True, slots=True)
class Issued:
    """Issuance fields of an input and what they hide. ``asset`` and ``token`` have a zero ``abf``, and a ``vbf``
    where the amount is hidden; None where nothing is issued."""

    issuance: Issuance
    asset: Opening | None
    token: Opening | None

    def domain(self) -> list[DomainEntry]:
        """What outputs may be made of, in consensus order: it follows the input's own entry."""
        issued = (opening for opening in (self.asset, self.token) if opening is not None)
        return [DomainEntry(wally.asset_generator(opening.asset, None), opening) for opening in issued]


def issue(
    outpoint: OutPoint,
    satoshi: int,
    tokens: int,
    entropy: bytes,
    *,
    token_abf: bytes = _ZERO,
    nonces: tuple[bytes, bytes] | None = None,
    random: Callable[[int], bytes] = secrets.token_bytes,
) -> Issued:
    """The fields of the input that spends ``outpoint`` and issues ``satoshi`` of an asset and ``tokens`` of its token.

    ``entropy`` is the contract hash (32 bytes). For a reissuance it is the asset's entropy and ``token_abf`` the asset
    blinding factor of the token that the input spends. ``nonces`` (32 bytes each, a private key) hide asset and tokens;
    without them both are in the open. Raises :class:`InvalidAmounts`.
    """
    if not (0 <= satoshi <= MAX_SATOSHI and 0 <= tokens <= MAX_SATOSHI and satoshi + tokens):
        raise InvalidAmounts(f"an issuance makes 1 to {MAX_SATOSHI} satoshi of an asset, of its token, or of both")
    is_hidden = nonces is not None
    # The token's id depends on whether the amount is a commitment, so the amount field's size is needed before it.
    placeholder = bytes(33) if is_hidden and satoshi else explicit_value_field(satoshi) if satoshi else b""
    bare = Issuance(token_abf, entropy, placeholder)
    assets = issued_asset(TxIn(outpoint, issuance=bare))
    jobs = [
        _hider(asset, amount, None if nonces is None else nonces[number], random)
        for number, (asset, amount) in enumerate(zip(assets, (satoshi, tokens), strict=True))
    ]
    (amount_field, amount_proof, asset_opening), (tokens_field, tokens_proof, token_opening) = run_parallel(jobs)
    fields = Issuance(token_abf, entropy, amount_field, tokens_field, amount_proof, tokens_proof)
    return Issued(fields, asset_opening, token_opening)


def open_issuance(txin: TxIn, nonces: tuple[bytes, bytes]) -> Issued:
    """What an issuing input made, its hidden amounts read with their nonces. Raises :class:`UnblindError`."""
    issuance = txin.issuance
    if issuance is None:
        raise UnblindError("this input issues nothing")
    asset, token = issued_asset(txin)
    return Issued(
        issuance,
        _opened(asset, issuance.amount_field, issuance.amount_proof, nonces[0]),
        _opened(token, issuance.tokens_field, issuance.tokens_proof, nonces[1]),
    )


def _hider(
    asset: bytes, satoshi: int, nonce: bytes | None, random: Callable[[int], bytes]
) -> Callable[[], tuple[bytes, bytes, Opening | None]]:
    # Random numbers are drawn here, in order: the jobs run on several threads.
    vbf = _scalar(random) if nonce is not None and satoshi else _ZERO

    def job() -> tuple[bytes, bytes, Opening | None]:
        if not satoshi:
            return b"", b"", None
        if nonce is None:
            return explicit_value_field(satoshi), b"", Opening(asset, satoshi)
        generator = wally.asset_generator(asset, None)
        commitment = wally.value_commitment(satoshi, vbf, generator)
        proof = wally.rangeproof(satoshi, nonce, asset, _ZERO, vbf, commitment, b"", generator)
        return commitment, proof, Opening(asset, satoshi, vbf=vbf)

    return job


def _scalar(random: Callable[[int], bytes]) -> bytes:
    for _ in range(64):
        candidate = random(32)
        if wally.is_private_key(candidate):
            return candidate
    raise InvalidAmounts("the random source gives no usable numbers; nothing was issued")


def _opened(asset: bytes, field: bytes, proof: bytes, nonce: bytes) -> Opening | None:
    if not field:
        return None
    satoshi = value_of_field(field)
    if satoshi is not None:
        return Opening(asset, satoshi)
    generator = wally.asset_generator(asset, None)
    amount, named, _, vbf = wally.unblind_with_nonce(nonce, proof, field, b"", generator)
    if named != asset or wally.value_commitment(amount, vbf, generator) != field:
        raise UnblindError("the opening does not reproduce the issued amount's commitment")
    return Opening(asset, amount, vbf=vbf)
