"""What failed tries of a call have cost: those that ended in an unusable answer or a broken connection.

None of it is billed. It is part of what the call cost the operator, so the call's usage event tells of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from kaixu.catalog.catalog import Deployment
from kaixu.plugin.types import Usage

from .pricing import cost_nusd


def added(one: Usage, other: Usage) -> Usage:
    """Both together."""
    return Usage(
        one.input_tokens + other.input_tokens,
        one.output_tokens + other.output_tokens,
        one.cached_input_tokens + other.cached_input_tokens,
        one.cache_write_tokens + other.cache_write_tokens,
        one.reasoning_tokens + other.reasoning_tokens,
        one.estimated or other.estimated,
    )


class Failed:
    """A number of tries, and what they used together."""

    __slots__ = ("tries", "usage", "vendor_cost_nusd")

    def __init__(self) -> None:
        self.tries = 0
        self.usage = Usage()
        self.vendor_cost_nusd = 0

    def add(self, one: Deployment, usage: Usage) -> None:
        """One more try, at `one`."""
        self.tries += 1
        self.usage = added(self.usage, usage)
        if one.cost is not None:
            self.vendor_cost_nusd += cost_nusd(usage, one.cost)

    def together(self, other: Failed) -> Failed:
        """Both."""
        both = Failed()
        both.tries = self.tries + other.tries
        both.usage = added(self.usage, other.usage)
        both.vendor_cost_nusd = self.vendor_cost_nusd + other.vendor_cost_nusd
        return both


class Attempt:
    """One try while it runs. `usage` is what its vendor has told, as far as it has."""

    __slots__ = ("usage",)

    def __init__(self) -> None:
        self.usage: Usage | None = None


class Wasted:
    """The tries of one call without a result: those that failed, and those that were cancelled."""

    __slots__ = ("cancelled", "failed")

    def __init__(self) -> None:
        self.failed = Failed()
        self.cancelled = Failed()

    @contextmanager
    def watching(self, one: Deployment, used: Callable[[], bool], estimate: Callable[[], Usage]) -> Iterator[Attempt]:
        """Around one try at `one`: where it fails, what its vendor told is noted; where the vendor told nothing but
        may have worked (`used`), `estimate` is.
        """
        attempt = Attempt()
        try:
            yield attempt
        except Exception:
            self._note(self.failed, attempt, one, used, estimate)
            raise
        except BaseException:
            self._note(self.cancelled, attempt, one, used, estimate)
            raise

    @staticmethod
    def _note(
        where: Failed, attempt: Attempt, one: Deployment, used: Callable[[], bool], estimate: Callable[[], Usage]
    ) -> None:
        if attempt.usage is not None and attempt.usage.input_tokens:
            where.add(one, attempt.usage)
        elif attempt.usage is not None or used():
            where.add(one, added(attempt.usage or Usage(), estimate()))
