"""The operator's list of customers: filters, sorting, pages."""

from __future__ import annotations

from collections.abc import Mapping

import asyncpg
import msgspec

from kaixu.store.customer_list import CustomerFilter, customers_by_email, customers_by_id, customers_by_spent
from kaixu.store.customers import ListedCustomer
from kaixu.store.pool import database

from . import fields
from .list_order import cursor_of, pattern_of, read_before_id, read_order

SORTS = ("id", "email", "spent")

#: The most customers of a page, and how many there are by default.
MOST_LISTED = 1000
LISTED = 200

MAX_TEXT = 200


class CustomerPage(msgspec.Struct, frozen=True):
    """Customers, and where the next page begins; None: there is none."""

    customers: list[ListedCustomer]
    next_cursor: str | None


async def customer_page(pool: asyncpg.Pool, given: Mapping[str, object]) -> CustomerPage:
    """A page of customers, by the fields of a request: `q`, `plan`, `active`, `sort`, `order`, `limit`, `cursor`.

    `q`: a part of the address, or an id. `before_id` does what a cursor by descending id does. Raises `Unprocessable`.
    """
    order = read_order(given, SORTS, default="id", descending=("id", "spent"))
    limit = fields.bounded(given.get("limit"), "limit", MOST_LISTED, least=1) or LISTED
    before_id = read_before_id(given, order)
    chosen = read_filter(given)
    with database():
        if order.sort == "email":
            after = None if order.after is None else order.after[0]
            rows = await customers_by_email(
                pool, chosen, is_descending=order.is_descending, after=after, limit=limit + 1
            )
        elif order.sort == "spent":
            rows = await customers_by_spent(
                pool,
                chosen,
                is_descending=order.is_descending,
                after=(order.after_number, order.after_id),
                limit=limit + 1,
            )
        else:
            rows = await customers_by_id(
                pool, chosen, is_descending=order.is_descending, after=order.after_id or before_id, limit=limit + 1
            )
    page = rows[:limit]
    if len(rows) <= limit:
        return CustomerPage(page, None)
    last = page[-1]
    value = {"id": last.id, "email": last.email, "spent": last.spent_nusd}[order.sort]
    return CustomerPage(page, cursor_of(order.sort, value, last.id))


def read_filter(given: Mapping[str, object]) -> CustomerFilter:
    """The filters of a request. Raises `Unprocessable`."""
    searched = fields.text(given.get("q"), "q", MAX_TEXT)
    is_id = searched is not None and searched.isascii() and searched.isdigit() and int(searched) <= fields.MOST_ID
    return CustomerFilter(
        pattern=pattern_of(searched),
        customer_id=int(searched) if is_id and searched is not None else None,
        plan_name=fields.text(given.get("plan"), "plan", MAX_TEXT),
        is_active=fields.switch(given.get("active"), "active"),
    )
