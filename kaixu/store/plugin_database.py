"""What an integration's handlers have of the database: a transaction in their own schema, under their own role."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID

import asyncpg
import msgspec

from kaixu.plugin.errors import Conflict, TicketClosed, TooLarge

from .plugin_schema import refused, role_of, schema_of
from .pool import database
from .query import Connection

#: A statement gets so many seconds, and a transaction may stand idle so long.
STATEMENT_S = 10
IDLE_S = 15

#: So many rows of one statement.
MOST_ROWS = 10_000

#: Hands a job in: its name, its payload, a delay in seconds, an idempotency key.
Enqueue = Callable[[Connection, str, msgspec.Struct, float, str | None], Awaitable[UUID]]


class PluginTransaction:
    """See `kaixu.plugin.Database`."""

    def __init__(self, connection: Any, role: str, is_open: Callable[[], bool], enqueue: Enqueue) -> None:
        self._connection = connection
        self._role = role
        self._is_open = is_open
        self._enqueue = enqueue
        self._over = False

    def _checked(self, sql: str) -> Any:
        if self._over or not self._is_open():
            raise TicketClosed("the call has been settled; its database is closed")
        if why := refused(sql):
            raise PermissionError(why)
        return self._connection

    async def fetch(self, sql: str, *args: Any) -> Sequence[Mapping[str, Any]]:
        """Every row. Raises `TooLarge` for more than `MOST_ROWS`."""
        statement = await self._checked(sql).prepare(sql)  # one statement only: Postgres prepares no more
        rows = await statement.fetch(*args)
        if len(rows) > MOST_ROWS:
            raise TooLarge(f"a statement gave more than {MOST_ROWS} rows")
        return [dict(row) for row in rows]

    async def fetchrow(self, sql: str, *args: Any) -> Mapping[str, Any] | None:
        """The first row."""
        row = await (await self._checked(sql).prepare(sql)).fetchrow(*args)
        return None if row is None else dict(row)

    async def fetchval(self, sql: str, *args: Any) -> Any:
        """The first row's first column."""
        return await (await self._checked(sql).prepare(sql)).fetchval(*args)

    async def execute(self, sql: str, *args: Any) -> str:
        """The command's tag."""
        statement = await self._checked(sql).prepare(sql)
        await statement.fetch(*args)
        return str(statement.get_statusmsg())

    async def enqueue(self, job: str, payload: msgspec.Struct, *, delay_s: float = 0, key: str | None = None) -> UUID:
        """A job, in this transaction."""
        connection = self._checked("")
        await connection.execute("set local role none")
        try:
            return await self._enqueue(connection, job, payload, delay_s, key)
        finally:
            await connection.execute(f"set local role {self._role}")


@asynccontextmanager
async def plugin_transaction(
    pool: asyncpg.Pool, name: str, *, has_tables: bool, is_open: Callable[[], bool], enqueue: Enqueue
) -> AsyncIterator[PluginTransaction]:
    """A transaction of integration `name`; it commits when the block is left without an error.

    Raises `DatabaseAway`; a constraint that is violated comes out as `Conflict` unless the handler catches it.
    """
    role = role_of(name) if has_tables else "none"
    with database():
        async with pool.acquire() as connection, connection.transaction():
            await connection.execute(
                f"set local statement_timeout = '{STATEMENT_S}s'; "
                f"set local idle_in_transaction_session_timeout = '{IDLE_S}s'"
            )
            if has_tables:
                await connection.execute(f"set local role {role}; set local search_path = {schema_of(name)}")
            transaction = PluginTransaction(connection, role, is_open, enqueue)
            try:
                yield transaction
            except asyncpg.UniqueViolationError as error:
                raise Conflict("this is there already") from error
            finally:
                transaction._over = True
            if has_tables and await connection.fetchval("select current_user::text") != role:
                raise PermissionError("a plugin may not change roles or settings")
