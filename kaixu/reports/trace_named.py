"""The life of a call by any of its names: a usage event's id, a ticket, or a request id."""

from __future__ import annotations

from datetime import date, timedelta

import asyncpg
import msgspec

from kaixu.plugin.errors import NotFound
from kaixu.store.clock import this_month
from kaixu.store.query import Connection

from .explain import BY_ID, BY_TICKET, months_of_ticket, parse_ticket
from .snapshot import report_snapshot
from .trace import KnownCall, Step, request_of_ticket, trace


class Trace(msgspec.Struct, frozen=True):
    """The steps of a request."""

    request_id: str
    steps: list[Step]


async def trace_named(pool: asyncpg.Pool, named: str, *, months: int) -> Trace:
    """The steps of a request. An event's id finds it at once; for a request id the last `months` are searched.

    Raises `NotFound`, `DatabaseAway`.
    """
    async with report_snapshot(pool) as db:
        since = await this_month(db)
        for _ in range(months - 1):
            since = (since - timedelta(days=1)).replace(day=1)
        request_id, known = await request_of(db, named, since)
        steps = await trace(db, request_id, since=since if known is None else known.created_at.date().replace(day=1),
                            known=known)  # fmt: skip
    if not steps:
        raise NotFound(
            f"there is no request {named[:100]}",
            hint=f"The last {months} months were searched; refused calls are known as long as the monitor keeps them.",
        )
    return Trace(request_id, steps)


async def request_of(db: Connection, named: str, since: date) -> tuple[str, KnownCall | None]:
    """The request id of an event's id or a ticket, and its call; anything else is a request id."""
    if named.isascii() and named.isdigit() and len(named) < 20 and int(named) < 2**63:
        event = await BY_ID.one(db, int(named), None, None, 1)
        if event is not None:
            return event.request_id, KnownCall(event.customer_id, event.created_at)
    if (ticket := parse_ticket(named)) is not None:
        event = await BY_TICKET.one(db, ticket, None, None, 1, months_of_ticket(ticket))
        if event is not None:
            return event.request_id, KnownCall(event.customer_id, event.created_at)
        return await request_of_ticket(db, ticket, since=since) or named, None
    return named, None
