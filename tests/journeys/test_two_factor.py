"""A venue with second factors: enabling them, spending with a code, limits, frozen coins, a lost factor, and events.

Its server is one of its own: the clock is moved, and codes are counted.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyotp
import pytest

from amp0 import (
    Amp0,
    Amp0LoggedIn,
    Amp0Pset,
    CallFailed,
    CosignRefused,
    InsufficientFunds,
    NewBlock,
    NewTransaction,
    Resync,
    Signer,
    TwoFactorAction,
    TwoFactorLocked,
    TwoFactorRequired,
    Wollet,
    WrongTwoFactorCode,
)
from amp0.local.stack import Stack
from tests.journeys.conftest import Login, Venue, log_in
from tests.patience import PATIENCE

DAY = 86_400
EMAIL = "ops@venue.example"


@pytest.fixture(scope="module")
def stack() -> Iterator[Stack]:
    """In place of the one that all journeys share."""
    with Stack.on_free_ports() as running:
        yield running


@pytest.fixture(scope="module")
def logins() -> list[Login]:
    return []


@pytest.fixture
def venue(open_venue: Callable[..., Venue]) -> Venue:
    """A venue with a signer of its own: second factors are the wallet's, not the account's."""
    return open_venue(fresh=True)


@pytest.fixture
def session(venue: Venue) -> Iterator[Amp0LoggedIn]:
    with log_in(venue.stack, venue.signer) as opened:
        yield opened


def newest_code(stack: Stack, to: str = EMAIL) -> str:
    codes = [message["code"] for message in stack.dev.outbox() if message["to"] == to and message["code"]]
    return str(codes[-1])


def enable_email(venue: Venue, session: Amp0LoggedIn) -> None:
    session.enable_two_factor("email", EMAIL)
    assert session.confirm_two_factor("email", newest_code(venue.stack)).enabled() == ["email"]


class Authenticator:
    """What reads the URL and shows a code, a new one each time: a step is accepted once."""

    def __init__(self, stack: Stack, url: str) -> None:
        self._stack = stack
        totp = pyotp.parse_uri(url)
        assert isinstance(totp, pyotp.TOTP)
        self._totp = totp

    def code(self) -> tuple[str, str]:
        self._stack.dev.move_clock(self._stack.clock.offset + 30)
        return "gauth", self._totp.at(int(self._stack.clock()))


def signed_drain(venue: Venue) -> Amp0Pset:
    return venue.signed(venue.build(drain=True))


def test_a_venue_enables_two_methods_and_spends_with_each(venue: Venue, session: Amp0LoggedIn, payee: Wollet) -> None:
    stack = venue.stack
    enable_email(venue, session)
    authenticator = Authenticator(stack, session.two_factor_config().otpauth_url)
    agree = TwoFactorAction.enable("gauth")
    session.request_code("email", agree)
    fresh = authenticator.code()[1]
    assert session.enable_authenticator(fresh, ("email", newest_code(stack))).enabled() == ["email", "gauth"]
    assert session.two_factor_config().otpauth_url == ""

    seen = venue.amp0.two_factor_config()
    assert seen.enabled() == ["email", "gauth"]
    assert seen.otpauth_url == ""
    assert EMAIL not in seen.method("email").address

    venue.deposit(50_000)
    address = payee.address(0).address()
    first = venue.signed(venue.build((address, 1_000, venue.policy_asset)))
    with pytest.raises(TwoFactorRequired) as caught:
        venue.amp0.sign(first)
    assert caught.value.methods == ("email", "gauth")
    venue.amp0.request_code("email", first)
    transaction = venue.amp0.sign(first, ("email", newest_code(stack)))
    # The answer may have been lost on the way: it is given again, and the code is not needed twice.
    assert venue.amp0.sign(first).to_bytes() == transaction.to_bytes()
    venue.chain.broadcast(transaction)
    stack.dev.mine()
    venue.sync()
    second = venue.signed(venue.build((address, 2_000, venue.policy_asset)))
    venue.amp0.send(second, authenticator.code())
    stack.dev.mine()
    payee.apply_update(venue.chain.full_scan(payee))
    assert payee.balance()[venue.policy_asset] == 3_000


def test_a_code_is_good_for_one_transaction_once_and_not_for_long(venue: Venue, session: Amp0LoggedIn) -> None:
    enable_email(venue, session)
    venue.deposit(5_000)
    wanted, other = signed_drain(venue), signed_drain(venue)
    venue.amp0.request_code("email", wanted)
    code = ("email", newest_code(venue.stack))
    with pytest.raises(WrongTwoFactorCode):
        venue.amp0.sign(other, code)
    venue.amp0.sign(wanted, code)
    with pytest.raises((WrongTwoFactorCode, CosignRefused)):
        venue.amp0.sign(other, code)
    session.request_code("email", TwoFactorAction.set_limit(500))
    late = ("email", newest_code(venue.stack))
    venue.stack.dev.move_clock(venue.stack.clock.offset + 301)
    with pytest.raises(WrongTwoFactorCode):
        session.set_limit(500, late)


def test_delayed_signature_refuses_and_says_why(venue: Venue, session: Amp0LoggedIn) -> None:
    import httpx

    from amp0.client.cosign import CosignCheck

    enable_email(venue, session)
    venue.deposit(5_000)
    check = CosignCheck(signed_drain(venue), venue.amp0.wollet_descriptor())
    url = f"{venue.stack.cosign_url}/delayed_signature"
    answer = httpx.post(url, content=check.request(), trust_env=False).json()
    assert answer["result"] is False
    assert answer["tx"] is None
    assert answer["code"] == "auth"
    assert "sign_raw_tx" in answer["error"]


def test_wrong_codes_are_counted_and_lock(venue: Venue, session: Amp0LoggedIn) -> None:
    enable_email(venue, session)
    venue.deposit(5_000)
    wanted = signed_drain(venue)
    venue.amp0.request_code("email", wanted)
    right = newest_code(venue.stack)
    wrong = f"{(int(right) + 1) % 1_000_000:06}"
    for _ in range(3):
        with pytest.raises(WrongTwoFactorCode):
            venue.amp0.sign(wanted, ("email", wrong))
        # One counter, whichever session guesses, and whatever for.
        with pytest.raises(WrongTwoFactorCode):
            session.set_limit(1, ("email", wrong))
    with pytest.raises(TwoFactorLocked, match="minutes"):
        venue.amp0.sign(wanted, ("email", right))
    venue.stack.dev.move_clock(venue.stack.clock.offset + 3601)
    venue.amp0.request_code("email", wanted)
    assert venue.amp0.sign(wanted, ("email", newest_code(venue.stack))).txid()


def test_within_the_limit_no_code_is_wanted(venue: Venue, session: Amp0LoggedIn, payee: Wollet) -> None:
    enable_email(venue, session)
    session.request_code("email", TwoFactorAction.set_limit(3_000))
    with pytest.raises(TwoFactorRequired):
        session.set_limit(3_000)
    session.set_limit(3_000, ("email", newest_code(venue.stack)))
    assert session.limit() == 3_000
    venue.deposit(50_000)
    address = payee.address(0).address()
    transaction = venue.cosigned(venue.build((address, 2_000, venue.policy_asset)))
    venue.chain.broadcast(transaction)
    venue.stack.dev.mine()
    venue.sync()
    with log_in(venue.stack, venue.signer) as again:
        left = again.limit()
        assert left == 1_000 - transaction.fee(venue.policy_asset)
        with pytest.raises(TwoFactorRequired):
            venue.cosigned(venue.build((address, 1_000, venue.policy_asset)))
        again.set_limit(10)
        assert again.limit() == 10


def test_a_frozen_coin_stays(venue: Venue, session: Amp0LoggedIn) -> None:
    enable_email(venue, session)
    with venue.amp0.events() as events:
        assert events.next(PATIENCE) == Resync("begun")
        txid = venue.deposit(5_000)
        # A coin can be frozen once the server has seen it.
        assert events.next(PATIENCE) == NewTransaction(txid)
    (coin,) = venue.wollet.utxos()
    with pytest.raises(TwoFactorRequired):
        session.freeze([coin.outpoint()])
    session.request_code("email", TwoFactorAction.freeze([coin.outpoint()]))
    session.freeze([coin.outpoint()], ("email", newest_code(venue.stack)))
    assert venue.amp0.frozen_outputs() == session.frozen_outputs() == [coin.outpoint()]
    wanted = signed_drain(venue)
    venue.amp0.request_code("email", wanted)
    code = ("email", newest_code(venue.stack))
    with pytest.raises(CosignRefused) as caught:
        venue.amp0.sign(wanted, code)
    assert caught.value.code == "frozen"
    builder = venue.stack.network.tx_builder().leave_utxos(venue.amp0.frozen_outputs()).drain_lbtc_wallet()
    with pytest.raises(InsufficientFunds):
        builder.finish_for_amp0(venue.wollet)
    session.unfreeze([coin.outpoint()])
    assert venue.amp0.frozen_outputs() == []
    assert venue.amp0.sign(wanted, code).txid()


def test_a_lost_factor_is_reset_after_its_delay(venue: Venue, session: Amp0LoggedIn) -> None:
    stack = venue.stack
    enable_email(venue, session)
    venue.deposit(5_000)
    session.request_reset("new@venue.example")
    status = session.confirm_reset("new@venue.example", newest_code(stack, "new@venue.example"))
    assert (status.active, status.disputed) == (True, False)
    with pytest.raises(CosignRefused) as caught:
        venue.cosigned(venue.build(drain=True))
    assert caught.value.code == "reset"
    assert "progress" in str(caught.value)
    # Who has the factor ends it.
    session.request_code("email", TwoFactorAction.cancel_reset())
    assert not session.cancel_reset(("email", newest_code(stack))).active
    assert session.two_factor_config().enabled() == ["email"]


@pytest.mark.parametrize("outcome", ["keep", "reset"])
def test_a_dispute_is_ended_by_the_signer(venue: Venue, session: Amp0LoggedIn, outcome: str) -> None:
    stack = venue.stack
    enable_email(venue, session)
    for email, confirm in (("a@x.example", session.confirm_reset), ("b@x.example", session.dispute_reset)):
        session.request_reset(email)
        status = confirm(email, newest_code(stack, email))
    assert status.disputed
    with pytest.raises(CallFailed, match="90 days"):
        session.dispute_challenge(outcome)
    stack.dev.move_clock(stack.clock.offset + status.days_remaining * DAY)
    challenge = session.dispute_challenge(outcome)
    other = "reset" if outcome == "keep" else "keep"
    with pytest.raises(CallFailed, match="signature"):
        session.resolve_dispute(challenge, venue.signer.amp0_sign_dispute(other, challenge.nonce, challenge.expires))
    signature = venue.signer.amp0_sign_dispute(challenge.outcome, challenge.nonce, challenge.expires)
    assert not session.resolve_dispute(challenge, signature).active
    assert session.two_factor_config().enabled() == (["email"] if outcome == "keep" else [])


def test_the_account_hears_of_its_transactions_and_of_blocks(venue: Venue) -> None:
    with venue.amp0.events() as events:
        assert events.next(PATIENCE) == Resync("begun")
        txid = venue.deposit(4_000, mine=False)
        assert next(events) == NewTransaction(txid)
        venue.stack.dev.mine()
        block = events.next(PATIENCE)
        assert isinstance(block, NewBlock)
        transaction = venue.pay(drain=True)
        assert events.next(PATIENCE) == NewTransaction(transaction.txid())
        assert events.next(0.05) is None


def test_the_python_of_the_page_runs(venue: Venue, session: Amp0LoggedIn, monkeypatch: pytest.MonkeyPatch) -> None:
    """docs/twofactor.md, its two blocks, with the names they take for granted."""
    page = (Path(__file__).parent.parent.parent / "docs" / "twofactor.md").read_text(encoding="utf-8")
    spend, end_dispute = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    stack = venue.stack
    enable_email(venue, session)
    venue.deposit(5_000)
    monkeypatch.setattr("builtins.input", lambda prompt: newest_code(stack))
    names: dict[str, Any] = {"amp0": venue.amp0, "amp0pset": signed_drain(venue)}
    exec(spend, names)
    venue.chain.broadcast(names["tx"])
    for email, confirm in (("a@x.example", session.confirm_reset), ("b@x.example", session.dispute_reset)):
        session.request_reset(email)
        confirm(email, newest_code(stack, email))
    stack.dev.move_clock(stack.clock.offset + 90 * DAY)
    exec(end_dispute, {"session": session, "signer": venue.signer})
    with log_in(stack, venue.signer) as again:
        assert not again.two_factor_reset().active
    # What the text between them names is there.
    told = page.partition("## Using it")[2].partition("## Operating it")[0]
    called = set(re.findall(r"`(?:\w+\.)?(\w+)\([^`]*\)`", told))
    assert len(called) > 12
    for name in called - {"Amp0LoggedIn"}:
        assert any(hasattr(kind, name) for kind in (Amp0, Amp0LoggedIn, Signer)), name
