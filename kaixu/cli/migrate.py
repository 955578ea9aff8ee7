"""`kaixu migrate`: bring the database to the schema of this version."""

from __future__ import annotations

import typer

from kaixu.store.migrate import migrate as apply
from kaixu.store.partitions import ensure_partitions
from kaixu.store.query import DatabaseSession as Connection

from .examples import example
from .report import print_rows
from .session import AsJson, CommandSession, with_database


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(epilog=example("migrate --dry-run"))(migrate)


def migrate(
    dry_run: bool = typer.Option(False, "--dry-run", help="Only say what would be applied."),
    as_json: AsJson = False,
) -> None:
    """Apply what the database lacks; safe to run from any number of machines at once."""

    async def work(session: CommandSession) -> list[str]:
        async with session.pool.acquire() as connection:
            if dry_run:
                return await needed(connection)
            applied = await apply(connection)
            await ensure_partitions(connection)
            return applied

    names = with_database(work, migrated=False)
    title = "needed" if dry_run else "applied"
    print_rows([{"file": name} for name in names], as_json=as_json, title=title)


async def needed(connection: Connection) -> list[str]:
    """What the database lacks. Raises `MigrationError`.

    Nothing stays of the question, not even the table that it is asked of.
    """
    transaction = connection.transaction()
    await transaction.start()
    try:
        return await apply(connection, dry_run=True)
    finally:
        await transaction.rollback()
