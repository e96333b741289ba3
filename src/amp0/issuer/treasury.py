"""Who holds the treasury's keys: what an operation needs of them, and an Elements node that has them.

:class:`Treasury` is the narrow interface of :mod:`amp0.issuer.operations`. Of its methods :meth:`~Treasury.pay`,
:meth:`~Treasury.reissue` and :meth:`~Treasury.burn` move units, once for each call that returns; all others only
look. When such a call fails with :class:`ConnectionFailed`, nobody knows whether it moved something, and looking tells.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any, Protocol, TypeVar

import msgspec

from amp0.elements.address import Address
from amp0.errors import BackendUnavailable, InvalidAddress, WalletError
from amp0.protocol.issuer import COIN, ChangeOutput, IssuanceEntry, Outpoint, WalletDetail

T = TypeVar("T")

READ_SECONDS = 60.0
SEND_SECONDS = 900.0
"""How long a call that moves units may take: a node makes range proofs for every output of it."""
FINAL = 2
"""Confirmations after which a transaction is final on Liquid."""
_MOST_BYTES = 64 * 1024 * 1024
_PAGE = 1000


@dataclass(frozen=True, slots=True)
class Move:
    """A reissue or burn that a wallet made: ``vin`` is the input that reissues, 0 for a burn."""

    txid: str
    satoshi: int
    vin: int = 0


class Treasury(Protocol):
    """A wallet with an issuer's units and reissuance tokens. Ids are display hex, amounts satoshi."""

    async def check(self) -> None:
        """Raise an error of ours when the wallet cannot be used now."""

    async def new_address(self) -> str:
        """A new confidential address of the wallet, for issuances to pay to."""

    async def missing(self, outpoints: Sequence[Outpoint]) -> list[Outpoint]:
        """Those of some outputs that the wallet does not have to spend."""

    async def payments(self, addresses: Sequence[str]) -> list[str]:
        """Ids of the wallet's transactions that pay any of these addresses and may confirm, or have.

        One that the wallet has abandoned may: others can have it, and send it.
        """

    async def pay(self, asset_id: str, amounts: Mapping[str, int]) -> str:
        """Pay addresses in one transaction; its id."""

    async def reissues(self, asset_id: str) -> list[Move]:
        """The wallet's reissues of an asset that may confirm, or have."""

    async def reissue(self, asset_id: str, satoshi: int) -> Move:
        """Reissue to the wallet itself."""

    async def burns(self, asset_id: str) -> list[Move]:
        """The wallet's burns of an asset that may confirm, or have."""

    async def burn(self, asset_id: str, satoshi: int) -> Move:
        """Destroy units of the wallet."""

    async def confirmations(self, txid: str) -> int:
        """Of a transaction of the wallet; negative when it can no longer confirm."""

    async def details(self, txid: str) -> list[WalletDetail]:
        """What a transaction of the wallet paid, change left out, each output with its blinders."""

    async def change(self, txid: str, asset_id: str) -> list[ChangeOutput]:
        """Unspent outputs of the wallet in one transaction and asset, with their blinders."""

    async def issuances(self, asset_id: str) -> list[IssuanceEntry]:
        """What the wallet knows of an asset's issuances."""


class NodeTreasury:
    """The wallet of an Elements node. ``url`` is its RPC, with ``/wallet/NAME`` where it has several.

    ``credentials`` is a file with ``user:password``, such as the node's cookie; it is read for each call. Needs the
    node only while an operation runs, and nothing has to be closed.
    """

    def __init__(self, url: str, credentials: Path | str) -> None:
        from amp0.chain.elements_rpc import rpc_url

        self._url = rpc_url(url)
        self._credentials = Path(credentials)

    def __repr__(self) -> str:
        return f"NodeTreasury({self._url!r})"

    async def _call(self, method: str, *arguments: Any, seconds: float = READ_SECONDS) -> Any:
        # Not imported before they are needed: it takes longer than everything else here.
        import httpx

        from amp0.chain.elements_rpc import ElementsRpc

        async with httpx.AsyncClient(timeout=None, trust_env=False) as client:  # noqa: S113 -- the node's client has one
            node = ElementsRpc(self._url, self._credentials, client, timeout=seconds)
            return await node.call(method, *arguments, limit=_MOST_BYTES)

    # -- looking -----------------------------------------------------------------------------

    async def check(self) -> None:
        """Refuse a node that is no Elements node, or that has not caught up with the chain."""
        network = await self._call("getnetworkinfo")
        if "Elements Core" not in str(_field(network, "subversion")):
            raise WalletError(f"the node at {self._url} is {_field(network, 'subversion')}, not Elements Core")
        progress = _field(await self._call("getblockchaininfo"), "verificationprogress")
        if not isinstance(progress, Decimal | int) or progress < Decimal("0.999"):
            raise BackendUnavailable("the node is still catching up with the chain; try again when it has")

    async def new_address(self) -> str:
        """With ``getnewaddress``, whose type ``bech32`` would be a plain address."""
        address = await self._call("getnewaddress", "", "blech32")
        if not isinstance(address, str):
            raise BackendUnavailable("the node's answer to getnewaddress is out of shape")
        return address

    async def missing(self, outpoints: Sequence[Outpoint]) -> list[Outpoint]:
        """Those that ``listunspent`` does not list."""
        rows = _rows(await self._call("listunspent", 0), ChangeOutput)
        mine = {(row.txid, row.vout) for row in rows}
        return [outpoint for outpoint in outpoints if (outpoint.txid, outpoint.vout) not in mine]

    async def payments(self, addresses: Sequence[str]) -> list[str]:
        """By the scripts of what the wallet sent: nodes show an address with or without its blinding key."""
        wanted = {Address(address).script for address in addresses}
        found = []
        for entry in await self._sent():
            if entry.txid not in found and _script(entry.address) in wanted:
                found.append(entry.txid)
        return found

    async def reissues(self, asset_id: str) -> list[Move]:
        """From ``listissuances``."""
        listed = await self._call("listissuances", asset_id)
        if not isinstance(listed, list):
            raise BackendUnavailable("the node does not list issuances")
        moves = [
            Move(str(_field(entry, "txid")), _satoshi(_field(entry, "assetamount")), int(_field(entry, "vin")))
            for entry in listed
            if _field(entry, "isreissuance") is True
        ]
        return [move for move in moves if await self._may_confirm(move.txid)]

    async def burns(self, asset_id: str) -> list[Move]:
        """What was sent to no address."""
        burnt: dict[str, int] = {}
        for entry in await self._sent():
            if entry.asset == asset_id and _script(entry.address) is None:
                burnt[entry.txid] = burnt.get(entry.txid, 0) - _satoshi(entry.amount)
        return [Move(txid, satoshi) for txid, satoshi in burnt.items()]

    async def confirmations(self, txid: str) -> int:
        """Nobody should wait for one that the wallet has abandoned, though it may confirm all the same."""
        found = await self._call("gettransaction", txid)
        if any(_Sent.of(detail).abandoned for detail in _field(found, "details")):
            return -1
        confirmations = _field(found, "confirmations")
        if not isinstance(confirmations, int):
            raise BackendUnavailable("the node's answer to gettransaction is out of shape")
        return confirmations

    async def _may_confirm(self, txid: str) -> bool:
        return _is_alive(_field(await self._call("gettransaction", txid), "confirmations"))

    async def details(self, txid: str) -> list[WalletDetail]:
        """From ``gettransaction``."""
        found = await self._call("gettransaction", txid)
        return _rows(_field(found, "details"), WalletDetail)

    async def change(self, txid: str, asset_id: str) -> list[ChangeOutput]:
        """From ``listunspent``."""
        rows = _rows(await self._call("listunspent", 0), ChangeOutput)
        return [row for row in rows if row.txid == txid and row.asset == asset_id]

    async def issuances(self, asset_id: str) -> list[IssuanceEntry]:
        """From ``listissuances``."""
        return _rows(await self._call("listissuances", asset_id), IssuanceEntry)

    async def _sent(self) -> list[_Sent]:
        """Everything the wallet ever sent that may confirm, or has."""
        found: list[_Sent] = []
        while True:
            page = await self._call("listtransactions", "*", _PAGE, len(found))
            if not isinstance(page, list):
                raise BackendUnavailable("the node does not list its transactions")
            found += [_Sent.of(entry) for entry in page]
            if len(page) < _PAGE:
                return [entry for entry in found if entry.category == "send" and _is_alive(entry.confirmations)]

    # -- moving ------------------------------------------------------------------------------

    async def pay(self, asset_id: str, amounts: Mapping[str, int]) -> str:
        """With ``sendmany``, not replaceable."""
        texts = {address: _coins(satoshi) for address, satoshi in amounts.items()}
        assets = dict.fromkeys(texts, asset_id)
        txid = await self._call(
            "sendmany", "", texts, 0, "", [], False, 1, "UNSET", assets, seconds=SEND_SECONDS
        )  # fmt: skip
        if not isinstance(txid, str):
            raise BackendUnavailable("the node's answer to sendmany is out of shape")
        return txid

    async def reissue(self, asset_id: str, satoshi: int) -> Move:
        """With ``reissueasset``."""
        made = await self._call("reissueasset", asset_id, _coins(satoshi), seconds=SEND_SECONDS)
        vin = _field(made, "vin")
        if not isinstance(vin, int):
            raise BackendUnavailable("the node's answer to reissueasset is out of shape")
        return Move(str(_field(made, "txid")), satoshi, vin)

    async def burn(self, asset_id: str, satoshi: int) -> Move:
        """With ``destroyamount``."""
        txid = await self._call("destroyamount", asset_id, _coins(satoshi), seconds=SEND_SECONDS)
        if not isinstance(txid, str):
            raise BackendUnavailable("the node's answer to destroyamount is out of shape")
        return Move(txid, satoshi)


@dataclass(frozen=True, slots=True)
class _Sent:
    """An entry of ``listtransactions`` or of a transaction's details."""

    txid: str
    category: str
    address: str
    asset: str
    amount: Any
    confirmations: int
    abandoned: bool

    @classmethod
    def of(cls, row: Any) -> _Sent:
        if not isinstance(row, dict):
            raise BackendUnavailable("the node's list of transactions is out of shape")
        confirmations = row.get("confirmations", 0)
        return cls(
            txid=str(row.get("txid", "")),
            category=str(row.get("category", "")),
            address=str(row.get("address") or ""),
            asset=str(row.get("asset", "")),
            amount=row.get("amount"),
            confirmations=confirmations if isinstance(confirmations, int) else 0,
            abandoned=row.get("abandoned") is True,
        )


def _is_alive(confirmations: Any) -> bool:
    """Whether a transaction may confirm, or has. Nodes count how deep its rival is below zero, and a rival is final at
    the depth at which anything is; that a wallet has abandoned one says nothing about others who have it."""
    return not isinstance(confirmations, int) or confirmations > -FINAL


def _script(address: str) -> bytes | None:
    """The script of an address as a node shows it; None where it shows none."""
    try:
        return Address(address).script if address else None
    except InvalidAddress:
        return b""


def _coins(satoshi: int) -> str:
    """Satoshi as nodes read them: ones with eight decimals, as text, which rounds nothing."""
    return f"{satoshi // COIN}.{satoshi % COIN:08d}"


def _satoshi(number: Any) -> int:
    if isinstance(number, bool) or not isinstance(number, int | Decimal):
        raise BackendUnavailable("the node sent something else than an amount")
    scaled = Decimal(number) * COIN
    if not scaled.is_finite() or scaled != int(scaled):
        raise BackendUnavailable("the node sent an amount with more than eight decimals")
    return int(scaled)


def _field(value: Any, name: str) -> Any:
    if not isinstance(value, dict) or name not in value:
        raise BackendUnavailable(f"the node's answer lacks {name}")
    return value[name]


def _rows(value: Any, kind: type[T]) -> list[T]:
    """What a node listed, for the confirm that hands it on: only the keys known, numbers as numbers."""
    try:
        return msgspec.convert(_as_numbers(value), list[kind])  # type: ignore[valid-type]
    except msgspec.ValidationError as error:
        raise BackendUnavailable(f"the node's answer is out of shape: {error}") from None


def _as_numbers(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _as_numbers(one) for key, one in value.items()}
    if isinstance(value, list):
        return [_as_numbers(one) for one in value]
    return float(value) if isinstance(value, Decimal) else value
