"""Shapes of the procedures: what clients send is read, what is out of shape is refused without quoting it."""

# ruff: noqa: E501 - rows as they travel

from __future__ import annotations

import contextlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from amp0.errors import RemoteProtocolError
from amp0.protocol import preflight, rpc, twofactor
from tests.vectors import load

VECTORS = load("lwk-0.19.json")
P = rpc.PREFIX
SENT: list[tuple[str, list[Any]]] = [
    ("login.register", ["02" * 33, "ab" * 32, "[v2,sw,csv,csv_opt] lwk", "cd" * 64]),
    ("login.get_trezor_challenge", ["2dofAJ9jV6MjS2NLMp17nVYVZL4Z5s8Sm47", True]),
    ("login.authenticate", ["3044", True, "GA", "", "[v2,sw,csv,csv_opt] lwk"]),
    ("login.watch_only_v2", ["custom", {"username": "ab", "password": "cd", "minimal": "true"}, "agent", True]),
    ("login.get_client_blob", [0]),
    ("login.set_client_blob", ["QUJD", 0, rpc.ZERO_HMAC, rpc.ZERO_HMAC]),
    ("txs.get_memos", []),
    ("txs.create_subaccount_v2", [1, "", "2of2_no_recovery", ["tpub"], [""]]),
    ("addressbook.sync_custom", ["ab", "cd", "ef"]),
    ("vault.fund", [1, True, "p2wsh"]),
    ("txs.upload_authorized_assets_confidential_address", [1, ["Azp", "Azq"]]),
    ("addressbook.get_my_addresses", [1, 0]),
    ("txs.get_all_unspent_outputs", [0, 1, "any", True]),
    ("txs.get_list_v3", [1, 0]),
    ("txs.get_raw_output", ["ab" * 32]),
    ("vault.send_raw_tx", ["0200", {}, {"blinding_nonces": ["ab" * 32, ""]}]),
    ("vault.sign_raw_tx", ["0200", {"method": "email", "code": "123456"}, None]),
    ("vault.broadcast_raw_tx", ["0200"]),
    ("login.get_fee_estimates", [True]),
    ("addressbook.get_sync_status", []),
    ("login.set_appearance", [{"unit": "BTC"}]),
    ("login.available_currencies", []),
    ("login.set_csvtime", [65535, {"value": 65535, "method": "email", "code": "123456"}]),
    ("login.set_nlocktime", [144, {}]),
    ("txs.send_nlocktime", []),
    ("txs.upcoming_nlocktime", []),
    ("login.get_system_message", [1]),
    ("login.ack_system_message", [1, "ab" * 32, "3044"]),
    ("login.remove_account", [{}]),
    ("pin.set_pin_login", ["123456", "device", True]),
    ("pin.get_password", ["123456", "ab" * 16]),
    ("pin.remove_all_pin_logins", []),
]


@pytest.mark.parametrize(("name", "args"), SENT)
def test_calls_as_clients_send_them(name: str, args: list[Any]) -> None:
    call = rpc.parse_call(P + name, args)
    assert call is not None
    assert f"{P}{name}" == call.URI
    assert call.args() == args
    assert rpc.parse_call(P + name, [*args, "a surplus argument"]) == call


def test_every_procedure_is_in_this_list() -> None:
    # Those of two-factor and of pre-flights have lists of their own, in test_twofactor.py and test_preflight.py.
    others = {kind.URI for kind in (*twofactor.PROCEDURES, *preflight.PROCEDURES)}
    assert {P + name for name, _ in SENT} == set(rpc.PROCEDURES) - others
    assert rpc.parse_call(P + "no.such_thing", []) is None


def test_old_clients_leave_arguments_out() -> None:
    assert rpc.parse_call(P + "addressbook.sync_custom", ["a", "b"]) == rpc.SyncCustom("a", "b", "")
    assert rpc.parse_call(P + "addressbook.get_my_addresses", [1]) == rpc.GetMyAddresses(1, 0)
    call = rpc.parse_call(P + "login.watch_only_v2", ["custom", {"username": "a", "password": "b"}, "agent"])
    assert isinstance(call, rpc.WatchOnlyLogin)
    assert call.with_blob is False


@pytest.mark.parametrize(
    ("name", "args"),
    [
        ("login.register", ["02" * 33, "ab" * 32, "x"]),
        ("login.register", ["02" * 33 + "\n", "ab" * 32, "x", "cd" * 64]),
        ("login.register", ["zz" * 33, "ab" * 32, "x", "cd" * 64]),
        ("login.register", ["02" * 33, "ab" * 32, "x" * 300, "cd" * 64]),
        ("login.set_client_blob", ["???", 0, rpc.ZERO_HMAC, rpc.ZERO_HMAC]),
        ("login.set_client_blob", ["QUJD", 0, "", rpc.ZERO_HMAC]),
        ("login.set_client_blob", ["A" * 1_000_001, 0, rpc.ZERO_HMAC, rpc.ZERO_HMAC]),
        ("login.watch_only_v2", ["custom", {"username": "a"}, "agent", True]),
        ("vault.fund", ["1"]), ("vault.fund", [-1]), ("vault.fund", [2**31]), ("vault.fund", [1.5]), ("vault.fund", [True]),
        ("txs.create_subaccount_v2", [1, "", "2of2_no_recovery", ["a", "b", "c"], [""]]),
        ("txs.get_raw_output", ["ab" * 31]), ("vault.broadcast_raw_tx", ["0"]), ("vault.broadcast_raw_tx", ["0g"]),
        ("txs.upload_authorized_assets_confidential_address", [1, ["x"] * 1001]),
    ],
)  # fmt: skip
def test_arguments_out_of_shape(name: str, args: list[Any]) -> None:
    with pytest.raises(RemoteProtocolError, match=name):
        rpc.parse_call(P + name, args)


def test_errors_do_not_quote_arguments() -> None:
    secret = "correct horse battery staple"
    for name, args in (
        ("login.watch_only_v2", ["custom", {"username": "a", "password": [secret]}, "x", True]),
        ("login.authenticate", [{"k": secret}]),
        ("addressbook.sync_custom", ["u" * 300 + secret, "b"]),
    ):
        with pytest.raises(RemoteProtocolError) as caught:
            rpc.parse_call(P + name, args)
        assert secret not in str(caught.value)
    assert secret not in repr(rpc.WatchOnlyCredentials("a", secret))
    assert secret not in repr(rpc.WatchOnlyLogin("custom", rpc.WatchOnlyCredentials("a", secret)))
    assert secret not in repr(rpc.SyncCustom("a", secret))


# -- results ----------------------------------------------------------------------------------

PRODUCTION = {
    "appearance": {"unit": "BTC", "use_segwit": True}, "block_height": 1372525, "block_hash": "36" * 32,
    "prev_block_hash": "99" * 32, "cache_password": "f4f1eb75", "chain_code": "79" * 32, "public_key": "03" * 33,
    "client_blob_hmac": "8U1B4wCNdEvBm4StCo58gt+WE7MI+SA6mQatzMiDJ1I=", "country": "", "csv_blocks": 65535,
    "dust": 1, "earliest_key_creation_time": 1714537053, "fee_estimates": {"1": {"feerate": 0.00000109, "blocks": 2}},
    "gait_path": "7f" * 64, "min_fee": 100, "receiving_id": "GA34bBrDR9jeLUhB3BxbPKDf9VEWGv", "csv_times": [1440, 65535],
    "subaccounts": [{"name": "", "pointer": 1, "receiving_id": "GA482kE99ryLtoSh43eBK8hUMtRCe6", "type": "2of2_no_recovery",
                     "2of3_backup_chaincode": None, "has_txs": False, "required_ca": 0}],
    "reset_2fa_days_remaining": -1, "limits": {"total": "0", "per_tx": 0, "is_fiat": False},
}  # fmt: skip


def test_a_production_login_is_read() -> None:
    data = rpc.parse_result(rpc.Authenticate("30"), [PRODUCTION])
    assert isinstance(data, rpc.LoginReply)
    assert data.subaccounts[0].receiving_id == "GA482kE99ryLtoSh43eBK8hUMtRCe6"
    assert data.wo_blob_key is None
    assert rpc.parse_result(rpc.Authenticate("30"), [False]) is False


@pytest.mark.parametrize("lacking", ["gait_path", "subaccounts", "client_blob_hmac"])
def test_login_data_without_what_is_needed(lacking: str) -> None:
    with pytest.raises(RemoteProtocolError, match="login"):
        rpc.parse_result(rpc.Authenticate("30"), [{k: v for k, v in PRODUCTION.items() if k != lacking}])


def login_data(accounts: int, **more: Any) -> rpc.LoginData:
    rows = [
        rpc.SubaccountRow(n, rpc.ACCOUNT_TYPE, "GA482kE99ryLtoSh43eBK8hUMtRCe6", 20) for n in range(1, accounts + 1)
    ]
    return rpc.LoginData(
        gait_path="7f" * 64, subaccounts=rows, client_blob_hmac=rpc.ZERO_HMAC, public_key="03" * 33,
        chain_code="79" * 32, block_hash="36" * 32, prev_block_hash="99" * 32, csv_times=[1440, 65535], **more,
    )  # fmt: skip


def test_login_data_of_a_server() -> None:
    full = rpc.to_wire(login_data(1))
    # GDK breaks on a blob key in a full login, and without one in a watch-only login.
    assert "wo_blob_key" not in full
    assert rpc.to_wire(login_data(1, wo_blob_key="ab" * 64))["wo_blob_key"] == "ab" * 64
    assert full["appearance"]["use_segwit"] is True
    assert type(full["block_height"]) is int
    assert rpc.parse_result(rpc.Authenticate("30"), [full]) == rpc.LoginReply(
        gait_path="7f" * 64, subaccounts=login_data(1).subaccounts, client_blob_hmac=rpc.ZERO_HMAC,
        public_key="03" * 33, chain_code="79" * 32, limits=full["limits"], warnings=[],
    )  # fmt: skip


def test_login_data_of_sixty_accounts_still_fits_lwk() -> None:
    assert len(rpc.encode_json(login_data(60, wo_blob_key="ab" * 64))) < rpc.LWK_MESSAGE_LIMIT


@pytest.mark.parametrize("args", [[], None])
def test_a_result_without_value(args: Any) -> None:
    with pytest.raises(RemoteProtocolError, match="without a value"):
        rpc.parse_result(rpc.Fund(1), args or [])


def test_fund_and_address_rows() -> None:
    reply = {"branch": 1, "subaccount": 1, "pointer": 21, "script": "52ae", "addr_type": "p2wsh", "subtype": None}
    assert rpc.parse_result(rpc.Fund(1), [reply]) == rpc.FundReply(21, "52ae", 1)
    row = {
        "ad": "XE",
        "addr_type": "p2wsh",
        "branch": 1,
        "pointer": 21,
        "script": "52ae",
        "script_type": 14,
        "num_tx": 0,
    }
    [found] = rpc.parse_result(rpc.GetMyAddresses(1), [[row]])
    assert found == rpc.IssuedAddress(21, "52ae")
    assert rpc.to_wire(rpc.AddressRow(21, "52ae", "XE")) == {**row, "subtype": None}
    # Other servers leave parts out or send null.
    [sparse] = rpc.parse_result(rpc.GetMyAddresses(1), [[{"pointer": 3, "script": None, "ad": None, "num_tx": "0"}]])
    assert sparse == rpc.IssuedAddress(3)
    for bad in ({}, {**reply, "pointer": -1}, {**reply, "pointer": "21"}, {**reply, "script": "x"}):
        with pytest.raises(RemoteProtocolError):
            rpc.parse_result(rpc.Fund(1), [bad])


def test_endpoints_leave_out_what_does_not_apply() -> None:
    row = rpc.Endpoint(
        is_output=True, is_relevant=False, pt_idx=2, script_type=0, value="None", is_spent=False, subtype=0,
        subaccount=0, pointer=0, address="",
    )  # fmt: skip
    wire = rpc.to_wire(row)
    assert wire["address"] == ""
    assert "prevtxhash" not in wire
    assert rpc.to_wire(rpc.TxEvent("ab" * 32, [1])) == {"txhash": "ab" * 32, "subaccounts": [1]}
    assert rpc.topic_txs("GA1") == "com.greenaddress.txs.wallet_GA1"
    assert rpc.topic_blob("GA1") == "com.greenaddress.cbs.wallet_GA1"


# -- errors and cosigning ---------------------------------------------------------------------


def test_errors_in_the_layout_gdk_reads() -> None:
    args = rpc.error_args("sessionexpired", "Session expired")
    assert args == ["http://greenaddressit.com/error#sessionexpired", "Session expired", {}]
    assert rpc.parse_error(rpc.ERROR_URI, args) == ("sessionexpired", "Session expired")
    assert rpc.parse_error("wamp.error.runtime_error", ["boom"]) == ("wamp.error.runtime_error", "boom")
    assert rpc.parse_error("wamp.error.no_such_procedure", []) == ("wamp.error.no_such_procedure",) * 2
    assert rpc.parse_error("u", [5, None]) == ("u", "u")


def test_cosign_requests_of_the_vectors() -> None:
    for case in VECTORS["spends"]["cases"]:
        body = json.dumps(case["delayed_signature"]).encode()
        request = rpc.parse_cosign_request(body)
        assert json.loads(rpc.encode_json(request)) == case["delayed_signature"]
        assert rpc.encode_json(request).decode().startswith(case["delayed_signature_body_head"][:40])


@pytest.mark.parametrize(
    "body",
    [
        b"", b"{}", b"[]", b"null", b"\xff", b'{"tx":"00","blinding_nonces":[]}', b"[" * 100_000,
        b'{"tx":"0","blinding_nonces":[],"scripts":[]}', b'{"tx":"00","blinding_nonces":["ab"],"scripts":[]}',
        b'{"tx":"00","blinding_nonces":[],"scripts":["x"]}', b'{"tx":null,"blinding_nonces":[],"scripts":[]}',
        b'{"tx":"00","blinding_nonces":[],"scripts":[]} x',
    ],
)  # fmt: skip
def test_cosign_requests_out_of_shape(body: bytes) -> None:
    with pytest.raises(RemoteProtocolError):
        rpc.parse_cosign_request(body)


def test_cosign_replies() -> None:
    refusal = rpc.CosignReply(result=False, error="no", code="policy", retryable=False, txid="ab" * 32)
    assert rpc.parse_cosign_reply(rpc.encode_json(refusal)) == refusal
    assert json.loads(rpc.encode_json(refusal))["tx"] is None
    assert rpc.parse_cosign_reply(b'{"result":true,"error":"","tx":"00","other":1}').tx == "00"
    for bad in (b'{"result":true,"tx":"00"}', b'{"error":"","tx":"00"}', b"<html>", b'{"result":1,"error":""}'):
        with pytest.raises(RemoteProtocolError):
            rpc.parse_cosign_reply(bad)


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary(),
    lambda c: st.lists(c, max_size=5) | st.dictionaries(st.text(), c, max_size=3),
    max_leaves=10,
)


@given(st.sampled_from(sorted(rpc.PROCEDURES)), st.lists(ANYTHING, max_size=6))
def test_calls_never_fail_otherwise(uri: str, args: list[Any]) -> None:
    with contextlib.suppress(RemoteProtocolError):
        rpc.parse_call(uri, args)
    with contextlib.suppress(RemoteProtocolError):
        rpc.parse_result(rpc.Fund(1), args)
    with contextlib.suppress(RemoteProtocolError):
        rpc.parse_result(rpc.Authenticate(""), args)
    rpc.parse_error(uri, args)


@given(st.binary(max_size=100))
def test_bodies_never_fail_otherwise(body: bytes) -> None:
    for parse in (rpc.parse_cosign_request, rpc.parse_cosign_reply):
        with contextlib.suppress(RemoteProtocolError):
            parse(body)
