"""Reads values of vendors' answers leniently: `"5"` and `5.0` as 5, texts in lists as text."""

from __future__ import annotations

import math
from typing import Any

import msgspec

ENCODER = msgspec.json.Encoder()

#: No figure is longer; keeps Python from reading digits for seconds.
MOST_DIGITS = 32


def number_of(value: object) -> int | None:
    """A count: also one written as `5.0` or `"5"`; None for everything else, and for one below zero."""
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


def index_of(value: object) -> int | None:
    """A place in a list, as `number_of` reads it; None for one that no list has."""
    index = number_of(value)
    return index if index is not None and index < 1_000_000 else None


def text_of(value: object) -> str:
    """A text: a string as it is, a number as it is written, of a list or an object the texts in it; else empty."""
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
    """A string as it is; for anything else, an empty one."""
    return value if isinstance(value, str) else ""


def json_text_of(value: object) -> str:
    """JSON text, as a tool's arguments come: a string as it is, an object or a list encoded, nothing for null."""
    if isinstance(value, str):
        return value
    return "" if value is None else ENCODER.encode(value).decode()


def object_of(value: object) -> dict[str, Any]:
    """An object; empty where it is none."""
    return value if isinstance(value, dict) else {}


def objects_of(value: object) -> list[dict[str, Any]]:
    """The objects of a list, or the one object that came without its list."""
    if isinstance(value, dict):
        return [value]
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []
