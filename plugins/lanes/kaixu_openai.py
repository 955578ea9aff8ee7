"""The `openai` lane: any vendor that speaks OpenAI's Chat Completions and Embeddings."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any, Literal

import httpx
import msgspec
from pydantic import SecretStr

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
    Options,
    ReasoningDelta,
    RegisterLane,
    TextPart,
    ToolCallDelta,
    ToolCallPart,
    ToolResultPart,
    UpstreamError,
    Usage,
    Wire,
    hookimpl,
    server_sent_events,
)


class OpenAIOptions(Options):
    """Where the vendor is, and the operator's credential for it."""

    base_url: str = "https://api.openai.com/v1"
    api_key: SecretStr
    organization: str | None = None
    project: str | None = None
    max_tokens_field: Literal["max_tokens", "max_completion_tokens"] = "max_completion_tokens"


class FunctionDelta(msgspec.Struct):
    name: str | None = None
    arguments: str | None = None


class CallDelta(msgspec.Struct):
    index: int = 0
    id: str | None = None
    function: FunctionDelta | None = None


class Delta(msgspec.Struct):
    content: str | None = None
    reasoning_content: str | None = None
    tool_calls: list[CallDelta] | None = None


class Choice(msgspec.Struct):
    delta: Delta | None = None
    message: Delta | None = None
    finish_reason: str | None = None


class InputDetails(msgspec.Struct):
    cached_tokens: int | None = None


class OutputDetails(msgspec.Struct):
    reasoning_tokens: int | None = None


class Tokens(msgspec.Struct):
    prompt_tokens: int = 0
    completion_tokens: int = 0
    prompt_tokens_details: InputDetails | None = None
    completion_tokens_details: OutputDetails | None = None


class Chunk(msgspec.Struct):
    choices: list[Choice] = []
    usage: Tokens | None = None
    error: msgspec.Raw | None = None


class Vector(msgspec.Struct):
    index: int
    embedding: list[float]


class Vectors(msgspec.Struct):
    data: list[Vector]
    usage: Tokens = msgspec.field(default_factory=Tokens)


CHUNK = msgspec.json.Decoder(Chunk)
VECTORS = msgspec.json.Decoder(Vectors)
ENCODE = msgspec.json.Encoder()


class OpenAI(Lane):
    """Translates to Chat Completions, always streamed, and back."""

    max_batch = 2048

    def __init__(self, options: OpenAIOptions) -> None:
        base = options.base_url.rstrip("/")
        self.chat_url = httpx.URL(base + "/chat/completions")
        self.embed_url = httpx.URL(base + "/embeddings")
        self.max_tokens_field = options.max_tokens_field
        headers = {
            "authorization": f"Bearer {options.api_key.get_secret_value()}",
            "content-type": "application/json",
            "accept": "text/event-stream, application/json",
        }
        if options.organization:
            headers["openai-organization"] = options.organization
        if options.project:
            headers["openai-project"] = options.project
        self.headers = headers

    async def chat(self, request: ChatRequest, wire: Wire) -> AsyncIterator[ChatEvent]:
        outgoing = httpx.Request("POST", self.chat_url, headers=self.headers, content=ENCODE.encode(self.body(request)))
        async with wire.send(outgoing) as response:
            finished = False
            if "json" in response.headers.get("content-type", ""):
                # A vendor that cannot stream answers in one piece.
                for event in events_of(decoded(await response.aread())):
                    yield event
                return
            async for event in server_sent_events(response):
                if event.data == b"[DONE]":
                    return
                for one in events_of(decoded(event.data)):
                    if isinstance(one, Finish):
                        finished = True
                    yield one
            if not finished:
                raise UpstreamError("the vendor broke off before the answer was complete")

    async def embed(self, request: EmbedRequest, wire: Wire) -> Embeddings:
        body: dict[str, Any] = {"model": request.model, "input": request.inputs, "encoding_format": "float"}
        if request.dimensions is not None:
            body["dimensions"] = request.dimensions
        outgoing = httpx.Request("POST", self.embed_url, headers=self.headers, content=ENCODE.encode(body))
        async with wire.send(outgoing) as response:
            try:
                answer = VECTORS.decode(await response.aread())
            except msgspec.MsgspecError as error:
                raise UpstreamError("the vendor's answer cannot be read") from error
        vectors = tuple(tuple(one.embedding) for one in sorted(answer.data, key=lambda one: one.index))
        if len(vectors) != len(request.inputs):
            raise UpstreamError("the vendor answered with another number of vectors than asked for")
        return Embeddings(vectors, Usage(input_tokens=answer.usage.prompt_tokens))

    def body(self, request: ChatRequest) -> dict[str, Any]:
        """The request as Chat Completions wants it; what was not said is left out."""
        body: dict[str, Any] = {
            "model": request.model,
            "messages": [turn for message in request.messages for turn in turns_of(message)],
            "stream": True,
            "stream_options": {"include_usage": True},
            self.max_tokens_field: request.max_tokens,
        }
        for field in ("temperature", "top_p", "seed", "tool_choice", "response_format", "reasoning_effort"):
            value = getattr(request, field)
            if value is not None:
                body[field] = value
        if request.stop:
            body["stop"] = request.stop
        if request.tools:
            body["tools"] = [
                {
                    "type": "function",
                    "function": {
                        name: value
                        for name, value in (("name", tool.name), ("description", tool.description), ("parameters", tool.parameters))
                        if value is not None
                    },
                }
                for tool in request.tools
            ]
        return body | request.vendor if request.vendor else body


def turns_of(message: Message) -> list[dict[str, Any]]:
    """A message as OpenAI's turns: each tool result is a turn of its own."""
    parts = message.parts
    if len(parts) == 1 and isinstance(parts[0], TextPart):
        return [{"role": message.role, "content": parts[0].text}]
    turns: list[dict[str, Any]] = [
        {"role": "tool", "tool_call_id": part.id, "content": part.content}
        for part in parts
        if isinstance(part, ToolResultPart)
    ]
    content: list[dict[str, Any]] = []
    calls: list[dict[str, Any]] = []
    for part in parts:
        if isinstance(part, TextPart):
            content.append({"type": "text", "text": part.text})
        elif isinstance(part, ImagePart):
            image = {"url": part.url} if part.detail is None else {"url": part.url, "detail": part.detail}
            content.append({"type": "image_url", "image_url": image})
        elif isinstance(part, ToolCallPart):
            calls.append({"id": part.id, "type": "function", "function": {"name": part.name, "arguments": part.arguments}})
    if calls:
        turns.append({"role": message.role, "content": message.text or None, "tool_calls": calls})
    elif content:
        turns.append({"role": message.role, "content": content})
    return turns


def decoded(data: bytes) -> Chunk:
    """One chunk of the answer. Raises `UpstreamError`, without the vendor's words."""
    try:
        chunk = CHUNK.decode(data)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise UpstreamError("the vendor's answer cannot be read") from error
    if chunk.error is not None and bytes(chunk.error) != b"null":
        raise UpstreamError("the vendor reported an error in the middle of its answer")
    return chunk


def events_of(chunk: Chunk) -> list[ChatEvent]:
    """What a chunk says, in the contract's words."""
    events: list[ChatEvent] = []
    for choice in chunk.choices:
        delta = choice.delta or choice.message
        if delta is not None:
            if delta.reasoning_content:
                events.append(ReasoningDelta(delta.reasoning_content))
            if delta.content:
                events.append(ChatDelta(delta.content))
            for call in delta.tool_calls or ():
                function = call.function or FunctionDelta()
                events.append(ToolCallDelta(call.index, call.id, function.name, function.arguments or ""))
        if choice.finish_reason:
            events.append(Finish(choice.finish_reason))
    if chunk.usage is not None:
        usage = chunk.usage
        cached = usage.prompt_tokens_details.cached_tokens if usage.prompt_tokens_details else None
        reasoning = usage.completion_tokens_details.reasoning_tokens if usage.completion_tokens_details else None
        events.append(
            Usage(
                input_tokens=usage.prompt_tokens,
                output_tokens=usage.completion_tokens,
                cached_input_tokens=cached or 0,
                reasoning_tokens=reasoning or 0,
            )
        )
    return events


@hookimpl
def register_lanes(register: RegisterLane) -> None:
    """The openai lane."""
    register("openai", OpenAI, OpenAIOptions)
