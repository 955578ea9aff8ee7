"""Circuit breakers: which deployment of a model is asked next, and which is left alone for a while."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from time import monotonic
from typing import Literal

from kaixu.catalog.catalog import Deployment
from kaixu.plugin.errors import KaixuError, ModelGone, UpstreamBusy, UpstreamError, UpstreamRejected

BreakerState = Literal["closed", "open", "half-open"]

#: The longest that a vendor's own `retry-after` keeps a deployment out of the way.
LONGEST_COOL_DOWN_S = 120.0

#: Where a deployment is served: the lane, and the vendor's name for the model there.
Place = tuple[str, str]


class Breaker:
    """What is known of one deployment."""

    __slots__ = ("failures", "open_until", "probing")

    def __init__(self) -> None:
        self.failures = 0  # in a row
        self.open_until: float | None = None
        self.probing = False

    def state(self, now: float) -> BreakerState:
        """Closed, open, or, once its time is over, half-open: one call may try it."""
        if self.open_until is None:
            return "closed"
        return "open" if now < self.open_until else "half-open"


class Breakers:
    """Those of one gateway process: each learns for itself, so that none can shut a vendor out for all."""

    def __init__(self, *, clock: Callable[[], float] = monotonic, draw: Callable[[], float] = random.random) -> None:
        self.clock = clock
        self.draw = draw
        self.by_place: dict[Place, Breaker] = {}

    def order(self, choices: Sequence[Deployment]) -> list[Deployment]:
        """`choices` as they are asked: by priority, within one by weighted lot; those that fail come last.

        Nothing is left out: where all of them fail, the one that is let in first again is asked all the same.
        """
        if len(choices) == 1:
            return list(choices)
        now = self.clock()

        def rank(one: Deployment) -> tuple[float, float, float]:
            breaker = self.by_place.get(place_of(one))
            until = 0.0
            if breaker is not None and breaker.open_until is not None and self.shuns(breaker, now):
                until = max(breaker.open_until, now)
            # Efraimidis and Spirakis: the largest draw ** (1 / weight) first is a draw by weight without replacement.
            return (until, one.priority, -(self.draw() ** (1 / one.weight)))

        return sorted(choices, key=rank)

    @staticmethod
    def shuns(breaker: Breaker, now: float) -> bool:
        """Whether a deployment is passed over: it is cooling down, or somebody else tries it just now."""
        state = breaker.state(now)
        return state == "open" or (state == "half-open" and breaker.probing)

    def begin(self, one: Deployment) -> None:
        """A call asks `one`. After its cool-down that is the probe."""
        breaker = self.by_place.get(place_of(one))
        if breaker is not None and breaker.state(self.clock()) == "half-open":
            breaker.probing = True

    def succeeded(self, one: Deployment) -> None:
        """`one` has answered."""
        self.by_place.pop(place_of(one), None)

    def left(self, one: Deployment) -> None:
        """The call was given up; nothing is learnt of `one`."""
        breaker = self.by_place.get(place_of(one))
        if breaker is not None:
            breaker.probing = False

    def failed(self, one: Deployment, error: BaseException) -> None:
        """`one` has failed; a request that it calls wrong is the client's failure, a model that it lacks its own."""
        if not is_its_own(error):
            self.left(one)
            return
        breaker = self.by_place.setdefault(place_of(one), Breaker())
        now = self.clock()
        was = breaker.state(now)
        breaker.failures += 1
        breaker.probing = False
        cool_down_s = 0.0
        if was != "closed" or breaker.failures >= one.breaker.failures or is_for_long(error):
            cool_down_s = one.breaker.cool_down_s
        if isinstance(error, UpstreamBusy) and error.retry_after_s is not None:
            cool_down_s = max(cool_down_s, min(error.retry_after_s, LONGEST_COOL_DOWN_S))
        if cool_down_s:
            breaker.open_until = max(breaker.open_until or 0.0, now + cool_down_s)

    def state_of(self, one: Deployment) -> BreakerState:
        """How `one` stands, for operators."""
        breaker = self.by_place.get(place_of(one))
        return "closed" if breaker is None else breaker.state(self.clock())


def place_of(one: Deployment) -> Place:
    """Where it is served; two models served at one place share what is known of it."""
    return one.state.name, one.upstream


def is_its_own(error: BaseException) -> bool:
    """Whether the failure is the deployment's, not the request's, not one key's of several, and not ours."""
    if isinstance(error, UpstreamError):
        return not error.another_key and (is_gone(error) or not isinstance(error, UpstreamRejected))
    return not isinstance(error, KaixuError)


def is_for_long(error: BaseException) -> bool:
    """Whether the next call would fail in the same way: one failure is enough to leave the deployment alone."""
    return isinstance(error, UpstreamError) and (is_gone(error) or error.reason in ("quota", "region", "credential"))


def is_gone(error: UpstreamError) -> bool:
    """Whether the deployment does not have the model, or there is nothing at its address."""
    return isinstance(error, ModelGone) or error.reason == "model"
