"""Takes fields out of a translated request that only ask for the default behaviour."""

from __future__ import annotations

from msgspec.structs import replace

from kaixu.edge.fields import Fields
from kaixu.plugin.types import Cache, ChatRequest, Message, TextPart


def without_the_usual(request: ChatRequest) -> ChatRequest:
    """A request without fields that ask for what every vendor does by default.

    A lane that cannot do a thing would refuse a request that merely names the default.
    """
    if request.native is not None:
        return request
    choice, parallel = request.tool_choice, request.parallel_tool_calls
    if choice == "auto" or (choice == "none" and not request.tools):
        choice = None
    if parallel is True or not request.tools:
        parallel = None
    return replace(
        request,
        tool_choice=choice,
        parallel_tool_calls=parallel,
        presence_penalty=request.presence_penalty or None,
        frequency_penalty=request.frequency_penalty or None,
    )


def cache_of(fields: Fields) -> Cache | None:
    """`cache_control` of a turn, a part or a tool: up to there the vendor should cache. Invalid values are ignored."""
    point = fields.take("cache_control")
    if not isinstance(point, dict) or point.get("type") != "ephemeral":
        return None
    return "1h" if point.get("ttl") == "1h" else "5m"


def kept_until(message: Message, cache: Cache | None) -> Message:
    """The message, its last part marked as one up to which the vendor should cache the input."""
    if cache is None or not message.parts:
        return message
    *before, last = message.parts
    if not hasattr(last, "cache") or (isinstance(last, TextPart) and not last.text):
        return message
    return replace(message, parts=(*before, replace(last, cache=cache)))
