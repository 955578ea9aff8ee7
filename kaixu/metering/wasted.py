"""The cost of tries without a result: an unusable answer or a broken connection.

The customer does not pay for them. They are part of the operator's cost of the call, so the usage event has them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from kaixu.catalog.catalog import Deployment
from kaixu.plugin.types import Usage

from .pricing import cost_nusd


def total_usage(one: Usage, other: Usage) -> Usage:
    """The sum of both."""
    return Usage(
        one.input_tokens + other.input_tokens,
        one.output_tokens + other.output_tokens,
        one.cached_input_tokens + other.cached_input_tokens,
        one.cache_write_tokens + other.cache_write_tokens,
        one.reasoning_tokens + other.reasoning_tokens,
        one.estimated or other.estimated,
    )


NOTHING = Usage()


class FailedTries:
    """A number of tries, and their usage in all."""

    __slots__ = ("tries", "usage", "vendor_cost_nusd")

    def __init__(self) -> None:
        self.tries = 0
        self.usage = NOTHING
        self.vendor_cost_nusd = 0

    def add(self, one: Deployment, usage: Usage) -> None:
        """Add a try at deployment `one`."""
        self.tries += 1
        self.usage = total_usage(self.usage, usage)
        if one.cost is not None:
            self.vendor_cost_nusd += cost_nusd(usage, one.cost)

    def plus(self, other: FailedTries) -> FailedTries:
        """The sum of both."""
        both = FailedTries()
        both.tries = self.tries + other.tries
        both.usage = total_usage(self.usage, other.usage)
        both.vendor_cost_nusd = self.vendor_cost_nusd + other.vendor_cost_nusd
        return both


class Attempt:
    """A running try. `usage` is what its vendor has reported so far."""

    __slots__ = ("usage",)

    def __init__(self) -> None:
        self.usage: Usage | None = None


class Wasted:
    """The tries of one call that had no result: those that failed, and those that were cancelled."""

    __slots__ = ("cancelled", "failed")

    def __init__(self) -> None:
        self.failed = FailedTries()
        self.cancelled = FailedTries()

    @contextmanager
    def watch_try(self, one: Deployment, used: Callable[[], bool], estimate: Callable[[], Usage]) -> Iterator[Attempt]:
        """Around one try at `one`: adds it if it fails, or is cancelled."""
        attempt = Attempt()
        try:
            yield attempt
        except Exception:
            self.add_failed(one, attempt, used(), estimate)
            raise
        except BaseException:
            self.add_cancelled(one, attempt, used(), estimate)
            raise

    def add_failed(self, one: Deployment, attempt: Attempt, used: bool, estimate: Callable[[], Usage]) -> None:
        """Add a try at `one` that has failed: the usage that its vendor reported, or `estimate` where the vendor
        reported none but may have worked (`used`).
        """
        self._add(self.failed, attempt, one, used, estimate)

    def add_cancelled(self, one: Deployment, attempt: Attempt, used: bool, estimate: Callable[[], Usage]) -> None:
        """Add a try that was cancelled; see `add_failed`."""
        self._add(self.cancelled, attempt, one, used, estimate)

    @staticmethod
    def _add(where: FailedTries, attempt: Attempt, one: Deployment, used: bool, estimate: Callable[[], Usage]) -> None:
        if attempt.usage is not None and attempt.usage.input_tokens:
            where.add(one, attempt.usage)
        elif attempt.usage is not None or used:
            where.add(one, total_usage(attempt.usage or Usage(), estimate()))
