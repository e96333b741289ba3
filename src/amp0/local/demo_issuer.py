"""The issuer's day, after the venue's: a restricted asset from its issue to the register of its holders.

An issuer with a login at the server and a treasury in the wallet of an Elements node; two holders with AMP accounts of
this server; and a stranger, whom the asset must not reach.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass

from amp0.blocking import Amp0, Amp0Connected, EsploraClient, IssuerClient
from amp0.elements.address import Address
from amp0.elements.keys import ExtendedKey
from amp0.elements.pset import Amp0Pset
from amp0.errors import ChainError, CosignRefused
from amp0.issuer import Done, Issue, NodeTreasury, Progress
from amp0.local.notebook import Day
from amp0.local.stack import Stack
from amp0.protocol.issuer import Issued, Ownership, User
from amp0.wallet.signer import Signer
from amp0.wallet.wollet import Wollet

ISSUED = 1_000_000
ASSIGNED = {"Alice": 250_000, "Bob": 100_000}
PAYMENT = 40_000
REISSUED = 50_000
BURNED = 20_000
"""Satoshi of the asset, all of them."""
FEES = 10_000
"""L-BTC for Alice, who pays the fee of her transfer."""
FINAL = 2
"""Blocks after which a transaction is final on Liquid."""


@dataclass(frozen=True, slots=True)
class Register:
    """How the issuer's part ended: who holds what (satoshi by name), which sums to ``in_circulation``.

    ``refused`` is the code with which the server refused the payment to a stranger.
    """

    asset_id: str
    holdings: dict[str, int]
    in_circulation: int
    refused: str


@dataclass(frozen=True, slots=True)
class _Holder:
    """Somebody with an AMP account."""

    name: str
    signer: Signer
    amp0: Amp0
    wollet: Wollet

    def address(self) -> str:
        return str(self.amp0.address(None).address())


def walk_issuer(day: Day, stack: Stack, chain: EsploraClient) -> Register:
    """Walk the issuer's steps; raises whatever error of ours stops it."""
    assert stack.node_url is not None, "the demo needs a node for the treasury"
    assert stack.node_cookie is not None
    treasury = NodeTreasury(stack.node_url, stack.node_cookie)
    password = secrets.token_urlsafe(12)
    with ExitStack() as closing:
        issuer, issued = _issue(day, stack, closing, treasury, password)
        users, holders = _register(day, stack, closing, issuer, issued)
        _distribute(day, stack, issuer, issued, treasury, users)
        refused = _pay(day, stack, chain, closing, issuer, issued, *holders)
        _reissue_and_burn(day, stack, issuer, issued, treasury)
        return _read_register(day, issuer, issued, users, refused)


def _issue(
    day: Day, stack: Stack, closing: ExitStack, treasury: NodeTreasury, password: str
) -> tuple[IssuerClient, Issued]:
    day.step("An issuer issues a restricted, reissuable asset")
    day.ask(
        "server",
        "a login for an issuer, called bonds",
        lambda: stack.dev.create_issuer("bonds", password),
        lambda number: f"issuer {number}; the server's own wallet has L-BTC for issuances",
    )
    issuer = closing.enter_context(IssuerClient(stack.api_url, "bonds", password))
    addresses = [
        day.ask(
            "node", f"an address of the treasury, for the {what}", lambda: issuer.treasury_address(treasury), _short
        )
        for what in ("units", "reissuance token")
    ]
    pubkey = ExtendedKey.from_seed(secrets.token_bytes(32), main=False).public_key.hex()
    request = Issue(
        name="Demo Bond", ticker="DEMO", domain="example.com", pubkey=pubkey, amount=ISSUED,
        destination_address=addresses[0], is_reissuable=True, reissuance_amount=1, reissuance_address=addresses[1],
        transfer_restricted=True,
    )  # fmt: skip
    issued = day.ask(
        "issuer API",
        f"issue {ISSUED:,} units of Demo Bond to it",
        lambda: issuer.issue(request),
        lambda made: f"asset {made.asset_id[:16]}… in {made.txid[:16]}…",
    )
    day.ask("chain", "make two blocks: final on Liquid", lambda: stack.dev.mine(FINAL), lambda h: f"block {h}")
    day.ask(
        "issuer API",
        "what does the treasury hold, as far as the server has read the chain?",
        lambda: _in_sight(issuer, issued),
        lambda satoshi: f"{satoshi:,} units",
    )
    day.ask(
        "issuer API",
        "let only AMP accounts receive it, for ever",
        lambda: issuer.register_authorized(issued.asset_uuid),
        lambda _: "registered as authorized",
    )
    return issuer, issued


def _register(
    day: Day, stack: Stack, closing: ExitStack, issuer: IssuerClient, issued: Issued
) -> tuple[dict[str, User], list[_Holder]]:
    day.step("It registers two holders")
    category = day.ask(
        "issuer API",
        "a category, accredited, which holders of the asset must be in",
        lambda: issuer.add_category_asset(issuer.add_category("accredited").id, issued.asset_uuid),
        lambda made: f"category {made.id}",
    )
    users, holders = {}, []
    for name in ASSIGNED:
        holder = day.ask(
            "AMP0 server",
            f"an AMP account for {name}",
            lambda name=name: _open_account(stack, name, closing),  # type: ignore[misc]
            lambda holder: f"AMP ID {holder.amp0.amp_id()}",
        )
        holders.append(holder)
        users[name] = day.ask(
            "issuer API",
            f"register {name} with that AMP ID, as accredited",
            lambda name=name, holder=holder: _accredit(issuer, category.id, name, holder),  # type: ignore[misc]
            lambda user: f"user {user.id}",
        )
    return users, holders


def _accredit(issuer: IssuerClient, category: int, name: str, holder: _Holder) -> User:
    user = issuer.add_user(name, gaid=holder.amp0.amp_id())
    issuer.add_category_user(category, user.id)
    return user


def _distribute(
    day: Day, stack: Stack, issuer: IssuerClient, issued: Issued, treasury: NodeTreasury, users: dict[str, User]
) -> None:
    day.step("It distributes")
    for name, satoshi in ASSIGNED.items():
        day.ask(
            "issuer API",
            f"assign {satoshi:,} units to {name}",
            lambda name=name, satoshi=satoshi: issuer.assign(issued.asset_uuid, users[name].id, satoshi),  # type: ignore[misc]
            lambda made: f"assignment {made.id}",
        )
    day.ask(
        "issuer API",
        "distribute: the server says where to, the node pays, the server checks it in the chain",
        lambda: issuer.distribute(issued.asset_uuid, treasury, report=_miner(stack), poll_seconds=0.05),
        lambda done: f"{done[0].satoshi:,} units in {done[0].txid[:16]}…, confirmed",
    )


def _pay(
    day: Day,
    stack: Stack,
    chain: EsploraClient,
    closing: ExitStack,
    issuer: IssuerClient,
    issued: Issued,
    alice: _Holder,
    bob: _Holder,
) -> CosignRefused:
    """One payment that is allowed, and one that is not."""
    day.step("Alice pays Bob")
    day.ask(
        "faucet",
        f"{FEES:,} satoshi of L-BTC to Alice, who pays the fee",
        lambda: stack.dev.faucet(alice.address(), FEES),
    )
    stack.dev.mine()
    to_bob = _built(stack, chain, issued, alice, bob.address())
    transaction = day.ask(
        "AMP0 server",
        f"cosign {PAYMENT:,} units from Alice to Bob",
        lambda: alice.amp0.sign(to_bob),
        lambda _: "signed: both are registered, and accredited",
    )
    day.ask("chain", "broadcast the transaction", lambda: chain.broadcast(transaction))
    day.ask("chain", "make two blocks", lambda: stack.dev.mine(FINAL), lambda h: f"block {h}")
    day.step("A payment to a stranger is refused")
    stranger = day.ask(
        "AMP0 server",
        "an AMP account for somebody whom the issuer does not know",
        lambda: _open_account(stack, "a stranger", closing),
        lambda holder: f"AMP ID {holder.amp0.amp_id()}",
    )
    to_stranger = _built(stack, chain, issued, alice, stranger.address())
    refused = day.ask(
        "AMP0 server",
        f"cosign {PAYMENT:,} units from Alice to the stranger",
        lambda: _refused(alice.amp0, to_stranger),
        lambda refused: f"NO  {refused}",
    )
    day.ask(
        "issuer API",
        "why, for the issuer's eyes",
        lambda: issuer.refusals(issued.asset_uuid, count=1)[0].reasons,
        lambda reasons: "; ".join(f"{reason.code}: {reason.text}" for reason in reasons),
    )
    return refused


def _reissue_and_burn(day: Day, stack: Stack, issuer: IssuerClient, issued: Issued, treasury: NodeTreasury) -> None:
    day.step("A reissue, and a burn")

    def told(done: Done) -> str:
        return f"{done.satoshi:,} units in {done.txid[:16]}…, confirmed"

    day.ask(
        "issuer API",
        f"reissue {REISSUED:,} units: request, node, check in the chain",
        lambda: issuer.reissue(issued.asset_uuid, REISSUED, treasury, report=_miner(stack), poll_seconds=0.05),
        told,
    )
    day.ask(
        "issuer API",
        f"burn {BURNED:,} units of the treasury, the same way",
        lambda: issuer.burn(issued.asset_uuid, BURNED, treasury, report=_miner(stack), poll_seconds=0.05),
        told,
    )


def _read_register(
    day: Day, issuer: IssuerClient, issued: Issued, users: dict[str, User], refused: CosignRefused
) -> Register:
    """Who holds what; raises unless every unit is accounted for."""
    day.step("The register of holders balances")
    names = {str(user.id): name for name, user in users.items()}

    def told(rows: list[Ownership]) -> str:
        return ", ".join(f"{names.get(row.owner or '', 'treasury')} {row.amount:,}" for row in rows)

    rows = day.ask("issuer API", "who holds how much", lambda: issuer.ownerships(issued.asset_uuid), told)
    summary = day.ask(
        "issuer API",
        "issued, reissued, burned",
        lambda: issuer.summary(issued.asset_uuid),
        lambda s: f"{s.issued:,} + {s.reissued:,} − {s.burned:,} = {s.issued + s.reissued - s.burned:,} units",
    )
    balance = day.ask(
        "issuer API",
        "is anything lost?",
        lambda: issuer.balance(issued.asset_uuid),
        lambda found: "nothing" if not found.lost_outputs + found.reissuance_lost_outputs else "YES",
    )
    holdings = {names.get(row.owner or "", "treasury"): row.amount for row in rows}
    in_circulation = summary.issued + summary.reissued - summary.burned
    expected = {
        "treasury": ISSUED - sum(ASSIGNED.values()) + REISSUED - BURNED,
        "Alice": ASSIGNED["Alice"] - PAYMENT,
        "Bob": ASSIGNED["Bob"] + PAYMENT,
    }
    if holdings != expected or sum(holdings.values()) != in_circulation or balance.lost_outputs:
        raise ChainError(f"the register does not balance: {holdings}, and {in_circulation} in circulation")
    return Register(issued.asset_id, holdings, in_circulation, refused.code)


# --- what happens between the lines --------------------------------------------------------------------------------


def _open_account(stack: Stack, name: str, closing: ExitStack) -> _Holder:
    """A signer with one AMP account, used through watch-only credentials as in the venue's day."""
    network = stack.network
    signer = Signer.random(network)
    connected = Amp0Connected(network, signer.amp0_signer_data())
    password = secrets.token_urlsafe(12)
    with connected.login(signer.amp0_sign_challenge(connected.get_challenge())) as session:
        pointer = session.next_account()
        amp_id = session.create_amp0_account(pointer, signer.amp0_account_xpub(pointer))
        session.create_watch_only(name, password)
    amp0 = closing.enter_context(Amp0(network, name, password, amp_id))
    return _Holder(name, signer, amp0, Wollet(network, amp0.wollet_descriptor(), None))


def _built(stack: Stack, chain: EsploraClient, issued: Issued, payer: _Holder, address: str) -> Amp0Pset:
    """A payment of the asset, synced for, built and signed by the payer."""
    payer.wollet.apply_update(chain.full_scan_to_index(payer.wollet, payer.amp0.last_index()))
    builder = stack.network.tx_builder()
    builder.add_recipient(Address(address, stack.network), PAYMENT, issued.asset_id)
    built = builder.finish_for_amp0(payer.wollet)
    return Amp0Pset(payer.signer.sign(built.pset()), built.blinding_nonces())


def _refused(amp0: Amp0, payment: Amp0Pset) -> CosignRefused:
    """The refusal that has to come."""
    try:
        amp0.sign(payment)
    except CosignRefused as refused:
        return refused
    raise ChainError("the server signed a payment to a stranger; the demo's rules did not hold")


def _in_sight(issuer: IssuerClient, issued: Issued) -> int:
    """What the treasury holds, once the server has read the block of the issuance: it is a moment behind."""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        held = sum(row.amount for row in issuer.balance(issued.asset_uuid).confirmed_balance)
        if held:
            return held
        time.sleep(0.05)
    raise ChainError("the server has not read the block of the issuance; look at its log")


def _miner(stack: Stack) -> Callable[[Progress], None]:
    """Makes the blocks that an operation would wait for."""

    def heard(progress: Progress) -> None:
        if progress.step == "sent":
            stack.dev.mine(FINAL)

    return heard


def _short(address: str) -> str:
    return f"{address[:24]}…"
