"""The policy as a gate of the cosigner: gather, decide, count; and ask the issuer first where the asset says so.

An issuer's endpoint is asked before the deciding transaction, because nothing waits inside it. What it said is bound to
the transaction, the version of the asset's policy and everything that it was told. In the transaction all is gathered
and judged again; if anything it was asked about has changed meanwhile, the answer is worth nothing and the client is
told to try again. A yes takes back the reasons about who may hold (:data:`~.reasons.REPLACEABLE`) and no others.
"""

from __future__ import annotations

import logging
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Protocol

from sqlalchemy.engine import Connection

from amp0.elements.hashes import Txid
from amp0.protocol.issuer_policy import Reason
from amp0.protocol.reasons import in_one_line
from amp0.server.attempts import Attempts
from amp0.server.cosign_checks import Spend
from amp0.server.cosigner import Request
from amp0.server.policy import limits, refusals
from amp0.server.policy import reasons as why
from amp0.server.policy.engine import Verdict, decide
from amp0.server.policy.facts import Answer, Asset, Coin, Kind, Movement, Payment, Question, Transfer
from amp0.server.policy.gather import Matter, matters, movement_of
from amp0.server.refusal import BadTransaction, PolicyChanged, PolicyRefused
from amp0.server.store.engine import Store

log = logging.getLogger("amp0.server.policy")

_NO_ANSWER = Answer(allowed=False, failed=True)


class Authorizer(Protocol):
    """Whoever asks issuers' endpoints."""

    def ask_all(self, questions: Sequence[Question]) -> Sequence[Answer]:
        """An answer to each question in order; after a no the rest may be missing."""
        ...


@dataclass(frozen=True, slots=True)
class Told:
    """What an answer is about: anything else is another question."""

    asset: Asset
    inputs: tuple[Coin, ...]
    outputs: tuple[Payment, ...]
    server_result: bool

    @classmethod
    def of(cls, transfer: Transfer, verdict: Verdict) -> Told:
        """What an issuer is told of a transfer."""
        return cls(transfer.asset, transfer.inputs, transfer.outputs, verdict.allowed)


@dataclass(frozen=True, slots=True)
class Prepared:
    """What issuers said of one transaction: asset row → what they were told, and their answer."""

    txid: Txid
    answers: Mapping[int, tuple[Told, Answer]]


@dataclass(frozen=True, slots=True)
class Judged:
    """One managed asset of a movement with its verdict, whole: for the issuer's eyes."""

    matter: Matter
    verdict: Verdict

    @property
    def asset(self) -> Asset:
        """The asset that is moved."""
        return self.matter.transfer.asset

    @property
    def asks_issuer(self) -> bool:
        """Whether the asset's issuer wants to be asked. Where its tokens go is not for them to replace."""
        return self.asset.authorization_endpoint is not None and not self.asset.is_token


def judge(db: Connection, movement: Movement, now: int) -> list[Judged]:
    """The verdict of the rules on each managed asset that is moved; empty where none is. Asks no issuer."""
    return [Judged(matter, decide(matter.transfer, matter.rules)) for matter in matters(db, movement, now)]


class PolicyGate:
    """A :class:`~amp0.server.cosigner.Gate`. ``now`` is the time that rules go by, in whole seconds.

    Each refusal tells something about the recipients, and costs nothing: whoever has units could find out by trying how
    much somebody else may still be sent. So a wallet may be refused payments to ``allowance`` recipients at once, and
    ``guesses`` gives them back. Without ``guesses`` it may be refused as often as it likes.
    """

    def __init__(
        self,
        store: Store,
        now: Callable[[], int],
        authorizer: Authorizer | None = None,
        *,
        new_uuid: Callable[[], uuid.UUID] = uuid.uuid4,
        guesses: Attempts | None = None,
        allowance: int = 60,
    ) -> None:
        self._store = store
        self._now = now
        self._authorizer = authorizer
        self._new_uuid = new_uuid
        self._guesses = guesses
        self._allowance = allowance

    def prepare(self, spend: Spend, request: Request) -> Prepared | None:
        """Ask the issuers of those assets that have an endpoint. Waits; decides nothing."""
        with self._store.snapshot() as db:
            judged = [one for one in judge(db, movement_of(spend), self._now()) if one.asks_issuer]
        if not judged:
            return None
        self._check_guesses(spend, sum(map(_recipients, judged)))
        tx_hex = request.tx.hex()
        questions = [
            Question(str(self._new_uuid()), one.asset, one.matter.transfer, one.verdict.allowed, tx_hex)
            for one in judged
        ]
        # Who was not asked any more, after a no of another, has not said yes.
        answers = (*self._ask(questions), *(_NO_ANSWER for _ in questions))
        return Prepared(
            spend.tx.txid(),
            {
                one.asset.id: (Told.of(one.matter.transfer, one.verdict), answer)
                for one, answer in zip(judged, answers, strict=False)
            },
        )

    def _ask(self, questions: Sequence[Question]) -> Sequence[Answer]:
        if self._authorizer is None:
            return ()
        try:
            return self._authorizer.ask_all(questions)
        except Exception:  # whatever went wrong, nobody said yes
            log.exception("the issuer could not be asked")
            return ()

    def _check_guesses(self, spend: Spend, recipients: int) -> None:
        if self._guesses is not None and recipients:
            for wallet in _wallets(spend):
                self._guesses.check(wallet, self._allowance, "refused payments of managed assets")

    def decide(self, db: Connection, spend: Spend, request: Request, prepared: object | None) -> None:
        """Judge again inside the deciding transaction, and count what leaves; or refuse.

        Raises :class:`PolicyRefused`, :class:`PolicyChanged` where only the issuer's answer is out of date,
        :class:`BadTransaction` where the transaction could confirm under another txid than the one that is counted, and
        :class:`~amp0.server.refusal.TooManyAttempts`, without a verdict, for a wallet that was refused too much lately.
        """
        now = self._now()
        judged = judge(db, movement_of(spend), now)
        if not judged:
            return
        if spend.loose:
            raise BadTransaction(
                f"Input {min(spend.loose)} belongs to somebody else and its scriptSig may still change, and with it "
                "the id of the transaction, which moves a managed asset: let its owner fill it in first, or spend a "
                "segwit coin instead"
            )
        recipients = sum(map(_recipients, judged))
        self._check_guesses(spend, recipients)
        txid = spend.tx.txid()
        said = prepared.answers if isinstance(prepared, Prepared) and prepared.txid == txid else {}
        found = [(one.asset.id, reason) for one in judged for reason in _with_answer(one, said.get(one.asset.id))]
        if found:
            if self._guesses is not None and recipients:
                for wallet in _wallets(spend):
                    self._guesses.failed(wallet, recipients)
            raise _refusal([reason for _, reason in found], partial(_keep, txid, spend.own[0].account_id, found, now))
        for one in judged:
            limits.record(db, txid, one.matter.transfer)


def _wallets(spend: Spend) -> list[str]:
    """Whose guess it is, by the wallets that signed."""
    return sorted({f"refusals of {item.user_id}" for item in spend.own})


def _recipients(one: Judged) -> int:
    """How many outputs pay somebody else than a sender or the treasury."""
    transfer = one.matter.transfer
    others = {holder.key for holder in transfer.receivers}
    return sum(p.party.kind is Kind.FOREIGN or p.party.holder in others for p in transfer.outputs)


def _with_answer(one: Judged, said: tuple[Told, Answer] | None) -> Sequence[Reason]:
    """The reasons that are left when the issuer has spoken."""
    asset, found = one.asset, one.verdict.reasons
    if asset.is_token or (asset.authorization_endpoint is None and said is None):
        return found
    if said is None or said[0] != Told.of(one.matter.transfer, one.verdict):
        return (*_beyond_replacement(found), why.reason(asset, why.POLICY_CHANGED))
    answer = said[1]
    if answer.allowed is True:
        return _beyond_replacement(found)
    if answer.failed:
        return (*found, why.reason(asset, why.AUTHORIZATION_FAILED))
    text = why.foreign_text(answer.error) or "no reason given"
    return (*found, why.reason(asset, why.AUTHORIZATION_REFUSED, error=text))


def _beyond_replacement(found: Sequence[Reason]) -> tuple[Reason, ...]:
    return tuple(reason for reason in found if reason.code not in why.REPLACEABLE)


def _refusal(found: Sequence[Reason], keep: Callable[[Connection], None]) -> PolicyRefused:
    shown = why.public(found)
    if {reason.code for reason in found} == {why.POLICY_CHANGED}:
        return PolicyChanged(in_one_line(shown), shown)
    refused = PolicyRefused(in_one_line(shown), shown)
    refused.aftermath = keep
    return refused


def _keep(txid: Txid, account_id: int, found: Sequence[tuple[int, Reason]], now: int, db: Connection) -> None:
    refusals.record(db, txid, account_id, found, now)
