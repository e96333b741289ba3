"""Lock the newest versions that pyproject.toml allows, for every platform and Python at once.

Writes ``requirements/*.txt`` with hashes and without the name of any package host. ``run.txt`` is what the
demo, the server and the client need; ``dev.txt`` adds the tools, at the same versions of what they share;
``lwk.txt``, ``gdk.txt`` and ``postgres.txt`` are peers that some platforms lack.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
REQUIREMENTS = ROOT / "requirements"

RUN = ["--extra", "server", "--extra", "devchain", "--group", "build"]
LOCKED: dict[str, list[str]] = {
    "run.txt": ["pyproject.toml", *RUN],
    "dev.txt": ["pyproject.toml", *RUN, "--group", "dev", "--constraints", "requirements/run.txt"],
    "lwk.txt": ["--group", "lwk"],
    "gdk.txt": ["--group", "gdk", "--constraints", "requirements/dev.txt"],
    "postgres.txt": ["--group", "postgres", "--constraints", "requirements/dev.txt"],
}


def lock(name: str, sources: list[str], extra: list[str]) -> None:
    """Resolve ``sources`` into ``requirements/<name>``."""
    command = [
        str(Path(sys.executable).with_name("uv")),
        "pip",
        "compile",
        *sources,
        "--universal",
        "--python-version=3.11",
        "--generate-hashes",
        "--no-emit-index-url",
        "--no-emit-find-links",
        "--custom-compile-command=make lock",
        "--no-annotate",
        "--quiet",
        f"--output-file=requirements/{name}",
        *extra,
    ]
    subprocess.run(command, cwd=ROOT, check=True)


def main() -> None:
    """Lock every file; arguments go to ``uv pip compile`` (``--upgrade-package NAME``, ``--upgrade``)."""
    extra = sys.argv[1:] or ["--upgrade"]
    REQUIREMENTS.mkdir(exist_ok=True)
    for name, sources in LOCKED.items():
        lock(name, sources, extra)


if __name__ == "__main__":
    main()
