"""B07: who may do what to whose objects. Every procedure × anonymous, watch-only, full, other user.

Generated from the table of procedures: one that is not classified here fails the test. Each is called with arguments
that name the objects of Alice (accounts, GAID, addresses, txid, outpoints, PIN login, e-mail address), as Alice, as
her watch-only session, as Mallory, as Mallory's watch-only session, and by somebody who is not logged in.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import pytest
import sqlalchemy as sa

from amp0.elements.address import Address
from amp0.elements.transaction import OutPoint, Transaction
from amp0.protocol import credentials, preflight, rpc
from amp0.protocol import twofactor as wire
from amp0.server import calls
from amp0.server.context import Level
from amp0.server.store import schema

from .chain import payment
from .talking import NETWORK, CallError, Client, Wallet, World, in_world, watch_only_login
from .twofactor.acting import enable

ACCOUNT = 5
"""Alice's account; Mallory has others."""
EMAIL = "alice@shop.example"


@dataclass(frozen=True)
class Objects:
    """What belongs to Alice, as an attacker might have learnt it."""

    wallet: Wallet
    user_id: int
    gaid: str
    main_gaid: str
    address: str
    confidential: str
    script: bytes
    txid: str
    spend: Transaction
    pin_identifier: str
    blob: str
    blob_hmac: str

    def login_address(self) -> str:
        """What a challenge is asked for with."""
        return credentials.login_address(NETWORK, self.wallet.master.public_key)

    def secrets(self) -> list[str]:
        """What nobody else may be told, as it would stand in an answer."""
        return [
            self.gaid, self.main_gaid, self.address, self.confidential, self.script.hex(), self.txid,
            self.pin_identifier, self.blob, self.blob_hmac, self.wallet.master.public_key.hex(),
            self.wallet.master.chain_code.hex(), self.wallet.gait_path.hex(), EMAIL,
        ]  # fmt: skip


@dataclass(frozen=True)
class Rule:
    """How a procedure is classified."""

    level: Level
    calls: Callable[[Objects], list[rpc.Procedure]]
    """With Alice's objects in the arguments."""
    watch_only_writes: frozenset[str] = frozenset()
    """Tables in which a watch-only session changes something by it."""


def _(level: Level, call: Callable[[Objects], Any], *tables: str) -> Rule:
    def several(alice: Objects) -> list[rpc.Procedure]:
        made = call(alice)
        return made if isinstance(made, list) else [made]

    return Rule(level, several, frozenset(tables))


ANYBODY, WATCH_ONLY, FULL = Level.ANONYMOUS, Level.WATCH_ONLY, Level.FULL
_CODE = {"method": "email", "code": "123456"}
_NONCES = {"blinding_nonces": ["", ""]}
_LIMITS = {"is_fiat": False, "per_tx": 0, "total": 10_000_000}


def _question(alice: Objects) -> preflight.PreflightRequest:
    return preflight.PreflightRequest(
        transfers=[preflight.PreflightTransfer(address=alice.confidential, asset_id="ab" * 32, satoshi=1)]
    )


def _codes_of(kind: type[Any]) -> Callable[[Objects], list[rpc.Procedure]]:
    return lambda a: [
        kind(wire.SEND_RAW_TX, {"txid": a.txid}),
        kind(wire.REMOVE_ACCOUNT, {}),
        kind(wire.CHANGE_LIMITS, _LIMITS),
    ]


def _always(call: rpc.Procedure) -> Callable[[Objects], rpc.Procedure]:
    return lambda a: call


def _outputs(alice: Objects) -> dict[str, Any]:
    return {"list": [{"txhash": alice.txid, "pt_idx": 0, "user_status": 1}]}


RULES: Mapping[type[rpc.Procedure], Rule] = {
    rpc.Register: _(ANYBODY, lambda a: [a.wallet.registration(gait_path="ab" * 64), a.wallet.registration()]),
    rpc.GetChallenge: _(ANYBODY, lambda a: rpc.GetChallenge(a.login_address())),
    rpc.Authenticate: _(ANYBODY, lambda a: rpc.Authenticate("3006020101020101")),
    rpc.WatchOnlyLogin: _(ANYBODY, lambda a: watch_only_login("shop", "wrong")),
    rpc.GetPinPassword: _(ANYBODY, lambda a: rpc.GetPinPassword("1234", a.pin_identifier[::-1])),
    rpc.GetClientBlob: _(WATCH_ONLY, lambda a: rpc.GetClientBlob()),
    rpc.GetSyncStatus: _(WATCH_ONLY, lambda a: rpc.GetSyncStatus()),
    rpc.GetAvailableCurrencies: _(WATCH_ONLY, lambda a: rpc.GetAvailableCurrencies()),
    rpc.GetUpcomingNLockTimes: _(WATCH_ONLY, lambda a: rpc.GetUpcomingNLockTimes()),
    rpc.GetFeeEstimates: _(WATCH_ONLY, lambda a: rpc.GetFeeEstimates()),
    rpc.Fund: _(WATCH_ONLY, lambda a: rpc.Fund(ACCOUNT), "accounts", "addresses"),
    rpc.UploadAddresses: _(
        WATCH_ONLY,
        lambda a: [rpc.UploadAddresses(n, [a.confidential]) for n in (ACCOUNT, 1)],
        "addresses",
    ),
    rpc.GetMyAddresses: _(WATCH_ONLY, lambda a: [rpc.GetMyAddresses(n) for n in (ACCOUNT, 1, 0)]),
    rpc.GetUnspentOutputs: _(WATCH_ONLY, lambda a: [rpc.GetUnspentOutputs(0, n) for n in (ACCOUNT, 1, 0)]),
    rpc.GetTransactions: _(WATCH_ONLY, lambda a: [rpc.GetTransactions(n) for n in (ACCOUNT, 1, 0)]),
    rpc.GetRawTransaction: _(WATCH_ONLY, lambda a: rpc.GetRawTransaction(a.txid)),
    rpc.SendTransaction: _(WATCH_ONLY, lambda a: rpc.SendTransaction(str(a.spend), _CODE, _NONCES)),
    rpc.SignTransaction: _(WATCH_ONLY, lambda a: rpc.SignTransaction(str(a.spend), _CODE, _NONCES)),
    rpc.BroadcastTransaction: _(WATCH_ONLY, lambda a: rpc.BroadcastTransaction(str(a.spend))),
    preflight.AskPreflight: _(WATCH_ONLY, lambda a: [preflight.AskPreflight(n, _question(a)) for n in (ACCOUNT, 1)]),
    preflight.GetPreflightToken: _(
        WATCH_ONLY, lambda a: [preflight.GetPreflightToken(n) for n in (ACCOUNT, 1)]
    ),
    rpc.SetClientBlob: _(FULL, lambda a: rpc.SetClientBlob("BBBB", 0, "A" * 42 + "E=", a.blob_hmac)),
    rpc.GetMemos: _(FULL, lambda a: rpc.GetMemos()),
    rpc.CreateSubaccount: _(
        FULL, lambda a: rpc.CreateSubaccount(9, "", rpc.ACCOUNT_TYPE, [a.wallet.account_xpub(ACCOUNT)], [""])
    ),
    rpc.SyncCustom: _(FULL, lambda a: [rpc.SyncCustom(*_pair("shop"), "cd" * 64), rpc.SyncCustom("", "", "")]),
    rpc.SetAppearance: _(FULL, lambda a: rpc.SetAppearance({"x": 1})),
    rpc.SetCsvTime: _(FULL, lambda a: rpc.SetCsvTime(NETWORK.csv_buckets[0])),
    rpc.SetNLockTime: _(FULL, lambda a: rpc.SetNLockTime(144)),
    rpc.SendNLockTimes: _(FULL, lambda a: rpc.SendNLockTimes()),
    rpc.GetSystemMessage: _(FULL, lambda a: rpc.GetSystemMessage(0)),
    rpc.AckSystemMessage: _(FULL, lambda a: rpc.AckSystemMessage(1, "ab" * 32, "cd")),
    rpc.RemoveAccount: _(FULL, lambda a: rpc.RemoveAccount()),
    rpc.SetPinLogin: _(FULL, lambda a: rpc.SetPinLogin("9999", "a device of Alice")),
    rpc.RemovePinLogins: _(FULL, lambda a: rpc.RemovePinLogins()),
    wire.GetTwoFactorConfig: _(WATCH_ONLY, lambda a: wire.GetTwoFactorConfig()),
    wire.GetFrozenOutputs: _(WATCH_ONLY, lambda a: wire.GetFrozenOutputs()),
    **{
        # A watch-only session has codes sent for spends only.
        kind: _(WATCH_ONLY, _codes_of(kind), "two_factor_codes")
        for kind in wire.REQUEST.values()
    },
    **{kind: _(FULL, _always(kind(EMAIL, _CODE))) for kind in wire.INIT_ENABLE.values()},
    **{kind: _(FULL, _always(kind("123456"))) for kind in wire.ENABLE_WITH.values()},
    **{kind: _(FULL, _always(kind(_CODE))) for kind in wire.DISABLE_WITH.values()},
    wire.RequestProxy: _(FULL, lambda a: wire.RequestProxy(wire.GAUTH, _CODE)),
    wire.EnableGauth: _(FULL, lambda a: wire.EnableGauth("123456", _CODE)),
    wire.SetEmail: _(FULL, lambda a: wire.SetEmail("mallory@evil.example", _CODE)),
    wire.ActivateEmail: _(FULL, lambda a: wire.ActivateEmail("123456")),
    wire.ChangeSettings: _(FULL, lambda a: wire.ChangeSettings("tx_limits", _LIMITS, _CODE)),
    wire.SetUtxoStatus: _(FULL, lambda a: wire.SetUtxoStatus(_outputs(a), _CODE)),
    wire.RequestReset: _(FULL, lambda a: wire.RequestReset(EMAIL)),
    wire.ConfirmReset: _(FULL, lambda a: [wire.ConfirmReset(EMAIL, dispute, _CODE) for dispute in (False, True)]),
    wire.RequestUndoReset: _(FULL, lambda a: wire.RequestUndoReset(EMAIL)),
    wire.ConfirmUndoReset: _(FULL, lambda a: wire.ConfirmUndoReset(EMAIL, _CODE)),
    wire.CancelReset: _(FULL, lambda a: wire.CancelReset(_CODE)),
    wire.RequestDisputeNonce: _(FULL, lambda a: wire.RequestDisputeNonce("reset")),
    wire.ResolveDispute: _(FULL, lambda a: wire.ResolveDispute("reset", "ab" * 32, "3006020101020101")),
}  # fmt: skip


def _pair(name: str) -> tuple[str, str]:
    login = watch_only_login(name, "another")
    return login.credentials.username, login.credentials.password


Dump = dict[str, set[tuple[Any, ...]]]


def dump(world: World, only: Objects | None = None) -> Dump:
    """Every row of every table; with ``only``, those that are about her."""
    found: Dump = {}
    with world.server.services.store.snapshot() as db:
        own = set()
        if only is not None:
            own = set(
                db.execute(sa.select(schema.accounts.c.id).where(schema.accounts.c.user_id == only.user_id)).scalars()
            )
        for name, table in schema.metadata.tables.items():
            rows = sa.select(table)
            if only is not None and name == "users":
                rows = rows.where(table.c.id == only.user_id)
            elif only is not None and "user_id" in table.c:
                rows = rows.where(table.c.user_id == only.user_id)
            elif only is not None and "account_id" in table.c:
                rows = rows.where(table.c.account_id.in_(own))
            found[name] = {tuple(row) for row in db.execute(rows)}
    return found


async def alice_in(world: World) -> tuple[Objects, Client, Client]:
    """Alice with everything a wallet may have; her full and her watch-only session."""
    wallet = Wallet("alice")
    owner = await world.logged_in(wallet)
    main_gaid = owner.connection.session.receiving_id
    gaid = await wallet.create_account(owner, ACCOUNT)
    fund = await owner.call(rpc.Fund(ACCOUNT))
    (row, *_) = await owner.call(rpc.GetMyAddresses(ACCOUNT))
    assert row["pointer"] == fund["pointer"]
    plain = Address(row["ad"], NETWORK)
    confidential = str(Address.from_script(NETWORK, plain.script, wallet.master.public_key))
    await owner.call(rpc.UploadAddresses(ACCOUNT, [confidential]))
    paid = payment((plain.script, 5_000))
    world.chain.mine(paid)
    await world.server.watcher.poll()
    hmac = "A" * 42 + "I="
    await owner.call(rpc.SetClientBlob("AAAAQUxJQ0U=", 0, hmac, rpc.ZERO_HMAC))
    pin = await owner.call(rpc.SetPinLogin("1234", "a device of Alice"))
    login = await wallet.create_watch_only(owner, "shop", "secret")
    await enable(owner, world.outbox, address=EMAIL)
    watcher = await world.joined()
    await watcher.call(login)
    # The chain knows what is signed and what is not; this one takes anything.
    world.chain.refuses = "mandatory-script-verify-flag-failed"
    alice = Objects(
        wallet=wallet, user_id=owner.connection.session.user_id, gaid=gaid, main_gaid=main_gaid, address=row["ad"],
        confidential=confidential, script=plain.script, txid=str(paid.txid()),
        spend=payment((b"\x51", 4_900), spends=(OutPoint(paid.txid(), 0),)),
        pin_identifier=pin.split(";")[0], blob="AAAAQUxJQ0U=", blob_hmac=hmac,
    )  # fmt: skip
    return alice, owner, watcher


async def mallory_in(world: World) -> tuple[Client, Client]:
    wallet = Wallet("mallory")
    full = await world.logged_in(wallet)
    await wallet.create_account(full, 1)
    login = await wallet.create_watch_only(full, "mallory", "secret")
    watcher = await world.joined()
    await watcher.call(login)
    return watcher, full


async def answer(client: Client, call: rpc.Procedure) -> tuple[str, str]:
    """("answered", the result) or (the error's name, its text)."""
    try:
        return "answered", json.dumps(await client.call(call))
    except CallError as error:
        return error.name, error.text


def leaks(alice: Objects, call: rpc.Procedure, text: str) -> list[str]:
    """Her secrets in an answer, but for those that the caller has named himself."""
    asked = json.dumps(call.args())
    return [secret for secret in alice.secrets() if secret in text and secret not in asked]


KINDS = sorted(calls.CALLS, key=lambda kind: kind.URI)


def test_b07_every_procedure_is_classified() -> None:
    assert set(RULES) == set(calls.CALLS), "say in RULES who may call it, and with which objects it is attacked"
    assert {kind: rule.level for kind, rule in RULES.items()} == {kind: row.level for kind, row in calls.CALLS.items()}


@pytest.mark.parametrize("kind", KINDS, ids=[kind.URI.removeprefix("com.") for kind in KINDS])
def test_b07_the_object_level_authorisation_matrix(kind: type[rpc.Procedure]) -> None:
    rule = RULES[kind]
    left = [0]
    while left:
        # A world of its own for each call: Alice's answers are part of it, and change things.
        index = left.pop()

        async def scene(world: World, index: int = index) -> None:
            alice, owner, watcher = await alice_in(world)
            several = rule.calls(alice)
            if index + 1 < len(several):
                left.append(index + 1)
            call = several[index]
            await by_nobody(world, rule, alice, call)
            await by_mallory(world, rule, alice, call)
            await by_her_watch_only_session(world, rule, alice, watcher, call)
            # The arguments are good ones: for Alice the call is neither malformed nor beyond her.
            name, text = await answer(owner, call)
            assert name not in ("notallowed", "sessionexpired", "internal", "unknownprocedure")
            assert not text.startswith("arguments of"), text

        in_world(scene)


async def by_nobody(world: World, rule: Rule, alice: Objects, call: rpc.Procedure) -> None:
    before = dump(world)
    anonymous = await world.joined()
    name, text = await answer(anonymous, call)
    assert leaks(alice, call, text) == []
    assert dump(world) == before
    assert (name == "sessionexpired") is (rule.level > ANYBODY)
    assert anonymous.connection.session.level is ANYBODY


async def by_mallory(world: World, rule: Rule, alice: Objects, call: rpc.Procedure) -> None:
    """Alice's things stay as they are, and stay hers."""
    for other in await mallory_in(world):
        hers, all_before, sent = dump(world, alice), dump(world), len(world.outbox.messages())
        level = other.connection.session.level
        name, text = await answer(other, call)
        assert leaks(alice, call, text) == []
        hers_after, all_after = dump(world, alice), dump(world)
        for table in schema.metadata.tables:
            if table in HERS:
                assert hers_after[table] == hers[table], table
            else:
                assert all_after[table] == all_before[table], table
        if level < rule.level:
            assert name == "notallowed"
        elif level is FULL:
            assert name not in ("notallowed", "sessionexpired")
        # Mallory may have codes sent to any address she claims as hers; never one for a factor of Alice's.
        codes = [message for message in world.outbox.messages()[sent:] if message.address == EMAIL]
        assert not codes or EMAIL in json.dumps(call.args())


async def by_her_watch_only_session(
    world: World, rule: Rule, alice: Objects, watcher: Client, call: rpc.Procedure
) -> None:
    before = dump(world)
    name, text = await answer(watcher, call)
    assert EMAIL not in text or EMAIL in json.dumps(call.args()), "addresses are masked"
    after = dump(world)
    assert {table for table in before if before[table] != after[table]} <= rule.watch_only_writes
    if rule.level is FULL:
        assert name == "notallowed"
        assert after == before
    else:
        assert name != "notallowed" or rule.watch_only_writes


HERS = {
    name
    for name, table in schema.metadata.tables.items()
    if name == "users" or "user_id" in table.c or "account_id" in table.c
}
"""Tables whose rows say whose they are. In all others Mallory changes nothing at all."""
