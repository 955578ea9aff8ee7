"""`kaixu trace`: the life of one call, with its times."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from typing import Annotated, Any

import typer

from kaixu.config.price import usd
from kaixu.store.trace import Trace, TracedEvent, TracedJob, TracedNote
from kaixu.store.trace import trace as look_up

from .examples import example
from .failure import fail
from .report import print_json
from .session import AsJson, CommandSession, with_database

Step = dict[str, Any]
Words = dict[tuple[int, str], str]


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(epilog=example("trace 7c0e6c9a-3f0e-4d0f-9a4e-0d9f0f6d1a2b"))(trace)


def trace(
    request_id: Annotated[str, typer.Argument(help="What the reply's header x-kaixu-request-id said.")],
    months: Annotated[int, typer.Option(min=1, max=120, help="How many months are looked through.")] = 2,
    as_json: AsJson = False,
) -> None:
    """The life of one call: admitted, tries, first word, settled, and what it cost."""
    today = datetime.now(UTC).date()
    since = today.replace(day=1)
    for _ in range(months - 1):
        since = (since - timedelta(days=1)).replace(day=1)

    async def work(session: CommandSession) -> Trace:
        return await look_up(session.pool, request_id, since=since)

    steps = steps_of(with_database(work))
    if not steps:
        raise fail(f"nothing is known of request {request_id[:128]}", hint=hint_of(since))
    if as_json:
        print_json([step | {"at": step["at"].isoformat()} for step in steps])
        return
    began = steps[0]["at"]
    for step in steps:
        after_ms = round((step["at"] - began).total_seconds() * 1000)
        typer.echo(
            f"{step['at']:%Y-%m-%d %H:%M:%S}.{step['at'].microsecond // 1000:03d}  {after_ms:>+8} ms  {line(step)}"
        )


def hint_of(since: date) -> str:
    """What may help."""
    return (
        f"Calls since {since} were looked through; --months looks further back. "
        "Refused calls are shown for as long as the monitor keeps them."
    )


def line(step: Step) -> str:
    """A step in words."""
    return f"{step['what']:<10} {step['detail']}"


def steps_of(found: Trace) -> list[Step]:
    """Everything that happened, in order."""
    said = vendors_words(found.notes)
    steps = [step for event in found.events for step in of_event(event, said)]
    steps += [step for job in found.jobs for step in of_job(job)]
    for note in found.notes:
        steps += of_note(note, {} if note.kind == "tries" else said)
    for hold in found.holds:
        who = f"{hold.operation} {hold.provider}/{hold.model}"
        detail = f"{who}: ${usd(hold.held_nusd)} held, until {hold.expires_at:%H:%M:%S}"
        steps.append({"at": hold.created_at, "what": "running", "detail": detail})
    return sorted(steps, key=lambda step: step["at"])


def vendors_words(notes: list[TracedNote]) -> Words:
    """What vendors said when they refused: by the number of the try, and where it was made."""
    told = [one for note in notes if note.kind == "tries" for one in note.extra.get("vendor") or ()]
    return {(one["try"], one["deployment"]): vendor_line(one) for one in told}


def of_event(event: TracedEvent, said_by: Words) -> Iterator[Step]:
    """A call that was billed: its steps are in its usage event."""
    who = f"customer {event.customer_id}, key {event.key_id}"
    yield {
        "at": event.admitted_at,
        "what": "admitted",
        "detail": f"{event.operation} {event.provider}/{event.model}, {who}",
    }
    course = (event.units or {}).get("call", {})
    if course.get("cache") == "hit":
        yield {"at": event.admitted_at, "what": "cache", "detail": "answered from the cache, no vendor was asked"}
    tried = course.get("tried")
    if tried is None and course.get("deployment") and course.get("tries"):
        tried = [{"deployment": course["deployment"], "at_ms": 0, "took_ms": course.get("first_ms", 0), "error": None}]
    for number, one in enumerate(tried or [], start=1):
        said = "answered" if one["error"] is None else f"failed, {one['error']}"
        at = event.admitted_at + timedelta(milliseconds=one["at_ms"])
        words = said_by.get((number, one["deployment"]), "")
        detail = f"{one['deployment']}: {said} after {one['took_ms']} ms{words}"
        yield {"at": at, "what": f"try {number}", "detail": detail}
    if "first_ms" in course:
        at = event.admitted_at + timedelta(milliseconds=course["first_ms"])
        yield {"at": at, "what": "first word", "detail": f"{course.get('deltas', 0)} deltas follow in all"}
    units = {name: n for name, n in (event.units or {}).items() if name != "call"}
    counted = (
        ", ".join(f"{n} {name}" for name, n in units.items()) or f"{event.input_tokens} in, {event.output_tokens} out"
    )
    yield {
        "at": event.admitted_at + timedelta(milliseconds=event.duration_ms),
        "what": "settled",
        "detail": f"{event.end_reason}: {counted} ({event.usage_source}); ${usd(event.cost_nusd)}, "
        + (f"vendor ${usd(event.vendor_cost_nusd)}" if event.vendor_cost_known else "vendor cost unknown"),
    }


def of_job(job: TracedJob) -> Iterator[Step]:
    """A job's own steps; its calls are steps of their own."""
    name = f"job {job.id} ({job.kind})"
    yield {"at": job.created_at, "what": "handed in", "detail": name}
    if job.started_at is not None:
        yield {"at": job.started_at, "what": "taken up", "detail": name}
    if job.completed_at is not None:
        why = f", {job.error_code}" if job.error_code else ""
        lost = f", {job.losses} workers lost" if job.losses else ""
        detail = f"{name}: {job.status}{why}; {job.attempts} attempts failed{lost}"
        yield {"at": job.completed_at, "what": "ended", "detail": detail}


def of_note(note: TracedNote, told: Words) -> Iterator[Step]:
    """What the monitor noted. What vendors said stands with the tries, where there are any (`told`)."""
    said_by = vendors_words([note])
    for number, one in enumerate(note.extra.get("tried") or [], start=1):
        said = "answered" if one["error"] is None else f"failed, {one['error']}"
        words = said_by.get((number, one["deployment"]), "")
        detail = f"{one['deployment']}: {said} after {one['took_ms']} ms{words}"
        yield {"at": note.created_at, "what": f"try {number}", "detail": detail}
    status = f"{note.http_status} " if note.http_status else ""
    if note.kind != "tries":
        detail = f"{status}{note.error_code or ''}: {note.error_message or ''}".strip(": ")
        vendor = note.extra.get("vendor")
        if not told and isinstance(vendor, dict) and note.kind == "error":
            detail += vendor_line(vendor)
        yield {"at": note.created_at, "what": note.kind, "detail": detail}


def vendor_line(said: dict[str, Any]) -> str:
    """A vendor's refusal: its status, what we take it for, and its own words."""
    reason = f" ({said['reason']})" if said.get("reason") else ""
    words = f", {said['words']}" if said.get("words") else ""
    return f"; the vendor said {said.get('status') or 'in its answer'}{reason}{words}"
