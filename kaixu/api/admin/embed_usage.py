"""`admin-embed-usage`: a customer's month of embeddings and searches."""

from __future__ import annotations

from typing import Any

from quart import Blueprint, Response, request

from kaixu.accounts.embed_usage import EmbedEvent, embed_usage
from kaixu.accounts.fields import identifier
from kaixu.config.price import cents_of_nusd, usd
from kaixu.edge.operators import OperatorRoutes
from kaixu.edge.response import reply
from kaixu.edge.services import Services

from .shape import instant, month_name


def embed_usage_routes(services: Services) -> Blueprint:
    """The route, bound to one gateway."""
    routes = OperatorRoutes("admin_embed_usage", services)

    @routes.at("admin-embed-usage", methods=["GET"])
    async def usage() -> Response:
        customer_id = identifier(request.args.get("customer_id"), "customer_id")
        found = await embed_usage(services.reports, customer_id, month=request.args.get("month"))
        totals = found.totals
        return reply(
            {
                "customer_id": customer_id,
                "month": month_name(found.month),
                "totals": {
                    "embed_calls": totals.embed_calls,
                    "search_calls": totals.search_calls,
                    "vectors": totals.vectors,
                    "vectors_stored": totals.stored,
                    "tokens": totals.input_tokens,
                    "cost_cents": cents_of_nusd(totals.cost_nusd),
                    "cost_usd": usd(totals.cost_nusd),
                },
                "events": [row_reply(row) for row in found.events],
            }
        )

    return routes.blueprint


def row_reply(row: EmbedEvent) -> dict[str, Any]:
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
