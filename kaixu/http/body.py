"""The body of a request as a JSON object; what is in its fields is somebody else's business."""

from __future__ import annotations

import msgspec
from quart import Request

from kaixu.plugin.errors import Invalid

DECODER = msgspec.json.Decoder()


async def object_of(request: Request, *, optional: bool = False) -> dict[str, object]:
    """The body's fields, whatever content type it claims; some clients encode twice. Raises `Invalid`.

    `optional`: an empty body is an empty object.
    """
    data = await request.get_data()
    if optional and not data.strip():
        return {}
    value = decoded(data)
    if isinstance(value, str):
        value = decoded(value)
    if not isinstance(value, dict):
        raise Invalid("the body must be a JSON object", code="BAD_JSON")
    return value


def decoded(data: bytes | str) -> object:
    """What a JSON text says. Raises `Invalid`."""
    try:
        value: object = DECODER.decode(data)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        raise Invalid("the body is not JSON", code="BAD_JSON") from None
    return value
