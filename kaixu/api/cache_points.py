"""`cache_control` of a message, a part or a tool: the vendor should cache the input up to this point."""

from __future__ import annotations

from msgspec.structs import replace

from kaixu.edge.fields import Fields
from kaixu.plugin.types import Cache, Message, ReasoningPart, TextPart


def read_cache_point(fields: Fields) -> Cache | None:
    """The cache lifetime; None without a cache point. Invalid values are ignored."""
    point = fields.get("cache_control")
    if not isinstance(point, dict) or point.get("type") != "ephemeral":
        return None
    return "1h" if point.get("ttl") == "1h" else "5m"


def with_cache_point(message: Message, cache: Cache | None) -> Message:
    """The message with a cache point on its last part."""
    if cache is None or not message.parts:
        return message
    *before, last = message.parts
    if isinstance(last, ReasoningPart) or (isinstance(last, TextPart) and not last.text):
        return message
    return replace(message, parts=(*before, replace(last, cache=cache)))
