"""The legend of a chart, the table that says the same, and its summary in words."""

from __future__ import annotations

from decimal import Decimal

import msgspec

from kaixu.web.components import Chart

from .figures import SUMMED, exact_text, short_text
from .series import DrawnSeries, drawn_series, exact_values, total


class LegendItem(msgspec.Struct, frozen=True):
    """A series with its colour (`style`, a class) and its sum, or its largest value where a sum says nothing."""

    name: str
    total: str
    style: str
    href: str = ""


class ChartRow(msgspec.Struct, frozen=True):
    """A row of the table: the label, and a text for each column after the first."""

    label: str
    cells: list[str]


class ChartTable(msgspec.Struct, frozen=True):
    """The table of a chart: all series, none folded, all digits. `total`: the last row, None where sums say nothing."""

    columns: list[str]
    rows: list[ChartRow]
    total: ChartRow | None


def chart_legend(chart: Chart) -> list[LegendItem]:
    """The series of a chart as they are drawn, in their order."""
    return [
        LegendItem(series.name, figure_of(series, chart), series.style, series.href) for series in drawn_series(chart)
    ]


def figure_of(series: DrawnSeries, chart: Chart) -> str:
    """What the legend says of a series: its sum or its largest value."""
    if series.hidden:
        return "in the table"
    known = [value for value in series.values if value is not None]
    if not known:
        return "no data"
    if chart.unit in SUMMED:
        return amount(sum(known, Decimal(0)), chart)
    return "max " + amount(max(known), chart)


def amount(value: Decimal, chart: Chart) -> str:
    """A figure for people: money by the cent, large numbers short."""
    if chart.unit == "usd" and Decimal("0.01") <= abs(value) < Decimal(1_000_000):
        return exact_text(value.quantize(Decimal("0.01")), "usd")
    if chart.unit == "count" and abs(value) < Decimal(1_000_000):
        return exact_text(value, "count")
    return short_text(value, chart.unit, 3)


def chart_table(chart: Chart) -> ChartTable:
    """The table of a chart: a row for each label, a column for each series, and sums where they say something."""
    values = exact_values(chart)
    unit, summed = chart.unit, chart.unit in SUMMED
    columns = [series.name for series in chart.series] + (["Total"] if summed else [])
    rows = []
    for index, label in enumerate(chart.labels):
        row = [series[index] for series in values]
        rows.append(ChartRow(label, [exact_text(value, unit) for value in ([*row, total(row)] if summed else row)]))
    if not summed or not rows:
        return ChartTable(columns, rows, None)
    sums = [total(series) for series in values]
    return ChartTable(columns, rows, ChartRow("Total", [exact_text(value, unit) for value in [*sums, total(sums)]]))


def summary(chart: Chart, drawn: list[DrawnSeries]) -> str:
    """A chart in words: what it shows, from when to when, its total and its extremes."""
    head = f"{chart.title}: "
    if not chart.labels or not any(value is not None for series in drawn for value in series.values):
        return head + "no data."
    first, last = chart.labels[0], chart.labels[-1]
    parts = [f"{first} to {last}" if len(chart.labels) > 1 else first]
    if ":" in first or "-" in first:
        parts[0] += f" ({chart.zone})"
    if chart.unit in SUMMED:
        sums = [total([series.values[index] for series in drawn]) for index in range(len(chart.labels))]
        known = [(value, chart.labels[index]) for index, value in enumerate(sums) if value is not None]
        parts.append(f"total {amount(sum((value for value, _ in known), Decimal(0)), chart)}")
    else:
        known = [
            (value, f"{label}, {series.name}")
            for series in drawn
            for value, label in zip(series.values, chart.labels, strict=True)
            if value is not None
        ]
    least, most = min(known, key=lambda pair: pair[0]), max(known, key=lambda pair: pair[0])
    parts.append(f"highest {amount(most[0], chart)} ({most[1]})")
    if len(known) > 1:
        parts.append(f"lowest {amount(least[0], chart)} ({least[1]})")
    return head + "; ".join(parts) + "."
