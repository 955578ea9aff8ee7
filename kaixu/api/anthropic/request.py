"""Translate an Anthropic Messages request into a `ChatRequest`.

To add a field of Anthropic's: read it in `parse_message_request`. Messages are parsed in `request_messages.py`.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import msgspec
from msgspec.structs import replace

from kaixu.api.dropped_fields import UNSUPPORTED_BY_VENDOR, DroppedFields
from kaixu.api.hosted_tools import HostedTools
from kaixu.api.request_defaults import remove_defaults
from kaixu.catalog.catalog import Deployment
from kaixu.edge.fields import Fields
from kaixu.plugin.errors import Invalid, Unsupported
from kaixu.plugin.protocols import family_of
from kaixu.plugin.types import ChatRequest, Native, Reasoning, ResponseFormat, Tool, ToolName

from .request_messages import RequestMessagesParser

PROTOCOL = "anthropic.messages"
MAX_TOKENS = 10_000_000
MAX_TOOLS = 1024
MAX_STOPS = 256
MAX_EXAMPLES = 100
ENCODER = msgspec.json.Encoder()
MAX_STOP = 1000
EFFORTS = ("low", "medium", "high", "xhigh", "max")

#: The field of each feature, for errors.
FEATURE_FIELDS = {
    "stop": "stop_sequences",
    "parallel_tool_calls": "tool_choice.disable_parallel_tool_use",
    "response_format": "output_config.format",
    "images": "messages",
    "tool_result_images": "messages",
}

#: Fields that do not change the answer. They are not translated, and not reported as dropped.
IGNORED = frozenset({"cache_control", "diagnostics", "stream"})
#: The same for tools.
IGNORED_IN_TOOLS = frozenset({"cache_control", "eager_input_streaming", "defer_loading"})
#: Values that mean the default, with which a field is accepted.
DEFAULT_VALUES: dict[str, tuple[Any, ...]] = {
    "service_tier": ("auto", "standard_only"),
    "speed": ("standard",),
    "inference_geo": ("global",),
    "mcp_servers": ([],),
}
#: Fields that change the answer or its billing. Lanes of other protocols refuse them.
REFUSED = frozenset(
    {
        "billing_policy",
        "compaction",
        "container",
        "fallback_credit_token",
        "fallbacks",
        "inference_geo",
        "mcp_servers",
        "output_config.task_budget",
        "service_tier",
        "speed",
        "thread",
    }
)
#: Anthropic's client-side tools, which only its models know.
CLIENT_TOOLS = ("bash", "browser_toolset", "computer", "computer_toolset", "memory", "text_editor")
#: `DEFAULT_VALUES` for tools.
DEFAULT_VALUES_IN_TOOLS: dict[str, tuple[Any, ...]] = {
    "allowed_callers": (["direct"],),
}


def parse_message_request(
    body: dict[str, Any], deployment: Deployment, *, most_messages: int, betas: tuple[str, ...] = ()
) -> ChatRequest:
    """Translate the body for a deployment. `betas`: the names in the header `anthropic-beta`.

    A lane of Anthropic's protocol gets the body unchanged, except for betas and tools that it does not allow. For other
    lanes every field is translated, dropped or refused.

    Raises `Invalid`, `Unprocessable`, `Unsupported`.
    """
    lane = deployment.lane
    is_native = deployment.native == PROTOCOL
    dropped_fields = DroppedFields(deployment)
    native: Native | None = None
    if is_native and lane is not None:
        native, left_out = lane.admitted(Native(PROTOCOL, body, betas))
        body = native.body
        for name in left_out:
            dropped_fields.drop(name)
    fields = Fields(body)
    fields.used |= {"model"} | IGNORED
    thinks = lane is not None and "reasoning" in lane.supports
    reader = MessageRequestReader(fields, is_native, HostedTools(dropped_fields), deployment.allow, thinks=thinks)
    max_tokens = read_max_tokens(fields, deployment)
    tools = reader.tools()
    parser = RequestMessagesParser(native=is_native, tools=body.get("tools") or [])
    messages = parser.parse(fields, most_messages)
    tools = (*tools, *(tool for entry in parser.added for tool in reader.tool(entry)))
    tools = tuple(tool for tool in tools if tool.name not in parser.removed)
    tool_choice, parallel_tool_calls = reader.tool_choice(tools)
    metadata = fields.nested("metadata")
    request = ChatRequest(
        model=deployment.upstream,
        messages=messages,
        max_tokens=max_tokens,
        temperature=fields.number("temperature", 0, 2),
        top_p=fields.number("top_p", 0, 1),
        top_k=fields.integer("top_k", 0, 2**31 - 1) or None,
        stop=read_stop(fields),
        tools=tools,
        tool_choice=tool_choice,
        parallel_tool_calls=parallel_tool_calls,
        response_format=reader.response_format(),
        reasoning=reader.reasoning(),
        user=None if metadata is None else metadata.text("user_id", most=1000),
        native=None if native is None else replace(native, body=reader.native_body(body)),
    )
    if not is_native:
        if not keeps_all_context(fields.get("context_management")):
            dropped_fields.drop("context_management")
        for name in parser.dropped:
            dropped_fields.drop(name)
        refuse_or_drop(
            parser.unknown_fields
            + reader.unknown_fields
            + reader.output.unread()
            + unread_fields(fields, DEFAULT_VALUES),
            dropped_fields,
        )
    return remove_defaults(replace(request, dropped=dropped_fields.dropped))


def refuse_or_drop(names: list[str], dropped_fields: DroppedFields) -> None:
    """Refuse unknown fields that change the answer, and drop the others. Raises `Unsupported`."""
    for name in names:
        if name in REFUSED or name.endswith((".citations.enabled", ".caller", ".allowed_callers", "thinking.type")):
            raise Unsupported(name, UNSUPPORTED_BY_VENDOR)
    dropped_fields.unknown(names)


def keeps_all_context(management: Any) -> bool:
    """Whether `context_management` removes nothing from the conversation."""
    edits = management.get("edits") if isinstance(management, dict) else None
    return all(isinstance(edit, dict) and edit.get("keep") == "all" for edit in edits or ())


def feature_fields(body: Mapping[str, Any]) -> dict[str, str]:
    """`FEATURE_FIELDS` for this request: two fields can request reasoning."""
    thinking = body.get("thinking")
    enabled = isinstance(thinking, dict) and thinking.get("type") == "enabled"
    return FEATURE_FIELDS | {"reasoning": "thinking" if enabled else "output_config.effort"}


def read_max_tokens(fields: Fields, deployment: Deployment) -> int:
    """`max_tokens`, which Anthropic requires."""
    max_tokens = fields.integer("max_tokens", 1, MAX_TOKENS)
    if max_tokens is None:
        raise Invalid("`max_tokens` is missing", hint="Send `max_tokens` as a number.", field="max_tokens")
    return min(max_tokens, deployment.max_output_tokens)


def read_stop(fields: Fields) -> tuple[str, ...]:
    """`stop_sequences`: a list of texts."""
    texts = fields.items("stop_sequences", most=MAX_STOPS) or []
    for at, text in enumerate(texts):
        if not isinstance(text, str) or not 1 <= len(text) <= MAX_STOP:
            raise fields.invalid(f"stop_sequences[{at}]", f"must be text of 1 to {MAX_STOP} characters")
    return tuple(texts)


def unread_fields(fields: Fields, default_values: Mapping[str, tuple[Any, ...]]) -> list[str]:
    """The full names of fields that were not read and do not have a default value."""
    unread = {field: value for field, value in fields.value.items() if field not in fields.used and value is not None}
    return [fields.name(field) for field, value in unread.items() if value not in default_values.get(field, ())]


class MessageRequestReader:
    """Reads tools, tool choice, reasoning and the response format. Native lanes get unknown fields unchanged.

    `thinks`: the lane supports reasoning. `unknown_fields`: see `RequestMessagesParser`. `allow`: tools that the
    vendor may run.
    """

    def __init__(
        self, fields: Fields, native: bool, hosted: HostedTools, allow: Collection[str], *, thinks: bool
    ) -> None:
        self.fields = fields
        self.native = native
        self.thinks = thinks
        self.unknown_fields: list[str] = []
        self.hosted = hosted
        self.allow = allow
        self.left_out: set[int] = set()
        self.output = fields.nested("output_config") or Fields({}, "output_config")

    def tools(self) -> tuple[Tool, ...]:
        """All tools that are sent to the vendor."""
        entries = self.fields.objects("tools", most=MAX_TOOLS) or ()
        return tuple(tool for at, entry in enumerate(entries) for tool in self.tool(entry, at))

    def tool(self, entry: Fields, at: int | None = None) -> list[Tool]:
        """One tool: a function of the client, or a tool of the vendor; none if it is dropped."""
        kind, name = entry.text("type", most=100), entry.text("name", most=200)
        if kind in (None, "custom"):
            function = read_function(entry)
            entry.used |= IGNORED_IN_TOOLS
            self.unknown_fields += unread_fields(entry, DEFAULT_VALUES_IN_TOOLS)
            return [function]
        family = family_of(kind)
        if self.native:
            return [Tool(name or kind)]  # the gate refuses tools that the vendor runs, unless the operator allows them
        if family in CLIENT_TOOLS:
            why = f"the vendor of this model has no tool {family}"
            raise Unsupported(entry.name("type"), why, hint="Describe it as a tool of your own, with `input_schema`.")
        self.hosted.leave_out(entry.path, kind, name)
        self.left_out |= {at} if at is not None else set()
        return []

    def native_body(self, body: dict[str, Any]) -> dict[str, Any]:
        """The body without the tools that are not sent to the vendor."""
        if not self.left_out:
            return body
        tools = [tool for at, tool in enumerate(body["tools"]) if at not in self.left_out]
        return body | {"tools": tools}

    def tool_choice(self, tools: tuple[Tool, ...]) -> tuple[Any, bool | None]:
        """`tool_choice`: a mode, or the tool that must be called; and whether parallel calls are allowed."""
        choice = self.fields.nested("tool_choice")
        if choice is None:
            return None, None
        self.hosted.refuse_choice(choice.value, tools)
        kind = choice.text("type", most=100)
        parallel = False if choice.flag("disable_parallel_tool_use") else None
        name = choice.required_text("name", most=200) if kind == "tool" else None
        self.unknown_fields += choice.unread()
        match kind:
            case "auto" | "none":
                return kind, parallel
            case "any":
                return "required", parallel
            case "tool":
                return ToolName(name or ""), parallel
            case str() if self.native:
                return None, parallel
        raise choice.invalid("type", "must be auto, any, tool or none")

    def reasoning(self) -> Reasoning | None:
        """The reasoning budget in tokens or the effort; None for the vendor's default."""
        effort = self.output.text("effort", most=100)
        if effort is not None and effort not in EFFORTS and not self.native:
            raise self.output.invalid("effort", f"must be one of {', '.join(EFFORTS)}")
        budget = None
        thinking = self.fields.nested("thinking")
        if thinking is not None:
            kind = thinking.text("type", most=100)
            thinking.used.add("display")
            if kind == "enabled":
                budget = thinking.integer("budget_tokens", 1, MAX_TOKENS)
                if budget is None:
                    raise thinking.invalid("budget_tokens", "is missing")
            elif kind == "disabled":
                # For a lane without reasoning there is nothing to disable.
                effort = "none" if self.thinks else effort
            elif kind is None:
                raise thinking.invalid("type", "is missing")
            elif kind != "adaptive":
                self.unknown_fields.append(thinking.name("type"))
            self.unknown_fields += thinking.unread()
        return None if effort is None and budget is None else Reasoning(effort, budget)

    def response_format(self) -> ResponseFormat | None:
        """JSON by a schema; None for text. `output_format` is an older name."""
        output_format = self.output.nested("format") or self.fields.nested("output_format")
        if output_format is None:
            return None
        kind, schema = output_format.text("type", most=100), output_format.raw_object("schema")
        self.unknown_fields += output_format.unread()
        if kind == "json_schema" and schema is not None:
            return ResponseFormat(schema, strict=True)
        if self.native:
            return None
        raise output_format.invalid("type", "must be json_schema with `schema`")


def read_function(entry: Fields) -> Tool:
    """A function of the client."""
    schema = entry.raw_object("input_schema")
    if schema is None:
        raise entry.invalid("input_schema", "is missing")
    description, examples = entry.text("description"), entry.items("input_examples", most=MAX_EXAMPLES)
    if examples:
        examples_text = "\n".join(ENCODER.encode(example).decode() for example in examples)
        description = f"{description or ''}\n\nExamples of its input:\n{examples_text}".strip()
    return Tool(entry.required_text("name", most=200), description, schema, entry.flag("strict"))
