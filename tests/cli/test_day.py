"""A venue's day on the command line, against a whole stack: with files between the steps, and each error's code."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path

from amp0.local.hosting import bind, port_of
from amp0.local.stack import Stack
from tests.cli.conftest import PASSWORD, Terminal, deposit


def test_the_day_with_files_between_the_steps(opened: Terminal, stack: Stack) -> None:
    policy_asset = stack.network.policy_asset()
    address = deposit(opened, stack, 50_000)
    shown = opened.venue("address", "new", "--count", "2", "--json").json()
    assert shown[1]["index"] == shown[0]["index"] + 1
    again = opened.venue("address", "show", str(shown[0]["index"]), "--json").json()
    assert again == [shown[0]]

    assert opened.venue("balance", "--json").json() == {policy_asset: 50_000}
    (row,) = opened.venue("transactions", "--json").json()
    assert (row["type"], row["balance"]) == ("incoming", {policy_asset: 50_000})

    steps = {name: opened.path(f"{name}.json") for name in ("built", "signed", "cosigned")}
    built = opened.venue("tx", "build", "--to", f"{address}:1000", "--out", steps["built"])
    assert built.code == 0, built.err
    assert f"1,000 L-BTC  to {address}" in built.err
    assert built.err.count("(own)") == 1
    assert "L-BTC  fee" in built.err
    signed = opened.amp0(
        "tx", "sign", "--network", "liquidregtest", "--mnemonic-file", opened.path("mnemonic"),
        "--in", steps["built"], "--out", steps["signed"],
    )  # fmt: skip
    assert signed.code == 0, signed.err
    cosigned = opened.venue("tx", "cosign", "--in", steps["signed"], "--out", steps["cosigned"])
    assert cosigned.code == 0, cosigned.err
    for _ in range(2):
        sent = opened.amp0("tx", "broadcast", "--network", opened.network, "--in", steps["cosigned"], "--json")
        assert sent.json() == {"txid": json.loads(Path(steps["cosigned"]).read_text(encoding="utf-8"))["txid"]}
    once_more = opened.venue("tx", "cosign", "--txid", sent.json()["txid"])
    assert json.loads(once_more.out) == json.loads(Path(steps["cosigned"]).read_text(encoding="utf-8"))
    stack.dev.mine()
    kinds = {row["type"] for row in opened.venue("transactions", "--json").json()}
    assert kinds == {"incoming", "redeposit"}


def test_the_four_steps_are_a_pipe(opened: Terminal, stack: Stack) -> None:
    deposit(opened, stack, 20_000)
    built = opened.venue("tx", "build", "--drain")
    signed = opened.amp0(
        "tx", "sign", "--network", "liquidregtest", "--mnemonic-file", opened.path("mnemonic"), stdin=built.out
    )
    cosigned = opened.venue("tx", "cosign", stdin=signed.out)
    sent = opened.amp0("tx", "broadcast", "--network", opened.network, stdin=cosigned.out)
    assert sent.code == 0, sent.err
    assert sent.out.strip() == json.loads(cosigned.out)["txid"]


def test_send_does_all_four(opened: Terminal, stack: Stack) -> None:
    address = deposit(opened, stack, 30_000)
    asset_id = stack.dev.issue(1000)
    deposit(opened, stack, 600, asset_id)
    sent = opened.venue(
        "send", "--mnemonic-file", opened.path("mnemonic"), "--to", f"{address}:5:{asset_id}", "--data-dir",
        opened.path("synced"), "--json",
    ).json()  # fmt: skip
    assert sent["fee"] > 0
    stack.dev.mine()
    balances = opened.venue("balance", "--data-dir", opened.path("synced"), "--waterfalls", "--json").json()
    assert balances == {stack.network.policy_asset(): 30_000 - sent["fee"], asset_id: 600}


def test_people_get_tables(opened: Terminal, stack: Stack) -> None:
    deposit(opened, stack, 12_345)
    assert "L-BTC" in opened.venue("balance").out
    assert "12,345" in opened.venue("balance").out
    assert "incoming" in opened.venue("transactions").out
    listed = opened.amp0("account", "list", "--network", opened.network, "--mnemonic-file", opened.path("mnemonic"))
    assert "GA" in listed.out


def test_the_mnemonic_is_made_once_and_private(opened: Terminal) -> None:
    path = Path(opened.path("mnemonic"))
    before = path.read_text(encoding="utf-8")
    assert len(before.split()) == 12
    assert path.stat().st_mode & 0o077 == 0
    again = opened.amp0("account", "create", "--network", opened.network, "--new-mnemonic", str(path))
    assert again.code == 11
    assert path.read_text(encoding="utf-8") == before
    second = opened.amp0("account", "create", "--network", opened.network, "--mnemonic-file", str(path), "--json")
    assert second.json()["account"] == 2


def closed_port() -> int:
    with contextlib.closing(bind(0)) as bound:
        return port_of(bound)


def test_each_mistake_has_its_code_and_says_what_to_do(opened: Terminal, stack: Stack) -> None:
    address = deposit(opened, stack, 10_000)
    wrong = Path(opened.path("wrong"))
    wrong.touch(mode=0o600)
    wrong.write_text("not it\n", encoding="utf-8")
    network = ["--network", opened.network]

    said = opened.amp0("balance", *network, "--username", opened.username, "--password-file", str(wrong), "--json")
    assert said.code == 51
    assert json.loads(said.err)["error"]["type"] == "LoginFailed"
    assert opened.venue("balance", "--amp-id", "GAnonsense").code == 20
    assert opened.venue("balance", "--chain", f"http://127.0.0.1:{closed_port()}").code == 41
    assert opened.venue("address", "show", "5000").code == 72
    assert opened.venue("tx", "build", "--to", f"{address}:10001").code == 71
    assert opened.venue("tx", "build", "--to", f"{address}:0").code == 20
    assert opened.venue("tx", "build", "--to", f"{address}:99999999999999999").code == 20
    assert opened.venue("tx", "build", "--to", "nonsense:5").code == 20
    assert opened.venue("tx", "build").code == 2
    mainnet = "lq1qqvxk052kf3qtkxmrakx50a9gc3smqad2ync54hzntjt980kfej9kkfe0247rp5h4yzmdftsahhw64uy8pzfe7cpg4fgykm7cv"
    assert opened.venue("tx", "build", "--to", f"{mainnet}:5").code == 21
    nowhere = ["--network", f"http://127.0.0.1:{closed_port()}", "--username", "till"]
    assert opened.amp0("balance", *nowhere, "--password-file", opened.path("password")).code == 40
    assert opened.amp0("balance", "--network", "atlantis", "--username", "x", "--json").code == 20
    assert opened.amp0("balance", *network, "--service-fingerprint", "00000000", "--username", "x").code == 21

    built = opened.venue("tx", "build", "--to", f"{address}:500")
    other = Path(opened.path("other"))
    opened.amp0("account", "create", *network, "--new-mnemonic", str(other))
    strange = opened.amp0("tx", "sign", "--mnemonic-file", str(other), stdin=built.out)
    assert strange.code == 81
    unsigned = opened.venue("tx", "cosign", stdin=built.out)
    assert unsigned.code == 81
    assert opened.amp0("tx", "broadcast", *network, stdin=built.out).code == 20
    # Nothing is half done: the same coins are still there.
    assert opened.venue("balance", "--json").json() == {stack.network.policy_asset(): 10_000}


def test_no_secret_is_ever_said(opened: Terminal) -> None:
    words = Path(opened.path("mnemonic")).read_text(encoding="utf-8").strip()
    for said in (opened.venue("balance"), opened.venue("address", "new"), opened.venue("transactions")):
        assert PASSWORD not in said.out + said.err
        assert words not in said.out + said.err
