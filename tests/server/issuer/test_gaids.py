"""Addresses that issuers are told: fresh, confidential, each to one of them, and more of them asked for in time."""

from __future__ import annotations

import itertools

import sqlalchemy as sa

from amp0.elements.address import Address
from amp0.protocol import issuer as wire
from amp0.server import accounts
from amp0.server.store import schema

from .office import NETWORK, AmpAccount, Api, Office
from .treasury_desk import TreasuryDesk


def required(office: Office, account: int) -> int:
    with office.transaction() as db:
        return accounts.required_addresses(db, account, 20)


def pay(office: Office, account_id: int, pointer: int) -> None:
    """An output at an address of an account."""
    with office.transaction() as db:
        tx = {"txid": b"\x01" * 32, "state": 0, "fee": 0, "weight": 0, "vsize": 0, "raw": b""}
        db.execute(schema.transactions.insert().values(**tx, first_seen_at=0, changed_at=0))
        fields = dict.fromkeys(("asset_field", "value_field", "nonce_field", "range_proof", "surjection_proof"), b"")
        row = {"txid": tx["txid"], "vout": 0, "account_id": account_id, "pointer": pointer, "script_pubkey": b""}
        db.execute(schema.outputs.insert().values(**row, **fields))


def test_validate(office: Office, acme: Api) -> None:
    bob = office.account("bob")
    assert acme.ok("get", f"/gaids/{bob.gaid}/validate") == {"is_valid": True, "error": ""}
    for gaid in ("GAbYScu6jkWUND2jo3L4KJxyvo55d", "x", bob.gaid.lower(), bob.gaid + "x", "%20", "GA' OR 1=1 --"):
        answer = acme.ok("get", f"/gaids/{gaid}/validate")
        assert answer["is_valid"] is False
        assert answer["error"]


def test_every_address_is_told_once_whoever_asks(office: Office, acme: Api) -> None:
    bob, rival = office.account("bob"), office.issuer("rival")
    told = [api.ok("get", f"/gaids/{bob.gaid}/address")["address"] for _ in range(10) for api in (acme, rival)]
    assert told == [str(address) for address in bob.addresses]
    assert all(Address(text, NETWORK).blinding_pubkey is not None for text in told)
    answer = office.issuer("third").ok("get", f"/gaids/{bob.gaid}/address")
    assert answer["address"] == ""
    assert "uploads" in answer["error"]


def test_an_issuer_who_asks_on_and_on_takes_no_address_from_others(office: Office, acme: Api) -> None:
    """Whoever was told an AMP ID, if only by a transfer, could use up the addresses of its account, in twenty requests
    and with a manager's token: nobody could distribute to it until its wallet logged in again."""
    bob, carol, rival = office.account("bob"), office.account("carol"), office.issuer("rival")
    asking = itertools.cycle((acme, office.manager(acme, "mary"), office.manager(acme, "maud")))

    def ask(api: Api, account: AmpAccount = bob) -> str:
        answer = api.ok("get", f"/gaids/{account.gaid}/address")
        assert answer["error"] == ""
        office.clock.now += 1
        return str(answer["address"])

    told = [ask(next(asking)) for _ in range(35)]
    # Half of them, over and over again, the one that was told longest ago first.
    mine = [str(one) for one in bob.addresses[:10]]
    assert told == mine * 3 + mine[:5]
    # Nobody else is told any of these, and there are some left for them.
    assert [ask(rival) for _ in range(10)] == [str(one) for one in bob.addresses[10:]]
    # One that was paid is not told again, and makes room for a fresh one; of another account there are others.
    assert ask(acme, carol) == str(carol.addresses[0])
    dave = office.account("dave")
    for _ in range(10):
        ask(acme, dave)
    pay(office, dave.id, 6)
    assert ask(acme, dave) == str(dave.addresses[10])
    assert ask(acme, dave) == str(dave.addresses[0])
    assert str(dave.addresses[5]) not in {ask(acme, dave) for _ in range(20)}


def test_where_a_distribution_pays_nobody_else_is_sent(office: Office, acme: Api) -> None:
    """A distribution finds its payments by their addresses, and waits for them."""
    desk = TreasuryDesk(office, acme)
    user, bob = desk.holder("bob")
    desk.assign(user, 5)
    (paid_at,) = desk.distribution()["map_address_amount"]
    told = {acme.ok("get", f"/gaids/{bob.gaid}/address")["address"] for _ in range(25)}
    assert len(told) == 10
    assert paid_at not in told
    # And a distribution is told none that was told before.
    desk.assign(user, 6)
    (other,) = desk.distribution()["map_address_amount"]
    assert other not in {*told, paid_at}


def test_clients_are_asked_for_as_many_as_were_used(office: Office, acme: Api) -> None:
    bob = office.account("bob")
    assert required(office, bob.id) == 0
    for _ in range(3):
        acme.ok("get", f"/gaids/{bob.gaid}/address")
    assert required(office, bob.id) == 3
    assert required(office, office.account("carol", uploaded=0).id) == 20


def test_an_address_that_was_paid_is_not_fresh(office: Office, acme: Api) -> None:
    """Stock clients send change to the first addresses of an account."""
    bob = office.account("bob")
    pay(office, bob.id, 1)
    assert required(office, bob.id) == 1
    assert acme.ok("get", f"/gaids/{bob.gaid}/address")["address"] == str(bob.addresses[1])


def test_the_wallet_is_told_to_look_that_far(office: Office, acme: Api) -> None:
    bob = office.account("bob", uploaded=3)
    with office.transaction() as db:
        # Uploaded for addresses that its wallet never asked for.
        db.execute(sa.update(schema.accounts).values(last_pointer=0))
        db.execute(sa.update(schema.addresses).values(issued_at=None))
    for pointer in (1, 2):
        acme.ok("get", f"/gaids/{bob.gaid}/address")
        with office.transaction() as db:
            assert accounts.load(db, bob.id, main=False).last_pointer == pointer
            issued = db.execute(sa.select(schema.addresses.c.issued_at).where(schema.addresses.c.pointer == pointer))
            assert issued.scalar_one() is not None
    with office.transaction() as db:
        db.execute(sa.update(schema.accounts).values(last_pointer=50))
    acme.ok("get", f"/gaids/{bob.gaid}/address")
    with office.transaction() as db:
        assert accounts.load(db, bob.id, main=False).last_pointer == 50


def test_accounts_that_cannot_be_paid(office: Office, acme: Api) -> None:
    silent, gone = office.account("silent", uploaded=0), office.account("gone")
    with office.transaction() as db:
        owner = sa.select(schema.accounts.c.user_id).where(schema.accounts.c.id == gone.id).scalar_subquery()
        db.execute(sa.update(schema.users).where(schema.users.c.id == owner).values(removed_at=1))
    for gaid, word in ((silent.gaid, "uploads"), (gone.gaid, "removed"), ("nonsense", "no GAID")):
        answer = acme.ok("get", f"/gaids/{gaid}/address")
        assert answer["address"] == ""
        assert word in answer["error"]
        assert set(answer) == set(wire.GaidAddress.__struct_fields__)
