"""`gateway-embed-search`: search a collection by meaning, words or a vector."""

from __future__ import annotations

from typing import Any

from kaixu.accounts.operator_identity import COLLECTIONS
from kaixu.api.call_replies import call_headers
from kaixu.collections.contents import Collection
from kaixu.collections.filters import parse_filter
from kaixu.collections.search import Answer, Hit, Question, search
from kaixu.edge.fields import Fields, json_object
from kaixu.edge.paths import function_paths
from kaixu.edge.request import IncomingRequest
from kaixu.edge.response import Reply, json_reply
from kaixu.edge.routes import Route
from kaixu.edge.services import Services
from kaixu.metering.ticket import Ticket
from kaixu.plugin.errors import Invalid, Unprocessable

from .access import read_collection_caller
from .bill import bill_on_failure, usage_and_month_reply
from .fields import check_text, check_vector, collection_name

MAX_RESULTS, MAX_PARENTS = 100, 20
DEFAULT_RESULTS = 8


def search_routes(services: Services) -> list[Route]:
    """The route, bound to the services of one gateway."""

    async def find(request: IncomingRequest) -> Reply:
        body = json_object(request.body)
        collection_caller = await read_collection_caller(services, request, body.get("customer_id"))
        question = parse_question(body)
        collection, ticket, answer = await search(
            services.pool,
            services.searches,
            services.gate,
            services.catalog,
            collection_caller.caller,
            question,
            bill_on_failure,
        )
        reply = search_reply(services, collection, ticket, answer, question) | {
            "telemetry": {"install_id": collection_caller.caller.install_id}
        }
        return json_reply(reply, 200, call_headers(ticket))

    return [
        Route(
            "POST",
            function_paths("gateway-embed-search"),
            find,
            auth="key_or_operator",
            rate="call",
            access=COLLECTIONS,
        )
    ]


def parse_question(body: dict[str, Any]) -> Question:
    """Parse the question. Raises `Invalid`, `Unprocessable` naming the field."""
    fields = Fields(body)
    name = collection_name(fields.get("collection"))
    text = fields.get("query")
    if text is None:
        text = fields.get("input")
    vector = fields.get("vector")
    if vector is not None:
        vector = check_vector(vector, "vector")
    if text is None and vector is None:
        raise Invalid("`query` is missing", hint="Send `query` as text, or `vector`.", field="query")
    if text is not None:
        check_text(text, "query", stored=True)
    hybrid = fields.flag("hybrid") or False
    if hybrid and text is None:
        raise Unprocessable("`hybrid` needs words to search for", hint="Send `query`.", field="hybrid")
    parent = fields.flag("parent") or False
    most = MAX_PARENTS if parent else MAX_RESULTS
    return Question(
        collection=name,
        text=text,
        vector=vector,
        top_k=fields.integer("top_k", 1, most) or fields.integer("topK", 1, most) or DEFAULT_RESULTS,
        threshold=fields.number("threshold", -1, 1),
        condition=parse_filter(fields.get("filter")),
        hybrid=hybrid,
        parent=parent,
    )


def search_reply(
    services: Services, collection: Collection, ticket: Ticket, answer: Answer, question: Question
) -> dict[str, Any]:
    """The results; older clients read the same list as `matches`."""
    results = [hit_reply(rank, hit) for rank, hit in enumerate(answer.hits, start=1)]
    return {
        "ok": True,
        "collection": collection.name,
        "provider": services.catalog.shown(collection.provider),
        "model": collection.model,
        "top_k": question.top_k,
        "count": len(results),
        "total_items": collection.vectors,
        "results": results,
        "matches": results,
        "query_ms": answer.query_ms,
        **usage_and_month_reply(ticket),
    }


def hit_reply(rank: int, hit: Hit) -> dict[str, Any]:
    """One result."""
    reply: dict[str, Any] = {
        "rank": rank,
        "score": hit.score,
        "id": hit.doc_id,
        "doc_id": hit.doc_id,
        "chunk": hit.chunk,
        "text": hit.text,
        "metadata": hit.metadata,
    }
    if hit.whole:
        reply["whole"] = True
    if hit.fused is not None:
        reply["fused_score"] = hit.fused
    return reply
