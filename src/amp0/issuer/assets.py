"""Calls about assets: issuing, what they are, treasury addresses, and where every unit is."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from typing import Literal

import msgspec

from amp0.issuer.session import Calls, segment
from amp0.protocol.issuer import (
    Activity,
    Asset,
    AssetEdit,
    Balance,
    Issue,
    Issued,
    LostOutputs,
    Outpoint,
    Ownership,
    Reissuance,
    Summary,
    Tx,
    Utxo,
)

IDEMPOTENCY_HEADER = "Idempotency-Key"


class AssetCalls(Calls):
    """Assets and the ledger."""

    async def assets(self) -> list[Asset]:
        """All assets of this login."""
        return await self._get("/assets", list[Asset])

    async def asset(self, asset_uuid: str) -> Asset:
        """One asset."""
        return await self._get(f"/assets/{segment(asset_uuid)}", Asset)

    async def issue(self, request: Issue, *, idempotency_key: str | None = None) -> Issued:
        """Issue an asset: the server builds, pays for and broadcasts the transaction.

        It may be asked again after a lost answer: the same ``idempotency_key`` (up to 128 characters, made up when
        left out, which covers the repetitions of this call alone) gives the same asset. The units go to
        ``destination_address``, reissuance tokens to ``reissuance_address``: both of the issuer's own wallet.
        """
        headers = {IDEMPOTENCY_HEADER: idempotency_key or secrets.token_hex(16)}
        # Other servers of this API know neither null nor every key that we do.
        body = {name: value for name, value in msgspec.structs.asdict(request).items() if value is not None}
        return await self._api.ask("POST", "/assets/issue", Issued, body, headers=headers, repeatable=True)

    async def edit_asset(self, asset_uuid: str, *, issuer_authorization_endpoint: str | None) -> Asset:
        """Set the URL that is asked before each transfer is cosigned; None or an empty one: nobody is asked."""
        body = AssetEdit(issuer_authorization_endpoint=issuer_authorization_endpoint)
        return await self._api.ask("PUT", f"/assets/{segment(asset_uuid)}/edit", Asset, body, repeatable=True)

    async def delete_asset(self, asset_uuid: str) -> None:
        """Take an asset out of the API, for ever. On the chain it lives on, and its rules hold on."""
        await self._api.tell("DELETE", f"/assets/{segment(asset_uuid)}/delete")

    async def register_asset(self, asset_uuid: str) -> Asset:
        """Put an asset into the public registry; its domain has to serve the proof already."""
        return await self._api.ask("GET", f"/assets/{segment(asset_uuid)}/register", Asset)

    async def register_authorized(self, asset_uuid: str) -> Asset:
        """Mark an asset as one that wallets may receive in AMP accounts only. Cannot be undone."""
        return await self._api.ask("GET", f"/assets/{segment(asset_uuid)}/register-authorized", Asset)

    async def lock_asset(self, asset_uuid: str) -> Asset:
        """Have no transfer of an asset cosigned until it is unlocked."""
        return await self._api.ask("PUT", f"/assets/{segment(asset_uuid)}/lock", Asset, repeatable=True)

    async def unlock_asset(self, asset_uuid: str) -> Asset:
        """End a lock. That loosens the asset's policy, and may have to wait."""
        return await self._api.ask("PUT", f"/assets/{segment(asset_uuid)}/unlock", Asset, repeatable=True)

    async def memo(self, asset_uuid: str) -> str:
        """The issuer's own note about an asset; empty when there is none."""
        return await self._get(f"/assets/{segment(asset_uuid)}/memo", str)

    async def set_memo(self, asset_uuid: str, memo: str) -> None:
        """Replace the note about an asset."""
        await self._api.tell("POST", f"/assets/{segment(asset_uuid)}/memo/set", memo, repeatable=True)

    # -- treasury addresses ------------------------------------------------------------------

    async def treasury_addresses(self, asset_uuid: str) -> list[str]:
        """Addresses of the issuer's own wallet: what they hold is treasury, and holders may send to them."""
        return await self._get(f"/assets/{segment(asset_uuid)}/treasury-addresses", list[str])

    async def add_treasury_addresses(self, asset_uuid: str, addresses: Sequence[str]) -> None:
        """Add addresses of the issuer's own wallet."""
        path = f"/assets/{segment(asset_uuid)}/treasury-addresses/add"
        await self._api.tell("POST", path, list(addresses))

    async def remove_treasury_addresses(self, asset_uuid: str, addresses: Sequence[str]) -> None:
        """Have holders no longer send to these addresses; what they hold stays treasury."""
        path = f"/assets/{segment(asset_uuid)}/treasury-addresses/delete"
        await self._api.tell("DELETE", path, list(addresses))

    # -- the ledger --------------------------------------------------------------------------

    async def ownerships(self, asset_uuid: str, height: int | None = None) -> list[Ownership]:
        """Who holds how much, the treasury first: now, or after the block at a height."""
        at = "" if height is None else f"/{segment(height)}"
        return await self._get(f"/assets/{segment(asset_uuid)}/ownerships{at}", list[Ownership])

    async def balance(self, asset_uuid: str) -> Balance:
        """Confirmed holdings, and outputs that the ledger lost sight of."""
        return await self._get(f"/assets/{segment(asset_uuid)}/balance", Balance)

    async def lost_outputs(self, asset_uuid: str) -> LostOutputs:
        """Outputs of the asset and of its token whose holder or blinders are not known."""
        return await self._get(f"/assets/{segment(asset_uuid)}/lost-outputs", LostOutputs)

    async def summary(self, asset_uuid: str) -> Summary:
        """An asset in figures."""
        return await self._get(f"/assets/{segment(asset_uuid)}/summary", Summary)

    async def activities(
        self,
        asset_uuid: str,
        *,
        start: int | None = None,
        count: int | None = None,
        sortcolumn: str | None = None,
        sortorder: Literal["asc", "desc"] | None = None,
        height_start: int | None = None,
        height_stop: int | None = None,
    ) -> list[Activity]:
        """Outputs that moved the asset, oldest first unless told otherwise; heights are inclusive."""
        return await self._get(
            f"/assets/{segment(asset_uuid)}/activities", list[Activity], start=start, count=count,
            sortcolumn=sortcolumn, sortorder=sortorder, height_start=height_start, height_stop=height_stop,
        )  # fmt: skip

    async def txs(
        self,
        asset_uuid: str,
        *,
        start: int | None = None,
        count: int | None = None,
        sortcolumn: str | None = None,
        sortorder: Literal["asc", "desc"] | None = None,
        height_start: int | None = None,
        height_stop: int | None = None,
    ) -> list[Tx]:
        """Confirmed transactions of the asset, oldest first unless told otherwise; heights are inclusive."""
        return await self._get(
            f"/assets/{segment(asset_uuid)}/txs", list[Tx], start=start, count=count,
            sortcolumn=sortcolumn, sortorder=sortorder, height_start=height_start, height_stop=height_stop,
        )  # fmt: skip

    async def tx(self, asset_uuid: str, txid: str) -> Tx:
        """One transaction of the asset."""
        return await self._get(f"/assets/{segment(asset_uuid)}/txs/{segment(txid)}", Tx)

    async def utxos(self, asset_uuid: str) -> list[Utxo]:
        """Unspent outputs of the asset, and whose they are."""
        return await self._get(f"/assets/{segment(asset_uuid)}/utxos", list[Utxo])

    async def blacklist(self, asset_uuid: str, outpoints: Sequence[Outpoint]) -> list[Utxo]:
        """Have no transfer cosigned that spends these outputs. Answers them."""
        path = f"/assets/{segment(asset_uuid)}/utxos/blacklist"
        return await self._api.ask("POST", path, list[Utxo], list(outpoints), repeatable=True)

    async def whitelist(self, asset_uuid: str, outpoints: Sequence[Outpoint]) -> list[Utxo]:
        """Take outputs off the blacklist. That loosens the asset's policy, and may have to wait."""
        path = f"/assets/{segment(asset_uuid)}/utxos/whitelist"
        return await self._api.ask("POST", path, list[Utxo], list(outpoints), repeatable=True)

    async def reissuances(self, asset_uuid: str) -> list[Reissuance]:
        """Confirmed reissues."""
        return await self._get(f"/assets/{segment(asset_uuid)}/reissuances", list[Reissuance])
