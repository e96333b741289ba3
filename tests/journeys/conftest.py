"""A venue with an account, a synced wollet and a chain client, on the stack that all journeys share."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field

import pytest

from amp0 import (
    Address,
    Amp0,
    Amp0Connected,
    Amp0LoggedIn,
    Amp0Pset,
    EsploraClient,
    Mnemonic,
    Signer,
    Transaction,
    Txid,
    Wollet,
)
from amp0.local.stack import Stack
from amp0.protocol.credentials import WatchOnlyKeys, watch_only_keys

PASSWORD = "correct horse"
ACCOUNTS_PER_LOGIN = 25


def log_in(stack: Stack, signer: Signer) -> Amp0LoggedIn:
    connected = Amp0Connected(stack.network, signer.amp0_signer_data())
    return connected.login(signer.amp0_sign_challenge(connected.get_challenge()))


@dataclass
class Venue:
    """Everything a venue holds, and its daily moves."""

    stack: Stack
    signer: Signer
    username: str
    amp_id: str
    amp0: Amp0
    chain: EsploraClient
    wollet: Wollet
    policy_asset: str = field(init=False)

    def __post_init__(self) -> None:
        self.policy_asset = self.stack.network.policy_asset()

    def sync(self) -> dict[str, int]:
        """Sync up to the last issued index; the balance."""
        self.wollet.apply_update(self.chain.full_scan_to_index(self.wollet, self.amp0.last_index()))
        return dict(self.wollet.balance())

    def deposit(self, satoshi: int, asset_id: str | None = None, *, mine: bool = True) -> Txid:
        """A deposit on a new address, in a block unless told otherwise."""
        txid = self.stack.dev.faucet(str(self.amp0.address(None).address()), satoshi, asset_id)
        if mine:
            self.stack.dev.mine()
        self.sync()
        return txid

    def build(self, *recipients: tuple[Address | str, int, str], drain: bool = False) -> Amp0Pset:
        builder = self.stack.network.tx_builder()
        for address, satoshi, asset_id in recipients:
            builder.add_recipient(address, satoshi, asset_id)
        if drain:
            builder.drain_lbtc_wallet()
        return builder.finish_for_amp0(self.wollet)

    def signed(self, amp0pset: Amp0Pset) -> Amp0Pset:
        return Amp0Pset(self.signer.sign(amp0pset.pset()), amp0pset.blinding_nonces())

    def cosigned(self, amp0pset: Amp0Pset) -> Transaction:
        return self.amp0.sign(self.signed(amp0pset))

    def pay(self, *recipients: tuple[Address | str, int, str], drain: bool = False) -> Transaction:
        """All four steps; unconfirmed."""
        transaction = self.cosigned(self.build(*recipients, drain=drain))
        self.chain.broadcast(transaction)
        return transaction


@dataclass
class Login:
    """A signer and its watch-only credentials; several accounts share them, since stretching takes its time."""

    signer: Signer
    username: str
    keys: WatchOnlyKeys
    accounts: int = 0


def new_login(stack: Stack, signer: Signer) -> Login:
    username = f"venue {uuid.uuid4()}"
    with log_in(stack, signer) as session:
        session.create_watch_only(username, PASSWORD)
    return Login(signer, username, watch_only_keys(username, PASSWORD))


@pytest.fixture(scope="session")
def logins() -> list[Login]:
    """Those made so far on this process's stack; the last one has room for accounts."""
    return []


@pytest.fixture(autouse=True)
def passwords(stretched_once: None) -> None:
    """Are stretched once each."""


@pytest.fixture
def open_venue(stack: Stack, logins: list[Login]) -> Iterator[Callable[..., Venue]]:
    """Makes venues, each with an account of its own; ``fresh`` ones have a signer of their own too."""
    with ExitStack() as open_things:

        def make(same_signer_as: Venue | None = None, *, waterfalls: bool = False, fresh: bool = False) -> Venue:
            if same_signer_as is not None:
                (login,) = (known for known in logins if known.username == same_signer_as.username)
            elif fresh:
                login = new_login(stack, Signer(Mnemonic.from_random(12), stack.network))
                logins.insert(0, login)
            else:
                if not logins or logins[-1].accounts >= ACCOUNTS_PER_LOGIN:
                    logins.append(new_login(stack, Signer(Mnemonic.from_random(12), stack.network)))
                login = logins[-1]
            with log_in(stack, login.signer) as session:
                pointer = session.next_account()
                amp_id = session.create_amp0_account(pointer, login.signer.amp0_account_xpub(pointer))
            login.accounts += 1
            connected = Amp0(stack.network, login.username, PASSWORD, amp_id, keys=login.keys)
            amp0 = open_things.enter_context(connected)
            client = EsploraClient(stack.chain_url, stack.network, waterfalls=waterfalls)
            chain = open_things.enter_context(client)
            wollet = Wollet(stack.network, amp0.wollet_descriptor(), None)
            return Venue(stack, login.signer, login.username, amp_id, amp0, chain, wollet)

        yield make


@pytest.fixture
def venue(open_venue: Callable[..., Venue]) -> Venue:
    """One venue."""
    return open_venue()


@pytest.fixture
def payee(stack: Stack) -> Wollet:
    """Somebody else's ordinary wallet, to be paid."""
    return Wollet(stack.network, Signer.random(stack.network).wpkh_slip77_descriptor(), None)
