"""A wallet in GDK's hands: what applications do with it, in GDK's own words."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from amp0.local.stack import Stack
from tests.interop.gdk_peer import Answer, GdkFailed, GdkPeer, GdkSession, _nobody
from tests.patience import PATIENCE

AMP = {"name": "amp", "type": "2of2_no_recovery"}


@dataclass
class GdkWallet:
    """A session with a wallet logged in, and the account that it works with."""

    session: GdkSession
    stack: Stack
    mnemonic: str = ""
    account: int = 1

    @property
    def lbtc(self) -> str:
        """The policy asset."""
        policy_asset: str = self.stack.network.policy_asset_hex
        return policy_asset

    @property
    def credentials(self) -> dict[str, str]:
        return {"mnemonic": self.mnemonic, "password": ""}

    def call(self, method: str, *args: Any, answer: Answer = _nobody) -> Any:
        return self.session.call(method, *args, answer=answer)

    def log_in(self) -> Any:
        return self.call("login_user", {}, self.credentials)

    def subaccounts(self, **details: Any) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = self.call("get_subaccounts", details)["subaccounts"]
        return rows

    def receive(self) -> dict[str, Any]:
        address: dict[str, Any] = self.call("get_receive_address", {"subaccount": self.account})
        return address

    def address(self) -> str:
        return str(self.receive()["address"])

    def balance(self, confirmations: int = 0) -> dict[str, int]:
        """Amounts by asset, those of nothing left out."""
        found = self.call("get_balance", {"subaccount": self.account, "num_confs": confirmations})
        return {asset: amount for asset, amount in found.items() if amount}

    def transactions(self, first: int = 0, count: int = 30) -> list[dict[str, Any]]:
        details = {"subaccount": self.account, "first": first, "count": count}
        listed: list[dict[str, Any]] = self.call("get_transactions", details)["transactions"]
        return listed

    def unspent(self, confirmations: int = 0, **details: Any) -> dict[str, list[dict[str, Any]]]:
        """By asset; outputs that cannot be opened are under ``error``."""
        wanted = {"subaccount": self.account, "num_confs": confirmations, **details}
        found: dict[str, list[dict[str, Any]]] = self.call("get_unspent_outputs", wanted)["unspent_outputs"]
        return found

    def funded(self, *amounts: int, asset: str | None = None) -> None:
        """Coins of the faucet, in a block, and known to GDK."""
        before = self.balance().get(asset or self.lbtc, 0)
        for amount in amounts:
            self.stack.dev.faucet(self.address(), amount, asset)
        self.stack.dev.mine()
        soon(lambda: self.balance().get(asset or self.lbtc, 0) == before + sum(amounts))

    def draft(self, *payments: tuple[str, str, int], **details: Any) -> dict[str, Any]:
        """A blinded transaction of (address, asset, satoshi)."""
        wanted = {
            "addressees": [
                {"address": address, "asset_id": asset, "satoshi": satoshi} for address, asset, satoshi in payments
            ],
            "utxos": self.unspent(),
            **details,
        }
        for step in ("create_transaction", "blind_transaction"):
            wanted = no_error(self.call(step, wanted))
        return wanted

    def signed(self, *payments: tuple[str, str, int], **details: Any) -> dict[str, Any]:
        """A transaction that only the server's signature is missing from."""
        return no_error(self.call("sign_transaction", self.draft(*payments, **details)))

    def send(self, *payments: tuple[str, str, int], answer: Answer = _nobody, **details: Any) -> str:
        """The txid of a payment that was cosigned and is on its way."""
        signed = self.signed(*payments, **details)
        return str(no_error(self.call("send_transaction", signed, answer=answer))["txhash"])


def no_error(details: dict[str, Any]) -> dict[str, Any]:
    """GDK's drafts carry their error as a text."""
    if details.get("error"):
        raise GdkFailed("error", details["error"])
    return details


def refused(wallet: GdkWallet, method: str, *args: Any) -> str:
    """The text of GDK's error, which is what an application shows."""
    try:
        found = wallet.call(method, *args)
    except GdkFailed as error:
        return error.text
    text = found.get("error") if isinstance(found, dict) else ""
    assert text, f"{method} was not refused"
    return str(text)


def open_wallet(peer: GdkPeer, stack: Stack, name: str, *, mnemonic: str = "", **parameters: Any) -> GdkWallet:
    """A registered wallet that is logged in; a new one without a mnemonic."""
    mnemonic = mnemonic or peer.function("generate_mnemonic_12")
    wallet = GdkWallet(peer.open(name, **parameters), stack, mnemonic)
    wallet.call("register_user", {}, wallet.credentials)
    wallet.log_in()
    return wallet


def open_amp(peer: GdkPeer, stack: Stack, name: str, *, mnemonic: str = "") -> GdkWallet:
    """A new wallet with an AMP account."""
    wallet = open_wallet(peer, stack, name, mnemonic=mnemonic)
    wallet.account = wallet.call("create_subaccount", AMP)["pointer"]
    return wallet


def watch(peer: GdkPeer, stack: Stack, name: str, username: str, password: str) -> GdkWallet:
    """A watch-only session."""
    wallet = GdkWallet(peer.open(name), stack)
    wallet.call("login_user", {}, {"username": username, "password": password})
    return wallet


def soon(true: Callable[[], bool], seconds: float = PATIENCE) -> None:
    """Wait for something that comes with an event of the server."""
    until = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < until, "it did not come"
        time.sleep(0.05)
