"""How an answer begins: held back until there is something in it that a client would miss."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from typing import NamedTuple, cast

import msgspec

from kaixu.catalog.catalog import Deployment
from kaixu.plugin.errors import UpstreamError
from kaixu.plugin.types import ChatDelta, ChatEvent, ChatRequest, Finish, ReasoningDelta, ToolCallDelta, Usage

from .reported_usage import believable
from .wasted import Attempt

#: What a client would miss if it were taken back.
SAID = (ChatDelta, ReasoningDelta, ToolCallDelta, Finish)

NO_ANSWER = "the vendor answered with nothing"

#: So many events before the first word are more than any honest vendor sends.
MOST_HELD = 64


class Opened(NamedTuple):
    """An answer that has begun: what has come of it, and the rest."""

    held: list[ChatEvent]
    events: AsyncGenerator[ChatEvent, None]


async def opened(events: AsyncIterator[ChatEvent], attempt: Attempt | None = None) -> Opened:
    """Wait for an answer's first word. What fails before it is closed, and leaves nothing behind.

    `attempt` takes note of what the vendor has told of its usage until then.

    Raises `UpstreamError` for an answer that ends without one: no choice, no text, no call of a tool and no reason
    why it ended is no answer, whatever its status was.
    """
    stream = cast(AsyncGenerator[ChatEvent, None], events)
    held: list[ChatEvent] = []
    try:
        async for event in stream:
            held.append(event)
            if attempt is not None and isinstance(event, Usage):
                attempt.usage = believable(event)
            if isinstance(event, SAID) or len(held) >= MOST_HELD:
                break
        else:
            raise UpstreamError(NO_ANSWER)
    except BaseException:
        await closed(stream)
        raise
    return Opened(held, stream)


async def closed(stream: AsyncGenerator[ChatEvent, None]) -> None:
    """Close a lane's answer, if it is something that can be closed."""
    close = getattr(stream, "aclose", None)
    if close is not None:
        await close()


def retargeted(request: ChatRequest, one: Deployment) -> ChatRequest:
    """The request under the name that the deployment's vendor has for the model."""
    return request if request.model == one.upstream else msgspec.structs.replace(request, model=one.upstream)
