"""The `gemini` lane: Google's Gemini API, its chat and its embeddings."""

from __future__ import annotations

import math
import re
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any, TypeVar
from urllib.parse import quote
from uuid import uuid4

import httpx
from kaixu_gemini_request import (
    ENCODER,
    FEATURES,
    SIGNATURE_PREFIX,
    Object,
    parse_object,
    translate,
    without_none,
)
from pydantic import Field, SecretStr

from kaixu.plugin import (
    AnswerReader,
    ChatDelta,
    ChatEvent,
    ChatRequest,
    Embeddings,
    EmbedRequest,
    Finish,
    KeyOptions,
    Keys,
    Lane,
    ReasoningDelta,
    RegisterLane,
    RunningUsage,
    ToolCallDelta,
    UpstreamError,
    Usage,
    Wire,
    embedding_usage_of,
    error_in_answer,
    hookimpl,
    numbers_in,
    object_in,
    object_of,
    objects_of,
    text_of,
    until_end,
    word_of,
)

FILTERS = ("SAFETY", "RECITATION", "BLOCKLIST", "PROHIBITED_CONTENT", "SPII", "MODEL_ARMOR", "ESCALATION")
FINISHES = dict.fromkeys((*FILTERS, "IMAGE_SAFETY", "IMAGE_PROHIBITED_CONTENT", "IMAGE_RECITATION"), "content_filter")
FINISHES |= {"STOP": "stop", "MAX_TOKENS": "length", "CONTINUATION": "length", "FUNCTION_CALL": "tool_calls"}
#: The purpose of an embedding: a field up to `gemini-embedding-001`, a prefix of the text since then.
TASKS = {"document": "RETRIEVAL_DOCUMENT", "query": "RETRIEVAL_QUERY"}
PREFIXES = {"document": "title: none | text: ", "query": "task: search result | query: "}
PREFIXED = re.compile(r"gemini-embedding-[1-9]")

Kind = TypeVar("Kind", Object, list[Any], str, int)


class GeminiOptions(KeyOptions):
    """The address of the API, including its version, and the operator's credential."""

    base_url: str = Field("https://generativelanguage.googleapis.com/v1beta", pattern=r"^https?://")
    extra_headers: dict[str, SecretStr] = Field(default_factory=dict, description="sent with every call")
    safety_settings: list[dict[str, str]] | None = Field(None, description="sent with every chat call")


class Gemini(Lane):
    """Translates to `streamGenerateContent` and back. Google counts thinking tokens towards `max_tokens`."""

    keys: Keys

    supports = FEATURES
    max_batch = 100
    shortens = True

    def __init__(self, options: GeminiOptions) -> None:
        self.base_url = options.base_url.rstrip("/")
        self.safety = {} if options.safety_settings is None else {"safetySettings": options.safety_settings}
        extra = {name.lower(): value.get_secret_value() for name, value in options.extra_headers.items()}
        self.keys = options.keys("x-goog-api-key", "")
        own = self.keys.first() | {"content-type": "application/json"}
        self.headers = httpx.Headers({"user-agent": "kaixu"} | own | extra)

    def check(self, request: ChatRequest) -> None:
        translate(request)  # raises for what cannot be translated

    async def chat(self, request: ChatRequest, wire: Wire) -> AsyncIterator[ChatEvent]:
        reader = GeminiStreamReader(wire.note, wire.finished)
        one_by_one = request.parallel_tool_calls is False
        body = self.safety | translate(request)
        async with wire.send(self.outgoing(request.model, "streamGenerateContent?alt=sse", body)) as response:
            answer = AnswerReader(response, wire.note)
            async for documents in until_end(answer.batches(), reader.finished):
                for event in (event for document in documents for event in reader.read(document.data)):
                    # Google has no switch for parallel tool calls: a client that wants one at a time gets the first.
                    if not (one_by_one and type(event) is ToolCallDelta and event.index > 0):
                        yield event
        yield reader.end(answer)

    async def embed(self, request: EmbedRequest, wire: Wire) -> Embeddings:
        # This API has no `autoTruncate`: the vendor decides what happens to a text that is too long.
        model, purpose = resource_of(request.model), request.purpose or ""
        prefixed = PREFIXED.search(model)
        task, prefix = (None, PREFIXES.get(purpose, "")) if prefixed else (TASKS.get(purpose), "")
        fields = without_none({"model": model, "outputDimensionality": request.dimensions, "taskType": task})
        texts = [f"{prefix}{text}" for text in request.inputs]
        requests = [fields | {"content": {"parts": [{"text": text}]}} for text in texts]
        method, body = (
            ("embedContent", requests[0]) if len(requests) == 1 else ("batchEmbedContents", {"requests": requests})
        )
        async with wire.send(self.outgoing(request.model, method, body)) as response:
            answer = object_in(await response.aread())
        vectors = vectors_of(answer)
        if len(vectors) != len(texts):
            raise UpstreamError("the vendor returned a wrong number of vectors")
        if request.dimensions is not None:
            lengths = [math.hypot(*vector) or 1.0 for vector in vectors]  # Google does not normalize shortened vectors
            vectors = tuple(tuple(x / length for x in vector) for vector, length in zip(vectors, lengths, strict=True))
        if (usage := embedding_usage_of(answer)) is not None:
            return Embeddings(vectors, usage)
        return Embeddings(vectors, Usage(sum(max(1, -(-len(text) // 4)) for text in texts), estimated=True))

    def outgoing(self, model: str, method: str, body: Object) -> httpx.Request:
        """A signed request that calls `method` of `model`."""
        kind, _, name = resource_of(model).partition("/")
        url = f"{self.base_url}/{kind}/{quote(name, safe='')}:{method}"
        return self.keys.sign(httpx.Request("POST", url, headers=self.headers, content=ENCODER.encode(body)))


def resource_of(model: str) -> str:
    """A model's full resource name."""
    return model if model.startswith(("models/", "tunedModels/")) else f"models/{model}"


def vectors_of(answer: Object) -> tuple[tuple[float, ...], ...]:
    """The vectors of a response, for one input or several. Raises `UpstreamError`."""
    entries = objects_of(answer.get("embeddings") or answer.get("embedding"))
    return tuple(tuple(numbers_in(entry.get("values"))) for entry in entries)


def field_of(value: Object, field: str, kind: type[Kind]) -> Kind:
    """The value of a field if it has the type `kind`, else an empty value of that type."""
    found = value.get(field)
    return found if isinstance(found, kind) else kind()


class GeminiStreamReader:
    """Converts the chunks of a streamed response into chat events. Unknown parts are ignored."""

    def __init__(self, note: Callable[[str], None], ended: Callable[[], None]) -> None:
        self.note = note
        self.ended = ended
        self.calls = 0
        self.usage = RunningUsage()
        self.finish: Finish | None = None

    def finished(self) -> bool:
        """Whether a finish reason was received; chunks after it do not matter."""
        return self.finish is not None

    def end(self, answer: AnswerReader) -> Finish:
        """The finish event. Raises `UpstreamError` if the response was cut off."""
        if self.finish is not None:
            return self.finish
        if answer.unreadable:
            raise UpstreamError("the vendor's answer cannot be read")
        raise UpstreamError("the vendor broke off before its answer was complete")

    def read(self, answer: Object) -> Iterator[ChatEvent]:
        """The events of one chunk. Raises `UpstreamError` for an error chunk."""
        if (failure := answer.get("error")) and not self.finished():
            raise error_in_answer(failure)
        if candidates := objects_of(answer.get("candidates")):
            candidate = candidates[0]
            if field_of(candidate, "finishReason", str):
                self.ended()
            for part in objects_of(object_of(candidate.get("content")).get("parts")):
                yield from self.part(part)
            if reason := field_of(candidate, "finishReason", str):
                calls_tools = reason == "STOP" and self.calls
                self.finish = Finish("tool_calls" if calls_tools else FINISHES.get(reason, reason.lower()))
        elif word_of(object_of(answer.get("promptFeedback")).get("blockReason")):
            self.finish = Finish("content_filter")
        if (usage := self.usage.add(answer)) is not None:
            yield usage

    def part(self, part: Object) -> Iterator[ChatEvent]:
        """The events of one part. The signature of a text follows the text."""
        token, text, call = word_of(part.get("thoughtSignature")), text_of(part.get("text")), part.get("functionCall")
        if text and not isinstance(part["text"], str):
            self.note("`text` of a part is not a string")
        if isinstance(call, dict) and (name := field_of(call, "name", str)):
            id = field_of(call, "id", str) or f"call_{uuid4().hex}"
            args = call.get("args")
            if isinstance(args, str):
                self.note("`args` of a function call is not an object")
                args = parse_object(args)
            arguments = ENCODER.encode(args if isinstance(args, dict) else {}).decode()
            yield ToolCallDelta(self.calls, id, name, arguments, token or None)
            self.calls += 1
        elif "text" in part:
            if text and not part.get("thought"):
                yield ChatDelta(text)
                text = ""
            if text or token:
                yield ReasoningDelta(text, SIGNATURE_PREFIX + token if token else None)


@hookimpl
def register_lanes(register: RegisterLane) -> None:
    """The gemini lane."""
    register("gemini", Gemini, GeminiOptions)
