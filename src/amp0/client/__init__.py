"""The client of the AMP0 server, written with ``async``; :mod:`amp0.blocking` has the same for plain callers.

``Amp0Connected`` → ``Amp0LoggedIn`` sets accounts up, with the signer at hand; ``Amp0`` uses one every day, with
watch-only credentials. Everything the server says is checked against the wallet's own keys and the service key
pinned in the :class:`~amp0.network.Network` before it is used.
"""

from amp0.client.account import Amp0
from amp0.client.events import Event, Events, NewBlock, NewTransaction, Resync, WalletChanged
from amp0.client.preflight import Preflight
from amp0.client.session import Backoff, ClientOptions
from amp0.client.setup import Amp0Connected, Amp0LoggedIn
from amp0.client.transport import Connection, NetworkTransport, Transport
from amp0.client.two_factor import (
    DisputeChallenge,
    ResetStatus,
    TwoFactorAction,
    TwoFactorCode,
    TwoFactorConfig,
    TwoFactorMethod,
)

__all__ = [
    "Amp0", "Amp0Connected", "Amp0LoggedIn", "Backoff", "ClientOptions", "Connection", "DisputeChallenge", "Event",
    "Events", "NetworkTransport", "NewBlock", "NewTransaction", "Preflight", "ResetStatus", "Resync",
    "Transport", "TwoFactorAction", "TwoFactorCode", "TwoFactorConfig", "TwoFactorMethod", "WalletChanged",
]  # fmt: skip
