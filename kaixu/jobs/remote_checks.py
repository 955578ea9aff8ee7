"""Looks at surfaces and at the station's brain in the background. Any number of gateways share the turns."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import asyncpg
import msgspec

from kaixu.accounts.platforms import MOST_DEPTH, is_plain
from kaixu.config.platforms_section import PlatformsSection
from kaixu.config.station import Station
from kaixu.ops.events import Monitor, MonitorEvent
from kaixu.reports.platforms import surface_targets
from kaixu.store.pool import database
from kaixu.store.remote_checks import BRAIN, Look, Turn, claim_turns, write_look

from .remote_look import RemoteLooks

#: Where a brain's overview may be, the first one first.
BRAIN_PATHS = ("/admin/overview", "/api/admin/overview", "/overview")

#: The time for a look at the brain, with all its paths.
BRAIN_S = 25.0


class RemoteChecks:
    """The looks of one gateway."""

    def __init__(
        self,
        pool: asyncpg.Pool,
        monitor: Monitor,
        platforms: Callable[[], PlatformsSection],
        station: Callable[[], Station],
    ) -> None:
        self.pool = pool
        self.monitor = monitor
        self.platforms = platforms
        self.station = station

    async def round(self) -> None:
        """Take the turns that are due, look, and write what was found. Raises `DatabaseAway`."""
        platforms, station = self.platforms(), self.station()
        targets = surface_targets(platforms)
        if station.brain.url is not None:
            targets.append((BRAIN, station.brain.url))
        if not targets:
            return
        with database():
            turns = await claim_turns(self.pool, targets)
        if not turns:
            return

        async def take(turn: Turn) -> None:
            await self.write(turn, await look_at(looks, turn, station), every_s=platforms.check_every)

        async with RemoteLooks(private_redirects=platforms.private_redirects) as looks:
            # One that cannot be written must not end the others, whose connections close with this block.
            ends = await asyncio.gather(*(take(turn) for turn in turns), return_exceptions=True)
        for end in ends:
            if end is not None:
                raise end

    async def write(self, turn: Turn, look: Look, *, every_s: float) -> None:
        """Write what a look found, and record it if it is news."""
        with database():
            written = await write_look(self.pool, turn, look, every_s=every_s)
        if written is None or written.was_ok is look.ok or (written.was_ok is None and look.ok):
            return
        app_id = "skyefuelstation" if turn.what == BRAIN else turn.what.partition(":")[2]
        self.monitor.record(
            MonitorEvent(
                kind="surface_up" if look.ok else "surface_down",
                level="info" if look.ok else "warn",
                app_id=app_id,
                upstream_status=look.status,
                error_message=look.error,
                extra={"what": turn.what},
            )
        )


async def look_at(looks: RemoteLooks, turn: Turn, station: Station) -> Look:
    """One look."""
    if turn.what == BRAIN:
        return await look_at_brain(looks, turn.url, station)
    found = await looks.look(turn.url)
    return Look(found.error is None, found.status, found.ms, found.error)


async def look_at_brain(looks: RemoteLooks, url: str, station: Station) -> Look:
    """The first of the brain's paths that answers with a JSON object."""
    token = station.brain.token
    headers = {} if token is None else {"authorization": f"Bearer {token.get_secret_value()}"}
    look = Look(False, None, 0, "no reply")
    try:
        async with asyncio.timeout(BRAIN_S):
            for path in BRAIN_PATHS:
                found = await looks.look(url + path, headers=headers, with_body=True)
                if found.error is not None:
                    look = Look(False, found.status, found.ms, found.error)
                elif (remote := json_object_of(found.body)) is None:
                    look = Look(False, found.status, found.ms, "its reply is not a JSON object")
                else:
                    return Look(True, found.status, found.ms, None, path, remote)
                if found.status is None:
                    break  # no server answers there, on no path
    except TimeoutError:
        pass
    return look


def json_object_of(body: bytes) -> str | None:
    """A reply as JSON that can be stored; None if it is not a JSON object."""
    try:
        value = msgspec.json.decode(body)
        if not isinstance(value, dict) or not is_plain(value, MOST_DEPTH):
            return None
        return msgspec.json.encode(value).decode()
    except (msgspec.DecodeError, UnicodeError, RecursionError, ValueError):
        return None
