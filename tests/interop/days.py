"""The seed's day as scripts that run in LWK and in this package alike, word for word."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import amp0
from amp0.local.stack import Stack
from amp0.network import Network


class Peer(Protocol):
    """Somewhere scripts run, with the names of LWK or of this package, and with ``network`` set."""

    def run(self, script: str, **values: Any) -> Any:
        """Run a script with ``values`` among its names; what it leaves in ``result``."""
        ...


class OwnPeer:
    """This package's client, in this process, for the scripts that LWK runs in its own."""

    def __init__(self, network: Network) -> None:
        self._names: dict[str, Any] = {name: getattr(amp0, name) for name in amp0.__all__} | {"network": network}

    def run(self, script: str, **values: Any) -> Any:
        """Run a script; exceptions come as they are."""
        self._names.update(values, result=None)
        exec(compile(script, "<script>", "exec"), self._names)
        return self._names["result"]

    def close(self) -> None:
        """Close every connection a script has left open."""
        for value in self._names.values():
            if isinstance(value, amp0.Amp0 | amp0.Amp0Connected | amp0.Amp0LoggedIn | amp0.EsploraClient):
                value.close()


LBTC = "5ac9f65c0efcc4775e0baec4ec03abdde22473cd3cf33c0419ca290e0751b225"

# The Python of the seed, step by step, word for word but for network, URL and placeholders. LWK has no defaults.
SIGNER = """
signer = Signer(Mnemonic(mnemonic), network)
signer_data = signer.amp0_signer_data()
"""
LOGIN = """
amp0 = Amp0Connected(network, signer_data)
challenge = amp0.get_challenge()
sig = signer.amp0_sign_challenge(challenge)
amp0 = amp0.login(sig)
"""
ACCOUNT = """
pointer = amp0.next_account()
account_xpub = signer.amp0_account_xpub(pointer)
amp_id = amp0.create_amp0_account(pointer, account_xpub)
result = {"pointer": pointer, "amp_id": amp_id}
"""
WATCH_ONLY = """
amp0.create_watch_only(username, password)
"""
CONNECT = """
amp0 = Amp0(network, username, password, amp_id)
result = {"last_index": amp0.last_index(), "amp_id": amp0.amp_id(), "descriptor": str(amp0.wollet_descriptor())}
"""
RECEIVE = """
address = amp0.address(None)
addr = str(address.address())
result = {"address": addr, "index": address.index(), "last_index": amp0.last_index()}
"""
CLIENTS = {
    "waterfalls": "client = EsploraClient.new_waterfalls(url, network)",
    "esplora": "client = EsploraClient(url, network)",
    "waterfalls client": "client = WaterfallsClient(url, network)",
}
WOLLET = """
wollet_descriptor = amp0.wollet_descriptor()
wollet = Wollet(network, wollet_descriptor, None)
"""
SYNC = """
last_index = amp0.last_index()
update = client.full_scan_to_index(wollet, last_index)
if update is not None:
    wollet.apply_update(update)
balance = wollet.balance()
txs = wollet.transactions()
result = {
    "balance": balance,
    "transactions": [
        {"txid": str(tx.txid()), "type": tx.type(), "height": tx.height(), "fee": tx.fee(), "balance": tx.balance()}
        for tx in txs
    ],
}
"""
SIGN = """
pset = amp0pset.pset()
pset = signer.sign(pset)
amp0pset = Amp0Pset(pset, amp0pset.blinding_nonces())
"""
COSIGN = """
tx = amp0.sign(amp0pset)
result = {"txid": str(tx.txid()), "fee": tx.fee(network.policy_asset()), "tx": str(tx)}
"""
BROADCAST = """
txid = client.broadcast(tx)
result = str(txid)
"""


@dataclass
class Day:
    """One wallet with an account here, whoever looks after it, and the chain it looks at."""

    peer: Peer
    stack: Stack
    username: str
    password: str = "correct horse"

    def run(self, *scripts: str, **values: Any) -> Any:
        return self.peer.run("\n".join(scripts), url=self.stack.chain_url, **values)

    def open(self) -> dict[str, Any]:
        """Steps 1 and 2: signer, login, account, watch-only credentials."""
        mnemonic = self.peer.run("result = str(Mnemonic.from_random(12))")
        made: dict[str, Any] = self.run(SIGNER, LOGIN, ACCOUNT, mnemonic=mnemonic)
        self.run(WATCH_ONLY, username=self.username, password=self.password)
        return made | {"mnemonic": mnemonic}

    def funded(self, satoshi: int = 100_000) -> None:
        """Steps 1 to 4: an account with one confirmed coin that the wollet knows."""
        self.open()
        self.run(CONNECT)
        self.stack.dev.faucet(self.run(RECEIVE)["address"], satoshi)
        self.stack.dev.mine()
        assert self.run(CLIENTS["waterfalls"], WOLLET, SYNC)["balance"] == {LBTC: satoshi}
