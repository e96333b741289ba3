"""Asking before signing: would the AMP0 server sign this transfer, and if not, why.

The verdict is the cosigner's own, and no promise: rules, balances and the chain go on changing. About recipients it
says only whether the asset may be sent to them.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import Any, TypeAlias

from amp0.elements.address import Address
from amp0.elements.pset import Amp0Pset, Pset
from amp0.errors import CallFailed, CosignRefused, InvalidInput, LoginFailed
from amp0.network import Network
from amp0.protocol import preflight as wire
from amp0.protocol import reasons, rpc
from amp0.protocol.preflight import Reason

log = logging.getLogger("amp0.client")

Transfer: TypeAlias = tuple[Address | str, int, str]
"""Address, satoshi, asset id (display hex): as ``TxBuilder.add_recipient`` takes them."""
Plan: TypeAlias = Amp0Pset | Pset | Iterable[Transfer]
"""What a pre-flight is about."""


@dataclass(frozen=True, slots=True)
class Preflight:
    """A verdict. ``reasons`` are those against the transfer; of one that is allowed, remarks.

    Each has a permanent ``code``, ``side`` (``"input"``, ``"output"`` or ``"asset"``) with ``index``, ``asset_id`` and
    a ``text`` for people. The ``index`` of an output counts the transfers where a list was asked about.
    """

    allowed: bool
    reasons: tuple[Reason, ...] = ()

    @property
    def issuer_decides(self) -> bool:
        """Whether the issuer of an asset is asked when it is signed: allowed, but not for sure."""
        return any(reason.code == wire.ISSUER_DECIDES for reason in self.reasons)

    def require(self) -> None:
        """Raise :class:`CosignRefused` with all reasons, unless it is allowed."""
        if not self.allowed:
            raise CosignRefused(
                f"the AMP0 server would not sign: {reasons.in_one_line(self.reasons)}",
                code=self.reasons[0].code if self.reasons else "policy",
                reasons=tuple(map(reasons.as_told, self.reasons)),
            )


async def ask(
    call: Callable[[rpc.Procedure], Awaitable[Any]], network: Network, subaccount: int, plan: Plan
) -> Preflight:
    """Put the question on a session of the wallet."""
    reply: wire.PreflightReply = await call(wire.AskPreflight(subaccount, request_of(plan, network)))
    return Preflight(reply.allowed, tuple(reply.reasons))


def request_of(plan: Plan, network: Network) -> wire.PreflightRequest:
    """The question on the wire. Of a PSET only what it takes: no keys, signatures or range proofs leave with it.

    Raises :class:`InvalidInput` for what nobody can be asked about.
    """
    if isinstance(plan, Amp0Pset | Pset):
        pset = plan if isinstance(plan, Pset) else plan.pset()
        nonces = plan.blinding_nonces() if isinstance(plan, Amp0Pset) else None
        slim = wire.slim(pset)
        text = str(slim)
        if len(text) > wire.MAX_PSET:
            raise InvalidInput("this PSET is too large for a pre-flight; ask about a list of transfers")
        return wire.PreflightRequest(pset=text, blinding_nonces=nonces if wire.needs_nonces(slim) else None)
    transfers = []
    for address, satoshi, asset_id in plan:
        checked = address if isinstance(address, Address) else Address(address, network)
        transfers.append(wire.PreflightTransfer(address=str(checked), asset_id=asset_id, satoshi=satoshi))
    if not transfers:
        raise InvalidInput("a pre-flight is about at least one transfer")
    return wire.PreflightRequest(transfers=transfers)


async def require_allowed(preflight: Callable[[Plan], Awaitable[Preflight]], plan: Plan, network: Network) -> None:
    """Raise :class:`CosignRefused` when a pre-flight says no; silent where it says yes, or where none can be had.

    A transfer of L-BTC only is never asked about: nobody manages that.
    """
    if isinstance(plan, Amp0Pset | Pset) and not _moves_assets(plan, network):
        return
    try:
        verdict = await preflight(plan)
    except (LoginFailed, CosignRefused):
        raise
    except (CallFailed, InvalidInput) as error:
        if isinstance(error, InvalidInput) and not isinstance(plan, Amp0Pset | Pset):
            raise
        # It is an offer and no condition: the cosigner decides.
        log.info("no pre-flight error=%s", getattr(error, "name", type(error).__name__))
        return
    verdict.require()


def _moves_assets(plan: Amp0Pset | Pset, network: Network) -> bool:
    pset = plan if isinstance(plan, Pset) else plan.pset()
    return any(output.asset() != network.policy_asset() for output in pset.outputs())
