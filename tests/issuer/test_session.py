"""Tokens, repetitions and refusals, against a server that is a function."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from amp0 import ConnectionFailed, ConnectionTimeout, InvalidInput, IssuerRefused, LoginFailed, ServerBusy
from amp0.errors import RemoteProtocolError
from amp0.issuer import Issue, IssuerClient
from amp0.issuer.session import api_url
from amp0.protocol.issuer import Info
from tests.issuer.loop import in_a_loop

Answer = Callable[[httpx.Request], httpx.Response]
USER: dict[str, Any] = {"id": 7, "GAID": None, "is_company": False, "name": "Alice", "categories": [], "creator": 1}


class Server:
    """Answers logins itself, anything else from a list; keeps what it was asked."""

    def __init__(self, *answers: httpx.Response | Exception) -> None:
        self.answers = list(answers)
        self.asked: list[httpx.Request] = []
        self.logins = 0

    def __call__(self, request: httpx.Request) -> httpx.Response:
        if request.url.path == "/api/user/obtain_token":
            self.logins += 1
            assert "authorization" not in request.headers
            right = json.loads(request.content) == {"username": "bonds", "password": "correct horse"}
            if not right:
                return httpx.Response(400, json={"non_field_errors": ["Unable to log in with provided credentials."]})
            return httpx.Response(200, json={"token": f"{self.logins:040x}"})
        self.asked.append(request)
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    def client(self, password: str = "correct horse", **options: Any) -> IssuerClient:
        return IssuerClient(
            "https://issuer.example/api", "bonds", password, transport=httpx.MockTransport(self), **options
        )

    @property
    def tokens(self) -> list[str]:
        return [request.headers["authorization"] for request in self.asked]


def reply(value: Any, status: int = 200, **headers: str) -> httpx.Response:
    return httpx.Response(status, json=value, headers={name.replace("_", "-"): text for name, text in headers.items()})


@in_a_loop
async def test_one_login_serves_many_calls() -> None:
    server = Server(reply([]), reply([USER]))
    async with server.client() as client:
        assert await client.assets() == []
        (user,) = await client.users()
    assert (user.id, user.gaid, user.name) == (7, None, "Alice")
    assert server.logins == 1
    assert server.tokens == [f"token {1:040x}"] * 2


@in_a_loop
async def test_a_token_that_died_is_replaced_once() -> None:
    server = Server(reply({"detail": "Invalid token."}, 401), reply([]))
    async with server.client(token="ab" * 20) as client:
        assert await client.assets() == []
    assert server.tokens == ["token " + "ab" * 20, f"token {1:040x}"]
    server = Server(reply({"detail": "Invalid token."}, 401), reply({"detail": "Invalid token."}, 401))
    async with server.client() as client:
        with pytest.raises(LoginFailed, match="Invalid token"):
            await client.assets()
    assert len(server.asked) == 2


@in_a_loop
async def test_a_wrong_password_is_a_failed_login_and_is_not_repeated_in_its_text() -> None:
    async with Server().client("wrong horse") as client:
        with pytest.raises(LoginFailed, match="Unable to log in") as failed:
            await client.assets()
        assert "wrong horse" not in str(failed.value) + repr(client)


@in_a_loop
async def test_a_server_without_the_api_is_said_to_be_none() -> None:
    """A chain's URL in place of the server's was answered with "Not Found", and nothing else."""
    nothing = httpx.MockTransport(lambda _request: httpx.Response(404, text="Not Found"))
    async with IssuerClient("https://issuer.example/api", "bonds", "x", transport=nothing) as client:
        with pytest.raises(IssuerRefused, match=r"no issuer API at https://issuer\.example/api") as refused:
            await client.assets()
    assert refused.value.status == 404


@in_a_loop
async def test_who_is_told_to_try_again_is_told_once() -> None:
    """The fee wallet of the server was empty: "Try again later; try again"."""
    for text, told in (("It is empty. Try again later", "Try again later"), ("Full", "Full; try again")):
        busy = Server(reply({"Error": text}, 503))
        async with busy.client() as client:
            with pytest.raises(ServerBusy) as error:
                await client.delete_category(1)
            assert str(error.value).endswith(told)


@in_a_loop
async def test_a_server_that_is_away_is_named() -> None:
    def away(_request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("refused")

    async with IssuerClient("https://issuer.example/api", "bonds", "x", transport=httpx.MockTransport(away)) as client:
        with pytest.raises(ConnectionFailed, match=r"at https://issuer\.example/api cannot be reached .*that it runs"):
            await client.token()


@in_a_loop
async def test_a_dead_token_without_a_password_is_a_failed_login() -> None:
    server = Server(reply({"detail": "Invalid token."}, 401))
    transport = httpx.MockTransport(server)
    async with IssuerClient("https://issuer.example/api", token="cd" * 20, transport=transport) as client:
        with pytest.raises(LoginFailed, match="no password"):
            await client.assets()
    with pytest.raises(InvalidInput):
        IssuerClient("https://issuer.example")


@pytest.mark.parametrize(
    ("body", "text", "fields"),
    [
        ({"detail": "Not found."}, "Not found.", {}),
        ({"Error": "the asset is already registered"}, "the asset is already registered", {}),
        ({"name": ["Too short.", "Not ASCII."]}, "name: Too short. Not ASCII.", {"name": ("Too short.", "Not ASCII.")}),
        ({"name": "Too short."}, "name: Too short.", {"name": ("Too short.",)}),
        ({"non_field_errors": ["No."]}, "No.", {"non_field_errors": ("No.",)}),
        (["strange"], "['strange']", {}),
    ],
)
@in_a_loop
async def test_the_shapes_of_a_refusal(body: Any, text: str, fields: dict[str, Any]) -> None:
    async with Server(reply(body, 400)).client() as client:
        with pytest.raises(IssuerRefused) as refused:
            await client.add_user("x")
    assert (str(refused.value), refused.value.fields) == (text, fields)
    assert (refused.value.status, refused.value.endpoint) == (400, "POST /registered_users/add")


@in_a_loop
async def test_text_of_the_other_side_cannot_steer_a_terminal() -> None:
    async with Server(reply({"Error": "no\x1b[2J\u202e" + "x" * 5000}, 400)).client() as client:
        with pytest.raises(IssuerRefused) as refused:
            await client.lock_asset("0" * 36)
    assert str(refused.value).isprintable()
    assert len(str(refused.value)) <= 1000


@in_a_loop
async def test_what_changes_nothing_is_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    waits = waited(monkeypatch)
    server = Server(httpx.ConnectError("away"), reply({}, 503, retry_after="3"), reply([]))
    async with server.client() as client:
        assert await client.assets() == []
    assert waits == [0.5, 3.0]
    server = Server(*[httpx.ConnectError("away")] * 3)
    async with server.client() as client:
        with pytest.raises(ConnectionFailed, match="away"):
            await client.assets()


@in_a_loop
async def test_what_changes_something_is_not_asked_again_blindly(monkeypatch: pytest.MonkeyPatch) -> None:
    waited(monkeypatch)
    for answer in (httpx.ReadTimeout("late"), httpx.ReadError("cut"), reply({}, 503)):
        server = Server(answer)
        async with server.client() as client:
            with pytest.raises(ConnectionFailed):
                await client.create_distribution("0" * 36)
        assert len(server.asked) == 1
    with pytest.raises(ConnectionTimeout):
        async with Server(httpx.ReadTimeout("late")).client() as client:
            await client.add_user("x")


@in_a_loop
async def test_too_many_requests_changed_nothing_and_are_repeated_when_told(monkeypatch: pytest.MonkeyPatch) -> None:
    waits = waited(monkeypatch)
    busy = {"detail": "Request was throttled."}
    server = Server(reply(busy, 429, retry_after="7"), reply(USER, 201))
    async with server.client() as client:
        assert (await client.add_user("Alice")).id == 7
    assert waits == [7.0]
    server = Server(reply(busy, 429, retry_after="3600"))
    async with server.client() as client:
        with pytest.raises(ServerBusy, match="3600 s") as told:
            await client.add_user("Alice")
    assert told.value.retry_after == 3600.0


@in_a_loop
async def test_an_issuance_is_repeated_under_one_key(monkeypatch: pytest.MonkeyPatch) -> None:
    waited(monkeypatch)
    request = Issue(name="Bonds", amount=5, destination_address="x", domain="a.example", ticker="BND", pubkey="02")
    server = Server(httpx.ReadError("cut"), reply({"Error": "no"}, 400))
    async with server.client() as client:
        with pytest.raises(IssuerRefused):
            await client.issue(request)
        keys = {sent.headers["idempotency-key"] for sent in server.asked}
        assert len(keys) == 1
        assert len(server.asked) == 2
        server.answers.append(reply({"Error": "no"}, 400))
        with pytest.raises(IssuerRefused):
            await client.issue(request, idempotency_key="mine")
        assert server.asked[-1].headers["idempotency-key"] == "mine"
        assert server.asked[-1].headers["idempotency-key"] not in keys


@in_a_loop
async def test_a_new_password_and_a_fresh_token_are_used_from_then_on() -> None:
    changed = {"username": "bonds", "password": "better horse", "token": "ee" * 20}
    server = Server(reply(changed), reply([]), reply({"token": "ff" * 20}), reply([]))
    async with server.client() as client:
        await client.change_password("better horse")
        await client.assets()
        assert await client.refresh_token() == "ff" * 20
        await client.assets()
    assert server.tokens[1::2] == ["token " + "ee" * 20, "token " + "ff" * 20]


@pytest.mark.parametrize("body", [b"<html>", b"{}", b'[{"id": "seven"}]', b"\xff"])
@in_a_loop
async def test_an_answer_out_of_shape(body: bytes) -> None:
    async with Server(httpx.Response(200, content=body)).client() as client:
        with pytest.raises(RemoteProtocolError, match="GET /registered_users"):
            await client.users()


@pytest.mark.parametrize("status", [301, 302, 307, 308])
@in_a_loop
async def test_a_redirection_is_not_followed_and_is_no_yes(status: int) -> None:
    server = Server(httpx.Response(status, headers={"location": "https://elsewhere.example/api"}))
    async with server.client() as client:
        with pytest.raises(IssuerRefused, match="redirection"):
            await client.delete_asset("0" * 36)
    assert len(server.asked) == 1


@in_a_loop
async def test_what_is_handed_in_stays_one_part_of_the_path() -> None:
    server = Server(reply({"detail": "Not found."}, 404))
    async with server.client() as client:
        with pytest.raises(IssuerRefused):
            await client.asset("../managers?x=/#")
        assert server.asked[0].url.raw_path == b"/api/assets/..%2Fmanagers%3Fx%3D%2F%23"
        for nothing in ("", ".", ".."):
            with pytest.raises(InvalidInput):
                await client.asset(nothing)


@in_a_loop
async def test_no_login_where_none_is_needed() -> None:
    server = Server(reply({"version": "0.1.13"}))
    async with server.client() as client:
        assert await client.info() == Info(version="0.1.13")
    assert server.logins == 0


@in_a_loop
async def test_parameters_of_a_list_go_into_the_query() -> None:
    server = Server(reply([]), reply([]))
    async with server.client() as client:
        await client.activities("u" * 36, start=5, count=10, sortorder="desc")
        await client.assignments("u" * 36, distributed=False)
    assert [request.url.query for request in server.asked] == [b"start=5&count=10&sortorder=desc", b"distributed=false"]


@in_a_loop
async def test_a_user_summary_is_a_list_whatever_comes() -> None:
    record = {
        "asset_uuid": "0b1e1ad1-0000-4000-8000-000000000000", "asset_id": "11" * 32, "assignments": [],
        "assignments_sum": 0, "distributions": [], "distributions_sum": 0, "balance": 3,
    }  # fmt: skip
    server = Server(reply(record), reply([record, record]))
    async with server.client() as client:
        assert [row.balance for row in await client.user_summary(7)] == [3]
        assert len(await client.user_summary(7)) == 2


def test_urls() -> None:
    assert api_url("https://issuer.example/") == "https://issuer.example/api"
    assert api_url("https://issuer.example/amp/api/") == "https://issuer.example/amp/api"
    assert api_url("http://127.0.0.1:9908") == "http://127.0.0.1:9908/api"
    for wrong in (
        "http://issuer.example",
        "ftp://issuer.example",
        "https://a:b@issuer.example",
        "nonsense",
        "https://",
    ):
        with pytest.raises(InvalidInput):
            api_url(wrong)
    assert api_url("http://issuer.example", allow_insecure=True) == "http://issuer.example/api"


def waited(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Nobody waits; for how long is noted."""
    waits: list[float] = []

    async def sleep(seconds: float) -> None:
        waits.append(seconds)

    monkeypatch.setattr("amp0.issuer.session.asyncio.sleep", sleep)
    return waits
