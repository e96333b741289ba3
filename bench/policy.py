"""The row of the policy: what the rules of an asset cost for each signature, beside a large register.

One issuer with 100,000 registered users who hold the asset, each with an AMP account, in a database on disk; a payment
to two of them with change, and one rule of each kind. Measured is what the cosigner does inside its transaction: gather
the facts and decide.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

import sqlalchemy as sa

from amp0.elements.hashes import sha256
from amp0.elements.transaction import OutPoint
from amp0.server.policy.facts import Movement, Source, Target
from amp0.server.policy.gate import judge
from amp0.server.store import asset_schema as tables
from amp0.server.store import schema
from amp0.server.store.engine import Store
from bench.rows import Bench, Row
from bench.rows import Target as Goal
from bench.samples import Samples, timed

USERS = 100_000
HELD = 1_000
NOW = 1_700_000_000  # a Tuesday
ASSET = sha256(b"asset")
RULES: Mapping[str, Mapping[str, Any]] = {
    "transfer_limit": {"satoshi": 500},
    "period_limit": {"satoshi": 5_000, "seconds": 86_400},
    "max_holders": {"holders": 150_000},
    "max_balance": {"satoshi": 10_000},
    "lock_up": {"until": NOW - 1},
    "holding_period": {"seconds": 86_400},
    "vesting": {"user_id": 1, "schedule": [[NOW + 86_400 * month, 10] for month in range(24)]},
    "frozen_holder": {"users": list(range(70_000, 71_000))},
    "time_window": {"weekdays": [1, 2, 3, 4, 5], "from": 0, "to": 1440},
    "issuer_burn": {"satoshi": 10, "until": NOW + 1},
}


def policy(bench: Bench) -> Iterator[Row]:
    """Three outputs, ten rules, 100,000 registered users; and a transfer that makes one more holder."""
    store = register(f"sqlite:///{bench.world.folder / 'policy.sqlite'}", USERS)
    yield Row(
        "policy decision: 3 outputs, 10 rules, 100,000 registered users", measured(store, 100 * bench.rounds),
        Goal(at_most=1.0), note="gathering from SQLite on disk included; the payees hold the asset already",
    )  # fmt: skip
    yield Row(
        "policy decision that makes a new holder of 100,001", measured(store, 100 * bench.rounds, new=True),
        Goal(at_most=1.0),
        note="the database keeps the number of holders that max_holders asks for",
    )  # fmt: skip
    store.close()


def measured(store: Store, samples: int, *, new: bool = False) -> Samples:
    """Samples of one decision, in turns over other payers and payees."""
    found = Samples()
    for i in range(samples):
        payer, first, second = 1 + i, USERS // 2 - i, USERS + 1 if new else USERS - i
        movement = Movement(
            (Source(0, OutPoint(_txid(payer), 0), payer, _script(payer)),),
            tuple(
                Target(vout, _script(account), ASSET, satoshi)
                for vout, (account, satoshi) in enumerate(((first, 100), (second, 100), (payer, HELD - 200)))
            ),
        )

        def decide(movement: Movement = movement) -> None:
            with store.snapshot() as db:
                (one,) = judge(db, movement, NOW)
            assert one.verdict.allowed, one.verdict

        found.add(timed(decide))
    return found


def register(url: str, users: int) -> Store:
    """A database with an asset and its holders; one more user, who holds nothing, has the last number.

    Nothing is analysed, as the server never does: SQLite plans without statistics.
    """
    store = Store.open(url)
    everybody = range(1, users + 2)
    with store.transaction() as db:
        db.execute(
            tables.principals.insert().values(
                id=1, username="issuer", person="issuer", salt=bytes(16), password_hash=bytes(32), token_generation=0,
                is_locked=0, created_at=0,
            )
        )  # fmt: skip
        db.execute(
            tables.assets.insert().values(
                id=1, uuid="asset", issuer_id=1, creator_id=1, asset_id=ASSET, entropy=bytes(32), name="asset",
                precision=0, contract="{}", is_confidential=0, transfer_restricted=1, is_locked=0, is_authorized=1,
                is_registered=0, memo="", checks_sender_categories=1, loosening_delay=0, required_approvals=0,
                policy_version=1, state="sent", issue_txid=bytes(32), issue_tx=b"", issue_vin=0, asset_vout=0,
                issued=users * HELD, tokens=0, destination_address="", token_address="", created_at=0,
            )
        )  # fmt: skip
        db.execute(tables.treasury_addresses.insert().values(asset=1, script_pubkey=b"t", address="t", added_at=0))
        db.execute(tables.categories.insert().values(id=1, issuer_id=1, name="accredited", created_at=0))
        db.execute(tables.category_assets.insert().values(category_id=1, asset=1))
        for tag, values in RULES.items():
            db.execute(
                tables.asset_rules.insert().values(
                    asset=1, tag=tag, parameters=json.dumps(values), created_at=0, created_by=1
                )
            )
        _many(db, schema.users, ({
            "id": i, "master_pubkey": _bytes(b"key", i, 33), "master_chain_code": bytes(32),
            "login_hash": _bytes(b"login", i, 20), "gait_path": bytes(64), "user_agent": "", "appearance": "{}",
            "cache_password": "", "csv_blocks": 1, "nlocktime_blocks": 1, "client_blob": "", "client_blob_hmac": "",
            "created_at": 0,
        } for i in everybody))  # fmt: skip
        _many(db, schema.accounts, ({
            "id": i, "user_id": i, "pointer": 1, "type": "2of2_no_recovery", "name": "", "receiving_id": f"GA{i}",
            "user_pubkey": bytes(33), "user_chain_code": bytes(32), "last_pointer": 1, "created_at": 0,
        } for i in everybody))  # fmt: skip
        _many(db, schema.addresses, ({
            "account_id": i, "pointer": 1, "script_pubkey": _script(i), "csv_blocks": 0,
        } for i in everybody))  # fmt: skip
        _many(db, tables.registered_users, ({
            "id": i, "issuer_id": 1, "creator_id": 1, "name": f"user {i}", "is_company": 0, "is_frozen": 0,
            "created_at": 0,
        } for i in everybody))  # fmt: skip
        _many(db, tables.user_gaids, ({
            "issuer_id": 1, "account_id": i, "user_id": i, "is_default": 1, "added_at": 0,
        } for i in everybody))  # fmt: skip
        _many(db, tables.category_users, ({"category_id": 1, "user_id": i} for i in everybody))
        holders = everybody[:-1]
        _many(db, tables.asset_txs, ({
            "txid": _txid(i), "asset": 1, "state": 1, "height": 5, "block_time": 0, "seen_at": 0, "kind": "transfer",
            "issued": 0, "burned": 0,
        } for i in holders))  # fmt: skip
        _many(db, tables.asset_outputs, ({
            "txid": _txid(i), "vout": 0, "asset": 1, "is_token": 0, "satoshi": HELD, "account_id": i, "pointer": 1,
            "is_burnt": 0, "state": 1, "height": 5, "acquired_at": 0, "script_pubkey": _script(i), "abf": bytes(32),
            "vbf": bytes(32),
        } for i in holders))  # fmt: skip
        _many(db, tables.asset_moves, ({
            "txid": _txid(i), "asset": 1, "account_id": i, "satoshi": 5, "decided_at": NOW - 100,
        } for i in holders))  # fmt: skip
    return store


def _many(db: sa.Connection, table: sa.Table, rows: Iterator[dict[str, Any]]) -> None:
    db.execute(table.insert(), list(rows))


def _bytes(what: bytes, number: int, length: int) -> bytes:
    return (sha256(b"%s %d" % (what, number)) * 2)[:length]


def _script(number: int) -> bytes:
    return b"\xa9\x14" + _bytes(b"script", number, 20) + b"\x87"


def _txid(number: int) -> Any:
    from amp0.elements.hashes import Txid

    return Txid(_bytes(b"tx", number, 32))
