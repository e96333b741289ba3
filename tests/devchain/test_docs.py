"""Routes that are served are documented."""

from __future__ import annotations

import re
from pathlib import Path

from tests.devchain.web import get, new_app

TEXT = (Path(__file__).parents[2] / "docs" / "devchain.md").read_text(encoding="utf-8")


def test_every_route_is_documented() -> None:
    built = new_app()
    assert built.dev is not None
    for route in built.dev.routes:
        assert f"POST /dev/{route}" in TEXT
    for route in built.esplora._routes:
        assert re.search(rf"`[^`]*/{route}\b", TEXT), route


def test_every_documented_route_is_served() -> None:
    """Those without arguments are asked for."""
    built = new_app()
    paths = re.findall(r"(?:GET |`)(/[a-z0-9_/-]+[a-z])`", TEXT)
    assert len(paths) > 8
    for path in paths:
        get(built, path)
