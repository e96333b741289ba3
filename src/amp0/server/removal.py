"""Removing a wallet: what is the user's own is forgotten, what protects coins stays.

Blob, appearance, watch-only login and PIN logins go, and nobody can log in. Accounts, addresses and the record of what
was signed stay for ever: coins may still be sent to an address of years ago, and registering the same wallet
again brings its accounts back.
"""

from __future__ import annotations

import sqlalchemy as sa

from amp0.protocol import rpc
from amp0.server import chainindex, logins, pins, wallets
from amp0.server.context import Context, Level, Session
from amp0.server.refusal import NotEmpty
from amp0.server.store import schema


def remove_account(context: Context, _call: rpc.RemoveAccount) -> bool:
    """Remove the wallet that is logged in, if it holds nothing, and end all of its sessions.

    Raises :class:`NotEmpty`.
    """
    accounts = sa.select(schema.accounts.c.id).where(schema.accounts.c.user_id == context.session.user_id)
    held = chainindex.count_unspent(context.db, accounts)
    if held:
        raise NotEmpty(f"The wallet still holds {held} unspent outputs; send them away first, or they are out of reach")
    logins.forget_watch_only(context)
    pins.forget(context)
    wallets.mark_removed(context)
    context.ends_sessions = Level.FULL
    context.session = Session(peer=context.session.peer)
    return True
