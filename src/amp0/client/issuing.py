"""Taking addresses from the server, each one checked against the account's own keys."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from amp0.elements.descriptor import WolletDescriptor
from amp0.errors import RemoteProtocolError, SuspiciousIndex
from amp0.protocol import rpc

Call = Callable[[rpc.Procedure], Awaitable[Any]]
"""Makes one call, on whichever connection there is."""


async def issue_address(call: Call, descriptor: WolletDescriptor, known: int, limit: int) -> int:
    """Take the next address of an account; returns its pointer.

    ``known`` is the highest pointer known so far. Raises :class:`RemoteProtocolError` for an address that is
    not the account's under the pinned service key or was handed out before, :class:`SuspiciousIndex` for a
    pointer more than ``limit`` ahead.
    """
    account = descriptor.account
    reply: rpc.FundReply = await call(rpc.Fund(account))
    if (reply.subaccount, reply.branch, reply.addr_type) != (account, 1, rpc.ADDRESS_TYPE):
        raise RemoteProtocolError(
            "Unexpected address data: the AMP0 server sent an address of another account or type; do not use it"
        )
    if reply.pointer <= known:
        raise RemoteProtocolError(
            f"the AMP0 server handed out address {reply.pointer} again, after {known}; do not use it. "
            "Ask the server's operator whether it lost data"
        )
    require_bounded_jump(known, reply.pointer, limit)
    require_script(descriptor, reply.pointer, reply.script)
    return reply.pointer


def require_bounded_jump(known: int, claimed: int, limit: int) -> None:
    """Raise :class:`SuspiciousIndex` when the server's index runs more than ``limit`` ahead."""
    if claimed - known > limit:
        raise SuspiciousIndex(known, claimed, limit)


def require_script(descriptor: WolletDescriptor, pointer: int, script: str) -> None:
    """Refuse a witness script (hex) that our own keys and the pinned service key do not lead to."""
    if descriptor.witness_script(pointer).hex() != script.lower():
        raise RemoteProtocolError(
            f"Unexpected address: the AMP0 server's address {pointer} is not this account's under the service "
            f"key {descriptor.service_key.fingerprint().hex()}; coins sent there could be lost. The server's key "
            "may have changed: ask its operator"
        )


async def upload_addresses(call: Call, account: int, addresses: Sequence[str]) -> None:
    """Give the server the confidential forms of issued addresses."""
    if addresses and await call(rpc.UploadAddresses(account, list(addresses))) is False:
        raise RemoteProtocolError("the AMP0 server does not take the confidential addresses")
