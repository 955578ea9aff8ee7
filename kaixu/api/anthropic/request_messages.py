"""Translate the messages of an Anthropic request, and collect unknown fields."""

from __future__ import annotations

import re
from typing import Any

import msgspec

from kaixu.api.openai.chat_messages import read_thought_signature
from kaixu.edge.fields import Fields
from kaixu.plugin.errors import Invalid, Unprocessable, Unsupported
from kaixu.plugin.types import (
    ImagePart,
    Message,
    Part,
    ReasoningPart,
    Role,
    TextPart,
    ToolCallPart,
    ToolResultPart,
)

ROLES: dict[str, Role] = {"user": "user", "assistant": "assistant", "system": "system"}
#: The only role that may have a type of block.
SIDES = {"tool_use": "assistant", "thinking": "assistant", "redacted_thinking": "assistant", "tool_result": "user"}
MAX_BLOCKS = 10_000
MAX_TEXT = 64 * 1024 * 1024
#: References insert tool definitions, which are much longer: the limit of all inserted characters.
MAX_BROUGHT_IN = 4_000_000
#: Blocks about tools that a vendor ran in an earlier turn, or that only that vendor can read.
VENDOR_BLOCKS = re.compile(r"server_tool_use|mcp_tool_use|mcp_tool_listing|\w+_tool_result|compaction|fallback")
ENCODER = msgspec.json.Encoder()


class RequestMessagesParser:
    """Parses the system prompt and the messages. `unknown_fields`: the names of fields without a translation.

    `native`: the vendor gets the body unchanged. Unknown blocks become text for counting tokens.
    `tools`: those of the request; blocks refer to them by name. `dropped`: the names of dropped
    blocks. `added`, `removed`: tools that blocks add or remove.
    """

    def __init__(self, *, native: bool, tools: list[Any]) -> None:
        self.native = native
        self.dropped: list[str] = []
        self.added: list[Fields] = []
        self.removed: set[str] = set()
        self.tools = {str(tool.get("name")): tool for tool in tools if isinstance(tool, dict)}
        self.brought_in = 0
        self.unknown_fields: list[str] = []

    def parse(self, fields: Fields, most: int) -> tuple[Message, ...]:
        """The fields `system` and `messages`. Raises `Invalid` where there are no messages."""
        system = tuple(self.content(fields, "system", "system"))
        turns = fields.objects("messages", most=most)
        if not turns:
            hint = "Send `messages` as a list of {role, content}."
            raise Invalid("`messages` is missing", hint=hint, field="messages")
        shown = turns if self.native else remove_cleared(turns)
        messages = [message for turn in shown if (message := self.message(turn)) is not None]
        if messages and messages[-1].role == "assistant" and not self.native:
            why = "the vendor of this model always begins a new answer, and cannot continue one"
            hint = "End `messages` with a user message, or choose another model."
            raise Unsupported(turns[-1].path, why, hint=hint)
        return (Message("system", system), *messages) if system else tuple(messages)

    def message(self, turn: Fields) -> Message | None:
        """One message; None for an empty one of the assistant."""
        role = ROLES.get(turn.text("role", most=40) or "")
        if role is None:
            raise turn.invalid("role", f"must be one of {', '.join(ROLES)}")
        parts = self.content(turn, "content", role)
        parts += self.unread(turn)
        if not parts:
            return None if role == "assistant" else Message(role, (TextPart(""),))
        return Message(role, tuple(parts))

    def content(self, fields: Fields, field: str, role: str) -> list[Part]:
        """Text, or a list of blocks. `role`: of the message; "tool" or "document" inside such a block."""
        value = fields.get(field)
        if value is None:
            return []
        if isinstance(value, str):
            return [TextPart(value)] if value else []
        if not isinstance(value, list) or len(value) > MAX_BLOCKS:
            raise fields.invalid(field, f"must be text or a list of at most {MAX_BLOCKS} blocks")
        blocks = fields.objects(field, most=MAX_BLOCKS) or []
        return [part for block in blocks for part in self.block(block, role)]

    def block(self, block: Fields, role: str) -> list[Part]:
        """One block."""
        kind = block.text("type", most=100)
        if kind is None:
            raise block.invalid("type", "is missing")
        if SIDES.get(kind, role) != role:
            raise block.invalid("type", f"can be {kind} only in messages of the {SIDES[kind]}")
        block.used.add("cache_control")
        match kind:
            case "text":
                if not self.native:
                    block.used.add("citations")  # of an earlier answer: the vendor does not need them
                text = block.text("text", most=MAX_TEXT)
                parts: list[Part] = [TextPart(text)] if text else []
            case "image":
                parts = [read_image(block)]
            case "document" if role != "document":
                parts = self.document(block)
            case "tool_use":
                parts = [read_tool_call(block)]
            case "tool_result":
                parts = [self.result(block)]
            case "thinking":
                thought, token = block.text("thinking", most=MAX_TEXT), block.text("signature", most=MAX_TEXT)
                parts = [ReasoningPart(thought or "", token or None)] if thought or token else []
            case "redacted_thinking":
                parts = [ReasoningPart("", block.required_text("data", most=MAX_TEXT))]
            case _ if self.native:
                return self.counted(block.value)
            case "search_result":
                parts = self.search_result(block)
            case "tool_reference":
                name = block.required_text("tool_name", most=200)
                parts = [TextPart(f"The tool {name} can be called now.")]
            case "tool_addition" | "tool_removal":
                self.change_of_tools(block, added=kind == "tool_addition")
                parts = []
            case _ if VENDOR_BLOCKS.fullmatch(kind):
                self.dropped.append(f"messages[].content[].{kind}")
                return []
            case _:
                why = f"this gateway has no price for {kind[:60]} blocks"
                raise Unsupported(block.name("type"), why, hint="Leave this block out, or choose another model.")
        return parts + self.unread(block)

    def search_result(self, block: Fields) -> list[Part]:
        """A search result of the client: title, source and content. Citations are not supported."""
        block.used.add("citations")
        lines = (block.text("title"), block.text("source", most=MAX_TEXT))
        heading = "".join(f"{line}\n" for line in lines if line)
        return [*([TextPart(heading)] if heading else []), *self.content(block, "content", "document")]

    def change_of_tools(self, block: Fields, *, added: bool) -> None:
        """Add or remove a tool. The last such block of each tool counts."""
        tool = block.nested("tool")
        if tool is None:
            raise block.invalid("tool", "is missing")
        definition = tool.nested("definition")
        name = (definition or tool).required_text("name", most=200)
        tool.used.add("type")
        if not added:
            self.removed.add(name)
            return
        self.removed.discard(name)
        if definition is not None:
            self.added.append(Fields(definition.value, definition.path))

    def result(self, block: Fields) -> ToolResultPart:
        """The result of a tool call."""
        content = self.content(block, "content", "tool")
        return ToolResultPart(
            block.required_text("tool_use_id", most=1000),
            tuple(part for part in content if isinstance(part, TextPart | ImagePart)),
            block.flag("is_error") is True,
        )

    def document(self, block: Fields) -> list[Part]:
        """A document: title, context, then its text or blocks."""
        source = block.nested("source")
        if source is None:
            raise block.invalid("source", "is missing")
        kind = source.text("type", most=100)
        if kind == "text":
            source.used.add("media_type")
            parts: list[Part] = [TextPart(source.required_text("data", most=MAX_TEXT))]
        elif kind == "content":
            parts = self.content(source, "content", "document")
        else:
            why = f"this gateway has no price for documents of type {(kind or 'such')[:60]}"
            raise Unsupported(source.name("type"), why, hint="Send the document as text, or leave it out.")
        citations = block.nested("citations")
        if citations is not None and citations.flag("enabled"):
            self.unknown_fields.append(citations.name("enabled"))
        heading = "".join(f"{line}\n" for line in (block.text("title"), block.text("context", most=MAX_TEXT)) if line)
        return [*([TextPart(heading)] if heading else []), *parts, *self.unread(source)]

    def unread(self, fields: Fields) -> list[Part]:
        """Unknown fields: counted as text for a native lane, otherwise added to `unknown_fields`."""
        names = fields.unread()
        if not self.native:
            self.unknown_fields += names
            return []
        rest = {field: value for field, value in fields.value.items() if field not in fields.used}
        return self.counted(rest) if names else []

    def counted(self, value: dict[str, Any]) -> list[Part]:
        """The parts of an unknown value that cost tokens: its JSON, images, and referenced tools."""
        parts: list[Part] = [TextPart(ENCODER.encode(value).decode())]
        waiting: list[Any] = [value]
        while waiting:
            one = waiting.pop()
            if isinstance(one, list):
                waiting += one
            elif isinstance(one, dict):
                waiting += one.values()
                if one.get("type") == "image":
                    parts.append(ImagePart(""))
                elif one.get("type") == "tool_reference":
                    parts.append(self.tool(str(one.get("tool_name"))))
        return parts

    def tool(self, name: str) -> TextPart:
        """The definition of a tool that a block refers to."""
        text = ENCODER.encode(self.tools.get(name)).decode()
        self.brought_in += len(text)
        if self.brought_in > MAX_BROUGHT_IN:
            message = f"tool_reference blocks insert more than {MAX_BROUGHT_IN} characters"
            raise Unprocessable(message, hint="Refer to each tool once.", field="messages")
        return TextPart(text)


def remove_cleared(turns: list[Fields]) -> list[Fields]:
    """Remove messages that were valid only until the next user message."""
    remaining: list[Fields] = []
    later_user = False
    for turn in reversed(turns):
        cleared = turn.get("clear_at") == "next_user_message" and later_user
        later_user = later_user or turn.value.get("role") == "user"
        if not cleared:
            remaining.append(turn)
    return remaining[::-1]


def read_image(block: Fields) -> ImagePart:
    """An image in base64, or a URL, which only the vendor fetches."""
    source = block.nested("source")
    if source is None:
        raise block.invalid("source", "is missing")
    kind = source.text("type", most=100)
    if kind == "base64":
        media_type = source.required_text("media_type", most=100)
        if not media_type.startswith("image/") or not media_type.removeprefix("image/").isalnum():
            raise source.invalid("media_type", "must be image/jpeg, image/png, image/gif or image/webp")
        return ImagePart(f"data:{media_type};base64,{source.required_text('data', most=MAX_TEXT)}")
    if kind != "url":
        why = "images must be base64 or a URL"
        raise Unsupported(source.name("type"), why, hint="Send the image itself.")
    url = source.required_text("url")
    if not url.startswith("https://"):
        raise source.invalid("url", "must begin with https://")
    return ImagePart(url)


def read_tool_call(block: Fields) -> ToolCallPart:
    """A tool call of the assistant."""
    arguments = block.raw_object("input") or {}
    if block.value.get("caller") == {"type": "direct"}:
        block.used.add("caller")
    return ToolCallPart(
        block.required_text("id", most=1000),
        block.required_text("name", most=200),
        ENCODER.encode(arguments).decode(),
        read_thought_signature(block.raw_object("extra_content")),
    )
