"""Changes of collections as a whole, each written down: renamed, removed, sent on their way to another model."""

from __future__ import annotations

import msgspec

from kaixu.plugin.errors import CollectionBusy, CollectionNotAllowed, UnknownCollection
from kaixu.store import collections as store
from kaixu.store import documents, reembedding
from kaixu.store.audit import AuditEvent, write_audit
from kaixu.store.collections import Collection

from .searches import Searches


class Actor(msgspec.Struct, frozen=True):
    """Who makes a change: "admin", or a key; and the request it came with."""

    actor: str
    request_id: str


async def rename_collection(
    searches: Searches, collection: Collection, name: str, who: Actor, *, key_id: int
) -> Collection:
    """Give a collection another name.

    Raises `Conflict` for one that is taken, `CollectionNotAllowed` for one that this key may not use, `CollectionBusy`.
    """
    async with searches.changing(collection.customer_id) as connection:
        if not await store.is_allowed(connection, key_id, name):
            raise CollectionNotAllowed(f"this key may not use collection `{name}`", hint="Ask your operator.")
        async with connection.transaction():
            after = await store.rename(connection, collection.id, collection.customer_id, name)
            if after is None:
                raise collection_busy(collection.name)
            await write_audit(connection, audit_event("COLLECTION_RENAME", collection, who, {"new_name": name}))
    return after


async def delete_collection(searches: Searches, collection: Collection, who: Actor) -> int:
    """Remove a collection with all that is in it; how many vectors that were."""
    async with searches.changing(collection.customer_id) as connection, connection.transaction():
        if not await store.delete(connection, collection.id, collection.customer_id):
            return 0
        await write_audit(connection, audit_event("COLLECTION_DELETE", collection, who, {}))
    return collection.vectors


async def delete_document(searches: Searches, collection: Collection, doc_id: str, who: Actor) -> int:
    """Remove a document; how many vectors it had. Raises `CollectionBusy`."""
    async with searches.changing(collection.customer_id) as connection, connection.transaction():
        done = await documents.delete_document(connection, collection.id, collection.customer_id, doc_id)
        if done.refused == "COLLECTION_BUSY":
            raise collection_busy(collection.name)
        if done.removed and who.actor == "admin":
            await write_audit(connection, audit_event("DOCUMENT_DELETE", collection, who, {"doc_id": doc_id}))
    return done.removed


async def start_reembedding(
    searches: Searches,
    collection: Collection,
    *,
    key_id: int,
    install_id: str | None,
    provider: str,
    model: str,
    dimensions: int,
    request_id: str,
) -> int:
    """Send a collection on its way to another model; the work's id. Raises `CollectionBusy`, `UnknownCollection`."""
    async with searches.changing(collection.customer_id) as connection:
        started = await reembedding.start(
            connection,
            collection_id=collection.id,
            customer_id=collection.customer_id,
            key_id=key_id,
            install_id=install_id,
            provider=provider,
            model=model,
            dimensions=dimensions,
            request_id=request_id,
        )
    if started.refused == "COLLECTION_BUSY":
        raise collection_busy(collection.name)
    if started.reembedding_id is None:
        raise UnknownCollection(f"there is no collection `{collection.name}`", field="name")
    return started.reembedding_id


async def cancel_reembedding(searches: Searches, collection: Collection, who: Actor) -> bool:
    """End the work on a collection, which stays as it was; whether there was any."""
    async with searches.changing(collection.customer_id) as connection:
        work = await reembedding.progress(connection, collection.customer_id, collection.id)
        if work is None or work.state != "running":
            return False
        async with connection.transaction():
            await reembedding.end(connection, work.id, "cancelled")
            await write_audit(connection, audit_event("REEMBEDDING_CANCEL", collection, who, {"work": work.id}))
    return True


def audit_event(action: str, collection: Collection, who: Actor, meta: dict[str, object]) -> AuditEvent:
    """What the audit log keeps."""
    before = {
        "name": collection.name,
        "customer_id": collection.customer_id,
        "provider": collection.provider,
        "model": collection.model,
        "vectors": collection.vectors,
    }
    return AuditEvent(who.actor, action, f"collection:{collection.id}", who.request_id, before, None, meta)


def collection_busy(name: str) -> CollectionBusy:
    """The error for a collection that changes just now."""
    return CollectionBusy(
        f"collection `{name}` is on its way to another model",
        hint="Wait until it is done, or cancel that.",
        retry_after_s=30,
    )
