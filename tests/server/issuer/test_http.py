"""The one way a request takes: paths, methods, tokens, bodies, errors."""

from __future__ import annotations

import asyncio
import json
import re
import threading
from collections.abc import MutableMapping, Sequence
from typing import Any

import httpx
import msgspec
import pytest
from starlette.applications import Starlette

from amp0.server.context import Publication
from amp0.server.issuer import parsing
from amp0.server.issuer.desk import Call
from amp0.server.issuer.endpoint import Endpoint, Runs, Who
from amp0.server.issuer.http import IssuerApi
from amp0.server.issuer.refusals import OperationRefused
from amp0.server.issuer.table import ENDPOINTS
from amp0.server.refusal import NotEmpty, ServerBusy, StoreUnavailable, TooManyAttempts
from amp0.server.settings import Settings
from amp0.server.store import asset_schema
from tests.patience import PATIENCE

from .office import PASSWORD, Api, Office, confidential
from .samples import body, things
from .treasury_desk import TreasuryDesk

EACH = [(method, endpoint) for endpoint in ENDPOINTS for method in endpoint.methods]


def test_every_path_answers_with_and_without_a_slash_for_every_method(office: Office) -> None:
    """Never a redirect: one turns a POST into a GET in several clients."""
    acme = things(office, "acme")
    for path in {endpoint.path for endpoint in ENDPOINTS}:
        filled = path.format(**acme.parameters(path))
        known = {method for method, endpoint in EACH if endpoint.path == path}
        for method in ("GET", "POST", "PUT", "DELETE", "PATCH", "HEAD", "OPTIONS"):
            for url in (filled, filled + "/"):
                answer = office.anybody.request(method, url)
                assert answer.status_code not in (301, 302, 307, 308, 404), (method, url)
                assert (answer.status_code == 405) == (method not in known), (method, url)
                if answer.status_code == 405 and method != "HEAD":
                    assert answer.json() == {"detail": f'Method "{method}" not allowed.'}
                    assert set(answer.headers["allow"].split(", ")) == known


def test_a_slash_changes_nothing_about_what_is_done(acme: Api) -> None:
    one = acme.ok("post", "/registered_users/add", {"name": "One"}, status=201)
    two = acme.ok("post", "/registered_users/add/", {"name": "Two"}, status=201)
    assert acme.ok("get", "/registered_users") == acme.ok("get", "/registered_users/") == [one, two]


@pytest.mark.parametrize(
    "path", ["/nothing", "/assets//balance", "/nothing/at/all/", "//", "/registered_users/1/2/3/4"]
)
def test_what_is_not_there_is_404_with_a_detail(acme: Api, office: Office, path: str) -> None:
    for who in (acme, office.anybody):
        for method in ("get", "post", "delete"):
            assert who.refused(method, path, status=404).keys() == {"detail"}


@pytest.mark.parametrize(
    "part",
    ["0", "-1", "1.0", "01", "٣", "x", "9" * 30, str(2**63), "1%00", "%F0%9F%92%A5", "a" * 3000, "%0A", "1%2F2", "%FF"],
)
def test_ids_that_are_none(acme: Api, part: str) -> None:
    acme.ok("post", "/registered_users/add", {"name": "One"}, status=201)
    for path in ("/registered_users/{}", "/categories/{}", "/managers/{}", "/assets/{}", "/gaids/{}/registered_user"):
        assert acme.refused("get", path.format(part), status=404).keys() == {"detail"}


def test_bodies_of_get_and_delete_are_taken(office: Office) -> None:
    acme = things(office, "acme")
    assert acme.api.get("/registered_users", {"what": "ever"}).status_code == 200
    assert acme.api.get("/info", content=b"not json at all").status_code == 200
    path = f"/assets/{acme.asset.uuid}/treasury-addresses/delete"
    assert acme.api.delete(path, [str(acme.account.addresses[0])]).status_code != 405
    assert acme.api.delete(f"/registered_users/{acme.user}/delete", {"a": 1}).status_code in (204, 400)


@pytest.mark.parametrize("content_type", [None, "text/plain", "application/x-www-form-urlencoded", "nonsense"])
def test_the_content_type_of_json_does_not_matter(office: Office, acme: Api, content_type: str | None) -> None:
    headers = {} if content_type is None else {"content-type": content_type}
    acme.ok("post", "/registered_users/add", content=b'{"name": "One"}', headers=headers, status=201)
    gaid = office.account().gaid
    acme.ok("post", "/registered_users/1/gaids/add", content=json.dumps(gaid), headers=headers)
    credentials = json.dumps({"username": "acme", "password": PASSWORD})
    office.anybody.ok("post", "/user/obtain_token", content=credentials, headers=headers)


def test_credentials_may_be_a_form(office: Office, acme: Api) -> None:
    form = {"content-type": "application/x-www-form-urlencoded; charset=utf-8"}
    content = "username=acme&password=correct+horse%20battery"
    assert office.anybody.ok("post", "/user/obtain_token", content=content, headers=form) == {"token": acme.token}
    for wrong in (
        "",
        "username=acme",
        "nonsense",
        "username=acme&password=%00",
        "username=%FF&password=x",
        "a=1&" * 50,
    ):
        office.anybody.refused("post", "/user/obtain_token", content=wrong, headers=form)
    # Nothing else is taken from a form.
    acme.refused("post", "/registered_users/add", content="name=One", headers=form)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b" ",
        b"{",
        b"[]",
        b"null",
        b'"text"',
        b"{'name': 'x'}",
        b'{"name": "x"} {}',
        b'{"name": "\xff"}',
        b'{"name": "\xed\xa0\x80"}',
        b'{"name": "\\ud800"}',
        b'{"name": "\\udc00x"}',
        b'{"name": "a\\u0000b"}',
        b'{"name": "\\\\\\u0000"}',
        b'{"name": "a\x00b"}',
        b'{"name": "a\\nb"}',
        b'{"name": " "}',
        b'{"name": ""}',
        b'{"name": 1}',
        b'{"name": null}',
        b'{"name": "x", "is_company": "yes"}',
        b'{"name": "x", "is_company": 1}',
        b"[" * 100_000,
        b'{"name": ' * 5_000,
        json.dumps({"name": "n" * 256}).encode(),
    ],
)
def test_bodies_out_of_shape(acme: Api, content: bytes) -> None:
    refused = acme.refused("post", "/registered_users/add", content=content)
    assert all(isinstance(texts, list) for texts in refused.values())
    assert acme.ok("get", "/registered_users") == []


def test_a_backslash_before_what_looks_like_a_nul(acme: Api) -> None:
    user = acme.ok("post", "/registered_users/add", content=b'{"name": "a\\\\u0000"}', status=201)
    assert user["name"] == "a\\u0000"


def test_i06_what_is_not_asked_for_is_refused(acme: Api) -> None:
    for extra in ({"is_admin": True}, {"id": 5}, {"creator": 1}, {"issuer_id": 2}, {"is_frozen": False}):
        (name,) = extra
        assert acme.refused("post", "/registered_users/add", {"name": "x", **extra}) == {
            name: ["There is no such field"]
        }
    assert acme.ok("get", "/registered_users") == []


def test_i06_no_body_of_a_struct_takes_unknown_keys(office: Office) -> None:
    """Except the payloads of confirms, which hold whatever a node said."""
    acme = things(office, "acme")
    for method, endpoint in EACH:
        sample = body(endpoint, acme)
        if not isinstance(sample, dict) or endpoint.who is Who.ANYBODY or endpoint.path.endswith("confirm"):
            continue
        answer = acme.api.request(method, acme.path(endpoint), {**sample, "is_admin": True})
        assert (answer.status_code, answer.json()) == (400, {"is_admin": ["There is no such field"]}), endpoint.path


@pytest.mark.parametrize(
    "amount",
    [
        "1.0",
        "0.1",
        "0.30000000000000004",
        "1e3",
        '"5"',
        "-1",
        "0",
        "2100000000000001",
        "1e400",
        "true",
        "null",
        "[1]",
        "9" * 400,
    ],
)
def test_i02_amounts_are_satoshi_and_nothing_else(office: Office, amount: str) -> None:
    acme = things(office, "acme")
    asset = f"/assets/{acme.asset.uuid}"
    bodies = {
        asset + "/reissue-request": f'{{"amount_to_reissue": {amount}}}',
        asset + "/burn-request": f'{{"amount": {amount}}}',
        asset + "/assignments/create": f'{{"assignments": [{{"registered_user": {acme.user}, "amount": {amount}}}]}}',
    }
    for path, content in bodies.items():
        refused = acme.api.refused("post", path, content=content)
        assert set(refused) & {"amount", "amount_to_reissue", "assignments", "non_field_errors"}, refused
        assert "Error" not in refused


@pytest.mark.parametrize(
    "content",
    [
        '{"assignments": [{"registered_user": USER, "amount": 1, "amount": 900}]}',
        '{"assignments": [{"registered_user": USER, "amount": 900, "am\\u006funt": 1}]}',
        '{"assignments": [{"registered_user": 7, "registered_user": USER, "amount": 1}]}',
    ],
)
def test_i02_a_key_that_comes_twice_is_two_requests(office: Office, acme: Api, content: str) -> None:
    """A proxy or a clerk's tool that shows the first amount while the server takes the last one shows another request
    than is carried out. So neither is."""
    desk = TreasuryDesk(office, acme)
    user, _ = desk.holder("bob")
    refused = acme.refused("post", f"{desk.path}/assignments/create", content=content.replace("USER", str(user)))
    assert refused == {"non_field_errors": ["A key comes twice in one object"]}
    assert acme.ok("get", f"{desk.path}/assignments") == []


def test_keys_that_come_twice_in_what_is_only_passed_on(office: Office, acme: Api) -> None:
    """Where anything goes, too: in a form, in the parameters of a rule, in what a node said."""
    form = {"content-type": "application/x-www-form-urlencoded"}
    twice = f"username=acme&password=wrong+password&password={PASSWORD}"
    assert "token" not in office.anybody.refused("post", "/user/obtain_token", content=twice, headers=form)
    asset = office.asset(acme)
    rule = '{"tag": "transfer_limit", "parameters": {"satoshi": 5, "satoshi": 500}}'
    acme.refused("post", f"/assets/{asset.uuid}/rules/add", content=rule)
    confirm = f'{{"tx_data": {{"txid": "{"ab" * 32}"}}, "change_data": [], "more": [{{"a": 1, "a": 2}}]}}'
    acme.refused("post", f"/assets/{asset.uuid}/burn-confirm", content=confirm)
    # The same name in several objects, or as a value, is nothing special.
    acme.ok("post", "/registered_users/add", content='{"name": "name"}', status=201)


def test_j11_a_large_body_is_read_for_those_who_may_call_and_for_nobody_else(
    office: Office, acme: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Anybody can make up a token; reading a megabyte of JSON for them would cost more than sending it."""
    rival = things(office, "rival")
    read: list[int] = []
    body_of = parsing.body

    def counted(raw: bytes, *rest: Any) -> Any:
        read.append(len(raw))
        return body_of(raw, *rest)

    monkeypatch.setattr(parsing, "body", counted)
    large = json.dumps({"tx_data": {"txid": "ab" * 32}, "change_data": [], "more": ["x"] * 100_000})
    stranger = Api(office, "0" * 40)
    for method, endpoint in EACH:
        if endpoint.body is not None and endpoint.who is not Who.ANYBODY:
            path = rival.path(endpoint)
            assert stranger.request(method, path, content=large).status_code == 401, path
    assert read == []
    manager = office.manager(acme, "mary", is_locked=True)
    manager.refused("post", "/registered_users/add", content=large, status=403)
    assert read == []
    acme.refused("post", "/registered_users/add", content=large)
    assert read == [len(large)]


def test_errors_say_which_field(office: Office, acme: Api) -> None:
    assert acme.refused("post", "/registered_users/add", {}) == {"name": ["This field is required"]}
    assert acme.refused("post", "/registered_users/add", []) == {"non_field_errors": ["Expected an object, not a list"]}
    asset = office.asset(acme)
    wrong = {"assignments": [{"registered_user": 1, "amount": "5"}]}
    refused = acme.refused("post", f"/assets/{asset.uuid}/assignments/create", wrong)
    assert refused == {"assignments": ["Expected a whole number, not text (at assignments[0].amount)"]}


def test_errors_never_repeat_a_value(office: Office, acme: Api) -> None:
    for wrong in ({"username": "acme", "password": ["hunter2"]}, {"username": {"hunter2": 1}, "password": "x"}):
        assert "hunter2" not in office.anybody.post("/user/obtain_token", wrong).text
    assert "hunter2" not in acme.post("/user/change-password", {"password": "hunter2"}).text


def test_large_bodies_are_refused_before_they_are_read_to_the_end(office: Office, acme: Api) -> None:
    big = b'{"name": "' + b"a" * office.settings.max_message + b'"}'
    assert acme.refused("post", "/registered_users/add", content=big, status=413).keys() == {"detail"}
    # Also where no body is read.
    assert acme.get("/info", content=big).status_code == 413


def test_the_scheme_s_case_does_not_matter(office: Office, acme: Api) -> None:
    for scheme in ("token", "Token", "TOKEN"):
        headers = {"authorization": f"{scheme} {acme.token}"}
        assert office.anybody.get("/assets", headers=headers).status_code == 200
    for scheme in ("Bearer", "Basic", "tokens", ""):
        headers = {"authorization": f"{scheme} {acme.token}"}
        assert office.anybody.get("/assets", headers=headers).status_code == 401


def test_a12_a_header_that_comes_twice_is_none(office: Office, acme: Api) -> None:
    """Two readers of a request may read one each: who is let in by a proxy is not who it is here."""
    rival = office.issuer("rival")
    mine, theirs = f"token {acme.token}", f"token {rival.token}"

    def get(*headers: tuple[str, str]) -> httpx.Response:
        answer: httpx.Response = office.run(lambda client: client.get("/api/assets", headers=list(headers)))
        return answer

    for values in ((mine, theirs), (mine, mine), (mine, ""), ("", mine)):
        assert get(*(("authorization", value) for value in values)).status_code == 401, values
    answer = get(("authorization", mine), ("idempotency-key", "a"), ("idempotency-key", "b"))
    assert (answer.status_code, answer.json().keys()) == (400, {"Idempotency-Key"})


def test_answers_are_not_cached_and_not_sniffed(office: Office, acme: Api) -> None:
    for answer in (acme.get("/assets"), office.anybody.get("/assets"), acme.get("/nothing"), office.anybody.get("/")):
        assert answer.headers["cache-control"] == "no-store"
        assert answer.headers["x-content-type-options"] == "nosniff"


def test_i07_paging_is_bounded(office: Office, acme: Api) -> None:
    for _ in range(3):
        acme.ok("post", "/categories/add", {"name": f"C{_}"}, status=201)
    events = acme.ok("get", "/events")
    assert [event["detail"]["category"] for event in events] == [3, 2, 1]
    assert acme.ok("get", "/events", params={"count": 1, "before": events[0]["id"]}) == [events[1]]
    # In the body of a GET as well, as one client sends it; the query goes first.
    assert acme.ok("get", "/events", {"count": 1, "unknown": 1}) == events[:1]
    assert acme.ok("get", "/events", {"count": 1}, params={"count": 2}) == events[:2]
    assert acme.ok("get", "/events", content=b"not json") == events
    assert acme.ok("get", "/events", {"count": None}) == events
    for wrong in ("1000000000", "-1", "1e1", "1.0", "x", "", "1;DROP TABLE principals", "9" * 30, "\0", "٣"):
        assert acme.refused("get", "/events", params={"count": wrong}).keys() == {"count"}
    values: list[Any] = [10**9, 1.0, "1", -1, [], True]
    for value in values:
        assert acme.refused("get", "/events", {"count": value}).keys() == {"count"}


# --- what an operation may do --------------------------------------------------------------------------------------


class Odd(Exception):
    pass


def with_endpoint(office: Office, function: Any, **more: Any) -> Api:
    """Somebody in front of an API of one endpoint, ``POST /probe``."""
    endpoint = Endpoint(("POST",), "/probe", function, dict[str, int], **{"who": Who.ANYBODY, **more})
    office.app = Starlette(routes=IssuerApi(office.desk, office.hub, [endpoint]).routes())
    return office.anybody


def write_a_row(call: Call) -> None:
    row = {"name": "N", "issuer_id": 1, "created_at": 0}
    call.db.execute(asset_schema.categories.insert().values(row))


@pytest.mark.parametrize(
    ("raised", "status", "body"),
    [
        (OperationRefused("no"), 400, {"Error": "no"}),
        (NotEmpty("full"), 409, {"detail": "full"}),
        (StoreUnavailable("disk"), 503, {"detail": "disk"}),
        (Odd("the secret cause"), 500, None),
        (AssertionError("the secret cause"), 500, None),
    ],
)
def test_whoever_is_refused_has_written_nothing(
    office: Office, acme: Api, raised: Exception, status: int, body: dict[str, str] | None
) -> None:
    def function(call: Call, _body: None) -> None:
        write_a_row(call)
        raise raised

    answer = with_endpoint(office, function, runs=Runs.WRITE).post("/probe")
    assert answer.status_code == status
    assert "secret" not in answer.text
    assert body is None or answer.json() == body
    with office.transaction() as db:
        assert db.execute(asset_schema.categories.select()).all() == []


def test_e14_what_a_statement_was_given_is_in_no_log(
    office: Office, acme: Api, caplog: pytest.LogCaptureFixture
) -> None:
    """A fault is logged with its cause, and the error of a failed statement used to quote all that it was given:
    wallets' cache passwords, encrypted keys, people's names."""
    row = {"name": "N", "issuer_id": acme.id, "created_at": 0, "description": "a secret of somebody's"}

    def function(call: Call, _body: None) -> None:
        for _ in range(2):
            call.db.execute(asset_schema.categories.insert().values(row))

    assert with_endpoint(office, function, runs=Runs.WRITE).post("/probe").status_code == 500
    assert "IntegrityError" in caplog.text
    assert "a secret" not in caplog.text


def test_an_answer_leaves_after_the_commit(office: Office, acme: Api) -> None:
    def function(call: Call, _body: None) -> dict[str, int]:
        write_a_row(call)
        return {"a": 1}

    assert with_endpoint(office, function, runs=Runs.WRITE).ok("post", "/probe") == {"a": 1}
    with office.transaction() as db:
        assert len(db.execute(asset_schema.categories.select()).all()) == 1


def test_subscribers_hear_of_it_after_the_commit_and_of_nothing_that_was_refused(
    office: Office, acme: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    heard: list[tuple[str, int]] = []

    async def publish(publications: Sequence[Publication]) -> None:
        with office.store.snapshot() as db:
            written = len(db.execute(asset_schema.categories.select()).all())
        heard.extend((publication.topic, written) for publication in publications)

    def function(call: Call, body: dict[str, bool]) -> None:
        call.publications.append(Publication("topic", {}))
        if body["refuse"]:
            raise OperationRefused("no")
        write_a_row(call)

    monkeypatch.setattr(office.hub, "publish", publish)
    probe = with_endpoint(office, function, body=dict[str, bool], runs=Runs.WRITE)
    probe.refused("post", "/probe", {"refuse": True})
    assert heard == []
    probe.ok("post", "/probe", {"refuse": False})
    assert heard == [("topic", 1)]


@pytest.mark.parametrize(
    ("runs", "prefix"),
    [
        (Runs.READ, "amp0-register"),
        (Runs.WRITE, "amp0-write"),
        (Runs.OUTSIDE, "amp0-outside"),
        (Runs.SLOW, "amp0-cosign"),
    ],
)
def test_operations_run_in_threads_of_their_kind(office: Office, runs: Runs, prefix: str) -> None:
    seen: list[tuple[str, bool]] = []

    def function(call: Call, _body: None) -> dict[str, int]:
        seen.append((threading.current_thread().name, call.connection is None))
        return {}

    with_endpoint(office, function, runs=runs).ok("post", "/probe")
    ((name, outside),) = seen
    assert name.startswith(prefix)
    assert outside == (runs in (Runs.OUTSIDE, Runs.SLOW))


def test_j11_wallets_do_not_wait_behind_what_issuers_read(office: Office) -> None:
    """A tool that asks for a large register again and again kept all threads that list wallets' coins."""
    reading, answered = threading.Event(), threading.Event()

    def function(_call: Call, _body: None) -> dict[str, int]:
        reading.set()
        assert answered.wait(PATIENCE)
        return {}

    with_endpoint(office, function)

    async def play(client: httpx.AsyncClient) -> list[int]:
        asked = [asyncio.create_task(client.post("/api/probe")) for _ in range(3 * office.settings.workers)]
        assert await asyncio.to_thread(reading.wait, PATIENCE)
        await office.hub.workers.ordinary(answered.set)
        return [answer.status_code for answer in await asyncio.gather(*asked)]

    assert set(office.run(play)) == {200}


def test_j11_a_list_of_addresses_is_no_longer_than_others_may_wait(office: Office, acme: Api) -> None:
    """A thousand of them kept everybody else from writing, and so the cosigner from signing, for two seconds."""
    path = f"/assets/{office.asset(acme).uuid}/treasury-addresses"
    addresses = [str(confidential(b"\x00\x14" + i.to_bytes(20, "big"))) for i in range(101)]
    for method, action in (("post", "add"), ("delete", "delete")):
        assert acme.refused(method, f"{path}/{action}", addresses).keys() == {"non_field_errors"}
        assert len(acme.ok(method, f"{path}/{action}", addresses[:100])) == (100 if action == "add" else 0)


def test_j11_one_issuer_s_waiting_leaves_others_their_turn(office: Office, acme: Api) -> None:
    """A confirm with a txid that nobody knows waits for seconds. Eight of them, over and over, and no other issuer
    could confirm anything, or log in."""
    rival, mary = office.issuer("rival"), office.manager(acme, "mary")
    waiting, go_on = threading.Semaphore(0), threading.Event()

    def function(call: Call, _body: None) -> dict[str, int]:
        if call.who.issuer_id == acme.id:
            waiting.release()
            assert go_on.wait(PATIENCE)
        return {}

    with_endpoint(office, function, runs=Runs.OUTSIDE, who=Who.TEAM)

    async def play(client: httpx.AsyncClient) -> None:
        async def post(who: Api) -> httpx.Response:
            return await client.post("/api/probe", headers={"authorization": f"token {who.token}"})

        held = [asyncio.create_task(post(who)) for who in (acme, mary, acme, mary, acme)]
        for _ in held:
            assert await asyncio.to_thread(waiting.acquire, timeout=PATIENCE)
        for who in (acme, mary):
            refused = await post(who)
            assert (refused.status_code, refused.headers["retry-after"]) == (503, "1")
        assert (await post(rival)).status_code == 200
        go_on.set()
        assert {answer.status_code for answer in await asyncio.gather(*held)} == {200}
        assert (await post(acme)).status_code == 200

    office.run(play)


@pytest.mark.parametrize("count", [0, 1, 1999, 2000, 2001, 4000, 4001])
def test_a_long_list_is_the_same_in_pieces(office: Office, count: int) -> None:
    rows = [{"number": i, "text": "[,]"} for i in range(count)]
    answer = with_endpoint(office, lambda _call, _body: rows).post("/probe")
    assert answer.content == msgspec.json.encode(rows)
    assert answer.headers["content-length"] == str(len(answer.content))


def test_a_long_answer_leaves_in_pieces(office: Office) -> None:
    """Handed to the socket in one go, the register of a hundred thousand would keep the event loop from all others."""
    sent: list[dict[str, Any]] = []
    text = "x" * 1_000_000

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: MutableMapping[str, Any]) -> None:
        sent.append(dict(message))

    with_endpoint(office, lambda _call, _body: text)
    scope: dict[str, Any] = {"type": "http", "method": "POST", "path": "/api/probe", "query_string": b""}
    scope |= {"headers": [(b"host", b"localhost")], "client": None, "scheme": "http", "root_path": ""}
    office._runner.run(office.app(scope, receive, send))
    start, *pieces = sent
    assert (b"content-length", str(len(text) + 2).encode()) in start["headers"]
    assert b"".join(piece["body"] for piece in pieces) == msgspec.json.encode(text)
    assert [piece["more_body"] for piece in pieces] == [True] * (len(pieces) - 1) + [False]
    assert max(len(piece["body"]) for piece in pieces) <= 256 * 1024


def test_those_who_come_too_often_are_told_for_how_long(office: Office) -> None:
    many = TooManyAttempts("wait")
    many.seconds = 17

    raised: Exception

    def function(_call: Call, _body: None) -> None:
        raise raised

    for raised, status, seconds in (  # noqa: B007 (the function raises it)
        (many, 429, "17"),
        (ServerBusy("later"), 503, "1"),
    ):
        answer = with_endpoint(office, function, runs=Runs.OUTSIDE).post("/probe")
        assert (answer.status_code, answer.headers["retry-after"]) == (status, seconds)
        assert answer.json().keys() == {"detail"}


def test_a_server_that_stops_takes_nothing_more(office: Office, acme: Api) -> None:
    office.hub.stopping = True
    assert acme.get("/assets").status_code == 503


def test_the_idempotency_key_and_the_url_reach_the_operation(office: Office) -> None:
    seen: list[tuple[str | None, str, str]] = []

    def function(call: Call, _body: None) -> None:
        seen.append((call.idempotency_key, call.api_url, call.peer))

    probe = with_endpoint(office, function)
    probe.ok("post", "/probe", headers={"idempotency-key": "abc"})
    probe.ok("post", "/probe")
    assert seen == [("abc", "http://localhost/api", "192.0.2.7"), (None, "http://localhost/api", "192.0.2.7")]
    for wrong in ("", "a b", "x" * 129):
        assert probe.refused("post", "/probe", headers={"idempotency-key": wrong}).keys() == {"Idempotency-Key"}


def test_the_url_that_issuers_are_told_can_be_set() -> None:
    office = Office(settings=Settings(public_api_url="https://amp.example.com/api/"))
    seen: list[str] = []
    with_endpoint(office, lambda call, _body: seen.append(call.api_url)).ok("post", "/probe")
    assert seen == ["https://amp.example.com/api"]
    office.close()


def test_info_and_changelog_need_no_login(office: Office) -> None:
    info = office.anybody.ok("get", "/info")
    assert info.keys() == {"version", "notes"}
    assert info["version"] == "0.1.13"
    assert re.fullmatch(r"amp0, an open AMP0 server; signs authorization requests as 2\w{33,34}", info["notes"])
    changes = office.anybody.ok("get", "/changelog")
    assert changes
    assert msgspec.convert(changes, dict[str, str])
