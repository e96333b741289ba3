"""What a procedure sees: the services it may use, the session that calls, the transaction it runs in.

The event loop owns a :class:`Session` and hands it, frozen, to a worker thread with each call. A procedure changes
nothing of it in place: it says in :attr:`Context.session` what the session becomes, and in
:attr:`Context.publications` what subscribers shall hear. Both take effect only after the commit.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy.engine import Connection

from amp0.elements.transaction import Transaction
from amp0.network import Network
from amp0.protocol import rpc
from amp0.server.attempts import Alarm, Attempts
from amp0.server.cosigner import Cosigner
from amp0.server.keys import ServiceKeys
from amp0.server.policy.preflight import Preflights
from amp0.server.settings import Settings
from amp0.server.store.engine import Store
from amp0.server.twofactor.delivery import Message
from amp0.server.twofactor.factors import Factors


class Level(enum.IntEnum):
    """How much a session may do."""

    ANONYMOUS = 0
    WATCH_ONLY = 1
    FULL = 2


@dataclass(frozen=True, slots=True)
class Challenge:
    """A login challenge that waits for its signature: once, here, and not for long."""

    login_hash: bytes
    text: str = field(repr=False)
    expires_at: float


@dataclass(frozen=True, slots=True)
class Session:
    """Who calls. ``peer`` is the address of the other end, for rate limits only."""

    peer: str = ""
    level: Level = Level.ANONYMOUS
    user_id: int = 0
    receiving_id: str = ""
    watch_only_salt: bytes = field(default=b"", repr=False)
    """The salt of the login that was used; another one in the store means that those credentials are gone."""
    challenge: Challenge | None = None

    def topics(self) -> frozenset[str]:
        """The topics this session may hear."""
        if self.level is Level.ANONYMOUS:
            return frozenset()
        return frozenset((rpc.TOPIC_BLOCKS, rpc.topic_txs(self.receiving_id), rpc.topic_blob(self.receiving_id)))


@dataclass(frozen=True, slots=True)
class Publication:
    """One event for everybody who subscribed to a topic."""

    topic: str
    payload: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Tip:
    """The newest block the server has read. Hashes in display hex; all zero before the first one."""

    height: int = 0
    block_hash: str = "00" * 32
    previous_hash: str = "00" * 32


@dataclass(slots=True)
class Services:
    """Everything a procedure may use besides its transaction; made once, by the composition root."""

    settings: Settings
    network: Network
    store: Store
    keys: ServiceKeys
    attempts: Attempts
    login_alarm: Alarm
    clock: Callable[[], float]
    """Seconds since 1970."""
    random: Callable[[int], bytes]
    tip: Callable[[], Tip]
    is_current: Callable[[], bool]
    """Whether blocks and mempool were read completely a moment ago."""
    broadcast: Callable[[Transaction], Sequence[Publication]]
    """Hand a transaction to the chain and to the index; what there is to publish then. Raises a refusal when the
    chain does not take it."""
    cosigner: Cosigner
    factors: Factors
    is_fee_wallet_low: Callable[[], bool]
    """Whether the wallet that pays for issuances held too little when it was looked at last."""
    preflights: Preflights


@dataclass(slots=True)
class Context:
    """One call while it runs. ``connection`` is None for procedures that ask the chain or the cosigner: they open
    their transactions themselves, and none while they wait for somebody else."""

    services: Services
    session: Session
    connection: Connection | None
    publications: list[Publication] = field(default_factory=list)
    messages: list[Message] = field(default_factory=list)
    """What has to be sent after the commit; the call fails if its channel does not take it."""
    ends_sessions: Level | None = None
    """Ends the wallet's sessions of this level and below: the watch-only ones when their credentials change, all of
    them when the wallet is removed."""

    @property
    def db(self) -> Connection:
        """The connection of this call's transaction."""
        assert self.connection is not None, "this procedure runs outside a transaction"
        return self.connection

    def publish(self, topic: str, payload: dict[str, Any]) -> None:
        """Tell the subscribers of a topic after the commit."""
        self.publications.append(Publication(topic, payload))
