"""Texts reach people: a real SMTP server, a webhook that checks the signature, and what is refused to be set up."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import socket
import ssl
from collections.abc import Awaitable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult, Envelope, LoginPassword, Session
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from amp0.errors import ConfigError
from amp0.server.refusal import DeliveryFailed
from amp0.server.settings import Settings
from amp0.server.twofactor.delivery import (
    SIGNATURE_HEADER,
    Message,
    Outbox,
    SmtpDelivery,
    WebhookDelivery,
    channels_from,
)
from tests.patience import PATIENCE

MESSAGE = Message("id1", "email", "alice@example.com", "Your code", "123456 is your code – naïve.", "123456")
HOST = "127.0.0.1"
NOW = 1_750_000_000.0


class Mailbox:
    """What an SMTP server of the tests has received."""

    def __init__(self) -> None:
        self.mails: list[Envelope] = []
        self.encrypted: list[bool] = []
        self.answer = "250 OK"

    async def handle_DATA(self, _server: Any, session: Session, envelope: Envelope) -> str:
        self.mails.append(envelope)
        self.encrypted.append(session.ssl is not None)
        return self.answer


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """Contexts of a server on 127.0.0.1 and of a client that trusts it."""
    import datetime
    import ipaddress

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "relay")])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(HOST))]), critical=False)
        .sign(key, hashes.SHA256())
    )
    folder = tmp_path_factory.mktemp("relay")
    chain = folder / "relay.pem"
    chain.write_bytes(
        made.public_bytes(serialization.Encoding.PEM)
        + key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    server.load_cert_chain(chain)
    client = ssl.create_default_context(cafile=str(chain))
    return server, client


def check_login(_server: Any, _session: Any, _envelope: Any, _mechanism: str, data: Any) -> AuthResult:
    right = isinstance(data, LoginPassword) and (data.login, data.password) == (b"amp0", b"secret")
    return AuthResult(success=right, handled=False)


class Relay(Controller):  # type: ignore[misc,unused-ignore]
    """On a port that is its own from the beginning: one that was found free may be somebody else's by now."""

    def __init__(self, mailbox: Mailbox, **options: Any) -> None:
        self._bound = socket.socket()
        self._bound.bind((HOST, 0))
        port = self._bound.getsockname()[1]
        super().__init__(mailbox, hostname=HOST, port=port, ready_timeout=PATIENCE, **options)

    def _create_server(self) -> Awaitable[asyncio.AbstractServer]:
        return self.loop.create_server(self._factory_invoker, sock=self._bound)


@pytest.fixture
def mailbox() -> Mailbox:
    return Mailbox()


@pytest.fixture
def relay(mailbox: Mailbox) -> Iterator[Controller]:
    """A relay without encryption, as one on this machine."""
    controller = Relay(mailbox)
    controller.start()
    yield controller
    controller.stop()


@pytest.fixture
def secure_relay(mailbox: Mailbox, certificate: tuple[ssl.SSLContext, ssl.SSLContext]) -> Iterator[Controller]:
    """A relay that wants STARTTLS and a login."""
    controller = Relay(
        mailbox,
        tls_context=certificate[0],
        require_starttls=True,
        auth_required=True,
        authenticator=check_login,
    )
    controller.start()
    yield controller
    controller.stop()


def port_of(controller: Controller) -> int:
    return int(controller.port)


def test_an_e_mail_arrives(relay: Controller, mailbox: Mailbox) -> None:
    SmtpDelivery(HOST, port_of(relay), "none", "amp0@example.com").send(MESSAGE)
    (mail,) = mailbox.mails
    assert (mail.mail_from, mail.rcpt_tos) == ("amp0@example.com", ["alice@example.com"])
    assert isinstance(mail.content, bytes)
    assert b"Subject: Your code" in mail.content
    assert b"Auto-Submitted: auto-generated" in mail.content


def test_an_e_mail_goes_encrypted_and_with_a_login(
    secure_relay: Controller, mailbox: Mailbox, certificate: tuple[ssl.SSLContext, ssl.SSLContext]
) -> None:
    port, context = port_of(secure_relay), certificate[1]
    right = SmtpDelivery(HOST, port, "starttls", "amp0@example.com", "amp0", b"secret", context=context)
    right.send(MESSAGE)
    assert mailbox.encrypted == [True]
    wrong = SmtpDelivery(HOST, port, "starttls", "amp0@example.com", "amp0", b"guess", context=context)
    untrusted = SmtpDelivery(HOST, port, "starttls", "amp0@example.com", "amp0", b"secret")
    plain = SmtpDelivery(HOST, port, "none", "amp0@example.com")
    for delivery in (wrong, untrusted, plain):
        with pytest.raises(DeliveryFailed, match="another method"):
            delivery.send(MESSAGE)
    assert len(mailbox.mails) == 1
    assert "secret" not in repr(right)


def test_a_relay_that_refuses_or_is_away_is_told(relay: Controller, mailbox: Mailbox) -> None:
    mailbox.answer = "550 no such user alice@example.com"
    delivery = SmtpDelivery(HOST, port_of(relay), "none", "amp0@example.com", timeout=PATIENCE)
    with pytest.raises(DeliveryFailed) as refused:
        delivery.send(MESSAGE)
    assert "alice" not in str(refused.value)
    with socket.socket() as held:
        held.bind((HOST, 0))
        nobody = SmtpDelivery(HOST, held.getsockname()[1], "none", "amp0@example.com", timeout=2)
        with pytest.raises(DeliveryFailed):
            nobody.send(MESSAGE)


def test_a_webhook_is_signed_and_not_redirected() -> None:
    seen: list[httpx.Request] = []
    status = [200]

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        return httpx.Response(status[0], headers={"location": "https://evil.example/"})

    hook = WebhookDelivery("https://sms.example/send", b"shared", lambda: NOW, transport=httpx.MockTransport(answer))
    message = Message("id1", "sms", "+41791234567", "Your code", "text", "123456")
    hook.send(message)
    (request,) = seen
    assert json.loads(request.content) == {
        "id": "id1", "method": "sms", "to": "+41791234567", "subject": "Your code", "text": "text", "code": "123456",
    }  # fmt: skip
    digest = hmac.new(b"shared", b"1750000000." + request.content, hashlib.sha256).hexdigest()
    assert request.headers[SIGNATURE_HEADER] == f"t=1750000000,v1={digest}"
    assert "shared" not in repr(hook)
    for status[0] in (301, 307, 400, 500):
        with pytest.raises(DeliveryFailed, match="sms"):
            hook.send(message)
    assert {str(request.url) for request in seen} == {"https://sms.example/send"}


def test_a_webhook_that_is_away_is_told() -> None:
    def answer(_request: httpx.Request) -> httpx.Response:
        raise httpx.ReadTimeout("slow")

    hook = WebhookDelivery("https://sms.example", b"shared", lambda: NOW, transport=httpx.MockTransport(answer))
    with pytest.raises(DeliveryFailed):
        hook.send(MESSAGE)


def test_messages_hide_themselves_and_the_outbox_shows_them() -> None:
    assert "123456" not in repr(MESSAGE)
    assert "alice" not in repr(MESSAGE)
    outbox = Outbox(lambda: NOW, most=2)
    for number in range(3):
        outbox.send(Message(str(number), "email", "a@example.com", "s", "t"))
    assert [row["id"] for row in outbox.to_json()] == ["1", "2"]
    assert outbox.to_json()[0] == {
        "id": "1", "at": 1_750_000_000, "method": "email", "to": "a@example.com", "subject": "s", "text": "t",
        "code": None,
    }  # fmt: skip


def secret_file(folder: Path, text: bytes = b"shared\n") -> Path:
    path = folder / "secret"
    path.write_bytes(text)
    path.chmod(0o600)
    return path


def test_channels_follow_from_the_settings(tmp_path: Path) -> None:
    assert channels_from(Settings(), lambda: NOW) == {}
    settings = Settings(
        smtp_host="relay.example",
        smtp_from="amp0@example.com",
        smtp_user="amp0",
        smtp_password_file=secret_file(tmp_path),
        sms_webhook="https://sms.example",
        phone_webhook="http://127.0.0.1:9/call",
        webhook_secret_file=secret_file(tmp_path),
    )
    channels = channels_from(settings, lambda: NOW)
    assert set(channels) == {"email", "sms", "phone"}
    email = channels["email"]
    assert isinstance(email, SmtpDelivery)
    assert (email.security, email.port, email.password) == ("starttls", 587, b"shared")


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"smtp_host": "relay.example"}, "smtp_from"),
        ({"smtp_host": "relay.example", "smtp_from": "a@b.example", "smtp_security": "none"}, "clear"),
        ({"smtp_host": "relay.example", "smtp_from": "a@b.example", "smtp_security": "ssl"}, "starttls"),
        ({"smtp_host": "relay.example", "smtp_from": "a@b.example", "smtp_user": "x"}, "smtp_password_file"),
        ({"sms_webhook": "https://sms.example"}, "webhook_secret_file"),
        ({"sms_webhook": "http://sms.example", "webhook_secret_file": True}, "https"),
        ({"telegram_webhook": "http://127.0.0.1@evil.example", "webhook_secret_file": True}, "URL|https"),
    ],
)
def test_channels_that_would_leak_are_refused(changes: dict[str, Any], match: str, tmp_path: Path) -> None:
    if changes.get("webhook_secret_file"):
        changes = {**changes, "webhook_secret_file": secret_file(tmp_path)}
    with pytest.raises(Exception, match=match) as refused:
        channels_from(Settings(**changes), lambda: NOW)
    assert isinstance(refused.value, ConfigError) or "URL" in str(refused.value)


def test_a_secret_that_others_can_read_is_refused(tmp_path: Path) -> None:
    path = secret_file(tmp_path)
    path.chmod(0o644)
    with pytest.raises(ConfigError, match="chmod 600"):
        channels_from(Settings(sms_webhook="https://x.example", webhook_secret_file=path), lambda: NOW)
