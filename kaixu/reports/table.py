"""Reports as tables: typed rows and typed columns, written as JSON, CSV or an HTML table.

All three have the same values: money as exact dollars and as cents, times in ISO 8601, empty cells for None.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import date, datetime
from html import escape
from operator import attrgetter
from typing import Any, ClassVar, Generic, Literal, NamedTuple, TypeVar, assert_never

import msgspec

from kaixu.config.price import cents_of_nusd, usd
from kaixu.config.spreadsheet import FORMULA_STARTS

from .values import instant

Row = TypeVar("Row", bound=msgspec.Struct)

#: money: nano-dollars; rate: nano-dollars that are shown as dollars only; percent: hundredths of a percent.
Kind = Literal["text", "integer", "money", "rate", "instant", "date", "percent", "flag"]

Format = Literal["json", "csv", "html"]
FORMATS: tuple[Format, ...] = ("json", "csv", "html")


class Column(NamedTuple):
    """A column: the field (or property) of the row with this name, and what kind of value it is.

    `money` without its `_nusd` is the name of two columns: `spent_nusd` becomes `spent_usd` and `spent_cents`.
    """

    field: str
    kind: Kind


class Report(Generic[Row]):
    """A report: its name, title, row type and columns. Every report registers itself; one test writes them all."""

    registered: ClassVar[list[Report[Any]]] = []

    def __init__(self, name: str, title: str, row: type[Row], columns: Sequence[tuple[str, Kind]]) -> None:
        self.name = name
        self.title = title
        self.row = row
        self.columns = [Column(*column) for column in columns]
        self.read = [attrgetter(column.field) for column in self.columns]
        Report.registered.append(self)

    @property
    def headings(self) -> list[str]:
        """The names of the values in a row."""
        return [name for column in self.columns for name in names_of(column)]

    def values(self, row: Row) -> list[Any]:
        """The JSON values of a row, in the order of the headings."""
        pairs = zip(self.columns, self.read, strict=True)
        return [value for column, read in pairs for value in values_of(column.kind, read(row))]

    def is_text(self) -> list[bool]:
        """For each heading, whether its values are free text, which may look like a formula."""
        return [column.kind == "text" for column in self.columns for _ in names_of(column)]


class Table(msgspec.Struct, Generic[Row], frozen=True):
    """A report's rows. `zone`: the time zone of its days; `about`: what else its JSON tells, for example the range.

    `next_cursor`: where the next page begins; None on the last page, and in reports without pages.
    """

    report: Report[Row]
    rows: Sequence[Row]
    zone: str
    about: dict[str, Any] = {}
    next_cursor: str | None = None


def names_of(column: Column) -> list[str]:
    """The names of a column's values."""
    stem = column.field.removesuffix("_nusd")
    if column.kind == "money":
        return [f"{stem}_usd", f"{stem}_cents"]
    return [f"{stem}_usd"] if column.kind == "rate" else [column.field]


def values_of(kind: Kind, value: Any) -> list[Any]:
    """A column's values in one row."""
    if kind == "money":
        return [None, None] if value is None else [usd(value), cents_of_nusd(value)]
    if value is None:
        return [None]
    if kind == "rate":
        return [usd(value)]
    if kind == "instant":
        assert isinstance(value, datetime)
        return [instant(value)]
    if kind == "date":
        assert isinstance(value, date)
        return [value.isoformat()]
    if kind == "percent":
        return [value / 100]
    if kind in ("text", "integer", "flag"):
        return [value]
    raise AssertionError(kind)


def table_json(table: Table[Any]) -> dict[str, Any]:
    """A table as JSON."""
    headings = table.report.headings
    return {
        "report": table.report.name,
        "reporting_zone": table.zone,
        **table.about,
        "rows": [dict(zip(headings, table.report.values(row), strict=True)) for row in table.rows],
        "next_cursor": table.next_cursor,
    }


def table_csv(table: Table[Any]) -> bytes:
    """A table as CSV (RFC 4180, with LF), safe to open in a spreadsheet."""
    is_text = table.report.is_text()
    lines = [",".join(table.report.headings)]
    for row in table.rows:
        cells = zip(table.report.values(row), is_text, strict=True)
        lines.append(",".join(quoted(guarded(cell_text(v)) if free else cell_text(v)) for v, free in cells))
    return "".join(f"{line}\n" for line in lines).encode("utf-8", "replace")


def quoted(text: str) -> str:
    """A cell, in quotes where it needs them.

    Python's csv writer leaves a lone CR without them, which readers take for the end of a line.
    """
    if any(sign in text for sign in '",\r\n'):
        return '"' + text.replace('"', '""') + '"'
    return text


def cell_text(value: Any) -> str:
    """A value as the text of a cell; empty for None."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


def guarded(text: str) -> str:
    """Text with an apostrophe in front where a spreadsheet would take it for a formula."""
    return f"'{text}" if text.startswith(FORMULA_STARTS) else text


def table_html(table: Table[Any]) -> bytes:
    """A table as an HTML page of its own, without scripts and styles."""
    return "\n".join(html_lines(table)).encode("utf-8", "replace")


def html_lines(table: Table[Any]) -> Iterator[str]:
    """The lines of the HTML page."""
    title = escape(table.report.title)
    yield f'<!doctype html>\n<html lang="en">\n<head><meta charset="utf-8"><title>{title}</title></head>\n<body>'
    yield f"<table>\n<caption>{title} (days and times: {escape(table.zone)}; instants in UTC)</caption>"
    cells = "".join(f'<th scope="col">{escape(name)}</th>' for name in table.report.headings)
    yield f"<thead><tr>{cells}</tr></thead>\n<tbody>"
    for row in table.rows:
        cells = "".join(f"<td>{escape(cell_text(value))}</td>" for value in table.report.values(row))
        yield f"<tr>{cells}</tr>"
    yield "</tbody>\n</table>\n</body>\n</html>\n"


def encoded(table: Table[Any], form: Format) -> tuple[str, bytes]:
    """A table's content type and bytes in a format."""
    if form == "json":
        return "application/json; charset=utf-8", msgspec.json.encode(table_json(table))
    if form == "csv":
        return "text/csv; charset=utf-8; header=present", table_csv(table)
    if form == "html":
        return "text/html; charset=utf-8", table_html(table)
    assert_never(form)
