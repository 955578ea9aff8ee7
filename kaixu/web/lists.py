"""Lists with pages and sorting: the links of their heads and of their next pages."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, TypedDict

from .visits import Visit


class Sorting(TypedDict):
    """The fields `sort` and `sorted` of a `Column`."""

    sort: str
    sorted: Literal["", "ascending", "descending"]


def sort_links(visit: Visit, sorts: Mapping[str, str], *, default: str) -> dict[str, Sorting]:
    """The links of the columns that can be sorted by: the first click sorts as `sorts` says, the next the other way."""
    chosen = visit.query.get("sort") or default
    links: dict[str, Sorting] = {}
    for name, first in sorts.items():
        now = (visit.query.get("order") or first) if name == chosen else ""
        order = first if name != chosen else "asc" if now == "desc" else "desc"
        links[name] = {
            "sort": visit.changed(sort=name, order=order),
            "sorted": "ascending" if now == "asc" else "descending" if now else "",
        }
    return links


def pages_of(visit: Visit, next_cursor: str | int | None, field: str = "cursor") -> tuple[str, str]:
    """The links of the next page and of the first: empty on the last page, and on the first."""
    following = visit.changed(**{field: next_cursor}) if next_cursor is not None else ""
    first = visit.changed(**{field: None}) if visit.query.get(field) else ""
    return following, first
