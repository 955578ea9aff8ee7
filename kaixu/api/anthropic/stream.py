"""Anthropic's stream: the vendor's own events as they come, or what is told of the contract's."""

from __future__ import annotations

from typing import Any

from kaixu.api.anthropic.content_blocks import ContentBlockEncoder
from kaixu.api.calls import bill_of
from kaixu.edge.anthropic_errors import anthropic_error
from kaixu.edge.errors import envelope
from kaixu.edge.sse import frame
from kaixu.metering.chat_ticket import ChatTicket
from kaixu.plugin.errors import KaixuError
from kaixu.plugin.types import ChatEvent, NativeEvent

from .reply import end_of, head_of, index_in, said_in, usage_of


class MessageStreamEncoder:
    """A stream of named events. A native one goes on as the vendor made it, under our model's name.

    The last two, `message_delta` and `message_stop`, follow when the call is settled.
    """

    def __init__(self, model: str, *, native: bool) -> None:
        self.model = model
        self.native = native
        self.teller = ContentBlockEncoder("")
        self.ticket: ChatTicket | None = None
        self.begun = False
        self.open: dict[int, None] = {}  # the indices of the blocks that are, in order
        self.called = False
        self.delta: dict[str, Any] | None = None  # the vendor's, held back
        self.stop: dict[str, Any] = {"type": "message_stop"}

    def ping(self) -> bytes:
        """An event that clients know."""
        return frame("ping", {"type": "ping"})

    def begin(self, ticket: ChatTicket) -> bytes:
        """Nothing yet: until the vendor answers, a failure has a status of its own."""
        self.ticket = ticket
        self.teller = ContentBlockEncoder(ticket.id.hex)
        return b""

    def event(self, event: ChatEvent) -> bytes:
        """One event of the vendor's, or what is told of one of the contract's."""
        if isinstance(event, NativeEvent):
            return self.passed_on(event.data)
        return b"" if self.native else b"".join([self.say(told) for told in self.teller.tell(event)])

    def passed_on(self, data: dict[str, Any]) -> bytes:
        """The vendor's event; how it ended and what it used is told when the call is settled."""
        match data.get("type"):
            case "message_start":
                return self.say(data | {"message": said_in(data, "message") | {"model": self.model}})
            case "message_delta":
                before, self.delta = self.delta, data
                return b"" if before is None else self.say(before)
            case "message_stop":
                self.stop = data
                return b""
            case str(kind) if kind.isidentifier() and kind != "error":
                return self.say(data)
        return b""  # what the vendor says of its failures is not for our clients

    def say(self, data: dict[str, Any]) -> bytes:
        """One frame; before the first, the message's beginning."""
        kind, index = data["type"], index_in(data)
        if kind == "content_block_start":
            self.open[index] = None
            self.called = self.called or said_in(data, "content_block").get("type") == "tool_use"
        elif kind == "content_block_stop":
            self.open.pop(index, None)
        start = b"" if kind in ("message_start", "ping") else self.start()
        self.begun = self.begun or kind == "message_start"
        return start + frame(kind, data)

    def start(self) -> bytes:
        """The beginning of a message, where the vendor's was not passed on."""
        if self.begun:
            return b""
        assert self.ticket is not None
        return self.say({"type": "message_start", "message": head_of(self.ticket, self.model)})

    def done(self, ticket: ChatTicket) -> bytes:
        """What is left to say: the ends of blocks, how it ended, the usage and the bill, and that this was all."""
        ends = b"".join([self.say(told) for told in self.teller.end()])
        # A stream that we ended for its budget has no ends of the vendor's.
        ends += b"".join([self.say({"type": "content_block_stop", "index": index}) for index in list(self.open)])
        delta = self.delta or {"type": "message_delta", "delta": end_of(ticket, called=self.called)}
        settled = {"usage": said_in(delta, "usage") | usage_of(ticket), "kaixu": bill_of(ticket)}
        return ends + self.say(delta | settled) + self.say(self.stop)

    def failed(self, error: KaixuError, ticket: ChatTicket) -> bytes:
        """An error in the middle: the SDKs raise it."""
        body, status = anthropic_error(envelope(error, ticket.ask.request_id), error.status)
        return frame("error", body | {"status": status, "kaixu": bill_of(ticket)})
