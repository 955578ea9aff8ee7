"""The state of the database, as `kaixu doctor` shows it."""

from __future__ import annotations

from datetime import UTC, datetime

import asyncpg
import msgspec

from kaixu.store.migrate import OLDEST_VECTOR, is_old
from kaixu.store.partitions import month_after
from kaixu.store.query import Connection, Query

OLDEST_PGVECTOR = ".".join(map(str, OLDEST_VECTOR))


class ServerState(msgspec.Struct, frozen=True):
    """The server and its settings for durability."""

    version: str
    version_number: int
    vector_installed: str | None
    vector_available: str | None
    fsync: bool
    full_page_writes: bool
    size_bytes: int
    now: datetime

    @property
    def pgvector(self) -> str | None:
        """The version of pgvector, installed or available."""
        return self.vector_installed or self.vector_available

    @property
    def has_old_pgvector(self) -> bool:
        """Whether pgvector is too old to combine index and filter."""
        return self.pgvector is not None and is_old(self.pgvector)

    @property
    def is_durable(self) -> bool:
        """Whether settled money survives a power cut."""
        return self.fsync and self.full_page_writes


class Holds(msgspec.Struct, frozen=True):
    """The number of reservations: of running calls, and expired ones."""

    running: int
    expired: int
    oldest_expired_s: int | None


class Partition(msgspec.Struct, frozen=True):
    """A table with the usage events of one month."""

    name: str


class Partitions(msgspec.Struct, frozen=True):
    """The monthly tables, oldest first; missing ones of this month and the next; the number of events outside them."""

    names: list[str]
    missing: list[str]
    strays: int


class Connections(msgspec.Struct, frozen=True):
    """The server's connection limit for normal users, the used connections, and the running processes of
    gateways."""

    most: int
    taken: int
    processes: int


SERVER = Query(
    ServerState,
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

CONNECTIONS = Query(
    Connections,
    """
    select current_setting('max_connections')::integer
               - current_setting('superuser_reserved_connections')::integer
               - coalesce(current_setting('reserved_connections', true), '0')::integer as most,
           count(*) filter (where a.backend_type = 'client backend')::integer as taken,
           count(distinct a.application_name) filter (where a.application_name like 'kaixu money %')::integer
               as processes
      from pg_stat_activity a
    """,
)


async def server(pool: asyncpg.Pool) -> ServerState:
    """The server; needs no schema."""
    row = await SERVER.one(pool)
    assert row is not None
    return row


async def holds(db: Connection) -> Holds:
    """The number of running and expired reservations."""
    row = await HOLDS.one(db)
    assert row is not None
    return row


async def partitions(db: Connection) -> Partitions:
    """The tables of usage events."""
    names = [row.name for row in await PARTITIONS.all(db)]
    month = datetime.now(UTC).date().replace(day=1)
    needed = [f"usage_event_{one:%Y_%m}" for one in (month, month_after(month))]
    strays: int = await db.fetchval("select count(*) from kaixu.usage_event_other")
    return Partitions(names, [name for name in needed if name not in names], strays)


async def connections(db: Connection) -> Connections:
    """The connections of the server. Behind a pooler, the pooler's limit counts instead."""
    row = await CONNECTIONS.one(db)
    assert row is not None
    return row
