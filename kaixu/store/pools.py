"""The pools of one gateway process. Money has its own, so that no other work delays a call."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from uuid import uuid4

import asyncpg

from kaixu.config.database import DatabaseSection

from .pool import AWAY, STATEMENT_S, open_pool

#: Connections are named by this, their pool and their process.
NAME = "kaixu"

#: Seconds beyond the server's own limit for a statement before the server counts as away.
ANSWER_S = 2.0

#: How long closing waits for running statements, in seconds.
CLOSE_S = 10.0


class Pools:
    """`money`: admission, settlement, holds, the spool. `searches`: collections. `reports`: operators' lists and
    figures. `general`: the rest.
    """

    def __init__(
        self, money: asyncpg.Pool, general: asyncpg.Pool, searches: asyncpg.Pool, reports: asyncpg.Pool
    ) -> None:
        self.money = money
        self.general = general
        self.searches = searches
        self.reports = reports

    async def close(self) -> None:
        """Close all pools."""
        for pool in (self.searches, self.reports, self.general, self.money):
            try:
                async with asyncio.timeout(CLOSE_S):
                    await pool.close()
            except AWAY:
                pool.terminate()


async def open_pools(
    dsn: str, sizes: DatabaseSection, *, pooler: bool, lost: Callable[[], None] = lambda: None
) -> Pools:
    """Open all of them; `lost` is called when a connection of the money or general pool ends. Raises as `open_pool`."""
    process = uuid4().hex[:12]
    opened: list[asyncpg.Pool] = []

    async def one(
        name: str, most: int, *, statement_s: float = STATEMENT_S, is_limited: bool = False, least: int = 2
    ) -> asyncpg.Pool:
        pool = await open_pool(
            dsn,
            most=most,
            least=least,
            pooler=pooler,
            statement_s=statement_s + ANSWER_S if is_limited else statement_s,
            server_statement_s=statement_s if is_limited else None,
            name=f"{NAME} {name} {process}",
            lost=lost if name in ("money", "general") else lambda: None,
        )
        opened.append(pool)
        return pool

    try:
        return Pools(
            await one("money", sizes.money),
            await one("general", sizes.general),
            await one("searches", sizes.searches, statement_s=sizes.search_s, is_limited=True, least=1),
            await one("reports", sizes.reports, statement_s=sizes.report_s, is_limited=True, least=0),
        )
    except BaseException:
        for pool in opened:
            pool.terminate()
        raise
