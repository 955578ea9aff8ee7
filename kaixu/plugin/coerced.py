"""Reads values of vendors' responses leniently: `"5"` and `5.0` as 5, a list of texts as text."""

from __future__ import annotations

import math
from typing import Any

import msgspec

ENCODER = msgspec.json.Encoder()

#: Longer strings are not parsed as numbers: Python would need seconds for very long ones.
MOST_DIGITS = 32


def number_of(value: object) -> int | None:
    """A count, also one written as `5.0` or `"5"`; None for negative numbers and anything else."""
    if type(value) is int:
        return value if value >= 0 else None
    if isinstance(value, bool):
        return None
    if isinstance(value, int):
        return value if value >= 0 else None
    if isinstance(value, str):
        try:
            value = float(value) if len(value) <= MOST_DIGITS else math.nan
        except ValueError:
            return None
    if isinstance(value, float) and math.isfinite(value) and value >= 0:
        return math.ceil(value)
    return None


def as_written(literal: str) -> msgspec.Raw:
    """Keep a JSON number exactly as it was written; for a decoder's `float_hook`.

    Otherwise `1e15` would be sent as `1000000000000000.0`, which is longer than what was counted for it. Raises
    `ValueError` for a number that no float can hold.
    """
    if not math.isfinite(float(literal)):
        raise ValueError("the number is too large")
    return msgspec.Raw(literal.encode())


def index_of(value: object) -> int | None:
    """A list index, as `number_of` reads it; None if it is missing or too large."""
    index = number_of(value)
    return index if index is not None and index < 1_000_000 else None


def text_of(value: object) -> str:
    """A value as text: strings, numbers, and the texts inside a list or an object; else empty."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool) or value is None:
        return ""
    if isinstance(value, int | float):
        return str(value)
    if isinstance(value, list):
        return "".join(text_of(one) for one in value)
    if isinstance(value, dict):
        return text_of(value.get("text"))
    return ""


def word_of(value: object) -> str:
    """The value if it is a string, else an empty string."""
    return value if isinstance(value, str) else ""


def json_text_of(value: object) -> str:
    """A tool's arguments as JSON text: a string unchanged, an object or a list encoded, empty for null."""
    if isinstance(value, str):
        return value
    return "" if value is None else ENCODER.encode(value).decode()


def object_of(value: object) -> dict[str, Any]:
    """The value if it is an object, else an empty object."""
    return value if isinstance(value, dict) else {}


def objects_of(value: object) -> list[dict[str, Any]]:
    """The objects of a list; a single object counts as a list of one."""
    if isinstance(value, dict):
        return [value]
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []
