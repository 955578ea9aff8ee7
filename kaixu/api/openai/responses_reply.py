"""The contract's events → OpenAI's Response: its items, one after the other, and the stream of their events."""

from __future__ import annotations

from time import time
from typing import Any

import msgspec

from kaixu.api.calls import bill_of
from kaixu.edge.errors import envelope
from kaixu.edge.openai_errors import openai_error
from kaixu.edge.sse import comment, frame
from kaixu.metering.chat_ticket import ChatTicket
from kaixu.plugin.errors import KaixuError
from kaixu.plugin.types import ChatDelta, ChatEvent, ReasoningDelta, ToolCallDelta

from .custom_tools import text_of
from .response_tools import CallNames
from .turns import extra_of

#: Why an answer is incomplete, by the contract's reason.
INCOMPLETE = {"length": "max_output_tokens", "content_filter": "content_filter"}
#: Items that are calls of tools, which may grow by turns.
CALLS = ("function_call", "custom_tool_call", "tool_search_call")
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

    Text, each thought and each tool call are items of their own, in the order they
    began. An item is open until something of another kind comes; tool calls stay open
    together, for some vendors tell their pieces by turns.
    """

    def __init__(self, body: dict[str, Any], model: str) -> None:
        self.body = body
        self.model = model
        self.id = ""
        self.created = int(time())
        self.number = 0
        self.items: list[dict[str, Any]] = []
        self.open: list[int] = []  # which items may still grow
        self.calls: dict[int, int] = {}  # which item a tool call is, by the contract's index
        self.arguments: dict[int, str] = {}  # what was said so far of calls that are told when they are whole
        self.names = CallNames(body)

    def ping(self) -> bytes:
        """A comment: the SDKs skip it."""
        return comment()

    def say(self, kind: str, **data: Any) -> bytes:
        """One event, numbered."""
        number, self.number = self.number, self.number + 1
        return frame(kind, {"type": kind, "sequence_number": number, **data})

    def begin(self, ticket: ChatTicket) -> bytes:
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
                return self.text(text)
            case ReasoningDelta(text, opaque):
                return self.reasoning(text, opaque)
            case ToolCallDelta():
                return self.tool_call(event)
            case _:
                return b""

    def text(self, text: str) -> bytes:
        """Words of the answer."""
        said, at = self.going_on("message")
        if at is None:
            about = {"status": "in_progress", "role": "assistant", "content": []}
            begun, at = self.begin_item("message", about)
            part: dict[str, Any] = {"type": "output_text", "text": "", "annotations": [], "logprobs": []}
            self.items[at]["content"].append(part)
            said += begun + self.say("response.content_part.added", **self.place(at), content_index=0, part=part)
        self.items[at]["content"][0]["text"] += text
        return said + self.say("response.output_text.delta", **self.place(at), content_index=0, delta=text, logprobs=[])

    def reasoning(self, text: str, opaque: str | None) -> bytes:
        """Words of a thought; its vendor's token ends it."""
        said, at = self.going_on("reasoning")
        if at is None:
            begun, at = self.begin_item("reasoning", {"summary": []})
            said += begun
        item = self.items[at]
        if text:
            if not item["summary"]:
                part = {"type": "summary_text", "text": ""}
                item["summary"].append(part)
                said += self.say("response.reasoning_summary_part.added", **self.place(at), summary_index=0, part=part)
            item["summary"][0]["text"] += text
            told = "response.reasoning_summary_text.delta"
            said += self.say(told, **self.place(at), summary_index=0, delta=text)
        if opaque is not None:
            item["encrypted_content"] = opaque
            said += self.close()
        return said

    def tool_call(self, event: ToolCallDelta) -> bytes:
        """A piece of a tool call."""
        said, open_call = self.going_on(*CALLS)
        at = None if open_call is None else self.calls.get(event.index)
        if at is None:
            begun, at = self.begin_call(event)
            self.calls[event.index] = at
            said += begun
        item = self.items[at]
        item |= extra_of(event.opaque)
        if at in self.arguments:
            self.arguments[at] += event.arguments
        elif event.arguments:
            item["arguments"] += event.arguments
            told = "response.function_call_arguments.delta"
            said += self.say(told, **self.place(at), delta=event.arguments)
        return said

    def begin_call(self, event: ToolCallDelta) -> tuple[bytes, int]:
        """A call as its client knows the tool: a function, perhaps of a namespace; a custom tool; a tool search."""
        kind = self.names.kind_of(event.name or "")
        about: dict[str, Any] = {"status": "in_progress", "call_id": event.id or ""}
        if kind == "tool_search_call":
            about |= {"execution": "client", "arguments": {}}
        else:
            about |= self.names.name_of(event.name or "") | {"arguments" if kind == "function_call" else "input": ""}
        begun, at = self.begin_item(kind, about | extra_of(event.opaque))
        if kind != "function_call":
            self.arguments[at] = ""
        return begun, at

    def going_on(self, *kinds: str) -> tuple[bytes, int | None]:
        """What comes before more of these kinds, and the open item of one of them."""
        said = self.opening()
        if self.open and self.items[self.open[-1]]["type"] in kinds:
            return said, self.open[-1]
        return said + self.close(), None

    def begin_item(self, kind: str, about: dict[str, Any]) -> tuple[bytes, int]:
        """One more item, open; and its index."""
        at = len(self.items)
        item = {"id": f"{kind[:2]}_{self.id[5:]}_{at}", "type": kind} | about
        if item.get("call_id") == "":
            item["call_id"] = item["id"]
        self.items.append(item)
        self.open.append(at)
        return self.say("response.output_item.added", output_index=at, item=item), at

    def place(self, at: int) -> dict[str, Any]:
        """Which item an event is about."""
        return {"item_id": self.items[at]["id"], "output_index": at}

    def close(self) -> bytes:
        """What is open is complete."""
        said = b"".join(self.close_item(at) for at in self.open)
        self.open.clear()
        self.calls.clear()
        return said

    def close_item(self, at: int) -> bytes:
        """One item is complete."""
        item, said = self.items[at], b""
        if item["type"] == "message":
            item["status"] = "completed"
            [part] = item["content"]
            place = self.place(at) | {"content_index": 0}
            said = self.say("response.output_text.done", **place, text=part["text"], logprobs=[])
            said += self.say("response.content_part.done", **place, part=part)
        elif item["type"] == "reasoning" and item["summary"]:
            [part] = item["summary"]
            place = self.place(at) | {"summary_index": 0}
            said = self.say("response.reasoning_summary_text.done", **place, text=part["text"])
            said += self.say("response.reasoning_summary_part.done", **place, part=part)
        elif item["type"] == "custom_tool_call":
            item["status"] = "completed"
            item["input"] = text_of(self.arguments[at])
            place = self.place(at)
            said = self.say("response.custom_tool_call_input.delta", **place, delta=item["input"])
            said += self.say("response.custom_tool_call_input.done", **place, input=item["input"])
        elif item["type"] == "tool_search_call":
            item["status"] = "completed"
            item["arguments"] = object_in(self.arguments[at])
        elif item["type"] == "function_call":
            item["status"] = "completed"
            told = {"name": item["name"], "arguments": item["arguments"]}
            said = self.say("response.function_call_arguments.done", **self.place(at), **told)
        return said + self.say("response.output_item.done", output_index=at, item=item)

    def done(self, ticket: ChatTicket) -> bytes:
        """The whole Response, after the call was settled."""
        said = self.opening() + self.close()
        whole = self.whole(ticket)
        return said + self.say(f"response.{whole['status']}", response=whole)

    def failed(self, error: KaixuError, ticket: ChatTicket) -> bytes:
        """An error in the middle."""
        body, _ = openai_error(envelope(error, ticket.ask.request_id), error.status)
        told = {"code": body["error"]["code"], "message": body["error"]["message"]}
        failed = self.response("failed") | {"error": told, "usage": usage_of(ticket), "kaixu": bill_of(ticket)}
        return self.opening() + self.close() + self.say("response.failed", response=failed)

    def whole(self, ticket: ChatTicket) -> dict[str, Any]:
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


def object_in(text: str) -> dict[str, Any]:
    """Arguments, read; none where they are no JSON object."""
    try:
        value = msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def usage_of(ticket: ChatTicket) -> dict[str, Any]:
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
