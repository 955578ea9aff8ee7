"""Apply the fields of a request to the settings of a row."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, TypeVar

import msgspec

Settings = TypeVar("Settings", bound=msgspec.Struct)


class Field(NamedTuple):
    """The column of a wire field, and its parser. `clears`: null clears the column; else null leaves it."""

    column: str
    read: Callable[[object, str], object]
    clears: bool = True


def read(fields: Mapping[str, Field], given: Mapping[str, object]) -> dict[str, Any]:
    """The values of the given fields, by column. Raises `Unprocessable` naming the first bad one."""
    values = {}
    for name, field in fields.items():
        if name in given:
            value = field.read(given[name], name)
            if value is not None or field.clears:
                values[field.column] = value
    return values


def settings_of(kind: type[Settings], row: msgspec.Struct, values: Mapping[str, object]) -> Settings:
    """The settings of `row`, replaced by `values` where given."""
    before = {name: getattr(row, name) for name in kind.__struct_fields__}
    return kind(**before | dict(values))


def changed(fields: Mapping[str, Field], before: msgspec.Struct, after: msgspec.Struct) -> list[str]:
    """The wire names of the fields that differ."""
    return [
        name
        for name, field in fields.items()
        if getattr(before, field.column, None) != getattr(after, field.column, None)
    ]
