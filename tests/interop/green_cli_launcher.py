"""green-cli on a network of ours: registers the network, then runs green-cli's own main.

    python green_cli_launcher.py network.json [green-cli's own options and commands, --network NAME among them]

``network.json`` is what ``GET /v1/network`` answers. The name of the network must hold ``liquid``: green-cli has two
command lines, and chooses by that. What ``--network`` takes is fixed when green-cli is imported, so the network
is registered before that.

green-cli 0.8.1 was written for click before 8.2: it appends to the choices of an argument, which are a tuple since.
With a newer click they are made a list again, here and for this process; green-cli and click stay as they are.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import click
import green_gdk


def keep_choices_a_list() -> None:
    original = click.Choice.__init__

    def init(self: click.Choice[Any], *arguments: Any, **options: Any) -> None:
        original(self, *arguments, **options)
        self.choices = list(self.choices)  # type: ignore[assignment]

    click.Choice.__init__ = init  # type: ignore[method-assign]


def main() -> None:
    network = json.loads(Path(sys.argv.pop(1)).read_text())
    green_gdk.register_network(network["network"], network)
    keep_choices_a_list()
    from green_cli.green_cli import main as green_cli

    green_cli()


if __name__ == "__main__":
    main()
