"""Open the gateway's database for commands: the operator's own, or the embedded one."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

import asyncpg

from kaixu.config.database_errors import MigrationError
from kaixu.config.environment import Settings
from kaixu.store.embedded import EmbeddedPostgres
from kaixu.store.migrate import migrate, provide_vector
from kaixu.store.partitions import ensure_partitions
from kaixu.store.pool import NEEDS_POOLER, is_pooled, open_pool

#: Errors of Postgres if the schema is missing or too old.
NO_SCHEMA = (
    asyncpg.InvalidSchemaNameError,
    asyncpg.UndefinedTableError,
    asyncpg.UndefinedFunctionError,
    asyncpg.UndefinedColumnError,
)


@contextmanager
def database_address(settings: Settings) -> Iterator[str]:
    """The DSN. The embedded database is started; it keeps running if a gateway shares it."""
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
    """Connections for one command; `migrated`: migrate the schema first.

    Raises `DatabaseAway`, `DatabaseRefused`, `MigrationError`.
    """
    # A command may take long, so its statements have no time limit.
    pool = await open_pool(dsn, most=2, pooler=settings.kaixu_pooler, statement_s=None)
    try:
        if migrated:
            async with pool.acquire() as connection:
                await migrate(connection)
        yield pool
    finally:
        await pool.close()


async def database_mistakes(pool: asyncpg.Pool, *, pooler: bool) -> list[str]:
    """What a gateway could not work with: a Postgres without pgvector, or a pooler that it is not told about.

    Changes nothing.
    """
    wrong = []
    async with pool.acquire() as connection:
        try:
            await provide_vector(connection, dry_run=True)
        except MigrationError as error:
            wrong.append(str(error))
        if not pooler and await is_pooled(connection):
            wrong.append(NEEDS_POOLER)
    return wrong


async def apply_migrations(pool: asyncpg.Pool) -> list[str]:
    """Migrate the schema and create the partitions of the next months; return the applied files.

    Raises `MigrationError`.
    """
    async with pool.acquire() as connection:
        applied = await migrate(connection)
        await ensure_partitions(connection)
    return applied


async def missing_migrations(pool: asyncpg.Pool) -> list[str]:
    """The files that are not applied yet. Changes nothing. Raises `MigrationError`."""
    async with pool.acquire() as connection:
        transaction = connection.transaction()
        await transaction.start()
        try:
            return await migrate(connection, dry_run=True)
        finally:
            await transaction.rollback()  # also removes the migrations' own table if it was created
