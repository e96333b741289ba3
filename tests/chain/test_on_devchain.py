"""Our clients and the development chain in one process: real transactions, blocks and reorganisations."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import httpx
import pytest

from amp0.chain.backend import Update
from amp0.chain.esplora import EsploraClient
from amp0.chain.http import HttpxTransport
from amp0.devchain.app import DevChain, build
from amp0.devchain.faucet import Payment
from amp0.elements.address import Address
from amp0.elements.descriptor import WolletDescriptor
from amp0.elements.hashes import asset_id_to_str
from amp0.errors import BroadcastRejected
from amp0.wallet.wollet import Wollet
from tests.chain.fake_explorer import NETWORK, send, stranger_coin
from tests.wallet.test_wollet import AMP0, POLICY, WPKH


@pytest.fixture(scope="module")
def devchain() -> Iterator[DevChain]:
    built = build()
    yield built
    built.close()


def client_for(devchain: DevChain, waterfalls: bool = False) -> EsploraClient:
    transport = HttpxTransport("http://127.0.0.1", httpx.ASGITransport(devchain.app))
    return EsploraClient("http://127.0.0.1", NETWORK, waterfalls=waterfalls, transport=transport)


def scan(client: EsploraClient, wollet: Wollet, index: int) -> Update | None:
    return asyncio.run(client.full_scan_to_index(wollet, index))


def payment(descriptor: WolletDescriptor, index: int, satoshi: int, *asset: bytes) -> Payment:
    address: Address = descriptor.confidential_address(NETWORK, index)
    return Payment(address.script, address.blinding_pubkey, satoshi, *asset)


def test_both_clients_see_the_same(devchain: DevChain) -> None:
    asset, _ = devchain.faucet.issue(10_000)
    devchain.faucet.pay(payment(AMP0, 20, 1000))
    devchain.faucet.pay(payment(AMP0, 7, 300, asset))
    devchain.chain.mine()
    devchain.faucet.pay(payment(AMP0, 333, 5000))
    esplora, waterfalls = Wollet(NETWORK, AMP0), Wollet(NETWORK, AMP0)
    one, two = client_for(devchain), client_for(devchain, waterfalls=True)
    for client, wollet in ((one, esplora), (two, waterfalls)):
        wollet.apply_update(scan(client, wollet, 333))
        assert scan(client, wollet, 333) is None
        assert wollet.balance() == {POLICY: 6000, asset_id_to_str(asset): 300}
        assert wollet.tip() == asyncio.run(client.tip())
    assert esplora.transactions() == waterfalls.transactions()
    assert esplora.transactions()[0].height() is None
    devchain.chain.mine()
    for client, wollet in ((one, esplora), (two, waterfalls)):
        wollet.apply_update(scan(client, wollet, 333))
        assert all(tx.height() for tx in wollet.transactions())
    assert esplora.transactions() == waterfalls.transactions()
    # A fresh client reads all addresses; the old one followed the blocks. Same result.
    fresh = Wollet(NETWORK, AMP0)
    fresh.apply_update(scan(client_for(devchain), fresh, 333))
    assert fresh.transactions() == esplora.transactions()


@pytest.mark.parametrize("waterfalls", [False, True], ids=["esplora", "waterfalls"])
def test_reorganisation(devchain: DevChain, waterfalls: bool) -> None:
    client, wollet = client_for(devchain, waterfalls), Wollet(NETWORK, WPKH)
    txid = devchain.faucet.pay(payment(WPKH, 3, 1234))
    devchain.chain.mine()
    wollet.apply_update(scan(client, wollet, 3))
    before = wollet.transaction(txid).height()
    assert before is not None
    devchain.chain.reorg(1, blocks=2)
    changes = wollet.apply_update(scan(client, wollet, 3))
    assert changes.unconfirmed == (txid,)
    assert wollet.transaction(txid).height() is None
    devchain.chain.mine()
    changes = wollet.apply_update(scan(client, wollet, 3))
    assert changes.confirmed == (txid,)
    assert wollet.transaction(txid).height() == before + 2


def test_broadcast_is_refused_with_the_nodes_words(devchain: DevChain) -> None:
    with pytest.raises(BroadcastRejected, match="inputs"):
        asyncio.run(client_for(devchain).broadcast(send(stranger_coin())))
    assert asyncio.run(client_for(devchain).has_txs(AMP0))
