"""A vendor that always fails: refuses connections, is unreachable, hangs, answers 500, or breaks off."""

from __future__ import annotations

import asyncio
import json
import socket
from collections import Counter
from typing import Any

from aiohttp import web

MODES = ("refused", "unreachable", "hanging", "500", "cut", "cut-at-once")

#: What each vendor sends before the first text; the vendor breaks off after it.
PRELUDES: dict[str, dict[str, Any]] = {
    "openai": {"id": "1", "choices": [{"index": 0, "delta": {"role": "assistant", "content": ""}}]},
    "anthropic": {
        "type": "message_start",
        "message": {"id": "1", "type": "message", "role": "assistant", "content": [], "usage": {"input_tokens": 3}},
    },
    "gemini": {"candidates": [{"content": {"role": "model", "parts": []}}], "usageMetadata": {"promptTokenCount": 3}},
}


class DeadVendor:
    """As a context it fails at `url(mode, protocol)`. `requests` counts the calls that reached it, by mode."""

    def __init__(self) -> None:
        self.requests: Counter[str] = Counter()
        self.runner: web.AppRunner | None = None
        self.full: list[socket.socket] = []
        bound = socket.socket()  # bound, so that no other process can listen there
        bound.bind(("127.0.0.1", 0))
        self.full.append(bound)
        self.ports = {"refused": bound.getsockname()[1]}

    async def __aenter__(self) -> DeadVendor:
        app = web.Application()
        app.router.add_route("*", "/{mode}/{protocol}/{rest:.*}", self.answer)
        self.runner = web.AppRunner(app, handler_cancellation=True)
        await self.runner.setup()
        await web.TCPSite(self.runner, "127.0.0.1", 0).start()
        for mode in MODES[2:]:
            self.ports[mode] = self.runner.addresses[0][1]
        # Connections are never accepted and the backlog is full: new ones wait for ever.
        listening = socket.socket()
        listening.bind(("127.0.0.1", 0))
        listening.listen(0)
        self.full.append(listening)
        for _ in range(8):
            waiting = socket.socket()
            waiting.setblocking(False)
            waiting.connect_ex(listening.getsockname())
            self.full.append(waiting)
        self.ports["unreachable"] = listening.getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self.runner is not None
        await self.runner.cleanup()
        for one in self.full:
            one.close()

    def url(self, mode: str, protocol: str) -> str:
        """The URL for a failure mode and a protocol."""
        return f"http://127.0.0.1:{self.ports[mode]}/{mode}/{protocol}"

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """Fail in the mode of the URL."""
        mode, protocol = request.match_info["mode"], request.match_info["protocol"]
        self.requests[f"{mode}-{protocol}"] += 1
        await request.read()
        if mode == "hanging":
            await asyncio.sleep(3600)
        if mode == "500":
            return web.json_response({"error": {"message": "vendor secret"}}, status=500)
        response = web.StreamResponse(headers={"content-type": "text/event-stream"})
        await response.prepare(request)
        if mode == "cut":
            data = PRELUDES[protocol]
            name = f"event: {data['type']}\n" if "type" in data else ""
            await response.write(f"{name}data: {json.dumps(data)}\n\n".encode())
            await asyncio.sleep(0.02)
        assert request.transport is not None
        request.transport.abort()
        return response
