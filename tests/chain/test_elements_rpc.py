"""A node's JSON-RPC: every call, every way in which its answer can be wrong, and where the credentials come from."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Awaitable, Callable
from decimal import Decimal
from pathlib import Path
from typing import Any, TypeVar

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from amp0.chain import elements_rpc
from amp0.chain.elements_rpc import ElementsRpc, read_credentials, rpc_url
from amp0.elements.hashes import BlockHash, Txid
from amp0.elements.transaction import OutPoint, Transaction, TxIn, TxOut
from amp0.errors import Amp0Error, BackendUnavailable, BroadcastRejected, InvalidInput, NodeRefused
from tests.patience import PATIENCE

T = TypeVar("T")

URL = "http://127.0.0.1:7041"
COOKIE = "__cookie__:5f3a"
HASH = "ab" * 32
TX = Transaction.of(
    2,
    0,
    [TxIn(OutPoint(Txid(b"\x07" * 32), 0))],
    [TxOut.explicit(b"\x51", b"\x01" * 32, 5), TxOut.fee(b"\x01" * 32, 1)],
)
OTHER = Transaction.of(2, 1, TX.vin, TX.vout)

Handler = Callable[[str, list[Any]], Any]


class NodeError(Exception):
    """What the fake node answers in place of a result."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


class Pretender:
    """Answers like a node; ``calls`` are the calls it got, ``secrets`` the credentials."""

    def __init__(self, handler: Handler) -> None:
        self.calls: list[tuple[str, list[Any]]] = []
        self.secrets: list[str] = []
        self._handler = handler

    def __call__(self, request: httpx.Request) -> httpx.Response:
        kind, _, secret = request.headers["authorization"].partition(" ")
        assert (request.method, kind) == ("POST", "Basic")
        self.secrets.append(base64.b64decode(secret).decode())
        asked = json.loads(request.content)
        self.calls.append((asked["method"], asked["params"]))
        try:
            result = self._handler(asked["method"], asked["params"])
        except NodeError as error:
            told = {"code": error.code, "message": str(error)}
            return httpx.Response(500, json={"result": None, "error": told, "id": asked["id"]})
        return httpx.Response(200, json={"result": result, "error": None, "id": asked["id"]})


@pytest.fixture
def cookie(tmp_path: Path) -> Path:
    path = tmp_path / ".cookie"
    path.write_text(COOKIE)
    path.chmod(0o600)
    return path


def ask(
    answer: Callable[[httpx.Request], httpx.Response],
    cookie: Path,
    question: Callable[[ElementsRpc], Awaitable[T]],
    *,
    timeout: float = PATIENCE,
) -> T:
    async def play() -> T:
        async with httpx.AsyncClient(transport=httpx.MockTransport(answer)) as client:
            return await question(ElementsRpc(URL, cookie, client, timeout=timeout))

    return asyncio.run(play())


def refusing(code: int, message: str) -> Pretender:
    def handler(_method: str, _arguments: list[Any]) -> Any:
        raise NodeError(code, message)

    return Pretender(handler)


# --- calls ---------------------------------------------------------------------------------------------------------


def test_the_calls_are_those_of_a_node(cookie: Path) -> None:
    answers = {
        "getbestblockhash": HASH,
        "getblockhash": HASH,
        "getblock": "0102",
        "getrawmempool": [HASH, "cd" * 32],
        "getrawtransaction": str(TX),
        "getindexinfo": {"txindex": {"synced": True}},
        "sendrawtransaction": str(TX.txid()),
    }
    node = Pretender(lambda method, _: answers[method])

    async def all_of_them(rpc: ElementsRpc) -> None:
        assert await rpc.best_block_hash() == BlockHash(HASH)
        assert await rpc.block_hash(7) == BlockHash(HASH)
        assert await rpc.block(BlockHash(HASH)) == b"\x01\x02"
        assert await rpc.mempool_txids() == {Txid(HASH), Txid("cd" * 32)}
        assert await rpc.transaction(TX.txid()) == TX
        assert await rpc.has_transaction_index()
        await rpc.broadcast(TX)

    ask(node, cookie, all_of_them)
    assert node.calls == [
        ("getbestblockhash", []),
        ("getblockhash", [7]),
        ("getblock", [HASH, 0]),
        ("getrawmempool", []),
        ("getrawtransaction", [str(TX.txid()), False]),
        ("getindexinfo", []),
        ("sendrawtransaction", [str(TX)]),
    ]
    assert set(node.secrets) == {COOKIE}


def test_numbers_with_a_point_are_exact(cookie: Path) -> None:
    node = Pretender(lambda *_: {"balance": 0.1})
    assert ask(node, cookie, lambda rpc: rpc.call("getbalance")) == {"balance": Decimal("0.1")}


def test_what_a_node_does_not_have_is_none(cookie: Path) -> None:
    missing = refusing(-5, "No such mempool transaction. Use -txindex")
    assert ask(missing, cookie, lambda rpc: rpc.transaction(TX.txid())) is None
    assert ask(missing, cookie, lambda rpc: rpc.block(BlockHash(HASH))) is None
    assert ask(refusing(-8, "Block height out of range"), cookie, lambda rpc: rpc.block_hash(9)) is None
    assert ask(Pretender(lambda *_: {}), cookie, lambda rpc: rpc.has_transaction_index()) is False


@pytest.mark.parametrize(
    "question",
    [
        lambda rpc: rpc.best_block_hash(),
        lambda rpc: rpc.block_hash(1),
        lambda rpc: rpc.block(BlockHash(HASH)),
        lambda rpc: rpc.mempool_txids(),
        lambda rpc: rpc.transaction(TX.txid()),
        lambda rpc: rpc.broadcast(TX),
    ],
)
def test_another_error_is_told_with_its_code_and_text(cookie: Path, question: Any) -> None:
    with pytest.raises(NodeRefused, match="Block not available") as caught:
        ask(refusing(-1, "Block not available (pruned data)"), cookie, question)
    assert (caught.value.code, caught.value.reason) == (-1, "Block not available (pruned data)")


# --- broadcasting --------------------------------------------------------------------------------------------------


def test_a_transaction_in_the_chain_already_is_fine(cookie: Path) -> None:
    node = refusing(-27, "Transaction outputs already in utxo set")
    ask(node, cookie, lambda rpc: rpc.broadcast(TX))
    assert len(node.calls) == 1


def sending(code: int, message: str, found: Transaction | None) -> Pretender:
    def handler(method: str, _arguments: list[Any]) -> Any:
        if method == "sendrawtransaction":
            raise NodeError(code, message)
        if found is None:
            raise NodeError(-5, "No such mempool or blockchain transaction")
        return str(found)

    return Pretender(handler)


@pytest.mark.parametrize("code", [-25, -26])
def test_a_transaction_the_node_finds_is_fine_whatever_it_says(cookie: Path, code: int) -> None:
    ask(sending(code, "bad-txns-inputs-missingorspent", TX), cookie, lambda rpc: rpc.broadcast(TX))


@pytest.mark.parametrize("code", [-22, -25, -26])
def test_a_refusal_carries_the_reason_of_the_node(cookie: Path, code: int) -> None:
    with pytest.raises(BroadcastRejected) as caught:
        ask(sending(code, "min relay fee not met, 1 < 25", None), cookie, lambda rpc: rpc.broadcast(TX))
    assert caught.value.reason == "min relay fee not met, 1 < 25"


def test_a_burn_is_sent_with_the_limit_lifted_for_it_alone(cookie: Path) -> None:
    def handler(_method: str, arguments: list[Any]) -> Any:
        if len(arguments) == 1:
            raise NodeError(-25, "Unspendable output exceeds maximum configured by user (maxburnamount)")
        return str(TX.txid())

    node = Pretender(handler)
    ask(node, cookie, lambda rpc: rpc.broadcast(TX))
    assert node.calls[1:] == [("sendrawtransaction", [str(TX), None, 21_000_000])]


def test_another_id_than_that_of_the_transaction_is_not_success(cookie: Path) -> None:
    with pytest.raises(BackendUnavailable):
        ask(Pretender(lambda *_: HASH), cookie, lambda rpc: rpc.broadcast(TX))


# --- answers that cannot be believed -------------------------------------------------------------------------------


@pytest.mark.parametrize("answer", [None, 7, "", HASH[:-1], HASH.upper(), HASH + "\n", [HASH], {"hash": HASH}])
def test_what_is_no_hash_is_not_taken_for_one(cookie: Path, answer: Any) -> None:
    node = Pretender(lambda *_: answer)
    for question in (ElementsRpc.best_block_hash, lambda rpc: rpc.block_hash(1)):
        with pytest.raises(BackendUnavailable):
            ask(node, cookie, question)
    with pytest.raises(BackendUnavailable):
        ask(Pretender(lambda *_: [HASH, answer]), cookie, ElementsRpc.mempool_txids)


@pytest.mark.parametrize("answer", [None, 7, "zz", "0", str(OTHER), str(TX)[:-2], str(TX) + "00", {"hex": str(TX)}])
def test_what_is_not_the_transaction_is_not_taken_for_it(cookie: Path, answer: Any) -> None:
    with pytest.raises(BackendUnavailable):
        ask(Pretender(lambda *_: answer), cookie, lambda rpc: rpc.transaction(TX.txid()))


@pytest.mark.parametrize("answer", [None, 7, "zz", ["00"]])
def test_what_is_no_block_in_hex_is_not_taken_for_one(cookie: Path, answer: Any) -> None:
    with pytest.raises(BackendUnavailable):
        ask(Pretender(lambda *_: answer), cookie, lambda rpc: rpc.block(BlockHash(HASH)))


def test_what_is_no_list_is_no_mempool(cookie: Path) -> None:
    with pytest.raises(BackendUnavailable):
        ask(Pretender(lambda *_: {HASH: {}}), cookie, ElementsRpc.mempool_txids)


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (200, b""),
        (200, b"<html>"),
        (200, b"[]"),
        (200, b"null"),
        (200, b"[" * 20_000),
        (200, b'{"result": "' + HASH.encode() + b'", "error": null, "id": 999}'),
        (500, b'{"result": "' + HASH.encode() + b'", "error": null, "id": 1}'),
        (200, b'{"result": null, "error": "no", "id": 1}'),
        (200, b'{"result": null, "error": {"code": "x", "message": 1}, "id": 1}'),
        (200, b'{"result": "\xff", "error": null, "id": 1}'),
        (503, b"Work queue depth exceeded"),
        (404, b""),
        (301, b""),
    ],
)
def test_an_answer_out_of_shape_is_a_node_that_is_away(cookie: Path, status: int, body: bytes) -> None:
    with pytest.raises(BackendUnavailable, match=str(status)):
        ask(lambda _: httpx.Response(status, content=body), cookie, ElementsRpc.best_block_hash)


@given(st.binary(max_size=200), st.integers(200, 599))
def test_no_answer_raises_anything_else(tmp_path_factory: pytest.TempPathFactory, body: bytes, status: int) -> None:
    cookie = tmp_path_factory.getbasetemp() / "shared-cookie"
    if not cookie.exists():
        cookie.touch(0o600)
        cookie.write_text(COOKIE)
    with pytest.raises(Amp0Error):
        ask(lambda _: httpx.Response(status, content=body), cookie, ElementsRpc.best_block_hash)


def test_a_node_that_is_starting_is_away(cookie: Path) -> None:
    with pytest.raises(BackendUnavailable, match="Loading block index"):
        ask(refusing(-28, "Loading block index…"), cookie, ElementsRpc.best_block_hash)


def test_too_much_is_not_read(cookie: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(BackendUnavailable, match="more than was asked"):
        ask(lambda _: httpx.Response(200, content=b" " * 70_000), cookie, ElementsRpc.best_block_hash)
    monkeypatch.setattr(elements_rpc, "MAX_LISTING_BYTES", 1000)
    with pytest.raises(BackendUnavailable, match="more than was asked"):
        ask(Pretender(lambda *_: [HASH] * 20), cookie, ElementsRpc.mempool_txids)


def test_silence_has_an_end(cookie: Path) -> None:
    async def silent(_request: httpx.Request) -> httpx.Response:
        await asyncio.sleep(60)
        raise AssertionError("nobody waited for this")

    async def play() -> None:
        async with httpx.AsyncClient(transport=httpx.MockTransport(silent)) as client:
            await ElementsRpc(URL, cookie, client, timeout=0.01).best_block_hash()

    with pytest.raises(BackendUnavailable, match="in time"):
        asyncio.run(play())


def test_a_node_that_is_not_there_is_away(cookie: Path) -> None:
    def gone(_request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("refused")

    with pytest.raises(BackendUnavailable, match="ConnectError"):
        ask(gone, cookie, ElementsRpc.best_block_hash)


# --- where it is, and who we are -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:7041",
        "http://localhost:7041/",
        "http://[::1]:7041",
        "http://127.0.0.1:7041/wallet/issuer",
        "https://node.example:7041",
    ],
)
def test_loopback_and_https_are_the_ways_to_a_node(url: str) -> None:
    assert rpc_url(url) == url


@pytest.mark.parametrize(
    "url",
    [
        "",
        "127.0.0.1:7041",
        "ftp://127.0.0.1",
        "http://",
        "http://192.0.2.1:7041",
        "http://node.example:7041",
        "http://127.0.0.1:99999",
        "http://127.0.0.1:7041/api",
        "http://127.0.0.1:7041/wallet/a/b",
        "http://127.0.0.1:7041?x=1",
        "http://127.0.0.1:7041#x",
        "http://[::1",
    ],
)
def test_other_ways_are_refused(url: str) -> None:
    with pytest.raises(InvalidInput):
        rpc_url(url)


def test_a_url_with_credentials_is_refused_and_not_repeated() -> None:
    with pytest.raises(InvalidInput) as caught:
        rpc_url("http://user:hunter2@127.0.0.1:7041")
    assert "hunter2" not in str(caught.value)


def test_a_cookie_is_read_anew_after_the_node_was_started_again(cookie: Path) -> None:
    node = Pretender(lambda *_: HASH)

    async def twice(rpc: ElementsRpc) -> None:
        await rpc.best_block_hash()
        cookie.unlink()
        with pytest.raises(BackendUnavailable, match="while the node runs"):
            await rpc.best_block_hash()
        cookie.touch(0o600)
        cookie.write_text("__cookie__:another")
        await rpc.best_block_hash()

    ask(node, cookie, twice)
    assert node.secrets == [COOKIE, "__cookie__:another"]


@pytest.mark.parametrize(
    "text", [b"", b"\n", b"user", b":password", b"user:", b"a:b\nc:d", b"a:" + b"x" * 5000, b"a:\x00"]
)
def test_a_file_that_holds_something_else_is_refused(tmp_path: Path, text: bytes) -> None:
    path = tmp_path / "auth"
    path.touch(0o600)
    path.write_bytes(text)
    with pytest.raises(BackendUnavailable):
        read_credentials(path)


def test_a_file_of_one_s_own_may_end_its_line(tmp_path: Path) -> None:
    path = tmp_path / "auth"
    path.touch(0o600)
    path.write_bytes(b"user:pass:word\r\n")
    assert read_credentials(path) == b"user:pass:word"


def test_a_file_that_everybody_can_read_is_refused_and_a_group_s_is_not(cookie: Path) -> None:
    cookie.chmod(0o640)
    assert read_credentials(cookie) == COOKIE.encode()
    cookie.chmod(0o644)
    with pytest.raises(BackendUnavailable, match="o-rwx"):
        read_credentials(cookie)


@pytest.mark.parametrize(("status", "says"), [(401, "credentials"), (403, "rpcwhitelist")])
def test_a_node_that_does_not_let_us_in_is_told_without_the_secret(cookie: Path, status: int, says: str) -> None:
    with pytest.raises(BackendUnavailable, match=says) as caught:
        ask(lambda _: httpx.Response(status), cookie, ElementsRpc.best_block_hash)
    assert "5f3a" not in str(caught.value)
    assert str(cookie) not in str(caught.value)
