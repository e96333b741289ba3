"""What the issuer's commands share: the login, the treasury's node, naming an asset, and showing what came back."""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from amp0.cli.output import json_option, note, print_facts, print_json, print_table
from amp0.cli.secret import SecretSource, secret_options

if TYPE_CHECKING:
    from amp0.blocking import IssuerClient
    from amp0.issuer import NodeTreasury, Progress

Command = TypeVar("Command", bound=Callable[..., Any])

URL = "http://127.0.0.1:9908/api"
NODE = "http://127.0.0.1:7041"
"""Where the local stack has them."""

_AMOUNTS = frozenset(
    {"amount", "satoshi", "balance", "reissuance_amount", "assignments_sum", "distributions_sum"}
    | {"issued", "reissued", "assigned", "distributed", "burned", "blacklisted", "reissuance_tokens"}
)
"""What is shown with separators. An id with one in it could not be handed in again."""
_TIME = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)\.000000Z")


@dataclass(frozen=True, slots=True)
class Login:
    """Who works, where, and how what comes back is shown."""

    url: str
    username: str
    password: SecretSource
    as_json: bool

    @contextmanager
    def open(self) -> Iterator[IssuerClient]:
        """The client; it logs in when it is first asked for something."""
        from amp0.blocking import IssuerClient

        with IssuerClient(self.url, self.username, self.password.read()) as client:
            yield client

    def show(self, value: Any, columns: Sequence[str] = ()) -> None:
        """A list as a table of some columns, one thing as names and values; all of it with ``--json``."""
        import msgspec

        rows = msgspec.to_builtins(value)
        if self.as_json:
            print_json(rows)
        elif isinstance(rows, list):
            heads = ["satoshi" if name in ("amount", "balance", "reissuance_amount") else name for name in columns]
            print_table(heads, [[_shown(name, row.get(name)) for name in columns] for row in rows])
        else:
            print_facts([(name, _shown(name, one)) for name, one in rows.items()])

    def told(self, progress: Progress) -> None:
        """How far an operation is, for whoever looks; with ``--json`` stderr is for errors alone."""
        if not self.as_json:
            note(f"{progress.step}: {progress.text}" + (f"  {progress.txid}" if progress.txid else ""))

    @contextmanager
    def resumable(self) -> Iterator[None]:
        """Around an operation of the treasury: who is stopped in the middle is told that it is safe to go on."""
        from amp0.errors import ConnectionFailed

        try:
            yield
        except (ConnectionFailed, KeyboardInterrupt):
            self.remark("stopped; run the same command again to go on: what was sent is finished, not sent twice")
            raise

    def remark(self, text: str) -> None:
        """Something to know beside the result; with ``--json`` stderr is for errors alone."""
        if not self.as_json:
            note(text)

    def waits(self, asset: str) -> None:
        """What was asked for loosens, and has not taken effect."""
        self.remark(f"not yet: this loosens, and waits. See: amp0 issuer rules changes {asset} --state pending")

    def done(self, text: str, **facts: object) -> None:
        """Something happened that has no answer of its own."""
        if self.as_json:
            print_json(facts)
        else:
            note(text)


def login_options(command: Command) -> Command:
    """Add ``--url``, ``--username``, the password's source and ``--json``; the command gets ``login``."""

    @functools.wraps(command)
    def with_login(*args: Any, url: str, username: str, password: SecretSource, as_json: bool, **kwargs: Any) -> Any:
        return command(*args, login=Login(url, username, password, as_json), **kwargs)

    decorated = json_option(with_login)
    decorated = secret_options("password", "the password of the issuer or manager")(decorated)
    decorated = click.option("--username", metavar="NAME", required=True, help="Login of the issuer, or of a manager.")(
        decorated
    )
    return click.option("--url", metavar="URL", default=URL, show_default=True, help="Base URL of the issuer API.")(
        decorated
    )  # type: ignore[return-value]


@dataclass(frozen=True, slots=True)
class Node:
    """The Elements node whose wallet is the treasury."""

    url: str
    auth_file: Path
    treasury: NodeTreasury = field(init=False)

    def __post_init__(self) -> None:
        from amp0.issuer import NodeTreasury

        object.__setattr__(self, "treasury", NodeTreasury(self.url, self.auth_file))


def node_options(*, required: bool = True) -> Callable[[Command], Command]:
    """Add ``--node`` and ``--node-auth-file``; the command gets ``node``, None where it is not needed."""

    def decorate(command: Command) -> Command:
        @functools.wraps(command)
        def with_node(*args: Any, node: str, node_auth_file: Path | None, **kwargs: Any) -> Any:
            if node_auth_file is not None and not node_auth_file.exists():
                from amp0.errors import BackendUnavailable

                raise BackendUnavailable(
                    f"there is no file {node_auth_file}: name the node's cookie, which is there only while the node "
                    "runs, or a file with user:password"
                )
            return command(*args, node=None if node_auth_file is None else Node(node, node_auth_file), **kwargs)

        decorated = click.option(
            "--node-auth-file",
            metavar="FILE",
            required=required,
            type=click.Path(dir_okay=False, path_type=Path),
            help="The node's cookie file, or one with user:password.",
        )(with_node)
        return click.option(
            "--node",
            metavar="URL",
            default=NODE,
            show_default=True,
            help="RPC of the Elements node whose wallet is the treasury; /wallet/NAME where it has several.",
        )(decorated)  # type: ignore[return-value]

    return decorate


state_dir_option = click.option(
    "--state-dir",
    metavar="DIR",
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder for a note that it is under way; the same one when it is run again. [default: amp0/issuer where your "
    "system keeps settings]",
)
"""Adds ``--state-dir``; the command gets ``state_dir``, for :func:`state_folder`."""


def state_folder(state_dir: Path | None) -> Path:
    """The folder of notes of what is under way: the one that was named, or the usual one."""
    return state_dir or Path(click.get_app_dir("amp0")) / "issuer"


def asset_argument(command: Command) -> Command:
    """Add ``ASSET``; see :func:`uuid_of`."""
    return click.argument("asset", metavar="ASSET")(command)


def uuid_of(client: IssuerClient, asset: str) -> str:
    """The UUID of an asset that is named by UUID, asset id or ticker. Raises :class:`InvalidInput`."""
    from amp0.errors import InvalidInput

    if len(asset) == 36 and asset.count("-") == 4:
        return asset.lower()
    found = [row.asset_uuid for row in client.assets() if asset.lower() in (row.asset_id, (row.ticker or "").lower())]
    if len(found) == 1:
        return found[0]
    which = "none of this login's assets has" if not found else f"{len(found)} assets have"
    raise InvalidInput(f"{which} the ticker or asset id {asset[:80]!r}; give the UUID (amp0 issuer asset list)")


def _shown(name: str, value: object) -> object:
    """A value under its name: amounts stay numbers, which get separators; ids, heights and the like get none."""
    if isinstance(value, int) and not isinstance(value, bool) and name not in _AMOUNTS:
        return str(value)
    return plain(value)


def plain(value: object) -> object:
    """A value for people. Names come from anywhere: nothing in them may steer the terminal."""
    if isinstance(value, str):
        text = "".join(character if character.isprintable() else " " for character in value)
        return _TIME.sub(r"\1Z", text) or None
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        if any(isinstance(one, list) for one in value):
            return plain(json.dumps(value, separators=(",", ":")))
        return ", ".join(str(plain(one)) for one in value) or None
    if isinstance(value, dict):
        return ", ".join(f"{name}={plain(one)}" for name, one in value.items()) or None
    return value
