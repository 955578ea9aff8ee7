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

    def terminate(self) -> None:
        """Handle SIGTERM: begin to stop; if that has begun, go on to the next phase at once."""
        if monotonic() - self.counted_at < SAME_S:
            return
        self.counted_at = monotonic()
        for phase in (self.begun, self.drained, self.now):
            if not phase.is_set():
                phase.set()
                return

    def interrupt(self) -> None:
        """Handle SIGINT, Ctrl-C in a terminal: nobody waits for a drain phase there."""
        if self.begun.is_set():
            self.terminate()
        else:
            self.counted_at = monotonic()
            self.begun.set()
            self.drained.set()

    async def drain(self, most_s: float) -> None:
        """Wait until the drain phase is over, at most `most_s` seconds."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(most_s):
                await self.drained.wait()
        self.drained.set()
