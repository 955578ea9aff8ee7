"""The processor's time of the edge alone: a request from ASGI to its handler and back, without server and database.

    python -m bench.edge

Prints microseconds a request: the best of many runs, in time of this thread, which is steady on a busy machine too.
"""

from __future__ import annotations

import asyncio
import sys
import time
from typing import Any

import uvloop

from kaixu.edge.cors import ReplyHeaders
from kaixu.edge.errors import Failures
from kaixu.edge.exchange import BodyLimits, Exchange
from kaixu.edge.request import Headers, IncomingRequest
from kaixu.edge.request_body import BodyOwner
from kaixu.edge.response import Reply, json_reply
from kaixu.edge.routes import Auth, Route, Routes

RUNS, REQUESTS = 300, 100
PATH = "/v1/chat/completions"
BODY = b'{"model":"m","messages":[{"role":"user","content":"What is the capital of Italy?"}]}'
HEADERS = {
    b"host": b"localhost:8080",
    b"content-type": b"application/json",
    b"authorization": b"Bearer kx_live_" + 48 * b"a",
    b"x-kaixu-install-id": b"bench-device",
    b"content-length": str(len(BODY)).encode(),
}


class AnyCaller:
    """Callers without credentials."""

    def require(self, auth: Auth, headers: Headers) -> None:
        """Accepts all callers."""

    async def find_body_owner(self, request: IncomingRequest) -> BodyOwner:
        """One owner of all bodies."""
        return 1

    async def count_reading(self, request: IncomingRequest, body_bytes: int) -> None:
        """Counts nothing."""


async def handler(request: IncomingRequest) -> Reply:
    """Waits once, as every call does."""
    await asyncio.sleep(0)
    return json_reply({"length": len(request.body)})


async def receive() -> Any:
    """The whole body."""
    return {"type": "http.request", "body": BODY, "more_body": False}


async def send(message: Any) -> None:
    """Drops a message."""


async def main() -> None:
    """Measure and print."""
    limits = BodyLimits(10**6, 10**7, 30.0)
    route = Route("POST", (PATH,), handler, auth="key", rate="call")
    exchange = Exchange(
        Routes([route]), AnyCaller(), ReplyHeaders(frozenset()), Failures(), lambda: limits, listeners=[lambda _: None]
    )
    scope: Any = {
        "type": "http",
        "method": "POST",
        "path": PATH,
        "query_string": b"",
        "headers": list(HEADERS.items()),
        "client": ("127.0.0.1", 1),
    }
    best_s = float("inf")
    for _ in range(RUNS):
        began = time.thread_time()
        for _ in range(REQUESTS):
            await exchange.serve(scope, receive, send)
        best_s = min(best_s, time.thread_time() - began)
    sys.stdout.write(f"{best_s / REQUESTS * 1e6:.1f} µs a request\n")


if __name__ == "__main__":
    uvloop.run(main())
