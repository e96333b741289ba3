"""The issuer's own word: what its yes replaces, what it is bound to, and that everything else is a no."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from amp0.server.attempts import Attempts
from amp0.server.policy.facts import Answer, Kind
from amp0.server.refusal import PolicyChanged, TooManyAttempts
from amp0.server.store import asset_schema as tables
from amp0.server.store import schema
from tests.server.cosigning import STRANGER, Account, Payment
from tests.server.policy.market import BURN, Managed, Market, Oracle


@pytest.fixture
def oracle() -> Oracle:
    return Oracle()


@pytest.fixture
def market(oracle: Oracle) -> Market:
    return Market(authorizer=oracle)


@pytest.fixture
def share(market: Market) -> Managed:
    return market.asset(authorization_endpoint="https://issuer.example/ask")


@pytest.fixture
def nobody(market: Market) -> Account:
    return market.holder("nobody", user=False)


@pytest.fixture
def payment(market: Market, share: Managed, alice: Account, nobody: Account) -> Payment:
    return market.send([market.fund(alice, share)], (nobody, share, 60), (alice, share, 40))


def test_a_yes_replaces_registration(market: Market, oracle: Oracle, payment: Payment, nobody: Account) -> None:
    market.cosign(payment)
    (question,) = oracle.questions
    assert question.server_result is False
    assert question.tx_hex == payment.tx.to_bytes().hex()
    assert [one.satoshi for one in question.transfer.inputs] == [100]
    assert [(one.vout, one.satoshi, one.party.gaid) for one in question.transfer.outputs] == [
        (0, 60, "GAnobody"), (1, 40, "GAalice"),
    ]  # fmt: skip
    assert question.transfer.outputs[0].party.kind is Kind.HOLDER
    assert market.rows(tables.asset_moves)[0].satoshi == 60


def test_each_decision_is_asked_by_a_name_of_its_own(market: Market, oracle: Oracle, payment: Payment) -> None:
    oracle.answer = Answer(False, "no")
    market.refused(payment)
    market.refused(payment)
    assert len({question.uuid for question in oracle.questions}) == 2


def test_who_was_refused_too_often_asks_nobody(market: Market, oracle: Oracle, payment: Payment) -> None:
    """A few places are there for questions to one issuer, and everybody else's payments need them."""
    market.gate._guesses, market.gate._allowance = Attempts(10.0, lambda: market.world.now), 2
    oracle.answer = Answer(False, "no")
    market.refused(payment)
    market.refused(payment)
    with pytest.raises(TooManyAttempts):
        market.cosign(payment)
    assert len(oracle.questions) == 2


def test_a_retry_of_what_was_signed_asks_nobody(market: Market, oracle: Oracle, payment: Payment) -> None:
    market.cosign(payment)
    assert market.cosign(payment).again
    assert len(oracle.questions) == 1


@pytest.mark.parametrize(
    ("prepare", "code"),
    [
        (lambda share, coin: share.set(is_locked=1), "asset_locked"),
        (lambda share, coin: share.blacklist(coin.prevout), "output_blacklisted"),
        (lambda share, coin: share.rule("transfer_limit", satoshi=1), "transfer_limit"),
        (lambda share, coin: share.rule("lock_up", until=2_000_000_000), "lock_up"),
        (lambda share, coin: share.raw_rule("unheard_of", "{}"), "unknown_rule"),
        (lambda share, coin: share.rule("frozen_holder", users=[1]), "sender_frozen"),
    ],
)
def test_a_yes_replaces_nothing_else(
    market: Market, share: Managed, alice: Account, nobody: Account, prepare: Callable[..., object], code: str
) -> None:
    coin = market.fund(alice, share)
    prepare(share, coin)
    assert market.codes(market.send([coin], (nobody, share, 100))) == [code]


def test_a_yes_opens_no_foreign_address_and_approves_no_burn(market: Market, share: Managed, alice: Account) -> None:
    coin = market.fund(alice, share)
    assert market.codes(market.send([coin], (STRANGER, share, 100))) == ["recipient_not_allowed"]
    assert market.codes(market.send([coin], (BURN, share, 100))) == ["burn_not_approved"]


def test_a_no_refuses_what_the_rules_allow_in_the_issuer_s_words(
    market: Market, oracle: Oracle, share: Managed, alice: Account
) -> None:
    oracle.answer = Answer(False, "not before\nthe meeting; asset_locked: really")
    (one,) = market.refused(market.send([market.fund(alice, share)], (market.holder("bob"), share, 100)))
    assert (one.code, one.about) == ("authorization_refused", "asset")
    assert one.text == "the asset's issuer refuses: not before the meeting, asset_locked: really"
    assert oracle.questions[0].server_result is True


@pytest.mark.parametrize(
    "answer",
    [Answer(False, failed=True), RuntimeError("a fault"), Answer("yes"), Answer(1)],  # type: ignore[arg-type]
)
def test_f02_no_proper_answer_is_a_no(
    market: Market, oracle: Oracle, share: Managed, alice: Account, answer: Answer | Exception
) -> None:
    oracle.answer = answer
    payment = market.send([market.fund(alice, share)], (market.holder("bob"), share, 100))
    assert market.codes(payment)[0].startswith("authorization_")
    assert market.rows(schema.cosigned) == []


def test_f02_without_anybody_to_ask_the_answer_is_no() -> None:
    market = Market()
    share = market.asset(authorization_endpoint="https://issuer.example/ask")
    payment = market.send([market.fund(market.holder("alice"), share)], (market.holder("bob"), share, 100))
    assert market.codes(payment) == ["authorization_failed"]


def test_f02_an_earlier_yes_is_for_its_own_transaction(
    market: Market, oracle: Oracle, share: Managed, alice: Account, nobody: Account
) -> None:
    asked = market.send([market.fund(alice, share)], (nobody, share, 100))
    other = market.send([market.fund(alice, share)], (nobody, share, 100))
    prepare = market.gate.prepare
    market.gate.prepare = lambda spend, request: prepare(spend, request)  # type: ignore[method-assign]
    kept = []

    def keep(spend, request):  # type: ignore[no-untyped-def]
        kept.append(prepare(spend, request))
        return kept[0]

    market.gate.prepare = keep  # type: ignore[method-assign]
    market.cosign(asked)
    with pytest.raises(PolicyChanged):
        market.cosign(other)


def recipient_becomes_somebody(market: Market, share: Managed) -> None:
    """The issuer was told of nobody."""
    market.register(market.world.wallet("x"), market.user("y"))
    (account,) = [row.id for row in market.rows(schema.accounts) if row.receiving_id == "GAnobody"]
    market.insert(
        tables.user_gaids, issuer_id=1, account_id=account, user_id=market.user("z"), is_default=0, added_at=0
    )


CHANGES: list[Callable[[Market, Managed], object]] = [
    lambda market, share: share.set(policy_version=2),
    lambda market, share: share.set(authorization_endpoint="https://other.example/"),
    lambda market, share: share.set(authorization_endpoint=None),
    lambda market, share: share.set(checks_sender_categories=1),
    lambda market, share: market.category("new", required_by=share),
    recipient_becomes_somebody,
]


@pytest.mark.parametrize("change", CHANGES)
def test_f04_a_yes_to_what_is_not_so_any_more_is_worth_nothing(
    market: Market, oracle: Oracle, share: Managed, payment: Payment, change: Callable[[Market, Managed], object]
) -> None:
    oracle.meanwhile = lambda: change(market, share)
    with pytest.raises(PolicyChanged) as caught:
        market.cosign(payment)
    assert (caught.value.name, caught.value.retryable) == ("policychanged", True)
    assert str(caught.value).startswith("policy_changed: ")
    assert market.rows(schema.cosigned) == []
    oracle.meanwhile = lambda: None
    share.set(authorization_endpoint="https://issuer.example/ask")
    market.cosign(payment)


def test_f04_an_endpoint_that_was_set_meanwhile_has_to_be_asked(
    market: Market, oracle: Oracle, share: Managed, payment: Payment
) -> None:
    share.set(authorization_endpoint=None)
    prepare = market.gate.prepare

    def then_set(spend, request):  # type: ignore[no-untyped-def]
        prepared = prepare(spend, request)
        share.set(authorization_endpoint="https://issuer.example/ask", policy_version=2)
        return prepared

    market.gate.prepare = then_set  # type: ignore[method-assign]
    with pytest.raises(PolicyChanged):
        market.cosign(payment)
    assert oracle.questions == []


def test_f04_a_rule_that_was_added_while_the_issuer_thought_holds(
    market: Market, oracle: Oracle, share: Managed, payment: Payment
) -> None:
    def add_rule() -> None:
        share.rule("transfer_limit", satoshi=5)
        share.set(policy_version=2)

    oracle.meanwhile = add_rule
    assert set(market.codes(payment)) == {"transfer_limit", "policy_changed"}


def test_each_asset_is_asked_by_itself(market: Market, oracle: Oracle, share: Managed, alice: Account) -> None:
    bond = market.asset("bond", authorization_endpoint="https://bond.example/", transfer_restricted=0)
    free = market.asset("free", transfer_restricted=0)
    bob = market.holder("bob")
    coins = [market.fund(alice, share), market.fund(alice, bond), market.fund(alice, free)]
    market.cosign(market.send(coins, (bob, share, 100), (bob, bond, 100), (bob, free, 100)))
    assert [question.asset.uuid for question in oracle.questions] == ["share", "bond"]


def test_who_was_not_asked_has_not_said_yes(market: Market, oracle: Oracle, share: Managed, alice: Account) -> None:
    bond = market.asset("bond", authorization_endpoint="https://bond.example/", transfer_restricted=0)
    bob = market.holder("bob")
    payment = market.send([market.fund(alice, share), market.fund(alice, bond)], (bob, share, 100), (bob, bond, 100))
    oracle.ask_all = lambda questions: [Answer(True)]  # type: ignore[method-assign]
    assert market.codes(payment) == ["authorization_failed"]
