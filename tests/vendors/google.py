"""Google's request → the contract's, as its documentation tells it: there is no door of this protocol to read it with."""

from __future__ import annotations

from typing import Any

from kaixu.plugin.types import (
    ChatRequest,
    ImagePart,
    Message,
    Part,
    Reasoning,
    ReasoningPart,
    ResponseFormat,
    TextPart,
    Tool,
    ToolCallPart,
    ToolName,
    ToolResultPart,
)

from .canonical import ENCODER

CHOICES: dict[str, Any] = {"AUTO": "auto", "NONE": "none", "ANY": "required"}
#: What stands where a call has no signature.
UNSIGNED = "skip_thought_signature_validator"


def as_google(model: str, body: dict[str, Any]) -> ChatRequest:
    """What `generateContent` is asked. Every field must be one that is known here."""
    config = dict(body.pop("generationConfig"))
    rules = [
        Message("system", (TextPart(part["text"]),)) for part in body.pop("systemInstruction", {}).get("parts", ())
    ]
    turns = [
        Message("assistant" if content["role"] == "model" else "user", tuple(map(part_of, content["parts"])))
        for content in body.pop("contents")
    ]
    schema, kind = config.pop("responseJsonSchema", None), config.pop("responseMimeType", None)
    assert kind == (None if schema is None else "application/json")
    [functions] = body.pop("tools", [{"functionDeclarations": []}])
    request = ChatRequest(
        model=model,
        messages=(*rules, *turns),
        max_tokens=config.pop("maxOutputTokens"),
        temperature=config.pop("temperature", None),
        top_p=config.pop("topP", None),
        top_k=config.pop("topK", None),
        seed=config.pop("seed", None),
        stop=tuple(config.pop("stopSequences", ())),
        tools=tuple(
            Tool(function["name"], function.get("description"), function.get("parametersJsonSchema"))
            for function in functions["functionDeclarations"]
        ),
        tool_choice=choice_of(body.pop("toolConfig", {}).get("functionCallingConfig")),
        response_format=None if schema is None else ResponseFormat(schema),
        reasoning=thinking_of(config.pop("thinkingConfig", None)),
    )
    assert (body, config) == ({}, {})
    return request


def choice_of(config: dict[str, Any] | None) -> Any:
    """The tool choice."""
    if config is None:
        return None
    names = config.get("allowedFunctionNames")
    return CHOICES[config["mode"]] if names is None else ToolName(*names)


def thinking_of(config: dict[str, Any] | None) -> Reasoning | None:
    """How much to think."""
    if config is None:
        return None
    assert config["includeThoughts"] is True
    return Reasoning(config["thinkingLevel"].lower())


def part_of(part: dict[str, Any]) -> Part:
    """One part."""
    token = part.get("thoughtSignature")
    match part:
        case {"functionCall": {"id": id, "name": name, "args": args}}:
            return ToolCallPart(id, name, ENCODER.encode(args).decode(), None if token == UNSIGNED else token)
        case {"functionResponse": {"id": id, "name": str(), "response": response} as answer}:
            [(key, text)] = response.items()
            shown = [TextPart(text)] if text else []
            images = [image_of(inner) for inner in answer.get("parts", ())]
            return ToolResultPart(id, (*shown, *images), is_error=key == "error")
        case {"text": text} if token is not None:
            assert part.get("thought", False) is bool(text)
            return ReasoningPart(text, f"gemini:{token}")
        case {"text": text}:
            return TextPart(text)
    return image_of(part)


def image_of(part: dict[str, Any]) -> ImagePart:
    """An image, or where it is."""
    match part:
        case {"inlineData": {"mimeType": kind, "data": data}}:
            return ImagePart(f"data:{kind};base64,{data}")
        case {"fileData": {"mimeType": "image/jpeg", "fileUri": url}}:
            return ImagePart(url)
    raise AssertionError(part)
