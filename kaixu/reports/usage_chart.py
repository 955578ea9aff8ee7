"""Usage over time, in series: calls, tokens, spending, vendor cost, errors, refusals, latency."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import asyncpg
import msgspec

from kaixu.accounts import fields
from kaixu.plugin.errors import Unprocessable
from kaixu.store.query import Connection, Query

from .latency import percentile_ms
from .snapshot import report_snapshot
from .table import Report, Table
from .time_range import TimeRange, read_clock, read_range
from .usage_parts import DAYS, LABELS, LATENCY, QUARTERS, SUMS
from .values import instant

#: The most series of a chart, and the number without `series`; the rest is added up as `Other`.
MOST_SERIES, SERIES = 50, 10
OTHER = "Other"

#: A chart by customers compares them by their months: longer ones would read every month of all customers.
MOST_DAYS_BY_CUSTOMER = 100


class ChartPart(msgspec.Struct, frozen=True):
    """One interval of a series, as it is read."""

    start: datetime
    series: str
    calls: int
    errors: int
    input_tokens: int
    output_tokens: int
    cached_input_tokens: int
    cache_write_tokens: int
    reasoning_tokens: int
    spent_nusd: int
    vendor_cost_nusd: int
    uncosted_nusd: int
    latency: list[int]


class ChartPoint(msgspec.Struct, frozen=True):
    """One interval of a series. `refusals`: None where they are not known by this kind of series.

    `errors`: of the calls, those that did not end complete. Latencies are bounds of classes, see latency.py.
    """

    start: datetime
    series: str
    calls: int
    errors: int
    refusals: int | None
    input_tokens: int
    output_tokens: int
    cached_input_tokens: int
    cache_write_tokens: int
    reasoning_tokens: int
    spent_nusd: int
    vendor_cost_nusd: int | None
    uncosted_nusd: int | None
    p50_ms: int | None
    p95_ms: int | None
    p99_ms: int | None


class SeriesName(msgspec.Struct, frozen=True):
    """A label and the name that people know: a customer's address, a key's label."""

    label: str
    name: str


class RefusalCount(msgspec.Struct, frozen=True):
    """The refused and failed calls of a series in an interval."""

    start: datetime
    series: str
    calls: int


class LargestCustomer(msgspec.Struct, frozen=True):
    """A customer that spends much."""

    customer_id: int


# The series that spent most; the rest is one series, so that a chart is small however many keys there are.
FOLDED = f"""
    , largest as materialized (
        select p.label
          from part p
         group by p.label
         order by sum(p.spent_nusd) desc, sum(p.calls) desc, p.label
         limit $11
    )
    select p.start, case when l.label is null then '{OTHER}' else p.label end as series, {SUMS}, {LATENCY} as latency
      from part p
      left join largest l on l.label = p.label
     group by 1, 2
     order by 1, 2
"""  # noqa: S608 - constants

CHART_QUARTERS = Query(ChartPart, QUARTERS + FOLDED)
CHART_DAYS = Query(ChartPart, DAYS + FOLDED)

LARGEST = Query(
    LargestCustomer,
    """
    select m.customer_id
      from kaixu.customer_month m
     where m.month >= date_trunc('month', $1::timestamptz at time zone 'UTC')::date
       and m.month < ($2::timestamptz at time zone 'UTC')::date + 1
     group by m.customer_id
     order by sum(m.spent_nusd) desc, m.customer_id
     limit $3
    """,
)

#: A refusal names a key, a series its chain.
REFUSAL_LABELS = {
    "total": "'total'::text",
    "provider": "r.provider",
    "model": "r.provider || '/' || r.model",
    "customer": "r.customer_id::text",
    "key": "coalesce((select k.chain_id from kaixu.virtual_key k where k.id = r.key_id), r.key_id)::text",
}


def refusals_by(label: str) -> Query[RefusalCount]:
    """Refusals by series. They are summed by quarter first: to find the day of each of them costs most of the time."""
    return Query(
        RefusalCount,
        f"""
        select date_trunc(case $5::text when 'quarter' then 'minute' else $5 end, q.bucket, $4::text) as start,
               q.series, sum(q.calls)::bigint as calls
          from (select r.bucket, {label} as series, sum(r.calls) as calls
                  from kaixu.refusal_quarter r
                 where r.bucket >= $1 and r.bucket < $2
                   and ($3::bigint is null or r.customer_id = $3)
                   and ($6::bigint is null
                        or r.key_id in (select $6 union all
                                        select k.id from kaixu.virtual_key k where k.chain_id = $6))
                   and ($7::text is null or r.provider = $7) and ($8::text is null or r.model = $8)
                 group by 1, 2) q
         group by 1, 2
        """,  # noqa: S608 - constants
    )


REFUSALS = {by: refusals_by(label) for by, label in REFUSAL_LABELS.items()}

CUSTOMER_NAMES = Query(
    SeriesName, "select c.id::text as label, c.email as name from kaixu.customer c where c.id = any($1::bigint[])"
)

KEY_NAMES = Query(
    SeriesName,
    """
    select distinct on (k.chain_id) k.chain_id::text as label, k.label || ' …' || k.key_last4 as name
      from kaixu.virtual_key k
     where k.chain_id = any($1::bigint[])
     order by k.chain_id, k.id desc
    """,
)

COLUMNS: list[tuple[str, Any]] = [
    ("start", "instant"), ("series", "text"), ("calls", "integer"), ("errors", "integer"), ("refusals", "integer"),
    ("input_tokens", "integer"), ("output_tokens", "integer"), ("cached_input_tokens", "integer"),
    ("cache_write_tokens", "integer"), ("reasoning_tokens", "integer"), ("spent_nusd", "money"),
]  # fmt: skip
LATENCIES: list[tuple[str, Any]] = [("p50_ms", "integer"), ("p95_ms", "integer"), ("p99_ms", "integer")]

CHART = Report(
    "usage-chart", "Usage over time", ChartPoint,
    [*COLUMNS, ("vendor_cost_nusd", "money"), ("uncosted_nusd", "money"), *LATENCIES],
)  # fmt: skip

#: What users see: no vendor cost.
USER_CHART = Report("user-usage-chart", "Usage over time", ChartPoint, [*COLUMNS, *LATENCIES])


class ChartQuestion(msgspec.Struct, frozen=True):
    """What a chart shows. `customer_id` None: all customers; `chain_id`: one key with those that it replaced."""

    by: str
    series: int = SERIES
    customer_id: int | None = None
    chain_id: int | None = None
    provider: str | None = None
    model: str | None = None
    book: str | None = None


def read_question(given: Mapping[str, object], *, customer_id: int | None, chain_id: int | None) -> ChartQuestion:
    """What a chart shows, from the fields of a request. Raises `Unprocessable`."""
    by = fields.text(given.get("by"), "by", 20) or "total"
    if by not in LABELS:
        raise Unprocessable(f"`by` must be one of {', '.join(LABELS)}", field="by")
    if by == "key" and customer_id is None:
        raise Unprocessable("a chart by key needs `customer_id`", field="by")
    series = fields.bounded(given.get("series"), "series", MOST_SERIES, least=1) or SERIES
    texts = (fields.text(given.get(name), name, fields.MOST_NAME) for name in ("provider", "model", "book"))
    return ChartQuestion(by, series, customer_id, chain_id, *texts)


async def usage_chart(
    pool: asyncpg.Pool, given: Mapping[str, object], question: ChartQuestion, report: Report[ChartPoint] = CHART
) -> Table[ChartPoint]:
    """A chart, by the fields `from`, `to`, `month` and `interval`. Raises `Unprocessable`."""
    async with report_snapshot(pool) as connection:
        time = read_range(given, await read_clock(connection))
        parts = await read_parts(connection, question, time)
        refusals = await read_refusals(connection, question, time)
        names = await series_names(connection, question, parts)
    points = chart_points(parts, refusals, names)
    about = {
        "from": instant(time.since),
        "to": instant(time.until),
        "interval": time.interval,
        "by": question.by,
        "customer_id": question.customer_id,
        "series": sorted({point.series for point in points}, key=lambda name: (name == OTHER, name)),
    }
    return Table(report, points, time.zone, about)


async def read_parts(db: Connection, question: ChartQuestion, time: TimeRange) -> list[ChartPart]:
    """The intervals of each series, and of `Other`."""
    if question.by != "customer" or question.customer_id is not None:
        return await parts_of(db, question, time, [question.customer_id or 0])
    if (time.until - time.since).days > MOST_DAYS_BY_CUSTOMER:
        raise Unprocessable(f"a chart by customer is of at most {MOST_DAYS_BY_CUSTOMER} days", field="from")
    largest = [row.customer_id for row in await LARGEST.all(db, time.since, time.until, question.series)]
    series = await parts_of(db, question, time, largest)
    everyone = await parts_of(db, msgspec.structs.replace(question, by="total"), time, [0])
    return [*series, *rest_of(everyone, series)]


async def parts_of(db: Connection, question: ChartQuestion, time: TimeRange, customers: list[int]) -> list[ChartPart]:
    """The intervals of the series of these customers; 0: all of them together."""
    if time.is_whole_days:
        query, since, until = CHART_DAYS, time.first_day, time.end_day
    else:
        query, since, until = CHART_QUARTERS, time.since, time.until
    return await query.all(
        db, customers, question.chain_id, since, until, time.zone, question.by, question.provider, question.model,
        question.book, time.interval, question.series,
    )  # fmt: skip


def rest_of(everyone: list[ChartPart], series: list[ChartPart]) -> list[ChartPart]:
    """What is not in the `series`, interval by interval, as `Other`."""
    rest = {part.start: msgspec.structs.asdict(part) | {"series": OTHER} for part in everyone}
    for part in series:
        of_all = rest[part.start]
        for name, value in msgspec.structs.asdict(part).items():
            if isinstance(value, int):
                of_all[name] -= value
        of_all["latency"] = [all_ - one for all_, one in zip(of_all["latency"], part.latency, strict=True)]
    return [ChartPart(**of_all) for of_all in rest.values() if of_all["calls"] or of_all["spent_nusd"]]


async def read_refusals(db: Connection, question: ChartQuestion, time: TimeRange) -> list[RefusalCount] | None:
    """Refused calls; None where a chart is by what refusals do not name."""
    if question.by in ("deployment", "book") or question.book is not None:
        return None
    return await REFUSALS[question.by].all(
        db, time.since, time.until, question.customer_id, time.zone, time.interval, question.chain_id,
        question.provider, question.model,
    )  # fmt: skip


async def series_names(db: Connection, question: ChartQuestion, parts: list[ChartPart]) -> dict[str, str]:
    """The names of customers and keys, by their labels; others are their own name."""
    if question.by not in ("customer", "key"):
        return {}
    ids = sorted({int(part.series) for part in parts if part.series != OTHER})
    query = CUSTOMER_NAMES if question.by == "customer" else KEY_NAMES
    return {row.label: f"{row.label} {row.name}" for row in await query.all(db, ids)}


def chart_points(
    parts: list[ChartPart], refusals: list[RefusalCount] | None, names: Mapping[str, str]
) -> list[ChartPoint]:
    """The points of a chart by time and series, with refusals; those of series that are not shown are in `Other`."""
    shown = {part.series for part in parts if part.series != OTHER}
    counts: dict[tuple[datetime, str], int] = {}
    for refusal in refusals or ():
        at = refusal.start, refusal.series if refusal.series in shown or refusal.series == "total" else OTHER
        counts[at] = counts.get(at, 0) + refusal.calls
    by_place = {(part.start, part.series): part for part in parts}
    points = []
    for start, series in sorted({*by_place, *counts}):
        part = by_place.get((start, series))
        refused = None if refusals is None else counts.get((start, series), 0)
        points.append(chart_point(start, names.get(series, series), part, refused))
    return points


def chart_point(start: datetime, series: str, part: ChartPart | None, refusals: int | None) -> ChartPoint:
    """One point; without calls, `part` is None."""
    if part is None:
        return ChartPoint(start, series, 0, 0, refusals, 0, 0, 0, 0, 0, 0, 0, 0, None, None, None)
    p50, p95, p99 = (percentile_ms(part.latency, percent) for percent in (50, 95, 99))
    return ChartPoint(
        start, series, part.calls, part.errors, refusals, part.input_tokens, part.output_tokens,
        part.cached_input_tokens, part.cache_write_tokens, part.reasoning_tokens, part.spent_nusd,
        part.vendor_cost_nusd, part.uncosted_nusd, p50, p95, p99,
    )  # fmt: skip
