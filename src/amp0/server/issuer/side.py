"""The issuer's side put together: desk, policy gate, ledger, upkeep, and the routes under ``/api``."""

from __future__ import annotations

from collections.abc import Callable

from starlette.routing import BaseRoute

from amp0.network import Network
from amp0.server.attempts import Attempts
from amp0.server.issuer.desk import Desk
from amp0.server.issuer.fee_wallet import FeeWallet
from amp0.server.issuer.http import IssuerApi
from amp0.server.issuer.upkeep import Upkeep
from amp0.server.keys import ServiceKeys
from amp0.server.ledger.recorder import LedgerRecorder
from amp0.server.policy.authorization import Authorizer
from amp0.server.policy.gate import PolicyGate
from amp0.server.settings import Settings
from amp0.server.store.engine import Store
from amp0.server.twofactor.clock import TrustedClock
from amp0.server.watcher import Watcher
from amp0.server.websocket import Hub
from amp0.server.workers import Workers


class IssuerSide:
    """Made once, by the composition root of the server. Whatever waits or expires here goes by the trusted clock."""

    def __init__(
        self,
        settings: Settings,
        store: Store,
        keys: ServiceKeys,
        wallet: FeeWallet,
        network: Network,
        clock: TrustedClock,
        random: Callable[[int], bytes],
        watcher: Watcher,
        workers: Workers,
    ) -> None:
        self._authorizer = Authorizer.from_settings(settings, keys, network, workers.away)
        self.desk = Desk(
            settings=settings,
            network=network,
            store=store,
            keys=keys,
            attempts=Attempts(settings.login_refill_seconds, clock.now),
            clock=clock.now,
            random=random,
            tip=watcher.tip,
            fetch=watcher.fetch,
            broadcast=watcher.broadcast,
            wallet=wallet,
            is_current=watcher.is_current,
        )
        self.gate = PolicyGate(
            store,
            self.desk.now,
            self._authorizer,
            guesses=Attempts(settings.preflight_refill_seconds, clock.now),
            allowance=settings.preflight_requests,
        )
        self.recorder = LedgerRecorder(clock.now)
        self.upkeep = Upkeep(self.desk)

    def routes(self, hub: Hub) -> list[BaseRoute]:
        """Everything under ``/api``."""
        return IssuerApi(self.desk, hub).routes()

    def close(self) -> None:
        """Let go of threads."""
        self._authorizer.close()
