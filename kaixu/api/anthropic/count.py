"""`POST /v1/messages/count_tokens`: about how many tokens a message would have, without asking its vendor."""

from __future__ import annotations

from kaixu.accounts.allowlists import allowed_models
from kaixu.api.openai.names import read_model
from kaixu.catalog.catalog import Deployment, RequestedModel
from kaixu.edge.anthropic_errors import anthropic_error
from kaixu.edge.authenticate import caller_of
from kaixu.edge.exchange import Door
from kaixu.edge.fields import object_in
from kaixu.edge.off_loop import off_loop
from kaixu.edge.request import IncomingRequest
from kaixu.edge.response import Reply, json_reply
from kaixu.edge.services import Services
from kaixu.metering.counting import counted_input_tokens, most_input_tokens
from kaixu.metering.gate import Caller
from kaixu.plugin.errors import ModelNotAllowed
from kaixu.plugin.types import ChatRequest

from .request import parse_message_request


def count_door(services: Services) -> Door:
    """The door, bound to one gateway."""

    async def count(asked: IncomingRequest) -> Reply:
        caller = caller_of(asked, services.secrets)
        body = await object_in(asked)
        found = services.catalog.resolve(None, read_model(body), "chat")
        deployment = found.deployment
        services.catalog.ready(deployment)
        await require_model_access(services, caller, found)
        whole, most = body | {"max_tokens": deployment.max_output_tokens}, services.gateway.max_messages

        def counted() -> int:
            request = parse_message_request(whole, deployment, most_messages=most)
            return estimated_input_tokens(request, deployment)

        tokens = await off_loop(len(asked.body), counted)
        return json_reply({"input_tokens": tokens, "kaixu": {"estimated": True}})

    return Door(count, ("/v1/messages/count_tokens",), shape=anthropic_error, rate="reading")


async def require_model_access(services: Services, caller: Caller, found: RequestedModel) -> None:
    """Admission's questions, without an admission: does the key live, and may it use this model?

    Raises `Unauthenticated`, `CustomerDisabled`, `ModelNotAllowed`.
    """
    model = found.deployment.model
    names = {(found.deployment.provider, model), (found.provider, model)}
    may = await allowed_models(
        services.pool,
        key_hash=caller.key_hash,
        legacy_hash=caller.legacy_hash,
        key_id=caller.key_id,
        models=list(names),
    )
    if not may:
        raise ModelNotAllowed(f"model `{model}` of provider `{found.deployment.provider}` is not allowed for this key")


def estimated_input_tokens(request: ChatRequest, deployment: Deployment) -> int:
    """About how many tokens the input has; never more than what a call would reserve."""
    return min(counted_input_tokens(request, deployment), most_input_tokens(request, deployment))
