"""Sorted lists by keyset cursor: what to sort by, which direction, and where the next page begins."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import msgspec

from kaixu.plugin.errors import Unprocessable

from . import fields

MAX_CURSOR = 600


class ListOrder(msgspec.Struct, frozen=True):
    """The order of a list. `after`: the sorting value and the id of the last row of the page before."""

    sort: str
    is_descending: bool
    after: tuple[str, int] | None

    @property
    def after_number(self) -> int | None:
        """The sorting value of a list that is sorted by a number. Raises `Unprocessable`."""
        if self.after is None:
            return None
        return fields.bounded(self.after[0], "cursor", fields.MOST_ID)

    @property
    def after_id(self) -> int | None:
        """The id of the last row of the page before."""
        return None if self.after is None else self.after[1]


def read_order(
    given: Mapping[str, object], sorts: Collection[str], *, default: str, descending: Collection[str]
) -> ListOrder:
    """The fields `sort`, `order` (asc, desc) and `cursor` of a request.

    Sorts in `descending` begin with the largest unless `order` says otherwise. Raises `Unprocessable`.
    """
    sort = fields.text(given.get("sort"), "sort", 20) or default
    if sort not in sorts:
        raise Unprocessable(f"`sort` must be one of {', '.join(sorts)}", field="sort")
    order = fields.text(given.get("order"), "order", 4) or ("desc" if sort in descending else "asc")
    if order not in ("asc", "desc"):
        raise Unprocessable("`order` must be asc or desc", field="order")
    return ListOrder(sort, order == "desc", read_cursor(given.get("cursor"), sort))


def read_before_id(given: Mapping[str, object], order: ListOrder) -> int | None:
    """The field `before_id`: goes on below this id, as a cursor does. Raises `Unprocessable` for any other order."""
    before_id = fields.bounded(given.get("before_id"), "before_id", fields.MOST_ID, least=1)
    if before_id is not None and (order.sort != "id" or not order.is_descending or order.after is not None):
        raise Unprocessable(
            "`before_id` goes on in the order of descending ids only",
            hint="Send `cursor` with the `next_cursor` of the page before instead.",
            field="before_id",
        )
    return before_id


def read_cursor(given: object, sort: str) -> tuple[str, int] | None:
    """The `next_cursor` of the page before. One of another `sort` is refused. Raises `Unprocessable`."""
    text = fields.text(given, "cursor", MAX_CURSOR)
    if text is None:
        return None
    name, _, rest = text.partition("~")
    value, _, number = rest.rpartition("~")
    if name != sort or not number.isascii() or not number.isdigit() or int(number) > fields.MOST_ID:
        raise Unprocessable("`cursor` must be the `next_cursor` of a reply with the same `sort`", field="cursor")
    return value, int(number)


def cursor_of(sort: str, value: object, row_id: int) -> str:
    """The cursor of a page's last row."""
    return f"{sort}~{value}~{row_id}"


def pattern_of(text: str | None) -> str | None:
    """A pattern of `like` that finds a text anywhere, in lower case."""
    if text is None:
        return None
    escaped = text.lower().replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
    return f"%{escaped}%"
