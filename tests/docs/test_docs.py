"""What exists is documented: commands, options, settings, procedures, errors; and links lead somewhere."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from amp0 import errors
from amp0.cli.exit_codes import EXIT_CODES, exit_code
from amp0.cli.root import COMMANDS, root

ROOT = Path(__file__).resolve().parent.parent.parent
PAGES = sorted([ROOT / "README.md", ROOT / "CHANGELOG.md", *(ROOT / "docs").rglob("*.md")])


def page(name: str) -> str:
    return (ROOT / "docs" / name).read_text(encoding="utf-8")


def commands(group: click.Group, path: tuple[str, ...] = ()) -> Iterator[tuple[str, click.Command]]:
    """Every command that does something, under its whole name."""
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        if isinstance(command, click.Group):
            yield from commands(command, (*path, name))
        else:
            yield " ".join((*path, name)), command


def test_every_command_is_documented() -> None:
    text = page("cli.md")
    missing = [name for name, _ in commands(root) if f"amp0 {name}" not in text]
    assert not missing


def test_every_option_is_documented() -> None:
    text = page("cli.md")
    missing = {
        f"{name} {option}"
        for name, command in commands(root)
        for parameter in command.params
        if isinstance(parameter, click.Option)
        for option in (*parameter.opts, *parameter.secondary_opts)
        if option.startswith("--") and f"`{option}" not in text
    }
    assert not missing


def test_the_commands_of_every_page_exist() -> None:
    """Words and options of each line that begins with ``amp0``; what stands in their place is the reader's."""
    known = dict(commands(root))
    seen = set()
    for path in PAGES:
        for line in re.findall(r"^    amp0 (.+?)(?:\\\\)?$", path.read_text(encoding="utf-8"), re.MULTILINE):
            words = line.partition("  #")[0].split()
            name = next((" ".join(words[:n]) for n in (3, 2, 1) if " ".join(words[:n]) in known), None)
            assert name is not None, f"{path.name}: amp0 {line}"
            options = {option for p in known[name].params for option in (*p.opts, *p.secondary_opts)}
            used = {word.partition("=")[0] for word in words if word.startswith("--")}
            assert used <= options, f"{path.name}: amp0 {line}"
            seen.add(name)
    assert {"2fa enable", "limits set", "tx cosign", "send"} <= seen


def test_the_short_helps_are_those_of_the_commands() -> None:
    """The root keeps them itself so that it need not import; they must not drift."""
    context = click.Context(root)
    for name, (_, short) in COMMANDS.items():
        command = root.get_command(context, name)
        assert command is not None
        assert command.name == name
        assert command.help, name
        assert short.endswith(".")


def test_every_error_and_its_exit_code_are_documented() -> None:
    rows = dict(re.findall(r"^\| `(\w+)` \|.*\| (\d+) \|$", page("errors.md"), re.MULTILINE))
    for name, kind in vars(errors).items():
        if isinstance(kind, type) and issubclass(kind, errors.Amp0Error):
            nearest = next(base for base in kind.__mro__ if base in EXIT_CODES)
            assert rows.get(name) == str(EXIT_CODES[nearest]), name


def test_exit_codes_are_all_different_and_none_is_a_shell_s_own() -> None:
    codes = list(EXIT_CODES.values())
    assert len(set(codes)) == len(codes)
    assert all(2 < code < 126 for code in codes)
    assert exit_code(RuntimeError()) == 1


def test_every_setting_is_documented() -> None:
    from amp0.server.settings import PREFIX, Settings

    text = page("server.md")
    names = [PREFIX + field.name.upper() for field in dataclasses.fields(Settings)]
    assert not [name for name in names if f"`{name}`" not in text]


def test_every_procedure_is_documented() -> None:
    from amp0.protocol.rpc import PREFIX, PROCEDURES

    text = page("server.md")
    assert not [uri for uri in PROCEDURES if f"`{uri.removeprefix(PREFIX)}`" not in text]


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_somewhere(path: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)[^)]*\)", path.read_text(encoding="utf-8")):
        if "://" not in target:
            assert (path.parent / target).exists(), f"{path.name} links to {target}"


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_to_a_heading_find_it(path: Path) -> None:
    for target, anchor in re.findall(r"\]\(([^):]*?)#([^)]+)\)", path.read_text(encoding="utf-8")):
        page_there = (path.parent / target) if target else path
        if page_there.suffix == ".md":
            assert anchor in headings(page_there), f"{path.name} links to {target}#{anchor}"


def headings(path: Path) -> set[str]:
    """The names under which a page's headings are found, as GitHub makes them."""
    found = re.findall(r"^#+ (.+)$", path.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in found}


def test_the_readme_leads_to_every_page() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert [path.name for path in (ROOT / "docs").glob("*.md") if f"(docs/{path.name})" not in readme] == []


def test_the_glossary_is_in_order_and_has_the_words_of_the_issuer_s_page() -> None:
    words = re.findall(r"^\| \*\*([^*]+)\*\*", page("glossary.md"), re.MULTILINE)
    assert words == sorted(words, key=str.lower)
    assert {"treasury", "category", "assignment", "distribution", "reissuance token", "satoshi"} <= set(words)


def test_the_settings_of_the_service_s_file_are_settings() -> None:
    """What an operator copies into /etc/amp0.env is taken, each block for itself."""
    from amp0.server.settings import Settings

    blocks = re.findall(r"^```ini\n(.*?)^```$", page("server.md"), re.MULTILINE | re.DOTALL)
    assert len(blocks) == 2
    for block in blocks:
        values = dict(line.split("=", 1) for line in block.splitlines())
        settings = Settings.from_environment(values)
        assert settings.store_url().startswith("postgresql://" if "DATABASE" in block else "sqlite:///")


def test_make_lists_its_targets_and_the_readme_names_the_two_that_matter() -> None:
    text = (ROOT / "Makefile").read_text(encoding="utf-8")
    phony = re.search(r"^\.PHONY: (.*)$", text, re.MULTILINE)
    assert phony is not None
    assert set(phony[1].split()) == set(re.findall(r"^([a-z-]+):.*## ", text, re.MULTILINE))
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert readme.index("make demo") < readme.index("make test") < 400


def test_every_refusal_is_documented() -> None:
    from amp0.server.refusal import REFUSALS

    rows = {
        name: (int(status))
        for name, status in re.findall(r"^\| `(\w+)` \| (\d{3}) \|", page("server.md"), re.MULTILINE)
    }
    assert rows.items() >= {answer.name: answer.status for answer in REFUSALS.values()}.items()
