"""The same calls on LWK's builder and on ours: same outputs, same fee, and each reads the other's."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from amp0.elements.address import Address
from amp0.elements.confidential import verify_amounts
from amp0.elements.pset import Amp0Pset, Pset
from amp0.elements.transaction import Transaction
from amp0.wallet.external import ExternalUtxo
from amp0.wallet.tx_builder import TxBuilder
from tests.wallet.funded import (
    ASSET,
    DESTINATION,
    LBTC,
    NETWORK,
    PLAIN,
    SPENDS,
    amp0_descriptor,
    fake_wollet,
    signer,
)

lwk = pytest.importorskip("lwk", reason="LWK has no build for this platform: nothing to compare with")

Call = Callable[[Any, Callable[[str], Any]], None]


def _three_payments(b: Any, address: Callable[[str], Any]) -> None:
    for satoshi in (1000, 2000, 3000):
        b.add_lbtc_recipient(address(DESTINATION), satoshi)


def _everything(b: Any, address: Callable[[str], Any]) -> None:
    b.add_recipient(address(DESTINATION), 100, ASSET)
    b.add_burn(10, ASSET)
    b.add_lbtc_recipient(address(DESTINATION), 1000)
    b.add_explicit_recipient(address(PLAIN), 2000, LBTC)
    b.add_op_return(b"amp0")
    b.fee_rate(123.4)


def _drain_to(b: Any, address: Callable[[str], Any]) -> None:
    b.add_lbtc_recipient(address(DESTINATION), 1000)
    b.drain_lbtc_to(address(DESTINATION))


def _explicit_drain(b: Any, address: Callable[[str], Any]) -> None:
    b.drain_lbtc_to_explicit(address(PLAIN))
    b.fee_rate(1000.0)


def _nothing_but_coins(b: Any, address: Callable[[str], Any]) -> None:
    b.add_input_rangeproofs(False)


@pytest.fixture(scope="module")
def lwk_coins() -> list[Any]:
    blinding = lwk.WolletDescriptor(SPENDS["descriptor"])
    coins = []
    for funding in SPENDS["funding"]:
        tx = lwk.Transaction(funding["raw"])
        out = tx.outputs()[0]
        opened = out.unblind(blinding.derive_blinding_key(out.script_pubkey()))
        coins.append(lwk.ExternalUtxo(0, tx, opened, 359, True))
    return coins


def our_coins() -> list[ExternalUtxo]:
    coins = []
    for funding in SPENDS["funding"]:
        tx = Transaction(funding["raw"])
        key = amp0_descriptor().blinding_key(tx.vout[0].script)
        coins.append(ExternalUtxo(0, tx, tx.vout[0].unblind(key), 359, True))
    return coins


@pytest.mark.interop
@pytest.mark.parametrize(
    "calls", [_three_payments, _everything, _drain_to, _explicit_drain, _nothing_but_coins], ids=lambda f: f.__name__
)
def test_same_calls_same_transaction(calls: Call, lwk_coins: list[Any]) -> None:
    descriptor = signer().wpkh_slip77_descriptor()
    network = lwk.Network.regtest_default()
    theirs = lwk.Wollet(network, lwk.WolletDescriptor(str(descriptor)), None)
    peer_builder = network.tx_builder()
    peer_builder.add_external_utxos(lwk_coins)
    calls(peer_builder, lwk.Address)
    peer = peer_builder.finish_for_amp0(theirs)
    builder = TxBuilder(NETWORK).add_external_utxos(our_coins())
    calls(builder, Address)
    ours = builder.finish_for_amp0(fake_wollet(descriptor=descriptor))

    def shape(pset: Any) -> list[Any]:
        outputs = [(o.amount(), o.asset(), len(o.script_pubkey().to_bytes())) for o in pset.outputs()]
        return [*outputs, len(pset.inputs())]

    assert shape(ours.pset()) == shape(peer.pset())
    assert [bool(n) for n in ours.blinding_nonces()] == [bool(n) for n in peer.blinding_nonces()]
    # Each side's PSET and nonces pass the other's checks.
    lwk.Amp0Pset(lwk.Pset(str(ours.pset())), ours.blinding_nonces())
    Amp0Pset(Pset(str(peer.pset())), peer.blinding_nonces())
    verify_amounts(ours.pset().extract_tx(), ours.pset().spent_outputs())
    if all(output.amount() for output in ours.pset().outputs()):
        # LWK's verifier stumbles over the zero amount of any OP_RETURN, its own included.
        spent = [lwk.Transaction(funding["raw"]) for funding in SPENDS["funding"]]
        by_txid = {str(tx.txid()): tx.outputs()[0] for tx in spent}
        tx = lwk.Transaction(str(ours.pset().extract_tx()))
        tx.verify_tx_amt_proofs([by_txid[str(txin.previous_txid())] for txin in ours.pset().inputs()])
