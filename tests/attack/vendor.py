"""A vendor that lies, breaks off and stalls, and remembers for which requests it has worked."""

from __future__ import annotations

import asyncio
import json
import random
from typing import Any

from aiohttp import web

#: What it says of its usage, besides the truth.
LIES: tuple[dict[str, Any] | None, ...] = (
    None,
    {},
    {"prompt_tokens": 0, "completion_tokens": 0},
    {"prompt_tokens": 10, "completion_tokens": -5},
    {"prompt_tokens": 10**15, "completion_tokens": 10**15},
    {"prompt_tokens": 10, "completion_tokens": 5, "completion_tokens_details": {"reasoning_tokens": 10**9}},
    {"prompt_tokens": "10", "completion_tokens": 5.0},
    {"prompt_tokens": [], "completion_tokens": {}},
    {"prompt_tokens": 10**9, "completion_tokens": 5},
    {"prompt_tokens": 10, "completion_tokens": 5, "cached_tokens": 10**9},
    {"total_tokens": 10**12},
)


class LyingVendor:
    """Speaks Chat Completions and Messages, streamed; `draw` decides what happens to each request."""

    def __init__(self, seed: int) -> None:
        self.draw = random.Random(seed)
        self.worked_for: set[str] = set()  # request ids of what it has accepted
        self.longest_text = 0
        self.runner: web.AppRunner | None = None

    async def start(self) -> str:
        """Listen on a free port of the loopback; returns the address."""
        app = web.Application(client_max_size=64 * 1024 * 1024)
        app.router.add_post("/v1/chat/completions", self.chat)
        app.router.add_post("/v1/messages", self.messages)
        self.runner = web.AppRunner(app, handler_cancellation=True)
        await self.runner.setup()
        await web.TCPSite(self.runner, "127.0.0.1", 0).start()
        return f"http://127.0.0.1:{self.runner.addresses[0][1]}"

    async def stop(self) -> None:
        """Stop listening."""
        if self.runner is not None:
            await self.runner.cleanup()

    def refusal(self) -> web.Response | None:
        """One in ten requests is refused."""
        if self.draw.random() > 0.1:
            return None
        status = self.draw.choice((400, 401, 404, 429, 500, 503, 529))
        return web.json_response({"error": {"message": "vendor secret"}}, status=status)

    async def chat(self, request: web.Request) -> web.StreamResponse:
        """One completion."""
        words = [{"choices": [{"index": 0, "delta": {"content": f"word{at} "}}]} for at in range(4)]
        told = {"prompt_tokens": 20, "completion_tokens": 8} if self.draw.random() < 0.6 else self.draw.choice(LIES)
        end: list[Any] = [{"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}]
        if told is not None:
            end.append({"choices": [], "usage": told})
        return await self.answer(request, words, end)

    async def messages(self, request: web.Request) -> web.StreamResponse:
        """One message."""
        start = {"type": "message_start", "message": {"usage": {"input_tokens": 20}}}
        begin = {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}}
        words = [
            {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": f"word{at} "}}
            for at in range(4)
        ]
        end = [
            {"type": "content_block_stop", "index": 0},
            {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 8}},
            {"type": "message_stop"},
        ]
        return await self.answer(request, [start, begin, *words], end)

    async def answer(self, request: web.Request, words: list[Any], end: list[Any]) -> web.StreamResponse:
        """Write a stream, or refuse, break off, or send nonsense."""
        body = await request.read()
        self.longest_text = max(self.longest_text, length_of_texts(json.loads(body)))
        if (refused := self.refusal()) is not None:
            return refused
        self.worked_for.add(request.headers.get("x-client-request-id", ""))
        response = web.StreamResponse(headers={"content-type": "text/event-stream"})
        await response.prepare(request)
        mood = self.draw.random()
        pause_s = 0.02 if mood < 0.2 else 0.0
        for event in words:
            await self.send(response, event)
            await asyncio.sleep(pause_s)
        if mood > 0.95:
            assert request.transport is not None
            request.transport.close()
            return response
        if mood > 0.9:
            await response.write(b"data: {nonsense\n\n")
        for event in end:
            await asyncio.sleep(pause_s)
            await self.send(response, event)
        await response.write(b"data: [DONE]\n\n")
        return response

    async def send(self, response: web.StreamResponse, event: Any) -> None:
        """One event."""
        await response.write(b"data: " + json.dumps(event).encode() + b"\n\n")


def length_of_texts(value: Any) -> int:
    """The bytes of all texts in a body, without the words of its protocol."""
    if isinstance(value, str):
        return len(value.encode("utf-8", "surrogatepass"))
    if isinstance(value, list):
        return sum(map(length_of_texts, value))
    if isinstance(value, dict):
        return sum(length_of_texts(inner) for name, inner in value.items() if name not in ("type", "role", "model"))
    return 0
