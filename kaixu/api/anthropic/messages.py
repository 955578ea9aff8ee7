"""`POST /v1/messages`: Anthropic's Messages, through the same gate as every other door."""

from __future__ import annotations

import re

from kaixu.api.calls import PATIENCE_S, ChatCall, admission, answered, call_headers, streamed
from kaixu.api.openai.names import model_of
from kaixu.edge.anthropic_errors import anthropic_error
from kaixu.edge.authenticate import caller_of
from kaixu.edge.fields import Fields, object_in
from kaixu.edge.off_loop import off_loop
from kaixu.edge.request import IncomingRequest
from kaixu.edge.response import Reply, json_reply
from kaixu.edge.routes import Route
from kaixu.edge.services import Services

from .count import count_routes
from .reply import message
from .request import features_in, message_request
from .stream import MessageStreamEncoder

#: So many betas are read of one request, and so much of each.
MOST_BETAS = 50
BETA = re.compile(r"[a-z0-9][a-z0-9._-]{0,99}")


def betas_of(header: str | None) -> tuple[str, ...]:
    """The features that a client wants switched on. What cannot be a name of one is none."""
    names = [name.strip() for name in (header or "").split(",")[:MOST_BETAS]]
    return tuple(dict.fromkeys(name for name in names if BETA.fullmatch(name)))


def message_routes(services: Services) -> list[Route]:
    """The doors, bound to one gateway."""

    async def messages(asked: IncomingRequest) -> Reply:
        caller = caller_of(asked, services.secrets)
        body = await object_in(asked)
        model = model_of(body)
        found = services.catalog.resolve(None, model, "chat")
        services.catalog.ready(found.deployment)
        betas = betas_of(asked.headers.get("anthropic-beta"))
        size, most = len(asked.body), services.gateway.max_messages
        request = await off_loop(size, lambda: message_request(body, found.deployment, most_messages=most, betas=betas))
        asking = ChatCall(caller, found.deployment, found.provider, request)
        call = await off_loop(size, lambda: admission(services, asking, features_in(body)))
        if Fields(body).flag("stream"):
            return await streamed(
                services, call, MessageStreamEncoder(model, native=request.native is not None), patience_s=PATIENCE_S
            )
        ticket, events = await answered(services, call)
        return json_reply(message(ticket, events, model), 200, call_headers(ticket))

    return [
        Route("POST", ("/v1/messages",), messages, auth="key", rate="call", error_shape=anthropic_error),
        *count_routes(services),
    ]
