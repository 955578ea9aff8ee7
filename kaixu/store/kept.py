"""A connection that is kept between statements: taking one from the pool for each costs more than sending it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

import asyncpg
from asyncpg.pool import PoolConnectionProxy

from .pool import AWAY

#: After so many seconds without a statement the connection goes back to its pool, which others may wait for.
IDLE_S = 0.2

#: A pool with fewer connections is left alone: others need them.
LEAST_POOL = 4

#: After so many statements another connection is taken, so that the pool can renew this one.
MOST_STATEMENTS = 50_000


class KeptConnection:
    """Runs statements on a connection of `pool`, one at a time; a second one at the same time uses the pool itself.

    `pool` is asked for before each statement: a test may put another one in its place.
    """

    def __init__(self, pool: Callable[[], asyncpg.Pool]) -> None:
        self._pool = pool
        self._owner: asyncpg.Pool | None = None  # of the connection
        self._connection: PoolConnectionProxy | None = None
        self._is_busy = False
        self._was_used = False  # since the last look
        self._statements = 0
        self._look: asyncio.TimerHandle | None = None
        self._returning: asyncio.Task[None] | None = None

    async def fetch(self, query: str, *args: Any) -> Sequence[Any]:
        """As `fetch` of the pool; raises the same errors."""
        pool = self._pool()
        if self._is_busy or pool.get_max_size() < LEAST_POOL:
            rows: Sequence[Any] = await pool.fetch(query, *args)
            return rows
        self._is_busy = self._was_used = True
        try:
            connection = self._connection
            if connection is None or self._owner is not pool or self._is_used_up(connection):
                self._return()
                connection = self._connection = await pool.acquire()
                self._owner = pool
            self._statements += 1
            rows = await connection.fetch(query, *args)
        except BaseException:
            self._return()
            raise
        finally:
            self._is_busy = False
        if self._look is None:
            self._look_later()
        return rows

    async def close(self) -> None:
        """Return the connection now, if no statement runs on it. A later statement takes one again."""
        if not self._is_busy:
            self._return()
        if self._returning is not None:
            await self._returning

    def _look_later(self) -> None:
        self._was_used = False
        self._look = asyncio.get_running_loop().call_later(IDLE_S, self._return_if_idle)

    def _return_if_idle(self) -> None:
        if self._was_used or self._is_busy:
            self._look_later()
            return
        self._look = None
        self._return()

    def _is_used_up(self, connection: PoolConnectionProxy) -> bool:
        return self._statements >= MOST_STATEMENTS or is_lost(connection)

    def _return(self) -> None:
        connection, self._connection, self._statements = self._connection, None, 0
        if connection is not None:
            assert self._owner is not None
            self._returning = asyncio.get_running_loop().create_task(returned(self._owner, connection))


async def returned(pool: asyncpg.Pool, connection: PoolConnectionProxy) -> None:
    """Return a connection to its pool; one that has ended is gone already."""
    with suppress(*AWAY):
        await pool.release(connection)


def is_lost(connection: PoolConnectionProxy) -> bool:
    """Whether a connection has ended, of itself or with its pool."""
    try:
        return bool(connection.is_closed())
    except asyncpg.InterfaceError:  # the pool has taken it back when it ended
        return True
