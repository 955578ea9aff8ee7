"""Translate events into Anthropic's content blocks, of which one at a time is open."""

from __future__ import annotations

from typing import Any

import msgspec

from kaixu.api.openai.chat_messages import thought_signature_field
from kaixu.plugin.types import ChatDelta, ChatEvent, ReasoningDelta, ToolCallDelta

DECODER = msgspec.json.Decoder()
#: A block: its type, and the index of a tool call.
Block = tuple[str, int]
TEXT: Block = ("text", 0)
THINKING: Block = ("thinking", 0)


class ContentBlockEncoder:
    """Encodes the blocks of one message. `name`: part of the ids of tool calls without an id."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.index = -1  # of the open block, or of the last one
        self.open: Block | None = None
        self.signed = False
        self.arguments = ""  # of the open tool call
        self.called: set[Block] = set()
        self.waiting: list[ChatEvent] = []

    def encode(self, event: ChatEvent) -> list[dict[str, Any]]:
        """Anthropic's events for an event of the lane, if any.

        Vendors may interleave the pieces of several tool calls. Only one block is open at a time, so pieces of another
        block wait until the open call is complete.
        """
        block = block_for(event)
        if block is None:
            return []
        if block != self.open and not self.is_complete():
            self.waiting.append(event)
            return []
        events = self.encode_piece(event, block)
        if self.waiting and self.is_complete():
            events += self.close() + self.encode_waiting()
        return events

    def encode_waiting(self) -> list[dict[str, Any]]:
        """The events that waited for another block to be complete."""
        waiting, self.waiting = self.waiting, []
        return [encoded for event in waiting for encoded in self.encode(event)]

    def end(self) -> list[dict[str, Any]]:
        """The last events of the blocks."""
        events = self.close()
        while self.waiting:
            events += self.encode_waiting() + self.close()
        return events

    def is_complete(self) -> bool:
        """Whether the open block is not an incomplete tool call."""
        return self.open is None or self.open[0] != "tool_use" or read_object(self.arguments) is not None

    def encode_piece(self, event: ChatEvent, block: Block) -> list[dict[str, Any]]:
        """Anthropic's events that add one event of the lane to its block."""
        match event:
            case ChatDelta(text):
                return [*self.switch(block, {"type": "text", "text": ""}), self.delta("text_delta", text=text)]
            case ReasoningDelta(text, opaque):
                return self.thought(text) + self.signature(opaque)
            case ToolCallDelta() if block == self.open or block not in self.called:
                return self.call(event, block)
        return []  # the rest of a call that is complete already

    def call(self, event: ToolCallDelta, block: Block) -> list[dict[str, Any]]:
        """The start of a tool call, or more of its arguments."""
        id = event.id or f"toolu_{self.name}_{event.index}"
        start = {"type": "tool_use", "id": id, "name": event.name or "", "input": {}}
        events = self.switch(block, start | thought_signature_field(event.opaque))
        self.arguments += event.arguments
        if event.arguments:
            events.append(self.delta("input_json_delta", partial_json=event.arguments))
        return events

    def thought(self, text: str) -> list[dict[str, Any]]:
        """More reasoning; after a signature, in a new block."""
        if not text:
            return []
        events = self.close() if self.open == THINKING and self.signed else []
        events += self.switch(THINKING, {"type": "thinking", "thinking": "", "signature": ""})
        return [*events, self.delta("thinking_delta", thinking=text)]

    def signature(self, opaque: str | None) -> list[dict[str, Any]]:
        """The vendor's token: the signature of the open thought, or a redacted thought."""
        if opaque is None:
            return []
        if self.open == THINKING and not self.signed:
            self.signed = True
            return [self.delta("signature_delta", signature=opaque)]
        hidden = {"type": "redacted_thinking", "data": opaque}
        return self.close() + self.switch(("redacted_thinking", 0), hidden)

    def switch(self, block: Block, start: dict[str, Any]) -> list[dict[str, Any]]:
        """Close the open block and open another; nothing if it is open already."""
        if block == self.open:
            return []
        events = self.close()
        self.index += 1
        self.open, self.signed, self.arguments = block, False, ""
        if block[0] == "tool_use":
            self.called.add(block)
        return [*events, {"type": "content_block_start", "index": self.index, "content_block": start}]

    def delta(self, kind: str, **fields: str) -> dict[str, Any]:
        """A delta of the open block."""
        return {"type": "content_block_delta", "index": self.index, "delta": {"type": kind, **fields}}

    def close(self) -> list[dict[str, Any]]:
        """The end of the open block, if there is one."""
        if self.open is None:
            return []
        self.open = None
        return [{"type": "content_block_stop", "index": self.index}]


def block_for(event: ChatEvent) -> Block | None:
    """The block of an event; None for an event that adds nothing."""
    match event:
        case ChatDelta(text):
            return TEXT if text else None
        case ReasoningDelta(text, opaque):
            return THINKING if text or opaque is not None else None
        case ToolCallDelta(index):
            return "tool_use", index
    return None


def read_object(text: str) -> dict[str, Any] | None:
    """Parse a JSON object; None if it is not complete."""
    if not text.rstrip().endswith("}"):
        return None
    try:
        value = DECODER.decode(text)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return None
    return value if isinstance(value, dict) else None
