"""From the cosigner to an issuer's endpoint over real HTTP and back: attacks F02 and F03 from end to end."""

from __future__ import annotations

import base64
import http.server
import json
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from amp0.elements import wally
from amp0.elements.address import p2pkh_address
from amp0.elements.keys import signed_message_hash
from amp0.elements.transaction import Transaction
from amp0.server.policy.authorization import Authorizer
from amp0.server.settings import Settings
from tests.patience import PATIENCE
from tests.server.cosigning import STRANGER, Account, Payment
from tests.server.policy.market import Managed, Market
from tests.server.talking import NETWORK

Reply = Callable[["Handler"], None]


class Handler(http.server.BaseHTTPRequestHandler):
    """Answers as the test says."""

    server: Endpoint

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        self.server.asked.append(json.loads(body))
        self.server.reply(self)

    def answer(self, status: int, body: bytes, **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_arguments: object) -> None:
        """Quiet."""


class Endpoint(http.server.ThreadingHTTPServer):
    """An issuer's endpoint on loopback."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.asked: list[dict[str, Any]] = []
        self.reply: Reply = yes
        self.over = threading.Event()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/authorize?issuer=1"


def yes(handler: Handler) -> None:
    handler.answer(200, b'{"result": true, "error": ""}')


def no(handler: Handler) -> None:
    handler.answer(200, b'{"result": false, "error": "not before\\nFriday"}')


@pytest.fixture
def endpoint() -> Iterator[Endpoint]:
    with Endpoint() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        yield server
        server.over.set()
        server.shutdown()
        thread.join(PATIENCE)


def authorizer_of(market: Market, *, private: bool = True, seconds: float = PATIENCE) -> Authorizer:
    settings = Settings(authorization_seconds=seconds, authorization_private=private)
    authorizer = Authorizer.from_settings(settings, market.world.keys, NETWORK)
    market.gate._authorizer = authorizer
    return authorizer


@pytest.fixture
def market() -> Market:
    return Market()


@pytest.fixture
def share(market: Market, endpoint: Endpoint) -> Managed:
    asset = market.asset()
    asset.set(authorization_endpoint=endpoint.url)
    return asset


@pytest.fixture
def payment(market: Market, share: Managed, alice: Account) -> Payment:
    """From alice to somebody here whom the issuer has not registered."""
    nobody = market.holder("nobody", user=False)
    return market.send([market.fund(alice, share, 100)], (nobody, share, 60), (alice, share, 40))


def test_a_signed_question_and_a_yes(market: Market, endpoint: Endpoint, payment: Payment, share: Managed) -> None:
    authorizer = authorizer_of(market)
    market.cosign(payment)
    [post] = endpoint.asked
    request = post["message"]["request"]
    assert post["message"]["server_result"] is False
    assert Transaction(request["tx_hex"]) == payment.tx
    assert request["asset_id"] == share.id[::-1].hex()
    assert request["inputs"] == [
        {"vin": 0, "amount": 100, "gaid": "GAalice", "is_treasury": False, "registered_user": 1, "investor": 1}
    ]
    assert [(one["vout"], one["amount"], one["gaid"], one["registered_user"]) for one in request["outputs"]] == [
        (0, 60, "GAnobody", None),
        (1, 40, "GAalice", 1),
    ]
    text = json.dumps(post["message"], sort_keys=True, separators=(",", ":"))
    key = wally.ecdsa_recover(base64.b64decode(post["signature"]), signed_message_hash(text))
    assert key is not None
    assert p2pkh_address(NETWORK, wally.hash160(key)) == authorizer.address


def test_a_no_in_the_issuer_s_words(market: Market, endpoint: Endpoint, payment: Payment) -> None:
    authorizer_of(market)
    endpoint.reply = no
    refused = market.refused(payment)
    assert ("authorization_refused", "the asset's issuer refuses: not before Friday") in [
        (one.code, one.text) for one in refused
    ]


def redirect(handler: Handler) -> None:
    host = handler.headers["host"]
    handler.answer(307, b'{"result": true, "error": ""}', location=f"http://{host}/elsewhere")


def drip(handler: Handler) -> None:
    handler.send_response(200)
    handler.end_headers()
    while not handler.server.over.wait(0.02):
        handler.wfile.write(b" ")
        handler.wfile.flush()


def silence(handler: Handler) -> None:
    handler.server.over.wait(PATIENCE)


REPLIES: dict[str, Reply] = {
    "status 500": lambda handler: handler.answer(500, b'{"result": true, "error": ""}'),
    "status 201": lambda handler: handler.answer(201, b'{"result": true, "error": ""}'),
    "redirect": redirect,
    "HTML": lambda handler: handler.answer(200, b"<html>yes</html>", content_type="text/html"),
    "huge body": lambda handler: handler.answer(200, b'{"result": true, "error": "' + b" " * 70_000 + b'"}'),
    "wrong type": lambda handler: handler.answer(200, b'{"result": "true", "error": ""}'),
    "another uuid": lambda handler: handler.answer(200, b'{"result": true, "error": "", "uuid": "1234"}'),
    "slow drip": drip,
    "silence": silence,
    "closed": lambda handler: handler.connection.close(),
}


@pytest.mark.parametrize("reply", REPLIES.values(), ids=REPLIES)
def test_f02_everything_else_is_a_no(market: Market, endpoint: Endpoint, payment: Payment, reply: Reply) -> None:
    late = reply in (REPLIES["slow drip"], REPLIES["silence"])
    authorizer_of(market, seconds=1.0 if late else PATIENCE)
    endpoint.reply = reply
    began = time.monotonic()
    assert "authorization_failed" in market.codes(payment)
    assert time.monotonic() - began < PATIENCE / 2
    assert len(endpoint.asked) == 1, "a redirect is not followed, and nothing is asked twice"


def test_f02_an_earlier_yes_is_worth_nothing(
    market: Market, endpoint: Endpoint, share: Managed, alice: Account
) -> None:
    """Each decision asks under a name of its own, also for the same transfer again."""
    authorizer_of(market)
    endpoint.reply = no
    nobody = market.holder("nobody", user=False)
    coin = market.fund(alice, share, 100)
    for _ in range(2):
        market.refused(market.send([coin], (nobody, share, 100)))
    endpoint.reply = yes
    market.cosign(market.send([coin], (nobody, share, 100)))
    uuids = [post["message"]["request"]["uuid"] for post in endpoint.asked]
    assert len(set(uuids)) == 3


def test_f02_a_dead_endpoint_is_left_alone(market: Market, endpoint: Endpoint, payment: Payment) -> None:
    authorizer_of(market)
    endpoint.reply = REPLIES["status 500"]
    for _ in range(6):
        assert "authorization_failed" in market.codes(payment)
    assert len(endpoint.asked) == 3


def test_f03_an_endpoint_in_our_own_network_is_not_called(market: Market, endpoint: Endpoint, payment: Payment) -> None:
    authorizer_of(market, private=False)
    assert "authorization_failed" in market.codes(payment)
    assert endpoint.asked == []


def test_what_no_issuer_can_allow(market: Market, endpoint: Endpoint, share: Managed, alice: Account) -> None:
    authorizer_of(market)
    coin = market.fund(alice, share, 100)
    assert market.codes(market.send([coin], (STRANGER, share, 100))) == ["recipient_not_allowed"]
    share.set(is_locked=1)
    assert market.codes(market.send([coin], (alice, share, 100))) == ["asset_locked"]
