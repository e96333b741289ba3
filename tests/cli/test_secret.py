"""Secrets come from files, descriptors, standard input or a prompt, and from nowhere else."""

from __future__ import annotations

import io
import os
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from amp0.cli.root import root
from amp0.cli.secret import MAX_SECRET, SecretSource, secret_options, write_secret
from amp0.errors import ConfigError
from tests.docs.test_docs import commands


def private(path: Path, text: str) -> str:
    path.write_text(text, encoding="utf-8")
    path.chmod(0o600)
    return str(path)


def test_a_file_gives_its_text_without_the_final_line_break(tmp_path: Path) -> None:
    file = private(tmp_path / "password", " two words é \r\n")
    assert SecretSource("password", file, None).read() == " two words é "


def test_a_descriptor_gives_its_text() -> None:
    reader, writer = os.pipe()
    os.write(writer, b"from a pipe\n")
    os.close(writer)
    assert SecretSource("password", None, reader).read() == "from a pipe"


def test_standard_input_gives_its_text(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("typed elsewhere\n"))
    assert SecretSource("password", "-", None).read() == "typed elsewhere"


def test_without_a_source_and_a_terminal_the_options_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("not asked for\n"))
    with pytest.raises(ConfigError, match=r"--password-file FILE .* --password-fd NUMBER"):
        SecretSource("password", None, None).read()


def test_two_sources_are_one_too_many(tmp_path: Path) -> None:
    with pytest.raises(click.UsageError, match="not both"):
        SecretSource("password", str(tmp_path / "x"), 3).read()


def test_a_missing_file_an_empty_one_and_a_huge_one_are_told_apart(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot read"):
        SecretSource("password", str(tmp_path / "none"), None).read()
    with pytest.raises(ConfigError, match="is empty"):
        SecretSource("password", private(tmp_path / "empty", "\n"), None).read()
    with pytest.raises(ConfigError, match="right file"):
        SecretSource("password", private(tmp_path / "huge", "x" * (MAX_SECRET + 1)), None).read()
    with pytest.raises(ConfigError, match="cannot read"):
        SecretSource("password", None, 987_654).read()


def test_bytes_that_are_no_text_are_refused_without_showing_them(tmp_path: Path) -> None:
    path = tmp_path / "binary"
    path.write_bytes(b"\xff\xfe\x00key")
    with pytest.raises(ConfigError, match="is not text") as caught:
        SecretSource("mnemonic", str(path), None).read()
    assert "xff" not in str(caught.value)


@pytest.mark.skipif(os.name != "posix", reason="permissions are POSIX's")
def test_a_file_that_others_can_read_is_warned_of(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = private(tmp_path / "password", "secret")
    Path(file).chmod(0o644)
    SecretSource("password", file, None).read()
    said = capsys.readouterr().err
    assert "others can read" in said
    assert "secret" not in said.replace(str(tmp_path), "")


def test_a_new_secret_is_its_owner_s_and_is_never_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "mnemonic"
    write_secret(path, "abandon about")
    assert path.read_text(encoding="utf-8") == "abandon about\n"
    if os.name == "posix":
        assert path.stat().st_mode & 0o777 == 0o600
    with pytest.raises(ConfigError, match="exists already"):
        write_secret(path, "another")
    assert path.read_text(encoding="utf-8") == "abandon about\n"
    with pytest.raises(ConfigError, match="cannot write"):
        write_secret(tmp_path / "no" / "such" / "folder", "x")


def test_a_command_gets_one_source_per_secret(tmp_path: Path) -> None:
    @click.command()
    @secret_options("password", "the password")
    def probe(password: SecretSource) -> None:
        click.echo(len(password.read()))

    done = CliRunner().invoke(probe, ["--password-file", private(tmp_path / "p", "12345\n")])
    assert done.output == "5\n"


def test_no_option_of_any_command_takes_a_secret_itself() -> None:
    names = {
        f"{name} {option}"
        for name, command in commands(root)
        for parameter in command.params
        for option in parameter.opts
        if any(word in option for word in ("password", "passphrase", "mnemonic", "secret", "key", "seed"))
        and not option.endswith(("-file", "-fd"))
    }
    # The first names the file to write, the second key is public, the third names a request that is made again.
    assert names == {"account create --new-mnemonic", "issuer asset issue --pubkey", "issuer asset issue --key"}


def test_a_source_shows_no_path_and_no_secret() -> None:
    assert repr(SecretSource("password", "/somewhere", None)) == "SecretSource('password')"
