"""Monitoring over HTTP: shapes, units, orders, who sees it, and the blacklist."""

from __future__ import annotations

from typing import Any

import pytest

from amp0.network import Network
from amp0.server.issuer import monitoring
from tests.server.issuer.office import Api, Office, confidential
from tests.server.issuer.treasury_desk import STRANGER, TreasuryDesk
from tests.server.issuer.treasury_txs import Sent, to

ZEROS = "00" * 32


def paid(desk: TreasuryDesk, *, told: bool = True) -> tuple[Sent, Any]:
    """The treasury pays a holder 600, in a distribution."""
    user, account = desk.holder("Bob")
    desk.assign(user, 600)
    file = desk.distribution()
    sent = desk.pay(file)
    desk.mine(sent.tx)
    desk.mine()
    if told:
        desk.api.ok("post", desk.confirm_path(file), desk.confirm(sent, payments=1))
    return sent, account


def get(desk: TreasuryDesk, what: str, **query: Any) -> Any:
    return desk.api.ok("get", f"{desk.path}/{what}", params=query or None)


def test_ownerships_begin_with_the_treasury(desk: TreasuryDesk) -> None:
    assert get(desk, "ownerships") == [{"owner": None, "amount": 1_000_000, "GAID": None}]
    _, bob = paid(desk)
    assert get(desk, "ownerships") == [
        {"owner": None, "amount": 999_400, "GAID": None},
        {"owner": "1", "amount": 600, "GAID": bob.gaid},
    ]
    assert get(desk, "balance") == {
        "confirmed_balance": get(desk, "ownerships"),
        "lost_outputs": [],
        "reissuance_lost_outputs": [],
    }


def test_ownerships_at_heights(desk: TreasuryDesk) -> None:
    paid(desk)
    assert get(desk, "ownerships/1")[0]["amount"] == 0
    assert get(desk, "ownerships/2")[0]["amount"] == 1_000_000
    assert get(desk, f"ownerships/{desk.height}") == get(desk, "ownerships")
    assert "height" in desk.api.refused("get", f"{desk.path}/ownerships/{desk.height + 1}")
    for wrong in ("-1", "x", "1.0", "12345678901", "%201"):
        desk.api.refused("get", f"{desk.path}/ownerships/{wrong}", status=404)


def test_a_reorganisation_takes_holdings_back_and_gives_them_again(desk: TreasuryDesk) -> None:
    sent, _ = paid(desk)
    before = get(desk, "ownerships"), get(desk, "txs"), get(desk, "summary")
    desk.unmine()
    desk.unmine()
    assert get(desk, "ownerships") == [{"owner": None, "amount": 1_000_000, "GAID": None}]
    desk.api.refused("get", f"{desk.path}/txs/{sent.txid}", status=404)
    desk.mine(sent.tx)
    desk.mine()
    assert get(desk, "ownerships") == before[0]
    assert get(desk, "summary") == before[2]


def test_lost_outputs_wait_for_an_open_distribution_and_clear_with_blinders(desk: TreasuryDesk) -> None:
    _, account = desk.holder("Bob")
    sent = desk.spend([to(account.addresses[0].script, desk.asset_id, 600)])
    desk.mine(sent.tx)
    desk.mine()
    assert get(desk, "lost-outputs")["lost_outputs"] == [], "not old enough"
    desk.office.clock.now += 600
    lost = [{"txid": sent.txid, "vout": 0}, {"txid": sent.txid, "vout": 1}]
    assert get(desk, "lost-outputs") == {"lost_outputs": lost, "reissuance_lost_outputs": []}
    assert get(desk, "balance")["lost_outputs"] == lost
    for vout in (0, 1):
        opening = sent.openings[vout]
        body = {"txid": sent.txid, "vout": vout, "amount": opening.satoshi}
        body |= {"asset_blinder": opening.abf[::-1].hex(), "amount_blinder": opening.vbf[::-1].hex()}
        desk.api.ok("post", f"{desk.path}/update-blinders", body)
    assert get(desk, "balance")["lost_outputs"] == []
    assert {row["GAID"]: row["amount"] for row in get(desk, "ownerships")} == {None: 999_400, account.gaid: 600}


def test_an_open_distribution_loses_nothing(desk: TreasuryDesk) -> None:
    paid(desk, told=False)
    desk.office.clock.now += 100_000
    assert get(desk, "balance")["lost_outputs"] == []


def test_what_went_to_a_stranger_is_lost_until_the_address_is_the_treasurys(desk: TreasuryDesk) -> None:
    sent = desk.spend([to(STRANGER, desk.asset_id, 5, explicit=True)])
    desk.mine(sent.tx)
    desk.mine()
    desk.office.clock.now += 600
    assert {"txid": sent.txid, "vout": 0} in get(desk, "balance")["lost_outputs"]
    desk.api.ok("post", f"{desk.path}/treasury-addresses/add", [str(confidential(STRANGER))])
    assert {"txid": sent.txid, "vout": 0} not in get(desk, "balance")["lost_outputs"]


def test_activities(desk: TreasuryDesk) -> None:
    sent, bob = paid(desk)
    issued, first, change = get(desk, "activities")
    assert issued["type"] == "issuance"
    assert issued["amount"] == 1_000_000
    assert issued["description"] == "Issued to the treasury"
    assert first == {
        "type": "distribution",
        "datetime": first["datetime"],
        "description": f"Distributed to {bob.gaid}",
        "txid": sent.txid,
        "vout": 0,
        "blockheight": desk.height - 1,
        "asset_blinder": sent.openings[0].abf[::-1].hex(),
        "amount_blinder": sent.openings[0].vbf[::-1].hex(),
        "registered user": 1,
        "registered_user": 1,
        "investor": 1,
        "GAID": bob.gaid,
        "amount": 600,
    }
    assert first["datetime"].endswith("Z")
    assert "." in first["datetime"]
    assert (change["GAID"], change["registered user"], change["amount"]) == (None, None, 999_400)


def test_transactions(desk: TreasuryDesk) -> None:
    sent, bob = paid(desk)
    issued, paid_out = get(desk, "txs")
    assert (issued["is_issuance"], issued["is_reissuance"], issued["is_distribution"]) == (True, False, False)
    assert [(one["vout"], one["amount"], one["is_treasury"], one["is_spent"]) for one in issued["outputs"]] == [
        (0, 1_000_000, True, True),
        (1, 5, True, False),
    ]
    assert {one["asset_id"] for one in issued["outputs"]} == {desk.asset_id[::-1].hex(), desk.token_id[::-1].hex()}
    assert paid_out["is_distribution"]
    assert paid_out == desk.api.ok("get", f"{desk.path}/txs/{sent.txid}")
    (spent,) = paid_out["inputs"]
    assert (spent["vin"], spent["prev_txid"], spent["prev_vout"], spent["amount"], spent["is_treasury"]) == (
        0,
        issued["txid"],
        0,
        1_000_000,
        True,
    )
    assert spent["asset_blinder"] == issued["outputs"][0]["asset_blinder"] != ZEROS
    assert (paid_out["outputs"][0]["GAID"], paid_out["outputs"][0]["registered_user"]) == (bob.gaid, 1)
    assert paid_out["unblinded_url"] == "", "nobody knows an explorer of this network"


def test_unknown_blinders_are_zeros(desk: TreasuryDesk) -> None:
    """That is how the official tool finds what to update."""
    sent, _ = paid(desk, told=False)
    outputs = desk.api.ok("get", f"{desk.path}/txs/{sent.txid}")["outputs"]
    assert [(one["vout"], one["asset_blinder"], one["amount_blinder"]) for one in outputs] == [
        (0, ZEROS, ZEROS),
        (1, ZEROS, ZEROS),
    ]


def test_an_explorer_shows_transactions_opened(desk: TreasuryDesk) -> None:
    sent, _ = paid(desk)
    desk.office.desk.network = Network.mainnet()
    url = desk.api.ok("get", f"{desk.path}/txs/{sent.txid}")["unblinded_url"]
    first = sent.openings[0]
    parts = ["600", desk.asset_id[::-1].hex(), first.vbf[::-1].hex(), first.abf[::-1].hex()]
    assert url.startswith(f"https://blockstream.info/liquid/tx/{sent.txid}#blinded={','.join(parts)},999400,")


@pytest.mark.parametrize("txid", ["00" * 32, "x", "00", "00" * 33])
def test_transactions_that_are_not_there(desk: TreasuryDesk, txid: str) -> None:
    desk.api.refused("get", f"{desk.path}/txs/{txid}", status=404)


@pytest.mark.parametrize(
    ("query", "amounts"),
    [
        ({"start": 1}, [600, 999_400]),
        ({"count": 1}, [1_000_000]),
        ({"start": 1, "count": 1}, [600]),
        ({"count": 0}, []),
        ({"sortcolumn": "amount"}, [600, 999_400, 1_000_000]),
        ({"sortcolumn": "amount", "sortorder": "desc"}, [1_000_000, 999_400, 600]),
        ({"sortorder": "desc"}, [999_400, 600, 1_000_000]),
        ({"height_stop": 2}, [1_000_000]),
        ({"height_start": 3}, [600, 999_400]),
    ],
)
def test_pages_of_activities_by_query_and_by_body(
    desk: TreasuryDesk, query: dict[str, Any], amounts: list[int]
) -> None:
    paid(desk)
    assert [one["amount"] for one in get(desk, "activities", **query)] == amounts
    assert [one["amount"] for one in desk.api.ok("get", f"{desk.path}/activities", query)] == amounts


@pytest.mark.parametrize(
    "query",
    [
        {"count": 10**9},
        {"count": -1},
        {"start": -1},
        {"start": 10**30},
        {"count": "1; DROP TABLE assets"},
        {"sortcolumn": "id"},
        {"sortcolumn": "asset_outputs.vbf"},
        {"sortorder": "desc; DROP TABLE assets"},
        {"height_start": "1e3"},
    ],
)
@pytest.mark.parametrize("what", ["activities", "txs"])
def test_i07_pages_are_bounded_and_columns_allow_listed(desk: TreasuryDesk, what: str, query: dict[str, Any]) -> None:
    (field,) = query
    assert field in desk.api.refused("get", f"{desk.path}/{what}", params=query)


def test_i07_a_list_is_sorted_by_what_it_has(desk: TreasuryDesk) -> None:
    assert "sortcolumn" in desk.api.refused("get", f"{desk.path}/txs", params={"sortcolumn": "amount"})


def test_the_asset_in_numbers(desk: TreasuryDesk) -> None:
    _, _ = paid(desk)
    carol, _ = desk.holder("Carol")
    desk.assign(carol, 5)
    category = desk.api.ok("post", "/categories/add", {"name": "residents"}, status=201)["id"]
    expected = {
        "asset_id": desk.asset_id[::-1].hex(),
        "reissuance_token_id": desk.token_id[::-1].hex(),
        "issued": 1_000_000,
        "reissued": 0,
        "assigned": 605,
        "distributed": 600,
        "burned": 0,
        "blacklisted": 0,
        "registered_users": 2,
        "active_registered_users": 1,
        "active_green_subaccounts": 1,
        "reissuance_tokens": 5,
    }
    assert get(desk, "summary") == expected
    desk.api.ok("put", f"/categories/{category}/assets/{desk.asset.uuid}/add")
    desk.api.ok("put", f"/categories/{category}/registered_users/{carol}/add")
    assert get(desk, "summary") == expected | {"registered_users": 1, "active_registered_users": 0}


def test_utxos(desk: TreasuryDesk) -> None:
    sent, bob = paid(desk)
    common = {"txid": sent.txid, "asset": desk.asset_id[::-1].hex(), "blacklisted": False}
    assert sorted(get(desk, "utxos"), key=lambda one: one["vout"]) == [
        common | {"vout": 0, "amount": 600, "registered_user": 1, "gaid": bob.gaid, "investor": 1},
        common | {"vout": 1, "amount": 999_400, "registered_user": None, "gaid": None, "investor": None},
    ]


def test_blacklisting_and_whitelisting(desk: TreasuryDesk) -> None:
    sent, bob = paid(desk)
    outpoint = {"txid": sent.txid, "vout": 0}
    (listed,) = desk.api.ok("post", f"{desk.path}/utxos/blacklist", [outpoint, outpoint])
    assert (listed["txid"], listed["vout"], listed["gaid"], listed["blacklisted"]) == (sent.txid, 0, bob.gaid, True)
    assert get(desk, "summary")["blacklisted"] == 600
    assert {one["vout"]: one["blacklisted"] for one in get(desk, "utxos")} == {0: True, 1: False}
    (free,) = desk.api.ok("post", f"{desk.path}/utxos/whitelist", [outpoint])
    assert not free["blacklisted"]
    assert get(desk, "summary")["blacklisted"] == 0


def test_f08_the_blacklist_survives_a_reorganisation(desk: TreasuryDesk) -> None:
    sent, _ = paid(desk)
    desk.api.ok("post", f"{desk.path}/utxos/blacklist", [{"txid": sent.txid, "vout": 0}])
    desk.unmine()
    desk.unmine()
    assert {one["vout"]: one["blacklisted"] for one in get(desk, "utxos")} == {0: True, 1: False}, "in the mempool"
    desk.mine(sent.tx)
    assert {one["vout"]: one["blacklisted"] for one in get(desk, "utxos")} == {0: True, 1: False}


def test_whitelisting_waits_where_loosening_does(office: Office, acme: Api) -> None:
    desk = TreasuryDesk(office, acme, loosening_delay=3600)
    sent, _ = paid(desk)
    outpoint = {"txid": sent.txid, "vout": 0}
    assert desk.api.ok("post", f"{desk.path}/utxos/blacklist", [outpoint])[0]["blacklisted"], "tightening is immediate"
    assert desk.api.ok("post", f"{desk.path}/utxos/whitelist", [outpoint])[0]["blacklisted"]


@pytest.mark.parametrize(
    "body",
    [
        [],
        {},
        None,
        [{"txid": "00" * 32, "vout": 0}],
        [{"txid": "x", "vout": 0}],
        [{"txid": "00" * 32}],
        [{"txid": "00" * 32, "vout": -1}],
        [{"txid": "00" * 32, "vout": 0, "asset": 1}],
        [{"txid": "00" * 32, "vout": n} for n in range(monitoring.MOST_OUTPOINTS + 1)],
    ],
)
def test_outpoints_that_cannot_be_listed(desk: TreasuryDesk, body: Any) -> None:
    desk.api.refused("post", f"{desk.path}/utxos/blacklist", body)


def test_outputs_of_something_else_cannot_be_listed(desk: TreasuryDesk) -> None:
    for vout in (1, 2):
        desk.api.refused("post", f"{desk.path}/utxos/blacklist", [{"txid": desk.issuance.txid, "vout": vout}])


def test_balances_of_a_gaid_are_of_the_callers_assets(office: Office, desk: TreasuryDesk) -> None:
    _, bob = paid(desk)
    second = office.asset(desk.api)
    assert desk.api.ok("get", f"/gaids/{bob.gaid}/balance") == [
        {"asset_uuid": desk.asset.uuid, "asset_id": desk.asset_id[::-1].hex(), "balance": 600},
        {"asset_uuid": second.uuid, "asset_id": second.asset_id[::-1].hex(), "balance": 0},
    ]
    one = desk.api.ok("get", f"/gaids/{bob.gaid}/balance/{desk.asset.uuid}")
    assert one["balance"] == 600
    other = office.issuer("umbrella")
    assert other.ok("get", f"/gaids/{bob.gaid}/balance") == []
    other.refused("get", f"/gaids/{bob.gaid}/balance/{desk.asset.uuid}", status=404)
    desk.api.refused("get", "/gaids/GA1111111111111111111111111/balance", status=404)


def test_a_manager_sees_the_assets_they_were_given(office: Office, desk: TreasuryDesk) -> None:
    _, bob = paid(desk)
    given, other = office.manager(desk.api, "given", desk.asset.id), office.manager(desk.api, "other")
    for what in ("ownerships", "ownerships/1", "balance", "lost-outputs", "summary", "utxos", "activities", "txs"):
        given.ok("get", f"{desk.path}/{what}")
        other.refused("get", f"{desk.path}/{what}", status=403)
    assert len(given.ok("get", f"/gaids/{bob.gaid}/balance")) == 1
    assert other.ok("get", f"/gaids/{bob.gaid}/balance") == []


def test_i01_another_issuer_sees_nothing(office: Office, desk: TreasuryDesk) -> None:
    other = office.issuer("umbrella")
    for what in ("ownerships", "ownerships/1", "balance", "lost-outputs", "summary", "utxos", "activities", "txs"):
        other.refused("get", f"{desk.path}/{what}", status=404)
    for what in ("blacklist", "whitelist"):
        other.refused("post", f"{desk.path}/utxos/{what}", [{"txid": desk.issuance.txid, "vout": 0}], status=404)
