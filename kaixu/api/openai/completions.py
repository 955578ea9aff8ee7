"""`POST /v1/chat/completions`: OpenAI's Chat Completions API."""

from __future__ import annotations

from kaixu.api.answers import PATIENCE_S, collect_answer, stream_answer
from kaixu.api.call_replies import call_headers
from kaixu.api.calls import prepare_chat
from kaixu.api.collections.retrieve import take_retrieve
from kaixu.api.openai.model_name import read_model
from kaixu.api.openai.tool_call_format import ToolCallFormat
from kaixu.edge.authenticate import read_caller
from kaixu.edge.fields import Fields, read_object
from kaixu.edge.openai_errors import openai_error
from kaixu.edge.request import IncomingRequest
from kaixu.edge.response import Reply, json_reply
from kaixu.edge.routes import Route
from kaixu.edge.services import Services

from .chat_reply import ChatStreamEncoder, completion, retrieval_fields
from .chat_request import FEATURE_FIELDS, parse_chat_request


def completion_routes(services: Services) -> list[Route]:
    """The route, bound to the services of one gateway."""

    async def chat(request: IncomingRequest) -> Reply:
        caller = read_caller(request, services.secrets)
        body = await read_object(request)
        retrieval = take_retrieve(body)
        model = read_model(body)
        requested = services.catalog.resolve(None, model, "chat")
        services.catalog.ready(requested.deployment)
        fields = Fields(body)
        is_stream = fields.flag("stream")
        options = fields.nested("stream_options")
        include_usage = options is not None and options.flag("include_usage") is True
        prepared = await prepare_chat(
            services,
            request,
            body,
            caller=caller,
            requested=requested,
            parse=parse_chat_request,
            feature_fields=FEATURE_FIELDS,
            retrieval=retrieval,
        )
        retrieved = prepared.retrieved
        if is_stream:
            encoder = ChatStreamEncoder(
                model,
                native=prepared.call.request.native is not None,
                include_usage=include_usage,
                retrieved=retrieved,
                format=ToolCallFormat(body),
            )
            return await stream_answer(services, prepared.admission, encoder, patience_s=PATIENCE_S)
        ticket, events = await collect_answer(services, prepared.admission)
        reply = completion(ticket, events, model, ToolCallFormat(body))
        if retrieved is not None:
            reply |= retrieval_fields(retrieved, ticket)
        return json_reply(reply, 200, call_headers(ticket))

    return [Route("POST", ("/v1/chat/completions",), chat, auth="key", rate="call", error_shape=openai_error)]
