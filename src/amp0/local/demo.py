"""The whole AMP0 day on a local stack, step by step, each told as it happens.

:func:`walk` does what a venue does, and then an issuer (:mod:`amp0.local.demo_issuer`), with the public classes and
nothing else, and reports every exchange: who was asked, what for, what came back, how long it took. It prints nothing;
whoever calls decides how it looks.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass

from amp0.blocking import Amp0, Amp0Connected, EsploraClient
from amp0.elements.keys import Mnemonic
from amp0.elements.pset import Amp0Pset
from amp0.elements.transaction import Transaction
from amp0.errors import ChainError
from amp0.local.demo_issuer import Register, walk_issuer
from amp0.local.notebook import Day, Exchange, Report, Step
from amp0.local.stack import Stack
from amp0.network import Network
from amp0.wallet.signer import Signer
from amp0.wallet.wollet import Wollet

__all__ = ["Exchange", "Outcome", "Register", "Step", "walk"]

DEPOSIT = 100_000
"""L-BTC the faucet pays, satoshi."""
ASSET_SUPPLY = 1_000_000
ASSET_DEPOSIT = 5_000
"""Units of the demo's own asset: issued to the faucet, and deposited with the venue."""
PAYMENT = 1_200
"""Units of that asset that the venue pays."""
CHANGE_BLOCKS = 2
"""Blocks made at the end: two are final on Liquid."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """How the day ended. Balances are satoshi by asset id; ``asset_id`` is the asset of the venue's day, ``register``
    is about the issuer's."""

    txid: str
    height: int
    fee: int
    amp_id: str
    asset_id: str
    balances: dict[str, int]
    recipient_balances: dict[str, int]
    register: Register
    seconds: float


def walk(stack: Stack, report: Report) -> Outcome:
    """Walk a venue's eight steps on ``stack``, and then an issuer's; raises whatever error of ours stops it.

    The stack has to serve a node, whose wallet is the issuer's treasury.
    """
    day = Day(report)
    network = stack.network

    signer, amp_id, password = _set_up(day, stack)
    amp0 = day.ask(
        "AMP0 server",
        "log in with the watch-only credentials",
        lambda: Amp0(network, "venue", password, amp_id),
        lambda amp0: f"account {amp0.amp_id()}; no address was used up",
    )
    with amp0, EsploraClient(stack.chain_url, network) as chain:
        wollet = Wollet(network, amp0.wollet_descriptor(), None)
        asset_id = _receive(day, stack, amp0)
        _monitor(day, chain, amp0, wollet)
        payee = Wollet(network, Signer.random(network).wpkh_slip77_descriptor(), None)
        transaction = _spend(day, network, signer, amp0, wollet, payee, asset_id)
        txid, height = _broadcast(day, stack, chain, transaction)
        wollet.apply_update(chain.full_scan_to_index(wollet, amp0.last_index()))
        payee.apply_update(chain.full_scan(payee))
        if wollet.transaction(transaction.txid()).height() is None:
            raise ChainError("the payment is not in a block; look at the chain's log")
        register = walk_issuer(day, stack, chain)
        return Outcome(
            txid=txid,
            height=height,
            fee=transaction.fee(network.policy_asset()),
            amp_id=amp_id,
            asset_id=asset_id,
            balances=dict(wollet.balance()),
            recipient_balances=dict(payee.balance()),
            register=register,
            seconds=day.seconds,
        )


def _set_up(day: Day, stack: Stack) -> tuple[Signer, str, str]:
    """Steps 1 and 2: once per account."""
    network = stack.network
    day.step("Create a signer and an AMP0 account")
    mnemonic = day.ask(
        "signer", "12 random words", lambda: Mnemonic.from_random(12), lambda m: f"{m.word_count()} words, kept secret"
    )
    signer = day.ask(
        "signer", "its public keys", lambda: Signer(mnemonic, network), lambda s: f"fingerprint {s.fingerprint()}"
    )
    connected = day.ask(
        "AMP0 server",
        "connect, and register the public keys",
        lambda: Amp0Connected(network, signer.amp0_signer_data()),
        lambda _: "registered",
    )
    challenge = day.ask("AMP0 server", "a login challenge", connected.get_challenge, repr)
    signature = day.ask(
        "signer", "sign the challenge", lambda: signer.amp0_sign_challenge(challenge), lambda s: f"{s[:24]}…"
    )
    session = day.ask(
        "AMP0 server", "log in with the signature", lambda: connected.login(signature), lambda _: "welcome"
    )
    with session:
        pointer = session.next_account()
        xpub = signer.amp0_account_xpub(pointer)
        amp_id = day.ask(
            "AMP0 server",
            f"create account {pointer}",
            lambda: session.create_amp0_account(pointer, xpub),
            lambda amp_id: f"AMP ID {amp_id}",
        )
        day.step("Create watch-only credentials")
        password = secrets.token_urlsafe(16)
        day.ask(
            "AMP0 server",
            "a login for the daily work: name venue, a random password",
            lambda: session.create_watch_only("venue", password),
            lambda _: "stored; it sees everything and signs nothing",
        )
    return signer, amp_id, password


def _receive(day: Day, stack: Stack, amp0: Amp0) -> str:
    """Step 3, and the deposits that step 4 will find. Returns the id of the demo's asset."""
    day.step("Get addresses, and deposits on them")
    asset_id = day.ask(
        "chain", f"issue an asset, {ASSET_SUPPLY:,} units, to the faucet", lambda: stack.dev.issue(ASSET_SUPPLY)
    )
    for satoshi, asset, name in ((DEPOSIT, None, "satoshi of L-BTC"), (ASSET_DEPOSIT, asset_id, "units of the asset")):
        result = day.ask(
            "AMP0 server",
            "the next unused address",
            lambda: amp0.address(None),
            lambda result: f"#{result.index()} {result.address()}",
        )
        day.ask(
            "faucet",
            f"{satoshi:,} {name} to #{result.index()}",
            lambda result=result, satoshi=satoshi, asset=asset: stack.dev.faucet(str(result.address()), satoshi, asset),  # type: ignore[misc]
        )
    day.ask("chain", "make a block", stack.dev.mine, lambda height: f"block {height}")
    return asset_id


def _monitor(day: Day, chain: EsploraClient, amp0: Amp0, wollet: Wollet) -> None:
    """Step 4: everything up to the last address the server has issued."""
    day.step("Sync and check the balance")
    last_index = day.ask("AMP0 server", "the last index it has issued", amp0.last_index)
    update = day.ask(
        "chain",
        f"the history of addresses 0 to {last_index}",
        lambda: chain.full_scan_to_index(wollet, last_index),
        lambda update: "nothing new" if update is None else "fetched, checked against their ids, amounts opened",
    )
    day.ask(
        "wollet",
        "apply the update",
        lambda: wollet.apply_update(update),
        lambda _: f"{len(wollet.transactions())} transactions, {len(wollet.utxos())} coins",
    )


def _spend(
    day: Day, network: Network, signer: Signer, amp0: Amp0, wollet: Wollet, payee: Wollet, asset_id: str
) -> Transaction:
    """Steps 5 to 7."""
    day.step("Build the transaction")
    builder = network.tx_builder()
    builder.add_recipient(payee.address(0).address(), PAYMENT, asset_id)
    amp0pset = day.ask(
        "builder",
        f"pay {PAYMENT:,} units of the asset to somebody's confidential address",
        lambda: builder.finish_for_amp0(wollet),
        lambda built: (
            f"PSET, {len(built.pset().inputs())} inputs, {len(built.pset().outputs())} outputs, "
            f"{sum(1 for nonce in built.blinding_nonces() if nonce)} blinding nonces"
        ),
    )
    day.step("Sign with the user's key")
    signed = day.ask(
        "signer",
        "sign every input of the account",
        lambda: signer.sign(amp0pset.pset()),
        lambda pset: f"{sum(1 for row in wollet.pset_details(pset).signatures() if row.has_signature())} signatures",
    )
    day.step("Ask the AMP0 server to cosign")
    return day.ask(
        "AMP0 server",
        "its signatures; here are the PSET and the nonces that open its outputs",
        lambda: amp0.sign(Amp0Pset(signed, amp0pset.blinding_nonces())),
        lambda transaction: "the same transaction, both signatures verified on every input",
    )


def _broadcast(day: Day, stack: Stack, chain: EsploraClient, transaction: Transaction) -> tuple[str, int]:
    """Step 8."""
    day.step("Broadcast")
    txid = day.ask("chain", "broadcast the transaction", lambda: chain.broadcast(transaction))
    height = day.ask(
        "chain", "make two blocks: final on Liquid", lambda: stack.dev.mine(CHANGE_BLOCKS), lambda h: f"block {h}"
    )
    return str(txid), height
