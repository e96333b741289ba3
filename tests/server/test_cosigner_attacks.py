"""Attacks on the cosigner, each under its ID of the attack list: refused, nothing signed, nothing recorded."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
import sqlalchemy as sa
import wallycore

from amp0.elements import confidential, wally
from amp0.elements.confidential import PlainOutput
from amp0.elements.script import multisig_2of2, p2sh_p2wsh_script_sig, push
from amp0.elements.sighash import SighashCache
from amp0.elements.transaction import Issuance, OutPoint, Transaction, TxOut, explicit_value_field
from amp0.errors import InvalidInput
from amp0.network import Network
from amp0.server.cosign_checks import MAX_WEIGHT, PLACEHOLDER, Limits, Spend
from amp0.server.cosigner import Request
from amp0.server.refusal import (
    AddressNeverIssued,
    BadTransaction,
    BurnRefused,
    FeeOutOfBounds,
    ForeignServiceSignature,
    ImmatureInput,
    IssuanceRefused,
    NoOwnInput,
    Refusal,
    SpentInput,
    StoreUnavailable,
    TooLarge,
    TooManyAttempts,
    UnknownInput,
    WrongAmounts,
    WrongNonces,
    WrongScript,
    WrongSighash,
    WrongUserSignature,
)
from amp0.server.store import schema
from tests.server.cosigning import LBTC, OTHER, STRANGER, STRANGER_PUB, Account, Payment, World


@pytest.fixture
def world() -> Iterator[World]:
    """Whatever a test tries, nothing may be on record afterwards, unless it says so."""
    made = World()
    yield made
    with made.store.snapshot() as db:
        for table in (schema.cosigned, schema.cosigned_inputs, schema.outpoint_claims):
            assert db.execute(sa.select(sa.func.count()).select_from(table)).scalar_one() == 0


@pytest.fixture
def alice(world: World) -> Account:
    return world.wallet("alice")


@pytest.fixture
def payment(world: World, alice: Account) -> Payment:
    return world.pay([world.fund(alice)])


def refused(world: World, request: Request, kind: type[Refusal], match: str | None = None) -> None:
    """The request is refused, for this reason and not by accident for another."""
    with pytest.raises(Refusal, match=match) as caught:
        world.cosigner.cosign(request)
    assert type(caught.value) is kind, caught.value


# -- D: what a transaction says --------------------------------------------------------------


def with_witness(payment: Payment, *items: bytes) -> Payment:
    return payment.with_input(0, witness=items)


def test_d01_user_signature_missing(world: World, payment: Payment) -> None:
    script = payment.tx.vin[0].witness[3]
    for empty in (b"", PLACEHOLDER):
        forged = with_witness(payment, b"", PLACEHOLDER, empty, script)
        refused(world, forged.request(), WrongUserSignature, "not signed by its owner")


def test_d01_user_signature_of_another_key_input_or_amount(world: World, alice: Account, payment: Payment) -> None:
    script = payment.tx.vin[0].witness[3]
    value = payment.coins[0].txout.value_field
    cache = SighashCache(payment.tx)
    digest = cache.segwit_v0(0, script, value)
    other_key = alice.user_key(2).sign(digest) + b"\x01"
    other_amount = alice.user_key(1).sign(cache.segwit_v0(0, script, explicit_value_field(1))) + b"\x01"
    other_script = alice.user_key(1).sign(cache.segwit_v0(0, alice.witness_script(2), value)) + b"\x01"
    for forged in (other_key, other_amount, other_script):
        refused(
            world, with_witness(payment, b"", PLACEHOLDER, forged, script).request(), WrongUserSignature, "valid one"
        )


def test_d01_signatures_of_two_inputs_swapped(world: World, alice: Account) -> None:
    payment = world.pay([world.fund(alice), world.fund(alice, pointer=2)])
    first, second = payment.tx.vin
    vin = [
        replace(first, witness=(*first.witness[:2], second.witness[2], first.witness[3])),
        replace(second, witness=(*second.witness[:2], first.witness[2], second.witness[3])),
    ]
    refused(world, payment.with_tx(vin=vin).request(), WrongUserSignature)


def test_d01_non_canonical_encodings(world: World, payment: Payment) -> None:
    script, good = payment.tx.vin[0].witness[3], payment.tx.vin[0].witness[2][:-1]
    order = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
    compact = bytes(wallycore.ec_sig_from_der(good))
    high_s = compact[:32] + (order - int.from_bytes(compact[32:], "big")).to_bytes(32, "big")
    padded = bytes((0x30, good[1] + 1, 2, good[3] + 1, 0)) + good[4:]
    for der in (bytes(wallycore.ec_sig_to_der(high_s)), padded, good + b"\x00", good[:-1], b"\x30\x00"):
        forged = with_witness(payment, b"", PLACEHOLDER, der + b"\x01", script)
        refused(world, forged.request(), WrongUserSignature)


@pytest.mark.parametrize("sighash", [0x02, 0x03, 0x81, 0x82, 0x83, 0x41, 0xC1, 0x00, 0x04, 0x21])
def test_d02_other_hash_types(world: World, payment: Payment, sighash: int) -> None:
    if sighash in (0x00, 0x04, 0x21):
        script, der = payment.tx.vin[0].witness[3], payment.tx.vin[0].witness[2][:-1]
        forged = with_witness(payment, b"", PLACEHOLDER, der + bytes((sighash,)), script)
    else:
        forged = payment.signed(sighash)
    refused(world, forged.request(), WrongSighash, "only SIGHASH_ALL")


def test_d02_different_hash_types_per_input(world: World, alice: Account) -> None:
    payment = world.pay([world.fund(alice), world.fund(alice, pointer=2)])
    refused(world, payment.signed(0x83, only=[1]).request(), WrongSighash, "partial swaps")


def test_d03_input_amount_is_the_chains_and_never_the_callers(world: World, alice: Account) -> None:
    """The two-round fee attack: the user's device was told another amount, so its signature does not verify."""
    coin = world.fund(alice, 90_000)
    liar = replace(coin, txout=replace(coin.txout, value_field=explicit_value_field(50)))
    payment = world.pay([coin], sign=False)
    refused(world, replace(payment, coins=(liar,)).signed().request(), WrongUserSignature)


def test_d04_scripts_that_are_not_the_inputs(world: World, alice: Account, payment: Payment) -> None:
    bob = world.wallet("bob")
    service, user = alice.service_key(1), alice.user_key(1).public_key
    good = multisig_2of2(service, user)
    forged = [
        bob.witness_script(1),
        alice.witness_script(2),
        multisig_2of2(user, service),
        b"\x51" + good[1:],
        good[:-2] + b"\x53\xae",
        push(good),
        b"\x63" + good + b"\x67\x51\x68",
        b"",
    ]
    for script in forged:
        refused(world, payment.request(scripts=[script]), WrongScript)
    for count in (0, 2):
        refused(world, payment.request(scripts=[good] * count), WrongScript, "send one for each")


def test_d04_script_in_witness_and_script_sig(world: World, alice: Account, payment: Payment) -> None:
    other = alice.witness_script(2)
    witness = payment.tx.vin[0].witness
    refused(world, with_witness(payment, *witness[:3], other).request(), WrongScript, "witness")
    for script_sig in (b"", p2sh_p2wsh_script_sig(other), payment.tx.vin[0].script_sig + b"\x51"):
        refused(world, payment.with_input(0, script_sig=script_sig).request(), WrongScript, "scriptSig")


def test_d05_hints_give_no_authority(world: World, alice: Account) -> None:
    """A stranger's coin with our placeholder and a script of ours in its witness stays a stranger's coin."""
    coin = world.fund(alice, watched=False)
    outpoint = OutPoint(coin.prevout.txid(), 1)
    payment = world.pay([coin])
    vin = [replace(payment.tx.vin[0], prevout=outpoint)]
    refused(world, payment.with_tx(vin=vin).request(), AddressNeverIssued)


def test_d06_address_beyond_the_last_issued(world: World, alice: Account) -> None:
    coin = world.fund(alice, pointer=21, watched=False)
    refused(world, world.pay([coin]).request(), AddressNeverIssued, "never issued")


def test_d06_no_own_input(world: World, payment: Payment) -> None:
    vin = [replace(payment.tx.vin[0], prevout=OutPoint(payment.coins[0].prevout.txid(), 1), witness=(b"", b"sig"))]
    refused(world, payment.with_tx(vin=vin).request(), NoOwnInput)


def test_d06_a_session_signs_only_for_its_own_wallet(world: World, payment: Payment) -> None:
    bob = world.wallet("bob")
    refused(world, payment.request(user_id=bob.user_id), NoOwnInput, "logged in")


def test_d07_unknown_spent_and_immature_inputs(world: World, alice: Account) -> None:
    unknown = world.fund(alice, watched=False)
    world.chain.transactions.clear()
    refused(world, world.pay([unknown]).request(), UnknownInput, "Missing prevout")
    spent = world.fund(alice)
    world.watch(Transaction.of(2, 0, [world.pay([spent]).tx.vin[0]], [TxOut.fee(LBTC, 1)]), 900, {})
    refused(world, world.pay([spent], 50_000).request(), SpentInput, "spent already")
    missing = world.fund(alice)
    payment = world.pay([missing])
    vin = [replace(payment.tx.vin[0], prevout=OutPoint(missing.prevout.txid(), 9))]
    refused(world, payment.with_tx(vin=vin).request(), UnknownInput, "no output 9")


def test_d07_immature_coinbase(world: World, alice: Account) -> None:
    coin = world.fund(alice, blinded=False, watched=False)
    source = world.chain.transactions[coin.prevout.txid()]
    coinbase = Transaction.of(2, 0, [replace(source.vin[0], prevout=OutPoint(bytes(32), 0xFFFFFFFF))], [coin.txout])
    mined = replace(coin, prevout=OutPoint(coinbase.txid(), 0))
    world.watch(coinbase, world.chain.tip - 98, {0: (alice, 1)})
    refused(world, world.pay([mined]).request(), ImmatureInput)


def test_d07_a_coin_that_was_reorganised_away_is_retryable(world: World, payment: Payment) -> None:
    coin = payment.coins[0]
    with world.store.transaction() as db:
        db.execute(sa.delete(schema.outputs))
        db.execute(sa.update(schema.transactions).values(state=2, height=None))
    world.chain.transactions.clear()
    with pytest.raises(UnknownInput) as caught:
        world.cosigner.cosign(payment.request())
    assert caught.value.retryable
    assert str(coin.prevout.txid()) in str(caught.value)


def test_d08_counts_and_sizes_before_anything_expensive(
    world: World, payment: Payment, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wally, "unblind_with_nonce", None)
    monkeypatch.setattr(world.cosigner, "_known_inputs", None)
    tx = payment.tx
    duplicate = payment.with_tx(vin=[tx.vin[0], tx.vin[0]])
    refused(world, duplicate.request(), BadTransaction, "twice")
    many = [replace(tx.vin[0], prevout=OutPoint(bytes(32), i), witness=()) for i in range(257)]
    refused(world, payment.with_tx(vin=many).request(), BadTransaction, "257 inputs")
    refused(world, payment.with_tx(vin=[]).request(), BadTransaction)
    refused(world, payment.with_tx(vout=[]).request(), BadTransaction)
    outputs = [TxOut.explicit(STRANGER, OTHER, 1)] * 10_000
    refused(world, payment.with_tx(vout=outputs).request(), TooLarge)
    heavy = [TxOut.explicit(STRANGER, OTHER, 1)] * 1_600
    refused(world, payment.with_tx(vout=heavy).request(), BadTransaction, "weight")
    refused(world, Request(bytes(MAX_WEIGHT + 1), []), TooLarge)
    refused(world, Request(tx.to_bytes()[:-1], []), BadTransaction, "cannot be read")
    refused(world, Request(tx.to_bytes() + b"\x00", []), BadTransaction, "follow")


def test_d08_dust_and_worthless_outputs(world: World, alice: Account) -> None:
    coin = world.fund(alice)
    dust = world.pay([coin], extra=[PlainOutput(STRANGER, LBTC, 13)])
    refused(world, dust.request(), BadTransaction, "dust")
    nothing = world.pay([coin])
    refused(
        world,
        nothing.with_tx(vout=[TxOut.explicit(STRANGER, LBTC, 0), *nothing.tx.vout]).request(),
        BadTransaction,
        "holds nothing",
    )
    unpayable = world.pay([coin], extra=[PlainOutput(b"\x51", LBTC, 5_000)])
    refused(world, unpayable.request(), BadTransaction, "no address has")


def test_d09_the_place_of_the_services_signature(world: World, alice: Account, payment: Payment) -> None:
    """Only the placeholder, nothing at all, or our own signature of this transaction may stand there."""
    witness = payment.tx.vin[0].witness
    digest = SighashCache(payment.tx).segwit_v0(0, witness[3], payment.coins[0].txout.value_field)
    stranger = wally.ecdsa_sign(b"\x55" * 32, digest) + b"\x01"
    other_message = world.keys.sign(alice.gait_path, 1, 1, b"\x01" * 32) + b"\x01"
    other_type = world.keys.sign(alice.gait_path, 1, 1, digest) + b"\x81"
    for foreign in (stranger, other_message, other_type, PLACEHOLDER[:-1], b"\x00", witness[2]):
        refused(world, with_witness(payment, b"", foreign, *witness[2:]).request(), ForeignServiceSignature)


def test_d10_one_of_two_owners_did_not_sign(world: World, alice: Account) -> None:
    bob = world.wallet("bob")
    payment = world.pay([world.fund(alice), world.fund(bob)], sign=False).signed(only=[0])
    refused(world, payment.request(scripts=None), WrongScript)
    both = payment.signed()
    unsigned = list(both.tx.vin)
    unsigned[1] = replace(unsigned[1], witness=(b"", PLACEHOLDER, PLACEHOLDER, unsigned[1].witness[3]))
    refused(world, both.with_tx(vin=unsigned).request(), WrongUserSignature, "Input 1")


def test_d11_fees(world: World, alice: Account) -> None:
    coin = world.fund(alice, 5_000_000)
    token = world.fund(alice, 5_000, asset=OTHER, pointer=2)
    refused(world, world.pay([coin], fee=20).request(), FeeOutOfBounds, "too low")
    refused(world, world.pay([coin], fee=1_000_001).request(), FeeOutOfBounds, "limit")
    refused(world, world.pay([coin], fee=40_000).request(), FeeOutOfBounds, "limit")
    twice = world.pay([coin], extra=[PlainOutput(b"", LBTC, 50)])
    refused(world, twice.request(), FeeOutOfBounds, "exactly one")
    none = world.pay([coin])
    refused(world, none.with_tx(vout=none.tx.vout[:-1]).request(), FeeOutOfBounds, "exactly one")
    foreign = world.pay([coin, token], 1_000, asset=OTHER, extra=[PlainOutput(b"", OTHER, 500)])
    without_lbtc_fee = [o for o in foreign.tx.vout if o.script or o.explicit_asset == OTHER]
    refused(world, foreign.with_tx(vout=without_lbtc_fee).request(), FeeOutOfBounds, "policy asset")


def test_d11_the_limits_are_configuration() -> None:
    world = World(limits=Limits(max_fee=500, max_fee_rate=10_000_000))
    coin = world.fund(world.wallet("alice"), 5_000_000)
    refused(world, world.pay([coin], fee=501).request(), FeeOutOfBounds)
    assert not world.cosigner.cosign(world.pay([coin], fee=500).request()).again


def test_d12_another_network_version_lock_time_and_sequence(world: World, payment: Payment) -> None:
    for version in (1, 3, -1):
        refused(world, payment.with_tx(version=version).signed().request(), BadTransaction, "version 2")
    for locktime in (world.chain.tip + 1, 500_000_001):
        refused(world, payment.with_tx(locktime=locktime).signed().request(), BadTransaction, "lock time")
    relative = [replace(txin, sequence_number=5) for txin in payment.tx.vin]
    refused(world, payment.with_tx(vin=relative).signed().request(), BadTransaction, "relative lock")
    other_fee = TxOut.fee(bytes.fromhex(Network.testnet().policy_asset())[::-1], 100)
    elsewhere = payment.with_tx(vout=[*payment.tx.vout[:-1], other_fee]).signed()
    refused(world, elsewhere.request(), FeeOutOfBounds, "right network")


def test_d12_a_lock_time_of_the_present_is_fine() -> None:
    world = World()
    payment = world.pay([world.fund(world.wallet("alice"))]).with_tx(locktime=world.chain.tip).signed()
    assert not world.cosigner.cosign(payment.request()).again


def test_d13_issuance_reissuance_and_pegin(world: World, payment: Payment) -> None:
    for issuance in (
        Issuance(bytes(32), bytes(32), explicit_value_field(5), explicit_value_field(1)),
        Issuance(b"\x01" * 32, b"\x02" * 32, explicit_value_field(5)),
    ):
        refused(world, payment.with_input(0, issuance=issuance).request(), IssuanceRefused)
    refused(world, payment.with_input(0, is_pegin=True).request(), IssuanceRefused)
    refused(world, payment.with_input(0, pegin_witness=(b"x",)).request(), IssuanceRefused)


def test_d14_an_asset_is_burnt_openly_or_not_at_all() -> None:
    """What LWK's ``add_burn`` makes is signed for an asset that nobody manages; its disguises are not."""
    world = World()
    alice = world.wallet("alice")
    token, coin = world.fund(alice, 5_000, asset=OTHER), world.fund(alice, pointer=2)
    for script in (b"\x6a\x01x", b"\x6a\x00", bytes(10_001)):
        disguised = world.pay([token, coin], 1_000, asset=OTHER, extra=[PlainOutput(script, OTHER, 500)])
        refused(world, disguised.request(), BurnRefused, "destroy")
    hidden = world.pay([token, coin], 1_000, asset=OTHER, extra=[PlainOutput(b"\x6a", OTHER, 500, STRANGER_PUB)])
    refused(world, hidden.request(), BurnRefused)
    openly = world.pay([token, coin], 1_000, asset=OTHER, extra=[PlainOutput(b"\x6a", OTHER, 500)])
    assert not world.cosigner.cosign(openly.request()).again


def test_d14_burns_in_every_disguise(world: World, alice: Account) -> None:
    coin = world.fund(alice)
    for script in (b"\x6a", b"\x6a\x04data", bytes(10_001)):
        burn = world.pay([coin], extra=[PlainOutput(script, LBTC, 5_000)])
        refused(world, burn.request(), BurnRefused, "destroy")
    hidden = world.pay([coin], extra=[PlainOutput(b"\x6a", LBTC, 5_000, STRANGER_PUB)])
    refused(world, hidden.request(), BurnRefused)
    two = world.pay([coin], extra=[PlainOutput(b"\x6a\x01a", LBTC, 0), PlainOutput(b"\x6a\x01b", LBTC, 0)])
    refused(world, two.request(), BadTransaction, "OP_RETURN")


def test_d14_data_without_an_amount_is_no_burn() -> None:
    world = World()
    coin = world.fund(world.wallet("alice"))
    note = world.pay([coin], extra=[PlainOutput(b"\x6a\x04note", LBTC, 0)])
    assert not world.cosigner.cosign(note.request()).again


def test_d15_change_counts_as_own_only_by_its_script() -> None:
    """No output is believed to be change: the proven spend carries scripts and amounts, and nothing else."""
    world = World()
    alice = world.wallet("alice")
    coin = world.fund(alice)
    seen: list[Spend] = []
    decide = world.cosigner._decide_and_record

    def watched(spend: Spend, *arguments: Any, **more: Any) -> bool:
        seen.append(spend)
        return decide(spend, *arguments, **more)

    world.cosigner._decide_and_record = watched  # type: ignore[method-assign]
    unissued = world.pay(
        [coin], extra=[PlainOutput(alice.script(21), LBTC, 10_000, wally.public_key(alice.blinding_key))]
    )
    world.cosigner.cosign(unissued.request())
    amounts = [opening and opening.satoshi for opening in seen[0].openings]
    assert amounts == [60_000, 10_000, 29_900, 100]
    with world.store.snapshot() as db:
        own = {row.script_pubkey for row in db.execute(sa.select(schema.addresses.c.script_pubkey))}
    assert [txout.script in own for txout in unissued.tx.vout] == [False, False, True, False]


def test_d18_malleated_witnesses_and_leftovers(world: World, payment: Payment) -> None:
    witness = payment.tx.vin[0].witness
    for items in ((*witness, b""), (b"", *witness), witness[1:], (b"\x01", *witness[1:]), (), (*witness, b"\x50annex")):
        refused(world, with_witness(payment, *items).request(), WrongScript)
    padded_push = b"\x4c" + payment.tx.vin[0].script_sig
    refused(world, payment.with_input(0, script_sig=padded_push).request(), WrongScript)


def test_foreign_inputs_stay_byte_for_byte_as_they_came() -> None:
    world = World()
    alice = world.wallet("alice")
    stranger_coin = world.fund(alice, 30_000, watched=False)
    source = world.chain.transactions[stranger_coin.prevout.txid()]
    foreign = replace(
        stranger_coin,
        prevout=OutPoint(source.txid(), 1),
        txout=source.vout[1],
        opening=confidential.unblind(source.vout[1], b"\x33" * 32),
    )
    payment = world.pay([world.fund(alice), foreign], sign=False).signed(only=[0])
    vin = [payment.tx.vin[0], replace(payment.tx.vin[1], witness=(b"sig", b"key"), script_sig=b"\x01\x02")]
    mixed = payment.with_tx(vin=vin).signed(only=[0])
    answer = world.cosigner.cosign(mixed.request(scripts=[alice.witness_script(1), b""]))
    assert answer.tx.vin[1] == vin[1]
    assert answer.tx.vin[0].witness[1] not in (b"", PLACEHOLDER)


# -- E: what outputs hide --------------------------------------------------------------------


def test_e01_a_nonce_that_does_not_open(world: World, payment: Payment) -> None:
    refused(world, payment.request(nonces=[b"\x09" * 32, *payment.nonces[1:]]), WrongNonces, "Output 0")


def test_e02_the_list_of_nonces(world: World, payment: Payment) -> None:
    first, second, fee = payment.nonces
    assert fee == b""
    for nonces, match in (
        ([first, second], "2 blinding nonces for 3 outputs"),
        ([first, second, b"", b""], "4 blinding nonces"),
        ([second, first, b""], "does not open"),
        ([first, first, b""], "two outputs"),
        ([b"", second, b""], "needs its blinding nonce"),
        ([first, second, b"\x01" * 32], "must be empty"),
        ([first[:31], second, b""], "needs its blinding nonce"),
        (None, "finish_for_amp0"),
    ):
        refused(world, payment.request(nonces=nonces), WrongNonces, match)


def test_e03_a_nonce_of_another_output_with_the_same_amount(world: World, alice: Account) -> None:
    payment = world.pay([world.fund(alice, 100_100)], 50_000)
    assert [output.opening.satoshi for output in payment.outputs] == [50_000, 50_000, 100]
    first, second, _ = payment.nonces
    refused(world, payment.request(nonces=[second, first, b""]), WrongNonces)


def test_e04_an_opening_that_does_not_reproduce_the_commitments(
    world: World, payment: Payment, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = wally.unblind_with_nonce

    def other_amount(*arguments: bytes) -> tuple[int, bytes, bytes, bytes]:
        satoshi, asset, abf, vbf = real(*arguments)
        return satoshi + 1, asset, abf, vbf

    monkeypatch.setattr(wally, "unblind_with_nonce", other_amount)
    refused(world, payment.request(), WrongNonces)


def test_e05_range_proofs_that_do_not_hold(world: World, payment: Payment) -> None:
    proof = bytearray(payment.tx.vout[0].range_proof)
    for place in (0, 1, 5, 40, len(proof) // 2, len(proof) - 1):
        tampered = bytes(proof[:place]) + bytes((proof[place] ^ 1,)) + bytes(proof[place + 1 :])
        refused(world, payment.with_output(0, range_proof=tampered).request(), WrongNonces, "Output 0")
    refused(world, payment.with_output(0, range_proof=b"").request(), WrongAmounts, "proof is missing")
    refused(world, payment.with_output(0, range_proof=bytes(proof[:-1])).request(), WrongNonces)


@pytest.mark.parametrize("bits", [1, 8, 64])
def test_e05_proofs_of_unusual_widths_are_bounded_by_the_amount(bits: int) -> None:
    """A valid proof of another width opens as well; what counts is the amount that it proves."""
    world = World()
    payment = world.pay([world.fund(world.wallet("alice"))])
    output, opening = payment.tx.vout[0], payment.outputs[0].opening
    proof = wally.rangeproof(
        opening.satoshi, payment.nonces[0], opening.asset, opening.abf, opening.vbf, output.value_field,
        output.script, output.asset_field, bits=max(bits, opening.satoshi.bit_length()),
    )  # fmt: skip
    answer = world.cosigner.cosign(payment.with_output(0, range_proof=proof).request())
    confidential.verify_amounts(answer.tx, [payment.coins[0].txout])


def test_e06_surjection_proofs(world: World, alice: Account, payment: Payment) -> None:
    other = world.pay([world.fund(alice, 500, asset=OTHER, pointer=2), world.fund(alice, pointer=3)], 50, asset=OTHER)
    refused(world, payment.with_output(0, surjection_proof=b"").request(), WrongAmounts, "proof is missing")
    foreign = payment.with_output(0, surjection_proof=other.tx.vout[0].surjection_proof)
    refused(world, foreign.request(), WrongAmounts, "surjection")
    swapped = payment.with_output(0, surjection_proof=payment.tx.vout[1].surjection_proof)
    refused(world, swapped.request(), WrongAmounts, "surjection")


def test_e06_amounts_that_do_not_balance(world: World, payment: Payment) -> None:
    more_fee = payment.with_output(2, value_field=explicit_value_field(101))
    refused(world, more_fee.request(), WrongAmounts, "balance")


def test_e07_half_blinded_outputs(world: World, payment: Payment) -> None:
    half_asset = payment.with_output(0, asset_field=b"\x01" + LBTC)
    half_value = payment.with_output(0, value_field=explicit_value_field(60_000))
    for half in (half_asset, half_value):
        refused(world, half.request(), WrongAmounts, "blind both or none")


def test_e08_points_that_are_none(world: World, payment: Payment) -> None:
    for prefix in (b"\x0a", b"\x0b"):
        bad = payment.with_output(0, asset_field=prefix + b"\xff" * 32)
        refused(world, bad.request(), WrongAmounts, "not a point")
    bad_value = payment.with_output(0, value_field=b"\x08" + b"\xff" * 32)
    refused(world, bad_value.request(), WrongAmounts, "not a point")
    bad_nonce = payment.with_output(0, nonce_field=b"\x02" + b"\xff" * 32)
    refused(world, bad_nonce.request(), WrongAmounts, "nonce or a proof is missing")


def test_e08_an_unblinded_generator_in_a_blinded_output(world: World, payment: Payment) -> None:
    """A zero blinding factor hides nothing: the generator of the bare asset id is not accepted."""
    bare = wally.asset_generator(LBTC, None)
    refused(world, payment.with_output(0, asset_field=bare).request(), WrongAmounts)


# -- G and J ----------------------------------------------------------------------------------


def test_g04_a_store_that_cannot_write_stops_all_signing() -> None:
    """Disk full at the commit: no signature, and none later either, until the process starts again."""
    import sqlite3

    broken: list[str] = []

    def faults(where: str) -> None:
        if where in broken:
            error = sqlite3.OperationalError("database or disk is full")
            error.sqlite_errorcode = sqlite3.SQLITE_FULL
            raise error

    for where in ("commit", "execute", "begin"):
        broken.clear()
        world = World(faults=faults)
        alice = world.wallet("alice")
        payment, later = world.pay([world.fund(alice)]), world.pay([world.fund(alice, pointer=2)])
        record = world.cosigner._record

        def break_then_record(*arguments: Any, where: str = where, record: Any = record, **more: Any) -> None:
            broken.append(where)
            record(*arguments, **more)

        world.cosigner._record = break_then_record  # type: ignore[method-assign]
        if where == "begin":
            broken.append(where)
        with pytest.raises(Exception) as caught:  # noqa: PT011
            world.cosigner.cosign(payment.request())
        assert isinstance(caught.value, StoreUnavailable), caught.value
        broken.clear()
        if where != "begin":
            with pytest.raises(StoreUnavailable):
                world.cosigner.cosign(later.request())
            assert not world.store.ready()


def test_j11_nothing_expensive_happens_before_the_users_signature(
    world: World, payment: Payment, monkeypatch: pytest.MonkeyPatch
) -> None:
    touched: list[str] = []
    for name in ("unblind_with_nonce", "rangeproof_verify", "surjectionproof_verify", "verify_tally"):
        monkeypatch.setattr(wally, name, lambda *_a, _n=name, **_k: touched.append(_n))
    witness = payment.tx.vin[0].witness
    forged = with_witness(payment, b"", PLACEHOLDER, wally.ecdsa_sign(b"\x55" * 32, bytes(32)) + b"\x01", witness[3])
    refused(world, forged.request(), WrongUserSignature)
    assert not touched


def test_j11_failures_are_budgeted_by_account(world: World, alice: Account, payment: Payment) -> None:
    """A success uses up coins; a failure costs only processor time, so an account gets so many of them."""
    wrong = payment.request(nonces=[b"\x09" * 32, *payment.nonces[1:]])
    for _ in range(67):
        refused(world, wrong, WrongNonces)
    refused(world, wrong, TooManyAttempts, "wait 1 seconds")
    bob = world.pay([world.fund(world.wallet("bob"))])
    refused(world, bob.request(nonces=[b"\x09" * 32, *bob.nonces[1:]]), WrongNonces)
    world.now += 2
    refused(world, wrong, WrongNonces)


def test_j11_an_invalid_opening_costs_no_database_write(world: World, payment: Payment) -> None:
    world.cosigner._decide_and_record = None  # type: ignore[assignment]
    refused(world, payment.request(nonces=[b"\x09" * 32, *payment.nonces[1:]]), WrongNonces)


def test_h10_refusals_carry_no_secrets(world: World, payment: Payment) -> None:
    nonces = [b"\x09" * 32, *payment.nonces[1:]]
    with pytest.raises(WrongNonces) as caught:
        world.cosigner.cosign(payment.request(nonces=nonces))
    text = repr(caught.value) + str(caught.value)
    for nonce in nonces[:2]:
        assert nonce.hex() not in text


def test_more_unknown_transactions_than_the_chain_is_asked_for() -> None:
    world = World()
    payment = world.pay([world.fund(world.wallet("alice"))], fee=400)
    vin = [payment.tx.vin[0]] + [
        replace(payment.tx.vin[0], prevout=OutPoint(bytes([i]) * 32, 0), witness=(b"x",)) for i in range(1, 18)
    ]
    refused(world, payment.with_tx(vin=vin).request(), UnknownInput, "17 of the inputs")
    assert not world.chain.questions


def test_a_chain_that_answers_with_another_transaction(world: World, alice: Account) -> None:
    coin = world.fund(alice, watched=False)
    world.chain.transactions[coin.prevout.txid()] = world.pay([world.fund(alice)]).tx
    with pytest.raises(Refusal) as caught:
        world.cosigner.cosign(world.pay([coin]).request())
    assert caught.value.retryable


def test_garbage_in_every_field_is_a_refusal_and_never_a_crash(world: World, payment: Payment) -> None:
    raw = payment.tx.to_bytes()
    for place in range(0, 400, 7):
        mutated = raw[:place] + bytes((raw[place] ^ 0x81,)) + raw[place + 1 :]
        if mutated == raw:
            continue
        with pytest.raises((Refusal, InvalidInput)) as caught:
            world.cosigner.cosign(payment.request(tx=mutated))
        assert isinstance(caught.value, Refusal)
