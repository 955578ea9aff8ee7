"""`kaixu usage export`: usage as a file, as `admin-export` gives it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import typer

from kaixu.accounts.customers import find_customer
from kaixu.reports.export import read_export
from kaixu.reports.export_copy import Exports, file_name

from .report import print_record
from .session import AsJson, CommandSession, with_database


def export(
    customer: str = typer.Option("all", help="Id or email; default: all customers."),
    kind: str = typer.Option("events", "--type", help="events, summary or invoice."),
    month: str = typer.Option(None, help="The month, as 2026-11; default: this one."),
    since: str = typer.Option(None, "--from", help="From this day or moment on, or now-24h; instead of a month."),
    until: str = typer.Option(None, "--to", help="Until the end of this day, or this moment."),
    key: str = typer.Option(None, help="Only the key with this id, and the keys that it replaced."),
    provider: str = typer.Option(None, help="Only this provider."),
    model: str = typer.Option(None, help="Only this model."),
    app: str = typer.Option(None, help="Only calls with this x-kaixu-app."),
    end_user: str = typer.Option(None, help="Only calls of this end user."),
    columns: str = typer.Option(None, help="Columns, with commas between them."),
    limit: str = typer.Option("all", help="At most so many rows; default: all."),
    file_format: str = typer.Option("csv", "--format", help="csv or ndjson."),
    out: Path = typer.Option(None, help="The file; default: a name with month and customer, in this folder."),
    as_json: AsJson = False,
) -> None:
    """Export calls, a summary or an invoice to a file; the last line has the number of rows.

    It is written to FILE.part and renamed when it is whole. A broken one gets `-partial` in its name.
    """

    async def work(session: CommandSession) -> dict[str, Any]:
        customer_id: object = "all"
        if customer != "all":
            customer_id = (await find_customer(session.pool, customer)).id
        wanted = {
            "customer_id": customer_id, "type": kind, "month": month, "from": since, "to": until, "api_key_id": key,
            "provider": provider, "model": model, "app": app, "end_user": end_user, "columns": columns,
            "limit": limit, "format": file_format,
        }  # fmt: skip
        exports = Exports(session.pool)
        export = read_export(wanted, await exports.clock())
        subject = await exports.find_subject(export)
        path = out or Path(file_name(export, subject))
        part = path.with_name(f"{path.name}.part")
        try:
            with part.open("wb") as file:

                async def write(data: bytes) -> None:
                    file.write(data)

                rows = await exports.write(export, subject, write)
                file.flush()
                os.fsync(file.fileno())
        except BaseException:
            keep_partial(part, path)
            raise
        part.replace(path)
        return {"file": str(path), "rows": rows}

    print_record(with_database(work), as_json=as_json)


def keep_partial(part: Path, path: Path) -> None:
    """Give a broken file its name; one without a line is removed."""
    if not part.exists():
        return
    if not part.stat().st_size:
        part.unlink()
        return
    part.replace(path.with_name(f"{path.stem}-partial{path.suffix}"))
