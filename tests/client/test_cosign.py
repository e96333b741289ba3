"""What goes to the cosigner is what lwk sends; what comes back is only believed when it is right."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from typing import Any

import pytest

from amp0.client.cosign import CosignCheck, signed_transaction, spend_refused
from amp0.elements import pset_fields as f
from amp0.elements.descriptor import DescriptorKey, WolletDescriptor
from amp0.elements.keys import ExtendedKey, Slip77
from amp0.elements.pset import DUMMY_SIGNATURE, Amp0Pset, Pset
from amp0.elements.sighash import SIGHASH_ALL, SighashCache, sign
from amp0.elements.transaction import Transaction
from amp0.errors import (
    AlteredTransaction,
    CallFailed,
    CosignRefused,
    InvalidPset,
    NetworkMismatch,
    RemoteProtocolError,
    WrongSigner,
)
from amp0.network import TEST_SERVICE_SEED
from tests.vectors import load

SPENDS = load("lwk-0.19.json")["spends"]
CASES = {case["name"]: case for case in SPENDS["cases"]}
DESCRIPTOR = WolletDescriptor(SPENDS["descriptor"])


def check_of(name: str) -> CosignCheck:
    case = CASES[name]
    return CosignCheck(Amp0Pset(Pset(case["signed_pset"]), case["blinding_nonces"]), DESCRIPTOR)


@pytest.mark.parametrize("name", CASES)
def test_request_and_reply_of_the_vectors(name: str) -> None:
    case, check = CASES[name], check_of(name)
    assert json.loads(check.request()) == case["delayed_signature"]
    assert str(check.txid) == case["txid"]
    reply = json.dumps({"result": True, "error": "", "tx": case["cosigned_tx"]}).encode()
    tx = check.accept(reply)
    assert str(tx) == case["cosigned_tx"]
    assert str(tx.txid()) == case["txid"]


NAME = next(name for name, case in CASES.items() if len(Transaction(case["cosigned_tx"]).vin) > 1)
GOOD = Transaction(CASES[NAME]["cosigned_tx"])


def with_witness(index: int, place: int, item: bytes) -> str:
    witness = list(GOOD.vin[index].witness)
    witness[place] = item
    return str(GOOD.replace_input(index, witness=tuple(witness)))


def rebuilt(**changes: Any) -> str:
    parts: dict[str, Any] = {"version": GOOD.version, "locktime": GOOD.locktime, "vin": GOOD.vin, "vout": GOOD.vout}
    return str(Transaction.of(**parts | changes))


SIGNATURE = GOOD.vin[0].witness[1]
USER = GOOD.vin[0].witness[2]
FEE = GOOD.vout[-1]
ALTERED: dict[str, Callable[[], str]] = {
    "locktime": lambda: rebuilt(locktime=GOOD.locktime + 1),
    "version": lambda: rebuilt(version=1),
    "fee": lambda: rebuilt(
        vout=(*GOOD.vout[:-1], dataclasses.replace(FEE, value_field=FEE.value_field[:-1] + b"\xff"))
    ),
    "output script": lambda: rebuilt(vout=(dataclasses.replace(GOOD.vout[0], script=b"\x51"), *GOOD.vout[1:])),
    "output removed": lambda: rebuilt(vout=GOOD.vout[1:]),
    "output added": lambda: rebuilt(vout=(*GOOD.vout, FEE)),
    "outputs swapped": lambda: rebuilt(vout=(GOOD.vout[1], GOOD.vout[0], *GOOD.vout[2:])),
    "range proof": lambda: rebuilt(vout=(dataclasses.replace(GOOD.vout[0], range_proof=b"\x00"), *GOOD.vout[1:])),
    "input removed": lambda: rebuilt(vin=GOOD.vin[1:]),
    "input added": lambda: rebuilt(vin=(*GOOD.vin, GOOD.vin[0])),
    "inputs swapped": lambda: rebuilt(vin=(GOOD.vin[1], GOOD.vin[0], *GOOD.vin[2:])),
    "sequence": lambda: rebuilt(vin=(dataclasses.replace(GOOD.vin[0], sequence_number=5), *GOOD.vin[1:])),
    "script sig": lambda: rebuilt(vin=(dataclasses.replace(GOOD.vin[0], script_sig=b""), *GOOD.vin[1:])),
    "witness script": lambda: with_witness(0, 3, GOOD.vin[1].witness[3]),
    "witness extended": lambda: str(GOOD.replace_input(0, witness=(*GOOD.vin[0].witness, b""))),
    "witness gone": lambda: str(GOOD.replace_input(0, witness=())),
    "first item": lambda: with_witness(0, 0, b"\x01"),
    "user signature replaced": lambda: with_witness(0, 2, SIGNATURE),
}


@pytest.mark.parametrize("what", ALTERED)
def test_h01_an_altered_transaction_is_refused_and_kept(what: str) -> None:
    altered = ALTERED[what]()
    check = check_of(NAME)
    with pytest.raises(AlteredTransaction) as caught:
        check.check(altered)
    assert caught.value.received == altered
    assert caught.value.sent == CASES[NAME]["delayed_signature"]["tx"]


def service_signature(hash_type: int) -> bytes:
    """A real signature by the service's key of the first input, of another hash type."""
    script = GOOD.vin[0].witness[3]
    value = Pset(CASES[NAME]["signed_pset"]).spent_outputs()[0].value_field
    digest = SighashCache(GOOD).segwit_v0(0, script, value, hash_type)
    origin = DESCRIPTOR.service_key.origin
    assert origin is not None
    account = ExtendedKey.from_seed(TEST_SERVICE_SEED, main=False).derive(origin.path)
    key = next(k for k in (account.child(i) for i in range(1, 30)) if k.public_key in script)
    assert key.private_key is not None
    return sign(key.private_key, digest, hash_type)


@pytest.mark.parametrize(
    "signature",
    [
        DUMMY_SIGNATURE, b"", SIGNATURE[:-1], SIGNATURE + b"\x01", USER, GOOD.vin[1].witness[1],
        SIGNATURE[:-1] + b"\x02", SIGNATURE[:10] + bytes((SIGNATURE[10] ^ 1,)) + SIGNATURE[11:],
        service_signature(SIGHASH_ALL | 0x80), service_signature(2), service_signature(3),
    ],
)  # fmt: skip
def test_h02_a_service_signature_that_does_not_hold(signature: bytes) -> None:
    with pytest.raises(AlteredTransaction, match="service signature"):
        check_of(NAME).check(with_witness(0, 1, signature))
    good = with_witness(0, 1, service_signature(SIGHASH_ALL))
    assert str(check_of(NAME).check(good)) == good


@pytest.mark.parametrize("text", ["", "00", "zz", str(GOOD) + "00", str(GOOD)[:-2], "ff" * 100])
def test_h01_bytes_that_are_no_transaction(text: str) -> None:
    with pytest.raises(AlteredTransaction):
        check_of(NAME).check(text)


def test_upper_case_hex_is_the_same_transaction() -> None:
    assert check_of(NAME).check(str(GOOD).upper()) == GOOD


def test_refusals_carry_the_servers_reason() -> None:
    body = {
        "result": False,
        "error": "Over the limit",
        "tx": None,
        "code": "limit",
        "retryable": True,
        "txid": "ab" * 32,
    }
    with pytest.raises(CosignRefused, match="Over the limit") as caught:
        check_of(NAME).accept(json.dumps(body).encode())
    assert (caught.value.code, caught.value.retryable, caught.value.txid) == ("limit", True, "ab" * 32)
    assert [str(one) for one in caught.value.reasons] == ["Over the limit"]
    with pytest.raises(CosignRefused, match="no reason given"):
        signed_transaction(b'{"result":false,"error":""}')


def test_reasons_of_a_policy_are_the_same_over_http_and_wamp() -> None:
    line = "sender_frozen: input 0: frozen; try later; recipient_not_allowed: output 2: not there"
    reasons = [
        {"code": "sender_frozen", "side": "input", "index": 0, "asset_id": "ab" * 32, "text": "frozen; try later"},
        {"code": "recipient_not_allowed", "side": "output", "index": 2, "asset_id": "ab" * 32, "text": "not there"},
    ]
    body = {"result": False, "error": line, "code": "policy", "retryable": False, "reasons": reasons}
    with pytest.raises(CosignRefused, match="frozen; try later") as caught:
        signed_transaction(json.dumps(body).encode())
    over_wamp = spend_refused(CallFailed(line, name="policy", procedure="sign_raw_tx"))
    assert isinstance(over_wamp, CosignRefused)
    for refused in (caught.value, over_wamp):
        assert (refused.code, refused.retryable) == ("sender_frozen", False)
        assert "; ".join(map(str, refused.reasons)) == line
        told = [(one.code, one.side, one.index, one.text) for one in refused.reasons]
        assert told == [(one["code"], one["side"], one["index"], one["text"]) for one in reasons]
    assert [one.asset_id for one in caught.value.reasons] == ["ab" * 32] * 2
    assert [one.asset_id for one in over_wamp.reasons] == ["", ""]
    changed = spend_refused(CallFailed("policy_changed: again", name="policychanged", procedure="x"))
    assert isinstance(changed, CosignRefused)
    assert changed.retryable


@pytest.mark.parametrize(
    "body", [b"", b"<html>502</html>", b'{"result":true,"error":""}', b'{"result":true,"error":"","tx":null}']
)
def test_answers_that_are_none(body: bytes) -> None:
    with pytest.raises(RemoteProtocolError):
        check_of(NAME).accept(body)


def test_a_pset_the_user_has_not_signed_is_not_sent() -> None:
    case = CASES[NAME]
    unsigned = Amp0Pset(Pset(case["pset"]), case["blinding_nonces"])
    with pytest.raises(WrongSigner, match=r"signer\.sign"):
        CosignCheck(unsigned, DESCRIPTOR)


def test_b13_a_pset_of_another_account_or_service_key_is_not_sent() -> None:
    case = CASES[NAME]
    amp0pset = Amp0Pset(Pset(case["signed_pset"]), case["blinding_nonces"])
    origin, user = DESCRIPTOR.service_key.origin, DESCRIPTOR.user_key
    assert origin is not None
    rotated = ExtendedKey.from_seed(b"\x01" * 32, main=False).derive(origin.path).public()
    slip77 = DESCRIPTOR.blinding()
    assert isinstance(slip77, Slip77)
    other = WolletDescriptor.of_amp0(slip77=slip77, service=DescriptorKey(origin, rotated), user=user)
    with pytest.raises(NetworkMismatch, match="service key"):
        CosignCheck(amp0pset, other)


def test_nothing_left_to_sign() -> None:
    pset = Pset(CASES[NAME]["signed_pset"])
    both = {
        i: txin.with_field(f.I_PARTIAL_SIG + GOOD.vin[i].witness[3][2:35], GOOD.vin[i].witness[1])
        for i, txin in enumerate(pset.inputs())
    }
    with pytest.raises(InvalidPset, match="waits"):
        CosignCheck(Amp0Pset(pset.with_inputs(both), CASES[NAME]["blinding_nonces"]), DESCRIPTOR)
