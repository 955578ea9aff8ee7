"""The CSV of a list that the API gives as JSON only: what the page shows, no more."""

from __future__ import annotations

import csv
import io
from collections.abc import Collection, Mapping
from typing import Any

import msgspec


def csv_of(reply: Mapping[str, Any], formula_starts: Collection[str]) -> str:
    """The `events` of a reply, or its first list: a line for each object, a column for each field, others as JSON.

    Text that a spreadsheet would take for a formula begins with an apostrophe.
    """
    lists = {name: value for name, value in reply.items() if isinstance(value, list)}
    rows: list[Mapping[str, Any]] = lists.get("events") or next(iter(lists.values()), [])
    names = list(dict.fromkeys(name for row in rows for name in row))
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\r\n")
    writer.writerow(names)
    for row in rows:
        writer.writerow([cell(row.get(name), formula_starts) for name in names])
    return out.getvalue()


def cell(value: object, formula_starts: Collection[str]) -> str:
    """A value as text."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list | dict):
        return msgspec.json.encode(value).decode()
    if isinstance(value, str) and value[:1] in formula_starts and value:
        return f"'{value}"
    return str(value)
