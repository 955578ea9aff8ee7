"""`POST /v1/chat/completions`: OpenAI's chat, through the same gate as every other door."""

from __future__ import annotations

import msgspec

from kaixu.api.calls import PATIENCE_S, ChatCall, admission, answered, call_headers, streamed
from kaixu.api.collections.retrieve import retrieval_of, retrieved, with_passages
from kaixu.edge.authenticate import caller_of
from kaixu.edge.fields import Fields, object_in
from kaixu.edge.off_loop import off_loop
from kaixu.edge.openai_errors import openai_error
from kaixu.edge.request import IncomingRequest
from kaixu.edge.response import Reply, json_reply
from kaixu.edge.routes import Route
from kaixu.edge.services import Services

from .chat_forms import CallForms
from .chat_reply import ChatStreamEncoder, cited, completion
from .chat_request import FEATURES, chat_request
from .names import model_of


def completion_routes(services: Services) -> list[Route]:
    """The door, bound to one gateway."""

    async def chat(asked: IncomingRequest) -> Reply:
        caller = caller_of(asked, services.secrets)
        body = await object_in(asked)
        wanted = retrieval_of(body)
        model = model_of(body)
        found = services.catalog.resolve(None, model, "chat")
        services.catalog.ready(found.deployment)
        size, most = len(asked.body), services.gateway.max_messages
        request = await off_loop(size, lambda: chat_request(body, found.deployment, most_messages=most))
        asking = ChatCall(caller, found.deployment, found.provider, request)
        fields = Fields(body)
        options = fields.inner("stream_options")
        with_usage = options is not None and options.flag("include_usage") is True
        call = await off_loop(size, lambda: admission(services, asking, FEATURES))
        looked_up = None
        if wanted is not None:
            looked_up = await retrieved(services, caller, wanted, request)
            told = with_passages(body, looked_up)
            request = await off_loop(size, lambda: chat_request(told, found.deployment, most_messages=most))
            again = msgspec.structs.replace(asking, request=request)
            call = await off_loop(size, lambda: admission(services, again, FEATURES))
        if fields.flag("stream"):
            is_native = request.native is not None
            encoder = ChatStreamEncoder(
                model, native=is_native, include_usage=with_usage, found=looked_up, forms=CallForms(body)
            )
            return await streamed(services, call, encoder, patience_s=PATIENCE_S)
        ticket, events = await answered(services, call)
        reply = completion(ticket, events, model, CallForms(body))
        if looked_up is not None:
            reply |= cited(looked_up, ticket)
        return json_reply(reply, 200, call_headers(ticket))

    return [Route("POST", ("/v1/chat/completions",), chat, auth="key", rate="call", error_shape=openai_error)]
