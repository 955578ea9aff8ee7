"""Reading Anthropic's messages, streamed or whole, of Anthropic and of the vendors that speak its protocol."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any, ClassVar
from uuid import uuid4

import msgspec

from kaixu.plugin.answer import AnswerReader, Document
from kaixu.plugin.coerced import index_of, json_text_of, object_of, objects_of, text_of, word_of
from kaixu.plugin.errors import UpstreamError
from kaixu.plugin.refusals import error_in_answer
from kaixu.plugin.types import (
    ChatDelta,
    ChatEvent,
    Finish,
    NativeEvent,
    ReasoningDelta,
    ToolCallDelta,
)
from kaixu.plugin.usage import RunningUsage

FINISHES = {"end_turn": "stop", "stop_sequence": "stop", "tool_use": "tool_calls", "refusal": "content_filter"}
FINISHES |= dict.fromkeys(("max_tokens", "model_context_window_exceeded"), "length")
#: A stream begins with an output of one or two tokens, which must not be taken for the total.
NOT_AT_FIRST = ("output_tokens", "output_tokens_details")
#: A text in a delta or block, by the kind of the one that has it.
TEXTS = {
    "text": "text",
    "text_delta": "text",
    "thinking": "thinking",
    "thinking_delta": "thinking",
    "signature_delta": "signature",
    "input_json_delta": "partial_json",
}

ENCODER = msgspec.json.Encoder()


class MessagesReader:
    """Reads events, and keeps what later ones need. What it does not know says nothing to it.

    An event is changed in place: what has an unexpected shape is put right, and `note`d, so that a client that gets
    it natively can read it too.
    """

    #: Marks the signature of a thought whose text was kept back, to tell it from a redacted one. No token has a colon.
    unshown: ClassVar[str] = "unshown:"

    def __init__(self, note: Callable[[str], None], *, native: bool) -> None:
        self.note = note
        self.native = native
        self.usage = RunningUsage()
        self.finish: Finish | None = None
        self.done = False
        self.ending = False  # the end was told, with a reason or without
        self.begun = 0  # blocks, and of those the calls of tools
        self.called = 0
        self.blocks: dict[int | None, int] = {}  # the vendor's index of the block that is open there, and ours
        self.calls: dict[int, int] = {}  # by our index of their blocks
        self.inputs: dict[int, object] = {}  # of calls whose arguments have not come in pieces
        self.shown = False  # whether the thought had a text

    def finished(self) -> bool:
        """Whether the end was told: what comes after that is no matter."""
        return self.finish is not None

    def read(self, document: Document) -> Iterator[ChatEvent]:
        """What an event says, in the contract's words; before them, for a native request, in its own.

        An answer in one piece is read as events would have told it. Raises `UpstreamError`, never with the vendor's
        words, for one that tells of a failure.
        """
        for event in events_of(document):
            if event["type"] == "error":
                if self.finished():
                    self.note("an error after the end of the answer was passed over")
                    return
                raise error_in_answer(event.get("error") or event)
            events = list(self.event(event))
            if self.native:
                yield NativeEvent(event)
            yield from events

    def end(self, answer: AnswerReader) -> Finish:
        """How the answer ended. Raises `UpstreamError` for one that did not."""
        if self.finish is not None:
            return self.finish
        if answer.lost or (answer.unreadable and not self.begun):
            raise UpstreamError("the vendor's answer cannot be read")
        if self.done and (self.begun or self.ending):
            return Finish("tool_calls" if self.called else "stop")  # it said so without a reason
        raise UpstreamError("the vendor broke off before its answer was complete")

    def event(self, event: dict[str, Any]) -> Iterator[ChatEvent]:
        """What one event says."""
        match event["type"]:
            case "content_block_start":
                yield from self.block(event)
            case "content_block_delta":
                at, delta = self.place(event), object_of(event.get("delta"))
                self.put_right(delta)
                yield from self.piece(at, delta)
            case "content_block_stop":
                at = self.place(event)
                if at in self.inputs:
                    yield ToolCallDelta(self.calls[at], arguments=arguments_of(self.inputs.pop(at)))
            case "message_start":
                usage = object_of(object_of(event.get("message")).get("usage"))
                yield from self.count({name: usage[name] for name in usage if name not in NOT_AT_FIRST})
            case "message_delta":
                yield from self.count(object_of(event.get("usage")))
                delta, self.ending = object_of(event.get("delta")), True
                if reason := word_of(delta.get("stop_reason")):
                    sequence = delta.get("stop_sequence")
                    self.finish = Finish(FINISHES.get(reason, reason), sequence if isinstance(sequence, str) else None)
            case "message_stop":
                self.done = True

    def block(self, event: dict[str, Any]) -> Iterator[ChatEvent]:
        """A block begins. One without an index, or at one that is used already, is a block of its own."""
        told = index_of(event.get("index"))
        at = told if told is not None and told not in self.blocks.values() else self.begun
        self.begun = max(self.begun, at) + 1
        self.blocks[told] = event["index"] = at
        block = object_of(event.get("content_block"))
        self.put_right(block)
        if block.get("type") == "tool_use" and not word_of(block.get("id")):
            block["id"] = f"toolu_{uuid4().hex}"
        yield from self.piece(at, block)

    def place(self, event: dict[str, Any]) -> int:
        """Which block an event goes on with: that of its index, else the last one."""
        told = index_of(event.get("index"))
        at = self.blocks.get(told, max(0, self.begun - 1) if told is None else told)
        event["index"] = at
        return at

    def put_right(self, piece: dict[str, Any]) -> None:
        """Make strings of texts that came as something else."""
        kind = word_of(piece.get("type"))
        field = TEXTS.get(kind)
        if field is not None and piece.get(field) is not None and not isinstance(piece[field], str):
            self.note(f"`{field}` of a {kind} is no string")
            piece[field] = (json_text_of if field == "partial_json" else text_of)(piece[field])

    def piece(self, at: int, piece: dict[str, Any]) -> Iterator[ChatEvent]:
        """What a block begins with, or goes on with."""
        match piece:
            case {"type": "text" | "text_delta", "text": str(text)} if text:
                yield ChatDelta(text)
            case {"type": "thinking_delta", "thinking": str(text)} if text:
                self.shown = True
                yield ReasoningDelta(text)
            case {"type": "signature_delta", "signature": str(token)} if token:
                yield ReasoningDelta("", token if self.shown else self.unshown + token)
                self.shown = False
            case {"type": "thinking"}:  # empty, where the answer comes in pieces
                yield from self.piece(at, piece | {"type": "thinking_delta"})
                yield from self.piece(at, piece | {"type": "signature_delta"})
            case {"type": "redacted_thinking", "data": str(token)} if token:
                yield ReasoningDelta("", token)
            case {"type": "tool_use", "id": str(id), "name": str(name)} if name:
                self.calls[at], self.inputs[at] = self.called, piece.get("input")
                self.called += 1
                yield ToolCallDelta(self.calls[at], id, name)
            case {"type": "input_json_delta", "partial_json": str(text)} if text and at in self.calls:
                self.inputs.pop(at, None)
                yield ToolCallDelta(self.calls[at], arguments=text)

    def count(self, usage: dict[str, Any]) -> Iterator[ChatEvent]:
        """The totals so far."""
        if (now := self.usage.add({"usage": usage})) is not None:
            yield now


def events_of(document: Document) -> Iterator[dict[str, Any]]:
    """The events of a document, each with its type: one, or all that would have told a message in one piece."""
    event = document.data
    kind = event.get("type")
    if not isinstance(kind, str):
        kind = event["type"] = "error" if event.get("error") else document.event
    if kind != "message" or not ("content" in event or "stop_reason" in event):
        yield event
        return
    yield {"type": "message_start", "message": event | {"content": [], "stop_reason": None, "stop_sequence": None}}
    for at, block in enumerate(objects_of(event.get("content"))):
        yield {"type": "content_block_start", "index": at, "content_block": block}
        yield {"type": "content_block_stop", "index": at}
    end = {field: event.get(field) for field in ("stop_reason", "stop_sequence")}
    yield {"type": "message_delta", "delta": end, "usage": event.get("usage")}
    yield {"type": "message_stop"}


def arguments_of(value: object) -> str:
    """A tool's input as JSON text: an object, or a text that is one already."""
    if isinstance(value, str) and value.strip():
        try:
            json.loads(value)
        except (ValueError, RecursionError):
            return ENCODER.encode(value).decode()
        return value
    return ENCODER.encode(value or {}).decode()
