"""`gateway-embed-collections`: what an account has stored, shown, renamed, moved, removed.

GET     all · ?name= one · ?name=&doc_id= a document · ?name=&documents=1 pages of them · ?name=&export=1 all, as NDJSON
POST    a new one · ?name=&import=1 documents as NDJSON · {name, reembed: {model}} into another model
PATCH   {name, new_name}
DELETE  ?name= all of it · ?name=&doc_id= a document · ?name=&reembed=1 a re-embedding that is under way
"""

from __future__ import annotations

from typing import Any

from kaixu.api.calls import call_headers
from kaixu.collections import contents
from kaixu.collections.changes import Acting, cancel_reembedding, delete_collection, delete_document, rename_collection
from kaixu.collections.contents import Collection
from kaixu.collections.filters import storable
from kaixu.collections.ingest import unknown
from kaixu.collections.search import looked_up
from kaixu.config.names import MOST_NAME
from kaixu.edge.exchange import Door
from kaixu.edge.fields import Fields, json_object
from kaixu.edge.function_paths import paths_of
from kaixu.edge.request import IncomingRequest
from kaixu.edge.response import Reply, json_reply
from kaixu.edge.services import Services
from kaixu.metering.admission import Admission
from kaixu.metering.ticket import Ticket
from kaixu.plugin.errors import UnknownDocument, Unprocessable
from kaixu.plugin.operation import Rank

from .access import CollectionCaller, key_or_operator, visitor_of
from .export import exported
from .fields import MOST_DOC_ID, collection_name, doc_id_of
from .importing import imported
from .making import created, reembed
from .shape import collection_reply, document_reply, page_reply, progress_reply

MOST_LISTED = 200
MOST_PAGE = 200


def collections_door(services: Services) -> Door:
    """The door, bound to one gateway."""
    by_method = {"GET": show, "POST": make, "PATCH": rename, "DELETE": remove}

    async def serve(asked: IncomingRequest) -> Reply:
        return await by_method[asked.method](services, asked)

    return Door(
        serve,
        paths_of("gateway-embed-collections"),
        methods=("GET", "POST", "PATCH", "DELETE"),
        credential=key_or_operator(services),
        rate="call",
    )


def free(services: Services, visitor: CollectionCaller, role: Rank) -> Admission[Ticket]:
    """Admission of what costs nothing."""
    return services.gate.free(visitor.caller, "collections", role=role)


async def show(services: Services, asked: IncomingRequest) -> Reply:
    """`GET`."""
    args = asked.args
    visitor = await visitor_of(services, asked, args.get("customer_id"))
    async with free(services, visitor, "viewer") as ticket:
        ticket.end_reason = "released"
        if not args.get("name"):
            return json_reply(await listed(services, ticket, args), 200, call_headers(ticket))
        collection = await collection_of(services, visitor, args["name"])
        if truthy(args.get("export")):
            return exported(services.searches, collection, call_headers(ticket))
        if args.get("doc_id"):
            reply = await one_document(services, collection, args)
        elif truthy(args.get("documents")):
            reply = await documents_page(services, collection, args)
        else:
            reply = await statistics(services, visitor, collection)
    return json_reply({"ok": True} | reply, 200, call_headers(ticket))


def truthy(text: str | None) -> bool:
    """Whether a field of the query says yes."""
    return text is not None and text.lower() in ("1", "true", "yes", "y", "on")


async def collection_of(services: Services, visitor: CollectionCaller, given: Any) -> Collection:
    """The collection that is named. Raises `UnknownCollection`."""
    name = collection_name(given, "name")
    found = await looked_up(services.pool, visitor.caller, name)
    if found is None:
        raise unknown(name)
    return found


async def listed(services: Services, ticket: Ticket, args: dict[str, str]) -> dict[str, Any]:
    """All that the key may see, by name, in pages."""
    key_id = ticket.verdict.key_id
    assert key_id is not None
    limit = Fields(numbers(args)).whole("limit", 1, MOST_LISTED) or MOST_LISTED
    after = args.get("after", "")
    if not storable(after) or len(after) > MOST_NAME:
        raise Unprocessable("`after` is no collection's name", field="after")
    customer_id = ticket.verdict.customer_id
    assert customer_id is not None
    rows = await contents.collections_of(services.searches, customer_id, key_id, after=after, limit=limit + 1)
    shown = rows[:limit]
    return {
        "ok": True,
        "collections": [collection_reply(services.catalog, row) for row in shown],
        "next_after": shown[-1].name if len(rows) > limit else None,
    }


def numbers(args: dict[str, str]) -> dict[str, Any]:
    """The query's fields, with numbers as such."""
    return {
        name: int(text) if text.isascii() and text.isdigit() and len(text) < 10 else text for name, text in args.items()
    }


async def statistics(services: Services, visitor: CollectionCaller, collection: Collection) -> dict[str, Any]:
    """What one holds, and how far it is on its way to another model."""
    work = await contents.progress_of(services.searches, collection)
    if work is not None and work.state == "done":  # its new copy may have taken its place since it was looked up
        collection = await collection_of(services, visitor, collection.name)
    content = await contents.content_of(services.searches, collection)
    shown = collection_reply(services.catalog, collection) | {
        "documents": content.documents,
        "text_bytes": content.text_bytes,
    }
    if work is not None:
        shown["reembedding"] = progress_reply(services.catalog, work)
    return {"collection": shown}


async def one_document(services: Services, collection: Collection, args: dict[str, str]) -> dict[str, Any]:
    """A document, whole, with its chunks."""
    doc_id = doc_id_of(args["doc_id"], "doc_id")
    chunks = await contents.document(services.searches, collection, doc_id)
    if not chunks:
        raise no_document(collection, doc_id)
    return {"collection": collection.name, "document": document_reply(chunks, vectors=truthy(args.get("vectors")))}


async def documents_page(services: Services, collection: Collection, args: dict[str, str]) -> dict[str, Any]:
    """Pieces by id and chunk, in pages."""
    fields = Fields(numbers(args))
    limit = fields.whole("limit", 1, MOST_PAGE) or 50
    after = args.get("after", "")
    chunk = fields.whole("after_chunk", 0, 10**9)
    if not storable(after) or len(after) > MOST_DOC_ID:
        raise Unprocessable("`after` is no document's id", field="after")
    if after and chunk is None:
        chunk = 10**9  # behind all chunks of that document
    start = (after, -1 if chunk is None else chunk)
    rows, is_more = await contents.pieces(services.searches, collection, after=start, limit=limit)
    return {"collection": collection.name} | page_reply(rows, is_more=is_more)


async def make(services: Services, asked: IncomingRequest) -> Reply:
    """`POST`."""
    args = asked.args
    if truthy(args.get("import")):
        visitor = await visitor_of(services, asked, args.get("customer_id"))
        return await imported(services, visitor, asked, collection_name(args.get("name"), "name"))
    body = json_object(asked.body)
    visitor = await visitor_of(services, asked, body.get("customer_id") or args.get("customer_id"))
    if "reembed" in body:
        return await reembed(services, visitor, body)
    return await created(services, visitor, body)


async def rename(services: Services, asked: IncomingRequest) -> Reply:
    """`PATCH`."""
    args, body = asked.args, json_object(asked.body)
    visitor = await visitor_of(services, asked, body.get("customer_id") or args.get("customer_id"))
    name = collection_name(body.get("name") or args.get("name"), "name")
    new_name = collection_name(body.get("new_name"), "new_name")
    async with free(services, visitor, "deployer") as ticket:
        ticket.end_reason = "released"
        collection = await collection_of(services, visitor, name)
        key_id = ticket.verdict.key_id
        assert key_id is not None
        who = acting(asked, visitor, ticket)
        after = await rename_collection(services.searches, collection, new_name, who, key_id=key_id)
    return json_reply({"ok": True, "collection": collection_reply(services.catalog, after)}, 200, call_headers(ticket))


async def remove(services: Services, asked: IncomingRequest) -> Reply:
    """`DELETE`. What is not there is as good as removed."""
    args = asked.args
    visitor = await visitor_of(services, asked, args.get("customer_id"))
    name = collection_name(args.get("name"), "name")
    async with free(services, visitor, "deployer") as ticket:
        ticket.end_reason = "released"
        collection = await looked_up(services.pool, visitor.caller, name)
        who = acting(asked, visitor, ticket)
        if truthy(args.get("reembed")):
            if collection is None:
                raise unknown(name)
            reply: dict[str, Any] = {"cancelled": await cancel_reembedding(services.searches, collection, who)}
        elif args.get("doc_id"):
            doc_id = doc_id_of(args["doc_id"], "doc_id")
            removed = 0 if collection is None else await delete_document(services.searches, collection, doc_id, who)
            reply = {"deleted": doc_id, "vectors": removed}
        else:
            removed = 0 if collection is None else await delete_collection(services.searches, collection, who)
            reply = {"deleted": name, "vectors": removed}
    return json_reply({"ok": True, **reply}, 200, call_headers(ticket))


def acting(asked: IncomingRequest, visitor: CollectionCaller, ticket: Ticket) -> Acting:
    """Who makes a change, for the audit log."""
    who = "admin" if visitor.is_operator else f"key:{ticket.verdict.key_id}"
    return Acting(who, asked.request_id)


def no_document(collection: Collection, doc_id: str) -> UnknownDocument:
    """The error for a document that is not there."""
    return UnknownDocument(f"collection `{collection.name}` has no document `{doc_id[:80]}`", field="doc_id")
