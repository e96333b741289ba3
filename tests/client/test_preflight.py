"""Asking before signing: what is sent, what comes of the answer, and servers that have no such procedure."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest

from amp0.client import Amp0
from amp0.elements import pset_fields as f
from amp0.elements.pset import Amp0Pset, Pset
from amp0.errors import CallFailed, ConnectionFailed, CosignRefused, InvalidInput, LoginFailed, NetworkMismatch
from amp0.protocol import preflight as wire
from amp0.protocol import rpc
from tests.client.memory import NETWORK, MemoryServer
from tests.client.test_account import SPENDS, connect, ready_server

URI = wire.AskPreflight.URI
CASES = {case["name"]: case for case in SPENDS["cases"]}
ASSET = "ab" * 32
REASON = {
    "code": "recipient_not_allowed",
    "side": "output",
    "index": 0,
    "asset_id": ASSET,
    "text": "this asset may not be sent to this recipient",
    "about": "recipient",
}
LIMIT = {**REASON, "code": "transfer_limit", "side": "input", "index": None, "text": "at most 5", "about": "sender"}
YES = {"allowed": True, "reasons": []}
NO = {"allowed": False, "reasons": [LIMIT, REASON]}
MISSING = [
    CallFailed("no", name="wamp.error.no_such_procedure"),
    CallFailed("This server has no procedure", name="unknownprocedure"),
]


def amp0pset(name: str, signed: bool = False) -> Amp0Pset:
    case = CASES[name]
    return Amp0Pset(Pset(case["signed_pset" if signed else "pset"]), case["blinding_nonces"])


def asked(server: MemoryServer) -> list[wire.AskPreflight]:
    return [call for call in server.calls if isinstance(call, wire.AskPreflight)]


def with_server(work: Any, **answers: Any) -> MemoryServer:
    server = ready_server()
    server.answers[URI] = answers.get("answer", YES)

    async def play() -> None:
        async with await connect(server) as amp0:
            await work(amp0, server)

    asyncio.run(play())
    return server


def test_a_list_of_transfers() -> None:
    async def work(amp0: Amp0, server: MemoryServer) -> None:
        address = str((await amp0.address(1)).address())
        verdict = await amp0.preflight([(address, 5, ASSET)])
        assert (verdict.allowed, verdict.reasons, verdict.issuer_decides) == (True, (), False)
        [call] = asked(server)
        assert call.subaccount == 1
        assert call.request == wire.PreflightRequest(
            transfers=[wire.PreflightTransfer(address=address, asset_id=ASSET, satoshi=5)]
        )
        verdict.require()

    with_server(work)


def test_of_a_pset_only_what_it_takes_leaves() -> None:
    """Keys, signatures and range proofs stay: the server has no use for them before anybody signs."""

    async def work(amp0: Amp0, server: MemoryServer) -> None:
        for plan in (amp0pset("asset"), amp0pset("asset").pset(), amp0pset("asset", signed=True)):
            server.calls.clear()
            await amp0.preflight(plan)
            [call] = asked(server)
            assert call.request.transfers is None
            assert call.request.blinding_nonces is None
            assert call.request.pset is not None
            assert len(call.request.pset) < 2_000
            sent, full = Pset(call.request.pset), amp0pset("asset").pset()
            assert [one.prevout for one in sent.inputs()] == [one.prevout for one in full.inputs()]
            for mine, theirs in zip(sent.outputs(), full.outputs(), strict=True):
                assert (mine.script, mine.amount(), mine.asset()) == (theirs.script, theirs.amount(), theirs.asset())
            assert not any(one.signatures or one.derivations or one.witness_script for one in sent.inputs())
            assert not any(one.derivations or one.txout.range_proof for one in sent.outputs())

    with_server(work)


def test_a_pset_without_proofs_takes_its_nonces_along() -> None:
    full = amp0pset("lbtc").pset()
    proofs = {f.O_VALUE_PROOF, f.O_ASSET_PROOF}
    outputs = [type(one)({k: v for k, v in one.fields.items() if k not in proofs}) for one in full.outputs()]
    bare = Amp0Pset(Pset.of(full.fields, full.inputs(), outputs), CASES["lbtc"]["blinding_nonces"])

    async def work(amp0: Amp0, server: MemoryServer) -> None:
        await amp0.preflight(bare)
        [call] = asked(server)
        assert call.request.blinding_nonces == CASES["lbtc"]["blinding_nonces"]
        assert Pset(call.request.pset or "").outputs()[0].txout.range_proof

    with_server(work)


def test_a_no_has_all_reasons() -> None:
    async def work(amp0: Amp0, server: MemoryServer) -> None:
        verdict = await amp0.preflight(amp0pset("asset"))
        assert not verdict.allowed
        assert [(one.code, one.side, one.index, one.about) for one in verdict.reasons] == [
            ("transfer_limit", "input", None, "sender"),
            ("recipient_not_allowed", "output", 0, "recipient"),
        ]
        with pytest.raises(CosignRefused, match="at most 5; recipient_not_allowed: output 0: this asset") as refused:
            verdict.require()
        assert refused.value.code == "transfer_limit"
        assert [(one.code, one.index) for one in refused.value.reasons] == [
            ("transfer_limit", None),
            (REASON["code"], 0),
        ]

    with_server(work, answer=NO)


def test_the_issuer_may_have_the_last_word() -> None:
    remark = {**REASON, "code": "issuer_decides", "side": "asset", "index": None, "about": "asset"}

    async def work(amp0: Amp0, server: MemoryServer) -> None:
        verdict = await amp0.preflight(amp0pset("asset"))
        assert verdict.allowed
        assert verdict.issuer_decides
        verdict.require()

    with_server(work, answer={"allowed": True, "reasons": [remark]})


def test_what_nobody_can_be_asked_about() -> None:
    mainnet = "lq1qqvxk052kf3qtkxmrakx50a9gc3smqad2ync54hzntjt980kfej9kkfe0247rp5h4yzmdftsahhw64uy8pzfe7cpg4fgykm7cv"

    async def work(amp0: Amp0, server: MemoryServer) -> None:
        with pytest.raises(InvalidInput):
            await amp0.preflight([])
        with pytest.raises(InvalidInput):
            await amp0.preflight([("nonsense", 5, ASSET)])
        with pytest.raises(NetworkMismatch):
            await amp0.preflight([(mainnet, 5, ASSET)])
        assert asked(server) == []

    with_server(work)


def test_a_token_to_ask_without_a_session() -> None:
    async def work(amp0: Amp0, server: MemoryServer) -> None:
        server.answers[wire.GetPreflightToken.URI] = {"token": "GA1.2.secret", "expires_at": 2}
        token = await amp0.preflight_token()
        assert (token.token, token.expires_at) == ("GA1.2.secret", 2)
        assert "secret" not in repr(token)

    with_server(work)


# -- before a spend ---------------------------------------------------------------------------------------------------


def test_sending_asks_first_and_a_no_is_not_signed() -> None:
    async def work(amp0: Amp0, server: MemoryServer) -> None:
        server.http = lambda _body: rpc.encode_json(rpc.CosignReply(result=False, error="no"))
        with pytest.raises(CosignRefused, match="recipient_not_allowed"):
            await amp0.send(amp0pset("asset", signed=True))
        assert [method for method, _, _ in server.requests] == ["GET"], "whether it was signed before"

    with_server(work, answer=NO)


def test_what_was_signed_before_the_rules_changed_can_still_be_sent() -> None:
    """Sending again after a lost connection: by then the asset may be locked, and the signatures exist all the same."""

    async def work(amp0: Amp0, server: MemoryServer) -> None:
        case = CASES["asset"]
        server.http = lambda _body: rpc.encode_json(rpc.CosignReply(result=True, error="", tx=case["cosigned_tx"]))
        server.answers["vault.broadcast_raw_tx"] = case["txid"]
        assert str(await amp0.send(amp0pset("asset", signed=True))) == case["txid"]
        assert [method for method, _, _ in server.requests] == ["GET", "POST"]

    with_server(work, answer=NO)


def test_nobody_is_asked_about_lbtc() -> None:
    async def work(amp0: Amp0, server: MemoryServer) -> None:
        await amp0.require_allowed(amp0pset("lbtc"))
        await amp0.require_allowed(amp0pset("drain").pset())

    assert asked(with_server(work, answer=NO)) == []


@pytest.mark.parametrize(
    "failure", [*MISSING, CallFailed("too many", name="toomanyattempts"), CallFailed("not yours", name="invalid")]
)
def test_where_none_is_to_be_had_the_cosigner_decides(failure: CallFailed, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "amp0.client")

    async def work(amp0: Amp0, server: MemoryServer) -> None:
        await amp0.require_allowed(amp0pset("asset"))
        with pytest.raises(CallFailed):
            await amp0.preflight(amp0pset("asset"))

    server = with_server(work, answer=failure)
    assert len(asked(server)) == 2
    assert "no pre-flight" in caplog.text


@pytest.mark.parametrize("failure", [ConnectionFailed("away"), CallFailed("User not found", name="usernotfound")])
def test_other_failures_are_told(failure: Exception) -> None:
    async def work(amp0: Amp0, server: MemoryServer) -> None:
        with pytest.raises((ConnectionFailed, LoginFailed)):
            await amp0.require_allowed(amp0pset("asset"))

    with_server(work, answer=failure)


def test_the_network_of_addresses_is_the_accounts() -> None:
    async def work(amp0: Amp0, server: MemoryServer) -> None:
        address = (await amp0.address(2)).address()
        await amp0.preflight([(address, 1, NETWORK.policy_asset())])
        assert asked(server)[0].request.transfers == [
            wire.PreflightTransfer(address=str(address), asset_id=NETWORK.policy_asset(), satoshi=1)
        ]

    with_server(work)
