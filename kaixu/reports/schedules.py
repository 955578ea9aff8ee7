"""Integrations' schedules: when each is due, and the result of its last run."""

from __future__ import annotations

import asyncpg

from kaixu.store import schedules as store
from kaixu.store.pool import database
from kaixu.store.schedules import ScheduleRow

__all__ = ["ScheduleRow", "list_schedules"]


async def list_schedules(pool: asyncpg.Pool) -> list[ScheduleRow]:
    """All schedules, also of integrations that were removed."""
    with database():
        return await store.list_schedules(pool)
