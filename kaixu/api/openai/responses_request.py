"""Translate an OpenAI Responses request into a `ChatRequest`. Nothing is stored, so references are refused."""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec.structs import replace

from kaixu.api.cache_points import read_cache_point
from kaixu.api.dropped_fields import UNSUPPORTED_BY_VENDOR, DroppedFields
from kaixu.api.request_defaults import remove_defaults
from kaixu.catalog.catalog import Deployment
from kaixu.edge.fields import Fields
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
    ToolCallPart,
    ToolResultPart,
)

from .chat_messages import MAX_IMAGE_TEXT, MAX_PARTS, ROLES, is_image_url, read_thought_signature
from .chat_request import EFFORTS
from .custom_tools import encode_input
from .response_tools import SEARCH, ResponseTools, flat_name
from .text_chat import MAX_TOKENS

#: The field of each feature, for errors.
FEATURE_FIELDS = {
    "reasoning": "reasoning",
    "images": "input",
    "tool_result_images": "input",
    "response_format": "text.format",
}

#: Fields that do not change the answer. `store` is accepted although nothing is stored, because references to stored
#: responses are refused.
IGNORED = frozenset(
    {
        "background_options",
        "client_metadata",
        "metadata",
        "model",
        "prompt_cache_key",
        "prompt_cache_options",
        "prompt_cache_retention",
        "store",
        "stream",
        "stream_options",
        "truncation",
    }
)
#: Fields that are dropped and reported: limits of the vendor's own tools, and context management.
DISPENSABLE = frozenset({"context_management", "max_tool_calls"})
#: Fields that change the answer, so they are refused, except with these values, which mean the default.
REFUSED: dict[str, tuple[Any, ...]] = {
    "access_programs": ([], {}),
    "background": (False,),
    "image": (),
    "moderation": (),
    "service_tier": ("auto", "default", "flex"),
    "top_logprobs": (0,),
}
#: What is refused in `include`.
LOGPROBS = "message.output_text.logprobs"
#: Items about tools that a vendor ran in an earlier turn, or that only that vendor can read.
VENDOR_ITEMS = frozenset(
    {
        "apply_patch_call",
        "apply_patch_call_output",
        "code_interpreter_call",
        "computer_call",
        "computer_call_output",
        "file_search_call",
        "image_generation_call",
        "local_shell_call",
        "local_shell_call_output",
        "mcp_approval_request",
        "mcp_approval_response",
        "mcp_call",
        "mcp_list_tools",
        "shell_call",
        "shell_call_output",
        "web_search_call",
    }
)
#: Prefixes of the ids of reasoning items, ours and OpenAI's. References to them can be dropped.
REASONING_IDS = ("re_", "rs_")
ENCODER = msgspec.json.Encoder()


def parse_responses_request(body: dict[str, Any], deployment: Deployment, *, most_messages: int) -> ChatRequest:
    """Translate the body for a deployment. Raises `Invalid`, `Unprocessable`, `Unsupported`, naming the field."""
    dropped_fields = DroppedFields(deployment)
    fields = Fields(body)
    fields.used |= IGNORED
    for field in ("previous_response_id", "conversation", "prompt"):
        if body.get(field) is not None:
            why = "this gateway stores no responses, prompts or conversations"
            raise Unsupported(field, why, hint=f"Remove `{field}` and send the whole conversation as `input`.")
    tools = ResponseTools(fields, dropped_fields)
    messages = ResponsesInputParser(fields, most_messages, tools, dropped_fields).messages()
    choice = tools.choice()
    response_format, verbosity = read_text_options(fields, dropped_fields)
    request = ChatRequest(
        model=deployment.upstream,
        messages=messages,
        max_tokens=min(
            fields.integer("max_output_tokens", 1, MAX_TOKENS) or deployment.default_output_tokens,
            deployment.max_output_tokens,
        ),
        temperature=fields.number("temperature", 0, 2),
        top_p=fields.number("top_p", 0, 1),
        tools=tools.tools,
        tool_choice=choice,
        parallel_tool_calls=fields.flag("parallel_tool_calls"),
        response_format=response_format,
        reasoning=read_reasoning(fields, dropped_fields),
        verbosity=verbosity,
        user=fields.text("safety_identifier", most=500) or fields.text("user", most=500),
    )
    fields.used.add("user")
    included = fields.get("include")
    if isinstance(included, list) and LOGPROBS in included:
        raise Unsupported("include", f"this gateway has no {LOGPROBS}", hint=f"Remove {LOGPROBS} from `include`.")
    for field in [name for name in fields.unread() if name in REFUSED]:
        fields.used.add(field)
        if body[field] not in REFUSED[field]:
            raise Unsupported(field, UNSUPPORTED_BY_VENDOR)
    for field in [name for name in fields.unread() if name in DISPENSABLE]:
        fields.used.add(field)
        dropped_fields.drop(field)
    dropped_fields.unknown(fields.unread())
    return remove_defaults(replace(request, dropped=dropped_fields.dropped))


class ResponsesInputParser:
    """Parses `instructions` and `input`: consecutive items of the assistant become one message."""

    def __init__(self, fields: Fields, most: int, tools: ResponseTools, dropped_fields: DroppedFields) -> None:
        self.fields = fields
        self.most = most
        self.tools = tools
        self.dropped_fields = dropped_fields
        self.turns: list[tuple[Role, list[Part]]] = []
        self.ids: set[str] = set()  # of the items in the input that are not references

    def messages(self) -> tuple[Message, ...]:
        """The messages. Raises `Invalid` if there are none."""
        instructions = self.fields.text("instructions", most=MAX_IMAGE_TEXT)
        if instructions:
            self.turns.append(("system", [TextPart(instructions)]))
        value = self.fields.get("input")
        if isinstance(value, str):
            if value:
                self.turns.append(("user", [TextPart(value)]))
        else:
            items = self.fields.objects("input", most=self.most) or []
            self.ids = {str(item.value.get("id")) for item in items if item_type(item) != "item_reference"}
            for item in items:
                self.item(item)
        if not any(role not in ("system", "developer") for role, _ in self.turns):
            raise Invalid("`input` is missing", hint="Send `input` as text or as a list of items.", field="input")
        return tuple(Message(role, tuple(parts) or (TextPart(""),)) for role, parts in self.turns)

    def item(self, item: Fields) -> None:
        """One item."""
        match item_type(item):
            case "message":
                role = ROLES.get(item.text("role", most=40) or "")
                if role is None or role == "tool":
                    raise item.invalid("role", "must be user, assistant, system or developer")
                self.add(role, self.contents(item, "content"))
            case "function_call" | "custom_tool_call" | "tool_search_call" as kind:
                self.add("assistant", [self.call(item, kind)])
            case "function_call_output" | "custom_tool_call_output":
                parts = self.contents(item, "output")
                shown = tuple(part for part in parts if isinstance(part, TextPart | ImagePart))
                item.used |= {"name", "namespace"}
                self.add("tool", [ToolResultPart(item.required_text("call_id", most=1000), shown)])
            case "tool_search_output":
                self.tools.add(item)
                names = [entry.get("name") for entry in item.value.get("tools") or () if isinstance(entry, dict)]
                text = f"These tools can be called now: {', '.join(str(name) for name in names) or 'none'}."
                item.used.add("execution")
                self.add("tool", [ToolResultPart(item.required_text("call_id", most=1000), (TextPart(text),))])
            case "additional_tools":
                item.used.add("role")
                self.tools.add(item)
            case "reasoning":
                self.add("assistant", read_reasoning_item(item))
            case "item_reference":
                self.reference(item)
            case kind if kind in VENDOR_ITEMS:
                self.dropped_fields.drop(f"input[].{kind}")
                return
            case kind:
                why = f"items of type {kind[:60]} are not supported"
                raise Unsupported(item.name("type"), why, hint="Remove this item, or choose another model.")
        item.used |= {"id", "status", "phase", "content", "annotations", "internal_chat_message_metadata_passthrough"}
        self.dropped_fields.unknown(item.unread())

    def call(self, item: Fields, kind: str) -> ToolCallPart:
        """A tool call of the assistant, with the flat name for the vendor."""
        if kind == "tool_search_call":
            name, arguments = SEARCH, ENCODER.encode(item.raw_object("arguments") or {}).decode()
            item.used.add("execution")
        else:
            name = flat_name(item.text("namespace", most=200), item.required_text("name", most=200))
            if kind == "custom_tool_call":
                arguments = encode_input(item.text("input", most=MAX_IMAGE_TEXT) or "")
            else:
                arguments = item.text("arguments", most=MAX_IMAGE_TEXT) or ""
        signature = read_thought_signature(item.raw_object("extra_content"))
        return ToolCallPart(item.required_text("call_id", most=1000), name, arguments, signature)

    def reference(self, item: Fields) -> None:
        """A reference to an item: accepted if that item is in the input, dropped if it was reasoning."""
        id = item.required_text("id", most=1000)
        if id in self.ids:
            return
        if id.startswith(REASONING_IDS):
            self.dropped_fields.drop("input[].item_reference")
            return
        raise Unsupported(
            item.name("id"),
            "it refers to an item that is not in `input`, and this gateway stores none",
            hint="Send the item itself. SDKs do so with `store: false`.",
        )

    def add(self, role: Role, parts: list[Part]) -> None:
        """Add to the messages; consecutive parts of the assistant are one message."""
        if role == "assistant" and self.turns and self.turns[-1][0] == "assistant":
            self.turns[-1][1].extend(parts)
        else:
            self.turns.append((role, parts))

    def contents(self, item: Fields, field: str) -> list[Part]:
        """Text, or a list of parts."""
        value = item.get(field)
        if isinstance(value, str):
            return [TextPart(value)] if value else []
        parts: list[Part] = []
        for part in item.objects(field, most=MAX_PARTS) or ():
            kind = part.text("type", most=100)
            cache = read_cache_point(part)
            if kind in ("input_text", "output_text", "text"):
                if text := part.text("text", most=MAX_IMAGE_TEXT):
                    parts.append(TextPart(text, cache))
            elif kind == "refusal":
                if text := part.text("refusal", most=MAX_IMAGE_TEXT):
                    parts.append(TextPart(text))
            elif kind == "input_image":
                url = part.text("image_url", most=MAX_IMAGE_TEXT)
                if url is None or not is_image_url(url):
                    raise part.invalid("image_url", "must begin with https://, or data:image/… with ;base64,")
                detail = part.one_of("detail", ("low", "high", "auto", "original"))
                parts.append(ImagePart(url, None if detail in ("auto", "original") else detail, cache))
            elif kind == "encrypted_content":  # only its own vendor can read it
                self.dropped_fields.drop(part.name("encrypted_content"))
                continue
            else:
                why = f"this gateway has no price for {(kind or 'such')[:60]} parts"
                raise Unsupported(part.name("type"), why, hint="Remove this part.")
            part.used |= {"annotations", "logprobs"}
            self.dropped_fields.unknown(part.unread())
        return parts


def item_type(item: Fields) -> str:
    """An item's type. Without `type` it is a message, or, with an id and no role, a reference."""
    kind = item.text("type", most=100)
    if kind is None:
        return "item_reference" if "id" in item.value and "role" not in item.value else "message"
    return kind


def read_reasoning_item(item: Fields) -> list[Part]:
    """Earlier reasoning, and the vendor's token."""
    summary = item.objects("summary", most=MAX_PARTS) or []
    text = "".join(part.text("text", most=MAX_IMAGE_TEXT) or "" for part in summary)
    opaque = item.text("encrypted_content", most=MAX_IMAGE_TEXT)
    return [ReasoningPart(text, opaque)] if text or opaque else []


def read_text_options(fields: Fields, dropped_fields: DroppedFields) -> tuple[ResponseFormat | None, str | None]:
    """`text.format` and `text.verbosity`."""
    text = fields.nested("text")
    if text is None:
        return None, None
    text_format = text.nested("format")
    response_format: ResponseFormat | None = None
    if text_format is not None:
        kind = text_format.one_of("type", ("text", "json_object", "json_schema"))
        if kind == "json_object":
            response_format = ResponseFormat()
        elif kind == "json_schema":
            response_format = ResponseFormat(
                text_format.raw_object("schema") or {},
                text_format.text("name", most=200) or "answer",
                text_format.text("description"),
                text_format.flag("strict"),
            )
    verbosity = text.text("verbosity", most=40)
    dropped_fields.unknown(text.unread())
    return response_format, verbosity


def read_reasoning(fields: Fields, dropped_fields: DroppedFields) -> Reasoning | None:
    """`reasoning.effort`. Summaries are always returned if the vendor sends them."""
    reasoning = fields.nested("reasoning")
    if reasoning is None:
        return None
    effort = reasoning.one_of("effort", EFFORTS)
    reasoning.used |= {"summary", "generate_summary"}
    dropped_fields.unknown(reasoning.unread())
    return None if effort is None else Reasoning(effort)
