"""Translate events into an OpenAI Response: its items, and the stream of its events."""

from __future__ import annotations

from time import time
from typing import Any

import msgspec

from kaixu.api.call_replies import bill_reply
from kaixu.edge.errors import envelope
from kaixu.edge.openai_errors import openai_error
from kaixu.edge.sse import comment, frame
from kaixu.metering.chat_ticket import ChatTicket
from kaixu.plugin.errors import KaixuError
from kaixu.plugin.types import ChatDelta, ChatEvent, ReasoningDelta, ToolCallDelta

from .chat_messages import thought_signature_field
from .custom_tools import decode_input
from .response_tools import ClientToolNames

#: `incomplete_details.reason` by the contract's finish reason.
INCOMPLETE = {"length": "max_output_tokens", "content_filter": "content_filter"}
#: Types of items for tool calls.
CALLS = ("function_call", "custom_tool_call", "tool_search_call")
#: Fields of the request that the reply repeats, with their defaults.
ECHOED: dict[str, Any] = {
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


class ResponseEncoder:
    """Builds one Response; every method returns the frames for what it added.

    Text, each thought and each tool call are separate items, in the order of their start. An item is open until an
    event of another kind comes. Tool calls stay open together, because some vendors interleave their pieces.
    """

    def __init__(self, body: dict[str, Any], model: str) -> None:
        self.body = body
        self.model = model
        self.id = ""
        self.created = int(time())
        self.number = 0
        self.items: list[dict[str, Any]] = []
        self.open: list[int] = []  # indices of the items that are not complete
        self.calls: dict[int, int] = {}  # the item of a tool call, by the contract's index
        self.arguments: dict[int, str] = {}  # of calls that are sent when they are complete
        self.names = ClientToolNames(body)

    def ping(self) -> bytes:
        """A comment, which the SDKs skip."""
        return comment()

    def event_frame(self, kind: str, **data: Any) -> bytes:
        """One numbered event."""
        number, self.number = self.number, self.number + 1
        return frame(kind, {"type": kind, "sequence_number": number, **data})

    def begin(self, ticket: ChatTicket) -> bytes:
        """Nothing, so that a failure before the vendor answers can have its own HTTP status."""
        self.id = f"resp_{ticket.id.hex}"
        return b""

    def opening(self) -> bytes:
        """The events before the first item, once."""
        if self.number:
            return b""
        response = self.response("in_progress")
        return self.event_frame("response.created", response=response) + self.event_frame(
            "response.in_progress", response=response
        )

    def event(self, event: ChatEvent) -> bytes:
        """Add one event of the lane."""
        match event:
            case ChatDelta(text):
                return self.text(text)
            case ReasoningDelta(text, opaque):
                return self.reasoning(text, opaque)
            case ToolCallDelta():
                return self.tool_call(event)
            case _:
                return b""

    def text(self, text: str) -> bytes:
        """Text of the answer."""
        frames, at = self.continue_item("message")
        if at is None:
            about = {"status": "in_progress", "role": "assistant", "content": []}
            started, at = self.begin_item("message", about)
            part: dict[str, Any] = {"type": "output_text", "text": "", "annotations": [], "logprobs": []}
            self.items[at]["content"].append(part)
            frames += started + self.event_frame(
                "response.content_part.added", **self.place(at), content_index=0, part=part
            )
        self.items[at]["content"][0]["text"] += text
        return frames + self.event_frame(
            "response.output_text.delta", **self.place(at), content_index=0, delta=text, logprobs=[]
        )

    def reasoning(self, text: str, opaque: str | None) -> bytes:
        """Text of a thought; the vendor's token ends it."""
        frames, at = self.continue_item("reasoning")
        if at is None:
            started, at = self.begin_item("reasoning", {"summary": []})
            frames += started
        item = self.items[at]
        if text:
            if not item["summary"]:
                part = {"type": "summary_text", "text": ""}
                item["summary"].append(part)
                frames += self.event_frame(
                    "response.reasoning_summary_part.added", **self.place(at), summary_index=0, part=part
                )
            item["summary"][0]["text"] += text
            event = "response.reasoning_summary_text.delta"
            frames += self.event_frame(event, **self.place(at), summary_index=0, delta=text)
        if opaque is not None:
            item["encrypted_content"] = opaque
            frames += self.close()
        return frames

    def tool_call(self, event: ToolCallDelta) -> bytes:
        """A piece of a tool call."""
        frames, open_call = self.continue_item(*CALLS)
        at = None if open_call is None else self.calls.get(event.index)
        if at is None:
            started, at = self.begin_call(event)
            self.calls[event.index] = at
            frames += started
        item = self.items[at]
        item |= thought_signature_field(event.opaque)
        if at in self.arguments:
            self.arguments[at] += event.arguments
        elif event.arguments:
            item["arguments"] += event.arguments
            kind = "response.function_call_arguments.delta"
            frames += self.event_frame(kind, **self.place(at), delta=event.arguments)
        return frames

    def begin_call(self, event: ToolCallDelta) -> tuple[bytes, int]:
        """Begin a call of the client's tool: a function, a custom tool or a tool search."""
        kind = self.names.kind_of(event.name or "")
        about: dict[str, Any] = {"status": "in_progress", "call_id": event.id or ""}
        if kind == "tool_search_call":
            about |= {"execution": "client", "arguments": {}}
        else:
            about |= self.names.name_of(event.name or "") | {"arguments" if kind == "function_call" else "input": ""}
        started, at = self.begin_item(kind, about | thought_signature_field(event.opaque))
        if kind != "function_call":
            self.arguments[at] = ""
        return started, at

    def continue_item(self, *kinds: str) -> tuple[bytes, int | None]:
        """The open item of one of these types; otherwise close all items and return None. Also the frames for that."""
        frames = self.opening()
        if self.open and self.items[self.open[-1]]["type"] in kinds:
            return frames, self.open[-1]
        return frames + self.close(), None

    def begin_item(self, kind: str, about: dict[str, Any]) -> tuple[bytes, int]:
        """Begin an item: its frame and its index."""
        at = len(self.items)
        item = {"id": f"{kind[:2]}_{self.id[5:]}_{at}", "type": kind} | about
        if item.get("call_id") == "":
            item["call_id"] = item["id"]
        self.items.append(item)
        self.open.append(at)
        return self.event_frame("response.output_item.added", output_index=at, item=item), at

    def place(self, at: int) -> dict[str, Any]:
        """The fields that name an item."""
        return {"item_id": self.items[at]["id"], "output_index": at}

    def close(self) -> bytes:
        """Complete all open items."""
        frames = b"".join(self.close_item(at) for at in self.open)
        self.open.clear()
        self.calls.clear()
        return frames

    def close_item(self, at: int) -> bytes:
        """Complete one item."""
        item, frames = self.items[at], b""
        if item["type"] == "message":
            item["status"] = "completed"
            [part] = item["content"]
            place = self.place(at) | {"content_index": 0}
            frames = self.event_frame("response.output_text.done", **place, text=part["text"], logprobs=[])
            frames += self.event_frame("response.content_part.done", **place, part=part)
        elif item["type"] == "reasoning" and item["summary"]:
            [part] = item["summary"]
            place = self.place(at) | {"summary_index": 0}
            frames = self.event_frame("response.reasoning_summary_text.done", **place, text=part["text"])
            frames += self.event_frame("response.reasoning_summary_part.done", **place, part=part)
        elif item["type"] == "custom_tool_call":
            item["status"] = "completed"
            item["input"] = decode_input(self.arguments[at])
            place = self.place(at)
            frames = self.event_frame("response.custom_tool_call_input.delta", **place, delta=item["input"])
            frames += self.event_frame("response.custom_tool_call_input.done", **place, input=item["input"])
        elif item["type"] == "tool_search_call":
            item["status"] = "completed"
            item["arguments"] = read_object(self.arguments[at])
        elif item["type"] == "function_call":
            item["status"] = "completed"
            call = {"name": item["name"], "arguments": item["arguments"]}
            frames = self.event_frame("response.function_call_arguments.done", **self.place(at), **call)
        return frames + self.event_frame("response.output_item.done", output_index=at, item=item)

    def done(self, ticket: ChatTicket) -> bytes:
        """The last event, with the complete Response, after the call was settled."""
        frames = self.opening() + self.close()
        response = self.complete_response(ticket)
        return frames + self.event_frame(f"response.{response['status']}", response=response)

    def failed(self, error: KaixuError, ticket: ChatTicket) -> bytes:
        """An error in the stream."""
        body, _ = openai_error(envelope(error, ticket.ask.request_id), error.status)
        details = {"code": body["error"]["code"], "message": body["error"]["message"]}
        failed = self.response("failed") | {
            "error": details,
            "usage": response_usage(ticket),
            "kaixu": bill_reply(ticket),
        }
        return self.opening() + self.close() + self.event_frame("response.failed", response=failed)

    def complete_response(self, ticket: ChatTicket) -> dict[str, Any]:
        """The complete Response."""
        reason = "length" if ticket.end_reason == "budget_cut" else ticket.finish_reason
        why = INCOMPLETE.get(reason or "")
        if why is not None and self.items and "status" in self.items[-1]:
            self.items[-1]["status"] = "incomplete"
        response = self.response("completed" if why is None else "incomplete")
        response |= {"usage": response_usage(ticket), "kaixu": bill_reply(ticket)}
        return response if why is None else response | {"incomplete_details": {"reason": why}}

    def response(self, status: str) -> dict[str, Any]:
        """The Response so far."""
        repeated = {
            name: default if self.body.get(name) is None else self.body[name] for name, default in ECHOED.items()
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


def read_object(text: str) -> dict[str, Any]:
    """Parse arguments; an empty object if they are not a JSON object."""
    try:
        value = msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def response_usage(ticket: ChatTicket) -> dict[str, Any]:
    """The settled usage in the format of the Responses API."""
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
