"""Translate the messages of an OpenAI chat request, and collect unknown fields."""

from __future__ import annotations

import re
from typing import Any

import msgspec
from msgspec.structs import replace

from kaixu.api.cache_points import read_cache_point, with_cache_point
from kaixu.edge.fields import Fields
from kaixu.plugin.errors import Invalid, Unsupported
from kaixu.plugin.types import (
    Cache,
    ImagePart,
    Message,
    Part,
    ReasoningPart,
    Role,
    TextPart,
    ToolCallPart,
    ToolResultPart,
)

from .custom_tools import encode_input

ROLES: dict[str, Role] = {
    "system": "system",
    "developer": "developer",
    "user": "user",
    "assistant": "assistant",
    "tool": "tool",
    "function": "tool",
}
MAX_PARTS = 2000
MAX_IMAGE_TEXT = 64 * 1024 * 1024
ENCODER = msgspec.json.Encoder()
#: Parts other than text and images. Their cost has no limit, so they are refused.
WITHOUT_PRICE = frozenset({"file", "input_audio", "input_file", "audio_url", "video_url", "input_video", "file_url"})


class ChatMessagesParser:
    """Parses `messages`. `unknown_fields`: the names of fields without a translation.

    `lenient`: empty messages are dropped, which clients of the native API rely on.
    """

    def __init__(self, *, lenient: bool = False) -> None:
        self.lenient = lenient
        self.unknown_fields: list[str] = []
        self.called: list[tuple[str, str]] = []  # name and id of `function_call`s without a result yet
        self.functions = 0

    def parse(self, fields: Fields, most: int) -> tuple[Message, ...]:
        """The field `messages`. Raises `Invalid` if no message has content."""
        turns = fields.objects("messages", most=most)
        if turns is None:
            raise Invalid(
                "`messages` is missing", hint="Send `messages` as a list of {role, content}.", field="messages"
            )
        messages = [message for turn in turns if (message := self.message(turn)) is not None]
        if not messages:
            raise Invalid("`messages` has no text", hint="Send at least one message with content.", field="messages")
        return tuple(messages)

    def message(self, turn: Fields) -> Message | None:
        """One message; None for an empty one that is dropped."""
        role_name = (turn.text("role", most=40) or "").strip().lower()
        role = ROLES.get(role_name)
        if role is None:
            raise turn.invalid("role", f"must be one of {', '.join(ROLES)}")
        cache = read_cache_point(turn)
        name = turn.text("name", most=200)
        parts: list[Part] = []
        if role == "tool":
            content = tuple(part for part in self.content(turn) if isinstance(part, TextPart | ImagePart))
            id = (
                self.answered_call_id(turn, name)
                if role_name == "function"
                else turn.required_text("tool_call_id", most=1000)
            )
            parts.append(ToolResultPart(id, content))
            name = None  # the function's name, which is part of the call
        elif role == "assistant":
            parts = self.assistant(turn)
        else:
            parts = self.content(turn)
        turn.used |= {
            "annotations",
            "reasoning",
        }  # parts of our replies, which clients send back; vendors do not need them
        if turn.value.get("audio") is not None:
            raise Unsupported(turn.name("audio"), "this gateway has prices only for text and images")
        self.unknown_fields += turn.unread()
        if not parts:
            return None if self.lenient or role == "assistant" else Message(role, (TextPart(""),), name)
        return with_cache_point(Message(role, tuple(parts), name), cache)

    def assistant(self, turn: Fields) -> list[Part]:
        """Reasoning, text and tool calls of the assistant, in this order."""
        parts = self.reasoning(turn) + self.content(turn)
        refusal = turn.text("refusal")
        if refusal:
            parts.append(TextPart(refusal))
        parts += [self.tool_call(call) for call in turn.objects("tool_calls", most=MAX_PARTS) or ()]
        older = turn.nested("function_call")
        if older is not None:
            self.functions += 1
            id = f"call_function_{self.functions}"
            parts.append(self.function(older, id, None))
            self.called.append((older.value["name"], id))
        return parts

    def answered_call_id(self, turn: Fields, name: str | None) -> str:
        """The id of the call that a message of role `function` answers: the last one with its name."""
        if name is None:
            raise turn.invalid("name", "is missing")
        for at in reversed(range(len(self.called))):
            if self.called[at][0] == name:
                return self.called.pop(at)[1]
        raise turn.invalid("name", "must be a function that the assistant has called")

    def reasoning(self, turn: Fields) -> list[Part]:
        """Earlier reasoning, in the format of our replies or of OpenRouter's."""
        text = turn.text("reasoning_content")
        details = turn.objects("reasoning_details", most=MAX_PARTS)
        if details is None:
            return [ReasoningPart(text)] if text else []
        parts: list[Part] = []
        for detail in details:
            kind = detail.text("type")
            if kind == "reasoning.encrypted":
                parts.append(ReasoningPart("", detail.required_text("data", most=MAX_IMAGE_TEXT)))
                continue
            text, signature = detail.text("text", most=MAX_IMAGE_TEXT), detail.text("signature", most=MAX_IMAGE_TEXT)
            if text or signature:
                parts.append(ReasoningPart(text or "", signature))
        return parts

    def content(self, turn: Fields) -> list[Part]:
        """Text, or a list of parts."""
        content = turn.get("content")
        if content is None:
            return []
        if isinstance(content, str):
            return [TextPart(content)] if content else []
        if not isinstance(content, list) or len(content) > MAX_PARTS:
            raise turn.invalid("content", f"must be text or a list of at most {MAX_PARTS} parts")
        parts: list[Part] = []
        for at, part in enumerate(content):
            if isinstance(part, str):
                part = {"type": "text", "text": part}
            if not isinstance(part, dict):
                raise turn.invalid(f"content[{at}]", "must be an object with `type`")
            translated = self.part(Fields(part, turn.name(f"content[{at}]")))
            if translated is not None:
                parts.append(translated)
        return parts

    def part(self, part: Fields) -> Part | None:
        """One part of a content; None for an empty one."""
        kind = part.text("type", most=100)
        cache = read_cache_point(part)
        translated: Part | None
        if kind in ("text", "input_text", "output_text", "refusal"):
            text = part.text("refusal" if kind == "refusal" else "text", most=MAX_IMAGE_TEXT) or ""
            translated = TextPart(text, cache) if text else None
        elif kind == "image_url":
            translated = read_image(part, cache)
        elif kind in ("thinking", "reasoning"):  # the format of Mistral and others
            thought = part.get("thinking") or part.get("text")
            token = part.text("signature", most=MAX_IMAGE_TEXT)
            translated = ReasoningPart(thought if isinstance(thought, str) else "", token) if thought or token else None
        elif kind in WITHOUT_PRICE:
            why = f"this gateway has no price for {kind} parts"
            raise Unsupported(part.name("type"), why, hint=f"Remove the {kind} part.")
        else:
            raise part.invalid("type", f"is {kind}; it must be text or image_url")
        part.used.add("annotations")
        self.unknown_fields += part.unread()
        return translated

    def tool_call(self, call: Fields) -> ToolCallPart:
        """A tool call of the assistant."""
        kind = call.text("type", most=100)
        if kind not in (None, "function", "custom"):
            why = f"calls of type {kind[:40]} are not supported"
            raise Unsupported(call.name("type"), why, hint="Send calls of type function or custom.")
        call.used.add("index")
        signature = read_thought_signature(call.raw_object("extra_content"))
        id = call.required_text("id", most=1000)
        if kind == "custom":
            custom = call.nested("custom")
            if custom is None:
                raise call.invalid("custom", "is missing")
            name, text = custom.required_text("name", most=200), custom.text("input", most=MAX_IMAGE_TEXT) or ""
            self.unknown_fields += custom.unread()
            translated = ToolCallPart(id, name, encode_input(text), signature)
        else:
            function = call.nested("function")
            if function is None:
                raise call.invalid("function", "is missing")
            translated = self.function(function, id, signature)
        cache = read_cache_point(call)
        self.unknown_fields += call.unread()
        return translated if cache is None else replace(translated, cache=cache)

    def function(self, function: Fields, id: str, signature: str | None) -> ToolCallPart:
        """A called function and its arguments."""
        arguments = function.get("arguments")
        if isinstance(arguments, dict):  # some clients send them parsed
            arguments = ENCODER.encode(arguments).decode()
        if not isinstance(arguments, str | None):
            raise function.invalid("arguments", "must be JSON text")
        translated = ToolCallPart(id, function.required_text("name", most=200), arguments or "", signature)
        self.unknown_fields += function.unread()
        return translated


#: An image as a data URL in base64.
DATA_URL = re.compile(r"data:image/[A-Za-z0-9.+-]{1,40}(;[A-Za-z0-9=._-]{1,40})*;base64,")


def is_image_url(url: str) -> bool:
    """Whether it is an https URL or a data URL of an image."""
    return url.startswith("https://") or DATA_URL.match(url) is not None


def read_image(part: Fields, cache: Cache | None = None) -> ImagePart:
    """An image by its URL, which only the vendor fetches."""
    value = part.get("image_url")
    url, detail = (value.get("url"), value.get("detail")) if isinstance(value, dict) else (value, part.get("detail"))
    if not isinstance(url, str) or not is_image_url(url):
        raise part.invalid("image_url", "must have a url that begins with https://, or data:image/… with ;base64,")
    if detail not in (None, "low", "high", "auto"):
        raise part.invalid("image_url.detail", "must be low, high or auto")
    return ImagePart(url, detail, cache)


def read_thought_signature(extra: dict[str, Any] | None) -> str | None:
    """The thought signature of a tool call, in the field of Google's OpenAI-compatible API."""
    google = (extra or {}).get("google")
    signature = google.get("thought_signature") if isinstance(google, dict) else None
    return signature if isinstance(signature, str) else None


def thought_signature_field(opaque: str | None) -> dict[str, Any]:
    """The thought signature as a field of a tool call; no field if there is none."""
    return {} if opaque is None else {"extra_content": {"google": {"thought_signature": opaque}}}
