"""The pool of connections to vendors, and how far a try has come with one."""

from __future__ import annotations

from contextvars import ContextVar
from typing import Any

import aiohttp
from aiohttp.connector import Connection
from aiohttp.tracing import Trace
from httpx_aiohttp import AiohttpTransport


class WireProgress:
    """The progress of one try. `connecting`: it waits for a connection, so nothing can have been sent."""

    __slots__ = ("connecting",)

    def __init__(self) -> None:
        self.connecting = False


#: The progress of the running task's try. A context variable, because no parameter reaches the connector.
PROGRESS: ContextVar[WireProgress | None] = ContextVar("progress", default=None)


class Connector(aiohttp.TCPConnector):
    """The pool of connections; it sets a try's `WireProgress`."""

    async def connect(
        self, req: aiohttp.ClientRequest, traces: list[Trace], timeout: aiohttp.ClientTimeout
    ) -> Connection:
        progress = PROGRESS.get() or WireProgress()
        progress.connecting = True
        connection = await super().connect(req, traces, timeout)
        progress.connecting = False
        return connection


def open_transport(**guard: Any) -> AiohttpTransport:
    """The pool of connections to all vendors: no cookies, no proxies from the environment, no compression.

    `guard`: further arguments of `aiohttp.TCPConnector`.
    """

    def session() -> aiohttp.ClientSession:
        return aiohttp.ClientSession(
            connector=Connector(limit=0, ttl_dns_cache=60, keepalive_timeout=30, ssl=transport.ssl_context, **guard),
            cookie_jar=aiohttp.DummyCookieJar(),
            skip_auto_headers=("Accept-Encoding", "User-Agent", "Accept", "Content-Type"),
            requote_redirect_url=False,
        )

    transport = AiohttpTransport(client=session)
    return transport
