"""`kaixu audit`: the audit log."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from kaixu.accounts.customers import find_customer
from kaixu.reports.audit import MAX_ENTRIES, AuditEntry, AuditPage, audit_page, changes_of, page_json

from .examples import example
from .report import print_json, print_rows, shown
from .session import AsJson, CommandSession, with_database


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(epilog=example("audit --customer ada@example.com --since now-7d"))(audit)


def audit(
    actor: Annotated[
        str | None, typer.Option(help="Who: operator:ada@example.com, token:deploy, or a kind: operator, token, cli.")
    ] = None,
    action: Annotated[str | None, typer.Option(help="What: KEY_CREATE, TOPUP_MANUAL, …")] = None,
    target: Annotated[str | None, typer.Option(help="Of what: key:7, customer:3, or a kind: key.")] = None,
    customer: Annotated[str | None, typer.Option(help="Id or email.")] = None,
    request_id: Annotated[str | None, typer.Option(help="Of one request.")] = None,
    since: Annotated[str | None, typer.Option(help="From: now-7d, 2026-11-01 or 2026-11-01T12:00Z.")] = None,
    until: Annotated[str | None, typer.Option(help="Up to, the same way.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=MAX_ENTRIES, help="How many.")] = 50,
    cursor: Annotated[str | None, typer.Option(help="The next page: what the one before printed.")] = None,
    as_json: AsJson = False,
) -> None:
    """Show the audit log, newest first: who changed what, from where, before and after."""
    given: dict[str, Any] = {
        "actor": actor,
        "action": action,
        "target": target,
        "request_id": request_id,
        "since": since,
        "until": until,
        "limit": limit,
        "cursor": cursor,
    }

    async def work(session: CommandSession) -> AuditPage:
        customer_id = None if customer is None else (await find_customer(session.pool, customer)).id
        return await audit_page(session.pool, given | {"customer_id": customer_id})

    page = with_database(work)
    if as_json:
        print_json(page_json(page))
        return
    print_rows([entry_row(entry) for entry in page.entries], as_json=False, title="audit log (times are UTC)")
    if page.next_cursor is not None:
        typer.echo(f"\nmore: --cursor {page.next_cursor}")


def entry_row(entry: AuditEntry) -> dict[str, Any]:
    """An entry for printing; the fields of something new are left out."""
    changes = changes_of(entry) if entry.before and entry.after else {}
    return {
        "at": f"{entry.created_at:%Y-%m-%d %H:%M:%S}",
        "actor": entry.actor,
        "from": entry.address,
        "action": entry.action,
        "target": entry.target,
        "changes": ", ".join(f"{name}: {shown(old)} → {shown(new)}" for name, (old, new) in changes.items()) or None,
    }
