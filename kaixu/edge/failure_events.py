"""Records a monitor event for each request that ended with an error, or took long."""

from __future__ import annotations

from collections.abc import Callable

from kaixu.ops.events import Monitor
from kaixu.ops.failure_events import failure_event, slow_event, status_of
from kaixu.ops.request_end import RequestEnd

from .throttle import Throttle

#: The maximum number of errors per minute and address that the monitor records for callers without a key.
MAX_RECORDED = 60

#: From here on a request is slow, unless `gateway.slow_ms` says otherwise.
SLOW_MS = 15_000

#: Functions whose replies are meant to last.
LONG = frozenset({"admin-monitor-stream", "admin-export", "user-export"})


class FailureEvents:
    """Records failed, refused and slow requests in the monitor. A `RequestListener`.

    `slow_ms` gives the number of milliseconds from which on a request is slow.

    Of callers without a key, at most `MAX_RECORDED` per minute and address: anybody may send such requests.
    """

    def __init__(self, monitor: Monitor, slow_ms: Callable[[], int] = lambda: SLOW_MS) -> None:
        self.monitor = monitor
        self.slow_ms = slow_ms
        self.unknown_callers = Throttle(per_address=MAX_RECORDED, in_all=10 * MAX_RECORDED, window_s=60)

    def __call__(self, end: RequestEnd) -> None:
        """Record the event, if the request has failed."""
        facts = end.facts
        if facts.error_code is None:
            if end.duration_ms >= self.slow_ms() and end.function not in LONG:
                self.monitor.record(slow_event(end))
            return
        is_unknown = facts.customer_id is None and not facts.is_upstream_error
        if is_unknown and status_of(facts) < 500 and self.unknown_callers.wait_s(end.ip_hash or "") is not None:
            return
        self.monitor.record(failure_event(end))
