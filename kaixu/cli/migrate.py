"""`kaixu migrate`: migrate the database to this version's schema."""

from __future__ import annotations

import typer

from kaixu.gateway.database import apply_migrations, missing_migrations

from .examples import example
from .report import print_rows
from .session import AsJson, CommandSession, with_database


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(epilog=example("migrate --dry-run"))(migrate)


def migrate(
    dry_run: bool = typer.Option(False, "--dry-run", help="Only list what would be applied."),
    as_json: AsJson = False,
) -> None:
    """Apply missing migrations; safe to run from any number of machines at once."""

    async def work(session: CommandSession) -> list[str]:
        return await (missing_migrations if dry_run else apply_migrations)(session.pool)

    names = with_database(work, migrated=False)
    title = "needed" if dry_run else "applied"
    print_rows([{"file": name} for name in names], as_json=as_json, title=title)
