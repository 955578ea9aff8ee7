"""The close of a month: what is open for all customers, and issuing in parts, so that a page can show progress."""

from __future__ import annotations

import logging
from datetime import date
from typing import Any

import asyncpg
import msgspec

from kaixu.config.invoices_section import InvoicesSection
from kaixu.config.price import usd
from kaixu.plugin.errors import Conflict, DatabaseAway, KaixuError
from kaixu.store.clock import this_month
from kaixu.store.month_close import DUE_OF_MONTH, LISTED, CustomerMonth, StateCount, state_counts
from kaixu.store.pool import database

from .closing import month_before, tell_closed
from .issue import NO_STATEMENTS, Statements, finalize

log = logging.getLogger(__name__)

#: What a customer's month can be, in the order in which it goes through them.
STATES = ("open", "waiting", "details", "ready", "issued")

#: Why a month in this state is not issued, as `finalize` says it.
CODES = {"waiting": "MONTH_WAITING", "details": "BILLING_DETAILS_MISSING"}


class MonthClose(msgspec.Struct, frozen=True):
    """A month of all customers. `next_after`: where the next page of `customers` begins; None: there is none."""

    month: date
    is_set_up: bool
    counts: list[StateCount]
    customers: list[CustomerMonth]
    next_after: int | None


class Batch(msgspec.Struct, frozen=True):
    """A part of a month's invoices: what was issued, what was not, and the customer after which to go on."""

    issued: list[str]
    waiting: dict[str, int]
    next_after: int | None


async def show_close(
    pool: asyncpg.Pool, section: InvoicesSection, month: date | None, *, state: str | None, after: int, limit: int
) -> MonthClose:
    """A month of all customers, by default the last that is over. Raises `DatabaseAway`."""
    with database():
        async with pool.acquire() as db, db.transaction(isolation="repeatable_read", readonly=True):
            await db.execute("set local plan_cache_mode = force_custom_plan")
            month = month or month_before(await this_month(db))
            needs = section.lost_wait_h, section.require_address
            counts = await state_counts(db, month, lost_wait_h=needs[0], needs_address=needs[1])
            rows = await LISTED.all(db, month, *needs, state, after, limit + 1)
    shown = rows[:limit]
    next_after = shown[-1].customer_id if len(rows) > limit else None
    return MonthClose(month, section.seller is not None, counts, shown, next_after)


async def issue_part(
    pool: asyncpg.Pool,
    section: InvoicesSection,
    month: date,
    *,
    after: int,
    most: int,
    actor: str,
    request_id: str,
    statements: Statements = NO_STATEMENTS,
) -> Batch:
    """Issue the invoices of the next customers of a month. What cannot be issued is left for the next time.

    After the last part the alert of a closed month is raised, if nothing waits. Raises `DatabaseAway`.
    """
    issued: list[str] = []
    waiting: dict[str, int] = {}
    with database():
        page = await DUE_OF_MONTH.all(pool, month, after, most)
    for due in page:
        try:
            stored, first = await finalize(
                pool, section, due.customer_id, month, actor=actor, request_id=request_id, statements=statements
            )
        except DatabaseAway:
            raise
        except Exception as error:  # one customer's failure must not stop the others' invoices
            if not isinstance(error, Conflict):
                log.exception("the invoice of customer %d for %s was not issued", due.customer_id, month)
            code = error.code if isinstance(error, KaixuError) else "INTERNAL"
            waiting[code] = waiting.get(code, 0) + 1
            continue
        if first:
            issued.append(stored.name)
    if len(page) == most:
        return Batch(issued, waiting, page[-1].customer_id)
    await tell_if_closed(pool, section, month)
    return Batch(issued, waiting, None)


async def tell_if_closed(pool: asyncpg.Pool, section: InvoicesSection, month: date) -> None:
    """Raise the alert of a month that is closed."""
    with database():
        if month >= await this_month(pool):
            return
        counts = await state_counts(pool, month, lost_wait_h=section.lost_wait_h, needs_address=section.require_address)
    await tell_closed(pool, {month: {CODES[one.state]: one.customers for one in counts if one.state in CODES}})


def close_json(close: MonthClose) -> dict[str, Any]:
    """A month of all customers."""
    by_state = {one.state: one for one in close.counts}
    return {
        "month": f"{close.month:%Y-%m}",
        "is_set_up": close.is_set_up,
        "counts": {state: by_state[state].customers if state in by_state else 0 for state in STATES},
        "spent_usd": {state: usd(by_state[state].spent_nusd if state in by_state else 0) for state in STATES},
        "customers": [
            {
                "customer_id": one.customer_id,
                "email": one.email,
                "spent_usd": usd(one.spent_nusd),
                "state": one.state,
                "open_calls": one.open_calls,
                "lost_calls": one.lost_calls,
                "number": one.number,
                "total_cents": one.total_cents,
                "has_draft": one.drafted,
            }
            for one in close.customers
        ],
        "next_after": close.next_after,
    }
