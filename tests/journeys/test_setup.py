"""Setup, once per account: signer, login, account, watch-only credentials."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from amp0 import Amp0, Amp0Connected, CallFailed, InvalidInput, LoginFailed, Network, NetworkMismatch, Signer
from amp0.local.stack import Stack
from tests.journeys.conftest import PASSWORD, Venue, log_in


def test_accounts_are_numbered_and_listed(stack: Stack) -> None:
    signer = Signer.random(stack.network)
    with log_in(stack, signer) as session:
        assert session.get_amp_ids() == []
        assert session.next_account() == 1
        first = session.create_amp0_account(1, signer.amp0_account_xpub(1))
        assert session.next_account() == 2
        second = session.create_amp0_account(2, signer.amp0_account_xpub(2))
    with log_in(stack, signer) as session:
        assert session.get_amp_ids() == [first, second]
        assert session.next_account() == 3
    assert first != second


def test_an_account_is_created_once(stack: Stack) -> None:
    signer = Signer.random(stack.network)
    with log_in(stack, signer) as session:
        session.create_amp0_account(1, signer.amp0_account_xpub(1))
        with pytest.raises((CallFailed, InvalidInput)):
            session.create_amp0_account(1, signer.amp0_account_xpub(1))


def test_a_key_of_another_account_is_refused_before_it_is_sent(stack: Stack) -> None:
    signer = Signer.random(stack.network)
    with log_in(stack, signer) as session, pytest.raises(InvalidInput):
        session.create_amp0_account(1, signer.amp0_account_xpub(2))


def test_only_the_signer_itself_can_log_in(stack: Stack) -> None:
    signer, other = Signer.random(stack.network), Signer.random(stack.network)
    connected = Amp0Connected(stack.network, signer.amp0_signer_data())
    with pytest.raises(LoginFailed):
        connected.login(other.amp0_sign_challenge(connected.get_challenge()))


def test_a_signer_of_another_network_is_told_so(stack: Stack) -> None:
    signer = Signer.random(Network.mainnet())
    with pytest.raises(NetworkMismatch):
        Amp0Connected(stack.network, signer.amp0_signer_data())


def test_the_credentials_open_each_account_of_the_signer(open_venue: Callable[..., Venue], stack: Stack) -> None:
    first = open_venue(fresh=True)
    second = open_venue(first)
    with Amp0(stack.network, second.username, PASSWORD, first.amp_id) as amp0:
        assert amp0.amp_id() == first.amp_id
        assert str(amp0.wollet_descriptor()) == str(first.amp0.wollet_descriptor())
    with Amp0(stack.network, second.username, PASSWORD, "") as amp0:
        assert amp0.amp_id() == first.amp_id
    assert str(first.amp0.wollet_descriptor()) != str(second.amp0.wollet_descriptor())


def test_new_credentials_replace_the_earlier_ones(open_venue: Callable[..., Venue], stack: Stack) -> None:
    venue = open_venue(fresh=True)
    with log_in(stack, venue.signer) as session:
        session.create_watch_only(venue.username + " again", "another password")
    with Amp0(stack.network, venue.username + " again", "another password", venue.amp_id) as amp0:
        assert amp0.amp_id() == venue.amp_id
    with pytest.raises(LoginFailed):
        Amp0(stack.network, venue.username, PASSWORD, venue.amp_id)


@pytest.mark.parametrize("password", ["wrong", "", "correct horse "])
def test_a_wrong_password_is_refused_and_the_server_stays_up(venue: Venue, password: str) -> None:
    with pytest.raises((LoginFailed, InvalidInput)):
        Amp0(venue.stack.network, venue.username, password, venue.amp_id)
    with Amp0(venue.stack.network, venue.username, PASSWORD, venue.amp_id) as amp0:
        assert amp0.amp_id() == venue.amp_id


def test_an_unknown_amp_id_names_those_that_are_there(venue: Venue) -> None:
    with pytest.raises(InvalidInput, match=venue.amp_id):
        Amp0(venue.stack.network, venue.username, PASSWORD, "GA4nobodysaccount")


def test_the_server_describes_a_network_that_clients_can_use(stack: Stack) -> None:
    network = Network.from_server(stack.cosign_url)
    assert network == stack.network
    with log_in(stack, Signer.random(network)) as session:
        assert session.next_account() == 1
    with pytest.raises(NetworkMismatch, match="fingerprint"):
        Network.from_server(stack.cosign_url, service_fingerprint="01234567")


def test_another_service_key_is_noticed_by_an_account(venue: Venue) -> None:
    """An account pins the service key it was made under: another one is refused, not followed."""
    other = Network.mainnet()
    changed = venue.stack.network.replace(
        service_pubkey=other.service_pubkey, service_chain_code=other.service_chain_code
    )
    with pytest.raises(NetworkMismatch):
        Amp0(changed, venue.username, PASSWORD, venue.amp_id, descriptor=str(venue.amp0.wollet_descriptor()))
