"""The native chat request: bytes → a checked `ChatRequest`, every field bounded."""

from __future__ import annotations

from typing import Any

import msgspec

from kaixu.catalog.catalog import Deployment
from kaixu.plugin.errors import Invalid, Unprocessable
from kaixu.plugin.types import ChatRequest, ImagePart, Message, Part, Role, TextPart

DEFAULT_MAX_TOKENS = 1024
MOST_TOKENS = 10_000_000
MOST_NAME = 200
ROLES = frozenset({"system", "developer", "user", "assistant", "tool"})


class ChatBody(msgspec.Struct, frozen=True):
    """The body as clients send it; unknown fields are ignored."""

    provider: Any = None
    model: Any = None
    messages: Any = None
    max_tokens: Any = None
    temperature: Any = None


DECODER = msgspec.json.Decoder(ChatBody)
ANYTHING = msgspec.json.Decoder()


def read_chat(data: bytes) -> ChatBody:
    """The body's fields, not yet checked. Raises `Invalid`."""
    try:
        return DECODER.decode(data)
    except msgspec.ValidationError:
        pass
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise Invalid("the body is not JSON", code="BAD_JSON") from None
    # Some clients encode twice: then the body is a JSON text that holds the JSON.
    try:
        inner = ANYTHING.decode(data)
        if isinstance(inner, str):
            return DECODER.decode(inner)
    except (msgspec.MsgspecError, RecursionError):
        pass
    raise Invalid("the body must be a JSON object", code="BAD_JSON")


def name_of(value: object, field: str) -> str:
    """A provider's or model's name. Raises `Invalid`."""
    if not isinstance(value, str) or not value.strip():
        raise Invalid(f"`{field}` is missing", hint=f"Send `{field}` as text.")
    if len(value) > MOST_NAME or not value.isprintable():
        raise Unprocessable(f"`{field}` is not a name")
    return value.strip()


def request_of(body: ChatBody, deployment: Deployment, *, most_messages: int) -> ChatRequest:
    """The call for a deployment. Raises `Invalid` and `Unprocessable`, naming the field."""
    return ChatRequest(
        model=deployment.upstream,
        messages=messages_of(body.messages, most_messages),
        max_tokens=min(max_tokens_of(body.max_tokens), deployment.max_output_tokens),
        temperature=temperature_of(body.temperature),
    )


def max_tokens_of(value: object) -> int:
    """How many tokens at most; what is not a number is as good as not said, as clients have come to rely on."""
    if not isinstance(value, int | float) or isinstance(value, bool) or value != value:
        return DEFAULT_MAX_TOKENS
    if value < 1:
        raise Unprocessable("`max_tokens` must be at least 1")
    return int(min(value, MOST_TOKENS))


def temperature_of(value: object) -> float | None:
    """The temperature, 0 to 2; None leaves it to the vendor."""
    if not isinstance(value, int | float) or isinstance(value, bool) or value != value:
        return None
    if not 0 <= value <= 2:
        raise Unprocessable("`temperature` must lie between 0 and 2")
    return float(value)


def messages_of(value: object, most: int) -> tuple[Message, ...]:
    """The turns; empty ones are dropped. Raises `Invalid` where none is left."""
    if not isinstance(value, list):
        raise Invalid("`messages` is missing", hint="Send `messages` as a list of {role, content}.")
    if len(value) > most:
        raise Unprocessable(f"`messages` holds {len(value)} turns; {most} are taken")
    messages = []
    for at, turn in enumerate(value):
        if not isinstance(turn, dict):
            raise Unprocessable(f"`messages[{at}]` must be an object with `role` and `content`")
        role = turn.get("role")
        role = role.strip().lower() if isinstance(role, str) else role
        if role not in ROLES:
            raise Unprocessable(f"`messages[{at}].role` must be one of {', '.join(sorted(ROLES))}")
        if role == "tool":
            raise Unprocessable(f"`messages[{at}].role`: this door takes no tool results")
        parts = parts_of(turn.get("content"), at)
        if parts:
            messages.append(Message(as_role(role), parts))
    if not messages:
        raise Invalid("`messages` holds no text", hint="Send at least one message with content.")
    return tuple(messages)


def as_role(role: object) -> Role:
    """A checked role, for the type checker."""
    return role  # type: ignore[return-value]


def parts_of(content: object, at: int) -> tuple[Part, ...]:
    """Text, or a list of parts `{type: text, text}` and `{type: image_url, image_url}`."""
    if content is None:
        return ()
    if isinstance(content, str):
        return (TextPart(content),) if content else ()
    if not isinstance(content, list):
        raise Unprocessable(f"`messages[{at}].content` must be text or a list of parts")
    parts: list[Part] = []
    for index, part in enumerate(content):
        where = f"`messages[{at}].content[{index}]`"
        if isinstance(part, str):
            part = {"type": "text", "text": part}
        if not isinstance(part, dict):
            raise Unprocessable(f"{where} must be an object with `type`")
        if part.get("type") in ("text", "input_text", "output_text") and isinstance(part.get("text"), str):
            if part["text"]:
                parts.append(TextPart(part["text"]))
        elif part.get("type") == "image_url":
            parts.append(image_of(part.get("image_url"), where))
        else:
            raise Unprocessable(f"{where} must be {{type: text, text}} or {{type: image_url, image_url}}")
    return tuple(parts)


def image_of(value: object, where: str) -> ImagePart:
    """An image by its URL; the vendor fetches it, the gateway never does."""
    url, detail = (value.get("url"), value.get("detail")) if isinstance(value, dict) else (value, None)
    if not isinstance(url, str) or not url.startswith(("data:image/", "https://")):
        raise Unprocessable(f"{where}: the image's url must begin with data:image/ or https://")
    if detail is not None and detail not in ("low", "high", "auto"):
        raise Unprocessable(f"{where}: `detail` must be low, high or auto")
    return ImagePart(url, detail)
