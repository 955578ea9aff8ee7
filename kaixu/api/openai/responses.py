"""`POST /v1/responses`: the stateless part of OpenAI's Responses API, through the same gate as every other door."""

from __future__ import annotations

from kaixu.api.calls import PATIENCE_S, ChatCall, admission, answered, call_headers, streamed
from kaixu.edge.authenticate import caller_of
from kaixu.edge.fields import Fields, object_in
from kaixu.edge.off_loop import off_loop
from kaixu.edge.openai_errors import openai_error
from kaixu.edge.request import IncomingRequest
from kaixu.edge.response import Reply, json_reply
from kaixu.edge.routes import Route
from kaixu.edge.services import Services

from .names import model_of
from .responses_reply import Responder
from .responses_request import FEATURES, responses_request


def responses_routes(services: Services) -> list[Route]:
    """The door, bound to one gateway."""

    async def respond(asked: IncomingRequest) -> Reply:
        caller = caller_of(asked, services.secrets)
        body = await object_in(asked)
        model = model_of(body)
        found = services.catalog.resolve(None, model, "chat")
        services.catalog.ready(found.deployment)
        size, most = len(asked.body), services.gateway.max_messages
        request = await off_loop(size, lambda: responses_request(body, found.deployment, most_messages=most))
        asking = ChatCall(caller, found.deployment, found.provider, request)
        call = await off_loop(size, lambda: admission(services, asking, FEATURES))
        responder = Responder(body, model)
        if Fields(body).flag("stream"):
            return await streamed(services, call, responder, patience_s=PATIENCE_S)
        ticket, events = await answered(services, call)
        responder.begin(ticket)
        for event in events:
            responder.event(event)
        responder.close()
        return json_reply(responder.whole(ticket), 200, call_headers(ticket))

    return [Route("POST", ("/v1/responses",), respond, auth="key", rate="call", error_shape=openai_error)]
