"""The servers that can speak HTTP for the gateway: both run on its loop, in its process, and stop in the same order."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable
from importlib.util import find_spec

from kaixu.plugin.errors import PluginError

from .gateway import Gateway

BACKLOG = 1024
KEEP_ALIVE_S = 75

#: Returns when the server shall stop; nothing new is admitted from then on.
UntilStopped = Callable[[], Awaitable[None]]
Serve = Callable[[Gateway, str, int, UntilStopped], Awaitable[None]]


async def hypercorn(gateway: Gateway, host: str, port: int, until_stopped: UntilStopped) -> None:
    """Serve with Hypercorn. Raises `OSError` where it cannot listen; then the gateway is still open."""
    from hypercorn.asyncio import serve
    from hypercorn.config import Config

    config = Config()
    config.bind = [f"{host}:{port}"]
    config.graceful_timeout = float(gateway.core.gateway.grace_s)
    config.keep_alive_timeout = KEEP_ALIVE_S
    config.accesslog = None
    config.errorlog = logging.getLogger("hypercorn.error")
    config.include_server_header = False
    config.backlog = BACKLOG
    gateway.app.after_serving(gateway.close)
    await serve(gateway.app, config, shutdown_trigger=until_stopped)


async def granian(gateway: Gateway, host: str, port: int, until_stopped: UntilStopped) -> None:
    """Serve with Granian. Raises `OSError` where it cannot listen; then the gateway is still open."""
    if find_spec("granian") is None:
        raise PluginError("`server: granian` needs the package: pip install 'kaixu[granian]'")
    from granian.constants import HTTPModes, Interfaces
    from granian.server.embed import Server

    # Granian listens in a thread of its own and only logs where it cannot: tried here first, to fail in one line.
    probe = await asyncio.start_server(lambda *_: None, host, port)
    probe.close()
    await probe.wait_closed()
    server = Server(
        gateway.app,
        address=host,
        port=port,
        interface=Interfaces.ASGINL,
        http=HTTPModes.http1,
        websockets=False,
        backlog=BACKLOG,
        backpressure=gateway.core.gateway.max_in_flight + BACKLOG,
        log_enabled=False,
    )
    serving = asyncio.ensure_future(server.serve())
    stopping = asyncio.ensure_future(until_stopped())
    await asyncio.wait([serving, stopping], return_when=asyncio.FIRST_COMPLETED)
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(gateway.core.gate.idle(), gateway.core.gateway.grace_s)
    await gateway.core.gate.stop()
    server.stop()  # type: ignore[no-untyped-call]
    await asyncio.wait([serving], timeout=5)
    stopping.cancel()
    await gateway.close()


SERVERS: dict[str, Serve] = {"hypercorn": hypercorn, "granian": granian}
