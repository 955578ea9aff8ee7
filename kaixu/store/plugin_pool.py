"""The connections of one integration: a few, of its own role, cleaned before each use."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import asyncpg

from kaixu.ops.finish import finish
from kaixu.plugin.errors import DatabaseAway, DatabaseBusy, StatementTooSlow

from .plugin_login import IDLE_S, STATEMENT_S, PluginLogin
from .plugin_schema import schema_of
from .pool import AWAY, database, keep_nothing, prepare_connection

log = logging.getLogger(__name__)

#: How many transactions one integration can have open in one gateway, unless the operator says otherwise, and how long
#: further ones wait for a place.
MOST = 8
WAIT_S = 5.0

#: How long cleaning a connection may take before it is ended instead.
CLEAN_S = 3.0
IDLE_CONNECTION_S = 60.0


class PluginPool:
    """Connections of one integration's role, opened when needed. `gateway_pool` is the gateway's own pool."""

    def __init__(
        self,
        gateway_pool: asyncpg.Pool,
        login: PluginLogin,
        *,
        pooler: bool,
        reset_password: Callable[[], Awaitable[PluginLogin]],
        most: int = MOST,
    ) -> None:
        self.gateway_pool = gateway_pool
        self.login = login
        self.pooler = pooler
        self.reset_password = reset_password
        self.most = most
        self.free = asyncio.Semaphore(most)
        self.pool: asyncpg.Pool | None = None
        self.begin = (
            f"begin; set local statement_timeout = '{STATEMENT_S}s'; "
            f"set local idle_in_transaction_session_timeout = '{IDLE_S}s'; "
            f"set local search_path = {schema_of(login.name)}"
        )

    async def open_pool(self) -> asyncpg.Pool:
        """The pool; nothing is connected yet."""
        if self.pool is None:
            arguments = self.login.connect_arguments(pooler=self.pooler)
            if self.login.passwords:  # asked at each new connection: which one the role accepts can change
                arguments["password"] = lambda: self.login.passwords[self.login.accepted]
            self.pool = await asyncpg.create_pool(
                **arguments,
                min_size=0,
                max_size=self.most,
                command_timeout=STATEMENT_S + 1.0,
                max_inactive_connection_lifetime=IDLE_CONNECTION_S,
                init=prepare_connection,
                reset=keep_nothing,  # `clean_and_release` cleans it, and ends what it cannot clean
            )
        return self.pool

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[Any]:
        """A connection with a transaction begun. It is cleaned before its next use.

        Raises `DatabaseAway`, and `DatabaseBusy` where too many are in use.
        """
        try:
            async with asyncio.timeout(WAIT_S):
                await self.free.acquire()
        except TimeoutError as error:
            raise DatabaseBusy(
                f"integration `{self.login.name}` has {self.most} transactions open already",
                hint="Try again shortly.",
                retry_after_s=1,
            ) from error
        try:
            pool = await self.open_pool()
            connection = await self.begin_transaction(pool)
            process = 0
            try:
                with database():
                    process = (
                        await connection.fetchval("select pg_backend_pid()")
                        if self.pooler
                        else connection.get_server_pid()
                    )
                yield connection
            finally:
                await finish(asyncio.ensure_future(self.clean_and_release(pool, connection, process)))
        finally:
            self.free.release()

    async def begin_transaction(self, pool: asyncpg.Pool) -> Any:
        """A connection with a transaction begun. Raises `DatabaseAway`, `StatementTooSlow`.

        A very short time limit of an earlier transaction can still expire after the connection was cleaned, and cancels
        this statement. Then the connection is ended, and a new one is used, once.
        """
        for may_retry in (True, False):
            connection = await self.acquire(pool)
            try:
                with database():
                    await connection.execute(self.begin)
            except BaseException as error:
                connection.terminate()
                await pool.release(connection)
                if not (may_retry and isinstance(error, StatementTooSlow)):
                    raise
            else:
                return connection
        raise AssertionError

    async def acquire(self, pool: asyncpg.Pool) -> Any:
        """A connection. If the role's password has changed, the other one is taken, or it is set again, once.

        Raises `DatabaseAway`.
        """
        for may_retry in (True, False):
            try:
                with database():
                    return await pool.acquire()
            except asyncpg.InvalidAuthorizationSpecificationError as error:
                if not may_retry:
                    log.error("integration %s: the database refuses its role: %s", self.login.name, error.sqlstate)
                    raise DatabaseAway(
                        "the database refuses this integration's login", hint="Tell your operator."
                    ) from error
                log.warning("integration %s: the password of its role has changed", self.login.name)
                self.login = await self.reset_password()
        raise AssertionError

    async def clean_and_release(self, pool: asyncpg.Pool, connection: Any, process: int) -> None:
        """Return a connection to the pool without any state of this transaction, or end it."""
        try:
            async with asyncio.timeout(CLEAN_S):
                if connection.is_in_transaction():
                    await connection.execute("rollback")
                if not self.pooler:  # there the session is one of the pooler's, and each transaction sets what it needs
                    await connection.execute("discard all")
        except (asyncpg.PostgresError, *AWAY) as error:
            connection.terminate()
            if process:
                log.warning("a connection of integration %s was ended: %s", self.login.name, type(error).__name__)
                await self.end_process(process)
        await pool.release(connection)

    async def end_process(self, process: int) -> None:
        """Terminate the backend of a statement that ignores its cancellation, so that its locks are released."""
        try:
            async with asyncio.timeout(CLEAN_S):
                await self.gateway_pool.execute(
                    """
                    select pg_terminate_backend(a.pid) from pg_catalog.pg_stat_activity a
                      join kaixu.plugin_role p on p.role = a.usename::text
                     where a.pid = $1 and p.integration = $2
                    """,
                    process,
                    self.login.name,
                )
        except (asyncpg.PostgresError, *AWAY) as error:
            log.warning("a statement of integration %s may still run: %s", self.login.name, type(error).__name__)

    async def close(self) -> None:
        """End every connection."""
        if self.pool is not None:
            self.pool.terminate()
