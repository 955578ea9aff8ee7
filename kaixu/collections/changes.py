"""Rename, delete and re-embed collections; each change is in the audit log."""

from __future__ import annotations

import msgspec

from kaixu.plugin.errors import CollectionNotAllowed, UnknownCollection
from kaixu.store import collections as store
from kaixu.store import documents, reembedding
from kaixu.store.audit import AuditEvent, write_audit
from kaixu.store.collections import Collection

from .ingest import collection_busy
from .searches import Searches


class Actor(msgspec.Struct, frozen=True):
    """Who makes a change: "admin" or a key; and the request's id."""

    name: str
    request_id: str


async def rename_collection(
    searches: Searches, collection: Collection, name: str, actor: Actor, *, key_id: int
) -> Collection:
    """Rename a collection.

    Raises `Conflict` if the name is taken, `CollectionNotAllowed` if this key may not use it, `CollectionBusy`.
    """
    async with searches.changing(collection.customer_id) as connection:
        if not await store.is_allowed(connection, key_id, name):
            raise CollectionNotAllowed(f"this key may not use collection `{name}`", hint="Ask your operator.")
        async with connection.transaction():
            renamed = await store.rename(connection, collection.id, collection.customer_id, name)
            if renamed is None:
                raise collection_busy(collection.name, hint="Wait until that is done, or cancel it.")
            await write_audit(connection, audit_event("COLLECTION_RENAME", collection, actor, {"new_name": name}))
    return renamed


async def delete_collection(searches: Searches, collection: Collection, actor: Actor) -> int:
    """Delete a collection with its documents; return the number of its vectors."""
    async with searches.changing(collection.customer_id) as connection, connection.transaction():
        if not await store.delete(connection, collection.id, collection.customer_id):
            return 0
        await write_audit(connection, audit_event("COLLECTION_DELETE", collection, actor, {}))
    return collection.vectors


async def delete_document(searches: Searches, collection: Collection, doc_id: str, actor: Actor) -> int:
    """Delete a document; return the number of its vectors. Raises `CollectionBusy`."""
    async with searches.changing(collection.customer_id) as connection, connection.transaction():
        deleted = await documents.delete_document(connection, collection.id, collection.customer_id, doc_id)
        if deleted.refused == "COLLECTION_BUSY":
            raise collection_busy(collection.name, hint="Wait until that is done, or cancel it.")
        if deleted.removed and actor.name == "admin":
            await write_audit(connection, audit_event("DOCUMENT_DELETE", collection, actor, {"doc_id": doc_id}))
    return deleted.removed


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
    """Start re-embedding a collection; return the re-embedding's id. Raises `CollectionBusy`, `UnknownCollection`."""
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
        raise collection_busy(collection.name, hint="Wait until that is done, or cancel it.")
    if started.reembedding_id is None:
        raise UnknownCollection(f"there is no collection `{collection.name}`", field="name")
    return started.reembedding_id


async def cancel_reembedding(searches: Searches, collection: Collection, actor: Actor) -> bool:
    """Cancel a re-embedding, which leaves the collection unchanged; return whether one was running."""
    async with searches.changing(collection.customer_id) as connection:
        progress = await reembedding.progress(connection, collection.customer_id, collection.id)
        if progress is None or progress.state != "running":
            return False
        async with connection.transaction():
            await reembedding.end(connection, progress.id, "cancelled")
            await write_audit(connection, audit_event("REEMBEDDING_CANCEL", collection, actor, {"work": progress.id}))
    return True


def audit_event(action: str, collection: Collection, actor: Actor, meta: dict[str, object]) -> AuditEvent:
    """The event for the audit log."""
    before = {
        "name": collection.name,
        "customer_id": collection.customer_id,
        "provider": collection.provider,
        "model": collection.model,
        "vectors": collection.vectors,
    }
    return AuditEvent(actor.name, action, f"collection:{collection.id}", actor.request_id, before, None, meta)
