"""Golden vectors: where they come from is told in README.md beside this file."""

from __future__ import annotations

import functools
import json
from pathlib import Path
from typing import Any


@functools.cache
def load(name: str) -> Any:
    """One of the JSON files of this folder, parsed once per process."""
    return json.loads((Path(__file__).parent / name).read_text(encoding="utf-8"))
