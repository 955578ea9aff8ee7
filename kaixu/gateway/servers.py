"""The servers that can speak HTTP for the gateway: both run on its loop, in its process, and stop in the same order."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
from collections.abc import Awaitable, Callable
from importlib import import_module
from typing import TYPE_CHECKING

from hypercorn.typing import (
    ASGIReceiveCallable,
    ASGISendCallable,
    ASGISendEvent,
    HTTPResponseStartEvent,
    Scope,
)

from kaixu.plugin.errors import PluginError

from .app import Application

if TYPE_CHECKING:
    from .process import Gateway

BACKLOG = 1024
KEEP_ALIVE_S = 75

#: How long closing may take once no call runs: settlements, lanes, the pool.
CLOSE_S = 60

#: Granian holds back connections beyond these; how many calls run at one time is the gate's to say.
MOST_CONNECTIONS = 100_000

#: The head of a request, at most; it is also the largest piece of a body that is read at one time.
MOST_HEAD_BYTES = 64 * 1024

#: How long replies that are made may take to leave.
LAST_WORDS_S = 5.0

#: Returns when the server shall stop; nothing new is admitted from then on.
UntilStopped = Callable[[], Awaitable[None]]
Serve = Callable[["Gateway", str, int, UntilStopped], Awaitable[None]]


async def hypercorn(gateway: Gateway, host: str, port: int, until_stopped: UntilStopped) -> None:
    """Serve with Hypercorn. Raises `OSError` where it cannot listen; then the gateway is still open."""
    from hypercorn.asyncio import serve
    from hypercorn.config import Config

    refuse_bare_cr()
    stay_with_http_1()
    config = Config()
    config.bind = [f"[{host}]:{port}" if ":" in host else f"{host}:{port}"]
    config.keep_alive_timeout = KEEP_ALIVE_S
    config.accesslog = None
    config.errorlog = logging.getLogger("hypercorn.error")
    config.include_server_header = False
    config.backlog = BACKLOG
    gateway.app.after_serving(gateway.close)

    async def stopped() -> None:
        await until_stopped()
        grace_s = gateway.services.gateway.grace_s
        gateway.tasks.spawn(gateway.last_words(), "last words")
        config.graceful_timeout = grace_s + LAST_WORDS_S  # when the calls' grace is over, they still say so
        config.shutdown_timeout = float(grace_s + CLOSE_S)  # calls without a connection have their grace in `close`

    await serve(gateway.app, config, shutdown_trigger=stopped)


def refuse_bare_cr() -> None:
    """Let h11, which reads HTTP/1 for Hypercorn, refuse a carriage return within a chunk's extension.

    A proxy may take it for the end of the line and see another request than we do. h11 has no setting for it, so its
    pattern is replaced; tests/e2e/test_http_edge.py finds an h11 for which that does not help.
    """
    from h11 import _readers

    strict = rb"(?P<chunk_size>[0-9a-fA-F]{1,20})(?P<chunk_ext>[ \t]*;[^\r\n]*)?[ \t]*\r\n"
    _readers.chunk_header_re = re.compile(strict)


def stay_with_http_1() -> None:
    """Let Hypercorn ignore `upgrade: h2c`, for which it has no setting.

    A proxy that passes it on sees nothing of what is sent over its connection from then on: its own rules, which paths
    strangers reach for example, would be passed by. RFC 9113 has taken this upgrade away. A proxy that speaks HTTP/2
    to the gateway by itself still may.
    """
    from h11 import Request
    from hypercorn.protocol.h11 import H11Protocol

    async def only_http_2_by_itself(self: H11Protocol, event: Request) -> None:
        if event.method == b"PRI":
            await checked(self, event)

    checked = H11Protocol._check_protocol
    if checked.__name__ != only_http_2_by_itself.__name__:
        H11Protocol._check_protocol = only_http_2_by_itself  # type: ignore[method-assign]


async def granian(gateway: Gateway, host: str, port: int, until_stopped: UntilStopped) -> None:
    """Serve with Granian. Raises `OSError` where it cannot listen; then the gateway is still open."""
    from granian.constants import HTTPModes, Interfaces
    from granian.http import HTTP1Settings
    from granian.server.embed import Server

    # Granian listens in a thread of its own and only logs where it cannot: tried here first, to fail in one line.
    probe = await asyncio.start_server(lambda *_: None, host, port)
    probe.close()
    await probe.wait_closed()
    app = Counted(gateway.app)
    server = Server(
        app,
        address=host,
        port=port,
        interface=Interfaces.ASGINL,
        http=HTTPModes.http1,
        http1_settings=HTTP1Settings(max_buffer_size=MOST_HEAD_BYTES),
        websockets=False,
        backlog=BACKLOG,
        backpressure=MOST_CONNECTIONS,
        log_enabled=False,
    )
    serving = asyncio.ensure_future(server.serve())
    stopping = asyncio.ensure_future(until_stopped())
    await asyncio.wait([serving, stopping], return_when=asyncio.FIRST_COMPLETED)
    stopping.cancel()
    if serving.done():
        gateway.stop_soon()
        await gateway.close()
        serving.result()
        raise PluginError("Granian has stopped serving by itself")
    # It listens to the end, and what comes meanwhile is told that the gateway is leaving.
    await gateway.last_words()
    await app.finished(LAST_WORDS_S)
    server.stop()  # type: ignore[no-untyped-call]
    await asyncio.wait([serving], timeout=LAST_WORDS_S)
    await gateway.close()


#: What a client hears that sends a body nobody can read: Granian tells the application that it has left, and would say
#: 500 to it.
NOT_WHOLE: HTTPResponseStartEvent = {
    "type": "http.response.start",
    "status": 400,
    "headers": [(b"content-length", b"0"), (b"connection", b"close")],
    "trailers": False,
}


class Counted:
    """An application, and how many exchanges of it are not over. It answers whatever the application does not."""

    def __init__(self, app: Application) -> None:
        self.app = app
        self.running = 0
        self.idle = asyncio.Event()
        self.idle.set()

    async def __call__(self, scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
        """One exchange."""
        self.running += 1
        self.idle.clear()
        answered = False

        async def answer(message: ASGISendEvent) -> None:
            nonlocal answered
            answered = True
            await send(message)

        try:
            await self.app(scope, receive, answer)
            if not answered and scope["type"] == "http":
                await send(NOT_WHOLE)
                await send({"type": "http.response.body", "body": b"", "more_body": False})
        finally:
            self.running -= 1
            if not self.running:
                self.idle.set()

    async def finished(self, most_s: float) -> None:
        """Return when all are over, or after `most_s`."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self.idle.wait(), most_s)


SERVERS: dict[str, Serve] = {"hypercorn": hypercorn, "granian": granian}


def insist_on_server(name: str) -> None:
    """Raises `PluginError` where the server that `gateway.server` names is not installed."""
    try:
        import_module(name)
    except ImportError as error:
        raise PluginError(
            f"`server: {name}` needs a package that is not installed: pip install 'kaixu[{name}]'"
        ) from error
