"""Values → JSON replies."""

from __future__ import annotations

from typing import Any

import msgspec
from quart import Response

ENCODER = msgspec.json.Encoder()
JSON = "application/json; charset=utf-8"


def reply(value: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """A JSON reply."""
    return Response(ENCODER.encode(value), status=status, headers=headers, content_type=JSON)
