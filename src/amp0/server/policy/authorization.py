"""The issuer's authorization endpoint: a second opinion over HTTP on each transfer of an asset."""

from __future__ import annotations

from amp0.server.policy.ssrf import check_url

__all__ = ["check_url"]
