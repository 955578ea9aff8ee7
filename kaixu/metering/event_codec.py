"""Chat events as JSON and back: how the response cache and the results of jobs store an answer."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from kaixu.plugin.types import (
    ChatDelta,
    ChatEvent,
    Finish,
    NativeEvent,
    ReasoningDelta,
    ToolCallDelta,
    Usage,
)

EVENT_TYPES: dict[str, type[ChatEvent]] = {
    event_type.__name__: event_type
    for event_type in (ChatDelta, ReasoningDelta, ToolCallDelta, Usage, Finish, NativeEvent)
}


def encode_events(events: Sequence[ChatEvent]) -> bytes:
    """A list of pairs: the name of an event's type, and the event."""
    return msgspec.json.encode([(type(event).__name__, event) for event in events])


def decode_events(data: bytes) -> list[ChatEvent]:
    """The events that `encode_events` wrote. Raises `MsgspecError` for anything else."""
    pairs = msgspec.json.decode(data, type=list[tuple[str, msgspec.Raw]])
    return [msgspec.json.decode(raw, type=EVENT_TYPES[name]) for name, raw in pairs if name in EVENT_TYPES]
