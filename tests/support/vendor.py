"""A fake vendor with Chat Completions that fails on demand, and with embeddings.

The model's name selects what happens: `ok`, `stream-<deltas>-<ms between>`, `status-<code>`, `cut-<deltas>`,
`nonsense`, `greedy` (never stops), `burst` (as greedy, a thousand deltas in one piece of the network), `silent` (no usage at the end), `hang`.
"""

from __future__ import annotations

import asyncio
import json
from typing import Any

from aiohttp import web

INPUT_TOKENS = 14


class Vendor:
    """Records its requests; counts finished and cancelled answers."""

    def __init__(self) -> None:
        self.requests: list[dict[str, Any]] = []
        self.finished = 0
        self.cancelled = 0
        self.delivered = 0
        self.failures_left = 0  # the next calls get a 500
        self.sick: set[str] = set()  # models that get a 500 for now
        self.headers: list[dict[str, str]] = []
        self.runner: web.AppRunner | None = None
        self.url = ""

    async def start(self) -> None:
        """Listen on a free port of the loopback."""
        app = web.Application(client_max_size=64 * 1024 * 1024)
        app.router.add_post("/v1/chat/completions", self.chat)
        app.router.add_post("/v1/embeddings", self.embed)
        self.runner = web.AppRunner(app, handler_cancellation=True)
        await self.runner.setup()
        site = web.TCPSite(self.runner, "127.0.0.1", 0)
        await site.start()
        port = self.runner.addresses[0][1]
        self.url = f"http://127.0.0.1:{port}/v1"

    async def stop(self) -> None:
        """Stop listening."""
        assert self.runner is not None
        await self.runner.cleanup()

    async def chat(self, request: web.Request) -> web.StreamResponse:
        """One completion."""
        body = await request.json()
        self.requests.append(body)
        kind, *numbers = body["model"].split("-")
        most = body.get("max_completion_tokens") or body.get("max_tokens") or 16
        self.headers.append({name.lower(): value for name, value in request.headers.items()})
        if self.failures_left or body["model"] in self.sick:
            self.failures_left = max(0, self.failures_left - 1)
            return web.json_response({"error": {"message": "vendor secret"}}, status=500)
        if kind == "status":
            return web.json_response(
                {"error": {"message": "vendor secret"}}, status=int(numbers[0]), headers={"retry-after": "9"}
            )
        if kind == "hang":
            await asyncio.sleep(3600)
        response = web.StreamResponse(headers={"content-type": "text/event-stream"})
        await response.prepare(request)
        deltas, pause_s = 4, 0.0
        if kind in ("stream", "cut"):
            deltas = int(numbers[0])
            pause_s = int(numbers[1]) / 1000 if len(numbers) > 1 else 0.0
        try:
            if kind == "nonsense":
                await response.write(b"data: {nonsense\n\n")
                return response
            if kind == "burst":
                text = json.dumps({"choices": [{"index": 0, "delta": {"content": "wd0 "}}]}).encode()
                await response.write(b"data: %s\n\n" % text * 1000)
                self.delivered += 1000
            deltas = 10**9 if kind == "greedy" else min(deltas, most)
            for at in range(deltas):
                await self.send(response, {"choices": [{"index": 0, "delta": {"content": f"wd{at % 10} "}}]})
                self.delivered += 1
                await asyncio.sleep(pause_s)
            if kind == "cut":
                assert request.transport is not None
                request.transport.close()
                return response
            await self.send(response, {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})
            if kind != "silent":
                usage = {"prompt_tokens": INPUT_TOKENS, "completion_tokens": deltas}
                await self.send(response, {"choices": [], "usage": usage})
            await response.write(b"data: [DONE]\n\n")
            self.finished += 1
        except (asyncio.CancelledError, ConnectionError):
            self.cancelled += 1
            raise
        return response

    async def embed(self, request: web.Request) -> web.Response:
        """A vector for each text."""
        texts = (await request.json())["input"]
        texts = [texts] if isinstance(texts, str) else texts
        data = [{"index": at, "embedding": [1.0, float(len(text))]} for at, text in enumerate(texts)]
        return web.json_response({"data": data, "usage": {"prompt_tokens": INPUT_TOKENS * len(texts)}})

    async def send(self, response: web.StreamResponse, chunk: dict[str, Any]) -> None:
        """One event."""
        await response.write(b"data: " + json.dumps(chunk).encode() + b"\n\n")
