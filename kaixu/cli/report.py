"""Print results of commands: tables for terminals, JSON for scripts."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import typer

from kaixu.reports.tail_line import harmless

#: Characters that JSON may hold unescaped, and that a terminal or an editor acts on: they only occur in its texts.
ACTED_ON = re.compile("[\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2066-\u2069\ufeff]")

#: The width of a table that is not printed to a terminal.
MAX_COLUMNS = 100_000


def print_json(value: Any) -> None:
    """Print JSON on stdout."""
    typer.echo(escaped(msgspec.json.format(msgspec.json.encode(value), indent=2).decode()))


def escaped(json: str) -> str:
    """The same JSON, with escapes for characters that a terminal acts on: clients send some of the texts."""
    return ACTED_ON.sub(lambda match: f"\\u{ord(match[0]):04x}", json)


def shown(value: Any) -> str:
    """A value on one line: a dash for None, JSON for lists and objects; without characters that a terminal acts on."""
    if value is None:
        return "–"
    if isinstance(value, (dict, list, tuple)):
        value = json.dumps(value, ensure_ascii=False, default=str)
    return harmless(str(value))


def print_rows(rows: Sequence[Mapping[str, Any]], *, as_json: bool, title: str | None = None) -> None:
    """Print rows as a table; None is shown as a dash.

    A terminal wraps long cells; in a pipe, each row is one line.
    """
    if as_json:
        print_json(rows)
        return
    from rich.console import Console
    from rich.table import Table

    if not rows:
        typer.echo(f"{title or 'rows'}: none")
        return
    table = Table(title=title, title_justify="left", box=None, pad_edge=False)
    for name in rows[0]:
        table.add_column(name.replace("_", " "), overflow="fold")
    for row in rows:
        table.add_row(*map(shown, row.values()))
    console = Console(highlight=False, markup=False)
    if console.is_terminal:
        console.print(table)
        return
    console.width = MAX_COLUMNS
    with console.capture() as captured:
        console.print(table)
    for line in captured.get().splitlines():
        typer.echo(line.rstrip())


def print_record(record: Mapping[str, Any], *, as_json: bool) -> None:
    """Print one record, a field per line."""
    if as_json:
        print_json(record)
        return
    width = max(map(len, record))
    for name, value in record.items():
        typer.echo(f"{name.replace('_', ' '):<{width}}  {shown(value)}")
