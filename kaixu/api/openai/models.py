"""`GET /v1/models`: the models that a key may use, in a format for OpenAI's and Anthropic's clients."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime
from typing import Any

from kaixu.accounts.allowlists import allowed_models
from kaixu.catalog.catalog import Catalog, Deployment
from kaixu.config.plans_section import MILLION
from kaixu.config.price import Price, usd
from kaixu.edge.authenticate import read_caller
from kaixu.edge.openai_errors import openai_error
from kaixu.edge.request import IncomingRequest
from kaixu.edge.request_body import SMALL_BODY_BYTES
from kaixu.edge.response import Reply, json_reply
from kaixu.edge.routes import Route
from kaixu.edge.services import Services
from kaixu.plugin.errors import NotFound

#: Clients require a creation date; the real ones are unknown.
EPOCH = datetime(2026, 1, 1, tzinfo=UTC)


def model_routes(services: Services) -> list[Route]:
    """The routes, bound to the services of one gateway."""

    async def usable_models(request: IncomingRequest) -> dict[str, dict[str, Any]]:
        caller = read_caller(request, services.secrets)
        usable = await models_of_key(services, caller.key_id, caller.key_hash, caller.legacy_hash)
        return {entry["id"]: entry for entry in model_replies(usable)}

    async def models(request: IncomingRequest) -> Reply:
        entries = list((await usable_models(request)).values())
        first, last = (entries[0]["id"], entries[-1]["id"]) if entries else (None, None)
        return json_reply({"object": "list", "data": entries, "has_more": False, "first_id": first, "last_id": last})

    async def model(request: IncomingRequest) -> Reply:
        name = request.parameters["name"]
        entries = await usable_models(request)
        by_both = {f"{one['kaixu']['provider']}/{one['kaixu']['model']}": one for one in entries.values()}
        entry = entries.get(name) or by_both.get(name)
        if entry is None:
            raise NotFound(f"there is no model `{name[:200]}` for this key", hint="See GET /v1/models.", field="model")
        return json_reply(entry | {"id": name})

    return [
        Route(
            "GET",
            (path,),
            handler,
            auth="key",
            rate="reading",
            max_body_bytes=SMALL_BODY_BYTES,
            error_shape=openai_error,
        )
        for path, handler in (("/v1/models", models), ("/v1/models/<path:name>", model))
    ]


async def models_of_key(
    services: Services, key_id: int | None, key_hash: bytes | None = None, legacy_hash: bytes | None = None
) -> list[Deployment]:
    """The models that a key may use, at the prices of its customer.

    Raises `Unauthenticated`, `CustomerDisabled`, `DatabaseAway`.
    """
    deployments = list_callable(services.catalog)
    names = [(name, one.model) for one in deployments for name in provider_names(one)]
    allowed = await allowed_models(
        services.pool, key_hash=key_hash, legacy_hash=legacy_hash, key_id=key_id, models=names
    )
    usable = [one for one in deployments if any((name, one.model) in allowed for name in provider_names(one))]
    if (prices := services.gate.plan_prices) is not None:
        factor = await prices.factor_of((key_id, key_hash, legacy_hash))
        usable = usable if factor == MILLION else [one.times(factor) for one in usable]
    return usable


def list_callable(catalog: Catalog) -> list[Deployment]:
    """Deployments that can be called: the lane is on and there is a price."""
    return [one for one in catalog.deployments if one.ready and one.price is not None]


def provider_names(deployment: Deployment) -> list[str]:
    """The provider names under which a deployment can be called."""
    return [deployment.provider, *(deployment.owner or deployment.state).section.aliases]


def model_replies(deployments: list[Deployment]) -> list[dict[str, Any]]:
    """All models; the id includes the provider if two models have the same name."""
    counts = Counter(one.model for one in deployments)
    return [
        model_reply(one, one.model if counts[one.model] == 1 else f"{one.provider}/{one.model}") for one in deployments
    ]


def model_reply(deployment: Deployment, name: str) -> dict[str, Any]:
    """One model."""
    price = deployment.price
    assert price is not None
    kaixu: dict[str, Any] = {
        "provider": deployment.shown_provider,
        "model": deployment.model,
        "type": deployment.kind,
        "price_usd_per_million_tokens": price_reply(price, deployment.kind),
    }
    if deployment.kind == "chat":
        kaixu["max_output_tokens"] = deployment.max_output_tokens
        kaixu["supports"] = supported_features(deployment)
    elif deployment.dimensions is not None:
        kaixu["dimensions"] = deployment.dimensions
    return {
        "id": name,
        "object": "model",
        "created": int(EPOCH.timestamp()),
        "owned_by": deployment.shown_provider,
        "type": "model",
        "display_name": deployment.model,
        "created_at": EPOCH.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "kaixu": kaixu,
    }


def supported_features(deployment: Deployment) -> list[str]:
    """The features of a model's lane; images only if kaixu.yaml has `image_tokens`."""
    lane = deployment.lane
    supports: frozenset[str] = frozenset() if lane is None else lane.supports
    return sorted(supports if deployment.image_tokens is not None else supports - {"images", "tool_result_images"})


def price_reply(price: Price, kind: str) -> dict[str, str]:
    """Prices in exact dollars per million tokens."""
    rates = {"input": usd(price.input), "cached_input": usd(price.cached_input)}
    if kind == "chat":
        rates |= {
            "cache_write": usd(price.cache_write),
            "output": usd(price.output),
            "reasoning": usd(price.reasoning),
        }
    return rates
