"""`kaixu trace`: the steps of one call, with times."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Annotated
from uuid import UUID

import typer

from kaixu.reports.tail_line import harmless
from kaixu.reports.trace import Step, request_of_ticket, trace_json
from kaixu.reports.trace import trace as read_trace

from .examples import example
from .failure import fail
from .report import print_json
from .session import AsJson, CommandSession, with_database


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(epilog=example("trace 7c0e6c9a-3f0e-4d0f-9a4e-0d9f0f6d1a2b"))(trace)


def trace(
    request_id: Annotated[str, typer.Argument(help="The reply's header x-kaixu-request-id, or a ticket.")],
    months: Annotated[int, typer.Option(min=1, max=120, help="How many months to search.")] = 2,
    as_json: AsJson = False,
) -> None:
    """Trace one call: who made it, its tries, first output and cost, or why it failed."""
    since = datetime.now(UTC).date().replace(day=1)
    for _ in range(months - 1):
        since = (since - timedelta(days=1)).replace(day=1)

    async def work(session: CommandSession) -> list[Step]:
        steps = await read_trace(session.pool, request_id, since=since)
        if not steps and (ticket := uuid_or_none(request_id)) is not None:
            found = await request_of_ticket(session.pool, ticket, since=since)
            steps = [] if found is None else await read_trace(session.pool, found, since=since)
        return steps

    steps = with_database(work)
    if not steps:
        raise fail(
            f"there is no request `{request_id[:128]}`",
            hint=f"Calls since {since} were searched; --months searches further back. "
            "Refused calls are known only as long as the monitor stores them.",
        )
    if as_json:
        print_json(trace_json(steps))
        return
    began, width = steps[0].at, max(len(step.what) for step in steps)
    for step in steps:
        after_ms = round((step.at - began).total_seconds() * 1000)
        at = f"{step.at:%Y-%m-%d %H:%M:%S}.{step.at.microsecond // 1000:03d}"
        typer.echo(f"{at}  {after_ms:>+8} ms  {step.what:<{width}}  {harmless(step.detail)}")


def uuid_or_none(text: str) -> UUID | None:
    """A ticket's id, if the text is one."""
    try:
        return UUID(text)
    except ValueError:
        return None
