"""Translate events into an OpenAI chat completion, whole or as a stream of chunks."""

from __future__ import annotations

from collections.abc import Sequence
from time import time
from typing import Any

from kaixu.api.call_replies import bill_reply, over_defaults
from kaixu.api.collections.retrieve import citations_reply, joint_bill, retrieval_reply
from kaixu.api.openai.tool_call_format import ToolCallFormat
from kaixu.collections.retrieval import Retrieved
from kaixu.edge.errors import envelope
from kaixu.edge.openai_errors import openai_error
from kaixu.edge.sse import ENCODER, comment, data_frame
from kaixu.metering.chat_ticket import ChatTicket
from kaixu.plugin.errors import KaixuError
from kaixu.plugin.types import (
    ChatDelta,
    ChatEvent,
    Finish,
    NativeEvent,
    ReasoningDelta,
    ToolCallDelta,
)

from .chat_messages import thought_signature_field

#: The usage figures that are replaced with the billed ones.
BILLED_FIGURES = ("prompt_tokens", "completion_tokens", "total_tokens")

#: A chunk with text, around the text, after its first fields.
TEXT_START = b'"choices":[{"index":0,"delta":{"content":'
TEXT_END = b'},"logprobs":null,"finish_reason":null}]}\n\n'

#: Fields of deltas that are joined; for all others the last value counts.
TEXT_FIELDS = frozenset(
    {"content", "refusal", "reasoning_content", "reasoning", "arguments", "input", "text", "thinking"}
)


class ChatStreamEncoder:
    """Encodes a stream of `chat.completion.chunk`s. Chunks of a native lane are passed on with our model name."""

    def __init__(
        self,
        model: str,
        *,
        native: bool,
        include_usage: bool,
        retrieved: Retrieved | None = None,
        format: ToolCallFormat | None = None,
    ) -> None:
        self.retrieved = retrieved
        self.model = model
        self.native = native
        self.include_usage = include_usage
        self.head: dict[str, Any] = {}
        self.text_start = b""  # what all chunks with text begin with, once it is known
        self.usage: dict[str, Any] | None = None
        self.started = False
        self.finished = False
        self.deltas = DeltaEncoder(format)

    def ping(self) -> bytes:
        """A comment, which the SDKs skip."""
        return comment()

    def begin(self, ticket: ChatTicket) -> bytes:
        """Nothing, so that a failure before the vendor answers can have its own HTTP status."""
        self.head = completion_head(ticket, "chat.completion.chunk", self.model)
        return b""

    def event(self, event: ChatEvent) -> bytes:
        """One chunk, or nothing."""
        if type(event) is NativeEvent:
            return self.pass_on(event.data)
        if self.native:
            return b""
        if type(event) is ChatDelta and self.started:
            return self.text_frame(event.text)
        if isinstance(event, Finish):
            return self.finish(event.reason)
        delta = self.deltas.encode(event)
        return b"" if delta is None else self.chunk_frame(delta)

    def text_frame(self, text: str) -> bytes:
        """The chunk with a piece of text: nearly all of a stream, so what is the same in all is encoded once."""
        if not self.text_start:
            self.text_start = b"data: %s,%s" % (ENCODER.encode(self.head)[:-1], TEXT_START)
        return self.text_start + ENCODER.encode(text) + TEXT_END

    def chunk_frame(self, delta: dict[str, Any]) -> bytes:
        """A chunk with a delta of the message."""
        if not self.started:  # the role is sent once
            self.started = True
            delta = {"role": "assistant", "content": None} | delta
        return self.chunk(delta)

    def pass_on(self, data: dict[str, Any]) -> bytes:
        """The vendor's chunk, without its usage, which is sent when the call is settled."""
        head, usage = self.head, data.get("usage")
        self.usage = usage or self.usage
        for name in ("id", "created"):
            if value := data.get(name):
                head[name] = value
        choices = [as_delta(choice) if "message" in choice else choice for choice in data.get("choices") or ()]
        for choice in choices:
            if choice.get("finish_reason"):
                self.finished = True
        if not choices and usage is not None:
            return b""
        chunk = {**head, **data, **head, "choices": choices}  # ours first, and ours where both have a value
        chunk.pop("usage", None)
        return data_frame(chunk)

    def chunk(self, delta: dict[str, Any], finish_reason: str | None = None) -> bytes:
        """A chunk made by the gateway."""
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish_reason}
        return data_frame(self.head | {"choices": [choice]})

    def finish(self, reason: str) -> bytes:
        """The chunk with the finish reason."""
        self.finished = True
        rest = self.deltas.format.rest()
        previous = b"" if rest is None else self.chunk_frame(rest)
        return previous + self.chunk({}, self.deltas.format.reason(reason))

    def done(self, ticket: ChatTicket) -> bytes:
        """The last chunks: finish reason, usage, citations, `[DONE]`."""
        # The gateway may have ended the stream at its budget, without the vendor's finish chunk.
        end = b"" if self.finished else self.finish("length" if ticket.end_reason == "budget_cut" else "stop")
        if self.include_usage:
            last = {"choices": [], "usage": merged_usage(self.usage, ticket), "kaixu": bill_reply(ticket)}
            end += data_frame(self.head | last)
        if self.retrieved is not None:
            end += data_frame(self.head | {"choices": []} | retrieval_fields(self.retrieved, ticket))
        return end + b"data: [DONE]\n\n"

    def failed(self, error: KaixuError, ticket: ChatTicket) -> bytes:
        """An error in the stream, which the SDKs raise."""
        body, status = openai_error(envelope(error, ticket.ask.request_id), error.status)
        body["error"]["status"] = status
        return data_frame(body | {"kaixu": bill_reply(ticket)})


def completion(
    ticket: ChatTicket, events: Sequence[ChatEvent], model: str, format: ToolCallFormat | None = None
) -> dict[str, Any]:
    """A complete `chat.completion`."""
    head = completion_head(ticket, "chat.completion", model)
    merged = merge_completion(events, model, ticket.finish_reason, ticket.end_reason, format)
    usage = merged_usage(merged.get("usage"), ticket)
    return over_defaults(head, merged) | {"usage": usage, "kaixu": bill_reply(ticket)}


def merge_completion(
    events: Sequence[ChatEvent],
    model: str,
    finish_reason: str | None,
    end_reason: str | None,
    format: ToolCallFormat | None = None,
) -> dict[str, Any]:
    """Merge all events to one `chat.completion`, without id, usage and bill."""
    chunks = [event.data for event in events if isinstance(event, NativeEvent)]
    if not chunks:
        deltas = DeltaEncoder(format)
        parts = [delta for event in events if (delta := deltas.encode(event))]
        parts += [rest] if (rest := deltas.format.rest()) is not None else []
        chunks = [{"choices": [{"index": 0, "delta": delta}]} for delta in parts]
        chunks.append({"choices": [{"index": 0, "finish_reason": deltas.format.reason(finish_reason)}]})
    merged = whole_completion(chunks[0]) if len(chunks) == 1 else merge_chunks(chunks)
    merged |= {"object": "chat.completion", "model": model}
    for choice in merged["choices"]:
        if choice["finish_reason"] is None:
            choice["finish_reason"] = "length" if end_reason == "budget_cut" else "stop"
    return merged


def retrieval_fields(retrieved: Retrieved, ticket: ChatTicket) -> dict[str, Any]:
    """The passages of `retrieve`, and the bill of search and chat."""
    bills = {"retrieval": retrieval_reply(retrieved), "bill": joint_bill(retrieved, ticket)}
    return {"citations": citations_reply(retrieved), "kaixu": bill_reply(ticket) | bills}


def completion_head(ticket: ChatTicket, kind: str, model: str) -> dict[str, Any]:
    """The first fields of a completion and of every chunk."""
    return {"id": f"chatcmpl-{ticket.id.hex}", "object": kind, "created": int(time()), "model": model}


class DeltaEncoder:
    """Translates events into deltas. Thoughts are numbered, so that each has its own signature."""

    def __init__(self, format: ToolCallFormat | None = None) -> None:
        self.format = ToolCallFormat({}) if format is None else format
        self.thought = 0

    def encode(self, event: ChatEvent) -> dict[str, Any] | None:
        """The delta of an event; None for an event without one."""
        match event:
            case ChatDelta(text):
                return {"content": text}
            case ReasoningDelta(text, opaque):
                return self.reasoning(text, opaque)
            case ToolCallDelta():
                return self.format.delta(event, tool_call_delta(event))
            case _:
                return None

    def reasoning(self, text: str, opaque: str | None) -> dict[str, Any]:
        """Reasoning in DeepSeek's format and in OpenRouter's, which has the signature."""
        detail: dict[str, Any] = {"index": self.thought, "type": "reasoning.text"}
        delta: dict[str, Any] = {"reasoning_details": [detail]}
        if text:
            delta["reasoning_content"] = detail["text"] = text
        if opaque is not None:  # a signature ends its thought
            detail["signature"] = opaque
            self.thought += 1
        return delta


def tool_call_delta(event: ToolCallDelta) -> dict[str, Any]:
    """The delta of one piece of a tool call."""
    function: dict[str, Any] = {"arguments": event.arguments}
    if event.name is None:
        return {"index": event.index, "function": function, **thought_signature_field(event.opaque)}
    function = {"name": event.name} | function
    return {
        "index": event.index,
        "id": event.id,
        "type": "function",
        "function": function,
        **thought_signature_field(event.opaque),
    }


def as_delta(choice: dict[str, Any]) -> dict[str, Any]:
    """A choice with `delta`; a vendor that did not stream sends `message` instead."""
    if "message" not in choice:
        return choice
    choice = dict(choice)
    return choice | {"delta": choice.pop("message")}


def whole_completion(chunk: dict[str, Any]) -> dict[str, Any]:
    """The completion that came in one piece, with all its fields as the vendor has sent them."""
    return chunk | {"choices": [whole_choice(as_delta(choice)) for choice in chunk.get("choices") or ()]}


def whole_choice(choice: dict[str, Any]) -> dict[str, Any]:
    """A choice with a whole `message`, without the indexes that only the tool calls of a stream have."""
    choice = {"index": 0, "logprobs": None, "finish_reason": None} | choice
    message = over_defaults({"role": "assistant", "content": None}, choice.pop("delta", None) or {})
    calls = message.get("tool_calls")
    if isinstance(calls, list):
        message["tool_calls"] = [{name: call[name] for name in call if name != "index"} for call in calls]
    return choice | {"message": message}


def merge_chunks(chunks: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Merge all chunks to one completion: texts and tool calls joined, the last value of other fields."""
    merged: dict[str, Any] = {}
    choices: dict[int, dict[str, Any]] = {}
    for chunk in chunks:
        for piece in chunk.get("choices") or ():
            choice = as_delta(piece)
            index = choice.get("index") or 0
            slot = choices.setdefault(
                index,
                {
                    "index": index,
                    "message": {"role": "assistant", "content": None},
                    "logprobs": None,
                    "finish_reason": None,
                },
            )
            merge_delta(slot["message"], choice.get("delta") or {})
            logprobs = choice.get("logprobs")
            if logprobs:
                slot["logprobs"] = slot["logprobs"] or {}
                merge_delta(slot["logprobs"], logprobs)
            known = ("index", "delta", "logprobs")
            slot |= {name: value for name, value in choice.items() if name not in known and value is not None}
        merged |= {name: value for name, value in chunk.items() if name != "choices" and value is not None}
    for choice in choices.values():
        for call in choice["message"].get("tool_calls") or ():
            call.pop("index", None)
    return merged | {"choices": [choices[index] for index in sorted(choices)]}


def merge_delta(into: dict[str, Any], delta: dict[str, Any]) -> None:
    """Merge a delta into a message."""
    for name, value in delta.items():
        previous = into.get(name)
        if value is None:
            into.setdefault(name, None)
        elif previous is None:
            into[name] = merge_list([], value) if isinstance(value, list) else value
        elif isinstance(previous, str) and isinstance(value, str) and name in TEXT_FIELDS:
            into[name] = previous + value
        elif isinstance(previous, dict) and isinstance(value, dict):
            merge_delta(previous, value)
        elif isinstance(previous, list) and isinstance(value, list):
            merge_list(previous, value)
        else:
            into[name] = value


def merge_list(into: list[Any], pieces: list[Any]) -> list[Any]:
    """Merge pieces into a list: by their `index`, or appended."""
    for piece in pieces:
        same = None
        if isinstance(piece, dict) and isinstance(piece.get("index"), int):
            same = next((one for one in into if isinstance(one, dict) and one.get("index") == piece["index"]), None)
        if same is None:
            into.append(dict(piece) if isinstance(piece, dict) else piece)
        else:
            merge_delta(same, piece)
    return into


def merged_usage(vendor_usage: dict[str, Any] | None, ticket: ChatTicket) -> dict[str, Any]:
    """The vendor's usage with the figures that were billed, which may differ."""
    billed = completion_usage(ticket)
    if not vendor_usage:
        return billed
    return vendor_usage | {name: billed[name] for name in BILLED_FIGURES}


def completion_usage(ticket: ChatTicket) -> dict[str, Any]:
    """The settled usage in the format of Chat Completions."""
    settled = ticket.settlement
    assert settled is not None
    return {
        "prompt_tokens": settled.input_tokens,
        "completion_tokens": settled.output_tokens,
        "total_tokens": settled.input_tokens + settled.output_tokens,
        "prompt_tokens_details": {"cached_tokens": settled.cached_input_tokens},
        "completion_tokens_details": {"reasoning_tokens": settled.reasoning_tokens},
    }
