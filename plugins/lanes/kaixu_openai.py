"""The `openai` lane: any vendor that speaks OpenAI's Chat Completions and Embeddings."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from hashlib import sha256
from typing import Any, Literal

import httpx
import msgspec
from pydantic import Field, SecretStr

from kaixu.plugin import (
    ChatDelta,
    ChatEvent,
    ChatRequest,
    Embeddings,
    EmbedRequest,
    Finish,
    ImagePart,
    Lane,
    Message,
    NativeEvent,
    Options,
    Reasoning,
    ReasoningDelta,
    ReasoningPart,
    RegisterLane,
    ResponseFormat,
    ServerSentEvent,
    TextPart,
    Tool,
    ToolCallDelta,
    ToolCallPart,
    ToolName,
    ToolResultPart,
    Unsupported,
    UpstreamError,
    Usage,
    Wire,
    floats_of,
    hookimpl,
    server_sent_events,
)

#: Fields of a native request that could make it dearer than what was reserved, or that have no price here.
DEARER = (
    "web_search_options",
    "audio",
    "n_predict",  # llama.cpp's own name, which it puts before `max_tokens`
    "n_cmpl",  # llama.cpp's own name for `n`
    "best_of",
)
#: Fields that the contract and the vendor call the same.
SAME = (
    "temperature",
    "top_p",
    "seed",
    "presence_penalty",
    "frequency_penalty",
    "parallel_tool_calls",
    "user",
    "verbosity",
)
#: The longest name of a client's user that OpenAI takes; a longer one goes out as its hash, which is exactly as long.
LONGEST_USER = 64
#: Models of OpenAI's that answer at once and refuse to be told how much to think. A client that speaks another protocol
#: and cannot know this says it to every model.
DOES_NOT_REASON = re.compile(r"(ft:)?(gpt-3|gpt-4|chatgpt-4)")
#: How long a vendor may take to end a stream after it said it is done, in seconds.
LONGEST_GOODBYE_S = 0.25


class OpenAIOptions(Options):
    """Where the vendor is, and the operator's credential for it."""

    base_url: str = Field(
        default="https://api.openai.com/v1", pattern=r"^https?://", description="everything before /chat/completions"
    )
    api_key: SecretStr
    organization: str | None = None
    project: str | None = None
    extra_headers: dict[str, SecretStr] = Field(default_factory=dict, description="sent with every call")
    extra_body: dict[str, Any] = Field(
        default_factory=dict, description="fields of your own, sent with every chat call"
    )
    max_tokens_field: Literal["max_tokens", "max_completion_tokens"] = Field(
        default="max_completion_tokens",
        description="OpenAI's name for it; many compatible vendors only know max_tokens",
    )
    vector_encoding: Literal["base64", "float"] = Field(
        default="base64", description="how vectors are asked for; float for vendors that refuse base64"
    )


class OpenAI(Lane):
    """Translates to Chat Completions, always streamed, and back."""

    supports = frozenset(
        {
            "temperature",
            "top_p",
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
            "names",
        }
    )
    native = "openai.chat"
    max_batch, max_batch_tokens = 2048, 300_000
    embeds_tokens = True
    shortens = True

    def __init__(self, options: OpenAIOptions) -> None:
        base = options.base_url.rstrip("/")
        self.chat_url = httpx.URL(base + "/chat/completions")
        self.embed_url = httpx.URL(base + "/embeddings")
        self.max_tokens_field = options.max_tokens_field
        self.extra_body = dict(options.extra_body)
        self.encoding = options.vector_encoding
        headers = {
            "authorization": f"Bearer {options.api_key.get_secret_value()}",
            "content-type": "application/json",
            "accept": "text/event-stream, application/json",
            "user-agent": "kaixu",  # some vendors' firewalls turn away callers without a name
        }
        if options.organization:
            headers["openai-organization"] = options.organization
        if options.project:
            headers["openai-project"] = options.project
        headers |= {name.lower(): value.get_secret_value() for name, value in options.extra_headers.items()}
        self.headers = httpx.Headers(headers)

    def check(self, request: ChatRequest) -> None:
        if request.native is None:
            return
        body = request.native.body
        for field in DEARER:
            if body.get(field) is not None:
                raise Unsupported(field, "this gateway has no price for it")
        if body.get("service_tier") not in (None, "auto", "default"):
            raise Unsupported("service_tier", "this gateway has no price for it")
        if body.get("modalities") not in (None, ["text"]):
            raise Unsupported("modalities", "this gateway has a price for text only")

    async def chat(self, request: ChatRequest, wire: Wire) -> AsyncIterator[ChatEvent]:
        outgoing = self.outgoing(self.chat_url, self.body(request))
        finish: Finish | None = None
        async with wire.send(outgoing) as response:
            if response.headers.get("content-type", "").startswith("application/json"):
                # A vendor that cannot stream answers in one piece.
                events = self.read(await response.aread(), native=request.native is not None)
                for event in events:
                    if type(event) is not Finish:
                        yield event
                if not events:
                    raise UpstreamError("the vendor answered with nothing")
                yield next((event for event in events if type(event) is Finish), Finish("stop"))
                return
            done = False
            stream = server_sent_events(response)
            async for sent in stream:
                if sent.data == b"[DONE]":
                    done = True
                    break
                for event in self.read(sent.data, native=request.native is not None):
                    if type(event) is Finish:
                        # Told last and once: some vendors repeat it in the chunk that carries the usage.
                        finish = finish or event
                    else:
                        yield event
            if finish is None and not done:
                raise UpstreamError("the vendor broke off before its answer was complete")
            yield finish or Finish("stop")
            if done:
                await drain(stream)

    async def embed(self, request: EmbedRequest, wire: Wire) -> Embeddings:
        body: dict[str, Any] = {"model": request.model, "input": request.inputs, "encoding_format": self.encoding}
        more = {"dimensions": request.dimensions, "user": request.user}
        body |= {name: value for name, value in more.items() if value is not None}
        async with wire.send(self.outgoing(self.embed_url, body)) as response:
            try:
                answer = VECTORS.decode(await response.aread())
            except (msgspec.MsgspecError, UnicodeDecodeError) as error:
                raise UpstreamError("the vendor's answer cannot be read") from error
        data = sorted(answer.data, key=lambda vector: vector.index)
        if [vector.index for vector in data] != list(range(len(request.inputs))):
            raise UpstreamError("the vendor answered with other vectors than asked for")
        return Embeddings(tuple(floats_of(vector.embedding) for vector in data), usage_of(answer.usage or Tokens()))

    def outgoing(self, url: httpx.URL, body: dict[str, Any]) -> httpx.Request:
        """What goes out, and where to: `url` is that of chats or of embeddings."""
        return httpx.Request("POST", url, headers=self.headers, content=ENCODER.encode(body))

    def body(self, request: ChatRequest) -> dict[str, Any]:
        """The request as Chat Completions wants it; what was not said is left out."""
        body = self.extra_body | (translated(request) if request.native is None else dict(request.native.body))
        body.pop("max_tokens", None)
        body.pop("max_completion_tokens", None)
        return body | {
            "model": request.model,
            "stream": True,
            "stream_options": {"include_usage": True},
            self.max_tokens_field: request.max_tokens,
        }

    def read(self, data: bytes, *, native: bool) -> list[ChatEvent]:
        """What one chunk says, in the contract's words; before them, for a native request, in its own.

        Raises `UpstreamError`, never with the vendor's words.
        """
        try:
            chunk = CHUNK.decode(data)
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise UpstreamError("the vendor's answer cannot be read") from error
        if chunk.error is not None:
            raise UpstreamError("the vendor reported an error in the middle of its answer")
        events: list[ChatEvent] = [NativeEvent(ANYTHING.decode(data))] if native else []
        for choice in chunk.choices or ():
            delta = choice.delta or choice.message
            if delta is not None:
                if reasoning := delta.reasoning_content or delta.reasoning:
                    events.append(ReasoningDelta(reasoning))
                if text := delta.content or delta.refusal:
                    events.append(ChatDelta(text))
                if delta.tool_calls:
                    events += (call_of(place, call) for place, call in enumerate(delta.tool_calls))
            if choice.finish_reason:
                events.append(Finish(choice.finish_reason))
        if chunk.usage is not None:
            events.append(usage_of(chunk.usage))
        return events


async def drain(stream: AsyncIterator[ServerSentEvent]) -> None:
    """Read to the end of a stream that is done, for only then can its connection serve the next call.

    A vendor that does not hang up is not waited for: it costs a connection, never the answer.
    """
    try:
        async with asyncio.timeout(LONGEST_GOODBYE_S):
            async for _ in stream:
                pass
    except (TimeoutError, UpstreamError, httpx.HTTPError):
        pass


def translated(request: ChatRequest) -> dict[str, Any]:
    """A request that came in another protocol."""
    body: dict[str, Any] = {"messages": [turn for message in request.messages for turn in turns_of(message)]}
    for field in SAME:
        value = getattr(request, field)
        if value is not None:
            body[field] = value
    if request.user is not None and len(request.user) > LONGEST_USER:
        body["user"] = sha256(request.user.encode("utf-8", "surrogatepass")).hexdigest()
    if request.stop:
        body["stop"] = request.stop
    if request.tools:
        body["tools"] = [function_of(tool) for tool in request.tools]
    if isinstance(request.tool_choice, ToolName):
        body["tool_choice"] = {"type": "function", "function": {"name": request.tool_choice.name}}
    elif request.tool_choice is not None:
        body["tool_choice"] = request.tool_choice
    if request.response_format is not None:
        body["response_format"] = format_of(request.response_format)
    if request.reasoning is not None and not DOES_NOT_REASON.match(request.model):
        body["reasoning_effort"] = effort_of(request.reasoning)
    return body


def format_of(wanted: ResponseFormat) -> dict[str, Any]:
    """The answer's form, as OpenAI says it."""
    if wanted.schema is None:
        return {"type": "json_object"}
    schema: dict[str, Any] = {"name": wanted.name, "schema": wanted.schema}
    if wanted.description is not None:
        schema["description"] = wanted.description
    if wanted.strict is not None:
        schema["strict"] = wanted.strict
    return {"type": "json_schema", "json_schema": schema}


def effort_of(reasoning: Reasoning) -> str:
    """OpenAI counts thinking in words; other vendors' budgets become the word that comes nearest."""
    if reasoning.effort is not None:
        return "xhigh" if reasoning.effort == "max" else reasoning.effort
    budget = reasoning.budget_tokens or 0
    return "none" if budget == 0 else "low" if budget <= 2048 else "medium" if budget <= 8192 else "high"


def turns_of(message: Message) -> list[dict[str, Any]]:
    """A message as OpenAI's turns: each tool result is a turn of its own."""
    parts = [part for part in message.parts if type(part) is not ReasoningPart]  # it has no place for that
    named = {} if message.name is None else {"name": message.name}
    if len(parts) == 1 and type(parts[0]) is TextPart:
        return [{**named, "role": message.role, "content": parts[0].text}]
    turns: list[dict[str, Any]] = []
    content: list[dict[str, Any]] = []
    calls: list[dict[str, Any]] = []
    for part in parts:
        match part:
            case TextPart():
                content.append({"type": "text", "text": part.text})
            case ImagePart():
                image = {"url": part.url} if part.detail is None else {"url": part.url, "detail": part.detail}
                content.append({"type": "image_url", "image_url": image})
            case ToolCallPart():
                function = {"name": part.name, "arguments": part.arguments}
                calls.append({"id": part.id, "type": "function", "function": function})
            case ToolResultPart():
                turns.append({"role": "tool", "tool_call_id": part.id, "content": part.text})
    if calls:
        said = message.text or None
        turns.append({**named, "role": message.role, "content": said, "tool_calls": calls})
    elif content or not turns:
        turns.append({**named, "role": message.role, "content": content or ""})
    return turns


def function_of(tool: Tool) -> dict[str, Any]:
    """A tool as OpenAI's function."""
    fields = {"name": tool.name, "description": tool.description, "parameters": tool.parameters, "strict": tool.strict}
    return {"type": "function", "function": {name: value for name, value in fields.items() if value is not None}}


class FunctionPiece(msgspec.Struct):
    name: str | None = None
    arguments: str | None = None


class CallPiece(msgspec.Struct):
    index: int | None = None
    id: str | None = None
    function: FunctionPiece | None = None


class Delta(msgspec.Struct):
    content: str | None = None
    refusal: str | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None  # what OpenRouter and Groq call it
    tool_calls: list[CallPiece] | None = None


class Choice(msgspec.Struct):
    delta: Delta | None = None
    message: Delta | None = None
    finish_reason: str | None = None


class Details(msgspec.Struct):
    cached_tokens: int | None = None
    reasoning_tokens: int | None = None


class Tokens(msgspec.Struct):
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    prompt_tokens_details: Details | None = None
    completion_tokens_details: Details | None = None


class Chunk(msgspec.Struct):
    choices: list[Choice] | None = None
    usage: Tokens | None = None
    error: Any = None


class Vector(msgspec.Struct):
    index: int
    embedding: str | list[float]


class Vectors(msgspec.Struct):
    data: list[Vector]
    usage: Tokens | None = None


ENCODER = msgspec.json.Encoder()
ANYTHING = msgspec.json.Decoder(dict[str, Any])
CHUNK = msgspec.json.Decoder(Chunk)
VECTORS = msgspec.json.Decoder(Vectors)


def call_of(place: int, call: CallPiece) -> ToolCallDelta:
    """A piece of a tool call; where a vendor does not number them, its place in the chunk does."""
    function = call.function or FunctionPiece()
    index = place if call.index is None else call.index
    return ToolCallDelta(index, call.id, function.name, function.arguments or "")


def usage_of(tokens: Tokens) -> Usage:
    """The vendor's count, in the contract's words."""
    inputs, outputs = tokens.prompt_tokens_details, tokens.completion_tokens_details
    return Usage(
        input_tokens=tokens.prompt_tokens or 0,
        output_tokens=tokens.completion_tokens or 0,
        cached_input_tokens=(inputs.cached_tokens or 0) if inputs else 0,
        reasoning_tokens=(outputs.reasoning_tokens or 0) if outputs else 0,
    )


@hookimpl
def register_lanes(register: RegisterLane) -> None:
    """The openai lane."""
    register("openai", OpenAI, OpenAIOptions)
