"""Blinders that arrive by hand: what they may open, and how the amount is found that they do not tell."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import sqlalchemy as sa

from amp0.elements import wally
from amp0.elements.confidential import Opening
from amp0.elements.transaction import Transaction, explicit_value_field
from amp0.server.issuer import assets
from amp0.server.ledger import views
from amp0.server.store import asset_schema
from tests.server.issuer.treasury_desk import STRANGER, TreasuryDesk
from tests.server.issuer.treasury_txs import Sent, to


def blinders(sent: Sent, vout: int) -> dict[str, Any]:
    opening = sent.openings[vout]
    return {
        "txid": sent.txid,
        "vout": vout,
        "asset_blinder": opening.abf[::-1].hex(),
        "amount_blinder": opening.vbf[::-1].hex(),
    }


def unaccounted(desk: TreasuryDesk) -> int:
    with desk.office.store.snapshot() as db:
        return views.unaccounted(db, assets.load(db, desk.asset.id))


def update(desk: TreasuryDesk, body: dict[str, Any]) -> None:
    """It answers nothing at all, with 200."""
    answer = desk.api.post(f"{desk.path}/update-blinders", body)
    assert (answer.status_code, answer.content) == (200, b""), answer.text


def test_change_that_was_never_told(desk: TreasuryDesk) -> None:
    """Its amount is what the transaction's other outputs leave."""
    desk.assign(desk.holder("bob")[0], 600)
    file = desk.distribution()
    sent = desk.pay(file)
    desk.mine(sent.tx)
    desk.mine()
    desk.api.ok("post", desk.confirm_path(file), desk.confirm(sent, payments=1, change=False))
    assert unaccounted(desk) == 999_400
    update(desk, blinders(sent, 1))
    assert unaccounted(desk) == 0
    update(desk, blinders(sent, 1))
    with desk.office.store.snapshot() as db:
        assert views.treasury(db, assets.load(db, desk.asset.id)) == 999_400


def test_the_issuance_whose_openings_were_lost(desk: TreasuryDesk) -> None:
    """As the official script repairs it: the first transaction, output by output."""
    outs = asset_schema.asset_outputs
    with desk.office.transaction() as db:
        db.execute(sa.update(outs).values(satoshi=None, abf=None, vbf=None))
    first = desk.api.ok("get", f"{desk.path}/txs")[0]
    assert (first["txid"], first["is_issuance"]) == (desk.issuance.txid, True)
    assert {(out["vout"], out["asset_blinder"]) for out in first["outputs"]} == {(0, "00" * 32), (1, "00" * 32)}
    for vout in (0, 1):
        update(desk, blinders(desk.issuance, vout))
    with desk.office.store.snapshot() as db:
        row = assets.load(db, desk.asset.id)
        assert views.treasury(db, row) == 1_000_000
        assert [coin.satoshi for coin in views.treasury_outputs(db, row, is_token=True)] == [5]


def test_an_amount_that_cannot_be_concluded_may_be_told(desk: TreasuryDesk) -> None:
    """The treasury paid somebody outside of any protocol: two outputs are unknown."""
    sent = desk.spend([to(STRANGER, desk.asset_id, 700)])
    desk.mine(sent.tx)
    body = blinders(sent, 0)
    error = desk.api.refused("post", f"{desk.path}/update-blinders", body)["Error"]
    assert "say its amount as well" in error
    assert "do not open" in desk.api.refused("post", f"{desk.path}/update-blinders", body | {"amount": 701})["Error"]
    for amount in (0, -1, 0.5, "700", 2_100_000_000_000_001):
        desk.api.refused("post", f"{desk.path}/update-blinders", body | {"amount": amount})
    assert unaccounted(desk) == 1_000_000
    update(desk, body | {"amount": 700})
    assert unaccounted(desk) == 999_300
    update(desk, blinders(sent, 1))
    assert unaccounted(desk) == 0


def test_outputs_that_hide_one_field_only(desk: TreasuryDesk) -> None:
    """The factor of the other one is zero. They were taken for outputs that nobody could ever open, and stayed lost."""
    sent = desk.spend([to(STRANGER, desk.asset_id, 700)])
    amount, asset = sent.openings[:2]
    openings = [Opening(amount.asset, amount.satoshi, vbf=amount.vbf), Opening(asset.asset, asset.satoshi, asset.abf)]
    commitment = wally.value_commitment(700, amount.vbf, wally.asset_generator(amount.asset, None))
    vout = [
        replace(sent.tx.vout[0], asset_field=openings[0].generator(), value_field=commitment),
        replace(sent.tx.vout[1], value_field=explicit_value_field(asset.satoshi)),
        *sent.tx.vout[2:],
    ]
    half = Sent(Transaction.of(2, 0, sent.tx.vin, vout), [*openings, *sent.openings[2:]])
    desk.mine(half.tx)
    assert unaccounted(desk) == 1_000_000
    for vout_number in (0, 1):
        body = blinders(half, vout_number) | {"amount": openings[vout_number].satoshi}
        for changes in ({"asset_blinder": "11" * 32}, {"amount_blinder": "11" * 32}):
            assert "do not open" in desk.api.refused("post", f"{desk.path}/update-blinders", body | changes)["Error"]
    update(desk, blinders(half, 1))
    assert unaccounted(desk) == 700
    update(desk, blinders(half, 0))
    assert unaccounted(desk) == 0


def test_i03_blinders_that_open_nothing(desk: TreasuryDesk) -> None:
    sent = desk.spend([to(STRANGER, desk.asset_id, 700)])
    desk.mine(sent.tx)
    good = blinders(sent, 1)
    for changes in (
        {"asset_blinder": "11" * 32},
        {"amount_blinder": "11" * 32},
        {"asset_blinder": "00" * 32, "amount_blinder": "00" * 32},
        {"asset_blinder": "ff" * 32},
        {"vout": 0},
        {"vout": 9},
        {"vout": 2**32 - 1},
        {"txid": "ff" * 32},
    ):
        assert "Error" in desk.api.refused("post", f"{desk.path}/update-blinders", good | changes), changes
    for wrong in ({"vout": -1}, {"asset_blinder": "zz" * 32}, {"txid": None}, {"satoshi": 5}):
        desk.api.refused("post", f"{desk.path}/update-blinders", good | wrong)
    rival = desk.office.issuer("rival")
    rival.refused("post", f"{desk.path}/update-blinders", good, status=404)
    own = desk.office.asset(rival)
    assert "do not open" in rival.refused("post", f"/assets/{own.uuid}/update-blinders", good)["Error"]
    assert unaccounted(desk) == 1_000_000


def test_a_holders_output_stays_the_holders(desk: TreasuryDesk) -> None:
    """Its script is no treasury's, whoever tells its blinders."""
    _, bob = desk.holder("bob")
    sent = desk.spend([to(bob.addresses[0].script, desk.asset_id, 700)])
    desk.mine(sent.tx)
    update(desk, blinders(sent, 0) | {"amount": 700})
    table = asset_schema.treasury_addresses
    with desk.office.store.snapshot() as db:
        treasury, mine = views.ownerships(db, assets.load(db, desk.asset.id))
        scripts = set(db.execute(sa.select(table.c.script_pubkey)).scalars())
    assert (treasury.satoshi, mine.gaid, mine.satoshi) == (0, bob.gaid, 700)
    assert bob.addresses[0].script not in scripts
