"""The root of the command tree; every noun is imported only when it is used."""

from __future__ import annotations

import click


@click.group()
def root() -> None:
    """AMP0 assets on Liquid: client, server and chain."""
