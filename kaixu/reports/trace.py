"""Trace one request by its id: reservations, usage events, jobs and monitor events, in order of time.

It is used rarely, so request ids have no index.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, datetime, timedelta
from typing import Any
from uuid import UUID

import msgspec

from kaixu.config.price import usd
from kaixu.store.query import Connection, Query


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
    """A call in flight."""

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


class TracedMonitorEvent(msgspec.Struct, frozen=True):
    """An event of the monitor."""

    kind: str
    level: str
    function_name: str | None
    method: str | None
    path: str | None
    customer_id: int | None
    key_id: int | None
    provider: str | None
    model: str | None
    http_status: int | None
    error_code: str | None
    error_message: str | None
    upstream_status: int | None
    extra: dict[str, Any]
    created_at: datetime


class RequestId(msgspec.Struct, frozen=True):
    """The id of a request."""

    request_id: str | None


EVENTS = Query(
    TracedEvent,
    """
    select ticket, customer_id, key_id, operation, provider, model, cost_nusd, vendor_cost_nusd, vendor_cost_known,
           input_tokens, output_tokens, units, usage_source, end_reason, admitted_at, duration_ms, created_at
      from kaixu.usage_event where request_id = $1 and month >= $2 order by admitted_at limit 1000
    """,
)

# The calls of a request of which one is known: those of the same customer within a day of it, by their index.
EVENTS_NEAR = Query(
    TracedEvent,
    """
    select ticket, customer_id, key_id, operation, provider, model, cost_nusd, vendor_cost_nusd, vendor_cost_known,
           input_tokens, output_tokens, units, usage_source, end_reason, admitted_at, duration_ms, created_at
      from kaixu.usage_event
     where request_id = $1 and month >= $2 and customer_id = $3
       and created_at >= $4::timestamptz - interval '1 day' and created_at < $4::timestamptz + interval '1 day'
     order by admitted_at limit 1000
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

MONITOR_EVENTS = Query(
    TracedMonitorEvent,
    """
    select coalesce(detail, kind) as kind, level, function_name, method, path, customer_id, key_id, provider, model,
           http_status, error_code, error_message, upstream_status, extra, created_at
      from kaixu.gateway_event where request_id = $1 order by id limit 1000
    """,
)


class Step(msgspec.Struct, frozen=True):
    """One step of a request."""

    at: datetime
    what: str
    detail: str


#: The number of a try and its deployment → the vendor's error.
VendorReplies = dict[tuple[int, str], str]


REQUEST_OF_TICKET = Query(
    RequestId,
    """
    select request_id from kaixu.usage_event where ticket = $1 and month >= $2
     union select request_id from kaixu.reservation where ticket = $1
     union select request_id from kaixu.gateway_event where extra ->> 'ticket' = $1::text and created_at >= $2::date
     limit 1
    """,
)


async def request_of_ticket(db: Connection, ticket: UUID, *, since: date) -> str | None:
    """The request id of a ticket; None if the ticket is unknown."""
    found = await REQUEST_OF_TICKET.one(db, ticket, since)
    return None if found is None else found.request_id


class KnownCall(msgspec.Struct, frozen=True):
    """A call of a request: whose it was, and when it was billed."""

    customer_id: int
    created_at: datetime


async def trace(db: Connection, request_id: str, *, since: date, known: KnownCall | None = None) -> list[Step]:
    """The steps of a request since a month, in order; empty if the request is unknown. `known`: one of its calls."""
    monitored = await MONITOR_EVENTS.all(db, request_id)
    replies = vendor_replies(monitored)
    if known is None:
        billed = await EVENTS.all(db, request_id, since)
    else:
        billed = await EVENTS_NEAR.all(db, request_id, since, known.customer_id, known.created_at)
    billed_tickets = {str(event.ticket) for event in billed}
    has_failed = any("tried" in event.extra for event in monitored if is_failure(event))
    steps = [step for event in billed for step in call_steps(event, replies)]
    steps += [step for job in await JOBS.all(db, request_id) for step in job_steps(job)]
    for event in monitored:
        if is_failure(event):
            steps += failure_steps(event, is_billed=event.extra.get("ticket") in billed_tickets)
        elif not (event.kind == "tries" and has_failed):  # else the failure's own event has the tries
            steps += monitor_steps(event, {} if event.kind == "tries" else replies)
    steps += [hold_step(hold) for hold in await HOLDS.all(db, request_id)]
    return sorted(steps, key=lambda step: step.at)


def trace_json(steps: list[Step]) -> list[dict[str, str]]:
    """The steps."""
    return [{"at": step.at.isoformat(), "what": step.what, "detail": step.detail} for step in steps]


def vendor_replies(events: list[TracedMonitorEvent]) -> VendorReplies:
    """The vendors' errors, by try."""
    refusals = [one for event in events if event.kind == "tries" for one in event.extra.get("vendor") or ()]
    found = {(one["try"], one["deployment"]): vendor_reply(one) for one in refusals}
    for event in events:
        if is_failure(event):
            for number, one in enumerate(event.extra.get("tried") or (), start=1):
                found.setdefault((number, one["deployment"]), reply_of_try(one))
    return found


def call_steps(event: TracedEvent, replies: VendorReplies) -> Iterator[Step]:
    """The steps of a billed call, from its usage event."""
    model = f"{event.operation} {event.provider}/{event.model}"
    yield Step(event.admitted_at, "admitted", f"{model}, customer {event.customer_id}, key {event.key_id}")
    course = (event.units or {}).get("call", {})
    if course.get("cache") == "hit":
        yield Step(event.admitted_at, "cache", "answered from the cache, no vendor was called")
    tries = course.get("tried")
    if tries is None and course.get("deployment") and course.get("tries"):
        tries = [{"deployment": course["deployment"], "at_ms": 0, "took_ms": course.get("first_ms", 0), "error": None}]
    for number, one in enumerate(tries or [], start=1):
        at = event.admitted_at + timedelta(milliseconds=one["at_ms"])
        yield Step(at, f"try {number}", try_detail(number, one, replies))
    if "first_ms" in course:
        at = event.admitted_at + timedelta(milliseconds=course["first_ms"])
        yield Step(at, "first output", f"{course.get('deltas', 0)} pieces in all")
    units = {name: n for name, n in (event.units or {}).items() if name != "call"}
    counted = (
        ", ".join(f"{n} {name}" for name, n in units.items()) or f"{event.input_tokens} in, {event.output_tokens} out"
    )
    vendor = f"vendor ${usd(event.vendor_cost_nusd)}" if event.vendor_cost_known else "vendor cost unknown"
    yield Step(
        event.admitted_at + timedelta(milliseconds=event.duration_ms),
        "settled",
        f"{event.end_reason}: {counted} ({event.usage_source}); ${usd(event.cost_nusd)}, {vendor}",
    )


def job_steps(job: TracedJob) -> Iterator[Step]:
    """The steps of a job, without those of its calls."""
    name = f"job {job.id} ({job.kind})"
    yield Step(job.created_at, "submitted", name)
    if job.started_at is not None:
        yield Step(job.started_at, "started", name)
    if job.completed_at is not None:
        why = f", {job.error_code}" if job.error_code else ""
        lost = f", {job.losses} workers lost" if job.losses else ""
        yield Step(job.completed_at, "ended", f"{name}: {job.status}{why}; {job.attempts} attempts failed{lost}")


def hold_step(hold: TracedHold) -> Step:
    """A call in flight."""
    model = f"{hold.operation} {hold.provider}/{hold.model}"
    return Step(hold.created_at, "running", f"{model}: ${usd(hold.held_nusd)} held, until {hold.expires_at:%H:%M:%S}")


def is_failure(event: TracedMonitorEvent) -> bool:
    """Whether it is the event of a call that failed or was refused (see `kaixu.ops.failure_events`)."""
    return "failed_at" in event.extra


def failure_steps(event: TracedMonitorEvent, *, is_billed: bool) -> Iterator[Step]:
    """The steps of a call that failed, with their own times. `is_billed`: its usage event has the tries."""
    extra = event.extra
    who = f"customer {event.customer_id}, key {event.key_id}"
    what = f"{event.function_name} {event.provider}/{event.model}"
    if (began_at := time_in(extra, "began_at")) is not None:
        yield Step(began_at, "received", f"{event.method} {event.path}")
    admitted_at, tries = time_in(extra, "admitted_at"), extra.get("tried") or []
    if admitted_at is not None and not is_billed:
        yield Step(admitted_at, "admitted", f"{what}, {who}")
        for number, one in enumerate(tries, start=1):
            at = admitted_at + timedelta(milliseconds=one["at_ms"])
            yield Step(at, f"try {number}", try_detail(number, one, {(number, one["deployment"]): reply_of_try(one)}))
    detail = f"{event.http_status} {event.error_code}: {event.error_message}"
    if admitted_at is None and event.customer_id is not None:
        detail += f" ({what}, {who})"
    vendor = extra.get("vendor")
    if isinstance(vendor, dict) and (is_billed or not tries):
        detail += vendor_reply(vendor)
    if extra.get("client_gone"):
        detail += "; the client had gone"
    yield Step(time_in(extra, "failed_at") or event.created_at, event.kind, detail)


def time_in(extra: dict[str, Any], name: str) -> datetime | None:
    """A point of time that an event has."""
    return None if extra.get(name) is None else datetime.fromisoformat(extra[name])


def reply_of_try(one: dict[str, Any]) -> str:
    """The vendor's error that a failure's event has for a try, if any."""
    if one.get("upstream_status") is None and one.get("vendor_words") is None:
        return ""
    return vendor_reply(
        {"status": one.get("upstream_status"), "reason": one.get("reason"), "words": one.get("vendor_words")}
    )


def monitor_steps(event: TracedMonitorEvent, replies: VendorReplies) -> Iterator[Step]:
    """The steps of a monitor event. The vendors' errors are shown here only if `replies` is empty."""
    own_replies = vendor_replies([event])
    for number, one in enumerate(event.extra.get("tried") or [], start=1):
        yield Step(event.created_at, f"try {number}", try_detail(number, one, own_replies))
    if event.kind == "tries":
        return
    status = f"{event.http_status} " if event.http_status else ""
    detail = f"{status}{event.error_code or ''}: {event.error_message or ''}".strip(": ")
    vendor = event.extra.get("vendor")
    if not replies and isinstance(vendor, dict) and event.kind == "error":
        detail += vendor_reply(vendor)
    yield Step(event.created_at, event.kind, detail)


def try_detail(number: int, one: dict[str, Any], replies: VendorReplies) -> str:
    """How one try went."""
    outcome = "answered" if one.get("error") is None else f"failed, {one['error']}"
    reply = replies.get((number, one["deployment"]), "")
    return f"{one['deployment']}: {outcome} after {one['took_ms']} ms{reply}"


def vendor_reply(refusal: dict[str, Any]) -> str:
    """A vendor's error: its status, our classification, and its own message."""
    reason = f" ({refusal['reason']})" if refusal.get("reason") else ""
    words = f", {refusal['words']}" if refusal.get("words") else ""
    return f"; vendor's error: {refusal.get('status') or 'in its answer'}{reason}{words}"
