"""Files and batches: many calls submitted together. The lines of a batch are jobs."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from operator import attrgetter
from typing import Any
from uuid import UUID

import msgspec

from .query import Connection, Query


class FileRow(msgspec.Struct, frozen=True):
    """A file, without its content."""

    id: UUID
    purpose: str
    filename: str
    size: int
    created_at: datetime


class BatchFileContent(msgspec.Struct, frozen=True):
    """The content of a file, sealed."""

    content: bytes


class Sizes(msgspec.Struct, frozen=True):
    """The sizes of a batch's result files; None where they are not known yet."""

    output_bytes: int | None
    error_bytes: int | None


class BatchRow(msgspec.Struct, frozen=True):
    """A batch, with the states of its lines."""

    id: UUID
    endpoint: str
    input_file_id: UUID
    metadata: dict[str, Any]
    cancelled_at: datetime | None
    created_at: datetime
    expires_at: datetime
    total: int
    waiting: int
    succeeded: int
    failed: int
    started_at: datetime | None
    ended_at: datetime | None


class LineRow(msgspec.Struct, frozen=True):
    """A line of a batch as a job; texts are sealed. Tokens and cost are those of its usage event."""

    id: UUID
    kind: str
    status: str
    line: int
    payload: bytes
    result: bytes | None
    error_code: str | None
    error_message: str | None
    request_id: str
    model: str | None
    completed_at: datetime | None
    input_tokens: int
    output_tokens: int
    cost_nusd: int


class NewLine(msgspec.Struct, frozen=True):
    """A line to be submitted; a wrong one has an error, and has ended."""

    id: UUID
    kind: str
    payload: bytes
    provider: str | None
    model: str | None
    error_code: str | None
    error_message: str | None


FILE = Query(
    FileRow,
    """
    select id, purpose, filename, bytes as size, created_at
      from kaixu.file where id = $1 and customer_id = $2
    """,
)

CONTENT = Query(BatchFileContent, "select content from kaixu.file where id = $1")

FILES = """
    select f.id, f.purpose, f.filename, f.bytes as size, f.created_at
      from kaixu.file f
     where f.customer_id = $1 and ($2::timestamptz is null or (f.created_at, f.id) {beyond} ($2, $3::uuid))
     order by f.created_at {order}, f.id {order} limit $4
"""
NEWEST_FILES = Query(FileRow, FILES.format(beyond="<", order="desc"))
OLDEST_FILES = Query(FileRow, FILES.format(beyond=">", order="asc"))

SIZES = Query(Sizes, "select output_bytes, error_bytes from kaixu.batch where id = $1")

BATCHES = """
    select b.id, b.endpoint, b.input_file_id, b.metadata, b.cancelled_at, b.created_at, b.expires_at, s.total,
           s.waiting, s.succeeded, s.failed, s.started_at, s.ended_at
      from kaixu.batch b
     cross join lateral (select count(*) as total, count(*) filter (where j.completed_at is null) as waiting,
                                count(*) filter (where j.status = 'succeeded') as succeeded,
                                count(*) filter (where j.status in ('failed', 'cancelled')) as failed,
                                min(j.started_at) as started_at, max(j.completed_at) as ended_at
                           from kaixu.job j where j.batch_id = b.id) s
"""

BATCH = Query(BatchRow, f"{BATCHES} where b.id = $1 and b.customer_id = $2")
LISTED = Query(BatchRow, f"{BATCHES} where b.customer_id = $1 order by b.created_at desc, b.id limit $2")

#: Lines in order, as many as fit into memory: sizes are known without reading them.
LINES = Query(
    LineRow,
    """
    with ahead as (
        select n.id, n.batch_line, n.size, sum(n.size) over (order by n.batch_line) as size_so_far
          from (select j.id, j.batch_line, octet_length(j.payload) + coalesce(octet_length(j.result), 0) as size
                  from kaixu.job j
                 where j.batch_id = $1 and (j.status = 'succeeded') = $2 and j.completed_at is not null
                   and j.batch_line > $3
                 order by j.batch_line
                 limit $4) n
    )
    select j.id, j.kind, j.status, j.batch_line as line, j.payload, j.result, j.error_code, j.error_message,
           j.request_id, j.model, j.completed_at, coalesce(e.input_tokens, 0) as input_tokens,
           coalesce(e.output_tokens, 0) as output_tokens, coalesce(e.cost_nusd, 0) as cost_nusd
      from ahead a
      join kaixu.job j on j.id = a.id
      left join kaixu.usage_event e on e.month = j.month and e.ticket = j.ticket
     where a.size_so_far - a.size < $5
     order by a.batch_line
    """,
)


async def insert_file(
    db: Connection, *, file_id: UUID, customer_id: int, purpose: str, filename: str, size: int, content: bytes
) -> None:
    """Store a file."""
    await db.execute(
        "insert into kaixu.file (id, customer_id, purpose, filename, bytes, content) values ($1, $2, $3, $4, $5, $6)",
        file_id,
        customer_id,
        purpose,
        filename,
        size,
        content,
    )


async def find_file(db: Connection, file_id: UUID, *, customer_id: int) -> FileRow | None:
    """A file of this customer's."""
    return await FILE.one(db, file_id, customer_id)


async def content_of(db: Connection, file_id: UUID) -> bytes | None:
    """The content of a file, sealed."""
    row = await CONTENT.one(db, file_id)
    return None if row is None else row.content


async def list_files(
    db: Connection, *, customer_id: int, after: FileRow | None, newest_first: bool, limit: int
) -> list[FileRow]:
    """A page of a customer's files."""
    query = NEWEST_FILES if newest_first else OLDEST_FILES
    start = (None, None) if after is None else (after.created_at, after.id)
    return await query.all(db, customer_id, *start, limit)


async def sizes_of(db: Connection, batch_id: UUID) -> Sizes | None:
    """The sizes of a batch's files, as far as they are known."""
    return await SIZES.one(db, batch_id)


async def set_size(db: Connection, batch_id: UUID, *, succeeded: bool, size: int) -> None:
    """Store the size of one of an ended batch's files: it does not change any more."""
    await db.execute(
        """
        update kaixu.batch
           set output_bytes = case when $2 then $3::bigint else output_bytes end,
               error_bytes = case when $2 then error_bytes else $3::bigint end
         where id = $1
        """,
        batch_id,
        succeeded,
        size,
    )


async def delete_file(db: Connection, file_id: UUID, *, customer_id: int) -> bool:
    """Delete a file; whether it was there."""
    deleted = await db.fetchval(
        "delete from kaixu.file where id = $1 and customer_id = $2 returning true", file_id, customer_id
    )
    return deleted is not None


async def insert_batch(
    db: Connection,
    *,
    batch_id: UUID,
    customer_id: int,
    key_id: int,
    install_id: str | None,
    app_id: str | None,
    build_id: str | None,
    endpoint: str,
    input_file_id: UUID,
    metadata: dict[str, Any],
    request_id: str,
    window_s: float,
    attempts: int,
    lines: Sequence[NewLine],
) -> None:
    """Submit a batch with all its lines, in the caller's transaction."""
    await db.execute(
        """
        insert into kaixu.batch (id, customer_id, key_id, endpoint, input_file_id, metadata, request_id, expires_at)
        values ($1, $2, $3, $4, $5, $6, $7, now() + make_interval(secs => $8))
        """,
        batch_id,
        customer_id,
        key_id,
        endpoint,
        input_file_id,
        metadata,
        request_id,
        float(window_s),
    )
    fields = attrgetter("id", "kind", "payload", "provider", "model", "error_code", "error_message")
    columns = [list(column) for column in zip(*map(fields, lines), strict=True)]
    await db.execute(
        """
        insert into kaixu.job (id, kind, customer_id, key_id, install_id, request_id, payload, provider, model,
                               most_attempts, batch_id, batch_line, app_id, build_id, status, error_code, error_message,
                               completed_at)
        select l.id, l.kind, $8, $9, $10, $11, l.payload, l.provider, l.model, $12, $13, l.line, $14, $15,
               case when l.code is null then 'queued' else 'failed' end, l.code, l.message,
               case when l.code is not null then clock_timestamp() end
          from unnest($1::uuid[], $2::text[], $3::bytea[], $4::text[], $5::text[], $6::text[], $7::text[])
               with ordinality l (id, kind, payload, provider, model, code, message, line)
        """,
        *columns,
        customer_id,
        key_id,
        install_id,
        request_id,
        attempts,
        batch_id,
        app_id,
        build_id,
    )


async def find_batch(db: Connection, batch_id: UUID, *, customer_id: int) -> BatchRow | None:
    """A batch of this customer's."""
    return await BATCH.one(db, batch_id, customer_id)


async def list_batches(db: Connection, *, customer_id: int, limit: int) -> list[BatchRow]:
    """The newest batches."""
    return await LISTED.all(db, customer_id, limit)


async def lines_of(
    db: Connection, batch_id: UUID, *, succeeded: bool, after: int, limit: int, most_bytes: int
) -> list[LineRow]:
    """The lines that have ended well, or not, in order: at most `limit`, and no more once they have `most_bytes`."""
    return await LINES.all(db, batch_id, succeeded, after, limit, most_bytes)


async def cancel_batch(db: Connection, batch_id: UUID, *, customer_id: int) -> bool:
    """Cancel the waiting lines, and ask the running ones to end; whether there is such a batch."""
    row = await db.fetchval(
        """
        update kaixu.batch set cancelled_at = coalesce(cancelled_at, now())
         where id = $1 and customer_id = $2 returning true
        """,
        batch_id,
        customer_id,
    )
    if row is None:
        return False
    await db.execute(
        """
        update kaixu.job j
           set cancel_asked = true,
               status = case when j.status = 'queued' then 'cancelled' else j.status end,
               error_code = case when j.status = 'queued' then 'JOB_CANCELLED' else j.error_code end,
               error_message = case when j.status = 'queued' then 'the batch was cancelled' else j.error_message end,
               completed_at = case when j.status = 'queued' then clock_timestamp() else j.completed_at end
          from (select x.id from kaixu.job x
                 where x.batch_id = $1 and x.completed_at is null order by x.id for update) w
         where j.id = w.id
        """,
        batch_id,
    )
    return True


async def expire_batches(db: Connection) -> None:
    """End lines that still wait when their batch's time is over."""
    await db.execute(
        """
        update kaixu.job j
           set status = 'failed', error_code = 'BATCH_EXPIRED', error_message = 'the batch was not done in its time',
               completed_at = clock_timestamp()
          from (select x.id from kaixu.job x join kaixu.batch b on b.id = x.batch_id
                 where x.status = 'queued' and b.expires_at < now()
                 order by x.id limit 5000 for update of x skip locked) w
         where j.id = w.id
        """
    )


async def prune_batches(db: Connection, *, days: int) -> None:
    """Delete files, and batches whose lines are deleted, after `days`."""
    await db.execute("delete from kaixu.file where created_at < now() - make_interval(days => $1)", days)
    await db.execute(
        """
        delete from kaixu.batch b where b.created_at < now() - make_interval(days => $1)
           and not exists (select from kaixu.job j where j.batch_id = b.id)
        """,
        days,
    )
