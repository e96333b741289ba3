"""The specification's table of pitfalls, and bad input: each gets one clear error, and nothing is half done."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import replace

import httpx
import pytest

from amp0 import (
    Amp0,
    Amp0AddressError,
    Amp0BuildError,
    Amp0Error,
    Amp0Pset,
    Amp0ScanError,
    ConnectionFailed,
    CosignRefused,
    InvalidAddress,
    InvalidInput,
    InvalidPset,
    Network,
    NetworkMismatch,
    Signer,
    Wollet,
    WrongSigner,
)
from amp0.local.hosting import bind, port_of
from tests.journeys.conftest import PASSWORD, Venue


def test_a_local_address_names_the_right_call(venue: Venue) -> None:
    for index in (None, 0, 5):
        with pytest.raises(Amp0AddressError, match=r"Amp0\.address\(\)"):
            venue.wollet.address(index)


def test_a_gap_limit_scan_names_the_right_call(venue: Venue) -> None:
    with pytest.raises(Amp0ScanError, match="full_scan_to_index"):
        venue.chain.full_scan(venue.wollet)


def test_finish_names_the_right_call(venue: Venue) -> None:
    venue.deposit(1_000)
    builder = venue.stack.network.tx_builder()
    builder.drain_lbtc_wallet()
    with pytest.raises(Amp0BuildError, match="finish_for_amp0"):
        builder.finish(venue.wollet)


def test_the_wrong_signer_says_so_instead_of_signing_nothing(venue: Venue) -> None:
    venue.deposit(1_000)
    pset = venue.build(drain=True).pset()
    with pytest.raises(WrongSigner):
        Signer.random(venue.stack.network).sign(pset)


def test_an_unsigned_transaction_is_not_sent(venue: Venue) -> None:
    venue.deposit(1_000)
    with pytest.raises(WrongSigner, match="sign"):
        venue.amp0.sign(venue.build(drain=True))


def test_a_coin_on_an_address_that_was_never_issued_is_not_cosigned(venue: Venue) -> None:
    """The loss that every guard above prevents, brought about on purpose: the server does not sign."""
    beyond = max(20, venue.amp0.last_index()) + 10
    lost = venue.amp0.wollet_descriptor().confidential_address(venue.stack.network, beyond)
    venue.stack.dev.faucet(str(lost), 5_000)
    venue.stack.dev.mine()
    venue.wollet.apply_update(venue.chain.full_scan_to_index(venue.wollet, beyond))
    assert venue.wollet.balance()[venue.policy_asset] == 5_000
    with pytest.raises(CosignRefused) as caught:
        venue.cosigned(venue.build(drain=True))
    assert caught.value.code == "neverissued"
    assert not caught.value.retryable


def test_nonces_in_the_wrong_order_are_noticed_before_anything_is_signed(venue: Venue, payee: Wollet) -> None:
    venue.deposit(3_000)
    built = venue.build((payee.address(0).address(), 1_000, venue.policy_asset))
    nonces = built.blinding_nonces()
    assert len(set(nonces)) == 3
    for wrong in ([nonces[1], nonces[0], nonces[2]], nonces[:2], [*nonces, ""], ["", nonces[1], nonces[2]]):
        with pytest.raises(InvalidPset):
            Amp0Pset(built.pset(), wrong)


def test_amounts_that_cannot_be_are_refused(venue: Venue, payee: Wollet) -> None:
    venue.deposit(3_000)
    address = payee.address(0).address()
    for satoshi in (0, -1, 21 * 10**14 + 1, 2**64):
        with pytest.raises(Amp0Error):
            venue.build((address, satoshi, venue.policy_asset))
    with pytest.raises(InvalidInput):
        venue.build((address, 5, "not an asset"))


def test_an_address_of_another_network_or_without_a_blinding_key_is_refused(venue: Venue) -> None:
    venue.deposit(3_000)
    mainnet = "lq1qqvxk052kf3qtkxmrakx50a9gc3smqad2ync54hzntjt980kfej9kkfe0247rp5h4yzmdftsahhw64uy8pzfe7cpg4fgykm7cv"
    with pytest.raises((NetworkMismatch, InvalidAddress)):
        venue.build((mainnet, 5, venue.policy_asset))
    plain = venue.amp0.address(1).address().to_unconfidential()
    with pytest.raises(InvalidAddress, match="NotConfidentialAddress"):
        venue.build((plain, 5, venue.policy_asset))


def test_a_server_that_is_away_is_worth_retrying(venue: Venue) -> None:
    with contextlib.closing(bind(0)) as bound:
        port = port_of(bound)
    away = venue.stack.network.replace(wamp_url=f"ws://127.0.0.1:{port}/v2/ws")
    with pytest.raises(ConnectionFailed):
        Amp0(away, venue.username, PASSWORD, venue.amp_id)


def test_a_cosigner_that_is_away_leaves_the_coins_free(open_venue: Callable[..., Venue]) -> None:
    venue = open_venue()
    venue.deposit(4_000)
    with contextlib.closing(bind(0)) as bound:
        port = port_of(bound)
    away = venue.stack.network.replace(cosign_url=f"http://127.0.0.1:{port}")
    request = venue.signed(venue.build(drain=True))
    with Amp0(away, venue.username, PASSWORD, venue.amp_id) as amp0, pytest.raises(ConnectionFailed):
        amp0.sign(request)
    assert venue.amp0.sign(request).txid()


@pytest.mark.parametrize(
    "body",
    [b"", b"{}", b"[]", b"null", b'{"tx": 5}', b"\xff\xfe", b'{"tx": "00", "blinding_nonces": [], "scripts": []}'],
)
def test_nonsense_for_the_cosigner_is_answered_in_its_own_form(venue: Venue, body: bytes) -> None:
    """Stock clients read nothing but result, error and tx."""
    url = venue.stack.cosign_url + "/delayed_signature"
    answer = httpx.post(url, content=body, headers={"content-type": "application/json"}, trust_env=False)
    value = answer.json()
    assert value["result"] is False
    assert value["error"]
    assert 400 <= answer.status_code < 500
    assert venue.amp0.last_index() >= 0


def test_the_test_key_never_leaves_this_machine() -> None:
    network = Network.regtest_default()
    for field in ("wamp_url", "cosign_url", "esplora_url"):
        scheme = "wss" if field == "wamp_url" else "https"
        with pytest.raises(NetworkMismatch):
            network.replace(**{field: f"{scheme}://amp0.example.org"})
    with pytest.raises(NetworkMismatch):
        replace(Network.testnet(), service_pubkey=network.service_pubkey)
