"""The length of a model's vectors, if it is known before the vendor's call."""

from __future__ import annotations

from kaixu.catalog.catalog import Deployment
from kaixu.plugin.errors import ModelMismatch


def shortens_vectors(deployment: Deployment) -> bool:
    """Whether the model can make shorter vectors on request."""
    return deployment.lane is not None and deployment.lane.shortens and not deployment.fixed_dimensions


def vector_length(deployment: Deployment, dimensions: int | None) -> int | None:
    """The length of the vectors for a request with these `dimensions`; None if unknown."""
    return dimensions if dimensions is not None else deployment.dimensions


def is_possible_length(deployment: Deployment, length: int) -> bool:
    """Whether the model can make vectors of this length, by kaixu.yaml and the lane."""
    known = deployment.dimensions
    if known is None:
        return True
    # It is unknown whether a lane that is off shortens vectors; once on, it refuses what it does not support.
    if shortens_vectors(deployment) or (deployment.lane is None and not deployment.fixed_dimensions):
        return length <= known
    return length == known


def require_length(deployment: Deployment, length: int, field: str) -> None:
    """Raises `ModelMismatch` if the model cannot make vectors of this length."""
    if is_possible_length(deployment, length):
        return
    known = f"{'at most ' if shortens_vectors(deployment) else ''}{deployment.dimensions}"
    raise ModelMismatch(
        f"model `{deployment.model}` makes vectors of {known} dimensions, not of {length}",
        hint="Use the model that made them, or vectors of that length.",
        code="DIMENSIONS_MISMATCH",
        field=field,
    )
