"""Finishing inputs: four shapes, and a clear refusal for everything else."""

from __future__ import annotations

import pytest

from amp0.elements import pset_fields as f
from amp0.elements import sighash, wally
from amp0.elements.hashes import asset_id_to_bytes
from amp0.elements.pset import Pset, PsetInput, PsetOutput
from amp0.elements.pset_finalize import DUMMY_SIGNATURE, final_parts, spend_of
from amp0.elements.script import hash160, multisig_2of2, p2pkh, p2sh, p2wpkh, p2wsh, push
from amp0.elements.sighash import SighashCache
from amp0.elements.transaction import TxOut
from amp0.errors import InvalidPset

ASSET = asset_id_to_bytes("5a" * 32)
ONE, TWO = b"\x01" * 32, b"\x02" * 32
KEY_ONE, KEY_TWO = wally.public_key(ONE), wally.public_key(TWO)
PAIR = multisig_2of2(KEY_ONE, KEY_TWO)
PROGRAM = p2wpkh(hash160(KEY_ONE))
NOON = 500_000_001


def txin(script: bytes | None, **fields: bytes) -> PsetInput:
    pairs = {f.I_PREVIOUS_TXID: b"\x07" * 32, f.I_OUTPUT_INDEX: b"\x01\x00\x00\x00"}
    if script is not None:
        pairs[f.I_WITNESS_UTXO] = TxOut.explicit(script, ASSET, 1000).serialize()
    pairs |= {getattr(f, name): value for name, value in fields.items()}
    return PsetInput(f.in_input_order(pairs))


def pset_of(one: PsetInput) -> Pset:
    output = PsetOutput({f.O_AMOUNT: (1000).to_bytes(8, "little"), f.O_ASSET: ASSET, f.O_SCRIPT: b""})
    return Pset.of({f.G_TX_VERSION: b"\x02\x00\x00\x00", f.G_VERSION: b"\x02\x00\x00\x00"}, [one], [output])


def signed(one: PsetInput, *secrets: bytes) -> PsetInput:
    """The input with a name and a signature for each private key."""
    for secret in secrets:
        one = one.with_field(f.I_BIP32 + wally.public_key(secret), b"\x00" * 4)
    cache = SighashCache(pset_of(one).unsigned_tx)
    spend = spend_of(one, 0)
    for secret in secrets:
        digest = cache.segwit_v0(0, spend.script_code, spend.value_field)
        one = one.with_field(f.I_PARTIAL_SIG + wally.public_key(secret), sighash.sign(secret, digest))
    return one


def test_p2wpkh() -> None:
    one = signed(txin(PROGRAM), ONE)
    done = pset_of(one).finalize().vin[0]
    assert done.script_sig == b""
    assert done.witness == (one.signatures[KEY_ONE], KEY_ONE)


def test_p2sh_p2wpkh() -> None:
    one = signed(txin(p2sh(PROGRAM), I_REDEEM_SCRIPT=PROGRAM), ONE)
    done = pset_of(one).finalize().vin[0]
    assert done.script_sig == push(PROGRAM)
    assert done.witness == (one.signatures[KEY_ONE], KEY_ONE)


@pytest.mark.parametrize("nested", [False, True])
def test_2of2(nested: bool) -> None:
    program = p2wsh(PAIR)
    fields = {"I_WITNESS_SCRIPT": PAIR}
    if nested:
        fields["I_REDEEM_SCRIPT"] = program
    one = signed(txin(p2sh(program) if nested else program, **fields), TWO, ONE)
    done = pset_of(one).finalize().vin[0]
    assert done.script_sig == (push(program) if nested else b"")
    # In the order of the script, whatever the order of signing.
    assert done.witness == (b"", one.signatures[KEY_ONE], one.signatures[KEY_TWO], PAIR)


def test_the_placeholder_verifies_for_nothing() -> None:
    program = p2wsh(PAIR)
    one = signed(txin(program, I_WITNESS_SCRIPT=PAIR), ONE)
    digest = SighashCache(pset_of(one).unsigned_tx).segwit_v0
    _, witness = final_parts(one, 0, lambda *parts: digest(0, *parts), dummy=DUMMY_SIGNATURE)
    assert witness[2] == DUMMY_SIGNATURE
    assert len(DUMMY_SIGNATURE) == 71
    assert not sighash.verify(KEY_TWO, digest(0, PAIR, one.spent_output.value_field), DUMMY_SIGNATURE[:-1])  # type: ignore[union-attr]
    again = one.with_field(f.I_PARTIAL_SIG + KEY_TWO, DUMMY_SIGNATURE)
    with pytest.raises(InvalidPset, match="not valid"):
        pset_of(again).finalize()


@pytest.mark.parametrize(
    ("one", "why"),
    [
        (txin(None), "does not tell which output"),
        (txin(p2sh(PROGRAM)), "no redeem script"),
        (txin(p2sh(PROGRAM), I_REDEEM_SCRIPT=p2wpkh(b"\x09" * 20)), "not that of the output"),
        (txin(p2pkh(hash160(KEY_ONE))), "cannot sign for"),
        (txin(b"\x51\x20" + b"\x07" * 32), "cannot sign for"),
        (txin(b""), "cannot sign for"),
        (txin(PROGRAM), "does not name the key"),
        (txin(p2wsh(PAIR)), "no witness script"),
        (txin(p2wsh(PAIR), I_WITNESS_SCRIPT=b"\x51"), "not that of the output"),
        (txin(p2wsh(b"\x51"), I_WITNESS_SCRIPT=b"\x51"), "not a 2-of-2"),
    ],
)
def test_refusals(one: PsetInput, why: str) -> None:
    with pytest.raises(InvalidPset, match=why):
        pset_of(one).finalize()


def test_a_foreign_signature_is_ignored() -> None:
    one = signed(txin(PROGRAM), ONE)
    one = one.with_field(f.I_PARTIAL_SIG + KEY_TWO, one.signatures[KEY_ONE])
    assert pset_of(one).finalize().vin[0].witness[1] == KEY_ONE


# -- lock times (BIP370) ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fallback", "inputs", "expected"),
    [
        (None, [{}], 0),
        (77, [{}], 77),
        (77, [{f.I_REQUIRED_HEIGHT: 5}, {}, {f.I_REQUIRED_HEIGHT: 9}], 9),
        (None, [{f.I_REQUIRED_TIME: NOON}], NOON),
        (None, [{f.I_REQUIRED_TIME: NOON, f.I_REQUIRED_HEIGHT: 3}], 3),
        (None, [{f.I_REQUIRED_TIME: NOON, f.I_REQUIRED_HEIGHT: 3}, {f.I_REQUIRED_TIME: NOON + 8}], NOON + 8),
        (None, [{f.I_REQUIRED_TIME: NOON}, {f.I_REQUIRED_HEIGHT: 3}], None),
    ],
)  # fmt: skip
def test_locktime(fallback: int | None, inputs: list[dict[bytes, int]], expected: int | None) -> None:
    top = {f.G_TX_VERSION: b"\x02\x00\x00\x00", f.G_VERSION: b"\x02\x00\x00\x00"}
    if fallback is not None:
        top[f.G_FALLBACK_LOCKTIME] = fallback.to_bytes(4, "little")
    made = []
    for asked in inputs:
        one = txin(PROGRAM)
        for key, value in asked.items():
            one = one.with_field(key, value.to_bytes(4, "little"))
        made.append(one)
    pset = Pset.of(top, made, pset_of(made[0]).outputs())
    if expected is None:
        with pytest.raises(InvalidPset, match="cannot be met together"):
            pset.extract_tx()
    else:
        assert pset.extract_tx().locktime == pset.locktime() == expected


def test_sequence_and_pegin_fields_reach_the_transaction() -> None:
    one = txin(PROGRAM).with_field(f.I_SEQUENCE, b"\x05\x00\x00\x00")
    fields = {**one.fields, f.I_OUTPUT_INDEX: (1 | 1 << 30).to_bytes(4, "little"), f.I_PEGIN_WITNESS: b"\x02\x01a\x00"}
    pset = pset_of(PsetInput(fields))
    (made,) = pset.extract_tx().vin
    assert (made.sequence(), made.is_pegin, made.pegin_witness) == (5, True, (b"a", b""))
    assert made.prevout.vout() == pset.inputs()[0].previous_vout() == 1
    assert pset.unique_id() != pset.unsigned_tx.txid()
