"""What every part of two-factor needs besides its transaction: secrets, time, channels and numbers."""

from __future__ import annotations

import hmac
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from amp0.errors import ConfigError
from amp0.protocol import twofactor as wire
from amp0.server.attempts import Attempts
from amp0.server.refusal import DeliveryFailed
from amp0.server.settings import Settings
from amp0.server.twofactor.clock import TrustedClock
from amp0.server.twofactor.delivery import Delivery, Message

DAY = 86_400
_NONCE_LENGTH = 12


@dataclass(frozen=True, slots=True)
class Factors:
    """Made once, by the composition root. ``derive_secret`` is the service key's, ``policy_asset`` 32 bytes."""

    derive_secret: Callable[[bytes], bytes] = field(repr=False)
    random: Callable[[int], bytes] = field(repr=False)
    clock: TrustedClock
    channels: Mapping[str, Delivery]
    requests: Attempts
    settings: Settings
    policy_asset: bytes

    def now(self) -> int:
        """The trusted time, whole seconds."""
        return int(self.clock.now())

    @property
    def reset_seconds(self) -> int:
        """Delay of a reset."""
        return self.settings.reset_days * DAY

    def offers(self, method: str) -> bool:
        """Whether this server can work with a method at all."""
        return method == wire.GAUTH or method in self.channels

    def send(self, message: Message) -> None:
        """Hand a message to its channel. Blocks; never inside a transaction. Raises :class:`DeliveryFailed`."""
        channel = self.channels.get(message.method)
        if channel is None:
            raise DeliveryFailed(f"This server sends nothing by {message.method} any more; use another method")
        channel.send(message)

    def digest(self, purpose: bytes, data: bytes) -> bytes:
        """A keyed hash (32 bytes): without the service key nobody can try values against it."""
        return hmac.digest(self.derive_secret(b"two-factor " + purpose), data, "sha256")

    def seal(self, user_id: int, address: str) -> bytes:
        """An address, encrypted for the store and bound to its wallet."""
        nonce = self.random(_NONCE_LENGTH)
        return nonce + self._cipher().encrypt(nonce, address.encode(), str(user_id).encode())

    def open(self, user_id: int, box: bytes) -> str:
        """The address in a box; empty for an empty box. Raises :class:`ConfigError` for another key's box."""
        if not box:
            return ""
        try:
            opened = self._cipher().decrypt(box[:_NONCE_LENGTH], box[_NONCE_LENGTH:], str(user_id).encode())
        except InvalidTag:
            raise ConfigError("an address in the database was not encrypted by this service key") from None
        return opened.decode()

    def _cipher(self) -> AESGCM:
        return AESGCM(self.derive_secret(b"two-factor addresses"))
