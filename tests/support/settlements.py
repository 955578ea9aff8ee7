"""A settlement with made-up figures."""

from __future__ import annotations

from datetime import UTC, date, datetime

from kaixu.metering.identity import new_ticket
from kaixu.store.admission import Settlement


def settlement() -> Settlement:
    """The settlement of a complete call."""
    return Settlement(
        new_ticket(), 1, 1, 1, date(2026, 2, 1), "ai", "chat", "up", "m", 1, None, "r", datetime.now(UTC), 1, "complete",
        "provider", 1, 0, 1, 1, 0, 0, 0, None,
    )  # fmt: skip
