"""The `anthropic` lane: Claude, and any other vendor that speaks Anthropic's Messages."""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Any

import httpx
import msgspec
from kaixu_anthropic_betas import ALLOWED, without_betas
from pydantic import Field, SecretStr

from kaixu.plugin import (
    AnswerReader,
    Cache,
    ChatEvent,
    ChatRequest,
    EventBatches,
    Feature,
    ImagePart,
    KeyOptions,
    Keys,
    Lane,
    MessagesReader,
    Native,
    Part,
    ReasoningPart,
    RegisterLane,
    TextPart,
    ToolCallPart,
    ToolName,
    ToolResultPart,
    Unprocessable,
    Unsupported,
    Wire,
    as_written,
    hookimpl,
    object_of,
    post,
    read_together,
    until_end,
)

HEADERS = {"anthropic-version": "2023-06-01", "content-type": "application/json", "user-agent": "kaixu"}
SAMPLING: tuple[Feature, ...] = ("temperature", "top_p", "top_k")
#: The version in a Claude model's name.
VERSION = re.compile(r"claude-(?:[a-z]+-)?(\d{1,2})(?:[-.](\d{1,2}))?(?!\d)")
#: Token budgets of effort words. A model that takes only budgets gets at most half of `max_tokens`.
BUDGETS = {"minimal": 1024, "low": 2048, "medium": 8192, "high": 16384, "xhigh": 32768, "max": 65536}
OWN_TOKEN = re.compile(f"({MessagesReader.unshown})?[^:]*", re.DOTALL)
MOST_CACHE_POINTS = 4
NOT_IN_IDS, SYSTEM = (
    re.compile(r"[^a-zA-Z0-9_-]"),
    ("system", "developer"),
)  # other vendors have other ids


class AnthropicOptions(KeyOptions):
    """The vendor's address and the operator's credential."""

    base_url: str = Field("https://api.anthropic.com", pattern=r"^https?://", description="without /v1/messages")
    extra_headers: dict[str, SecretStr] = Field(default_factory=dict, description="sent with every call")
    beta: list[str] = Field(default_factory=list, description="features to switch on, by Anthropic's names")
    allow_betas: list[str] = Field(
        default=list(ALLOWED), description="betas that clients may switch on with the header `anthropic-beta`"
    )
    hour_cache: bool = Field(False, description="let clients cache for an hour, at the price in `cache_write`")


class Anthropic(Lane):
    """Translates to Anthropic's Messages API and back."""

    keys: Keys

    supports: frozenset[Feature] = frozenset(SAMPLING) | {"tools", "tool_choice", "parallel_tool_calls", "stop"}
    supports |= {"response_format", "reasoning", "images", "tool_result_images", "names"}
    native = "anthropic.messages"
    tools_overhead_tokens = 1600  # the largest in its docs: 735 for the screen, 700 for the editor

    def __init__(self, options: AnthropicOptions) -> None:
        self.url = httpx.URL(options.base_url.rstrip("/") + "/v1/messages")
        self.hour_cache = options.hour_cache
        if options.hour_cache:
            self.allows = frozenset({"cache_control"})
        self.betas = options.beta
        self.allowed = frozenset(options.allow_betas)
        self.keys = options.keys("x-api-key", "")
        headers = HEADERS | self.keys.first()
        headers |= {name.lower(): value.get_secret_value() for name, value in options.extra_headers.items()}
        self.headers = httpx.Headers(headers)

    def admitted(self, native: Native) -> tuple[Native, tuple[str, ...]]:
        return without_betas(native, allowed=self.allowed, always=frozenset(self.betas))

    def check(self, request: ChatRequest) -> None:
        if request.native is None:
            translate(request)  # raises for what cannot be translated

    def headers_for(self, native: Native | None) -> httpx.Headers:
        """The headers of one call, with the operator's betas and those of its client."""
        own = self.headers.get("anthropic-beta")  # the operator's, in `extra_headers`
        betas = [*([own] if own else ()), *self.betas, *(native.betas if native is not None else ())]
        if not betas:
            return self.headers
        headers = self.headers.copy()
        headers["anthropic-beta"] = ",".join(dict.fromkeys(betas))
        return headers

    def chat(self, request: ChatRequest, wire: Wire) -> AsyncIterator[ChatEvent]:
        return EventBatches(self.batches(request, wire, stream=True))

    def chat_plain(self, request: ChatRequest, wire: Wire) -> AsyncIterator[ChatEvent]:
        return EventBatches(self.batches(request, wire, stream=False))

    async def batches(self, request: ChatRequest, wire: Wire, *, stream: bool) -> AsyncGenerator[list[ChatEvent], None]:
        """The events of the answer, in whatever form the vendor sends it."""
        native = None if request.native is None else self.admitted(request.native)[0]
        body = translate(request, hour_cache=self.hour_cache) if native is None else native.body
        body = body | {"model": request.model, "max_tokens": request.max_tokens, "stream": stream}
        reader = MessagesReader(wire.note, native=request.native is not None, ended=wire.finished)
        outgoing = post(self.url, self.headers_for(native), ENCODER.encode(body))
        async with wire.send(self.keys.sign(outgoing)) as response:
            answer = AnswerReader(response, wire.note)
            async for documents in until_end(answer.batches(), reader.finished):
                events, failure = read_together(documents, reader.read, lambda: reader.done)
                if events:
                    yield events
                if failure is not None:
                    raise failure
                if reader.done:
                    break
            yield [reader.end(answer)]
            if reader.done:
                await answer.drain()


def translate(request: ChatRequest, *, hour_cache: bool = False) -> dict[str, Any]:
    """The Messages body of a request that came in another protocol. Raises `Unsupported`, `Unprocessable`."""
    if request.several_speak:
        raise Unsupported("names", "this vendor does not support several names for one role")
    body: dict[str, Any] = {"messages": turns_of(request)} | sampling_of(request) | thinking_of(request)
    system = [message for message in request.messages if message.role in SYSTEM]
    if not all(type(part) is TextPart for message in system for part in message.parts):
        raise Unsupported("images", "this vendor takes only text in system messages")
    if rules := "\n\n".join(message.text for message in system if message.text.strip()):
        cached = any(isinstance(part, TextPart) and part.cache for message in system for part in message.parts)
        blocks = [block for message in system for part in message.parts if (block := block_of(part))]
        body["system"] = blocks if cached else rules
    if request.stop:
        if not all(text.strip() for text in request.stop):
            raise Unsupported("stop", "this vendor does not accept white space as a stop sequence")
        body["stop_sequences"] = request.stop
    if request.tools:
        body["tools"] = [
            {"name": tool.name, "input_schema": {"type": "object"} | (tool.parameters or {})}
            | {field: value for field in ("description", "strict") if (value := getattr(tool, field)) is not None}
            | cached_until(tool.cache)
            for tool in request.tools
        ]
    if choice := choice_of(request):
        if choice["type"] in ("any", "tool") and object_of(body.get("thinking")).get("type") in ("adaptive", "enabled"):
            raise Unsupported("tool_choice", "this vendor cannot force a tool while the model thinks")
        body["tool_choice"] = choice
    if request.response_format is not None:
        if request.response_format.schema is None:
            raise Unsupported("response_format", "this vendor needs a schema for JSON output")
        form = {"type": "json_schema", "schema": request.response_format.schema}
        body["output_config"] = object_of(body.get("output_config")) | {"format": form}
    if request.user is not None:
        body["metadata"] = {"user_id": request.user}
    keep_cache_points(body, hour_cache=hour_cache)
    return body


def cached_until(cache: Cache | None) -> dict[str, Any]:
    """The `cache_control` field of a block or tool: the input is cached up to there."""
    if cache is None:
        return {}
    return {"cache_control": {"type": "ephemeral"} | ({"ttl": cache} if cache != "5m" else {})}


def keep_cache_points(body: dict[str, Any], *, hour_cache: bool) -> None:
    """Keep the last four cache points: the vendor refuses more. Keep one-hour points only where they have a price.

    A point must not outlive an earlier one, so all of them get the duration of the first.
    """
    system = body.get("system")
    holders = [*body.get("tools", ()), *(system if isinstance(system, list) else ())]
    for turn in body["messages"]:
        holders += turn["content"]
    points = [holder for holder in holders if "cache_control" in holder]
    for holder in points[:-MOST_CACHE_POINTS]:
        del holder["cache_control"]
    kept = points[-MOST_CACHE_POINTS:]
    if kept and not (hour_cache and kept[0]["cache_control"].get("ttl") == "1h"):
        for holder in kept:
            holder["cache_control"] = {"type": "ephemeral"}


def version_of(model: str) -> tuple[int, int] | None:
    """The version of a Claude model; None for other models."""
    found = VERSION.search(model)
    return (int(found[1]), int(found[2] or 0)) if found else None


def sampling_of(request: ChatRequest) -> dict[str, Any]:
    """The sampling fields. Claude models after 4.6 accept only the default values."""
    fields: dict[str, Any] = {field: value for field in SAMPLING if (value := getattr(request, field)) is not None}
    if fields.get("temperature", 0) > 1:
        raise Unsupported("temperature", "this vendor accepts 0 to 1")
    if (version_of(request.model) or (0, 0)) <= (4, 6):
        return fields
    for field, value in fields.items():
        if field == "top_k" or value != 1:
            raise Unsupported(field, "this model does not accept it")
    return {}


def thinking_of(request: ChatRequest) -> dict[str, Any]:
    """The thinking fields: Claude up to 4.5 takes budgets only, later models take efforts only."""
    reasoning, version = request.reasoning, version_of(request.model)
    if reasoning is None or (reasoning.effort is None and reasoning.budget_tokens is None):
        return {}
    effort, budget = reasoning.effort, reasoning.budget_tokens
    if effort == "none" or (effort is None and budget == 0):
        return {"thinking": {"type": "disabled"}}
    if (budget is None) if version is None else (version > (4, 5)):
        effort = effort or next((word for word in ("low", "medium") if (budget or 0) <= BUDGETS[word]), "high")
        return {"thinking": {"type": "adaptive"}, "output_config": {"effort": effort.replace("minimal", "low")}}
    if budget is None:
        budget = max(BUDGETS["minimal"], min(BUDGETS.get(effort or "", 0), request.max_tokens // 2))
    if not BUDGETS["minimal"] <= budget < request.max_tokens:
        raise Unsupported("reasoning", "a budget must be at least 1024 tokens and less than `max_tokens`")
    return {"thinking": {"type": "enabled", "budget_tokens": budget}}


def choice_of(request: ChatRequest) -> dict[str, Any]:
    """The tool choice; empty if the request has none."""
    choice, one_by_one = request.tool_choice, request.parallel_tool_calls is False
    if choice is None and not (one_by_one and request.tools):
        return {}
    tool_choice: dict[str, Any] = {"type": "any" if choice == "required" else choice or "auto"}
    if isinstance(choice, ToolName):
        tool_choice = {"type": "tool", "name": choice.name}
    return tool_choice | ({"disable_parallel_tool_use": True} if one_by_one and choice != "none" else {})


def turns_of(request: ChatRequest) -> list[dict[str, Any]]:
    """Alternating user and assistant turns; tool results come first in a user turn."""
    turns: list[dict[str, Any]] = []
    for message in request.messages:
        role = "assistant" if message.role == "assistant" else "user"
        blocks = [] if message.role in SYSTEM else [block for part in message.parts if (block := block_of(part))]
        if blocks and turns and turns[-1]["role"] == role:
            turns[-1]["content"] += blocks
        elif blocks:
            turns.append({"role": role, "content": blocks})
    if not turns:
        raise Unprocessable("`messages` has no content to answer", hint="Add a user message.", field="messages")
    for turn in turns:
        turn["content"].sort(key=lambda block: block["type"] != "tool_result")
    return turns


def block_of(part: Part) -> dict[str, Any] | None:
    """A part as a content block; None for blank text and for reasoning without its token, which the vendor refuses."""
    match part:
        case TextPart(text):
            return {"type": "text", "text": text} | cached_until(part.cache) if text.strip() else None
        case ImagePart(url):
            return {"type": "image", "source": source_of(url)} | cached_until(part.cache)
        case ToolCallPart(id, name):
            call = {"type": "tool_use", "id": NOT_IN_IDS.sub("_", id), "name": name, "input": input_of(part)}
            return call | cached_until(part.cache)
        case ToolResultPart(id):
            # A cache point inside a result moves to its end.
            cache = part.cache or next((inner.cache for inner in reversed(part.content) if inner.cache), None)
            content = [block for inner in part.content if (block := block_of(without_cache(inner)))]
            result = {"type": "tool_result", "tool_use_id": NOT_IN_IDS.sub("_", id), "content": content}
            return result | ({"is_error": True} if part.is_error else {}) | cached_until(cache)
        case ReasoningPart(text, token) if token and OWN_TOKEN.fullmatch(token):
            if text or token.startswith(MessagesReader.unshown):
                return {"type": "thinking", "thinking": text, "signature": token.removeprefix(MessagesReader.unshown)}
            return {"type": "redacted_thinking", "data": token}
    return None


def without_cache(part: TextPart | ImagePart) -> TextPart | ImagePart:
    """`part` without its cache point."""
    return part if part.cache is None else msgspec.structs.replace(part, cache=None)


def source_of(url: str) -> dict[str, Any]:
    """An image as a URL or as base64 data."""
    if not url.startswith("data:"):
        return {"type": "url", "url": url}
    head, _, data = url.removeprefix("data:").partition(";base64,")
    if not data:
        raise Unprocessable("an image in a data: URL must be base64", field="messages")
    return {"type": "base64", "media_type": head.split(";")[0].replace("/jpg", "/jpeg"), "data": data}


def input_of(call: ToolCallPart) -> dict[str, Any]:
    """A tool call's arguments."""
    try:
        return OBJECT.decode(call.arguments.strip() or "{}")
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        raise Unprocessable(f"the arguments of tool call `{call.id}` are not a JSON object", field="messages") from None


ENCODER = msgspec.json.Encoder()
OBJECT = msgspec.json.Decoder(dict[str, Any], float_hook=as_written)


@hookimpl
def register_lanes(register: RegisterLane) -> None:
    """The anthropic lane."""
    register("anthropic", Anthropic, AnthropicOptions)
