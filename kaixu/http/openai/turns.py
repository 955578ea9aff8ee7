"""OpenAI's messages → the contract's, and what in them the contract has no word for."""

from __future__ import annotations

from typing import Any

from kaixu.http.fields import Fields
from kaixu.plugin.errors import Invalid, Unsupported
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

ROLES: dict[str, Role] = {
    "system": "system",
    "developer": "developer",
    "user": "user",
    "assistant": "assistant",
    "tool": "tool",
}
MOST_PARTS = 2000
MOST_IMAGE_TEXT = 64 * 1024 * 1024


class Turns:
    """Reads messages. `beyond` names what was sent and has no place in the contract.

    `lenient`: empty turns are dropped, as the native clients have come to rely on.
    """

    def __init__(self, *, lenient: bool = False) -> None:
        self.lenient = lenient
        self.beyond: list[str] = []

    def read(self, fields: Fields, most: int) -> tuple[Message, ...]:
        """The field `messages`. Raises `Invalid` where there is none with content."""
        turns = fields.objects("messages", most=most)
        if turns is None:
            raise Invalid(
                "`messages` is missing", hint="Send `messages` as a list of {role, content}.", field="messages"
            )
        messages = [message for turn in turns if (message := self.message(turn)) is not None]
        if not messages:
            raise Invalid("`messages` holds no text", hint="Send at least one message with content.", field="messages")
        return tuple(messages)

    def message(self, turn: Fields) -> Message | None:
        """One turn; None for an empty one."""
        role = ROLES.get((turn.text("role", most=40) or "").strip().lower())
        if role is None:
            raise turn.wrong("role", f"must be one of {', '.join(ROLES)}")
        parts: list[Part] = []
        if role == "tool":
            content = tuple(part for part in self.content(turn) if isinstance(part, TextPart | ImagePart))
            parts.append(ToolResultPart(turn.needed_text("tool_call_id", most=1000), content))
        else:
            if role == "assistant":
                parts += self.reasoning(turn)
            parts += self.content(turn)
            if role == "assistant":
                refusal = turn.text("refusal")
                if refusal:
                    parts.append(TextPart(refusal))
                parts += [self.tool_call(call) for call in turn.objects("tool_calls", most=MOST_PARTS) or ()]
        name = turn.text("name", most=200)
        turn.taken |= {"annotations", "reasoning"}  # replies carry them; nobody wants them back
        if turn.value.get("audio") is not None:
            raise Unsupported(turn.name("audio"), "this gateway has a price for text and images only")
        self.beyond += turn.rest()
        if not parts:
            return None if self.lenient or role == "assistant" else Message(role, (TextPart(""),), name)
        return Message(role, tuple(parts), name)

    def reasoning(self, turn: Fields) -> list[Part]:
        """What the assistant thought, where the client gives it back as this gateway, or OpenRouter, told it."""
        told = turn.text("reasoning_content")
        details = turn.objects("reasoning_details", most=MOST_PARTS)
        if details is None:
            return [ReasoningPart(told)] if told else []
        parts: list[Part] = []
        for detail in details:
            kind = detail.text("type")
            if kind == "reasoning.encrypted":
                parts.append(ReasoningPart("", detail.needed_text("data", most=MOST_IMAGE_TEXT)))
                continue
            text, signature = detail.text("text", most=MOST_IMAGE_TEXT), detail.text("signature", most=MOST_IMAGE_TEXT)
            if text or signature:
                parts.append(ReasoningPart(text or "", signature))
        return parts

    def content(self, turn: Fields) -> list[Part]:
        """Text, or a list of parts."""
        content = turn.take("content")
        if content is None:
            return []
        if isinstance(content, str):
            return [TextPart(content)] if content else []
        if not isinstance(content, list) or len(content) > MOST_PARTS:
            raise turn.wrong("content", f"must be text or a list of at most {MOST_PARTS} parts")
        parts: list[Part] = []
        for at, part in enumerate(content):
            if isinstance(part, str):
                part = {"type": "text", "text": part}
            if not isinstance(part, dict):
                raise turn.wrong(f"content[{at}]", "must be an object with `type`")
            made = self.part(Fields(part, turn.name(f"content[{at}]")))
            if made is not None:
                parts.append(made)
        return parts

    def part(self, part: Fields) -> Part | None:
        """One part of a content; None for an empty one."""
        kind = part.text("type", most=100)
        made: Part | None
        if kind in ("text", "input_text", "output_text", "refusal"):
            text = part.text("refusal" if kind == "refusal" else "text", most=MOST_IMAGE_TEXT) or ""
            made = TextPart(text) if text else None
        elif kind == "image_url":
            made = image_of(part)
        elif kind in ("file", "input_audio", "input_file"):
            raise Unsupported(part.name("type"), f"this gateway has no price for {kind} parts")
        else:
            raise part.wrong("type", "must be text or image_url")
        part.taken.add("annotations")
        self.beyond += part.rest()
        return made

    def tool_call(self, call: Fields) -> ToolCallPart:
        """A call that the assistant made."""
        kind = call.text("type", most=100)
        if kind not in (None, "function"):
            raise Unsupported(call.name("type"), "only calls of functions are taken")
        call.taken.add("index")
        function = call.inner("function")
        if function is None:
            raise call.wrong("function", "is missing")
        arguments = function.take("arguments")
        if arguments is None:
            arguments = ""
        if not isinstance(arguments, str):
            raise function.wrong("arguments", "must be JSON text")
        made = ToolCallPart(
            call.needed_text("id", most=1000),
            function.needed_text("name", most=200),
            arguments,
            signature_of(call.plain("extra_content")),
        )
        self.beyond += function.rest() + call.rest()
        return made


def image_of(part: Fields) -> ImagePart:
    """An image by its URL; the vendor fetches it, the gateway never does."""
    value = part.take("image_url")
    url, detail = (value.get("url"), value.get("detail")) if isinstance(value, dict) else (value, part.take("detail"))
    if not isinstance(url, str) or not url.startswith(("data:image/", "https://")):
        raise part.wrong("image_url", "must have a url that begins with data:image/ or https://")
    if detail not in (None, "low", "high", "auto"):
        raise part.wrong("image_url.detail", "must be low, high or auto")
    return ImagePart(url, detail)


def signature_of(extra: dict[str, Any] | None) -> str | None:
    """A vendor's token beside a tool call, where Google's OpenAI-compatible clients put it."""
    google = (extra or {}).get("google")
    signature = google.get("thought_signature") if isinstance(google, dict) else None
    return signature if isinstance(signature, str) else None


def extra_of(opaque: str | None) -> dict[str, Any]:
    """The other way round: a part of a tool call, or nothing."""
    return {} if opaque is None else {"extra_content": {"google": {"thought_signature": opaque}}}
