"""The `anthropic` lane: Claude, and any other vendor that speaks Anthropic's Messages."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
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
    until_end,
)

HEADERS = {"anthropic-version": "2023-06-01", "content-type": "application/json", "user-agent": "kaixu"}
SAMPLING: tuple[Feature, ...] = ("temperature", "top_p", "top_k")
#: A Claude's version, which is in its name.
VERSION = re.compile(r"claude-(?:[a-z]+-)?(\d{1,2})(?:[-.](\d{1,2}))?(?!\d)")
#: What words mean to models that only know budgets, at most half of `max_tokens`; for the others, the other way round.
BUDGETS = {"minimal": 1024, "low": 2048, "medium": 8192, "high": 16384, "xhigh": 32768, "max": 65536}
OWN_TOKEN = re.compile(f"({MessagesReader.unshown})?[^:]*", re.DOTALL)
MOST_CACHE_POINTS = 4
NOT_IN_IDS, SYSTEM = re.compile(r"[^a-zA-Z0-9_-]"), ("system", "developer")  # other vendors' ids have such characters


class AnthropicOptions(KeyOptions):
    """Where the vendor is, and the operator's credential for it."""

    base_url: str = Field("https://api.anthropic.com", pattern=r"^https?://", description="without /v1/messages")
    extra_headers: dict[str, SecretStr] = Field(default_factory=dict, description="sent with every call")
    beta: list[str] = Field(default_factory=list, description="features to switch on, by Anthropic's names")
    allow_betas: list[str] = Field(
        default=list(ALLOWED), description="betas that clients may switch on with the header `anthropic-beta`"
    )
    hour_cache: bool = Field(False, description="let clients cache for an hour, at the price in `cache_write`")


class Anthropic(Lane):
    """Translates to Messages, always streamed, and back."""

    keys: Keys

    supports: frozenset[Feature] = frozenset(SAMPLING) | {"tools", "tool_choice", "parallel_tool_calls", "stop"}
    supports |= {"response_format", "reasoning", "images", "tool_result_images", "names"}
    native = "anthropic.messages"
    tools_overhead_tokens = 1600  # the largest are told in its docs: 735 for the screen, 700 for the editor

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
            translated(request)  # what cannot be said is found by saying it

    def headers_for(self, native: Native | None) -> httpx.Headers:
        """The headers of one call, with the operator's betas and those of its client."""
        own = self.headers.get("anthropic-beta")  # the operator's, in `extra_headers`
        betas = [*([own] if own else ()), *self.betas, *(native.betas if native is not None else ())]
        if not betas:
            return self.headers
        headers = self.headers.copy()
        headers["anthropic-beta"] = ",".join(dict.fromkeys(betas))
        return headers

    async def chat(self, request: ChatRequest, wire: Wire) -> AsyncIterator[ChatEvent]:
        native = None if request.native is None else self.admitted(request.native)[0]
        body = translated(request, hour_cache=self.hour_cache) if native is None else native.body
        body = body | {"model": request.model, "max_tokens": request.max_tokens, "stream": True}
        reader = MessagesReader(wire.note, native=request.native is not None, ended=wire.finished)
        outgoing = httpx.Request("POST", self.url, headers=self.headers_for(native), content=ENCODER.encode(body))
        async with wire.send(self.keys.sign(outgoing)) as response:
            answer = AnswerReader(response, wire.note)
            async for document in until_end(answer.documents(), reader.finished):
                for event in reader.read(document):
                    yield event
                if reader.done:
                    break
            yield reader.end(answer)
            if reader.done:
                await answer.drain()


def objects(value: dict[str, Any], field: str) -> list[dict[str, Any]]:
    """The objects of a list; what is neither is the vendor's to refuse."""
    held = value.get(field)
    return [entry for entry in held if isinstance(entry, dict)] if isinstance(held, list) else []


def inside(value: dict[str, Any], field: str) -> dict[str, Any]:
    """An object in an object; empty where there is none."""
    held = value.get(field)
    return held if isinstance(held, dict) else {}


def translated(request: ChatRequest, *, hour_cache: bool = False) -> dict[str, Any]:
    """A request that came in another protocol. Raises `Unsupported`, `Unprocessable`."""
    if request.several_speak:
        raise Unsupported("names", "this vendor cannot tell speakers of the same role apart")
    body: dict[str, Any] = {"messages": turns_of(request)} | sampling_of(request) | thinking_of(request)
    system = [message for message in request.messages if message.role in SYSTEM]
    if not all(type(part) is TextPart for message in system for part in message.parts):
        raise Unsupported("images", "to this vendor the system speaks in text only")
    if rules := "\n\n".join(message.text for message in system if message.text.strip()):
        cached = any(isinstance(part, TextPart) and part.cache for message in system for part in message.parts)
        blocks = [block for message in system for part in message.parts if (block := block_of(part))]
        body["system"] = blocks if cached else rules
    if request.stop:
        if not all(text.strip() for text in request.stop):
            raise Unsupported("stop", "this vendor does not stop at white space")
        body["stop_sequences"] = request.stop
    if request.tools:
        body["tools"] = [
            {"name": tool.name, "input_schema": {"type": "object"} | (tool.parameters or {})}
            | {field: value for field in ("description", "strict") if (value := getattr(tool, field)) is not None}
            | cached_until(tool.cache)
            for tool in request.tools
        ]
    if choice := choice_of(request):
        if choice["type"] in ("any", "tool") and inside(body, "thinking").get("type") in ("adaptive", "enabled"):
            raise Unsupported("tool_choice", "this vendor forces no tool on a model that thinks")
        body["tool_choice"] = choice
    if request.response_format is not None:
        if request.response_format.schema is None:
            raise Unsupported("response_format", "this vendor promises JSON of a schema only; send one")
        form = {"type": "json_schema", "schema": request.response_format.schema}
        body["output_config"] = inside(body, "output_config") | {"format": form}
    if request.user is not None:
        body["metadata"] = {"user_id": request.user}
    keep_cache_points(body, hour_cache=hour_cache)
    return body


def cached_until(cache: Cache | None) -> dict[str, Any]:
    """The field of a block, or a tool, up to which the input is kept."""
    if cache is None:
        return {}
    return {"cache_control": {"type": "ephemeral"} | ({"ttl": cache} if cache != "5m" else {})}


def keep_cache_points(body: dict[str, Any], *, hour_cache: bool) -> None:
    """Leave the last few points only, for the vendor refuses more, and those of an hour where they have a price.

    None is kept longer than one before it: then all are kept for as long as the first.
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
    """Claude's version; None for the models of others."""
    found = VERSION.search(model)
    return (int(found[1]), int(found[2] or 0)) if found else None


def sampling_of(request: ChatRequest) -> dict[str, Any]:
    """How freely words are chosen. Claude after 4.6 takes nothing of it, save what it does anyway."""
    wanted: dict[str, Any] = {field: getattr(request, field) for field in SAMPLING}
    said = {field: value for field, value in wanted.items() if value is not None}
    if said.get("temperature", 0) > 1:
        raise Unsupported("temperature", "this vendor's goes from 0 to 1")
    if (version_of(request.model) or (0, 0)) <= (4, 6):
        return said
    for field, value in said.items():
        if field == "top_k" or value != 1:
            raise Unsupported(field, "this model decides that itself")
    return {}


def thinking_of(request: ChatRequest) -> dict[str, Any]:
    """How much to think: Claude up to 4.5 knows budgets only, later ones efforts only, others what was asked for."""
    asked, version = request.reasoning, version_of(request.model)
    if asked is None or (asked.effort is None and asked.budget_tokens is None):
        return {}
    effort, budget = asked.effort, asked.budget_tokens
    if effort == "none" or (effort is None and budget == 0):
        return {"thinking": {"type": "disabled"}}
    if (budget is None) if version is None else (version > (4, 5)):
        effort = effort or next((word for word in ("low", "medium") if (budget or 0) <= BUDGETS[word]), "high")
        return {"thinking": {"type": "adaptive"}, "output_config": {"effort": effort.replace("minimal", "low")}}
    if budget is None:
        budget = max(BUDGETS["minimal"], min(BUDGETS.get(effort or "", 0), request.max_tokens // 2))
    if not BUDGETS["minimal"] <= budget < request.max_tokens:
        raise Unsupported("reasoning", "a budget is at least 1024 tokens, and less than `max_tokens`")
    return {"thinking": {"type": "enabled", "budget_tokens": budget}}


def choice_of(request: ChatRequest) -> dict[str, Any]:
    """The tool choice; empty where nothing was said."""
    choice, one_by_one = request.tool_choice, request.parallel_tool_calls is False
    if choice is None and not (one_by_one and request.tools):
        return {}
    made: dict[str, Any] = {"type": "any" if choice == "required" else choice or "auto"}
    if isinstance(choice, ToolName):
        made = {"type": "tool", "name": choice.name}
    return made | ({"disable_parallel_tool_use": True} if one_by_one and choice != "none" else {})


def turns_of(request: ChatRequest) -> list[dict[str, Any]]:
    """User and assistant by turns; what tools answered comes first in the user's."""
    turns: list[dict[str, Any]] = []
    for message in request.messages:
        role = "assistant" if message.role == "assistant" else "user"
        blocks = [] if message.role in SYSTEM else [block for part in message.parts if (block := block_of(part))]
        if blocks and turns and turns[-1]["role"] == role:
            turns[-1]["content"] += blocks
        elif blocks:
            turns.append({"role": role, "content": blocks})
    if not turns:
        raise Unprocessable("`messages` holds nothing to answer", hint="Add a user's turn.", field="messages")
    for turn in turns:
        turn["content"].sort(key=lambda block: block["type"] != "tool_result")
    return turns


def block_of(part: Part) -> dict[str, Any] | None:
    """A part as a block; None for what this vendor would refuse: blank text, and thoughts without their token."""
    match part:
        case TextPart(text):
            return {"type": "text", "text": text} | cached_until(part.cache) if text.strip() else None
        case ImagePart(url):
            return {"type": "image", "source": source_of(url)} | cached_until(part.cache)
        case ToolCallPart(id, name):
            called = {"type": "tool_use", "id": NOT_IN_IDS.sub("_", id), "name": name, "input": input_of(part)}
            return called | cached_until(part.cache)
        case ToolResultPart(id):
            # A point inside of a result counts as one behind it.
            cache = part.cache or next((inner.cache for inner in reversed(part.content) if inner.cache), None)
            content = [block for inner in part.content if (block := block_of(without_point(inner)))]
            made = {"type": "tool_result", "tool_use_id": NOT_IN_IDS.sub("_", id), "content": content}
            return made | ({"is_error": True} if part.is_error else {}) | cached_until(cache)
        case ReasoningPart(text, token) if token and OWN_TOKEN.fullmatch(token):
            if text or token.startswith(MessagesReader.unshown):
                return {"type": "thinking", "thinking": text, "signature": token.removeprefix(MessagesReader.unshown)}
            return {"type": "redacted_thinking", "data": token}
    return None


def without_point(part: TextPart | ImagePart) -> TextPart | ImagePart:
    """A part that its cache does not end at."""
    return part if part.cache is None else msgspec.structs.replace(part, cache=None)


def source_of(url: str) -> dict[str, Any]:
    """Where an image is, or the image itself."""
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
        raise Unprocessable(f"the arguments of tool call `{call.id}` are no JSON object", field="messages") from None


ENCODER = msgspec.json.Encoder()
OBJECT = msgspec.json.Decoder(dict[str, Any], float_hook=as_written)


@hookimpl
def register_lanes(register: RegisterLane) -> None:
    """The anthropic lane."""
    register("anthropic", Anthropic, AnthropicOptions)
