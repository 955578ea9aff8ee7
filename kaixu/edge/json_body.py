"""The body of a request as a JSON object; what is in its fields is somebody else's business."""

from __future__ import annotations

from typing import Any

from quart import Request

from .characters import ESCAPED_NUL
from .fields import json_object, plain_object

#: What is said here is kept: none of it may hold what a database does not take.
NOTHING: frozenset[str] = frozenset()


async def object_of(request: Request, *, optional: bool = False) -> dict[str, Any]:
    """The body's fields, whatever content type it claims; some clients encode twice. Raises `Invalid`.

    `optional`: an empty body is an empty object.
    """
    data = await request.get_data()
    if optional and not data.strip():
        return {}
    return plain_object(data if isinstance(data, bytes) else data.encode())[1]


def insist_on_kept_text(data: bytes) -> None:
    """Raises `Invalid` for text that no database takes, anywhere in a body of JSON."""
    if ESCAPED_NUL in data:
        json_object(data, free=NOTHING)
