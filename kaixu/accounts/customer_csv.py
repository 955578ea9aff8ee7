"""Customers as lines of a CSV file: what `kaixu customers export` writes and `kaixu customers import` reads."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import msgspec

from kaixu.config.mistakes import did_you_mean
from kaixu.config.price import cents_of_nusd
from kaixu.config.spreadsheet import FORMULA_STARTS
from kaixu.plugin.errors import Invalid, TooLarge
from kaixu.store.customers import Customer

from .customers import CHANGEABLE, OF_PLAN, PLANNED
from .fields import flag
from .shared_fields import FIELDS

#: The columns, each a wire field.
COLUMNS = (*CHANGEABLE, *FIELDS)

#: The most that a file may have.
MOST_BYTES = 64 * 1024 * 1024
MOST_LINES = 200_000
MOST_CELL = 200_000

#: What a cell holds to clear a value; a blank cell leaves it as it is.
NONE = "none"

#: An apostrophe before what a spreadsheet takes for a formula makes it text; one that was there gets another, so that
#: reading takes exactly one away.
GUARDED = (*FORMULA_STARTS, "'")
FLAGS = {"true": True, "false": False, "yes": True, "no": False, "1": True, "0": False}
FLAG_FIELDS = frozenset(
    {name for name, field in CHANGEABLE.items() if field.read is flag}
    | {name for name, field in FIELDS.items() if field.read is flag}
)

#: A list with nothing in it. Of providers, which all are allowed then, it is `*`.
EMPTY_LIST = "[]"


class Line(msgspec.Struct, frozen=True):
    """One line: its number in the file, and the fields that it sets. `problem`: why it cannot be read."""

    number: int
    given: dict[str, object]
    problem: str | None = None


def read_lines(content: bytes) -> Iterator[Line]:
    """The lines of a file, which has commas or semicolons, and a line of field names first.

    Raises `Invalid` and `TooLarge` for a file that cannot be read at all.
    """
    if len(content) > MOST_BYTES:
        raise TooLarge(f"the file is larger than {MOST_BYTES >> 20} MiB", hint="Split it.")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise Invalid("the file is not UTF-8", hint="Save it as CSV UTF-8.") from None
    first = text.split("\n", 1)[0]
    delimiter = ";" if ";" in first and "," not in first else ","
    csv.field_size_limit(MOST_CELL)
    rows = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    try:
        names = header(next(rows, []))
        for count, row in enumerate(rows, start=1):
            if count > MOST_LINES:
                raise TooLarge(f"the file has more than {MOST_LINES} lines", hint="Split it.")
            if any(cell.strip() for cell in row):
                yield line_of(rows.line_num, names, row)
    except csv.Error as error:
        raise Invalid(f"line {rows.line_num} is not CSV: {error}", hint="Check its quotes.") from None


def header(row: list[str]) -> list[str]:
    """The fields of the columns. Raises `Invalid`."""
    names = [name.strip().lower() for name in row]
    for name in names:
        if name not in COLUMNS:
            shown = name[:60] if name.isprintable() else "…"
            raise Invalid(
                f"there is no field `{shown}`{did_you_mean(shown, COLUMNS)}",
                hint=f"The first line names the columns: {', '.join(COLUMNS)}.",
            )
        if names.count(name) > 1:
            raise Invalid(f"the column `{name}` is there twice")
    if "email" not in names:
        raise Invalid("there is no column `email`", hint="The first line names the columns.")
    return names


def line_of(number: int, names: list[str], row: list[str]) -> Line:
    """One line's fields; blank cells set nothing."""
    if len(row) != len(names):
        return Line(number, {}, f"it has {len(row)} cells, the first line {len(names)}")
    given: dict[str, object] = {}
    for name, cell in zip(names, row, strict=True):
        text = cell.strip()
        text = text[1:] if text.startswith("'") else text
        if not text:
            continue
        if text.lower() == NONE:
            given[name] = None
        elif name in FLAG_FIELDS:
            given[name] = FLAGS.get(text.lower(), text)
        elif text == EMPTY_LIST:
            given[name] = []
        else:
            given[name] = text
    return Line(number, given)


def csv_lines(
    customers: Iterable[Customer], shared: Mapping[int, Mapping[str, Any]] = {}, *, with_header: bool = True
) -> str:
    """Customers as CSV. Values of the plan are blank, the cap `plan`: they are the plan's also where they are read.

    `shared`: by customer, its fields that are settings of integrations.
    """
    out = io.StringIO(newline="")
    writer = csv.writer(out, lineterminator="\r\n")
    if with_header:
        writer.writerow(COLUMNS)
    for row in customers:
        values = shared.get(row.id, {})
        cells = [cell_of(row, name) if name in CHANGEABLE else text_of(values.get(name)) for name in COLUMNS]
        writer.writerow([guarded(cell) for cell in cells])
    return out.getvalue()


def cell_of(row: Customer, name: str) -> str:
    """The text of one cell."""
    column = CHANGEABLE[name].column
    value: Any = getattr(row, column)
    if column in PLANNED and column in row.from_plan:
        return OF_PLAN if name == "monthly_cap_cents" else ""
    if name.endswith("_cents") and value is not None:
        return str(cents_of_nusd(value))
    if isinstance(value, list):
        return ",".join(map(str, value)) or ("*" if name == "allowed_providers" else EMPTY_LIST)
    if isinstance(value, dict):
        return msgspec.json.encode(value).decode()
    return text_of(value)


def text_of(value: object) -> str:
    """A value of one word, as a cell has it."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return "" if value is None else str(value)


def guarded(text: str) -> str:
    """Text that no spreadsheet takes for a formula."""
    return f"'{text}" if text.startswith(GUARDED) else text
