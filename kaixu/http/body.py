"""The body of a request as a JSON object; what is in its fields is somebody else's business."""

from __future__ import annotations

from typing import Any

from quart import Request

from .fields import json_object

#: What is said here is kept: none of it may hold what a database does not take.
NOTHING: frozenset[str] = frozenset()


async def object_of(request: Request, *, optional: bool = False) -> dict[str, Any]:
    """The body's fields, whatever content type it claims; some clients encode twice. Raises `Invalid`.

    `optional`: an empty body is an empty object.
    """
    data = await request.get_data()
    if optional and not data.strip():
        return {}
    return json_object(data if isinstance(data, bytes) else data.encode(), free=NOTHING)
