"""Parse and validate large bodies in threads, so that they do not block the event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

Result = TypeVar("Result")

#: For smaller bodies a thread costs more time than it saves.
LARGE_BYTES = 256 * 1024

#: Few, because they compete with the event loop for the interpreter.
THREADS = 2

POOL = ThreadPoolExecutor(THREADS, thread_name_prefix="kaixu-bodies")


async def run_in_thread(size: int, work: Callable[[], Result]) -> Result:
    """Run `work` and return its result: in a thread if the body is large (`size` bytes).

    If the call is cancelled, the work runs on and its result is discarded.
    """
    if size <= LARGE_BYTES:
        return work()
    return await asyncio.get_running_loop().run_in_executor(POOL, work)
