"""Waterfalls: the server derives a wallet's scripts and answers with all their histories at once.

The client sends the public part of its descriptor, without blinding keys, mostly encrypted to
this server's age key. Descriptors understood here, with or without the ``el`` prefix, an
enclosing ``ct(…)``, key origins or a checksum::

    elpkh(K)  elwpkh(K)  elsh(wpkh(K))
    elwsh(multi(m,K,…))  elsh(multi(m,K,…))  elsh(wsh(multi(m,K,…)))      also sortedmulti

where each ``K`` is a ``tpub`` with a path that ends in ``/*`` and may hold one ``<0;1>``. Derived
scripts are kept: a second scan costs a dictionary lookup per index.

Source: LWK's clients, and ``docs/API.md`` of RCasatta/waterfalls.
"""

from __future__ import annotations

import base64
import binascii
import re
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import msgspec
import pyrage

from amp0.devchain.chain import Chain
from amp0.devchain.index import ScriptEntry, TxEntry
from amp0.elements.address import Address
from amp0.elements.descriptor import descriptor_checksum
from amp0.elements.hashes import Txid
from amp0.elements.keys import ExtendedKey
from amp0.elements.script import hash160, p2pkh, p2sh, p2wpkh, p2wsh
from amp0.errors import InvalidAddress, InvalidDescriptor, InvalidInput, InvalidKey
from amp0.network import Network

PAGE = 1_000
"""Indexes per page and chain."""
BATCH = 20
"""Unused indexes in a row that end a scan."""
MAX_ADDRESSES = 50
MAX_HISTORY = 100
"""Confirmed transactions of one script in one answer."""
MAX_INDEX = 1_000_000
_AGE = b"age-encryption.org/v1"
_CACHED = 256


class Refused(InvalidInput):
    """A request this server answers with ``status`` instead of a scan."""

    def __init__(self, text: str, status: int = 400) -> None:
        super().__init__(text)
        self.status = status


# -- descriptors -------------------------------------------------------------------------------


def checksum(descriptor: str) -> str:
    """The eight characters of a descriptor's checksum. Raises :class:`Refused`."""
    try:
        return descriptor_checksum(descriptor)
    except InvalidDescriptor as error:
        raise Refused(f"InvalidDescriptor: {error}") from None


_KEY = re.compile(r"(?:\[[0-9a-fA-F]{8}(?:/[0-9]+['hH]?)*\])?([A-Za-z0-9]{100,120})((?:/[0-9<>;]+)*)/\*")
_STEP = re.compile(r"<([0-9]{1,10});([0-9]{1,10})>|([0-9]{1,10})")
_OUTER = re.compile(r"(?:el)?(pkh|wpkh|wsh|sh)\((.*)\)", re.DOTALL)
_MULTI = re.compile(r"(multi|sortedmulti)\(([0-9]{1,2}),(.*)\)", re.DOTALL)
Keys = tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class Branch:
    """One single-path descriptor: its text with checksum, and how its scripts are made."""

    text: str
    keys: tuple[ExtendedKey, ...]
    wrap: Callable[[Keys], bytes]

    def script(self, index: int) -> bytes:
        """The output script at a derivation index."""
        return self.wrap(tuple([key.child_public_key(index) for key in self.keys]))


def parse_descriptor(text: str, network: Network) -> list[Branch]:
    """The single-path descriptors of ``text``: one, or two for a path with ``<0;1>``.

    Raises :class:`Refused`.
    """
    text = text.strip()
    body, hashmark, given = text.partition("#")
    if hashmark and given != checksum(body):
        raise Refused("InvalidDescriptor: the checksum does not fit")
    if body.startswith("ct(") and body.endswith(")"):
        body = _without_blinding(body)
    return [_branch(single, network) for single in dict.fromkeys((_choose(body, 0), _choose(body, 1)))]


def _without_blinding(body: str) -> str:
    depth = 0
    for i, character in enumerate(body[3:-1], 3):
        depth += {"(": 1, ")": -1}.get(character, 0)
        if character == "," and depth == 0:
            return body[i + 1 : -1]
    raise Refused("InvalidDescriptor: ct() holds a blinding key and a descriptor")


def _choose(body: str, which: int) -> str:
    return re.sub(r"<([0-9]{1,10});([0-9]{1,10})>", lambda match: match[which + 1], body)


def _branch(body: str, network: Network) -> Branch:
    wraps: list[str] = []
    inner = body
    while (outer := _OUTER.fullmatch(inner)) is not None:
        wraps.append(outer[1])
        inner = outer[2]
    multi = _MULTI.fullmatch(inner)
    texts = multi[3].split(",") if multi else [inner]
    keys = tuple([_key(text, network) for text in texts])
    wrap = _wrapping(wraps, multi, len(keys))
    return Branch(f"{body}#{checksum(body)}", keys, wrap)


def _key(text: str, network: Network) -> ExtendedKey:
    match = _KEY.fullmatch(text)
    if match is None:
        if re.match(r"(?:\[[^]]*\])?[tx]pub[A-Za-z0-9]+", text) and not text.endswith("/*"):
            raise Refused("DescriptorMustHaveWildcard: the keys' paths end in /*")
        raise Refused("InvalidDescriptor: a key is not an extended public key with a path to /*")
    try:
        key = ExtendedKey.from_string(match[1])
        if key.private_key is not None:
            raise Refused("InvalidDescriptor: this server wants no private keys")
        if key.main != network.main:
            raise Refused(f"WrongNetwork: {network.name} wants {'xpub' if network.main else 'tpub'} keys")
        for step in match[2].split("/")[1:]:
            number = _STEP.fullmatch(step)
            if number is None or number[3] is None:
                raise Refused("InvalidDescriptor: a path holds numbers and at most one <0;1>")
            key = key.child(int(number[3]))
    except InvalidKey as error:
        raise Refused(f"InvalidDescriptor: {error}") from None
    return key


def _wrapping(wraps: list[str], multi: re.Match[str] | None, count: int) -> Callable[[Keys], bytes]:
    shape = "-".join(wraps)
    if multi is None:
        singles: dict[str, Callable[[Keys], bytes]] = {
            "pkh": lambda keys: p2pkh(hash160(keys[0])),
            "wpkh": lambda keys: p2wpkh(hash160(keys[0])),
            "sh-wpkh": lambda keys: p2sh(p2wpkh(hash160(keys[0]))),
        }
        if shape not in singles:
            raise Refused("InvalidDescriptor: not a kind of descriptor this server knows")
        return singles[shape]
    needed, sort = int(multi[2]), multi[1] == "sortedmulti"
    if not 1 <= needed <= count <= 15:
        raise Refused("InvalidDescriptor: m of n with n up to 15")

    def script(keys: Keys) -> bytes:
        ordered = sorted(keys) if sort else keys
        return b"%c%s%c\xae" % (0x50 + needed, b"".join([b"\x21" + key for key in ordered]), 0x50 + count)

    multis: dict[str, Callable[[Keys], bytes]] = {
        "wsh": lambda keys: p2wsh(script(keys)),
        "sh": lambda keys: p2sh(script(keys)),
        "sh-wsh": lambda keys: p2sh(p2wsh(script(keys))),
    }
    if shape not in multis:
        raise Refused("InvalidDescriptor: not a kind of descriptor this server knows")
    return multis[shape]


class _Scripts:
    """The scripts of one descriptor, derived as far as somebody asked."""

    def __init__(self, branches: list[Branch]) -> None:
        self.branches = branches
        self._scripts: list[list[bytes]] = [[] for _ in branches]
        self._lock = threading.Lock()
        self.scanned = False
        """Whether a scan of this descriptor was answered, which subscribing needs."""

    def batch(self, branch: int, start: int, count: int) -> list[bytes]:
        """Scripts ``start`` … ``start + count - 1`` of a branch."""
        scripts = self._scripts[branch]
        if len(scripts) < start + count:
            with self._lock:
                derive = self.branches[branch].script
                # Indexes in between are derived too; they are asked for next, or were before.
                scripts += [derive(index) for index in range(len(scripts), start + count)]
        return scripts[start : start + count]

    def derived(self) -> Iterator[bytes]:
        """Every script derived so far."""
        for scripts in self._scripts:
            yield from scripts


# -- the service -------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Query:
    """The parameters of a scan."""

    descriptor: str | None
    addresses: tuple[str, ...]
    page: int = 0
    to_index: int = 0
    utxo_only: bool = False

    @classmethod
    def parse(cls, parameters: dict[str, str]) -> Query:
        """From the query string's parameters. Raises :class:`Refused`."""
        descriptor, addresses = parameters.get("descriptor"), parameters.get("addresses")
        if descriptor is None and addresses is None:
            raise Refused("AtLeastOneFieldMandatory: give descriptor or addresses")
        if descriptor is not None and addresses is not None:
            raise Refused("CannotSpecifyBothDescriptorAndAddresses")
        listed = tuple(addresses.split(",")) if addresses else ()
        if len(listed) > MAX_ADDRESSES:
            raise Refused(f"TooManyAddresses: at most {MAX_ADDRESSES}")
        utxo_only = parameters.get("utxo_only", "false")
        if utxo_only not in ("true", "false"):
            raise Refused("utxo_only is true or false")
        page = _number(parameters, "page")
        if page * PAGE >= MAX_INDEX:
            raise Refused(f"page: this server derives up to index {MAX_INDEX}")
        return cls(descriptor, listed, page, _number(parameters, "to_index"), utxo_only == "true")


def _number(parameters: dict[str, str], name: str) -> int:
    text = parameters.get(name, "0")
    if not (text.isascii() and text.isdigit() and len(text) <= 10):
        raise Refused(f"{name} is a number from 0 up")
    return min(int(text), MAX_INDEX)


class Waterfalls:
    """The service over one chain. Its methods may run in worker threads."""

    def __init__(self, chain: Chain, network: Network) -> None:
        self.chain = chain
        self.network = network
        self._identity = pyrage.x25519.Identity.generate()
        self._known: OrderedDict[str, _Scripts] = OrderedDict()
        self._lock = threading.Lock()

    @property
    def recipient(self) -> str:
        """The age recipient (``age1…``) to which descriptors are encrypted."""
        return str(self._identity.to_public())

    def scan(self, query: Query, version: int) -> bytes:
        """The JSON answer of ``/v1``, ``/v2`` or ``/v4`` ``/waterfalls``. Raises :class:`Refused`."""
        answer = _Answer(self.chain, self.network, query)
        if query.descriptor is not None:
            scripts = self._scripts(query.descriptor)
            for branch, descriptor in enumerate(scripts.branches):
                answer.add(descriptor.text, self._branch(scripts, branch, query, answer))
            scripts.scanned = True
        else:
            if query.page and len(query.addresses) != 1:
                raise Refused("paging needs a single address")
            found = [answer.history(self._address(address), query.page) for address in query.addresses]
            answer.add("addresses", found)
        return answer.serialize(version)

    def last_used_index(self, descriptor: str) -> dict[str, Any]:
        """Highest used index of the external and the internal chain, ``None`` when unused."""
        scripts = self._scripts(descriptor)
        found: dict[str, Any] = {"external": None, "internal": None}
        for branch, single in enumerate(scripts.branches):
            highest, start = None, 0
            while start < MAX_INDEX:
                batch = scripts.batch(branch, start, BATCH)
                used = [start + i for i, script in enumerate(batch) if self.chain.script(script)]
                if not used:
                    break
                highest, start = used[-1], start + BATCH
            found["internal" if "/1/*" in single.text else "external"] = highest
        scripts.scanned = True
        found["tip"] = str(self.chain.tip.hash)
        return found

    def watched(self, descriptor: str) -> Callable[[], object]:
        """A function whose value changes when a scanned descriptor's history does.

        Raises :class:`Refused` for a descriptor that was never scanned.
        """
        scripts = self._scripts(descriptor)
        if not scripts.scanned:
            raise Refused("the descriptor was not scanned yet; ask /v2/waterfalls for it first")
        for branch in range(len(scripts.branches)):
            scripts.batch(branch, 0, BATCH)

        def state() -> object:
            seen = []
            for script in scripts.derived():
                entry = self.chain.script(script)
                if entry is not None:
                    seen.append((script, len(entry.confirmed), tuple(entry.mempool)))
            return tuple(seen)

        return state

    def _decrypted(self, text: str) -> str:
        # A "+" that was not percent-encoded arrives as a space.
        candidate = text.replace(" ", "+")
        try:
            raw = base64.b64decode(candidate + "=" * (-len(candidate) % 4), validate=True)
        except (binascii.Error, ValueError):
            return text
        if not raw.startswith(_AGE):
            return text
        try:
            return str(pyrage.decrypt(raw, [self._identity]), "utf-8")
        except (pyrage.DecryptError, UnicodeDecodeError):
            raise Refused("the descriptor is encrypted to another key; fetch /v1/server_recipient again", 422) from None

    def _scripts(self, descriptor: str) -> _Scripts:
        text = self._decrypted(descriptor)
        with self._lock:
            known = self._known.get(text)
            if known is not None:
                self._known.move_to_end(text)
                return known
        fresh = _Scripts(parse_descriptor(text, self.network))
        with self._lock:
            known = self._known.setdefault(text, fresh)
            while len(self._known) > _CACHED:
                self._known.popitem(last=False)
            return known

    def _branch(self, scripts: _Scripts, branch: int, query: Query, answer: _Answer) -> list[bytes]:
        histories: list[bytes] = []
        start, end = query.page * PAGE, (query.page + 1) * PAGE
        while start < end:
            batch = scripts.batch(branch, start, BATCH)
            used = False
            for script in batch:
                history = answer.history(script, 0)
                used = used or history != b"[]"
                histories.append(history)
            # ``to_index`` itself is always served, a multiple of the batch included.
            if not used and start + BATCH > query.to_index:
                break
            start += BATCH
        return histories

    def _address(self, text: str) -> bytes:
        try:
            address = Address(text, self.network)
        except InvalidInput as error:
            raise Refused(f"InvalidAddress: {error}") from None
        if address.is_blinded():
            raise Refused("AddressCannotBeBlinded")
        return address.script


class _Answer:
    """One answer under construction. The tip is read first, so that histories are never older."""

    def __init__(self, chain: Chain, network: Network, query: Query) -> None:
        self.chain = chain
        self.network = network
        self.query = query
        self.tip = chain.tip
        self._parts: list[bytes] = []
        self._more: list[str] = []

    def add(self, key: str, histories: list[bytes]) -> None:
        """A list of histories under its key."""
        self._parts.append(msgspec.json.encode(key) + b":[" + b",".join(histories) + b"]")

    def history(self, script: bytes, page: int) -> bytes:
        """The history of one script as a JSON array."""
        if self.chain.script(script) is None:
            return b"[]"
        with self.chain.lock:
            record = self.chain.script(script)
            if record is None:
                return b"[]"
            start = page * MAX_HISTORY
            if len(record.confirmed) > start + MAX_HISTORY:
                self._truncated(script)
            key = f"waterfalls:{page}:{self.query.utxo_only}"
            known = record.cache.get(key)
            if known is None:
                entries = self._unspent(record) if self.query.utxo_only else self._seen(record, start)
                known = record.cache[key] = msgspec.json.encode(entries)
            return known

    def _truncated(self, script: bytes) -> None:
        if self.query.utxo_only:
            raise Refused("a script's history is too long for utxo_only; scan without it")
        try:
            self._more.append(str(Address.from_script(self.network, script)))
        except InvalidAddress:
            raise Refused("a script without an address has too long a history") from None

    def _seen(self, record: ScriptEntry, start: int) -> list[dict[str, Any]]:
        """Confirmed transactions from the oldest on, and behind the first of them the mempool's."""
        confirmed = [txid for _, _, txid in record.confirmed[start : start + MAX_HISTORY]]
        waiting = list(record.mempool) if not start else []
        return [self._entry(entry) for entry in self._entries([*confirmed, *waiting])]

    def _unspent(self, record: ScriptEntry) -> list[dict[str, Any]]:
        """Outputs no block spends, and what the mempool does to them: outputs up, inputs down."""
        found = []
        for outpoint in record.funded:
            spender = self.chain.spender(outpoint)
            by = None if spender is None else self.chain.entry(spender[0])
            if by is None or by.height is None:
                for entry in self._entries([outpoint.hash]):
                    found.append({**self._entry(entry), "v": outpoint.vout() + 1})
        for entry in self._entries(list(record.mempool)):
            for vin, txin in enumerate(entry.tx.vin):
                parent = self.chain.entry(txin.prevout.hash)
                if parent is not None and parent.tx.vout[txin.prevout.vout()].script == record.script:
                    found.append({**self._entry(entry), "v": -(vin + 1)})
        return found

    def _entries(self, txids: list[Txid]) -> list[TxEntry]:
        return [entry for txid in txids if (entry := self.chain.entry(txid)) is not None]

    def _entry(self, entry: TxEntry) -> dict[str, Any]:
        block = None if entry.height is None else self.chain.block_at(entry.height)
        if block is None:
            return {"txid": str(entry.txid), "height": 0}
        return {
            "txid": str(entry.txid),
            "height": block.height,
            "block_hash": str(block.hash),
            "block_timestamp": block.time,
        }

    def serialize(self, version: int) -> bytes:
        """The whole answer: version 1 has no tip, 2 its hash, 4 hash, time and height."""
        parts = [b'{"txs_seen":{', b",".join(self._parts), b'},"page":%d' % self.query.page]
        if version == 2:
            parts.append(b',"tip":"%s"' % str(self.tip.hash).encode())
        elif version == 4:
            meta = {"b": str(self.tip.hash), "t": self.tip.time, "h": self.tip.height}
            parts.append(b',"tip_meta":' + msgspec.json.encode(meta))
        if self._more:
            parts.append(b',"has_more":' + msgspec.json.encode(self._more))
        parts.append(b"}")
        return b"".join(parts)
