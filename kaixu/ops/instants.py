"""How a moment is written in replies, invoices and messages."""

from __future__ import annotations

from datetime import UTC, datetime


def iso_instant(moment: datetime) -> str:
    """A moment in UTC, to the millisecond, as ISO 8601 with `Z`."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
