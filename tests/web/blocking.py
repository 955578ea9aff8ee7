"""Coroutines run to their end from tests that are plain functions.

In a thread of their own: while a browser is in use, the thread of the tests counts as running Playwright's event loop,
and `asyncio.run` refuses to begin there.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

Result = TypeVar("Result")


def run(coroutine: Coroutine[Any, Any, Result]) -> Result:
    """Its result; raises what it raises."""
    with ThreadPoolExecutor(1) as threads:
        return threads.submit(asyncio.run, coroutine).result()
