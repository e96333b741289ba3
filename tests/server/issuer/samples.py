"""Something of everything that an issuer has, and a body for every endpoint that takes one."""

from __future__ import annotations

from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

from amp0.server.issuer.endpoint import Endpoint
from amp0.server.store import asset_schema as tables

from .office import AmpAccount, Api, Office

TXID = "ab" * 32


@dataclass(frozen=True)
class Things:
    """What one issuer has."""

    api: Api
    account: AmpAccount
    asset: SimpleNamespace
    user: int
    category: int
    manager: Api
    assignment: int
    distribution: str
    rule: int
    change: int

    def path(self, endpoint: Endpoint) -> str:
        """The endpoint's path with this issuer's things in it."""
        return endpoint.path.format(**self.parameters(endpoint.path))

    def parameters(self, path: str) -> dict[str, object]:
        """A value for every name that paths have."""
        ids = {"registered_users": self.user, "categories": self.category, "managers": self.manager.id}
        return {
            "id": ids.get(path.split("/")[1], 1),
            "uid": self.user,
            "asset_uuid": self.asset.uuid,
            "gaid": self.account.gaid,
            "assignment_id": self.assignment,
            "distribution_uuid": self.distribution,
            "rule_id": self.rule,
            "change_id": self.change,
            "txid": TXID,
            "height": 1,
        }


def things(office: Office, name: str) -> Things:
    """An issuer with something of everything."""
    api = office.issuer(name)
    account = office.account(f"holder of {name}")
    asset = office.asset(api)
    user = api.ok("post", "/registered_users/add", {"name": "Holder", "GAID": account.gaid}, status=201)["id"]
    category = api.ok("post", "/categories/add", {"name": "Category"}, status=201)["id"]
    manager = office.manager(api, f"manager of {name}")
    uuid = "-".join((name.encode().hex().ljust(8, "0")[:8], "0000", "4000", "8000", "0" * 12))
    now = office.desk.now()
    change = {
        "asset": asset.id,
        "action": "unlock",
        "content": "{}",
        "content_hash": b"\x11" * 32,
        "loosens": 1,
        "state": "pending",
        "requested_by": api.id,
        "requested_at": now,
        "not_before": now + 1000,
        "required_approvals": 1,
    }
    rule = {
        "asset": asset.id,
        "tag": "asset_lock",
        "parameters": "{}",
        "created_at": now,
        "created_by": api.id,
    }
    assignment = {
        "asset": asset.id,
        "user_id": user,
        "creator_id": api.id,
        "satoshi": 5,
        "is_ready": 0,
        "created_at": now,
    }
    distribution = {
        "uuid": uuid,
        "asset": asset.id,
        "creator_id": api.id,
        "state": "unconfirmed",
        "created_at": now,
    }
    with office.transaction() as db:
        numbers = [
            int(db.execute(table.insert().values(row).returning(table.c.id)).scalar_one())
            for table, row in (
                (tables.rule_changes, change),
                (tables.asset_rules, rule),
                (tables.assignments, assignment),
                (tables.distributions, distribution),
            )
        ]
    return Things(api, account, asset, user, category, manager, numbers[2], uuid, numbers[1], numbers[0])


def body(endpoint: Endpoint, of: Things) -> Any:
    """A body that the endpoint takes, or None."""
    if endpoint.body is None:
        return None
    return _BODIES[endpoint.path](of)


_NAME = {"name": "Name"}
_PASSWORD = {"password": "a password of some length"}
_BODIES: dict[str, Any] = {
    "/user/obtain_token": lambda of: {"username": of.api.username, "password": "no"},
    "/user/change-password": lambda of: _PASSWORD,
    "/registered_users/add": lambda of: _NAME,
    "/registered_users/{id}/edit": lambda of: _NAME,
    "/registered_users/{id}/gaids/add": lambda of: of.account.gaid,
    "/registered_users/{id}/gaids/set-default": lambda of: of.account.gaid,
    "/categories/add": lambda of: {"name": f"Name {of.api.username}"},
    "/categories/{id}/edit": lambda of: {"description": "text"},
    "/managers/create": lambda of: {"username": f"new of {of.api.username}", **_PASSWORD},
    "/managers/{id}/change-password": lambda of: _PASSWORD,
    "/assets/issue": lambda of: {
        "name": "An asset",
        "amount": 1,
        "destination_address": str(of.account.addresses[0]),
        "domain": "example.com",
        "ticker": "ABC",
        "pubkey": "02" + "11" * 32,
    },
    "/assets/{asset_uuid}/edit": lambda of: {"issuer_authorization_endpoint": None},
    "/assets/{asset_uuid}/memo/set": lambda of: "text",
    "/assets/{asset_uuid}/treasury-addresses/add": lambda of: [str(of.account.addresses[0])],
    "/assets/{asset_uuid}/treasury-addresses/delete": lambda of: [str(of.account.addresses[0])],
    "/assets/{asset_uuid}/utxos/blacklist": lambda of: [{"txid": TXID, "vout": 0}],
    "/assets/{asset_uuid}/utxos/whitelist": lambda of: [{"txid": TXID, "vout": 0}],
    "/assets/{asset_uuid}/assignments/create": lambda of: {"assignments": [{"registered_user": of.user, "amount": 1}]},
    "/assets/{asset_uuid}/distributions/{distribution_uuid}/confirm": lambda of: {
        "tx_data": {"txid": TXID, "details": []},
        "change_data": [],
    },
    "/assets/{asset_uuid}/reissue-request": lambda of: {"amount_to_reissue": 1},
    "/assets/{asset_uuid}/reissue-confirm": lambda of: {
        "details": [],
        "reissuance_output": {"txid": TXID, "vin": 0},
        "listissuances": [],
    },
    "/assets/{asset_uuid}/burn-request": lambda of: {"amount": 1},
    "/assets/{asset_uuid}/burn-confirm": lambda of: {"tx_data": {"txid": TXID}, "change_data": []},
    "/assets/{asset_uuid}/update-blinders": lambda of: {
        "txid": TXID,
        "vout": 0,
        "asset_blinder": TXID,
        "amount_blinder": TXID,
    },
    "/assets/{asset_uuid}/policy": lambda of: {"loosening_delay": 60},
    "/assets/{asset_uuid}/rules/add": lambda of: {"tag": "asset_lock", "parameters": {}},
    "/assets/{asset_uuid}/rules/try": lambda of: {"tag": "asset_lock", "parameters": {}},
    "/assets/{asset_uuid}/rules/{rule_id}/edit": lambda of: {"tag": "asset_lock", "parameters": {}},
    "/assets/{asset_uuid}/changes/{change_id}/approve": lambda of: {"content_hash": "11" * 32},
}
