"""`kaixu webhooks …`: list, show and handle again what vendors have sent to webhooks of integrations."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from kaixu.accounts.webhook_events import (
    EventRow,
    find_webhook_event,
    list_webhook_events,
    retry_webhook_event,
)
from kaixu.jobs.webhook_events import delivery_of
from kaixu.ops.sealing import Sealer
from kaixu.reports.jobs import STATUSES

from .examples import example
from .failure import fail
from .report import print_json, print_rows, shown
from .session import ACTOR, REQUEST_ID, AsJson, CommandSession, with_database

commands = typer.Typer(no_args_is_help=True, help="Webhooks of integrations: list, show, handle again.")

Name = Annotated[str, typer.Argument(help="The integration.")]
EventId = Annotated[str, typer.Argument(help="The vendor's id of the event.")]


def register(app: typer.Typer) -> None:
    """Add the group."""
    app.add_typer(commands, name="webhooks")


@commands.command("list", epilog=example("webhooks list --status failed"))
def list_events(
    integration: Annotated[str | None, typer.Option(help="Only this integration's.")] = None,
    status: Annotated[str | None, typer.Option(help=f"Of the job that handles it: {', '.join(STATUSES)}.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="The maximum number of events.")] = 50,
    as_json: AsJson = False,
) -> None:
    """List the newest events, without their bodies."""
    if status is not None and status not in STATUSES:
        raise fail(f"`--status` must be one of {', '.join(STATUSES)}")

    async def work(session: CommandSession) -> list[EventRow]:
        return await list_webhook_events(session.pool, integration=integration, status=status, limit=limit)

    print_rows([event_json(one) for one in with_database(work)], as_json=as_json, title="webhooks")


@commands.command(epilog=example("webhooks show stripe evt_1Qx2"))
def show(integration: Name, event_id: EventId, as_json: AsJson = False) -> None:
    """Show an event with its body, as long as that is kept."""

    async def work(session: CommandSession) -> dict[str, Any]:
        row = await find_webhook_event(session.pool, integration, event_id)
        body = None
        if row.payload is not None:
            secrets = await session.own_secrets("DB_ENCRYPTION_KEY")
            delivery = delivery_of(Sealer(secrets.db_encryption_key), row.job_id, row.payload)
            body = delivery.body.decode("utf-8", "replace")
        return event_json(row) | {"message": row.error_message, "body": body}

    details = with_database(work)
    if as_json:
        print_json(details)
        return
    for name, value in details.items():
        typer.echo(f"{name:<12} {'' if value is None else shown(value)}")


@commands.command(epilog=example("webhooks retry stripe evt_1Qx2"))
def retry(integration: Name, event_id: EventId, as_json: AsJson = False) -> None:
    """Handle an event again whose handler has failed."""

    async def work(session: CommandSession) -> None:
        await retry_webhook_event(session.pool, integration, event_id, actor=ACTOR, request_id=REQUEST_ID)

    with_database(work)
    if as_json:
        print_json({"ok": True, "integration": integration, "event": event_id})
    else:
        typer.echo("it will be handled again")


def event_json(row: EventRow) -> dict[str, Any]:
    """An event in a list."""
    return {
        "integration": row.integration,
        "event": row.event_id,
        "webhook": row.webhook,
        "type": row.type,
        "object": row.object,
        "received_at": row.received_at.isoformat(timespec="seconds"),
        "status": row.status or "removed",
        "attempts": row.attempts,
        "error": row.error_code,
        "job": str(row.job_id),
    }
