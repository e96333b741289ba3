"""An issuer with a node, on a stack of their own: over real HTTP, for the tools that issuers bring."""

from __future__ import annotations

import itertools
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx

from amp0 import Amp0Connected, Mnemonic, Signer
from amp0.local.stack import Stack
from tests.interop.confirm_script import ENVELOPE, ConfirmScript
from tests.patience import PATIENCE

PASSWORD = "correct horse battery"
CONTRACT_PUBKEY = "0279be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798"
_numbers = itertools.count(1)


class Issuing:
    """One issuer: their login, their node's wallet, and the hands of a person who works with both."""

    def __init__(self, stack: Stack, folder: Path) -> None:
        self.stack = stack
        self.folder = folder
        self.username = f"issuer {next(_numbers)}"
        self.http = httpx.Client(timeout=120, trust_env=False)
        made = self.http.post(f"{stack.chain_url}/dev/issuer", json={"username": self.username, "password": PASSWORD})
        assert made.status_code == 200, made.text
        assert stack.node_cookie is not None
        assert stack.node_url is not None
        cookie = stack.node_cookie.read_text()
        self.node_url = stack.node_url.replace("://", f"://{cookie}@")
        token = self.http.post(
            f"{stack.api_url}/user/obtain_token", json={"username": self.username, "password": PASSWORD}
        )
        self.token = token.json()["token"]

    def close(self) -> None:
        self.http.close()

    # --- the two ends --------------------------------------------------------------------------------------------

    def api(self, method: str, path: str, body: Any = None, status: int = 200, **more: Any) -> Any:
        """What the API answers, which has to be of this status; None for an empty body."""
        headers = {"authorization": f"token {self.token}"}
        content = None if body is None else json.dumps(body).encode()
        url = f"{self.stack.api_url}{path}"
        answer = self.http.request(method, url, content=content, headers=headers | more.pop("headers", {}), **more)
        assert answer.status_code == status, f"{method} {path}: {answer.status_code} {answer.text}"
        return answer.json() if answer.content else None

    def node(self, method: str, *params: Any) -> Any:
        """What the node answers."""
        shown = self.http.post(self.node_url, json={"id": 1, "method": method, "params": params}).json()
        assert shown["error"] is None, shown["error"]
        return shown["result"]

    def script(self) -> ConfirmScript:
        """The confirm script of this issuer; what it waits is slept here."""
        envelope = ENVELOPE if self.node_answers(ENVELOPE) else {"id": 1}
        return ConfirmScript(self.username, PASSWORD, self.node_url, sleep=self.sleep, envelope=envelope)

    def node_answers(self, envelope: dict[str, Any]) -> bool:
        """Whether the node answers such calls. Elements 28 takes the script's for notifications: status 204."""
        answer = self.http.post(self.node_url, json={**envelope, "method": "getblockcount", "params": []})
        assert answer.status_code in (200, 204)
        return answer.status_code == 200

    # --- time ----------------------------------------------------------------------------------------------------

    def mine(self, count: int = 1) -> None:
        """Blocks, read by the server."""
        height = self.stack.dev.mine(count)
        self.until(lambda: self.server_height() >= height)

    def server_height(self) -> int:
        assert self.stack._server is not None
        return self.stack._server.watcher.height()

    @staticmethod
    def until(condition: Callable[[], bool]) -> None:
        end = time.monotonic() + PATIENCE
        while not condition():
            assert time.monotonic() < end, "the server did not follow"
            time.sleep(0.02)

    def sleep(self, seconds: float) -> None:
        """As long as a tool waits, on the clock of chain and server; a block comes in every minute begun."""
        self.stack.clock.offset += seconds
        self.mine(max(1, int(seconds) // 60))

    # --- what an issuer does -------------------------------------------------------------------------------------

    def issue(self, **changes: Any) -> dict[str, Any]:
        """A reissuable asset of 10 in the node's wallet, two blocks deep."""
        body = {
            "name": "A share of the test",
            "amount": 1_000_000_000,
            "destination_address": self.node("getnewaddress"),
            "domain": "example.com",
            "ticker": f"TST{next(_numbers)}",
            "pubkey": CONTRACT_PUBKEY,
            "precision": 8,
            "is_confidential": False,
            "is_reissuable": True,
            "reissuance_amount": 2,
            "reissuance_address": self.node("getnewaddress"),
            "transfer_restricted": True,
            **changes,
        }
        asset = self.api("POST", "/assets/issue", body, 201)
        assert isinstance(asset, dict)
        self.mine(2)
        path = f"/assets/{asset['asset_uuid']}"
        self.until(lambda: self.api("GET", f"{path}/balance")["confirmed_balance"][0]["amount"] == body["amount"])
        return asset

    def gaid(self) -> str:
        """Of a new AMP account, whose client uploads addresses as clients do."""
        signer = Signer(Mnemonic.from_random(12), self.stack.network)
        connected = Amp0Connected(self.stack.network, signer.amp0_signer_data())
        with connected.login(signer.amp0_sign_challenge(connected.get_challenge())) as session:
            pointer = session.next_account()
            return session.create_amp0_account(pointer, signer.amp0_account_xpub(pointer))

    def holder(self, name: str = "Bob") -> int:
        """A registered user with a GAID."""
        body = {"name": name, "is_company": False, "GAID": self.gaid()}
        number: int = self.api("POST", "/registered_users/add", body, 201)["id"]
        return number

    def assign(self, asset: dict[str, Any], user: int, satoshi: int) -> None:
        one = {"registered_user": user, "amount": satoshi, "ready_for_distribution": True}
        self.api("POST", f"/assets/{asset['asset_uuid']}/assignments/create", {"assignments": [one]})

    def file(self, name: str, content: Any) -> Path:
        """A request file, as the API answered it."""
        path = self.folder / f"{name}.json"
        path.write_text(json.dumps(content))
        return path

    def holdings(self, asset: dict[str, Any]) -> dict[str | None, int]:
        """What each GAID has; the treasury's under None. Nothing may be lost."""
        balance = self.api("GET", f"/assets/{asset['asset_uuid']}/balance")
        assert balance["lost_outputs"] == []
        return {row["GAID"]: row["amount"] for row in balance["confirmed_balance"]}
