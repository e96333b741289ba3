"""An Elements node as a treasury: the embedded chain's node face, and a real one where there is one."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import pytest

from amp0.elements.address import Address
from amp0.elements.script import p2wpkh
from amp0.errors import BackendUnavailable, InvalidInput, NodeRefused, WalletError
from amp0.issuer import Move, NodeTreasury, Outpoint
from amp0.issuer.treasury import _coins, _satoshi
from amp0.local.stack import Stack
from amp0.network import Network
from tests.devchain.node_stack import STACKS, stack_of
from tests.issuer.loop import in_a_loop


class Chain:
    """A stack's node, its wallet with an asset, and the ways to ask it."""

    def __init__(self, stack: Stack) -> None:
        assert stack.node_url is not None
        assert stack.node_cookie is not None
        self.stack = stack
        self.cookie = stack.node_cookie
        self.treasury = NodeTreasury(stack.node_url, stack.node_cookie)
        made = self.call("issueasset", 5, 1)
        self.asset, self.token = made["asset"], made["token"]
        self.issued = made["txid"]
        stack.dev.mine()

    def call(self, method: str, *params: Any) -> Any:
        credentials = tuple(self.cookie.read_text().strip().split(":", 1))
        body = {"method": method, "params": params}
        return httpx.post(str(self.stack.node_url), json=body, auth=credentials).json()["result"]  # type: ignore[arg-type]


@pytest.fixture(scope="module", params=STACKS)
def chain(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chain]:
    with stack_of(request.param, tmp_path_factory.mktemp("node")) as stack:
        yield Chain(stack)


@in_a_loop
async def test_a_payment_is_made_found_by_its_addresses_and_told_with_blinders(chain: Chain) -> None:
    treasury = chain.treasury
    await treasury.check()
    to = [await treasury.new_address() for _ in range(2)]
    assert await treasury.payments(to) == []
    txid = await treasury.pay(chain.asset, {to[0]: 1, to[1]: 100_000_001})
    assert await treasury.payments(to) == await treasury.payments(to[1:]) == [txid]
    plain = chain.call("getaddressinfo", to[0])["unconfidential"]
    assert await treasury.payments([plain]) == [txid]
    assert await treasury.confirmations(txid) == 0
    chain.stack.dev.mine(2)
    assert await treasury.confirmations(txid) == 2
    details = await treasury.details(txid)
    sent = {row.address: row.amount for row in details if row.category == "send"}
    assert set(sent.values()) == {-0.00000001, -1.00000001}
    assert all(len(row.amountblinder or "") == len(row.assetblinder or "") == 64 for row in details)
    (change, *_) = await treasury.change(txid, chain.asset)
    assert (change.txid, change.asset) == (txid, chain.asset)
    outpoint = Outpoint(txid=change.txid, vout=change.vout)
    stranger = Outpoint(txid="77" * 32, vout=0)
    assert await treasury.missing([outpoint, stranger]) == [stranger]


@in_a_loop
async def test_reissues_and_burns_are_listed_with_their_amounts(chain: Chain) -> None:
    treasury = chain.treasury
    assert await treasury.reissues(chain.asset) == []
    made = [await treasury.reissue(chain.asset, 3), await treasury.reissue(chain.asset, 250_000_000)]
    assert [move.satoshi for move in made] == [3, 250_000_000]
    assert set(await treasury.reissues(chain.asset)) == set(made)
    assert {entry.txid for entry in await treasury.issuances(chain.asset)} == {
        chain.issued, *(move.txid for move in made)
    }  # fmt: skip
    burnt = await treasury.burn(chain.asset, 7)
    await treasury.burn(chain.token, 1)
    assert await treasury.burns(chain.asset) == [Move(burnt.txid, 7)]
    chain.stack.dev.mine()
    assert await treasury.burns(chain.asset) == [Move(burnt.txid, 7)]


@in_a_loop
async def test_more_than_a_page_is_listed_whole(chain: Chain, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("amp0.issuer.treasury._PAGE", 2)
    to = [await chain.treasury.new_address() for _ in range(3)]
    txids = [await chain.treasury.pay(chain.asset, {address: 5}) for address in to]
    for address, txid in zip(to, txids, strict=True):
        assert await chain.treasury.payments([address]) == [txid]
    assert sorted(await chain.treasury.payments(to)) == sorted(txids)


@in_a_loop
async def test_what_the_node_refuses_moves_nothing(chain: Chain) -> None:
    before = chain.call("getrawmempool")
    with pytest.raises(NodeRefused, match="nsufficient funds"):
        await chain.treasury.pay(chain.asset, {await chain.treasury.new_address(): 2_000_000_000_000})
    with pytest.raises(NodeRefused, match="could not be found"):
        await chain.treasury.reissue("11" * 32, 5)
    with pytest.raises(NodeRefused):
        await chain.treasury.confirmations("77" * 32)
    assert chain.call("getrawmempool") == before


@in_a_loop
async def test_credentials_that_are_wrong_and_a_node_that_is_away(chain: Chain, tmp_path: Path) -> None:
    wrong = tmp_path / "cookie"
    wrong.touch(mode=0o600)
    wrong.write_text("user:wrong")
    with pytest.raises(BackendUnavailable, match="another cookie"):
        await NodeTreasury(str(chain.stack.node_url), wrong).check()
    with pytest.raises(BackendUnavailable, match=r"127\.0\.0\.1:9 cannot be reached: ConnectError; check"):
        await NodeTreasury("http://127.0.0.1:9", chain.cookie).check()
    with pytest.raises(InvalidInput):
        NodeTreasury("http://node.example:7041", chain.cookie)
    assert "wrong" not in repr(NodeTreasury(str(chain.stack.node_url), wrong))


@pytest.mark.parametrize(
    ("answers", "error", "text"),
    [
        ({"getnetworkinfo": {"subversion": "/Satoshi:28.0.0/"}}, WalletError, "not Elements Core"),
        ({"getblockchaininfo": {"verificationprogress": Decimal("0.5")}}, BackendUnavailable, "catching up"),
        ({"getnetworkinfo": []}, BackendUnavailable, "lacks subversion"),
    ],
)
@in_a_loop
async def test_another_node_or_one_that_is_behind_is_not_used(
    answers: dict[str, Any], error: type[Exception], text: str, tmp_path: Path
) -> None:
    right = {
        "getnetworkinfo": {"subversion": "/Elements Core:28.0.0/"},
        "getblockchaininfo": {"verificationprogress": Decimal("1")},
    }

    class Node(NodeTreasury):
        async def _call(self, method: str, *arguments: Any, seconds: float = 0) -> Any:
            return (right | answers)[method]

    with pytest.raises(error, match=text):
        await Node("http://127.0.0.1:7041", tmp_path).check()


@in_a_loop
async def test_i04_what_may_still_confirm_is_not_made_again(tmp_path: Path) -> None:
    """Abandoning a transaction frees its coins in one wallet, and takes it from nobody who has it; and a rival in one
    block is not final. Both counted as never made, and the next run paid or burned a second time."""
    address = str(Address.from_script(Network.regtest_default(), p2wpkh(b"\x01" * 20)))

    def row(txid: str, confirmations: int, **more: Any) -> dict[str, Any]:
        amount = Decimal("-1")
        return {
            "txid": txid * 32, "category": "send", "asset": "aa" * 32, "amount": amount, "confirmations": confirmations,
            "isreissuance": True, "assetamount": Decimal(1), "vin": 0, **more,
        }  # fmt: skip

    rows = [
        row("11", 0, abandoned=True), row("22", -1), row("33", -2), row("44", 0), row("55", 7), row("66", -3)
    ]  # fmt: skip

    class Node(NodeTreasury):
        to: str | None = None

        async def _call(self, method: str, *arguments: Any, seconds: float = 0) -> Any:
            if method == "gettransaction":
                (one,) = [one for one in rows if one["txid"] == arguments[0]]
                return {"confirmations": one["confirmations"], "details": [one]}
            return [one | {"address": self.to} for one in rows]

    node = Node("http://127.0.0.1:7041", tmp_path)
    alive = [name * 32 for name in ("11", "22", "44", "55")]
    assert await node.burns("aa" * 32) == [Move(txid, 100_000_000) for txid in alive]
    assert await node.reissues("aa" * 32) == [Move(txid, 100_000_000) for txid in alive]
    node.to = address
    assert await node.payments([address]) == alive
    # Nobody waits for these two.
    assert [await node.confirmations(txid) for txid in alive] == [-1, -1, 0, 7]


def test_amounts_lose_nothing_on_the_way() -> None:
    for satoshi in (1, 99_999_999, 100_000_000, 2_100_000_000_000_000, 123_456_789_012_345):
        assert _satoshi(Decimal(_coins(satoshi))) == satoshi
    assert _coins(1) == "0.00000001"
    for wrong in (Decimal("0.000000001"), Decimal("NaN"), 0.5, "1", True, None):
        with pytest.raises(BackendUnavailable):
            _satoshi(wrong)


def test_what_a_wallet_refuses_says_what_to_do() -> None:
    assert str(NodeRefused("sendmany", -6, "Insufficient funds")) == (
        "the node answers sendmany with error -6: Insufficient funds; its wallet needs more of what is sent, and L-BTC "
        "for the fee"
    )
    assert str(NodeRefused("getblock", -5, "Block not found")).endswith("Block not found")
