"""The native chat endpoints: `gateway-chat` replies as a whole, `gateway-stream` with server-sent events."""

from __future__ import annotations

from collections.abc import Sequence
from time import time
from typing import Any

import msgspec

from kaixu.api.answers import collect_answer, stream_answer
from kaixu.api.call_replies import call_headers, routing_reply
from kaixu.api.calls import PreparedChat, prepare_chat
from kaixu.api.collections.retrieve import citations_reply, joint_bill, retrieval_reply, take_retrieve
from kaixu.api.openai.chat_reply import merge_chunks, tool_call_delta
from kaixu.config.price import cents_of_nusd, usd
from kaixu.edge.authenticate import read_caller
from kaixu.edge.errors import envelope
from kaixu.edge.fields import read_object
from kaixu.edge.month_reply import month_reply
from kaixu.edge.paths import function_paths
from kaixu.edge.request import IncomingRequest
from kaixu.edge.response import Reply, json_reply
from kaixu.edge.routes import Route
from kaixu.edge.services import Services
from kaixu.edge.sse import ENCODER, frame
from kaixu.metering.chat_ticket import ChatTicket
from kaixu.plugin.errors import KaixuError
from kaixu.plugin.types import ChatDelta, ChatEvent, ReasoningDelta, ToolCallDelta

from .chat_request import FEATURE_FIELDS, parse_native_chat_request, read_model_names

#: `frame("delta", {"text": text})`: nearly all events of a stream.
TEXT_FRAME = b'event: delta\ndata: {"text":%s}\n\n'


class NativeChatCall(msgspec.Struct, frozen=True):
    """A prepared chat call, and the names of provider and model that the client used."""

    chat: PreparedChat
    provider: str | None
    model: str

    @property
    def names(self) -> dict[str, Any]:
        """The public names, and those that the client used."""
        deployment = self.chat.call.deployment
        return {
            "provider": deployment.shown_provider,
            "model": deployment.model,
            "requested_provider": self.provider,
            "requested_model": self.model,
        }

    @property
    def telemetry(self) -> dict[str, Any]:
        """The device that called."""
        return {"install_id": self.chat.call.caller.install_id}

    @property
    def citations(self) -> dict[str, Any]:
        """The passages of `retrieve`, if the request has it."""
        retrieved = self.chat.retrieved
        if retrieved is None:
            return {}
        return {"citations": citations_reply(retrieved), "retrieval": retrieval_reply(retrieved)}

    def bill(self, ticket: ChatTicket) -> dict[str, Any]:
        """The bill of search and chat, if there was a search."""
        retrieved = self.chat.retrieved
        return {} if retrieved is None else {"bill": joint_bill(retrieved, ticket)}


def chat_routes(services: Services) -> list[Route]:
    """The routes, bound to the services of one gateway."""

    async def prepare(request: IncomingRequest) -> NativeChatCall:
        caller = read_caller(request, services.secrets)
        body = await read_object(request)
        retrieval = take_retrieve(body)
        provider, model = read_model_names(body)
        requested = services.catalog.resolve(provider, model, "chat")
        prepared = await prepare_chat(
            services,
            request,
            body,
            caller=caller,
            requested=requested,
            parse=parse_native_chat_request,
            feature_fields=FEATURE_FIELDS,
            retrieval=retrieval,
        )
        return NativeChatCall(prepared, provider, model)

    async def chat(request: IncomingRequest) -> Reply:
        call = await prepare(request)
        ticket, events = await collect_answer(services, call.chat.admission)
        body = call.names | {
            "output_text": "".join(event.text for event in events if isinstance(event, ChatDelta)),
            "finish_reason": finish_reason(ticket),
            "end": ticket.end_reason or "complete",
            "usage": chat_usage_reply(ticket),
            "routing": routing_reply(ticket),
            "month": month_reply(ticket.figures),
            "telemetry": call.telemetry,
        }
        return json_reply(
            body | tool_calls_and_reasoning(events) | call.citations | call.bill(ticket), 200, call_headers(ticket)
        )

    async def stream(request: IncomingRequest) -> Reply:
        call = await prepare(request)
        return await stream_answer(services, call.chat.admission, NativeStreamEncoder(call))

    return [
        Route("POST", function_paths("gateway-chat"), chat, auth="key", rate="call"),
        Route("POST", function_paths("gateway-stream"), stream, auth="key", rate="call"),
    ]


def tool_calls_and_reasoning(events: Sequence[ChatEvent]) -> dict[str, Any]:
    """Tool calls and reasoning, if the answer has any."""
    fields: dict[str, Any] = {}
    calls = [event for event in events if isinstance(event, ToolCallDelta)]
    if calls:
        merged = merge_chunks([{"choices": [{"delta": {"tool_calls": [tool_call_delta(call)]}}]} for call in calls])
        fields["tool_calls"] = merged["choices"][0]["message"]["tool_calls"]
    if reasoning := "".join(event.text for event in events if isinstance(event, ReasoningDelta)):
        fields["reasoning"] = reasoning
    return fields


class NativeStreamEncoder:
    """Server-sent events: `meta` before the vendor answers, then `delta`s, and `done` after the call is settled."""

    def __init__(self, call: NativeChatCall) -> None:
        self.call = call

    def ping(self) -> bytes:
        """An event that clients know."""
        return frame("ping", {"t": int(time() * 1000)})

    def begin(self, ticket: ChatTicket) -> bytes:
        """`meta`."""
        meta = self.call.names | {"telemetry": self.call.telemetry, "month": month_reply(ticket.figures)}
        return frame("meta", meta | self.call.citations)

    def event(self, event: ChatEvent) -> bytes:
        """`delta`."""
        if type(event) is ChatDelta:
            return TEXT_FRAME % ENCODER.encode(event.text)
        match event:
            case ReasoningDelta(text) if text:
                return frame("delta", {"reasoning": text})
            case ToolCallDelta():
                return frame("delta", {"tool_calls": [tool_call_delta(event)]})
            case _:
                return b""

    def done(self, ticket: ChatTicket) -> bytes:
        """`done`."""
        done = {
            "usage": chat_usage_reply(ticket),
            "routing": routing_reply(ticket),
            "month": month_reply(ticket.figures),
            "finish_reason": finish_reason(ticket),
            "end": ticket.end_reason or "complete",
        }
        return frame("done", self.call.names | done | self.call.bill(ticket))

    def failed(self, error: KaixuError, ticket: ChatTicket) -> bytes:
        """`error`: the error body with the status it would have had, and what was billed."""
        body = envelope(error, ticket.ask.request_id) | {
            "status": error.status,
            "usage": chat_usage_reply(ticket),
            "routing": routing_reply(ticket),
        }
        if error.retry_after_s is not None:
            body["retry_after"] = error.retry_after_s
        return frame("error", self.call.names | body)


def finish_reason(ticket: ChatTicket) -> str | None:
    """The finish reason; "length" if the gateway ended the answer at its budget."""
    return "length" if ticket.end_reason == "budget_cut" else ticket.finish_reason


def chat_usage_reply(ticket: ChatTicket) -> dict[str, Any]:
    """Usage and cost: rounded cents for display, exact dollars."""
    bill, request = ticket.settlement, ticket.request
    assert bill is not None
    assert request is not None
    usage: dict[str, Any] = {
        "input_tokens": bill.input_tokens,
        "output_tokens": bill.output_tokens,
        "cached_input_tokens": bill.cached_input_tokens,
        "cost_cents": cents_of_nusd(bill.cost_nusd),
        "cost_usd": usd(bill.cost_nusd),
        "usage_source": bill.usage_source,
    }
    if ticket.lowered:
        usage["max_tokens_applied"] = request.max_tokens
    return usage
