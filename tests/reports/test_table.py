"""Every report has the same values in JSON, CSV and HTML."""

from __future__ import annotations

import csv
import importlib
import io
import json
import pkgutil
from datetime import UTC, date, datetime
from html.parser import HTMLParser
from typing import Any, get_args, get_origin, get_type_hints

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import kaixu.reports
from kaixu.config.spreadsheet import FORMULA_STARTS
from kaixu.reports.table import Report, Table, cell_text, encoded

for module in pkgutil.iter_modules(kaixu.reports.__path__):
    importlib.import_module(f"kaixu.reports.{module.name}")

#: Whatever may stand in a label: formulas, quotes, line ends, markup.
TEXTS = st.one_of(
    st.sampled_from(
        ['=HYPERLINK("http://x")', "+1", "-2+3", "@SUM(A1)", "\t=1", "\r=1", 'a"b,c', "a\nb", "<b>&", "'", ""]
    ),
    st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=12),
)
VALUES: dict[Any, st.SearchStrategy[Any]] = {
    str: TEXTS,
    int: st.integers(-(2**62), 2**62),
    bool: st.booleans(),
    date: st.dates(),
    datetime: st.datetimes(min_value=datetime(2000, 1, 1), timezones=st.just(UTC)),
    type(None): st.none(),
}  # fmt: skip


def values_of(hint: Any) -> st.SearchStrategy[Any]:
    """Values of a field's type."""
    if hint in VALUES:
        return VALUES[hint]
    if get_origin(hint) is list:
        return st.lists(values_of(get_args(hint)[0]), max_size=2)
    if get_origin(hint) is dict:
        return st.just({})
    options = get_args(hint)
    if options:
        return st.one_of([values_of(option) for option in options])
    if isinstance(hint, type) and issubclass(hint, msgspec.Struct):
        return rows_of(hint)
    return st.none()


def rows_of(row: type[msgspec.Struct]) -> st.SearchStrategy[Any]:
    """Rows of a type."""
    hints = get_type_hints(row)
    return st.builds(row, **{name: values_of(hints[name]) for name in row.__struct_fields__})


class Cells(HTMLParser):
    """The cells of an HTML table."""

    def __init__(self) -> None:
        super().__init__()
        self.rows: list[list[str]] = []
        self.names: list[str] = []
        self.inside = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note where cells and rows begin."""
        assert tag not in ("script", "style")
        assert not {name for name, _ in attrs} & {"style", "onclick"}
        self.inside = tag
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")

    def handle_endtag(self, tag: str) -> None:
        """Text after a cell is not the cell's."""
        self.inside = ""

    def handle_data(self, data: str) -> None:
        """Text of a cell."""
        if self.inside in ("td", "th"):
            self.rows[-1][-1] += data


@pytest.mark.parametrize("report", Report.registered, ids=lambda report: report.name)
@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_every_report_has_the_same_values_in_all_formats(report: Report[Any], data: st.DataObject) -> None:
    table = Table(report, data.draw(st.lists(rows_of(report.row), max_size=3)), "Europe/Berlin")
    written = json.loads(encoded(table, "json")[1])
    assert written["reporting_zone"] == "Europe/Berlin"
    told = [[cell_text(value) for value in row.values()] for row in written["rows"]]
    headings = report.headings
    assert all(list(row) == headings for row in written["rows"])

    [names, *cells] = csv.reader(io.StringIO(encoded(table, "csv")[1].decode(), newline=""))
    assert names == headings
    for row, line in zip(told, cells, strict=True):
        for is_text, value, cell in zip(report.is_text(), row, line, strict=True):
            is_formula = is_text and value.startswith(FORMULA_STARTS)
            assert cell == (f"'{value}" if is_formula else value)

    page = Cells()
    text = encoded(table, "html")[1].decode()
    page.feed(text)
    assert "Europe/Berlin" in text
    # Browsers, and the parser, read line ends as \n.
    assert page.rows == [headings, *([cell.replace("\r", "\r") for cell in row] for row in told)]


def test_no_report_is_left_out() -> None:
    assert {"usage-chart", "user-usage-chart", "usage-margin", "usage-top"} <= {one.name for one in Report.registered}


def test_headings_are_unique() -> None:
    for report in Report.registered:
        assert len(report.headings) == len({*report.headings}), report.name
