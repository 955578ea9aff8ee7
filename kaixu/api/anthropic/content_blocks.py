"""The contract's events, told as Anthropic's: one block at a time, opened, filled and closed."""

from __future__ import annotations

from typing import Any

import msgspec

from kaixu.api.openai.chat_messages import thought_signature_field
from kaixu.plugin.types import ChatDelta, ChatEvent, ReasoningDelta, ToolCallDelta

DECODER = msgspec.json.Decoder()
#: A block: its kind, and of several tool calls which one.
Block = tuple[str, int]
TEXT: Block = ("text", 0)
THINKING: Block = ("thinking", 0)


class ContentBlockEncoder:
    """Tells the blocks of one message. `name` makes ids for tool calls that came without one."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.index = -1  # of the block that is open, or was last
        self.open: Block | None = None
        self.signed = False
        self.arguments = ""  # of the tool call that is open
        self.called: set[Block] = set()
        self.waiting: list[ChatEvent] = []

    def tell(self, event: ChatEvent) -> list[dict[str, Any]]:
        """What an event says, if anything.

        Vendors may send the pieces of several tool calls by turns. Blocks come one
        after the other, so what is for another block waits until a call is whole.
        """
        block = block_for(event)
        if block is None:
            return []
        if block != self.open and not self.is_whole():
            self.waiting.append(event)
            return []
        told = self.piece(event, block)
        if self.waiting and self.is_whole():
            told += self.close() + self.again()
        return told

    def again(self) -> list[dict[str, Any]]:
        """What waited."""
        waiting, self.waiting = self.waiting, []
        return [told for event in waiting for told in self.tell(event)]

    def end(self) -> list[dict[str, Any]]:
        """What is left to say of the blocks."""
        told = self.close()
        while self.waiting:
            told += self.again() + self.close()
        return told

    def is_whole(self) -> bool:
        """Whether nothing is open that a later piece could belong to."""
        return self.open is None or self.open[0] != "tool_use" or read_object(self.arguments) is not None

    def piece(self, event: ChatEvent, block: Block) -> list[dict[str, Any]]:
        """What an event adds to its block."""
        match event:
            case ChatDelta(text):
                return [*self.switch(block, {"type": "text", "text": ""}), self.delta("text_delta", text=text)]
            case ReasoningDelta(text, opaque):
                return self.thought(text) + self.token(opaque)
            case ToolCallDelta() if block == self.open or block not in self.called:
                return self.call(event, block)
        return []  # the rest of a call that was whole already

    def call(self, event: ToolCallDelta, block: Block) -> list[dict[str, Any]]:
        """A call's beginning, or more of its arguments."""
        id = event.id or f"toolu_{self.name}_{event.index}"
        start = {"type": "tool_use", "id": id, "name": event.name or "", "input": {}}
        told = self.switch(block, start | thought_signature_field(event.opaque))
        self.arguments += event.arguments
        if event.arguments:
            told.append(self.delta("input_json_delta", partial_json=event.arguments))
        return told

    def thought(self, text: str) -> list[dict[str, Any]]:
        """More of the reasoning's text; after a token a new thought begins."""
        if not text:
            return []
        told = self.close() if self.open == THINKING and self.signed else []
        told += self.switch(THINKING, {"type": "thinking", "thinking": "", "signature": ""})
        return [*told, self.delta("thinking_delta", thinking=text)]

    def token(self, opaque: str | None) -> list[dict[str, Any]]:
        """The vendor's token: of the thought that is open, or of one that was hidden."""
        if opaque is None:
            return []
        if self.open == THINKING and not self.signed:
            self.signed = True
            return [self.delta("signature_delta", signature=opaque)]
        hidden = {"type": "redacted_thinking", "data": opaque}
        return self.close() + self.switch(("redacted_thinking", 0), hidden)

    def switch(self, block: Block, start: dict[str, Any]) -> list[dict[str, Any]]:
        """Open a block, and close the one before; nothing where it is open."""
        if block == self.open:
            return []
        told = self.close()
        self.index += 1
        self.open, self.signed, self.arguments = block, False, ""
        if block[0] == "tool_use":
            self.called.add(block)
        return [*told, {"type": "content_block_start", "index": self.index, "content_block": start}]

    def delta(self, kind: str, **fields: str) -> dict[str, Any]:
        """More of the block that is open."""
        return {"type": "content_block_delta", "index": self.index, "delta": {"type": kind, **fields}}

    def close(self) -> list[dict[str, Any]]:
        """The end of the block that is open, if one is."""
        if self.open is None:
            return []
        self.open = None
        return [{"type": "content_block_stop", "index": self.index}]


def block_for(event: ChatEvent) -> Block | None:
    """Which block an event is for; None for one that adds nothing."""
    match event:
        case ChatDelta(text):
            return TEXT if text else None
        case ReasoningDelta(text, opaque):
            return THINKING if text or opaque is not None else None
        case ToolCallDelta(index):
            return "tool_use", index
    return None


def read_object(text: str) -> dict[str, Any] | None:
    """The JSON object that a text is; None for any other, and for a part of one."""
    if not text.rstrip().endswith("}"):
        return None
    try:
        value = DECODER.decode(text)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return None
    return value if isinstance(value, dict) else None
