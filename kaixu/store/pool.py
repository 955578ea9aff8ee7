"""Connections to Postgres, and the errors of a database that is away."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import asyncpg
import msgspec
from asyncpg.pool import PoolConnectionProxy

from kaixu.config.database_errors import DatabaseRefused
from kaixu.plugin.errors import DatabaseAway, DatabaseBusy, StatementTooSlow

from .vectors import prepare_vectors

#: A statement that takes longer than this is given up; the caller's work is idempotent.
STATEMENT_S = 10.0

#: What asyncpg and the network raise when the database is down, or not ready.
AWAY = (
    OSError,
    asyncio.TimeoutError,
    asyncpg.PostgresConnectionError,
    asyncpg.InterfaceError,
    # A statement on a connection that Postgres has just ended, of which the client has read the error, but not the end.
    asyncpg.InternalClientError,
    asyncpg.exceptions.OperatorInterventionError,
    asyncpg.exceptions.InsufficientResourcesError,
    asyncpg.exceptions.ReadOnlySQLTransactionError,  # a standby: its primary is elsewhere by now
    asyncpg.exceptions.PostgresSystemError,
)

#: What it raises where another transaction holds a lock: the same statement may succeed a moment later.
BUSY = (asyncpg.exceptions.LockNotAvailableError, asyncpg.exceptions.TransactionRollbackError)

#: Memory to build a graph of vectors in; with less than it needs, building takes many times as long.
MAINTENANCE_MEMORY = "256MB"

#: How vector indexes are searched by default; set for the session, which saves each search two round trips.
SEARCH = {"hnsw.ef_search": "250", "hnsw.iterative_scan": "relaxed_order", "hnsw.max_scan_tuples": "20000"}

#: What is wrong if `pooler` is missing.
NEEDS_POOLER = "DATABASE_URL leads to a pooler such as PgBouncer, which keeps no sessions: set KAIXU_POOLER=true"

#: What is wrong if the pooler takes each statement by itself.
NEEDS_TRANSACTIONS = (
    "the pooler runs in statement mode, in which nothing can be decided exactly: set pool_mode = transaction"
)

#: How PgBouncer says that it does not let us in. Postgres has codes of its own for that.
NOT_LET_IN = ("authentication failed", "no such user", "no such database", "auth failed")

#: How long a transaction may be idle before Postgres ends it: it may hold a customer's lock.
IDLE_TRANSACTION_S = 5


def busy() -> DatabaseBusy:
    """The error for an account that another transaction has locked."""
    return DatabaseBusy("the database is busy with this account", hint="Try again.", retry_after_s=1)


async def is_pooled(connection: asyncpg.Connection | PoolConnectionProxy) -> bool:
    """Whether something between us and Postgres lends its connections: the server's process is not the one we met."""
    process: int = await connection.fetchval("select pg_backend_pid()")
    return process != connection.get_server_pid()


@contextmanager
def database() -> Iterator[None]:
    """Translate errors: an absent database is `DatabaseAway`, a lock `DatabaseBusy`, a statement that timed out
    `StatementTooSlow`. Others are bugs.
    """
    try:
        yield
    except asyncpg.DataError:
        raise
    except BUSY as error:
        raise busy() from error
    except asyncpg.QueryCanceledError as error:
        raise StatementTooSlow(
            "the database took too long for this", hint="Ask for less at a time.", retry_after_s=2
        ) from error
    except AWAY as error:
        raise DatabaseAway("the database does not answer", hint="Try again shortly.", retry_after_s=2) from error


async def prepare_connection(connection: asyncpg.Connection) -> None:
    """JSON columns carry plain values both ways; vectors are packed."""
    for name in ("json", "jsonb"):
        await connection.set_type_codec(
            name,
            schema="pg_catalog",
            encoder=lambda value: msgspec.json.encode(value).decode(),
            decoder=msgspec.json.decode,
        )
    await prepare_vectors(connection)


async def keep_nothing(connection: asyncpg.Connection) -> None:
    """Skip asyncpg's reset between two users of a connection: nothing is set here that it would undo."""


async def open_pool(
    dsn: str,
    *,
    most: int = 10,
    least: int = 2,
    pooler: bool = False,
    statement_s: float | None = STATEMENT_S,
    server_statement_s: float | None = None,
    name: str = "kaixu",
    lost: Callable[[], None] = lambda: None,
) -> asyncpg.Pool:
    """Connections to `dsn`: `least` are made now, at most `most` are kept. Postgres shows them as `name`.

    `pooler` is for PgBouncer and Neon's pooler in transaction mode: nothing is
    kept in the session, so statements are not prepared ahead. A statement that
    takes longer than `statement_s` seconds is given up; None: none is. With
    `server_statement_s` the server ends it itself after so many seconds, and
    reports it; not behind a pooler, where `set local` has to do it. `lost` is called
    whenever a connection has ended, for any reason.

    Raises `DatabaseAway` and `DatabaseRefused`.
    """
    settings: dict[str, Any] = {"statement_cache_size": 0} if pooler else {"max_cached_statement_lifetime": 0}
    session = {"application_name": name}
    if not pooler:
        session |= {"idle_in_transaction_session_timeout": f"{IDLE_TRANSACTION_S}s", **SEARCH}
        if server_statement_s is not None:
            session["statement_timeout"] = f"{server_statement_s * 1000:.0f}ms"

    async def prepare(connection: asyncpg.Connection) -> None:
        await prepare_connection(connection)
        connection.add_termination_listener(lambda _: lost())

    with database(), refusals():
        pool = await asyncpg.create_pool(
            dsn,
            min_size=min(least, most),
            max_size=most,
            command_timeout=statement_s,
            timeout=5,
            max_inactive_connection_lifetime=300,
            init=prepare,
            reset=keep_nothing,
            server_settings=session,
            **settings,
        )
        if pooler and least:
            async with pool.acquire() as connection, connection.transaction():
                pass
        return pool


@contextmanager
def refusals() -> Iterator[None]:
    """Translate what Postgres or a pooler says when it does not let us work: `DatabaseRefused`."""
    try:
        yield
    except (asyncpg.InvalidAuthorizationSpecificationError, asyncpg.InvalidCatalogNameError) as error:
        raise DatabaseRefused(f"the database refuses us: {error}") from None
    except asyncpg.ProtocolViolationError as error:  # PgBouncer has no other code
        if "startup parameter" in str(error):
            raise DatabaseRefused(f"{NEEDS_POOLER} (it says: {error})") from None
        if any(words in str(error) for words in NOT_LET_IN):
            raise DatabaseRefused(f"the pooler refuses us: {error}") from None
        raise
    except asyncpg.DuplicatePreparedStatementError:  # the session has statements of another client
        raise DatabaseRefused(NEEDS_POOLER) from None
    except asyncpg.ConnectionDoesNotExistError as error:
        if "statement pooling mode" not in str(error):
            raise
        raise DatabaseRefused(NEEDS_TRANSACTIONS) from None


@asynccontextmanager
async def maintenance(dsn: str, *, pooler: bool = False) -> AsyncIterator[asyncpg.Connection]:
    """A separate connection for long work, with memory to build indexes. Raises `DatabaseAway`."""
    with database():
        connection = await asyncpg.connect(
            dsn, timeout=5, statement_cache_size=0, server_settings={"application_name": "kaixu maintenance"}
        )
    try:
        if not pooler:  # there the session is shared
            await connection.execute(f"set maintenance_work_mem = '{MAINTENANCE_MEMORY}'")
        yield connection
    finally:
        connection.terminate()
