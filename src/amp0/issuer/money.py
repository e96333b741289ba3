"""Calls that move units out of and into the treasury: each asks for a request file, and confirms what a wallet did.

:mod:`amp0.issuer.operations` walks them from start to end.
"""

from __future__ import annotations

import msgspec

from amp0.issuer.session import Calls, segment
from amp0.protocol.issuer import (
    Assignment,
    AssignmentsCreate,
    Burn,
    BurnConfirm,
    BurnFile,
    BurnRequest,
    DistributeConfirm,
    DistributeFile,
    Distribution,
    NewAssignment,
    ReissueConfirm,
    Reissued,
    ReissueFile,
    ReissueRequest,
    UpdateBlinders,
)


class MoneyCalls(Calls):
    """Assignments, distributions, reissues and burns."""

    async def assignments(self, asset_uuid: str, *, distributed: bool | None = None) -> list[Assignment]:
        """What was assigned to whom: all, or only what is (not) distributed yet."""
        flag = None if distributed is None else str(distributed).lower()
        path = f"/assets/{segment(asset_uuid)}/assignments"
        return await self._get(path, list[Assignment], distributed=flag)

    async def assignment(self, asset_uuid: str, assignment_id: int) -> Assignment:
        """One assignment."""
        path = f"/assets/{segment(asset_uuid)}/assignments/{segment(assignment_id)}"
        return await self._get(path, Assignment)

    async def assign(
        self,
        asset_uuid: str,
        user_id: int,
        satoshi: int,
        *,
        ready: bool = True,
        vesting_timestamp: int | None = None,
    ) -> Assignment:
        """Assign units to a registered user, to be paid by the next distribution.

        Not before ``vesting_timestamp`` (seconds since 1970), and not while ``ready`` is false: see
        :meth:`unlock_assignment`.
        """
        new = NewAssignment(
            registered_user=user_id, amount=satoshi, ready_for_distribution=ready, vesting_timestamp=vesting_timestamp
        )
        path = f"/assets/{segment(asset_uuid)}/assignments/create"
        (made,) = await self._api.ask("POST", path, tuple[Assignment], AssignmentsCreate(assignments=[new]))
        return made

    async def lock_assignment(self, asset_uuid: str, assignment_id: int) -> Assignment:
        """Leave an assignment out of distributions."""
        return await self._switch(asset_uuid, assignment_id, "lock")

    async def unlock_assignment(self, asset_uuid: str, assignment_id: int) -> Assignment:
        """Make an assignment ready for the next distribution."""
        return await self._switch(asset_uuid, assignment_id, "unlock")

    async def _switch(self, asset_uuid: str, assignment_id: int, verb: str) -> Assignment:
        path = f"/assets/{segment(asset_uuid)}/assignments/{segment(assignment_id)}/{verb}"
        return await self._api.ask("PUT", path, Assignment, repeatable=True)

    async def delete_assignment(self, asset_uuid: str, assignment_id: int) -> None:
        """Take back an assignment that is in no distribution yet."""
        path = f"/assets/{segment(asset_uuid)}/assignments/{segment(assignment_id)}/delete"
        await self._api.tell("DELETE", path)

    async def distributions(self, asset_uuid: str) -> list[Distribution]:
        """All distributions, those that were never paid included."""
        path = f"/assets/{segment(asset_uuid)}/distributions"
        return await self._get(path, list[Distribution])

    async def distribution(self, asset_uuid: str, distribution_uuid: str) -> Distribution:
        """One distribution."""
        path = f"/assets/{segment(asset_uuid)}/distributions/{segment(distribution_uuid)}"
        return await self._get(path, Distribution)

    async def create_distribution(self, asset_uuid: str) -> DistributeFile:
        """Gather every assignment that is ready and vested, and give each a fresh address of its holder."""
        path = f"/assets/{segment(asset_uuid)}/distributions/create/"
        return await self._api.ask("GET", path, DistributeFile)

    async def distribution_file(self, asset_uuid: str, distribution_uuid: str) -> DistributeFile:
        """The request file of a distribution that is not confirmed, once more."""
        path = f"/assets/{segment(asset_uuid)}/distributions/{segment(distribution_uuid)}/file"
        return await self._get(path, DistributeFile)

    async def confirm_distribution(self, asset_uuid: str, distribution_uuid: str, done: DistributeConfirm) -> None:
        """Say which transaction paid a distribution; may be repeated."""
        path = f"/assets/{segment(asset_uuid)}/distributions/{segment(distribution_uuid)}/confirm"
        await self._api.tell("POST", path, done, repeatable=True)

    async def cancel_distribution(self, asset_uuid: str, distribution_uuid: str) -> None:
        """Free the assignments of a distribution that was **not** paid: what is paid after this is not known."""
        path = f"/assets/{segment(asset_uuid)}/distributions/{segment(distribution_uuid)}/cancel"
        await self._api.tell("DELETE", path)

    async def request_reissue(self, asset_uuid: str, satoshi: int) -> ReissueFile:
        """What a wallet needs to reissue ``satoshi`` more."""
        path = f"/assets/{segment(asset_uuid)}/reissue-request"
        body = ReissueRequest(amount_to_reissue=satoshi)
        return await self._api.ask("POST", path, ReissueFile, body, repeatable=True)

    async def confirm_reissue(self, asset_uuid: str, done: ReissueConfirm) -> Reissued:
        """Say which transaction reissued; may be repeated."""
        path = f"/assets/{segment(asset_uuid)}/reissue-confirm"
        return await self._api.ask("POST", path, Reissued, done, repeatable=True)

    async def request_burn(self, asset_uuid: str, satoshi: int) -> BurnFile:
        """What a wallet needs to burn ``satoshi`` of the treasury."""
        path = f"/assets/{segment(asset_uuid)}/burn-request"
        return await self._api.ask("POST", path, BurnFile, BurnRequest(amount=satoshi), repeatable=True)

    async def confirm_burn(self, asset_uuid: str, done: BurnConfirm) -> None:
        """Say which transaction burned; may be repeated."""
        path = f"/assets/{segment(asset_uuid)}/burn-confirm"
        await self._api.tell("POST", path, done, repeatable=True)

    async def burns(self, asset_uuid: str) -> list[Burn]:
        """Burns that were confirmed here, oldest first."""
        return await self._get(f"/assets/{segment(asset_uuid)}/burns", list[Burn])

    async def update_blinders(self, asset_uuid: str, blinders: UpdateBlinders) -> None:
        """Hand in the blinders of an output that the server could not open: lost outputs are found this way."""
        path = f"/assets/{segment(asset_uuid)}/update-blinders"
        # Other servers of this API do not know every key that ours does.
        body = {name: value for name, value in msgspec.structs.asdict(blinders).items() if value is not None}
        await self._api.tell("POST", path, body, repeatable=True)
