"""The tries of one call: at which deployment, after what pause, and when to give up.

Every deployment is asked once before one is asked again: falling over costs no time,
waiting does. All of it happens before anything of the answer has gone to the client.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from time import monotonic
from typing import TypeVar

import msgspec
import tenacity

from kaixu.catalog.catalog import Deployment
from kaixu.plugin.errors import (
    ContextTooLong,
    KaixuError,
    ModelGone,
    UpstreamBusy,
    UpstreamError,
    UpstreamRejected,
)
from kaixu.plugin.vendor_words import redacted

from .breakers import Breakers
from .wire import LONGEST_WAIT_S, MeteredWire, TicketWire, WireLimits, wait_for, worth_retrying

Answer = TypeVar("Answer")

#: Asks one deployment, through a wire that dies with the try.
Asking = Callable[[Deployment, MeteredWire], Awaitable[Answer]]


class Try(msgspec.Struct):
    """One try: where, when after the admission, how long, the code of what failed, and what the vendor said then.

    The vendor's status, its meaning and its words are for the operator's monitor; the usage event does not hold them.
    """

    deployment: str
    at_ms: int
    took_ms: int
    error: str | None = None
    upstream_status: int | None = None
    reason: str | None = None
    vendor_words: str | None = None
    key: str | None = None  # the label of the lane's key that was accepted, where the lane has several

    def failed(self, error: Exception) -> None:
        """Take note of why."""
        self.error = error.code if isinstance(error, KaixuError) else type(error).__name__
        if isinstance(error, UpstreamError):
            self.upstream_status, self.reason = error.upstream_status, error.reason
            self.vendor_words = error.vendor_words


#: Rejections that are another deployment's chance: the request may fit there, or the model may still be there.
ELSEWHERE = frozenset({"context", "rate_size", "model"})

#: How long a call waits in all for vendors that are busy, in seconds. Clients wait and try again themselves, and their
#: waits multiply with ours.
MOST_BUSY_WAIT_S = 1.0

#: The least of it, where a vendor names no time.
LEAST_BUSY_WAIT_S = 0.25

#: So often one call tries another key of the same lane.
MOST_KEY_TRIES = 10


class Route:
    """The tries that one call makes, in order."""

    def __init__(self, breakers: Breakers, choices: Sequence[Deployment]) -> None:
        self.breakers = breakers
        self.open = breakers.order(choices)  # those that may be asked, the next one first
        self.later: list[Deployment] = []  # asked already, and worth being asked again
        self.most = max(len(choices), max(one.retries for one in choices) + 1)
        self.tries = 0
        self.key_tries = 0
        self.busy_wait_s = MOST_BUSY_WAIT_S  # what is left of it
        self.too_long: ContextTooLong | None = None

    def next(self) -> Deployment:
        """The deployment that is asked next."""
        if not self.open:
            self.open, self.later = self.later, []
        self.tries += 1
        return self.open.pop(0)

    def failed(self, one: Deployment, error: BaseException) -> None:
        """Take note of a failure."""
        if isinstance(error, ContextTooLong):
            self.too_long = error
        if isinstance(error, UpstreamError) and error.another_key and self.key_tries < MOST_KEY_TRIES:
            self.key_tries += 1
            self.most += 1  # a try with another key is not one of the deployment's
            self.open.insert(0, one)
        elif worth_retrying(error):
            self.later.append(one)

    def may_go_on(self, error: BaseException) -> bool:
        """Whether another try may help: at another deployment, or at one of those that may well answer later."""
        if not isinstance(error, UpstreamError) or self.tries >= self.most:
            return False
        if isinstance(error, UpstreamRejected) and not goes_elsewhere(error):
            return False
        if self.open:
            return True
        if isinstance(error, UpstreamBusy) and self.busy_pause_s(error, 0.0) > self.busy_wait_s:
            return False
        return bool(self.later)

    def pause_s(self, state: tenacity.RetryCallState) -> float:
        """None before a deployment that was not asked yet; else the vendor's `retry-after`, or a jittered pause."""
        if self.open:
            return 0.0
        pause_s = min(wait_for(state), LONGEST_WAIT_S)
        error = state.outcome.exception() if state.outcome else None
        if isinstance(error, UpstreamBusy):
            pause_s = min(self.busy_pause_s(error, pause_s), self.busy_wait_s)
            self.busy_wait_s -= pause_s
        return pause_s

    def busy_pause_s(self, error: UpstreamBusy, jittered_s: float) -> float:
        """How long to wait for a busy vendor: as long as it says, or a little; for longer when that was too little."""
        if error.wait_told and error.retry_after_s is not None:
            return float(error.retry_after_s)
        return max(jittered_s, LEAST_BUSY_WAIT_S)

    def error_for_client(self, error: Exception) -> Exception:
        """What the client hears when all is over: that its request is too long, where it can do no more than that."""
        if self.too_long is None or isinstance(error, ContextTooLong) or not isinstance(error, UpstreamError):
            return error
        final = error.reason == "model" or (error.hint is not None and not isinstance(error, UpstreamRejected))
        return self.too_long if final else error


def goes_elsewhere(error: UpstreamRejected) -> bool:
    """Whether another deployment may take what this one has rejected."""
    return isinstance(error, ContextTooLong | ModelGone) or error.reason in ELSEWHERE


async def routed(
    breakers: Breakers, wire: TicketWire, choices: Sequence[Deployment], asking: Asking[Answer], tried: list[Try]
) -> tuple[Deployment, Answer]:
    """Ask until one of `choices` answers; returns which, and its answer. `tried` gets a line for each try.

    Raises what the last one raised.
    """
    route = Route(breakers, choices)

    async def once() -> tuple[Deployment, Answer]:
        one = route.next()
        began = monotonic()
        note = Try(one.name, int((began - wire.lent_at) * 1000), 0)
        tried.append(note)
        breakers.begin(one)
        lent = wire.lent(limits_of(one))
        try:
            answer = await asking(one, lent)
        except (asyncio.CancelledError, GeneratorExit):
            lent.close()
            note.error = "CANCELLED"
            breakers.left(one)
            raise
        except Exception as error:
            lent.close()
            if isinstance(error, UpstreamError) and error.vendor_words is not None:
                error.vendor_words = redacted(error.vendor_words, wire.secrets)
            note.failed(error)
            breakers.failed(one, error)
            route.failed(one, error)
            raise
        finally:
            note.took_ms = int((monotonic() - began) * 1000)
        note.key = lent.key
        breakers.succeeded(one)
        return one, answer

    try:
        return await once()
    except UpstreamError as error:
        if not route.may_go_on(error):
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
        wait=route.pause_s, retry=tenacity.retry_if_exception(route.may_go_on), reraise=True
    )
    try:
        return await retrying(again)
    except UpstreamError as error:
        raise route.error_for_client(error) from error


def limits_of(deployment: Deployment) -> WireLimits:
    """A deployment's time limits, as its wire wants them. Tries are the route's to count, not the wire's."""
    timeouts = deployment.timeouts
    return WireLimits(
        connect_s=timeouts.connect_s,
        first_byte_s=timeouts.first_byte_s,
        between_bytes_s=timeouts.between_bytes_s,
        total_s=timeouts.total_s,
        retries=0,
    )
