"""The documents of a collection: a list, a search by id, one document, and its deletion."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from kaixu.accounts.operator_identity import COLLECTIONS
from kaixu.edge.response import Reply
from kaixu.edge.routes import Route
from kaixu.web.api_calls import ApiFailure, QueryValue
from kaixu.web.components import (
    Button,
    Card,
    Code,
    Column,
    Empty,
    Facts,
    Field,
    Form,
    Link,
    Notice,
    Number,
    Page,
    Part,
    Row,
    Snippet,
    Table,
    Time,
)
from kaixu.web.formats import sentence
from kaixu.web.site import Site
from kaixu.web.twins import curl_of, twins_of
from kaixu.web.visits import Visit

from .collection_paths import (
    COLLECTION,
    DELETE_DOCUMENT,
    DOCUMENT,
    DOCUMENTS,
    FUNCTION,
    IMPORT,
    SEARCH,
    TAB,
    query_of,
    where,
)
from .embedding_forms import MOST_PREVIEW, preview

LIMIT = 50
MOST_ID = 200


def document_pages(site: Site) -> list[Route]:
    """The routes of documents."""
    return [
        *site.operator_page(DOCUMENTS, documents, tab=TAB, twin=list_of),
        *site.operator_page(DOCUMENT, document, tab=TAB, twin=one_of),
        *site.operator_page(DELETE_DOCUMENT, delete, tab=TAB, access=COLLECTIONS, posts=True),
    ]


def list_of(visit: Visit) -> tuple[str, Mapping[str, QueryValue]]:
    """The endpoint of the list."""
    more = {name: visit.query.get(name) for name in ("after", "after_chunk")}
    return FUNCTION, where(visit, documents=True, limit=LIMIT, **more)


def one_of(visit: Visit) -> tuple[str, Mapping[str, QueryValue]]:
    """The endpoint of one document."""
    return FUNCTION, where(visit, doc_id=visit.query.get("doc_id"))


async def documents(visit: Visit) -> Page | Reply:
    """The list, by id."""
    name, query = list_of(visit)
    reply = await visit.api.get(name, **query)
    at = where(visit, name=reply["collection"])
    find = Form(
        action=DOCUMENT,
        method="get",
        inline=True,
        submit="Show",
        id="find-document",
        hidden=query_of(at),
        fields=[Field(name="doc_id", label="Doc ID", type="search", maxlength=MOST_ID, placeholder="doc-001")],
    )
    return Page(
        title=f"Documents of {reply['collection']}",
        subtitle="By id; long documents have several pieces.",
        parts=[find, document_table(visit, reply, at)],
        actions=[
            Link("Collection", visit.url(COLLECTION, **at), icon="layers"),
            *([Link("Search", visit.url(SEARCH, **at), icon="search")] if visit.may(COLLECTIONS) else []),
        ],
        twins=twins_of(visit),
        curl=curl_of(visit, name, query),
    )


def document_table(visit: Visit, reply: Mapping[str, Any], at: Mapping[str, QueryValue]) -> Table:
    """The pieces, each with its document."""
    following = reply["next"]
    next_href = visit.changed(**following) if following else ""
    rows = [
        Row(
            href=visit.url(DOCUMENT, **at, doc_id=one["doc_id"]),
            cells=[
                one["doc_id"],
                Number(one["chunk"]),
                preview(one["text"]),
                Code(json.dumps(one["metadata"], ensure_ascii=False)[:MOST_PREVIEW]) if one["metadata"] else "",
                Time(one["updated_at"], form="ago"),
            ],
            actions=[Link("Delete", visit.url(DELETE_DOCUMENT, **at, doc_id=one["doc_id"]))]
            if visit.may(COLLECTIONS)
            else [],
        )
        for one in reply["documents"]
    ]
    return Table(
        id="documents",
        caption="Documents",
        columns=[
            Column(title="Doc ID"),
            Column(title="Piece", align="right"),
            Column(title="Text (preview)", wide=True),
            Column(title="Metadata", phone=False),
            Column(title="Last updated", phone=False),
        ],
        rows=rows,
        next_href=next_href,
        first_href=visit.changed(after=None, after_chunk=None) if visit.query.get("after") else "",
        empty=Empty(text="This collection has no documents.", link=Link("Import some", visit.url(IMPORT, **at))),
    )


async def document(visit: Visit) -> Page | Reply:
    """One document, whole."""
    name, query = one_of(visit)
    at = where(visit)
    try:
        reply = await visit.api.get(name, **query)
    except ApiFailure as failure:
        if failure.code != "UNKNOWN_DOCUMENT":
            raise
        back = Link("All documents", visit.url(DOCUMENTS, **at))
        notice = Notice(state="warn", text=sentence(failure.message), hint="Ids are compared exactly.", actions=[back])
        return Page(title="No such document", parts=[notice], status=404)
    one = reply["document"]
    chunks = one["chunks"]
    parts: list[Part] = [
        Facts(
            [
                ("Collection", Link(reply["collection"], visit.url(COLLECTION, **at))),
                ("Pieces", Number(len(chunks))),
                ("Characters", Number(len(one["text"]))),
                ("Created", Time(one["created_at"])),
                ("Last updated", Time(one["updated_at"])),
            ]
        ),
        Snippet(one["text"], title="Text"),
        Snippet(json.dumps(one["metadata"], ensure_ascii=False, indent=2), title="Metadata", language="JSON"),
    ]
    if len(chunks) > 1:
        rows = [Row(cells=[piece["chunk"], piece["starts_at"], preview(piece["text"])]) for piece in chunks]
        columns = [Column(title="Piece"), Column(title="Starts at"), Column(title="Text (preview)", wide=True)]
        parts.append(Card("Pieces", [Table(id="pieces", caption="Pieces", columns=columns, rows=rows)], open=False))
    actions: list[Link | Button | Form] = []
    if visit.may(COLLECTIONS):
        to_delete = visit.url(DELETE_DOCUMENT, **at, doc_id=one["doc_id"])
        actions.append(Link("Delete", to_delete, icon="trash-2"))
    return Page(
        title=one["doc_id"],
        subtitle="Document",
        parts=parts,
        actions=actions,
        twins=twins_of(visit),
        curl=curl_of(visit, name, query),
    )


async def delete(visit: Visit) -> Page | Reply:
    """Says what will be gone, and deletes a document."""
    at = where(visit)
    doc_id = visit.query.get("doc_id", "")
    if visit.is_post:
        await visit.api.reply("DELETE", FUNCTION, query={**at, "doc_id": doc_id})
        return visit.redirect(DOCUMENTS, **at)
    one = (await visit.api.get(FUNCTION, **at, doc_id=doc_id))["document"]
    count = len(one["chunks"])
    text = f"{one['doc_id']} and its {count:,} {'vector' if count == 1 else 'vectors'} will be deleted."
    form = Form(
        action=visit.url(DELETE_DOCUMENT, **at, doc_id=doc_id),
        fields=[],
        submit="Delete the document",
        style="danger",
        cancel=Link("Keep it", visit.url(DOCUMENT, **at, doc_id=doc_id)),
    )
    shown = Snippet(preview(one["text"]), title="Text")
    return Page(title="Delete this document?", parts=[Notice(state="warn", text=text), shown, form])
