"""Ways to the collections: connections of their own, shared between customers, each statement bounded in time."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import cast

import asyncpg

from kaixu.plugin.errors import DatabaseAway, Overloaded, RateLimited, SearchTooSlow, StatementTooSlow
from kaixu.store.pool import busy, database
from kaixu.store.query import Session
from kaixu.store.shares import Shares

#: So long a search waits for a connection, and an export for its next page.
WAIT_S = 10.0
WAIT_LONG_S = 60.0


class Searches:
    """One gateway process's connections for collections.

    A customer has at most half of them at one time; its other searches wait, and
    no more than `most` run or wait. So the searches of one customer, however heavy,
    keep nobody else's from running.
    """

    def __init__(self, pool: asyncpg.Pool, *, most: int, statement_s: float, pooler: bool = False) -> None:
        self.pool = pool
        self.most = most
        self.statement_s = statement_s
        self.pooler = pooler
        size = pool.get_max_size()
        self._shares = Shares(size, max(1, size // 2))
        self._places: Counter[int] = Counter()

    @contextmanager
    def place(self, customer_id: int) -> Iterator[None]:
        """One search or export of a customer, from before its vendor is asked to its end. Raises `RateLimited`."""
        if self._places[customer_id] >= self.most:
            raise RateLimited(
                f"{self.most} searches of this account are running, as many as it may have at one time",
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
    async def reading(self, customer_id: int, *, wait_s: float = WAIT_S) -> AsyncIterator[Session]:
        """A connection to search with. Raises `SearchTooSlow`, `RateLimited`, `Overloaded`, `DatabaseAway`."""
        try:
            async with self.connection(customer_id, wait_s=wait_s) as connection:
                yield connection
        except StatementTooSlow as error:
            raise SearchTooSlow(
                f"the search was ended after {self.statement_s:g} s",
                hint="Use a narrower filter, fewer results, or a smaller collection.",
            ) from error

    @asynccontextmanager
    async def changing(self, customer_id: int) -> AsyncIterator[Session]:
        """A connection to change collections with. Raises `DatabaseBusy` and what `reading` does, but for the time."""
        try:
            async with self.connection(customer_id, wait_s=WAIT_S) as connection:
                yield connection
        except StatementTooSlow as error:  # it has waited for somebody who is changing the same
            raise busy() from error

    @asynccontextmanager
    async def connection(self, customer_id: int, *, wait_s: float) -> AsyncIterator[Session]:
        """A connection of the customer's share, in its own time."""
        entered = False
        place = self._shares.one(customer_id)
        try:
            async with asyncio.timeout(wait_s):
                await place.__aenter__()
                entered = True
            with database():
                async with self.pool.acquire(timeout=wait_s) as connection:
                    if not self.pooler:
                        yield cast(Session, connection)
                        return
                    # Nothing is set in sessions behind a pooler, so the limit is set for each transaction.
                    async with connection.transaction():
                        await connection.execute(f"set local statement_timeout = {self.statement_s * 1000:.0f}")
                        yield cast(Session, connection)
        except TimeoutError as error:
            if entered:
                raise
            raise self._too_many(customer_id) from error
        finally:
            if entered:
                await place.__aexit__(None, None, None)

    def _too_many(self, customer_id: int) -> RateLimited | Overloaded | DatabaseAway:
        """Why nobody got a connection: the customer's own searches, or everybody's."""
        if self._shares.has_all(customer_id):
            return RateLimited(
                "other searches of this account took too long for this one to begin",
                hint="Send fewer at one time.",
                retry_after_s=2,
                code="TOO_MANY_SEARCHES",
            )
        return Overloaded("too many searches are running", hint="Try again.", retry_after_s=2, code="SEARCHES_BUSY")
