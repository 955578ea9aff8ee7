"""`POST /v1/messages`: answers requests of Anthropic's Messages API."""

from __future__ import annotations

import re
from functools import partial

from kaixu.api.answers import PATIENCE_S, collect_answer, stream_answer
from kaixu.api.call_replies import call_headers
from kaixu.api.calls import prepare_chat
from kaixu.api.openai.model_name import read_model
from kaixu.edge.anthropic_errors import anthropic_error
from kaixu.edge.authenticate import read_caller
from kaixu.edge.fields import Fields, read_object
from kaixu.edge.request import IncomingRequest
from kaixu.edge.response import Reply, json_reply
from kaixu.edge.routes import Route
from kaixu.edge.services import Services

from .count import count_routes
from .reply import message_reply
from .request import feature_fields, parse_message_request
from .stream import MessageStreamEncoder

#: The maximum number of betas in one request; names have at most 100 characters.
MAX_BETAS = 50
BETA = re.compile(r"[a-z0-9][a-z0-9._-]{0,99}")


def read_betas(header: str | None) -> tuple[str, ...]:
    """The names in the header `anthropic-beta`. Invalid names are ignored."""
    names = [name.strip() for name in (header or "").split(",")[:MAX_BETAS]]
    return tuple(dict.fromkeys(name for name in names if BETA.fullmatch(name)))


def message_routes(services: Services) -> list[Route]:
    """The routes, bound to the services of one gateway."""

    async def messages(request: IncomingRequest) -> Reply:
        caller = read_caller(request, services.secrets)
        body = await read_object(request)
        model = read_model(body)
        requested = services.catalog.resolve(None, model, "chat")
        services.catalog.ready(requested.deployment)
        betas = read_betas(request.headers.get("anthropic-beta"))
        is_stream = Fields(body).flag("stream")
        prepared = await prepare_chat(
            services,
            request,
            body,
            caller=caller,
            requested=requested,
            parse=partial(parse_message_request, betas=betas),
            feature_fields=feature_fields(body),
        )
        if is_stream:
            encoder = MessageStreamEncoder(model, native=prepared.call.request.native is not None)
            return await stream_answer(services, prepared.admission, encoder, patience_s=PATIENCE_S)
        ticket, events = await collect_answer(services, prepared.admission)
        return json_reply(message_reply(ticket, events, model), 200, call_headers(ticket))

    return [
        Route("POST", ("/v1/messages",), messages, auth="key", rate="call", error_shape=anthropic_error),
        *count_routes(services),
    ]
