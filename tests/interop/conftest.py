"""A stack of ours on ports that LWK can be pointed at, and the peers pointed at it."""

from __future__ import annotations

import platform
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from amp0.local.stack import Stack
from tests.interop.gdk_peer import CLI_VERSION, GdkPeer, GreenCli, NoGdk, registered_network
from tests.interop.gdk_peer import installed as installed_gdk
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


@pytest.fixture(scope="module")
def gdk(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[GdkPeer]:
    """GDK in a process of its own, with what the server tells of its network registered."""
    require_gdk()
    with GdkPeer.start(tmp_path_factory.mktemp("gdk"), registered_network(stack.cosign_url)) as peer:
        yield peer


@pytest.fixture
def green_cli(stack: Stack, tmp_path: Path) -> GreenCli:
    """The command green-cli, without a wallet yet."""
    require_gdk()
    return GreenCli(tmp_path, registered_network(stack.cosign_url))


def require_gdk() -> None:
    """Skip, saying why, where there is no GDK; the platforms that most people have must have one."""
    try:
        installed_gdk()
        installed_gdk("green-cli", CLI_VERSION)
    except NoGdk as reason:
        if (platform.system(), platform.machine()) == ("Linux", "x86_64") and sys.version_info < (3, 14):
            raise
        pytest.skip(f"GDK IS NOT TESTED AGAINST: {reason}")
