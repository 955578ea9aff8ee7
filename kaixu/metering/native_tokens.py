"""Counts the tokens of a request in its vendor's own protocol, on the body that goes out.

Known texts count by the lane's tokenizer or their bytes, everything else by the length of its JSON. Only images count
by the most that one can cost.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import msgspec

from kaixu.plugin.errors import Invalid

ENCODER = msgspec.json.Encoder()

#: The fields that hold the conversation; everything else counts by its JSON.
CONVERSATION = ("messages", "system")

#: Texts beside a turn's content.
TURN_TEXTS = frozenset({"name", "refusal", "tool_call_id", "reasoning_content", "reasoning"})

#: Fields of parts that hold their text.
PART_TEXTS = frozenset({"text", "refusal", "thinking", "signature", "data", "tool_use_id", "id", "name"})

IMAGES = frozenset({"image", "image_url", "input_image"})


def encoded_length(value: object) -> int:
    """The length as JSON. Raises `Invalid` for a value that is nested too deep."""
    try:
        return len(ENCODER.encode(value))
    except RecursionError:
        raise Invalid("the body is nested too deep", hint="Send at most a hundred levels.") from None


class NativeTokens:
    """Counts one body.

    `count` counts a text; `image_tokens` is the most that an image can cost (0 where the operator has not set it; then
    images are refused).
    """

    def __init__(self, count: Callable[[str], int], image_tokens: int, tools: Any = None) -> None:
        self.count = count
        self.image_tokens = image_tokens
        self.images = 0
        # A few bytes of a `tool_reference` bring a whole tool into the prompt again.
        self.tools: dict[str, Any] = {}
        if isinstance(tools, list):
            self.tools = {str(tool.get("name")): tool for tool in tools if isinstance(tool, dict)}

    def body(self, body: Mapping[str, Any]) -> int:
        """The tokens of a whole body, without what the vendor puts around messages and tools."""
        system = body.get("system")
        total = 0 if system is None else self.content(system)
        turns = body.get("messages")
        for turn in turns if isinstance(turns, list) else ():
            total += self.turn(turn) if isinstance(turn, dict) else encoded_length(turn)
        return total + encoded_length({name: value for name, value in body.items() if name not in CONVERSATION})

    def turn(self, turn: Mapping[str, Any]) -> int:
        """One turn."""
        total = 0
        for field, value in turn.items():
            if field == "role" or value is None:
                continue
            if field == "content":
                total += self.count(value) if type(value) is str else self.content(value)
            elif field in TURN_TEXTS and isinstance(value, str):
                total += self.count(value)
            elif field == "tool_calls" and isinstance(value, list):
                total += sum(self.tool_call(call) for call in value)
            else:
                total += self.other(field, value)
        return total

    def tool_call(self, call: Any) -> int:
        """A tool call of the assistant, in OpenAI's form."""
        if not isinstance(call, dict):
            return encoded_length(call)
        total = 0
        for field, value in call.items():
            if field in ("type", "index") and isinstance(value, str | int) and len(str(value)) <= 20:
                continue
            if field == "id" and isinstance(value, str):
                total += self.count(value)
            elif field == "function" and isinstance(value, dict):
                for name, held in value.items():
                    known = name in ("name", "arguments") and isinstance(held, str)
                    total += self.count(held) if known else self.other(name, held)
            else:
                total += self.other(field, value)
        return total

    def content(self, content: Any) -> int:
        """Content: text, a part, or a list of parts."""
        if content is None:
            return 0
        if isinstance(content, str):
            return self.count(content)
        if isinstance(content, list):
            return sum(self.content(part) for part in content)
        return self.part(content) if isinstance(content, dict) else encoded_length(content)

    def part(self, part: Mapping[str, Any]) -> int:
        """One part of a content."""
        kind = part.get("type")
        if kind in IMAGES:
            return self.image(part)
        if kind == "tool_reference":
            return self.reference(part) + encoded_length(part)
        total = 0
        for field, value in part.items():
            if value is None or (field == "type" and isinstance(value, str) and len(value) <= 40):
                continue
            if field in PART_TEXTS and isinstance(value, str):
                total += self.count(value)
            elif field == "content" and kind == "tool_result":
                total += self.content(value)
            elif field == "source" and kind == "document" and isinstance(value, dict):
                total += self.source(value)
            elif field == "cache_control":
                total += max(0, encoded_length(value) - SHORT)
            else:
                total += self.other(field, value)
        return total

    def source(self, source: Mapping[str, Any]) -> int:
        """The source of a document."""
        total = 0
        for field, value in source.items():
            if field == "content":
                total += self.content(value)
            elif field == "data" and isinstance(value, str):
                total += self.count(value)
            elif field not in ("type", "media_type"):
                total += self.other(field, value)
            else:
                total += max(0, encoded_length(value) - SHORT)
        return total

    def image(self, part: Mapping[str, Any]) -> int:
        """An image, not by its bytes. Other fields beside it count."""
        self.images += 1
        total = self.image_tokens
        holder = "source" if part.get("type") == "image" else "image_url"
        for field, value in part.items():
            if field == holder and isinstance(value, dict):
                rest = {name: held for name, held in value.items() if name not in ("url", "data")}
                total += max(0, encoded_length(rest) - SHORT)
            elif not (field == holder and isinstance(value, str)):
                total += max(0, encoded_length(value) - SHORT)
        return total

    def reference(self, part: Mapping[str, Any]) -> int:
        """A tool that is included again by its name."""
        return encoded_length(self.tools.get(str(part.get("tool_name"))))

    def other(self, field: str, value: Any) -> int:
        """An unknown field: its JSON, with the images and tools in it."""
        total = len(field) + encoded_length(value)
        for one in objects_in(value):
            if one.get("type") in IMAGES:
                self.images += 1
                total += self.image_tokens
            elif one.get("type") == "tool_reference":
                total += self.reference(one)
        return total


#: Bytes of JSON that short settings take: `{"type":"ephemeral","ttl":"5m"}` and the like are not texts.
SHORT = 64


def objects_in(value: Any) -> Iterable[dict[str, Any]]:
    """Every object in a value, at any depth."""
    waiting = [value]
    while waiting:
        one = waiting.pop()
        if isinstance(one, list):
            waiting += one
        elif isinstance(one, dict):
            yield one
            waiting += one.values()
