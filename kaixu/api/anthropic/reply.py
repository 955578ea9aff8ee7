"""Anthropic's events → its message: the vendor's own, or what was told of the contract's."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from kaixu.api.anthropic.content_blocks import ContentBlockEncoder, object_in
from kaixu.api.calls import bill_of
from kaixu.metering.chat_ticket import ChatTicket
from kaixu.plugin.types import ChatEvent, NativeEvent, Usage

STOP_REASONS = {
    "stop": "end_turn",
    "length": "max_tokens",
    "tool_calls": "tool_use",
    "content_filter": "refusal",
}
#: Texts that come in pieces; the arguments of tools and citations have names of their own.
GROWING = frozenset({"text", "thinking", "signature", "content"})


def message(ticket: ChatTicket, events: Sequence[ChatEvent], model: str) -> dict[str, Any]:
    """A whole message, settled."""
    said = [event.data for event in events if isinstance(event, NativeEvent)]
    if not said:
        teller = ContentBlockEncoder(ticket.id.hex)
        said = [told for event in events for told in teller.tell(event)] + teller.end()
    whole = head_of(ticket, model) | folded(said)
    if whole["stop_reason"] is None:
        whole |= end_of(ticket, called=any(block.get("type") == "tool_use" for block in whole["content"]))
    return whole | {"model": model, "usage": whole["usage"] | usage_of(ticket), "kaixu": bill_of(ticket)}


def head_of(ticket: ChatTicket, model: str) -> dict[str, Any]:
    """A message before anything of it was said."""
    return {
        "id": f"msg_{ticket.id.hex}",
        "type": "message",
        "role": "assistant",
        "model": model,
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
        "usage": figures(ticket.usage or Usage()),
    }


def folded(events: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """All events as one message: texts joined, arguments read, of the rest the last word."""
    whole: dict[str, Any] = {}
    usage: dict[str, Any] = {}
    blocks: dict[int, dict[str, Any]] = {}
    for event in events:
        kind, index = event.get("type"), index_in(event)
        if kind == "message_start":
            whole |= said_in(event, "message")
            usage |= said_in(whole, "usage")
        elif kind == "content_block_start":
            blocks[index] = dict(said_in(event, "content_block"))
        elif kind == "content_block_delta":
            grow(blocks.setdefault(index, {}), said_in(event, "delta"))
        elif kind == "message_delta":
            known = ("type", "delta", "usage")
            whole |= said_in(event, "delta") | {name: value for name, value in event.items() if name not in known}
            usage |= {name: value for name, value in said_in(event, "usage").items() if value is not None}
    return whole | {"content": [with_input(block) for block in blocks.values()], "usage": usage}


def said_in(value: dict[str, Any], field: str) -> dict[str, Any]:
    """An object in an event, empty where there is none."""
    inner = value.get(field)
    return inner if isinstance(inner, dict) else {}


def index_in(event: dict[str, Any]) -> int:
    """Which block an event is about."""
    index = event.get("index")
    return index if isinstance(index, int) else 0


def grow(block: dict[str, Any], delta: dict[str, Any]) -> None:
    """Add a delta to a block, also one of a kind that is new."""
    for name, value in delta.items():
        before = block.get(name)
        if name == "type":
            continue
        if name == "citation":
            before = block.get("citations")
            block["citations"] = [*(before if isinstance(before, list) else ()), value]
        elif name == "partial_json":
            block[name] = f"{before or ''}{value}"
        elif name in GROWING and isinstance(before, str) and isinstance(value, str):
            block[name] = before + value
        else:
            block[name] = value


def with_input(block: dict[str, Any]) -> dict[str, Any]:
    """A block with its arguments read; those that are no JSON object are wrapped, as Anthropic advises."""
    text = str(block.pop("partial_json", ""))
    if not text.strip():
        return block
    read = object_in(text)
    return block | {"input": {"INVALID_JSON": text} if read is None else read}


def end_of(ticket: ChatTicket, *, called: bool) -> dict[str, Any]:
    """Why it ended, where the vendor did not say so in Anthropic's words. `called`: tools were."""
    reason = ticket.finish_reason or ("length" if ticket.end_reason == "budget_cut" else "stop")
    if reason == "stop" and ticket.stop_sequence is not None:
        return {"stop_reason": "stop_sequence", "stop_sequence": ticket.stop_sequence}
    if reason == "stop" and called:
        reason = "tool_calls"
    return {"stop_reason": STOP_REASONS.get(reason, reason), "stop_sequence": None}


def usage_of(ticket: ChatTicket) -> dict[str, Any]:
    """The settled usage, in Anthropic's words."""
    settled = ticket.settlement
    assert settled is not None
    usage = figures(
        Usage(settled.input_tokens, settled.output_tokens, settled.cached_input_tokens, settled.cache_write_tokens)
    )
    thought = {"output_tokens_details": {"thinking_tokens": settled.reasoning_tokens}}
    return usage | (thought if settled.reasoning_tokens else {})


def figures(usage: Usage) -> dict[str, Any]:
    """Tokens as Anthropic counts them: the input without what was read from the cache or written to it."""
    rest = usage.input_tokens - usage.cached_input_tokens - usage.cache_write_tokens
    return {
        "input_tokens": max(0, rest),
        "cache_creation_input_tokens": usage.cache_write_tokens,
        "cache_read_input_tokens": usage.cached_input_tokens,
        "output_tokens": usage.output_tokens,
    }
