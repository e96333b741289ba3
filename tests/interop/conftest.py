"""A stack of ours on ports that LWK can be pointed at, and an LWK pointed at it."""

from __future__ import annotations

import platform
import shutil
from collections.abc import Iterator

import pytest

from amp0.local.stack import Stack
from tests.interop.lwk_peer import LwkPeer, NoLwk, four_digit_ports, installed, make_copy


@pytest.fixture(scope="module")
def stack() -> Iterator[Stack]:
    """Chain and server in memory, the server's two doors on ports of four digits."""
    wamp, cosign = four_digit_ports(2)
    with Stack(wamp_port=wamp, cosign_port=cosign, chain_port=0) as running:
        yield running


@pytest.fixture(scope="module")
def lwk(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LwkPeer]:
    """LWK in a process of its own, its regtest pointed at the stack."""
    folder = tmp_path_factory.mktemp("lwk")
    try:
        installed()
    except NoLwk as reason:
        pytest.skip(f"LWK IS NOT TESTED AGAINST: {reason}")
    try:
        make_copy(folder, stack.network)
    except NoLwk as reason:
        # The build that most people have must be patched; others differ in ways nobody has looked at.
        if platform.system() == "Linux" and platform.machine() == "x86_64":
            raise
        pytest.skip(f"LWK IS NOT TESTED AGAINST: {reason}")
    with LwkPeer.start(folder) as peer:
        yield peer
    shutil.rmtree(folder)
