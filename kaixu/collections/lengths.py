"""How long a model's vectors are, as far as that is known before its vendor is asked."""

from __future__ import annotations

from kaixu.catalog.catalog import Deployment
from kaixu.plugin.errors import ModelMismatch


def shortens_vectors(deployment: Deployment) -> bool:
    """Whether the model makes vectors of the length that it is asked for."""
    return deployment.lane is not None and deployment.lane.shortens and not deployment.fixed_dimensions


def vector_length(deployment: Deployment, asked: int | None) -> int | None:
    """The length of the vectors that the model will make where `asked` is what it is asked for; None: not known."""
    return asked if asked is not None else deployment.dimensions


def is_possible_length(deployment: Deployment, length: int) -> bool:
    """Whether the model can make vectors of this length, as far as kaixu.yaml and the lane say."""
    known = deployment.dimensions
    if known is None:
        return True
    # A lane that is off cannot tell whether it shortens vectors; what it cannot do is refused once it is on.
    if shortens_vectors(deployment) or (deployment.lane is None and not deployment.fixed_dimensions):
        return length <= known
    return length == known


def require_length(deployment: Deployment, length: int, field: str) -> None:
    """Raises `ModelMismatch` for vectors that the model cannot have made."""
    if is_possible_length(deployment, length):
        return
    known = f"{'at most ' if shortens_vectors(deployment) else ''}{deployment.dimensions}"
    raise ModelMismatch(
        f"model `{deployment.model}` makes vectors of {known} dimensions, not of {length}",
        hint="Use the model that made them, or vectors of that length.",
        code="DIMENSIONS_MISMATCH",
        field=field,
    )
