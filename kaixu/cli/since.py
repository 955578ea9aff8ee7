"""The option `--since`: a time, or how long ago."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

from .failure import fail

AGO = re.compile(r"(\d{1,6})([smhd])")
UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


def read_since(text: str) -> datetime:
    """A time as ISO 8601, in UTC where no zone is given, or how long ago: 90s, 10m, 2h, 3d."""
    if match := AGO.fullmatch(text.strip()):
        try:
            return datetime.now(UTC) - timedelta(**{UNITS[match[2]]: int(match[1])})
        except OverflowError:
            raise fail(f"`--since {text}` is too long ago") from None
    try:
        moment = datetime.fromisoformat(text.strip())
    except ValueError:
        raise fail(f"`--since {text}` is no time", hint="Write 10m, 2h, 3d or 2026-11-29T06:00:00Z.") from None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
