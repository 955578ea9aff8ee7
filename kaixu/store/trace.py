"""Everything that is known of one request, by its id: reservations, usage events, jobs, and what the monitor noted.

Few ask for it, so no index pays for itself: the tables are read, the newest months first.
"""

from __future__ import annotations

from datetime import date, datetime
from typing import Any
from uuid import UUID

import msgspec

from .query import Connection, Query


class TracedEvent(msgspec.Struct, frozen=True):
    """A call that was billed."""

    ticket: UUID
    customer_id: int
    key_id: int
    operation: str
    provider: str
    model: str
    cost_nusd: int
    vendor_cost_nusd: int
    vendor_cost_known: bool
    input_tokens: int
    output_tokens: int
    units: dict[str, Any] | None
    usage_source: str
    end_reason: str
    admitted_at: datetime
    duration_ms: int
    created_at: datetime


class TracedHold(msgspec.Struct, frozen=True):
    """A call that runs."""

    ticket: UUID
    customer_id: int
    key_id: int
    operation: str
    provider: str
    model: str
    held_nusd: int
    created_at: datetime
    expires_at: datetime


class TracedJob(msgspec.Struct, frozen=True):
    """A job."""

    id: UUID
    kind: str
    status: str
    customer_id: int | None
    attempts: int
    losses: int
    error_code: str | None
    created_at: datetime
    started_at: datetime | None
    completed_at: datetime | None


class TracedNote(msgspec.Struct, frozen=True):
    """What the monitor noted."""

    kind: str
    level: str
    path: str | None
    http_status: int | None
    error_code: str | None
    error_message: str | None
    upstream_status: int | None
    extra: dict[str, Any]
    created_at: datetime


EVENTS = Query(
    TracedEvent,
    """
    select ticket, customer_id, key_id, operation, provider, model, cost_nusd, vendor_cost_nusd, vendor_cost_known,
           input_tokens, output_tokens, units, usage_source, end_reason, admitted_at, duration_ms, created_at
      from kaixu.usage_event where request_id = $1 and month >= $2 order by admitted_at limit 1000
    """,
)

HOLDS = Query(
    TracedHold,
    """
    select ticket, customer_id, key_id, operation, provider, model, held_nusd, created_at, expires_at
      from kaixu.reservation where request_id = $1 order by created_at limit 1000
    """,
)

JOBS = Query(
    TracedJob,
    """
    select id, kind, status, customer_id, attempts, losses, error_code, created_at, started_at, completed_at
      from kaixu.job where request_id = $1 order by created_at limit 1000
    """,
)

NOTES = Query(
    TracedNote,
    """
    select kind, level, path, http_status, error_code, error_message, upstream_status, extra, created_at
      from kaixu.gateway_event where request_id = $1 order by id limit 1000
    """,
)


class Trace(msgspec.Struct, frozen=True):
    """All of it."""

    events: list[TracedEvent]
    holds: list[TracedHold]
    jobs: list[TracedJob]
    notes: list[TracedNote]


async def trace(db: Connection, request_id: str, *, since: date) -> Trace:
    """What is known of a request since that month."""
    return Trace(
        await EVENTS.all(db, request_id, since),
        await HOLDS.all(db, request_id),
        await JOBS.all(db, request_id),
        await NOTES.all(db, request_id),
    )
