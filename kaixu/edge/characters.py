"""Refuse characters that Postgres cannot store: NUL and unpaired surrogates. One rule for all request bodies."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from kaixu.plugin.errors import Invalid

#: Fields that are sent to models and not stored as text. They may contain NUL: a tool's output often does.
FREE_TEXT = frozenset({"messages", "system", "input", "instructions", "prompt", "tools"})

ESCAPED_NUL = b"\\u0000"
ESCAPED_HALF = re.compile(rb"\\u[dD][89a-fA-F]")
HALF = re.compile("[\ud800-\udfff]")

#: The length to which a field's name is cut in errors.
MAX_NAME = 200

FieldPath = tuple[str | int, ...]


def require_storable(data: bytes, value: dict[str, Any], *, free: frozenset[str] = FREE_TEXT) -> None:
    """Raises `Invalid`, naming the field, for a NUL in a name or text of `value`, except in the fields `free`.

    `data` is the JSON of `value`: there a NUL is always an escape, so most bodies need no walk.
    """
    if ESCAPED_NUL not in data:
        return
    for place, text in walk_texts(value):
        if "\0" in text and place[0] not in free:
            raise invalid_text(place, "contains a NUL character")


def require_whole_characters(data: bytes) -> None:
    """Raises `Invalid`, naming the field, for JSON that is invalid only because of an unpaired surrogate."""
    if ESCAPED_HALF.search(data) is None:
        return
    try:
        value = json.loads(data)
    except (ValueError, RecursionError):
        return
    for place, text in walk_texts(value):
        if HALF.search(text):
            raise invalid_text(place, "contains half of a surrogate pair")


def invalid_text(place: FieldPath, problem: str) -> Invalid:
    """The error for a text with such a character."""
    name = "".join(f"[{one}]" if isinstance(one, int) else f".{one}" for one in place).lstrip(".")
    name = HALF.sub("?", name.replace("\0", "?"))[:MAX_NAME]
    return Invalid(f"`{name}` {problem}", hint="Send valid Unicode without NUL characters.", field=name or None)


def walk_texts(value: Any) -> Iterator[tuple[FieldPath, str]]:
    """Every text and every name in a value, with its path, at any depth."""
    waiting: list[tuple[FieldPath, Any]] = [((), value)]
    while waiting:
        place, one = waiting.pop()
        if isinstance(one, str):
            yield place or ("",), one
        elif isinstance(one, dict):
            for name, inner in one.items():
                yield (*place, name), name
                waiting.append(((*place, name), inner))
        elif isinstance(one, list):
            waiting += [((*place, at), inner) for at, inner in enumerate(one)]
