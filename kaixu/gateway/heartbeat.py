"""The heartbeat: looks at the gateway's health every minute, over HTTP as a client would, and notes what it saw."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from datetime import UTC, datetime
from time import monotonic, time
from typing import Any
from uuid import UUID

import asyncpg
import httpx

from kaixu import __version__
from kaixu.api.health import STOPPING
from kaixu.ops.heartbeat import Beat, Beats, ErrorType
from kaixu.plugin.errors import DatabaseAway
from kaixu.store.heartbeat import claim_heartbeat, write_beat
from kaixu.store.pool import database

#: A look is at this second of a minute: a clock that is a little slow does not look twice in one.
SECOND = 1.0

#: How often a look is tried, and for how long.
TRIES = 3
PATIENCE_S = 10.0

#: Seconds between two tries: a gateway that restarts is back by then.
PAUSE_S = 1.0

#: The longest reply that is read.
MAX_BYTES = 1024 * 1024


def until_next_minute_s(clock: Callable[[], float] = time) -> float:
    """Seconds until the next look: one in each minute, however long the last one took."""
    return 60.0 - (clock() - SECOND) % 60.0


class Heartbeat:
    """The heartbeat of one gateway. Of several gateways one looks; while the database is away, each looks at itself."""

    def __init__(self, pool: asyncpg.Pool, beats: Beats, *, url: str, owner: UUID, pause_s: float = PAUSE_S) -> None:
        self.pool = pool
        self.beats = beats
        self.url = f"{url}/api/health"
        self.owner = owner
        self.pause_s = pause_s

    async def round(self) -> None:
        """Look once, if it is this gateway's turn, and write what was seen. What cannot be written waits.

        Raises `DatabaseAway`, after the beat was noted.
        """
        try:
            with database():
                has_turn = await claim_heartbeat(self.pool, self.owner)
        except DatabaseAway:
            has_turn = True  # nobody else could say so either
        if has_turn:
            self.beats.unwritten.append(await look(self.url, pause_s=self.pause_s))
        await self.write()

    async def write(self) -> None:
        """Write the beats that wait, the oldest first. One that was written twice is there once."""
        while self.beats.unwritten:
            beat = self.beats.unwritten[0]
            with database():
                await write_beat(self.pool, beat)
            if self.beats.unwritten and self.beats.unwritten[0] is beat:
                self.beats.unwritten.popleft()


async def look(url: str, *, transport: httpx.AsyncBaseTransport | None = None, pause_s: float = PAUSE_S) -> Beat:
    """One look at a gateway's health, tried again while it fails."""
    # Neither a vendor nor a client's address: the gateway's own.
    async with httpx.AsyncClient(timeout=PATIENCE_S, trust_env=False, transport=transport) as client:
        beat = await try_once(client, url, 1)
        for attempt in range(2, TRIES + 1):
            if beat.ok:
                break
            await asyncio.sleep(pause_s)
            beat = await try_once(client, url, attempt)
    return beat


async def try_once(client: httpx.AsyncClient, url: str, attempt: int) -> Beat:
    """One request. Its errors are told in words of ours: everybody may read them."""
    seen_at, began = datetime.now(UTC), monotonic()

    def beat(
        error: str | None,
        error_type: ErrorType | None,
        *,
        status: int | None = None,
        http: bool = False,
        db: bool = False,
    ) -> Beat:
        ms = round((monotonic() - began) * 1000)
        return Beat(seen_at, http, db, status, ms, error, error_type, __version__, attempt)

    try:
        async with asyncio.timeout(PATIENCE_S):
            reply = await client.get(url)
    except (TimeoutError, httpx.TimeoutException):
        return beat(f"no reply within {PATIENCE_S:g} s", "timeout")
    except httpx.ConnectError as error:
        if is_unknown_name(error):
            return beat("the gateway's name is not known", "dns")
        return beat("no connection to the gateway", "network")
    except httpx.NetworkError:
        return beat("the connection to the gateway broke", "network")
    except httpx.HTTPError:
        return beat("the gateway's reply is not HTTP", "error")
    database_ok = reads_database_ok(reply)
    status = reply.status_code
    if database_ok is None:
        if status != 200:
            return beat(f"HTTP {status}", "http", status=status)
        return beat("the reply is not JSON", "parse", status=status)
    if not database_ok:
        return beat("the database does not answer", "db", status=status, http=status == 200)
    if status != 200 and not is_draining(reply):  # one that drains still serves: it is on its way to an update
        return beat(f"HTTP {status}", "http", status=status, db=True)
    return beat(None, None, status=status, http=True, db=True)


def reads_database_ok(reply: httpx.Response) -> bool | None:
    """`db.ok` of the reply; None: it is not the JSON of health."""
    try:
        body: Any = reply.json() if len(reply.content) <= MAX_BYTES else None
    except ValueError:
        return None
    state = body.get("db") if isinstance(body, dict) else None
    return bool(state.get("ok")) if isinstance(state, dict) else None


def is_draining(reply: httpx.Response) -> bool:
    """Whether health is unready only because the gateway is about to stop."""
    reasons = reply.json().get("why")
    return reply.status_code == 503 and isinstance(reasons, list) and STOPPING in reasons


def is_unknown_name(error: BaseException) -> bool:
    """Whether the cause of a failed connection is a name that nobody knows."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, socket.gaierror):
            return True
        cause = cause.__cause__ or cause.__context__
    return False
