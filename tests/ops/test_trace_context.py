"""`traceparent` and `tracestate`: what is taken, and what is passed on."""

from __future__ import annotations

import pytest

from kaixu.ops.trace_context import MAX_STATE, read_trace

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


@pytest.mark.parametrize("header", [f"00-{TRACE}-{SPAN}-01", f"cc-{TRACE}-{SPAN}-01-what-the-future-will-be-like"])
def test_a_trace_is_passed_on_with_a_span_of_the_gateway_s_own(header: str) -> None:
    trace = read_trace(header, "vendor=1,other=2")
    assert trace is not None
    assert trace.traceparent == f"00-{TRACE}-{trace.span_id}-01"
    first, second = trace.child_headers(), trace.child_headers()
    assert first["tracestate"] == "vendor=1,other=2"
    spans = {SPAN, trace.span_id, first["traceparent"].split("-")[2], second["traceparent"].split("-")[2]}
    assert len(spans) == 4
    assert first["traceparent"].startswith(f"00-{TRACE}-")


@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        "nonsense",
        f"ff-{TRACE}-{SPAN}-01",
        f"00-{'0' * 32}-{SPAN}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"00-{TRACE.upper()}-{SPAN}-01",
        f"00-{TRACE}-{SPAN}-01-more",
        f"00-{TRACE}-{SPAN}",
        f"00-{TRACE}-{SPAN}-01\r\nx-injected: 1",
        f"00-{TRACE}-{SPAN}-zz",
        "0" * 10_000,
    ],
)
def test_an_invalid_trace_is_ignored(header: str | None) -> None:
    assert read_trace(header, "vendor=1") is None


@pytest.mark.parametrize("state", ["a=" + "x" * MAX_STATE, "nonsense", "a=\n1", "", "a=\x7f"])
def test_a_state_that_is_too_long_or_invalid_is_dropped_and_the_trace_is_kept(state: str) -> None:
    trace = read_trace(f"00-{TRACE}-{SPAN}-00", state)
    assert trace is not None
    assert "tracestate" not in trace.child_headers()


def test_unknown_flags_are_cleared() -> None:
    trace = read_trace(f"00-{TRACE}-{SPAN}-ff")
    assert trace is not None
    assert trace.flags == "03"
