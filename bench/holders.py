"""The row of the register: who holds an asset that 100,000 accounts hold, and that has been moved twice by each."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any, cast

import msgspec

from amp0.server import garbage
from amp0.server.issuer import assets, monitoring
from amp0.server.issuer.desk import Call, Principal, Role
from amp0.server.store import asset_schema as tables
from amp0.server.store import schema
from amp0.server.store.engine import Store
from bench.policy import USERS, register
from bench.rows import Bench, Row, Target
from bench.samples import Samples, timed

MOVES = 2
"""Outputs that each holder has spent since; only a register of the past still reads them."""
PAST, TIP = 20, 30


def holders(bench: Bench) -> Iterator[Row]:
    """``GET ownerships`` and ``ownerships/{height}``, from the question to the bytes of the answer."""
    store = register(f"sqlite:///{bench.world.folder / 'holders.sqlite'}", USERS)
    moved(store)
    # As in the server: what lives is not looked at again for each answer.
    garbage.set_aside()
    for name, target, path in (
        ("ownerships of 100,000 holders", Target(at_most=300), {}),
        ("ownerships of 100,000 holders at a past height", Target(), {"height": str(PAST)}),
    ):
        found = Samples()
        for _ in range(1 + 3 * bench.rounds):
            found.add(timed(lambda path=path: answer(store, path)))  # type: ignore[misc]
        note = f"SQLite on disk, {(1 + MOVES) * USERS:,} outputs; until the answer is encoded"
        yield Row(name, found, target, note=note)
    gc.unfreeze()
    store.close()


def answer(store: Store, path: dict[str, str]) -> bytes:
    """What the API answers, without HTTP around it."""
    issuer = Principal(1, 1, Role.ISSUER, "issuer", "issuer")
    with store.snapshot() as db:
        uuid = assets.load(db, 1).uuid
        call = Call(cast(Any, SimpleNamespace()), issuer, {"asset_uuid": uuid, **path}, connection=db)
        rows = monitoring.ownerships_at(call, None) if path else monitoring.ownerships(call, None)
    assert len(rows) == 1 + USERS, len(rows)
    return msgspec.json.encode(rows)


def moved(store: Store) -> None:
    """Give every holder a past: what they hold now was moved before."""
    outs = tables.asset_outputs
    with store.transaction() as db:
        for height in range(TIP - 15, TIP + 1):
            db.execute(
                schema.blocks.insert().values(
                    height=height, hash=height.to_bytes(32, "big"), previous_hash=bytes(32), time=height
                )
            )
        for move in range(MOVES):
            db.execute(
                outs.insert(),
                [
                    {
                        "txid": b"%032d" % (move * USERS + i), "vout": 0, "asset": 1, "is_token": 0, "satoshi": 7,
                        "account_id": i, "pointer": 1, "is_burnt": 0, "state": 1, "height": PAST - 1 - move,
                        "spent_by": bytes(32), "spent_vin": 0, "spent_state": 1, "spent_height": PAST + 1 - move,
                        "acquired_at": 0, "script_pubkey": b"\x00\x14" + i.to_bytes(20, "big"),
                        "abf": bytes(32), "vbf": bytes(32),
                    }
                    for i in range(1, USERS + 1)
                ],
            )  # fmt: skip
