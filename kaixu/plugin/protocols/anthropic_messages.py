"""Anthropic's Messages protocol, from its API reference and SDKs (as of November 2026)."""

from __future__ import annotations

import re
from typing import Any

from .shapes import Pick, Shape

ANY = None

TEXT: Shape = {"type": ANY, "text": ANY, "cache_control": ANY, "citations": ANY}
IMAGE: Shape = {"type": ANY, "source": ANY, "cache_control": ANY}
DOCUMENT: Shape = {
    "type": ANY,
    "source": ANY,
    "title": ANY,
    "context": ANY,
    "citations": ANY,
    "cache_control": ANY,
}
#: Blocks of other types are passed on unchanged: new types appear often, and their text is counted.
RESULT_BLOCK = Pick({"text": TEXT, "image": IMAGE, "document": DOCUMENT}, otherwise=ANY)
BLOCKS: dict[str | None, Shape | None] = {
    "text": TEXT,
    "image": IMAGE,
    "document": DOCUMENT,
    "tool_use": {"type": ANY, "id": ANY, "name": ANY, "input": ANY, "cache_control": ANY, "caller": ANY},
    "tool_result": {
        "type": ANY,
        "tool_use_id": ANY,
        "content": RESULT_BLOCK,
        "is_error": ANY,
        "cache_control": ANY,
    },
    "thinking": {"type": ANY, "thinking": ANY, "signature": ANY},
    "redacted_thinking": {"type": ANY, "data": ANY},
}
BLOCK = Pick(BLOCKS, otherwise=ANY)

CUSTOM_TOOL: Shape = {
    "type": ANY,
    "name": ANY,
    "description": ANY,
    "input_schema": ANY,
    "strict": ANY,
    "cache_control": ANY,
    "eager_input_streaming": ANY,
    "defer_loading": ANY,
    "allowed_callers": ANY,
    "input_examples": ANY,
}

#: Fields that can cost more, with the values that do not.
DEARER: dict[str, tuple[Any, ...]] = {
    "service_tier": ("auto", "standard_only"),
    "speed": ("standard",),
    "inference_geo": ("global",),
    "mcp_servers": (),
    "container": (),
    "fallbacks": (),
    "compaction": (),
    "thread": (),
    "billing_policy": (),
    "fallback_credit_token": (),
}

FIELDS: Shape = {
    "model": ANY,
    "messages": {"role": ANY, "content": BLOCK},
    "system": BLOCK,
    "max_tokens": ANY,
    "metadata": ANY,
    "stop_sequences": ANY,
    "stream": ANY,
    "temperature": ANY,
    "top_p": ANY,
    "top_k": ANY,
    "tools": Pick({None: CUSTOM_TOOL, "custom": CUSTOM_TOOL}, otherwise=ANY),
    "tool_choice": ANY,
    "thinking": ANY,
    "output_config": ANY,
    "output_format": ANY,
    "cache_control": ANY,
    "context_management": ANY,
    "diagnostics": ANY,
    **dict.fromkeys(DEARER, ANY),
}

NO_PRICE = "this gateway has no price for it"
TEXT_AND_IMAGES = "this gateway has a price for text and images only"
#: Tools that the client runs. All others are run by the vendor at an extra price.
CLIENT_TOOL = re.compile(r"custom|(bash|text_editor|computer|computer_toolset|browser_toolset|memory)_\d{8}")
DATE = re.compile(r"_\d{8}$")
NOT_IN_NAMES = re.compile(r"[^A-Za-z0-9_.:-]")


def dearer(body: dict[str, Any]) -> list[tuple[str, str, bool]]:
    """See `kaixu.plugin.protocols.dearer_fields`. Tools are named by their type without the date."""
    found = [
        (field, NO_PRICE, True) for field, harmless in DEARER.items() if body.get(field) and body[field] not in harmless
    ]
    tools, blocks = objects(body, "tools"), objects(body, "system") + objects(body, "messages")
    edits = objects(inside(body, "context_management"), "edits")
    if not all(str(edit.get("type")).startswith("clear_") for edit in edits):
        found.append(("context_management", "the vendor's usage does not contain the tokens of a summary", True))
    for block in blocks:
        source = inside(block, "source")
        blocks += objects(block, "content") + objects(source, "content") + objects(block, "tool_changes")
        tools.append(inside(inside(block, "tool"), "definition"))
        kind = "file" if (source_type := source.get("type")) == "file" else block.get("type")
        # Neither a file id nor the size of a PDF limits its tokens.
        if kind in ("file", "container_upload") or (kind == "document" and source_type not in ("text", "content")):
            found.append((str(kind), TEXT_AND_IMAGES, True))
    for tool in tools:
        kind = str(tool.get("type") or "custom")
        if not CLIENT_TOOL.fullmatch(kind):
            name = NOT_IN_NAMES.sub("?", DATE.sub("", kind))[:100]
            found.append(
                (name, f"tools of type `{name}` are run by the vendor, and this gateway has no price for them", True)
            )
    for entry in (body, *tools, *blocks):
        if inside(entry, "cache_control").get("ttl") not in (None, "5m"):
            found.append(("cache_control", "this gateway has a price for five-minute caches only", True))
            break
    return found


def objects(value: dict[str, Any], field: str) -> list[dict[str, Any]]:
    """The objects of a list field; anything else is left for the vendor to refuse."""
    entries = value.get(field)
    return [entry for entry in entries if isinstance(entry, dict)] if isinstance(entries, list) else []


def inside(value: dict[str, Any], field: str) -> dict[str, Any]:
    """The object of a field; empty if there is none."""
    inner = value.get(field)
    return inner if isinstance(inner, dict) else {}
