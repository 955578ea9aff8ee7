"""SQL that charts and margins share: the roll-ups of a time and the changes that wait, as rows `part` with a `label`.

Parameters: $1 the customers' ids (0: all together), $2 a key chain or null, $3 and $4 the time (moments, or days),
$5 the reporting zone, $6 what a label is, $7 provider, $8 model, $9 book, $10 the interval.
Roll-ups and changes are read in one statement: each call is seen once, whenever fold_usage commits.
"""

from __future__ import annotations

from .latency import CLASSES

#: What a series of a chart, or a row of a margin report, is about.
LABELS = ("total", "provider", "model", "customer", "key", "deployment", "book")

COUNTED = (
    "calls", "errors", "input_tokens", "output_tokens", "cached_input_tokens", "cache_write_tokens", "reasoning_tokens",
    "spent_nusd", "vendor_cost_nusd", "uncosted_nusd",
)  # fmt: skip
SUMS = ", ".join(f"sum(p.{name})::bigint as {name}" for name in COUNTED)
PLAIN = ", ".join(f"x.{name}" for name in COUNTED)

#: Sums of single elements are many times faster than an aggregate over arrays.
LATENCY = "array[" + ", ".join(f"coalesce(sum(p.latency[{k}]), 0)::bigint" for k in range(1, CLASSES + 1)) + "]"


def label_of(alias: str) -> str:
    """The label of a row of usage_series or usage_change. A model is named with its provider, a place with both."""
    return f"""case $6::text when 'provider' then {alias}.provider
                             when 'model' then {alias}.provider || '/' || {alias}.model
                             when 'customer' then {alias}.customer_id::text when 'key' then {alias}.chain_id::text
                             when 'deployment' then {alias}.provider || '/' || {alias}.deployment
                             when 'place'
                             then {alias}.provider || '/' || {alias}.model || '/' || {alias}.deployment
                             when 'book' then {alias}.book else 'total' end"""


def is_asked(alias: str) -> str:
    """The filters on keys, providers, models and books."""
    return f"""($2::bigint is null or {alias}.chain_id = $2) and ($7::text is null or {alias}.provider = $7)
           and ($8::text is null or {alias}.model = $8) and ($9::text is null or {alias}.book = $9)"""


#: The rows that fold_usage has not moved yet; they belong to one customer each.
WAITING = f"""
        select {label_of("c")} as label, {{start}} as start, {", ".join(f"c.{name}" for name in COUNTED)},
               case when c.latency_class is null then null
                    else array_fill(0::bigint, array[c.latency_class])
                         || c.calls::bigint
                         || array_fill(0::bigint, array[{CLASSES - 1} - c.latency_class]) end as latency
          from kaixu.usage_change c
         where (0 = any($1::bigint[]) or c.customer_id = any($1::bigint[]))
           and {{time}} and {is_asked("c")}
"""  # noqa: S608 - constants

QUARTER_START = """case $10::text when 'hour' then date_trunc('hour', {alias}.bucket, $5::text)
                                 when 'day' then date_trunc('day', {alias}.bucket, $5::text) else {alias}.bucket end"""
BETWEEN = "{alias}.bucket >= $3::timestamptz and {alias}.bucket < $4::timestamptz"
DAY = "(c.bucket at time zone $5::text)::date"
#: Every statement takes the interval, so that all have the same parameters.
IN_DAYS = f"{DAY} >= $3::date and {DAY} < $4::date and $10::text is not null"

#: By quarters of an hour, also added up to hours or days.
QUARTERS = f"""
    with asked as materialized (
        select s.id, {label_of("s")} as label from kaixu.usage_series s
         where s.customer_id = any($1::bigint[]) and {is_asked("s")}
    ), part as (
        select a.label, {QUARTER_START.format(alias="x")} as start, {PLAIN}, x.latency
          from asked a
          join kaixu.usage_quarter x on x.series_id = a.id and {BETWEEN.format(alias="x")}
         union all
        {WAITING.format(start=QUARTER_START.format(alias="c"), time=BETWEEN.format(alias="c"))}
    )
"""  # noqa: S608 - constants

#: By days of the reporting zone; $3 and $4 are dates.
DAYS = f"""
    with asked as materialized (
        select s.id, {label_of("s")} as label from kaixu.usage_series s
         where s.customer_id = any($1::bigint[]) and {is_asked("s")}
    ), part as (
        select a.label, (x.day::timestamp at time zone $5::text) as start, {PLAIN}, x.latency
          from asked a
          join kaixu.usage_day x on x.series_id = a.id and x.day >= $3::date and x.day < $4::date
         union all
        {WAITING.format(start=f"({DAY}::timestamp at time zone $5::text)", time=IN_DAYS)}
    )
"""  # noqa: S608 - constants
