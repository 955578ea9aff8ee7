"""The native chat doors: `gateway-chat` answers in one piece, `gateway-stream` as server-sent events."""

from __future__ import annotations

from collections.abc import Sequence
from time import time
from typing import Any

import msgspec

from kaixu.api.calls import ChatCall, admission, answered, call_headers, routing_of, streamed
from kaixu.api.collections.retrieve import (
    Retrieved,
    both_lines,
    citations,
    retrieval_of,
    retrieval_reply,
    retrieved,
    with_passages,
)
from kaixu.api.openai.chat_reply import call_of, folded
from kaixu.config.price import cents_of_nusd, usd
from kaixu.edge.authenticate import caller_of
from kaixu.edge.errors import envelope
from kaixu.edge.exchange import Door
from kaixu.edge.fields import object_in
from kaixu.edge.function_paths import paths_of
from kaixu.edge.month_reply import month_reply
from kaixu.edge.off_loop import off_loop
from kaixu.edge.request import IncomingRequest
from kaixu.edge.response import Reply, json_reply
from kaixu.edge.services import Services
from kaixu.edge.sse import frame
from kaixu.metering.chat_ticket import ChatTicket
from kaixu.plugin.errors import KaixuError
from kaixu.plugin.types import ChatDelta, ChatEvent, ReasoningDelta, ToolCallDelta

from .chat_request import FEATURES, names_in, request_of


class NativeChatCall(msgspec.Struct, frozen=True):
    """A chat call, the names that the client used for what it wants, and what was looked up for it."""

    asking: ChatCall
    provider: str | None
    model: str
    found: Retrieved | None = None

    @property
    def names(self) -> dict[str, Any]:
        """The public names, and those that the client used."""
        return {
            "provider": self.asking.deployment.shown_provider,
            "model": self.asking.deployment.model,
            "requested_provider": self.provider,
            "requested_model": self.model,
        }

    @property
    def citations(self) -> dict[str, Any]:
        """What was looked up, where that was asked for."""
        if self.found is None:
            return {}
        return {"citations": citations(self.found), "retrieval": retrieval_reply(self.found)}

    def bill(self, ticket: ChatTicket) -> dict[str, Any]:
        """Both lines of the bill, where there are two."""
        return {} if self.found is None else {"bill": both_lines(self.found, ticket)}


def chat_doors(services: Services) -> list[Door]:
    """The doors, bound to one gateway."""

    async def read(asked: IncomingRequest) -> NativeChatCall:
        caller = caller_of(asked, services.secrets)
        body = await object_in(asked)
        wanted = retrieval_of(body)
        provider, model = names_in(body)
        found = services.catalog.resolve(provider, model, "chat")
        size, most = len(asked.body), services.gateway.max_messages
        request = await off_loop(size, lambda: request_of(body, found.deployment, most_messages=most))
        asking = ChatCall(caller, found.deployment, found.provider, request)
        if wanted is None:
            return NativeChatCall(asking, provider, model)
        await off_loop(
            size, lambda: admission(services, asking, FEATURES)
        )  # what is wrong with the chat is said before the search is paid for
        looked_up = await retrieved(services, caller, wanted, request)
        told = with_passages(body, looked_up)
        request = await off_loop(size, lambda: request_of(told, found.deployment, most_messages=most))
        return NativeChatCall(msgspec.structs.replace(asking, request=request), provider, model, looked_up)

    async def chat(asked: IncomingRequest) -> Reply:
        ask = await read(asked)
        ticket, events = await answered(
            services, await off_loop(len(asked.body), lambda: admission(services, ask.asking, FEATURES))
        )
        body = ask.names | {
            "output_text": "".join(event.text for event in events if isinstance(event, ChatDelta)),
            "finish_reason": finish_reason_of(ticket),
            "end": ticket.end_reason or "complete",
            "usage": chat_usage_reply(ticket),
            "routing": routing_of(ticket),
            "month": month_reply(ticket.figures),
            "telemetry": {"install_id": ask.asking.caller.install_id},
        }
        return json_reply(body | extras(events) | ask.citations | ask.bill(ticket), 200, call_headers(ticket))

    async def stream(asked: IncomingRequest) -> Reply:
        ask = await read(asked)
        call = await off_loop(len(asked.body), lambda: admission(services, ask.asking, FEATURES))
        return await streamed(services, call, NativeSpeaker(ask))

    return [
        Door(chat, paths_of("gateway-chat"), rate="call"),
        Door(stream, paths_of("gateway-stream"), rate="call"),
    ]


def extras(events: Sequence[ChatEvent]) -> dict[str, Any]:
    """Tool calls and reasoning, where there were any."""
    said: dict[str, Any] = {}
    calls = [event for event in events if isinstance(event, ToolCallDelta)]
    if calls:
        whole = folded([{"choices": [{"delta": {"tool_calls": [call_of(call)]}}]} for call in calls])
        said["tool_calls"] = whole["choices"][0]["message"]["tool_calls"]
    if reasoning := "".join(event.text for event in events if isinstance(event, ReasoningDelta)):
        said["reasoning"] = reasoning
    return said


class NativeSpeaker:
    """`meta` before the vendor answers, `delta`s, and `done` after the money is written."""

    def __init__(self, ask: NativeChatCall) -> None:
        self.ask = ask

    def ping(self) -> bytes:
        """An event that clients know."""
        return frame("ping", {"t": int(time() * 1000)})

    def begin(self, ticket: ChatTicket) -> bytes:
        """`meta`."""
        telemetry = {"install_id": self.ask.asking.caller.install_id}
        meta = self.ask.names | {"telemetry": telemetry, "month": month_reply(ticket.figures)}
        return frame("meta", meta | self.ask.citations)

    def event(self, event: ChatEvent) -> bytes:
        """`delta`."""
        match event:
            case ChatDelta(text):
                return frame("delta", {"text": text})
            case ReasoningDelta(text) if text:
                return frame("delta", {"reasoning": text})
            case ToolCallDelta():
                return frame("delta", {"tool_calls": [call_of(event)]})
            case _:
                return b""

    def done(self, ticket: ChatTicket) -> bytes:
        """`done`."""
        done = {
            "usage": chat_usage_reply(ticket),
            "routing": routing_of(ticket),
            "month": month_reply(ticket.figures),
            "finish_reason": finish_reason_of(ticket),
            "end": ticket.end_reason or "complete",
        }
        return frame("done", self.ask.names | done | self.ask.bill(ticket))

    def failed(self, error: KaixuError, ticket: ChatTicket) -> bytes:
        """`error`: the envelope with the status it would have had, and what was billed."""
        body = envelope(error, ticket.ask.request_id) | {
            "status": error.status,
            "usage": chat_usage_reply(ticket),
            "routing": routing_of(ticket),
        }
        if error.retry_after_s is not None:
            body["retry_after"] = error.retry_after_s
        return frame("error", self.ask.names | body)


def finish_reason_of(ticket: ChatTicket) -> str | None:
    """Why it ended; an answer that we ended for its budget has no reason of the vendor's."""
    return "length" if ticket.end_reason == "budget_cut" else ticket.finish_reason


def chat_usage_reply(ticket: ChatTicket) -> dict[str, Any]:
    """What the call used and cost: cents for display, dollars exactly."""
    bill, wanted = ticket.settlement, ticket.request
    assert bill is not None
    assert wanted is not None
    usage: dict[str, Any] = {
        "input_tokens": bill.input_tokens,
        "output_tokens": bill.output_tokens,
        "cached_input_tokens": bill.cached_input_tokens,
        "cost_cents": cents_of_nusd(bill.cost_nusd),
        "cost_usd": usd(bill.cost_nusd),
        "usage_source": bill.usage_source,
    }
    if ticket.lowered:
        usage["max_tokens_applied"] = wanted.max_tokens
    return usage
