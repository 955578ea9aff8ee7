"""What signals ask of a gateway: to drain, to end its calls, to leave at once."""

from __future__ import annotations

import asyncio
import contextlib
from time import monotonic

#: Signals that come this close together are one: a terminal and a parent process may both pass one on.
SAME_S = 1.0


class StopSignals:
    """How far a gateway shall go with stopping. Each phase can be awaited; a later one includes the earlier ones.

    `begun`: the drain phase. `drained`: no further call is taken, the grace period of running calls begins. `now`: the
    grace period is over.
    """

    def __init__(self) -> None:
        self.begun = asyncio.Event()
        self.drained = asyncio.Event()
        self.now = asyncio.Event()
        self.counted_at = monotonic() - SAME_S
        self.is_signalled = False

    def leave(self) -> None:
        """Stop without a drain, because another process serves instead, or the supervisor has ended.

        It may come before a signal or after one, so it never shortens the grace period, and does not count as one.
        """
        self.begun.set()
        self.drained.set()

    def terminate(self) -> None:
        """Handle SIGTERM: begin to stop; at a further signal, go on to the next phase at once."""
        if monotonic() - self.counted_at < SAME_S:
            return
        self.counted_at = monotonic()
        if not self.is_signalled:
            self.is_signalled = True
            self.begun.set()
            return
        for phase in (self.begun, self.drained, self.now):
            if not phase.is_set():
                phase.set()
                return

    def interrupt(self) -> None:
        """Handle SIGINT, Ctrl-C in a terminal: nobody waits for a drain phase there."""
        if self.is_signalled:
            self.terminate()
        else:
            self.counted_at = monotonic()
            self.is_signalled = True
            self.leave()

    async def drain(self, most_s: float) -> None:
        """Wait until the drain phase is over, at most `most_s` seconds."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(most_s):
                await self.drained.wait()
        self.drained.set()
