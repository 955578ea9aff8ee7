"""What customers have spent in the last days, a number for each day: small charts beside the rows of a list."""

from __future__ import annotations

from collections.abc import Sequence

import asyncpg
import msgspec

from kaixu.store.pool import database
from kaixu.store.query import Query

#: The most days of such a chart, and the most customers of one question.
MOST_DAYS = 31
MOST_CUSTOMERS = 200


class DaySpend(msgspec.Struct, frozen=True):
    """What a customer spent on a day of the reporting zone, counted back from today."""

    customer_id: int
    days_ago: int
    spent_nusd: int


# The roll-ups of the customers in question, and what fold_usage has not moved into them yet.
SPEND = Query(
    DaySpend,
    """
    with clock as materialized (
        select r.reporting_zone as zone, (now() at time zone r.reporting_zone)::date as today from kaixu.rollup_state r
    ), part as (
        select s.customer_id, x.day, x.spent_nusd
          from kaixu.usage_series s
         cross join clock k
          join kaixu.usage_day x on x.series_id = s.id and x.day > k.today - $2::integer and x.day <= k.today
         where s.customer_id = any($1::bigint[])
         union all
        select c.customer_id, (c.bucket at time zone k.zone)::date, c.spent_nusd
          from kaixu.usage_change c
         cross join clock k
         where c.customer_id = any($1::bigint[])
           and (c.bucket at time zone k.zone)::date > k.today - $2::integer
           and (c.bucket at time zone k.zone)::date <= k.today
    )
    select p.customer_id, k.today - p.day as days_ago, sum(p.spent_nusd)::bigint as spent_nusd
      from part p
     cross join clock k
     group by 1, 2
    """,
)


async def daily_spend(pool: asyncpg.Pool, customer_ids: Sequence[int], days: int) -> dict[int, list[int]]:
    """What each customer spent on each of the last `days`, today last, in nano-dollars. Raises `DatabaseAway`."""
    spent = {customer_id: [0] * days for customer_id in customer_ids}
    with database():
        for row in await SPEND.all(pool, list(customer_ids), days):
            spent[row.customer_id][days - 1 - row.days_ago] = row.spent_nusd
    return spent
