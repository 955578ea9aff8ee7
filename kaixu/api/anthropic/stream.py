"""Encode Anthropic's stream: from a native lane's events, or from events encoded as content blocks."""

from __future__ import annotations

from typing import Any

from kaixu.api.anthropic.content_blocks import ContentBlockEncoder
from kaixu.api.call_replies import bill_reply
from kaixu.edge.anthropic_errors import anthropic_error
from kaixu.edge.errors import envelope
from kaixu.edge.sse import frame
from kaixu.metering.chat_ticket import ChatTicket
from kaixu.plugin.errors import KaixuError
from kaixu.plugin.types import ChatEvent, NativeEvent

from .reply import block_index, inner_object, message_head, message_usage, stop_reason_fields


class MessageStreamEncoder:
    """Encodes a stream of named events. Events of a native lane are passed on with our model name.

    The last two, `message_delta` and `message_stop`, are sent when the call is settled.
    """

    def __init__(self, model: str, *, native: bool) -> None:
        self.model = model
        self.native = native
        self.blocks = ContentBlockEncoder("")
        self.ticket: ChatTicket | None = None
        self.started = False
        self.open: dict[int, None] = {}  # indices of the open blocks, in order
        self.called = False
        self.delta: dict[str, Any] | None = None  # the vendor's `message_delta`, delayed until the call is settled
        self.stop: dict[str, Any] = {"type": "message_stop"}

    def ping(self) -> bytes:
        """An event that clients know."""
        return frame("ping", {"type": "ping"})

    def begin(self, ticket: ChatTicket) -> bytes:
        """Nothing, so that a failure before the vendor answers can have its own HTTP status."""
        self.ticket = ticket
        self.blocks = ContentBlockEncoder(ticket.id.hex)
        return b""

    def event(self, event: ChatEvent) -> bytes:
        """One event of the lane."""
        if type(event) is NativeEvent:
            return self.pass_on(event.data)
        return b"" if self.native else b"".join([self.write(encoded) for encoded in self.blocks.encode(event)])

    def pass_on(self, data: dict[str, Any]) -> bytes:
        """The vendor's event; the stop reason and the usage are sent when the call is settled."""
        match data.get("type"):
            case "message_start":
                assert self.ticket is not None
                message, ours = inner_object(data, "message"), message_head(self.ticket, self.model)
                missing = {name: ours[name] for name, value in message.items() if value is None and name in ours}
                return self.write(data | {"message": message | missing | {"model": self.model}})
            case "message_delta":
                previous, self.delta = self.delta, data
                return b"" if previous is None else self.write(previous)
            case "message_stop":
                self.stop = data
                return b""
            case str(kind) if kind.isidentifier() and kind != "error":
                return self.write(data)
        return b""  # error messages of vendors are not passed on to clients

    def write(self, data: dict[str, Any]) -> bytes:
        """One frame; before the first one also `message_start`."""
        kind, index = data["type"], block_index(data)
        if kind == "content_block_start":
            self.open[index] = None
            self.called = self.called or inner_object(data, "content_block").get("type") == "tool_use"
        elif kind == "content_block_stop":
            self.open.pop(index, None)
        start = b"" if kind in ("message_start", "ping") else self.start()
        self.started = self.started or kind == "message_start"
        return start + frame(kind, data)

    def start(self) -> bytes:
        """`message_start`, if the vendor's was not passed on."""
        if self.started:
            return b""
        assert self.ticket is not None
        return self.write({"type": "message_start", "message": message_head(self.ticket, self.model)})

    def done(self, ticket: ChatTicket) -> bytes:
        """The last events: ends of blocks, stop reason with usage and bill, `message_stop`."""
        ends = b"".join([self.write(encoded) for encoded in self.blocks.end()])
        # The gateway may have ended the stream at its budget, without the vendor's end events.
        ends += b"".join([self.write({"type": "content_block_stop", "index": index}) for index in list(self.open)])
        delta = self.delta or {"type": "message_delta", "delta": stop_reason_fields(ticket, called=self.called)}
        settled = {"usage": inner_object(delta, "usage") | message_usage(ticket), "kaixu": bill_reply(ticket)}
        return ends + self.write(delta | settled) + self.write(self.stop)

    def failed(self, error: KaixuError, ticket: ChatTicket) -> bytes:
        """An error in the stream, which the SDKs raise."""
        body, status = anthropic_error(envelope(error, ticket.ask.request_id), error.status)
        return frame("error", body | {"status": status, "kaixu": bill_reply(ticket)})
