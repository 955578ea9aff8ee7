"""A month's usage by deployment and vendor key, for all customers."""

from __future__ import annotations

import asyncpg
import msgspec

from kaixu.accounts import fields
from kaixu.store.clock import this_month
from kaixu.store.pool import database
from kaixu.store.query import Query


class LaneUsage(msgspec.Struct, frozen=True):
    """The calls of one provider in a month, by deployment and vendor key."""

    provider: str
    deployment: str | None
    vendor_key: str | None
    calls: int
    spent_nusd: int
    vendor_cost_nusd: int


#: A call of several batches may have used several keys; its cost is split by the batches of each key.
LANES = Query(
    LaneUsage,
    """
    select e.provider, e.units -> 'call' ->> 'deployment' as deployment, k.key as vendor_key, count(*) as calls,
           round(sum(e.cost_nusd * coalesce(k.share, 1)))::bigint as spent_nusd,
           round(sum(e.vendor_cost_nusd * coalesce(k.share, 1)))::bigint as vendor_cost_nusd
      from kaixu.usage_event e
      left join lateral (select a.key, a.value::numeric / sum(a.value::numeric) over () as share
                           from jsonb_each_text(e.units -> 'call' -> 'keys') a) k on true
     where e.month = $1 and e.units -> 'call' ->> 'deployment' is not null
     group by 1, 2, 3
     order by 1, 2, 3
    """,
)


async def lane_usage(pool: asyncpg.Pool, *, month: object) -> list[LaneUsage]:
    """A month, the current one by default. Raises `Unprocessable` for a bad month."""
    chosen = fields.month(month, "month")
    with database():
        async with pool.acquire() as connection:
            return await LANES.all(connection, chosen or await this_month(connection))
