"""What pages of allowed origins may ask of a server from inside a browser (CORS).

They read every answer, and send JSON. The header ``Authorization`` they may send to one path only: that of the
pre-flight, whose token stands for one account for a few minutes. An issuer's token opens far more, and is not for pages
that belong to somebody's wallet.
"""

from __future__ import annotations

from collections.abc import Sequence

from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp, Receive, Scope, Send

from amp0.protocol.preflight import PREFLIGHT_PATH


class Origins:
    """ASGI middleware."""

    def __init__(self, app: ASGIApp, allowed: Sequence[str]) -> None:
        def for_pages(*headers: str) -> CORSMiddleware:
            return CORSMiddleware(
                app,
                allow_origins=list(allowed),
                allow_methods=["GET", "POST"],
                allow_headers=["content-type", *headers],
                expose_headers=["retry-after"],
            )

        self._everywhere = for_pages()
        self._at_preflight = for_pages("authorization")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        here = self._at_preflight if scope.get("path") == PREFLIGHT_PATH else self._everywhere
        await here(scope, receive, send)
