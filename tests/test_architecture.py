"""The picture of docs/architecture.md, redrawn from the imports, so that it stays true.

import-linter (`make lint`) checks the same floors with its own eyes; here they are small enough to read, and
they also see imports inside functions. The sizes of the rooms are checked too.
"""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
SOURCE = ROOT / "src"
PACKAGE = SOURCE / "amp0"

#: Part → floor. Import downward only; neighbours on a floor are strangers.
FLOORS = {
    "errors": 0,
    "network": 1,
    "elements": 2,
    "protocol": 3,
    "chain": 3,
    "wallet": 4,
    "client": 5,
    "issuer": 5,
    "server": 5,
    "devchain": 5,
    "blocking": 6,
    "console": 6,
    "local": 7,
    "cli": 8,
}

#: Imports that LWK's own shape asks for (``network.tx_builder()``, ``Network.from_server()`` …): they happen
#: when called, never when imported.
DEFERRED_SUGAR = {"network"}

#: Libraries that have one home.
HOMES = {
    "wallycore": ("amp0.elements.wally",),
    "sqlalchemy": ("amp0.server",),
    "alembic": ("amp0.server",),
    "uvicorn": ("amp0.server", "amp0.devchain", "amp0.local", "amp0.cli"),
    "starlette": ("amp0.server", "amp0.devchain", "amp0.console", "amp0.local"),
    "click": ("amp0.cli",),
    "rich": ("amp0.cli",),
    "websockets": ("amp0.client", "amp0.server"),
}

MAX_MODULE_LINES = 700
MAX_FUNCTION_LINES = 80


@dataclass(frozen=True)
class Import:
    """One import statement: who, what, and whether it runs when the module is loaded."""

    importer: str
    imported: str
    deferred: bool
    line: int


def modules() -> dict[str, Path]:
    """Dotted name → file of every module of the package."""
    found = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(SOURCE).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


@cache
def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), filename=str(path))


def imports_in(name: str, path: Path) -> Iterator[Import]:
    """Every import of one module, those for type checkers excepted."""

    def walk(node: ast.AST, deferred: bool) -> Iterator[Import]:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
                for other in child.orelse:
                    yield from walk(other, deferred)
                continue
            if isinstance(child, ast.Import):
                for alias in child.names:
                    yield Import(name, alias.name, deferred, child.lineno)
            elif isinstance(child, ast.ImportFrom):
                assert child.level == 0, f"{name}:{child.lineno} imports relatively; say the whole name"
                assert child.module is not None
                for alias in child.names:
                    yield Import(name, f"{child.module}.{alias.name}", deferred, child.lineno)
            else:
                inner = deferred or isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
                yield from walk(child, inner)

    yield from walk(tree_of(path), deferred=False)


@cache
def all_imports() -> tuple[Import, ...]:
    return tuple(found for name, path in modules().items() for found in imports_in(name, path))


def part_of(name: str) -> str | None:
    """``amp0.elements.pset.Pset`` → ``elements``; the package itself → None."""
    parts = name.split(".")
    return parts[1] if parts[0] == "amp0" and len(parts) > 1 else None


def test_every_part_of_the_package_has_a_floor() -> None:
    parts = {part_of(name) for name in modules()} - {None}
    assert parts <= FLOORS.keys()


def test_imports_go_downward_only_and_neighbours_stay_strangers() -> None:
    wrong = []
    for found in all_imports():
        upper, lower = part_of(found.importer), part_of(found.imported)
        if upper is None or lower is None or upper == lower or lower not in FLOORS:
            continue
        if found.deferred and upper in DEFERRED_SUGAR:
            continue
        if FLOORS[lower] >= FLOORS[upper]:
            wrong.append(f"{found.importer}:{found.line} imports {found.imported}")
    assert not wrong, "\n".join(wrong)


def test_no_module_imports_the_package_itself() -> None:
    """``from amp0 import Network`` inside the package would go through the lazy public names."""
    names = modules()
    wrong = [
        f"{found.importer}:{found.line} imports {found.imported}"
        for found in all_imports()
        if found.imported.startswith("amp0.") and found.imported.count(".") == 1 and found.imported not in names
    ]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("library", sorted(HOMES))
def test_a_library_with_a_home_is_imported_only_there(library: str) -> None:
    wrong = [
        f"{found.importer}:{found.line}"
        for found in all_imports()
        if found.imported.split(".")[0] == library
        and not any(found.importer == home or found.importer.startswith(home + ".") for home in HOMES[library])
    ]
    assert not wrong, f"{library} is imported outside {HOMES[library]}:\n" + "\n".join(wrong)


def test_only_the_settings_and_the_command_line_read_the_environment() -> None:
    """The library takes arguments; the server's settings are the only reader of ``AMP0_…``."""
    wrong = []
    for name, path in modules().items():
        if name.startswith(("amp0.server.settings", "amp0.cli")):
            continue
        for node in ast.walk(tree_of(path)):
            if isinstance(node, ast.Attribute) and ast.unparse(node) in {"os.environ", "os.getenv"}:
                wrong.append(f"{name}:{node.lineno}")
    assert not wrong, "\n".join(wrong)


def test_modules_are_rooms_not_halls() -> None:
    wrong = {
        name: lines
        for name, path in modules().items()
        if (lines := len(path.read_text(encoding="utf-8").splitlines())) > MAX_MODULE_LINES
    }
    assert not wrong


def test_functions_fit_on_a_page() -> None:
    wrong = []
    for name, path in modules().items():
        if ".migrations.versions." in name:
            continue  # A migration is one long list of facts, and never changes.
        for node in ast.walk(tree_of(path)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                assert node.end_lineno is not None
                lines = node.end_lineno - node.lineno + 1
                if lines > MAX_FUNCTION_LINES:
                    wrong.append(f"{name}.{node.name}: {lines} lines")
    assert not wrong, "\n".join(wrong)


def test_nothing_is_left_for_later() -> None:
    """No stubs and no notes to self in the source."""
    marks = re.compile(r"\b(?:TO" r"DO|FIX" r"ME|X" r"XX|NotImplemented" r"Error)\b")
    wrong = [
        f"{name}:{number}"
        for name, path in modules().items()
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if marks.search(line)
    ]
    assert not wrong, "\n".join(wrong)


# ------------------------------------------------------------- start-up


def loaded_by(statement: str) -> set[str]:
    """Names of all modules that a fresh interpreter has loaded after ``statement``."""
    code = f"import sys\n{statement}\nsys.stdout.write('\\n'.join(['', '<<loaded>>', *sys.modules]))"
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": str(SOURCE)},
    )
    return set(done.stdout.partition("<<loaded>>")[2].split())


HEAVY = (
    "wallycore",
    "cryptography",
    "sqlalchemy",
    "alembic",
    "uvicorn",
    "starlette",
    "websockets",
    "httpx",
    "msgspec",
    "rich",
)


def heavy(loaded: set[str]) -> set[str]:
    return {library for library in HEAVY if library in loaded}


def test_import_amp0_is_light() -> None:
    loaded = loaded_by("import amp0")
    assert not heavy(loaded)
    assert {name for name in loaded if name.startswith("amp0")} == {"amp0"}


def help_statement(*arguments: str) -> str:
    return (
        "from amp0.cli import main\n"
        f"sys.argv = ['amp0', *{arguments!r}]\n"
        "try:\n    main()\nexcept SystemExit as stop:\n    assert not stop.code, stop.code"
    )


def test_help_is_light() -> None:
    assert not heavy(loaded_by(help_statement("--help")))


def test_help_of_a_noun_is_light() -> None:
    assert not heavy(loaded_by(help_statement("tx", "--help")))
