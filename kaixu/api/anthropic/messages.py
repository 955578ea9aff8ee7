"""`POST /v1/messages`: Anthropic's Messages, through the same gate as every other door."""

from __future__ import annotations

import re

from kaixu.api.calls import PATIENCE_S, Asking, admission, answered, call_headers, streamed
from kaixu.api.openai.names import model_of
from kaixu.edge.anthropic_errors import anthropic_error
from kaixu.edge.authenticate import caller_of
from kaixu.edge.exchange import Door
from kaixu.edge.fields import Fields, object_in
from kaixu.edge.off_loop import off_loop
from kaixu.edge.request import Incoming
from kaixu.edge.response import Reply, json_reply
from kaixu.edge.services import Core

from .count import count_door
from .reply import message
from .request import features_in, message_request
from .stream import Speaker

#: So many betas are read of one request, and so much of each.
MOST_BETAS = 50
BETA = re.compile(r"[a-z0-9][a-z0-9._-]{0,99}")


def betas_of(header: str | None) -> tuple[str, ...]:
    """The features that a client wants switched on. What cannot be a name of one is none."""
    names = [name.strip() for name in (header or "").split(",")[:MOST_BETAS]]
    return tuple(dict.fromkeys(name for name in names if BETA.fullmatch(name)))


def message_doors(core: Core) -> list[Door]:
    """The doors, bound to one gateway."""

    async def messages(asked: Incoming) -> Reply:
        caller = caller_of(asked, core.secrets)
        body = await object_in(asked)
        model = model_of(body)
        found = core.catalog.resolve(None, model, "chat")
        core.catalog.ready(found.deployment)
        betas = betas_of(asked.headers.get("anthropic-beta"))
        size, most = len(asked.body), core.gateway.max_messages
        request = await off_loop(size, lambda: message_request(body, found.deployment, most_messages=most, betas=betas))
        asking = Asking(caller, found.deployment, found.provider, request)
        call = await off_loop(size, lambda: admission(core, asking, features_in(body)))
        if Fields(body).flag("stream"):
            return await streamed(core, call, Speaker(model, native=request.native is not None), patience_s=PATIENCE_S)
        ticket, events = await answered(core, call)
        return json_reply(message(ticket, events, model), 200, call_headers(ticket))

    return [Door(messages, ("/v1/messages",), shape=anthropic_error, rate="call"), count_door(core)]
