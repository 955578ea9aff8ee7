"""Checks the contract of lanes on one call."""

from __future__ import annotations

from kaixu.plugin.lane import Lane, Wire
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


def must(condition: bool, message: str) -> None:
    """An assertion that also works under `python -O`."""
    if not condition:
        raise AssertionError(message)


async def check_lane(lane: Lane, request: ChatRequest, wire: Wire, *, plain: bool = False) -> list[ChatEvent]:
    """Run one chat call, check its events against the contract, and return them. `plain`: one of `chat_plain`.

    Text is a non-empty string. The first piece of a tool call has its name. Usage
    never falls, and its parts do not exceed the whole. There is at most one finish,
    and only usage after it. The lane closes every response. Raises `AssertionError`;
    exceptions of the lane are passed on.
    """
    events = [event async for event in (lane.chat_plain if plain else lane.chat)(request, wire)]
    named: set[int] = set()
    usage = Usage()
    finish: Finish | None = None
    for event in events:
        must(isinstance(event, ChatEvent), f"{event!r} is not an event of the contract")
        must(finish is None or isinstance(event, Usage | NativeEvent), f"{event!r} comes after {finish!r}")
        if isinstance(event, NativeEvent):
            must(request.native is not None, f"{event!r} answers a request that was not native")
        elif isinstance(event, ReasoningDelta):
            must(event.text != "" or event.opaque is not None, f"{event!r} is empty")
        elif isinstance(event, ChatDelta):
            must(isinstance(event.text, str) and event.text != "", f"{event!r} has no text")
        elif isinstance(event, ToolCallDelta):
            must(event.index in named or bool(event.name), f"{event!r} begins a tool call without its name")
            named.add(event.index)
        elif isinstance(event, Usage):
            check_usage(usage, event)
            usage = event
        else:
            must(isinstance(event.reason, str) and event.reason != "", f"{event!r} gives no reason")
            finish = event
    must(getattr(wire, "open", 0) == 0, "the lane kept a response open: read it inside `async with wire.send(...)`")
    return events


def check_usage(before: Usage, now: Usage) -> None:
    """Running totals must not fall, and a part must not exceed the whole."""
    for field in (
        "input_tokens",
        "output_tokens",
        "cached_input_tokens",
        "cache_write_tokens",
        "reasoning_tokens",
    ):
        must(getattr(now, field) >= getattr(before, field), f"{field} fell: {before!r}, then {now!r}")
    cached = now.cached_input_tokens + now.cache_write_tokens
    must(cached <= now.input_tokens, f"{now!r}: more input was cached than there was")
    must(now.reasoning_tokens <= now.output_tokens, f"{now!r}: more reasoning than output")
