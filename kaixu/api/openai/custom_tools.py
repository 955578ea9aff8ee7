"""OpenAI's custom tools, which take a text: for other vendors a function with one argument, and back again."""

from __future__ import annotations

from typing import Any

import msgspec

from kaixu.edge.fields import Fields
from kaixu.plugin.types import Cache, Tool

#: The one argument, and its schema.
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
    """A custom tool as a function. The form that its text must have is told in words, for no vendor enforces it."""
    said = [entry.text("description") or ""]
    form = entry.inner("format")
    if form is not None and form.text("type", most=100) == "grammar":
        inner = form.inner("grammar") or form  # Chat Completions has it one level deeper than Responses
        syntax, definition = inner.text("syntax", most=100), inner.text("definition")
        said.append(f"The input must match this grammar ({syntax or 'lark'}):\n{definition or ''}")
    description = "\n\n".join(text for text in said if text) or None
    return Tool(entry.needed_text("name", most=200), description, PARAMETERS, None, cache)


def encode_input(text: str) -> str:
    """The arguments of a call that was made with a text."""
    return ENCODER.encode({INPUT: text}).decode()


def decode_input(arguments: str) -> str:
    """The text of a call: its one argument. If the model wrote something else, all of it is the text."""
    try:
        value = DECODER.decode(arguments)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return arguments
    text = value.get(INPUT) if isinstance(value, dict) else None
    return text if isinstance(text, str) else arguments
