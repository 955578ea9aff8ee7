"""The bare proxy: Quart on Hypercorn with aiohttp as its client, without any enforcement."""

from __future__ import annotations

import asyncio
import gc
import signal
import sys

import aiohttp
import httpx
import uvloop
from httpx_aiohttp import AiohttpTransport
from hypercorn.asyncio import serve
from hypercorn.config import Config
from quart import Quart, Response, request


def open_transport() -> AiohttpTransport:
    """A pool of connections without cookies, proxies from the environment, or compression.

    The fixed point of comparison: it does not change with the gateway's own client.
    """

    def session() -> aiohttp.ClientSession:
        connector = aiohttp.TCPConnector(limit=0, ttl_dns_cache=60, keepalive_timeout=30, ssl=transport.ssl_context)
        return aiohttp.ClientSession(
            connector=connector,
            cookie_jar=aiohttp.DummyCookieJar(),
            skip_auto_headers=("Accept-Encoding", "User-Agent", "Accept", "Content-Type"),
            requote_redirect_url=False,
        )

    transport = AiohttpTransport(client=session)
    return transport


def application(upstream: str) -> Quart:
    """Routes that pass the body to the upstream and the response back: of a stream, and of a plain call."""
    app = Quart("bare")
    url = httpx.URL(upstream + "/v1/chat/completions")
    plain_url = httpx.URL(upstream + "/plain/v1/chat/completions")
    headers = {"authorization": "Bearer x", "content-type": "application/json"}

    @app.before_serving
    async def begin() -> None:
        app.extensions["transport"] = open_transport()

    @app.after_serving
    async def end() -> None:
        await app.extensions["transport"].aclose()

    async def pass_on(url: httpx.URL, content_type: str) -> Response:
        outgoing = httpx.Request("POST", url, headers=headers, content=await request.get_data())
        response = await app.extensions["transport"].handle_async_request(outgoing)
        try:
            return Response(await response.aread(), content_type=content_type)
        finally:
            await response.aclose()

    @app.post("/api/gateway-chat")
    async def stream() -> Response:
        return await pass_on(url, "text/event-stream")

    @app.post("/v1/chat/completions")
    async def plain() -> Response:
        return await pass_on(plain_url, "application/json")

    return app


async def main(port: int, upstream: str) -> None:
    """Serve until SIGTERM."""
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    config = Config()
    config.bind = [f"127.0.0.1:{port}"]
    config.backlog = 1024
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 50)
    await serve(application(upstream), config, shutdown_trigger=stop.wait)


if __name__ == "__main__":
    uvloop.run(main(int(sys.argv[1]), sys.argv[2]))
