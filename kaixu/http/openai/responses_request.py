"""OpenAI's Responses request → the contract's `ChatRequest`. Stateless: nothing is kept, so nothing is referred to."""

from __future__ import annotations

from typing import Any

from kaixu.catalog.catalog import Deployment
from kaixu.http.fields import Fields
from kaixu.plugin.errors import Invalid, Unsupported
from kaixu.plugin.types import (
    ChatRequest,
    ImagePart,
    Message,
    Part,
    Reasoning,
    ReasoningPart,
    ResponseFormat,
    Role,
    TextPart,
    Tool,
    ToolCallPart,
    ToolName,
    ToolResultPart,
)

from .chat_request import EFFORTS, MOST_TOKENS, MOST_TOOLS
from .turns import MOST_IMAGE_TEXT, MOST_PARTS, ROLES, signature_of

#: What the Responses API calls the contract's features, for errors.
FEATURES = {
    "reasoning": "reasoning",
    "images": "input",
    "tool_result_images": "input",
    "response_format": "text.format",
}

#: Fields that change nothing about the answer.
WITHOUT_EFFECT = frozenset(
    {
        "metadata",
        "prompt_cache_key",
        "prompt_cache_retention",
        "prompt_cache_options",
        "stream",
        "stream_options",
        "model",
    }
)
#: Fields that ask for nothing when they say this.
ASK_FOR_NOTHING: dict[str, tuple[Any, ...]] = {
    "background": (False,),
    "service_tier": ("auto", "default"),
    "truncation": ("disabled",),
    "top_logprobs": (0,),
    "include": ([], ["reasoning.encrypted_content"]),
}


def responses_request(body: dict[str, Any], deployment: Deployment, *, most_messages: int) -> ChatRequest:
    """The call for a deployment. Raises `Invalid`, `Unprocessable`, `Unsupported`, naming the field."""
    fields = Fields(body)
    fields.taken |= WITHOUT_EFFECT
    if fields.flag("store"):
        raise Unsupported("store", "this gateway keeps no responses; send `store: false`")
    for kept in ("previous_response_id", "conversation", "prompt"):
        if body.get(kept) is not None:
            raise Unsupported(kept, "this gateway keeps nothing that it could refer to; send the whole `input`")
    messages = Input(fields, most_messages).messages()
    wanted, verbosity = text_of(fields)
    request = ChatRequest(
        model=deployment.upstream,
        messages=messages,
        max_tokens=min(
            fields.whole("max_output_tokens", 1, MOST_TOKENS) or deployment.default_output_tokens,
            deployment.max_output_tokens,
        ),
        temperature=fields.number("temperature", 0, 2),
        top_p=fields.number("top_p", 0, 1),
        tools=tools_of(fields),
        tool_choice=tool_choice_of(fields),
        parallel_tool_calls=fields.flag("parallel_tool_calls"),
        response_format=wanted,
        reasoning=reasoning_of(fields),
        user=fields.text("safety_identifier", most=500) or fields.text("user", most=500),
    )
    fields.taken.add("user")
    beyond = verbosity + [name for name in fields.rest() if body[name] not in ASK_FOR_NOTHING.get(name, ())]
    if beyond:
        raise Unsupported(beyond[0], "this door has nothing like it")
    return request


class Input:
    """Reads `instructions` and `input`: items that belong to one turn of the assistant become one message."""

    def __init__(self, fields: Fields, most: int) -> None:
        self.fields = fields
        self.most = most
        self.turns: list[tuple[Role, list[Part]]] = []

    def messages(self) -> tuple[Message, ...]:
        """The conversation. Raises `Invalid` where there is none."""
        instructions = self.fields.text("instructions", most=MOST_IMAGE_TEXT)
        if instructions:
            self.turns.append(("system", [TextPart(instructions)]))
        given = self.fields.take("input")
        if isinstance(given, str):
            if given:
                self.turns.append(("user", [TextPart(given)]))
        else:
            for item in self.fields.objects("input", most=self.most) or ():
                self.item(item)
        if not any(role not in ("system", "developer") for role, _ in self.turns):
            raise Invalid("`input` is missing", hint="Send `input` as text or as a list of items.", field="input")
        return tuple(Message(role, tuple(parts) or (TextPart(""),)) for role, parts in self.turns)

    def item(self, item: Fields) -> None:
        """One item."""
        kind = item.text("type", most=100) or "message"
        match kind:
            case "message":
                role = ROLES.get(item.text("role", most=40) or "")
                if role is None or role == "tool":
                    raise item.wrong("role", "must be user, assistant, system or developer")
                self.add(role, contents(item, "content"))
            case "function_call":
                call = ToolCallPart(
                    item.needed_text("call_id", most=1000),
                    item.needed_text("name", most=200),
                    item.text("arguments", most=MOST_IMAGE_TEXT) or "",
                    signature_of(item.plain("extra_content")),
                )
                self.add("assistant", [call])
            case "function_call_output":
                parts = contents(item, "output")
                shown = tuple(part for part in parts if isinstance(part, TextPart | ImagePart))
                self.add("tool", [ToolResultPart(item.needed_text("call_id", most=1000), shown)])
            case "reasoning":
                self.add("assistant", reasoning_parts(item))
            case _:
                raise Unsupported(item.name("type"), f"items of type {kind} are not taken here")
        item.taken |= {"id", "status", "phase", "content", "annotations"}
        if beyond := item.rest():
            raise Unsupported(beyond[0], "this door has nothing like it")

    def add(self, role: Role, parts: list[Part]) -> None:
        """Add to the conversation; what the assistant says in a row is one message."""
        if role == "assistant" and self.turns and self.turns[-1][0] == "assistant":
            self.turns[-1][1].extend(parts)
        else:
            self.turns.append((role, parts))


def contents(item: Fields, field: str) -> list[Part]:
    """Text, or a list of parts."""
    value = item.take(field)
    if isinstance(value, str):
        return [TextPart(value)] if value else []
    parts: list[Part] = []
    for part in item.objects(field, most=MOST_PARTS) or ():
        kind = part.text("type", most=100)
        if kind in ("input_text", "output_text", "text"):
            if text := part.text("text", most=MOST_IMAGE_TEXT):
                parts.append(TextPart(text))
        elif kind == "refusal":
            if text := part.text("refusal", most=MOST_IMAGE_TEXT):
                parts.append(TextPart(text))
        elif kind == "input_image":
            url = part.text("image_url", most=MOST_IMAGE_TEXT)
            if url is None or not url.startswith(("data:image/", "https://")):
                raise part.wrong("image_url", "must begin with data:image/ or https://")
            detail = part.one_of("detail", ("low", "high", "auto", "original"))
            parts.append(ImagePart(url, None if detail in ("auto", "original") else detail))
        else:
            raise Unsupported(part.name("type"), f"this gateway has no price for {kind} parts")
        part.taken |= {"annotations", "logprobs"}
        if beyond := part.rest():
            raise Unsupported(beyond[0], "this door has nothing like it")
    return parts


def reasoning_parts(item: Fields) -> list[Part]:
    """What the assistant thought, and the token that its vendor wants back."""
    summary = item.objects("summary", most=MOST_PARTS) or []
    text = "".join(part.text("text", most=MOST_IMAGE_TEXT) or "" for part in summary)
    opaque = item.text("encrypted_content", most=MOST_IMAGE_TEXT)
    return [ReasoningPart(text, opaque)] if text or opaque else []


def tools_of(fields: Fields) -> tuple[Tool, ...]:
    """The functions; what a vendor runs itself has no price here."""
    tools = []
    for entry in fields.objects("tools", most=MOST_TOOLS) or ():
        kind = entry.text("type", most=100)
        if kind != "function":
            raise Unsupported(entry.name("type"), "only functions are taken as tools here")
        tools.append(
            Tool(
                entry.needed_text("name", most=200),
                entry.text("description"),
                entry.plain("parameters"),
                entry.flag("strict"),
            )
        )
        if beyond := entry.rest():
            raise Unsupported(beyond[0], "this door has nothing like it")
    return tuple(tools)


def tool_choice_of(fields: Fields) -> Any:
    """A word, or the function that must be called."""
    value = fields.take("tool_choice")
    if value is None or value in ("auto", "none", "required"):
        return value
    if isinstance(value, dict) and value.get("type") == "function" and isinstance(value.get("name"), str):
        return ToolName(value["name"])
    raise Unsupported("tool_choice", "it must be auto, none, required or name a function")


def text_of(fields: Fields) -> tuple[ResponseFormat | None, list[str]]:
    """`text.format`, and what else was said under `text`."""
    text = fields.inner("text")
    if text is None:
        return None, []
    wanted = text.inner("format")
    made: ResponseFormat | None = None
    if wanted is not None:
        kind = wanted.one_of("type", ("text", "json_object", "json_schema"))
        if kind == "json_object":
            made = ResponseFormat()
        elif kind == "json_schema":
            made = ResponseFormat(
                wanted.plain("schema") or {},
                wanted.text("name", most=200) or "answer",
                wanted.text("description"),
                wanted.flag("strict"),
            )
    return made, text.rest()


def reasoning_of(fields: Fields) -> Reasoning | None:
    """How much to think. A summary is always shown where the vendor gives one."""
    wanted = fields.inner("reasoning")
    if wanted is None:
        return None
    effort = wanted.one_of("effort", EFFORTS)
    wanted.taken |= {"summary", "generate_summary"}
    if beyond := wanted.rest():
        raise Unsupported(beyond[0], "this door has nothing like it")
    return None if effort is None else Reasoning(effort)
