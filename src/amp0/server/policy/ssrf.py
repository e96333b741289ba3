"""Requests to URLs that somebody else chose, without letting them choose what in our network is asked.

An issuer names a URL, and the server calls it. Without care that is a way into whatever the server can reach:
metadata services, admin pages on loopback, the machines beside it. So a URL is looked at twice. :func:`check_url` sees
its text when it is set. :class:`Caller` sees where it leads each time it is called: the name is resolved once, every
address must be one that the whole internet can reach, and the connection goes to that very address, with the name
only in ``Host``, in SNI and in the check of the certificate. A name that resolves differently a moment later
(DNS rebinding) changes nothing.

Redirects are answers like any other, proxies of the environment are not used, and everything together, from the
name to the last byte of the answer, has one deadline: a peer that sends a byte a second is late like one that sends
none.
"""

from __future__ import annotations

import asyncio
import ipaddress
import re
import socket
import ssl
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from urllib.parse import urlsplit

import httpx

from amp0.errors import InvalidInput

MAX_URL = 2048
"""Longest URL, in characters."""
_PORTS = {"https": 443, "http": 80}
_LABEL = re.compile(r"(?!-)[a-z0-9_-]{1,63}(?<!-)")
_PLAIN = re.compile(r"[!-~]+")
_LOCAL_NAMES = (".localhost", ".local", ".internal", ".intranet", ".lan", ".home.arpa", ".onion", ".test", ".invalid")
"""Endings that no public name has."""
_NOT_GLOBAL = [
    ipaddress.ip_network(text)
    for text in (
        # What Python's tables call global, or may in some release, and is not somebody's public host:
        "192.0.0.0/24",  # protocol assignments
        "192.88.99.0/24",  # 6to4 relays
        "168.63.129.16/32",  # what a virtual machine of Azure asks of its host
        "2001::/23",  # protocol assignments, Teredo among them
        "2002::/16",  # 6to4: an IPv4 address inside
        "3fff::/20",  # documentation
    )
]
_GLOBAL_V6 = ipaddress.ip_network("2000::/3")
_MOST_ADDRESSES = 4
"""How many addresses of one name are tried."""
_RESOLVERS = 24
"""Threads that wait for name servers; the system's resolver cannot be told to stop."""
_LOOKUPS = 4
"""How many of them one owner of URLs may keep waiting."""


class NoAnswer(Exception):
    """The URL gave no answer that can be used; the text says why, for logs and the issuer."""


@dataclass(frozen=True, slots=True)
class Target:
    """A URL taken apart. ``host`` is a lower-case name or an address without brackets, ``path`` has the query."""

    scheme: str
    host: str
    port: int
    path: str

    @property
    def authority(self) -> str:
        """What belongs into the ``Host`` header."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _PORTS[self.scheme] else f"{host}:{self.port}"


def check_url(url: str, *, private: bool) -> Target:
    """Take a URL apart that the server may be asked to call. Nothing is resolved here.

    https only, to a public name or address, at port 443 or one above 1023; no user names, no fragments. With
    ``private`` (for development) http, any port and any host are taken too. Raises :class:`InvalidInput`, whose text
    says what is wrong.
    """
    if len(url) > MAX_URL:
        raise InvalidInput(f"a URL may have {MAX_URL} characters")
    # User names and backslashes are where parsers disagree on what the host is.
    if not _PLAIN.fullmatch(url) or "\\" in url or "@" in url.partition("?")[0]:
        raise InvalidInput("this is not a plain URL: give one like https://host/path, without user name or blanks")
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        raise InvalidInput("this is not a URL: give one like https://host/path") from None
    if parts.scheme not in _PORTS or (parts.scheme == "http" and not private):
        raise InvalidInput("the URL must begin with https://")
    if "#" in url:
        raise InvalidInput("a fragment (#…) is never sent to a server; leave it out")
    if port is None:
        if parts.netloc.endswith(":"):
            raise InvalidInput("the URL has a colon and no port after it")
        port = _PORTS[parts.scheme]
    if port == 0 or (not private and port != 443 and port < 1024):
        raise InvalidInput(f"port {port} is some other service's; use 443 or one above 1023")
    host = host.removesuffix(".")
    _check_host(host, private)
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return Target(parts.scheme, host, port, path)


def _check_host(host: str, private: bool) -> None:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        pass
    else:
        if not private and not is_public(host):
            raise InvalidInput("the URL's address is not one that the whole internet can reach")
        return
    labels = host.split(".")
    if len(host) > 253 or not all(_LABEL.fullmatch(label) for label in labels):
        raise InvalidInput("the URL's host is not a host name (write international names in their xn-- form)")
    # "127.1", "0x7f000001" and "2130706433" are addresses to many resolvers.
    if re.fullmatch(r"\d+|0x[0-9a-f]*", labels[-1]):
        raise InvalidInput("the URL's host is an address in a form that is not taken; write it in full")
    if not private and (len(labels) < 2 or host.endswith(_LOCAL_NAMES)):
        raise InvalidInput("the URL's host is a name inside some network; give a public one")


def is_public(address: str) -> bool:
    """Whether an IP address is a global unicast one: not private, loopback, link-local, shared, multicast, reserved,
    and not one that carries another address inside (IPv4-mapped, NAT64, 6to4, Teredo)."""
    try:
        ip = ipaddress.ip_address(address)
    except ValueError:
        return False
    if isinstance(ip, ipaddress.IPv6Address) and (ip.scope_id is not None or ip not in _GLOBAL_V6):
        return False
    inside = any(ip.version == net.version and ip in net for net in _NOT_GLOBAL)
    return ip.is_global and not ip.is_multicast and not ip.is_reserved and not inside


def _getaddrinfo(host: str, port: int) -> list[str]:
    return [str(found[4][0]) for found in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)]


class Caller:
    """POSTs JSON to URLs of others. Thread-safe; :meth:`post` blocks, for ``seconds`` at most.

    ``resolve`` (host, port → addresses) and ``transport`` are the world's; tests bring their own.
    """

    def __init__(
        self,
        *,
        seconds: float,
        private: bool = False,
        max_body: int = 64 * 1024,
        resolve: Callable[[str, int], Sequence[str]] = _getaddrinfo,
        transport: Callable[[], httpx.AsyncBaseTransport] | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.seconds = seconds
        """The deadline of a call."""
        self.private = private
        """Whether addresses of private networks, and plain http, are taken."""
        self._max_body = max_body
        self._resolve = resolve
        self._transport = transport
        self._tls = tls
        self._resolvers = ThreadPoolExecutor(_RESOLVERS, thread_name_prefix="amp0-resolver")
        self._lock = threading.Lock()
        self._lookups: Counter[int] = Counter()

    def close(self) -> None:
        """Let go of the threads; whoever still waits for a name gets no answer."""
        self._resolvers.shutdown(wait=False, cancel_futures=True)

    def post(
        self,
        url: str,
        body: bytes,
        headers: dict[str, str] | None = None,
        seconds: float | None = None,
        owner: int = 0,
    ) -> bytes:
        """The body of the answer to one POST, if its status is 200 exactly. Never asked twice.

        ``seconds`` shortens the deadline; ``owner`` is whose URL it is. Raises :class:`NoAnswer` for everything else:
        a URL or address that is not taken, no connection, another status (redirects among them), too long an answer,
        too late an end of it.
        """
        seconds = self.seconds if seconds is None else min(seconds, self.seconds)
        return asyncio.run(self._post(url, body, headers or {}, seconds, owner))

    async def _post(self, url: str, body: bytes, headers: dict[str, str], seconds: float, owner: int) -> bytes:
        try:
            async with asyncio.timeout(seconds):
                try:
                    target = check_url(url, private=self.private)
                except InvalidInput as error:
                    raise NoAnswer(str(error)) from None
                return await self._ask(target, await self._addresses(target, owner), body, headers, seconds)
        except TimeoutError:
            raise NoAnswer(f"no answer within {seconds:g} seconds") from None

    async def _addresses(self, target: Target, owner: int) -> list[str]:
        """Where the name leads, now; all of it must be fit to be called."""
        try:
            found = await asyncio.wrap_future(self._look_up(target, owner))
        except (OSError, UnicodeError, RuntimeError):
            raise NoAnswer("the host name does not resolve") from None
        addresses = list(dict.fromkeys(found))
        if not addresses:
            raise NoAnswer("the host name does not resolve")
        if not self.private and not all(map(is_public, addresses)):
            raise NoAnswer("the host name leads to an address that is not public")
        return addresses[:_MOST_ADDRESSES]

    def _look_up(self, target: Target, owner: int) -> Future[Sequence[str]]:
        """Ask the name servers, in a thread that is theirs until they answer, however long ago we gave up.

        So whose name servers are silent must not get all of these threads: the others could look up nothing.
        """
        with self._lock:
            if self._lookups[owner] >= _LOOKUPS:
                raise NoAnswer("the name servers of this owner's hosts do not answer")
            self._lookups[owner] += 1
        try:
            lookup = self._resolvers.submit(self._resolve, target.host, target.port)
        except RuntimeError:
            self._looked_up(owner)
            raise
        lookup.add_done_callback(lambda _lookup: self._looked_up(owner))
        return lookup

    def _looked_up(self, owner: int) -> None:
        with self._lock:
            self._lookups[owner] -= 1
            if not self._lookups[owner]:
                del self._lookups[owner]

    async def _ask(
        self, target: Target, addresses: list[str], body: bytes, headers: dict[str, str], seconds: float
    ) -> bytes:
        fields = {"accept": "application/json", "accept-encoding": "identity", **headers, "host": target.authority}
        # An address that swallows packets must not take all the time of the others; and what is given up for its own
        # time-out, not for the deadline, is closed at once.
        connect = seconds / 2
        transport = (
            self._transport()
            if self._transport is not None
            else httpx.AsyncHTTPTransport(verify=self._context(), trust_env=False, retries=0)
        )
        async with httpx.AsyncClient(
            transport=transport, timeout=httpx.Timeout(seconds, connect=connect), trust_env=False
        ) as client:
            for last, address in ((i == len(addresses) - 1, one) for i, one in enumerate(addresses)):
                where = f"[{address}]" if ":" in address else address
                request = client.build_request(
                    "POST",
                    f"{target.scheme}://{where}:{target.port}{target.path}",
                    content=body,
                    headers=fields,
                    # The certificate has to be the name's, whatever address the name has.
                    extensions={"sni_hostname": target.host} if target.scheme == "https" else {},
                )
                try:
                    return await self._send(client, request)
                except (httpx.ConnectError, httpx.ConnectTimeout) as error:
                    # Nothing was sent yet, so another address may be asked.
                    if last:
                        raise NoAnswer(f"no connection ({type(error).__name__})") from None
                except (httpx.HTTPError, httpx.InvalidURL, OSError, ValueError) as error:
                    raise NoAnswer(f"the connection broke ({type(error).__name__})") from None
        raise AssertionError("unreachable")

    async def _send(self, client: httpx.AsyncClient, request: httpx.Request) -> bytes:
        answer = await client.send(request, stream=True, follow_redirects=False)
        try:
            if answer.status_code != 200:
                raise NoAnswer(f"status {answer.status_code}")
            content = bytearray()
            async for chunk in answer.aiter_raw():
                content += chunk
                if len(content) > self._max_body:
                    raise NoAnswer(f"an answer of more than {self._max_body} bytes")
            return bytes(content)
        finally:
            await answer.aclose()

    def _context(self) -> ssl.SSLContext:
        if self._tls is None:
            # Once: reading the authorities of the machine takes tens of milliseconds.
            self._tls = ssl.create_default_context()
            self._tls.minimum_version = ssl.TLSVersion.TLSv1_2
        return self._tls
