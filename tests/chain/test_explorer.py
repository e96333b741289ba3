"""Tokens: asked for once, renewed when refused, and never shown."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

import pytest

from amp0.chain.explorer import Explorer, TokenProvider
from amp0.chain.http import BrokenAnswer, Response
from amp0.errors import BackendUnavailable, ConfigError, ExplorerRefused

PROVIDER = TokenProvider.BLOCKSTREAM("https://login.example/token", "venue & co", "hush=hush")


class Issuer:
    """Gives tokens t1, t2, … and keeps what it was sent."""

    def __init__(self, *answers: Response | Exception) -> None:
        self.answers = list(answers)
        self.forms: list[bytes] = []
        self.closed = 0

    async def request(self, method: str, path: str, headers: Mapping[str, str], body: bytes, limit: int) -> Response:
        assert (method, path) == ("POST", "")
        assert headers == {"content-type": "application/x-www-form-urlencoded"}
        self.forms.append(body)
        answer = self.answers.pop(0) if self.answers else None
        if isinstance(answer, Exception):
            raise answer
        return answer or Response(200, {}, b'{"access_token": "t%d", "expires_in": 300}' % len(self.forms))

    async def aclose(self) -> None:
        self.closed += 1


class Guarded:
    """Answers those who bring the right token."""

    def __init__(self, token: str) -> None:
        self.token = token

    async def request(self, method: str, path: str, headers: Mapping[str, str], body: bytes, limit: int) -> Response:
        if headers["authorization"] != f"Bearer {self.token}":
            return Response(401, {}, b"who are you")
        return Response(200, {}, b"11" * 32)

    async def aclose(self) -> None:
        pass


def explorer_of(guarded: Guarded, issuer: Issuer | None) -> Explorer:
    def connect(url: str) -> Issuer:
        assert url == "https://login.example/token"
        assert issuer is not None
        return issuer

    return Explorer("http://127.0.0.1:1", guarded, tokens=PROVIDER, token_transport=None if issuer is None else connect)


def test_asked_once_and_renewed() -> None:
    issuer, guarded = Issuer(), Guarded("t1")
    explorer = explorer_of(guarded, issuer)

    async def main() -> None:
        await explorer.tip_hash()
        await explorer.tip_hash()
        assert len(issuer.forms) == 1
        guarded.token = "t2"
        await explorer.tip_hash()
        assert len(issuer.forms) == 2
        guarded.token = "another"
        with pytest.raises(ExplorerRefused, match="401"):
            await explorer.tip_hash()

    asyncio.run(main())
    assert issuer.closed == len(issuer.forms) == 3
    assert issuer.forms[0] == (
        b"grant_type=client_credentials&client_id=venue+%26+co&client_secret=hush%3Dhush&scope=openid"
    )


@pytest.mark.parametrize(
    "answer",
    [
        Response(403, {}, b"hush=hush is wrong"),
        Response(200, {}, b"{}"),
        Response(200, {}, b"\xff"),
        ConnectionResetError("gone"),
        BrokenAnswer("junk"),
    ],
)
def test_no_token(answer: Response | Exception) -> None:
    with pytest.raises(BackendUnavailable) as caught:
        asyncio.run(explorer_of(Guarded("t1"), Issuer(answer)).tip_hash())
    assert "login.example" in str(caught.value)
    assert "hush" not in str(caught.value)


def test_secrets_are_not_shown() -> None:
    assert "hush" not in repr(PROVIDER)
    with pytest.raises(ConfigError):
        asyncio.run(explorer_of(Guarded("t1"), None).tip_hash())
