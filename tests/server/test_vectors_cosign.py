"""The spends that LWK 0.19 made are cosigned here as they were cosigned there, byte for byte.

The vectors hold what LWK sent to ``/delayed_signature`` and what came back, with the test service key. Signatures
are deterministic (RFC 6979 with low R), so the whole transaction must be equal.
"""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from amp0.elements.descriptor import WolletDescriptor
from amp0.elements.hashes import Txid
from amp0.elements.keys import ExtendedKey, Mnemonic, Slip77
from amp0.elements.transaction import Transaction, TxOut
from amp0.protocol.credentials import Amp0SignerData
from amp0.server.cosigner import Request
from amp0.server.refusal import CosignRefusal, Refusal
from tests.server.cosigning import MATURE, Account, World

VECTORS = Path(__file__).parent.parent / "vectors" / "lwk-0.19.json"


@cache
def spends() -> dict[str, Any]:
    """The part of the vectors about spending."""
    found: dict[str, Any] = json.loads(VECTORS.read_text())["spends"]
    return found


CASES = [case["name"] for case in spends()["cases"]]


@pytest.fixture
def world() -> World:
    """A service with the vectors' key, wallet, account and three coins."""
    made = World()
    account = register(made)
    for funding, utxo in zip(spends()["funding"], spends()["utxos"], strict=True):
        tx = Transaction.from_bytes(bytes.fromhex(funding["raw"]))
        vout = int(utxo["outpoint"].rpartition(":")[2])
        assert tx.txid() == Txid(funding["txid"])
        assert tx.vout[vout].script == account.script(utxo["index"])
        made.watch(tx, MATURE, {vout: (account, utxo["index"])})
    return made


def register(world: World) -> Account:
    """The vectors' wallet, as ``login.register`` and ``create_subaccount_v2`` would leave it."""
    seed = Mnemonic(spends()["mnemonic"]).seed()
    master = ExtendedKey.from_seed(seed, main=False)
    gait = Amp0SignerData.from_master(master, Slip77.from_seed(seed)).gait_path()
    return world.wallet("vectors", account=spends()["account"], master=master, gait=gait)


def request_of(case: dict[str, Any]) -> Request:
    """The body of one case as ``POST /delayed_signature`` hands it on."""
    body = case["delayed_signature"]
    return Request(
        bytes.fromhex(body["tx"]),
        [bytes.fromhex(nonce) for nonce in body["blinding_nonces"]],
        [bytes.fromhex(script) for script in body["scripts"]],
    )


def funded(funding: dict[str, Any]) -> list[tuple[int, TxOut]]:
    return list(enumerate(Transaction.from_bytes(bytes.fromhex(funding["raw"])).vout))


def case_of(name: str) -> dict[str, Any]:
    return next(case for case in spends()["cases"] if case["name"] == name)


def test_the_account_has_the_addresses_of_the_vectors(world: World) -> None:
    descriptor = WolletDescriptor(spends()["descriptor"])
    account = register(World())
    for index in (1, 2, 3, 20):
        assert descriptor.witness_script(index) == account.witness_script(index)


@pytest.mark.parametrize("name", CASES)
def test_a_spend_of_lwk_is_cosigned_byte_for_byte(world: World, name: str) -> None:
    case = case_of(name)
    answer = world.cosigner.cosign(request_of(case))
    assert answer.tx.to_bytes().hex() == case["cosigned_tx"]
    assert str(answer.tx.txid()) == case["txid"]
    assert not answer.again


@pytest.mark.parametrize("name", CASES)
def test_asking_again_for_a_spend_of_lwk_gives_the_same_bytes(world: World, name: str) -> None:
    case = case_of(name)
    world.cosigner.cosign(request_of(case))
    answer = world.cosigner.cosign(request_of(case))
    assert answer.again
    assert answer.tx.to_bytes().hex() == case["cosigned_tx"]


@pytest.mark.parametrize("name", CASES)
def test_a_spend_of_lwk_with_one_altered_nonce_is_refused(world: World, name: str) -> None:
    request = request_of(case_of(name))
    nonces = [nonce and bytes((nonce[0] ^ 1,)) + nonce[1:] for nonce in request.nonces or ()]
    with pytest.raises(CosignRefusal):
        world.cosigner.cosign(Request(request.tx, nonces, request.scripts))


def test_the_vectors_spend_the_same_coins_so_only_the_first_is_cosigned(world: World) -> None:
    first, second = (case_of(name) for name in CASES[:2])
    world.cosigner.cosign(request_of(first))
    with pytest.raises(Refusal, match=first["txid"]):
        world.cosigner.cosign(request_of(second))
