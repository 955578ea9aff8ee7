"""Database connections for collections: shared fairly among customers, with a time limit per statement."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import cast

import asyncpg

from kaixu.plugin.errors import Overloaded, RateLimited, SearchTooSlow, StatementTooSlow
from kaixu.store.pool import database
from kaixu.store.query import DatabaseSession
from kaixu.store.shares import Shares

#: How long a search waits for a connection, and an export for its next page.
WAIT_S = 10.0
WAIT_LONG_S = 60.0


class Searches:
    """The connections for collections: `pool` for searches, a part of `general` for changes.

    A customer uses at most half of either; its other searches wait, and at most `most` run or
    wait. So heavy searches of one customer block neither other customers nor storing.
    """

    def __init__(
        self,
        pool: asyncpg.Pool,
        general: asyncpg.Pool,
        *,
        most: int,
        statement_s: float,
        pooler: bool = False,
    ) -> None:
        self.pool = pool
        self.general = general
        self.most = most
        self.statement_s = statement_s
        self.pooler = pooler
        self._searching = Shares.halves(pool.get_max_size())
        self._changing = Shares.halves(max(1, general.get_max_size() // 4))
        self._places: Counter[int] = Counter()

    @contextmanager
    def place(self, customer_id: int) -> Iterator[None]:
        """Reserve a slot for one search or export, before the vendor's call. Raises `RateLimited`."""
        if self._places[customer_id] >= self.most:
            raise RateLimited(
                f"{self.most} searches of this account are running or waiting; more are not allowed",
                hint="Try again when one of them has ended.",
                retry_after_s=1,
                code="TOO_MANY_SEARCHES",
            )
        self._places[customer_id] += 1
        try:
            yield
        finally:
            self._places[customer_id] -= 1
            if not self._places[customer_id]:
                del self._places[customer_id]

    @asynccontextmanager
    async def reading(self, customer_id: int, *, wait_s: float = WAIT_S) -> AsyncIterator[DatabaseSession]:
        """A connection to search with. Raises `SearchTooSlow`, `RateLimited`, `Overloaded`, `DatabaseAway`."""
        try:
            async with shared_connection(self.pool, self._searching, customer_id, wait_s) as session:
                if not self.pooler:
                    yield session
                    return
                # Behind a pooler sessions have no settings, so the limit is set for each transaction.
                async with session.transaction():
                    await session.execute(f"set local statement_timeout = {self.statement_s * 1000:.0f}")
                    yield session
        except StatementTooSlow as error:
            raise SearchTooSlow(
                f"the search was ended after {self.statement_s:g} s",
                hint="Use a narrower filter, fewer results, or a smaller collection.",
            ) from error

    @asynccontextmanager
    async def changing(self, customer_id: int) -> AsyncIterator[DatabaseSession]:
        """A connection to change them with. Raises `DatabaseBusy`, `RateLimited`, `Overloaded`, `DatabaseAway`."""
        async with shared_connection(self.general, self._changing, customer_id, WAIT_S) as session:
            yield session


@asynccontextmanager
async def shared_connection(
    pool: asyncpg.Pool, shares: Shares, customer_id: int, wait_s: float
) -> AsyncIterator[DatabaseSession]:
    """A connection from a customer's share."""
    place = shares.one(customer_id)
    try:
        async with asyncio.timeout(wait_s):
            await place.__aenter__()
    except TimeoutError as error:
        raise no_connection(shares, customer_id) from error
    try:
        with database():
            async with pool.acquire(timeout=wait_s) as session:
                yield cast(DatabaseSession, session)
    finally:
        await place.__aexit__(None, None, None)


def no_connection(shares: Shares, customer_id: int) -> RateLimited | Overloaded:
    """The error if no connection became free: because of the customer's own load, or that of others."""
    if shares.has_no_place_left(customer_id):
        return RateLimited(
            "no database connection was free in time: other searches and changes of this account use its share",
            hint="Send fewer at once.",
            retry_after_s=2,
            code="TOO_MANY_SEARCHES",
        )
    return Overloaded(
        "collections are busy: no database connection was free in time",
        hint="Try again.",
        retry_after_s=2,
        code="COLLECTIONS_OVERLOADED",
    )
