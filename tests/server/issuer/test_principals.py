"""Logins of the issuer API: passwords, tokens, and what ends them."""

from __future__ import annotations

import re
from typing import Any

import pytest
import sqlalchemy as sa

from amp0.protocol import issuer as wire
from amp0.server.issuer import principals
from amp0.server.issuer.desk import Call
from amp0.server.issuer.refusals import WrongFields
from amp0.server.refusal import TooManyAttempts
from amp0.server.settings import Settings
from amp0.server.store import asset_schema

from .office import PASSWORD, Api, Office

NEW = "another good password"


def log_in(office: Office, name: str = "acme", password: str = PASSWORD) -> str:
    answer = office.anybody.ok("post", "/user/obtain_token", {"username": name, "password": password})
    assert re.fullmatch(r"[0-9a-f]{40}", answer["token"])
    return str(answer["token"])


def works(office: Office, token: str | None) -> bool:
    answer = Api(office, token).get("/assets")
    assert answer.status_code in (200, 401)
    return answer.status_code == 200


def test_logging_in_again_gives_the_same_token_and_ends_nothing(office: Office, acme: Api) -> None:
    """One client keeps its token for a day while another logs in with the same credentials."""
    assert [log_in(office) for _ in range(3)] == [acme.token] * 3
    assert works(office, acme.token)


def test_tokens_follow_from_secrets_and_are_not_kept(office: Office, acme: Api) -> None:
    rival = office.issuer("rival")
    assert rival.token != acme.token
    with office.transaction() as db:
        rows = [tuple(row) for row in db.execute(sa.select(asset_schema.api_tokens))]
        rows += [tuple(row) for row in db.execute(sa.select(asset_schema.principals))]
    assert acme.token is not None
    assert not any(acme.token in str(value) or value == bytes.fromhex(acme.token) for row in rows for value in row)
    assert not any(PASSWORD in str(value) for row in rows for value in row)
    # The same login in another database has another token: its salt is another.
    other = Office()
    other.random(1)
    with other.transaction() as db:
        row = principals.create_issuer(db, other.random, "acme", PASSWORD, 0)
        assert principals.live_token(db, other.desk, row) != acme.token
    other.close()


def test_b14_a_new_password_kills_tokens_at_once(office: Office, acme: Api) -> None:
    changed = acme.ok("post", "/user/change-password", {"password": NEW})
    assert changed == {"username": "acme", "password": NEW, "token": changed["token"]}
    assert changed["token"] != acme.token
    assert not works(office, acme.token)
    assert works(office, changed["token"])
    office.anybody.refused("post", "/user/obtain_token", {"username": "acme", "password": PASSWORD})
    assert log_in(office, password=NEW) == changed["token"]


@pytest.mark.parametrize("method", ["get", "post"])
def test_b14_a_fresh_token_replaces_the_old_one(office: Office, acme: Api, method: str) -> None:
    fresh = acme.ok(method, "/user/refresh-token")["token"]
    assert fresh != acme.token
    assert not works(office, acme.token)
    assert works(office, fresh)
    assert log_in(office) == fresh


def test_b14_tokens_expire_where_the_operator_wants_it() -> None:
    office = Office(settings=Settings(api_token_seconds=1000))
    office.issuer("acme")
    first = log_in(office)
    office.clock.now += 400
    assert log_in(office) == first
    office.clock.now += 200
    # Past its half: whoever logs in gets one that lasts, and the first lives to its end all the same.
    second = log_in(office)
    assert second != first
    assert works(office, first)
    office.clock.now += 399
    assert works(office, first)
    office.clock.now += 1
    assert not works(office, first)
    assert works(office, second)
    office.clock.now += 1000
    assert not works(office, second)
    assert works(office, log_in(office))
    with office.transaction() as db:
        assert len(db.execute(sa.select(asset_schema.api_tokens)).all()) == 1
    office.close()


def test_tokens_of_before_an_expiry_was_set_get_one(office: Office, acme: Api) -> None:
    office.desk.settings = Settings(api_token_seconds=1000)
    assert log_in(office) == acme.token
    office.clock.now += 1000
    assert not works(office, acme.token)


def test_wrong_names_and_wrong_passwords_look_alike(office: Office, acme: Api) -> None:
    wrong = [("acme", "wrong password"), ("nobody", PASSWORD), ("ACME", PASSWORD), ("acme ", PASSWORD)]
    answers = {
        office.anybody.post("/user/obtain_token", {"username": name, "password": password}).text
        for name, password in wrong
    }
    assert answers == {'{"non_field_errors":["Unable to log in with provided credentials."]}'}


def test_guessing_is_bounded_and_costs_others_nothing(
    office: Office, acme: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    office.issuer("rival")
    monkeypatch.setattr(principals, "_stretch", lambda password, _salt: password.encode().ljust(32)[:32])
    with office.transaction() as db:
        hashed = principals._stretch(PASSWORD, b"")
        db.execute(sa.update(asset_schema.principals).values(password_hash=hashed))
    guess = {"username": "acme", "password": "guess"}
    for _ in range(office.settings.login_attempts):
        office.anybody.refused("post", "/user/obtain_token", guess)
    answer = office.anybody.post("/user/obtain_token", guess)
    assert answer.status_code == 429
    assert answer.json().keys() == {"detail"}
    wait = int(answer.headers["retry-after"])
    assert wait > 0
    # Neither the right password, before the time is up ...
    office.anybody.refused("post", "/user/obtain_token", {"username": "acme", "password": PASSWORD}, status=429)
    # ... but tokens live, and other names are not concerned.
    assert works(office, acme.token)
    log_in(office, "rival")
    office.clock.now += wait + 1
    log_in(office)


def test_b04_the_addresses_of_one_network_are_one_guesser(
    office: Office, acme: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stretching a guess takes a tenth of a second of a core. Whoever has one address of an IPv6 network has 2⁶⁴ of
    them, and each could have as many guesses as one of IPv4."""
    stretched: list[str] = []

    def stretch(password: str, _salt: bytes) -> bytes:
        stretched.append(password)
        return bytes(32)[:-1] + b"x"

    monkeypatch.setattr(principals, "_stretch", stretch)

    def guess(peer: str, number: int) -> bool:
        call = Call(office.desk, None, {}, peer=peer)
        seen = len(stretched)
        with pytest.raises((WrongFields, TooManyAttempts)):
            principals.obtain_token(call, wire.Credentials(username=f"name{number}", password="guess"))
        return len(stretched) > seen

    many = 10 * office.settings.login_attempts
    assert [guess(f"2001:db8:0:1::{i:x}", i) for i in range(many + 50)].count(True) == many
    assert guess("2001:db8:0:2::1", 0)
    assert guess("192.0.2.1", 0)


def test_a_locked_manager_cannot_log_in(office: Office, acme: Api) -> None:
    office.manager(acme, "mary", is_locked=True)
    credentials = {"username": "mary", "password": PASSWORD}
    assert office.anybody.refused("post", "/user/obtain_token", credentials, status=403).keys() == {"detail"}
    # Whether it is locked learns only who knows the password.
    office.anybody.refused("post", "/user/obtain_token", {**credentials, "password": "wrong one"}, status=400)


def test_whoever_locks_an_issuer_locks_the_managers_too(office: Office, acme: Api) -> None:
    mary = office.manager(acme, "mary")
    with office.transaction() as db:
        table = asset_schema.principals
        db.execute(sa.update(table).where(table.c.id == acme.id).values(is_locked=1))
    assert acme.get("/assets").status_code == mary.get("/assets").status_code == 403


@pytest.mark.parametrize("password", ["", "short", 12345678, None, "a" * 2000])
def test_passwords_that_are_no_good(office: Office, acme: Api, password: Any) -> None:
    assert acme.refused("post", "/user/change-password", {"password": password}).keys() == {"password"}
    assert works(office, acme.token)


def test_create_issuer(office: Office) -> None:
    with office.transaction() as db:
        number = principals.create_issuer(db, office.random, "acme", PASSWORD, 5)
    token = log_in(office)
    assert works(office, token)
    with office.transaction() as db:
        row = db.execute(sa.select(asset_schema.principals)).one()
    assert (row.id, row.issuer_id, row.person, row.is_locked, row.created_at) == (number, None, "acme", 0, 5)
    for name, password in (
        ("acme", PASSWORD),
        ("", PASSWORD),
        (" a", PASSWORD),
        ("a\nb", PASSWORD),
        ("x" * 151, PASSWORD),
    ):
        with office.transaction() as db, pytest.raises(WrongFields):
            principals.create_issuer(db, office.random, name, password, 5)
    with office.transaction() as db, pytest.raises(WrongFields, match="8 characters"):
        principals.create_issuer(db, office.random, "other", "short", 5)


def test_an_operation_that_waited_asks_again_who_calls(
    office: Office, acme: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The token dies while the new password is being stretched."""
    stretch = principals._stretch

    def slowly(password: str, salt: bytes) -> bytes:
        with office.transaction() as db:
            principals.fresh_token(db, office.desk, acme.id)
        return stretch(password, salt)

    monkeypatch.setattr(principals, "_stretch", slowly)
    acme.refused("post", "/user/change-password", {"password": NEW}, status=401)
    monkeypatch.undo()
    log_in(office)


def test_secrets_are_not_shown(acme: Api) -> None:
    assert PASSWORD not in repr(principals.Stretched(b"", b""))
