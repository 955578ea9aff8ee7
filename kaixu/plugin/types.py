"""The requests and events of lanes: frozen values, the same for every vendor."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from msgspec import Struct

Role = Literal["system", "developer", "user", "assistant", "tool"]

#: A cache point: how long the vendor should cache the input up to here. It changes the cost, never the answer. A lane
#: whose vendor has no cache points ignores it.
Cache = Literal["5m", "1h"]


class TextPart(Struct, frozen=True, tag="text"):
    """Plain text."""

    text: str
    cache: Cache | None = None


class ImagePart(Struct, frozen=True, tag="image"):
    """An image: a `data:` URL, or an `https:` URL, which the vendor fetches and the gateway never does."""

    url: str
    detail: str | None = None
    cache: Cache | None = None


class ToolCallPart(Struct, frozen=True, tag="tool_call"):
    """A tool call of the assistant; `arguments` is JSON text as the model wrote it.

    `opaque` is a token that the vendor requires back unchanged, if it sent one.
    """

    id: str
    name: str
    arguments: str
    opaque: str | None = None
    cache: Cache | None = None


class ToolResultPart(Struct, frozen=True, tag="tool_result"):
    """The result of the tool call `id`."""

    id: str
    content: tuple[TextPart | ImagePart, ...]
    is_error: bool = False
    cache: Cache | None = None

    @property
    def text(self) -> str:
        """The text parts, joined."""
        return "".join(part.text for part in self.content if isinstance(part, TextPart))


class ReasoningPart(Struct, frozen=True, tag="reasoning"):
    """Earlier reasoning of the assistant, sent back to the vendor that `opaque` came from.

    Hidden reasoning has no text, only `opaque`. A lane that cannot send it leaves it out.
    """

    text: str
    opaque: str | None = None


Part = TextPart | ImagePart | ToolCallPart | ToolResultPart | ReasoningPart


class Message(Struct, frozen=True):
    """One message. `name` distinguishes speakers of the same role, for vendors that support it."""

    role: Role
    parts: tuple[Part, ...]
    name: str | None = None

    @property
    def text(self) -> str:
        """The text parts, joined."""
        return "".join(part.text for part in self.parts if isinstance(part, TextPart))


class Tool(Struct, frozen=True):
    """A function that the model may call. `parameters` is a JSON Schema; `strict`: arguments must match it exactly."""

    name: str
    description: str | None = None
    parameters: dict[str, Any] | None = None
    strict: bool | None = None
    cache: Cache | None = None


class ToolName(Struct, frozen=True):
    """The tool that the model must call."""

    name: str


class ResponseFormat(Struct, frozen=True):
    """The answer must be JSON: of `schema` if there is one, else any object."""

    schema: dict[str, Any] | None = None
    name: str = "answer"
    description: str | None = None
    strict: bool | None = None


class Reasoning(Struct, frozen=True):
    """Reasoning effort as a word, a token budget, or both; a lane uses what its vendor supports.

    Words in ascending order: "none", "minimal", "low", "medium", "high", "xhigh", "max".
    """

    effort: str | None = None
    budget_tokens: int | None = None


class Native(Struct, frozen=True):
    """The request as the client wrote it, in the vendor's own protocol.

    It is passed on with all its fields; the lane sets only the model, the maximum
    number of tokens and streaming. `betas` are the vendor's features that the client
    wants to switch on (Anthropic's header `anthropic-beta`); see `Lane.admitted`.
    """

    protocol: str
    body: dict[str, Any]
    betas: tuple[str, ...] = ()


#: Features of a request beyond text and `max_tokens`. A lane lists its features in `supports`; the core refuses all
#: others before anything is spent. `n` applies to native requests only.
Feature = Literal[
    "temperature",
    "top_p",
    "top_k",
    "stop",
    "seed",
    "presence_penalty",
    "frequency_penalty",
    "tools",
    "tool_choice",
    "parallel_tool_calls",
    "response_format",
    "reasoning",
    "images",
    "tool_result_images",
    "names",
    "n",
]


class ChatRequest(Struct, frozen=True):
    """One chat call. `model` is the vendor's name.

    `max_tokens` is always set: money was reserved for exactly that many tokens (`n`
    times for `n` answers), and a lane must pass it on. Fields that are None use the
    vendor's default. `user` is the client's name for its own user, for vendors that
    want it for abuse reports. `verbosity` ("low", "medium", "high") is the requested
    length of the answer, for vendors that support it.

    If `native` is set, it is sent to the vendor, and the other fields describe the
    same request as far as possible. `dropped` names the fields that the client sent
    and that are not passed on; the core reports them to the client and the operator.
    `allowed` names the fields that the operator's `allow` let through.
    """

    model: str
    messages: tuple[Message, ...]
    max_tokens: int
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    stop: tuple[str, ...] = ()
    seed: int | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    tools: tuple[Tool, ...] = ()
    tool_choice: Literal["auto", "none", "required"] | ToolName | None = None
    parallel_tool_calls: bool | None = None
    response_format: ResponseFormat | None = None
    reasoning: Reasoning | None = None
    user: str | None = None
    n: int = 1
    verbosity: str | None = None
    native: Native | None = None
    dropped: tuple[str, ...] = ()
    allowed: tuple[str, ...] = ()

    @property
    def several_speak(self) -> bool:
        """Whether a role has messages with different names; one name for all messages of a role does not count."""
        speakers = {(message.role, message.name) for message in self.messages if message.name is not None}
        return len(speakers) > len({role for role, _ in speakers})


class ChatDelta(Struct, frozen=True):
    """The next piece of the answer's text."""

    text: str


class ReasoningDelta(Struct, frozen=True):
    """The next piece of the model's reasoning; `opaque` is a token to send back later, and may come alone."""

    text: str
    opaque: str | None = None


class ToolCallDelta(Struct, frozen=True):
    """The next piece of tool call `index`: id and name come once, arguments in pieces."""

    index: int
    id: str | None = None
    name: str | None = None
    arguments: str = ""
    opaque: str | None = None


class Usage(Struct, frozen=True):
    """Tokens so far, as running totals; the last one counts.

    `input_tokens` is the whole input; `cached_input_tokens` and
    `cache_write_tokens` are the parts of it that the vendor read from or wrote
    to its cache. `output_tokens` is the whole output; `reasoning_tokens` is the
    part of it that was reasoning. `estimated`: counted, not reported.

    A figure of 0 counts as missing if something was sent or delivered: then the core counts it. If the vendor reports
    only a total, set `total_tokens`; the core divides it.
    """

    input_tokens: int = 0
    output_tokens: int = 0
    cached_input_tokens: int = 0
    cache_write_tokens: int = 0
    reasoning_tokens: int = 0
    estimated: bool = False
    total_tokens: int = 0


class Finish(Struct, frozen=True):
    """Why the model stopped: "stop", "length", "tool_calls", "content_filter", or the vendor's own word.

    `stop_sequence` is the one that stopped the model, if the vendor reports it.
    """

    reason: str
    stop_sequence: str | None = None


class NativeEvent(Struct, frozen=True):
    """One event of the vendor's stream unchanged, for a client with the same protocol.

    Only for requests with `native`; comes before the contract's own events for the same content.
    """

    data: dict[str, Any]


ChatEvent = ChatDelta | ReasoningDelta | ToolCallDelta | Usage | Finish | NativeEvent


class EmbedRequest(Struct, frozen=True):
    """One embedding call of at most the lane's `max_batch` inputs: texts, or lists of the model's own tokens.

    `truncate`: cut inputs that are too long, if the vendor can; None uses the vendor's default.
    """

    model: str
    inputs: tuple[str | tuple[int, ...], ...]
    dimensions: int | None = None
    purpose: Literal["document", "query"] | None = None
    truncate: bool | None = None
    user: str | None = None


class Embeddings(Struct, frozen=True):
    """One vector for each input, in order, and the usage. A vector as `array("f")` is not copied."""

    vectors: tuple[Sequence[float], ...]
    usage: Usage
