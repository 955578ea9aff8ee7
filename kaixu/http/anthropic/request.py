"""Anthropic's request → the contract's `ChatRequest`: translated, passed through, or refused by name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kaixu.catalog.catalog import Deployment
from kaixu.http.fields import Fields
from kaixu.plugin.errors import Invalid, Unsupported
from kaixu.plugin.types import ChatRequest, Native, Reasoning, ResponseFormat, Tool, ToolName

from .turns import Turns

PROTOCOL = "anthropic.messages"
MOST_TOKENS = 10_000_000
MOST_TOOLS = 1024
MOST_STOPS = 256
MOST_STOP = 1000
EFFORTS = ("low", "medium", "high", "xhigh", "max")
NOTHING_LIKE_IT = "the vendor of this model has nothing like it"

#: What Anthropic calls the contract's features, for errors.
FEATURES = {
    "stop": "stop_sequences",
    "parallel_tool_calls": "tool_choice.disable_parallel_tool_use",
    "response_format": "output_config.format",
    "images": "messages",
    "tool_result_images": "messages",
}

#: Fields that change nothing about the answer: other vendors are not told, and nothing is lost.
WITHOUT_EFFECT = frozenset({"cache_control", "diagnostics", "stream"})
#: The same of a tool.
WITHOUT_EFFECT_IN_TOOLS = frozenset({"cache_control", "eager_input_streaming"})
#: Fields that ask for nothing when they say this.
ASK_FOR_NOTHING: dict[str, tuple[Any, ...]] = {
    "service_tier": ("auto", "standard_only"),
    "speed": ("standard",),
    "inference_geo": ("global",),
    "mcp_servers": ([],),
    "context_management": ({}, {"edits": []}),
}
#: The same of a tool.
ASK_FOR_NOTHING_IN_TOOLS: dict[str, tuple[Any, ...]] = {
    "defer_loading": (False,),
    "allowed_callers": (["direct"],),
    "input_examples": ([],),
}


def message_request(body: dict[str, Any], deployment: Deployment, *, most_messages: int) -> ChatRequest:
    """The call for a deployment.

    A lane that speaks Anthropic's protocol gets the body as it is. For others every
    field is translated or refused. Raises `Invalid`, `Unprocessable`, `Unsupported`.
    """
    fields = Fields(body)
    fields.taken |= {"model"} | WITHOUT_EFFECT
    lane = deployment.lane
    is_native = deployment.native == PROTOCOL
    reader = Reader(fields, is_native, thinks=lane is not None and "reasoning" in lane.supports)
    max_tokens = max_tokens_of(fields, deployment)
    tools = reader.tools()
    turns = Turns(native=is_native, tools=body.get("tools") or [])
    messages = turns.read(fields, most_messages)
    tool_choice, parallel_tool_calls = reader.tool_choice()
    metadata = fields.inner("metadata")
    request = ChatRequest(
        model=deployment.upstream,
        messages=messages,
        max_tokens=max_tokens,
        temperature=fields.number("temperature", 0, 2),
        top_p=fields.number("top_p", 0, 1),
        top_k=fields.whole("top_k", 0, 2**31 - 1) or None,
        stop=stop_of(fields),
        tools=tools,
        tool_choice=tool_choice,
        parallel_tool_calls=parallel_tool_calls,
        response_format=reader.response_format(),
        reasoning=reader.reasoning(),
        user=None if metadata is None else metadata.text("user_id", most=1000),
        native=Native(PROTOCOL, body) if is_native else None,
    )
    beyond = turns.beyond + reader.beyond + reader.output.rest() + asking(fields, ASK_FOR_NOTHING)
    if beyond and not is_native:
        raise Unsupported(beyond[0], NOTHING_LIKE_IT)
    return request


def features_in(body: Mapping[str, Any]) -> dict[str, str]:
    """See `FEATURES`; reasoning is asked for in two places."""
    thinking = body.get("thinking")
    enabled = isinstance(thinking, dict) and thinking.get("type") == "enabled"
    return FEATURES | {"reasoning": "thinking" if enabled else "output_config.effort"}


def max_tokens_of(fields: Fields, deployment: Deployment) -> int:
    """How many tokens at most; Anthropic wants to be told."""
    wanted = fields.whole("max_tokens", 1, MOST_TOKENS)
    if wanted is None:
        raise Invalid("`max_tokens` is missing", hint="Send `max_tokens` as a number.", field="max_tokens")
    return min(wanted, deployment.max_output_tokens)


def stop_of(fields: Fields) -> tuple[str, ...]:
    """A few texts."""
    texts = fields.items("stop_sequences", most=MOST_STOPS) or []
    for at, text in enumerate(texts):
        if not isinstance(text, str) or not 1 <= len(text) <= MOST_STOP:
            raise fields.wrong(f"stop_sequences[{at}]", f"must be text of 1 to {MOST_STOP} characters")
    return tuple(texts)


def asking(fields: Fields, for_nothing: Mapping[str, tuple[Any, ...]]) -> list[str]:
    """The full names of the fields that were not read and do ask for something."""
    left = {field: value for field, value in fields.value.items() if field not in fields.taken and value is not None}
    return [fields.name(field) for field, value in left.items() if value not in for_nothing.get(field, ())]


class Reader:
    """Reads the fields that are objects. What is new in them is for their own vendor to know.

    `thinks`: the lane can be told how much to think. `beyond`: see `Turns`.
    """

    def __init__(self, fields: Fields, native: bool, *, thinks: bool) -> None:
        self.fields = fields
        self.native = native
        self.thinks = thinks
        self.beyond: list[str] = []
        self.output = fields.inner("output_config") or Fields({}, "output_config")

    def tools(self) -> tuple[Tool, ...]:
        """The functions. Tools of other kinds are the vendor's to understand, or refused."""
        tools = []
        for entry in self.fields.objects("tools", most=MOST_TOOLS) or ():
            kind = entry.text("type", most=100)
            if kind in (None, "custom"):
                tools.append(function_of(entry))
                entry.taken |= WITHOUT_EFFECT_IN_TOOLS
                self.beyond += asking(entry, ASK_FOR_NOTHING_IN_TOOLS)
            elif self.native:
                tools.append(Tool(entry.text("name", most=200) or kind))
            else:
                raise Unsupported(entry.name("type"), "only functions of your own are taken as tools here")
        return tuple(tools)

    def tool_choice(self) -> tuple[Any, bool | None]:
        """A word, or the tool that must be called; and whether several may be called at once."""
        choice = self.fields.inner("tool_choice")
        if choice is None:
            return None, None
        kind = choice.text("type", most=100)
        parallel = False if choice.flag("disable_parallel_tool_use") else None
        name = choice.needed_text("name", most=200) if kind == "tool" else None
        self.beyond += choice.rest()
        match kind:
            case "auto" | "none":
                return kind, parallel
            case "any":
                return "required", parallel
            case "tool":
                return ToolName(name or ""), parallel
            case str() if self.native:
                return None, parallel
        raise choice.wrong("type", "must be auto, any, tool or none")

    def reasoning(self) -> Reasoning | None:
        """How much to think: in tokens, in a word, or (None) as much as the vendor finds right."""
        effort = self.output.text("effort", most=100)
        if effort is not None and effort not in EFFORTS and not self.native:
            raise self.output.wrong("effort", f"must be one of {', '.join(EFFORTS)}")
        budget = None
        thinking = self.fields.inner("thinking")
        if thinking is not None:
            kind = thinking.text("type", most=100)
            thinking.taken.add("display")
            if kind == "enabled":
                budget = thinking.whole("budget_tokens", 1, MOST_TOKENS)
                if budget is None:
                    raise thinking.wrong("budget_tokens", "is missing")
            elif kind == "disabled":
                # A lane that cannot think does not have to be told.
                effort = "none" if self.thinks else effort
            elif kind is None:
                raise thinking.wrong("type", "is missing")
            elif kind != "adaptive":
                self.beyond.append(thinking.name("type"))
            self.beyond += thinking.rest()
        return None if effort is None and budget is None else Reasoning(effort, budget)

    def response_format(self) -> ResponseFormat | None:
        """JSON of a schema, which the answer keeps to; or (None) text. It has an older place, too."""
        wanted = self.output.inner("format") or self.fields.inner("output_format")
        if wanted is None:
            return None
        kind, schema = wanted.text("type", most=100), wanted.plain("schema")
        self.beyond += wanted.rest()
        if kind == "json_schema" and schema is not None:
            return ResponseFormat(schema, strict=True)
        if self.native:
            return None
        raise wanted.wrong("type", "must be json_schema with `schema`")


def function_of(entry: Fields) -> Tool:
    """A tool of the client's own."""
    schema = entry.plain("input_schema")
    if schema is None:
        raise entry.wrong("input_schema", "is missing")
    return Tool(entry.needed_text("name", most=200), entry.text("description"), schema, entry.flag("strict"))
