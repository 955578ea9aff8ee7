"""Price versions: what a model's tokens cost when a call was billed."""

from __future__ import annotations

import asyncpg
import msgspec

from kaixu.config.price import Price

from .pool import database


async def price_version(pool: asyncpg.Pool, *, provider: str, model: str, price: Price, cost: Price | None) -> int:
    """The id of this price; a version that was never seen before is written down. Raises `DatabaseAway`."""
    with database():
        number: int = await pool.fetchval(
            "select kaixu.price_version($1, $2, $3, $4)",
            provider,
            model,
            msgspec.to_builtins(price),
            None if cost is None else msgspec.to_builtins(cost),
        )
    return number


async def rates_version(pool: asyncpg.Pool, *, provider: str, model: str, rates: dict[str, int]) -> int:
    """The id of what an integration's operation costs; see `price_version`. Raises `DatabaseAway`."""
    with database():
        number: int = await pool.fetchval("select kaixu.price_version($1, $2, $3, null)", provider, model, rates)
    return number
