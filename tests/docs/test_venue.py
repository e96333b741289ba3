"""docs/venue.md runs as it stands, and its Python is the specification's, word for word, and then some of our own.

Only imports (``lwk`` → ``amp0``), the network, the URL and the ``<…>`` placeholders may differ. To run, the page's
network and URL become those of a stack on free ports, and the faucet pays where the page says so.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from amp0 import Mnemonic, Network
from amp0.local.stack import Stack
from tests.patience import until

PAGE = Path(__file__).resolve().parent.parent.parent / "docs" / "venue.md"
URL = "http://127.0.0.1:3000"

#: The Python of "AMP0 Assets", the specification, block by block as published.
SPECIFICATION = [
    """
from lwk import Network, Signer, Mnemonic, Amp0Connected
network = Network.testnet()
mnemonic = "<mnemonic>"
signer = Signer(Mnemonic(mnemonic), network)
signer_data = signer.amp0_signer_data()
""",
    """
amp0 = Amp0Connected(network, signer_data)
challenge = amp0.get_challenge()
sig = signer.amp0_sign_challenge(challenge)
amp0 = amp0.login(sig)
""",
    """
pointer = amp0.next_account()
account_xpub = signer.amp0_account_xpub(pointer)
amp_id = amp0.create_amp0_account(pointer, account_xpub)
""",
    """
username = "<username>"
password = "<password>"
amp0.create_watch_only(username, password)
""",
    """
from lwk import Amp0
amp0 = Amp0(network, username, password, amp_id)
""",
    """
addr = str(amp0.address(None).address())
print(f"Deposit here: {addr}")
""",
    """
from lwk import Wollet, EsploraClient
wollet_descriptor = amp0.wollet_descriptor()
wollet = Wollet(network, wollet_descriptor, None)
url = "https://waterfalls.liquidwebwallet.org/liquidtestnet/api"
client = EsploraClient.new_waterfalls(url, network)
last_index = amp0.last_index()
update = client.full_scan_to_index(wollet, last_index)
wollet.apply_update(update)
balance = wollet.balance()
txs = wollet.transactions()
""",
    """
from lwk import Amp0Pset
# 1. Build PSET with the AMP0 variant
b = network.tx_builder()
b.drain_lbtc_wallet() # or b.add_recipient(...)
amp0pset = b.finish_for_amp0(wollet)
# 2. User signs the PSET
pset = amp0pset.pset()
pset = signer.sign(pset)
# 3. Reassemble
amp0pset = Amp0Pset(pset, amp0pset.blinding_nonces())
# 4. AMP0 cosigns
tx = amp0.sign(amp0pset)
# 5. Broadcast
txid = client.broadcast(tx)
""",
]


def blocks() -> list[str]:
    return re.findall(r"^```python\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)


def statements(block: str) -> list[str]:
    """The lines that say something; blanks and the spaces before a comment are layout."""
    return [re.sub(r"\s+#", " #", line).strip() for line in block.splitlines() if line.strip()]


def test_the_page_has_the_specification_s_python_word_for_word() -> None:
    expected = [
        statements(
            block.replace("from lwk import", "from amp0 import")
            .replace("Network.testnet()", "Network.regtest_default()")
            .replace("https://waterfalls.liquidwebwallet.org/liquidtestnet/api", URL)
        )
        for block in SPECIFICATION
    ]
    found = [statements(block) for block in blocks()]
    assert found[: len(expected)] == expected
    # What the specification does not have stands after it.
    own = [" ".join(block) for block in found[len(expected) :]]
    assert [next(word for word in ("preflight", "CosignRefused", "asyncio") if word in block) for block in own] == [
        "preflight", "CosignRefused", "CosignRefused"
    ]  # fmt: skip


def run_page(stack: Stack, monkeypatch: pytest.MonkeyPatch, *, waterfalls: bool, username: str) -> dict[str, Any]:
    """Run every block in one namespace, as a reader would; the faucet pays after the address is shown.

    Before the payment the server knows of the deposit, and from then on it reads nothing new: what the page prints is
    what it says of coins that are promised, and it would say something else once it has seen them spent.
    """
    monkeypatch.setattr(Network, "regtest_default", classmethod(lambda cls: stack.network))
    namespace: dict[str, Any] = {}
    with ExitStack() as following:
        for place, block in enumerate(blocks()):
            text = (
                block.replace("<mnemonic>", str(Mnemonic.from_random(12)))
                .replace("<username>", username)
                .replace("<password>", "correct horse")
                .replace(URL, stack.chain_url)
            )
            if not waterfalls:
                text = text.replace("EsploraClient.new_waterfalls(url, network)", "EsploraClient(url, network)")
            if "client.broadcast(" in text:
                following.enter_context(not_followed(stack))
            exec(compile(text, f"docs/venue.md block {place + 1}", "exec"), namespace)
            if "Deposit here" in text:
                stack.dev.faucet(namespace["addr"], 100_000)
                stack.dev.mine()
    return namespace


@contextmanager
def not_followed(stack: Stack) -> Iterator[None]:
    """The server has read all of the chain, and meanwhile reads no more of it."""
    server = stack._server
    assert server is not None
    reading = server.watcher._round
    height = stack.dev.mine()
    until(lambda: server.watcher.height() >= height)

    async def release() -> None:
        reading.release()

    stack._host.call(reading.acquire())
    try:
        yield
    finally:
        stack._host.call(release())


@pytest.mark.parametrize("waterfalls", [True, False], ids=["waterfalls", "esplora"])
def test_the_page_runs_and_the_payment_confirms(
    stack: Stack, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], waterfalls: bool
) -> None:
    name = f"page-{'waterfalls' if waterfalls else 'esplora'}"
    end = run_page(stack, monkeypatch, waterfalls=waterfalls, username=name)
    policy_asset = stack.network.policy_asset()
    assert end["balance"] == {policy_asset: 100_000}
    assert end["verdict"].allowed
    printed = capsys.readouterr().out
    # Whether the server has met the first payment in the mempool meanwhile is a matter of luck; it knows it either way.
    assert re.search(rf"^(alreadysigned (True|False) {end['txid']}|spentinput False )", printed, re.MULTILINE), printed
    assert re.search(rf"^(alreadysigned|spentinput) asset None .*{end['txid']}", printed, re.MULTILINE), printed
    assert end["again"] == str(end["txid"])
    assert [row.type() for row in end["txs"]] == ["incoming"]

    stack.dev.mine(2)
    wollet, client, amp0 = end["wollet"], end["client"], end["amp0"]
    wollet.apply_update(client.full_scan_to_index(wollet, amp0.last_index()))
    fee = end["tx"].fee(policy_asset)
    assert wollet.balance() == {policy_asset: 100_000 - fee}
    assert wollet.transaction(end["txid"]).height() is not None

    # A second look finds nothing new, and that is no error.
    update = client.full_scan_to_index(wollet, amp0.last_index())
    assert update is None
    wollet.apply_update(update)
