"""Heartbeats in the database: write, read, and whose turn it is."""

from __future__ import annotations

from uuid import UUID

import msgspec

from kaixu.ops.heartbeat import MOST_BEATS, Beat

from .query import Connection, Query

#: How long the turn of a gateway lasts that does not look any more: a look takes half a minute at most.
LEASE_S = 100


class Lease(msgspec.Struct, frozen=True):
    """The gateway whose turn it is."""

    owner: UUID


CLAIMED = Query(
    Lease,
    """
    insert into kaixu.heartbeat_lease as l (owner, until)
    values ($1, now() + $2 * interval '1 second')
    on conflict (only_row) do update set owner = excluded.owner, until = excluded.until
     where l.owner = excluded.owner or l.until < now()
    returning owner
    """,
)

BEATS = Query(
    Beat,
    """
    select seen_at, http_ok, db_ok, status, ms, error, error_type, build, attempt
      from kaixu.heartbeat
     order by minute desc
     limit $1
    """,
)


async def claim_heartbeat(db: Connection, owner: UUID) -> bool:
    """Whether it is this gateway's turn; if so, its lease is renewed."""
    return await CLAIMED.one(db, owner, LEASE_S) is not None


async def write_beat(db: Connection, beat: Beat) -> None:
    """Write one beat, unless its minute has one, and remove those that are older than a day. Again changes nothing."""
    await db.execute(
        """
        with old as (
            delete from kaixu.heartbeat h
             where h.minute < (select max(n.minute) from kaixu.heartbeat n) - $11 * interval '1 minute'
        )
        insert into kaixu.heartbeat (minute, seen_at, http_ok, db_ok, status, ms, error, error_type, build, attempt)
        values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
        on conflict (minute) do nothing
        """,
        beat.minute,
        beat.seen_at,
        beat.http_ok,
        beat.db_ok,
        beat.status,
        beat.ms,
        beat.error,
        beat.error_type,
        beat.build,
        beat.attempt,
        MOST_BEATS,
    )


async def newest_beats(db: Connection) -> list[Beat]:
    """The beats of the last day, the newest first."""
    return await BEATS.all(db, MOST_BEATS)
