"""`POST /v1/responses`: the stateless part of OpenAI's Responses API, through the same gate as every other door."""

from __future__ import annotations

from kaixu.api.calls import PATIENCE_S, answered, call_headers, streamed
from kaixu.api.prepared_chat import prepare_chat
from kaixu.edge.authenticate import caller_of
from kaixu.edge.exchange import Door
from kaixu.edge.fields import Fields, object_in
from kaixu.edge.openai_errors import openai_error
from kaixu.edge.request import IncomingRequest
from kaixu.edge.response import Reply, json_reply
from kaixu.edge.services import Services

from .names import model_of
from .responses_reply import ResponseEncoder
from .responses_request import FEATURES, responses_request


def responses_door(services: Services) -> Door:
    """The door, bound to one gateway."""

    async def respond(request: IncomingRequest) -> Reply:
        caller = caller_of(request, services.secrets)
        body = await object_in(request)
        model = model_of(body)
        requested = services.catalog.resolve(None, model, "chat")
        services.catalog.ready(requested.deployment)
        is_stream = Fields(body).flag("stream")
        prepared = await prepare_chat(
            services,
            request,
            body,
            caller=caller,
            requested=requested,
            parse=lambda body: responses_request(
                body, requested.deployment, most_messages=services.gateway.max_messages
            ),
            features=FEATURES,
        )
        encoder = ResponseEncoder(body, model)
        if is_stream:
            return await streamed(services, prepared.admission, encoder, patience_s=PATIENCE_S)
        ticket, events = await answered(services, prepared.admission)
        encoder.begin(ticket)
        for event in events:
            encoder.event(event)
        encoder.close()
        return json_reply(encoder.whole(ticket), 200, call_headers(ticket))

    return Door(respond, ("/v1/responses",), shape=openai_error, rate="call")
