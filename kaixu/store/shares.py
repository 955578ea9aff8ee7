"""A semaphore with shares: no holder has more than its share of the places, and the others wait in turn."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Hashable
from contextlib import asynccontextmanager


class Shares:
    """`most` places in all, `each` for one holder. A holder that waits for its share takes no place."""

    def __init__(self, most: int, each: int) -> None:
        self._all = asyncio.Semaphore(most)
        self._each = each
        self._of: dict[Hashable, asyncio.Semaphore] = {}
        self._using: dict[Hashable, int] = {}  # holders with calls inside or waiting

    @classmethod
    def halves(cls, most: int) -> Shares:
        """`most` places, at most half of them for one holder."""
        return cls(most, max(1, most // 2))

    def has_no_place_left(self, holder: Hashable) -> bool:
        """Whether a holder has its whole share."""
        own = self._of.get(holder)
        return own is not None and own.locked()

    @asynccontextmanager
    async def one(self, holder: Hashable) -> AsyncIterator[None]:
        """A place, while the block runs."""
        own = self._of.setdefault(holder, asyncio.Semaphore(self._each))
        self._using[holder] = self._using.get(holder, 0) + 1
        try:
            async with own, self._all:
                yield
        finally:
            self._using[holder] -= 1
            if not self._using[holder]:
                del self._using[holder], self._of[holder]
