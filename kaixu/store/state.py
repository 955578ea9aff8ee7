"""The state of the database, as `kaixu doctor` shows it."""

from __future__ import annotations

from datetime import datetime

import msgspec

from .query import Connection, Query


class Server(msgspec.Struct, frozen=True):
    """The server, and those of its settings on which money depends."""

    version: str
    version_number: int
    vector_installed: str | None
    vector_available: str | None
    fsync: bool
    full_page_writes: bool
    size_bytes: int
    now: datetime


class Holds(msgspec.Struct, frozen=True):
    """Reservations: running, and those that nobody renewed."""

    running: int
    expired: int
    oldest_expired_s: int | None


class Partition(msgspec.Struct, frozen=True):
    """A month of usage events with a table of its own."""

    name: str


SERVER = Query(
    Server,
    """
    select current_setting('server_version') as version,
           current_setting('server_version_num')::integer as version_number,
           (select x.extversion from pg_extension x where x.extname = 'vector') as vector_installed,
           (select a.default_version from pg_available_extensions a where a.name = 'vector') as vector_available,
           current_setting('fsync')::boolean as fsync,
           current_setting('full_page_writes')::boolean as full_page_writes,
           pg_database_size(current_database()) as size_bytes,
           clock_timestamp() as now
    """,
)

HOLDS = Query(
    Holds,
    """
    select count(*) filter (where expires_at >= now()) as running,
           count(*) filter (where expires_at < now()) as expired,
           extract(epoch from now() - min(expires_at) filter (where expires_at < now()))::integer as oldest_expired_s
      from kaixu.reservation
    """,
)

PARTITIONS = Query(
    Partition,
    """
    select c.relname::text as name
      from pg_inherits i
      join pg_class c on c.oid = i.inhrelid
     where i.inhparent = 'kaixu.usage_event'::regclass and c.relname <> 'usage_event_other'
     order by c.relname
    """,
)


async def clock(db: Connection) -> datetime:
    """The database's time: the cheapest thing that it can be asked."""
    now: datetime = await db.fetchval("select now()")
    return now


async def server(db: Connection) -> Server:
    """What runs there."""
    found = await SERVER.one(db)
    assert found is not None
    return found


async def holds(db: Connection) -> Holds:
    """How many calls are in flight, and how many were left behind."""
    found = await HOLDS.one(db)
    assert found is not None
    return found


async def partitions(db: Connection) -> list[str]:
    """The names of the months' partitions, oldest first."""
    return [row.name for row in await PARTITIONS.all(db)]


async def strays(db: Connection) -> int:
    """How many events came before their month's partition was made, and lie in the one that catches the rest."""
    found: int = await db.fetchval("select count(*) from kaixu.usage_event_other")
    return found
