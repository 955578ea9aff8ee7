"""`POST /v1/messages/count_tokens`: estimates the input tokens of a request, without calling the vendor."""

from __future__ import annotations

from kaixu.accounts.allowlists import allowed_models
from kaixu.api.openai.model_name import read_model
from kaixu.catalog.catalog import Deployment, RequestedModel
from kaixu.edge.anthropic_errors import anthropic_error
from kaixu.edge.authenticate import read_caller
from kaixu.edge.fields import read_object
from kaixu.edge.request import IncomingRequest
from kaixu.edge.response import Reply, json_reply
from kaixu.edge.routes import Route
from kaixu.edge.services import Services
from kaixu.edge.threads import run_in_thread
from kaixu.metering.counting import counted_input_tokens, most_input_tokens
from kaixu.metering.gate import Caller
from kaixu.plugin.errors import ModelNotAllowed
from kaixu.plugin.types import ChatRequest

from .request import parse_message_request


def count_routes(services: Services) -> list[Route]:
    """The route, bound to the services of one gateway."""

    async def count(request: IncomingRequest) -> Reply:
        caller = read_caller(request, services.secrets)
        body = await read_object(request)
        requested = services.catalog.resolve(None, read_model(body), "chat")
        deployment = requested.deployment
        services.catalog.ready(deployment)
        await require_model_access(services, caller, requested)
        with_limit = body | {"max_tokens": deployment.max_output_tokens}

        def estimate() -> int:
            most_messages = services.gateway.max_messages
            return estimate_input_tokens(
                parse_message_request(with_limit, deployment, most_messages=most_messages), deployment
            )

        tokens = await run_in_thread(len(request.body), estimate)
        return json_reply({"input_tokens": tokens, "kaixu": {"estimated": True}})

    return [
        Route("POST", ("/v1/messages/count_tokens",), count, auth="key", rate="reading", error_shape=anthropic_error)
    ]


async def require_model_access(services: Services, caller: Caller, requested: RequestedModel) -> None:
    """Check, without a reservation, that the key is valid and may use this model.

    Raises `Unauthenticated`, `CustomerDisabled`, `ModelNotAllowed`.
    """
    model = requested.deployment.model
    names = {(requested.deployment.provider, model), (requested.provider, model)}
    allowed = await allowed_models(
        services.pool,
        key_hash=caller.key_hash,
        legacy_hash=caller.legacy_hash,
        key_id=caller.key_id,
        models=list(names),
    )
    if not allowed:
        raise ModelNotAllowed(
            f"model `{model}` of provider `{requested.deployment.provider}` is not allowed for this key"
        )


def estimate_input_tokens(chat_request: ChatRequest, deployment: Deployment) -> int:
    """The estimated number of input tokens; never more than a call would reserve."""
    return min(counted_input_tokens(chat_request, deployment), most_input_tokens(chat_request, deployment))
