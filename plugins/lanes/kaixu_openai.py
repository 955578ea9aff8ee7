"""The `openai` lane: any vendor that speaks OpenAI's Chat Completions and Embeddings."""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator, AsyncIterator
from hashlib import sha256
from typing import Any, Literal

import httpx
import msgspec
from pydantic import Field, SecretStr

from kaixu.plugin import (
    AnswerReader,
    ChatEvent,
    ChatRequest,
    CompletionReader,
    Embeddings,
    EmbedRequest,
    EventBatches,
    ImagePart,
    KeyOptions,
    Keys,
    Lane,
    Message,
    Reasoning,
    ReasoningPart,
    RegisterLane,
    ResponseFormat,
    TextPart,
    Tool,
    ToolCallPart,
    ToolName,
    ToolResultPart,
    Usage,
    Wire,
    hookimpl,
    post,
    read_together,
    until_end,
    vectors_in,
)

#: Fields with the same name in the contract and in the vendor's API.
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
#: The longest `user` that OpenAI accepts; a longer one is replaced by its hash, which has exactly this length.
LONGEST_USER = 64
#: OpenAI's models that do not reason and refuse `reasoning_effort`. Clients of other protocols do not know them and may
#: send an effort to every model.
DOES_NOT_REASON = re.compile(r"(ft:)?(gpt-3|gpt-4|chatgpt-4)")


class OpenAIOptions(KeyOptions):
    """The vendor's address and the operator's credential."""

    base_url: str = Field(
        default="https://api.openai.com/v1", pattern=r"^https?://", description="everything before /chat/completions"
    )
    organization: str | None = None
    project: str | None = None
    extra_headers: dict[str, SecretStr] = Field(default_factory=dict, description="sent with every call")
    extra_body: dict[str, Any] = Field(default_factory=dict, description="additional fields, sent with every chat call")
    max_tokens_field: Literal["max_tokens", "max_completion_tokens"] = Field(
        default="max_completion_tokens",
        description="the vendor's name of this field; many compatible vendors only know max_tokens",
    )
    vector_encoding: Literal["base64", "float"] = Field(
        default="base64", description="the requested format of vectors; float for vendors that refuse base64"
    )


class OpenAI(Lane):
    """Translates to OpenAI's Chat Completions API and back."""

    keys: Keys

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
        if options.extra_body:
            self.request_overhead_tokens += len(ENCODER.encode(options.extra_body))
        self.encoding = options.vector_encoding
        self.keys = options.keys()
        headers = self.keys.first() | {
            "content-type": "application/json",
            "accept": "text/event-stream, application/json",
            "user-agent": "kaixu",  # some vendors' firewalls refuse requests without one
        }
        if options.organization:
            headers["openai-organization"] = options.organization
        if options.project:
            headers["openai-project"] = options.project
        headers |= {name.lower(): value.get_secret_value() for name, value in options.extra_headers.items()}
        self.headers = httpx.Headers(headers)

    def chat(self, request: ChatRequest, wire: Wire) -> AsyncIterator[ChatEvent]:
        return EventBatches(self.batches(self.body(request), request, wire))

    def chat_plain(self, request: ChatRequest, wire: Wire) -> AsyncIterator[ChatEvent]:
        body = self.body(request)
        body.pop("stream_options", None)
        return EventBatches(self.batches(body | {"stream": False}, request, wire))

    async def batches(
        self, body: dict[str, Any], request: ChatRequest, wire: Wire
    ) -> AsyncGenerator[list[ChatEvent], None]:
        """The events of the answer to `body`, in whatever form the vendor sends it."""
        outgoing = self.outgoing(self.chat_url, body)
        reader = CompletionReader(wire.note, native=request.native is not None, ended=wire.finished)
        async with wire.send(outgoing) as response:
            answer = AnswerReader(response, wire.note)
            whole = await answer.whole()
            if whole is not None:
                read = list(reader.read(whole))
                if reader.finish is not None:
                    read.append(reader.finish)
                    yield read
                    return
                if read:
                    yield read
                yield [reader.end(answer)]
                return
            async for documents in until_end(answer.batches(), reader.finished):
                events, failure = read_together(documents, lambda document: reader.read(document.data))
                if events:
                    yield events
                if failure is not None:
                    raise failure
            yield [reader.end(answer)]
            if answer.done:
                await answer.drain()

    async def embed(self, request: EmbedRequest, wire: Wire) -> Embeddings:
        body: dict[str, Any] = {"model": request.model, "input": request.inputs, "encoding_format": self.encoding}
        more = {"dimensions": request.dimensions, "user": request.user}
        body |= {name: value for name, value in more.items() if value is not None}
        async with wire.send(self.outgoing(self.embed_url, body)) as response:
            answer = await response.aread()
        vectors, usage = vectors_in(answer, len(request.inputs), wire.note)
        return Embeddings(vectors, usage or Usage())

    def outgoing(self, url: httpx.URL, body: dict[str, Any]) -> httpx.Request:
        """A signed request to `url`, the address of chats or of embeddings."""
        return self.keys.sign(post(url, self.headers, ENCODER.encode(body)))

    def body(self, request: ChatRequest) -> dict[str, Any]:
        """The body of a Chat Completions request, without fields that are not set."""
        body = self.extra_body | (translate(request) if request.native is None else dict(request.native.body))
        body.pop("max_tokens", None)
        body.pop("max_completion_tokens", None)
        return body | {
            "model": request.model,
            "stream": True,
            "stream_options": {"include_usage": True},
            self.max_tokens_field: request.max_tokens,
        }


def translate(request: ChatRequest) -> dict[str, Any]:
    """The Chat Completions body of a request that came in another protocol."""
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


def format_of(form: ResponseFormat) -> dict[str, Any]:
    """The `response_format` field."""
    if form.schema is None:
        return {"type": "json_object"}
    schema: dict[str, Any] = {"name": form.name, "schema": form.schema}
    if form.description is not None:
        schema["description"] = form.description
    if form.strict is not None:
        schema["strict"] = form.strict
    return {"type": "json_schema", "json_schema": schema}


def effort_of(reasoning: Reasoning) -> str:
    """The `reasoning_effort` field; a token budget becomes the nearest word."""
    if reasoning.effort is not None:
        return "xhigh" if reasoning.effort == "max" else reasoning.effort
    budget = reasoning.budget_tokens or 0
    return "none" if budget == 0 else "low" if budget <= 2048 else "medium" if budget <= 8192 else "high"


def turns_of(message: Message) -> list[dict[str, Any]]:
    """A message as OpenAI's messages: each tool result is a message of its own."""
    parts = [
        part for part in message.parts if type(part) is not ReasoningPart
    ]  # the protocol has no field for reasoning
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
        text = message.text or None
        turns.append({**named, "role": message.role, "content": text, "tool_calls": calls})
    elif content or not turns:
        turns.append({**named, "role": message.role, "content": content or ""})
    return turns


def function_of(tool: Tool) -> dict[str, Any]:
    """A tool in OpenAI's format."""
    fields = {"name": tool.name, "description": tool.description, "parameters": tool.parameters, "strict": tool.strict}
    return {"type": "function", "function": {name: value for name, value in fields.items() if value is not None}}


ENCODER = msgspec.json.Encoder()


@hookimpl
def register_lanes(register: RegisterLane) -> None:
    """The openai lane."""
    register("openai", OpenAI, OpenAIOptions)
