"""The `echo` lane: answers with the last message, word by word. For trials and tests; it has no vendor."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from typing import get_args

from kaixu.plugin import (
    ChatDelta,
    ChatEvent,
    ChatRequest,
    Feature,
    Finish,
    Lane,
    Options,
    RegisterLane,
    Usage,
    Wire,
    hookimpl,
)


class EchoOptions(Options):
    """The speed of the answer."""

    delay_ms: int = 0  # between words


class Echo(Lane):
    """One word is one token."""

    message_overhead_tokens = 0
    supports = frozenset(get_args(Feature)) - {"n"}  # it ignores all of them

    def __init__(self, options: EchoOptions) -> None:
        self.delay_s = options.delay_ms / 1000

    def count_tokens(self, model: str, text: str) -> int:
        return len(re.findall(r"\S+", text))

    async def chat(self, request: ChatRequest, wire: Wire) -> AsyncIterator[ChatEvent]:
        input_tokens = sum(self.count_tokens(request.model, message.text) for message in request.messages)
        words = re.findall(r"\S+\s*", request.messages[-1].text)
        for count, word in enumerate(words[: request.max_tokens], start=1):
            if self.delay_s:
                await asyncio.sleep(self.delay_s)
            yield ChatDelta(word)
            yield Usage(input_tokens=input_tokens, output_tokens=count)
        yield Finish("length" if len(words) > request.max_tokens else "stop")


@hookimpl
def register_lanes(register: RegisterLane) -> None:
    """The echo lane."""
    register("echo", Echo, EchoOptions)
