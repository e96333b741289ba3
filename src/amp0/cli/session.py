"""What the daily commands do first: connect with watch-only credentials, and sync."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from amp0.cli.output import progress
from amp0.errors import InvalidInput

if TYPE_CHECKING:
    from amp0.blocking import Amp0, EsploraClient
    from amp0.cli.secret import SecretSource
    from amp0.network import Network
    from amp0.wallet.wollet import Wollet


@dataclass(frozen=True, slots=True)
class Account:
    """Who is asked for, before anything is connected."""

    network: Network
    username: str
    password: SecretSource
    amp_id: str


@dataclass(frozen=True, slots=True)
class Venue:
    """A connected account with its synced wollet and the chain it was synced from."""

    network: Network
    amp0: Amp0
    wollet: Wollet
    chain: EsploraClient


@contextmanager
def open_account(account: Account) -> Iterator[Amp0]:
    """Connect with watch-only credentials; no address is used up by it."""
    from amp0.blocking import Amp0

    password = account.password.read()
    with progress("connecting to the AMP0 server"):
        amp0 = Amp0(account.network, account.username, password, account.amp_id)
    with amp0:
        yield amp0


@contextmanager
def open_chain(network: Network, url: str | None, *, waterfalls: bool = False) -> Iterator[EsploraClient]:
    """A client of the chain at ``url``, or of the network's own explorer."""
    from amp0.blocking import EsploraClient

    where = url or network.esplora_url
    if not where:
        raise InvalidInput(f"no chain is known for {network.name}; give one with --chain URL")
    client = EsploraClient.new_waterfalls(where, network) if waterfalls else EsploraClient(where, network)
    with client:
        yield client


@contextmanager
def open_venue(account: Account, chain: str | None, *, waterfalls: bool, data_dir: Path | None) -> Iterator[Venue]:
    """Connect, and sync every address the server has issued."""
    from amp0.wallet.wollet import Wollet

    with open_account(account) as amp0, open_chain(account.network, chain, waterfalls=waterfalls) as client:
        wollet = Wollet(account.network, amp0.wollet_descriptor(), None if data_dir is None else str(data_dir))
        with progress("syncing"):
            update = client.full_scan_to_index(wollet, amp0.last_index())
            if update is not None:
                wollet.apply_update(update)
        yield Venue(account.network, amp0, wollet, client)
