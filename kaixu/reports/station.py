"""A month of the whole gateway, as the station shows it: totals, leaders, newest calls, plans, providers, top-ups.

Sums are `Decimal`: those of all customers may exceed 64 bits. They come from months and roll-ups, never from events.
"""

from __future__ import annotations

from datetime import date, datetime
from decimal import Decimal

import asyncpg
import msgspec

from kaixu.store.clock import this_month
from kaixu.store.query import Connection, Query

from .snapshot import report_snapshot

MOST_LEADERS = 8
MOST_EVENTS = 10
MOST_TOPUPS = 8
MOST_PLANS = 100
MOST_SOURCES = 50


class Totals(msgspec.Struct, frozen=True):
    """Customers and keys now, without deleted customers, and the month's money and tokens of all.

    A key is active unless it is revoked or has expired.
    """

    customers: int
    active_customers: int
    keys: int
    active_keys: int
    total_cap_nusd: Decimal
    spent_nusd: Decimal
    extra_nusd: Decimal
    tokens: Decimal
    topups: int
    topup_nusd: Decimal


class Leader(msgspec.Struct, frozen=True):
    """One of the customers that spent most."""

    id: int
    email: str
    plan_name: str
    spent_nusd: Decimal
    extra_nusd: Decimal
    tokens: Decimal


class RecentCall(msgspec.Struct, frozen=True):
    """One of the newest calls."""

    created_at: datetime
    month: date
    email: str
    provider: str
    model: str
    cost_nusd: int
    tokens: int


class PlanShare(msgspec.Struct, frozen=True):
    """The customers of a plan."""

    plan_name: str
    customers: int
    active_customers: int
    total_cap_nusd: Decimal
    spent_nusd: Decimal
    tokens: Decimal


class ProviderShare(msgspec.Struct, frozen=True):
    """The calls of a provider."""

    provider: str
    calls: Decimal
    spent_nusd: Decimal
    tokens: Decimal


class TopUpSource(msgspec.Struct, frozen=True):
    """The top-ups from one source."""

    source: str
    topups: int
    amount_nusd: Decimal


class RecentTopUp(msgspec.Struct, frozen=True):
    """One of the newest top-ups."""

    created_at: datetime
    month: date
    source: str
    status: str
    amount_nusd: int


class StationMonth(msgspec.Struct, frozen=True):
    """A month at one moment."""

    month: date
    totals: Totals
    leaders: list[Leader] = []
    calls: list[RecentCall] = []
    plans: list[PlanShare] = []
    providers: list[ProviderShare] = []
    sources: list[TopUpSource] = []
    topups: list[RecentTopUp] = []


TOTALS = Query(
    Totals,
    """
    select c.customers, c.active_customers, k.keys, k.active_keys, c.total_cap_nusd, m.spent_nusd, m.extra_nusd,
           m.tokens, t.topups, t.topup_nusd
      from (select count(*) as customers, count(*) filter (where is_active) as active_customers,
                   coalesce(sum(monthly_cap_nusd), 0)::numeric as total_cap_nusd
              from kaixu.customer
             where deleted_at is null) c
     cross join (select count(*) as keys,
                        count(*) filter (where revoked_at is null and (expires_at is null or expires_at > now()))
                            as active_keys
                   from kaixu.virtual_key v
                  where not exists (select from kaixu.customer d
                                     where d.id = v.customer_id and d.deleted_at is not null)) k
     cross join (select coalesce(sum(spent_nusd), 0)::numeric as spent_nusd,
                        coalesce(sum(extra_nusd), 0)::numeric as extra_nusd,
                        coalesce(sum(input_tokens + output_tokens), 0)::numeric as tokens
                   from kaixu.customer_month where month = $1) m
     cross join (select count(*) as topups, coalesce(sum(amount_nusd), 0)::numeric as topup_nusd
                   from kaixu.topup where month = $1 and status = 'applied') t
    """,
)

LEADERS = Query(
    Leader,
    """
    select c.id, c.email, c.plan_name, m.spent_nusd, m.extra_nusd, m.tokens
      from (select customer_id
              from kaixu.customer_month
             where month = $1 and spent_nusd > 0
             group by customer_id
             order by sum(spent_nusd) desc, 1
             limit $2) l
      join kaixu.customer c on c.id = l.customer_id
     cross join lateral (select sum(x.spent_nusd)::numeric as spent_nusd, sum(x.extra_nusd)::numeric as extra_nusd,
                                sum(x.input_tokens + x.output_tokens)::numeric as tokens
                           from kaixu.customer_month x
                          where x.customer_id = l.customer_id and x.month = $1) m
     order by m.spent_nusd desc, c.id
    """,
)

CALLS = Query(
    RecentCall,
    """
    select e.created_at, e.month, coalesce(c.email, '') as email, e.provider, e.model, e.cost_nusd, e.tokens
      from (select id, created_at, month, customer_id, provider, model, cost_nusd,
                   input_tokens + output_tokens as tokens
              from kaixu.usage_event
             where month = $1
             order by id desc
             limit $2) e
      left join kaixu.customer c on c.id = e.customer_id
     order by e.id desc
    """,
)

PLANS = Query(
    PlanShare,
    """
    select p.plan_name, p.customers, p.active_customers, p.total_cap_nusd,
           coalesce(u.spent_nusd, 0)::numeric as spent_nusd, coalesce(u.tokens, 0)::numeric as tokens
      from (select plan_name, count(*) as customers, count(*) filter (where is_active) as active_customers,
                   sum(monthly_cap_nusd)::numeric as total_cap_nusd
              from kaixu.customer
             where deleted_at is null
             group by plan_name
             order by 2 desc, 1
             limit $2) p
      left join (select c.plan_name, sum(m.spent_nusd) as spent_nusd, sum(m.input_tokens + m.output_tokens) as tokens
                   from kaixu.customer_month m
                   join kaixu.customer c on c.id = m.customer_id
                  where m.month = $1
                  group by c.plan_name) u on u.plan_name = p.plan_name
     order by p.customers desc, p.plan_name
    """,
)

# The roll-ups of all customers together, and the changes that wait to be moved into them, in one statement. Days are
# those of the reporting zone, months are UTC: the days that lie in the month, and its ends by quarters of an hour.
# Each series is summed by itself, so that it is looked up by its key: the planner cannot know how short the time is.
PROVIDERS = Query(
    ProviderShare,
    """
    with span as materialized (
        select $1::date::timestamp at time zone 'UTC' as begins,
               ($1::date + interval '1 month') at time zone 'UTC' as ends, s.reporting_zone as zone
          from kaixu.rollup_state s
    ), days as materialized (
        select x.begins, x.ends, x.first_day, x.end_day, x.first_day::timestamp at time zone x.zone as days_begin,
               x.end_day::timestamp at time zone x.zone as days_end
          from (select s.begins, s.ends, s.zone, ((s.ends at time zone s.zone)::date) as end_day,
                       ((s.begins at time zone s.zone - interval '1 microsecond')::date + 1) as first_day
                  from span s) x
    ), series as materialized (
        select s.id, s.provider from kaixu.usage_series s where s.customer_id = 0
    )
    select p.provider, sum(p.calls)::numeric as calls, sum(p.spent_nusd)::numeric as spent_nusd,
           sum(p.tokens)::numeric as tokens
      from (select s.provider, x.calls, x.spent_nusd, x.tokens
              from days t cross join series s
             cross join lateral (
                   select sum(d.calls) as calls, sum(d.spent_nusd) as spent_nusd,
                          sum(d.input_tokens + d.output_tokens) as tokens
                     from kaixu.usage_day d
                    where d.series_id = s.id and d.day >= t.first_day and d.day < t.end_day) x
            union all
            select s.provider, x.calls, x.spent_nusd, x.tokens
              from days t cross join series s
             cross join lateral (values (t.begins, t.days_begin), (t.days_end, t.ends)) e (begins, ends)
             cross join lateral (
                   select sum(q.calls) as calls, sum(q.spent_nusd) as spent_nusd,
                          sum(q.input_tokens + q.output_tokens) as tokens
                     from kaixu.usage_quarter q
                    where q.series_id = s.id and q.bucket >= e.begins and q.bucket < e.ends) x
            union all
            select c.provider, c.calls, c.spent_nusd, c.input_tokens + c.output_tokens
              from days t
              join kaixu.usage_change c on c.bucket >= t.begins and c.bucket < t.ends) p
     group by p.provider
    having sum(p.calls) <> 0
     order by 3 desc, 1
     limit $2
    """,
)

SOURCES = Query(
    TopUpSource,
    """
    select source, count(*) as topups, sum(amount_nusd)::numeric as amount_nusd
      from kaixu.topup
     where month = $1 and status = 'applied'
     group by source
     order by 3 desc, 1
     limit $2
    """,
)

TOPUPS = Query(
    RecentTopUp,
    """
    select created_at, month, source, status, amount_nusd
      from kaixu.topup
     where month = $1
     order by id desc
     limit $2
    """,
)

NOTHING = Totals(0, 0, 0, 0, Decimal(0), Decimal(0), Decimal(0), Decimal(0), 0, Decimal(0))


async def station_month(pool: asyncpg.Pool, month: date | None, *, only_totals: bool = False) -> StationMonth:
    """A month, by default the current one. Raises `DatabaseAway`."""
    async with report_snapshot(pool) as connection:
        # Planned for this month: the current one is a small part of the table.
        await connection.execute("set local plan_cache_mode = force_custom_plan")
        chosen = month or await this_month(connection)
        if only_totals:
            return StationMonth(chosen, await totals(connection, chosen))
        return StationMonth(
            chosen,
            await totals(connection, chosen),
            await LEADERS.all(connection, chosen, MOST_LEADERS),
            await CALLS.all(connection, chosen, MOST_EVENTS),
            await PLANS.all(connection, chosen, MOST_PLANS),
            await PROVIDERS.all(connection, chosen, MOST_SOURCES),
            await SOURCES.all(connection, chosen, MOST_SOURCES),
            await TOPUPS.all(connection, chosen, MOST_TOPUPS),
        )


async def totals(db: Connection, month: date) -> Totals:
    """The totals of a month."""
    return await TOTALS.one(db, month) or NOTHING
