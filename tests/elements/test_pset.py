"""PSETs against the recorded ones of LWK 0.19, against LWK itself and against wallycore's parser."""

from __future__ import annotations

import base64
import json
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import wallycore
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from amp0.elements import pset as pset_module
from amp0.elements import pset_fields as f
from amp0.elements.confidential import unblind_with_nonce, verify_amounts
from amp0.elements.pset import Amp0Pset, Pset, PsetInput, PsetOutput, finalize_for_cosign
from amp0.elements.script import parse_multisig_2of2
from amp0.elements.sighash import SighashCache, verify
from amp0.elements.transaction import Transaction
from amp0.errors import InvalidPset

SPENDS: dict[str, Any] = json.loads((Path(__file__).parents[1] / "vectors" / "lwk-0.19.json").read_text())["spends"]
CASES: dict[str, dict[str, Any]] = {case["name"]: case for case in SPENDS["cases"]}
each_case = pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())


@cache
def signed(name: str) -> Pset:
    return Pset(CASES[name]["signed_pset"])


def raw(name: str = "drain") -> bytes:
    return base64.b64decode(CASES[name]["pset"])


def server_signature(case: dict[str, Any], index: int) -> tuple[bytes, bytes]:
    """(public key, signature) of the AMP0 server in the recorded cosigned transaction."""
    witness = Transaction(case["cosigned_tx"]).vin[index].witness
    pair = parse_multisig_2of2(witness[3])
    assert pair is not None
    return pair[0], witness[1]


def fully_signed(case: dict[str, Any]) -> Pset:
    pset = signed(case["name"])
    changed = {}
    for i, txin in enumerate(pset.inputs()):
        key, signature = server_signature(case, i)
        changed[i] = txin.with_field(f.I_PARTIAL_SIG + key, signature)
    return pset.with_inputs(changed)


# -- the codec ----------------------------------------------------------------------------------


@each_case
@pytest.mark.parametrize("which", ["pset", "signed_pset"])
def test_round_trip_is_byte_exact(case: dict[str, Any], which: str) -> None:
    pset = Pset(case[which])
    assert str(pset) == case[which]
    assert Pset.from_bytes(pset.to_bytes()) == pset
    assert hash(Pset(case[which])) == hash(pset)


@each_case
@pytest.mark.parametrize("which", ["pset", "signed_pset"])
def test_agrees_with_wallycore_strict_parser(case: dict[str, Any], which: str) -> None:
    pset = Pset(case[which])
    peer = wallycore.psbt_from_base64(case[which], wallycore.WALLY_PSBT_PARSE_FLAG_STRICT)
    assert wallycore.psbt_get_num_inputs(peer) == len(pset.inputs())
    assert wallycore.psbt_get_num_outputs(peer) == len(pset.outputs())
    for i, txin in enumerate(pset.inputs()):
        assert bytes(wallycore.psbt_get_input_previous_txid(peer, i)) == bytes(txin.previous_txid())
        assert wallycore.psbt_get_input_output_index(peer, i) == txin.previous_vout()
        assert bytes(wallycore.psbt_get_input_witness_script(peer, i)) == txin.witness_script
        assert bytes(wallycore.psbt_get_input_redeem_script(peer, i)) == txin.redeem
        assert wallycore.psbt_get_input_signatures_size(peer, i) == len(txin.signatures)
        assert wallycore.psbt_get_input_keypaths_size(peer, i) == len(txin.derivations)
        spent = txin.spent_output
        assert spent is not None
        assert bytes(wallycore.psbt_get_input_utxo_rangeproof(peer, i)) == spent.range_proof
    for i, output in enumerate(pset.outputs()):
        assert bytes(wallycore.psbt_get_output_script(peer, i) or b"") == output.script
        assert wallycore.psbt_get_output_amount(peer, i) == output.amount()
        assert bytes(wallycore.psbt_get_output_asset(peer, i)) == output.asset_bytes
    # What wallycore writes has another field order and must parse to the same content.
    assert Pset(wallycore.psbt_to_base64(peer, 0)) == pset


@each_case
def test_agrees_with_lwk(case: dict[str, Any]) -> None:
    lwk = pytest.importorskip("lwk")
    pset, peer = Pset(case["signed_pset"]), lwk.Pset(case["signed_pset"])
    assert str(pset.unique_id()) == str(peer.unique_id())
    assert str(pset.extract_tx()) == str(peer.extract_tx())
    for ours, theirs in zip(pset.inputs(), peer.inputs(), strict=True):
        assert str(ours.previous_txid()) == str(theirs.previous_txid())
        assert ours.previous_vout() == theirs.previous_vout()
        assert str(ours.previous_script_pubkey()) == str(theirs.previous_script_pubkey())
        assert str(ours.redeem_script()) == str(theirs.redeem_script())
        assert ours.sighash() == theirs.sighash()
        assert ours.issuance_asset() is theirs.issuance_asset() is None
        assert ours.issuance_token() is theirs.issuance_token() is None
        assert ours.issuance_ids() is theirs.issuance_ids() is None
    for mine, other in zip(pset.outputs(), peer.outputs(), strict=True):
        assert mine.amount() == other.amount()
        assert mine.asset() == other.asset()
        assert str(mine.script_pubkey()) == str(other.script_pubkey())
        assert mine.blinder_index() == other.blinder_index()


def test_global_fields() -> None:
    pset = signed("drain")
    assert pset.genesis_hash is not None
    assert pset.genesis_hash[::-1].hex().startswith("00902a6b")
    assert pset.locktime() == 0
    assert len([key for key in pset.fields if key[:1] == f.G_XPUB]) == 2


def test_inputs_carry_proven_amounts() -> None:
    utxos = {u["outpoint"]: u for u in SPENDS["utxos"]}
    for txin in signed("asset").inputs():
        utxo = utxos[str(txin.prevout)]
        assert txin.explicit_value == utxo["value"]
        assert txin.explicit_asset is not None
        assert txin.explicit_asset[::-1].hex() == utxo["asset"]


def test_unknown_fields_are_kept() -> None:
    pset = signed("drain")
    odd = {b"\x77more": b"", b"\xfc\x03abc\x00": b"x", f.elements_key(0x7E) + b"data": b"y"}
    first = pset.inputs()[0]
    changed = pset.with_inputs({0: PsetInput({**first.fields, **odd})})
    again = Pset(str(changed))
    assert str(again) == str(changed)
    assert all(again.inputs()[0].fields[key] == value for key, value in odd.items())


def test_text_that_is_no_pset() -> None:
    for text in ("", "cHNidP8BAA==", "%%%", "é", "cHNldP8=", "a" * (f.MAX_BYTES * 2)):
        with pytest.raises(InvalidPset):
            Pset(text)
    with pytest.raises(InvalidPset, match="text"):
        Pset(b"cHNldP8=")  # type: ignore[arg-type]


@settings(max_examples=200, suppress_health_check=[HealthCheck.too_slow])
@given(cut=st.integers(min_value=0, max_value=len(raw()) - 1))
def test_truncation_is_refused(cut: int) -> None:
    with pytest.raises(InvalidPset):
        Pset.from_bytes(raw()[:cut])


@settings(max_examples=50)
@given(tail=st.binary(min_size=1, max_size=40))
def test_trailing_bytes_are_refused(tail: bytes) -> None:
    with pytest.raises(InvalidPset, match="follow"):
        Pset.from_bytes(raw() + tail)


@settings(max_examples=300, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_damage_never_raises_anything_else(data: st.DataObject) -> None:
    """Whatever a byte is changed to: a PSET that round-trips, or InvalidPset."""
    damaged = bytearray(raw())
    # Damage the small fields, where the structure is; the proofs are one long run of bytes.
    place = data.draw(st.integers(0, 1500) | st.integers(0, len(damaged) - 1))
    damaged[place] = data.draw(st.integers(0, 255))
    try:
        pset = Pset.from_bytes(bytes(damaged))
    except InvalidPset:
        return
    assert pset.to_bytes() == bytes(damaged)
    try:
        pset.extract_tx()
        pset.unique_id()
        pset.spent_outputs()
        finalize_for_cosign(pset)
    except InvalidPset:
        return


@settings(max_examples=200)
@given(junk=st.binary(max_size=300))
def test_junk_is_refused(junk: bytes) -> None:
    with pytest.raises(InvalidPset):
        Pset.from_bytes(f.MAGIC + junk + b"\x00")


fields_of_others = st.dictionaries(
    # Made, not filtered out of any: of those there are few, and the dictionaries stayed empty.
    st.builds(bytes.__add__, st.sampled_from([b"\x40", b"\x7a", b"\xfd", b"\xfc\x01x"]), st.binary(max_size=37)),
    st.binary(max_size=300),
    max_size=5,
)


@settings(max_examples=50)
@given(extra=st.lists(fields_of_others, min_size=3, max_size=3))
def test_fields_of_others_round_trip(extra: list[dict[bytes, bytes]]) -> None:
    top, inputs, outputs = f.read_maps(raw())
    maps = ({**top, **extra[0]}, ({**inputs[0], **extra[1]}, inputs[1]), ({**outputs[0], **extra[2]}, outputs[1]))
    written = f.write_maps(*maps)
    pset = Pset.from_bytes(written)
    assert pset.to_bytes() == written
    assert pset.extract_tx() == Pset.from_bytes(raw()).extract_tx()


def rewritten(top: dict[bytes, bytes | None]) -> bytes:
    """The drain PSET with global fields replaced, or removed by ``None``."""
    fields, inputs, outputs = f.read_maps(raw())
    merged = {key: value for key, value in {**fields, **top}.items() if value is not None}
    return f.write_maps(merged, inputs, outputs)


@pytest.mark.parametrize(
    ("top", "why"),
    [
        ({f.G_VERSION: b"\x00\x00\x00\x00"}, "version 2"),
        ({f.G_VERSION: None}, "missing"),
        ({f.G_UNSIGNED_TX: b""}, "version 0"),
        ({f.G_INPUT_COUNT: b"\x03"}, "field"),
        ({f.G_OUTPUT_COUNT: b"\x01"}, "follow"),
        ({f.G_INPUT_COUNT: b"\x02\x00"}, "count"),
        ({f.G_INPUT_COUNT: b"\xfd\x02\x00"}, "count"),
        ({f.G_OUTPUT_COUNT: b"\xfe\xff\xff\xff\x7f"}, "at most"),
        ({f.G_TX_VERSION: b"\x02"}, "4 bytes"),
        ({f.G_XPUB + b"short": b"\x00" * 4}, "wrong length"),
        ({f.G_SCALAR: b""}, "wrong length"),
        ({f.G_GENESIS_HASH: b"\x00" * 31}, "32 bytes"),
    ],
)
def test_bad_global_fields(top: dict[bytes, bytes | None], why: str) -> None:
    with pytest.raises(InvalidPset, match=why):
        Pset.from_bytes(rewritten(top))


@pytest.mark.parametrize(
    ("key", "value", "why"),
    [
        (f.I_PREVIOUS_TXID, None, "missing"),
        (f.I_OUTPUT_INDEX, b"\x00" * 5, "4 bytes"),
        (f.I_PARTIAL_SIG + b"\x02" * 32, b"\x30" * 71, "wrong length"),
        (f.I_PARTIAL_SIG + b"\x02" * 33, b"\x30", "signature"),
        (f.I_BIP32 + b"\x02" * 33, b"\x00" * 5, "origin"),
        (f.I_BIP32 + b"\x02" * 33, b"", "origin"),
        (f.I_FINAL_WITNESS, b"\x02\x00", "witness"),
        (f.I_FINAL_WITNESS, b"\x00\x00", "witness"),
        (f.I_EXPLICIT_VALUE, b"\x00" * 9, "8 bytes"),
        (f.I_ISSUANCE_VALUE_COMMITMENT, b"\x01" * 33, "commitment"),
    ],
)
def test_bad_input_fields(key: bytes, value: bytes | None, why: str) -> None:
    top, inputs, outputs = f.read_maps(raw())
    fields = {k: v for k, v in {**inputs[0], key: value}.items() if v is not None}
    with pytest.raises(InvalidPset, match=why):
        Pset.from_bytes(f.write_maps(top, (fields, *inputs[1:]), outputs))


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({f.O_SCRIPT: None}, "missing"),
        ({f.O_AMOUNT: None, f.O_VALUE_COMMITMENT: None}, "amount"),
        ({f.O_ASSET: None, f.O_ASSET_COMMITMENT: None}, "asset"),
        ({f.O_VALUE_COMMITMENT: None}, "half"),
        ({f.O_ASSET_COMMITMENT: None}, "half"),
        ({f.O_ASSET_COMMITMENT: b"\x08" + b"\x01" * 32}, "generator"),
        ({f.O_BLINDING_KEY: b"\x04" + b"\x01" * 32}, "pubkey"),
    ],
)
def test_bad_output_fields(change: dict[bytes, bytes | None], why: str) -> None:
    top, inputs, outputs = f.read_maps(raw())
    fields = {k: v for k, v in {**outputs[0], **change}.items() if v is not None}
    with pytest.raises(InvalidPset, match=why):
        Pset.from_bytes(f.write_maps(top, inputs, (fields, *outputs[1:])))


def test_a_key_may_not_come_twice() -> None:
    top, inputs, outputs = f.read_maps(raw())
    written = f.write_maps(top, inputs, outputs)
    pair = b"\x01\x0f\x04\x00\x00\x00\x00"
    place = written.index(pair)
    with pytest.raises(InvalidPset, match="twice"):
        Pset.from_bytes(written[:place] + pair + written[place:])


def test_spent_output_must_parse() -> None:
    for value in (b"", b"\x01", b"\x00\x00\x00\x00"):
        with pytest.raises(InvalidPset):
            _ = signed("drain").inputs()[0].with_field(f.I_WITNESS_UTXO, value).spent_output


def test_spent_transaction_is_checked_against_outpoint_and_output() -> None:
    """A PSET cannot lie about an amount by giving another transaction (CVE-2020-14199)."""
    txin = next(i for i in signed("drain").inputs() if str(i.previous_txid()) == SPENDS["funding"][0]["txid"])
    right, wrong = (bytes.fromhex(SPENDS["funding"][i]["raw"]) for i in (0, 1))
    full = txin.with_field(f.I_NON_WITNESS_UTXO, right).spent_output
    assert full is not None
    assert full.range_proof == Transaction.from_bytes(right).vout[0].range_proof
    with pytest.raises(InvalidPset, match="another transaction"):
        _ = txin.with_field(f.I_NON_WITNESS_UTXO, wrong).spent_output
    other = Transaction.from_bytes(right).vout[0]
    lie = replace(other, script=b"\x51").serialize()
    with pytest.raises(InvalidPset, match="two stories"):
        _ = txin.with_field(f.I_NON_WITNESS_UTXO, right).with_field(f.I_WITNESS_UTXO, lie).spent_output


# -- signatures ---------------------------------------------------------------------------------


@each_case
def test_finalize_gives_the_cosigned_transaction(case: dict[str, Any]) -> None:
    tx = fully_signed(case).finalize()
    assert str(tx) == case["cosigned_tx"]
    assert str(tx.txid()) == case["txid"]
    assert tx.fee(SPENDS["utxos"][0]["asset"]) == case["fee"]
    assert tx.discount_vsize() == case["discount_vsize"]
    verify_amounts(tx, fully_signed(case).spent_outputs())


def test_finalized_pset_extracts_and_finalizes_again() -> None:
    case = CASES["lbtc"]
    done = fully_signed(case).finalized()
    assert all(txin.is_finalized for txin in done.inputs())
    assert str(Pset(str(done)).extract_tx()) == case["cosigned_tx"]
    assert done.finalize() == done.extract_tx()
    assert done.finalized() == done


def test_finalize_needs_every_signature() -> None:
    with pytest.raises(InvalidPset, match="lacks the signature"):
        signed("drain").finalize()


def test_finalize_refuses_a_wrong_signature() -> None:
    case = CASES["drain"]
    pset = fully_signed(case)
    one, two = pset.inputs()
    key, _ = server_signature(case, 0)
    _, other = server_signature(case, 1)
    bad = pset.with_inputs({0: one.with_field(f.I_PARTIAL_SIG + key, other)})
    with pytest.raises(InvalidPset, match="not valid"):
        bad.finalize()
    swapped = pset.with_inputs({0: one.with_field(f.I_WITNESS_SCRIPT, two.witness_script or b"")})
    with pytest.raises(InvalidPset, match="witness script"):
        swapped.finalize()
    single = pset.with_inputs({0: one.with_field(f.I_SIGHASH, b"\x03\x00\x00\x00")})
    with pytest.raises(InvalidPset, match="hash type"):
        single.finalize()


@each_case
def test_cosign_request_is_the_recorded_one(case: dict[str, Any]) -> None:
    parts = finalize_for_cosign(signed(case["name"]))
    body = case["delayed_signature"]
    assert str(parts.transaction) == body["tx"]
    assert [script.hex() for script in parts.scripts] == body["scripts"]


def test_cosign_request_of_an_unsigned_pset_has_only_placeholders() -> None:
    parts = finalize_for_cosign(Pset(CASES["drain"]["pset"]))
    for txin in parts.transaction.vin:
        assert txin.witness[1] == txin.witness[2] == pset_module.DUMMY_SIGNATURE
    assert parts.transaction.txid() == Transaction(CASES["drain"]["cosigned_tx"]).txid()


@each_case
def test_user_signatures_verify(case: dict[str, Any]) -> None:
    pset = signed(case["name"])
    cache = SighashCache(pset.unsigned_tx)
    for i, txin in enumerate(pset.inputs()):
        spent = txin.spent_output
        assert spent is not None
        assert txin.witness_script is not None
        digest = cache.segwit_v0(i, txin.witness_script, spent.value_field)
        assert [verify(key, digest, sig[:-1]) for key, sig in txin.signatures.items()] == [True]


# -- combining ----------------------------------------------------------------------------------


def test_combine_joins_signatures() -> None:
    case = CASES["lbtc"]
    ours, everything = Pset(case["pset"]), fully_signed(case)
    server_only = ours.with_inputs(
        {
            i: txin.with_field(f.I_PARTIAL_SIG + key, signature)
            for i, txin in enumerate(ours.inputs())
            for key, signature in [server_signature(case, i)]
        }
    )
    combined = signed("lbtc").combine(server_only)
    assert combined == everything == server_only.combine(signed("lbtc"))
    assert str(combined) == str(everything)
    assert ours.combine(ours) == ours
    peer = pytest.importorskip("lwk")
    theirs = peer.Pset(case["signed_pset"]).combine(peer.Pset(str(server_only)))
    # LWK adds two global fields with their default values when it combines.
    assert Pset(str(theirs)).inputs() == combined.inputs()


def test_combine_refuses_strangers_and_contradictions() -> None:
    with pytest.raises(InvalidPset, match="different transactions"):
        signed("drain").combine(signed("lbtc"))
    pset = signed("drain")
    liar = pset.with_inputs({0: pset.inputs()[0].with_field(f.I_EXPLICIT_VALUE, b"\x01" + b"\x00" * 7)})
    with pytest.raises(InvalidPset, match="contradict"):
        pset.combine(liar)


# -- Amp0Pset -----------------------------------------------------------------------------------


@pytest.fixture
def forgetful(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """An empty memory of openings, and a count of the rewinds that follow."""
    monkeypatch.setattr(pset_module, "_memo", pset_module._Memo(16))
    count: list[int] = []

    def counted(*args: Any) -> Any:
        count.append(1)
        return unblind_with_nonce(*args)

    monkeypatch.setattr(pset_module, "unblind_with_nonce", counted)
    return count


@each_case
def test_recorded_nonces_open_the_outputs(case: dict[str, Any], forgetful: list[int]) -> None:
    amp0 = Amp0Pset(signed(case["name"]), case["blinding_nonces"])
    assert amp0.blinding_nonces() == case["blinding_nonces"]
    assert amp0.pset() == signed(case["name"])
    stated = [(o.asset_bytes, o.amount()) for o in amp0.pset().outputs()]
    assert [(o.asset, o.satoshi) for o in amp0.openings()] == stated
    assert len(forgetful) == sum(1 for nonce in case["blinding_nonces"] if nonce)


def test_reassembling_does_not_rewind_again(forgetful: list[int]) -> None:
    case = CASES["lbtc"]
    first = Amp0Pset(Pset(case["pset"]), case["blinding_nonces"])
    assert len(forgetful) == 2
    again = Amp0Pset(signed("lbtc"), first.blinding_nonces())
    assert len(forgetful) == 2
    assert again == first.with_pset(signed("lbtc"))
    assert again != first


def bad_nonces(name: str, *nonces: str) -> None:
    with pytest.raises(InvalidPset, match="blinding nonce"):
        Amp0Pset(signed(name), list(nonces))


@pytest.mark.usefixtures("forgetful")
def test_E01_nonce_that_does_not_rewind() -> None:
    one, _, fee = CASES["lbtc"]["blinding_nonces"]
    bad_nonces("lbtc", one, "11" * 32, fee)
    bad_nonces("lbtc", "00" * 32, one, fee)


@pytest.mark.usefixtures("forgetful")
def test_E02_nonce_lists_that_do_not_fit() -> None:
    one, two, fee = CASES["lbtc"]["blinding_nonces"]
    bad_nonces("lbtc")
    bad_nonces("lbtc", one, two)
    bad_nonces("lbtc", one, two, fee, "")
    bad_nonces("lbtc", two, one, fee)
    bad_nonces("lbtc", one, one, fee)
    bad_nonces("lbtc", one, "", fee)
    bad_nonces("lbtc", one, two, two)
    bad_nonces("lbtc", one, two[:-2], fee)
    bad_nonces("lbtc", one, two[:-1] + " ", fee)
    bad_nonces("lbtc", one, "zz" * 32, fee)
    bad_nonces("lbtc", one, None, fee)  # type: ignore[arg-type]
    with pytest.raises(InvalidPset, match="one per output"):
        Amp0Pset(signed("lbtc"), one)


@pytest.mark.usefixtures("forgetful")
def test_the_bad_output_is_named() -> None:
    one, two, fee = CASES["lbtc"]["blinding_nonces"]
    with pytest.raises(InvalidPset, match="output 1"):
        Amp0Pset(signed("lbtc"), [one, "11" * 32, fee])
    with pytest.raises(InvalidPset, match="output 2"):
        Amp0Pset(signed("lbtc"), [one, two, one])


def with_output(name: str, index: int, **fields: bytes) -> Pset:
    pset = signed(name)
    outputs = pset.outputs()
    changed = {getattr(f, key): value for key, value in fields.items()}
    outputs[index] = PsetOutput({**outputs[index].fields, **changed})
    return Pset.of(pset.fields, pset.inputs(), outputs)


@pytest.mark.parametrize("remember", [False, True])
def test_E04_stated_amount_and_asset_must_be_those_opened(remember: bool, forgetful: list[int]) -> None:
    nonces = CASES["lbtc"]["blinding_nonces"]
    if remember:
        Amp0Pset(signed("lbtc"), nonces)
    with pytest.raises(InvalidPset, match=r"output 0.*another amount"):
        Amp0Pset(with_output("lbtc", 0, O_AMOUNT=b"\xe9\x03" + bytes(6)), nonces)
    with pytest.raises(InvalidPset, match=r"output 0.*another asset"):
        Amp0Pset(with_output("lbtc", 0, O_ASSET=b"\xaa" * 32), nonces)
    assert forgetful


@pytest.mark.usefixtures("forgetful")
@pytest.mark.parametrize("remember", [False, True])
def test_E03_nonce_belongs_to_script_and_commitments(remember: bool) -> None:
    nonces = CASES["lbtc"]["blinding_nonces"]
    if remember:
        Amp0Pset(signed("lbtc"), nonces)
    other = signed("lbtc").outputs()[1]
    for change in (
        {"O_SCRIPT": other.script},
        {"O_VALUE_COMMITMENT": other.txout.value_field},
        {"O_ASSET_COMMITMENT": other.txout.asset_field},
        {"O_RANGEPROOF": other.txout.range_proof},
    ):
        with pytest.raises(InvalidPset, match="output 0"):
            Amp0Pset(with_output("lbtc", 0, **change), nonces)


def test_the_memory_of_openings_is_bounded() -> None:
    case = CASES["drain"]
    txout = signed("drain").outputs()[0].txout
    opening = Amp0Pset(signed("drain"), case["blinding_nonces"]).openings()[0]
    memo = pset_module._Memo(2)
    keys = [memo.key(txout, bytes([i]) * 32) for i in range(3)]
    for key in keys:
        memo.put(key, opening)
    assert [memo.get(key) is not None for key in keys] == [False, True, True]


def test_no_secret_in_repr() -> None:
    amp0 = Amp0Pset(signed("lbtc"), CASES["lbtc"]["blinding_nonces"])
    assert CASES["lbtc"]["blinding_nonces"][0] not in repr(amp0) + repr(amp0.pset())
