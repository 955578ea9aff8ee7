"""Translate the tools of a Responses request to a flat list of functions, and their calls back."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from hashlib import sha256
from typing import Any

from kaixu.api.cache_points import read_cache_point
from kaixu.api.dropped_fields import DroppedFields
from kaixu.api.hosted_tools import HostedTools
from kaixu.edge.fields import Fields
from kaixu.plugin.errors import Unsupported
from kaixu.plugin.types import Tool, ToolName

from .custom_tools import read_custom_tool

MAX_TOOLS = 1024
#: The limits of OpenAI, Anthropic and Google for function names: length and characters.
MAX_NAME = 64
NOT_IN_NAMES = re.compile(r"[^A-Za-z0-9_-]")
#: Fields of a function that do not change how it is called.
IGNORED = frozenset({"defer_loading", "allowed_callers", "output_schema"})
#: The tool that searches for more tools, if the client runs it.
SEARCH = "tool_search"


def flat_name(namespace: str | None, name: str) -> str:
    """The name of a namespaced function for vendors without namespaces."""
    if namespace is None:
        return name
    whole = NOT_IN_NAMES.sub("_", f"{namespace}{'' if namespace.endswith('__') else '__'}{name}")
    if len(whole) <= MAX_NAME:
        return whole
    return f"{whole[: MAX_NAME - 9]}_{sha256(whole.encode()).hexdigest()[:8]}"


class ResponseTools:
    """Parses `tools` of the request and of items of its input. The first of two tools with the same name counts."""

    def __init__(self, fields: Fields, dropped_fields: DroppedFields) -> None:
        self.fields = fields
        self.dropped_fields = dropped_fields
        self.hosted = HostedTools(dropped_fields)
        self.by_name: dict[str, Tool] = {}
        self.add(fields)

    @property
    def tools(self) -> tuple[Tool, ...]:
        """All tools."""
        return tuple(self.by_name.values())

    def add(self, holder: Fields, namespace: str | None = None) -> None:
        """The field `tools` of the request, of a namespace, or of an item."""
        for entry in holder.objects("tools", most=MAX_TOOLS) or ():
            kind = entry.text("type", most=100) or "function"
            if kind == "namespace" and namespace is None:
                entry.used.add("description")
                self.add(entry, entry.required_text("name", most=200))
            elif kind == "function":
                self.add_tool(read_function(entry, namespace))
            elif kind == "custom":
                custom = read_custom_tool(entry, read_cache_point(entry))
                entry.used |= IGNORED
                self.add_tool(rename_tool(custom, flat_name(namespace, custom.name)))
            elif kind == SEARCH and entry.value.get("execution") == "client":
                entry.used.add("execution")
                self.add_tool(Tool(SEARCH, entry.text("description"), entry.raw_object("parameters")))
            else:
                label = entry.value.get("server_label") or entry.value.get("name")
                self.hosted.leave_out(entry.path, kind, label if isinstance(label, str) else None)
                continue
            self.dropped_fields.unknown(entry.unread())
        if len(self.by_name) > MAX_TOOLS:
            raise holder.invalid("tools", f"has more than {MAX_TOOLS} tools")

    def add_tool(self, tool: Tool) -> None:
        """Add a tool, unless one with its name exists."""
        self.by_name.setdefault(tool.name, tool)

    def choice(self) -> Any:
        """`tool_choice`: a mode, or the tool that must be called; it may reduce the tools. Raises `Unsupported`."""
        value = self.fields.get("tool_choice")
        self.hosted.refuse_choice(value, self.by_name)
        if value is None or value in ("auto", "none", "required"):
            return value
        named = isinstance(value, dict) and isinstance(value.get("name"), str)
        if named and value.get("type") in ("function", "custom"):
            return ToolName(read_choice_name(value))
        if isinstance(value, dict) and value.get("type") == "allowed_tools" and isinstance(value.get("tools"), list):
            names = {read_choice_name(entry) for entry in value["tools"] if isinstance(entry, dict)}
            self.by_name = {name: tool for name, tool in self.by_name.items() if name in names}
            return value.get("mode") if value.get("mode") in ("auto", "required") else "auto"
        kind = value.get("type") if isinstance(value, dict) else value
        why = f"a choice of {str(kind)[:60]} is unknown"
        raise Unsupported("tool_choice", why, hint="Send auto, none, required, or name a function.")


def read_choice_name(choice: dict[str, Any]) -> str:
    """The flat name of the tool that a choice names."""
    namespace = choice.get("namespace")
    return flat_name(namespace if isinstance(namespace, str) else None, str(choice.get("name")))


def rename_tool(tool: Tool, name: str) -> Tool:
    """The same tool under another name."""
    return Tool(name, tool.description, tool.parameters, tool.strict, tool.cache)


def read_function(entry: Fields, namespace: str | None) -> Tool:
    """A function."""
    entry.used |= IGNORED
    return Tool(
        flat_name(namespace, entry.required_text("name", most=200)),
        entry.text("description"),
        entry.raw_object("parameters"),
        entry.flag("strict"),
        read_cache_point(entry),
    )


class ClientToolNames:
    """Maps flat names back to the client's names. `body`: a parsed request."""

    def __init__(self, body: dict[str, Any]) -> None:
        self.custom: set[str] = set()
        self.namespaces: dict[str, tuple[str, str]] = {}
        self.searches = False
        given = body.get("input")
        holders = [body, *(given if isinstance(given, list) else ())]
        for entry, namespace in (pair for holder in holders for pair in tool_entries(holder, None)):
            name = str(entry.get("name"))
            flat = flat_name(namespace, name)
            if namespace is not None:
                self.namespaces[flat] = namespace, name
            if entry.get("type") == "custom":
                self.custom.add(flat)
            self.searches = self.searches or (entry.get("type") == SEARCH and entry.get("execution") == "client")

    def kind_of(self, name: str) -> str:
        """The type of item for a call of this tool."""
        if name in self.custom:
            return "custom_tool_call"
        return "tool_search_call" if name == SEARCH and self.searches else "function_call"

    def name_of(self, name: str) -> dict[str, str]:
        """Its name, and its namespace if it has one."""
        if name not in self.namespaces:
            return {"name": name}
        namespace, inner = self.namespaces[name]
        return {"name": inner, "namespace": namespace}


def tool_entries(holder: object, namespace: str | None) -> Iterator[tuple[dict[str, Any], str | None]]:
    """The tools of a request or an item, and those inside its namespaces."""
    tools: Iterable[object] = holder.get("tools") or () if isinstance(holder, dict) else ()
    for entry in tools if isinstance(tools, list) else ():
        if isinstance(entry, dict):
            yield entry, namespace
            if entry.get("type") == "namespace" and namespace is None:
                yield from tool_entries(entry, str(entry.get("name")))
