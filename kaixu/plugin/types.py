"""What goes into a lane and what comes out of it: frozen values, the same for every vendor."""

from __future__ import annotations

from typing import Any, Literal

from msgspec import Struct, field

Role = Literal["system", "developer", "user", "assistant", "tool"]


class TextPart(Struct, frozen=True, tag="text"):
    """Plain text."""

    text: str


class ImagePart(Struct, frozen=True, tag="image"):
    """An image: a `data:` URL, or an `https:` URL that the vendor (never the gateway) fetches."""

    url: str
    detail: str | None = None


class ToolCallPart(Struct, frozen=True, tag="tool_call"):
    """A call that the assistant asked for; `arguments` is JSON text as the model wrote it."""

    id: str
    name: str
    arguments: str


class ToolResultPart(Struct, frozen=True, tag="tool_result"):
    """What a tool answered to the call `id`."""

    id: str
    content: str
    is_error: bool = False


Part = TextPart | ImagePart | ToolCallPart | ToolResultPart


class Message(Struct, frozen=True):
    """One turn. `vendor` carries opaque tokens that a vendor wants back unchanged."""

    role: Role
    parts: tuple[Part, ...]
    vendor: dict[str, Any] = field(default_factory=dict)

    @property
    def text(self) -> str:
        """The text parts, joined."""
        return "".join(part.text for part in self.parts if isinstance(part, TextPart))


class Tool(Struct, frozen=True):
    """A function that the model may call; `parameters` is a JSON Schema."""

    name: str
    description: str | None = None
    parameters: dict[str, Any] | None = None


class ChatRequest(Struct, frozen=True):
    """One chat call. `model` is the vendor's name.

    `max_tokens` is always set: money was reserved for exactly that many, and a
    lane must pass it on. Fields that are None are left to the vendor.
    """

    model: str
    messages: tuple[Message, ...]
    max_tokens: int
    temperature: float | None = None
    top_p: float | None = None
    stop: tuple[str, ...] = ()
    seed: int | None = None
    tools: tuple[Tool, ...] = ()
    tool_choice: str | dict[str, Any] | None = None
    response_format: dict[str, Any] | None = None
    reasoning_effort: str | None = None
    vendor: dict[str, Any] = field(default_factory=dict)


class ChatDelta(Struct, frozen=True):
    """The next piece of the answer's text."""

    text: str


class ReasoningDelta(Struct, frozen=True):
    """The next piece of the model's visible reasoning."""

    text: str


class ToolCallDelta(Struct, frozen=True):
    """The next piece of tool call `index`: its id and name come once, its arguments in pieces."""

    index: int
    id: str | None = None
    name: str | None = None
    arguments: str = ""


class Usage(Struct, frozen=True):
    """Tokens so far, as running totals; the last one wins.

    `input_tokens` counts the whole input, `cached_input_tokens` and
    `cache_write_tokens` are the parts of it that the vendor read from or wrote
    to its cache; `output_tokens` counts the whole output, `reasoning_tokens`
    the part of it that was reasoning. `estimated` marks counted, not reported.
    """

    input_tokens: int = 0
    output_tokens: int = 0
    cached_input_tokens: int = 0
    cache_write_tokens: int = 0
    reasoning_tokens: int = 0
    estimated: bool = False


class Finish(Struct, frozen=True):
    """Why the model stopped: "stop", "length", "tool_calls", "content_filter", or the vendor's own word."""

    reason: str


ChatEvent = ChatDelta | ReasoningDelta | ToolCallDelta | Usage | Finish


class EmbedRequest(Struct, frozen=True):
    """One embedding call of at most the lane's `max_batch` inputs."""

    model: str
    inputs: tuple[str, ...]
    dimensions: int | None = None
    purpose: Literal["document", "query"] | None = None


class Embeddings(Struct, frozen=True):
    """One vector an input, in order, and what they used."""

    vectors: tuple[tuple[float, ...], ...]
    usage: Usage
