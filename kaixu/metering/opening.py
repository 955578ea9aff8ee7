"""The beginning of an answer: its events are held back until there is visible output."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from typing import NamedTuple, cast

import msgspec

from kaixu.catalog.catalog import Deployment
from kaixu.plugin.errors import UpstreamError
from kaixu.plugin.event_batches import EventBatches
from kaixu.plugin.types import (
    ChatDelta,
    ChatEvent,
    ChatRequest,
    Finish,
    NativeEvent,
    ReasoningDelta,
    ToolCallDelta,
    Usage,
)

from .reported_usage import clamped_usage
from .wasted import Attempt

#: Visible output; after it, no fallback.
VISIBLE = (ChatDelta, ReasoningDelta, ToolCallDelta, Finish)

NO_ANSWER = "the vendor sent an empty answer"

#: No normal vendor sends this many events before visible output.
MOST_BUFFERED = 64


class Opened(NamedTuple):
    """An answer that has begun: the events that were held back, and the stream of the rest."""

    buffered: list[ChatEvent]
    events: AsyncGenerator[ChatEvent, None] | EventBatches


async def wait_for_output(events: AsyncIterator[ChatEvent], attempt: Attempt | None = None) -> Opened:
    """Wait for an answer's first visible output. A stream that fails before it is closed.

    `attempt` gets the usage that the vendor has reported until then.

    Raises `UpstreamError` for an answer that ends without visible output: without text, tool call and finish reason
    it is an error, whatever its status was.
    """
    stream = cast(AsyncGenerator[ChatEvent, None], events)
    buffered: list[ChatEvent] = []
    try:
        async for event in stream:
            buffered.append(event)
            if type(event) is NativeEvent:  # `isinstance` of structs is slow where it is false
                pass
            elif attempt is not None and isinstance(event, Usage):
                attempt.usage = clamped_usage(event)
            elif isinstance(event, VISIBLE):
                break
            if len(buffered) >= MOST_BUFFERED:
                break
        else:
            raise UpstreamError(NO_ANSWER)
    except BaseException:
        await close_stream(stream)
        raise
    return Opened(buffered, stream)


async def close_stream(stream: AsyncGenerator[ChatEvent, None] | EventBatches) -> None:
    """Close a lane's stream, if it can be closed."""
    close = getattr(stream, "aclose", None)
    if close is not None:
        await close()


def with_vendor_model(request: ChatRequest, one: Deployment) -> ChatRequest:
    """The request with the vendor's own name of the model."""
    return request if request.model == one.upstream else msgspec.structs.replace(request, model=one.upstream)
