"""Values → JSON replies."""

from __future__ import annotations

from typing import Any

import msgspec
from quart import Response

from .sse import EventStream

ENCODER = msgspec.json.Encoder()
JSON = "application/json; charset=utf-8"
SSE = "text/event-stream; charset=utf-8"


class Reply(msgspec.Struct):
    """What a door answers. `headers` are in lower case; a body that is a stream is closed by who sends it."""

    status: int
    headers: dict[str, str]
    body: bytes | EventStream


def json_reply(value: Any, status: int = 200, headers: dict[str, str] | None = None) -> Reply:
    """A JSON reply of a door."""
    return Reply(status, {"content-type": JSON} | (headers or {}), ENCODER.encode(value))


def reply(value: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """A JSON reply of a Quart view."""
    return Response(ENCODER.encode(value), status=status, headers=headers, content_type=JSON)
