"""How the recent calls of each deployment ended, in this process: for health, `kaixu doctor` and an alarm."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from time import monotonic
from typing import Any

import msgspec

from kaixu.catalog.catalog import Deployment
from kaixu.ops.events import Monitor, MonitorEvent
from kaixu.plugin.errors import KaixuError, UpstreamError

log = logging.getLogger(__name__)

#: The calls that count as recent: of the last minutes, at most so many.
WINDOW_S = 300.0
MAX_CALLS = 50

#: So many failures, and no success, are reported as a failing lane.
LEAST_FAILURES = 3

#: A deployment that has answered before raises the alarm only after more failures in a row.
FAILURES_LATER = 10


class Failure(msgspec.Struct, frozen=True):
    """Why a call failed: our code, and the vendor's status, its meaning and its words, which are for operators."""

    code: str
    status: int | None
    reason: str | None
    words: str | None
    at: datetime

    @property
    def without_words(self) -> str:
        """For the log, which gets no text of a vendor."""
        status = "" if self.status is None else f", the vendor answered {self.status}"
        reason = "" if self.reason is None else f" ({self.reason})"
        return f"{self.code}{status}{reason}"

    def __str__(self) -> str:
        return self.without_words + (f": {self.words}" if self.words else "")


class PlaceCalls:
    """The recent calls of one deployment."""

    __slots__ = (
        "alarmed",
        "answered_lately",
        "ends",
        "failed_lately",
        "failures_in_a_row",
        "has_answered",
        "last_failure",
    )

    def __init__(self) -> None:
        self.ends: deque[tuple[float, bool]] = deque(maxlen=MAX_CALLS)  # when, and whether it was answered
        self.failures_in_a_row = 0
        self.has_answered = False
        self.last_failure: Failure | None = None
        self.alarmed = False
        self.answered_lately = False  # since `VendorWatch` has reported it
        self.failed_lately = False


class CallCounts(msgspec.Struct, frozen=True):
    """The recent calls of a deployment or of a lane."""

    calls: int = 0
    failed: int = 0
    last_failure: Failure | None = None

    @property
    def success_rate(self) -> float | None:
        """Of the recent calls, the share that was answered; None without calls."""
        return None if not self.calls else round((self.calls - self.failed) / self.calls, 4)

    @property
    def is_failing(self) -> bool:
        """Whether all recent calls have failed."""
        return self.failed >= LEAST_FAILURES and self.failed == self.calls

    def plus(self, other: CallCounts) -> CallCounts:
        """The calls of both."""
        failures = [one for one in (self.last_failure, other.last_failure) if one is not None]
        last = max(failures, key=lambda one: one.at, default=None)
        return CallCounts(self.calls + other.calls, self.failed + other.failed, last)


class RecentCalls:
    """The recent calls of all deployments of one process. `monitor` gets the alarms."""

    def __init__(self, *, monitor: Monitor | None = None, clock: Callable[[], float] = monotonic) -> None:
        self.monitor = monitor
        self.clock = clock
        self.by_place: dict[tuple[str, str], PlaceCalls] = {}

    def answered(self, one: Deployment) -> None:
        """`one` has answered a call, or has begun to."""
        place = self._place(one)
        place.ends.append((self.clock(), True))
        place.failures_in_a_row, place.has_answered, place.answered_lately = 0, True, True
        if place.alarmed:
            place.alarmed = False
            log.warning("%s answers again", name_of(one))
            self._record(one, "LANE_ANSWERS", "info", "the deployment answers again", None)

    def failed(self, one: Deployment, error: BaseException) -> None:
        """`one` has failed a call, or refuses the operator."""
        place = self._place(one)
        place.ends.append((self.clock(), False))
        place.failures_in_a_row += 1
        place.failed_lately = True
        place.last_failure = failure_of(error)
        most = FAILURES_LATER if place.has_answered else LEAST_FAILURES
        if place.failures_in_a_row >= most and not place.alarmed:
            place.alarmed = True
            which = "calls in a row" if place.has_answered else "first calls"
            message = f"the {which} failed, {place.failures_in_a_row} so far"
            log.error("%s: %s; %s", name_of(one), message, place.last_failure.without_words)
            self._record(one, "LANE_FAILS", "error", message, place.last_failure)

    def broke_off(self, one: Deployment, error: BaseException) -> None:
        """`one` has failed a call that it had begun to answer."""
        place = self._place(one)
        if place.ends and place.ends[-1][1]:
            place.ends.pop()
        self.failed(one, error)

    def of(self, one: Deployment) -> CallCounts:
        """The recent calls of a deployment."""
        place = self.by_place.get((one.state.name, one.upstream))
        if place is None:
            return CallCounts()
        since = self.clock() - WINDOW_S
        ends = [is_answer for at, is_answer in place.ends if at >= since]
        failed = len(ends) - sum(ends)
        return CallCounts(len(ends), failed, place.last_failure if failed else None)

    def by_lane(self, deployments: Iterable[Deployment]) -> dict[str, dict[str, CallCounts]]:
        """The recent calls of the deployments that had some, by lane and the vendor's name of the model."""
        lanes: dict[str, dict[str, CallCounts]] = {}
        for one in deployments:
            counts = self.of(one)
            if counts.calls:
                lanes.setdefault(one.state.name, {})[one.upstream] = counts
        return lanes

    def forget(self) -> None:
        """Forget all calls: a reload may have changed credentials and addresses."""
        self.by_place.clear()

    def _place(self, one: Deployment) -> PlaceCalls:
        key = one.state.name, one.upstream
        place = self.by_place.get(key)
        if place is None:
            place = self.by_place[key] = PlaceCalls()
        return place

    def _record(self, one: Deployment, code: str, level: Any, message: str, failure: Failure | None) -> None:
        if self.monitor is None:
            return
        extra: dict[str, Any] = {"upstream": one.upstream}
        if failure is not None:
            extra["vendor"] = {"status": failure.status, "reason": failure.reason, "words": failure.words}
        self.monitor.record(
            MonitorEvent(
                kind="alert",
                level=level,
                provider=one.state.name,
                model=one.model,
                deployment=one.name,
                error_code=code,
                error_message=f"{name_of(one)}: {message}",
                upstream_status=None if failure is None else failure.status,
                extra=extra,
            )
        )


def in_all(counts: Iterable[CallCounts]) -> CallCounts:
    """The sum of counts."""
    total = CallCounts()
    for one in counts:
        total = total.plus(one)
    return total


def name_of(one: Deployment) -> str:
    """A deployment, for operators."""
    return f"lane {one.state.name}, model {one.upstream}"


def failure_of(error: BaseException) -> Failure:
    """Why a call failed."""
    code = error.code if isinstance(error, KaixuError) else type(error).__name__
    now = datetime.now(UTC)
    if isinstance(error, UpstreamError):
        return Failure(code, error.upstream_status, error.reason, error.vendor_words, now)
    return Failure(code, None, None, None, now)
