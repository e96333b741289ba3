"""Defaults that clients break on when they are wrong."""

from __future__ import annotations

from amp0.protocol import procedure, rows, rpc


def test_a_new_wallet_asks_for_segwit_addresses() -> None:
    assert rows.default_appearance()["use_segwit"] is True
    one, other = rows.default_appearance(), rows.default_appearance()
    one["unit"] = "sats"
    assert other["unit"] == "BTC"


def test_subaccount_rows_are_short_unless_asked() -> None:
    row = rows.SubaccountRow(1, "2of2_no_recovery", "GA1", 0)
    assert rpc.to_wire(row) == {"pointer": 1, "type": "2of2_no_recovery", "receiving_id": "GA1", "required_ca": 0}
    named = rows.SubaccountRow(1, "2of2_no_recovery", "GA1", 0, name="", has_txs=False)
    assert rpc.to_wire(named)["name"] == ""


def test_rpc_gives_on_every_shape() -> None:
    for name in rpc.__all__:
        source = procedure if hasattr(procedure, name) else rows
        assert getattr(rpc, name) is getattr(source, name)
