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
from kaixu.edge.request import Incoming
from kaixu.edge.response import Reply, json_reply
from kaixu.edge.services import Core
from kaixu.metering.admission import Admission
from kaixu.metering.ticket import Ticket
from kaixu.plugin.errors import UnknownDocument, Unprocessable
from kaixu.plugin.operation import Rank

from .access import Visitor, key_or_operator, visitor_of
from .export import exported
from .fields import MOST_DOC_ID, collection_name, doc_id_of
from .importing import imported
from .making import created, reembed
from .shape import collection_reply, document_reply, page_reply, progress_reply

MOST_LISTED = 200
MOST_PAGE = 200


def collections_door(core: Core) -> Door:
    """The door, bound to one gateway."""
    by_method = {"GET": show, "POST": make, "PATCH": rename, "DELETE": remove}

    async def serve(asked: Incoming) -> Reply:
        return await by_method[asked.method](core, asked)

    return Door(
        serve,
        paths_of("gateway-embed-collections"),
        methods=("GET", "POST", "PATCH", "DELETE"),
        credential=key_or_operator(core),
        rate="call",
    )


def free(core: Core, visitor: Visitor, role: Rank) -> Admission:
    """Admission of what costs nothing."""
    return core.gate.free(visitor.caller, "collections", role=role)


async def show(core: Core, asked: Incoming) -> Reply:
    """`GET`."""
    args = asked.args
    visitor = await visitor_of(core, asked, args.get("customer_id"))
    async with free(core, visitor, "viewer") as ticket:
        ticket.end_reason = "released"
        if not args.get("name"):
            return json_reply(await listed(core, ticket, args), 200, call_headers(ticket))
        collection = await collection_of(core, visitor, args["name"])
        if truthy(args.get("export")):
            return exported(core.searches, collection, call_headers(ticket))
        if args.get("doc_id"):
            reply = await one_document(core, collection, args)
        elif truthy(args.get("documents")):
            reply = await documents_page(core, collection, args)
        else:
            reply = await statistics(core, visitor, collection)
    return json_reply({"ok": True} | reply, 200, call_headers(ticket))


def truthy(text: str | None) -> bool:
    """Whether a field of the query says yes."""
    return text is not None and text.lower() in ("1", "true", "yes", "y", "on")


async def collection_of(core: Core, visitor: Visitor, given: Any) -> Collection:
    """The collection that is named. Raises `UnknownCollection`."""
    name = collection_name(given, "name")
    found = await looked_up(core.pool, visitor.caller, name)
    if found is None:
        raise unknown(name)
    return found


async def listed(core: Core, ticket: Ticket, args: dict[str, str]) -> dict[str, Any]:
    """All that the key may see, by name, in pages."""
    key_id = ticket.verdict.key_id
    assert key_id is not None
    limit = Fields(numbers(args)).whole("limit", 1, MOST_LISTED) or MOST_LISTED
    after = args.get("after", "")
    if not storable(after) or len(after) > MOST_NAME:
        raise Unprocessable("`after` is no collection's name", field="after")
    customer_id = ticket.verdict.customer_id
    assert customer_id is not None
    rows = await contents.collections_of(core.searches, customer_id, key_id, after=after, limit=limit + 1)
    shown = rows[:limit]
    return {
        "ok": True,
        "collections": [collection_reply(core.catalog, row) for row in shown],
        "next_after": shown[-1].name if len(rows) > limit else None,
    }


def numbers(args: dict[str, str]) -> dict[str, Any]:
    """The query's fields, with numbers as such."""
    return {
        name: int(text) if text.isascii() and text.isdigit() and len(text) < 10 else text for name, text in args.items()
    }


async def statistics(core: Core, visitor: Visitor, collection: Collection) -> dict[str, Any]:
    """What one holds, and how far it is on its way to another model."""
    work = await contents.progress_of(core.searches, collection)
    if work is not None and work.state == "done":  # its new copy may have taken its place since it was looked up
        collection = await collection_of(core, visitor, collection.name)
    content = await contents.content_of(core.searches, collection)
    shown = collection_reply(core.catalog, collection) | {
        "documents": content.documents,
        "text_bytes": content.text_bytes,
    }
    if work is not None:
        shown["reembedding"] = progress_reply(core.catalog, work)
    return {"collection": shown}


async def one_document(core: Core, collection: Collection, args: dict[str, str]) -> dict[str, Any]:
    """A document, whole, with its chunks."""
    doc_id = doc_id_of(args["doc_id"], "doc_id")
    chunks = await contents.document(core.searches, collection, doc_id)
    if not chunks:
        raise no_document(collection, doc_id)
    return {"collection": collection.name, "document": document_reply(chunks, vectors=truthy(args.get("vectors")))}


async def documents_page(core: Core, collection: Collection, args: dict[str, str]) -> dict[str, Any]:
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
    rows, is_more = await contents.pieces(core.searches, collection, after=start, limit=limit)
    return {"collection": collection.name} | page_reply(rows, is_more=is_more)


async def make(core: Core, asked: Incoming) -> Reply:
    """`POST`."""
    args = asked.args
    if truthy(args.get("import")):
        visitor = await visitor_of(core, asked, args.get("customer_id"))
        return await imported(core, visitor, asked, collection_name(args.get("name"), "name"))
    body = json_object(asked.body)
    visitor = await visitor_of(core, asked, body.get("customer_id") or args.get("customer_id"))
    if "reembed" in body:
        return await reembed(core, visitor, body)
    return await created(core, visitor, body)


async def rename(core: Core, asked: Incoming) -> Reply:
    """`PATCH`."""
    args, body = asked.args, json_object(asked.body)
    visitor = await visitor_of(core, asked, body.get("customer_id") or args.get("customer_id"))
    name = collection_name(body.get("name") or args.get("name"), "name")
    new_name = collection_name(body.get("new_name"), "new_name")
    async with free(core, visitor, "deployer") as ticket:
        ticket.end_reason = "released"
        collection = await collection_of(core, visitor, name)
        key_id = ticket.verdict.key_id
        assert key_id is not None
        who = acting(asked, visitor, ticket)
        after = await rename_collection(core.searches, collection, new_name, who, key_id=key_id)
    return json_reply({"ok": True, "collection": collection_reply(core.catalog, after)}, 200, call_headers(ticket))


async def remove(core: Core, asked: Incoming) -> Reply:
    """`DELETE`. What is not there is as good as removed."""
    args = asked.args
    visitor = await visitor_of(core, asked, args.get("customer_id"))
    name = collection_name(args.get("name"), "name")
    async with free(core, visitor, "deployer") as ticket:
        ticket.end_reason = "released"
        collection = await looked_up(core.pool, visitor.caller, name)
        who = acting(asked, visitor, ticket)
        if truthy(args.get("reembed")):
            if collection is None:
                raise unknown(name)
            reply: dict[str, Any] = {"cancelled": await cancel_reembedding(core.searches, collection, who)}
        elif args.get("doc_id"):
            doc_id = doc_id_of(args["doc_id"], "doc_id")
            removed = 0 if collection is None else await delete_document(core.searches, collection, doc_id, who)
            reply = {"deleted": doc_id, "vectors": removed}
        else:
            removed = 0 if collection is None else await delete_collection(core.searches, collection, who)
            reply = {"deleted": name, "vectors": removed}
    return json_reply({"ok": True, **reply}, 200, call_headers(ticket))


def acting(asked: Incoming, visitor: Visitor, ticket: Ticket) -> Acting:
    """Who makes a change, for the audit log."""
    who = "admin" if visitor.is_operator else f"key:{ticket.verdict.key_id}"
    return Acting(who, asked.request_id)


def no_document(collection: Collection, doc_id: str) -> UnknownDocument:
    """The error for a document that is not there."""
    return UnknownDocument(f"collection `{collection.name}` has no document `{doc_id[:80]}`", field="doc_id")
