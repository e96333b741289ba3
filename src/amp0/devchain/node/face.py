"""Composition of the node's face: wallet, calls, cookie, and the application that serves them.

::

    built = build(dev=True)
    node = build_node(built, folder=None)
    uvicorn.run(node.app, port=7041)        # credentials: node.cookie, also in node.cookie_path

A wallet that is new gets coins from the faucet, in a block of their own.
"""

from __future__ import annotations

import os
import secrets
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from amp0.devchain.app import DevChain
from amp0.devchain.faucet import Payment
from amp0.devchain.node.chain_calls import ChainCalls
from amp0.devchain.node.rpc import JsonRpc
from amp0.devchain.node.store import write_private
from amp0.devchain.node.wallet import NodeWallet
from amp0.devchain.node.wallets import Wallets

PORT = 7041
"""Where the RPC of a Liquid node is expected."""
USER = "__cookie__"
FIRST_COINS, FIRST_COIN = 10, 10_000_000_000
"""Coins of the policy asset that a new wallet is given, and the satoshi of each."""


@dataclass(frozen=True, slots=True)
class NodeFace:
    """What :func:`build_node` made. ``cookie`` is ``user:password``."""

    app: JsonRpc
    wallet: NodeWallet
    cookie: str
    cookie_path: Path

    def __repr__(self) -> str:
        return f"NodeFace(cookie_path={str(self.cookie_path)!r})"

    def close(self) -> None:
        """Delete the cookie file: a new start makes a new cookie."""
        self.cookie_path.unlink(missing_ok=True)


def build_node(
    built: DevChain,
    *,
    folder: Path | None = None,
    random: Callable[[int], bytes] = secrets.token_bytes,
) -> NodeFace:
    """The node over a development chain.

    ``folder`` keeps its wallets (``wallet.json``, and those with names below ``wallets``) and holds its cookie
    (``.cookie``); without one they are in memory and the cookie in a temporary file. Raises
    :class:`~amp0.errors.ConfigError` for a folder that cannot be used.
    """
    network = built.esplora.network
    wallets = Wallets(built.chain, network, folder, random)
    wallet = wallets.first
    if wallets.is_new:
        scripts = [wallet.new_script().script for _ in range(FIRST_COINS)]
        payments = [Payment(script, wallet.blinding_pubkey(script), FIRST_COIN) for script in scripts]
        built.faucet.pay_together(payments)
        built.chain.mine()
    cookie = f"{USER}:{secrets.token_hex(32)}"
    path = _cookie_path(folder)
    write_private(path, cookie.encode("ascii"))
    return NodeFace(JsonRpc(ChainCalls(built.chain, network).table(), wallets, cookie), wallet, cookie, path)


def _cookie_path(folder: Path | None) -> Path:
    if folder is not None:
        return folder / ".cookie"
    descriptor, name = tempfile.mkstemp(prefix="amp0-node-", suffix=".cookie")
    os.close(descriptor)
    return Path(name)


__all__ = ["PORT", "NodeFace", "build_node"]
