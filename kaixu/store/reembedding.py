"""Re-embedding of collections by another model: started, claimed, continued, ended."""

from __future__ import annotations

from datetime import datetime

import msgspec

from .documents import Document
from .query import Connection, Query


class Started(msgspec.Struct, frozen=True):
    """The result of schema/functions/start_reembedding.sql. `refused` is a code, or None."""

    refused: str | None
    reembedding_id: int | None


class Reembedding(msgspec.Struct, frozen=True):
    """A claimed re-embedding: every document of `collection_id`, into `copy_id`."""

    id: int
    customer_id: int
    key_id: int
    install_id: str | None
    collection_id: int
    copy_id: int
    request_id: str
    attempts: int


class ReembeddingProgress(msgspec.Struct, frozen=True):
    """How far a re-embedding is."""

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


class Target(msgspec.Struct, frozen=True):
    """The collection that is being filled. `is_alive`: it was not deleted, and the re-embedding still runs."""

    provider: str
    model: str
    dimensions: int
    name: str
    is_alive: bool


class Finished(msgspec.Struct, frozen=True):
    """Whether the copy has replaced the collection."""

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
    Reembedding,
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

TARGET = Query(
    Target,
    """
    select c.provider, c.model, c.dimensions, c.name,
           c.deleted_at is null and c.replaces_id is not null and e.state = 'running' as is_alive
      from kaixu.reembedding e
      join kaixu.collection c on c.id = e.copy_id
     where e.id = $1
    """,
)

# Continues after the last stored chunk, not after a noted position: chunks that are embedded twice are paid for twice.
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
    """Start a re-embedding, or resume a failed one."""
    started = await STARTED.one(
        db, collection_id, customer_id, key_id, install_id, provider, model, dimensions, request_id
    )
    assert started is not None
    return started


async def claim(db: Connection, *, lease_s: int) -> Reembedding | None:
    """Claim one that is not leased; None if there is none."""
    return await CLAIMED.one(db, lease_s)


async def progress(db: Connection, customer_id: int, collection_id: int) -> ReembeddingProgress | None:
    """The newest re-embedding of a collection."""
    return await PROGRESS.one(db, customer_id, collection_id)


async def target_of(db: Connection, work_id: int) -> Target | None:
    """The collection that a re-embedding fills."""
    return await TARGET.one(db, work_id)


async def remaining(db: Connection, work: Reembedding, *, limit: int) -> list[Document]:
    """The next chunks that have no new vector, in order."""
    return await REMAINING.all(db, work.collection_id, work.copy_id, limit)


async def record_progress(db: Connection, work_id: int, *, lease_s: int, wait_s: float = 0, attempts: int = 0) -> None:
    """Note how far it is and extend the lease; with `wait_s`, end the lease so that it is claimed again after that."""
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


async def renew(db: Connection, work_id: int, *, lease_s: int) -> None:
    """Renew the lease."""
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
    """Replace the collection by its copy, if that is complete; whether it was."""
    result = await FINISHED.one(db, work_id)
    return result is not None and result.finished


async def end(db: Connection, work_id: int, state: str, *, code: str | None = None, message: str | None = None) -> None:
    """End it as "failed" or "cancelled". A failed copy is kept, to be resumed; a cancelled one is deleted."""
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
