"""Reissues: their request file, and what proves one; I03."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from amp0.server.issuer import assets
from amp0.server.ledger import views
from tests.server.issuer.office import Api, Office
from tests.server.issuer.treasury_desk import TOKEN_SCRIPT, TreasuryDesk, script
from tests.server.issuer.treasury_txs import Coin, Sent, reissue, to


@pytest.fixture(params=[False, True], ids=["open", "hidden"])
def desk(office: Office, acme: Api, request: pytest.FixtureRequest) -> TreasuryDesk:
    return TreasuryDesk(office, acme, hidden=request.param)


def make(desk: TreasuryDesk, satoshi: int = 5_000, token: Coin | None = None, split: bool = False) -> Sent:
    """A reissue by the treasury's wallet: new units, then the token."""
    hidden = desk.issuance.tx.vin[0].issuance is not None and len(desk.issuance.tx.vin[0].issuance.amount_field) == 33
    tokens = [to(script(9), desk.token_id, 5)]
    if split:
        tokens = [to(script(9), desk.token_id, 2), to(script(10), desk.token_id, 3)]
    outputs = [to(script(8), desk.asset_id, satoshi), *tokens]
    return reissue(token or desk.token, desk.entropy, satoshi, outputs, hidden=hidden)


def payload(sent: Sent, own: int = 2) -> dict[str, Any]:
    body = {
        "details": sent.details((), range(own)),
        "reissuance_output": {"txid": sent.txid, "vin": 0},
        "listissuances": sent.listissuances(),
    }
    made = msgspec.to_builtins(body)
    assert isinstance(made, dict)
    return made


def deep(desk: TreasuryDesk, sent: Sent) -> Sent:
    desk.mine(sent.tx)
    desk.mine()
    return sent


def numbers(desk: TreasuryDesk) -> tuple[int, int, int, int]:
    """Reissued, the treasury's units and its tokens, and what is unaccounted for."""
    with desk.office.store.snapshot() as db:
        row = assets.load(db, desk.asset.id)
        tokens = sum(coin.satoshi or 0 for coin in views.treasury_outputs(db, row, is_token=True))
        lost = views.unaccounted(db, row) + views.unaccounted(db, row, is_token=True)
        return views.reissued(db, row), views.treasury(db, row), tokens, lost


def test_the_request_file(desk: TreasuryDesk) -> None:
    file = desk.api.ok("post", f"{desk.path}/reissue-request", {"amount_to_reissue": 1_000_000_000})
    assert file == {
        "command": "reissue",
        "min_supported_client_script_version": 2,
        "base_url": "http://localhost/api/{}",
        "asset_uuid": desk.asset.uuid,
        "asset_id": desk.asset_id[::-1].hex(),
        "amount": 10.0,
        "reissuance_utxos": [{"txid": desk.issuance.txid, "vout": 1}],
    }
    for amount in (0, -1, 1.5, "5", 2_100_000_000_000_001, None):
        desk.api.refused("post", f"{desk.path}/reissue-request", {"amount_to_reissue": amount})
    most = 2_100_000_000_000_000
    error = desk.api.refused("post", f"{desk.path}/reissue-request", {"amount_to_reissue": most})["Error"]
    assert f"At most {most - 1_000_000} satoshi" in error


def test_what_cannot_be_reissued(office: Office, acme: Api) -> None:
    plain = office.asset(acme, token_id=None, tokens=0, token_vout=None)
    body = {"amount_to_reissue": 5}
    assert "not reissuable" in acme.refused("post", f"/assets/{plain.uuid}/reissue-request", body)["Error"]
    unseen = office.asset(acme)
    assert (
        "No output with the reissuance token"
        in acme.refused("post", f"/assets/{unseen.uuid}/reissue-request", body)["Error"]
    )


def test_a_reissue_and_the_next_one(desk: TreasuryDesk) -> None:
    sent = deep(desk, make(desk))
    answer = desk.api.ok("post", f"{desk.path}/reissue-confirm", payload(sent))
    assert answer == {"txid": sent.txid, "vin": 0, "reissuance_amount": 5_000}
    assert numbers(desk) == (5_000, 1_005_000, 5, 0)
    (shown,) = desk.api.ok("get", f"{desk.path}/reissuances")
    assert (shown["txid"], shown["vout"], shown["reissuance_amount"]) == (sent.txid, 0, 5_000)
    assert len(shown["confirmed_in_block"]) == 64
    assert shown["destination_address"]
    file = desk.api.ok("post", f"{desk.path}/reissue-request", {"amount_to_reissue": 7})
    assert file["reissuance_utxos"] == [{"txid": sent.txid, "vout": 1}]
    again = deep(desk, make(desk, 7, desk.held(sent, 1)))
    desk.api.ok("post", f"{desk.path}/reissue-confirm", payload(again))
    assert numbers(desk) == (5_007, 1_005_007, 5, 0)


def test_twice_is_once(desk: TreasuryDesk) -> None:
    sent = deep(desk, make(desk))
    first = desk.api.ok("post", f"{desk.path}/reissue-confirm", payload(sent))
    events = desk.api.ok("get", "/events")
    assert desk.api.ok("post", f"{desk.path}/reissue-confirm", payload(sent)) == first
    assert desk.api.ok("get", "/events") == events
    assert numbers(desk) == (5_000, 1_005_000, 5, 0)


def test_a_token_that_is_split(desk: TreasuryDesk) -> None:
    sent = deep(desk, make(desk, split=True))
    desk.api.ok("post", f"{desk.path}/reissue-confirm", payload(sent, 3))
    assert numbers(desk) == (5_000, 1_005_000, 5, 0)
    file = desk.api.ok("post", f"{desk.path}/reissue-request", {"amount_to_reissue": 7})
    assert [one["vout"] for one in file["reissuance_utxos"]] == [1, 2]


def refused(desk: TreasuryDesk, body: dict[str, Any]) -> str:
    before = numbers(desk), desk.api.ok("get", "/events"), desk.api.ok("get", f"{desk.path}/reissuances")
    error = desk.api.refused("post", f"{desk.path}/reissue-confirm", body)
    assert (numbers(desk), desk.api.ok("get", "/events"), desk.api.ok("get", f"{desk.path}/reissuances")) == before
    return str(error)


def test_i03_what_is_no_reissue_of_this_asset(desk: TreasuryDesk) -> None:
    sent = deep(desk, make(desk))
    good = payload(sent)
    for changes, text in (
        ({"reissuance_output": {"txid": sent.txid, "vin": 1}}, "does not reissue"),
        ({"reissuance_output": {"txid": sent.txid, "vin": 99}}, "does not reissue"),
        ({"reissuance_output": {"txid": desk.issuance.txid, "vin": 0}}, "does not reissue"),
        ({"reissuance_output": {"txid": "ff" * 32, "vin": 0}}, "in no block"),
        ({"details": []}, "opens outputs with 0"),
        ({"details": [one for one in good["details"] if one["vout"] == 0]}, "reissuance token"),
        ({"details": [{**good["details"][0], "amountblinder": "22" * 32}]}, "does not open"),
    ):
        assert text in refused(desk, good | changes), text
    rival = desk.office.issuer("rival")
    other = TreasuryDesk(desk.office, rival)
    rival.refused("post", f"{desk.path}/reissue-confirm", good, status=404)
    assert "does not reissue" in rival.refused("post", f"{other.path}/reissue-confirm", good)["Error"]


def test_i03_amounts_that_are_not_those_of_the_chain(desk: TreasuryDesk) -> None:
    """In the open they are not looked at; hidden, they do not open the commitment."""
    sent = deep(desk, make(desk))
    body = payload(sent)
    body["listissuances"][0]["assetamount"] = 21.0
    if len(sent.tx.vin[0].issuance.amount_field) == 33:  # type: ignore[union-attr]
        assert "does not open the amount" in refused(desk, body)
        assert "amount is hidden" in refused(desk, body | {"listissuances": []})
    else:
        answer = desk.api.ok("post", f"{desk.path}/reissue-confirm", body)
        assert answer["reissuance_amount"] == 5_000


def test_i03_units_that_go_to_a_holder(desk: TreasuryDesk) -> None:
    _, eve = desk.holder("eve")
    outputs = [to(eve.addresses[0].script, desk.asset_id, 5_000), to(TOKEN_SCRIPT, desk.token_id, 5)]
    hidden = len(desk.issuance.tx.vin[0].issuance.amount_field) == 33  # type: ignore[union-attr]
    sent = deep(desk, reissue(desk.token, desk.entropy, 5_000, outputs, hidden=hidden))
    assert "pays a holder" in refused(desk, payload(sent))


def test_i03_units_that_go_to_a_stranger_are_no_treasurys(desk: TreasuryDesk) -> None:
    """They exist, so that the reissue counts; nobody may call them the treasury's, hidden or in the open."""
    hidden = len(desk.issuance.tx.vin[0].issuance.amount_field) == 33  # type: ignore[union-attr]
    outputs = [
        to(script(8), desk.asset_id, 3_000),
        to(script(9), desk.token_id, 5),
        to(script(20), desk.asset_id, 1_500),
        to(script(21), desk.asset_id, 500, explicit=True),
    ]
    sent = deep(desk, reissue(desk.token, desk.entropy, 5_000, outputs, hidden=hidden))
    body = payload(sent) | {"details": msgspec.to_builtins(sent.details([2], [0, 1]))}
    assert desk.api.ok("post", f"{desk.path}/reissue-confirm", body)["reissuance_amount"] == 5_000
    assert numbers(desk) == (5_000, 1_003_000, 5, 0)
    desk.office.clock.now += 600
    lost = desk.api.ok("get", f"{desk.path}/lost-outputs")["lost_outputs"]
    assert sorted(one["vout"] for one in lost) == [2, 3]


def test_i03_too_early(desk: TreasuryDesk) -> None:
    sent = make(desk)
    assert "in no block" in refused(desk, payload(sent))
    desk.mine(sent.tx)
    assert "1 of 2 confirmations" in str(desk.api.refused("post", f"{desk.path}/reissue-confirm", payload(sent)))
    desk.mine()
    desk.api.ok("post", f"{desk.path}/reissue-confirm", payload(sent))
