"""`kaixu failures`: which calls failed, why, and for whom."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

import typer

from kaixu.accounts.customers import find_customer
from kaixu.accounts.fields import instant
from kaixu.plugin.errors import Unprocessable
from kaixu.reports.failures import FailedCall, FailureFilter, FailureGroup, Failures, failures_json
from kaixu.reports.failures import failures as read_failures

from .examples import example
from .failure import fail
from .report import print_json, print_rows
from .session import AsJson, CommandSession, with_database

AGO = re.compile(r"([1-9][0-9]{0,5})\s*([smhdw])")
UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(epilog=example("failures --customer ada@example.com --since 2h"))(failures)


def failures(
    customer: Annotated[str | None, typer.Option(help="Id or email.")] = None,
    key: Annotated[int | None, typer.Option(min=1, help="Id of a virtual key.")] = None,
    model: Annotated[str | None, typer.Option(help="The model.")] = None,
    provider: Annotated[str | None, typer.Option(help="The lane.")] = None,
    code: Annotated[str | None, typer.Option(help="The error's code, as UPSTREAM_ERROR.")] = None,
    since: Annotated[str, typer.Option(help="How far back: 30m, 2h, 7d, or a time as 2026-11-29T14:05Z.")] = "24h",
    limit: Annotated[int, typer.Option(min=1, max=1000, help="How many calls are listed.")] = 20,
    before: Annotated[int | None, typer.Option(min=1, help="List calls before this id: the next page.")] = None,
    as_json: AsJson = False,
) -> None:
    """Show failed and refused calls: grouped by reason and deployment, and the newest ones."""
    start = start_of(since, datetime.now(UTC))

    async def work(session: CommandSession) -> Failures:
        customer_id = None if customer is None else (await find_customer(session.pool, customer)).id
        wanted = FailureFilter(start, customer_id, key, provider, model, None if code is None else code.upper(), before)
        return await read_failures(session.pool, wanted, limit=limit)

    found = with_database(work)
    if as_json:
        print_json(failures_json(found))
        return
    if not found.groups:
        typer.echo(f"no call failed since {start:%Y-%m-%d %H:%M:%S} UTC")
        return
    print_rows([group_row(group) for group in found.groups], as_json=False, title="by reason and place")
    print_rows([call_row(call) for call in found.calls], as_json=False, title="\nnewest calls (times are UTC)")
    if found.next_before_id is not None:
        typer.echo(f"\nmore: --before {found.next_before_id}")
    typer.echo("\none call in detail: kaixu trace REQUEST_ID")


def start_of(text: str, now: datetime) -> datetime:
    """The point of time that `--since` names. Ends the command if it is none."""
    if match := AGO.fullmatch(text.strip().lower()):
        try:
            return now - timedelta(**{UNITS[match[2]]: int(match[1])})
        except OverflowError:
            return datetime(1970, 1, 1, tzinfo=UTC)
    try:
        at = instant(text, "since")
    except Unprocessable:
        at = None
    if at is None:
        raise fail(f"`--since {text[:40]}` is no time", hint="Write 30m, 2h, 7d, or a time as 2026-11-29T14:05Z.")
    return at


def place(provider: str | None, model: str | None, deployment: str | None) -> str | None:
    """Lane and model, and the deployment where it has another name."""
    if provider is None:
        return None
    return f"{provider}/{model}" + (f" at {deployment}" if deployment not in (None, provider) else "")


def group_row(group: FailureGroup) -> dict[str, Any]:
    """A group as a row."""
    return {
        "calls": group.calls,
        "customers": group.customers,
        "code": group.code,
        "vendor": group.upstream_status,
        "place": place(group.provider, group.model, group.deployment),
        "last": f"{group.last_at:%m-%d %H:%M:%S}",
        "vendor's words": group.words,
    }


def call_row(call: FailedCall) -> dict[str, Any]:
    """A call as a row."""
    return {
        "at": f"{call.created_at:%m-%d %H:%M:%S}",
        "code": call.error_code,
        "status": call.http_status,
        "vendor": call.upstream_status,
        "customer": call.customer_id,
        "key": call.key_id,
        "place": place(call.provider, call.model, call.deployment),
        "ms": call.duration_ms,
        "request_id": call.request_id,
    }
