"""The largest distribution is one transaction that nodes relay, whatever the treasury is made of."""

from __future__ import annotations

from amp0.devchain.validation import MAX_STANDARD_WEIGHT
from amp0.elements import wally
from amp0.elements.address import Address
from amp0.elements.hashes import Txid
from amp0.network import Network
from amp0.server.issuer.distributions import MOST_PAYMENTS
from tests.devchain.test_node_face import Peer


def addresses(count: int) -> list[str]:
    """Of AMP accounts: nested scripts, confidential."""
    keys = [wally.public_key(number.to_bytes(32, "big")) for number in range(1, count + 1)]
    network = Network.regtest_default()
    return [str(Address.from_script(network, b"\xa9\x14" + key[1:21] + b"\x87", key)) for key in keys]


def test_the_largest_distribution_out_of_many_small_coins() -> None:
    node = Peer()
    asset = node("issueasset", 1000, 0)["asset"]
    node.mine()
    small = [node("getnewaddress") for _ in range(60)]
    node("sendmany", "", dict.fromkeys(small, 1), 0, "", [], False, 1, "UNSET", dict.fromkeys(small, asset))
    rest = node("getbalance")[asset] - 60
    node("sendtoaddress", addresses(1)[0], float(rest), "", "", False, True, 1, "UNSET", False, asset)
    node.mine()
    payees = addresses(MOST_PAYMENTS)
    amounts = {address: (80_000_000 + number) / 10**8 for number, address in enumerate(payees)}
    txid = node("sendmany", "", amounts, 0, "", [], False, 1, "UNSET", dict.fromkeys(payees, asset))
    entry = node.built.chain.entry(Txid.from_string(txid))
    assert entry is not None
    assert len(entry.tx.vin) > 50
    assert 0.9 * MAX_STANDARD_WEIGHT < entry.tx.weight() <= MAX_STANDARD_WEIGHT
