"""The time of this process. A trial of a plugin (`kaixu.trial`) can move it on, together with its database's."""

from __future__ import annotations

import mmap
import struct
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

#: How the file that says how far the clock was moved is written: seconds, in eight bytes.
SECONDS = struct.Struct("<d")


class Clock:
    """A clock that is right, until it follows a file."""

    def __init__(self) -> None:
        self._ahead_s: Callable[[], float] = lambda: 0.0

    def now(self) -> datetime:
        """The time in UTC."""
        return datetime.now(UTC) + timedelta(seconds=self._ahead_s())

    def follow(self, path: Path) -> None:
        """Be ahead by the seconds in the file, whenever they change."""
        with path.open("rb") as file:
            content = mmap.mmap(file.fileno(), SECONDS.size, access=mmap.ACCESS_READ)
        self._ahead_s = lambda: float(SECONDS.unpack(content[:])[0])


CLOCK = Clock()


def utc_now() -> datetime:
    """The time in UTC."""
    return CLOCK.now()
