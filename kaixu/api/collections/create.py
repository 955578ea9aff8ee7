"""Create an empty collection; start re-embedding one with another model."""

from __future__ import annotations

from typing import Any

from kaixu.api.call_replies import call_headers
from kaixu.api.collections.access import CollectionCaller
from kaixu.api.collections.embed import MAX_DIMENSIONS, default_limits
from kaixu.api.collections.fields import collection_name, read_language, resolve_embedding_model
from kaixu.api.collections.replies import collection_reply, progress_reply
from kaixu.catalog.catalog import Deployment, RequestedModel
from kaixu.collections.changes import start_reembedding
from kaixu.collections.contents import reembedding_progress
from kaixu.collections.ingest import Target, reserve_space, unknown_collection
from kaixu.collections.lengths import require_length
from kaixu.collections.search import find_collection
from kaixu.edge.fields import Fields
from kaixu.edge.response import Reply, json_reply
from kaixu.edge.services import Services
from kaixu.metering.admission import Admission
from kaixu.metering.ticket import Ticket
from kaixu.plugin.errors import Unprocessable


async def create_collection(services: Services, collection_caller: CollectionCaller, body: dict[str, Any]) -> Reply:
    """Create a collection for a model; an existing one of that model stays unchanged."""
    fields = Fields(body)
    name = collection_name(fields.get("name") or fields.get("collection"), "name")
    requested = resolve_embedding_model(services.catalog, body)
    deployment = requested.deployment
    dimensions = read_dimensions(fields, deployment)
    target = Target(name, deployment.provider, deployment.model, read_language(fields))
    async with model_admission(services, collection_caller, requested) as ticket:
        ticket.end_reason = "released"
        await reserve_space(
            services.searches, ticket, target, [], dimensions=dimensions, limits=default_limits(services), make=True
        )
        collection = await find_collection(services.pool, collection_caller.caller, name)
    if collection is None:
        raise unknown_collection(name)
    return json_reply(
        {"ok": True, "collection": collection_reply(services.catalog, collection)}, 200, call_headers(ticket)
    )


async def reembed_collection(services: Services, collection_caller: CollectionCaller, body: dict[str, Any]) -> Reply:
    """Start re-embedding a collection with another model; the collection then shows the progress."""
    fields = Fields(body)
    name = collection_name(fields.get("name") or fields.get("collection"), "name")
    options = fields.nested("reembed")
    if options is None:
        raise Unprocessable("`reembed` must be an object with `model`", field="reembed")
    requested = resolve_embedding_model(services.catalog, options.value)
    deployment = requested.deployment
    dimensions = read_dimensions(options, deployment)
    async with model_admission(services, collection_caller, requested) as ticket:
        ticket.end_reason = "released"
        collection = await find_collection(services.pool, collection_caller.caller, name)
        if collection is None:
            raise unknown_collection(name)
        key_id = ticket.verdict.key_id
        assert key_id is not None
        await start_reembedding(
            services.searches,
            collection,
            key_id=key_id,
            install_id=collection_caller.caller.install_id,
            provider=deployment.provider,
            model=deployment.model,
            dimensions=dimensions,
            request_id=collection_caller.caller.request_id,
        )
        progress = await reembedding_progress(services.searches, collection)
    assert progress is not None
    reply = {
        "ok": True,
        "collection": collection_reply(services.catalog, collection),
        "reembedding": progress_reply(services.catalog, progress),
    }
    return json_reply(reply, 202, call_headers(ticket))


def read_dimensions(fields: Fields, deployment: Deployment) -> int:
    """`dimensions`, or those of the model. Raises `Unprocessable`, `ModelMismatch`."""
    dimensions = fields.integer("dimensions", 1, MAX_DIMENSIONS) or deployment.dimensions
    if dimensions is None:
        raise fields.invalid("dimensions", "is missing: the dimensions of this model are not known")
    require_length(deployment, dimensions, fields.name("dimensions"))
    return dimensions


def model_admission(
    services: Services, collection_caller: CollectionCaller, requested: RequestedModel
) -> Admission[Ticket]:
    """Admission of a change that needs access to a model; it costs nothing."""
    return services.gate.free(
        collection_caller.caller,
        "collections",
        role="deployer",
        deployment=requested.deployment,
        requested_provider=requested.provider,
    )
