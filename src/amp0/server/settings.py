"""The server's settings: one frozen value, and the only place that reads the environment.

Every setting has an environment variable ``AMP0_<NAME IN CAPITALS>``; the command line passes its options as
overrides. A variable that starts with ``AMP0_`` and is no setting is refused, because a misspelt limit is no limit.
Secrets are never in the environment: the passphrase of the service key comes from a file or a file descriptor.
"""

from __future__ import annotations

import dataclasses
import difflib
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from amp0.chain.elements_rpc import rpc_url
from amp0.errors import ConfigError, InvalidInput
from amp0.network import Network, is_loopback_host

PREFIX = "AMP0_"
_NODE = "elements+"

NETWORKS = {
    "liquid": Network.mainnet,
    "testnet-liquid": Network.testnet,
    "liquidregtest": Network.regtest_default,
}

_FLAGS = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}

# A transaction of 400,000 weight units has fewer bytes than that, and hex doubles them.
MEBIBYTE = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Listener:
    """A host and port to listen at; port 0 asks the system for a free one."""

    host: str
    port: int

    @classmethod
    def parse(cls, text: str) -> Listener:
        """From ``host:port`` (``[::1]:8080`` for IPv6). Raises :class:`ConfigError`."""
        match = re.fullmatch(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9.-]+):(\d{1,5})", text)
        if match is None or int(match[2]) > 65535:
            raise ConfigError(f"{text!r} is not host:port; write for example 127.0.0.1:8080")
        return cls(match[1].strip("[]"), int(match[2]))

    def is_loopback(self) -> bool:
        """Whether only this machine can reach it."""
        return is_loopback_host(self.host)

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Everything the server can be told. Sizes in bytes, times in seconds, amounts in satoshi."""

    network: str = "liquidregtest"
    """``liquid``, ``testnet-liquid`` or ``liquidregtest``."""
    chain_url: str = "http://127.0.0.1:3000"
    """Base URL of an Esplora-like chain source; or a node's RPC, ``elements+http://127.0.0.1:7041``."""
    chain_auth_file: Path | None = None
    """The node's cookie file, or one with ``user:password``; read anew for each request."""
    data_dir: Path | None = None
    """Folder of the service key and the database; without one, everything lives in memory and dies with it."""
    database_url: str | None = None
    """SQLAlchemy URL; by default an SQLite file in the data folder."""
    listen: tuple[Listener, ...] = (Listener("127.0.0.1", 8080),)
    """Every listener serves the whole application."""
    public_wamp_url: str | None = None
    public_cosign_url: str | None = None
    public_esplora_url: str | None = None
    """What clients are told in ``/v1/network``; by default the first listener and the chain's URL."""
    passphrase_file: Path | None = None
    passphrase_fd: int | None = None
    """Where the passphrase of the service key is read from."""
    allowed_origins: tuple[str, ...] = ()
    """Web origins whose pages may open the WebSocket; programs send no origin and are not concerned."""

    max_message: int = MEBIBYTE
    """Largest WebSocket message and HTTP body."""
    max_anonymous_message: int = 16 * 1024
    """Largest WebSocket message before login."""
    max_client_blob: int = 256 * 1024
    """Largest client blob, as base64 text."""
    max_accounts: int = 64
    """Accounts a wallet may have: their list has to fit the 10,000 bytes an LWK client reads."""
    max_pending_calls: int = 256
    """Calls of one session that may wait; beyond, the session is closed."""
    max_sessions: int = 20_000
    """Open WebSocket connections."""
    max_sessions_per_peer: int = 1_000
    """Open connections of one peer address, WebSocket or not. A trusted proxy may have any number of them."""
    trusted_proxies: tuple[str, ...] = ("127.0.0.1", "::1")
    """Peer addresses whose ``X-Forwarded-For`` header is believed; empty: nobody's."""
    session_idle_seconds: int = 3600
    """A session without a call for this long is closed."""
    handshake_seconds: int = 10
    """Time for a new connection to send the head of its request, and for a WebSocket to say HELLO."""
    request_seconds: int = 30
    """Time for the rest of an HTTP request."""
    challenge_seconds: int = 60
    """Life of a login challenge."""
    login_attempts: int = 10
    """Wrong watch-only logins allowed at once, per name; ten times as many per peer address."""
    login_refill_seconds: float = 30.0
    """Time in which one more attempt is given back; it doubles with every wrong one that uses the last."""
    login_alarm: int = 200
    """Wrong watch-only logins in a minute, of all names and peers together, from which on the log says so."""
    workers: int = 4
    """Threads for calls whose work grows with the wallet: lists of outputs, transactions, addresses."""
    max_shared_commit: int = 64
    """Calls that may share one durable commit; 1: each has its own."""
    cosign_workers: int = 2
    """Threads that check and sign transactions."""
    max_waiting_cosigns: int = 64
    """Cosign requests that may wait for a thread."""
    poll_seconds: float = 1.0
    """How often the chain is asked for news."""
    upkeep_seconds: float = 5.0
    """How often the server looks after what time brings: delays that end, notices, silent sessions, issuances."""
    mempool_grace_seconds: float = 10.0
    """How long a transaction may be missing from the mempool listing before it counts as gone."""
    chain_timeout_seconds: float = 10.0
    """Longest wait for one answer of the chain."""
    required_addresses: int = 20
    """Confidential addresses the server asks each AMP account to upload."""
    replace_after_seconds: int = 600
    """How long a cosigned transaction must be in neither block nor mempool before its owner may replace it."""
    max_fee_rate: int = 100_000
    """Largest fee rate that is cosigned, satoshi per 1,000 virtual bytes."""
    max_fee: int = 1_000_000
    """Largest fee that is cosigned, satoshi."""

    smtp_host: str | None = None
    """Mail relay for codes by e-mail; without one, e-mail is not offered as a second factor."""
    smtp_port: int = 587
    smtp_security: str = "starttls"
    """``starttls``, ``tls``, or ``none`` for a relay on this machine."""
    smtp_user: str | None = None
    smtp_password_file: Path | None = None
    """Login at the relay, where it wants one."""
    smtp_from: str | None = None
    """Sender address of the e-mails."""
    sms_webhook: str | None = None
    phone_webhook: str | None = None
    telegram_webhook: str | None = None
    """Where messages for these channels are posted; https, or http to this machine. Without one, not offered."""
    webhook_secret_file: Path | None = None
    """File with the secret that webhook requests are signed with."""
    delivery_seconds: float = 8.0
    """Longest wait for a mail relay or webhook; clients give a call ten seconds."""
    code_seconds: int = 300
    """Life of a code that was sent."""
    code_requests: int = 5
    """Codes a wallet may have sent at once; its watch-only sessions have a count of their own."""
    code_refill_seconds: float = 60.0
    """Time in which one more is given back."""
    code_guesses: int = 6
    """Wrong codes after which a wallet's second factors are locked."""
    code_lock_seconds: int = 3600
    """Length of the first lock; each further one lasts twice as long, up to a week, until a code is right."""
    reset_days: int = 90
    """Delay of a two-factor reset, and of the resolution of its dispute."""
    clock_tolerance_seconds: float = 300.0
    """How far the clock may stray in an hour before nothing that loosens two-factor is done."""

    public_api_url: str | None = None
    """Where issuers find ``/api``, as their tools are told; by default what their request was sent to."""
    api_token_seconds: int | None = None
    """Life of an issuer's token; without it, a token lives until it is replaced."""
    confirmations: int = 2
    """Confirmations that the transaction of a distribution, reissuance or burn needs before it is taken."""
    lost_after_seconds: int = 120
    """How long an output of a managed asset may be unexplained, once confirmed, before it counts as lost."""
    issue_fee_rate: int = 100
    """Fee rate of issuances, satoshi per 1,000 virtual bytes; at most ``max_fee_rate``."""
    fee_wallet_low: int = 100_000
    """Satoshi of L-BTC in the wallet that pays for issuances below which the server says so."""
    asset_registry_url: str | None = None
    """Where issued assets are registered publicly; without one, nothing is."""
    authorization_seconds: float = 7.0
    """Longest wait for an issuer's authorization endpoint; clients give a call ten seconds."""
    authorization_private: bool = False
    """Whether authorization endpoints may be private addresses and plain http: for a network of one's own only."""
    preflight_requests: int = 60
    """Recipients that a wallet may ask about at once, in pre-flights; and as many in payments that are refused."""
    preflight_refill_seconds: float = 1.0
    """Time in which one more is given back."""

    def __post_init__(self) -> None:
        if self.network not in NETWORKS:
            raise ConfigError(f"network {self.network!r} is unknown; choose one of {', '.join(NETWORKS)}")
        self._check_chain_url()
        if not self.listen:
            raise ConfigError("listen names no address; write for example 127.0.0.1:8080")
        if self.passphrase_file is not None and self.passphrase_fd is not None:
            raise ConfigError(
                "give --passphrase-file or --passphrase-fd (AMP0_PASSPHRASE_FILE or AMP0_PASSPHRASE_FD), not both"
            )
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if isinstance(value, bool):
                continue
            if isinstance(value, int | float) and value <= 0 and field.name != "passphrase_fd":
                raise ConfigError(f"{field.name} must be above zero, not {value}")
        if self.issue_fee_rate > self.max_fee_rate:
            raise ConfigError(
                f"issue_fee_rate is {self.issue_fee_rate} satoshi per 1,000 virtual bytes, more than the "
                f"{self.max_fee_rate} of max_fee_rate: every issuance would cost that much"
            )

    def _check_chain_url(self) -> None:
        node = self.node_url()
        if node is not None:
            try:
                rpc_url(node)
            except InvalidInput as error:
                raise ConfigError(f"chain_url: {error}") from None
            if self.chain_auth_file is None:
                raise ConfigError(
                    "a node wants credentials: name its cookie file or one of your own "
                    "(--chain-auth-file, AMP0_CHAIN_AUTH_FILE)"
                )
            return
        if self.chain_auth_file is not None:
            raise ConfigError("chain_auth_file is for a node: write chain_url as elements+http://host:port")
        parts = urlsplit(self.chain_url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            shown = "" if "@" in self.chain_url else f" {self.chain_url!r}"
            raise ConfigError(f"chain_url{shown} is neither an http or https URL nor elements+http://host:port")

    def node_url(self) -> str | None:
        """The URL of the node's RPC when the chain is read from one, else None."""
        if self.chain_url.startswith((_NODE + "http://", _NODE + "https://")):
            return self.chain_url.removeprefix(_NODE)
        return None

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] | None = None, **overrides: Any) -> Settings:
        """Settings from ``AMP0_…`` variables; ``overrides`` that are not None win over them.

        Raises :class:`ConfigError` for unknown names and for values that do not parse.
        """
        environment = os.environ if environment is None else environment
        fields = {field.name: str(field.type) for field in dataclasses.fields(cls)}
        values: dict[str, Any] = {}
        for name in sorted(environment):
            if not name.startswith(PREFIX):
                continue
            key = name.removeprefix(PREFIX).lower()
            if key not in fields or name != PREFIX + key.upper():
                near = difflib.get_close_matches(name.upper(), [PREFIX + field.upper() for field in fields], 3)
                meant = f"did you mean {' or '.join(near)}? " if near else ""
                raise ConfigError(
                    f"the environment variable {name} is not a setting of the server; {meant}Remove or correct it: "
                    "docs/server.md lists all settings"
                )
            values[key] = _parse(name, fields[key], environment[name])
        unknown = overrides.keys() - fields.keys()
        if unknown:
            raise ConfigError(f"there is no setting called {', '.join(sorted(unknown))}")
        values.update({key: value for key, value in overrides.items() if value is not None})
        return cls(**values)

    def chain_network(self) -> Network:
        """The parameters of the chain, still with the well-known service key and URLs of that network."""
        return NETWORKS[self.network]()

    def store_url(self) -> str:
        """SQLAlchemy URL of the database."""
        if self.database_url is not None:
            return self.database_url
        if self.data_dir is None:
            return "sqlite://"
        return f"sqlite:///{self.data_dir / 'amp0.sqlite'}"

    def read_passphrase(self) -> bytes | None:
        """The passphrase from its file or descriptor, without a final line break; None when none is named.

        Raises :class:`ConfigError` when it cannot be read, is empty, or other users can read its file.
        """
        if self.passphrase_file is not None:
            return read_secret(self.passphrase_file, "passphrase")
        if self.passphrase_fd is not None:
            try:
                with os.fdopen(self.passphrase_fd, "rb") as file:
                    text = file.read(4097)
            except OSError as error:
                raise ConfigError(f"file descriptor {self.passphrase_fd} cannot be read: {error}") from None
            return _secret(text, "passphrase")
        return None


def read_secret(path: Path, what: str) -> bytes:
    """A secret from its file, without a final line break.

    Raises :class:`ConfigError` when the file cannot be read, is empty or too long, or other users can read it.
    """
    try:
        with path.open("rb") as file:
            if os.name == "posix" and os.fstat(file.fileno()).st_mode & 0o077:
                raise ConfigError(f"other users can read the {what} file {path}; run: chmod 600 on it")
            text = file.read(4097)
    except OSError as error:
        raise ConfigError(f"the {what} file cannot be read: {error}") from None
    return _secret(text, what)


def _secret(text: bytes, what: str) -> bytes:
    text = text.removesuffix(b"\n").removesuffix(b"\r")
    if not text or len(text) > 4096:
        raise ConfigError(f"the {what} is empty or longer than 4,096 bytes")
    return text


def _parse(name: str, kind: str, text: str) -> Any:
    try:
        if kind.startswith("tuple[Listener"):
            return tuple(Listener.parse(part.strip()) for part in text.split(",") if part.strip())
        if kind.startswith("tuple[str"):
            return tuple(part.strip() for part in text.split(",") if part.strip())
        if kind.startswith("Path"):
            return Path(text)
        if kind.startswith("bool"):
            return _FLAGS[text.lower()]
        if kind.startswith("int"):
            return int(text)
        if kind.startswith("float"):
            return float(text)
        return text
    except KeyError:
        raise ConfigError(f"{name}={text!r} is neither true nor false") from None
    except (ValueError, InvalidInput):
        raise ConfigError(f"{name}={text!r} is not a number") from None
