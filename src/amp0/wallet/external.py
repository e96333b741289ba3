"""Working on one transaction from two wallets: coins of others, and PSETs made elsewhere."""

from __future__ import annotations

from typing import TYPE_CHECKING

from amp0.elements import pset_fields as f
from amp0.elements.confidential import Opening, TxOutSecrets, unblind
from amp0.elements.descriptor import Chain, WolletDescriptor
from amp0.elements.keys import SecretKey
from amp0.elements.pset import Pset, finalize_for_cosign
from amp0.elements.pset_io import PsetInput, PsetOutput
from amp0.elements.transaction import OutPoint, Transaction, TxOut
from amp0.errors import InvalidInput, UnblindError
from amp0.wallet.assembly import SpentCoin, account_keys, own_input_fields, own_output_fields

if TYPE_CHECKING:
    from amp0.wallet.wollet import Wollet

__all__ = ["ExternalUtxo", "add_details", "created_utxos", "utxos_opened_with"]


class ExternalUtxo:
    """A coin of another wallet that a transaction is to spend as well.

    ``ExternalUtxo(vout, tx, unblinded, max_weight_to_satisfy, is_segwit)`` as in LWK. The opening is
    checked against the output when a transaction is built.
    """

    __slots__ = ("coin",)

    def __init__(
        self,
        vout: int,
        tx: Transaction,
        unblinded: TxOutSecrets,
        max_weight_to_satisfy: int,
        is_segwit: bool = True,
    ) -> None:
        if not 0 <= vout < len(tx.vout):
            raise InvalidInput(f"the transaction has no output {vout}")
        if not is_segwit:
            raise InvalidInput("only outputs spent with a witness can be added")
        self._set(OutPoint(tx.txid(), vout), tx.vout[vout], unblinded.opening, max_weight_to_satisfy)

    @classmethod
    def from_unchecked_data(
        cls, outpoint: OutPoint, txout: TxOut, unblinded: TxOutSecrets, max_weight_to_satisfy: int
    ) -> ExternalUtxo:
        """From an output alone; that it is the one at ``outpoint`` is not checked."""
        self = cls.__new__(cls)
        self._set(outpoint, txout, unblinded.opening, max_weight_to_satisfy)
        return self

    def _set(self, outpoint: OutPoint, txout: TxOut, opening: Opening, weight: int) -> None:
        if not 0 <= weight <= 400_000:
            raise InvalidInput(f"{weight} weight units cannot satisfy an input")
        self.coin = SpentCoin(outpoint, txout, opening, weight)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ExternalUtxo) and self.coin == other.coin

    def __hash__(self) -> int:
        return hash(self.coin.outpoint)

    def __repr__(self) -> str:
        return f"<ExternalUtxo {self.coin.outpoint}>"


def add_details(wollet: Wollet, pset: Pset) -> Pset:
    """A copy of a PSET with what a signer of this wallet needs: spent outputs, scripts, key origins.

    For a PSET that somebody else built and in which this wallet has inputs or outputs. Fields that
    are there already stay as they are.
    """
    descriptor = wollet.descriptor()
    coins = {txo.outpoint(): txo for txo in wollet.txos()}
    inputs = []
    for txin in pset.inputs():
        coin = coins.get(txin.prevout)
        if coin is None:
            inputs.append(txin)
            continue
        extra = {
            f.I_WITNESS_UTXO: coin.txout.serialize(),
            **own_input_fields(descriptor, (coin.ext_int(), coin.index)),
        }
        inputs.append(PsetInput(f.in_input_order({**extra, **txin.fields})))
    outputs = []
    for output in pset.outputs():
        place = _place(wollet, descriptor, output.script)
        if place is not None:
            output = PsetOutput(f.in_output_order({**own_output_fields(descriptor, place), **output.fields}))
        outputs.append(output)
    return Pset.of({**pset.fields, **account_keys(descriptor), **pset.fields}, inputs, outputs)


def _place(wollet: Wollet, descriptor: WolletDescriptor, script: bytes) -> tuple[Chain, int] | None:
    place = wollet.place_of(script)
    if place is not None and descriptor.is_amp0():
        return Chain.EXTERNAL, place[1]
    return place


def created_utxos(wollet: Wollet, pset: Pset) -> list[ExternalUtxo]:
    """The coins that a PSET will give this wallet, to be spent by a next transaction.

    Their transaction id is the final one: scriptSigs are put in place before it is taken.
    """
    tx = finalize_for_cosign(pset).transaction
    weight = wollet.max_weight_to_satisfy()
    found = []
    for vout, txout in enumerate(tx.vout):
        if wollet.owns(txout.script) is None or not txout.is_partially_blinded():
            continue
        opening = unblind(txout, wollet.descriptor().blinding_key(txout.script))
        found.append(ExternalUtxo(vout, tx, TxOutSecrets(opening), weight))
    return found


def utxos_opened_with(wollet: Wollet, blinding_key: SecretKey) -> list[ExternalUtxo]:
    """Unspent outputs on the wallet's scripts that were blinded for another key, which this one is."""
    weight = wollet.max_weight_to_satisfy()
    found = []
    for sealed in wollet.unattributed():
        if wollet.is_spent(sealed.outpoint):
            continue
        try:
            opening = unblind(sealed.txout, blinding_key.bytes())
        except UnblindError:
            continue
        secrets = TxOutSecrets(opening)
        found.append(ExternalUtxo.from_unchecked_data(sealed.outpoint, sealed.txout, secrets, weight))
    return found
