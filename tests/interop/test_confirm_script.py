"""The official confirm script's four commands against our API and our node face, at full length.

Only time is shortened: what the script waits passes on the stack's clock, and blocks are made meanwhile.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from amp0.elements.address import Address
from amp0.local.stack import Stack
from amp0.network import Network
from amp0.server.store.asset_schema import asset_outputs
from tests.devchain.node_stack import STACKS, stack_of
from tests.interop.confirm_script import ConfirmScript, Stopped
from tests.interop.issuing import Issuing

NODE_CHECKS = ["getnetworkinfo", "getblockchaininfo", "signmessage"]


@pytest.fixture(scope="module", params=STACKS)
def stack(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """Our node's face, and a real node where there is one."""
    with stack_of(request.param, tmp_path_factory.mktemp("node")) as running:
        yield running


@pytest.fixture
def issuer(stack: Stack, tmp_path: Path) -> Iterator[Issuing]:
    made = Issuing(stack, tmp_path)
    yield made
    made.close()


@pytest.fixture
def asset(issuer: Issuing) -> dict[str, Any]:
    return issuer.issue()


def script(issuer: Issuing) -> ConfirmScript:
    return issuer.script()


def begin(asset: dict[str, Any]) -> list[str]:
    """The calls of every run that has a file."""
    return [*NODE_CHECKS, "user/obtain_token", f"assets/{asset['asset_uuid']}/balance"]


def distribution(issuer: Issuing, asset: dict[str, Any], *amounts: int) -> dict[str, Any]:
    for satoshi in amounts:
        issuer.assign(asset, issuer.holder(), satoshi)
    file = issuer.api("GET", f"/assets/{asset['asset_uuid']}/distributions/create/")
    assert isinstance(file, dict)
    return file


# --- distribute ----------------------------------------------------------------------------------------------------


def test_distribute(issuer: Issuing, asset: dict[str, Any]) -> None:
    file = distribution(issuer, asset, 600_000_000, 1, 123_456_789)
    run = script(issuer)
    run.distribute(issuer.file("distribute", file))
    uuid = asset["asset_uuid"]
    assert run.calls == [
        *begin(asset),
        f"assets/{uuid}/assignments",
        "sendmany",
        "gettransaction",
        "gettransaction",
        "gettransaction",
        "listunspent",
        f"assets/{uuid}/distributions/{file['distribution_uuid']}/confirm",
    ]
    assert sorted(issuer.holdings(asset).values()) == [1, 123_456_789, 276_543_210, 600_000_000]
    (shown,) = issuer.api("GET", f"/assets/{uuid}/distributions")
    assert shown["distribution_status"] == "CONFIRMED"
    assert [row["amount"] for row in shown["transactions"][0]["assignments"]] == [600_000_000, 1, 123_456_789]
    last = issuer.api("GET", f"/assets/{uuid}/txs")[-1]
    assert last["is_distribution"]
    assert last["txid"] == shown["transactions"][0]["txid"]
    with pytest.raises(Stopped, match="made already"):
        script(issuer).distribute(issuer.file("distribute", file))


def test_distribute_again_from_what_it_left(issuer: Issuing, asset: dict[str, Any]) -> None:
    """Ten minutes are over before the second block, or the power fails: ``--use-existing`` goes on."""
    file = distribution(issuer, asset, 5, 6)
    path = issuer.file("distribute", file)
    run = script(issuer)
    run.sleep = lambda _seconds: None
    with pytest.raises(Stopped, match="does not confirm"):
        run.distribute(path)
    assert run.calls.count("gettransaction") == 41
    (sent,) = {row["txid"] for row in issuer.node("listunspent", 0) if row["confirmations"] == 0}
    again = script(issuer)
    again.distribute(path, use_existing=sent)
    assert "sendmany" not in again.calls
    assert sorted(issuer.holdings(asset).values()) == [5, 6, 999_999_989]


def test_i03_distribute_with_a_foreign_transaction(issuer: Issuing, asset: dict[str, Any]) -> None:
    """``--use-existing`` names a transaction of the wallet that is not it."""
    file = distribution(issuer, asset, 5)
    other = issuer.node("sendtoaddress", issuer.node("getnewaddress"), 1)
    issuer.mine(2)
    with pytest.raises(Stopped, match="does not pay"):
        script(issuer).distribute(issuer.file("distribute", file), use_existing=other)
    assert not any(row["is_distributed"] for row in issuer.api("GET", f"/assets/{asset['asset_uuid']}/assignments"))


def test_the_script_stops_before_it_sends(issuer: Issuing, asset: dict[str, Any]) -> None:
    """While something is lost; and with a file of another command or another script."""
    file = distribution(issuer, asset, 5)
    for change in ({"command": "burn"}, {"min_supported_client_script_version": 1}):
        run = script(issuer)
        with pytest.raises(Stopped):
            run.distribute(issuer.file("wrong", file | change))
        assert run.calls == NODE_CHECKS
    issuer.node("sendtoaddress", stranger(), 1, "", "", False, True, 1, "UNSET", False, asset["asset_id"])
    issuer.mine()
    issuer.sleep(300)
    run = script(issuer)
    with pytest.raises(Stopped, match="lost outputs"):
        run.distribute(issuer.file("distribute", file))
    assert run.calls == begin(asset)


def stranger() -> str:
    """Somebody's address."""
    pubkey = bytes.fromhex("0279be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798")
    return str(Address.from_script(Network.regtest_default(), b"\x00\x14" + b"\x5a" * 20, pubkey))


# --- reissue -------------------------------------------------------------------------------------------------------


def reissue(issuer: Issuing, asset: dict[str, Any], satoshi: int) -> Path:
    body = {"amount_to_reissue": satoshi}
    return issuer.file("reissue", issuer.api("POST", f"/assets/{asset['asset_uuid']}/reissue-request", body))


@pytest.mark.parametrize("hidden", [False, True], ids=["open", "hidden"])
def test_reissue(issuer: Issuing, hidden: bool) -> None:
    asset = issuer.issue(is_confidential=hidden)
    run = script(issuer)
    answer = run.reissue(reissue(issuer, asset, 250_000_000))
    uuid = asset["asset_uuid"]
    assert run.calls == [
        *begin(asset),
        "listunspent",
        "reissueasset",
        *["gettransaction"] * 3,
        "listissuances",
        f"assets/{uuid}/reissue-confirm",
    ]
    assert answer["reissuance_amount"] == 250_000_000
    assert issuer.holdings(asset) == {None: 1_250_000_000}
    (shown,) = issuer.api("GET", f"/assets/{uuid}/reissuances")
    assert (shown["txid"], shown["reissuance_amount"]) == (answer["txid"], 250_000_000)
    # And once more, with the token where it went.
    script(issuer).reissue(reissue(issuer, asset, 1))
    assert issuer.holdings(asset) == {None: 1_250_000_001}


def test_reissue_again_from_what_it_left(issuer: Issuing, asset: dict[str, Any]) -> None:
    path = reissue(issuer, asset, 7)
    made = issuer.node("reissueasset", asset["asset_id"], 0.00000007)
    issuer.mine()
    run = script(issuer)
    answer = run.reissue(path, use_existing=f"{made['txid']}:{made['vin']}")
    assert answer == {"txid": made["txid"], "vin": made["vin"], "reissuance_amount": 7}
    assert "reissueasset" not in run.calls
    with pytest.raises(Stopped, match="no such reissue"):
        script(issuer).reissue(path, use_existing=f"{asset['txid']}:0")
    again = script(issuer).reissue(path, use_existing=f"{made['txid']}:{made['vin']}")
    assert again == answer
    assert issuer.holdings(asset) == {None: 1_000_000_007}


def test_reissue_with_a_token_that_is_split(issuer: Issuing, asset: dict[str, Any]) -> None:
    """One of two units of the token lies in another wallet of the issuer, at an address of the treasury."""
    path, token = f"/assets/{asset['asset_uuid']}", asset["reissuance_token_id"]
    issuer.api("POST", f"{path}/treasury-addresses/add", [stranger()])
    txid = issuer.node("sendtoaddress", stranger(), 0.00000001, "", "", False, True, 1, "UNSET", False, token)
    issuer.mine()
    (sent,) = [row for row in issuer.node("gettransaction", txid)["details"] if row["asset"] == token]
    (kept,) = [row for row in issuer.node("listunspent") if row["txid"] == txid and row["asset"] == token]
    for row, more in ((sent, {"amount": 1}), (kept, {})):
        body = {"txid": txid, "vout": row["vout"], "asset_blinder": row["assetblinder"]}
        issuer.api("POST", f"{path}/update-blinders", {**body, "amount_blinder": row["amountblinder"], **more})
    file = reissue(issuer, asset, 9)
    with pytest.raises(Stopped, match="does not have the reissuance token"):
        script(issuer).reissue(file)
    script(issuer).reissue(file, have_split_token=True)
    assert issuer.holdings(asset) == {None: 1_000_000_009}
    assert issuer.api("GET", f"{path}/summary")["reissuance_tokens"] == 2


# --- burn ----------------------------------------------------------------------------------------------------------


def burn(issuer: Issuing, asset: dict[str, Any], satoshi: int) -> Path:
    return issuer.file("burn", issuer.api("POST", f"/assets/{asset['asset_uuid']}/burn-request", {"amount": satoshi}))


def test_burn(issuer: Issuing, asset: dict[str, Any]) -> None:
    run = script(issuer)
    run.burn(burn(issuer, asset, 123_456_789))
    uuid = asset["asset_uuid"]
    assert run.calls == [
        *begin(asset),
        "listunspent",
        "getbalance",
        "destroyamount",
        *["gettransaction"] * 3,
        "listunspent",
        f"assets/{uuid}/burn-confirm",
    ]
    assert issuer.holdings(asset) == {None: 876_543_211}
    assert issuer.api("GET", f"/assets/{uuid}/summary")["burned"] == 123_456_789
    script(issuer).burn(burn(issuer, asset, 876_543_211))
    assert issuer.holdings(asset) == {None: 0}


def test_burn_again_from_what_it_left(issuer: Issuing, asset: dict[str, Any]) -> None:
    path = burn(issuer, asset, 4)
    txid = issuer.node("destroyamount", asset["asset_id"], 0.00000004)
    issuer.mine()
    for _ in range(2):
        run = script(issuer)
        run.burn(path, use_existing=txid)
        assert "destroyamount" not in run.calls
    assert issuer.holdings(asset) == {None: 999_999_996}
    with pytest.raises(Stopped, match="does not have all outputs"):
        script(issuer).burn(path)


# --- update-blinders -----------------------------------------------------------------------------------------------


def test_update_blinders(issuer: Issuing, asset: dict[str, Any]) -> None:
    """The server lost what its issuance paid to the treasury: the script tells it from the node's wallet."""
    assert issuer.stack._server is not None
    txid = bytes.fromhex(asset["txid"])[::-1]
    with issuer.stack._server.services.store.transaction() as db:
        here = asset_outputs.c.txid == txid
        db.execute(sa.update(asset_outputs).where(here).values(satoshi=None, abf=None, vbf=None))
    issuer.sleep(300)
    path = f"/assets/{asset['asset_uuid']}"
    assert len(issuer.api("GET", f"{path}/lost-outputs")["lost_outputs"]) >= 1
    run = script(issuer)
    assert run.update_blinders(asset["asset_uuid"], f"{issuer.stack.api_url}/{{}}") == 2
    assert run.calls[:6] == [*NODE_CHECKS, "user/obtain_token", f"{path[1:]}/txs", "gettransaction"]
    assert issuer.holdings(asset) == {None: 1_000_000_000}
    assert issuer.api("GET", f"{path}/lost-outputs") == {"lost_outputs": [], "reissuance_lost_outputs": []}
    assert script(issuer).update_blinders(asset["asset_uuid"], f"{issuer.stack.api_url}/{{}}") == 0
