"""Ticket ids: UUIDv7 (RFC 9562 §5.7), so that they sort by time and lie together in an index."""

from __future__ import annotations

import time
from uuid import UUID

from kaixu.ops.random_ids import RANDOM


def new_ticket() -> UUID:
    """A fresh id: 48 bits of milliseconds, 74 random bits."""
    random = int.from_bytes(RANDOM.take(10))
    value = (time.time_ns() // 1_000_000) << 80 | random
    value = value & ~(0xF << 76) | 7 << 76
    value = value & ~(0b11 << 62) | 0b10 << 62
    return UUID(int=value)
