"""A transaction of an integration that can only read: for panels. Nothing of it is committed."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from typing import Any
from uuid import UUID

import asyncpg
import msgspec

from kaixu.plugin.errors import DatabaseAway
from kaixu.plugin.job import JobView

from .jobs import NewJob
from .jobs_only import GATEWAY_VIEW
from .plugin_database import PluginTransaction, statement
from .plugin_pool import PluginPool
from .plugin_transaction import NotAllowed, view_of
from .pool import database


@contextmanager
def reads_only() -> Iterator[None]:
    """Around a statement: one that would write is the plugin's error, and no sign that the database is a standby."""
    try:
        yield
    except DatabaseAway as error:
        if isinstance(error.__cause__, asyncpg.ReadOnlySQLTransactionError):
            raise NotAllowed("a panel reads; this statement would change something") from error
        raise


class PluginReading:
    """See `kaixu.plugin.ReadDatabase`: the statements of a transaction, which Postgres lets read only."""

    def __init__(self, transaction: PluginTransaction) -> None:
        self._transaction = transaction

    async def fetch(self, sql: str, *args: Any) -> Sequence[Mapping[str, Any]]:
        """Every row. Raises as `PluginTransaction.fetch`."""
        with reads_only():
            return await self._transaction.fetch(sql, *args)

    async def fetchrow(self, sql: str, *args: Any) -> Mapping[str, Any] | None:
        """The first row."""
        with reads_only():
            return await self._transaction.fetchrow(sql, *args)

    async def fetchval(self, sql: str, *args: Any) -> Any:
        """The first row's first column."""
        with reads_only():
            return await self._transaction.fetchval(sql, *args)


def no_jobs(name: str, payload: msgspec.Struct, delay_s: float, key: str | None, serial: str | None) -> NewJob:
    """A transaction that reads submits nothing."""
    raise ValueError("a panel reads; it submits no job")


@asynccontextmanager
async def plugin_reading(plugin: PluginPool, *, is_open: Callable[[], bool]) -> AsyncIterator[PluginReading]:
    """A transaction as the plugin's role that can only read. It is rolled back at the end.

    Raises `DatabaseAway`, `DatabaseBusy`.
    """
    async with plugin.connection() as connection:
        with statement():
            await connection.execute("set transaction read only")
        transaction = PluginTransaction(plugin, connection, is_open, no_jobs)
        try:
            yield PluginReading(transaction)
        finally:
            transaction.over = True


async def job_seen(pool: asyncpg.Pool, job_id: UUID, integration: str, customer_id: int | None) -> JobView:
    """A job of an integration, and of this customer if there is one. Raises `NotFound`, `DatabaseAway`."""
    with database():
        row = await pool.fetchrow(GATEWAY_VIEW, job_id, integration, customer_id)
    return view_of(None if row is None else dict(row), job_id)
