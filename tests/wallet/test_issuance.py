"""Issuing and reissuing from ordinary wallets: valid by consensus, equal to LWK's in shape and fee."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from amp0.elements.confidential import issued_asset, verify_amounts
from amp0.elements.hashes import asset_id_to_bytes, asset_id_to_str
from amp0.elements.pset import Pset
from amp0.elements.transaction import Transaction
from amp0.errors import InsufficientFunds, InvalidAddress, InvalidInput, WalletError
from amp0.wallet.external import ExternalUtxo
from amp0.wallet.issuance import Contract, find_issuance
from amp0.wallet.tx_builder import TxBuilder
from amp0.wallet.wollet import Wollet
from tests.wallet.funded import (
    DESTINATION,
    LBTC,
    NETWORK,
    PLAIN,
    SPENDS,
    amp0_descriptor,
    fake_wollet,
    recorded_wollet,
    signer,
)

KEY = "0279be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798"
CONTRACT = ("example.com", KEY, "Test", 8, "TST", 0)


def ordinary(*amounts: int) -> Any:
    return fake_wollet(*amounts, descriptor=signer().wpkh_slip77_descriptor())


def finished(pset: Pset) -> Transaction:
    """Signed, finished, and checked as a node would."""
    tx = signer().sign(pset).finalize()
    verify_amounts(tx, pset.spent_outputs())
    assert Transaction.from_bytes(tx.to_bytes()) == tx
    assert Pset(str(pset)) == pset
    return tx


@pytest.mark.parametrize(("satoshi", "tokens"), [(1000, 2), (1000, 0), (0, 3)])
@pytest.mark.parametrize("contract", [None, Contract(*CONTRACT)])
def test_issue(satoshi: int, tokens: int, contract: Contract | None) -> None:
    builder = TxBuilder(NETWORK).issue_asset(satoshi, None, tokens, None, contract)
    pset = builder.finish(ordinary(9000, 500))
    issuing = pset.inputs()[0]
    names = [issuing.issuance_asset()] * bool(satoshi) + [issuing.issuance_token()] * bool(tokens)
    made = [(output.amount(), output.asset()) for output in pset.outputs()]
    assert made[:-2] == [(n, name) for n, name in zip(filter(None, (satoshi, tokens)), names, strict=True)]
    tx = finished(pset)
    assert tx.vin[0].issuance is not None
    assert tx.vin[0].issuance.entropy == (bytes(32) if contract is None else contract.hash())
    found = find_issuance(asset_id_to_bytes(issuing.issuance_asset() or ""), [tx])
    assert found is not None
    assert not found.blinded
    shown = issuing.issuance()
    assert shown is not None
    assert (shown.asset_satoshi(), shown.token_satoshi()) == (satoshi or None, tokens or None)
    assert shown.is_issuance()
    assert [shown.is_reissuance(), shown.is_confidential(), shown.is_null()] == [False] * 3
    assert (shown.prev_txid(), shown.prev_vout()) == (issuing.previous_txid(), issuing.previous_vout())


def test_issue_to_somebody_else() -> None:
    pset = TxBuilder(NETWORK).issue_asset(7, DESTINATION, 1, DESTINATION, None).finish(ordinary(9000))
    assert pset.outputs()[0].script == pset.outputs()[1].script != pset.outputs()[2].script
    finished(pset)


def issued_wollet(satoshi: int, tokens: int) -> tuple[Wollet, str, str]:
    """A synced ordinary wallet that has issued an asset: wollet, asset id, token id."""
    wollet = Wollet(NETWORK, signer().wpkh_slip77_descriptor())
    funding = (
        TxBuilder(NETWORK).add_lbtc_recipient(wollet.address(0).address(), 90_000).finish_for_amp0(recorded_wollet())
    )
    wollet.apply_transaction(funding.pset().extract_tx())
    pset = TxBuilder(NETWORK).issue_asset(satoshi, None, tokens, None, None).finish(wollet)
    asset, token = pset.inputs()[0].issuance_ids() or ("", "")
    wollet.apply_transaction(finished(pset))
    return wollet, asset, token


def test_reissue() -> None:
    wollet, asset, token = issued_wollet(1000, 2)
    assert (wollet.balance()[asset], wollet.balance()[token]) == (1000, 2)
    pset = TxBuilder(NETWORK).reissue_asset(asset, 500).finish(wollet)
    reissuing = next(txin for txin in pset.inputs() if txin.issuance())
    assert reissuing.issuance_ids() == [asset, token]
    shown = reissuing.issuance()
    assert shown is not None
    assert shown.is_reissuance()
    assert shown.asset_satoshi() == 500
    tx = finished(pset)
    wollet.apply_transaction(tx)
    assert (wollet.balance()[asset], wollet.balance()[token]) == (1500, 2)
    again = TxBuilder(NETWORK).add_recipient(DESTINATION, 1500, asset).reissue_asset(asset, 1, DESTINATION)
    finished(again.finish(wollet))


def test_reissue_while_spending_the_token() -> None:
    """The token coin is already an input for another reason: it is not spent twice."""
    wollet, asset, token = issued_wollet(1000, 2)
    pset = TxBuilder(NETWORK).add_recipient(DESTINATION, 1, token).reissue_asset(asset, 5).finish(wollet)
    assert len({txin.prevout for txin in pset.inputs()}) == len(pset.inputs())
    finished(pset)


def test_reissue_needs_the_issuance_and_the_token() -> None:
    wollet, asset, token = issued_wollet(1000, 1)
    issuance_tx = next(t.tx() for t in wollet.transactions() if t.type() == "issuance")
    stranger = Wollet(NETWORK, signer().wpkh_slip77_descriptor())
    with pytest.raises(WalletError, match="first issued"):
        TxBuilder(NETWORK).reissue_asset(asset, 5).finish(stranger)
    with pytest.raises(InsufficientFunds) as caught:
        TxBuilder(NETWORK).reissue_asset(asset, 5, None, issuance_tx).finish(stranger)
    assert caught.value.asset_id == token


def test_refusals() -> None:
    builder = TxBuilder(NETWORK)
    for satoshi, tokens in ((0, 0), (-1, 0), (0, -1), (2**63, 0)):
        with pytest.raises(InvalidInput, match="InvalidAmount"):
            builder.issue_asset(satoshi, None, tokens, None, None)
    with pytest.raises(InvalidAddress):
        builder.issue_asset(1, PLAIN, 0, None, None)
    with pytest.raises(InvalidInput):
        builder.reissue_asset("xx", 1)
    with pytest.raises(InvalidInput, match="InvalidAmount"):
        builder.reissue_asset("aa" * 32, 0)
    builder.issue_asset(1)
    with pytest.raises(InvalidInput, match="one asset"):
        builder.issue_asset(1)
    builder.reissue_asset("aa" * 32, 1)
    with pytest.raises(InvalidInput, match="once"):
        builder.reissue_asset("aa" * 32, 1)


def test_D13_amp0_accounts_do_not_issue() -> None:
    for builder in (TxBuilder(NETWORK).issue_asset(1), TxBuilder(NETWORK).reissue_asset("aa" * 32, 1)):
        with pytest.raises(WalletError, match="issuer API"):
            builder.finish_for_amp0(recorded_wollet())


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({0: "ex ample"}, "InvalidDomain"),
        ({0: "example"}, "InvalidDomain"),
        ({1: "00"}, "InvalidIssuerPubkey"),
        ({2: ""}, "InvalidName"),
        ({2: "Tést"}, "InvalidName"),
        ({3: 9}, "InvalidPrecision"),
        ({4: "TS"}, "InvalidTicker"),
        ({4: "TST$"}, "InvalidTicker"),
        ({5: 1}, "InvalidVersion"),
    ],
)
def test_contracts_that_are_refused(change: dict[int, Any], word: str) -> None:
    arguments: list[Any] = [change.get(i, value) for i, value in enumerate(CONTRACT)]
    with pytest.raises(InvalidInput, match=word):
        Contract(*arguments)


# -- LWK ----------------------------------------------------------------------------------------


def test_contract_is_lwks() -> None:
    lwk = pytest.importorskip("lwk")
    assert str(Contract(*CONTRACT)) == str(lwk.Contract(*CONTRACT))


@pytest.mark.parametrize(("satoshi", "tokens"), [(1000, 2), (1000, 0), (0, 3)])
def test_issuance_is_lwks(satoshi: int, tokens: int) -> None:
    """Same coins, same order: the same asset, the same outputs, the same fee."""
    lwk = pytest.importorskip("lwk")
    network = lwk.Network.regtest_default()
    theirs = lwk.Wollet(network, lwk.WolletDescriptor(str(signer().wpkh_slip77_descriptor())), None)
    blinding = lwk.WolletDescriptor(SPENDS["descriptor"])
    lwk_coins, our_coins = [], []
    for funding in SPENDS["funding"][:2]:
        tx = lwk.Transaction(funding["raw"])
        out = tx.outputs()[0]
        secrets = out.unblind(blinding.derive_blinding_key(out.script_pubkey()))
        lwk_coins.append(lwk.ExternalUtxo(0, tx, secrets, 359, True))
        ours = Transaction(funding["raw"])
        key = amp0_descriptor().blinding_key(ours.vout[0].script)
        our_coins.append(ExternalUtxo(0, ours, ours.vout[0].unblind(key), 359, True))
    peer_builder = network.tx_builder()
    peer_builder.add_external_utxos(lwk_coins)
    peer_builder.issue_asset(satoshi, None, tokens, None, lwk.Contract(*CONTRACT))
    peer = peer_builder.finish(theirs)
    builder = TxBuilder(NETWORK).add_external_utxos(our_coins)
    pset = builder.issue_asset(satoshi, None, tokens, None, Contract(*CONTRACT)).finish(ordinary())
    assert [(o.amount(), o.asset()) for o in pset.outputs()] == [(o.amount(), o.asset()) for o in peer.outputs()]
    assert pset.inputs()[0].issuance_ids() == peer.inputs()[0].issuance_ids()
    assert pset.extract_tx().fee(LBTC) == peer.extract_tx().fee(LBTC)
    # And each reads the other's.
    assert Pset(str(peer)).inputs()[0].issuance_ids() == peer.inputs()[0].issuance_ids()
    reread = lwk.Pset(str(pset))
    assert reread.inputs()[0].issuance_ids() == pset.inputs()[0].issuance_ids()
    assert str(reread.extract_tx()) == str(pset.extract_tx())
    assert str(Pset(str(peer)).extract_tx()) == str(peer.extract_tx())
    verify_amounts(pset.extract_tx(), pset.spent_outputs())


def test_an_asset_with_a_hidden_amount_is_not_reissued_in_the_open() -> None:
    """The token's flavour follows the first issuance for ever; a node would refuse the other one."""
    wollet, _, _ = issued_wollet(1000, 1)
    tx = next(t.tx() for t in wollet.transactions() if t.type() == "issuance")
    at = next(i for i, txin in enumerate(tx.vin) if txin.issuance)
    issuance = tx.vin[at].issuance
    assert issuance is not None
    hidden = tx.replace_input(at, issuance=replace(issuance, amount_field=b"\x08" + b"\x01" * 32))
    asset, _ = issued_asset(hidden.vin[at])
    found = find_issuance(asset, [hidden])
    assert found is not None
    assert found.blinded
    with pytest.raises(WalletError, match="hidden amount"):
        TxBuilder(NETWORK).reissue_asset(asset_id_to_str(asset), 5, None, hidden).finish(wollet)
