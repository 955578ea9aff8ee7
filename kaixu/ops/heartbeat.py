"""Heartbeats: the gateway's health by the minute. Those that the database could not take yet stay in memory."""

from __future__ import annotations

from collections import deque
from datetime import datetime
from typing import Literal

import msgspec

#: How many are kept: a day.
MOST_BEATS = 1440

ErrorType = Literal["http", "db", "parse", "timeout", "network", "dns", "error"]


class Beat(msgspec.Struct, frozen=True):
    """What one look at the gateway's health saw. `attempt`: the number of tries that it took.

    `http_ok`: the gateway answered as it should; `db_ok`: its database answered it. `error` is for everybody to read.
    """

    seen_at: datetime
    http_ok: bool
    db_ok: bool
    status: int | None
    ms: int
    error: str | None
    error_type: ErrorType | None
    build: str
    attempt: int

    @property
    def ok(self) -> bool:
        """Whether the gateway and its database answered."""
        return self.http_ok and self.db_ok

    @property
    def minute(self) -> datetime:
        """The minute that it stands for."""
        return self.seen_at.replace(second=0, microsecond=0)


class Beats:
    """The beats of this process that are not in the database yet; beyond a day, the oldest are dropped."""

    def __init__(self) -> None:
        self.unwritten: deque[Beat] = deque(maxlen=MOST_BEATS)

    def merged(self, written: list[Beat]) -> list[Beat]:
        """The newest beats first, those of the database and the ones that wait: one for each minute."""
        by_minute = {beat.minute: beat for beat in (*self.unwritten, *written)}
        return sorted(by_minute.values(), key=lambda beat: beat.seen_at, reverse=True)[:MOST_BEATS]
