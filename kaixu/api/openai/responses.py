"""`POST /v1/responses`: OpenAI's Responses API, without stored state."""

from __future__ import annotations

from kaixu.api.answers import PATIENCE_S, collect_answer, stream_answer
from kaixu.api.call_replies import call_headers
from kaixu.api.calls import prepare_chat
from kaixu.api.openai.model_name import read_model
from kaixu.edge.authenticate import read_caller
from kaixu.edge.fields import Fields, read_object
from kaixu.edge.openai_errors import openai_error
from kaixu.edge.request import IncomingRequest
from kaixu.edge.response import Reply, json_reply
from kaixu.edge.routes import Route
from kaixu.edge.services import Services

from .responses_reply import ResponseEncoder
from .responses_request import FEATURE_FIELDS, parse_responses_request


def responses_routes(services: Services) -> list[Route]:
    """The route, bound to the services of one gateway."""

    async def respond(request: IncomingRequest) -> Reply:
        caller = read_caller(request, services.secrets)
        body = await read_object(request)
        model = read_model(body)
        requested = services.catalog.resolve(None, model, "chat")
        services.catalog.ready(requested.deployment)
        is_stream = Fields(body).flag("stream")
        prepared = await prepare_chat(
            services,
            request,
            body,
            caller=caller,
            requested=requested,
            parse=parse_responses_request,
            feature_fields=FEATURE_FIELDS,
        )
        encoder = ResponseEncoder(body, model)
        if is_stream:
            return await stream_answer(services, prepared.admission, encoder, patience_s=PATIENCE_S)
        ticket, events = await collect_answer(services, prepared.admission)
        encoder.begin(ticket)
        for event in events:
            encoder.event(event)
        encoder.close()
        return json_reply(encoder.complete_response(ticket), 200, call_headers(ticket))

    return [Route("POST", ("/v1/responses",), respond, auth="key", rate="call", error_shape=openai_error)]
