"""Rate limits by client address, for requests without a key. Per process, bounded in memory."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from time import monotonic

from kaixu.ops.client_network import network_of
from kaixu.plugin.errors import RateLimited

#: The number of networks in memory; the least recently used are dropped.
MAX_ADDRESSES = 10_000


class Throttle:
    """Allows `per_address` requests from one address, and `in_all` from all addresses, per window of `window_s`.

    All addresses of an IPv6 network of one customer count as one (`ops/client_network.py`).
    """

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
        """Count a request and return None; above the limit, return the seconds until the window ends."""
        now = self.clock()
        if now - self.began >= self.window_s:
            self.began, self.total = now, 0
            self.counts.clear()
        network = network_of(address)
        count = self.counts.get(network, 0)
        if count >= self.per_address or self.total >= self.in_all:
            return max(1, int(self.began + self.window_s - now + 0.999))
        self.total += 1
        self.counts[network] = count + 1
        self.counts.move_to_end(network)
        if len(self.counts) > MAX_ADDRESSES:
            self.counts.popitem(last=False)
        return None

    def require(self, address: str, what: str = "requests") -> None:
        """Count a request. Raises `RateLimited` above the limit; `what` says too many of what."""
        wait_s = self.wait_s(address)
        if wait_s is not None:
            raise RateLimited(f"too many {what}", hint=f"Try again in {wait_s} s.", retry_after_s=wait_s)
