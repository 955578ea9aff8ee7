"""Limits how often one address may do what costs something and needs no key. Per process, bounded in memory."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from time import monotonic

#: How many addresses are remembered; beyond that, the least recently used are forgotten.
MAX_ADDRESSES = 10_000


class Throttle:
    """At most `per_address` tries from one address in each window of `window_s`, and `in_all` from all of them."""

    def __init__(
        self, *, per_address: int, in_all: int, window_s: float, clock: Callable[[], float] = monotonic
    ) -> None:
        self.per_address = per_address
        self.in_all = in_all
        self.window_s = window_s
        self.clock = clock
        self.began = clock()
        self.total = 0
        self.counts: OrderedDict[str, int] = OrderedDict()

    def wait_s(self, address: str) -> int | None:
        """Count a try and return None; where there were too many, return the seconds until the window ends."""
        now = self.clock()
        if now - self.began >= self.window_s:
            self.began, self.total = now, 0
            self.counts.clear()
        count = self.counts.get(address, 0)
        if count >= self.per_address or self.total >= self.in_all:
            return max(1, int(self.began + self.window_s - now + 0.999))
        self.total += 1
        self.counts[address] = count + 1
        self.counts.move_to_end(address)
        if len(self.counts) > MAX_ADDRESSES:
            self.counts.popitem(last=False)
        return None
