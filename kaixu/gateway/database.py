"""The gateway's database, as commands open it: the operator's own, or the embedded one."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

import asyncpg

from kaixu.config.environment import Settings
from kaixu.store.embedded import EmbeddedPostgres
from kaixu.store.migrate import migrate
from kaixu.store.partitions import ensure_partitions
from kaixu.store.pool import open_pool

#: What Postgres answers where the schema is missing, or older than this code.
NO_SCHEMA = (
    asyncpg.InvalidSchemaNameError,
    asyncpg.UndefinedTableError,
    asyncpg.UndefinedFunctionError,
    asyncpg.UndefinedColumnError,
)


@contextmanager
def database_address(settings: Settings) -> Iterator[str]:
    """The address (a DSN). The embedded database is started, and stays up afterwards where a gateway shares it."""
    if settings.database_url is not None:
        yield settings.database_url.get_secret_value()
        return
    embedded = EmbeddedPostgres(settings.kaixu_home)
    dsn = embedded.start()
    try:
        yield dsn
    finally:
        embedded.server.cleanup()


@asynccontextmanager
async def command_pool(dsn: str, settings: Settings, *, migrated: bool) -> AsyncIterator[asyncpg.Pool]:
    """Connections for one command; `migrated` brings the schema up to date first.

    Raises `DatabaseAway`, `DatabaseRefused`, `MigrationError`.
    """
    # Nobody waits behind a command: its statements have no time limit.
    pool = await open_pool(dsn, most=2, pooler=settings.kaixu_pooler, statement_s=None)
    try:
        if migrated:
            async with pool.acquire() as connection:
                await migrate(connection)
        yield pool
    finally:
        await pool.close()


async def apply_migrations(pool: asyncpg.Pool) -> list[str]:
    """Bring the schema up to date, with the partitions of the next months; the files that were applied.

    Raises `MigrationError`.
    """
    async with pool.acquire() as connection:
        applied = await migrate(connection)
        await ensure_partitions(connection)
    return applied


async def missing_migrations(pool: asyncpg.Pool) -> list[str]:
    """The files that the database lacks. Changes nothing. Raises `MigrationError`."""
    async with pool.acquire() as connection:
        transaction = connection.transaction()
        await transaction.start()
        try:
            return await migrate(connection, dry_run=True)
        finally:
            await transaction.rollback()  # the migrations' own table, too, where it was not there
