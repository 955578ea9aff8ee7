"""Charts: whatever the numbers and names are, the drawing is well-formed, inside its frame, and says the truth."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from decimal import Decimal
from itertools import pairwise
from pathlib import Path
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

import kaixu.web
from kaixu.web.chart_parts import usage_chart_part
from kaixu.web.charts import chart_legend, chart_svg, chart_table, sparkline_svg
from kaixu.web.charts.drawing import ABOVE, HEIGHT, MOST_BARS, WHOLE_HEIGHT
from kaixu.web.charts.figures import exact, exact_text, short_text
from kaixu.web.charts.labels import CHARACTER_PX, NARROW_PX, WIDE_PX, axis_labels
from kaixu.web.charts.scale import scale_for
from kaixu.web.components import Chart, Series, Sparkline

STATIC = Path(kaixu.web.__file__).parent / "static"

HOSTILE = "</text><script>alert(1)</script>\"' onload=x &amp; \x00 \ud800 ]]>"

VALUES = st.one_of(
    st.none(),
    st.integers(-(10**18), 10**18),
    st.floats(-1e30, 1e30, allow_nan=False),
    st.floats(-1, 1, allow_nan=False),
    st.sampled_from([0, 0.0, -0.0, 5e-324, 1e30, -1e30, 0.1]),
)


@st.composite
def charts(draw: st.DrawFn) -> Chart:
    """Any chart."""
    count = draw(st.one_of(st.integers(0, 12), st.sampled_from([MOST_BARS, MOST_BARS + 1])))
    values = st.lists(VALUES, min_size=count, max_size=count)
    if count > 12:
        values = VALUES.map(lambda value: [value] * count)
    series = draw(st.lists(st.builds(Series, name=st.text(max_size=12), values=values), max_size=9))
    return Chart(
        "any", draw(st.text(max_size=12)), [draw(st.text(max_size=24)) for _ in range(count)] if count <= 12 else
        [f"point {index}" for index in range(count)], series, draw(st.sampled_from(["bars", "lines"])),
        draw(st.sampled_from(["usd", "count", "ms", "tokens", "percent"])),
    )  # fmt: skip


def chart(*series: Sequence[float | None], labels: list[str] | None = None, **options: object) -> Chart:
    """A chart of series `a`, `b` …"""
    names = [Series(name="abcdefghijkl"[position], values=values) for position, values in enumerate(series)]
    labels = labels if labels is not None else [str(index) for index in range(len(series[0]) if series else 0)]
    return Chart("test", "Test", labels, names, **options)  # type: ignore[arg-type]


def drawing(of: Chart) -> ElementTree.Element:
    """The drawing, parsed as XML."""
    return ElementTree.fromstring(chart_svg(of))


def with_class(root: ElementTree.Element, name: str) -> list[ElementTree.Element]:
    """The elements with a class, in the order of the document."""
    return [element for element in root.iter() if name in element.get("class", "").split()]


def texts(root: ElementTree.Element) -> list[str]:
    """The texts of the axes."""
    return [element.text or "" for element in with_class(root, "label")]


def percentage(element: ElementTree.Element, name: str) -> float:
    """A horizontal coordinate."""
    value = element.get(name, "")
    assert value.endswith("%"), (element.attrib, name)
    return float(value.removesuffix("%"))


def path_places(path: str, height: float) -> list[tuple[float, float]]:
    """All places of a path of M, L, H, V and Z."""
    places, x, y = [], 0.0, height
    for command, numbers in re.findall(r"([MLHVZ])([^MLHVZ]*)", path):
        read = [float(number) for number in numbers.split()]
        if command in "ML":
            x, y = read
        elif command == "H":
            (x,) = read
        elif command == "V":
            (y,) = read
        places.append((x, y))
    return places


@given(charts())
def test_any_numbers_and_names_give_a_drawing_inside_its_frame(of: Chart) -> None:
    svg = chart_svg(of)
    assert svg == chart_svg(of), "the same chart is drawn the same way"
    root = ElementTree.fromstring(svg)
    for element in root.iter():
        assert "style" not in element.attrib
        assert not [name for name in element.attrib if name.startswith("on")]
        for name in ("x1", "x2", "cx"):
            if name in element.attrib:
                assert 0 <= percentage(element, name) <= 100
        for name in ("y", "y1", "y2", "cy"):
            if name in element.attrib:
                assert 0 <= float(element.attrib[name]) <= WHOLE_HEIGHT
        if element.tag == "rect":
            assert (
                -0.001 <= percentage(element, "x") <= percentage(element, "x") + percentage(element, "width") <= 100.01
            )
            top, height = float(element.attrib["y"]), float(element.attrib["height"])
            assert height >= 0
            assert ABOVE <= top <= top + height <= ABOVE + HEIGHT + 0.02
    for stretched in with_class(root, "chart-stretched"):
        assert stretched.attrib["viewBox"] == f"0 0 {max(len(of.labels), 1)} {HEIGHT}"
        for path in stretched:
            for x, y in path_places(path.attrib["d"], HEIGHT):
                assert 0 <= x <= len(of.labels)
                assert 0 <= y <= HEIGHT
    assert len(with_class(root, "point")) == len(of.labels)


@given(st.lists(st.lists(st.floats(-1e6, 1e6, allow_nan=False), min_size=3, max_size=3), min_size=1, max_size=6))
def test_heights_of_bars_are_proportional_and_stacks_do_not_overlap(series: list[list[float]]) -> None:
    columns = [[exact(value) for value in column] for column in zip(*series, strict=True)]
    lowest = min(sum((value for value in column if value < 0), Decimal(0)) for column in columns)
    highest = max(sum((value for value in column if value > 0), Decimal(0)) for column in columns)
    scale = scale_for(lowest, highest, HEIGHT, whole=True)
    pixels = HEIGHT / (scale.high - scale.low)
    for column, bar in zip(columns, with_class(drawing(chart(*series)), "bar"), strict=True):
        segments = [(float(rect.get("y", "")), float(rect.get("height", ""))) for rect in bar]
        heights = [abs(float(value)) * pixels for value in column if value]
        assert [height for _, height in segments] == pytest.approx(heights, abs=0.011)
        edges = sorted((top, top + height) for top, height in segments)
        assert all(below - above > -0.03 for (_, above), (below, _) in pairwise(edges))


@given(st.floats(-1e30, 1e30, allow_nan=False), st.floats(-1e30, 1e30, allow_nan=False), st.booleans())
def test_ticks_are_few_round_steps_around_all_values(one: float, other: float, whole: bool) -> None:
    least, most = Decimal(repr(min(one, other))), Decimal(repr(max(one, other)))
    ticks = scale_for(least, most, HEIGHT, whole=whole).ticks
    assert 2 <= len(ticks) <= 8
    assert ticks[0] <= min(least, Decimal(0)) <= max(most, Decimal(0)) <= ticks[-1]
    assert Decimal(0) in ticks
    steps = {after - before for before, after in pairwise(ticks)}
    assert len(steps) == 1
    step = steps.pop().normalize()
    assert step.as_tuple().digits in ((1,), (2,), (5,))
    assert not whole or step >= 1


@given(st.integers(1, 2000), st.integers(1, 30))
def test_labels_are_few_and_never_touch(count: int, length: int) -> None:
    labels = axis_labels(["x" * length] * count)
    assert 1 <= len(labels) <= 8
    for room, shown in ((WIDE_PX, labels), (NARROW_PX, [label for label in labels if label.narrow])):
        assert shown or room == NARROW_PX
        gaps = {after.index - before.index for before, after in pairwise(shown)}
        assert len(gaps) <= 1, "evenly thinned"
        for gap in gaps:
            assert gap / count * room >= len(labels[0].text) * CHARACTER_PX


@pytest.mark.parametrize(
    ("labels", "shown"),
    [
        (["2026-11-01", "2026-11-02"], ["1 Nov", "2 Nov"]),
        (["2026-11", "2026-12"], ["Nov 2026", "Dec 2026"]),
        (["2026-11-01T13:00:00Z", "2026-11-01T14:15:00Z"], ["13:00", "14:15"]),
        (["2026-11-01T00:00:00+01:00", "2026-11-02T00:00:00+01:00"], ["1 Nov", "2 Nov"]),
        (["2026-11-01T23:00:00Z", "2026-11-02T00:00:00Z"], ["1 Nov 23:00", "2 Nov 00:00"]),
        (["2026-11-01", "later"], ["2026-11-01", "later"]),
        (["2026-99-01"], ["2026-99-01"]),
        (["an uncommonly long name of something"], ["an uncommonly lon…"]),
    ],
    ids=["days", "months", "hours of a day", "midnights", "hours of two days", "mixed", "no day", "long"],
)
def test_axis_says_times_as_people_write_them(labels: list[str], shown: list[str]) -> None:
    assert [label.text for label in axis_labels(labels)] == shown


@pytest.mark.parametrize(
    ("value", "unit", "short", "exact"),
    [
        ("0", "usd", "$0", "$0.00"),
        ("1234.5", "usd", "$1.2345k", "$1,234.50"),
        ("-0.000123", "usd", "−$0.000123", "−$0.000123"),
        ("3400000", "tokens", "3.4M", "3,400,000"),
        ("1200", "count", "1.2k", "1,200"),
        ("2500000000", "count", "2.5B", "2,500,000,000"),
        ("640", "ms", "640 ms", "640 ms"),
        ("2500", "ms", "2.5 s", "2,500 ms"),
        ("0.31", "percent", "0.31 %", "0.31 %"),
    ],
)
def test_figures_are_said_by_their_unit(value: str, unit: str, short: str, exact: str) -> None:
    assert short_text(Decimal(value), unit) == short  # type: ignore[arg-type]
    assert exact_text(Decimal(value), unit) == exact  # type: ignore[arg-type]


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf"), 1e31])
def test_values_that_are_no_numbers_are_refused(value: float) -> None:
    for draw in (chart_svg, chart_table, chart_legend):
        with pytest.raises(ValueError, match="a chart cannot show"):
            draw(chart([1, value]))
    with pytest.raises(ValueError, match="a chart cannot show"):
        sparkline_svg(Sparkline([1, value], "14 days"))


def test_series_without_a_value_for_each_label_is_refused() -> None:
    with pytest.raises(ValueError, match=r"series 'a' has 1 values for 2 labels"):
        chart_svg(chart([1], labels=["x", "y"]))


def test_series_past_the_sixth_are_other_and_the_largest_come_first() -> None:
    of = chart(*[[position, 0.5] for position in range(1, 10)], unit="usd")
    assert [(item.name, item.style, item.total) for item in chart_legend(of)] == [
        ("i", "series-1", "$9.50"), ("h", "series-2", "$8.50"), ("g", "series-3", "$7.50"), ("f", "series-4", "$6.50"),
        ("e", "series-5", "$5.50"), ("d", "series-6", "$4.50"), ("Other", "series-other", "$7.50"),
    ]  # fmt: skip
    first = with_class(drawing(of), "bar")[0]
    assert [rect.get("class") for rect in first] == [
        *(f"series-{position}" for position in range(1, 7)),
        "series-other",
    ]


def test_series_called_other_is_last_and_takes_what_is_folded() -> None:
    series = [Series(name=name, values=[value]) for name, value in zip(["Other", *"abcdefg"], range(1, 9), strict=True)]
    legend = chart_legend(Chart("c", "Calls", ["now"], series))
    assert [item.name for item in legend] == ["g", "f", "e", "d", "c", "b", "Other"]
    assert legend[-1].total == "3"


def test_latencies_are_never_added_up() -> None:
    of = chart(*[[100.0 + position, 50] for position in range(9)], unit="ms", form="lines")
    legend = chart_legend(of)
    assert (legend[0].total, legend[-1].name, legend[-1].total) == ("max 108 ms", "3 more", "in the table")
    table = chart_table(of)
    assert len(table.columns) == 9
    assert table.total is None
    assert [len(row.cells) for row in table.rows] == [9, 9]
    assert all(point.get("data-total") is None for point in with_class(drawing(of), "point"))


def test_table_has_all_series_with_exact_sums() -> None:
    table = chart_table(chart([0.1, 0.2, None], [0.2, 1000, None], labels=["one", "two", "three"], unit="usd"))
    assert table.columns == ["a", "b", "Total"]
    assert [(row.label, *row.cells) for row in table.rows] == [
        ("one", "$0.10", "$0.20", "$0.30"), ("two", "$0.20", "$1,000.00", "$1,000.20"), ("three", "–", "–", "–"),
    ]  # fmt: skip
    assert table.total is not None
    assert table.total.cells == ["$0.30", "$1,000.20", "$1,000.50"]


def test_missing_value_is_a_gap_and_a_lonely_one_a_dot() -> None:
    root = drawing(chart([1, 2, None, 3, None, 4, 5], form="lines", unit="ms"))
    (line,) = with_class(root, "line")
    assert line.attrib["d"].count("M") == 2
    dots = list(root.iter("circle"))
    assert [dot.get("cx") for dot in dots] == ["50%"]


def test_credits_hang_below_the_zero_line() -> None:
    root = drawing(chart([5, 5], [0, -4], unit="usd"))
    zero = float(with_class(root, "axis")[0].get("y1", ""))
    assert zero < ABOVE + HEIGHT
    usage, credit = with_class(root, "bar")[1]
    assert float(usage.get("y", "")) + float(usage.get("height", "")) == pytest.approx(zero, abs=0.02)
    assert float(credit.get("y", "")) == pytest.approx(zero, abs=0.02)


@pytest.mark.parametrize(
    ("of", "words"),
    [
        (chart(), "No data for this time"),
        (chart([None, None]), "No data for this time"),
        (chart([0, 0]), "Nothing in this time: all values are zero"),
    ],
    ids=["no series", "no values", "zeros"],
)
def test_chart_without_anything_says_so(of: Chart, words: str) -> None:
    root = drawing(of)
    assert [element.text for element in with_class(root, "chart-nothing")] == [words]
    assert not with_class(root, "bar") or not list(with_class(root, "bar")[0])


def test_single_point_is_a_bar_of_modest_width_in_the_middle() -> None:
    (rect,) = with_class(drawing(chart([3])), "bar")[0]
    assert (rect.get("x"), rect.get("width")) == ("45.5%", "9%")


def test_thousands_of_points_stay_a_shape_for_each_series() -> None:
    of = chart([1.0] * 2000, [2.0] * 2000)
    root = drawing(of)
    assert not with_class(root, "bar")
    assert [len(svg) for svg in with_class(root, "chart-stretched")] == [2]
    assert len(with_class(root, "point")) == 2000


def test_cursor_finds_label_values_and_total_at_each_point() -> None:
    point = with_class(drawing(chart([1, 0.5], [2.25, None], labels=["one", "two"], unit="usd")), "point")[1]
    assert (point.get("data-index"), point.get("data-label"), point.get("data-total")) == ("1", "two", "$0.50")
    assert json.loads(point.get("data-values", "")) == ["$0.50", "–"]


def test_summary_says_what_the_drawing_shows() -> None:
    of = chart([1, 3], [1, 1], labels=["2026-11-01", "2026-11-02"], unit="usd", zone="Europe/Berlin")
    words = (
        "Test: 2026-11-01 to 2026-11-02 (Europe/Berlin); total $6.00; highest $4.00 (2026-11-02); "
        "lowest $2.00 (2026-11-01)."
    )
    (plot,) = with_class(drawing(of), "chart-plot")
    assert plot.get("role") == "img"
    assert plot.get("aria-label") == words
    assert plot.findtext("title") == words


def test_hostile_names_are_text() -> None:
    of = Chart("x", HOSTILE, [HOSTILE], [Series(name=HOSTILE, values=[1])])
    svg = chart_svg(of) + sparkline_svg(Sparkline([1, 2], HOSTILE))
    root = ElementTree.fromstring(f"<div>{svg}</div>")
    assert {element.tag for element in root.iter()} == {"div", "svg", "title", "g", "rect", "line", "text", "path"}
    assert json.loads(root[0].get("data-series", ""))[0]["name"].startswith("</text><script>")


@given(st.lists(st.floats(-1e30, 1e30, allow_nan=False), max_size=40), st.text(max_size=20))
def test_sparkline_is_well_formed_and_inside_its_frame(values: list[float], label: str) -> None:
    svg = sparkline_svg(Sparkline(values, label))
    assert svg == sparkline_svg(Sparkline(values, label))
    root = ElementTree.fromstring(svg)
    assert (root.get("role"), root.get("viewBox")) == ("img", "0 0 100 24")
    for path in root.iter("path"):
        for x, y in path_places(path.attrib["d"].replace("h0", ""), 24):
            assert 0 <= x <= 100
            assert 0 <= y <= 24


def luminance(colour: str) -> float:
    """The relative luminance of a colour (WCAG 2.2)."""
    parts = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    """The contrast of two colours (WCAG 2.2)."""
    high, low = sorted((luminance(one), luminance(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("theme", [0, 1], ids=["light", "dark"])
def test_colours_stand_out_from_the_surface_in_both_themes(theme: int) -> None:
    styles = (STATIC / "chart.css").read_text()
    colours = {
        name: pair[theme]
        for name, *pair in re.findall(r"--([a-z0-9-]+): light-dark\((#\w{6}), (#\w{6})\)", styles)
    }  # fmt: skip
    surface = colours["chart-surface"]
    series = {name for name in colours if name.startswith("series-")}
    assert series == {*(f"series-{position}" for position in range(1, 7)), "series-other"}
    for name in series:
        assert contrast(colours[name], surface) >= 3, name
    for name in ("chart-label", "chart-ink"):
        assert contrast(colours[name], surface) >= 4.5, name


@pytest.mark.parametrize(("spent", "shown"), [("0", ["a/free", "b/free"]), ("0.5", ["a/free"])])
def test_calls_that_cost_nothing_are_not_told_as_no_data(spent: str, shown: list[str]) -> None:
    day = {"start": "2026-03-01T00:00:00Z", "input_tokens": 1, "output_tokens": 1, "calls": 1}
    rows = [{**day, "series": "a/free", "spent_usd": spent}, {**day, "series": "b/free", "spent_usd": "0"}]
    reply = {
        "from": "2026-03-01T00:00:00Z", "to": "2026-03-02T00:00:00Z", "interval": "day", "reporting_zone": "UTC",
        "series": ["a/free", "b/free"], "rows": rows,
    }  # fmt: skip
    chart = usage_chart_part(reply, "spent", id="one", title="Spent")
    assert [one.name for one in chart.series] == shown
    assert ("all values are zero" in chart_svg(chart)) == (spent == "0")
