"""The command green-cli, unmodified, against our server: the commands of ``docs/clients.md``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from amp0.local.stack import Stack
from tests.interop.gdk_peer import GdkFailed, GreenCli
from tests.interop.gdk_wallets import soon

pytestmark = pytest.mark.interop


def opened(green_cli: GreenCli) -> dict[str, Any]:
    """A wallet with an AMP account."""
    green_cli("create", "--words", "12")
    account: dict[str, Any] = green_cli.json("createsubaccount", "amp", "2of2_no_recovery")
    return account


def test_a_day_of_green_cli(green_cli: GreenCli, stack: Stack) -> None:
    lbtc = stack.network.policy_asset_hex
    account = opened(green_cli)
    assert (account["pointer"], account["type"]) == (1, "2of2_no_recovery")
    assert account["receiving_id"].startswith("GA")
    address = green_cli("getnewaddress", "--subaccount", "1")
    asset = stack.dev.issue(1_000)
    stack.dev.faucet(address, 100_000)
    stack.dev.faucet(address, 500, asset)
    stack.dev.mine()
    soon(lambda: green_cli.json("getbalance", "--subaccount", "1") == {lbtc: 100_000, asset: 500})
    other = GreenCli(green_cli.folder / "other", green_cli.network)
    opened(other)
    to = other("getnewaddress", "--subaccount", "1")
    txid = green_cli("sendtoaddress", "--subaccount", "1", to, lbtc, "0.00020000", "--timeout", "10")
    assert other.json("getbalance", "--subaccount", "1") == {lbtc: 20_000}
    stack.dev.mine()
    (received,) = other.json("gettransactions", "--subaccount", "1")["transactions"]
    assert (received["txhash"], received["type"]) == (txid, "incoming")
    assert other.json("getpreviousaddresses", "--subaccount", "1")["list"][0]["pointer"] == 21
    (outputs,) = other.json("getunspentoutputs", "--subaccount", "1")["unspent_outputs"].values()
    assert [one["satoshi"] for one in outputs] == [20_000]


def test_watch_only_on_the_command_line(green_cli: GreenCli, stack: Stack, tmp_path: Path) -> None:
    opened(green_cli)
    green_cli("setwatchonly", "watched by cli", "correct horse")
    assert green_cli("getwatchonly") == "watched by cli"
    watcher = GreenCli(tmp_path / "watcher", green_cli.network)
    watcher.keep(username="watched by cli", password="correct horse")
    assert watcher.json("--watch-only", "getsubaccounts") == green_cli.json("getsubaccounts")
    address = watcher("--watch-only", "getnewaddress", "--subaccount", "1")
    stack.dev.faucet(address, 1_000)
    soon(
        lambda: (
            watcher.json("--watch-only", "getbalance", "--subaccount", "1") == {stack.network.policy_asset_hex: 1_000}
        )
    )
    green_cli("disablewatchonly")
    with pytest.raises(GdkFailed, match="id_user_not_found_or_invalid"):
        watcher("--watch-only", "getsubaccounts")


def test_a_transaction_step_by_step(green_cli: GreenCli, stack: Stack) -> None:
    """``green-cli tx``: new, outputs, sign, send."""
    lbtc = stack.network.policy_asset_hex
    opened(green_cli)
    stack.dev.faucet(green_cli("getnewaddress", "--subaccount", "1"), 50_000)
    stack.dev.mine()
    address = green_cli("getnewaddress", "--subaccount", "1")
    green_cli("tx", "new", "--subaccount", "1")
    green_cli("tx", "outputs", "add", address, lbtc, "10000")
    green_cli("tx", "sign")
    green_cli("tx", "send")
    soon(lambda: len(green_cli.json("gettransactions", "--subaccount", "1")["transactions"]) == 2)


def test_a_refusal_on_the_command_line_is_shown_as_its_text(green_cli: GreenCli) -> None:
    opened(green_cli)
    with pytest.raises(GdkFailed, match="Accounts here are of type 2of2_no_recovery"):
        green_cli("createsubaccount", "plain", "2of2")


def test_settings_on_the_command_line(green_cli: GreenCli) -> None:
    opened(green_cli)
    green_cli("setnlocktime", "144")
    green_cli("setcsvtime", "1440")
    settings = green_cli.json("getsettings")
    assert (settings["nlocktime"], settings["csvtime"]) == (144, 1440)
    assert set(green_cli.json("getfeeestimates")["fees"]) == {100}
    green_cli("removeaccount")
    with pytest.raises(GdkFailed, match="id_login_failed"):
        green_cli("getsubaccounts")
