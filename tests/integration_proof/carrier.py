"""The carrier of `kaixu-parcel`: a stand-in on a port of this machine."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import html
from collections import Counter
from urllib.parse import urlencode

from aiohttp import web


class Carrier:
    """`busy`: how often it answers 503 first. `lost`: it refuses all labels. `looks`: questions before it is there."""

    def __init__(self) -> None:
        self.busy = 0
        self.lost = False
        self.looks: Counter[str] = Counter()
        self.labels: dict[str, str] = {}
        self.tokens: list[str] = []
        self.codes: dict[str, dict[str, str]] = {}
        self.port = 0
        self._runner: web.AppRunner | None = None

    async def start(self, port: int = 0) -> None:
        app = web.Application()
        app.router.add_post("/labels", self.label)
        app.router.add_get("/labels/{tracking}", self.status)
        app.router.add_get("/account", self.account)
        app.router.add_get("/authorize", self.authorize)
        app.router.add_post("/token", self.token)
        self._runner = web.AppRunner(app)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", port).start()
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
        tracking = self.labels.setdefault(key, f"T-{key}")
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

    async def authorize(self, request: web.Request) -> web.Response:
        """The page of consent: a link for each decision."""
        query = dict(request.query)
        code = f"code-{len(self.codes)}"
        self.codes[code] = query
        links = [
            f'<a href="{html.escape(query["redirect_uri"] + "?" + urlencode(decision | {"state": query["state"]}))}">{text}</a>'
            for text, decision in (("Allow", {"code": code}), ("Deny", {"error": "access_denied"}))
        ]
        text = f'<!doctype html><html lang="en"><title>Carrier</title><link rel="icon" href="data:,">{" ".join(links)}'
        return web.Response(text=text, content_type="text/html")

    async def token(self, request: web.Request) -> web.Response:
        """The exchange of a code, once, for whoever knows the verifier (RFC 7636)."""
        form = {name: str(value) for name, value in (await request.post()).items()}
        begun = self.codes.pop(form["code"], None)
        digest = base64.urlsafe_b64encode(hashlib.sha256(form["code_verifier"].encode()).digest()).rstrip(b"=")
        if begun is None or begun["code_challenge"] != digest.decode() or begun["redirect_uri"] != form["redirect_uri"]:
            return web.json_response({"error": "invalid_grant"}, status=400)
        return web.json_response({"access_token": "token-of-eve", "account": "eve"})
