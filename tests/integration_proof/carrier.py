"""The carrier of `kaixu-parcel`: a stand-in on a port of this machine."""

from __future__ import annotations

import asyncio
from collections import Counter

from aiohttp import web


class Carrier:
    """`busy`: how often it answers 503 first. `lost`: it refuses all labels. `looks`: questions before it is there."""

    def __init__(self) -> None:
        self.busy = 0
        self.lost = False
        self.looks: Counter[str] = Counter()
        self.labels: dict[str, str] = {}
        self.tokens: list[str] = []
        self.port = 0
        self._runner: web.AppRunner | None = None

    async def start(self) -> None:
        app = web.Application()
        app.router.add_post("/labels", self.label)
        app.router.add_get("/labels/{tracking}", self.status)
        app.router.add_get("/account", self.account)
        self._runner = web.AppRunner(app)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self.port = self._runner.addresses[0][1]

    async def stop(self) -> None:
        assert self._runner is not None
        await self._runner.cleanup()

    async def label(self, request: web.Request) -> web.Response:
        if self.busy:
            self.busy -= 1
            return web.Response(status=503)
        if self.lost:
            return web.Response(status=422, text="a stranger's words")
        self.tokens.append(request.headers.get("authorization", ""))
        key = request.headers["idempotency-key"]
        tracking = self.labels.setdefault(key, f"T{len(self.labels) + 1}")
        return web.json_response({"tracking": tracking})

    async def status(self, request: web.Request) -> web.Response:
        tracking = request.match_info["tracking"]
        self.looks[tracking] += 1
        await asyncio.sleep(0)
        return web.json_response({"state": "on its way" if self.looks[tracking] < 3 else "delivered"})

    async def account(self, request: web.Request) -> web.Response:
        token = request.headers.get("authorization", "").removeprefix("Bearer ")
        if not token.startswith("token-of-"):
            return web.Response(status=401)
        return web.json_response({"account": token.removeprefix("token-of-")})
