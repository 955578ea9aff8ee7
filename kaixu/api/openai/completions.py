"""`POST /v1/chat/completions`: OpenAI's chat, through the same gate as every other door."""

from __future__ import annotations

from kaixu.api.calls import PATIENCE_S, answered, call_headers, streamed
from kaixu.api.collections.retrieve import take_retrieve
from kaixu.api.prepared_chat import prepare_chat
from kaixu.edge.authenticate import caller_of
from kaixu.edge.exchange import Door
from kaixu.edge.fields import Fields, object_in
from kaixu.edge.openai_errors import openai_error
from kaixu.edge.request import IncomingRequest
from kaixu.edge.response import Reply, json_reply
from kaixu.edge.services import Services

from .chat_forms import CallForms
from .chat_reply import ChatStreamEncoder, completion, retrieval_fields
from .chat_request import FEATURES, chat_request
from .names import model_of


def completion_door(services: Services) -> Door:
    """The door, bound to one gateway."""

    async def chat(request: IncomingRequest) -> Reply:
        caller = caller_of(request, services.secrets)
        body = await object_in(request)
        retrieval = take_retrieve(body)
        model = model_of(body)
        requested = services.catalog.resolve(None, model, "chat")
        services.catalog.ready(requested.deployment)
        fields = Fields(body)
        is_stream = fields.flag("stream")
        options = fields.inner("stream_options")
        include_usage = options is not None and options.flag("include_usage") is True
        prepared = await prepare_chat(
            services,
            request,
            body,
            caller=caller,
            requested=requested,
            parse=lambda body: chat_request(body, requested.deployment, most_messages=services.gateway.max_messages),
            features=FEATURES,
            retrieval=retrieval,
        )
        retrieved = prepared.retrieved
        if is_stream:
            encoder = ChatStreamEncoder(
                model,
                native=prepared.call.request.native is not None,
                include_usage=include_usage,
                retrieved=retrieved,
                forms=CallForms(body),
            )
            return await streamed(services, prepared.admission, encoder, patience_s=PATIENCE_S)
        ticket, events = await answered(services, prepared.admission)
        reply = completion(ticket, events, model, CallForms(body))
        if retrieved is not None:
            reply |= retrieval_fields(retrieved, ticket)
        return json_reply(reply, 200, call_headers(ticket))

    return Door(chat, ("/v1/chat/completions",), shape=openai_error, rate="call")
