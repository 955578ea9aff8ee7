"""Embedding texts and searching a collection in a customer's name: the forms, and what they give."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from kaixu.accounts.operator_identity import COLLECTIONS
from kaixu.edge.response import Reply
from kaixu.edge.routes import Route
from kaixu.plugin.errors import Unprocessable
from kaixu.web.api_calls import ApiFailure
from kaixu.web.components import (
    Card,
    Cell,
    Code,
    Column,
    Empty,
    Facts,
    Field,
    Form,
    Link,
    Money,
    Number,
    Option,
    Page,
    Part,
    Row,
    Snippet,
    Table,
)
from kaixu.web.form_data import FormData, filled_again, shown_again
from kaixu.web.playground.form import name_of
from kaixu.web.playground.request import json_of_field
from kaixu.web.site import Site
from kaixu.web.visits import Visit

from .collection_paths import DOCUMENT, GENERATE, SEARCH, TAB, where, who_pays

#: A form is at most 64 KiB; longer texts come by an import.
MOST_TEXT = 16_000
MOST_PREVIEW = 240
SHOWN_NUMBERS = 8


def embedding_form_pages(site: Site) -> list[Route]:
    """The routes of both forms."""
    return [
        *site.operator_page(GENERATE, generate, tab=TAB, access=COLLECTIONS, posts=True),
        *site.operator_page(SEARCH, search, tab=TAB, access=COLLECTIONS, posts=True),
    ]


async def embedding_models(visit: Visit) -> list[Mapping[str, Any]]:
    """The embedding models that the customer's oldest key may use."""
    found = await visit.api.get("admin-models", customer_id=visit.customer_id)
    return [one for one in found["models"] if one["kaixu"]["type"] == "embed"]


def model_options(models: Sequence[Mapping[str, Any]]) -> list[Option]:
    """Embedding models with their length and price."""
    return [
        Option(
            name_of(one),
            f"{one['kaixu']['model']} · {one['kaixu'].get('dimensions', '?')} dimensions · "
            f"${one['kaixu']['price_usd_per_million_tokens']['input']}",
            one["kaixu"]["provider"],
        )
        for one in models
    ]


def generate_form(visit: Visit, models: Sequence[Mapping[str, Any]], names: Sequence[str]) -> Form:
    """Texts to embed, and where to store them."""
    return Form(
        id="generate",
        action=visit.url(GENERATE, customer_id=visit.customer_id),
        submit="Embed",
        fields=[
            Field(name="model", label="Model", type="select", options=model_options(models), required=True,
                  hint="The price is USD per million tokens."),
            Field(name="input", label="Texts, one a line", type="textarea", rows=4, required=True, maxlength=MOST_TEXT,
                  placeholder="Rome is the capital of Italy."),
            Field(name="collection", label="Store in collection", maxlength=120, suggestions=list(names),
                  hint="Empty: the vectors are only shown. A new name makes a collection."),
        ],
        more_title="Ids, metadata, dimensions",
        more=[
            Field(name="doc_ids", label="Doc IDs, one a line", type="textarea", rows=3, maxlength=MOST_TEXT,
                  hint="As many as there are texts; an id that exists is replaced. Empty: ids are generated."),
            Field(name="metadata", label="Metadata", type="textarea", rows=3, maxlength=4000,
                  placeholder='{"category": "docs"}', hint="A JSON object for all texts, or a list with one for each."),
            Field(name="dimensions", label="Dimensions", type="number", min="1", step="1",
                  hint="Shorter vectors, where the model can. Empty: the model's own length."),
        ],
    )  # fmt: skip


async def generate(visit: Visit) -> Page | Reply:
    """The form, and the vectors."""
    where(visit)
    models = await embedding_models(visit)
    form = generate_form(visit, models, [])
    if not visit.is_post:
        return generate_page(form, [])
    try:
        reply = await visit.api.send("POST", "gateway-embed", embed_body(visit.form, visit.customer_id))
    except (ApiFailure, Unprocessable) as error:
        return generate_page(shown_again(form, visit.form, error), [], status=error.status)
    return generate_page(filled_again(form, visit.form), embed_parts(visit, reply))


def embed_body(form: FormData, customer_id: int | None) -> dict[str, Any]:
    """The body of `gateway-embed`. Raises `Unprocessable`."""
    texts = [line for line in form.raw("input").split("\n") if line.strip()]
    body: dict[str, Any] = {"customer_id": customer_id, "model": form.get("model"), "input": texts}
    body["include_embeddings"] = True
    if collection := form.get("collection"):
        body |= {"collection": collection, "store": True}
    if ids := [line.strip() for line in form.raw("doc_ids").split("\n") if line.strip()]:
        body["doc_ids"] = ids
    metadata = form.raw("metadata").strip()
    if metadata:
        kind: type[Any] = list if metadata.startswith("[") else dict
        body["metadata"] = json_of_field(form, "metadata", kind)
    if (dimensions := form.number("dimensions")) is not None:
        body["dimensions"] = dimensions
    return body


def embed_parts(visit: Visit, reply: Mapping[str, Any]) -> list[Part]:
    """What an embedding gave."""
    texts = [line for line in visit.form.raw("input").split("\n") if line.strip()]
    ids = reply.get("doc_ids") or ["not stored"] * len(texts)
    items: list[tuple[str, Cell]] = [
        ("Model", f"{reply['provider']}/{reply['model']}, {reply['dimensions']} dimensions"),
        ("Tokens", Number(reply["usage"]["input_tokens"])),
        ("Cost", Money(reply["usage"]["cost_usd"])),
        ("Exactly", Code(f"{reply['usage']['cost_usd']} USD")),
    ]
    if "stored" in reply:
        items.append(("Stored", f"{reply['stored']} in {reply['collection']}, {reply['replaced']} replaced"))
    rows = [
        Row(cells=[doc_id, text[:MOST_PREVIEW], Code(numbers(vector), copy=True, value=json.dumps(vector))])
        for doc_id, text, vector in zip(ids, texts, reply["embeddings"], strict=False)
    ]
    columns = [Column(title="Doc ID"), Column(title="Text (preview)", wide=True), Column(title="Vector")]
    return [Card("Result", [Facts(items), Table(id="vectors", caption="Vectors", columns=columns, rows=rows)])]


def numbers(vector: Sequence[float]) -> str:
    """The first numbers of a vector."""
    first = ", ".join(f"{one:.4f}" for one in vector[:SHOWN_NUMBERS])
    return f"{first}, …" if len(vector) > SHOWN_NUMBERS else first


def generate_page(form: Form, results: Sequence[Part], *, status: int = 200) -> Page:
    """The page of the form."""
    return Page(
        title="Generate embeddings", subtitle=who_pays(), parts=[*results, Card("Texts", [form])], status=status
    )


def search_form(visit: Visit, names: Sequence[str]) -> Form:
    """A question, and how to search for it."""
    return Form(
        id="search",
        action=visit.url(SEARCH, customer_id=visit.customer_id),
        submit="Search",
        fields=[
            Field(name="query", label="Query", required=True, maxlength=2000, wide=True,
                  placeholder="How do I reset my password?"),
            Field(name="collection", label="Collection", required=True, maxlength=120, suggestions=list(names),
                  value=visit.query.get("name") or (names[0] if names else "")),
            Field(name="top_k", label="Top K", type="number", min="1", max="100", step="1", value="8"),
            Field(name="threshold", label="Threshold", type="number", min="-1", max="1", step="0.01",
                  placeholder="none", hint="Leaves out lower scores: 1 is the same direction, 0 unrelated."),
        ],
        more_title="Filter, words, whole documents",
        more=[
            Field(name="filter", label="Filter on metadata", type="textarea", rows=3, maxlength=4000,
                  placeholder='{"category": "docs", "year": {"$gte": 2024}}', hint="A JSON object."),
            Field(name="hybrid", label="Search for the words, too", type="checkbox",
                  hint="Finds names and codes that models do not know."),
            Field(name="parent", label="Whole documents", type="checkbox",
                  hint="Of the best pieces, each document once."),
        ],
    )  # fmt: skip


async def search(visit: Visit) -> Page | Reply:
    """The form, and what was found."""
    where(visit)
    form = search_form(visit, [])
    if not visit.is_post:
        return search_page(form, [])
    try:
        reply = await visit.api.send("POST", "gateway-embed-search", search_body(visit.form, visit.customer_id))
    except (ApiFailure, Unprocessable) as error:
        return search_page(shown_again(form, visit.form, error), [], status=error.status)
    return search_page(filled_again(form, visit.form), search_parts(visit, reply))


def search_body(form: FormData, customer_id: int | None) -> dict[str, Any]:
    """The body of `gateway-embed-search`. Raises `Unprocessable`."""
    body: dict[str, Any] = {"customer_id": customer_id}
    body |= {"query": form.get("query"), "collection": form.get("collection")}
    if (top_k := form.number("top_k")) is not None:
        body["top_k"] = top_k
    if text := form.get("threshold"):
        try:
            body["threshold"] = float(text)
        except ValueError:
            raise Unprocessable("this must be a number from -1 to 1", field="threshold") from None
    if (conditions := json_of_field(form, "filter", dict)) is not None:
        body["filter"] = conditions
    return body | {name: True for name in ("hybrid", "parent") if form.has(name)}


def search_parts(visit: Visit, reply: Mapping[str, Any]) -> list[Part]:
    """What was found."""
    usage = reply["usage"]
    rows = [
        Row(
            href=visit.url(DOCUMENT, customer_id=visit.customer_id, name=reply["collection"], doc_id=one["doc_id"]),
            cells=[
                one["rank"],
                Code(f"{one['score']:.4f}"),
                one["doc_id"] if not one.get("chunk") else f"{one['doc_id']} ({one['chunk']})",
                preview(one["text"]),
                Code(json.dumps(one["metadata"], ensure_ascii=False)[:MOST_PREVIEW]) if one["metadata"] else "",
            ],
        )
        for one in reply["results"]
    ]
    table = Table(
        id="results",
        caption=f"Results in {reply['collection']}",
        columns=[
            Column(title="Rank", align="right"),
            Column(title="Score", align="right"),
            Column(title="Doc ID"),
            Column(title="Text (preview)", wide=True),
            Column(title="Metadata"),
        ],
        rows=rows,
        empty=Empty(
            text="Nothing in this collection fits.",
            link=Link("Search without threshold and filter", visit.url(SEARCH, customer_id=visit.customer_id)),
        ),
        note=f"{reply['count']:,} of {reply['total_items']:,} vectors in {reply['query_ms']:.0f} ms, "
        f"{usage['input_tokens']:,} tokens, {usage['cost_usd']} USD.",
    )
    code = json.dumps({"results": reply["results"]}, ensure_ascii=False, indent=2)
    return [table, Card("As JSON", [Snippet(code, title="Results", language="JSON")], open=False)]


def preview(text: str) -> str:
    """The beginning of a text."""
    return f"{text[:MOST_PREVIEW]}…" if len(text) > MOST_PREVIEW else text


def search_page(form: Form, results: Sequence[Part], *, status: int = 200) -> Page:
    """The page of the form."""
    return Page(title="Semantic search", subtitle=who_pays(), parts=[Card("Question", [form]), *results], status=status)
