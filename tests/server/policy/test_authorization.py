"""The issuer's endpoint: what it is sent, and how little counts as a yes.

Attack F02 of the catalogue: an endpoint that is late, broken, lying, or answers something else.
"""

from __future__ import annotations

import base64
import json
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest

from amp0.elements import wally
from amp0.elements.address import p2pkh_address
from amp0.elements.keys import signed_message_hash
from amp0.elements.transaction import Transaction
from amp0.network import Network
from amp0.server.keys import ServiceKeys
from amp0.server.policy.authorization import Authorizer, authorization_address, authorization_key
from amp0.server.policy.facts import Answer, Asset, Coin, Holder, Kind, Party, Payment, Question, Transfer
from amp0.server.policy.ssrf import Caller, NoAnswer
from tests.patience import PATIENCE

NETWORK = Network.regtest_default()
KEYS = ServiceKeys.test_key()
URL = "https://issuer.example/authorize"
ASSET = bytes(range(32))
UUID = "1b0d6b0e-7a0c-4c52-9a65-3d3c0a1f2b4c"
TX = "02000000" + "00" * 7
MANAGED = Asset(
    id=1, uuid="b8dfa1cc-3c9e-4f67-a5a9-4f4a0e3f6c11", asset_id=ASSET, issuer_id=7, policy_version=3,
    authorization_endpoint=URL,
)  # fmt: skip
SENDER = Party(Kind.HOLDER, holder="user 5", account_id=1, gaid="GA123", user_id=5)
OTHER = Party(Kind.HOLDER, holder="account 2", account_id=2, gaid="GA456")
TRANSFER = Transfer(
    asset=MANAGED,
    inputs=(Coin(0, 1000, SENDER),),
    outputs=(Payment(0, 400, OTHER), Payment(1, 600, Party(Kind.TREASURY))),
    holders={"user 5": Holder("user 5", 5), "account 2": Holder("account 2")},
    now=0,
)
QUESTION = Question(UUID, MANAGED, TRANSFER, server_result=True, tx_hex=TX)


def another(**changes: Any) -> Question:
    """The same question about an asset that differs."""
    return replace(QUESTION, asset=replace(MANAGED, **changes))


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


class Endpoint(Caller):
    """An issuer's endpoint in memory: says what it is told to, and remembers what it was asked."""

    def __init__(self, *says: bytes | Exception | None) -> None:
        super().__init__(seconds=7)
        self.says: list[bytes | Exception | None] = list(says) or [yes()]
        self.posts: list[dict[str, Any]] = []
        self.raw: list[bytes] = []
        self.seconds_given: list[float | None] = []

    def post(
        self,
        url: str,
        body: bytes,
        headers: dict[str, str] | None = None,
        seconds: float | None = None,
        owner: int = 0,
    ) -> bytes:
        self.raw.append(body)
        self.posts.append(json.loads(body))
        self.seconds_given.append(seconds)
        say = self.says[min(len(self.posts), len(self.says)) - 1]
        if isinstance(say, Exception):
            raise say
        assert say is not None
        return say


def yes(**more: object) -> bytes:
    return json.dumps({"result": True, "error": "", **more}).encode()


def no(text: str) -> bytes:
    return json.dumps({"result": False, "error": text}).encode()


def authorizer(caller: Caller, **options: Any) -> Authorizer:
    return Authorizer(caller, authorization_key(KEYS), NETWORK, **({"clock": Clock()} | options))


def ask(*says: bytes | Exception | None) -> Answer:
    return authorizer(Endpoint(*says)).ask(QUESTION)


def test_the_message_is_the_one_that_issuers_know() -> None:
    endpoint = Endpoint()
    authorizer(endpoint).ask(QUESTION)
    [post] = endpoint.posts
    assert set(post) == {"message", "signature"}
    assert post["message"] == {
        "server_result": True,
        "request": {
            "uuid": UUID,
            "asset_id": ASSET[::-1].hex(),
            "tx_hex": TX,
            "inputs": [
                {"vin": 0, "amount": 1000, "gaid": "GA123", "is_treasury": False, "registered_user": 5, "investor": 5}
            ],
            "outputs": [
                {
                    "vout": 0, "amount": 400, "gaid": "GA456", "is_treasury": False,
                    "registered_user": None, "investor": None,
                },
                {
                    "vout": 1, "amount": 600, "gaid": None, "is_treasury": True,
                    "registered_user": None, "investor": None,
                },
            ],
        },
    }  # fmt: skip


def test_the_signature_is_a_signed_message_of_the_address_that_is_shown() -> None:
    """Checked the way an issuer's demo does: serialise what was parsed again, recover, compare the address."""
    endpoint = Endpoint()
    asker = authorizer(endpoint)
    asker.ask(QUESTION)
    [post] = endpoint.posts
    text = json.dumps(post["message"], sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    signature = base64.b64decode(post["signature"])
    assert len(signature) == 65
    assert 31 <= signature[0] <= 34, "of a compressed key, as verifymessage wants it"
    key = wally.ecdsa_recover(signature, signed_message_hash(text))
    assert key is not None
    assert p2pkh_address(NETWORK, wally.hash160(key)) == asker.address
    assert text.encode() in endpoint.raw[0], "what is signed is sent, byte for byte"


def test_the_key_is_its_own_and_stays_the_same() -> None:
    address = authorizer(Endpoint()).address
    assert address == authorizer(Endpoint()).address
    assert address != p2pkh_address(NETWORK, wally.hash160(KEYS.pubkey))
    assert authorizer(Endpoint()).address.startswith("2")
    assert authorization_address(KEYS, NETWORK) == address
    assert authorization_address(ServiceKeys.from_seed(b"\x01" * 32), NETWORK) != address


def test_a_yes() -> None:
    for said in (yes(), b'{"result": true}', yes(error=None), yes(more=[1])):
        assert ask(said) == Answer(allowed=True)


def test_a_no_in_the_issuers_words() -> None:
    assert ask(no("not on a Sunday")) == Answer(allowed=False, error="not on a Sunday")
    assert ask(no("")) == ask(b'{"result": false}') == ask(b'{"result": false, "error": null}') == Answer(allowed=False)
    assert len(ask(no("x" * 1000)).error) == 300


@pytest.mark.parametrize(
    "said",
    [
        b"",
        b"true",
        b"1",
        b"[]",
        b"{}",
        b'[{"result": true}]',
        b"<html>true</html>",
        b'{"result": "true", "error": ""}',
        b'{"result": 1, "error": ""}',
        b'{"result": null, "error": ""}',
        b'{"Result": true, "error": ""}',
        b'{"result": true, "error": 5}',
        b'{"result": true, "error": "but no"}',
        b'{"result": true, "error": ""} trailing',
        b'{"result": true, "error": ""}{"result": false}',
        b'{"result": false, "result": true, "error": ""}',
        b'{"result": true, "score": NaN}',
        b'{"result": tru',
        b"\xff\xfe",
        b"[" * 60_000,
        b'{"result": true, "x": ' + b"[" * 30_000,
        yes(uuid="00000000-0000-4000-8000-000000000000"),
        yes(uuid=None),
        yes(txid="02" * 32),
        yes(txid=None),
        yes(asset_id="00" * 32),
    ],
)
def test_f02_anything_else_is_a_no(said: bytes) -> None:
    assert ask(said) == Answer(allowed=False, failed=True)


@pytest.mark.parametrize(
    "failure", ["no answer within 7 seconds", "status 500", "status 302", "an answer of more than 65536 bytes"]
)
def test_f02_no_answer_is_a_no_that_says_nothing_of_our_network(failure: str) -> None:
    assert ask(NoAnswer(failure)) == Answer(allowed=False, failed=True)


def test_f02_an_answer_that_repeats_what_it_was_asked_must_repeat_this() -> None:
    said = yes(txid=str(Transaction(TX).txid()), asset_id=ASSET[::-1].hex(), uuid=UUID)
    asker = authorizer(Endpoint(said))
    assert asker.ask(QUESTION).allowed
    assert not asker.ask(replace(QUESTION, uuid=UUID[::-1])).allowed
    assert not asker.ask(replace(QUESTION, tx_hex="01000000" + "00" * 7)).allowed
    assert not asker.ask(another(asset_id=bytes(32))).allowed


def test_f02_an_earlier_yes_is_not_kept() -> None:
    endpoint = Endpoint(yes(), no("not again"))
    asker = authorizer(endpoint)
    first, second = asker.ask(QUESTION), asker.ask(QUESTION)
    assert (first.allowed, second.allowed) == (True, False)
    assert len(endpoint.posts) == 2


def test_f02_a_url_that_must_not_be_called_is_a_no() -> None:
    endpoint = Endpoint()
    for url in (None, "", "file:///etc/passwd", "http://issuer.example/", "https://127.0.0.1/"):
        assert not authorizer(endpoint).ask(another(authorization_endpoint=url)).allowed
    assert endpoint.posts == []


# -- a dead endpoint takes nothing from others ------------------------------------------------------------------------


def test_f02_an_endpoint_that_keeps_failing_is_left_alone_for_a_while() -> None:
    clock, endpoint = Clock(), Endpoint(NoAnswer("late"))
    asker = authorizer(endpoint, clock=clock, failures=3, rest=30)
    for _ in range(5):
        assert not asker.ask(QUESTION).allowed
    assert len(endpoint.posts) == 3, "the others were a no at once"
    assert not asker.ask(another(authorization_endpoint=URL + "/other")).allowed
    assert len(endpoint.posts) == 3, "another path of the same host is the same endpoint"
    assert not asker.ask(another(issuer_id=8)).allowed
    assert len(endpoint.posts) == 4, "another issuer's is not"
    clock.now += 31
    assert not asker.ask(QUESTION).allowed
    assert not asker.ask(QUESTION).allowed
    assert len(endpoint.posts) == 5, "one question finds out whether it is back"
    clock.now += 31
    assert not asker.ask(QUESTION).allowed
    assert len(endpoint.posts) == 5, "the rest got longer"
    clock.now += 30
    endpoint.says = [yes()]
    assert all(asker.ask(QUESTION).allowed for _ in range(5))


def test_a_no_is_no_failure() -> None:
    endpoint = Endpoint(no("no"))
    asker = authorizer(endpoint, failures=2)
    for _ in range(5):
        asker.ask(QUESTION)
    assert len(endpoint.posts) == 5


class Slow(Endpoint):
    """Holds every question until it is let go."""

    def __init__(self) -> None:
        super().__init__()
        self.go = threading.Event()
        self.waiting = threading.Semaphore(0)

    def post(
        self,
        url: str,
        body: bytes,
        headers: dict[str, str] | None = None,
        seconds: float | None = None,
        owner: int = 0,
    ) -> bytes:
        self.waiting.release()
        assert self.go.wait(PATIENCE)
        return super().post(url, body, headers, seconds)


@contextmanager
def under_way(asker: Authorizer, questions: Sequence[Question], slow: Slow) -> Iterator[list[Answer]]:
    answers: list[Answer] = []
    threads = [threading.Thread(target=lambda q=q: answers.append(asker.ask(q))) for q in questions]
    for thread in threads:
        thread.start()
        assert slow.waiting.acquire(timeout=PATIENCE)
    yield answers
    slow.go.set()
    for thread in threads:
        thread.join(PATIENCE)


def test_f02_questions_under_way_are_bounded_by_issuer_and_in_all() -> None:
    slow = Slow()
    asker = authorizer(slow, per_issuer=2, at_once=3)
    mine = [QUESTION, QUESTION]
    other = another(issuer_id=8)
    with under_way(asker, [*mine, other], slow) as answers:
        began = time.monotonic()
        for refused in (QUESTION, other, another(issuer_id=9)):
            assert asker.ask(refused) == Answer(allowed=False, failed=True)
        assert time.monotonic() - began < 7, "nobody waits for a place"
        assert not slow.waiting.acquire(blocking=False), "nor was anybody asked"
    assert [answer.allowed for answer in answers] == [True] * 3
    assert asker.ask(QUESTION).allowed, "and the places are free again"


def test_f02_while_one_finds_out_whether_it_is_back_the_others_do_not_wait() -> None:
    clock, slow = Clock(), Slow()
    slow.says = [NoAnswer("late"), yes()]
    slow.go.set()
    asker = authorizer(slow, clock=clock, failures=1, rest=30)
    assert not asker.ask(QUESTION).allowed
    assert slow.waiting.acquire(blocking=False)
    slow.go.clear()
    clock.now += 31
    with under_way(asker, [QUESTION], slow) as answers:
        assert asker.ask(QUESTION).failed
    assert [answer.allowed for answer in answers] == [True]


def test_the_place_is_given_up_only_while_it_waits() -> None:
    seen: list[str] = []

    @contextmanager
    def away() -> Iterator[None]:
        seen.append("away")
        try:
            yield
        finally:
            seen.append("back")

    class Notes(Endpoint):
        def post(self, *args: Any, **kwargs: Any) -> bytes:
            seen.append("post")
            raise NoAnswer("late")

    authorizer(Notes(), away=away).ask(QUESTION)
    assert seen == ["away", "post", "back"]


def test_several_assets_share_the_time_of_one() -> None:
    clock = Clock()

    class Late(Endpoint):
        def post(self, *args: Any, **kwargs: Any) -> bytes:
            clock.now += 3
            return super().post(*args, **kwargs)

    endpoint = Late()
    asker = authorizer(endpoint, clock=clock)
    questions = [another(asset_id=bytes([i]) * 32) for i in range(4)]
    answers = asker.ask_all(questions)
    assert [answer.allowed for answer in answers] == [True, True, True, False]
    assert endpoint.seconds_given == [7, 4, 1]
    endpoint.says = [no("no")]
    assert len(asker.ask_all(questions)) == 1, "after a no the others are not troubled"


def test_little_time_left_is_not_the_endpoints_failure() -> None:
    endpoint = Endpoint(NoAnswer("late"))
    asker = authorizer(endpoint, failures=1)
    asker.ask(QUESTION, 1)
    asker.ask(QUESTION)
    assert len(endpoint.posts) == 2
