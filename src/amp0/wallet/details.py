"""What a PSET does to a wallet: amounts in and out, who is paid, who has signed.

Nothing the PSET merely claims is taken for a fact. Whether an output is ours is decided by the
wollet's own scripts. An amount counts only when it is explicit, when the wollet has opened the coin
itself, or when the PSET proves it against the commitment (both explicit proofs verify); an output of
ours without proofs is opened with our own blinding key. What cannot be verified is shown as unknown,
or refused where a balance would be wrong without it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from amp0.elements import pset_fields as f
from amp0.elements import wally
from amp0.elements.address import Address
from amp0.elements.confidential import Opening, unblind
from amp0.elements.hashes import asset_id_to_str
from amp0.elements.keys import KeyOrigin
from amp0.elements.pset import Pset
from amp0.elements.pset_io import PsetInput, PsetIssuance, PsetOutput
from amp0.elements.transaction import OutPoint, TxOut
from amp0.errors import InvalidAddress, InvalidPset, UnblindError

if TYPE_CHECKING:
    from amp0.network import Network
    from amp0.wallet.wollet import Wollet

__all__ = ["PsetBalance", "PsetDetails", "PsetSignatures", "Recipient"]


@dataclass(frozen=True, slots=True)
class Recipient:
    """An output that is neither ours nor the fee.

    Amount and asset are ``None`` when the PSET does not prove them: such a PSET should not be
    signed by whoever wants to know what is paid.
    """

    _address: Address | None
    _asset: str | None
    _value: int | None
    _vout: int

    def address(self) -> Address | None:
        """Who is paid; ``None`` for a burn, an OP_RETURN or a script without address."""
        return self._address

    def asset(self) -> str | None:
        """Asset id in display hex."""
        return self._asset

    def value(self) -> int | None:
        """Satoshi."""
        return self._value

    def vout(self) -> int:
        """Number of the output."""
        return self._vout


@dataclass(frozen=True, slots=True)
class PsetBalance:
    """What the transaction adds to and takes from the wallet, in satoshi per asset id (display hex)."""

    _balances: Mapping[str, int]
    _fees: Mapping[str, int]
    _recipients: tuple[Recipient, ...]
    _policy_asset: str

    def balances(self) -> dict[str, int]:
        """Net change per asset; the fee is in it when this wallet pays it. Zero changes are left out."""
        return dict(self._balances)

    def fee(self) -> int:
        """The fee in L-BTC."""
        return self.fees_in(self._policy_asset)

    def fees(self) -> dict[str, int]:
        """Fee per asset."""
        return dict(self._fees)

    def fees_in(self, asset: str) -> int:
        """The fee in one asset."""
        return self._fees.get(asset, 0)

    def recipients(self) -> list[Recipient]:
        """Outputs that are neither ours nor the fee."""
        return list(self._recipients)


@dataclass(frozen=True, slots=True)
class PsetSignatures:
    """Who has signed an input and who has not: public key (hex) → ``[fingerprint]path``.

    A signature counts when it is there; whether it is valid shows when the PSET is finalised.
    """

    _has: Mapping[str, str]
    _missing: Mapping[str, str]

    def has_signature(self) -> dict[str, str]:
        """Keys that have signed."""
        return dict(self._has)

    def missing_signature(self) -> dict[str, str]:
        """Keys that have not."""
        return dict(self._missing)


@dataclass(frozen=True, slots=True)
class PsetDetails:
    """What a PSET does to a wallet: ``wollet.pset_details(pset)``."""

    _balance: PsetBalance
    _signatures: tuple[PsetSignatures, ...]
    _issuances: tuple[PsetIssuance, ...]

    @classmethod
    def of(cls, wollet: Wollet, pset: Pset) -> PsetDetails:
        """Read a PSET with a wollet's eyes.

        Raises :class:`InvalidPset` when an amount of the wallet's own cannot be verified, or when
        a proof does not fit what it should prove.
        """
        return cls(
            _balance(wollet, pset),
            tuple(_signatures(txin) for txin in pset.inputs()),
            tuple(txin.issuance() or PsetIssuance() for txin in pset.inputs()),
        )

    def balance(self) -> PsetBalance:
        """Amounts in and out."""
        return self._balance

    def signatures(self) -> list[PsetSignatures]:
        """One per input."""
        return list(self._signatures)

    def inputs_issuances(self) -> list[PsetIssuance]:
        """One per input: what it issues; ``is_null()`` for nothing."""
        return list(self._issuances)

    def fingerprints_has(self) -> list[str]:
        """Fingerprints of signers that have signed at least one input."""
        return sorted({where[1:9] for s in self._signatures for where in s.has_signature().values()})

    def fingerprints_missing(self) -> list[str]:
        """Fingerprints of signers that have not signed at least one input."""
        return sorted({where[1:9] for s in self._signatures for where in s.missing_signature().values()})


def _signatures(txin: PsetInput) -> PsetSignatures:
    has: dict[str, str] = {}
    missing: dict[str, str] = {}
    for pubkey, (fingerprint, path) in txin.derivations.items():
        signed = pubkey in txin.signatures or txin.is_finalized
        (has if signed else missing)[pubkey.hex()] = f"[{fingerprint.hex()}]{_path_text(fingerprint, path)}"
    return PsetSignatures(has, missing)


def _path_text(fingerprint: bytes, path: tuple[int, ...]) -> str:
    return str(KeyOrigin(fingerprint, path)).partition("/")[2]


def _balance(wollet: Wollet, pset: Pset) -> PsetBalance:
    coins: dict[OutPoint, Opening] = {txo.outpoint(): txo.opening for txo in wollet.txos()}
    net: dict[bytes, int] = {}
    for i, txin in enumerate(pset.inputs()):
        spent = _spent_by(wollet, coins, i, txin)
        if spent is not None:
            net[spent.asset] = net.get(spent.asset, 0) - spent.satoshi
    fees: dict[str, int] = {}
    recipients: list[Recipient] = []
    for i, output in enumerate(pset.outputs()):
        txout = output.txout
        if txout.is_fee():
            asset = txout.asset() or ""
            fees[asset] = fees.get(asset, 0) + (txout.explicit_value or 0)
        elif wollet.owns(txout.script) is not None and txout.is_partially_blinded():
            gained = _own_output(wollet, i, output)
            net[gained.asset] = net.get(gained.asset, 0) + gained.satoshi
        else:
            # An explicit output on one of our scripts is no coin of the wallet, as in LWK.
            recipients.append(_recipient(wollet.network, i, output))
    balances = {asset_id_to_str(asset): satoshi for asset, satoshi in net.items() if satoshi}
    return PsetBalance(balances, fees, tuple(recipients), wollet.network.policy_asset())


def _spent_by(wollet: Wollet, coins: Mapping[OutPoint, Opening], index: int, txin: PsetInput) -> Opening | None:
    """Asset and amount of an input of ours; ``None`` for somebody else's."""
    known = coins.get(txin.prevout)
    if known is not None:
        return known
    spent = txin.spent_output
    if spent is None or wollet.owns(spent.script) is None:
        return None
    proven = _proven(
        spent,
        txin.explicit_value,
        txin.explicit_asset,
        txin.fields.get(f.I_VALUE_PROOF, b""),
        txin.fields.get(f.I_ASSET_PROOF, b""),
        f"input {index}",
    )
    if proven is None:
        raise InvalidPset(
            f"input {index} spends from this wallet, and neither the wallet nor the PSET knows how much; "
            "sync the wallet first"
        )
    return proven


def _own_output(wollet: Wollet, index: int, output: PsetOutput) -> Opening:
    opening = _proven_output(index, output)
    if opening is not None:
        return opening
    try:
        return unblind(output.txout, wollet.descriptor().blinding_key(output.script))
    except UnblindError:
        raise InvalidPset(f"output {index} goes to this wallet, which could not open it") from None


def _recipient(network: Network, index: int, output: PsetOutput) -> Recipient:
    try:
        address = Address.from_script(network, output.script, output.blinding_pubkey)
    except InvalidAddress:
        address = None
    opening = _proven_output(index, output)
    if opening is None:
        return Recipient(address, None, None, index)
    return Recipient(address, asset_id_to_str(opening.asset), opening.satoshi, index)


def _proven_output(index: int, output: PsetOutput) -> Opening | None:
    return _proven(
        output.txout,
        output.amount(),
        output.asset_bytes,
        output.fields.get(f.O_VALUE_PROOF, b""),
        output.fields.get(f.O_ASSET_PROOF, b""),
        f"output {index}",
    )


def _proven(
    txout: TxOut, satoshi: int | None, asset: bytes | None, value_proof: bytes, asset_proof: bytes, where: str
) -> Opening | None:
    """Asset and amount of an output: explicit, or as the two proofs show; ``None`` without proofs.

    (Blinding factors stay unknown.) Raises :class:`InvalidPset` for proofs that do not hold.
    """
    if not txout.is_partially_blinded():
        return Opening(txout.explicit_asset or b"", txout.explicit_value or 0)
    if satoshi is None or asset is None or not value_proof or not asset_proof:
        return None
    holds = txout.is_blinded and all(_checks(txout, satoshi, asset, value_proof, asset_proof))
    if not holds:
        raise InvalidPset(f"the amount or asset that the PSET states for {where} is not what it commits to")
    return Opening(asset, satoshi)


def _checks(txout: TxOut, satoshi: int, asset: bytes, value_proof: bytes, asset_proof: bytes) -> Iterator[bool]:
    yield wally.explicit_asset_proof_verify(asset_proof, asset, txout.asset_field)
    yield wally.explicit_value_proof_verify(value_proof, satoshi, txout.value_field, txout.asset_field)
