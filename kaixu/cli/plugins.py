"""`kaixu plugins`: all plugins with source and state, and the operations of integrations with prices."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import typer

from kaixu.catalog.catalog import Catalog
from kaixu.catalog.charge_words import describe_price
from kaixu.catalog.webhooks import kind_of
from kaixu.plugin.operation import Job, Operation
from kaixu.reports.schedules import ScheduleRow, list_schedules

from .examples import example
from .failure import CommandFailed
from .report import print_json, print_rows
from .session import AsJson, CommandSession, load_catalog, load_settings, with_database


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(epilog=example("plugins --json"))(plugins)


def plugins(as_json: AsJson = False) -> None:
    """List the plugins of kaixu.yaml: name, kind, source, version, state."""
    catalog = load_catalog(load_settings())
    clock = {row.name: row for row in schedule_rows()} if catalog.schedules else {}
    rows = [
        {
            "name": one.name,
            "kind": one.kind,
            "source": one.source,
            "where": one.where,
            "version": one.version,
            "state": one.state,
            "reason": one.reason,
        }
        for one in catalog.plugins
    ]
    if as_json:
        print_json(
            [
                row
                | {
                    "offers": list(list_offers(catalog, clock, row["where"])),
                    "sends_to": hosts_of(catalog, row["where"]),
                }
                for row in rows
            ]
        )
        return
    print_rows(rows, as_json=False, title="plugins")
    if offered := list(list_offers(catalog, clock)):
        typer.echo()
        print_rows(offered, as_json=False, title="integrations")


def hosts_of(catalog: Catalog, where: str | None) -> dict[str, str]:
    """Where the active integrations of one plugin may send, by name."""
    return {
        state.name: str(state.hosts)
        for state in catalog.integrations.values()
        if state.state == "on" and state.where == where
    }


def list_offers(catalog: Catalog, clock: dict[str, ScheduleRow], where: str | None = None) -> Iterator[dict[str, Any]]:
    """What active integrations offer: operations, jobs, schedules, webhooks, with prices; of one plugin, or of all."""
    for state in catalog.integrations.values():
        declared = state.integration
        if declared is None or state.state != "on" or where not in (None, state.where):
            continue
        priced: list[Operation | Job] = [*declared.operations, *declared.jobs]
        for one in priced:
            role = one.callers if isinstance(one, Operation) else None
            kind = "operation" if isinstance(one, Operation) else "job"
            yield offer_row(kind, one.name, price=describe_price(state, one), role=role)
        for schedule in declared.schedules:
            free = f"free: {schedule.why_free}"
            yield offer_row("schedule", schedule.name, price=free, row=clock.get(schedule.name))
        for webhook in declared.webhooks:
            yield offer_row("webhook", kind_of(state.name, webhook), price="free: a vendor sends it")


def offer_row(
    kind: str, name: str, *, price: str, role: str | None = None, row: ScheduleRow | None = None
) -> dict[str, Any]:
    """One row."""
    last = None
    if row is not None and row.last_at is not None:
        outcome = " ".join(filter(None, (row.status, row.error_code)))
        last = f"{row.last_at:%Y-%m-%d %H:%M:%S}: {outcome or 'deleted'}"
    return {
        "name": name,
        "kind": kind,
        "price": price,
        "role": role,
        "next": None if row is None else f"{row.next_at:%Y-%m-%d %H:%M:%S}",
        "last": last,
    }


def schedule_rows() -> list[ScheduleRow]:
    """The schedules in the database; none if it cannot be reached."""

    async def work(session: CommandSession) -> list[ScheduleRow]:
        return await list_schedules(session.pool)

    try:
        return with_database(work, migrated=False)
    except CommandFailed as error:
        typer.echo(f"note: the times of schedules cannot be shown: {error.message}", err=True)
        return []
