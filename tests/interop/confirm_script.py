"""A double of ``blockstream-amp-confirm.py``: every call the official script makes, and every check.

Written from its description: the order of its calls, what it sends, what it reads of the answers, and when it gives up
(``Stopped``, where the script exits with code 1). Nothing of it is shortened but time: ``sleep`` is what it waits with,
60 seconds before a command and 15 between two looks at a transaction, and a test makes blocks meanwhile.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import httpx

VERSION = 2
QUARANTINE_SECONDS = 60
POLL_SECONDS = 15
POLL_LIMIT_SECONDS = 600
ZERO = "00" * 32
ENVELOPE = {"jsonrpc": "2.0"}
"""What the script puts around a call of the node: JSON-RPC 2.0, without an id."""
PARAMETERS_OF_SENDMANY: tuple[Any, ...] = (0, "", [], False, 1, "UNSET")


class Stopped(Exception):
    """The script has printed why and exits with code 1."""


class ConfirmScript:
    """One run of the script: ``-u user -p password -n node_url`` and then one of the four commands."""

    def __init__(
        self,
        user: str,
        password: str,
        node_url: str,
        *,
        sleep: Callable[[float], None],
        envelope: Mapping[str, Any] = ENVELOPE,
    ) -> None:
        self.user = user
        self.password = password
        self.node_url = node_url
        self.sleep = sleep
        self.envelope = envelope
        self.calls: list[str] = []
        """Calls of the node and paths of the API, in order."""
        self._token = ""
        self._http = httpx.Client(timeout=120)

    # -- the two ends ------------------------------------------------------------------------

    def _rpc(self, method: str, *params: Any, may_fail: bool = False) -> Any:
        self.calls.append(method)
        answer = self._http.post(self.node_url, json={**self.envelope, "method": method, "params": list(params)})
        if answer.status_code not in (200, 500):
            raise Stopped(f"{method}: status {answer.status_code}")
        shown = answer.json()
        if may_fail:
            return shown
        if shown.get("error"):
            raise Stopped(f"{method}: {shown['error']}")
        return shown["result"]

    def _api(self, method: str, path: str, body: Any = None) -> httpx.Response:
        self.calls.append(path)
        headers = {"Authorization": f"token {self._token}"} if self._token else {}
        return self._http.request(method, self._base_url.format(path), json=body, headers=headers)

    def _ok(self, method: str, path: str, body: Any = None) -> httpx.Response:
        answer = self._api(method, path, body)
        if answer.status_code != 200:
            raise Stopped(f"{path}: status {answer.status_code}: {answer.text}")
        return answer

    # -- what every run does -----------------------------------------------------------------

    def _begin(self, base_url: str) -> None:
        self._base_url = base_url
        self._token = ""
        self._token = self._ok("POST", "user/obtain_token", {"username": self.user, "password": self.password}).json()[
            "token"
        ]

    def _check_node(self) -> None:
        network = self._rpc("getnetworkinfo")
        if "Elements Core" not in network["subversion"] or network["version"] < 170001:
            raise Stopped("the node is no Elements Core, or too old")
        if self._rpc("getblockchaininfo")["verificationprogress"] < 0.999:
            raise Stopped("the node is not in sync")
        error = self._rpc("signmessage", "invalidaddress", "message", may_fail=True)["error"]
        if error["code"] == -13:
            raise Stopped("the wallet is locked")

    @staticmethod
    def _read(path: Path, command: str) -> dict[str, Any]:
        file: dict[str, Any] = json.loads(path.read_text())
        if file["command"] != command:
            raise Stopped(f"this file is for {file['command']}")
        if file["min_supported_client_script_version"] < VERSION:
            raise Stopped("this script is too new for the file")
        return file

    def _prepare(self, path: Path, command: str) -> dict[str, Any]:
        self._check_node()
        file = self._read(path, command)
        self._begin(file["base_url"])
        self.sleep(QUARANTINE_SECONDS)
        balance = self._ok("GET", f"assets/{file['asset_uuid']}/balance").json()
        if balance["lost_outputs"] != []:
            raise Stopped("there are lost outputs")
        return file

    def _wait(self, txid: str) -> dict[str, Any]:
        waited = 0
        while True:
            found: dict[str, Any] = self._rpc("gettransaction", txid)
            if found["confirmations"] > 1:
                return found
            if waited >= POLL_LIMIT_SECONDS:
                raise Stopped("the transaction does not confirm")
            self.sleep(POLL_SECONDS)
            waited += POLL_SECONDS

    def _change(self, asset_id: str, txid: str) -> list[dict[str, Any]]:
        return [one for one in self._rpc("listunspent") if one["asset"] == asset_id and one["txid"] == txid]

    # -- the commands ------------------------------------------------------------------------

    def distribute(self, path: Path, use_existing: str | None = None) -> None:
        """``distribute -f FILE [--use-existing TXID]``."""
        file = self._prepare(path, "distribute")
        uuid, asset_uuid = file["distribution_uuid"], file["asset_uuid"]
        assignments = self._ok("GET", f"assets/{asset_uuid}/assignments").json()
        here = [one for one in assignments if one["distribution_uuid"] == uuid]
        if not here:
            raise Stopped("no assignment is in this distribution")
        if any(one["is_distributed"] for one in here):
            raise Stopped("this distribution was made already")
        txid = use_existing or self._rpc(
            "sendmany", "", file["map_address_amount"], *PARAMETERS_OF_SENDMANY, file["map_address_asset"]
        )
        details = self._wait(txid)["details"]
        change = self._change(file["map_address_asset"][next(iter(file["map_address_asset"]))], txid)
        payload = {"tx_data": {"txid": txid, "details": details}, "change_data": change}
        self._ok("POST", f"assets/{asset_uuid}/distributions/{uuid}/confirm", payload)

    def reissue(self, path: Path, use_existing: str | None = None, *, have_split_token: bool = False) -> dict[str, Any]:
        """``reissue -f FILE [--have-split-reissuance-token] [--use-existing TXID:VIN]``."""
        file = self._prepare(path, "reissue")
        asset_uuid, asset_id, amount = file["asset_uuid"], file["asset_id"], file["amount"]
        if use_existing is None:
            unspent = {(one["txid"], one["vout"]) for one in self._rpc("listunspent")}
            held = [(one["txid"], one["vout"]) in unspent for one in file["reissuance_utxos"]]
            if not (any(held) if have_split_token else all(held)):
                raise Stopped("the wallet does not have the reissuance token")
            output = self._rpc("reissueasset", asset_id, amount)
        else:
            txid, _, vin = use_existing.partition(":")
            output = {"txid": txid, "vin": int(vin)}
            found = self._rpc("listissuances", asset_id)
            if not any(
                (one["txid"], one["vin"]) == (txid, int(vin)) and one["isreissuance"] and one["assetamount"] == amount
                for one in found
            ):
                raise Stopped("the node knows no such reissue")
        details = self._wait(output["txid"])["details"]
        issuances = self._rpc("listissuances")
        payload = {
            "details": details,
            "reissuance_output": {"txid": output["txid"], "vin": output["vin"]},
            "listissuances": issuances,
        }
        answer: dict[str, Any] = self._ok("POST", f"assets/{asset_uuid}/reissue-confirm", payload).json()
        return answer

    def burn(self, path: Path, use_existing: str | None = None) -> None:
        """``burn -f FILE [--use-existing TXID]``."""
        file = self._prepare(path, "burn")
        asset_uuid, asset_id, amount = file["asset_uuid"], file["asset_id"], file["amount"]
        txid = use_existing
        if txid is None:
            unspent = {(one["txid"], one["vout"]) for one in self._rpc("listunspent")}
            if not all((one["txid"], one["vout"]) in unspent for one in file["utxos"]):
                raise Stopped("the wallet does not have all outputs of the treasury")
            balance: Mapping[str, float] = self._rpc("getbalance", "*", 0, False)
            if balance.get(asset_id, 0) < amount:
                raise Stopped("the wallet does not have enough of the asset")
            txid = self._rpc("destroyamount", asset_id, amount)
        self._wait(txid)
        payload = {"tx_data": {"txid": txid}, "change_data": self._change(asset_id, txid)}
        self._ok("POST", f"assets/{asset_uuid}/burn-confirm", payload)

    def update_blinders(self, asset_uuid: str, base_url: str) -> int:
        """``update-blinders -a ASSET_UUID -b BASE_URL``; how many outputs it updated."""
        self._check_node()
        self._begin(base_url)
        first = self._ok("GET", f"assets/{asset_uuid}/txs").json()[0]
        wanted = {one["vout"] for one in first["outputs"] if one["asset_blinder"] == ZERO}
        details = {one["vout"]: one for one in self._rpc("gettransaction", first["txid"])["details"]}
        updated = sorted(wanted & details.keys())
        for vout in updated:
            payload = {
                "txid": first["txid"],
                "vout": vout,
                "asset_blinder": details[vout]["assetblinder"],
                "amount_blinder": details[vout]["amountblinder"],
            }
            self._ok("POST", f"assets/{asset_uuid}/update-blinders", payload)
        return len(updated)
