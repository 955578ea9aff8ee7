"""`kaixu doctor`: how the gateway is doing, and what is wrong."""

from __future__ import annotations

from typing import Any

import typer

from kaixu import __version__
from kaixu.assets import asset
from kaixu.store.migrate import BOOTSTRAP, pending, steps_of

from .report import print_rows
from .session import AsJson, Session, catalog_of, with_database

#: Expired for longer than this, a reservation should have been ended by some gateway.
OVERDUE = "1 minute"


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(doctor)


def doctor(as_json: AsJson = False) -> None:
    """Look at database, schema, lanes, spool and reservations; exit 1 if something is wrong."""
    rows = with_database(examine, migrated=False)
    print_rows(rows, as_json=as_json)
    if any(row["state"] == "wrong" for row in rows):
        raise typer.Exit(1)


async def examine(session: Session) -> list[dict[str, Any]]:
    """One row a thing: what, its state ("ok", "off", "wrong"), and detail."""
    rows: list[dict[str, Any]] = []

    def row(what: str, good: bool, detail: object, *, bad: str = "wrong") -> None:
        rows.append({"what": what, "state": "ok" if good else bad, "detail": detail})

    given, pool = session.settings, session.pool
    row("version", True, __version__)
    version = await pool.fetchval("show server_version_num")
    where = "embedded" if given.database_url is None else "DATABASE_URL"
    row("postgres", int(version) >= 150000, f"{await pool.fetchval('show server_version')} ({where})")
    vector = await pool.fetchval("select default_version from pg_available_extensions where name = 'vector'")
    row("pgvector", vector is not None, vector or "not installed on the server", bad="off")
    async with pool.acquire() as connection:
        await connection.execute(BOOTSTRAP)
        needed = [step.name for step in await pending(connection, steps_of(asset("schema")))]
    row("schema", not needed, "up to date" if not needed else f"needs {', '.join(needed)}: run `kaixu migrate`")
    if not needed:
        overdue = await pool.fetchval(
            "select count(*) from kaixu.reservation where expires_at < now() - $1::text::interval", OVERDUE
        )
        row("reservations", overdue == 0, f"{overdue} overdue" if overdue else "none overdue")
        stray = await pool.fetchval("select count(*) from kaixu.usage_event_other")
        row(
            "partitions",
            stray == 0,
            f"{stray} events outside their month's partition" if stray else "in place",
            bad="off",
        )
    catalog = catalog_of(given)
    for name, state in catalog.lanes.items():
        row(f"lane {name}", state.state == "on", state.reason or "on", bad="off" if state.state == "off" else "wrong")
    spool = given.kaixu_home / "spool"
    waiting = list(spool.glob("*.jsonl"))
    row("spool", not waiting, f"{len(waiting)} files wait to be replayed" if waiting else "empty", bad="off")
    refused = list((spool / "refused").glob("*.jsonl"))
    row("refused settlements", not refused, f"{len(refused)} in {spool / 'refused'}" if refused else "none")
    return rows
