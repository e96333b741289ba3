"""How a text reaches a person: e-mail over SMTP, everything else through a webhook of the operator's provider.

:class:`Delivery` is all that the rest of the server knows. A channel that is not configured does not exist, and its
method is not offered. Sending blocks, within the time limit of the settings; callers are in worker threads.
"""

from __future__ import annotations

import collections
import hashlib
import hmac
import json
import logging
import smtplib
import ssl
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from email.message import EmailMessage
from email.utils import formatdate, make_msgid
from typing import Protocol

import httpx

from amp0.errors import ConfigError
from amp0.network import is_loopback_host, is_loopback_url
from amp0.protocol import twofactor as wire
from amp0.server.refusal import DeliveryFailed
from amp0.server.settings import Settings, read_secret

log = logging.getLogger("amp0.server.twofactor")

SIGNATURE_HEADER = "x-amp0-signature"
"""``t=<seconds>,v1=<HMAC-SHA256 in hex of "<seconds>.<body>">``"""
_FAILED = "The code could not be sent by {} just now; try another method, or later"


@dataclass(frozen=True, slots=True)
class Message:
    """A text for one address. ``id`` stays the same when it is sent again; ``code`` is the code in the text, if any.

    Address and texts are nobody else's business: ``repr`` hides them.
    """

    id: str
    method: str
    address: str = field(repr=False)
    subject: str
    text: str = field(repr=False)
    code: str | None = field(default=None, repr=False)


class Delivery(Protocol):
    """One channel."""

    def send(self, message: Message) -> None:
        """Hand the message over. Raises :class:`DeliveryFailed`; a return means that the next hop has it."""
        ...


class Outbox:
    """Messages kept in memory in place of being sent: for tests, and for the local stack."""

    def __init__(self, clock: Callable[[], float] = time.time, *, most: int = 1000) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._messages: collections.deque[tuple[float, Message]] = collections.deque(maxlen=most)

    def send(self, message: Message) -> None:
        """Keep it."""
        with self._lock:
            self._messages.append((self._clock(), message))

    def messages(self) -> list[Message]:
        """All of them, oldest first."""
        with self._lock:
            return [message for _, message in self._messages]

    def to_json(self) -> list[dict[str, object]]:
        """All of them, oldest first: ``{id, at, method, to, subject, text, code}``."""
        with self._lock:
            return [
                {
                    "id": message.id,
                    "at": int(at),
                    "method": message.method,
                    "to": message.address,
                    "subject": message.subject,
                    "text": message.text,
                    "code": message.code,
                }
                for at, message in self._messages
            ]


@dataclass(frozen=True, slots=True)
class SmtpDelivery:
    """E-mail through a mail relay. ``security`` is ``starttls``, ``tls`` or, on loopback only, ``none``."""

    host: str
    port: int
    security: str
    sender: str
    user: str | None = None
    password: bytes | None = field(default=None, repr=False)
    timeout: float = 8.0
    context: ssl.SSLContext | None = field(default=None, repr=False)

    def send(self, message: Message) -> None:
        """One message, one connection."""
        mail = EmailMessage()
        mail["From"], mail["To"], mail["Subject"] = self.sender, message.address, message.subject
        mail["Date"] = formatdate()
        mail["Message-ID"] = make_msgid(message.id, domain=self.sender.rpartition("@")[2])
        mail["Auto-Submitted"] = "auto-generated"
        mail.set_content(message.text)
        try:
            with self._connect() as server:
                if self.security == "starttls":
                    server.starttls(context=self.context or ssl.create_default_context())
                if self.user is not None and self.password is not None:
                    server.login(self.user, self.password.decode())
                server.send_message(mail)
        except (OSError, smtplib.SMTPException, ValueError) as error:
            # The relay's words may quote the address, so only their kind is kept.
            log.warning("mail not sent relay=%s:%d error=%s", self.host, self.port, type(error).__name__)
            raise DeliveryFailed(_FAILED.format("e-mail")) from None

    def _connect(self) -> smtplib.SMTP:
        if self.security == "tls":
            context = self.context or ssl.create_default_context()
            return smtplib.SMTP_SSL(self.host, self.port, timeout=self.timeout, context=context)
        return smtplib.SMTP(self.host, self.port, timeout=self.timeout)


@dataclass(frozen=True, slots=True)
class WebhookDelivery:
    """A provider's HTTP endpoint: ``POST`` with a JSON body and :data:`SIGNATURE_HEADER`; 2xx means taken.

    The body is ``{"id", "method", "to", "subject", "text", "code"}``; ``id`` is the same when it is sent again.
    Redirects are not followed: a signed code goes where the operator said and nowhere else.
    """

    url: str
    secret: bytes = field(repr=False)
    clock: Callable[[], float] = field(repr=False)
    timeout: float = 8.0
    transport: httpx.BaseTransport | None = field(default=None, repr=False)

    def send(self, message: Message) -> None:
        """One message, one request."""
        body = json.dumps(
            {
                "id": message.id,
                "method": message.method,
                "to": message.address,
                "subject": message.subject,
                "text": message.text,
                "code": message.code,
            }
        ).encode()
        headers = {"content-type": "application/json", SIGNATURE_HEADER: sign_body(self.secret, self.clock(), body)}
        try:
            with (
                httpx.Client(timeout=self.timeout, trust_env=False, transport=self.transport) as client,
                # The body of the answer is not read: nobody knows its size.
                client.stream("POST", self.url, content=body, headers=headers) as answer,
            ):
                status = answer.status_code
        except httpx.HTTPError as error:
            status = 0
            log.warning("webhook failed method=%s error=%s", message.method, type(error).__name__)
        if not 200 <= status < 300:
            log.warning("message not taken method=%s status=%d", message.method, status)
            raise DeliveryFailed(_FAILED.format(message.method))


def sign_body(secret: bytes, now: float, body: bytes) -> str:
    """The value of :data:`SIGNATURE_HEADER`. A receiver recomputes it and refuses times that are minutes away."""
    seconds = str(int(now))
    digest = hmac.new(secret, seconds.encode() + b"." + body, hashlib.sha256).hexdigest()
    return f"t={seconds},v1={digest}"


def channels_from(settings: Settings, clock: Callable[[], float]) -> Mapping[str, Delivery]:
    """Method → channel, for every channel that the settings describe. Raises :class:`ConfigError`."""
    channels: dict[str, Delivery] = {}
    if settings.smtp_host is not None:
        channels[wire.EMAIL] = _smtp(settings)
    hooks = {
        wire.SMS: settings.sms_webhook,
        wire.PHONE: settings.phone_webhook,
        wire.TELEGRAM: settings.telegram_webhook,
    }
    named = {method: url for method, url in hooks.items() if url is not None}
    if named and settings.webhook_secret_file is None:
        raise ConfigError("webhooks are signed: name a file with the secret they share with us (webhook_secret_file)")
    for method, url in named.items():
        assert settings.webhook_secret_file is not None
        if not url.startswith("https://") and not is_loopback_url(url):
            raise ConfigError(f"{method}_webhook carries codes: use https, or plain http to this machine only")
        secret = read_secret(settings.webhook_secret_file, "webhook secret")
        channels[method] = WebhookDelivery(url, secret, clock, settings.delivery_seconds)
    return channels


def _smtp(settings: Settings) -> SmtpDelivery:
    assert settings.smtp_host is not None
    if settings.smtp_from is None:
        raise ConfigError("e-mail needs a sender address (smtp_from)")
    if settings.smtp_security not in ("starttls", "tls", "none"):
        raise ConfigError(f"smtp_security {settings.smtp_security!r} is unknown; choose starttls, tls or none")
    if settings.smtp_security == "none" and not is_loopback_host(settings.smtp_host):
        raise ConfigError("smtp_security none would send codes in the clear; it is for a relay on this machine only")
    if (settings.smtp_user is None) is not (settings.smtp_password_file is None):
        raise ConfigError("smtp_user and smtp_password_file belong together")
    password = None
    if settings.smtp_password_file is not None:
        password = read_secret(settings.smtp_password_file, "SMTP password")
    return SmtpDelivery(
        host=settings.smtp_host,
        port=settings.smtp_port,
        security=settings.smtp_security,
        sender=settings.smtp_from,
        user=settings.smtp_user,
        password=password,
        timeout=settings.delivery_seconds,
    )
