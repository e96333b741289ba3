"""``python -m bench.served FOLDER``: a server on disk, in a process of its own, that watches its own event loop.

It follows a chain without proofs and rules, so that nothing else is measured with it. The first line it prints has its
URL; each line it then reads is a command, answered by one line of JSON.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from amp0.server.app import Server, build
from amp0.server.keys import ServiceKeys
from amp0.server.settings import Listener, Settings
from amp0.server.store import schema
from tests.server.chain import FakeChain

_LOOK_SECONDS = 0.002
RANGE_PROOF, SURJECTION_PROOF = 4174, 67
"""Bytes of the proofs of an ordinary output."""


class Watch:
    """How late the event loop is: what it takes beyond the time it was asked to wait."""

    def __init__(self) -> None:
        self._late: list[float] = []

    async def run(self) -> None:
        """Look, for ever."""
        while True:
            began = time.perf_counter()
            await asyncio.sleep(_LOOK_SECONDS)
            self._late.append(time.perf_counter() - began - _LOOK_SECONDS)

    def take(self) -> dict[str, float]:
        """Milliseconds since the last look: the worst, and what one in a hundred exceeds."""
        late, self._late = sorted(self._late) or [0.0], []
        return {"worst": late[-1] * 1e3, "p99": late[int(0.99 * (len(late) - 1))] * 1e3}


def fill(server: Server, receiving_id: str, count: int) -> None:
    """Give an account unspent outputs, as its index would hold them."""
    store, acc = server.services.store, schema.accounts
    with store.transaction() as db:
        account = db.execute(sa.select(acc.c.id).where(acc.c.receiving_id == receiving_id)).scalar_one()
        script = db.execute(
            sa.select(schema.addresses.c.script_pubkey).where(schema.addresses.c.account_id == account).limit(1)
        ).scalar_one()
        txids = [os.urandom(32) for _ in range(count)]
        db.execute(
            sa.insert(schema.transactions),
            [
                {
                    "txid": txid,
                    "state": 1,
                    "height": 1,
                    "fee": 0,
                    "weight": 0,
                    "vsize": 0,
                    "first_seen_at": 0,
                    "changed_at": 0,
                    "raw": b"",
                }
                for txid in txids
            ],
        )
        db.execute(
            sa.insert(schema.outputs),
            [
                {
                    "txid": txid, "vout": 0, "account_id": account, "pointer": 1, "height": 1, "script_pubkey": script,
                    "asset_field": b"\x0a" + txid, "value_field": b"\x08" + txid, "nonce_field": b"\x02" + txid,
                    "range_proof": os.urandom(RANGE_PROOF), "surjection_proof": os.urandom(SURJECTION_PROOF),
                }
                for txid in txids
            ],
        )  # fmt: skip


async def serve(folder: Path) -> None:
    """Until the end of the standard input."""
    chain, watch = FakeChain(), Watch()
    settings = Settings(
        data_dir=folder, listen=(Listener("127.0.0.1", 0),), poll_seconds=3600.0, max_sessions=30_000,
        login_attempts=100_000,
    )  # fmt: skip
    server = build(settings, keys=ServiceKeys.test_key(), chain_client=chain.client())
    await server.start()
    await server.listen(own_process=True)
    looking = asyncio.create_task(watch.run())

    async def obey(command: dict[str, Any]) -> dict[str, Any]:
        if command["do"] == "block":
            chain.mine()
            await server.watcher.poll()
        elif command["do"] == "fill":
            await asyncio.to_thread(fill, server, command["receiving_id"], command["count"])
        return {**watch.take(), "sessions": len(server.hub.connections)}

    print(json.dumps({"wamp": server.network.wamp_url, "cosign": server.network.cosign_url}), flush=True)
    while line := await asyncio.to_thread(sys.stdin.readline):
        print(json.dumps(await obey(json.loads(line))), flush=True)
    looking.cancel()
    await server.stop()


if __name__ == "__main__":
    asyncio.run(serve(Path(sys.argv[1])))
