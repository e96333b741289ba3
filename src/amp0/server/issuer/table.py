"""The one table of the issuer API: every endpoint, from the modules that have them."""

from __future__ import annotations

from collections.abc import Sequence

from amp0.server.issuer import (
    assets,
    assignments,
    blinders,
    burns,
    categories,
    distributions,
    events,
    gaids,
    general,
    holders,
    issuance,
    managers,
    monitoring,
    principals,
    registry,
    reissuance,
    rules_api,
    summaries,
    treasury,
)
from amp0.server.issuer.endpoint import Endpoint

MODULES = (
    general,
    principals,
    holders,
    summaries,
    categories,
    gaids,
    managers,
    assets,
    issuance,
    registry,
    treasury,
    monitoring,
    assignments,
    distributions,
    reissuance,
    burns,
    blinders,
    rules_api,
    events,
)
"""In the order of the description. A module that is not here has no endpoints."""

ENDPOINTS: Sequence[Endpoint] = tuple(endpoint for module in MODULES for endpoint in module.ENDPOINTS)


def tag_of(endpoint: Endpoint) -> str:
    """The group of an endpoint in the description."""
    return endpoint.tag or str(endpoint.function.__module__).rpartition(".")[2]


def by_path(endpoints: Sequence[Endpoint] = ENDPOINTS) -> dict[str, dict[str, Endpoint]]:
    """Path → method → endpoint. Paths with words come before those with names in the same place, so that the first
    that fits is the right one."""
    paths: dict[str, dict[str, Endpoint]] = {}
    for endpoint in endpoints:
        methods = paths.setdefault(endpoint.path, {})
        for method in endpoint.methods:
            assert method not in methods, f"{method} {endpoint.path} is there twice"
            methods[method] = endpoint
    return dict(sorted(paths.items(), key=lambda item: [part.startswith("{") for part in item[0].split("/")]))
