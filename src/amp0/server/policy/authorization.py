"""The issuer's authorization endpoint: a second opinion over HTTP on each transfer of an asset.

For an asset with an endpoint, the server POSTs the transfer there as JSON, ``{"message": …, "signature": …}``, before
it decides. The signature is that of a *Bitcoin Signed Message* over ``message`` with sorted keys, without blanks and in
ASCII, and comes from a key of its own whose P2PKH address (:attr:`Authorizer.address`) issuers compare.

Only a plain yes is a yes: status 200 and a JSON object whose ``result`` is ``true``. Everything else is a no, and so is
silence. Nothing is kept: each decision asks anew, under a ``uuid`` of its own, and what the endpoint says comes over a
connection of this very question (:mod:`~amp0.server.policy.ssrf`), so an earlier yes cannot be played again. Whoever
decides compares transaction and version of the policy with those that were asked about.

The call is made by threads that sign transactions. So each issuer has only some questions under way at a time, and an
endpoint that has failed several times in a row is left alone for a while, during which the answer is no at once.
"""

from __future__ import annotations

import base64
import json
import logging
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, Self

from amp0.elements import wally
from amp0.elements.address import p2pkh_address
from amp0.elements.keys import SecretKey, signed_message_hash
from amp0.elements.transaction import Transaction
from amp0.errors import InvalidInput
from amp0.network import Network
from amp0.server.keys import ServiceKeys
from amp0.server.policy.facts import Answer, Kind, Party, Question
from amp0.server.policy.ssrf import Caller, NoAnswer, check_url
from amp0.server.settings import Settings

__all__ = ["Authorizer", "authorization_address", "authorization_key", "check_url"]

log = logging.getLogger("amp0.server.policy")

PURPOSE = b"issuer authorization"
"""What the signing key is derived from the service key for."""
_HEADERS = {"content-type": "application/json", "user-agent": "amp0-server"}
_MOST_TEXT = 300
"""Longest explanation of an issuer that is passed on, in characters."""


@dataclass(slots=True)
class _Breaker:
    """Failures of one endpoint in a row, and until when it is left alone."""

    failures: int = 0
    rests_until: float = 0.0
    trying: bool = False


@dataclass(frozen=True, slots=True)
class _Place:
    """A question that is under way. Paths of one host are one endpoint; two issuers' are two."""

    issuer: int
    host: str
    url: str

    @property
    def endpoint(self) -> tuple[int, str]:
        return self.issuer, self.host


def authorization_key(keys: ServiceKeys) -> SecretKey:
    """The signing key: one of its own, that follows from the service key."""
    return SecretKey(keys.derive_secret(PURPOSE))


def authorization_address(keys: ServiceKeys, network: Network) -> str:
    """The address that signs what issuers' endpoints are asked; issuers compare it."""
    return _address(authorization_key(keys), network)


def _address(key: SecretKey, network: Network) -> str:
    return p2pkh_address(network, wally.hash160(key.public_key()))


class Authorizer:
    """Asks issuers' endpoints. Thread-safe; :meth:`ask` blocks for as long as ``caller`` allows, and never raises.

    ``away`` surrounds the waiting, so that somebody else can use the thread's place (``Workers.away``). An issuer has
    ``per_issuer`` questions under way at most, all together ``at_once``. After ``failures`` in a row an endpoint is
    left alone for ``rest`` seconds, then for twice as long each time, until it answers.
    """

    def __init__(
        self,
        caller: Caller,
        key: SecretKey,
        network: Network,
        *,
        clock: Callable[[], float] = time.monotonic,
        away: Callable[[], AbstractContextManager[None]] = nullcontext,
        at_once: int = 8,
        per_issuer: int = 4,
        failures: int = 3,
        rest: float = 30.0,
        longest_rest: float = 600.0,
    ) -> None:
        self._caller = caller
        self._key = key
        self._clock = clock
        self._away = away
        self._at_once = at_once
        self._per_issuer = per_issuer
        self._failures = failures
        self._rest = rest
        self._longest_rest = longest_rest
        self._lock = threading.Lock()
        self._busy: dict[int, int] = {}
        self._breakers: dict[tuple[int, str], _Breaker] = {}
        self.address = _address(key, network)
        """The P2PKH address of the signing key, as ``verifymessage`` of an Elements node takes it."""

    @classmethod
    def from_settings(
        cls,
        settings: Settings,
        keys: ServiceKeys,
        network: Network,
        away: Callable[[], AbstractContextManager[None]] = nullcontext,
    ) -> Self:
        """With the service's key, and the time and reach that the settings allow."""
        caller = Caller(seconds=settings.authorization_seconds, private=settings.authorization_private)
        return cls(caller, authorization_key(keys), network, away=away)

    def close(self) -> None:
        """Let go of threads."""
        self._caller.close()

    def ask(self, question: Question, seconds: float | None = None) -> Answer:
        """Put one question; ``seconds`` shortens the time for it. Blocking. Every failure is a no."""
        asset, seconds = question.asset, self._caller.seconds if seconds is None else seconds
        spoke, place = False, None
        try:
            place = self._enter(question, seconds)
            content = _encode(self._signed(question))
            with self._away():
                body = self._caller.post(place.url, content, _HEADERS, seconds, place.issuer)
            allowed, text = _read(body, question)
            spoke = True
        except NoAnswer as error:
            # Why is for the log: how our network looks to the server is nobody else's business.
            log.warning("no authorization asset=%s uuid=%s reason=%s", asset.uuid, question.uuid, error)
            return Answer(allowed=False, failed=True)
        finally:
            if place is not None:
                # Who was given little time has not failed.
                self._leave(place, spoke=spoke, failed=not spoke and seconds >= self._caller.seconds / 2)
        log.info("authorization asset=%s uuid=%s allowed=%s", asset.uuid, question.uuid, allowed)
        return Answer(allowed, text)

    def ask_all(self, questions: Sequence[Question]) -> list[Answer]:
        """Put several, one after the other, in the time of one; after the first no the rest are not asked."""
        end = self._clock() + self._caller.seconds
        answers: list[Answer] = []
        for question in questions:
            answers.append(self.ask(question, max(0.0, end - self._clock())))
            if not answers[-1].allowed:
                break
        return answers

    def _signed(self, question: Question) -> dict[str, Any]:
        message = {
            "server_result": question.server_result,
            "request": {
                "uuid": question.uuid,
                "asset_id": question.asset.hex,
                "tx_hex": question.tx_hex,
                "inputs": [{"vin": one.vin, **_part(one.satoshi, one.party)} for one in question.transfer.inputs],
                "outputs": [{"vout": one.vout, **_part(one.satoshi, one.party)} for one in question.transfer.outputs],
            },
        }
        signature = wally.ecdsa_sign_recoverable(self._key.bytes(), signed_message_hash(_encode(message)))
        return {"message": message, "signature": base64.b64encode(signature).decode()}

    # -- places and breakers --------------------------------------------------------------------

    def _enter(self, question: Question, seconds: float) -> _Place:
        """Take a place, or raise :class:`NoAnswer` at once."""
        url, issuer = question.asset.authorization_endpoint or "", question.asset.issuer_id
        try:
            place = _Place(issuer, check_url(url, private=self._caller.private).authority, url)
        except InvalidInput as error:
            raise NoAnswer(str(error)) from None
        if seconds <= 0:
            raise NoAnswer("no time is left to ask")
        with self._lock:
            if sum(self._busy.values()) >= self._at_once or self._busy.get(issuer, 0) >= self._per_issuer:
                raise NoAnswer("too many questions are under way")
            breaker = self._breakers.get(place.endpoint)
            if breaker is not None and breaker.failures >= self._failures:
                # When it has rested, one question finds out whether it is back.
                if breaker.trying or self._clock() < breaker.rests_until:
                    raise NoAnswer("it did not answer lately, and rests")
                breaker.trying = True
            self._busy[issuer] = self._busy.get(issuer, 0) + 1
        return place

    def _leave(self, place: _Place, *, spoke: bool, failed: bool) -> None:
        with self._lock:
            self._busy[place.issuer] -= 1
            if not self._busy[place.issuer]:
                del self._busy[place.issuer]
            if spoke:
                self._breakers.pop(place.endpoint, None)
                return
            breaker = self._breakers.setdefault(place.endpoint, _Breaker())
            breaker.trying = False
            breaker.failures += failed
            more = breaker.failures - self._failures
            if more >= 0:
                breaker.rests_until = self._clock() + min(self._rest * 2.0 ** min(more, 20), self._longest_rest)
                log.warning("authorization endpoint rests issuer=%d failures=%d", place.issuer, breaker.failures)


def _part(satoshi: int, party: Party) -> dict[str, Any]:
    return {
        "amount": satoshi,
        "gaid": party.gaid,
        "is_treasury": party.kind is Kind.TREASURY,
        "registered_user": party.user_id,
        # Its name before 0.1.7; endpoints made then still read it.
        "investor": party.user_id,
    }


def _encode(value: Any) -> bytes:
    """The one serialisation that is signed and sent."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True).encode("ascii")


def _read(body: bytes, question: Question) -> tuple[bool, str]:
    """Yes or no, and the issuer's words. Raises :class:`NoAnswer` for what is no answer to this question."""
    try:
        answer = json.loads(body.decode(), object_pairs_hook=_no_key_twice, parse_constant=_no_constant)
    except (ValueError, RecursionError):
        raise NoAnswer("the answer is not JSON") from None
    if not isinstance(answer, dict) or not isinstance(answer.get("result"), bool):
        raise NoAnswer("the answer is no object with a boolean result")
    error = answer.get("error") or ""
    if not isinstance(error, str):
        raise NoAnswer("the answer's error is no text")
    if answer["result"] and error.strip():
        raise NoAnswer("the answer is a yes with an error")
    # An endpoint need not repeat what it was asked; if it does, it must be this.
    expected = {"uuid": question.uuid, "asset_id": question.asset.hex}
    if "txid" in answer:
        expected["txid"] = str(Transaction.from_string(question.tx_hex).txid())
    if any(answer.get(name, value) != value for name, value in expected.items()):
        raise NoAnswer("the answer is to another question")
    return answer["result"], error[:_MOST_TEXT]


def _no_key_twice(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key comes twice")
    return found


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")
