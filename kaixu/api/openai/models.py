"""`GET /v1/models`: what this key may use, in a form that OpenAI's and Anthropic's clients both read."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime
from typing import Any

from quart import Blueprint, Response, g, request

from kaixu.accounts.allowlists import allowed_models
from kaixu.catalog.catalog import Catalog, Deployment
from kaixu.config.price import Price, usd
from kaixu.edge.authenticate import caller_of
from kaixu.edge.request import incoming_of
from kaixu.edge.response import reply
from kaixu.edge.services import Services
from kaixu.plugin.errors import NotFound

#: Vendors' dates are not ours to tell; clients only want one to be there.
EPOCH = datetime(2026, 1, 1, tzinfo=UTC)


def model_routes(services: Services) -> Blueprint:
    """The routes, bound to one gateway."""
    routes = Blueprint("models", __name__)

    async def usable() -> dict[str, dict[str, Any]]:
        caller = caller_of(incoming_of(request, g.request_id), services.secrets)
        offered = callable_deployments(services.catalog)
        names = [(name, one.model) for one in offered for name in provider_names(one)]
        may = await allowed_models(
            services.pool,
            key_hash=caller.key_hash,
            legacy_hash=caller.legacy_hash,
            key_id=caller.key_id,
            models=names,
        )
        listed = [one for one in offered if any((name, one.model) in may for name in provider_names(one))]
        return {entry["id"]: entry for entry in model_replies(listed)}

    @routes.get("/v1/models")
    async def models() -> Response:
        entries = list((await usable()).values())
        first, last = (entries[0]["id"], entries[-1]["id"]) if entries else (None, None)
        return reply({"object": "list", "data": entries, "has_more": False, "first_id": first, "last_id": last})

    @routes.get("/v1/models/<path:name>")
    async def model(name: str) -> Response:
        entries = await usable()
        by_both = {f"{one['kaixu']['provider']}/{one['kaixu']['model']}": one for one in entries.values()}
        entry = entries.get(name) or by_both.get(name)
        if entry is None:
            raise NotFound(f"there is no model `{name[:200]}` for this key", hint="See GET /v1/models.", field="model")
        return reply(entry | {"id": name})

    return routes


def callable_deployments(catalog: Catalog) -> list[Deployment]:
    """What can be called at all: the lane is on and there is a price."""
    return [one for one in catalog.deployments if one.ready and one.price is not None]


def provider_names(deployment: Deployment) -> list[str]:
    """The provider names that a deployment answers to."""
    return [deployment.provider, *(deployment.owner or deployment.state).section.aliases]


def model_replies(deployments: list[Deployment]) -> list[dict[str, Any]]:
    """The list; a model's name alone where it is the only one of that name, else with its provider."""
    count = Counter(one.model for one in deployments)
    return [
        model_reply(one, one.model if count[one.model] == 1 else f"{one.provider}/{one.model}") for one in deployments
    ]


def model_reply(deployment: Deployment, name: str) -> dict[str, Any]:
    """One model."""
    price = deployment.price
    assert price is not None
    ours: dict[str, Any] = {
        "provider": deployment.shown_provider,
        "model": deployment.model,
        "type": deployment.kind,
        "price_usd_per_million_tokens": price_reply(price, deployment.kind),
    }
    if deployment.kind == "chat":
        ours["max_output_tokens"] = deployment.max_output_tokens
        ours["supports"] = supported_features(deployment)
    elif deployment.dimensions is not None:
        ours["dimensions"] = deployment.dimensions
    return {
        "id": name,
        "object": "model",
        "created": int(EPOCH.timestamp()),
        "owned_by": deployment.shown_provider,
        "type": "model",
        "display_name": deployment.model,
        "created_at": EPOCH.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "kaixu": ours,
    }


def supported_features(deployment: Deployment) -> list[str]:
    """What a model's lane can do; images only where the operator has said what one costs."""
    lane = deployment.lane
    supports: frozenset[str] = frozenset() if lane is None else lane.supports
    return sorted(supports if deployment.image_tokens is not None else supports - {"images", "tool_result_images"})


def price_reply(price: Price, kind: str) -> dict[str, str]:
    """Exact dollars."""
    rates = {"input": usd(price.input), "cached_input": usd(price.cached_input)}
    if kind == "chat":
        rates |= {
            "cache_write": usd(price.cache_write),
            "output": usd(price.output),
            "reasoning": usd(price.reasoning),
        }
    return rates
