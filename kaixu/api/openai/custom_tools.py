"""Translate OpenAI's custom tools, whose input is text, to functions with one argument, and their calls back."""

from __future__ import annotations

from typing import Any

import msgspec

from kaixu.edge.fields import Fields
from kaixu.plugin.types import Cache, Tool

#: The argument, and its schema.
INPUT = "input"
PARAMETERS: dict[str, Any] = {
    "type": "object",
    "properties": {INPUT: {"type": "string", "description": "The whole input of the tool, as plain text."}},
    "required": [INPUT],
    "additionalProperties": False,
}
ENCODER = msgspec.json.Encoder()
DECODER = msgspec.json.Decoder()


def read_custom_tool(entry: Fields, cache: Cache | None = None) -> Tool:
    """A custom tool as a function. Its grammar goes into the description, since other vendors do not enforce it."""
    descriptions = [entry.text("description") or ""]
    form = entry.nested("format")
    if form is not None and form.text("type", most=100) == "grammar":
        inner = form.nested("grammar") or form  # nested in Chat Completions, flat in Responses
        syntax, definition = inner.text("syntax", most=100), inner.text("definition")
        descriptions.append(f"The input must match this grammar ({syntax or 'lark'}):\n{definition or ''}")
    description = "\n\n".join(text for text in descriptions if text) or None
    return Tool(entry.required_text("name", most=200), description, PARAMETERS, None, cache)


def encode_input(text: str) -> str:
    """The text of a custom tool call as arguments of the function."""
    return ENCODER.encode({INPUT: text}).decode()


def decode_input(arguments: str) -> str:
    """The text in the arguments; for other arguments, the arguments themselves."""
    try:
        value = DECODER.decode(arguments)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return arguments
    text = value.get(INPUT) if isinstance(value, dict) else None
    return text if isinstance(text, str) else arguments
