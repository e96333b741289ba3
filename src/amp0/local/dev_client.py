"""What only a development chain can be asked, over its ``/dev/*`` routes: coins, assets, blocks, reorganisations.

A local stack answers more: which messages its server would have sent, what time it should be, and new issuers.
"""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

import httpx

from amp0.elements.hashes import Txid
from amp0.errors import BackendUnavailable, ChainError, RemoteProtocolError
from amp0.network import is_loopback_url

NOTHING_HERE = "there is nothing at this path"
"""What our servers say of a path that they do not have."""
TIMEOUT = 60.0
"""Seconds; a payment of the faucet makes two range proofs, a long reorganisation many blocks."""


class DevClient:
    """A blocking client of the ``/dev/*`` routes below ``url``, which is on loopback. A context manager."""

    def __init__(self, url: str) -> None:
        if not is_loopback_url(url):
            raise ChainError(f"{url} is not on this machine: only a chain on loopback gives coins away")
        self._http = httpx.Client(base_url=url.rstrip("/"), timeout=TIMEOUT, trust_env=False)

    def faucet(self, address: str, satoshi: int, asset_id: str | None = None) -> Txid:
        """Pay ``satoshi`` of an asset (L-BTC if left out) to ``address``; unconfirmed until a block is made."""
        body: dict[str, Any] = {"address": address, "satoshi": satoshi}
        if asset_id is not None:
            body["asset_id"] = asset_id
        return Txid(self._text("faucet", body, "txid"))

    def issue(self, satoshi: int) -> str:
        """Issue a new asset to the faucet; its id, display hex."""
        return self._text("asset", {"satoshi": satoshi}, "asset_id")

    def mine(self, blocks: int = 1) -> int:
        """Make blocks; the height of the last one."""
        return self._height("mine", {"blocks": blocks})

    def reorg(self, depth: int) -> int:
        """Replace the last ``depth`` blocks by one more empty ones; their transactions wait again. The height."""
        return self._height("reorg", {"depth": depth})

    def outbox(self) -> list[dict[str, Any]]:
        """Messages of the stack's server, oldest first: ``{id, at, method, to, subject, text, code}``."""
        value = self._answered("outbox", lambda: self._http.get("/dev/outbox"))
        if not isinstance(value, list) or not all(isinstance(row, dict) for row in value):
            raise RemoteProtocolError("the chain's answer to /dev/outbox is not a list of messages")
        return value

    def move_clock(self, offset_seconds: float) -> int:
        """Set the stack's server so far ahead of the system's clock; what time it is there now, seconds since 1970."""
        value = self._post("clock", {"offset_seconds": offset_seconds}).get("now")
        if not isinstance(value, int):
            raise RemoteProtocolError("the chain's answer to /dev/clock lacks now")
        return value

    def create_issuer(self, username: str, password: str) -> int:
        """Make an issuer at the stack's server; its id."""
        value = self._post("issuer", {"username": username, "password": password}).get("id")
        if not isinstance(value, int):
            raise RemoteProtocolError("the chain's answer to /dev/issuer lacks id")
        return value

    def close(self) -> None:
        """Close the connection."""
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _text(self, route: str, body: dict[str, Any], field: str) -> str:
        value = self._post(route, body).get(field)
        if not isinstance(value, str):
            raise RemoteProtocolError(f"the chain's answer to /dev/{route} lacks {field}")
        return value

    def _height(self, route: str, body: dict[str, Any]) -> int:
        value = self._post(route, body).get("height")
        if not isinstance(value, int):
            raise RemoteProtocolError(f"the chain's answer to /dev/{route} lacks height")
        return value

    def _post(self, route: str, body: dict[str, Any]) -> dict[str, Any]:
        value = self._answered(route, lambda: self._http.post(f"/dev/{route}", json=body))
        if not isinstance(value, dict):
            raise RemoteProtocolError(f"the chain's answer to /dev/{route} is not an object")
        return value

    def _answered(self, route: str, ask: Callable[[], httpx.Response]) -> Any:
        try:
            answer = ask()
            value = answer.json()
        except httpx.HTTPError as error:
            raise BackendUnavailable(
                f"the local chain at {self._http.base_url} does not answer ({error}); is it running (amp0 stack run)?"
            ) from None
        except ValueError:
            raise RemoteProtocolError(f"the chain's answer to /dev/{route} is not JSON") from None
        if answer.status_code != 200:
            reason = value.get("error", answer.status_code) if isinstance(value, dict) else answer.status_code
            if reason == NOTHING_HERE:
                raise ChainError(f"{self._http.base_url} cannot be asked for /dev/{route}: is it the chain of a stack?")
            raise ChainError(f"the local stack refuses: {reason} (/dev/{route})")
        return value
