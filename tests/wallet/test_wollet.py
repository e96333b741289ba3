"""Wollets fed by hand: balances, kinds, changes, refusals; and LWK's vectors."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from amp0.chain.backend import UNCONFIRMED, BlockHeader, TxStatus, Update
from amp0.elements.confidential import DomainEntry, Opening, PlainOutput, blind
from amp0.elements.descriptor import Chain, WolletDescriptor
from amp0.elements.hashes import BlockHash, Txid
from amp0.elements.transaction import Issuance, OutPoint, Transaction, TxIn, TxOut, explicit_asset_field
from amp0.errors import (
    Amp0AddressError,
    Amp0ScanError,
    InvalidInput,
    NetworkMismatch,
    StaleUpdate,
    WalletError,
)
from amp0.network import TEST_SERVICE_PUBKEY, Network
from amp0.wallet.history import WalletTxOut
from amp0.wallet.wollet import WalletChanges, Wollet, WolletBuilder
from tests.chain.fake_explorer import (
    LBTC,
    NETWORK,
    STRANGER_KEY,
    STRANGER_SCRIPT,
    TOKEN,
    pay,
    send,
    stranger_coin,
)

VECTORS = json.loads((Path(__file__).parents[1] / "vectors" / "lwk-0.19.json").read_text())
SPENDS = VECTORS["spends"]
AMP0 = WolletDescriptor(SPENDS["descriptor"])
WPKH = WolletDescriptor(VECTORS["networks"]["regtest"]["signers"][0]["wpkh_slip77_descriptor"])
POLICY = NETWORK.policy_asset()


def header(height: int) -> BlockHeader:
    return BlockHeader(1, BlockHash(bytes(32)), bytes(32), 1_700_000_000 + height, height, False)


def at(height: int) -> TxStatus:
    return TxStatus(height, header(height).block_hash(), header(height).time())


def update_for(
    wollet: Wollet,
    txs: Mapping[Transaction, TxStatus] | None = None,
    *,
    height: int = 10,
    changed: Mapping[Txid, TxStatus] | None = None,
    removed: Iterable[Txid] = (),
    last_used: int | None = None,
) -> Update:
    request = wollet.scan_request(0)
    statuses = {tx.txid(): status for tx, status in (txs or {}).items()}
    return Update.of(
        base=request.state,
        tip=header(height),
        transactions=list(txs or {}),
        statuses={**statuses, **(changed or {})},
        removed=list(removed),
        last_used=[last_used if last_used is not None else 20] * request.chains,
        to_index=request.to_index,
    )


def coins_of(wollet: Wollet) -> dict[str, int]:
    return {str(utxo.outpoint()): utxo.satoshi for utxo in wollet.utxos()}


# -- LWK's vectors ----------------------------------------------------------------------------


def funded() -> Wollet:
    wollet = Wollet(NETWORK, AMP0)
    for funding in SPENDS["funding"]:
        wollet.apply_transaction(Transaction(funding["raw"]))
    return wollet


def test_vectors_utxos() -> None:
    wollet = funded()
    mine = {str(utxo.outpoint()): utxo for utxo in wollet.utxos()}
    assert mine.keys() == {utxo["outpoint"] for utxo in SPENDS["utxos"]}
    for expected in SPENDS["utxos"]:
        utxo = mine[expected["outpoint"]]
        secrets = utxo.unblinded()
        assert secrets.value() == utxo.satoshi == expected["value"]
        assert secrets.asset() == utxo.asset_id == expected["asset"]
        assert (secrets.asset_bf(), secrets.value_bf()) == (expected["abf"], expected["vbf"])
        assert utxo.wildcard_index() == utxo.index == expected["index"]
        assert utxo.script == AMP0.script_bytes(expected["index"]) == utxo.script_pubkey().to_bytes()
        assert utxo.ext_int() is Chain.EXTERNAL
        assert utxo.height() is None
        assert utxo.address() == AMP0.confidential_address(NETWORK, utxo.index)
        assert utxo.address().script == utxo.script
    assert wollet.balance() == {POLICY: 150_000, SPENDS["asset"]: 7000}
    assert wollet.balance_of(POLICY) == 150_000
    amounts = [utxo.satoshi for utxo in wollet.utxos()]
    assert amounts == sorted(amounts, reverse=True)


KINDS = {"drain": "redeposit", "burn": "burn"}


@pytest.mark.parametrize("case", SPENDS["cases"], ids=lambda case: case["name"])
def test_vectors_spends(case: Mapping[str, object]) -> None:
    wollet = funded()
    tx = Transaction(str(case["cosigned_tx"]))
    changes = wollet.apply_transaction(tx)
    assert changes == WalletChanges(new=(tx.txid(),))
    seen = wollet.transaction(str(case["txid"]))
    assert seen.txid() == tx.txid()
    assert seen.tx() == tx
    assert seen.balance() == case["balances"]
    assert seen.fee() == case["fee"]
    assert seen.type() == KINDS.get(str(case["name"]), "outgoing")
    assert len(seen.inputs()) == len(tx.vin)
    assert None not in seen.inputs()
    assert len(seen.outputs()) == len(tx.vout)
    assert seen.outputs()[-1] is None
    balances: Mapping[str, int] = case["balances"]
    assert wollet.balance() == {
        POLICY: 150_000 + balances.get(POLICY, 0),
        SPENDS["asset"]: 7000 + balances.get(SPENDS["asset"], 0),
    }
    assert wollet.transactions()[0] == seen or len(wollet.transactions()) == 4
    assert wollet.raw_transaction(tx.txid()) == tx


def test_unblinded_url() -> None:
    wollet = funded()
    url = wollet.transaction(SPENDS["funding"][0]["txid"]).unblinded_url("https://explorer/")
    utxo = SPENDS["utxos"][0]
    parts = ",".join([str(utxo["value"]), utxo["asset"], utxo["vbf"], utxo["abf"]])
    assert url == f"https://explorer/tx/{SPENDS['funding'][0]['txid']}#blinded={parts}"


# -- what it refuses --------------------------------------------------------------------------


def test_amp0_wollets_have_no_addresses_of_their_own() -> None:
    wollet = Wollet(NETWORK, AMP0)
    assert wollet.is_amp0()
    for index in (None, 0, 1):
        with pytest.raises(Amp0AddressError, match=r"Amp0\.address\(\)"):
            wollet.address(index)
    with pytest.raises(Amp0AddressError):
        wollet.dwid()
    with pytest.raises(Amp0ScanError):
        wollet.scan_request(None)


def test_ordinary_wollets_do() -> None:
    wollet = Wollet(NETWORK, str(WPKH))
    assert not wollet.is_amp0()
    assert wollet.is_segwit()
    assert wollet.descriptor() == WPKH
    known = VECTORS["networks"]["regtest"]["signers"][0]["wpkh_addresses"]
    assert [str(wollet.address(i).address()) for i in range(len(known))] == known
    assert wollet.address().index() == 0
    for index in (-1, 1 << 31):
        with pytest.raises(InvalidInput):
            wollet.address(index)


def test_weights_are_lwks() -> None:
    assert Wollet(NETWORK, AMP0).max_weight_to_satisfy() == 359
    assert Wollet(NETWORK, WPKH).max_weight_to_satisfy() == 107


def test_another_service_or_network() -> None:
    real = VECTORS["networks"]["regtest"]["signers"][0]["amp0"]["descriptor"]
    with pytest.raises(NetworkMismatch, match="service key"):
        Wollet(NETWORK, real)
    with pytest.raises(NetworkMismatch):
        Wollet(Network.testnet(), AMP0)
    with pytest.raises(NetworkMismatch):
        Wollet(Network.mainnet(), WPKH)
    testnet = VECTORS["networks"]["testnet"]["signers"][0]["amp0"]["descriptor"]
    assert Wollet(Network.testnet(), testnet).is_amp0()
    assert NETWORK.service_pubkey == TEST_SERVICE_PUBKEY


def test_h04_bounded_jump() -> None:
    """H04: a last index that jumps to two billion is an alarm, not an endless scan."""
    wollet = Wollet(NETWORK, AMP0)
    assert wollet.scan_request(5).to_index == 5
    assert wollet.scan_request(3).to_index == 5
    with pytest.raises(WalletError, match="jumped from 5 to 2000000000"):
        wollet.scan_request(2_000_000_000)
    wollet.max_index_jump = 10
    with pytest.raises(WalletError):
        wollet.scan_request(16)
    assert wollet.scan_request(15).to_index == 15
    for bad in (-1, 1 << 31):
        with pytest.raises(InvalidInput):
            wollet.scan_request(bad)


# -- updates ----------------------------------------------------------------------------------


def test_apply_update_none() -> None:
    assert not Wollet(NETWORK, AMP0).apply_update(None)


def test_stale_updates() -> None:
    wollet = Wollet(NETWORK, AMP0)
    update = update_for(wollet)
    wollet.apply_update(update)
    with pytest.raises(StaleUpdate, match="UpdateOnDifferentStatus"):
        wollet.apply_update(update)
    update = update_for(wollet, height=11)
    wollet.apply_transaction(pay(AMP0, (1, 5)))
    with pytest.raises(StaleUpdate, match="scan again"):
        wollet.apply_update(update)
    with pytest.raises(InvalidInput):
        wollet.apply_update(b"bytes")  # type: ignore[arg-type]


def test_h06_tip_going_backwards() -> None:
    """H06: a backend that lags does not take confirmed deposits back silently."""
    wollet = Wollet(NETWORK, AMP0)
    deposit = pay(AMP0, (1, 5))
    wollet.apply_update(update_for(wollet, {deposit: at(10)}, height=10))
    with pytest.raises(StaleUpdate, match="UpdateHeightTooOld"):
        wollet.apply_update(update_for(wollet, height=8, removed=[deposit.txid()]))
    assert wollet.balance() == {POLICY: 5}
    changes = wollet.apply_update(update_for(wollet, height=8, removed=[deposit.txid()]), allow_lower_tip=True)
    assert changes.dropped == (deposit.txid(),)
    wollet.apply_update(update_for(wollet, height=7))
    assert wollet.tip() == header(7)


def test_same_updates_make_the_same_state() -> None:
    one, two = Wollet(NETWORK, AMP0), Wollet(NETWORK, AMP0)
    first = Update(update_for(one, {pay(AMP0, (1, 5)): at(3)}).serialize())
    one.apply_update(first)
    two.apply_update(first)
    second = update_for(one, height=11)
    two.apply_update(second)
    assert two.balance() == {POLICY: 5}


def test_order_of_arrival_does_not_matter() -> None:
    """A spend may be seen before what it spends."""
    deposit = pay(AMP0, (1, 5))
    spend = send(OutPoint(deposit.txid(), 0))
    for order in ([deposit, spend], [spend, deposit]):
        wollet = Wollet(NETWORK, AMP0)
        wollet.apply_update(update_for(wollet, {tx: at(3) for tx in order}))
        assert wollet.balance() == {POLICY: 0}
        assert [tx.type() for tx in wollet.transactions()] == [
            "incoming" if tx.txid() == deposit.txid() else "outgoing" for tx in wollet.transactions()
        ]
        assert len(wollet.txos()) == 1
        assert wollet.txos()[0].spent


def test_order_and_pages_of_transactions() -> None:
    wollet = Wollet(NETWORK, AMP0)
    places = [at(3), UNCONFIRMED, at(9), at(3)]
    txs = {pay(AMP0, (1 + i, 5)): status for i, status in enumerate(places)}
    wollet.apply_update(update_for(wollet, txs))
    listed = wollet.transactions()
    assert [tx.height() for tx in listed] == [None, 9, 3, 3]
    assert bytes(listed[2].txid()) > bytes(listed[3].txid())
    assert wollet.transactions_paginated(1, 2) == listed[1:3]
    assert wollet.transactions_paginated(9, 2) == []
    with pytest.raises(InvalidInput):
        wollet.transactions_paginated(-1, 2)
    with pytest.raises(WalletError, match="tx not found"):
        wollet.transaction("00" * 32)


def test_strangers_transactions_are_hidden() -> None:
    wollet = Wollet(NETWORK, AMP0)
    wollet.apply_update(update_for(wollet, {send(stranger_coin()): at(2)}))
    assert wollet.transactions() == []
    assert len(wollet.scan_request(0).known) == 1


# -- by hand ----------------------------------------------------------------------------------


def test_apply_transaction() -> None:
    wollet = Wollet(NETWORK, AMP0)
    deposit = pay(AMP0, (1, 500))
    assert wollet.apply_transaction(deposit).new == (deposit.txid(),)
    assert not wollet.apply_transaction(deposit)
    assert not wollet.apply_transaction(send(stranger_coin()))
    assert wollet.balance() == {POLICY: 500}
    # A scan sees it in a block; another misses it.
    wollet.apply_update(update_for(wollet, changed={deposit.txid(): at(10)}))
    assert wollet.transactions()[0].timestamp() == header(10).time()
    with pytest.raises(InvalidInput):
        wollet.apply_transaction(str(deposit))  # type: ignore[arg-type]


def test_rivals() -> None:
    wollet = Wollet(NETWORK, AMP0)
    deposit = pay(AMP0, (1, 500))
    coin = OutPoint(deposit.txid(), 0)
    wollet.apply_update(update_for(wollet, {deposit: at(3)}))
    first = pay(AMP0, (2, 300), spend=coin)
    child = send(OutPoint(first.txid(), 0))
    wollet.apply_transaction(first)
    wollet.apply_transaction(child)
    second = pay(AMP0, (3, 400), spend=coin)
    changes = wollet.apply_transaction(second)
    assert changes.new == (second.txid(),)
    assert set(changes.dropped) == {first.txid(), child.txid()}
    assert wollet.balance() == {POLICY: 400}
    wollet.apply_update(update_for(wollet, changed={second.txid(): at(10)}))
    with pytest.raises(WalletError, match="can never confirm"):
        wollet.apply_transaction(first)
    # The confirmed spend is reorganised away: what it spent is there again.
    wollet.apply_update(update_for(wollet, removed=[second.txid()]))
    assert wollet.balance() == {POLICY: 500}


def test_what_we_built_is_not_opened_again(monkeypatch: pytest.MonkeyPatch) -> None:
    script = AMP0.script_bytes(2)
    outputs = [
        PlainOutput(script, LBTC, 800, AMP0.blinding_pubkey(script)),
        PlainOutput(STRANGER_SCRIPT, LBTC, 150, STRANGER_KEY),
        PlainOutput(b"", LBTC, 50),
    ]
    blinded = blind([DomainEntry(explicit_asset_field(LBTC), Opening(LBTC, 1000))], outputs)
    tx = Transaction.of(2, 0, [TxIn(stranger_coin())], [output.txout for output in blinded])
    wrong = replace(blinded[0].opening, satoshi=801)
    checked = Wollet(NETWORK, AMP0)
    checked.apply_transaction(tx, {0: wrong})
    assert checked.balance() == {POLICY: 800}

    def never(*_: object) -> Opening:
        raise AssertionError("opened")

    monkeypatch.setattr("amp0.wallet.scripts.unblind", never)
    wollet = Wollet(NETWORK, AMP0)
    wollet.apply_transaction(tx, {0: blinded[0].opening})
    assert wollet.balance() == {POLICY: 800}


# -- outputs of other kinds -------------------------------------------------------------------


def test_gdk_alternate_blinding_key() -> None:
    """GDK blinds outputs at pointers 1…20 for the key of pointer 1: they open, and others do not."""
    key = AMP0.blinding_pubkey(AMP0.script_bytes(1))
    outputs = [PlainOutput(AMP0.script_bytes(i), LBTC, i, key) for i in (1, 2, 20, 21)]
    total = sum(output.satoshi for output in outputs) + 50
    blinded = blind(
        [DomainEntry(explicit_asset_field(LBTC), Opening(LBTC, total))], [*outputs, PlainOutput(b"", LBTC, 50)]
    )
    tx = Transaction.of(2, 0, [TxIn(stranger_coin())], [output.txout for output in blinded])
    wollet = Wollet(NETWORK, AMP0)
    wollet.apply_update(update_for(wollet, {tx: at(1)}, last_used=21))
    assert wollet.balance() == {POLICY: 23}
    (sealed,) = wollet.unattributed()
    assert (sealed.index, sealed.outpoint) == (21, OutPoint(tx.txid(), 3))
    assert sealed.reason


def test_explicit_and_half_blinded_outputs() -> None:
    """E07: never a crash, never in the balance, and never lost from sight."""
    whole = pay(AMP0, (1, 5)).vout[0]
    half_value = replace(whole, asset_field=explicit_asset_field(LBTC))
    half_asset = TxOut(whole.script, whole.asset_field, TxOut.explicit(b"", LBTC, 9).value_field, b"")
    no_nonce = replace(whole, nonce_field=b"")
    no_proof = replace(whole, range_proof=b"")
    explicit = TxOut.explicit(AMP0.script_bytes(2), TOKEN, 70)
    tx = Transaction.of(
        2,
        0,
        [TxIn(stranger_coin())],
        [half_value, half_asset, no_nonce, no_proof, explicit, TxOut.fee(LBTC, 1)],
    )
    wollet = Wollet(NETWORK, AMP0)
    wollet.apply_update(update_for(wollet, {tx: at(1)}))
    assert wollet.balance() == {POLICY: 0}
    assert [sealed.outpoint.vout() for sealed in wollet.unattributed()] == [0, 1, 2, 3]
    (plain,) = wollet.explicit_utxos()
    assert (plain.asset_id, plain.satoshi, plain.unblinded().is_explicit()) == (TOKEN[::-1].hex(), 70, True)
    assert wollet.transactions() == []
    wollet.apply_update(update_for(wollet, {send(plain.outpoint()): at(2)}))
    assert wollet.explicit_utxos() == []


def test_h07_assets_are_told_apart_by_id() -> None:
    """H07: a deposit of another asset is another line, whatever it calls itself."""
    wollet = Wollet(NETWORK, AMP0)
    wollet.apply_update(update_for(wollet, {pay(AMP0, (1, 5), (2, 5, TOKEN), (3, 10**15, b"\xbb" * 32)): at(1)}))
    assert wollet.balance() == {POLICY: 5, "aa" * 32: 5, "bb" * 32: 10**15}


def _issuing(nonce: bytes) -> Transaction:
    deposit = pay(AMP0, (1, 5))
    txin = replace(deposit.vin[0], issuance=Issuance(nonce, bytes(32), b"\x01" + (5).to_bytes(8, "big")))
    return Transaction.of(2, 0, [txin, *deposit.vin[1:]], deposit.vout)


def test_kinds() -> None:
    wollet = Wollet(NETWORK, AMP0)
    issuance, reissuance = _issuing(bytes(32)), _issuing(b"\x01" * 32)
    deposit = pay(AMP0, (4, 700))
    swap = pay(AMP0, (5, 9, TOKEN), spend=OutPoint(deposit.txid(), 0))
    for tx in (issuance, reissuance, deposit, swap):
        wollet.apply_transaction(tx)
    kinds = {tx.txid(): tx.type() for tx in wollet.transactions()}
    assert kinds == {
        issuance.txid(): "issuance",
        reissuance.txid(): "reissuance",
        deposit.txid(): "incoming",
        swap.txid(): "unknown",
    }
    assert wollet.transaction(swap.txid()).balance() == {TOKEN.hex(): 9, POLICY: -700}


# -- change -----------------------------------------------------------------------------------


def test_amp0_change_goes_where_the_server_signs_and_no_customer_pays() -> None:
    wollet = Wollet(NETWORK, AMP0)
    wollet.scan_request(3)
    assert [wollet.change_index(skip) for skip in range(3)] == [20, 19, 18]
    assert wollet.owns(AMP0.script_bytes(20)) == 20
    assert wollet.owns(AMP0.script_bytes(500)) is None
    deposit = pay(AMP0, (1, 500), (19, 5))
    wollet.apply_transaction(deposit)
    assert wollet.owns(AMP0.script_bytes(20)) == 20
    assert wollet.place_of(AMP0.script_bytes(20)) == (Chain.EXTERNAL, 20)
    assert wollet.place_of(STRANGER_SCRIPT) is None
    assert [wollet.change_index(skip) for skip in range(3)] == [20, 18, 17]
    # All twenty issued: an address that has had change before, not one a customer may still pay to.
    wollet.apply_transaction(pay(AMP0, (18, 400), spend=OutPoint(deposit.txid(), 0)))
    wollet.scan_request(250)
    assert [wollet.change_index(skip) for skip in range(2)] == [18, 18]
    fresh = Wollet(NETWORK, AMP0)
    fresh.scan_request(20)
    assert fresh.change_index() == 1


def test_ordinary_change() -> None:
    wollet = Wollet(NETWORK, WPKH)
    assert wollet.change_index() == 0
    wollet.apply_update(update_for(wollet, {pay(WPKH, (4, 5), chain=Chain.INTERNAL): at(1)}, last_used=4))
    assert wollet.change_index() == 5
    assert wollet.change_index(1) == 6
    assert wollet.utxos()[0].ext_int() is Chain.INTERNAL
    assert wollet.place_of(WPKH.script_bytes(4, Chain.INTERNAL)) == (Chain.INTERNAL, 4)


def test_builder_and_reprs() -> None:
    builder = WolletBuilder(NETWORK, AMP0)
    builder.with_merge_threshold(None)
    wollet = builder.build()
    assert wollet.never_scanned()
    wollet.apply_transaction(pay(AMP0, (1, 123_456_789)))
    shown = f"{wollet!r} {wollet.utxos()!r} {wollet.transactions()!r} {wollet.utxos()[0].opening!r}"
    assert "123456789" not in shown
    assert "slip77" not in shown
    assert isinstance(wollet.utxos()[0], WalletTxOut)
