"""Collections: find, open for storing, measure, rename and remove them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

import msgspec

from .errors import constraints
from .query import Connection, Query


class Collection(msgspec.Struct, frozen=True):
    """A collection. `provider` and `model`: the public names of the model of all its vectors."""

    id: int
    customer_id: int
    name: str
    provider: str
    model: str
    dimensions: int
    language: str
    vectors: int
    index_state: str
    created_at: datetime
    updated_at: datetime


class Opening(msgspec.Struct, frozen=True):
    """The result of schema/functions/open_collection.sql. `refused` is a code, or None."""

    refused: str | None
    collection_id: int | None
    provider: str | None
    model: str | None
    dimensions: int | None
    most: int
    used: int


class CollectionContent(msgspec.Struct, frozen=True):
    """How much a collection holds."""

    documents: int
    text_bytes: int


class Alive(msgspec.Struct, frozen=True):
    """Whether a collection is still there."""

    is_alive: bool


class Removed(msgspec.Struct, frozen=True):
    """A collection that is deleted, and whose rows may still be there."""

    id: int


class CollectionAccess(msgspec.Struct, frozen=True):
    """Whether a key may use collections of some name."""

    is_allowed: bool


# Admission needs the model of a call, so it is read first; admission then checks the key.
OF_KEY = Query(
    Collection,
    """
    select c.id, c.customer_id, c.name, c.provider, c.model, c.dimensions, c.language::text as language, c.vectors,
           c.index_state, c.created_at, c.updated_at
      from kaixu.virtual_key k
      join kaixu.collection c on c.customer_id = k.customer_id
     where k.id = coalesce($1::bigint,
                           (select h.id from kaixu.virtual_key h where h.key_hash = $2::bytea),
                           (select h.id from kaixu.virtual_key h where h.key_hash = substr($3::bytea, 1, 32)),
                           (select h.id from kaixu.virtual_key h where h.key_hash = substr($3, 33, 32)))
       and c.name = $4 and c.deleted_at is null and c.replaces_id is null
       and (k.allowed_collections is null or c.name = any (k.allowed_collections))
    """,
)

LISTED = Query(
    Collection,
    """
    select c.id, c.customer_id, c.name, c.provider, c.model, c.dimensions, c.language::text as language, c.vectors,
           c.index_state, c.created_at, c.updated_at
      from kaixu.virtual_key k
      join kaixu.collection c on c.customer_id = k.customer_id
     where k.id = $1 and c.deleted_at is null and c.replaces_id is null and c.name > $2
       and (k.allowed_collections is null or c.name = any (k.allowed_collections))
     order by c.name
     limit $3
    """,
)

ALLOWED = Query(
    CollectionAccess,
    """
    select k.allowed_collections is null or $2 = any (k.allowed_collections) as is_allowed
      from kaixu.virtual_key k
     where k.id = $1
    """,
)

OPENED = Query(
    Opening,
    """
    select refused, collection_id, provider, model, dimensions, most, used
      from kaixu.open_collection(
        p_ticket => $1, p_customer_id => $2, p_key_id => $3, p_name => $4, p_provider => $5, p_model => $6,
        p_dimensions => $7, p_language => $8, p_vectors => $9, p_doc_id => $10, p_make => $11,
        p_most_vectors => $12, p_most_collections => $13)
    """,
)

CONTENT = Query(
    CollectionContent,
    """
    select count(*) filter (where d.chunk = 0) as documents,
           coalesce(sum(octet_length(d.body)), 0)::bigint as text_bytes
      from kaixu.document d
     where d.collection_id = $1
    """,
)

RENAMED = Query(
    Collection,
    """
    update kaixu.collection as c
       set name = $3, updated_at = clock_timestamp()
     where c.id = $1 and c.customer_id = $2 and c.deleted_at is null and c.replaces_id is null
       and not exists (select from kaixu.reembedding e where e.collection_id = c.id and e.state = 'running')
    returning c.id, c.customer_id, c.name, c.provider, c.model, c.dimensions, c.language::text as language, c.vectors,
              c.index_state, c.created_at, c.updated_at
    """,
)

DELETED = Query(
    Removed,
    """
    with locked as materialized (   -- ascending, as everywhere
        select c.id from kaixu.collection c
         where c.customer_id = $2 and (c.id = $1 or c.replaces_id = $1) and c.deleted_at is null
         order by c.id
           for no key update
    ), gone as (
        update kaixu.collection c
           set deleted_at = clock_timestamp(), vectors = 0
          from locked l
         where c.id = l.id and c.deleted_at is null
        returning c.id
    ), ended as (
        update kaixu.reembedding e
           set state = 'cancelled', updated_at = now()
         where e.collection_id = $1 and e.state = 'running' and exists (select from gone)
    )
    select id from gone
    """,
)

ALIVE = Query(
    Alive,
    "select exists (select from kaixu.collection where id = $1 and deleted_at is null) as is_alive",
)

REMOVED = Query(
    Removed,
    "select id from kaixu.collection where deleted_at is not null order by id limit $1",
)


async def collection_of_key(
    db: Connection, *, key_id: int | None, key_hash: bytes | None, legacy_hash: bytes | None, name: str
) -> Collection | None:
    """The collection of this name that a key may use."""
    return await OF_KEY.one(db, key_id, key_hash, legacy_hash, name)


async def collections_of_key(db: Connection, key_id: int, *, after: str, limit: int) -> list[Collection]:
    """The collections that a key may use, by name, from the one after `after` on."""
    return await LISTED.all(db, key_id, after, limit)


async def is_allowed(db: Connection, key_id: int, name: str) -> bool:
    """Whether a key may use a collection of this name, whether or not there is one."""
    row = await ALLOWED.one(db, key_id, name)
    return row is not None and row.is_allowed


async def open_collection(
    db: Connection,
    *,
    ticket: UUID,
    customer_id: int,
    key_id: int,
    name: str,
    provider: str,
    model: str,
    dimensions: int | None,
    language: str,
    vectors: int,
    doc_ids: Sequence[str],
    make: bool,
    most_vectors: int,
    most_collections: int,
) -> Opening:
    """Find a collection to store into (with `make`, create it), and reserve room for `vectors` more in it."""
    with constraints():  # a rename may take the name at the same moment
        opened = await OPENED.one(
            db, ticket, customer_id, key_id, name, provider, model, dimensions, language, vectors, doc_ids, make,
            most_vectors, most_collections,
        )  # fmt: skip
    assert opened is not None
    return opened


async def content_of(db: Connection, collection_id: int) -> CollectionContent:
    """How many documents a collection holds, and how much text."""
    return await CONTENT.one(db, collection_id) or CollectionContent(0, 0)


async def rename(db: Connection, collection_id: int, customer_id: int, name: str) -> Collection | None:
    """Rename a collection. None: it is gone, or being re-embedded. Raises `Conflict`."""
    with constraints():
        return await RENAMED.one(db, collection_id, customer_id, name)


async def delete(db: Connection, collection_id: int, customer_id: int) -> bool:
    """Hide a collection at once; its rows are removed in the background. Whether there was one."""
    return bool(await DELETED.all(db, collection_id, customer_id))


async def is_alive(db: Connection, collection_id: int) -> bool:
    """Whether a collection is still there, neither deleted nor replaced."""
    row = await ALIVE.one(db, collection_id)
    return row is not None and row.is_alive


async def deleted_collections(db: Connection, *, limit: int) -> list[int]:
    """Deleted collections whose rows may still be there."""
    return [one.id for one in await REMOVED.all(db, limit)]


async def remove_rows(db: Connection, collection_id: int, *, most: int) -> int:
    """Remove some rows of a deleted collection; how many."""
    done = await db.execute(
        """
        delete from kaixu.document d
         where d.collection_id = $1
           and (d.doc_id, d.chunk) in (select x.doc_id, x.chunk from kaixu.document x where x.collection_id = $1
                                        order by x.doc_id, x.chunk limit $2)
        """,
        collection_id,
        most,
    )
    return int(done.split()[-1])


async def delete_row(db: Connection, collection_id: int) -> None:
    """Remove a deleted collection that has no rows any more."""
    await db.execute(
        """
        delete from kaixu.collection c
         where c.id = $1 and c.deleted_at is not null
           and not exists (select from kaixu.document d where d.collection_id = $1)
        """,
        collection_id,
    )
