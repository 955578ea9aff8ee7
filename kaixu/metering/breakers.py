"""Circuit breakers: which deployment of a model to try next, and which to avoid for a while."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from time import monotonic
from typing import Literal

from kaixu.catalog.catalog import Deployment
from kaixu.plugin.errors import KaixuError, ModelGone, UpstreamBusy, UpstreamError, UpstreamRejected

from .recent_calls import RecentCalls

BreakerState = Literal["closed", "open", "half-open"]

#: The longest cool-down by a vendor's own `retry-after`.
LONGEST_COOL_DOWN_S = 120.0

#: Where a deployment is served: the lane, and the vendor's name for the model there.
Place = tuple[str, str]


class Breaker:
    """The state of one deployment."""

    __slots__ = ("failures", "open_until", "probing")

    def __init__(self) -> None:
        self.failures = 0  # in a row
        self.open_until: float | None = None
        self.probing = False

    def state(self, now: float) -> BreakerState:
        """Closed, open, or after the cool-down half-open: one call may probe it."""
        if self.open_until is None:
            return "closed"
        return "open" if now < self.open_until else "half-open"


class Breakers:
    """The breakers of one gateway process. They are not shared: one process cannot block a vendor for all."""

    def __init__(
        self,
        recent: RecentCalls | None = None,
        *,
        clock: Callable[[], float] = monotonic,
        draw: Callable[[], float] = random.random,
    ) -> None:
        self.recent = recent or RecentCalls(clock=clock)
        self.clock = clock
        self.draw = draw
        self.by_place: dict[Place, Breaker] = {}

    def order(self, choices: Sequence[Deployment]) -> list[Deployment]:
        """`choices` in the order to try: by priority, within one by weighted lot; open breakers come last.

        Nothing is left out: where all are open, the one whose cool-down ends first is tried.
        """
        if len(choices) == 1:
            return list(choices)
        now = self.clock()

        def rank(one: Deployment) -> tuple[float, float, float]:
            breaker = self.by_place.get(place_of(one))
            until = 0.0
            if breaker is not None and breaker.open_until is not None and self.avoids(breaker, now):
                until = max(breaker.open_until, now)
            # Efraimidis and Spirakis: the largest draw ** (1 / weight) first is a draw by weight without replacement.
            return (until, one.priority, -(self.draw() ** (1 / one.weight)))

        return sorted(choices, key=rank)

    @staticmethod
    def avoids(breaker: Breaker, now: float) -> bool:
        """Whether a deployment is avoided: it is cooling down, or another call is probing it."""
        state = breaker.state(now)
        return state == "open" or (state == "half-open" and breaker.probing)

    def begin(self, one: Deployment) -> None:
        """A call begins at `one`. After its cool-down that is the probe."""
        breaker = self.by_place.get(place_of(one))
        if breaker is not None and breaker.state(self.clock()) == "half-open":
            breaker.probing = True

    def succeeded(self, one: Deployment) -> None:
        """`one` has answered, or has begun to."""
        self.recent.answered(one)
        self.by_place.pop(place_of(one), None)

    def abandoned(self, one: Deployment) -> None:
        """The call was cancelled; this is neither a success nor a failure of `one`."""
        breaker = self.by_place.get(place_of(one))
        if breaker is not None:
            breaker.probing = False

    def failed(self, one: Deployment, error: BaseException, *, had_begun: bool = False) -> None:
        """`one` has failed. A bad request is not its failure; a missing model is. `had_begun`: to answer."""
        if not is_deployment_failure(error):
            self.abandoned(one)
            return
        if had_begun:
            self.recent.broke_off(one, error)
        else:
            self.recent.failed(one, error)
        breaker = self.by_place.setdefault(place_of(one), Breaker())
        now = self.clock()
        was = breaker.state(now)
        breaker.failures += 1
        breaker.probing = False
        cool_down_s = 0.0
        if was != "closed" or breaker.failures >= one.breaker.failures or is_lasting(error):
            cool_down_s = one.breaker.cool_down_s
        if isinstance(error, UpstreamBusy) and error.retry_after_s is not None:
            cool_down_s = max(cool_down_s, min(error.retry_after_s, LONGEST_COOL_DOWN_S))
        if cool_down_s:
            breaker.open_until = max(breaker.open_until or 0.0, now + cool_down_s)

    def state_of(self, one: Deployment) -> BreakerState:
        """The state of `one`, for operators."""
        breaker = self.by_place.get(place_of(one))
        return "closed" if breaker is None else breaker.state(self.clock())


def place_of(one: Deployment) -> Place:
    """Where it is served; two models served at one place share a breaker."""
    return one.state.name, one.upstream


def is_deployment_failure(error: BaseException) -> bool:
    """Whether the deployment failed, and not the request, one key of several, or the gateway."""
    if isinstance(error, UpstreamError):
        return not error.another_key and (is_gone(error) or not isinstance(error, UpstreamRejected))
    return not isinstance(error, KaixuError)


def is_lasting(error: BaseException) -> bool:
    """Whether the next call would fail in the same way, so that one failure opens the breaker."""
    return isinstance(error, UpstreamError) and (is_gone(error) or error.reason in ("quota", "region", "credential"))


def is_gone(error: UpstreamError) -> bool:
    """Whether the deployment does not have the model, or nothing answers at its address."""
    return isinstance(error, ModelGone) or error.reason == "model"
