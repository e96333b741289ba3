"""The cosigner when all is well, and its one rule about doing it twice."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import pytest
import sqlalchemy as sa
from sqlalchemy.engine import Connection

from amp0.elements.confidential import unblind, verify_amounts
from amp0.elements.hashes import Txid
from amp0.elements.sighash import SighashCache, verify
from amp0.elements.transaction import OutPoint, Transaction
from amp0.server.cosign_checks import PLACEHOLDER, Limits, Spend
from amp0.server.cosigner import Door, Request
from amp0.server.refusal import (
    AlreadySigned,
    ChainUnavailable,
    NotAllowed,
    NotFound,
    PolicyRefused,
    ServerBusy,
    SpentInput,
    TooManyAttempts,
)
from amp0.server.store import schema
from amp0.server.store.engine import Store
from tests.server.cosigning import OTHER, STRANGER_KEY, Coin, Payment, World


@pytest.fixture
def world() -> World:
    return World()


def check_signed(payment: Payment, tx: Transaction) -> None:
    """Both signatures valid, nothing else changed, amounts as a node wants them."""
    assert tx.txid() == payment.tx.txid()
    assert tx.vout == payment.tx.vout
    cache = SighashCache(tx)
    for i, coin in enumerate(payment.coins):
        script = coin.account.witness_script(coin.pointer)
        digest = cache.segwit_v0(i, script, coin.txout.value_field)
        witness = list(tx.vin[i].witness)
        service, user = (1, 0) if coin.account.csv_blocks else (1, 2)
        assert verify(coin.account.service_key(coin.pointer), digest, witness[service][:-1])
        assert verify(coin.account.user_key(coin.pointer).public_key, digest, witness[user][:-1])
        witness[service] = PLACEHOLDER
        assert tuple(witness) == payment.tx.vin[i].witness
    verify_amounts(tx, [coin.txout for coin in payment.coins])


def test_a_payment_with_change_is_signed(world: World) -> None:
    payment = world.pay([world.fund(world.wallet("alice"))])
    answer = world.cosigner.cosign(payment.request())
    check_signed(payment, answer.tx)
    assert not answer.again
    assert unblind(answer.tx.vout[0], STRANGER_KEY).satoshi == 60_000


def test_two_assets_from_two_accounts_that_both_signed(world: World) -> None:
    alice, bob = world.wallet("alice"), world.wallet("bob")
    payment = world.pay([world.fund(alice, 500, asset=OTHER), world.fund(bob)], 200, asset=OTHER)
    answer = world.cosigner.cosign(payment.request())
    check_signed(payment, answer.tx)
    assert answer.account_ids == {alice.id, bob.id}


def test_account_0_with_its_time_lock_script(world: World) -> None:
    """Account 0 is no AMP account: GDK sends no nonces for it, and range proofs are verified instead."""
    alice = world.wallet("alice", account=0, csv_blocks=65535)
    payment = world.pay([world.fund(alice)])
    check_signed(payment, world.cosigner.cosign(payment.request(nonces=None, scripts=None)).tx)


def test_explicit_coins_and_outputs(world: World) -> None:
    payment = world.pay([world.fund(world.wallet("alice"), blinded=False)])
    check_signed(payment, world.cosigner.cosign(payment.request()).tx)


def test_own_unconfirmed_outputs_are_spendable(world: World) -> None:
    alice = world.wallet("alice")
    first = world.pay([world.fund(alice)])
    signed = world.cosigner.cosign(first.request()).tx
    world.watch(signed, None, {1: (alice, 2)})
    change = Coin(OutPoint(signed.txid(), 1), signed.vout[1], first.outputs[1].opening, alice, 2)
    second = world.pay([change], 1_000)
    check_signed(second, world.cosigner.cosign(second.request()).tx)


def test_an_own_output_the_watcher_has_not_read_yet_is_asked_for_once(world: World) -> None:
    coin = world.fund(world.wallet("alice"), watched=False)
    payment = world.pay([coin])
    check_signed(payment, world.cosigner.cosign(payment.request()).tx)
    assert world.chain.questions == [coin.prevout.txid()]


def test_a_request_with_the_services_signature_in_place_is_a_retry(world: World) -> None:
    payment = world.pay([world.fund(world.wallet("alice"))])
    signed = world.cosigner.cosign(payment.request()).tx
    again = world.cosigner.cosign(payment.request(tx=signed.to_bytes()))
    assert again.tx == signed
    assert again.again


def test_an_earlier_transaction_can_be_had_again(world: World) -> None:
    payment = world.pay([world.fund(world.wallet("alice"))])
    signed = world.cosigner.cosign(payment.request()).tx
    assert world.cosigner.again(signed.txid()).tx == signed
    with pytest.raises(NotFound):
        world.cosigner.again(Txid("11" * 32))


def test_g01_a_hundred_requests_at_once_get_one_answer() -> None:
    world = World()
    payment = world.pay([world.fund(world.wallet("alice"))])
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: world.cosigner.cosign(payment.request()), range(100)))
    assert len({answer.tx.to_bytes() for answer in answers}) == 1
    assert sum(not answer.again for answer in answers) == 1
    with world.store.snapshot() as db:
        assert db.execute(sa.select(sa.func.count()).select_from(schema.cosigned)).scalar_one() == 1
        assert db.execute(sa.select(sa.func.count()).select_from(schema.outpoint_claims)).scalar_one() == 1


def test_a_request_is_known_by_its_txid_and_not_by_its_witnesses(world: World) -> None:
    """Other proofs for the same commitments: the same txid, so the same signatures, and no second record."""
    payment = world.pay([world.fund(world.wallet("alice"))])
    first = world.cosigner.cosign(payment.request()).tx
    output = payment.tx.vout[0]
    other_proof = payment.with_output(0, surjection_proof=output.surjection_proof[:-1] + b"\x00")
    assert other_proof.tx.txid() == payment.tx.txid()
    again = world.cosigner.cosign(other_proof.request())
    assert again.again
    assert again.tx.vin[0].witness[1] == first.vin[0].witness[1]


# -- G02: another transaction for the same outpoint --------------------------------------------


def rivals(world: World) -> tuple[Payment, Payment]:
    coin = world.fund(world.wallet("alice"))
    return world.pay([coin], 60_000), world.pay([coin], 50_000)


def test_g02_another_transaction_is_refused_with_the_earlier_txid(world: World) -> None:
    first, second = rivals(world)
    world.cosigner.cosign(first.request())
    with pytest.raises(AlreadySigned) as refused:
        world.cosigner.cosign(second.request())
    assert refused.value.earlier_txid == str(first.tx.txid())
    assert str(first.tx.txid()) in str(refused.value)


def test_g02_two_rivals_at_once_and_exactly_one_is_signed() -> None:
    for _ in range(5):
        world = World()
        pair = rivals(world)

        def attempt(payment: Payment, world: World = world) -> bool:
            try:
                world.cosigner.cosign(payment.request())
            except AlreadySigned:
                return False
            return True

        with ThreadPoolExecutor(2) as pool:
            assert sorted(pool.map(attempt, pair)) == [False, True]


def test_g02_while_the_earlier_is_in_the_mempool_time_does_not_help(world: World) -> None:
    first, second = rivals(world)
    world.watch(world.cosigner.cosign(first.request()).tx, None, {})
    world.now += 10_000
    with pytest.raises(SpentInput):
        world.cosigner.cosign(second.request())


def test_g02_an_earlier_one_nobody_has_seen_may_be_replaced_after_a_while(world: World) -> None:
    first, second = rivals(world)
    world.cosigner.cosign(first.request())
    world.now += 599
    with pytest.raises(AlreadySigned, match="wait 1 seconds"):
        world.cosigner.cosign(second.request())
    world.now += 1
    assert not world.cosigner.cosign(second.request()).again
    with world.store.snapshot() as db:
        rows = {row.txid: row.replaced_by for row in db.execute(sa.select(schema.cosigned))}
        claims = [row.txid for row in db.execute(sa.select(schema.outpoint_claims))]
    assert rows == {bytes(first.tx.txid()): bytes(second.tx.txid()), bytes(second.tx.txid()): None}
    assert claims == [bytes(second.tx.txid())]
    # The earlier one stays on record and still has the signatures it always had.
    assert world.cosigner.again(first.tx.txid()).tx.txid() == first.tx.txid()


def test_g02_the_chain_is_asked_before_a_replacement(world: World) -> None:
    """The watcher missed the earlier transaction, but the chain has it."""
    first, second = rivals(world)
    signed = world.cosigner.cosign(first.request()).tx
    world.now += 700
    world.chain.transactions[signed.txid()] = signed
    with pytest.raises(AlreadySigned):
        world.cosigner.cosign(second.request())


@pytest.mark.parametrize("how", ["stale", "away"])
def test_g02_without_a_view_of_the_chain_nothing_is_replaced(world: World, how: str) -> None:
    first, second = rivals(world)
    world.cosigner.cosign(first.request())
    world.now += 700
    if how == "stale":
        world.chain.current = False
    else:
        world.chain.failure = ChainUnavailable("away")
    with pytest.raises(ChainUnavailable):
        world.cosigner.cosign(second.request())


def test_g02_the_clock_starts_again_when_the_earlier_leaves_the_mempool(world: World) -> None:
    first, second = rivals(world)
    signed = world.cosigner.cosign(first.request()).tx
    world.watch(signed, None, {})
    world.now += 5_000
    world.gone(signed)
    world.now += 300
    with pytest.raises(AlreadySigned, match="wait 300 seconds"):
        world.cosigner.cosign(second.request())
    world.now += 300
    assert not world.cosigner.cosign(second.request()).again


def test_g02_one_that_can_no_longer_confirm_is_replaced_at_once(world: World) -> None:
    """Two coins signed together; one of them is spent otherwise and that spend is final."""
    alice = world.wallet("alice")
    coins = [world.fund(alice), world.fund(alice, pointer=3)]
    both = world.pay(coins, 150_000)
    world.cosigner.cosign(both.request())
    thief = Transaction.of(2, 0, [both.tx.vin[1]], [both.tx.vout[-1]])
    single = world.pay(coins[:1])
    world.watch(thief, world.chain.tip, {})
    with pytest.raises(AlreadySigned):
        world.cosigner.cosign(single.request())
    world.chain.tip += 1
    assert not world.cosigner.cosign(single.request()).again


def test_the_queue_before_the_expensive_work_is_bounded() -> None:
    world = World(limits=Limits(workers=1, max_waiting=1))
    payments = [world.pay([world.fund(world.wallet(name))]) for name in "ab"]
    with world.cosigner._working, world.cosigner._waiting, world.cosigner._waiting, pytest.raises(ServerBusy):
        world.cosigner.cosign(payments[0].request())
    assert not world.cosigner.cosign(payments[1].request()).again


# -- gates -----------------------------------------------------------------------------------


class Budget:
    """A gate that lets one transaction pass and counts the others, although they are rolled back."""

    def __init__(self) -> None:
        self.seen: list[Spend] = []

    def prepare(self, spend: Spend, request: Request) -> None:
        pass

    def decide(self, db: Connection, spend: Spend, request: Request, prepared: object | None) -> None:
        self.seen.append(spend)
        name = f"passed {request.door.value}"
        if db.execute(sa.select(schema.service).where(schema.service.c.name == name)).first() is not None:
            refusal = NotAllowed("one is enough")
            refusal.aftermath = lambda later: note(later, "refused")
            raise refusal
        note(db, name)


def note(db: Connection, name: str) -> None:
    db.execute(sa.insert(schema.service).values(name=name, value=b"1"))


def test_a_gate_decides_inside_the_transaction_and_what_a_refusal_leaves_is_kept() -> None:
    gate = Budget()
    world = World(gates=[gate])
    alice = world.wallet("alice")
    first, second = world.pay([world.fund(alice)]), world.pay([world.fund(alice, pointer=2)])
    world.cosigner.cosign(first.request())
    with pytest.raises(NotAllowed, match="one is enough"):
        world.cosigner.cosign(second.request())
    with world.store.snapshot() as db:
        assert set(db.execute(sa.select(schema.service.c.name)).scalars()) == {"passed delayed_signature", "refused"}
        assert len(db.execute(sa.select(schema.cosigned)).all()) == 1
    assert [opening.satoshi for opening in gate.seen[0].openings if opening] == [60_000, 39_900, 100]
    # What is on record was decided: a retry is not asked about again.
    assert world.cosigner.cosign(first.request()).again
    assert len(gate.seen) == 2
    # Another door is the same gate's to tell apart.
    assert not world.cosigner.cosign(second.request(door=Door.SEND)).again


class Oracle(Budget):
    """A gate that has to ask somebody first, and a book that is kept with the decision."""

    def __init__(self) -> None:
        super().__init__()
        self.store: Store | None = None
        self.handed: list[object] = []
        self.replacing: list[Txid] = []

    def prepare(self, spend: Spend, request: Request) -> None:
        assert self.store is not None
        # Whoever waits must not hold the one writer: with a transaction open, this would never return.
        with self.store.transaction():
            self.handed.append(spend.tx.txid())

    def record(self, db: Connection, spend: Spend) -> None:
        note(db, f"booked {spend.tx.txid()}")

    def replaced(self, db: Connection, txids: Sequence[Txid]) -> None:
        self.replacing += txids


def test_a_gate_asks_before_the_transaction_and_decides_inside() -> None:
    gate = Oracle()
    world = World(gates=[gate], recorders=[gate])
    gate.store = world.store
    alice = world.wallet("alice")
    coin = world.fund(alice)
    first = world.pay([coin])
    world.cosigner.cosign(first.request())
    assert gate.handed == [first.tx.txid()]
    # What the gate refuses is in nobody's books.
    with pytest.raises(NotAllowed):
        world.cosigner.cosign(world.pay([world.fund(alice, pointer=2)]).request())
    with world.store.snapshot() as db:
        names = set(db.execute(sa.select(schema.service.c.name)).scalars())
    assert names == {"passed delayed_signature", "refused", f"booked {first.tx.txid()}"}
    assert gate.replacing == []


def test_books_learn_what_a_decision_replaces() -> None:
    book = Oracle()
    world = World(recorders=[book])
    coin = world.fund(world.wallet("alice"))
    first = world.pay([coin])
    world.cosigner.cosign(first.request())
    world.now += Limits().replace_after + 1
    world.cosigner.cosign(world.pay([coin], 50_000).request())
    assert book.replacing == [first.tx.txid()]


class Never:
    """A gate that lets nothing pass."""

    def prepare(self, spend: Spend, request: Request) -> None:
        pass

    def decide(self, db: Connection, spend: Spend, request: Request, prepared: object | None) -> None:
        raise PolicyRefused("never", ())


def test_j11_what_a_gate_refuses_is_paid_for_too() -> None:
    """Opening outputs costs the same when the policy refuses them, and could be asked for without end."""
    world = World(gates=[Never()])
    payment = world.pay([world.fund(world.wallet("alice"))])
    for _ in range(67):
        with pytest.raises(PolicyRefused):
            world.cosigner.cosign(payment.request())
    with pytest.raises(TooManyAttempts, match="refused transactions; wait 1 seconds"):
        world.cosigner.cosign(payment.request())
    world.now += 2
    with pytest.raises(PolicyRefused):
        world.cosigner.cosign(payment.request())
