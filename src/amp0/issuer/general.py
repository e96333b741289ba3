"""Calls about the login itself, the API, managers, and what was done."""

from __future__ import annotations

from amp0.issuer.session import Calls, segment
from amp0.protocol.issuer import (
    Credentials,
    Info,
    Manager,
    ManagerCreate,
    PasswordChange,
    PasswordChanged,
    Token,
)
from amp0.protocol.issuer import Event as IssuerEvent


class GeneralCalls(Calls):
    """The login, the API, managers and events."""

    async def info(self) -> Info:
        """Which version of the API the server speaks; needs no login."""
        return await self._api.ask("GET", "/info", Info, login=False, repeatable=True)

    async def changelog(self) -> dict[str, str]:
        """What each version of the API changed; needs no login."""
        return await self._api.ask("GET", "/changelog", dict[str, str], login=False, repeatable=True)

    async def token(self) -> str:
        """The token that calls are made with: a secret, for other tools' ``Authorization: token <TOKEN>``."""
        return await self._api.token()

    async def refresh_token(self) -> str:
        """Replace the token: the earlier one is worth nothing from here on."""
        answer = await self._api.ask("POST", "/user/refresh-token", Token)
        self._api.adopt(token=answer.token)
        return answer.token

    async def change_password(self, password: str) -> None:
        """Set a new password of this login, which goes on with it and a new token."""
        answer = await self._api.ask(
            "POST", "/user/change-password", PasswordChanged, PasswordChange(password=password)
        )
        self._api.adopt(token=answer.token, password=password)

    async def events(self, *, before: int | None = None, count: int | None = None) -> list[IssuerEvent]:
        """What was changed, by whom and when: the ``count`` newest before the one with the id ``before``."""
        return await self._get("/events", list[IssuerEvent], before=before, count=count)

    # -- managers ----------------------------------------------------------------------------

    async def managers(self) -> list[Manager]:
        """The issuer's managers."""
        return await self._get("/managers", list[Manager])

    async def manager(self, manager_id: int) -> Manager:
        """One manager."""
        return await self._get(f"/managers/{segment(manager_id)}", Manager)

    async def me(self) -> Manager:
        """The manager whose login this is; an issuer's is refused."""
        return await self._get("/managers/me", Manager)

    async def create_manager(self, username: str, password: str, *, person: str | None = None) -> Manager:
        """Make a login for somebody who works for this issuer. It begins locked, with no asset.

        ``person`` says who is behind it where that is not the name: who asked for a change does not approve it.
        """
        body: Credentials | ManagerCreate = ManagerCreate(username=username, password=password, person=person)
        if person is None:
            # What other servers of this API know.
            body = Credentials(username=username, password=password)
        return await self._api.ask("POST", "/managers/create", Manager, body)

    async def lock_manager(self, manager_id: int) -> Manager:
        """Take a manager's access away; their token ends with it."""
        return await self._api.ask("PUT", f"/managers/{segment(manager_id)}/lock", Manager, repeatable=True)

    async def unlock_manager(self, manager_id: int) -> Manager:
        """Give a manager access."""
        return await self._api.ask("PUT", f"/managers/{segment(manager_id)}/unlock", Manager, repeatable=True)

    async def change_manager_password(self, manager_id: int, password: str) -> None:
        """Set a manager's password; their earlier tokens end."""
        path = f"/managers/{segment(manager_id)}/change-password"
        await self._api.ask("POST", path, PasswordChanged, PasswordChange(password=password))

    async def add_manager_asset(self, manager_id: int, asset_uuid: str) -> Manager:
        """Let a manager work on an asset."""
        path = f"/managers/{segment(manager_id)}/assets/{segment(asset_uuid)}/add"
        return await self._api.ask("PUT", path, Manager, repeatable=True)

    async def remove_manager_asset(self, manager_id: int, asset_uuid: str) -> Manager:
        """Let a manager no longer work on an asset."""
        path = f"/managers/{segment(manager_id)}/assets/{segment(asset_uuid)}/remove"
        return await self._api.ask("PUT", path, Manager, repeatable=True)
