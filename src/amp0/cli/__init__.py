"""The ``amp0`` command: ``amp0 <noun> <verb>``, a module per noun."""

from __future__ import annotations


def main() -> None:
    """Run the ``amp0`` command and exit with its code."""
    from amp0.cli.root import root

    root()
