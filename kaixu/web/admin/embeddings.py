"""The tab of embeddings: a customer's collections, with forms to embed, search and import, and the month's usage."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from kaixu.accounts.operator_identity import COLLECTIONS
from kaixu.edge.response import Reply
from kaixu.edge.routes import Route
from kaixu.web.api_calls import ApiFailure, QueryValue
from kaixu.web.call_cells import cents_cell
from kaixu.web.components import (
    Button,
    Card,
    Column,
    Empty,
    Field,
    Form,
    Link,
    Money,
    Notice,
    Number,
    Page,
    Part,
    Prose,
    Row,
    Stat,
    Stats,
    Table,
    Time,
)
from kaixu.web.lists import pages_of
from kaixu.web.navigation import TABS
from kaixu.web.site import Site
from kaixu.web.twins import curl_of, twins_of
from kaixu.web.visits import Visit

from .choose_customer import choose_customer
from .collection_paths import COLLECTION, CREATE, DOCUMENTS, EXPORT, FUNCTION, IMPORT, PURGE, who_pays
from .embedding_forms import embedding_models, generate_form, search_form
from .usage_calls import CALL

TAB = TABS["embeddings"]
LIMIT = 50
SHOWN_CALLS = 25

DONE = {
    "purged": "The collection and all its vectors are gone.",
    "created": "The collection is created. It is empty until you embed or import something.",
}


def embedding_pages(site: Site) -> list[Route]:
    """The routes of the tab."""
    return site.operator_page(TAB.path, embeddings, tab=TAB, twin=list_of)


def list_of(visit: Visit) -> tuple[str, Mapping[str, QueryValue]]:
    """The endpoint of the list."""
    return FUNCTION, {"customer_id": visit.customer_id, "limit": LIMIT, "after": visit.query.get("after")}


async def embeddings(visit: Visit) -> Page | Reply:
    """The tab."""
    if visit.customer is None:
        why = "Collections belong to a customer. What you embed, search and import here, it pays."
        parts: list[Part] = [await choose_customer(visit, why), architecture()]
        return Page(title=TAB.title, subtitle="Vectors, collections, and search by meaning.", parts=parts)
    usage = await visit.api.get("admin-embed-usage", customer_id=visit.customer_id, month=visit.query.get("month"))
    name, query = list_of(visit)
    try:
        reply = await visit.api.get(name, **query)
    except ApiFailure as failure:
        if failure.code != "NO_LIVE_KEY":
            raise
        way = Link("Create a key", visit.url(TABS["keys"].path, customer_id=visit.customer_id))
        text = f"{visit.customer['email']} has no key, and collections are used with one."
        return Page(title=TAB.title, parts=[Notice(state="warn", text=text, actions=[way]), usage_card(visit, usage)])
    return Page(
        title=TAB.title,
        subtitle=f"Collections of {visit.customer['email']}. {who_pays()}",
        parts=await tab_parts(visit, reply, usage),
        actions=tab_actions(visit),
        twins=twins_of(visit),
        curl=curl_of(visit, name, query),
    )


async def tab_parts(visit: Visit, reply: Mapping[str, Any], usage: Mapping[str, Any]) -> list[Part]:
    """Collections, search, generation, usage, and how it works."""
    parts: list[Part] = []
    if (done := DONE.get(visit.query.get("done", ""))) is not None:
        parts.append(Notice(state="good", text=done))
    collections = reply["collections"]
    parts.append(collection_table(visit, reply))
    if visit.may(COLLECTIONS):
        names = [one["name"] for one in collections]
        models = await embedding_models(visit)
        if names:
            text = "The query is embedded with the collection's own model and compared with each vector."
            parts.append(Card("Semantic search", [search_form(visit, names)], subtitle=text))
        text = "Each line becomes a vector, and is stored if you name a collection."
        parts.append(Card("Generate embeddings", [generate_form(visit, models, names)], subtitle=text))
    return [*parts, usage_card(visit, usage), architecture()]


def tab_actions(visit: Visit) -> list[Link | Button | Form]:
    """What can be done besides."""
    if not visit.may(COLLECTIONS):
        return []
    return [
        Link("New collection", visit.url(CREATE, customer_id=visit.customer_id), icon="plus"),
        Link("Import", visit.url(IMPORT, customer_id=visit.customer_id), icon="upload"),
    ]


def collection_table(visit: Visit, reply: Mapping[str, Any]) -> Table:
    """The collections."""
    following, first = pages_of(visit, reply["next_after"], "after")
    return Table(
        id="collections",
        caption="Collections",
        columns=[
            Column(title="Collection", wide=True),
            Column(title="Vectors", align="right"),
            Column(title="Dimensions", align="right"),
            Column(title="Model"),
            Column(title="Created", phone=False),
            Column(title="Last updated"),
        ],
        rows=[collection_row(visit, one) for one in reply["collections"]],
        next_href=following,
        first_href=first,
        empty=Empty(
            text="There are no collections yet. A collection is a set of texts with their vectors, all of one model, "
            "such as support-docs or product-catalog.",
            link=Link("Import texts", visit.url(IMPORT, customer_id=visit.customer_id))
            if visit.may(COLLECTIONS)
            else None,
        ),
        note="A collection remembers its model and length, so a query can never be embedded with another one.",
    )


def collection_row(visit: Visit, one: Mapping[str, Any]) -> Row:
    """A collection. A click opens its statistics."""
    at = {"customer_id": visit.customer_id, "name": one["name"]}
    actions: list[Button | Link] = [
        Link("Documents", visit.url(DOCUMENTS, **at)),
        Link("Export", visit.url(EXPORT, **at), download=True),
    ]
    if visit.may(COLLECTIONS):
        actions.append(Link("Purge", visit.url(PURGE, **at)))
    return Row(
        id=f"collection-{one['name']}",
        href=visit.url(COLLECTION, **at),
        cells=[
            one["name"],
            Number(one["vectors"]),
            Number(one["dimensions"]),
            f"{one['provider']}/{one['model']}",
            Time(one["created_at"], form="date"),
            Time(one["updated_at"], form="ago"),
        ],
        actions=actions,
    )


def usage_card(visit: Visit, usage: Mapping[str, Any]) -> Card:
    """The month's embeddings and searches."""
    totals = usage["totals"]
    figures = Stats(
        [
            Stat("Embed calls", Number(totals["embed_calls"]), note="imports with vectors included"),
            Stat("Searches", Number(totals["search_calls"])),
            Stat("Vectors", Number(totals["vectors"]), note=f"{totals['vectors_stored']:,} stored"),
            Stat("Tokens", Number(totals["tokens"])),
            Stat("Cost", Money(totals["cost_usd"])),
        ]
    )
    filters = Form(
        action=visit.path,
        method="get",
        inline=True,
        submit="Show",
        id="month",
        hidden={"customer_id": str(visit.customer_id)},
        fields=[Field(name="month", label="Month (UTC)", type="month", value=usage["month"])],
    )
    events = usage["events"]
    shown = events if visit.query.get("calls") == "all" else events[:SHOWN_CALLS]
    more = [Link(f"Show {len(events)} calls", visit.changed(calls="all"))] if len(shown) < len(events) else []
    return Card("Embeddings usage", [filters, figures, usage_table(visit, shown), *more])


def usage_table(visit: Visit, events: Sequence[Mapping[str, Any]]) -> Table:
    """The newest calls of the month."""
    rows = [
        Row(
            href=visit.url(CALL, event=one["request_id"]),
            cells=[
                Time(one["created_at"]),
                one["operation"] if one["end"] == "complete" else f"{one['operation']} ({one['end']})",
                one["provider"],
                one["model"],
                Number(one["vectors"] or one["vectors_stored"]),
                Number(one["tokens"]),
                cents_cell(one["cost_usd"], one["cost_cents"]),
            ],
        )
        for one in events
    ]
    columns = [
        Column(title="Time"),
        Column(title="Operation"),
        Column(title="Provider"),
        Column(title="Model", wide=True),
        Column(title="Vectors", align="right"),
        Column(title="Tokens", align="right"),
        Column(title="Cost", align="right", hint="In dollars, exact on hover, and in cents"),
    ]
    return Table(
        id="embed-usage",
        caption="Calls",
        columns=columns,
        rows=rows,
        empty=Empty(text="Nothing was embedded or searched in this month."),
        note="The newest 200 of the month." if len(rows) >= 200 else "",
    )


def architecture() -> Prose:
    """How it works, for whoever explains it to a client."""
    return Prose(
        tip=True,
        paragraphs=[
            "Clients send texts and questions to this gateway and nothing to a vendor of embeddings. The gateway "
            "chooses the lane, counts the tokens and bills them to the key, keeps the vectors in its own Postgres "
            "with pgvector, and compares them there by cosine similarity. One key and one bill cover embedding, "
            "storing, searching and the chat that answers from what was found.",
            "To ground a chat, send retrieve with the name of a collection in gateway-chat: the gateway searches for "
            "the question and gives the model the passages, numbered, and the reply cites them. The playground has a "
            "field for it.",
        ],
    )
