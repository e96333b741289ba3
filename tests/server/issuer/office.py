"""The issuer's side in one process, for tests: a store in memory, a chain that is a dictionary, logins, AMP accounts.

    office = Office()
    acme = office.issuer("acme")                    # an Api with the issuer's token
    bob = office.account("bob")                     # an AMP account with uploaded addresses
    user = acme.ok("post", "/registered_users/add", {"name": "Bob", "GAID": bob.gaid}, status=201)
    acme.get("/registered_users").json()
    with office.transaction() as db: ...
    office.close()

The fixture ``office`` of this folder's conftest does the first and last line.
"""

from __future__ import annotations

import asyncio
import hashlib
import itertools
import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from types import SimpleNamespace
from typing import Any

import httpx
import sqlalchemy as sa
from sqlalchemy.engine import Connection
from starlette.applications import Starlette

from amp0.elements import wally
from amp0.elements.address import Address
from amp0.elements.hashes import Txid
from amp0.elements.transaction import Transaction
from amp0.network import Network
from amp0.protocol import rpc
from amp0.server import accounts, wallets
from amp0.server.attempts import Attempts
from amp0.server.context import Context, Publication, Session, Tip
from amp0.server.issuer import principals
from amp0.server.issuer.desk import Desk
from amp0.server.issuer.http import IssuerApi
from amp0.server.keys import ServiceKeys
from amp0.server.settings import Settings
from amp0.server.store import asset_schema, schema
from amp0.server.store.engine import Store, _make_engine
from amp0.server.websocket import Hub
from amp0.server.workers import Workers
from tests.server.talking import Clock, Wallet

NETWORK = Network.regtest_default()
PASSWORD = "correct horse battery"


def stretched() -> principals.Stretched:
    """Of :data:`PASSWORD`: made once, because that takes long; and once more for tests that bring a quicker way."""
    return _stretched_by(principals._stretch)


@cache
def _stretched_by(_way: Callable[[str, bytes], bytes]) -> principals.Stretched:
    return principals.Stretched.of(PASSWORD, lambda n: b"\x05" * n)


@cache
def _migrated() -> bytes:
    """An empty database of the present schema: migrating takes longer than most tests."""
    store = Store.open("sqlite://")
    driver: Any = store.engine.raw_connection().driver_connection
    image: bytes = driver.serialize()
    store.close()
    return image


def open_store(url: str = "sqlite://") -> Store:
    """A migrated store; the one in memory is a copy of one that was migrated before."""
    if url != "sqlite://":
        return Store.open(url)
    engine = _make_engine(sa.make_url(url), None)
    driver: Any = engine.raw_connection().driver_connection
    driver.deserialize(_migrated())
    return Store(engine)


@dataclass
class Api:
    """Somebody who talks to the API."""

    office: Office
    token: str | None = None
    id: int = 0
    username: str = ""

    def request(
        self,
        method: str,
        path: str,
        json: Any = None,
        *,
        content: bytes | str | None = None,
        headers: dict[str, str] | None = None,
        params: dict[str, Any] | None = None,
    ) -> httpx.Response:
        """One request; ``path`` is below ``/api``."""
        sent = {} if self.token is None else {"authorization": f"token {self.token}"}
        sent.update(headers or {})
        if json is not None:
            content = _encode(json)
        answer: httpx.Response = self.office.run(
            lambda client: client.request(method.upper(), "/api" + path, content=content, headers=sent, params=params)
        )
        return answer

    def get(self, path: str, json: Any = None, **more: Any) -> httpx.Response:
        return self.request("GET", path, json, **more)

    def post(self, path: str, json: Any = None, **more: Any) -> httpx.Response:
        return self.request("POST", path, json, **more)

    def put(self, path: str, json: Any = None, **more: Any) -> httpx.Response:
        return self.request("PUT", path, json, **more)

    def delete(self, path: str, json: Any = None, **more: Any) -> httpx.Response:
        return self.request("DELETE", path, json, **more)

    def ok(self, method: str, path: str, json: Any = None, *, status: int = 200, **more: Any) -> Any:
        """What a request that has to succeed answers; None for an empty body."""
        answer = self.request(method, path, json, **more)
        assert answer.status_code == status, f"{method} {path}: {answer.status_code} {answer.text}"
        return answer.json() if answer.content else None

    def refused(self, method: str, path: str, json: Any = None, *, status: int = 400, **more: Any) -> dict[str, Any]:
        """The error body of a request that has to fail."""
        answer = self.request(method, path, json, **more)
        assert answer.status_code == status, f"{method} {path}: {answer.status_code} {answer.text}"
        body = answer.json()
        assert isinstance(body, dict)
        return body


def _encode(value: Any) -> bytes:
    return json.dumps(value).encode()


@dataclass(frozen=True)
class AmpAccount:
    """An AMP account of a wallet. ``addresses``: the confidential ones that were uploaded, in order of pointers."""

    id: int
    gaid: str
    wallet: Wallet
    pointer: int
    addresses: Sequence[Address]

    @staticmethod
    def blinding_key(script_pubkey: bytes) -> bytes:
        """The private blinding key of each of its addresses."""
        return blinding_key(script_pubkey)


def blinding_key(script_pubkey: bytes) -> bytes:
    """A private blinding key for any script, the same for the same script."""
    return hashlib.sha256(b"blinding key of " + script_pubkey).digest()


def confidential(script_pubkey: bytes) -> Address:
    """The confidential address of a script, with :func:`blinding_key`."""
    return Address.from_script(NETWORK, script_pubkey, wally.public_key(blinding_key(script_pubkey)))


@dataclass
class Office:
    """The issuer's side, and what it stands on."""

    url: str = "sqlite://"
    settings: Settings = field(default_factory=Settings)
    wallet: Any = None
    """The fee wallet, for those who need one."""

    def __post_init__(self) -> None:
        self.clock = Clock()
        self.store = open_store(self.url)
        self.keys = ServiceKeys.test_key()
        self.chain: dict[Txid, Transaction] = {}
        self.sent: list[Transaction] = []
        self.height = 100
        self._random = itertools.count(1)
        self.desk = Desk(
            settings=self.settings,
            network=NETWORK,
            store=self.store,
            keys=self.keys,
            attempts=Attempts(self.settings.login_refill_seconds, self.clock),
            clock=self.clock,
            random=self.random,
            tip=lambda: Tip(self.height),
            fetch=self._fetch,
            broadcast=self._broadcast,
            wallet=self.wallet,
        )
        self.hub = Hub(self.settings, Workers(self.settings))
        self.api = IssuerApi(self.desk, self.hub)
        self.app = Starlette(routes=self.api.routes())
        self._runner = asyncio.Runner()

    def close(self) -> None:
        self._runner.close()
        self.hub.workers.close()
        self.store.close()

    def run(self, work: Callable[[httpx.AsyncClient], Any]) -> Any:
        """Let an HTTP client of this application do something."""

        async def play() -> Any:
            transport = httpx.ASGITransport(app=self.app, client=("192.0.2.7", 1234), raise_app_exceptions=True)
            async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
                return await work(client)

        return self._runner.run(play())

    def random(self, size: int) -> bytes:
        """Bytes that differ each time, and are the same in each run."""
        seed = next(self._random).to_bytes(8, "big")
        return hashlib.shake_256(seed).digest(size)

    def _fetch(self, txid: Txid) -> Transaction | None:
        return self.chain.get(txid)

    def _broadcast(self, tx: Transaction) -> Sequence[Publication]:
        self.chain[tx.txid()] = tx
        self.sent.append(tx)
        return ()

    @contextmanager
    def transaction(self) -> Iterator[Connection]:
        """The writing transaction."""
        with self.store.transaction() as db:
            yield db

    # --- people --------------------------------------------------------------------------------------------------

    @property
    def anybody(self) -> Api:
        """Somebody without a token."""
        return Api(self)

    def issuer(self, name: str = "acme") -> Api:
        """A new issuer, logged in; the password is :data:`PASSWORD`."""
        with self.store.transaction() as db:
            number = principals.create(db, None, name, stretched(), name, self.desk.now())
            token = principals.live_token(db, self.desk, number)
        return Api(self, token, number, name)

    def manager(self, issuer: Api, name: str, *assets: int, person: str | None = None, is_locked: bool = False) -> Api:
        """A new manager of an issuer, logged in, with assets (row numbers)."""
        with self.store.transaction() as db:
            number = principals.create(db, issuer.id, name, stretched(), person or name, self.desk.now())
            table = asset_schema.principals
            db.execute(sa.update(table).where(table.c.id == number).values(is_locked=int(is_locked)))
            for asset in assets:
                db.execute(asset_schema.manager_assets.insert().values(manager_id=number, asset=asset))
            token = principals.live_token(db, self.desk, number)
        return Api(self, token, number, name)

    # --- accounts and assets -------------------------------------------------------------------------------------

    def account(self, name: str = "alice", pointer: int = 1, *, uploaded: int = 20) -> AmpAccount:
        """An AMP account of a wallet, whose client has uploaded addresses as stock clients do."""
        wallet = Wallet(name)
        services: Any = SimpleNamespace(
            settings=self.settings, network=NETWORK, keys=self.keys, clock=self.clock, random=self.random
        )
        with self.store.transaction() as db:
            wallets.register(Context(services, Session(), db), wallet.registration())
            users = schema.users
            query = sa.select(users.c.id).where(users.c.master_pubkey == wallet.master.public_key)
            context = Context(services, Session(user_id=db.execute(query).scalar_one()), db)
            call = rpc.CreateSubaccount(pointer, "", rpc.ACCOUNT_TYPE, [wallet.account_xpub(pointer)], [""])
            gaid = accounts.create_subaccount(context, call)
            account = accounts.find(db, context.session.user_id, pointer, main=False)
            found = []
            for _ in range(uploaded):
                number = accounts.fund(context, rpc.Fund(pointer)).pointer
                table = schema.addresses
                here = (table.c.account_id == account.id) & (table.c.pointer == number)
                found.append(confidential(bytes(db.execute(sa.select(table.c.script_pubkey).where(here)).scalar_one())))
            if found:
                accounts.upload_addresses(context, rpc.UploadAddresses(pointer, [str(address) for address in found]))
        return AmpAccount(account.id, gaid, wallet, pointer, found)

    def asset(self, issuer: Api, **columns: Any) -> SimpleNamespace:
        """A row of an asset, as if it had been issued: ``id``, ``uuid`` and ``asset_id`` (internal order)."""
        seed = self.random(32)
        text = seed.hex()
        uuid = "-".join((text[:8], text[8:12], text[12:16], text[16:20], text[20:32]))
        row = {
            "uuid": uuid,
            "issuer_id": issuer.id,
            "creator_id": issuer.id,
            "asset_id": self.random(32),
            "token_id": self.random(32),
            "entropy": self.random(32),
            "name": "An asset",
            "ticker": "ASSET",
            "precision": 8,
            "domain": "example.com",
            "pubkey": b"\x02" * 33,
            "contract": "{}",
            "is_confidential": 0,
            "transfer_restricted": 1,
            "is_locked": 0,
            "is_authorized": 0,
            "is_registered": 0,
            "authorization_endpoint": None,
            "memo": "",
            "checks_sender_categories": 0,
            "loosening_delay": 0,
            "required_approvals": 0,
            "policy_version": 0,
            "state": "sent",
            "issue_txid": self.random(32),
            "issue_tx": b"",
            "issue_vin": 0,
            "asset_vout": 0,
            "token_vout": 1,
            "issued": 1_000_000,
            "tokens": 1,
            "destination_address": "",
            "token_address": "",
            "created_at": self.desk.now(),
            **columns,
        }
        with self.store.transaction() as db:
            table = asset_schema.assets
            number = int(db.execute(table.insert().values(row).returning(table.c.id)).scalar_one())
        return SimpleNamespace(id=number, uuid=row["uuid"], asset_id=row["asset_id"], token_id=row["token_id"])
