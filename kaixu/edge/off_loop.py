"""Reads, checks and counts large bodies in threads, so that the event loop goes on serving other requests."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

Result = TypeVar("Result")

#: Smaller bodies are read faster than a thread can take over.
LARGE_BYTES = 256 * 1024

#: Few: they share one interpreter with the loop and take time from it.
THREADS = 2

POOL = ThreadPoolExecutor(THREADS, thread_name_prefix="kaixu-bodies")


async def run_in_thread(size: int, work: Callable[[], Result]) -> Result:
    """Run `work` and return its result; in a thread, where the body of `size` bytes is large.

    A cancelled call returns at once; its work runs to its end, and the result is discarded.
    """
    if size <= LARGE_BYTES:
        return work()
    return await asyncio.get_running_loop().run_in_executor(POOL, work)
