"""Translate tools and tool choice of a chat request, also in the older format (`functions`, `function_call`)."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from kaixu.api.cache_points import read_cache_point
from kaixu.api.dropped_fields import DroppedFields
from kaixu.api.hosted_tools import HostedTools
from kaixu.catalog.catalog import Deployment
from kaixu.edge.fields import Fields
from kaixu.plugin.errors import Unsupported
from kaixu.plugin.types import Tool, ToolName

from .custom_tools import read_custom_tool

MAX_TOOLS = 1024


class ChatTools:
    """Parses `tools`, `tool_choice` and `parallel_tool_calls`, and the older `functions` and `function_call`.

    `allow`: tools that the vendor runs and the operator allows for the model.
    """

    def __init__(self, fields: Fields, dropped_fields: DroppedFields, *, native: bool, allow: Collection[str]) -> None:
        self.fields = fields
        self.dropped_fields = dropped_fields
        self.native = native
        self.allow = allow
        self.hosted = HostedTools(dropped_fields)
        self.left_out: set[int] = set()
        entries = enumerate(fields.objects("tools", most=MAX_TOOLS) or ())
        self.tools = tuple(tool for at, entry in entries if (tool := self.tool(at, entry)) is not None)
        self.older = self.functions()
        self.tools += self.older
        self.choice = self.tool_choice()

    def tool(self, at: int, entry: Fields) -> Tool | None:
        """One tool; None for one that is not sent to the vendor."""
        kind = entry.text("type", most=100)
        cache = read_cache_point(entry)
        translated: Tool | None = None
        if kind == "custom":
            # Some OpenAI clients send it without nesting, as in the Responses API.
            inner = entry.nested("custom") or entry
            translated = read_custom_tool(inner, cache)
        elif kind == "function" or (kind is None and "function" in entry.value):
            inner = entry.nested("function") or entry
            if inner is entry and "name" not in entry.value:
                raise entry.invalid("function", "is missing")
            translated = read_function(inner, cache or (None if inner is entry else read_cache_point(inner)))
        elif kind is None:
            raise entry.invalid("type", "is missing")
        elif self.native:
            return Tool(kind)  # the vendor's own tool: the gate refuses it unless the operator allows it
        else:
            self.left_out.add(at)
            self.hosted.leave_out(entry.path, kind, None)
            return None
        if not self.native:
            self.dropped_fields.unknown(entry.unread() + ([] if inner is entry else inner.unread()))
        return translated

    def functions(self) -> tuple[Tool, ...]:
        """Functions in the older format."""
        entries = self.fields.objects("functions", most=MAX_TOOLS) or ()
        translated = tuple(read_function(entry, read_cache_point(entry)) for entry in entries)
        if not self.native:
            self.dropped_fields.unknown(name for entry in entries for name in entry.unread())
        return translated

    def tool_choice(self) -> Any:
        """`tool_choice`: a mode, or the function that must be called."""
        value, older = self.fields.get("tool_choice"), self.fields.get("function_call")
        if value is None and older is not None:
            if older in ("auto", "none"):
                return older
            if isinstance(older, dict) and isinstance(older.get("name"), str):
                return ToolName(older["name"])
            raise self.fields.invalid("function_call", "must be auto, none or name a function")
        self.hosted.refuse_choice(value, self.tools)
        if value is None or value in ("auto", "none", "required"):
            return value
        if isinstance(value, dict):
            kind = value.get("type")
            named = value.get(kind) if kind in ("function", "custom") else None
            if isinstance(named, dict) and isinstance(named.get("name"), str):
                return ToolName(named["name"])
            if kind == "allowed_tools" and not self.native:
                return self.allowed(value.get("allowed_tools"))
            if self.native:
                return None
            why = f"a choice of type {str(kind)[:60]} is unknown"
            raise Unsupported("tool_choice", why, hint="Send auto, none, required, or name a function.")
        raise self.fields.invalid("tool_choice", "must be auto, none, required or name a function")

    def allowed(self, choice: Any) -> Any:
        """`allowed_tools`: the other tools are not sent."""
        entries = choice.get("tools") if isinstance(choice, dict) else None
        if not isinstance(entries, list) or choice.get("mode") not in ("auto", "required"):
            raise self.fields.invalid("tool_choice.allowed_tools", "must have a mode, auto or required, and tools")
        objects = [entry for entry in entries if isinstance(entry, dict)]
        inner = [entry.get(str(entry.get("type"))) for entry in objects]
        names = {entry.get("name") for entry in (*objects, *inner) if isinstance(entry, dict)}
        self.tools = tuple(tool for tool in self.tools if tool.name in names)
        return choice["mode"]

    def parallel(self, deployment: Deployment) -> bool | None:
        """Whether parallel calls are allowed; clients of the older format support only one call."""
        parallel = self.fields.flag("parallel_tool_calls")
        lane = deployment.lane
        if parallel is None and self.older and lane is not None and "parallel_tool_calls" in lane.supports:
            return False
        return parallel

    def native_body(self, body: dict[str, Any]) -> dict[str, Any]:
        """The body without the tools that are not sent to the vendor."""
        if not self.left_out:
            return body
        tools = [tool for at, tool in enumerate(body["tools"]) if at not in self.left_out]
        rest = {field: value for field, value in body.items() if field != "tools"}
        if not tools:  # OpenAI accepts neither an empty list nor a choice without tools
            return {
                field: value for field, value in rest.items() if field not in ("tool_choice", "parallel_tool_calls")
            }
        return rest | {"tools": tools}


def read_function(entry: Fields, cache: Any = None) -> Tool:
    """A function."""
    return Tool(
        entry.required_text("name", most=200),
        entry.text("description"),
        entry.raw_object("parameters"),
        entry.flag("strict"),
        cache,
    )
