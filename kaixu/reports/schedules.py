"""Integrations' schedules: when each is due, and how its newest run went."""

from __future__ import annotations

import asyncpg

from kaixu.store import schedules as store
from kaixu.store.pool import database
from kaixu.store.schedules import ScheduleRow

__all__ = ["ScheduleRow", "list_schedules"]


async def list_schedules(pool: asyncpg.Pool) -> list[ScheduleRow]:
    """Every schedule that was ever registered."""
    with database():
        return await store.list_schedules(pool)
