"""Distributions, reissues and burns from start to end: killed at every call, with every answer lost, and yet once."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from amp0.errors import (
    BackendUnavailable,
    ConfigError,
    ConnectionFailed,
    ConnectionTimeout,
    InvalidInput,
    IssuerRefused,
    UnconfirmedMove,
)
from amp0.issuer import Move, Progress
from amp0.issuer.journal import journal
from amp0.protocol.issuer import Outpoint
from tests.issuer.loop import in_a_loop
from tests.issuer.office import TOKEN_COIN, UUID, Office, Trouble, Wallet

AMOUNT = 250_000


class Killed(Exception):
    """The program ends here."""


async def distribute(office: Office, wallet: Wallet, state_dir: Path | None = None) -> Any:
    return await office.distribute(UUID, wallet, poll_seconds=0)


async def reissue(office: Office, wallet: Wallet, state_dir: Path | None = None) -> Any:
    return await office.reissue(UUID, AMOUNT, wallet, state_dir=state_dir, poll_seconds=0)


async def burn(office: Office, wallet: Wallet, state_dir: Path | None = None) -> Any:
    return await office.burn(UUID, AMOUNT, wallet, state_dir=state_dir, poll_seconds=0)


OPERATIONS: dict[str, Callable[..., Coroutine[Any, Any, Any]]] = {
    "distribute": distribute,
    "reissue": reissue,
    "burn": burn,
}


def opened(trouble: Trouble) -> tuple[Office, Wallet]:
    office, wallet = Office(trouble), Wallet(trouble)
    office._wanted = AMOUNT
    for satoshi in (5, 7):
        office._assigned(satoshi)
    return office, wallet


def moves(wallet: Wallet) -> list[Any]:
    return [*wallet.paid, *wallet.reissued, *wallet.burnt]


def known(office: Office) -> set[str]:
    return {*office.confirmed.values(), *office.reissues_known, *office.burns_known}


def killed_at_every_call() -> Iterator[Any]:
    """Every call of every operation, before it and after it."""
    for name, operation in OPERATIONS.items():
        trouble = Trouble()
        asyncio.run(operation(*opened(trouble)))
        for at, call in enumerate(trouble.names):
            for after in (False, True):
                yield pytest.param(name, at, after, id=f"{name}-{at}-{call}-{'after' if after else 'before'}")


@pytest.mark.parametrize(("name", "at", "after"), list(killed_at_every_call()))
@in_a_loop
async def test_i04_killed_anywhere_and_run_again_it_is_made_once(
    name: str, at: int, after: bool, tmp_path: Path
) -> None:
    trouble = Trouble(Killed(), at, after)
    office, wallet = opened(trouble)
    with pytest.raises(Killed):
        await OPERATIONS[name](office, wallet, tmp_path)
    had_moved = bool(moves(wallet))
    if name == "distribute" and known(office):
        with pytest.raises(IssuerRefused, match="nothing to distribute"):
            await distribute(office, wallet)
    else:
        done = await OPERATIONS[name](office, wallet, tmp_path)
        (done,) = done if isinstance(done, list) else [done]
        assert known(office) == {done.txid}
        assert done.resumed == had_moved
    assert len(moves(wallet)) == 1
    if name != "distribute":
        # What is asked for now is another one.
        again = await OPERATIONS[name](office, wallet, tmp_path)
        assert not again.resumed
        assert len(moves(wallet)) == 2


@in_a_loop
async def test_without_a_note_what_the_server_was_not_told_of_is_found_all_the_same() -> None:
    for name, confirm in (("reissue", "confirm_reissue"), ("burn", "confirm_burn")):
        trouble = Trouble()
        await OPERATIONS[name](*opened(trouble))
        office, wallet = opened(Trouble(Killed(), trouble.names.index(confirm)))
        with pytest.raises(Killed):
            await OPERATIONS[name](office, wallet)
        assert (await OPERATIONS[name](office, wallet)).resumed
        assert len(moves(wallet)) == 1


@in_a_loop
async def test_a_note_of_another_amount_and_one_that_cannot_be_read_stand_in_the_way(tmp_path: Path) -> None:
    trouble = Trouble()
    await burn(*opened(trouble), tmp_path)
    assert not list(tmp_path.glob("*.json"))
    office, wallet = opened(Trouble(Killed(), trouble.names.index("burn")))
    with pytest.raises(Killed):
        await burn(office, wallet, tmp_path)
    (note,) = tmp_path.glob("*.json")
    assert note.stat().st_mode & 0o077 == 0
    with pytest.raises(UnconfirmedMove, match=r"burn of 250,000 satoshi was begun"):
        await office.burn(UUID, 5, wallet, state_dir=tmp_path)
    note.write_text("{")
    with pytest.raises(ConfigError, match="delete it"):
        await burn(office, wallet, tmp_path)
    assert moves(wallet) == []


@in_a_loop
async def test_two_at_once_do_not_burn_twice(tmp_path: Path) -> None:
    office, wallet = opened(Trouble())
    with journal(tmp_path, "burn", UUID, AMOUNT):
        with pytest.raises(ConfigError, match="another process"):
            await burn(office, wallet, tmp_path)
        await reissue(office, wallet, tmp_path)
    await burn(office, wallet, tmp_path)
    assert len(wallet.burnt) == 1


@in_a_loop
async def test_nothing_is_sent_that_cannot_be_noted(tmp_path: Path) -> None:
    office, wallet = opened(Trouble())
    (tmp_path / f"{UUID}.burn.new").mkdir()
    with pytest.raises(ConfigError, match="nothing was sent"):
        await burn(office, wallet, tmp_path)
    assert moves(wallet) == []


@pytest.mark.parametrize("after", [False, True], ids=["not made", "made"])
@pytest.mark.parametrize(("name", "call"), [("distribute", "pay"), ("reissue", "reissue"), ("burn", "burn")])
@in_a_loop
async def test_i04_a_lost_answer_of_the_wallet_is_looked_up_not_asked_for_again(
    name: str, call: str, after: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("amp0.issuer.walk.LOOKS", 1)
    trouble = Trouble()
    await OPERATIONS[name](*opened(trouble))
    at = trouble.names.index(call, 1)
    trouble = Trouble(BackendUnavailable("the node does not answer in time"), at, after)
    office, wallet = opened(trouble)
    if after:
        await OPERATIONS[name](office, wallet)
        assert len(moves(wallet)) == len(known(office)) == 1
    else:
        with pytest.raises(ConnectionFailed, match="not known"):
            await OPERATIONS[name](office, wallet)
        assert moves(wallet) == []
        assert trouble.names.count(call) == 1


@in_a_loop
async def test_everything_that_is_ready_is_paid_after_what_was_begun() -> None:
    office, wallet = opened(Trouble())
    await office.create_distribution(UUID)
    office._assigned(11)
    first, second = await distribute(office, wallet)
    assert [(sum(amounts.values()), len(amounts)) for _, amounts in wallet.paid] == [(12, 2), (11, 1)]
    assert (first.satoshi, second.satoshi) == (12, 11)
    assert (first.resumed, second.resumed) == (False, False)
    with pytest.raises(IssuerRefused, match="nothing to distribute"):
        await distribute(office, wallet)
    assert len(wallet.paid) == 2


@in_a_loop
async def test_more_than_one_transaction_can_pay_takes_several() -> None:
    office, wallet = opened(Trouble())
    office.most_payments = 2
    for satoshi in (11, 13, 17):
        office._assigned(satoshi)
    assert [one.satoshi for one in await distribute(office, wallet)] == [12, 24, 17]
    assert [len(amounts) for _, amounts in wallet.paid] == [2, 2, 1]


@in_a_loop
async def test_who_cannot_be_paid_now_is_left_and_named() -> None:
    office, wallet = opened(Trouble())
    office._assigned(11)
    office.unpayable = {office.rows[-1].id}
    heard: list[Progress] = []
    (done,) = await office.distribute(UUID, wallet, poll_seconds=0, report=heard.append)
    assert (done.satoshi, heard[-1].step) == (12, "left")
    assert "user 7 cannot be paid" in heard[-1].text
    with pytest.raises(IssuerRefused, match="cannot be paid"):
        await distribute(office, wallet)


@in_a_loop
async def test_a_file_that_does_not_pay_what_was_assigned_is_not_paid() -> None:
    office, wallet = opened(Trouble())
    honest = office.create_distribution

    async def create(asset_uuid: str) -> Any:
        file = await honest(asset_uuid)
        file.map_address_amount["address of a stranger"] = 1.0
        return file

    office.create_distribution = create  # type: ignore[method-assign]
    with pytest.raises(Exception, match="does not pay what was assigned"):
        await distribute(office, wallet)
    assert wallet.paid == []


@pytest.mark.parametrize("name", ["reissue", "burn"])
@in_a_loop
async def test_a_move_of_another_amount_stands_in_the_way_until_it_is_finished_or_named(name: str) -> None:
    office, wallet = opened(Trouble())
    earlier = await (wallet.reissue if name == "reissue" else wallet.burn)("aa" * 32, 3)
    with pytest.raises(UnconfirmedMove, match="--use-existing") as stopped:
        await OPERATIONS[name](office, wallet)
    assert stopped.value.txids == (earlier.txid,)
    assert moves(wallet) == [earlier]
    operation: Any = getattr(office, name)
    done = await operation(UUID, 3, wallet, use_existing=f"{earlier.txid}:0", poll_seconds=0)
    assert (done.txid, done.resumed) == (earlier.txid, True)
    await OPERATIONS[name](office, wallet)
    assert len(moves(wallet)) == 2

    office, wallet = opened(Trouble())
    earlier = await (wallet.reissue if name == "reissue" else wallet.burn)("aa" * 32, 3)
    done = await getattr(office, name)(UUID, AMOUNT, wallet, besides=[earlier.txid], poll_seconds=0)
    assert done.txid != earlier.txid
    assert earlier.txid not in known(office)


@in_a_loop
async def test_an_existing_payment_is_confirmed_and_nothing_is_sent() -> None:
    office, wallet = opened(Trouble())
    await office.create_distribution(UUID)
    txid = await wallet.pay("aa" * 32, {"address 1": 5, "address 2": 7})
    with pytest.raises(InvalidInput, match="no transaction"):
        await office.distribute(UUID, wallet, use_existing="77" * 32, poll_seconds=0)
    (done,) = await office.distribute(UUID, wallet, use_existing=txid, poll_seconds=0)
    assert (done.txid, done.resumed, len(wallet.paid)) == (txid, True, 1)
    (again,) = await office.distribute(UUID, wallet, use_existing=txid, poll_seconds=0)
    assert again == done
    for operation in (office.reissue, office.burn):
        with pytest.raises(InvalidInput, match="TXID:VIN"):
            await operation(UUID, 5, wallet, use_existing="nonsense")
        with pytest.raises(InvalidInput, match="has made no"):
            await operation(UUID, 5, wallet, use_existing=txid)
    burnt = await wallet.burn("aa" * 32, 3)
    assert (await office.burn(UUID, 5, wallet, use_existing=burnt.txid, poll_seconds=0)).satoshi == 3


@pytest.mark.parametrize("name", OPERATIONS)
@in_a_loop
async def test_nothing_is_moved_while_something_is_lost(name: str) -> None:
    office, wallet = opened(Trouble())
    office.lost = [Outpoint(txid="77" * 32, vout=3)]
    with pytest.raises(UnconfirmedMove, match="lost sight"):
        await OPERATIONS[name](office, wallet)
    assert moves(wallet) == []


@in_a_loop
async def test_another_wallet_than_the_treasury_s_is_noticed() -> None:
    office, wallet = opened(Trouble())
    wallet.coins.clear()
    with pytest.raises(InvalidInput, match=f"{TOKEN_COIN.txid}:1"):
        await reissue(office, wallet)
    assert moves(wallet) == []


@pytest.mark.parametrize("name", OPERATIONS)
@in_a_loop
async def test_a_server_that_is_behind_is_asked_again(name: str) -> None:
    office, wallet = opened(Trouble())
    office.behind = 3
    await OPERATIONS[name](office, wallet)
    assert len(known(office)) == 1


@in_a_loop
async def test_who_waits_too_long_is_told_and_a_conflict_ends_it() -> None:
    office, wallet = opened(Trouble())

    async def never(txid: str) -> int:
        return 1

    wallet.confirmations = never  # type: ignore[method-assign]
    with pytest.raises(ConnectionTimeout, match="not sent twice"):
        await office.burn(UUID, 5, wallet, poll_seconds=0, wait_seconds=0)

    async def gone(txid: str) -> int:
        return -1

    wallet.confirmations = gone  # type: ignore[method-assign]
    with pytest.raises(UnconfirmedMove, match="has abandoned transaction"):
        await office.burn(UUID, 5, wallet, poll_seconds=0)
    assert len(wallet.burnt) == 1


@in_a_loop
async def test_who_listens_hears_how_far_it_is() -> None:
    office, wallet = opened(Trouble())
    heard: list[Progress] = []
    await office.burn(UUID, 5, wallet, poll_seconds=0, report=heard.append)
    assert [progress.step for progress in heard] == ["sent", "waiting", "confirmed"]
    assert {progress.txid for progress in heard} == {wallet.burnt[0].txid}
    assert wallet.burnt == [Move(wallet.burnt[0].txid, 5)]


@pytest.mark.parametrize("name", OPERATIONS)
@in_a_loop
async def test_i04_what_the_wallet_abandoned_is_not_made_again(name: str, tmp_path: Path) -> None:
    """It may confirm all the same. A reissue or burn can be left alone by name, a distribution cancelled."""
    office, wallet = opened(Trouble())

    async def abandoned(txid: str) -> int:
        return -1

    wallet.confirmations = abandoned  # type: ignore[method-assign]
    for _ in range(3):
        with pytest.raises(UnconfirmedMove, match="nothing is made in its place") as told:
            await OPERATIONS[name](office, wallet, tmp_path)
        assert list(told.value.txids) == [_txid_of(move) for move in moves(wallet)]
    assert len(moves(wallet)) == 1


def _txid_of(move: Any) -> str:
    return str(move.txid if isinstance(move, Move) else move[0])


@in_a_loop
async def test_of_two_payments_of_one_distribution_the_one_that_confirms_is_taken() -> None:
    """One was abandoned, and another made by hand in its place."""
    trouble = Trouble(Killed())
    office, wallet = opened(trouble)
    trouble.error = None
    file = await office.create_distribution(UUID)
    order = {address: round(number * 10**8) for address, number in file.map_address_amount.items()}
    first = await wallet.pay("aa" * 32, order)
    second = await wallet.pay("aa" * 32, order)
    wallet.depth[first] = -1
    (done,) = await distribute(office, wallet)
    assert (done.txid, done.resumed, len(wallet.paid)) == (second, True, 2)


@in_a_loop
async def test_i04_two_who_distribute_at_once_pay_once(tmp_path: Path) -> None:
    """A job that overlaps with the next one: both found the distribution that the first had begun, and both paid it."""
    office, wallet = opened(Trouble())
    started, go_on = asyncio.Event(), asyncio.Event()
    pay = wallet.pay

    async def slowly(asset_id: str, amounts: Any) -> str:
        started.set()
        await go_on.wait()
        return str(await pay(asset_id, amounts))

    wallet.pay = slowly  # type: ignore[method-assign]
    first = asyncio.create_task(office.distribute(UUID, wallet, state_dir=tmp_path, poll_seconds=0))
    await started.wait()
    with pytest.raises(ConfigError, match="another process is at a distribution of this asset"):
        await office.distribute(UUID, wallet, state_dir=tmp_path, poll_seconds=0)
    go_on.set()
    (done,) = await first
    assert [txid for txid, _ in wallet.paid] == [done.txid]
    # A lock, and no note: the next one is another one.
    office._assigned(9)
    assert await office.distribute(UUID, wallet, state_dir=tmp_path, poll_seconds=0)
    assert not list(tmp_path.glob("*.json"))


@dataclass
class Unheard(Trouble):
    """The answer to one call is lost, whenever it is made."""

    after: bool = True
    call: str = ""

    def begin(self, name: str) -> int:
        number = super().begin(name)
        self.at = number if name == self.call else -1
        return number


@pytest.mark.parametrize("name", ["reissue", "burn"])
@in_a_loop
async def test_finishing_an_older_move_does_not_forget_the_one_under_way(name: str, tmp_path: Path) -> None:
    """All was done and nobody heard: then only the note knows. An older move that was handed in took it away, and who
    asked again burned a second time."""
    trouble = Unheard()
    office, wallet = opened(trouble)
    older = await getattr(wallet, name)("aa" * 32, 3)
    with pytest.raises(UnconfirmedMove, match=older.txid):
        await OPERATIONS[name](office, wallet, tmp_path)
    # Left alone, the next one goes through, and its last answer is lost.
    trouble.error, trouble.call = Killed(), f"confirm_{name}"
    operation = getattr(office, name)
    with pytest.raises(Killed):
        await operation(UUID, AMOUNT, wallet, state_dir=tmp_path, besides=[older.txid], poll_seconds=0)
    trouble.error = None
    done = await operation(UUID, 3, wallet, state_dir=tmp_path, use_existing=older.txid, poll_seconds=0)
    assert (done.txid, done.resumed) == (older.txid, True)
    again = await operation(UUID, AMOUNT, wallet, state_dir=tmp_path, poll_seconds=0)
    assert (again.resumed, len(moves(wallet))) == (True, 2)
    assert not list(tmp_path.glob("*.json"))
