"""Options whose value `none` clears a field."""

from __future__ import annotations

from typing import Any

NONE = "none"


def read_options(options: dict[str, Any], *, clearable: frozenset[str]) -> dict[str, Any]:
    """The wire fields of the options that were given; `none` becomes null where the field is `clearable`."""
    return {
        name: None if name in clearable and isinstance(value, str) and value.strip().lower() == NONE else value
        for name, value in options.items()
        if value is not None
    }
