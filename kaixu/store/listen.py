"""One connection that LISTENs for the database's notifications, and is made again when it is lost."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable
from typing import Any

import asyncpg

from .pool import AWAY

log = logging.getLogger(__name__)

#: The pause before the connection is made again: doubled each time, up to the longest.
FIRST_PAUSE_S = 0.5
LONGEST_PAUSE_S = 10.0

#: How often the connection is tried out: a network may lose it without a word.
CHECK_S = 20.0
ANSWER_S = 5.0

#: What may go wrong with it. A database that refuses us may accept us later.
FAILURES = (*AWAY, asyncpg.PostgresError)


class Listener:
    """Calls `heard` for each notification of `channel`, and each time the connection has been made.

    Notifications may be lost, so they are hints only: `is_listening` says whether to expect any.
    """

    def __init__(self, dsn: Callable[[], str], channel: str, heard: Callable[[], None]) -> None:
        self._dsn = dsn
        self._channel = channel
        self._heard = heard
        self.is_listening = False

    async def run(self) -> None:
        """Listen until cancelled."""
        failures = 0
        while True:
            try:
                await self._listen()
                failures = 0
            except FAILURES as error:
                if not failures:
                    log.warning("notifications of the database are off, it is asked every second: %s", error)
                failures += 1
            await asyncio.sleep(pause_s(failures))

    async def _listen(self) -> None:
        """Listen until the connection is lost. Raises `FAILURES` if it cannot be made."""
        connection = await asyncpg.connect(
            self._dsn(), timeout=ANSWER_S, statement_cache_size=0, server_settings={"application_name": "kaixu monitor"}
        )
        lost = asyncio.Event()
        try:
            connection.add_termination_listener(lambda _: lost.set())
            await connection.add_listener(self._channel, self._notified)
            self.is_listening = True
            self._heard()  # what was written while nobody listened
            while not lost.is_set():
                try:
                    async with asyncio.timeout(CHECK_S):
                        await lost.wait()
                except TimeoutError:
                    await connection.execute("select 1", timeout=ANSWER_S)
        except FAILURES:
            if not self.is_listening:
                raise
        finally:
            self.is_listening = False
            connection.terminate()

    def _notified(self, *_: Any) -> None:
        self._heard()


def pause_s(failures: int) -> float:
    """How long to wait after so many failures in a row; gateways that lost the same database do not return at once."""
    longest = min(FIRST_PAUSE_S * 2.0 ** min(failures, 10), LONGEST_PAUSE_S)
    return longest * random.uniform(0.5, 1.0)  # noqa: S311 - no secret
