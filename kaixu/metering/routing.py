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
from kaixu.plugin.errors import KaixuError, UpstreamError, UpstreamRejected

from .breakers import Breakers
from .wire import LONGEST_WAIT_S, LentWire, Limits, TicketWire, wait_for, worth_retrying

Answer = TypeVar("Answer")

#: Asks one deployment, through a wire that dies with the try.
Asking = Callable[[Deployment, LentWire], Awaitable[Answer]]


class Try(msgspec.Struct):
    """One try: where, when after the admission, how long, and the code of what failed."""

    deployment: str
    at_ms: int
    took_ms: int
    error: str | None = None


class Route:
    """The tries that one call makes, in order."""

    def __init__(self, breakers: Breakers, choices: Sequence[Deployment]) -> None:
        self.breakers = breakers
        self.open = breakers.order(choices)  # those that may be asked, the next one first
        self.later: list[Deployment] = []  # asked already, and worth being asked again
        self.most = max(len(choices), max(one.retries for one in choices) + 1)
        self.tries = 0

    def next(self) -> Deployment:
        """Whom to ask now."""
        if not self.open:
            self.open, self.later = self.later, []
        self.tries += 1
        return self.open.pop(0)

    def failed(self, one: Deployment, error: BaseException) -> None:
        """Take note of a failure."""
        if worth_retrying(error):
            self.later.append(one)

    def may_go_on(self, error: BaseException) -> bool:
        """Whether another try may help: at another deployment, or at one of those that may well answer later."""
        if not isinstance(error, UpstreamError) or isinstance(error, UpstreamRejected) or self.tries >= self.most:
            return False
        return bool(self.open or self.later)

    def pause_s(self, state: tenacity.RetryCallState) -> float:
        """None before a deployment that was not asked yet; else the vendor's `retry-after`, or a jittered pause."""
        return 0.0 if self.open else min(wait_for(state), LONGEST_WAIT_S)


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
            note.error = error.code if isinstance(error, KaixuError) else type(error).__name__
            breakers.failed(one, error)
            route.failed(one, error)
            raise
        finally:
            note.took_ms = int((monotonic() - began) * 1000)
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
    return await retrying(again)


def limits_of(deployment: Deployment) -> Limits:
    """A deployment's time limits, as its wire wants them. Tries are the route's to count, not the wire's."""
    timeouts = deployment.timeouts
    return Limits(
        connect_s=timeouts.connect_s,
        first_byte_s=timeouts.first_byte_s,
        between_bytes_s=timeouts.between_bytes_s,
        total_s=timeouts.total_s,
        retries=0,
    )
