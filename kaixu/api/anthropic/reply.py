"""Build an Anthropic message: from a native lane's events, or from events encoded as content blocks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from kaixu.api.anthropic.content_blocks import ContentBlockEncoder, read_object
from kaixu.api.call_replies import bill_reply, over_defaults
from kaixu.metering.chat_ticket import ChatTicket
from kaixu.plugin.types import ChatEvent, NativeEvent, Usage

STOP_REASONS = {
    "stop": "end_turn",
    "length": "max_tokens",
    "tool_calls": "tool_use",
    "content_filter": "refusal",
}
#: Fields of deltas that are joined. Tool arguments and citations are handled by name.
TEXT_FIELDS = frozenset({"text", "thinking", "signature", "content"})


def message_reply(ticket: ChatTicket, events: Sequence[ChatEvent], model: str) -> dict[str, Any]:
    """A complete message of a settled call."""
    data = [event.data for event in events if isinstance(event, NativeEvent)]
    if not data:
        blocks = ContentBlockEncoder(ticket.id.hex)
        data = [encoded for event in events for encoded in blocks.encode(event)] + blocks.end()
    message = over_defaults(message_head(ticket, model), merge_events(data))
    if message["stop_reason"] is None:
        called = any(block.get("type") == "tool_use" for block in message["content"])
        message |= stop_reason_fields(ticket, called=called)
    return message | {"model": model, "usage": message["usage"] | message_usage(ticket), "kaixu": bill_reply(ticket)}


def message_head(ticket: ChatTicket, model: str) -> dict[str, Any]:
    """A message without content."""
    return {
        "id": f"msg_{ticket.id.hex}",
        "type": "message",
        "role": "assistant",
        "model": model,
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
        "usage": usage_figures(ticket.usage or Usage()),
    }


def merge_events(events: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Merge all events to one message: texts joined, arguments parsed, the last value of other fields."""
    merged: dict[str, Any] = {}
    usage: dict[str, Any] = {}
    blocks: dict[int, dict[str, Any]] = {}
    for event in events:
        kind, index = event.get("type"), block_index(event)
        if kind == "message_start":
            merged |= inner_object(event, "message")
            usage |= inner_object(merged, "usage")
        elif kind == "content_block_start":
            blocks[index] = dict(inner_object(event, "content_block"))
        elif kind == "content_block_delta":
            merge_delta(blocks.setdefault(index, {}), inner_object(event, "delta"))
        elif kind == "message_delta":
            known = ("type", "delta", "usage")
            merged |= inner_object(event, "delta") | {name: value for name, value in event.items() if name not in known}
            usage |= {name: value for name, value in inner_object(event, "usage").items() if value is not None}
    return merged | {"content": [parse_tool_input(block) for block in blocks.values()], "usage": usage}


def inner_object(value: dict[str, Any], field: str) -> dict[str, Any]:
    """A field that should be an object; an empty one if it is not."""
    inner = value.get(field)
    return inner if isinstance(inner, dict) else {}


def block_index(event: dict[str, Any]) -> int:
    """The index of the block that an event belongs to."""
    index = event.get("index")
    return index if isinstance(index, int) else 0


def merge_delta(block: dict[str, Any], delta: dict[str, Any]) -> None:
    """Merge a delta, also of an unknown type, into a block."""
    for name, value in delta.items():
        previous = block.get(name)
        if name == "type":
            continue
        if name == "citation":
            previous = block.get("citations")
            block["citations"] = [*(previous if isinstance(previous, list) else ()), value]
        elif name == "partial_json":
            block[name] = f"{previous or ''}{value}"
        elif name in TEXT_FIELDS and isinstance(previous, str) and isinstance(value, str):
            block[name] = previous + value
        else:
            block[name] = value


def parse_tool_input(block: dict[str, Any]) -> dict[str, Any]:
    """Parse a block's arguments; invalid ones are wrapped, as Anthropic recommends."""
    text = str(block.pop("partial_json", ""))
    if not text.strip():
        return block
    arguments = read_object(text)
    return block | {"input": {"INVALID_JSON": text} if arguments is None else arguments}


def stop_reason_fields(ticket: ChatTicket, *, called: bool) -> dict[str, Any]:
    """The stop reason in Anthropic's format. `called`: the answer has tool calls."""
    reason = ticket.finish_reason or ("length" if ticket.end_reason == "budget_cut" else "stop")
    if reason == "stop" and ticket.stop_sequence is not None:
        return {"stop_reason": "stop_sequence", "stop_sequence": ticket.stop_sequence}
    if reason == "stop" and called:
        reason = "tool_calls"
    return {"stop_reason": STOP_REASONS.get(reason, reason), "stop_sequence": None}


def message_usage(ticket: ChatTicket) -> dict[str, Any]:
    """The settled usage in Anthropic's format."""
    settled = ticket.settlement
    assert settled is not None
    usage = usage_figures(
        Usage(settled.input_tokens, settled.output_tokens, settled.cached_input_tokens, settled.cache_write_tokens)
    )
    reasoning = {"output_tokens_details": {"thinking_tokens": settled.reasoning_tokens}}
    return usage | (reasoning if settled.reasoning_tokens else {})


def usage_figures(usage: Usage) -> dict[str, Any]:
    """Tokens in Anthropic's format: `input_tokens` excludes those read from or written to the cache."""
    rest = usage.input_tokens - usage.cached_input_tokens - usage.cache_write_tokens
    return {
        "input_tokens": max(0, rest),
        "cache_creation_input_tokens": usage.cache_write_tokens,
        "cache_read_input_tokens": usage.cached_input_tokens,
        "output_tokens": usage.output_tokens,
    }
