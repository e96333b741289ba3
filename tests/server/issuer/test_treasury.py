from __future__ import annotations

import pytest
import sqlalchemy as sa

from amp0.elements.address import Address
from amp0.network import Network
from amp0.server.issuer import fee_coins, treasury
from amp0.server.issuer.endpoint import Runs
from amp0.server.issuer.refusals import OperationRefused, WrongFields
from amp0.server.store import asset_schema, schema
from tests.server.issuer.house import House, address


@pytest.fixture
def uuid(house: House) -> str:
    return house.issue().asset_uuid


def _listed(house: House, uuid: str) -> list[str]:
    return house.call(treasury.list_addresses, runs=Runs.READ, asset_uuid=uuid)


def test_addresses_are_added_listed_and_taken_away(house: House, uuid: str) -> None:
    texts = [str(address(number)) for number in (5, 6)]
    first = str(address(1))
    house.now += 1
    assert house.call(treasury.add, texts, asset_uuid=uuid) == [first, *sorted(texts)]
    assert house.call(treasury.delete, [texts[0], first], asset_uuid=uuid) == [texts[1]]
    assert _listed(house, uuid) == [texts[1]]
    with house.store.snapshot() as db:
        kept = db.execute(sa.select(sa.func.count()).select_from(asset_schema.treasury_addresses)).scalar_one()
    assert kept == 3, "what came to an address stays the treasury's"
    house.call(treasury.add, [first], asset_uuid=uuid)
    assert set(_listed(house, uuid)) == {texts[1], first}


def test_what_is_there_is_said_in_the_words_that_clients_look_for(house: House, uuid: str) -> None:
    with pytest.raises(OperationRefused, match="already been added"):
        house.call(treasury.add, [str(address(1))], asset_uuid=uuid)
    # A client that adds the issuance's address once more, with a new one, still gets the new one.
    assert str(address(5)) in house.call(treasury.add, [str(address(1)), str(address(5))], asset_uuid=uuid)


@pytest.mark.parametrize(
    "text",
    [
        "rubbish",
        "",
        str(address(5).to_unconfidential()),
        str(Address.from_script(Network.mainnet(), address(5).script, address(5).blinding_pubkey)),
    ],
)
def test_only_confidential_addresses_of_this_network(house: House, uuid: str, text: str) -> None:
    before = _listed(house, uuid)
    with pytest.raises(WrongFields, match="Invalid value"):
        house.call(treasury.add, [str(address(6)), text], asset_uuid=uuid)
    assert _listed(house, uuid) == before


def test_one_script_under_two_blinding_keys_is_one_address(house: House, uuid: str) -> None:
    twin = Address.from_script(address(5).network(), address(5).script, address(6).blinding_pubkey)
    listed = house.call(treasury.add, [str(address(5)), str(twin)], asset_uuid=uuid)
    assert len(listed) == 2
    with pytest.raises(OperationRefused):
        house.call(treasury.add, [str(address(5))], asset_uuid=uuid)


def test_a_holder_s_address_is_no_treasury(house: House, uuid: str) -> None:
    """What comes there is the holder's, and paying there would need no rule any more."""
    with house.store.transaction() as db:
        fees = fee_coins.deposit_address(db, house.wallet, house.now)
        user = db.execute(
            schema.users.insert()
            .values(
                master_pubkey=b"\x02" * 33,
                master_chain_code=bytes(32),
                login_hash=bytes(20),
                gait_path=bytes(64),
                user_agent="",
                appearance="{}",
                cache_password="",
                csv_blocks=10,
                nlocktime_blocks=10,
                client_blob="",
                client_blob_hmac="",
                created_at=0,
            )
            .returning(schema.users.c.id)
        ).scalar_one()
        account = db.execute(
            schema.accounts.insert()
            .values(user_id=user, pointer=0, type="2of2", name="", receiving_id="GA1", last_pointer=1, created_at=0)
            .returning(schema.accounts.c.id)
        ).scalar_one()
        db.execute(
            schema.addresses.insert().values(
                account_id=account, pointer=1, script_pubkey=address(8).script, csv_blocks=0
            )
        )
    for own in (fees, address(8)):
        with pytest.raises(WrongFields, match="belongs to an account of this server"):
            house.call(treasury.add, [str(own)], asset_uuid=uuid)


def test_taking_away_what_is_not_there_is_refused(house: House, uuid: str) -> None:
    with pytest.raises(OperationRefused, match="no treasury address"):
        house.call(treasury.delete, [str(address(1)), str(address(5))], asset_uuid=uuid)
    assert _listed(house, uuid) == [str(address(1))]


def test_nothing_changes_nothing(house: House, uuid: str) -> None:
    assert house.call(treasury.add, [], asset_uuid=uuid) == [str(address(1))]
    assert house.call(treasury.delete, [], asset_uuid=uuid) == [str(address(1))]


def test_a_new_address_waits_where_loosening_is_delayed(house: House, uuid: str) -> None:
    """Whoever pays to a treasury address needs no rule's consent, so another one is a loosening."""
    with house.store.transaction() as db:
        db.execute(asset_schema.assets.update().values(loosening_delay=3600))
    assert house.call(treasury.add, [str(address(5))], asset_uuid=uuid) == [str(address(1))]
    assert house.call(treasury.delete, [str(address(1))], asset_uuid=uuid) == []


def test_two_assets_may_share_a_treasury(house: House, uuid: str) -> None:
    other = house.issue(ticker="OTHER").asset_uuid
    assert _listed(house, other) == _listed(house, uuid) == [str(address(1))]
    house.call(treasury.delete, [str(address(1))], asset_uuid=uuid)
    assert (_listed(house, other), _listed(house, uuid)) == ([str(address(1))], [])
