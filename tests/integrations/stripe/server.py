"""The server of the stand-in: a thread of its own, so that it answers whatever the test's loop does."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from aiohttp import web

from .stand_in import Stripe


@contextmanager
def stand_in(port: int = 0) -> Iterator[Stripe]:
    """A stand-in in a thread of its own: it answers whatever the test's loop does."""
    one = Stripe()
    loop = asyncio.new_event_loop()
    started = threading.Event()

    async def start() -> web.AppRunner:
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", one.serve)
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", port).start()
        one.port = runner.addresses[0][1]
        return runner

    def run() -> None:
        asyncio.set_event_loop(loop)
        runner = loop.run_until_complete(start())
        started.set()
        loop.run_forever()
        loop.run_until_complete(runner.cleanup())
        loop.close()

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    started.wait()
    try:
        yield one
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
