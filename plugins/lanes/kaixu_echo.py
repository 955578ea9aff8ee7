"""The echo lane: answers with what it was told, word by word. For trying things out; no vendor, no wire."""

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
    """How fast it speaks."""

    delay_ms: int = 0  # between words


class Echo(Lane):
    """One word is one token."""

    message_overhead_tokens = 0
    supports = frozenset(get_args(Feature)) - {"n"}  # it does as little with all of them

    def __init__(self, options: EchoOptions) -> None:
        self.delay_s = options.delay_ms / 1000

    def count_tokens(self, model: str, text: str) -> int:
        return len(re.findall(r"\S+", text))

    async def chat(self, request: ChatRequest, wire: Wire) -> AsyncIterator[ChatEvent]:
        heard = sum(self.count_tokens(request.model, message.text) for message in request.messages)
        words = re.findall(r"\S+\s*", request.messages[-1].text)
        for said, word in enumerate(words[: request.max_tokens], start=1):
            if self.delay_s:
                await asyncio.sleep(self.delay_s)
            yield ChatDelta(word)
            yield Usage(input_tokens=heard, output_tokens=said)
        yield Finish("length" if len(words) > request.max_tokens else "stop")


@hookimpl
def register_lanes(register: RegisterLane) -> None:
    """The echo lane."""
    register("echo", Echo, EchoOptions)
