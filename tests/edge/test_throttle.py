"""The throttle: limits for one address, for all together, and for memory."""

from __future__ import annotations

import pytest

from kaixu.edge import throttle as module
from kaixu.edge.throttle import Throttle
from kaixu.plugin.errors import RateLimited


class Clock:
    """A clock that stands still until it is moved."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


def test_one_address_has_a_bound_until_the_window_ends() -> None:
    clock = Clock()
    throttle = Throttle(per_address=2, in_all=10, window_s=60, clock=clock)
    assert [throttle.wait_s("a") for _ in range(3)] == [None, None, 60]
    clock.now += 45
    assert (throttle.wait_s("a"), throttle.wait_s("b")) == (15, None)
    clock.now += 15
    assert throttle.wait_s("a") is None


def test_a_customer_s_ipv6_network_is_one_address() -> None:
    throttle = Throttle(per_address=1, in_all=10, window_s=60, clock=Clock())
    throttle.require("2001:db8::1")
    with pytest.raises(RateLimited, match="too many requests"):
        throttle.require("2001:db8::2")
    throttle.require("2001:db8:0:1::1")
    throttle.require("::ffff:192.0.2.1")
    throttle.require("::ffff:192.0.2.2")


def test_all_addresses_together_have_a_bound() -> None:
    throttle = Throttle(per_address=2, in_all=3, window_s=60, clock=Clock())
    assert [throttle.wait_s(address) for address in "abcd"] == [None, None, None, 60]


def test_only_so_many_addresses_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_ADDRESSES", 2)
    throttle = Throttle(per_address=1, in_all=100, window_s=60, clock=Clock())
    for address in "abc":
        throttle.wait_s(address)
    assert list(throttle.counts) == ["b", "c"]
