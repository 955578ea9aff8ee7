"""`gateway-embed-collections`: show, create, import, export, rename, re-embed and delete collections.

GET     all · ?name= one · ?name=&doc_id= a document · ?name=&documents=1 a page of documents · ?name=&export=1 NDJSON
POST    a new one · ?name=&import=1 documents as NDJSON · {name, reembed: {model}} into another model
PATCH   {name, new_name}
DELETE  ?name= a collection · ?name=&doc_id= a document · ?name=&reembed=1 cancels a re-embedding
"""

from __future__ import annotations

from functools import partial
from typing import Any

from kaixu.accounts.operator_identity import COLLECTIONS, READ
from kaixu.api.call_replies import call_headers
from kaixu.api.collections.create import create_collection, reembed_collection
from kaixu.api.collections.replies import collection_reply, document_reply, page_reply, progress_reply
from kaixu.collections import contents
from kaixu.collections.changes import Actor, cancel_reembedding, delete_collection, delete_document, rename_collection
from kaixu.collections.contents import Collection
from kaixu.collections.filters import is_storable
from kaixu.collections.ingest import unknown_collection
from kaixu.collections.search import find_collection
from kaixu.config.names import MOST_NAME
from kaixu.edge.fields import json_object, query_fields
from kaixu.edge.paths import function_paths
from kaixu.edge.request import IncomingRequest
from kaixu.edge.response import Reply, json_reply
from kaixu.edge.routes import Route
from kaixu.edge.services import Services
from kaixu.metering.admission import Admission
from kaixu.metering.ticket import Ticket
from kaixu.plugin.access import Rank
from kaixu.plugin.errors import UnknownDocument, Unprocessable

from .access import CollectionCaller, read_collection_caller
from .export import export_collection
from .fields import MAX_DOC_ID, check_doc_id, collection_name
from .importing import import_documents

MAX_LISTED = 200
MAX_PAGE = 200


def collection_routes(services: Services) -> list[Route]:
    """The routes of collections."""
    handlers = {"GET": show, "POST": create_or_import, "PATCH": rename, "DELETE": remove}
    paths = function_paths("gateway-embed-collections")
    return [
        Route(
            method,
            paths,
            partial(handler, services),
            auth="key_or_operator",
            rate="call",
            access=READ if method == "GET" else COLLECTIONS,
        )
        for method, handler in handlers.items()
    ]


def collection_admission(services: Services, collection_caller: CollectionCaller, role: Rank) -> Admission[Ticket]:
    """Admission of a call that costs nothing."""
    return services.gate.free(collection_caller.caller, "collections", role=role)


async def show(services: Services, request: IncomingRequest) -> Reply:
    """`GET`: list collections, or show one, its documents or an export."""
    args = request.args
    collection_caller = await read_collection_caller(services, request, args.get("customer_id"))
    async with collection_admission(services, collection_caller, "viewer") as ticket:
        ticket.end_reason = "released"
        if not args.get("name"):
            return json_reply(await list_page(services, ticket, args), 200, call_headers(ticket))
        collection = await require_collection(services, collection_caller, args["name"])
        if is_true(args.get("export")):
            return export_collection(services.searches, collection, call_headers(ticket))
        if args.get("doc_id"):
            reply = await one_document(services, collection, args)
        elif is_true(args.get("documents")):
            reply = await documents_page(services, collection, args)
        else:
            reply = await statistics(services, collection_caller, collection)
    return json_reply({"ok": True} | reply, 200, call_headers(ticket))


def is_true(text: str | None) -> bool:
    """Whether a query parameter means yes."""
    return text is not None and text.lower() in ("1", "true", "yes", "y", "on")


async def require_collection(services: Services, collection_caller: CollectionCaller, value: Any) -> Collection:
    """The named collection. Raises `UnknownCollection`."""
    name = collection_name(value, "name")
    collection = await find_collection(services.pool, collection_caller.caller, name)
    if collection is None:
        raise unknown_collection(name)
    return collection


async def list_page(services: Services, ticket: Ticket, args: dict[str, str]) -> dict[str, Any]:
    """A page of the collections that the key may use, by name."""
    key_id = ticket.verdict.key_id
    assert key_id is not None
    limit = query_fields(args, {"limit"}).integer("limit", 1, MAX_LISTED) or MAX_LISTED
    after = args.get("after", "")
    if not is_storable(after) or len(after) > MOST_NAME:
        raise Unprocessable("`after` is not a collection's name", field="after")
    customer_id = ticket.verdict.customer_id
    assert customer_id is not None
    rows = await contents.list_collections(services.searches, customer_id, key_id, after=after, limit=limit + 1)
    page = rows[:limit]
    return {
        "ok": True,
        "collections": [collection_reply(services.catalog, row) for row in page],
        "next_after": page[-1].name if len(rows) > limit else None,
    }


async def statistics(services: Services, collection_caller: CollectionCaller, collection: Collection) -> dict[str, Any]:
    """A collection with its size, and the progress of its re-embedding."""
    progress = await contents.reembedding_progress(services.searches, collection)
    if progress is not None and progress.state == "done":  # the re-embedded copy may have replaced it meanwhile
        collection = await require_collection(services, collection_caller, collection.name)
    content = await contents.collection_size(services.searches, collection)
    reply = collection_reply(services.catalog, collection) | {
        "documents": content.documents,
        "text_bytes": content.text_bytes,
    }
    if progress is not None:
        reply["reembedding"] = progress_reply(services.catalog, progress)
    return {"collection": reply}


async def one_document(services: Services, collection: Collection, args: dict[str, str]) -> dict[str, Any]:
    """A whole document with its chunks."""
    doc_id = check_doc_id(args["doc_id"], "doc_id")
    chunks = await contents.document_chunks(services.searches, collection, doc_id)
    if not chunks:
        raise no_document(collection, doc_id)
    return {"collection": collection.name, "document": document_reply(chunks, vectors=is_true(args.get("vectors")))}


async def documents_page(services: Services, collection: Collection, args: dict[str, str]) -> dict[str, Any]:
    """A page of pieces, by document id and chunk."""
    fields = query_fields(args, {"limit", "after_chunk"})
    limit = fields.integer("limit", 1, MAX_PAGE) or 50
    after = args.get("after", "")
    chunk = fields.integer("after_chunk", 0, 10**9)
    if not is_storable(after) or len(after) > MAX_DOC_ID:
        raise Unprocessable("`after` is not a document's id", field="after")
    if after and chunk is None:
        chunk = 10**9  # after all chunks of that document
    start = (after, -1 if chunk is None else chunk)
    rows, is_more = await contents.page_of_pieces(services.searches, collection, after=start, limit=limit)
    return {"collection": collection.name} | page_reply(rows, is_more=is_more)


async def create_or_import(services: Services, request: IncomingRequest) -> Reply:
    """`POST`: create, import or re-embed."""
    args = request.args
    if is_true(args.get("import")):
        collection_caller = await read_collection_caller(services, request, args.get("customer_id"))
        return await import_documents(services, collection_caller, request, collection_name(args.get("name"), "name"))
    body = json_object(request.body)
    collection_caller = await read_collection_caller(
        services, request, body.get("customer_id") or args.get("customer_id")
    )
    if "reembed" in body:
        return await reembed_collection(services, collection_caller, body)
    return await create_collection(services, collection_caller, body)


async def rename(services: Services, request: IncomingRequest) -> Reply:
    """`PATCH`: rename."""
    args, body = request.args, json_object(request.body)
    collection_caller = await read_collection_caller(
        services, request, body.get("customer_id") or args.get("customer_id")
    )
    name = collection_name(body.get("name") or args.get("name"), "name")
    new_name = collection_name(body.get("new_name"), "new_name")
    async with collection_admission(services, collection_caller, "deployer") as ticket:
        ticket.end_reason = "released"
        collection = await require_collection(services, collection_caller, name)
        key_id = ticket.verdict.key_id
        assert key_id is not None
        actor = audit_actor(request, collection_caller, ticket)
        after = await rename_collection(services.searches, collection, new_name, actor, key_id=key_id)
    return json_reply({"ok": True, "collection": collection_reply(services.catalog, after)}, 200, call_headers(ticket))


async def remove(services: Services, request: IncomingRequest) -> Reply:
    """`DELETE`: a collection, a document or a re-embedding. A missing collection or document is no error."""
    args = request.args
    collection_caller = await read_collection_caller(services, request, args.get("customer_id"))
    name = collection_name(args.get("name"), "name")
    async with collection_admission(services, collection_caller, "deployer") as ticket:
        ticket.end_reason = "released"
        collection = await find_collection(services.pool, collection_caller.caller, name)
        actor = audit_actor(request, collection_caller, ticket)
        if is_true(args.get("reembed")):
            if collection is None:
                raise unknown_collection(name)
            reply: dict[str, Any] = {"cancelled": await cancel_reembedding(services.searches, collection, actor)}
        elif args.get("doc_id"):
            doc_id = check_doc_id(args["doc_id"], "doc_id")
            removed = 0 if collection is None else await delete_document(services.searches, collection, doc_id, actor)
            reply = {"deleted": doc_id, "vectors": removed}
        else:
            removed = 0 if collection is None else await delete_collection(services.searches, collection, actor)
            reply = {"deleted": name, "vectors": removed}
    return json_reply({"ok": True, **reply}, 200, call_headers(ticket))


def audit_actor(request: IncomingRequest, collection_caller: CollectionCaller, ticket: Ticket) -> Actor:
    """Who makes a change, for the audit log."""
    name = "admin" if collection_caller.is_operator else f"key:{ticket.verdict.key_id}"
    return Actor(name, request.request_id)


def no_document(collection: Collection, doc_id: str) -> UnknownDocument:
    """The error for a document that does not exist."""
    return UnknownDocument(f"collection `{collection.name}` has no document `{doc_id[:80]}`", field="doc_id")
