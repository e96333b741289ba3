"""The pre-flight: the cosigner's verdict before anybody signs, for the sender only, and no oracle on others."""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import httpx
import msgspec
import pytest
import sqlalchemy as sa

from amp0.elements import pset_fields as f
from amp0.elements import wally
from amp0.elements.address import Address
from amp0.elements.confidential import BlindedOutput
from amp0.elements.hashes import asset_id_to_str
from amp0.elements.pset import Pset, PsetInput, PsetOutput
from amp0.network import Network
from amp0.protocol import preflight as wire
from amp0.protocol import rpc
from amp0.protocol.issuer_policy import Reason
from amp0.server.attempts import Attempts
from amp0.server.policy.preflight import Preflights, Sender, _amount, by_policy
from amp0.server.refusal import InvalidRequest, PolicyRefused, SessionExpired, TooManyAttempts, UnknownAccount
from amp0.server.store import asset_schema as tables
from amp0.server.store import schema
from tests.server.cosigning import LBTC, OTHER, STRANGER, Account, Payment
from tests.server.policy.market import DAY, TREASURY, Managed, Market
from tests.server.talking import NETWORK, CallError, Client, Wallet, World, in_world
from tests.vectors import load

ALLOWANCE = 1_000


@dataclass
class Venue:
    """A market with its pre-flights."""

    market: Market
    preflights: Preflights

    def sender(self, account: Account) -> Sender:
        return self.account(account.user_id, account.number)

    def account(self, user_id: int, pointer: int) -> Sender:
        with self.market.store.snapshot() as db:
            return self.preflights.sender(db, user_id, pointer)

    def ask(self, account: Account, **request: Any) -> wire.PreflightReply:
        return self.preflights.ask(self.sender(account), wire.PreflightRequest(**request))

    def transfers(
        self, account: Account, *transfers: tuple[Account | bytes | str, Managed | bytes, int]
    ) -> wire.PreflightReply:
        """Ask about a list of transfers."""
        return self.ask(account, transfers=[transfer(*one) for one in transfers])

    def payment(self, account: Account, payment: Payment, **options: Any) -> wire.PreflightReply:
        """Ask about the PSET of a payment."""
        return self.ask(account, pset=str(pset_of(payment, **options)))


def transfer(who: Account | bytes | str, asset: Managed | bytes, satoshi: int) -> wire.PreflightTransfer:
    if isinstance(who, Account):
        who = who.script(5)
    address = who if isinstance(who, str) else str(Address.from_script(NETWORK, who))
    asset_id = asset.id if isinstance(asset, Managed) else asset
    return wire.PreflightTransfer(address=address, asset_id=asset_id_to_str(asset_id), satoshi=satoshi)


def pset_of(payment: Payment, *, proofs: bool = True, **changes: int) -> Pset:
    """The PSET that a builder makes of it, unsigned."""
    inputs = [
        PsetInput(
            {
                f.I_PREVIOUS_TXID: bytes(coin.prevout.txid()),
                f.I_OUTPUT_INDEX: coin.prevout.vout().to_bytes(4, "little"),
                f.I_WITNESS_UTXO: coin.txout.serialize(),
            }
        )
        for coin in payment.coins
    ]
    outputs = [_pset_output(output, proofs, **changes) for output in payment.outputs]
    top = {f.G_TX_VERSION: b"\x02\0\0\0", f.G_INPUT_COUNT: b"", f.G_OUTPUT_COUNT: b"", f.G_VERSION: b"\x02\0\0\0"}
    return Pset.of(top, inputs, outputs)


def _pset_output(output: BlindedOutput, proofs: bool, more: int = 0) -> PsetOutput:
    txout, opening = output.txout, output.opening
    fields = {f.O_SCRIPT: txout.script}
    if proofs or not output.nonce:
        fields |= {f.O_AMOUNT: (opening.satoshi + more).to_bytes(8, "little"), f.O_ASSET: opening.asset}
    if output.nonce:
        fields |= {
            f.O_VALUE_COMMITMENT: txout.value_field,
            f.O_ASSET_COMMITMENT: txout.asset_field,
            f.O_RANGEPROOF: txout.range_proof,
        }
        if proofs:
            fields |= {f.O_VALUE_PROOF: output.value_proof, f.O_ASSET_PROOF: output.asset_proof}
    return PsetOutput(fields)


def opened(url: str = "sqlite://") -> Venue:
    market = Market(url)
    preflights = Preflights(
        store=market.store,
        network=NETWORK,
        judge=by_policy,
        attempts=Attempts(1.0, lambda: market.world.now),
        allowance=ALLOWANCE,
        clock=lambda: market.world.now,
        now=lambda: market.now,
        secret=b"\x07" * 32,
    )
    return Venue(market, preflights)


@pytest.fixture
def venue() -> Venue:
    return opened()


@pytest.fixture
def market(venue: Venue) -> Market:
    return venue.market


def codes(reply: wire.PreflightReply) -> list[tuple[str, str, int | None]]:
    return [(one.code, one.side, one.index) for one in reply.reasons]


# -- the verdict ------------------------------------------------------------------------------------------------------


def test_allowed(venue: Venue, market: Market, share: Managed, alice: Account, bob: Account) -> None:
    coin = market.fund(alice, share)
    assert venue.transfers(alice, (bob, share, 60)) == wire.PreflightReply(allowed=True, reasons=[])
    payment = market.send([coin], (bob, share, 60), (alice, share, 40))
    assert venue.payment(alice, payment) == wire.PreflightReply(allowed=True, reasons=[])
    market.cosign(payment)


def test_on_every_database(database_url: str) -> None:
    venue = opened(database_url)
    market = venue.market
    share, alice, bob = market.asset(), market.holder("alice"), market.holder("bob")
    coin = market.fund(alice, share)
    assert venue.transfers(alice, (bob, share, 60)).allowed
    assert codes(venue.transfers(alice, (bob, share, 101))) == [("not_enough", "asset", None)]
    payment = market.send([coin], (STRANGER, share, 100))
    assert codes(venue.payment(alice, payment)) == [("recipient_not_allowed", "output", 0)]
    assert venue.preflights.sender_of(venue.preflights.token(venue.sender(alice)).token) == venue.sender(alice)
    market.store.close()


def test_nothing_is_recorded_by_asking(
    venue: Venue, market: Market, share: Managed, alice: Account, bob: Account
) -> None:
    coin = market.fund(alice, share)

    def everything() -> list[Any]:
        return [market.rows(table) for table in schema.metadata.sorted_tables]

    before = everything()
    venue.transfers(alice, (bob, share, 60), (STRANGER, share, 5))
    venue.payment(alice, market.send([coin], (STRANGER, share, 100)))
    after = everything()
    # The coins for the fee are the test's own doing.
    changed = [table.name for table, a, b in zip(schema.metadata.sorted_tables, before, after, strict=True) if a != b]
    assert not set(changed) & {"cosigned", "asset_moves", "policy_refusals", "asset_outputs", "asset_txs"}


def _of_alice(market: Market, **values: Any) -> None:
    market.update(tables.registered_users, tables.registered_users.c.name == "alice", **values)


REFUSING: dict[str, Callable[[Market, Managed], object]] = {
    "asset_locked": lambda _market, share: share.set(is_locked=1),
    "transfer_limit": lambda _market, share: share.rule("transfer_limit", satoshi=59),
    "period_limit": lambda _market, share: share.rule("period_limit", satoshi=59, seconds=DAY),
    "lock_up": lambda market, share: share.rule("lock_up", until=market.now + 5),
    "sender_frozen": lambda market, _share: _of_alice(market, is_frozen=1),
    "sender_not_registered": lambda market, _share: _of_alice(market, deleted_at=1),
    "unknown_rule": lambda _market, share: share.raw_rule("no_such_rule", "{}"),
    "recipient_not_allowed": lambda _market, share: share.rule("max_balance", satoshi=59),
    "holding_period": lambda market, share: share.rule("holding_period", seconds=market.now + DAY),
}
"""Code → what makes the rules refuse alice's 60 of 100 to bob."""


@pytest.mark.parametrize("code", REFUSING)
def test_it_is_what_the_cosigner_says(
    venue: Venue, market: Market, share: Managed, alice: Account, bob: Account, code: str
) -> None:
    """The same reasons, byte for byte, for a PSET; for a list the same but for inputs, which are only thought of."""
    coin = market.fund(alice, share)
    REFUSING[code](market, share)
    payment = market.send([coin], (bob, share, 60), (alice, share, 40))
    asked = venue.payment(alice, payment)
    assert not asked.allowed
    assert [one.code for one in asked.reasons] == [code]
    thought = venue.transfers(alice, (bob, share, 60))
    refused = market.refused(payment)
    assert asked.reasons == refused
    assert thought.reasons == [replaced(one, index=None) if one.side == "input" else one for one in refused]


def replaced(one: Reason, **changes: Any) -> Reason:
    return msgspec.structs.replace(one, **changes)


def test_a_blacklisted_coin_is_not_thought_of_and_is_refused_in_a_pset(
    venue: Venue, market: Market, share: Managed, alice: Account, bob: Account
) -> None:
    bad, good = market.fund(alice, share, 100), market.fund(alice, share, 70)
    share.blacklist(bad.prevout)
    assert venue.transfers(alice, (bob, share, 70)).allowed
    assert codes(venue.transfers(alice, (bob, share, 71))) == [("not_enough", "asset", None)]
    payment = market.send([good, bad], (bob, share, 170))
    assert codes(venue.payment(alice, payment)) == [("output_blacklisted", "input", 1)]


def test_a_list_is_paid_with_the_oldest_coins(
    venue: Venue, market: Market, share: Managed, alice: Account, bob: Account
) -> None:
    share.rule("holding_period", seconds=100)
    market.fund(alice, share, 50, acquired_at=market.now - 10)
    market.fund(alice, share, 50, acquired_at=market.now - 200)
    assert venue.transfers(alice, (bob, share, 50)).allowed
    assert codes(venue.transfers(alice, (bob, share, 51))) == [("holding_period", "input", None)]


def test_several_assets_each_with_its_reasons(
    venue: Venue, market: Market, share: Managed, alice: Account, bob: Account
) -> None:
    other = market.asset("other")
    market.fund(alice, share)
    market.fund(alice, other)
    share.set(is_locked=1)
    reply = venue.transfers(alice, (bob, share, 1), (bob, other, 1), (STRANGER, other, 2), (STRANGER, OTHER, 5))
    assert [(one.code, one.index, one.asset_id) for one in reply.reasons] == [
        ("asset_locked", None, asset_id_to_str(share.id)),
        ("recipient_not_allowed", 2, asset_id_to_str(other.id)),
    ]


def test_what_nobody_manages_is_nobodys_business(venue: Venue, market: Market, alice: Account) -> None:
    assert venue.transfers(alice, (STRANGER, OTHER, 5), (STRANGER, LBTC, 10**9)).allowed
    coin = market.world.fund(alice, 500, asset=OTHER)
    assert venue.payment(alice, market.send([coin], (STRANGER, OTHER, 500), blinded=True)).allowed


def test_redemption_needs_no_registration(venue: Venue, market: Market, share: Managed) -> None:
    nobody = market.holder("nobody", user=False)
    market.fund(nobody, share)
    assert venue.transfers(nobody, (TREASURY, share, 100)).allowed


def test_the_issuer_is_not_asked_and_that_is_said(
    venue: Venue, market: Market, share: Managed, alice: Account, bob: Account
) -> None:
    share.set(authorization_endpoint="https://issuer.example/authorize")
    market.fund(alice, share)
    reply = venue.transfers(alice, (bob, share, 60))
    assert reply.allowed
    assert codes(reply) == [("issuer_decides", "asset", None)]
    # Who may hold is what the issuer's yes puts aside; a lock it does not.
    nobody = market.holder("nobody", user=False)
    assert venue.transfers(alice, (nobody, share, 60)) == reply
    assert codes(venue.transfers(alice, (STRANGER, share, 60))) == [("recipient_not_allowed", "output", 0)]
    share.set(is_locked=1)
    assert codes(venue.transfers(alice, (bob, share, 60))) == [("asset_locked", "asset", None)]


# -- no oracle --------------------------------------------------------------------------------------------------------


def outcasts(market: Market, share: Managed) -> dict[str, Account | bytes]:
    """Who may not be paid, and why."""
    people: dict[str, Account | bytes] = {
        "unregistered": market.holder("unregistered", user=False),
        "not qualified": market.holder("not qualified"),
        "full": market.holder("full"),
        "frozen": market.holder("frozen", is_frozen=1),
        "one too many": market.holder("one too many"),
        "foreign": STRANGER,
        "foreign script hash": b"\xa9\x14" + b"\x55" * 20 + b"\x87",
    }
    full = people["full"]
    assert isinstance(full, Account)
    market.fund(full, share, 995)
    with market.store.transaction() as db:
        user = tables.registered_users.c
        known = db.execute(sa.select(user.id).where(user.name != "not qualified")).scalars().all()
    market.category("qualified", *known, required_by=share)
    share.rule("max_balance", satoshi=1000)
    share.rule("max_holders", holders=2)
    return people


def test_all_recipients_who_are_refused_look_the_same(
    venue: Venue, market: Market, share: Managed, alice: Account
) -> None:
    """Byte for byte; and the issuer's record, which nobody else sees, shows each refused for its own reason."""
    coin = market.fund(alice, share)
    people = outcasts(market, share)
    lists = {name: msgspec.json.encode(venue.transfers(alice, (who, share, 10))) for name, who in people.items()}
    assert len(set(lists.values())) == 1, lists
    psets, signed, whole = set(), set(), {}
    for name, who in people.items():
        payment = market.send([coin], (who, share, 10), (alice, share, 90))
        psets.add(msgspec.json.encode(venue.payment(alice, payment)))
        with pytest.raises(PolicyRefused) as refused:
            market.cosign(payment)
        signed.add((str(refused.value), tuple(refused.value.reasons)))
        whole[name] = market.whole()[0]
    assert len(psets) == len(signed) == 1
    assert psets == set(lists.values())
    assert whole == {
        "unregistered": "recipient_not_registered",
        "not qualified": "recipient_lacks_category",
        "full": "max_balance",
        "frozen": "recipient_frozen",
        "one too many": "max_holders",
        "foreign": "foreign_destination",
        "foreign script hash": "foreign_destination",
    }


def test_they_differ_in_the_number_of_the_output_and_in_nothing_else(
    venue: Venue, market: Market, share: Managed, alice: Account
) -> None:
    market.fund(alice, share)
    people = outcasts(market, share)
    for i in range(3):
        before = [(alice, share, 1)] * i
        replies = {msgspec.json.encode(venue.transfers(alice, *before, (who, share, 10))) for who in people.values()}
        (reply,) = replies
        assert [one["index"] for one in json.loads(reply)["reasons"]] == [i]


def test_neither_order_nor_number_of_reasons_tells_them_apart(
    venue: Venue, market: Market, share: Managed, alice: Account
) -> None:
    """With a limit broken on purpose, and with the same recipient named twice."""
    market.fund(alice, share)
    people = outcasts(market, share)
    share.rule("transfer_limit", satoshi=19)
    replies = {
        msgspec.json.encode(venue.transfers(alice, (who, share, 10), (who, share, 10))) for who in people.values()
    }
    (reply,) = replies
    assert [(one["code"], one["index"]) for one in json.loads(reply)["reasons"]] == [
        ("transfer_limit", None),
        ("recipient_not_allowed", 0),
        ("recipient_not_allowed", 1),
    ]


def test_two_addresses_of_one_holder_are_not_told_from_those_of_two(
    venue: Venue, market: Market, share: Managed, alice: Account
) -> None:
    market.fund(alice, share)
    one, other = market.holder("one", user=False), market.holder("other", user=False)
    same = venue.transfers(alice, (one.script(3), share, 1), (one.script(4), share, 1))
    two = venue.transfers(alice, (one.script(3), share, 1), (other.script(3), share, 1))
    nobody = venue.transfers(alice, (STRANGER, share, 1), (b"\x00\x14" + b"\x09" * 20, share, 1))
    assert same == two == nobody
    assert [one.index for one in same.reasons] == [0, 1]


@contextmanager
def statements(venue: Venue) -> Iterator[list[str]]:
    seen: list[str] = []

    def note(_connection: Any, _cursor: Any, statement: str, *_more: Any) -> None:
        seen.append(statement)

    engine = venue.market.store._engine
    sa.event.listen(engine, "before_cursor_execute", note)
    try:
        yield seen
    finally:
        sa.event.remove(engine, "before_cursor_execute", note)


def test_the_same_is_looked_up_for_all_accounts_of_this_server(
    venue: Venue, market: Market, share: Managed, alice: Account
) -> None:
    """Whether somebody is registered, qualified, frozen or full costs the same questions to the database."""
    market.fund(alice, share)
    people = outcasts(market, share)
    work = {}
    for name, who in people.items():
        with statements(venue) as seen:
            venue.transfers(alice, (who, share, 10))
        work[name] = len(seen)
    ours = {name: count for name, count in work.items() if not name.startswith("foreign")}
    assert max(ours.values()) - min(ours.values()) <= 1, work


def test_who_holds_nothing_hears_nothing_of_recipients(
    venue: Venue, market: Market, share: Managed, bob: Account
) -> None:
    """A wallet costs nothing: without this, anybody could ask who is registered."""
    poor = market.holder("poor")
    replies = [venue.transfers(poor, (who, share, 1)) for who in (bob, STRANGER, market.holder("x", user=False))]
    assert replies[0] == replies[1] == replies[2]
    assert codes(replies[0]) == [("not_enough", "asset", None)]
    # The same with an output that a PSET only claims to have.
    coin = market.world.fund(poor, 5_000)
    for who in (bob, STRANGER):
        payment = market.send([coin], (poor, LBTC, 5_000), blinded=True)
        claimed = pset_of(payment)
        script = who.script(5) if isinstance(who, Account) else who
        fields = {f.O_SCRIPT: script, f.O_AMOUNT: (1).to_bytes(8, "little"), f.O_ASSET: share.id}
        outputs = [PsetOutput(fields), *claimed.outputs()]
        reply = venue.ask(poor, pset=str(Pset.of(claimed.fields, claimed.inputs(), outputs)))
        assert codes(reply) == [("amounts_differ", "asset", None)]


def test_more_than_the_inputs_hold_says_nothing_of_recipients(
    venue: Venue, market: Market, share: Managed, alice: Account
) -> None:
    coin = market.fund(alice, share, 100)
    payment = market.send([coin], (STRANGER, share, 100))
    assert codes(venue.payment(alice, payment)) == [("recipient_not_allowed", "output", 0)]
    assert codes(venue.payment(alice, payment, more=1)) == [("amounts_differ", "asset", None)]


def test_a_coin_that_the_ledger_cannot_look_into_may_hold_what_is_sent(
    venue: Venue, market: Market, share: Managed, alice: Account, bob: Account
) -> None:
    coin = market.fund(alice, share, 100, sealed=True)
    payment = market.send([coin], (bob, share, 100))
    assert venue.payment(alice, payment).allowed
    market.cosign(payment)


# -- whose coins ------------------------------------------------------------------------------------------------------


def test_coins_of_others_and_of_nobody_are_refused_alike(
    venue: Venue, market: Market, share: Managed, alice: Account, bob: Account
) -> None:
    theirs, unknown = market.fund(bob, share), market.fund(alice, share, watched=False)
    texts = set()
    for coin in (theirs, unknown):
        payment = market.send([coin], (bob, share, 100), fee_from=alice)
        with pytest.raises(InvalidRequest) as refused:
            venue.payment(alice, payment)
        texts.add(str(refused.value))
    assert len(texts) == 1
    assert "Input 0 spends nothing of this wallet" in texts.pop()


def test_the_account_that_is_named_must_be_the_one_that_sends(
    venue: Venue, market: Market, share: Managed, alice: Account, bob: Account
) -> None:
    second = market.world.wallet("alice two", account=2)
    market.update(schema.accounts, schema.accounts.c.id == second.id, user_id=alice.user_id)
    payment = market.send([market.fund(alice, share)], (bob, share, 100))
    sender = venue.account(alice.user_id, 2)
    with pytest.raises(InvalidRequest, match="ask for the account that sends"):
        venue.preflights.ask(sender, wire.PreflightRequest(pset=str(pset_of(payment))))


def test_there_must_be_such_an_account(venue: Venue, alice: Account) -> None:
    with pytest.raises(UnknownAccount):
        venue.account(alice.user_id, 7)
    with pytest.raises(UnknownAccount):
        venue.account(alice.user_id + 100, 1)


# -- questions that are none ------------------------------------------------------------------------------------------


def test_one_question_at_a_time(venue: Venue, alice: Account) -> None:
    one = transfer(STRANGER, OTHER, 1)
    requests: list[dict[str, Any]] = [{}, {"transfers": []}, {"pset": ""}, {"transfers": [one], "pset": "cHNldP8="}]
    for request in requests:
        with pytest.raises(InvalidRequest):
            venue.ask(alice, **request)
    with pytest.raises(InvalidRequest):
        venue.ask(alice, transfers=[one], blinding_nonces=[])


@pytest.mark.parametrize("address", ["nonsense", "bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4", "el1" + "q" * 90])
def test_addresses_that_are_none(venue: Venue, alice: Account, address: str) -> None:
    with pytest.raises(InvalidRequest, match="Transfer 1"):
        venue.transfers(alice, (STRANGER, OTHER, 1), (address, OTHER, 1))


def test_addresses_of_another_network(venue: Venue, alice: Account) -> None:
    with pytest.raises(InvalidRequest, match="Transfer 0"):
        venue.transfers(alice, (str(Address.from_script(Network.mainnet(), STRANGER)), OTHER, 1))


@pytest.mark.parametrize("text", ["x", "cHNldP8=", "cHNidP8BAA==", "A" * 1000])
def test_psets_that_are_none(venue: Venue, alice: Account, text: str) -> None:
    with pytest.raises(InvalidRequest, match="cannot be read"):
        venue.ask(alice, pset=text)


@pytest.fixture
def hidden(market: Market, share: Managed, alice: Account, bob: Account) -> Payment:
    """A payment whose amounts are hidden."""
    return market.send([market.fund(alice, share, blinded=True)], (bob, share, 60), (alice, share, 40), blinded=True)


def test_stated_amounts_are_proven(venue: Venue, alice: Account, hidden: Payment) -> None:
    assert venue.payment(alice, hidden).allowed
    with pytest.raises(InvalidRequest, match="Output 0 does not hold what the PSET says"):
        venue.payment(alice, hidden, more=1)


def test_without_proofs_the_nonces_tell(venue: Venue, market: Market, alice: Account, hidden: Payment) -> None:
    bare = str(pset_of(hidden, proofs=False))
    nonces = [nonce.hex() for nonce in hidden.nonces]
    assert venue.ask(alice, pset=bare, blinding_nonces=nonces).allowed
    with pytest.raises(InvalidRequest, match="Output 0 is blinded"):
        venue.ask(alice, pset=bare)
    swapped = [nonces[1], nonces[0], *nonces[2:]]
    with pytest.raises(InvalidRequest, match="Output 0 does not open"):
        venue.ask(alice, pset=bare, blinding_nonces=swapped)
    for wrong in (nonces[:-1], [*nonces, ""], ["zz" * 32, *nonces[1:]], ["", *nonces[1:]]):
        with pytest.raises(InvalidRequest):
            venue.ask(alice, pset=bare, blinding_nonces=wrong)


@pytest.mark.parametrize("case", load("lwk-0.19.json")["spends"]["cases"], ids=lambda case: case["name"])
def test_the_amounts_that_lwk_states_are_proven_the_same_way(case: dict[str, Any]) -> None:
    """The proofs are enough; the nonces, where they are needed, tell the same."""
    outputs = wire.slim(Pset(case["pset"])).outputs()
    stated = [_amount(i, output, "") for i, output in enumerate(outputs)]
    assert [(one.satoshi, one.asset) for one in stated] == [(one.amount(), one.asset_bytes) for one in outputs]
    proofs = {f.O_VALUE_PROOF, f.O_ASSET_PROOF}
    bare = [
        PsetOutput({k: v for k, v in one.fields.items() if k not in proofs}) for one in Pset(case["pset"]).outputs()
    ]
    nonces = case["blinding_nonces"]
    assert [_amount(i, output, nonces[i]) for i, output in enumerate(bare)] == stated


def test_an_output_that_is_not_blinded_yet_is_taken_as_stated(
    venue: Venue, market: Market, share: Managed, alice: Account, bob: Account
) -> None:
    payment = market.send([market.fund(alice, share)], (bob, share, 100))
    pset = pset_of(payment)
    wanted = {f.O_BLINDING_KEY: wally.public_key(b"\x05" * 32), f.O_BLINDER_INDEX: bytes(4)}
    first = PsetOutput({**pset.outputs()[0].fields, **wanted})
    assert venue.ask(alice, pset=str(Pset.of(pset.fields, pset.inputs(), [first, *pset.outputs()[1:]]))).allowed


def test_amounts_that_cannot_exist(venue: Venue, market: Market, share: Managed, alice: Account) -> None:
    payment = market.send([market.fund(alice, share)], (alice, share, 100))
    with pytest.raises(InvalidRequest, match="more than can exist"):
        venue.payment(alice, payment, more=2**63)


def test_one_output_spent_twice_is_no_transaction(venue: Venue, market: Market, share: Managed, alice: Account) -> None:
    pset = pset_of(market.send([market.fund(alice, share)], (alice, share, 100)))
    twice = Pset.of(pset.fields, [pset.inputs()[0]] * 2, pset.outputs())
    for wrong in (twice, Pset.of(pset.fields, [], pset.outputs()), Pset.of(pset.fields, pset.inputs(), [])):
        with pytest.raises(InvalidRequest):
            venue.ask(alice, pset=str(wrong))


def test_more_than_a_transaction_can_have_is_not_looked_at(
    venue: Venue, market: Market, share: Managed, alice: Account
) -> None:
    pset = pset_of(market.send([market.fund(alice, share)], (alice, share, 100)))
    first = pset.inputs()[0]
    many = [PsetInput({**first.fields, f.I_OUTPUT_INDEX: n.to_bytes(4, "little")}) for n in range(257)]
    for inputs, outputs in ((many, pset.outputs()), (pset.inputs(), pset.outputs()[:1] * 257)):
        with pytest.raises(InvalidRequest, match="at most 256 inputs"):
            venue.ask(alice, pset=str(Pset.of(pset.fields, inputs, outputs)))


def test_many_small_coins_are_no_burden(
    venue: Venue, market: Market, share: Managed, alice: Account, bob: Account
) -> None:
    """Oldest first; where 256 of those are too few, the largest."""
    market.fund(alice, share, 1)
    with market.store.transaction() as db:
        (row,) = db.execute(sa.select(tables.asset_outputs)).mappings()
        db.execute(tables.asset_outputs.insert(), [{**row, "vout": vout} for vout in range(10, 400)])
        large = {**row, "vout": 500, "satoshi": 1_000, "acquired_at": 10}
        db.execute(tables.asset_outputs.insert(), [large])
    assert venue.transfers(alice, (bob, share, 1_255)).allowed
    assert codes(venue.transfers(alice, (bob, share, 1_256))) == [("not_enough", "asset", None)]


# -- the allowance ----------------------------------------------------------------------------------------------------


def test_every_output_asked_about_counts(
    venue: Venue, market: Market, share: Managed, alice: Account, bob: Account
) -> None:
    few = Venue(market, replace(venue.preflights, allowance=5))
    market.fund(alice, share)
    few.transfers(alice, (bob, share, 1), (STRANGER, share, 1))
    payment = market.send([market.fund(alice, share)], (bob, share, 100))
    assert few.payment(alice, payment).allowed
    with pytest.raises(TooManyAttempts, match="pre-flight questions"):
        few.transfers(alice, (bob, share, 1))
    assert few.transfers(bob, (alice, LBTC, 1)).allowed, "another wallet has its own"
    market.later(1)
    assert few.transfers(alice, (bob, share, 1)).allowed
    with pytest.raises(TooManyAttempts):
        few.transfers(alice, (bob, share, 1))


def test_questions_that_are_none_are_not_free_of_charge_for_ever(venue: Venue, market: Market, alice: Account) -> None:
    few = Venue(market, replace(venue.preflights, allowance=2))
    for _ in range(2):
        with pytest.raises(InvalidRequest):
            few.transfers(alice, ("nonsense", OTHER, 1))
    with pytest.raises(TooManyAttempts):
        few.transfers(alice, ("nonsense", OTHER, 1))


def test_j11_a_pset_that_cannot_be_read_costs_as_much_as_one_that_can(
    venue: Venue, market: Market, alice: Account
) -> None:
    """Reading a large one takes 40 ms in the threads that cosign, and what was broken at its end was free: a wallet,
    which costs nothing, could keep these threads from everybody else."""
    few = Venue(market, replace(venue.preflights, allowance=2))
    broken = base64.b64encode(base64.b64decode(str(Pset.of({}, [], [])))[:-1] + b"x").decode()
    for _ in range(2):
        with pytest.raises(InvalidRequest, match="cannot be read"):
            few.ask(alice, pset=broken)
    with pytest.raises(TooManyAttempts):
        few.ask(alice, pset=broken)


# -- tokens -----------------------------------------------------------------------------------------------------------


def test_a_token_stands_for_its_account_for_a_few_minutes(venue: Venue, market: Market, alice: Account) -> None:
    token = venue.preflights.token(venue.sender(alice))
    assert token.expires_at == market.now + 300
    assert venue.preflights.sender_of(token.token) == venue.sender(alice)
    market.later(299)
    assert venue.preflights.sender_of(token.token) == venue.sender(alice)
    market.later(1)
    with pytest.raises(SessionExpired):
        venue.preflights.sender_of(token.token)


def test_tokens_cannot_be_made_up(venue: Venue, market: Market, alice: Account, bob: Account) -> None:
    token = venue.preflights.token(venue.sender(alice)).token
    amp_id, expires, login, mac = token.split(".")
    other = Venue(market, replace(venue.preflights, secret=b"\x08" * 32))
    for wrong in (
        "",
        token + "x",
        token[:-1] + ("A" if token[-1] != "A" else "B"),
        f"{amp_id}.{int(expires) + 100}.{login}.{mac}",
        f"{amp_id}.0{expires}.{login}.{mac}",
        f"GAbob.{expires}.{login}.{mac}",
        f"{amp_id}.{expires}.{login}.",
        f"{amp_id}.{expires}.{mac}",
        f"{amp_id}.{expires}.{login[:-1]}A.{mac}",
        f"{amp_id}.{expires}.{mac}.{mac}",
        f"{amp_id}.{'9' * 12}.{login}.{mac}",
        other.preflights.token(venue.sender(alice)).token,
        token + "\n",
    ):
        with pytest.raises(SessionExpired):
            venue.preflights.sender_of(wrong)


def test_a_token_from_the_future_is_not_believed(venue: Venue, market: Market, alice: Account) -> None:
    """The clock went back: nobody keeps a token for longer than it should live."""
    market.later(10_000)
    token = venue.preflights.token(venue.sender(alice)).token
    market.later(-10_000)
    with pytest.raises(SessionExpired):
        venue.preflights.sender_of(token)


def test_b14_a_token_does_not_outlive_the_credentials_that_it_was_got_with() -> None:
    """Who changes the watch-only credentials, or removes the wallet, wants those out who had them: sessions end at
    once, and a token of theirs opened the pre-flight for minutes more."""

    async def scene(world: World) -> None:
        preflights = world.server.services.preflights

        def is_good(token: dict[str, Any]) -> bool:
            try:
                preflights.sender_of(token["token"])
            except SessionExpired:
                return False
            return True

        async def watcher(password: str) -> Client:
            session = await world.joined()
            await session.call(await wallet.create_watch_only(owner, "shop", password))
            return session

        wallet = Wallet("alice")
        owner = await world.logged_in(wallet)
        await wallet.create_account(owner)
        first = await (await watcher("secret")).call_uri(wire.GetPreflightToken.URI, [1])
        own = await owner.call_uri(wire.GetPreflightToken.URI, [1])
        assert is_good(first)
        second = await (await watcher("another secret")).call_uri(wire.GetPreflightToken.URI, [1])
        assert (is_good(first), is_good(second), is_good(own)) == (False, True, True)
        await owner.call(rpc.SyncCustom("", "", ""))
        assert (is_good(second), is_good(own)) == (False, True)
        assert await owner.call(rpc.RemoveAccount({})) is True
        assert not is_good(own)

    in_world(scene)


# -- on the wire ------------------------------------------------------------------------------------------------------


def test_over_wamp_and_http() -> None:
    question = {"transfers": [msgspec.to_builtins(transfer(STRANGER, OTHER, 5))]}

    async def scene(world: World) -> None:
        wallet = Wallet("alice")
        client = await world.logged_in(wallet)
        await wallet.create_account(client)
        watcher = await world.joined()
        await watcher.call(await wallet.create_watch_only(client, "shop", "secret"))
        assert await watcher.call_uri(wire.AskPreflight.URI, [1, question]) == {"allowed": True, "reasons": []}
        for wrong in ([2, question], [1, {}], [1, {"pset": "x"}]):
            with pytest.raises(CallError):
                await watcher.call_uri(wire.AskPreflight.URI, wrong)
        other = await world.logged_in(Wallet("bob"))
        with pytest.raises(CallError) as refused:
            await other.call_uri(wire.GetPreflightToken.URI, [1])
        assert refused.value.name == "unknownaccount"
        with pytest.raises(CallError) as refused:
            await (await world.joined()).call_uri(wire.AskPreflight.URI, [1, question])
        assert refused.value.name == rpc.SESSION_EXPIRED[0]

        token = await watcher.call_uri(wire.GetPreflightToken.URI, [1])
        bearer = {"authorization": f"Bearer {token['token']}"}
        async with httpx.AsyncClient(transport=httpx.ASGITransport(world.server.app), base_url="http://server") as http:
            answer = await http.post(wire.PREFLIGHT_PATH, json=question, headers=bearer)
            assert (answer.status_code, answer.json()) == (200, {"allowed": True, "reasons": []})
            in_url = await http.post(f"{wire.PREFLIGHT_PATH}?token={token['token']}", json=question)
            assert in_url.status_code == 401
            twice = await http.post(wire.PREFLIGHT_PATH, json=question, headers=[*bearer.items(), *bearer.items()])
            assert twice.status_code == 401
            for headers in ({}, {"authorization": token["token"]}, {"authorization": "Bearer nonsense"}):
                refusal = await http.post(wire.PREFLIGHT_PATH, json=question, headers=headers)
                assert (refusal.status_code, refusal.json()["code"]) == (401, "sessionexpired")
            for body in (b"", b"{}", b"nonsense", b'{"transfers": 5}'):
                refusal = await http.post(wire.PREFLIGHT_PATH, content=body, headers=bearer)
                assert (refusal.status_code, refusal.json()["code"]) == (400, "invalid")
            assert (await http.get(wire.PREFLIGHT_PATH, headers=bearer)).status_code in (404, 405)
            huge = await http.post(wire.PREFLIGHT_PATH, content=b"x" * (2 * 1024 * 1024), headers=bearer)
            assert huge.status_code == 413
            world.clock.now += 301
            late = await http.post(wire.PREFLIGHT_PATH, json=question, headers=bearer)
            assert late.status_code == 401

    in_world(scene)


def test_j11_a_question_is_not_read_on_the_event_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    """A megabyte of nonces takes 20 ms to read, and on the event loop everybody would wait for it."""
    parse, threads = wire.parse_request, []

    def parse_request(raw: bytes) -> wire.PreflightRequest:
        threads.append(threading.current_thread().name)
        return parse(raw)

    monkeypatch.setattr(wire, "parse_request", parse_request)

    async def scene(world: World) -> None:
        wallet = Wallet("alice")
        client = await world.logged_in(wallet)
        await wallet.create_account(client)
        token = await client.call_uri(wire.GetPreflightToken.URI, [1])
        async with httpx.AsyncClient(transport=httpx.ASGITransport(world.server.app), base_url="http://server") as http:
            question = {"transfers": [msgspec.to_builtins(transfer(STRANGER, OTHER, 5))]}
            bearer = {"authorization": f"Bearer {token['token']}"}
            assert (await http.post(wire.PREFLIGHT_PATH, json=question, headers=bearer)).status_code == 200

    in_world(scene)
    assert len(threads) == 1
    assert threads[0].startswith("amp0-cosign")


def test_the_allowance_holds_over_all_doors() -> None:
    question = {"transfers": [msgspec.to_builtins(transfer(STRANGER, OTHER, 5))] * 3}

    async def scene(world: World) -> None:
        wallet = Wallet("alice")
        client = await world.logged_in(wallet)
        await wallet.create_account(client)
        token = await client.call_uri(wire.GetPreflightToken.URI, [1])
        await client.call_uri(wire.AskPreflight.URI, [1, question])
        bearer = {"authorization": f"Bearer {token['token']}"}
        async with httpx.AsyncClient(transport=httpx.ASGITransport(world.server.app), base_url="http://server") as http:
            refusal = await http.post(wire.PREFLIGHT_PATH, json=question, headers=bearer)
            assert (refusal.status_code, refusal.json()["code"]) == (429, "toomanyattempts")
            assert int(refusal.headers["retry-after"]) > 0
        with pytest.raises(CallError):
            await client.call_uri(wire.AskPreflight.URI, [1, question])

    in_world(scene, preflight_requests=3)
