"""Secrets reach the command line from a file, a file descriptor, standard input or a prompt; never from argv.

Arguments are visible to every user of the machine and end up in shell histories, so there is no option that
takes a secret itself.
"""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import click

from amp0.errors import ConfigError

MAX_SECRET = 64 * 1024
"""Largest secret that is read, in bytes."""

Command = TypeVar("Command", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True)
class SecretSource:
    """Where one secret comes from: ``path`` (``-`` is standard input), or ``fd``, or else a prompt."""

    name: str
    path: str | None
    fd: int | None

    def read(self, *, confirm: bool = False) -> str:
        """The secret, without a trailing newline. Raises :class:`ConfigError` when there is none.

        ``confirm`` asks twice when a person types it.
        """
        if self.path is not None and self.fd is not None:
            raise click.UsageError(f"give --{self.name}-file or --{self.name}-fd, not both")
        if self.path == "-":
            text = sys.stdin.read(MAX_SECRET + 1)
        elif self.path is not None:
            text = _read_file(self.name, Path(self.path))
        elif self.fd is not None:
            text = _read_fd(self.name, self.fd)
        elif sys.stdin.isatty():
            text = click.prompt(
                self.name.capitalize().replace("-", " "), hide_input=True, confirmation_prompt=confirm, err=True
            )
        else:
            raise ConfigError(
                f"no {self.name}: give --{self.name}-file FILE (- is standard input) or --{self.name}-fd NUMBER"
            )
        secret = text.rstrip("\r\n")
        if not secret.strip():
            raise ConfigError(f"the {self.name} is empty")
        if len(text) > MAX_SECRET:
            raise ConfigError(f"the {self.name} is longer than {MAX_SECRET} bytes: is it the right file?")
        return secret

    @property
    def is_given(self) -> bool:
        """Whether a file or a descriptor was named."""
        return self.path is not None or self.fd is not None

    @property
    def is_readable(self) -> bool:
        """Whether there is a source, be it a person at the terminal."""
        return self.is_given or sys.stdin.isatty()

    def __repr__(self) -> str:
        return f"SecretSource({self.name!r})"


def require_one_stdin(*sources: SecretSource) -> None:
    """Refuse two secrets from standard input."""
    named = [source.name for source in sources if source.path == "-"]
    if len(named) > 1:
        raise click.UsageError(f"the {named[0]} and the {named[1]} cannot both come from standard input")


def secret_options(name: str, what: str) -> Callable[[Command], Command]:
    """Add ``--NAME-file`` and ``--NAME-fd``; the command gets ``NAME``, a :class:`SecretSource`."""

    def decorate(command: Command) -> Command:
        import functools

        key = name.replace("-", "_")

        @functools.wraps(command)
        def with_source(*args: Any, **kwargs: Any) -> Any:
            source = SecretSource(name, kwargs.pop(f"{key}_file"), kwargs.pop(f"{key}_fd"))
            return command(*args, **{key: source}, **kwargs)

        file_option = click.option(
            f"--{name}-file", metavar="FILE", help=f"File that holds {what}; - is standard input."
        )
        fd_option = click.option(
            f"--{name}-fd", metavar="NUMBER", type=int, help=f"File descriptor to read {what} from."
        )
        return file_option(fd_option(with_source))  # type: ignore[return-value]

    return decorate


def _read_file(name: str, path: Path) -> str:
    try:
        with path.open(encoding="utf-8") as file:
            mode = os.fstat(file.fileno()).st_mode
            if os.name == "posix" and stat.S_ISREG(mode) and mode & 0o077:
                click.echo(f"warning: others can read {path}; chmod 600 it", err=True)
            return file.read(MAX_SECRET + 1)
    except UnicodeDecodeError:
        raise ConfigError(f"the {name} file {path} is not text") from None
    except OSError as error:
        raise ConfigError(f"cannot read the {name} file {path}: {error.strerror}") from None


def _read_fd(name: str, fd: int) -> str:
    try:
        with os.fdopen(fd, encoding="utf-8") as file:
            return file.read(MAX_SECRET + 1)
    except UnicodeDecodeError:
        raise ConfigError(f"the {name} on descriptor {fd} is not text") from None
    except OSError as error:
        raise ConfigError(f"cannot read the {name} from descriptor {fd}: {error.strerror}") from None


def write_secret(path: Path, text: str) -> None:
    """Write a new file that only its owner can read; refuses to overwrite."""
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text + "\n")
            file.flush()
            os.fsync(file.fileno())
    except FileExistsError:
        raise ConfigError(
            f"{path} exists already and is not overwritten: it may be somebody's only key; to go on with it, "
            "give it as --mnemonic-file"
        ) from None
    except OSError as error:
        raise ConfigError(f"cannot write {path}: {error.strerror}") from None
