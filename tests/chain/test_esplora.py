"""Scanning through an explorer in memory, and what is believed of its answers."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Mapping
from pathlib import Path
from typing import TypeVar

import pytest

from amp0.chain.esplora import EsploraClient, EsploraClientBuilder, WaterfallsClient
from amp0.chain.explorer import TokenProvider
from amp0.chain.http import Response
from amp0.elements.address import Address
from amp0.elements.descriptor import Chain, WolletDescriptor
from amp0.elements.transaction import OutPoint, Transaction
from amp0.errors import (
    Amp0ScanError,
    BackendUnavailable,
    BroadcastRejected,
    ChainError,
    ConnectionTimeout,
    ExplorerRefused,
    InvalidInput,
    NetworkMismatch,
)
from amp0.network import Network
from amp0.wallet.wollet import Wollet
from tests.chain.fake_explorer import LBTC, NETWORK, TOKEN, FakeExplorer, pay, send

VECTORS = json.loads((Path(__file__).parents[1] / "vectors" / "lwk-0.19.json").read_text())
AMP0 = WolletDescriptor(VECTORS["spends"]["descriptor"])
WPKH = WolletDescriptor(VECTORS["networks"]["regtest"]["signers"][0]["wpkh_slip77_descriptor"])
POLICY = NETWORK.policy_asset()
T = TypeVar("T")


def client_of(explorer: FakeExplorer, *, waterfalls: bool = False, **options: object) -> EsploraClient:
    for descriptor in (AMP0, WPKH):
        explorer.descriptors[descriptor.scan_descriptor()] = descriptor
    return EsploraClient(
        "http://127.0.0.1:1",
        NETWORK,
        waterfalls=waterfalls,
        transport=explorer,
        **options,  # type: ignore[arg-type]
    )


def run(job: Awaitable[T]) -> T:
    async def main() -> T:
        return await job

    return asyncio.run(main())


def sync(client: EsploraClient, wollet: Wollet, index: int = 0) -> object:
    return wollet.apply_update(run(client.full_scan_to_index(wollet, index)))


both = pytest.mark.parametrize("waterfalls", [False, True], ids=["esplora", "waterfalls"])


# -- what is found ----------------------------------------------------------------------------


@both
def test_receive_confirm_spend(waterfalls: bool) -> None:
    explorer = FakeExplorer()
    client, wollet = client_of(explorer, waterfalls=waterfalls), Wollet(NETWORK, AMP0)
    sync(client, wollet, 3)
    assert wollet.balance() == {POLICY: 0}
    assert wollet.transactions() == []

    deposit = pay(AMP0, (3, 70_000), (2, 5, TOKEN))
    explorer.submit(deposit)
    sync(client, wollet, 3)
    assert wollet.balance() == {POLICY: 70_000, TOKEN.hex(): 5}
    (tx,) = wollet.transactions()
    assert (tx.height(), tx.timestamp(), tx.type()) == (None, None, "incoming")
    assert tx.txid() == deposit.txid()

    explorer.mine()
    changes = wollet.apply_update(run(client.full_scan_to_index(wollet, 3)))
    assert changes.confirmed == (deposit.txid(),)
    (tx,) = wollet.transactions()
    assert (tx.height(), tx.timestamp()) == (explorer.height, explorer.blocks[-1].time())
    assert [utxo.satoshi for utxo in wollet.utxos()] == [70_000, 5]
    assert wollet.utxos()[0].index == 3

    spend = send(wollet.utxos()[0].outpoint())
    explorer.submit(spend)
    sync(client, wollet, 3)
    assert wollet.balance() == {POLICY: 0, TOKEN.hex(): 5}
    assert wollet.transactions()[0].balance() == {POLICY: -70_000}
    assert wollet.transactions()[0].type() == "outgoing"


@both
@pytest.mark.parametrize("index", [0, 1, 19, 20, 21, 39, 40, 60, 333, 400])
def test_one_deposit_anywhere(index: int, waterfalls: bool) -> None:
    """Gaps of hundreds are normal, and multiples of 20 are where LWK's way of asking misses deposits."""
    explorer = FakeExplorer()
    explorer.mine(pay(AMP0, (index, 1234)))
    wollet = Wollet(NETWORK, AMP0)
    sync(client_of(explorer, waterfalls=waterfalls), wollet, index)
    assert wollet.balance() == {POLICY: 1234}


@both
def test_change_placed_by_stock_wallets_is_seen(waterfalls: bool) -> None:
    """LWK puts change at 1…20 whatever the server has issued; last_index 0 must still show it."""
    explorer = FakeExplorer()
    explorer.mine(pay(AMP0, (20, 500)))
    wollet = Wollet(NETWORK, AMP0)
    sync(client_of(explorer, waterfalls=waterfalls), wollet, 0)
    assert wollet.balance() == {POLICY: 500}


@both
def test_smaller_last_index_shrinks_nothing(waterfalls: bool) -> None:
    """H04: a server that takes its last index back must not hide deposits."""
    explorer = FakeExplorer()
    client, wollet = client_of(explorer, waterfalls=waterfalls), Wollet(NETWORK, AMP0)
    sync(client, wollet, 300)
    explorer.mine(pay(AMP0, (290, 77)))
    sync(client, wollet, 1)
    assert wollet.balance() == {POLICY: 77}


@both
def test_ordinary_wallet(waterfalls: bool) -> None:
    explorer = FakeExplorer()
    explorer.mine(pay(WPKH, (0, 10)), pay(WPKH, (19, 20)), pay(WPKH, (38, 40)))
    explorer.mine(pay(WPKH, (5, 80), chain=Chain.INTERNAL))
    explorer.mine(pay(WPKH, (200, 9999)))
    client, wollet = client_of(explorer, waterfalls=waterfalls), Wollet(NETWORK, WPKH)
    wollet.apply_update(run(client.full_scan(wollet)))
    assert wollet.balance() == {POLICY: 150}
    assert wollet.address().index() == 39
    assert wollet.change_index() == 6
    sync(client, wollet, 200)
    assert wollet.balance() == {POLICY: 10149}


def test_full_scan_of_amp0_is_refused() -> None:
    explorer = FakeExplorer()
    with pytest.raises(Amp0ScanError, match="full_scan_to_index"):
        run(client_of(explorer).full_scan(Wollet(NETWORK, AMP0)))
    assert explorer.asked == []


@pytest.mark.parametrize("page", [10, 25, 50])
def test_long_histories(page: int) -> None:
    explorer = FakeExplorer(page=page)
    # One deposit, spent and paid back again and again: 60 transactions on one address.
    txs = [pay(AMP0, (1, 100))]
    for _ in range(59):
        txs.append(send(OutPoint(txs[-1].txid(), 0), fee=51) if len(txs) % 2 else _plain_deposit())
    for tx in txs:
        explorer.mine(tx)
    wollet = Wollet(NETWORK, AMP0)
    sync(client_of(explorer), wollet, 1)
    assert len(run(client_of(explorer).full_scan_to_index(Wollet(NETWORK, AMP0), 1)).transactions) == 60  # type: ignore[union-attr]
    assert len(wollet.explicit_utxos()) + len(wollet.utxos()) == 0


def _plain_deposit() -> Transaction:
    from amp0.elements.transaction import TxIn, TxOut
    from tests.chain.fake_explorer import stranger_coin

    return Transaction.of(
        2,
        0,
        [TxIn(stranger_coin())],
        [TxOut.explicit(AMP0.script_bytes(1), LBTC, 7), TxOut.fee(LBTC, 50)],
    )


# -- cost -------------------------------------------------------------------------------------


@both
def test_nothing_changed(waterfalls: bool) -> None:
    explorer = FakeExplorer()
    explorer.mine(pay(AMP0, (3, 5)))
    client, wollet = client_of(explorer, waterfalls=waterfalls), Wollet(NETWORK, AMP0)
    sync(client, wollet, 100)
    explorer.asked.clear()
    assert run(client.full_scan_to_index(wollet, 100)) is None
    assert len(explorer.asked) == (1 if waterfalls else 2)


def test_refresh_at_the_same_tip_reads_no_address_again() -> None:
    explorer = FakeExplorer()
    explorer.mine(pay(AMP0, (3, 5)))
    client, wollet = client_of(explorer), Wollet(NETWORK, AMP0)
    sync(client, wollet, 100)
    explorer.asked.clear()
    first = pay(AMP0, (4, 6))
    explorer.submit(first, send(OutPoint(first.txid(), 0)), pay(WPKH, (1, 1)))
    sync(client, wollet, 100)
    assert explorer.count("/address/") == 0
    assert explorer.count("/tx/") == 3
    assert wollet.balance() == {POLICY: 5}
    # Newly issued indexes are read, the others are not.
    sync(client, wollet, 110)
    assert explorer.count("/address/") == 10
    explorer.drop(explorer.transactions[explorer.mempool[1]])
    changes = wollet.apply_update(run(client.full_scan_to_index(wollet, 110)))
    assert len(changes.dropped) == 1
    assert wollet.balance() == {POLICY: 11}
    assert explorer.count("/address/") == 10
    # A fresh wollet of the same account has everything still to learn.
    other = Wollet(NETWORK, AMP0)
    sync(client, other, 110)
    assert other.balance() == wollet.balance()


def test_new_blocks_are_read_whole() -> None:
    explorer = FakeExplorer()
    client, wollet = client_of(explorer), Wollet(NETWORK, AMP0)
    first = pay(AMP0, (4, 6))
    explorer.mine(first)
    waiting, lost = pay(AMP0, (5, 7)), pay(AMP0, (5, 70))
    explorer.submit(waiting, lost)
    sync(client, wollet, 100)
    explorer.asked.clear()
    explorer.drop(lost)
    child = pay(AMP0, (6, 8), spend=OutPoint(first.txid(), 0))
    explorer.mine(child)
    explorer.mine(send(OutPoint(child.txid(), 0)), pay(WPKH, (1, 1)))
    late = pay(AMP0, (120, 50))
    explorer.submit(late)
    changes = wollet.apply_update(run(client.full_scan_to_index(wollet, 100)))
    assert set(changes.dropped) == {lost.txid()}
    assert len(changes.new) == 3
    assert len(changes.confirmed) == 3
    assert wollet.balance() == {POLICY: 57}
    assert wollet.transaction(waiting.txid()).height() == explorer.height - 1
    assert explorer.count("/block/") == 3  # two whole ones, and the header of the newest
    assert explorer.count("/tx/") == 1
    assert explorer.count("/address/") == 20  # use of 120 was seen: the gap beyond it
    fresh = Wollet(NETWORK, AMP0)
    sync(client_of(explorer), fresh, 100)
    assert fresh.balance() == wollet.balance()
    assert [(tx.txid(), tx.status) for tx in fresh.transactions()] == [
        (tx.txid(), tx.status) for tx in wollet.transactions()
    ]


def test_many_new_blocks_are_not_read_whole() -> None:
    explorer = FakeExplorer()
    client, wollet = client_of(explorer), Wollet(NETWORK, AMP0)
    sync(client, wollet, 1)
    explorer.mine(pay(AMP0, (1, 5)), count=20)
    sync(client, wollet, 1)
    assert wollet.balance() == {POLICY: 5}
    assert explorer.count("/address/") == 82


def test_h05_a_block_that_leaves_a_transaction_out() -> None:
    """H05: a block is checked against its header, so that nothing confirmed can be hidden in it."""
    explorer = FakeExplorer()
    client, wollet = client_of(explorer), Wollet(NETWORK, AMP0)
    sync(client, wollet, 1)
    explorer.mine(pay(AMP0, (1, 5)))
    explorer.contents[-1].pop()
    with pytest.raises(ChainError, match="not those of its header"):
        sync(client, wollet, 1)
    explorer.answers["/block/"] = explorer._answer(f"/block/{explorer.blocks[0].block_hash()}/raw", b"")
    with pytest.raises(ChainError, match="it is block"):
        sync(client, wollet, 1)
    explorer.answers["/block/"] = Response(200, {}, b"junk")
    with pytest.raises(ChainError, match="no sense"):
        sync(client, wollet, 1)


def test_an_update_thrown_away_comes_again() -> None:
    explorer = FakeExplorer()
    client, wollet = client_of(explorer), Wollet(NETWORK, AMP0)
    sync(client, wollet, 1)
    explorer.submit(pay(AMP0, (1, 8)))
    assert run(client.full_scan_to_index(wollet, 1)) is not None
    sync(client, wollet, 1)
    assert wollet.balance() == {POLICY: 8}
    explorer.mine()
    assert run(client.full_scan_to_index(wollet, 1)) is not None
    sync(client, wollet, 1)
    assert wollet.transactions()[0].height() == explorer.height


@pytest.mark.parametrize("lacking", ["mempool_ids", "whole_blocks"])
def test_explorers_that_lack_a_route(lacking: str) -> None:
    explorer = FakeExplorer(**{lacking: False})
    client, wollet = client_of(explorer), Wollet(NETWORK, AMP0)
    sync(client, wollet, 1)
    explorer.submit(pay(AMP0, (1, 8)))
    sync(client, wollet, 1)
    assert wollet.balance() == {POLICY: 8}
    explorer.mine(pay(AMP0, (2, 9)))
    sync(client, wollet, 1)
    assert wollet.balance() == {POLICY: 17}


def test_requests_of_a_first_scan() -> None:
    explorer = FakeExplorer()
    for index in range(1, 11):
        explorer.mine(pay(AMP0, (index, index)))
    wollet = Wollet(NETWORK, AMP0)
    sync(client_of(explorer), wollet, 10)
    assert explorer.count("/address/") == 41  # 0…20 and a gap: one request each
    assert explorer.count("/tx/") == 10
    assert explorer.count("/block/") == 1


# -- the chain moves --------------------------------------------------------------------------


@both
@pytest.mark.parametrize("depth", [1, 2, 10])
def test_h06_reorganisation(depth: int, waterfalls: bool) -> None:
    """H06: deposits that lose their block are unconfirmed again, by an explicit event."""
    explorer = FakeExplorer()
    client, wollet = client_of(explorer, waterfalls=waterfalls), Wollet(NETWORK, AMP0)
    deposit = pay(AMP0, (1, 1000))
    explorer.mine(deposit, count=depth)
    sync(client, wollet, 1)
    explorer.reorg(depth)
    changes = wollet.apply_update(run(client.full_scan_to_index(wollet, 1)))
    assert changes.unconfirmed == (deposit.txid(),)
    assert wollet.transactions()[0].height() is None
    explorer.mine()
    changes = wollet.apply_update(run(client.full_scan_to_index(wollet, 1)))
    assert changes.confirmed == (deposit.txid(),)
    explorer.reorg(1, keep=False)
    changes = wollet.apply_update(run(client.full_scan_to_index(wollet, 1)))
    assert changes.dropped == (deposit.txid(),)
    assert wollet.balance() == {POLICY: 0}


@both
def test_same_height_in_another_block_is_a_change(waterfalls: bool) -> None:
    explorer = FakeExplorer()
    client, wollet = client_of(explorer, waterfalls=waterfalls), Wollet(NETWORK, AMP0)
    deposit = pay(AMP0, (1, 1000))
    explorer.mine(deposit)
    height = explorer.height
    sync(client, wollet, 1)
    del explorer.blocks[height:], explorer.contents[height:]
    explorer.mine(count=2)
    explorer.in_block[deposit.txid()] = height
    changes = wollet.apply_update(run(client.full_scan_to_index(wollet, 1)))
    assert changes.confirmed == (deposit.txid(),)


@both
def test_h08_replaced_deposit(waterfalls: bool) -> None:
    """H08: a deposit seen in the mempool and then replaced gives no credit, and an event says so."""
    explorer = FakeExplorer()
    client, wollet = client_of(explorer, waterfalls=waterfalls), Wollet(NETWORK, AMP0)
    deposit = pay(AMP0, (1, 1000))
    explorer.submit(deposit)
    sync(client, wollet, 1)
    assert wollet.balance() == {POLICY: 1000}
    explorer.drop(deposit)
    replacement = send(deposit.vin[0].prevout)
    explorer.mine(replacement)
    changes = wollet.apply_update(run(client.full_scan_to_index(wollet, 1)))
    assert changes.dropped == (deposit.txid(),)
    assert wollet.balance() == {POLICY: 0}
    assert wollet.transactions() == []


@both
def test_block_in_the_middle_of_a_scan(waterfalls: bool) -> None:
    explorer = FakeExplorer()
    client, wollet = client_of(explorer, waterfalls=waterfalls), Wollet(NETWORK, AMP0)
    explorer.submit(pay(AMP0, (1, 1000)))
    late = pay(AMP0, (0, 2000))
    explorer.before.append(("/v2/" if waterfalls else "/address/", lambda: explorer.mine(late)))
    sync(client, wollet, 1)
    assert wollet.balance() == {POLICY: 3000}
    assert {tx.height() for tx in wollet.transactions()} == {explorer.height}


def test_waterfalls_histories_cut_short() -> None:
    explorer = FakeExplorer()
    deposits = [pay(AMP0, (1, 5)), pay(AMP0, (1, 6))]
    explorer.mine(*deposits)
    address = str(Address.from_script(NETWORK, AMP0.script_bytes(1)))
    first, rest = ({"txid": str(tx.txid()), "height": explorer.height} for tx in deposits)
    cut = {"txs_seen": {"elsh(…)": [[], [first]]}, "has_more": [address]}
    explorer.answers["/v2/waterfalls?descriptor"] = Response(200, {}, json.dumps(cut).encode())
    more = {"txs_seen": {"addresses": [[rest]]}}
    explorer.answers[f"/v2/waterfalls?addresses={address}&page=1"] = Response(200, {}, json.dumps(more).encode())
    client, wollet = client_of(explorer, waterfalls=True), Wollet(NETWORK, AMP0)
    sync(client, wollet, 1)
    assert wollet.balance() == {POLICY: 11}
    cut["has_more"] = [str(Address.from_script(NETWORK, AMP0.script_bytes(900)))]
    explorer.answers["/v2/waterfalls?descriptor"] = Response(200, {}, json.dumps(cut).encode())
    with pytest.raises(ChainError, match="none of ours"):
        sync(client, Wollet(NETWORK, AMP0), 1)


def test_block_between_two_pages() -> None:
    explorer = FakeExplorer()
    client, wollet = client_of(explorer, waterfalls=True), Wollet(NETWORK, AMP0)
    explorer.submit(pay(AMP0, (1, 1000)))
    explorer.before.append(("/v2/", lambda: explorer.before.append(("/v2/", explorer.mine))))
    sync(client, wollet, 1500)
    assert explorer.count("/v2/") == 4
    assert wollet.transactions()[0].height() == explorer.height


@both
def test_transaction_vanishes_in_the_middle_of_a_scan(waterfalls: bool) -> None:
    explorer = FakeExplorer()
    client, wollet = client_of(explorer, waterfalls=waterfalls), Wollet(NETWORK, AMP0)
    deposit = pay(AMP0, (1, 1000))
    explorer.submit(deposit)
    explorer.before.append((f"/tx/{deposit.txid()}", lambda: explorer.drop(deposit)))
    sync(client, wollet, 1)
    assert wollet.balance() == {POLICY: 0}


def test_times_come_from_headers_when_histories_have_none() -> None:
    explorer = FakeExplorer()
    explorer.block_times = False
    explorer.mine(pay(AMP0, (1, 1)), pay(AMP0, (2, 1)))
    explorer.mine()
    client, wollet = client_of(explorer), Wollet(NETWORK, AMP0)
    sync(client, wollet, 2)
    assert {tx.timestamp() for tx in wollet.transactions()} == {explorer.blocks[-2].time()}
    assert run(client.full_scan_to_index(wollet, 2)) is None


# -- broadcast --------------------------------------------------------------------------------


def test_broadcast() -> None:
    explorer = FakeExplorer()
    client, tx = client_of(explorer), send(OutPoint("11" * 32, 0))
    assert run(client.broadcast(tx)) == tx.txid()
    assert run(client.transaction(tx.txid())) == tx
    # Once more, after an answer that was lost: still sent.
    assert run(client.broadcast(tx)) == tx.txid()
    with pytest.raises(BroadcastRejected, match="txn-mempool-conflict") as caught:
        run(client.broadcast(send(OutPoint("11" * 32, 0), fee=99)))
    assert "txn-mempool-conflict" in caught.value.reason


def test_broadcast_answer_is_compared() -> None:
    explorer = FakeExplorer()
    explorer.answers["/tx"] = Response(200, {}, b"ab" * 32)
    with pytest.raises(ChainError, match="came back"):
        run(client_of(explorer).broadcast(send(OutPoint("11" * 32, 0))))


def test_tip_and_has_txs() -> None:
    explorer = FakeExplorer()
    explorer.mine(pay(AMP0, (7, 1)))
    client = client_of(explorer)
    assert run(client.tip()) == explorer.blocks[-1]
    assert run(client.has_txs(AMP0))
    assert not run(client.has_txs(AMP0, 7))
    assert not run(client.has_txs(WPKH, None))
    assert run(client.transaction("22" * 32)) is None


# -- hostile and broken explorers -------------------------------------------------------------


@both
def test_h05_wrong_bytes_for_a_txid(waterfalls: bool) -> None:
    """H05: bytes that do not hash to the txid asked for are refused, and nothing of the scan is used."""
    explorer = FakeExplorer()
    deposit, other = pay(AMP0, (1, 1000)), pay(AMP0, (1, 9_000_000))
    explorer.mine(deposit)
    explorer.answers[f"/tx/{deposit.txid()}"] = Response(200, {}, other.to_bytes())
    client, wollet = client_of(explorer, waterfalls=waterfalls), Wollet(NETWORK, AMP0)
    with pytest.raises(ChainError, match=f"asked for transaction {deposit.txid()}"):
        sync(client, wollet, 1)
    assert wollet.balance() == {POLICY: 0}


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/blocks/tip/hash", b"not a hash"),
        ("/block/", b"00"),
        ("/block/", b"zz"),
        ("/address/", b"{"),
        ("/address/", b'[{"txid": "zz", "status": {}}]'),
        ("/address/", b'[{"txid": 5, "status": {}}]'),
        ("/address/", b'[{"txid": "' + b"11" * 32 + b'", "status": {"block_height": 5}}]'),
        ("/address/", b'[{"txid": "' + b"11" * 32 + b'", "status": {"block_height": -5, "block_hash": "00"}}]'),
        ("/mempool/txids", b"[[]]"),
        ("/tx/", b"\x00\x01"),
        ("/v2/", b"{}"),
        ("/v2/", b'{"txs_seen": {"a": [[{"txid": "x"}]]}}'),
        ("/v2/", b'{"txs_seen": {"a": [[{"txid": "' + b"11" * 32 + b'", "height": 1, "block_hash": "q"}]]}}'),
        ("/v1/server_recipient", b"not a key"),
    ],
)
def test_h05_answers_that_make_no_sense(path: str, body: bytes) -> None:
    explorer = FakeExplorer()
    explorer.mine(pay(AMP0, (1, 1000)))
    explorer.answers[path] = Response(200, {}, body)
    client, wollet = client_of(explorer, waterfalls=path.startswith("/v")), Wollet(NETWORK, AMP0)
    with pytest.raises(ChainError):
        sync(client, wollet, 1)


def test_h05_header_of_another_block() -> None:
    explorer = FakeExplorer()
    explorer.mine(count=3)
    explorer.answers["/block/"] = Response(200, {}, str(explorer.blocks[1]).encode())
    with pytest.raises(ChainError, match="it is the header of"):
        run(client_of(explorer).tip())


def test_h05_height_above_the_tip() -> None:
    explorer = FakeExplorer()
    deposit = pay(AMP0, (1, 1000))
    explorer.mine(deposit)
    status = {"block_height": 9999, "block_hash": "11" * 32, "block_time": 1}
    page = json.dumps([{"txid": str(deposit.txid()), "status": status}]).encode()
    answer = Response(200, {}, page)
    explorer.answers[f"/address/{Address.from_script(NETWORK, AMP0.script_bytes(1))}/"] = answer
    with pytest.raises(ChainError, match="above its own newest block"):
        sync(client_of(explorer), Wollet(NETWORK, AMP0), 1)


@both
def test_h05_explorer_that_leads_on_for_ever(waterfalls: bool) -> None:
    """H05: every address used, without end: an error after a thousand, not a scan that never ends."""
    explorer = FakeExplorer()
    tx = pay(AMP0, (1, 1000))
    explorer.mine(tx)
    entry = {"txid": str(tx.txid()), "status": {"block_height": 1, "block_hash": "11" * 32, "block_time": 1}}
    explorer.answers["/address/"] = Response(200, {}, json.dumps([entry]).encode())
    seen = {"txs_seen": {"x": [[{"txid": str(tx.txid())}]] * 1000}, "tip": "11" * 32}
    explorer.answers["/v2/"] = Response(200, {}, json.dumps(seen).encode())
    with pytest.raises(ChainError, match="far beyond the last index"):
        sync(client_of(explorer, waterfalls=waterfalls), Wollet(NETWORK, AMP0), 1)


def test_pages_that_do_not_advance() -> None:
    explorer = FakeExplorer()
    entry = {"txid": "11" * 32, "status": {"block_height": 1, "block_hash": "11" * 32}}
    explorer.answers["/address/"] = Response(200, {}, json.dumps([entry] * 25).encode())
    with pytest.raises(ChainError, match=r"do not advance|far beyond"):
        sync(client_of(explorer), Wollet(NETWORK, AMP0), 1)


def test_explorer_that_never_stands_still() -> None:
    explorer = FakeExplorer()
    client = client_of(explorer)

    def move() -> None:
        explorer.mine()
        explorer.before.append(("/address/", move))

    move()
    with pytest.raises(ChainError, match="kept changing"):
        sync(client, Wollet(NETWORK, AMP0), 1)


def test_another_network() -> None:
    client = EsploraClient("https://example.org", Network.testnet(), transport=FakeExplorer())
    with pytest.raises(NetworkMismatch):
        sync(client, Wollet(NETWORK, AMP0), 1)


def test_waterfalls_server_with_a_new_key() -> None:
    explorer = FakeExplorer()
    explorer.mine(pay(AMP0, (1, 5)))
    client, wollet = client_of(explorer, waterfalls=True), Wollet(NETWORK, AMP0)
    sync(client, wollet, 1)
    import pyrage

    explorer.identity = pyrage.x25519.Identity.generate()
    assert run(client.full_scan_to_index(wollet, 1)) is None
    assert explorer.count("/v1/server_recipient") == 2
    explorer.answers["/v2/"] = Response(422, {}, b"cannot decrypt")
    with pytest.raises(ExplorerRefused, match="422"):
        run(client.full_scan_to_index(wollet, 1))
    assert not any("tpub" in path for path in explorer.asked)


def test_waterfalls_pages_and_long_histories() -> None:
    explorer = FakeExplorer()
    explorer.mine(pay(AMP0, (1500, 5)))
    wollet = Wollet(NETWORK, AMP0)
    sync(client_of(explorer, waterfalls=True), wollet, 1500)
    assert wollet.balance() == {POLICY: 5}
    assert explorer.count("/v2/") == 2


# -- patience ---------------------------------------------------------------------------------


class Moody:
    """Answers with a list of statuses before it gives in."""

    def __init__(self, explorer: FakeExplorer, *moods: Response | Exception | None) -> None:
        self.explorer, self.moods = explorer, list(moods)
        self.slept: list[float] = []
        self.headers: list[Mapping[str, str]] = []

    async def request(self, method: str, path: str, headers: Mapping[str, str], body: bytes, limit: int) -> Response:
        self.headers.append(headers)
        mood = self.moods.pop(0) if self.moods else None
        if isinstance(mood, Exception):
            raise mood
        return mood or await self.explorer.request(method, path, headers, body, limit)

    async def aclose(self) -> None:
        pass

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)


def moody_client(moody: Moody, **options: object) -> EsploraClient:
    return EsploraClient(
        "http://127.0.0.1:1",
        NETWORK,
        transport=moody,
        sleep=moody.sleep,
        clock=lambda: 1_700_000_000.0,
        **options,  # type: ignore[arg-type]
    )


def test_busy_servers_are_waited_for() -> None:
    busy = Response(503, {}, b"")
    moody = Moody(
        FakeExplorer(),
        Response(429, {"retry-after": "7"}, b""),
        busy,
        Response(503, {"retry-after": "Tue, 14 Nov 2023 22:13:25 GMT"}, b""),
        Response(502, {"retry-after": "nonsense"}, b""),
    )
    assert run(moody_client(moody).tip()).height() == 0
    assert moody.slept == [7.0, 2.0, 5.0, 8.0]


def test_patience_ends() -> None:
    moody = Moody(FakeExplorer(), *[Response(503, {}, b"")] * 50)
    with pytest.raises(BackendUnavailable, match="busy"):
        run(moody_client(moody).tip())
    assert sum(moody.slept) <= 60
    moody = Moody(FakeExplorer(), Response(429, {"retry-after": "86400"}, b""))
    with pytest.raises(BackendUnavailable, match="86400"):
        run(moody_client(moody).tip())
    assert moody.slept == []


def test_unreachable() -> None:
    moody = Moody(FakeExplorer(), ConnectionRefusedError("refused"))
    with pytest.raises(BackendUnavailable, match="cannot be reached: refused"):
        run(moody_client(moody).tip())


def test_a15_deadline() -> None:
    """A15: a server that never answers costs one deadline, and the error says what to do."""

    class Silent(Moody):
        async def request(self, *args: object) -> Response:
            await asyncio.Event().wait()
            raise AssertionError

    with pytest.raises(ConnectionTimeout, match=r"within 0\.01 seconds"):
        run(moody_client(Silent(FakeExplorer()), timeout=0.01).tip())


def test_errors_have_the_url_and_the_text() -> None:
    moody = Moody(FakeExplorer(), Response(400, {}, b"Invalid " * 1000))
    with pytest.raises(ExplorerRefused) as caught:
        run(moody_client(moody).tip())
    assert caught.value.status == 400
    assert caught.value.url == "http://127.0.0.1:1/blocks/tip/hash"
    assert len(caught.value.body) == 500


def test_headers_and_tokens() -> None:
    moody = Moody(FakeExplorer())
    client = moody_client(moody, headers={"x-venue": "7"}, token_provider=TokenProvider.STATIC("sesame"))
    run(client.tip())
    assert all(h == {"x-venue": "7", "authorization": "Bearer sesame"} for h in moody.headers)
    assert "sesame" not in repr(TokenProvider.STATIC("sesame"))
    with pytest.raises(InvalidInput):
        moody_client(moody, headers={"x": "a\r\nhost: evil"})
    with pytest.raises(InvalidInput):
        TokenProvider.STATIC("a\nb")


# -- making clients ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    "url", ["http://example.org/api", "ftp://127.0.0.1", "https://u@example.org", "https://a/?q", ""]
)
def test_a16_urls_refused(url: str) -> None:
    """A16: no plain text to another machine, unless the operator says so."""
    with pytest.raises(InvalidInput):
        EsploraClient(url, NETWORK)


def test_urls_accepted() -> None:
    assert EsploraClient("127.0.0.1:3000/", NETWORK).url == "http://127.0.0.1:3000"
    assert EsploraClient("https://example.org/liquid/api//", NETWORK).url == "https://example.org/liquid/api"
    assert EsploraClient("http://10.0.0.1/api", NETWORK, allow_insecure=True).url == "http://10.0.0.1/api"


def test_builders() -> None:
    builder = EsploraClientBuilder(base_url="http://localhost:3000", network=NETWORK, waterfalls=True, concurrency=3)
    assert EsploraClient.from_builder(builder)._explorer.concurrency == 3
    assert WaterfallsClient("http://localhost:3000", NETWORK)._descriptors is not None
    assert EsploraClient.new_waterfalls("http://localhost:3000", NETWORK)._descriptors is not None
    with pytest.raises(InvalidInput):
        EsploraClient.from_builder(EsploraClientBuilder(base_url="localhost", network=NETWORK, utxo_only=True))
    for bad in ({"timeout": 0}, {"timeout": 1e9}, {"concurrency": 0}, {"concurrency": 1000}):
        with pytest.raises(InvalidInput):
            EsploraClient("localhost", NETWORK, **bad)
