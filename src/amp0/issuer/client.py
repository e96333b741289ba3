"""The client of the issuer API: every call, and the operations that walk several of them."""

from __future__ import annotations

from collections.abc import Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Self

from amp0.issuer.general import GeneralCalls
from amp0.issuer.holders import HolderCalls
from amp0.issuer.operations import Operations
from amp0.issuer.rules import RuleCalls
from amp0.issuer.session import TIMEOUT, ApiSession

if TYPE_CHECKING:
    import httpx


class IssuerClient(Operations, HolderCalls, RuleCalls, GeneralCalls):
    """One login at an issuer API: an issuer's, or a manager's. An async context manager.

    ``url`` is the API's base (``https://host/api``; a server's URL without a path means its ``/api``). The token is
    obtained with the first call, and again when it stopped being valid. Amounts are satoshi, ids display hex.

    Every call may raise :class:`IssuerRefused` (``status``, ``fields``), :class:`LoginFailed`, :class:`ServerBusy`
    (``retry_after``), :class:`ConnectionFailed` and :class:`RemoteProtocolError`.
    """

    def __init__(
        self,
        url: str,
        username: str = "",
        password: str = "",
        *,
        token: str | None = None,
        timeout: float = TIMEOUT,
        cert_roots: Sequence[str] = (),
        allow_insecure: bool = False,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        """Nothing is connected yet.

        ``token`` is one obtained earlier. ``cert_roots`` are PEM texts trusted in place of the machine's authorities;
        ``allow_insecure`` allows ``http://`` to other machines. ``transport`` carries the requests in place of sockets.
        """
        self._api = ApiSession(
            url,
            username,
            password,
            token=token,
            timeout=timeout,
            cert_roots=cert_roots,
            allow_insecure=allow_insecure,
            transport=transport,
        )

    @property
    def url(self) -> str:
        """Base URL of the API."""
        return self._api.url

    def __repr__(self) -> str:
        return f"IssuerClient({self._api.url!r})"

    async def close(self) -> None:
        """Close the connections."""
        await self._api.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()
