"""What a PSET does to a wallet: LWK's answers, and nothing believed that is not proven."""

from __future__ import annotations

from typing import Any

import pytest

from amp0.elements import pset_fields as f
from amp0.elements.pset import Pset, PsetOutput
from amp0.errors import InvalidPset
from amp0.wallet.tx_builder import TxBuilder
from amp0.wallet.wollet import Wollet
from tests.wallet.funded import (
    ASSET,
    CASES,
    DESTINATION,
    LBTC,
    NETWORK,
    PLAIN,
    SPENDS,
    amp0_descriptor,
    recorded_wollet,
    signer,
)

each_case = pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())


@each_case
@pytest.mark.parametrize("which", ["pset", "signed_pset"])
def test_details_are_lwks(case: dict[str, Any], which: str) -> None:
    lwk = pytest.importorskip("lwk")
    peer = lwk.Wollet(lwk.Network.regtest_default(), lwk.WolletDescriptor(SPENDS["descriptor"]), None)
    theirs = peer.pset_details(lwk.Pset(case[which]))
    ours = recorded_wollet().pset_details(Pset(case[which]))
    assert ours.balance().balances() == theirs.balance().balances() == case["balances"]
    assert ours.balance().fee() == theirs.balance().fee() == case["fee"]
    assert ours.balance().fees() == theirs.balance().fees()
    assert ours.balance().fees_in(ASSET) == 0

    def told(recipients: list[Any]) -> list[Any]:
        return [(r.address() and str(r.address()), r.asset(), r.value(), r.vout()) for r in recipients]

    assert told(ours.balance().recipients()) == told(theirs.balance().recipients())
    for mine, other in zip(ours.signatures(), theirs.signatures(), strict=True):
        assert mine.has_signature() == other.has_signature()
        assert mine.missing_signature() == other.missing_signature()
    assert ours.fingerprints_has() == theirs.fingerprints_has()
    assert ours.fingerprints_missing() == theirs.fingerprints_missing()
    assert [i.is_null() for i in ours.inputs_issuances()] == [i.is_null() for i in theirs.inputs_issuances()]
    assert [i.asset() for i in ours.inputs_issuances()] == [None] * len(ours.inputs_issuances())


def changed(pset: Pset, index: int, drop: tuple[bytes, ...] = (), **fields: bytes) -> Pset:
    outputs = pset.outputs()
    merged = {**outputs[index].fields, **{getattr(f, name): value for name, value in fields.items()}}
    outputs[index] = PsetOutput({k: v for k, v in merged.items() if k not in drop})
    return Pset.of(pset.fields, pset.inputs(), outputs)


def test_D20_stated_amounts_are_checked_against_the_commitments() -> None:
    """A PSET that says 999 and pays 1000 is refused, ours or not."""
    wollet = recorded_wollet()
    pset = Pset(CASES["lbtc"]["pset"])
    for index in (0, 1):
        with pytest.raises(InvalidPset, match=f"output {index}"):
            wollet.pset_details(changed(pset, index, O_AMOUNT=b"\xe7\x03" + bytes(6)))
        with pytest.raises(InvalidPset, match=f"output {index}"):
            wollet.pset_details(changed(pset, index, O_ASSET=b"\xaa" * 32))


def test_D20_unproven_payment_is_unknown_not_silent() -> None:
    wollet = recorded_wollet()
    bare = changed(Pset(CASES["lbtc"]["pset"]), 0, (f.O_VALUE_PROOF, f.O_ASSET_PROOF))
    (recipient,) = wollet.pset_details(bare).balance().recipients()
    assert str(recipient.address()) == DESTINATION
    assert (recipient.value(), recipient.asset(), recipient.vout()) == (None, None, 0)


def test_own_output_without_proofs_is_opened() -> None:
    wollet = recorded_wollet()
    bare = changed(Pset(CASES["lbtc"]["pset"]), 1, (f.O_VALUE_PROOF, f.O_ASSET_PROOF))
    assert wollet.pset_details(bare).balance().balances() == CASES["lbtc"]["balances"]
    broken = changed(bare, 1, O_RANGEPROOF=b"\x00" * 4174)
    with pytest.raises(InvalidPset, match="output 1"):
        wollet.pset_details(broken)


def test_D19_ownership_of_change_is_ours_to_decide() -> None:
    """Key origins that name our key do not make an output ours."""
    pset = Pset(CASES["lbtc"]["pset"])
    theft = changed(pset, 1, O_SCRIPT=bytes.fromhex("a914" + "07" * 20 + "87"))
    recipients = recorded_wollet().pset_details(theft).balance().recipients()
    assert [recipient.vout() for recipient in recipients] == [0, 1]


def test_an_input_of_ours_that_nobody_knows_the_amount_of() -> None:
    known = recorded_wollet()
    unsynced = Wollet(NETWORK, amp0_descriptor())
    unsynced.apply_transaction(known.transactions()[0].tx())
    pset = Pset(CASES["lbtc"]["pset"])
    assert unsynced.pset_details(pset).balance().balances() == CASES["lbtc"]["balances"]
    stripped = {}
    for i, txin in enumerate(pset.inputs()):
        proofs = (f.I_VALUE_PROOF, f.I_ASSET_PROOF)
        stripped[i] = type(txin)({k: v for k, v in txin.fields.items() if k not in proofs})
    assert known.pset_details(pset.with_inputs(stripped)).balance().balances() == CASES["lbtc"]["balances"]
    with pytest.raises(InvalidPset, match="sync the wallet"):
        unsynced.pset_details(pset.with_inputs(stripped))


def test_burn_and_explicit_payment_are_recipients() -> None:
    wollet = recorded_wollet()
    built = TxBuilder(NETWORK).add_burn(10, ASSET).add_explicit_recipient(PLAIN, 2000, LBTC)
    details = wollet.pset_details(built.finish_for_amp0(wollet).pset())
    told = [(r.address() and str(r.address()), r.asset(), r.value()) for r in details.balance().recipients()]
    assert told == [(None, ASSET, 10), (PLAIN, LBTC, 2000)]
    assert details.balance().balances() == {ASSET: -10, LBTC: -2000 - details.balance().fee()}


def test_who_has_signed() -> None:
    wollet = recorded_wollet()
    pset = TxBuilder(NETWORK).drain_lbtc_wallet().finish_for_amp0(wollet).pset()
    before, after = wollet.pset_details(pset), wollet.pset_details(signer().sign(pset))
    assert (before.fingerprints_has(), before.fingerprints_missing()) == ([], ["2de67592", "9c1b201b"])
    assert (after.fingerprints_has(), after.fingerprints_missing()) == (["9c1b201b"], ["2de67592"])
