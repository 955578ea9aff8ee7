"""The models that were spent most on, and the spending of the last days, of models and of customers."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

import msgspec

from kaixu.store.query import Connection

from .margin import margin_percent
from .overview_customers import LeadingCustomer
from .overview_figures import Figures, PeriodPart, figures_of
from .time_range import Clock, TimeRange
from .usage_chart import ChartPart, ChartQuestion, parts_of

#: How many customers and models are shown, and the days of their small charts.
LEADERS = 5
DAYS = 14

#: More models than any gateway has.
MOST_MODELS = 10_000


class LeadingModel(msgspec.Struct, frozen=True):
    """A model that was spent most on."""

    provider: str
    model: str
    calls: int
    tokens: int
    spent_nusd: int
    vendor_cost_nusd: int
    uncosted_nusd: int

    @property
    def margin_nusd(self) -> int:
        """What is left of the spending whose vendor cost is known."""
        return self.spent_nusd - self.uncosted_nusd - self.vendor_cost_nusd

    @property
    def margin_percent(self) -> int | None:
        """The margin in hundredths of a percent."""
        return margin_percent(self.margin_nusd, self.spent_nusd - self.uncosted_nusd)


def leading_models(parts: Iterable[PeriodPart]) -> list[LeadingModel]:
    """The models that were spent most on, of the calls of a period."""
    models = [
        LeadingModel(
            part.provider, part.model, part.calls, part.input_tokens + part.output_tokens, part.spent_nusd,
            part.vendor_cost_nusd, part.uncosted_nusd,
        )
        for part in parts
        if part.calls or part.spent_nusd
    ]  # fmt: skip
    return sorted(models, key=lambda one: (-one.spent_nusd, -one.calls, one.provider, one.model))[:LEADERS]


def last_days(clock: Clock) -> TimeRange:
    """The last days of the reporting zone, with today."""
    zone = ZoneInfo(clock.zone)
    today = clock.now.astimezone(zone).date()
    since, until = (
        datetime.combine(day, time(0), zone).astimezone(UTC)
        for day in (today - timedelta(days=DAYS - 1), today + timedelta(days=1))
    )
    return TimeRange(since, until, clock.zone, "day")


def days_of(days: TimeRange) -> list[date]:
    """The days of a time."""
    return [days.first_day + timedelta(days=number) for number in range((days.end_day - days.first_day).days)]


async def days_of_models(db: Connection, days: TimeRange) -> list[ChartPart]:
    """The calls of each model of all customers (`provider/model`), day by day; days without any are missing."""
    return await parts_of(db, ChartQuestion("model", MOST_MODELS), days, [0])


async def days_of_customers(db: Connection, days: TimeRange, customers: Sequence[LeadingCustomer]) -> list[ChartPart]:
    """The calls of each customer, by its id, day by day; days without any are missing."""
    ids = [customer.customer_id for customer in customers]
    return await parts_of(db, ChartQuestion("customer", LEADERS), days, ids) if ids else []


def spent_by_day(days: TimeRange, parts: Iterable[ChartPart], series: str) -> list[int]:
    """The spending of a series on each day, in nano-dollars."""
    spent = {part.start: part.spent_nusd for part in parts if part.series == series}
    return [spent.get(start, 0) for start in starts_of(days)]


def figures_by_day(days: TimeRange, parts: Sequence[ChartPart]) -> list[tuple[date, Figures]]:
    """All series of each day together."""
    starts = starts_of(days)
    return [
        (day, figures_of(part for part in parts if part.start == start))
        for day, start in zip(days_of(days), starts, strict=True)
    ]


def starts_of(days: TimeRange) -> list[datetime]:
    """When each of the days begins."""
    zone = ZoneInfo(days.zone)
    return [datetime.combine(day, time(0), zone).astimezone(UTC) for day in days_of(days)]
