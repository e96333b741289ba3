"""Calls about who may hold: registered users, their GAIDs, categories."""

from __future__ import annotations

from typing import Any

from amp0.issuer.session import Calls, segment
from amp0.protocol.issuer import (
    Category,
    CategoryAdd,
    CategoryEdit,
    GaidAddress,
    GaidBalance,
    User,
    UserAdd,
    UserEdit,
    UserSummary,
    Validity,
)


class HolderCalls(Calls):
    """Registered users, GAIDs and categories."""

    async def users(self) -> list[User]:
        """All registered users."""
        return await self._get("/registered_users", list[User])

    async def user(self, user_id: int) -> User:
        """One registered user."""
        return await self._get(f"/registered_users/{segment(user_id)}", User)

    async def add_user(self, name: str, *, gaid: str | None = None, is_company: bool = False) -> User:
        """Register somebody. ``gaid`` is the AMP ID of their account, which becomes the default one."""
        body = UserAdd(name=name, gaid=gaid, is_company=is_company)
        return await self._api.ask("POST", "/registered_users/add", User, body)

    async def edit_user(self, user_id: int, name: str) -> User:
        """Give a registered user another name."""
        path = f"/registered_users/{segment(user_id)}/edit"
        return await self._api.ask("PUT", path, User, UserEdit(name=name), repeatable=True)

    async def delete_user(self, user_id: int) -> None:
        """Delete a registered user; their GAIDs cannot be registered for anybody else."""
        await self._api.tell("DELETE", f"/registered_users/{segment(user_id)}/delete")

    async def freeze_user(self, user_id: int) -> User:
        """Have a registered user neither send nor receive what this issuer issued."""
        return await self._api.ask("PUT", f"/registered_users/{segment(user_id)}/freeze", User, repeatable=True)

    async def unfreeze_user(self, user_id: int) -> User:
        """End that."""
        return await self._api.ask("PUT", f"/registered_users/{segment(user_id)}/unfreeze", User, repeatable=True)

    async def user_summary(self, user_id: int) -> list[UserSummary]:
        """What a registered user was assigned, was paid and holds, an element for each asset."""
        # A single record comes as itself, several as a list.
        path = f"/registered_users/{segment(user_id)}/summary"
        shape: Any = list[UserSummary] | UserSummary
        answer = await self._get(path, shape)
        return answer if isinstance(answer, list) else [answer]

    # -- GAIDs -------------------------------------------------------------------------------

    async def user_gaids(self, user_id: int) -> list[str]:
        """All GAIDs of a registered user."""
        return await self._get(f"/registered_users/{segment(user_id)}/gaids", list[str])

    async def add_gaid(self, user_id: int, gaid: str) -> None:
        """Give a registered user one more AMP account; the first becomes the default."""
        await self._api.tell("POST", f"/registered_users/{segment(user_id)}/gaids/add", gaid)

    async def set_default_gaid(self, user_id: int, gaid: str) -> None:
        """Have distributions pay a registered user at another of their GAIDs."""
        path = f"/registered_users/{segment(user_id)}/gaids/set-default"
        await self._api.tell("POST", path, gaid, repeatable=True)

    async def validate_gaid(self, gaid: str) -> Validity:
        """Whether a GAID names an AMP account of this server."""
        return await self._get(f"/gaids/{segment(gaid)}/validate", Validity)

    async def gaid_address(self, gaid: str) -> GaidAddress:
        """A fresh address of an AMP account: every call uses one up. Its ``error`` says why there is none."""
        return await self._api.ask("GET", f"/gaids/{segment(gaid)}/address", GaidAddress)

    async def gaid_user(self, gaid: str) -> User:
        """Whose account it is, among this issuer's users; :class:`IssuerRefused` with status 404 if nobody's."""
        return await self._get(f"/gaids/{segment(gaid)}/registered_user", User)

    async def gaid_balances(self, gaid: str) -> list[GaidBalance]:
        """What an AMP account holds of each of this issuer's assets."""
        return await self._get(f"/gaids/{segment(gaid)}/balance", list[GaidBalance])

    async def gaid_balance(self, gaid: str, asset_uuid: str) -> GaidBalance:
        """What an AMP account holds of one asset."""
        path = f"/gaids/{segment(gaid)}/balance/{segment(asset_uuid)}"
        return await self._get(path, GaidBalance)

    # -- categories --------------------------------------------------------------------------

    async def categories(self) -> list[Category]:
        """All categories."""
        return await self._get("/categories", list[Category])

    async def category(self, category_id: int) -> Category:
        """One category."""
        return await self._get(f"/categories/{segment(category_id)}", Category)

    async def add_category(self, name: str, description: str | None = None) -> Category:
        """Make a category."""
        return await self._api.ask("POST", "/categories/add", Category, CategoryAdd(name=name, description=description))

    async def edit_category(
        self, category_id: int, *, name: str | None = None, description: str | None = None
    ) -> Category:
        """Call a category otherwise; what is None stays."""
        path = f"/categories/{segment(category_id)}/edit"
        body = CategoryEdit(name=name, description=description)
        return await self._api.ask("PUT", path, Category, body, repeatable=True)

    async def delete_category(self, category_id: int) -> None:
        """Delete a category that no asset in circulation requires."""
        await self._api.tell("DELETE", f"/categories/{segment(category_id)}/delete")

    async def add_category_user(self, category_id: int, user_id: int) -> Category:
        """Put a registered user into a category."""
        return await self._member(category_id, "registered_users", user_id, "add")

    async def remove_category_user(self, category_id: int, user_id: int) -> Category:
        """Take a registered user out of a category; what they hold stays theirs."""
        return await self._member(category_id, "registered_users", user_id, "remove")

    async def add_category_asset(self, category_id: int, asset_uuid: str) -> Category:
        """Require a category: who receives the asset from here on is in it."""
        return await self._member(category_id, "assets", asset_uuid, "add")

    async def remove_category_asset(self, category_id: int, asset_uuid: str) -> Category:
        """Require a category no longer. That loosens the asset's policy, and may have to wait."""
        return await self._member(category_id, "assets", asset_uuid, "remove")

    async def _member(self, category_id: int, kind: str, member: int | str, verb: str) -> Category:
        path = f"/categories/{segment(category_id)}/{kind}/{segment(member)}/{verb}"
        return await self._api.ask("PUT", path, Category, repeatable=True)
