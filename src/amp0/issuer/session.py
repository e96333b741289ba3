"""One login at the issuer API: tokens, requests, and what the answers mean.

A token is obtained when the first call needs one, and once more when the server does not know it any longer. What
changes nothing is asked again when the connection fails; what changes something is not, unless the server knows it
again by itself: then nobody has to guess whether it happened.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import quote, urlsplit

import msgspec

from amp0.errors import (
    CallFailed,
    ConnectionFailed,
    ConnectionTimeout,
    InvalidInput,
    IssuerRefused,
    LoginFailed,
    RemoteProtocolError,
    ServerBusy,
)
from amp0.network import require_secure_url
from amp0.protocol.issuer import Credentials, Token

if TYPE_CHECKING:
    import ssl

    import httpx

T = TypeVar("T")

API_PATH = "/api"
MAX_ANSWER_BYTES = 256 * 1024 * 1024
"""Largest answer that is read: a million owners of an asset fit."""
TIMEOUT = 120.0
"""Seconds without a byte before a request is given up; a confirmation of a large distribution is checked for long."""
TRIES = 3
MOST_PATIENCE = 30.0
"""Longest wait, in seconds, that the server may ask for before the caller is told instead."""
_MOST_TEXT = 1000


def api_url(url: str, *, allow_insecure: bool = False) -> str:
    """The base URL of an issuer API, without a trailing slash; a server's URL without a path means its ``/api``.

    Raises :class:`InvalidInput` for other shapes, and for ``http://`` to another machine.
    """
    try:
        parts = urlsplit(url)
        sound = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        sound = False
    if not sound or parts.query or parts.fragment or parts.username is not None:
        raise InvalidInput(f"{url!r} is not the address of an issuer API; give one like https://host/api")
    require_secure_url(url, allow_insecure=allow_insecure)
    return url.rstrip("/") + ("" if parts.path.strip("/") else API_PATH)


class ApiSession:
    """Sends requests with a token. ``transport`` carries them in place of the network's sockets."""

    def __init__(
        self,
        url: str,
        username: str,
        password: str,
        *,
        token: str | None,
        timeout: float,
        cert_roots: Sequence[str],
        allow_insecure: bool,
        transport: httpx.AsyncBaseTransport | None,
    ) -> None:
        # Not imported before it is needed: it takes longer than everything else here.
        import httpx

        if not username and not token:
            raise InvalidInput("the issuer API needs a user name and a password, or a token")
        self.url = api_url(url, allow_insecure=allow_insecure)
        self._username = username
        self._password = password
        self._token = token or ""
        self._lock = asyncio.Lock()
        verify: ssl.SSLContext | bool = True
        if cert_roots:
            import ssl

            verify = ssl.create_default_context(cadata="\n".join(cert_roots))
        self._http = httpx.AsyncClient(
            timeout=timeout,
            verify=verify,
            transport=transport,
            trust_env=False,
            headers={"accept": "application/json", "user-agent": "amp0"},
        )

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    # -- the login ---------------------------------------------------------------------------

    async def token(self, stale: str = "") -> str:
        """The token, obtained if there is none or if it is the ``stale`` one."""
        async with self._lock:
            if not self._token or self._token == stale:
                self._token = await self._log_in()
            return self._token

    def adopt(self, *, token: str, password: str | None = None) -> None:
        """Use another token from here on, and another password for the next."""
        self._token = token
        if password is not None:
            self._password = password

    async def _log_in(self) -> str:
        if not self._username or not self._password:
            raise LoginFailed("the token is not valid, and there is no password to obtain another", name="token")
        body = Credentials(username=self._username, password=self._password)
        try:
            answer = await self.ask("POST", "/user/obtain_token", Token, body, login=False, repeatable=True)
        except IssuerRefused as refused:
            if refused.status in (400, 401, 403):
                raise LoginFailed(refused.text, name=refused.name, procedure=refused.endpoint) from None
            if refused.status == 404:
                text = f"there is no issuer API at {self.url}; give the URL of an AMP0 server, or of its /api"
                raise IssuerRefused(text, status=404, endpoint=refused.endpoint) from None
            raise
        return answer.token

    # -- requests ----------------------------------------------------------------------------

    async def ask(
        self,
        method: str,
        path: str,
        answer: type[T],
        body: object = msgspec.UNSET,
        *,
        query: Mapping[str, str | int] | None = None,
        headers: Mapping[str, str] | None = None,
        login: bool = True,
        repeatable: bool = False,
    ) -> T:
        """The answer to a request, decoded; ``path`` is below the API's base, its parts quoted already.

        ``repeatable`` requests are sent again when the connection fails. Raises :class:`IssuerRefused`,
        :class:`LoginFailed`, :class:`ServerBusy`, :class:`ConnectionFailed`, :class:`RemoteProtocolError`.
        """
        received = await self._answer(method, path, body, query, headers, login, repeatable)
        try:
            return msgspec.json.decode(received, type=answer)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            text = f"the issuer API's answer to {method} {path} is out of shape: {error}"
            raise RemoteProtocolError(text) from None

    async def tell(self, method: str, path: str, body: object = msgspec.UNSET, *, repeatable: bool = False) -> None:
        """The same where nothing in the answer matters but that there is one."""
        await self._answer(method, path, body, None, None, True, repeatable)

    async def _answer(
        self,
        method: str,
        path: str,
        body: object,
        query: Mapping[str, str | int] | None,
        headers: Mapping[str, str] | None,
        login: bool,
        repeatable: bool,
    ) -> bytes:
        content = None if body is msgspec.UNSET else msgspec.json.encode(body)
        given = {**(headers or {})}
        if content is not None:
            given["content-type"] = "application/json"
        tried, renewed = 0, False
        while True:
            tried += 1
            token = await self.token() if login else ""
            if token:
                given["authorization"] = f"token {token}"
            try:
                status, received, wait = await self._send(method, path, content, query, given)
                if status == 401 and login and not renewed:
                    renewed, tried = True, tried - 1
                    await self.token(stale=token)
                    continue
                if 200 <= status < 300:
                    return received
                raise _refusal(status, received, wait, f"{method} {path}")
            except ConnectionFailed as error:
                # Who was told "too many requests" has changed nothing yet.
                again = repeatable or (isinstance(error, ServerBusy) and error.too_often)
                pause = getattr(error, "retry_after", None) or 0.25 * 2**tried
                if not again or tried >= TRIES or pause > MOST_PATIENCE:
                    raise
            await asyncio.sleep(pause)

    async def _send(
        self,
        method: str,
        path: str,
        content: bytes | None,
        query: Mapping[str, str | int] | None,
        headers: Mapping[str, str],
    ) -> tuple[int, bytes, float | None]:
        """Status, bounded body and Retry-After of one answer."""
        import httpx

        try:
            async with self._http.stream(
                method, self.url + path, content=content, params=query, headers=headers
            ) as response:
                received = bytearray()
                async for chunk in response.aiter_bytes():
                    received += chunk
                    if len(received) > MAX_ANSWER_BYTES:
                        raise RemoteProtocolError(f"the issuer API sends more than {MAX_ANSWER_BYTES} bytes")
                return response.status_code, bytes(received), _seconds(response.headers.get("retry-after"))
        except httpx.TimeoutException:
            raise ConnectionTimeout(f"the issuer API at {self.url} does not answer in time") from None
        except httpx.HTTPError as error:
            reason = str(error) or type(error).__name__
            raise ConnectionFailed(
                f"the issuer API at {self.url} cannot be reached ({reason}); check the URL, and that it runs"
            ) from None


class Calls:
    """A group of calls over one session."""

    _api: ApiSession

    async def _get(self, path: str, answer: type[T], **query: str | int | None) -> T:
        """Something that changes nothing; parameters that are None are left out."""
        given = {name: value for name, value in query.items() if value is not None}
        return await self._api.ask("GET", path, answer, query=given or None, repeatable=True)


def segment(text: str | int) -> str:
    """Something handed in as one part of a path: nothing in it may begin another."""
    part = quote(str(text), safe="")
    if part in ("", ".", ".."):
        raise InvalidInput(f"{text!r} names nothing at the issuer API")
    return part


def _seconds(text: str | None) -> float | None:
    return float(text) if text and text.isascii() and text.isdigit() and len(text) < 9 else None


def _refusal(status: int, received: bytes, wait: float | None, endpoint: str) -> CallFailed | ConnectionFailed:
    """The error that an answer stands for; its body has one of three shapes, or is some proxy's."""
    if status < 400:
        # Following it would send the token, and perhaps the request as another one, to wherever it says.
        text = f"the issuer API answers {status}, a redirection; give the URL that it leads to"
        return IssuerRefused(text, status=status, endpoint=endpoint)
    text, fields = _texts(received)
    if status in (429, 502, 503, 504):
        later = f"; try again in {wait:.0f} s" if wait else "" if "try again" in text.lower() else "; try again"
        return ServerBusy(
            f"the issuer API answers {status}: {text or 'no text'}{later}", retry_after=wait, too_often=status == 429
        )
    if status == 401:
        return LoginFailed(text or "the issuer API does not accept this login", name="401", procedure=endpoint)
    return IssuerRefused(text or f"the issuer API answers {status}", status=status, endpoint=endpoint, fields=fields)


def _texts(received: bytes) -> tuple[str, dict[str, list[str]]]:
    """One sentence, and the texts by field where the body names fields."""
    try:
        body = msgspec.json.decode(received)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return _plain(received.decode("utf-8", "replace")), {}
    if not isinstance(body, dict):
        return _plain(str(body)), {}
    for key in ("detail", "Error", "error"):
        if isinstance(body.get(key), str):
            return _plain(body[key]), {}
    fields = {
        _plain(name): [_plain(str(text)) for text in (texts if isinstance(texts, list) else [texts])]
        for name, texts in body.items()
    }
    sentences = [
        " ".join(texts) if name == "non_field_errors" else f"{name}: {' '.join(texts)}"
        for name, texts in fields.items()
    ]
    return "; ".join(sentences)[:_MOST_TEXT], fields


def _plain(text: str) -> str:
    """Text of the other side, bounded, and without what would steer a terminal."""
    return "".join(c if c.isprintable() else " " for c in text[:_MOST_TEXT]).strip()
