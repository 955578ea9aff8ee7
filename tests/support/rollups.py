"""Roll-ups of usage in tests: they must say what the events say, at any moment."""

from __future__ import annotations

from kaixu.store.query import Connection
from kaixu.store.rollups import fill_usage, fold_usage

FIGURES = (
    "calls, errors, input_tokens, output_tokens, cached_input_tokens, cache_write_tokens, reasoning_tokens, spent_nusd, "
    "vendor_cost_nusd, uncosted_nusd"
)
SUMS = ", ".join(f"sum({figure})::bigint as {figure}" for figure in FIGURES.split(", "))
SERIES = "customer_id, chain_id, provider, model, deployment, book"

EVENTS = f"""
    select {SERIES}, month, {SUMS}, sum(timed)::bigint as timed
      from (select e.customer_id, e.chain_id, e.provider, e.model,
                   coalesce(e.units #>> '{{call,deployment}}', '') as deployment, e.book, e.month, 1 as calls,
                   (e.end_reason <> 'complete')::integer as errors, e.input_tokens, e.output_tokens,
                   e.cached_input_tokens, e.cache_write_tokens, e.reasoning_tokens, e.cost_nusd as spent_nusd,
                   e.vendor_cost_nusd, case when e.vendor_cost_known then 0 else e.cost_nusd end as uncosted_nusd,
                   (e.end_reason <> 'lost')::integer as timed
              from kaixu.usage_event e cross join kaixu.rollup_state s
             where e.rolled_up or e.id < s.next_id) e
     group by {SERIES}, month
"""

ROLLUPS = f"""
    select {SERIES}, month, {SUMS}, sum(timed)::bigint as timed
      from (select {SERIES}, date_trunc('month', q.bucket at time zone 'UTC')::date as month, {FIGURES},
                   (select sum(n) from unnest(q.latency) n) as timed
              from kaixu.usage_quarter q join kaixu.usage_series s on s.id = q.series_id
             where s.customer_id <> 0
            union all
            select {SERIES}, date_trunc('month', c.bucket at time zone 'UTC')::date, {FIGURES},
                   case when c.latency_class is null then 0 else c.calls end
              from kaixu.usage_change c) r
     group by {SERIES}, month
"""

# By day and by quarter, the series of all customers and the customers' own must be the same when all is folded.
OF_ALL = f"select provider, model, deployment, book, {{time}}, {SUMS}, kaixu.latency_total(latency) as latency " + (
    "from kaixu.{table} q join kaixu.usage_series s on s.id = q.series_id where (s.customer_id = 0) = $1 "
    "group by 1, 2, 3, 4, 5 order by 1, 2, 3, 4, 5"
)

MONTHS = f"""
    select 'month' as what, m.customer_id, m.spent_nusd, e.spent_nusd as proven
      from (select customer_id, month, book, calls, input_tokens, output_tokens, spent_nusd, vendor_cost_nusd, uncosted_nusd
              from kaixu.customer_month) m
      full join (select customer_id, month, book, {SUMS} from ({ROLLUPS}) r group by 1, 2, 3) e
           using (customer_id, month, book)
     where (m.calls, m.input_tokens, m.output_tokens, m.spent_nusd, m.vendor_cost_nusd, m.uncosted_nusd)
           is distinct from (e.calls, e.input_tokens, e.output_tokens, e.spent_nusd, e.vendor_cost_nusd, e.uncosted_nusd)
       and coalesce(m.calls, e.calls) <> 0
"""

APPS = """
    select app_id, m.spent_nusd, e.spent_nusd
      from kaixu.app_month m
      full join (select customer_id, month, app_id, book, count(*) as calls, sum(input_tokens)::bigint as input_tokens,
                        sum(output_tokens)::bigint as output_tokens, sum(cost_nusd)::bigint as spent_nusd,
                        sum(vendor_cost_nusd)::bigint as vendor_cost_nusd,
                        coalesce(sum(cost_nusd) filter (where not vendor_cost_known), 0)::bigint as uncosted_nusd
                   from kaixu.usage_event where app_id is not null group by 1, 2, 3, 4) e
           using (customer_id, month, app_id, book)
     where (m.calls, m.input_tokens, m.output_tokens, m.spent_nusd, m.vendor_cost_nusd, m.uncosted_nusd)
           is distinct from (e.calls, e.input_tokens, e.output_tokens, e.spent_nusd, e.vendor_cost_nusd, e.uncosted_nusd)
"""

END_USERS = """
    select end_user, m.calls, e.calls, m.spent_nusd, e.spent_nusd, m.held_nusd, r.held
      from kaixu.end_user_month m
      full join (select customer_id, month, end_user, count(*) as calls, sum(input_tokens)::bigint as input_tokens,
                        sum(output_tokens)::bigint as output_tokens, sum(cost_nusd)::bigint as spent_nusd
                   from kaixu.usage_event where end_user is not null group by 1, 2, 3) e using (customer_id, month, end_user)
      full join (select customer_id, month, end_user, sum(held_nusd)::bigint as held
                   from kaixu.reservation where end_user is not null group by 1, 2, 3) r using (customer_id, month, end_user)
     where (m.calls, m.input_tokens, m.output_tokens, m.spent_nusd, m.held_nusd) is distinct from
           (coalesce(e.calls, 0), coalesce(e.input_tokens, 0), coalesce(e.output_tokens, 0), coalesce(e.spent_nusd, 0),
            coalesce(r.held, 0))
"""


async def assert_rollups_agree(db: Connection) -> None:
    """Roll-ups with the changes that wait, and the months of apps and end users, say what the events say."""
    for one, other in ((EVENTS, ROLLUPS), (ROLLUPS, EVENTS)):
        # Rows of zeros are left where a difference has taken everything away again.
        missing = await db.fetch(
            f"select * from ({one}) x where (calls, spent_nusd) <> (0, 0) except select * from ({other}) y"
        )
        assert [dict(row) for row in missing] == []
    assert [tuple(row) for row in await db.fetch(APPS)] == []
    assert [tuple(row) for row in await db.fetch(END_USERS)] == []


async def assert_folded_rollups_agree(db: Connection) -> None:
    """Fold everything; then days, quarters of an hour and the sums of all customers agree with each other."""
    while await fold_usage(db, most=7):
        pass
    await assert_rollups_agree(db)
    assert await db.fetchval("select count(*) from kaixu.usage_change") == 0
    assert [tuple(row) for row in await db.fetch(MONTHS)] == []
    zone = await db.fetchval("select reporting_zone from kaixu.rollup_state")
    by_quarter = OF_ALL.format(time="bucket", table="usage_quarter")
    by_day = OF_ALL.format(time="day", table="usage_day")
    day_of_quarter = OF_ALL.format(time=f"(bucket at time zone '{zone}')::date", table="usage_quarter")
    everything = [await db.fetch(sql, own) for sql in (by_day, day_of_quarter) for own in (True, False)]
    assert everything[0] == everything[1] == everything[2] == everything[3]
    assert await db.fetch(by_quarter, True) == await db.fetch(by_quarter, False)


async def fill_in(db: Connection, *, most: int = 5000) -> None:
    """Fill in all older events."""
    while await fill_usage(db, most=most) is not None:
        pass
