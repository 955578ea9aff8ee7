"""The model that stands in for others, for the platform page: whether it is configured, and can be called."""

from __future__ import annotations

from typing import Any

from kaixu.catalog.catalog import Catalog, Deployment
from kaixu.metering.breakers import Breakers

#: The best state first: of several deployments, the best one decides.
STATES = ("closed", "half-open", "open")


def backup_brain_json(reference: str | None, catalog: Catalog, breakers: Breakers) -> dict[str, Any]:
    """`platforms.backup_model`, the state of its lane, and the breaker's in this process.

    `locked` is always true: like every model, it answers only to callers with a key.
    """
    deployment = backup_deployment(reference, catalog)
    ready = () if deployment is None else deployment.ready
    states = {breakers.state_of(one) for one in ready}
    return {
        "configured": deployment is not None,
        "locked": True,
        "provider": None if deployment is None else deployment.provider,
        "model": None if deployment is None else deployment.model,
        "status": "ready" if ready else "unconfigured",
        "breaker": next((state for state in STATES if state in states), None),
        "reason": None if ready else reason(reference, deployment),
    }


def backup_deployment(reference: str | None, catalog: Catalog) -> Deployment | None:
    """The model of `lane/model`."""
    lane, _, model = (reference or "").partition("/")
    return catalog.models.get(lane, {}).get(model)


def reason(reference: str | None, deployment: Deployment | None) -> str:
    """Why it is not ready."""
    if reference is None:
        return "`platforms.backup_model` is not set"
    if deployment is None:
        return f"there is no model `{reference}`"
    return f"lane `{deployment.state.name}` is {deployment.state.state}: {deployment.state.reason}"
