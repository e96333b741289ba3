"""Following blocks and mempool, through unconfirmed chains, double spends and reorganisations."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from amp0.elements import script
from amp0.elements.hashes import BlockHash, Txid
from amp0.elements.transaction import OutPoint, Transaction
from amp0.protocol import rpc
from amp0.server import chainindex, chainsource
from amp0.server.refusal import ChainUnavailable
from amp0.server.store import schema
from amp0.server.watcher import in_order

from .chain import FakeChain, payment
from .talking import CallError, Client, Wallet, World, in_world, settle
from .test_accounts import owner_of_account, witness_script

VECTORS = Path(__file__).parent.parent / "vectors"
STRANGER = bytes.fromhex("0014" + "22" * 20)


def own(wallet: Wallet, pointer: int) -> bytes:
    return script.p2sh_p2wsh(witness_script(wallet, pointer))


async def coins(client: Client, confirmations: int = 0) -> list[tuple[str, int, int]]:
    """(txid, output, height) of the unspent outputs of account 1."""
    rows = await client.call(rpc.GetUnspentOutputs(confirmations, 1))
    return sorted((row["txhash"], row["pt_idx"], row["block_height"]) for row in rows)


async def history(client: Client) -> list[tuple[str, int]]:
    """(txid, height) of account 1's transactions, in their order."""
    listed = await client.call(rpc.GetTransactions(1))
    return [(row["txhash"], row["block_height"]) for row in listed["list"]]


def scene_with_account(play: Any, *, url: str | None = None, **settings: Any) -> None:
    async def scene(world: World) -> None:
        wallet, client = await owner_of_account(world)
        await client.subscribe(rpc.TOPIC_BLOCKS)
        await client.subscribe(rpc.topic_txs(client.connection.session.receiving_id))
        await play(world, wallet, client)

    in_world(scene, url=url, **settings)


async def poll(world: World) -> None:
    await world.server.watcher.poll()
    await settle()


# --- payments ------------------------------------------------------------------------------------------------------


def test_a_payment_is_seen_in_the_mempool_and_then_in_a_block(database_url: str) -> None:
    async def play(world: World, wallet: Wallet, client: Client) -> None:
        tx = payment((STRANGER, 5), (own(wallet, 2), 1000), (own(wallet, 20), 7), (own(wallet, 21), 9))
        world.chain.send(tx)
        await poll(world)
        txid = str(tx.txid())
        assert client.events() == [{"txhash": txid, "subaccounts": [1]}]
        assert await coins(client) == [(txid, 1, 0), (txid, 2, 0)]
        assert await coins(client, 1) == []
        world.chain.mine()
        await poll(world)
        (event,) = client.events()
        assert event["count"] == 1
        assert await coins(client) == await coins(client, 1) == [(txid, 1, 1), (txid, 2, 1)]
        assert await coins(client, 2) == []
        world.chain.mine()
        await poll(world)
        assert len(await coins(client, 2)) == 2

    scene_with_account(play, url=database_url)


def test_a_payment_that_was_never_in_the_mempool_is_seen_in_its_block() -> None:
    async def play(world: World, wallet: Wallet, client: Client) -> None:
        tx = payment((own(wallet, 1), 1000))
        spend = payment((STRANGER, 900), spends=(OutPoint(tx.txid(), 0),))
        other = payment((STRANGER, 1))
        world.chain.mine(other, tx, spend)
        await poll(world)
        assert {"txhash": str(spend.txid()), "subaccounts": [1]} in client.events()
        assert await coins(client) == []
        assert await history(client) == [(str(tx.txid()), 1), (str(spend.txid()), 1)]

    scene_with_account(play)


def test_blocks_are_told_one_by_one_with_their_parents() -> None:
    async def play(world: World, _wallet: Wallet, client: Client) -> None:
        hashes = [str(world.chain.mine()) for _ in range(3)]
        await poll(world)
        events = client.events()
        assert [event["block_hash"] for event in events] == hashes
        assert [event["count"] for event in events] == [1, 2, 3]
        assert [event["previous_hash"] for event in events[1:]] == hashes[:-1]
        assert set(events[0]) == {"count", "block_hash", "previous_hash", "diverged_count"}

    scene_with_account(play)


def test_strangers_transactions_leave_no_trace() -> None:
    async def play(world: World, wallet: Wallet, client: Client) -> None:
        world.chain.send(payment((STRANGER, 1), salt=1))
        await poll(world)
        world.chain.mine()
        await poll(world)
        with world.server.services.store.snapshot() as connection:
            assert connection.execute(sa.select(schema.transactions)).all() == []

    scene_with_account(play)


def test_the_chain_is_never_asked_for_an_address() -> None:
    async def play(world: World, wallet: Wallet, client: Client) -> None:
        world.chain.send(payment((own(wallet, 1), 1000)))
        await poll(world)
        world.chain.mine()
        await poll(world)
        kinds = {path.split("/")[1] for path in world.chain.requests}
        assert kinds == {"blocks", "block", "block-height", "mempool", "tx"}

    scene_with_account(play)


# --- spending, double spending -------------------------------------------------------------------------------------


def test_a_chain_of_unconfirmed_transactions_is_followed() -> None:
    async def play(world: World, wallet: Wallet, client: Client) -> None:
        first = payment((own(wallet, 1), 1000))
        second = payment((own(wallet, 2), 800), (STRANGER, 100), spends=(OutPoint(first.txid(), 0),))
        third = payment((own(wallet, 3), 700), spends=(OutPoint(second.txid(), 0),))
        # The listing has no order; children may come first.
        for tx in (third, second, first):
            world.chain.send(tx)
        await poll(world)
        assert await coins(client) == [(str(third.txid()), 0, 0)]
        assert {txid for txid, _ in await history(client)} == {str(tx.txid()) for tx in (first, second, third)}
        world.chain.mine()
        await poll(world)
        assert await coins(client) == [(str(third.txid()), 0, 1)]

    scene_with_account(play)


def test_a_child_waits_for_a_parent_that_could_not_be_read() -> None:
    async def play(world: World, wallet: Wallet, client: Client) -> None:
        first = payment((own(wallet, 1), 1000))
        second = payment((own(wallet, 2), 800), spends=(OutPoint(first.txid(), 0),))
        world.chain.send(second)
        world.chain.hidden.add(first.txid())
        world.chain.send(first)
        await poll(world)
        assert await coins(client) == []
        world.chain.hidden.clear()
        await poll(world)
        assert await coins(client) == [(str(second.txid()), 0, 0)]

    scene_with_account(play)


def test_a_double_spend_in_a_block_ends_the_unconfirmed_one_and_its_children(database_url: str) -> None:
    async def play(world: World, wallet: Wallet, client: Client) -> None:
        funding = payment((own(wallet, 1), 1000))
        world.chain.mine(funding)
        coin = OutPoint(funding.txid(), 0)
        loser = payment((own(wallet, 2), 900), spends=(coin,))
        child = payment((own(wallet, 3), 800), spends=(OutPoint(loser.txid(), 0),))
        winner = payment((own(wallet, 4), 850), spends=(coin,))
        for tx in (loser, child):
            world.chain.send(tx)
        await poll(world)
        assert await coins(client) == [(str(child.txid()), 0, 0)]
        client.events()
        world.chain.mine(winner)
        await poll(world)
        assert await coins(client) == [(str(winner.txid()), 0, 2)]
        assert [txid for txid, _ in await history(client)] == [str(funding.txid()), str(winner.txid())]
        told = {event["txhash"] for event in client.events() if "txhash" in event}
        assert told == {str(tx.txid()) for tx in (loser, child, winner)}
        with world.server.services.store.snapshot() as connection:
            states = connection.execute(sa.select(schema.transactions.c.txid, schema.transactions.c.state))
            found = {Txid(row.txid): row.state for row in states}
        assert found[loser.txid()] == found[child.txid()] == chainindex.GONE
        assert found[winner.txid()] == chainindex.CONFIRMED

    scene_with_account(play, url=database_url)


def test_a_replacement_in_the_mempool_takes_the_place_of_the_first() -> None:
    async def play(world: World, wallet: Wallet, client: Client) -> None:
        funding = payment((own(wallet, 1), 1000))
        world.chain.mine(funding)
        coin = OutPoint(funding.txid(), 0)
        first, second = (payment((own(wallet, n), 900), spends=(coin,)) for n in (2, 3))
        world.chain.send(first)
        await poll(world)
        del world.chain.mempool[first.txid()]
        world.chain.send(second)
        await poll(world)
        assert await coins(client) == [(str(second.txid()), 0, 0)]

    scene_with_account(play)


def test_a_payment_that_a_stranger_double_spends_is_gone_after_a_while() -> None:
    async def play(world: World, wallet: Wallet, client: Client) -> None:
        tx = payment((own(wallet, 1), 1000))
        world.chain.send(tx)
        await poll(world)
        world.chain.mempool.clear()
        await poll(world)
        # Listings of explorers lag behind: missing once means nothing.
        assert len(await coins(client)) == 1
        world.clock.now += 6
        client.events()
        await poll(world)
        assert await coins(client) == []
        assert await history(client) == []
        assert client.events() == [{"txhash": str(tx.txid()), "subaccounts": [1]}]
        # And it may come back.
        world.chain.send(tx)
        await poll(world)
        assert len(await coins(client)) == 1
        assert len(await history(client)) == 1

    scene_with_account(play)


# --- reorganisations -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("depth", [1, 2, 5])
def test_a_reorganisation_takes_coins_back_and_gives_others(depth: int, database_url: str) -> None:
    async def play(world: World, wallet: Wallet, client: Client) -> None:
        funding = payment((own(wallet, 1), 1000))
        world.chain.mine(funding)
        coin = OutPoint(funding.txid(), 0)
        spend = payment((own(wallet, 2), 900), spends=(coin,))
        rival = payment((own(wallet, 3), 800), spends=(coin,))
        world.chain.mine(spend)
        for _ in range(depth - 1):
            world.chain.mine()
        await poll(world)
        assert await coins(client) == [(str(spend.txid()), 0, 2)]
        client.events()

        world.chain.drop_blocks(depth)
        world.chain.mine(rival)
        for _ in range(depth):
            world.chain.mine()
        await poll(world)
        assert await coins(client) == [(str(rival.txid()), 0, 2)]
        events = client.events()
        tips = [event for event in events if "count" in event]
        assert tips[0]["previous_hash"] == str(world.chain.blocks[1][0].block_hash())
        assert world.server.watcher.height() == depth + 2
        assert {txid for txid, _ in await history(client)} == {str(funding.txid()), str(rival.txid())}

    scene_with_account(play, url=database_url)


def test_transactions_of_a_dropped_block_are_unconfirmed_again() -> None:
    async def play(world: World, wallet: Wallet, client: Client) -> None:
        tx = payment((own(wallet, 1), 1000))
        world.chain.mine(tx)
        await poll(world)
        (placed,) = (await client.call(rpc.GetTransactions(1)))["list"]
        for returned in world.chain.drop_blocks(1):
            world.chain.send(returned)
        world.chain.mine(payment((STRANGER, 1), salt=9))
        await poll(world)
        assert await coins(client) == [(str(tx.txid()), 0, 0)]
        (row,) = (await client.call(rpc.GetTransactions(1)))["list"]
        # Its place in the history never changes: clients page by it.
        assert row["created_at_ts"] == placed["created_at_ts"]
        world.chain.mine()
        await poll(world)
        assert await coins(client) == [(str(tx.txid()), 0, 2)]

    scene_with_account(play)


def test_a_coinbase_of_a_dropped_block_is_gone_at_once() -> None:
    async def play(world: World, wallet: Wallet, client: Client) -> None:
        world.chain.mine(coinbase_script=own(wallet, 1))
        await poll(world)
        assert len(await coins(client)) == 1
        world.chain.drop_blocks(1)
        world.chain.mine(payment((STRANGER, 1)))
        await poll(world)
        assert await coins(client) == []

    scene_with_account(play)


def test_a_shorter_chain_is_followed_too() -> None:
    async def play(world: World, wallet: Wallet, client: Client) -> None:
        world.chain.mine(payment((own(wallet, 1), 1000)))
        world.chain.mine()
        await poll(world)
        world.chain.drop_blocks(2)
        await poll(world)
        assert world.server.watcher.height() == 0

    scene_with_account(play)


def test_the_first_block_ever_read_may_go_as_well() -> None:
    async def play(world: World, wallet: Wallet, client: Client) -> None:
        assert world.server.watcher.height() == 1
        world.chain.drop_blocks(1)
        world.chain.mine(payment((own(wallet, 1), 1000)))
        world.chain.mine()
        await poll(world)
        assert world.server.watcher.height() == 2
        assert len(await coins(client, 1)) == 1

    chain = FakeChain()
    chain.mine()
    scene_with_account(play, chain=chain)


def test_a_source_of_another_chain_is_not_followed() -> None:
    async def play(world: World, _wallet: Wallet, _client: Client) -> None:
        assert world.server.watcher.height() == 0
        assert not world.server.watcher.is_current()
        with pytest.raises(ChainUnavailable, match="another chain"):
            await poll(world)

    chain = FakeChain()
    chain.mine()
    del chain.blocks[0]
    scene_with_account(play, chain=chain)


# --- trouble -------------------------------------------------------------------------------------------------------


def test_a_chain_that_is_away_is_caught_up_with_later() -> None:
    async def play(world: World, wallet: Wallet, client: Client) -> None:
        watcher = world.server.watcher
        assert watcher.is_current()
        world.chain.is_down = True
        world.chain.mine(payment((own(wallet, 1), 1000)))
        for _ in range(5):
            world.chain.mine()
        with pytest.raises(ChainUnavailable):
            await poll(world)
        world.clock.now += 100_000
        assert not watcher.is_current()
        assert (await client.call(rpc.Fund(1)))["pointer"] == 1
        world.chain.is_down = False
        await poll(world)
        assert watcher.is_current()
        assert watcher.height() == 6
        assert len(await coins(client, 1)) == 1

    scene_with_account(play)


def test_a_restart_goes_on_where_it_was(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'amp0.sqlite'}"
    paid: list[Transaction] = []

    async def before(world: World, wallet: Wallet, client: Client) -> None:
        paid.append(payment((own(wallet, 1), 1000), salt=1))
        paid.append(payment((own(wallet, 2), 1000), salt=2))
        world.chain.mine(paid[0])
        world.chain.send(paid[1])
        await poll(world)
        chains.append(world.chain)

    async def after(world: World) -> None:
        client = await world.logged_in(Wallet("alice"))
        assert world.server.watcher.height() == 2
        assert await coins(client) == sorted([(str(paid[0].txid()), 0, 1), (str(paid[1].txid()), 0, 2)])

    chains: list[Any] = []
    scene_with_account(before, url=url)
    chains[0].mine()
    in_world(after, url=url, chain=chains[0])


def test_d07_a_transaction_is_fetched_when_it_is_asked_for() -> None:
    async def play(world: World, wallet: Wallet, client: Client) -> None:
        watcher = world.server.watcher
        tx = payment((STRANGER, 1))
        world.chain.send(tx)
        assert await asyncio.to_thread(watcher.fetch, tx.txid()) == tx
        assert await asyncio.to_thread(watcher.fetch, Txid(bytes(32))) is None
        world.chain.is_down = True
        with pytest.raises(ChainUnavailable):
            await asyncio.to_thread(watcher.fetch, tx.txid())

    scene_with_account(play)


def test_a_chain_that_does_not_answer_is_waited_for_only_so_long() -> None:
    async def play(world: World, wallet: Wallet, client: Client) -> None:
        async def never(_txid: Txid) -> None:
            await asyncio.sleep(3600)

        world.server.watcher._source.transaction = never  # type: ignore[assignment]
        with pytest.raises(ChainUnavailable, match="in time"):
            await asyncio.to_thread(world.server.watcher.fetch, Txid(bytes(32)))

    scene_with_account(play, chain_timeout_seconds=0.05)


# --- broadcasting --------------------------------------------------------------------------------------------------


def test_a_broadcast_is_in_the_index_when_it_is_answered() -> None:
    async def play(world: World, wallet: Wallet, client: Client) -> None:
        tx = payment((own(wallet, 1), 1000))
        before = len(client.sent)
        assert await client.call(rpc.BroadcastTransaction(str(tx))) == str(tx.txid())
        # The answer first, then the event.
        assert [json.loads(frame)[0] for frame in client.sent[before:]] == [50, 36]
        assert await coins(client) == [(str(tx.txid()), 0, 0)]
        assert await client.call(rpc.GetRawTransaction(str(tx.txid()))) == str(tx)
        assert await client.call(rpc.GetRawTransaction("00" * 32)) == ""
        # Sending it again is no error, and no news.
        client.events()
        assert await client.call(rpc.BroadcastTransaction(str(tx))) == str(tx.txid())
        assert client.events() == []

    scene_with_account(play)


def test_a_refused_broadcast_says_the_node_s_reason() -> None:
    async def play(world: World, wallet: Wallet, client: Client) -> None:
        world.chain.refuses = "min relay fee not met"
        tx = payment((own(wallet, 1), 1000))
        with pytest.raises(CallError) as refused:
            await client.call(rpc.BroadcastTransaction(str(tx)))
        assert refused.value.name == "broadcast"
        assert "min relay fee not met" in refused.value.text
        assert await coins(client) == []
        # What is on the chain already was sent, whoever did it.
        world.chain.mine(tx)
        assert await client.call(rpc.BroadcastTransaction(str(tx))) == str(tx.txid())
        with pytest.raises(CallError, match="invalid"):
            await client.call(rpc.BroadcastTransaction("00"))

    scene_with_account(play)


# --- pages ---------------------------------------------------------------------------------------------------------


def test_the_history_is_paged_without_repeating_or_losing() -> None:
    async def play(world: World, wallet: Wallet, client: Client) -> None:
        transactions = [payment((own(wallet, 1 + n % 20), 1000), salt=n) for n in range(75)]
        world.chain.mine(*transactions)
        await poll(world)
        since, seen, pages = 0, [], 0
        while True:
            page = await client.call(rpc.GetTransactions(1, since))
            pages += 1
            stamps = [row["created_at_ts"] for row in page["list"]]
            assert stamps == sorted(set(stamps))
            assert all(stamp > since for stamp in stamps)
            seen += [row["txhash"] for row in page["list"]]
            since = stamps[-1]
            if not page["more"]:
                break
        assert pages == 3
        assert seen == [str(tx.txid()) for tx in transactions]
        assert await client.call(rpc.GetTransactions(1, since)) == {"list": [], "more": False}

    scene_with_account(play)


def test_the_endpoints_of_a_transaction_are_what_gdk_reads() -> None:
    async def play(world: World, wallet: Wallet, client: Client) -> None:
        funding = payment((own(wallet, 1), 1000))
        spend = payment((STRANGER, 300), (own(wallet, 2), 600), spends=(OutPoint(funding.txid(), 0),))
        world.chain.mine(funding, spend)
        await poll(world)
        first, second = (await client.call(rpc.GetTransactions(1)))["list"]
        assert [ep["is_spent"] for ep in first["eps"] if ep["is_output"]] == [True, False]
        assert (second["fee"], second["weight"], second["block_height"]) == (100, spend.weight(), 1)
        incoming, payee, change, fee = second["eps"]
        assert (incoming["is_output"], incoming["is_relevant"], incoming["is_spent"]) == (False, True, True)
        assert (incoming["script_type"], incoming["value"], incoming["pointer"]) == (159, "1000", 1)
        assert (incoming["prevtxhash"], incoming["previdx"]) == (str(funding.txid()), 0)
        assert incoming["script"] == own(wallet, 1).hex()
        assert (payee["is_relevant"], payee["script_type"]) == (False, 0)
        assert (change["is_relevant"], change["script_type"], change["value"]) == (True, 14, "600")
        assert change["address"].startswith("X")
        assert change["nonce_commitment"] == "00" * 33
        assert len(change["asset_tag"]) == 66
        assert (fee["script"], fee["address"]) == ("", "")
        (row,) = await client.call(rpc.GetUnspentOutputs(0, 1))
        assert row["value"] == "600"
        assert row["user_status"] == 0
        assert (row["script_type"], row["subtype"]) == (14, 0)

    scene_with_account(play)


# --- bytes ---------------------------------------------------------------------------------------------------------


def test_blocks_that_a_real_node_accepted_are_read() -> None:
    blocks = json.loads((VECTORS / "liquidregtest-blocks.json").read_text())
    blocks = blocks if isinstance(blocks, list) else blocks["blocks"]
    previous = None
    for entry in blocks:
        raw = bytes.fromhex(entry.get("raw") or entry["hex"])
        block = chainsource.parse_block(raw, BlockHash(entry["hash"]))
        assert block.height == entry["height"]
        assert previous is None or block.previous == previous
        previous = block.hash
        # Cut short, lengthened, or with a transaction changed, it is no block.
        for wrong in (raw[:-1], raw + b"\0", raw[:-40] + bytes([raw[-40] ^ 1]) + raw[-39:]):
            try:
                other = chainsource.parse_block(wrong, BlockHash(entry["hash"]))
            except ChainUnavailable:
                continue
            # Witnesses are not part of the txid; only there may a change go unnoticed here.
            assert [tx.txid() for tx in other.transactions] == [tx.txid() for tx in block.transactions]
        with pytest.raises(ChainUnavailable):
            chainsource.parse_block(raw, BlockHash(bytes(32)))


def test_parents_come_before_children() -> None:
    chain = [payment((STRANGER, 1))]
    for n in range(300):
        chain.append(payment((STRANGER, n), spends=(OutPoint(chain[-1].txid(), 0),)))
    shuffled = {tx.txid(): tx for tx in reversed(chain)}
    assert in_order(shuffled) == chain
    assert in_order(shuffled, postponed={chain[100].txid()}) == chain[:100]
