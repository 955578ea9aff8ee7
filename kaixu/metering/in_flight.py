"""The calls that one gateway process has in flight: those that run and those that wait for their admission."""

from __future__ import annotations

import asyncio
from collections import Counter
from uuid import UUID

from kaixu.catalog.catalog import Deployment
from kaixu.plugin.errors import Overloaded, RateLimited, Stopping
from kaixu.store.admission import Ask, Hold

from .ticket import Ticket

CallTask = asyncio.Task[object] | None


class InFlightCalls:
    """Limits how many calls run at the same time, and stops them when the gateway shuts down.

    `most_per_key`: None is a quarter of all, so that one key alone never shuts out the others.
    """

    def __init__(self, *, most: int, most_per_key: int | None = None) -> None:
        self.most = most
        self.most_per_key = most_per_key
        self.running: dict[Ticket, CallTask] = {}
        self.entering: dict[UUID, tuple[Deployment | None, CallTask]] = {}  # by ticket: calls that wait for admission
        self.per_key: Counter[bytes | int | None] = Counter()
        self.draining = False  # the gateway is about to stop; calls are still taken
        self.stopping = False
        self.stop_at: float | None = None  # the event loop's time at which the grace of running calls is over

    def __len__(self) -> int:
        return len(self.running) + len(self.entering)

    def require_room(self, key: bytes | int | None) -> None:
        """Raises `Stopping`, `Overloaded`, or `RateLimited` if `key` has too many calls at the same time.

        Called twice: when a call is made, before anything else is done for it, and again in the same step in which it
        takes its place, because other calls may have come in between.
        """
        if self.stopping:
            raise Stopping("the gateway is shutting down", hint="Try again in a moment.", retry_after_s=2)
        if len(self) >= self.most:
            raise Overloaded(f"{self.most} calls are in flight, as many as the gateway allows", retry_after_s=1)
        most = self.most_per_key or -(-self.most // 4)
        if self.per_key[key] >= most:
            raise RateLimited(
                f"{most} calls of this key are running, as many as are allowed at the same time",
                hint="Try again when one of them has ended.",
                retry_after_s=1,
                code="TOO_MANY_AT_ONCE",
            )

    def enter(self, ask: Ask, deployment: Deployment | None) -> None:
        """Take a place for a call that waits for its admission. Raises as `require_room`."""
        key = key_of(ask)
        self.require_room(key)
        self.entering[ask.ticket] = (deployment, asyncio.current_task())
        self.per_key[key] += 1

    def admit(self, ticket: Ticket) -> None:
        """An entering call was admitted and runs in the current task."""
        del self.entering[ticket.id]
        self.running[ticket] = asyncio.current_task()

    def refuse(self, ask: Ask) -> None:
        """An entering call was not admitted."""
        del self.entering[ask.ticket]
        self._leave(ask)

    def transfer(self, ticket: Ticket, task: asyncio.Task[object]) -> None:
        """Shutdown cancels `task` for this call from now on."""
        self.running[ticket] = task

    def end(self, ticket: Ticket) -> None:
        """A running call is over. Does nothing for one that is not running any more."""
        if ticket in self.running:
            del self.running[ticket]
            self._leave(ticket.ask)

    def _leave(self, ask: Ask) -> None:
        key = key_of(ask)
        self.per_key[key] -= 1
        if not self.per_key[key]:
            del self.per_key[key]

    def deployments(self) -> list[Deployment]:
        """The deployments of all calls in flight."""
        known = [ticket.deployment for ticket in self.running] + [one for one, _ in self.entering.values()]
        return [one for one in known if one is not None]

    def holds(self) -> list[Hold]:
        """The reservations of all running calls that are not being settled yet."""
        return [ticket.hold() for ticket in self.running if ticket.settlement is None]

    def client_left(self, ticket: Ticket) -> None:
        """The client has disconnected, or the server closed its connection during shutdown."""
        if self.is_over():
            ticket.stopped_by_gateway = True
        else:
            ticket.client_left = True

    @property
    def leaving(self) -> bool:
        """Whether the gateway is about to stop: nothing new that another gateway could do is begun."""
        return self.draining or self.stopping

    async def idle(self) -> None:
        """Return when no call is in flight, or the grace of running calls is over."""
        while len(self) and not self.is_over():  # noqa: ASYNC110 - polled a few times at the very end only
            await asyncio.sleep(0.05)

    def is_over(self) -> bool:
        """Whether the grace of running calls is over."""
        return self.stop_at is not None and asyncio.get_running_loop().time() >= self.stop_at

    async def cancel(self) -> None:
        """Cancel every call in flight and wait for the end of each; no call enters any more."""
        self.stopping = True
        for ticket in self.running:
            ticket.stopped_by_gateway = True
        in_flight = {*self.running.values(), *(task for _, task in self.entering.values())}
        tasks = {task for task in in_flight if task is not None and task is not asyncio.current_task()}
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=20)


def key_of(ask: Ask) -> bytes | int | None:
    """Which key a call counts for."""
    return ask.key_hash or ask.key_id
