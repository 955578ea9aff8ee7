"""Limit the work of a search with a filter, before its question is embedded."""

from __future__ import annotations

from kaixu.plugin.errors import FilterTooLarge
from kaixu.store.collections import Collection
from kaixu.store.conditions import Condition

#: Documents times comparisons per document: about three seconds of one core without an index.
MAX_COMPARISONS = 50_000_000


def require_budget(condition: Condition, collection: Collection) -> None:
    """Raises `FilterTooLarge` for a filter that compares too much in a collection of this size."""
    comparisons = condition.comparisons * collection.vectors
    if comparisons > MAX_COMPARISONS:
        most = MAX_COMPARISONS // max(1, collection.vectors)
        raise FilterTooLarge(
            f"the filter needs {condition.comparisons} comparisons for each of {collection.vectors} documents; "
            f"at most {most} are allowed in a collection of this size",
            hint="Use fewer conditions and fewer values, or a smaller collection.",
            field="filter",
        )
