"""Records a monitor event for each request that ended with an error."""

from __future__ import annotations

from kaixu.ops.events import Monitor
from kaixu.ops.failure_events import failure_event, status_of
from kaixu.ops.request_end import RequestEnd

from .throttle import Throttle

#: The maximum number of errors per minute and address that the monitor records for callers without a key.
MAX_RECORDED = 60


class FailureEvents:
    """Records failed and refused requests in the monitor. A `RequestListener`.

    Of callers without a key, at most `MAX_RECORDED` per minute and address: anybody may send such requests.
    """

    def __init__(self, monitor: Monitor) -> None:
        self.monitor = monitor
        self.unknown_callers = Throttle(per_address=MAX_RECORDED, in_all=10 * MAX_RECORDED, window_s=60)

    def __call__(self, end: RequestEnd) -> None:
        """Record the event, if the request has failed."""
        facts = end.facts
        if facts.error_code is None:
            return
        is_unknown = facts.customer_id is None and not facts.is_upstream_error
        if is_unknown and status_of(facts) < 500 and self.unknown_callers.wait_s(end.ip_hash or "") is not None:
            return
        self.monitor.record(failure_event(end))
