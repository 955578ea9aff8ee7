"""`POST /v1/responses`: the stateless part of OpenAI's Responses API, through the same gate as every other door."""

from __future__ import annotations

from kaixu.api.calls import PATIENCE_S, Asking, admission, answered, call_headers, streamed
from kaixu.edge.authenticate import caller_of
from kaixu.edge.exchange import Door
from kaixu.edge.fields import Fields, object_in
from kaixu.edge.off_loop import off_loop
from kaixu.edge.openai_errors import openai_error
from kaixu.edge.request import Incoming
from kaixu.edge.response import Reply, json_reply
from kaixu.edge.services import Core

from .names import model_of
from .responses_reply import Responder
from .responses_request import FEATURES, responses_request


def responses_door(core: Core) -> Door:
    """The door, bound to one gateway."""

    async def respond(asked: Incoming) -> Reply:
        caller = caller_of(asked, core.secrets)
        body = await object_in(asked)
        model = model_of(body)
        found = core.catalog.resolve(None, model, "chat")
        core.catalog.ready(found.deployment)
        size, most = len(asked.body), core.gateway.max_messages
        request = await off_loop(size, lambda: responses_request(body, found.deployment, most_messages=most))
        asking = Asking(caller, found.deployment, found.provider, request)
        call = await off_loop(size, lambda: admission(core, asking, FEATURES))
        responder = Responder(body, model)
        if Fields(body).flag("stream"):
            return await streamed(core, call, responder, patience_s=PATIENCE_S)
        ticket, events = await answered(core, call)
        responder.begin(ticket)
        for event in events:
            responder.event(event)
        responder.close()
        return json_reply(responder.whole(ticket), 200, call_headers(ticket))

    return Door(respond, ("/v1/responses",), shape=openai_error, rate="call")
