"""Reads responses in Anthropic's Messages protocol, streamed or whole."""

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
#: Ignored in `message_start`: there the output is one or two tokens, not the total.
IGNORED_AT_START = ("output_tokens", "output_tokens_details")
#: The text field of each type of delta or block.
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
    """Converts a response into chat events; keeps the state between its events. Unknown events are ignored.

    Corrects unexpected shapes in place and adds a `note`, so that native clients can read the event too. Calls `ended`
    when the vendor has sent its stop reason (`kaixu.plugin.Wire.finished`).
    """

    #: Marks the signature of reasoning without text, to tell it from redacted reasoning. No token contains a colon.
    unshown: ClassVar[str] = "unshown:"

    def __init__(self, note: Callable[[str], None], *, native: bool, ended: Callable[[], None] = lambda: None) -> None:
        self.note = note
        self.ended = ended
        self.native = native
        self.usage = RunningUsage()
        self.finish: Finish | None = None
        self.done = False
        self.ending = False  # `message_delta` was received, with or without a stop reason
        self.block_count = 0
        self.call_count = 0  # blocks that are tool calls
        self.blocks: dict[int | None, int] = {}  # vendor's index → our index of the block
        self.calls: dict[int, int] = {}  # index of the block → index of the tool call
        self.inputs: dict[int, object] = {}  # of tool calls whose arguments came in one piece
        self.has_thinking_text = False

    def finished(self) -> bool:
        """Whether the stop reason was received; later failures do not matter."""
        return self.finish is not None

    def read(self, document: Document) -> Iterator[ChatEvent]:
        """The chat events of one document; for a native request, each vendor event comes first as it is.

        A whole response is read like the stream that it stands for. Raises `UpstreamError` for an error event, never
        with the vendor's text.
        """
        for event in events_of(document):
            if event["type"] == "error":
                if self.finished():
                    self.note("ignored an error after the end of the answer")
                    return
                raise error_in_answer(event.get("error") or event)
            events = list(self.event(event))
            if self.native:
                yield NativeEvent(event)
            yield from events

    def end(self, answer: AnswerReader) -> Finish:
        """The finish event. Raises `UpstreamError` if the answer is incomplete."""
        if self.finish is not None:
            return self.finish
        if answer.lost or (answer.unreadable and not self.block_count):
            raise UpstreamError("the vendor's answer cannot be read")
        if self.done and (self.block_count or self.ending):
            return Finish("tool_calls" if self.call_count else "stop")  # ended without a stop reason
        raise UpstreamError("the vendor broke off before its answer was complete")

    def event(self, event: dict[str, Any]) -> Iterator[ChatEvent]:
        """The chat events of one vendor event."""
        match event["type"]:
            case "content_block_start":
                yield from self.block(event)
            case "content_block_delta":
                at, delta = self.place(event), object_of(event.get("delta"))
                self.correct_text(delta)
                yield from self.piece(at, delta)
            case "content_block_stop":
                at = self.place(event)
                if at in self.inputs:
                    yield ToolCallDelta(self.calls[at], arguments=arguments_of(self.inputs.pop(at)))
            case "message_start":
                usage = object_of(object_of(event.get("message")).get("usage"))
                yield from self.count({name: usage[name] for name in usage if name not in IGNORED_AT_START})
            case "message_delta":
                yield from self.count(object_of(event.get("usage")))
                delta, self.ending = object_of(event.get("delta")), True
                if reason := word_of(delta.get("stop_reason")):
                    sequence = delta.get("stop_sequence")
                    self.finish = Finish(FINISHES.get(reason, reason), sequence if isinstance(sequence, str) else None)
                    self.ended()
            case "message_stop":
                self.done = True

    def block(self, event: dict[str, Any]) -> Iterator[ChatEvent]:
        """Start a block. Without an index, or with a used one, it gets the next free index."""
        index = index_of(event.get("index"))
        at = index if index is not None and index not in self.blocks.values() else self.block_count
        self.block_count = max(self.block_count, at) + 1
        self.blocks[index] = event["index"] = at
        block = object_of(event.get("content_block"))
        self.correct_text(block)
        if block.get("type") == "tool_use" and not word_of(block.get("id")):
            block["id"] = f"toolu_{uuid4().hex}"
        yield from self.piece(at, block)

    def place(self, event: dict[str, Any]) -> int:
        """The block that an event belongs to: by its index, else the last one."""
        index = index_of(event.get("index"))
        at = self.blocks.get(index, max(0, self.block_count - 1) if index is None else index)
        event["index"] = at
        return at

    def correct_text(self, piece: dict[str, Any]) -> None:
        """Convert a text field that is not a string."""
        kind = word_of(piece.get("type"))
        field = TEXTS.get(kind)
        if field is not None and piece.get(field) is not None and not isinstance(piece[field], str):
            self.note(f"`{field}` of a {kind} is not a string")
            piece[field] = (json_text_of if field == "partial_json" else text_of)(piece[field])

    def piece(self, at: int, piece: dict[str, Any]) -> Iterator[ChatEvent]:
        """The chat events of a new block or of a delta."""
        match piece:
            case {"type": "text" | "text_delta", "text": str(text)} if text:
                yield ChatDelta(text)
            case {"type": "thinking_delta", "thinking": str(text)} if text:
                self.has_thinking_text = True
                yield ReasoningDelta(text)
            case {"type": "signature_delta", "signature": str(token)} if token:
                yield ReasoningDelta("", token if self.has_thinking_text else self.unshown + token)
                self.has_thinking_text = False
            case {"type": "thinking"}:  # empty in streams
                yield from self.piece(at, piece | {"type": "thinking_delta"})
                yield from self.piece(at, piece | {"type": "signature_delta"})
            case {"type": "redacted_thinking", "data": str(token)} if token:
                yield ReasoningDelta("", token)
            case {"type": "tool_use", "id": str(id), "name": str(name)} if name:
                self.calls[at], self.inputs[at] = self.call_count, piece.get("input")
                self.call_count += 1
                yield ToolCallDelta(self.calls[at], id, name)
            case {"type": "input_json_delta", "partial_json": str(text)} if text and at in self.calls:
                self.inputs.pop(at, None)
                yield ToolCallDelta(self.calls[at], arguments=text)

    def count(self, usage: dict[str, Any]) -> Iterator[ChatEvent]:
        """The running usage totals."""
        if (now := self.usage.add({"usage": usage})) is not None:
            yield now


def events_of(document: Document) -> Iterator[dict[str, Any]]:
    """The typed events of a document. A whole message becomes the events of the same message as a stream."""
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
    """A tool's input as JSON text; text that is JSON already stays as it is."""
    if isinstance(value, str) and value.strip():
        try:
            json.loads(value)
        except (ValueError, RecursionError):
            return ENCODER.encode(value).decode()
        return value
    return ENCODER.encode(value or {}).decode()
