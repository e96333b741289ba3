"""Spending over WAMP: sign, sign and send, send; and asking before. Others decide; these procedures only carry.

None of them holds a database transaction while it waits for the cosigner or the chain.
"""

from __future__ import annotations

import re
from typing import Any

import msgspec

from amp0.elements.transaction import Transaction
from amp0.errors import InvalidTransaction
from amp0.protocol import preflight as wire
from amp0.protocol import rpc
from amp0.server.context import Context
from amp0.server.cosigner import Cosigned, Door, Request
from amp0.server.refusal import InvalidRequest
from amp0.server.twofactor import limits

_NONCE = re.compile(r"(?:[0-9a-fA-F]{64})?")
_MOST_NONCES = 4096


def sign_transaction(context: Context, call: rpc.SignTransaction) -> rpc.SpendReply:
    """Cosign a transaction that the user has signed."""
    return _reply(context, _cosign(context, call, Door.SIGN))


def send_transaction(context: Context, call: rpc.SendTransaction) -> rpc.SpendReply:
    """Cosign a transaction that the user has signed, and broadcast it."""
    cosigned = _cosign(context, call, Door.SEND)
    context.publications += context.services.broadcast(cosigned.tx)
    return _reply(context, cosigned)


def broadcast_transaction(context: Context, call: rpc.BroadcastTransaction) -> str:
    """Broadcast a fully signed transaction; answered with its txid."""
    try:
        tx = Transaction.from_string(call.tx)
    except InvalidTransaction as error:
        raise InvalidRequest(f"This is not a transaction: {error}") from None
    context.publications += context.services.broadcast(tx)
    return str(tx.txid())


def ask_preflight(context: Context, call: wire.AskPreflight) -> wire.PreflightReply:
    """What the policy would say of a transfer of one of the wallet's accounts."""
    preflights = context.services.preflights
    with context.services.store.snapshot() as db:
        sender = preflights.sender(db, context.session.user_id, call.subaccount)
    return preflights.ask(sender, call.request)


def get_preflight_token(context: Context, call: wire.GetPreflightToken) -> wire.PreflightToken:
    """A token to ask the same over HTTP for a few minutes."""
    preflights, session = context.services.preflights, context.session
    sender = preflights.sender(context.db, session.user_id, call.subaccount)
    return preflights.token(sender, session.watch_only_salt)


def _cosign(context: Context, call: rpc.SignTransaction | rpc.SendTransaction, door: Door) -> Cosigned:
    nonces: Any = None if call.private is None else call.private.get("blinding_nonces")
    if nonces is not None:
        if not isinstance(nonces, list) or len(nonces) > _MOST_NONCES:
            raise InvalidRequest("blinding_nonces is a list with one text for each output")
        if not all(isinstance(nonce, str) and _NONCE.fullmatch(nonce) for nonce in nonces):
            raise InvalidRequest("A blinding nonce is 64 hex digits, or empty for outputs that are not blinded")
        nonces = [bytes.fromhex(nonce) for nonce in nonces]
    request = Request(
        tx=bytes.fromhex(call.tx),
        nonces=nonces,
        user_id=context.session.user_id,
        door=door,
        authorisation=call.twofactor or {},
    )
    return context.services.cosigner.cosign(request)


def _reply(context: Context, cosigned: Cosigned) -> rpc.SpendReply:
    txid, user_id = cosigned.tx.txid(), context.session.user_id
    reply = rpc.SpendReply(tx=str(cosigned.tx), txhash=str(txid))
    with context.services.store.snapshot() as db:
        decrease = limits.debited(db, user_id, txid)
        if decrease:
            # The same again for a retry: what was taken once is told each time.
            left = limits.load(db, user_id).to_wire()
            reply = msgspec.structs.replace(reply, limit_decrease=decrease, limits=left)
    return reply
