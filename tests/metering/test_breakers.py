from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kaixu.catalog.catalog import Deployment, LaneState
from kaixu.config.sections import BreakerSection, LaneSection, TimeoutSection
from kaixu.metering.breakers import Breakers
from kaixu.plugin.errors import Unsupported, UpstreamBusy, UpstreamError, UpstreamRejected, UpstreamTimeout
from kaixu.plugin.lane import Lane

FAILED = UpstreamError("the vendor failed (500)")


def deployment(name: str, *, priority: int = 0, weight: int = 1, failures: int = 2, cool_down_s: float = 10) -> Any:
    section = LaneSection.model_construct(plugin="echo", models={})
    return Deployment(
        provider="front", model="m", kind="chat", upstream=name, lane=Lane(), state=LaneState(name, section, "on", None, None),
        price=None, cost=None, max_output_tokens=10, default_output_tokens=10, image_tokens=None, dimensions=None,
        fixed_dimensions=False, on_disconnect="cancel", timeouts=TimeoutSection(), retries=0, name=name, weight=weight,
        priority=priority, breaker=BreakerSection(failures=failures, cool_down_s=cool_down_s),
    )  # fmt: skip


class Clock:
    """A time that stands until it is moved."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def breakers(clock: Clock) -> Breakers:
    return Breakers(clock=clock)


def names(order: list[Deployment]) -> list[str]:
    return [one.name for one in order]


def test_lower_priorities_come_first(breakers: Breakers) -> None:
    choices = [deployment("b", priority=2), deployment("a", priority=1), deployment("c", priority=3)]
    assert names(breakers.order(choices)) == ["a", "b", "c"]


def test_weights_are_shares_of_the_calls(breakers: Breakers) -> None:
    choices = [deployment("heavy", weight=9), deployment("light", weight=1)]
    first = Counter(breakers.order(choices)[0].name for _ in range(4000))
    assert 3450 < first["heavy"] < 3750


def test_failures_in_a_row_open_it_and_one_probe_heals_it(breakers: Breakers, clock: Clock) -> None:
    first, second = deployment("first"), deployment("second", priority=1)
    breakers.failed(first, FAILED)
    assert breakers.state_of(first) == "closed"
    breakers.failed(first, FAILED)
    assert breakers.state_of(first) == "open"
    assert names(breakers.order([first, second])) == ["second", "first"]
    clock.now += 10
    assert breakers.state_of(first) == "half-open"
    assert names(breakers.order([first, second])) == ["first", "second"]
    breakers.begin(first)
    assert names(breakers.order([first, second])) == ["second", "first"], "one probe at a time"
    breakers.succeeded(first)
    assert breakers.state_of(first) == "closed"
    breakers.failed(first, FAILED)
    assert breakers.state_of(first) == "closed", "failures are counted anew"


def test_a_probe_that_fails_opens_it_again(breakers: Breakers, clock: Clock) -> None:
    one = deployment("one")
    breakers.failed(one, FAILED)
    breakers.failed(one, FAILED)
    clock.now += 10
    breakers.begin(one)
    breakers.failed(one, FAILED)
    assert breakers.state_of(one) == "open"
    clock.now += 9
    assert breakers.state_of(one) == "open"


def test_after_an_abandoned_probe_the_next_call_probes(breakers: Breakers, clock: Clock) -> None:
    first, second = deployment("first"), deployment("second", priority=1)
    breakers.failed(first, FAILED)
    breakers.failed(first, FAILED)
    clock.now += 10
    breakers.begin(first)
    breakers.abandoned(first)
    assert names(breakers.order([first, second])) == ["first", "second"]


@pytest.mark.parametrize("error", [UpstreamRejected("the vendor rejected the request (400)"), Unsupported("seed")])
def test_a_bad_request_does_not_count_as_a_failure_of_the_deployment(breakers: Breakers, error: Exception) -> None:
    one = deployment("one", failures=1)
    breakers.failed(one, error)
    assert breakers.state_of(one) == "closed"


@pytest.mark.parametrize("error", [UpstreamTimeout("late"), ValueError("a bug of the lane's"), ConnectionError()])
def test_time_outs_and_bugs_count(breakers: Breakers, error: Exception) -> None:
    one = deployment("one", failures=1)
    breakers.failed(one, error)
    assert breakers.state_of(one) == "open"


def test_retry_after_opens_the_breaker_until_then(breakers: Breakers, clock: Clock) -> None:
    one = deployment("one", failures=100)
    breakers.failed(one, UpstreamBusy("busy", retry_after_s=30))
    assert breakers.state_of(one) == "open"
    clock.now += 30
    assert breakers.state_of(one) == "half-open"
    breakers.failed(one, UpstreamBusy("busy", retry_after_s=86_400))
    clock.now += 120
    assert breakers.state_of(one) == "half-open", "however long it says"


@given(failed=st.lists(st.integers(0, 3), max_size=20))
def test_every_deployment_stays_in_the_order_and_the_first_to_recover_comes_first(failed: list[int]) -> None:
    clock = Clock()
    breakers = Breakers(clock=clock)
    choices = [deployment(str(at), failures=1, cool_down_s=at + 1) for at in range(4)]
    for at in failed:
        breakers.failed(choices[at], FAILED)
    order = breakers.order(choices)
    assert sorted(names(order)) == ["0", "1", "2", "3"]
    bad = [at for at in map(int, names(order)) if at in failed]
    assert names(order)[len(order) - len(bad) :] == [str(at) for at in sorted(set(failed))]
