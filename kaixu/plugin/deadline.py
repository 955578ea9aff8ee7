"""Time limits for what a block waits for: as `asyncio.timeout_at`, with one timer for all limits of a call.

A call passes some ten of them. A timer for each is a measurable part of its time, so they share one: `CallTimer`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextvars import ContextVar
from math import inf
from types import TracebackType
from typing import Any

#: When a call's timer looks at the deadlines, in seconds: first, and then how often. Most calls have ended before it
#: looks at all, and a deadline that begins later does not set it again.
FIRST_LOOK_S = 0.25
LOOK_AGAIN_S = 10.0


class CallTimer:
    """`with CallTimer():` all deadlines of the current task inside share one timer of the event loop.

    The timer is set when the first deadline begins, moves on with the later ones, and is removed when the block is
    left. Tasks that the block starts do not share it: a deadline ends only what its own task waits for.
    """

    __slots__ = (
        "_fires_at",
        "_handle",
        "_innermost",
        "_loop",
        "_pause_s",
        "_reminder",
        "_reminder_at",
        "_task",
    )

    def __init__(self) -> None:
        self._handle: asyncio.TimerHandle | None = None
        self._fires_at = inf
        self._pause_s = FIRST_LOOK_S
        self._reminder: Callable[[], None] | None = None
        self._reminder_at = inf
        self._innermost: Deadline | None = None

    def __enter__(self) -> CallTimer:
        self._attach(asyncio.get_running_loop())
        CALL_TIMER.set(self)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._remove()
        CALL_TIMER.set(None)  # a token could not be used where the garbage collector ends the block, in another context

    def remind(self, seconds: float, do: Callable[[], None]) -> None:
        """Call `do` once in `seconds`, unless the block is left before. There is one reminder at a time."""
        self._reminder = do
        self._reminder_at = at = self._loop.time() + seconds
        if at < self._fires_at or self._handle is None:
            self._fire_by(at)

    @property
    def task(self) -> asyncio.Task[Any]:
        """The task that the block runs in."""
        return self._task

    def forget_reminder(self) -> None:
        """Do not call it any more."""
        self._reminder = None

    def _attach(self, loop: asyncio.AbstractEventLoop) -> None:
        task = asyncio.current_task(loop)
        assert task is not None
        self._loop = loop
        self._task: asyncio.Task[Any] = task

    def _remove(self) -> None:
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None

    def _fire_by(self, at: float) -> None:
        """Look at the deadlines at `at`, or earlier."""
        if self._handle is not None:
            if at >= self._fires_at:
                return
            self._handle.cancel()
        self._fires_at = min(at, self._loop.time() + self._pause_s)
        self._handle = self._loop.call_at(self._fires_at, self._look)

    def _look(self) -> None:
        """Cancel the block of the outermost deadline that is over; what is inside of it ends with it."""
        self._handle = None
        self._pause_s = LOOK_AGAIN_S
        now = max(self._fires_at, self._loop.time())  # an event loop may round its timers
        over, next_at, one = None, inf, self._innermost
        while one is not None:
            if not one.is_over:
                if one.at <= now:
                    over = one
                else:
                    next_at = min(next_at, one.at)
            one = one.outer
        if self._reminder is not None:
            if self._reminder_at <= now:
                due, self._reminder = self._reminder, None
                due()
            else:
                next_at = min(next_at, self._reminder_at)
        if next_at < inf:
            self._fire_by(next_at)
        if over is not None:
            over.is_over = True
            self._task.cancel()

    def _leave(self, left: Deadline) -> None:
        """Forget a deadline that is not the innermost one."""
        one = self._innermost
        while one is not None and one.outer is not left:
            one = one.outer
        if one is not None:
            one.outer = left.outer


#: The timer of the request or call that runs; only for its own task.
CALL_TIMER: ContextVar[CallTimer | None] = ContextVar("CALL_TIMER", default=None)


class Deadline:
    """`with Deadline(at):` raises `TimeoutError` if the block still waits at `at`, in the event loop's time.

    Only for blocks of one task, one after the other: to enter it again costs less than a new one. The block itself is
    cancelled, as with `asyncio.timeout_at`; a cancellation from elsewhere remains one. Without a `CallTimer` around it,
    it has a timer of its own.
    """

    __slots__ = ("_cancelling", "_has_own_timer", "_seconds", "_timer", "at", "is_over", "outer")

    def __init__(self, at: float, seconds: float | None = None) -> None:
        self.at = at
        self._seconds = seconds  # from the beginning of the block, in place of `at`
        self.is_over = False
        self.outer: Deadline | None = None
        self._timer: CallTimer | None = None

    def __enter__(self) -> Deadline:
        timer = self._timer or self._find_timer()
        if self._seconds is not None:
            self.at = timer._loop.time() + self._seconds
        self.is_over = False
        self._cancelling = timer._task.cancelling()
        self.outer = timer._innermost
        timer._innermost = self
        if self.at < timer._fires_at or timer._handle is None:
            timer._fire_by(self.at)
        return self

    def _find_timer(self) -> CallTimer:
        """The timer of the current task, or one of its own."""
        loop = asyncio.get_running_loop()
        task = asyncio.current_task(loop)
        assert task is not None
        timer = CALL_TIMER.get()
        self._has_own_timer = timer is None or timer._task is not task
        if timer is None or self._has_own_timer:
            timer = CallTimer()
            timer._attach(loop)
        self._timer = timer
        return timer

    def move(self, at: float) -> None:
        """End the block at `at` instead, later or earlier; without effect on one that is over."""
        assert self._timer is not None
        self.at = at
        if at < self._timer._fires_at or self._timer._handle is None:
            self._timer._fire_by(at)

    def restart(self, seconds: float) -> None:
        """End the block in `seconds` from now instead."""
        assert self._timer is not None
        self.move(self._timer._loop.time() + seconds)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        timer = self._timer
        assert timer is not None
        if timer._innermost is self:
            timer._innermost = self.outer
        else:
            timer._leave(self)
        if self._has_own_timer:
            timer._remove()
        if not self.is_over:
            return
        is_ours = timer._task.uncancel() <= self._cancelling
        if is_ours and kind is not None and issubclass(kind, asyncio.CancelledError):
            raise TimeoutError from error


def within(seconds: float) -> Deadline:
    """A deadline that is `seconds` from the beginning of the block."""
    return Deadline(inf, seconds)
