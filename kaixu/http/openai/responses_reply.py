"""The contract's events → OpenAI's Response: its items, one after the other, and the stream of their events."""

from __future__ import annotations

from time import time
from typing import Any

from kaixu.http.calls import bill_of
from kaixu.http.errors import envelope
from kaixu.http.sse import comment, frame
from kaixu.metering.ticket import Ticket
from kaixu.plugin.errors import KaixuError
from kaixu.plugin.types import ChatDelta, ChatEvent, ReasoningDelta, ToolCallDelta

from .errors import openai_error

#: Why an answer is incomplete, by the contract's reason.
INCOMPLETE = {"length": "max_output_tokens", "content_filter": "content_filter"}
#: What a reply repeats of its request.
REPEATED: dict[str, Any] = {
    "instructions": None,
    "metadata": {},
    "parallel_tool_calls": True,
    "temperature": None,
    "top_p": None,
    "tool_choice": "auto",
    "tools": [],
    "text": {"format": {"type": "text"}},
    "reasoning": {"effort": None, "summary": None},
    "max_output_tokens": None,
}


class Responder:
    """Builds one Response; every method gives the frames that say what it added.

    An item is open until something of another kind comes: text, a tool call and
    reasoning are items of their own, in the order they came.
    """

    def __init__(self, body: dict[str, Any], model: str) -> None:
        self.body = body
        self.model = model
        self.id = ""
        self.created = int(time())
        self.number = 0
        self.items: list[dict[str, Any]] = []
        self.open: dict[str, Any] | None = None
        self.call = -1  # the contract's index of the open tool call

    def ping(self) -> bytes:
        """A comment: the SDKs skip it."""
        return comment()

    def say(self, kind: str, **data: Any) -> bytes:
        """One event, numbered."""
        number, self.number = self.number, self.number + 1
        return frame(kind, {"type": kind, "sequence_number": number, **data})

    def begin(self, ticket: Ticket) -> bytes:
        """Nothing yet: until the vendor answers, a failure has a status of its own."""
        self.id = f"resp_{ticket.id.hex}"
        return b""

    def opening(self) -> bytes:
        """What comes before the first item."""
        if self.number:
            return b""
        started = self.response("in_progress")
        return self.say("response.created", response=started) + self.say("response.in_progress", response=started)

    def event(self, event: ChatEvent) -> bytes:
        """Add what one event says."""
        match event:
            case ChatDelta(text):
                begun = self.opening() + self.item("message")
                return begun + self.grow(self.opened["content"][0], text, "response.output_text.delta", content_index=0)
            case ReasoningDelta(text, opaque):
                begun = self.opening() + self.item("reasoning")
                if opaque is not None:
                    self.opened["encrypted_content"] = opaque
                if not text:
                    return begun
                if not self.opened["summary"]:
                    part = {"type": "summary_text", "text": ""}
                    self.opened["summary"].append(part)
                    begun += self.say("response.reasoning_summary_part.added", **self.place, summary_index=0, part=part)
                told = "response.reasoning_summary_text.delta"
                return begun + self.grow(self.opened["summary"][0], text, told, summary_index=0)
            case ToolCallDelta():
                begun = self.opening() + self.item("function_call", event)
                if not event.arguments:
                    return begun
                self.opened["arguments"] += event.arguments
                told = "response.function_call_arguments.delta"
                return begun + self.say(told, **self.place, delta=event.arguments)
            case _:
                return b""

    @property
    def opened(self) -> dict[str, Any]:
        """The open item."""
        assert self.open is not None
        return self.open

    @property
    def place(self) -> dict[str, Any]:
        """Which item an event is about."""
        return {"item_id": self.opened["id"], "output_index": len(self.items)}

    def grow(self, part: dict[str, Any], text: str, kind: str, **where: int) -> bytes:
        """Add text to a part of the open item."""
        part["text"] += text
        extra: dict[str, Any] = {"logprobs": []} if kind == "response.output_text.delta" else {}
        return self.say(kind, **self.place, **where, delta=text, **extra)

    def item(self, kind: str, call: ToolCallDelta | None = None) -> bytes:
        """Make sure that an item of `kind`, or of this very call, is open."""
        same_call = call is None or call.index == self.call
        if self.open is not None and self.open["type"] == kind and same_call:
            return b""
        said = self.close()
        name = f"{kind[:2]}_{self.id[5:]}_{len(self.items)}"
        if kind == "message":
            self.open = {"id": name, "type": kind, "status": "in_progress", "role": "assistant", "content": []}
        elif kind == "reasoning":
            self.open = {"id": name, "type": kind, "summary": []}
        else:
            assert call is not None
            self.call = call.index
            about = {"call_id": call.id or name, "name": call.name or "", "arguments": ""}
            self.open = {"id": name, "type": kind, "status": "in_progress", **about}
        said += self.say("response.output_item.added", output_index=len(self.items), item=self.open)
        if kind == "message":
            part: dict[str, Any] = {"type": "output_text", "text": "", "annotations": [], "logprobs": []}
            self.open["content"].append(part)
            said += self.say("response.content_part.added", **self.place, content_index=0, part=part)
        return said

    def close(self) -> bytes:
        """The open item is complete."""
        item = self.open
        if item is None:
            return b""
        said = b""
        if item["type"] == "message":
            item["status"] = "completed"
            [part] = item["content"]
            place = self.place | {"content_index": 0}
            said = self.say("response.output_text.done", **place, text=part["text"], logprobs=[])
            said += self.say("response.content_part.done", **place, part=part)
        elif item["type"] == "reasoning" and item["summary"]:
            [part] = item["summary"]
            place = self.place | {"summary_index": 0}
            said = self.say("response.reasoning_summary_text.done", **place, text=part["text"])
            said += self.say("response.reasoning_summary_part.done", **place, part=part)
        elif item["type"] == "function_call":
            item["status"] = "completed"
            told = {"name": item["name"], "arguments": item["arguments"]}
            said = self.say("response.function_call_arguments.done", **self.place, **told)
        said += self.say("response.output_item.done", output_index=len(self.items), item=item)
        self.items.append(item)
        self.open = None
        return said

    def done(self, ticket: Ticket) -> bytes:
        """The whole Response, after the call was settled."""
        said = self.opening() + self.close()
        whole = self.whole(ticket)
        return said + self.say(f"response.{whole['status']}", response=whole)

    def failed(self, error: KaixuError, ticket: Ticket) -> bytes:
        """An error in the middle."""
        body, _ = openai_error(envelope(error, ticket.ask.request_id), error.status)
        told = {"code": body["error"]["code"], "message": body["error"]["message"]}
        failed = self.response("failed") | {"error": told, "usage": usage_of(ticket), "kaixu": bill_of(ticket)}
        return self.opening() + self.close() + self.say("response.failed", response=failed)

    def whole(self, ticket: Ticket) -> dict[str, Any]:
        """The finished Response."""
        reason = "length" if ticket.end_reason == "budget_cut" else ticket.finish_reason
        why = INCOMPLETE.get(reason or "")
        if why is not None and self.items and "status" in self.items[-1]:
            self.items[-1]["status"] = "incomplete"
        whole = self.response("completed" if why is None else "incomplete")
        whole |= {"usage": usage_of(ticket), "kaixu": bill_of(ticket)}
        return whole if why is None else whole | {"incomplete_details": {"reason": why}}

    def response(self, status: str) -> dict[str, Any]:
        """The Response as far as it is known."""
        repeated = {
            name: default if self.body.get(name) is None else self.body[name] for name, default in REPEATED.items()
        }
        return {
            "id": self.id,
            "object": "response",
            "created_at": self.created,
            "status": status,
            "error": None,
            "incomplete_details": None,
            "model": self.model,
            "output": list(self.items),
            "previous_response_id": None,
            "store": False,
            "truncation": "disabled",
            "usage": None,
            **repeated,
        }


def usage_of(ticket: Ticket) -> dict[str, Any]:
    """The settled usage, in the words of the Responses API."""
    settled = ticket.settlement
    assert settled is not None
    return {
        "input_tokens": settled.input_tokens,
        "input_tokens_details": {
            "cached_tokens": settled.cached_input_tokens,
            "cache_write_tokens": settled.cache_write_tokens,
        },
        "output_tokens": settled.output_tokens,
        "output_tokens_details": {"reasoning_tokens": settled.reasoning_tokens},
        "total_tokens": settled.input_tokens + settled.output_tokens,
    }
