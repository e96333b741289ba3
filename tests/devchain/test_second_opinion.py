"""LWK's verifier on the transactions our faucet makes: another implementation, the same verdict."""

from __future__ import annotations

from typing import Any

import pytest

from amp0.devchain.chain import Chain
from amp0.devchain.faucet import Faucet, Payment
from amp0.elements.hashes import Txid
from amp0.elements.script import p2wpkh
from tests.devchain.kit import BLINDING_PUBKEY, new_chain

lwk: Any = pytest.importorskip("lwk", reason="the lwk wheel has no build for this platform: no second opinion")
pytestmark = pytest.mark.interop
SCRIPT = p2wpkh(b"\x01" * 20)


def _everything(faucet: Faucet) -> list[Txid]:
    asset, issued = faucet.issue(100_000)
    return [
        issued,
        faucet.pay(Payment(SCRIPT, BLINDING_PUBKEY, 1_000)),
        faucet.pay(Payment(SCRIPT, BLINDING_PUBKEY, 7, asset)),
        faucet.pay_together(
            [
                Payment(SCRIPT, BLINDING_PUBKEY, 10**9),
                Payment(SCRIPT, BLINDING_PUBKEY, 9, asset),
                Payment(SCRIPT, None, 5_000),
            ]
        ),
    ]


def _with_spent(chain: Chain, txid: Txid) -> tuple[Any, list[Any]]:
    entry = chain.entry(txid)
    assert entry is not None
    spent = []
    for txin in entry.tx.vin:
        parent = chain.entry(txin.prevout.hash)
        assert parent is not None
        spent.append(lwk.Transaction.from_bytes(parent.tx.to_bytes()).outputs()[txin.prevout.vout()])
    return lwk.Transaction.from_bytes(entry.tx.to_bytes()), spent


def test_lwk_verifies_what_the_faucet_makes() -> None:
    chain, faucet = new_chain()
    for txid in _everything(faucet):
        theirs, spent = _with_spent(chain, txid)
        assert str(theirs.txid()) == str(txid)
        theirs.verify_tx_amt_proofs(spent)
        with pytest.raises(lwk.LwkError):
            theirs.verify_tx_amt_proofs([theirs.outputs()[0]] * len(spent))
