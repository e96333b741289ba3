"""Second factors at the client: what goes over the wire, what comes back, and which errors there are."""

from __future__ import annotations

import json
from typing import Any

import pytest

from amp0.client import Amp0Connected, Amp0LoggedIn, ClientOptions, ResetStatus, TwoFactorAction, TwoFactorCode
from amp0.client.cosign import RETRYABLE
from amp0.client.two_factor import checked_code, config_of, limit_of
from amp0.elements.transaction import OutPoint
from amp0.errors import (
    AlteredTransaction,
    BroadcastRejected,
    CallFailed,
    CosignRefused,
    InvalidInput,
    TwoFactorLocked,
    TwoFactorRequired,
    WrongTwoFactorCode,
)
from amp0.protocol import rpc
from amp0.protocol import twofactor as wire
from amp0.server import refusal
from tests.client.memory import NETWORK, MemoryServer, MemoryTransport, TestSigner
from tests.client.test_account import CASE, SPENDS, amp0pset, connect, ready_server, run
from tests.patience import PATIENCE

CONFIG = {
    "gauth": False, "gauth_url": "otpauth://totp/AMP0:GA?secret=ABC", "email": True, "email_addr": "a@example.com",
    "email_confirmed": True, "sms": False, "sms_number": "",
}  # fmt: skip
WANTS_CODE = json.dumps({"result": False, "error": "Two factor authentication required: …", "code": "auth"}).encode()
REQUIRED = CallFailed("Two factor authentication required", name="auth")
WRONG = CallFailed("Invalid Two Factor Authentication Code", name="auth")
SIGNED = {"tx": CASE["cosigned_tx"], "txhash": CASE["txid"], "limit_decrease": 0}


async def log_in(server: MemoryServer) -> Amp0LoggedIn:
    signer = TestSigner()
    connected = await Amp0Connected.connect(
        NETWORK, signer.data, options=ClientOptions(transport=lambda: MemoryTransport(server), timeout=PATIENCE)
    )
    return await connected.login(signer.challenge(await connected.get_challenge()))


def last(server: MemoryServer) -> Any:
    return rpc.to_wire(server.calls[-1])


# --- spending ------------------------------------------------------------------------------------


def test_a_code_goes_over_the_session_with_the_nonces() -> None:
    async def work(server: MemoryServer) -> None:
        amp0 = await connect(server)
        tx = await amp0.sign(amp0pset(), ("email", " 123456 "))
        assert str(tx) == CASE["cosigned_tx"]
        assert server.requests == []
        body = CASE["delayed_signature"]
        private = {"blinding_nonces": body["blinding_nonces"]}
        assert last(server) == [body["tx"], {"method": "email", "code": "123456"}, private]

    run(ready_server(vault__sign_raw_tx=SIGNED), work)


def test_without_a_code_the_door_that_takes_none_is_tried_first_and_once() -> None:
    async def work(server: MemoryServer) -> None:
        amp0 = await connect(server)
        server.http = lambda body: WANTS_CODE
        # Within the limit the session's door lets it pass.
        assert str(await amp0.sign(amp0pset())) == CASE["cosigned_tx"]
        assert str(await amp0.sign(amp0pset())) == CASE["cosigned_tx"]
        assert len(server.requests) == 1
        assert server.calls[-1].twofactor == {}  # type: ignore[attr-defined]

    run(ready_server(vault__sign_raw_tx=SIGNED), work)


def test_a_missing_code_names_the_methods_and_what_to_do() -> None:
    async def work(server: MemoryServer) -> None:
        amp0 = await connect(server)
        server.http = lambda body: WANTS_CODE
        with pytest.raises(TwoFactorRequired, match="request_code") as caught:
            await amp0.sign(amp0pset())
        assert caught.value.methods == ("email",)
        server.answers["twofactor.get_config"] = CallFailed("no", name="internal")
        with pytest.raises(TwoFactorRequired) as caught:
            await amp0.sign(amp0pset())
        assert caught.value.methods == ()

    run(ready_server(vault__sign_raw_tx=REQUIRED, twofactor__get_config=CONFIG), work)


def test_wrong_locked_and_refused_are_told_apart() -> None:
    async def work(server: MemoryServer) -> None:
        amp0 = await connect(server)
        for answer, kind in (
            (WRONG, WrongTwoFactorCode),
            (CallFailed("locked for another 60 minutes", name="twofactorlocked"), TwoFactorLocked),
        ):
            server.answers["vault.sign_raw_tx"] = answer
            with pytest.raises(kind):
                await amp0.sign(amp0pset(), ("email", "123456"))
        server.answers["vault.sign_raw_tx"] = CallFailed("The output is frozen", name="frozen")
        with pytest.raises(CosignRefused, match="is frozen") as caught:
            await amp0.sign(amp0pset(), ("email", "123456"))
        assert (caught.value.code, str(caught.value.reasons[0])) == ("frozen", "The output is frozen")
        assert not caught.value.retryable
        server.answers["vault.sign_raw_tx"] = CallFailed("busy", name="busy")
        with pytest.raises(CosignRefused) as caught:
            await amp0.sign(amp0pset(), ("email", "123456"))
        assert caught.value.retryable

    run(ready_server(), work)


def test_retryable_is_what_the_server_says_over_http() -> None:
    own = {"auth", "twofactorlocked", "delivery", "feewallet"}
    said = {answer.name for answer in refusal.REFUSALS.values() if answer.retryable}
    assert said - own == RETRYABLE


def test_h01_an_altered_answer_over_the_session_is_refused() -> None:
    async def work(server: MemoryServer) -> None:
        amp0 = await connect(server)
        with pytest.raises(AlteredTransaction):
            await amp0.sign(amp0pset(), ("email", "123456"))
        with pytest.raises(AlteredTransaction):
            await amp0.send(amp0pset(), ("email", "123456"))
        assert "vault.broadcast_raw_tx" not in server.names()

    other = SPENDS["cases"][1]["cosigned_tx"]
    run(ready_server(vault__sign_raw_tx={**SIGNED, "tx": other}), work)


def test_send_broadcasts_what_has_passed_the_checks() -> None:
    async def work(server: MemoryServer) -> None:
        amp0 = await connect(server)
        server.answers["vault.broadcast_raw_tx"] = CASE["txid"]
        assert str(await amp0.send(amp0pset(), ("email", "1"))) == CASE["txid"]
        assert last(server) == [CASE["cosigned_tx"]]
        server.answers["vault.broadcast_raw_tx"] = CallFailed("min relay fee not met", name="broadcast")
        with pytest.raises(BroadcastRejected) as caught:
            await amp0.send(amp0pset(), ("email", "1"))
        assert caught.value.reason == "min relay fee not met"

    run(ready_server(vault__sign_raw_tx=SIGNED), work)


def test_a_code_is_asked_for_one_transaction() -> None:
    async def work(server: MemoryServer) -> None:
        amp0 = await connect(server)
        await amp0.request_code("email", amp0pset())
        assert last(server) == ["sign_raw_tx", {"txid": CASE["txid"]}]
        await amp0.request_code("sms", CASE["txid"])
        assert server.names()[-1] == "twofactor.request_sms"
        for method in ("gauth", "pigeon"):
            with pytest.raises(InvalidInput):
                await amp0.request_code(method, amp0pset())

    run(ready_server(twofactor__request_email=True, twofactor__request_sms=True), work)


@pytest.mark.parametrize(
    "pair", ["123456", ("email",), ("email", ""), ("", "1"), ("email", 123456), ("a", "b", "c"), None]
)
def test_a_code_is_a_pair(pair: Any) -> None:
    with pytest.raises(InvalidInput, match="pair"):
        checked_code(pair)


def test_codes_and_secrets_are_not_shown() -> None:
    assert "123456" not in repr(TwoFactorCode("email", "123456"))
    config = config_of(wire.TwoFactorConfig(gauth_url="otpauth://totp/x?secret=ABC"))
    assert config.otpauth_url
    assert "ABC" not in repr(config)


# --- configuration -------------------------------------------------------------------------------


def test_the_configuration_holds_what_is_offered() -> None:
    async def work(server: MemoryServer) -> None:
        config = await (await connect(server)).two_factor_config()
        assert config.enabled() == ["email"]
        assert [method.name for method in config.methods] == ["email", "sms", "gauth"]
        assert config.method("email").address == "a@example.com"
        with pytest.raises(InvalidInput, match="does not offer"):
            config.method("telegram")

    run(ready_server(twofactor__get_config=CONFIG), work)


@pytest.mark.parametrize("url", ["***", "", "javascript:alert(1)"])
def test_a_url_that_is_not_a_secret_is_none(url: str) -> None:
    assert config_of(wire.TwoFactorConfig(gauth_url=url)).otpauth_url == ""


@pytest.mark.parametrize(
    ("limits", "left"),
    [
        ({"total": 5}, 5), ({"total": "7", "is_fiat": False}, 7), ({"total": 5, "is_fiat": True}, 0), (None, 0),
        ({}, 0), ({"total": None}, 0), ({"total": "much"}, 0), ({"total": -1}, 0), ({"total": 10**30}, 0), ([], 0),
    ],
)  # fmt: skip
def test_limits_in_every_form(limits: Any, left: int) -> None:
    assert limit_of(limits) == left


def test_actions_name_everything_they_agree_to() -> None:
    assert TwoFactorAction.enable("sms", "+41790000000").data == {"method": "sms", "address": "+41790000000"}
    assert TwoFactorAction.set_limit(5).data == {"is_fiat": False, "per_tx": 0, "total": 5}
    point = OutPoint("ab" * 32 + ":1")
    rows = TwoFactorAction.freeze([point, str(point)]).data["list"]
    assert rows == [{"txhash": "ab" * 32, "pt_idx": 1, "user_status": 1}]
    for action in (TwoFactorAction.sign("ab" * 32), TwoFactorAction.enable("gauth"), TwoFactorAction.disable("sms")):
        needed, allowed = wire.ACTIONS[action.name]
        assert set(needed) <= action.data.keys() <= {*needed, *allowed}
    with pytest.raises(InvalidInput):
        TwoFactorAction.set_limit(-1)
    with pytest.raises(InvalidInput):
        TwoFactorAction.freeze([])


PLAIN = (
    "twofactor.init_enable_email", "twofactor.disable_email", "twofactor.set_email", "twofactor.activate_email",
    "login.change_settings", "vault.set_utxo_status", "twofactor.request_reset", "twofactor.request_undo_reset",
    "twofactor.request_email",
)  # fmt: skip
"""Procedures whose result nobody reads."""


# --- with the signer -----------------------------------------------------------------------------


def test_the_calls_of_a_full_session() -> None:
    reset = {"reset_2fa_active": True, "reset_2fa_days_remaining": 90, "reset_2fa_disputed": False}

    async def work(server: MemoryServer) -> None:
        server.answers.update(dict.fromkeys(PLAIN, True))
        session = await log_in(server)
        code = ("email", "123456")
        tfd = {"method": "email", "code": "123456"}
        await session.request_code("email", TwoFactorAction.disable("sms"))
        assert last(server) == ["disable_2fa", {"method": "sms"}]
        await session.enable_two_factor("email", "a@example.com")
        assert last(server) == ["a@example.com", None]
        assert (await session.confirm_two_factor("email", " 1 ")).enabled() == ["email"]
        assert last(server) == ["1"]
        await session.enable_authenticator("654321", code)
        assert rpc.to_wire(server.calls[-2]) == ["gauth", tfd]
        assert last(server) == ["654321", {"method": "proxy", "code": "token"}]
        await session.disable_two_factor("email", code)
        assert last(server) == [tfd]
        await session.set_email("b@example.com", code)
        assert last(server) == ["b@example.com", {"address": "b@example.com", **tfd}]
        await session.confirm_email("9")
        await session.set_limit(5, code)
        limit = {"is_fiat": False, "per_tx": 0, "total": 5}
        assert last(server) == ["tx_limits", limit, {**limit, **tfd}]
        assert session.limit() == 5
        await session.unfreeze(["ab" * 32 + ":0"])
        rows = [{"txhash": "ab" * 32, "pt_idx": 0, "user_status": 0}]
        assert last(server) == [{"list": rows}, None]
        await session.request_reset("c@example.com")
        assert await session.confirm_reset("c@example.com", "123456") == ResetStatus(True, 90, False)
        assert last(server) == ["c@example.com", False, tfd]
        await session.dispute_reset("d@example.com", "123456")
        assert last(server) == ["d@example.com", True, tfd]
        await session.request_undo_reset("c@example.com")
        await session.undo_reset("c@example.com", "123456")
        await session.cancel_reset(code)
        assert session.two_factor_reset().active
        for wrong in (
            session.enable_two_factor("gauth", "x"),
            session.confirm_two_factor("gauth", "1"),
            session.disable_two_factor("pigeon"),
            session.dispute_challenge("win"),
        ):
            with pytest.raises(InvalidInput):
                await wrong

    resetting = ("twofactor__confirm_reset", "twofactor__confirm_undo_reset", "twofactor__cancel_reset")
    enabling = ("twofactor__enable_email", "twofactor__enable_gauth")
    answers: dict[str, Any] = {**dict.fromkeys(resetting, reset), **dict.fromkeys(enabling, CONFIG)}
    answers["twofactor__request_proxy"] = "token"
    run(ready_server(**answers), work)


def test_a_server_that_cannot_list_frozen_outputs_has_none() -> None:
    async def work(server: MemoryServer) -> None:
        amp0 = await connect(server)
        uri = wire.GetFrozenOutputs.URI
        server.answers[uri] = [{"txhash": "ab" * 32, "pt_idx": 3}]
        assert await amp0.frozen_outputs() == [OutPoint("ab" * 32 + ":3")]
        server.answers[uri] = CallFailed("unknown procedure", name="unknownprocedure")
        assert await amp0.frozen_outputs() == []

    run(ready_server(), work)
