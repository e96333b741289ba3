"""The public names of the package: all there, light, and those of LWK that an AMP0 venue uses."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

import amp0
import amp0.errors

#: What the specification's Python snippets import.
SPECIFICATION = {
    "Network",
    "Signer",
    "Mnemonic",
    "Amp0Connected",
    "Amp0",
    "Wollet",
    "EsploraClient",
    "Amp0Pset",
}


@pytest.mark.parametrize("name", sorted(set(amp0.__all__)))
def test_every_public_name_is_there(name: str) -> None:
    assert getattr(amp0, name) is not None


def test_the_specification_finds_its_names() -> None:
    assert set(amp0.__all__) >= SPECIFICATION


def test_every_error_is_public() -> None:
    tree = {
        name
        for name, kind in vars(amp0.errors).items()
        if isinstance(kind, type) and issubclass(kind, amp0.errors.Amp0Error)
    }
    assert tree - set(amp0.__all__) == set()


def test_type_checkers_are_told_the_same_names() -> None:
    tree = ast.parse(Path(amp0.__file__).read_text(encoding="utf-8"))
    told = {
        (found.module, alias.asname)
        for node in tree.body
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        for found in node.body
        if isinstance(found, ast.ImportFrom)
        for alias in found.names
    }
    assert told == {(module, name) for module, names in amp0._EXPORTS.items() for name in names}


def test_the_version_is_that_of_the_package() -> None:
    text = (Path(__file__).parent.parent / "pyproject.toml").read_text(encoding="utf-8")
    found = re.search(r'^version = "(.+)"$', text, re.MULTILINE)
    assert found is not None
    assert found[1] == amp0.__version__


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'Wallet'"):
        _ = amp0.Wallet
