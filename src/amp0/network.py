"""Network: everything that tells one Liquid network, and one AMP0 service on it, from another.

A :class:`Network` is frozen data: chain parameters, the public half of the AMP0 service's master
key, and where the service and an explorer answer. The names of its JSON form are those that GDK's
``register_network`` takes, plus ``cosign_url`` and ``esplora_url``.

Two rules are kept here because nothing can be built without a network:

* The *test* service key is public knowledge, its private half included. It is recognised by its
  public key, not by a flag, and refused for any chain but liquidregtest and any URL off loopback.
* A network that came from a server over the wire is only used when its service key is the one the
  operator named, or when nothing in it leaves this machine.
"""

from __future__ import annotations

import dataclasses
import ipaddress
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlsplit, urlunsplit

from amp0.errors import (
    CallFailed,
    ConnectionFailed,
    ConnectionTimeout,
    InvalidInput,
    NetworkMismatch,
    RemoteProtocolError,
)

if TYPE_CHECKING:
    from amp0.blocking import EsploraClient
    from amp0.wallet.tx_builder import TxBuilder

LIQUID_GENESIS = "1466275836220db2944ca059a3a10ef6fd2ea684b0688d2c379296888a206003"
TESTNET_GENESIS = "a771da8e52ee6ad581ed1e9a99825e5b3b7992225534eaa2ae23244fe26ab1c1"
REGTEST_GENESIS = "00902a6b70c2ca83b5d9c815d96a0e2f4202179316970d14ea1847dae5b1ca21"
"""Hash of the first block of each known network, display hex."""

LIQUID_BITCOIN = "6f0279e9ed041c3d710a9f57d0c02928416460c4b722ae3457a11eec381c526d"
TESTNET_BITCOIN = "144c654344aa716d6f3abcc1ca90e5641e4e2a7f633bc09fe3baf64585819a49"
REGTEST_BITCOIN = "5ac9f65c0efcc4775e0baec4ec03abdde22473cd3cf33c0419ca290e0751b225"
"""Policy asset (L-BTC) of each known network, display hex."""

_PARENT_GENESIS = {
    LIQUID_GENESIS: "000000000019d6689c085ae165831e934ff763ae46a2a6c172b3f1b60a8ce26f",
    TESTNET_GENESIS: "000000000933ea01ad0ee984209779baaec3ced90fa3f408719526f8d77f4943",
}
_REGTEST_PARENT_GENESIS = "0f9188f13cb7b2c71f2a335e3a4fc328bf5beb436012afca590b1a11466e2206"

TEST_SERVICE_SEED = b"\x42" * 32
"""BIP32 seed of the test service key. Anybody can sign with it: liquidregtest on loopback only."""
TEST_SERVICE_PUBKEY = bytes.fromhex("028ec4dc550d7b767c7c648c95d52c6349c999f7f2b477c377001f785c847509fd")
TEST_SERVICE_CHAIN_CODE = bytes.fromhex("046c16f12fed1faae5fae078f3aa199ff22ba179765a0e951d285a6485e6afda")

MAX_NETWORK_JSON = 64 * 1024
"""Largest network description, in bytes, that is read from a file or a server."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_PREFIX = re.compile(r"[a-z0-9]{1,20}")


def is_loopback_url(url: str) -> bool:
    """Whether ``url`` can only reach this machine: ``localhost`` or a loopback address.

    Raises :class:`InvalidInput` for text that is not a plain absolute URL.
    """
    return is_loopback_host(_host_of(url))


def is_loopback_host(host: str) -> bool:
    """Whether a host name or address (no port, no brackets) is this machine's loopback."""
    if host.lower() == "localhost":
        return True
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    return bool((mapped or address).is_loopback)


def _host_of(url: str) -> str:
    # Backslashes, user names and blanks are where URL parsers disagree on what the host is.
    if any(c in url for c in "\\@") or any(c <= " " or c >= "\x7f" for c in url):
        raise InvalidInput(f"{url!r} is not a plain URL; give one like https://host:port/path")
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        raise InvalidInput(f"{url!r} is not a URL; give one like https://host:port/path") from None
    if not parts.scheme or not host:
        raise InvalidInput(f"{url!r} is not a URL; give one like https://host:port/path")
    return host


def require_secure_url(url: str, *, allow_insecure: bool = False) -> None:
    """Refuse a URL that would send plain text to another machine.

    ``https`` and ``wss`` pass; ``http`` and ``ws`` pass to loopback, or anywhere when
    ``allow_insecure`` says so. Raises :class:`InvalidInput`.
    """
    scheme = urlsplit(url).scheme
    if scheme in ("https", "wss") or allow_insecure or is_loopback_url(url):
        return
    raise InvalidInput(
        f"{url} is not encrypted and not on this machine; use {scheme}s://, "
        "or allow_insecure=True if the way there is protected otherwise"
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Network:
    """One network and the AMP0 service on it. Equal by value, usable as a dict key.

    Hashes and asset ids in the ``…_hex`` fields are display hex. ``service_pubkey`` (33 bytes) and
    ``service_chain_code`` (32 bytes) are the BIP32 master public key of the AMP0 service.
    ``csv_buckets`` are the allowed CSV delays in blocks, ``min_fee_rate`` is in sat per 1000 vB.
    ``cert_roots`` holds PEM texts of certificate authorities trusted for this service in place of
    the machine's own. Any URL may be empty when there is no such service.

    Raises :class:`InvalidInput` for fields out of shape and :class:`NetworkMismatch` for the test
    service key anywhere but on liquidregtest over loopback.
    """

    name: str
    main: bool
    policy_asset_hex: str
    genesis_hash_hex: str
    parent_genesis_hash_hex: str
    p2pkh_version: int
    p2sh_version: int
    blinded_prefix: int
    bech32_prefix: str
    blech32_prefix: str
    bip21_prefix: str
    service_pubkey: bytes
    service_chain_code: bytes
    csv_buckets: tuple[int, ...]
    wamp_url: str = ""
    cosign_url: str = ""
    esplora_url: str = ""
    min_fee_rate: int = 100
    cert_roots: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise InvalidInput(f"{self.name!r} is not a network name")
        for what, text in (
            ("policy asset", self.policy_asset_hex),
            ("genesis hash", self.genesis_hash_hex),
            ("parent genesis hash", self.parent_genesis_hash_hex),
        ):
            if not re.fullmatch(r"[0-9a-f]{64}", text):
                raise InvalidInput(f"the {what} of a network is 64 lower-case hex digits, not {text!r}")
        for version in (self.p2pkh_version, self.p2sh_version, self.blinded_prefix):
            if not 0 <= version <= 255:
                raise InvalidInput(f"an address version is a byte, not {version}")
        for prefix in (self.bech32_prefix, self.blech32_prefix, self.bip21_prefix):
            if not _PREFIX.fullmatch(prefix):
                raise InvalidInput(f"{prefix!r} is not an address prefix")
        if len(self.service_pubkey) != 33 or self.service_pubkey[0] not in (2, 3):
            raise InvalidInput("the service public key is a compressed key of 33 bytes")
        if len(self.service_chain_code) != 32:
            raise InvalidInput("the service chain code has 32 bytes")
        buckets = self.csv_buckets
        if not buckets or list(buckets) != sorted(set(buckets)) or not 0 < buckets[0] <= buckets[-1] <= 65535:
            raise InvalidInput("csv_buckets are block counts between 1 and 65535, ascending")
        if not 0 <= self.min_fee_rate <= 10**9:
            raise InvalidInput(f"the minimum fee rate cannot be {self.min_fee_rate} sat/kvB")
        self._check_urls()

    def _check_urls(self) -> None:
        for url, schemes in (
            (self.wamp_url, ("ws", "wss")),
            (self.cosign_url, ("http", "https")),
            (self.esplora_url, ("http", "https")),
        ):
            if not url:
                continue
            if urlsplit(url).scheme not in schemes:
                raise InvalidInput(f"{url!r} must begin with {' or '.join(s + '://' for s in schemes)}")
            _host_of(url)
        if self.uses_test_key():
            if self.genesis_hash_hex != REGTEST_GENESIS:
                raise NetworkMismatch(
                    "this is the public test service key, whose private half everybody knows; "
                    "it is only usable on liquidregtest. Use the key of your own AMP0 service"
                )
            for url in self._urls():
                if not is_loopback_url(url):
                    raise NetworkMismatch(
                        f"{url} is not on this machine, and the public test service key is only "
                        "usable over loopback. Use the key of your own AMP0 service"
                    )

    def _urls(self) -> tuple[str, ...]:
        return tuple(url for url in (self.wamp_url, self.cosign_url, self.esplora_url) if url)

    # -- the known networks ------------------------------------------------------------------

    @classmethod
    def mainnet(cls) -> Network:
        """Liquid, with Blockstream's AMP0 service."""
        return _MAINNET

    @classmethod
    def testnet(cls) -> Network:
        """Liquid testnet, with Blockstream's AMP0 service."""
        return _TESTNET

    @classmethod
    def regtest_default(cls) -> Network:
        """liquidregtest on this machine, with the test service key and the default ports."""
        return _REGTEST

    @classmethod
    def regtest(cls, policy_asset: str) -> Network:
        """Like :meth:`regtest_default` with another policy asset (display hex)."""
        return _REGTEST.replace(policy_asset_hex=policy_asset)

    @classmethod
    def by_name(cls, name: str) -> Network:
        """A known network by its :attr:`name` or the short form ``mainnet|testnet|regtest``."""
        known = {
            "liquid": _MAINNET,
            "mainnet": _MAINNET,
            "testnet-liquid": _TESTNET,
            "testnet": _TESTNET,
            "liquidregtest": _REGTEST,
            "regtest": _REGTEST,
        }
        if name not in known:
            raise InvalidInput(f"{name!r} is not a network; choose liquid, testnet-liquid or liquidregtest")
        return known[name]

    # -- what LWK calls it -------------------------------------------------------------------

    def is_mainnet(self) -> bool:
        """Whether extended keys carry Bitcoin's main versions (``xpub``)."""
        return self.main

    def policy_asset(self) -> str:
        """Asset id of L-BTC on this network, display hex."""
        return self.policy_asset_hex

    def genesis_hash(self) -> str:
        """Hash of the first block, display hex."""
        return self.genesis_hash_hex

    def genesis_block_hash(self) -> str:
        """Older name of :meth:`genesis_hash`."""
        return self.genesis_hash_hex

    def parent_genesis_hash(self) -> str:
        """Hash of the first block of the parent (Bitcoin) chain, display hex."""
        return self.parent_genesis_hash_hex

    def tx_builder(self) -> TxBuilder:
        """A new transaction builder for this network. (Sugar: imports upwards, on call.)"""
        from amp0.wallet.tx_builder import TxBuilder

        return TxBuilder(self)

    def default_esplora_client(self) -> EsploraClient:
        """A blocking chain client for :attr:`esplora_url`. (Sugar: imports upwards, on call.)"""
        from amp0.blocking import EsploraClient

        if not self.esplora_url:
            raise InvalidInput(f"no explorer is known for {self.name}; give EsploraClient a URL")
        return EsploraClient(self.esplora_url, self)

    def __str__(self) -> str:
        if self.genesis_hash_hex == LIQUID_GENESIS:
            return "Liquid"
        if self.genesis_hash_hex == TESTNET_GENESIS:
            return "LiquidTestnet"
        return (
            f"CustomElements(ElementsParams {{ policy_asset: {self.policy_asset_hex}, "
            f"genesis_hash: {self.genesis_hash_hex}, parent_genesis_hash: {self.parent_genesis_hash_hex} }})"
        )

    # -- the AMP0 service --------------------------------------------------------------------

    def uses_test_key(self) -> bool:
        """Whether the service key is the well-known test key, recognised by its public key."""
        return self.service_pubkey == TEST_SERVICE_PUBKEY

    def service_fingerprint(self) -> str:
        """BIP32 fingerprint of the service's master key, 8 hex digits. (Imports upwards, on call.)"""
        return self._service_identifier()[:8]

    def _service_identifier(self) -> str:
        from amp0.elements.keys import hash160

        return hash160(self.service_pubkey).hex()

    def require_service_key(self, expected: str) -> None:
        """Check the service key against what the operator was told, or raise :class:`NetworkMismatch`.

        ``expected`` is hex text, the longer the stronger: the BIP32 fingerprint (8 digits), the key
        identifier HASH160 (40), the public key (66), or public key and chain code (130). Eight digits
        guard against mistakes; somebody with time can make a key that shares them.
        """
        wanted = expected.strip().lower()
        if not re.fullmatch(r"[0-9a-f]+", wanted) or len(wanted) not in (8, 40, 66, 130):
            raise InvalidInput(
                "a service fingerprint has 8 hex digits (or 40: key identifier, 66: public key, "
                "130: public key and chain code)"
            )
        if len(wanted) < 66:
            actual = self._service_identifier()
        else:
            actual = self.service_pubkey.hex() + self.service_chain_code.hex()
        if actual[: len(wanted)] != wanted:
            raise NetworkMismatch(
                f"the AMP0 service shows a key with fingerprint {self.service_fingerprint()}, "
                f"which is not the {wanted[:8]}… expected. Do not use it; ask its operator"
            )

    def replace(self, **changes: Any) -> Network:
        """A copy with some fields changed, checked like a new one."""
        try:
            return dataclasses.replace(self, **changes)
        except TypeError as error:
            raise InvalidInput(f"a network has no such field: {error}") from None

    # -- JSON --------------------------------------------------------------------------------

    def to_json(self) -> dict[str, Any]:
        """The fields GDK's ``register_network`` takes, plus ``cosign_url`` and ``esplora_url``."""
        fields: dict[str, Any] = {
            "name": str(self) if self.name in ("liquid", "testnet-liquid") else self.name,
            "network": self.name,
            "server_type": "green",
            "liquid": True,
            "mainnet": self.main,
            "development": self.genesis_hash_hex not in (LIQUID_GENESIS, TESTNET_GENESIS),
            "wamp_url": self.wamp_url,
            "wamp_cert_pins": [],
            "wamp_cert_roots": list(self.cert_roots),
            "service_pubkey": self.service_pubkey.hex(),
            "service_chain_code": self.service_chain_code.hex(),
            "policy_asset": self.policy_asset_hex,
            "genesis_hash": self.genesis_hash_hex,
            "p2pkh_version": self.p2pkh_version,
            "p2sh_version": self.p2sh_version,
            "blinded_prefix": self.blinded_prefix,
            "bech32_prefix": self.bech32_prefix,
            "blech32_prefix": self.blech32_prefix,
            "bip21_prefix": self.bip21_prefix,
            "csv_buckets": list(self.csv_buckets),
            "max_reorg_blocks": 2,
            "min_fee_rate": self.min_fee_rate,
            "electrum_tls": False,
            "cosign_url": self.cosign_url,
            "esplora_url": self.esplora_url,
        }
        # GDK wants these to be there; none of them is a service of ours.
        for key in (
            "wamp_onion_url", "price_url", "price_onion_url", "asset_registry_url",
            "asset_registry_onion_url", "blob_server_url", "blob_server_onion_url", "electrum_url",
            "electrum_onion_url", "pin_server_url", "pin_server_onion_url", "pin_server_public_key",
            "address_explorer_url", "address_explorer_onion_url", "tx_explorer_url", "tx_explorer_onion_url",
        ):  # fmt: skip
            fields[key] = ""
        if self.parent_genesis_hash_hex != _default_parent(self.genesis_hash_hex):
            fields["parent_genesis_hash"] = self.parent_genesis_hash_hex
        return fields

    @classmethod
    def from_json(cls, fields: Mapping[str, Any] | str | bytes) -> Network:
        """A network from its :meth:`to_json` fields, or from the text of that JSON object.

        Unknown fields are ignored, as GDK does. Raises :class:`InvalidInput` or
        :class:`NetworkMismatch`.
        """
        data = _json_object(fields)
        genesis = _field(data, "genesis_hash", str)
        try:
            pubkey = bytes.fromhex(_field(data, "service_pubkey", str))
            chain_code = bytes.fromhex(_field(data, "service_chain_code", str))
        except ValueError:
            raise InvalidInput("the network's service key is not hex text") from None
        rate = data.get("min_fee_rate")
        return cls(
            name=_field(data, "network", str),
            main=_field(data, "mainnet", bool),
            policy_asset_hex=_field(data, "policy_asset", str),
            genesis_hash_hex=genesis,
            parent_genesis_hash_hex=_field(data, "parent_genesis_hash", str, _default_parent(genesis)),
            p2pkh_version=_field(data, "p2pkh_version", int),
            p2sh_version=_field(data, "p2sh_version", int),
            blinded_prefix=_field(data, "blinded_prefix", int),
            bech32_prefix=_field(data, "bech32_prefix", str),
            blech32_prefix=_field(data, "blech32_prefix", str),
            bip21_prefix=_field(data, "bip21_prefix", str, "liquidnetwork"),
            service_pubkey=pubkey,
            service_chain_code=chain_code,
            csv_buckets=_list_of(data, "csv_buckets", int),
            wamp_url=_field(data, "wamp_url", str, ""),
            cosign_url=_field(data, "cosign_url", str, ""),
            esplora_url=_field(data, "esplora_url", str, ""),
            min_fee_rate=100 if rate is None else _field(data, "min_fee_rate", int),
            cert_roots=_list_of(data, "wamp_cert_roots", str),
        )

    @classmethod
    def from_server(
        cls,
        url: str,
        service_fingerprint: str | None = None,
        *,
        allow_insecure: bool = False,
        timeout: float = 10.0,
    ) -> Network:
        """Ask an AMP0 server which network it serves: ``GET <url>/v1/network``.

        ``url`` is the server's base URL (``https://host``); its WAMP URL does as well. The service
        key decides who can hold up your money, so ``service_fingerprint`` (see
        :meth:`require_service_key`) must come from the operator by another way; only a server on
        this machine is believed without one. (Sugar: imports upwards, on call.)

        Raises :class:`NetworkMismatch`, :class:`InvalidInput`, :class:`ConnectionFailed`,
        :class:`CallFailed` or :class:`RemoteProtocolError`.
        """
        base = _http_base(url)
        require_secure_url(base, allow_insecure=allow_insecure)
        local = is_loopback_url(base)
        if service_fingerprint is None and not local:
            raise NetworkMismatch(
                f"{base} is not on this machine: give the fingerprint of its service key "
                "(service_fingerprint=…), as its operator published it"
            )
        network = cls.from_json(_fetch(base + "/v1/network", timeout))
        if service_fingerprint is not None:
            network.require_service_key(service_fingerprint)
        for advertised in network._urls():
            if is_loopback_url(advertised) is not local and (not local or service_fingerprint is None):
                raise NetworkMismatch(
                    f"the server at {base} says its service is at {advertised}; a server and its URLs "
                    "must both be on this machine or both be off it. Correct the server's public URLs"
                )
        return network


def _http_base(url: str) -> str:
    """The base of a server's HTTP service from that base or from its WAMP URL."""
    _host_of(url)
    parts = urlsplit(url)
    scheme = {"ws": "http", "wss": "https"}.get(parts.scheme, parts.scheme)
    if scheme not in ("http", "https"):
        raise InvalidInput(f"{url!r} is not the URL of a server; give one like https://host:port")
    path = parts.path.rstrip("/").removesuffix("/v2/ws")
    return urlunsplit((scheme, parts.netloc, path, "", ""))


def _fetch(url: str, timeout: float) -> bytes:
    """The bounded body of one GET that neither follows redirects nor asks proxies."""
    import httpx

    try:
        with (
            httpx.Client(timeout=timeout, follow_redirects=False, trust_env=False) as client,
            client.stream("GET", url, headers={"accept": "application/json"}) as answer,
        ):
            if answer.status_code != 200:
                raise CallFailed(f"{url} answers {answer.status_code}; is it the URL of an AMP0 server?")
            body = b""
            for chunk in answer.iter_bytes():
                body += chunk
                if len(body) > MAX_NETWORK_JSON:
                    raise RemoteProtocolError(f"{url} sends more than a network description")
            return body
    except httpx.TimeoutException:
        raise ConnectionTimeout(f"{url} does not answer within {timeout:g} s; try again") from None
    except httpx.HTTPError as error:
        raise ConnectionFailed(f"{url} cannot be reached: {error}") from None


def _json_object(fields: Mapping[str, Any] | str | bytes) -> Mapping[str, Any]:
    if isinstance(fields, Mapping):
        return fields
    if len(fields) > MAX_NETWORK_JSON:
        raise InvalidInput("this is too large for a network description")
    try:
        data = json.loads(fields)
    except (ValueError, RecursionError):
        raise InvalidInput("a network description is a JSON object") from None
    if not isinstance(data, dict):
        raise InvalidInput("a network description is a JSON object")
    return data


def _default_parent(genesis: str) -> str:
    return _PARENT_GENESIS.get(genesis, _REGTEST_PARENT_GENESIS)


_MISSING: Any = object()
_T = TypeVar("_T")


def _field(data: Mapping[str, Any], key: str, kind: type[_T], default: _T = _MISSING) -> _T:
    value = data.get(key, default)
    if value is _MISSING:
        raise InvalidInput(f"the network description lacks {key!r}")
    # bool is an int to Python, never to us.
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        raise InvalidInput(f"{key!r} in a network description is a {kind.__name__}, not {value!r:.80}")
    return value


def _list_of(data: Mapping[str, Any], key: str, kind: type[_T]) -> tuple[_T, ...]:
    values = data.get(key, [])
    if not isinstance(values, list | tuple) or len(values) > 64:
        raise InvalidInput(f"{key!r} in a network description is a short list")
    for value in values:
        if not isinstance(value, kind) or isinstance(value, bool):
            raise InvalidInput(f"{key!r} in a network description lists {kind.__name__} values")
    return tuple(values)


_MAINNET = Network(
    name="liquid",
    main=True,
    policy_asset_hex=LIQUID_BITCOIN,
    genesis_hash_hex=LIQUID_GENESIS,
    parent_genesis_hash_hex=_default_parent(LIQUID_GENESIS),
    p2pkh_version=57,
    p2sh_version=39,
    blinded_prefix=12,
    bech32_prefix="ex",
    blech32_prefix="lq",
    bip21_prefix="liquidnetwork",
    service_pubkey=bytes.fromhex("02c408c3bb8a3d526103fb93246f54897bdd997904d3e18295b49a26965cb41b7f"),
    service_chain_code=bytes.fromhex("02721cc509aa0c2f4a90628e9da0391b196abeabc6393ed4789dd6222c43c489"),
    csv_buckets=(65535,),
    wamp_url="wss://green-liquid-mainnet.blockstream.com/v2/ws/",
    cosign_url="https://green-liquid-mainnet.blockstream.com",
    esplora_url="https://blockstream.info/liquid/api",
)

_TESTNET = Network(
    name="testnet-liquid",
    main=False,
    policy_asset_hex=TESTNET_BITCOIN,
    genesis_hash_hex=TESTNET_GENESIS,
    parent_genesis_hash_hex=_default_parent(TESTNET_GENESIS),
    p2pkh_version=36,
    p2sh_version=19,
    blinded_prefix=23,
    bech32_prefix="tex",
    blech32_prefix="tlq",
    bip21_prefix="liquidtestnet",
    service_pubkey=bytes.fromhex("02c47d84a5b256ee3c29df89642d14b6ed73d17a2b8af0aca18f6f1900f1633533"),
    service_chain_code=bytes.fromhex("c660eec6d9c536f4121854146da22e02d4c91d72af004d41729b9a592f0788e5"),
    csv_buckets=(1440, 65535),
    wamp_url="wss://green-liquid-testnet.blockstream.com/v2/ws/",
    cosign_url="https://green-liquid-testnet.blockstream.com",
    esplora_url="https://blockstream.info/liquidtestnet/api",
)

_REGTEST = Network(
    name="liquidregtest",
    main=False,
    policy_asset_hex=REGTEST_BITCOIN,
    genesis_hash_hex=REGTEST_GENESIS,
    parent_genesis_hash_hex=_REGTEST_PARENT_GENESIS,
    p2pkh_version=235,
    p2sh_version=75,
    blinded_prefix=4,
    bech32_prefix="ert",
    blech32_prefix="el",
    bip21_prefix="liquidnetwork",
    service_pubkey=TEST_SERVICE_PUBKEY,
    service_chain_code=TEST_SERVICE_CHAIN_CODE,
    csv_buckets=(20, 1440, 65535),
    wamp_url="ws://localhost:8080/v2/ws",
    cosign_url="http://127.0.0.1:9908",
    esplora_url="http://127.0.0.1:3000",
)
