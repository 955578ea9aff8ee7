"""What time does to credit: a new month carries it, and balances are compared again."""

from __future__ import annotations

import asyncpg

from kaixu.store.plugin_credits import sweep_credit
from kaixu.store.pool import database
from kaixu.store.reactions import sweep_watches

#: Customers in one transaction.
AT_ONCE = 200


async def look_after_credit(pool: asyncpg.Pool) -> None:
    """Carry credit of months that are over, and compare balances whose time has come. Raises `DatabaseAway`."""
    with database():
        while await sweep_credit(pool, most=AT_ONCE) == AT_ONCE:
            pass
        while await sweep_watches(pool, most=AT_ONCE) == AT_ONCE:
            pass
