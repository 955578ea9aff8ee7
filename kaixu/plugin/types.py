"""What goes into a lane and what comes out of it: frozen values, the same for every vendor."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from msgspec import Struct

Role = Literal["system", "developer", "user", "assistant", "tool"]

#: How long a vendor is asked to keep the input up to here in its cache. It changes what a call costs, never the answer:
#: a lane whose vendor is not told of such points leaves them out.
Cache = Literal["5m", "1h"]


class TextPart(Struct, frozen=True, tag="text"):
    """Plain text."""

    text: str
    cache: Cache | None = None


class ImagePart(Struct, frozen=True, tag="image"):
    """An image: a `data:` URL, or an `https:` URL that the vendor (never the gateway) fetches."""

    url: str
    detail: str | None = None
    cache: Cache | None = None


class ToolCallPart(Struct, frozen=True, tag="tool_call"):
    """A call that the assistant asked for; `arguments` is JSON text as the model wrote it.

    `opaque` is a token that the vendor wants back unchanged, where it gave one.
    """

    id: str
    name: str
    arguments: str
    opaque: str | None = None
    cache: Cache | None = None


class ToolResultPart(Struct, frozen=True, tag="tool_result"):
    """What a tool answered to the call `id`."""

    id: str
    content: tuple[TextPart | ImagePart, ...]
    is_error: bool = False
    cache: Cache | None = None

    @property
    def text(self) -> str:
        """The text parts, joined."""
        return "".join(part.text for part in self.content if isinstance(part, TextPart))


class ReasoningPart(Struct, frozen=True, tag="reasoning"):
    """What the assistant thought before it answered, given back to the vendor that `opaque` came from.

    Without a text it was hidden: `opaque` is all there is. A lane that cannot send it leaves it out.
    """

    text: str
    opaque: str | None = None


Part = TextPart | ImagePart | ToolCallPart | ToolResultPart | ReasoningPart


class Message(Struct, frozen=True):
    """One turn. `name` tells speakers of the same role apart, where a vendor knows such a thing."""

    role: Role
    parts: tuple[Part, ...]
    name: str | None = None

    @property
    def text(self) -> str:
        """The text parts, joined."""
        return "".join(part.text for part in self.parts if isinstance(part, TextPart))


class Tool(Struct, frozen=True):
    """A function that the model may call; `parameters` is a JSON Schema, `strict`: held to it to the letter."""

    name: str
    description: str | None = None
    parameters: dict[str, Any] | None = None
    strict: bool | None = None
    cache: Cache | None = None


class ToolName(Struct, frozen=True):
    """The one tool that the model must call."""

    name: str


class ResponseFormat(Struct, frozen=True):
    """The answer is JSON: of `schema` where there is one, else any object."""

    schema: dict[str, Any] | None = None
    name: str = "answer"
    description: str | None = None
    strict: bool | None = None


class Reasoning(Struct, frozen=True):
    """How much to think: in a word, in tokens, or both; a lane uses what its vendor understands.

    Words from little to much: "none", "minimal", "low", "medium", "high", "xhigh", "max".
    """

    effort: str | None = None
    budget_tokens: int | None = None


class Native(Struct, frozen=True):
    """The request as the client wrote it, in a protocol that the lane speaks itself.

    It is sent on with every field, also unknown ones, save those that the lane
    alone decides: the model, the most tokens, and that it is streamed.
    `betas` are the features that the client asked to switch on, by the vendor's
    names (Anthropic's header `anthropic-beta`); see `Lane.admitted`.
    """

    protocol: str
    body: dict[str, Any]
    betas: tuple[str, ...] = ()


#: What a request may ask for beyond text, `max_tokens` and tools' absence. A lane lists what it can do in `supports`;
#: the core refuses the rest before anything is spent. Where `n` is listed it counts for native requests only.
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

    `max_tokens` is always set: money was reserved for exactly that many (`n` times,
    where there is more than one answer), and a lane must pass it on. Fields that are
    None are left to the vendor. `user` is the client's name for its own user, for
    vendors that want to know whom an abuse comes from; others are not told.
    `verbosity` ("low", "medium", "high") is a wish about the answer's length, for
    vendors that know such a thing.

    Where `native` is set, it is what goes to the vendor, and the other fields say
    the same as far as they can. `dropped` names the fields that the client sent and
    that do not go out; the core tells the client and the operator of them. `allowed`
    names what the operator's `allow` has let through.
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
        """Whether names tell speakers of the same role apart; one name for all turns of a role says nothing."""
        speakers = {(message.role, message.name) for message in self.messages if message.name is not None}
        return len(speakers) > len({role for role, _ in speakers})


class ChatDelta(Struct, frozen=True):
    """The next piece of the answer's text."""

    text: str


class ReasoningDelta(Struct, frozen=True):
    """The next piece of the model's reasoning; `opaque` is a token to be given back, and may come alone."""

    text: str
    opaque: str | None = None


class ToolCallDelta(Struct, frozen=True):
    """The next piece of tool call `index`: its id and name come once, its arguments in pieces."""

    index: int
    id: str | None = None
    name: str | None = None
    arguments: str = ""
    opaque: str | None = None


class Usage(Struct, frozen=True):
    """Tokens so far, as running totals; the last one wins.

    `input_tokens` counts the whole input, `cached_input_tokens` and
    `cache_write_tokens` are the parts of it that the vendor read from or wrote
    to its cache; `output_tokens` counts the whole output, `reasoning_tokens`
    the part of it that was reasoning. `estimated` marks counted, not reported.

    A figure that is 0 though something was sent or delivered counts as not told: the core counts it. Where the
    vendor only says what all of it comes to, that is `total_tokens`, and the core divides it.
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

    `stop_sequence` is the one that was met, where the vendor says so.
    """

    reason: str
    stop_sequence: str | None = None


class NativeEvent(Struct, frozen=True):
    """One event of the vendor's stream as it came, for a client that speaks the same protocol.

    Only for requests with `native`; it comes before the events that say the same in the contract's words.
    """

    data: dict[str, Any]


ChatEvent = ChatDelta | ReasoningDelta | ToolCallDelta | Usage | Finish | NativeEvent


class EmbedRequest(Struct, frozen=True):
    """One embedding call of at most the lane's `max_batch` inputs: texts, or lists of the model's own tokens.

    `truncate`: cut what is too long for the model, where the vendor offers it; None leaves it to the vendor.
    """

    model: str
    inputs: tuple[str | tuple[int, ...], ...]
    dimensions: int | None = None
    purpose: Literal["document", "query"] | None = None
    truncate: bool | None = None
    user: str | None = None


class Embeddings(Struct, frozen=True):
    """One vector an input, in order, and what they used. A vector of `array("f")` is handed on without a copy."""

    vectors: tuple[Sequence[float], ...]
    usage: Usage
