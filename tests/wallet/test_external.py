"""One transaction, two wallets: details added, coins handed over, openings checked."""

from __future__ import annotations

import pytest

from amp0.elements import pset_fields as f
from amp0.elements import wally
from amp0.elements.confidential import DomainEntry, PlainOutput, blind, verify_amounts
from amp0.elements.keys import SecretKey
from amp0.elements.pset import Pset, PsetInput, PsetOutput
from amp0.elements.transaction import Transaction, TxIn
from amp0.wallet.external import ExternalUtxo
from amp0.wallet.tx_builder import TxBuilder
from amp0.wallet.wollet import Wollet
from tests.wallet.funded import (
    CASES,
    DESTINATION,
    LBTC,
    NETWORK,
    amp0_descriptor,
    factor,
    recorded_wollet,
    signer,
)

KEPT_INPUT = {f.I_PREVIOUS_TXID, f.I_OUTPUT_INDEX}


def bare(pset: Pset) -> Pset:
    """A PSET as somebody writes it who does not know the wallet."""
    inputs = [PsetInput({k: v for k, v in i.fields.items() if k in KEPT_INPUT}) for i in pset.inputs()]
    ours = (f.O_BIP32, f.O_REDEEM_SCRIPT, f.O_WITNESS_SCRIPT)
    outputs = [PsetOutput({k: v for k, v in o.fields.items() if k[:1] not in ours}) for o in pset.outputs()]
    top = {k: v for k, v in pset.fields.items() if k[:1] != f.G_XPUB}
    return Pset.of(top, inputs, outputs)


def test_details_are_those_the_builder_writes() -> None:
    wollet = recorded_wollet()
    built = TxBuilder(NETWORK).add_lbtc_recipient(DESTINATION, 1000).finish_for_amp0(wollet).pset()
    completed = wollet.add_details(bare(built))
    assert [o.fields for o in completed.outputs()] == [o.fields for o in built.outputs()]
    for txin, original in zip(completed.inputs(), built.inputs(), strict=True):
        assert txin.fields.items() <= original.fields.items()
        assert txin.derivations == original.derivations
    assert set(completed.fields.items()) == set(built.fields.items())
    assert signer().sign(completed).unsigned_tx == built.unsigned_tx
    assert wollet.add_details(built) == built


def test_account_keys_are_those_lwk_adds() -> None:
    """(LWK's wollet here was never synced, so keys are all it can add.)"""
    lwk = pytest.importorskip("lwk")
    theirs = lwk.Wollet(lwk.Network.regtest_default(), lwk.WolletDescriptor(str(amp0_descriptor())), None)
    recorded = bare(Pset(CASES["lbtc"]["pset"]))
    added = Pset(str(theirs.add_details(lwk.Pset(str(recorded))))).fields
    ours = recorded_wollet().add_details(recorded).fields
    assert {k: v for k, v in added.items() if k[:1] == f.G_XPUB} == {k: v for k, v in ours.items() if k[:1] == f.G_XPUB}
    assert len(ours) == len(recorded.fields) + 2


def test_a_stranger_adds_nothing() -> None:
    recorded = Pset(CASES["lbtc"]["pset"])
    stranger = Wollet(NETWORK, signer().wpkh_slip77_descriptor())
    completed = stranger.add_details(recorded)
    assert completed.inputs() == recorded.inputs()
    assert completed.outputs() == recorded.outputs()


def test_coins_of_a_transaction_not_sent_yet() -> None:
    wollet = recorded_wollet()
    case = CASES["lbtc"]
    (change,) = wollet.extract_wallet_utxos(Pset(case["signed_pset"]))
    cosigned = Transaction(case["cosigned_tx"])
    assert change.coin.outpoint.hash == cosigned.txid()
    assert change.coin.txout == cosigned.vout[1]
    assert change.coin.satoshi == Pset(case["pset"]).outputs()[1].amount()
    assert change == wollet.extract_wallet_utxos(Pset(case["pset"]))[0]
    other = Wollet(NETWORK, signer().wpkh_slip77_descriptor())
    pset = TxBuilder(NETWORK).add_external_utxos([change]).drain_lbtc_wallet().finish(other)
    verify_amounts(pset.extract_tx(), pset.spent_outputs())


def test_coins_blinded_for_another_key() -> None:
    """A payer who mixed keys up: the coin is on our script, and only that key opens it."""
    wollet = recorded_wollet()
    source = next(utxo for utxo in wollet.utxos() if utxo.asset_id == LBTC)
    key = SecretKey(factor("mixed up"))
    script = amp0_descriptor().script_bytes(7)
    made = blind(
        [DomainEntry.of_output(source.txout, source.opening)],
        [PlainOutput(script, source.opening.asset, source.satoshi, wally.public_key(key.bytes()))],
    )
    tx = Transaction.of(2, 0, [TxIn(source.outpoint())], [made[0].txout])
    wollet.apply_transaction(tx)
    assert tx.txid() not in {utxo.outpoint().hash for utxo in wollet.utxos()}
    assert wollet.unblind_utxos_with(SecretKey(factor("wrong"))) == []
    (found,) = wollet.unblind_utxos_with(key)
    assert (found.coin.outpoint.hash, found.coin.satoshi) == (tx.txid(), source.satoshi)
    wollet.apply_transaction(
        Transaction.of(2, 0, [TxIn(found.coin.outpoint), TxIn(wollet.utxos()[0].outpoint())], [made[0].txout])
    )
    assert all(utxo.coin.outpoint != found.coin.outpoint for utxo in wollet.unblind_utxos_with(key))


def test_external_utxo_is_a_value() -> None:
    wollet = recorded_wollet()
    utxo = wollet.utxos()[0]
    made = [ExternalUtxo.from_unchecked_data(utxo.outpoint(), utxo.txout, utxo.unblinded(), 359) for _ in range(2)]
    assert made[0] == made[1]
    assert len(set(made)) == 1
    assert str(utxo.satoshi) not in repr(made[0]).replace(str(utxo.outpoint()), "")
