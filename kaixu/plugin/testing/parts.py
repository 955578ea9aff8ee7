"""Checks what a panel returns, as the pages do, so that its author learns of mistakes before an operator does."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, get_args

import msgspec

from kaixu.plugin import panels
from kaixu.plugin.access import Key, Operator
from kaixu.plugin.operation import Integration
from kaixu.plugin.panel import Panel

from .checks import must

PARTS = get_args(panels.Part)
CELLS = get_args(panels.Cell)
MOST_PARTS = 30


def check_parts(integration: Integration, panel: Panel, parts: object) -> None:
    """Check what a panel returned. Raises `AssertionError`."""
    must(isinstance(parts, list | tuple), f"panel {panel.title!r} must return a list of parts, not {parts!r:.80}")
    assert isinstance(parts, list | tuple)
    must(len(parts) <= MOST_PARTS, f"panel {panel.title!r} returns more than {MOST_PARTS} parts")
    for part in parts:
        must(type(part) in PARTS, f"panel {panel.title!r} returns {part!r:.80}: parts are those of `panels`")
        check_values(panel, part)
        for form in forms_of(part):
            check_form(integration, panel, form)


def check_values(panel: Panel, part: Any) -> None:
    """Check the values of a part. Raises `AssertionError`."""
    what = f"panel {panel.title!r}"
    try:
        msgspec.json.encode(part)
    except (TypeError, ValueError) as error:
        raise AssertionError(f"{what} has a value that cannot be shown: {error}") from None
    if isinstance(part, panels.Stat):
        check_cell(what, part.value)
    if isinstance(part, panels.Table):
        for row in part.rows:
            cells = row.cells if isinstance(row, panels.Row) else row
            must(
                len(cells) == len(part.columns),
                f"{what}: a table with {len(part.columns)} columns has a row with {len(cells)} cells",
            )
            for cell in cells:
                check_cell(what, cell)
    if isinstance(part, panels.Chart):
        for line in part.series:
            must(len(line.values) == len(part.labels), f"{what}: series {line.name!r} has not one value for each label")


def check_cell(what: str, cell: object) -> None:
    """Check a cell. Raises `AssertionError`."""
    must(isinstance(cell, CELLS), f"{what} has a cell {cell!r:.80}: cells are texts, numbers, and those of `panels`")
    if isinstance(cell, panels.Time) and cell.at is not None:
        must(isinstance(cell.at, datetime) and cell.at.tzinfo is not None, f"{what}: a time has a zone")
    if isinstance(cell, panels.Money | panels.Bytes):
        number = cell.nusd if isinstance(cell, panels.Money) else cell.count
        must(isinstance(number, int) and not isinstance(number, bool), f"{what}: {cell!r:.80} is no whole number")


def forms_of(part: object) -> Iterator[panels.Form | panels.File | panels.Action]:
    """The forms and actions of a part; an action that has a form, and its form."""
    actions: Sequence[Any] = [part]
    if isinstance(part, panels.Table):
        actions = [action for row in part.rows if isinstance(row, panels.Row) for action in row.actions]
    for one in actions:
        if isinstance(one, panels.Form | panels.File | panels.Action):
            yield one
        if isinstance(one, panels.Action) and one.form is not None:
            yield one.form


def check_form(integration: Integration, panel: Panel, form: panels.Form | panels.File | panels.Action) -> None:
    """Check that a form or an action can run its operation where the panel stands. Raises `AssertionError`."""
    what = f"panel {panel.title!r}"
    operation = next((one for one in integration.operations if one.name == form.operation), None)
    must(operation is not None, f"{what}: there is no operation {form.operation!r}")
    assert operation is not None
    wrong = Key if panel.place == "admin" else Operator
    must(
        not isinstance(operation.auth, wrong),
        f"{what}: on the {'admin page' if panel.place == 'admin' else 'dashboard'} nobody can call {form.operation!r}, "
        f"whose `auth` is {type(operation.auth).__name__}",
    )
    has_file = isinstance(form, panels.File) or (isinstance(form, panels.Action) and type(form.form) is panels.File)
    must(
        operation.upload == has_file,
        f"{what}: {form.operation!r} takes {'a' if operation.upload else 'no'} file: `File`",
    )
    if isinstance(form, panels.Action) and form.form is not None:
        must(form.form.operation == form.operation, f"{what}: action {form.label!r} and its form name two operations")
    must(isinstance(form.body, Mapping), f"{what}: `body` is a mapping of names to values")
