"""Whether transactions do what is said of them; payloads that lie, I03."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from amp0.elements.confidential import PlainOutput
from amp0.protocol import issuer as wire
from amp0.server.issuer import proofs
from amp0.server.issuer.proofs import Pair, Payee
from amp0.server.issuer.refusals import OperationRefused, WrongFields
from tests.server.issuer.treasury_txs import LBTC, Sent, asset_and_token, coin, reissue, send, to

ENTROPY = b"\x0e" * 32
ASSET, TOKEN = asset_and_token(ENTROPY, hidden=True)
PAIR = Pair(ASSET, TOKEN)
OTHER = b"\x0f" * 32
A, B, C, CHANGE = (b"\xa9\x14" + bytes((n,)) * 20 + b"\x87" for n in range(4))
PAYEES = [Payee(1, A, "a", 600), Payee(2, B, "b", 300)]


@pytest.fixture(scope="module")
def paid() -> Sent:
    """600 and 300 of 1,000; output 2 is the change, output 3 that of the fee, which is nobody's business."""
    outputs = [to(A, ASSET, 600), to(B, ASSET, 300), to(CHANGE, ASSET, 100), to(CHANGE, LBTC, 900)]
    return send([coin(ASSET, 1_000), coin(LBTC, 900)], outputs)


def confirm(
    sent: Sent, details: list[wire.WalletDetail], change: list[wire.ChangeOutput], payees: list[Payee] = PAYEES
) -> proofs.Paid:
    return proofs.distribution(
        sent.tx, PAIR, payees, proofs.from_details(details), proofs.from_change(change, sent.txid)
    )


def refusal(call: Any, *arguments: Any, **more: Any) -> str:
    with pytest.raises((OperationRefused, WrongFields)) as refused:
        call(*arguments, **more)
    return str(refused.value)


def test_a_distribution_with_its_change(paid: Sent) -> None:
    found = confirm(paid, paid.details([0, 1]), paid.change(2, 3))
    assert found.vouts == {1: 0, 2: 1}
    assert found.openings == {0: paid.openings[0], 1: paid.openings[1]}
    assert found.returned == {2: paid.openings[2]}


def test_without_change_data_the_payments_are_proven_all_the_same(paid: Sent) -> None:
    """It may have been spent again since, and is no entry of ``listunspent`` any more."""
    found = confirm(paid, paid.details([0, 1]), [])
    assert (found.vouts, found.returned) == ({1: 0, 2: 1}, {})


def test_what_the_wallet_paid_itself_stands_twice_in_details(paid: Sent) -> None:
    found = confirm(paid, paid.details([0, 1], [2]), [])
    assert found.returned == {2: paid.openings[2]}
    lies = [msgspec.structs.replace(paid.details([0])[0], assetblinder="11" * 32)]
    with pytest.raises(WrongFields, match="twice"):
        proofs.from_details(paid.details([0]) + lies)


def test_i03_amounts_of_a_payload_are_never_believed(paid: Sent) -> None:
    lying = [msgspec.structs.replace(entry, amount=5_000_000.0) for entry in paid.details([0, 1])]
    assert confirm(paid, lying, []).vouts == {1: 0, 2: 1}
    lying = [msgspec.structs.replace(entry, amount=None, asset=None) for entry in paid.details([0, 1])]
    assert confirm(paid, lying, []).vouts == {1: 0, 2: 1}
    change = [msgspec.structs.replace(entry, amount=99.0) for entry in paid.change(2)]
    assert "output 2" in refusal(confirm, paid, paid.details([0, 1]), change)


def test_i03_wrong_amounts_and_other_outputs(paid: Sent) -> None:
    good = paid.details([0, 1])
    for payees, text in (
        ([Payee(1, A, "a", 601), PAYEES[1]], "output 0 pays 600 satoshi to a; this distribution asks for 601"),
        ([Payee(1, A, "a", 1), PAYEES[1]], "asks for 1"),
        ([Payee(1, B, "b", 600), Payee(2, A, "a", 300)], "output 1 pays 300"),
        ([*PAYEES, Payee(3, C, "c", 5)], "does not pay c"),
        ([PAYEES[0]], "output 1 of"),
    ):
        assert text in refusal(confirm, paid, good, [], payees)
    twice = send([coin(ASSET, 1_000)], [to(A, ASSET, 600), to(B, ASSET, 300), to(A, ASSET, 100)])
    assert "more than once" in refusal(confirm, twice, twice.details([0, 1]), [])
    wrong = send([coin(OTHER, 900), coin(ASSET, 9)], [to(A, OTHER, 600), to(B, OTHER, 300), to(C, ASSET, 9)])
    assert "does not open it as 600 satoshi of this asset" in refusal(confirm, wrong, wrong.details([0, 1]), [])


def test_i03_somebody_else_is_paid_in_the_open_too() -> None:
    """No payload has to tell of it."""
    sent = send([coin(ASSET, 1_000)], [to(A, ASSET, 600), to(B, ASSET, 300), to(C, ASSET, 100, explicit=True)])
    assert "has 100 satoshi for somebody" in refusal(confirm, sent, sent.details([0, 1]), [])
    assert confirm(sent, sent.details([0, 1]), sent.change(2)).returned == {2: sent.openings[2]}
    burnt = send([coin(ASSET, 1_000)], [to(A, ASSET, 600), to(B, ASSET, 300), to(b"\x6a", ASSET, 100, explicit=True)])
    assert "has 100 satoshi for somebody" in refusal(confirm, burnt, burnt.details([0, 1]), burnt.change(2))


def test_i03_blinders_that_do_not_open(paid: Sent) -> None:
    good = paid.details([0, 1])
    swapped = [msgspec.structs.replace(good[0], amountblinder=good[1].amountblinder), good[1]]
    assert "does not open it" in refusal(confirm, paid, swapped, [])
    assert "has no blinders for output 0" in refusal(confirm, paid, good[1:], [])
    for text in ("zz" * 32, "00", "", "ff" * 32, "00" * 32):
        wrong = [msgspec.structs.replace(good[0], assetblinder=text), good[1]]
        assert refusal(confirm, paid, wrong, [])
    other = send([coin(ASSET, 50)], [to(CHANGE, ASSET, 50)])
    assert "another transaction" in refusal(confirm, paid, good, other.change(0))
    assert "has no output 9" in refusal(confirm, paid, [*good, msgspec.structs.replace(good[0], vout=9)], [])


def test_a_payment_in_the_open_needs_no_blinders() -> None:
    outputs = [to(A, ASSET, 600, explicit=True), to(B, ASSET, 300), to(CHANGE, ASSET, 100)]
    sent = send([coin(ASSET, 1_000)], outputs)
    assert confirm(sent, sent.details([1]), sent.change(2)).vouts == {1: 0, 2: 1}


# --- reissues ------------------------------------------------------------------------------------------------------


def more(hidden: bool, *, outputs: list[PlainOutput] | None = None, tokens: int = 5) -> tuple[Sent, Pair]:
    asset, token = asset_and_token(ENTROPY, hidden=hidden)
    chosen = outputs or [to(A, asset, 777), to(B, token, tokens)]
    return reissue(coin(token, tokens, b"\x09" * 32), ENTROPY, 777, chosen, hidden=hidden), Pair(asset, token)


@pytest.mark.parametrize("hidden", [True, False])
def test_a_reissue(hidden: bool) -> None:
    sent, pair = more(hidden)
    listed = sent.listissuances() if hidden else []
    found = proofs.reissue(sent.tx, 0, pair, proofs.from_details(sent.details((), [0, 1])), listed)
    assert (found.satoshi, found.vout) == (777, 0)
    assert (found.returned, found.paid) == ({0: sent.openings[0], 1: sent.openings[1]}, {})


def test_a_reissue_with_a_token_that_is_split() -> None:
    asset, token = asset_and_token(ENTROPY, hidden=True)
    outputs = [to(B, token, 2), to(A, asset, 700), to(C, asset, 77), to(B, token, 3)]
    sent, pair = more(True, outputs=outputs)
    found = proofs.reissue(sent.tx, 0, pair, proofs.from_details(sent.details((), range(4))), sent.listissuances())
    assert (found.satoshi, found.vout, len(found.returned)) == (777, 1, 4)


def test_i03_a_reissue_that_is_none(paid: Sent) -> None:
    sent, pair = more(True)
    details = proofs.from_details(sent.details((), [0, 1]))
    listed = sent.listissuances()
    for arguments, text in (
        ((sent.tx, 1, pair, details, listed), "input 1"),
        ((sent.tx, 7, pair, details, listed), "input 7"),
        ((sent.tx, 0, Pair(OTHER, TOKEN), details, listed), "does not reissue this asset"),
        ((paid.tx, 0, pair, {}, listed), "does not reissue"),
        ((sent.tx, 0, pair, details, []), "amount is hidden"),
        ((sent.tx, 0, pair, {}, listed), "opens outputs with 0 satoshi"),
        ((sent.tx, 0, pair, {0: details[0]}, listed), "reissuance token"),
        ((sent.tx, 0, pair, {1: details[1]}, listed), "opens outputs with 0 satoshi"),
        ((sent.tx, 0, pair, {**details, 5: details[0]}, listed), "has no output 5"),
    ):
        assert text in refusal(proofs.reissue, *arguments)
    for entry in (
        msgspec.structs.replace(listed[0], assetamount=7.0),
        msgspec.structs.replace(listed[0], assetblinds="11" * 32),
    ):
        assert "does not open the amount" in refusal(proofs.reissue, sent.tx, 0, pair, details, [entry])
    first = more(True)[0]
    assert "amount is hidden" in refusal(proofs.reissue, sent.tx, 0, pair, details, first.listissuances())


# --- burns ---------------------------------------------------------------------------------------------------------


def test_a_burn_and_what_it_gives_back() -> None:
    sent = send([coin(ASSET, 1_000)], [to(b"\x6a", ASSET, 400, explicit=True), to(CHANGE, ASSET, 600)])
    found = proofs.burn(sent.tx, PAIR, proofs.from_change(sent.change(1), sent.txid))
    assert (found.satoshi, found.returned) == (400, {1: sent.openings[1]})
    assert proofs.burn(sent.tx, PAIR, {}).returned == {}


def test_i03_a_burn_that_is_none(paid: Sent) -> None:
    assert "does not burn" in refusal(proofs.burn, paid.tx, PAIR, {})
    other = send([coin(OTHER, 9), coin(ASSET, 5)], [to(b"\x6a", OTHER, 9, explicit=True), to(CHANGE, ASSET, 5)])
    assert "does not burn" in refusal(proofs.burn, other.tx, PAIR, {})
    sent = send([coin(ASSET, 1_000)], [to(b"\x6a", ASSET, 400, explicit=True), to(CHANGE, ASSET, 600)])
    wrong = [msgspec.structs.replace(sent.change(1)[0], amount=0.00000599)]
    assert "output 1" in refusal(proofs.burn, sent.tx, PAIR, proofs.from_change(wrong, sent.txid))


def test_amounts_that_are_no_amounts() -> None:
    amounts: list[Any] = ["1.0", True, [], 1e-9, float("nan"), 1e300]
    for amount in amounts:
        entry = wire.WalletDetail(vout=0, amount=amount, assetblinder="11" * 32, amountblinder="11" * 32)
        with pytest.raises(WrongFields):
            proofs.from_details([entry])
