"""The issuer's commands that docs/issuer.md does not run, and what goes wrong at each."""

from __future__ import annotations

import asyncio
import csv
import io
import json
import subprocess
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from amp0 import IssuerClient, NodeTreasury, Signer, Wollet
from amp0.issuer import Move
from amp0.local.stack import Stack
from tests.cli.conftest import PASSWORD, Said, Terminal
from tests.cli.test_running import AMP0, running
from tests.patience import PATIENCE, until

PUBKEY = "0279be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798"


@dataclass
class Desk:
    """An issuer with a reissuable asset, and the commands with their login."""

    terminal: Terminal
    stack: Stack
    name: str
    ticker: str

    def amp0(self, *words: str, stdin: str = "") -> Said:
        login = ["--url", self.stack.api_url, "--password-file", self.terminal.path("password")]
        if "--username" not in words:
            login += ["--username", self.name]
        return self.terminal.amp0("issuer", *words, *login, stdin=stdin)

    def json(self, *words: str) -> Any:
        return self.amp0(*words, "--json").json()


@pytest.fixture
def desk(terminal: Terminal, stack: Stack) -> Desk:
    made = Desk(terminal, stack, f"issuer {uuid.uuid4()}", f"T{uuid.uuid4().hex[:8]}")
    stack.dev.create_issuer(made.name, PASSWORD)
    issue(made, made.ticker)
    stack.dev.mine()
    return made


def addresses(stack: Stack) -> list[str]:
    wallet = Wollet(stack.network, Signer.random(stack.network).wpkh_slip77_descriptor(), None)
    return [str(wallet.address(index).address()) for index in range(3)]


def issue(desk: Desk, ticker: str, *more: str) -> Any:
    first, second, _ = addresses(desk.stack)
    return desk.json(
        "asset", "issue", "Test Bond", "--ticker", ticker, "--domain", "example.com", "--pubkey", PUBKEY,
        "--amount", "1000", "--tokens", "1", "--destination", first, "--token-destination", second, *more,
    )  # fmt: skip


def gaid(opened: Terminal) -> str:
    made = opened.amp0(
        "account", "create", "--network", opened.network, "--mnemonic-file", opened.path("mnemonic"), "--json"
    )
    amp_id: str = made.json()["amp_id"]
    return amp_id


def test_an_asset_is_named_by_uuid_id_or_ticker(desk: Desk) -> None:
    shown = desk.json("asset", "show", desk.ticker)
    assert desk.json("asset", "show", shown["asset_uuid"]) == shown
    assert desk.json("asset", "show", shown["asset_id"]) == shown
    assert desk.json("asset", "show", desk.ticker.lower()) == shown
    assert (shown["ticker"], shown["transfer_restricted"], shown["is_locked"]) == (desk.ticker, True, False)
    assert desk.amp0("asset", "show", "NONE").code == 20
    issue(desk, desk.ticker)
    said = desk.amp0("asset", "show", desk.ticker)
    assert said.code == 20
    assert "2 assets have" in said.err


def test_an_issuance_under_one_key_is_one(desk: Desk) -> None:
    first, second, _ = addresses(desk.stack)
    words = (
        "asset", "issue", "Test Bond", "--ticker", "KEYED", "--domain", "example.com", "--pubkey", PUBKEY, "--amount",
        "5", "--tokens", "1", "--destination", first, "--token-destination", second, "--key", "only-once",
    )  # fmt: skip
    assert desk.json(*words) == desk.json(*words)
    assert [row["ticker"] for row in desk.json("asset", "list")].count("KEYED") == 1
    said = desk.amp0("asset", "issue", "x", "--ticker", "KEYED", "--domain", "a.b", "--pubkey", PUBKEY, "--amount", "5")
    assert said.code == 2
    assert "--destination" in said.err
    wrong = desk.amp0(*["nonsense" if word == first else word for word in words], "--json")
    assert wrong.code == 56
    assert json.loads(wrong.err)["error"]["type"] == "IssuerRefused"


def test_what_an_issuer_does_with_an_asset(desk: Desk) -> None:
    assert desk.json("asset", "lock", desk.ticker)["is_locked"] is True
    assert desk.json("asset", "unlock", desk.ticker)["is_locked"] is False
    assert desk.json("asset", "memo", desk.ticker, 'first "issue"\n\\') == {"memo": 'first "issue"\n\\'}
    assert desk.json("asset", "memo", desk.ticker) == {"memo": 'first "issue"\n\\'}
    endpoint = "https://example.com/authorize"
    edited = desk.json("asset", "edit", desk.ticker, "--authorization-endpoint", endpoint)
    assert edited["issuer_authorization_endpoint"] == endpoint
    cleared = desk.json("asset", "edit", desk.ticker, "--authorization-endpoint", "")
    assert cleared["issuer_authorization_endpoint"] is None
    assert desk.json("asset", "reissuances", desk.ticker) == desk.json("asset", "burns", desk.ticker) == []
    third = addresses(desk.stack)[2]
    before = desk.json("treasury", "list", desk.ticker)
    desk.json("treasury", "add", desk.ticker, third)
    assert set(desk.json("treasury", "list", desk.ticker)) == {*before, third}
    desk.json("treasury", "remove", desk.ticker, third)
    assert desk.json("treasury", "list", desk.ticker) == before
    assert third not in desk.amp0("treasury", "list", desk.ticker).out
    assert desk.amp0("asset", "register", desk.ticker).code == 56
    gone = desk.json("asset", "delete", desk.ticker)
    assert gone.keys() == {"deleted"}
    assert desk.json("asset", "list") == []


def test_users_and_their_accounts(desk: Desk, opened: Terminal) -> None:
    first, second = gaid(opened), gaid(opened)
    user = desk.json("user", "add", "Alice", "--gaid", first, "--company")
    number = str(user["id"])
    assert (user["GAID"], user["is_company"]) == (first, True)
    assert desk.amp0("user", "add", "Bob", "--gaid", first).code == 56
    assert desk.json("user", "add-gaid", number, second)["GAID"] == first
    assert desk.json("user", "default-gaid", number, second)["GAID"] == second
    assert set(desk.json("user", "gaids", number)) == {first, second}
    assert set(desk.amp0("user", "gaids", number).out.split()) == {first, second}
    assert desk.json("user", "edit", number, "Alice B.")["name"] == "Alice B."
    assert desk.json("user", "freeze", number)["is_frozen"] is True
    assert desk.json("user", "unfreeze", number) == desk.json("user", "show", number)
    assert desk.json("user", "summary", number) == []
    assert desk.json("gaid", "check", first) == {"is_valid": True, "error": ""}
    assert desk.json("gaid", "owner", first)["name"] == "Alice B."
    assert desk.json("gaid", "balance", first)[0]["balance"] == 0
    assert desk.json("gaid", "address", first)["address"]
    assert desk.amp0("gaid", "owner", "GA2zxWdhAYtREeYCVFTGRhHQmYMPAP").code == 56
    assert desk.json("user", "delete", number) == {"deleted": user["id"]}
    assert desk.json("user", "list") == []


def test_categories(desk: Desk) -> None:
    made = desk.json("category", "add", "accredited", "--description", "papers")
    number, user = str(made["id"]), str(desk.json("user", "add", "Alice")["id"])
    assert desk.json("category", "add-user", number, user)["registered_users"] == [int(user)]
    assert len(desk.json("category", "add-asset", number, desk.ticker)["assets"]) == 1
    assert desk.json("asset", "show", desk.ticker)["requirements"] == [made["id"]]
    assert desk.json("category", "remove-asset", number, desk.ticker)["assets"] == []
    assert desk.json("category", "remove-user", number, user)["registered_users"] == []
    assert desk.json("category", "edit", number, "--name", "checked")["name"] == "checked"
    assert desk.json("category", "show", number) == desk.json("category", "list")[0]
    assert "checked" in desk.amp0("category", "list").out
    assert desk.json("category", "delete", number) == {"deleted": made["id"]}


def test_assignments_before_they_are_paid(desk: Desk, opened: Terminal) -> None:
    user = str(desk.json("user", "add", "Alice", "--gaid", gaid(opened))["id"])
    wait_for_treasury(desk, 1000)
    too_much = desk.amp0("assign", desk.ticker, user, "1001")
    assert too_much.code == 56
    assert "not enough in the treasury balance" in too_much.err
    made = desk.json("assign", desk.ticker, user, "600", "--not-ready")
    number = str(made["id"])
    assert (made["amount"], made["ready_for_distribution"]) == (600, False)
    assert desk.json("assignment", "unlock", desk.ticker, number)["ready_for_distribution"] is True
    assert desk.json("assignment", "lock", desk.ticker, number)["ready_for_distribution"] is False
    assert desk.json("assignments", desk.ticker, "--distributed") == []
    (waiting,) = desk.json("assignments", desk.ticker, "--waiting")
    assert waiting["id"] == made["id"]
    assert desk.json("assignment", "delete", desk.ticker, number) == {"deleted": made["id"]}
    vested = desk.json("assign", desk.ticker, user, "1", "--vesting", "2099-01-31T12:00:00Z")
    assert (vested["vesting_timestamp"], vested["has_vested"]) == (4073544000, False)
    assert desk.amp0("assign", desk.ticker, user, "0").code == 2
    assert desk.amp0("assign", desk.ticker, user, "1.5").code == 2

    desk.json("assign", desk.ticker, user, "5")
    with IssuerClient(desk.stack.api_url, desk.name, PASSWORD) as client:
        uuid_of_asset = client.assets()[0].asset_uuid
        file = client.create_distribution(uuid_of_asset)
        assert client.distribution_file(uuid_of_asset, file.distribution_uuid) == file
    (begun,) = desk.json("distributions", desk.ticker)
    assert begun["distribution_status"] == "UNCONFIRMED"
    assert file.distribution_uuid in desk.amp0("distributions", desk.ticker).out
    cancelled = desk.json("cancel-distribution", desk.ticker, file.distribution_uuid)
    assert cancelled == {"cancelled": file.distribution_uuid}


def wait_for_treasury(desk: Desk, satoshi: int) -> None:
    """The server reads the chain a moment after it."""

    def is_there() -> bool:
        return bool(sum(row["amount"] for row in desk.json("balance", desk.ticker)["confirmed_balance"]) == satoshi)

    until(is_there, "the issuance is in no block that the server knows")


def test_where_the_units_are(desk: Desk) -> None:
    wait_for_treasury(desk, 1000)
    assert [row["amount"] for row in desk.json("holders", desk.ticker)] == [1000]
    assert desk.json("summary", desk.ticker)["issued"] == 1000
    (made,) = desk.json("txs", desk.ticker)
    assert made["is_issuance"] is True
    assert desk.json("activities", desk.ticker, "--newest-first", "--count", "1")[0]["type"] == "issuance"
    (coin,) = desk.json("utxos", desk.ticker)
    outpoint = f"{coin['txid']}:{coin['vout']}"
    assert desk.json("blacklist", desk.ticker, outpoint)[0]["blacklisted"] is True
    assert desk.json("whitelist", desk.ticker, outpoint)[0]["blacklisted"] is False
    for wrong in ([], ["nonsense"], [outpoint, "--gaid", "GA2zxWdhAYtREeYCVFTGRhHQmYMPAP"]):
        assert desk.amp0("blacklist", desk.ticker, *wrong).code == 2
    assert desk.json("lost-outputs", desk.ticker) == {"found": [], "lost_outputs": [], "reissuance_lost_outputs": []}
    for words in (["holders"], ["balance"], ["summary"], ["txs"], ["activities"], ["utxos"]):
        assert "1,000" in desk.amp0(*words, desk.ticker).out or words == ["txs"]


@pytest.mark.parametrize("name", ['=HYPERLINK("http://a")', "+1", "-1", "@SUM(A1)", "\t=1", "|cmd"])
def test_i05_a_name_that_begins_like_a_formula_is_no_formula(name: str) -> None:
    from amp0.cli.issuer_ledger import _harmless

    written = io.StringIO()
    csv.writer(written).writerow([_harmless(name)])
    ((cell,),) = csv.reader(io.StringIO(written.getvalue()))
    assert cell == "'" + name


def test_i05_the_register_as_csv(desk: Desk) -> None:
    wait_for_treasury(desk, 1000)
    rows = list(csv.DictReader(io.StringIO(desk.amp0("holders", desk.ticker, "--csv").out)))
    assert rows == [{"owner": "", "name": "treasury", "GAID": "", "satoshi": "1000"}]


def test_rules_and_their_changes(desk: Desk) -> None:
    added = desk.json("rules", "add", desk.ticker, "time_window", "weekdays=[1,2,3]", "from=540", "to=1020")
    assert (added["state"], added["content"]["tag"]) == ("effective", "time_window")
    (rule,) = desk.json("rules", "list", desk.ticker)
    assert rule["parameters"] == {"weekdays": [1, 2, 3], "from": 540, "to": 1020}
    number = str(rule["id"])
    desk.json("rules", "edit", desk.ticker, number, "time_window", "weekdays=[1]", "from=540", "to=1020")
    (rule,) = desk.json("rules", "list", desk.ticker)
    assert rule["parameters"]["weekdays"] == [1]
    assert desk.amp0("rules", "add", desk.ticker, "time_window", "weekdays=[9]", "from=1", "to=2").code == 56
    assert desk.amp0("rules", "add", desk.ticker, "nonsense").code == 56
    assert desk.amp0("rules", "add", desk.ticker, "time_window", "weekdays").code == 2
    assert desk.json("rules", "end", desk.ticker, str(rule["id"]))["state"] == "effective"
    assert len(desk.json("rules", "changes", desk.ticker)) == 3
    assert desk.json("rules", "changes", desk.ticker, "--state", "pending") == []
    assert desk.json("rules", "policy", desk.ticker, "--sender-categories")["state"] == "effective"
    assert desk.json("rules", "policy", desk.ticker)["checks_sender_categories"] is True
    assert desk.json("rules", "refusals", desk.ticker) == []


def test_managers_and_passwords(desk: Desk) -> None:
    new = Path(desk.terminal.path("new"))
    new.touch(mode=0o600)
    new.write_text("a better password\n")
    clerk = f"clerk {uuid.uuid4()}"
    password = ["--new-password-file", desk.terminal.path("password")]
    number = str(desk.json("manager", "create", clerk, *password)["id"])
    locked = desk.amp0("asset", "list", "--username", clerk)
    assert locked.code == 51
    desk.json("manager", "unlock", number)
    assert desk.json("asset", "list", "--username", clerk) == []
    assert len(desk.json("manager", "add-asset", number, desk.ticker)["assets"]) == 1
    assert desk.json("manager", "me", "--username", clerk)["username"] == clerk
    assert desk.amp0("manager", "me").code == 56
    assert desk.amp0("asset", "lock", desk.ticker, "--username", clerk).code == 56
    assert desk.json("manager", "remove-asset", number, desk.ticker)["assets"] == []
    assert desk.json("manager", "list")[0]["is_locked"] is False
    desk.json("manager", "password", number, "--new-password-file", str(new))
    assert desk.amp0("asset", "list", "--username", clerk).code == 51
    desk.json("manager", "lock", number)

    token = desk.amp0("token").out.strip()
    assert desk.json("token") == {"token": token}
    assert desk.json("token", "--fresh")["token"] != token
    assert PASSWORD not in json.dumps(desk.json("events", "--count", "100"))
    assert {row["username"] for row in desk.json("events")} == {desk.name}
    desk.json("password", "--new-password-file", str(new))
    said = desk.amp0("asset", "list", "--json")
    assert said.code == 51
    assert json.loads(said.err)["error"]["type"] == "LoginFailed"


def test_where_nobody_is_and_what_is_missing(desk: Desk) -> None:
    terminal = desk.terminal
    login = ["--username", desk.name, "--password-file", terminal.path("password")]
    assert terminal.amp0("issuer", "asset", "list", "--url", "http://127.0.0.1:9", *login).code == 40
    assert terminal.amp0("issuer", "asset", "list", "--url", "http://issuer.example", *login).code == 20
    assert terminal.amp0("issuer", "asset", "list").code == 2
    assert terminal.amp0("issuer", "asset", "list", "--username", "x").code == 11
    assert desk.amp0("distribute", desk.ticker).code == 2
    cookie = terminal.path("cookie")
    without = desk.amp0("distribute", desk.ticker, "--node-auth-file", cookie)
    assert (without.code, cookie in without.err) == (41, True)
    new_password = ["--new-password-file", "-"]
    clash = terminal.amp0("issuer", "password", "--username", "x", "--password-file", "-", *new_password, stdin="x")
    assert clash.code == 2


def test_an_issuer_is_made_beside_a_running_server(
    tmp_path: Path, terminal: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("AMP0_DATA_DIR", "AMP0_DATABASE_URL"):
        monkeypatch.delenv(name, raising=False)
    folder = tmp_path / "stack"
    password = ["--password-file", terminal.path("password")]

    def create(name: str, *more: str) -> Said:
        return terminal.amp0("issuer", "create", name, *more, *password, "--json")

    data = ["--data-dir", str(folder / "server")]
    assert create("bonds", *data).code == 11
    assert create("bonds").code == 2
    ports: Callable[..., list[str]] = lambda *names: [part for name in names for part in (name, "0")]  # noqa: E731
    arguments = ("stack", "run", "--data-dir", str(folder), *ports("--wamp-port", "--cosign-port", "--chain-port"))
    with running(*arguments) as (_, ready):
        made = create("bonds", *data, "--person", "Carol").json()
        assert made["username"] == "bonds"
        assert create("bonds", *data).code == 20
        with IssuerClient(ready["api"], "bonds", PASSWORD) as client:
            assert client.assets() == []
        assert create("others", "--dev-url", ready["chain"]).json()["id"] == made["id"] + 1
        assert create("others", "--dev-url", ready["chain"]).code == 60
        assert create("more", "--dev-url", ready["chain"], "--person", "x").code == 2
        assert create("more", "--dev-url", "http://issuer.example").code == 60


def test_i04_a_command_killed_while_it_waits_goes_on_when_it_is_run_again(tmp_path: Path, terminal: Terminal) -> None:
    with Stack.on_free_ports(node_port=0) as stack:
        assert stack.node_url is not None
        assert stack.node_cookie is not None
        stack.dev.create_issuer("bonds", PASSWORD)
        treasury = NodeTreasury(stack.node_url, stack.node_cookie)
        node = ["--node", stack.node_url, "--node-auth-file", str(stack.node_cookie)]
        login = ["--url", stack.api_url, "--username", "bonds", "--password-file", terminal.path("password")]
        made = terminal.amp0(
            "issuer", "asset", "issue", "Test Bond", "--ticker", "BND", "--domain", "example.com", "--pubkey", PUBKEY,
            "--amount", "1000", *node, *login, "--json",
        ).json()  # fmt: skip
        stack.dev.mine(2)
        wait_for_treasury(Desk(terminal, stack, "bonds", "BND"), 1000)
        words = ["issuer", "asset", "burn", "BND", "300", *node, *login, "--state-dir", str(tmp_path / "state")]
        process = subprocess.Popen([*AMP0, *words], stderr=subprocess.PIPE, text=True)
        assert process.stderr is not None
        for line in process.stderr:
            if line.startswith("sent"):
                break
        process.kill()
        process.communicate(timeout=PATIENCE)
        stack.dev.mine(2)
        again = terminal.amp0(*words, "--json").json()
        assert (again["satoshi"], again["resumed"]) == (300, True)
        assert asyncio.run(treasury.burns(made["asset_id"])) == [Move(again["txid"], 300)]
