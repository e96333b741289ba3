"""Issuances before a real Elements node: it takes them, and its own wallet is the treasury that holds and spends them.

Our chain makes the blocks, and the node gets them by ``submitblock``.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from amp0.devchain.faucet import Payment
from amp0.elements.address import Address
from amp0.elements.hashes import Txid
from amp0.elements.transaction import OutPoint
from amp0.wallet.issuance import Contract
from tests.devchain.node import Node, needs_node, node  # noqa: F401 (node is a fixture)
from tests.server.issuer.house import NETWORK, PUBKEY, House, reissuable

pytestmark = needs_node


@pytest.fixture
def house() -> Iterator[House]:
    made = House()
    made.fund(100_000)
    yield made
    made.close()


def carry(house: House, node: Node) -> None:  # noqa: F811
    """Give the node every block of our chain."""
    for height in range(1, house.chain.height + 1):
        entry = house.chain.block_at(height)
        assert entry is not None
        assert node.call("submitblock", entry.block.serialize().hex()) in (None, "duplicate", "inconclusive")
    assert node.call("getblockcount") == house.chain.height


@pytest.mark.parametrize("is_confidential", [False, True])
def test_a_node_takes_it_and_its_wallet_holds_and_spends_it(
    house: House,
    node: Node,  # noqa: F811
    is_confidential: bool,
) -> None:
    node.call("createwallet", "treasury")
    addresses = [str(node.call("getnewaddress")) for _ in range(3)]
    fees = Address(addresses[2], NETWORK)
    house.devchain.faucet.pay(Payment(fees.script, fees.blinding_pubkey, 50_000))
    house.mine()
    carry(house, node)
    issued = house.issue(
        amount=1_234_567,
        destination_address=addresses[0],
        is_confidential=is_confidential,
        **reissuable(3, reissuance_address=addresses[1]),
    )
    entry = house.chain.entry(Txid(issued.txid))
    assert entry is not None
    (verdict,) = node.call("testmempoolaccept", [str(entry.tx)])
    assert verdict["allowed"], verdict
    assert node.call("sendrawtransaction", str(entry.tx)) == issued.txid

    shown = node.call("decoderawtransaction", str(entry.tx))["vin"][issued.vin]["issuance"]
    assert shown["asset"] == issued.asset_id
    assert shown["token"] == issued.reissuance_token_id
    assert ("assetamount" in shown) != is_confidential
    assert shown["asset"] == _issued_by_node(node, entry.tx.vin[0].prevout, addresses[0])

    house.mine(2)
    carry(house, node)
    balance = node.call("getbalance", "*", 0, False)
    assert balance[issued.asset_id] == 0.01234567
    assert balance[issued.reissuance_token_id or ""] == 0.00000003
    (held,) = [row for row in node.call("listunspent") if row["asset"] == issued.asset_id]
    assert (held["txid"], held["vout"]) == (issued.txid, issued.asset_vout)

    paid = node.call(
        "sendtoaddress", node.call("getnewaddress"), 0.005, "", "", False, True, 1, "UNSET", False, issued.asset_id
    )
    assert paid in node.call("getrawmempool")
    more = node.call("reissueasset", issued.asset_id, 0.5)
    assert more["txid"] in node.call("getrawmempool")


def _issued_by_node(node: Node, prevout: OutPoint, address: str) -> str:  # noqa: F811
    """The asset that the node would issue from the same coin under the same contract, whose hash it wants reversed."""
    contract_hash = Contract("silver.example", PUBKEY, "Silver bars", 0, "SLVR").hash()[::-1].hex()
    plain = [{"txid": str(prevout.txid()), "vout": prevout.vout()}]
    raw = node.call("createrawtransaction", plain, [{"fee": 0.00001}])
    wanted = {"asset_amount": 1, "asset_address": address, "blind": False, "contract_hash": contract_hash}
    return str(node.call("rawissueasset", raw, [wanted])[0]["asset"])
