"""Price versions: what a model's tokens, or an integration's operations, cost when a call was billed."""

from __future__ import annotations

from collections.abc import Mapping

import asyncpg
import msgspec

from kaixu.config.price import Price

from .pool import database
from .query import Connection, Query


class PriceVersion(msgspec.Struct, frozen=True):
    """The id of a version."""

    id: int


VERSION = Query(
    PriceVersion,
    """
    select kaixu.price_version(p_provider => $1, p_model => $2, p_rates => $3, p_vendor => $4) as id
    """,
)


async def price_version(pool: asyncpg.Pool, *, provider: str, model: str, price: Price, cost: Price | None) -> int:
    """The id of a model's price; a new version is written down. Raises `DatabaseAway`."""
    vendor = None if cost is None else msgspec.to_builtins(cost)
    return await version_of(pool, provider, model, msgspec.to_builtins(price), vendor)


async def rates_version(pool: asyncpg.Pool, *, provider: str, model: str, rates: dict[str, int]) -> int:
    """The id of an operation's price; see `price_version`. Raises `DatabaseAway`."""
    return await version_of(pool, provider, model, rates, None)


async def version_of(
    db: Connection, provider: str, model: str, rates: Mapping[str, int], vendor: Mapping[str, int] | None
) -> int:
    """The id of this version, whether it was there or is new."""
    with database():
        version = await VERSION.one(db, provider, model, rates, vendor)
    assert version is not None
    return version.id
