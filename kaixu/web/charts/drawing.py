"""A chart as SVG. Horizontal places are percentages and vertical ones pixels: it takes any width, and its text,
corners and strokes keep their size. Lines are in an SVG within, which is stretched, with strokes that are not.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from decimal import Decimal

from markupsafe import Markup

from kaixu.web.components import Chart

from .figures import exact_text, short_text
from .labels import AxisLabel, axis_labels
from .markup import element, number, percent, text_of
from .scale import Scale, scale_for
from .series import DrawnSeries, drawn_series, total
from .twin import summary

#: The drawing: its height, the room above it for half a line of text, and the room below for the labels.
HEIGHT, ABOVE, BELOW = 196, 8, 26
WHOLE_HEIGHT = ABOVE + HEIGHT + BELOW

#: The part of its place that a bar takes, and the widest one as a part of the drawing.
BAR, WIDEST_BAR = 0.82, 0.09

#: With more bars than this, segments are drawn as steps of one shape for each series.
MOST_BARS = 240

#: With more bars than this, the segments of a bar have no line between them: it would be all that is seen.
MOST_SEPARATED = 62

CHARACTER_PX = 6.7


def chart_svg(chart: Chart) -> Markup:
    """The drawing of a chart: its axes, its bars or lines, and for each label what the cursor of `chart.js` says.

    Raises `ValueError` for a value that is not finite, and where a series has not a value for each label.
    """
    drawn = drawn_series(chart)
    scale = scale_of(chart, drawn)
    words = summary(chart, drawn)
    is_empty = not any(value for series in drawn for value in series.values)
    ticks = [short_text(tick, chart.unit) for tick in scale.ticks]
    if is_empty:
        ticks = [text if tick == 0 else "" for tick, text in zip(scale.ticks, ticks, strict=True)]
    plot = element(
        "svg",
        element("title", text_of(words)),
        *(() if is_empty else grid(scale)),
        *(bars(chart, drawn, scale) if chart.form == "bars" else lines(chart, drawn, scale)),
        element("line", class_="axis", x1="0%", x2="100%", y1=ABOVE + scale.y(0), y2=ABOVE + scale.y(0)),
        *x_axis(axis_labels(chart.labels), len(chart.labels)),
        *nothing(chart, drawn, is_empty=is_empty),
        *points(chart, drawn, scale),
        class_="chart-plot",
        height=WHOLE_HEIGHT,
        width="100%",
        role="img",
        aria_label=words,
    )
    names = [{"name": series.name, "style": series.style} for series in drawn if not series.hidden]
    return element(
        "div",
        y_axis(scale, ticks),
        plot,
        class_="chart-drawing",
        data_chart=chart.form,
        data_title=chart.title,
        data_series=json.dumps(names, ensure_ascii=False),
        data_top=ABOVE,
        data_height=HEIGHT,
    )


def scale_of(chart: Chart, drawn: list[DrawnSeries]) -> Scale:
    """The axis that holds all values: of bars, the sums above zero and below it."""
    values = [[value for value in column if value is not None] for column in columns(chart, drawn)]
    if chart.form == "bars":
        values = [
            [sum((value for value in column if value > 0), Decimal(0)), sum((v for v in column if v < 0), Decimal(0))]
            for column in values
        ]
    known = [value for column in values for value in column] or [Decimal(0)]
    return scale_for(min(known), max(known), HEIGHT, whole=chart.unit in ("count", "tokens"))


def columns(chart: Chart, drawn: list[DrawnSeries]) -> list[list[Decimal | None]]:
    """The values of each label, in the order of the series."""
    return [[series.values[index] for series in drawn if not series.hidden] for index in range(len(chart.labels))]


def grid(scale: Scale) -> Iterator[Markup]:
    """A line for each tick but zero, which is the axis."""
    for tick in scale.ticks:
        if tick:
            y = ABOVE + scale.y(float(tick))
            yield element("line", class_="grid", x1="0%", x2="100%", y1=y, y2=y)


def y_axis(scale: Scale, ticks: list[str]) -> Markup:
    """The texts of the ticks, in a column as wide as they need."""
    width = round(max(map(len, ticks)) * CHARACTER_PX + 10)
    texts = [
        element(
            "text", text_of(text), class_="label", x=width - 8, y=ABOVE + scale.y(float(tick)) + 4, text_anchor="end"
        )
        for tick, text in zip(scale.ticks, ticks, strict=True)
        if text
    ]
    return element("svg", *texts, class_="chart-scale", width=width, height=WHOLE_HEIGHT, aria_hidden="true")


def x_axis(labels: list[AxisLabel], count: int) -> Iterator[Markup]:
    """The labels that fit, each below the middle of its place."""
    for label in labels:
        yield element(
            "text", text_of(label.text), class_="label" if label.narrow else "label label-wide",
            x=percent((label.index + 0.5) / count), y=ABOVE + HEIGHT + 18, text_anchor="middle",
        )  # fmt: skip


def nothing(chart: Chart, drawn: list[DrawnSeries], *, is_empty: bool) -> Iterator[Markup]:
    """Words in the middle of a chart that has nothing to show."""
    if is_empty:
        has_values = any(value is not None for series in drawn for value in series.values)
        words = "Nothing in this time: all values are zero" if has_values else "No data for this time"
        yield element(
            "text", text_of(words), class_="label chart-nothing", x="50%", y=ABOVE + HEIGHT / 2, text_anchor="middle"
        )


def stacks(column: list[Decimal | None]) -> list[tuple[float, float] | None]:
    """From where to where each segment of a bar goes: up from zero, negative ones down."""
    up = down = Decimal(0)
    segments: list[tuple[float, float] | None] = []
    for value in column:
        if not value:
            segments.append(None)
        elif value > 0:
            segments.append((float(up), float(up + value)))
            up += value
        else:
            segments.append((float(down + value), float(down)))
            down += value
    return segments


def bars(chart: Chart, drawn: list[DrawnSeries], scale: Scale) -> Iterator[Markup]:
    """A bar for each label, a segment for each series; very many of them as steps."""
    count = len(chart.labels)
    all_stacks = [stacks(column) for column in columns(chart, drawn)]
    if count > MOST_BARS:
        yield stretched(count, [steps(series, position, all_stacks, scale) for position, series in enumerate(drawn)])
        return
    width = min(BAR / count, WIDEST_BAR) if count else 0
    for index, segments in enumerate(all_stacks):
        left = (index + 0.5) / count - width / 2
        rects = [
            element(
                "rect", class_=series.style, x=percent(left), width=percent(width), rx=1.5,
                y=ABOVE + scale.y(high), height=scale.y(low) - scale.y(high),
            )
            for series, (low, high) in ((s, segment) for s, segment in zip(drawn, segments, strict=False) if segment)
        ]  # fmt: skip
        yield element("g", *rects, class_="bar separated" if count <= MOST_SEPARATED else "bar")


def steps(
    series: DrawnSeries, position: int, all_stacks: list[list[tuple[float, float] | None]], scale: Scale
) -> Markup:
    """All segments of a series as one shape."""
    pieces = []
    for index, segments in enumerate(all_stacks):
        if position < len(segments) and (segment := segments[position]):
            bottom, top = number(scale.y(segment[0])), number(scale.y(segment[1]))
            pieces.append(f"M{index} {bottom}V{top}H{index + 1}V{bottom}Z")
    return element("path", class_=series.style, d="".join(pieces))


def lines(chart: Chart, drawn: list[DrawnSeries], scale: Scale) -> Iterator[Markup]:
    """A line for each series, broken where a value is missing; a value without neighbours is a dot."""
    count = len(chart.labels)
    shown = [series for series in drawn if not series.hidden]
    paths, dots = [], []
    for series in reversed(shown):  # the first is drawn last, on top
        runs = runs_of(series, scale)
        if len(shown) == 1:
            paths.append(element("path", class_=f"area {series.style}", d="".join(area(run, scale) for run in runs)))
        paths.append(element("path", class_=f"line {series.style}", d="".join(line(run) for run in runs)))
        dots += [
            element("circle", class_=series.style, cx=percent(run[0][0] / count), cy=ABOVE + run[0][1], r=3)
            for run in runs
            if len(run) == 1
        ]
    yield stretched(count, paths)
    yield from dots


def runs_of(series: DrawnSeries, scale: Scale) -> list[list[tuple[float, float]]]:
    """The places of a series' values, in runs without gaps."""
    runs: list[list[tuple[float, float]]] = [[]]
    for index, value in enumerate(series.values):
        if value is not None:
            runs[-1].append((index + 0.5, scale.y(float(value))))
        elif runs[-1]:
            runs.append([])
    return [run for run in runs if run]


def line(run: list[tuple[float, float]]) -> str:
    """A run as a path; one that is a single place has none."""
    places = [f"{number(x)} {number(y)}" for x, y in run]
    return "M" + "L".join(places) if len(run) > 1 else ""


def area(run: list[tuple[float, float]], scale: Scale) -> str:
    """What is between a run and zero."""
    zero = number(scale.y(0))
    return f"{line(run)}L{number(run[-1][0])} {zero}L{number(run[0][0])} {zero}Z" if len(run) > 1 else ""


def stretched(count: int, paths: list[Markup]) -> Markup:
    """Shapes that are as wide as the drawing: one unit for each label."""
    return element(
        "svg", *paths, class_="chart-stretched", x="0%", y=ABOVE, width="100%", height=HEIGHT,
        viewBox=f"0 0 {max(count, 1)} {HEIGHT}", preserveAspectRatio="none",
    )  # fmt: skip


def points(chart: Chart, drawn: list[DrawnSeries], scale: Scale) -> Iterator[Markup]:
    """The place of each label, from top to bottom, with what the cursor says there."""
    count = len(chart.labels)
    for index, (label, column) in enumerate(zip(chart.labels, columns(chart, drawn), strict=True)):
        sums = [total(column)] if chart.unit in ("usd", "count", "tokens") and len(column) > 1 else []
        heights = ["" if value is None else number(ABOVE + scale.y(float(value))) for value in column]
        yield element(
            "rect", class_="point", x=percent(index / count), width=percent(1 / count), y=ABOVE, height=HEIGHT,
            data_index=str(index), data_label=label,
            data_values=json.dumps([exact_text(value, chart.unit) for value in column], ensure_ascii=False),
            data_total=exact_text(sums[0], chart.unit) if sums else None,
            data_heights=" ".join(heights) if chart.form == "lines" else None,
        )  # fmt: skip
