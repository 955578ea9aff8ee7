"""Translates a chat request into Google's Gemini API."""

from __future__ import annotations

import re
from typing import Any

import msgspec

from kaixu.plugin import (
    ChatRequest,
    Feature,
    ImagePart,
    Part,
    ReasoningPart,
    TextPart,
    ToolCallPart,
    ToolName,
    ToolResultPart,
    Unprocessable,
    Unsupported,
    as_written,
)

SAMPLING: dict[Feature, str] = {"temperature": "temperature", "top_p": "topP", "top_k": "topK", "seed": "seed"}
PENALTIES: dict[Feature, str] = {"presence_penalty": "presencePenalty", "frequency_penalty": "frequencyPenalty"}
OTHERS: tuple[Feature, ...] = ("stop", "response_format", "reasoning", "images", "tool_result_images", "names")
TOOLS: tuple[Feature, ...] = ("tools", "tool_choice", "parallel_tool_calls")
#: What the lane supports.
FEATURES: frozenset[Feature] = frozenset({*SAMPLING, *PENALTIES, *OTHERS, *TOOLS})
#: The version in a model's name. Names without one, such as `gemini-flash-latest`, count as the newest.
VERSION = re.compile(r"gemini-(\d{1,2})(?:\.(\d{1,2}))?(?!\d)")
#: Reasoning effort: in tokens for Gemini 2.5 (the values of Google's OpenAI-compatible API), in words for later models.
BUDGETS = {"minimal": 1024, "low": 1024, "medium": 8192}
LEVELS = {"none": "MINIMAL", "minimal": "MINIMAL", "low": "LOW", "medium": "MEDIUM"}
#: The signature that Google documents for tool calls that have none, such as those of other vendors' models.
UNSIGNED = "skip_thought_signature_validator"
#: Marks reasoning signatures that Google made: Google refuses the signatures of other vendors.
SIGNATURE_PREFIX = "gemini:"
#: URLs that Google reads as videos or as stored files, which have no price here.
NO_IMAGES = re.compile(
    r"https://([^/?#]*@)?([^/?#@]*\.)?(youtube\.com|youtube-nocookie\.com|youtu\.be|generativelanguage\.googleapis\.com)"
    r"\.?(:\d*)?([/?#]|$)",
    re.IGNORECASE,
)
IMAGES = ("png", "webp", "gif", "heic", "heif", "bmp")
Version = tuple[int, int]
Object = dict[str, Any]


def without_none(fields: Object) -> Object:
    """The fields that have a value."""
    return {field: value for field, value in fields.items() if value is not None}


def translate(request: ChatRequest) -> Object:
    """The body of a Gemini request, without fields that are not set. Raises `Unsupported`, `Unprocessable`."""
    if request.several_speak:
        raise Unsupported("names", "this vendor does not support several names for one role")
    found = VERSION.search(request.model)
    version = (int(found[1]), int(found[2] or 0)) if found else (99, 0)
    system = [message for message in request.messages if message.role in ("system", "developer")]
    if not all(type(part) is TextPart for message in system for part in message.parts):
        raise Unsupported("images", "this vendor takes only text in system messages")
    rules = [{"text": message.text} for message in system if message.text]
    tools = [
        without_none({"name": tool.name, "description": tool.description, "parametersJsonSchema": tool.parameters})
        for tool in request.tools
    ]
    body = {
        "contents": Turns(request, version).contents,
        "generationConfig": config_of(request, version),
        "systemInstruction": {"parts": rules} if rules else None,
        "tools": [{"functionDeclarations": tools}] if tools else None,
        "toolConfig": choice_of(request, version),
    }
    return without_none(body)


def choice_of(request: ChatRequest, version: Version) -> Object | None:
    """The tool choice, if there is one. Strict tools need a mode of their own."""
    choice, mode = request.tool_choice, {}
    if isinstance(choice, ToolName):
        mode = {"mode": "ANY", "allowedFunctionNames": [choice.name]}
    elif choice in (None, "auto") and version >= (2, 5) and any(tool.strict for tool in request.tools):
        mode = {"mode": "VALIDATED"}
    elif choice is not None:
        mode = {"mode": "ANY" if choice == "required" else choice.upper()}
    return {"functionCallingConfig": mode} if mode else None


def config_of(request: ChatRequest, version: Version) -> Object:
    """The generation config. Since 3.6 Google accepts `temperature`, `topP` and `topK` but ignores them."""
    form, reasoning = request.response_format, request.reasoning
    for penalty in PENALTIES:
        if getattr(request, penalty) and version >= (2, 5):
            raise Unsupported(penalty, "this model has no penalties")
    if len(request.stop) > 5:
        raise Unsupported("stop", "this vendor takes at most five")
    if form is not None and request.tools and version < (3, 0):
        raise Unsupported("response_format", "this model cannot combine it with tools")
    config = {theirs: getattr(request, field) for field, theirs in (SAMPLING | PENALTIES).items()}
    config |= {"maxOutputTokens": request.max_tokens, "stopSequences": request.stop or None}
    if form is not None:
        config |= {"responseMimeType": "application/json", "responseJsonSchema": form.schema}
    if reasoning is not None:
        config["thinkingConfig"] = thinking_of(request, reasoning.effort, reasoning.budget_tokens, version)
    return without_none(config)


def thinking_of(request: ChatRequest, effort: str | None, budget: int | None, version: Version) -> Object | None:
    """The thinking config; thoughts are included in the response.

    Gemini 2.5 takes token budgets only: an effort becomes at most half of `max_tokens`, clamped to the model's range.
    Later models take levels only. Later models and Gemini 2.5 Pro cannot switch thinking off: "none" is their minimum.
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
    """The messages as alternating user and model turns. Gemini 3 and later require tool calls' ids and signatures."""

    def __init__(self, request: ChatRequest, version: Version) -> None:
        self.is_gemini_3 = version >= (3, 0)
        self.names: dict[str, str] = {}  # of tools, by call id
        self.contents: list[Object] = []
        for message in request.messages:
            role = "model" if message.role == "assistant" else "user"
            for part in () if message.role in ("system", "developer") else message.parts:
                if converted := self.part(part):
                    last: Object = self.contents[-1] if self.contents else {"role": None}
                    # Parts after tool results start a new turn: Gemini 3.5 would read them as its own output.
                    if last["role"] == role and "functionResponse" not in last["parts"][-1].keys() - converted.keys():
                        last["parts"].append(converted)
                    else:
                        self.contents.append({"role": role, "parts": [converted]})
        if not self.contents:
            raise Unprocessable("`messages` has no content to answer", hint="Add a user message.", field="messages")
        if self.contents[-1]["role"] == "model" and version >= (3, 6):
            raise Unsupported("messages", "this model does not continue an assistant message")
        if self.contents[0]["role"] == "model":  # Gemini requires a user turn first
            self.contents.insert(0, {"role": "user", "parts": [{"text": ""}]})
        for content in self.contents if self.is_gemini_3 else ():
            first: Object = next((part for part in content["parts"] if "functionCall" in part), {})
            first.setdefault("thoughtSignature", UNSIGNED)

    def part(self, part: Part) -> Object | None:
        """A part in Google's format; None for empty text and for reasoning without one of Google's signatures."""
        match part:
            case TextPart(text):
                return {"text": text} if text else None
            case ImagePart(url):
                return image_of(url)
            case ToolCallPart(id, name, arguments, token):
                self.names[id] = name
                args = parse_object(arguments.strip() or "{}")
                if args is None:
                    raise Unprocessable(f"the arguments of tool call `{id}` are not a JSON object", field="messages")
                call = without_none({"id": id if self.is_gemini_3 else None, "name": name, "args": args})
                return without_none({"functionCall": call, "thoughtSignature": token or None})
            case ToolResultPart(id, content, is_error):
                if id not in self.names:
                    raise Unprocessable(f"tool result `{id}` has no matching tool call", field="messages")
                # Google resolves a "$ref" to an image of the same result, and refuses any other.
                answer = None if is_error or '"$ref"' in part.text else parse_object(part.text)
                if answer is None:  # Google takes only objects
                    answer = {"error" if is_error else "result": part.text}
                images = [inner.url for inner in content if isinstance(inner, ImagePart)]
                if images and not (self.is_gemini_3 and all(url.startswith("data:") for url in images)):
                    raise Unsupported("tool_result_images", "Gemini 3 and later take them, and as data: URLs only")
                result = {"id": id if self.is_gemini_3 else None, "name": self.names[id], "response": answer}
                return {"functionResponse": without_none(result | {"parts": [image_of(url) for url in images] or None})}
            case ReasoningPart(text, str(token)) if token.startswith(SIGNATURE_PREFIX):
                signature = token.removeprefix(SIGNATURE_PREFIX)
                return without_none({"text": text, "thought": True if text else None, "thoughtSignature": signature})
        return None


def image_of(url: str) -> Object:
    """An image, inline or by URL; without a known file extension it counts as a JPEG."""
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


def parse_object(text: str) -> Object | None:
    """Parse `text` as a JSON object; None if it is not one."""
    try:
        return OBJECT.decode(text)
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        return None


ENCODER = msgspec.json.Encoder()
OBJECT = msgspec.json.Decoder(Object, float_hook=as_written)
