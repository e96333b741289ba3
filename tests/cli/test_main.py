"""How the command ends: exit codes, one sentence on stderr, signals in order."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time

import click
import pytest

from amp0 import cli, errors
from amp0.cli import root as root_module
from amp0.cli.exit_codes import exit_code
from amp0.cli.waiting import until_stopped
from tests.patience import PATIENCE


def run(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], error: BaseException, *arguments: str
) -> tuple[int, str, str]:
    """The exit code, stdout and stderr of a command that raises ``error``."""

    @click.command()
    @click.option("--json", is_flag=True)
    def failing(json: bool) -> None:
        raise error

    monkeypatch.setattr(root_module, "root", failing)
    monkeypatch.setattr(sys, "argv", ["amp0", *arguments])
    with pytest.raises(SystemExit) as stopped:
        cli.main()
    said = capsys.readouterr()
    assert isinstance(stopped.value.code, int)
    return stopped.value.code, said.out, said.err


def test_an_error_of_ours_is_one_sentence_and_its_exit_code(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, err = run(monkeypatch, capsys, errors.InsufficientFunds("aa" * 32, 10, 3))
    assert (code, out) == (71, "")
    assert err.startswith("amp0: InsufficientFunds")
    assert err.count("\n") == 1


def test_with_json_an_error_is_one_object(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = run(monkeypatch, capsys, errors.LoginFailed("User not found"), "--json")
    assert (code, out) == (51, "")
    assert json.loads(err) == {"error": {"type": "LoginFailed", "message": "User not found", "exit_code": 51}}


def test_interruption_has_the_shell_s_code(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(monkeypatch, capsys, KeyboardInterrupt())[0] == 130


def test_wrong_usage_is_two(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = run(monkeypatch, capsys, click.UsageError("say whom to pay"))
    assert code == 2
    assert "say whom to pay" in err


def test_a_part_that_is_not_installed_names_what_to_install(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The bare package is the client; server and chain are extras."""
    code, _, err = run(monkeypatch, capsys, ModuleNotFoundError("No module", name="uvicorn.config"))
    assert code == 11
    assert "amp0[server,devchain]" in err
    with pytest.raises(ModuleNotFoundError):
        run(monkeypatch, capsys, ModuleNotFoundError("No module", name="amp0.lost"))


def test_a_bug_is_not_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    @click.command()
    def failing() -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(root_module, "root", failing)
    monkeypatch.setattr(sys, "argv", ["amp0"])
    with pytest.raises(ZeroDivisionError):
        cli.main()


def test_the_nearest_class_gives_the_exit_code() -> None:
    assert exit_code(errors.InvalidPset("x")) == exit_code(errors.InvalidInput("x"))
    assert exit_code(errors.NetworkMismatch("x")) != exit_code(errors.InvalidInput("x"))


def test_an_unknown_command_and_no_command_are_wrong_usage() -> None:
    for arguments in (["nonsense"], ["tx", "nonsense"], ["demo", "--nonsense"]):
        done = subprocess.run(
            [sys.executable, "-c", "from amp0.cli import main; main()", *arguments],
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 2, arguments
        assert "nonsense" in done.stderr


@pytest.mark.parametrize("kind", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_wait_and_the_handlers_are_restored(kind: signal.Signals) -> None:
    before = signal.getsignal(kind)
    ended = False
    with until_stopped() as wait:
        threading.Timer(0.05, os.kill, (os.getpid(), kind)).start()
        wait()
        ended = True
    assert ended
    assert signal.getsignal(kind) is before


def test_a_signal_before_all_is_ready_unwinds_what_was_started() -> None:
    unwound = False
    with until_stopped():
        threading.Timer(0.05, os.kill, (os.getpid(), signal.SIGTERM)).start()
        try:
            time.sleep(PATIENCE)
        finally:
            unwound = True
    assert unwound
