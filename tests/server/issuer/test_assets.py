from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import sqlalchemy as sa

from amp0.elements.hashes import asset_id_to_str
from amp0.protocol import issuer as wire
from amp0.server.issuer import assets
from amp0.server.issuer.endpoint import Runs, Who
from amp0.server.issuer.refusals import Detail, NothingHere, OperationRefused, WrongFields
from amp0.server.store import asset_schema
from tests.server.issuer.house import House, reissuable

READING: tuple[Callable[..., Any], ...] = (assets.show, assets.memo)
WRITING: tuple[tuple[Callable[..., Any], Any], ...] = (
    (assets.edit, wire.AssetEdit(issuer_authorization_endpoint=None)),
    (assets.delete, None),
    (assets.lock, None),
    (assets.unlock, None),
    (assets.register_authorized, None),
    (assets.set_memo, "x"),
)


def _row(house: House, uuid: str) -> Any:
    with house.store.snapshot() as db:
        return db.execute(sa.select(asset_schema.assets).where(asset_schema.assets.c.uuid == uuid)).one()


def _actions(house: House) -> list[str]:
    with house.store.snapshot() as db:
        table = asset_schema.issuer_events
        return list(db.execute(sa.select(table.c.action).order_by(table.c.id)).scalars())


def test_a_new_asset_is_shown_whole(house: House) -> None:
    issued = house.issue(precision=3, transfer_restricted=False, **reissuable())
    shown = house.call(assets.show, runs=Runs.READ, asset_uuid=issued.asset_uuid)
    assert shown == wire.Asset(
        name=issued.name,
        asset_uuid=issued.asset_uuid,
        issuer=house.who.id,
        asset_id=issued.asset_id,
        reissuance_token_id=issued.reissuance_token_id,
        requirements=[],
        ticker=issued.ticker,
        precision=3,
        domain=issued.domain,
        pubkey=issued.pubkey,
        is_registered=False,
        is_authorized=False,
        is_locked=False,
        issuer_authorization_endpoint=None,
        transfer_restricted=False,
    )
    assert house.call(assets.list_assets, runs=Runs.READ) == [shown]


def test_a_row_is_what_the_table_says(house: House) -> None:
    issued = house.issue()
    with house.store.snapshot() as db:
        row = assets.load(db, 1)
    assert (row.uuid, asset_id_to_str(row.asset_id), row.token_id) == (issued.asset_uuid, issued.asset_id, None)
    assert (row.is_locked, row.is_confidential, row.transfer_restricted) == (False, False, True)
    assert str(row.issue_txid) == issued.txid


# --- whose asset it is -----------------------------------------------------------------------------------------------


def test_i01_another_issuer_s_asset_is_not_there(house: House) -> None:
    uuid = house.issue().asset_uuid
    other = house.hire("another issuer")
    for function in READING:
        with pytest.raises(NothingHere):
            house.call(function, runs=Runs.READ, who=other, asset_uuid=uuid)
    before = _row(house, uuid)
    for function, body in WRITING:
        with pytest.raises(NothingHere):
            house.call(function, body, who=other, asset_uuid=uuid)
    assert _row(house, uuid) == before
    assert house.call(assets.list_assets, runs=Runs.READ, who=other) == []


def test_a_manager_sees_the_assets_they_were_given(house: House) -> None:
    first, second = house.issue(), house.issue(ticker="OTHER")
    manager = house.hire("manager", house.who, [_row(house, first.asset_uuid).id])
    listed = house.call(assets.list_assets, runs=Runs.READ, who=manager)
    assert [one.asset_uuid for one in listed] == [first.asset_uuid]
    assert house.call(assets.show, runs=Runs.READ, who=manager, asset_uuid=first.asset_uuid) == listed[0]
    with pytest.raises(Detail) as refusal:
        house.call(assets.show, runs=Runs.READ, who=manager, asset_uuid=second.asset_uuid)
    assert refusal.value.status == 403


def test_managers_do_not_issue_delete_edit_lock_or_register() -> None:
    from amp0.server.issuer import issuance, registry

    rows = (*assets.ENDPOINTS, *issuance.ENDPOINTS, *registry.ENDPOINTS)
    kept = {row.path.rpartition("/")[2] for row in rows if row.who is Who.ISSUER}
    assert kept == {"issue", "edit", "delete", "lock", "unlock", "register", "register-authorized"}


# --- changing it -----------------------------------------------------------------------------------------------------


def test_locking_and_unlocking(house: House) -> None:
    uuid = house.issue().asset_uuid
    version = _row(house, uuid).policy_version
    assert house.call(assets.lock, asset_uuid=uuid).is_locked
    assert house.call(assets.lock, asset_uuid=uuid).is_locked
    assert not house.call(assets.unlock, asset_uuid=uuid).is_locked
    assert _row(house, uuid).policy_version > version


def test_unlocking_waits_where_loosening_is_delayed(house: House) -> None:
    uuid = house.issue().asset_uuid
    with house.store.transaction() as db:
        db.execute(asset_schema.assets.update().values(loosening_delay=3600))
    house.call(assets.lock, asset_uuid=uuid)
    assert house.call(assets.unlock, asset_uuid=uuid).is_locked


def test_the_authorization_endpoint_is_set_and_cleared(house: House) -> None:
    uuid = house.issue().asset_uuid

    def edit(url: str | None) -> str | None:
        body = wire.AssetEdit(issuer_authorization_endpoint=url)
        return house.call(assets.edit, body, asset_uuid=uuid).issuer_authorization_endpoint

    assert edit("https://issuer.example/authorize") == "https://issuer.example/authorize"
    assert edit("") is None
    assert edit("https://issuer.example/authorize") == "https://issuer.example/authorize"
    assert edit(None) is None


@pytest.mark.parametrize(
    "url", ["http://issuer.example/", "https://127.0.0.1/", "https://10.0.0.1:8443/x", "ftp://x.example", "rubbish"]
)
def test_f03_an_endpoint_that_the_server_must_not_call_is_refused(house: House, url: str) -> None:
    uuid = house.issue().asset_uuid
    with pytest.raises(WrongFields) as refusal:
        house.call(assets.edit, wire.AssetEdit(issuer_authorization_endpoint=url), asset_uuid=uuid)
    assert list(refusal.value.errors) == ["issuer_authorization_endpoint"]
    assert _row(house, uuid).authorization_endpoint is None


def test_authorizing_is_once_and_for_ever(house: House) -> None:
    uuid = house.issue().asset_uuid
    assert house.call(assets.register_authorized, asset_uuid=uuid).is_authorized
    with pytest.raises(OperationRefused, match="already authorized"):
        house.call(assets.register_authorized, asset_uuid=uuid)


@pytest.mark.parametrize("text", ["a note", "", 'quote " and backslash \\ and\nline', "ütf-8 ✓"])
def test_a_memo_comes_back_as_it_was(house: House, text: str) -> None:
    uuid = house.issue().asset_uuid
    assert house.call(assets.memo, runs=Runs.READ, asset_uuid=uuid) == ""
    assert house.call(assets.set_memo, text, asset_uuid=uuid) == wire.Nothing()
    assert house.call(assets.memo, runs=Runs.READ, asset_uuid=uuid) == text


# --- deleting it -----------------------------------------------------------------------------------------------------


def test_a_deleted_asset_is_gone_from_the_api_and_its_rules_hold_on(house: House) -> None:
    issued = house.issue()
    house.call(assets.lock, asset_uuid=issued.asset_uuid)
    house.call(assets.delete, asset_uuid=issued.asset_uuid)
    assert house.call(assets.list_assets, runs=Runs.READ) == []
    for function in READING:
        with pytest.raises(NothingHere):
            house.call(function, runs=Runs.READ, asset_uuid=issued.asset_uuid)
    for function, body in WRITING:
        with pytest.raises(NothingHere):
            house.call(function, body, asset_uuid=issued.asset_uuid)
    with house.store.snapshot() as db:
        row = assets.load(db, 1)
    assert row.is_locked
    assert row.deleted_at == house.now


@pytest.mark.parametrize(("state", "refused"), [("unconfirmed", True), ("confirmed", False), ("cancelled", False)])
def test_an_asset_with_a_distribution_on_its_way_stays(house: House, state: str, refused: bool) -> None:
    uuid = house.issue().asset_uuid
    with house.store.transaction() as db:
        db.execute(
            asset_schema.distributions.insert().values(
                uuid="d",
                asset=1,
                creator_id=house.who.id,
                state=state,
                txid=b"\x01" * 32 if state == "confirmed" else None,
                created_at=0,
            )
        )
    if refused:
        with pytest.raises(OperationRefused, match="distribution"):
            house.call(assets.delete, asset_uuid=uuid)
    else:
        house.call(assets.delete, asset_uuid=uuid)


def test_what_was_done_is_on_record(house: House) -> None:
    uuid = house.issue().asset_uuid
    house.call(assets.lock, asset_uuid=uuid)
    house.call(assets.register_authorized, asset_uuid=uuid)
    house.call(assets.set_memo, "secret of the issuer", asset_uuid=uuid)
    house.call(assets.delete, asset_uuid=uuid)
    assert _actions(house) == ["issue_asset", "lock", "authorize_asset", "set_memo", "delete_asset"]
