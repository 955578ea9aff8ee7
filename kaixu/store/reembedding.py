"""Collections on their way to another model: begun, taken up, got on with, ended."""

from __future__ import annotations

from datetime import datetime

import msgspec

from .documents import Document
from .query import Connection, Query


class Started(msgspec.Struct, frozen=True):
    """What schema/functions/start_reembedding.sql said. `refused` is a code, or None."""

    refused: str | None
    reembedding_id: int | None


class Work(msgspec.Struct, frozen=True):
    """A piece of work that was taken up: from `collection_id`, all of it, into `copy_id`."""

    id: int
    customer_id: int
    key_id: int
    install_id: str | None
    collection_id: int
    copy_id: int
    request_id: str
    attempts: int


class ReembeddingProgress(msgspec.Struct, frozen=True):
    """How far it is."""

    id: int
    state: str
    provider: str
    model: str
    done: int
    total: int
    error_code: str | None
    error_message: str | None
    created_at: datetime
    updated_at: datetime


class CopyOf(msgspec.Struct, frozen=True):
    """The collection that is being filled; `is_alive`: nobody has deleted it, and the work is still wanted."""

    provider: str
    model: str
    dimensions: int
    name: str
    is_alive: bool


class Finished(msgspec.Struct, frozen=True):
    """Whether the copy has taken its place."""

    finished: bool


STARTED = Query(
    Started,
    """
    select refused, reembedding_id
      from kaixu.start_reembedding(
        p_collection_id => $1, p_customer_id => $2, p_key_id => $3, p_install_id => $4, p_provider => $5,
        p_model => $6, p_dimensions => $7, p_request_id => $8)
    """,
)

CLAIMED = Query(
    Work,
    """
    select id, customer_id, key_id, install_id, collection_id, copy_id, request_id, attempts
      from kaixu.claim_reembedding(p_lease_s => $1)
    """,
)

PROGRESS = Query(
    ReembeddingProgress,
    """
    select e.id, e.state, c.provider, c.model, e.done, e.total, e.error_code, e.error_message, e.created_at,
           e.updated_at
      from kaixu.reembedding e
      join kaixu.collection c on c.id = e.copy_id
     where e.customer_id = $1 and (e.collection_id = $2 or e.copy_id = $2)
     order by e.id desc
     limit 1
    """,
)

COPY = Query(
    CopyOf,
    """
    select c.provider, c.model, c.dimensions, c.name,
           c.deleted_at is null and c.replaces_id is not null and e.state = 'running' as is_alive
      from kaixu.reembedding e
      join kaixu.collection c on c.id = e.copy_id
     where e.id = $1
    """,
)

# By what is not there yet, and not by a mark that may lie: what was stored twice would be paid for twice.
REMAINING = Query(
    Document,
    """
    select d.doc_id, d.chunk, d.starts_at, d.body as text, d.metadata, d.created_at, d.updated_at
      from kaixu.document d
     where d.collection_id = $1
       and (d.doc_id, d.chunk) > (
           coalesce((select n.doc_id from kaixu.document n where n.collection_id = $2
                      order by n.doc_id desc, n.chunk desc limit 1), ''),
           coalesce((select n.chunk from kaixu.document n where n.collection_id = $2
                      order by n.doc_id desc, n.chunk desc limit 1), -1))
     order by d.doc_id, d.chunk
     limit $3
    """,
)

FINISHED = Query(Finished, "select kaixu.finish_reembedding(p_id => $1) as finished")


async def start(
    db: Connection,
    *,
    collection_id: int,
    customer_id: int,
    key_id: int,
    install_id: str | None,
    provider: str,
    model: str,
    dimensions: int,
    request_id: str,
) -> Started:
    """Begin, or go on where it had failed."""
    started = await STARTED.one(
        db, collection_id, customer_id, key_id, install_id, provider, model, dimensions, request_id
    )
    assert started is not None
    return started


async def claim(db: Connection, *, lease_s: int) -> Work | None:
    """Take one up; None: there is nothing to do."""
    return await CLAIMED.one(db, lease_s)


async def progress(db: Connection, customer_id: int, collection_id: int) -> ReembeddingProgress | None:
    """The newest work on a collection."""
    return await PROGRESS.one(db, customer_id, collection_id)


async def copy_of(db: Connection, work_id: int) -> CopyOf | None:
    """What is being filled."""
    return await COPY.one(db, work_id)


async def remaining(db: Connection, work: Work, *, limit: int) -> list[Document]:
    """The next pieces that have no new vector yet, in order."""
    return await REMAINING.all(db, work.collection_id, work.copy_id, limit)


async def lease_again(db: Connection, work_id: int, *, lease_s: int, wait_s: float = 0, attempts: int = 0) -> None:
    """Go on with it; or, with `wait_s`, leave it to whoever comes after that time."""
    await db.execute(
        """
        update kaixu.reembedding
           set leased_until = clock_timestamp() + make_interval(secs => $2::float8), attempts = $3,
               done = coalesce((select c.vectors from kaixu.collection c where c.id = copy_id), done),
               updated_at = clock_timestamp()
         where id = $1 and state = 'running'
        """,
        work_id,
        wait_s or lease_s,
        attempts,
    )


async def keep(db: Connection, work_id: int, *, lease_s: int) -> None:
    """Whoever works on it is alive."""
    await db.execute(
        """
        update kaixu.reembedding
           set leased_until = greatest(leased_until, clock_timestamp() + make_interval(secs => $2::float8)),
               updated_at = clock_timestamp()
         where id = $1 and state = 'running' and leased_until > clock_timestamp()
        """,
        work_id,
        lease_s,
    )


async def finish(db: Connection, work_id: int) -> bool:
    """Let the copy take its place, if it is whole."""
    done = await FINISHED.one(db, work_id)
    return done is not None and done.finished


async def end(db: Connection, work_id: int, state: str, *, code: str | None = None, message: str | None = None) -> None:
    """End it as "failed" or "cancelled". A copy that failed is kept, to go on with; a cancelled one is not."""
    if state == "cancelled":
        await db.execute(
            """
            update kaixu.collection c
               set deleted_at = clock_timestamp(), vectors = 0
              from kaixu.reembedding e
             where e.id = $1 and e.state = 'running' and c.id = e.copy_id and c.replaces_id is not null
               and c.deleted_at is null
            """,
            work_id,
        )
    await db.execute(
        """
        update kaixu.reembedding
           set state = $2, error_code = $3, error_message = $4,
               done = coalesce((select c.vectors from kaixu.collection c where c.id = copy_id), done),
               updated_at = clock_timestamp()
         where id = $1 and state = 'running'
        """,
        work_id,
        state,
        code,
        message,
    )
