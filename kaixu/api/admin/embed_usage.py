"""`admin-embed-usage`: a customer's month of embeddings and searches."""

from __future__ import annotations

from typing import Any

from kaixu.accounts.embed_usage import EmbedEvent, embed_usage
from kaixu.accounts.fields import identifier
from kaixu.config.price import cents_of_nusd, usd
from kaixu.edge.fields import Fields
from kaixu.edge.operators import operator_route
from kaixu.edge.request import IncomingRequest
from kaixu.edge.response import Reply, json_reply
from kaixu.edge.routes import Route
from kaixu.edge.services import Services

from .shape import instant, month_name


def embed_usage_routes(services: Services) -> list[Route]:
    """The route of a customer's embeddings."""

    async def show(request: IncomingRequest) -> Reply:
        query = Fields(request.args)
        customer_id = query.read("customer_id", identifier)
        usage = await embed_usage(services.reports, customer_id, month=query.take("month"))
        totals = usage.totals
        return json_reply(
            {
                "customer_id": customer_id,
                "month": month_name(usage.month),
                "totals": {
                    "embed_calls": totals.embed_calls,
                    "search_calls": totals.search_calls,
                    "vectors": totals.vectors,
                    "vectors_stored": totals.stored,
                    "tokens": totals.input_tokens,
                    "cost_cents": cents_of_nusd(totals.cost_nusd),
                    "cost_usd": usd(totals.cost_nusd),
                },
                "events": [event_reply(event) for event in usage.events],
            }
        )

    return [operator_route(services, "GET", "admin-embed-usage", show)]


def event_reply(row: EmbedEvent) -> dict[str, Any]:
    """One call."""
    return {
        "id": row.id,
        "created_at": instant(row.created_at),
        "operation": row.operation,
        "provider": row.provider,
        "model": row.model,
        "vectors": row.vectors,
        "vectors_stored": row.stored,
        "tokens": row.input_tokens,
        "cost_cents": cents_of_nusd(row.cost_nusd),
        "cost_usd": usd(row.cost_nusd),
        "end": row.end_reason,
        "request_id": row.request_id,
    }
