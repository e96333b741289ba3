"""The machine goes down in the middle of the day: nothing that was answered is forgotten, and clients come back."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from amp0 import Amp0, Amp0Pset, EsploraClient, Network, Signer, Wollet
from amp0.local.dev_client import DevClient
from tests.interop.lwk_peer import four_digit_ports
from tests.journeys.conftest import PASSWORD
from tests.patience import PATIENCE


def ports() -> dict[str, int]:
    # Not such as connections are given: one of them may have it when the stack comes back.
    names = ("wamp_port", "cosign_port", "chain_port")
    return dict(zip(names, four_digit_ports(3), strict=True))


@contextlib.contextmanager
def stack_process(folder: Path, chosen: dict[str, int]) -> Iterator[dict[str, Any]]:
    """``amp0 stack run`` as a process, killed without warning at the end."""
    options = [part for name, port in chosen.items() for part in (f"--{name.replace('_', '-')}", str(port))]
    command = [sys.executable, "-c", "from amp0.cli import main; main()", "stack", "run", "--json"]
    process = subprocess.Popen(
        [*command, "--data-dir", str(folder), *options], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    try:
        assert process.stdout is not None
        yield json.loads(process.stdout.readline())
    finally:
        process.kill()
        process.communicate(timeout=PATIENCE)


def set_up(network: Network, signer: Signer) -> str:
    from amp0 import Amp0Connected

    connected = Amp0Connected(network, signer.amp0_signer_data())
    with connected.login(signer.amp0_sign_challenge(connected.get_challenge())) as session:
        amp_id = session.create_amp0_account(1, signer.amp0_account_xpub(1))
        session.create_watch_only("venue", PASSWORD)
    return amp_id


def test_the_day_goes_on_after_kill_9(tmp_path: Path) -> None:
    chosen = ports()
    with stack_process(tmp_path, chosen) as ready, DevClient(ready["chain"]) as dev:
        network = Network.from_server(ready["cosign"])
        signer = Signer.random(network)
        amp_id = set_up(network, signer)
        amp0 = Amp0(network, "venue", PASSWORD, amp_id)
        chain = EsploraClient(ready["chain"], network)
        last = amp0.address(None)
        dev.faucet(str(last.address()), 40_000)
        dev.mine()
        wollet = Wollet(network, amp0.wollet_descriptor(), None)
        wollet.apply_update(chain.full_scan_to_index(wollet, amp0.last_index()))
        builder = network.tx_builder()
        builder.drain_lbtc_wallet()
        built = builder.finish_for_amp0(wollet)
        request = Amp0Pset(signer.sign(built.pset()), built.blinding_nonces())
        cosigned = amp0.sign(request)

    with stack_process(tmp_path, chosen) as ready, DevClient(ready["chain"]) as dev, amp0, chain:
        # The same objects, on connections of their own making.
        assert amp0.last_index() == last.index()
        assert amp0.address(None).index() == last.index() + 1
        assert chain.full_scan_to_index(wollet, amp0.last_index()) is None
        assert amp0.sign(request).to_bytes() == cosigned.to_bytes()
        assert amp0.cosigned(cosigned.txid()).to_bytes() == cosigned.to_bytes()
        txid = chain.broadcast(cosigned)
        height = dev.mine()
        wollet.apply_update(chain.full_scan_to_index(wollet, amp0.last_index()))
        assert wollet.transaction(txid).height() == height
        policy_asset = network.policy_asset()
        assert wollet.balance() == {policy_asset: 40_000 - cosigned.fee(policy_asset)}
