"""The Rust client's calls in their order, with its own models of every answer, over real HTTP.

The models are typed as that client types them, from its description: a field that is ``i64`` there has to be an int
here and never null, an ``f64`` any JSON number, and keys that it does not know are ignored. Its odd calls are made as
it makes them: GET and DELETE with a JSON body, POST with ``Content-Length: 0`` and no body, PUT without one.
"""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

import msgspec
import pytest
from msgspec import Struct, field

from amp0.local.stack import Stack
from tests.interop.issuing import CONTRACT_PUBKEY, PASSWORD, Issuing

T = TypeVar("T")


class TokenResponse(Struct):
    token: str


class ChangePasswordResponse(Struct):
    username: str
    password: str
    token: str


class Asset(Struct):
    name: str
    asset_uuid: str
    issuer: int
    asset_id: str
    reissuance_token_id: str | None
    requirements: list[int]
    ticker: str | None
    precision: int
    domain: str | None
    pubkey: str | None
    is_registered: bool
    is_authorized: bool
    is_locked: bool
    issuer_authorization_endpoint: str | None
    transfer_restricted: bool


class IssuanceResponse(Struct):
    name: str
    amount: int
    destination_address: str
    domain: str
    ticker: str
    precision: int
    pubkey: str
    is_confidential: bool
    is_reissuable: bool
    reissuance_amount: int
    reissuance_address: str
    asset_id: str
    reissuance_token_id: str | None
    asset_uuid: str
    txid: str
    vin: int
    asset_vout: int
    reissuance_vout: int | None
    issuer_authorization_endpoint: str | None
    transfer_restricted: bool
    issuance_assetblinder: str
    issuance_tokenblinder: str | None


class RegisteredUser(Struct):
    id: int
    gaid: str | None = field(name="GAID")
    is_company: bool = field()
    name: str = field()
    categories: list[int] = field()
    creator: int = field()


class Category(Struct):
    id: int
    name: str
    description: str | None
    registered_users: list[int]
    assets: list[str]


class Assignment(Struct):
    id: int
    registered_user: int
    amount: int
    receiving_address: str | None
    distribution_uuid: str | None
    ready_for_distribution: bool
    vesting_datetime: str | None
    vesting_timestamp: int | None
    has_vested: bool
    is_distributed: bool
    creator: int
    gaid: str | None = field(name="GAID")
    investor: int | None = None


class PaidAssignment(Struct):
    registered_user: int
    amount: int
    vout: int


class DistributionTransaction(Struct):
    txid: str
    transaction_status: str
    included_blockheight: int
    confirmed_datetime: str
    assignments: list[PaidAssignment]


class Distribution(Struct):
    distribution_uuid: str
    distribution_status: str
    transactions: list[DistributionTransaction]


class DistributionFile(Struct):
    distribution_uuid: str
    asset_id: str
    map_address_amount: dict[str, float]
    map_address_asset: dict[str, str]
    base_url: str


class Outpoint(Struct):
    txid: str
    vout: int


class ReissueRequest(Struct):
    command: str
    min_supported_client_script_version: int
    base_url: str
    asset_uuid: str
    asset_id: str
    amount: float
    reissuance_utxos: list[Outpoint]


class ReissueConfirmed(Struct):
    txid: str
    vin: int
    reissuance_amount: int


class BurnCreate(Struct):
    command: str
    min_supported_client_script_version: int
    base_url: str
    asset_uuid: str
    asset_id: str
    amount: float
    utxos: list[Outpoint]


class Ownership(Struct):
    owner: str | None
    amount: int
    gaid: str | None = field(name="GAID")


class Balance(Struct):
    confirmed_balance: list[Ownership]
    lost_outputs: list[Outpoint]
    reissuance_lost_outputs: list[Outpoint]


class LostOutputs(Struct):
    lost_outputs: list[Outpoint]
    reissuance_lost_outputs: list[Outpoint]


class Summary(Struct):
    asset_id: str
    reissuance_token_id: str | None
    issued: int
    reissued: int
    assigned: int
    distributed: int
    burned: int
    blacklisted: int
    registered_users: int
    active_registered_users: int
    active_green_subaccounts: int
    reissuance_tokens: int


class Activity(Struct):
    kind: str = field(name="type")
    datetime: str = field()
    description: str = field()
    txid: str = field()
    vout: int = field()
    blockheight: int = field()
    asset_blinder: str = field()
    amount_blinder: str = field()
    registered_user: int | None = field(name="registered user")
    gaid: str | None = field(name="GAID")
    amount: int = field()


class TxIn(Struct):
    asset_id: str
    vin: int
    prev_txid: str
    prev_vout: int
    amount: int
    asset_blinder: str
    amount_blinder: str
    registered_user: int | None
    gaid: str | None = field(name="GAID")
    is_treasury: bool = field()


class TxOut(Struct):
    asset_id: str
    vout: int
    amount: int
    asset_blinder: str
    amount_blinder: str
    registered_user: int | None
    gaid: str | None = field(name="GAID")
    is_treasury: bool = field()
    is_spent: bool = field()
    is_burnt: bool = field()


class AssetTransaction(Struct):
    txid: str
    datetime: str
    blockheight: int
    is_issuance: bool
    is_reissuance: bool
    is_distribution: bool
    inputs: list[TxIn]
    outputs: list[TxOut]
    unblinded_url: str


class Utxo(Struct):
    txid: str
    vout: int
    asset: str
    amount: int
    registered_user: int | None
    gaid: str | None
    blacklisted: bool


class Reissuance(Struct):
    txid: str
    vout: int
    destination_address: str
    reissuance_amount: int
    confirmed_in_block: str
    created: str


class GaidBalance(Struct):
    asset_uuid: str
    asset_id: str
    balance: int


class Validity(Struct):
    is_valid: bool
    error: str


class AddressResponse(Struct):
    address: str
    error: str


class UserSummary(Struct):
    asset_uuid: str
    asset_id: str
    assignments: list[Assignment]
    assignments_sum: int
    distributions: list[Distribution]
    distributions_sum: int
    balance: int


class Manager(Struct):
    username: str
    id: int
    is_locked: bool
    assets: list[str]


class RustClient:
    """Its HTTP, and its reading of answers."""

    def __init__(self, issuing: Issuing) -> None:
        self.issuing = issuing
        self.token = issuing.token

    def send(self, method: str, path: str, body: Any = None, *, token: bool = True) -> tuple[int, bytes]:
        """One request without anything that a library adds: an absent body is ``Content-Length: 0``."""
        url = urlsplit(self.issuing.stack.api_url)
        content = b"" if body is None else json.dumps(body).encode()
        head = [f"{method} {url.path}{path} HTTP/1.1", f"host: {url.netloc}", "connection: close"]
        head += [f"authorization: token {self.token}"] if token else []
        head += ["content-type: application/json"] if content else []
        head += [f"content-length: {len(content)}"]
        with socket.create_connection((url.hostname or "", url.port or 0), timeout=60) as connection:
            connection.sendall("\r\n".join([*head, "", ""]).encode() + content)
            answer = b"".join(iter(lambda: connection.recv(65536), b""))
        status, _, rest = answer.partition(b"\r\n")
        return int(status.split()[1]), rest.partition(b"\r\n\r\n")[2]

    def read(self, model: type[T], method: str, path: str, body: Any = None) -> T:
        """An answer of a model; any 2xx is success."""
        status, content = self.send(method, path, body)
        assert 200 <= status < 300, f"{method} {path}: {status} {content!r}"
        return msgspec.json.decode(content, type=model)

    def tell(self, method: str, path: str, body: Any = None) -> None:
        """A call whose answer is not read."""
        status, content = self.send(method, path, body)
        assert 200 <= status < 300, f"{method} {path}: {status} {content!r}"

    def fails(self, method: str, path: str, body: Any = None) -> str:
        """The text of an error."""
        status, content = self.send(method, path, body)
        assert status >= 400, f"{method} {path}: {status}"
        return f"{status} {content.decode()}"


@pytest.fixture(scope="module")
def stack() -> Iterator[Stack]:
    with Stack.on_free_ports(node_port=0) as running:
        yield running


@pytest.fixture
def issuing(stack: Stack, tmp_path: Path) -> Iterator[Issuing]:
    made = Issuing(stack, tmp_path)
    yield made
    made.close()


@pytest.fixture
def rust(issuing: Issuing) -> RustClient:
    return RustClient(issuing)


def test_tokens(rust: RustClient) -> None:
    """It probes spellings that are not there, and logs in again beside its own cached token."""
    credentials = {"username": rust.issuing.username, "password": PASSWORD}
    status, content = rust.send("POST", "/user/obtain_token", credentials, token=False)
    assert status == 200
    assert msgspec.json.decode(content, type=TokenResponse).token == rust.token
    assert rust.fails("POST", "/user/refresh_token").startswith("404")
    # A live test of it calls this with a dummy password as a probe, and counts on its failing.
    assert rust.fails("POST", "/user/change_password", {"password": "dummy"}).startswith("404")
    assert rust.read(list[Asset], "GET", "/assets") == []
    changed = rust.read(ChangePasswordResponse, "POST", "/user/change-password", {"password": PASSWORD + "!"})
    assert (changed.username, changed.password) == (rust.issuing.username, PASSWORD + "!")
    assert rust.fails("GET", "/assets").startswith("401")
    rust.token = changed.token
    assert rust.read(list[Asset], "GET", "/assets") == []
    for path in ("/asset_groups", "/audits", "/asset_permissions", "/tx/broadcast"):
        assert rust.fails("GET", path).startswith("404")


def issue(rust: RustClient, **changes: Any) -> IssuanceResponse:
    """Optional keys are left out when they are unset."""
    body = {
        "name": "Rust test asset",
        "amount": 1_000_000_000,
        "destination_address": rust.issuing.node("getnewaddress"),
        "domain": "example.com",
        "ticker": "RUST",
        "pubkey": CONTRACT_PUBKEY,
        "is_reissuable": True,
        "reissuance_amount": 1,
        "reissuance_address": rust.issuing.node("getnewaddress"),
        **changes,
    }
    made = rust.read(IssuanceResponse, "POST", "/assets/issue", {k: v for k, v in body.items() if v is not None})
    rust.issuing.mine(2)
    return made


def test_an_asset_that_cannot_be_reissued(rust: RustClient) -> None:
    """What it did not send comes back as 0 and an empty text, never as null."""
    made = issue(rust, is_reissuable=None, reissuance_amount=None, reissuance_address=None)
    assert (made.reissuance_amount, made.reissuance_address, made.reissuance_token_id) == (0, "", None)
    assert made.transfer_restricted
    assert not made.is_confidential


def test_the_whole_life_of_an_asset(rust: RustClient) -> None:
    issuing = rust.issuing
    made = issue(rust)
    path = f"/assets/{made.asset_uuid}"
    assert made.asset_uuid in {asset.asset_uuid for asset in rust.read(list[Asset], "GET", "/assets/")}

    # After two confirmations: treasury, authorization.
    assert "already been added" in rust.fails("POST", f"{path}/treasury-addresses/add", [made.destination_address])
    assert "Invalid value" in rust.fails("POST", f"{path}/treasury-addresses/add", ["vjU" + "x" * 77])
    extra = issuing.node("getnewaddress")
    rust.tell("POST", f"{path}/treasury-addresses/add", [extra])
    assert extra in rust.read(list[str], "GET", f"{path}/treasury-addresses")
    rust.tell("DELETE", f"{path}/treasury-addresses/delete", [extra])
    assert extra not in rust.read(list[str], "GET", f"{path}/treasury-addresses")
    assert rust.read(Asset, "GET", f"{path}/register-authorized").is_authorized
    assert "already authorized" in rust.fails("GET", f"{path}/register-authorized")
    assert rust.read(Asset, "PUT", f"{path}/lock").is_locked
    assert not rust.read(Asset, "PUT", f"{path}/unlock").is_locked
    rust.tell("POST", f"{path}/memo/set", 'with "quotes"')
    assert rust.read(str, "GET", f"{path}/memo") == 'with "quotes"'

    # Who may hold it.
    category = rust.read(Category, "POST", "/categories/add", {"name": "Rust", "description": None})
    rust.tell("PUT", f"/categories/{category.id}/assets/{made.asset_uuid}/add")
    gaid = issuing.gaid()
    user = rust.read(
        RegisteredUser, "POST", "/registered_users/add", {"name": "Alice", "GAID": None, "is_company": False}
    )
    rust.tell("POST", f"/registered_users/{user.id}/gaids/add", gaid)
    rust.tell("POST", f"/registered_users/{user.id}/gaids/set-default", gaid)
    again = {"name": "Bob", "GAID": gaid, "is_company": False}
    assert "GAID was already created" in rust.fails("POST", "/registered_users/add", again)
    assert rust.read(Category, "PUT", f"/categories/{category.id}/registered_users/{user.id}/add").registered_users
    assert rust.read(Validity, "GET", f"/gaids/{gaid}/validate").is_valid
    assert rust.read(AddressResponse, "GET", f"/gaids/{gaid}/address").error == ""
    assert rust.read(RegisteredUser, "GET", f"/gaids/{gaid}/registered_user").id == user.id

    # Assign one by one, waiting while the treasury does not have it; distribute.
    one = {"registered_user": user.id, "amount": 600_000_000, "ready_for_distribution": True, "vesting_timestamp": None}
    many = one | {"amount": 2_000_000_000}
    error = rust.fails("POST", f"{path}/assignments/create", {"assignments": [many]})
    assert "not enough in the treasury balance" in error
    (assigned,) = rust.read(list[Assignment], "POST", f"{path}/assignments/create", {"assignments": [one]})
    ignored = {"assignments": [{"user_uuid": "x", "amount": 6.0, "address": "y"}]}
    file = rust.read(DistributionFile, "GET", f"{path}/distributions/create", ignored)
    assert list(file.map_address_amount.values()) == [6.0]
    (open_one,) = rust.read(list[Distribution], "GET", f"{path}/distributions")
    assert (open_one.distribution_status, open_one.transactions) == ("UNCONFIRMED", [])
    amounts = file.map_address_amount
    txid = issuing.node("sendmany", "", amounts, 0, "", [], False, 1, "UNSET", file.map_address_asset)
    issuing.mine(2)
    rust.tell(
        "POST", f"{path}/distributions/{file.distribution_uuid}/confirm", distributed(issuing, txid, made.asset_id)
    )
    confirmed = rust.read(Distribution, "GET", f"{path}/distributions/{file.distribution_uuid}")
    assert confirmed.transactions[0].assignments[0].amount == 600_000_000
    assert rust.read(Assignment, "GET", f"{path}/assignments/{assigned.id}").is_distributed
    assert rust.fails("DELETE", f"{path}/assignments/{assigned.id}/delete").startswith("400")

    # Reissue and burn: it reads what is lost first.
    assert rust.read(LostOutputs, "GET", f"{path}/lost-outputs").lost_outputs == []
    asked = rust.read(ReissueRequest, "POST", f"{path}/reissue-request", {"amount_to_reissue": 1_000_000_000})
    assert asked.amount == 10.0
    output = issuing.node("reissueasset", asked.asset_id, asked.amount)
    issuing.mine(2)
    body = {
        "details": issuing.node("gettransaction", output["txid"])["details"],
        "reissuance_output": output,
        "listissuances": issuing.node("listissuances"),
    }
    reissued = rust.read(ReissueConfirmed, "POST", f"{path}/reissue-confirm", body)
    assert reissued.reissuance_amount == 1_000_000_000
    assert len(rust.read(list[Reissuance], "GET", f"{path}/reissuances")) == 1
    burn = rust.read(BurnCreate, "POST", f"{path}/burn-request", {"amount": 150_000_000})
    assert (burn.command, burn.amount) == ("burn", 1.5)
    txid = issuing.node("destroyamount", burn.asset_id, burn.amount)
    issuing.mine(2)
    change = distributed(issuing, txid, made.asset_id)["change_data"]
    status, content = rust.send("POST", f"{path}/burn-confirm", {"tx_data": {"txid": txid}, "change_data": change})
    assert (status, content) == (200, b"")

    # What it reads of an asset, its paging in the bodies of GETs.
    summary = rust.read(Summary, "GET", f"{path}/summary")
    assert (summary.issued, summary.reissued, summary.burned) == (1_000_000_000, 1_000_000_000, 150_000_000)
    balance = rust.read(Balance, "GET", f"{path}/balance")
    assert {one.gaid: one.amount for one in balance.confirmed_balance} == {None: 1_250_000_000, gaid: 600_000_000}
    assert rust.read(list[Ownership], "GET", f"{path}/ownerships") == balance.confirmed_balance
    assert rust.read(list[Ownership], "GET", f"{path}/ownerships/1")[0].amount == 0
    kinds = {one.kind for one in rust.read(list[Activity], "GET", f"{path}/activities")}
    assert {"issuance", "reissuance", "burn"} <= kinds
    paging = {"start": 1, "count": 2, "sortcolumn": "blockheight", "sortorder": "asc"}
    assert len(rust.read(list[Activity], "GET", f"{path}/activities", paging)) == 2
    txs = rust.read(list[AssetTransaction], "GET", f"{path}/txs")
    assert [(tx.is_issuance, tx.is_distribution, tx.is_reissuance) for tx in txs] == [
        (True, False, False),
        (False, True, False),
        (False, False, True),
        (False, False, False),
    ]
    assert rust.read(list[AssetTransaction], "GET", f"{path}/txs", {"start": 1, "count": 1}) == txs[1:2]
    assert rust.read(AssetTransaction, "GET", f"{path}/txs/{txs[2].txid}") == txs[2]
    utxos = rust.read(list[Utxo], "GET", f"{path}/utxos")
    (theirs,) = [one for one in utxos if one.gaid == gaid]
    chosen = [{"txid": theirs.txid, "vout": theirs.vout}]
    assert rust.read(list[Utxo], "POST", f"{path}/utxos/blacklist", chosen)[0].blacklisted
    assert not rust.read(list[Utxo], "POST", f"{path}/utxos/whitelist", chosen)[0].blacklisted
    balances = rust.read(list[GaidBalance], "GET", f"/gaids/{gaid}/balance")
    assert GaidBalance(made.asset_uuid, made.asset_id, 600_000_000) in balances
    assert rust.read(GaidBalance, "GET", f"/gaids/{gaid}/balance/{made.asset_uuid}").balance == 600_000_000
    # One asset concerns the user, so that it is the object that this client reads.
    shown = rust.read(UserSummary, "GET", f"/registered_users/{user.id}/summary")
    assert (shown.assignments_sum, shown.distributions_sum, shown.balance) == (600_000_000, 600_000_000, 600_000_000)

    # Its clean-up: what is refused is tolerated.
    rust.send("DELETE", f"/registered_users/{user.id}/delete")
    rust.send("DELETE", f"/categories/{category.id}/delete")
    assert rust.send("DELETE", f"{path}/delete") == (204, b"")


def distributed(issuing: Issuing, txid: str, asset_id: str) -> dict[str, Any]:
    """Its payload: of ``listunspent``'s entries it keeps a part, and writes one key its own way."""
    kept = ("txid", "vout", "amount", "asset", "address", "spendable", "confirmations", "amountblinder", "assetblinder")
    change = [
        {**{key: row[key] for key in kept}, "scriptpubkey": row["scriptPubKey"]}
        for row in issuing.node("listunspent")
        if row["txid"] == txid and row["asset"] == asset_id
    ]
    return {
        "tx_data": {"txid": txid, "details": issuing.node("gettransaction", txid)["details"]},
        "change_data": change,
    }


def test_cancelling(rust: RustClient) -> None:
    made = issue(rust)
    path = f"/assets/{made.asset_uuid}"
    user = rust.issuing.holder("Carol")
    one = {"registered_user": user, "amount": 5, "ready_for_distribution": True}
    rust.tell("POST", f"{path}/assignments/create", {"assignments": [one]})
    file = rust.read(DistributionFile, "GET", f"{path}/distributions/create")
    rust.tell("DELETE", f"{path}/distributions/{file.distribution_uuid}/cancel")
    assert rust.read(list[Distribution], "GET", f"{path}/distributions") == []
    (freed,) = rust.read(list[Assignment], "GET", f"{path}/assignments")
    assert (freed.distribution_uuid, freed.receiving_address) == (None, None)
    rust.tell("DELETE", f"{path}/assignments/{freed.id}/delete")


def test_managers(rust: RustClient) -> None:
    made = issue(rust)
    body = {"username": f"manager of {rust.issuing.username}", "password": PASSWORD}
    manager = rust.read(Manager, "POST", "/managers/create", body)
    assert manager.is_locked
    assert not rust.read(Manager, "PUT", f"/managers/{manager.id}/unlock").is_locked
    one = f"/managers/{manager.id}/assets/{made.asset_uuid}"
    assert rust.read(Manager, "PUT", f"{one}/add").assets == [made.asset_uuid]
    # A POST without a body, and with a length of zero.
    assert rust.read(Manager, "POST", f"{one}/remove").assets == []
    assert rust.read(list[Manager], "GET", "/managers")[0].id == manager.id
    assert rust.read(Manager, "PUT", f"/managers/{manager.id}/lock").is_locked
