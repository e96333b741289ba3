"""Burns: their request file, and what proves one; I03."""

from __future__ import annotations

from typing import Any

import msgspec

from amp0.server.issuer import assets
from amp0.server.ledger import views
from tests.server.issuer.treasury_desk import CHANGE, TreasuryDesk
from tests.server.issuer.treasury_txs import LBTC, Sent, coin, send, to

BURN = b"\x6a"


def make(desk: TreasuryDesk, satoshi: int = 400) -> Sent:
    return desk.spend([to(BURN, desk.asset_id, satoshi, explicit=True)])


def payload(sent: Sent, *change: int) -> dict[str, Any]:
    made = msgspec.to_builtins({"tx_data": {"txid": sent.txid}, "change_data": sent.change(*change)})
    assert isinstance(made, dict)
    return made


def deep(desk: TreasuryDesk, sent: Sent) -> Sent:
    desk.mine(sent.tx)
    desk.mine()
    return sent


def numbers(desk: TreasuryDesk) -> tuple[int, int, int]:
    """Burned, the treasury's units, and what is unaccounted for."""
    with desk.office.store.snapshot() as db:
        row = assets.load(db, desk.asset.id)
        return views.burned(db, row), views.treasury(db, row), views.unaccounted(db, row)


def test_the_request_file(desk: TreasuryDesk) -> None:
    file = desk.api.ok("post", f"{desk.path}/burn-request", {"amount": 1_000})
    assert file == {
        "command": "burn",
        "min_supported_client_script_version": 2,
        "base_url": "http://localhost/api/{}",
        "asset_uuid": desk.asset.uuid,
        "asset_id": desk.asset_id[::-1].hex(),
        "amount": 0.00001,
        "utxos": [{"txid": desk.issuance.txid, "vout": 0}],
    }
    error = desk.api.refused("post", f"{desk.path}/burn-request", {"amount": 1_000_001})["Error"]
    assert "not enough in the treasury balance" in error
    for amount in (0, -1, 1.5, "5", None):
        desk.api.refused("post", f"{desk.path}/burn-request", {"amount": amount})


def test_a_burn(desk: TreasuryDesk) -> None:
    """Its confirm answers nothing at all, with 200."""
    sent = deep(desk, make(desk))
    answer = desk.api.post(f"{desk.path}/burn-confirm", payload(sent, 1))
    assert (answer.status_code, answer.content) == (200, b"")
    assert numbers(desk) == (400, 999_600, 0)
    (shown,) = desk.api.ok("get", f"{desk.path}/burns")
    assert (shown["txid"], shown["amount"]) == (sent.txid, 400)
    file = desk.api.ok("post", f"{desk.path}/burn-request", {"amount": 999_600})
    assert file["utxos"] == [{"txid": sent.txid, "vout": 1}]
    outputs = [to(BURN, desk.asset_id, 999_600, explicit=True), to(CHANGE, LBTC, 5)]
    rest = deep(desk, send([desk.held(sent, 1), coin(LBTC, 5)], outputs))
    desk.api.ok("post", f"{desk.path}/burn-confirm", payload(rest))
    assert numbers(desk) == (1_000_000, 0, 0)


def test_twice_is_once(desk: TreasuryDesk) -> None:
    sent = deep(desk, make(desk))
    for _ in range(2):
        desk.api.ok("post", f"{desk.path}/burn-confirm", payload(sent, 1))
    assert numbers(desk) == (400, 999_600, 0)
    assert [event["action"] for event in desk.api.ok("get", "/events")].count("burn_confirmed") == 1
    assert len(desk.api.ok("get", f"{desk.path}/burns")) == 1


def refused(desk: TreasuryDesk, body: dict[str, Any]) -> str:
    before = numbers(desk), desk.api.ok("get", "/events"), desk.api.ok("get", f"{desk.path}/burns")
    error = desk.api.refused("post", f"{desk.path}/burn-confirm", body)
    assert (numbers(desk), desk.api.ok("get", "/events"), desk.api.ok("get", f"{desk.path}/burns")) == before
    return str(error)


def test_i03_what_is_no_burn(desk: TreasuryDesk) -> None:
    sent = deep(desk, make(desk))
    good = payload(sent, 1)
    wrong = [{**good["change_data"][0], "amountblinder": "22" * 32}]
    assert "does not open" in refused(desk, good | {"change_data": wrong})
    assert "another transaction" in refused(desk, good | {"change_data": [{**wrong[0], "txid": "11" * 32}]})
    assert "does not burn" in refused(desk, payload(desk.issuance))
    assert "in no block" in refused(desk, {"tx_data": {"txid": "ff" * 32}})
    rival = desk.office.issuer("rival")
    other = TreasuryDesk(desk.office, rival)
    rival.refused("post", f"{desk.path}/burn-confirm", good, status=404)
    assert "does not burn" in rival.refused("post", f"{other.path}/burn-confirm", payload(sent))["Error"]


def test_i03_a_burn_by_a_holder_is_none_of_the_treasury(desk: TreasuryDesk) -> None:
    desk.assign(desk.holder("bob")[0], 700)
    file = desk.distribution()
    paid = deep(desk, desk.pay(file))
    desk.api.ok("post", desk.confirm_path(file), desk.confirm(paid, payments=1))
    theirs = deep(
        desk, send([desk.held(paid, 0)], [to(BURN, desk.asset_id, 600, explicit=True), to(CHANGE, desk.asset_id, 100)])
    )
    assert "spends what a holder has" in refused(desk, payload(theirs))


def test_i03_a_burn_that_is_a_distribution_already(desk: TreasuryDesk) -> None:
    """One transaction cannot be both: the distribution says that something else is in it."""
    desk.assign(desk.holder("bob")[0], 700)
    file = desk.distribution()
    both = deep(desk, desk.pay(file, extra=[to(BURN, desk.asset_id, 50, explicit=True)]))
    body = desk.confirm(both, payments=1, change=False)
    assert "not part of this distribution" in desk.api.refused("post", desk.confirm_path(file), body)["Error"]
    desk.api.ok("post", f"{desk.path}/burn-confirm", payload(both))
    assert "not part of this distribution" in desk.api.refused("post", desk.confirm_path(file), body)["Error"]
