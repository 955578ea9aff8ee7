"""The watch for clients that disconnect."""

from __future__ import annotations

import asyncio
import gc
import weakref
from typing import Any, cast

from kaixu.edge.client_watch import ClientWatch


async def test_a_watch_that_was_stopped_is_freed_without_the_garbage_collector() -> None:
    async def receive() -> Any:
        await asyncio.Event().wait()

    gc.disable()
    try:
        watch = ClientWatch(cast(Any, receive), cast("asyncio.Task[object]", asyncio.current_task()))
        watch.start()
        assert watch.task is not None
        task = weakref.ref(watch.task)
        await asyncio.sleep(0)
        watch.stop()
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert task() is None
    finally:
        gc.enable()
