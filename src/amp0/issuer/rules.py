"""Calls about what an asset's policy allows: rules, changes that wait, settings, and what was refused."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from amp0.issuer.session import Calls, segment
from amp0.protocol.issuer import Change, ChangeApprove, PolicyEdit, PolicySettings, Refusal, Rule, RuleAdd, Trial


class RuleCalls(Calls):
    """Rules and their changes. What tightens takes effect at once; what loosens may wait for time and other persons."""

    async def rules(self, asset_uuid: str) -> list[Rule]:
        """The rules in force that the issuer set, beside those that always hold."""
        return await self._get(f"/assets/{segment(asset_uuid)}/rules", list[Rule])

    async def add_rule(self, asset_uuid: str, tag: str, parameters: Mapping[str, Any] | None = None) -> Change:
        """Add a rule; docs/policy.md lists the tags and their parameters."""
        body = RuleAdd(tag=tag, parameters=dict(parameters or {}))
        return await self._api.ask("POST", f"/assets/{segment(asset_uuid)}/rules/add", Change, body)

    async def try_rule(self, asset_uuid: str, tag: str, parameters: Mapping[str, Any] | None = None) -> Trial:
        """What a rule would have done to the transfers on record, and would do to today's holders; it is not set."""
        body = RuleAdd(tag=tag, parameters=dict(parameters or {}))
        return await self._api.ask("POST", f"/assets/{segment(asset_uuid)}/rules/try", Trial, body, repeatable=True)

    async def edit_rule(
        self, asset_uuid: str, rule_id: int, tag: str, parameters: Mapping[str, Any] | None = None
    ) -> Change:
        """Put a rule in the place of one of the same kind: there is no moment without one of them."""
        body = RuleAdd(tag=tag, parameters=dict(parameters or {}))
        path = f"/assets/{segment(asset_uuid)}/rules/{segment(rule_id)}/edit"
        return await self._api.ask("PUT", path, Change, body)

    async def end_rule(self, asset_uuid: str, rule_id: int) -> Change:
        """End a rule; it stays on record."""
        path = f"/assets/{segment(asset_uuid)}/rules/{segment(rule_id)}/delete"
        return await self._api.ask("DELETE", path, Change)

    async def changes(
        self,
        asset_uuid: str,
        *,
        state: Literal["pending", "effective", "cancelled"] | None = None,
        before: int | None = None,
        count: int | None = None,
    ) -> list[Change]:
        """Changes of the asset's policy, newest first: the ``count`` before the one with the id ``before``."""
        path = f"/assets/{segment(asset_uuid)}/changes"
        return await self._get(path, list[Change], state=state, before=before, count=count)

    async def approve_change(self, asset_uuid: str, change_id: int, content_hash: str) -> Change:
        """Agree with what somebody else asked for. ``content_hash`` is that of the change that was looked at."""
        path = f"/assets/{segment(asset_uuid)}/changes/{segment(change_id)}/approve"
        return await self._api.ask("POST", path, Change, ChangeApprove(content_hash=content_hash), repeatable=True)

    async def cancel_change(self, asset_uuid: str, change_id: int) -> Change:
        """Take back, or turn down, a change that waits."""
        path = f"/assets/{segment(asset_uuid)}/changes/{segment(change_id)}/cancel"
        return await self._api.ask("POST", path, Change)

    async def policy(self, asset_uuid: str) -> PolicySettings:
        """How the asset's policy is changed, and its switches."""
        return await self._get(f"/assets/{segment(asset_uuid)}/policy", PolicySettings)

    async def edit_policy(
        self,
        asset_uuid: str,
        *,
        checks_sender_categories: bool | None = None,
        loosening_delay: int | None = None,
        required_approvals: int | None = None,
    ) -> Change:
        """Change that; what is None stays. ``loosening_delay`` is in seconds."""
        body = PolicyEdit(
            checks_sender_categories=checks_sender_categories,
            loosening_delay=loosening_delay,
            required_approvals=required_approvals,
        )
        return await self._api.ask("PUT", f"/assets/{segment(asset_uuid)}/policy", Change, body)

    async def refusals(self, asset_uuid: str, *, before: int | None = None, count: int | None = None) -> list[Refusal]:
        """Transfers that were not cosigned, newest first, each with all reasons."""
        return await self._get(f"/assets/{segment(asset_uuid)}/refusals", list[Refusal], before=before, count=count)
