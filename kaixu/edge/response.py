"""Replies, and JSON replies from values."""

from __future__ import annotations

from typing import Any

import msgspec

from .sse import EventStream

ENCODER = msgspec.json.Encoder()
JSON = "application/json; charset=utf-8"
SSE = "text/event-stream; charset=utf-8"


class Reply(msgspec.Struct):
    """The reply to a request. Header names are in lower case; the sender closes a stream."""

    status: int
    headers: dict[str, str]
    body: bytes | EventStream


def json_reply(value: Any, status: int = 200, headers: dict[str, str] | None = None) -> Reply:
    """A JSON reply."""
    return Reply(status, {"content-type": JSON} | (headers or {}), ENCODER.encode(value))
