"""The `gemini` lane: Google's Gemini API, its chat and its embeddings."""

from __future__ import annotations

import math
import re
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any, TypeVar
from urllib.parse import quote
from uuid import uuid4

import httpx
import msgspec
from pydantic import Field, SecretStr

from kaixu.plugin import (
    AnswerReader,
    ChatDelta,
    ChatEvent,
    ChatRequest,
    Embeddings,
    EmbedRequest,
    Feature,
    Finish,
    ImagePart,
    KeyOptions,
    Keys,
    Lane,
    Part,
    ReasoningDelta,
    ReasoningPart,
    RegisterLane,
    RunningUsage,
    TextPart,
    ToolCallDelta,
    ToolCallPart,
    ToolName,
    ToolResultPart,
    Unprocessable,
    Unsupported,
    UpstreamError,
    Usage,
    Wire,
    as_written,
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

SAMPLING: dict[Feature, str] = {"temperature": "temperature", "top_p": "topP", "top_k": "topK", "seed": "seed"}
PENALTIES: dict[Feature, str] = {"presence_penalty": "presencePenalty", "frequency_penalty": "frequencyPenalty"}
OTHERS: tuple[Feature, ...] = ("stop", "response_format", "reasoning", "images", "tool_result_images", "names")
#: A Gemini's version, which is in its name. `gemini-flash-latest` and others without one pass for the newest.
VERSION = re.compile(r"gemini-(\d{1,2})(?:\.(\d{1,2}))?(?!\d)")
#: How much to think: in tokens for Gemini 2.5, as Google's OpenAI-compatible door has it; in words for later ones.
BUDGETS = {"minimal": 1024, "low": 1024, "medium": 8192}
LEVELS = {"none": "MINIMAL", "minimal": "MINIMAL", "low": "LOW", "medium": "MEDIUM"}
#: What Google says to send where a call has no signature, as those of other vendors' models.
UNSIGNED = "skip_thought_signature_validator"
#: Marks the signature of a thought as Google's own: clients give back those of other vendors too, and it refuses them.
OURS = "gemini:"
#: Addresses that Google reads as videos, or as files of any kind that its customer has stored.
NO_IMAGES = re.compile(
    r"https://([^/?#]*@)?([^/?#@]*\.)?(youtube\.com|youtube-nocookie\.com|youtu\.be|generativelanguage\.googleapis\.com)"
    r"\.?(:\d*)?([/?#]|$)",
    re.IGNORECASE,
)
IMAGES = ("png", "webp", "gif", "heic", "heif", "bmp")
FILTERS = ("SAFETY", "RECITATION", "BLOCKLIST", "PROHIBITED_CONTENT", "SPII", "MODEL_ARMOR", "ESCALATION")
FINISHES = dict.fromkeys((*FILTERS, "IMAGE_SAFETY", "IMAGE_PROHIBITED_CONTENT", "IMAGE_RECITATION"), "content_filter")
FINISHES |= {"STOP": "stop", "MAX_TOKENS": "length", "CONTINUATION": "length", "FUNCTION_CALL": "tool_calls"}
#: What an embedding is for: a field up to `gemini-embedding-001`, and words before the text since then.
TASKS = {"document": "RETRIEVAL_DOCUMENT", "query": "RETRIEVAL_QUERY"}
PREFIXES = {"document": "title: none | text: ", "query": "task: search result | query: "}
PREFIXED = re.compile(r"gemini-embedding-[1-9]")

Version = tuple[int, int]
Object = dict[str, Any]
Kind = TypeVar("Kind", Object, list[Any], str, int)


class GeminiOptions(KeyOptions):
    """Where the vendor is, up to the version of its API, and the operator's credential for it."""

    base_url: str = Field("https://generativelanguage.googleapis.com/v1beta", pattern=r"^https?://")
    extra_headers: dict[str, SecretStr] = Field(default_factory=dict, description="sent with every call")
    safety_settings: list[dict[str, str]] | None = Field(None, description="sent with every chat call")


class Gemini(Lane):
    """Translates to `streamGenerateContent` and back. Google counts thoughts towards `max_tokens` as well."""

    keys: Keys

    supports = frozenset({*SAMPLING, *PENALTIES, *OTHERS, "tools", "tool_choice", "parallel_tool_calls"})
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
        translated(request)  # what cannot be said is found by saying it

    async def chat(self, request: ChatRequest, wire: Wire) -> AsyncIterator[ChatEvent]:
        reader = GeminiStreamReader(wire.note, wire.finished)
        one_by_one = request.parallel_tool_calls is False
        body = self.safety | translated(request)
        async with wire.send(self.outgoing(request.model, "streamGenerateContent?alt=sse", body)) as response:
            answer = AnswerReader(response, wire.note)
            async for document in until_end(answer.documents(), reader.finished):
                for event in reader.read(document.data):
                    # Google calls as many tools as it likes: a client that takes one by one gets the first.
                    if not (one_by_one and type(event) is ToolCallDelta and event.index > 0):
                        yield event
        yield reader.end(answer)

    async def embed(self, request: EmbedRequest, wire: Wire) -> Embeddings:
        # This API has no `autoTruncate`: whether a text is too long, and what then, is for the vendor to say.
        model, purpose = resource_of(request.model), request.purpose or ""
        prefixed = PREFIXED.search(model)
        task, prefix = (None, PREFIXES.get(purpose, "")) if prefixed else (TASKS.get(purpose), "")
        asked = said({"model": model, "outputDimensionality": request.dimensions, "taskType": task})
        texts = [f"{prefix}{text}" for text in request.inputs]
        each = [asked | {"content": {"parts": [{"text": text}]}} for text in texts]
        method, body = ("embedContent", each[0]) if len(each) == 1 else ("batchEmbedContents", {"requests": each})
        async with wire.send(self.outgoing(request.model, method, body)) as response:
            answer = object_in(await response.aread())
        vectors = vectors_of(answer)
        if len(vectors) != len(texts):
            raise UpstreamError("the vendor answered with another number of vectors than asked for")
        if request.dimensions is not None:
            lengths = [math.hypot(*vector) or 1.0 for vector in vectors]  # Google leaves some as short as it cut them
            vectors = tuple(tuple(x / length for x in vector) for vector, length in zip(vectors, lengths, strict=True))
        if (usage := embedding_usage_of(answer)) is not None:
            return Embeddings(vectors, usage)
        return Embeddings(vectors, Usage(sum(max(1, -(-len(text) // 4)) for text in texts), estimated=True))

    def outgoing(self, model: str, method: str, body: Object) -> httpx.Request:
        """What goes out: `method` is what the model is asked to do."""
        kind, _, name = resource_of(model).partition("/")
        url = f"{self.base_url}/{kind}/{quote(name, safe='')}:{method}"
        return self.keys.sign(httpx.Request("POST", url, headers=self.headers, content=ENCODER.encode(body)))


def resource_of(model: str) -> str:
    """A model's full name."""
    return model if model.startswith(("models/", "tunedModels/")) else f"models/{model}"


def said(fields: Object) -> Object:
    """The fields that have a value."""
    return {field: value for field, value in fields.items() if value is not None}


def translated(request: ChatRequest) -> Object:
    """The request as Google wants it; what was not said is left out. Raises `Unsupported`, `Unprocessable`."""
    if request.several_speak:
        raise Unsupported("names", "this vendor cannot tell speakers of the same role apart")
    found = VERSION.search(request.model)
    version = (int(found[1]), int(found[2] or 0)) if found else (99, 0)
    system = [message for message in request.messages if message.role in ("system", "developer")]
    if not all(type(part) is TextPart for message in system for part in message.parts):
        raise Unsupported("images", "to this vendor the system speaks in text only")
    rules = [{"text": message.text} for message in system if message.text]
    tools = [
        said({"name": tool.name, "description": tool.description, "parametersJsonSchema": tool.parameters})
        for tool in request.tools
    ]
    body = {
        "contents": Turns(request, version).contents,
        "generationConfig": config_of(request, version),
        "systemInstruction": {"parts": rules} if rules else None,
        "tools": [{"functionDeclarations": tools}] if tools else None,
        "toolConfig": choice_of(request, version),
    }
    return said(body)


def choice_of(request: ChatRequest, version: Version) -> Object | None:
    """The tool choice, if there is one. To hold tools strictly is a mode of its own."""
    choice, mode = request.tool_choice, {}
    if isinstance(choice, ToolName):
        mode = {"mode": "ANY", "allowedFunctionNames": [choice.name]}
    elif choice in (None, "auto") and version >= (2, 5) and any(tool.strict for tool in request.tools):
        mode = {"mode": "VALIDATED"}
    elif choice is not None:
        mode = {"mode": "ANY" if choice == "required" else choice.upper()}
    return {"functionCallingConfig": mode} if mode else None


def config_of(request: ChatRequest, version: Version) -> Object:
    """How to answer. Since 3.6 Google takes `temperature`, `topP` and `topK` without heeding them."""
    form, asked = request.response_format, request.reasoning
    for penalty in PENALTIES:
        if getattr(request, penalty) and version >= (2, 5):
            raise Unsupported(penalty, "this model knows no penalties")
    if len(request.stop) > 5:
        raise Unsupported("stop", "this vendor takes five at most")
    if form is not None and request.tools and version < (3, 0):
        raise Unsupported("response_format", "with tools this model cannot do it")
    config = {theirs: getattr(request, field) for field, theirs in (SAMPLING | PENALTIES).items()}
    config |= {"maxOutputTokens": request.max_tokens, "stopSequences": request.stop or None}
    if form is not None:
        config |= {"responseMimeType": "application/json", "responseJsonSchema": form.schema}
    if asked is not None:
        config["thinkingConfig"] = thinking_of(request, asked.effort, asked.budget_tokens, version)
    return said(config)


def thinking_of(request: ChatRequest, effort: str | None, budget: int | None, version: Version) -> Object | None:
    """How much to think, and that it be shown.

    Gemini 2.5 knows budgets only: a word is at most half of `max_tokens`, and what is out of the model's range the
    nearest in it. Later ones know words only. These and Gemini 2.5 Pro always think: for them "none" is their least.
    """
    off, pro = effort == "none" or (effort is None and budget == 0), "pro" in request.model
    if version < (2, 5):
        if not off:
            raise Unsupported("reasoning", "this model does not think")
        return None
    thinking: Object = {"includeThoughts": not off}
    if effort is None and budget is None:
        return thinking
    if version >= (3, 0):
        near = next((word for word, most in BUDGETS.items() if (budget or 0) <= most), "high")
        level = LEVELS.get("none" if off else effort or near, "HIGH")
        minimal = version <= (3, 6) and "flash" in request.model
        return thinking | {"thinkingLevel": "LOW" if level == "MINIMAL" and not minimal else level}
    least, most = 128 if pro else 512 if "lite" in request.model else 1, 32768 if pro else 24576
    if budget is None:
        budget = min(BUDGETS.get(effort or "", most), request.max_tokens // 2)
    return thinking | {"thinkingBudget": (least if pro else 0) if off else max(least, min(budget, most))}


class Turns:
    """User and model by turns. Gemini 3 and later have ids and signatures for calls, and want them back."""

    def __init__(self, request: ChatRequest, version: Version) -> None:
        self.later = version >= (3, 0)
        self.names: dict[str, str] = {}  # of the calls, by their ids
        self.contents: list[Object] = []
        for message in request.messages:
            role = "model" if message.role == "assistant" else "user"
            for part in () if message.role in ("system", "developer") else message.parts:
                if made := self.part(part):
                    last: Object = self.contents[-1] if self.contents else {"role": None}
                    # What follows tools' results is a turn of its own: Gemini 3.5 takes it for its own words otherwise.
                    if last["role"] == role and "functionResponse" not in last["parts"][-1].keys() - made.keys():
                        last["parts"].append(made)
                    else:
                        self.contents.append({"role": role, "parts": [made]})
        if not self.contents:
            raise Unprocessable("`messages` holds nothing to answer", hint="Add a user's turn.", field="messages")
        if self.contents[-1]["role"] == "model" and version >= (3, 6):
            raise Unsupported("messages", "this model does not go on with an assistant's turn")
        if self.contents[0]["role"] == "model":  # which calls no tool unasked
            self.contents.insert(0, {"role": "user", "parts": [{"text": ""}]})
        for content in self.contents if self.later else ():
            first: Object = next((part for part in content["parts"] if "functionCall" in part), {})
            first.setdefault("thoughtSignature", UNSIGNED)

    def part(self, part: Part) -> Object | None:
        """A part in Google's words; None for no text, and for thoughts without a token or with another vendor's."""
        match part:
            case TextPart(text):
                return {"text": text} if text else None
            case ImagePart(url):
                return image_of(url)
            case ToolCallPart(id, name, arguments, token):
                self.names[id] = name
                args = object_in_text(arguments.strip() or "{}")
                if args is None:
                    raise Unprocessable(f"the arguments of tool call `{id}` are no JSON object", field="messages")
                call = said({"id": id if self.later else None, "name": name, "args": args})
                return said({"functionCall": call, "thoughtSignature": token or None})
            case ToolResultPart(id, content, is_error):
                if id not in self.names:
                    raise Unprocessable(f"tool result `{id}` answers no call", field="messages")
                # Google takes a "$ref" for one to an image beside it, and refuses all others.
                answer = None if is_error or '"$ref"' in part.text else object_in_text(part.text)
                if answer is None:  # nothing else than an object is one
                    answer = {"error" if is_error else "result": part.text}
                images = [inner.url for inner in content if isinstance(inner, ImagePart)]
                if images and not (self.later and all(url.startswith("data:") for url in images)):
                    raise Unsupported("tool_result_images", "Gemini 3 and later take them, and as data: URLs only")
                result = {"id": id if self.later else None, "name": self.names[id], "response": answer}
                return {"functionResponse": said(result | {"parts": [image_of(url) for url in images] or None})}
            case ReasoningPart(text, str(token)) if token.startswith(OURS):
                signature = token.removeprefix(OURS)
                return said({"text": text, "thought": True if text else None, "thoughtSignature": signature})
        return None


def image_of(url: str) -> Object:
    """An image, or where the vendor finds it; one whose name does not say its kind passes for a JPEG."""
    if not url.startswith("data:"):
        if NO_IMAGES.match(url):
            raise Unprocessable(
                "this gateway has a price for images only, not for videos and stored files", field="messages"
            )
        ending = re.split(r"[?#]", url, maxsplit=1)[0].rpartition(".")[2].lower()
        return {"fileData": {"fileUri": url, "mimeType": f"image/{ending if ending in IMAGES else 'jpeg'}"}}
    head, _, data = url.removeprefix("data:").partition(";base64,")
    if not data:
        raise Unprocessable("an image in a data: URL must be base64", field="messages")
    return {"inlineData": {"mimeType": head.partition(";")[0].replace("/jpg", "/jpeg"), "data": data}}


def object_in_text(text: str) -> Object | None:
    """The JSON object that a text is; None for any other."""
    try:
        return OBJECT.decode(text)
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        return None


ENCODER = msgspec.json.Encoder()
OBJECT = msgspec.json.Decoder(Object, float_hook=as_written)


def vectors_of(answer: Object) -> tuple[tuple[float, ...], ...]:
    """The vectors of an answer, of one input or of several. Raises `UpstreamError`."""
    entries = objects_of(answer.get("embeddings") or answer.get("embedding"))
    return tuple(tuple(numbers_in(entry.get("values"))) for entry in entries)


def inside(value: Object, field: str, kind: type[Kind]) -> Kind:
    """What an object has there; of its kind an empty one where there is none."""
    held = value.get(field)
    return held if isinstance(held, kind) else kind()


class GeminiStreamReader:
    """Reads the pieces of an answer. What it does not know says nothing to it."""

    def __init__(self, note: Callable[[str], None], ended: Callable[[], None]) -> None:
        self.note = note
        self.ended = ended
        self.calls = 0
        self.usage = RunningUsage()
        self.finish: Finish | None = None

    def finished(self) -> bool:
        """Whether the end was told: what comes after that is no matter."""
        return self.finish is not None

    def end(self, answer: AnswerReader) -> Finish:
        """How the answer ended. Raises `UpstreamError` for one that did not."""
        if self.finish is not None:
            return self.finish
        if answer.unreadable:
            raise UpstreamError("the vendor's answer cannot be read")
        raise UpstreamError("the vendor broke off before its answer was complete")

    def read(self, answer: Object) -> Iterator[ChatEvent]:
        """What a piece says, in the contract's words. Raises `UpstreamError` for one that tells of a failure."""
        if (failure := answer.get("error")) and not self.finished():
            raise error_in_answer(failure)
        if candidates := objects_of(answer.get("candidates")):
            candidate = candidates[0]
            if inside(candidate, "finishReason", str):
                self.ended()
            for part in objects_of(object_of(candidate.get("content")).get("parts")):
                yield from self.part(part)
            if reason := inside(candidate, "finishReason", str):
                called = reason == "STOP" and self.calls
                self.finish = Finish("tool_calls" if called else FINISHES.get(reason, reason.lower()))
        elif word_of(object_of(answer.get("promptFeedback")).get("blockReason")):
            self.finish = Finish("content_filter")
        if (usage := self.usage.add(answer)) is not None:
            yield usage

    def part(self, part: Object) -> Iterator[ChatEvent]:
        """What a part says. A text's signature comes after it, for there it belongs when it is given back."""
        token, text, call = word_of(part.get("thoughtSignature")), text_of(part.get("text")), part.get("functionCall")
        if text and not isinstance(part["text"], str):
            self.note("`text` of a part is no string")
        if isinstance(call, dict) and (name := inside(call, "name", str)):
            id = inside(call, "id", str) or f"call_{uuid4().hex}"
            args = call.get("args")
            if isinstance(args, str):
                self.note("`args` of a function call is no object")
                args = object_in_text(args)
            arguments = ENCODER.encode(args if isinstance(args, dict) else {}).decode()
            yield ToolCallDelta(self.calls, id, name, arguments, token or None)
            self.calls += 1
        elif "text" in part:
            if text and not part.get("thought"):
                yield ChatDelta(text)
                text = ""
            if text or token:
                yield ReasoningDelta(text, OURS + token if token else None)


@hookimpl
def register_lanes(register: RegisterLane) -> None:
    """The gemini lane."""
    register("gemini", Gemini, GeminiOptions)
