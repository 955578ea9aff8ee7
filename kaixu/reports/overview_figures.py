"""What the overview shows of today and of the month, each beside the same time of the day or the month before."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, time, timedelta
from zoneinfo import ZoneInfo

import msgspec

from kaixu.store.query import Connection, Query

from .latency import CLASSES, percentile_ms
from .margin import margin_percent
from .time_range import Clock, end_of
from .usage_chart import ChartPart
from .usage_parts import COUNTED, LATENCY, PLAIN, SUMS


class Period(msgspec.Struct, frozen=True):
    """From a moment up to another, both at a quarter of an hour."""

    since: datetime
    until: datetime


class Periods(msgspec.Struct, frozen=True):
    """Today in the reporting zone, the month in UTC, and what they are compared with. All end with a whole quarter."""

    today: Period
    yesterday: Period
    month: Period
    last_month: Period


class PeriodPart(msgspec.Struct, frozen=True):
    """The calls of a model in the period number `at`, from 1."""

    at: int
    provider: str
    model: str
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


class RefusedCalls(msgspec.Struct, frozen=True):
    """How many calls were refused in the period number `at`."""

    at: int
    calls: int


class Figures(msgspec.Struct, frozen=True):
    """Sums of calls. `errors`: of the calls, those that did not end complete; `refusals`: calls without a usage event.

    `uncosted_nusd`: spending with an unknown vendor cost. Latencies are bounds of classes, see latency.py.
    """

    calls: int
    errors: int
    refusals: int | None
    input_tokens: int
    output_tokens: int
    spent_nusd: int
    vendor_cost_nusd: int
    uncosted_nusd: int
    p50_ms: int | None
    p95_ms: int | None

    @property
    def margin_nusd(self) -> int:
        """What is left of the spending whose vendor cost is known."""
        return self.spent_nusd - self.uncosted_nusd - self.vendor_cost_nusd

    @property
    def margin_percent(self) -> int | None:
        """The margin in hundredths of a percent."""
        return margin_percent(self.margin_nusd, self.spent_nusd - self.uncosted_nusd)


# Whole days of the reporting zone come from usage_day, what is left at both ends of a period from usage_quarter, and
# what fold_usage has not moved yet from usage_change: in one statement, so that each call is seen once. A series is
# looked up by its key, for the planner cannot know how short a period is.
PARTS = Query(
    PeriodPart,
    f"""
    with span as (
        select p.at, p.since, p.until, s.reporting_zone as zone,
               (p.until at time zone s.reporting_zone)::date as end_day,
               (p.since at time zone s.reporting_zone - interval '1 microsecond')::date + 1 as first_day
          from unnest($1::timestamptz[], $2::timestamptz[]) with ordinality p (since, until, at)
         cross join kaixu.rollup_state s
    ), period as materialized (
        select x.at, x.since, x.until, x.first_day, x.end_day, x.days_since,
               greatest(x.end_day::timestamp at time zone x.zone, x.days_since) as days_until
          from (select s.at, s.since, s.until, s.zone, s.first_day, s.end_day,
                       least(s.first_day::timestamp at time zone s.zone, s.until) as days_since
                  from span s) x
    ), series as materialized (
        select s.id, s.provider, s.model from kaixu.usage_series s where s.customer_id = 0
    ), part as (
        select t.at, s.provider, s.model, {PLAIN}, x.latency
          from period t cross join series s
         cross join lateral (select * from kaixu.usage_day d
                              where d.series_id = s.id and d.day >= t.first_day and d.day < t.end_day offset 0) x
         union all
        select t.at, s.provider, s.model, {PLAIN}, x.latency
          from period t cross join series s
         cross join lateral (values (t.since, t.days_since), (t.days_until, t.until)) e (since, until)
         cross join lateral (select * from kaixu.usage_quarter q
                              where q.series_id = s.id and q.bucket >= e.since and q.bucket < e.until offset 0) x
         union all
        select t.at, x.provider, x.model, {PLAIN},
               case when x.latency_class is null then null
                    else array_fill(0::bigint, array[x.latency_class])
                         || x.calls::bigint
                         || array_fill(0::bigint, array[{CLASSES - 1} - x.latency_class]) end
          from period t
          join kaixu.usage_change x on x.bucket >= t.since and x.bucket < t.until
    )
    select p.at, p.provider, p.model, {SUMS}, {LATENCY} as latency
      from part p
     group by 1, 2, 3
     order by 1, 2, 3
    """,  # noqa: S608 - constants
)

REFUSED = Query(
    RefusedCalls,
    """
    select p.at, (select coalesce(sum(r.calls), 0)::bigint
                    from kaixu.refusal_quarter r
                   where r.bucket >= p.since and r.bucket < p.until) as calls
      from unnest($1::timestamptz[], $2::timestamptz[]) with ordinality p (since, until, at)
     order by 1
    """,
)


def periods_at(clock: Clock) -> Periods:
    """The periods of an overview at a moment."""
    zone = ZoneInfo(clock.zone)
    until = end_of(clock.now, "quarter", zone)
    midnight = datetime.combine(clock.now.astimezone(zone).date(), time(0))
    wall = until.astimezone(zone).replace(tzinfo=None)
    day = timedelta(days=1)
    month = clock.now.astimezone(UTC).replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    last_month = (month - day).replace(day=1)

    def moment(local: datetime) -> datetime:
        return local.replace(tzinfo=zone).astimezone(UTC)

    return Periods(
        today=Period(moment(midnight), until),
        yesterday=Period(moment(midnight - day), moment(wall - day)),
        month=Period(month, until),
        last_month=Period(last_month, min(last_month + (until - month), month)),
    )


async def read_parts(db: Connection, periods: Sequence[Period]) -> list[list[PeriodPart]]:
    """For each period the calls of each model."""
    bounds = [period.since for period in periods], [period.until for period in periods]
    parts = await PARTS.all(db, *bounds)
    return [[part for part in parts if part.at == at] for at in range(1, len(periods) + 1)]


async def read_refused(db: Connection, periods: Sequence[Period]) -> list[int]:
    """For each period the number of refused calls."""
    rows = await REFUSED.all(db, [period.since for period in periods], [period.until for period in periods])
    return [row.calls for row in rows]


def figures_of(parts: Iterable[PeriodPart | ChartPart], refusals: int | None = None) -> Figures:
    """All parts together."""
    sums = dict.fromkeys(COUNTED, 0)
    latency = [0] * CLASSES
    for part in parts:
        for name in COUNTED:
            sums[name] += getattr(part, name)
        latency = [all_ + one for all_, one in zip(latency, part.latency, strict=True)]
    return Figures(
        sums["calls"], sums["errors"], refusals, sums["input_tokens"], sums["output_tokens"], sums["spent_nusd"],
        sums["vendor_cost_nusd"], sums["uncosted_nusd"], percentile_ms(latency, 50), percentile_ms(latency, 95),
    )  # fmt: skip
