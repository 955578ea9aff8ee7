"""The contract's events → OpenAI's completion, whole or in chunks."""

from __future__ import annotations

from collections.abc import Sequence
from time import time
from typing import Any

from kaixu.api.calls import bill_of
from kaixu.api.collections.retrieve import Retrieved, both_lines, citations, retrieval_reply
from kaixu.edge.errors import envelope
from kaixu.edge.openai_errors import openai_error
from kaixu.edge.sse import comment, data_frame
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

from .chat_forms import CallForms
from .turns import extra_of

#: The figures of usage that are told as they were billed.
FIGURES = ("prompt_tokens", "completion_tokens", "total_tokens")

#: Texts that come in pieces; everything else in a delta is said once.
GROWING = frozenset({"content", "refusal", "reasoning_content", "reasoning", "arguments", "input", "text", "thinking"})


class ChatStreamEncoder:
    """A stream of `chat.completion.chunk`s. A native stream goes on as the vendor made it, under our model's name."""

    def __init__(
        self,
        model: str,
        *,
        native: bool,
        include_usage: bool,
        found: Retrieved | None = None,
        forms: CallForms | None = None,
    ) -> None:
        self.found = found
        self.model = model
        self.native = native
        self.include_usage = include_usage
        self.head: dict[str, Any] = {}
        self.usage: dict[str, Any] | None = None
        self.begun = False
        self.finished = False
        self.deltas = Deltas(forms)

    def ping(self) -> bytes:
        """A comment: the SDKs skip it."""
        return comment()

    def begin(self, ticket: ChatTicket) -> bytes:
        """Nothing yet: until the vendor answers, a failure has a status of its own."""
        self.head = head_of(ticket, "chat.completion.chunk", self.model)
        return b""

    def event(self, event: ChatEvent) -> bytes:
        """One chunk, or nothing."""
        if isinstance(event, NativeEvent):
            return self.passed_on(event.data)
        if self.native:
            return b""
        if isinstance(event, Finish):
            return self.finish(event.reason)
        delta = self.deltas.of(event)
        return b"" if delta is None else self.chunk_frame(delta)

    def chunk_frame(self, delta: dict[str, Any]) -> bytes:
        """A chunk with what was added to the message."""
        if not self.begun:  # the role is said once
            self.begun = True
            delta = {"role": "assistant", "content": None} | delta
        return self.chunk(delta)

    def passed_on(self, data: dict[str, Any]) -> bytes:
        """The vendor's chunk; its usage is told at the end, when the call is settled."""
        chunk = data | {"model": self.model, "object": "chat.completion.chunk"}
        usage = chunk.pop("usage", None)
        self.usage = usage or self.usage
        self.head |= {name: chunk[name] for name in ("id", "created") if chunk.get(name)}
        choices = [in_pieces(choice) for choice in chunk.get("choices") or ()]
        if any(choice.get("finish_reason") for choice in choices):
            self.finished = True
        if not choices and usage is not None:
            return b""
        return data_frame(self.head | chunk | {"choices": choices})

    def chunk(self, delta: dict[str, Any], finish_reason: str | None = None) -> bytes:
        """A chunk of our own."""
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish_reason}
        return data_frame(self.head | {"choices": [choice]})

    def finish(self, reason: str) -> bytes:
        """The chunk that says why it ended."""
        self.finished = True
        rest = self.deltas.forms.rest()
        before = b"" if rest is None else self.chunk_frame(rest)
        return before + self.chunk({}, self.deltas.forms.reason(reason))

    def done(self, ticket: ChatTicket) -> bytes:
        """What is left to say: the end, the usage, and that this was all."""
        # A stream that we ended for its budget has no end of the vendor's.
        end = b"" if self.finished else self.finish("length" if ticket.end_reason == "budget_cut" else "stop")
        if self.include_usage:
            last = {"choices": [], "usage": usage_told(self.usage, ticket), "kaixu": bill_of(ticket)}
            end += data_frame(self.head | last)
        if self.found is not None:
            end += data_frame(self.head | {"choices": []} | cited(self.found, ticket))
        return end + b"data: [DONE]\n\n"

    def failed(self, error: KaixuError, ticket: ChatTicket) -> bytes:
        """An error in the middle: the SDKs raise it."""
        body, status = openai_error(envelope(error, ticket.ask.request_id), error.status)
        body["error"]["status"] = status
        return data_frame(body | {"kaixu": bill_of(ticket)})


def completion(
    ticket: ChatTicket, events: Sequence[ChatEvent], model: str, forms: CallForms | None = None
) -> dict[str, Any]:
    """A whole `chat.completion`."""
    head = head_of(ticket, "chat.completion", model)
    whole = whole_of(events, model, ticket.finish_reason, ticket.end_reason, forms)
    return head | whole | {"usage": usage_told(whole.get("usage"), ticket), "kaixu": bill_of(ticket)}


def whole_of(
    events: Sequence[ChatEvent],
    model: str,
    finish_reason: str | None,
    end_reason: str | None,
    forms: CallForms | None = None,
) -> dict[str, Any]:
    """A `chat.completion` without its head and its bill."""
    chunks = [event.data for event in events if isinstance(event, NativeEvent)]
    if not chunks:
        deltas = Deltas(forms)
        said = [delta for event in events if (delta := deltas.of(event))]
        said += [rest] if (rest := deltas.forms.rest()) is not None else []
        chunks = [{"choices": [{"index": 0, "delta": delta}]} for delta in said]
        chunks.append({"choices": [{"index": 0, "finish_reason": deltas.forms.reason(finish_reason)}]})
    whole = folded(chunks)
    whole |= {"object": "chat.completion", "model": model}
    for choice in whole["choices"]:
        if choice["finish_reason"] is None:
            choice["finish_reason"] = "length" if end_reason == "budget_cut" else "stop"
    return whole


def cited(found: Retrieved, ticket: ChatTicket) -> dict[str, Any]:
    """What was looked up for an answer, and both lines of the bill."""
    ours = bill_of(ticket) | {"retrieval": retrieval_reply(found), "bill": both_lines(found, ticket)}
    return {"citations": citations(found), "kaixu": ours}


def head_of(ticket: ChatTicket, kind: str, model: str) -> dict[str, Any]:
    """What every chunk begins with."""
    return {"id": f"chatcmpl-{ticket.id.hex}", "object": kind, "created": int(time()), "model": model}


class Deltas:
    """What each event adds to the message; it counts the thoughts, so that each keeps its own token."""

    def __init__(self, forms: CallForms | None = None) -> None:
        self.forms = CallForms({}) if forms is None else forms
        self.thought = 0

    def of(self, event: ChatEvent) -> dict[str, Any] | None:
        """A delta; None: nothing."""
        match event:
            case ChatDelta(text):
                return {"content": text}
            case ReasoningDelta(text, opaque):
                return self.reasoning(text, opaque)
            case ToolCallDelta():
                return self.forms.delta(event, call_of(event))
            case _:
                return None

    def reasoning(self, text: str, opaque: str | None) -> dict[str, Any]:
        """The words as DeepSeek and many others tell them, and as OpenRouter does, with the token to be given back."""
        detail: dict[str, Any] = {"index": self.thought, "type": "reasoning.text"}
        told: dict[str, Any] = {"reasoning_details": [detail]}
        if text:
            told["reasoning_content"] = detail["text"] = text
        if opaque is not None:  # it ends its thought
            detail["signature"] = opaque
            self.thought += 1
        return told


def call_of(event: ToolCallDelta) -> dict[str, Any]:
    """A piece of a tool call."""
    function: dict[str, Any] = {"arguments": event.arguments}
    if event.name is None:
        return {"index": event.index, "function": function, **extra_of(event.opaque)}
    function = {"name": event.name} | function
    return {"index": event.index, "id": event.id, "type": "function", "function": function, **extra_of(event.opaque)}


def in_pieces(choice: dict[str, Any]) -> dict[str, Any]:
    """A vendor that answered in one piece said `message` where a chunk says `delta`."""
    if "message" not in choice:
        return choice
    choice = dict(choice)
    return choice | {"delta": choice.pop("message")}


def folded(chunks: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """All chunks as one completion: texts joined, tool calls put together, of the rest the last word."""
    whole: dict[str, Any] = {}
    choices: dict[int, dict[str, Any]] = {}
    for chunk in chunks:
        for piece in chunk.get("choices") or ():
            choice = in_pieces(piece)
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
            grow(slot["message"], choice.get("delta") or {})
            logprobs = choice.get("logprobs")
            if logprobs:
                slot["logprobs"] = slot["logprobs"] or {}
                grow(slot["logprobs"], logprobs)
            known = ("index", "delta", "logprobs")
            slot |= {name: value for name, value in choice.items() if name not in known and value is not None}
        whole |= {name: value for name, value in chunk.items() if name != "choices" and value is not None}
    for choice in choices.values():
        for call in choice["message"].get("tool_calls") or ():
            call.pop("index", None)
    return whole | {"choices": [choices[index] for index in sorted(choices)]}


def grow(into: dict[str, Any], delta: dict[str, Any]) -> None:
    """Add a delta to what there is."""
    for name, value in delta.items():
        before = into.get(name)
        if value is None:
            into.setdefault(name, None)
        elif before is None:
            into[name] = numbered([], value) if isinstance(value, list) else value
        elif isinstance(before, str) and isinstance(value, str) and name in GROWING:
            into[name] = before + value
        elif isinstance(before, dict) and isinstance(value, dict):
            grow(before, value)
        elif isinstance(before, list) and isinstance(value, list):
            numbered(before, value)
        else:
            into[name] = value


def numbered(into: list[Any], pieces: list[Any]) -> list[Any]:
    """Add pieces of a list: those with an `index` belong to the entry of the same one, others are new."""
    for piece in pieces:
        same = None
        if isinstance(piece, dict) and isinstance(piece.get("index"), int):
            same = next((one for one in into if isinstance(one, dict) and one.get("index") == piece["index"]), None)
        if same is None:
            into.append(dict(piece) if isinstance(piece, dict) else piece)
        else:
            grow(same, piece)
    return into


def usage_told(said: dict[str, Any] | None, ticket: ChatTicket) -> dict[str, Any]:
    """The vendor's own words for the usage, with the figures that were billed: it may say others, or none."""
    billed = usage_of(ticket)
    if not said:
        return billed
    return said | {name: billed[name] for name in FIGURES}


def usage_of(ticket: ChatTicket) -> dict[str, Any]:
    """The settled usage, in OpenAI's words."""
    settled = ticket.settlement
    assert settled is not None
    return {
        "prompt_tokens": settled.input_tokens,
        "completion_tokens": settled.output_tokens,
        "total_tokens": settled.input_tokens + settled.output_tokens,
        "prompt_tokens_details": {"cached_tokens": settled.cached_input_tokens},
        "completion_tokens_details": {"reasoning_tokens": settled.reasoning_tokens},
    }
