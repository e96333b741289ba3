"""The software signer against LWK's vectors, against LWK itself, and against hostile PSETs."""

from __future__ import annotations

import json
from typing import Any

import pytest

from amp0.elements import pset_fields as f
from amp0.elements.keys import DerivationPath, ExtendedKey, Mnemonic
from amp0.elements.pset import Pset, PsetOutput
from amp0.elements.script import multisig_2of2, p2sh, p2wsh
from amp0.errors import InvalidInput, InvalidPset, SignerError, WrongSigner
from amp0.network import Network
from amp0.protocol.twofactor import dispute_text, verify_dispute
from amp0.wallet.signer import (
    Amp0Signer,
    Amp0SignerData,
    Bip,
    DescriptorBlindingKey,
    Signer,
    Singlesig,
)
from amp0.wallet.tx_builder import TxBuilder
from tests.vectors import load
from tests.wallet.funded import CASES, DESTINATION, NETWORK, SPENDS, fake_wollet, recorded_wollet, signer

NETWORKS = {
    "regtest": Network.regtest_default(),
    "testnet": Network.testnet(),
    "mainnet": Network.mainnet(),
}
RECORDED = [
    pytest.param(NETWORKS[name], entry, id=f"{name}-{entry['fingerprint']}")
    for name, block in load("lwk-0.19.json")["networks"].items()
    for entry in block["signers"]
]
each_signer = pytest.mark.parametrize(("network", "recorded"), RECORDED)
each_case = pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())


# -- keys ---------------------------------------------------------------------------------------


@each_signer
def test_keys_are_lwks(network: Network, recorded: dict[str, Any]) -> None:
    ours = Signer(Mnemonic(recorded["mnemonic"]), network)
    assert isinstance(ours, Amp0Signer)
    assert ours.fingerprint() == recorded["fingerprint"]
    assert ours.slip77_master_blinding_key() == recorded["slip77"]
    assert json.loads(str(ours.amp0_signer_data())) == recorded["amp0_signer_data"]
    assert str(ours.wpkh_slip77_descriptor()) == recorded["wpkh_slip77_descriptor"]
    assert ours.keyorigin_xpub(Bip.new_bip84()) == recorded["keyorigin_bip84"]
    for account, xpub in recorded["account_xpub"].items():
        assert ours.amp0_account_xpub(int(account)) == xpub
    for challenge, signature in recorded["challenges"].items():
        assert ours.amp0_sign_challenge(challenge) == signature


def test_further_keys_are_lwks() -> None:
    lwk = pytest.importorskip("lwk")
    theirs = lwk.Signer(lwk.Mnemonic(SPENDS["mnemonic"]), lwk.Network.regtest_default())
    ours = signer()
    for name in ("new_bip49", "new_bip84", "new_bip86", "new_bip87"):
        assert ours.keyorigin_xpub(getattr(Bip, name)()) == theirs.keyorigin_xpub(getattr(lwk.Bip, name)())
    path = "84h/1h/0h"
    assert ours.keyorigin_xpub_from_path(DerivationPath(path)) == theirs.keyorigin_xpub_from_path(
        lwk.DerivationPath(path)
    )
    assert ours.keyorigin_xpub_from_path(path) == ours.keyorigin_xpub_from_path(DerivationPath(path))
    for index, words in ((0, 12), (1, 24), (7, 12)):
        assert str(ours.derive_bip85_mnemonic(index, words)) == str(theirs.derive_bip85_mnemonic(index, words))
    ours_nested = ours.singlesig_desc(Singlesig.SH_WPKH, DescriptorBlindingKey.SLIP77)
    assert str(ours_nested) == str(theirs.singlesig_desc(lwk.Singlesig.SH_WPKH, lwk.DescriptorBlindingKey.SLIP77))


def test_random_signers_differ() -> None:
    one, two = Signer.random(NETWORK), Signer.random(NETWORK)
    assert one != two
    assert one == Signer(str(one.mnemonic()), NETWORK)
    assert one.mnemonic().word_count() == 12


def test_signer_data_round_trips_and_hides_itself() -> None:
    data = signer().amp0_signer_data()
    assert Amp0SignerData.from_string(str(data)) == data
    assert data.slip77_key.key.hex() not in repr(data) + repr(signer())
    assert SPENDS["mnemonic"] not in repr(signer())
    for text in ("", "{}", "[]", str(data)[:-2], str(data).replace("tpub", "upub"), "[" * 100_000):
        with pytest.raises(InvalidInput):
            Amp0SignerData.from_string(text)


@pytest.mark.parametrize("challenge", ["", "BZVE", "BZVE66", "BZV E", "BZVE-", "BZVé6", "BZVE6\n", "٣٣٣٣٣"])
def test_B11_only_challenges_are_signed(challenge: str) -> None:
    with pytest.raises(InvalidInput, match="Amp0InvalidChallenge"):
        signer().amp0_sign_challenge(challenge)


@pytest.mark.parametrize("outcome", ["keep", "reset"])
def test_a_dispute_is_signed_by_the_login_key_for_this_wallet_alone(outcome: str) -> None:
    own = signer().amp0_signer_data().master_xpub
    signature = bytes.fromhex(signer().amp0_sign_dispute(outcome, "ab" * 32, 1_800_000_000))
    text = dispute_text(outcome, own.public_key, "ab" * 32, 1_800_000_000)
    assert verify_dispute(own, text, signature)
    for other in (
        dispute_text("keep" if outcome == "reset" else "reset", own.public_key, "ab" * 32, 1_800_000_000),
        dispute_text(outcome, own.public_key, "cd" * 32, 1_800_000_000),
        dispute_text(outcome, own.public_key, "ab" * 32, 1_800_000_001),
        dispute_text(outcome, b"\x02" * 33, "ab" * 32, 1_800_000_000),
    ):
        assert not verify_dispute(own, other, signature)


@pytest.mark.parametrize(
    ("outcome", "nonce", "expires"),
    [
        ("win", "ab" * 32, 1), ("", "ab" * 32, 1), ("keep\nwallet: x", "ab" * 32, 1), ("keep", "AB" * 32, 1),
        ("keep", "ab" * 31, 1), ("keep", "ab" * 32 + "\n", 1), ("keep", "greenaddress.it      login BZVE6", 1),
        ("keep", "ab" * 32, -1), ("keep", "ab" * 32, 2**53),
    ],
)  # fmt: skip
def test_B11_only_disputes_are_signed(outcome: str, nonce: str, expires: int) -> None:
    with pytest.raises(InvalidInput):
        signer().amp0_sign_dispute(outcome, nonce, expires)


@pytest.mark.parametrize("account", [-1, 2**31, 2**32])
def test_account_pointer_out_of_range(account: int) -> None:
    with pytest.raises(InvalidInput):
        signer().amp0_account_xpub(account)


# -- signing ------------------------------------------------------------------------------------


@each_case
def test_signatures_are_lwks(case: dict[str, Any]) -> None:
    """RFC 6979 with low R: the same PSET gets the same bytes from both."""
    unsigned = Pset(case["pset"])
    signed = signer().sign(unsigned)
    assert str(signed) == case["signed_pset"]
    assert unsigned == Pset(case["pset"])
    assert signer().sign(signed) == signed


def test_WrongSigner_instead_of_silence() -> None:
    """LWK returns an equal PSET when the signer owns nothing."""
    with pytest.raises(WrongSigner, match="none of the 2 inputs"):
        Signer.random(NETWORK).sign(Pset(CASES["drain"]["pset"]))


def test_same_fingerprint_with_another_key_is_not_ours() -> None:
    pset = Pset(CASES["drain"]["pset"])
    changed = {}
    for i, txin in enumerate(pset.inputs()):
        fields = dict(txin.fields)
        for pubkey, (fingerprint, path) in txin.derivations.items():
            if fingerprint.hex() == signer().fingerprint():
                fields[f.I_BIP32 + pubkey] = f.write_origin(fingerprint, (*path[:-1], path[-1] + 1))
        changed[i] = type(txin)(fields)
    with pytest.raises(WrongSigner):
        signer().sign(pset.with_inputs(changed))


@pytest.mark.parametrize("hash_type", [0, 2, 3, 0x81, 0x82, 0x83, 0x41])
def test_D02_other_hash_types_are_refused(hash_type: int) -> None:
    pset = Pset(CASES["drain"]["pset"])
    asking = pset.inputs()[1].with_field(f.I_SIGHASH, hash_type.to_bytes(4, "little"))
    with pytest.raises(SignerError, match="input 1 asks for hash type"):
        signer().sign(pset.with_inputs({1: asking}))
    plain = pset.inputs()[1].with_field(f.I_SIGHASH, b"\x01\x00\x00\x00")
    assert all(txin.signatures for txin in signer().sign(pset.with_inputs({1: plain})).inputs())


def test_D19_input_scripts_are_recomputed() -> None:
    pset = Pset(CASES["drain"]["pset"])
    one, two = pset.inputs()
    assert one.witness_script is not None
    assert two.witness_script is not None
    for field, value in (
        (f.I_WITNESS_SCRIPT, two.witness_script),
        (f.I_REDEEM_SCRIPT, p2wsh(two.witness_script)),
        (f.I_WITNESS_UTXO, two.fields[f.I_WITNESS_UTXO]),
        (f.I_WITNESS_SCRIPT, one.witness_script + b"\x51"),
    ):
        with pytest.raises(InvalidPset, match="input 0"):
            signer().sign(pset.with_inputs({0: one.with_field(field, value)}))


def test_D19_script_without_our_key_is_not_signed() -> None:
    """An input that names our key, in a script that is made of two others."""
    pset = Pset(CASES["drain"]["pset"])
    one, two = pset.inputs()
    assert two.spent_output is not None
    assert two.witness_script is not None
    fields = dict(one.fields)
    fields[f.I_WITNESS_SCRIPT] = two.witness_script
    fields[f.I_REDEEM_SCRIPT] = p2wsh(two.witness_script)
    fields[f.I_WITNESS_UTXO] = two.fields[f.I_WITNESS_UTXO]
    with pytest.raises(InvalidPset, match="names a key"):
        signer().sign(pset.with_inputs({0: type(one)(fields)}))


def replace_output(pset: Pset, index: int, changes: dict[bytes, bytes]) -> Pset:
    outputs = pset.outputs()
    outputs[index] = PsetOutput({**outputs[index].fields, **changes})
    return Pset.of(pset.fields, pset.inputs(), outputs)


def test_D19_change_must_pay_to_the_keys_it_names() -> None:
    pset = Pset(CASES["drain"]["pset"])
    witness_script = pset.inputs()[0].witness_script
    assert witness_script is not None
    # Somebody else's script behind our key's name.
    with pytest.raises(InvalidPset, match="output 0 claims to be change"):
        signer().sign(replace_output(pset, 0, {f.O_SCRIPT: b"\x00\x14" + b"\x07" * 20}))
    with pytest.raises(InvalidPset, match="output 0 claims to be change"):
        signer().sign(replace_output(pset, 0, {f.O_WITNESS_SCRIPT: witness_script}))


def hostage_change(pset: Pset, stranger: bytes) -> Pset:
    """The change moved to a 2-of-2 of ours and a stranger's key: nobody but the stranger can free it."""
    claim = pset.outputs()[0].fields
    origins = {k[1:]: v for k, v in claim.items() if k[:1] == f.O_BIP32}
    ours = next(k for k, v in origins.items() if v[:4].hex() == signer().fingerprint())
    service = next(k for k in origins if k != ours)
    script = multisig_2of2(stranger, ours)
    outputs = pset.outputs()
    fields = {key: value for key, value in claim.items() if key != f.O_BIP32 + service}
    fields |= {
        f.O_WITNESS_SCRIPT: script,
        f.O_REDEEM_SCRIPT: p2wsh(script),
        f.O_SCRIPT: p2sh(p2wsh(script)),
        f.O_BIP32 + stranger: origins[service],
    }
    outputs[0] = PsetOutput(fields)
    return Pset.of(pset.fields, pset.inputs(), outputs)


def test_D19_change_beside_a_strangers_key_is_refused() -> None:
    pset = Pset(CASES["drain"]["pset"])
    stranger = ExtendedKey.from_seed(b"\x07" * 32, main=False).public()
    service = next(
        (key, value) for key, value in pset.fields.items()
        if key[:1] == f.G_XPUB and value[:4].hex() != signer().fingerprint()
    )  # fmt: skip
    path = next(p for fp, p in pset.outputs()[0].derivations.values() if fp.hex() != signer().fingerprint())
    taken = hostage_change(pset, stranger.child(path[-1]).public_key)
    # The stranger's account key, under the name of the service's.
    listed = {**taken.fields, f.G_XPUB + stranger.to_bytes(): service[1]}
    replaced = {key: value for key, value in listed.items() if key != service[0]}
    stripped = {key: value for key, value in taken.fields.items() if key[:1] != f.G_XPUB}
    for top in (taken.fields, listed, replaced, stripped):
        with pytest.raises(InvalidPset, match="other signer"):
            signer().sign(Pset.of(top, taken.inputs(), taken.outputs()))
    # The stranger's key without any origin.
    outputs = taken.outputs()
    bare = {
        k: v for k, v in outputs[0].fields.items() if v != service[1] and k[1:] != stranger.child(path[-1]).public_key
    }
    outputs[0] = PsetOutput(bare)
    with pytest.raises(InvalidPset, match="other signer"):
        signer().sign(Pset.of(listed, taken.inputs(), outputs))


def test_D19_change_in_an_unknown_script_is_refused() -> None:
    pset = Pset(CASES["drain"]["pset"])
    claim = pset.outputs()[0].fields
    ours = next(k[1:] for k, v in claim.items() if k[:1] == f.O_BIP32 and v[:4].hex() == signer().fingerprint())
    script = b"\x21" + ours + b"\x75\x51"
    odd = replace_output(
        pset,
        0,
        {f.O_WITNESS_SCRIPT: script, f.O_REDEEM_SCRIPT: p2wsh(script), f.O_SCRIPT: p2sh(p2wsh(script))},
    )
    with pytest.raises(InvalidPset, match="output 0"):
        signer().sign(odd)


def test_ordinary_wallets_are_signed_and_finished() -> None:
    for shape in Singlesig:
        descriptor = signer().singlesig_desc(shape, DescriptorBlindingKey.SLIP77)
        wollet = fake_wollet(30_000, 20_000, descriptor=descriptor)
        pset = TxBuilder(NETWORK).add_lbtc_recipient(DESTINATION, 40_000).finish(wollet)
        signed = signer().sign(pset)
        tx = signed.finalize()
        assert all(len(txin.witness) == 2 for txin in tx.vin)
        assert (tx.vin[0].script_sig != b"") == (shape is Singlesig.SH_WPKH)


def test_lwk_signs_ours_and_we_sign_lwks() -> None:
    lwk = pytest.importorskip("lwk")
    theirs = lwk.Signer(lwk.Mnemonic(SPENDS["mnemonic"]), lwk.Network.regtest_default())
    amp0_pset = NETWORK.tx_builder().drain_lbtc_wallet().finish_for_amp0(recorded_wollet())
    by_lwk = Pset(str(theirs.sign(lwk.Pset(str(amp0_pset.pset())))))
    assert by_lwk == signer().sign(amp0_pset.pset())
