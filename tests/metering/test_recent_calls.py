"""The recent calls of deployments: their rates, and the alarm of a deployment that fails."""

from __future__ import annotations

import logging

import pytest

from kaixu.metering.breakers import Breakers
from kaixu.metering.recent_calls import FAILURES_LATER, LEAST_FAILURES, MAX_CALLS, WINDOW_S, RecentCalls, in_all
from kaixu.ops.events import Monitor
from kaixu.plugin.errors import UpstreamError, UpstreamRejected

from .test_breakers import Clock, clock, deployment

__all__ = ["clock"]


def refusal() -> UpstreamError:
    """A vendor's refusal of our key."""
    error = UpstreamError("the vendor refuses the gateway's key")
    error.upstream_status, error.reason, error.vendor_words = 401, "credential", "bad key"
    return error


async def keep(events: object, batch_id: object = None) -> None:
    """The events are not written."""


def test_rates_are_of_the_last_calls_and_minutes(clock: Clock) -> None:
    breakers = Breakers(clock=clock)
    one, other, recent = deployment("a"), deployment("b"), breakers.recent
    for _ in range(3):
        breakers.failed(one, refusal())
    assert recent.of(one).is_failing
    assert str(recent.of(one).last_failure) == "UPSTREAM_ERROR, the vendor answered 401 (credential): bad key"
    breakers.succeeded(one)
    counts = recent.of(one)
    assert (counts.calls, counts.failed, counts.success_rate, counts.is_failing) == (4, 3, 0.25, False)
    breakers.failed(one, UpstreamRejected("too long"))  # the request's fault
    assert recent.of(one).calls == 4
    breakers.succeeded(other)
    lanes = recent.by_lane([one, other])
    assert in_all(lanes["a"].values()).calls == 4
    assert in_all([*lanes["a"].values(), *lanes["b"].values()]).calls == 5
    clock.now += WINDOW_S + 1
    assert recent.of(one).success_rate is None
    for _ in range(MAX_CALLS + 5):
        breakers.succeeded(one)
    assert recent.of(one).calls == MAX_CALLS


def test_an_answer_that_breaks_off_is_one_failed_call(clock: Clock) -> None:
    breakers, one = Breakers(clock=clock), deployment("a")
    breakers.succeeded(one)
    breakers.failed(one, refusal(), had_begun=True)
    assert (breakers.recent.of(one).calls, breakers.recent.of(one).failed) == (1, 1)


async def test_a_deployment_whose_first_calls_fail_raises_one_alarm(
    clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    monitor = Monitor(keep)
    recent, one = RecentCalls(monitor=monitor, clock=clock), deployment("a")
    with caplog.at_level(logging.WARNING):
        for _ in range(2 * LEAST_FAILURES):
            recent.failed(one, refusal())
        assert [record.getMessage() for record in caplog.records] == [
            f"lane a, model a: the first calls failed, {LEAST_FAILURES} so far; "
            "UPSTREAM_ERROR, the vendor answered 401 (credential)"
        ]
        recent.answered(one)
        for _ in range(FAILURES_LATER - 1):
            recent.failed(one, refusal())
        assert len(caplog.records) == 2
        recent.failed(one, refusal())
        assert len(caplog.records) == 3
    events = list(monitor._waiting)
    assert [(event.kind, event.error_code, event.level) for event in events] == [
        ("alert", "LANE_FAILS", "error"),
        ("alert", "LANE_ANSWERS", "info"),
        ("alert", "LANE_FAILS", "error"),
    ]
    assert (events[0].provider, events[0].upstream_status, events[0].extra["vendor"]["words"]) == ("a", 401, "bad key")
