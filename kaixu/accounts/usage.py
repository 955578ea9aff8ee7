"""What a customer used in a month: its figures, its keys', its newest calls."""

from __future__ import annotations

from datetime import date

import asyncpg
import msgspec

from kaixu.store import customers
from kaixu.store.customers import Customer
from kaixu.store.pool import database
from kaixu.store.usage import (
    BookUsage,
    KeyUsage,
    LaneUsage,
    MonthUsage,
    UsageEvent,
    book_usage,
    key_usage,
    lane_usage,
    month_usage,
    this_month,
    usage_events,
)

from . import fields
from .customers import no_customer

__all__ = [
    "BookUsage",
    "CustomerUsage",
    "KeyUsage",
    "LaneUsage",
    "MonthUsage",
    "UsageEvent",
    "customer_usage",
    "month_of_lanes",
]

MOST_EVENTS = 200


class CustomerUsage(msgspec.Struct, frozen=True):
    """A customer's month, seen at one moment: all books together, and `books` one by one."""

    customer: Customer
    month: date
    total: MonthUsage
    books: list[BookUsage]
    keys: list[KeyUsage]
    events: list[UsageEvent]

    @property
    def cap_nusd(self) -> int:
        """The month's cap, with what was topped up."""
        return self.customer.monthly_cap_nusd + self.total.extra_nusd

    @property
    def available_nusd(self) -> int:
        """What the customer's calls may still cost."""
        return max(0, self.cap_nusd - self.total.spent_nusd - self.total.held_nusd)


async def customer_usage(pool: asyncpg.Pool, customer_id: int, *, month: object) -> CustomerUsage:
    """A month, this one where none is given. Raises `Unprocessable` for what is no month, `NotFound`."""
    wanted = fields.month(month, "month")
    with database():
        # One snapshot: the parts of a month that is being spent add up all the same.
        async with (
            pool.acquire() as connection,
            connection.transaction(isolation="repeatable_read", readonly=True),
        ):
            found = await customers.customer(connection, customer_id)
            if found is None:
                raise no_customer(customer_id)
            of_month = wanted or await this_month(connection)
            return CustomerUsage(
                found,
                of_month,
                await month_usage(connection, customer_id, of_month),
                await book_usage(connection, customer_id, of_month),
                await key_usage(connection, customer_id, of_month),
                await usage_events(connection, customer_id, of_month, limit=MOST_EVENTS),
            )


async def month_of_lanes(pool: asyncpg.Pool, *, month: object) -> list[LaneUsage]:
    """A month of all customers by who served it. Raises `Unprocessable` for what is no month."""
    wanted = fields.month(month, "month")
    with database():
        async with pool.acquire() as connection:
            return await lane_usage(connection, wanted or await this_month(connection))
