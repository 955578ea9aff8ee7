"""The customers of a month that an overview names: those that spent most, and those whose cap is nearly spent.

Both need the spending of each customer, which is most of the work: so one statement finds both.
"""

from __future__ import annotations

from datetime import date

import msgspec

from kaixu.store.query import Connection, Query

from .near_caps import MOST_LISTED, NEAR_PERCENT, NearCap


class LeadingCustomer(msgspec.Struct, frozen=True):
    """A customer that spent most. The cap includes what was topped up; `held_nusd`: reserved for calls in flight."""

    customer_id: int
    email: str
    plan_name: str
    is_active: bool
    calls: int
    tokens: int
    spent_nusd: int
    held_nusd: int
    cap_nusd: int


class NamedCustomer(LeadingCustomer, frozen=True):
    """One of either list; `near`: how many customers are near their cap, listed or not."""

    is_near: bool
    near: int


# The comparison in whole numbers is about ten times as fast as the exact one, which then decides about the few that are
# left. Names and sums are read for those only.
NAMED = Query(
    NamedCustomer,
    """
    with used as materialized (
        select m.customer_id, sum(m.spent_nusd)::bigint as spent_nusd, sum(m.extra_nusd)::bigint as extra_nusd,
               coalesce(sum(m.spent_nusd) filter (where not m.has_own_cap), 0)::bigint as capped_nusd
          from kaixu.customer_month m
         where m.month = $1
         group by m.customer_id
        having sum(m.spent_nusd) > 0
    ), near as materialized (
        select c.id, c.monthly_cap_nusd + u.extra_nusd as cap_nusd, u.capped_nusd as spent_nusd
          from used u
          join kaixu.customer c on c.id = u.customer_id
         where c.is_active and c.deleted_at is null
           and u.capped_nusd >= (c.monthly_cap_nusd + u.extra_nusd) / 100 * $2::integer - 100
           and u.capped_nusd * 100::numeric >= $2::integer * (c.monthly_cap_nusd + u.extra_nusd)::numeric
    ), listed as (
        (select n.id, true as is_near, row_number() over (order by n.spent_nusd::numeric / nullif(n.cap_nusd, 0)
                                                          desc nulls first, n.spent_nusd desc, n.id) as at
           from near n
          order by at
          limit $3)
         union all
        (select u.customer_id, false, row_number() over (order by u.spent_nusd desc, u.customer_id) as at
           from used u
          order by at
          limit $4)
    )
    select c.id as customer_id, c.email, c.plan_name, c.is_active, s.calls::bigint as calls, s.tokens::bigint as tokens,
           s.spent_nusd::bigint as spent_nusd, s.held_nusd::bigint as held_nusd,
           (c.monthly_cap_nusd + s.extra_nusd)::bigint as cap_nusd, l.is_near, (select count(*) from near) as near
      from listed l
      join kaixu.customer c on c.id = l.id
     cross join lateral (select sum(m.calls) as calls, sum(m.input_tokens + m.output_tokens) as tokens,
                                coalesce(sum(m.spent_nusd) filter (where not (l.is_near and m.has_own_cap)), 0)
                                    as spent_nusd,
                                coalesce(sum(m.held_nusd) filter (where not (l.is_near and m.has_own_cap)), 0)
                                    as held_nusd,
                                sum(m.extra_nusd) as extra_nusd
                           from kaixu.customer_month m
                          where m.customer_id = l.id and m.month = $1) s
     order by l.is_near, l.at
    """,
)


async def customers_of_overview(
    db: Connection, month: date, *, leaders: int
) -> tuple[list[LeadingCustomer], list[NearCap]]:
    """The `leaders` that spent most in a month, and the active customers near their cap, the fullest first."""
    rows = await NAMED.all(db, month, NEAR_PERCENT, MOST_LISTED, leaders)
    caps = [
        NearCap(row.customer_id, row.email, None, None, None, row.cap_nusd, row.spent_nusd, row.held_nusd, row.near)
        for row in rows
        if row.is_near
    ]
    return [row for row in rows if not row.is_near], caps
