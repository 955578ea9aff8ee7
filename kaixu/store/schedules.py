"""When integrations' schedules are due: each is submitted once, however many gateways check it."""

from __future__ import annotations

from datetime import datetime

import msgspec

from .query import Connection, Query


class ScheduleRow(msgspec.Struct, frozen=True):
    """A schedule, when it is due, and the status of its newest job; None if there was none."""

    name: str
    every_s: float
    next_at: datetime
    last_at: datetime | None
    status: str | None
    error_code: str | None


async def register(db: Connection, name: str, every_s: float) -> None:
    """Write a schedule down: a new one is due after its first period, a changed one after its new period at most."""
    await db.execute(
        """
        insert into kaixu.schedule as s (name, every_s, next_at)
        values ($1, $2, now() + make_interval(secs => $2))
        on conflict (name) do update
           set every_s = excluded.every_s, next_at = least(s.next_at, excluded.next_at)
         where s.every_s <> excluded.every_s
        """,
        name,
        float(every_s),
    )


async def claim(db: Connection, name: str) -> datetime | None:
    """Claim a schedule in the caller's transaction: when it was due, or None if it is not due or was claimed."""
    due: datetime | None = await db.fetchval(
        """
        with due as (
            select s.name, s.next_at from kaixu.schedule s
             where s.name = $1
               -- due, or so far ahead that it was put down before the clock was set back
               and s.next_at not between clock_timestamp() and clock_timestamp() + make_interval(secs => s.every_s + 1)
               for update skip locked
        )
        update kaixu.schedule s
           set next_at = clock_timestamp() + make_interval(secs => s.every_s), last_at = clock_timestamp()
          from due d
         where s.name = d.name
        returning d.next_at
        """,
        name,
    )
    return due


LISTED = Query(
    ScheduleRow,
    """
    select s.name, s.every_s, s.next_at, s.last_at, j.status, j.error_code
      from kaixu.schedule s
      left join lateral (select x.status, x.error_code from kaixu.job x
                          where x.account = 0 and x.kind = s.name and x.idempotency_key is not null
                          order by x.created_at desc limit 1) j on true
     order by s.name
    """,
)


async def list_schedules(db: Connection) -> list[ScheduleRow]:
    """Every schedule that was ever registered."""
    return await LISTED.all(db)
