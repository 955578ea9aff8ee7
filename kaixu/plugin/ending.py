"""Ignores failures after the end of an answer: once a finish was received, the answer is complete."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import TypeVar

import httpx

from kaixu.plugin.deadline import within
from kaixu.plugin.errors import UpstreamError

#: How long to wait for the usage after the finish; vendors send it at once.
LONGEST_END_S = 10.0

Piece = TypeVar("Piece")


async def until_end(pieces: AsyncIterator[Piece], finished: Callable[[], bool]) -> AsyncIterator[Piece]:
    """Yield `pieces`. Once `finished()` is true, a broken connection, a too large event or silence ends the stream.

    Before that, every exception is passed on.
    """
    try:
        while not finished():
            yield await anext(pieces)
    except StopAsyncIteration:
        return
    while True:
        try:
            with within(LONGEST_END_S):
                piece = await anext(pieces)
        except (StopAsyncIteration, TimeoutError, UpstreamError, httpx.HTTPError):
            return
        yield piece
