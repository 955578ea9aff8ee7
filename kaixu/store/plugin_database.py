"""What an integration's handlers have of the database: a transaction in their own schema, under their own role."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
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


class NotAllowed(Exception):
    """A plugin's statement reaches for what is not its own."""


class PluginTransaction:
    """See `kaixu.plugin.Database`. Raises `NotAllowed`, `TicketClosed`, `DatabaseAway`, and what Postgres says."""

    def __init__(self, connection: Any, role: str, is_open: Callable[[], bool], enqueue: Enqueue) -> None:
        self._connection = connection
        self._role = role
        self._is_open = is_open
        self._enqueue = enqueue
        self.over = False

    async def _prepared(self, sql: str) -> Any:
        if self.over or not self._is_open():
            raise TicketClosed("the call has been settled; its database is closed")
        if self._role == "none":
            raise NotAllowed("this integration declares no tables, so it has no statements either")
        if why := refused(sql):
            raise NotAllowed(why)
        return await self._connection.prepare(sql)  # one statement only: Postgres prepares no more

    async def fetch(self, sql: str, *args: Any) -> Sequence[Mapping[str, Any]]:
        """Every row. Raises `TooLarge` for more than `MOST_ROWS`."""
        with database():
            rows = await (await self._prepared(sql)).fetch(*args)
        if len(rows) > MOST_ROWS:
            raise TooLarge(f"a statement gave more than {MOST_ROWS} rows")
        return [dict(row) for row in rows]

    async def fetchrow(self, sql: str, *args: Any) -> Mapping[str, Any] | None:
        """The first row."""
        with database():
            row = await (await self._prepared(sql)).fetchrow(*args)
        return None if row is None else dict(row)

    async def fetchval(self, sql: str, *args: Any) -> Any:
        """The first row's first column."""
        with database():
            return await (await self._prepared(sql)).fetchval(*args)

    async def execute(self, sql: str, *args: Any) -> str:
        """The command's tag."""
        with database():
            statement = await self._prepared(sql)
            await statement.fetch(*args)
        return str(statement.get_statusmsg())

    async def enqueue(self, job: str, payload: msgspec.Struct, *, delay_s: float = 0, key: str | None = None) -> UUID:
        """A job, in this transaction."""
        if self.over or not self._is_open():
            raise TicketClosed("the call has been settled; its database is closed")
        with database():
            await self._connection.execute("set local role none")
            job_id = await self._enqueue(self._connection, job, payload, delay_s, key)
            await self._connection.execute(f"set local role {self._role}")
        return job_id


@asynccontextmanager
async def plugin_transaction(
    pool: asyncpg.Pool, name: str, *, has_tables: bool, is_open: Callable[[], bool], enqueue: Enqueue
) -> AsyncIterator[PluginTransaction]:
    """A transaction of integration `name`; it commits when the block is left without an error.

    Without tables it is good for handing jobs in, and nothing else. Raises `DatabaseAway`, `NotAllowed`; a row that
    is there already comes out as `Conflict`, unless the handler catches what Postgres says.
    """
    role = role_of(name) if has_tables else "none"
    async with AsyncExitStack() as stack:
        with database():
            connection = await stack.enter_async_context(pool.acquire())
            outer = connection.transaction()
            await outer.start()
        transaction = PluginTransaction(connection, role, is_open, enqueue)
        try:
            with database():
                await connection.execute(
                    f"set local statement_timeout = '{STATEMENT_S}s'; "
                    f"set local idle_in_transaction_session_timeout = '{IDLE_S}s'"
                )
                if has_tables:
                    await connection.execute(f"set local role {role}; set local search_path = {schema_of(name)}")
            yield transaction
            transaction.over = True
            with database():
                if has_tables and await connection.fetchval("select current_user::text") != role:
                    raise NotAllowed("a plugin may not change roles or settings")
                await outer.commit()
        except BaseException as error:
            transaction.over = True
            with contextlib.suppress(asyncpg.PostgresError, asyncpg.InterfaceError, OSError):
                await outer.rollback()
            if isinstance(error, asyncpg.UniqueViolationError):
                raise Conflict("this is there already") from error
            raise
