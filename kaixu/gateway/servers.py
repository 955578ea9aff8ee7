"""The HTTP servers. Each runs on the gateway's event loop, and stops in the same order."""

from __future__ import annotations

import asyncio
import logging
import re
import socket
from collections.abc import Awaitable, Callable
from importlib import import_module
from typing import TYPE_CHECKING, Any, Protocol

from kaixu.edge.services import Services
from kaixu.plugin.errors import PluginError

from .app import Application
from .listening import listening_on, stop_accepting

if TYPE_CHECKING:
    from granian.server.embed import Server
    from hypercorn.typing import (
        ASGIReceiveCallable,
        ASGISendCallable,
        HTTPResponseStartEvent,
        Scope,
    )

BACKLOG = 1024
KEEP_ALIVE_S = 75

#: The time limit for closing after the last call: settlements, lanes, pools.
CLOSE_S = 60

#: Granian delays further connections. The gate limits the calls in flight.
MAX_CONNECTIONS = 100_000

#: Granian configures logging anew when it starts, which would close the handlers of the gateway's log.
KEEP_LOGGING: dict[str, Any] = {"incremental": True, "handlers": {}, "loggers": {}}

#: The maximum size of a request's head, and of a piece of its body that is read at once.
MAX_HEAD_BYTES = 64 * 1024

#: The time limit for sending finished replies.
LAST_REPLIES_S = 5.0

#: How often a stopping server looks whether the grace period is over.
LOOK_S = 0.1

log = logging.getLogger(__name__)

#: Waits until the port must be closed; after that, the grace period of running calls has begun.
UntilStopped = Callable[[], Awaitable[None]]


class ServedGateway(Protocol):
    """What a server needs of the gateway process."""

    app: Application
    services: Services

    def stop_soon(self) -> None:
        """The grace period of running calls begins."""
        ...

    async def end_calls(self) -> None:
        """Wait for running calls, then end the rest while the server can still answer their clients."""
        ...

    async def close(self) -> None:
        """Close everything, after the last call."""
        ...


#: The last argument is a bound socket to listen on, in place of the host and port.
Serve = Callable[[ServedGateway, str, int, UntilStopped, socket.socket | None], Awaitable[None]]


async def hypercorn(
    gateway: ServedGateway, host: str, port: int, until_stopped: UntilStopped, bound: socket.socket | None = None
) -> None:
    """Serve with Hypercorn, and ordinary requests without its protocols (see `http1`).

    Raises `OSError` if it cannot listen; the gateway then stays open.
    """
    from hypercorn.config import Config

    from .connections import Connections, without_connection_headers

    refuse_bare_cr()
    stay_with_http_1()
    without_connection_headers()
    config = Config()
    config.bind = [f"[{host}]:{port}" if ":" in host else f"{host}:{port}"]
    if bound is not None:
        config.bind = [f"fd://{bound.detach()}"]
    config.accesslog = None
    config.errorlog = logging.getLogger("hypercorn.error")
    config.include_server_header = False
    connections = Connections(gateway.app, config, keep_alive_s=KEEP_ALIVE_S)
    sockets = config.create_sockets().insecure_sockets
    loop = asyncio.get_running_loop()
    servers = [await loop.create_server(connections.accept, sock=one, backlog=BACKLOG) for one in sockets]
    await until_stopped()
    try:
        await stop_accepting(sockets)
        for server in servers:
            server.close()
        connections.end()
        while not (await connections.wait(LOOK_S) or gateway.services.gate.calls.is_over()):
            pass
        await gateway.end_calls()
        await connections.wait(LAST_REPLIES_S)  # calls that end with the grace period are still answered
        await connections.cancel(LAST_REPLIES_S)
    finally:
        await close(gateway)


def refuse_bare_cr() -> None:
    """Make h11, which parses HTTP/1 for Hypercorn, refuse a carriage return within a chunk's extension.

    A proxy may read it as the end of the line, and then see a different request. h11 has no setting for this, so its
    pattern is replaced; tests/e2e/test_http_edge.py fails if a new h11 ignores that.
    """
    from h11 import _readers

    strict = rb"(?P<chunk_size>[0-9a-fA-F]{1,20})(?P<chunk_ext>[ \t]*;[^\r\n]*)?[ \t]*\r\n"
    _readers.chunk_header_re = re.compile(strict)


def stay_with_http_1() -> None:
    """Make Hypercorn ignore `upgrade: h2c`, for which it has no setting.

    A proxy that forwards the upgrade cannot inspect that connection any more, so its rules would be bypassed, for
    example on public paths. RFC 9113 has removed this upgrade. HTTP/2 from the start still works.
    """
    from h11 import Request
    from hypercorn.protocol.h11 import H11Protocol

    async def only_http_2_from_the_start(self: H11Protocol, event: Request) -> None:
        if event.method == b"PRI":
            await checked(self, event)

    checked = H11Protocol._check_protocol
    if checked.__name__ != only_http_2_from_the_start.__name__:
        H11Protocol._check_protocol = only_http_2_from_the_start  # type: ignore[method-assign]


async def granian(
    gateway: ServedGateway, host: str, port: int, until_stopped: UntilStopped, bound: socket.socket | None = None
) -> None:
    """Serve with Granian. Raises `OSError` if it cannot listen; the gateway then stays open."""
    from granian.constants import HTTPModes, Interfaces
    from granian.http import HTTP1Settings
    from granian.server.embed import Server

    if bound is None:
        # Granian listens in its own thread and only logs failures, so the address is tried first.
        probe = await asyncio.start_server(lambda *_: None, host, port)
        probe.close()
        await probe.wait_closed()
    server = Server(
        AnsweringApp(gateway.app),
        address=host,
        port=port,
        interface=Interfaces.ASGINL,
        http=HTTPModes.http1,
        http1_settings=HTTP1Settings(max_buffer_size=MAX_HEAD_BYTES),
        websockets=False,
        backlog=BACKLOG,
        backpressure=MAX_CONNECTIONS,
        log_enabled=False,
        log_dictconfig=KEEP_LOGGING,
    )
    if bound is not None:
        bound.listen(BACKLOG)
        listen_on(server, bound)
    serving = asyncio.ensure_future(server.serve())
    stopping = asyncio.ensure_future(until_stopped())
    await asyncio.wait([serving, stopping], return_when=asyncio.FIRST_COMPLETED)
    stopping.cancel()
    if serving.done():
        gateway.stop_soon()
        await close(gateway)
        serving.result()
        raise PluginError("Granian stopped unexpectedly")
    try:
        with listening_on(port) as sockets:
            await stop_accepting(sockets)
        server.stop()  # type: ignore[no-untyped-call]  # it ends when all requests are answered
        while not (serving.done() or gateway.services.gate.calls.is_over()):
            await asyncio.wait([serving], timeout=LOOK_S)
        await gateway.end_calls()
        await asyncio.wait([serving], timeout=LAST_REPLIES_S)
    finally:
        await close(gateway)


async def close(gateway: ServedGateway) -> None:
    """Close the gateway within a time limit, since a plugin may hang."""
    try:
        async with asyncio.timeout(gateway.services.gateway.grace_s + CLOSE_S):  # it waits for calls without a client
            await gateway.close()
    except TimeoutError:
        log.error("the gateway was not closed within %d s", gateway.services.gateway.grace_s + CLOSE_S)


def listen_on(server: Server, bound: socket.socket) -> None:
    """Make an embedded Granian accept from a socket that is bound already, for which it has no setting."""
    from granian._granian import SocketHolder

    def take_socket() -> None:
        server._ssp = None
        server._shd = SocketHolder(bound.detach(), False, BACKLOG)  # type: ignore[call-arg, assignment]

    server._init_shared_socket = take_socket  # type: ignore[method-assign]


#: The reply to a body that cannot be read. Granian reports it to the application as a disconnect, and would answer 500.
UNREADABLE_BODY: HTTPResponseStartEvent = {
    "type": "http.response.start",
    "status": 400,
    "headers": [(b"content-length", b"0"), (b"connection", b"close")],
    "trailers": False,
}


class AnsweringApp:
    """Serves requests directly with the exchange, and answers those that it leaves unanswered."""

    def __init__(self, app: Application) -> None:
        self.app = app
        self.serve = app.exchange.serve

    async def __call__(self, scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
        elif not await self.serve(scope, receive, send):
            await send(UNREADABLE_BODY)
            await send({"type": "http.response.body", "body": b"", "more_body": False})


SERVERS: dict[str, Serve] = {"hypercorn": hypercorn, "granian": granian}


def require_server(name: str) -> None:
    """Raises `PluginError` if the server that `gateway.server` names is not installed."""
    try:
        import_module(name)
    except ImportError as error:
        raise PluginError(
            f"`server: {name}` needs a package that is not installed: pip install 'kaixu[{name}]'"
        ) from error
