"""What every operation of the issuer's side needs besides its transaction, and one request while it runs."""

from __future__ import annotations

import enum
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from sqlalchemy.engine import Connection

from amp0.elements.hashes import Txid
from amp0.elements.transaction import Transaction
from amp0.network import Network
from amp0.server.attempts import Attempts
from amp0.server.context import Publication, Tip
from amp0.server.keys import ServiceKeys
from amp0.server.settings import Settings
from amp0.server.store.engine import Store

if TYPE_CHECKING:
    from amp0.server.issuer.fee_wallet import FeeWallet


@dataclass(slots=True)
class Desk:
    """Made once, by the composition root."""

    settings: Settings
    network: Network
    store: Store
    keys: ServiceKeys
    attempts: Attempts
    clock: Callable[[], float]
    """Seconds since 1970."""
    random: Callable[[int], bytes]
    tip: Callable[[], Tip]
    fetch: Callable[[Txid], Transaction | None]
    """A transaction of block or mempool; waits for the chain, so never inside a transaction of the store."""
    broadcast: Callable[[Transaction], Sequence[Publication]]
    """Hand a transaction to the chain and to the index; waits for the chain as well."""
    wallet: FeeWallet
    """Pays for issuances."""
    is_current: Callable[[], bool] = lambda: True
    """Whether blocks and mempool were read completely a moment ago."""

    def now(self) -> int:
        """The time, whole seconds."""
        return int(self.clock())


class Role(enum.Enum):
    """Which of the two kinds of login somebody has."""

    ISSUER = "issuer"
    MANAGER = "manager"


@dataclass(frozen=True, slots=True)
class Principal:
    """Who calls. ``issuer_id`` is the issuer that everything belongs to: the caller, or whose manager the caller is."""

    id: int
    issuer_id: int
    role: Role
    username: str
    person: str
    assets: frozenset[int] = frozenset()
    """Row numbers of the assets a manager works on; empty for an issuer, who works on all of theirs."""


@dataclass(slots=True)
class Call:
    """One request while it runs. ``connection`` is None for operations that wait for the chain: they open their
    transactions themselves, and none while they wait."""

    desk: Desk
    principal: Principal | None
    path: Mapping[str, str]
    query: Any = None
    connection: Connection | None = None
    token: str = field(default="", repr=False)
    peer: str = ""
    """The address of the other end, for rate limits only."""
    idempotency_key: str | None = None
    api_url: str = ""
    """``/api`` as the settings name it, or else as this request reached it; without a slash at its end."""
    publications: list[Publication] = field(default_factory=list)
    """What subscribers hear after the commit."""

    @property
    def db(self) -> Connection:
        """The connection of this request's transaction."""
        assert self.connection is not None, "this operation runs outside a transaction"
        return self.connection

    @property
    def who(self) -> Principal:
        """The caller of an operation that needs a login."""
        assert self.principal is not None, "this operation needs no login"
        return self.principal
