"""The tries of one call: the deployment and the pause of each, and when to stop.

Every deployment is tried once before any is tried again, because a fallback costs no waiting time. All tries end
before the client gets any part of the answer.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from functools import lru_cache
from time import monotonic
from typing import TypeVar

import tenacity

from kaixu.catalog.catalog import Deployment
from kaixu.ops.call_facts import Try
from kaixu.plugin.errors import (
    ContextTooLong,
    ModelGone,
    UpstreamBusy,
    UpstreamError,
    UpstreamRejected,
)

from .breakers import Breakers
from .wire import LONGEST_WAIT_S, MeteredWire, TicketWire, WireLimits, is_retryable, wait_for

Answer = TypeVar("Answer")

#: Calls one deployment, through a wire that is closed after the try.
CallDeployment = Callable[[Deployment, MeteredWire], Awaitable[Answer]]


#: Rejections after which another deployment may help: the request may fit there, or the model may still exist there.
ELSEWHERE = frozenset({"context", "rate_size", "model"})

#: How long a call waits in all for busy vendors, in seconds. Clients retry, too, and their waits multiply with ours.
MOST_BUSY_WAIT_S = 1.0

#: The shortest wait where a vendor names no time.
LEAST_BUSY_WAIT_S = 0.25

#: How often one call tries another key of the same lane.
MOST_KEY_TRIES = 10


class TryOrder:
    """The tries of one call, in order."""

    def __init__(self, breakers: Breakers, choices: Sequence[Deployment]) -> None:
        self.breakers = breakers
        self.open = breakers.order(choices)  # to be tried, the next one first
        self.retryable: list[Deployment] = []  # tried already, and worth another try
        self.most = max(len(choices), max(one.retries for one in choices) + 1)
        self.tries = 0
        self.key_tries = 0
        self.busy_wait_s = MOST_BUSY_WAIT_S  # remaining
        self.too_long: ContextTooLong | None = None

    def next(self) -> Deployment:
        """The next deployment to try."""
        if not self.open:
            self.open, self.retryable = self.retryable, []
        self.tries += 1
        return self.open.pop(0)

    def failed(self, one: Deployment, error: BaseException) -> None:
        """Record a failure."""
        if isinstance(error, ContextTooLong):
            self.too_long = error
        if isinstance(error, UpstreamError) and error.another_key and self.key_tries < MOST_KEY_TRIES:
            self.key_tries += 1
            self.most += 1  # a try with another key is not one of the deployment's
            self.open.insert(0, one)
        elif is_retryable(error):
            self.retryable.append(one)

    def can_try_again(self, error: BaseException) -> bool:
        """Whether another try may help: at another deployment, or later at one that was tried."""
        if not isinstance(error, UpstreamError) or self.tries >= self.most:
            return False
        if isinstance(error, UpstreamRejected) and not another_may_accept(error):
            return False
        if self.open:
            return True
        if isinstance(error, UpstreamBusy) and self.busy_pause_s(error, 0.0) > self.busy_wait_s:
            return False
        return bool(self.retryable)

    def pause_s(self, state: tenacity.RetryCallState) -> float:
        """The pause before the next try: none for a new deployment, else `retry-after` or a jittered pause."""
        if self.open:
            return 0.0
        pause_s = min(wait_for(state), LONGEST_WAIT_S)
        error = state.outcome.exception() if state.outcome else None
        if isinstance(error, UpstreamBusy):
            pause_s = min(self.busy_pause_s(error, pause_s), self.busy_wait_s)
            self.busy_wait_s -= pause_s
        return pause_s

    def busy_pause_s(self, error: UpstreamBusy, jittered_s: float) -> float:
        """How long to wait for a busy vendor: the time that it names, else a short pause that grows."""
        if error.wait_told and error.retry_after_s is not None:
            return float(error.retry_after_s)
        return max(jittered_s, LEAST_BUSY_WAIT_S)

    def error_for_client(self, error: Exception) -> Exception:
        """The error for the client when no try is left; "too long" where shortening is all that the client can do."""
        if self.too_long is None or isinstance(error, ContextTooLong) or not isinstance(error, UpstreamError):
            return error
        final = error.reason == "model" or (error.hint is not None and not isinstance(error, UpstreamRejected))
        return self.too_long if final else error


def another_may_accept(error: UpstreamRejected) -> bool:
    """Whether another deployment may accept what this one has rejected."""
    return isinstance(error, ContextTooLong | ModelGone) or error.reason in ELSEWHERE


async def try_deployments(
    breakers: Breakers, wire: TicketWire, choices: Sequence[Deployment], call: CallDeployment[Answer], tried: list[Try]
) -> tuple[Deployment, Answer]:
    """Try `choices` until one answers; returns it and its answer. `tried` gets an entry for each try.

    Raises what the last try raised.
    """
    route = TryOrder(breakers, choices)

    async def once() -> tuple[Deployment, Answer]:
        one = route.next()
        began = monotonic()
        record = Try(one.name, int((began - wire.opened_at) * 1000), 0)
        tried.append(record)
        breakers.begin(one)
        try_wire = wire.for_try(limits_of(one))
        try:
            answer = await call(one, try_wire)
        except (asyncio.CancelledError, GeneratorExit):
            try_wire.close()
            record.error = "CANCELLED"
            breakers.abandoned(one)
            raise
        except Exception as error:
            try_wire.close()
            wire.clean(error)
            record.failed(error)
            breakers.failed(one, error)
            route.failed(one, error)
            raise
        finally:
            record.took_ms = int((monotonic() - began) * 1000)
        record.key = try_wire.key
        breakers.succeeded(one)
        return one, answer

    try:
        return await once()
    except UpstreamError as error:
        if not route.can_try_again(error):
            raise
        failure = error
    first = True

    async def again() -> tuple[Deployment, Answer]:
        nonlocal first
        if first:
            first = False
            raise failure  # counts as the first try, so that its retry-after is honoured
        return await once()

    retrying = tenacity.AsyncRetrying(
        wait=route.pause_s, retry=tenacity.retry_if_exception(route.can_try_again), reraise=True
    )
    try:
        return await retrying(again)
    except UpstreamError as error:
        raise route.error_for_client(error) from error


def widest_limits(choices: Sequence[Deployment]) -> WireLimits:
    """The limits of the deployment that may take longest in all."""
    if len(choices) == 1:
        return limits_of(choices[0])
    return limits_of(max(choices, key=lambda one: one.timeouts.total_s))


def limits_of(deployment: Deployment) -> WireLimits:
    """A deployment's time limits. No retries by the wire: the route counts the tries."""
    timeouts = deployment.timeouts
    return limits_by(timeouts.connect_s, timeouts.first_byte_s, timeouts.between_bytes_s, timeouts.total_s)


@lru_cache(maxsize=200)
def limits_by(connect_s: float, first_byte_s: float, between_bytes_s: float, total_s: float) -> WireLimits:
    """Time limits, made once for all calls with the same ones."""
    return WireLimits(
        connect_s=connect_s, first_byte_s=first_byte_s, between_bytes_s=between_bytes_s, total_s=total_s, retries=0
    )
