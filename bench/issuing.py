"""``python -m bench.issuing FOLDER``: an issuer with a thousand holders, on a stack with a node, in its own process.

Chain, node and server run as in ``amp0 stack run``, with their records on disk. The first line it prints says where
they are; for each line it then reads, the treasury gets its units back on paper: every holder has a new assignment
that waits to be distributed.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import sqlalchemy as sa

from amp0.elements import wally
from amp0.elements.hashes import sha256
from amp0.local.stack import Stack
from amp0.protocol import rpc
from amp0.server import accounts, wallets
from amp0.server.app import Server
from amp0.server.context import Context, Session
from amp0.server.store import asset_schema as tables
from amp0.server.store import schema
from tests.server.talking import Wallet

HOLDERS = 1_000
SATOSHI = 100_000
UPLOADED = 20
"""Addresses of each holder, so that there can be that many distributions."""
LOGIN = {"username": "bench", "password": "correct horse battery"}
PUBKEY = "0279be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798"


def register(server: Server, issuer: int, count: int) -> None:
    """Registered users, each with an AMP account whose client has uploaded addresses."""
    services, keys = server.services, server.services.keys
    now = int(services.clock())
    users, gaids = tables.registered_users, tables.user_gaids
    with services.store.transaction() as db:
        for number in range(count):
            wallet = Wallet(f"holder {number}")
            wallets.register(Context(services, Session(), db), wallet.registration())
            found = sa.select(schema.users.c.id).where(schema.users.c.master_pubkey == wallet.master.public_key)
            context = Context(services, Session(user_id=db.execute(found).scalar_one()), db)
            call = rpc.CreateSubaccount(1, "", rpc.ACCOUNT_TYPE, [wallet.account_xpub(1)], [""])
            accounts.create_subaccount(context, call)
            account = accounts.find(db, context.session.user_id, 1, main=False)
            for pointer in range(1, UPLOADED + 1):
                blinding = wally.public_key(sha256(account.witness_script(keys, pointer, 0)))
                here = (schema.addresses.c.account_id == account.id) & (schema.addresses.c.pointer == pointer)
                db.execute(schema.addresses.update().where(here).values(blinding_pubkey=blinding))
            row = {"issuer_id": issuer, "creator_id": issuer, "name": f"Holder {number}", "created_at": now}
            made = db.execute(users.insert().values(**row, is_company=0, is_frozen=0).returning(users.c.id))
            owner = {"issuer_id": issuer, "account_id": account.id, "user_id": made.scalar_one()}
            db.execute(gaids.insert().values(**owner, is_default=1, added_at=now))


def assign(server: Server, asset_uuid: str) -> None:
    """One assignment for each holder."""
    asset, rows = tables.assets, tables.assignments
    with server.services.store.transaction() as db:
        issued = db.execute(sa.select(asset.c.id, asset.c.issuer_id).where(asset.c.uuid == asset_uuid)).one()
        holders = db.execute(sa.select(tables.registered_users.c.id)).scalars().all()
        row = {"asset": issued.id, "creator_id": issued.issuer_id, "satoshi": SATOSHI, "is_ready": 1, "created_at": 0}
        db.execute(rows.insert(), [{**row, "user_id": holder} for holder in holders])


def issue(stack: Stack, http: httpx.Client, node: Any, token: str) -> str:
    """An asset in the node's wallet; its UUID."""
    body = {
        "name": "Bench asset", "amount": 10**15, "destination_address": node("getnewaddress"),
        "domain": "example.com", "ticker": "BENCH", "pubkey": PUBKEY,
    }  # fmt: skip
    made = http.post(f"{stack.api_url}/assets/issue", json=body, headers={"authorization": f"token {token}"})
    assert made.status_code == 201, made.text
    stack.dev.mine(2)
    return str(made.json()["asset_uuid"])


def serve(folder: Path) -> None:
    """Until the end of the standard input."""
    with Stack.on_free_ports(data_dir=folder, node_port=0) as stack, httpx.Client(timeout=60) as http:
        server, cookie = stack._server, stack.node_cookie
        assert server is not None
        assert cookie is not None
        url = str(stack.node_url).replace("://", f"://{cookie.read_text()}@")
        here = SimpleNamespace(id=http.post(f"{stack.chain_url}/dev/issuer", json=LOGIN).json()["id"])

        def node(method: str, *params: Any) -> Any:
            return http.post(url, json={"id": 1, "method": method, "params": params}).json()["result"]

        token = http.post(f"{stack.api_url}/user/obtain_token", json=LOGIN).json()["token"]
        asset_uuid = issue(stack, http, node, token)
        register(server, here.id, HOLDERS)
        shown = {"api": stack.api_url, "node": url, "token": token, "asset_uuid": asset_uuid, "chain": stack.chain_url}
        print(json.dumps(shown), flush=True)
        for line in sys.stdin:
            if line == "assign\n":
                assign(server, asset_uuid)
            else:
                height = stack.dev.mine(1)
                while server.watcher.height() < height:
                    time.sleep(0.01)
            print(line, end="", flush=True)


if __name__ == "__main__":
    serve(Path(sys.argv[1]))
