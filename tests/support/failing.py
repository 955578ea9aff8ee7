"""A fake vendor that works on every call and then sends an invalid answer.

The model's name selects which: see `CHAT` and `EMBED`. It counts the calls that it has worked on.
"""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

from aiohttp import web

INPUT_TOKENS, OUTPUT_TOKENS = 1000, 500
DIMENSIONS = 32

#: Chat answers that fail: whether usage comes before, and whether text does.
CHAT = {
    "usage-then-cut": (True, False),
    "usage-then-nonsense": (True, False),
    "silent-cut": (False, False),
    "words-then-cut": (False, True),
    "usage-words-cut": (True, True),
    "no-answer": (False, False),
}

#: Invalid vectors.
EMBED = ("too-few", "too-short", "differing", "all-zero", "not-finite", "no-json", "cut")


class FailingVendor:
    """Chat Completions, embeddings, and a plain route for integrations."""

    def __init__(self) -> None:
        self.worked: Counter[str] = Counter()
        self.runner: web.AppRunner | None = None
        self.url = ""

    async def start(self) -> None:
        """Listen on a free port of the loopback."""
        app = web.Application()
        app.router.add_post("/v1/chat/completions", self.chat)
        app.router.add_post("/v1/embeddings", self.embed)
        app.router.add_post("/v1/plain", self.plain)
        self.runner = web.AppRunner(app)
        await self.runner.setup()
        site = web.TCPSite(self.runner, "127.0.0.1", 0)
        await site.start()
        self.url = f"http://127.0.0.1:{self.runner.addresses[0][1]}/v1"

    async def stop(self) -> None:
        """Stop listening."""
        assert self.runner is not None
        await self.runner.cleanup()

    async def plain(self, request: web.Request) -> web.Response:
        """A plain JSON reply for an integration."""
        self.worked["plain"] += 1
        return web.json_response({"fine": True})

    async def chat(self, request: web.Request) -> web.StreamResponse:
        """One answer that fails as the model's name says."""
        body = await request.json()
        model = str(body["model"])
        self.worked[model] += 1
        response = web.StreamResponse(headers={"content-type": "text/event-stream"})
        await response.prepare(request)
        usage = {"prompt_tokens": INPUT_TOKENS, "completion_tokens": OUTPUT_TOKENS}
        has_usage, has_text = CHAT.get(model, (True, True))
        if has_usage:
            await self.send(response, {"choices": [], "usage": usage})
        if has_text:
            await self.send(response, {"choices": [{"index": 0, "delta": {"content": "some words "}}]})
        if model in CHAT:
            if model.endswith("nonsense"):
                await response.write(b"data: {nonsense\n\n")
                return response
            if model == "no-answer":
                return response
            assert request.transport is not None
            request.transport.close()
            return response
        await self.send(response, {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})
        await self.send(response, {"choices": [], "usage": usage})
        await response.write(b"data: [DONE]\n\n")
        return response

    async def send(self, response: web.StreamResponse, chunk: dict[str, Any]) -> None:
        """One event."""
        await response.write(b"data: " + json.dumps(chunk).encode() + b"\n\n")

    async def embed(self, request: web.Request) -> web.StreamResponse:
        """Vectors, valid or invalid as the model's name says."""
        body = await request.json()
        model, count = str(body["model"]), len(body["input"])
        self.worked[model] += 1
        vectors: list[list[float]] = [[1.0] * DIMENSIONS for _ in range(count)]
        match model:
            case "too-few":
                vectors = vectors[:-1]
            case "too-short":
                vectors = [[1.0] * 3 for _ in vectors]
            case "differing":
                vectors[-1] = [1.0] * (DIMENSIONS - 1)
            case "all-zero":
                vectors = [[0.0] * DIMENSIONS for _ in vectors]
            case "not-finite":
                vectors = [[1e300] * DIMENSIONS for _ in vectors]
            case "no-json":
                return web.Response(body=b"{", content_type="application/json")
            case "cut":
                response = web.StreamResponse(headers={"content-type": "application/json", "content-length": "1000"})
                await response.prepare(request)
                await response.write(b"{")
                assert request.transport is not None
                request.transport.close()
                return response
        data = [{"index": at, "embedding": vector} for at, vector in enumerate(vectors)]
        return web.json_response({"data": data, "usage": {"prompt_tokens": INPUT_TOKENS, "total_tokens": INPUT_TOKENS}})
