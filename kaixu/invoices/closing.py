"""Issues the invoices of all months that are closed: at the operator's word, or by the gateway itself."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from datetime import date, timedelta

import asyncpg
import msgspec

from kaixu.config.invoices_section import InvoicesSection
from kaixu.plugin.errors import Conflict, DatabaseAway, KaixuError
from kaixu.store import invoices as store
from kaixu.store.alerts import raise_month_closed
from kaixu.store.clock import this_month
from kaixu.store.pool import database

from .issue import NO_STATEMENTS, Statements, finalize

log = logging.getLogger(__name__)

#: Months read at a time.
PAGE = 500


class Closed(msgspec.Struct, frozen=True):
    """What was issued, and what was not, by the reason's code."""

    issued: list[str]
    waiting: dict[str, int]


async def finalize_all(
    pool: asyncpg.Pool,
    section: InvoicesSection,
    *,
    actor: str,
    request_id: str,
    statements: Statements = NO_STATEMENTS,
) -> Closed:
    """Issue every invoice that can be issued. Months that cannot are left for the next time. Raises `DatabaseAway`."""
    with database():
        current = await this_month(pool)
    after_customer, after_month = 0, date.min
    issued: list[str] = []
    waiting: dict[str, int] = {}
    # By month; the last one is always among them: the process may have died before it told of it.
    months: dict[date, dict[str, int]] = {month_before(current): {}}
    while True:
        with database():
            page = await store.DUE.all(pool, current, after_customer, after_month, PAGE)
        for due in page:
            try:
                stored, first = await finalize(
                    pool,
                    section,
                    due.customer_id,
                    due.month,
                    actor=actor,
                    request_id=request_id,
                    statements=statements,
                )
            except DatabaseAway:
                raise
            except Exception as error:  # one customer's failure must not stop the others' invoices
                if not isinstance(error, Conflict):
                    log.exception("the invoice of customer %d for %s was not issued", due.customer_id, due.month)
                code = error.code if isinstance(error, KaixuError) else "INTERNAL"
                waiting[code] = waiting.get(code, 0) + 1
                not_issued = months.setdefault(due.month, {})
                not_issued[code] = not_issued.get(code, 0) + 1
                continue
            months.setdefault(due.month, {})
            if first:
                issued.append(stored.name)
        if len(page) < PAGE:
            await tell_closed(pool, months)
            return Closed(issued, waiting)
        after_customer, after_month = page[-1].customer_id, page[-1].month


async def tell_closed(pool: asyncpg.Pool, months: Mapping[date, Mapping[str, int]]) -> None:
    """Raise the alert of each month whose invoices are issued, once: when none of them waits for calls any more.

    `months`: by month, how many invoices were not issued, by the reason's code.
    """
    for month, not_issued in sorted(months.items()):
        if "MONTH_WAITING" not in not_issued:
            with database():
                await raise_month_closed(pool, month, not_issued)


def month_before(month: date) -> date:
    """The first day of the month before."""
    return (month - timedelta(days=1)).replace(day=1)


async def finalize_in_background(
    pool: asyncpg.Pool, section: InvoicesSection, statements: Statements = NO_STATEMENTS
) -> None:
    """The gateway's own round, if the operator has switched it on."""
    if not section.auto_finalize or section.seller is None:
        return
    closed = await finalize_all(pool, section, actor="gateway", request_id="month-close", statements=statements)
    if closed.issued or closed.waiting:
        log.warning("invoices: %d issued; not issued, by reason: %s", len(closed.issued), closed.waiting or "none")
