"""The server on a node in place of an Esplora: the same watcher, the same refusals, and how the settings say so."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import httpx
import pytest

from amp0.elements import script
from amp0.elements.hashes import Txid
from amp0.elements.transaction import OutPoint, Transaction
from amp0.errors import ConfigError
from amp0.network import Network
from amp0.protocol import rpc
from amp0.server.chainsource import EsploraSource, NodeSource, chain_source
from amp0.server.keys import ServiceKeys
from amp0.server.refusal import ChainUnavailable
from amp0.server.settings import Settings

from .chain import FakeChain, payment
from .talking import CallError, Client, Wallet, World, in_world, settle
from .test_accounts import owner_of_account, witness_script

NODE = "elements+http://127.0.0.1:7041"
STRANGER = bytes.fromhex("0014" + "22" * 20)


class NodeChain(FakeChain):
    """The chain in memory behind a node's RPC, with or without an index of transactions."""

    def __init__(self, *, txindex: bool = True) -> None:
        super().__init__()
        self.txindex = txindex
        self.calls: list[str] = []

    def client(self) -> httpx.AsyncClient:
        return httpx.AsyncClient(transport=httpx.MockTransport(self._node))

    def _node(self, request: httpx.Request) -> httpx.Response:
        assert str(request.url).rstrip("/") == "http://127.0.0.1:7041"
        asked = json.loads(request.content)
        self.calls.append(asked["method"])
        if self.is_down:
            raise httpx.ConnectError("down")
        result, error = self._result(asked["method"], asked["params"])
        told = None if error is None else {"code": error[0], "message": error[1]}
        return httpx.Response(200 if told is None else 500, json={"result": result, "error": told, "id": asked["id"]})

    def _result(self, method: str, arguments: list[Any]) -> tuple[Any, tuple[int, str] | None]:
        match method:
            case "getbestblockhash":
                return str(self.blocks[-1][0].block_hash()), None
            case "getblockhash":
                (height,) = arguments
                if height >= len(self.blocks):
                    return None, (-8, "Block height out of range")
                return str(self.blocks[height][0].block_hash()), None
            case "getblock":
                raw = self._block(f"{arguments[0]}/raw")
                return (None, (-5, "Block not found")) if raw is None else (raw.hex(), None)
            case "getrawmempool":
                return [str(txid) for txid in self.mempool], None
            case "getindexinfo":
                return ({"txindex": {"synced": True}} if self.txindex else {}), None
            case "getrawtransaction":
                found = self._tx(f"{arguments[0]}/raw") if self.txindex else self._waiting(arguments[0])
                return (None, (-5, "No such mempool transaction")) if found is None else (found.hex(), None)
            case "sendrawtransaction":
                tx = Transaction.from_string(arguments[0])
                if self.refuses is not None:
                    return None, (-26, self.refuses)
                self.send(tx)
                return str(tx.txid()), None
        return None, (-32601, "Method not found")

    def _waiting(self, txid: str) -> bytes | None:
        tx = self.mempool.get(Txid(txid))
        return None if tx is None else tx.to_bytes()


@pytest.fixture
def cookie(tmp_path: Path) -> Path:
    path = tmp_path / ".cookie"
    path.touch(0o600)
    path.write_text("__cookie__:secret")
    return path


def on_node(chain: NodeChain, cookie: Path, play: Any) -> None:
    async def scene(world: World) -> None:
        wallet, client = await owner_of_account(world)
        await play(world, wallet, client)

    in_world(scene, chain=chain, chain_url=NODE, chain_auth_file=cookie)


def own(wallet: Wallet, pointer: int) -> bytes:
    return script.p2sh_p2wsh(witness_script(wallet, pointer))


async def poll(world: World) -> None:
    await world.server.watcher.poll()
    await settle()


async def coins(client: Client) -> list[tuple[str, int]]:
    """(txid, height) of the unspent outputs of account 1."""
    rows = await client.call(rpc.GetUnspentOutputs(0, 1))
    return sorted((row["txhash"], row["block_height"]) for row in rows)


@pytest.mark.parametrize("txindex", [True, False], ids=["txindex", "no index"])
def test_payments_are_followed_through_mempool_blocks_and_reorganisation(cookie: Path, txindex: bool) -> None:
    chain = NodeChain(txindex=txindex)

    async def play(world: World, wallet: Wallet, client: Client) -> None:
        tx = payment((own(wallet, 2), 1000))
        child = payment((own(wallet, 3), 900), spends=(OutPoint(tx.txid(), 0),))
        chain.send(tx)
        await poll(world)
        assert await coins(client) == [(str(tx.txid()), 0)]
        chain.mine()
        chain.send(child)
        await poll(world)
        assert await coins(client) == [(str(child.txid()), 0)]
        chain.mine()
        await poll(world)
        assert await coins(client) == [(str(child.txid()), 2)]
        for back in chain.drop_blocks(1):
            chain.send(back)
        chain.mine(payment((STRANGER, 1)))
        chain.mine(payment((STRANGER, 2)))
        await poll(world)
        assert await coins(client) == [(str(child.txid()), 0)]
        assert world.server.watcher.height() == 3
        assert world.server.watcher.is_current()

    on_node(chain, cookie, play)


def test_a_broadcast_reaches_the_node_and_its_refusal_the_client(cookie: Path) -> None:
    chain = NodeChain()

    async def play(world: World, wallet: Wallet, client: Client) -> None:
        tx, refused = payment((own(wallet, 1), 1000)), payment((own(wallet, 1), 5), salt=7)
        assert await client.call(rpc.BroadcastTransaction(str(tx))) == str(tx.txid())
        assert set(chain.mempool) == {tx.txid()}
        assert await coins(client) == [(str(tx.txid()), 0)]
        chain.refuses = "min relay fee not met"
        with pytest.raises(CallError, match="min relay fee not met") as caught:
            await client.call(rpc.BroadcastTransaction(str(refused)))
        assert caught.value.name == "broadcast"
        # Known already, in the mempool and later in a block: fine, whatever the node says.
        assert await client.call(rpc.BroadcastTransaction(str(tx))) == str(tx.txid())
        chain.mine()
        assert await client.call(rpc.BroadcastTransaction(str(tx))) == str(tx.txid())

    on_node(chain, cookie, play)


def test_a_node_that_is_away_is_told_and_found_again(cookie: Path) -> None:
    chain = NodeChain()

    async def play(world: World, _wallet: Wallet, client: Client) -> None:
        chain.is_down = True
        with pytest.raises(ChainUnavailable):
            await world.server.watcher.poll()
        with pytest.raises(CallError) as caught:
            await client.call(rpc.BroadcastTransaction(str(payment((STRANGER, 1)))))
        assert caught.value.name == "chainunavailable"
        assert "secret" not in caught.value.text
        assert str(cookie) not in caught.value.text
        chain.is_down = False
        chain.mine()
        await poll(world)
        assert world.server.watcher.height() == 1

    on_node(chain, cookie, play)


def test_a_node_of_another_chain_is_not_followed(cookie: Path) -> None:
    chain = NodeChain()
    chain.mine()
    chain.mine()
    del chain.blocks[0]

    async def play(world: World, _wallet: Wallet, _client: Client) -> None:
        with pytest.raises(ChainUnavailable, match="serves another chain"):
            await world.server.watcher.poll()
        assert world.server.watcher.height() == 0
        assert "getblock" not in chain.calls

    on_node(chain, cookie, play)


@pytest.mark.parametrize("txindex", [True, False])
def test_a_node_without_index_of_transactions_is_told_once(
    cookie: Path, txindex: bool, caplog: pytest.LogCaptureFixture
) -> None:
    async def play(world: World, _wallet: Wallet, _client: Client) -> None:
        await poll(world)
        await poll(world)

    with caplog.at_level(logging.WARNING, "amp0.server.chainsource"):
        on_node(NodeChain(txindex=txindex), cookie, play)
    assert len([row for row in caplog.records if "-txindex=1" in row.getMessage()]) == (0 if txindex else 1)


# --- settings ------------------------------------------------------------------------------------------------------


def test_the_scheme_of_the_url_chooses_the_source(cookie: Path) -> None:
    client = httpx.AsyncClient()
    assert isinstance(chain_source(Settings(), client), EsploraSource)
    node = Settings.from_environment({"AMP0_CHAIN_URL": NODE, "AMP0_CHAIN_AUTH_FILE": str(cookie)})
    assert node.node_url() == "http://127.0.0.1:7041"
    assert isinstance(chain_source(node, client), NodeSource)


@pytest.mark.parametrize(
    "settings",
    [
        {"chain_url": NODE},
        {"chain_url": "http://127.0.0.1:3000", "chain_auth_file": Path("cookie")},
        {"chain_url": "elements+http://192.0.2.1:7041", "chain_auth_file": Path("cookie")},
        {"chain_url": "elements+http://u:hunter2@127.0.0.1:7041", "chain_auth_file": Path("cookie")},
        {"chain_url": "elements+ftp://127.0.0.1:7041", "chain_auth_file": Path("cookie")},
        {"chain_url": "elements://u:hunter2@127.0.0.1:7041"},
    ],
)
def test_settings_that_name_no_usable_node_are_refused_without_a_secret(settings: dict[str, Any]) -> None:
    with pytest.raises(ConfigError) as caught:
        Settings(**settings)
    assert "hunter2" not in str(caught.value)


def test_clients_are_told_of_an_esplora_only_if_there_is_one(cookie: Path) -> None:
    from amp0.server.app import build

    def told(**settings: Any) -> Network:
        return build(Settings(**settings), keys=ServiceKeys.test_key()).network

    assert told().esplora_url == "http://127.0.0.1:3000"
    assert told(chain_url=NODE, chain_auth_file=cookie).esplora_url == ""
    explorer = "http://127.0.0.1:9"
    assert told(chain_url=NODE, chain_auth_file=cookie, public_esplora_url=explorer).esplora_url == explorer
