"""Large bodies are read, checked and counted in a few threads of their own, so that other requests go on meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

Result = TypeVar("Result")

#: Smaller bodies are read faster than a thread can be asked to.
LARGE_BYTES = 256 * 1024

#: Few: they share one interpreter, and each of them takes its time from the loop's.
THREADS = 2

POOL = ThreadPoolExecutor(THREADS, thread_name_prefix="kaixu-bodies")


async def off_loop(size: int, work: Callable[[], Result]) -> Result:
    """What `work` returns or raises; for a body of `size` bytes that is large, it runs beside the loop.

    A cancelled call returns at once; its work runs to its end, and the result is discarded.
    """
    if size <= LARGE_BYTES:
        return work()
    return await asyncio.get_running_loop().run_in_executor(POOL, work)
