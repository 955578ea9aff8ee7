"""Charts from the reports of usage: rows of intervals and series become a chart with a value for each interval."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Literal
from zoneinfo import ZoneInfo

from .components import Chart, Series

#: What a chart of usage can show: its name in the address, its title, its unit.
Measure = Literal["spent", "tokens", "calls"]
MEASURES: dict[str, tuple[str, Literal["usd", "count", "tokens"]]] = {
    "spent": ("Spent", "usd"),
    "tokens": ("Tokens", "tokens"),
    "calls": ("Calls", "count"),
}
STEPS = {"quarter": timedelta(minutes=15), "hour": timedelta(hours=1), "day": timedelta(days=1)}
FORMS = {"quarter": "%m-%d %H:%M", "hour": "%m-%d %H:%M", "day": "%Y-%m-%d"}


def measured(row: Mapping[str, Any], measure: str) -> float:
    """The value of a row."""
    if measure == "tokens":
        return float(row["input_tokens"] + row["output_tokens"])
    return float(row["spent_usd"]) if measure == "spent" else float(row["calls"])


def usage_chart_part(
    reply: Mapping[str, Any],
    measure: str,
    *,
    id: str,
    title: str,
    note: str = "",
    href: Callable[[str], str] = lambda name: "",
) -> Chart:
    """The chart of a reply of `admin-usage-chart`; intervals without calls have a value of 0.

    `href`: where the name of a series leads.
    """
    zone = ZoneInfo(reply["reporting_zone"])
    starts, values = values_of(reply, measure)
    by_size = sorted(values, key=lambda name: (name == "Other", -sum(values[name]), name))
    # Calls of free models are calls: where all is zero, the chart says that, and not that there is nothing.
    if any(sum(one) for one in values.values()):
        by_size = [name for name in by_size if sum(values[name])]
    form = FORMS[reply["interval"]]
    return Chart(
        id=id,
        title=title,
        labels=[start.astimezone(zone).strftime(form) for start in starts],
        series=[Series(name=name, values=values[name], href=href(name)) for name in by_size],
        unit=MEASURES[measure][1],
        note=note,
        zone=reply["reporting_zone"],
    )


def values_of(reply: Mapping[str, Any], measure: str) -> tuple[list[datetime], dict[str, list[float]]]:
    """The starts of all intervals, and the values of each series in them: rows are for intervals with calls only."""
    starts = intervals(reply, ZoneInfo(reply["reporting_zone"]))
    place = {start: at for at, start in enumerate(starts)}
    names: Sequence[str] = reply["series"]
    values = {name: [0.0] * len(starts) for name in names}
    for row in reply["rows"]:
        at = place.get(moment(row["start"]))
        if at is not None:
            values[row["series"]][at] += measured(row, measure)
    return starts, values


def moment(text: str) -> datetime:
    """A moment of a report, in UTC."""
    return datetime.fromisoformat(text).astimezone(UTC)


def intervals(reply: Mapping[str, Any], zone: ZoneInfo) -> list[datetime]:
    """The starts of all intervals of a report that have begun, in UTC; days begin in the reporting zone."""
    since, until = moment(reply["from"]), min(moment(reply["to"]), datetime.now(UTC))
    known = {moment(row["start"]) for row in reply["rows"]}
    if reply["interval"] != "day":
        step = STEPS[reply["interval"]]
        count = max(0, -((since - until) // step))
        return sorted(known | {since + step * at for at in range(count)})
    local = since.astimezone(zone)
    first = local.date()
    days = (until.astimezone(zone).date() - first).days + 1
    begin = [datetime(day.year, day.month, day.day, tzinfo=zone) for day in
             (first + timedelta(days=at) for at in range(days))]  # fmt: skip
    return sorted(known | {start.astimezone(UTC) for start in begin if start < until.astimezone(zone)})
