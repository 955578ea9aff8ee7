"""When an answer has ended: a finish seen is its end, whatever comes after it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import TypeVar

import httpx

from kaixu.plugin.errors import UpstreamError

#: What follows the end of an answer is its usage, at once; a vendor that keeps silent is not waited for longer.
LONGEST_END_S = 10.0

Piece = TypeVar("Piece")


async def until_end(pieces: AsyncIterator[Piece], finished: Callable[[], bool]) -> AsyncIterator[Piece]:
    """`pieces`, where nothing is a failure any more once the answer is `finished`: not a connection that breaks, not
    an event that is too large, not silence. Before that everything goes through as it is raised.
    """
    try:
        while not finished():
            yield await anext(pieces)
    except StopAsyncIteration:
        return
    while True:
        try:
            async with asyncio.timeout(LONGEST_END_S):
                piece = await anext(pieces)
        except (StopAsyncIteration, TimeoutError, UpstreamError, httpx.HTTPError):
            return
        yield piece
