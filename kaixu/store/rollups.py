"""The roll-ups of usage: moves what settlements have noted into them, and fills in older events."""

from __future__ import annotations

from datetime import datetime

import asyncpg
import msgspec

from .pool import database
from .query import Connection, Query


class Moved(msgspec.Struct, frozen=True):
    """How many rows one step moved; None: there is nothing to do for this process."""

    count: int | None


FOLD = Query(Moved, "select kaixu.fold_usage(p_most_rows => $1) as count")
FILL = Query(Moved, "select kaixu.fill_usage(p_most_events => $1) as count")


class ZoneChange(msgspec.Struct, frozen=True):
    """Whether the days were in another zone before."""

    is_changed: bool


SET_ZONE = Query(ZoneChange, "select kaixu.set_reporting_zone(p_zone => $1) as is_changed")


class RollupState(msgspec.Struct, frozen=True):
    """The zone of the days, and how far older events are filled in: those with `next_id` <= id < `end_id` wait."""

    reporting_zone: str
    next_id: int
    end_id: int
    filled_at: datetime | None


STATE = Query(RollupState, "select reporting_zone, next_id, end_id, filled_at from kaixu.rollup_state")


async def fold_usage(db: Connection, *, most: int) -> int | None:
    """Move at most `most` noted changes into the roll-ups; return how many there were.

    None: another process is at it. Raises `DatabaseAway`.
    """
    with database():
        count: int | None = await db.fetchval(FOLD.sql, most)
        return count


async def fill_usage(db: Connection, *, most: int) -> int | None:
    """Fill in at most `most` events from before the roll-ups; return how many.

    0: they wait for something. None: all are filled in, or another process is at it. Raises `DatabaseAway`.
    """
    with database():
        count: int | None = await db.fetchval(FILL.sql, most)
        return count


async def set_reporting_zone(db: Connection, zone: str) -> bool:
    """Make the days of the roll-ups those of `zone`; return whether it was another one. Raises `DatabaseAway`."""
    with database():
        changed: bool = await db.fetchval(SET_ZONE.sql, zone)
        return changed


async def rollup_state(db: asyncpg.Pool) -> RollupState:
    """The state of the roll-ups. Raises `DatabaseAway`."""
    with database():
        state = await STATE.one(db)
    assert state is not None
    return state
