"""The pre-flight: what the policy would say of a transfer, asked before anybody signs.

The verdict comes from the engine that the cosigner asks, on the same facts, for a login of the sending account only. It
is no promise: another transfer, a change of the rules or a block may come in between. The issuer's authorization
endpoint is not asked here; where an asset has one, a remark says that its issuer has the last word.

**No oracle.** Wallets cost nothing, and whoever has one could ask about every address there is. So about recipients
only those are answered who have the units to send: a list of transfers is judged as a payment with coins that the
account really holds, a PSET by what its inputs really hold. What concerns a recipient is then one answer,
``recipient_not_allowed``, for strangers, for people who are not registered, not qualified, frozen or full; it stands
for each refused output and says nothing else. Every output asked about costs one from the wallet's allowance,
whatever the answer.

What is cheap is looked at first: shape, size, the allowance; then the inputs, by index; then the amounts that a PSET
states, by their small proofs (0.1 ms). Only outputs without those are opened with their blinding nonces (5 ms).
"""

from __future__ import annotations

import base64
import hmac
import logging
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cache, partial
from typing import Any

import msgspec
import sqlalchemy as sa
from sqlalchemy.engine import Connection

from amp0.elements import wally
from amp0.elements.address import Address
from amp0.elements.confidential import MAX_INPUTS, run_parallel, unblind_with_nonce
from amp0.elements.hashes import Txid, asset_id_to_bytes, asset_id_to_str
from amp0.elements.pset import Pset, PsetOutput
from amp0.elements.pset_fields import O_ASSET_PROOF, O_VALUE_PROOF
from amp0.elements.transaction import MAX_SATOSHI, OutPoint, TxOut
from amp0.errors import InvalidInput, InvalidPset, UnblindError
from amp0.network import Network
from amp0.protocol import preflight as wire
from amp0.protocol.issuer_policy import Reason
from amp0.server.attempts import Attempts
from amp0.server.ledger.units import CONFIRMED, MEMPOOL, Unit, managed, outputs_at
from amp0.server.policy import reasons as why
from amp0.server.policy.facts import Movement, Source, Target
from amp0.server.policy.gate import judge
from amp0.server.refusal import InvalidRequest, SessionExpired, UnknownAccount
from amp0.server.store import outpoints, schema
from amp0.server.store.asset_schema import asset_outputs, blacklisted_outputs
from amp0.server.store.engine import Store

log = logging.getLogger("amp0.server.policy")

PURPOSE = b"pre-flight tokens"
"""What the key of the tokens is derived from the service key for."""
TOKEN_SECONDS = 300
_TOKEN = re.compile(r"(GA[0-9A-Za-z]{1,40})\.([0-9]{1,12})\.([A-Za-z0-9_-]{43})\.[A-Za-z0-9_-]{43}")
_NONCE = re.compile(r"(?:[0-9a-fA-F]{64})?")
_ISSUER_DECIDES = "the asset's issuer is asked when this is signed, and may still refuse"
_NOT_ENOUGH = "this account has {held} satoshi of this asset that it could send now, not {wanted}"
_NOT_OURS = (
    "Input {} spends nothing of this wallet that this server knows; a pre-flight is for the wallet's own coins. One "
    "that has just come is known in a moment"
)


@dataclass(frozen=True, slots=True)
class Sender:
    """The account that would send."""

    account_id: int
    user_id: int
    amp_id: str


@dataclass(frozen=True, slots=True)
class Judged:
    """What the policy says of one managed asset in a movement: the reasons against it as the sender may see them, and
    whether its issuer is asked as well when it is signed."""

    asset_id: bytes
    reasons: Sequence[Reason]
    issuer_decides: bool = False


Judge = Callable[[Connection, Movement, int], Sequence[Judged]]
"""The cosigner's own verdict on a movement at a time; nothing for assets that are not managed here."""


def by_policy(db: Connection, movement: Movement, now: int) -> list[Judged]:
    """The verdict of the engine. What the issuer's own yes may put aside is left to the issuer."""
    judged = []
    for one in judge(db, movement, now):
        asset, found = one.asset, one.verdict.reasons
        issuer_decides = asset.authorization_endpoint is not None and not asset.is_token
        if issuer_decides:
            found = tuple(reason for reason in found if reason.code not in why.REPLACEABLE)
        judged.append(Judged(asset.asset_id, why.public(found), issuer_decides))
    return judged


@dataclass(frozen=True, slots=True)
class Preflights:
    """Answers pre-flights. ``allowance`` outputs may be asked about at once by a wallet; ``attempts`` gives them back.

    ``secret`` (32 bytes) signs tokens, which live by ``clock`` (seconds since 1970); rules go by ``now``.
    """

    store: Store
    network: Network
    judge: Judge
    attempts: Attempts
    allowance: int
    clock: Callable[[], float]
    now: Callable[[], int]
    secret: bytes = field(repr=False)

    # -- who asks -------------------------------------------------------------------------------

    def sender(self, db: Connection, user_id: int, pointer: int) -> Sender:
        """An account by its number in the wallet. Raises :class:`UnknownAccount`."""
        return _find(db, schema.accounts.c.user_id == user_id, schema.accounts.c.pointer == pointer)

    def token(self, sender: Sender, watch_only_salt: bytes = b"") -> wire.PreflightToken:
        """A token that stands for the account for a few minutes; nothing is kept of it.

        With the salt of a watch-only login, for as long at most as that login is the wallet's: whoever changes those
        credentials shuts out all that were let in with them.
        """
        expires_at = int(self.clock()) + TOKEN_SECONDS
        return wire.PreflightToken(self._token(sender.amp_id, expires_at, self._mac(watch_only_salt)), expires_at)

    def sender_of(self, token: str) -> Sender:
        """Whose token it is. Raises :class:`SessionExpired` for one that is not ours, or no longer good."""
        parts = _TOKEN.fullmatch(token)
        if parts is None or not hmac.compare_digest(self._token(parts[1], int(parts[2]), parts[3]), token):
            raise SessionExpired
        if not self.clock() < int(parts[2]) <= self.clock() + TOKEN_SECONDS:
            raise SessionExpired
        with self.store.snapshot() as db:
            try:
                sender = _find(db, schema.accounts.c.receiving_id == parts[1])
            except UnknownAccount:
                raise SessionExpired from None
            salts = db.execute(_SALTS, {"user": sender.user_id}).scalars()
            if parts[3] not in {self._mac(salt) for salt in (b"", *salts)}:
                raise SessionExpired
        return sender

    def _token(self, amp_id: str, expires_at: int, login: str) -> str:
        text = f"{amp_id}.{expires_at}.{login}"
        return f"{text}.{self._mac(text.encode())}"

    def _mac(self, data: bytes) -> str:
        return base64.urlsafe_b64encode(hmac.digest(self.secret, data, "sha256")).decode().rstrip("=")

    # -- what is asked --------------------------------------------------------------------------

    def ask(self, sender: Sender, request: wire.PreflightRequest) -> wire.PreflightReply:
        """The verdict on a transfer. Blocking, outside any transaction.

        Raises :class:`InvalidRequest`, and :class:`TooManyAttempts` when the wallet has asked too much lately.
        """
        if (request.transfers is None) is (request.pset is None) or not (request.transfers or request.pset):
            raise InvalidRequest("Ask about a list of transfers, or about a PSET")
        if request.blinding_nonces is not None and request.pset is None:
            raise InvalidRequest("Blinding nonces belong to a PSET")
        key = f"pre-flights of {sender.user_id}"
        self.attempts.check(key, self.allowance, "pre-flight questions")
        if request.transfers is not None:
            self.attempts.failed(key, len(request.transfers))
            targets = self._targets(request.transfers)
            with self.store.snapshot() as db:
                judged = self._judge_transfers(db, sender, targets)
        else:
            # Reading a megabyte takes long: whoever sends what cannot be read has asked as well.
            self.attempts.failed(key)
            pset = self._parse(request.pset or "")
            self.attempts.failed(key, max(min(len(pset.outputs()), MAX_INPUTS) - 1, 0))
            movement = self._of_pset(sender, pset, request.blinding_nonces)
            with self.store.snapshot() as db:
                judged = self._judge_pset(db, movement)
        reply = _reply(judged)
        log.info("pre-flight account=%d allowed=%s", sender.account_id, reply.allowed)
        return reply

    # -- a list of transfers --------------------------------------------------------------------

    def _targets(self, transfers: Sequence[wire.PreflightTransfer]) -> list[Target]:
        targets = []
        for i, transfer in enumerate(transfers):
            try:
                script = Address(transfer.address, self.network).script
            except InvalidInput as error:
                raise InvalidRequest(f"Transfer {i}: {error}") from None
            targets.append(Target(i, script, asset_id_to_bytes(transfer.asset_id), transfer.satoshi))
        return targets

    def _judge_transfers(self, db: Connection, sender: Sender, targets: Sequence[Target]) -> list[Judged]:
        """As a payment of the account's oldest coins, with the change back to it."""
        totals: dict[bytes, int] = {}
        for target in targets:
            assert target.asset is not None
            totals[target.asset] = totals.get(target.asset, 0) + target.satoshi
        short: list[Judged] = []
        sources: list[Source] = []
        change: list[Target] = []
        for asset, unit in managed(db, totals).items():
            coins = _coins(db, unit, sender.account_id, totals[asset])
            held = sum(coin.satoshi for coin in coins)
            if held < totals[asset]:
                # Nothing about recipients to those who cannot pay them.
                text = _NOT_ENOUGH.format(held=held, wanted=totals[asset])
                short.append(Judged(asset, [_own_reason(wire.NOT_ENOUGH, asset, text)]))
                continue
            sources += [
                Source(
                    len(sources) + i, OutPoint(Txid(coin.txid), coin.vout), sender.account_id, coin.script_pubkey,
                    asset, coin.satoshi,
                )
                for i, coin in enumerate(coins)
            ]  # fmt: skip
            if held > totals[asset]:
                index = len(targets) + len(change)
                change.append(Target(index, coins[0].script_pubkey, asset, held - totals[asset]))
        refused = {one.asset_id for one in short}
        paid = [target for target in targets if target.asset not in refused]
        judged = self.judge(db, Movement(tuple(sources), (*paid, *change)), self.now())
        # The coins are only thought of: there are no inputs yet that a reason could point at.
        unpointed = [replace(one, reasons=[_unpointed(reason) for reason in one.reasons]) for one in judged]
        return [*short, *unpointed]

    # -- a PSET ---------------------------------------------------------------------------------

    def _parse(self, text: str) -> Pset:
        try:
            return Pset(text)
        except InvalidPset as error:
            raise InvalidRequest(f"This PSET cannot be read: {error}") from None

    def _of_pset(self, sender: Sender, pset: Pset, nonces: Sequence[str] | None) -> Movement:
        outputs = pset.outputs()
        if max(len(pset.inputs()), len(outputs)) > MAX_INPUTS:
            raise InvalidRequest(f"A pre-flight takes at most {MAX_INPUTS} inputs and as many outputs; split it")
        if nonces is not None and (len(nonces) != len(outputs) or not all(map(_NONCE.fullmatch, nonces))):
            raise InvalidRequest("One blinding nonce for each output: 64 hex digits, or empty where none is needed")
        prevouts = [txin.prevout for txin in pset.inputs()]
        if not prevouts or not outputs or len(set(prevouts)) != len(prevouts):
            raise InvalidRequest("A transaction spends something, once, and pays it to somebody")
        with self.store.snapshot() as db:
            known = {
                OutPoint(Txid(row.txid), row.vout): row
                for row in db.execute(_own_query(), {"user": sender.user_id, **outpoints.these(prevouts)})
            }
        sources = []
        for i, prevout in enumerate(prevouts):
            row = known.get(prevout)
            if row is None:
                # The same for coins of others here and coins of nobody here.
                raise InvalidRequest(_NOT_OURS.format(i))
            spent = TxOut(row.script_pubkey, row.asset_field, row.value_field)
            sources.append(
                Source(i, prevout, row.account_id, row.script_pubkey, spent.explicit_asset, spent.explicit_value)
            )
        if all(source.account_id != sender.account_id for source in sources):
            raise InvalidRequest("No input belongs to this account; ask for the account that sends")
        jobs = [partial(_amount, i, one, nonces[i] if nonces else "") for i, one in enumerate(outputs)]
        return Movement(tuple(sources), tuple(run_parallel(jobs)))

    def _judge_pset(self, db: Connection, movement: Movement) -> list[Judged]:
        judged = self.judge(db, movement, self.now())
        known, unknown = self._held(db, movement)
        result = []
        for one in judged:
            paid = sum(target.satoshi for target in movement.targets if target.asset == one.asset_id)
            if known.get(one.asset_id, 0) != paid and one.asset_id not in unknown:
                # No balance proof was made: what the inputs do not hold cannot be sent, and nobody hears of recipients.
                text = why.CODES[why.AMOUNTS_DIFFER].text.format(inputs=known.get(one.asset_id, 0), outputs=paid)
                one = Judged(one.asset_id, [_own_reason(why.AMOUNTS_DIFFER, one.asset_id, text)])
            result.append(one)
        return result

    def _held(self, db: Connection, movement: Movement) -> tuple[dict[bytes, int], set[bytes]]:
        """What the inputs hold of managed assets, by the ledger; and what they may hold besides."""
        units = {unit: asset for asset, unit in managed(db, {t.asset for t in movement.targets if t.asset}).items()}
        known: dict[bytes, int] = {}
        unknown: set[bytes] = set()
        for row in outputs_at(db, [source.prevout for source in movement.sources if source.prevout is not None]):
            asset = units.get(Unit.of(row))
            if asset is not None and row.satoshi is None:
                unknown.add(asset)
            elif asset is not None:
                known[asset] = known.get(asset, 0) + row.satoshi
        return known, unknown


_SALTS = sa.select(schema.watch_only_logins.c.salt).where(schema.watch_only_logins.c.user_id == sa.bindparam("user"))


def _find(db: Connection, *where: sa.ColumnElement[bool]) -> Sender:
    acc, users = schema.accounts, schema.users
    query = sa.select(acc.c.id, acc.c.user_id, acc.c.receiving_id).join(users, users.c.id == acc.c.user_id)
    row = db.execute(query.where(users.c.removed_at.is_(None), *where)).one_or_none()
    if row is None:
        raise UnknownAccount("This wallet has no such account; log in again to see its accounts")
    return Sender(row.id, row.user_id, row.receiving_id)


def _amount(i: int, output: PsetOutput, nonce: str) -> Target:
    """What an output holds: as stated, where the statement is proven or nothing is hidden; else as its nonce opens."""
    txout, satoshi, asset = output.txout, output.amount(), output.asset_bytes
    if satoshi is not None and satoshi > MAX_SATOSHI:
        raise InvalidRequest(f"Output {i} holds more than can exist")
    if not txout.is_partially_blinded():
        if satoshi is None or asset is None:
            raise InvalidRequest(f"Output {i} has no asset or no amount")
        return Target(i, txout.script, asset, satoshi)
    if not txout.is_blinded:
        raise InvalidRequest(f"Output {i} hides only its amount or only its asset")
    value_proof, asset_proof = output.fields.get(O_VALUE_PROOF), output.fields.get(O_ASSET_PROOF)
    if satoshi is not None and asset is not None and value_proof and asset_proof:
        if not wally.explicit_asset_proof_verify(
            asset_proof, asset, txout.asset_field
        ) or not wally.explicit_value_proof_verify(value_proof, satoshi, txout.value_field, txout.asset_field):
            raise InvalidRequest(f"Output {i} does not hold what the PSET says: its proofs do not verify")
        return Target(i, txout.script, asset, satoshi)
    if not nonce:
        raise InvalidRequest(f"Output {i} is blinded: give its blinding nonce, or state its amount with proofs")
    try:
        opening = unblind_with_nonce(txout, bytes.fromhex(nonce))
    except UnblindError:
        raise InvalidRequest(f"Output {i} does not open with its blinding nonce") from None
    if satoshi not in (None, opening.satoshi) or asset not in (None, opening.asset):
        raise InvalidRequest(f"Output {i} does not hold what the PSET says")
    return Target(i, txout.script, opening.asset, opening.satoshi)


def _unpointed(reason: Reason) -> Reason:
    return msgspec.structs.replace(reason, index=None) if reason.side == "input" else reason


def _own_reason(code: str, asset: bytes, text: str) -> Reason:
    return Reason(
        code=code, side="asset", index=None, asset_id=asset_id_to_str(asset), text=text,
        about="asset" if code == wire.ISSUER_DECIDES else "sender",
    )  # fmt: skip


def _reply(judged: Sequence[Judged]) -> wire.PreflightReply:
    reasons = [reason for one in judged for reason in one.reasons]
    remarks = [
        _own_reason(wire.ISSUER_DECIDES, one.asset_id, _ISSUER_DECIDES)
        for one in judged
        if one.issuer_decides and not one.reasons
    ]
    return wire.PreflightReply(allowed=not reasons, reasons=list(dict.fromkeys(reasons + remarks)))


@cache
def _coins_query(largest: bool) -> sa.Select[Any]:
    out, black = asset_outputs, blacklisted_outputs
    blacklisted = sa.exists().where(
        black.c.prev_txid == out.c.txid, black.c.prev_vout == out.c.vout, black.c.asset == out.c.asset
    )
    return (
        sa.select(out.c.txid, out.c.vout, out.c.satoshi, out.c.script_pubkey)
        .where(
            out.c.asset == sa.bindparam("asset"),
            out.c.is_token == sa.bindparam("is_token"),
            out.c.account_id == sa.bindparam("account"),
            out.c.satoshi > 0,
            out.c.spent_by.is_(None),
            out.c.state.in_([MEMPOOL, CONFIRMED]),
            sa.not_(blacklisted),
        )
        .order_by(out.c.satoshi.desc() if largest else out.c.acquired_at, out.c.txid, out.c.vout)
        .limit(MAX_INPUTS)
    )


def _coins(db: Connection, unit: Unit, account_id: int, wanted: int) -> list[sa.Row[Any]]:
    """Coins of an account that could pay: the oldest, or else the largest; all there are where they are too few."""
    chosen: list[sa.Row[Any]] = []
    for largest in (False, True):
        values = {"asset": unit.asset, "is_token": int(unit.is_token), "account": account_id}
        rows, chosen = db.execute(_coins_query(largest), values).all(), []
        for row in rows:
            if sum(coin.satoshi for coin in chosen) >= wanted:
                break
            chosen.append(row)
        if sum(coin.satoshi for coin in chosen) >= wanted or len(rows) < MAX_INPUTS:
            break
    return chosen


@cache
def _own_query() -> sa.Select[Any]:
    # Composed once: that costs more than running it.
    out, acc = schema.outputs, schema.accounts
    return (
        sa.select(out.c.txid, out.c.vout, out.c.account_id, out.c.script_pubkey, out.c.asset_field, out.c.value_field)
        .join(acc, acc.c.id == out.c.account_id)
        .where(acc.c.user_id == sa.bindparam("user"), outpoints.is_one_of(out.c.txid, out.c.vout))
    )
