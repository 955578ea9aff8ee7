"""The time of a report: `from` and `to` as `now-24h`, dates of the reporting zone, or instants; or a month."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, date, datetime, time, timedelta
from typing import Literal
from zoneinfo import ZoneInfo

import asyncpg
import msgspec

from kaixu.accounts import fields
from kaixu.plugin.errors import Unprocessable
from kaixu.store.pool import database
from kaixu.store.query import Connection, Query

Interval = Literal["quarter", "hour", "day"]
INTERVALS: tuple[Interval, ...] = ("quarter", "hour", "day")

#: The longest time of a report, and of a chart by each interval.
MOST_DAYS = 1100
LONGEST: dict[Interval, timedelta] = {
    "quarter": timedelta(days=7),
    "hour": timedelta(days=62),
    "day": timedelta(days=MOST_DAYS),
}

RELATIVE = re.compile(r"now(?:-([0-9]{1,6})(m|h|d|w))?")
DAY = re.compile(r"20[0-9]{2}-[0-9]{2}-[0-9]{2}")
UNITS = {"m": timedelta(minutes=1), "h": timedelta(hours=1), "d": timedelta(days=1), "w": timedelta(weeks=1)}
QUARTER = timedelta(minutes=15)

#: More than the clocks of a gateway and its database ever differ.
CLOCKS_DIFFER = timedelta(days=1)


class Clock(msgspec.Struct, frozen=True):
    """The database's time and the reporting zone."""

    now: datetime
    zone: str


CLOCK = Query(Clock, "select now() as now, s.reporting_zone as zone from kaixu.rollup_state s")


class TimeRange(msgspec.Struct, frozen=True):
    """From a moment up to another, which is not part of it.

    Both lie at the beginning of an interval, except for months: these are UTC, whatever the reporting zone.
    """

    since: datetime
    until: datetime
    zone: str
    interval: Interval

    @property
    def is_whole_days(self) -> bool:
        """Whether it is shown by days, and has only whole days of the reporting zone."""
        zone = ZoneInfo(self.zone)
        bounds = (self.since.astimezone(zone), self.until.astimezone(zone))
        return self.interval == "day" and all(bound.time() == time(0) for bound in bounds)

    @property
    def first_day(self) -> date:
        """The first day, in the reporting zone."""
        return self.since.astimezone(ZoneInfo(self.zone)).date()

    @property
    def end_day(self) -> date:
        """The day after the last, in the reporting zone."""
        local = self.until.astimezone(ZoneInfo(self.zone))
        return local.date() if local.time() == time(0) else local.date() + timedelta(days=1)


async def clock_of(pool: asyncpg.Pool) -> Clock:
    """The database's time and the reporting zone, for a report that is not begun yet. Raises `DatabaseAway`."""
    with database():
        return await read_clock(pool)


async def read_clock(db: Connection) -> Clock:
    """The database's time and the reporting zone."""
    clock = await CLOCK.one(db)
    assert clock is not None
    return clock


def read_range(given: Mapping[str, object], clock: Clock, *, default: str = "now-24h") -> TimeRange:
    """The time of a report, from the fields `from`, `to`, `month` and `interval`. Raises `Unprocessable`.

    A date in `to` is the last day. Without an `interval` it follows from the length: 15 minutes up to 26 hours, hours
    up to 14 days, else days.
    """
    month = fields.month(given.get("month"), "month")
    zone = ZoneInfo(clock.zone)
    if month is not None:
        since = datetime(month.year, month.month, 1, tzinfo=UTC)
        until = (since + timedelta(days=31)).replace(day=1)
    else:
        since = read_moment(given.get("from") or default, "from", clock, zone, is_end=False)
        until = read_moment(given.get("to") or "now", "to", clock, zone, is_end=True)
    if not since < until:
        raise Unprocessable("`from` must be before `to`", field="from")
    length = until - since
    interval = read_interval(given.get("interval"), length)
    if length > LONGEST[interval]:
        raise Unprocessable(
            f"the time by {interval} is at most {LONGEST[interval].days} days", hint="Use another `interval` or time.",
            field="from",
        )  # fmt: skip
    if month is not None:
        return TimeRange(since, until, clock.zone, interval)
    return TimeRange(start_of(since, interval, zone), end_of(until, interval, zone), clock.zone, interval)


def months_of_calls(since: datetime, until: datetime) -> tuple[date, date]:
    """The first and the last month that calls which were admitted then may belong to.

    The database's clock says the month, the gateway's the admission: close to a month's end they may differ.
    """
    first, last = (since - CLOCKS_DIFFER).astimezone(UTC), (until + CLOCKS_DIFFER).astimezone(UTC)
    return first.date().replace(day=1), last.date().replace(day=1)


def read_interval(value: object, length: timedelta) -> Interval:
    """The interval that is asked for, or that fits the length."""
    name = fields.text(value, "interval", 20)
    for one in INTERVALS:
        if name == one:
            return one
    if name is not None:
        raise Unprocessable(f"`interval` must be one of {', '.join(INTERVALS)}", field="interval")
    return "quarter" if length <= timedelta(hours=26) else "hour" if length <= timedelta(days=14) else "day"


def read_moment(value: object, field: str, clock: Clock, zone: ZoneInfo, *, is_end: bool) -> datetime:
    """A moment; `is_end`: a date means the end of its day. Raises `Unprocessable`."""
    written = fields.text(value, field, 40) or "now"
    if relative := RELATIVE.fullmatch(written):
        number, unit = relative[1] or "0", relative[2] or "m"
        back = int(number) * UNITS[unit]
        if back > timedelta(days=MOST_DAYS):
            raise Unprocessable(f"`{field}` lies more than {MOST_DAYS} days back", field=field)
        return clock.now - back
    if DAY.fullmatch(written):
        try:
            day = date.fromisoformat(written) + timedelta(days=1 if is_end else 0)
        except ValueError:
            raise Unprocessable(f"`{field}` is no day of the calendar", field=field) from None
        return datetime.combine(day, time(0), zone).astimezone(UTC)
    try:
        return fields.instant(written, field, zone) or clock.now
    except Unprocessable as error:
        hint = "Write now-24h, 2026-11-01 or 2026-11-01T12:00:00Z."
        raise Unprocessable(error.message, hint=hint, field=field) from None


def start_of(moment: datetime, interval: Interval, zone: ZoneInfo) -> datetime:
    """The beginning of the interval that a moment lies in."""
    local = moment.astimezone(zone)
    if interval == "day":
        return datetime.combine(local.date(), time(0), zone).astimezone(UTC)
    if interval == "hour":
        return moment.astimezone(UTC) - timedelta(
            minutes=local.minute, seconds=local.second, microseconds=local.microsecond
        )
    epoch = datetime(2000, 1, 1, tzinfo=UTC)
    return moment.astimezone(UTC) - (moment - epoch) % QUARTER


def end_of(moment: datetime, interval: Interval, zone: ZoneInfo) -> datetime:
    """The end of the interval that a moment lies in; a moment at the beginning of one is an end already."""
    start = start_of(moment, interval, zone)
    if start == moment:
        return start
    if interval == "day":
        day = moment.astimezone(zone).date() + timedelta(days=1)
        return datetime.combine(day, time(0), zone).astimezone(UTC)
    return start + (QUARTER if interval == "quarter" else timedelta(hours=1))
