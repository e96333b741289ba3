"""The issuer's authorization endpoint: a second opinion over HTTP on each transfer of an asset.

For an asset with an endpoint, the server POSTs the transfer there as JSON, ``{"message": …, "signature": …}``, before
it decides. The signature is that of a *Bitcoin Signed Message* over ``message`` with sorted keys, without blanks and in
ASCII, and comes from a key of its own whose P2PKH address (:attr:`Authorizer.address`) issuers compare.

Only a plain yes is a yes: status 200 and a JSON object whose ``result`` is ``true``. Everything else is a no, and so is
silence. Nothing is kept: each decision asks anew, under a fresh ``uuid``, and an :class:`Answer` carries the
transaction and the version of the policy that it was given for, so that whoever decides can tell whether it still
fits. What the endpoint says comes over a connection of this very question (:mod:`~amp0.server.policy.ssrf`), so an
earlier yes cannot be played again.

The call is made by threads that sign transactions. So each issuer has only some questions under way at a time, and an
endpoint that has failed several times in a row is left alone for a while, during which the answer is no at once.
"""

from __future__ import annotations

import base64
import json
import logging
import threading
import time
import uuid
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any

from amp0.elements import wally
from amp0.elements.address import p2pkh_address
from amp0.elements.hashes import Txid, asset_id_to_str
from amp0.elements.keys import SecretKey, signed_message_hash
from amp0.errors import InvalidInput
from amp0.network import Network
from amp0.server.policy.ssrf import Caller, NoAnswer, check_url

__all__ = ["Answer", "Authorizer", "Part", "Question", "authorization_key", "check_url"]

log = logging.getLogger("amp0.server.policy")

PURPOSE = b"issuer authorization"
"""What the signing key is derived from the service key for."""
_HEADERS = {"content-type": "application/json", "user-agent": "amp0-server"}
_MOST_TEXT = 300
"""Longest explanation of an issuer that is passed on, in characters."""
_BUSY = "the issuer's authorization endpoint is busy; try again in a moment"
_AWAY = "the issuer's authorization endpoint does not answer; try again later"
_RESTING = "the issuer's authorization endpoint did not answer lately; try again later"


@dataclass(frozen=True, slots=True)
class Part:
    """One input or output that holds the asset: its number, satoshi, and whose it is as the issuer knows them."""

    index: int
    satoshi: int
    gaid: str | None
    user_id: int | None
    is_treasury: bool


@dataclass(frozen=True, slots=True)
class Question:
    """One transfer of one asset. ``asset`` is its id, 32 bytes in internal order; ``tx`` the transaction as it came,
    user's signatures included; ``server_result`` what the server alone would have decided."""

    url: str
    issuer_id: int
    asset: bytes
    txid: Txid
    tx: bytes = field(repr=False)
    policy_version: int
    server_result: bool
    inputs: Sequence[Part]
    outputs: Sequence[Part]


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of a question, and which one it was."""

    uuid: str
    asset: bytes
    txid: Txid
    policy_version: int
    allowed: bool
    answered: bool
    """Whether the endpoint itself spoke; without that, asking again later may help."""
    text: str = ""
    """Why not, in one line; the issuer's own words if they gave any."""


@dataclass(slots=True)
class _Breaker:
    """Failures of one endpoint in a row, and until when it is left alone."""

    failures: int = 0
    rests_until: float = 0.0
    trying: bool = False


def authorization_key(secret: bytes) -> SecretKey:
    """The signing key, from the secret that the service key gives for :data:`PURPOSE`."""
    return SecretKey(secret)


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
        random: Callable[[int], bytes],
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
        self._random = random
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
        self.address = p2pkh_address(network, wally.hash160(key.public_key()))
        """The P2PKH address of the signing key, as ``verifymessage`` of an Elements node takes it."""

    def close(self) -> None:
        """Let go of threads."""
        self._caller.close()

    def ask(self, question: Question, seconds: float | None = None) -> Answer:
        """Put one question; ``seconds`` shortens the time for it. Blocking. Every failure is a no."""
        asked = str(uuid.UUID(bytes=self._random(16), version=4))
        seconds = self._caller.seconds if seconds is None else seconds
        try:
            if seconds <= 0:
                raise NoAnswer(_AWAY)
            place = self._enter(question)
        except NoAnswer as error:
            log.info("authorization not asked issuer=%d reason=%s", question.issuer_id, error)
            return _answer(question, asked, text=str(error))
        spoke = False
        try:
            content = _encode(self._signed(question, asked))
            with self._away():
                body = self._caller.post(question.url, content, _HEADERS, seconds)
            allowed, text = _read(body, question, asked)
            spoke = True
        except NoAnswer as error:
            # Why is for the log: what our network looks like to the server is nobody else's business.
            log.warning("authorization failed issuer=%d uuid=%s reason=%s", question.issuer_id, asked, error)
            return _answer(question, asked, text=_AWAY)
        finally:
            # Who was given little time has not failed.
            self._leave(place, spoke=spoke, failed=not spoke and seconds >= self._caller.seconds / 2)
        log.info("authorization issuer=%d uuid=%s allowed=%s", question.issuer_id, asked, allowed)
        return _answer(question, asked, allowed=allowed, answered=True, text=text)

    def ask_all(self, questions: Sequence[Question]) -> list[Answer]:
        """Put several, one after the other, in the time of one; after the first no the rest are not asked."""
        end = self._clock() + self._caller.seconds
        answers: list[Answer] = []
        for question in questions:
            answers.append(self.ask(question, max(0.0, end - self._clock())))
            if not answers[-1].allowed:
                break
        return answers

    def _signed(self, question: Question, asked: str) -> dict[str, Any]:
        message = {
            "server_result": question.server_result,
            "request": {
                "uuid": asked,
                "asset_id": asset_id_to_str(question.asset),
                "tx_hex": question.tx.hex(),
                "inputs": [_part("vin", part) for part in question.inputs],
                "outputs": [_part("vout", part) for part in question.outputs],
            },
        }
        signature = wally.ecdsa_sign_recoverable(self._key.bytes(), signed_message_hash(_encode(message)))
        return {"message": message, "signature": base64.b64encode(signature).decode()}

    # -- places and breakers --------------------------------------------------------------------

    def _enter(self, question: Question) -> tuple[int, str]:
        """Take a place, or raise :class:`NoAnswer` at once."""
        try:
            target = check_url(question.url, private=self._caller.private)
        except InvalidInput:
            raise NoAnswer(_AWAY) from None
        place = question.issuer_id, target.authority
        with self._lock:
            if sum(self._busy.values()) >= self._at_once or self._busy.get(place[0], 0) >= self._per_issuer:
                raise NoAnswer(_BUSY)
            breaker = self._breakers.get(place)
            if breaker is not None and breaker.failures >= self._failures:
                # When it has rested, one question finds out whether it is back.
                if breaker.trying or self._clock() < breaker.rests_until:
                    raise NoAnswer(_RESTING)
                breaker.trying = True
            self._busy[place[0]] = self._busy.get(place[0], 0) + 1
        return place

    def _leave(self, place: tuple[int, str], *, spoke: bool, failed: bool) -> None:
        with self._lock:
            self._busy[place[0]] -= 1
            if not self._busy[place[0]]:
                del self._busy[place[0]]
            if spoke:
                self._breakers.pop(place, None)
                return
            breaker = self._breakers.setdefault(place, _Breaker())
            breaker.trying = False
            breaker.failures += failed
            more = breaker.failures - self._failures
            if more >= 0:
                breaker.rests_until = self._clock() + min(self._rest * 2.0 ** min(more, 20), self._longest_rest)
                log.warning("authorization endpoint rests issuer=%d failures=%d", place[0], breaker.failures)


def _answer(question: Question, asked: str, *, allowed: bool = False, answered: bool = False, text: str = "") -> Answer:
    return Answer(asked, question.asset, question.txid, question.policy_version, allowed, answered, text)


def _part(number: str, part: Part) -> dict[str, Any]:
    return {
        number: part.index,
        "amount": part.satoshi,
        "gaid": part.gaid,
        "is_treasury": part.is_treasury,
        "registered_user": part.user_id,
        # Its name before 0.1.7; endpoints made then still read it.
        "investor": part.user_id,
    }


def _encode(value: Any) -> bytes:
    """The one serialisation that is signed and sent."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True).encode("ascii")


def _read(body: bytes, question: Question, asked: str) -> tuple[bool, str]:
    """Yes or no, and the issuer's words. Raises :class:`NoAnswer` for what is no answer to this question."""
    try:
        answer = json.loads(body.decode(), object_pairs_hook=_no_key_twice, parse_constant=_no_constant)
    except (ValueError, RecursionError):
        raise NoAnswer("the answer is not JSON") from None
    if not isinstance(answer, dict) or not isinstance(answer.get("result"), bool):
        raise NoAnswer("the answer is no object with a boolean result")
    error = answer.get("error", "")
    if error is not None and not isinstance(error, str):
        raise NoAnswer("the answer's error is no text")
    # An endpoint need not repeat what it was asked; if it does, it must be this.
    expected = {"uuid": asked, "txid": str(question.txid), "asset_id": asset_id_to_str(question.asset)}
    if any(answer.get(name, value) != value for name, value in expected.items()):
        raise NoAnswer("the answer is to another question")
    text = "".join(c if c.isprintable() else " " for c in (error or "")[:_MOST_TEXT]).strip()
    if answer["result"] and text:
        raise NoAnswer("the answer is a yes with an error")
    return answer["result"], "" if answer["result"] else text or "the issuer does not authorize this transfer"


def _no_key_twice(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key comes twice")
    return found


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")
