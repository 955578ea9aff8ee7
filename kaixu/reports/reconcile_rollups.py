"""The part of `kaixu reconcile` about reports: roll-ups, and the months of apps and end users, against the events.

Events that are older than the roll-ups count from the moment at which they are filled in. `timed` is the number of
calls in a histogram of latencies.
"""

from __future__ import annotations

from datetime import date

from kaixu.store.query import Connection, Query

from .recomputed import Difference

# What the roll-ups and the changes that still wait say of each series of a customer's key, against its events.
SERIES = Query(
    Difference,
    """
    with events as (
        select e.customer_id, e.chain_id, e.provider, e.model,
               coalesce(e.units #>> '{call,deployment}', '') as deployment, e.book, e.month,
               count(*) as calls, count(*) filter (where e.end_reason <> 'complete') as errors,
               sum(e.input_tokens)::bigint as input_tokens, sum(e.output_tokens)::bigint as output_tokens,
               sum(e.cached_input_tokens)::bigint as cached_input_tokens,
               sum(e.cache_write_tokens)::bigint as cache_write_tokens,
               sum(e.reasoning_tokens)::bigint as reasoning_tokens,
               sum(e.cost_nusd)::bigint as spent_nusd, sum(e.vendor_cost_nusd)::bigint as vendor_cost_nusd,
               sum(e.cost_nusd) filter (where not e.vendor_cost_known)::bigint as uncosted_nusd,
               count(*) filter (where e.end_reason <> 'lost') as timed
          from kaixu.usage_event e
         cross join kaixu.rollup_state s
         where ($1::date is null or e.month = $1) and (e.rolled_up or e.id < s.next_id)
         group by 1, 2, 3, 4, 5, 6, 7
    ), noted as (
        select s.customer_id, s.chain_id, s.provider, s.model, s.deployment, s.book, q.bucket, q.calls, q.errors,
               q.input_tokens, q.output_tokens, q.cached_input_tokens, q.cache_write_tokens, q.reasoning_tokens,
               q.spent_nusd, q.vendor_cost_nusd, q.uncosted_nusd, (select sum(n) from unnest(q.latency) n) as timed
          from kaixu.usage_quarter q
          join kaixu.usage_series s on s.id = q.series_id
         where s.customer_id <> 0
        union all
        select c.customer_id, c.chain_id, c.provider, c.model, c.deployment, c.book, c.bucket, c.calls, c.errors,
               c.input_tokens, c.output_tokens, c.cached_input_tokens, c.cache_write_tokens, c.reasoning_tokens,
               c.spent_nusd, c.vendor_cost_nusd, c.uncosted_nusd,
               case when c.latency_class is null then 0 else c.calls end
          from kaixu.usage_change c
    ), kept as (
        select customer_id, chain_id, provider, model, deployment, book,
               date_trunc('month', bucket at time zone 'UTC')::date as month,
               sum(calls)::bigint as calls, sum(errors)::bigint as errors, sum(input_tokens)::bigint as
               input_tokens, sum(output_tokens)::bigint as output_tokens, sum(cached_input_tokens)::bigint as
               cached_input_tokens, sum(cache_write_tokens)::bigint as cache_write_tokens,
               sum(reasoning_tokens)::bigint as reasoning_tokens, sum(spent_nusd)::bigint as spent_nusd,
               sum(vendor_cost_nusd)::bigint as vendor_cost_nusd, sum(uncosted_nusd)::bigint as uncosted_nusd,
               sum(timed)::bigint as timed
          from noted
         where $1::date is null
            or (bucket >= $1::timestamp at time zone 'UTC'
                and bucket < ($1::timestamp + interval '1 month') at time zone 'UTC')
         group by 1, 2, 3, 4, 5, 6, 7
    )
    select 'roll-ups of key chain' as what, chain_id as id, month, book,
           d.figure || ' of ' || provider || '/' || model as figure, d.kept, d.proven
      from kept k
      full join events e using (customer_id, chain_id, provider, model, deployment, book, month)
     cross join lateral (values
               ('calls', coalesce(k.calls, 0), coalesce(e.calls, 0)),
               ('errors', coalesce(k.errors, 0), coalesce(e.errors, 0)),
               ('input_tokens', coalesce(k.input_tokens, 0), coalesce(e.input_tokens, 0)),
               ('output_tokens', coalesce(k.output_tokens, 0), coalesce(e.output_tokens, 0)),
               ('cached_input_tokens', coalesce(k.cached_input_tokens, 0), coalesce(e.cached_input_tokens, 0)),
               ('cache_write_tokens', coalesce(k.cache_write_tokens, 0), coalesce(e.cache_write_tokens, 0)),
               ('reasoning_tokens', coalesce(k.reasoning_tokens, 0), coalesce(e.reasoning_tokens, 0)),
               ('spent_nusd', coalesce(k.spent_nusd, 0), coalesce(e.spent_nusd, 0)),
               ('vendor_cost_nusd', coalesce(k.vendor_cost_nusd, 0), coalesce(e.vendor_cost_nusd, 0)),
               ('uncosted_nusd', coalesce(k.uncosted_nusd, 0), coalesce(e.uncosted_nusd, 0)),
               ('timed', coalesce(k.timed, 0), coalesce(e.timed, 0))) d (figure, kept, proven)
     where d.kept <> d.proven
     order by 2, 3, 4, 5
     limit 1000
    """,
)

# All customers together against the sums of their own roll-ups.
TOTALS = Query(
    Difference,
    """
    with noted as (
        select s.customer_id = 0 as is_total, s.provider, s.model, s.deployment, s.book,
               date_trunc('month', q.bucket at time zone 'UTC')::date as month, q.calls, q.errors, q.input_tokens,
               q.output_tokens, q.cached_input_tokens, q.cache_write_tokens, q.reasoning_tokens, q.spent_nusd,
               q.vendor_cost_nusd, q.uncosted_nusd, (select sum(n) from unnest(q.latency) n) as timed
          from kaixu.usage_quarter q
          join kaixu.usage_series s on s.id = q.series_id
         where $1::date is null
            or (q.bucket >= $1::timestamp at time zone 'UTC'
                and q.bucket < ($1::timestamp + interval '1 month') at time zone 'UTC')
    ), sums as (
        select is_total, provider, model, deployment, book, month,
               sum(calls)::bigint as calls, sum(errors)::bigint as errors, sum(input_tokens)::bigint as
               input_tokens, sum(output_tokens)::bigint as output_tokens, sum(cached_input_tokens)::bigint as
               cached_input_tokens, sum(cache_write_tokens)::bigint as cache_write_tokens,
               sum(reasoning_tokens)::bigint as reasoning_tokens, sum(spent_nusd)::bigint as spent_nusd,
               sum(vendor_cost_nusd)::bigint as vendor_cost_nusd, sum(uncosted_nusd)::bigint as uncosted_nusd,
               sum(timed)::bigint as timed
          from noted
         group by 1, 2, 3, 4, 5, 6
    ), kept as (
        select provider, model, deployment, book, month, calls, errors, input_tokens,
               output_tokens, cached_input_tokens, cache_write_tokens, reasoning_tokens, spent_nusd,
               vendor_cost_nusd, uncosted_nusd, timed
          from sums where is_total
    ), proven as (
        select provider, model, deployment, book, month, calls, errors, input_tokens,
               output_tokens, cached_input_tokens, cache_write_tokens, reasoning_tokens, spent_nusd,
               vendor_cost_nusd, uncosted_nusd, timed
          from sums where not is_total
    )
    select 'roll-ups of all customers' as what, 0::bigint as id, month, book,
           d.figure || ' of ' || provider || '/' || model as figure, d.kept, d.proven
      from kept k
      full join proven p using (provider, model, deployment, book, month)
     cross join lateral (values
               ('calls', coalesce(k.calls, 0), coalesce(p.calls, 0)),
               ('errors', coalesce(k.errors, 0), coalesce(p.errors, 0)),
               ('input_tokens', coalesce(k.input_tokens, 0), coalesce(p.input_tokens, 0)),
               ('output_tokens', coalesce(k.output_tokens, 0), coalesce(p.output_tokens, 0)),
               ('cached_input_tokens', coalesce(k.cached_input_tokens, 0), coalesce(p.cached_input_tokens, 0)),
               ('cache_write_tokens', coalesce(k.cache_write_tokens, 0), coalesce(p.cache_write_tokens, 0)),
               ('reasoning_tokens', coalesce(k.reasoning_tokens, 0), coalesce(p.reasoning_tokens, 0)),
               ('spent_nusd', coalesce(k.spent_nusd, 0), coalesce(p.spent_nusd, 0)),
               ('vendor_cost_nusd', coalesce(k.vendor_cost_nusd, 0), coalesce(p.vendor_cost_nusd, 0)),
               ('uncosted_nusd', coalesce(k.uncosted_nusd, 0), coalesce(p.uncosted_nusd, 0)),
               ('timed', coalesce(k.timed, 0), coalesce(p.timed, 0))) d (figure, kept, proven)
     where d.kept <> d.proven
     order by 3, 4, 5
     limit 1000
    """,
)

# Days of the reporting zone against their quarters of an hour.
DAYS = Query(
    Difference,
    """
    with quarters as (
        select q.series_id, (q.bucket at time zone z.reporting_zone)::date as day, q.calls, q.errors, q.input_tokens,
               q.output_tokens, q.cached_input_tokens, q.cache_write_tokens, q.reasoning_tokens, q.spent_nusd,
               q.vendor_cost_nusd, q.uncosted_nusd, (select sum(n) from unnest(q.latency) n) as timed
          from kaixu.usage_quarter q
         cross join kaixu.rollup_state z
         where $1::date is null
            or (q.bucket >= ($1::timestamp - interval '2 days') at time zone 'UTC'
                and q.bucket < ($1::timestamp + interval '1 month 2 days') at time zone 'UTC')
    ), proven as (
        select series_id, day,
               sum(calls)::bigint as calls, sum(errors)::bigint as errors, sum(input_tokens)::bigint as
               input_tokens, sum(output_tokens)::bigint as output_tokens, sum(cached_input_tokens)::bigint as
               cached_input_tokens, sum(cache_write_tokens)::bigint as cache_write_tokens,
               sum(reasoning_tokens)::bigint as reasoning_tokens, sum(spent_nusd)::bigint as spent_nusd,
               sum(vendor_cost_nusd)::bigint as vendor_cost_nusd, sum(uncosted_nusd)::bigint as uncosted_nusd,
               sum(timed)::bigint as timed
          from quarters
         group by 1, 2
    ), kept as (
        select d.series_id, d.day, d.calls, d.errors, d.input_tokens, d.output_tokens, d.cached_input_tokens,
               d.cache_write_tokens, d.reasoning_tokens, d.spent_nusd, d.vendor_cost_nusd, d.uncosted_nusd,
               (select sum(n) from unnest(d.latency) n)::bigint as timed
          from kaixu.usage_day d
    )
    select 'days of series' as what, series_id as id, date_trunc('month', day)::date as month, s.book,
           d.figure || ' on ' || day as figure, d.kept, d.proven
      from kept k
      full join proven p using (series_id, day)
      left join kaixu.usage_series s on s.id = series_id
     cross join lateral (values
               ('calls', coalesce(k.calls, 0), coalesce(p.calls, 0)),
               ('errors', coalesce(k.errors, 0), coalesce(p.errors, 0)),
               ('input_tokens', coalesce(k.input_tokens, 0), coalesce(p.input_tokens, 0)),
               ('output_tokens', coalesce(k.output_tokens, 0), coalesce(p.output_tokens, 0)),
               ('cached_input_tokens', coalesce(k.cached_input_tokens, 0), coalesce(p.cached_input_tokens, 0)),
               ('cache_write_tokens', coalesce(k.cache_write_tokens, 0), coalesce(p.cache_write_tokens, 0)),
               ('reasoning_tokens', coalesce(k.reasoning_tokens, 0), coalesce(p.reasoning_tokens, 0)),
               ('spent_nusd', coalesce(k.spent_nusd, 0), coalesce(p.spent_nusd, 0)),
               ('vendor_cost_nusd', coalesce(k.vendor_cost_nusd, 0), coalesce(p.vendor_cost_nusd, 0)),
               ('uncosted_nusd', coalesce(k.uncosted_nusd, 0), coalesce(p.uncosted_nusd, 0)),
               ('timed', coalesce(k.timed, 0), coalesce(p.timed, 0))) d (figure, kept, proven)
     where d.kept <> d.proven
       and ($1::date is null or (day >= $1 and day < $1 + interval '1 month'))
     order by 2, day, 5
     limit 1000
    """,
)

APPS = Query(
    Difference,
    """
    with events as (
        select e.customer_id, e.month, e.app_id, e.book, count(*) as calls, sum(e.input_tokens)::bigint as input_tokens,
               sum(e.output_tokens)::bigint as output_tokens, sum(e.cost_nusd)::bigint as spent_nusd,
               sum(e.vendor_cost_nusd)::bigint as vendor_cost_nusd,
               sum(e.cost_nusd) filter (where not e.vendor_cost_known)::bigint as uncosted_nusd
          from kaixu.usage_event e
         where e.app_id is not null and ($1::date is null or e.month = $1)
         group by 1, 2, 3, 4
    ), kept as (
        select m.customer_id, m.month, m.app_id, m.book, m.calls, m.input_tokens, m.output_tokens, m.spent_nusd,
               m.vendor_cost_nusd, m.uncosted_nusd
          from kaixu.app_month m
         where $1::date is null or m.month = $1
    )
    select 'apps of customer' as what, customer_id as id, month, book, d.figure || ' of app ' || app_id as figure,
           d.kept, d.proven
      from kept k
      full join events e using (customer_id, month, app_id, book)
     cross join lateral (values
               ('calls', coalesce(k.calls, 0), coalesce(e.calls, 0)),
               ('input_tokens', coalesce(k.input_tokens, 0), coalesce(e.input_tokens, 0)),
               ('output_tokens', coalesce(k.output_tokens, 0), coalesce(e.output_tokens, 0)),
               ('spent_nusd', coalesce(k.spent_nusd, 0), coalesce(e.spent_nusd, 0)),
               ('vendor_cost_nusd', coalesce(k.vendor_cost_nusd, 0), coalesce(e.vendor_cost_nusd, 0)),
               ('uncosted_nusd', coalesce(k.uncosted_nusd, 0), coalesce(e.uncosted_nusd, 0))) d (figure, kept, proven)
     where d.kept <> d.proven
     order by 2, 3, 4, 5
     limit 1000
    """,
)

# An end user's name belongs to the customer: it is not shown.
END_USERS = Query(
    Difference,
    """
    with events as (
        select e.customer_id, e.month, e.end_user, count(*) as calls, sum(e.input_tokens)::bigint as input_tokens,
               sum(e.output_tokens)::bigint as output_tokens, sum(e.cost_nusd)::bigint as spent_nusd
          from kaixu.usage_event e
         where e.end_user is not null and ($1::date is null or e.month = $1)
         group by 1, 2, 3
    ), holds as (
        select r.customer_id, r.month, r.end_user, sum(r.held_nusd)::bigint as held_nusd
          from kaixu.reservation r
         where r.end_user is not null and ($1::date is null or r.month = $1)
         group by 1, 2, 3
    ), kept as (
        select m.customer_id, m.month, m.end_user, m.calls, m.input_tokens, m.output_tokens, m.spent_nusd, m.held_nusd
          from kaixu.end_user_month m
         where $1::date is null or m.month = $1
    )
    select 'an end user of customer' as what, customer_id as id, month, null::text as book, d.figure, d.kept, d.proven
      from kept k
      full join events e using (customer_id, month, end_user)
      full join holds h using (customer_id, month, end_user)
     cross join lateral (values
               ('calls', coalesce(k.calls, 0), coalesce(e.calls, 0)),
               ('input_tokens', coalesce(k.input_tokens, 0), coalesce(e.input_tokens, 0)),
               ('output_tokens', coalesce(k.output_tokens, 0), coalesce(e.output_tokens, 0)),
               ('spent_nusd', coalesce(k.spent_nusd, 0), coalesce(e.spent_nusd, 0)),
               ('held_nusd', coalesce(k.held_nusd, 0), coalesce(h.held_nusd, 0))) d (figure, kept, proven)
     where d.kept <> d.proven
     order by 2, 3, 5
     limit 1000
    """,
)


async def rollup_differences(db: Connection, month: date | None) -> list[Difference]:
    """Every figure of reports that does not add up, in one month or in all; at most 1000 of each kind."""
    return [one for query in (SERIES, TOTALS, DAYS, APPS, END_USERS) for one in await query.all(db, month)]
