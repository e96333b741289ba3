"""Second factors on the command line: in two steps, in one, with a pipe, and typed by a person."""

from __future__ import annotations

import json
import os
import threading
import time
from pathlib import Path

import pyotp
import pytest

from amp0.cli.code import CodeSource, type_again
from amp0.cli.secret import SecretSource
from amp0.client.two_factor import TwoFactorCode, TwoFactorConfig, TwoFactorMethod
from amp0.errors import TwoFactorRequired, WrongTwoFactorCode
from amp0.local.stack import Stack
from tests.cli.conftest import Said, Terminal, deposit
from tests.patience import PATIENCE


class Operator:
    """Runs commands with the signer, and reads codes from the outbox."""

    def __init__(self, terminal: Terminal, stack: Stack) -> None:
        self.terminal = terminal
        self.stack = stack
        self.email = f"{terminal.username.replace(' ', '-')}@venue.example"

    def run(self, *arguments: str, stdin: str = "") -> Said:
        signer = ["--network", self.terminal.network, "--mnemonic-file", self.terminal.path("mnemonic")]
        return self.terminal.amp0(*arguments, *signer, stdin=stdin)

    def code(self) -> str:
        said = self.terminal.amp0("stack", "outbox", "--chain", self.stack.chain_url, "--to", self.email, "--code")
        assert said.code == 0, said.err
        return said.out.strip()

    def enable_email(self) -> None:
        begun = self.run("2fa", "enable", "email", self.email)
        assert begun.code == 0, begun.err
        assert "amp0 2fa confirm email" in begun.err
        done = self.run("2fa", "confirm", "email", "--code-file", "-", "--json", stdin=self.code())
        assert done.json()["enabled"] == ["email"]


@pytest.fixture
def operator(opened: Terminal, stack: Stack) -> Operator:
    return Operator(opened, stack)


def test_two_methods_and_a_payment_with_each(operator: Operator) -> None:
    terminal, stack = operator.terminal, operator.stack
    address = deposit(terminal, stack, 50_000)
    operator.enable_email()
    told = operator.run("2fa", "status")
    assert told.code == 0, told.err
    assert operator.email in told.out
    assert "second method" in told.err

    # An authenticator, in two runs: the URL, then its code and one of the method that is there already.
    shown = operator.run("2fa", "enable", "totp", "--json").json()
    assert shown["enabled"] is False
    totp = pyotp.parse_uri(shown["otpauth_url"])
    assert isinstance(totp, pyotp.TOTP)
    new = Path(terminal.path("new"))
    new.touch(mode=0o600)
    new.write_text(totp.at(int(time.time())), encoding="utf-8")
    enable = ["2fa", "enable", "totp", "--new-code-file", str(new)]
    asked = operator.run(*enable)
    assert asked.code == 53
    assert "--code-sent" in asked.err
    done = operator.run(*enable, "--code-sent", "--code-file", "-", "--json", stdin=operator.code())
    assert done.json()["enabled"] == ["email", "totp"]

    status = terminal.amp0(
        "2fa", "status", "--network", terminal.network, "--username", terminal.username, "--password-file",
        terminal.path("password"), "--json",
    ).json()  # fmt: skip
    assert status["enabled"] == ["email", "totp"]
    assert status["methods"]["email"]["address"] != operator.email
    assert (status["limit"], status["reset"]["active"]) == (0, False)

    # A payment in steps. Without a choice between the two nothing is sent.
    built = terminal.venue("tx", "build", "--to", f"{address}:1000")
    assert built.code == 0, built.err
    signed = operator.run("tx", "sign", "--in", "-", stdin=built.out)
    step = Path(terminal.path("signed.json"))
    step.write_text(signed.out, encoding="utf-8")
    cosign = ["tx", "cosign", "--in", str(step)]
    assert terminal.venue(*cosign).code == 2
    asked = terminal.venue(*cosign, "--method", "email")
    assert asked.code == 53
    wrong = terminal.venue(*cosign, "--method", "email", "--code-sent", "--code-file", "-", stdin="000000x")
    assert wrong.code == 54
    again = terminal.venue(*cosign, "--method", "email", "--code-sent", "--code-file", "-", stdin=operator.code())
    assert again.code == 0, again.err
    broadcast = terminal.amp0("tx", "broadcast", "--network", terminal.network, stdin=again.out)
    assert broadcast.code == 0, broadcast.err
    stack.dev.mine()

    # And in one go: the code comes through a pipe once it was sent.
    reader, writer = os.pipe()
    earlier = operator.code()

    def bring() -> None:
        while True:
            messages = [m["code"] for m in stack.dev.outbox() if m["to"] == operator.email and m["code"]]
            if messages[-1] != earlier:
                break
            time.sleep(0.02)
        os.write(writer, messages[-1].encode())
        os.close(writer)

    thread = threading.Thread(target=bring)
    thread.start()
    sent = terminal.venue(
        "send", "--mnemonic-file", terminal.path("mnemonic"), "--to", f"{address}:2000", "--method", "email",
        "--code-fd", str(reader), "--json",
    )  # fmt: skip
    thread.join()
    assert sent.json()["fee"] > 0


def test_limits_coins_and_disabling(operator: Operator) -> None:
    terminal, stack = operator.terminal, operator.stack
    address = deposit(terminal, stack, 30_000)
    assert operator.run("limits", "show", "--json").json() == {"total": 0}
    operator.enable_email()
    assert operator.run("limits", "set", "5000").code == 53
    with_code = ["--code-sent", "--code-file", "-"]
    assert operator.run("limits", "set", "5000", *with_code, "--json", stdin=operator.code()).json() == {"total": 5000}
    paid = terminal.venue("send", "--mnemonic-file", terminal.path("mnemonic"), "--to", f"{address}:700", "--json")
    assert paid.json()["fee"] > 0
    stack.dev.mine()
    assert operator.run("limits", "set", "3", "--json").json() == {"total": 3}

    listed = terminal.venue("coins", "list", "--json").json()
    assert [coin["frozen"] for coin in listed] == [False] * len(listed)
    coin = listed[0]["outpoint"]
    assert operator.run("coins", "freeze", coin).code == 53
    frozen = operator.run("coins", "freeze", coin, *with_code, "--json", stdin=operator.code())
    assert frozen.json() == {"frozen": [coin]}
    assert [row["frozen"] for row in terminal.venue("coins", "list", "--json").json()].count(True) == 1
    assert "yes" in terminal.venue("coins", "list").out
    for row in listed[1:]:
        assert row["outpoint"] != coin
    total = sum(row["satoshi"] for row in listed)
    assert terminal.venue("tx", "build", "--to", f"{address}:{total - 500}").code == 71
    assert operator.run("coins", "unfreeze", coin, "--json").json() == {"frozen": []}

    assert operator.run("2fa", "disable", "email").code == 53
    gone = operator.run("2fa", "disable", "email", *with_code, "--json", stdin=operator.code())
    assert gone.json()["enabled"] == []
    assert operator.run("2fa", "disable", "email").code == 50


def test_a_reset_from_its_beginning_to_its_end(operator: Operator) -> None:
    terminal = operator.terminal
    operator.enable_email()
    mine, claimant = operator.email, f"new-{operator.email}"
    operator.email = claimant
    assert operator.run("2fa", "reset", claimant).code == 53
    with_code = ["--code-sent", "--code-file", "-", "--json"]
    assert operator.run("2fa", "reset", claimant, *with_code, stdin=operator.code()).json()["active"]
    blocked = operator.run("limits", "set", "9", "--code-sent", "--code-file", "-", stdin="1")
    assert blocked.code == 50
    assert "reset" in blocked.err
    disputer = operator.email = f"third-{mine}"
    assert operator.run("2fa", "dispute", disputer).code == 53
    assert operator.run("2fa", "dispute", disputer, *with_code, stdin=operator.code()).json()["disputed"]
    assert "disputed" in operator.run("2fa", "status").out
    early = operator.run("2fa", "resolve", "keep")
    assert early.code == 50
    assert "90 days" in early.err
    assert operator.run("2fa", "undo", disputer).code == 53
    undone = operator.run("2fa", "undo", disputer, *with_code, stdin=operator.code()).json()
    assert (undone["active"], undone["disputed"]) == (True, False)
    operator.email = mine
    assert operator.run("2fa", "cancel").code == 53
    assert operator.run("2fa", "cancel", *with_code, stdin=operator.code()).json()["active"] is False
    assert mine not in terminal.venue("balance").err


def test_notices_without_a_second_factor(operator: Operator) -> None:
    assert operator.run("2fa", "contact", operator.email).code == 0
    done = operator.run("2fa", "confirm", "contact", "--code-file", "-", "--json", stdin=operator.code()).json()
    assert done["enabled"] == []
    assert done["methods"]["email"]["confirmed"]


def test_mistakes_are_said_before_anything_is_done(operator: Operator) -> None:
    for arguments in (["enable", "totp", "x"], ["enable", "sms"], ["enable", "pigeon", "x"], ["resolve", "win"]):
        assert operator.run("2fa", *arguments).code == 2, arguments
    assert operator.run("2fa", "enable", "sms", "079 000 00 00").code == 50
    none = operator.terminal.amp0("stack", "outbox", "--chain", operator.stack.chain_url, "--to", "nobody", "--code")
    assert none.code == 60


def test_the_outbox_for_people_and_programs(operator: Operator) -> None:
    operator.run("2fa", "enable", "email", operator.email)
    chain = ["--chain", operator.stack.chain_url, "--to", operator.email]
    (message,) = operator.terminal.amp0("stack", "outbox", *chain, "--json").json()
    assert message["code"] in message["text"]
    assert message["code"] in operator.terminal.amp0("stack", "outbox", *chain).out
    moved = operator.terminal.amp0("stack", "clock", "--chain", operator.stack.chain_url, "0", "--json").json()
    assert abs(moved["now"] - time.time()) < PATIENCE


# --- a person at the terminal ---------------------------------------------------------------------

CONFIG = TwoFactorConfig((TwoFactorMethod("email", True, True, "o***"), TwoFactorMethod("gauth", True, True, "")))


@pytest.fixture
def typed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What a person will type, answer by answer."""
    answers: list[str] = []
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    monkeypatch.setattr("click.prompt", lambda *args, **kwargs: answers.pop(0))
    return answers


def test_a_person_chooses_a_method_and_may_mistype(typed: list[str]) -> None:
    typed += ["email", "111111", "222222"]
    asked: list[str] = []

    def act(code: TwoFactorCode | None) -> TwoFactorCode | None:
        if code == ("email", "111111"):
            raise WrongTwoFactorCode("wrong")
        return code

    source = CodeSource(None, SecretSource("code", None, None), False)
    assert source.authorise(CONFIG, asked.append, act) == ("email", "222222")
    assert asked == ["email"]


def test_the_third_wrong_code_is_the_last(typed: list[str]) -> None:
    typed += ["1", "2", "3", "4"]

    def act(code: str) -> None:
        raise WrongTwoFactorCode("wrong")

    with pytest.raises(WrongTwoFactorCode):
        type_again(SecretSource("code", None, None), act)
    assert typed == ["4"]


def test_a_file_is_tried_once(tmp_path: Path) -> None:
    path = tmp_path / "code"
    path.write_text("123456\n", encoding="utf-8")
    path.chmod(0o600)
    tries: list[str] = []

    def act(code: str) -> None:
        tries.append(code)
        raise WrongTwoFactorCode("wrong")

    with pytest.raises(WrongTwoFactorCode):
        type_again(SecretSource("code", str(path), None), act)
    assert tries == ["123456"]


def test_no_code_is_sent_for_an_authenticator(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin.isatty", lambda: False, raising=False)
    source = CodeSource("totp", SecretSource("code", None, None), False)
    with pytest.raises(TwoFactorRequired, match="authenticator"):
        source.authorise(CONFIG, lambda method: pytest.fail("sent"), lambda code: None)


def test_errors_of_codes_are_objects_for_programs(operator: Operator) -> None:
    operator.enable_email()
    said = operator.run("limits", "set", "10", "--json")
    assert json.loads(said.err.splitlines()[-1])["error"]["exit_code"] == 53
