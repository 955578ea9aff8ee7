"""The figures of one month of demo data: months of customers, keys, apps and end users, and the roll-ups of reports.

They are added up from the usage events themselves. Rows about all customers together are added to what is there.
"""

from __future__ import annotations

from datetime import date

from .demo import Demo
from .query import Connection

#: $1 the month, $2 and $3 the customers.
OF_DEMO = "e.month = $1 and e.customer_id between $2 and $3"

MONTHS = (
    """
    insert into kaixu.customer_month
           (customer_id, month, book, spent_nusd, extra_nusd, vendor_cost_nusd, uncosted_nusd, calls, input_tokens,
            output_tokens)
    select customer_id, $1, book, coalesce(x.spent, 0), coalesce(t.extra, 0), coalesce(x.vendor, 0),
           coalesce(x.uncosted, 0), coalesce(x.calls, 0), coalesce(x.input, 0), coalesce(x.output, 0)
      from (select e.customer_id, e.book, sum(e.cost_nusd) as spent, sum(e.vendor_cost_nusd) as vendor,
                   sum(e.cost_nusd) filter (where not e.vendor_cost_known) as uncosted, count(*) as calls,
                   sum(e.input_tokens) as input, sum(e.output_tokens) as output
              from kaixu.usage_event e
             where e.month = $1 and e.customer_id between $2 and $3
             group by e.customer_id, e.book) x
      full join (select t.customer_id, 'ai' as book, sum(t.amount_nusd) as extra
                   from kaixu.topup t
                  where t.month = $1 and t.customer_id between $2 and $3
                  group by t.customer_id) t using (customer_id, book)
    """,
    """
    insert into kaixu.key_month
           (chain_id, month, book, customer_id, spent_nusd, vendor_cost_nusd, uncosted_nusd, calls, input_tokens,
            output_tokens)
    select e.chain_id, $1, e.book, e.customer_id, sum(e.cost_nusd), sum(e.vendor_cost_nusd),
           coalesce(sum(e.cost_nusd) filter (where not e.vendor_cost_known), 0), count(*), sum(e.input_tokens),
           sum(e.output_tokens)
      from kaixu.usage_event e
     where e.month = $1 and e.customer_id between $2 and $3
     group by e.chain_id, e.book, e.customer_id
    """,
    """
    insert into kaixu.app_month
           (customer_id, month, app_id, book, calls, input_tokens, output_tokens, spent_nusd, vendor_cost_nusd,
            uncosted_nusd)
    select e.customer_id, $1, e.app_id, e.book, count(*), sum(e.input_tokens), sum(e.output_tokens), sum(e.cost_nusd),
           sum(e.vendor_cost_nusd), coalesce(sum(e.cost_nusd) filter (where not e.vendor_cost_known), 0)
      from kaixu.usage_event e
     where e.month = $1 and e.customer_id between $2 and $3 and e.app_id is not null
     group by e.customer_id, e.app_id, e.book
    """,
    """
    insert into kaixu.end_user_month (customer_id, month, end_user, calls, input_tokens, output_tokens, spent_nusd)
    select e.customer_id, $1, e.end_user, count(*), sum(e.input_tokens), sum(e.output_tokens), sum(e.cost_nusd)
      from kaixu.usage_event e
     where e.month = $1 and e.customer_id between $2 and $3 and e.end_user is not null
     group by e.customer_id, e.end_user
    """,
)

#: Calls by latency class: what kaixu.latency_counts makes, in one pass.
HISTOGRAM = "array[" + ", ".join(f"count(*) filter (where x.latency_class = {one})" for one in range(32)) + "]"

#: The series of an event; for all customers together, customer and chain are 0.
OWN = "e.customer_id, e.chain_id"
ALL = "0::bigint as customer_id, 0::bigint as chain_id"

FIGURES = (
    "calls", "errors", "input_tokens", "output_tokens", "cached_input_tokens", "cache_write_tokens", "reasoning_tokens",
    "spent_nusd", "vendor_cost_nusd", "uncosted_nusd",
)  # fmt: skip

QUARTER = "kaixu.usage_bucket(p_admitted_at => e.admitted_at, p_month => e.month)"
DAY = "(" + QUARTER + " at time zone (select s.reporting_zone from kaixu.rollup_state s))::date"  # noqa: S608


def series_sql(whose: str) -> str:
    """Make the series that a month needs."""
    return f"""
    insert into kaixu.usage_series (customer_id, chain_id, provider, model, deployment, book)
    select distinct {whose}, e.provider, e.model, coalesce(e.units -> 'call' ->> 'deployment', '') as deployment, e.book
      from kaixu.usage_event e
     where {OF_DEMO}
        on conflict do nothing
    """  # noqa: S608 - constants


def rollup_sql(table: str, column: str, moment: str, whose: str) -> str:
    """Fill `table`, whose rows are about a series and a `column`, the `moment` of an event."""
    added = ", ".join(f"{name} = q.{name} + excluded.{name}" for name in FIGURES)
    return f"""
    insert into kaixu.{table} as q (series_id, {column}, {", ".join(FIGURES)}, latency)
    select s.id, r.{column}, {", ".join(f"r.{name}" for name in FIGURES)}, r.latency
      from (select x.customer_id, x.chain_id, x.provider, x.model, x.deployment, x.book, x.{column}, count(*) as calls,
                   count(*) filter (where x.end_reason <> 'complete') as errors,
                   sum(x.input_tokens)::bigint as input_tokens, sum(x.output_tokens)::bigint as output_tokens,
                   sum(x.cached_input_tokens)::bigint as cached_input_tokens,
                   sum(x.cache_write_tokens)::bigint as cache_write_tokens,
                   sum(x.reasoning_tokens)::bigint as reasoning_tokens, sum(x.cost_nusd)::bigint as spent_nusd,
                   sum(x.vendor_cost_nusd)::bigint as vendor_cost_nusd,
                   coalesce(sum(x.cost_nusd) filter (where not x.vendor_cost_known), 0)::bigint as uncosted_nusd,
                   {HISTOGRAM} as latency
              from (select {whose}, e.provider, e.model, e.book, {moment} as {column}, e.end_reason, e.input_tokens,
                           coalesce(e.units -> 'call' ->> 'deployment', '') as deployment, e.output_tokens,
                           e.cached_input_tokens, e.cache_write_tokens, e.reasoning_tokens, e.cost_nusd,
                           e.vendor_cost_nusd, e.vendor_cost_known,
                           kaixu.latency_class(p_ms => e.duration_ms) as latency_class
                      from kaixu.usage_event e
                     where {OF_DEMO}) x
             group by x.customer_id, x.chain_id, x.provider, x.model, x.deployment, x.book, x.{column}) r
      join kaixu.usage_series s using (customer_id, chain_id, provider, model, deployment, book)
        on conflict (series_id, {column}) do update
       set {added},
           latency = kaixu.latency_sum(p_one => q.latency, p_other => excluded.latency)
    """  # noqa: S608 - constants


ROLLUPS = tuple(
    statement
    for whose in (OWN, ALL)
    for statement in (
        series_sql(whose),
        rollup_sql("usage_quarter", "bucket", QUARTER, whose),
        rollup_sql("usage_day", "day", DAY, whose),
    )
)


async def lock_rollups(db: Connection) -> None:
    """The lock of the roll-ups until the transaction ends: see fold_usage."""
    await db.execute("select pg_advisory_xact_lock(x'726f6c6c'::bigint)")


async def seed_figures(db: Connection, demo: Demo, month: date) -> None:
    """All figures of one month, whose events and top-ups are there. Takes the lock of the roll-ups."""
    await lock_rollups(db)
    for statement in (*MONTHS, *ROLLUPS):
        await db.execute(statement, month, demo.first_customer, demo.last_customer)


CAPS = """
    update kaixu.customer c
       set monthly_cap_nusd = 1000000000 * (m.most / 1000000000 + 10)
      from (select x.customer_id, max(x.spent) as most
              from (select b.customer_id, b.month, sum(b.spent_nusd - b.extra_nusd)::bigint as spent
                      from kaixu.customer_month b
                     where b.customer_id between $1 and $2
                     group by b.customer_id, b.month) x
             group by x.customer_id) m
     where c.id = m.customer_id and c.monthly_cap_nusd < m.most
"""


async def raise_caps(db: Connection, demo: Demo) -> None:
    """Raise the caps of customers who spend more, so that no month is above its cap."""
    await db.execute(CAPS, demo.first_customer, demo.last_customer)
