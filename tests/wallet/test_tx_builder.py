"""Building: LWK's shapes and fees, our own selection and blinding, and every refusal."""

from __future__ import annotations

import random as pseudo
from collections.abc import Callable
from typing import Any

import pytest
import wallycore
from hypothesis import given, settings
from hypothesis import strategies as st

from amp0.elements import pset as pset_module
from amp0.elements.address import Address
from amp0.elements.confidential import unblind, unblind_with_nonce, verify_amounts
from amp0.elements.hashes import asset_id_to_bytes
from amp0.elements.pset import Amp0Pset, Pset, finalize_for_cosign
from amp0.elements.transaction import MAX_SATOSHI, OutPoint, Transaction
from amp0.errors import (
    Amp0BuildError,
    InsufficientFunds,
    InvalidAddress,
    InvalidAmounts,
    InvalidInput,
    NetworkMismatch,
    TooManyInputs,
    WalletError,
)
from amp0.network import Network
from amp0.wallet.assembly import discount_weight, fee_of_weight
from amp0.wallet.external import ExternalUtxo
from amp0.wallet.tx_builder import MAX_FEE_RATE, TxBuilder
from tests.wallet.funded import (
    ASSET,
    CASES,
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

each_case = pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
Build = Callable[[TxBuilder], TxBuilder]


def builder() -> TxBuilder:
    return TxBuilder(NETWORK)


def outputs_of(pset: Pset) -> list[tuple[int | None, str | None, bool]]:
    """(satoshi, asset, blinded) of each output."""
    return [(o.amount(), o.asset(), o.txout.is_partially_blinded()) for o in pset.outputs()]


def fee_of(pset: Pset) -> int:
    return pset.extract_tx().fee(LBTC)


def checked(amp0_pset: Amp0Pset) -> Transaction:
    """The transaction, after everybody who will look at it has looked."""
    pset = amp0_pset.pset()
    tx = pset.extract_tx()
    verify_amounts(tx, pset.spent_outputs())
    for output, nonce, opening in zip(tx.vout, amp0_pset.blinding_nonces(), amp0_pset.openings(), strict=True):
        assert output.is_partially_blinded() == bool(nonce)
        if nonce:
            assert unblind_with_nonce(output, bytes.fromhex(nonce)) == opening
    peer = wallycore.psbt_from_base64(str(pset), wallycore.WALLY_PSBT_PARSE_FLAG_STRICT)
    for i, nonce in enumerate(amp0_pset.blinding_nonces()):
        assert wallycore.psbt_get_output_blinding_status(peer, i, 0) == (4 if nonce else 0)
    assert Pset(str(pset)) == pset
    return tx


# -- the recorded shapes ------------------------------------------------------------------------


def replay(case: dict[str, Any]) -> TxBuilder:
    """The recorded calls, spending all L-BTC as LWK always does."""
    b = builder().drain_lbtc_wallet()
    for name, *recorded in case["ops"]:
        # Amounts were recorded as text.
        getattr(b, name)(*(int(a) if a.isdigit() and len(a) < 20 else a for a in recorded))
    return b


@each_case
def test_shape_and_fee_are_lwks(case: dict[str, Any]) -> None:
    built = replay(case).finish_for_amp0(recorded_wollet())
    recorded = Pset(case["pset"])
    assert outputs_of(built.pset()) == outputs_of(recorded)
    assert sorted(i.prevout for i in built.pset().inputs()) == sorted(i.prevout for i in recorded.inputs())
    assert [bool(n) for n in built.blinding_nonces()] == [bool(n) for n in case["blinding_nonces"]]
    assert fee_of(built.pset()) == case["fee"]
    checked(built)


@each_case
def test_fields_and_their_order_are_lwks(case: dict[str, Any]) -> None:
    """Same fields in the same order; their values differ only where randomness enters."""
    ours, theirs = replay(case).finish_for_amp0(recorded_wollet()).pset(), Pset(case["pset"])
    assert list(ours.fields.items()) == list(theirs.fields.items())
    their_inputs = {txin.prevout: txin for txin in theirs.inputs()}
    for txin in ours.inputs():
        peer = their_inputs[txin.prevout]
        assert list(txin.fields) == list(peer.fields)
        differing = {key for key in txin.fields if txin.fields[key] != peer.fields[key]}
        assert {key[6] for key in differing} <= {0x12}
    for output, other in zip(ours.outputs(), theirs.outputs(), strict=True):
        # Another change index makes other keys; the recorded wallet used the next ones.
        def names(fields: Any) -> list[bytes]:
            return [key[:1] if len(key) == 34 else key for key in fields]

        assert names(output.fields) == names(other.fields)


@each_case
def test_lwk_reads_signs_and_finishes_ours(case: dict[str, Any]) -> None:
    lwk = pytest.importorskip("lwk")
    network = lwk.Network.regtest_default()
    wollet = lwk.Wollet(network, lwk.WolletDescriptor(SPENDS["descriptor"]), None)
    built = replay(case).finish_for_amp0(recorded_wollet())
    theirs = lwk.Pset(str(built.pset()))
    details = wollet.pset_details(theirs)
    assert details.balance().balances() == case["balances"]
    assert details.balance().fee() == case["fee"]
    reassembled = lwk.Amp0Pset(
        lwk.Signer(lwk.Mnemonic(SPENDS["mnemonic"]), network).sign(theirs), built.blinding_nonces()
    )
    signed = Pset(str(reassembled.pset()))
    assert signed == signer().sign(built.pset())
    tx = lwk.Transaction(str(finalize_for_cosign(signed).transaction))
    spent = [
        next(
            lwk.Transaction(funding["raw"]).outputs()[0]
            for funding in SPENDS["funding"]
            if funding["txid"] == str(txin.previous_txid())
        )
        for txin in built.pset().inputs()
    ]
    tx.verify_tx_amt_proofs(spent)


def test_weight_formula_is_the_transactions_own() -> None:
    for built in (
        builder().add_lbtc_recipient(DESTINATION, 1000),
        builder().add_recipient(DESTINATION, 5, ASSET).add_op_return(b"x" * 80),
        builder().add_burn(5, ASSET).add_explicit_recipient(PLAIN, 7, LBTC),
    ):
        tx = built.finish_for_amp0(recorded_wollet()).pset().extract_tx()
        scripts = [txout.script for txout in tx.vout]
        assert discount_weight(len(tx.vin), scripts) == tx.discount_weight()


def test_fee_is_rounded_up_in_32_bit_floats() -> None:
    assert fee_of_weight(4 * 386, 100.0) == 39
    assert fee_of_weight(4 * 385 + 1, 100.0) == 39
    assert fee_of_weight(4 * 450, 100.0) == 45
    assert fee_of_weight(4 * 451, 100.0) == 46
    assert fee_of_weight(4000, 100.1) == 101


def test_fee_of_many_inputs_covers_the_signed_transaction() -> None:
    """The estimate is never below what the finished transaction has to pay."""
    wollet = fake_wollet(*[1000] * 40)
    built = builder().drain_lbtc_wallet().finish_for_amp0(wollet)
    signed = finalize_for_cosign(signer().sign(built.pset())).transaction
    assert len(signed.vin) == 40
    assert fee_of(built.pset()) >= (signed.discount_vsize() + 9) // 10


# -- selection ----------------------------------------------------------------------------------


def test_only_needed_lbtc_is_spent() -> None:
    built = builder().add_lbtc_recipient(DESTINATION, 1000).finish_for_amp0(recorded_wollet())
    assert len(built.pset().inputs()) == 1
    assert outputs_of(built.pset())[0] == (1000, LBTC, True)
    checked(built)


def test_the_same_coins_every_time() -> None:
    wollet = fake_wollet(500, 700, (ASSET, 5), (ASSET, 9), 800, (ASSET, 7))
    chosen = {
        tuple(
            txin.prevout
            for txin in builder().add_recipient(DESTINATION, 12, ASSET).finish_for_amp0(wollet).pset().inputs()
        )
        for _ in range(3)
    }
    assert len(chosen) == 1


def test_many_coins_are_no_obstacle() -> None:
    """LWK refuses every payment of a wallet with more than 256 L-BTC coins."""
    wollet = fake_wollet(*[1000] * 310)
    built = builder().add_lbtc_recipient(DESTINATION, 5000).finish_for_amp0(wollet)
    assert len(built.pset().inputs()) == 6
    with pytest.raises(TooManyInputs, match="256"):
        builder().drain_lbtc_wallet().finish_for_amp0(wollet)
    with pytest.raises(TooManyInputs):
        builder().add_lbtc_recipient(DESTINATION, 255_000).finish_for_amp0(wollet)


def test_chosen_coins_are_all_spent() -> None:
    wollet = recorded_wollet()
    coins = [utxo.outpoint() for utxo in wollet.utxos()]
    built = builder().set_wallet_utxos(coins).add_lbtc_recipient(DESTINATION, 1).finish_for_amp0(wollet)
    pset = built.pset()
    assert {txin.prevout for txin in pset.inputs()} == set(coins)
    assert outputs_of(pset)[0] == (7000, ASSET, True)
    small = [utxo.outpoint() for utxo in wollet.utxos() if utxo.satoshi == 50_000]
    pset = builder().set_wallet_utxos(map(str, small)).finish_for_amp0(wollet).pset()
    assert [txin.prevout for txin in pset.inputs()] == small
    checked(built)


def test_chosen_coins_must_exist_and_suffice() -> None:
    wollet = recorded_wollet()
    with pytest.raises(WalletError, match="MissingWalletUtxo"):
        builder().set_wallet_utxos([OutPoint("11" * 32, 0)]).finish_for_amp0(wollet)
    with pytest.raises(InvalidInput, match="twice"):
        builder().set_wallet_utxos([OutPoint("11" * 32, 0), OutPoint("11" * 32, 0)])
    only_asset = [utxo.outpoint() for utxo in wollet.utxos() if utxo.asset_id == ASSET]
    with pytest.raises(InsufficientFunds):
        builder().set_wallet_utxos(only_asset).finish_for_amp0(wollet)
    with pytest.raises(InsufficientFunds):
        builder().set_wallet_utxos(only_asset).add_recipient(DESTINATION, 7001, ASSET).finish_for_amp0(wollet)


def test_coins_that_are_left_alone_are_not_spent() -> None:
    wollet = recorded_wollet()
    large = next(utxo.outpoint() for utxo in wollet.utxos() if utxo.satoshi == 100_000)
    left = [large, OutPoint("11" * 32, 0)]
    pset = builder().leave_utxos(left).add_lbtc_recipient(DESTINATION, 1_000).finish_for_amp0(wollet).pset()
    assert large not in {txin.prevout for txin in pset.inputs()}
    drained = builder().leave_utxos(map(str, left)).drain_lbtc_wallet().finish_for_amp0(wollet).pset()
    assert large not in {txin.prevout for txin in drained.inputs()}
    with pytest.raises(InsufficientFunds) as caught:
        builder().leave_utxos(left).add_lbtc_recipient(DESTINATION, 50_000).finish_for_amp0(wollet)
    assert caught.value.available == 50_000
    with pytest.raises(WalletError, match="MissingWalletUtxo"):
        builder().leave_utxos(left).set_wallet_utxos([large]).finish_for_amp0(wollet)


def test_insufficient_funds_tell_asset_needed_and_available() -> None:
    wollet = recorded_wollet()
    with pytest.raises(InsufficientFunds) as caught:
        builder().add_recipient(DESTINATION, 7001, ASSET).finish_for_amp0(wollet)
    assert (caught.value.asset_id, caught.value.needed, caught.value.available) == (ASSET, 7001, 7000)
    with pytest.raises(InsufficientFunds) as caught:
        builder().add_lbtc_recipient(DESTINATION, 150_000).finish_for_amp0(wollet)
    # Two inputs, recipient and change: 46 sat of fee, and at least one sat of change.
    assert (caught.value.asset_id, caught.value.needed) == (LBTC, 150_000 + 46 + 1)
    with pytest.raises(InsufficientFunds):
        builder().add_recipient(DESTINATION, 1, "bb" * 32).finish_for_amp0(wollet)
    with pytest.raises(InsufficientFunds) as caught:
        builder().drain_lbtc_wallet().finish_for_amp0(fake_wollet())
    assert caught.value.available == 0


@settings(max_examples=12)
@given(amount=st.integers(1, 149_950))
def test_nothing_is_lost(amount: int) -> None:
    """Whatever is sent: inputs are recipients, change and fee, and change is at least one satoshi."""
    try:
        pset = builder().add_lbtc_recipient(DESTINATION, amount).finish_for_amp0(fake_wollet(100_000, 50_000)).pset()
    except InsufficientFunds:
        assert amount > 150_000 - 47
        return
    spent = sum(txin.explicit_value or 0 for txin in pset.inputs())
    amounts = [output.amount() or 0 for output in pset.outputs()]
    assert sum(amounts) == spent
    assert amounts[0] == amount
    assert min(amounts) >= 1
    needed = fee_of_weight(discount_weight(len(pset.inputs()), [o.script for o in pset.outputs()]), 100.0)
    assert fee_of(pset) >= needed


# -- outputs ------------------------------------------------------------------------------------


def test_change_goes_to_an_issued_pointer() -> None:
    """Traps 4 of LWK: change where the server would not sign. Ours asks the wollet for a pointer."""
    wollet = recorded_wollet()
    pset = builder().add_recipient(DESTINATION, 5, ASSET).finish_for_amp0(wollet).pset()
    pointers = [wollet.owns(output.script) for output in pset.outputs()]
    assert pointers == [None, wollet.change_index(0), wollet.change_index(1), None]
    assert all(pointer is None or 1 <= pointer <= 20 for pointer in pointers)


def test_own_change_opens_with_our_key() -> None:
    built = builder().add_lbtc_recipient(DESTINATION, 1000).finish_for_amp0(recorded_wollet())
    change = built.pset().outputs()[1].txout
    assert unblind(change, amp0_descriptor().blinding_key(change.script)) == built.openings()[1]


def test_drain_to_an_address() -> None:
    built = builder().drain_lbtc_to(Address(DESTINATION)).finish_for_amp0(recorded_wollet())
    assert outputs_of(built.pset()) == [(150_000 - 39, LBTC, True), (39, LBTC, False)]
    assert built.pset().outputs()[0].script == Address(DESTINATION).script
    both = builder().add_lbtc_recipient(DESTINATION, 7).drain_lbtc_to(DESTINATION).finish_for_amp0(recorded_wollet())
    assert [o[0] for o in outputs_of(both.pset())] == [7, 150_000 - 7 - fee_of(both.pset()), fee_of(both.pset())]
    checked(built)


def test_E10_draining_to_a_plain_address_alone_is_refused() -> None:
    """Nothing could be blinded, so nothing would balance; LWK says AtleastOneOutputBlind."""
    with pytest.raises(InvalidAmounts, match="at least one blinded output"):
        builder().drain_lbtc_to_explicit(PLAIN).finish_for_amp0(recorded_wollet())
    built = (
        builder().drain_lbtc_to_explicit(PLAIN).add_recipient(DESTINATION, 7, ASSET).finish_for_amp0(recorded_wollet())
    )
    assert [o[2] for o in outputs_of(built.pset())] == [True, True, False, False]
    checked(built)


def test_E10_a_single_blinded_output_balances() -> None:
    checked(builder().drain_lbtc_wallet().finish_for_amp0(recorded_wollet()))
    built = builder().add_burn(7000, ASSET).finish_for_amp0(recorded_wollet())
    assert [o[2] for o in outputs_of(built.pset())] == [False, True, False]
    checked(built)


def test_burn_and_op_return() -> None:
    built = builder().add_burn(10, ASSET).add_op_return(b"hello").finish_for_amp0(recorded_wollet())
    pset = built.pset()
    assert pset.outputs()[0].script == b"\x6a"
    assert pset.outputs()[2].script == b"\x6a\x05hello"
    assert outputs_of(pset)[2] == (0, LBTC, False)
    checked(built)


def test_one_satoshi_of_change_is_blinded_too() -> None:
    pset = builder().add_lbtc_recipient(DESTINATION, 1000 - 33 - 1).finish_for_amp0(fake_wollet(1000)).pset()
    assert outputs_of(pset)[1] == (1, LBTC, True)


def test_inputs_in_a_given_order() -> None:
    wollet = recorded_wollet()
    coins = sorted((utxo.outpoint() for utxo in wollet.utxos()), reverse=True)
    b = builder().drain_lbtc_wallet().add_recipient(DESTINATION, 5, ASSET)
    built = b.set_inputs_order(coins).finish_for_amp0(wollet)
    assert [txin.prevout for txin in built.pset().inputs()] == coins
    checked(built)
    with pytest.raises(InvalidInput, match="every input"):
        b.set_inputs_order(coins[:2]).finish_for_amp0(wollet)


def test_input_rangeproofs_can_be_left_out() -> None:
    wollet = recorded_wollet()
    full = builder().drain_lbtc_wallet().finish_for_amp0(wollet).pset()
    slim = builder().drain_lbtc_wallet().add_input_rangeproofs(False).finish_for_amp0(wollet).pset()
    assert len(full.to_bytes()) - len(slim.to_bytes()) > 2 * 2893
    assert str(signer().sign(slim).unique_id()) == str(slim.unique_id())


def external(value: int) -> ExternalUtxo:
    """One of the recorded coins, as another wallet would offer it."""
    for funding in SPENDS["funding"]:
        tx = Transaction(funding["raw"])
        secrets = tx.vout[0].unblind(amp0_descriptor().blinding_key(tx.vout[0].script))
        if secrets.value() == value:
            return ExternalUtxo(0, tx, secrets, 359, True)
    raise AssertionError


def test_external_coins_are_spent_too() -> None:
    wollet = fake_wollet(1000)
    built = builder().add_external_utxos([external(7000)]).add_lbtc_recipient(DESTINATION, 5).finish_for_amp0(wollet)
    assert outputs_of(built.pset())[0] == (7000, ASSET, True)
    assert len(built.pset().inputs()) == 2
    checked(built)
    alone = builder().add_external_utxos([external(100_000)]).drain_lbtc_wallet().finish_for_amp0(fake_wollet())
    assert fee_of(alone.pset()) == 26
    enough = builder().add_external_utxos([external(100_000)]).add_lbtc_recipient(DESTINATION, 5)
    assert len(enough.finish_for_amp0(wollet).pset().inputs()) == 1
    with pytest.raises(InvalidInput, match="twice"):
        builder().add_external_utxos([external(7000), external(7000)])
    with pytest.raises(InvalidInput, match="no output 9"):
        ExternalUtxo(9, Transaction(SPENDS["funding"][0]["raw"]), _other_secrets(), 359)


def test_an_external_coin_with_a_false_opening_is_refused() -> None:
    true = external(100_000)
    wrong = ExternalUtxo.from_unchecked_data(true.coin.outpoint, true.coin.txout, _other_secrets(), 359)
    with pytest.raises(InvalidAmounts, match="does not fit its commitments"):
        builder().add_external_utxos([wrong]).finish_for_amp0(fake_wollet(1000))


def _other_secrets() -> Any:
    tx = Transaction(SPENDS["funding"][1]["raw"])
    return tx.vout[0].unblind(amp0_descriptor().blinding_key(tx.vout[0].script))


# -- finishing ----------------------------------------------------------------------------------


def test_finish_refuses_an_amp0_wollet_and_names_the_right_call() -> None:
    with pytest.raises(Amp0BuildError, match="finish_for_amp0"):
        builder().drain_lbtc_wallet().finish(recorded_wollet())


def test_finish_of_an_ordinary_wollet() -> None:
    wollet = fake_wollet(9000, (ASSET, 50), descriptor=signer().wpkh_slip77_descriptor())
    pset = builder().add_recipient(DESTINATION, 20, ASSET).finish(wollet)
    tx = signer().sign(pset).finalize()
    verify_amounts(tx, pset.spent_outputs())
    assert tx.fee(LBTC) >= (tx.discount_vsize() + 9) // 10


def test_nothing_to_do() -> None:
    with pytest.raises(WalletError, match="nothing to do"):
        builder().finish_for_amp0(recorded_wollet())


def test_builder_of_another_network() -> None:
    with pytest.raises(NetworkMismatch):
        TxBuilder(Network.testnet()).drain_lbtc_wallet().finish_for_amp0(recorded_wollet())


def test_reassembling_what_was_built_rewinds_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    built = builder().drain_lbtc_wallet().finish_for_amp0(recorded_wollet())

    def never(*_: object) -> None:
        raise AssertionError("an output made here was opened again")

    monkeypatch.setattr(pset_module, "unblind_with_nonce", never)
    signed = Amp0Pset(signer().sign(built.pset()), built.blinding_nonces())
    assert signed.openings() == built.openings()


# -- blinding -----------------------------------------------------------------------------------


def test_E13_every_build_draws_afresh() -> None:
    wollet = recorded_wollet()
    b = builder().add_lbtc_recipient(DESTINATION, 1000)
    first, second = b.finish_for_amp0(wollet), b.finish_for_amp0(wollet)
    drawn = [
        value
        for built in (first, second)
        for output, opening in zip(built.pset().outputs(), built.openings(), strict=True)
        if output.txout.is_partially_blinded()
        for value in (output.txout.nonce_field, opening.abf, opening.vbf)
    ]
    assert len(set(drawn)) == len(drawn) == 12


def stuck(count: int) -> bytes:
    return b"\x11" * count


@pytest.mark.parametrize("build", [lambda b: b.drain_lbtc_wallet(), lambda b: b.add_lbtc_recipient(DESTINATION, 9)])
def test_E13_a_stuck_random_source_is_noticed(build: Build) -> None:
    with pytest.raises(InvalidAmounts, match="random source"):
        build(TxBuilder(NETWORK, random=stuck)).finish_for_amp0(recorded_wollet())


def test_E13_a_source_that_starts_over_is_noticed() -> None:
    def build() -> Amp0Pset:
        source = pseudo.Random(20_261_122)
        b = TxBuilder(NETWORK, random=lambda count: source.randbytes(count))
        return b.drain_lbtc_wallet().finish_for_amp0(fake_wollet(1000))

    build()
    with pytest.raises(InvalidAmounts, match="random source"):
        build()


@pytest.mark.parametrize("step", ["rangeproof", "surjectionproof", "explicit_value_proof"])
def test_E11_no_fallback_to_explicit_amounts(step: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever fails while blinding, the build fails with it."""
    from amp0.elements import wally

    def failing(*_: object, **__: object) -> None:
        if step == "surjectionproof":
            return
        raise InvalidAmounts("made to fail")

    monkeypatch.setattr(wally, step, failing)
    with pytest.raises(InvalidAmounts):
        builder().add_lbtc_recipient(DESTINATION, 1000).finish_for_amp0(recorded_wollet())


def test_E12_a_plain_address_needs_explicit_consent() -> None:
    with pytest.raises(InvalidAddress, match="NotConfidentialAddress"):
        builder().add_lbtc_recipient(PLAIN, 5)
    with pytest.raises(InvalidAddress, match="NotConfidentialAddress"):
        builder().drain_lbtc_to(Address(PLAIN))
    with pytest.raises(InvalidAddress, match="NotExplicitAddress"):
        builder().add_explicit_recipient(DESTINATION, 5, LBTC)
    with pytest.raises(InvalidAddress, match="NotExplicitAddress"):
        builder().drain_lbtc_to_explicit(DESTINATION)


# -- setters ------------------------------------------------------------------------------------


@pytest.mark.parametrize("satoshi", [0, -1, MAX_SATOSHI + 1, 2**64, True, 1.5, "7", None])
def test_amounts_out_of_range(satoshi: Any) -> None:
    adders: list[Callable[[TxBuilder], object]] = [
        lambda b: b.add_lbtc_recipient(DESTINATION, satoshi),
        lambda b: b.add_recipient(DESTINATION, satoshi, ASSET),
        lambda b: b.add_explicit_recipient(PLAIN, satoshi, LBTC),
        lambda b: b.add_burn(satoshi, ASSET),
    ]
    for add in adders:
        with pytest.raises(InvalidInput, match="InvalidAmount"):
            add(builder())


def test_addresses_and_assets_that_do_not_fit() -> None:
    testnet = "tlq1qq2xvpcvfup5j8zscjq05u2wxxjcyewk7979f3mmz5l7uw5pqmx6xf5xy50hsn6vhkm5euwt72x878eq6zxx2z58hd7zrsg9qn"
    with pytest.raises((InvalidAddress, NetworkMismatch)):
        builder().add_lbtc_recipient(testnet, 5)
    foreign = Address.from_script(Network.mainnet(), Address(DESTINATION).script, Address(DESTINATION).blinding_pubkey)
    adders: list[Callable[[TxBuilder], object]] = [
        lambda b: b.add_lbtc_recipient(foreign, 5),
        lambda b: b.drain_lbtc_to(foreign),
        lambda b: b.add_lbtc_recipient(str(foreign), 5),
        lambda b: b.add_explicit_recipient(foreign.to_unconfidential(), 5, LBTC),
    ]
    for add in adders:
        with pytest.raises(NetworkMismatch):
            add(builder())
    for asset in ("", "aa", "zz" * 32, "aa" * 33):
        with pytest.raises(InvalidInput):
            builder().add_recipient(DESTINATION, 5, asset)
        with pytest.raises(InvalidInput):
            builder().add_burn(5, asset)


def test_address_of_a_renamed_regtest_is_accepted() -> None:
    """A network from a server may have another service key and the same addresses."""
    other = NETWORK.replace(csv_buckets=(10,))
    TxBuilder(other).add_lbtc_recipient(Address(DESTINATION), 5)


@pytest.mark.parametrize("rate", [0.0, -5.0, 99.9, float("nan"), float("inf"), MAX_FEE_RATE * 1.1])
def test_fee_rates_that_cannot_be_meant(rate: float) -> None:
    with pytest.raises(InvalidInput, match="fee rate"):
        builder().fee_rate(rate)


def test_fee_rate_counts() -> None:
    wollet = recorded_wollet()
    assert fee_of(builder().fee_rate(1000.0).drain_lbtc_wallet().finish_for_amp0(wollet).pset()) == 387
    assert fee_of(builder().fee_rate(1000).fee_rate(None).drain_lbtc_wallet().finish_for_amp0(wollet).pset()) == 39


def test_op_return_limits() -> None:
    for data in (b"", b"x" * 81):
        with pytest.raises(InvalidInput, match="80 bytes"):
            builder().add_op_return(data)
    with pytest.raises(InvalidInput, match="one OP_RETURN"):
        builder().add_op_return(b"x").add_op_return(b"y")


def test_a_failing_setter_leaves_the_builder_usable() -> None:
    """LWK's builder is destroyed by it."""
    b = builder().add_lbtc_recipient(DESTINATION, 1000)
    failing: list[Callable[[], object]] = [
        lambda: b.drain_lbtc_to(PLAIN),
        lambda: b.add_burn(0, ASSET),
        lambda: b.fee_rate(-1.0),
        lambda: b.add_op_return(b""),
    ]
    for setter in failing:
        with pytest.raises(InvalidInput):
            setter()
    assert outputs_of(b.finish_for_amp0(recorded_wollet()).pset())[0] == (1000, LBTC, True)
    assert repr(b) == "<TxBuilder liquidregtest: 1 recipients, 100 sat/kvB>"


def test_many_recipients() -> None:
    wollet = fake_wollet(100_000)
    b = builder()
    for i in range(20):
        b.add_explicit_recipient(PLAIN, 1000 + i, LBTC)
    checked(b.finish_for_amp0(wollet))
    for _ in range(256 - 20):
        b.add_explicit_recipient(PLAIN, 1, LBTC)
    with pytest.raises(InvalidInput, match="at most 256"):
        b.add_explicit_recipient(PLAIN, 1, LBTC)


def test_assets_come_in_the_order_they_were_added() -> None:
    other = "bb" * 32
    wollet = fake_wollet(10_000, (ASSET, 50), (other, 60))
    pset = (
        builder()
        .add_lbtc_recipient(DESTINATION, 100)
        .add_recipient(DESTINATION, 1, other)
        .add_recipient(DESTINATION, 2, ASSET)
        .add_recipient(DESTINATION, 3, other)
        .finish_for_amp0(wollet)
        .pset()
    )
    shown = [(amount, asset) for amount, asset, _ in outputs_of(pset)]
    assert shown[:7] == [(1, other), (3, other), (56, other), (2, ASSET), (48, ASSET), (100, LBTC), shown[6]]
    assert [txin.explicit_asset for txin in pset.inputs()] == [
        asset_id_to_bytes(other), asset_id_to_bytes(ASSET), asset_id_to_bytes(LBTC)
    ]  # fmt: skip
